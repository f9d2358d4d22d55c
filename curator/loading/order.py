"""In what order an epoch reads the mixture: row groups permuted, copies far apart, cut into windows. Numbers only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from curator import ids
from curator.loading.files import Groups

I64 = npt.NDArray[np.int64]

WINDOW_ROWS: Final = 8192  # rows that lie in memory to be mixed, about; part of what the order is
WINDOW_BYTES: Final = 256 << 20  # and their uncompressed bytes: long documents may not fill the memory
LANES: Final = (64, 32, 16, 8, 4, 2)  # powers of two, as worlds are; the most that the mixture has rows and groups for
TURNS: Final = 16  # how often a row group is read in one epoch at most: copies above that share windows
_LANE_GROUPS: Final = 16  # row groups a lane has at least: one that lies across two lanes is read for both
_PHASES: Final = 1 << 16


@dataclass(frozen=True)
class Plan:
    """One epoch: the row groups in the order they are read, each as often as it has turns, cut into windows."""

    epoch: int
    group: I64  # [visits]
    turn: I64  # [visits] which of the group's turns
    turns: I64  # [groups]
    windows: list[I64]  # visits of each window
    ends: I64  # [windows] sample at which each ends
    total: int


def planned(epoch: int, groups: Groups, counts: Sequence[I64], seed: int | None = None, lanes: int = 1) -> Plan:
    """Lay out an epoch; `counts` says for each row group how many samples each of its turns gives. No seed: file order."""
    turns = np.array([len(count) for count in counts], np.int64)
    samples = np.array([count.sum() for count in counts], np.int64)
    order = np.arange(len(turns)) if seed is None else permutation(len(turns), seed, f"loader:groups:{epoch}")
    group, turn = spread(order, samples, turns, lanes)
    given = np.concatenate(counts)[(np.cumsum(turns) - turns)[group] + turn] if len(group) else group
    windows = cut(groups.rows[group], groups.size[group], lanes, lane_of(given, lanes))
    ends = np.cumsum([given[window].sum() for window in windows], dtype=np.int64)
    return Plan(epoch, group, turn, turns, windows, ends, int(ends[-1]) if len(ends) else 0)


def spread(order: I64, samples: I64, turns: I64, lanes: int) -> tuple[I64, I64]:
    """Put the turns of every row group as far apart as the epoch is long.

    Lanes are read side by side, so it is the place within the lane that is the time of training: turn t of n
    comes t/n of the epoch after the first, and round again from the beginning where that is past the end. So a group
    stays in one lane, and documents of each weight are spread evenly over the epoch: its makeup does not drift.

    order: [groups], a permutation.  Returns group and turn of every visit, in their order.  # each [visits]
    """
    before = np.cumsum(samples[order]) - samples[order]
    lane, within = np.divmod(np.repeat(before / max(int(samples.sum()), 1), turns[order]) * lanes, 1.0)
    group = np.repeat(order, turns[order])
    turn = np.arange(len(group)) - np.repeat(np.cumsum(turns[order]) - turns[order], turns[order])
    sorted_ = np.lexsort(((within + turn / turns[group]) % 1.0, lane))
    return group[sorted_], turn[sorted_]


def of_turn(copies: I64, phase: I64, turn: int | I64, turns: int | I64) -> I64:
    """How many of its copies a document gives in one turn: evenly spread, and all turns together give all of them.

    A document with fewer copies than its group has turns begins at its own phase, so that turns give about equally many.
    """
    begin = (turn * copies * _PHASES + phase * turns) // (turns * _PHASES)
    end = ((turn + 1) * copies * _PHASES + phase * turns) // (turns * _PHASES)
    return np.asarray(end - begin, np.int64)


def phases(words: npt.NDArray[np.uint64], seed: int, epoch: int) -> I64:
    """A document's own phase for `of_turn`, drawn anew each epoch.  # [rows]"""
    return (ids.unit_hash(words, seed, f"loader:turns:{epoch}") * _PHASES).astype(np.int64)


def permutation(n: int, seed: int, purpose: str) -> I64:
    """Order 0…n-1 by a keyed hash."""
    numbers = np.zeros((n, 2), np.uint64)
    numbers[:, 0] = np.arange(n)
    return np.argsort(ids.unit_hash(numbers, seed, purpose), kind="stable").astype(np.int64)


def fitting(groups: Groups) -> int:
    """The most lanes that a mixture has rows, row groups and memory for."""
    rows, size = int(groups.rows.sum()), int(groups.size.sum())

    def fits(lanes: int) -> bool:
        many = len(groups.rows) >= lanes * _LANE_GROUPS and rows >= lanes * WINDOW_ROWS
        return many and lanes * size <= WINDOW_BYTES * len(groups.rows)

    return next((lanes for lanes in LANES if fits(lanes)), 1)


def lane_of(given: I64, lanes: int) -> I64:
    """Twice the lane that all samples of a visit lie in; for one that lies across lanes an odd number.  # [visits]"""
    short, longer = divmod(int(given.sum()), lanes)
    bounds = np.cumsum([short + (lane < longer) for lane in range(lanes)])
    end = np.cumsum(given)
    first, last = (np.searchsorted(bounds, at, side="right") for at in (end - given, end - np.minimum(given, 1)))
    return np.asarray(2 * first + (first != last), np.int64)


def cut(rows: I64, size: I64, lanes: int = 1, lane: I64 | None = None) -> list[I64]:
    """Cut what is read in this order where a window is full: by rows, or by bytes for long documents.

    A window lies in one lane, so that no other has to read it; a visit across lanes has one of its own.
    Returns the visits of each.
    """
    cuts, filled, weighed = [], 0, 0
    full, heavy = max(WINDOW_ROWS // lanes, 1), WINDOW_BYTES // lanes
    other = np.zeros(len(rows), bool) if lane is None else np.diff(lane, prepend=lane[:1]) != 0
    for place in range(len(rows)):
        if filled >= full or (filled and (other[place] or weighed + size[place] > heavy)):
            cuts.append(place)
            filled = weighed = 0
        filled, weighed = filled + rows[place], weighed + size[place]
    return np.split(np.arange(len(rows)), cuts) if len(rows) else []


def interleaved(counts: Sequence[int]) -> I64:
    """Places in lanes laid end to end, in the order of taking turns.  # [sum of counts]"""
    turn = np.concatenate([np.arange(count) for count in counts])
    return np.argsort(turn, kind="stable").astype(np.int64)
