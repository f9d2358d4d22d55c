"""P(synthetic): the logits of the paths that looked, joined in one line, or withheld with a reason."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curator.ids import fingerprint
from curator.schema import field
from curator.shipped import shipped
from curator.stages import Measure, Stage
from curator.stages.ngram import ai_text_config

Floats = npt.NDArray[np.float64]
Lines = Mapping[str, Mapping[str, float]]

COLUMNS: Final = {"cheap": "ai_cheap_logit", "encoder": "ai_encoder_logit", "surprisal": "ai_surprisal_logit"}
PATHS: Final = ("cheap", "encoder", "surprisal", "encoder and surprisal")  # which tiers looked beside the cheap path
TRAINED_LANGUAGES: Final = ("en",)


def log_odds(logits: Mapping[str, Floats], lines: Lines) -> tuple[Floats, npt.NDArray[np.int8]]:
    """Join the logits of each document by the line of its path: log-odds at prior one half, and the path.

    logits: by tier, [n], nan where a tier did not look.  lines: by path, a weight for each tier and a constant.
    Returns log-odds [n] (nan where even the cheap path is missing) and positions in `PATHS` [n].
    """
    cheap = logits["cheap"]
    others = [logits.get(tier, np.full(cheap.shape, np.nan)) for tier in ("encoder", "surprisal")]
    path = (~np.isnan(others[0])).astype(np.int8) + 2 * (~np.isnan(others[1])).astype(np.int8)
    joined = np.full(cheap.shape, np.nan)
    for place, name in enumerate(PATHS):
        of = np.asarray(path == place)
        if of.any():
            joined[of] = _line(lines[name], {"cheap": cheap[of], "encoder": others[0][of], "surprisal": others[1][of]})
    return joined, np.asarray(path, np.int8)


def _line(line: Mapping[str, float], logits: Mapping[str, Floats]) -> Floats:
    total = np.full(logits["cheap"].shape, line["constant"])
    for tier in COLUMNS:
        if tier in line:
            total = total + line[tier] * logits[tier]
    return total


def probability(logit: Floats) -> Floats:
    """Log-odds to probabilities.  # [n]"""
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(logit, -700.0, 700.0))), np.float64)


def abstentions(unfit: list[str | None], language: list[str | None]) -> list[str | None]:
    """Say why each document is not judged; null where it is.  A text without a language was never trained on."""
    return [
        why or (None if known in TRAINED_LANGUAGES else "untrained_language")
        for why, known in zip(unfit, language, strict=True)
    ]


@dataclass(frozen=True)
class AiText(Stage):
    """P(synthetic) of every document, or null and the reason why it cannot be told.

    `ai_logit` is the log-odds at a prior of one half: in a corpus with another share of machine text it shifts by
    the log-odds of that share.  `synthetic` compares it with the shipped operating point, 1 % false positives on
    human text held out in training.  `surprisal` joins the second tier's logit, which the stage `surprisal` measures.
    `detector` is "default" or a folder that `curator train ai-text` wrote, the same as in the stages ngram and embed.
    `encoder = false` judges by the cheap path alone, so that a recipe needs no stage embed.
    """

    name: ClassVar[str] = "ai_text"
    version: ClassVar[str] = "2"

    surprisal: bool = False
    encoder: bool = True
    detector: str = "default"

    @property
    def needs(self) -> pa.Schema:
        """The logits of the paths, why a text cannot be judged, and its language."""
        asked = {"cheap": True, "encoder": self.encoder, "surprisal": self.surprisal}
        tiers = [name for tier, name in COLUMNS.items() if asked[tier]]
        words = [pa.field(name, pa.string()) for name in ("ai_unfit", "language")]
        return pa.schema([*(pa.field(name, pa.float64()) for name in tiers), *words])

    @property
    def adds(self) -> pa.Schema:
        """The calibrated probability, its log-odds, the path, the reason for abstaining, the verdict."""
        return pa.schema(
            [
                field(
                    "prob_synthetic", pa.float64(), "P(a model wrote it), calibrated at prior 0.5; null when not judged"
                ),
                field("ai_logit", pa.float64(), "log-odds that a model wrote it, at prior 0.5, full precision"),
                field("ai_path", pa.string(), f"which tiers judged the document: {', '.join(PATHS)}"),
                field("ai_abstain", pa.string(), "why origin was not judged: too_short, not_prose, untrained_language"),
                field("synthetic", pa.bool_(), "judged machine-written at the operating point of 1 % false positives"),
            ]
        )

    def weights(self) -> dict[str, str]:
        """Hash of the lines that join the paths and of the operating points."""
        lines, points = _lines(self.detector)
        return {"line": fingerprint(lines), "operating_point": fingerprint(points.tolist())}

    def open(self) -> Measure:
        """Read the lines and the operating points."""
        lines, points = _lines(self.detector)
        schema, tiers = self.adds, [tier for tier, name in COLUMNS.items() if name in self.needs.names]

        def measure(batch: pa.RecordBatch) -> pa.RecordBatch:
            return _columns(batch, tiers, lines, points, schema)

        return measure


def _lines(detector: str) -> tuple[dict[str, Any], Floats]:
    """The line of each path and its operating point.  # lines; [PATHS]

    The second tier's lines stand with its model; on their scale, log-odds, the encoder's operating point serves them too.
    """
    config = ai_text_config(detector)
    second = tomllib.loads((shipped("models") / "surprisal/config.toml").read_text("utf-8"))
    points = config["operating_point"]
    return {**config["line"], **second["joined"]}, np.array([points.get(path, points["encoder"]) for path in PATHS])


def _columns(
    batch: pa.RecordBatch, tiers: list[str], lines: Lines, points: Floats, schema: pa.Schema
) -> pa.RecordBatch:
    logit, path = log_odds({tier: _numbers(batch[COLUMNS[tier]]) for tier in tiers}, lines)
    missing = np.isnan(logit)
    known = np.nan_to_num(logit)
    reasons = abstentions(batch["ai_unfit"].to_pylist(), batch["language"].to_pylist())
    silent = np.array([why is not None for why in reasons], bool) | missing
    return pa.RecordBatch.from_arrays(
        [
            pa.array(probability(known), mask=silent),
            pa.array(known, mask=missing),
            pa.array(np.array(PATHS, object)[path], pa.string(), mask=missing),
            pa.array([None if gone else why for gone, why in zip(missing, reasons, strict=True)], pa.string()),
            pa.array(known >= points[path], mask=silent),
        ],
        schema=schema,
    )


def _numbers(column: pa.Array) -> Floats:
    return np.asarray(column.cast(pa.float64()).fill_null(np.nan).to_numpy(zero_copy_only=False), np.float64)
