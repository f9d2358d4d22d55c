"""Choose a mixture that holds little synthetic text and still has every kind of human text in it.

Inclusion probabilities are set on cells (stratum × likelihood bin), never on documents one by one: within a stratum
documents are thinned by P(synthetic), all strata by one common price, until the expected synthetic share of the
mixture meets the cap; likely human cells keep a floor whatever the price. The draw is a keyed hash of the document's id.

The cap's default, 10 % unverified synthetic text, leaves a margin below what published results allow, since it binds on
an estimate: training is stable to 20 % and worse beyond 30 % (Du et al. 2025, arXiv:2510.05133), and the best share of
real text in the long run is 0.618 (He et al. 2025, arXiv:2502.18049).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from curator.errors import RecipeError
from curator.ids import unit_hash
from curator.repair import STEPS

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]
Bools = npt.NDArray[np.bool_]

_STEPS: Final = 60  # bisections of a price: more than a float64 has bits to tell apart


@dataclass(frozen=True)
class MixtureParams:
    """What the mixture must hold.

    max_synthetic: cap on the expected share of synthetic documents; 1 for no cap.
    floor: a stratum keeps at least this share of its likely human documents, whatever the cap (law: no tail is cut
        silently).
    bins: bins of P(synthetic) a stratum is cut into.
    budget_words: words the mixture may hold at most; 0 for no limit.
    origin: what counts in a document's P(synthetic): its text alone (text), its own evidence too (document), its site too
        (pooled: finds more machine text, and convicts more sites of formal prose that nobody vouches for).
    repair: none, or the steps of `curator.repair` that the drawn texts go through, in their order.
    """

    max_synthetic: float = 0.10
    floor: float = 0.10
    bins: int = 20
    budget_words: int = 0
    stratum: str = "source"
    origin: str = "document"
    repair: str | tuple[str, ...] = "none"
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if not 0 <= self.max_synthetic <= 1 or not 0 <= self.floor <= 1:
            raise RecipeError("max_synthetic and floor are shares between 0 and 1")
        if self.bins < 1 or self.budget_words < 0:
            raise RecipeError("bins is at least 1 and budget_words at least 0")
        if self.origin not in ("text", "document", "pooled"):
            raise RecipeError(f"mixture.origin = {self.origin!r} is none of: text, document, pooled")
        if unknown := [step for step in self.repair_steps if step not in STEPS]:
            raise RecipeError(
                f"mixture.repair knows no step {unknown[0]!r}; it takes none, or any of {', '.join(STEPS)}"
            )

    @property
    def repair_steps(self) -> tuple[str, ...]:
        """The steps of the repair; empty for none."""
        if isinstance(self.repair, str):
            return () if self.repair == "none" else (self.repair,)
        return self.repair


@dataclass(frozen=True)
class MixtureResult:
    """Who is in, how likely that was, and what the constraints came to.  Arrays are [docs]."""

    included: Bools
    inclusion: F64
    weight: F64  # times a loader shows the document in an epoch: 1 for every document that was drawn
    price: float  # power of 1 - P(synthetic) that the cap takes: 0 when it does not bind
    constraints: list[dict[str, object]]
    strata: list[dict[str, object]]


def sample(params: MixtureParams, ids: U64, stratum: I64, strata: int, q: F64, words: I64) -> MixtureResult:
    """Draw the mixture.

    ids: [docs, 2] uint64.  stratum: [docs] position of each document's stratum among `strata`.  q: [docs] P(synthetic)
    at the corpus's own share, none nan: the caller says what an unknown one counts as.  words: [docs].
    """
    bins = np.minimum((np.clip(q, 0.0, 1.0) * params.bins).astype(np.int64), params.bins - 1)
    cell = stratum * params.bins + bins
    size = np.bincount(cell, minlength=strata * params.bins).astype(float)
    machine = np.bincount(cell, q, strata * params.bins).astype(float)
    edge = np.tile(np.arange(params.bins) / params.bins, strata)  # lower edge of each cell's bin
    price = _price(params, size, machine, edge)
    chances = _chances(params, edge, price)
    mass = np.bincount(cell, words, strata * params.bins)
    if params.budget_words:
        chances = chances * min(1.0, params.budget_words / max(1.0, float((chances * mass).sum())))
    inclusion = chances[cell]
    included = unit_hash(ids, params.seed, "mixture") < inclusion
    return MixtureResult(
        included,
        inclusion,
        np.ones(len(ids)),
        price,
        _constraints(params, q, words, inclusion, included, price),
        _strata(strata, stratum, q, inclusion, included),
    )


def _chances(params: MixtureParams, edge: F64, price: float) -> F64:
    """Inclusion probability of each cell at a price: (1 - P(synthetic)) to that power, 1 where it is below the cap.

    A power of what is likely human (price 1: its weight; Drayson et al. 2025, arXiv:2502.15654, use 10) lets go of
    surely synthetic text first; an exponential in P(synthetic) would keep some of it and pay with doubtful human
    text. A document below the cap makes the mixture cleaner and is never thinned. The floor holds up the likely
    human cells only, so a higher P(synthetic) never helps a document.
    """
    cap = min(params.max_synthetic, 0.999)
    tilted = ((1 - np.maximum(edge, cap)) / (1 - cap)) ** price
    return np.where(edge < 0.5, np.maximum(tilted, params.floor), tilted)


def _price(params: MixtureParams, size: F64, machine: F64, edge: F64) -> float:
    """The lowest price at which the expected synthetic share meets the cap, by bisection on its logarithm."""

    def over(price: float) -> bool:
        chances = _chances(params, edge, price)
        return float((chances * machine).sum()) > params.max_synthetic * float((chances * size).sum())

    if not over(0.0):
        return 0.0
    low, high = 1e-6, 1e3
    if over(high):
        return high  # the cap cannot be met: as strict as can be, and the constraint says so
    for _ in range(_STEPS):
        middle = float(np.sqrt(low * high))
        low, high = (middle, high) if over(middle) else (low, middle)
    return float(f"{high * (1 + 1e-9):.9g}")  # rounded up: sums in another order give the same price


def _constraints(
    params: MixtureParams, q: F64, words: I64, inclusion: F64, included: Bools, price: float
) -> list[dict[str, object]]:
    expected = _share(inclusion * q, inclusion)
    drawn = _share(included * q, included.astype(float))
    rows = [_row("max_synthetic", params.max_synthetic, expected, drawn, price)]
    if params.budget_words:
        rows.append(
            _row(
                "budget_words", params.budget_words, float((inclusion * words).sum()), float(words[included].sum()), 0.0
            )
        )
    return rows


def _row(name: str, target: float, expected: float, realised: float, price: float) -> dict[str, object]:
    slack = target - expected
    met = slack >= -1e-9 * max(1.0, target)
    return {
        "name": name,
        "target": float(target),
        "expected": expected,
        "realised": realised,
        "slack": slack,
        "price": price,
        "met": met,
    }


def _share(part: F64, whole: F64) -> float:
    total = float(whole.sum())
    return float(part.sum()) / total if total else 0.0


def _strata(strata: int, stratum: I64, q: F64, inclusion: F64, included: Bools) -> list[dict[str, object]]:
    kept = np.bincount(stratum, minlength=strata)
    drawn = np.bincount(stratum[included], minlength=strata)
    expected = np.bincount(stratum, inclusion, strata)
    machine = np.bincount(stratum, q, strata)
    machine_drawn = np.bincount(stratum[included], q[included], strata)
    return [
        {
            "kept": int(kept[i]),
            "expected": float(expected[i]),
            "drawn": int(drawn[i]),
            "retention": float(drawn[i] / kept[i]) if kept[i] else None,
            "synthetic_kept": float(machine[i] / kept[i]) if kept[i] else None,
            "synthetic_drawn": float(machine_drawn[i] / drawn[i]) if drawn[i] else None,
        }
        for i in range(strata)
    ]
