"""What an engine schedules: tasks that turn finished files into one more finished file.

The engine only schedules. Everything that an answer depends on is in the task and its key,
so any engine, with any number of workers, leaves the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from curator.errors import AccountError
from curator.readers import documents_schema
from curator.readers.documents import Reader, cut
from curator.shards import aligned_batches, is_done, read_receipt, rebatch, task_key, write_parquet
from curator.stages import Learner, Measure, Stage


class Task(Protocol):
    """One unit of work: picklable, deterministic, done again only if its key changed."""

    @property
    def label(self) -> str:
        """What a person calls this kind of work."""

    @property
    def rows(self) -> int:
        """How many rows it handles, for rates."""

    def done(self) -> bool:
        """True when its files are there already, made under the same key."""

    def run(self) -> None:
        """Make the files."""


class Engine(Protocol):
    """Runs tasks, in any order, and says when each has ended."""

    def map(self, tasks: Sequence[Task], ended: Callable[[Task], None]) -> None:
        """Run every task; the first failure stops the rest and is raised."""


@dataclass(frozen=True)
class ReadTask:
    """Chunk of input in, `documents/` shards out."""

    root: Path
    reader: Reader
    shards: tuple[Path, ...]
    shard_rows: int
    label: str = "read"

    @property
    def rows(self) -> int:
        """Rows of the chunk."""
        return self.reader.chunk.rows

    def _key(self) -> str:
        chunk = self.reader.chunk
        return task_key(
            "read-1",
            chunk.sha256,
            chunk.name,
            chunk.source,
            chunk.groups,
            vars(chunk.columns),
            str(self.reader.extra),
            self.reader.repeats,
            self.shard_rows,
        )

    def done(self) -> bool:
        """True when every shard of the chunk is there."""
        return all(is_done(self.root, path, self._key()) for path in self.shards)

    def run(self) -> None:
        """Stream the chunk into its shards."""
        schema = documents_schema(self.reader.extra)
        for path, batches in zip(self.shards, cut(self.reader.batches(), self.shard_rows), strict=True):
            write_parquet(
                self.root, path, schema, (piece for batch in batches for piece in rebatch(batch)), self._key()
            )


@dataclass(frozen=True)
class StageTask:
    """One shard through one stage: `signals/<stage>/<shard>` out, row for row."""

    root: Path
    stage: Stage
    shard: str
    rows: int
    inputs: tuple[tuple[Path, tuple[str, ...]], ...]  # files of the shard and the columns wanted from each
    learned: Path | None = None  # what the stage learned from the whole corpus

    @property
    def label(self) -> str:
        """The stage's name."""
        return self.stage.name

    @property
    def path(self) -> Path:
        """The signals this task writes."""
        return self.root / "signals" / self.stage.name / self.shard

    def _key(self) -> str:
        receipts = [read_receipt(self.root, path) for path, _ in self.inputs]
        parts = [self.stage.fingerprint(), [None if r is None else r.sha256 for r in receipts]]
        return task_key(*parts, *([self._learned_sha()] if self.learned else []))

    def _learned_sha(self) -> str:
        receipt = read_receipt(self.root, self.learned) if self.learned else None
        return receipt.sha256 if receipt else ""

    def done(self) -> bool:
        """True when the signals are there, measured by this stage on these inputs."""
        return is_done(self.root, self.path, self._key())

    def run(self) -> None:
        """Measure the shard."""
        write_parquet(self.root, self.path, self.stage.adds, self._measured(), self._key())

    def _measured(self) -> Iterator[pa.RecordBatch]:
        measure = opened(self.stage, self.learned, self._learned_sha())
        wanted = self.stage.needs.names
        for batch in aligned_batches(self.inputs):
            yield checked(self.stage, batch, measure(batch.select(wanted)))


_OPEN: dict[str, Measure] = {}


def opened(stage: Stage, learned: Path | None = None, sha: str = "") -> Measure:
    """The stage's measure, loaded once in this process; the one before it is let go, so weights do not pile up."""
    key = stage.fingerprint() + sha
    if key not in _OPEN:
        _OPEN.clear()
        _OPEN[key] = stage.open_with(pq.read_table(learned)) if isinstance(stage, Learner) and learned else stage.open()
    return _OPEN[key]


def checked(stage: Stage, batch: pa.RecordBatch, added: pa.RecordBatch) -> pa.RecordBatch:
    """Hold a measure to its promise: every row, exactly the promised columns."""
    if added.num_rows != batch.num_rows or added.schema.names != stage.adds.names:
        raise AccountError(
            f"stage {stage.name} gave {added.num_rows} rows of {added.schema.names} for {batch.num_rows} rows, "
            f"promised {stage.adds.names}; this is a fault of the stage, please report it"
        )
    return pa.RecordBatch.from_arrays(added.columns, schema=stage.adds)
