"""Which measures of representativeness notice machine text and lost domains, and whether human text passes them.

python benchmarks/representative.py [--data ../shared/data] [--repetitions 20] [--only human]

Human text of all domains of ../shared/data/detect/train, at most 1,000 documents of each, exact copies left out. Every
repetition draws a reference of 3,000 and sets of 1,500 from what is left: human ones; sets in which 5, 10 and 30 % are a
machine's text of the same domain ("twins") or of domains that the reference has none of ("others": answers of
assistants, debates, essays); sets without the smallest domains; a human set with copies and shared documents, as a
mixture has. Prints the mean z-score of each and its spread between repetitions, and for human sets how often |z| > 3.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curator.representative import METRICS, SIZE, Sample, representativeness
from curator.stages.topic import Topic

I64 = npt.NDArray[np.int64]

PER_DOMAIN = 1_000
MIN_WORDS = 50
HUMAN = ("human 1", "human 2")


@dataclass(frozen=True)
class Texts:
    """All documents, and where each kind of them stands."""

    sample: Sample
    domain: npt.NDArray[np.str_]
    human: I64
    twins: dict[str, I64]  # machine text by domain, of domains with human text
    others: I64

    def smallest(self, share: float) -> list[str]:
        """The smallest domains that together hold at most this share of the human text; the 16 smallest for 0."""
        names, counts = np.unique(self.domain[self.human], return_counts=True)
        order = np.lexsort((names, counts))
        few = 16 if share == 0 else int((np.cumsum(counts[order]) <= share * counts.sum()).sum())
        return [str(name) for name in names[order][:few]]


def read(data: Path) -> Texts:
    """The training sets, English documents of at least 50 words."""
    tables = []
    for path in sorted((data / "detect/train").glob("*.parquet")):
        table = pq.read_table(path, columns=["text", "label", "domain", "lang", "n_words"])
        table = table.filter(pc.and_(pc.equal(table["lang"], "en"), pc.greater_equal(table["n_words"], MIN_WORDS)))
        tables.append(table.append_column("set", pa.array([path.stem] * len(table))))
    table = pa.concat_tables(tables, promote_options="permissive")
    texts = table["text"].cast(pa.large_string()).combine_chunks()
    first = np.unique(pc.dictionary_encode(texts).indices.to_numpy(), return_index=True)[1]
    table = table.take(np.sort(first))
    domain = np.char.add(np.char.add(table["set"].to_numpy().astype(str), "/"), table["domain"].to_numpy().astype(str))
    label = table["label"].to_numpy().astype(str)
    kind = np.select([label == "human", label == "synthetic"], [1, 2], 0)
    dice = np.random.default_rng(0)
    rows = []
    for name, of in sorted(set(zip(domain[kind > 0].tolist(), kind[kind > 0].tolist(), strict=True))):
        rows.append(dice.permutation(np.flatnonzero((domain == name) & (kind == of)))[:PER_DOMAIN])
    taken = np.concatenate(rows)
    return _placed(table["text"].cast(pa.large_string()).take(taken).combine_chunks(), domain[taken], kind[taken], dice)


def _placed(texts: pa.Array, domain: npt.NDArray[np.str_], kind: I64, dice: np.random.Generator) -> Texts:
    vectors = Topic().open()(pa.RecordBatch.from_pydict({"text": texts}))["topic_vector"]
    flat = np.asarray(vectors.fill_null([0.0] * 64).flatten(), np.float32).reshape(-1, 64)
    ids = dice.integers(0, 2**63, (len(texts), 2)).astype(np.uint64)
    human = np.flatnonzero(kind == 1)
    known = np.isin(domain, domain[human])
    twins = {
        str(name): np.flatnonzero((kind == 2) & (domain == name)) for name in np.unique(domain[known & (kind == 2)])
    }
    return Texts(Sample(ids, flat, texts), domain, human, twins, np.flatnonzero((kind == 2) & ~known))


def sets(texts: Texts, reference: I64, left: I64, dice: np.random.Generator) -> Iterator[tuple[str, I64]]:
    """Sets of documents to compare with the reference, by name."""
    for name in HUMAN:
        yield name, dice.permutation(left)[:SIZE]
    fresh, known = dice.permutation(left)[:300], dice.permutation(reference)[:600]
    copied = np.repeat(fresh, dice.integers(1, 5, 300))
    yield "copies and shared", np.concatenate([copied, known])[:SIZE]
    for share in (0.05, 0.1, 0.3):
        yield f"twins {share:.0%}", with_twins(texts, dice.permutation(left)[:SIZE], share, dice)
        human, count = dice.permutation(left)[:SIZE], round(share * SIZE)
        yield f"others {share:.0%}", np.concatenate([human[count:], dice.permutation(texts.others)[:count]])
    for name, share in (("without 16 domains", 0.0), ("without smallest 12 %", 0.12)):
        yield name, dice.permutation(left[~np.isin(texts.domain[left], texts.smallest(share))])[:SIZE]


def with_twins(texts: Texts, rows: I64, share: float, dice: np.random.Generator) -> I64:
    """Replace so many documents by machine text of the same domain."""
    made = rows.copy()
    places = np.flatnonzero(np.isin(texts.domain[rows], list(texts.twins)))
    for place in dice.permutation(places)[: round(share * SIZE)]:
        made[place] = dice.choice(texts.twins[str(texts.domain[rows[place]])])
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--repetitions", type=int, default=20)
    parser.add_argument("--draws", type=int, default=50)
    parser.add_argument("--only", default="", help="the sets whose names begin so")
    args = parser.parse_args()
    texts = read(args.data)
    gone = np.isin(texts.domain[texts.human], texts.smallest(0)).mean()
    print(f"{len(texts.human):,} human documents; the 16 smallest domains hold {gone:.1%}", flush=True)
    found: dict[str, list[list[float]]] = {}
    took = 0.0
    for repetition in range(args.repetitions):
        dice = np.random.default_rng(1 + repetition)
        mixed = dice.permutation(texts.human)
        all_sets = sets(texts, mixed[: 2 * SIZE], mixed[2 * SIZE :], dice)
        candidates = {name: of for name, of in all_sets if name.startswith(args.only)}
        began = time.process_time()
        rows = representativeness(
            texts.sample.take(mixed[: 2 * SIZE]),
            {name: texts.sample.take(of) for name, of in candidates.items()},
            repetition,
            args.draws,
        )
        took += (time.process_time() - began) / len(candidates)
        for name in candidates:
            found.setdefault(name, []).append([float(str(row["z"])) for row in rows if row["scope"] == name])
        print(f"repetition {repetition + 1}: {took / (repetition + 1):.1f} CPU-seconds a set", flush=True)
        if (repetition + 1) % 5 == 0 or repetition + 1 == args.repetitions:
            show({name: np.array(z) for name, z in found.items()})


def show(found: dict[str, npt.NDArray[np.float64]]) -> None:
    """Mean z (spread) of each metric and set."""
    human = np.concatenate([z for name, z in found.items() if name in HUMAN] or [np.full((1, len(METRICS)), np.nan)])
    print("\n| metric | worse |", " | ".join(found), "| human: mean, sd, share beyond 3 |")
    print("|---" * (len(found) + 3) + "|")
    for at, metric in enumerate(METRICS):
        cells = [f"{z[:, at].mean():+.1f} ({z[:, at].std(ddof=1):.1f})" for z in found.values()]
        z = human[:, at]
        print(f"| {metric.name} | {metric.worse} |", " | ".join(cells), end=" ")
        print(f"| {z.mean():+.2f}, {z.std(ddof=1):.2f}, {np.mean(np.abs(z) > 3):.1%} |")
    print(
        f"\nhuman sets, all metrics: sd {human.std(ddof=1):.2f}, |z| > 3 in {np.mean(np.abs(human) > 3):.1%}\n",
        flush=True,
    )


if __name__ == "__main__":
    main()
