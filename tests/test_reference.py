"""What a mixture is held to: a snapshot first, dated text next, likely human text else; and a snapshot's way through a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curator import reference, run
from curator.curation import Judged
from curator.errors import InputError, RecipeError
from curator.progress import Silent
from curator.recipe import from_dict
from curator.run import Request
from tests import corpus
from tests.judging import column
from tests.judging import judged as documents

RECIPE: dict[str, Any] = {
    "name": "with topics",
    "seed": 5,
    "stages": {"exact": {}, "minhash": {}, "text_stats": {}, "language": {}, "topic": {}},
    "rules": {"too_short": "n_words < 20"},
    "mixture": {"max_synthetic": 1.0},
}


def judged(n: int, **columns: Any) -> Judged:
    plain = {"prob_document": np.full(n, 0.1), "n_words": np.full(n, 100), "source": column(n, "a", "b")}
    return documents(n, **plain | columns)


def test_a_snapshot_goes_before_dates_and_dates_before_likelihood() -> None:
    n = 1000
    some, old = np.arange(n) < 50, np.arange(n) < 400
    assert reference.kind_of(judged(n, reference=some, trusted=old)) == "snapshot"
    assert reference.kind_of(judged(n, trusted=old)) == "dated"
    assert reference.kind_of(judged(n, trusted=np.arange(n) < 100)) == "likely human"


def test_topics_are_learned_from_the_reference_alone() -> None:
    n = 1000
    likely = np.where(np.arange(n) % 3 == 0, 0.9, np.where(np.arange(n) % 3 == 1, 0.1, np.nan))
    unique = np.arange(n) != 5
    found = reference.members(judged(n, prob_document=likely), unique)
    assert not found[likely > 0.5].any() and found[likely < 0.5].sum() == found[likely < 0.5].size
    snapshot = np.arange(n) < 50
    np.testing.assert_array_equal(reference.members(judged(n, reference=snapshot), unique), snapshot & unique)


def test_dated_text_stands_for_the_human_text_of_its_own_source() -> None:
    n = 1000
    even = np.arange(n) % 2 == 0  # source a
    dated = even & (np.arange(n) < 600)
    q = np.where(even, 0.2, 0.6)
    found = reference.reference(judged(n, trusted=dated), np.ones(n, np.bool_), q)
    assert found.kind == "dated" and not found.words[even & ~dated].any()
    assert found.words[even].sum() == pytest.approx(500 * 100 * 0.8)  # all of a's human words, by its dated text
    np.testing.assert_allclose(found.words[~even], 100 * 0.4)  # b has none: each with its P(human)


def test_kept_documents_alone_count() -> None:
    n = 400
    kept = np.arange(n) % 4 != 0
    found = reference.reference(judged(n), kept, np.zeros(n))
    assert not found.words[~kept].any() and (found.words[kept] == 100).all()


def test_without_counted_words_bytes_stand_for_them() -> None:
    found = reference.reference(judged(4, n_words=np.zeros(4, np.int64)), np.ones(4, np.bool_), np.zeros(4))
    assert (found.words == 1_200).all()


def test_a_margin_knows_its_share_and_its_error() -> None:
    kept, codes = np.ones(100, np.bool_), np.where(np.arange(100) < 20, 0, np.where(np.arange(100) < 90, 1, -1))
    held = reference.Reference("likely human", np.ones(100))
    found = reference._margin("source", ["a", "b", "none of it"], codes, kept, held)
    np.testing.assert_allclose(found.reference, [20 / 90, 70 / 90, np.nan])
    assert found.error[0] == pytest.approx(np.sqrt(20 / 90 * 70 / 90 / 90))


def test_small_groups_are_held_together() -> None:
    codes, kept = np.arange(500) % 300, np.ones(500, np.bool_)
    names, place = reference._largest([f"{i:03d}" for i in range(300)], codes, kept)
    assert len(names) == reference.LARGEST + 1 and (place < len(names)).all()
    assert place[0] == 0 and names[0] == "000" and place[299] == reference.LARGEST


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("reference")
    crawl = [corpus.prose(i) for i in range(120)]
    trusted = [corpus.prose(1000 + i) for i in range(30)] + [crawl[0]]
    pq.write_table(pa.table({"text": crawl, "source": ["crawl"] * 120}), path / "crawl.parquet")
    pq.write_table(pa.table({"text": trusted}), path / "mine.parquet")
    request = Request((str(path / "crawl.parquet"),), path / "out", from_dict(RECIPE), workers=1)
    run.filter_corpus(Request(**{**vars(request), "reference": (str(path / "mine.parquet"),)}), Silent())
    return path


def ask(out: Path, sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(out / "audit.duckdb"), read_only=True) as con:
        con.execute("set variable run = ?", [str(out)])
        return con.sql(sql).fetchall()


def test_a_snapshot_joins_the_run_and_gets_its_share(folder: Path) -> None:
    out = folder / "out"
    assert ask(out, "select source, count(*) from documents where reference group by source") == [("mine", 31)]
    ((met, target, share),) = ask(out, "select met, target, expected from constraints where name = 'snapshot'")
    assert met and target == 0.25 and share >= 0.25 - 1e-6
    assert ask(out, "select distinct basis from strata where dimension = 'topic'") == [("snapshot",)]
    ((copies,),) = ask(out, "select max(weight) from documents where reference")
    assert 1 <= copies <= 4


def test_of_two_copies_the_trusted_one_stands_for_both(folder: Path) -> None:
    found = ask(folder / "out", "select reference, outcome from documents where duplicate_kind = 'exact' order by all")
    assert found == [(False, "duplicate"), (True, "curated")]


def test_shares_of_the_crawl_are_without_the_snapshot(folder: Path) -> None:
    rows = dict(ask(folder / "out", "select scope, n from shares where dimension = 'all' and unit = 'docs'"))
    assert rows["input"] == 120 and rows["mixture"] > 30


def test_the_factors_of_the_ledger_multiply(folder: Path) -> None:
    rows = ask(
        folder / "out", "select mixture_base * mixture_cap * mixture_margins, expected_copies from documents where keep"
    )
    assert rows and all(abs(product - copies) < 1e-9 for product, copies in rows)


def test_redecide_knows_the_snapshot_still(folder: Path) -> None:
    out = folder / "again"
    run.redecide_run(folder / "out", ["mixture.snapshot=0.1"], out, Silent())
    ((target,),) = ask(out, "select target from constraints where name = 'snapshot'")
    assert target == 0.1 and ask(out, "select count(*) from documents where reference") == [(31,)]


def test_a_file_is_not_both(folder: Path) -> None:
    crawl = str(folder / "crawl.parquet")
    request = Request((crawl,), folder / "both", from_dict(RECIPE), workers=1, reference=(crawl,))
    with pytest.raises(InputError, match="both an input and the reference"):
        run.filter_corpus(request, Silent())


def test_a_budget_that_cannot_be_met_is_decided_again_without_measuring(folder: Path) -> None:
    recipe = from_dict(RECIPE | {"mixture": {"max_synthetic": 1.0, "budget_words": 10_000_000}})
    out = folder / "unmet"
    with pytest.raises(RecipeError, match=r"mixture\.budget_words = 10,000,000"):
        run.filter_corpus(Request((str(folder / "crawl.parquet"),), out, recipe, workers=1), Silent())
    found = run.redecide_run(out, ["mixture.budget_words=1000"], folder / "met", Silent())
    assert found["outcomes"]["curated"] > 0
