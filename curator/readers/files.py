"""Read a file that is one document: a page of HTML, plain text, Markdown, reStructuredText."""

from __future__ import annotations

import codecs
import hashlib
import html
import re
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import Any, Final

from curator import page
from curator.readers.fields import as_json, instant
from curator.readers.records import MAX_PAGE_BYTES, MAX_RECORD_BYTES, Record, Watch
from curator.readers.streams import DamagedError, blocks, charset_of, compression

_HTML: Final = (".html", ".htm", ".xhtml", ".xht")
_MARKDOWN: Final = (".md", ".markdown")
_TEXT: Final = (*_MARKDOWN, ".txt", ".text", ".rst")
_MIME: Final = {".rst": "text/x-rst", **dict.fromkeys(_MARKDOWN, "text/markdown")}
_HEAD_BYTES: Final = 64 << 10
_DETECT_BYTES: Final = 1 << 20  # what the character encoding is told by


def records(path: Path, start: int, watch: Watch) -> Iterator[Record]:
    """Yield the file's one record, or nothing when `start` is behind it."""
    if start:
        return
    size = path.stat().st_size
    reason = watch.begin(0)
    columns = {"quarantine": reason} if reason else _columns(path, watch)
    yield Record(max(1, size), {"record_id": "#0", "offset": 0, "length": size, **columns})


def _columns(path: Path, watch: Watch) -> dict[str, Any]:
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    suffix = _suffix(path, head)
    try:
        body = _body(path, MAX_PAGE_BYTES if suffix in _HTML else MAX_RECORD_BYTES, watch)
    except DamagedError as error:
        return {"quarantine": f"damaged_stream: {error}"}
    if body is None:
        return {"quarantine": "too_large"}
    known = {"raw_sha256": hashlib.sha256(body).hexdigest()}
    if not body.strip():
        return known | {"quarantine": "empty"}
    if suffix not in _TEXT and (suffix in _HTML or _looks_like_html(body)):
        return known | _page(body)
    return known | {"mime": _MIME.get(suffix, "text/plain")} | _text(body, suffix in _MARKDOWN)


def _suffix(path: Path, head: bytes) -> str:
    """The end of the name that tells what the file is; that of a compressed file stands before the compression's."""
    name = PurePath(path.name.lower())
    inner = PurePath(name.stem).suffix if compression(head) else ""
    return inner or name.suffix


def _body(path: Path, limit: int, watch: Watch) -> bytes | None:
    """The whole content; None where it is larger than `limit`, of which no more than that is read."""
    held: list[bytes] = []
    size = 0
    for block in blocks(path):
        watch.beat(0)
        held.append(block)
        size += len(block)
        if size > limit:
            return None
    return b"".join(held)


# --- HTML ------------------------------------------------------------------------------------------------------------


def _looks_like_html(body: bytes) -> bool:
    """For a file whose name says nothing."""
    return (
        re.match(rb"(?:\xef\xbb\xbf)?\s*(?:<!--.{0,2000}?-->\s*)?<(?:!doctype\s+html|html)\b", body[:8192], re.I | re.S)
        is not None
    )


def _page(body: bytes) -> dict[str, Any]:
    url, fetched = saved_from(body[:_HEAD_BYTES])
    url = url or declared_address(body[: 4 * _HEAD_BYTES])
    given = {"url": url} if url else {}
    return given | page.read(body, (), url, fetched, "text/html")


_SAVED: Final = (
    re.compile(rb"<!--\s{0,9}saved from url=\(\d{1,6}\)(?P<url>[^\s<>]{1,4096})"),  # browsers
    re.compile(rb"<!--\s{0,9}Page saved with SingleFile\s{1,9}url:\s{0,9}(?P<url>[^\s<>]{1,4096})"),
    re.compile(
        rb"<!--\s{0,9}Mirrored from (?P<url>[^\s<>]{1,4096}) by HTTrack[^>]{0,200}?(?P<date>\w{3}, \d\d \w{3} \d{4} [\d:]{8} GMT)?\s{0,9}-->"
    ),
)


def saved_from(head: bytes) -> tuple[str | None, Any]:
    """Where and when the program that saved the page says it got it: (address, moment), None where it does not say."""
    for pattern in _SAVED:
        if found := pattern.search(head):
            said = found.groupdict()
            address = said["url"] if b"://" in said["url"] else b"http://" + said["url"]
            return _address(address), instant((said.get("date") or b"").decode("ascii", "replace"))
    return None, None


_TAG: Final = re.compile(rb"<(?:link|meta)\s([^<>]{1,2048})>", re.I)
_ATTRIBUTE: Final = re.compile(rb"""([a-z:-]{1,30})\s{0,9}=\s{0,9}(?:"([^"]*)"|'([^']*)'|([^\s"'<>]+))""", re.I)


def declared_address(head: bytes) -> str | None:
    """The address that a page states as its own: its canonical link, else `og:url`."""
    stated: dict[bytes, bytes] = {}
    for tag in _TAG.finditer(head):
        said = {name.lower(): a or b or c for name, a, b, c in _ATTRIBUTE.findall(tag[1])}
        if b"canonical" in said.get(b"rel", b"").lower().split():
            stated.setdefault(b"canonical", said.get(b"href", b""))
        elif said.get(b"property", said.get(b"name", b"")).lower() == b"og:url":
            stated.setdefault(b"og", said.get(b"content", b""))
    return next((url for kind in (b"canonical", b"og") if (url := _address(stated.get(kind, b"")))), None)


def _address(written: bytes) -> str | None:
    """An absolute web address; None for anything else."""
    url = html.unescape(written.decode("utf-8", "replace")).strip()
    return url if re.fullmatch(r"https?://[^\s/\x00-\x20\x7f][^\s\x00-\x20\x7f]{0,4096}", url, re.I) else None


# --- Text ------------------------------------------------------------------------------------------------------------

_CONTROLS: Final = bytes({*range(32), 127} - {*b"\t\n\r\f\x1b\x08"})
_BOMS: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)


def _text(body: bytes, markdown: bool) -> dict[str, Any]:
    if _is_binary(body[:_HEAD_BYTES]):
        return {"quarantine": "binary"}
    charset = charset_of(body[:_DETECT_BYTES])
    text, broken = _decoded(body, charset)
    found: dict[str, Any] = {"charset": charset}
    front: dict[str, Any] = {}
    if markdown:
        front, text = front_matter(text)
        found |= _stated(front)
    if broken:
        front["replaced_characters"] = broken
    found["meta"] = as_json(front)
    return found | ({"text": text} if text.strip() else {"quarantine": "empty"})


def _decoded(body: bytes, charset: str) -> tuple[str, int]:
    """The text, and how many characters of it stand for bytes that the encoding does not know."""
    try:
        return body.decode(charset).removeprefix("\ufeff"), 0
    except UnicodeDecodeError:
        text = body.decode(charset, "replace").removeprefix("\ufeff")
        return text, text.count("\ufffd")


def _is_binary(head: bytes) -> bool:
    """True where more than one byte in a hundred is a control character that no text holds; in random bytes it is eleven."""
    controls = len(head) - len(head.translate(None, _CONTROLS))
    return head.startswith(b"%PDF-") or (controls * 100 > len(head) and not head.startswith(_BOMS))


_FRONT: Final = re.compile(r"---[ \t]*\r?\n(.*?)^(?:---|\.\.\.)[ \t]*\r?$\n?", re.S | re.M)
_FRONT_LINE: Final = re.compile(
    r"(?P<key>[A-Za-z_][\w .-]{0,60}):(?:\s+(?P<value>.*))?|\s*-\s+(?P<item>.*)|\s+.*|#.*|\s*"
)


def front_matter(text: str) -> tuple[dict[str, Any], str]:
    """A Markdown file's front matter and the text behind it: simple `key: value` lines and lists, all values as written.

    Where the text between the first two rules is not of that kind it is text: ({}, the whole).
    """
    block = _FRONT.match(text[:_HEAD_BYTES])
    if block is None:
        return {}, text
    found: dict[str, Any] = {}
    key = ""
    for line in block[1].splitlines():
        said = _FRONT_LINE.fullmatch(line)
        if said is None or (said["item"] is not None and not key):
            return {}, text
        if said["key"]:
            key = said["key"].strip()
            found[key] = _value(said["value"] or "")
        elif said["item"] is not None and isinstance(found[key] or [], list):
            found[key] = [*(found[key] or []), _value(said["item"])]
        elif key and line.strip() and not line.startswith("#"):
            found[key] = f"{found[key]}\n{line}"
    return found, text[block.end() :]


def _value(written: str) -> Any:
    written = written.strip()
    if len(written) > 1 and written[0] == written[-1] and written[0] in "'\"":
        return written[1:-1]
    if written.startswith("[") and written.endswith("]"):
        return [_value(item) for item in written[1:-1].split(",") if item.strip()]
    return written


def _stated(front: dict[str, Any]) -> dict[str, Any]:
    """What the front matter says in words that a column has; it is taken out there."""
    found: dict[str, Any] = {}
    for key in [*front]:
        value = front[key]
        column = {"title": "title", "lang": "declared_language", "language": "declared_language"}.get(key.lower())
        if column and isinstance(value, str) and value:
            found[column] = front.pop(key)
        elif key.lower() in ("url", "canonical_url") and isinstance(value, str) and _address(value.encode()):
            found["url"] = front.pop(key)
        elif key.lower() in ("date", "published") and (moment := instant(value)):
            found["published_at"] = moment
            front.pop(key)
    return found
