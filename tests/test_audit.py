from __future__ import annotations

import duckdb
import pytest

from curator.audit import ask, columns, open_audit, rows_of
from tests.conftest import Finished

TABLES = {
    "alarms", "cluster_members", "clusters", "constraints", "dedup", "documents", "drop_counts", "inputs", "margins",
    "models", "quarantine", "reasons", "rules", "runs", "shares", "sources", "stages", "strata", "verdicts",
}  # fmt: skip


@pytest.fixture(scope="module")
def con(finished_run: Finished) -> duckdb.DuckDBPyConnection:
    return open_audit(finished_run.out)


def one(con: duckdb.DuckDBPyConnection, sql: str) -> tuple:
    (row,) = con.execute(sql).fetchall()
    return row


def test_every_table_view_and_column_says_what_it_is(con: duckdb.DuckDBPyConnection) -> None:
    found = columns(con)
    assert set(found) >= TABLES
    assert [(t, c) for t, held in found.items() for c, _, meaning in held if not meaning] == []
    named = "select {0}_name, comment from duckdb_{0}s() where not internal and database_name <> 'temp'"
    comments = [row for kind in ("table", "view") for row in con.execute(named.format(kind)).fetchall()]
    assert {name for name, _ in comments} == set(found) and all(comment for _, comment in comments)


def test_a_cluster_is_its_members(con: duckdb.DuckDBPyConnection) -> None:
    rows = rows_of(
        con,
        "select cluster, c.members, c.removed, count(*) as n, count(*) filter (m.outcome = 'duplicate') as gone, "
        "count(*) filter (m.doc_id = m.survivor) as stands from clusters c join cluster_members m using (cluster) group by all",
    )
    assert len(rows) == one(con, "select count(*) from clusters")[0] >= 9
    assert sum(row["n"] for row in rows) == one(con, "select count(*) from cluster_members")[0]
    assert all(row["n"] == row["members"] >= 2 and row["gone"] == row["removed"] for row in rows)
    assert all(row["stands"] == 1 for row in rows)


def test_verdicts_are_the_rules_that_fired_and_add_up_to_the_dropped(con: duckdb.DuckDBPyConnection) -> None:
    by_rule = dict(con.execute("select reason, count(*) from verdicts group by all").fetchall())
    assert by_rule == dict(con.execute("select reason, fired from rules where fired > 0").fetchall()) != {}
    dropped = one(con, "select count(*) from documents where outcome = 'dropped'")
    assert one(con, "select count(distinct doc_id) from verdicts") == dropped
    assert one(con, "select bool_and(alone = (len(d.reasons) = 1)) from verdicts v join documents d using (doc_id)")[0]
    alone = dict(con.execute("select reason, count(*) from verdicts where alone group by all").fetchall())
    counted = "select reason, for_this_alone from drop_counts where reason in (select reason from rules)"
    assert alone == {k: n for k, n in con.execute(counted).fetchall() if n}


def test_margins_add_up_to_what_came_in_and_what_the_mixture_holds(con: duckdb.DuckDBPyConnection) -> None:
    whole = one(
        con,
        "select count(*) filter (quarantine is null), count(*) filter (keep), count(*) filter (outcome = 'curated') from documents",
    )
    total = "select sum(input), sum(kept), sum(mixture) from margins where dimension = 'source'"
    assert one(con, total) == whole
    fractions = one(con, "select sum(input_fraction), sum(mixture_fraction) from margins where dimension = 'source'")
    assert fractions == pytest.approx((1, 1))
    for row in rows_of(con, "from margins where input > 0"):
        assert row["retention"] == pytest.approx(row["mixture"] / row["input"])
        assert row["enrichment"] == pytest.approx(row["retention"] * whole[0] / whole[2])


def test_a_share_says_how_much_of_its_stratum_it_speaks_of(con: duckdb.DuckDBPyConnection) -> None:
    assert one(con, "select bool_and(coverage = n_judged / n) from shares where n > 0")[0]
    assert one(con, "select count(*) from shares where n = 0 and coverage is not null")[0] == 0
    assert (
        0 < one(con, "select coverage from shares where scope = 'input' and dimension = 'all' and unit = 'docs'")[0] < 1
    )


@pytest.mark.parametrize(
    "query",
    [
        "copy rules to '{out}/mixture/x.parquet'",
        "explain analyze copy rules to '{out}/mixture/x.parquet'",
        "copy rules to '{out}/audit.duckdb'",
        "export database '{out}/mixture'",
        "prepare p as copy rules to '{out}/mixture/x.parquet'",
        "select 1; copy rules to '{out}/mixture/x.parquet'",
        "create temp table x as select 1",
        "set variable run = '/etc'",
        "attach '{out}/audit.duckdb' as a",
        "",
    ],
)
def test_a_question_cannot_write(finished_run: Finished, query: str) -> None:
    before = {p: p.stat().st_mtime_ns for p in finished_run.out.rglob("*")}
    with (
        open_audit(finished_run.out) as con,
        pytest.raises(duckdb.PermissionException, match=r"read-only|one statement"),
    ):
        ask(con, query.format(out=finished_run.out))
    assert {p: p.stat().st_mtime_ns for p in finished_run.out.rglob("*")} == before


@pytest.mark.parametrize(
    "query",
    ["select 1", "from rules", "describe rules", "summarize rules", "show tables", "with x as (select 1) from x;"],
)
def test_a_question_is_answered(con: duckdb.DuckDBPyConnection, query: str) -> None:
    assert len(ask(con, query).fetchall()) > 0


def test_the_account_opened_twice_shows_its_texts_twice(finished_run: Finished) -> None:
    for query in ("from texts", "from mixture", "from documents"):
        with open_audit(finished_run.out) as one_, open_audit(finished_run.out) as two:
            assert len(ask(one_, query).fetchall()) == len(ask(two, query).fetchall()) > 20
