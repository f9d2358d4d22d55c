"""Read CSV and TSV with a header row, plain or compressed, into records.

Places are byte offsets in the uncompressed stream (of a UTF-16 or UTF-32 file: of its UTF-8). An empty cell is a
missing value. A quote that is never closed, or not where one may stand, would swallow the rest of the file: it costs its
own line, and the lines it had swallowed are read again, each by itself. What a row is thus depends on what stands before it, so a later start
reads the file from its beginning, without making records of what was given before.
"""

from __future__ import annotations

import codecs
import csv
import hashlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from curator.readers.columns import Columns
from curator.readers.fields import columns_of, few, parts_of, unique
from curator.readers.records import Record, Watch, quarantined
from curator.readers.streams import BLOCK_BYTES, Beat, CutLineError, DamagedError, Line, blocks, charset_of, lines

# One row. The csv module holds four bytes for every character of a cell, and doubles its memory as the cell grows: for a
# row of this size 300 MiB.
MAX_ROW_BYTES: Final = 32 << 20
_MAX_COLUMNS: Final = 10_000
_DELIMITERS: Final = ",\t;|"


def records(path: Path, start: int, watch: Watch, columns: Columns = Columns()) -> Iterator[Record]:  # noqa: B008
    """Yield one record for every row behind the header from byte `start` on; blank lines are skipped ones.

    A file whose header names no text gives one record in quarantine, `no_text_column`, for all its rows; a stream that
    breaks off gives what stands before, and then one record in quarantine: `damaged_stream`.
    """
    csv.field_size_limit(max(csv.field_size_limit(), 4 * MAX_ROW_BYTES))  # the limit kept here comes first
    format_ = _Format.of(path)
    rows = _Rows(format_, _lines(path, format_, lambda place: watch.beat(max(place, start))))
    try:
        yield from _records(rows, start, watch, columns)
    except CutLineError as cut:
        if cut.end >= start:
            place = {"offset": rows.at, "length": cut.end - rows.at}
            yield quarantined(cut.end + 1, f"#{rows.at}", f"damaged_stream: {cut.why}", **place)


def _records(rows: _Rows, start: int, watch: Watch, columns: Columns) -> Iterator[Record]:
    header = next((row for row in rows if row.cells or row.fault), None)
    if header is None:
        return
    names = unique(header.cells[:_MAX_COLUMNS])
    parts = parts_of(names, columns)
    fault = f"no_header: {header.fault}" if header.fault else f"no_text_column: has {few(names)}"
    if len(header.cells) > _MAX_COLUMNS:
        fault = f"no_header: {len(header.cells)} columns"
    if header.fault or "text" not in parts or len(header.cells) > _MAX_COLUMNS:
        if not start:
            watch.begin(header.offset)
            yield quarantined(header.end, f"#{header.offset}", fault, **header.place)
        return
    while True:
        behind = rows.at >= start
        reason = watch.begin(rows.at) if behind else None
        row = next(rows, None)
        if row is None:
            return
        if behind:
            yield _record(row, reason, names, parts, columns)


def _record(row: _Row, reason: str | None, names: Sequence[str], parts: Mapping[str, str], columns: Columns) -> Record:
    fault = reason or row.fault
    if not fault and not row.cells:
        return Record(row.end, skipped="blank")
    if not fault and len(row.cells) != len(names):
        fault = f"ragged_row: {len(row.cells)} fields for {len(names)}"
    if fault:
        return quarantined(row.end, f"#{row.offset}", fault, **row.place)
    fields = {name: cell for name, cell in zip(names, row.cells, strict=True) if cell}
    return Record(row.end, columns_of(fields, columns, row.offset, parts) | row.place)


# --- What kind of file it is -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Format:
    charset: str
    newline: bytes
    delimiter: str

    @classmethod
    def of(cls, path: Path) -> _Format:
        """Tell encoding, line end and delimiter by the file's beginning."""
        try:
            head = next(blocks(path), b"")[:BLOCK_BYTES]
        except DamagedError:
            head = b""
        charset = charset_of(head)
        text = head.decode(charset, "replace").removeprefix("\ufeff")
        newline = "\r" if "\r" in text and "\n" not in text else "\n"
        return cls(charset, newline.encode(), _delimiter(text, "\t" if ".tsv" in path.suffixes[-2:] else ","))


def _delimiter(text: str, usual: str) -> str:
    """The one that cuts the header into most names; `usual` where several do."""
    return max(_DELIMITERS, key=lambda delimiter: (_width(text, delimiter), delimiter == usual))


def _width(text: str, delimiter: str) -> int:
    try:
        rows = csv.reader(text.lstrip().splitlines(keepends=True), delimiter=delimiter)
        return len(next(rows, []))
    except csv.Error:
        return 0


def _lines(path: Path, format_: _Format, beat: Beat) -> Iterator[Line]:
    stream = blocks(path)
    if format_.charset in ("utf-16", "utf-32"):
        stream = _as_utf8(stream, format_.charset)
    return lines(stream, 0, MAX_ROW_BYTES, beat, format_.newline)


def _as_utf8(stream: Iterator[bytes], charset: str) -> Iterator[bytes]:
    """The stream in UTF-8; half a surrogate pair stays one, which is no UTF-8 and costs its row."""
    decoder = codecs.getincrementaldecoder(charset)("surrogatepass")
    try:
        for block in itertools.chain(stream, [b""]):
            yield decoder.decode(block, final=not block).encode("utf-8", "surrogatepass")
    except UnicodeError as error:
        raise DamagedError(f"not {charset}") from error


# --- Rows ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Row:
    """A row as it stands in the file; `cells` is empty for a blank line and where there is a `fault`."""

    offset: int
    end: int
    cells: list[str]
    fault: str | None
    sha256: str | None  # of its bytes

    @property
    def place(self) -> dict[str, Any]:
        return {"offset": self.offset, "length": self.end - self.offset, "raw_sha256": self.sha256}


class _Rows:
    """Iterates over the rows; `at` is where the next one, or the one under way, begins."""

    def __init__(self, format_: _Format, given: Iterator[Line]) -> None:
        self.at = 0
        self._feed = _Feed(given, "utf-8" if format_.charset in ("utf-16", "utf-32") else format_.charset)
        self._format = format_
        self._reader = self._new_reader()

    def _new_reader(self) -> Any:
        # strict: the module would else make some text of a cell like "he said "yes" and left", and not the right one
        return csv.reader(self._feed, delimiter=self._format.delimiter, strict=True)

    def __iter__(self) -> _Rows:
        return self

    def __next__(self) -> _Row:
        feed = self._feed
        feed.begin()
        fault: str | None = None
        cells: list[str] = []
        try:
            cells = next(self._reader)
        except csv.Error as error:
            fault = f"not_csv: {str(error)[:60]}"
        if feed.open or fault:
            fault = "unterminated_quote" if feed.open else fault
            feed.again(self.at, self._format.newline)
            self._reader = self._new_reader()  # the old one keeps the memory of its cell
        fault = fault or feed.fault
        offset, self.at = self.at, self.at + feed.size
        return _Row(offset, self.at, [] if fault else cells, fault, feed.sha256())


class _Feed:
    """Hands csv.reader the lines of one row, and notes how many bytes it asked for.

    open: the reader asked for more where there is none to give, so a quote is not closed.
    """

    def __init__(self, given: Iterator[Line], charset: str) -> None:
        self._given, self._charset = given, charset
        self._swallowed: Iterator[Line] = iter(())  # lines that an open quote had taken; each of them stands alone
        self._waiting: Line | None = None
        self._alone = False
        self.begin()

    def begin(self) -> None:
        """Forget the row before."""
        self._raw, self.size, self._first = bytearray(), 0, 0
        self.open = False
        self.fault: str | None = None

    def __iter__(self) -> _Feed:
        return self

    def __next__(self) -> str:
        line = None if self.size and (self._alone or self.size > MAX_ROW_BYTES) else self._line()
        if line is None or (line.data is None and self.size):
            self._waiting = line or self._waiting
            self.open = self.size > 0
            raise StopIteration
        self.size += line.end - line.offset
        self._first = self._first or self.size
        if line.data is None:
            self.fault = "line_too_long"
            return ""
        self._raw += line.data
        return self._text(line)

    def _line(self) -> Line | None:
        line = next(self._swallowed, None)
        self._alone = line is not None
        if line is None:
            line, self._waiting = self._waiting or next(self._given, None), None
        return line

    def _text(self, line: Line) -> str:
        assert line.data is not None
        try:
            text = line.data.decode(self._charset)
        except UnicodeDecodeError:
            self.fault = f"not_{self._charset.replace('-', '')}"
            text = line.data.decode(self._charset, "replace")
        return text if line.offset else text.removeprefix("\ufeff")

    def again(self, offset: int, newline: bytes) -> None:
        """Make the row its first line alone, and give the others once more."""
        rest = bytes(self._raw[self._first :])
        del self._raw[self._first :]
        self.size = self._first
        if rest:
            pieces = (rest[at : at + BLOCK_BYTES] for at in range(0, len(rest), BLOCK_BYTES))
            self._swallowed = lines(pieces, offset + self._first, MAX_ROW_BYTES, newline=newline)

    def sha256(self) -> str | None:
        """Of the row's bytes; None where they were not held."""
        return hashlib.sha256(self._raw).hexdigest() if self._raw else None
