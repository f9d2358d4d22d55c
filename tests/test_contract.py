"""One contract over all stages: every promise that `curator.stages.Stage` makes."""

from __future__ import annotations

import pickle

import numpy as np
import pyarrow as pa
import pytest

from curator.ids import doc_id
from curator.recipe import load
from curator.schema import UUID, doc_of
from curator.stages import Stage
from curator.stages.registry import STAGES, stage_class
from tests import corpus

RECIPE = load("default")
ORDERED = RECIPE.stages
TEXTS: list[str | None] = [
    corpus.prose(1, 20),
    None,
    "",
    " \n\t ",
    "word",
    "🙂" * 2000,
    "漢字かな交じり文。" * 40,
    "a" * 20_000,
    "\x00\x01\u200b\u202e\ufeff" * 50,
    "def f(x):\n    return {x: [1, 2, 3]}\n" * 30,
    "| a | b |\n|---|---|\n" * 60,
    "Er sagte, dass er morgen nicht kommen könne, weil der Zug ausgefallen sei. " * 12,
    "line one\r\nline two\u2028line three\x85" * 40,
    "e\u0301" * 400,
    corpus.prose(2, 20) + "\ud7ff\ue000\U0010ffff",
]


def column_batch(texts: list[str | None]) -> pa.RecordBatch:
    ids = [doc_id("contract", str(TEXTS.index(t))) for t in texts]
    urls = [f"https://e{n % 3}.org/{n}" if n % 4 else None for n in range(len(texts))]
    return pa.RecordBatch.from_pydict(
        {
            "doc_id": pa.array(ids, UUID),
            "text": pa.array(texts, pa.large_string()),
            "url": pa.array(urls, pa.string()),
            "source": pa.array(["contract"] * len(texts)),
        }
    )


def measured(batch: pa.RecordBatch) -> pa.RecordBatch:
    """All stages of the default recipe, one after another."""
    for stage in ORDERED:
        added = OPENED[stage.name](batch.select(stage.needs.names))
        batch = pa.RecordBatch.from_arrays(
            [*batch.columns, *added.columns], names=[*batch.schema.names, *added.schema.names]
        )
    return batch


OPENED = {stage.name: stage.open() for stage in ORDERED}


@pytest.fixture(scope="module")
def whole() -> pa.RecordBatch:
    return measured(column_batch(TEXTS))


def same(a: pa.Array, b: pa.Array, tolerance: float) -> bool:
    if a.null_count != b.null_count or not a.is_null().equals(b.is_null()):
        return False
    if not tolerance:
        return bool(a.equals(b))
    if pa.types.is_fixed_size_list(a.type):
        a, b = a.drop_null().flatten(), b.drop_null().flatten()
    if pa.types.is_floating(a.type):
        left, right = (np.asarray(x.drop_null().to_numpy(zero_copy_only=False), float) for x in (a, b))
        return bool(np.allclose(left, right, atol=tolerance, rtol=0, equal_nan=True))
    return bool(a.equals(b))


def test_the_recipe_runs_every_registered_stage() -> None:
    optional = {"contamination", "surprisal", "watermark"}  # which need evaluation sets, a causal model, a key
    assert {stage.name for stage in ORDERED} == set(STAGES) - optional


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_pickles_prints_hashes_and_names_itself(name: str) -> None:
    stage = stage_class(name)()
    assert isinstance(stage, Stage) and stage.name == name and stage.version
    again = pickle.loads(pickle.dumps(stage))
    assert again == stage and hash(again) == hash(stage) and again.fingerprint() == stage.fingerprint()
    assert type(stage).__name__ in repr(stage)
    assert stage.__doc__ and len(stage.__doc__.strip().splitlines()[0]) > 20


@pytest.mark.parametrize("name", STAGES)
def test_every_column_says_what_it_means(name: str) -> None:
    for column in stage_class(name)().adds:
        assert len(doc_of(column)) > 10, f"{name}.{column.name} has no meaning"


def test_a_setting_changes_the_fingerprint() -> None:
    minhash = stage_class("minhash")
    assert minhash(ngram=4).fingerprint() != minhash().fingerprint()  # type: ignore[call-arg]


@pytest.mark.parametrize("stage", ORDERED, ids=lambda s: s.name)
def test_every_row_gets_exactly_the_promised_columns(stage: Stage, whole: pa.RecordBatch) -> None:
    added = OPENED[stage.name](whole.select(stage.needs.names))
    assert added.num_rows == len(TEXTS)
    assert added.schema.names == stage.adds.names
    assert [f.type for f in added.schema] == [f.type for f in stage.adds]
    added.validate(full=True)


@pytest.mark.parametrize("stage", ORDERED, ids=lambda s: s.name)
def test_a_row_does_not_lean_on_its_neighbours(stage: Stage, whole: pa.RecordBatch) -> None:
    measure = OPENED[stage.name]
    inputs = whole.select(stage.needs.names)
    expected = measure(inputs)
    alone = [measure(inputs.slice(i, 1)) for i in range(len(TEXTS))]
    backwards = measure(inputs.take(pa.array(range(len(TEXTS)))[::-1]))
    for name in expected.schema.names:
        assert same(expected[name], pa.concat_arrays([b[name] for b in alone]), stage.tolerance), f"{name} alone"
        assert same(expected[name], backwards[name][::-1], stage.tolerance), f"{name} in another order"


@pytest.mark.parametrize("stage", ORDERED, ids=lambda s: s.name)
def test_a_null_text_gives_null_signals(stage: Stage, whole: pa.RecordBatch) -> None:
    added = OPENED[stage.name](whole.select(stage.needs.names))
    row = TEXTS.index(None)
    assert all(not added[name][row].is_valid for name in added.schema.names), {
        n: added[n][row] for n in added.schema.names
    }


@pytest.mark.parametrize("stage", ORDERED, ids=lambda s: s.name)
def test_an_empty_batch_is_a_batch(stage: Stage, whole: pa.RecordBatch) -> None:
    assert OPENED[stage.name](whole.select(stage.needs.names).slice(0, 0)).num_rows == 0


@pytest.mark.parametrize("stage", [s for s in ORDERED if s.needs.names == ["text"]], ids=lambda s: s.name)
def test_any_arrow_string_type_is_a_text(stage: Stage) -> None:
    small = pa.RecordBatch.from_pydict({"text": pa.array(TEXTS, pa.string())})
    large = pa.RecordBatch.from_pydict({"text": pa.array(TEXTS, pa.large_string())})
    assert OPENED[stage.name](small).equals(OPENED[stage.name](large))
