"""Documents that no constraint tells apart share a cell, whatever order they come in."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from curator.cells import Q_STEPS, Cells, Facts, Margin


def facts(n: int, seed: int) -> Facts:
    dice = np.random.default_rng(seed)
    codes = dice.integers(-1, 4, n)
    return Facts(
        ids=dice.integers(0, 2**63, (n, 2)).astype(np.uint64),
        words=dice.integers(0, 50, n),
        q=dice.choice([0.0, 0.04, 0.31, 0.99, 1.0], n),
        quality=dice.choice([np.nan, 0.1, 0.9], n),
        copies=dice.integers(1, 9, n),
        snapshot=dice.random(n) < 0.2,
        verified=dice.random(n) < 0.2,
        margins=(Margin("source", ("a", "b", "c", "d"), codes, np.full(4, 0.25), np.zeros(4), "x"),),
    )


@given(st.integers(0, 200), st.integers(0, 1000), st.integers(1, 40))
def test_cells_hold_all_and_only_what_is_alike(n: int, seed: int, bins: int) -> None:
    found = facts(n, seed)
    cells = Cells.cut(found, bins)
    assert cells.documents.sum() == n and cells.words.sum() == np.maximum(found.words, 1).sum()
    for cell in range(len(cells.q)):
        rows = np.flatnonzero(cells.of == cell)
        for values in (found.snapshot, found.verified, found.margins[0].codes):
            assert len(set(values[rows].tolist())) == 1
        assert (found.q[rows] == 1).all() or not (found.q[rows] == 1).any()  # the surely synthetic stand alone
        weights = np.maximum(found.words[rows], 1)
        steps = np.rint(found.q[rows] * Q_STEPS) / Q_STEPS
        assert abs(cells.q[cell] - (weights * steps).sum() / weights.sum()) < 1e-12
        assert np.ptp(found.q[rows]) <= 1 / bins + 1e-9


@given(st.integers(1, 200), st.integers(0, 1000))
def test_order_does_not_matter(n: int, seed: int) -> None:
    found = facts(n, seed)
    rows = np.random.default_rng(seed).permutation(n)
    margin = found.margins[0]
    other = Facts(
        *(getattr(found, name)[rows] for name in ("ids", "words", "q", "quality", "copies", "snapshot", "verified")),
        (Margin(margin.dimension, margin.names, margin.codes[rows], margin.reference, margin.error, "x"),),
    )
    one, two = Cells.cut(found, 20), Cells.cut(other, 20)
    np.testing.assert_array_equal(one.of[rows], two.of)
    for name in ("documents", "words", "q", "quality", "copies", "groups"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))


def test_many_margins_do_not_overflow() -> None:
    dice = np.random.default_rng(0)
    n, groups = 500, 200
    names = tuple(str(i) for i in range(groups))
    margins = tuple(
        Margin(f"m{i}", names, dice.integers(-1, groups, n), np.full(groups, 1 / groups), np.zeros(groups), "x")
        for i in range(9)
    )
    some = facts(n, 1)
    cells = Cells.cut(
        Facts(some.ids, some.words, some.q, some.quality, some.copies, some.snapshot, some.verified, margins), 20
    )
    assert len(cells.q) == n and (np.bincount(cells.of) == 1).all()
    for i, margin in enumerate(margins):
        np.testing.assert_array_equal(cells.groups[cells.of, i], margin.codes)
