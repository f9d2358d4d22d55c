"""A share is an estimate with an interval that holds, or null with a reason."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curator import prevalence
from curator.anchors import BINS, MIDDLE, WIDTH, Anchors, Cells, Chances, binned
from curator.prevalence import SCORES, Basis, Documents, Share

DOMAINS, SIZE = 20, 2_000


def probability(logit: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-logit))


@dataclass
class World:
    """Domains whose human and machine texts score differently, as real ones do, and three generators in each."""

    dice: np.random.Generator

    def human(self, n: int) -> np.ndarray:
        return self.dice.normal(self.dice.normal(-4.5, 1.2), 2.3, n)

    def machine(self, n: int, at: float | None = None) -> np.ndarray:
        middle = self.dice.normal(4.0, 1.2) if at is None else at
        return self.dice.normal(middle + self.dice.normal(0, 0.7), 2.6, n)

    def anchors(self, size: int = 150) -> Anchors:
        human = np.concatenate([self.human(size) for _ in range(DOMAINS)])
        middles = self.dice.normal(4.0, 1.2, DOMAINS)
        machine = np.concatenate([self.machine(size // 3, m) for m in np.repeat(middles, 3)])
        domain, cell = np.repeat(np.arange(DOMAINS), size), np.repeat(np.arange(3 * DOMAINS), size // 3)
        return Anchors(Cells.of(probability(human), domain), Cells.of(probability(machine), cell, cell // 3), "anchors")


def basis(anchors: Anchors | None, documents: Documents, trusted: np.ndarray | None = None, **more) -> Basis | None:  # type: ignore[no-untyped-def]
    n = len(documents.judged)
    own = np.zeros(n, bool) if trusted is None else trusted
    return prevalence.basis_of(own, documents, np.zeros(n, np.int64), ["s"], anchors, **more)


def share_of(logit: np.ndarray, anchors: Anchors | None, trusted: np.ndarray | None = None) -> Share:
    """The share of the documents, with the scores of others known to be human."""
    known = np.zeros(0) if trusted is None else trusted
    every = np.concatenate([logit, known])
    documents = Documents.of(np.ones(len(every), bool), probability(every))
    inside = np.arange(len(every)) < len(logit)
    found = basis(anchors, documents, ~inside)
    return prevalence.estimates(documents, np.where(inside, 0, -1), 1, np.ones(len(every)), found)[0]


def mixed(world: World, share: float, n: int = SIZE) -> tuple[np.ndarray, np.ndarray]:
    """A corpus of one new domain, and other human text of it."""
    machine = round(share * n)
    human = world.human(n - machine + 300)
    return np.concatenate([human[300:], world.machine(machine)]), human[:300]


@pytest.mark.parametrize("truth", [0.0, 0.01, 0.1, 0.5, 0.9])
def test_the_interval_covers_the_truth_in_domains_never_seen(truth: float) -> None:
    for anchored, error in ((True, 0.06), (False, 0.15)):
        world, off, covered, under = World(np.random.default_rng(3)), [], [], []
        for _ in range(40):
            logit, trusted = mixed(world, truth)
            found = share_of(logit, world.anchors(), trusted if anchored else None)
            assert found.share is not None and found.low is not None and found.high is not None
            assert found.lower is not None and found.lower <= found.share
            covered.append(found.low - 1e-9 <= truth <= found.high + 1e-9)
            under.append(found.lower <= truth + 1e-9)
            off.append(found.share - truth)
        assert np.mean(covered) >= 0.93
        assert np.mean(under) >= 0.97
        assert np.abs(off).mean() <= error


def test_trusted_text_of_the_source_narrows_the_share() -> None:
    """A twentieth of what these people write scores high: their own text says so, others' text does not."""
    world = World(np.random.default_rng(1))
    anchors = world.anchors()
    people = np.where(world.dice.random(4_300) < 0.2, 4.0, -5.0) + world.dice.standard_normal(4_300)
    known, unknown = share_of(people[300:], anchors, people[:300]), share_of(people[300:], anchors)
    assert known.share is not None and known.high is not None and unknown.share is not None and unknown.high is not None
    assert known.share < 0.04 and known.low == 0.0 and known.lower == 0.0 and known.warning is None
    assert unknown.share > 0.15 and unknown.high - unknown.low > known.high - known.low  # type: ignore[operator]
    assert known.basis == "300 trusted documents of s" and unknown.basis == "anchors"
    assert unknown.warning and "other people's text" in unknown.warning


def test_a_source_of_machines_does_not_lend_its_weight_to_the_false_positives() -> None:
    """One source is human and often flagged, the other all machine: the pooled share is their mean."""
    dice = np.random.default_rng(2)
    anchors = World(dice).anchors()
    human = np.where(dice.random(2_300) < 0.3, 3.0, -5.0) + dice.standard_normal(2_300)
    other = dice.normal(-5, 2, 300)
    logit = np.concatenate([human, other, dice.normal(5, 2.5, 2_000)])
    source = np.repeat([0, 1], [2_300, 2_300])
    trusted = (np.arange(len(logit)) < 300) | ((np.arange(len(logit)) >= 2_300) & (np.arange(len(logit)) < 2_600))
    documents = Documents.of(np.ones(len(logit), bool), probability(logit))
    found = prevalence.basis_of(trusted, documents, source, ["a", "b"], anchors)
    (share,) = prevalence.estimates(documents, np.where(trusted, -1, 0), 1, np.ones(len(logit)), found)
    assert share.share == pytest.approx(0.5, abs=0.04)


def test_machine_twins_narrow_the_share() -> None:
    world = World(np.random.default_rng(5))
    anchors = world.anchors()
    human, machine = world.human(2_600), world.dice.normal(1.0, 2.6, 2_700)  # a generator that is hard to tell
    every = np.concatenate([human, machine])
    at = np.arange(len(every))
    trusted, twins = at < 300, at >= len(every) - 400
    documents = Documents.of(np.ones(len(every), bool), probability(every))
    stratum, one = np.where(trusted | twins, -1, 0), np.ones(len(every))
    (without,) = prevalence.estimates(documents, stratum, 1, one, basis(anchors, documents, trusted))
    (with_,) = prevalence.estimates(documents, stratum, 1, one, basis(anchors, documents, trusted, twins=twins))
    assert with_.share == pytest.approx(0.5, abs=0.03)
    assert with_.high - with_.low < 0.8 * (without.high - without.low)  # type: ignore[operator]


def test_the_lower_bound_needs_no_machine_text() -> None:
    world = World(np.random.default_rng(6))
    anchors, (logit, trusted) = world.anchors(), mixed(world, 0.4)
    shifted = Anchors(anchors.human, Cells(np.roll(anchors.machine.counts, 9, axis=1), anchors.machine.parent), "x")
    documents = Documents.of(np.ones(len(logit) + 300, bool), probability(np.concatenate([logit, trusted])))
    human = np.arange(len(logit) + 300) >= len(logit)
    one, two = basis(anchors, documents, human), basis(shifted, documents, human)
    assert one is not None and two is not None
    same = Basis(two.group, one.human, two.machine, two.names, two.borrowed, one.edges)
    stratum, ones = np.where(human, -1, 0), np.ones(len(human))
    a, b = (prevalence.estimates(documents, stratum, 1, ones, x)[0] for x in (one, same))
    assert a.lower == b.lower and 0.2 < a.lower <= 0.4  # type: ignore[operator]
    assert a.share != b.share


def test_selection_by_the_detector_does_not_make_the_rest_clean() -> None:
    world = World(np.random.default_rng(2))
    anchors = Anchors(
        Cells.of(probability(world.dice.normal(-4.5, 3, 20_000)), np.repeat(np.arange(20), 1_000)),
        Cells.of(probability(world.dice.normal(4.5, 3, 20_000)), np.repeat(np.arange(20), 1_000)),
        "exact",
    )
    machine = world.dice.random(20_000) < 0.4
    logit = np.where(machine, 4.5, -4.5) + 3 * world.dice.standard_normal(20_000)
    stays = logit < 3.0
    documents = Documents.of(np.ones(20_000, bool), probability(logit))
    whole, cut, ones = np.zeros(20_000, np.int64), np.where(stays, 0, -1), np.ones(20_000)
    found = basis(anchors, documents)
    (naive,) = prevalence.estimates(documents, cut, 1, ones, found)
    (before,) = prevalence.estimates(documents, whole, 1, ones, found)
    (after,) = prevalence.estimates(documents, cut, 1, ones, found, whole)
    truth = machine[stays].mean()
    assert truth > 0.15 and naive.share is not None and naive.share < truth - 0.05
    assert after.share == pytest.approx(truth, abs=0.02) and after.low <= truth <= after.high  # type: ignore[operator]
    assert after.method == f"{before.method} before selection"
    (everything,) = prevalence.estimates(documents, whole, 1, ones, found, whole)
    assert everything.share == pytest.approx(before.share, abs=1e-3)
    (little,) = prevalence.estimates(documents, np.where(np.arange(20_000) < 190, 0, -1), 1, ones, found, whole)
    assert little.share is None and little.reason and "the selection left 190 of 20000" in little.reason


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0, 1), st.sampled_from([0.5, 1.0, 3.0]))
def test_machine_text_by_score_adds_up_to_the_share_and_rises(seed: int, share: float, slope: float) -> None:
    scores = np.random.default_rng(seed).multinomial(5_000, np.random.default_rng(seed).dirichlet(np.full(BINS, 0.1)))
    (chance,) = prevalence.machine_by_step(scores[None].astype(float), np.array([share]), slope)
    assert (scores * chance).sum() / 5_000 == pytest.approx(share, abs=1e-6)
    assert (np.diff(chance) >= 0).all() and chance.min() >= 0 and chance.max() <= 1


def test_at_the_true_share_a_calibrated_score_says_what_is_machine_text() -> None:
    prob = 1 / (1 + np.exp(-MIDDLE))
    human = np.exp(-((MIDDLE + 3) ** 2) / 12)
    machine = human * prob / (1 - prob)  # the odds at prior one half are those of the score
    share, parts = 0.2, (human / human.sum(), machine / machine.sum())
    scores = (1 - share) * parts[0] + share * parts[1]
    (chance,) = prevalence.machine_by_step(1_000 * scores[None], np.array([share]))
    np.testing.assert_allclose(chance[scores > 1e-12], (share * parts[1] / scores)[scores > 1e-12], atol=1e-6)


def test_no_basis_or_too_few_documents_is_null_with_a_reason() -> None:
    logit = np.full(100, -5.0)
    assert share_of(logit, None).reason == "no text known to be human or machine to measure the detector's errors on"
    anchors = World(np.random.default_rng(0)).anchors()
    documents = Documents.of(np.arange(100) < 29, probability(logit))
    (found,) = prevalence.estimates(documents, np.zeros(100, np.int64), 1, np.ones(100), basis(anchors, documents))
    assert found == Share(100, 29, reason="29 judged documents, fewer than 30")
    (weightless,) = prevalence.estimates(
        Documents.of(np.ones(100, bool), probability(logit)), np.zeros(100, np.int64), 1, np.zeros(100), basis(anchors, documents)
    )  # fmt: skip
    assert weightless.share is None and weightless.reason == "its judged documents weigh nothing"


def test_a_detector_that_tells_nothing_apart_says_so() -> None:
    dice = np.random.default_rng(0)
    same = Cells.of(probability(dice.standard_normal(2_000)), np.repeat(np.arange(10), 200))
    found = share_of(dice.standard_normal(500), Anchors(same, same, "blind"))
    assert found.share is None and found.reason and found.reason.startswith("the detector cannot tell")


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6))
def test_order_does_not_matter_and_strata_stand_alone(seed: int, strata: int) -> None:
    dice = np.random.default_rng(seed)
    n, anchors = 400, World(np.random.default_rng(0)).anchors()
    codes, host = dice.integers(-1, strata, n), dice.integers(-1, 30, n)
    prob, judged, weight = dice.random(n), dice.random(n) < 0.9, dice.random(n) + 0.1

    def estimates(stratum: np.ndarray, order: np.ndarray, of: int) -> list[Share]:
        documents = Documents.of(judged[order], prob[order], host[order])
        return prevalence.estimates(documents, stratum[order], of, weight[order], basis(anchors, documents))

    given_, order = np.arange(n), dice.permutation(n)
    one, two = estimates(codes, given_, strata), estimates(codes, order, strata)
    for a, b in zip(one, two, strict=True):
        assert a.n == b.n and a.n_judged == b.n_judged and a.reason == b.reason
        if a.share is not None and b.share is not None:
            assert a.share == pytest.approx(b.share, abs=1e-6) and a.low == pytest.approx(b.low, abs=0.02)
            assert 0 <= a.lower <= a.share and a.low <= a.share <= a.high <= 1  # type: ignore[operator]
    alone = estimates(np.where(codes == 0, 0, -1), given_, 1)[0]
    assert alone.n == one[0].n and (alone.share is None) == (one[0].share is None)
    if alone.share is not None:
        assert alone.share == pytest.approx(one[0].share, abs=1e-6)


def test_documents_of_one_host_are_not_independent() -> None:
    """The closed form agrees with a bootstrap by host."""
    dice = np.random.default_rng(0)
    hosts, each = 60, 25
    host = np.repeat(np.arange(hosts), each)
    logit = np.where(dice.random(hosts) < 0.4, 4.0, -4.0)[host] + dice.standard_normal(len(host))
    weight = dice.random(len(host)) + 0.5
    edges = np.array([60, 64, 70, 76])
    documents = Documents.of(np.ones(len(host), bool), probability(logit), host)
    nothing = np.zeros(len(host), np.int64)
    tally = prevalence._Tally.of(documents, nothing, 1, weight, nothing, 1, edges)
    above = (documents.step[:, None] >= edges).astype(float)

    def spread(units: np.ndarray) -> float:
        picks = dice.integers(0, units.max() + 1, (600, units.max() + 1))
        mass = np.bincount(units, weight)
        sums = np.stack([np.bincount(units, weight * above[:, k]) for k in range(len(edges))], axis=1)
        return float((sums[picks].sum(1) / mass[picks].sum(1)[:, None]).var(axis=0).sum())

    kish = weight.sum() ** 2 / (weight**2).sum()
    expected = kish * spread(np.arange(len(host))) / spread(host)
    assert tally.effective()[0] == pytest.approx(expected, rel=0.2)
    assert tally.effective()[0] < 0.1 * kish
    alone = Documents.of(documents.judged, probability(logit))
    assert prevalence._Tally.of(alone, nothing, 1, weight, nothing, 1, edges).effective()[0] == pytest.approx(
        kish, rel=0.01
    )


def test_nested_groups_are_not_taken_for_as_many() -> None:
    """Nine generators in each of eight domains: how domains differ is known from eight, not from seventy-two."""
    dice = np.random.default_rng(4)
    edges = np.array([60, 64, 70, 76])
    middles = dice.normal(0, 2.0, 8)
    logit = np.concatenate([dice.normal(m, 1.0, 400) for m in np.repeat(middles, 9)])
    cell = np.repeat(np.arange(72), 400)
    nested = Chances.next_group(Cells.of(probability(logit), cell, cell // 9), edges)
    flat = Chances.next_group(Cells.of(probability(logit), cell), edges)
    truth = np.mean([1 / (1 + np.exp(-1.7 * dice.normal(0, 2.0, 20_000)))], axis=0).var()
    assert nested.mean == pytest.approx(flat.mean, abs=1e-9)
    assert nested.covariance[1, 1] > flat.covariance[1, 1]
    assert nested.covariance[1, 1] == pytest.approx(truth, rel=0.5)
    assert (np.linalg.eigvalsh(nested.covariance) > 0).all() and (nested.most > nested.mean).all()


def test_groups_that_are_alike_have_only_their_counting_error_taken_off() -> None:
    dice = np.random.default_rng(0)
    prob = probability(dice.normal(0, 2, 40 * 50))
    found = Chances.next_group(Cells.of(prob, np.repeat(np.arange(40), 50)), np.array([60, 64, 70, 76]))
    assert np.sqrt(np.diag(found.covariance)).max() < 0.05  # one group of fifty alone errs by 0.07


def test_small_cells_of_one_parent_are_counted_together() -> None:
    cells = Cells.of(np.full(70, 0.9), np.repeat(np.arange(7), [50, 4, 4, 4, 4, 2, 2]), np.repeat([0, 1], [58, 12]))
    assert sorted(cells.counts.sum(axis=1)) == [8, 12, 50] and sorted(cells.parent) == [0, 0, 1]
    assert cells.density().sum() == pytest.approx(1.0)


@given(st.floats(0.001, 0.999), st.floats(0.001, 0.999))
def test_the_posterior_rises_with_the_prior_and_is_itself_at_one_half(prob: float, share: float) -> None:
    p = np.array([prob])
    assert prevalence.posterior(p, 0.5)[0] == pytest.approx(prob)
    assert (prevalence.posterior(p, share)[0] >= prob - 1e-12) == (share >= 0.5) or prob == pytest.approx(
        prevalence.posterior(p, share)[0]
    )


@given(st.floats(0.0, 1.0) | st.just(float("nan")))
def test_every_probability_has_a_step_and_steps_rise(prob: float) -> None:
    step = binned(np.array([prob, 0.5]))
    assert 0 <= step[0] < BINS and step[1] == BINS // 2
    assert prob != prob or (step[0] <= step[1]) == (prob < 1 / (1 + np.exp(-WIDTH)))


def calibrated(n: int, share: float) -> np.ndarray:
    """Probabilities calibrated at prior one half, of a corpus with another share."""
    dice = np.random.default_rng(4)
    return probability(np.where(dice.random(n) < share, 1.5, -1.5) + dice.standard_normal(n) * np.sqrt(3.0))


def test_the_prior_is_found_again_where_probabilities_are_calibrated() -> None:
    scores = np.stack([np.bincount(binned(calibrated(40_000, s)), minlength=BINS) for s in (0.2, 0.7)])
    assert prevalence.prior_fitted(scores.astype(float)) == pytest.approx([0.2, 0.7], abs=0.02)


def test_the_prior_is_the_one_that_quapy_finds() -> None:
    aggregative = pytest.importorskip("quapy.method.aggregative", reason="QuaPy, the oracle, is not installed")
    prob = calibrated(5_000, 0.3)
    theirs, _ = aggregative.EMQ.EM(np.array([0.5, 0.5]), np.column_stack([1 - prob, prob]), epsilon=1e-7)
    ours = prevalence.prior_fitted(np.bincount(binned(prob), minlength=BINS).astype(float)[None])
    assert ours[0] == pytest.approx(theirs[1], abs=0.005)


def test_the_edges_part_what_the_anchors_scored() -> None:
    anchors = World(np.random.default_rng(0)).anchors()
    edges = prevalence._edges(anchors, SCORES)
    both = (anchors.human.density() + anchors.machine.density()) / 2
    parts = np.add.reduceat(both, np.concatenate([[0], edges]))
    assert len(edges) == SCORES and parts == pytest.approx(np.full(SCORES + 1, 1 / (SCORES + 1)), abs=0.03)
