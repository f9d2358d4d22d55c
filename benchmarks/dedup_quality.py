"""What deduplication finds and what it cannot: ground truth, planted changes, a chain. Prints Markdown.

python benchmarks/dedup_quality.py

(a) The 16,233 pairs of ../shared/data/neardup, all their texts as one corpus, beside exact Jaccard of every pair of
texts (an inverted index, no signatures): what no method of the same shingles can pass. (b) 2,000 documents of the
sample, each beside a changed copy of itself, beside the S-curve's prediction from the true similarities. (c) A chain in
which every link is a near-duplicate and the ends share nothing, beside transitive closure.
"""

from __future__ import annotations

import argparse
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from curator.bands import band_hashes
from curator.dedup import NONE, Clusters, DedupParams, find_clusters, probability
from curator.ids import doc_id, ids_array
from curator.kernels import kernel
from curator.stages.exact import ExactHash
from curator.stages.minhash import MinHash, shingle_sets
from curator.text import I64, U64, utf8_view

ROOT = Path(__file__).parent.parent
SAMPLE = ROOT / "data" / "sample" / "corpus.parquet"
NEARDUP = ROOT.parent / "shared" / "data" / "neardup" / "neardup_pairs.parquet"
F64 = npt.NDArray[np.float64]
Change = Callable[[str, np.random.Generator], str]
OURS = DedupParams()


class Corpus:
    """Texts with what the stages measure of them, and their shingle sets."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = pa.array(texts, pa.large_string())
        self.ids = ids_array([doc_id("bench", str(i)) for i in range(len(texts))])
        batch = pa.record_batch([self.texts], ["text"])
        a, b = ExactHash().open()(batch), MinHash().open()(batch)
        names = ["norm_hash", "signature", "n_shingles"]
        self.measured = pa.RecordBatch.from_arrays([a["norm_hash"], b["signature"], b["n_shingles"]], names)
        self.ends, self.sets = shingle_sets(utf8_view(self.texts), OURS.ngram)
        hashes = band_hashes(b["signature"], OURS.bands, OURS.rows)
        self.bands = np.where(b["signature"].is_valid().to_numpy(zero_copy_only=False), hashes, np.arange(len(texts)))

    def clusters(self, threshold: float = OURS.threshold) -> Clusters:
        params = DedupParams(threshold=threshold)
        return find_clusters([self.measured], self.ids, lambda rows: self.texts.take(pa.array(rows)), params)

    def jaccard(self, a: I64, b: I64) -> F64:
        sets = [set(self.sets[i:j].tolist()) for i, j in zip(self.ends[:-1], self.ends[1:], strict=True)]
        pairs = zip(a.tolist(), b.tolist(), strict=True)
        return np.array([len(sets[i] & sets[j]) / max(1, len(sets[i] | sets[j])) for i, j in pairs])

    def met(self, a: I64, b: I64) -> npt.NDArray[np.bool_]:
        """Whether the pairs share a bucket."""
        found: npt.NDArray[np.bool_] = (self.bands[:, a] == self.bands[:, b]).any(axis=0)
        return found

    def norm(self) -> npt.NDArray[np.object_]:
        return np.array(self.measured["norm_hash"].to_pylist(), object)


def table(head: Sequence[str], rows: Iterator[Sequence[Any]] | Sequence[Sequence[Any]]) -> None:
    print("| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    for row in rows:
        print("| " + " | ".join(f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in row) + " |")
    print()


# --- (a) Ground truth ----------------------------------------------------------------------------


@kernel
def _all_pairs(ends: I64, postings: I64, starts: I64, terms: I64, least: float) -> Any:
    """Every pair of texts whose Jaccard similarity is at least `least`, from an inverted index."""
    count = len(ends) - 1
    common = np.zeros(count, np.int64)
    found = [(0, 0, 0.0) for _ in range(0)]
    for text in range(count):
        for term in terms[ends[text] : ends[text + 1]]:
            for other in postings[starts[term] : starts[term + 1]]:
                if other >= text:
                    break
                common[other] += 1
        size = ends[text + 1] - ends[text]
        for other in range(text):
            if common[other]:
                union = size + ends[other + 1] - ends[other] - common[other]
                if common[other] >= least * union:
                    found.append((other, text, common[other] / union))
                common[other] = 0
    return found


def all_pairs(corpus: Corpus, least: float) -> tuple[I64, I64, F64]:
    _, terms = np.unique(corpus.sets, return_inverse=True)
    owner = np.repeat(np.arange(len(corpus.texts)), np.diff(corpus.ends))
    by_term = np.argsort(terms, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(terms))])
    found = _all_pairs(corpus.ends, owner[by_term], starts, terms, least)
    a, b, jaccard = (np.array(part) for part in zip(*found, strict=True))
    return a.astype(np.int64), b.astype(np.int64), jaccard


def families(count: int, a: I64, b: I64) -> I64:
    """Transitive closure, as union-find makes it: what any number of pairs ties together, under its lowest row."""
    family = np.arange(count)
    while True:
        least = np.minimum(family[a], family[b])
        before = family.copy()
        np.minimum.at(family, a, least)
        np.minimum.at(family, b, least)
        if (family == before).all():
            return family


class Pairs(NamedTuple):
    """The distinct pairs of the ground truth over one corpus of distinct texts."""

    corpus: Corpus
    a: I64
    b: I64
    kind: npt.NDArray[np.object_]
    derived: npt.NDArray[np.bool_]
    labelled: list[bool | None]


def ground_truth() -> Pairs:
    rows = pq.read_table(NEARDUP).to_pylist()
    rows = [row for row in rows if row["text_a"] != row["text_b"]]
    texts = sorted({text for row in rows for text in (row["text_a"], row["text_b"])})
    number = {text: i for i, text in enumerate(texts)}
    a, b = (np.array([number[row[side]] for row in rows]) for side in ("text_a", "text_b"))
    kind = np.array([f"{row['source'].split()[0]} {_grouped(row['relation'])}" for row in rows], object)
    derived = np.array([bool(row["is_derived"]) for row in rows])
    return Pairs(Corpus(texts), a, b, kind, derived, [row["is_near_dup"] for row in rows])


def _grouped(relation: str) -> str:
    relation = re.sub(r"_(human|llm)$", "", relation)
    return re.sub(r"mixset_(2llama|gpt4|MGT)_", "", relation)


def by_kind(truth: Pairs, jaccard: F64) -> None:
    found = truth.corpus.clusters()
    met, together = truth.corpus.met(truth.a, truth.b), found.cluster[truth.a] == found.cluster[truth.b]
    chance = np.array([probability(j, OURS.bands, OURS.rows) for j in jaccard])

    def row(name: str, some: npt.NDArray[np.bool_]) -> Sequence[Any]:
        j, near = jaccard[some], jaccard[some] >= OURS.threshold
        seen = met[some] & near
        return (
            name, int(some.sum()), float(np.median(j)), int(near.sum()), float((chance[some] * near).sum()),
            int(seen.sum()), int(together[some].sum()), float(together[some].mean()),
        )  # fmt: skip

    print(f"### Ground truth by kind of pair, threshold {OURS.threshold}, {OURS.bands} bands of {OURS.rows}\n")
    head = (
        "kind of pair", "pairs", "median Jaccard", "at or above the threshold (no method of these shingles finds more)",
        "of these compared, by the S-curve", "compared", "in one cluster", "recall of all such pairs",
    )  # fmt: skip
    kinds = sorted(set(truth.kind.tolist()))
    table(head, [row(k, truth.kind == k) for k in kinds] + [row("all that are derived", truth.derived)])


def by_threshold(truth: Pairs, jaccard: F64) -> None:
    """Precision over every pair of texts in the corpus that is found, recall over the listed derived pairs."""
    corpus = truth.corpus
    family = families(len(corpus.texts), truth.a[truth.derived], truth.b[truth.derived])
    a, b, every = all_pairs(corpus, 0.2)
    met = corpus.met(a, b)
    related, listed = family[a] == family[b], truth.derived

    def scores(found: npt.NDArray[np.bool_], right: npt.NDArray[np.bool_], recall: float) -> list[Any]:
        precision = float(right[found].mean()) if found.any() else float("nan")
        return [precision, recall, 2 * precision * recall / (precision + recall)]

    rows = []
    for threshold in (0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.9):
        near = jaccard[listed] >= threshold
        exact = scores(every >= threshold, related, float(near.mean()))
        pairs = scores(
            met & (every >= threshold), related, float((near & corpus.met(truth.a[listed], truth.b[listed])).mean())
        )
        found = corpus.clusters(threshold)
        u, v = same_cluster(found.cluster)
        together = found.cluster[truth.a[listed]] == found.cluster[truth.b[listed]]
        clusters = scores(np.ones(len(u), np.bool_), family[u] == family[v], float(together.mean()))
        among = float((met & (every >= threshold)).sum() / max(1, (every >= threshold).sum()))
        rows.append([threshold, *exact, *pairs, among, *clusters, len(u)])
    print(f"### Ground truth by threshold: {int(listed.sum()):,} derived pairs among {len(corpus.texts):,} texts\n")
    head = ["threshold"] + [f"{who}: {what}" for who in ("exact Jaccard", "18×7 and verified") for what in "PRF"]
    head += ["share of exact Jaccard's pairs"] + [f"clusters: {what}" for what in "PRF"] + ["pairs in one cluster"]
    table(head, rows)
    print(
        "A pair is right where the data set ties both texts to one original; refusals in the same words are not tied.\n"
    )
    labels = [i for i, label in enumerate(truth.labelled) if label is not None]
    label = np.array([truth.labelled[i] for i in labels], np.bool_)
    print(f"### The {len(labels)} hand-labelled pairs (near copy and light revision against heavy revision and none)\n")
    rows = []
    for threshold in (0.05, 0.1, 0.2, 0.3, 0.5, 0.75):
        near, seen = jaccard[labels] >= threshold, corpus.met(truth.a[labels], truth.b[labels])
        found = (near, near & seen)
        rows.append([threshold, *(score for some in found for score in scores(some, label, float(some[label].mean())))])
    table(["threshold"] + [f"{who}: {what}" for who in ("exact Jaccard", "18×7 and verified") for what in "PRF"], rows)


def same_cluster(cluster: I64) -> tuple[I64, I64]:
    """Every pair of rows with one cluster."""
    members = defaultdict(list)
    for row, centre in enumerate(cluster.tolist()):
        members[centre].append(row)
    pairs = [(u, v) for rows in members.values() for i, u in enumerate(rows) for v in rows[i + 1 :]]
    u, v = np.array(pairs or [(0, 0)][:0], np.int64).reshape(-1, 2).T
    return u, v


# --- (b) Planted changes -------------------------------------------------------------------------


def in_front(text: str, rng: np.random.Generator) -> str:
    return f"w{rng.integers(10**9)} {text}"


def replaced(share: float) -> Change:
    def change(text: str, rng: np.random.Generator) -> str:
        words = re.split(r"(\s+)", text)
        places = np.arange(0, len(words), 2)
        for place in rng.choice(places, max(1, round(share * len(places))), replace=False):
            words[place] = f"w{rng.integers(10**9)}"
        return "".join(words)

    return change


def cut(text: str, rng: np.random.Generator) -> str:
    return text[: round(len(text) * 0.95)]


def paragraphs_swapped(text: str, rng: np.random.Generator) -> str:
    """Two paragraphs change places; a text without paragraphs is taken sentence by sentence."""
    parts = re.split(r"(\n+)", text) if text.count("\n") >= 2 else re.split(r"((?<=[.!?])\s+)", text)
    places = [i for i in range(0, len(parts), 2) if parts[i].strip()]
    if len(places) > 1:
        i, j = rng.choice(places, 2, replace=False)
        parts[i], parts[j] = parts[j], parts[i]
    return "".join(parts)


BEFORE = (
    "Home News Sport Business Opinion Culture Travel Search our site Sign in Subscribe now for full access Share this"
)
AFTER = (
    "Read more Related articles Most popular this week Contact us About us Terms and conditions Privacy policy Cookie "
    "settings All rights reserved No part of this page may be copied without permission Follow us on social media"
)


def boilerplate(text: str, rng: np.random.Generator) -> str:
    return f"{BEFORE}\n{text}\n{AFTER}"


def restyled(text: str, rng: np.random.Generator) -> str:
    """Upper case, and other punctuation wherever there was white space."""
    return re.sub(r"\s+", lambda found: [" - ", ",  ", "\n\n"][rng.integers(3)], text.upper())


CHANGES: dict[str, Change] = {
    "one word inserted in front": in_front,
    "1 % of the words replaced": replaced(0.01),
    "last 5 % cut": cut,
    "two paragraphs swapped": paragraphs_swapped,
    f"boilerplate around it ({len(BEFORE.split())} words before, {len(AFTER.split())} after)": boilerplate,
    "case and punctuation changed": restyled,
    "2 % of the words replaced": replaced(0.02),
    "5 % of the words replaced": replaced(0.05),
}


def documents(count: int) -> list[str]:
    """Of the sample: 100 words or more and no duplicate at half the threshold, or two originals would mix their copies."""
    texts = pq.read_table(SAMPLE, columns=["text"])["text"].to_pylist()
    texts = sorted({text for text in texts if len(text.split()) >= 100 and len(text) < 100_000})
    alone = np.flatnonzero(Corpus(texts).clusters(OURS.threshold / 2).kind == NONE)
    return [texts[i] for i in np.random.default_rng(1).permutation(alone)[:count]]


def planted(count: int) -> None:
    originals = documents(count)
    rows = []
    for name, change in CHANGES.items():
        rng = np.random.default_rng(7)
        corpus = Corpus(originals + [change(text, rng) for text in originals])
        a, b = np.arange(len(originals)), np.arange(len(originals)) + len(originals)
        jaccard = corpus.jaccard(a, b)
        chance = np.array([probability(j, OURS.bands, OURS.rows) for j in jaccard])
        near = jaccard >= OURS.threshold
        same = corpus.norm()[a] == corpus.norm()[b]
        found = corpus.clusters()
        together = found.cluster[a] == found.cluster[b]
        error = float((chance * (1 - chance)).sum() ** 0.5 / len(a))
        rows.append(
            [
                name, float(np.median(jaccard)), float(chance.mean()), error, float(corpus.met(a, b).mean()),
                float((near | same).mean()), float((chance * near).mean()), float(together.mean()),
            ]
        )  # fmt: skip
    print(f"### Recall by kind of change, {len(originals):,} documents of the sample\n")
    head = (
        "change", "median Jaccard", "share a bucket: S-curve", "± standard error", "share a bucket: measured",
        "at or above the threshold", "found: S-curve", "found: in one cluster",
    )  # fmt: skip
    table(head, rows)
    print(
        "One boilerplate is around all documents: its hashes are drawn once, so the S-curve's error is larger there.\n"
    )


# --- (c) A chain ---------------------------------------------------------------------------------


def lowest(corpus: Corpus, representative: I64) -> float:
    rows = np.flatnonzero(representative != np.arange(len(representative)))
    return float(corpus.jaccard(rows, representative[rows]).min()) if len(rows) else 1.0


def chain(links: int) -> None:
    """Windows of 200 words, each 12 words further: neighbours share 0.89 of their shingles, the third is below 0.75."""
    rng = np.random.default_rng(3)
    stream = [f"w{w}" for w in rng.integers(0, 10**6, 12 * links + 200)]
    corpus = Corpus([" ".join(stream[12 * i : 12 * i + 200]) for i in range(links)])
    a, b = all_pairs_of_buckets(corpus.bands)
    near = corpus.jaccard(a, b) >= OURS.threshold
    found = corpus.clusters()
    ways = {
        "union-find over shared buckets, unverified": families(links, a, b),
        "union-find over verified pairs": families(links, a[near], b[near]),
        "stars around centres (ours)": found.cluster,
    }
    rows = []
    for name, representative in ways.items():
        sizes = np.bincount(representative)
        rows.append([name, int((sizes > 0).sum()), int(sizes.max()), lowest(corpus, representative)])
    link = float(corpus.jaccard(np.arange(links - 1), np.arange(1, links)).min())
    print(f"### A chain of {links:,} documents, every link at {link:.2f} or more, its ends at 0\n")
    table(("way", "documents that stay", "largest cluster", "lowest similarity to what stands for it"), rows)
    print({k: found.report[k] for k in ("candidates", "failed", "components", "chains", "splits", "largest")}, "\n")


def all_pairs_of_buckets(bands: U64) -> tuple[I64, I64]:
    pairs = set()
    for band in bands:
        buckets = defaultdict(list)
        for row, value in enumerate(band.tolist()):
            buckets[value].append(row)
        for rows in buckets.values():
            pairs.update((u, v) for i, u in enumerate(rows) for v in rows[i + 1 :])
    a, b = np.array(sorted(pairs), np.int64).reshape(-1, 2).T
    return a, b


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=2000, help="with planted changes")
    parser.add_argument("--links", type=int, default=2000, help="of the chain")
    given = parser.parse_args()
    if NEARDUP.exists():
        truth = ground_truth()
        jaccard = truth.corpus.jaccard(truth.a, truth.b)
        by_kind(truth, jaccard)
        by_threshold(truth, jaccard)
    else:
        print("the ground truth of ../shared/data/neardup is not here\n")
    planted(given.documents)
    chain(given.links)


if __name__ == "__main__":
    main()
