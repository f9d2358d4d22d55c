"""Fit the second tier's line: `python models/surprisal/train.py --data ../shared/data --cache FOLDER`.

Texts come from the origin detector's training sets (`models/ai-text/train.py`: cleaned, cut, grouped), tokens from
the model that serves.  Base models' continuations, which those sets lack, are sampled from the model itself; since a
model knows its own samples best, every figure is printed with and without them.  Nothing of the benchmarks is read.
Writes the line and the gate into config.toml.  The cache keeps the texts chosen, the continuations and every token's
measures, so a run that was stopped goes on where it was; delete it to choose anew.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import os
import sys
import time
import tomllib
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

HERE: Final = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "ai-text"))

from curator.ids import text_hash  # noqa: E402
from curator.learn import cell_weights, encode, grams, logistic  # noqa: E402
from curator.stages.ai_text import log_odds  # noqa: E402
from curator.stages.embed import folded, unsure  # noqa: E402
from curator.stages.ngram import ai_text_config, ai_text_tensors  # noqa: E402
from curator.stages.surprisal import FEATURES, CausalModel, default_file, features  # noqa: E402

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.int64]
Names = npt.NDArray[np.str_]

SEED: Final = 20_240_501
MAX_TOKENS: Final = 256
SIZES: Final = {"train": 900, "tune": 700, "test": 400}  # texts by part of the split, half of them human
BASE: Final = ("gpt2-xl", "text-curie-001", "text-babbage-001", "llm-watermarked")  # continue rather than answer
BASE_SHARE: Final = 0.15  # of the machine texts' weight when they are chosen
PREFIX_TOKENS, NEW_TOKENS, AT_ONCE = 32, 176, 32
TOP_P: Final = (1.0, 0.95, 0.9)  # of the continuations, in turn; temperature 1
RIDGE: Final = 1e-2  # on standardised features, beside a mean loss of about 0.3
GREY: Final = 0.04  # share of the tune part that the gate lets in
JOINED: Final = {
    "surprisal": ("cheap", "surprisal"),
    "encoder": ("cheap", "encoder"),
    "encoder and surprisal": ("cheap", "encoder", "surprisal"),
}
SHORTEST: Final = 40  # tokens of a text that is learned from
KEPT_AT_ONCE: Final = 20


class TokenCache:
    """Every token's measures by the hash of the tokens read, in a folder of Parquet files, so that a run may stop."""

    def __init__(self, folder: Path, model: CausalModel) -> None:
        """Read what is kept."""
        self.folder, self.model, self.seconds, self.count = folder, model, 0.0, 0
        folder.mkdir(parents=True, exist_ok=True)
        self._known: dict[bytes, Floats] = {}
        self._fresh: list[bytes] = []
        for path in sorted(folder.glob("*.parquet")):
            kept = pq.read_table(path)
            for key, flat in zip(kept["key"].to_pylist(), kept["tokens"], strict=True):
                self._known[key] = np.asarray(flat.values.to_numpy(), np.float64).reshape(4, -1)

    def get(self, text: str, measure: bool = True) -> Floats | None:
        """Measure a text, or look it up; None where it is not kept and `measure` is false.  # [4, tokens - 1]"""
        tokens = self.model.encode(text)
        key = hashlib.blake2b(np.array(tokens, np.int32).tobytes(), digest_size=16).digest()
        if key not in self._known and measure:
            start = time.process_time()
            self._known[key] = self.model.measure(tokens).astype(np.float32).astype(np.float64)
            self.seconds += time.process_time() - start
            self.count += 1
            self._fresh.append(key)
            if len(self._fresh) == KEPT_AT_ONCE:
                self.keep()
        return self._known.get(key)

    def keep(self) -> None:
        """Write what was measured since the last time."""
        if not self._fresh:
            return
        name = hashlib.blake2b(b"".join(self._fresh), digest_size=12).hexdigest()
        values = [self._known[key].astype(np.float32).reshape(-1) for key in self._fresh]
        table = {"key": pa.array(self._fresh, pa.binary()), "tokens": pa.array(values, pa.list_(pa.float32()))}
        pq.write_table(pa.table(table), self.folder / f"{name}.tmp")
        os.replace(self.folder / f"{name}.tmp", self.folder / f"{name}.parquet")
        self._fresh = []


def choose(corpus: Any) -> pa.Table:
    """Choose texts of the detector's corpus, spread over domains and parts, parts and labels taking turns."""
    from train import usable_rows  # type: ignore[attr-defined]  # models/ai-text/train.py

    rows = _spread(corpus, usable_rows(corpus, grams(corpus.text)))
    columns = {name: getattr(corpus, name)[rows] for name in ("label", "domain", "generator", "n_words")}
    texts = [corpus.text[i] for i in rows]
    keys = pa.array([text_hash(text.encode("utf-8", "replace")) for text in texts], pa.binary(16))
    return pa.table({"text": folded(pa.array(texts, pa.large_string()), MAX_TOKENS), "key": keys, **columns})


def placed(texts: pa.Table, corpus: Any) -> list[dict[str, Any]]:
    """Say on which side of today's split each text lies; one that left the corpus is left out.

    The sides are never kept: where the detector is trained anew on another split, texts it has seen would pass for held out.
    """
    keys = (text_hash(text.encode("utf-8", "replace")) for text in corpus.text)
    part = dict(zip(keys, corpus.part.tolist(), strict=True))
    rows = [row | {"part": part[row["key"]]} for row in texts.to_pylist() if row["key"] in part]
    print(f"{len(rows)} of {texts.num_rows} texts are in the corpus")
    return rows


def _spread(corpus: Any, usable: Bools) -> Rows:
    rng = np.random.default_rng(SEED)
    base = np.isin(corpus.generator, BASE)
    cell = np.char.add(corpus.domain.astype(str), base.astype(str))
    chosen: list[tuple[float, int]] = []
    for part, size in SIZES.items():
        for label in (0.0, 1.0):
            at = np.flatnonzero((corpus.part == part) & usable & (corpus.label == label))
            _, place, count = np.unique(cell[at], return_inverse=True, return_counts=True)
            weight = 1.0 / np.sqrt(count[place])
            if base[at].any():
                weight[base[at]] *= BASE_SHARE / (1 - BASE_SHARE) * weight[~base[at]].sum() / weight[base[at]].sum()
            keys = np.log(rng.random(at.size)) / weight
            found = at[np.argsort(-keys)[: size // 2]]
            chosen += [((k + 0.5) / found.size, int(row)) for k, row in enumerate(found)]
    return np.array([row for _, row in sorted(chosen)], np.int64)


def continuations(texts: pa.Table, count: int) -> pa.Table:
    """Let the model continue the first words of `count` human texts; each stays on its text's side of the split."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    torch.manual_seed(SEED)
    path = default_file()
    tokenizer: Any = AutoTokenizer.from_pretrained(str(path.parent), gguf_file=path.name, local_files_only=True)
    model: Any = AutoModelForCausalLM.from_pretrained(
        str(path.parent), gguf_file=path.name, local_files_only=True, dtype=torch.bfloat16,
        quantization_config=GgufConfig(dequantize=True),
    )  # fmt: skip
    human = [row for row in texts.to_pylist() if row["label"] == 0 and row["n_words"] >= 120][:count]
    made = []
    for at in range(0, len(human), AT_ONCE):
        batch, top_p = human[at : at + AT_ONCE], TOP_P[at // AT_ONCE % len(TOP_P)]
        prefix = torch.tensor([tokenizer(row["text"])["input_ids"][:PREFIX_TOKENS] for row in batch])
        found = model.eval().generate(
            prefix, attention_mask=torch.ones_like(prefix), do_sample=True, temperature=1.0, top_k=0, top_p=top_p,
            max_new_tokens=NEW_TOKENS, eos_token_id=None, pad_token_id=tokenizer.pad_token_id,
        )  # fmt: skip
        written = tokenizer.batch_decode(found, skip_special_tokens=True)
        made += [row | {"text": text, "top_p": top_p} for row, text in zip(batch, written, strict=True)]
    table = pa.Table.from_pylist(made)
    text = pa.array(folded(table["text"].combine_chunks().cast(pa.large_string()), MAX_TOKENS))
    return table.set_column(table.schema.get_field_index("text"), "text", text)


def kept(path: Path, make: Any) -> pa.Table:
    """Read a table of the cache; make it first where it is not there."""
    if not path.is_file():
        pq.write_table(make(), path)
    return pq.read_table(path)


def fit(x: Floats, label: Floats, weight: Floats) -> dict[str, float]:
    """Fit the logistic line: ridge on standardised features, and the weight of the curvature never below zero.

    A text above the model's expectation is machine-like in any domain; that other features explain the same in the
    training sets is no reason to count it for human elsewhere.
    """
    from scipy.optimize import minimize

    middle, scale = np.average(x, axis=0, weights=weight), x.std(0) + 1e-9
    z = np.column_stack([(x - middle) / scale, np.ones(len(x))])
    share, sign = weight / weight.sum(), 2.0 * label - 1.0

    def loss(w: Floats) -> tuple[float, Floats]:
        margin = sign * (z @ w)
        slope = -share * sign / (1.0 + np.exp(np.clip(margin, -500, 500)))
        ridge = np.append(w[:-1], 0.0)
        return float(share @ np.logaddexp(0.0, -margin) + RIDGE * ridge @ ridge / 2), z.T @ slope + RIDGE * ridge

    limits = [(0.0, None) if name == "curvature_rate" else (None, None) for name in FEATURES] + [(None, None)]
    found = minimize(loss, np.zeros(z.shape[1]), jac=True, method="L-BFGS-B", bounds=limits).x
    slopes = found[:-1] / scale
    return dict(zip(FEATURES, map(float, slopes), strict=True)) | {"constant": float(found[-1] - middle @ slopes)}


def judge(line: dict[str, float], x: Floats) -> Floats:
    """The line's logit of every row.  # [n]"""
    return np.asarray(x @ np.array([line[name] for name in FEATURES]) + line["constant"], np.float64)


def ranked(score: Floats, label: Floats) -> tuple[float, float]:
    """AUROC, and the share of machine text above the score that 1 % of human text reaches."""
    human, machine = np.sort(score[label == 0]), score[label == 1]
    left, right = np.searchsorted(human, machine, "left"), np.searchsorted(human, machine, "right")
    limit = human[-1 - int(0.01 * human.size)]
    return float(((left + right) / 2).mean() / human.size), float((machine > limit).mean())


def report(title: str, scores: dict[str, Floats], label: Floats) -> None:
    """Print AUROC and TPR at 1 % FPR of each score over the rows where all are known."""
    print(f"\n{title}: {int((label == 0).sum())} human, {int((label == 1).sum())} machine")
    for name, score in scores.items():
        area, found = ranked(score, label) if 0 < label.sum() < label.size else (np.nan, np.nan)
        print(f"  {name:<28} AUROC {area:.3f}  TPR at 1 % FPR {found:.3f}")


def study(folder: Path, texts: list[dict[str, Any]], own: list[dict[str, Any]], measure: bool, lesson: Any) -> None:
    """Measure the texts, fit and report the line without and with continuations, and how it joins the other paths."""
    model = CausalModel(default_file(), MAX_TOKENS)
    cache = TokenCache(folder / "tok", model)
    rows = [row | {"own": False} for row in texts] + [
        row | {"own": True, "label": 1.0, "generator": "own"} for row in own
    ]
    tokens = [cache.get(row["text"], measure) for row in rows]
    cache.keep()
    at = [k for k, found in enumerate(tokens) if found is not None and found.shape[1] >= SHORTEST]
    rows, x = [rows[k] for k in at], np.array([features(tokens[k]) for k in at])  # type: ignore[arg-type]
    column = {name: np.array([row[name] for row in rows]) for name in ("label", "domain", "part", "own", "generator")}
    label, mine, part = column["label"].astype(np.float64), column["own"].astype(bool), column["part"]
    domain = np.where(mine, "own", column["domain"])
    weight = cell_weights(domain, label)
    base = np.isin(column["generator"], BASE)
    plain = fit(x[(part == "train") & ~mine], label[(part == "train") & ~mine], weight[(part == "train") & ~mine])
    line = fit(x[part == "train"], label[part == "train"], weight[part == "train"])
    print("line without continuations:", plain, "\nline with them:", line)
    held = part != "train"
    scores = {"line without continuations": judge(plain, x), "line with them": judge(line, x)}
    scores |= {
        "curvature per √token": x[:, FEATURES.index("curvature_rate")],
        "- entropy": -x[:, FEATURES.index("entropy")],
    }
    kinds = {"all but continuations": ~mine, "base models of the training sets": base | (label == 0) & ~mine}
    kinds |= {"continuations (white box: flatters)": mine | (label == 0) & ~mine}
    for name, kind in kinds.items():
        report(f"held out, {name}", {k: v[held & kind] for k, v in scores.items()}, label[held & kind])
    join(rows, judge(line, x), line, lesson)


def join(rows: list[dict[str, Any]], surprisal: Floats, line: dict[str, float], lesson: Any) -> None:
    """Fit lines that join the tiers on unseen scores (each text judged by a detector without its set); set the gate; write."""
    cheap, encoder, weight, at = unseen_logits(rows, lesson)
    label = np.array([float(row["label"]) for row in rows])[at]
    tiers = {"cheap": cheap, "encoder": encoder, "surprisal": surprisal[at]}
    known = ~np.isnan(cheap + encoder)
    joined: dict[str, dict[str, float]] = {}
    for path, names in JOINED.items():
        both = np.column_stack([tiers[name] for name in names])
        found = logistic(both[known], label[known], weight[known])
        joined[path] = dict(zip((*names, "constant"), map(float, found), strict=True))
        tiers[f"joined: {path}"] = both @ found[:-1] + found[-1]
        print(path, {name: round(value, 4) for name, value in joined[path].items()})
    report("unseen scores", {name: score[known] for name, score in tiers.items()}, label[known])
    config = ai_text_config()
    seen = unsure(cheap, config["gate"]["low"], config["gate"]["high"])
    odds, path = log_odds({"cheap": cheap, "encoder": np.where(seen, encoder, np.nan)}, config["line"])
    away = np.abs(odds - np.where(path > 0, config["operating_point"]["encoder"], config["operating_point"]["cheap"]))
    order = np.argsort(away[known])
    reach = away[known][order][np.searchsorted(np.cumsum(weight[known][order]) / weight[known].sum(), GREY)]
    point = config["operating_point"]["encoder"]
    write(line, joined, float(point - reach), float(point + reach))


def unseen_logits(rows: list[dict[str, Any]], lesson: Any) -> tuple[Floats, Floats, Floats, Rows]:
    """Unseen logits of the cheap path and the encoder and the weight of the rows that the corpus holds; which these are."""
    from train import unseen  # type: ignore[attr-defined]  # models/ai-text/train.py

    keys = [text_hash(text.encode("utf-8", "replace")) for text in lesson.corpus.text[: len(lesson.usable)]]
    place = {key: row for row, key in enumerate(keys) if lesson.usable[row]}
    at = np.array([k for k, row in enumerate(rows) if not row["own"] and row["key"] in place])
    where = np.array([place[rows[k]["key"]] for k in at])
    moments = encode([lesson.corpus.text[row] for row in where])
    seen = dataclasses.replace(
        lesson, rows=np.concatenate([lesson.rows, where]), moments=np.concatenate([lesson.moments, moments])
    )
    score = unseen(seen)[where]
    fusion = ai_text_tensors("cheap.safetensors")["fusion"]
    return score[:, :2] @ fusion[:2] + fusion[2], score[:, 2], lesson.weight[where], at


def write(line: dict[str, float], joined: dict[str, dict[str, float]], low: float, high: float) -> None:
    """Replace the lines and the gate in config.toml; what pins the model stays."""
    path = HERE / "config.toml"
    head = path.read_text("utf-8").split("\n# Fitted by train.py", 1)[0].rstrip("\n")
    sections = {"line": line, "gate": {"low": low, "high": high}}
    sections |= {f'joined."{path}"': values for path, values in joined.items() if "surprisal" in values}
    rows = [
        [f"[{name}]", *(f"{key} = {value!r}" for key, value in part.items()), ""] for name, part in sections.items()
    ]
    fitted = [
        "# Fitted by train.py: ai_surprisal_logit = constant + weights of the features; the gate in log-odds; log-odds of",
        "# the tiers joined (constant + weights of their logits), by path.",
    ]
    path.write_text("\n".join([head, "", *fitted, *(row for part in rows for row in part)]), "utf-8")
    tomllib.loads(path.read_text("utf-8"))


def main() -> None:
    """Choose, measure, fit, report, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--gathered", type=Path, help="dated human prose that the detector was trained with")
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--continuations", type=int, default=192)
    parser.add_argument("--only-kept", action="store_true", help="use the texts measured already, measure none")
    args = parser.parse_args()
    from train import prepare  # type: ignore[attr-defined]  # models/ai-text/train.py

    args.cache.mkdir(parents=True, exist_ok=True)
    lesson = prepare(args.data, args.gathered, args.cache)
    corpus = lesson.corpus.take(lesson.part != "")
    texts = kept(args.cache / "texts.parquet", lambda: choose(corpus))
    own = kept(args.cache / "continuations.parquet", lambda: continuations(texts, args.continuations))
    study(args.cache, placed(texts, corpus), placed(own, corpus), not args.only_kept, lesson)


if __name__ == "__main__":
    main()
