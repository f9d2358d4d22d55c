"""Watermarks of language models, for those who hold the keys: KGW's green lists and SynthID-Text.

A watermarked model prefers tokens by a hash of the tokens before and a secret key. Whoever has the key and the model's
tokenizer can count whether a text prefers them too: under the hypothesis that the text is not watermarked with that key,
`watermark_z` is a standard normal deviate, and `watermark_p` the chance of one as large.

- **kgw** (Kirchenbauer et al. 2023, arXiv 2301.10226, equation 3; selfhash: 2306.04634): the share `gamma` of the vocabulary
  is green at each place; z = (green - gamma T) / sqrt(T gamma (1 - gamma)) over T distinct n-grams.
- **synthid** (Dathathri et al. 2024, Nature 634, 818-823): each token has one g-value of 0 or 1 a layer; the mean over
  tokens and layers, or one that weighs layers from 10 down to 1 (their weighted mean), is compared with what chance gives.
  Their Bayesian detector, which must be trained, is not here.

Which hashes, to the bit (held to PyTorch and transformers 5 by tests), all as they run on a CPU:

- lefthash and selfhash as `WatermarkLogitsProcessor` of transformers has them; lefthash with `context` 1 is also `simple_1`
  of the authors' lm-watermarking; their selfhash draws its table from a seed of its own: `table_seed` 2971215073;
- the g-values of `SynthIDTextWatermarkLogitsProcessor` of transformers.

NOT matched: generators on a GPU (PyTorch draws other numbers there), lm-watermarking's other schemes (skipgram, lefthash of
several tokens, which adds them up, green lists from the end of the permutation), the newer hash of google-deepmind/synthid-text (its vector
of all keys and its bits), and that of Google's products, which is not public.

A text is read as its tokenizer reads it, which need not be as it was generated; places that differ count as chance.

The normal law holds over keys. With one key, a frequent token whose list it is always on shifts the z of all texts that
use it (selfhash, which hashes the token itself, most; Fernandez et al. 2023, arXiv 2308.00113, name the effect): see what z
trusted human text of the same kind gets before believing a small p.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final, Literal, get_args

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curator.errors import ModelError, RecipeError
from curator.ids import file_sha256
from curator.kernels import kernel
from curator.schema import field
from curator.stages import Measure, Stage

Floats = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]
Bools = npt.NDArray[np.bool_]
Scheme = Literal["kgw", "synthid"]
Seeding = Literal["lefthash", "selfhash"]
Weighing = Literal["mean", "weighted"]

MAX_CHARS: Final = 200_000  # of a text that are read, so that no document stalls a job
_KGW_TABLE: Final = 1_000_003  # entries of selfhash's permutation
_STATE: Final = 624  # words of MT19937 (Matsumoto and Nishimura 1998)
_MIDDLE: Final = 397
_LOW: Final = np.uint64(0xFFFFFFFF)
_LCG: Final = np.uint64(
    6364136223846793005
)  # multiplier of newlib's and musl's generator, which SynthID-Text hashes by
_ONE: Final = np.uint64(1)


# --- PyTorch's random numbers on a CPU ---------------------------------------------------------------


@kernel
def _start(state: U64, seed: np.uint64) -> None:
    """Seed MT19937: state[:624] its words, state[624] how many of them were drawn."""
    state[0] = seed & _LOW
    for i in range(1, _STATE):
        before = state[i - 1]
        state[i] = (np.uint64(1812433253) * (before ^ (before >> np.uint64(30))) + np.uint64(i)) & _LOW
    state[_STATE] = _STATE


@kernel
def _next(state: U64) -> np.uint64:
    """Draw 32 bits."""
    at = np.int64(state[_STATE])
    if at == _STATE:
        for i in range(_STATE):
            mixed = (state[i] & np.uint64(0x80000000)) | (state[(i + 1) % _STATE] & np.uint64(0x7FFFFFFF))
            odd = np.uint64(0x9908B0DF) * (mixed & _ONE)
            state[i] = state[(i + _MIDDLE) % _STATE] ^ (mixed >> _ONE) ^ odd
        at = np.int64(0)
    drawn = state[at]
    state[_STATE] = np.uint64(at + 1)
    drawn ^= drawn >> np.uint64(11)
    drawn ^= (drawn << np.uint64(7)) & np.uint64(0x9D2C5680)
    drawn ^= (drawn << np.uint64(15)) & np.uint64(0xEFC60000)
    return np.uint64(drawn ^ (drawn >> np.uint64(18)))


@kernel
def permutation(seed: np.uint64, size: int) -> I64:
    """The permutation of range(size) that a CPU generator with this seed draws.  # [size] int64"""
    state, out = np.empty(_STATE + 1, np.uint64), np.arange(size)
    _start(state, seed)
    for i in range(size - 1):
        j = i + np.int64(_next(state) % np.uint64(size - i))
        out[i], out[j] = out[j], out[i]
    return out


@kernel
def coins(seed: np.uint64, size: int) -> npt.NDArray[np.uint8]:
    """The integers 0 and 1 that a CPU generator with this seed draws.  # [size] uint8"""
    state, out = np.empty(_STATE + 1, np.uint64), np.empty(size, np.uint8)
    _start(state, seed)
    for i in range(size):
        out[i] = _next(state) & _ONE
    return out


# --- The two schemes -----------------------------------------------------------------------------------


@kernel
def _is_green(seed: np.uint64, token: int, vocabulary: int, green: int, state: U64) -> bool:
    """Say whether a token is among the first `green` of the permutation: follow it alone, no list is made."""
    _start(state, seed)
    place = np.int64(token)
    for i in range(green):
        j = i + np.int64(_next(state) % np.uint64(vocabulary - i))
        if j == place:
            return True
        if i == place:
            place = j
    return False


@kernel
def _self_seed(tokens: I64, key: np.int64, table: I64) -> np.int64:
    """Selfhash: the least product of key, last token's number and any token's number, in 64 bits that wrap."""
    last = table[tokens[-1] % table.size] + 1
    least = np.int64(0)
    for i in range(tokens.size):
        value = key * (table[tokens[i] % table.size] + 1) * last
        least = value if i == 0 or value < least else least
    return least


@kernel
def _firsts(hashes: U64) -> Bools:
    """Say of each hash whether it is the first of its kind."""
    order = np.argsort(hashes, kind="mergesort")
    first = np.ones(hashes.size, np.bool_)
    for k in range(1, hashes.size):
        first[order[k]] = hashes[order[k]] != hashes[order[k - 1]]
    return first


@kernel
def _hash(tokens: I64, hashed: np.uint64) -> np.uint64:
    for i in range(tokens.size):
        hashed = (hashed + np.uint64(tokens[i])) * _LCG + _ONE
    return hashed


@kernel
def _hashes(tokens: I64, width: int, places: int) -> U64:
    """Hash the `width` tokens from each of the first `places`."""
    out = np.empty(places, np.uint64)
    for i in range(places):
        out[i] = _hash(tokens[i : i + width], _ONE)
    return out


@kernel
def count_green(
    ids: I64, ends: I64, key: int, vocabulary: int, green: int, context: int, itself: bool, table: I64, out: I64
) -> None:
    """Count distinct n-grams and the green ones among them.  # out: [texts, 2] int64"""
    state = np.empty(_STATE + 1, np.uint64)
    width = context if itself else context + 1
    for row in range(ends.size - 1):
        tokens = ids[ends[row] : ends[row + 1]]
        first = _firsts(_hashes(tokens, width, max(0, tokens.size - width + 1)))
        for i in range(first.size):
            if not first[i]:
                continue
            gram = tokens[i : i + width]
            if itself:
                seed = np.uint64(_self_seed(gram, key, table))
                seed -= np.uint64(_self_seed(gram, key, table) < 0)  # the remainder by 2^64 - 1, as Python takes it
            else:
                seed = np.uint64(key * gram[width - 2])
            out[row, 0] += 1
            out[row, 1] += _is_green(seed, gram[width - 1], vocabulary, green, state)


@kernel
def sum_g_values(ids: I64, ends: I64, keys: U64, weights: Floats, ngram: int, table: Any, out: Floats) -> None:
    """Count tokens whose context is new in the text, and add their weighted g-values.  # out: [texts, 2] float64"""
    for row in range(ends.size - 1):
        tokens = ids[ends[row] : ends[row + 1]]
        contexts = _hashes(tokens, ngram - 1, max(0, tokens.size - ngram + 1))
        first = _firsts(contexts)
        for i in range(first.size):
            if not first[i]:
                continue
            hashed = _hash(tokens[i + ngram - 1 : i + ngram], contexts[i])
            out[row, 0] += 1
            for layer in range(keys.size):
                place = np.int64((hashed + keys[layer]) * _LCG + _ONE) % table.size
                out[row, 1] += weights[layer] * table[place + table.size if place < 0 else place]


# --- The stage -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Watermark(Stage):
    """Test each text for a language model's watermark, given its key and tokenizer.

    tokenizer: path of a tokenizers file (tokenizer.json); keys: one for kgw, one a layer for synthid.
    kgw: `gamma`, `context` (tokens hashed) and `seeding`; `vocabulary` is the model's number of logits, which may exceed the
    tokenizer's (0 takes the tokenizer's); `table_seed` of selfhash's table, where 0 takes the key.  synthid: `ngram` (tokens hashed, the judged one included), `table` and
    `table_seed` of its sampling table, `weighing` of the layers.
    A text's n-grams (kgw) or contexts (synthid) count once, however often they recur: repeats are no evidence.
    Answers cost about gamma times the vocabulary a token for kgw, next to nothing for synthid.
    """

    name: ClassVar[str] = "watermark"
    version: ClassVar[str] = "1"
    needs: ClassVar[pa.Schema] = pa.schema([pa.field("text", pa.large_string())])

    scheme: Scheme = "kgw"
    tokenizer: str = ""
    keys: tuple[int, ...] = (15485863,)
    gamma: float = 0.25
    context: int = 1
    seeding: Seeding = "lefthash"
    vocabulary: int = 0
    ngram: int = 5
    table: int = 65_536
    table_seed: int = 0
    weighing: Weighing = "mean"

    def __post_init__(self) -> None:
        """Refuse settings that do not add up before any document is read."""
        object.__setattr__(self, "keys", tuple(self.keys))
        for name, kinds in (("scheme", Scheme), ("seeding", Seeding), ("weighing", Weighing)):
            if getattr(self, name) not in get_args(kinds):
                raise RecipeError(
                    f"watermark.{name} is {getattr(self, name)!r}; it takes {' or '.join(get_args(kinds))}"
                )
        if not self.keys or (self.scheme == "kgw" and len(self.keys) != 1):
            raise RecipeError(f"watermark.keys has {len(self.keys)}; kgw takes one, synthid one for each layer")
        most = 1 << (40 if self.scheme == "kgw" else 63)  # kgw multiplies it by a token, in 64 bits
        if not all(0 <= key < most for key in self.keys):
            raise RecipeError(f"watermark.keys holds a number outside 0 to {most - 1}")
        if not 0.0 < self.gamma < 1.0:
            raise RecipeError(f"watermark.gamma is {self.gamma}; it takes a share between 0 and 1")
        if self.context < 1 or self.ngram < 2 or self.table < 2 or min(self.vocabulary, self.table_seed) < 0:
            raise RecipeError(
                "watermark: context takes 1 or more, ngram and table 2 or more, vocabulary and table_seed no negative number"
            )

    @property
    def adds(self) -> pa.Schema:
        """How far the text prefers the key's tokens, over how many, and the chance of that."""
        return pa.schema(
            [
                field(
                    "watermark_z",
                    pa.float64(),
                    "standard deviations above what chance gives; null where no token counts",
                ),
                field(
                    "watermark_p",
                    pa.float64(),
                    "chance that a text without this watermark has such a z, by the normal law",
                ),
                field("watermark_tokens", pa.int32(), "tokens scored; what recurs counts once"),
            ]
        )

    def weights(self) -> dict[str, str]:
        """The sha256 of the tokenizer."""
        return {"tokenizer": file_sha256(self._file())} if self.tokenizer else {}

    def _file(self) -> Path:
        if not self.tokenizer:
            raise RecipeError("watermark.tokenizer is not set; name the tokenizer.json of the model whose key you hold")
        if not Path(self.tokenizer).is_file():
            raise ModelError(f"watermark.tokenizer {self.tokenizer} is no file; name the model's tokenizer.json")
        return Path(self.tokenizer)

    def open(self) -> Measure:
        """Load the tokenizer and draw the scheme's table."""
        from tokenizers import Tokenizer

        path = self._file()
        try:
            reader = Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises nothing narrower
            raise ModelError(f"watermark.tokenizer {path} cannot be read: {str(error)[:200]}") from error
        reader.no_truncation()
        reader.no_padding()
        vocabulary = self.vocabulary or reader.get_vocab_size(with_added_tokens=True)
        score, schema = self._scorer(vocabulary), self.adds

        def measure(batch: pa.RecordBatch) -> pa.RecordBatch:
            ids, ends = _tokens(batch["text"], reader)
            count, z = score(ids, ends)
            return _columns(count, z, batch["text"].is_null().to_numpy(zero_copy_only=False), schema)

        return measure

    def _scorer(self, vocabulary: int) -> Any:
        """Return the function from token ids and where each text ends to tokens scored and z.  # [texts] each"""
        return self._synthid() if self.scheme == "synthid" else self._kgw(vocabulary)

    def _kgw(self, vocabulary: int) -> Any:
        green, key = int(vocabulary * self.gamma), self.keys[0]
        itself = self.seeding == "selfhash"
        table = permutation(np.uint64(self.table_seed or key), _KGW_TABLE) if itself else np.zeros(1, np.int64)

        def score(ids: I64, ends: I64) -> tuple[Floats, Floats]:
            out = np.zeros((len(ends) - 1, 2), np.int64)
            count_green(ids, ends, key, vocabulary, green, self.context, itself, table, out)
            share = green / vocabulary
            return out[:, 0].astype(float), _deviation(out[:, 1] - share * out[:, 0], out[:, 0], share * (1 - share))

        return score

    def _synthid(self) -> Any:
        layers = len(self.keys)
        weights = np.linspace(10.0, 1.0, layers) if self.weighing == "weighted" else np.ones(layers)
        weights /= weights.sum()
        table = coins(np.uint64(self.table_seed), self.table)
        heads = float(table.mean())  # of a small table not just one half, and many tokens would show it

        def score(ids: I64, ends: I64) -> tuple[Floats, Floats]:
            out = np.zeros((len(ends) - 1, 2))
            sum_g_values(ids, ends, np.array(self.keys, np.uint64), weights, self.ngram, table, out)
            spread = heads * (1 - heads) * float((weights**2).sum())
            return out[:, 0], _deviation(out[:, 1] - heads * out[:, 0], out[:, 0], spread)

        return score


def _deviation(excess: Floats, count: Any, variance: float) -> Floats:
    """An excess in standard deviations of a sum of `count` terms; nan of none.  # [texts]"""
    scale = np.sqrt(np.where(count > 0, count, np.nan) * variance)
    return np.asarray(excess / scale, np.float64)


def _tokens(texts: pa.Array, reader: Any) -> tuple[I64, I64]:
    """Cut texts into token ids, one after another, and say where each text's end; a null has none."""
    short = pc.utf8_slice_codeunits(texts.cast(pa.large_string()), 0, MAX_CHARS).fill_null("")
    found = [item.ids for item in reader.encode_batch(short.to_pylist(), add_special_tokens=False)]
    ends = np.concatenate([[0], np.cumsum([len(ids) for ids in found])]).astype(np.int64)
    return np.concatenate([np.empty(0, np.int64), *(np.array(ids, np.int64) for ids in found)]), ends


def _columns(count: Floats, z: Floats, missing: Bools, schema: pa.Schema) -> pa.RecordBatch:
    silent = missing | np.isnan(z)
    chance = np.array([0.5 * math.erfc(value / math.sqrt(2.0)) for value in np.nan_to_num(z).tolist()], np.float64)
    columns = [
        pa.array(z, mask=silent),
        pa.array(chance, mask=silent),
        pa.array(count.astype(np.int32), mask=missing),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)
