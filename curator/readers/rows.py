"""From a reader's records to Arrow batches: what follows from a record is filled in, whatever its format."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import pyarrow as pa

from curator.readers.documents import MAX_TEXT_BYTES
from curator.readers.records import Record
from curator.schema import INGESTED
from curator.shards import BATCH_BYTES, BATCH_ROWS
from curator.web import domain_of, host_of

_NAMES: Final = INGESTED.names
_STRINGS: Final = tuple(f.name for f in INGESTED if pa.types.is_string(f.type))


@dataclass
class Batcher:
    """Collects rows and says when there are enough for a row group: a function of the records alone, never of time."""

    skipped: Counter[str] = field(default_factory=Counter)
    robots: list[tuple[str, str]] = field(default_factory=list)
    _rows: list[Mapping[str, Any]] = field(default_factory=list)
    _bytes: int = 0

    def add(self, record: Record, file: str, source: str, row: int) -> bool:
        """Take a record in; true when it made a row, false when it never claimed to be a document."""
        if record.robots is not None:
            self.robots.append(record.robots)
            self._bytes += len(record.robots[1])
        if record.skipped is not None:
            self.skipped[record.skipped] += 1
            return False
        made = completed(record.columns, file, source, row)
        self._bytes += len(made.get("text") or "") + len(made.get("meta") or "")
        self._rows.append(made)
        return True

    @property
    def full(self) -> bool:
        """True when the rows make a row group."""
        return len(self._rows) >= BATCH_ROWS or self._bytes >= BATCH_BYTES

    def batch(self) -> pa.RecordBatch:
        """The rows so far.  # columns of `INGESTED`"""
        columns = [pa.array([row.get(f.name) for row in self._rows], f.type) for f in INGESTED]
        return pa.RecordBatch.from_arrays(columns, schema=INGESTED)


def completed(columns: Mapping[str, Any], file: str, source: str, number: int) -> dict[str, Any]:
    """A row with everything that follows from what the reader gave; text that cannot be kept becomes a reason."""
    row = {name: value for name, value in columns.items() if name in _NAMES and value is not None}
    for name in _STRINGS:
        if name in row:
            row[name] = _clean(row[name])
    row |= {"file": file, "row": number, "source": row.get("source") or source}
    record_id = row.get("record_id") or f"#{number}"
    row["record_id"] = f"{file}{record_id}" if record_id.startswith("#") else record_id
    row |= _place(row.get("url"))
    row["date"] = _first_seen(row)
    return _checked(row)


def _clean(value: str) -> str:
    """A name, address or tag that Arrow can hold: lone surrogates become replacement characters."""
    return value if value.isascii() else value.encode("utf-8", "replace").decode("utf-8")


def _place(url: str | None) -> dict[str, str | None]:
    host = host_of(url) if url else None
    return {"host": host, "domain": domain_of(host) if host else None}


def _first_seen(row: Mapping[str, Any]) -> Any:
    """Published where the page says so and no later than fetched, else fetched."""
    published, fetched = row.get("published_at"), row.get("fetched_at")
    return published if published and (fetched is None or published <= fetched) else fetched or published


def _checked(row: dict[str, Any]) -> dict[str, Any]:
    """Text only where it is no quarantine, and with its hash; the reason why not wherever it is missing."""
    text = None if row.get("quarantine") else row.get("text")
    utf8 = None if text is None else _utf8(text)
    if text is not None and utf8 is None:
        row["quarantine"] = "lone_surrogate"
    elif utf8 is not None and len(utf8) > MAX_TEXT_BYTES:
        row["quarantine"] = "text_too_large"
    elif text is None and not row.get("quarantine"):
        row["quarantine"] = "no_text"
    if row.get("quarantine"):
        return row | {"text": None}
    assert utf8 is not None
    return row | {"text_sha256": hashlib.sha256(utf8).hexdigest()}


def _utf8(text: str) -> bytes | None:
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        return None
