"""Parquet and Arrow as records: what is corrupt costs its part, and says how much."""

from __future__ import annotations

import datetime as dt
import functools
import itertools
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curator.readers import tables
from curator.readers.columns import Columns
from curator.readers.records import Record, Watch

KINDS = ["a.parquet", "a.arrow", "a.arrows"]
every_kind = pytest.mark.parametrize("name", KINDS)


def write(path: Path, table: pa.Table | dict[str, Any], group: int = 10, **options: Any) -> Path:
    table = pa.table(table) if isinstance(table, dict) else table
    if path.suffix == ".parquet":
        pq.write_table(table, path, row_group_size=group, **options)
        return path
    new = pa.ipc.new_file if path.suffix == ".arrow" else pa.ipc.new_stream
    with pa.OSFile(str(path), "wb") as file, new(file, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as out:
        out.write_table(table, max_chunksize=group)
    return path


def records(path: Path, start: int = 0, **options: Any) -> list[Record]:
    return list(tables.records(path, start, Watch(), **options))


def resumes(path: Path) -> None:
    """Cursors grow, and behind each of them the rest is the same."""
    whole = records(path)
    cursors = [0, *(r.cursor for r in whole)]
    assert all(a < b for a, b in itertools.pairwise(cursors))
    for done, cursor in enumerate(cursors):
        assert repr(records(path, cursor)) == repr(whole[done:])  # repr: a NaN equals itself


def outcomes(path: Path, **options: Any) -> list[Any]:
    found = [r.columns.get("quarantine") or r.columns["text"] for r in records(path, **options)]
    resumes(path)
    return found


def numbered(rows: int = 30) -> pa.Table:
    return pa.table({"text": [f"document {n} " * 50 for n in range(rows)], "id": [f"d{n}" for n in range(rows)]})


@every_kind
def test_every_row_is_a_record(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, numbered())
    found = records(path)
    assert [(r.cursor, r.columns["record_id"], r.columns["offset"]) for r in found] == [
        (n + 1, f"d{n}", n) for n in range(30)
    ]
    assert found[7].columns["text"] == "document 7 " * 50 and found[7].columns["meta"] is None
    resumes(path)


@every_kind
def test_columns_of_any_type(tmp_path: Path, name: str) -> None:
    noon = dt.datetime(2020, 1, 2, 12, tzinfo=dt.UTC)
    table = pa.table(
        {
            "text": pa.array(["t"]).dictionary_encode(),
            "id": [2**60],
            "date": pa.array([noon], pa.timestamp("ns", "Europe/Berlin")),
            "meta": [{"url": "https://e.org/", "b": b"\xff\0", "d": Decimal("1.50"), "at": noon}],
            "lang": pa.array(["en"]).dictionary_encode(),
            "source": pa.array([b"bytes"]),
            "is_synthetic": [False],
            "bits": [b"\xff"],
            "image": [b"x" * 5000],
            "list": [[1, None]],
            "map": pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int8())),
            "nan": [float("nan")],
            "none": pa.nulls(1),
            "old": pa.array([-(2**60)], pa.timestamp("us")),
            "took": pa.array([1], pa.duration("ns")),
        }
    )
    (found,) = records(write(tmp_path / name, table))
    row = dict(found.columns)
    meta = json.loads(row.pop("meta"))
    assert row == {
        "text": "t", "record_id": str(2**60), "offset": 0, "published_at": noon, "url": "https://e.org/",
        "declared_language": "en", "source": "bytes", "declared_origin": "human",
        "declared_origin_evidence": "is_synthetic: False",
    }  # fmt: skip
    assert meta["meta"] == {"url": "https://e.org/", "b": "ff00", "d": "1.50", "at": "2020-01-02 12:00:00+00:00"}
    assert (meta["bits"], meta["list"], meta["map"], meta["nan"]) == ("ff", [1, None], [["k", 1]], None)
    assert meta["image"]["bytes"] == 5000 and len(meta["image"]["sha256"]) == 64
    assert set(meta) == {"meta", "bits", "image", "list", "map", "nan", "old", "took"}


@every_kind
@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.dictionary(pa.int32(), pa.string())]
)
def test_any_string_type_is_text(tmp_path: Path, name: str, kind: pa.DataType) -> None:
    column = pa.array(["é", None, "", "b"])
    column = column.cast(pa.binary()) if kind == pa.binary() else column.cast(kind)
    assert outcomes(write(tmp_path / name, {"text": column})) == ["é", "no_text", "", "b"]


@every_kind
def test_bytes_that_are_not_utf8_cost_their_row(tmp_path: Path, name: str) -> None:
    raw = pa.array([b"a", b"\xff", b"c"], pa.binary())
    lying = pa.Array.from_buffers(pa.string(), 3, raw.buffers())
    path = write(tmp_path / name, {"text": lying, "title": lying})
    assert outcomes(path) == ["a", "not_utf8", "c"]
    assert [r.columns.get("title") for r in records(path)] == ["a", "ff", "c"]


@every_kind
def test_without_a_column_of_text_one_row_says_so(tmp_path: Path, name: str) -> None:
    assert outcomes(write(tmp_path / name, {"body_text": ["x", "y"], "n": [1, 2]})) == [
        "no_text_column: has body_text, n"
    ]
    if name == "a.parquet":
        assert records(tmp_path / name)[0].columns["meta"] == '{"rows_lost":2}'
    assert outcomes(write(tmp_path / name, {"text": [1, 2]})) == ["no_text_column: text is int64, has text"]
    assert outcomes(write(tmp_path / name, {"text": pa.nulls(2)})) == ["no_text", "no_text"]


@every_kind
def test_names_that_come_twice_and_names_the_user_gives(tmp_path: Path, name: str) -> None:
    table = pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"]), pa.array([1])], ["text", "x", "x"])
    path = write(tmp_path / name, table)
    (found,) = records(path)
    assert (found.columns["text"], found.columns["meta"]) == ("a", '{"x":"b","x (2)":1}')
    assert [r.columns["text"] for r in records(path, columns=Columns(text="x"))] == ["b"]
    assert records(path, columns=Columns(text="md"))[0].columns["quarantine"].startswith("no_text_column")


def test_a_corrupt_row_group_costs_its_rows(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", numbered(), compression="zstd", use_dictionary=False)
    start = pq.read_metadata(path).row_group(1).column(0).data_page_offset
    data = bytearray(path.read_bytes())
    data[start : start + 60] = b"\xa5" * 60
    path.write_bytes(data)
    found = records(path)
    assert [r.cursor for r in found] == [*range(1, 11), 20, *range(21, 31)]
    assert found[10].columns["quarantine"].startswith("damaged_file: OSError: ")
    assert found[10].columns["meta"] == '{"rows_lost":10}'
    resumes(path)


def test_a_page_with_a_wrong_checksum_is_damaged(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", numbered(), compression="none", use_dictionary=False, write_page_checksum=True)
    data = path.read_bytes().replace(b"document 14 document 14", b"document 14 DOCUMENT 14", 1)
    path.write_bytes(data)
    assert [r.cursor for r in records(path)] == [*range(1, 11), 20, *range(21, 31)]


@every_kind
@pytest.mark.parametrize("part", [0.1, 0.5, 0.9, 0.999])
def test_a_file_that_is_cut_off(tmp_path: Path, name: str, part: float) -> None:
    whole = write(tmp_path / name, numbered(), **({} if name == "a.parquet" else {"compression": "zstd"})).read_bytes()
    cut = tmp_path / f"cut-{name}"
    cut.write_bytes(whole[: int(len(whole) * part)])
    *good, last = outcomes(cut)
    assert last.startswith("damaged_file: ") and good == [f"document {n} " * 50 for n in range(len(good))]
    assert len(good) % 10 == 0 and (name == "a.parquet" or part < 0.5 or good)


def test_a_corrupt_batch_costs_its_rows(tmp_path: Path) -> None:
    path = write(tmp_path / "a.arrow", numbered(), compression="zstd")
    data = path.read_bytes()
    second = [i for i in range(len(data)) if data.startswith(b"\x28\xb5\x2f\xfd", i)]
    per_batch = len(second) // 3
    path.write_bytes(data[: second[per_batch]] + b"\0\0\0\0" + data[second[per_batch] + 4 :])
    found = outcomes(path)
    assert len(found) == 21 and found[10].startswith("damaged_file: ") and found[11] == "document 20 " * 50


def test_offsets_that_lead_outside_are_found(tmp_path: Path) -> None:
    batch = pa.record_batch([pa.array(["one", "two"])], ["text"])
    path = tmp_path / "a.arrows"
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, batch.schema) as out:
        for _ in range(3):
            out.write_batch(batch)
    offsets = b"".join(n.to_bytes(4, "little") for n in (0, 3, 6))
    head, first, second, third = path.read_bytes().split(offsets)
    path.write_bytes(head + offsets + first + offsets[:8] + (1 << 30).to_bytes(4, "little") + second + offsets + third)
    found = outcomes(path)
    assert found[:2] + found[3:] == ["one", "two", "one", "two"] and found[2].startswith("damaged_file: ")


@every_kind
def test_rows_that_cost_no_bytes_are_not_believed(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "_FREE_ROWS", 10)
    monkeypatch.setattr(tables, "_ROWS_PER_BYTE", 0.01)
    path = write(tmp_path / name, {"text": pa.nulls(100_000)}, group=100_000)
    (found,) = outcomes(path)
    assert found.startswith("damaged_file: ValueError: it claims 100000 rows in ")


@pytest.mark.parametrize(
    "body", [b"", b"PAR1", b"ARROW1", b"PAR1" * 5, b"\xff" * 4 + b"\xff\xff\xff\x7f", b"text,id\n", b"FEA1" + bytes(50)]
)
def test_what_is_no_table_is_one_record(tmp_path: Path, body: bytes) -> None:
    (tmp_path / "a").write_bytes(body)
    (found,) = outcomes(tmp_path / "a")
    assert found.startswith("damaged_file: ")


@every_kind
def test_an_empty_table_has_no_records(tmp_path: Path, name: str) -> None:
    assert records(write(tmp_path / name, {"text": pa.array([], pa.string())})) == []


@every_kind
def test_a_poisoned_row_stays_unseen(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, numbered())
    begun: list[int] = []
    found = list(tables.records(path, 0, Watch({13: "timed_out"}, begun.append)))
    assert [r.columns.get("quarantine") for r in found] == [None] * 13 + ["timed_out"] + [None] * 16
    assert sorted(set(begun)) == [*range(30)] or sorted(set(begun)) == [*range(31)]


def test_a_poisoned_row_group_is_passed_over(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", numbered())
    found = list(tables.records(path, 0, Watch({10: "killed_its_parser"})))
    assert [r.cursor for r in found] == [*range(1, 11), 20, *range(21, 31)]
    assert (found[10].columns["quarantine"], found[10].columns["meta"]) == ("killed_its_parser", '{"rows_lost":10}')


@functools.cache
def sample(name: str, folder: Path) -> bytes:
    table = pa.table(
        {"text": ["word " * n if n % 3 else None for n in range(12)], "id": [*range(12)], "meta": [{"url": "u"}] * 12}
    )
    return write(folder / name, table, group=5).read_bytes()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(KINDS),
    st.lists(st.tuples(st.floats(0, 1), st.binary(max_size=4), st.integers(0, 4)), max_size=4),
)
def test_mutated_tables_are_accounted_for(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, name: str, edits: list[tuple[float, bytes, int]]
) -> None:
    data = bytearray(sample(name, tmp_path_factory.getbasetemp()))
    for at, new, old in edits:
        place = int(at * len(data))
        data[place : place + old] = new
    path = tmp_path / name
    path.write_bytes(data)
    for record in records(path):
        assert ("text" in record.columns) != ("quarantine" in record.columns)
        assert all(not isinstance(v, str) or v.encode() is not None for v in record.columns.values())
    resumes(path)
