"""The steps of a run, in the order `run.py` takes them; each finds by receipts what is left to do."""

from __future__ import annotations

import dataclasses
import json
import shutil
import time
import uuid
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curator import alarms, audit, curation, earlier, report_tables
from curator import origin as origins
from curator.alarms import Alarm
from curator.curation import Judged, Mixed, Shard
from curator.dedup import KINDS, Clusters, find_clusters, similarity_to_survivor
from curator.dedup import VERSION as DEDUP_VERSION
from curator.dedup import choose as choose_survivors
from curator.earlier import EarlierRun, Held
from curator.engine.base import Engine, ReadTask, StageTask, Task
from curator.errors import InputError
from curator.ids import fingerprint
from curator.ledger import OUTCOMES, VERDICT, LedgerTask, add_up, batch, ledger_schema, masked, mixture_schema, uuids
from curator.progress import Progress
from curator.readers import Corpus
from curator.readers.documents import Reader
from curator.recipe import Recipe
from curator.schema import DOCUMENTS, is_scalar
from curator.shards import aligned_batches, is_done, read_receipt, task_key, write_json, write_parquet, write_receipt
from curator.shares import Evidence, anchors_for, evidence, scopes
from curator.shares import table as share_table
from curator.sources import Source
from curator.stages import Learner, Stage
from curator.tiers import tiers
from curator.workspace import Workspace

F32 = npt.NDArray[np.float32]
Inputs = tuple[tuple[Path, tuple[str, ...]], ...]
Codes = npt.NDArray[np.uint8]  # positions in OUTCOMES

_DOCUMENT = set(DOCUMENTS.names)
_FIRST = np.iinfo(np.int64).min + 1


@dataclass(frozen=True)
class Context:
    """What every step is given."""

    work: Workspace
    engine: Engine
    progress: Progress
    recipe: Recipe

    @property
    def root(self) -> Path:
        """The run's folder."""
        return self.work.root


def identity(recipe: Recipe, corpus: Corpus, **more: Any) -> dict[str, Any]:
    """What makes a run this run: the recipe, the weights behind it, the bytes it reads and how they are read."""
    files = {
        c.path: {"name": c.name, "sha256": c.sha256, "source": c.source, "columns": c.columns.named()}
        for c in corpus.chunks
    }
    rows = {path: sum(c.rows for c in corpus.chunks if c.path == path) for path in files}
    return {
        "recipe": recipe.as_dict(),
        "recipe_fingerprint": recipe.fingerprint(),
        "stages": {stage.name: stage.fingerprint() for stage in recipe.stages},
        "inputs": [{**entry, "rows": rows[path]} for path, entry in files.items()],
        "extra": [[f.name, str(f.type)] for f in corpus.extra],
        **recipe.origin.identity(),
        **more,
    }


def rows_of(corpus: Corpus, snapshot: Sequence[Source], files: Sequence[Source]) -> list[list[int]]:
    """Where the snapshot's documents lie in the corpus: first row and rows of each of its chunks.

    Raises `InputError` for a file that is both.
    """
    paths = {source.path for source in snapshot}
    if both := [source.name for source in files if source.path in paths]:
        raise InputError(f"{both[0]} is both an input and the reference; name it once")
    starts = np.cumsum([0, *(chunk.rows for chunk in corpus.chunks)])
    return [
        [int(at), c.rows] for at, c in zip(starts, corpus.chunks, strict=False) if c.path in {str(p) for p in paths}
    ]


def do(ctx: Context, label: str, tasks: Sequence[Task]) -> None:
    """Run the tasks that are not done yet, and say so."""
    began = time.monotonic()
    open_tasks = [task for task in tasks if not task.done()]
    total, left = sum(t.rows for t in tasks), sum(t.rows for t in open_tasks)
    ctx.progress.begin(label, total, total - left)
    ctx.engine.map(open_tasks, lambda task: ctx.progress.advance(task.rows))
    ctx.progress.end()
    ctx.work.log(
        step=label,
        tasks=len(open_tasks),
        found_done=len(tasks) - len(open_tasks),
        rows=left,
        seconds=round(time.monotonic() - began, 3),
    )


def layout(corpus: Corpus, rows: int) -> list[tuple[int, list[Shard]]]:
    """The shards of each chunk: names and rows follow from the corpus alone."""
    found, number, first = [], 0, 0
    for index, chunk in enumerate(corpus.chunks):
        shards = []
        for start in range(0, chunk.rows, rows):
            size = min(rows, chunk.rows - start)
            shards.append(Shard(f"{number:06d}.parquet", first, size))
            number, first = number + 1, first + size
        found.append((index, shards))
    return found


def read(ctx: Context, corpus: Corpus, rows: int) -> list[Shard]:
    """Read the corpus into documents/; rows that reuse an id are read again with their occurrence number."""
    plan = layout(corpus, rows)
    shards = [shard for _, own in plan for shard in own]
    known = ctx.root / "repeats.json"
    key = task_key("repeats-1", fingerprint(ctx.work.identity()))
    if not is_done(ctx.root, known, key):
        do(ctx, "read", _read_tasks(ctx, corpus, plan, rows, {}))
        write_json(known, sorted(curation.repeated_ids(ctx.root, shards).items()))
        write_receipt(ctx.root, known, key)
    repeats = dict(json.loads(known.read_bytes()))
    tasks = _read_tasks(ctx, corpus, plan, rows, repeats)
    if any(not task.done() for task in tasks):
        do(ctx, "read again" if repeats else "read", tasks)
    return shards


def _read_tasks(
    ctx: Context, corpus: Corpus, plan: Sequence[tuple[int, list[Shard]]], rows: int, repeats: dict[int, int]
) -> list[ReadTask]:
    tasks, repeated = [], sorted(repeats)
    for index, shards in plan:
        chunk, first = corpus.chunks[index], shards[0].first
        inside = repeated[bisect_left(repeated, first) : bisect_left(repeated, first + chunk.rows)]
        own = tuple((row - first + chunk.first_row, repeats[row]) for row in inside)
        paths = tuple(ctx.root / "documents" / shard.name for shard in shards)
        tasks.append(ReadTask(ctx.root, Reader(chunk, corpus.extra, own), paths, rows))
    return tasks


def measure(ctx: Context, shards: Sequence[Shard]) -> None:
    """Put every shard through every stage."""
    for position, stage in enumerate(ctx.recipe.stages):
        inputs = [_inputs(ctx.root, s, stage, ctx.recipe.stages[:position]) for s in shards]
        learned = _learn(ctx, shards, stage, inputs) if isinstance(stage, Learner) else None
        do(
            ctx,
            stage.name,
            [StageTask(ctx.root, stage, s.name, s.rows, i, learned) for s, i in zip(shards, inputs, strict=True)],
        )


def _learn(ctx: Context, shards: Sequence[Shard], stage: Learner, inputs: Sequence[Inputs]) -> Path:
    """What a stage learns from the whole corpus, where of a cluster of duplicates only one counts."""
    path = ctx.root / "learned" / f"{stage.name}.parquet"
    clusters = deduplicate(ctx, shards, curation.document_ids(ctx.root, shards))
    counted = None if clusters is None else clusters.cluster == np.arange(len(clusters.cluster))
    receipts = [read_receipt(ctx.root, p) for i in inputs for p, _ in i]
    receipts += [] if clusters is None else [read_receipt(ctx.root, ctx.root / "clusters.parquet")]
    key = task_key("learn-1", stage.fingerprint(), [r and r.sha256 for r in receipts])
    if not is_done(ctx.root, path, key):
        table = stage.learn(_counted(inputs, counted))
        write_parquet(ctx.root, path, table.schema, table.to_batches(), key)
    return path


def _counted(
    inputs: Sequence[Inputs], counted: curation.Bools | None
) -> Iterator[tuple[pa.RecordBatch, curation.Bools]]:
    first = 0
    for found in (b for i in inputs for b in aligned_batches(i)):
        rows = slice(first, first + found.num_rows)
        yield found, np.ones(found.num_rows, np.bool_) if counted is None else counted[rows]
        first += found.num_rows


def _inputs(root: Path, shard: Shard, stage: Stage, before: Sequence[Stage]) -> Inputs:
    wanted = [(root / "documents" / shard.name, [n for n in stage.needs.names if n in _DOCUMENT])]
    for other in before:
        names = [n for n in stage.needs.names if n in other.adds.names]
        wanted.append((root / "signals" / other.name / shard.name, names))
    return tuple((path, tuple(names)) for path, names in wanted if names)


def deduplicate(ctx: Context, shards: Sequence[Shard], ids: curation.U64) -> Clusters | None:
    """Group duplicates over the whole corpus; None when the recipe measures no signatures."""
    measured = {stage.name for stage in ctx.recipe.stages}
    if not {"exact", "minhash"} <= measured:
        return None
    path = ctx.root / "clusters.parquet"
    receipts = [read_receipt(ctx.root, p) for shard in shards for p, _ in earlier.signature_files(ctx.root, shard)]
    key = task_key(f"dedup-{DEDUP_VERSION}", dataclasses.asdict(ctx.recipe.dedup), [r and r.sha256 for r in receipts])
    ctx.progress.begin("dedup", len(ids), len(ids) if is_done(ctx.root, path, key) else 0)
    if not is_done(ctx.root, path, key):
        batches = earlier.signatures(ctx.root, shards)
        with _spill(ctx) as spill:
            found = find_clusters(batches, ids, curation.texts_of(ctx.root, shards), ctx.recipe.dedup, spill)
        _write_clusters(ctx.root, path, found, key)
        ctx.progress.advance(len(ids))
    ctx.progress.end()
    return _read_clusters(path)


_CLUSTERS = pa.schema([("cluster", pa.int64()), ("similarity", pa.float32()), ("kind", pa.uint8())])


def _write_clusters(root: Path, path: Path, found: Clusters, key: str) -> None:
    schema = _CLUSTERS.with_metadata({"report": json.dumps(found.report)})
    batch = pa.RecordBatch.from_arrays(
        [pa.array(found.cluster), pa.array(found.similarity), pa.array(found.kind)], schema=schema
    )
    write_parquet(root, path, schema, [batch], key)


def _read_clusters(path: Path) -> Clusters:
    table = pq.read_table(path)
    report = json.loads((table.schema.metadata or {})[b"report"])
    cluster, similarity, kind = (table[name].to_numpy() for name in _CLUSTERS.names)
    return Clusters(cluster, similarity, kind, report)


def extra_of(root: Path, shards: Sequence[Shard]) -> pa.Schema:
    """The columns that travel through, as the documents hold them."""
    schema = pq.read_schema(root / "documents" / shards[0].name)
    return pa.schema(list(schema.field("extra").type)) if "extra" in schema.names else pa.schema([])


@dataclass(frozen=True)
class Origin:
    """What the scores of origin are held against, by stratum and in a few words."""

    strata: pa.Table
    basis: str
    warning: str

    def alarms(self) -> list[Alarm]:
        """The warning that nobody should miss."""
        kind = "origin_uncalibrated" if self.warning == origins.WARNING else "origin_misfit"
        return [Alarm(kind, f"origin: {self.warning}")] if self.warning else []


def origin(ctx: Context, shards: Sequence[Shard], clusters: Clusters | None) -> Origin | None:
    """Calibrate the scores of origin over the whole corpus; None where no stage scores it."""
    stages, params = ctx.recipe.stages, ctx.recipe.origin
    if not origins.measures_origin(stages):
        return None
    paths, summary = [ctx.root / "origin" / shard.name for shard in shards], ctx.root / "origin.parquet"
    inputs = [path for shard in shards for path, _ in curation.measured(ctx.root, shard, stages)]
    inputs += [] if clusters is None else [ctx.root / "clusters.parquet"]
    receipts = [read_receipt(ctx.root, path) for path in inputs]
    reference_ = (ctx.work.identity() or {}).get("reference", [])
    settings = [dataclasses.asdict(params) | params.identity(), origins.anchors_identity(stages), reference_]
    key = task_key(f"origin-{origins.VERSION}", settings, [r and r.sha256 for r in receipts])
    ctx.progress.begin("origin", sum(s.rows for s in shards), 0)
    if not all(is_done(ctx.root, path, key) for path in (*paths, summary)):
        found = _origin(ctx, shards, clusters)
        for shard, path in zip(shards, paths, strict=True):
            batches = _as_documents(ctx.root, shard, found.columns.slice(shard.first, shard.rows))
            write_parquet(ctx.root, path, origins.ORIGIN, batches, key)
        schema = found.strata.schema.with_metadata({"basis": found.basis, "warning": found.warning})
        write_parquet(ctx.root, summary, schema, found.strata.combine_chunks().cast(schema).to_batches(), key)
    ctx.progress.advance(sum(s.rows for s in shards))
    ctx.progress.end()
    strata = pq.read_table(summary)
    said = {k.decode(): v.decode() for k, v in (strata.schema.metadata or {}).items()}
    return Origin(strata, said["basis"], said["warning"])


def _origin(ctx: Context, shards: Sequence[Shard], clusters: Clusters | None) -> origins.Found:
    stages, params = ctx.recipe.stages, ctx.recipe.origin
    tables = [_origin_facts(ctx.root, shard, stages) for shard in shards]
    documents = pa.concat_tables(tables, promote_options="default")
    copies = None if clusters is None else clusters.cluster
    scored = pc.and_(pa.array(given(ctx, documents.num_rows)), pc.is_valid(documents["prob_synthetic"]))
    vouched = _vouched(ctx.recipe, documents.filter(scored))
    return origins.judge(documents, copies, origins.anchors(stages), vouched, params)


def _origin_facts(root: Path, shard: Shard, stages: Sequence[Stage]) -> pa.Table:
    inputs = curation.measured(root, shard, stages)
    wanted = [(path, [n for n in names if n in origins.WANTED or n == "url"]) for path, names in inputs]
    table = pa.Table.from_batches(aligned_batches(wanted))
    table = table.append_column("host", curation.hosts(table["url"])).drop_columns(["url"])
    for name in ("source", "host", "language", "declared_origin"):  # a word a document would be most of what is held
        index = table.schema.get_field_index(name)
        table = table.set_column(index, name, pc.dictionary_encode(table[name].combine_chunks().cast(pa.string())))
    return table


def _as_documents(root: Path, shard: Shard, columns: pa.Table) -> Iterator[pa.RecordBatch]:
    """The rows of one shard, cut as its documents are: files of one shard are read side by side."""
    first = 0
    with pq.ParquetFile(root / "documents" / shard.name) as file:
        for group in range(file.num_row_groups):
            rows = file.metadata.row_group(group).num_rows
            yield pa.RecordBatch.from_arrays(
                [column.slice(first, rows).combine_chunks() for column in columns.columns], schema=columns.schema
            )
            first += rows


def judge(ctx: Context, shards: Sequence[Shard], found: Origin | None) -> Judged:
    """Let the rules speak on every document."""
    rules = ctx.recipe.parsed_rules(extra_of(ctx.root, shards))
    basis = ("", "") if found is None else (found.basis, found.warning)
    verified = ctx.recipe.parsed_verified(extra_of(ctx.root, shards))
    judged = curation.judge(ctx.root, shards, ctx.recipe.stages, rules, basis, verified)
    return dataclasses.replace(judged, reference=given(ctx, len(judged.ids)))


def given(ctx: Context, rows: int) -> curation.Bools:
    """Which documents are of the snapshot that the user gave.  # [docs]"""
    found = np.zeros(rows, np.bool_)
    for first, size in (ctx.work.identity() or {}).get("reference", []):
        found[first : first + size] = True
    return found


def held(ctx: Context, shards: Sequence[Shard], runs: Sequence[EarlierRun]) -> Held:
    """What earlier runs hold of this corpus."""
    with _spill(ctx) as spill:
        return earlier.held(ctx.root, shards, runs, ctx.recipe.stages, ctx.recipe.dedup, spill)


def choose(judged: Judged, clusters: Clusters | None, held: Held) -> curation.I64:
    """The row that stands for each row: its own, or that of its cluster's survivor; what earlier runs hold stands for none if others can."""
    if clusters is None:
        return positions(judged)
    return choose_survivors(
        clusters,
        faultless=judged.faultless & ~held.mask,
        date=np.where(judged.reference, _FIRST, judged.date_us),  # of two copies the trusted one stands for both
        dated=judged.dated | judged.reference,
        prob_synthetic=judged.prob_synthetic,
        length=judged.text_bytes,
        ids=judged.ids,
    )


def positions(judged: Judged) -> curation.I64:
    """Every row's own position."""
    return np.arange(len(judged.ids), dtype=np.int64)


def write_ledger(
    ctx: Context,
    shards: Sequence[Shard],
    judged: Judged,
    clusters: Clusters | None,
    survivor: curation.I64,
    held: Held,
    outcome: Codes,
    mixed: Mixed,
) -> None:
    """Write one row for every input row, and the curated documents."""
    schema = ledger_schema(ctx.recipe.signals())
    repair = ctx.recipe.mixture.repair_steps
    columns, travelling = mixture_schema(schema, extra_of(ctx.root, shards), bool(repair))
    alike = np.where(held.mask, held.similarity, _alike(ctx, shards, clusters, survivor))
    verdicts = _verdicts(judged, clusters, survivor, alike, held, outcome, mixed)
    tasks = [
        LedgerTask(
            ctx.root,
            s.name,
            s.rows,
            verdicts(i, s),
            _everything(ctx, s),
            schema,
            columns,
            travelling,
            repair,
            ctx.recipe.mixture.compression,
        )
        for i, s in enumerate(shards)
    ]
    do(ctx, "account", tasks)


def _everything(ctx: Context, shard: Shard) -> tuple[tuple[Path, tuple[str, ...]], ...]:
    documents = ctx.root / "documents" / shard.name
    inputs = [(documents, tuple(pq.read_schema(documents).names))]
    for stage in ctx.recipe.stages:
        scalar = tuple(c.name for c in stage.adds if is_scalar(c))
        inputs.append((ctx.root / "signals" / stage.name / shard.name, scalar))
    if origins.measures_origin(ctx.recipe.stages):
        inputs.append((ctx.root / "origin" / shard.name, tuple(origins.ORIGIN.names)))
    return tuple((path, names) for path, names in inputs if names)


def _alike(ctx: Context, shards: Sequence[Shard], clusters: Clusters | None, survivor: curation.I64) -> F32:
    """How alike each document is to the one that stands for it; texts are fetched only where neither is the centre."""
    if clusters is None:
        return np.ones(len(survivor), np.float32)
    with _spill(ctx) as spill:
        texts = curation.texts_of(ctx.root, shards)
        return similarity_to_survivor(survivor, clusters, texts, ctx.recipe.dedup, spill=spill)


@contextmanager
def _spill(ctx: Context) -> Iterator[Path]:
    spill = ctx.root / "spill"
    spill.mkdir(exist_ok=True)
    yield spill
    shutil.rmtree(spill)


def _verdicts(
    judged: Judged,
    clusters: Clusters | None,
    survivor: curation.I64,
    alike: F32,
    held: Held,
    outcome: Codes,
    mixed: Mixed,
) -> Callable[[int, Shard], pa.RecordBatch]:
    """A function that gives the verdict columns of one shard."""
    duplicate = outcome == OUTCOMES.index("duplicate")
    left_out = outcome == OUTCOMES.index("left_out")
    kept = left_out | (outcome == OUTCOMES.index("curated"))
    centre = positions(judged) if clusters is None else clusters.cluster
    clustered = np.zeros(len(outcome), dtype=bool) if clusters is None else clusters.kind != 0
    stands = np.where(held.mask[:, None], held.ids, judged.ids[survivor])
    names = pa.array(OUTCOMES)

    def of(index: int, shard: Shard) -> pa.RecordBatch:
        rows = slice(shard.first, shard.first + shard.rows)
        kind = pa.nulls(shard.rows, pa.string()) if clusters is None else _kinds(clusters, rows)
        similarity = np.zeros(shard.rows, np.float32) if clusters is None else clusters.similarity[rows]
        return batch(
            VERDICT,
            {
                "outcome": names.take(pa.array(outcome[rows])),
                "keep": masked(kept[rows], judged.readable[rows], pa.bool_()),
                "reasons": _with_reasons(judged.reasons[index], duplicate[rows], left_out[rows]),
                "unmeasured": judged.unmeasured[index],
                "cluster": uuids(judged.ids[centre[rows]]),
                "duplicate_kind": kind,
                "similarity": masked(similarity, clustered[rows], pa.float32()),
                "survivor": uuids(stands[rows]),
                "survivor_similarity": masked(alike[rows], clustered[rows] | held.mask[rows], pa.float32()),
                "earlier_run": held.names(rows),
                "stratum": pc.if_else(pa.array(kept[rows]), mixed.stratum.take(pa.array(mixed.cell[rows])), None),
                "reference": pa.array(judged.reference[rows]),
                "topic": mixed.topic.slice(shard.first, shard.rows),
                "inclusion": masked(np.minimum(mixed.expected[rows], 1.0), kept[rows], pa.float64()),
                "expected_copies": masked(mixed.expected[rows], kept[rows], pa.float64()),
                "mixture_base": masked(mixed.base[rows], kept[rows], pa.float64()),
                "mixture_cap": masked(mixed.cap[rows], kept[rows], pa.float64()),
                "mixture_margins": masked(mixed.margins[rows], kept[rows], pa.float64()),
                "weight": masked(mixed.copies[rows].astype(float), mixed.included[rows], pa.float64()),
            },
        )

    return of


def _kinds(clusters: Clusters, rows: slice) -> pa.Array:
    kind = pa.array(KINDS, pa.string()).take(pa.array(clusters.kind[rows]))
    return pc.if_else(pa.array(clusters.kind[rows] != 0), kind, None)


def _with_reasons(reasons: pa.ListArray, duplicate: curation.Bools, left_out: curation.Bools) -> pa.ListArray:
    """The rules' reasons, and one more for what was decided after them (such a document had none)."""
    words = [
        ["duplicate"] if d else ["mixture"] if m else r
        for r, d, m in zip(reasons.to_pylist(), duplicate, left_out, strict=True)
    ]
    return pa.array(words, pa.list_(pa.string()))


def adopt(ctx: Context, old: Path) -> list[Shard]:
    """Take over another run's documents and signals, and its clusters if they may be the same."""
    shards = curation.shards_of(old)
    for shard in shards:
        ctx.work.adopt(old, f"documents/{shard.name}")
        for stage in ctx.recipe.stages:
            ctx.work.adopt(old, f"signals/{stage.name}/{shard.name}")
    own = [f"origin/{shard.name}" for shard in shards]
    for name in ("repeats.json", "clusters.parquet", "against.parquet", "origin.parquet", "topics.parquet", *own):
        if not (ctx.root / name).exists() and (old / name).exists():
            ctx.work.adopt(old, name)
    return shards


def is_measured(root: Path) -> bool:
    """True for a run that every stage has measured wholly, finished or not."""
    identity_ = Workspace(root).identity() if root.is_dir() else None
    if identity_ is None:
        return False
    shards = curation.shards_of(root)
    signals = [root / "signals" / name / shard.name for name in identity_.get("stages", ()) for shard in shards]
    whole = sum(shard.rows for shard in shards) == sum(entry["rows"] for entry in identity_.get("inputs", ()))
    return bool(shards) and whole and all(read_receipt(root, path) is not None for path in signals)


def same_weights(recipe: Recipe, identity: Mapping[str, Any]) -> None:
    """Refuse to mix versions: signals measured by other weights or code than are installed cannot be shown as theirs."""
    now = {stage.name: stage.fingerprint() for stage in recipe.stages}
    changed = [name for name, fingerprint_ in identity["stages"].items() if now.get(name) != fingerprint_]
    if changed:
        raise InputError(
            f"the run was measured by other versions of {', '.join(changed)} than are installed; run `curator filter` again into a new folder"
        )


def outcomes(judged: Judged, survivor: curation.I64, held: Held, mixed: Mixed) -> Codes:
    """The one outcome of every document; they add up to the inputs."""
    code = curation.outcomes(judged, survivor, held.mask, mixed.included)
    add_up(curation.counts(code), len(judged.ids))
    return code


def finish(
    ctx: Context,
    judged: Judged,
    clusters: Clusters | None,
    found_origin: Origin | None,
    outcome: Codes,
    shares: pa.Table,
    mixed: Mixed,
    likeness: pa.Table,
) -> dict[str, Any]:
    """Write the account and, last, the manifest; return the run's summary."""
    identity_ = ctx.work.identity() or {}
    found = [*alarms.raised(ctx.recipe, judged, outcome), *alarms.disagreements(shares)]
    found += [] if found_origin is None else found_origin.alarms()
    found += alarms.mixed(mixed)
    tables = {
        "runs": report_tables.runs(ctx.work.run_id, ctx.recipe, identity_, judged),
        "inputs": report_tables.inputs(identity_),
        "stages": report_tables.stages(ctx.recipe),
        "models": report_tables.models(),
        "rules": report_tables.rules(judged.rules, judged),
        "alarms": report_tables.alarms(found),
        "origin": report_tables.origin(None if found_origin is None else found_origin.strata),
        "tiers": (
            "how often the encoder judged origin otherwise than the cheap path",
            tiers(ctx.root, curation.shards_of(ctx.root), ctx.recipe.stages),
        ),
        "dedup": report_tables.dedup({} if clusters is None else clusters.report),
        "shares": report_tables.shares(shares),
        "strata": (
            "every topic, source, language, domain and year: its box, what was kept, what was drawn",
            mixed.strata,
        ),
        "frontier": ("the most words a mixture can have under each cap, whatever its margins", mixed.frontier),
        "representativeness": (
            "input, kept and mixture beside the human reference, by the spread of human text",
            likeness,
        ),
        "constraints": ("what the mixture had to hold, and what it holds", mixed.constraints),
    }
    content = audit.build(ctx.root, ledger_schema(ctx.recipe.signals()), len(judged.ids), tables)
    summary = {
        "outcomes": curation.counts(outcome),
        "shares": _headline(shares),
        "mixture": _mixture_in_words(mixed),
        "alarms": [vars(alarm) for alarm in found],
        "example": _example(judged, outcome),
    }
    ctx.work.finish(summary, {"audit.duckdb": content})
    plain: dict[str, Any] = json.loads(json.dumps(summary))
    return plain


def _headline(shares: pa.Table) -> list[dict[str, Any]]:
    """The corpus-wide share of documents before and after."""
    rows = shares.filter((pc.field("dimension") == "all") & (pc.field("unit") == "docs")).to_pylist()
    said = ("scope", "n", "n_judged", "share", "lower", "low", "high", "method", "reason", "warning")
    return [{name: row[name] for name in said} for row in rows]


def _mixture_in_words(mixed: Mixed) -> dict[str, Any]:
    """What the mixture was held to and how far it got."""
    said = ("name", "target", "expected", "realised", "price", "met")
    rows = [{name: row[name] for name in said} for row in mixed.constraints.to_pylist()]
    boxed = mixed.strata.filter(pc.is_valid(mixed.strata["low"]))
    return {
        "reference": mixed.reference,
        "constraints": rows,
        "margins": boxed.num_rows,
        "margins_met": int(pc.sum(boxed["met"]).as_py() or 0),
        "topics": len(pc.unique(mixed.topic.drop_null())),
    }


def _example(judged: Judged, outcome: Codes) -> str:
    """A document worth explaining to a newcomer: the first that is not in the mixture, else the first."""
    row = int(np.argmax(outcome != OUTCOMES.index("curated")))
    return str(uuid.UUID(bytes=judged.ids[row].tobytes()))


def shares(
    ctx: Context, judged: Judged, survivor: curation.I64, held: Held, kept: curation.Bools, mixed: Mixed
) -> pa.Table:
    """Human and synthetic share of the input, without its duplicates, of what was kept and of the mixture."""
    unique = (survivor == positions(judged)) & ~held.mask
    return share_table(judged, scopes(judged, unique, kept, mixed.copies), evidence_of(ctx.recipe, judged))


def evidence_of(recipe: Recipe, judged: Judged) -> Evidence:
    """What shares rest on: the corpus's own trusted text, the calibration file's, the anchors."""
    scored = judged.reference & ~np.isnan(judged.prob_synthetic)
    scores = pa.table({"ai_logit": judged.ai_logit[scored], "source": judged.source.cast(pa.string()).filter(scored)})
    return evidence(judged, anchors_for(recipe.stages), _vouched(recipe, scores))


def _vouched(recipe: Recipe, scores: pa.Table) -> pa.Table | None:
    """Scores of what the user vouches for: the calibration file's, else the snapshot's; None for neither.

    A detector may have been trained on the snapshot, and then its scores there flatter: a calibration file, which is made
    for this, goes before it.  scores: of the snapshot, with the columns of a calibration file that are known.
    """
    if not origins.measures_origin(recipe.stages):
        return None
    if recipe.origin.calibration:
        return origins.read_calibration(recipe.origin.calibration, recipe.stages)
    if not scores.num_rows:
        return None
    columns = [
        scores[c.name].cast(c.type) if c.name in scores.column_names else pa.nulls(scores.num_rows, c.type)
        for c in origins.CALIBRATION
    ]
    return pa.table(columns, schema=origins.CALIBRATION).combine_chunks()
