"""Make documents of a stranger's rows: ids, text checked, dates and declared origin understood, the rest carried along."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from curator.ids import doc_id
from curator.readers import documents_schema, parquet
from curator.readers.columns import Columns
from curator.schema import TIMESTAMP, UUID

MAX_TEXT_BYTES: Final = 128 << 20  # one text above this is quarantined: it would be held several times over in memory

_ORIGINS: Final = {
    **dict.fromkeys(("human", "real", "organic", "false", "0"), "human"),
    **dict.fromkeys(("synthetic", "machine", "ai", "generated", "model", "llm", "true", "1"), "synthetic"),
    "mixed": "mixed",
}

# Formats beyond ISO 8601, which DuckDB casts by itself.
_DATE_FORMATS: Final = (
    "%Y-%m",
    "%Y%m%d",
    "%Y/%m/%d",
    "%a, %d %b %Y %H:%M:%S %Z",
    "%a, %d %b %Y %H:%M:%S %z",
    "%d %b %Y",
    "%B %d, %Y",
    "%Y",
)


@dataclass(frozen=True)
class Reader:
    """Reads one chunk into document batches; `repeats` gives the occurrence number of rows that reuse an id."""

    chunk: parquet.Chunk
    extra: pa.Schema
    repeats: tuple[tuple[int, int], ...] = ()  # (row, earlier rows with its source and record id)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the chunk's documents in order."""
        repeats = dict(self.repeats)
        with duckdb.connect(":memory:", config={"threads": 1, "enable_external_access": False}) as sql:
            sql.execute("set timezone = 'UTC'")
            for piece in parquet.read(self.chunk):
                yield self._documents(piece, repeats, sql)

    def _documents(
        self, piece: parquet.Piece, repeats: Mapping[int, int], sql: duckdb.DuckDBPyConnection
    ) -> pa.RecordBatch:
        rows = range(piece.first_row, piece.first_row + piece.rows)
        parts = _Parts(piece, self.chunk.columns)
        text, fault = _texts(parts, piece)
        source = parts.strings("source", default=lambda _: self.chunk.source, rows=rows)
        record = parts.strings("id", default=lambda row: f"{self.chunk.name}#{row}", rows=rows, fallback=parts.url)
        repeat = [repeats.get(row, 0) for row in rows]
        ids = [doc_id(s, r, k) for s, r, k in zip(source, record, repeat, strict=True)]
        columns: dict[str, pa.Array] = {
            "doc_id": pa.array(ids, UUID),
            "source": pa.array(source, pa.string()),
            "record_id": pa.array(record, pa.string()),
            "path": pa.array(parts.strings("file", default=lambda _: self.chunk.name, rows=rows), pa.string()),
            "row": _row_numbers(parts.raw("row"), rows),
            "text": text,
            "url": pa.array(parts.url, pa.string()),
            "date": dates(parts.raw("date"), piece.rows, sql),
            "declared_language": pa.array(parts.optional("language"), pa.string()),
            "declared_origin": pa.array([origin(value) for value in parts.optional("origin")], pa.string()),
            "repeat": pa.array(repeat, pa.int32()),
            "quarantine": pa.array(fault, pa.string()),
        }
        if len(self.extra):
            columns["extra"] = _extra(piece, self.extra)
        return pa.RecordBatch.from_pydict(columns, schema=documents_schema(self.extra))


class _Parts:
    """The columns of one piece by the part they play, as plain values; nothing where the piece could not be read."""

    def __init__(self, piece: parquet.Piece, columns: Columns) -> None:
        self._piece, self._names = piece, columns.named()
        self.url = self.optional("url")

    def raw(self, part: str) -> pa.Array | None:
        table, name = self._piece.table, self._names.get(part)
        return None if table is None or name is None else table.column(name)

    def optional(self, part: str) -> list[str | None]:
        column = self.raw(part)
        return [None] * self._piece.rows if column is None else readable(column).to_pylist()

    def strings(self, part: str, default: object, rows: range, fallback: list[str | None] | None = None) -> list[str]:
        values = self.optional(part)
        if self.raw(part) is None and fallback is not None:
            values = fallback
        return [value if value else default(row) for value, row in zip(values, rows, strict=True)]  # type: ignore[operator]


def _row_numbers(column: pa.Array | None, rows: range) -> pa.Array:
    """The rows' numbers in the file they came from; an ingested file knows better than its own order."""
    if column is None or not pa.types.is_int64(column.type) or column.null_count:
        return pa.array(rows, pa.int64())
    return column


def readable(column: pa.Array) -> pa.Array:
    """Any column as strings; bytes that are not UTF-8 become replacement characters, whose loss a name can bear."""
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if (
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_string_view(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
    ):
        text, bad = parquet.as_utf8(column)
        if not pc.any(bad).as_py():
            return text
        raw = (column.dictionary_decode() if pa.types.is_dictionary(column.type) else column).cast(pa.large_binary())
        return pa.array(
            [None if v is None else v.decode("utf-8", "replace") for v in raw.to_pylist()], pa.large_string()
        )
    try:
        return column.cast(pa.large_string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return pa.array([None if v is None else str(v) for v in column.to_pylist()], pa.large_string())


def _texts(parts: _Parts, piece: parquet.Piece) -> tuple[pa.Array, list[str | None]]:
    """The texts, and for each row why it cannot be read as a document (None where it can)."""
    column = parts.raw("text")
    if column is None:
        return pa.nulls(piece.rows, pa.large_string()), [piece.fault] * piece.rows
    text, bad = parquet.as_utf8(column)
    too_big = pc.fill_null(pc.greater(pc.binary_length(text), MAX_TEXT_BYTES), False)
    if pc.any(too_big).as_py():
        text = pc.if_else(too_big, pa.scalar(None, pa.large_string()), text)
    faults: list[str | None] = [None] * piece.rows
    for row in pc.indices_nonzero(pc.is_null(text)).to_pylist():
        faults[row] = "not_utf8" if bad[row].as_py() else "text_too_large" if too_big[row].as_py() else "no_text"
    known = [why or fault for why, fault in zip(parts.optional("quarantine"), faults, strict=True)]
    refused = pa.array([why is not None for why in known])
    return pc.if_else(refused, pa.scalar(None, pa.large_string()), text), known


def origin(value: str | None) -> str | None:
    """What a source says of a text's origin in our words: human, synthetic or mixed; None for words not known."""
    return None if value is None else _ORIGINS.get(value.strip().lower())


def dates(column: pa.Array | None, rows: int, sql: duckdb.DuckDBPyConnection) -> pa.Array:
    """Dates from timestamps, epoch numbers (seconds, milliseconds or years) or text; null where none can be read. UTC."""
    if column is None:
        return pa.nulls(rows, TIMESTAMP)
    if pa.types.is_date(column.type) or pa.types.is_timestamp(column.type):
        zoned = column.cast(pa.timestamp("us", tz=getattr(column.type, "tz", None)), safe=False)
        return zoned.cast(TIMESTAMP) if zoned.type.tz else pc.assume_timezone(zoned, "UTC")
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        seconds = "case when v between 1000 and 2999 then epoch(make_date(v::int, 1, 1)) when abs(v) < 1e11 then v when abs(v) < 1e14 then v / 1e3 else null end"
        query = f"select try(to_timestamp({seconds})) from (select v::double v from batch)"
        values = column.cast(pa.float64(), safe=False)
    else:
        formats = "[" + ", ".join(f"'{f}'" for f in _DATE_FORMATS) + "]"
        query = f"select coalesce(try_cast(v as timestamptz), timezone('UTC', try_strptime(v, {formats}))) from batch"
        values = pc.utf8_trim_whitespace(readable(column))
    batch = pa.table({"v": values})
    sql.register("batch", batch)
    found = sql.sql(query).to_arrow_table().column(0).combine_chunks()
    sql.unregister("batch")
    return (
        found.cast(TIMESTAMP, safe=False) if not isinstance(found, pa.ChunkedArray) else found.cast(TIMESTAMP).chunk(0)
    )


def _extra(piece: parquet.Piece, extra: pa.Schema) -> pa.StructArray:
    """The travelling columns as one struct; a column this file lacks, or cannot show as the common type, is null."""
    arrays = [_carried(piece, column) for column in extra]
    return pa.StructArray.from_arrays(arrays, fields=list(extra))


def _carried(piece: parquet.Piece, column: pa.Field) -> pa.Array:
    if piece.table is None or column.name not in piece.table.schema.names:
        return pa.nulls(piece.rows, column.type)
    value = piece.table.column(column.name)
    if pa.types.is_large_string(column.type):
        return readable(value)
    return value if value.type == column.type else value.cast(column.type, safe=False)


def cut(batches: Iterator[pa.RecordBatch], rows: int) -> Iterator[Iterator[pa.RecordBatch]]:
    """Cut a stream of batches into streams of exactly `rows` rows (the last may be shorter)."""
    stream = itertools.chain.from_iterable(_slices(batches, rows))
    for end, first in stream:
        yield _until_end(end, first, stream)


def _slices(batches: Iterator[pa.RecordBatch], rows: int) -> Iterator[list[tuple[bool, pa.RecordBatch]]]:
    filled = 0
    for batch in batches:
        pieces = []
        while batch.num_rows:
            take = min(batch.num_rows, rows - filled)
            filled = (filled + take) % rows
            pieces.append((filled == 0, batch.slice(0, take)))
            batch = batch.slice(take)
        yield pieces


def _until_end(
    end: bool, first: pa.RecordBatch, stream: Iterator[tuple[bool, pa.RecordBatch]]
) -> Iterator[pa.RecordBatch]:
    yield first
    while not end:
        nxt = next(stream, None)
        if nxt is None:
            return
        end, batch = nxt
        yield batch
