"""Hashes of the exact text and of its words alone, for exact deduplication.

Two texts with one `text_hash` are the same bytes; two with one `norm_hash` have the same words in
the same order (`curator.text`), whatever their case, white space and punctuation. Texts without any
word, of signs alone, have one `norm_hash` if they are the same bytes; no text with words shares it.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curator import schema
from curator.ids import ID_BYTES, text_hash
from curator.stages import Measure, Stage
from curator.text import I64, U8, Bools, Utf8, normalised, row_groups, utf8_view

_GROUP_BYTES = 1 << 20


@dataclass(frozen=True)
class ExactHash(Stage):
    """Hash each text as it is, and as the stream of its words."""

    name: ClassVar[str] = "exact"
    version: ClassVar[str] = "2"
    needs: ClassVar[pa.Schema] = pa.schema([schema.DOCUMENTS.field("text")])

    @property
    def adds(self) -> pa.Schema:
        """`text_hash`, `norm_hash` and `text_bytes`."""
        return pa.schema(
            [
                schema.field("text_hash", schema.UUID, "16-byte hash of the exact text"),
                schema.field(
                    "norm_hash",
                    schema.UUID,
                    "the same hash of the text's case-folded words joined by one space, "
                    "or of the text itself if it has no word; null for an empty text",
                ),
                schema.field("text_bytes", pa.int64(), "length of the text in UTF-8 bytes"),
            ]
        )

    def weights(self) -> dict[str, str]:
        """The Unicode tables: another Unicode version may split other words."""
        return {"unicode": unicodedata.unidata_version}

    def open(self) -> Measure:
        """Return the measure; the kernel compiles on its first batch, or comes from numba's cache."""
        return self._measure

    def _measure(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        view = utf8_view(batch.column("text"))
        lengths = pa.array(np.diff(view.offsets), mask=~view.valid)
        exact = _hash_rows(view.offsets, view.data, view.valid)
        return pa.RecordBatch.from_arrays([exact, _norm_hashes(view), lengths], schema=self.adds)


def _norm_hashes(view: Utf8) -> pa.Array:
    """Hash the words of each row, or its bytes if it has none; groups of rows keep the words in cache and the memory small."""
    parts = [pa.array([], schema.UUID)]
    for first, last in row_groups(view.offsets, _GROUP_BYTES):
        rows = Utf8(view.offsets[first : last + 1], view.data, view.valid[first:last])
        ends, data = normalised(rows)
        worded = np.diff(ends) > 0
        wordless = rows.valid & ~worded & (np.diff(rows.offsets) > 0)
        parts.append(_hash_rows(ends, data, worded))
        if wordless.any():
            parts[-1] = pc.coalesce(parts[-1], _hash_rows(rows.offsets, rows.data, wordless))
    return pa.concat_arrays(parts)


def _hash_rows(offsets: I64, data: U8, valid: Bools) -> pa.Array:
    """Hash each row's bytes; null where not `valid`.  # [n] binary(16)"""
    hashes = b"".join(_hashes(offsets, data, valid))
    bits = pa.py_buffer(np.packbits(valid, bitorder="little"))
    return pa.Array.from_buffers(schema.UUID, len(valid), [bits, pa.py_buffer(hashes)])


def _hashes(offsets: I64, data: U8, valid: Bools) -> Iterator[bytes]:
    nothing = bytes(ID_BYTES)
    memory = memoryview(data.data)
    ends = offsets.tolist()  # plain ints slice faster than numpy's
    for row, known in enumerate(valid.tolist()):
        yield text_hash(memory[ends[row] : ends[row + 1]]) if known else nothing
