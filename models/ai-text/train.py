"""Train the origin detector: `python models/ai-text/train.py --data ../shared/data`.

Features come from the very stages that serve (`curator.stages.ngram`, `curator.stages.embed`), so
training and serving cannot drift.  Writes cheap.safetensors, encoder.safetensors, fusion.safetensors and
config.toml beside this file; `evaluate.py` then measures and writes metrics.toml and anchors.parquet.
"""

from __future__ import annotations

import argparse
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc
import pyarrow.parquet as pq
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from curator import learn
from curator.kernels import kernel
from curator.learn import (
    SEED,
    Grams,
    calibration_line,
    cell_weights,
    cheap_logits,
    encode,
    gate_limits,
    grams,
    learn_head,
    logistic,
    operating_point,
    served,
    spread,
    write_model,
)
from curator.stages import ngram
from curator.stages.embed import head_logits
from curator.style import PREFIX, fold, tables

HERE: Final = Path(__file__).parent
SHORTEST, LONGEST = 60, 400  # words of a training text, cut at random
SEEN: Final = {"train": 7_000, "tune": 2_200, "test": 4_000}  # texts that the encoder sees, by part of the split

# Rows taken from each set at most, by label; long documents of a few sets give several pieces.
CAPS: Final = {
    "biscope": (16_000, 1), "detectrl_xsum_writing": (20_000, 1), "mage_adv_paraphrase": (10_000, 1),
    "gptid_reddit": (5_000, 1), "authenticheck_essays": (4_000, 1), "ndhal_gpt_essays": (3_000, 1),
    "argugpt_machine": (2_000, 1), "arena_hard_answers": (8_600, 1), "alpaca_eval_outputs": (9_000, 1),
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

    @property
    def part(self) -> npt.NDArray[np.str_]:
        """Which side of the split each row's group is on: 70 % train, 12 % tune, 18 % test."""
        u = np.array([_unit(f"part:{g}") for g in range(self.group.max() + 1)])[self.group]
        return np.where(u < 0.70, "train", np.where(u < 0.82, "tune", "test"))


_COLUMNS: Final = ("label", "dataset", "domain", "generator", "group", "n_words")


def _unit(key: str) -> float:
    digest = hashlib.blake2b(f"{SEED}:{key}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") / 2.0**64


def load(data: Path, sets: tuple[str, ...] = tuple(CAPS)) -> Corpus:
    """Read, clean, cut and group the training sets; nothing that overlaps the benchmark stays."""
    rows: list[tuple[str, int, str, str, str, str]] = []
    for name in sets:
        rows += _read(data / "detect/train" / f"{name}.parquet", name)
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


def _cut(text: str, pieces: int) -> list[str]:
    """Cut a text at random places into at most `pieces` of 60–400 words; shorter than 60 words goes whole, under 30 not."""
    spans = [match.span() for match in _WORDS.finditer(text[:200_000])]
    if len(spans) < 30:
        return []
    made, at = [], 0
    key = text[:2_000]
    for piece in range(pieces):
        size = SHORTEST + int(_unit(f"size:{piece}:{key}") * (LONGEST - SHORTEST))
        slack = len(spans) - at - size
        if piece and slack < 0:
            break
        opening = _unit(f"open:{piece}:{key}") < 0.5
        start = at + (0 if opening or slack <= 0 else int(_unit(f"start:{piece}:{key}") * min(slack, 600)))
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
    values = np.concatenate(sampled)
    owner = np.repeat(group, [found.size for found in sampled])
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    usable = (count[place] > 1) & (count[place] <= 8)  # what more texts share is boilerplate
    columns = place[usable] + group.max() + 1
    size = int(max(columns.max(initial=0), group.max())) + 1
    graph = coo_matrix((np.ones(usable.sum(), np.int8), (owner[usable], columns)), shape=(size, size))
    _, component = connected_components(graph, directed=False)
    _, merged = np.unique(component[group], return_inverse=True)
    return merged.astype(np.int64)


def weights(corpus: Corpus) -> npt.NDArray[np.float64]:
    """How much each text counts: no domain and label dominates, both labels weigh the same."""
    return cell_weights(corpus.domain, corpus.label)


def learn_cheap(found: Grams, corpus: Corpus, train_rows, tune_rows, label=None):  # type: ignore[no-untyped-def]
    """Fit the cheap path on a corpus, by other labels if given; return the tensors of cheap.safetensors."""
    label = corpus.label if label is None else label
    return learn.learn_cheap(found, label, weights(corpus), train_rows, tune_rows)


def usable_rows(corpus: Corpus, found: Grams) -> npt.NDArray[np.bool_]:
    """Which texts are fit to learn from or to judge: long enough prose; the detector abstains on code."""
    return (found.words >= 50) & (found.share >= ngram.MIN_WORD_SHARE) & (corpus.domain != "biscope:code")


def encoder_rows(corpus: Corpus, usable: npt.NDArray[np.bool_], sizes: dict[str, int] = SEEN) -> npt.NDArray[np.int64]:
    """Choose the rows that the encoder sees, by part of the split and weight."""
    part, rows = corpus.part, []
    for name, size in sizes.items():
        at = np.flatnonzero((part == name) & (corpus.n_words >= 50))
        rows.append(at[spread(weights(corpus.take(at)), size)])
    chosen = np.concatenate(rows)
    return chosen[usable[chosen]]


def main() -> None:
    """Train everything and write it beside this file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=HERE)
    parser.add_argument("--cache", type=Path, help="folder in which the encoder's moments are kept between runs")
    args = parser.parse_args()
    corpus = load(args.data)
    if args.cache:
        args.cache.mkdir(parents=True, exist_ok=True)
    found = grams(corpus.text)
    usable = usable_rows(corpus, found)
    part, weight = corpus.part, weights(corpus)
    first_half = corpus.group % 2 == 0
    tune = (part == "tune") & usable
    cheap = learn_cheap(found, corpus, np.flatnonzero((part == "train") & usable), np.flatnonzero(tune & first_half))
    logit = cheap_logits(found, served(cheap))[:, 2]
    rows = encoder_rows(corpus, usable)
    moments = encode([corpus.text[i] for i in rows], args.cache and args.cache / "moments.npz")
    fit, check = part[rows] == "train", part[rows] == "tune"
    head = learn_head(moments[fit], corpus.label[rows][fit], weight[rows][fit])
    encoder = head_logits(moments, head["weight"], float(head["constant"][0]))
    both, y, w = np.column_stack([logit[rows], encoder]), corpus.label[rows], weight[rows]
    line = logistic(both[check], y[check], w[check])  # three numbers from 2,200 texts: no second half is needed
    fused = both @ line[:2] + line[2]
    held = tune & ~first_half
    numbers = {
        "fusion": dict(zip(("cheap", "encoder", "constant"), map(float, line), strict=True)),
        "calibration.cheap": calibration_line(logit[held], corpus.label[held], weight[held]),
        "calibration.encoder": calibration_line(fused[check], y[check], w[check]),
        "operating_point": {
            "cheap": operating_point(logit[tune], corpus.label[tune], corpus.domain[tune]),
            "encoder": operating_point(fused[check], y[check], corpus.domain[rows][check]),
        },
        "gate": dict(
            zip(
                ("low", "high"),
                gate_limits(logit[tune], corpus.label[tune], corpus.domain[tune], weight[tune]),
                strict=True,
            )
        ),
    }
    write_model(args.out, cheap, head, numbers)


if __name__ == "__main__":
    main()
