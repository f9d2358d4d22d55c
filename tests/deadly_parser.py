"""A parser with one more reader: lines of text, some of which kill, hang or hog as a hostile page might."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

from curator.readers import parser
from curator.readers.records import Record, Watch, quarantined


def records(path: Path, start: int, watch: Watch) -> Iterator[Record]:
    place = 0
    for line in path.read_text().splitlines(keepends=True):
        cursor = place + len(line)
        if place >= start:
            why = watch.begin(place)
            if line.startswith("cursed"):  # kills even a reader that leaves it alone
                os.kill(os.getpid(), signal.SIGKILL)
            yield quarantined(cursor, f"#{place}", why, offset=place) if why else _read(line.strip(), place, cursor)
        place = cursor


def _read(line: str, place: int, cursor: int) -> Record:
    if line == "die":
        os.kill(os.getpid(), signal.SIGSEGV)
    if line == "loop":
        while True:
            pass
    if line == "hog":
        hoard = [bytes(1 << 28) for _ in range(1000)]
        return Record(cursor, {"record_id": "hog", "text": str(len(hoard))})
    if line == "raise":
        raise RuntimeError("a fault of the reader")
    if line == "skip":
        return Record(cursor, skipped="request")
    return Record(cursor, {"record_id": f"#{place}", "text": line, "offset": place})


if __name__ == "__main__":
    parser.READERS["deadly"] = "tests.deadly_parser:records"
    parser.main(sys.argv[1:])
