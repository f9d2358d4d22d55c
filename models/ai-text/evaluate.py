"""Measure the shipped origin detector: `python models/ai-text/evaluate.py --data ../shared/data`.

Writes its sections of metrics.toml (figures, and floors that a test holds).  `--retrain` also learns the cheap path from freely licensed sets only, and from shuffled
labels.  `benchmarks/origin.py` writes the sections beside them: benchmarks, folds, shares, speed.
Nothing here is used to choose a setting.
"""

from __future__ import annotations

import argparse
import hashlib
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from sklearn.ensemble import HistGradientBoostingClassifier
from train import (
    CAPS,
    FREE,
    HERE,
    LICENCES,
    Corpus,
    Lesson,
    learn_cheap,
    prepare,
)  # fmt: skip

from curator.learn import SEED, Grams, cheap_logits
from curator.stages.ai_text import PATHS, log_odds, probability
from curator.stages.embed import head_logits, unsure
from curator.stages.ngram import Cheap, ai_text_config, ai_text_tensors, unfit
from curator.style import fold_text

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Figures = dict[str, Any]

DRAWS: Final = 200  # of the bootstrap
FLOORS: Final = {
    "auroc_cheap": 0.985, "tpr_at_1_cheap": 0.80, "auroc_fused": 0.988, "fpr_at_operating_point": 0.02, "ece": 0.03, "auroc_unseen": 0.90,
}  # fmt: skip


@dataclass(frozen=True)
class Estimate:
    """A figure and its bootstrap draws; prints with the 95 % percentile interval."""

    point: float
    draws: Floats

    @property
    def interval(self) -> tuple[float, float]:
        """The middle 95 % of the draws; NaN where no draw had both labels."""
        known = self.draws[np.isfinite(self.draws)]
        return (float(np.quantile(known, 0.025)), float(np.quantile(known, 0.975))) if known.size else (np.nan, np.nan)

    def __str__(self) -> str:
        """Point and interval, three digits."""
        low, high = self.interval
        return f"{self.point:.3f} ({low:.2f}–{high:.2f})" if np.isfinite(self.point) else "–"

    @classmethod
    def mean(cls, parts: Sequence[Estimate]) -> Estimate:
        """Mean over parts that were resampled apart; parts that have no figure do not count."""
        known = [part for part in parts if np.isfinite(part.point)]
        if not known:
            return cls(float("nan"), np.zeros(0))
        return cls(float(np.mean([p.point for p in known])), np.nanmean([p.draws for p in known], axis=0))


@dataclass(frozen=True)
class Ranking:
    """Texts in falling order of their logit, from which weights give AUROC and TPR without sorting again."""

    order: npt.NDArray[np.int64]  # [n] rows
    synthetic: Floats  # [n] 1 or 0, in that order
    ends: npt.NDArray[np.int64]  # [distinct logits] last place of each

    @classmethod
    def of(cls, label: Floats, logit: Floats) -> Ranking:
        """Sort once."""
        order = np.argsort(-logit, kind="stable")
        ordered = logit[order]
        ends = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
        return cls(order, label[order], ends)

    def figures(self, weight: Floats) -> Floats:
        """AUROC, TPR at 1 % and at 0.1 % false positives at most; NaN without both labels.  # [3]"""
        w = weight[self.order]
        true, false = (np.cumsum(part)[self.ends] for part in (w * self.synthetic, w * (1 - self.synthetic)))
        if true[-1] <= 0 or false[-1] <= 0:
            return np.full(3, np.nan)
        area = np.sum(np.diff(false, prepend=0.0) * (true + np.append(0.0, true[:-1])) / 2) / (true[-1] * false[-1])
        places = np.searchsorted(false, np.array([0.01, 0.001]) * false[-1] + 1e-9, side="right")
        return np.array([area, *(true[k - 1] / true[-1] if k else 0.0 for k in places)])


def auroc(label: Floats, logit: Floats) -> float:
    """Area under the ROC curve; NaN where a label is missing."""
    return float(Ranking.of(label, logit).figures(np.ones(len(label)))[0])


def tpr(label: Floats, logit: Floats, fpr: float = 0.01) -> float:
    """Share of machine text above the threshold that at most `fpr` of this very human text exceeds."""
    return float((logit[label == 1] > np.quantile(logit[label == 0], 1 - fpr, method="higher")).mean())


def group_weights(group: npt.NDArray[Any], draws: int = DRAWS) -> npt.NDArray[np.float64]:
    """How often each text is drawn when groups are drawn with replacement: a human text goes with its twins.  # [draws, n]"""
    rng = np.random.default_rng(SEED)
    _, code = np.unique(group, return_inverse=True)
    n = int(code.max(initial=-1)) + 1
    return np.stack([np.bincount(rng.integers(0, n, n), minlength=n)[code].astype(float) for _ in range(draws)])


def ranked(label: Floats, logit: Floats, group: npt.NDArray[Any], draws: int = DRAWS) -> dict[str, Estimate]:
    """AUROC and TPR at 1 % and 0.1 %, resampled by group."""
    ranking = Ranking.of(label, logit)
    point = ranking.figures(np.ones(len(label)))
    drawn = np.stack([ranking.figures(weight) for weight in group_weights(group, draws)])
    return {name: Estimate(float(point[i]), drawn[:, i]) for i, name in enumerate(("auroc", "tpr_at_1", "tpr_at_01"))}


def share(flags: Bools, group: npt.NDArray[Any], draws: int = DRAWS) -> Estimate:
    """Share of texts flagged, resampled by group."""
    if not len(flags):
        return Estimate(float("nan"), np.zeros(draws))
    weight = group_weights(group, draws)
    return Estimate(float(flags.mean()), (weight @ flags) / np.maximum(weight.sum(1), 1))


def ece(prob: Floats, label: Floats, weight: Floats, bins: int = 15) -> float:
    """Expected calibration error at prior 0.5, equal-width bins (Naeini et al. 2015)."""
    place = np.minimum((prob * bins).astype(int), bins - 1)
    gap, total = np.bincount(place, weight * (prob - label), bins), weight.sum()
    return float(np.abs(gap).sum() / total)


def balanced(label: Floats) -> Floats:
    """Weights that make both labels weigh the same."""
    return np.where(label == 1, 0.5 / label.mean(), 0.5 / (1 - label.mean()))


class Shipped:
    """The shipped detector applied to texts, by the code that serves."""

    def __init__(self) -> None:
        """Read config and weights, checked against their pins."""
        self.config = ai_text_config()
        self.cheap = Cheap.of(ai_text_tensors("cheap.safetensors"))
        self.head = ai_text_tensors("encoder.safetensors")

    def judge(self, texts: list[str]) -> Floats:
        """Cheap columns of texts; the last is the logit.  # [n, 5]"""
        return self.cheap.judge(pa.array(texts, pa.large_string()))

    def encoder(self, moments: npt.NDArray[np.float32]) -> Floats:
        """Encoder logits of early moments.  # [n]"""
        return head_logits(moments, self.head["weight"], float(self.head["constant"][0]))

    def log_odds(self, cheap: Floats, **tiers: Floats) -> Floats:
        """Log-odds at prior one half by the path of each text; a tier is NaN where it did not look.  # [n]"""
        return log_odds({"cheap": cheap, **tiers}, self.config["line"])[0]

    def flagged(self, cheap: Floats, **tiers: Floats) -> Bools:
        """Which are synthetic at the operating point of their path.  # [n]"""
        logit, path = log_odds({"cheap": cheap, **tiers}, self.config["line"])
        return logit >= np.array([self.config["operating_point"].get(name, np.inf) for name in PATHS])[path]

    def gate(self, cheap: Floats) -> Bools:
        """Which the encoder would see as unsure.  # [n]"""
        return unsure(cheap, self.config["gate"]["low"], self.config["gate"]["high"])

    def fit(self, judged: Floats) -> Bools:
        """Which texts are long enough and prose.  # [n]"""
        return np.array([why is None for why in unfit(judged[:, 2], judged[:, 3])], bool)


def in_domain(shipped: Shipped, corpus: Corpus, cheap: Floats, moments: npt.NDArray[np.float32]) -> Figures:
    """Held-out groups of the training sets, all rows with an encoder logit: each path, and the cascade as served."""
    y = corpus.label
    encoder, gated = shipped.encoder(moments), shipped.gate(cheap)
    served = np.where(gated, encoder, np.nan)
    logits = {
        "cheap": shipped.log_odds(cheap), "encoder": encoder, "fused": shipped.log_odds(cheap, encoder=encoder),
        "cascade": shipped.log_odds(cheap, encoder=served),
    }  # fmt: skip
    flags = shipped.flagged(cheap, encoder=served)
    made: Figures = {"documents": len(y), "gate_share": float(gated.mean())}
    made |= {name: ranked(y, logit, corpus.group) for name, logit in logits.items()}
    made["ece"] = {n: ece(probability(logits[n]), y, balanced(y)) for n in ("cheap", "fused", "cascade")}
    made["operating_point"] = {"fpr": float(flags[y == 0].mean()), "tpr": float(flags[y == 1].mean())}
    return made


def by_name(names: npt.NDArray[Any], flags: Bools, at_least: int = 40) -> dict[str, float]:
    """Share flagged by name, the worst first."""
    made = {str(n): float(flags[names == n].mean()) for n in np.unique(names) if (names == n).sum() >= at_least}
    return dict(sorted(made.items(), key=lambda item: -item[1]))


TYPESETTING: Final = ("\n", "\n\n", "“", "’", "  ", "*", "#", " ,", " .", "`", "—", "\t")
# What folding could leave behind of how a text was typeset: split contractions and punctuation, stray spaces, entities,
# wrongly decoded bytes, masks, tags and marks of markup.  Marks that a writer chooses (dashes, dots, signs) are style.
RESIDUE: Final = (
    " n't", "n 't", " 's", " ' ", " ,", " .", " ;", " :", " !", " ?", "( ", " )", "[", "]", "``", "''", "  ", "&amp", "&lt", "&gt", "&quot",
    "&nbsp", "&#", "Ã", "â€", "\u00a0", "\ufffd", ",,", ". . .", "@", "_", "<", ">", "\\", "^", "~", "|", "#", "*", "http",
)  # fmt: skip


def rates(text: str, marks: Sequence[str]) -> list[float]:
    """Occurrences of each mark by character."""
    return [text.count(mark) / max(1, len(text)) for mark in marks]


def probe(x: Floats, label: Floats, group: npt.NDArray[Any]) -> float:
    """AUROC of a boosted probe over features, trained and tested on different groups."""
    half = group % 2 == 0
    model = HistGradientBoostingClassifier(random_state=0).fit(x[half], label[half])
    return auroc(label[~half], model.predict_proba(x[~half])[:, 1])


def format_probe(corpus: Corpus, folded: bool, marks: Sequence[str] = TYPESETTING) -> float:
    """AUROC of a probe on typesetting alone: what must not tell the label in the text that the detector reads."""
    texts = [fold_text(text) if folded else text for text in corpus.text]
    return probe(np.array([rates(text, marks) for text in texts]), corpus.label, corpus.group)


def shuffled(found: Grams, corpus: Corpus, fit: npt.NDArray[np.int64], test: Bools) -> float:
    """AUROC of the cheap path trained on shuffled labels: chance, unless something leaks."""
    label = np.random.default_rng(SEED).permutation(corpus.label)
    return auroc(label[test], cheap_logits(found, learn_cheap(found, corpus, fit, fit[::4], label))[test, 2])


def licences(lesson: Lesson) -> Figures:
    """What leaving out the sets without a free licence costs the cheap path, over all held-out groups."""
    corpus, found, part, usable = lesson.corpus, lesson.found, lesson.part, lesson.usable
    made: Figures = {}
    test = (part == "test") & usable
    free = np.isin(corpus.dataset, [name for name in CAPS if LICENCES[name] in FREE])
    for name, keep in (("all sets", usable), ("freely licensed sets only", usable & free)):
        fit, tune = (np.flatnonzero((part == p) & keep) for p in ("train", "tune"))
        logit = cheap_logits(found, learn_cheap(found, corpus, fit, tune))[test, 2]
        made[name] = ranked(corpus.label[test], logit, corpus.group[test])
    return made


def audit(shipped: Shipped, kinds: Mapping[str, Sequence[str]]) -> Figures:
    """False positives of the cheap operating point on kinds of human text, and the gate's share there."""
    made: Figures = {}
    for name, texts in kinds.items():
        judged = shipped.judge(list(texts))
        logit = judged[shipped.fit(judged), 4]
        made[name] = {
            "documents": len(logit), "fpr": float(shipped.flagged(logit).mean()), "gate_share": float(shipped.gate(logit).mean()),
        }  # fmt: skip
    return made


def never_seen(data: Path) -> dict[str, list[str]]:
    """Human texts of sets that training never saw: school readers and news rewritten for learners."""
    made = {}
    for name in ("clear_readability", "onestop"):
        texts = pq.read_table(data / f"quality/{name}.parquet", columns=["text"])["text"].to_pylist()
        made[name] = [text for text in texts if text]
    return made


def evaluation_sha(corpus: Corpus) -> str:
    """sha256 over the held-out texts, so that a figure names what it was measured on."""
    hasher = hashlib.sha256()
    for text in corpus.text:
        hasher.update(hashlib.sha256(text.encode("utf-8", "replace")).digest())
    return hasher.hexdigest()


def toml(figures: Mapping[str, Any], path: str = "") -> list[str]:
    """Print nested figures as TOML lines; an estimate is point, low, high."""
    plain = {key: value for key, value in figures.items() if not isinstance(value, Mapping)}
    lines = ["", f"[{path}]"] if path and plain else []
    lines += [f'"{key}" = {_value(value)}' for key, value in plain.items()]
    for key, value in figures.items():
        if isinstance(value, Mapping):
            lines += toml(value, f'{path}."{key}"' if path else f'"{key}"')
    return lines


def _value(value: Any) -> str:
    if isinstance(value, Estimate):
        return _value([value.point, *value.interval])
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_value(one) for one in value)}]"
    if isinstance(value, (float, np.floating)):
        return repr(round(float(value), 4))
    return str(value).lower() if isinstance(value, bool) else repr(value).replace("'", '"')


def keep(path: Path, figures: Mapping[str, Any], drop: Callable[[str], bool] = lambda name: False) -> None:
    """Write sections into a file of figures, keeping the others; `drop` names sections that no longer hold."""
    known = tomllib.loads(path.read_text("utf-8")) if path.is_file() else {}
    kept = {name: value for name, value in known.items() if name not in figures and not drop(name)}
    path.write_text("\n".join(toml(dict(figures) | kept)).strip() + "\n", "utf-8")


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--gathered", type=Path, help="dated human prose, as gather.py writes it")
    parser.add_argument("--cache", type=Path, help="folder in which the encoder's moments are kept between runs")
    parser.add_argument(
        "--retrain", action="store_true", help="also learn from free sets only and from shuffled labels"
    )
    args = parser.parse_args()
    lesson = prepare(args.data, args.gathered, args.cache)
    write_metrics(Shipped(), lesson, args.data)
    if args.retrain:
        corpus, found, part, usable = lesson.corpus, lesson.found, lesson.part, lesson.usable
        fit, test = np.flatnonzero((part == "train") & usable), (part == "test") & usable
        figures = {
            "licences": licences(lesson),
            "shuffled": {"auroc": shuffled(found, corpus, fit, test)},
        }
        keep(HERE / "metrics.toml", figures)
    print((HERE / "metrics.toml").read_text("utf-8"))


def write_metrics(shipped: Shipped, lesson: Lesson, data: Path) -> None:
    """Write this file's sections of metrics.toml."""
    corpus = lesson.corpus
    test = np.flatnonzero((lesson.part == "test") & lesson.usable & (lesson.found.words >= 60))
    held = corpus.take(test)
    cheap = shipped.judge(held.text)[:, 4]
    seen = np.isin(lesson.rows, test)
    place = np.searchsorted(test, lesson.rows[seen])
    human, flags = held.label == 0, shipped.flagged(cheap)
    sampled = held.take(np.arange(0, len(held), 2))
    figures: Figures = {
        "evaluation_set_sha256": evaluation_sha(held),
        "floors": FLOORS,
        "held_out_cheap": {"documents": len(test), "auroc": auroc(held.label, cheap), "tpr_at_1": tpr(held.label, cheap)},
        "held_out": plain(in_domain(shipped, held.take(place), cheap[place], lesson.moments[seen])),
        "fpr_by_domain": by_name(held.domain[human], flags[human]),
        "tpr_by_domain": by_name(held.domain[~human], flags[~human]),
        "tpr_by_generator": by_name(held.generator[~human], flags[~human]),
        "probe": {
            "typesetting_raw": format_probe(sampled, False), "typesetting_folded": format_probe(sampled, True),
            "residue_raw": format_probe(sampled, False, RESIDUE), "residue_folded": format_probe(sampled, True, RESIDUE),
        },
        "human_sets_never_seen": audit(shipped, never_seen(data)),
    }  # fmt: skip
    # figures of earlier weights
    keep(HERE / "metrics.toml", figures, lambda name: name in ("transfer", "benchmark"))


def plain(figures: Mapping[str, Any]) -> Figures:
    """Points beside their intervals under names of their own, for readers that want a number."""
    made: Figures = {}
    for name, value in figures.items():
        if isinstance(value, Estimate):
            made |= {name: value.point, f"{name}_interval": list(value.interval)}
        else:
            made[name] = plain(value) if isinstance(value, Mapping) else value
    return made


if __name__ == "__main__":
    main()
