"""The human text that a mixture is held to: the user's snapshot, else what is dated before machines wrote, else what is likely human."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from curator.cells import LIKELY_HUMAN, Margin
from curator.curation import Judged
from curator.shares import dimensions

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

MIN_DATED: Final = 300  # dated documents from which they are the reference
MIN_OF_SOURCE: Final = 100  # dated documents of a source that stand for all of its human text
LARGEST: Final = 200  # groups of a margin that are told apart; the smaller ones are held together
_OWN: Final = ("topic", "language")  # what a snapshot or dated text can speak of; sites and years it has its own


@dataclass(frozen=True)
class Topics:
    """Clusters of meaning.  names: [K].  codes: [docs] position in `names`, -1 where a document has none."""

    names: tuple[str, ...]
    codes: I64


@dataclass(frozen=True)
class Reference:
    """What the mixture is held to.

    kind: snapshot, dated or likely human.  words: [docs] words for which each document stands; 0 outside of it.
    """

    kind: str
    words: F64


def kind_of(judged: Judged) -> str:
    """Which human text there is to hold a mixture to."""
    if judged.reference.any():
        return "snapshot"
    return "dated" if int((judged.trusted & judged.readable).sum()) >= MIN_DATED else "likely human"


def members(judged: Judged, unique: Bools) -> Bools:
    """The documents that topics are learned from: of each cluster of duplicates one, whatever the rules say of it.  # [docs]"""
    readable = judged.readable & unique
    kind = kind_of(judged)
    if kind == "snapshot":
        return readable & judged.reference
    likely = ~(judged.prob_document >= LIKELY_HUMAN)
    return readable & (likely | judged.trusted if kind == "dated" else likely)


def reference(judged: Judged, kept: Bools, q: F64) -> Reference:
    """How many words each document stands for in the reference.

    Dated text of a source stands for that source's human text, since one source's says nothing of another; a source with
    less than `MIN_OF_SOURCE` of it stands for itself, each document with its P(human).  q: [docs] P(synthetic), no nan.
    """
    words = judged.words.astype(float)
    human = np.where(kept, words * (1 - q), 0.0)
    kind = kind_of(judged)
    if kind == "snapshot":
        return Reference(kind, np.where(judged.reference & kept, words, 0.0))
    if kind == "likely human":
        return Reference(kind, human)
    names = judged.source.combine_chunks()
    source, n = np.asarray(names.indices.to_numpy(zero_copy_only=False), np.int64), len(names.dictionary)
    dated = judged.trusted & kept
    enough = np.bincount(source[dated], minlength=n) >= MIN_OF_SOURCE
    scale = np.bincount(source, human, n) / np.maximum(np.bincount(source[dated], words[dated], n), 1.0)
    return Reference(kind, np.where(enough[source], np.where(dated, words * scale[source], 0.0), human))


def margins(judged: Judged, kept: Bools, q: F64, held_to: Reference, topics: Topics | None) -> Iterator[Margin]:
    """Every dimension of the kept documents with its reference's shares; codes and errors [kept documents], [groups].

    A snapshot, or dated text, speaks of topics and languages; sources, domains and years it has its own, so these are held
    to the likely human part of the corpus.
    """
    words = judged.words
    likely = Reference("likely human", np.where(kept & ~judged.reference, words * (1 - q), 0.0))
    if topics is not None:
        yield _margin("topic", list(topics.names), topics.codes, kept, held_to)
    for name, strata, codes in dimensions(judged):
        if name in ("source", "language", "domain", "month"):
            dimension, strata, codes = ("year", *_years(strata, codes)) if name == "month" else (name, strata, codes)
            own = held_to if dimension in _OWN else likely
            yield _margin(dimension, *_largest(strata, codes, kept), kept, own)


def _years(months: list[str], codes: I64) -> tuple[list[str], I64]:
    years = sorted({month[:4] for month in months if month[:4].isdigit()})
    place = np.array([years.index(month[:4]) if month[:4].isdigit() else -1 for month in months] + [-1], np.int64)
    return years, place[codes]


def _largest(names: list[str], codes: I64, kept: Bools) -> tuple[list[str], I64]:
    counts = np.bincount(codes[kept & (codes >= 0)], minlength=len(names))
    if (counts > 0).sum() <= LARGEST:
        return names, codes
    own = np.sort(np.argsort(-counts, kind="stable")[:LARGEST])
    place = np.full(len(names) + 1, LARGEST, np.int64)
    place[own], place[-1] = np.arange(LARGEST), -1
    return [*(names[i] for i in own), "(all smaller ones)"], place[codes]


def _margin(dimension: str, names: list[str], codes: I64, kept: Bools, held_to: Reference) -> Margin:
    some = (codes >= 0) & (held_to.words > 0)
    mass = np.bincount(codes[some], held_to.words[some], len(names))
    total = float(mass.sum())
    share = np.where(mass > 0, mass / max(total, 1e-300), np.nan)
    # a share of words drawn with unequal weights errs as one of fewer documents (Kish 1965)
    effective = total**2 / max(float((held_to.words[some] ** 2).sum()), 1e-300)
    error = np.sqrt(np.nan_to_num(share) * (1 - np.nan_to_num(share)) / max(effective, 1.0))
    return Margin(dimension, tuple(names), codes[kept], share, error, held_to.kind)
