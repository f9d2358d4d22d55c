"""Every figure about origin: one table a line, and the sections of models/ai-text/metrics.toml that go with it.

    python benchmarks/origin.py [--data ../shared/data] [--cache FOLDER] [--only a,c] [--quick]

    a  fdg_family cell by cell beside the published figures; Glimpse's cells; MixSet
    b  a data set or a family of generators left out of training
    c  real false positives at a nominal 1 % on human sets left out, with 300 documents of their kind and without
    d  calibration error, in domain and out of it, before and after calibration with 300 trusted texts
    e  the share: error and coverage (benchmarks/share.py)
    f  recall by model of 2026
    g  documents of one site pooled (benchmarks/site_pooling.py)
    h  documents a second of each path, one core

Benchmarks are for reading: nothing here trains on them or chooses by them.  The cache keeps the encoder's moments and
the folds of line b, from which c to g read (set OMP_NUM_THREADS=1 to keep to one core); `--quick` takes a few sets and texts, to see that everything runs.
"""

from __future__ import annotations

import argparse
import functools
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
import torch

ROOT: Final = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "models/ai-text"))

import left_out  # noqa: E402
from evaluate import Estimate, Figures, Shipped, balanced, ece, keep, ranked, share  # noqa: E402
from train import prepare  # noqa: E402

from curator import calibration  # noqa: E402
from curator.calibration import Cell  # noqa: E402
from curator.errors import ModelError  # noqa: E402
from curator.learn import SEED, encode  # noqa: E402
from curator.stages import embed, surprisal  # noqa: E402
from curator.stages.ai_text import probability  # noqa: E402

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Names = npt.NDArray[np.str_]

METRICS: Final = ROOT / "models/ai-text/metrics.toml"
TRUSTED: Final = 300  # documents of a kind given as reference
REFERENCES: Final = 200  # draws of those
TOKENS: Final = 256  # that the encoder and the causal model read
FAMILY: Final = 100  # held-out texts of a family of generators from which its recall is told
LEAST: Final = 200  # human texts of a domain from which a rate of 1 % is told
QUICK_FAMILIES: Final = ("davinci", "GPT-5, o3-mini")
QUICK_SETS: Final = ("gptid_reddit", "authenticheck_essays", "news_2016_2017", "debate_2026_models", "blog_18f")
ENCODED_AT_ONCE: Final = 1_000  # so that what is encoded is kept when a run is stopped


# --- What every line reads -------------------------------------------------------------------------


@dataclass(frozen=True)
class Bench:
    """Where texts and what is kept lie, and how much is read."""

    data: Path
    cache: Path
    sample: int  # texts of fdg_family that the encoder sees beside Glimpse's cells
    gathered: Path | None  # dated human prose, as models/ai-text/gather.py writes it
    quick: bool

    @functools.cached_property
    def shipped(self) -> Shipped:
        """The detector as it serves."""
        return Shipped()

    def encoded(self, texts: Sequence[str], name: str) -> npt.NDArray[np.float32]:
        """Early moments, kept under a name between runs.  # [n, moments]"""
        path = self.cache / f"{name}.npz"
        parts = [encode(list(texts[at : at + ENCODED_AT_ONCE]), path) for at in range(0, len(texts), ENCODED_AT_ONCE)]
        return np.concatenate(parts)

    @functools.cached_property
    def folds(self) -> dict[str, pa.Table]:
        """Scores of all folds by name, learnt now or read; also written where other benchmarks read them."""
        if self.quick:
            lesson = left_out.few(self.data, QUICK_SETS, 3_000, 300, self.cache)
        else:
            lesson = prepare(self.data, self.gathered, self.cache)
        wanted = left_out.folds(tuple(np.unique(lesson.corpus.dataset).tolist()))
        wanted = [fold for fold in wanted if not self.quick or fold.sets or fold.name in QUICK_FAMILIES]
        wanted.append(left_out.Fold(left_out.NOTHING))
        tables = {fold.name: table for fold, table in left_out.tables(lesson, wanted, self.cache)}
        kinds = {fold.name: "set" if fold.sets else "family" for fold in wanted}
        everything = left_out.pooled({name: t for name, t in tables.items() if _enough(name, t)}, kinds)
        folder = self.cache / f"share-{SEED}"  # where share.py keeps scores of its own, were there none
        folder.mkdir(exist_ok=True)
        for path in folder.iterdir():
            path.unlink()
        pq.write_table(everything, folder / "all.parquet", compression="zstd")
        (folder / "done").touch()
        of_sets = everything.filter(pc.and_(pc.equal(everything["kind"], "set"), everything["held"]))
        pq.write_table(of_sets, self.cache / "left_out.parquet", compression="zstd")
        return tables

    @functools.cached_property
    def by_set(self) -> dict[str, pa.Table]:
        """Scores of the folds that leave data sets out."""
        return {name: table for name, table in self.folds.items() if name not in (*left_out.FAMILIES, left_out.NOTHING)}

    @functools.cached_property
    def by_family(self) -> dict[str, pa.Table]:
        """Scores of the folds that leave a family of generators out, where enough of its texts are in held-out groups."""
        found = {name: table for name, table in self.folds.items() if name in left_out.FAMILIES}
        return {name: table for name, table in found.items() if _enough(name, table)}


def _enough(name: str, table: pa.Table) -> bool:
    return name not in left_out.FAMILIES or pc.sum(table["held"]).as_py() >= FAMILY


def column(table: pa.Table, name: str) -> npt.NDArray[Any]:
    """A column as numpy; nulls are NaN."""
    return np.asarray(table[name].to_numpy())


def synthetic(table: pa.Table) -> Floats:
    """1 where a text is synthetic.  # [n]"""
    return (column(table, "label") == "synthetic").astype(float)


def show(title: str, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table in markdown."""
    print(f"\n### {title}\n\n| " + " | ".join(header) + " |\n|" + "---|" * len(header))
    for row in rows:
        print("| " + " | ".join(f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in row) + " |")
    sys.stdout.flush()


# --- a: fdg_family ---------------------------------------------------------------------------------

GLIMPSE: Final = "baoguangsheng/glimpse"
# Methods shown beside ours, as their result files name them.
SHOWN: Final = {
    "Fast-DetectGPT": "gpt-j-6B_gpt-neo-2.7B.sampling_discrepancy_analytic",
    "Glimpse (GPT-3.5)": "gpt-35-turbo-1106.pde_fastdetect_geometric",
    "Lastde++": "expstd.lastde_doubleplus",
    "GPTZero": "gptzero",
}  # fmt: skip
# TPR at 1 % that their authors report on Glimpse's cells; the table of AUROCs has none.
REPORTED_TPR: Final = {"Fast-DetectGPT": 0.46, "Glimpse (GPT-3.5)": 0.56}
BASE_MODELS: Final = (
    "gpt2", "gpt-j", "gptj", "neo", "opt", "bloom", "falcon", "davinci", "llama1", "llama2", "llama3_8b", "gemma_7b", "phi2", "mgpt",
)  # fmt: skip
# Which folder of a repository holds the texts of a folder of results.
_FOLDERS: Final = (
    ("exp_langs/results", "exp_langs"), ("paraphrasing_attack_results", "paraphrasing_attack_data"),
    ("decoding_strategy_results", "decoding_strategies_data"), ("non_english_results", "multi_language_data"),
    ("response_length_results", "response_lengths_data"), ("experiment_results/", "human_llm_data_for_experiment"),
    ("exp_main/results", "exp_main/data"), ("exp_gpt3to4/results", "exp_gpt3to4/data"),
)  # fmt: skip


def published(path: Path, cells: Iterable[str]) -> dict[str, dict[str, float]]:
    """Published AUROCs by cell and method; a cell is `repository split`.  Figures of cells that are not asked for drop out."""
    wanted = sorted(cells, key=len, reverse=True)  # the longest name that fits: gpt-4-turbo is not gpt-4
    made: dict[str, dict[str, float]] = {}
    for row in pyarrow.csv.read_csv(path).to_pylist():
        folder = next((data for results, data in _FOLDERS if results in row["path"]), None)
        named = f"{row['repo']} {folder}/{row['path'].rpartition('/')[2].removesuffix('.json')}"
        cell = next((c for c in wanted if named.startswith(c) and named[len(c) :][:1] in "._-"), None)
        if cell:
            made.setdefault(cell, {})[named[len(cell) + 1 :]] = row["roc_auc"]
    return made


def fdg(data: Path, quick: bool) -> pa.Table:
    """The English texts of fdg_family with their cell."""
    columns = ["text", "label", "generator", "source", "split", "lang", "group"]
    table = pq.read_table(data / "detect/benchmark/fdg_family.parquet", columns=columns)
    table = table.filter(pc.and_(pc.equal(table["lang"], "en"), pc.is_valid(table["text"])))
    source = pc.replace_substring(table["source"], "github:", "")
    table = table.append_column("cell", pc.binary_join_element_wise(source, table["split"], " "))
    glimpse = pc.starts_with(table["cell"], f"{GLIMPSE} exp_main/data/xsum")
    return table.filter(glimpse) if quick else table


def encoder_sample(cell: Names, group: Names, sample: int) -> npt.NDArray[np.int64]:
    """All of Glimpse's rows, and of every other cell as many pairs as the sample has room for.  # [seen] sorted"""
    theirs = np.char.startswith(cell, GLIMPSE)
    others = np.unique(cell[~theirs])
    pairs = max(2, sample // max(1, 2 * len(others)))
    rows = [np.flatnonzero(theirs)]
    for name in others:
        at = np.flatnonzero(cell == name)
        groups = np.unique(group[at])
        chosen = np.random.default_rng(SEED).permutation(groups)[:pairs]
        rows.append(at[np.isin(group[at], chosen)])
    return np.sort(np.concatenate(rows))


def line_a(bench: Bench) -> Figures:
    """fdg_family and MixSet, never trained on."""
    table = fdg(bench.data, bench.quick)
    cell, group = (np.asarray(column(table, name), str) for name in ("cell", "group"))
    texts, y = table["text"].to_pylist(), synthetic(table)
    judged = bench.shipped.judge(texts)
    unfit = 1 - float(bench.shipped.fit(judged).mean())
    rows = encoder_sample(cell, group, bench.sample)
    rows = rows[np.isin(group[rows], np.unique(group)[::20])] if bench.quick else rows
    cheap = bench.shipped.log_odds(judged[:, 4])
    encoder = np.full(len(texts), np.nan)
    encoder[rows] = bench.shipped.encoder(bench.encoded([texts[row] for row in rows], "moments_benchmark"))
    fused = np.where(np.isnan(encoder), np.nan, bench.shipped.log_odds(judged[:, 4], encoder=encoder))
    by_cell = {path: _cells(y, logit, cell, group) for path, logit in (("cheap", cheap), ("fused", fused))}
    theirs = published(bench.data / "detect/benchmark/published_baselines.csv", np.unique(cell))
    _show_cells(by_cell, theirs)
    kinds = _kinds(cell, np.asarray(column(table, "generator"), str))
    made: Figures = {"cells": len(np.unique(cell)), "texts": len(texts), "abstained": unfit, "encoded": len(rows)}
    for kind, names in kinds.items():
        made[kind] = {path: _means(found, names) for path, found in by_cell.items()}
    made["published"] = _published_means(theirs, kinds["glimpse"])
    made["above_published"] = {path: _beaten(found, theirs) for path, found in by_cell.items()}
    made["by_cell"] = {name: by_cell["cheap"][name]["auroc"].point for name in sorted(by_cell["cheap"])}
    made["mixset"] = mixset(bench)
    _show_means(made, kinds)
    few = ("--sample", "3", "--only-kept") if bench.quick else ()
    run("origin_peers.py", "--data", str(bench.data), "--cache", str(bench.cache / "surprisal"), *few)
    return made


def _cells(y: Floats, logit: Floats, cell: Names, group: Names) -> dict[str, dict[str, Estimate]]:
    made = {}
    for name in np.unique(cell):
        at = (cell == name) & np.isfinite(logit)
        if 0 < y[at].sum() < at.sum():
            made[str(name)] = ranked(y[at], logit[at], group[at])
    return made


def _kinds(cell: Names, generator: Names) -> dict[str, list[str]]:
    names = np.unique(cell)
    base = {
        str(c) for c, g in zip(cell, np.char.lower(generator), strict=True) if any(g.startswith(b) for b in BASE_MODELS)
    }
    return {
        "glimpse": [c for c in names if c.startswith(f"{GLIMPSE} exp_main")],
        "assistants": [c for c in names if c not in base],
        "base models": [c for c in names if c in base],
        "all": list(names),
    }


def _means(found: dict[str, dict[str, Estimate]], names: Sequence[str]) -> Figures:
    known = [found[name] for name in names if name in found]
    return {"cells": len(known)} | {k: Estimate.mean([one[k] for one in known]) for k in ("auroc", "tpr_at_1")}


def _published_means(theirs: dict[str, dict[str, float]], cells: Sequence[str]) -> dict[str, float]:
    made = {}
    for name, method in SHOWN.items():
        values = [theirs[cell][method] for cell in cells if method in theirs.get(cell, {})]
        if len(values) == len(cells):
            made[name] = float(np.mean(values))
    return made


def _beaten(found: dict[str, dict[str, Estimate]], theirs: dict[str, dict[str, float]]) -> Figures:
    """Of the published figures of cells that we judged, how many lie below ours; a figure under one half is turned."""
    gaps = [
        found[cell]["auroc"].point > max(value, 1 - value) for cell in found for value in theirs.get(cell, {}).values()
    ]
    return {"figures": len(gaps), "below_ours": int(np.sum(gaps))}


def _show_cells(by_cell: dict[str, dict[str, dict[str, Estimate]]], theirs: dict[str, dict[str, float]]) -> None:
    rows = []
    for cell in sorted(by_cell["cheap"]):
        known = theirs.get(cell, {})
        beside: list[object] = [known.get(method, "–") for method in SHOWN.values()]
        best = max(known, key=lambda name: known[name], default="")
        ours = [found[cell]["auroc"] if cell in found else "–" for found in by_cell.values()]
        rows.append([cell, *ours, *beside, f"{known[best]:.3f} {best}" if best else "–"])
    show("a. AUROC by cell, never trained on", ["cell", *by_cell, *SHOWN, "best published"], rows)


def _show_means(made: Figures, kinds: dict[str, list[str]]) -> None:
    rows: list[list[object]] = []
    for kind in kinds:
        rows += [[kind, path, f["cells"], f["auroc"], f["tpr_at_1"]] for path, f in made[kind].items()]
    n = len(kinds["glimpse"])
    rows += [
        ["glimpse", name, n, value, REPORTED_TPR.get(name, "–") if n == 15 else "–"]
        for name, value in made["published"].items()
    ]
    rows += [["mixset", path, "1", f["auroc"], f["tpr_at_1"]] for path, f in made["mixset"].items()]
    show("a. Means over cells (intervals: resampled pairs)", ["cells", "path", "n", "AUROC", "TPR at 1 %"], rows)
    for path, found in made["above_published"].items():
        print(f"{path}: above {found['below_ours']} of {found['figures']} published figures of the cells judged")
    print(
        f"{made['abstained']:.1%} of these texts are ones on which the detector abstains (under 60 words); all are counted above"
    )


def mixset(bench: Bench) -> Figures:
    """The 600 pure texts of MixSet."""
    table = pq.read_table(bench.data / "detect/benchmark/mixset.parquet", columns=["text", "label", "group"])
    table = table.filter(pc.not_equal(table["label"], "mixed"))
    table = table.take(np.arange(0, len(table), 11)) if bench.quick else table
    texts, y = table["text"].to_pylist(), synthetic(table)
    cheap = bench.shipped.judge(texts)[:, 4]
    encoder = bench.shipped.encoder(bench.encoded(texts, "moments_benchmark"))
    group = np.asarray(column(table, "group"), str)
    logits = {"cheap": bench.shipped.log_odds(cheap), "fused": bench.shipped.log_odds(cheap, encoder=encoder)}
    return {path: ranked(y, logit, group) for path, logit in logits.items()}


# --- b: left out -----------------------------------------------------------------------------------


def line_b(bench: Bench) -> Figures:
    """A data set, or a family of generators, never seen."""
    made: Figures = {"domain": {}, "generator": {}}
    for table in bench.by_set.values():
        for name in np.unique(column(table, "dataset")[column(table, "held")]):
            made["domain"][str(name)] = _unseen(table, column(table, "dataset") == name)
    for name, table in bench.by_family.items():
        made["generator"][name] = _unseen(table, column(table, "held"))
    for kind in ("domain", "generator"):
        _show_left_out(kind, made[kind])
        made[f"{kind}_mean"] = {path: _mean_left_out(made[kind], path) for path in left_out.PATHS}
        made[f"{kind}_worst"] = {path: _worst(made[kind], path) for path in left_out.PATHS}
    return made


def _unseen(table: pa.Table, of: Bools) -> Figures:
    """Each path on one thing left out; a label that it lacks is taken from held-out texts of what was known."""
    y, group, known = synthetic(table), column(table, "group"), ~column(table, "held")
    rows = [of & (y == label) if (of & (y == label)).any() else known & (y == label) for label in (0, 1)]
    made: Figures = {}
    for path in left_out.PATHS:
        logit = column(table, path)
        at = (rows[0] | rows[1]) & np.isfinite(logit)
        if not 0 < y[at].sum() < at.sum():
            continue
        found: Figures = {"human": int((y[at] == 0).sum()), "synthetic": int(y[at].sum())}
        found |= ranked(y[at], logit[at], group[at])
        found["tpr_at_nominal_1"] = share((logit > column(table, f"point_{path}"))[at & (y == 1)], group[at & (y == 1)])
        made[path] = found
    return made


def _mean_left_out(found: Figures, path: str) -> Figures:
    parts = [one[path] for one in found.values() if path in one]
    return {k: Estimate.mean([one[k] for one in parts]) for k in ("auroc", "tpr_at_1", "tpr_at_01", "tpr_at_nominal_1")}


def _worst(found: Figures, path: str) -> list[str]:
    parts = {name: one[path]["tpr_at_1"].point for name, one in found.items() if path in one}
    return [f"{name} {value:.2f}" for name, value in sorted(parts.items(), key=lambda item: item[1])[:2]]


def _show_left_out(kind: str, found: Figures) -> None:
    names = ("auroc", "tpr_at_1", "tpr_at_01", "tpr_at_nominal_1")
    rows: list[list[object]] = []
    for name, paths in found.items():
        rows += [[name, path, f"{f['human']} / {f['synthetic']}", *(f[k] for k in names)] for path, f in paths.items()]
    for path in left_out.PATHS:
        mean = _mean_left_out(found, path)
        rows.append(["**mean**", path, "", *(mean[k] for k in names)])
    header = ["left out", "path", "human / synthetic", "AUROC", "TPR at 1 %", "TPR at 0.1 %", "TPR at nominal 1 %"]
    show(f"b. Leave one {kind} out", header, rows)
    for path in left_out.PATHS:
        print(f"worst two by the {path} path (TPR at 1 %): {', '.join(_worst(found, path))}")


# --- c: false positives ----------------------------------------------------------------------------


def anchored(table: pa.Table, path: str) -> Cell:
    """The reference that ships, as this fold would have it: human texts of the domains that it knew."""
    human = table.filter(pc.and_(pc.invert(table["held"]), pc.equal(table["label"], "human")))
    human = human.filter(pc.is_valid(human[path]))
    _, code, count = np.unique(column(human, "domain"), return_inverse=True, return_counts=True)
    return calibration.root(column(human, path), 1.0 / count[code])


def judged_by(top: Cell, reference: Floats) -> Cell:
    """The reference of a stratum that is given trusted texts."""
    return calibration.child(top, top, np.sort(reference), 1)


def flags(cell: Cell, logit: Floats, target: float = 0.01) -> Bools:
    """Which texts are synthetic at a target of false positives.  # [n]"""
    return cell.human_p(logit, np.zeros(len(logit), bool)) <= target


def draw_reference(group: npt.NDArray[Any], dice: np.random.Generator, size: int = TRUSTED) -> Bools:
    """`size` texts as reference, or half of all, by whole groups, so that no document lies on both sides.  # [n]

    A group of more than a twentieth of the texts is a subject (an essay's prompt) and not one document: its texts are
    drawn apart.
    """
    _, code, count = np.unique(group, return_inverse=True, return_counts=True)
    apart = count[code] > len(group) / 20
    code = np.where(apart, len(count) + np.arange(len(group)), code)
    _, code, count = np.unique(code, return_inverse=True, return_counts=True)
    order = dice.permutation(len(count))
    taken = np.cumsum(count[order]) <= min(size, len(group) // 2)
    return np.isin(code, order[taken])


def line_c(bench: Bench) -> Figures:
    """Real false positives at a nominal 1 % on every human set left out, and what is found of the machine texts beside."""
    made: Figures = {}
    for path in ("cheap", "fused"):
        found = {}
        for table in bench.by_set.values():
            top = anchored(table, path)
            held = table.filter(pc.and_(table["held"], pc.is_valid(table[path])))
            for name in np.unique(column(held, "domain")):
                of = held.filter(pc.equal(held["domain"], name))
                if (synthetic(of) == 0).sum() >= LEAST:
                    found[str(name)] = _false_positives(of, path, top)
        made[path] = dict(sorted(found.items(), key=lambda item: -item[1]["without"].point))
        _show_false_positives(path, made[path])
    return made


def _false_positives(table: pa.Table, path: str, top: Cell) -> Figures:
    dice, human = np.random.default_rng(SEED), synthetic(table) == 0
    logit, group, point = column(table, path), column(table, "group"), column(table, f"point_{path}")[0]
    own, machine, rates, found, sizes = logit[human], logit[~human], [], [], []
    for _ in range(REFERENCES):
        chosen = draw_reference(group[human], dice)
        cell = judged_by(top, own[chosen])
        rates.append(flags(cell, own[~chosen]).mean())
        sizes.append(chosen.sum())
        if machine.size:
            found.append(flags(cell, machine).mean())
    made: Figures = {
        "documents": len(own),
        "reference": int(np.median(sizes)),
        "without": share(own > point, group[human]),
    }
    made |= {"with_mean": float(np.mean(rates)), "with_95th": float(np.quantile(rates, 0.95))}
    return made | (
        {"found_without": float((machine > point).mean()), "found_with": float(np.mean(found))} if found else {}
    )


def _show_false_positives(path: str, made: Figures) -> None:
    header = [
        "human set left out", "texts", "reference", "without", f"with {TRUSTED}: mean", "95th percentile of draws",
        "machine text found without", "with",
    ]  # fmt: skip
    keys = ("documents", "reference", "without", "with_mean", "with_95th", "found_without", "found_with")
    rows = [[name, *(f.get(key, "–") for key in keys)] for name, f in made.items()]
    show(f"c. Real false positives at nominal 1 %, {path} path", header, rows)
    worst = {key: max((f[key] for f in made.values()), default=float("nan")) for key in ("with_mean", "with_95th")}
    print(f"worst set: mean {worst['with_mean']:.3f}, 95th percentile {worst['with_95th']:.3f}")


# --- d: calibration --------------------------------------------------------------------------------

OWN: Final = 40  # human texts of a domain from which it may be given trusted ones


@dataclass(frozen=True)
class Said:
    """Probabilities of some texts, by domain."""

    y: Floats
    prob: Floats
    domain: Names

    def errors(self) -> dict[str, float]:
        """Calibration error by domain, where a domain has both labels."""
        made = {}
        for name in np.unique(self.domain):
            of = self.domain == name
            if 0 < self.y[of].sum() < of.sum():
                made[str(name)] = ece(self.prob[of], self.y[of], balanced(self.y[of]))
        return made

    @property
    def pooled(self) -> float:
        """Calibration error of all."""
        return ece(self.prob, self.y, balanced(self.y))

    @classmethod
    def join(cls, parts: Sequence[Said]) -> Said:
        """All texts of several."""
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("y", "prob", "domain")))


def said(table: pa.Table, rows: Bools, path: str, dice: np.random.Generator | None) -> Said:
    """Probabilities of some texts; given dice, after each domain was given trusted texts of its own, which are left out."""
    logit, y = column(table, path), synthetic(table)
    rows, top = rows & np.isfinite(logit), anchored(table, path)
    logit, y, group, domain = (
        logit[rows],
        y[rows],
        column(table, "group")[rows],
        column(table, "domain")[rows].astype(str),
    )
    rest, made = np.ones(len(y), bool), logit.copy()
    for name in np.unique(domain) if dice else ():
        own = np.flatnonzero((domain == name) & (y == 0))
        if len(own) >= OWN:
            chosen = own[draw_reference(group[own], dice)]
            rest[chosen] = False
            made[domain == name] = judged_by(top, logit[chosen]).logit(logit[domain == name])
    return Said(y[rest], probability(made[rest]), domain[rest])


def line_d(bench: Bench) -> Figures:
    """Expected calibration error at prior one half, in domain and out of it, before and after."""
    made: Figures = {}
    for path in ("cheap", "fused"):
        known = bench.folds[left_out.NOTHING]
        for title, tables in (("in domain", [known]), ("out of domain", list(bench.by_set.values()))):
            held = [column(table, "held") == (table is not known) for table in tables]
            before = Said.join([said(t, at, path, None) for t, at in zip(tables, held, strict=True)])
            after = []
            for draw in range(2 if bench.quick else 10):
                dice = np.random.default_rng(SEED + draw)
                after.append(Said.join([said(t, at, path, dice) for t, at in zip(tables, held, strict=True)]))
            made[f"{title}, {path}"] = _errors(before, after)
    for title, found in made.items():
        rows = [[name, *pair] for name, pair in found.items()]
        show(f"d. Calibration error {title} path", ["texts", "before", f"after {TRUSTED} trusted texts"], rows)
    return made


def _errors(before: Said, after: Sequence[Said]) -> Figures:
    """Before and after: pooled, mean of domains, and each domain."""
    first, later = before.errors(), [one.errors() for one in after]
    by_domain = {
        name: [error, float(np.mean([one.get(name, np.nan) for one in later]))] for name, error in first.items()
    }
    return {
        "pooled": [before.pooled, float(np.mean([one.pooled for one in after]))],
        "mean of domains": [float(np.mean([pair[i] for pair in by_domain.values()])) for i in (0, 1)],
        **by_domain,
    }


# --- f: models of 2026 -----------------------------------------------------------------------------


def line_f(bench: Bench) -> Figures:
    """Recall by model of 2026 at the operating point of 1 %: held-out groups, and with the set left out."""
    known = bench.folds[left_out.NOTHING]
    unseen = next(table for name, table in bench.by_set.items() if "debate_2026_models" in name)
    made: Figures = {}
    for title, table in (("held out", known), ("set left out", unseen)):
        of = table.filter(
            pc.and_(pc.equal(table["dataset"], "debate_2026_models"), pc.equal(table["label"], "synthetic"))
        )
        for path in ("cheap", "fused"):
            flags = column(of, path) > column(of, f"point_{path}")
            seen, group, generator = np.isfinite(column(of, path)), column(of, "group"), column(of, "generator")
            for name in [*np.unique(generator), "all"]:
                at = seen & ((generator == name) | (name == "all"))
                if at.sum() >= 5:
                    made.setdefault(str(name), {})[f"{title}, {path}"] = share(flags[at], group[at])
    header = sorted({column for found in made.values() for column in found})
    rows = [[name, *(found.get(column, "–") for column in header)] for name, found in made.items()]
    show("f. Recall by model of 2026 at nominal 1 %", ["model", *header], rows)
    return made


# --- e, g: benchmarks of their own; h: speed -------------------------------------------------------


FAILED: Final[list[str]] = []  # benchmarks that did not end well; the others still run


def run(name: str, *arguments: str) -> Figures:
    """Run another benchmark beside this one; it prints its own tables."""
    print(f"\n### benchmarks/{name}", flush=True)
    if subprocess.run([sys.executable, str(ROOT / "benchmarks" / name), *arguments], check=False).returncode:
        FAILED.append(name)
    return {}


def line_e(bench: Bench) -> Figures:
    """Share error and coverage, on scores of folds that never saw the set or the family."""
    if bench.quick:
        print("\nline e is not shown with --quick: corpora of 5,000 need more texts")
        return {}
    assert bench.folds  # writes the scores that share.py reads
    return run("share.py", "--data", str(bench.data), "--cache", str(bench.cache), "--mixtures")


def line_g(bench: Bench) -> Figures:
    """Pooling by site, on scores of folds that never saw the set."""
    point = float(np.median([column(table, "point_cheap")[0] for table in bench.by_set.values()]))
    return run("site_pooling.py", "--scores", str(bench.cache / "left_out.parquet"), "--point", f"{point:.4f}")


def line_h(bench: Bench) -> Figures:
    """Documents a CPU-second of each path, one thread."""
    texts = pq.read_table(bench.data / "detect/train/news_2016_2017.parquet", columns=["text"])["text"].to_pylist()
    made: Figures = {
        "cheap": _speed(lambda some: bench.shipped.judge(some), texts[:200] if bench.quick else texts),
        "encoder, 256 tokens": _speed(_encoder(), texts[: 20 if bench.quick else 100]),
    }
    try:
        made["surprisal, 256 tokens"] = _speed(_causal_model(), texts[: 5 if bench.quick else 30])
    except ModelError as error:
        print(f"\nsurprisal not timed: {error}")
    show(
        "h. Documents a CPU-second, news of 444 words, one thread",
        ["path", "documents/s"],
        [[k, v] for k, v in made.items()],
    )
    return made


def _speed(work: Callable[[list[str]], object], texts: list[str]) -> float:
    work(texts[:5])  # compiles and loads
    start = time.process_time()
    work(texts)
    return round(len(texts) / (time.process_time() - start), 1)


def _encoder() -> Callable[[list[str]], object]:
    encoder = embed.Encoder(str(embed.default_folder()), TOKENS, early=True)
    return lambda texts: encoder.run(embed.folded(pa.array(texts, pa.large_string()), TOKENS))


def _causal_model() -> Callable[[list[str]], object]:
    model = surprisal.CausalModel(surprisal.default_file(), TOKENS)
    return lambda texts: [
        model.measure(model.encode(text)) for text in embed.folded(pa.array(texts, pa.large_string()), TOKENS)
    ]


LINES: Final[dict[str, Callable[[Bench], Figures]]] = {
    "a": line_a, "b": line_b, "c": line_c, "d": line_d, "e": line_e, "f": line_f, "g": line_g, "h": line_h,
}  # fmt: skip
SECTIONS: Final = {
    "a": "never_trained_on", "b": "left_out", "c": "false_positives_left_out", "d": "calibration_error", "e": "share",
    "f": "models_of_2026", "g": "site_pooling", "h": "documents_per_second",
}  # fmt: skip


def main() -> None:
    """Show the lines asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared/data")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "curator-bench-origin")
    parser.add_argument("--only", default="".join(LINES), help="letters of the lines to show, as in a,c")
    parser.add_argument(
        "--sample", type=int, default=3_000, help="texts of fdg_family that the encoder sees beside Glimpse's"
    )
    parser.add_argument("--gathered", type=Path, help="dated human prose, as models/ai-text/gather.py writes it")
    parser.add_argument("--quick", action="store_true", help="few sets and texts; figures are printed, not kept")
    args = parser.parse_args()
    torch.set_num_threads(1)
    cache = args.cache / "quick" if args.quick else args.cache
    bench = Bench(args.data, cache, args.sample, args.gathered, args.quick)
    cache.mkdir(parents=True, exist_ok=True)
    for letter in (letter for letter in LINES if letter in args.only):
        start = time.monotonic()
        figures = LINES[letter](bench)
        print(f"\nline {letter}: {time.monotonic() - start:.0f} s", flush=True)
        if figures and not args.quick:
            keep(METRICS, {SECTIONS[letter]: figures})
    if FAILED:
        sys.exit(f"did not end well: {', '.join(FAILED)}; what they print above says why")


if __name__ == "__main__":
    main()
