"""A process that answers one question after another about a finished run, so that no question can end who asks it.

DuckDB's interrupt does not reach into one long function: `list_sum(range(200000000))` went on for 400 s after it. What
a single value holds is beyond its memory limit, and what it cannot allocate may end its process. So strangers' questions are
answered under limits of the operating system, in a process that whoever asks may kill.

Frames on standard input and output: eight bytes of length, the highest first, and as many bytes. A question is whatever the
`Answerer` takes; an answer is one byte, a letter of `Kind`, and the body. The first frame comes unasked and is empty: it
says that the process has started, which on a busy machine takes longer than many a question.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO, Final

import duckdb
import msgspec
import pyarrow as pa

from curator.audit import ask, open_audit
from curator.errors import CuratorError, first_line
from curator.schema import TIMESTAMP

Answerer = Callable[[bytes], bytes]
Version = tuple[str, int, int, int]

GRACE_S: Final = 2.0  # after its time a question is interrupted; this long after that the process ends itself
EXACT: Final = 2**53  # beyond it JavaScript rounds whole numbers: they are sent as strings


class Kind(StrEnum):
    """What an answer is."""

    FOUND = "f"
    WRONG = "w"  # the question cannot be answered as it was asked; the body says why in one line
    FAILED = "x"  # the run cannot be read now, or a model is missing; likewise


class Limits(msgspec.Struct, frozen=True):
    """What one question in SQL may take."""

    seconds: float = 30.0
    rows: int = 10_000
    answer_bytes: int = 8_000_000
    memory_mb: int = 512
    threads: int = 1

    def settings(self) -> dict[str, str | int]:
        """As DuckDB knows them; nothing is written anywhere."""
        return {"memory_limit": f"{self.memory_mb}MB", "threads": self.threads, "temp_directory": ""}


class WrongQuestion(Exception):
    """The question cannot be answered as it was asked."""


# --- the account in SQL ---------------------------------------------------------------------------------------------


def version(root: Path) -> Version | None:
    """Which account lies there now: changes when a successor takes its place; None while there is none."""
    try:
        path = (root / "audit.duckdb").resolve(strict=True)
        found = path.stat()
    except OSError:
        return None
    return str(path.parent), found.st_ino, found.st_mtime_ns, found.st_size


class Questions:
    """Answers SQL from the account that lies there now, within limits."""

    def __init__(self, root: Path, limits: Limits) -> None:
        """Nothing is opened until somebody asks."""
        self._root, self._limits = root, limits
        self._version: Version | None = None
        self._open: duckdb.DuckDBPyConnection | None = None

    def __call__(self, question: bytes) -> bytes:
        """A query in UTF-8; its answer as JSON.

        Raises `WrongQuestion` where the query fails or takes too much, `InputError` where no account can be opened.
        """
        con, late = self._current(), threading.Event()

        def stop() -> None:
            late.set()
            con.interrupt()

        timer = threading.Timer(self._limits.seconds, stop)
        timer.start()
        try:
            return self._answer(con, question.decode())
        except (duckdb.Error, pa.ArrowException, MemoryError, ValueError, OverflowError) as error:
            self.close()  # an answer that was not read to its end would stand in the way of the next
            raise WrongQuestion(self._said(error, late.is_set())) from error
        finally:
            timer.cancel()

    def _said(self, error: Exception, late: bool) -> str:
        """Why a query has no answer."""
        if late:
            return f"the query was stopped after {self._limits.seconds:g} s; ask for less, or serve with more --seconds"
        if isinstance(error, MemoryError) or "Out of Memory" in str(error):
            return f"the query needs more than {self._limits.memory_mb:,} MB; ask for less, or serve with more --memory"
        if isinstance(error, duckdb.Error):
            return f"query failed: {first_line(error)}"
        return f"the answer cannot be sent ({first_line(error)}); cast such columns to varchar"

    def _current(self) -> duckdb.DuckDBPyConnection:
        """A connection to the account that lies there now; DuckDB keeps a file that was replaced while one is open."""
        now = version(self._root)
        if self._open is None or now is None or now != self._version:
            self.close()
            self._open, self._version = open_audit(self._root.resolve(), self._limits.settings()), now
        return self._open

    def close(self) -> None:
        """Let go of the account."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def _answer(self, con: duckdb.DuckDBPyConnection, sql: str) -> bytes:
        found = ask(con, sql).limit(self._limits.rows + 1)
        reader = found.to_arrow_reader(1024)
        columns = [{"name": column.name, "type": str(t)} for column, t in zip(reader.schema, found.types, strict=True)]
        rows, cut = _rows(reader, self._limits)
        if cut:  # DuckDB refuses a connection whose last answer was not read to its end
            self.close()
        head = msgspec.json.encode({"columns": columns, "count": len(rows), "cut": cut})
        return head[:-1] + b',"rows":[' + b",\n".join(rows) + b"]}"


def _rows(reader: pa.RecordBatchReader, limits: Limits) -> tuple[list[bytes], str | None]:
    """Rows as JSON arrays, and why they are not all."""
    rows: list[bytes] = []
    size = 0
    for batch in reader:
        for row in zip(*(_column(column) for column in batch.columns), strict=True):
            if len(rows) == limits.rows:
                return rows, f"only the first {limits.rows:,} rows; ask for fewer with LIMIT, WHERE or an aggregate"
            encoded = msgspec.json.encode(row, enc_hook=str)
            size += len(encoded) + 2
            if size > limits.answer_bytes:
                return rows, f"only the first {len(rows):,} rows, all that fit into {limits.answer_bytes:,} bytes"
            rows.append(encoded)
    return rows, None


def _column(column: pa.Array) -> list[Any]:
    values: list[Any] = column.to_pylist()
    if pa.types.is_int64(column.type) or pa.types.is_uint64(column.type):
        return [str(v) if v is not None and abs(v) > EXACT else v for v in values]
    if pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
        return [None if v is None else v.hex() for v in values]
    return values


# --- the process ----------------------------------------------------------------------------------------------------


def framed(body: bytes) -> bytes:
    """A body with its length before it."""
    return len(body).to_bytes(8) + body


def serve_questions(answerer: Answerer, source: BinaryIO, target: BinaryIO, seconds: float | None = None) -> None:
    """Say that the process has started, then answer frames until there are no more. seconds: a later answer ends it."""
    target.write(framed(b""))
    target.flush()
    while head := source.read(8):
        with _deadline(seconds):
            answer = _answered(answerer, source.read(int.from_bytes(head)))
        target.write(framed(answer))
        target.flush()


def _answered(answerer: Answerer, question: bytes) -> bytes:
    try:
        return Kind.FOUND.encode() + answerer(question)
    except WrongQuestion as error:
        return Kind.WRONG.encode() + str(error).encode(errors="replace")
    except CuratorError as error:
        return Kind.FAILED.encode() + first_line(error).encode(errors="replace")


@contextmanager
def _deadline(seconds: float | None) -> Iterator[None]:
    """End the process when the time is over, whatever it is doing and whether or not its parent still lives."""
    signal.setitimer(signal.ITIMER_REAL, seconds or 0)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)


def _confine(limits: Limits) -> None:
    """No file can be written; memory beyond DuckDB's own limit is what Python, Arrow and one value need."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    most = (limits.memory_mb + 1024) << 20
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def main(argv: Sequence[str]) -> None:
    """Answer what standard input asks: `sql ROOT LIMITS`, `page ROOT` or `score ROOT [RECIPE]`."""
    kind, root = argv[0], Path(argv[1])
    source, target = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints is no answer
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C reaches the whole group; the parent ends this process
    if kind == "sql":
        limits = msgspec.json.decode(argv[2], type=Limits)
        _confine(limits)
        pa.scalar(0, TIMESTAMP).as_py()  # the first time costs what a question should not pay: time zones are loaded
        serve_questions(Questions(root, limits), source, target, limits.seconds + GRACE_S)
    elif kind == "page":
        serve_questions(lambda _: _page(root), source, target)
    else:
        serve_questions(_Lazy(lambda: _judged(root, argv[2] if len(argv) > 2 else None)), source, target)


def _page(root: Path) -> bytes:
    from curator.report.page import render  # seconds of imports that SQL can do without

    return render(root).encode()


def _judged(root: Path, recipe: str | None) -> Answerer:
    from curator.judged import Judged, recipe_of

    return Judged(recipe_of(root, recipe))


class _Lazy:
    """Opens what answers at the first question, whose answer says what went wrong."""

    def __init__(self, make: Callable[[], Answerer]) -> None:
        self._make = make
        self._made: Answerer | None = None

    def __call__(self, question: bytes) -> bytes:
        self._made = self._made or self._make()
        return self._made(question)


if __name__ == "__main__":
    main(sys.argv[1:])
