"""`curator ingest`: from what a scraper leaves behind to documents with a provenance.

OUT/run.json             what is ingested: files, their contents' stamps, settings, library versions
OUT/documents/           the documents, one row for every record that claims to be one
OUT/places/<task>/       behind each shard: where its last record ended, and what was counted up to there
OUT/.robots/             the robots.txt files that the crawl holds
OUT/spool/               remote files while they are read
OUT/receipts/, manifest.json, log.jsonl as in every run (`workspace.py`)
"""

from __future__ import annotations

import json
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curator import extract
from curator.engine.base import Task
from curator.engine.threads import ThreadEngine
from curator.errors import InputError
from curator.guard import Guard, Parsed, Place
from curator.ids import fingerprint
from curator.progress import Progress
from curator.readers.columns import Columns
from curator.readers.parquet import INGESTED_MARK
from curator.readers.warc import byte_of
from curator.robots import RobotsTxt
from curator.schema import INGESTED
from curator.shards import is_done, read_receipt, task_key, write_json, write_parquet, write_receipt
from curator.sources import Found, Source, fetch
from curator.workspace import Workspace

SHARD_ROWS: Final = 8192
SHARD_BYTES: Final = 256 << 20  # of Arrow data: what one shard may hold before the next begins
_SMALL_BYTES: Final = 8 << 20  # files up to this are read in groups
_GROUP_BYTES: Final = 64 << 20
_GROUP_FILES: Final = 512
_VERSION: Final = "ingest-1"
_SCHEMA: Final = INGESTED.with_metadata(INGESTED_MARK)
_ROBOTS: Final = pa.schema([("host", pa.string()), ("body", pa.large_string())])
_LIBRARIES: Final = ("fastwarc", "resiliparse", "publicsuffixlist", "protego")


@dataclass
class Guards:
    """Parsers, lent to one thread at a time and kept for the next."""

    make: Callable[[], Guard] = Guard
    _free: list[Guard] = field(default_factory=list)
    _all: list[Guard] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def lent(self) -> Iterator[Guard]:
        """One guard, a new one only if all are lent."""
        with self._lock:
            guard = self._free.pop() if self._free else self.make()
            self._all = [g for g in self._all if g is not guard] + [guard]
        try:
            yield guard
        finally:
            with self._lock:
                self._free.append(guard)

    def stop(self) -> None:
        """End all parsers for good, in the midst of their work if need be."""
        with self._lock:
            for guard in self._all:
                guard.stop()

    def close(self) -> None:
        """Let go of what the parsers were watched with; nobody may hold one any more."""
        self.stop()
        for guard in self._all:
            guard.__exit__()


@dataclass(frozen=True)
class IngestTask:
    """A large file, or a group of small ones, into shards of documents; goes on behind the last shard that is whole."""

    root: Path
    sources: tuple[Source, ...]
    columns: Columns
    guards: Guards
    moved: Callable[[int], None]  # told how many MB more of input are behind
    turn: int = 0  # earlier tasks that read files of the same names: a/x.jsonl and b/x.jsonl are both called x.jsonl
    label: str = "ingest"

    @cached_property
    def name(self) -> str:
        """Names the task's files: by what it reads, not by its turn, so that a file more renames nothing."""
        return fingerprint([[(s.source, s.name) for s in self.sources], self.turn])

    @cached_property
    def key(self) -> str:
        """Everything the documents depend on."""
        said = [(s.name, s.source, s.format, s.stamp) for s in self.sources]
        return task_key(_VERSION, said, vars(self.columns), versions())

    @property
    def rows(self) -> int:
        """Bytes of input, in MB: rows are not known before they are read."""
        return sum(s.bytes for s in self.sources) // 1_000_000

    def shard(self, number: int) -> Path:
        """The task's documents, in order."""
        return self.root / "documents" / f"{self.name}-{number:05d}.parquet"

    def _place(self, number: int) -> Path:
        return self.root / "places" / self.name / f"{number:05d}.json"

    def _robots(self, number: int) -> Path:
        return self.root / ".robots" / f"{self.name}-{number:05d}.parquet"

    def places(self) -> list[dict[str, Any]]:
        """What was counted shard by shard, as far as every shard is whole."""
        found: list[dict[str, Any]] = []
        while True:
            place, shard = self._place(len(found)), self.shard(len(found))
            if not is_done(self.root, place, self.key) or read_receipt(self.root, shard) is None:
                return found
            found.append(json.loads(place.read_bytes()))

    def done(self) -> bool:
        """True when the shard that ends the input is there."""
        places = self.places()
        return bool(places) and bool(places[-1]["ended"])

    def run(self) -> None:
        """Read on from the last whole shard."""
        files = [self._fetched(source) for source in self.sources]
        known = self.places()
        at = Place(**known[-1]["at"]) if known else Place()
        number = len(known)
        with self.guards.lent() as guard:
            stream = _Stream(guard.parsed(files, at, self.columns), at)
            said = self._moved(at, 0)
            while not stream.ended or number == 0:
                self._write(number, stream)
                said = self._moved(stream.at, said)
                number += 1
        for source in self.sources:
            if source.remote:
                self._spool(source).unlink(missing_ok=True)
        self.moved(self.rows - said)

    def _moved(self, at: Place, said: int) -> int:
        """Say how many MB more are behind; in archives the place tells, elsewhere only the end does."""
        now = byte_of(at.cursor) // 1_000_000 if len(self.sources) == 1 and self.sources[0].format == "warc" else said
        now = max(said, min(now, self.rows))
        self.moved(now - said)
        return now

    def _spool(self, source: Source) -> Path:
        ending = "".join(c for c in Path(source.name).name if c.isalnum() or c in "._-")
        return self.root / "spool" / f"{fingerprint(source.stamp)}-{ending}"

    def _fetched(self, source: Source) -> dict[str, str]:
        path = fetch(source, self._spool(source))
        return {"path": str(path), "name": source.name, "source": source.source, "format": source.format}

    def _write(self, number: int, stream: _Stream) -> None:
        path = self.shard(number)
        counted = Counted()
        write_parquet(self.root, path, _SCHEMA, counted.through(stream.shard()), self.key)
        if counted.robots:
            hosts, bodies = zip(*counted.robots, strict=True)
            batch = pa.RecordBatch.from_arrays([pa.array(hosts), pa.array(bodies, pa.large_string())], schema=_ROBOTS)
            write_parquet(self.root, self._robots(number), _ROBOTS, [batch], self.key)
        place = self._place(number)
        write_json(place, {"at": vars(stream.at), "ended": stream.ended, **counted.said()})
        write_receipt(self.root, place, self.key)


@dataclass
class _Stream:
    """Row groups from a guard, cut into shards; one is read ahead to know whether a shard is the last."""

    parsed: Iterator[Parsed]
    at: Place
    _ahead: Parsed | None = None
    ended: bool = False

    def shard(self) -> Iterator[Parsed]:
        """The next shard's row groups."""
        rows = size = 0
        while rows < SHARD_ROWS and size < SHARD_BYTES and (parsed := self._next()) is not None:
            rows, size = rows + parsed.batch.num_rows, size + parsed.batch.nbytes
            self.at = parsed.at
            yield parsed
        if self._ahead is None:
            self._ahead = next(self.parsed, None)
        self.ended = self._ahead is None

    def _next(self) -> Parsed | None:
        ahead, self._ahead = self._ahead, None
        return ahead or next(self.parsed, None)


@dataclass
class Counted:
    """What went into a shard."""

    rows: int = 0
    quarantined: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    robots: list[tuple[str, str]] = field(default_factory=list)

    def through(self, shard: Iterator[Parsed]) -> Iterator[pa.RecordBatch]:
        """Pass the row groups on, counting."""
        for parsed in shard:
            self.rows += parsed.batch.num_rows
            self.quarantined.update(_word(why) for why in parsed.batch["quarantine"].drop_null().to_pylist())
            self.skipped.update(parsed.skipped)
            self.robots.extend(parsed.robots)
            if parsed.batch.num_rows:
                yield parsed.batch.cast(_SCHEMA) if parsed.batch.schema != _SCHEMA else parsed.batch

    def said(self) -> dict[str, Any]:
        """The counts, as JSON holds them."""
        return {
            "rows": self.rows,
            "quarantined": dict(sorted(self.quarantined.items())),
            "skipped": dict(sorted(self.skipped.items())),
        }


def _word(reason: str) -> str:
    return reason.partition(":")[0]


@dataclass(frozen=True)
class RobotsTask:
    """A shard whose hosts have a robots.txt in the crawl, with what it says to each address written in."""

    root: Path
    path: Path
    robots: Mapping[str, str]  # host to body, of the shard's hosts
    before: str  # key under which the shard was first written
    rows: int
    label: str = "robots.txt"

    def _key(self) -> str:
        return task_key("robots-1", self.before, sorted(self.robots.items()))

    def done(self) -> bool:
        """True when it is written in."""
        return is_done(self.root, self.path, self._key())

    def run(self) -> None:
        """Write the shard anew."""
        rules = {host: RobotsTxt(body) for host, body in self.robots.items()}
        with pq.ParquetFile(self.path) as file:
            groups = (file.read_row_group(n).combine_chunks() for n in range(file.num_row_groups))
            batches = (b for table in groups for b in table.to_batches())
            write_parquet(self.root, self.path, _SCHEMA, (with_robots(b, rules) for b in batches), self._key())


def with_robots(batch: pa.RecordBatch, rules: Mapping[str, RobotsTxt]) -> pa.RecordBatch:
    """What robots.txt says to each row's address, beside what the page said; of two words on training the stricter holds."""
    names = ("url", "host", "content_usage", "train_ai", "opt_out_evidence")
    rows = zip(*(batch[name].to_pylist() for name in names), strict=True)
    said = [_with_robots(rules.get(host), url, *page) for url, host, *page in rows]
    columns = dict(zip(batch.schema.names, batch.columns, strict=True))
    for position, name in enumerate(("robots_disallowed", "content_usage", "train_ai", "opt_out_evidence")):
        columns[name] = pa.array([row[position] for row in said], INGESTED.field(name).type)
    return pa.RecordBatch.from_arrays(list(columns.values()), schema=_SCHEMA)


def _with_robots(
    rules: RobotsTxt | None, url: str | None, usage: str | None, train: bool | None, evidence: list[str] | None
) -> tuple[list[str] | None, str | None, bool | None, list[str] | None]:
    if rules is None or url is None:
        return None, usage, train, evidence
    disallowed = rules.disallowed(url)
    line, may_train = rules.content_usage(url)
    words = [word for word in (train, may_train) if word is not None]
    found = list(evidence or [])
    found += [f"robots.txt disallows {'all' if '*' in disallowed else ', '.join(disallowed)}"] if disallowed else []
    found += [f"robots.txt: {line}"] if line else []
    return disallowed, usage or line, all(words) if words else None, found or None


def versions() -> dict[str, str]:
    """What the answers depend on beside the code: the libraries that read pages and archives."""
    return {name: version(name) for name in _LIBRARIES} | {"extract": extract.VERSION}


def identity(found: Found, columns: Columns) -> dict[str, Any]:
    """What makes an ingest this one."""
    inputs = [{"name": s.name, "sha256": s.stamp, "source": s.source, "format": s.format} for s in found.sources]
    return {"ingest": _VERSION, "inputs": inputs, "columns": columns.named(), "versions": versions()}


def tasks_of(
    root: Path, sources: Sequence[Source], columns: Columns, guards: Guards, moved: Callable[[int], None]
) -> list[IngestTask]:
    """One task a large file; small ones go in groups, for a task costs a process its order and four files their place on disk."""
    tasks: list[IngestTask] = []
    turns: Counter[tuple[tuple[str, str], ...]] = Counter()
    for group in _groups(sources):
        names = tuple((s.source, s.name) for s in group)
        tasks.append(IngestTask(root, group, columns, guards, moved, turns[names]))
        turns[names] += 1
    return tasks


def _groups(sources: Sequence[Source]) -> Iterator[tuple[Source, ...]]:
    group: list[Source] = []
    size = 0
    for source in sources:
        if source.bytes > _SMALL_BYTES:
            yield (source,)
            continue
        if group and (len(group) >= _GROUP_FILES or size + source.bytes > _GROUP_BYTES):
            yield tuple(group)
            group, size = [], 0
        group.append(source)
        size += source.bytes
    if group:
        yield tuple(group)


def ingest(
    found: Found, root: Path, columns: Columns, workers: int, progress: Progress, guards: Guards | None = None
) -> dict[str, Any]:
    """Ingest what was found into `root` and return the summary; finished work is found by its receipts."""
    with Workspace(root).claimed(identity(found, columns)) as work:
        if (manifest := work.manifest()) is not None:
            progress.say(f"{root} holds this very ingest, finished; nothing to do")
            return dict(manifest["summary"])
        guards = guards or Guards()
        lock = threading.Lock()

        def moved(mb: int) -> None:
            with lock:
                progress.advance(mb)

        tasks = tasks_of(root, found.sources, columns, guards, moved)
        try:
            _do(work, "ingest", tasks, ThreadEngine(workers, guards.stop), progress, "MB", lambda task: None)
        finally:
            guards.close()
        robots = _robots_tasks(root, tasks)
        advance: Callable[[Task], None] = lambda task: progress.advance(task.rows)  # noqa: E731
        _do(work, "robots.txt", robots, ThreadEngine(1, lambda: None), progress, "documents", advance)
        shutil.rmtree(root / "spool", ignore_errors=True)
        found_summary = summary(root, found, tasks)
        work.finish(found_summary, {})
        return found_summary


def _do(
    work: Workspace,
    label: str,
    tasks: Sequence[Task],
    engine: ThreadEngine,
    progress: Progress,
    unit: str,
    ended: Callable[[Task], None],
) -> None:
    waiting = [task for task in tasks if not task.done()]
    if not tasks:
        return
    total, left = sum(t.rows for t in tasks), sum(t.rows for t in waiting)
    progress.begin(label, total, total - left, unit)
    if waiting:
        engine.map(waiting, ended)
    progress.end()
    work.log(step=label, tasks=len(waiting), found_done=len(tasks) - len(waiting))


def _robots_tasks(root: Path, tasks: Sequence[IngestTask]) -> list[RobotsTask]:
    """A task for each shard with a host whose robots.txt the crawl holds; of several bodies the last read counts."""
    files = sorted((root / ".robots").glob("*.parquet"))
    if not files:
        return []
    bodies = {h: b for f in files for h, b in zip(*(c.to_pylist() for c in pq.read_table(f).columns), strict=True)}
    found = []
    for task in tasks:
        for number, place in enumerate(task.places()):
            path = task.shard(number)
            hosts = set(pc.unique(pq.read_table(path, columns=["host"])["host"]).to_pylist()) & set(bodies)
            if hosts:
                found.append(RobotsTask(root, path, {h: bodies[h] for h in sorted(hosts)}, task.key, place["rows"]))
    return found


def summary(root: Path, found: Found, tasks: Sequence[IngestTask]) -> dict[str, Any]:
    """Inputs, documents and quarantined that add up, what else the archives held, and what publishers say."""
    quarantined: Counter[str] = Counter()
    skipped: Counter[str] = Counter()
    rows = 0
    for task in tasks:
        for place in task.places():
            rows += place["rows"]
            quarantined.update(place["quarantined"])
            skipped.update(place["skipped"])
    return {
        "files": len(found.sources),
        "bytes": sum(s.bytes for s in found.sources),
        "inputs": rows,
        "documents": rows - sum(quarantined.values()),
        "quarantined": dict(quarantined.most_common()),
        "other_records": dict(skipped.most_common()),
        "files_passed_over": dict(found.ignored),
        "statements": _statements(root),
    }


_STATED: Final = ("noai", "noimageai", "noindex", "tdm_reserved")


def _statements(root: Path) -> dict[str, int]:
    """How many documents carry each statement of their publisher."""
    counts: Counter[str] = Counter()
    wanted = [
        *_STATED,
        "train_ai",
        "robots_disallowed",
        "licence",
        "declared_origin",
        "declared_language",
        "published_at",
        "quarantine",
    ]
    for path in sorted((root / "documents").glob("*.parquet")):
        table = pq.read_table(path, columns=wanted)
        table = table.filter(pc.is_null(table["quarantine"]))
        counts.update({name: int(pc.sum(table[name]).as_py() or 0) for name in _STATED})
        counts["train_ai_refused"] += int(pc.sum(pc.invert(table["train_ai"])).as_py() or 0)
        lengths = pc.fill_null(pc.list_value_length(table["robots_disallowed"]), 0)
        counts["robots_disallowed"] += int(pc.sum(pc.greater(lengths, 0)).as_py() or 0)
        for name in ("licence", "declared_origin", "declared_language", "published_at"):
            counts[name] += len(table) - table[name].null_count
    return dict(counts)


def check(found: Found) -> None:
    """Refuse an ingest of nothing."""
    if not found.sources:
        raise InputError("nothing to ingest: no file of a known format was found")
