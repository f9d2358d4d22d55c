"""Origin over a corpus: whose trusted text judges a document, and that nothing but the corpus decides it."""

from __future__ import annotations

import dataclasses
import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curator import origin
from curator.errors import InputError, RecipeError
from curator.evidence import NEVER
from curator.origin import CALIBRATION, ORIGIN, STRATA, OriginParams
from curator.recipe import load

DOCS = pa.schema(
    [
        ("quarantine", pa.string()), ("source", pa.string()), ("host", pa.string()), ("language", pa.string()),
        ("date", pa.timestamp("us", "UTC")), ("declared_origin", pa.string()), ("prob_synthetic", pa.float64()),
        ("ai_logit", pa.float64()), ("n_words", pa.int64()), ("n_assistant_phrases", pa.int32()),
        ("n_hidden_text_chars", pa.int32()),
    ]
)  # fmt: skip
DAY = dt.datetime(2015, 5, 4, 7, 30, tzinfo=dt.UTC)
LATE = dt.datetime(2024, 5, 4, tzinfo=dt.UTC)


def documents(old: int = 200, new: int = 100, seed: int = 0, **columns: Any) -> pa.Table:
    """Dated documents of a source whose human text looks more machine-like than the anchors, then later ones."""
    n = old + new
    logit = np.random.default_rng(seed).normal(1, 2, n)
    made: dict[str, Any] = {
        "quarantine": [None] * n, "source": ["manuals"] * n, "host": ["a.example"] * n, "language": ["en"] * n,
        "date": [DAY] * old + [LATE] * new, "declared_origin": [None] * n, "prob_synthetic": 1 / (1 + np.exp(-logit)),
        "ai_logit": logit, "n_words": [400] * n, "n_assistant_phrases": [0] * n, "n_hidden_text_chars": [0] * n,
    }  # fmt: skip
    return pa.table(made | columns, schema=DOCS)


def known(seed: int = 1) -> origin.Anchors:
    return origin.Anchors(np.random.default_rng(seed).normal(-4, 2.5, 2_000), np.ones(2_000))


def judge(table: pa.Table, copies: Any = None, given: pa.Table | None = None, **params: Any) -> origin.Found:
    return origin.judge(table, copies, known(), given, OriginParams(**params))


def calibration_file(path: Path, logits: Any, made_by: str, **columns: Any) -> Path:
    n = len(logits)
    rows = {
        "ai_logit": logits, "language": ["en"] * n, "source": ["snapshot"] * n, "host": [None] * n, "n_words": [400] * n,
        "date": [None] * n,
    }  # fmt: skip
    table = pa.table(rows | columns, schema=CALIBRATION)
    pq.write_table(table.replace_schema_metadata({"format": origin.FORMAT, "detector": made_by}), path)
    return path


def test_dated_text_of_the_corpus_is_the_reference_where_it_suffices() -> None:
    found = judge(documents())
    assert found.columns.schema.equals(ORIGIN) and found.columns.num_rows == 300
    assert "own text dated before 2022-11-30" in found.basis and not found.warning
    assert set(found.columns["origin_stratum"].to_pylist()) == {"corpus / en / manuals / 300+ words / a.example"}
    flagged = np.array(found.columns["origin_flagged"].to_pylist())
    assert flagged.mean() < 0.03  # by the anchors it would be a good part of them


def test_without_trusted_text_the_anchors_judge_and_say_so_in_every_row() -> None:
    found = judge(documents(old=0, new=100))
    (row,) = found.strata.to_pylist()
    assert row["reference"] == row["stratum"] == "shipped anchors" and row["warning"] == found.warning == origin.WARNING
    assert row["n_flagged"] > 20
    logit = np.array(documents(old=0, new=100)["ai_logit"])
    assert np.allclose(np.array(found.columns["prob_calibrated"]), 1 / (1 + np.exp(-logit)))


def test_a_date_is_trusted_only_before_the_day_the_recipe_names() -> None:
    assert judge(documents(), trusted_before="").warning
    assert judge(documents(), trusted_before="2010-01-01").warning
    assert not judge(documents(), trusted_before="2016-01-01").warning
    with pytest.raises(RecipeError, match=r"after 2022-11-30.*curator calibrate"):
        OriginParams(trusted_before="2024-01-01")
    with pytest.raises(RecipeError, match="is no day such as"):
        OriginParams(trusted_before="soon")
    with pytest.raises(RecipeError, match="target_fpr"):
        OriginParams(target_fpr=0.0)


def test_the_strata_add_up_to_what_was_judged() -> None:
    table = documents(source=["manuals"] * 150 + ["mail"] * 150, n_words=[80, 200, 400] * 100)
    found = judge(table)
    assert found.strata.schema.equals(STRATA)
    assert sum(found.strata["n_judged"].to_pylist()) == 300
    assert sum(found.strata["n_flagged"].to_pylist()) == sum(found.columns["origin_flagged"].to_pylist())
    mail = [row for row in found.strata.to_pylist() if "mail" in row["stratum"]]
    assert mail and all(row["n_trusted"] >= 20 for row in mail)


def test_a_source_without_trusted_text_of_its_own_is_judged_by_the_anchors_and_told_so() -> None:
    found = judge(documents(source=["manuals"] * 200 + ["mail"] * 100))
    row = next(row for row in found.strata.to_pylist() if row["level"] == "anchors")
    assert row["n_judged"] == 100 and "the detector's anchors" in row["warning"]


def test_flags_are_the_stratums_threshold_on_the_logit() -> None:
    found = judge(documents(old=200, new=400), target_fpr=0.05)
    columns = found.columns.slice(200)
    logit, limit = (np.array(x) for x in (documents(200, 400)["ai_logit"].slice(200), columns["origin_threshold"]))
    assert ((logit >= limit) == np.array(columns["origin_flagged"])).all()
    assert ((np.array(columns["human_p"]) <= 0.05) == np.array(columns["origin_flagged"])).all()


def test_answers_do_not_depend_on_the_order_of_documents() -> None:
    table = documents(source=["manuals"] * 150 + ["mail"] * 150, host=["a.example", None, "b.example"] * 100)
    order = np.random.default_rng(4).permutation(300)
    straight, shuffled = judge(table), judge(table.take(order))
    for name in ORIGIN.names:
        assert straight.columns[name].take(pa.array(order)).to_pylist() == shuffled.columns[name].to_pylist(), name
    assert straight.strata.equals(shuffled.strata)


def test_copies_count_once_among_the_trusted() -> None:
    table = documents(old=40, new=20)
    copies = np.concatenate([np.repeat(np.arange(0, 40, 2), 2), np.arange(40, 60)])
    (row,) = judge(table, copies).strata.to_pylist()
    assert row["n_trusted"] == 20


def test_an_unjudged_document_has_no_p_value_and_a_quarantined_one_nothing() -> None:
    quarantine = [None] * 299 + ["no_text"]
    prob = [None] + [0.3] * 299
    row, *_, last = judge(documents(prob_synthetic=prob, quarantine=quarantine)).columns.to_pylist()
    assert row["human_p"] is row["origin_stratum"] is row["origin_flagged"] is None
    assert row["prob_document"] < 0.05 and row["odds_date"] < -4  # its date speaks all the same
    assert all(value is None for value in last.values())


def test_a_copy_dated_before_models_vouches_for_its_later_twin() -> None:
    copies = np.arange(300)
    copies[250] = 0
    row = judge(documents(), copies).columns.slice(250, 1).to_pylist()[0]
    assert row["odds_sightings"] < -4 and row["prob_document"] < 0.2
    none = judge(documents()).columns.slice(250, 1).to_pylist()[0]
    assert none["odds_sightings"] == 0


def test_a_day_that_stands_for_no_date_is_no_sighting() -> None:
    us = np.array([0, 1_431_000_000_000_000, NEVER], np.int64)  # the zero of clocks, a day of 2015, none
    assert origin.earliest(us, np.array([0, 0, 0])).tolist() == [us[1]] * 3
    assert origin.earliest(us, np.arange(3)).tolist() == [NEVER, us[1], NEVER]


def test_sites_speak_unless_the_recipe_says_no() -> None:
    table = documents(old=0, new=60, ai_logit=np.full(60, 4.0), prob_synthetic=np.full(60, 0.98))
    pooled, alone = judge(table).columns, judge(table, pool_sites=False).columns
    assert pooled["odds_site"][0].as_py() > 0 == alone["odds_site"][0].as_py()
    assert alone["prob_pooled"].equals(alone["prob_document"])


def test_a_calibration_file_comes_before_dated_text(tmp_path: Path) -> None:
    stages = load("default").stages
    path = calibration_file(tmp_path / "c.parquet", np.random.default_rng(2).normal(1, 2, 400), origin.detector(stages))
    given = origin.read_calibration(str(path), stages)
    found = judge(documents(old=0, new=200), given=given, calibration=str(path))
    (row,) = found.strata.to_pylist()
    assert row["reference"] == "calibration file" and row["n_trusted"] == 400 and row["stratum"] == "corpus / en"
    assert row["n_flagged"] <= 8 and found.columns.num_rows == 200


def test_a_calibration_file_of_another_kind_is_told_by_the_corpuss_own_dated_text(tmp_path: Path) -> None:
    stages = load("default").stages

    def warning(centre: float) -> str:
        logits = np.random.default_rng(2).normal(centre, 2, 400)
        path = str(calibration_file(tmp_path / "c.parquet", logits, origin.detector(stages), source=["manuals"] * 400))
        table = documents(old=300, new=20, host=[None] * 320)
        return judge(table, given=origin.read_calibration(path, stages), calibration=path).warning

    assert warning(1.0) == ""
    assert "of 300 documents dated before 2022-11-30 are flagged" in warning(-5.0)


def test_scores_of_another_detector_are_refused(tmp_path: Path) -> None:
    stages = load("default").stages
    path = str(calibration_file(tmp_path / "c.parquet", np.zeros(30), "f" * 32))
    with pytest.raises(InputError, match=r"detector ffffffffffff.*never mixed.*make the file again"):
        origin.read_calibration(path, stages)
    (tmp_path / "x.parquet").write_bytes(b"PAR1 not at all")
    with pytest.raises(InputError, match="no calibration file"):
        origin.read_calibration(str(tmp_path / "x.parquet"), stages)
    with pytest.raises(InputError, match="no calibration file"):
        origin.read_calibration(str(tmp_path / "nowhere.parquet"), stages)


def test_a_detector_is_one_whatever_the_seed_of_the_run() -> None:
    stages = load("default").stages

    def embed_with(**settings: Any) -> list[Any]:
        return [dataclasses.replace(s, **settings) if s.name == "embed" else s for s in stages]

    assert origin.detector(embed_with(seed=99)) == origin.detector(stages)
    assert origin.detector(embed_with(gate="all")) != origin.detector(stages)


def test_the_shipped_anchors_flag_one_in_a_hundred_of_themselves() -> None:
    found = origin.anchors(load("default").stages)
    table = documents(old=0, new=len(found.logit), ai_logit=found.logit, prob_synthetic=np.full(len(found.logit), 0.5))
    flagged = np.array(origin.judge(table, None, found, None, OriginParams()).columns["origin_flagged"])
    assert np.average(flagged, weights=found.weight) == pytest.approx(0.01, abs=0.002)
