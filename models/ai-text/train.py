"""Train the origin detector: `python models/ai-text/train.py --data ../shared/data --gathered gathered.parquet`.

Features come from the very stages that serve (`curator.stages.ngram`, `curator.stages.embed`), so training and
serving cannot drift.  How the paths are joined, the operating points and the anchors all rest on *unseen* scores: each
text is judged by a detector that was trained without its whole set of texts, for a user's corpus is such a set.  Writes
cheap.safetensors, encoder.safetensors, config.toml and anchors.parquet beside this file; `evaluate.py` then measures.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curator import learn
from curator.kernels import kernel
from curator.learn import (
    SEED,
    Grams,
    cell_weights,
    cheap_logits,
    encode,
    gate_limits,
    grams,
    learn_head,
    logistic,
    operating_point,
    served,
    write_model,
)
from curator.stages import ngram
from curator.stages.embed import head_logits
from curator.style import PREFIX, fold, tables

HERE: Final = Path(__file__).parent
SHORTEST, LONGEST = 60, 400  # words of a training text, cut at random
SEEN: Final = {"train": 10_000, "tune": 2_500, "test": 4_500}  # texts that the encoder sees, by part of the split
ATTACKED: Final = 0.08  # of the training texts come a second time with an attack's damage, of both labels alike
BACKGROUND: Final = 600  # human texts that ship as bags of hashed n-grams
GATHERED: Final = "gathered"  # the set of dated human prose that gather.py fetches; its domains are kinds of text

# What is left out together when a text's unseen score is made: kindred sets, so that no cousin gives a domain away.
FOLDS: Final = (
    ("biscope", "reuters21578"), ("detectrl_xsum_writing", "imdb_reviews"), ("mage_adv_paraphrase", "news_2016_2017"),
    ("gptid_reddit", "blog_authorship"), ("authenticheck_essays", "ndhal_gpt_essays", "argugpt_machine", "spamassassin"),
    ("debate_2026_models", "nltk_human"), ("novels_chunks", "blog_18f"), ("alpaca_eval_outputs",),
    ("sharegpt_gpt_turns",), ("arena_hard_answers",), (GATHERED,),
)  # fmt: skip

# Rows taken from each set at most, by label; long documents of a few sets give several pieces.
CAPS: Final = {
    "biscope": (16_000, 1), "detectrl_xsum_writing": (20_000, 1), "mage_adv_paraphrase": (10_000, 1),
    "gptid_reddit": (5_000, 1), "authenticheck_essays": (4_000, 1), "ndhal_gpt_essays": (3_000, 1),
    "argugpt_machine": (2_000, 1), "arena_hard_answers": (8_600, 1), "alpaca_eval_outputs": (16_000, 1),
    "sharegpt_gpt_turns": (8_000, 1), "debate_2026_models": (8_400, 1), "blog_authorship": (10_000, 1),
    "imdb_reviews": (8_000, 1), "reuters21578": (5_000, 1), "spamassassin": (6_000, 1), "nltk_human": (6_000, 6),
    "news_2016_2017": (3_714, 2), "novels_chunks": (2_500, 1), "blog_18f": (483, 3),
}  # fmt: skip
# What each set's licence is; "" grants nothing, and a set without a grant is used only where leaving it out costs a point.
LICENCES: Final = {
    "biscope": "CC-BY-SA-4.0", "detectrl_xsum_writing": "none stated", "mage_adv_paraphrase": "Apache-2.0",
    "gptid_reddit": "MIT", "authenticheck_essays": "MIT", "ndhal_gpt_essays": "none stated",
    "argugpt_machine": "none stated", "arena_hard_answers": "Apache-2.0", "alpaca_eval_outputs": "CC-BY-NC (badge)",
    "sharegpt_gpt_turns": "none stated", "debate_2026_models": "none stated", "blog_authorship": "research terms",
    "imdb_reviews": "none stated", "reuters21578": "research terms", "spamassassin": "PDDL",
    "nltk_human": "per corpus", "news_2016_2017": "publishers'", "novels_chunks": "public domain", "blog_18f": "CC0",
}  # fmt: skip
FREE: Final = ("CC-BY-SA-4.0", "Apache-2.0", "MIT", "PDDL", "per corpus", "public domain", "CC0")

Floats = npt.NDArray[np.float64]
_WORDS: Final = re.compile(r"\S+")


@dataclass(frozen=True)
class Corpus:
    """Texts cut at random with their labels, one row each; `part` is train, tune or test by group."""

    text: list[str]
    label: npt.NDArray[np.float64]  # 1 = synthetic
    dataset: npt.NDArray[np.str_]
    domain: npt.NDArray[np.str_]
    generator: npt.NDArray[np.str_]
    group: npt.NDArray[np.int64]
    n_words: npt.NDArray[np.int64]

    def __len__(self) -> int:
        """Count the texts."""
        return len(self.text)

    def take(self, rows: npt.NDArray[Any]) -> Corpus:
        """Take rows by index or mask."""
        rows = np.arange(len(self))[rows]
        return Corpus([self.text[i] for i in rows], *(getattr(self, f)[rows] for f in _COLUMNS))

    @functools.cached_property
    def unit(self) -> npt.NDArray[np.float64]:
        """A fixed draw for each text, by the text alone: a set more or less moves no other text."""
        return np.array([_unit(text) for text in self.text])

    @functools.cached_property
    def part(self) -> npt.NDArray[np.str_]:
        """Which side of the split each row's group is on: 70 % train, 12 % tune, 18 % test."""
        lowest = np.full(self.group.max() + 1, 2.0)
        np.minimum.at(lowest, self.group, self.unit)
        u = np.array([_unit(f"part:{float(low)!r}") for low in lowest])[self.group]
        return np.where(u < 0.70, "train", np.where(u < 0.82, "tune", "test"))


_COLUMNS: Final = ("label", "dataset", "domain", "generator", "group", "n_words")


def _unit(key: str) -> float:
    digest = hashlib.blake2b(key.encode("utf-8", "replace"), digest_size=8).digest()
    return int.from_bytes(digest, "little") / 2.0**64


def load(data: Path, sets: tuple[str, ...] = tuple(CAPS), gathered: Path | None = None) -> Corpus:
    """Read, clean, cut and group the training sets; nothing that overlaps the benchmark stays."""
    rows: list[tuple[str, int, str, str, str, str]] = []
    for name in sets:
        rows += _read(data / "detect/train" / f"{name}.parquet", name)
    rows += _gathered(gathered) if gathered else []
    known: set[bytes] = set()
    unique = []
    for row in rows:
        key = hashlib.blake2b(row[0].encode("utf-8", "replace"), digest_size=12).digest()
        if key not in known:
            known.add(key)
            unique.append(row)
    texts, labels, names, domains, generators, groups = (list(column) for column in zip(*unique, strict=True))
    _, group = np.unique(np.array(groups), return_inverse=True)
    shingled = [shingles(text) for text in texts]
    banned = np.unique(np.concatenate([shingles(text) for text in _benchmark_texts(data)]))
    clean = np.array([_shared(found, banned) < 2 for found in shingled])
    spoiled = np.zeros(group.max() + 1, bool)
    spoiled[group[~clean]] = True  # a twin of a benchmark text goes with it
    keep = np.flatnonzero(~spoiled[group] | np.isin(names, ["mage_adv_paraphrase", "authenticheck_essays"]) & clean)
    human = np.array(labels)[keep] == 0
    merged = _merge_groups(
        group[keep], [shingled[i] if man else shingled[i][:0] for i, man in zip(keep, human, strict=True)]
    )
    return Corpus(
        [texts[i] for i in keep],
        np.array(labels, np.float64)[keep],
        np.array(names)[keep],
        np.array(domains)[keep],
        np.array(generators)[keep],
        merged,
        np.array([len(_WORDS.findall(texts[i])) for i in keep]),
    )


def _read(path: Path, name: str) -> list[tuple[str, int, str, str, str, str]]:
    cap, pieces = CAPS[name]
    where = "label in ('human','synthetic') and text is not null"
    if name == "detectrl_xsum_writing":  # human text that a machine rewrote or mixed is neither
        where += (
            " and not (label='human' and coalesce(attack,'') like 'paraphrase%') and split not like '%Data_Mixing%'"
        )
    rows = duckdb.execute(
        f"""select text, label, coalesce(domain,''), coalesce(generator,''), "group" from
        (select *, row_number() over (partition by label order by hash(text, {SEED})) k from '{path}' where {where})
        where k <= {cap} order by label, k"""
    ).fetchall()
    made = []
    for text, label, domain, generator, group in rows:
        domain = domain.split("/")[0] if domain.startswith(("assistant", "brown")) else domain
        for piece in _cut(text, pieces):
            made.append((piece, int(label == "synthetic"), name, f"{name}:{domain}", generator, f"{name}/{group}"))
    return made


def _gathered(path: Path) -> list[tuple[str, int, str, str, str, str]]:
    """Human prose with a date before models wrote any, by kind of text, grouped by the package it came in."""
    table = pq.read_table(path, columns=["text", "domain", "source"])
    return [
        (piece, 0, GATHERED, f"{GATHERED}:{domain}", "human", f"{GATHERED}/{source}")
        for text, domain, source in zip(*(table[name].to_pylist() for name in table.column_names), strict=True)
        for piece in _cut(text, 2)
    ]


def _cut(text: str, pieces: int) -> list[str]:
    """Cut a text at random places into at most `pieces` of 60–400 words; shorter than 60 words goes whole, under 30 not."""
    spans = [match.span() for match in _WORDS.finditer(text[:200_000])]
    if len(spans) < 30:
        return []
    made, at = [], 0
    key = text[:2_000]
    for piece in range(pieces):
        size = SHORTEST + int(_unit(f"{SEED}:size:{piece}:{key}") * (LONGEST - SHORTEST))
        slack = len(spans) - at - size
        if piece and slack < 0:
            break
        opening = _unit(f"{SEED}:open:{piece}:{key}") < 0.5
        start = at + (0 if opening or slack <= 0 else int(_unit(f"{SEED}:start:{piece}:{key}") * min(slack, 600)))
        stop = min(len(spans), start + size)
        made.append(text[spans[start][0] : spans[stop - 1][1]])
        at = stop
    return made


def _benchmark_texts(data: Path) -> list[str]:
    made: list[str] = []
    for name in ("fdg_family", "mixset"):
        made += pc.unique(
            pq.read_table(data / f"detect/benchmark/{name}.parquet", columns=["text"])["text"]
        ).to_pylist()
    return [text for text in made if text]


@kernel
def _shingles(hashes: npt.NDArray[np.uint64], m: int, out: npt.NDArray[np.uint64]) -> int:
    k = 0
    for j in range(m - 7):
        gram = np.uint64(0)
        for i in range(8):
            gram = (gram + hashes[j + i]) * np.uint64(0x100000001B3) + np.uint64(0x9E3779B97F4A7C15)
        out[k] = gram ^ (gram >> np.uint64(29))
        k += 1
    return k


def _shared(found: npt.NDArray[np.uint64], banned: npt.NDArray[np.uint64]) -> int:
    place = np.minimum(np.searchsorted(banned, found), banned.size - 1)
    return int((banned[place] == found).sum())


class _Scratch:
    codes = np.empty(PREFIX + 8, np.int32)
    starts = np.empty(PREFIX + 8, np.int32)
    stops = np.empty(PREFIX + 8, np.int32)
    hashes = np.empty(PREFIX + 8, np.uint64)
    out = np.empty(PREFIX + 8, np.uint64)


def shingles(text: str) -> npt.NDArray[np.uint64]:
    """Hash every run of eight words of the folded text; marks are left out.  # [k] uint64, sorted, unique"""
    table, s = tables(), _Scratch
    raw = np.frombuffer(text.encode("utf-8", "replace"), np.uint8)
    n = fold(raw, 0, raw.size, table.fold, table.kind, s.codes)
    m = ngram.split_tokens(s.codes, n, table.lower, table.kind, s.starts, s.stops, s.hashes)
    first = s.codes[s.starts[:m]]
    words = np.ascontiguousarray(s.hashes[:m][(table.kind[np.minimum(first, 65_535)] - 1) < 3])
    return np.unique(s.out[: _shingles(words, words.size, s.out)])


def _merge_groups(group: npt.NDArray[np.int64], shingled: list[npt.NDArray[np.uint64]]) -> npt.NDArray[np.int64]:
    """Join groups whose human texts share a sampled 8-word shingle, so that a text or its twin is on one side only.

    One shingle in 16 is looked at, so a phrase that two texts share by chance rarely joins them, and a copy always does.
    """
    sampled = [found[found % np.uint64(16) == 0] for found in shingled]
    owner = np.repeat(group, [found.size for found in sampled])
    return learn.joined_groups(group, owner, np.concatenate(sampled))


def weights(corpus: Corpus) -> Floats:
    """How much each text counts: no domain and label dominates, both labels weigh the same.

    The gathered set's many kinds count a quarter each: at full weight modern models' texts left out of training lose
    0.01 to 0.03 of AUROC, and formal prose gains nothing.
    """
    weight = cell_weights(corpus.domain, corpus.label)
    weight[corpus.dataset == GATHERED] /= 4
    human = corpus.label == 0
    weight[human] *= weight[~human].sum() / max(1e-12, weight[human].sum())
    return weight


def learn_cheap(found: Grams, corpus: Corpus, train_rows, tune_rows, label=None):  # type: ignore[no-untyped-def]
    """Fit the cheap path on a corpus, by other labels if given; return the tensors of cheap.safetensors."""
    label = corpus.label if label is None else label
    return learn.learn_cheap(found, label, weights(corpus), train_rows, tune_rows)


def usable_rows(corpus: Corpus, found: Grams) -> npt.NDArray[np.bool_]:
    """Which texts are fit to learn from or to judge: long enough prose; the detector abstains on code."""
    return (found.words >= 50) & (found.share >= ngram.MIN_WORD_SHARE) & (corpus.domain != "biscope:code")


def encoder_rows(corpus: Corpus, usable: npt.NDArray[np.bool_], sizes: dict[str, int] = SEEN) -> npt.NDArray[np.int64]:
    """Choose the rows that the encoder sees, by part of the split and weight, each by its own fixed draw."""
    rows = []
    for name, size in sizes.items():
        at = np.flatnonzero((corpus.part == name) & (corpus.n_words >= 50))
        keys = np.log(np.maximum(corpus.unit[at], 1e-12)) / weights(corpus.take(at))
        rows.append(at[np.argsort(-keys)[:size]])
    chosen = np.sort(np.concatenate(rows))
    return chosen[usable[chosen]]


# --- Attacks ---------------------------------------------------------------------------------------

_ARTICLES: Final = re.compile(r"\b(?:the|a|an) ", re.IGNORECASE)


def _typos(text: str, dice: np.random.Generator) -> str:
    letters = list(text)
    for place in dice.integers(0, len(letters) - 1, max(1, len(letters) // 40)):
        if letters[place].isalpha() and letters[place + 1].isalpha():
            letters[place], letters[place + 1] = letters[place + 1], letters[place]
    return "".join(letters)


def _cases(text: str, dice: np.random.Generator) -> str:
    flip = dice.random(len(text)) < 0.04
    return "".join(c.swapcase() if f else c for c, f in zip(text, flip, strict=True))


def _articles(text: str, dice: np.random.Generator) -> str:
    return _ARTICLES.sub(lambda found: "" if dice.random() < 0.6 else found[0], text)


def _order(text: str, dice: np.random.Generator) -> str:
    sentences = text.split(". ")
    for place in dice.integers(0, max(1, len(sentences) - 1), max(1, len(sentences) // 4)):
        sentences[place : place + 2] = sentences[place : place + 2][::-1]
    return ". ".join(sentences)


def attacked(corpus: Corpus, rows: npt.NDArray[np.int64]) -> Corpus:
    """Copies of some rows as an evader leaves them: typing errors, case, articles or the order of sentences changed."""
    drawn = rows[np.array([_unit(f"attack:{corpus.unit[i]!r}") for i in rows]) < ATTACKED]
    made = corpus.take(drawn)
    ways = (_typos, _cases, _articles, _order)
    text = [
        ways[i % len(ways)](text, np.random.default_rng(int(u * 2**53)))
        for i, (text, u) in enumerate(zip(made.text, made.unit, strict=True))
    ]
    return Corpus(text, *(getattr(made, name) for name in _COLUMNS))


def joined(first: Corpus, second: Corpus) -> Corpus:
    """Two corpora of the same groups, one after the other."""
    columns = (np.concatenate([getattr(first, name), getattr(second, name)]) for name in _COLUMNS)
    return Corpus(first.text + second.text, *columns)


# --- Unseen scores ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Lesson:
    """A corpus with all features and, behind it, attacked copies of some of its training texts."""

    corpus: Corpus
    found: Grams
    weight: npt.NDArray[np.float64]
    part: npt.NDArray[np.str_]  # train, tune or test; "" for the copies
    usable: npt.NDArray[np.bool_]  # fit to be judged; no copies
    teach: npt.NDArray[np.bool_]  # of the training part, with the copies
    rows: npt.NDArray[np.int64]  # which the encoder saw
    moments: npt.NDArray[np.float32]  # [rows, moments]


def prepare(data: Path, gathered: Path | None, cache: Path | None) -> Lesson:
    """Read the sets and measure every feature."""
    plain = load(data, gathered=gathered)
    found = grams(plain.text)
    usable = usable_rows(plain, found)
    copies = attacked(plain, np.flatnonzero((plain.part == "train") & usable))
    damaged = grams(copies.text)
    corpus, teach = joined(plain, copies), [(plain.part == "train") & usable, usable_rows(copies, damaged)]
    usable = np.concatenate([usable, np.zeros(len(copies), bool)])
    rows = encoder_rows(plain, usable)
    moments = encode([plain.text[i] for i in rows], cache and cache / "moments.npz")
    part = np.concatenate([plain.part, np.full(len(copies), "")])
    return Lesson(
        corpus, learn.joined(found, damaged), weights(corpus), part, usable, np.concatenate(teach), rows, moments
    )


def parts(lesson: Lesson, keep: npt.NDArray[np.bool_]):  # type: ignore[no-untyped-def]
    """Fit table, style network and encoder head on the rows to keep; return the tensors of both files."""
    at, label, weight = np.flatnonzero(lesson.teach & keep), lesson.corpus.label, lesson.weight
    cheap = {
        "table": learn.learn_table(lesson.found, label, weight, at),
        **learn.learn_style(lesson.found.style, label, weight, at),
        "fusion": np.array([1.0, 0.0, 0.0]),
    }
    taught = (lesson.teach & keep)[lesson.rows]
    head = learn_head(lesson.moments[taught], label[lesson.rows][taught], weight[lesson.rows][taught])
    return cheap, head


def scores(lesson: Lesson, cheap, head):  # type: ignore[no-untyped-def]
    """n-gram, style and encoder logits of every row; the encoder's are nan where it did not look.  # [n, 3]"""
    out = np.full((len(lesson.corpus), 3), np.nan)
    out[:, :2] = cheap_logits(lesson.found, served(cheap))[:, :2]
    out[lesson.rows, 2] = head_logits(lesson.moments, head["weight"], float(head["constant"][0]))
    return out


def unseen(lesson: Lesson, folds: tuple[tuple[str, ...], ...] = FOLDS) -> npt.NDArray[np.float64]:
    """Scores of every row by parts that were fitted without its fold of sets.  # [n, 3]"""
    out = np.full((len(lesson.corpus), 3), np.nan)
    for sets in folds:
        of = np.isin(lesson.corpus.dataset, sets)
        out[of] = scores(lesson, *parts(lesson, ~of))[of]
    return out


def lines(lesson: Lesson, away: Floats, home: Floats) -> tuple[Floats, dict[str, dict[str, float]]]:
    """Fusion of the cheap logits, and for both paths the line to log-odds and the operating point.

    away: unseen scores [n, 3]; home: scores of the parts that ship [n, 3].  The fusion and the operating points rest
    on unseen scores, every set of texts weighing the same; the lines to log-odds half on them and half on groups held
    out of sets that training knows, for a corpus of a user's lies between the two.
    """
    y, w, sets = lesson.corpus.label, lesson.weight, lesson.corpus.dataset
    usable, known = lesson.usable, lesson.usable & (lesson.part == "tune")
    fusion = logistic(away[usable, :2], y[usable], w[usable])
    cheap = {name: score[:, :2] @ fusion[:2] + fusion[2] for name, score in (("away", away), ("home", home))}
    odds = {}
    numbers: dict[str, dict[str, float]] = {}
    for path, names in (("cheap", ("cheap",)), ("encoder", ("cheap", "encoder"))):
        x = {
            n: np.column_stack([cheap[n], score[:, 2]])[:, : len(names)]
            for n, score in (("away", away), ("home", home))
        }
        rows = {n: np.flatnonzero(of & ~np.isnan(x[n]).any(1)) for n, of in (("away", usable), ("home", known))}
        stacked = np.concatenate([x[n][rows[n]] for n in rows])
        half = np.concatenate([w[rows[n]] / w[rows[n]].mean() / len(rows[n]) for n in rows]) * len(usable)
        line = logistic(stacked, np.concatenate([y[rows[n]] for n in rows]), half)
        numbers[f"line.{path}"] = dict(zip((*names, "constant"), map(float, line), strict=True))
        odds[path] = (rows["away"], x["away"][rows["away"]] @ line[:-1] + line[-1])
    numbers["operating_point"] = {path: operating_point(value, y[at], sets[at]) for path, (at, value) in odds.items()}
    low, high = gate_limits(cheap["away"][usable], y[usable], sets[usable], w[usable])
    return fusion, {**numbers, "gate": {"low": low, "high": high}}


def anchors(lesson: Lesson, score: npt.NDArray[np.float64], fusion: npt.NDArray[np.float64], path: Path) -> None:
    """Write the unseen scores of the texts that the encoder saw, and no text."""
    at, corpus = lesson.rows, lesson.corpus
    table = {
        "label": pa.array(np.where(corpus.label[at] == 1, "synthetic", "human"), pa.string()),
        "domain": pa.array(corpus.domain[at], pa.string()),
        "generator": pa.array(corpus.generator[at], pa.string()),
        "n_words": pa.array(lesson.found.words[at].astype(np.int32)),
        "logit_cheap": pa.array((score[at, :2] @ fusion[:2] + fusion[2]).astype(np.float32)),
        "logit_encoder": pa.array(score[at, 2].astype(np.float32)),
    }
    pq.write_table(pa.table(table), path, compression="zstd")


def background(lesson: Lesson, path: Path) -> None:
    """Write bags of human texts of many kinds, of freely licensed sets and groups held out, for whoever brings a new generator.

    An expert learnt from a user's human texts alone takes every other kind of human text for machine-written.
    """
    corpus = lesson.corpus
    free = np.isin(corpus.dataset, [*(name for name in CAPS if LICENCES[name] in FREE), GATHERED])
    at = np.flatnonzero(lesson.usable & (lesson.part == "tune") & (corpus.label == 0) & free)
    chosen = at[learn.spread(lesson.weight[at], BACKGROUND)]
    learn.write_background(learn.taken(lesson.found, chosen), corpus.domain[chosen], path)


def main() -> None:
    """Train everything and write it beside this file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--gathered", type=Path, help="dated human prose, as gather.py writes it")
    parser.add_argument("--out", type=Path, default=HERE)
    parser.add_argument("--cache", type=Path, help="folder in which the encoder's moments are kept between runs")
    args = parser.parse_args()
    if args.cache:
        args.cache.mkdir(parents=True, exist_ok=True)
    lesson = prepare(args.data, args.gathered, args.cache)
    away = unseen(lesson)
    cheap, head = parts(lesson, np.ones(len(lesson.corpus), bool))
    fusion, numbers = lines(lesson, away, scores(lesson, cheap, head))
    background(lesson, args.out / learn.BACKGROUND)
    write_model(args.out, {**cheap, "fusion": fusion}, head, numbers)
    anchors(lesson, away, fusion, args.out / "anchors.parquet")


if __name__ == "__main__":
    main()
