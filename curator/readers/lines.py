"""Read JSON lines, plain or compressed, into records; a `.json` file may also hold one array, or objects one behind the other.

Places are byte offsets in the uncompressed stream. Of two equal keys in an object the last one counts; NaN and
Infinity, which JSON lacks and Python writes, are read as null; a number keeps all its digits.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from curator.readers.columns import Columns
from curator.readers.fields import columns_of, is_utf8
from curator.readers.records import MAX_RECORD_BYTES, Record, Watch, quarantined
from curator.readers.streams import Beat, CutLineError, DamagedError, Line, blocks, lines

_SPACE: Final = b" \t\r\n"
_BOM: Final = b"\xef\xbb\xbf"
_STRUCTURE: Final = re.compile(rb'["{}\[\],]')
_IN_STRING: Final = re.compile(rb'["\\]')
_decode: Final = msgspec.json.Decoder().decode


class _RefusedError(Exception):
    """Why a line is no record."""


def records(path: Path, start: int, watch: Watch, columns: Columns = Columns()) -> Iterator[Record]:  # noqa: B008
    """Yield one record for every line (or value) from byte `start` on; blank lines are skipped ones.

    A stream that breaks off gives what stands before, and then one record in quarantine: `damaged_stream`.
    """
    try:
        for line in _cut(path, start, watch.beat):
            yield _record(line, watch, columns)
    except CutLineError as cut:
        place = {"offset": cut.offset, "length": cut.end - cut.offset}
        yield quarantined(cut.end + 1, f"#{cut.offset}", f"damaged_stream: {cut.why}", **place)


def _record(line: Line, watch: Watch, columns: Columns) -> Record:
    body = None if line.data is None else line.data.strip(_SPACE)
    if body == b"":
        return Record(line.end, skipped="blank")
    known: dict[str, Any] = {"offset": line.offset, "length": line.end - line.offset}
    reason = watch.begin(line.offset) or ("line_too_long" if body is None else None)
    if reason is None and body is not None:
        known |= {"raw_sha256": hashlib.sha256(body).hexdigest(), "charset": "utf-8"}
        try:
            return Record(line.end, _columns(body, columns, line.offset) | known)
        except _RefusedError as refused:
            reason = str(refused)
    return quarantined(line.end, f"#{line.offset}", str(reason), **known)


def _columns(body: bytes, columns: Columns, place: int) -> dict[str, Any]:
    try:
        value = _decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return _encodable(columns_of(_object(_leniently(body)), columns, place))
    return columns_of(_object(value), columns, place)


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _RefusedError(f"not_an_object: {'null' if value is None else type(value).__name__}")
    return value


def _leniently(body: bytes) -> Any:
    """Read what strict JSON refuses and a reader may take: NaN, raw control characters, half a surrogate pair."""
    try:
        text = body.removeprefix(_BOM).decode()
        return json.loads(text, strict=False, parse_constant=lambda name: None)
    except UnicodeDecodeError:
        raise _RefusedError("not_utf8") from None
    except RecursionError:
        raise _RefusedError("not_json: nested too deep") from None
    except ValueError as error:  # JSONDecodeError, or a number of more than 4,300 digits
        raise _RefusedError(f"not_json: {str(error)[:100]}") from None


def _encodable(found: dict[str, Any]) -> dict[str, Any]:
    """Refuse a text with half a surrogate pair, which no UTF-8 can hold; elsewhere the half becomes its escape again."""
    if not is_utf8(found.get("text", "")):
        found = {name: value for name, value in found.items() if name != "text"} | {"quarantine": "lone_surrogate"}
    return {
        name: value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value
        for name, value in found.items()
    }


# --- Where a record begins and ends ----------------------------------------------------------------------------------


def _cut(path: Path, start: int, beat: Beat) -> Iterator[Line]:
    layout = _layout(path) if ".json" in path.suffixes[-2:] else "lines"
    stream = blocks(path, start, beat)
    if layout == "lines":
        return lines(stream, start, MAX_RECORD_BYTES, beat)
    return _values(stream, start, MAX_RECORD_BYTES, beat, array=layout == "array")


def _layout(path: Path) -> str:
    """How a file lays out its records: `lines`, one `array`, or `objects` that span lines or share one."""
    try:
        head = next(blocks(path), b"")
    except DamagedError:
        return "lines"
    body = head.removeprefix(_BOM).lstrip(_SPACE)
    if body.startswith(b"["):
        return "array"
    return "lines" if any(map(_is_object, body.split(b"\n", 20)[:20])) else "objects"


def _is_object(line: bytes) -> bool:
    """True for a line that is a whole object by itself."""
    try:
        return line.startswith(b"{") and isinstance(_decode(line), dict)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return False


def _values(stream: Iterator[bytes], offset: int, limit: int, beat: Beat, array: bool) -> Iterator[Line]:
    """Cut the elements of an array, or objects that follow each other; only brackets and quotes are looked at."""
    scan = _Scan(offset, limit, array)
    try:
        for block in stream:
            beat(scan.offset)
            yield from scan.take(block)
    except DamagedError as error:
        raise CutLineError(scan.offset, scan.offset + scan.size, str(error)) from error
    yield from scan.close()


class _Scan:
    """Where a scan of JSON stands: the place of the value under way, its bytes so far, and how deep it is in brackets."""

    def __init__(self, offset: int, limit: int, array: bool) -> None:
        self.offset, self.size = offset, 0
        self._limit, self._array = limit, array
        self._depth = 1 if array and offset else 0  # who begins later is inside the array
        self._closed = False  # behind the array nothing is looked at
        self._quoted = self._escaped = False
        self._held: list[bytes] = []

    def take(self, block: bytes) -> Iterator[Line]:
        """The values that end in this block."""
        begin = 0
        for place in self._structure(block):
            end, behind = self._bounds(block[place], place)
            if end is not None:
                self._hold(block[begin:end])
                yield from self._value(self.offset + self.size + behind - end)
                begin = behind
            if self._closed:
                break
        self._hold(block[begin:])

    def close(self) -> Iterator[Line]:
        """What is left at the end of the stream."""
        return self._value(self.offset + self.size)

    def _structure(self, block: bytes) -> Iterator[int]:
        """Places of the brackets and commas that stand in no string."""
        place = 0
        while not self._closed and place < len(block):
            if self._escaped:
                self._escaped, place = False, place + 1
                continue
            found = (_IN_STRING if self._quoted else _STRUCTURE).search(block, place)
            if found is None:
                return
            place = found.end()
            if found.group() == b'"':
                self._quoted = not self._quoted
            elif self._quoted:
                self._escaped = True
            else:
                yield found.start()

    def _bounds(self, mark: int, place: int) -> tuple[int | None, int]:
        """Where a value ends that ends by this mark, and where the next begins; (None, 0) where none ends."""
        if mark in b"{[":
            self._depth += 1
            return (place, place + 1) if self._array and self._depth == 1 else (None, 0)
        if mark in b"]}":
            self._depth = max(0, self._depth - 1)
            if self._depth:
                return None, 0
            self._closed = self._array
            return (place, place) if self._array else (place + 1, place + 1)
        return (place, place + 1) if self._depth == self._array else (None, 0)

    def _hold(self, piece: bytes) -> None:
        self.size += len(piece)
        self._held.append(piece)
        if self.size > self._limit:
            self._held.clear()

    def _value(self, behind: int) -> Iterator[Line]:
        data = b"".join(self._held) if self.size <= self._limit else None
        if data is None or data.removeprefix(_BOM).strip(_SPACE + b"]" * self._closed):
            yield Line(self.offset, behind, data)
        self.offset, self.size = behind, 0
        self._held.clear()
