"""Paragraphs that a domain repeats are measured; copies of one article are not boilerplate, nor what another domain says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curator.errors import RecipeError
from curator.progress import Silent
from curator.recipe import from_dict
from curator.run import Request, filter_corpus
from curator.stages import boilerplate
from curator.stages.boilerplate import Boilerplate, Paragraphs
from tests.corpus import prose
from tests.test_run import CHEAP

NOTICE = "All rights reserved by the publishers of this site since {}."


def paragraphs(rows: list[tuple[str | None, str | None]]) -> pa.RecordBatch:
    texts, urls = zip(*rows, strict=True)
    batch = pa.RecordBatch.from_pydict(
        {"text": pa.array(texts, pa.large_string()), "url": pa.array(urls, pa.string()), "source": ["s"] * len(rows)}
    )
    return Paragraphs().open()(batch)


def fractions(rows: list[tuple[str | None, str | None]], counted: list[bool] | None = None) -> list[float | None]:
    batch = paragraphs(rows)
    stage = Boilerplate()
    flags = np.ones(len(rows), bool) if counted is None else np.array(counted)
    found: list[float | None] = stage.open_with(stage.learn([(batch, flags)]))(batch)[
        "boilerplate_fraction"
    ].to_pylist()
    return found


def page(number: int, host: str = "www.e.co.uk") -> tuple[str, str]:
    return f"{prose(number, 3)}\n{NOTICE.format(1990 + number)}", f"https://{host}/{number}"


def test_a_notice_that_a_domain_repeats_is_boilerplate_whatever_its_year() -> None:
    rows = [page(1), page(2, "news.e.co.uk"), page(3), page(4, "other.org"), (None, None), ("", None)]
    first, second, third, alone, null, empty = fractions(rows)
    for (text, _), share in zip(rows, (first, second, third), strict=False):
        assert text and share == pytest.approx(len(text.split("\n")[1]) / (len(text) - 1), abs=1e-6)
    assert alone == 0 and null is None and empty == 0


def test_two_documents_are_not_enough_and_one_document_counts_once() -> None:
    assert fractions([page(1), page(2)]) == [0, 0]
    text = "\n".join([NOTICE.format(1)] * 5)
    assert fractions([(text, "https://e.org/1")]) == [0]


def test_copies_do_not_count() -> None:
    rows = [page(1), page(1), page(1), page(1)]
    assert all(share == 1 for share in fractions(rows))
    assert fractions(rows, [True, False, False, False]) == [0, 0, 0, 0]


def test_without_an_address_the_source_is_the_domain() -> None:
    rows = [(text, None) for text, _ in (page(1), page(2), page(3))]
    assert all(share and share > 0 for share in fractions(rows))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.integers(0, 6), max_size=6), min_size=1, max_size=12), st.integers(1, 9))
def test_learning_in_parts_is_counting(documents: list[list[int]], part: int) -> None:
    rows: list[tuple[str | None, str | None]] = [
        ("\n".join(f"paragraph {'abcdefg'[n] * 20}" for n in lines), "https://e.org") for lines in documents
    ]
    counts = {n: sum(n in lines for lines in documents) for n in range(7)}
    expected = [sum(counts[n] >= 3 for n in lines) / len(lines) if lines else 0.0 for lines in documents]
    before = boilerplate._PARTITION
    try:
        boilerplate._PARTITION = part  # type: ignore[misc]
        assert fractions(rows) == pytest.approx(expected)
    finally:
        boilerplate._PARTITION = before  # type: ignore[misc]


def test_a_count_that_all_reach_is_refused() -> None:
    with pytest.raises(RecipeError, match="min_documents = 1"):
        Boilerplate(min_documents=1)


def test_a_run_measures_it_and_a_rule_can_use_it(tmp_path: Path) -> None:
    rows = [page(n) for n in range(20)] + [page(100)] * 5
    rows.append(("\n".join(NOTICE.format(n) for n in range(40)), "https://www.e.co.uk/notices"))
    table: dict[str, Any] = {"text": [text for text, _ in rows], "url": [url for _, url in rows]}
    pq.write_table(pa.table(table), tmp_path / "c.parquet")
    recipe = from_dict(
        CHEAP
        | {"stages": CHEAP["stages"] | {"paragraphs": {}, "boilerplate": {}}}  # type: ignore[operator]
        | {"rules": {"mostly_boilerplate": "boilerplate_fraction > 0.8"}}
    )
    for workers, out in ((1, "a"), (2, "b")):
        filter_corpus(Request((str(tmp_path / "c.parquet"),), tmp_path / out, recipe, workers=workers), Silent())
    ledger = pq.read_table(tmp_path / "a" / "ledger").to_pylist()
    assert [row["row"] for row in ledger if "mostly_boilerplate" in row["reasons"]] == [25]
    assert all(0 < row["boilerplate_fraction"] < 0.5 for row in ledger[:25])
    assert "paragraph_keys" not in ledger[0]
    learned = [(tmp_path / out / "learned" / "boilerplate.parquet").read_bytes() for out in "ab"]
    assert learned[0] == learned[1]
