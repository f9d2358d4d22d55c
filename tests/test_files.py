"""A file that is one document."""

from __future__ import annotations

import codecs
import datetime as dt
import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curator.readers import files
from curator.readers.records import Record, Watch


def read(path: Path, body: bytes | str, watch: Watch | None = None) -> dict[str, Any]:
    path.write_bytes(body.encode() if isinstance(body, str) else body)
    (record,) = files.records(path, 0, watch or Watch())
    assert list(files.records(path, record.cursor, Watch())) == []
    return dict(record.columns)


def test_a_text_file_is_one_document_as_written(tmp_path: Path) -> None:
    row = read(tmp_path / "a.txt", "Zeile eins\r\n\tZeile zwei – ende\n")
    assert row["text"] == "Zeile eins\r\n\tZeile zwei – ende\n"
    assert (row["record_id"], row["offset"], row["length"], row["mime"], row["charset"]) == (
        "#0", 0, 33, "text/plain", "utf-8",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("body", "charset"),
    [
        ("naïve".encode(), "utf-8"),
        (codecs.BOM_UTF8 + "naïve".encode(), "utf-8"),
        ("naïve".encode("utf-16"), "utf-16"),
        (codecs.BOM_UTF16_BE + "naïve".encode("utf-16-be"), "utf-16"),
        ("naïve".encode("utf-32"), "utf-32"),
    ],
)
def test_encodings_with_and_without_a_mark(tmp_path: Path, body: bytes, charset: str) -> None:
    row = read(tmp_path / "a.txt", body)
    assert (row["text"], row["charset"]) == ("naïve", charset)


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("cp1252", "L’été dernier, la ville a décidé de rénover “l’école” près du musée."),
        ("koi8-r", "Это обычный текст, записанный в старой кодировке."),
        ("shift_jis", "日本語のテキストです。これは試験です。"),
        ("euc_kr", "이것은 오래된 문자 집합으로 쓴 글이다. 서울은 수도이다."),
    ],
)
def test_an_encoding_without_a_mark_is_found(tmp_path: Path, encoding: str, text: str) -> None:
    assert read(tmp_path / "a.txt", (text * 5).encode(encoding))["text"] == text * 5


def test_a_broken_byte_is_replaced_and_counted(tmp_path: Path) -> None:
    row = read(tmp_path / "a.txt", ("é" * 50).encode() + b"\xff rest")
    assert row["text"] == "é" * 50 + "\ufffd rest" and row["charset"] == "utf-8"
    assert json.loads(row["meta"]) == {"replaced_characters": 1}


@pytest.mark.parametrize(
    ("name", "body", "reason"),
    [
        ("a.txt", b"", "empty"),
        ("a.md", b" \n\n", "empty"),
        ("a.html", b"", "empty"),
        ("a.md", b"---\ntitle: T\n---\n", "empty"),
        ("a.txt", bytes(range(256)) * 20, "binary"),
        ("a.txt", b"%PDF-1.7\nplain words", "binary"),
        ("a.txt", gzip.compress(b"cut off " * 1000)[:-20], "damaged_stream: it is cut off"),
    ],
)
def test_what_is_no_document_says_why(tmp_path: Path, name: str, body: bytes, reason: str) -> None:
    row = read(tmp_path / name, body)
    assert row["quarantine"] == reason and "text" not in row


def test_a_file_over_the_limit_is_quarantined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_PAGE_BYTES", 50)
    monkeypatch.setattr(files, "MAX_RECORD_BYTES", 100)
    assert read(tmp_path / "a.txt", "x" * 100)["text"] == "x" * 100
    assert read(tmp_path / "b.txt", "x" * 101)["quarantine"] == "too_large"
    assert read(tmp_path / "c.html", "<p>" + "x" * 50)["quarantine"] == "too_large"
    assert read(tmp_path / "d.txt.gz", gzip.compress(b"x" * 10_000))["quarantine"] == "too_large"


def test_a_poisoned_file_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "a.html").symlink_to(tmp_path / "b.html")
    (tmp_path / "b.html").write_text("<p>hello")
    begun: list[int] = []
    (record,) = files.records(tmp_path / "a.html", 0, Watch({0: "timed_out"}, begun.append))
    assert record == Record(8, {"record_id": "#0", "offset": 0, "length": 8, "quarantine": "timed_out"})
    assert begun == [0]


def test_front_matter_leaves_the_text_for_the_columns(tmp_path: Path) -> None:
    row = read(
        tmp_path / "a.md",
        "---\ntitle: \"A title: with a colon\"\ndate: 2016-05-17 10:00:00 +0200\nlang: en\nlayout: post\ntags:\n  - one\n  - 'two'\n"
        'keys: [a, "b"]\nurl: https://e.org/x\n# a remark\nabout: >\n  folded\n  text\n---\n# Heading\n\nText.\n',
    )
    assert row["text"] == "# Heading\n\nText.\n" and row["mime"] == "text/markdown"
    assert (row["title"], row["declared_language"], row["url"]) == ("A title: with a colon", "en", "https://e.org/x")
    assert row["published_at"] == dt.datetime(2016, 5, 17, 8, tzinfo=dt.UTC)
    assert json.loads(row["meta"]) == {
        "layout": "post", "tags": ["one", "two"], "keys": ["a", "b"], "about": ">\n  folded\n  text",
    }  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "---\nJust prose between rules.\n---\nmore",
        "---\n- a list\n---\nmore",
        "---\ntitle: never closed\n",
        "text\n---\ntitle: x\n---\n",
        "----\ntitle: x\n----\n",
    ],
)
def test_rules_are_not_front_matter(tmp_path: Path, text: str) -> None:
    row = read(tmp_path / "a.md", text)
    assert row["text"] == text and row["meta"] is None
    assert "title" not in read(tmp_path / "a.txt", "---\ntitle: x\n---\nplain text has no front matter")


PAGE = "<html><head><title>T</title>{}</head><body><p>{}</p></body></html>"
WORDS = "A paragraph that is long enough to be the main content of this page, with several words. " * 4


def test_a_page_is_read_as_a_page(tmp_path: Path) -> None:
    row = read(tmp_path / "a.html", PAGE.format("", WORDS))
    assert WORDS.strip() in row["text"] and row["mime"] == "text/html" and "url" not in row
    assert len(row["raw_sha256"]) == 64 and row["extractor"]


def test_a_file_with_another_name_is_recognised(tmp_path: Path) -> None:
    assert read(tmp_path / "page", "<!DOCTYPE html>\n" + PAGE.format("", WORDS))["mime"] == "text/html"
    assert read(tmp_path / "page.html.gz", gzip.compress(PAGE.format("", WORDS).encode()))["mime"] == "text/html"
    assert read(tmp_path / "note", "plain <b>")["mime"] == "text/plain"
    assert read(tmp_path / "page.txt", PAGE.format("", WORDS))["mime"] == "text/plain"


@pytest.mark.parametrize(
    ("head", "url"),
    [
        ("<!-- saved from url=(0023)https://www.example.com/ -->", "https://www.example.com/"),
        ("<!--\n Page saved with SingleFile \n url: https://e.org/s \n saved date: Sat May 01 2021 -->", "https://e.org/s"),
        ("<link rel='canonical' href='https://e.org/c?a=1&amp;b=2'>", "https://e.org/c?a=1&b=2"),
        ('<link href=https://e.org/q rel="shortlink canonical"/>', "https://e.org/q"),
        ('<meta property="og:url" content="https://e.org/o">', "https://e.org/o"),
        (
            '<meta content="https://e.org/o" property="og:url"><LINK REL=canonical HREF="https://e.org/c">',
            "https://e.org/c",
        ),
        ('<link rel="canonical" href="/relative">', None),
        ('<link rel="canonical" href="javascript:alert(1)">', None),
        ('<link rel="canonical" href="https://e.org/a b">', None),
        ('<link rel="stylesheet" href="https://e.org/s.css">', None),
    ],
)  # fmt: skip
def test_a_saved_page_knows_its_address(tmp_path: Path, head: str, url: str | None) -> None:
    assert read(tmp_path / "a.html", PAGE.format(head, WORDS)).get("url") == url


def test_a_mirror_says_when_it_was_made() -> None:
    mark = b"<!-- Mirrored from www.example.org/a/b.html by HTTrack Website Copier/3.x [XR&CO'2014], Tue, 17 May 2016 10:00:00 GMT -->"
    assert files.saved_from(mark) == ("http://www.example.org/a/b.html", dt.datetime(2016, 5, 17, 10, tzinfo=dt.UTC))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["a.txt", "a.md", "a.rst", "a.html", "a"]),
    st.one_of(
        st.binary(max_size=300),
        st.lists(
            st.sampled_from([b"---\n", b"a: b\n", b"- x\n", b"<link rel=canonical ", b"href='", b"<!--", b"\xff\xfe", b"\0"]),
            max_size=12,
        ).map(b"".join),
    ),
)  # fmt: skip
def test_anything_is_one_record(tmp_path: Path, name: str, body: bytes) -> None:
    row = read(tmp_path / name, body)
    assert ("text" in row) != ("quarantine" in row)
    row.get("text", "").encode()
