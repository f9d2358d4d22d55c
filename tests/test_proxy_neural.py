"""The transformer learns, scores documents apart from one another, and draws what it scores."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from scipy import stats

from curator.proxy import END, Tokens, joined
from curator.proxy_neural import NeuralModel, Size, _windows, fit

TINY = Size(
    layers=2, heads=2, width=32, context=8, batch_tokens=512, seen_tokens=60_000, most_passes=40, rate=3e-3, writers=32
)


def tokens_of(documents: list[list[int]]) -> Tokens:
    ends = np.cumsum([len(one) + 1 for one in documents], dtype=np.int64)
    return Tokens(np.array([t for one in documents for t in [*one, END]], np.int32), ends)


@pytest.fixture(scope="module")
def model() -> NeuralModel:
    """Taught to count on from where a document begins, for three to twenty steps."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    begins, lengths = rng.integers(1, 9, 300), rng.integers(3, 20, 300)
    return fit(
        tokens_of([(np.arange(b, b + n) % 9 + 1).tolist() for b, n in zip(begins, lengths, strict=True)]), 10, 1, TINY
    )


def test_it_learns_what_is_to_be_learned(model: NeuralModel) -> None:
    counting, noise = (
        tokens_of([[3, 4, 5, 6, 7, 8, 9, 1, 2, 3, 4, 5]]),
        tokens_of([[5, 2, 9, 9, 1, 4, 4, 7, 1, 8, 2, 6]]),
    )
    assert model.log_prob(counting)[1:-1].mean() > -0.5
    assert model.log_prob(noise).mean() < -2


def test_documents_are_scored_alone_and_windows_cover_each_token_once(model: NeuralModel) -> None:
    rng = np.random.default_rng(2)
    parts = [tokens_of([rng.integers(1, 9, n).tolist()]) for n in (0, 1, 6, 7, 8, 9, 15, 16, 17, 40)]
    alone = np.concatenate([model.log_prob(part) for part in parts])
    np.testing.assert_allclose(model.log_prob(joined(parts)), alone, atol=1e-5)
    assert np.isfinite(alone).all()


def test_windows_of_training_hold_each_token_once() -> None:
    tokens = tokens_of([[1] * n for n in (0, 7, 8, 20)])
    first, length = _windows(tokens, 8, 8)
    covered = np.concatenate([np.arange(a, a + n) for a, n in zip(first, length, strict=True)])
    assert covered.tolist() == list(range(len(tokens.ids)))


def test_probabilities_sum_to_one(model: NeuralModel) -> None:
    for history in ([], [1, 2], [1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2]):
        each = [Tokens(np.array([*history, word], np.int32), np.array([len(history) + 1])) for word in range(10)]
        assert sum(np.exp(model.log_prob(one)[-1]) for one in each) == pytest.approx(1, abs=1e-5)


def test_what_is_drawn_follows_what_is_scored(model: NeuralModel) -> None:
    """Far behind the first window too, where the context was cut."""
    drawn = model.sample(640, seed=3, most_tokens=24)
    firsts = drawn.ends - drawn.sizes
    begins = Counter(drawn.ids[firsts].tolist())
    prob = np.exp([model.log_prob(Tokens(np.array([w], np.int32), np.array([1])))[0] for w in range(10)])
    often = 640 * prob >= 5
    counts = np.array([begins[w] for w in range(10)])
    found, wanted = np.append(counts[often], counts[~often].sum()), np.append(prob[often], prob[~often].sum())
    assert stats.chisquare(found, 640 * wanted / wanted.sum()).pvalue > 1e-4
    surprise = -model.log_prob(drawn)
    late = np.concatenate([np.arange(f + 10, e - 1) for f, e in zip(firsts, drawn.ends, strict=True)])
    entropy_bound = np.log(10)
    assert len(late) > 500
    assert surprise[late].mean() < entropy_bound / 2  # it writes what it expects, in later windows as well


def test_draws_depend_on_number_and_seed(model: NeuralModel) -> None:
    ten, forty = model.sample(10, seed=5, most_tokens=12), model.sample(40, seed=5, most_tokens=12)
    np.testing.assert_array_equal(ten.ids, forty.ids[: len(ten.ids)])
    assert forty.sizes.max() <= 12
    assert (forty.ids[forty.ends - 1] == END).all()
    assert not np.array_equal(model.sample(10, seed=6, most_tokens=12).ids, ten.ids)


def test_the_same_seed_gives_the_same_model_and_leaves_others_draws_alone() -> None:
    tokens = tokens_of([[1, 2, 3]] * 20)
    size = Size(layers=1, heads=1, width=8, context=8, batch_tokens=64, seen_tokens=200, most_passes=1)
    torch.manual_seed(0)
    wanted = torch.rand(1)
    torch.manual_seed(0)
    one = fit(tokens, 5, 7, size)
    assert torch.equal(torch.rand(1), wanted)
    np.testing.assert_array_equal(one.log_prob(tokens), fit(tokens, 5, 7, size).log_prob(tokens))
    assert one.parameters < 2_000
