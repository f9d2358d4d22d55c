"""What the encoder says of the cheap path's verdicts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curator.curation import Shard
from curator.recipe import load
from curator.stages.ai_text import log_odds
from curator.stages.ngram import ai_text_config
from curator.tiers import TIERS, tiers

STAGES = [stage for stage in load("default").stages if stage.name in ("ngram", "embed", "ai_text")]


def run_of(root: Path, rows: list[tuple[float, str | None, float, bool | None]]) -> pa.Table:
    """A run's folder with these documents: cheap logit, why the encoder looked, log-odds, verdict (null: not judged)."""
    cheap, reason, odds, flagged = (list(column) for column in zip(*rows, strict=True))
    known = {
        "ai_cheap_logit": cheap, "encoder_reason": reason, "ai_logit": odds, "synthetic": flagged,
        "prob_synthetic": [None if flag is None else 0.5 for flag in flagged],
    }  # fmt: skip
    (root / "documents").mkdir()
    pq.write_table(pa.table({"source": ["s"] * len(rows)}), root / "documents/000000.parquet")
    for stage in STAGES:
        (root / "signals" / stage.name).mkdir(parents=True)
        columns = {c.name: pa.array(known.get(c.name, [None] * len(rows)), c.type) for c in stage.adds}
        pq.write_table(pa.table(columns), root / "signals" / stage.name / "000000.parquet")
    return tiers(root, [Shard("000000.parquet", 0, len(rows))], STAGES)


def test_differing_verdicts_are_counted_by_why_the_encoder_looked(tmp_path: Path) -> None:

    config = ai_text_config()
    (high, low), _ = log_odds({"cheap": np.array([9.0, -9.0])}, config["line"])
    rows = [(-9.0, None, low, False)] * 5 + [(9.0, "sample", high, True), (-9.0, "sample", low + 14, True)]
    rows += [(-9.0, "sample", low, None), (9.0, "uncertain", high - 1, True)]
    found = {row["seen"]: row for row in run_of(tmp_path, rows).to_pylist()}
    assert set(found) == {"cheap path", "sample", "uncertain"}
    assert (found["cheap path"]["differs"], found["cheap path"]["moved"]) == (0, 0.0)
    sample = found["sample"]
    assert (sample["documents"], sample["judged"], sample["differs"], sample["rate"]) == (3, 2, 1, 0.5)
    assert sample["low"] < 0.5 < sample["high"] and sample["moved"] == pytest.approx(7.0)
    assert found["uncertain"]["moved"] == pytest.approx(1.0)


def test_without_the_detector_there_is_nothing_to_say(tmp_path: Path) -> None:
    assert tiers(tmp_path, [], STAGES[:1]).equals(TIERS.empty_table())
