"""Train a model on an arm's text, ask it, let it write, and ask the one that is trained on what it wrote."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from curator import proxy
from curator.progress import Progress
from curator.proving.questions import Questions
from curator.proving.training import Sets, within
from curator.proxy import F64, Tokens, joined


class Model(Protocol):
    """What is asked of a model of either kind."""

    def log_prob(self, tokens: Tokens) -> F64:
        """Natural logarithm of each token's probability.  # [tokens]"""

    def sample(self, documents: int, seed: int, most_tokens: int = 1024) -> Tokens:
        """Draw documents; the first ten of twenty are those of ten."""


Fit = Callable[[Tokens, int, int], Model]  # (tokens, vocabulary, seed)


def fit_of(kind: str) -> Fit:
    """How to train a model of a kind: `ngram` or `transformer`."""
    if kind == "transformer":
        from curator import proxy_neural  # torch, which takes seconds to load

        return proxy_neural.fit
    return lambda tokens, vocabulary, _: proxy.fit(tokens, vocabulary)


@dataclass(frozen=True)
class Answers:
    """What one arm's models answered with one seed.  Arrays are [docs, 2] surprise: all tokens, those of rare words."""

    arm: str
    seed: int
    tokens: int
    documents: int
    of_reference: float
    trained: F64
    after: F64  # one generation later
    recall: float


def ask(fit: Fit, sets: Sets, asked: Questions, arm: str, seed: int, progress: Progress) -> Answers:
    """Train on an arm's text, let the model write as much, train again on half of either."""
    train = sets.train(arm, seed)
    model = fit(train, sets.vocabulary, seed)
    trained = asked.by_document(-model.log_prob(asked.tokens))
    progress.advance(1)
    written = generated(model, len(train.ids), seed, int(train.sizes.max()))
    words = np.unique(proxy.words(sets.tokenizer, written).names)
    half = len(train.ids) / 2
    again = fit(joined([_first_tokens(train, half), _first_tokens(written, half)]), sets.vocabulary, seed)
    progress.advance(1)
    return Answers(
        arm=arm,
        seed=seed,
        tokens=len(train.ids),
        documents=len(train),
        of_reference=sets.of_reference(arm, seed),
        trained=trained,
        after=asked.by_document(-again.log_prob(asked.tokens)),
        recall=float(np.isin(asked.rare_words, words).mean()) if len(asked.rare_words) else float("nan"),
    )


def generated(model: Model, budget: int, seed: int, most_tokens: int) -> Tokens:
    """As many documents of a model as a budget of tokens holds.  most_tokens: of one document."""
    count = 64
    while len((drawn := model.sample(count, seed, most_tokens)).ids) < budget:
        count = max(count + 64, int(1.1 * count * budget / len(drawn.ids)))
    return _first_tokens(drawn, budget)


def _first_tokens(tokens: Tokens, budget: float) -> Tokens:
    return tokens.take(within(np.arange(len(tokens)), tokens.sizes, budget))
