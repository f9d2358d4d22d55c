"""The figures of a proof: one row a model, one row an arm, and the mixture's ratio to a random sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from curator.proving.models import Answers
from curator.proving.pools import ARMS
from curator.proving.questions import Questions
from curator.proxy import F64

MEASURES: Final = (
    "perplexity",
    "rare_word_perplexity",
    "perplexity_after",
    "rare_word_perplexity_after",
    "tail_recall",
)


def figures(asked: Questions, one: Answers) -> dict[str, Any]:
    """What one arm's models said with one seed; None where there was nothing to measure."""
    before, after = (np.exp(asked.log_perplexity(values)[0]) for values in (one.trained, one.after))
    values = dict(zip(MEASURES, (*before, *after, one.recall), strict=True))
    return {
        "arm": one.arm,
        "seed": one.seed,
        "tokens": one.tokens,
        "documents": one.documents,
        "of_reference": one.of_reference,
    } | {name: None if np.isnan(value) else float(value) for name, value in values.items()}


def summary(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Means over the seeds with their standard deviations (`_sd`), an arm a row; rows: of `figures`."""
    of = {arm: [row for row in rows if row["arm"] == arm] for arm in ARMS}
    return [_over_seeds(arm, found) for arm, found in of.items() if found]


def _over_seeds(arm: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    made: dict[str, Any] = {"arm": arm, "tokens": round(np.mean([row["tokens"] for row in rows]))}
    made["of_reference"] = float(np.mean([row["of_reference"] for row in rows]))
    for name in MEASURES:
        values = [row[name] for row in rows if row[name] is not None]
        made[name] = float(np.mean(values)) if values else None
        made[f"{name}_sd"] = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return made


def ratios(asked: Questions, answers: Sequence[Answers]) -> dict[str, dict[str, float]]:
    """Perplexity of the mixture's model over the random sample's, with a 95 % bootstrap interval over held-out documents."""
    weight = asked.resamples()
    made: dict[str, dict[str, float]] = {}
    for part, names in (("trained", MEASURES[:2]), ("after", MEASURES[2:4])):
        made |= dict(zip(names, _ratio(asked, answers, part, "mixture", weight), strict=True))
    if any(one.arm == "crawl part" for one in answers):
        crawl = _ratio(asked, answers, "trained", "crawl part", weight)
        made |= {f"{name}_without_snapshot": found for name, found in zip(MEASURES[:2], crawl, strict=True)}
    return {name: found for name, found in made.items() if found}


def _ratio(asked: Questions, answers: Sequence[Answers], part: str, arm: str, weight: F64) -> list[dict[str, float]]:
    """An arm to the random sample: all tokens, and those of rare words; empty where there are none."""
    own, random = (np.mean([getattr(one, part) for one in answers if one.arm == a], axis=0) for a in (arm, "random"))
    point = np.exp(asked.log_perplexity(own) - asked.log_perplexity(random))[0]
    drawn = np.exp(asked.log_perplexity(own, weight) - asked.log_perplexity(random, weight))
    found: list[dict[str, float]] = []
    for column in range(2):
        if np.isnan(point[column]):
            found.append({})
            continue
        low, high = np.nanquantile(drawn[:, column], (0.025, 0.975))
        found.append({"ratio": float(point[column]), "low": float(low), "high": float(high)})
    return found
