"""Rows picked out of tables that lie end to end, as one table."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

I64 = npt.NDArray[np.int64]


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
    return near.take(pa.array(places - first))


def one_batch(table: pa.Table) -> pa.RecordBatch:
    """A table as one batch; a column in one piece is not copied, as `combine_chunks` would."""
    arrays = [column.chunk(0) if column.num_chunks == 1 else column.combine_chunks() for column in table.columns]
    return pa.RecordBatch.from_arrays(arrays, schema=table.schema)
