"""How well a set represents a reference: each measure against plain arithmetic, and z-scores that mean what they say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curator import representative
from curator.representative import FEWEST, METRICS, REPRESENTATIVENESS, Sample, mauve, representativeness

DIM = 16
KINDS = 12  # subjects that the made documents are about, the last ones rare


def documents(seed: int, n: int, lost: int = 0, machine: float = 0.0) -> Sample:
    """Made documents: a subject each, a vector near it, and words of a long-tailed vocabulary; "machines" have no tail."""
    dice = np.random.default_rng(seed)
    subjects = np.random.default_rng(0).normal(size=(KINDS, DIM))
    weight = 1.0 / np.arange(1, KINDS + 1)
    weight[KINDS - lost :] = 0
    subject = dice.choice(KINDS, n, p=weight / weight.sum())
    dull = dice.random(n) < machine
    vectors = subjects[subject] + dice.normal(size=(n, DIM)) * np.where(dull, 0.2, 0.7)[:, None]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    sizes = dice.lognormal(4.3, 0.5, n).astype(int) + 5
    words = np.minimum(dice.zipf(1.5, sizes.sum()), 20_000)
    words = np.where(np.repeat(dull, sizes), words % 200, words)
    texts = [" ".join(f"w{w}" for w in part) for part in np.split(words, np.cumsum(sizes)[:-1])]
    ids = dice.integers(0, 2**63, (n, 2)).astype(np.uint64)
    return Sample(ids, vectors.astype(np.float32), pa.array(texts, pa.large_string()))


def scores(rows: list[dict[str, object]]) -> dict[str, Any]:
    return {str(row["metric"]): row["z"] for row in rows}


def joined(first: Sample, second: Sample) -> Sample:
    return Sample(
        np.concatenate([first.ids, second.ids]),
        np.concatenate([first.vectors, second.vectors]),
        pa.concat_arrays([first.texts, second.texts]),
    )


@pytest.fixture(scope="module")
def reference() -> Sample:
    return documents(1, 500)


# --- What the scores say -------------------------------------------------------------------------


def test_human_sets_pass_the_null(reference: Sample) -> None:
    candidates = {f"human {seed}": documents(seed, 250) for seed in range(2, 8)}
    z = np.array([row["z"] for row in representativeness(reference, candidates, seed=0, draws=25)], float)
    assert len(z) == len(candidates) * len(METRICS)
    assert np.mean(np.abs(z) > 3) < 0.03
    # six sets share one side of the reference: their scores move together, so the bounds are wide
    assert 0.6 < z.std() < 1.5
    assert abs(z.mean()) < 0.5


def test_the_reference_itself_passes(reference: Sample) -> None:
    rows = representativeness(reference, {"input": reference}, seed=0, draws=25)
    assert rows[0]["n_shared"] == pytest.approx(125, abs=40)
    assert max(abs(z) for z in scores(rows).values()) < 3.5


def test_copies_and_shared_documents_are_no_fault(reference: Sample) -> None:
    fresh = documents(50, 150)
    dice = np.random.default_rng(0)
    copied = fresh.take(np.repeat(np.arange(150), dice.integers(1, 4, 150)))
    mixture = joined(copied, reference.take(np.arange(100)))
    rows = representativeness(reference, {"mixture": mixture}, seed=0, draws=25)
    assert 0 < int(str(rows[0]["n_shared"])) < 100
    assert max(abs(z) for z in scores(rows).values()) < 3.5


def test_machine_text_is_noticed(reference: Sample) -> None:
    z = scores(representativeness(reference, {"input": documents(3, 250, machine=0.8)}, seed=0, draws=25))
    assert z["energy_distance"] > 3
    assert z["mauve"] < -3
    assert z["tail_word_recall"] < -3
    assert z["out_of_vocabulary"] < -3
    assert z["precision"] > 3  # it keeps to the middle of what people write


def test_a_lost_tail_of_subjects_is_noticed(reference: Sample) -> None:
    z = scores(representativeness(reference, {"kept": documents(3, 250, lost=8)}, seed=0, draws=25))
    assert z["rare_topic_retention"] < -3
    assert z["topic_kl"] > 3
    assert z["mauve"] < -3
    assert z["energy_distance"] > 3
    assert z["coverage"] < -3


def test_longer_texts_are_noticed(reference: Sample) -> None:
    other = documents(3, 250)
    twice = pa.array([f"{text} {text}" for text in other.texts.to_pylist()], pa.large_string())
    z = scores(representativeness(reference, {"x": Sample(other.ids, other.vectors, twice)}, seed=0, draws=25))
    assert z["length"] > 3
    assert z["compression"] < -3  # each says everything twice


def test_one_text_under_many_ids_is_noticed(reference: Sample) -> None:
    other = documents(3, 250)
    same = pa.array([other.texts[row % 40].as_py() for row in range(250)], pa.large_string())
    z = scores(representativeness(reference, {"x": Sample(other.ids, other.vectors, same)}, seed=0, draws=25))
    assert z["joint_compression"] < -3
    assert z["tail_word_recall"] < -3


# --- What they may not depend on -----------------------------------------------------------------


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_order_of_rows_changes_nothing(seed: int) -> None:
    trusted, candidate = documents(1, 260), documents(2, 130)
    candidate = joined(candidate, candidate.take(np.arange(20)))
    dice = np.random.default_rng(seed)
    shuffled = [s.take(dice.permutation(len(s))) for s in (trusted, candidate)]
    want = representativeness(trusted, {"x": candidate}, seed=3, draws=3)
    assert representativeness(shuffled[0], {"x": shuffled[1]}, seed=3, draws=3) == want


def test_other_candidates_change_nothing(reference: Sample) -> None:
    one, two = documents(2, 150), documents(3, 200)
    both = representativeness(reference, {"input": one, "kept": two}, seed=0, draws=4)
    alone = representativeness(reference, {"kept": two}, seed=0, draws=4)
    assert [row for row in both if row["scope"] == "kept"] == alone


def test_another_seed_is_another_draw(reference: Sample) -> None:
    one, two = (representativeness(reference, {"x": documents(2, 150)}, seed=seed, draws=4) for seed in (0, 1))
    assert scores(one) != scores(two)


# --- Edges ---------------------------------------------------------------------------------------


def test_rows_fit_their_schema(reference: Sample) -> None:
    rows = representativeness(reference, {"input": documents(2, 150)}, seed=0, draws=3)
    table = pa.Table.from_pylist(rows, REPRESENTATIVENESS)
    assert table["metric"].to_pylist() == [metric.name for metric in METRICS]
    assert set(rows[0]) == set(REPRESENTATIVENESS.names)
    assert all((column.metadata or {}).get(b"doc") for column in REPRESENTATIVENESS)


@pytest.mark.parametrize(("trusted", "candidate"), [(2 * FEWEST - 1, 500), (500, FEWEST - 1), (0, 0)])
def test_too_few_documents_say_nothing(trusted: int, candidate: int) -> None:
    rows = representativeness(documents(1, 500).take(np.arange(trusted)), {"x": documents(2, 500).take(np.arange(candidate))}, 0)  # fmt: skip
    assert [row["metric"] for row in rows] == [metric.name for metric in METRICS]
    assert {row["z"] for row in rows} == {row["value"] for row in rows} == {None}
    assert {row["n"] for row in rows} == {min(trusted // 2, candidate)}


def test_documents_without_text_or_vector(reference: Sample) -> None:
    other = documents(2, 300)
    vectors, texts = other.vectors.copy(), other.texts.to_pylist()
    for row in range(100):
        texts[row] = None
    vectors[100:110], texts[100:110] = np.nan, [""] * 10
    rows = representativeness(reference, {"x": Sample(other.ids, vectors, pa.array(texts, pa.large_string()))}, 0)  # fmt: skip
    assert rows[0]["n"] == 200
    assert all(row["z"] is not None for row in rows)


def test_a_measure_that_cannot_vary() -> None:
    trusted, other = documents(1, 250), documents(2, 125)
    same = pa.array(["so many words in each"] * 250, pa.large_string())
    all_same = Sample(trusted.ids, trusted.vectors, same)
    z = scores(representativeness(all_same, {"x": Sample(other.ids, other.vectors, same[:125])}, seed=0, draws=5))
    assert z["out_of_vocabulary"] == z["length"] == 0
    assert z["length_spread"] is None  # the logarithm of none over none
    z = scores(representativeness(all_same, {"x": other}, seed=0, draws=5))
    assert z["out_of_vocabulary"] is None  # more than never is infinitely more


# --- Each measure against plain arithmetic -------------------------------------------------------


def sets(seed: int) -> tuple[representative.Pool, representative.Pairs]:
    """A pool and one pair: a set with copies, and one that shares some of its documents."""
    pool = representative._pool(*(representative._with_text(documents(seed + i, 60)) for i in (0, 1)))
    dice = np.random.default_rng(seed)
    ours = dice.choice([0, 0, 1, 1, 3], len(pool.ids)).astype(np.int32)
    theirs = dice.random(len(pool.ids)) < 0.5
    return pool, representative.Pairs(ours[None], theirs[None], np.flatnonzero(theirs)[None, :5])


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 1000))
def test_vectors_against_plain_arithmetic(seed: int) -> None:
    pool, pairs = sets(seed)
    a, b = np.repeat(np.arange(len(pool.ids)), pairs.ours[0]), np.flatnonzero(pairs.theirs[0])
    apart = pool.apart.astype(float)
    radius = [np.sort(apart[row][b[b != row]]) for row in b]
    near = apart[np.ix_(a, b)]
    found = representative.measures(pool, pairs)
    energy = 2 * near.mean() - apart[np.ix_(a, a)].mean() - apart[np.ix_(b, b)].mean()
    assert found["energy_distance"][0] == pytest.approx(energy, abs=1e-5)
    assert found["precision"][0] == pytest.approx(
        np.mean((near <= np.array([r[2] for r in radius]) + 1e-6).any(axis=1))
    )
    assert found["coverage"][0] == pytest.approx(np.mean((near <= np.array([r[4] for r in radius]) + 1e-6).any(axis=0)))


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 1000))
def test_words_and_bytes_against_plain_arithmetic(seed: int) -> None:
    trusted, candidate = (representative._with_text(documents(seed + i, 60)) for i in (0, 1))
    both = joined(trusted, candidate)
    text_of = {tuple(key): text for key, text in zip(both.ids.tolist(), both.texts.to_pylist(), strict=True)}
    pool, pairs = sets(seed)
    texts = [text_of[tuple(key)].split() for key in pool.ids.tolist()]
    a = [texts[row] for row in np.repeat(np.arange(len(texts)), pairs.ours[0])]
    b = [texts[row] for row in np.flatnonzero(pairs.theirs[0])]
    documents_of: dict[str, int] = {}
    for words in b:
        for word in set(words):
            documents_of[word] = documents_of.get(word, 0) + 1
    tail = {word for word, count in documents_of.items() if 2 <= count <= 10}
    said = [word for words in a for word in words]
    found = representative.measures(pool, pairs)
    assert found["tail_word_recall"][0] == pytest.approx(len(tail & set(said)) / len(tail))
    assert found["out_of_vocabulary"][0] == pytest.approx(np.mean([word not in documents_of for word in said]))
    lengths = [np.log([len(words) for words in side]) for side in (a, b)]
    assert found["length"][0] == pytest.approx(lengths[0].mean() - lengths[1].mean())
    assert found["length_spread"][0] == pytest.approx(np.log(lengths[0].std() / lengths[1].std()))


def test_mauve_at_its_ends() -> None:
    a = np.array([5.0, 3.0, 2.0, 0.0])
    assert mauve(a, 7 * a) == pytest.approx(1, abs=0.01)
    apart = mauve(np.array([1.0, 0.0]), np.array([0.0, 1.0]))
    # two points: x = t^5 and y = (1 - t)^5 for t in 0..1; the area is 5 B(5, 6) = 1/252
    assert apart == pytest.approx(1 / 252, abs=0.002)
    assert apart < mauve(np.array([2.0, 1.0]), np.array([1.0, 2.0])) < 1


def test_long_documents_do_not_own_the_vocabulary() -> None:
    text = " ".join(f"v{i}" for i in range(3 * representative.WORDS_READ))
    ends, words, _, length = representative._vocabulary(pa.array([text, "a a b", "", None], pa.large_string()))
    assert np.diff(ends).tolist() == [representative.WORDS_READ, 2, 0, 0]
    assert len(np.unique(words)) == representative.WORDS_READ + 2
    assert length[0] == pytest.approx(np.log(3 * representative.WORDS_READ))
