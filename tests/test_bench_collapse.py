"""The collapse test in small: the whole loop runs, every arm has its rows, and the figures are told as they are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
DATA = Path(__file__).parents[2] / "shared/data"

pytestmark = pytest.mark.skipif(not (DATA / "detect/train").is_dir(), reason="needs ../shared/data, the human text of the test")  # fmt: skip


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    out = tmp_path_factory.mktemp("collapse")
    command = [sys.executable, "benchmarks/collapse.py", "--quick", "-o", str(out), "--data", str(DATA)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3_000:]
    assert (out / "collapse.png").stat().st_size > 20_000 and "| to show | target | found |" in done.stdout
    found: dict[str, Any] = json.loads((out / "result.json").read_text())
    return found


def rows(result: dict[str, Any], **wanted: Any) -> list[dict[str, Any]]:
    return [row for row in result["rows"] if all(row.get(k) == v for k, v in wanted.items())]


def test_every_arm_has_every_generation_on_one_budget(result: dict[str, Any]) -> None:
    arms = rows(result, kind="arm", generation=1)
    assert {row["arm"] for row in arms} >= {"oracle", "replace", "uncurated", "hard cut, frozen", "curator, refreshed"}
    for row in rows(result, kind="arm", generation=2):
        assert row["tokens"] <= row["budget"] and row["perplexity"] > 1 and row["rare"] > 1


def test_the_test_discriminates(result: dict[str, Any]) -> None:
    """Text of a model makes the next one worse, and the more of it the worse."""
    by_arm = {row["arm"]: row for row in rows(result, kind="arm", generation=2)}
    assert by_arm["replace"]["perplexity"] > by_arm["uncurated"]["perplexity"] > by_arm["oracle"]["perplexity"]
    assert by_arm["oracle"]["synthetic"] == 0.0 and by_arm["replace"]["synthetic"] == 1.0
    assert 0.3 < by_arm["uncurated"]["synthetic"] < 0.7
    assert by_arm["curator, refreshed"]["synthetic"] < by_arm["uncurated"]["synthetic"]


def test_shares_are_told_at_every_contamination(result: dict[str, Any]) -> None:
    told = rows(result, kind="share")
    assert [row["contamination"] for row in told] == [0.0, 0.1, 0.3, 0.5, 0.8]
    for row in told:
        assert row["low"] <= row["share"] <= row["high"]
    assert told[0]["share"] < 0.1 < 0.5 < told[-1]["share"]


def test_what_is_not_met_is_said(result: dict[str, Any]) -> None:
    assert len(result["targets"]) >= 9 and all(isinstance(row["met"], bool) for row in result["targets"])
