"""The conductor: what `curator filter` does, in the order in which it is told."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curator import mixing, readers, sources, steps
from curator.curation import Shard, document_ids
from curator.earlier import EarlierRun, earlier_runs, write_index
from curator.engine.inline import InlineEngine
from curator.engine.local import LocalEngine, default_workers
from curator.errors import InputError
from curator.ingest import ingest
from curator.progress import Progress
from curator.readers import parquet
from curator.readers.columns import Columns
from curator.recipe import Recipe, changed
from curator.sources import Source
from curator.workspace import Workspace, finished


@dataclass(frozen=True)
class Request:
    """What a user asks of `curator filter`."""

    inputs: tuple[str, ...]
    out: Path
    recipe: Recipe
    columns: Columns = dataclasses.field(default_factory=Columns)
    source: str | None = None
    workers: int | None = None  # processes; 0 to work in this one, None for one a core
    against: tuple[Path, ...] = ()  # folders of earlier runs
    reference: tuple[str, ...] = ()  # a snapshot of trusted human text, which joins the corpus


def filter_corpus(request: Request, progress: Progress) -> dict[str, Any]:
    """Curate a corpus into `request.out` and return the run's summary; finished work is found by its receipts."""
    files, snapshot = (
        _files(request, progress, request.inputs),
        _files(request, progress, request.reference, "reference"),
    )
    corpus = readers.corpus([*files, *snapshot], request.columns)
    request.recipe.parsed_rules(corpus.extra)
    reference = steps.rows_of(corpus, snapshot, files)
    runs = earlier_runs(request.against)
    more: dict[str, Any] = {"against": [run.run_id for run in runs]} if runs else {}
    more |= {"reference": reference} if reference else {}
    with Workspace(request.out).claimed(steps.identity(request.recipe, corpus, **more)) as work:
        if (manifest := work.manifest()) is not None:
            progress.say(f"{request.out} holds this very run, finished; nothing to do")
            return dict(manifest["summary"])
        with _engine(request) as engine:
            ctx = steps.Context(work, engine, progress, request.recipe)
            shards = steps.read(ctx, corpus, readers.shard_rows(corpus.rows))
            steps.measure(ctx, shards)
            engine.release()  # models held while the conductor decides would make its memory grow on top of theirs
            return decide(ctx, shards, runs)


def _files(request: Request, progress: Progress, inputs: tuple[str, ...], part: str = "") -> list[Source]:
    """Parquet files as they are; everything else, and Parquet that cannot be opened, by way of an ingest inside `out`."""
    if not inputs:
        return []
    found = sources.find(inputs, request.source if not part else None)
    direct = [s for s in found.sources if s.format == "parquet" and not s.remote and parquet.opens(s.path)]
    rest = [s for s in found.sources if s not in direct]
    if not rest:
        return direct
    Workspace(request.out).free_for_ingest()
    root = request.out / "ingest" / part
    ingest(sources.Found(tuple(rest), found.ignored), root, request.columns, _workers(request), progress)
    return direct + list(sources.find([str(root)]).sources)


def _engine(request: Request) -> LocalEngine | InlineEngine:
    return InlineEngine() if request.workers == 0 else LocalEngine(_workers(request))


def _workers(request: Request) -> int:
    return default_workers() if request.workers is None else max(1, request.workers)


def decide(ctx: steps.Context, shards: Sequence[Shard], runs: Sequence[EarlierRun] = ()) -> dict[str, Any]:
    """All that follows the measuring: verdicts, duplicates, shares, mixture, ledger, account, manifest."""
    clusters = steps.deduplicate(ctx, shards, document_ids(ctx.root, shards))
    origin = steps.origin(ctx, shards, clusters)
    judged = steps.judge(ctx, shards, origin)
    held = steps.held(ctx, shards, runs)
    survivor = steps.choose(judged, clusters, held)
    kept = judged.faultless & (survivor == steps.positions(judged)) & ~held.mask
    topics = mixing.topics(ctx, shards, judged, clusters)
    mixture = mixing.mix(ctx, judged, kept, topics, clusters)
    outcome = steps.outcomes(judged, survivor, held, mixture)
    steps.write_ledger(ctx, shards, judged, clusters, survivor, held, outcome, mixture)
    write_index(ctx.root, shards, kept, ctx.recipe.stages, ctx.recipe.dedup)
    shares = steps.shares(ctx, judged, survivor, held, kept, mixture)
    likeness = mixing.represent(ctx, shards, judged, kept, mixture, topics)
    return steps.finish(ctx, judged, clusters, origin, outcome, shares, mixture, likeness)


def redecide_run(root: Path, settings: Sequence[str], out: Path, progress: Progress) -> dict[str, Any]:
    """Decide a run again into `out` under changed rules; documents and signals are taken over, not made again.

    A run that stopped after all was measured, for a rule or a mixture that cannot be, will do.
    """
    if not steps.is_measured(root):
        finished(root)
    if out.resolve() == root.resolve():
        raise InputError(f"{out} is the run itself; choose another folder with -o")
    old = Workspace(root)
    identity = dict(old.identity() or {})
    recipe = changed(identity["recipe"], settings)
    steps.same_weights(recipe, identity)
    identity |= {"recipe": recipe.as_dict(), "recipe_fingerprint": recipe.fingerprint(), "redecided_from": old.run_id}
    identity.pop("calibration", None)
    identity |= recipe.origin.identity()
    with Workspace(out).claimed(identity) as work:
        if (manifest := work.manifest()) is not None:
            return dict(manifest["summary"])
        ctx = steps.Context(work, InlineEngine(), progress, recipe)
        return decide(ctx, steps.adopt(ctx, root))
