"""What pooling the documents of one site adds: the share of machine text found at a true 1 % and 0.1 % of false alarms.

python benchmarks/site_pooling.py                        held-out groups of known domains (the shipped anchors)
python benchmarks/site_pooling.py --scores FILE.parquet  scores of domains that the detector never saw: columns domain,
                                                         label, generator, logit and, where it is known, site

Sites are made of real texts: one domain or author for human text, one generator and domain for machine text. All of
them are pooled in one run of `evidence.terms`, as in a corpus. Thresholds are taken for each domain from its own human
text, and domains count alike; so does the worst one, which is named.
"""

from __future__ import annotations

import argparse
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from curator.evidence import (
    BEFORE_MODELS,
    DAY_US,
    F64,
    I64,
    NEVER,
    Bools,
    Facts,
    document_logit,
    likeness,
    pooled_logit,
    terms,
)
from curator.shipped import shipped

SIZES = (1, 2, 5, 10, 20)
SITES = {False: 400, True: 100}  # of each domain: human, machine
FEWEST = 20  # texts that make a site
MOST = 200  # texts of it that its likeness is taken from
OLD = BEFORE_MODELS - 400 * DAY_US  # a day in 2021


@dataclass(frozen=True)
class Scores:
    """Arrays are [texts]."""

    logit: F64
    machine: Bools
    domain: npt.NDArray[np.str_]
    site: npt.NDArray[np.str_]

    def only(self, rows: Bools | I64) -> Scores:
        return Scores(self.logit[rows], self.machine[rows], self.domain[rows], self.site[rows])


def config() -> dict[str, Any]:
    """The shipped detector's lines and operating points."""
    return tomllib.loads((shipped("models") / "ai-text" / "config.toml").read_text())


def read(path: Path | None) -> Scores:
    """Calibrated log-odds of a file, or of the shipped anchors."""
    table = pq.read_table(path or shipped("models") / "ai-text" / "anchors.parquet")
    if path is None:
        line = config()["line"]["cheap"]
        logit = line["constant"] + line["cheap"] * table["logit_cheap"].to_numpy().astype(float)
    else:
        logit = table["logit"].to_numpy().astype(float)
    machine = np.array(table["label"].to_pylist()) == "synthetic"
    domain, made_by = np.array(table["domain"].to_pylist()), np.array(table["generator"].to_pylist())
    named = np.array(table["site"].to_pylist()) if "site" in table.column_names else domain
    site = np.where(machine, np.char.add(np.char.add(domain, "/"), made_by), named)
    return Scores(logit, machine, domain, site).only(~np.isnan(logit))


@dataclass(frozen=True)
class World:
    """A corpus of sites of one size."""

    scores: Scores
    host: I64

    @classmethod
    def of(cls, scores: Scores, size: int, seed: int) -> World:
        dice, chosen = np.random.default_rng(seed), []
        for machine, wanted in SITES.items():
            for domain in np.unique(scores.domain[scores.machine == machine]):
                rows = np.flatnonzero((scores.machine == machine) & (scores.domain == domain))
                names, counts = np.unique(scores.site[rows], return_counts=True)
                real = [rows[scores.site[rows] == name] for name in names[counts >= FEWEST]]
                chosen += [dice.choice(real[i % len(real)], size, replace=False) for i in range(wanted) if real]
        return cls(scores.only(np.concatenate(chosen)), np.repeat(np.arange(len(chosen)), size))

    def facts(self) -> Facts:
        n = len(self.host)
        never, none = np.full(n, NEVER), np.zeros(n, np.int64)
        return Facts(
            self.scores.logit, never, never, none.astype(np.int8), none, none, self.host, none - 1, np.ones(n, bool)
        )


def both_labels(scores: Scores) -> list[str]:
    """Domains with human and machine text."""
    return sorted(set(scores.domain[scores.machine]) & set(scores.domain[~scores.machine]))


def found(scores: Scores, value: F64, rate: float) -> tuple[str, str]:
    """Machine text above a domain's own threshold: mean over domains with both labels, and the worst of them.

    The interval is a bootstrap over the domains.
    """
    both, each = both_labels(scores), []
    for domain in both:
        here = scores.domain == domain
        limit = np.quantile(value[here & ~scores.machine], 1 - rate)
        each.append(float((value[here & scores.machine] > limit).mean()))
    drawn = np.random.default_rng(1).choice(each, (2000, len(each))).mean(1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    worst = int(np.argmin(each))
    return f"{np.mean(each):.3f} ({low:.2f} to {high:.2f})", f"{each[worst]:.2f} {both[worst]}"


def alarms(scores: Scores, value: F64, limit: float) -> tuple[float, float, str]:
    """Human text above one threshold for all: mean over domains, the worst and its name."""
    names = np.unique(scores.domain[~scores.machine])
    each = [float((value[~scores.machine & (scores.domain == n)] > limit).mean()) for n in names]
    worst = int(np.argmax(each))
    return float(np.mean(each)), each[worst], str(names[worst])


def curve(scores: Scores, limit: float) -> None:
    head = "documents of a site", "judged by", "TPR at 1 %", "worst domain", "TPR at 0.1 %", "worst domain"
    row(*head, "human text over the nominal 1 %", "worst domain")
    row(*["---"] * 8)
    for size in SIZES:
        world = World.of(scores, size, seed=size)
        facts = world.facts()
        said = terms(facts)
        ways = {"its own text": document_logit(facts, said)}
        if size > 1:
            mean = np.bincount(world.host, world.scores.logit)[world.host] / size
            ways |= {"prob_pooled": pooled_logit(facts, said), "the site's mean": mean}
        for name, value in ways.items():
            mean, worst, who = alarms(world.scores, value, limit)
            at = [cell for rate in (0.01, 0.001) for cell in found(world.scores, value, rate)]
            row(size, name, *at, f"{mean:.3f}", f"{worst:.2f} {who}")


def row(*cells: object) -> None:
    print(f"| {' | '.join(map(str, cells))} |")


def mixed(scores: Scores, limit: float, size: int = 20) -> None:
    """Sites that publish both: how far their human documents pay for the others, and their machine text hides."""
    print()
    over = "human over the nominal 1 %: own text", "prob_pooled", "machine found: own text", "prob_pooled"
    row(f"machine text on a site of {size}", *over)
    row(*["---"] * 5)
    pure = World.of(scores, size, seed=7)  # the rest of the corpus
    for share in (0.05, 0.25, 0.5, 0.75, 0.95):
        part = both_kinds(scores, size, round(share * size))
        facts = joined(part, pure).facts()
        own, value = part.scores.logit, pooled_logit(facts, terms(facts))[: len(part.host)]
        kinds = ~part.scores.machine, part.scores.machine
        row(f"{share:.0%}", *(f"{(v[kind] > limit).mean():.3f}" for kind in kinds for v in (own, value)))


def both_kinds(scores: Scores, size: int, machine: int) -> World:
    """Sites of one domain each, of which some documents are machine text."""
    dice, chosen = np.random.default_rng(3), []
    for domain in both_labels(scores):
        here = scores.domain == domain
        for _ in range(100):
            chosen += [dice.choice(np.flatnonzero(here & scores.machine), machine, replace=False)]
            chosen += [dice.choice(np.flatnonzero(here & ~scores.machine), size - machine, replace=False)]
    rows = np.concatenate(chosen)
    return World(scores.only(rows), np.repeat(np.arange(len(rows) // size), size))


def joined(a: World, b: World) -> World:
    """Two corpora as one."""
    parts = (np.concatenate([getattr(w.scores, f.name) for w in (a, b)]) for f in fields(Scores))
    return World(Scores(*parts), np.concatenate([a.host, b.host + a.host.max() + 1]))


def with_older(scores: Scores, limit: float, size: int = 20, older: int = 30) -> None:
    """Human sites with some documents known to be older than assistants: what these save the others from."""
    print()
    row(
        f"{older} older documents of each human site",
        "human over the nominal 1 %: own text",
        "prob_pooled",
        "worst site",
    )
    row(*["---"] * 4)
    dice = np.random.default_rng(4)
    names, counts = np.unique(scores.site[~scores.machine], return_counts=True)
    real = [np.flatnonzero(scores.site == n) for n in names[counts >= size + older]]
    rows = np.concatenate([dice.choice(rows, size + older, replace=False) for rows in real for _ in range(20)])
    human = World(scores.only(rows), np.repeat(np.arange(20 * len(real)), size + older))
    world = joined(human, World.of(scores.only(scores.machine), size, seed=5))
    new = np.arange(len(world.host)) % (size + older) < size
    new[len(human.host) :] = True
    for known in (False, True):
        keep = np.flatnonzero(new | known)
        facts = World(world.scores.only(keep), world.host[keep]).facts()
        facts.date_us[~new[keep]] = OLD
        judged = np.flatnonzero(new[keep] & ~world.scores.machine[keep])
        by_site = world.scores.only(keep[judged])
        by_site = Scores(by_site.logit, by_site.machine, by_site.site, by_site.site)
        own = alarms(by_site, by_site.logit, limit)
        pooled = alarms(by_site, pooled_logit(facts, terms(facts))[judged], limit)
        what = "known" if known else "not in the corpus"
        row(what, f"{own[0]:.3f}", f"{pooled[0]:.3f}", f"{own[1]:.2f} ({own[2]}) -> {pooled[1]:.2f} ({pooled[2]})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scores", type=Path)
    parser.add_argument("--point", type=float, help="log-odds of the nominal 1 %% (else the shipped operating point)")
    args = parser.parse_args()
    scores = read(args.scores)
    human = scores.only(~scores.machine)
    _, code, counts = np.unique(human.site, return_inverse=True, return_counts=True)
    real = np.flatnonzero(counts >= FEWEST)
    some = np.concatenate([np.flatnonzero(code == i)[:MOST] for i in real])
    print(f"likeness of human texts of one site: {likeness(human.logit[some], code[some]):.3f} ({len(real)} sites)")
    limit = config()["operating_point"]["cheap"] if args.point is None else args.point
    print(f"nominal 1 %: log-odds {limit:.2f}\n")
    curve(scores, limit)
    mixed(scores, limit)
    with_older(scores, limit)


if __name__ == "__main__":
    main()
