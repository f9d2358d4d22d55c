"""The figures by which the origin detector is judged: ranking, bootstrap, calibration error, folds, published figures."""

from __future__ import annotations

import importlib
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

ROOT = Path(__file__).parents[1]
NAMES = ("train", "evaluate", "left_out", "origin")


def modules() -> dict[str, ModuleType]:
    """models/ai-text and benchmarks/origin.py, leaving no name behind for another model's tests to find."""
    before, path = {name: sys.modules.pop(name) for name in NAMES if name in sys.modules}, list(sys.path)
    sys.path[:0] = [str(ROOT / "models/ai-text"), str(ROOT / "benchmarks")]
    try:
        return {name: importlib.import_module(name) for name in NAMES}
    finally:
        sys.path[:] = path
        for name in NAMES:
            sys.modules.pop(name, None)
        sys.modules.update(before)


MODULES = modules()
EVALUATE, LEFT_OUT, ORIGIN = (MODULES[name] for name in ("evaluate", "left_out", "origin"))
ranked_texts = st.lists(
    st.tuples(st.integers(0, 1), st.integers(-4, 4), st.integers(0, 3)), min_size=2, max_size=60
).filter(lambda rows: all(sum(w for y, _, w in rows if y == label) > 0 for label in (0, 1)))


@given(ranked_texts)
def test_ranking_with_weights_and_ties(rows: list[tuple[int, int, int]]) -> None:
    y, logit, weight = (np.array(column, float) for column in zip(*rows, strict=True))
    area, at_1, at_01 = EVALUATE.Ranking.of(y, logit).figures(weight)
    assert area == pytest.approx(roc_auc_score(y, logit, sample_weight=weight))
    for fpr, found in ((0.01, at_1), (0.001, at_01)):
        rates = [
            (weight[(y == 1) & (logit >= cut)].sum() / weight[y == 1].sum(), weight[(y == 0) & (logit >= cut)].sum())
            for cut in (*np.unique(logit), np.inf)
        ]
        allowed = fpr * weight[y == 0].sum()
        assert found == pytest.approx(max(true for true, false in rates if false <= allowed + 1e-9))


@given(ranked_texts)
def test_the_plain_figures_are_those_of_equal_weights(rows: list[tuple[int, int, int]]) -> None:
    y, logit = (np.array(column, float) for column in list(zip(*rows, strict=True))[:2])
    if 0 < y.sum() < len(y):
        found = EVALUATE.Ranking.of(y, logit).figures(np.ones(len(y)))
        assert EVALUATE.auroc(y, logit) == pytest.approx(found[0])
        assert EVALUATE.tpr(y, logit) == pytest.approx(found[1])


def test_draws_take_groups_whole() -> None:
    group = np.array([3, 1, 1, 2, 3])
    drawn = EVALUATE.group_weights(group, 50)
    assert (drawn[:, 1] == drawn[:, 2]).all()
    assert (drawn[:, 0] == drawn[:, 4]).all()
    assert (drawn[:, [0, 1, 3]].sum(1) == 3).all()


def test_intervals_hold_the_truth_and_widen_with_fewer_groups() -> None:
    dice = np.random.default_rng(0)
    flags, each = dice.random(2_000) < 0.3, np.arange(2_000)
    fine, coarse = EVALUATE.share(flags, each), EVALUATE.share(np.repeat(flags[:100], 20), each // 20)
    assert fine.interval[0] < 0.3 < fine.interval[1]
    assert np.ptp(coarse.interval) > 2 * np.ptp(fine.interval)


def test_calibration_error_of_known_probabilities() -> None:
    prob, label = np.array([0.1, 0.1, 0.9, 0.9]), np.array([0.0, 0.0, 1.0, 0.0])
    assert EVALUATE.ece(prob, label, np.ones(4)) == pytest.approx((0.1 * 2 + 0.4 * 2) / 4)
    assert EVALUATE.ece(label, label, np.ones(4)) == 0.0


def test_figures_are_kept_beside_those_of_others(tmp_path: Path) -> None:
    path = tmp_path / "metrics.toml"
    EVALUATE.keep(path, {"mine": {"a": 1}, "old": {"b": 2}})
    figure = EVALUATE.Estimate(0.5, np.linspace(0.4, 0.6, 101))
    EVALUATE.keep(path, {"mine": {"a cell": figure, "n": 3}, "sha": "x"}, lambda name: name == "old")
    assert tomllib.loads(path.read_text()) == {"sha": "x", "mine": {"a cell": [0.5, 0.405, 0.595], "n": 3}}


def test_every_set_is_left_out_once_and_a_new_one_has_its_own_fold() -> None:
    sets = ("biscope", "reuters21578", "something new")
    named = [name for fold in LEFT_OUT.folds(sets) for name in fold.sets]
    assert sorted(named) == sorted(sets)
    assert LEFT_OUT.Fold("something new", sets=("something new",)) in LEFT_OUT.folds(sets)


@given(st.lists(st.integers(0, 30), min_size=40, max_size=400), st.integers(0, 99))
def test_references_never_share_a_document_with_what_they_judge(groups: list[int], seed: int) -> None:
    group = np.array(groups)
    chosen = ORIGIN.draw_reference(group, np.random.default_rng(seed), 50)
    assert chosen.sum() <= min(50, len(group) // 2)
    for name in np.unique(group):
        of = group == name
        assert of.sum() > len(group) / 20 or chosen[of].all() or not chosen[of].any()


def test_published_figures_go_to_the_longest_cell_that_fits(tmp_path: Path) -> None:
    rows = [
        "repo,path,dataset,file,detector,roc_auc,pr_auc,n",
        "a/b,exp_main/results/xsum_gpt-4.gpt-neo-2.7B.rank.json,xsum_gpt-4,x,rank_threshold,0.7,0.7,150",
        "a/b,exp_main/results/xsum_gpt-4-turbo.rank.json,xsum_gpt-4-turbo,x,rank_threshold,0.8,0.8,150",
        "a/b,exp_main/results/xsum_opt-2.7b.rank.json,xsum_opt-2,x,rank_threshold,0.9,0.9,150",
        "c/d,experiment_results/aggfunction_results/xsum_gpt4o_expstd.lastde.json,xsum,x,lastde_threshold,0.6,0.6,150",
    ]
    (tmp_path / "published.csv").write_text("\n".join(rows) + "\n")
    cells = [
        "a/b exp_main/data/xsum_gpt-4", "a/b exp_main/data/xsum_gpt-4-turbo", "a/b exp_main/data/xsum_opt-2.7b",
        "c/d human_llm_data_for_experiment/xsum_gpt4o",
    ]  # fmt: skip
    assert ORIGIN.published(tmp_path / "published.csv", cells) == {
        cells[0]: {"gpt-neo-2.7B.rank": 0.7}, cells[1]: {"rank": 0.8}, cells[2]: {"rank": 0.9},
        cells[3]: {"expstd.lastde": 0.6},
    }  # fmt: skip
