"""Scores of labelled text, by domain and by generator, and what they say of the next domain or generator.

How the scores of human and of machine text look on text at hand is not known: it is one more draw from the groups that
were measured (moments of a random effect, Kleinman 1973), or, where such text exists, it was measured itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

MIN_CELL: Final = 15  # texts of one generator in one domain; what has fewer is counted together
FEW_GROUPS: Final = 10  # groups of text that do not tell how groups differ
LOWEST, WIDTH, BINS = (
    -16.0,
    0.25,
    128,
)  # log-odds at prior one half, counted in steps of WIDTH; the ends hold all beyond
ONE_SIDE: Final = 2.5  # normal quantile at 97.5 %, one side, for the best of four looks (Bonferroni)
SMOOTHED: Final = 0.2  # part of the covariance between scores that twenty domains are too few to tell
MIDDLE: Final = np.asarray(LOWEST + (np.arange(BINS) + 0.5) * WIDTH, np.float64)  # log-odds of each step


def binned(prob: F64) -> I64:
    """The step of log-odds in which each probability lies; nan gives 0.  # [n], 0 to BINS - 1"""
    safe = np.clip(np.nan_to_num(prob), 1e-300, 1 - 1e-16)
    place = (np.log(safe) - np.log1p(-safe) - LOWEST) / WIDTH
    return np.clip(place, 0, BINS - 1).astype(np.int64)


def exceeding(counts: F64, edges: I64) -> F64:
    """Chance of a score in step `edge` or above, from counts by step.  # [..., edges]"""
    above = np.cumsum(counts[..., ::-1], axis=-1)[..., ::-1]
    chances: F64 = above[..., edges] / np.maximum(above[..., :1], 1e-300)
    return chances


def spread(chances: F64) -> F64:
    """Covariance of one document's exceedances, which are nested.  # [..., K, K]"""
    k = np.arange(chances.shape[-1])
    both = chances[..., np.maximum(k[:, None], k)]
    return both - chances[..., :, None] * chances[..., None, :]


def _moved(density: F64, steps: int) -> F64:
    """A density by step moved up by so many steps; what would leave stays at the end."""
    place = np.clip(np.arange(BINS) + steps, 0, BINS - 1)
    return np.asarray(np.bincount(place, density, BINS), np.float64)


@dataclass(frozen=True)
class Cells:
    """Scores by group, and the larger group that each belongs to: domains of a set, generators within a domain.

    counts: [groups, BINS] documents by step of log-odds.  parent: [groups] position of the larger group.
    """

    counts: F64
    parent: I64

    @classmethod
    def of(cls, prob: F64, group: Sequence[object] | npt.NDArray[np.generic], parent: object = None) -> Cells:
        """Count scores by group; without a parent each group stands alone."""
        outer, outer_codes = np.unique(np.asarray(group if parent is None else parent).astype(str), return_inverse=True)
        _, first, codes = np.unique(np.asarray(group).astype(str), return_index=True, return_inverse=True)
        counts = np.bincount(codes * BINS + binned(prob), minlength=len(first) * BINS).reshape(-1, BINS)
        return cls(counts.astype(float), outer_codes[first].astype(np.int64)).pooled(len(outer))

    def pooled(self, parents: int) -> Cells:
        """Small groups of one parent counted together: four texts of a generator say little of it."""
        small = self.counts.sum(axis=1) < MIN_CELL
        rest = np.zeros((parents, BINS))
        np.add.at(rest, self.parent[small], self.counts[small])
        some = rest.sum(axis=1) > 0
        return Cells(
            np.concatenate([self.counts[~small], rest[some]]),
            np.concatenate([self.parent[~small], np.flatnonzero(some)]),
        )

    def and_(self, other: Cells) -> Cells:
        """Both; the other's parents are different ones."""
        parent = np.concatenate([self.parent, other.parent + self.parent.max(initial=-1) + 1])
        return Cells(np.concatenate([self.counts, other.counts]), parent)

    def differing_as(self, other: Cells) -> Cells:
        """These scores, all groups together, moved up and down as another's groups lie apart.

        In parts of the scores' own spread within a group: sharply told text of one generator says as little of the next
        one as roughly told text does, but the next one's is sharply told too.
        """
        density, ratio = self.density(), self.within() / max(other.within(), WIDTH)
        means = other.means()
        parents = np.bincount(other.parent, minlength=other.parent.max() + 1)
        centre = np.average(means, weights=1.0 / parents[other.parent])
        moved = [_moved(density, step) for step in np.rint((means - centre) * ratio / WIDTH).astype(np.int64)]
        return Cells(np.stack(moved) * self.counts.sum(), other.parent)

    def means(self) -> F64:
        """Mean log-odds of each group.  # [groups]"""
        return np.asarray(self.counts @ MIDDLE / self.counts.sum(axis=1), np.float64)

    def within(self) -> float:
        """Standard deviation of log-odds inside a group, groups counted alike."""
        square = self.counts @ MIDDLE**2 / self.counts.sum(axis=1)
        return float(np.sqrt(np.maximum(square - self.means() ** 2, 0.0).mean()))

    def density(self) -> F64:
        """Scores of a group at large: larger groups count alike, and so do the groups within.  # [BINS], sums to 1"""
        each = self.counts / self.counts.sum(axis=1, keepdims=True)
        _, place, sizes = np.unique(self.parent, return_inverse=True, return_counts=True)
        return np.asarray((each / sizes[place, None]).sum(axis=0) / len(sizes), np.float64)


@dataclass(frozen=True)
class Chances:
    """Chances of exceeding each score on the text at hand, and how unsure they are.

    mean: [K].  covariance: [K, K]: between groups and within, and of counting.  most: [K] what they hardly exceed, at one
    side 97.5 % for all scores together.
    """

    mean: F64
    covariance: F64
    most: F64

    @classmethod
    def next_group(cls, cells: Cells, edges: I64, alike: Cells | None = None) -> Chances:
        """Those of one more group of one more larger group, given the groups measured (nested analysis of variance).

        alike: groups that stand in where fewer than FEW_GROUPS were measured, for how much groups differ.
        """
        if alike is not None and len(cells.counts) < FEW_GROUPS:
            known, lent = cls.next_group(cells, edges), cls.next_group(cells.differing_as(alike), edges)
            return cls(known.mean, lent.covariance, np.maximum(known.most, lent.most))
        chances, n = exceeding(cells.counts, edges), cells.counts.sum(axis=1)
        counting = spread(chances) / n[:, None, None]
        _, place, sizes = np.unique(cells.parent, return_inverse=True, return_counts=True)
        parents, inside = len(sizes), len(n) - len(sizes)
        means = np.zeros((parents, len(edges)))
        np.add.at(means, place, chances / sizes[place, None])
        off, apart = chances - means[place], means - means.mean(axis=0)
        within = off.T @ off / max(inside, 1) - (counting * (1 - 1 / sizes[place])[:, None, None]).sum(0) / max(
            inside, 1
        )
        noise = (counting / (sizes[place] ** 2)[:, None, None]).sum(0) + within * (1 / sizes).sum()
        between = apart.T @ apart / max(parents - 1, 1) - noise / parents
        covariance = _positive(between) * (1 + 1 / parents) + _positive(within)
        return cls(means.mean(axis=0), _smoothed(covariance), _most(means, cells.counts.sum() / parents))

    @classmethod
    def of_own(cls, counts: F64, effective: float, common: F64, edges: I64) -> Chances:
        """Those of text that was measured itself, with two documents' worth of the `common` scores."""
        mean = exceeding(counts * effective / max(counts.sum(), 1.0) + 2 * common, edges)
        wary = (mean * effective + 2) / (
            effective + 4
        )  # none of three hundred is no certainty (Agresti and Coull 1998)
        return cls(mean, spread(wary) / (effective + 2), _wilson(mean, effective + 2))


def _wilson(chance: F64, n: float) -> F64:
    """The upper end of a chance counted in n documents (Wilson 1927), so that none of n is no certainty."""
    z2 = ONE_SIDE**2 / n
    root = np.sqrt(chance * (1 - chance) * z2 + z2 * z2 / 4)
    return np.asarray((chance + z2 / 2 + root) / (1 + z2), np.float64)


def _most(chances: F64, texts: float) -> F64:
    """The upper end for one more group: a prediction interval in log-odds, where chances are less skewed.

    chances: [groups, K].  texts: of a group, about.
    """
    safe = (chances * texts + 0.5) / (texts + 1)
    odds, free = np.log(safe) - np.log1p(-safe), max(len(chances) - 1, 1)
    wide = ONE_SIDE * (1 + (ONE_SIDE**2 + 1) / (4 * free))  # Student's t, to first order
    off = wide * odds.std(axis=0, ddof=min(len(chances) - 1, 1)) * np.sqrt(1 + 1 / len(chances))
    return np.asarray(1 / (1 + np.exp(-odds.mean(axis=0) - off)), np.float64)


def _positive(covariance: F64) -> F64:
    """The nearest covariance: moments of few groups may be none."""
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray((vectors * np.maximum(values, 1e-8)) @ vectors.T, np.float64)


def _smoothed(covariance: F64) -> F64:
    return (1 - SMOOTHED) * covariance + SMOOTHED * np.diag(np.diag(covariance))


@dataclass(frozen=True)
class Anchors:
    """Scores of labelled text that comes with the detector, at best of domains that it never saw.

    human: by domain within its set.  machine: by generator within its domain.
    alike: other anchors, which tell how domains and generators differ where these hold too few of them.
    warning: what to know of every share that rests on them.
    """

    human: Cells
    machine: Cells
    name: str
    alike: Anchors | None = None
    warning: str | None = None

    @property
    def kind(self) -> str:
        """Whose they are, without their counts."""
        return self.name.partition(" (")[0]
