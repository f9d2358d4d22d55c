"""Raking on one core: the cap, budget, floors and two-sided boxes over 1,050 margins, beside cvxpy and Clarabel in one run.

OMP_NUM_THREADS=1 RAYON_NUM_THREADS=1 python benchmarks/rake.py [cells …]    # 5,000, 50,000 and 500,000 unless told
"""

from __future__ import annotations

import sys
import time

import cvxpy
import numpy as np
from scipy.sparse import csr_matrix

from curator.rake import Problem, solve

SIZES = (500, 400, 50, 100)  # topics, domains, languages, months
GROUPS = sum(SIZES)
CAP, SNAPSHOT, WORDS, FLOORS = GROUPS, GROUPS + 1, GROUPS + 2, np.arange(SIZES[0] - 50, SIZES[0])
BOX = 0.1  # margins may lie this part beside what hidden weights give
MOST_PEER = 50_000  # cells beyond which the general solver is not waited for


def zipf(dice: np.random.Generator, groups: int, cells: int) -> np.ndarray:
    """Groups of cells, some large and many small."""
    share = 1 / np.arange(1, groups + 1) ** 1.1
    return dice.choice(groups, cells, p=0.7 * share / share.sum() + 0.3 / groups)


def problem(cells: int, seed: int = 0) -> Problem:
    """Rows that hidden weights satisfy: feasible, and most boxes bind or nearly do."""
    dice = np.random.default_rng(seed)
    place = [zipf(dice, k, cells) for k in SIZES]
    snapshot = dice.random(cells) < 0.05
    q = np.where(snapshot, 0.0, dice.beta(0.4, 0.6, cells).round(2))
    mass, base = np.exp(dice.normal(6, 1.5, cells)).round(), (1 - q) * dice.uniform(0.3, 1, cells)
    pull = sum(dice.normal(0, 0.3, k)[p] for k, p in zip(SIZES, place, strict=True))
    words = mass * np.minimum(4.0, base * np.exp(pull - 3 * q + 2 * snapshot))
    every = np.arange(cells)
    row = [p + start for p, start in zip(place, np.cumsum([0, *SIZES[:-1]]), strict=True)]
    row += [np.full(cells, CAP), np.full(int(snapshot.sum()), SNAPSHOT), np.full(cells, WORDS)]
    column = np.concatenate([*[every] * 5, every[snapshot], every])
    value = np.concatenate([np.ones(4 * cells), q, np.ones(int(snapshot.sum()) + cells)])
    functionals = csr_matrix((value, (np.concatenate(row), column)), shape=(GROUPS + 3, cells))
    total, margin = words.sum(), functionals @ words
    boxes, part = np.arange(GROUPS), margin / words.sum()
    which = np.concatenate([boxes, boxes, [CAP, SNAPSHOT], FLOORS, [WORDS]])
    sign = np.concatenate([np.ones(GROUPS), -np.ones(GROUPS), [1, -1], -np.ones(len(FLOORS)), [1]])
    share = [part[boxes] * (1 + BOX), part[boxes] * (1 - BOX), part[[CAP, SNAPSHOT]], np.zeros(len(FLOORS) + 1)]
    limit = [np.zeros(2 * GROUPS + 2), -0.95 * margin[FLOORS], [total]]
    return Problem(
        base=base,
        mass=mass,
        most=np.full(cells, 4.0),
        functionals=functionals,
        which=which,
        sign=sign,
        share=np.concatenate(share),
        limit=np.concatenate(limit),
        equality=np.arange(len(which)) == len(which) - 1,
    )


def distance(p: Problem, weight: np.ndarray) -> float:
    """What is minimised, in parts of the total mass; weights a solver left below 0 count as 0."""
    w, live = np.maximum(weight, 0), p.base > 0
    logarithm = np.where(w > 0, w * np.log(np.maximum(w, 1e-300) / np.where(live, p.base, 1)), 0.0)
    return float((p.mass * (logarithm - w + p.base))[live].sum() / p.mass.sum())


def peer(p: Problem) -> np.ndarray | None:
    """What a cvxpy user writes, the functionals' words as variables so that the dense shares cost little; none if it fails."""
    live = p.base > 0
    total = p.mass.sum() / 1_000  # in parts of the whole, the solver gave up at 50,000 cells
    mass = p.mass[live] / total
    w, parts = cvxpy.Variable(int(live.sum())), cvxpy.Variable(p.functionals.shape[0])
    words = cvxpy.multiply(mass, w)
    rows = cvxpy.multiply(p.sign, parts[p.which] - p.share * parts[WORDS]) - p.limit / total
    held = [p.functionals[:, live] @ words == parts, w <= p.most[live], rows[~p.equality] <= 0, rows[p.equality] == 0]
    try:
        cvxpy.Problem(cvxpy.Minimize(mass @ cvxpy.kl_div(w, p.base[live])), held).solve(solver=cvxpy.CLARABEL)
    except cvxpy.SolverError:
        return None
    weight = np.zeros(len(p.base))
    weight[live] = w.value
    return weight


def main() -> None:
    """Print a line for each size."""
    solve(problem(2_000))  # what is loaded once
    print("| cells | rows | curator, CPU s | steps | worst violation | distance | Clarabel, CPU s | distance | ratio |")
    print("|---|---|---|---|---|---|---|---|---|")
    for cells in [int(x) for x in sys.argv[1:]] or [5_000, 50_000, 500_000]:
        p = problem(cells)
        began = time.process_time()
        s = solve(p)
        ours = time.process_time() - began
        line = f"| {cells:,} | {len(p.which):,} | {ours:.2f} | {s.steps} | {s.violation.max():.0e} | {distance(p, s.weight):.9f} |"
        if cells <= MOST_PEER:
            began = time.process_time()
            weight = peer(p)
            theirs = time.process_time() - began
            found = "none" if weight is None else f"{distance(p, weight):.9f}"
            line += f" {theirs:.1f} | {found} | {theirs / ours:.0f} |"
        print(line + (" | | |" if cells > MOST_PEER else ""), flush=True)


if __name__ == "__main__":
    main()
