"""A user's own detector: what it is learnt from, what is refused, what a run makes of its folder, how it is measured."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file
from sklearn.metrics import roc_auc_score

from curator import learn, retrain
from curator.errors import InputError, ModelError, OutputError, RecipeError
from curator.ids import file_sha256
from curator.recipe import from_dict
from curator.score import Line, Scorer
from curator.stages import ngram
from curator.stages.ai_text import AiText
from curator.stages.embed import Embed
from curator.stages.ngram import CheapOrigin, ai_text_config, ai_text_tensors
from tests import words

N = 110


def parquet(path: Path, texts: list[str], **columns: Any) -> Path:
    pq.write_table(pa.table({"text": texts, **{name: list(values) for name, values in columns.items()}}), path)
    return path


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A detector that knows one human and one machine's hand, with a background, as the shipped one has."""
    folder = tmp_path_factory.mktemp("start")
    found, label = learn.grams(words.texts("human", N) + words.texts("old", N)), np.repeat([0.0, 1.0], N)
    even = np.arange(2 * N) % 2 == 0
    cheap = learn.learn_cheap(found, label, np.ones(2 * N), np.flatnonzero(even), np.flatnonzero(~even))
    others = learn.grams(words.texts("human", 40, seed=5))
    learn.write_background(others, np.array(["novels", "mail"] * 20), folder / learn.BACKGROUND)
    width = learn.encode(words.texts("human", 1)).shape[1]
    head = {"weight": np.full(width, 1e-3, np.float32), "constant": np.array([0.0])}
    line = {"cheap": 1.0, "constant": 0.0}
    numbers = {
        "line.cheap": line,
        "line.encoder": {**line, "encoder": 0.1},
        "operating_point": {"cheap": 2.0, "encoder": 2.0},
    }
    learn.write_model(folder, cheap, head, {**numbers, "gate": {"low": -0.5, "high": 3.0}})
    return folder


def request(folder: Path, start: Path, out: str = "out", **settings: Any) -> retrain.Request:
    human = parquet(folder / "h.parquet", words.texts("human", N, seed=1), domain=["home"] * N)
    machine = parquet(folder / "m.parquet", words.texts("new", N, seed=1), generator=["new-1"] * N)
    return retrain.Request((human,), (machine,), folder / out, str(start), **{"encoded": 3, **settings})


@pytest.fixture(scope="module")
def made(start: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    asked = request(tmp_path_factory.mktemp("made"), start)
    return asked.out, retrain.train(asked)


def logits(detector: Path, texts: list[str]) -> Any:
    cheap = ngram.Cheap.of(ai_text_tensors("cheap.safetensors", str(detector)))
    return cheap.judge(pa.array(texts, pa.large_string()))[:, 4]


def test_a_new_generator_is_found_and_nothing_is_unlearnt(start: Path, made: tuple[Path, dict[str, Any]]) -> None:
    out, figures = made
    hands = {hand: words.texts(hand, 60, seed=9) for hand in words.HANDS}
    found = {d: {h: (logits(d, texts) >= 2.0).mean() for h, texts in hands.items()} for d in (start, out)}
    assert found[out]["new"] > 0.95 and found[out]["old"] >= found[start]["old"] > 0.95
    assert found[out]["human"] <= 0.05 and figures["unseen"]["tpr"] > 0.95 and figures["unseen"]["fpr"] <= 0.02
    assert figures["background_fpr"]["now"] <= 0.05


def test_the_folder_holds_what_the_shipped_one_holds(start: Path, made: tuple[Path, dict[str, Any]]) -> None:
    out, figures = made
    assert {path.name for path in out.iterdir()} == {
        "cheap.safetensors", "encoder.safetensors", "background.parquet", "config.toml", "metrics.toml", "card.md", "anchors.parquet",
    }  # fmt: skip
    config = tomllib.loads((out / "config.toml").read_text())
    assert {name: file_sha256(out / name) for name in config["sha256"]} == config["sha256"]
    assert config["line"] == ai_text_config(str(start))["line"]
    assert all(point >= 2.0 for point in config["operating_point"].values())
    anchors = pq.read_table(out / "anchors.parquet")
    assert (
        anchors.num_rows == 2 * N + 40
        and "text" not in anchors.schema.names
        and anchors["logit_encoder"].null_count == 2 * N - 6 + 40
    )
    assert set(anchors["generator"].to_pylist()) == {"", "new-1"} and "kitchen" not in (out / "card.md").read_text()
    assert tomllib.loads((out / "metrics.toml").read_text())["unseen"] == figures["unseen"]
    assert figures["start_sha256"] == ai_text_config(str(start))["sha256"]["cheap.safetensors"]


def test_the_same_texts_give_the_same_bytes_and_a_folder_in_use_is_refused(
    start: Path, made: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    asked = request(tmp_path, start)
    retrain.train(asked)
    for name in ("cheap.safetensors", "config.toml", "metrics.toml"):
        assert (asked.out / name).read_bytes() == (made[0] / name).read_bytes()
    with pytest.raises(OutputError, match="not an empty folder"):
        retrain.train(asked)


def test_all_parts_are_learnt_anew(tmp_path: Path) -> None:
    texts = words.texts("human", 75, seed=2) + words.texts("new", 75, seed=2)
    home = np.full(150, "home")
    given = retrain.Texts(texts, np.repeat([0.0, 1.0], 75), home, home, np.arange(150).astype(str))
    fold = retrain.folds(given)
    learnt = retrain.from_scratch(given, learn.grams(texts), fold)
    assert len(learnt.texts) == len(learnt.logit) == (fold == 4).sum() and not np.isnan(learnt.encoder).any()
    learn.write_model(tmp_path, learnt.cheap, learnt.head, learnt.numbers)
    for kind in (CheapOrigin, AiText):
        kind(detector=str(tmp_path)).open()  # what was written is what a run accepts
    cheap = logits(tmp_path, learnt.texts.text)
    np.testing.assert_allclose(cheap, learnt.logit, rtol=1e-4, atol=1e-4)
    assert retrain.auroc(learnt.texts.label, cheap, np.ones(len(cheap))) > 0.99
    assert retrain.auroc(learnt.texts.label, learnt.encoder, np.ones(len(cheap))) > 0.9
    config = tomllib.loads((tmp_path / "config.toml").read_text())
    assert config["line"]["cheap"]["cheap"] > 0 and config["gate"]["low"] <= config["gate"]["high"]


def test_a_detector_of_the_cheap_path_alone_needs_no_encoder(tmp_path: Path) -> None:
    texts = words.texts("human", 75, seed=2) + words.texts("new", 75, seed=2)
    home = np.full(150, "home")
    given = retrain.Texts(texts, np.repeat([0.0, 1.0], 75), home, home, np.arange(150).astype(str))
    learnt = retrain.from_scratch(given, learn.grams(texts), retrain.folds(given), encoded=0)
    learn.write_model(tmp_path, learnt.cheap, learnt.head, learnt.numbers)
    detector = {"detector": str(tmp_path)}
    recipe = from_dict({"stages": {"language": {}, "ngram": detector, "ai_text": {**detector, "encoder": False}}})
    batch = Scorer(recipe).measure([Line(i, text) for i, text in enumerate(words.texts("new", 20, seed=3))])
    assert "ai_encoder_logit" not in batch.schema.names and set(batch["ai_path"].to_pylist()) == {"cheap"}
    assert np.mean(batch["synthetic"].to_pylist()) > 0.9
    config = tomllib.loads((tmp_path / "config.toml").read_text())
    assert config["gate"]["low"] == config["gate"]["high"]  # strictly between lies nothing
    assert Embed(**detector).fingerprint() and np.isnan(learnt.encoder).all()


def test_experts_add_up(made: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    retrain.train(request(tmp_path, made[0], share=0.05))
    tensors = load_file(tmp_path / "out/cheap.safetensors")
    assert tensors["experts"].shape == (2, ngram.BUCKETS) and tensors["mix"].shape == (3, 2)
    assert (logits(tmp_path / "out", words.texts("new", 9)) >= logits(made[0], words.texts("new", 9)) - 1e-9).all()


def test_versions_never_share_a_fingerprint(start: Path, made: tuple[Path, dict[str, Any]]) -> None:
    for kind in (CheapOrigin, Embed, AiText):
        prints = [kind(detector=str(folder)).weights() for folder in (start, made[0])]
        assert kind.__name__ != "CheapOrigin" or prints[0] != prints[1]
        assert kind(detector=str(start)).fingerprint() != kind(detector=str(made[0])).fingerprint()


def copy(folder: Path, to: Path) -> Path:
    to.mkdir()
    for path in folder.iterdir():
        (to / path.name).write_bytes(path.read_bytes())
    return to


def repinned(folder: Path, tensors: dict[str, Any]) -> Path:
    """Swap the cheap tensors and pin them anew: the shapes must be looked at, not only the sha256."""
    before = file_sha256(folder / "cheap.safetensors")
    save_file({name: np.ascontiguousarray(value) for name, value in tensors.items()}, folder / "cheap.safetensors")
    config = folder / "config.toml"
    config.write_text(config.read_text().replace(before, file_sha256(folder / "cheap.safetensors")))
    return folder


def test_a_folder_that_was_tampered_with_is_refused(start: Path, tmp_path: Path) -> None:
    folder = copy(start, tmp_path / "a")
    data = bytearray((folder / "cheap.safetensors").read_bytes())
    data[-1] ^= 1
    (folder / "cheap.safetensors").write_bytes(data)
    with pytest.raises(ModelError, match="sha256"):
        CheapOrigin(detector=str(folder)).open()


@pytest.mark.parametrize("change", ["shape", "nan", "missing", "integers", "mix"])
def test_tensors_that_do_not_fit_are_refused(start: Path, tmp_path: Path, change: str) -> None:
    tensors = load_file(start / "cheap.safetensors")
    match change:
        case "shape":
            tensors["table"] = tensors["table"][:-1]
        case "nan":
            tensors["mean"][3] = np.nan
        case "missing":
            del tensors["fusion"]
        case "integers":
            tensors["table"] = tensors["table"].astype(np.int32)
        case "mix":
            tensors["experts"], tensors["mix"] = tensors["table"][None], np.zeros((1, 2))
    folder = repinned(copy(start, tmp_path / "a"), tensors)
    with pytest.raises(ModelError, match="not finite floats"):
        CheapOrigin(detector=str(folder)).open()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[gate]", "[gates]", "no \\[gate\\]"),
        ("low = -0.5", "low = nan", "finite"),
        ("low = -0.5", 'low = "x"', "finite"),
        ("features = ", 'features = "0" #', "made with features"),
        ('encoder = "', 'encoder = "0', "made with encoder"),
        ("[sha256]", "[sha256]]", "not TOML"),
    ],
)
def test_a_config_that_does_not_add_up_is_refused(start: Path, tmp_path: Path, old: str, new: str, said: str) -> None:
    folder = copy(start, tmp_path / "a")
    config = folder / "config.toml"
    assert old in config.read_text()
    config.write_text(config.read_text().replace(old, new))
    with pytest.raises(ModelError, match=said):
        CheapOrigin(detector=str(folder)).weights()


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="missing"):
        AiText(detector=str(tmp_path / "no")).weights()


def test_too_little_and_too_few_groups_are_refused(start: Path, tmp_path: Path) -> None:
    asked = request(tmp_path, start)
    parquet(tmp_path / "m.parquet", words.texts("new", 20))
    with pytest.raises(InputError, match="20 usable machine texts"):
        retrain.train(asked)
    parquet(tmp_path / "m.parquet", words.texts("new", N), group=["one"] * N)
    with pytest.raises(InputError, match="in 1 groups"):
        retrain.train(asked)
    with pytest.raises(InputError, match="2,000"):
        retrain.train(retrain.Request(asked.human, asked.machine, asked.out, None))
    with pytest.raises(RecipeError, match="share"):
        retrain.train(retrain.Request(asked.human, asked.machine, asked.out, share=1.0))
    with pytest.raises(InputError, match="at least one file"):
        retrain.train(retrain.Request((), asked.machine, asked.out))
    assert not asked.out.exists() and not list(tmp_path.glob(".out*"))


def test_copies_both_labels_and_short_texts_are_left_out() -> None:
    human, machine = words.texts("human", 10), words.texts("new", 10)
    every = [*human, human[0], machine[0], *machine, "Too short."]
    label = np.array([0.0] * 12 + [1.0] * 11)
    none = np.full(len(every), "")
    left, counts = retrain.usable(retrain.Texts(every, label, none, none, np.arange(len(every)).astype(str)))
    assert len(left) == 19 and counts == {
        "copies": 1,
        "under_both_labels": 2,
        "beyond_the_limit": 0,
        "too_short_or_not_prose": 1,
    }


def test_long_texts_are_cut_to_their_first_words() -> None:
    text = words.texts("human", 1, words=1_000)[0]
    left, _ = retrain.usable(retrain.Texts([text], np.zeros(1), *(np.array([""]),) * 3))
    assert len(left.text[0].split()) == retrain.MAX_WORDS and text.startswith(left.text[0])


def test_groups_stay_together() -> None:
    texts = words.texts("human", 60) + words.texts("new", 60)
    group = np.array([str(i % 40) for i in range(120)])
    fold = retrain.folds(retrain.Texts(texts, np.repeat([0.0, 1.0], 60), group, group, group))
    assert all(len(set(fold[group == name].tolist())) == 1 for name in np.unique(group))
    assert set(fold.tolist()) == set(range(retrain.FOLDS))


def test_labels_are_read_by_their_words(tmp_path: Path) -> None:
    text = words.texts("human", 6)
    path = parquet(tmp_path / "t.parquet", [*text[:5], ""], label=["human", "Synthetic", "mixed", "1", "0", "human"])
    read = retrain.read_texts(path)
    assert read.label.tolist() == [0, 1, 1, 0] and read.domain.tolist() == ["t"] * 4
    with pytest.raises(InputError, match="no column 'label'"):
        retrain.read_texts(parquet(tmp_path / "u.parquet", text))
    with pytest.raises(InputError, match="no such file"):
        retrain.read_texts(tmp_path / "none.parquet", 0.0)


def test_typesetting_that_tells_the_label_is_warned_of(start: Path, tmp_path: Path) -> None:
    asked = request(tmp_path, start)
    parquet(tmp_path / "m.parquet", [text.replace(". ", ".\n\n* ") for text in words.texts("new", N, seed=1)])
    figures = retrain.train(asked)
    assert figures["probe"]["typesetting"] > 0.9 > 0.65 > figures["probe"]["folded"]
    assert any(said.startswith("typesetting alone") for said in figures["warnings"])


def test_a_detector_is_measured_as_it_serves(start: Path, made: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    texts = words.texts("human", 30, seed=3) + words.texts("new", 30, seed=3) + ["Too short to judge."]
    data = parquet(
        tmp_path / "e.parquet", texts, label=["human"] * 30 + ["synthetic"] * 31,
        domain=["home"] * 30 + ["chat"] * 31, generator=[""] * 30 + ["new-1"] * 31,
    )  # fmt: skip
    rows = {(row["scope"], row["stratum"]): row for row in retrain.evaluate(str(made[0]), [data])}
    assert set(rows) == {("all", ""), ("domain", "chat"), ("domain", "home"), ("generator", "new-1")}
    whole = rows["all", ""]
    assert whole["n_human"] == whole["n_machine"] == 30 and whole["judged"] == pytest.approx(60 / 61)
    assert whole["tpr_at_1"] is None and whole["auroc"] > 0.99
    assert json.loads(json.dumps(list(rows.values()), allow_nan=False)) == list(rows.values())
    assert all(row["auroc_low"] <= row["auroc"] <= row["auroc_high"] for row in rows.values())
    odds = logits(made[0], texts[:60])
    unsure = (odds > -0.5) & (odds < 3.0)
    if not unsure.any():  # then the encoder was asked of nobody
        assert whole["tpr"] == pytest.approx(
            (odds[30:] >= ai_text_config(str(made[0]))["operating_point"]["cheap"]).mean()
        )
    assert rows["domain", "chat"]["n_human"] == 30


@given(st.lists(st.tuples(st.booleans(), st.integers(-3, 3), st.integers(1, 3)), min_size=2, max_size=60))
def test_auroc_is_that_of_the_library(rows: list[tuple[bool, int, int]]) -> None:
    label, odds, weight = (np.array(column, float) for column in zip(*rows, strict=True))
    found = retrain.auroc(label, odds, weight)
    if 0 < label.sum() < len(label):
        assert found == pytest.approx(roc_auc_score(label, odds, sample_weight=weight))
    else:
        assert np.isnan(found)


@given(st.integers(0, 1_000), st.sampled_from([0.01, 0.05, 0.3]))
def test_the_threshold_lets_no_more_through_than_it_says(seed: int, fpr: float) -> None:
    dice = np.random.default_rng(seed)
    odds, human = dice.normal(size=300).round(1), np.arange(300) < 150
    found = retrain.tpr_at(odds, human, ~human, np.ones(300), fpr)
    allowed = [t for t in np.unique(odds) if (odds[human] > t).mean() <= fpr]
    assert found == pytest.approx((odds[~human] > min(allowed)).mean())


def test_calibration_error_is_none_where_probabilities_hold_and_all_where_they_lie() -> None:
    dice = np.random.default_rng(0)
    prob = dice.random(100_000)
    label = (dice.random(100_000) < prob).astype(float)
    assert retrain.ece(label, prob, np.ones(100_000)) < 0.01
    assert retrain.ece(label, 1 - label, np.ones(100_000)) == pytest.approx(1.0)
