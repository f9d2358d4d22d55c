"""Say loudly what looks wrong in a run, and which setting to change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curator.curation import Judged
from curator.ledger import OUTCOMES
from curator.recipe import Recipe


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
    if idle:
        yield Alarm(
            "rule_idle",
            f"{len(idle)} rule(s) dropped nothing: {', '.join(idle)}; check their limits, or leave them out",
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
    for name, n, kept in zip(names.dictionary.to_pylist(), total, curated, strict=True):
        if n and 1 - kept / n >= recipe.alarms.source_lost:
            yield Alarm(
                "source_lost",
                f"source {name!r} loses {n - kept:,} of its {n:,} documents (alarms.source_lost = {recipe.alarms.source_lost:g}); "
                f"`curator sql OUT \"select reason, count(*) from reasons where source = '…' group by all\"` says why",
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
    if total and held / total < recipe.alarms.human_under:
        yield Alarm(
            "human_under",
            f"the mixture holds only {held:,} of the {total:,} kept documents that were not flagged ({held / total:.0%}, under "
            f"alarms.human_under = {recipe.alarms.human_under:g}): the corpus is mostly synthetic, or that cannot be ruled out; "
            "raise mixture.max_synthetic with `curator redecide`, or add dated human text",
        )


def disagreements(shares: pa.Table) -> Iterator[Alarm]:
    """Sources whose declared origin and measured share cannot both be true: declared origin is reported, never trusted."""
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
