"""Raking finds what a general solver of convex programs finds, exactly, and says so where nothing can be found."""

from __future__ import annotations

from dataclasses import replace

import cvxpy
import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from scipy.sparse import coo_matrix, csr_matrix

from curator.rake import HOLDS, Problem, Solution, solve

SEEDS = st.integers(0, 2**32 - 1)
FEW = settings(
    max_examples=25, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate)
)  # a smaller seed is no simpler


def problem(seed: int, cells: int = 60, width: float = 0.1, **other: object) -> Problem:
    """Cells in two margins with boxes around what hidden weights give, a cap, a floor, and a budget: feasible."""
    dice = np.random.default_rng(seed)
    groups = (6, 4)
    place = [dice.integers(0, k, cells) for k in groups]
    q, mass = dice.random(cells).round(2), np.exp(dice.normal(5, 1.5, cells)).round() + 1
    base = np.where(dice.random(cells) < 0.1, 0.0, dice.uniform(0.05, 1.2, cells))
    most = dice.choice([0.8, 4.0], cells)
    ones = np.arange(cells)
    row = np.concatenate([place[0], 6 + place[1], np.full(cells, 10), np.full(cells, 11)])
    functionals = coo_matrix((np.concatenate([np.ones(2 * cells), q, np.ones(cells)]), (row, np.tile(ones, 4))))
    functionals = csr_matrix(functionals, shape=(12, cells))
    hidden = np.minimum(most, base * np.exp(sum(dice.normal(0, 0.5, k)[p] for k, p in zip(groups, place, strict=True))))
    words = mass * hidden * np.exp(-1.5 * q)
    total, margin = words.sum(), functionals @ words
    boxes = np.arange(10)
    return replace(
        Problem(
            base=base,
            mass=mass,
            most=most,
            functionals=functionals,
            which=np.concatenate([boxes, boxes, [10, 0, 11]]),
            sign=np.concatenate([np.ones(10), -np.ones(10), [1, -1, 1]]),
            share=np.concatenate(
                [margin[:10] / total * (1 + width), margin[:10] / total * (1 - width), [margin[10] / total, 0, 0]]
            ),
            limit=np.concatenate([np.zeros(21), [-margin[0], total]]),
            equality=np.arange(23) == 22,
        ),
        **other,
    )


def peer(p: Problem) -> np.ndarray:
    """The same problem by cvxpy and Clarabel, cells with base 0 left out, in parts of the total mass."""
    live = p.base > 0
    mass, whole = p.mass[live] / p.mass.sum(), p.functionals.toarray()[:, live]
    w = cvxpy.Variable(int(live.sum()))
    words = cvxpy.multiply(mass, w)
    rows = p.sign[:, None] * (whole[p.which] - p.share[:, None]) @ words - p.limit / p.mass.sum()
    bounds = [w <= p.most[live], rows[~p.equality] <= 0, rows[p.equality] == 0]
    aim = cvxpy.Minimize(mass @ cvxpy.kl_div(w, p.base[live]))
    tight = {name: 1e-8 for name in ("tol_gap_abs", "tol_gap_rel", "tol_feas")}
    cvxpy.Problem(aim, bounds).solve(solver=cvxpy.CLARABEL, **tight)
    weight = np.zeros(len(p.base))
    weight[live] = w.value
    return weight


def distance(p: Problem, weight: np.ndarray) -> float:
    """What is minimised, in parts of the total mass."""
    with np.errstate(divide="ignore", invalid="ignore"):
        logarithm = np.where(weight > 0, weight * np.log(weight / p.base), 0.0)
    return float((p.mass * (logarithm - weight + p.base)).sum() / p.mass.sum())


def sound(p: Problem, s: Solution) -> None:
    """What every solution keeps, feasible or not."""
    assert np.isfinite(s.weight).all() and np.isfinite(s.price).all() and np.isfinite(s.violation).all()
    assert (s.weight >= 0).all() and (s.weight <= p.most).all() and (s.weight[p.base == 0] == 0).all()
    assert (s.price[~p.equality] >= 0).all()
    assert s.feasible == bool((s.violation <= HOLDS).all())


@pytest.mark.parametrize("width", [0.01, 0.1, 0.5])
@pytest.mark.parametrize("seed", range(8))
def test_weights_are_those_of_a_general_solver(seed: int, width: float) -> None:
    p = problem(seed, width=width)
    s, theirs = solve(p), peer(p)
    sound(p, s)
    assert s.feasible
    np.testing.assert_allclose(p.mass * s.weight / p.mass.sum(), p.mass * theirs / p.mass.sum(), atol=2e-5)
    assert distance(p, s.weight) == pytest.approx(distance(p, theirs), abs=1e-7)


@FEW
@given(SEEDS)
def test_rows_hold_to_rounding_and_only_binding_rows_cost(seed: int) -> None:
    p = problem(seed, cells=200)
    s = solve(p)
    assert s.feasible and s.violation.max() < 1e-12
    assert np.abs(s.price * s.violation).max() < 1e-11


def test_cap_is_met_exactly_as_a_share() -> None:
    p = problem(7, cells=5_000)
    tight = replace(p, share=np.where(np.arange(23) == 20, p.share * 0.8, p.share))
    s = solve(tight)
    words = p.mass * s.weight
    share = float((p.functionals[10] @ words)[0] / words.sum())
    assert s.feasible and s.price[20] > 0
    assert share == pytest.approx(tight.share[20], abs=1e-12)
    assert words.sum() == pytest.approx(p.limit[22], rel=1e-12)


@FEW
@given(SEEDS, st.floats(1.05, 50))
def test_a_budget_beyond_all_repeats_is_infeasible_and_says_by_how_much(seed: int, times: float) -> None:
    p = problem(seed)
    most = float((p.mass * p.most)[p.base > 0].sum())
    s = solve(replace(p, limit=np.where(p.equality, most * times, p.limit)))
    sound(p, s)
    assert not s.feasible
    assert s.violation[22] >= most * (times - 1) / p.mass.sum() - 1e-9


def test_rows_against_each_other_are_infeasible() -> None:
    p = problem(3)
    s = solve(replace(p, share=np.where(np.arange(23) < 10, p.share * 0.5, p.share)))  # upper ends below lower ones
    sound(p, s)
    assert not s.feasible and s.violation.max() > 1e-3


def test_a_cap_under_the_least_there_is_is_infeasible() -> None:
    p = problem(4)
    least = float(p.functionals[10].toarray().ravel()[p.base > 0].min())
    functionals = p.functionals.tolil()
    functionals[10] = functionals[10].toarray() + 0.2
    s = solve(replace(p, functionals=functionals.tocsr(), share=np.where(np.arange(23) == 20, least + 0.1, p.share)))
    sound(p, s)
    assert not s.feasible


@FEW
@given(SEEDS)
def test_more_of_what_is_capped_never_weighs_more(seed: int) -> None:
    p = problem(seed, cells=100)
    share = np.where(np.arange(23) == 20, p.share * 0.9, p.share)
    s = solve(replace(p, share=share))
    whole = p.functionals.toarray()
    alike = np.unique(np.delete(whole, 10, axis=0), axis=1, return_inverse=True)[1].ravel()
    below_most = (p.base > 0) & (s.weight < p.most)
    for group in range(alike.max() + 1):
        here = np.flatnonzero((alike == group) & below_most)
        ratio = (s.weight / np.where(p.base > 0, p.base, 1))[here][np.argsort(whole[10, here], kind="stable")]
        assert (np.diff(ratio) <= 1e-12 * ratio[1:]).all()


@FEW
@given(SEEDS, st.sampled_from([1e-3, 1000.0, 1e9]))
def test_units_of_mass_do_not_matter(seed: int, unit: float) -> None:
    p = problem(seed)
    s = solve(replace(p, mass=p.mass * unit, limit=p.limit * unit))
    np.testing.assert_allclose(s.weight, solve(p).weight, rtol=1e-7, atol=1e-9)
    assert s.feasible


@FEW
@given(SEEDS)
def test_order_of_cells_and_rows_does_not_matter(seed: int) -> None:
    p, dice = problem(seed), np.random.default_rng(seed)
    cells, rows = dice.permutation(len(p.base)), dice.permutation(len(p.which))
    shuffled = Problem(
        p.base[cells],
        p.mass[cells],
        p.most[cells],
        p.functionals[:, cells],
        p.which[rows],
        p.sign[rows],
        p.share[rows],
        p.limit[rows],
        p.equality[rows],
    )
    a, b = solve(p), solve(shuffled)
    np.testing.assert_allclose(a.weight[cells], b.weight, rtol=1e-7, atol=1e-9)


def test_same_bytes_in_same_bytes_out() -> None:
    p = problem(11, cells=3_000)
    a, b = solve(p), solve(replace(p, base=p.base.copy(), functionals=p.functionals.copy()))
    assert a.weight.tobytes() == b.weight.tobytes() and a.price.tobytes() == b.price.tobytes()


def test_nothing_binds_and_nothing_moves() -> None:
    p = problem(5)
    loose = replace(p, equality=np.zeros(23, bool), limit=np.full(23, 1e12))
    s = solve(loose)
    np.testing.assert_allclose(s.weight, np.minimum(p.base, p.most), rtol=1e-12)
    assert not s.price.any() and s.feasible


def rows_of(p: Problem, which: object) -> Problem:
    return replace(
        p,
        which=p.which[which],
        sign=p.sign[which],
        share=p.share[which],
        limit=p.limit[which],
        equality=p.equality[which],
    )


def test_no_rows() -> None:
    p = rows_of(problem(5), np.zeros(23, bool))
    s = solve(p)
    np.testing.assert_allclose(s.weight, np.minimum(p.base, p.most), rtol=1e-12)
    assert s.feasible and s.price.shape == s.violation.shape == (0,)


def test_no_cells() -> None:
    p = problem(5)
    none = np.zeros(0)
    s = solve(replace(p, base=none, mass=none, most=none, functionals=p.functionals[:, :0]))
    assert s.weight.shape == (0,) and not s.feasible and not s.price.any()


def test_one_cell() -> None:
    p = Problem(
        *(np.array([x]) for x in (0.5, 100.0, 4.0)),
        csr_matrix([[1.0]]),
        *(np.array([x]) for x in (0, 1.0, 0.0, 130.0, True)),
    )
    s = solve(p)
    assert s.weight[0] == pytest.approx(1.3, rel=1e-12) and s.feasible
    assert s.price[0] == pytest.approx(-np.log(1.3 / 0.5), rel=1e-9)


def test_all_bases_zero() -> None:
    p = problem(5, base=np.zeros(60))
    s = solve(p)
    sound(p, s)
    assert not s.weight.any() and not s.feasible


def test_cells_without_mass_are_weighed_like_the_others() -> None:
    p = problem(6, cells=80)
    empty = replace(p, mass=np.where(np.arange(80) % 8 == 0, 0.0, p.mass), equality=np.zeros(23, bool))
    s = solve(empty)
    sound(empty, s)
    twins = replace(p, mass=np.zeros(80))
    assert np.isfinite(solve(twins).weight).all()


def test_a_group_without_cells_leaves_the_others_as_they_are() -> None:
    p = problem(8)
    grown = csr_matrix((p.functionals.data, p.functionals.indices, [*p.functionals.indptr, p.functionals.nnz]))
    more = replace(
        p,
        functionals=grown,
        which=np.append(p.which, [12, 12]),
        sign=np.append(p.sign, [1.0, -1.0]),
        share=np.append(p.share, [0.02, 0.01]),
        limit=np.append(p.limit, [0.0, 0.0]),
        equality=np.append(p.equality, [False, False]),
    )
    s, without = solve(more), solve(p)
    np.testing.assert_allclose(s.weight, without.weight, rtol=1e-9)
    assert not s.feasible and s.violation[24] > 0 and s.violation[23] < 0 and not s.price[23:].any()


def test_no_repeat_cap() -> None:
    p = problem(9)
    s = solve(replace(p, most=np.full(60, np.inf)))
    sound(p := replace(p, most=np.full(60, np.inf)), s)
    assert s.feasible and s.violation.max() < 1e-12


@pytest.mark.parametrize("seed", range(12))
def test_rows_are_missed_rather_than_charged_more_than_their_dearest(seed: int) -> None:
    p = problem(seed, cells=200, width=0.01)
    free, boxes = solve(p), np.arange(23) < 20
    half = float(free.price[boxes].max()) / 2
    s = solve(replace(p, dearest=np.where(boxes, half, np.inf)))
    sound(p, s)
    missed = s.violation > HOLDS
    assert missed[boxes].any() and not missed[~boxes].any()
    assert s.price[missed] == pytest.approx(half)
    assert s.violation[~missed].max() < 1e-12
