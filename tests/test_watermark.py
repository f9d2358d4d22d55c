"""Watermarks: held to PyTorch's numbers and transformers' own generators and detectors; chance where the key is another."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest
from transformers import PreTrainedConfig, WatermarkDetector
from transformers.generation.logits_process import SynthIDTextWatermarkLogitsProcessor, WatermarkLogitsProcessor

from curator.errors import ModelError, RecipeError
from curator.stages import watermark
from curator.stages.watermark import Watermark

VOCABULARY = 400
LARGE = 8_000
KEYS = (654, 400, 836, 123, 340, 443, 597, 160, 57, 29)


def tokenizer_of(path: Path, size: int) -> Path:
    """A tokenizer whose word "t7" is token 7."""
    model = {"type": "WordLevel", "vocab": {f"t{i}": i for i in range(size)}, "unk_token": "t0"}
    empty = dict.fromkeys(("truncation", "padding", "normalizer", "post_processor", "decoder"))
    split = {"type": "WhitespaceSplit"}
    path.write_text(json.dumps({"version": "1.0", "added_tokens": [], "pre_tokenizer": split, **empty, "model": model}))
    return path


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tokenizer_of(tmp_path_factory.mktemp("small") / "tokenizer.json", VOCABULARY)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tokenizer_of(tmp_path_factory.mktemp("large") / "tokenizer.json", LARGE)


def text_of(ids: Any) -> str:
    return " ".join(f"t{int(i)}" for i in ids)


def run(stage: Watermark, texts: list[str | None]) -> list[dict[str, Any]]:
    return stage.open()(pa.RecordBatch.from_arrays([pa.array(texts, pa.large_string())], ["text"])).to_pylist()


def chance(n: int, size: int, vocabulary: int = VOCABULARY) -> list[str | None]:
    rng = np.random.default_rng(0)
    return [text_of(rng.integers(0, vocabulary, size)) for _ in range(n)]


def green_processor(**settings_: Any) -> WatermarkLogitsProcessor:
    return WatermarkLogitsProcessor(vocab_size=VOCABULARY, device="cpu", **settings_)


def generated(processor: Any, n: int, size: int, prefix: int = 8) -> torch.Tensor:
    """Tokens of a model without preferences, flat over the vocabulary, as the processor turns its logits."""
    torch.manual_seed(1)
    ids = torch.randint(0, VOCABULARY, (n, prefix))
    for _ in range(size):
        scores = processor(ids, torch.rand(n, VOCABULARY))
        ids = torch.cat([ids, torch.multinomial(torch.softmax(scores, 1), 1)], 1)
    return ids[:, prefix:]


def synthid_processor() -> SynthIDTextWatermarkLogitsProcessor:
    return SynthIDTextWatermarkLogitsProcessor(5, list(KEYS), 65_536, 0, 1_024, torch.device("cpu"))


@given(st.integers(0, 2**64 - 1), st.integers(1, 3_000))
@settings(max_examples=15, deadline=None)
def test_numbers_are_those_of_pytorch_on_a_cpu(seed: int, size: int) -> None:
    drawn = torch.randperm(size, generator=torch.Generator().manual_seed(seed - (seed >> 63 << 64)))
    assert (watermark.permutation(np.uint64(seed), size) == drawn.numpy()).all()
    drawn = torch.randint(0, 2, (size,), generator=torch.Generator().manual_seed(seed - (seed >> 63 << 64)))
    assert (watermark.coins(np.uint64(seed), size) == drawn.numpy()).all()


@pytest.mark.parametrize(("seeding", "context"), [("lefthash", 1), ("lefthash", 3), ("selfhash", 1), ("selfhash", 4)])
def test_green_tokens_are_those_of_the_reference_detector(tokenizer: Path, seeding: str, context: int) -> None:
    given_ = {
        "greenlist_ratio": 0.25,
        "bias": 2.0,
        "hashing_key": 15485863,
        "seeding_scheme": seeding,
        "context_width": context,
    }
    config = PreTrainedConfig()
    config.vocab_size, config.bos_token_id = VOCABULARY, -1
    ids = torch.randint(0, VOCABULARY, (3, 60), generator=torch.Generator().manual_seed(5))
    reference = WatermarkDetector(config, "cpu", given_, ignore_repeated_ngrams=True)(ids, return_dict=True)
    stage = Watermark(tokenizer=str(tokenizer), seeding=seeding, context=context)  # type: ignore[arg-type]
    rows = run(stage, [text_of(row) for row in ids])
    assert [row["watermark_tokens"] for row in rows] == reference.num_tokens_scored.tolist()
    assert np.allclose([row["watermark_z"] for row in rows], reference.z_score, atol=1e-9)
    assert np.allclose([row["watermark_p"] for row in rows], reference.p_value, atol=1e-9)


def test_selfhash_with_the_authors_table(tokenizer: Path) -> None:
    key, ids = 15485863, torch.randint(0, VOCABULARY, (40,), generator=torch.Generator().manual_seed(5))
    table = torch.randperm(1_000_003, generator=torch.Generator().manual_seed(2971215073)) + 1
    green, grams = 0, {tuple(gram) for gram in ids.unfold(0, 4, 1).tolist()}
    for gram in grams:
        seed = int((key * table[list(gram)] * table[gram[-1]]).min())
        generator = torch.Generator().manual_seed(seed % (2**64 - 1) & 0xFFFFFFFF)
        green += gram[-1] in torch.randperm(VOCABULARY, generator=generator)[: VOCABULARY // 4]
    stage = Watermark(tokenizer=str(tokenizer), seeding="selfhash", context=4, table_seed=2971215073)
    row = run(stage, [text_of(ids)])[0]
    assert row["watermark_tokens"] == len(grams)
    assert row["watermark_z"] == pytest.approx((green - len(grams) / 4) / (len(grams) * 3 / 16) ** 0.5)


def test_g_values_are_those_of_the_reference(tokenizer: Path) -> None:
    ids = torch.randint(0, 4, (4, 200), generator=torch.Generator().manual_seed(5))  # few tokens: contexts recur
    processor = synthid_processor()
    values = processor.compute_g_values(ids).float().numpy()
    fresh = processor.compute_context_repetition_mask(ids).numpy()
    heads, n = float(processor.sampling_table.float().mean()), fresh.sum(1)
    assert (n < 196).all()
    for weighing, weights in (("mean", np.ones(10)), ("weighted", np.linspace(10, 1, 10))):
        weights = weights / weights.sum()
        found = ((values * weights).sum(2) * fresh).sum(1)
        z = (found - heads * n) / np.sqrt(n * heads * (1 - heads) * (weights**2).sum())
        stage = Watermark(scheme="synthid", tokenizer=str(tokenizer), keys=KEYS, weighing=weighing)  # type: ignore[arg-type]
        rows = run(stage, [text_of(row) for row in ids])
        assert [row["watermark_tokens"] for row in rows] == n.tolist()
        assert np.allclose([row["watermark_z"] for row in rows], z, atol=1e-9)


@pytest.mark.parametrize("seeding", ["lefthash", "selfhash"])
def test_a_green_list_is_found_and_grows_with_the_root_of_the_length(tokenizer: Path, seeding: str) -> None:
    if seeding == "lefthash":
        ids = generated(green_processor(seeding_scheme="lefthash"), 8, 160)
    else:
        ids = generated(green_processor(seeding_scheme="selfhash", context_width=2), 1, 60)
    stage = Watermark(tokenizer=str(tokenizer), seeding=seeding, context=1 if seeding == "lefthash" else 2)  # type: ignore[arg-type]
    whole = np.mean([row["watermark_z"] for row in run(stage, [text_of(row) for row in ids])])
    assert whole > 3
    if seeding == "lefthash":
        quarter = np.mean([row["watermark_z"] for row in run(stage, [text_of(row[:40]) for row in ids])])
        assert whole / quarter == pytest.approx(2.0, rel=0.2)
    other = Watermark(tokenizer=str(tokenizer), seeding=seeding, keys=(15485867,), context=stage.context)  # type: ignore[arg-type]
    assert abs(np.mean([row["watermark_z"] for row in run(other, [text_of(row) for row in ids])])) < 2.5


@pytest.fixture(scope="module")
def watermarked() -> torch.Tensor:
    return generated(synthid_processor(), 4, 100)


@pytest.mark.parametrize("weighing", ["mean", "weighted"])
def test_synthid_is_found_and_grows_with_the_root_of_the_length(
    tokenizer: Path, watermarked: Any, weighing: str
) -> None:
    ids = watermarked
    stage = Watermark(scheme="synthid", tokenizer=str(tokenizer), keys=KEYS, weighing=weighing)  # type: ignore[arg-type]
    whole = np.mean([row["watermark_z"] for row in run(stage, [text_of(row) for row in ids])])
    part = [text_of(row[:28]) for row in ids]  # of which 24 tokens are scored, a quarter of 96
    quarter = np.mean([row["watermark_z"] for row in run(stage, part)])
    assert whole > 6 and whole / quarter == pytest.approx(2.0, rel=0.2)
    other = Watermark(scheme="synthid", tokenizer=str(tokenizer), keys=tuple(k + 1 for k in KEYS))
    assert abs(np.mean([row["watermark_z"] for row in run(other, [text_of(row) for row in ids])])) < 2.0


@pytest.mark.parametrize(
    "given_",
    [{}, {"seeding": "selfhash", "context": 4}, {"scheme": "synthid", "keys": KEYS}, {"scheme": "synthid", "keys": KEYS, "weighing": "weighted"}],
)  # fmt: skip
def test_without_a_watermark_every_chance_is_as_likely(large: Path, given_: dict[str, Any]) -> None:
    rows = run(Watermark(tokenizer=str(large), **given_), chance(200, 200, LARGE))
    p = np.array([row["watermark_p"] for row in rows])
    jitter = np.random.default_rng(0).uniform(-0.02, 0.02, p.size)  # a count of green tokens comes in steps
    assert kstest(np.clip(p + jitter, 0, 1), "uniform").pvalue > 0.001
    assert 0.8 < np.std([row["watermark_z"] for row in rows]) < 1.2


def test_repeats_are_no_evidence(tokenizer: Path) -> None:
    for stage in (
        Watermark(tokenizer=str(tokenizer)),
        Watermark(scheme="synthid", tokenizer=str(tokenizer), keys=KEYS),
    ):
        once = chance(1, 50)[0]
        row = run(stage, [" ".join([once or ""] * 40)])[0]
        assert row["watermark_tokens"] <= 50 and abs(row["watermark_z"]) < 5


@given(
    st.lists(
        st.one_of(st.none(), st.text(max_size=30), st.lists(st.integers(0, 399), max_size=30).map(text_of)), max_size=6
    )
)
@settings(max_examples=25, deadline=None)
def test_a_text_is_judged_alone(tokenizer: Path, texts: list[str | None]) -> None:
    for stage in (
        Watermark(tokenizer=str(tokenizer)),
        Watermark(scheme="synthid", tokenizer=str(tokenizer), keys=KEYS),
    ):
        assert run(stage, ["t1 t2 t3", *texts])[1:] == [run(stage, [text])[0] for text in texts]


def test_null_is_null_and_too_short_a_text_has_no_z(tokenizer: Path) -> None:
    null, empty, word = run(Watermark(tokenizer=str(tokenizer)), [None, "", "t1"])
    assert set(null.values()) == {None}
    assert empty == word == {"watermark_z": None, "watermark_p": None, "watermark_tokens": 0}


def test_settings_that_do_not_add_up_are_refused(tokenizer: Path, tmp_path: Path) -> None:
    wrong: list[dict[str, Any]] = [
        {"scheme": "red"}, {"gamma": 1.0}, {"keys": ()}, {"keys": (1, 2)}, {"keys": (-1,)}, {"context": 0}, {"ngram": 1}, {"weighing": "x"},
    ]  # fmt: skip
    for given_ in wrong:
        with pytest.raises(RecipeError):
            Watermark(**given_)
    with pytest.raises(RecipeError, match="tokenizer is not set"):
        Watermark().open()
    with pytest.raises(ModelError, match="is no file"):
        Watermark(tokenizer=str(tmp_path / "none.json")).open()
    (tmp_path / "broken.json").write_text("{}")
    with pytest.raises(ModelError, match="cannot be read"):
        Watermark(tokenizer=str(tmp_path / "broken.json")).open()
    assert Watermark(tokenizer=str(tokenizer)).weights().keys() == {"tokenizer"}
