"""What every reader of a scraper's leavings gives: records, one for every input, the unreadable ones too.

A reader is a function `records(path, start, watch) -> Iterator[Record]`. It streams, keeps no more
than one record in memory, and never raises for anything a file can hold: a record that cannot be
read becomes one quarantined record and the reader goes on behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

# Limits on one record. A larger one costs a quarantine row, never the run.
MAX_PAGE_BYTES: Final = 32 << 20  # HTML: its tree takes twenty times this in memory
MAX_RECORD_BYTES: Final = 128 << 20  # a text, a line of JSON, a cell


# Reasons of quarantine that a crawl is full of, for nobody meant these records to be text.
NO_TEXT_MEANT: Final = ("not_text", "http_status", "empty_body")


@dataclass(frozen=True)
class Record:
    """One input: a document, one that is quarantined, or one that never claimed to be a document.

    columns: `INGESTED` columns by name, all optional but `record_id`; `quarantine` says why it is no document.
    skipped: what it is instead (an archive's `request`, `warcinfo`, `revisit` …): counted, no row.
    cursor: where the next record begins; a later `records(path, cursor, …)` goes on behind this one.
    """

    cursor: int
    columns: Mapping[str, Any] = field(default_factory=dict)
    skipped: str | None = None
    robots: tuple[str, str] | None = None  # (host, body) of a robots.txt that the crawl holds


class StopReadingError(BaseException):
    """Raised through a reader at a place where it must not go on; no reader's own `except Exception` may hold it."""


@dataclass
class Watch:
    """Between a reader and whoever watches over it.

    begin: the reader calls it with the place of each record before it touches its content; a place in
    `poison` killed a parser before, and `begin` returns why: the reader quarantines that record unseen.
    """

    poison: Mapping[int, str] = field(default_factory=dict)
    beat: Callable[[int], None] = lambda place: None
    stop: int | None = None  # a place that killed a parser even though it left the record alone

    def begin(self, place: int) -> str | None:
        """Say that the record at `place` is next; returns the reason to quarantine it unseen, if there is one."""
        if self.stop is not None and place >= self.stop:
            raise StopReadingError
        self.beat(place)
        return self.poison.get(place)


Records = Callable[[Path, int, Watch], Iterator[Record]]


def quarantined(cursor: int, record_id: str, reason: str, **columns: Any) -> Record:
    """A record that could not be read as a document, with what is known of it."""
    return Record(cursor, {"record_id": record_id, **columns, "quarantine": reason})
