"""Learning the detector's parts: what is learnt is what is served, weights and thresholds mean what they say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curator import learn
from curator.errors import ModelError
from curator.stages import ngram
from tests import words

N = 60


@pytest.fixture(scope="module")
def found() -> learn.Grams:
    return learn.grams(words.texts("human", N) + words.texts("old", N))


LABEL = np.repeat([0.0, 1.0], N)
EVEN = np.arange(2 * N) % 2 == 0


@pytest.fixture(scope="module")
def cheap(found: learn.Grams) -> Any:
    return learn.learn_cheap(found, LABEL, np.ones(2 * N), np.flatnonzero(EVEN), np.flatnonzero(~EVEN))


def test_what_is_learnt_is_what_is_served(found: learn.Grams, cheap: Any) -> None:
    judged = ngram.Cheap.of(cheap).judge(pa.array(words.texts("human", N) + words.texts("old", N), pa.large_string()))
    np.testing.assert_allclose(judged[:, 4], learn.cheap_logits(found, cheap)[:, 2], rtol=1e-9)


def test_two_hands_are_told_apart_and_shuffled_labels_give_chance(found: learn.Grams, cheap: Any) -> None:
    logit = learn.cheap_logits(found, cheap)[:, 2]
    assert logit[~EVEN & (LABEL == 1)].min() > logit[~EVEN & (LABEL == 0)].max()
    shuffled = np.random.default_rng(0).permutation(LABEL)
    fold = np.arange(2 * N) % 5
    _, unseen = learn.learn_expert(found, shuffled, np.ones(2 * N), fold)
    assert abs(unseen[shuffled == 1].mean() - unseen[shuffled == 0].mean()) < unseen.std()


def test_the_same_texts_give_the_same_tensors(found: learn.Grams, cheap: Any) -> None:
    again = learn.learn_cheap(found, LABEL, np.ones(2 * N), np.flatnonzero(EVEN), np.flatnonzero(~EVEN))
    assert all((again[name] == value).all() for name, value in cheap.items())


def test_an_expert_only_adds_odds(found: learn.Grams, cheap: Any) -> None:
    mix = np.array([[1.0, 0.0], [2.0, -1.0]])
    with_expert = {**cheap, "experts": np.random.default_rng(0).normal(size=(1, ngram.BUCKETS)), "mix": mix}
    before, after = (learn.cheap_logits(found, t)[:, 2] for t in (cheap, with_expert))
    assert (after >= before).all() and (after > before + 0.1).any()
    judged = ngram.Cheap.of(with_expert).judge(pa.array(words.texts("human", N), pa.large_string()))
    np.testing.assert_allclose(judged[:, 4], after[:N], rtol=1e-5)  # tables serve in single precision


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), min_size=2, max_size=50))
def test_weights_make_both_labels_weigh_the_same(rows: list[tuple[str, bool]]) -> None:
    domain, label = np.array([r[0] for r in rows]), np.array([float(r[1]) for r in rows])
    weight = learn.cell_weights(domain, label)
    sides = [weight[label == value].sum() for value in (0.0, 1.0) if (label == value).any()]
    assert np.allclose(sides, len(rows) / 2.0) and (weight > 0).all()


def test_a_cell_weighs_as_the_fourth_root_of_its_size() -> None:
    domain = np.array(["a"] * 100 + ["b"] * 4 + ["a"])
    weight = learn.cell_weights(domain, np.array([0.0] * 104 + [1.0]))
    assert weight[:100].sum() / weight[100:104].sum() == pytest.approx(5.0**0.5)


@given(st.lists(st.floats(0.01, 10), min_size=1, max_size=40), st.integers(0, 50))
def test_a_draw_takes_each_row_once(weight: list[float], n: int) -> None:
    rows = learn.spread(np.array(weight), n)
    assert len(rows) == min(n, len(weight)) and len(set(rows.tolist())) == len(rows)


def test_copies_stand_in_one_group() -> None:
    texts = words.texts("human", 30)
    edited = [text.replace("kitchen", "garden", 1) for text in texts]
    groups = learn.near_groups(texts + edited + words.texts("old", 30), np.arange(90))
    together = (groups[:30] == groups[30:60]).mean()
    assert together > 0.75  # one run in sixteen is looked at: of 80 tokens about five
    assert len(set(groups[60:].tolist())) == 30 and not set(groups[:60].tolist()) & set(groups[60:].tolist())
    assert (learn.near_groups(texts, np.zeros(30, np.int64)) == 0).all()


def test_a_background_comes_back_and_holds_no_text(found: learn.Grams, cheap: Any, tmp_path: Path) -> None:
    human = learn.taken(found, np.arange(N))
    learn.write_background(human, np.array(["novels"] * N), tmp_path / "b.parquet")
    back, domain = learn.read_background(tmp_path / "b.parquet")
    assert domain.tolist() == ["novels"] * N and b"kitchen" not in (tmp_path / "b.parquet").read_bytes()
    np.testing.assert_allclose(learn.cheap_logits(back, cheap), learn.cheap_logits(human, cheap), atol=0.01)
    table = pq.read_table(tmp_path / "b.parquet")
    pq.write_table(table.replace_schema_metadata({"features": "others"}), tmp_path / "c.parquet")
    with pytest.raises(ModelError, match="other features"):
        learn.read_background(tmp_path / "c.parquet")


def test_joined_rows_are_those_of_both(found: learn.Grams, cheap: Any) -> None:
    rows = np.array([3, 1, 70])
    both = learn.joined(learn.taken(found, rows), learn.taken(found, np.array([5])))
    assert (learn.cheap_logits(both, cheap) == learn.cheap_logits(found, cheap)[[3, 1, 70, 5]]).all()


def test_a_line_recovers_the_log_odds() -> None:
    dice = np.random.default_rng(0)
    logit = dice.normal(size=20_000)
    label = (dice.random(20_000) < 1 / (1 + np.exp(-(2 * logit - 1)))).astype(float)
    line = learn.calibration_line(logit, label, np.ones(20_000))
    assert line["slope"] == pytest.approx(2, abs=0.1) and line["constant"] == pytest.approx(-1, abs=0.1)


@settings(max_examples=30)
@given(st.integers(0, 1_000), st.sampled_from([0.01, 0.05, 0.2]))
def test_an_operating_point_lets_its_share_of_each_domain_through(seed: int, target: float) -> None:
    dice = np.random.default_rng(seed)
    domain = np.repeat(["many", "few"], [900, 300])
    logit = dice.normal(size=1_200) + (domain == "few")
    point = learn.operating_point(logit, np.zeros(1_200), domain, target)
    rates = [(logit[domain == name] > point).mean() for name in ("many", "few")]
    assert (
        np.mean(rates) <= target < np.mean([(logit[domain == name] >= point).mean() for name in ("many", "few")]) + 1e-9
    )


def test_the_gate_holds_its_share_below_its_upper_end() -> None:
    logit = np.random.default_rng(0).normal(size=10_000)
    low, high = learn.gate_limits(logit, np.zeros(10_000), np.array(["x"] * 10_000), np.ones(10_000), 0.08)
    assert ((logit > low) & (logit < high)).mean() == pytest.approx(0.08, abs=0.001) and (logit > high).mean() <= 0.004


def test_a_probe_sees_typesetting_and_nothing_where_there_is_none() -> None:
    plain = words.texts("human", 100)
    marked = [text.replace(". ", ".\n\n* ") for text in plain[:50]] + plain[50:]
    label, fold = np.repeat([1.0, 0.0], 50), np.arange(100) % 5
    assert learn.probe(learn.typesetting(marked), label, fold) > 0.95
    assert 0.2 < learn.probe(learn.typesetting(plain), label, fold) < 0.8


def test_the_encoders_head_finds_the_direction() -> None:
    dice = np.random.default_rng(0)
    label = np.repeat([0.0, 1.0], 300)
    moments = (dice.normal(size=(600, 20)) + np.outer(label, np.eye(20)[7])).astype(np.float32)
    head = learn.learn_head(moments, label, np.ones(600))
    assert head["weight"].argmax() == 7 and head["weight"].dtype == np.float32
