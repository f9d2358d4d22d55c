"""The mixture holds its cap and its margins, keeps its tails, and leans on nothing but a document's own hash and its cell."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curator.cells import Cells, Facts, Margin
from curator.errors import RecipeError
from curator.mixture import ALIVE, Mixture, MixtureParams, _filled, _saved, frontier, sample


def world(n: int = 3000, machine: float = 0.5, seed: int = 0, topics: int = 40, snapshot: int = 0) -> Facts:
    """Documents of two sources and many topics, of which machines write only the larger half."""
    dice = np.random.default_rng(seed)
    made = dice.random(n) < machine
    made[:snapshot] = False
    q = np.where(made, dice.beta(8, 2, n), dice.beta(1, 25, n))
    topic = np.where(made, dice.integers(0, topics // 2, n), np.minimum(dice.zipf(1.4, n) - 1, topics - 1))
    words, human = dice.integers(20, 800, n), 1 - q
    chosen = np.arange(n) < snapshot
    margins = tuple(
        margin(name, codes, size, words * human)
        for name, codes, size in (("topic", topic, topics), ("source", dice.integers(0, 2, n), 2))
    )
    return Facts(
        ids=dice.integers(0, 2**63, (n, 2)).astype(np.uint64),
        words=words,
        q=np.where(chosen, 0.0, q),
        quality=dice.random(n),
        copies=np.where(dice.random(n) < 0.1, 2, 1),
        snapshot=chosen,
        verified=np.zeros(n, np.bool_),
        margins=margins,
    )


def margin(name: str, codes: np.ndarray, groups: int, human_words: np.ndarray) -> Margin:
    mass = np.bincount(codes, human_words, groups)
    share = np.where(mass > 0, mass / mass.sum(), np.nan)
    error = np.sqrt(np.nan_to_num(share) * (1 - np.nan_to_num(share)) / len(codes))
    return Margin(
        name, tuple(f"{name} {i}" for i in range(groups)), codes.astype(np.int64), share, error, "likely human"
    )


def taken(facts: Facts, rows: np.ndarray) -> Facts:
    """The same documents in another order, or some of them."""
    parts = {f.name: getattr(facts, f.name)[rows] for f in dataclasses.fields(facts) if f.name != "margins"}
    margins = tuple(dataclasses.replace(m, codes=m.codes[rows]) for m in facts.margins)
    return Facts(**parts, margins=margins)


def row(found: Mixture, name: str) -> dict[str, Any]:
    return next(row for row in found.constraints if row["name"] == name)


def test_a_human_corpus_is_kept_whole() -> None:
    found = sample(MixtureParams(), world(machine=0.0))
    assert (found.copies == 1).mean() > 0.99 and row(found, "max_synthetic")["price"] == 0 and not found.notes


def test_where_nothing_is_human_enough_there_is_no_mixture() -> None:
    facts = world(machine=1.0)
    facts = dataclasses.replace(facts, q=np.clip(facts.q, 0.4, 1.0))
    found = sample(MixtureParams(), facts)
    assert not found.copies.any() and not found.expected.any() and row(found, "max_synthetic")["expected"] == 0
    (said,) = found.notes
    assert "even the documents likeliest human count as 4" in said and "--reference" in said
    assert sample(MixtureParams(max_synthetic=0.6), facts).copies.any()


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.integers(0, 10_000), st.floats(0.05, 0.9), st.floats(0.06, 0.5), st.sampled_from([0, 100_000, 300_000]))
def test_the_cap_is_exact_in_expectation_and_within_three_errors_as_drawn(
    seed: int, machine: float, cap: float, budget: int
) -> None:
    facts = world(seed=seed, machine=machine)
    found = sample(MixtureParams(max_synthetic=cap, budget_words=budget, floor=0.0), facts)
    held = row(found, "max_synthetic")
    assert held["met"] and held["expected"] <= cap + 1e-7
    if held["price"] > 1e-6:
        assert held["expected"] == pytest.approx(cap, abs=1e-6)  # as loose as the cap allows
    mass = found.expected * facts.words
    assert held["expected"] == pytest.approx((mass * facts.q).sum() / mass.sum(), abs=1e-4)
    guarded = (found.guarded * facts.words).sum() / mass.sum()  # saved documents come on top
    assert abs(held["realised"] - held["expected"]) <= 3.5 * held["standard_error"] + guarded
    if budget:
        words = row(found, "budget_words")
        assert words["expected"] >= 0.8 * budget * (1 - 1e-6)
        assert (
            abs(words["realised"] - words["expected"])
            <= 3.5 * words["standard_error"] + (found.guarded * facts.words).sum()
        )


def test_margins_lie_in_their_boxes_or_are_reported() -> None:
    facts = world(machine=0.7, seed=3)
    found = sample(MixtureParams(tolerance=0.05), facts)
    boxed = [r for r in found.boxes if r["high"] is not None]
    assert len(boxed) > 20 and all(r["met"] for r in boxed) and not found.notes
    for r in boxed:
        assert r["low"] - 1e-6 <= r["share_expected"] <= r["high"] + 1e-6
    without = sample(MixtureParams(tolerance=1.0), facts)
    off = [abs(r["share_expected"] - r["reference"]) for r in without.boxes if r["reference"]]
    held = [abs(r["share_expected"] - r["reference"]) for r in boxed]
    assert sum(held) < sum(off)  # the boxes are what holds them


def test_a_margin_that_cannot_be_held_is_said_so() -> None:
    facts = world(seed=5, machine=0.0)
    wanted = np.where(np.arange(2) == 0, 0.999, 0.001)
    source = dataclasses.replace(facts.margins[1], reference=wanted, error=np.zeros(2))
    found = sample(MixtureParams(tolerance=0.1), dataclasses.replace(facts, margins=(facts.margins[0], source)))
    assert found.notes and "margin" in found.notes[0]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.floats(0.02, 0.4), st.sampled_from([0, 150_000]))
def test_raising_p_never_raises_a_weight(seed: int, cap: float, budget: int) -> None:
    facts = world(400, seed=seed, topics=6)
    params = MixtureParams(max_synthetic=cap, budget_words=budget, tolerance=1.0, floor=0.0)
    try:
        found = sample(params, facts)
    except RecipeError:
        return
    # within what nothing but P(synthetic) tells apart
    cells = Cells.cut(facts, params.bins)
    alike = np.stack([*(m.codes for m in facts.margins), cells.quality[cells.of] * 10, facts.copies], axis=1).astype(
        int
    )
    for key in np.unique(alike, axis=0):
        rows = np.flatnonzero((alike == key).all(axis=1))
        order = rows[np.argsort(cells.q[cells.of[rows]], kind="stable")]
        assert (np.diff(found.expected[order]) <= 1e-9).all()


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.integers(0, 1000), st.integers(0, 399), st.floats(0.0, 1.0))
def test_a_document_whose_p_rises_is_not_taken_more_often(seed: int, at: int, by: float) -> None:
    facts = world(400, seed=seed, topics=6)
    params = MixtureParams(tolerance=1.0, floor=0.0, bins=10)
    before = sample(params, facts).expected[at]
    q = facts.q.copy()
    q[at] += by * (1 - q[at])
    after = sample(params, dataclasses.replace(facts, q=q)).expected[at]
    assert after <= before + 0.02  # its old and new cell change by one document, and so does the price


@given(st.integers(0, 1000), st.sampled_from([0, 100_000]))
@settings(max_examples=15, deadline=None)
def test_order_does_not_matter(seed: int, budget: int) -> None:
    facts = world(1000, seed=seed, snapshot=50)
    rows = np.random.default_rng(seed).permutation(1000)
    params = MixtureParams(budget_words=budget)
    one, other = sample(params, facts), sample(params, taken(facts, rows))
    np.testing.assert_array_equal(one.copies[rows], other.copies)
    np.testing.assert_array_equal(one.expected[rows], other.expected)
    assert one.frontier == other.frontier and one.notes == other.notes


def test_a_seed_changes_the_draw_and_nothing_else() -> None:
    facts = world()
    one, other = sample(MixtureParams(seed=1), facts), sample(MixtureParams(seed=2), facts)
    assert (one.copies != other.copies).any()
    np.testing.assert_array_equal(one.expected, other.expected)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.integers(0, 1000), st.floats(0.3, 0.95), st.sampled_from([0.0, 0.1]), st.integers(5_000, 100_000))
def test_no_topic_with_human_documents_goes_extinct(seed: int, machine: float, floor: float, budget: int) -> None:
    facts = world(2000, seed=seed, machine=machine, topics=100)
    try:
        found = sample(MixtureParams(budget_words=budget, floor=floor), facts)
    except RecipeError:
        return
    codes, human = facts.margins[0].codes, np.where(facts.q < 0.5, 1 - facts.q, 0)
    alive = np.bincount(codes, human, 100) >= ALIVE
    drawn = np.bincount(codes, found.copies, 100)
    assert alive.any() and (drawn[alive] > 0).all()


def test_the_saved_document_is_the_one_nearest_to_its_draw() -> None:
    group, human = np.array([0, 0, 0, 0, 0, 0, 1]), np.array([1, 1, 1, 1, 1, 1, 1.0])
    dice, expected = np.array([0.9, 0.5, 0.8, 0.9, 0.9, 0.99, 0.9]), np.array([0.1, 0.1, 0.4, 0.1, 0.1, 0.1, 0.1])
    saved = _saved(group, 2, human, np.zeros(7, np.int64), expected, dice)
    assert saved.nonzero()[0].tolist() == [2]  # 0.8 / 0.4 is the least; group 1 has too few to be guarded


def test_a_floor_keeps_part_of_every_group_whatever_the_cap() -> None:
    facts = world(seed=2)
    q = np.where(facts.margins[0].codes == 3, 0.45, facts.q)  # a topic about which the detector is unsure
    doubtful = dataclasses.replace(facts, q=q)
    for floor in (0.0, 0.2):
        found = sample(MixtureParams(max_synthetic=0.04, floor=floor, tolerance=1.0), doubtful)
        kept = next(r for r in found.boxes if r["stratum"] == "topic 3")
        rows = facts.margins[0].codes == 3
        part = (found.expected * facts.words)[rows].sum() / facts.words[rows].sum()
        assert (part >= 0.2 - 1e-3) if floor else (part < 0.1)
        assert kept["retention"] > 0


def test_a_floor_that_breaks_the_cap_gives_way_and_is_said_so() -> None:
    facts = world(seed=2)
    q = np.where(facts.margins[0].codes == 3, 0.45, facts.q)
    found = sample(MixtureParams(max_synthetic=0.04, floor=0.9, tolerance=1.0), dataclasses.replace(facts, q=q))
    assert row(found, "max_synthetic")["met"] and any("floor" in note for note in found.notes)


def test_a_snapshot_gets_its_share_by_repeats() -> None:
    facts = world(seed=7, machine=0.3, snapshot=200)
    found = sample(MixtureParams(), facts)
    share = row(found, "snapshot")
    assert share["met"] and share["expected"] >= 0.25 - 1e-6 and found.copies.max() > 1
    assert (found.copies[~facts.snapshot] <= 1).all()  # nobody asked for more of the crawl than there is


def test_a_small_snapshot_does_not_cost_the_crawl_more_than_a_fifth() -> None:
    facts = world(seed=7, machine=0.0, snapshot=10)
    found = sample(MixtureParams(), facts)
    assert not row(found, "snapshot")["met"]  # said, not forced
    crawl = ~facts.snapshot
    assert (found.expected * facts.words)[crawl].sum() >= 0.79 * facts.words[crawl].sum()


def test_repeats_stop_at_their_cap() -> None:
    facts = world(500, machine=0.0)
    found = sample(MixtureParams(budget_words=int(facts.words.sum() * 3), max_repeats=4), facts)
    assert found.copies.max() <= 4 and row(found, "budget_words")["met"]


def test_verified_synthetic_text_has_an_allowance_of_its_own() -> None:
    facts = world(seed=1, machine=0.5)
    declared = facts.q > 0.6
    facts = dataclasses.replace(facts, q=np.where(declared, 1.0, facts.q), verified=declared)
    found = sample(MixtureParams(tolerance=1.0), facts)
    assert (
        row(found, "max_verified")["expected"] == pytest.approx(0.30, abs=1e-6) and row(found, "max_synthetic")["met"]
    )
    none = sample(MixtureParams(tolerance=1.0), dataclasses.replace(facts, verified=np.zeros_like(declared)))
    assert not none.copies[declared].any()  # surely synthetic, and nobody vouches for it


def test_no_cap_takes_everything() -> None:
    facts = world()
    params = MixtureParams(max_synthetic=1.0, tolerance=1.0, prefer_quality=0.0, prefer_unique=0.0)
    found = sample(params, dataclasses.replace(facts, q=np.round(facts.q)))
    assert (found.copies == 1).all()


def test_a_budget_that_cannot_be_met_stops_with_the_frontier() -> None:
    facts = world(machine=1.0)
    with pytest.raises(RecipeError, match=r"the most words by cap are 5%: .*; set mixture.budget_words"):
        sample(MixtureParams(budget_words=1_000_000), facts)


def test_the_frontier_is_what_a_sort_says() -> None:
    facts = world(800, seed=4)
    cells = Cells.cut(facts, 20)
    found = {r["cap"]: r["words"] for r in frontier(cells, np.ones(len(cells.q)))}
    assert found[1.0] == pytest.approx(facts.words.sum()) and list(found.values()) == sorted(found.values())
    order = np.argsort(cells.q)
    words, machine = np.cumsum(cells.words[order]), np.cumsum((cells.words * cells.q)[order])
    fits = words[machine <= 0.1 * words]
    assert fits[-1] <= found[0.1] <= fits[-1] + cells.words.max()


@given(st.lists(st.just(0.0) | st.floats(1e-6, 1), min_size=1, max_size=30), st.floats(0.01, 1.2))
def test_filling_gives_the_words_asked_for(liked: list[float], part: float) -> None:
    values, words = np.array(liked), np.arange(1.0, len(liked) + 1)
    ceiling, full = np.ones(len(liked)), (words * (values > 0)).sum()
    base = _filled(values, words, ceiling, part * full)
    assert (base <= 1).all() and (base[values == 0] == 0).all()
    assert (base * words).sum() == pytest.approx(min(part, 1.0) * full, rel=1e-6, abs=1e-9)
    assert (np.diff(base[np.argsort(values)]) >= -1e-12).all()


def test_quality_and_copies_decide_only_where_something_must_give() -> None:
    facts = dataclasses.replace(world(machine=0.0), q=np.zeros(3000))
    assert (sample(MixtureParams(tolerance=1.0), facts).copies == 1).all()
    half = sample(MixtureParams(tolerance=1.0, budget_words=int(facts.words.sum() / 2)), facts).expected
    assert half[facts.quality > 0.8].mean() > 1.3 * half[facts.quality < 0.2].mean()
    assert half[facts.copies == 1].mean() > 1.2 * half[facts.copies == 2].mean()


def test_no_documents_make_no_mixture() -> None:
    found = sample(MixtureParams(), taken(world(10), np.zeros(0, np.int64)))
    assert found.copies.shape == (0,) and not found.boxes


def test_factors_multiply_to_the_expectation() -> None:
    found = sample(MixtureParams(), world(snapshot=100))
    np.testing.assert_allclose(found.base * found.cap * found.margins, found.expected, atol=1e-12)


@pytest.mark.parametrize(
    "settings_",
    [
        {"max_synthetic": 1.5},
        {"floor": -0.1},
        {"snapshot": 1.0},
        {"bins": 0},
        {"budget_words": -1},
        {"max_repeats": 0},
        {"prefer_unique": -1.0},
        {"tolerance": -0.1},
        {"origin": "guess"},
        {"repair": "polish"},
    ],
)
def test_params_that_cannot_be_are_refused(settings_: dict[str, Any]) -> None:
    with pytest.raises(RecipeError):
        MixtureParams(**settings_)
