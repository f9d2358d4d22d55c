"""From what was kept to the mixture, end to end on real text: human text stays whole and looks like itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from curator.progress import Silent
from curator.recipe import load
from curator.run import Request, filter_corpus
from tests.conftest import ROOT

HUMAN = 1_600  # news of 2016 and 2017, every second of them with its date
CHAT = 400  # a model's replies, which nobody declares to be such


def ask(out: Path, sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(out / "audit.duckdb"), read_only=True) as con:
        con.execute("set variable run = ?", [str(out)])
        return con.sql(sql).fetchall()


def crawl(chat: int) -> pa.Table:
    """News without a source of its own, and some chat, as one crawl."""
    sample = pq.read_table(ROOT / "data/sample/corpus.parquet")
    parts = [sample.filter(pc.equal(sample["source"], name)).slice(0, n) for name, n in (("news", HUMAN), ("sharegpt", chat))]  # fmt: skip
    whole = pa.concat_tables(parts)
    dated = np.arange(whole.num_rows) % 2 == 0
    return pa.table(
        {
            "id": [f"{'h' if i < HUMAN else 's'}{i}" for i in range(whole.num_rows)],
            "text": whole["text"],
            "date": pc.if_else(pa.array(dated), whole["date"], pa.scalar(None, whole["date"].type)),
            "source": ["crawl"] * whole.num_rows,
        }
    )


def curated(folder: Path, table: pa.Table) -> Path:
    pq.write_table(table, folder / "crawl.parquet")
    filter_corpus(Request((str(folder / "crawl.parquet"),), folder / "out", load("default"), workers=0), Silent())
    return folder / "out"


@pytest.fixture(scope="module")
def human(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return curated(tmp_path_factory.mktemp("human"), crawl(0))


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return curated(tmp_path_factory.mktemp("mixed"), crawl(CHAT))


def test_a_corpus_of_people_is_kept_whole_and_called_human(human: Path) -> None:
    ((kept, drawn),) = ask(human, "select count(*), count(*) filter (outcome = 'curated') from documents where keep")
    assert kept > 0.9 * HUMAN and drawn >= 0.97 * kept
    ((share, low),) = ask(human, "select share, low from shares where scope = 'mixture' and dimension = 'all' and unit = 'docs'")  # fmt: skip
    assert share <= 0.03 and low == 0


def test_and_looks_like_itself(human: Path) -> None:
    """A share of the null's own draws this far off is expected; 13 measures at 3.5 deviations are passed 99 times of 100."""
    found = ask(human, "select metric, z from representativeness where scope = 'mixture'")
    assert len(found) == 13
    assert [(metric, z) for metric, z in found if abs(z) > 3.5] == []


def test_chat_that_nobody_declared_is_left_out_and_people_stay(mixed: Path) -> None:
    told = ask(
        mixed,
        "select record_id[1] = 's' as chat, sum(n_words) filter (keep), coalesce(sum(n_words * weight), 0) from documents group by 1 order by 1",
    )
    (_, kept, drawn), (_, _, machine) = told
    assert drawn >= 0.9 * kept
    share = float(machine) / float(drawn + machine)
    ((target, realised),) = ask(mixed, "select target, realised from constraints where name = 'max_synthetic'")
    ((bound,),) = ask(mixed, "select high from shares where scope = 'mixture' and dimension = 'all' and unit = 'words'")
    assert share <= target and realised <= target and share <= bound


def test_the_share_of_what_came_in_is_told(mixed: Path) -> None:
    ((low, high),) = ask(mixed, "select low, high from shares where scope = 'input' and dimension = 'all' and unit = 'docs'")  # fmt: skip
    assert low <= CHAT / (HUMAN + CHAT) <= high
