"""Run parsers where a stuck or crashing one can be killed: the record at fault is quarantined, the rest goes on."""

from __future__ import annotations

import contextlib
import io
import mmap
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, BinaryIO, Final, cast

import psutil
import pyarrow as pa

from curator.errors import CuratorError
from curator.readers.columns import Columns
from curator.readers.parser import BEAT, receive, send

PAGE_CPU_S: Final = 20.0  # processor time, not the clock: a busy machine must not change what is quarantined
PAGE_IDLE_S: Final = 600.0  # a parser that neither works nor answers
MEMORY_BYTES: Final = 2 << 30  # on top of what the process holds when it starts
_TICK_S: Final = 0.25


# Words with which a record is quarantined because it stopped its parser: rare, and worth a report.
STOPPED: Final = ("parser_died", "parser_failed", "out_of_memory", "too_slow", "stuck")


@dataclass(frozen=True)
class Place:
    """Where a reader is: which of its files, where in it, how many rows of it are behind."""

    file: int = 0
    cursor: int = 0
    row: int = 0


@dataclass(frozen=True)
class Parsed:
    """One row group of a parser, with the place behind it."""

    batch: pa.RecordBatch
    at: Place
    skipped: Mapping[str, int]
    robots: Sequence[tuple[str, str]]


class _DiedError(Exception):
    """The parser ended, was killed, or gave up on a record; says why."""


@dataclass
class Guard:
    """Owns one parser process, and starts another when it has to kill it."""

    page_cpu_s: float = PAGE_CPU_S
    page_idle_s: float = PAGE_IDLE_S
    memory_bytes: int = MEMORY_BYTES
    program: str = "curator.readers.parser"
    _child: subprocess.Popen[bytes] | None = None
    _shared: Any = field(default_factory=tempfile.TemporaryFile)
    _memory: mmap.mmap | None = None
    _closed: bool = False

    def parsed(
        self, files: Sequence[Mapping[str, str]], start: Place, columns: Columns | None = None
    ) -> Iterator[Parsed]:
        """Read `files` from `start` on.

        files: path, name, source and format of each. A record at which a parser dies is quarantined with the
        reason; if the next one dies at the same place, so is the rest of that file.
        """
        at = start
        poison: dict[int, dict[int, str]] = {}
        stops: dict[int, int] = {}
        while True:
            order = {
                "files": files,
                "at": asdict(at),
                "poison": poison,
                "stops": stops,
                "columns": asdict(columns or Columns()),
            }
            try:
                for parsed in self._answers(order):
                    yield parsed
                    at = parsed.at
                return
            except _DiedError as error:
                self.close()
                file, place = self._last_place(at)
                if place in poison.setdefault(file, {}):
                    stops[file] = place
                poison[file][place] = str(error)

    def _last_place(self, at: Place) -> tuple[int, int]:
        assert self._memory is not None
        file, place, beats = BEAT.unpack_from(self._memory)
        return (file, place) if beats else (at.file, at.cursor)

    def _answers(self, order: Mapping[str, Any]) -> Iterator[Parsed]:
        child = self._started()
        assert child.stdin is not None and child.stdout is not None and self._memory is not None
        BEAT.pack_into(self._memory, 0, 0, 0, 0)
        try:
            send(cast(BinaryIO, child.stdin), order)
        except OSError as error:
            raise _DiedError(self._epitaph()) from error
        stream = cast(BinaryIO, _Watched(self, child))
        while True:
            frame = receive(stream)
            if frame is None:
                raise _DiedError(self._epitaph())
            header, body = frame
            if header["is"] == "end":
                return
            if header["is"] == "failed":
                raise _DiedError(header["why"])
            batch = pa.ipc.open_stream(io.BytesIO(body)).read_next_batch()
            yield Parsed(batch, Place(**header["at"]), header["skipped"], [tuple(r) for r in header["robots"]])

    def _epitaph(self) -> str:
        assert self._child is not None
        try:
            code = self._child.wait(timeout=10)
        except subprocess.TimeoutExpired:
            return "parser_failed: closed its pipe"
        name = signal.Signals(-code).name if code < 0 else f"exit {code}"
        return f"parser_died: {name}"

    def _started(self) -> subprocess.Popen[bytes]:
        if self._closed:
            raise CuratorError("stopped; run the same command again, it does only the rest")
        if self._child is None:
            self._shared.truncate(BEAT.size)
            self._memory = self._memory or mmap.mmap(self._shared.fileno(), BEAT.size)
            self._child = subprocess.Popen(
                [
                    sys.executable,
                    "-P",
                    "-m",
                    self.program,
                    str(self._shared.fileno()),
                    str(self.memory_bytes),
                    str(2 * self.page_cpu_s),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                pass_fds=[self._shared.fileno()],
                env={**os.environ, "OMP_NUM_THREADS": "1", "ARROW_DEFAULT_MEMORY_POOL": "system"},
                bufsize=0,
            )
        return self._child

    def stop(self) -> None:
        """End the parser for good, from any thread; whoever reads from it gets a `CuratorError`."""
        self._closed = True
        self.close()

    def close(self) -> None:
        """End the parser; the next order starts another."""
        child, self._child = self._child, None
        if child is not None:
            with contextlib.suppress(OSError):
                child.kill()
            for pipe in (child.stdin, child.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()
            child.wait()

    def __enter__(self) -> Guard:
        """Start the parser with the first order."""
        return self

    def __exit__(self, *exc: object) -> None:
        """End the parser."""
        self.close()
        if self._memory is not None:
            self._memory.close()
            self._memory = None
        self._shared.close()


class _Watched:
    """The parser's answers, read with an eye on how long it has been at one record."""

    def __init__(self, guard: Guard, child: subprocess.Popen[bytes]) -> None:
        assert child.stdout is not None
        self._guard, self._fd = guard, child.stdout.fileno()
        self._process = psutil.Process(child.pid)
        self._seen = (-1, 0.0, time.monotonic())  # beats, processor time at the last beat, clock at the last beat

    def read(self, size: int) -> bytes:
        """Exactly `size` bytes; fewer where the parser ended."""
        parts, left = [], size
        while left:
            while not select.select([self._fd], [], [], _TICK_S)[0]:
                self._check()
            part = os.read(self._fd, min(left, 1 << 20))
            if not part:
                break
            parts.append(part)
            left -= len(part)
        return b"".join(parts)

    def _check(self) -> None:
        assert self._guard._memory is not None
        beats = BEAT.unpack_from(self._guard._memory)[2]
        cpu, now = self._cpu_s(), time.monotonic()
        if beats != self._seen[0]:
            self._seen = (beats, cpu, now)
        elif cpu - self._seen[1] > self._guard.page_cpu_s:
            raise _DiedError(f"too_slow: over {self._guard.page_cpu_s:g} s of processor time")
        elif now - self._seen[2] > self._guard.page_idle_s:
            raise _DiedError(f"stuck: no answer for {self._guard.page_idle_s:g} s")

    def _cpu_s(self) -> float:
        try:
            times = self._process.cpu_times()
        except psutil.Error:
            return 0.0
        return float(times.user + times.system)
