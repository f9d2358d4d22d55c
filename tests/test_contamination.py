"""Evaluation items are found in texts that hold them, by name; common phrases and templates are not."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from curator.errors import InputError
from curator.progress import Silent
from curator.recipe import from_dict, with_decontamination
from curator.run import Request, filter_corpus
from curator.stages.contamination import Contamination, fields_of
from tests.corpus import prose
from tests.test_run import CHEAP

QUESTION = (
    "A baker made twelve loaves on Monday and sold five of them before noon. How many loaves were left on the shelf?"
)
ANSWER = (
    "Seven loaves were left because twelve minus five is seven, and no other loaf was baked that day in the village."
)


def written(path: Path, records: list[Any]) -> str:
    path.write_text("\n".join(json.dumps(r) for r in records))
    return str(path)


def measure(texts: list[str | None], *files: str, ngram: int = 13) -> list[dict[str, Any]]:
    batch = pa.RecordBatch.from_pydict({"text": pa.array(texts, pa.large_string())})
    return Contamination(tuple(files), ngram).open()(batch).to_pylist()


def test_a_page_that_quotes_a_question_is_named_with_it(tmp_path: Path) -> None:
    file = written(tmp_path / "eval.jsonl", [{"id": "q7", "question": QUESTION, "answer": ANSWER}])
    quoted = f"{prose(1)} {QUESTION.upper()} {prose(2)}"
    half = f"{prose(3)} {' '.join(ANSWER.split()[:16])} {prose(4)}"
    rows = measure([prose(5), quoted, half, None, ""], file)
    assert [row["contamination_item"] for row in rows] == [
        None,
        "eval.jsonl:q7.question",
        "eval.jsonl:q7.answer",
        None,
        None,
    ]
    assert rows[0]["contamination"] == 0 and rows[1]["contamination"] == 1
    assert 0 < rows[2]["contamination"] < 0.5
    assert rows[3]["contamination"] is None and rows[4]["contamination"] == 0


def test_short_fields_are_found_whole_and_tiny_ones_are_not_looked_for(tmp_path: Path) -> None:
    short = "the capital of the old northern kingdom was Uppsala"
    file = written(tmp_path / "eval.jsonl", [{"id": 1, "question": short, "answer": "it was Uppsala"}])
    found, tiny = measure([f"I know that {short}, said the teacher.", "He said it was Uppsala."], file)
    assert (found["contamination"], found["contamination_item"]) == (1, "eval.jsonl:1.question")
    assert tiny["contamination"] == 0


def own(number: int) -> str:
    return " ".join(f"word{number}x{k}" for k in range(30))


def test_what_every_item_shares_is_form(tmp_path: Path) -> None:
    form = "Read the following passage with care and choose the one answer that fits it best of all the four"
    file = written(tmp_path / "eval.jsonl", [{"id": n, "prompt": f"{form} " + own(n)} for n in range(50)])
    assert measure([form + ". " + own(99)], file)[0]["contamination"] == 0


def test_formats_and_nested_fields(tmp_path: Path) -> None:
    record = {"task_id": "t", "messages": [{"role": "user", "content": QUESTION}], "n": 3, "none": None}
    (tmp_path / "a.json").write_text(json.dumps([record]))
    pq.write_table(pa.Table.from_pylist([record]), tmp_path / "b.parquet")
    (tmp_path / "c.csv").write_text(f'task_id,content\nt,"{QUESTION}"\n')
    (tmp_path / "d.jsonl.gz").write_bytes(gzip.compress(json.dumps(record).encode()))
    (tmp_path / "e.jsonl.zst").write_bytes(zstandard.compress(json.dumps(record).encode()))
    for name in ("d.jsonl.gz", "e.jsonl.zst"):
        assert (f"{name}:t.messages.0.content", QUESTION) in list(fields_of(str(tmp_path / name)))
    for name, field in (("a.json", "messages.0.content"), ("b.parquet", "messages.0.content"), ("c.csv", "content")):
        assert (f"{name}:t.{field}", QUESTION) in list(fields_of(str(tmp_path / name)))


@pytest.mark.parametrize("data", [gzip.compress(b"{}" * 99)[:-9], b"{broken", b"\xff\xfe\x00", b"[" * 100_000])
def test_a_set_that_cannot_be_read_is_named(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "eval.jsonl").write_bytes(data)
    with pytest.raises(InputError, match=r"evaluation set .*eval\.jsonl cannot be read"):
        measure(["x"], str(tmp_path / "eval.jsonl"))
    with pytest.raises(InputError, match="cannot be read"):
        Contamination((str(tmp_path / "none.jsonl"),)).fingerprint()


def test_a_run_drops_what_holds_an_item_and_says_which(tmp_path: Path) -> None:
    file = written(tmp_path / "eval.jsonl", [{"id": "q7", "question": QUESTION}])
    texts = [prose(n) for n in range(20)]
    texts[3] += " " + QUESTION
    pq.write_table(pa.table({"text": texts}), tmp_path / "c.parquet")
    recipe = with_decontamination(from_dict(CHEAP), [file])
    assert from_dict(recipe.as_dict()).fingerprint() == recipe.fingerprint()
    filter_corpus(Request((str(tmp_path / "c.parquet"),), tmp_path / "out", recipe, workers=1), Silent())
    (row,) = [row for row in pq.read_table(tmp_path / "out" / "ledger").to_pylist() if "contaminated" in row["reasons"]]
    assert row["row"] == 3 and row["contamination_item"] == "eval.jsonl:q7.question"


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 40), min_size=30, max_size=80), st.integers(0, 30), st.integers(14, 30))
def test_the_share_is_that_of_sets_of_ngrams(tmp_path_factory: Any, words: list[int], begin: int, length: int) -> None:
    item = [f"w{n}" for n in words]
    text = item[begin : begin + length]
    file = written(tmp_path_factory.mktemp("c") / "e.jsonl", [{"id": 0, "q": " ".join(item)}])
    grams = {tuple(item[i : i + 13]) for i in range(len(item) - 12)}
    held = grams & {tuple(text[i : i + 13]) for i in range(len(text) - 12)}
    (row,) = measure([" ".join(text)], file)
    assert row["contamination"] == pytest.approx(len(held) / len(grams))
    assert row["contamination_ngrams"] == len(held)
