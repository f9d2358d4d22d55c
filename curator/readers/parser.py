"""The process that touches strangers' bytes: started, watched and if need be killed by `curator.guard`.

It speaks in frames over a pipe: a length and a JSON header, then the header's `bytes` of an Arrow stream.
In: one order, `{"files": [...], "at": {...}, "poison": {...}}`. Out: `batch` frames, each with the place
behind it, and one `end`. What it is doing stands in shared memory (file, place, beats), where a guard can read it
after the process is dead.
"""

from __future__ import annotations

import importlib
import io
import json
import mmap
import os
import resource
import struct
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Final

import pyarrow as pa

from curator.readers.columns import Columns
from curator.readers.records import Record, Records, StopReadingError, Watch, quarantined
from curator.readers.rows import Batcher
from curator.schema import INGESTED

BEAT: Final = struct.Struct("<qqq")  # file, place, beats
_LENGTH: Final = struct.Struct("<I")
_END: Final = (1 << 63) - 1  # a cursor behind everything


def send(stream: BinaryIO, header: Mapping[str, Any], body: bytes | memoryview = b"") -> None:
    """Write one frame."""
    head = json.dumps({**header, "bytes": len(body)}).encode()
    stream.write(_LENGTH.pack(len(head)) + head)
    stream.write(body)
    stream.flush()


def receive(stream: BinaryIO) -> tuple[dict[str, Any], bytes] | None:
    """Read one frame; None at the end of the stream, or where it breaks off."""
    size = stream.read(_LENGTH.size)
    head = stream.read(_LENGTH.unpack(size)[0]) if len(size) == _LENGTH.size else b""
    if not head:
        return None
    header = json.loads(head)
    body = stream.read(header["bytes"])
    return (header, body) if len(body) == header["bytes"] else None


# The reader of each format (`sources.FORMATS`); its libraries are loaded in the parser's process alone.
READERS: Final[dict[str, str]] = {
    "warc": "curator.readers.warc:records",
    "lines": "curator.readers.lines:records",
    "delimited": "curator.readers.delimited:records",
    "parquet": "curator.readers.tables:records",
    "arrow": "curator.readers.tables:records",
    "whole": "curator.readers.files:records",
}
_TAKE_COLUMNS: Final = ("lines", "delimited", "parquet", "arrow")  # whose records have named fields


def reader_of(format_: str, named: Columns) -> Records:
    """The reader of a format, told which fields the user named."""
    module, _, function = READERS[format_].partition(":")
    found: Any = getattr(importlib.import_module(module), function)
    read: Records = partial(found, columns=named) if format_ in _TAKE_COLUMNS else found
    return read


@dataclass
class Heart:
    """Says in shared memory what is being read."""

    memory: mmap.mmap
    cpu_s: float  # the kernel ends this process when it is at one record for longer
    file: int = 0
    beats: int = 0
    _granted_at: float = -1.0

    def beat(self, place: int) -> None:
        """The record at `place` of the current file is next."""
        self.beats += 1
        BEAT.pack_into(self.memory, 0, self.file, place, self.beats)
        now = time.process_time()
        if now - self._granted_at >= 1.0 or self._granted_at < 0:  # the kernel counts whole seconds
            self._granted_at = now
            _grant(now + self.cpu_s)


def _grant(cpu_s: float) -> None:
    """Let the kernel stop this process at `cpu_s` of processor time, should nobody be left to do it."""
    until = int(cpu_s) + 2
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (until if hard == resource.RLIM_INFINITY else min(until, hard), hard))


@dataclass
class Parse:
    """One order: files to read from a place on, row groups to send."""

    order: Mapping[str, Any]
    heart: Heart
    out: BinaryIO
    _rows: Batcher = field(default_factory=Batcher)

    def run(self) -> None:
        """Read all files; a row group may hold rows of several."""
        at, files = self.order["at"], self.order["files"]
        cursor, row = at["cursor"], at["row"]
        for number in range(at["file"], len(files)):
            self._read(number, cursor, row)
            cursor = row = 0
        self._send({"file": len(files), "cursor": 0, "row": 0})
        send(self.out, {"is": "end"})

    def _read(self, number: int, cursor: int, row: int) -> None:
        entry = self.order["files"][number]
        self.heart.file = number
        for record in self._records(entry, number, cursor):
            row += self._rows.add(record, entry["name"], entry["source"], row)
            if self._rows.full:
                self._send({"file": number, "cursor": record.cursor, "row": row})

    def _records(self, entry: Mapping[str, Any], number: int, cursor: int) -> Iterator[Record]:
        poison = {int(place): why for place, why in self.order["poison"].get(str(number), {}).items()}
        stop = self.order["stops"].get(str(number))
        self.heart.beat(cursor)
        watch = Watch(poison, self.heart.beat, stop)
        read = reader_of(entry["format"], Columns(**self.order["columns"]))
        try:
            if stop is not None and stop <= cursor:
                raise StopReadingError
            yield from read(Path(entry["path"]), cursor, watch)
        except StopReadingError:
            why = f"{poison[stop or 0]}; the rest of the file is unread"
            yield quarantined(_END, f"#{stop}", why, offset=stop)

    def _send(self, at: Mapping[str, int]) -> None:
        rows, self._rows = self._rows, Batcher()
        sink = io.BytesIO()
        with pa.ipc.new_stream(sink, INGESTED) as stream:
            stream.write_batch(rows.batch())
        header = {"is": "batch", "at": at, "skipped": rows.skipped, "robots": rows.robots}
        send(self.out, header, sink.getbuffer())


def limited(bytes_: int) -> None:
    """Refuse this process more memory than it has now and `bytes_` on top: a page that wants more raises or ends it, alone."""
    with open("/proc/self/statm") as file:
        now = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + bytes_, now + bytes_))


def main(argv: list[str]) -> None:
    """Obey one order after another until the pipe closes.  argv: descriptor of the shared memory, memory limit in bytes, seconds a record may take."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not end up among the frames
    with mmap.mmap(int(argv[0]), BEAT.size) as memory:
        if sys.platform == "linux":
            limited(int(argv[1]))
        heart = Heart(memory, float(argv[2]))
        while (order := receive(sys.stdin.buffer)) is not None:
            _obey(Parse(order[0], heart, out), out)


def _obey(parse: Parse, out: BinaryIO) -> None:
    try:
        parse.run()
    except BrokenPipeError:
        sys.exit(1)
    except MemoryError:
        send(out, {"is": "failed", "why": "out_of_memory"})
    except Exception as error:  # a fault of a reader costs the record it was at, with its name, not the crawl
        send(out, {"is": "failed", "why": f"parser_failed: {type(error).__name__}: {str(error)[:160]}"})


if __name__ == "__main__":
    main(sys.argv[1:])
