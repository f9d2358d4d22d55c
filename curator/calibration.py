"""What a score of machine origin means here: against human text that is trusted, stratum by stratum.

A detector's threshold does not travel: 1 % of false positives on known domains was 0 to 30 % on domains that it never
saw. Each stratum (language, source, length, host) is therefore judged against its own trusted human texts, a small one
with the help of the next coarser, and where there is none against the anchors that ship.

Two answers, both monotone in the score within a stratum. `human_p`: a conformal p-value, so that of the human texts of a
stratum at most α (and one text in n + 1) lie at or under α, whatever the distribution. `prob`: P(synthetic) at prior 0.5.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

_Answer = Callable[["Cell", I64], F64]

LEAST: Final = 20  # trusted texts that make a stratum one of its own where nothing but text of other kinds is coarser
PRIOR: Final = 20.0  # texts that the coarser stratum counts for in a finer one
POINTS: Final = 200  # scores that stand for a stratum in the next finer ones
TAIL: Final = 0.85  # quantile above which the tail is taken to be exponential
MATCHED: Final = 0.8  # quantile at which a coarser stratum is laid upon a finer one
# Part of the human side's shift that is believed: machine text of a new kind moves as well, unseen. Expected calibration
# error on left-out domains of the training sets, pooled and mean of domains: 0.058 and 0.099 for 0, 0.052 and 0.088 for
# 0.35, 0.082 and 0.097 for 0.75; on known domains 0.029 and 0.065, 0.018 and 0.053, 0.016 and 0.044.
BELIEVED: Final = 0.35
STEEPEST: Final = 2.5  # of the log density ratio: of what is believed, so that probability still rises with the score
RIDGE: Final = 5.0  # on the ratio's slope per standard deviation
LENGTHS: Final = (120, 300)  # words at which a length bin ends: short texts are harder to tell


@dataclass(frozen=True)
class Cell:
    """The human reference of one stratum: its own trusted scores, a smooth tail, and the odds they shift."""

    scores: F64  # ascending
    above: F64  # [len(scores) + 1] weight of the scores from here on; the first is `n`
    points: F64  # [POINTS] ascending: the stratum with its parent blended in
    tail_from: float  # score above which the tail is exponential
    tail_share: float  # part of the points above it
    tail_scale: float
    constant: float  # log density ratio of this stratum's human text to the root's: constant + slope * score
    slope: float
    tier: int  # least trust among the texts counted

    @property
    def n(self) -> float:
        """How many texts the stratum rests on (Kish's effective number where they are weighted)."""
        return float(self.above[0])

    def human_p(self, score: F64, own: Bools) -> F64:
        """Chance that a trusted human text looks at least this machine-like.  # [n]

        own: the document is itself among the trusted texts counted, and is left out.  With k of n others at or above
        the score the smooth tail decides between k / (n + 1) and (k + 1) / (n + 1), the conformal bracket (Vovk et al.
        2005, section 2.2): the level holds under exchangeability whatever the tail, to 1 / (n + 1).
        """
        n = np.maximum(self.n - own, 0.0)
        k = np.clip(self.above[np.searchsorted(self.scores, score, side="left")] - own, 0.0, n)
        return np.asarray(np.clip(self._tail(score), k / (n + 1), (k + 1) / (n + 1)))

    def logit(self, score: F64) -> F64:
        """Log-odds of machine origin at prior 0.5, the human side's density re-estimated here.  # [n]"""
        return score - BELIEVED * (self.constant + self.slope * score)

    def threshold(self, level: float) -> float:
        """The lowest score whose p-value is at most `level`; infinite where no score is far enough."""
        low, high = float(self.points[0]) - 1.0, max(float(self.points[-1]), float(self.scores[-1])) + 1.0
        while self._p(np.array([high]))[0] > level:
            if high > 1e6:
                return float("inf")
            high = 2 * abs(high) + 1
        for _ in range(10):  # a hundredth at a time: to the last bit of a float64
            grid = np.linspace(low, high, 101)
            first = max(int(np.argmax(self._p(grid) <= level)), 1)
            low, high = float(grid[first - 1]), float(grid[first])
        return high

    def _p(self, score: F64) -> F64:
        return self.human_p(score, np.zeros(len(score), np.bool_))

    def expected(self, threshold: float) -> float:
        """Part of the stratum's human text expected at or above a threshold, at most: the conformal bracket's upper end."""
        if np.isinf(threshold):
            return 0.0
        k = float(self.above[np.searchsorted(self.scores, threshold, side="left")])
        return (k + 1) / (self.n + 1)

    def _tail(self, score: F64) -> F64:
        empirical = 1 - np.searchsorted(self.points, score, side="left") / POINTS
        beyond = self.tail_share * np.exp(-np.maximum(score - self.tail_from, 0.0) / self.tail_scale)
        return np.asarray(np.where(score > self.tail_from, beyond, empirical))


def root(scores: F64, weights: F64) -> Cell:
    """The reference that ships: human anchors, weighted so that every domain counts alike."""
    order = np.argsort(scores, kind="stable")
    scores, weights = scores[order], weights[order] / weights.sum()
    effective = 1.0 / float((weights**2).sum())
    return _cell(scores, weights * effective, _points(scores, weights), None, 0)


def child(parent: Cell, top: Cell, scores: F64, tier: int) -> Cell:
    """The reference of a stratum inside another's: own trusted scores, and the parent's laid upon them as `PRIOR` texts.

    scores: ascending, at least one.
    """
    n = len(scores)
    shift = (np.quantile(scores, MATCHED) - np.quantile(parent.points, MATCHED)) * n / (n + PRIOR)
    values = np.concatenate([scores, parent.points + shift])
    weights = np.concatenate([np.ones(n), np.full(POINTS, PRIOR / POINTS)])
    order = np.argsort(values, kind="stable")
    return _cell(scores, np.ones(n), _points(values[order], weights[order]), top, tier)


def _cell(scores: F64, weights: F64, points: F64, top: Cell | None, tier: int) -> Cell:
    above = np.concatenate([np.cumsum(weights[::-1])[::-1], [0.0]])
    start = float(points[int(TAIL * POINTS)])
    far = points[points > start]
    scale = max(float((far - start).mean()) if far.size else 0.0, 1e-6)
    constant, slope = (0.0, 0.0) if top is None else _log_ratio(points, top.points, len(scores) + PRIOR)
    return Cell(scores, above, points, start, far.size / POINTS, scale, constant, slope, tier)


def _points(values: F64, weights: F64) -> F64:
    """Evenly weighted quantiles of ascending values.  # [POINTS]"""
    reached = np.cumsum(weights)
    wanted = (np.arange(POINTS) + 0.5) / POINTS * reached[-1]
    return np.asarray(values[np.minimum(np.searchsorted(reached, wanted), len(values) - 1)])


def _log_ratio(here: F64, there: F64, n: float) -> tuple[float, float]:
    """Constant and slope of log density here / there, a logistic line between two samples that weigh n each.

    Qin (1998, Biometrika 85:619): the line's constant and slope are those of the ratio where both sides weigh the same.
    """
    centre, spread = float(there.mean()), max(float(there.std()), 1e-6)
    z = (np.concatenate([here, there]) - centre) / spread
    x = np.column_stack([np.ones(len(z)), z])
    is_here = np.repeat([1.0, 0.0], POINTS)
    line, ridge = np.zeros(2), np.array([1e-6, RIDGE])
    for _ in range(50):
        p = _sigmoid(x @ line)
        pull = n / POINTS * (x.T @ (is_here - p)) - ridge * line
        bend = n / POINTS * (x.T * (p * (1 - p))) @ x + np.diag(ridge)
        step = np.clip(np.linalg.solve(bend, pull), -1.0, 1.0)
        line = line + step
        if np.abs(step).max() < 1e-10:
            break
    slope = float(np.clip(line[1] / spread, -STEEPEST, STEEPEST))
    return float(line[0]) - slope * centre, slope


@dataclass(frozen=True)
class Strata:
    """Every stratum with a reference of its own, and which of them judges each document."""

    cells: tuple[Cell, ...]  # the first is the root
    level: tuple[int, ...]  # of each cell, position in the chain; -1 for the root
    example: tuple[int, ...]  # of each cell, a document inside; 0 for the root
    place: I64  # [docs] position in `cells`
    own: Bools  # [docs] counted among the trusted texts of that cell

    def human_p(self, score: F64) -> F64:
        """Conformal p-values; nan where the score is.  # [docs]"""
        return self._each(score, lambda cell, rows: cell.human_p(score[rows], self.own[rows]))

    def logit(self, score: F64) -> F64:
        """Calibrated log-odds at prior 0.5; nan where the score is.  # [docs]"""
        return self._each(score, lambda cell, rows: cell.logit(score[rows]))

    def _each(self, score: F64, answer: _Answer) -> F64:
        made = np.full(len(score), np.nan)
        judged = np.flatnonzero(~np.isnan(score))
        for place, rows in _groups(self.place[judged]):
            made[judged[rows]] = answer(self.cells[place], judged[rows])
        return made


def strata(
    score: F64, trust: I64, chain: Sequence[I64], top: Cell, least: Sequence[int], vouch: Sequence[int] = ()
) -> Strata:
    """Give every document the finest stratum of its chain that holds enough trusted texts.

    score: [docs], nan where not judged.  trust: [docs] 0 for a document that is only judged, more for one known to be human;
    where texts of the highest trust suffice in a stratum, the others are not counted there.
    chain: codes [docs] of ever finer strata, each inside the one before; -1 where a document has none.
    least: how many trusted texts make a stratum one of its own, by position in the chain.
    vouch: trust from which a text speaks for a whole stratum, by position in the chain; 1 where none is given.
    """
    cells, levels, tiers, examples = [top], [-1], [0], [0]
    place = np.zeros(len(score), np.int64)
    known = np.flatnonzero((trust > 0) & ~np.isnan(score))
    for level, codes in enumerate(chain):
        inside = known[(codes[known] >= 0) & (trust[known] >= (vouch[level] if vouch else 1))]
        found = np.full(int(codes.max(initial=-1)) + 1, -1, np.int64)
        for code, rows in _groups(codes[inside]):
            rows = _best(inside[rows], trust, least[level])
            if len(rows) >= least[level]:
                found[code] = len(cells)
                tiers.append(int(trust[rows].min()))
                cells.append(child(cells[place[rows[0]]], top, np.sort(score[rows]), tiers[-1]))
                levels.append(level)
                examples.append(int(rows[0]))
        hit = np.flatnonzero(codes >= 0)
        hit = hit[found[codes[hit]] >= 0]
        place[hit] = found[codes[hit]]
    own = (trust > 0) & (trust >= np.array(tiers)[place]) & (place > 0)
    return Strata(tuple(cells), tuple(levels), tuple(examples), place, own)


def _best(rows: I64, trust: I64, least: int) -> I64:
    best = rows[trust[rows] == trust[rows].max()]
    return best if len(best) >= least else rows


def _groups(codes: I64) -> list[tuple[int, I64]]:
    """Rows of each code, codes ascending, rows in order."""
    order = np.argsort(codes, kind="stable")
    names, starts = np.unique(codes[order], return_index=True)
    return list(zip(names.tolist(), np.split(order, starts[1:]), strict=True)) if len(codes) else []


def nested(*keys: I64) -> list[I64]:
    """Codes of ever finer strata of columns of codes: by the first, by the first and second, …  # each [docs]

    A document whose own part is unknown (-1) has no stratum from there on.
    """
    made = [keys[0]]
    for key in keys[1:]:
        unknown = (key < 0) | (made[-1] < 0)
        _, codes = np.unique(made[-1] * (int(key.max(initial=0)) + 1) + np.maximum(key, 0), return_inverse=True)
        made.append(np.where(unknown, -1, codes.astype(np.int64)))
    return made


def length_bin(words: I64) -> I64:
    """Which length bin a text falls into.  # [docs]"""
    return np.searchsorted(np.array(LENGTHS), words, side="right").astype(np.int64)


def length_name(bin_: int) -> str:
    """A length bin in words: `<120`, `120-299`, `300+`."""
    if bin_ == 0:
        return f"<{LENGTHS[0]}"
    return f"{LENGTHS[-1]}+" if bin_ == len(LENGTHS) else f"{LENGTHS[bin_ - 1]}-{LENGTHS[bin_] - 1}"


def q_values(p: F64) -> F64:
    """Smallest false-discovery rate at which each document would be among those called synthetic; nan where p is.  # [docs]

    Benjamini and Hochberg (1995); conformal p-values of one reference depend on each other as it allows (Bates et al.
    2023, theorem 2).
    """
    made = np.full(len(p), np.nan)
    rows = np.flatnonzero(~np.isnan(p))
    order = rows[np.argsort(p[rows], kind="stable")]
    raw = p[order] * len(order) / np.arange(1, len(order) + 1)
    made[order] = np.minimum(np.minimum.accumulate(raw[::-1])[::-1], 1.0)
    return made


def moved(before: F64, now: F64) -> tuple[float, float]:
    """Whether scores of the same kind of text moved: effect size in standard deviations, and a p-value.

    The effect is the difference of means (positive: more machine-like now); the p-value is the two-sided
    Kolmogorov–Smirnov test's (first term of its series, which bounds it from above).
    """
    spread = float(np.sqrt((before.var() + now.var()) / 2))
    both = np.sort(np.concatenate([before, now]))
    a, b = (np.searchsorted(np.sort(x), both, side="right") / len(x) for x in (before, now))
    pairs = len(before) * len(now) / (len(before) + len(now))
    p = min(1.0, 2 * float(np.exp(-2 * pairs * np.abs(a - b).max() ** 2)))
    return float(now.mean() - before.mean()) / max(spread, 1e-9), p


def _sigmoid(x: F64) -> F64:
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(x, -700.0, 700.0))))
