"""Topics: k-means on the reference, names, and assignment."""

from __future__ import annotations

import importlib
import tomllib
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from curator import topics
from curator.stages.topic import Topic
from curator.topics import assign, fit, present, size

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data" / "detect" / "train"
F32 = npt.NDArray[np.float32]
U64 = npt.NDArray[np.uint64]


def blobs(groups: int, each: int, seed: int = 0) -> tuple[F32, U64, npt.NDArray[np.int64]]:
    """Unit vectors around well-separated centres, ids, and whose each is."""
    draw = np.random.default_rng(seed)
    centres = np.eye(64)[:groups]
    whose = np.repeat(np.arange(groups), each)
    found = centres[whose] + 0.05 * draw.normal(size=(len(whose), 64))
    ids = draw.integers(0, 2**63, (len(whose), 2)).astype(np.uint64)
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32), ids, whose


def test_well_separated_topics_are_found_small_ones_too() -> None:
    vectors, ids, whose = blobs(12, 40)
    rare = slice(0, 35)  # leaves five of the first
    vectors, ids, whose = np.delete(vectors, rare, 0), np.delete(ids, rare, 0), np.delete(whose, rare)
    found = assign(fit(vectors, ids, 1), vectors)
    pairs = set(zip(found.tolist(), whose.tolist(), strict=True))
    assert len(pairs) == len(set(found.tolist()))  # no topic holds two groups


def test_the_answer_does_not_depend_on_the_order_of_rows() -> None:
    vectors, ids, _ = blobs(20, 30)
    order = np.random.default_rng(3).permutation(len(vectors))
    one, other = fit(vectors, ids, 5), fit(vectors[order], ids[order], 5)
    assert one.centres.tobytes() == other.centres.tobytes() and one.names == other.names
    assert np.array_equal(assign(one, vectors)[order], assign(one, vectors[order]))


def test_a_large_reference_is_drawn_by_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topics, "MOST_FITTED", 200)
    vectors, ids, _ = blobs(20, 30)
    order = np.random.default_rng(3).permutation(len(vectors))
    one, other = fit(vectors, ids, 5, k=20), fit(vectors[order], ids[order], 5, k=20)
    assert one.centres.tobytes() == other.centres.tobytes()
    assert fit(vectors, ids, 6, k=20).centres.tobytes() != one.centres.tobytes()


def test_one_row_is_judged_as_among_others() -> None:
    vectors, ids, _ = blobs(20, 30)
    found = fit(vectors, ids, 5)
    assert np.array_equal(assign(found, vectors), np.concatenate([assign(found, row[None]) for row in vectors]))


def test_no_vector_has_no_topic() -> None:
    vectors, ids, _ = blobs(10, 20)
    vectors[3], vectors[7] = np.nan, 0
    found = fit(vectors, ids, 0)
    assert np.flatnonzero(assign(found, vectors) == -1).tolist() == [3, 7]
    assert np.isfinite(found.centres).all() and present(vectors).sum() == len(vectors) - 2


def test_nothing_to_fit_gives_no_topic() -> None:
    for rows in (0, 5):
        found = fit(np.full((rows, 64), np.nan, np.float32), np.zeros((rows, 2), np.uint64), 0)
        assert len(found) == 0 and assign(found, np.ones((2, 64), np.float32)).tolist() == [-1, -1]


def test_no_more_topics_than_different_vectors() -> None:
    vectors, ids, _ = blobs(3, 1)
    found = fit(np.repeat(vectors, 50, 0), np.repeat(ids, 50, 0), 0)
    assert len(found) == 3
    assert len(fit(vectors[:1], ids[:1], 0)) == 1


def test_centres_have_unit_length() -> None:
    vectors, ids, _ = blobs(10, 20)
    assert np.allclose(np.linalg.norm(fit(vectors, ids, 0).centres, axis=1), 1, atol=1e-6)


@pytest.mark.parametrize(
    ("documents", "least", "most"), [(10, 8, 8), (400, 40, 64), (4_000, 200, 300), (10**7, 1_000, 1_000)]
)
def test_size_grows_with_the_reference(documents: int, least: int, most: int) -> None:
    assert least <= size(documents) <= most


@pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data is not there")
def test_topics_of_real_texts_part_the_domains_and_their_names_mean_something() -> None:
    """Twelve topics of newswire, film reviews and mail: each nearly of one set, and named so that the set can be guessed."""
    sets = {"reuters21578": 400, "imdb_reviews": 400, "novels_chunks": 400}
    texts = [pq.read_table(DATA / f"{name}.parquet")["text"].slice(0, n).combine_chunks() for name, n in sets.items()]
    batch = pa.record_batch({"text": pa.concat_arrays([pc.cast(part, pa.large_string()) for part in texts])})
    vectors = Topic().open()(batch).column(0).flatten().to_numpy().reshape(-1, 64)
    ids = np.arange(2 * len(vectors), dtype=np.uint64).reshape(-1, 2)
    found = fit(vectors, ids, 0, k=12)
    where = assign(found, vectors)
    table = np.array([np.bincount(part, minlength=12) for part in where.reshape(3, 400)])  # [sets, topics]
    assert table.max(0).sum() / table.sum() > 0.9
    named = [", ".join(found.names[c] for c in np.flatnonzero(table.argmax(0) == s)) for s in range(3)]
    known = (
        "trade bank market stock shares price pricing profit quarter oil economic finance companies",
        "film movie actor scene horror comedy",
        "lady she her gentleman love sir house",
    )
    for own, words in zip(named, known, strict=True):
        assert any(word in own for word in words.split()), (own, words)
    assert all(len(set(name.split(", "))) == 3 for name in found.names)


@pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data is not there")
def test_topics_recover_known_domains_as_well_as_pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    figures = importlib.import_module("topics").gate(DATA.parents[1])
    pinned = tomllib.loads((ROOT / "models/topic/metrics.toml").read_text("utf-8"))["floors"]
    assert pinned.keys() <= figures.keys() and len(pinned) > 4
    assert {name: figures[name] for name in pinned if figures[name] < pinned[name]} == {}
