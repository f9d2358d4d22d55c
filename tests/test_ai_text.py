"""P(synthetic): fusion, calibration, abstention, and the figures that the shipped weights must keep."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curator.shipped import pinned, shipped
from curator.stages.ai_text import AiText
from curator.stages.ngram import CheapOrigin, ai_text_config

DATA = Path(__file__).parents[1].parent / "shared/data"
FOLDER = shipped("models") / "ai-text"


def batch(rows: list[tuple[float | None, float | None, str | None, str | None]]) -> pa.RecordBatch:
    names = ("ai_cheap_logit", "ai_encoder_logit", "ai_unfit", "language")
    types = (pa.float64(), pa.float64(), pa.string(), pa.string())
    columns = zip(*rows, strict=True) if rows else ((), (), (), ())
    return pa.RecordBatch.from_arrays([pa.array(c, t) for c, t in zip(columns, types, strict=True)], names)


def run(*rows: tuple[float | None, float | None, str | None, str | None]) -> list[dict[str, Any]]:
    return AiText().open()(batch(list(rows))).to_pylist()


def test_each_reason_for_abstaining_is_named() -> None:
    found = run(
        (1.0, None, "too_short", "en"), (1.0, None, "not_prose", "en"), (1.0, None, None, "de"), (1.0, None, None, None),
        (1.0, None, None, "en"), (None, None, None, None),
    )  # fmt: skip
    assert [row["ai_abstain"] for row in found] == [
        "too_short", "not_prose", "untrained_language", "untrained_language", None, None,
    ]  # fmt: skip
    assert [row["prob_synthetic"] is None for row in found] == [True, True, True, True, False, True]
    assert [row["synthetic"] is None for row in found] == [True, True, True, True, False, True]
    assert set(found[-1].values()) == {None}


def test_the_path_says_who_judged() -> None:
    cheap, both = run((0.5, None, None, "en"), (0.5, 3.0, None, "en"))
    assert (cheap["ai_path"], both["ai_path"]) == ("cheap", "encoder")
    lines = ai_text_config()["line"]
    assert cheap["ai_logit"] == lines["cheap"]["constant"] + lines["cheap"]["cheap"] * 0.5
    line = lines["encoder"]
    assert both["ai_logit"] == pytest.approx(line["cheap"] * 0.5 + line["encoder"] * 3.0 + line["constant"], rel=1e-15)
    assert both["prob_synthetic"] == pytest.approx(1 / (1 + np.exp(-both["ai_logit"])))


@given(st.floats(-60, 60), st.floats(0, 20), st.one_of(st.none(), st.floats(-20, 20)))
def test_probability_rises_with_the_logit(logit: float, step: float, encoder: float | None) -> None:
    low, high = run((logit, encoder, None, "en"), (logit + step, encoder, None, "en"))
    assert 0.0 <= low["prob_synthetic"] <= high["prob_synthetic"] <= 1.0
    assert low["synthetic"] <= high["synthetic"]


def test_the_verdict_is_the_operating_point_of_the_path() -> None:
    config = ai_text_config()
    line, point = config["line"]["cheap"], config["operating_point"]["cheap"]
    score = (point - line["constant"]) / line["cheap"]
    below, at = run((score - 1e-9, None, None, "en"), (score + 1e-9, None, None, "en"))
    assert (below["synthetic"], at["synthetic"]) == (False, True)


def test_no_rows() -> None:
    assert AiText().open()(batch([])).schema.equals(AiText().adds)


def test_shipped_files_are_pinned_and_small() -> None:
    for name, sha256 in ai_text_config()["sha256"].items():
        assert pinned(FOLDER / name, sha256).stat().st_size < 5_000_000
    assert sum(path.stat().st_size for path in FOLDER.iterdir() if path.is_file()) < 8_000_000


def test_anchors_hold_scores_and_no_text() -> None:
    table = pq.read_table(FOLDER / "anchors.parquet")
    assert {field.name: str(field.type) for field in table.schema} == {
        "label": "string", "domain": "string", "generator": "string", "n_words": "int32",
        "logit_cheap": "float", "logit_encoder": "float",
    }  # fmt: skip
    assert set(table["label"].to_pylist()) == {"human", "synthetic"}
    assert len(table) - table["logit_encoder"].null_count >= 3_000


def auroc(label: np.ndarray, logit: np.ndarray) -> float:
    order = np.argsort(np.argsort(logit))
    positives = label.sum()
    return float((order[label == 1].sum() - positives * (positives - 1) / 2) / (positives * (len(label) - positives)))


def test_shipped_figures_keep_their_floors() -> None:
    figures = tomllib.loads((FOLDER / "metrics.toml").read_text("utf-8"))
    floors, held = figures["floors"], figures["held_out"]
    assert figures["held_out_cheap"]["auroc"] >= floors["auroc_cheap"]
    assert figures["held_out_cheap"]["tpr_at_1"] >= floors["tpr_at_1_cheap"]
    assert held["fused"]["auroc"] >= floors["auroc_fused"]
    assert held["operating_point"]["fpr"] <= floors["fpr_at_operating_point"]
    assert held["ece"]["cascade"] <= floors["ece"]
    assert figures["probe"]["typesetting_folded"] <= 0.65


def test_anchors_separate_as_the_figures_say() -> None:
    table = pq.read_table(FOLDER / "anchors.parquet")
    label = np.array([value == "synthetic" for value in table["label"].to_pylist()], float)
    floors = tomllib.loads((FOLDER / "metrics.toml").read_text("utf-8"))["floors"]
    assert auroc(label, table["logit_cheap"].to_numpy()) >= floors["auroc_unseen"]


@pytest.mark.skipif(
    not (DATA / "detect").is_dir(), reason="the text for training and measuring is not in ../shared/data"
)
def test_the_weights_still_tell_real_text_apart() -> None:
    """Texts of sets that training saw in part: a gate against broken features, not a figure."""
    texts, label = [], []
    for name in ("news_2016_2017", "imdb_reviews", "debate_2026_models", "sharegpt_gpt_turns"):
        table = pq.read_table(DATA / f"detect/train/{name}.parquet", columns=["text", "label"]).slice(1_000, 250)
        texts += table["text"].to_pylist()
        label += [value == "synthetic" for value in table["label"].to_pylist()]
    columns = CheapOrigin().open()(pa.RecordBatch.from_arrays([pa.array(texts, pa.large_string())], ["text"]))
    fit = columns["ai_unfit"].is_null().to_numpy(zero_copy_only=False)
    logit = columns["ai_cheap_logit"].to_numpy(zero_copy_only=False)[fit]
    assert fit.mean() > 0.9
    assert auroc(np.array(label, float)[fit], logit) >= 0.985
