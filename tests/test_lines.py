"""JSON lines into records: one for every line, whatever is in it."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import itertools
import json
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curator.readers import lines
from curator.readers.columns import Columns
from curator.readers.records import Record, Watch

COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    ".jsonl": bytes,
    ".jsonl.gz": gzip.compress,
    ".jsonl.zst": zstandard.ZstdCompressor().compress,
    ".jsonl.bz2": bz2.compress,
    ".jsonl.xz": lzma.compress,
}


def records(path: Path, body: bytes | None = None, start: int = 0, **options: Any) -> list[Record]:
    if body is not None:
        path.write_bytes(body)
    return list(lines.records(path, start, Watch(), **options))


def resumes(path: Path) -> None:
    """Cursors grow, and behind each of them the rest is the same."""
    whole = records(path)
    cursors = [0, *(r.cursor for r in whole)]
    assert all(a < b for a, b in itertools.pairwise(cursors))
    for done, cursor in enumerate(cursors):
        assert records(path, start=cursor) == whole[done:]


def one(tmp_path: Path, line: bytes | str, **options: Any) -> dict[str, Any]:
    (record,) = records(tmp_path / "a.jsonl", line.encode() if isinstance(line, str) else line, **options)
    return dict(record.columns)


BODY = b'{"text": "one", "n": 1}\n\r\n{"text": "two"}\r\n{"text": "\xc3\xa9"}'


@pytest.mark.parametrize("suffix", COMPRESS)
def test_places_are_those_of_the_uncompressed_stream(tmp_path: Path, suffix: str) -> None:
    found = records(tmp_path / f"a{suffix}", COMPRESS[suffix](BODY))
    assert [(r.cursor, r.skipped, r.columns.get("text")) for r in found] == [
        (24, None, "one"),
        (26, "blank", None),
        (43, None, "two"),
        (57, None, "é"),
    ]
    assert found[0].columns == {
        "record_id": "#0", "offset": 0, "length": 24, "text": "one", "meta": '{"n":1}', "charset": "utf-8",
        "raw_sha256": hashlib.sha256(b'{"text": "one", "n": 1}').hexdigest(),
    }  # fmt: skip
    resumes(tmp_path / f"a{suffix}")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"text": "a\xff"}', "not_utf8"),
        ('{"text": "a"', "not_json: Expecting ',' delimiter: line 1 column 13 (char 12)"),
        ('{"text": "a"} {"text": "b"}', "not_json: Extra data: line 1 column 15 (char 14)"),
        ("just words", "not_json: Expecting value: line 1 column 1 (char 0)"),
        ('["text"]', "not_an_object: list"),
        ('"text"', "not_an_object: str"),
        ("null", "not_an_object: null"),
        ("7", "not_an_object: int"),
        ("{}", "no_text_field: has none"),
        ('{"a":1,"b":1,"c":1,"d":1,"e":1,"f":1}', "no_text_field: has a, b, c, d, e, …"),
        ('{"text": null}', "no_text"),
        ('{"text": NaN}', "no_text"),
        ('{"text": 5}', "text_is: int"),
        ('{"text": ["a"]}', "text_is: list"),
        ('{"text": "half \\ud83d"}', "lone_surrogate"),
        ('{"text": "a", "n": ' + "9" * 5000 + "}", "not_json: Exceeds the limit (4300 digits)"),
        ('{"text": ' + "[" * 100_000, "not_json: nested too deep"),
        (b"\x00\x01\x02", "not_json: Expecting value"),
        (b'\xff\xfe{\x00"\x00', "not_utf8"),
    ],
)
def test_every_fault_has_its_reason(tmp_path: Path, line: bytes | str, reason: str) -> None:
    row = one(tmp_path, line)
    assert str(row["quarantine"]).startswith(reason) and "text" not in row
    assert (row["record_id"], row["offset"], row["length"]) == ("#0", 0, len(line))


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (b'\xef\xbb\xbf{"text": "a mark before"}', "a mark before"),
        ('{"text": "nul \\u0000"}', "nul \0"),
        ('{"text": "raw \t tab"}', "raw \t tab"),
        ('{"text": "pair \\ud83d\\ude00"}', "pair 😀"),
        ('{"text": "first", "text": "last"}', "last"),
        ('{"text": ""}', ""),
    ],
)
def test_what_can_be_read_is_read(tmp_path: Path, line: bytes | str, text: str) -> None:
    row = one(tmp_path, line)
    assert row["text"] == text and "quarantine" not in row


def test_numbers_keep_their_digits_and_python_s_own_words_become_null(tmp_path: Path) -> None:
    number = 12345678901234567890123
    row = one(tmp_path, f'{{"text": "t", "id": {number}, "n": {number}, "x": [NaN, -Infinity, 1.5]}}')
    assert row["record_id"] == str(number)
    assert row["meta"] == f'{{"n":{number},"x":[null,null,1.5]}}'


def test_half_a_pair_elsewhere_stays_an_escape(tmp_path: Path) -> None:
    row = one(tmp_path, '{"text": "t", "url": "http://e.org/\\ud800", "x": "\\udfff"}')
    assert (row["text"], row["url"], row["meta"]) == ("t", "http://e.org/\\ud800", '{"x":"\\udfff"}')


def test_a_line_over_the_limit_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "MAX_RECORD_BYTES", 3 << 20)
    long = b'{"text": "' + b"x" * (3 << 20) + b'"}\n'
    found = records(tmp_path / "a.jsonl.gz", gzip.compress(b'{"text": "a"}\n' + long + b'{"text": "b"}\n'))
    assert [r.columns.get("quarantine", r.columns.get("text")) for r in found] == ["a", "line_too_long", "b"]
    assert (found[1].columns["offset"], found[1].columns["length"]) == (14, len(long))


@pytest.mark.parametrize("suffix", list(COMPRESS)[1:])
def test_a_stream_that_breaks_off_costs_one_row(tmp_path: Path, suffix: str) -> None:
    packed = COMPRESS[suffix](b'{"text": "a"}\n{"text": "b"}\n{"te') + COMPRESS[suffix](b'xt": "c"}\n')[:-6]
    found = records(tmp_path / f"a{suffix}", packed)
    texts = [r.columns.get("text") for r in found]
    assert texts in (["a", "b", None], ["a", "b", "c", None])  # the last line may be whole where only a checksum is cut
    assert found[-1].columns["offset"] == found[-2].cursor
    assert [r.columns["quarantine"] for r in found if "text" not in r.columns] == ["damaged_stream: it is cut off"]
    resumes(tmp_path / f"a{suffix}")


def test_a_poisoned_line_stays_unseen(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(BODY)
    begun: list[int] = []
    found = list(lines.records(path, 0, Watch({26: "timed_out"}, begun.append)))
    assert [r.columns.get("quarantine") for r in found] == [None, None, "timed_out", None]
    assert [place for place in begun if place in (0, 26, 43)] and max(begun) == 43


def test_the_user_s_names_win(tmp_path: Path) -> None:
    line = '{"text": "wrong", "markdown": "right", "link": "http://e.org/"}'
    row = one(tmp_path, line, columns=Columns(text="markdown", url="link"))
    assert (row["text"], row["url"], row["meta"]) == ("right", "http://e.org/", '{"text":"wrong"}')
    assert one(tmp_path, line, columns=Columns(text="md"))["quarantine"] == "no_text_field: has text, markdown, link"


# --- `.json`: one array, or objects that span lines --------------------------------------------------------------------


def texts(path: Path, body: str) -> list[str]:
    found = [str(r.columns.get("text", r.columns.get("quarantine"))) for r in records(path, body.encode())]
    resumes(path)
    return found


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('[{"text": "a"}, {"text": "b"}]', ["a", "b"]),
        ('\ufeff [\n {"text": "a ] } , \\" \\\\"},\n {"text": "b", "n": [1, {"x": []}]}\n]\n', ['a ] } , " \\', "b"]),
        ("[]", []),
        ('[{"text": "a"}, 5, "x,y", [1, 2], {"text": "b"},]', ["a", "not_an_object: int", "not_an_object: str", "not_an_object: list", "b"]),
        ('[{"text": "a"}, {"text": oops}, {"text": "b"}]', ["a", "not_json: Expecting value: line 1 column 10 (char 9)", "b"]),
        ('[{"text": "a"}, {"text": "cut o', ["a", "not_json: Unterminated string starting at: line 1 column 10 (char 9)"]),
        ('[{"text": "a"}] and more', ["a", "not_json: Expecting value: line 1 column 1 (char 0)"]),
        ('{\n  "text": "a {",\n  "n": {"x": 1}\n}\n', ["a {"]),
        ('{"text": "a"}{"text": "b"}', ["a", "b"]),
        ('{\n"text": "a"\n},\n{\n"text": "b"\n}', ["a", "b"]),
        ('{"text": "a"}\n{"text": "b"}\n', ["a", "b"]),
        ('broken\n{"text": "a"}\n{"text": broken\n{"text": "b"}\n', ["not_json: Expecting value: line 1 column 1 (char 0)", "a", "not_json: Expecting value: line 1 column 10 (char 9)", "b"]),
        ("", []),
    ],
)  # fmt: skip
def test_a_json_file_of_any_layout(tmp_path: Path, body: str, expected: list[str]) -> None:
    assert texts(tmp_path / "a.json", body) == expected


def test_a_value_over_the_limit_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "MAX_RECORD_BYTES", 100)
    body = json.dumps([{"text": "a"}, {"text": "x" * 100}, {"text": "b"}])
    assert texts(tmp_path / "a.json", body) == ["a", "line_too_long", "b"]


def test_a_value_may_cross_any_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = '[{"text": "\\\\\\"],[{", "n": [[], {}]}, {"text": "é"}]'
    for size in (1, 2, 3, 7):
        monkeypatch.setattr("curator.readers.streams.BLOCK_BYTES", size)
        monkeypatch.setattr(lines, "_layout", lambda path: "array")
        assert texts(tmp_path / "a.json", body) == ['\\"],[{', "é"]


# --- Anything at all ---------------------------------------------------------------------------------------------------

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
OBJECTS = st.dictionaries(
    st.sampled_from(["text", "id", "url", "date", "source", "lang", "metadata", "meta", "is_synthetic", "x"]), VALUES
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(OBJECTS, max_size=5))
def test_any_objects_come_back(tmp_path: Path, objects: list[dict[str, Any]]) -> None:
    for name, body in (("a.jsonl", "\n".join(map(json.dumps, objects))), ("a.json", json.dumps(objects, indent=1))):
        found = records(tmp_path / name, body.encode())
        assert len(found) == len(objects)
        for record, value in zip(found, objects, strict=True):
            good = isinstance(value.get("text"), str)
            assert record.columns.get("text") == (value["text"] if good else None)
            assert ("quarantine" in record.columns) != good
        resumes(tmp_path / name)


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from([*COMPRESS, ".json"]),
    st.lists(st.sampled_from([b'{"text": "a"}', b"\n", b"[", b"]", b"{", b'"', b"\\", b",", b"\xef\xbb\xbf"]) | st.binary(max_size=6)),
    st.integers(0, 60),
)  # fmt: skip
def test_any_bytes_are_accounted_for(tmp_path: Path, suffix: str, pieces: list[bytes], cut: int) -> None:
    path = tmp_path / f"a{suffix}"
    packed = COMPRESS.get(suffix, bytes)(b"".join(pieces))
    path.write_bytes(packed[: len(packed) - cut])
    for record in records(path):
        assert record.skipped == "blank" or ("text" in record.columns) != ("quarantine" in record.columns)
        for value in record.columns.values():
            assert not isinstance(value, str) or value.encode() is not None
    resumes(path)
