"""Which column of a stranger's table is what: by its usual names, or by the name the user gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Final

import pyarrow as pa

from curator.errors import InputError

USUAL: Final[Mapping[str, tuple[str, ...]]] = {
    "text": ("text", "content", "raw_content", "body"),
    "id": ("id", "doc_id", "docid", "document_id", "record_id", "warc_record_id", "uuid", "_id"),
    "url": ("url", "uri", "source_url", "link", "warc_target_uri"),
    "date": (
        "date",
        "published",
        "published_at",
        "publish_date",
        "date_published",
        "created",
        "created_at",
        "timestamp",
        "crawl_date",
        "warc_date",
    ),
    "source": ("source", "source_name", "dataset", "subset", "domain"),
    "language": ("language", "lang"),
    "origin": ("declared_origin", "origin", "is_synthetic", "is_generated"),
    # parts that only a file of `curator ingest` has; no stranger's column plays them by its name
    "file": (),
    "row": (),
    "quarantine": (),
}


@dataclass(frozen=True)
class Columns:
    """The name of the column that plays each part; None where no column does (or, in a request, where the usual names serve)."""

    text: str | None = None
    id: str | None = None
    url: str | None = None
    date: str | None = None
    source: str | None = None
    language: str | None = None
    origin: str | None = None
    file: str | None = None
    row: str | None = None
    quarantine: str | None = None

    def named(self) -> dict[str, str]:
        """The parts that a column plays."""
        return {part: name for part, name in asdict(self).items() if name is not None}


# How the columns of `INGESTED` play the parts.
INGESTED_COLUMNS: Final = Columns(
    text="text",
    id="record_id",
    url="url",
    date="date",
    source="source",
    language="declared_language",
    origin="declared_origin",
    file="file",
    row="row",
    quarantine="quarantine",
)


def resolve(schema: pa.Schema, named: Columns, where: str) -> Columns:
    """Find each part's column in `schema`: the one the user named, else the first usual name, whatever its case."""
    found = Columns(**{f.name: _find(schema, f.name, getattr(named, f.name), where) for f in fields(Columns)})
    if found.text is None:
        raise InputError(
            f"{where} has no text column ({', '.join(USUAL['text'])}); its columns are: "
            f"{', '.join(map(repr, schema.names)) or 'none'}; name one with --text-column"
        )
    _check_text(schema.field(found.text), where)
    return found


def _find(schema: pa.Schema, part: str, wanted: str | None, where: str) -> str | None:
    if wanted is not None:
        if schema.names.count(wanted) != 1:
            raise InputError(
                f"{where} has no single column {wanted!r} for --{part}-column; its columns are: {', '.join(map(repr, schema.names))}"
            )
        return wanted
    lowered = [name.lower() for name in schema.names]
    for usual in USUAL[part]:
        if lowered.count(usual) == 1:
            return str(schema.names[lowered.index(usual)])
    return None


def _check_text(column: pa.Field, where: str) -> None:
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    readable = (
        pa.types.is_string,
        pa.types.is_large_string,
        pa.types.is_string_view,
        pa.types.is_binary,
        pa.types.is_large_binary,
        pa.types.is_null,
    )
    if not any(test(kind) for test in readable):
        raise InputError(
            f"{where}: column {column.name!r} holds {column.type}, not text; name the text column with --text-column"
        )
