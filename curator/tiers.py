"""What the cheap path to origin cost: how often the encoder, where it looked too, judged otherwise.

One document in a hundred is shown to the encoder whatever the cheap path said, chosen by hash: what it says there is the
cheap path's error on all that it judged alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curator import curation
from curator.curation import Shard
from curator.schema import field
from curator.shards import aligned_batches
from curator.stages import Stage
from curator.stages.ai_text import log_odds
from curator.stages.ngram import ai_text_config

NEEDED: Final = ("ai_cheap_logit", "encoder_reason", "ai_logit", "prob_synthetic", "synthetic")
TIERS: Final = pa.schema(
    [
        field("seen", pa.string(), "why the encoder saw these documents: sample, uncertain, all; cheap path where it did not"),
        field("documents", pa.int64(), "documents"),
        field("judged", pa.int64(), "of these, documents whose origin was judged"),
        field("differs", pa.int64(), "of these, verdicts at the shipped operating point that are not the cheap path's alone"),
        field("rate", pa.float64(), "part of the judged whose verdict differs; for the sample the cheap path's error"),
        field("low", pa.float64(), "lower end of its 95 % interval (Wilson 1927)"),
        field("high", pa.float64(), "upper end"),
        field("moved", pa.float64(), "mean distance between both log-odds"),
    ]
)  # fmt: skip


def tiers(root: Path, shards: Sequence[Shard], stages: Sequence[Stage]) -> pa.Table:
    """Count, by why the encoder looked, how often its verdict is another than the cheap path's; empty without the detector."""
    added = {name for stage in stages for name in stage.adds.names}
    if not set(NEEDED) <= added:
        return TIERS.empty_table()
    detector = next(str(stage.settings()["detector"]) for stage in stages if stage.name == "ai_text")
    counts: dict[str, np.ndarray[Any, Any]] = {}
    for shard in shards:
        for name, found in _counted(root, shard, stages, ai_text_config(detector)):
            counts[name] = counts.get(name, np.zeros(4)) + found
    return pa.Table.from_pylist([_row(name, counts[name]) for name in sorted(counts)], schema=TIERS)


def _counted(
    root: Path, shard: Shard, stages: Sequence[Stage], config: dict[str, Any]
) -> list[tuple[str, np.ndarray[Any, Any]]]:
    """Documents, judged, differing verdicts and summed distance, by reason."""
    wanted = [(path, [n for n in names if n in NEEDED]) for path, names in curation.measured(root, shard, stages)]
    table = pa.Table.from_batches(aligned_batches([(path, names) for path, names in wanted if names]))
    cheap, odds = (pc.fill_null(table[n], np.nan).to_numpy() for n in ("ai_cheap_logit", "ai_logit"))
    judged = pc.is_valid(table["prob_synthetic"]).to_numpy()
    alone, _ = log_odds({"cheap": cheap}, config["line"])
    flagged = pc.fill_null(table["synthetic"], False).to_numpy()
    differs = judged & ((np.nan_to_num(alone) >= config["operating_point"]["cheap"]) != flagged)
    distance = np.where(judged, np.abs(np.nan_to_num(odds) - np.nan_to_num(alone)), 0.0)
    reason = np.array(pc.fill_null(table["encoder_reason"], "cheap path").to_pylist(), object)
    sums = np.stack([np.ones(len(judged)), judged, differs, distance])
    return [(name, sums[:, reason == name].sum(1)) for name in sorted(set(reason.tolist()))]


def _row(name: str, counts: np.ndarray[Any, Any]) -> dict[str, Any]:
    documents, judged, differs, distance = counts.tolist()
    row = {"seen": name, "documents": int(documents), "judged": int(judged), "differs": int(differs)}
    if not judged:
        return row
    rate, z2 = differs / judged, 1.959964**2
    centre, spread = rate + z2 / (2 * judged), np.sqrt(z2 * (rate * (1 - rate) + z2 / (4 * judged)) / judged)
    ends = {"low": max(0.0, (centre - spread) / (1 + z2 / judged)), "high": min(1.0, (centre + spread) / (1 + z2 / judged))}  # fmt: skip
    return row | {"rate": rate, "moved": distance / judged} | ends
