"""Clusters of meaning: k-means over topic vectors, fitted on the reference alone, named by words of the vocabulary.

In this code a cluster is a group of duplicates; clusters of meaning are called topics.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from curator.ids import unit_hash
from curator.kernels import lean
from curator.stages.topic import lexicon, vocabulary

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]

MOST_FITTED: Final = 50_000  # reference documents that k-means sees, drawn by hash
PER_ROOT: Final = (
    3.2  # topics for the square root of documents: 202 for 4,000, too coarse below 200 for tails (shared/collapse.md)
)
FEWEST: Final = 8
MOST: Final = 1_000
PER_TOPIC: Final = 8  # documents a topic has on average at least
NAME_WORDS: Final = 3


@dataclass(frozen=True)
class Topics:
    """What the reference is about: one centre and one name a topic."""

    centres: F32  # [K, 64] unit length
    names: tuple[str, ...]  # [K] each a few words: "court, judge, trial"

    def __len__(self) -> int:
        """How many topics."""
        return len(self.names)


def fit(vectors: F32, ids: U64, seed: int, k: int = 0) -> Topics:
    """Find the topics of the reference by k-means on the unit sphere, the same whatever the order of rows.

    vectors [n, 64] float32 of unit length, nan or zeros where a document has none; ids [n, 2] uint64; k topics, or by
    size when 0. Fewer come out where there are fewer different vectors; none where there is no vector.
    k-means++ (Arthur and Vassilvitskii 2007), then Lloyd; small topics are kept.
    """
    found = centres_of(vectors, ids, seed, k)
    return Topics(found, names_of(found))


def centres_of(vectors: F32, ids: U64, seed: int, k: int = 0) -> F32:
    """The centres that `fit` names, for vectors of any length.  [K, dims] float32, unit length"""
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    rows = _sampled(vectors, ids, seed)
    distinct = len(np.unique(rows, axis=0))
    wanted = min(k or size(len(rows)), distinct)
    if wanted == 0:
        return np.zeros((0, vectors.shape[1]), np.float32)
    with threadpool_limits(1):  # sums in another order would give other bytes
        found = KMeans(wanted, n_init=1, max_iter=50, random_state=seed & 0xFFFFFFFF).fit(rows)
    centres = found.cluster_centers_.astype(np.float64)
    unit: F32 = (centres / np.maximum(np.linalg.norm(centres, axis=1, keepdims=True), 1e-12)).astype(np.float32)
    return unit


def size(documents: int) -> int:
    """How many topics so many reference documents give: about 3.2 for their square root, 8 to 1,000, 8 documents each."""
    by_root = min(max(round(PER_ROOT * math.sqrt(documents)), FEWEST), MOST)
    return min(by_root, max(documents // PER_TOPIC, FEWEST))


def assign(topics: Topics, vectors: F32) -> I64:
    """The topic of each vector, the centre with the largest cosine; -1 where there is no vector.

    A row's answer depends on that row alone, to the bit. Memory: one number a topic.
    """
    found = np.full(len(vectors), -1, np.int64)
    if len(topics):
        scores = np.empty(len(topics), np.float32)
        _nearest(np.ascontiguousarray(vectors, np.float32), np.ascontiguousarray(topics.centres.T), scores, found)
    return found


def present(vectors: F32) -> npt.NDArray[np.bool_]:
    """Which rows have a vector: neither nan nor all zeros.  [n]"""
    known: npt.NDArray[np.bool_] = np.isfinite(vectors).all(1) & (vectors != 0).any(1)
    return known


def _sampled(vectors: F32, ids: U64, seed: int) -> F32:
    """The vectors to fit, in the order of ids: all, or those with the lowest hashes."""
    at = np.flatnonzero(present(vectors))
    at = at[np.lexsort((ids[at, 1], ids[at, 0]))]
    if len(at) > MOST_FITTED:
        drawn = unit_hash(ids[at], seed, "topics")
        at = at[np.sort(np.argsort(drawn, kind="stable")[:MOST_FITTED])]
    return np.ascontiguousarray(vectors[at], np.float32)


@lean
def _nearest(vectors: F32, centres: F32, scores: F32, found: I64) -> None:
    """centres [64, K]: each product is added to all topics at once, so that the order of sums is always the same."""
    for row in range(len(vectors)):
        scores[:] = 0
        some = False
        for d in range(vectors.shape[1]):
            value = vectors[row, d]
            some |= value != 0
            for c in range(len(scores)):
                scores[c] += value * centres[d, c]
        best = 0
        for c in range(len(scores)):
            if scores[c] > scores[best]:
                best = c
        if some and np.isfinite(scores[best]):
            found[row] = best


# --- Names ---------------------------------------------------------------------------------------

_COMMON: Final = 150  # words too common to name anything
_NAMING: Final = 12_000  # words common enough to be known
_SHORTEST: Final = 4
_STEM: Final = 4  # letters that two words of a name may not share at their beginning
_UNFIT: Final = (
    "fuck",
    "shit",
    "bitc",
    "whor",
    "slut",
    "cunt",
    "nigg",
    "fagg",
)  # stems that no report should show as a name
_CANDIDATES: Final = 60


def names_of(centres: F32) -> tuple[str, ...]:
    """Name each centre by three words near it and less near to the others, no two of one stem.  [K]"""
    if not len(centres):
        return ()
    words, vectors = _naming_words()
    near = vectors @ centres.astype(np.float64).T  # [words, K]
    score = near - near.mean(1, keepdims=True)
    return tuple(_name(words, score[:, c]) for c in range(len(centres)))


def _naming_words() -> tuple[tuple[str, ...], F64]:
    """Words fit for a name and their unit vectors."""
    words = vocabulary()
    at = [i for i in range(_COMMON, min(_NAMING, len(words))) if _fit_to_name(words[i])]
    vectors = lexicon().vectors[at].astype(np.float64)
    return tuple(words[i] for i in at), vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _fit_to_name(word: str) -> bool:
    return len(word) >= _SHORTEST and word.isalpha() and word[:_STEM] not in _UNFIT


def _name(words: tuple[str, ...], score: F64) -> str:
    chosen: list[str] = []
    for at in np.argsort(-score, kind="stable")[:_CANDIDATES]:
        if all(words[at][:_STEM] != other[:_STEM] for other in chosen):
            chosen.append(words[at])
        if len(chosen) == NAME_WORDS:
            break
    return ", ".join(chosen)
