"""From what was kept to the mixture: topics, what it is held to, the draw, and how well it represents human text."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curator import curation, mixture, prevalence, reference, report_tables
from curator import topics as topic_clusters
from curator.cells import Facts
from curator.curation import Judged, Mixed, Shard
from curator.dedup import Clusters
from curator.errors import RecipeError
from curator.ids import unit_hash
from curator.prevalence import posterior
from curator.recipe import Recipe
from curator.reference import Topics
from curator.representative import REPRESENTATIVENESS, SIZE, Sample, representativeness
from curator.shards import is_done, read_receipt, task_key, write_parquet
from curator.shares import Evidence
from curator.steps import Context, evidence_of, positions

F32 = npt.NDArray[np.float32]

MOST_PRIOR: Final = 0.95  # an upper end of 1 would count what is plainly human as synthetic
TOPIC_SAMPLE: Final = 50_000  # documents that topics are learned from; more move no centre by much


def topics(ctx: Context, shards: Sequence[Shard], judged: Judged, clusters: Clusters | None) -> Topics | None:
    """The topic of every document, by clusters of meaning found in the reference; None where no stage measures meaning."""
    if "topic" not in {stage.name for stage in ctx.recipe.stages}:
        return None
    path = ctx.root / "topics.parquet"
    unique = np.ones(len(judged.ids), np.bool_) if clusters is None else clusters.cluster == positions(judged)
    members = np.flatnonzero(reference.members(judged, unique))
    members = members[unit_hash(judged.ids[members], ctx.recipe.seed, "topics").argsort(kind="stable")[:TOPIC_SAMPLE]]
    receipts = [read_receipt(ctx.root, ctx.root / "signals/topic" / shard.name) for shard in shards]
    learned_from = hashlib.sha256(np.sort(members).tobytes()).hexdigest()
    key = task_key("topics-1", ctx.recipe.seed, learned_from, [r and r.sha256 for r in receipts])
    if not is_done(ctx.root, path, key):
        ctx.progress.begin("topics", len(judged.ids), 0)
        _write_topics(ctx, shards, judged.ids, np.sort(members), path, key)
        ctx.progress.end()
    table = pq.read_table(path)
    return Topics(
        tuple(json.loads((table.schema.metadata or {})[b"names"])), table["topic"].to_numpy().astype(np.int64)
    )


def _write_topics(
    ctx: Context, shards: Sequence[Shard], ids: curation.U64, members: curation.I64, path: Path, key: str
) -> None:
    vectors = curation.Rows(ctx.root / "signals/topic", shards, "topic_vector")
    found = topic_clusters.fit(_vectors(vectors(members)), ids[members], ctx.recipe.seed)
    schema = pa.schema([("topic", pa.int32())]).with_metadata({"names": json.dumps(_numbered(found.names))})

    def batches() -> Iterator[pa.RecordBatch]:
        for shard in shards:
            rows = np.arange(shard.first, shard.first + shard.rows)
            yield pa.record_batch([pa.array(topic_clusters.assign(found, _vectors(vectors(rows))), pa.int32())], schema)
            ctx.progress.advance(shard.rows)

    write_parquet(ctx.root, path, schema, batches(), key)


def _numbered(names: Sequence[str]) -> list[str]:
    """Names that no two topics share."""
    width = len(str(max(len(names) - 1, 0)))
    return [f"{i:0{width}d} {name}".strip() for i, name in enumerate(names)]


def _vectors(column: pa.Array) -> F32:
    """Vectors as a matrix, nan where null.  # [docs, dim]"""
    flat = column.flatten() if not column.null_count else pc.list_flatten(column)
    dim = column.type.list_size
    found = np.full((len(column), dim), np.nan, np.float32)
    found[column.is_valid().to_numpy(zero_copy_only=False)] = flat.to_numpy(zero_copy_only=False).reshape(-1, dim)
    return found


def mix(ctx: Context, judged: Judged, kept: curation.Bools, topics_: Topics | None, clusters: Clusters | None) -> Mixed:
    """Draw the mixture from what was kept.

    A document counts with its P(synthetic) at the upper end of its own stratum's share, or of all where that cannot be
    told, so that the cap holds when the estimate is off and a newspaper of people does not pay for a chat log; one that
    was not judged counts as that upper end itself; one that its source declares synthetic counts as synthetic; one of the
    snapshot is human.
    """
    params, rows = ctx.recipe.mixture, np.flatnonzero(kept)
    names, codes = _strata_of(judged, params.stratum)
    q, upper, unjudged = _believed(ctx.recipe, judged, kept, names, codes)
    held_to = reference.reference(judged, kept, q)
    copies = np.ones(len(kept)) if clusters is None else np.bincount(clusters.cluster)[clusters.cluster]
    facts = Facts(
        ids=judged.ids[rows],
        words=judged.words[rows],
        q=q[rows],
        quality=judged.quality[rows],
        copies=copies[rows].astype(np.int64),
        snapshot=judged.reference[rows],
        verified=(judged.verified & ~judged.reference)[rows],
        margins=tuple(reference.margins(judged, kept, q, held_to, topics_)),
    )
    drawn = mixture.sample(params, facts)
    constraints = [
        {**row, "upper_share": float(upper[rows].mean()) if len(rows) else 0.0, "unjudged": int(unjudged[rows].sum())}
        for row in drawn.constraints
    ]
    known = {
        name: _spread(rows, getattr(drawn, name), len(kept))
        for name in ("copies", "expected", "base", "cap", "margins")
    }
    return Mixed(
        stratum=pa.array(names, pa.string()),
        cell=codes,
        topic=_topic_names(topics_, len(kept)),
        **known,
        strata=pa.Table.from_pylist(drawn.boxes, schema=report_tables.STRATA),
        constraints=pa.Table.from_pylist(constraints, schema=report_tables.CONSTRAINTS),
        frontier=pa.Table.from_pylist(drawn.frontier, schema=report_tables.FRONTIER),
        reference=held_to.kind,
        reference_words=held_to.words,
        notes=drawn.notes,
    )


def _topic_names(found: Topics | None, size: int) -> pa.Array:
    if found is None:
        return pa.nulls(size, pa.string())
    return pa.array(found.names, pa.string()).take(pa.array(found.codes, mask=found.codes < 0))


def _believed(
    recipe: Recipe, judged: Judged, kept: curation.Bools, names: list[str], codes: curation.I64
) -> tuple[curation.F64, curation.F64, curation.Bools]:
    """P(synthetic) of every document as the mixture counts it, its stratum's upper end, and which were not judged.  # [docs]"""
    evidence_ = evidence_of(recipe, judged)
    own = kept & ~judged.reference
    (all_of_it,) = _upper_shares(evidence_, np.where(own, 0, -1), 1, 0.5)
    upper = _upper_shares(evidence_, np.where(own, codes, -1), len(names), all_of_it)[codes]
    known = {"text": judged.prob_calibrated, "document": judged.prob_document, "pooled": judged.prob_pooled}
    prob = posterior(known[recipe.mixture.origin], np.minimum(upper, MOST_PRIOR))
    q = np.where(np.isnan(prob), upper, prob)
    q = np.where(pc.fill_null(pc.equal(judged.declared_origin, "synthetic"), False).to_numpy(), 1.0, q)
    return np.where(judged.reference, 0.0, q), upper, np.isnan(prob) & ~judged.reference


def _upper_shares(found: Evidence, stratum: curation.I64, strata: int, unknown: float) -> curation.F64:
    """The upper end of each stratum's synthetic share; `unknown` where it cannot be told.  # [strata]"""
    shares_ = prevalence.estimates(found.documents, stratum, strata, np.ones(len(stratum)), found.basis)
    return np.array([unknown if share.high is None else share.high for share in shares_])


def _strata_of(judged: Judged, dimension: str) -> tuple[list[str], curation.I64]:
    column = {"source": judged.source, "language": judged.language, "host": judged.host}.get(dimension)
    if column is None:
        raise RecipeError(f"mixture.stratum = {dimension!r} is none of: source, language, host")
    codes = pc.fill_null(column.combine_chunks().indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)
    names = [str(name) for name in column.combine_chunks().dictionary.to_pylist()]
    return [*names, "(unknown)"], np.where(codes < 0, len(names), codes)


def _spread(rows: curation.I64, values: npt.NDArray[Any], size: int) -> npt.NDArray[Any]:
    whole = np.zeros(size, values.dtype)
    whole[rows] = values
    return whole


def represent(
    ctx: Context,
    shards: Sequence[Shard],
    judged: Judged,
    kept: curation.Bools,
    mixed: Mixed,
    topics_: Topics | None,
) -> pa.Table:
    """How well input, kept and mixture represent the reference; no rows where nobody asks or no stage measures meaning."""
    draws = ctx.recipe.mixture.draws
    if topics_ is None or not draws:
        return REPRESENTATIVENESS.empty_table()
    crawled = judged.readable & ~judged.reference
    every = np.ones(len(kept), np.int64)
    chosen = {
        "input": _sampled(ctx.recipe, judged, np.where(crawled, every, 0)),
        "kept": _sampled(ctx.recipe, judged, np.where(kept & crawled, every, 0)),
        "mixture": _sampled(ctx.recipe, judged, np.where(kept, mixed.copies, 0)),
    }
    own = _standing(ctx.recipe, judged, mixed.reference_words)
    rows = np.unique(np.concatenate([own, *chosen.values()]))
    vectors = curation.Rows(ctx.root / "signals/topic", shards, "topic_vector")
    known = Sample(judged.ids[rows], _vectors(vectors(rows)), curation.texts_of(ctx.root, shards)(rows))
    samples = {name: known.take(np.searchsorted(rows, some)) for name, some in chosen.items()}
    found = representativeness(known.take(np.searchsorted(rows, own)), samples, ctx.recipe.seed, draws)
    return pa.Table.from_pylist(found, schema=REPRESENTATIVENESS)


def _sampled(recipe: Recipe, judged: Judged, copies: curation.I64) -> curation.I64:
    """Documents drawn by hash, one with two copies twice as likely.  # [at most SIZE] rows, a row for every copy drawn"""
    rows = np.repeat(np.arange(len(copies)), copies)
    number = np.arange(len(rows)) - np.repeat(np.cumsum(copies) - copies, copies)
    dice = np.empty(len(rows))
    for which in range(int(copies.max(initial=0))):
        some = number == which
        dice[some] = unit_hash(judged.ids[rows[some]], recipe.seed, f"representative:{which}")
    return np.sort(rows[np.argsort(dice, kind="stable")[:SIZE]])


def _standing(recipe: Recipe, judged: Judged, words: curation.F64) -> curation.I64:
    """Documents of the reference, each as likely as what it stands for (Efraimidis and Spirakis 2006).  # [at most 2 SIZE] rows"""
    rows = np.flatnonzero(words > 0)
    weight = words[rows] / judged.words[rows]
    dice = -np.log(np.maximum(unit_hash(judged.ids[rows], recipe.seed, "representative:reference"), 1e-300)) / weight
    return np.sort(rows[np.argsort(dice, kind="stable")[: 2 * SIZE]])
