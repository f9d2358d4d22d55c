"""How well a set of documents represents a human reference, measured against what human text differs by from itself.

Every measure compares two sets of documents and depends on how large they are, so a value alone says nothing.  Here
one side of the reference stands for human text, the candidate is compared with it, and so is human text: other
documents of the same reference, as many as the candidate has, against the rest of it, `draws` times.  The z-score says
how many standard deviations the candidate lies from those.  A human candidate and the human draws are exchangeable,
because a measure sees nothing but the two sets, and because a draw repeats what would move it though the text is human:

- documents that the candidate shares with the reference's side (a mixture holds the trusted snapshot; "input" holds
  the dated documents that serve as reference): a draw shares as many.  Leaving them out of the candidate instead would
  make it look the more contaminated the more trusted text it holds;
- copies (a mixture repeats documents up to four times): a draw repeats as many documents as often.  That repeats
  cost variety is seen in the values; z asks whether the documents repeated are like human text.

With copies or shared documents z is smaller for the same contamination, as there is less text that could tell.

Topics here are not those of `curator.topics` but neighbourhoods of reference documents, drawn anew for every comparison.
Topics that were fitted on the reference know its documents: human text that they have not seen kept less of the small
ones than the draws did (mean z -2.3 to -3.9 in twelve trials with 175 topics fitted on 3,000 documents, against -0.4
to 0.1 with neighbourhoods, as sensitive otherwise).  And a mixture whose margins were set by topics would be judged by
what it was made to meet.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curator.ids import unit_hash
from curator.kernels import lean
from curator.schema import field
from curator.text import token_groups, utf8_view

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]
Bools = npt.NDArray[np.bool_]

SIZE: Final = 1_500  # documents of a side: distances are taken between all of them
FEWEST: Final = 100  # documents of a side below which nothing is said: the null would hardly vary with the text
RARE: Final = 0.2  # the smallest topics that hold no more than this part of the reference are rare
TAIL: Final = (2, 10)  # in how many documents of the reference's side a tail word stands; one may be a slip of the pen
WORDS_READ: Final = 1_000  # of a document, for its vocabulary: one long book is not the vocabulary of a corpus
BYTES_READ: Final = 1_000  # of a document, for compression
PER_TOPIC: Final = 20  # documents of the reference's side in a topic; of 5, 10 and 20, the most sensitive
PRECISION_NEAREST: Final = 3  # Kynkäänniemi et al. 2019, section 3
COVERAGE_NEAREST: Final = 5  # Naeem et al. 2020, section 4
SCALING: Final = 5.0  # Pillutla et al. 2021, section 4
_FRONTIER: Final = np.linspace(0.0, 1.0, 27)[1:-1, None]  # mixtures at which the frontier is taken
_TIE: Final = 1e-6  # two distances that differ by less differ by rounding
_NOTHING: Final = 1e-9  # a difference below this is none


@dataclass(frozen=True)
class Sample:
    """Documents as they were drawn: one that a mixture repeats stands here as often as it was drawn.

    Who calls chooses them by a keyed hash: at most `SIZE` of a candidate, twice as many of a reference.  More are cut
    down, again by hash.  Documents without text count nowhere.
    """

    ids: U64  # [n, 2]
    vectors: F32  # [n, dim] topic vectors, unit length; nan or zero where there is none
    texts: pa.Array  # [n] large_string

    def __len__(self) -> int:
        """Documents, copies counted."""
        return len(self.ids)

    def take(self, rows: I64) -> Sample:
        """The documents at these rows, in their order."""
        return Sample(self.ids[rows], self.vectors[rows], self.texts.take(pa.array(rows)))


@dataclass(frozen=True)
class Metric:
    """What a measure is called, which sign of z is bad ("+", "-", or "±" for both), and what it says."""

    name: str
    worse: str
    doc: str


METRICS: Final = (
    Metric("topic_kl", "+", "nats lost when the candidate's shares of topics stand for the reference's, KL(reference‖candidate), half a document added to each topic"),
    Metric("topic_tv", "+", "part of the documents that would have to change topic, total variation"),
    Metric("rare_topic_retention", "-", "share of the candidate's documents in the reference's rare topics (the smallest that hold a fifth of it), surplus of no topic counted, over the reference's"),
    Metric("mauve", "-", "area under the frontier of exp(-5 KL) against mixtures of both histograms of topics, 1 when equal (Pillutla et al. 2021)"),
    Metric("energy_distance", "+", "2 E|X-Y| - E|X-X'| - E|Y-Y'| between topic vectors (Székely and Rizzo 2013)"),
    Metric("precision", "±", "share of the candidate within a reference document's third-nearest neighbour; more than of human text means it keeps to the middle (Kynkäänniemi et al. 2019)"),
    Metric("coverage", "-", "share of the reference that has a document of the candidate within its fifth-nearest neighbour (Naeem et al. 2020)"),
    Metric("tail_word_recall", "-", "share of the words in 2 to 10 of the reference's documents that the candidate has"),
    Metric("out_of_vocabulary", "±", "share of the candidate's words that no document of the reference has"),
    Metric("length", "±", "mean log number of words, less the reference's"),
    Metric("length_spread", "±", "log standard deviation of the log number of words, less the reference's"),
    Metric("compression", "±", "log of compressed over plain bytes, each document by itself, less the reference's; smaller is more regular"),
    Metric("joint_compression", "±", "log of bytes compressed together over bytes compressed one by one, less the reference's; smaller repeats more between documents"),
)  # fmt: skip

REPRESENTATIVENESS: Final = pa.schema(
    [
        field("scope", pa.string(), "the set that was compared with the reference: input, kept, mixture", nullable=False),
        field("metric", pa.string(), "what was measured", nullable=False),
        field("value", pa.float64(), "the measure between the set and one side of the reference; null for too few documents"),
        field("null_mean", pa.float64(), "its mean when other human documents of the reference are in the set's place"),
        field("null_sd", pa.float64(), "its standard deviation over these draws"),
        field("z", pa.float64(), "(value - null_mean) / null_sd; null where the draws do not vary and the value differs"),
        field("worse", pa.string(), "which sign of z is bad: +, - or ± for both", nullable=False),
        field("n", pa.int64(), "documents of the set that were measured, copies counted", nullable=False),
        field("n_reference", pa.int64(), "documents of the reference they were compared with", nullable=False),
        field("n_shared", pa.int64(), "of n, those that are among these too; the draws share as many", nullable=False),
        field("draws", pa.int64(), "human sets drawn for the null", nullable=False),
        field("doc", pa.string(), "what the measure says", nullable=False),
    ]
)  # fmt: skip


def representativeness(
    reference: Sample, candidates: Mapping[str, Sample], seed: int, draws: int = 50
) -> list[dict[str, object]]:
    """Rows of `REPRESENTATIVENESS`: every metric of every candidate, as a z-score against human-versus-human draws.

    The reference's documents are each counted once.  With fewer than `FEWEST` documents of the candidate, or twice as
    many of the reference, a candidate's rows say nothing but how many there were.  The answer does not depend on the
    order of the documents, nor on what other candidates there are.
    """
    from threadpoolctl import threadpool_limits

    trusted = _distinct(_with_text(reference))
    trusted = trusted.take(_by_hash(trusted.ids, seed, "size")[: 2 * SIZE])
    rows = []
    with threadpool_limits(1):  # sums of products depend on how many threads share them
        for scope, candidate in candidates.items():
            rows += _compared(scope, trusted, _with_text(candidate), seed, draws)
    return rows


# --- Sets of documents ---------------------------------------------------------------------------


def _compared(scope: str, trusted: Sample, candidate: Sample, seed: int, draws: int) -> list[dict[str, object]]:
    """The rows of one candidate."""
    size = min(len(candidate), len(trusted) // 2, SIZE)
    candidate = candidate.take(_by_hash(_each_copy(candidate.ids), seed, "size")[:size])
    pool = _pool(trusted, candidate)
    pairs = _pairs(pool, size, seed, draws)
    about: dict[str, object] = {
        "n": size, "n_reference": int(pairs.theirs[0].sum()), "n_shared": int(pairs.ours[0] @ pairs.theirs[0]), "draws": draws
    }  # fmt: skip
    measured = measures(pool, pairs) if size >= FEWEST else {}
    return [
        {"scope": scope, "metric": metric.name, **_scored(measured.get(metric.name)), "worse": metric.worse, **about}
        | {"doc": metric.doc}
        for metric in METRICS
    ]


def _scored(values: F64 | None) -> dict[str, object]:
    """The first value against the mean and spread of the others; all null where there is nothing to say."""
    if values is None or not np.isfinite(values).all():
        return dict.fromkeys(("value", "null_mean", "null_sd", "z"))
    value, mean, sd = float(values[0]), float(values[1:].mean()), float(values[1:].std(ddof=1))
    off, rounding = value - mean, _TIE * abs(mean) + _NOTHING
    z = off / sd if sd > rounding else (0.0 if abs(off) <= rounding else None)
    return {"value": value, "null_mean": mean, "null_sd": sd, "z": z}


def _with_text(sample: Sample) -> Sample:
    """The documents that have a text, ordered by id; of a vector that is none, zeros."""
    rows = np.flatnonzero(sample.texts.is_valid().to_numpy(zero_copy_only=False))
    rows = rows[np.lexsort(sample.ids[rows].T[::-1])]
    found = sample.take(rows)
    return replace(found, vectors=np.nan_to_num(found.vectors, nan=0.0).astype(np.float32))


def _distinct(ordered: Sample) -> Sample:
    """Each document once."""
    return ordered.take(np.flatnonzero(_copy_number(ordered.ids) == 0))


def _copy_number(ordered: U64) -> I64:
    """How many documents before it have its id.  # [n]"""
    new = np.ones(len(ordered), np.bool_)
    new[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    at = np.arange(len(ordered))
    return at - np.maximum.accumulate(np.where(new, at, 0))


def _each_copy(ordered: U64) -> U64:
    """Ids by which copies of a document are drawn apart.  # [n, 2]"""
    step = _copy_number(ordered).astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    return np.stack([ordered[:, 0], ordered[:, 1] ^ step], axis=1)


def _by_hash(ids: U64, seed: int, purpose: str) -> I64:
    return np.argsort(unit_hash(ids, seed, f"representative:{purpose}"), kind="stable")


# --- What resampling works on --------------------------------------------------------------------


@dataclass(frozen=True)
class Pool:
    """The documents of a reference and a candidate, each once, ordered by id, as numbers."""

    ids: U64  # [n, 2]
    trusted: Bools  # [n] belongs to the reference
    copies: I32  # [n] how often the candidate holds it
    apart: F32  # [n, n] Euclidean distance of topic vectors
    ends: I64  # [n + 1] document d has the words ends[d]:ends[d + 1]
    words: I32  # [entries] distinct words of a document, as numbers from 0 on
    counts: I32  # [entries] how often it has the word
    length: F64  # [n] log number of words
    heads: list[bytes]  # [n] how the texts begin
    zipped: F64  # [n] compressed bytes of that, by itself


def _pool(trusted: Sample, candidate: Sample) -> Pool:
    both = Sample(
        np.concatenate([trusted.ids, candidate.ids]),
        np.concatenate([trusted.vectors, candidate.vectors]),
        pa.concat_arrays([trusted.texts, candidate.texts]),
    )
    order = np.lexsort(both.ids.T[::-1])  # stable: of a document in both, the reference's row comes first
    code = np.cumsum(_copy_number(both.ids[order]) == 0) - 1
    each = both.take(order[_copy_number(both.ids[order]) == 0])
    held = order >= len(trusted)
    copies = np.bincount(code[held], minlength=len(each)).astype(np.int32)
    heads = _heads(each.texts)
    return Pool(
        each.ids, np.bincount(code[~held], minlength=len(each)) > 0, copies,
        _distances(each.vectors), *_vocabulary(each.texts), heads, np.array([_zipped(head) for head in heads], np.float64),
    )  # fmt: skip


def _distances(vectors: F32) -> F32:
    squares = np.einsum("ij,ij->i", vectors, vectors)
    apart = vectors @ vectors.T
    apart *= -2
    apart += squares[:, None]
    apart += squares
    root: F32 = np.sqrt(np.maximum(apart, 0, out=apart), out=apart)
    return root


def _vocabulary(texts: pa.Array) -> tuple[I64, I32, I32, F64]:
    """`Pool.ends`, `.words`, `.counts` and `.length` of texts."""
    hashes, lengths = [], []
    for group in token_groups(utf8_view(texts)):
        size = np.diff(group.ends)
        place = np.arange(group.ends[-1]) - np.repeat(group.ends[:-1], size)
        hashes.append(group.hashes[: group.ends[-1]][place < WORDS_READ])
        lengths.append(size)
    size = np.concatenate([*lengths, np.zeros(0, np.int64)])
    distinct, word = np.unique(np.concatenate([*hashes, np.zeros(0, np.uint64)]), return_inverse=True)
    row = np.repeat(np.arange(len(size)), np.minimum(size, WORDS_READ))
    entry, counts = np.unique(row * max(len(distinct), 1) + word, return_counts=True)
    row, word = np.divmod(entry, max(len(distinct), 1))
    ends = np.searchsorted(row, np.arange(len(size) + 1))
    return ends, word.astype(np.int32), counts.astype(np.int32), np.log(np.maximum(size, 1))


def _heads(texts: pa.Array) -> list[bytes]:
    view = utf8_view(texts)
    stops = np.minimum(view.offsets[1:], view.offsets[:-1] + BYTES_READ)
    return [view.data[start:stop].tobytes() for start, stop in zip(view.offsets[:-1], stops, strict=True)]


def _zipped(data: bytes) -> int:
    import zstandard

    return len(zstandard.ZstdCompressor(level=1, write_content_size=False).compress(data))


@dataclass(frozen=True)
class Pairs:
    """Sets to compare: first the candidate with one side of the reference, then human ones with others."""

    ours: I32  # [1 + draws, n] how often the set that is judged holds each document of a pool
    theirs: Bools  # [1 + draws, n] whether the reference's side does
    centres: I64  # [1 + draws, topics] documents of theirs around which its topics lie


def _pairs(pool: Pool, size: int, seed: int, draws: int) -> Pairs:
    """Draw the human sets that the candidate is held against.

    A draw takes from the reference's other documents what the candidate holds by itself, and from its side what the
    candidate shares with it, as many documents as often.
    """
    trusted = np.flatnonzero(pool.trusted)
    reference = min(SIZE, len(trusted) - size)
    ours = np.zeros((1 + draws, len(pool.ids)), np.int32)
    theirs = np.zeros(ours.shape, np.bool_)
    ours[0] = pool.copies
    theirs[0, trusted[_by_hash(pool.ids[trusted], seed, "side")[:reference]]] = True
    held = pool.copies > 0
    shared, alone = (np.sort(pool.copies[held & side]) for side in (theirs[0], ~theirs[0]))
    for draw in range(1, 1 + draws):
        order = trusted[_by_hash(pool.ids[trusted], seed, f"draw:{draw}")]
        theirs[draw, order[:reference]] = True
        ours[draw, order[: len(shared)]] = shared
        ours[draw, order[reference : reference + len(alone)]] = alone
    return Pairs(ours, theirs, _centres(pool.ids, theirs, reference // PER_TOPIC, seed))


def _centres(ids: U64, theirs: Bools, topics: int, seed: int) -> I64:
    """So many documents of each side, by hash."""
    rows = [np.flatnonzero(side) for side in theirs]
    chosen = [of[_by_hash(ids[of], seed, f"topics:{draw}")[:topics]] for draw, of in enumerate(rows)]
    return np.array(chosen, np.int64).reshape(len(theirs), topics)


# --- Measures ------------------------------------------------------------------------------------


def measures(pool: Pool, pairs: Pairs) -> dict[str, F64]:
    """Every metric of pairs of sets, by name.  [pairs] each; nan where a set has nothing to measure."""
    ours, theirs = pairs.ours, pairs.theirs
    with np.errstate(divide="ignore", invalid="ignore"):
        return {
            **_of_topics(pool, pairs),
            **_of_vectors(pool, ours, theirs),
            **_of_words(pool, ours, theirs),
            **_of_lengths(pool, ours, theirs),
            **_of_bytes(pool, ours, theirs),
        }


def _of_topics(pool: Pool, pairs: Pairs) -> dict[str, F64]:
    found = []
    for ours, theirs, centres in zip(pairs.ours, pairs.theirs, pairs.centres, strict=True):
        topic = pool.apart[:, centres].argmin(axis=1)
        found.append([np.bincount(topic, side, len(centres)).astype(np.float64) for side in (ours, theirs)])
    each = {"topic_kl": topic_kl, "topic_tv": topic_tv, "rare_topic_retention": rare_retention, "mauve": mauve}
    return {name: np.array([of(a, b) for a, b in found]) for name, of in each.items()}


def topic_kl(ours: F64, theirs: F64) -> float:
    """KL(theirs‖ours) of two histograms in nats, each with half a document more in every topic (Krichevsky–Trofimov)."""
    p, q = ((h + 0.5) / (h + 0.5).sum() for h in (theirs, ours))
    return float((p * np.log(p / q)).sum())


def topic_tv(ours: F64, theirs: F64) -> float:
    """Total variation between two histograms, 0 to 1."""
    return float(np.abs(ours / ours.sum() - theirs / theirs.sum()).sum() / 2)


def rare_retention(ours: F64, theirs: F64) -> float:
    """What is left of theirs in the smallest topics that hold `RARE` of it, 0 to 1; a topic's surplus makes up for none."""
    p, q = theirs / theirs.sum(), ours / ours.sum()
    order = np.argsort(theirs, kind="stable")
    rare = order[np.cumsum(p[order]) <= RARE]
    return float(np.minimum(p, q)[rare].sum() / p[rare].sum())


def mauve(ours: F64, theirs: F64) -> float:
    """Area under the divergence frontier of two histograms (Pillutla et al. 2021, equations 1 and 2): 1 when equal."""
    p, q = theirs / theirs.sum(), ours / ours.sum()
    between = _FRONTIER * p + (1 - _FRONTIER) * q
    ratio = [np.divide(h, between, out=np.ones_like(between), where=h > 0) for h in (q, p)]
    x, y = (np.exp(-SCALING * (h * np.log(r)).sum(axis=1)) for h, r in zip((q, p), ratio, strict=True))
    # as the mixture goes from q to p, x falls from 1 and y rises to 1
    x, y = np.concatenate([[1.0], x, [0.0]]), np.concatenate([[0.0], y, [1.0]])
    return float((np.trapezoid(y[::-1], x[::-1]) + np.trapezoid(x, y)) / 2)


def _of_vectors(pool: Pool, ours: I32, theirs: Bools) -> dict[str, F64]:
    excess = (_shares(ours) - _shares(theirs)).astype(np.float32)  # [pairs, n]
    energy = -np.einsum("ij,ij->i", excess, excess @ pool.apart, dtype=np.float64)
    near = np.empty((len(ours), 2))
    for pair, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        _neighbours(pool.apart, np.flatnonzero(a), a, np.flatnonzero(b), np.zeros(len(a), np.bool_), near[pair])
    return {"energy_distance": energy, "precision": near[:, 0], "coverage": near[:, 1]}


def _shares(counts: I32 | Bools) -> F64:
    shares: F64 = counts / counts.sum(axis=1, keepdims=True)
    return shares


@lean
def _neighbours(apart: F32, ours: I64, copies: I32, theirs: I64, within: Bools, out: F64) -> None:
    """Precision and coverage of one pair of sets, given as rows of `apart`; `within` [n] is all false."""
    covered = 0
    for b in theirs:
        # the distances to the nearest of theirs, ascending, in so many names: an array would be counted by reference
        d1 = d2 = d3 = d4 = d5 = np.float32(np.inf)
        for other in theirs:
            d = apart[b, other]
            if other == b or d >= d5:
                continue
            d5 = d
            if d5 < d4:
                d4, d5 = d5, d4
            if d4 < d3:
                d3, d4 = d4, d3
            if d3 < d2:
                d2, d3 = d3, d2
            if d2 < d1:
                d1, d2 = d2, d1
        near = False
        for a in ours:
            d = apart[b, a]
            near |= d <= d5 + _TIE
            within[a] |= d <= d3 + _TIE
        covered += near
    total = inside = 0
    for a in ours:
        total += copies[a]
        inside += copies[a] * within[a]
    out[0] = inside / total
    out[1] = covered / len(theirs)


def _of_words(pool: Pool, ours: I32, theirs: Bools) -> dict[str, F64]:
    words = int(pool.words.max(initial=-1)) + 1
    found = np.empty((len(ours), 2))
    for pair, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        documents, seen = np.zeros(words, np.int32), np.zeros(words, np.bool_)
        _words_of(pool.ends, pool.words, pool.counts, a, b, documents, seen, found[pair])
    return {"tail_word_recall": found[:, 0], "out_of_vocabulary": found[:, 1]}


@lean
def _words_of(ends: I64, words: I32, counts: I32, ours: I32, theirs: Bools, documents: I32, seen: Bools, out: F64) -> None:  # fmt: skip
    """Tail-word recall and out-of-vocabulary rate; `documents` and `seen` [words] are all zero."""
    for row in range(len(theirs)):
        if theirs[row]:
            for entry in range(ends[row], ends[row + 1]):
                documents[words[entry]] += 1
    total = unknown = 0
    for row in range(len(ours)):
        if ours[row]:
            for entry in range(ends[row], ends[row + 1]):
                seen[words[entry]] = True
                total += ours[row] * counts[entry]
                unknown += ours[row] * counts[entry] * (documents[words[entry]] == 0)
    tail = recalled = 0
    for word in range(len(documents)):
        rare = TAIL[0] <= documents[word] <= TAIL[1]
        tail += rare
        recalled += rare and seen[word]
    out[0] = recalled / tail
    out[1] = unknown / total


def _of_lengths(pool: Pool, ours: I32, theirs: Bools) -> dict[str, F64]:
    (mean, sd), (their_mean, their_sd) = (_moments(_shares(side), pool.length) for side in (ours, theirs))
    return {"length": mean - their_mean, "length_spread": np.log(sd / their_sd)}


def _moments(shares: F64, values: F64) -> tuple[F64, F64]:
    mean = shares @ values
    return mean, np.sqrt(np.maximum(shares @ values**2 - mean**2, 0))


def _of_bytes(pool: Pool, ours: I32, theirs: Bools) -> dict[str, F64]:
    plain = np.array([len(head) for head in pool.heads], np.float64)
    alone = [np.log((side @ pool.zipped) / (side @ plain)) for side in (ours, theirs)]
    joint = [np.log(_together(pool.heads, side) / (side @ pool.zipped)) for side in (ours, theirs)]
    return {"compression": alone[0] - alone[1], "joint_compression": joint[0] - joint[1]}


def _together(heads: list[bytes], side: I32 | Bools) -> F64:
    """Bytes that each set takes when its documents are compressed as one.  # [pairs]"""
    drawn = (np.repeat(np.arange(len(heads)), counts) for counts in side.astype(np.int64))
    return np.array([_zipped(b"".join([heads[row] for row in rows])) for rows in drawn], np.float64)
