"""The account's benchmark asks every question of a small account too."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.conftest import ROOT, Finished


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    sys.modules.pop("account", None)
    return importlib.import_module("account")


def test_every_question_is_asked_and_answered(
    bench: ModuleType,
    finished_run: Finished,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "out"
    monkeypatch.setattr(
        "sys.argv", ["account.py", "--like", str(finished_run.out), "--rows", "20000", "--out", str(out)]
    )
    bench.main()
    told = capsys.readouterr().out
    assert "20,000 rows written" in told and "account built" in told
    assert all(f"docs/queries.md {title}" in told for title, _ in bench.questions()) and len(bench.questions()) >= 20
    assert all(f"command: curator {name}" in told for name in ("shares", "explain", "sql"))
