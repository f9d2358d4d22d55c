"""`curator calibrate`: scores of trusted text without the text, bound to one detector, and whether they moved since."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curator import origin
from curator.calibrate import Calibrated, calibrate, drift, read_any
from curator.errors import InputError, RecipeError
from curator.progress import Silent
from curator.recipe import Recipe, changed, from_dict, load, with_encoder
from curator.run import Request, filter_corpus, redecide_run
from tests import corpus


def recipe() -> Recipe:
    """What scores origin, and no more; no encoder is loaded for texts that the cheap path is sure of."""
    stages = {name: {} for name in ("exact", "minhash", "text_stats", "language", "ngram", "embed", "ai_text")}
    made = from_dict({"name": "origin", "stages": stages, "rules": {"machine": "coalesce(origin_flagged, false)"}})
    return with_encoder(made, "uncertain")


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty texts and three too short to judge, dated over two years."""
    path = tmp_path_factory.mktemp("snapshot") / "human.parquet"
    texts = [corpus.prose(1_000 + i) for i in range(60)] + ["Too short."] * 3
    dates = [dt.datetime(2019 + i % 2, 1 + i % 12, 3, tzinfo=dt.UTC) for i in range(63)]
    urls = [f"https://WWW.old{i % 3}.example/{i}" for i in range(63)]
    pq.write_table(pa.table({"text": texts, "date": dates, "url": urls, "source": ["archive"] * 63}), path)
    return path


@pytest.fixture(scope="module")
def made(snapshot: Path) -> Calibrated:
    return calibrate([str(snapshot)], recipe(), snapshot.with_name("calibration.parquet"))


def test_scores_and_strata_are_kept_and_no_text(made: Calibrated) -> None:
    table = pq.read_table(made.path)
    assert (made.texts, made.scored, made.first, made.last) == (63, 60, "2019-01-03", "2020-12-03")
    assert table.schema.names == origin.CALIBRATION.names and table.num_rows == 60
    assert set(table["source"].to_pylist()) == {"archive"} and set(table["language"].to_pylist()) == {"en"}
    assert set(table["host"].to_pylist()) == {f"www.old{i}.example" for i in range(3)}
    assert all("baker" not in str(value) for column in table.columns for value in column.to_pylist())
    assert origin.read_calibration(str(made.path), recipe().stages).num_rows == 60


def test_the_same_text_gives_the_same_file_and_no_alarm(snapshot: Path, made: Calibrated, tmp_path: Path) -> None:
    again = calibrate([str(snapshot)], recipe(), tmp_path / "again.parquet", compare=made.path)
    assert again.alarm is None and again.path.read_bytes() == made.path.read_bytes()
    assert again.row()["scored"] == 60


def test_too_little_text_a_recipe_without_origin_and_other_files_are_refused(snapshot: Path, tmp_path: Path) -> None:
    pq.write_table(pq.read_table(snapshot).slice(50), tmp_path / "few.parquet")
    with pytest.raises(InputError, match=r"only 10 of 13 texts could be judged, 20 are needed"):
        calibrate([str(tmp_path / "few.parquet")], recipe(), tmp_path / "c.parquet")
    assert not (tmp_path / "c.parquet").exists()
    with pytest.raises(RecipeError, match="no stage ai_text"):
        calibrate(
            [str(snapshot)],
            from_dict({"stages": {"exact": {}}, "mixture": {"max_synthetic": 1}}),
            tmp_path / "c.parquet",
        )
    with pytest.raises(InputError, match="is no calibration file"):
        calibrate([str(snapshot)], recipe(), tmp_path / "c.parquet", compare=snapshot)
    (tmp_path / "lines.jsonl").write_text('{"text": "x"}\n')
    with pytest.raises(InputError, match=r"is not Parquet; `curator ingest"):
        calibrate([str(tmp_path / "lines.jsonl")], recipe(), tmp_path / "c.parquet")


def _older(made: Calibrated, shift: float, n: int = 400) -> tuple[pa.Table, str]:
    logit = np.random.default_rng(1).normal(-2 + shift, 1, n)
    return pa.table({"ai_logit": logit}), made.detector


def test_drift_is_told_and_named_with_its_size(made: Calibrated) -> None:
    now = _older(made, 0.0)[0]
    assert drift(_older(made, 0.0), now, made.detector) is None
    assert drift(_older(made, 0.05), now, made.detector) is None
    alarm = drift(_older(made, -1.0), now, made.detector)
    assert alarm is not None and "moved by +1." in alarm and "400 texts then" in alarm


def test_two_detectors_never_stand_in_one_series(made: Calibrated) -> None:
    table, detector = read_any(made.path)
    alarm = drift((table, "0" * 32), table, detector)
    assert alarm is not None and "two detectors never stand in one series" in alarm


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, made: Calibrated) -> tuple[Path, dict[str, Any]]:
    """A finished run by the calibration file over the tests' corpus, undated, so that nothing else in it is known to be human."""
    folder = tmp_path_factory.mktemp("run")
    path = corpus.write(folder / "c.parquet")
    pq.write_table(pq.read_table(path).drop_columns(["date"]), path)
    ours = dataclasses.replace(recipe(), origin=origin.OriginParams(calibration=str(made.path)))
    return folder / "a", filter_corpus(Request((str(path),), folder / "a", ours, workers=1), Silent())


def _ledger(out: Path) -> pa.Table:
    return pa.concat_tables([pq.read_table(p) for p in sorted((out / "ledger").glob("*.parquet"))])


def _kinds(summary: dict[str, Any]) -> set[str]:
    return {alarm["kind"] for alarm in summary["alarms"]}


def test_a_run_without_trusted_text_says_so_and_a_calibration_file_ends_that(
    run: tuple[Path, dict[str, Any]], made: Calibrated, tmp_path: Path
) -> None:
    out, summary = run
    assert "origin_uncalibrated" not in _kinds(summary)
    assert set(_ledger(out)["origin_stratum"].to_pylist()) <= {None, "corpus / en"}
    without = redecide_run(out, ["origin.calibration="], tmp_path / "b", Silent())
    assert "origin_uncalibrated" in _kinds(without) and b'"calibration": "' in (out / "run.json").read_bytes()
    assert json.loads((tmp_path / "b" / "run.json").read_bytes()).get("calibration") is None
    again = redecide_run(tmp_path / "b", [f"origin.calibration={made.path}"], tmp_path / "c", Silent())
    assert again["outcomes"] == summary["outcomes"] and again["alarms"] == summary["alarms"]
    assert _ledger(tmp_path / "c").equals(_ledger(out)) and not _ledger(tmp_path / "b").equals(_ledger(out))


def test_the_level_can_be_set_again_without_measuring(run: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    out, _ = run
    redecide_run(out, ["origin.target_fpr=0.3"], tmp_path / "b", Silent())
    before, after = _ledger(out), _ledger(tmp_path / "b")
    assert before["human_p"].equals(after["human_p"])
    p = np.array(after["human_p"].to_pylist(), float)
    flagged = np.array([bool(value) for value in after["origin_flagged"].to_pylist()])
    assert (flagged == (p <= 0.3)).all() and flagged.sum() > sum(map(bool, before["origin_flagged"].to_pylist()))
    redecide_run(out, ["machine=off"], tmp_path / "c", Silent())
    one, two = (next((folder / "origin").glob("*.parquet")).stat().st_ino for folder in (out, tmp_path / "c"))
    assert one == two  # taken over, not made again


def test_every_shipped_recipe_can_be_calibrated_or_scores_no_origin() -> None:
    for name in ("default", "strict", "web"):
        found = load(name)
        assert changed(found.as_dict(), ["origin.target_fpr=0.02"]).origin.target_fpr == 0.02
        assert origin.measures_origin(found.stages)
