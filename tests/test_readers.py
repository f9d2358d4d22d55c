"""From strangers' tables to documents: one row out for every row in."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curator import readers, sources
from curator.errors import InputError
from curator.readers import documents, parquet
from curator.readers.columns import Columns, resolve
from curator.readers.documents import Reader


def write(path: Path, table: pa.Table | dict[str, Any], **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(table) if isinstance(table, dict) else table, path, **options)
    return path


def read(
    *inputs: Path | str, named: Columns | None = None, source: str | None = None, target_rows: int | None = None
) -> list[dict[str, Any]]:
    corpus = readers.corpus(sources.find([str(i) for i in inputs], source).sources, named or Columns(), target_rows)
    rows = [
        row for chunk in corpus.chunks for batch in Reader(chunk, corpus.extra).batches() for row in batch.to_pylist()
    ]
    assert len(rows) == corpus.rows
    return rows


@pytest.mark.parametrize("name", ["text", "content", "raw_content", "body", "TEXT"])
def test_the_text_column_is_found_by_its_usual_names(tmp_path: Path, name: str) -> None:
    assert read(write(tmp_path / "a.parquet", {name: ["hello"], "n": [1]}))[0]["text"] == "hello"


def test_every_part_is_recognised_and_the_rest_travels(tmp_path: Path) -> None:
    day = dt.datetime(2020, 1, 2, tzinfo=dt.UTC)
    path = write(
        tmp_path / "a.parquet",
        {
            "body": ["t"],
            "id": [7],
            "url": ["https://e.org/x"],
            "date": ["2020-01-02"],
            "source": ["s"],
            "lang": ["en"],
            "is_synthetic": [True],
            "votes": [3],
        },
    )
    (row,) = read(path)
    found = {
        k: row[k]
        for k in ("text", "record_id", "url", "date", "source", "declared_language", "declared_origin", "extra")
    }
    assert found == {
        "text": "t", "record_id": "7", "url": "https://e.org/x", "date": day, "source": "s",
        "declared_language": "en", "declared_origin": "synthetic", "extra": {"votes": 3},
    }  # fmt: skip


def test_a_named_column_wins_and_must_exist(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", {"text": ["wrong"], "markdown": ["right"]})
    assert read(path, named=Columns(text="markdown"))[0]["text"] == "right"
    with pytest.raises(
        InputError, match=r"no single column 'md' for --text-column; its columns are: 'text', 'markdown'"
    ):
        read(path, named=Columns(text="md"))


def test_without_a_text_column_the_message_lists_the_columns(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no text column .*'title', 'n'.*--text-column"):
        read(write(tmp_path / "a.parquet", {"title": ["x"], "n": [1]}))
    with pytest.raises(InputError, match=r"column 'text' holds int64, not text"):
        read(write(tmp_path / "b.parquet", {"text": [1]}))


@pytest.mark.parametrize(
    "kind",
    [
        pa.string(),
        pa.large_string(),
        pa.binary(),
        pa.large_binary(),
        pa.dictionary(pa.int32(), pa.string()),
        pa.string_view(),
    ],
)
def test_any_string_type_is_text(tmp_path: Path, kind: pa.DataType) -> None:
    column = (
        pa.array(["é", None, "b"]).cast(pa.binary()).cast(kind)
        if pa.types.is_binary(kind)
        else pa.array(["é", None, "b"]).cast(kind)
    )
    rows = read(write(tmp_path / "a.parquet", pa.table({"text": column})))
    assert [r["text"] for r in rows] == ["é", None, "b"]
    assert [r["quarantine"] for r in rows] == [None, "no_text", None]


def test_bytes_that_are_not_utf8_cost_one_quarantine_row(tmp_path: Path) -> None:
    column = pa.array([b"good", b"\xff\xfe bad", b"", b"\xc3\xa9"], pa.binary())
    rows = read(
        write(
            tmp_path / "a.parquet",
            pa.table({"text": column, "id": pa.array([b"a", b"b\xff", b"c", b"d"], pa.binary())}),
        )
    )
    assert [(r["text"], r["quarantine"]) for r in rows] == [("good", None), (None, "not_utf8"), ("", None), ("é", None)]
    assert rows[1]["record_id"] == "b\ufffd"
    # a string column may lie about its bytes too
    lying = pa.Array.from_buffers(pa.string(), 4, pa.array(column).buffers())
    rows = read(write(tmp_path / "b.parquet", pa.table({"text": lying})))
    assert [r["quarantine"] for r in rows] == [None, "not_utf8", None, None]


def test_a_text_over_the_limit_is_quarantined_and_the_rest_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(documents, "MAX_TEXT_BYTES", 10)
    rows = read(write(tmp_path / "a.parquet", {"text": ["x" * 11, "x" * 10]}))
    assert [(r["quarantine"], r["text"]) for r in rows] == [("text_too_large", None), (None, "x" * 10)]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2020-01-02", "2020-01-02T00:00:00+00:00"),
        ("2020-01-02T03:04:05Z", "2020-01-02T03:04:05+00:00"),
        ("2020-01-02 03:04:05+02:00", "2020-01-02T01:04:05+00:00"),
        ("2016", "2016-01-01T00:00:00+00:00"),
        ("2016-05", "2016-05-01T00:00:00+00:00"),
        ("20160517", "2016-05-17T00:00:00+00:00"),
        ("Tue, 17 May 2016 10:00:00 GMT", "2016-05-17T10:00:00+00:00"),
        ("soon", None),
        ("", None),
        (1_463_479_200, "2016-05-17T10:00:00+00:00"),
        (1_463_479_200_000, "2016-05-17T10:00:00+00:00"),
        (2016, "2016-01-01T00:00:00+00:00"),
        (dt.date(2016, 5, 17), "2016-05-17T00:00:00+00:00"),
        (dt.datetime(2016, 5, 17, 10), "2016-05-17T10:00:00+00:00"),
        (10**18, None),
    ],
)
def test_dates_are_understood_or_null(tmp_path: Path, value: Any, expected: str | None) -> None:
    (row,) = read(write(tmp_path / "a.parquet", {"text": ["t"], "date": [value]}))
    assert (row["date"] and row["date"].isoformat()) == expected


def test_sources_are_folders_files_or_what_the_user_says(tmp_path: Path) -> None:
    for name in ("cc/1.parquet", "cc/2.parquet", "wiki/1.parquet", "top.parquet"):
        write(tmp_path / "crawl" / name, {"text": [name]})
    rows = read(tmp_path / "crawl")
    assert [(r["path"], r["source"]) for r in rows] == [
        ("cc/1.parquet", "cc"),
        ("cc/2.parquet", "cc"),
        ("top.parquet", "crawl"),
        ("wiki/1.parquet", "wiki"),
    ]
    assert {r["source"] for r in read(tmp_path / "crawl", source="mine")} == {"mine"}
    assert [r["source"] for r in read(tmp_path / "crawl" / "cc" / "1.parquet")] == ["1"]
    assert len(read(str(tmp_path / "crawl" / "**" / "*.parquet"))) == 4


def test_ids_are_of_the_source_and_the_record_never_of_the_text(tmp_path: Path) -> None:
    a = read(write(tmp_path / "a.parquet", {"text": ["one", "two"], "id": ["x", "y"], "source": ["s", "s"]}))
    b = read(write(tmp_path / "b.parquet", {"text": ["changed"], "id": ["y"], "source": ["s"]}))
    assert b[0]["doc_id"] == a[1]["doc_id"] != a[0]["doc_id"]


def test_files_that_disagree_on_a_travelling_column_meet_as_strings(tmp_path: Path) -> None:
    write(tmp_path / "c" / "a.parquet", {"text": ["a"], "n": [1], "same": [1.5]})
    write(tmp_path / "c" / "b.parquet", {"text": ["b"], "n": ["two"], "only": [[1, 2]]})
    rows = read(tmp_path / "c")
    assert [r["extra"] for r in rows] == [
        {"n": "1", "only": None, "same": 1.5},
        {"n": "two", "only": [1, 2], "same": None},
    ]


def test_bad_files_are_named_with_their_fault(tmp_path: Path) -> None:
    whole = write(tmp_path / "a.parquet", {"text": ["x" * 1000]}).read_bytes()
    for name, data, fault in (
        ("cut", whole[:-20], "truncated"),
        ("csv", b"text,id\n", "does not start with PAR1"),
        ("nil", b"", "empty"),
    ):
        (tmp_path / f"{name}.parquet").write_bytes(data)
        with pytest.raises(InputError, match=f"{name}.parquet is not a readable Parquet file.*{fault}"):
            read(tmp_path / f"{name}.parquet")
    with pytest.raises(InputError, match=r"no such file, folder or glob: .*nope"):
        read(tmp_path / "nope")
    (tmp_path / "void").mkdir()
    with pytest.raises(InputError, match=r"void holds no file"):
        read(tmp_path / "void")
    with pytest.raises(InputError, match="not one row"):
        read(write(tmp_path / "zero.parquet", {"text": pa.array([], pa.string())}))


def test_a_corrupt_page_costs_its_row_group_and_no_more(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.parquet",
        {"text": [f"document {i} " * 50 for i in range(30)]},
        row_group_size=10,
        compression="zstd",
        use_dictionary=False,
    )
    start = pq.read_metadata(path).row_group(1).column(0).data_page_offset
    data = bytearray(path.read_bytes())
    data[start : start + 60] = b"\xa5" * 60
    path.write_bytes(data)
    rows = read(path)
    assert [r["quarantine"] is None for r in rows] == [True] * 10 + [False] * 10 + [True] * 10
    assert all(r["quarantine"].startswith("unreadable") for r in rows[10:20])
    assert [r["row"] for r in rows] == list(range(30))


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.one_of(st.none(), st.text(max_size=30)), min_size=1, max_size=60),
    st.integers(1, 20),
    st.integers(1, 20),
    st.integers(1, 25),
)
def test_any_cut_keeps_every_row_in_order(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str | None], group: int, target: int, shard: int
) -> None:
    texts = [None if t is None else t.encode("utf-8", "ignore").decode() for t in texts]
    path = write(
        tmp_path_factory.mktemp("cut") / "a.parquet", {"text": pa.array(texts, pa.string())}, row_group_size=group
    )
    corpus = readers.corpus(sources.find([str(path)]).sources, Columns(), target)
    found = []
    for chunk in corpus.chunks:
        pieces = [[b for b in piece] for piece in documents.cut(Reader(chunk, corpus.extra).batches(), shard)]
        sizes = [sum(b.num_rows for b in piece) for piece in pieces]
        assert all(size == shard for size in sizes[:-1]) and 0 < sizes[-1] <= shard and sum(sizes) == chunk.rows
        found += [t for piece in pieces for b in piece for t in b["text"].to_pylist()]
    assert found == texts


def test_a_column_name_is_data(tmp_path: Path) -> None:
    nasty = 'x"; drop table documents; --'
    (row,) = read(write(tmp_path / "a.parquet", {"text": ["t"], nasty: [1]}))
    assert row["extra"] == {nasty: 1}


def test_resolve_ignores_an_ambiguous_usual_name() -> None:
    schema = pa.schema([("text", pa.string()), ("Text", pa.string()), ("body", pa.string())])
    assert resolve(schema, Columns(), "here").text == "body"


def test_dates_of_no_column_are_null() -> None:
    with duckdb.connect() as sql:
        assert documents.dates(None, 3, sql).null_count == 3
    assert parquet.as_utf8(pa.array(["a"]))[1].to_pylist() == [False]
