"""Curated documents as token sequences of one length, with the document of every token told.

    from curator.loader import CuratedDataset
    from curator.loading.packing import PackedDataset

    for sequence in PackedDataset(CuratedDataset("out", seed=1), "tokenizer.json", 2048, separator="<|endoftext|>"):
        sequence["input_ids"], sequence["spans"]

Needs `tokenizers`.
"""

from __future__ import annotations

import hashlib
import itertools
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from curator.errors import InputError
from curator.loader import CuratedDataset
from curator.loading.torch_view import torch_view

I32 = npt.NDArray[np.int32]
Sequence = dict[str, Any]

_DOCUMENTS: Final = 64  # tokenised at once; changes nothing in what comes of it
_STATE_FORMAT: Final = 1


class Span(NamedTuple):
    """Where tokens of one document lie: `input_ids[start:end]` are its tokens from number `offset` on."""

    doc_id: str
    start: int
    end: int
    offset: int


class PackedDataset:
    """Iterate over sequences of exactly `length` tokens: the documents of `source` laid end to end and cut.

    Each sequence is `{"input_ids": [length] int32, "spans": [Span, …]}`; the spans cover the tokens that are no
    padding, so attention can be kept within a document and a token traced to its `doc_id`. A document that does not
    fit goes on in the next sequence. After each document stands the token `separator`, which counts as its last.

    `tokenizer` is a file that the `tokenizers` library reads; no special tokens but the separator are added.
    No token is lost but the fewer than `length` that are left at the end of an epoch, for each rank (and worker);
    their number is then in `dropped_tokens`. With `padding`, a token of the vocabulary, they are given too, in a last
    sequence filled up with it.

    The sequences are a pure function of the source's order, the tokenizer file, length and separator; how many
    documents are tokenised at once, and when a state was taken, changes nothing. Raises `InputError` for a file that
    is no tokenizer, a token that it does not have, and a length below 1.
    """

    def __init__(
        self,
        source: CuratedDataset,
        tokenizer: str | Path,
        length: int,
        *,
        separator: str | None = None,
        padding: str | None = None,
    ) -> None:
        """Read the tokenizer file; reads no document yet."""
        if length < 1:
            raise InputError(f"sequences of {length} tokens cannot be packed; give a length of at least 1")
        self.source, self.length, self.dropped_tokens = source, length, 0
        raw = tokenizer_bytes(Path(tokenizer))
        self._tokenizer = read_tokenizer(raw, Path(tokenizer))
        self._separator, self._padding = token_id(self._tokenizer, separator), token_id(self._tokenizer, padding)
        self._recipe = {
            "tokenizer": hashlib.sha256(raw).hexdigest(),
            "length": length,
            "separator": self._separator,
            "padding": self._padding,
        }
        self._at, self._skip, self._turn = source.state_dict(), 0, 0

    def state_dict(self) -> dict[str, Any]:
        """Say where the packing stands: at which document of the source, and how many of its tokens were given.

        It is the state of this rank (and torch worker): ranks take unequally many documents, so each keeps its own, and
        the number of ranks must stay what it was.
        """
        own = {"format": _STATE_FORMAT, "source": self._at, "skip": self._skip, "share": list(self.source.share())}
        return own | self._recipe

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go to where `state_dict` stood: the next sequence is the one that would have come.

        Raises `InputError` for the state of another tokenizer, length, rank, number of ranks, or source.
        """
        own = self.state_dict()
        if missing := sorted(own.keys() - state.keys()):
            raise InputError(f"no state of a PackedDataset: it lacks {', '.join(missing)}")
        for key in own.keys() - {"source", "skip"}:
            if state[key] != own[key]:
                raise InputError(f"the state has {key} {state[key]}, the dataset has {own[key]}: other sequences")
        self.source.load_state_dict(state["source"])
        self._at, self._skip = dict(state["source"]), int(state["skip"])
        self._turn += 1

    def set_epoch(self, epoch: int) -> None:
        """Go to the beginning of an epoch; where the packing stands in that very epoch, its place is kept."""
        if epoch != self._at["epoch"]:
            self.source.set_epoch(epoch)
            self._at, self._skip = self.source.state_dict(), 0
            self._turn += 1

    def __iter__(self) -> Iterator[Sequence]:
        """Yield the sequences from where the packing stands to the end of the epoch."""
        self._turn += 1
        self.source.load_state_dict(self._at)
        return self._sequences(self._turn)

    def as_torch(self) -> Any:
        """Wrap as a torch IterableDataset; import torch first, and give a `collate_fn`: spans vary in number."""
        return torch_view(self)

    def _sequences(self, turn: int) -> Iterator[Sequence]:
        waiting: deque[_Tokens] = deque()
        held = 0
        for tokens in self._tokens(self._skip):
            waiting.append(tokens)
            held += len(tokens.ids) - tokens.given
            while held >= self.length:
                yield self._moved(turn, waiting, self._filled(waiting))
                held -= self.length
        if held and self._padding is not None:
            yield self._moved(turn, waiting, self._filled(waiting))
            held = 0
        if turn == self._turn:
            self.dropped_tokens = held
            self._at, self._skip = self.source.state_dict(), 0

    def _moved(self, turn: int, waiting: deque[_Tokens], sequence: Sequence) -> Sequence:
        """Note that the sequence is given: the state stands at the first token that is not."""
        if turn == self._turn:
            self._at, self._skip = (waiting[0].state, waiting[0].given) if waiting else (self._ahead, 0)
        return sequence

    def _filled(self, waiting: deque[_Tokens]) -> Sequence:
        """Take one sequence's tokens from the documents that wait; those used up are let go of."""
        ids = np.full(self.length, self._padding or 0, np.int32)
        spans, filled = [], 0
        while waiting and filled < self.length:
            first = waiting[0]
            now = first.ids[first.given : first.given + self.length - filled]
            ids[filled : filled + len(now)] = now
            if len(now):
                spans.append(Span(first.doc_id, filled, filled + len(now), first.given))
            filled += len(now)
            first.given += len(now)
            if first.given == len(first.ids):
                waiting.popleft()
        return {"input_ids": ids, "spans": spans}

    def _tokens(self, skip: int) -> Iterator[_Tokens]:
        """Tokenise the source's documents; of the first, `skip` tokens were given before."""
        samples = iter(self.source)
        before = self.source.state_dict()
        while taken := list(itertools.islice(self._told(samples, before), _DOCUMENTS)):
            encoded = self._tokenizer.encode_batch([text for _, _, text in taken], add_special_tokens=False)
            before = self.source.state_dict()
            after = [state for state, _, _ in taken[1:]] + [before]
            for (state, doc_id, _), found, self._ahead in zip(taken, encoded, after, strict=True):
                last = [] if self._separator is None else [self._separator]
                yield _Tokens(state, doc_id, np.array(found.ids + last, np.int32), skip)
                skip = 0

    def _told(self, samples: Iterator[dict[str, Any]], before: dict[str, Any]) -> Iterator[tuple[Any, str, str]]:
        """Each document with the source's state before it."""
        for sample in samples:
            yield before, str(sample["doc_id"]), sample["text"] or ""
            before = self.source.state_dict()


class _Tokens:
    """The tokens of one document, and how many of them were given."""

    def __init__(self, state: dict[str, Any], doc_id: str, ids: I32, given: int) -> None:
        self.state, self.doc_id, self.ids, self.given = state, doc_id, ids, given


def tokenizer_bytes(path: Path) -> bytes:
    """Read a tokenizer file as it lies."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read as a tokenizer ({error}); give a tokenizer.json") from error


def read_tokenizer(raw: bytes, path: Path) -> Any:
    """Make a tokenizer of the bytes of a file; `path` is for the message of what it is not."""
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise InputError("packing needs the package tokenizers: pip install tokenizers") from error
    try:
        tokenizer = Tokenizer.from_buffer(raw)
    except Exception as error:  # the library raises bare Exception for what it cannot parse
        raise InputError(f"{path} is no file that `tokenizers` reads ({error}); give a tokenizer.json") from error
    tokenizer.no_truncation()  # a tokenizer file may ask for either: tokens would be lost, or invented
    tokenizer.no_padding()
    return tokenizer


def token_id(tokenizer: Any, token: str | None) -> int | None:
    """A token's number in the vocabulary; None for none."""
    if token is None:
        return None
    found = tokenizer.token_to_id(token)
    if found is None:
        raise InputError(f"the tokenizer has no token {token!r}; give one of its {tokenizer.get_vocab_size():,}")
    return int(found)
