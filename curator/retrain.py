"""A user's own origin detector: learnt from their texts beside the shipped one, and any detector measured on any texts.

A new generator is learnt as an *expert*: one n-gram table, trained on the user's texts alone, whose odds are added
to the shipped detector's with a small weight.  So nothing that is known is unlearnt: what the shipped detector
finds it still finds, and the price is paid in false positives of the expert, which are measured.  It learns beside
the shipped background, human texts of many kinds as bags of hashed n-grams: without them it would take every kind
of human text but the user's for machine-written.  From scratch all parts are learnt anew, which needs thousands of texts.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import tomli_w

from curator import learn
from curator.errors import InputError, ModelError, OutputError, RecipeError
from curator.ids import text_hash
from curator.learn import Bools, Floats, Grams, Names, Rows, Tensors
from curator.readers.columns import Columns, resolve
from curator.readers.parquet import as_utf8, schema_of
from curator.recipe import from_dict
from curator.schema import EMBEDDING_DIM
from curator.score import Line, Scorer
from curator.shipped import pinned
from curator.stages import _detector, ngram
from curator.stages.ai_text import COLUMNS, PATHS, log_odds, probability
from curator.stages.embed import EARLY, head_logits
from curator.stages.ngram import MIN_WORD_SHARE, MIN_WORDS, ai_text_config, ai_text_tensors
from curator.style import PREFIX, fold_column

Weights = npt.NDArray[np.float64]

MIN_TEXTS: Final = 100  # of each label for an expert: below, one per cent of human text is less than one text
MIN_GROUPS: Final = 30  # of each label: fewer are a few documents in copies
MIN_SCRATCH: Final = 2_000  # of each label to learn everything anew
MAX_TEXTS: Final = 50_000  # of each label; more are drawn by hash
MAX_WORDS: Final = 400  # words of a text that are learnt from: the length must not tell the label
MAX_EXPERTS: Final = 8
ENCODED: Final = 1_000  # texts of each label that the encoder sees
MOMENTS: Final = EARLY * 2 * EMBEDDING_DIM  # of the default encoder, that a head judges
FOLDS: Final = 5
SHARE: Final = 0.2  # of machine text that the new generator is taken to write
LEAK: Final = 0.65  # AUROC of typesetting alone above which what is learnt may be typesetting
DRAWS: Final = 200
BINS: Final = 15
_HUMAN: Final = ("human", "0", "false")
_MACHINE: Final = ("synthetic", "machine", "ai", "1", "true")


# --- Texts -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Texts:
    """Labelled texts, one row each: label 1 is machine-written; texts of one group stay on one side of a split."""

    text: list[str]
    label: Floats
    domain: Names
    generator: Names
    group: Names

    def __len__(self) -> int:
        """Count the texts."""
        return len(self.text)

    def take(self, rows: npt.NDArray[Any]) -> Texts:
        """Take rows by index or mask."""
        rows = np.arange(len(self))[rows]
        return Texts(
            [self.text[i] for i in rows], self.label[rows], self.domain[rows], self.generator[rows], self.group[rows]
        )

    @staticmethod
    def joined(parts: Sequence[Texts]) -> Texts:
        """Put texts of several files one after another."""
        return Texts(
            [text for part in parts for text in part.text],
            np.concatenate([part.label for part in parts]),
            *(np.concatenate([getattr(part, name) for part in parts]) for name in ("domain", "generator", "group")),
        )


def read_texts(path: Path, label: float | None = None, named: Columns | None = None) -> Texts:
    """Read texts of a Parquet file; `label` for all of them, else its column `label` (human or synthetic, 0 or 1).

    Columns domain (else the source, else the file's name), generator and group are read where they are; without a
    group every text is its own.  Rows without a text, not in UTF-8 or with another label are left out.
    """
    if not path.is_file():
        raise InputError(f"no such file: {path}; name a Parquet file of texts")
    schema = schema_of(path)
    columns = resolve(schema, named or Columns(), str(path))
    if label is None and "label" not in schema.names:
        raise InputError(
            f"{path} has no column 'label' (human or synthetic); its columns are: {', '.join(schema.names)}"
        )
    domain = next((name for name in ("domain", columns.source) if name and name in schema.names), None)
    wanted = {"text": columns.text, "label": "label", "domain": domain, "generator": "generator", "group": "group"}
    there = {part: name for part, name in wanted.items() if name in schema.names}
    table = pq.read_table(path, columns=sorted({str(name) for name in there.values()}))
    texts, _ = as_utf8(pa.chunked_array(table[str(columns.text)]).combine_chunks())
    values = {part: _words(table[str(name)], table.num_rows) for part, name in there.items() if part != "text"}
    labels = np.full(len(texts), label) if label is not None else _labels(values["label"])
    made = Texts(
        [text or "" for text in texts.to_pylist()],
        np.asarray(labels, np.float64),
        values.get("domain", np.full(len(texts), path.stem)),
        values.get("generator", np.full(len(texts), "")),
        values.get("group", np.array([f"{path}#{row}" for row in range(len(texts))], np.str_)),
    )
    return made.take(~np.isnan(made.label) & np.array([bool(text) for text in made.text], bool))


def _words(column: pa.ChunkedArray, rows: int) -> Names:
    values = column.to_pylist()
    return np.array(["" if value is None else str(value) for value in values], np.str_).reshape(rows)


def _labels(names: Names) -> Floats:
    low = np.char.lower(names)
    return np.where(np.isin(low, _HUMAN), 0.0, np.where(np.isin(low, _MACHINE), 1.0, np.nan))


def usable(texts: Texts) -> tuple[Texts, dict[str, int]]:
    """Cut texts to their first words, drop copies, texts under both labels and what is no prose; say how many of each."""
    cut = [_first_words(text[: 20 * MAX_WORDS], MAX_WORDS) for text in texts.text]
    keys = np.array([text_hash(text.encode("utf-8", "replace")).hex() for text in cut], np.str_)
    _, first, place = np.unique(keys, return_index=True, return_inverse=True)
    human, machine = (np.bincount(place, texts.label == value) > 0 for value in (0.0, 1.0))
    both = (human & machine)[place]
    copy = ~np.isin(np.arange(len(texts)), first) & ~both
    left = replace(texts, text=cut).take(~both & ~copy)
    over = _beyond(left, keys[~both & ~copy])
    left = left.take(~over)
    found = learn.grams(left.text)
    fit = (found.words >= MIN_WORDS - 10) & (found.share >= MIN_WORD_SHARE)
    counts = {"copies": copy, "under_both_labels": both, "beyond_the_limit": over, "too_short_or_not_prose": ~fit}
    return left.take(fit), {name: int(mask.sum()) for name, mask in counts.items()}


def _first_words(text: str, most: int) -> str:
    words = text.split(maxsplit=most)
    return text if len(words) <= most else text[: len(text) - len(words[most])].rstrip()


def _beyond(texts: Texts, keys: Names) -> Bools:
    """Which texts are more than MAX_TEXTS of a label, by the order of their hashes."""
    beyond = np.zeros(len(texts), bool)
    for value in (0.0, 1.0):
        rows = np.flatnonzero(texts.label == value)
        beyond[rows[np.argsort(keys[rows])][MAX_TEXTS:]] = True
    return beyond


def folds(texts: Texts) -> Rows:
    """Number each text's fold from 0: whole groups, copies joined, as many of each label in each as groups allow.  # [n]"""
    groups = learn.near_groups(texts.text, np.unique(texts.group, return_inverse=True)[1])
    machine = np.bincount(groups, texts.label) > 0
    fold = np.zeros(groups.max(initial=-1) + 1, np.int64)
    for side in (machine, ~machine):
        rows = np.flatnonzero(side)
        fold[np.random.default_rng(learn.SEED).permutation(rows)] = np.arange(len(rows)) % FOLDS
    return np.asarray(fold[groups], np.int64)


def _enough(texts: Texts, least: int, how: str) -> None:
    for value, name in ((0.0, "human"), (1.0, "machine")):
        side = texts.label == value
        groups = len(np.unique(texts.group[side]))
        if side.sum() < least or groups < MIN_GROUPS:
            raise InputError(
                f"{int(side.sum())} usable {name} texts in {groups} groups are too few to learn {how}: it takes "
                f"{least:,} of {MIN_WORDS} words and more in {MIN_GROUPS} groups; bring more"
            )


# --- Training --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Request:
    """What `curator train ai-text` is asked for; start None learns everything anew."""

    human: tuple[Path, ...]
    machine: tuple[Path, ...]
    out: Path
    start: str | None = "default"
    share: float = SHARE
    encoded: int = ENCODED  # texts of each label that the encoder sees; 0 for a detector of the cheap path alone


@dataclass(frozen=True)
class Made:
    """A detector before it is written, and its scores of texts that their own tables never saw (nan: not run)."""

    cheap: Tensors
    head: Tensors
    numbers: dict[str, dict[str, float]]
    texts: Texts
    words: Floats
    logit: Floats  # raw cheap logit
    encoder: Floats
    before: Floats | None = None  # raw cheap logit of the detector it started from
    kinds: dict[str, float] | None = None  # false positives on the background's human texts, before and now
    background: Path | None = None
    others: pa.Table | None = None  # anchors of the background's human texts


def train(request: Request) -> dict[str, Any]:
    """Learn a detector from a user's texts and write its folder; return what was measured, on texts it did not learn from."""
    if not (request.human and request.machine):
        raise InputError("training takes human and machine texts; name at least one file of each")
    if not 0.0 < request.share < 1.0:
        raise RecipeError(f"share is {request.share:g}; it takes a share of machine text between 0 and 1")
    if request.out.exists() and (not request.out.is_dir() or any(request.out.iterdir())):
        raise OutputError(f"{request.out} exists and is not an empty folder; name a new one")
    read = [
        read_texts(path, value) for value, paths in ((0.0, request.human), (1.0, request.machine)) for path in paths
    ]
    texts, left_out = usable(Texts.joined(read))
    if request.start is None:
        _enough(texts, MIN_SCRATCH, "from scratch")
    else:
        _enough(texts, MIN_TEXTS, "a new generator")
    fold = folds(texts)
    found = learn.grams(texts.text)
    made = (
        from_scratch(texts, found, fold, request.encoded)
        if request.start is None
        else expert(texts, found, fold, request)
    )
    figures = _figures(made, request, left_out, texts, fold)
    _write(made, figures, request.out)
    return figures


def expert(texts: Texts, found: Grams, fold: Rows, request: Request) -> Made:
    """Add an expert of the user's machine texts to a detector; lines and gate stay, operating points may only rise."""
    start = str(request.start)
    config = ai_text_config(start)
    cheap, head = (ai_text_tensors(f"{name}.safetensors", start) for name in ("cheap", "encoder"))
    known = cheap.get("experts", np.zeros((0, ngram.BUCKETS), np.float16))
    if len(known) >= MAX_EXPERTS:
        raise ModelError(
            f"detector {start!r} has {len(known)} experts already; start from an earlier one, or from scratch"
        )
    background, others, kinds = _background(start, config)
    both = learn.joined(found, others)
    label = np.concatenate([texts.label, np.zeros(len(kinds))])
    domain = np.concatenate([texts.domain, np.char.add("background ", kinds)])
    weight = learn.cell_weights(domain, label)
    away = np.concatenate([fold, np.arange(len(kinds)) % FOLDS])
    table, unseen = learn.learn_expert(both, label, weight, away)
    line = learn.calibration_line(unseen, label, weight)
    base = config["line"]["cheap"]
    mix = cheap.get("mix", np.array([[base["cheap"], base["constant"]]]))
    added = np.array([line["slope"], line["constant"] + np.log(request.share)])
    before = learn.cheap_logits(both, learn.served(cheap))[:, 2]
    logit = ngram.mixed(before, unseen[:, None], np.stack([mix[0], added]))
    made: Tensors = {
        **cheap,
        "experts": np.concatenate([known, table[None]]),
        "mix": np.concatenate([mix, added[None]]),
    }
    own = len(texts)
    encoder = _encoded(texts, head, max(1, request.encoded))
    numbers = {f"line.{name}": dict(config["line"][name]) for name in ("cheap", "encoder")}
    earlier, points = config["operating_point"], _points(config["line"], logit[:own], encoder, texts)
    odds = [log_odds({"cheap": of}, config["line"])[0][own:] for of in (before, logit)]
    points["cheap"] = max(points["cheap"], learn.operating_point(odds[1], label[own:], kinds))
    raised = {name: max(float(earlier[name]), point) for name, point in points.items()}
    rates = [float((of >= point).mean()) for of, point in zip(odds, (earlier["cheap"], raised["cheap"]), strict=True)]
    return Made(
        made, head, {**numbers, "operating_point": raised, "gate": dict(config["gate"])}, texts, found.words,
        logit[:own], encoder, before[:own], {"texts": len(kinds), "before": rates[0], "now": rates[1]}, background,
        _anchors(label[own:], kinds, np.full(len(kinds), ""), others.words, logit[own:], np.full(len(kinds), np.nan)),
    )  # fmt: skip


def _background(start: str, config: dict[str, Any]) -> tuple[Path, Grams, Names]:
    """The human texts of many kinds that a detector carries: the file, their bags, their domains."""
    sha256 = config["sha256"].get(learn.BACKGROUND)
    if sha256 is None:
        raise ModelError(
            f"detector {start!r} carries no {learn.BACKGROUND}; start from the shipped one, or from scratch"
        )
    path = pinned(_detector.folder(start) / learn.BACKGROUND, str(sha256))
    return path, *learn.read_background(path)


def _points(lines: dict[str, dict[str, float]], logit: Floats, encoder: Floats, texts: Texts) -> dict[str, float]:
    """Log-odds above which 1 % of the human texts lie, by path: all texts, and those that the encoder saw."""
    seen = ~np.isnan(encoder)
    cheap = log_odds({"cheap": logit}, lines)[0]
    both = log_odds({"cheap": logit[seen], "encoder": encoder[seen]}, lines)[0]
    return {
        "cheap": learn.operating_point(cheap, texts.label, texts.domain),
        "encoder": learn.operating_point(both, texts.label[seen], texts.domain[seen]),
    }


def _encoded(texts: Texts, head: Tensors, most: int) -> Floats:
    """The encoder's logits of up to `most` texts of each label, nan for the others.  # [n]"""
    logit = np.full(len(texts), np.nan)
    rows = _some(texts, most)
    moments = learn.encode([texts.text[row] for row in rows])
    logit[rows] = head_logits(moments, head["weight"].astype(np.float32), float(head["constant"][0]))
    return logit


def _some(texts: Texts, most: int) -> Rows:
    sides = [np.flatnonzero(texts.label == value) for value in (0.0, 1.0)]
    dice = np.random.default_rng(learn.SEED)
    return np.sort(np.concatenate([dice.permutation(side)[:most] for side in sides]))


def from_scratch(texts: Texts, found: Grams, fold: Rows, encoded: int = ENCODED) -> Made:
    """Learn every part: heads on three folds, lines and thresholds on the fourth; the fifth is only measured.

    encoded: texts of each label that the encoder sees of the last two folds each, three times as many of the others;
    0 leaves it out: its head is silent, its line is the cheap path's, and its gate sends no text to it.
    """
    weight = learn.cell_weights(texts.domain, texts.label)
    fit, tune, test = fold < 3, fold == 3, fold == 4
    cheap = learn.learn_cheap(found, texts.label, weight, np.flatnonzero(fit), np.flatnonzero(tune))
    logit = learn.cheap_logits(found, learn.served(cheap))[:, 2]
    if not encoded:
        return _cheap_only(texts, found, cheap, logit, weight, fold)
    some = np.concatenate([np.flatnonzero(side)[_some(texts.take(side), most)] for side, most in
                           ((fit, 3 * encoded), (tune, encoded), (test, encoded))])  # fmt: skip
    moments = learn.encode([texts.text[row] for row in some])
    head = learn.learn_head(moments[fit[some]], texts.label[some][fit[some]], weight[some][fit[some]])
    encoder = np.full(len(texts), np.nan)
    encoder[some] = head_logits(moments, head["weight"], float(head["constant"][0]))
    both = tune & ~np.isnan(encoder)
    line = learn.calibration_line(logit[tune], texts.label[tune], weight[tune])
    joined = learn.logistic(np.column_stack([logit, encoder])[both], texts.label[both], weight[both])
    lines = {
        "cheap": {"cheap": line["slope"], "constant": line["constant"]},
        "encoder": dict(zip(("cheap", "encoder", "constant"), map(float, joined), strict=True)),
    }
    gate = learn.gate_limits(logit[tune], texts.label[tune], texts.domain[tune], weight[tune])
    numbers: dict[str, dict[str, float]] = {
        **{f"line.{name}": values for name, values in lines.items()},
        "operating_point": _points(lines, logit[tune], encoder[tune], texts.take(tune)),
        "gate": dict(zip(("low", "high"), gate, strict=True)),
    }
    return Made(
        cheap, head, numbers, texts.take(test), found.words[test], logit[test], encoder[test]
    )  # fmt: skip


def _cheap_only(texts: Texts, found: Grams, cheap: Tensors, logit: Floats, weight: Floats, fold: Rows) -> Made:
    """A detector without an encoder, of a cheap path learnt on three folds."""
    tune, test = fold == 3, fold == 4
    found_line = learn.calibration_line(logit[tune], texts.label[tune], weight[tune])
    line = {"cheap": found_line["slope"], "constant": found_line["constant"]}
    odds = log_odds({"cheap": logit[tune]}, {"cheap": line})[0]
    point = learn.operating_point(odds, texts.label[tune], texts.domain[tune])
    at = (point - line["constant"]) / line["cheap"]
    return Made(
        cheap, {"weight": np.zeros(MOMENTS, np.float32), "constant": np.zeros(1)},
        {"line.cheap": line, "line.encoder": {**line, "encoder": 0.0},
         "operating_point": {"cheap": point, "encoder": point}, "gate": {"low": at, "high": at}},
        texts.take(test), found.words[test], logit[test], np.full(int(test.sum()), np.nan),
    )  # fmt: skip


# --- What is said and written ----------------------------------------------------------------------


def _figures(made: Made, request: Request, left_out: dict[str, int], texts: Texts, fold: Rows) -> dict[str, Any]:
    lines = {name.removeprefix("line."): values for name, values in made.numbers.items() if name.startswith("line.")}
    point, label = made.numbers["operating_point"]["cheap"], made.texts.label
    odds = log_odds({"cheap": made.logit}, lines)[0]
    figures: dict[str, Any] = {
        "start": request.start or "from scratch",
        "texts": {"human": int((texts.label == 0).sum()), "machine": int((texts.label == 1).sum()), **left_out},
        "unseen": _short_figures(label, odds, point),
        "probe": {
            "typesetting": learn.probe(learn.typesetting(texts.text), texts.label, fold),
            "folded": learn.probe(learn.typesetting(_folded(texts.text)), texts.label, fold),
            "length": learn.probe(np.array([[len(text)] for text in texts.text], np.float64), texts.label, fold),
        },
    }
    if request.start is not None and made.before is not None and made.kinds is not None:
        config = ai_text_config(request.start)
        figures["background_fpr"] = made.kinds
        figures["start_sha256"] = config["sha256"]["cheap.safetensors"]
        earlier = log_odds({"cheap": made.before}, config["line"])[0]
        figures["before"] = _short_figures(label, earlier, config["operating_point"]["cheap"])
    figures["warnings"] = _warnings(figures)
    return figures


def _short_figures(label: Floats, odds: Floats, point: float) -> dict[str, float]:
    """AUROC, and true and false positives at the operating point, of one path."""
    flagged = odds >= point
    return {
        "auroc": auroc(label, odds, np.ones(len(label))),
        "tpr": float(flagged[label == 1].mean()),
        "fpr": float(flagged[label == 0].mean()),
    }


def _folded(texts: list[str]) -> list[str]:
    return [text or "" for text in fold_column(pa.array(texts, pa.large_string()), PREFIX).to_pylist()]


def _warnings(figures: dict[str, Any]) -> list[str]:
    found = figures["probe"]
    said = [
        f"{name} alone tells human from machine in these texts (AUROC {found[key]:.2f}, over {LEAK}){but}: bring both labels "
        "from one source and format, or part of what was learnt is how they came"
        for key, name, but in (
            ("typesetting", "typesetting", f"; folded, as the detector reads, {found['folded']:.2f}"),
            ("length", "length", "; no measure grows with it, but its causes may differ"),
        )
        if found[key] > LEAK
    ]
    if figures["unseen"]["fpr"] > 0.02:
        said.append(
            f"{figures['unseen']['fpr']:.1%} of the human texts are flagged; bring more human text of this kind"
        )
    if figures["texts"]["human"] < 1_000:
        said.append(f"the operating point rests on {figures['texts']['human']} human texts; 1,000 make it firm")
    return said


def _write(made: Made, figures: dict[str, Any], out: Path) -> None:
    """Write the folder beside its place and put it there whole."""
    out.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        if made.background is not None:
            shutil.copyfile(made.background, folder / learn.BACKGROUND)
        learn.write_model(folder, made.cheap, made.head, made.numbers)
        (folder / "metrics.toml").write_text(tomli_w.dumps(figures), "utf-8")
        (folder / "card.md").write_text(_card(figures), "utf-8")
        texts = made.texts
        own = _anchors(texts.label, texts.domain, texts.generator, made.words, made.logit, made.encoder)
        rows = pa.concat_tables([own, *([] if made.others is None else [made.others])])
        pq.write_table(rows, folder / "anchors.parquet", compression="zstd")
        folder.chmod(0o755)
        if out.exists():
            out.rmdir()
        folder.rename(out)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _anchors(label: Floats, domain: Names, generator: Names, words: Floats, logit: Floats, encoder: Floats) -> pa.Table:
    """Scores of texts that were not learnt from, without any text, as the shipped anchors have them."""
    return pa.table(
        {
            "label": pa.array(np.where(label == 1, "synthetic", "human"), pa.string()),
            "domain": pa.array(domain, pa.string()),
            "generator": pa.array(generator, pa.string()),
            "n_words": pa.array(words.astype(np.int32)),
            "logit_cheap": pa.array(logit.astype(np.float32)),
            "logit_encoder": pa.array(encoder.astype(np.float32), mask=np.isnan(encoder)),
        }
    )


def _card(figures: dict[str, Any]) -> str:
    rows = [("before", figures.get("before")), ("this detector", figures["unseen"])]
    lines = [f"| {name} | {v['auroc']:.3f} | {v['tpr']:.3f} | {v['fpr']:.3f} |" for name, v in rows if v]
    counts, kinds = figures["texts"], figures.get("background_fpr")
    if kinds:
        lines += [
            "",
            f"False positives on {kinds['texts']} human texts of other kinds, not learnt from: {kinds['before']:.1%} before, {kinds['now']:.1%} now.",
        ]
    return "\n".join(
        [
            "# ai-text, trained here: P(a model wrote it)", "",
            f"Started from: {figures['start']}. Learnt from {counts['human']:,} human and {counts['machine']:,} machine texts.", "",
            "Texts that were not learnt from (cheap path, at the operating point):", "",
            "| | AUROC | found | false positives |", "|---|---|---|---|", *lines, "",
            f"Typesetting alone: AUROC {figures['probe']['typesetting']:.3f}, folded {figures['probe']['folded']:.3f}; length alone: {figures['probe']['length']:.3f}.",
            "Other texts of yours were not measured: `curator evaluate` does, on labelled texts you bring.",
            "Calibrate it (`curator calibrate --human`) on human text that it was not learnt from: its own scores too low.",
            *(f"\nWarning: {warning}." for warning in figures["warnings"]), "",
        ]
    )  # fmt: skip


# --- Evaluation ------------------------------------------------------------------------------------


def evaluate(detector: str, paths: Sequence[Path], gate: str = "uncertain") -> list[dict[str, Any]]:
    """Measure a detector, as a run would serve it, on labelled texts: one row for all, each domain and each generator.

    Rates come with 95 % intervals over a bootstrap by group.  A domain without one of the labels is measured
    against all texts of that label.  What cannot be known from so few texts is null.
    """
    texts = Texts.joined([read_texts(path) for path in paths])
    if not len(texts):
        raise InputError(f"no text with a label human or synthetic in {', '.join(map(str, paths))}")
    scored = _scores(detector, texts, gate)
    point = ai_text_config(detector)["operating_point"]
    points = np.array([point.get(name, np.inf) for name in PATHS])[scored.path]
    weights = _draws(texts.group)
    return [
        {"scope": scope, "stratum": name, **_measured(texts.label, scored.odds, scored.odds >= points, weights, of)}
        for scope, name, of in _strata(texts)
    ]


@dataclass(frozen=True)
class Scored:
    """Log-odds at prior one half, nan where not judged, and positions in PATHS.  Arrays are [n]."""

    odds: Floats
    path: npt.NDArray[np.int8]


def _scores(detector: str, texts: Texts, gate: str) -> Scored:
    """Judge texts by the stages that a run has, abstentions included."""
    named = {"detector": detector}
    recipe = from_dict(
        {"stages": {"language": {}, "ngram": named, "embed": {**named, "gate": gate, "sample": 0.0}, "ai_text": named}}
    )
    scorer = Scorer(recipe)
    odds, paths = [], []
    for at in range(0, len(texts), 256):
        batch = scorer.measure([Line(at + i, text) for i, text in enumerate(texts.text[at : at + 256])])
        judged = batch["prob_synthetic"].is_valid().to_numpy(zero_copy_only=False)
        columns = {tier: batch[name] for tier, name in COLUMNS.items() if name in batch.schema.names}
        logits = {tier: column.fill_null(np.nan).to_numpy(zero_copy_only=False) for tier, column in columns.items()}
        found, path = log_odds(logits, ai_text_config(detector)["line"])
        odds.append(np.where(judged, found, np.nan))
        paths.append(path)
    return Scored(np.concatenate(odds), np.concatenate(paths))


def _strata(texts: Texts) -> Iterator[tuple[str, str, Bools]]:
    """All texts; each domain, with all texts of a label that it lacks; each generator with all human text."""
    human = texts.label == 0
    yield "all", "", np.ones(len(texts), bool)
    for name in np.unique(texts.domain):
        of = texts.domain == name
        lacks = [side for side in (human, ~human) if not (of & side).any()]
        yield "domain", str(name), of | (lacks[0] if lacks else False)
    for name in np.unique(texts.generator[~human]):
        yield "generator", str(name), human | (~human & (texts.generator == name))


def _draws(group: Names) -> Weights:
    """How often each text is drawn in each bootstrap over groups, the texts themselves first.  # [1 + DRAWS, n]"""
    _, codes = np.unique(group, return_inverse=True)
    n = int(codes.max()) + 1
    dice = np.random.default_rng(learn.SEED)
    drawn = [np.ones(n), *(np.bincount(dice.integers(0, n, n), minlength=n) for _ in range(DRAWS))]
    return np.stack([counts[codes] for counts in drawn]).astype(np.float64)


def _measured(
    label: Floats, odds: Floats, flagged: Bools, weights: Weights, of: Bools
) -> dict[str, float | int | None]:
    judged = of & ~np.isnan(odds)
    human, machine = judged & (label == 0), judged & (label == 1)
    made: dict[str, float | int | None] = {
        "n_human": int(human.sum()), "n_machine": int(machine.sum()), "judged": float(judged.sum() / max(1, of.sum())),
    }  # fmt: skip
    y, x = label[judged], odds[judged]
    measures: dict[str, tuple[Callable[[Weights], float], bool]] = {
        "auroc": (lambda w: auroc(y, x, w[judged]), bool(human.any() and machine.any())),
        "tpr_at_1": (lambda w: tpr_at(odds, human, machine, w, 0.01), bool(machine.any() and human.sum() >= 100)),
        "tpr_at_01": (lambda w: tpr_at(odds, human, machine, w, 0.001), bool(machine.any() and human.sum() >= 1_000)),
        "fpr": (lambda w: _mean(flagged[human], w[human]), bool(human.any())),
        "tpr": (lambda w: _mean(flagged[machine], w[machine]), bool(machine.any())),
        "ece": (lambda w: ece(y, probability(x), w[judged]), bool(human.any() and machine.any())),
    }
    for name, (measure, possible) in measures.items():
        drawn = [measure(w) for w in weights] if possible else []
        low, high = np.nanquantile(drawn[1:], [0.025, 0.975]) if possible else (None, None)
        made |= {name: drawn[0] if possible else None, f"{name}_low": low, f"{name}_high": high}
    return {
        name: None if value is None or np.isnan(value) else value if isinstance(value, int) else float(value)
        for name, value in made.items()
    }


def _mean(flagged: Bools, weight: Weights) -> float:
    total = float(weight.sum())
    return float(weight[flagged].sum()) / total if total else float("nan")


def auroc(label: Floats, odds: Floats, weight: Weights) -> float:
    """Chance that a machine text scores above a human one, ties counted half; nan where a label is missing."""
    _, place = np.unique(odds, return_inverse=True)
    human, machine = (np.bincount(place, weight * (label == value)) for value in (0.0, 1.0))
    below = np.cumsum(human) - 0.5 * human
    total = float(human.sum() * machine.sum())
    return float((machine * below).sum()) / total if total else float("nan")


def tpr_at(odds: Floats, human: Bools, machine: Bools, weight: Weights, fpr: float) -> float:
    """Share of machine text above the lowest threshold that at most `fpr` of this very human text exceeds."""
    order = np.argsort(-odds[human])
    above = np.cumsum(weight[human][order])
    if not above.size or not above[-1]:
        return float("nan")
    place = int(np.searchsorted(above, fpr * above[-1], side="right"))
    return _mean(odds[machine] > odds[human][order][min(place, above.size - 1)], weight[machine])


def ece(label: Floats, prob: Floats, weight: Weights) -> float:
    """Expected calibration error at prior one half, equal-width bins (Naeini et al. 2015, section 2)."""
    sides = [float(weight[label == value].sum()) for value in (0.0, 1.0)]
    if not all(sides):
        return float("nan")
    even = weight / np.where(label == 1, sides[1], sides[0]) / 2.0
    place = np.minimum((prob * BINS).astype(np.int64), BINS - 1)
    return float(np.abs(np.bincount(place, even * (prob - label), minlength=BINS)).sum())
