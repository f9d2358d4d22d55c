"""Cells of the mixture: documents that no constraint tells apart share one, so weights are found for cells, not for rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]
Bools = npt.NDArray[np.bool_]

LIKELY_HUMAN: Final = 0.5  # P(synthetic) below which a document is taken for human text
Q_STEPS: Final = 10_000  # P(synthetic) in whole steps: sums of whole numbers do not depend on the order of documents
QUALITY_BINS: Final = 5
UNKNOWN_QUALITY: Final = 0.5
_COPY_BINS: Final = 6  # 1, 2, 3-4, 5-8, 9-16, more


@dataclass(frozen=True)
class Margin:
    """One dimension whose shares the mixture must hold near a reference's.

    names: [groups].  codes: [docs] position in `names`, -1 where unknown.  reference: [groups] the group's part of the
    reference's words, nan where the reference says nothing of it.  error: [groups] standard error of that part.
    basis: what the reference is, in a few words.
    """

    dimension: str
    names: tuple[str, ...]
    codes: I64
    reference: F64
    error: F64
    basis: str


@dataclass(frozen=True)
class Facts:
    """What the mixture needs to know of the documents it may draw from.  Arrays are [docs].

    q: P(synthetic), at the upper end of what is believed; none nan.  quality: nan where it was not judged.
    copies: members of the document's duplicate cluster.  snapshot: trusted human text that the user gave.
    verified: synthetic text that something other than its maker has checked.
    """

    ids: U64  # [docs, 2]
    words: I64
    q: F64
    quality: F64
    copies: I64
    snapshot: Bools
    verified: Bools
    margins: tuple[Margin, ...]

    @property
    def human(self) -> F64:
        """P(human) of every document: 1 of the snapshot, 0 of verified synthetic text.  # [docs]"""
        return _human(self.q, self.snapshot, self.verified)


@dataclass(frozen=True)
class Cells:
    """The cells, in an order that does not depend on the documents' order.  Arrays are [cells] but `of`, which is [docs].

    words: at least 1 a document.  q: mean by words.  quality, copies: of the cell's bin.  groups: [cells, margins].
    """

    of: I64
    documents: I64
    words: F64
    q: F64
    quality: F64
    copies: F64
    snapshot: Bools
    verified: Bools
    groups: I64

    @property
    def human(self) -> F64:
        """P(human) of every cell, as of a document.  # [cells]"""
        return _human(self.q, self.snapshot, self.verified)

    @classmethod
    def cut(cls, facts: Facts, bins: int) -> Cells:
        """Group documents by margin, bin of P(synthetic), bin of quality, bin of copies, snapshot and verified."""
        steps = np.rint(np.clip(facts.q, 0, 1) * Q_STEPS).astype(np.int64)
        known = np.where(np.isnan(facts.quality), UNKNOWN_QUALITY, np.clip(facts.quality, 0, 1))
        parts = [
            *(margin.codes + 1 for margin in facts.margins),
            np.minimum(steps * bins // Q_STEPS, bins - 1) + (steps == Q_STEPS),  # what is surely synthetic stands alone
            np.minimum((known * QUALITY_BINS).astype(np.int64), QUALITY_BINS - 1),
            np.minimum(np.ceil(np.log2(np.maximum(facts.copies, 1))).astype(np.int64), _COPY_BINS - 1),
            facts.snapshot.astype(np.int64),
            facts.verified.astype(np.int64),
        ]
        key, of = _key(parts)
        first = np.zeros(len(key), np.int64)
        first[of] = np.arange(len(of))
        words = np.maximum(facts.words, 1)
        mass = np.bincount(of, words, len(key)).astype(np.float64)
        at = len(facts.margins)
        return cls(
            of=of,
            documents=np.bincount(of, minlength=len(key)).astype(np.int64),
            words=mass,
            q=np.bincount(of, words * steps, len(key)) / (mass * Q_STEPS),
            quality=(parts[at + 1][first] + 0.5) / QUALITY_BINS,
            copies=2.0 ** parts[at + 2][first],
            snapshot=facts.snapshot[first],
            verified=facts.verified[first],
            groups=np.stack([margin.codes[first] for margin in facts.margins], axis=1)
            if facts.margins
            else np.zeros((len(key), 0), np.int64),
        )


def _human(q: F64, snapshot: Bools, verified: Bools) -> F64:
    return np.where(verified, 0.0, np.where(snapshot, 1.0, 1 - q))


def _key(parts: list[I64]) -> tuple[I64, I64]:
    """The distinct combinations, in ascending order, and each document's position among them."""
    whole = np.zeros(len(parts[0]), np.int64)
    for part in parts:
        _, whole = np.unique(whole, return_inverse=True)  # kept dense, so that no product of sizes can overflow
        whole = whole * (int(part.max(initial=0)) + 1) + part
    key, of = np.unique(whole, return_inverse=True)
    return key, of.astype(np.int64)
