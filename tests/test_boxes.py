"""Rows of a raking problem say what the recipe asks, in words a hand calculation gives."""

from __future__ import annotations

import numpy as np
import pytest

from curator.boxes import ERRORS, LEAST, REACH, Rows, box, likely_human
from curator.cells import Cells, Margin


def cells() -> Cells:
    n = 4
    return Cells(
        of=np.arange(n),
        documents=np.ones(n, np.int64),
        words=np.array([100.0, 200.0, 300.0, 400.0]),
        q=np.array([0.0, 0.2, 0.7, 0.1]),
        quality=np.ones(n),
        copies=np.ones(n),
        snapshot=np.array([False, False, True, False]),
        verified=np.array([False, False, False, True]),
        groups=np.array([[0], [1], [1], [-1]]),
    )


def margin(share: list[float], error: float = 0.0) -> Margin:
    names = tuple("ab"[: len(share)])
    return Margin("source", names, np.array([0, 1, 1, -1]), np.array(share), np.full(len(share), error), "x")


def residuals(rows: Rows, weight: np.ndarray) -> np.ndarray:
    problem = rows.problem(np.ones(4), np.ones(4))
    y = problem.mass * weight
    held = np.asarray(problem.functionals @ y)[problem.which] - problem.share * y.sum()
    return problem.sign * held - problem.limit


def test_a_box_is_the_share_give_or_take_and_what_can_be_had() -> None:
    found = box(margin([0.6, 0.4], error=0.01), 0.25, np.array([1.0, 0.1]))
    np.testing.assert_allclose(found.low, [0.6 * 0.75 - ERRORS * 0.01, REACH * 0.1])
    np.testing.assert_allclose(found.high, [0.6 * 1.25 + ERRORS * 0.01 + LEAST, 0.4 * 1.25 + ERRORS * 0.01 + LEAST])


def test_where_the_reference_is_silent_nothing_is_asked() -> None:
    found = box(margin([np.nan, 1.0]), 0.25, np.ones(2))
    assert found.low[0] == 0 and found.high[0] == 1
    rows = Rows(cells())
    rows.boxes(margin([np.nan, 1.0]), 0, found, np.inf)
    assert [label for label in rows.label if label[1] == 0] == []


def test_rows_read_as_they_should() -> None:
    rows = Rows(cells())
    rows.over("max_synthetic", np.array([0.0, 0.2, 0.0, 0.0]), 0.1)
    rows.under("snapshot", np.array([0.0, 0.0, 1.0, 0.0]), 0.25)
    rows.total(900.0)
    rows.boxes(margin([0.2, 0.8]), 0, box(margin([0.2, 0.8]), 0.5, np.ones(2)), np.inf)
    rows.floors(margin([0.2, 0.8]), 0, 0.5)
    got = dict(zip(rows.label, residuals(rows, np.ones(4)), strict=True))
    assert got["max_synthetic", -1, "high"] == pytest.approx(0.2 * 200 - 0.1 * 1000)
    assert got["snapshot", -1, "low"] == pytest.approx(0.25 * 1000 - 300)
    assert got["budget_words", -1, "both"] == pytest.approx(100)
    assert got["source", 0, "low"] == pytest.approx(0.1 * 1000 - 100)
    assert got["source", 1, "floor"] == pytest.approx(-(0.8 * 200 + 300) + 0.5 * (0.8 * 200 + 300))


def test_likely_human_is_by_who_vouches_first() -> None:
    np.testing.assert_allclose(likely_human(cells()), [1.0, 0.8, 1.0, 0.0])


def test_no_cells_make_no_rows() -> None:
    none = Cells(*(np.zeros(0, kind) for kind in "lldddd"), *(np.zeros(0, bool),) * 2, np.zeros((0, 1), np.int64))
    rows = Rows(none)
    rows.boxes(margin([0.5, 0.5]), 0, box(margin([0.5, 0.5]), 0.1, np.ones(2)), np.inf)
    assert rows.label == [] and rows.problem(np.zeros(0), np.zeros(0)).functionals.shape == (0, 0)
