"""How well topics recover known domains, beside the encoder's embeddings and random projections of tf-idf.

python benchmarks/topics.py [--data ../shared/data] [--encoder 1200] [-k 0] [--write]

Human texts of many sets, a few hundred of each domain, each text once. Half of them, by hash, is the reference: topics are
fitted there and a topic's domain is its commonest there. The other half is judged: normalised mutual information of topic and
domain; purity (a text's topic is its domain's); for texts of domains with at most 1 % of all, the share of reference texts in their topic that
are of their domain (by chance: under 0.01); ten nearest reference texts voting for the domain; and for newswire of
one subject, five nearest voting for the subject, the mean over subjects. `--encoder` judges so many texts, drawn by hash, by the sentence encoder
too, and the other vectors on the same ones. `--write` pins floors of a smaller sample, which tests/test_topics.py holds.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import scipy.sparse as sp
from sklearn.metrics import normalized_mutual_info_score

from curator.stages.topic import DIM, Topic
from curator.text import token_groups, utf8_view
from curator.topics import Topics, assign, centres_of

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data"
F32 = npt.NDArray[np.float32]
I64 = npt.NDArray[np.int64]
SETS = (
    "authenticheck_essays", "biscope", "blog_18f", "blog_authorship", "detectrl_xsum_writing", "gptid_reddit",
    "imdb_reviews", "mage_adv_paraphrase", "news_2016_2017", "nltk_human", "novels_chunks", "reuters21578", "spamassassin",
)  # fmt: skip
SEEN_IN_TRAINING = "blog_18f biscope gptid_reddit mage_adv_paraphrase authenticheck_essays spamassassin nltk_human novels_chunks".split()  # noqa: SIM905
MOST, MOST_NEWSWIRE = 320, 1_500
GATE = (60, 600)  # texts of a domain and of newswire in the sample that floors are pinned on
MARGIN = 0.02
FLOORS = ROOT / "models" / "topic" / "metrics.toml"
SUBJECT_TEXTS = 9


@dataclass(frozen=True)
class Sample:
    """Texts with their domain, the subject where newswire states one alone, and a draw by hash."""

    texts: list[str]
    domain: npt.NDArray[np.str_]
    subject: npt.NDArray[np.str_]
    draw: npt.NDArray[np.uint64]

    def take(self, rows: I64) -> Sample:
        return Sample([self.texts[i] for i in rows], self.domain[rows], self.subject[rows], self.draw[rows])

    @property
    def ids(self) -> npt.NDArray[np.uint64]:
        return np.stack([self.draw, self.draw], 1)

    @property
    def reference(self) -> npt.NDArray[np.bool_]:
        return self.draw % 2 == 0


def sample(data: Path, most: int = MOST, newswire: int = MOST_NEWSWIRE) -> Sample:
    """Up to `most` human texts of every domain, the same ones each time."""
    by: defaultdict[str, dict[int, tuple[str, str]]] = defaultdict(dict)
    for name in SETS:
        table = pq.read_table(data / "detect/train" / f"{name}.parquet", columns=["text", "label", "domain", "meta"])
        for text, label, domain, meta in zip(*(column.to_pylist() for column in table.columns), strict=True):
            subjects = (json.loads(meta)["topics"] or []) if name == "reuters21578" else [""]
            if label == "human" and len(subjects) == 1:
                draw = int.from_bytes(blake2b(text.encode(), digest_size=8).digest())
                by[f"{name}: {domain}"][draw] = (text, subjects[0])
    rows = [
        (text, domain, subject, draw)
        for domain, texts in by.items()
        for draw, (text, subject) in sorted(texts.items())[: newswire if "reuters" in domain else most]
    ]
    texts, domains, subjects, draws = zip(*sorted(rows, key=lambda row: row[3]), strict=True)
    return Sample(list(texts), np.array(domains), np.array(subjects), np.array(draws, np.uint64))


# --- vectors ---------------------------------------------------------------------------------------


def by_stage(texts: list[str]) -> F32:
    column = Topic().open()(pa.record_batch({"text": pa.array(texts, pa.large_string())})).column(0)
    return column.fill_null([0.0] * DIM).flatten().to_numpy().reshape(-1, DIM)


def by_encoder(texts: list[str]) -> F32:
    from curator.stages.embed import Encoder, default_folder, folded

    encoder = Encoder(str(default_folder()), 256, early=False)
    return encoder.run(folded(pa.array(texts, pa.large_string()), 256))[0]


def by_projection(texts: list[str], dim: int = DIM) -> F32:
    """log(1 + tf) · idf of every word, projected by random signs."""
    view = utf8_view(pa.array(texts, pa.large_string()))
    hashes, counts = [], []
    for group in token_groups(view):
        hashes.append(group.hashes[: group.ends[-1]].copy())
        counts.append(np.diff(group.ends))
    words, at = np.unique(np.concatenate(hashes), return_inverse=True)
    rows = np.repeat(np.arange(len(texts)), np.concatenate(counts))
    table = sp.csr_matrix((np.ones(len(at)), (rows, at)), (len(texts), len(words)))
    table.sum_duplicates()
    idf = np.log(len(texts) / np.bincount(table.indices, minlength=len(words)))
    table.data = np.log1p(table.data) * idf[table.indices]
    found = table @ np.random.default_rng(0).choice([-1.0, 1.0], (len(words), dim))
    return (found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)).astype(np.float32)


# --- judging ---------------------------------------------------------------------------------------


def voted(vectors: F32, label: I64, reference: npt.NDArray[np.bool_], judged: npt.NDArray[np.bool_], k: int) -> I64:
    """The label that the k nearest reference texts vote for.  [judged]"""
    near = vectors[judged] @ vectors[reference].T
    best = np.argpartition(-near, k, 1)[:, :k]
    votes = np.zeros((len(best), label.max() + 1))
    np.add.at(votes, (np.arange(len(best))[:, None], label[reference][best]), np.take_along_axis(near, best, 1))
    return votes.argmax(1)


def judged(vectors: F32, chosen: Sample, k: int) -> dict[str, float]:
    reference = chosen.reference
    label = np.unique(chosen.domain, return_inverse=True)[1]
    centres = centres_of(vectors[reference], chosen.ids[reference], 0, k)
    where = assign(Topics(centres, ("",) * len(centres)), vectors)
    table = np.zeros((len(centres), label.max() + 1))
    np.add.at(table, (where[reference], label[reference]), 1)
    own, topic = label[~reference], where[~reference]
    rare = np.isin(own, np.flatnonzero(np.bincount(label) <= len(label) / 100))
    share = table / np.maximum(table.sum(1, keepdims=True), 1)
    guessed = voted(vectors, label, reference, ~reference, 10)
    figures = {
        "topics": len(centres),
        "nmi": normalized_mutual_info_score(own, topic),
        "purity": float((table.argmax(1)[topic] == own).mean()),
        "nearest: domain": float((guessed == own).mean()),
        "nearest: subject": subjects(vectors, chosen),
    }
    if rare.any():
        figures["rare: own share"] = float(share[topic[rare], own[rare]].mean())
        figures["rare: nearest"] = float((guessed == own)[rare].mean())
    return figures


def subjects(vectors: F32, chosen: Sample) -> float:
    """Mean over subjects of how many of their texts have them voted for."""
    names, at, count = np.unique(chosen.subject, return_inverse=True, return_counts=True)
    usable = (names[at] != "") & (count[at] >= SUBJECT_TEXTS)
    reference, rest = usable & chosen.reference, usable & ~chosen.reference
    guessed = voted(vectors, at.astype(np.int64), reference, rest, 5)
    return float(np.mean([(guessed[at[rest] == s] == s).mean() for s in np.unique(at[rest])]))


def compared(chosen: Sample, ways: dict[str, Callable[[list[str]], F32]], k: int) -> None:
    for name, way in ways.items():
        way(chosen.texts[:8])  # compiles, loads
        begun = time.process_time()
        vectors = way(chosen.texts)
        rate = len(chosen.texts) / (time.process_time() - begun)
        figures = judged(vectors, chosen, k)
        print(
            f"{name} | {rate:,.0f} | " + " | ".join(f"{key} {value:.3g}" for key, value in figures.items()), flush=True
        )


def gate(data: Path) -> dict[str, float]:
    """The figures that floors are pinned on."""
    chosen = sample(data, *GATE)
    return judged(by_stage(chosen.texts), chosen, 0)


def floors(figures: dict[str, float]) -> str:
    lines = [f'"{name}" = {value - MARGIN:.3f}' for name, value in figures.items() if name != "topics"]
    head = f"# Floors, written by benchmarks/topics.py --write: figures less {MARGIN}, {GATE[0]} texts a domain."
    return "\n".join([head, "[floors]", *lines, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--encoder", type=int, default=1_200, help="texts that the encoder judges too; 0: none")
    parser.add_argument("-k", type=int, default=0, help="topics; by size when 0")
    parser.add_argument("--write", action="store_true", help="pin floors in models/topic/metrics.toml and stop")
    arguments = parser.parse_args()
    if arguments.write:
        FLOORS.write_text(floors(gate(arguments.data)), encoding="utf-8")
        return
    chosen = sample(arguments.data)
    words = np.mean([len(text.split()) for text in chosen.texts])
    cheap = {"topic stage": by_stage, "tf-idf, random projection to 64": by_projection}
    print(
        f"{len(chosen.texts):,} texts of {words:.0f} words, {len(set(chosen.domain))} domains; vectors | documents per CPU-second | …"
    )
    compared(chosen, cheap, arguments.k)
    unseen = ~np.isin([name.split(":")[0] for name in chosen.domain], SEEN_IN_TRAINING)
    print(f"the {unseen.sum():,} of sets that gave no word to the vocabulary")
    compared(chosen.take(np.flatnonzero(unseen)), cheap, arguments.k)
    if arguments.encoder:
        few = chosen.take(np.arange(min(arguments.encoder, len(chosen.texts))))
        print(f"{len(few.texts):,} of all")
        compared(few, {**cheap, "encoder, 256 tokens": by_encoder}, arguments.k)


if __name__ == "__main__":
    main()
