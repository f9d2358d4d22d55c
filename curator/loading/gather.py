"""Rows picked out of tables that lie end to end, as one table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

I64 = npt.NDArray[np.int64]

_LONG: Final = 512  # bytes of a text on average, from which laying all texts together costs more than a step for each


def gathered(tables: Sequence[pa.Table], places: I64) -> pa.Table:
    """Pick rows by their places in tables laid end to end; rows that follow one another are not copied.

    The tables have one schema.  places: [rows]
    """
    whole = pa.concat_tables(tables)
    if not len(places):
        return whole.slice(0, 0)
    first, last = int(places.min()), int(places.max())
    near = whole.slice(first, last - first + 1)
    if last - first == len(places) - 1 and (np.diff(places) == 1).all():
        return near
    return _taken(near, places - first)


def one_batch(table: pa.Table) -> pa.RecordBatch:
    """A table as one batch; a column in one piece is not copied, as `combine_chunks` would."""
    arrays = [column.chunk(0) if column.num_chunks == 1 else column.combine_chunks() for column in table.columns]
    return pa.RecordBatch.from_arrays(arrays, schema=table.schema)


def _taken(table: pa.Table, places: I64) -> pa.Table:
    """Pick rows; as Arrow lays a column's pieces together before it picks, long texts in pieces are copied one by one."""
    long = [name for name in table.column_names if _is_long(table[name])]
    short = table.drop_columns(long).take(pa.array(places)) if long else table.take(pa.array(places))
    arrays = [_texts(table[name], places) if name in long else short[name] for name in table.column_names]
    return pa.Table.from_arrays(arrays, schema=table.schema)


def _is_long(column: pa.ChunkedArray) -> bool:
    if column.num_chunks == 1 or not pa.types.is_large_string(column.type) or column.null_count:
        return False
    return bool(column.nbytes > _LONG * len(column))


def _texts(column: pa.ChunkedArray, places: I64) -> pa.Array:
    """Copy texts out of their pieces, each once."""
    chunks = [chunk for chunk in column.chunks if len(chunk)]
    ends = [np.frombuffer(chunk.buffers()[1], np.int64, len(chunk) + 1, 8 * chunk.offset) for chunk in chunks]
    raw = [memoryview(chunk.buffers()[2]) for chunk in chunks]
    piece = np.repeat(np.arange(len(chunks)), [len(chunk) for chunk in chunks])[places]
    begin = np.concatenate([own[:-1] for own in ends])[places]
    end = np.concatenate([own[1:] for own in ends])[places]
    found = zip(piece.tolist(), begin.tolist(), end.tolist(), strict=True)
    data = pa.py_buffer(b"".join([raw[p][b:e] for p, b, e in found]))
    offsets = pa.py_buffer(np.concatenate([[0], np.cumsum(end - begin)]))
    return pa.Array.from_buffers(column.type, len(places), [None, offsets, data])
