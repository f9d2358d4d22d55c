"""Choose a mixture that holds little synthetic text and still has every kind of human text in it.

The weights of cells (`curator.cells`) are the nearest to what one would take of each, in the sense of Kullback and
Leibler, among those that hold what the recipe asks for (raking; Deming and Stephan 1940, Deville and Särndal 1992):

- unverified synthetic text makes up at most `max_synthetic` of the words, each document counted at the upper end of
  what is believed of it. 10 % leaves a margin below what published results allow: training is stable to 20 % and worse
  beyond 30 % (Du et al. 2025, arXiv:2510.05133).
- verified synthetic text makes up at most `max_verified`: about 30 % rephrased text helps (Kang et al. 2025,
  arXiv:2510.01631; Su et al. 2024, arXiv:2412.02595), and 38 % is the most that any result supports (He et al. 2025,
  arXiv:2502.18049). Verified or not, in the long run a model converges to what the verifier knows (arXiv:2510.16657).
- a snapshot of trusted human text, where the user gives one, makes up at least `snapshot`: the tenth that stopped most
  of the collapse in Shumailov et al. 2024 (arXiv:2305.17493) was real data; a quarter
  errs on the side of more.
- margins (topic, source, domain, language, year) stay in boxes around those of a human reference.
- a group keeps `floor` of its likely human words, whatever the cap.
- no document is seen more than `max_repeats` times (four epochs are about as good as fresh text: Muennighoff et al.
  2023, arXiv:2305.16264).

The draw is a keyed hash of the document's id: whole copies, and one more by chance.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from curator.boxes import Box, Rows, box, likely_human
from curator.cells import LIKELY_HUMAN, Cells, Facts, Margin
from curator.errors import RecipeError
from curator.ids import unit_hash
from curator.rake import Solution, solve
from curator.repair import STEPS
from curator.shards import COMPRESSIONS

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]
Bools = npt.NDArray[np.bool_]

SHRINK: Final = 0.8  # the least part of a budget that a mixture may come to before its boxes are widened
# How boxes give way, one after another: twice and four times as wide, then missed where they would charge a document more
# than this, as a logarithm of its weight.
_GIVING_WAY: Final = (
    (1.0, np.inf),
    (2.0, np.inf),
    (4.0, np.inf),
    *((1.0, price) for price in (2.0, 1.0, 0.5, 0.25, 0.1)),
)
ALIVE: Final = 5.0  # estimated human documents from which a group does not go extinct
CAPS: Final = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0)  # of the frontier
GUARDED: Final = ("topic", "source", "language")  # dimensions with floors; domains are too many and too small
HOLDS: Final = 1e-7  # parts of the mixture by which a row may miss: what floating point leaves


@dataclass(frozen=True)
class MixtureParams:
    """What the mixture must hold.

    max_synthetic: cap on the expected share of unverified synthetic words; 1 for no cap.
    max_verified: cap on the share of verified synthetic words.
    verified: SQL over a document's columns that says which synthetic text something else than its maker has checked.
    snapshot: least share of the trusted human text given as the reference, where there is one.
    max_repeats: most copies of a document; without `budget_words` only a snapshot's documents are repeated.
    tolerance: how far a margin may be off its share of the reference, as a part of that share; 1 for as far as it likes.
    floor: a topic, source or language keeps at least this part of its likely human words (law: no tail is cut silently).
    budget_words: words the mixture is to have; 0 for as many as the rest allows.
    bins: bins of P(synthetic) that cells are cut by.
    prefer_human: power of 1 - P(synthetic) in what one would take of a document.
    prefer_quality: power of 0.5 + quality / 2, likewise; 0 for no preference.
    prefer_unique: power of 1 / (members of its duplicate cluster), likewise.
    draws: human sets drawn to say how far input and mixture are from the reference (`representativeness`); 0 to leave it out.
    stratum: source, language or host: whose upper end of the synthetic share a document is judged at.
    origin: what counts in a document's P(synthetic): its text alone (text), its own evidence too (document), its site too
        (pooled: finds more machine text, and convicts more sites of formal prose that nobody vouches for).
    repair: none, or the steps of `curator.repair` that the drawn texts go through, in their order.
    compression: zstd, or lz4, with which training reads 1.4 to 1.6 times as fast from files 1.5 to 1.7 times as large.
    """

    max_synthetic: float = 0.10
    max_verified: float = 0.30
    verified: str = ""
    snapshot: float = 0.25
    max_repeats: int = 4
    tolerance: float = 0.25
    floor: float = 0.10
    budget_words: int = 0
    bins: int = 20
    prefer_human: float = 2.0
    prefer_quality: float = 1.0
    prefer_unique: float = 0.5
    draws: int = 50
    stratum: str = "source"
    origin: str = "document"
    repair: str | tuple[str, ...] = "none"
    compression: str = "zstd"
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        for name in ("max_synthetic", "max_verified", "snapshot", "floor"):
            if not 0 <= getattr(self, name) <= 1:
                raise RecipeError(f"mixture.{name} = {getattr(self, name)!r} is no share between 0 and 1")
        if self.snapshot > 0.99:
            raise RecipeError("mixture.snapshot is at most 0.99; to train on the snapshot alone, filter it alone")
        for name, least in (("max_repeats", 1), ("bins", 1), ("budget_words", 0), ("tolerance", 0), ("draws", 0)):
            if getattr(self, name) < least:
                raise RecipeError(f"mixture.{name} = {getattr(self, name)!r} is less than {least}")
        if min(self.prefer_human, self.prefer_quality, self.prefer_unique) < 0:
            raise RecipeError("mixture.prefer_human, prefer_quality and prefer_unique are powers, 0 or more")
        if self.origin not in ("text", "document", "pooled"):
            raise RecipeError(f"mixture.origin = {self.origin!r} is none of: text, document, pooled")
        if self.compression not in COMPRESSIONS:
            raise RecipeError(f"mixture.compression = {self.compression!r} is none of: {', '.join(COMPRESSIONS)}")
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
class Mixture:
    """Who is in, how often, and what the constraints came to.  Arrays are [docs].

    copies: times the document is in, 0 for out.  expected: the same in expectation; `base` x `cap` x `margins`, at most
    `max_repeats`.  base: what one would take if nothing bound.  cap: what caps and allowances make of that.  margins: what boxes,
    floors, snapshot and budget make of it.  guarded: drawn because its group had been left without a document.
    """

    copies: I64
    expected: F64
    base: F64
    cap: F64
    margins: F64
    guarded: Bools
    constraints: list[dict[str, Any]]
    boxes: list[dict[str, Any]]
    frontier: list[dict[str, Any]]
    notes: tuple[str, ...]

    @property
    def included(self) -> Bools:
        """Documents with at least one copy."""
        return self.copies > 0


@dataclass(frozen=True)
class _Plan:
    """A solution, and the rows it is one of."""

    rows: Rows
    boxes: tuple[Box, ...]
    base: F64  # [cells]
    most: F64
    solution: Solution
    ask: _Ask

    @property
    def holds(self) -> bool:
        """True when every row holds that must; boxes with a limit to their price need not."""
        must = np.isinf(np.array(self.rows.dearest, np.float64))
        return bool((self.solution.violation[must] <= HOLDS).all())

    @property
    def words(self) -> float:
        return float((self.solution.weight * self.rows.cells.words).sum())

    @property
    def synthetic(self) -> float:
        """The expected share of unverified synthetic words, of however few words there are."""
        mass = self.solution.weight * self.rows.cells.words
        return _share(float((mass * unverified(self.rows.cells)).sum()), float(mass.sum()))


def sample(params: MixtureParams, facts: Facts) -> Mixture:
    """Draw the mixture from the documents at hand.

    Raises `RecipeError` with the frontier where a budget cannot be met.
    """
    cells = Cells.cut(facts, params.bins)
    plan = _planned(params, facts, cells)
    expected = plan.solution.weight[cells.of]
    copies, guarded = _drawn(params, facts, cells, expected)
    cap = _cap_factor(params, plan)
    base = plan.base[cells.of]
    # cells at the repeat cap were cut off there: what margins ask is what is left of the product
    margins = np.divide(expected, base * cap[cells.of], out=np.ones(len(base)), where=base * cap[cells.of] > 0)
    boxes = _box_rows(facts, plan, copies)
    return Mixture(
        copies=copies,
        expected=expected,
        base=base,
        cap=cap[cells.of],
        margins=margins,
        guarded=guarded,
        constraints=_constraints(params, facts, plan, copies),
        boxes=boxes,
        frontier=frontier(cells, plan.most),
        notes=_notes(params, facts, plan, boxes),
    )


def unverified(cells: Cells) -> F64:
    """P(synthetic) of what counts towards the cap: neither vouched for nor verified.  # [cells]"""
    return np.where(cells.snapshot | cells.verified, 0.0, cells.q)


def preference(params: MixtureParams, cells: Cells) -> F64:
    """What one would take of each cell, before anything binds: (1 - P(synthetic)) x quality x copies^-1/2.  # [cells]

    Under no cap P(synthetic) says nothing of what is wanted.
    """
    power = params.prefer_human if params.max_synthetic < 1 else 0.0
    human = (1 - unverified(cells)) ** power
    return np.asarray(human * (0.5 + cells.quality / 2) ** params.prefer_quality * cells.copies**-params.prefer_unique)


def _planned(params: MixtureParams, facts: Facts, cells: Cells) -> _Plan:
    if params.budget_words:
        return _of_budget(params, facts, cells)
    return _of_all(params, facts, cells)


def _of_all(params: MixtureParams, facts: Facts, cells: Cells) -> _Plan:
    """As many words as caps, snapshot and boxes allow; boxes give way before a fifth of the words does."""
    most = np.where(cells.snapshot, float(params.max_repeats), 1.0)
    q, cap = unverified(cells), min(params.max_synthetic, 1.0)
    wanted = np.minimum(1.0, (1 - q) / (1 - cap)) if cap < 1 else np.ones(len(q))
    base = _filled(preference(params, cells), cells.words, np.ones(len(q)), float((wanted * cells.words).sum()))
    free = _solved(params, facts, cells, base, most, _Ask(margins=False, floors=False))
    if free.synthetic > cap + HOLDS:  # nothing is human enough: rather no mixture than one over the cap
        return dataclasses.replace(free, solution=dataclasses.replace(free.solution, weight=np.zeros(len(base))))
    for width, dearest in _GIVING_WAY:
        plan = _solved(params, facts, cells, base, most, _Ask(width, dearest, reach=free.words))
        if plan.holds and plan.words >= SHRINK * free.words:
            return plan
    plan = _solved(params, facts, cells, base, most, _Ask(margins=False, reach=free.words))
    return plan if plan.holds else free  # no floor outweighs the cap


def _of_budget(params: MixtureParams, facts: Facts, cells: Cells) -> _Plan:
    """These words exactly, or down to four fifths of them; then boxes give way; else an error."""
    most = np.full(len(cells.q), float(params.max_repeats))
    liked = preference(params, cells)
    supply = float(cells.words[liked > 0].sum())
    for part, (width, dearest) in (
        (1.0, _GIVING_WAY[0]),
        (0.9, _GIVING_WAY[0]),
        *((SHRINK, way) for way in _GIVING_WAY),
    ):
        budget = part * params.budget_words
        ceiling = np.full(len(liked), 1.0 if budget <= supply else float(params.max_repeats))
        base = _filled(liked, cells.words, ceiling, budget)
        plan = _solved(params, facts, cells, base, most, _Ask(width, dearest, budget, budget))
        if plan.holds:
            return plan
    reach = ", ".join(f"{row['cap']:.0%}: {row['words']:,.0f}" for row in frontier(cells, most) if row["cap"] >= 0.05)
    raise RecipeError(
        f"no mixture of mixture.budget_words = {params.budget_words:,}, nor of {SHRINK:.0%} of it, holds at most "
        f"{params.max_synthetic:.0%} synthetic text and keeps its margins; the most words by cap are {reach}; set mixture.budget_words or "
        "mixture.max_synthetic accordingly with `curator redecide OUT -o NEW --set …`, or vouch for human text with --reference or --calibration"
    )


def _filled(liked: F64, words: F64, ceiling: F64, total: float) -> F64:
    """min(ceiling, s x liked) with the s that gives this many words; all there is of what is liked where that is too little."""
    full = np.where(liked > 0, ceiling, 0.0)
    if float((full * words).sum()) <= total:
        return full
    turn = np.divide(ceiling, liked, out=np.full(len(liked), np.inf), where=liked > 0)  # s at which a cell is full
    order = np.argsort(turn, kind="stable")
    done = np.concatenate([[0.0], np.cumsum((full * words)[order])[:-1]])
    rest = np.cumsum((liked * words)[order][::-1])[::-1]
    scale = np.divide(total - done, rest, out=np.full(len(rest), np.inf), where=rest > 0)
    at = int(np.argmax(scale <= turn[order]))
    return np.minimum(full, float(scale[at]) * liked)


@dataclass(frozen=True)
class _Ask:
    """What one attempt asks for.

    width: of the boxes, times tolerance.  dearest: price beyond which a box is rather missed.  budget: words; 0 for as
    many as the rest allows.  reach: words the mixture will have, about.  floors, margins: whether these are asked for.
    """

    width: float = 1.0
    dearest: float = np.inf
    budget: float = 0.0
    reach: float = 0.0
    floors: bool = True
    margins: bool = True


def _solved(params: MixtureParams, facts: Facts, cells: Cells, base: F64, most: F64, ask: _Ask) -> _Plan:
    rows, boxes = Rows(cells), []
    if params.max_synthetic < 1:
        rows.over("max_synthetic", unverified(cells), params.max_synthetic)
    if cells.verified.any():
        rows.over("max_verified", cells.verified.astype(float), params.max_verified)
    if ask.reach and cells.snapshot.any():
        rows.under("snapshot", cells.snapshot.astype(float), _snapshot_share(params, cells, ask.reach))
    human = likely_human(cells) * cells.words
    part = min(1.0, ask.budget / max(float(human.sum()), 1.0)) if ask.budget else 1.0
    for column, margin in enumerate(facts.margins):
        boxes.append(_box(margin, cells.groups[:, column], human * most, params.tolerance, ask))
        rows.boxes(margin, column, boxes[-1], ask.dearest)
        if ask.floors and margin.dimension in GUARDED:
            rows.floors(margin, column, params.floor * part)
    if ask.budget:
        rows.total(ask.budget)
    return _Plan(rows, tuple(boxes), base, most, solve(rows.problem(base, most)), ask)


def _box(margin: Margin, group: I64, human: F64, tolerance: float, ask: _Ask) -> Box:
    """The box of a margin; one that holds nothing where none is asked.  human: [cells] likely human words, repeats counted."""
    groups = len(margin.names)
    if not ask.margins or tolerance >= 1 or not ask.reach:
        return Box(np.zeros(groups), np.ones(groups))
    supply = np.bincount(group[group >= 0], human[group >= 0], groups) / ask.reach
    return box(margin, min(1.0, tolerance * ask.width), supply)


def _snapshot_share(params: MixtureParams, cells: Cells, reach: float) -> float:
    """The share asked for, or what the snapshot can come to at most beside four fifths of the rest."""
    most = params.max_repeats * float(cells.words[cells.snapshot].sum())
    others = SHRINK * max(reach - float(cells.words[cells.snapshot].sum()), 0.0)
    possible = (
        most / max(params.budget_words, most + others, 1.0) if params.budget_words else most / max(most + others, 1.0)
    )
    return min(params.snapshot, possible)


def _drawn(params: MixtureParams, facts: Facts, cells: Cells, expected: F64) -> tuple[I64, Bools]:
    """Whole copies and a hashed remainder; then one document for every group that came out empty.  # [docs]"""
    dice = unit_hash(facts.ids, params.seed, "mixture")
    whole = np.floor(expected)
    copies = (whole + (dice < expected - whole)).astype(np.int64)
    guarded = np.zeros(len(copies), np.bool_)
    for margin in facts.margins:
        if margin.dimension in GUARDED:
            guarded |= _saved(margin.codes, len(margin.names), facts.human, copies + guarded, expected, dice)
    return copies + guarded, guarded


def _saved(group: I64, groups: int, human: F64, copies: I64, expected: F64, dice: F64) -> Bools:
    """One likely human document of every group with `ALIVE` of them and none drawn: the one that was nearest to its draw."""
    likely = (group >= 0) & (human > 1 - LIKELY_HUMAN) & (expected > 0)
    alive = np.bincount(group[likely], human[likely], groups) >= ALIVE
    empty = alive & (np.bincount(group[group >= 0], copies[group >= 0], groups) == 0)
    rows = np.flatnonzero(likely)
    rows = rows[empty[group[rows]]]
    order = rows[np.lexsort((dice[rows] / expected[rows], group[rows]))]
    _, first = np.unique(group[order], return_index=True)
    saved = np.zeros(len(group), np.bool_)
    saved[order[first]] = True
    return saved


def _cap_factor(params: MixtureParams, plan: _Plan) -> F64:
    """What caps and allowances make of each cell's weight.  # [cells]"""
    cells, factor = plan.rows.cells, np.zeros(len(plan.base))
    for name, values in (("max_synthetic", unverified(cells)), ("max_verified", cells.verified.astype(float))):
        for (label, _, _), price, share in zip(plan.rows.label, plan.solution.price, plan.rows.share, strict=True):
            if label == name:
                factor -= price * (values - share)
    return np.exp(np.clip(factor, -700, 700))


def frontier(cells: Cells, most: F64) -> list[dict[str, Any]]:
    """The most words under each cap, whatever the margins: the cleanest cells first, and of the next as much as the cap bears."""
    order = np.lexsort((np.arange(len(cells.q)), unverified(cells)))
    words, q = (most * cells.words)[order], unverified(cells)[order]
    total, machine = np.cumsum(words), np.cumsum(words * q)
    found = []
    for cap in CAPS:
        over = np.flatnonzero(machine > cap * total * (1 + 1e-12))
        reached = float(total[-1]) if len(total) else 0.0
        if len(over):
            at = int(over[0])
            before = (float(total[at - 1]), float(machine[at - 1])) if at else (0.0, 0.0)
            reached = before[0] + max(0.0, cap * before[0] - before[1]) / max(float(q[at]) - cap, 1e-12)
        found.append({"cap": cap, "words": reached})
    return found


def _constraints(params: MixtureParams, facts: Facts, plan: _Plan, copies: I64) -> list[dict[str, Any]]:
    """Caps, snapshot and budget: what was asked, what the weights give and what the draw gave."""
    cells, prices = plan.rows.cells, _prices(plan)
    q, verified = unverified(cells), cells.verified.astype(float)
    asked = [("max_synthetic", params.max_synthetic, q, 1.0)]
    if cells.verified.any():
        asked.append(("max_verified", params.max_verified, verified, 1.0))
    if cells.snapshot.any():
        asked.append(("snapshot", params.snapshot, cells.snapshot.astype(float), -1.0))
    rows = [_share_row(*one, prices.get(one[0], 0.0), facts, plan, copies) for one in asked]
    words = np.maximum(facts.words, 1)
    if params.budget_words:
        missed = params.budget_words - plan.words
        rest = plan.solution.weight % 1
        error = float(np.sqrt((words**2.0 * (rest * (1 - rest))[cells.of]).sum()))
        rows.append(
            {
                "name": "budget_words",
                "target": float(params.budget_words),
                "expected": plan.words,
                "realised": float((copies * words).sum()),
                "standard_error": error,
                "slack": -abs(missed),
                "price": prices.get("budget_words", 0.0),
                "met": abs(missed) <= 1e-6 * params.budget_words,
            }
        )
    return rows


def _share_row(
    name: str, target: float, values: F64, sign: float, price: float, facts: Facts, plan: _Plan, copies: I64
) -> dict[str, Any]:
    cells, words = plan.rows.cells, np.maximum(facts.words, 1)
    mass = plan.solution.weight * cells.words
    expected = _share(float((mass * values).sum()), float(mass.sum()))
    held, of = (copies * words).astype(float), values[cells.of]
    rest = (plan.solution.weight % 1)[cells.of]
    # one document more or less moves the ratio by its words times how far it is off the share (linearised)
    error = np.sqrt((words**2.0 * (of - expected) ** 2 * rest * (1 - rest)).sum()) / max(float(mass.sum()), 1.0)
    slack = sign * (target - expected)
    return {
        "name": name,
        "target": float(target),
        "expected": expected,
        "realised": _share(float((held * of).sum()), float(held.sum())),
        "standard_error": float(error),
        "slack": slack,
        "price": price,
        "met": slack >= -HOLDS,
    }


def _prices(plan: _Plan) -> dict[str, float]:
    return {
        label: float(price)
        for (label, group, _), price in zip(plan.rows.label, plan.solution.price, strict=True)
        if group < 0
    }


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def _box_rows(facts: Facts, plan: _Plan, copies: I64) -> list[dict[str, Any]]:
    """Every group of every margin: its box, what it held and what it gave."""
    cells, words = plan.rows.cells, np.maximum(facts.words, 1)
    price: dict[tuple[str, int], float] = {}
    for (name, group, side), one in zip(plan.rows.label, plan.solution.price, strict=True):
        price[name, group] = price.get((name, group), 0.0) + (float(one) if side == "high" else -float(one))
    rows: list[dict[str, Any]] = []
    for column, (margin, asked) in enumerate(zip(facts.margins, plan.boxes, strict=True)):
        counts = {
            "kept": _by(margin.codes, margin.names, np.ones(len(words))),
            "human": _by(margin.codes, margin.names, facts.human),
            "drawn": _by(margin.codes, margin.names, (copies > 0).astype(float)),
            "human_drawn": _by(margin.codes, margin.names, facts.human * (copies > 0)),
        }
        shares = {
            "share_kept": _parts(_by(margin.codes, margin.names, words), float(words.sum())),
            "share_drawn": _parts(_by(margin.codes, margin.names, words * copies), float((words * copies).sum())),
            "share_expected": _parts(
                _by(cells.groups[:, column], margin.names, plan.solution.weight * cells.words), plan.words
            ),
        }
        for group in np.flatnonzero(counts["kept"] > 0).tolist():
            expected, low, high = (float(a[group]) for a in (shares["share_expected"], asked.low, asked.high))
            known = not np.isnan(margin.reference[group])
            boxed = known and (low > 0 or high < 1)
            rows.append(
                {
                    "dimension": margin.dimension,
                    "stratum": margin.names[group],
                    "reference": float(margin.reference[group]) if known else None,
                    "low": low if boxed else None,
                    "high": high if boxed else None,
                    **{name: float(values[group]) for name, values in shares.items()},
                    "price": price.get((margin.dimension, group), 0.0),
                    "met": low - HOLDS <= expected <= high + HOLDS,
                    "kept": int(counts["kept"][group]),
                    "human": float(counts["human"][group]),
                    "drawn": int(counts["drawn"][group]),
                    "retention": float(counts["drawn"][group] / counts["kept"][group]),
                    "human_retention": _share(float(counts["human_drawn"][group]), float(counts["human"][group])),
                    "basis": margin.basis,
                }
            )
    return rows


def _by(group: I64, names: Sequence[str], values: F64 | I64) -> F64:
    some = group >= 0
    return np.bincount(group[some], values[some], len(names)).astype(np.float64)


def _parts(values: F64, total: float) -> F64:
    return values / total if total else values


def _notes(params: MixtureParams, facts: Facts, plan: _Plan, boxes: list[dict[str, Any]]) -> tuple[str, ...]:
    """What had to give way, in words."""
    said = []
    if len(facts.q) and not plan.words:
        least = float(unverified(plan.rows.cells).min())
        return (
            f"no mixture holds at most {params.max_synthetic:.0%} synthetic text: even the documents likeliest human count as "
            f"{least:.0%}; vouch for human text with --reference or --calibration, or allow more with --set mixture.max_synthetic=…",
        )
    if plan.ask.budget < params.budget_words:
        said.append(
            f"the budget of {params.budget_words:,} words was cut to {plan.ask.budget:,.0f}: more cannot hold cap and margins"
        )
    floors = {side for _, _, side in plan.rows.label} & {"floor"}
    if params.floor and not floors and plan.words and any(m.dimension in GUARDED for m in facts.margins):
        said.append("mixture.floor was not held: with it the cap on synthetic text would not")
    missed = sum(not row["met"] for row in boxes)
    if not plan.ask.margins and params.tolerance < 1 and plan.words:
        said.append("no margin was held to its reference: any box would have cost more than a fifth of the mixture")
    elif missed:
        said.append(
            f"{missed:,} margin(s) lie outside their boxes: holding them would have cost more than a fifth of the mixture; "
            '`curator sql OUT "select * from strata where not met order by abs(share_expected - reference) desc"` names them'
        )
    elif plan.ask.width > 1:
        said.append(
            f"margins were given boxes {plan.ask.width:g} times as wide as mixture.tolerance says: narrower ones cost too much"
        )
    return tuple(said)
