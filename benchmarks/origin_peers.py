"""Detectors of machine text side by side, on Glimpse's cells of fdg_family and on base models' continuations.

    python benchmarks/origin_peers.py --cache FOLDER [--data ../shared/data] [--sample 30] [--only-kept]

    is-it-slop       its probability, on the text as it is (package of that name, in the extra `bench`)
    Fast-DetectGPT   conditional probability curvature by SmolLM2-135M, on the text as it is
    second tier      ai_surprisal_logit, on folded text
    detector         ai_logit of the shipped detector, as served (ngram, embed by its gate, ai_text)
    fused            the detector with the second tier on every text

`--sample` pairs of a cell, chosen by the hash of their group, the same humans in every cell of a domain.  The cache keeps
every token's measures; scores.parquet in it holds each text's scores.  Nothing here trains on the benchmark.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import importlib.util
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

ROOT: Final = Path(__file__).parent.parent


def _tier() -> Any:
    """models/surprisal/train.py, which keeps the measures of tokens; its name is that of another model's script."""
    spec = importlib.util.spec_from_file_location("surprisal_train", ROOT / "models/surprisal/train.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


tier = _tier()

from curator import ids  # noqa: E402
from curator.stages.ai_text import log_odds  # noqa: E402
from curator.stages.embed import Embed, folded  # noqa: E402
from curator.stages.ngram import CheapOrigin, ai_text_config  # noqa: E402
from curator.stages.surprisal import CausalModel, curvature, default_file, features, surprisal_config  # noqa: E402

Floats = npt.NDArray[np.float64]

GLIMPSE: Final = (
    "gpt-3.5-turbo", "gpt-4", "claude-3-sonnet-20240229", "claude-3-opus-20240229", "gemini-1.5-pro",
)  # fmt: skip
BASE: Final = ("gpt2-xl", "gpt-j-6B", "gpt-neox-20b")
CELLS: Final = [(d, g) for d in ("xsum", "writing", "pubmed") for g in GLIMPSE] + [
    (d, g) for d in ("xsum", "writing", "squad") for g in BASE
]
PUBLISHED: Final = {
    "sampling_discrepancy_analytic_threshold": "Fast-DetectGPT", "pde_fastdetect_geometric_threshold": "Glimpse",
}  # fmt: skip
DRAWS: Final = 1_000  # of the bootstrap over groups


def rows_of(data: Path, sample: int) -> list[dict[str, Any]]:
    """Texts of every cell: `sample` groups of a domain by hash, one human text and one machine text each."""
    columns = ["text", "label", "group", "split", "source"]
    table = pq.read_table(data / "detect/benchmark/fdg_family.parquet", columns=columns)
    wanted = {f"exp_main/data/{domain}_{generator}": (domain, generator) for domain, generator in CELLS}
    found: dict[tuple[str, str], dict[str, dict[str, list[str]]]] = {}
    for row in table.to_pylist():
        domain, generator = wanted.get(row["split"], ("", ""))
        if domain and row["text"] and row["source"].endswith("glimpse" if generator in GLIMPSE else "fast-detect-gpt"):
            sides = found.setdefault((domain, generator), {}).setdefault(row["group"], {})
            sides.setdefault(row["label"], []).append(row["text"])
    made = []
    for family in (GLIMPSE, BASE):
        for domain in sorted({d for d, g in CELLS if g in family}):
            cells = [found[domain, generator] for generator in family]
            whole = [group for group in cells[0] if all(len(cell.get(group, {})) == 2 for cell in cells)]
            for group in sorted(whole, key=lambda g: hashlib.blake2b(g.encode(), digest_size=8).hexdigest())[:sample]:
                longest = max((cell[group]["human"][0] for cell in cells), key=len)
                for generator, cell in zip(family, cells, strict=True):
                    for label in ("human", "synthetic"):
                        made.append(
                            {
                                "cell": f"{domain} {generator}", "family": "Glimpse's" if family is GLIMPSE else "base models'",
                                "group": f"{domain}/{group}", "label": float(label == "synthetic"), "text": cell[group][label][0],
                                "longest": longest if label == "human" else None,
                            }
                        )  # fmt: skip
    return made


def measures(cache: Any, model: CausalModel, text: str, longest: str | None, measure: bool) -> Floats | None:
    """Measure a text's tokens; a human text that a cell cut shorter than another is read off the longer one.

    A causal model's measures of a beginning are those of the whole, so only where the cut splits a word does it differ.
    """
    if longest is None or longest == text:
        return cache.get(text, measure)  # type: ignore[no-any-return]
    tokens, whole = model.encode(text), model.encode(longest)
    if tokens != whole[: len(tokens)]:
        tokens = tokens[:-1]
    found = cache.get(longest, measure) if tokens == whole[: len(tokens)] else cache.get(text, measure)
    return None if found is None else found[:, : len(tokens) - 1]


def detector(texts: list[str]) -> dict[str, Floats]:
    """Logits of the shipped detector's paths as served: nan where the encoder did not look.  # [n] each"""
    column = pa.array(texts, pa.large_string())
    cheap = CheapOrigin().open()(pa.RecordBatch.from_arrays([column], ["text"]))
    names = pa.array([ids.doc_id("peers", str(row)) for row in range(len(texts))], pa.binary(16))
    batch = pa.RecordBatch.from_arrays(
        [names, column, cheap["ai_cheap_logit"], cheap["ai_unfit"]], ["doc_id", "text", "ai_cheap_logit", "ai_unfit"]
    )
    encoder = Embed(sample=0.0).open()(batch)["ai_encoder_logit"]
    values = {"cheap": cheap["ai_cheap_logit"], "encoder": encoder}
    return {name: value.fill_null(np.nan).to_numpy(zero_copy_only=False) for name, value in values.items()}


def slop(texts: list[str]) -> Floats:
    """Probability that is-it-slop gives; nan everywhere where it is not installed."""
    try:
        from is_it_slop import is_this_slop
    except ImportError as error:  # not installed, or its wheel wants a newer C library than its name says
        print(f"is-it-slop is left out ({error}); it comes with pip install is-it-slop==0.6.3")
        return np.full(len(texts), np.nan)
    return np.array([is_this_slop(text).ai_probability for text in texts], np.float64)


def timed(name: str, call: Callable[[], Any], count: int) -> Any:
    """Run, and print documents a CPU-second."""
    start = time.process_time()
    found = call()
    print(f"{name:<28} {count / max(1e-9, time.process_time() - start):10.1f} documents/CPU-s")
    return found


def published(data: Path) -> dict[tuple[str, str], float]:
    """AUROC that the authors printed by cell and method: the white-box-free Fast-DetectGPT, and the best Glimpse."""
    best: dict[tuple[str, str], float] = {}
    with open(data / "detect/benchmark/published_baselines.csv", encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            name = PUBLISHED.get(row["detector"])
            if (
                name is None
                and row["detector"] == "sampling_discrepancy_threshold"
                and "gpt-j-6B_gpt-neo-2.7B" in row["file"]
            ):
                name = "Fast-DetectGPT"
            for domain, generator in CELLS:
                if name and row["path"].split("/")[-1].startswith(f"{domain}_{generator}."):
                    key = (f"{domain} {generator}", name)
                    best[key] = max(best.get(key, 0.0), float(row["roc_auc"]))
    return best


def table(rows: list[dict[str, Any]], scores: dict[str, Floats], printed: dict[tuple[str, str], float]) -> None:
    """Print AUROC of each cell beside the published figures, and each family's means with intervals."""
    label = np.array([row["label"] for row in rows])
    cell, family, group = (np.array([row[name] for row in rows]) for name in ("cell", "family", "group"))
    print("\nAUROC | " + " | ".join(["cell", "pairs", *scores, *(f"published {n}" for n in PUBLISHED.values())]))
    for name in dict.fromkeys(cell.tolist()):
        at = cell == name
        figures = [f"{tier.ranked(score[at], label[at])[0]:.3f}" for score in scores.values()]
        known = [f"{printed[name, n]:.3f}" if (name, n) in printed else "–" for n in PUBLISHED.values()]
        print(" | ".join([name, str(int(label[at].sum())), *figures, *known]))
    for name in dict.fromkeys(family.tolist()):
        at = np.flatnonzero(family == name)
        print(f"\nmean over {name} cells, 95 % interval over groups; TPR at 1 % FPR over all their texts")
        for title, score in scores.items():
            mean, low, high = interval(score[at], label[at], cell[at], group[at])
            pooled, found = tier.ranked(score[at], label[at])
            print(f"  {title:<16} AUROC {mean:.3f} [{low:.3f}, {high:.3f}]  pooled {pooled:.3f}  TPR {found:.3f}")
        known = {n: [v for (c, m), v in printed.items() if m == n and c in set(cell[at])] for n in PUBLISHED.values()}
        print("  published: " + ", ".join(f"{n} {np.mean(v):.3f}" for n, v in known.items() if v))


def interval(score: Floats, label: Floats, cell: Any, group: Any) -> tuple[float, float, float]:
    """Mean AUROC over cells and its 95 % interval by a bootstrap over groups, which recur in the cells of a domain."""
    rng = np.random.default_rng(0)
    names, place = np.unique(group, return_inverse=True)
    cells = [np.flatnonzero(cell == name) for name in np.unique(cell)]

    def mean(count: Any) -> float:
        return float(
            np.mean([weighted_area(score[at], label[at], count[place[at]]) for at in cells if count[place[at]].any()])
        )

    draws = [mean(np.bincount(rng.integers(0, names.size, names.size), minlength=names.size)) for _ in range(DRAWS)]
    low, high = np.quantile(draws, [0.025, 0.975])
    return mean(np.ones(names.size, np.int64)), float(low), float(high)


def weighted_area(score: Floats, label: Floats, count: Any) -> float:
    """AUROC where each text counts `count` times."""
    human, machine = label == 0, label == 1
    above = (score[machine][:, None] > score[human]) + 0.5 * (score[machine][:, None] == score[human])
    weights = count[machine][:, None] * count[human]
    return float((above * weights).sum() / weights.sum())


def main() -> None:
    """Score every text by every detector, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--sample", type=int, default=30)
    parser.add_argument("--only-kept", action="store_true", help="use the texts measured already, measure none")
    args = parser.parse_args()
    rows = rows_of(args.data, args.sample)
    model = CausalModel(default_file(), tier.MAX_TOKENS)
    cache = tier.TokenCache(args.cache / "tok", model)
    forms = [row["text"] for row in rows], [row["longest"] for row in rows]
    plain = [measures(cache, model, a, b, not args.only_kept) for a, b in zip(*forms, strict=True)]
    smooth = [folded(pa.array(form, pa.large_string()), tier.MAX_TOKENS) for form in forms]
    longest = [text if row["longest"] else None for text, row in zip(smooth[1], rows, strict=True)]
    folds = [measures(cache, model, a, b, not args.only_kept) for a, b in zip(smooth[0], longest, strict=True)]
    cache.keep()
    both = [a is not None and b is not None for a, b in zip(plain, folds, strict=True)]
    twins: dict[tuple[str, str], int] = {}
    for row, known in zip(rows, both, strict=True):
        twins[row["cell"], row["group"]] = twins.get((row["cell"], row["group"]), 0) + known
    at = [k for k, row in enumerate(rows) if twins[row["cell"], row["group"]] == 2]  # both of a pair, or neither
    rows, texts = [rows[k] for k in at], [rows[k]["text"] for k in at]
    if cache.count:
        print(f"{'causal model':<28} {cache.count / cache.seconds:10.1f} documents/CPU-s")
    line = surprisal_config()["line"]
    logits = timed("detector, as served", lambda: detector(texts), len(texts))
    logits["surprisal"] = tier.judge(line, np.array([features(folds[k]) for k in at]))
    lines = surprisal_config()["joined"] | ai_text_config()["line"]
    scores = {
        "is-it-slop": timed("is-it-slop", lambda: slop(texts), len(texts)),
        "Fast-DetectGPT": np.array([curvature(plain[k]) for k in at]),
        "second tier": logits["surprisal"],
        "detector": log_odds({name: logits[name] for name in ("cheap", "encoder")}, lines)[0],
        "fused": log_odds(logits, lines)[0],
    }
    scores["folded curvature"] = np.array([curvature(folds[k]) for k in at])
    keys = [hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=16).hexdigest() for text in texts]
    names = {name: [row[name] for row in rows] for name in ("cell", "group", "label")}
    pq.write_table(pa.table({"text_hash": keys, **names, **logits, **scores}), args.cache / "scores.parquet")
    table(rows, {name: score for name, score in scores.items() if not np.isnan(score).all()}, published(args.data))


if __name__ == "__main__":
    main()
