"""The detector without a data set, or without a family of generators: scores of what it never saw.

Every fold is learnt as `train.py` learns the shipped weights, from the same texts less those left out; the lines to
log-odds and the operating points come from unseen scores of the other sets, as they do there.  What folds say is kept
under a cache folder: a second run learns only those that are missing.  `benchmarks/origin.py` makes figures of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import train
from train import FOLDS, Corpus, Lesson

from curator.learn import encode, grams, logistic, operating_point
from curator.stages.embed import default_encoder
from curator.stages.ngram import BITS

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

VERSION: Final = "2"
# Families of generators by parts of their names.
FAMILIES: Final = {
    "Claude": ("claude",), "GPT-4": ("gpt-4", "gpt4"), "ChatGPT": ("gpt-3.5", "chatgpt"), "GPT-5, o3-mini": ("gpt-5", "gpt-oss", "o3-mini"),
    "davinci": ("davinci", "text-curie", "text-babbage"), "Gemini, PaLM": ("gemini", "palm"), "Llama": ("llama", "vicuna"),
    "Qwen, GLM, MiniMax, MiMo, Seed": ("qwen", "glm", "minimax", "mimo", "seed-"),
}  # fmt: skip
PATHS: Final = ("cheap", "encoder", "fused")
NOTHING: Final = "nothing"


@dataclass(frozen=True)
class Fold:
    """What one fold leaves out: data sets by name, or generators by parts of their names, or nothing."""

    name: str
    sets: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()

    def away(self, corpus: Corpus) -> Bools:
        """Which texts training must not see.  # [n]"""
        if self.sets:
            return np.isin(corpus.dataset, self.sets)
        lower = np.char.lower(corpus.generator.astype(str))
        named = [np.char.find(lower, part) >= 0 for part in self.parts]
        return np.any([np.zeros(len(corpus), bool), *named], axis=0) & (corpus.label == 1)

    def hidden(self, corpus: Corpus) -> Bools:
        """What training must not see, and in another set the copies and twins of a left-out set's texts.  # [n]"""
        away = self.away(corpus)
        return away | np.isin(corpus.group, corpus.group[away]) if self.sets else away


def folds(sets: tuple[str, ...] | None = None) -> list[Fold]:
    """Every data set is left out once, with its kin, and every family; a set without kin has a fold of its own."""
    named = {name for kin in FOLDS for name in kin}
    wanted = tuple(train.CAPS) if sets is None else sets
    kin = [tuple(name for name in group if name in wanted) for group in FOLDS]
    kin += [(name,) for name in wanted if name not in named]
    of_sets = [Fold("+".join(group), sets=group) for group in kin if group]
    return of_sets + [Fold(name, parts=parts) for name, parts in FAMILIES.items()]


def few(data: Path, sets: tuple[str, ...], texts: int, encoded: int, cache: Path) -> Lesson:
    """A small lesson without attacks, to see that everything runs."""
    corpus = train.load(data, sets)
    corpus = corpus.take(np.sort(np.argsort(corpus.unit)[:texts]))
    found = grams(corpus.text)
    usable = train.usable_rows(corpus, found)
    rows = np.flatnonzero(usable)[:: max(1, texts // encoded)]
    moments = encode([corpus.text[row] for row in rows], cache / "moments.npz")
    teach = (corpus.part == "train") & usable
    return Lesson(corpus, found, train.weights(corpus), corpus.part, usable, teach, rows, moments)


def sha(lesson: Lesson) -> str:
    """Hash of all that a fold is learnt from."""
    hasher = hashlib.sha256(f"{VERSION}:{BITS}:{default_encoder()['sha256']}".encode())
    for array in (
        lesson.teach,
        lesson.rows,
        lesson.weight,
        lesson.found.style,
        lesson.moments[:, :8],
        lesson.corpus.label,
    ):
        hasher.update(np.ascontiguousarray(array).tobytes())
    return hasher.hexdigest()[:16]


def raw(lesson: Lesson, fold: Fold, cache: Path) -> Floats:
    """n-gram, style and encoder scores of every text by parts that were fitted without the fold, kept.  # [n, 3]"""
    path = cache / "left_out" / f"{_slug(fold.name)}-{sha(lesson)}.npy"
    if not path.is_file():
        found = train.scores(lesson, *train.parts(lesson, ~fold.hidden(lesson.corpus)))
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.with_suffix(".tmp").open("wb") as file:
            np.save(file, found)
        path.with_suffix(".tmp").rename(path)
        print(f"learnt without {fold.name}", flush=True)
    return np.asarray(np.load(path), np.float64)


def _slug(name: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in name.lower())


def tables(lesson: Lesson, wanted: list[Fold], cache: Path) -> Iterator[tuple[Fold, pa.Table]]:
    """Scores of every fold: what it left out, and the held-out groups of what it knew.

    Columns: dataset, domain, label, generator, group, part, n_words, held, and log-odds by path (`cheap`, `encoder`,
    `fused`; null where the encoder did not look); `point_<path>` is the operating point of 1 % by the other sets.
    """
    corpus, by_fold = lesson.corpus, {fold.name: raw(lesson, fold, cache) for fold in wanted}
    unseen = np.full((len(corpus), 3), np.nan)
    for fold in wanted:
        if fold.sets:
            away = fold.away(corpus)
            unseen[away] = by_fold[fold.name][away]
    for fold in wanted:
        away = fold.away(corpus)
        others = replace(lesson, usable=lesson.usable & ~away & np.isfinite(unseen[:, 0]))
        logits, points = _judged(others, unseen, by_fold[fold.name])
        shown = lesson.usable & (lesson.found.words >= 60) & ((lesson.part == "test") | (away & bool(fold.sets)))
        yield fold, _table(lesson, np.flatnonzero(shown), away, logits, points)


def _judged(others: Lesson, unseen: Floats, score: Floats) -> tuple[dict[str, Floats], dict[str, float]]:
    """Log-odds of every text by path, and the operating points, from lines fitted on unseen scores of the others."""
    fusion, numbers = train.lines(others, unseen, score)
    alone, joint, points = numbers["line.cheap"], numbers["line.encoder"], numbers["operating_point"]
    cheap = score[:, :2] @ fusion[:2] + fusion[2]
    made = {"cheap": alone["cheap"] * cheap + alone["constant"]}
    made["fused"] = joint["cheap"] * cheap + joint["encoder"] * score[:, 2] + joint["constant"]
    seen = others.usable & np.isfinite(unseen[:, 2])
    y, weight, sets = (array[seen] for array in (others.corpus.label, others.weight, others.corpus.dataset))
    slope, constant = logistic(unseen[seen, 2:], y, weight)
    made["encoder"] = slope * score[:, 2] + constant
    point = operating_point(slope * unseen[seen, 2] + constant, y, sets)
    return made, {"cheap": points["cheap"], "encoder": point, "fused": points["encoder"]}


def _table(
    lesson: Lesson, at: npt.NDArray[Any], away: Bools, logits: dict[str, Floats], points: dict[str, float]
) -> pa.Table:
    corpus = lesson.corpus
    columns: dict[str, Any] = {
        name: getattr(corpus, name)[at].astype(str) for name in ("dataset", "domain", "generator")
    }
    columns |= {"label": np.where(corpus.label[at] == 1, "synthetic", "human"), "part": lesson.part[at].astype(str)}
    columns |= {"group": corpus.group[at], "n_words": lesson.found.words[at].astype(np.int32), "held": away[at]}
    made = {name: pa.array(value) for name, value in columns.items()}
    made |= {name: pa.array(logits[name][at], mask=np.isnan(logits[name][at])) for name in PATHS}
    made |= {f"point_{name}": pa.array(np.full(at.size, points[name])) for name in PATHS}
    return pa.table(made)


def pooled(found: dict[str, pa.Table], kinds: dict[str, str]) -> pa.Table:
    """All folds one after another, as other benchmarks read them.

    Columns: dataset, domain, generator, label, held, group, n_words, `left_out` (the fold), `kind` (set, family), and
    `logit`, the cheap path's log-odds.
    """
    made = []
    for name, table in found.items():
        chosen = table.select(["dataset", "domain", "generator", "label", "held", "group", "n_words"])
        for column, value in (("left_out", name), ("kind", kinds[name])):
            chosen = chosen.append_column(column, pa.array([value] * len(table), pa.string()))
        made.append(chosen.append_column("logit", table["cheap"]))
    return pa.concat_tables(made)
