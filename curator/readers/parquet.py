"""Read Parquet of any schema with a text column into documents, one row out for every row in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curator.errors import InputError, first_line
from curator.readers.columns import INGESTED_COLUMNS, Columns, resolve
from curator.shards import BATCH_BYTES, BATCH_ROWS

# What the schema of a file that `curator ingest` wrote carries.
INGESTED_MARK: Final[Mapping[str, str]] = {"curator.ingested": "1"}


@dataclass(frozen=True)
class Chunk:
    """Whole row groups of one file: the unit a reader reads in one go."""

    path: str  # as opened
    name: str  # relative to the folder the user named
    sha256: str
    source: str  # used where the file has no source column
    groups: tuple[int, ...]
    first_row: int
    rows: int
    columns: Columns


def opens(path: Path) -> bool:
    """True when the footer can be read."""
    try:
        return _open(path) is not None
    except InputError:
        return False


def schema_of(path: Path) -> pa.Schema:
    """The file's Arrow schema; an `InputError` that names the file when it is not readable Parquet."""
    return _open(path).schema_arrow


def rows_of(path: Path) -> int:
    """How many rows the file's footer says it holds."""
    return int(_open(path).metadata.num_rows)


def _open(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path} is not a readable Parquet file ({_why(path, error)}); mend or remove it") from error


def _why(path: Path, error: Exception) -> str:
    with open(path, "rb") as file:
        head = file.read(4)
    if path.stat().st_size == 0:
        return "it is empty"
    return (
        "it is truncated: it starts like Parquet but its footer is missing"
        if head == b"PAR1"
        else "it does not start with PAR1"
    )


def chunks(path: Path, name: str, sha256: str, source: str, named: Columns, target_rows: int) -> list[Chunk]:
    """Cut a file at its row groups into pieces of about `target_rows` rows; columns are resolved here, once."""
    file = _open(path)
    columns = _columns(file.schema_arrow, named, str(path))
    found: list[Chunk] = []
    groups: list[int] = []
    first = rows = 0
    for group in range(file.num_row_groups):
        groups.append(group)
        rows += file.metadata.row_group(group).num_rows
        if rows >= target_rows or group == file.num_row_groups - 1:
            found.append(Chunk(str(path), name, sha256, source, tuple(groups), first, rows, columns))
            first, rows, groups = first + rows, 0, []
    return [chunk for chunk in found if chunk.rows]


def _columns(schema: pa.Schema, named: Columns, where: str) -> Columns:
    """A file of ours says itself which column is what, unless the user says otherwise; one that only claims to be ours is a stranger's."""
    marked = (schema.metadata or {}).get(b"curator.ingested") == b"1"
    ours = marked and all(schema.names.count(name) == 1 for name in INGESTED_COLUMNS.named().values())
    return resolve(schema, INGESTED_COLUMNS if ours and named == Columns() else named, where)


@dataclass(frozen=True)
class Piece:
    """Consecutive rows of a file as they stand in it, or the reason why they cannot be read."""

    first_row: int
    rows: int
    table: pa.RecordBatch | None
    fault: str | None = None


def read(chunk: Chunk) -> Iterator[Piece]:
    """Stream a chunk's rows; a row group with corrupt pages comes back as one faulty piece of the rest of its rows."""
    try:
        file = _open(Path(chunk.path))
    except InputError as error:  # it was readable when planned
        yield Piece(chunk.first_row, chunk.rows, None, f"unreadable: {error}")
        return
    row = chunk.first_row
    for group in chunk.groups:
        meta = file.metadata.row_group(group)
        end = row + meta.num_rows
        try:
            for batch in file.iter_batches(_batch_rows(meta), row_groups=[group], use_threads=False):
                yield Piece(row, batch.num_rows, batch)
                row += batch.num_rows
        except (pa.ArrowException, OSError) as error:
            yield Piece(row, end - row, None, f"unreadable: {first_line(error)[:200]}")
        row = end


def _batch_rows(group: pq.RowGroupMetaData) -> int:
    """Rows that keep one batch near `BATCH_BYTES`, by the group's mean row."""
    mean = group.total_byte_size / max(1, group.num_rows)
    return int(min(BATCH_ROWS, max(1, BATCH_BYTES // max(1.0, mean))))


def as_utf8(array: pa.Array) -> tuple[pa.Array, pa.Array]:
    """Cast any string-like array to valid large_string: (strings, null where a row is not UTF-8; bool, which those are)."""
    raw = (
        pc.cast(array, pa.large_binary())
        if not pa.types.is_dictionary(array.type)
        else pc.cast(array.dictionary_decode(), pa.large_binary())
    )
    try:
        text = raw.cast(pa.large_string())  # Arrow checks UTF-8 in this cast
        return text, pa.repeat(pa.scalar(False), len(text))
    except pa.ArrowInvalid:
        values = [_decode(scalar.as_py()) for scalar in raw]
        bad = [value is None and scalar.is_valid for value, scalar in zip(values, raw, strict=True)]
        return pa.array(values, pa.large_string()), pa.array(bad, pa.bool_())


def _decode(value: Any) -> str | None:
    try:
        return None if value is None else value.decode("utf-8")
    except UnicodeDecodeError:
        return None
