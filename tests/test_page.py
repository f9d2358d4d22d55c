"""A fetched body: what it is, in which encoding, what it says, and that nothing it holds can raise."""

from __future__ import annotations

import datetime as dt
import gzip
import io
import tarfile
import time
import zlib
from pathlib import Path
from typing import Any

import pytest
import zstandard
from fastwarc.stream_io import BrotliWriter
from hypothesis import given, settings
from hypothesis import strategies as st

from curator import page
from curator.readers import http
from curator.schema import INGESTED

RAW = Path(__file__).parents[2] / "shared/data/raw/trafilatura-pages.tar.zst"
WORDS = (
    "The committee met on Tuesday to decide about the bridge, and nobody could say how long it would take to build. "
)
PAGE = f"<html><head><title>A bridge</title></head><body><h1>A bridge</h1><p>{WORDS * 3}</p><p>{WORDS * 2}</p></body></html>"


def read(
    body: bytes | str, mime: str | None = "text/html", headers: tuple[tuple[str, str], ...] = ()
) -> dict[str, Any]:
    data = body.encode() if isinstance(body, str) else body
    found = page.read(data, headers, "http://e.org/", dt.datetime(2020, 1, 1, tzinfo=dt.UTC), mime)
    assert set(found) <= set(INGESTED.names)
    assert ("quarantine" in found) != ("text" in found)
    return found


def test_a_page_gives_its_text_and_what_it_states() -> None:
    found = read(PAGE, "text/html; charset=utf-8", (("X-Robots-Tag", "noai"),))
    assert WORDS.strip() in found["text"]
    assert (found["mime"], found["charset"], found["title"], found["noai"]) == ("text/html", "utf-8", "A bridge", True)
    assert found["extractor"]


def test_plain_text_stays_as_it_is() -> None:
    text = "  One line.\r\n\r\nAnother\tline \u200b.\n"
    found = read(text, "text/plain", (("Content-Language", "en"), ("TDM-Reservation", "1")))
    assert found["text"] == text and "extractor" not in found
    assert (found["tdm_reserved"], found["declared_language"]) == (True, "en")


@pytest.mark.parametrize(
    ("body", "mime", "reason"),
    [
        (b"x", "image/jpeg", "not_text: image/jpeg"),
        (b"x", "text/css", "not_text: text/css"),
        (b"x", "application/json; charset=utf-8", "not_text: application/json"),
        (b"%PDF-1.4 words", "text/html", "not_text: application/pdf"),
        (b"\x89PNG\r\n\x1a\n" + bytes(200), "text/html", "not_text: image/png"),
        (b"PK\x03\x04" + bytes(200), "text/plain", "not_text: application/zip"),
        (bytes(range(256)) * 20, "text/html", "binary"),
        (b"<html>" + bytes(range(32)) * 20, "text/html", "binary"),
        (zlib.compress(b"".join(b"%d" % (n * n) for n in range(3000))), None, "binary"),
        (b'<?xml version="1.0"?><rss version="2.0"><channel>', "text/html", "not_text: application/rss+xml"),
        (b'\n<!-- x --><feed xmlns="http://www.w3.org/2005/Atom">', "text/html", "not_text: application/atom+xml"),
        (b'<?xml version="1.0"?><book>x</book>', "text/plain", "not_text: application/xml"),
        (b'{"a": [1, 2]}', "text/html", "not_text: application/json"),
        (b"[1, 2]\n", None, "not_text: application/json"),
        (b"words", "application/octet-stream", "not_text: application/octet-stream"),
        (b"<html><body></body></html>", "text/html", "no_text"),
        (b" \n\t", "text/plain", "no_text"),
        (b"\xef\xbb\xbf", "text/html", "no_text"),
    ],
)
def test_what_is_no_text_says_what_it_is(body: bytes, mime: str | None, reason: str) -> None:
    assert read(body, mime)["quarantine"] == reason


@pytest.mark.parametrize(
    "mime", [None, "", "application/octet-stream", "text/plain", "html", "*/*", "application/xhtml+xml"]
)
def test_a_page_is_known_by_its_looks_where_the_server_is_wrong(mime: str | None) -> None:
    assert read("<!DOCTYPE html>" + PAGE, mime)["mime"] == "text/html"


@pytest.mark.parametrize(
    "text", ["[1] is a footnote.", "{curly} but no JSON", "x < y & z", "a" * 5, "\x1b$B is ISO-2022"]
)
def test_text_that_only_begins_like_something_else_is_text(text: str) -> None:
    assert read(text, "text/plain")["text"] == text


def test_text_served_as_html_without_a_tag_is_text() -> None:
    assert read("Line one.\nLine two.", "text/html")["text"] == "Line one.\nLine two."


# --- encodings --------------------------------------------------------------------------------------------------------

GERMAN = "Über die Brücke führt künftig kein Weg mehr; die Bürger hätten es früher wissen müssen. " * 4
RUSSIAN = "Комитет собрался во вторник, чтобы решить судьбу моста, и никто не знал, сколько это займёт. " * 4
JAPANESE = "委員会は火曜日に集まり、橋をどうするかを決めた。工事がいつ終わるかは誰にも分からなかった。" * 4


@pytest.mark.parametrize(
    ("text", "codec", "declared", "expected"),
    [
        (GERMAN, "utf-8", None, "utf-8"),
        (GERMAN, "utf-8", "iso-8859-1", "utf-8"),
        (GERMAN, "latin-1", "ISO-8859-1", "windows-1252"),
        (GERMAN, "latin-1", "utf-8", "windows-1252"),
        (GERMAN, "latin-1", None, "windows-1252"),
        (GERMAN, "utf-8-sig", "windows-1251", "utf-8"),
        (GERMAN, "utf-16", None, "utf-16le"),
        (GERMAN, "utf-16-le", "utf-16", "utf-16le"),
        (RUSSIAN, "cp1251", "windows-1251", "windows-1251"),
        (RUSSIAN, "cp1251", "utf-8", "windows-1251"),
        (RUSSIAN, "cp1251", "no-such-thing", "windows-1251"),
        (RUSSIAN, "koi8-r", None, "koi8-r"),
        (JAPANESE, "shift_jis", "x-sjis", "shift-jis"),
        (JAPANESE, "shift_jis", None, "shift-jis"),
        (JAPANESE, "euc-jp", None, "euc-jp"),
        (JAPANESE, "iso2022_jp", "iso-2022-jp", "iso2022-jp"),
        ("plain ASCII", "ascii", "windows-1252", "utf-8"),
    ],
)
def test_the_encoding_is_found(text: str, codec: str, declared: str | None, expected: str) -> None:
    assert page.decoded(text.encode(codec), declared) == (text, expected)


def test_a_declared_encoding_is_read_from_the_header_then_from_the_page() -> None:
    body = '<html><head><meta http-equiv="Content-Type" content="text/html; charset=koi8-r"></head><p>' + RUSSIAN
    assert read(body.encode("koi8-r"))["charset"] == "koi8-r"
    assert read(body.encode("cp1251"), "text/html; charset=windows-1251")["charset"] == "windows-1251"


def test_a_few_broken_bytes_do_not_change_the_encoding() -> None:
    text, charset = page.decoded(GERMAN.encode() + b"\xff\xfe" + GERMAN.encode(), "utf-8")
    assert (charset, text.count("\ufffd"), text.count("Brücke")) == ("utf-8", 2, 8)


def test_lone_surrogates_never_get_out() -> None:
    bodies = [(PAGE.replace("bridge", "\ud800 &#xD800; &#55357; bridge")).encode("utf-8", "surrogatepass")]
    bodies.append(b"\xff\xfe" + PAGE.encode("utf-16-le").replace(b"b\0r\0", b"\x3d\xd8r\0"))
    for body in bodies:
        assert all(v.encode() for v in read(body).values() if isinstance(v, str) and v)
    assert page.well_formed("a\ud800b\ud83d\ude00") == "a\ufffdb\U0001f600"


# --- hostile pages ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "tag", ["<div>", "<b>", "<font color=red>", "<table><tr><td>", "<nobr><b><i>", "<b><form>", "<span><p>"]
)
def test_a_million_tags_within_one_another_cost_little(tag: str) -> None:
    began = time.process_time()
    assert read(tag * 1_000_000 + "deep")["quarantine"] == "too_deep"
    assert read(tag * 1_000_000 + "deep" + "</div>" * 1_000_000)["quarantine"] == "too_deep"
    assert time.process_time() - began < 10


def test_many_tags_beside_one_another_are_not_deep() -> None:
    for html in ("<div><p>x</div>" * 20_000, "<li><b>x</b>" * 20_000, "<br><tr><td>x" * 20_000, "<p><i>x</i>" * 20_000):
        assert not page.too_deep(html)
    assert page.too_deep("<div>" * 2001 + "</div>" * 2001) and not page.too_deep("<div>" * 2000 + "</div>" * 2000)


@pytest.mark.parametrize(
    "body",
    [
        b"\0" * 3,
        PAGE.encode().replace(b" ", b" \0", 9),
        b"<" * 50_000,
        b"<!--" * 9999,
        b"<!---->" * 9000 + b"y",
        b"<!x[]>" * 9000,
        b"&#x110000;&#0;&amp" * 999,
    ],
)
def test_odd_bytes_do_not_raise(body: bytes) -> None:
    read(body)


@settings(max_examples=200, deadline=None)
@given(
    st.binary(max_size=400),
    st.sampled_from([None, "text/html", "text/plain; charset=utf-16", "text/html; charset=gbk", "/", "a/b;;"]),
)
def test_no_bytes_raise(body: bytes, mime: str | None) -> None:
    read(body, mime)
    read(PAGE.encode()[:200] + body + PAGE.encode()[200:], mime)


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=200))
def test_any_text_comes_back(text: str) -> None:
    data = text.encode("utf-8", "replace")
    if data and not data.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        assert page.decoded(data) == (data.decode(), "utf-8")


def test_real_pages_are_pages(tmp_path: Path) -> None:
    if not RAW.exists():
        pytest.skip(f"no {RAW.name}: real pages are not part of the project")
    data = zstandard.ZstdDecompressor().stream_reader(RAW.read_bytes()).read()
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        names = [member for member in tar if member.name.endswith(".html")]
        bodies = [tar.extractfile(member).read() for member in names]  # type: ignore[union-attr]
    kinds = [page._kind(body, served) for body in bodies for served in ("text/html", None)]
    assert len(bodies) > 900 and set(kinds) == {("text/html", None)}
    assert not any(page.too_deep(page.decoded(body)[0]) for body in bodies)


# --- the codings of HTTP ----------------------------------------------------------------------------------------------

TEXT = WORDS.encode() * 50


def chunked(body: bytes, extension: bytes = b"") -> bytes:
    pieces = [body[i : i + 700] for i in range(0, len(body), 700)]
    return b"".join(b"%x%s\r\n%s\r\n" % (len(p), extension, p) for p in pieces) + b"0\r\n\r\n"


def brotli(body: bytes) -> bytes:
    out = io.BytesIO()
    writer = BrotliWriter(out)
    writer.write(body)
    writer.close()
    return out.getvalue()


def deflated(body: bytes) -> bytes:
    raw = zlib.compressobj(wbits=-15)
    return raw.compress(body) + raw.flush()


CODINGS = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": brotli,
    "zstd": zstandard.compress,
}


@pytest.mark.parametrize("coding", CODINGS)
def test_every_coding_is_undone_whole_cut_swollen_or_absent(coding: str) -> None:
    headers = [("content-encoding", coding.upper())]
    packed = CODINGS[coding](TEXT)
    assert http.decoded(packed, headers, 1 << 20) == (TEXT, False)
    assert http.decoded(PAGE.encode(), headers, 1 << 20) == (PAGE.encode(), False)
    assert http.decoded(packed, [("X-Crawl-Content-Encoding", coding)], 1 << 20) == (packed, False)
    assert http.decoded(b"", headers, 1 << 20) == (b"", False)
    cut, _ = http.decoded(packed[: len(packed) // 2], headers, 1 << 20)
    assert TEXT.startswith(cut) or cut == packed[: len(packed) // 2]
    assert len(http.decoded(CODINGS[coding](bytes(50 << 20)), headers, 1 << 20)[0]) == 1 << 20


def test_chunks_bare_deflate_and_stacked_codings_are_undone() -> None:
    transfer = ("Transfer-Encoding", "chunked")
    assert http.decoded(chunked(TEXT), [transfer], 1 << 20) == (TEXT, False)
    assert http.decoded(chunked(TEXT, b";a=b"), [transfer], 1 << 20) == (TEXT, False)
    assert http.decoded(chunked(TEXT)[:1500], [transfer], 1 << 20) == (TEXT[: 1500 - 2 * 7 - 5], True)
    assert http.decoded(TEXT, [transfer], 1 << 20) == (TEXT, False)
    assert http.decoded(deflated(TEXT), [("Content-Encoding", "deflate")], 1 << 20) == (TEXT, False)
    stacked = brotli(gzip.compress(TEXT))
    assert http.decoded(chunked(stacked), [transfer, ("Content-Encoding", "gzip, br")], 1 << 20) == (TEXT, False)
    assert http.decoded(gzip.compress(b"a") + gzip.compress(b"b"), [("Content-Encoding", "gzip")], 9) == (b"ab", False)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([*CODINGS, "gzip, gzip, gzip, gzip, gzip"]), st.binary(max_size=300), st.integers(0, 300))
def test_no_coded_bytes_raise(coding: str, noise: bytes, place: int) -> None:
    packed = CODINGS.get(coding, gzip.compress)(TEXT)
    body = packed[:place] + noise + packed[place + len(noise) :]
    headers = [("Content-Encoding", coding), ("Transfer-Encoding", "chunked")]
    for data in (body, chunked(body), noise):
        assert len(http.decoded(data, headers, 5000)[0]) <= 5000


def test_headers_are_read_as_they_come() -> None:
    block = b"HTTP/1.1 200 OK\nA: 1\n  2\r\nnothing\r\nB : \xe9\nA: 3\n\nbody"
    found = http.response(block, 100)
    assert (found.status, found.body) == (200, b"body")
    assert found.headers == [("A", "1 2"), ("B", "é"), ("A", "3")] and http.value(found.headers, "a") == "1 2"
    assert http.response(b"no response", 5) == http.Response(None, (), b"no re")
    assert http.response(b"HTTP/1.1 oops\r\n\r\n", 5).status is None
