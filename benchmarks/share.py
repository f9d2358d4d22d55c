"""How far off the synthetic share is, and how often its interval holds, on text that the detector never saw.

python benchmarks/share.py --cache FOLDER [--data ../shared/data] [--draws 200] [--peers 24]

The detector is learnt anew without each group of data sets and without each family of generators, by what
`benchmarks/origin.py` shares with it; the scores, the cheap path's, are kept in the folder. Each draw is a corpus of
5,000 texts: human texts of one left-out domain and machine texts of that domain by a random mixture of its generators,
at a known share. Its basis is other data sets, each scored by a detector that never saw it, and, where said, up to 300
other human texts of the same domain. Two domains of one data set never meet. A share of none is tried on human-only
domains too. Texts are drawn with replacement where a domain has fewer than needed; domains are few, so that coverage is
coarser than the number of draws says.

`--peers` also runs QuaPy's ACC, PACC, EMQ and KDEy (pip install QuaPy==0.2.3) on so many draws of each cell.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from sklearn.base import BaseEstimator

from curator import mixture, prevalence
from curator.anchors import BINS, LOWEST, Anchors, binned
from curator.cells import Facts
from curator.prevalence import Documents, Share, basis_of, estimates, posterior, prior_fitted
from curator.shares import anchors_of
from curator.stages.ai_text import probability

sys.path.insert(0, str(Path(__file__).parents[1] / "models/ai-text"))

F64 = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

SHARES = (0.0, 0.01, 0.1, 0.3, 0.5, 0.9)
SIZE = 5_000  # documents of a corpus
TRUSTED = 300
PER_CELL = 300  # anchors of one domain and generator
NOTHING = "nothing"
AT_ONCE = 50  # corpora judged together, one source each
FEWEST = 100  # texts that a domain or family must have of a label


# --- scores ----------------------------------------------------------------------------------------


def scores(data: Path, cache: Path, gathered: Path | None) -> pa.Table:
    """Scores of every fold as `benchmarks/origin.py` keeps them, learnt by it now where they are not there."""
    from curator.learn import SEED

    folder = cache / f"share-{SEED}"
    if not (folder / "done").is_file():
        from origin import Bench

        cache.mkdir(parents=True, exist_ok=True)
        _ = Bench(data, cache, 0, gathered, False).folds
    return pa.concat_tables(map(pq.read_table, sorted(folder.glob("*.parquet"))))


@dataclass(frozen=True)
class Texts:
    """Scores of some texts.  Arrays are [texts]."""

    table: pa.Table

    def where(self, rows: Bools) -> Texts:
        return Texts(self.table.filter(pa.array(rows)))

    def names(self, column: str) -> npt.NDArray[np.str_]:
        return self.table[column].to_numpy().astype(str)

    @cached_property
    def logit(self) -> F64:
        return np.asarray(self.table["logit"].to_numpy(), float)

    @cached_property
    def machine(self) -> Bools:
        return np.asarray(self.names("label") == "synthetic")

    @cached_property
    def held(self) -> Bools:
        return np.asarray(self.table["held"].to_numpy(zero_copy_only=False), bool)

    @cached_property
    def cell(self) -> npt.NDArray[np.str_]:
        return np.char.add(np.char.add(self.names("domain"), "/"), self.names("generator"))

    @cached_property
    def first_half(self) -> Bools:
        return np.asarray(self.table["group"].to_numpy() % 2 == 0)

    def thinned(self, per_cell: int) -> Texts:
        """At most so many texts of a domain and generator, always the same."""
        order = np.random.default_rng(0).permutation(len(self.logit))
        cell = self.cell[order]
        _, codes = np.unique(cell, return_inverse=True)
        by_cell = np.argsort(codes, kind="stable")
        rank = np.empty(len(order), int)
        rank[by_cell] = np.arange(len(order)) - np.searchsorted(codes[by_cell], codes[by_cell])
        chosen = np.zeros(len(order), bool)
        chosen[order[rank < per_cell]] = True
        return self.where(chosen)

    def anchors(self) -> Anchors:
        return anchors_of(self.table, self.logit)


# --- corpora ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Place:
    """Where corpora are drawn from: human texts by cell, machine texts by cell, trusted human texts, and the basis."""

    human: list[F64]
    machine: list[F64]
    trusted: list[F64]  # by cell, as `human`
    basis: Texts

    @cached_property
    def anchors(self) -> Anchors:
        return self.basis.anchors()


@dataclass(frozen=True)
class Corpus:
    """One draw."""

    share: float
    logit: F64
    trusted: F64
    twins: F64
    place: Place


def drawn(place: Place, share: float, dice: np.random.Generator) -> Corpus:
    """Draw a corpus: cells weigh at random, human and machine ones each for themselves."""
    n = round(share * SIZE)
    of_human = dice.dirichlet(np.ones(len(place.human)))
    of_machine = dice.dirichlet(np.ones(len(place.machine))) if n else np.zeros(0)
    made = [*_texts(place.human, of_human, SIZE - n, dice), *(_texts(place.machine, of_machine, n, dice) if n else [])]
    known = min(TRUSTED, sum(map(len, place.trusted)))
    trusted = np.concatenate(_texts(place.trusted, of_human, known, dice))
    twins = np.concatenate(_texts(place.machine, of_machine, TRUSTED, dice)) if n else np.zeros(0)
    return Corpus(n / SIZE, np.concatenate(made), trusted, twins, place)


def _texts(cells: Sequence[F64], weight: F64, n: int, dice: np.random.Generator) -> list[F64]:
    counts = dice.multinomial(n, weight)
    return [dice.choice(x, k, replace=k > len(x)) for x, k in zip(cells, counts, strict=True) if k]


def halves(logit: F64, dice: np.random.Generator) -> tuple[F64, F64]:
    """Trusted texts, TRUSTED or half of them, and the others."""
    mixed = dice.permutation(logit)
    at = min(TRUSTED, len(mixed) // 2)
    return mixed[:at], mixed[at:]


def new_domains(texts: Texts, dice: np.random.Generator) -> list[Place]:
    """Each domain of a data set left out; the basis is all other data sets left out."""
    held = texts.where(texts.held & (texts.names("kind") == "set"))
    domain, dataset, made_by = held.names("domain"), held.names("dataset"), held.names("generator")
    thin = held.thinned(PER_CELL)
    of_set, places = thin.names("dataset"), []
    for name in np.unique(domain[~held.machine]):
        here = domain == name
        if (here & ~held.machine).sum() < FEWEST:
            continue
        trusted, human = halves(held.logit[here & ~held.machine], dice)
        machine = [held.logit[here & held.machine & (made_by == g)] for g in np.unique(made_by[here & held.machine])]
        others = thin.where(of_set != dataset[here][0])
        places.append(Place([human], [m for m in machine if len(m) >= 5], [trusted], others))
    return places


def new_families(texts: Texts, dice: np.random.Generator) -> list[Place]:
    """Each family of generators left out, among held-out groups of known domains; its texts are in no basis."""
    unseen = texts.where(texts.held & (texts.names("kind") == "set")).thinned(PER_CELL)
    places = []
    for name in np.unique(texts.names("left_out")[texts.held & (texts.names("kind") == "family")]):
        fold = texts.where(texts.names("left_out") == name)
        if fold.held.sum() < FEWEST:
            continue
        generators = np.unique(fold.names("generator")[fold.held])
        others = unseen.where(~(np.isin(unseen.names("generator"), generators) & unseen.machine))
        places.append(_known(fold, fold.held, others))
    return places


def known_domains(texts: Texts, dice: np.random.Generator) -> list[Place]:
    """Held-out groups of known domains and generators."""
    fold = texts.where(texts.names("left_out") == NOTHING)
    unseen = texts.where(texts.held & (texts.names("kind") == "set"))
    return [_known(fold, fold.machine, unseen.thinned(PER_CELL))]


def _known(fold: Texts, machine: Bools, basis: Texts) -> Place:
    domain, cell = fold.names("domain"), fold.cell
    people = ~fold.machine
    names = [
        n
        for n in np.unique(domain[people])
        if min((people & (domain == n) & of).sum() for of in (fold.first_half, ~fold.first_half)) >= FEWEST // 2
    ]  # a domain of one package is one group, all of it in one half
    human = [fold.logit[people & (domain == n) & fold.first_half] for n in names]
    trusted = [fold.logit[people & (domain == n) & ~fold.first_half] for n in names]
    made = [fold.logit[machine & (cell == n)] for n in np.unique(cell[machine])]
    return Place(human, [m for m in made if len(m) >= 5], trusted, basis)


# --- estimators ------------------------------------------------------------------------------------


def ours(corpora: Sequence[Corpus], known: str, mixed: bool = False) -> list[tuple[Share, float]]:
    """Shares of corpora with one basis, one source each, and the true ones.  known: "", "trusted" or "trusted and twins".

    mixed: of the mixture that `curator filter` draws from each corpus, were it the only source.
    """
    found: list[tuple[Share, float]] = []
    at_once = 1 if known == "trusted and twins" else AT_ONCE  # twins are of one corpus
    for first in range(0, len(corpora), at_once):
        part = corpora[first : first + at_once]
        parts = [np.concatenate([c.logit, c.trusted]) for c in part]
        if known == "trusted and twins":
            parts = [np.concatenate([p, c.twins]) for p, c in zip(parts, part, strict=True)]
        source = np.repeat(np.arange(len(part)), [len(p) for p in parts])
        inside = np.concatenate([np.arange(len(p)) < SIZE for p in parts])
        trusted = np.concatenate([(np.arange(len(p)) >= SIZE) & (np.arange(len(p)) < SIZE + len(c.trusted)) for p, c in zip(parts, part, strict=True)])  # fmt: skip
        documents = Documents.of(np.ones(len(source), bool), probability(np.concatenate(parts)))
        basis = basis_of(
            trusted & (known != ""), documents, source, [f"corpus {i}" for i in range(len(part))],
            part[0].place.anchors, ~inside & ~trusted if known == "trusted and twins" else None,
        )  # fmt: skip
        own, once = np.where(inside, source, -1), np.ones(len(source))
        told = estimates(documents, own, len(part), once, basis)
        if not mixed:
            found += zip(told, [c.share for c in part], strict=True)
            continue
        prob = probability(np.concatenate(parts))
        copies = np.zeros(len(source), np.int64)
        for i, share in enumerate(told):
            rows = np.flatnonzero(own == i)
            copies[rows] = mixture_of(prob[rows], share.high)
        machine = np.concatenate([_machine(c, len(p)) for c, p in zip(part, parts, strict=True)])
        truth = [float(np.average(machine[own == i], weights=copies[own == i])) if copies[own == i].any() else np.nan for i in range(len(part))]  # fmt: skip
        told = estimates(documents, np.where(copies > 0, own, -1), len(part), once, basis, own)
        found += [(share, t) for share, t in zip(told, truth, strict=True) if share.share is not None]
    return found


def mixture_of(prob: F64, upper: float | None) -> npt.NDArray[np.int64]:
    """Copies of each document in the default recipe's mixture, which counts it at the upper end of its source's share."""
    n = len(prob)
    q = posterior(prob, min(0.95 if upper is None else upper, 0.95))
    ids = np.stack([np.arange(n), np.arange(n)], axis=1).astype(np.uint64)
    none, one = np.zeros(n, bool), np.ones(n, np.int64)
    return mixture.sample(
        mixture.MixtureParams(), Facts(ids, 200 * one, q, np.full(n, np.nan), one, none, none, ())
    ).copies


def _machine(corpus: Corpus, size: int) -> Bools:
    """Which of a corpus's texts a model wrote, and of what is known of it."""
    place = np.arange(size)
    return (place >= round((1 - corpus.share) * SIZE)) & (place < SIZE)


def simple(corpus: Corpus, anchored: bool) -> dict[str, float]:
    """What others would say of a corpus, from the same basis: human texts weigh by domain, machine texts by cell."""
    anchors, x = corpus.place.anchors, corpus.logit
    human = np.bincount(binned(probability(corpus.trusted)), minlength=BINS) if anchored else anchors.human.density()
    human, machine = human / human.sum(), anchors.machine.density()
    seen = np.bincount(binned(probability(x)), minlength=BINS) / len(x)
    above = [np.cumsum(p[::-1])[::-1] for p in (seen, human, machine)]
    at = min(int(np.argmax(above[1] <= 0.01)), BINS - 1)  # the operating point of 1 % on this human text
    half = int(np.argmin(np.abs(above[1] - 0.5)))
    return {
        "counting flags": above[0][at],
        "mean probability": float(probability(x).mean()),
        "EM on probabilities": float(prior_fitted(seen[None])[0]),
        "Storey": 1 - (1 - above[0][half]) / (1 - above[1][half]),
        "adjusted count": (above[0][at] - above[1][at]) / max(above[2][at] - above[1][at], 0.05),
    }


def quapy(corpus: Corpus, anchored: bool) -> dict[str, float]:
    """QuaPy's quantifiers with the same calibrated probabilities, fitted on the same basis."""
    from quapy.method.aggregative import ACC, EMQ, PACC, KDEyML

    of = {"ACC": ACC, "PACC": PACC, "EMQ": EMQ, "KDEy": KDEyML}
    dice = np.random.default_rng(0)
    texts = corpus.place.basis
    pools = [[texts.logit[rows] for rows in _cells(texts, label)] for label in (False, True)]
    drawn_ = [np.concatenate([dice.choice(x, 1 + 600 // len(pool)) for x in pool]) for pool in pools]
    human = corpus.trusted if anchored else drawn_[0]
    x, y = np.concatenate([human, drawn_[1]]), np.repeat([0, 1], [len(human), len(drawn_[1])])
    methods = {name: kind(_Scores(), fit_classifier=False) for name, kind in of.items()}
    cut = float(np.quantile(human, 0.99)) if anchored else float(np.quantile(drawn_[0], 0.99))
    made = {}
    for name, method in methods.items():
        fitted, asked = ((v > cut).astype(int) if name == "ACC" else _posteriors(v) for v in (x, corpus.logit))
        if name == "EMQ":
            method.train_prevalence = np.array([0.5, 0.5])  # the probabilities' own prior
        else:
            method.aggregation_fit(fitted, y)
        made[f"QuaPy {name}"] = float(method.aggregate(asked)[1])
    return made


class _Scores(BaseEstimator):  # type: ignore[misc]
    """Stands for the detector, whose scores are at hand."""

    classes_ = np.array([0, 1])

    def fit(self, *_: object) -> _Scores:
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def predict_proba(self, logit: F64) -> F64:
        return _posteriors(logit)


def _cells(texts: Texts, machine: bool) -> Iterator[Bools]:
    names = texts.cell if machine else texts.names("domain")
    for name in np.unique(names[texts.machine == machine]):
        yield (names == name) & (texts.machine == machine)


def _posteriors(logit: F64) -> F64:
    prob = probability(logit)
    return np.column_stack([1 - prob, prob])


# --- tables ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Said:
    """What one estimator said of one corpus."""

    off: float
    covered: bool | None = None
    width: float | None = None
    under: bool | None = None  # the lower bound is no higher than the truth
    over: bool | None = None  # the interval's upper end is no lower than the truth
    alarm: bool | None = None


def said(share: Share, truth: float) -> Said:
    if share.share is None or share.low is None or share.high is None or share.lower is None:
        raise ValueError(share.reason)
    near = 1e-9
    return Said(
        share.share - truth,
        share.low <= truth + near and truth - near <= share.high,
        share.high - share.low,
        share.lower <= truth + near,
        truth - near <= share.high,
        "disagree" in (share.warning or ""),
    )


def setting(places: list[Place], draws: int, known: str, peers: int, mixed: bool) -> dict[str, dict[float, list[Said]]]:
    """Every estimator on every share: `draws` corpora each, spread over the places.  mixed: of their mixtures, ours alone."""
    found: dict[str, dict[float, list[Said]]] = {}
    for share in SHARES:
        usable = [p for p in places if p.machine or not share]
        corpora = [drawn(usable[i % len(usable)], share, np.random.default_rng([i, round(share * 100)])) for i in range(draws)]  # fmt: skip
        for place in usable:
            own = [c for c in corpora if c.place is place]
            for made, truth in ours(own, known, mixed):
                found.setdefault("**this estimator**", {}).setdefault(share, []).append(said(made, truth))
                if made.second is not None:
                    found.setdefault("its second", {}).setdefault(share, []).append(Said(made.second - truth))
        if mixed:
            continue
        for corpus in corpora:
            _add(found, simple(corpus, known != ""), corpus)
        for corpus in corpora[:peers]:
            _add(found, quapy(corpus, known != ""), corpus)
            # beside them on the same draws: fewer draws are of fewer mixtures
            ((made, _),) = ours([corpus], known)
            _add(found, {"this estimator, QuaPy's draws": made.share or 0.0}, corpus)
    return found


def _add(found: dict[str, dict[float, list[Said]]], made: dict[str, float], corpus: Corpus) -> None:
    for name, value in made.items():
        off = float(np.clip(value, 0, 1)) - corpus.share
        found.setdefault(name, {}).setdefault(corpus.share, []).append(Said(off))


def show(title: str, found: dict[str, dict[float, list[Said]]]) -> None:
    """Mean absolute error (bias) by share; coverage, width, lower bound and alarms where there are any."""
    print(f"\n### {title}\n")
    mine = found["**this estimator**"]
    known = [s for s in SHARES if s in mine]
    print("| estimator |", " | ".join(f"{s:g}" for s in known), "| mean |")
    print("|---" * (len(known) + 2) + "|")
    for name, by_share in found.items():
        off = {s: np.array([v.off for v in by_share[s]]) for s in known}
        cells = [f"{np.abs(v).mean():.3f} ({v.mean():+.3f})" for v in off.values()]
        print(f"| {name} |", " | ".join(cells), f"| {np.mean([np.abs(v).mean() for v in off.values()]):.3f} |")
    rows: dict[str, Callable[[Said], Any]] = {
        "coverage of 95 %": lambda v: v.covered, "mean width": lambda v: v.width,
        "lower bound holds": lambda v: v.under, "upper end holds": lambda v: v.over, "alarms": lambda v: v.alarm,
    }  # fmt: skip
    for name, of in rows.items():
        values = [float(np.mean([of(v) for v in mine[s]])) for s in known]
        print(f"| {name} |", " | ".join(f"{v:.3f}" for v in values), f"| {np.mean(values):.3f} |")
    sys.stdout.flush()


def slopes(places: list[Place]) -> F64:
    """How steeply the log-odds of a machine author rise with the score, for each generator of each domain.  # [pairs], 1 where calibrated"""
    from sklearn.linear_model import LogisticRegression

    found = []
    for place in places:
        human = np.concatenate([*place.human, *place.trusted])
        for machine in (m for m in place.machine if len(m) >= FEWEST):
            x = np.clip(np.concatenate([human, machine]), LOWEST, -LOWEST)[:, None]
            y = np.repeat([0, 1], [len(human), len(machine)])
            weight = np.where(y, 1 / len(machine), 1 / len(human)) * len(y) / 2
            found.append(float(LogisticRegression(C=1e4).fit(x, y, sample_weight=weight).coef_[0, 0]))
    return np.array(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--gathered", type=Path, help="dated human prose, as models/ai-text/gather.py writes it")
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--peers", type=int, default=0, help="draws of each cell on which QuaPy is asked too")
    parser.add_argument(
        "--mixtures", action="store_true", help="also the share of the mixtures drawn from these corpora"
    )
    parser.add_argument(
        "--slopes", action="store_true", help="only how steeply the odds of a machine author rise with the score"
    )
    args = parser.parse_args()
    texts = Texts(scores(args.data, args.cache, args.gathered))
    print(f"{args.draws} corpora of {SIZE:,} a cell; {prevalence.LEVEL:.0%} intervals")
    dice = np.random.default_rng(0)
    cases = {
        "Known domains and generators": known_domains(texts, dice),
        "A domain never seen": new_domains(texts, dice),
        "A family of generators never seen": new_families(texts, dice),
    }
    if args.slopes:
        every = {name: slopes(places) for name, places in cases.items()}
        for name, found in {**every, "All": np.concatenate(list(every.values()))}.items():
            low, middle, high = np.quantile(found, [0.025, 0.5, 0.975])
            print(f"{name}: {len(found)} pairs, slope {middle:.2f}, the middle 95 % from {low:.2f} to {high:.2f}")
        return
    for name, places in cases.items():
        for known in ("", "trusted", "trusted and twins"):
            what = {"": "no text known", "trusted": f"{TRUSTED} trusted human texts of its kind"}
            title = f"{name}, {what.get(known, f'and {TRUSTED} machine twins')}"
            peers = args.peers if known != "trusted and twins" else 0
            for mixed in (False, True):
                if not mixed or args.mixtures:
                    show(title + ", mixtures" * mixed, setting(places, args.draws, known, peers, mixed))


if __name__ == "__main__":
    main()
