"""Rows come as they are asked for, whatever pieces they lie in, and are copied only where they must."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from curator.loading.gather import gathered, one_batch


def tables(sizes: list[int]) -> list[pa.Table]:
    """Tables of so many rows; texts are numbered through, every fifth is null."""
    ends = np.cumsum([0, *sizes])
    return [
        pa.table(
            {
                "text": pa.array([None if i % 5 == 4 else f"text {i} é" for i in range(a, b)], pa.large_string()),
                "n": range(a, b),
            }
        ).cast(pa.schema([("text", pa.large_string()), ("n", pa.int64())]))
        for a, b in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True)
    ]


@settings(deadline=None)
@given(st.data())
def test_rows_are_those_asked_for(data: st.DataObject) -> None:
    parts = tables(data.draw(st.lists(st.integers(0, 9), min_size=1, max_size=6)))
    total = sum(part.num_rows for part in parts)
    places = data.draw(st.lists(st.integers(0, total - 1), max_size=30)) if total else []
    found = gathered(parts, np.array(places, np.int64))
    assert found["n"].to_pylist() == places
    assert found["text"].to_pylist() == [None if i % 5 == 4 else f"text {i} é" for i in places]
    batch = one_batch(found)
    assert batch.schema == found.schema and batch.to_pylist() == found.to_pylist()


def test_rows_that_follow_one_another_are_not_copied() -> None:
    part, *others = tables([10, 5])
    batch = one_batch(gathered([part, *others], np.arange(3, 8)))
    assert batch["n"].to_pylist() == [3, 4, 5, 6, 7]
    for name in ("text", "n"):
        assert batch[name].buffers()[-1].address == part[name].chunk(0).buffers()[-1].address
    over = one_batch(gathered([part, *others], np.arange(8, 12)))
    assert over["n"].to_pylist() == [8, 9, 10, 11]
