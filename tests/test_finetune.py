"""Fine-tuning at toy size: it trains, leaves embeddings alone, and its difference gives the same model back."""

from __future__ import annotations

import importlib.util
import json
import random
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from transformers import BertConfig, BertModel, RobertaConfig, RobertaModel

from curator.shipped import shipped
from curator.stages.embed import default_folder
from tests import words


def _module() -> Any:
    spec = importlib.util.spec_from_file_location("finetune", shipped("models") / "ai-text/finetune.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["finetune"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


finetune = _module()
SIZES = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "vocab_size": 60_000,
}


def toy(folder: Path, kind: str) -> Path:
    """A base of two layers with random weights and the default encoder's tokenizer."""
    torch.manual_seed(0)
    made = BertModel(BertConfig(**SIZES)) if kind == "bert" else RobertaModel(RobertaConfig(**SIZES))
    made.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt"):
        path = default_folder() / name
        if path.is_file():
            (folder / name).write_bytes(path.read_bytes())
    return folder


@pytest.fixture(scope="module", params=["bert", "roberta"])
def pack(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp(request.param)
    texts = words.texts("human", 60) + words.texts("old", 30) + words.texts("new", 30)
    columns = {
        "text": texts,
        "label": [0.0] * 60 + [1.0] * 60,
        "dataset": ["home", "mail"] * 30 + ["chat"] * 30 + ["talk"] * 30,
        "domain": ["home", "mail"] * 30 + ["chat"] * 30 + ["talk"] * 30,
        "generator": [""] * 60 + ["old-1"] * 30 + ["new-1"] * 30,
        "part": ["train", "train", "train", "tune", "tune", "test"] * 20,
    }
    pq.write_table(pa.table(columns), folder / "texts.parquet")
    (folder / "base").mkdir()
    toy(folder / "base", request.param)
    return folder


def test_a_run_trains_measures_and_saves_its_difference(pack: Path, tmp_path: Path) -> None:
    how = finetune.Settings(steps=3, batch=16)
    finetune.run(pack, tmp_path, ["home+talk", "none of these"], ["new"], how, True)
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert set(figures) == {"all", "without home+talk", "without new"}
    for fold in figures.values():
        assert fold["steps"] == 3 and set(fold["forms"]) == {"cheap", "frozen", "tuned", "frozen fused", "tuned fused"}
        assert all(0 <= value <= 1 for form in fold["forms"].values() for value in form.values())
    assert figures["without new"]["texts"] < figures["all"]["texts"]
    delta = load_file(tmp_path / "delta-00.safetensors")
    assert not any("embed" in name for name in delta) and all(value.dtype == torch.float16 for value in delta.values())
    assert any(value.abs().max() > 0 for name, value in delta.items() if "layer.1" in name)
    assert finetune.applied(pack / "base", delta).trunk.config.num_hidden_layers == 2


def test_a_difference_gives_the_tuned_model_back(pack: Path, tmp_path: Path) -> None:
    texts = finetune.read_pack(pack / "texts.parquet")
    _, model = finetune.fold(texts, pack / "base", np.zeros(120, bool), finetune.Settings(steps=3, batch=16))
    _, tokenizer = finetune.load_trunk(pack / "base")
    delta = finetune.difference(model, pack / "base")
    pieces = finetune.save_pieces(delta, tmp_path, most=4_000)
    assert len(pieces) > 2
    finetune.join(pieces, tmp_path / "whole.safetensors")
    again = finetune.applied(pack / "base", load_file(tmp_path / "whole.safetensors"))
    logit, moments = finetune.judged(model, tokenizer, texts.text, 8)
    back, back_moments = finetune.judged(again, tokenizer, texts.text, 32)
    np.testing.assert_allclose(back, logit, atol=5e-3)
    np.testing.assert_allclose(back_moments, moments, atol=5e-3)
    assert logit.std() > 0


def test_minutes_end_a_fold(pack: Path) -> None:
    texts = finetune.read_pack(pack / "texts.parquet")
    figures, _ = finetune.fold(texts, pack / "base", np.zeros(120, bool), finetune.Settings(minutes=0.0, batch=16))
    assert figures["steps"] == 0


@given(st.text(max_size=200), st.integers(0, 99), st.sampled_from(finetune.ATTACKS))
def test_an_attack_takes_any_text_and_is_the_same_each_time(text: str, seed: int, attack: Any) -> None:
    assert attack(text, random.Random(seed)) == attack(text, random.Random(seed))


def test_each_attack_changes_prose_and_some_texts_are_left_alone() -> None:
    text = words.texts("human", 1)[0]
    assert all(attack(text, random.Random(0)) != text for attack in finetune.ATTACKS)
    made, kinds = finetune.attacked([text] * 200, 0)
    assert set(kinds.tolist()) == set(range(1 + len(finetune.ATTACKS)))
    assert 0.2 < (kinds > 0).mean() < 0.5 and len({made[i] for i in np.flatnonzero(kinds == 0)}) == 1


def test_batches_hold_every_row_once(pack: Path) -> None:
    _, tokenizer = finetune.load_trunk(pack / "base")
    texts = words.texts("human", 50)
    rows = [row for at, _, _ in finetune.batches(texts, tokenizer, 7, np.arange(50)) for row in at]
    assert sorted(rows) == list(range(50))
