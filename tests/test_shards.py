from __future__ import annotations

import errno
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curator import shards
from curator.errors import OutputError

SCHEMA = pa.schema([("x", pa.int64())])


def batches(*sizes: int) -> list[pa.RecordBatch]:
    return [pa.record_batch({"x": list(range(n))}, schema=SCHEMA) for n in sizes]


def test_a_file_is_whole_or_absent(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"

    def broken():
        yield from batches(3)
        raise ValueError("the machine caught fire")

    with pytest.raises(ValueError, match="fire"):
        shards.write_parquet(tmp_path, path, SCHEMA, broken(), "k")
    assert list(tmp_path.rglob("*.*")) == []
    shards.write_parquet(tmp_path, path, SCHEMA, batches(3, 2), "k")
    assert pq.ParquetFile(path).num_row_groups == 2
    assert shards.is_done(tmp_path, path, "k") and not shards.is_done(tmp_path, path, "other")


def test_the_same_batches_give_the_same_bytes(tmp_path: Path) -> None:
    a = shards.write_parquet(tmp_path, tmp_path / "a.parquet", SCHEMA, batches(5, 1), "k")
    b = shards.write_parquet(tmp_path, tmp_path / "b.parquet", SCHEMA, batches(5, 1), "k")
    assert a == b


def test_a_file_cut_short_after_its_receipt_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    shards.write_parquet(tmp_path, path, SCHEMA, batches(5), "k")
    path.write_bytes(path.read_bytes()[:-1])
    assert not shards.is_done(tmp_path, path, "k")
    shards.receipt_path(tmp_path, path).write_text("{")
    assert shards.read_receipt(tmp_path, path) is None


def test_an_empty_shard_is_a_file_too(tmp_path: Path) -> None:
    assert shards.write_parquet(tmp_path, tmp_path / "a.parquet", SCHEMA, [], "k").rows == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a device that is always out of space")
def test_a_full_disk_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OutputError, match="no space left"), shards.writing(tmp_path / "a") as temporary:
        temporary.write_text("begun")
        with open("/dev/full", "wb", buffering=0) as full:
            full.write(b"x")
    assert os.listdir(tmp_path) == []


def test_an_unwritable_folder_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"cannot write .*file/a.* -o"), shards.writing(tmp_path / "file" / "a"):
        pass
    assert errno.ENOSPC in shards._OUT_OF_SPACE


@given(st.lists(st.integers(0, 40), max_size=60), st.integers(1, 50), st.integers(1, 7))
def test_rebatch_keeps_every_row_and_its_limits(lengths: list[int], most_bytes: int, most_rows: int) -> None:
    batch = pa.record_batch({"text": pa.array(["x" * n for n in lengths], pa.large_string())})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "BATCH_BYTES", most_bytes)
        patch.setattr(shards, "BATCH_ROWS", most_rows)
        pieces = list(shards.rebatch(batch))
    assert [t for p in pieces for t in p["text"].to_pylist()] == batch["text"].to_pylist()
    for piece in pieces:
        assert piece.num_rows == 1 or sum(map(len, piece["text"].to_pylist())) <= most_bytes
        assert piece.num_rows <= most_rows


def test_files_of_one_shard_must_share_their_row_groups(tmp_path: Path) -> None:
    shards.write_parquet(tmp_path, tmp_path / "a.parquet", SCHEMA, batches(2, 2), "k")
    shards.write_parquet(tmp_path, tmp_path / "b.parquet", SCHEMA, batches(4), "k")
    with pytest.raises(OutputError, match="disagree"):
        list(shards.aligned_batches([(tmp_path / "a.parquet", ["x"]), (tmp_path / "b.parquet", ["x"])]))


def test_sweep_removes_only_what_was_left_half_written(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "a.parquet.123.tmp").write_text("half")
    (tmp_path / "d" / "audit.duckdb.123.tmp.wal").write_text("half a database's log")
    (tmp_path / "d" / "a.parquet").write_text("whole")
    shards.sweep(tmp_path)
    assert [p.name for p in (tmp_path / "d").iterdir()] == ["a.parquet"]


def test_only_what_comes_again_is_put_in_a_dictionary(tmp_path: Path) -> None:
    schema = pa.schema(
        [
            ("doc_id", pa.uuid()),
            ("text", pa.large_string()),
            ("record_id", pa.string()),
            ("source", pa.string()),
            ("reasons", pa.list_(pa.string())),
            ("vector", pa.list_(pa.float32(), 2)),
            ("extra", pa.struct([("lang", pa.string()), ("score", pa.float64())])),
        ]
    )
    row = {"doc_id": b"0" * 16, "text": "a", "record_id": "b", "source": "c", "reasons": ["d"], "vector": [1.0, 2.0]}
    batch = pa.RecordBatch.from_pylist([row | {"extra": {"lang": "en", "score": 0.5}}] * 3, schema=schema)
    shards.write_parquet(tmp_path, tmp_path / "a.parquet", schema, [batch], "k")
    group = pq.ParquetFile(tmp_path / "a.parquet").metadata.row_group(0)
    columns = [group.column(i) for i in range(group.num_columns)]
    dictionaries = {c.path_in_schema for c in columns if c.has_dictionary_page}
    assert dictionaries == {"source", "reasons.list.element", "extra.lang"} == set(shards.repeating(schema))
    assert pq.read_table(tmp_path / "a.parquet").to_pylist() == pa.Table.from_batches([batch]).to_pylist()


@settings(deadline=None)
@given(
    st.lists(
        st.lists(st.sampled_from([0.0, 1.0, 2.0, 4.0, 0.5, 2.3, None, 17.0]), min_size=1, max_size=12), max_size=9
    ),
    st.integers(1, 9),
    st.integers(1, 60),
)
def test_rows_of_one_weight_come_together(weights: list[list[float | None]], most_rows: int, most_bytes: int) -> None:
    number = iter(range(10_000))
    given_ = [
        pa.record_batch(
            {
                "text": pa.array([f"{next(number)}" for _ in one], pa.large_string()),
                "weight": pa.array(one, pa.float64()),
            }
        )
        for one in weights
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "BATCH_ROWS", most_rows)
        patch.setattr(shards, "BATCH_BYTES", most_bytes)
        found = list(shards.alike(given_))
    rows = [row for batch in given_ for row in batch.to_pylist()]
    assert sorted(int(r["text"]) for batch in found for r in batch.to_pylist()) == list(range(len(rows)))
    apart = {0.0, 1.0, 2.0, 4.0}
    seen: dict[object, list[int]] = {}
    for batch in found:
        kinds = {w if w in apart else "other" for w in batch["weight"].to_pylist()}
        assert len(kinds) == 1 and batch.num_rows <= most_rows
        seen.setdefault(kinds.pop(), []).extend(int(t) for t in batch["text"].to_pylist())
    assert all(texts == sorted(texts) for texts in seen.values())
    # at most one batch of each weight is not full
    assert len(found) <= len(seen) + sum(1 for b in found if b.num_rows == most_rows or most_bytes < 60)
