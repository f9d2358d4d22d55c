"""Read Parquet, Arrow files and Arrow streams into records, one for every row that can be read.

Places are row numbers. What of a file cannot be read, a row group, a record batch, the rest, is one record in quarantine,
`damaged_file`; its `meta` says how many rows that costs, where the file says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from curator.readers.columns import Columns
from curator.readers.fields import as_json, columns_of, few, parts_of, plain, unique
from curator.readers.parquet import Piece
from curator.readers.records import Record, Watch, quarantined

_BATCH_BYTES: Final = 8 << 20
_BATCH_ROWS: Final = 1024
_FAULTS: Final = (pa.ArrowException, OSError, ValueError, OverflowError, MemoryError, TypeError)

# Rows without content cost no bytes: a footer may claim 10^18 of them, and each would be a record. Text of a column in
# which every row is the same, compressed, is the densest real file.
_ROWS_PER_BYTE: Final = 100
_FREE_ROWS: Final = 1_000_000


@dataclass(frozen=True)
class _Table:
    """A file that could be opened: its schema, how many rows it claims (None where it does not say), and its pieces."""

    schema: pa.Schema
    rows: int | None
    pieces: Iterator[Piece]


def records(path: Path, start: int, watch: Watch, columns: Columns = Columns()) -> Iterator[Record]:  # noqa: B008
    """Yield one record for every row from row `start` on.

    A file without a column of text gives one record in quarantine, `no_text_column`, for all its rows.
    """
    try:
        table = _open(path, start, watch)
        names = unique(table.schema.names)
        parts = parts_of(names, columns)
        fault = _no_text(table.schema, names, parts.get("text"))
    except _FAULTS as error:
        table, fault = _Table(pa.schema([]), None, iter(())), _fault(error)
    if fault is not None:
        if not start and table.rows != 0:
            yield _lost(Piece(0, table.rows or 1, None, fault))
        return
    for piece in table.pieces:
        if piece.first_row + piece.rows > start:
            yield from [_lost(piece)] if piece.table is None else _rows(piece, start, watch, columns, names, parts)


def _open(path: Path, start: int, watch: Watch) -> _Table:
    with path.open("rb") as file:
        magic = file.read(6)
    return _parquet(path, start, watch) if magic[:4] == b"PAR1" else _arrow(path, watch, magic == b"ARROW1")


def _lost(piece: Piece) -> Record:
    """Rows that cannot be read, as one record."""
    meta = as_json({"rows_lost": piece.rows}) if piece.rows > 1 else None
    place = {"offset": piece.first_row, "meta": meta}
    return quarantined(piece.first_row + piece.rows, f"#{piece.first_row}", str(piece.fault), **place)


def _no_text(schema: pa.Schema, names: list[str], text: str | None) -> str | None:
    """Why the rows have no text; None where they have."""
    if text is None:
        return f"no_text_column: has {few(names)}"
    kind = schema.types[names.index(text)]
    if _is_string(kind) or pa.types.is_null(kind):
        return None
    return f"no_text_column: {text[:40]} is {str(kind)[:40]}, has {few(names)}"


def _is_string(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    tests: tuple[Callable[[pa.DataType], bool], ...] = (
        pa.types.is_string,
        pa.types.is_large_string,
        pa.types.is_string_view,
        pa.types.is_binary,
        pa.types.is_large_binary,
        pa.types.is_binary_view,
    )
    return any(test(kind) for test in tests)


# --- Rows ------------------------------------------------------------------------------------------------------------


def _rows(
    piece: Piece, start: int, watch: Watch, columns: Columns, names: list[str], parts: Mapping[str, str]
) -> Iterator[Record]:
    batch = piece.table
    assert batch is not None
    for at in range(max(0, start - piece.first_row), piece.rows, _step(batch)):
        arrays = batch.slice(at, _step(batch)).columns
        values = [_values(column, name == parts["text"]) for name, column in zip(names, arrays, strict=True)]
        for row, cells in enumerate(zip(*values, strict=True), piece.first_row + at):
            if reason := watch.begin(row):
                yield quarantined(row + 1, f"#{row}", reason, offset=row)
                continue
            fields = {name: cell for name, cell in zip(names, cells, strict=True) if cell is not None}
            yield Record(row + 1, columns_of(fields, columns, row, parts) | {"offset": row})


def _step(batch: pa.RecordBatch) -> int:
    """Rows to make Python's objects of at a time: about `_BATCH_BYTES`."""
    return int(max(1, min(_BATCH_ROWS, _BATCH_BYTES * batch.num_rows // max(1, batch.get_total_buffer_size()))))


def _values(column: pa.Array, text: bool) -> list[Any]:
    """A column as Python's values; what Python has no value for, or what is not of the type it claims, as words."""
    if pa.types.is_timestamp(column.type) and column.type.unit == "ns":  # Python knows none
        column = column.cast(pa.timestamp("us", column.type.tz), safe=False)
    simple = text or pa.types.is_primitive(column.type) or pa.types.is_string(column.type)
    try:
        values = column.to_pylist()
    except _FAULTS:
        values, simple = [_value(scalar) for scalar in column], text
    return values if simple else [plain(value) for value in values]


def _value(scalar: pa.Scalar) -> Any:
    try:
        return scalar.as_py()
    except _FAULTS:
        pass
    try:
        return scalar.as_buffer().to_pybytes() if _is_string(scalar.type) else str(scalar.cast(pa.string()))
    except (*_FAULTS, AttributeError):
        return f"unreadable {scalar.type}"[:100]


# --- Pieces of a file ------------------------------------------------------------------------------------------------


def _fault(error: BaseException) -> str:
    said = (str(error).splitlines() or [""])[0]
    return f"damaged_file: {type(error).__name__}: {said}"[:200]


def _believed(rows: int, path: Path) -> int:
    """The number of rows, if so many can be in the file; else a `ValueError`."""
    size = path.stat().st_size
    if not 0 <= rows <= _FREE_ROWS + _ROWS_PER_BYTE * size:
        raise ValueError(f"it claims {rows} rows in {size} bytes")
    return rows


def _parquet(path: Path, start: int, watch: Watch) -> _Table:
    file = pq.ParquetFile(path, buffer_size=1 << 20, page_checksum_verification=True)
    groups = [_believed(file.metadata.row_group(n).num_rows, path) for n in range(file.num_row_groups)]
    return _Table(file.schema_arrow, _believed(sum(groups), path), _groups(file, groups, start, watch))


def _groups(file: pq.ParquetFile, groups: list[int], start: int, watch: Watch) -> Iterator[Piece]:
    first = 0
    for number, rows in enumerate(groups):
        if first + rows > start:
            yield from _group(file, number, first, first + rows, watch)
        first += rows


def _group(file: pq.ParquetFile, number: int, row: int, end: int, watch: Watch) -> Iterator[Piece]:
    """A row group in batches; where one is corrupt, the rest of the group is one piece that cannot be read."""
    fault = "damaged_file: fewer rows than the footer says"
    try:
        batches = file.iter_batches(_batch_rows(file.metadata.row_group(number)), [number], use_threads=False)
        while row < end:
            if reason := watch.begin(row):
                fault = reason
                break
            batch = next(batches).slice(0, end - row)
            yield Piece(row, batch.num_rows, batch)
            row += batch.num_rows
    except StopIteration:
        pass
    except _FAULTS as error:
        fault = _fault(error)
    if row < end:
        yield Piece(row, end - row, None, fault)


def _batch_rows(group: pq.RowGroupMetaData) -> int:
    mean = max(1, group.total_byte_size) // max(1, group.num_rows)
    return int(max(1, min(_BATCH_ROWS, _BATCH_BYTES // max(1, mean))))


def _arrow(path: Path, watch: Watch, has_footer: bool) -> _Table:
    """An Arrow stream, or a file: a stream between its magic number and a footer, without which it can still be read."""
    file = pa.OSFile(str(path))
    if has_footer:
        try:
            whole = pa.ipc.open_file(file)
            batches = map(whole.get_batch, range(whole.num_record_batches))
            return _Table(whole.schema, None, _batches(batches, path, watch, None))
        except _FAULTS as error:
            fault = _fault(error)
        file.seek(8)
        stream = pa.ipc.open_stream(file)
        return _Table(stream.schema, None, _batches(_each(stream), path, watch, fault))
    stream = pa.ipc.open_stream(file)
    return _Table(stream.schema, None, _batches(_each(stream), path, watch, None))


def _each(stream: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
    """The batches of a stream; a generator ends with its first error, a stream would give it for ever."""
    yield from stream


def _batches(batches: Iterator[pa.RecordBatch], path: Path, watch: Watch, fault: str | None) -> Iterator[Piece]:
    """The batches of a file; one that cannot be read is one piece of one row, for its rows are not known.

    fault: of the file's end, told behind what could be read.
    """
    row, told = 0, False
    while True:
        if reason := watch.begin(row):  # it cannot be passed over: where it ends is known to its parser alone
            fault, told = reason, False
            break
        try:
            batch = _checked(next(batches), path)
            piece = Piece(row, batch.num_rows, batch)
        except StopIteration:
            break
        except _FAULTS as error:
            piece = Piece(row, 1, None, _fault(error))
        yield piece
        row, told = row + piece.rows, piece.table is None
    if fault is not None and not told:
        yield Piece(row, 1, None, fault)


def _checked(batch: pa.RecordBatch, path: Path) -> pa.RecordBatch:
    """The batch, once its offsets lead nowhere outside of it; strings that are not UTF-8 become bytes."""
    _believed(batch.num_rows, path)
    try:
        batch.validate(full=True)
        return batch
    except pa.ArrowInvalid:
        batch = pa.RecordBatch.from_arrays([_as_bytes(column) for column in batch.columns], batch.schema.names)
        batch.validate(full=True)
        return batch


def _as_bytes(column: pa.Array) -> pa.Array:
    for kind, same in (
        (pa.string(), pa.binary()),
        (pa.large_string(), pa.large_binary()),
        (pa.string_view(), pa.binary_view()),
    ):
        if column.type == kind:
            return column.view(same)
    return column
