"""Does curation prevent collapse? Models trained generation after generation on a crawl that holds their own text.

python benchmarks/collapse.py -o FOLDER [--data ../shared/data] [--seeds 3] [--generations 5] [--workers 2] [--quick]

The world is human text of 56 domains (`collapse_world.py`). Generation 0 is a model of human text. Every later generation
is a new crawl, the same 4,000 fresh human documents for all arms and, at contamination c, text that the arm's own last
model wrote; each arm trains its next model on as many tokens, half of the crawl's human ones:

  oracle      the human documents alone
  replace     the last model's text alone
  uncurated   the crawl as it is
  hard cut    what a detector does not flag at its own operating point (1 % of the human text it was tuned on)
  curator     what `curator filter` draws with the same detector, a calibration file and a snapshot as the reference

Models are interpolated Kneser-Ney 4-grams (`curator.proxy`). The detector is what `curator train ai-text --scratch` makes of
the snapshot (4,000 documents) and text of a model fitted on it: *frozen*, or *refreshed*, made anew for every crawl
with text of the arm's last, public model added. *Biased* detectors were made, and calibrated, without the 16 smallest
domains. Detectors are of the cheap path alone (no encoder). Training, calibration, shares and mixture are the
product's own code, called as its commands call it.

Perplexity is of held-out human text, every domain counting alike; rare-word perplexity is that of words which stand in 1
to 30 of 20,000 documents. Gap closed: (uncurated - arm) / (uncurated - oracle).
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from collapse_report import write_report
from collapse_world import World, world

from curator import proxy, retrain, run
from curator.audit import open_audit, rows_of
from curator.calibrate import calibrate
from curator.progress import Silent
from curator.proxy import END, NgramModel, Tokens
from curator.recipe import Recipe, from_dict
from curator.score import Line, Scorer

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Row = dict[str, Any]

VOCABULARY: Final = 4_096
LEAST: Final = 100  # tokens of a machine's document: shorter ones are no page, and nothing judges their origin
RARE: Final = 30  # a word of at most so many documents is rare
RECALLED: Final = 500_000  # tokens of a model in which rare words are looked for
TAIL: Final = 16  # smallest domains, of which a biased detector knows nothing
CONTAMINATIONS: Final = (0.0, 0.1, 0.3, 0.5, 0.8)
ARMS: Final = (
    "oracle", "replace", "uncurated", "hard cut, frozen", "hard cut, refreshed", "curator, frozen", "curator, refreshed",
)  # fmt: skip
BIASED: Final = ("hard cut, biased", "hard cut at 1/2, biased", "curator, biased")
SPARE: Final = 1.06  # words asked of a mixture for every word that is trained on
FIRST: Final = 2  # generations in which biased detectors are watched


@dataclass(frozen=True)
class Sizes:
    """How much of everything: documents."""

    snapshot: int = 4_000
    calibration: int = 4_000
    crawl: int = 4_000
    held: int = 40  # of a domain
    known: int = 20_000  # in which words are counted
    largest: int = 14_000  # of a domain


QUICK: Final = Sizes(2_400, 600, 600, 6, 4_000, 1_500)


# --- What all arms share ---------------------------------------------------------------------------


@dataclass
class Place:
    """One seed's world: which documents are whose (rows of the world), and their tokens."""

    world: World
    tokenizer: Any
    sizes: Sizes
    seed: int
    folder: Path
    held: I64 = field(init=False)
    snapshot: I64 = field(init=False)
    calibration: I64 = field(init=False)
    crawls: list[I64] = field(init=False)  # the first is generation 0's

    def deal(self, generations: int) -> Place:
        """Give every document one part to play."""
        dice = np.random.default_rng([self.seed, 0])
        order = dice.permutation(len(self.world))
        domain = self.world.domain[order]
        rank = np.empty(len(order), np.int64)
        for d in range(len(self.world.names)):
            rank[domain == d] = np.arange((domain == d).sum())
        most = np.minimum(self.sizes.held, np.bincount(domain) // 5)
        self.held, rest = order[rank < most[domain]], dice.permutation(order[rank >= most[domain]])
        sizes = [self.sizes.snapshot, self.sizes.calibration, *[self.sizes.crawl] * (generations + 1)]
        if sum(sizes) > len(rest):
            raise SystemExit(f"the world holds {len(rest):,} documents, {sum(sizes):,} are needed")
        self.snapshot, self.calibration, *self.crawls = np.split(rest[: sum(sizes)], np.cumsum(sizes)[:-1])
        return self

    def texts(self, rows: I64) -> list[str]:
        """The texts of documents."""
        return [self.world.text[i] for i in rows]

    def tokens(self, rows: I64) -> Tokens:
        """Their tokens."""
        return proxy.encode(self.tokenizer, self.texts(rows))


class Examiner:
    """Measures models on the held-out text of one place."""

    def __init__(self, place: Place) -> None:
        """Find the rare words and where they stand in the held-out text."""
        parts = [place.snapshot, place.calibration, *place.crawls]
        known = place.tokens(np.concatenate(parts)[: place.sizes.known])
        names, counts = proxy.documents_with(proxy.words(place.tokenizer, known).names, known.ends)
        self.tokenizer, self.rare = place.tokenizer, names[counts <= RARE]
        self.tokens = place.tokens(place.held)
        self.domain = np.repeat(place.world.domain[place.held], self.tokens.sizes)
        self.is_rare = np.isin(proxy.words(place.tokenizer, self.tokens).names, self.rare)

    def judge(self, model: NgramModel, wrote: Tokens | None) -> Row:
        """Perplexities, and the part of the rare words that the model still writes."""
        surprise = -model.log_prob(self.tokens)
        found: Row = {"perplexity": float(np.exp(self._mean(surprise, np.ones(len(surprise), bool))))}
        found["rare"] = float(np.exp(self._mean(surprise, self.is_rare)))
        if wrote is not None:
            some = wrote.take(np.arange(int(np.searchsorted(wrote.ends, RECALLED, side="right"))))
            said = np.unique(proxy.words(self.tokenizer, some).names)
            found["recall"] = float(np.isin(self.rare, said).mean())
        return found

    def _mean(self, surprise: F64, of: Bools) -> float:
        """Mean of the domains' means."""
        n = np.bincount(self.domain, of)
        total = np.bincount(self.domain, surprise * of)
        return float((total[n > 0] / n[n > 0]).mean())


def fitted(tokens: Tokens) -> NgramModel:
    """The model of a training set."""
    return proxy.fit(tokens, VOCABULARY, 4)


def written(model: NgramModel, documents: int, like: I64, seed: Sequence[int]) -> Tokens:
    """So many documents of a model, cut at random as the human ones are.  like: sizes of these."""
    dice = np.random.default_rng(seed)
    parts: list[Tokens] = []
    while sum(len(part) for part in parts) < documents:
        n = int(1.7 * documents) + 50
        drawn = model.sample(n, int(dice.integers(1 << 31)), int(np.quantile(like, 0.99)))
        cut = _cut(drawn, dice.choice(like, n))
        parts.append(cut.take(np.flatnonzero(cut.sizes >= LEAST)))
    return proxy.joined(parts).take(np.arange(documents))


def _cut(tokens: Tokens, most: I64) -> Tokens:
    """Documents of at most so many tokens each, each with its end."""
    sizes = np.minimum(tokens.sizes, most)
    ends = np.cumsum(sizes)
    at = np.repeat(tokens.ends - tokens.sizes - (ends - sizes), sizes) + np.arange(ends[-1])
    ids = tokens.ids[at]
    ids[ends - 1] = END
    return Tokens(ids, ends)


def within(tokens: Tokens, budget: int, dice: np.random.Generator, rows: I64 | None = None) -> I64:
    """Rows in a random order, as many as the budget of tokens allows."""
    order = dice.permutation(np.arange(len(tokens)) if rows is None else rows)
    return order[np.cumsum(tokens.sizes[order]) <= budget]


# --- Detectors: what `curator train`, `curator calibrate` and `curator filter` do ------------------


@dataclass(frozen=True)
class Detector:
    """A detector's folder, and the calibration file made with it."""

    folder: Path
    calibration: Path


def learnt(place: Place, name: str, machine: Sequence[tuple[str, list[str]]], known: Bools) -> Detector:
    """Train a detector on the snapshot and on machine text of named models, then calibrate it.

    known: [domains] whose text the detector and its calibration may know.
    """
    folder = place.folder / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    human, made = folder / "human.parquet", folder / "machine.parquet"
    rows = place.snapshot[known[place.world.domain[place.snapshot]]]
    domains = [place.world.names[d] for d in place.world.domain[rows]]
    pq.write_table(pa.table({"text": place.texts(rows), "domain": domains}), human)
    texts = [text for _, own in machine for text in own]
    generators = [generator for generator, own in machine for _ in own]
    pq.write_table(pa.table({"text": texts, "domain": ["crawl"] * len(texts), "generator": generators}), made)
    retrain.train(retrain.Request((human,), (made,), folder / "detector", None, encoded=0))
    trusted, scores = folder / "trusted.parquet", folder / "calibration.parquet"
    rows = place.calibration[known[place.world.domain[place.calibration]]]
    pq.write_table(pa.table({"id": [f"t{i}" for i in rows], "text": place.texts(rows), "source": ["snapshot"] * len(rows)}), trusted)  # fmt: skip
    found = Detector(folder / "detector", scores)
    calibrate([str(trusted)], recipe(found, calibrated=False), scores)
    return found


def recipe(detector: Detector, budget: int = 0, calibrated: bool = True, mixture: bool = False) -> Recipe:
    """The stages that judge origin by this detector; with `mixture` what a mixture needs too.  budget: words."""
    own = {"detector": str(detector.folder)}
    judges = {"text_stats": {}, "language": {}, "ngram": own, "ai_text": {**own, "encoder": False}}
    return from_dict(
        {
            "name": "collapse",
            "seed": 1,
            "stages": {**({"topic": {}} if mixture else {}), **judges},
            "origin": {"calibration": str(detector.calibration)} if calibrated else {},
            "mixture": {"budget_words": budget, "draws": 0} if mixture else {"max_synthetic": 1.0},
        }
    )


def flagged(detector: Detector, texts: list[str], half: bool = False) -> Bools:
    """What the detector calls synthetic at its own operating point, or by P(synthetic) over one half; what it does not judge is not."""
    scorer, found = Scorer(recipe(detector, calibrated=False)), []
    for at in range(0, len(texts), 1_000):
        batch = scorer.measure([Line(at + i, text) for i, text in enumerate(texts[at : at + 1_000])])
        over = pc.greater(batch["prob_synthetic"], 0.5) if half else batch["synthetic"]
        found.append(over.fill_null(False).to_numpy(zero_copy_only=False))
    return np.concatenate(found)


@dataclass(frozen=True)
class Crawl:
    """One generation's crawl of one arm."""

    human: I64  # rows of the world
    human_tokens: Tokens
    synthetic: Tokens
    budget: int  # tokens


@dataclass(frozen=True)
class Taken:
    """What an arm trains on: how often each document of the crawl, and of the snapshot."""

    human: I64
    synthetic: I64
    snapshot: I64 | None = None
    said: Row = field(default_factory=dict)


def cut(place: Place, crawl: Crawl, detector: Detector, dice: np.random.Generator, half: bool) -> Taken:
    """The hard cut: what is not flagged, and of that as much as the budget allows."""
    texts = place.texts(crawl.human) + proxy.decode(place.tokenizer, crawl.synthetic)
    left = np.flatnonzero(~flagged(detector, texts, half))
    rows = within(proxy.joined([crawl.human_tokens, crawl.synthetic]), crawl.budget, dice, left)
    counts = np.bincount(rows, minlength=len(texts))
    return Taken(counts[: len(crawl.human)], counts[len(crawl.human) :])


def curated(place: Place, crawl: Crawl, detector: Detector, name: str) -> Taken:
    """What `curator filter crawl.parquet --reference snapshot.parquet --calibration FILE` draws."""
    folder = place.folder / name
    shutil.rmtree(folder, ignore_errors=True)
    inputs, snapshot = _corpus(place, crawl, folder)
    # a little more than half of the words: documents are then left out until every arm has as many tokens, whatever their words weigh
    words = int(SPARE * sum(len(text.split()) for text in place.texts(crawl.human)) / 2)
    asked = run.Request((str(inputs),), folder / "run", recipe(detector, words, mixture=True), workers=0, reference=(str(snapshot),))  # fmt: skip
    run.filter_corpus(asked, Silent())
    copies = {"h": np.zeros(len(crawl.human), np.int64), "s": np.zeros(len(crawl.synthetic), np.int64), "r": np.zeros(len(place.snapshot), np.int64)}  # fmt: skip
    for path in sorted((folder / "run/mixture").glob("*.parquet")):
        table = pq.read_table(path, columns=["record_id", "weight"])
        for record, weight in zip(table["record_id"].to_pylist(), table["weight"].to_pylist(), strict=True):
            copies[record[0]][int(record[1:])] += round(weight)
    said = _published(folder / "run", place, crawl, copies)
    shutil.rmtree(folder)
    return Taken(copies["h"], copies["s"], copies["r"], said)


def _corpus(place: Place, crawl: Crawl, folder: Path) -> tuple[Path, Path]:
    folder.mkdir(parents=True)
    paths = folder / "crawl.parquet", folder / "snapshot.parquet"
    texts = place.texts(crawl.human) + proxy.decode(place.tokenizer, crawl.synthetic)
    ids = [f"h{i}" for i in range(len(crawl.human))] + [f"s{i}" for i in range(len(crawl.synthetic))]
    pq.write_table(pa.table({"id": ids, "text": texts, "source": ["crawl"] * len(ids)}), paths[0])
    ids, texts = [f"r{i}" for i in range(len(place.snapshot))], place.texts(place.snapshot)
    pq.write_table(pa.table({"id": ids, "text": texts, "source": ["snapshot"] * len(ids)}), paths[1])
    return paths


def _published(root: Path, place: Place, crawl: Crawl, copies: dict[str, I64]) -> Row:
    """What the run says of the crawl's and of the mixture's synthetic share, and the truth."""
    con = open_audit(root)
    of = "select share, low, high, second, warning, reason from shares where scope = ? and dimension = ? and stratum = ? and unit = ?"
    (crawled,) = rows_of(con, of, ["input", "source", "crawl", "docs"])
    (mixed,) = rows_of(con, of, ["mixture", "all", "all", "words"])
    caps = rows_of(con, "select * from constraints where name in ('max_synthetic', 'budget_words', 'snapshot')")
    con.close()
    words = {
        "h": [len(text.split()) for text in place.texts(crawl.human)],
        "s": [len(text.split()) for text in proxy.decode(place.tokenizer, crawl.synthetic)],
        "r": [len(text.split()) for text in place.texts(place.snapshot)],
    }
    mass = {kind: float((np.array(words[kind]) * copies[kind]).sum()) for kind in words}
    documents = len(crawl.synthetic) / max(len(crawl.synthetic) + len(crawl.human), 1)
    return {
        "input": {**crawled, "truth": documents},
        "mixture": {**mixed, "truth": mass["s"] / max(sum(mass.values()), 1.0)},
        "snapshot": mass["r"] / max(sum(mass.values()), 1.0),
        "constraints": {str(row["name"]): {k: row[k] for k in ("target", "expected", "realised", "met", "upper_share")} for row in caps},
    }  # fmt: skip


# --- The loop --------------------------------------------------------------------------------------


@dataclass
class Loop:
    """All generations of all arms in one place."""

    place: Place
    contamination: float
    generations: int
    arms: tuple[str, ...]
    out: Path

    def __post_init__(self) -> None:
        """Fit what stands at the beginning: generation 0, the snapshot's model and the detectors made with it."""
        place = self.place
        self.examiner = Examiner(place)
        self.last: dict[str, str] = {}  # of each arm, the folder of its last detector
        snapshot = place.tokens(place.snapshot)
        self.like = snapshot.sizes
        first = place.tokens(place.crawls[0])
        begun = first.take(within(first, len(first.ids) // 2, np.random.default_rng([place.seed, 2])))
        self.models = dict.fromkeys((*self.arms, *BIASED), fitted(begun))
        self.every = np.ones(len(place.world.names), bool)
        self.head = np.arange(len(place.world.names)) < len(place.world.names) - TAIL
        model = fitted(snapshot)
        self.base = ("snapshot", proxy.decode(place.tokenizer, written(model, place.sizes.snapshot, self.like, [place.seed, 3])))  # fmt: skip
        self.detectors = {"frozen": learnt(place, "frozen", [self.base], self.every)}
        if self.generations >= FIRST:
            self.detectors["biased"] = learnt(place, "biased", [self.base], self.head)

    def rows(self) -> Iterator[Row]:
        """One row for each generation and arm, then the shares at every contamination."""
        yield self._row(0, "all", self.models["oracle"], None, {})
        yield from self._shares()
        for generation in range(1, self.generations + 1):
            human = self.place.tokens(self.place.crawls[generation])
            for arm in (*self.arms, *(BIASED if generation <= FIRST and "biased" in self.detectors else ())):
                yield self._step(generation, arm, human)

    def _step(self, generation: int, arm: str, human: Tokens) -> Row:
        began = time.process_time()
        share = 1.0 if arm == "replace" else 0.0 if arm == "oracle" else self.contamination
        rows = self.place.crawls[generation]
        documents = len(rows) if share == 1.0 else round(len(rows) * share / (1 - share))
        seed = [self.place.seed, generation, 4]  # one for all arms
        wrote = written(self.models[arm], max(documents, 1), self.like, seed)
        crawl = Crawl(rows, human, wrote.take(np.arange(documents)), len(human.ids) // 2)
        taken = self._taken(generation, arm, crawl)
        parts = [human.take(_repeated(taken.human)), crawl.synthetic.take(_repeated(taken.synthetic))]
        if taken.snapshot is not None:
            parts.append(self.place.tokens(self.place.snapshot).take(_repeated(taken.snapshot)))
        training = proxy.joined(parts)
        dice = np.random.default_rng([self.place.seed, generation, 5])
        training = training.take(within(training, crawl.budget, dice))  # no arm has more tokens than another
        self.models[arm] = fitted(training)
        sizes = [len(part.ids) for part in parts]
        domain = self.place.world.domain[rows]
        kept = [np.bincount(domain, weight, len(self.place.world.names)).tolist() for weight in
                (human.sizes, human.sizes * np.minimum(taken.human, 1))]  # fmt: skip
        said = {
            **taken.said, "tokens": len(training.ids), "budget": crawl.budget, "synthetic": sizes[1] / max(sum(sizes), 1),
            "crawl_tokens": kept[0], "kept_tokens": kept[1], "seconds": time.process_time() - began,
        }  # fmt: skip
        return self._row(generation, arm, self.models[arm], wrote if documents else None, said)

    def _row(self, generation: int, arm: str, model: NgramModel, wrote: Tokens | None, said: Row) -> Row:
        """wrote: by the arm's model of one generation before, whose recall it tells."""
        return {
            "kind": "arm", "seed": self.place.seed, "contamination": self.contamination, "generation": generation, "arm": arm,
            **self.examiner.judge(model, wrote), **said,
        }  # fmt: skip

    def _taken(self, generation: int, arm: str, crawl: Crawl) -> Taken:
        dice = np.random.default_rng([self.place.seed, generation, 6])
        human, machine = len(crawl.human), len(crawl.synthetic)
        kind, _, how = arm.partition(", ")
        if how:
            detector = self._detector(generation, arm) if how == "refreshed" else self.detectors[how]
            if kind.startswith("hard cut"):
                return cut(self.place, crawl, detector, dice, half=kind.endswith("1/2"))
            return curated(self.place, crawl, detector, "filter")
        whole = proxy.joined([crawl.human_tokens, crawl.synthetic])
        rows = {"oracle": np.arange(human), "replace": human + np.arange(machine)}.get(kind)
        counts = np.bincount(within(whole, crawl.budget, dice, rows), minlength=human + machine)
        return Taken(counts[:human], counts[human:])

    def _detector(self, generation: int, arm: str) -> Detector:
        """One made anew, with text of the arm's last model, which is public, beside that of the snapshot's."""
        wrote = written(self.models[arm], self.place.sizes.snapshot, self.like, [self.place.seed, generation, 7])
        public = (f"generation {generation - 1}", proxy.decode(self.place.tokenizer, wrote))
        name = f"{arm.replace(', ', '-').replace(' ', '-')}-{generation}"  # a folder of its own: a detector is read once a process
        shutil.rmtree(self.place.folder / self.last.pop(arm, "none"), ignore_errors=True)
        self.last[arm] = name
        return learnt(self.place, name, [self.base, public], self.every)

    def _shares(self) -> Iterator[Row]:
        """What a run says of crawls of generation 1 at every contamination, with the frozen detector."""
        rows = self.place.crawls[1]
        for share in CONTAMINATIONS:
            human = rows[: min(len(rows), round(2 * len(rows) * (1 - share)))]
            documents = round(len(human) * share / (1 - share))
            wrote = written(self.models["uncurated"], max(documents, 1), self.like, [self.place.seed, 8])
            crawl = Crawl(human, self.place.tokens(human), wrote.take(np.arange(documents)), 0)
            said = asked_share(self.place, crawl, self.detectors["frozen"])
            yield {"kind": "share", "seed": self.place.seed, "contamination": share, **said}


def asked_share(place: Place, crawl: Crawl, detector: Detector) -> Row:
    """What `curator filter` without a mixture says of a crawl's synthetic share."""
    folder = place.folder / "share"
    shutil.rmtree(folder, ignore_errors=True)
    inputs, _ = _corpus(place, crawl, folder)
    run.filter_corpus(run.Request((str(inputs),), folder / "run", recipe(detector), workers=0), Silent())
    none = {kind: np.zeros(n, np.int64) for kind, n in (("h", len(crawl.human)), ("s", len(crawl.synthetic)), ("r", len(place.snapshot)))}  # fmt: skip
    found: Row = _published(folder / "run", place, crawl, none)["input"]
    shutil.rmtree(folder)
    return found


def _repeated(copies: I64) -> I64:
    return np.repeat(np.arange(len(copies)), copies)


def play(seed: int, args: argparse.Namespace) -> None:
    """One seed, from the first model to the last row, in this process."""
    out = Path(args.output)
    sizes = QUICK if args.quick else Sizes()
    found = world(Path(args.data), Path(args.cache or out), sizes.largest)
    tokenizer = proxy.learn_tokenizer(found.text[:: max(1, len(found) // 8_000)], VOCABULARY)
    place = Place(found, tokenizer, sizes, seed, out / f"seed-{seed}").deal(args.generations)
    loop = Loop(place, args.contamination, args.generations, ARMS, out)
    with open(out / f"seed-{seed}.jsonl", "w", encoding="utf-8") as file:
        for row in loop.rows():
            file.write(json.dumps(row) + "\n")
            file.flush()
            if args.verbose:
                print({k: row[k] for k in ("kind", "seed", "generation", "arm", "perplexity", "rare", "synthetic", "share", "contamination", "seconds") if k in row}, file=sys.stderr, flush=True)  # fmt: skip
    shutil.rmtree(place.folder, ignore_errors=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", required=True, help="folder for result.json, collapse.md and collapse.png")
    parser.add_argument("--data", default="../shared/data")
    parser.add_argument("--cache", help="folder that keeps the world between runs; the output folder by default")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--generations", type=int, default=5)
    parser.add_argument("--contamination", type=float, default=0.5)
    parser.add_argument("--workers", type=int, default=3, help="seeds at once; three keep two cores busy to the end")
    parser.add_argument("--quick", action="store_true", help="one seed, two generations, small crawls: a test")
    parser.add_argument("--verbose", action="store_true")
    args = parser.parse_args()
    if args.quick:
        args.seeds, args.generations, args.workers = 1, min(args.generations, 2), 1
    out, began = Path(args.output), time.time()
    out.mkdir(parents=True, exist_ok=True)
    sizes = QUICK if args.quick else Sizes()
    world(Path(args.data), Path(args.cache or out), sizes.largest)  # once, before the seeds ask for it
    seeds = range(1, args.seeds + 1)
    if args.workers == 1:
        for seed in seeds:
            play(seed, args)
    else:
        os.environ |= dict.fromkeys(
            ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"
        )  # a thread a process
        with multiprocessing.get_context("spawn").Pool(args.workers, maxtasksperchild=1) as pool:
            pool.starmap(play, [(seed, args) for seed in seeds], chunksize=1)
    rows = [json.loads(line) for seed in seeds for line in (out / f"seed-{seed}.jsonl").read_text("utf-8").splitlines()]
    settings = {**{k: v for k, v in vars(args).items() if k in ("seeds", "generations", "contamination", "quick")},
                **asdict(sizes), "minutes": round((time.time() - began) / 60, 1)}  # fmt: skip
    print(write_report(rows, settings, out))


if __name__ == "__main__":
    main()
