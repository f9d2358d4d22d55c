"""Training sets: equally many tokens of every arm, drawn anew for every seed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from curator import proxy
from curator.ids import unit_hash
from curator.proving.documents import beginnings
from curator.proving.pools import Pool
from curator.proxy import I64, U64, Bools, Tokens

if TYPE_CHECKING:
    from tokenizers import Tokenizer

TRAINED: Final = 0.8  # of the smallest pool's words, so that each seed draws other documents
TOKENIZER_CHARS: Final = 1_500_000  # of each training set, to learn the tokens from


def in_order(pool: Pool, seed: int) -> I64:
    """Positions in a pool, as often as each has copies, by a keyed hash.

    The key is the same for all pools: what two of them share comes at one place in both, and chance parts them less.
    """
    at = np.repeat(np.arange(len(pool.rows)), pool.copies)
    nth = np.arange(len(at)) - np.repeat(np.cumsum(pool.copies) - pool.copies, pool.copies)
    ids = pool.ids[at].copy()
    ids[:, 1] ^= nth.astype(np.uint64)
    return np.asarray(at[np.lexsort((ids[:, 1], ids[:, 0], unit_hash(ids, seed, "prove:train")))])


def within(order: I64, sizes: I64, budget: float) -> I64:
    """The first documents of an order that a budget holds."""
    return order[: int(np.searchsorted(np.cumsum(sizes[order]), budget, side="right"))]


@dataclass(frozen=True)
class Sets:
    """Training sets of all arms and seeds, in tokens."""

    tokenizer: Tokenizer
    tokens: dict[str, Tokens]  # [drawn documents] of each pool
    ids: dict[str, U64]  # [drawn documents, 2]
    orders: dict[tuple[str, int], I64]  # positions in these, by arm and seed
    reference: dict[str, Bools]  # [drawn documents]
    budget: int

    @property
    def vocabulary(self) -> int:
        """How many tokens there are."""
        return self.tokenizer.get_vocab_size()

    def train(self, arm: str, seed: int) -> Tokens:
        """What an arm's model is trained on."""
        return self.tokens[arm].take(self._chosen(arm, seed))

    def of_reference(self, arm: str, seed: int) -> float:
        """Part of its tokens that are the reference's."""
        chosen = self._chosen(arm, seed)
        sizes = self.tokens[arm].sizes[chosen]
        return float(sizes[self.reference[arm][chosen]].sum() / sizes.sum())

    def _chosen(self, arm: str, seed: int) -> I64:
        return within(self.orders[arm, seed], self.tokens[arm].sizes, self.budget)


def draw(found: Sequence[Pool], seeds: int, most_words: int) -> Sets:
    """Draw equally many words for each arm and seed, learn the tokens of all arms' text, and cut to equally many tokens."""
    words = min(most_words, TRAINED * min(pool.total for pool in found))
    drawn: dict[tuple[str, int], I64] = {
        (pool.name, seed): within(in_order(pool, seed), pool.words, words) for pool in found for seed in range(seeds)
    }
    used = {pool.name: np.unique(np.concatenate([drawn[pool.name, seed] for seed in range(seeds)])) for pool in found}
    texts = {pool.name: beginnings(pool.texts, pool.rows[used[pool.name]]) for pool in found}
    orders = {key: np.searchsorted(used[key[0]], order) for key, order in drawn.items()}
    lessons = [text for pool in found for text in _lesson(texts[pool.name], orders[pool.name, 0])]
    tokenizer = proxy.learn_tokenizer(lessons)
    tokens = {name: proxy.encode(tokenizer, some) for name, some in texts.items()}
    return Sets(
        tokenizer=tokenizer,
        tokens=tokens,
        ids={pool.name: pool.ids[used[pool.name]] for pool in found},
        orders=orders,
        reference={pool.name: pool.reference[used[pool.name]] for pool in found},
        budget=min(int(tokens[name].sizes[order].sum()) for (name, _), order in orders.items()),
    )


def _lesson(texts: Sequence[str], order: I64) -> Iterator[str]:
    """An arm's part of the text that the tokens are learned from."""
    left = TOKENIZER_CHARS
    for place in order:
        yield texts[place]
        left -= len(texts[place])
        if left <= 0:
            return
