"""Lines become texts or reasons, and whoever measures them says the same."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curator.errors import InputError
from curator.judged import Judged
from curator.readers.columns import Columns
from curator.recipe import Recipe, from_dict
from curator.score import Line, Scorer, json_lines, open_lines, said
from curator.unstored import Document

PLAIN = {"stages": {"exact": {}, "text_stats": {}, "language": {}}, "mixture": {"max_synthetic": 1.0}}
TEXTS = ["The wind had turned to the north before anybody in the harbour was awake.", "", "Nichts davon stimmt."]


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return from_dict(PLAIN)


def test_a_line_that_holds_no_text_keeps_its_place_and_says_why() -> None:
    lines = [b'{"id": 1, "text": "a"}', b" ", b"[", b"7", b'{"id": 2}', b'{"id": 3, "text": "\\ud800"}', b"[" * 100_000]
    found = [(line.id, line.text, line.fault) for line in json_lines(lines)]
    assert found == [
        (1, "a", None),
        (None, None, "line 3 is not JSON"),
        (None, None, "line 4 is not an object"),
        (2, None, "line 5 has no string in 'text'"),
        (3, None, "not_utf8"),
        (None, None, "line 7 is not JSON"),
    ]


def test_parquet_is_known_by_its_bytes(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": ["a", "b"], "text": pa.array(["x", None])}), tmp_path / "texts.jsonl")
    found = [(line.id, line.text, line.fault) for line in open_lines(str(tmp_path / "texts.jsonl"), (), Columns())]
    assert found == [("a", "x", None), ("b", None, "no_text")]
    with pytest.raises(InputError, match=r"no such file.*name a JSON-lines or Parquet file"):
        list(open_lines(str(tmp_path / "none"), (), Columns()))


def test_the_reason_is_the_texts_fault_or_why_the_detector_abstained() -> None:
    assert said(Line(1, None, "no_text"), {"ai_abstain": "too_short"})["reason"] == "no_text"
    assert said(Line(1, "a"), {"ai_abstain": "too_short"})["reason"] == "too_short"
    assert said(Line(1, "a"), {"quality": 0.5, "n_words": 1}) == {
        "id": 1, "prob_synthetic": None, "synthetic": None, "quality": 0.5, "language": None,
    }  # fmt: skip


def test_score_and_judged_say_the_same_of_a_text_whatever_stands_beside_it(recipe: Recipe) -> None:
    lines = [Line(i, text) for i, text in enumerate(TEXTS)]
    rows = list(Scorer(recipe).score(lines))
    assert [row["language"] for row in rows] == ["en", None, "de"]
    assert [row for line in lines for row in Scorer(recipe).score([line])] == rows
    judged = [json.loads(row) for row in Judged(recipe).judge([Document(line.text or "", line.id) for line in lines])]
    assert [{name: row[name] for name in rows[0]} for row in judged] == rows
    assert all(row["keep"] is True and row["signals"]["n_words"] >= 0 for row in judged)


def test_measured_documents_keep_their_columns(recipe: Recipe) -> None:
    texts = pa.array(TEXTS, pa.large_string())
    batch = pa.RecordBatch.from_pydict(
        {"doc_id": pa.array([b"%016d" % i for i in range(3)]), "text": texts, "mine": [1, 2, 3]}
    )
    found = Scorer(recipe).with_signals(batch)
    assert found.schema.names[:3] == ["doc_id", "text", "mine"] and "n_words" in found.schema.names
    assert found["n_words"].equals(Scorer(recipe).measure([Line(i, text) for i, text in enumerate(TEXTS)])["n_words"])
