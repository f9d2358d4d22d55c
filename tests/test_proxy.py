"""The proxy model is Kneser and Ney's as Chen and Goodman modified it, normalised, exact in what it draws, and blind to order."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from curator import proxy
from curator.proxy import END, NgramModel, Tokens, fit, joined
from tests.conftest import ROOT

SAMPLE = ROOT / "data" / "sample" / "corpus.parquet"
CORPORA = st.lists(st.lists(st.integers(1, 6), max_size=12), min_size=1, max_size=25)


def tokens_of(documents: Sequence[Sequence[int]], ended: bool = True) -> Tokens:
    documents = [[*one, END] if ended else list(one) for one in documents]
    sizes = [len(one) for one in documents]
    return Tokens(np.array([t for one in documents for t in one], np.int32), np.cumsum(sizes, dtype=np.int64))


def after(model: NgramModel, history: Sequence[int]) -> np.ndarray:
    """Probabilities of every token of the vocabulary after a history."""
    each = tokens_of([[*history, word] for word in range(model.vocabulary)], ended=False)
    return np.exp(model.log_prob(each)[each.ends - 1])


class Slow:
    """The model as the formulas say it: dictionaries, recursion, no table."""

    def __init__(self, documents: Sequence[Sequence[int]], vocabulary: int, order: int) -> None:
        self.vocabulary, self.order = vocabulary, order
        padded = [[END] * (order - 1) + [*one, END] for one in documents]
        raw: dict[int, Counter[tuple[int, ...]]] = {n: Counter() for n in range(1, order + 1)}
        for one in padded:
            for n in raw:
                raw[n].update(tuple(one[i - n + 1 : i + 1]) for i in range(order - 1, len(one)))
        self.counts: dict[int, Counter[tuple[int, ...]]] = {}
        for n in range(1, order + 1):
            keys = dict(raw[n])
            if n < order:
                before = defaultdict(set)
                for longer in raw[n + 1]:
                    before[longer[1:]].add(longer[0])
                keys = {k: c if n > 1 and k[0] == END else len(before[k]) for k, c in keys.items()}
            self.counts[n] = Counter(keys)

    def discounts(self, n: int) -> list[float]:
        ns = Counter(self.counts[n].values())
        if not all(ns[i] for i in (1, 2, 3, 4)):
            return [0.0, 0.5, 1.0, 1.5]
        y = ns[1] / (ns[1] + 2 * ns[2])
        found = [0.0, *(i - (i + 1) * y * ns[i + 1] / ns[i] for i in (1, 2, 3))]
        return found if all(0 <= d <= i for i, d in enumerate(found)) else [0.0, 0.5, 1.0, 1.5]

    def prob(self, word: int, history: tuple[int, ...]) -> float:
        n = len(history) + 1
        below = self.prob(word, history[1:]) if history else 1 / self.vocabulary
        row = {k[-1]: c for k, c in self.counts[n].items() if k[:-1] == history}
        if not row:
            return below
        discount, total = self.discounts(n), sum(row.values())
        freed = sum(discount[min(c, 3)] for c in row.values())
        own = row.get(word, 0)
        return (own - discount[min(own, 3)] + freed * below) / total

    def log_prob(self, document: Sequence[int]) -> list[float]:
        padded = [END] * (self.order - 1) + [*document, END]
        return [
            float(np.log(self.prob(padded[i], tuple(padded[i - self.order + 1 : i]))))
            for i in range(self.order - 1, len(padded))
        ]


@settings(max_examples=40, deadline=None)
@given(CORPORA, CORPORA, st.integers(1, 4))
def test_probabilities_are_those_of_the_formulas(train: list[list[int]], other: list[list[int]], order: int) -> None:
    model, slow = fit(tokens_of(train), 8, order), Slow(train, 8, order)
    wanted = [p for one in [*train[:5], *other[:5]] for p in slow.log_prob(one)]
    np.testing.assert_allclose(model.log_prob(tokens_of([*train[:5], *other[:5]])), wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("order", [1, 2, 3, 4, 5])
def test_estimated_discounts_agree_with_the_formulas_too(order: int) -> None:
    """Corpora as small as hypothesis draws seldom have n-grams of all counts from 1 to 4."""
    rng = np.random.default_rng(5)
    train = [(rng.zipf(1.5, rng.integers(1, 30)) % 7 + 1).tolist() for _ in range(60)]
    slow = Slow(train, 8, order)
    assert any(slow.discounts(n)[1] != 0.5 for n in range(1, order + 1)) or order == 1
    found = fit(tokens_of(train), 8, order).log_prob(tokens_of(train[:8]))
    np.testing.assert_allclose(found, [p for one in train[:8] for p in slow.log_prob(one)], rtol=1e-9)


@settings(max_examples=60, deadline=None)
@given(CORPORA, st.lists(st.integers(1, 9), max_size=6), st.integers(1, 5))
def test_probabilities_sum_to_one_after_seen_and_unseen_contexts(
    train: list[list[int]], history: list[int], order: int
) -> None:
    model = fit(tokens_of(train), 10, order)
    for context in (history, train[0], train[-1][:2]):
        found = after(model, context)
        assert found.min() > 0
        assert abs(found.sum() - 1) < 1e-12


@settings(max_examples=30, deadline=None)
@given(CORPORA, st.randoms(use_true_random=False))
def test_the_model_does_not_depend_on_the_order_of_documents(train: list[list[int]], random: object) -> None:
    shuffled = list(train)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    one, other = fit(tokens_of(train), 8), fit(tokens_of(shuffled), 8)
    for name in ("slots", "where", "first", "back", "word", "mass", "keep", "seen", "drawn"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_history_does_not_cross_documents() -> None:
    model = fit(tokens_of([[1, 2], [3, 4]] * 5), 5)
    alone = model.log_prob(tokens_of([[3, 4]]))
    np.testing.assert_array_equal(model.log_prob(tokens_of([[1, 2], [3, 4]]))[-3:], alone)
    assert after(model, [])[3] > 10 * after(model, [1, 2])[3]  # a document may begin so; none goes on so


def test_documents_are_drawn_with_their_probabilities() -> None:
    rng = np.random.default_rng(3)
    train = [rng.integers(1, 5, rng.integers(0, 4)).tolist() for _ in range(30)]
    model = fit(tokens_of(train), 5, 3)
    drawn = model.sample(60_000, seed=1, most_tokens=50)
    firsts = drawn.ends - drawn.sizes
    seen = Counter(tuple(drawn.ids[a : min(b, a + 3)].tolist()) for a, b in zip(firsts, drawn.ends, strict=True))
    possible = [(END,), *((a, END) for a in range(1, 5)), *((a, b, c) for a in range(1, 5) for b in range(1, 5) for c in range(5))]  # fmt: skip
    scored = tokens_of(possible, ended=False)
    prob = np.exp(np.add.reduceat(model.log_prob(scored), scored.ends - scored.sizes))
    assert abs(prob.sum() - 1) < 1e-12
    assert set(seen) <= set(possible)
    often = 60_000 * prob >= 5
    counts = np.array([seen[one] for one in possible])
    wanted = np.append(60_000 * prob[often], 60_000 * prob[~often].sum())
    found = np.append(counts[often], counts[~often].sum())
    assert stats.chisquare(found[wanted > 0], wanted[wanted > 0]).pvalue > 1e-4


def test_a_draw_depends_on_the_document_and_the_seed_alone() -> None:
    rng = np.random.default_rng(4)
    model = fit(tokens_of([rng.integers(1, 50, 40).tolist() for _ in range(200)]), 64)
    ten, twenty = model.sample(10, seed=7), model.sample(20, seed=7)
    np.testing.assert_array_equal(ten.ids, twenty.ids[: len(ten.ids)])
    np.testing.assert_array_equal(ten.ends, twenty.ends[:10])
    assert not np.array_equal(model.sample(10, seed=8).ids, ten.ids)


@given(st.integers(1, 30))
@settings(max_examples=10, deadline=None)
def test_every_drawn_document_ends_within_its_limit(most: int) -> None:
    model = fit(tokens_of([[1, 2, 3] * 20] * 3), 4)
    drawn = model.sample(200, seed=0, most_tokens=most)
    assert drawn.sizes.max() <= most
    assert (drawn.ids[drawn.ends - 1] == END).all()
    assert (drawn.ids == END).sum() == 200


@pytest.mark.parametrize(
    ("ids", "vocabulary", "order"), [([], 8, 2), ([1, 9, 0], 8, 2), ([-1, 0], 8, 2), ([1, 0], 2**16, 4), ([1, 0], 8, 0)]
)
def test_what_cannot_be_fitted_is_refused(ids: list[int], vocabulary: int, order: int) -> None:
    tokens = Tokens(np.array(ids, np.int32), np.array([len(ids)] if ids else [], np.int64))
    with pytest.raises(ValueError, match=r"cannot fit|token ids"):
        fit(tokens, vocabulary, order)


@given(CORPORA, st.lists(st.integers(0, 24), max_size=9))
def test_documents_are_taken_and_joined_whole(documents: list[list[int]], rows: list[int]) -> None:
    rows = [row % len(documents) for row in rows]
    taken = tokens_of(documents).take(np.array(rows, np.int64))
    wanted = tokens_of([documents[row] for row in rows])
    np.testing.assert_array_equal(taken.ids, wanted.ids)
    np.testing.assert_array_equal(taken.ends, wanted.ends)
    both = joined([taken, tokens_of(documents)])
    np.testing.assert_array_equal(both.take(np.arange(len(rows))).ids, wanted.ids)
    assert len(both) == len(rows) + len(documents)


TEXTS = ["Straße — “naïve” 😀", "", "a <|end|> b", "lone \ud800 surrogate", "the cat sat on the mat. " * 30]


def test_texts_come_back_as_they_were() -> None:
    tokenizer = proxy.learn_tokenizer(TEXTS, 400)
    tokens = proxy.encode(tokenizer, TEXTS)
    assert tokens.sizes[1] == 1
    assert (tokens.ids == END).sum() == len(TEXTS)  # the letters "<|end|>" are no end token
    wanted = [text.replace("\ud800", "?") for text in TEXTS]
    assert proxy.decode(tokenizer, tokens) == wanted
    assert len(proxy.encode(tokenizer, [])) == 0


def test_words_are_told_by_their_letters() -> None:
    texts = ["Der Straßenbahn folgte die Straßenbahn. STRASSE?", "don't re-read “naïve” x1y naïve\nDer", ""]
    tokenizer = proxy.learn_tokenizer(["a b c"], 258)  # no merges: a token a byte
    tokens = proxy.encode(tokenizer, texts)
    found = proxy.words(tokenizer, tokens)
    spelt = proxy._spelt(tokenizer)
    runs: list[tuple[bytes, int]] = []
    for token, name, pieces in zip(tokens.ids.tolist(), found.names.tolist(), found.pieces.tolist(), strict=True):
        assert (name == 0) == (pieces == 0)
        if name:
            runs.append((spelt[token], pieces))
    first = [pieces for _, pieces in runs]
    assert first[:3] == [3, 3, 3]
    names = found.names[: tokens.ends[0]]
    straße = len("Straßenbahn".encode())
    assert names[4] == names[tokens.ends[0] - 1 - len(b". STRASSE?") - 1]  # once in the middle, once before a full stop
    assert found.pieces[4] == straße
    known, counts = proxy.documents_with(found.names, tokens.ends)
    by_name = dict(zip(known.tolist(), counts.tolist(), strict=True))
    assert by_name[int(names[0])] == 2  # "Der" begins the first document and ends the second
    assert len(known) == len({int(name) for name in found.names if name})


@given(st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=8), max_size=12))
def test_words_are_counted_once_a_document(documents: list[list[int]]) -> None:
    names = np.array([name for one in documents for name in one], np.uint64)
    known, counts = proxy.documents_with(names, np.cumsum([len(one) for one in documents], dtype=np.int64))
    wanted = Counter(name for one in documents for name in set(one) if name)
    assert dict(zip(known.tolist(), counts.tolist(), strict=True)) == wanted


def sample_texts(least: int) -> list[str]:
    texts = pq.read_table(SAMPLE, columns=["text"])["text"].drop_null().to_pylist()
    return [text[:600] for text in texts if len(text) > least]


def test_a_tokenizer_depends_on_the_texts_not_on_their_order() -> None:
    texts = sample_texts(0)[:300]
    one, other = proxy.learn_tokenizer(texts, 1000), proxy.learn_tokenizer(texts[::-1], 1000)
    assert one.get_vocab() == other.get_vocab()
    assert one.get_vocab_size() == 1000


def test_a_model_of_real_text_is_less_surprised_by_more_text_and_most_by_noise() -> None:
    texts = sample_texts(200)[:1200]
    tokenizer = proxy.learn_tokenizer(texts[:300], 1024)
    tokens = proxy.encode(tokenizer, texts)
    train, rest = np.arange(0, 1000), tokens.take(np.arange(1000, len(texts)))
    few, many = fit(tokens.take(train[:200]), 1024), fit(tokens.take(train), 1024)
    unigram = fit(tokens.take(train), 1024, order=1)
    assert many.perplexity(rest) < few.perplexity(rest) < 1024
    assert many.perplexity(rest) < unigram.perplexity(rest)
    drawn = many.sample(200, seed=0)
    noise = Tokens(np.random.default_rng(0).integers(1, 1024, 5000, dtype=np.int32), np.array([5000]))
    assert many.perplexity(drawn) < many.perplexity(noise)
