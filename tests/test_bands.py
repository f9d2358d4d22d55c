"""Hashes on disk and their sorts, against numpy in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curator.bands import (
    HashColumns,
    HashSort,
    Spill,
    band_hashes,
    has_equal_neighbour,
    numbers,
    sort_rows,
    starts_of_runs,
)
from curator.errors import OutputError

ANY = st.integers(0, 2**64 - 1)
FEW = st.sampled_from([0, 1, 2**8, 2**56, 2**63, 2**64 - 1])  # equal ones, and ones that differ in one byte


@settings(deadline=None)
@given(st.lists(st.one_of(ANY, FEW), max_size=300))
def test_rows_are_sorted_as_numpy_sorts_them(keys: list[int]) -> None:
    values, rows = np.array(keys, np.uint64), np.arange(len(keys), dtype=np.uint32)
    order = np.argsort(values, kind="stable")
    ascending, sorted_rows = values.copy(), rows.copy()
    sort_rows(ascending, sorted_rows)
    assert (ascending == values[order]).all()
    assert (sorted_rows == order).all()


@pytest.mark.parametrize("distinct", [1, 3, 10**6, 2**63])
def test_many_rows_are_sorted_too(distinct: int) -> None:
    values = np.random.default_rng(distinct).integers(0, distinct, 200_000, dtype=np.uint64) << np.uint64(1)
    ascending, rows = values.copy(), np.arange(len(values), dtype=np.uint32)
    sort_rows(ascending, rows)
    assert (rows == np.argsort(values, kind="stable")).all()
    assert (ascending == np.sort(values)).all()


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 40_000), st.integers(1, 20_000), st.integers(0, 10**6))
def test_columns_come_back_whatever_the_batches(rows: int, batch: int, seed: int) -> None:
    """More rows than a block holds, in batches that do and do not fit it."""
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 2**64, (3, rows), dtype=np.uint64)
    chosen = rng.random(rows) < 0.5
    with Spill() as spill:
        columns = HashColumns(spill, 3, rows)
        for first in range(0, rows, batch):
            part = values[:, first : first + batch]
            columns.append(part[:1], part[1:])
        for column in range(3):
            assert (
                np.concatenate([np.empty(0, np.uint64), *map(np.copy, columns.blocks(column))]) == values[column]
            ).all()
            hashes, found = HashSort(chosen)(columns, column)
            assert (hashes == np.sort(values[column][chosen])).all()
            assert (values[column][found] == hashes).all() and chosen[found].all()


@settings(deadline=None)
@given(st.lists(st.booleans()), st.lists(st.integers(0, 5)))
def test_masks_and_runs(mask: list[bool], values: list[int]) -> None:
    assert numbers(np.array(mask, np.bool_)).tolist() == [i for i, true in enumerate(mask) if true]
    ascending = np.array(sorted(values), np.uint64)
    assert starts_of_runs(ascending).tolist() == [sorted(values).index(v) for v in sorted(set(values))]
    assert has_equal_neighbour(ascending).tolist() == [values.count(v) > 1 for v in sorted(values)]


def test_what_is_spilled_is_read_back_and_gone(tmp_path: Path) -> None:
    with Spill(tmp_path) as spill:
        places = [spill.append(np.arange(n, dtype=np.uint32)) for n in (0, 5, 7)]
        assert places == [0, 0, 20]
        assert spill.size == 48
        assert spill.read(20, np.empty(7, np.uint32)).tolist() == list(range(7))
        assert np.frombuffer(spill.map(), np.uint32).tolist() == [*range(5), *range(7)]
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"missing.*TMPDIR"):
        Spill(tmp_path / "missing")


def test_a_full_disk_is_said() -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full here")
    spill = Spill()
    with spill, open(full, "wb", buffering=0) as file:
        spill._file, own = file, spill._file
        with pytest.raises(OutputError, match="No space left"):
            spill.append(np.arange(5))
        own.close()


def test_band_hashes_honour_slices_and_use_every_row_of_a_band() -> None:
    values = np.arange(60, dtype=np.uint32)
    signatures = pa.FixedSizeListArray.from_arrays(pa.array(values), 12)
    whole = band_hashes(signatures, 3, 4)
    assert (band_hashes(signatures.slice(1, 3), 3, 4) == whole[:, 1:4]).all()
    for place in range(12):
        changed = values.copy()
        changed[place] += 1
        other = band_hashes(pa.FixedSizeListArray.from_arrays(pa.array(changed), 12), 3, 4)
        assert np.argwhere(other != whole).tolist() == [[place // 4, 0]]
