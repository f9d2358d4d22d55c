"""Records of web archives: WARC, WET and ARC; plain, or as gzip, zstd or lz4 frames.

fastwarc's own iterator stops at the first damaged byte and gives a clipped record as if it were whole. Here the
frames are walked one by one and every record's length is checked against what follows it, so that damage costs one
quarantined record and reading goes on behind it. In a sound archive `Content-Length` rules; only behind damage is
the next record looked for by its looks.

A cursor is the byte of the file where the next segment begins (`frames`: in a compressed archive mostly one record; in a
plain file every record will do) times 2^24, plus how many records to pass over in it. `byte_of` gives the byte.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from curator import page
from curator.readers import http
from curator.readers.frames import Input, Packing, Segment
from curator.readers.records import MAX_PAGE_BYTES, Record, Watch, quarantined
from curator.web import host_of

_SEGMENT: Final = 1 << 24  # cursors of one segment
_MAX_BLOCK_BYTES: Final = MAX_PAGE_BYTES + http.MAX_HEAD_BYTES
_DOCUMENTS: Final = frozenset({"response", "resource", "conversion"})
_OTHERS: Final = frozenset({"warcinfo", "request", "metadata", "revisit", "continuation"})


@dataclass(frozen=True)
class _Dialect:
    """How a record begins: at once, and as a line within damaged bytes; and where its head ends."""

    begins: re.Pattern[bytes]
    line: re.Pattern[bytes]
    head_end: re.Pattern[bytes]
    end: re.Pattern[bytes]


_WARC: Final = _Dialect(
    begins=re.compile(rb"WARC/\d"),
    line=re.compile(rb"WARC/\d\.\d+[ \t]*\r?\n[A-Za-z][A-Za-z-]*[ \t]*:"),
    head_end=re.compile(rb"\r?\n\r?\n"),
    end=re.compile(rb"\r?\n\r?\n"),
)
_ARC: Final = _Dialect(
    begins=re.compile(rb"(?:filedesc|https?|ftp|dns):\S"),
    line=re.compile(rb"(?:https?|ftp|dns):\S{1,2000} [\d.]{7,15} \d{14} [^\n]{1,2000} \d+\r?\n"),
    head_end=re.compile(rb"\r?\n"),
    end=re.compile(rb"\r?\n"),
)
_LINE_BYTES: Final = 4096  # no line that begins a record is longer
_LENGTH: Final = re.compile(r"\d{1,18}", re.ASCII)

_JUNK: Final = "damaged_archive: no record"
_WRONG_LENGTH: Final = "damaged_archive: content length"
_TOO_LARGE: Final = "too_large"


def records(path: Path, start: int, watch: Watch) -> Iterator[Record]:
    """Yield every record of an archive from the cursor `start` on."""
    source = Input(path)
    try:
        if source.size == 0 and start == 0:
            yield quarantined(1, f"{path.name}#0", "empty_file", offset=0, length=0)
        for found in _Archive(source, watch).found(start):
            yield _record(found, path.name)
    finally:
        source.close()


def byte_of(cursor: int) -> int:
    """The byte of the file at, or shortly before, a cursor."""
    return cursor // _SEGMENT


@dataclass
class _Found:
    """What lies at one place: a record, or damage. headers: of the WARC record, names in lower case, an ARC line's translated."""

    place: int
    offset: int
    headers: Mapping[str, str] = field(default_factory=dict)
    block: bytes = b""
    fault: str | None = None
    cursor: int = 0
    length: int | None = None
    inner: tuple[int, int] | None = None  # place and length in the decompressed frame, where that holds more


class _Archive:
    """One open archive."""

    def __init__(self, source: Input, watch: Watch) -> None:
        self.source, self.watch = source, watch
        self.packing = Packing(source, _WARC.begins)
        self.plain = self.packing.name == "plain"
        self.dialect = _WARC
        first = Segment(self.packing, self.packing.first)
        if first.ahead(9) and first.buffer.startswith(b"filedesc:"):
            self.dialect, self.packing.begins = _ARC, _ARC.begins

    def found(self, start: int) -> Iterator[_Found]:
        """Yield what lies at each place from the cursor `start` on."""
        place = first = max(byte_of(start), self.packing.first)
        if start == 0 and 0 < self.source.size <= place:  # a dictionary and nothing behind it
            yield _Found(0, 0, fault="not_an_archive", cursor=place * _SEGMENT, length=self.source.size)
        while place < self.source.size:
            walk = _Walk(self, place)
            while (found := walk.next(start)) is not None:
                if found.fault == _JUNK and start == 0 and found.offset == first and walk.end == self.source.size:
                    found.fault = "not_an_archive"
                if found.place >= start:
                    yield found
            place = walk.end


class _Walk:
    """Goes through one segment. end: where in the file the next one begins, once this one is through."""

    def __init__(self, archive: _Archive, place: int) -> None:
        self.end = place
        self._archive, self._place = archive, place
        self._segment = Segment(archive.packing, place)
        self._count, self._through = 0, False
        self._at = self._cursor()
        self._length: int | None = None  # of the segment, decompressed, once a record claimed to go beyond it

    def next(self, start: int) -> _Found | None:
        """Return what comes next; None when the segment is through. Nothing before the cursor `start` is looked into."""
        segment = self._segment
        segment.next_item()
        if self._through or not (self._more() or self._is_damage()):
            self._finish()
            return None
        before = segment.position
        first, frame = segment.frames[0]
        found = _Found(self._cursor(), frame + before if self._archive.plain else frame)
        live = found.place >= start
        poison = self._archive.watch.begin(found.place) if live else None
        self._at = found.place
        self._read(found, live and poison is None)
        self._close(found, before, before - first)
        found.fault = poison or found.fault
        return found

    def _cursor(self) -> int:
        if self._archive.plain:
            return (self._place + self._segment.position) * _SEGMENT
        return self._place * _SEGMENT + self._count

    def _more(self) -> bool:
        """Pass over the empty lines between records; says whether anything is behind them."""
        segment = self._segment
        while segment.ahead(1):
            if segment.buffer[0] not in b"\r\n":
                return True
            segment.drop(len(segment.buffer) - len(segment.buffer.lstrip(b"\r\n")))
        return False

    def _is_damage(self) -> bool:
        """Say whether nothing can be read here though the file goes on."""
        return self._count == 0 and (self._segment.fault is not None or self._segment.end == self._place)

    def _finish(self) -> None:
        """Say where the next segment begins; a frame that broke before it gave a byte is left to that one."""
        segment, packing = self._segment, self._archive.packing
        start, last = segment.frames[-1]
        if self._archive.plain:
            self.end = self._archive.source.size
        elif segment.fault is not None and self._place < last and start == segment.position:
            self.end = last
        elif segment.fault is not None or segment.end == self._place:
            self.end = packing.next_record(last + 1, self._beat)
        else:
            self.end = segment.end
        self._through = True

    def _close(self, found: _Found, before: int, inner: int) -> None:
        """Say where the next record begins, and what room this one took."""
        segment, alone = self._segment, self._count == 0
        self._count += 1
        if self._more() and (self._archive.plain or self._count < _SEGMENT):
            found.cursor, alone = self._cursor(), False
        else:
            if len(segment.buffer):  # cursors of this segment are used up
                segment.fault = "too many records in one frame"
            self._finish()
            if segment.fault and found.fault != _TOO_LARGE and self.end != segment.frames[-1][1]:
                found.fault = f"damaged_archive: {segment.fault}"
            found.cursor = self.end * _SEGMENT
        length = segment.position - before
        if self._archive.plain:
            found.length = length
        elif alone:
            found.length = self.end - self._place
        else:
            found.inner = (inner, length)

    def _beat(self) -> None:
        self._archive.watch.beat(self._at)

    def _read(self, found: _Found, live: bool) -> None:
        """Read one record, or pass over the damage that lies here."""
        segment, dialect = self._segment, self._archive.dialect
        segment.ahead(16)
        if not dialect.begins.match(segment.buffer):
            return self._damaged(found, _JUNK, 0)
        end = dialect.head_end.search(segment.buffer, 0, http.MAX_HEAD_BYTES)
        if end is None and segment.ahead(http.MAX_HEAD_BYTES):
            end = dialect.head_end.search(segment.buffer, 0, http.MAX_HEAD_BYTES)
        if end is None:
            return self._damaged(found, "damaged_archive: head", 1)
        found.headers = _headers(bytes(segment.buffer[: end.start()]), dialect)
        length = found.headers.get("content-length", "")
        if not _LENGTH.fullmatch(length):
            return self._damaged(found, _WRONG_LENGTH, end.end())
        if int(length) > _MAX_BLOCK_BYTES:
            return self._pass_over(found, end.end(), end.end() + int(length))
        self._take(found, end.end(), end.end() + int(length), live)

    def _take(self, found: _Found, start: int, end: int, live: bool) -> None:
        segment = self._segment
        if segment.ahead(end) < end and segment.fault is not None:  # broken off: what is at hand holds no other record
            return segment.drop(len(segment.buffer))
        if len(segment.buffer) < end or not self._ends_at(end):
            return self._damaged(found, _WRONG_LENGTH, start)
        if live and _kind(found) in _DOCUMENTS:
            found.block = bytes(segment.buffer[start:end])
        segment.drop(end)

    def _ends_at(self, end: int) -> bool:
        """Say whether what is `end` bytes ahead can be the end of a record."""
        self._segment.ahead(end + 64)
        return self._is_end(bytes(self._segment.buffer[end : end + 64]))

    def _is_end(self, after: bytes) -> bool:
        rest = after.lstrip(b"\r\n")
        dialect = self._archive.dialect
        return not rest or dialect.end.match(after) is not None or dialect.begins.match(rest) is not None

    def _pass_over(self, found: _Found, start: int, end: int) -> None:
        """Pass over a record too large to be held, if it is one and not a wrong length."""
        found.fault, segment = _TOO_LARGE, self._segment
        if self._archive.plain:
            return self._seek(found, start, end)
        if self._length is not None and segment.position + end > self._length:
            return self._damaged(found, _WRONG_LENGTH, start)
        before = segment.position
        if segment.skip(end) < end and segment.fault is None:  # the segment ends before: read it again, once
            self._length = segment.position
            self._segment = Segment(self._archive.packing, self._place)
            self._segment.skip(before)
            self._damaged(found, _WRONG_LENGTH, start)
        elif segment.fault is None and not self._ends_at(0):
            self._damaged(found, _WRONG_LENGTH, 0)

    def _seek(self, found: _Found, start: int, end: int) -> None:
        source, place = self._archive.source, self._place + self._segment.position
        if place + end > source.size or not self._is_end(bytes(source.at(place + end, 64)[:64])):
            return self._damaged(found, _WRONG_LENGTH, start)
        self._segment.jump(end)

    def _damaged(self, found: _Found, fault: str, passed: int) -> None:
        """Look for the next line that begins a record, `passed` bytes ahead or further."""
        found.fault, segment = fault, self._segment
        segment.ahead(passed)
        segment.drop(passed)
        while (line := self._archive.dialect.line.search(segment.buffer)) is None:
            self._beat()
            segment.drop(max(0, len(segment.buffer) - _LINE_BYTES))
            held = len(segment.buffer)
            if segment.ahead(held + 1) == held:
                return segment.drop(held)
        segment.drop(line.start())


def _headers(head: bytes, dialect: _Dialect) -> dict[str, str]:
    """The record's headers by name in lower case, the first of each; an ARC line as the WARC headers it stands for."""
    if dialect is _WARC:
        return {name.lower(): value for name, value in reversed(http.fields(head))}
    words = http.text(head).strip().split(" ")
    if len(words) < 5:
        return {}
    return {
        "warc-type": "warcinfo" if words[0].startswith("filedesc:") else "response",
        "warc-target-uri": words[0],
        "warc-date": words[2],
        "content-type": words[3],
        "content-length": words[-1],
    }


def _record(found: _Found, name: str) -> Record:
    """What a place gives: a document, a quarantined record, or something that is no document."""
    kind = _kind(found)
    known = _known(found, name)
    if found.fault is not None and (kind in _DOCUMENTS or found.fault != _TOO_LARGE):
        return Record(found.cursor, {**known, "quarantine": found.fault})
    if kind not in _DOCUMENTS:
        return Record(found.cursor, skipped=kind if kind in _OTHERS else "unknown")
    return _document(found, known, kind)


def _kind(found: _Found) -> str:
    return found.headers.get("warc-type", "").lower()


def _known(found: _Found, name: str) -> dict[str, Any]:
    """What the record's head says."""
    warc = found.headers
    place = f":{found.inner[0]}" if found.inner else ""
    meta = {"warc_truncated": warc.get("warc-truncated"), "warc_file_part": found.inner}
    return {
        "record_id": _bare(warc.get("warc-record-id", "")) or f"{name}#{found.offset}{place}",
        "url": warc.get("warc-target-uri", "").strip("<> \t") or None,
        "fetched_at": _date(warc.get("warc-date", "")),
        "payload_digest": warc.get("warc-payload-digest"),
        "offset": found.offset,
        "length": found.length,
        "meta": json.dumps({k: v for k, v in meta.items() if v}) if any(meta.values()) else None,
    }


def _bare(urn: str) -> str:
    return urn.strip("<> \t").removeprefix("urn:uuid:")


def _date(value: str) -> dt.datetime | None:
    """A WARC date, or an ARC one of 14 digits; UTC where it names no zone."""
    try:
        found = dt.datetime.fromisoformat(f"{value[:8]}T{value[8:]}" if value.isdecimal() else value)
        return found.replace(tzinfo=found.tzinfo or dt.UTC).astimezone(dt.UTC)
    except (ValueError, OverflowError):
        return None


def _document(found: _Found, known: dict[str, Any], kind: str) -> Record:
    """Read a record's body as a page."""
    warc, url, fetched_at = found.headers, known["url"], known["fetched_at"]
    is_text = kind == "conversion"
    got = http.response(found.block if not is_text else b"", MAX_PAGE_BYTES + 1)
    body = found.block if is_text else got.body
    known["http_status"] = got.status
    if got.cut:
        known["meta"] = json.dumps({**json.loads(known["meta"] or "{}"), "http_body": "cut short"})
    headers = got.headers if got.status is not None else list(warc.items())
    mime = http.value(headers, "content-type")
    reason = _refused(got.status, body)
    if reason is not None:
        return Record(found.cursor, {**known, "mime": page.essence(mime), "quarantine": reason})
    if (host := _robots_host(url)) is not None:
        return Record(found.cursor, skipped="robots_txt", robots=(host, body.decode("utf-8", "replace")))
    known["raw_sha256"] = hashlib.sha256(body).hexdigest()
    return Record(found.cursor, {**known, **page.read(body, headers, url, fetched_at, mime)})


def _refused(status: int | None, body: bytes) -> str | None:
    if status is not None and not 200 <= status < 300:
        return f"http_status: {status}"
    if len(body) > MAX_PAGE_BYTES:
        return _TOO_LARGE
    return None if body else "empty_body"


def _robots_host(url: str | None) -> str | None:
    """The host whose robots.txt this address is."""
    if url is None or not url.split("?")[0].endswith("/robots.txt"):
        return None
    try:
        return host_of(url) if urlsplit(url).path == "/robots.txt" else None
    except ValueError:
        return None
