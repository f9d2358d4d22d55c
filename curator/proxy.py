"""A small language model that shows in seconds what a training set teaches: interpolated Kneser–Ney over BPE tokens.

Each n-gram keeps its count less a discount that depends on the count (Chen and Goodman 1999, "An empirical study of
smoothing techniques for language modeling", the modified form, equations 24 to 26); what the discounts free goes to the
shorter context, in the end to all tokens alike. Below the highest order an n-gram counts once for each token that was
seen before it, except at the start of a document, where no token can differ: there it counts as often as it stands.

Documents are independent: the history of a document's first token is nothing but end tokens. The model of a set of
documents does not depend on their order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from curator.kernels import kernel, lean

if TYPE_CHECKING:
    from tokenizers import Tokenizer

F64 = npt.NDArray[np.float64]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
U8 = npt.NDArray[np.uint8]
U64 = npt.NDArray[np.uint64]
Bools = npt.NDArray[np.bool_]

END: Final = 0  # id of the token that ends a document
_END_NAME: Final = "<|end|>"
_AT_ONCE: Final = 1024  # documents that the tokenizer holds as Python lists
_SMALL: Final = (0.5, 1.0, 1.5)  # discounts where a sample is too small to estimate them (as kenlm takes them)


@dataclass(frozen=True)
class Tokens:
    """Token ids of documents behind one another; each document ends with its end token."""

    ids: I32  # [tokens]
    ends: I64  # [docs] position after each document's last token

    def __len__(self) -> int:
        """How many documents."""
        return len(self.ends)

    @property
    def sizes(self) -> I64:
        """Tokens of each document, its end token included.  # [docs]"""
        return np.diff(self.ends, prepend=0)

    def take(self, rows: npt.NDArray[np.integer[Any]]) -> Tokens:
        """The documents at these positions, in this order, as often as a position stands there."""
        sizes = self.sizes[rows]
        ends = np.cumsum(sizes, dtype=np.int64)
        first = (self.ends - self.sizes)[rows]
        at = np.repeat(first - (ends - sizes), sizes) + np.arange(ends[-1] if len(ends) else 0)
        return Tokens(self.ids[at], ends)


def joined(parts: Sequence[Tokens]) -> Tokens:
    """All documents of several sets, in their order."""
    sizes = np.concatenate([part.sizes for part in parts])
    return Tokens(np.concatenate([part.ids for part in parts]), np.cumsum(sizes, dtype=np.int64))


def learn_tokenizer(texts: Sequence[str], vocabulary: int = 4096) -> Tokenizer:
    """Learn a byte-level BPE of at most `vocabulary` tokens from texts, whatever their order; id 0 ends a document.

    A text that spells the end token out is encoded as the letters that it is.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[_END_NAME],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(map(_valid, texts), trainer)
    tokenizer.encode_special_tokens = True
    return tokenizer


def _valid(text: str) -> str:
    """A text that UTF-8 can say; the tokenizer refuses lone surrogates."""
    return text.encode("utf-8", "replace").decode()


def encode(tokenizer: Tokenizer, texts: Sequence[str]) -> Tokens:
    """Token ids of texts, an end token behind each."""
    ids: list[I32] = []
    sizes: list[int] = []
    for first in range(0, len(texts), _AT_ONCE):
        some = [_valid(text) for text in texts[first : first + _AT_ONCE]]
        found = [[*encoding.ids, END] for encoding in tokenizer.encode_batch_fast(some)]
        ids.append(np.array([token for one in found for token in one], np.int32))
        sizes.extend(map(len, found))
    return Tokens(np.concatenate(ids) if ids else np.empty(0, np.int32), np.cumsum(sizes, dtype=np.int64))


def decode(tokenizer: Tokenizer, tokens: Tokens) -> list[str]:
    """The texts that tokens spell, without end tokens; bytes that are no UTF-8 become replacement characters."""
    firsts = tokens.ends - tokens.sizes
    documents = [tokens.ids[first:end].tolist() for first, end in zip(firsts, tokens.ends, strict=True)]
    return list(tokenizer.decode_batch(documents, skip_special_tokens=True))


# --- Words -----------------------------------------------------------------------------------------
# A word is a run of tokens that are letters, up to the next blank; every byte beyond ASCII counts as a letter.

_FNV: Final = np.uint64(0xCBF29CE484222325)  # FNV-1a, 64 bits (Fowler, Noll, Vo 1991)
_FNV_PRIME: Final = np.uint64(0x100000001B3)


@dataclass(frozen=True)
class Words:
    """The words that tokens spell, case and the blank before them aside."""

    names: U64  # [tokens] hash of the word that a token belongs to; 0 where it belongs to none
    pieces: I32  # [tokens] tokens of that word


def words(tokenizer: Tokenizer, tokens: Tokens) -> Words:
    """Which word each token belongs to."""
    spelt = _spelt(tokenizer)
    bare = [piece.removeprefix(b" ") for piece in spelt]
    blank = np.array([piece.startswith(b" ") for piece in spelt])
    letters = np.array([bool(piece) and all(_is_letter(byte) for byte in piece) for piece in bare])
    offsets = np.cumsum([0, *map(len, bare)], dtype=np.int64)
    names, pieces = np.zeros(len(tokens.ids), np.uint64), np.zeros(len(tokens.ids), np.int32)
    _words(
        tokens.ids, tokens.ends, letters, blank, offsets, np.frombuffer(b"".join(bare).lower(), np.uint8), names, pieces
    )
    return Words(names, pieces)


def documents_with(names: U64, ends: I64) -> tuple[U64, I64]:
    """Every word, ascending by its hash, and in how many documents it stands.  names, ends: as of `Words`, `Tokens`."""
    order = np.argsort(names, kind="stable")  # so that within a word documents ascend
    document = np.searchsorted(ends, order, side="right")
    names = names[order]
    new = np.concatenate([[True], names[1:] != names[:-1]])[: len(names)]
    fresh = new | np.concatenate([[True], document[1:] != document[:-1]])[: len(names)]
    known, counts = names[new], np.add.reduceat(fresh.astype(np.int64), np.flatnonzero(new)) if len(names) else new
    return known[known > 0], np.asarray(counts[known > 0], np.int64)


def _spelt(tokenizer: Tokenizer) -> list[bytes]:
    """The bytes of every token, by id; none of the end token."""
    from tokenizers import pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())  # a printable byte stands for itself, the others follow
    themselves = {ord(letter) for letter in alphabet if ord(letter) < 256}
    others = iter(byte for byte in range(256) if byte not in themselves)
    byte_of = {letter: ord(letter) if ord(letter) < 256 else next(others) for letter in alphabet}
    names = sorted((place, name) for name, place in tokenizer.get_vocab().items())
    return [b"" if place == END else bytes(byte_of[letter] for letter in name) for place, name in names]


def _is_letter(byte: int) -> bool:
    return byte >= 0x80 or chr(byte).isalpha()


@kernel
def _words(ids: I32, ends: I64, letters: Bools, blank: Bools, offsets: I64, spelt: U8, names: U64, pieces: I32) -> None:
    i = 0
    for end in ends:
        while i < end:
            first, name = i, _FNV
            while i < end and letters[ids[i]] and (i == first or not blank[ids[i]]):
                for at in range(offsets[ids[i]], offsets[ids[i] + 1]):
                    name = (name ^ np.uint64(spelt[at])) * _FNV_PRIME
                i += 1
            names[first:i] = name | np.uint64(1)
            pieces[first:i] = i - first
            if i == first:
                i += 1


# --- The model -----------------------------------------------------------------------------------
# An n-gram is packed into a uint64, its last token lowest. A context of k tokens is packed with a one above it, so that
# contexts of all lengths share one hash table: `slots` holds contexts (0 where free), `where` their rows.


@dataclass(frozen=True)
class NgramModel:
    """Probabilities of every token after every context; made by `fit`."""

    vocabulary: int
    order: int
    bits: int  # of one token in a packed context
    slots: U64  # [slots]
    where: I32  # [slots]
    first: I64  # [rows + 1] where each context's n-grams begin, the shortest contexts first
    back: F64  # [rows] what is left to the shorter context
    word: I32  # [n-grams] last token, ascending within a row
    mass: F64  # [n-grams] discounted count, as a part of its context's
    keep: F64  # [n-grams] discounted count, as a part of its own count
    seen: I64  # [rows + 1] where each context's stretch of `drawn` begins
    drawn: I32  # [counts] position of every n-gram, as often as it counts

    def log_prob(self, tokens: Tokens) -> F64:
        """Natural logarithm of each token's probability, given what its document holds before it.  # [tokens]"""
        out = np.empty(len(tokens.ids))
        _log_prob(
            tokens.ids, tokens.ends, self.vocabulary, self.order, np.uint64(self.bits),
            self.slots, self.where, self.first, self.back, self.word, self.mass, out,
        )  # fmt: skip
        return out

    def perplexity(self, tokens: Tokens) -> float:
        """exp of the mean surprise of a token, end tokens included."""
        return float(np.exp(-self.log_prob(tokens).mean()))

    def sample(self, documents: int, seed: int, most_tokens: int = 1024) -> Tokens:
        """Draw documents from exactly these probabilities; each depends on its number and the seed alone.

        Ten documents are the first ten of twenty. A document that does not end by itself is ended after
        `most_tokens` tokens. An empty one (its end token alone) is as likely as the model says.
        """
        ids, ends = _sample(
            documents, np.uint64(seed), most_tokens, self.vocabulary, self.order, np.uint64(self.bits),
            self.slots, self.where, self.word, self.keep, self.seen, self.drawn,
        )  # fmt: skip
        return Tokens(ids, ends)


def fit(tokens: Tokens, vocabulary: int, order: int = 4) -> NgramModel:
    """Fit an interpolated, modified Kneser–Ney model.

    Raises `ValueError` where there is no token, an id is not below `vocabulary`, or an n-gram does not fit 63 bits.
    """
    bits = max(1, int(vocabulary - 1).bit_length())
    if not len(tokens.ids) or order < 1 or bits * order > 63:
        raise ValueError(f"cannot fit {len(tokens.ids)} tokens of a vocabulary of {vocabulary} at order {order}")
    if int(tokens.ids.min()) < 0 or int(tokens.ids.max()) >= vocabulary:
        raise ValueError(f"token ids are not all between 0 and {vocabulary - 1}")
    grams = _grams(tokens, bits, order)
    levels = [_level(keys, counts, bits, n) for n, (keys, counts) in enumerate(grams)]
    contexts, rows, back, mass, keep, seen = (np.concatenate(parts) for parts in zip(*levels, strict=True))
    counts = np.concatenate([counts for _, counts in grams])
    word = np.concatenate([keys for keys, _ in grams]) & np.uint64((1 << bits) - 1)
    slots, where = _table(contexts)
    return NgramModel(
        vocabulary=vocabulary,
        order=order,
        bits=bits,
        slots=slots,
        where=where,
        first=np.concatenate([[0], np.cumsum(rows)]),
        back=back,
        word=word.astype(np.int32),
        mass=mass,
        keep=keep,
        seen=np.concatenate([[0], np.cumsum(seen)]),
        drawn=np.repeat(np.arange(len(counts), dtype=np.int32), counts),
    )


def _grams(tokens: Tokens, bits: int, order: int) -> list[tuple[U64, I64]]:
    """Packed n-grams of each length from 1 to `order`, ascending, and how often each counts."""
    raw = np.empty(len(tokens.ids), np.uint64)
    _pack(tokens.ids, tokens.ends, np.uint64(bits), np.uint64((1 << bits * order) - 1), raw)
    grams = [_counted(raw)]
    for n in range(order - 1, 0, -1):
        mask, lead = np.uint64((1 << bits * n) - 1), np.uint64(bits * (n - 1))
        shorter = grams[0][0] & mask
        if n > 1:  # END stands first only where a document begins
            begins = raw & mask
            shorter = np.concatenate([shorter[shorter >> lead != END], begins[begins >> lead == END]])
        grams.insert(0, _counted(shorter))
    return grams


def _counted(keys: U64) -> tuple[U64, I64]:
    """Each key once, ascending, and how often it stood there."""
    keys = np.sort(keys)
    starts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    return keys[starts], np.diff(starts, append=len(keys))


def _level(keys: U64, counts: I64, bits: int, length: int) -> tuple[U64, I64, F64, F64, F64, I64]:
    """Of the contexts of one length: packed contexts, n-grams a context, what backs off, mass, keep, counts a context."""
    contexts = keys >> np.uint64(bits)
    starts = np.flatnonzero(np.concatenate([[True], contexts[1:] != contexts[:-1]]))
    rows = np.diff(starts, append=len(keys))
    totals = np.add.reduceat(counts, starts)
    discount = np.array([0.0, *_discounts(counts)])[np.minimum(counts, 3)]
    left = counts - discount
    tagged = contexts[starts] | np.uint64(1 << bits * length)
    return (
        tagged,
        rows,
        np.add.reduceat(discount, starts) / totals,
        left / np.repeat(totals, rows),
        left / counts,
        totals,
    )


def _discounts(counts: I64) -> tuple[float, ...]:
    """What an n-gram gives up that counts 1, 2, or 3 and more (Chen and Goodman 1999, equation 26)."""
    n1, n2, n3, n4 = (int(n) for n in np.bincount(np.minimum(counts, 5), minlength=5)[1:5])
    if not min(n1, n2, n3, n4):
        return _SMALL
    y = n1 / (n1 + 2 * n2)
    found = (1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3)
    return found if all(0 <= d <= most for most, d in enumerate(found, 1)) else _SMALL


def _table(contexts: U64) -> tuple[U64, I32]:
    """A hash table of contexts, at most half full."""
    size = 1 << max(4, int(2 * len(contexts) - 1).bit_length())
    slots, where = np.zeros(size, np.uint64), np.zeros(size, np.int32)
    _insert(contexts, slots, where)
    return slots, where


@kernel
def _pack(ids: I32, ends: I64, bits: np.uint64, mask: np.uint64, out: U64) -> None:
    """out[i] = the n-gram that ends at token i; before a document stand end tokens, which are zeros."""
    i = 0
    for end in ends:
        key = np.uint64(0)
        while i < end:
            key = ((key << bits) | np.uint64(ids[i])) & mask
            out[i] = key
            i += 1


@lean
def _slot(context: np.uint64, slots: U64) -> np.int64:
    """Where a context lies in the table, or the free slot where it would (multiplicative hashing, linear probing)."""
    mixed = context * np.uint64(0x9E3779B97F4A7C15)
    at = np.int64((mixed ^ (mixed >> np.uint64(32))) & np.uint64(len(slots) - 1))
    while slots[at] != 0 and slots[at] != context:
        at = (at + 1) & (len(slots) - 1)
    return at


@lean
def _insert(contexts: U64, slots: U64, where: I32) -> None:
    for row in range(len(contexts)):
        at = _slot(contexts[row], slots)
        slots[at] = contexts[row]
        where[at] = row


@lean
def _context(history: np.uint64, length: int, bits: np.uint64) -> np.uint64:
    """The last `length` tokens of a history, packed with a one above them."""
    one = np.uint64(1) << (bits * np.uint64(length))
    return (history & (one - np.uint64(1))) | one


@lean
def _mass(word: int, words: I32, mass: F64, low: int, high: int) -> float:
    """A token's mass in a context's n-grams low:high; 0 where it never followed."""
    end = high
    while low < high:
        middle = (low + high) // 2
        if words[middle] < word:
            low = middle + 1
        else:
            high = middle
    return mass[low] if low < end and words[low] == word else 0.0


@kernel
def _log_prob(
    ids: I32, ends: I64, vocabulary: int, order: int, bits: np.uint64,
    slots: U64, where: I32, first: I64, back: F64, word: I32, mass: F64, out: F64,
) -> None:  # fmt: skip
    i = 0
    for end in ends:
        history = np.uint64(0)
        while i < end:
            prob = 1.0 / vocabulary
            for length in range(order):
                context = _context(history, length, bits)
                at = _slot(context, slots)
                if slots[at] == 0:
                    break  # no longer context was seen either
                row = where[at]
                prob = back[row] * prob + _mass(ids[i], word, mass, first[row], first[row + 1])
            out[i] = np.log(prob)
            history = (history << bits) | np.uint64(ids[i])
            i += 1


@lean
def _mixed(z: np.uint64) -> np.uint64:
    """SplitMix64's finaliser (Steele, Lea, Flood 2014, figure 16)."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@lean
def _unit(bits: np.uint64) -> float:
    """A number in [0, 1) from 64 random bits."""
    return (bits >> np.uint64(11)) * 2.0**-53


@kernel
def _sample(
    documents: int, seed: np.uint64, most_tokens: int, vocabulary: int, order: int, bits: np.uint64,
    slots: U64, where: I32, word: I32, keep: F64, seen: I64, drawn: I32,
) -> tuple[I32, I64]:  # fmt: skip
    """A token of the context is picked in proportion to its count and kept with the part that no discount took, else the
    shorter context is asked: both chances together are the interpolation's terms, so that no probability is summed."""
    step = np.uint64(0x9E3779B97F4A7C15)
    ids = np.empty(documents * 64 + most_tokens, np.int32)
    ends = np.empty(documents, np.int64)
    size = 0
    for document in range(documents):
        if size + most_tokens > len(ids):
            larger = np.empty(2 * len(ids) + most_tokens, np.int32)
            larger[:size] = ids[:size]
            ids = larger
        state = _mixed(_mixed(seed + step) + np.uint64(document) * step)
        history = np.uint64(0)
        for left in range(most_tokens, 0, -1):
            found = np.int64(-1)
            for length in range(order - 1, -1, -1):
                at = _slot(_context(history, length, bits), slots)
                if slots[at] == 0:
                    continue
                row = where[at]
                state += step
                place = _unit(_mixed(state)) * (seen[row + 1] - seen[row])
                ngram = drawn[seen[row] + np.int64(place)]
                if place - np.floor(place) < keep[ngram]:  # what is behind the point is random too
                    found = np.int64(word[ngram])
                    break
            if found < 0:
                state += step
                found = np.int64(_unit(_mixed(state)) * vocabulary)
            if left == 1:
                found = np.int64(END)
            ids[size] = found
            size += 1
            if found == END:
                break
            history = (history << bits) | np.uint64(found)
        ends[document] = size
    return ids[:size].copy(), ends
