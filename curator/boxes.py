"""What a mixture must hold, as rows of a raking problem: caps, kept shares, boxes on margins, floors, the budget."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from curator.cells import LIKELY_HUMAN, Cells, Margin
from curator.rake import Problem

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

ERRORS: Final = 3.0  # standard errors of the reference's own share that a box is wider by
LEAST: Final = (
    0.002  # a box is never narrower than this above the reference's share: a topic of five documents is one or none
)
REACH: Final = 0.9  # part of a group's likely human words that a lower bound may ask for


@dataclass(frozen=True)
class Box:
    """Bounds of a margin's shares.  Arrays are [groups]: 0 and 1 where nothing is asked."""

    low: F64
    high: F64


def box(margin: Margin, tolerance: float, supply: F64) -> Box:
    """The reference's share, give or take; never more than the group's likely human words can give.

    supply: [groups] the largest share of the mixture that the group's likely human words could make up.
    """
    share, slack = margin.reference, ERRORS * margin.error
    low = np.minimum(share * (1 - tolerance) - slack, REACH * supply)
    high = share * (1 + tolerance) + slack + LEAST
    silent = np.isnan(share)
    return Box(np.where(silent, 0.0, np.maximum(low, 0.0)), np.where(silent, 1.0, np.minimum(high, 1.0)))


@dataclass
class Rows:
    """Rows of a raking problem, gathered one kind after another; `kept` says which rows a name and group got."""

    cells: Cells
    values: list[F64] = field(default_factory=list)
    columns: list[I64] = field(default_factory=list)
    which: list[int] = field(default_factory=list)
    sign: list[float] = field(default_factory=list)
    share: list[float] = field(default_factory=list)
    limit: list[float] = field(default_factory=list)
    equality: list[bool] = field(default_factory=list)
    dearest: list[float] = field(default_factory=list)
    label: list[tuple[str, int, str]] = field(default_factory=list)  # dimension or setting, group, side

    def functional(self, values: F64, columns: I64) -> int:
        """Add a functional; returns its position."""
        self.values.append(values)
        self.columns.append(columns)
        return len(self.values) - 1

    def row(
        self,
        label: tuple[str, int, str],
        which: int,
        sign: float,
        share: float,
        limit: float,
        equality: bool = False,
        dearest: float = np.inf,
    ) -> None:
        """Ask that sign x (functional - share x total) is at most `limit` words, at a price of at most `dearest`."""
        self.which.append(which)
        self.sign.append(sign)
        self.share.append(share)
        self.limit.append(limit)
        self.equality.append(equality)
        self.dearest.append(dearest)
        self.label.append(label)

    def over(self, name: str, values: F64, share: float) -> None:
        """At most this share of the mixture's words."""
        some = np.flatnonzero(values)
        self.row((name, -1, "high"), self.functional(values[some], some), 1.0, share, 0.0)

    def under(self, name: str, values: F64, share: float) -> None:
        """At least this share of the mixture's words."""
        some = np.flatnonzero(values)
        self.row((name, -1, "low"), self.functional(values[some], some), -1.0, share, 0.0)

    def total(self, words: float) -> None:
        """Exactly these words."""
        every = np.arange(len(self.cells.words))
        self.row(("budget_words", -1, "both"), self.functional(np.ones(len(every)), every), 1.0, 0.0, words, True)

    def boxes(self, margin: Margin, column: int, asked: Box, dearest: float) -> None:
        """Hold every group of a margin inside its box, as far as `dearest` goes."""
        for group, rows in _members(self.cells.groups[:, column]):
            low, high = float(asked.low[group]), float(asked.high[group])
            if low <= 0 and high >= 1:
                continue
            which = self.functional(np.ones(len(rows)), rows)
            if high < 1:
                self.row((margin.dimension, group, "high"), which, 1.0, high, 0.0, dearest=dearest)
            if low > 0:
                self.row((margin.dimension, group, "low"), which, -1.0, low, 0.0, dearest=dearest)

    def floors(self, margin: Margin, column: int, part: float) -> None:
        """Keep this part of every group's likely human words."""
        human = likely_human(self.cells)
        for group, rows in _members(self.cells.groups[:, column]):
            rows = rows[human[rows] > 0]
            words = float((human[rows] * self.cells.words[rows]).sum())
            if words > 0 and part > 0:
                label = (margin.dimension, group, "floor")
                self.row(label, self.functional(human[rows], rows), -1.0, 0.0, -part * words)

    def problem(self, base: F64, most: F64) -> Problem:
        """The rows as a raking problem."""
        from scipy.sparse import csr_matrix

        starts = np.concatenate([[0], np.cumsum([len(values) for values in self.values])]).astype(np.int64)
        values = np.concatenate([*self.values, np.zeros(0)])
        columns = np.concatenate([*self.columns, np.zeros(0, np.int64)])
        functionals: Any = csr_matrix((values, columns, starts), shape=(len(self.values), len(base)))
        return Problem(
            base=base,
            mass=self.cells.words,
            most=most,
            functionals=functionals,
            which=np.array(self.which, np.int64),
            sign=np.array(self.sign, np.float64),
            share=np.array(self.share, np.float64),
            limit=np.array(self.limit, np.float64),
            equality=np.array(self.equality, np.bool_),
            dearest=np.array(self.dearest, np.float64),
        )


def likely_human(cells: Cells) -> F64:
    """P(human) of the cells that are rather human than not, 0 for the others.  # [cells]"""
    return np.where(cells.human > 1 - LIKELY_HUMAN, cells.human, 0.0)


def _members(group: I64) -> list[tuple[int, I64]]:
    """Every group that is there, ascending, with its cells."""
    order = np.argsort(group, kind="stable")
    found, starts = np.unique(group[order], return_index=True)
    if not len(found):
        return []
    return [(int(g), rows) for g, rows in zip(found, np.split(order, starts[1:]), strict=True) if g >= 0]
