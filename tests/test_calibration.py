"""Calibration against trusted human text: the level holds whatever the text, small references lean on coarser ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curator import calibration
from curator.calibration import LEAST, nested, q_values, root, strata


def _dice(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def _top(seed: int = 1, n: int = 3_000) -> calibration.Cell:
    return root(_dice(seed).normal(-4, 2.5, n), np.ones(n))


def _one(score: calibration.F64, trusted: int, top: calibration.Cell, least: int = LEAST) -> calibration.Strata:
    """One stratum whose first `trusted` documents are known to be human."""
    trust = (np.arange(len(score)) < trusted).astype(np.int64)
    return strata(score, trust, [np.zeros(len(score), np.int64)], top, [least])


def _kind(name: str, dice: np.random.Generator, size: int) -> calibration.F64:
    """Human scores of kinds of text that the anchors do not hold."""
    drawn = {
        "harder": lambda: dice.normal(1, 3, size), "easier": lambda: dice.normal(-9, 1, size),
        "heavy": lambda: dice.standard_t(2, size), "tied": lambda: np.round(dice.normal(0, 1, size)),
        "constant": lambda: np.zeros(size), "two": lambda: np.where(dice.random(size) < 0.05, 9.0, -9.0) + dice.normal(0, 0.1, size),
    }  # fmt: skip
    return np.asarray(drawn[name](), np.float64)


KINDS = ("harder", "easier", "heavy", "tied", "constant", "two")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("n", "level"), [(20, 0.01), (60, 0.05), (100, 0.01), (300, 0.01)])
def test_a_human_text_of_a_calibrated_stratum_is_flagged_no_more_often_than_the_level(
    kind: str, n: int, level: float
) -> None:
    top, draws, new = _top(), 150, 40
    flagged = 0
    for seed in range(draws):
        score = _kind(kind, _dice(seed), n + new)
        flagged += int((_one(score, n, top).human_p(score)[n:] <= level).sum())
    bound = level + 1 / (n + 1)
    rate = flagged / (draws * new)
    spread = np.sqrt(bound * (1 - bound) / draws)  # documents of one draw share its reference: one draw counts as one
    assert rate <= bound + 3 * spread


@given(
    scores=st.lists(st.floats(-50, 50), min_size=LEAST, max_size=60),
    level=st.sampled_from([0.01, 0.05, 0.1, 0.3]),
)
@settings(max_examples=60, deadline=None)
def test_whichever_text_of_a_stratum_is_the_new_one_few_of_them_are_flagged(scores: list[float], level: float) -> None:
    """Exchangeability itself: with each text left out in turn, no more are flagged than the level and one text allow."""
    score = np.array(scores)
    p = _one(score, len(score), _top()).human_p(score)
    n = len(score) - 1
    assert (p <= level).sum() <= np.floor(level * (n + 1)) + 1


@given(
    n=st.integers(0, 300), seed=st.integers(0, 2**20), kind=st.sampled_from(KINDS)
)  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_within_a_stratum_more_machine_like_never_means_more_human(n: int, seed: int, kind: str) -> None:
    score = np.concatenate([_kind(kind, _dice(seed), n), np.linspace(-40, 40, 801)])
    found = _one(score, n, _top())
    p, logit = found.human_p(score)[n:], found.logit(score)[n:]
    assert (np.diff(p) <= 1e-12).all() and (np.diff(logit) > 0).all()
    assert ((p > 0) & (p <= 1)).all()


def test_where_only_the_anchors_speak_nothing_is_shifted() -> None:
    score = np.linspace(-20, 20, 200)
    found = _one(score, LEAST - 1, _top())
    assert np.array_equal(found.logit(score), score) and not found.own.any() and len(found.cells) == 1


def test_text_like_the_anchors_leaves_odds_almost_as_they_were() -> None:
    score = np.concatenate([_dice(5).normal(-4, 2.5, 400), np.linspace(-6, 6, 50)])
    assert np.abs(_one(score, 400, _top()).logit(score)[400:] - score[400:]).max() < 0.5


def test_text_that_looks_more_machine_like_than_the_anchors_lowers_the_odds() -> None:
    score = np.concatenate([_dice(5).normal(0, 2.5, 300), np.linspace(0, 6, 50)])
    assert (_one(score, 300, _top()).logit(score)[300:] < score[300:]).all()


def test_a_threshold_travels_where_the_anchors_one_does_not() -> None:
    dice, rates = _dice(3), []
    for _ in range(60):
        score = dice.normal(1, 3, 1_300)
        rates.append((_one(score, 300, _top()).human_p(score)[300:] <= 0.01).mean())
    assert 0.007 < np.mean(rates) < 0.0135
    shipped = _top().human_p(dice.normal(1, 3, 1_000), np.zeros(1_000, bool))
    assert (shipped <= 0.01).mean() > 0.3


def test_the_threshold_is_where_the_p_value_crosses_the_level() -> None:
    score = _dice(2).normal(0, 1, 300)
    cell = _one(score, 300, _top()).cells[1]
    limit = cell.threshold(0.01)
    none = np.zeros(1, bool)
    assert cell.human_p(np.array([limit]), none)[0] <= 0.01 < cell.human_p(np.array([limit - 1e-6]), none)[0]
    assert cell.expected(limit) == pytest.approx(3 / 301)


def test_a_trusted_text_is_judged_without_itself() -> None:
    score = np.append(_dice(1).normal(0, 1, 99), [50.0, 50.0])
    trusted, new = _one(score, 100, _top()).human_p(score)[-2:]
    assert trusted < 1e-6 and new == pytest.approx(1 / 101)  # only the new one has another as far out


def test_each_document_is_judged_by_the_finest_stratum_that_has_enough() -> None:
    score = np.zeros(100)
    trust = np.ones(100, np.int64)
    language = np.zeros(100, np.int64)
    source = np.repeat([0, 1, -1], [60, 30, 10])
    found = strata(score, trust, nested(language, source), _top(), [40, 40])
    assert found.level[1:] == (0, 1) and [round(c.n) for c in found.cells[1:]] == [100, 60]
    assert (found.place[:60] == 2).all() and (found.place[60:] == 1).all()


def test_the_best_trusted_texts_are_taken_alone_where_they_suffice() -> None:
    score = np.concatenate([np.full(30, -1.0), np.full(50, 3.0)])
    trust = np.repeat([2, 1], [30, 50])
    every = np.zeros(80, np.int64)
    assert round(strata(score, trust, [every], _top(), [20]).cells[1].n) == 30
    both = strata(score, trust, [every], _top(), [40])
    assert round(both.cells[1].n) == 80 and both.cells[1].tier == 1 and both.own.all()
    alone = strata(score, trust, [every], _top(), [20])
    assert alone.own[:30].all() and not alone.own[30:].any()


@given(seed=st.integers(0, 2**20))
@settings(max_examples=20, deadline=None)
def test_answers_do_not_depend_on_the_order_of_documents(seed: int) -> None:
    dice = _dice(seed)
    score = dice.normal(0, 2, 200)
    score[dice.random(200) < 0.1] = np.nan
    trust = (dice.random(200) < 0.5).astype(np.int64)
    codes = nested(dice.integers(-1, 3, 200), dice.integers(-1, 2, 200))
    order = dice.permutation(200)
    one = strata(score, trust, codes, _top(), [20, 20])
    two = strata(score[order], trust[order], [c[order] for c in codes], _top(), [20, 20])
    assert np.array_equal(one.human_p(score)[order], two.human_p(score[order]), equal_nan=True)
    assert np.array_equal(one.logit(score)[order], two.logit(score[order]), equal_nan=True)


def test_weighted_anchors_count_every_domain_alike() -> None:
    scores = np.concatenate([np.zeros(1_000), np.full(10, 5.0)])
    weights = np.repeat([1 / 1_000, 1 / 10], [1_000, 10])
    top = root(scores, weights)
    assert top.human_p(np.array([4.0]), np.zeros(1, bool))[0] == pytest.approx(0.5, abs=0.03)
    assert top.n == pytest.approx(1 / (0.25 / 1_000 + 0.25 / 10))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=50), st.floats(0.01, 0.5))
@settings(max_examples=60, deadline=None)
def test_q_values_are_benjamini_and_hochbergs(p: list[float], rate: float) -> None:
    values = np.sort(np.array(p))
    below = np.flatnonzero(values <= rate * np.arange(1, len(p) + 1) / len(p))
    rejected = 0 if not below.size else int(below[-1]) + 1
    assert (q_values(np.append(p, np.nan))[:-1] <= rate + 1e-12).sum() >= rejected
    assert (q_values(np.array(p)) <= rate - 1e-12).sum() <= rejected


def test_scores_that_moved_are_told_from_those_that_did_not() -> None:
    dice = _dice(8)
    before = dice.normal(0, 2, 800)
    effect, p = calibration.moved(before, dice.normal(1, 2, 800))
    assert effect == pytest.approx(0.5, abs=0.12) and p < 1e-6
    assert calibration.moved(before, dice.normal(0, 2, 800))[1] > 0.001


def test_a_length_bin_has_a_name() -> None:
    bins = calibration.length_bin(np.array([60, 119, 120, 299, 300, 9_000]))
    assert [calibration.length_name(int(b)) for b in bins] == ["<120", "<120", "120-299", "120-299", "300+", "300+"]
