"""Say loudly what looks wrong in a run, and which setting to change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curator.curation import Judged, Mixed
from curator.ledger import OUTCOMES
from curator.recipe import Recipe

NAMED: Final = 5  # sources that one alarm names


@dataclass(frozen=True)
class Alarm:
    """Something a person should look at before trusting the run."""

    kind: str
    message: str


def raised(recipe: Recipe, judged: Judged, outcome: npt.NDArray[np.uint8]) -> list[Alarm]:
    """Every alarm of a run, in a fixed order."""
    return [
        *_rules(recipe, judged),
        *_quarantine(recipe, judged),
        *_sources(recipe, judged, outcome),
        *_mixture(recipe, judged, outcome),
    ]


def _rules(recipe: Recipe, judged: Judged) -> Iterator[Alarm]:
    readable = int(judged.readable.sum())
    for reason, count in judged.fired.items():
        if readable and count / readable > recipe.alarms.rule_over:
            yield Alarm(
                "rule_over",
                f"rule {reason} drops {count:,} of {readable:,} documents ({count / readable:.0%}, over alarms.rule_over = "
                f"{recipe.alarms.rule_over:g}); look at some, then `curator redecide --set {reason}=…`",
            )
    idle = [reason for reason, count in judged.fired.items() if count == 0]
    if idle and readable >= recipe.alarms.idle_from:
        yield Alarm(
            "rule_idle",
            f"{len(idle)} rule{'s' * (len(idle) > 1)} dropped none of {readable:,} documents: {', '.join(idle)}; check the limits, or leave them out",
        )


def _quarantine(recipe: Recipe, judged: Judged) -> Iterator[Alarm]:
    bad = int(judged.broken.sum())
    total = bad + int(judged.readable.sum())
    if total and bad / total > recipe.alarms.quarantine_over:
        yield Alarm(
            "quarantine_over",
            f"{bad:,} of {total:,} documents could not be read ({bad / total:.0%}, over alarms.quarantine_over = "
            f'{recipe.alarms.quarantine_over:g}); `curator sql OUT "select reason, count(*) from quarantine group by all"` says why',
        )


def _sources(recipe: Recipe, judged: Judged, outcome: npt.NDArray[np.uint8]) -> Iterator[Alarm]:
    names = judged.source.combine_chunks()
    codes = names.indices.to_numpy(zero_copy_only=False)
    total = np.bincount(codes, minlength=len(names.dictionary))
    curated = np.bincount(codes[outcome == OUTCOMES.index("curated")], minlength=len(names.dictionary))
    lost = [
        f"{name!r} loses {n - kept:,} of its {n:,} documents"
        for name, n, kept in zip(names.dictionary.to_pylist(), total, curated, strict=True)
        if n and 1 - kept / n >= recipe.alarms.source_lost
    ]
    if lost:
        more = f", and {len(lost) - NAMED:,} more" if len(lost) > NAMED else ""
        yield Alarm(
            "source_lost",
            f"{'source' if len(lost) == 1 else f'{len(lost):,} sources:'} {', '.join(lost[:NAMED])}{more} (alarms.source_lost = "
            f'{recipe.alarms.source_lost:g}); `curator sql OUT "select source, reason, count(*) from reasons group by all order by all"` says why',
        )


def _mixture(recipe: Recipe, judged: Judged, outcome: npt.NDArray[np.uint8]) -> Iterator[Alarm]:
    curated, left_out = outcome == OUTCOMES.index("curated"), outcome == OUTCOMES.index("left_out")
    if not curated.any():
        yield Alarm(
            "nothing_curated",
            "not one document reached the mixture; `curator shares OUT` and the table drop_counts say why",
        )
        return
    human = ~np.isnan(judged.prob_synthetic) & ~judged.synthetic
    total = int(((curated | left_out) & human).sum())
    held = int((curated & human).sum())
    if total and not recipe.mixture.budget_words and held / total < recipe.alarms.human_under:
        yield Alarm(
            "human_under",
            f"the mixture holds only {held:,} of the {total:,} kept documents that were not flagged ({held / total:.0%}, under "
            f"alarms.human_under = {recipe.alarms.human_under:g}): the corpus is mostly synthetic, or that cannot be ruled out; "
            "raise mixture.max_synthetic with `curator redecide`, or add dated human text",
        )


def mixed(found: Mixed) -> Iterator[Alarm]:
    """Constraints that the mixture could not meet, and what gave way."""
    for row in found.constraints.to_pylist():
        if not row["met"]:
            yield Alarm(
                "constraint_unmet",
                f"mixture.{row['name']} = {row['target']:,g} could not be met: the mixture comes to {row['expected']:,.4g}; "
                '`curator sql OUT "select * from frontier"` says how many words each cap leaves',
            )
    for note in found.notes:
        yield Alarm("mixture_gave_way", note)


def disagreements(shares: pa.Table) -> Iterator[Alarm]:
    """Shares that two estimators see differently, and sources whose declared origin and measured share cannot both be true."""
    yield from _estimators(shares)
    yield from _declarations(shares)


DISAGREE = "two estimators disagree"  # how the warning of a share begins to say so


def _estimators(shares: pa.Table) -> Iterator[Alarm]:
    """One alarm for the corpus, one for every source, in whichever scope it shows first."""
    by_stratum: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in shares.filter(pc.field("dimension").isin(["all", "source"]) & (pc.field("unit") == "docs")).to_pylist():
        if DISAGREE in (row.get("warning") or ""):
            by_stratum.setdefault((row["dimension"], row["stratum"]), []).append(row)
    for (dimension, stratum), rows in by_stratum.items():
        first, scopes = rows[0], ", ".join(row["scope"] for row in rows)
        what, where = ("the corpus", "") if dimension == "all" else (f"source {stratum!r}", " where d.source = '…'")
        yield Alarm(
            "estimators_disagree",
            f"two estimators disagree on the synthetic share of {what} ({scopes}): {first['share']:.0%} ({first['low']:.0%} to "
            f"{first['high']:.0%}) by {first['method']}, {first['second']:.0%} by {first['second_method']}; rely on neither before you "
            f'looked: `curator sql OUT "select d.doc_id, prob_calibrated, text[:300] from documents d join texts using (doc_id){where} '
            'order by random() limit 20"`',
        )


def _declarations(shares: pa.Table) -> Iterator[Alarm]:
    """Declared origin is reported, never trusted."""
    rows = shares.filter(
        (pc.field("dimension") == "source") & (pc.field("unit") == "docs") & (pc.field("scope") == "input")
    ).to_pylist()
    for row in rows:
        if row["share"] is None:
            continue
        human, synthetic = (row[f"declared_{kind}"] / row["n"] for kind in ("human", "synthetic"))
        if row["low"] > 1 - human and human > 0.5:
            yield _differs(row, f"declares {human:.0%} of its documents human")
        elif row["high"] < synthetic:
            yield _differs(row, f"declares {synthetic:.0%} of its documents synthetic")


def _differs(row: Mapping[str, Any], said: str) -> Alarm:
    return Alarm(
        "declared_differs",
        f"source {row['stratum']!r} {said}; measured synthetic share {row['share']:.0%} ({row['low']:.0%} to {row['high']:.0%}); "
        "look at some of its documents with `curator explain`",
    )
