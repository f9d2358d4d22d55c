"""What `explain` says of one document: the evidence of its origin adds up, the input's own columns come along."""

from __future__ import annotations

import datetime as dt
import math
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curator import account
from curator.account import Explanation, explain
from curator.evidence import TERM_NAMES, Trust
from curator.progress import Silent
from curator.recipe import from_dict
from curator.run import Request, filter_corpus
from tests import corpus
from tests.test_audit import rebuilt

HOST = "https://farm.example"
RECIPE = {
    "name": "explained",
    "seed": 1,
    "stages": {
        name: {}
        for name in ("exact", "minhash", "text_stats", "hygiene", "traces", "language", "ngram", "embed", "ai_text")
    },
    "rules": {"too_short": "n_words < 25"},
}
OPT_OUT = ["robots meta: noai", "TDM-Reservation: 1"]


def documents() -> list[dict[str, Any]]:
    """The tests' corpus, and rows that each have one witness more than their text."""
    rows = corpus.rows(60)
    extra = [
        {"id": "old", "date": dt.datetime(2015, 3, 1)},
        {"id": "epoch", "date": dt.datetime(1970, 1, 1)},
        {"id": "new", "date": dt.datetime(2024, 6, 1), "opt_out_evidence": OPT_OUT, "offset": 4096},
        {"id": "declared", "declared_origin": "synthetic"},
        {"id": "human", "declared_origin": "human"},
        {"id": "trace", "text": corpus.prose(7009, 20) + " As an AI language model, I cannot say more."},
    ]
    rows += [
        {"text": corpus.prose(7000 + i, 20), **r, "url": f"{HOST}/{i}", "source": "farm"} for i, r in enumerate(extra)
    ]
    rows.append({"id": "again", "text": corpus.prose(7002, 20), "source": "mirror", "date": dt.datetime(2016, 1, 5)})
    for row in rows:
        if isinstance(row.get("date"), str):
            row["date"] = dt.datetime.fromisoformat(row["date"])
    return rows


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("explained")
    names = ("id", "text", "url", "date", "source", "declared_origin", "offset", "opt_out_evidence")
    rows = documents()
    table = pa.table({name: pa.array([row.get(name) for row in rows]) for name in names})
    pq.write_table(table, folder / "corpus.parquet")
    filter_corpus(Request((str(folder / "corpus.parquet"),), folder / "out", from_dict(RECIPE), workers=1), Silent())
    return folder / "out"


def one(out: Path, name: str) -> Explanation:
    (found,) = explain(out, name)
    return found


def terms(found: Explanation) -> dict[str, tuple[float | None, str]]:
    return {line["term"]: (line["log_odds"], line["says"]) for line in found.evidence}


@pytest.mark.parametrize("name", ["old", "epoch", "new", "declared", "human", "trace", "d0", "d33"])
def test_the_evidence_adds_up_to_both_probabilities(out: Path, name: str) -> None:
    found = one(out, name)
    said = {term: value or 0.0 for term, (value, _) in terms(found).items()}
    own = sum(said[t] for t in ("text", "date", "declared", "traces", "hidden", "sightings"))
    for sum_, total in (("prob_document", own), ("prob_pooled", own + said["site"] + said["site_month"])):
        assert said[sum_] == pytest.approx(total)
        assert found.signals[sum_] == pytest.approx(1 / (1 + math.exp(-total)), rel=1e-6)
        assert f"{found.signals[sum_]:.4g}" in terms(found)[sum_][1]


def test_every_witness_is_named_with_what_it_says(out: Path) -> None:
    trust = Trust()
    assert [line["term"] for line in one(out, "old").evidence] == [
        "text", "date", "declared", "traces", "hidden", "sightings", "prob_document", "site", "site_month", "prob_pooled",
    ]  # fmt: skip
    assert terms(one(out, "old"))["date"] == (trust.old, "dated 2015-03-01, before 2022-11-30")
    assert terms(one(out, "epoch"))["date"] == (0.0, "dated 1970-01-01, which stands for an unknown day: nothing")
    assert terms(one(out, "new"))["date"] == (0.0, "dated 2024-06-01, not before 2022-11-30: nothing")
    assert terms(one(out, "new"))["sightings"] == (
        trust.old,
        "copies dated before 2022-11-30, where its own date is not",
    )
    assert terms(one(out, "human"))["date"] == (0.0, "undated: nothing")
    assert terms(one(out, "declared"))["declared"] == (trust.declared_synthetic, "its source declares synthetic")
    assert terms(one(out, "human"))["declared"] == (trust.declared_human, "its source declares human")
    assert terms(one(out, "trace"))["traces"] == (trust.first_trace, "1 assistants' phrases left standing")
    assert terms(one(out, "old"))["traces"] == (0.0, "0 assistants' phrases left standing: nothing")
    assert terms(one(out, "declared"))["site"][1] == "the other documents of farm.example"
    assert terms(one(out, "declared"))["site"][0]
    assert terms(one(out, "short"))["text"] == (None, "its wording was not judged (too_short): nothing")
    assert terms(one(out, "short"))["prob_pooled"] == (None, "nobody judged it and nothing else speaks")


def test_evidence_is_not_said_twice_and_survives_json(out: Path) -> None:
    found = one(out, "new")
    assert not set(TERM_NAMES) & set(found.signals)
    assert account.plain(vars(found))["evidence"] == found.evidence


def test_columns_that_travel_through_are_shown_where_they_hold_something(out: Path) -> None:
    assert one(out, "new").travelling == {"offset": 4096, "opt_out_evidence": OPT_OUT}
    assert one(out, "old").travelling == {}


def test_a_run_without_its_documents_explains_all_the_same(out: Path, tmp_path: Path) -> None:
    bare = shutil.copytree(out, tmp_path / "bare")
    shutil.rmtree(bare / "documents")
    assert one(bare, "new").travelling == {}
    assert one(bare, "new").evidence == one(out, "new").evidence


def test_a_large_account_reads_only_the_file_that_holds_the_document(out: Path, tmp_path: Path) -> None:
    large = tmp_path / "large"
    rebuilt(out, large, 0)
    (large / "documents").unlink()
    shutil.copytree(out / "documents", large / "documents")
    (large / "documents" / "999999.parquet").write_bytes(b"not Parquet: whoever opens it fails")
    for name in ("new", "d0", "short"):
        assert explain(large, name) == explain(out, name)
    assert one(large, "new").travelling["offset"] == 4096
