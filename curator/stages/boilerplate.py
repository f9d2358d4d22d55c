"""Paragraphs that recur across the documents of one domain: navigation, notices, forms; how much of a text they are.

Two stages. `paragraphs` hashes the lines of each text alone. `boilerplate` first learns from the whole
corpus which of them stand in several documents of one registered domain (of one source, where there is no
address), then measures each document by that. Documents that are copies of one another count once, or
every copied article would be boilerplate.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curator import schema
from curator.errors import RecipeError
from curator.stages import Learner, Measure, Stage
from curator.text import I64, U8, U64, Bools, kernel, utf8_view
from curator.web import domain_of, host_of

I32 = npt.NDArray[np.int32]

_STEP: Final = np.uint64(0x9E3779B97F4A7C15)
_HALF: Final = np.uint64(29)
_PARTITION: Final = 1 << 25  # keys sorted at once: 256 MB


@dataclass(frozen=True)
class Paragraphs(Stage):
    """Hash the lines of each text, each with the domain it comes from, so that recurring ones can be counted.

    min_chars: shorter lines are no paragraphs: they recur by chance.
    """

    min_chars: int = 20

    name: ClassVar[str] = "paragraphs"
    version: ClassVar[str] = "1"
    needs: ClassVar[pa.Schema] = pa.schema([schema.DOCUMENTS.field(n) for n in ("text", "url", "source")])

    @property
    def adds(self) -> pa.Schema:
        """`paragraph_keys` and `paragraph_bytes`, one value a line; too many for the ledger."""
        return pa.schema(
            [
                schema.field("paragraph_keys", pa.list_(pa.uint64()), "hash of each line with its domain"),
                schema.field("paragraph_bytes", pa.list_(pa.int32()), "length of each of these lines"),
            ]
        )

    def open(self) -> Measure:
        """Return the measure."""
        return self._measure

    def _measure(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        view = utf8_view(batch.column("text"))
        salts = _salts(batch.column("url"), batch.column("source"))
        total = int(view.offsets[-1] - view.offsets[0])
        keys, sizes = np.empty(total // max(1, self.min_chars) + 1, np.uint64), np.empty(0, np.int32)
        sizes = np.empty(len(keys), np.int32)
        ends = np.zeros(len(view.valid) + 1, np.int32)
        _lines(view.offsets, view.data, view.valid, salts, self.min_chars, keys, sizes, ends)
        mask = pa.array(~view.valid)
        columns = [
            pa.ListArray.from_arrays(pa.array(ends), pa.array(values[: ends[-1]]), mask=mask)
            for values in (keys, sizes)
        ]
        return pa.RecordBatch.from_arrays(columns, schema=self.adds)


@dataclass(frozen=True)
class Boilerplate(Learner):
    """Measure how much of a text is paragraphs that other documents of its domain have too.

    min_documents: a paragraph in fewer documents of one domain is no boilerplate.
    """

    min_documents: int = 3

    name: ClassVar[str] = "boilerplate"
    version: ClassVar[str] = "1"
    needs: ClassVar[pa.Schema] = Paragraphs().adds

    def __post_init__(self) -> None:
        """Refuse a count that every paragraph reaches."""
        if self.min_documents < 2:
            raise RecipeError(f"stage boilerplate: min_documents = {self.min_documents} is less than 2")

    @property
    def adds(self) -> pa.Schema:
        """`boilerplate_fraction` and `n_boilerplate_paragraphs`."""
        return pa.schema(
            [
                schema.field(
                    "boilerplate_fraction",
                    pa.float32(),
                    "share of the paragraphs' bytes in paragraphs that other documents of the domain have too; 0 for a text without paragraphs",
                ),
                schema.field("n_boilerplate_paragraphs", pa.int32(), "how many such paragraphs the text has"),
            ]
        )

    def learn(self, batches: Iterable[tuple[pa.RecordBatch, Bools]]) -> pa.Table:
        """The keys that stand in at least `min_documents` documents; a document counts where its flag is true.

        Keys are sorted a part of their range at a time, so that memory stays within `_PARTITION` keys.
        """
        kept = [_distinct(batch.column("paragraph_keys"), counted) for batch, counted in batches]
        total = sum(len(keys) for keys in kept)
        parts = -(-total // _PARTITION) or 1
        edges = [(1 << 64) * part // parts for part in range(parts + 1)]
        found = [_recurring(kept, low, high, self.min_documents) for low, high in pairwise(edges)]
        return pa.table({"key": np.concatenate([np.empty(0, np.uint64), *found])})

    def open_with(self, learned: pa.Table) -> Measure:
        """Return the measure by what was learned."""
        recurring = learned["key"].to_numpy()
        return lambda batch: self._measure(batch, recurring)

    def learned_nothing(self) -> pa.Table:
        """No paragraph recurs."""
        return pa.table({"key": pa.array([], pa.uint64())})

    def _measure(self, batch: pa.RecordBatch, recurring: U64) -> pa.RecordBatch:
        keys, sizes = batch.column("paragraph_keys"), batch.column("paragraph_bytes")
        rows = pc.list_parent_indices(keys).to_numpy()
        known, length = _known(keys.flatten().to_numpy(), recurring), sizes.flatten().to_numpy()
        total = np.bincount(rows, length, len(batch))
        part = np.bincount(rows, length * known, len(batch))
        count = np.bincount(rows, known, len(batch)).astype(np.int32)
        share = np.divide(part, total, out=np.zeros(len(batch)), where=total > 0).astype(np.float32)
        mask = pc.is_null(keys).to_numpy(zero_copy_only=False)
        return pa.RecordBatch.from_arrays([pa.array(share, mask=mask), pa.array(count, mask=mask)], schema=self.adds)


def _known(keys: U64, recurring: U64) -> Bools:
    place = np.searchsorted(recurring, keys)
    place[place == len(recurring)] = 0
    known: Bools = recurring[place] == keys if len(recurring) else np.zeros(len(keys), np.bool_)
    return known


def _distinct(keys: pa.ListArray, counted: Bools) -> U64:
    """The keys of the documents that count, each once a document."""
    rows = pc.list_parent_indices(keys).to_numpy()
    values = keys.flatten().to_numpy()
    keep = counted[rows]
    rows, values = rows[keep], values[keep]
    order = np.lexsort((values, rows))
    rows, values = rows[order], values[order]
    new = np.ones(len(values), np.bool_)
    new[1:] = (values[1:] != values[:-1]) | (rows[1:] != rows[:-1])
    distinct: U64 = values[new]
    return distinct


def _recurring(kept: Iterable[U64], low: int, high: int, least: int) -> U64:
    last = np.uint64(high - 1)
    part = np.concatenate([np.empty(0, np.uint64), *(k[(k >= np.uint64(low)) & (k <= last)] for k in kept)])
    keys, counts = np.unique(part, return_counts=True)
    recurring: U64 = keys[counts >= least]
    return recurring


def _salts(urls: pa.Array, sources: pa.Array) -> U64:
    """A number for the domain of each row, or for its source where it has no address.  # [rows] uint64"""
    pairs = list(zip(urls.to_pylist(), sources.to_pylist(), strict=True))
    known = {pair: _salt(*pair) for pair in set(pairs)}
    return np.array([known[pair] for pair in pairs], np.uint64)


def _salt(url: str | None, source: str | None) -> int:
    host = host_of(url) if url else None
    name = (domain_of(host) or host) if host else f"\0{source}"
    value = 0
    for byte in (name or "").encode("utf-8", "surrogatepass"):
        value = (value ^ byte) * int(_STEP) & 0xFFFF_FFFF_FFFF_FFFF
    return value


@kernel
def _lines(offsets: I64, data: U8, valid: Bools, salts: U64, least: int, keys: U64, sizes: I32, ends: I32) -> None:
    """Hash every line of at least `least` characters: ASCII case folded, white space and digits each as one, so that
    a date or a page number does not make a notice another."""
    to = 0
    for row in range(len(valid)):
        at, stop = offsets[row], offsets[row + 1]
        if not valid[row]:
            at = stop
        while at < stop:
            h, count, last, size = salts[row], 0, np.uint8(32), 0
            while at < stop and data[at] != 10:
                byte = data[at]
                at += 1
                size += 1
                if byte == 9 or byte == 13:
                    byte = np.uint8(32)
                elif 65 <= byte <= 90:
                    byte = np.uint8(byte + 32)
                elif 48 <= byte <= 57:
                    byte = np.uint8(48)
                if (byte == 32 or byte == 48) and byte == last:
                    continue
                last = byte
                count += (byte & 0xC0) != 0x80
                h = (h ^ np.uint64(byte)) * _STEP
                h ^= h >> _HALF
            at += 1
            if count >= least:
                keys[to] = h
                sizes[to] = size
                to += 1
        ends[row + 1] = to
