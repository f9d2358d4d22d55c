"""Weights of cells that hold a mixture's constraints and move least from where they began (raking, a KL projection).

Minimise `sum(mass * (w log(w / base) - w + base))` under linear rows and `0 <= w <= most`.  Give each row a price: the
weights follow in closed form, `w = min(most, base * exp(-theta))`, where theta is what its rows charge a cell, and the
best prices maximise a concave function with as many unknowns as there are rows, however many cells there are (raking
as calibration with bounded weights: Deville and Sarndal 1992, their case 2; the dual of a minimum of cross-entropy:
Csiszar 1975).

The dual is climbed by L-BFGS-B (Byrd, Lu, Nocedal and Zhu 1995), each row in the unit of its own curvature, and then by
projected Newton steps (Bertsekas 1982) until only rounding is left: a cap that should hold exactly does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

HOLDS: Final = 1e-9  # parts of the total mass by which a row may miss and still be said to hold
MOST_PRICE: Final = 60.0  # what a row may charge a cell: e^-60 of a weight is nothing, and more brings no row about
MOST_LOG: Final = 50.0  # logarithm of the largest weight where none is given, so that no exponential overflows
CLIMBS, NEWTON, INNER, BOUNDS = 500, 40, 200, 8  # steps at most: of L-BFGS-B, of Newton, and within one of these
DAMPING: Final = (1e-10, 1e-6, 1e-3, 0.1, 1.0, 10.0, 100.0)  # parts of a row's curvature added, in the order tried
EXACT: Final = 1e-13  # parts of the total mass: what is left is rounding
ROUGH: Final = 1e-6  # the same where no weights can hold the rows


@dataclass(frozen=True)
class Problem:
    """Cells, and rows that read `sign * (G[which] @ y - share * sum(y)) <= limit`, or `=`, where `y = mass * weight`.

    base: [cells] copies of a document when nothing binds, at least 0; a cell with 0 gets 0.
    mass: [cells] words of a cell, all its documents once.  most: [cells] largest weight.
    functionals: [functionals, cells] G.  which: [rows] the row of G.  sign, share, equality: [rows].
    limit: [rows] in words, as mass.
    dearest: [rows] largest price of a row, which it then misses rather than charge more; None for MOST_PRICE.
    """

    base: F64
    mass: F64
    most: F64
    functionals: csr_matrix
    which: I64
    sign: F64
    share: F64
    limit: F64
    equality: Bools
    dearest: F64 | None = None


@dataclass(frozen=True)
class Solution:
    """Weights and what the rows cost.

    weight: [cells] copies of a document.  price: [rows] what one word of a row costs, in logarithms of a weight: at
    least 0 for inequalities, of either sign for equalities, 0 where a row does not bind.
    violation: [rows] how far a row is from holding, in parts of the total mass; at most 0 where an inequality holds,
    the distance for an equality.  feasible: every row holds within HOLDS.  steps: evaluations of all cells.
    """

    weight: F64
    price: F64
    violation: F64
    feasible: bool
    steps: int


def solve(problem: Problem) -> Solution:
    """The weights nearest to base under which every row holds; where none are, those that miss by least at MOST_PRICE.

    A row without a cell that could carry weight is charged nothing, since no weights help it; it can still be violated.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):  # the order of a sum may not depend on how many threads share it
        dual = _Dual(problem)
        price = dual.finish(dual.climb()) if dual.rows.any() else np.zeros(len(dual.rows))
    return dual.solution(price)


@dataclass(frozen=True)
class _Point:
    """The dual at some prices: its value, its slope by row, and the words and free words (not at most) of live cells."""

    price: F64
    value: float
    slope: F64
    words: F64
    free: F64


class _Dual:
    """The concave function of the prices, on the cells that can carry weight and in parts of the total mass."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.total = float(problem.mass.sum()) or 1.0
        live = (problem.base > 0) & (problem.mass > 0) & (problem.most > 0)
        columns = problem.functionals.tocsc().astype(
            np.float64
        )  # cell by cell: what is gathered and added to stays small
        self.columns = columns if live.all() else columns[:, live]  # [functionals, live cells]
        self.mass = problem.mass[live] / self.total
        self.log_base = np.log(problem.base[live])
        self.most_value = float((self.mass * problem.base[live]).sum())
        self.log_most = np.minimum(np.log(problem.most[live]), MOST_LOG)
        self.limit = problem.limit / self.total
        largest = self._largest()
        self.rows: Bools = largest[problem.which] > 0  # the others have no cell
        scale = np.maximum(largest[problem.which], np.abs(problem.share))
        dearest = MOST_PRICE if problem.dearest is None else np.minimum(problem.dearest, MOST_PRICE)
        self.high = np.where(self.rows, dearest / np.where(scale > 0, scale, 1.0), 0.0)
        self.low = np.where(problem.equality, -self.high, 0.0)
        self.hard: Bools = self.rows & (np.asarray(dearest) >= MOST_PRICE)
        self.steps = 0
        self.unit = self.curvature(self.at(np.zeros(len(self.rows))).words)

    def _largest(self) -> F64:
        """Size of the largest entry of each functional on live cells.  # [functionals]"""
        largest = np.zeros(self.columns.shape[0])
        np.maximum.at(largest, self.columns.indices, np.abs(self.columns.data))
        return largest

    def charges(self, price: F64) -> tuple[F64, float]:
        """What a unit of each functional is charged, and what every cell is given back for the shares."""
        signed = price * self.problem.sign
        by_functional: F64 = np.zeros(self.columns.shape[0])
        np.add.at(by_functional, self.problem.which, signed)
        return by_functional, float((signed * self.problem.share).sum())

    def by_row(self, words: F64) -> F64:
        """Left-hand side of each row.  # [rows]"""
        p = self.problem
        lhs: F64 = p.sign * ((self.columns @ words)[p.which] - p.share * words.sum())
        return lhs

    def at(self, price: F64) -> _Point:
        """Evaluate: the slope is by how much the rows are missed by the weights these prices lead to."""
        self.steps += 1
        charged, back = self.charges(price)
        free = self.columns.T @ -charged  # changed in place from here on: fresh memory costs more than the sums
        free += self.log_base
        free += back
        over = free - self.log_most
        np.minimum(free, self.log_most, out=free)
        words = np.exp(free, out=free)
        words *= self.mass
        unbound = np.where(over > 0, 0.0, words)
        np.maximum(over, 0.0, out=over)
        over += 1.0
        over *= words
        value = self.most_value - float(over.sum()) - float((price * self.limit).sum())
        slope = np.where(self.rows, self.by_row(words) - self.limit, 0.0)
        return _Point(price, value, slope, words, unbound)

    def curvature(self, words: F64) -> F64:
        """Diagonal of the dual's Hessian, made positive, if these words could change.  # [rows]"""
        p = self.problem
        squares = self.columns.power(2)
        first, second = (self.columns @ words)[p.which], (squares @ words)[p.which]
        diagonal = second - 2 * p.share * first + p.share**2 * words.sum()
        return np.asarray(np.maximum(diagonal, 1e-12 * float(diagonal.max(initial=0.0))) + 1e-300, np.float64)

    def climb(self) -> F64:
        """Prices near the best, by L-BFGS-B.  # [rows]"""
        from scipy.optimize import minimize

        unit = 1 / np.sqrt(self.unit)

        def below(scaled: F64) -> tuple[float, F64]:
            point = self.at(scaled * unit)
            return -point.value, -point.slope * unit

        low, high = self.low / unit, self.high / unit
        options = {"maxiter": CLIMBS, "maxfun": 2 * CLIMBS, "maxcor": 20, "ftol": 1e-14, "gtol": 1e-12}
        found = minimize(
            below,
            np.zeros(len(unit)),
            jac=True,
            method="L-BFGS-B",
            bounds=np.stack([low, high], axis=1),
            options=options,
        )
        inside = np.clip(found.x * unit, self.low, self.high)
        # a price a rounding short of its bound would be taken for one that can still move
        return np.where(found.x >= high, self.high, np.where(found.x <= low, self.low, inside))

    def finish(self, price: F64) -> F64:
        """Prices at which only rounding is left, from prices near them.  # [rows]"""
        point = self.at(price)
        for _ in range(NEWTON):
            if self.missed(point) <= (ROUGH if self.lost(point) else EXACT):
                break
            if (better := self._improved(point)) is None:
                break
            point = better
        return point.price

    def lost(self, point: _Point) -> bool:
        """Whether a row is missed at the most that any row may cost: infeasible, so exactness would be for nothing."""
        above = (point.price >= self.high) & (point.slope > HOLDS)
        below = (point.price <= self.low) & (point.slope < -HOLDS) & self.problem.equality
        return bool((self.hard & (above | below)).any())

    def missed(self, point: _Point) -> float:
        """How far a point is from the best: rows violated, or priced though they do not bind."""
        moved = np.clip(point.price + point.slope / self.unit, self.low, self.high) - point.price
        return float(np.abs(moved * self.unit).max(initial=0.0))

    def _improved(self, point: _Point) -> _Point | None:
        """The next point, by the longest step that makes things better; none if rounding leaves no better one."""
        now, hardly = self.missed(point), 1e-13 * (1 + abs(point.value))
        for damping in DAMPING:
            new = self.at(np.clip(point.price + self._direction(point, damping), self.low, self.high))
            gain = new.value - point.value
            if gain > hardly or (gain > -hardly and self.missed(new) < 0.9 * now):
                return new
        return None

    def _direction(self, point: _Point, damping: float) -> F64:
        """Newton's step among the prices free to move; those it would drive past a bound go to that bound.  # [rows]"""
        down, up = point.price <= self.low, point.price >= self.high
        moving = self.rows & ~(down & (point.slope <= 0)) & ~(up & (point.slope >= 0))
        damper = damping * self.curvature(point.words)
        unit = self.curvature(point.free) + damper
        bend = self._hessian(point.free, damper)
        step = np.zeros_like(point.price)
        for _ in range(BOUNDS):
            rest = np.where(moving, point.slope - bend(step), 0.0)
            step = step + _conjugate(lambda x: np.where(moving, bend(x), 0.0), rest, unit)  # noqa: B023
            past = moving & ((point.price + step < self.low) | (point.price + step > self.high))
            if not past.any():
                break
            step = np.clip(point.price + step, self.low, self.high) - point.price
            moving = moving & ~past
        return step

    def _hessian(self, free: F64, damper: F64) -> Callable[[F64], F64]:
        """The dual's curvature, sign turned, as a function of a direction."""

        def times(direction: F64) -> F64:
            self.steps += 1
            charged, back = self.charges(direction)
            return self.by_row(free * (self.columns.T @ charged - back)) + damper * direction

        return times

    def solution(self, price: F64) -> Solution:
        """What the prices come to, on all cells."""
        p = self.problem
        charged, back = self.charges(price)
        with np.errstate(divide="ignore"):
            most = np.minimum(np.log(p.most), MOST_LOG)
            free = np.log(p.base) - (p.functionals.T @ charged - back)
        weight = np.minimum(np.exp(np.minimum(free, most)), p.most)
        words = p.mass * weight
        missed = p.sign * ((p.functionals @ words)[p.which] - p.share * words.sum()) - p.limit
        violation = np.where(p.equality, np.abs(missed), missed) / self.total
        return Solution(weight, price, violation, bool((violation <= HOLDS).all()), self.steps)


def _conjugate(matrix: Callable[[F64], F64], target: F64, diagonal: F64) -> F64:
    """Solve `matrix(x) = target`, positive semidefinite, by conjugate gradients with that diagonal as preconditioner."""
    answer, rest = np.zeros_like(target), target.copy()
    along = rest / diagonal
    size = first = float((rest * along).sum())
    for _ in range(INNER):
        if size <= 1e-10 * first:
            break
        image = matrix(along)
        bend = float((along * image).sum())
        if bend <= 0:
            break
        answer += size / bend * along
        rest -= size / bend * image
        scaled = rest / diagonal
        size, before = float((rest * scaled).sum()), size
        along = scaled + size / before * along
    return answer
