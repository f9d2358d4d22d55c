"""Learning the origin detector's parts: n-gram table, style network, encoder head, fusion, calibration, thresholds.

Features come from the kernels that serve (`curator.stages.ngram`, `curator.stages.embed`), so training and
serving cannot drift.  Needs the extra `train` (scikit-learn).  Everything is drawn from `SEED` in one thread's
order: the same texts give the same tensors.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curator.errors import ModelError
from curator.ids import file_sha256, text_hash
from curator.kernels import kernel
from curator.stages import ngram
from curator.stages._detector import made_with
from curator.stages.embed import EARLY, Encoder, default_folder, folded
from curator.style import PREFIX, Codepoints, fold, tables, utf8

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Names = npt.NDArray[np.str_]
Tensors = dict[str, npt.NDArray[Any]]

SEED: Final = 20_240_501
BACKGROUND: Final = "background.parquet"
SHINGLE: Final = 8  # tokens of a run by which copies are found


# --- Which texts count for how much ----------------------------------------------------------------


def cell_weights(domain: Names, label: Floats) -> Floats:
    """Weigh rows so that no domain and label dominates and both labels weigh the same.  # [n]

    A cell of a domain and a label weighs as the fourth root of its size: on sets left out better than √ or no weights.
    """
    cell = np.char.add(domain.astype(str), label.astype(str))
    _, place, count = np.unique(cell, return_inverse=True, return_counts=True)
    weight = np.asarray(count[place] ** -0.75, np.float64)
    for value in (0.0, 1.0):
        side = label == value
        weight[side] /= max(1e-12, float(weight[side].sum()))
    return weight * len(label) / 2.0


def spread(weight: Floats, n: int) -> Rows:
    """Choose n rows by weight, without replacement and by a fixed draw (Efraimidis and Spirakis 2006, A-ES)."""
    rng = np.random.default_rng(SEED)
    keys = np.log(rng.random(len(weight))) / np.maximum(weight, 1e-12)
    return np.sort(np.argsort(-keys)[:n])


# --- The cheap path: n-grams and style -------------------------------------------------------------


@dataclass(frozen=True)
class Grams:
    """Every text's buckets and style rates: row r's buckets are flat[start[r]:start[r + 1]].

    flat: [total] int32; start: [n + 1] int64; style: [n, STYLES] float64; words, share: [n] float64.
    """

    flat: npt.NDArray[np.int32]
    start: Rows
    style: Floats
    words: Floats
    share: Floats


@kernel
def _all_buckets(
    data: npt.NDArray[np.uint8],
    offsets: Rows,
    table: Codepoints,
    lower: Codepoints,
    kind: npt.NDArray[np.uint8],
    start: Rows,
    flat: npt.NDArray[np.int32],
    style: Floats,
    words: Floats,
    share: Floats,
) -> int:
    codes = np.empty(PREFIX + 8, np.int32)
    starts, stops = np.empty(PREFIX + 8, np.int32), np.empty(PREFIX + 8, np.int32)
    hashes = np.empty(PREFIX + 8, np.uint64)
    seen = np.empty(3 * 1024, np.int64)
    k = 0
    for row in range(offsets.size - 1):
        n = fold(data, offsets[row], offsets[row + 1], table, kind, codes)
        m = ngram.split_tokens(codes, n, lower, kind, starts, stops, hashes)
        start[row] = k
        k += ngram.word_buckets(hashes, m, flat[k:])
        words[row] = ngram.style_rates(codes, m, kind, lower, starts, stops, hashes, seen, style[row])
        share[row] = words[row] / max(1, m)
    start[offsets.size - 1] = k
    return k


def grams(texts: list[str]) -> Grams:
    """Hash every text with the kernels that serve."""
    table = tables()
    data, offsets = utf8(pa.array(texts, pa.large_string()))
    flat = np.empty(int(data.size * 3) + 8 * PREFIX, np.int32)
    start, style = np.zeros(len(texts) + 1, np.int64), np.zeros((len(texts), ngram.STYLES))
    words, share = np.zeros(len(texts)), np.zeros(len(texts))
    total = _all_buckets(data, offsets, table.fold, table.lower, table.kind, start, flat, style, words, share)
    return Grams(flat[:total], start, style, words, share)


def taken(found: Grams, rows: Rows) -> Grams:
    """The buckets and style rates of some rows."""
    parts = [found.flat[found.start[row] : found.start[row + 1]] for row in rows]
    start = np.concatenate([[0], np.cumsum([part.size for part in parts])]).astype(np.int64)
    flat = np.concatenate([*parts, np.zeros(0, np.int32)]).astype(np.int32)
    return Grams(flat, start, found.style[rows], found.words[rows], found.share[rows])


def joined(first: Grams, second: Grams) -> Grams:
    """The rows of both, one after another."""
    return Grams(
        np.concatenate([first.flat, second.flat]),
        np.concatenate([first.start, first.start[-1] + second.start[1:]]),
        *(np.concatenate([getattr(first, name), getattr(second, name)]) for name in ("style", "words", "share")),
    )


@kernel
def _learn(
    flat: npt.NDArray[np.int32],
    start: Rows,
    order: Rows,
    label: Floats,
    weight: Floats,
    rate: float,
    decay: float,
    w: Floats,
    g: Floats,
    bias: Floats,
) -> None:
    for row in order:
        k = start[row + 1] - start[row]
        if k == 0:
            continue
        scale = np.sqrt(np.float64(min(k, ngram.FULL_GRAMS))) / k
        total = 0.0
        for j in range(start[row], start[row + 1]):
            total += w[flat[j]]
        slope = weight[row] * (1.0 / (1.0 + np.exp(-(total * scale + bias[0]))) - label[row])
        bias[0] -= 0.01 * slope
        for j in range(start[row], start[row + 1]):
            b = flat[j]
            grad = slope * scale + decay * w[b]
            g[b] += grad * grad
            w[b] -= rate * grad / np.sqrt(g[b])


@kernel
def _evidences(flat: npt.NDArray[np.int32], start: Rows, w: Singles, out: Floats) -> None:
    for row in range(out.size):
        out[row] = ngram.evidence(w, flat[start[row] : start[row + 1]], start[row + 1] - start[row])


def learn_table(
    found: Grams, label: Floats, weight: Floats, rows: Rows, epochs: int = 4, rate: float = 0.3, decay: float = 1e-4
) -> Singles:
    """Fit the table of bucket weights by AdaGrad on the logistic loss (Duchi et al. 2011, diagonal form).  # [BUCKETS]"""
    w, g, bias = np.zeros(ngram.BUCKETS), np.full(ngram.BUCKETS, 1e-6), np.zeros(1)
    rng = np.random.default_rng(SEED)
    for _ in range(epochs):
        _learn(found.flat, found.start, rng.permutation(rows), label, weight, rate, decay, w, g, bias)
    return w.astype(np.float32)


def learn_style(style: Floats, label: Floats, weight: Floats, rows: Rows, hidden: int = 32, epochs: int = 8) -> Tensors:
    """Fit the network over style rates (AdamW, logistic loss).

    Returns mean, scale [STYLES], hidden [units, STYLES], hidden_bias, top [units] and top_bias [1].
    """
    import torch

    torch.manual_seed(SEED)
    mean, scale = style[rows].mean(0), style[rows].std(0) + 1e-6
    x = torch.tensor(np.clip((style[rows] - mean) / scale, -4, 4), dtype=torch.float32)
    y, w = (torch.tensor(v[rows], dtype=torch.float32) for v in (label, weight))
    low, top = torch.nn.Linear(x.shape[1], hidden), torch.nn.Linear(hidden, 1)
    net = torch.nn.Sequential(low, torch.nn.Tanh(), top)
    optimiser = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=1e-3)
    loss = torch.nn.functional.binary_cross_entropy_with_logits
    for _ in range(epochs):
        for at in torch.randperm(len(rows)).split(512):  # type: ignore[no-untyped-call]
            optimiser.zero_grad()
            loss(net(x[at])[:, 0], y[at], weight=w[at]).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
    return {
        "mean": mean,
        "scale": scale,
        "hidden": low.weight.detach().numpy().astype(np.float64),
        "hidden_bias": low.bias.detach().numpy().astype(np.float64),
        "top": top.weight.detach().numpy()[0].astype(np.float64),
        "top_bias": top.bias.detach().numpy().astype(np.float64),
    }


def learn_cheap(found: Grams, label: Floats, weight: Floats, train_rows: Rows, tune_rows: Rows) -> Tensors:
    """Fit table and style network on the first rows and their fusion on the second; return cheap.safetensors' tensors."""
    tensors: Tensors = {
        "table": learn_table(found, label, weight, train_rows),
        **learn_style(found.style, label, weight, train_rows),
    }
    tensors["fusion"] = np.array([1.0, 0.0, 0.0])
    logits = cheap_logits(found, tensors)
    tensors["fusion"] = logistic(logits[tune_rows, :2], label[tune_rows], weight[tune_rows])
    return tensors


def cheap_logits(found: Grams, tensors: Mapping[str, npt.NDArray[Any]]) -> Floats:
    """n-gram, style and fused logits of every row.  # [n, 3]"""
    out = np.zeros((found.words.size, 3))
    column = np.zeros(found.words.size)
    _evidences(found.flat, found.start, tensors["table"], column)
    out[:, 0] = column
    x = np.clip((found.style - tensors["mean"]) / tensors["scale"], -4, 4)
    out[:, 1] = np.tanh(x @ tensors["hidden"].T + tensors["hidden_bias"]) @ tensors["top"] + tensors["top_bias"]
    a, b, c = tensors["fusion"]
    out[:, 2] = a * out[:, 0] + b * out[:, 1] + c
    if "experts" in tensors:
        out[:, 2] = ngram.mixed(out[:, 2], evidences(found, tensors["experts"]), tensors["mix"])
    return out


def evidences(found: Grams, experts: npt.NDArray[Any]) -> Floats:
    """Each table's evidence of every row.  # experts: [k, BUCKETS]; answer [n, k]"""
    out = np.zeros((len(experts), found.words.size))
    for table, column in zip(experts, out, strict=True):
        _evidences(found.flat, found.start, table.astype(np.float32), column)
    return np.ascontiguousarray(out.T)


def served(cheap: Mapping[str, npt.NDArray[Any]]) -> Tensors:
    """The tensors at the precision at which they are shipped: the table rounded to half, the network to single."""
    made: Tensors = {name: value.astype(np.float32).astype(np.float64) for name, value in cheap.items()}
    for name in ("table", "experts"):
        if name in cheap:
            made[name] = cheap[name].astype(np.float16).astype(np.float32)
    return made | {name: cheap[name] for name in ("fusion", "mix") if name in cheap}


# --- The encoder's head ----------------------------------------------------------------------------


def encode(texts: list[str], cache: Path | None = None) -> Singles:
    """Early moments of texts, by the encoder that serves (only as deep as needed); `cache` keeps them by text hash."""
    known: dict[bytes, npt.NDArray[np.float16]] = {}
    if cache is not None and cache.is_file():
        with np.load(cache, allow_pickle=False) as kept:
            known = dict(zip(map(bytes, kept["key"]), kept["moments"], strict=True))
    keys = [text_hash(text.encode("utf-8", "replace")) for text in texts]
    missing = [row for row, key in enumerate(keys) if key not in known]
    if missing:
        encoder = Encoder(str(default_folder()), 256, early=True, depth=EARLY - 1)
        found = encoder.run(folded(pa.array([texts[row] for row in missing], pa.large_string()), 256))[1]
        known |= {keys[row]: moment.astype(np.float16) for row, moment in zip(missing, found, strict=True)}
        if cache is not None:
            kept_keys = np.frombuffer(b"".join(known), np.uint8).reshape(-1, 16)
            np.savez(cache, key=kept_keys, moments=np.stack(list(known.values())))
    return np.stack([known[key] for key in keys]).astype(np.float32)


def learn_head(moments: Singles, label: Floats, weight: Floats) -> Tensors:
    """Fit the linear head over early moments (ridge-penalised logistic, standardised; the scaling is folded in)."""
    from sklearn.linear_model import LogisticRegression

    mean, scale = moments.mean(0), moments.std(0) + 1e-3
    model = LogisticRegression(C=3e-3, max_iter=400).fit((moments - mean) / scale, label, sample_weight=weight)
    line = model.coef_[0] / scale
    return {
        "weight": line.astype(np.float32),
        "constant": np.array([model.intercept_[0] - float(mean @ line.astype(np.float32))]),
    }


# --- Experts of single generators ------------------------------------------------------------------


def learn_expert(found: Grams, label: Floats, weight: Floats, fold: Rows) -> tuple[Singles, Floats]:
    """Fit a table on all rows; its evidence of each row comes from a table that its own fold had no part in.

    fold: [n] numbers of folds, whole groups each.  Returns the table [BUCKETS] and evidence [n].
    """
    unseen = np.zeros(len(label))
    for number in np.unique(fold):
        away = learn_table(found, label, weight, np.flatnonzero(fold != number))
        unseen[fold == number] = evidences(found, away[None])[fold == number, 0]
    return learn_table(found, label, weight, np.arange(len(label))), unseen


# --- Lines and thresholds --------------------------------------------------------------------------


def logistic(x: Floats, y: Floats, weight: Floats, c: float = 1e3) -> Floats:
    """Fit a logistic line over columns; return its weights and, last, its constant."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=c, max_iter=2_000).fit(x, y, sample_weight=weight)
    return np.concatenate([model.coef_[0], model.intercept_]).astype(np.float64)


def calibration_line(logit: Floats, label: Floats, weight: Floats) -> dict[str, float]:
    """Fit slope and constant that turn a score into log-odds at the weights' prior (Platt 1999)."""
    slope, constant = logistic(logit[:, None], label, weight)
    return {"slope": float(slope), "constant": float(constant)}


def operating_point(logit: Floats, label: Floats, domain: Names, target: float = 0.01) -> float:
    """The logit above which `target` of human text lies, every domain weighing the same."""
    human = label == 0
    _, place, count = np.unique(domain[human], return_inverse=True, return_counts=True)
    weight = 1.0 / count[place]
    order = np.argsort(-logit[human])
    above = np.cumsum(weight[order]) / weight.sum()
    return float(logit[human][order][np.searchsorted(above, target)])


def gate_limits(
    logit: Floats, label: Floats, domain: Names, weight: Floats, share: float = 0.08
) -> tuple[float, float]:
    """Limits of the unsure zone: up to where 0.4 % of human text lies above, and down until `share` of all lies within.

    So the zone straddles the operating point, where the encoder's second opinion changes verdicts.
    """
    high = operating_point(logit, label, domain, 0.004)
    below = np.sort(logit[logit < high])[::-1]
    weights = weight[logit < high][np.argsort(logit[logit < high])[::-1]]
    place = int(np.searchsorted(np.cumsum(weights) / weight.sum(), share))
    return float(below[place]), high


def write_background(found: Grams, domain: Names, path: Path) -> None:
    """Write human texts as bags: each one's buckets in ascending order, style rates, words; no text can be read back."""
    buckets = [np.sort(found.flat[a:b]) for a, b in itertools.pairwise(found.start)]
    columns = {
        "domain": pa.array(domain, pa.string()),
        "n_words": pa.array(found.words.astype(np.int32)),
        "buckets": pa.array(buckets, pa.list_(pa.int32())),
        "style": pa.array(list(found.style.astype(np.float32)), pa.list_(pa.float32())),
    }
    encoding = {"buckets.list.element": "DELTA_BINARY_PACKED"}
    table = pa.table(columns).replace_schema_metadata({"features": ngram.FEATURES})
    pq.write_table(table, path, compression="zstd", use_dictionary=["domain"], column_encoding=encoding)


def read_background(path: Path) -> tuple[Grams, Names]:
    """Read what `write_background` wrote: bags, and their domains.  The caller has checked the file's sha256."""
    table = pq.read_table(path).combine_chunks()
    lists = table["buckets"].combine_chunks()
    flat = lists.flatten().to_numpy(zero_copy_only=False).astype(np.int32)
    style = table["style"].combine_chunks().flatten().to_numpy(zero_copy_only=False).reshape(table.num_rows, -1)
    same = (table.schema.metadata or {}).get(b"features") == ngram.FEATURES.encode()
    if not same or style.shape[1] != ngram.STYLES or not ((flat >= 0) & (flat < ngram.BUCKETS)).all():
        raise ModelError(f"{path} was made for other features; train with this version's shipped detector")
    sizes = pc.list_value_length(lists).to_numpy(zero_copy_only=False)
    start = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    words = table["n_words"].to_numpy().astype(np.float64)
    return Grams(flat, start, style.astype(np.float64), words, np.ones(table.num_rows)), np.array(
        table["domain"].to_pylist(), np.str_
    )


# --- Leaks -----------------------------------------------------------------------------------------


@kernel
def _sampled_shingles(
    data: npt.NDArray[np.uint8],
    offsets: Rows,
    table: Codepoints,
    lower: Codepoints,
    kind: npt.NDArray[np.uint8],
    owner: Rows,
    out: npt.NDArray[np.uint64],
) -> int:
    codes = np.empty(PREFIX + 8, np.int32)
    starts, stops = np.empty(PREFIX + 8, np.int32), np.empty(PREFIX + 8, np.int32)
    hashes = np.empty(PREFIX + 8, np.uint64)
    k = 0
    for row in range(offsets.size - 1):
        n = fold(data, offsets[row], offsets[row + 1], table, kind, codes)
        m = ngram.split_tokens(codes, n, lower, kind, starts, stops, hashes)
        for j in range(m - SHINGLE + 1):
            gram = np.uint64(0)
            for i in range(SHINGLE):
                gram = (gram + hashes[j + i]) * np.uint64(0x100000001B3) + np.uint64(0x9E3779B97F4A7C15)
            gram ^= gram >> np.uint64(29)
            if gram & np.uint64(15) == np.uint64(0):
                owner[k], out[k] = row, gram
                k += 1
    return k


def near_groups(texts: list[str], group: Rows) -> Rows:
    """Join the groups of texts that share a sampled run of eight tokens: copies stay on one side of every split.  # [n]

    One run in 16 is looked at, chosen by hash: a phrase that two texts share by chance rarely joins them.  Runs that
    more than eight texts share are boilerplate; exact copies must have been dropped before.
    """
    table = tables()
    data, offsets = utf8(pa.array(texts, pa.large_string()))
    owner, values = np.empty(data.size + 8, np.int64), np.empty(data.size + 8, np.uint64)
    total = _sampled_shingles(data, offsets, table.fold, table.lower, table.kind, owner, values)
    runs = np.unique(np.stack([owner[:total].astype(np.uint64), values[:total]], 1), axis=0)
    _, codes = np.unique(group, return_inverse=True)
    return joined_groups(codes, codes[runs[:, 0].astype(np.int64)], runs[:, 1])


def joined_groups(group: Rows, owner: Rows, runs: npt.NDArray[np.uint64]) -> Rows:
    """Join groups that share a run, unless more than eight texts share it: that is boilerplate.  # [n]

    group: [n] codes.  owner: [runs] the group of the text that each run is of; runs: [runs], each once a text.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    _, place, count = np.unique(runs, return_inverse=True, return_counts=True)
    usable = (count[place] > 1) & (count[place] <= 8)
    columns = place[usable] + group.max(initial=0) + 1
    size = int(max(columns.max(initial=0), group.max(initial=0))) + 1
    links = coo_matrix((np.ones(int(usable.sum()), np.int8), (owner[usable], columns)), shape=(size, size))
    _, merged = np.unique(connected_components(links, directed=False)[1][group], return_inverse=True)
    return np.asarray(merged, np.int64)


def typesetting(texts: list[str]) -> Floats:
    """Count twelve marks of typesetting by character: what must not tell the label.  # [n, 12]"""
    marks = ("\n", "\n\n", "“", "’", "  ", "*", "#", " ,", " .", "`", "—", "\t")
    return np.array([[text.count(mark) / max(1, len(text)) for mark in marks] for text in texts])


def probe(features: Floats, label: Floats, fold: Rows) -> float:
    """How well features alone tell the label: AUROC of a boosted probe over unseen folds; 0.5 is chance."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import roc_auc_score

    prob = np.zeros(len(label))
    for number in np.unique(fold):
        away = fold != number
        model = HistGradientBoostingClassifier(random_state=0).fit(features[away], label[away])
        prob[~away] = model.predict_proba(features[~away])[:, 1]
    return float(roc_auc_score(label, prob))


# --- What is written -------------------------------------------------------------------------------


def write_model(
    folder: Path,
    cheap: Mapping[str, npt.NDArray[Any]],
    head: Mapping[str, npt.NDArray[Any]],
    numbers: Mapping[str, Mapping[str, float]],
) -> None:
    """Write cheap.safetensors, encoder.safetensors and, with their sha256, config.toml."""
    from safetensors.numpy import save_file

    kinds = {"table": np.float16, "experts": np.float16, "fusion": np.float64, "mix": np.float64}
    half = {name: value.astype(kinds.get(name, np.float32)) for name, value in cheap.items()}
    for name, tensors in (("cheap", half), ("encoder", head)):
        path = folder / f"{name}.safetensors"
        save_file({k: np.ascontiguousarray(v) for k, v in tensors.items()}, path)
        path.chmod(0o644)  # safetensors writes for the owner only
    files = [name for name in ("cheap.safetensors", "encoder.safetensors", BACKGROUND) if (folder / name).is_file()]
    shas = [f'"{name}" = "{file_sha256(folder / name)}"' for name in files]
    lines = [
        "# Written in training: the origin detector's files, gate (logits), fusion, calibration, operating points."
    ]
    lines += ["", "[sha256]", *shas, "", "[made_with]"]
    lines += [f'{name} = "{value}"' for name, value in made_with(ngram.FEATURES).items()]
    for section, values in numbers.items():
        lines += ["", f"[{section}]", *(f"{name} = {value!r}" for name, value in values.items())]
    (folder / "config.toml").write_text("\n".join(lines) + "\n", "utf-8")
