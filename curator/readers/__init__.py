"""From whatever the user names to documents: one row out for every row in, the unreadable ones too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from curator.errors import InputError
from curator.readers import parquet
from curator.readers.columns import Columns
from curator.schema import DOCUMENTS
from curator.sources import Source


@dataclass(frozen=True)
class Corpus:
    """What there is to read: the pieces in a fixed order, and the columns that travel through."""

    chunks: tuple[parquet.Chunk, ...]
    extra: pa.Schema
    rows: int


def corpus(files: Sequence[Source], named: Columns, target_rows: int | None = None) -> Corpus:
    """Check every Parquet file, and cut them into chunks.

    Raises `InputError` for a file that is not Parquet, a missing text column, or a corpus without a row.
    """
    schemas = [parquet.schema_of(file.path) for file in files]
    total = sum(parquet.rows_of(file.path) for file in files)
    if not total:
        raise InputError(
            f"{', '.join(f.name for f in files[:3])}: {len(files)} file(s), but not one row; nothing to do"
        )
    rows = target_rows or shard_rows(total)
    chunks = [c for f in files for c in parquet.chunks(f.path, f.name, f.stamp, f.source, named, rows)]
    used = [set(_columns(chunks, str(file.path)).named().values()) for file in files]
    return Corpus(tuple(chunks), _extra_schema(schemas, used), total)


def _columns(chunks: Sequence[parquet.Chunk], path: str) -> Columns:
    return next((chunk.columns for chunk in chunks if chunk.path == path), Columns())


def shard_rows(total: int) -> int:
    """Rows of one shard: small enough to spread over workers, few enough files; a function of the corpus alone."""
    return min(16384, max(512, total // 64))


def _extra_schema(schemas: Sequence[pa.Schema], used: Sequence[set[str]]) -> pa.Schema:
    """The columns that no part uses, over all files; where files disagree on a type it becomes a string."""
    kinds: dict[str, set[pa.DataType]] = {}
    for schema, taken in zip(schemas, used, strict=True):
        for column in schema:
            if column.name not in taken and schema.names.count(column.name) == 1:
                kinds.setdefault(column.name, set()).add(_plain(column.type))
    return pa.schema([(name, _widest(types)) for name, types in sorted(kinds.items())])


def _plain(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_dictionary(kind):
        return _plain(kind.value_type)
    return pa.large_string() if pa.types.is_string(kind) or pa.types.is_string_view(kind) else kind


def _widest(types: set[pa.DataType]) -> pa.DataType:
    known = {t for t in types if not pa.types.is_null(t)} or {pa.large_string()}
    return known.pop() if len(known) == 1 else pa.large_string()


def documents_schema(extra: pa.Schema) -> pa.Schema:
    """`DOCUMENTS`, and the columns that travel through gathered in one struct so that no name can clash."""
    return DOCUMENTS.append(pa.field("extra", pa.struct(list(extra)))) if len(extra) else DOCUMENTS
