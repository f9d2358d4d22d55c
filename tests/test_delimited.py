"""CSV and TSV into records, quotes that lie included."""

from __future__ import annotations

import csv
import datetime as dt
import gzip
import io
import itertools
import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curator.readers import delimited
from curator.readers.columns import Columns
from curator.readers.records import Record, Watch


def records(path: Path, body: bytes | str | None = None, start: int = 0, **options: Any) -> list[Record]:
    if body is not None:
        path.write_bytes(body.encode() if isinstance(body, str) else body)
    return list(delimited.records(path, start, Watch(), **options))


def resumes(path: Path) -> None:
    """Cursors grow, and behind each of them the rest is the same."""
    whole = records(path)
    cursors = [0, *(r.cursor for r in whole)]
    assert all(a < b for a, b in itertools.pairwise(cursors))
    for done, cursor in enumerate(cursors):
        assert records(path, start=cursor) == whole[done:]


def outcomes(path: Path, body: bytes | str) -> list[Any]:
    """The text, the reason or what was skipped, of every record."""
    found = [r.skipped or r.columns.get("quarantine") or r.columns["text"] for r in records(path, body)]
    resumes(path)
    return found


def test_a_row_is_a_record(tmp_path: Path) -> None:
    body = 'id,text,date,votes,x\r\n7,"a ""b""\r\nc",2016-05-17,3,\r\n\r\n8,d,,,\r\n'
    found = records(tmp_path / "a.csv", body)
    assert [(r.cursor, r.skipped) for r in found] == [(52, None), (54, "blank"), (62, None)]
    row = dict(found[0].columns)
    assert len(row.pop("raw_sha256")) == 64
    assert row == {
        "record_id": "7", "offset": 22, "length": 30, "text": 'a "b"\r\nc', "meta": '{"votes":"3"}',
        "published_at": dt.datetime(2016, 5, 17, tzinfo=dt.UTC),
    }  # fmt: skip
    assert found[2].columns["meta"] is None and "published_at" not in found[2].columns
    resumes(tmp_path / "a.csv")


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("a.csv", "id,text\n1,x\n"),
        ("a.csv", "id;text\n1;x\n"),
        ("a.csv", "id|text\n1|x\n"),
        ("a.csv", "id\ttext\n1\tx\n"),
        ("a.tsv", 'id\ttext\t"a, b, c"\n1\tx\t\n'),
        ("a.csv", "\n\n id , text \n1,x\n"),
        ("a.csv", "id,text\r1,x\r"),
        ("a.csv", '"i\nd",text\n1,x'),
        ("a.csv", "\ufeffid,text\n1,x"),
        ("a.csv", b"\xef\xbb\xbftext,id\nx,1\n"),
        ("a.tsv.gz", gzip.compress(b"id\ttext\n1\tx\n")),
    ],
)
def test_delimiters_line_ends_and_headers(tmp_path: Path, name: str, body: bytes | str) -> None:
    assert outcomes(tmp_path / name, body) == ["x"]


@pytest.mark.parametrize("charset", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "cp1252"])
def test_charsets(tmp_path: Path, charset: str) -> None:
    text = "L’été dernier, la ville a décidé de rénover “l’école” près du musée."
    body = f'id,text\n1,"{text}"\n2,"{text}\n{text}"\n'.encode(charset)
    assert outcomes(tmp_path / "a.csv", body) == [text, f"{text}\n{text}"]
    assert json.loads(records(tmp_path / "a.csv", columns=Columns(text="id"))[0].columns["meta"]) == {"text": text}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("id,text\n1\n2,x,y\n3,z\n", ["ragged_row: 1 fields for 2", "ragged_row: 3 fields for 2", "z"]),
        ("id,text\n1,\n2,x\n", ["no_text", "x"]),
        (b"id,text\n1,\xff\n2,\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\n", ["not_utf8", "é" * 10]),
        ("id,text\n1,a\0b\n", ["a\0b"]),
        ('id,text\n1,"x\n2,y\n3,z\n', ["unterminated_quote", "y", "z"]),
        ('id,text\n1,"x', ["unterminated_quote"]),
        ('id,text\n1,x\n2,he said "no"\n', ["x", 'he said "no"']),
        ('id,text\n1,"he said "no" now"\n2,x\n', ["not_csv: ',' expected after '\"'", "x"]),
        ('id\ttext\n1\t"x\n2\ty\n3\t"z\n', ["not_csv: '\t' expected after '\"'", "y", "unterminated_quote"]),
        ("id,text\n1,a\rb\n2,x\n", ["not_csv: new-line character seen in unquoted field - do you need to o", "x"]),
        ("a,b\n1,2\n3,4\n", ["no_text_column: has a, b"]),
        ("text\n", []),
        ("", []),
        ("\n\n", []),
    ],
)  # fmt: skip
def test_every_fault_costs_its_row(tmp_path: Path, body: bytes | str, expected: list[str]) -> None:
    assert outcomes(tmp_path / "a.csv", body) == expected


def test_columns_of_one_name_and_too_many(tmp_path: Path) -> None:
    (found,) = records(tmp_path / "a.csv", "text,x,x,text\na,1,2,3\n")
    assert (found.columns["text"], found.columns["meta"]) == ("a", '{"x":"1","x (2)":"2","text (2)":"3"}')
    assert outcomes(tmp_path / "b.csv", "text" + ",x" * 20_000 + "\n") == ["no_header: 20001 columns"]


def test_the_user_s_names_win(tmp_path: Path) -> None:
    (found,) = records(tmp_path / "a.csv", "text,body\na,b\n", columns=Columns(text="body"))
    assert found.columns["text"] == "b"
    (found,) = records(tmp_path / "a.csv", columns=Columns(text="md"))
    assert found.columns["quarantine"] == "no_text_column: has text, body"


def test_a_quote_that_is_never_closed_does_not_swallow_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delimited, "MAX_ROW_BYTES", 100_000)
    rows = "".join(f"{n},word {n}\n" for n in range(20_000))
    (tmp_path / "a.csv").write_text('id,text\n0,"open\n' + rows)
    tracemalloc.start()
    found = [r.columns.get("text") for r in delimited.records(tmp_path / "a.csv", 0, Watch())]
    assert tracemalloc.get_traced_memory()[1] < 30 << 20
    tracemalloc.stop()
    assert found == [None, *(f"word {n}" for n in range(20_000))]


def test_quotes_that_open_on_every_line_take_linear_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delimited, "MAX_ROW_BYTES", 100_000)
    fed = 0
    original = delimited._Feed._text

    def counted(feed: Any, line: Any) -> str:
        nonlocal fed
        fed += 1
        return original(feed, line)

    monkeypatch.setattr(delimited._Feed, "_text", counted)
    found = records(tmp_path / "a.csv", "id,text\n" + 'x","y\n' * 50_000)
    assert len(found) == 50_000 and {r.columns["quarantine"] for r in found} == {"unterminated_quote"}
    assert fed < 2.1 * 50_000


def test_a_line_over_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delimited, "MAX_ROW_BYTES", 50)
    long = "x" * 60
    assert outcomes(tmp_path / "a.csv", f"id,text\n1,a\n2,{long}\n3,b\n") == ["a", "line_too_long", "b"]
    assert outcomes(tmp_path / "b.csv", f'id,text\n1,"a\n2,{long}\n3,b\n') == [
        "unterminated_quote",
        "line_too_long",
        "b",
    ]
    assert outcomes(tmp_path / "c.csv", f"id,{long},text\n3,b\n") == ["no_header: line_too_long"]


def test_a_stream_that_breaks_off_costs_one_row(tmp_path: Path) -> None:
    body = gzip.compress(b'id,text\n1,a\n2,"b\n') + gzip.compress(b'c"\n3,d\n' * 50)[:-20]
    found = outcomes(tmp_path / "a.csv.gz", body)
    assert found[0] == "a" and found[-1] == "damaged_stream: it is cut off"
    assert outcomes(tmp_path / "b.csv.gz", gzip.compress(b"id,text\n1,a\n")[:-9])[-1] == "damaged_stream: it is cut off"


def test_a_poisoned_row_stays_unseen(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,text\n1,a\n2,b\n3,c\n")
    begun: list[int] = []
    found = list(delimited.records(tmp_path / "a.csv", 0, Watch({12: "timed_out"}, begun.append)))
    assert [r.columns.get("quarantine") for r in found] == [None, "timed_out", None]
    assert found[1].columns["offset"] == 12 and {8, 12, 16} <= set(begun)


CELLS = st.text(st.sampled_from('ab ,;"\n\r\té'), max_size=6)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(CELLS, CELLS, CELLS), max_size=6), st.sampled_from([",", ";", "\t", "|"]))
def test_what_the_csv_module_writes_comes_back(
    tmp_path: Path, rows: list[tuple[str, str, str]], delimiter: str
) -> None:
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter, quoting=csv.QUOTE_ALL).writerows([("a", "text", "b"), *rows])
    found = records(tmp_path / "a.csv", out.getvalue())
    assert [r.columns.get("text", "") for r in found] == [text for _, text, _ in rows]
    resumes(tmp_path / "a.csv")


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from([b"", b"id,text\n", b"id\ttext\r\n", b"\xff\xfe", "id;text\n".encode("utf-16")]),
    st.lists(st.sampled_from([b'"', b"\n", b",", b"\r", b"1,a\n", b'"a\nb"', b"\0"]) | st.binary(max_size=4), max_size=20),
    st.booleans(),
    st.integers(0, 30),
)  # fmt: skip
def test_any_bytes_are_accounted_for(
    tmp_path: Path, header: bytes, pieces: list[bytes], packed: bool, cut: int
) -> None:
    body = header + b"".join(pieces)
    if packed:
        body = gzip.compress(body)
        body = body[: len(body) - cut]
    for record in records(tmp_path / "a.csv", body):
        assert record.skipped == "blank" or ("text" in record.columns) != ("quarantine" in record.columns)
        assert json.loads(record.columns.get("meta") or "{}") is not None
    resumes(tmp_path / "a.csv")
