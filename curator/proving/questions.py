"""What every model is asked: the held-out text in tokens, source by source, and its rare words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from curator import proxy
from curator.proving.heldout import HeldOut
from curator.proving.training import Sets
from curator.proxy import F64, I64, U64, Bools, Tokens, joined

RARE: Final = 30  # documents a rare word stands in at most,
RARE_OF: Final = 20_000  # of so many
LEAST_RARE: Final = 3  # where there are far fewer
SMALL_SOURCE: Final = 20  # held-out documents below which sources count together as one
RESAMPLES: Final = 1_000


@dataclass(frozen=True)
class Questions:
    """The held-out text in tokens, and which of them belong to rare words."""

    tokens: Tokens
    group: I64  # [docs] source of each document, small ones together
    sources: int
    rare: Bools  # [tokens]
    rare_words: U64  # hashes of the rare words it holds
    band: int  # documents a rare word stands in at most
    counted: int  # of so many documents

    @property
    def sizes(self) -> F64:
        """Tokens of each document, and those of rare words.  # [docs, 2]"""
        return self.by_document(np.ones(len(self.rare)))

    def by_document(self, values: F64) -> F64:
        """Sums over each document's tokens, and over those of rare words.  # [docs, 2]"""
        both = np.stack([values, np.where(self.rare, values, 0.0)], axis=1)
        return np.asarray(np.add.reduceat(both, self.tokens.ends - self.tokens.sizes, axis=0))

    def log_perplexity(self, surprise: F64, weight: F64 | None = None) -> F64:
        """Mean surprise of a token and of a rare word's token; nan without any.

        surprise: [docs, 2].  weight: [resamples, docs] how often each document counts.  Returns [resamples, 2].
        """
        weight = np.ones((1, len(self.group))) if weight is None else weight
        each = [self._mean(surprise[:, 0], 0, weight, self.group == g) for g in np.unique(self.group)]
        everywhere = np.ones(len(self.group), np.bool_)
        return np.stack([np.mean(each, axis=0), self._mean(surprise[:, 1], 1, weight, everywhere)], axis=1)

    def _mean(self, surprise: F64, column: int, weight: F64, chosen: Bools) -> F64:
        part = weight[:, chosen]
        with np.errstate(invalid="ignore"):
            return np.asarray((part * surprise[chosen]).sum(axis=1) / (part * self.sizes[chosen, column]).sum(axis=1))

    def resamples(self) -> F64:
        """How often each document counts in each resample of the documents, source by source.  # [resamples, docs]"""
        rng = np.random.default_rng(0)
        weight = np.zeros((RESAMPLES, len(self.group)))
        for g in np.unique(self.group):
            inside = np.flatnonzero(self.group == g)
            weight[:, inside] = rng.multinomial(len(inside), np.full(len(inside), 1 / len(inside)), RESAMPLES)
        return weight


def questions(held: HeldOut, sets: Sets) -> Questions:
    """Put the held-out text into tokens and find the rare words in it."""
    tokens = proxy.encode(sets.tokenizer, held.texts)
    found = proxy.words(sets.tokenizer, tokens)
    known, band, counted = _rare_words(sets)
    rare = np.isin(found.names, known) & (found.pieces > 1)
    names, group, sizes = np.unique(held.source.astype(np.str_), return_inverse=True, return_counts=True)
    group = np.where(sizes[group] < SMALL_SOURCE, -1, group).astype(np.int64)
    return Questions(tokens, group, len(names), rare, np.unique(found.names[rare]), band, counted)


def _rare_words(sets: Sets) -> tuple[U64, int, int]:
    """Words that stand in few of the documents drawn for any arm, each document counted once."""
    every = joined(list(sets.tokens.values()))
    _, once = np.unique(np.concatenate(list(sets.ids.values())), axis=0, return_index=True)
    every = every.take(np.sort(once))
    band = max(LEAST_RARE, round(RARE * min(1.0, len(every) / RARE_OF)))
    known, counts = proxy.documents_with(proxy.words(sets.tokenizer, every).names, every.ends)
    return known[counts <= band], band, len(every)
