from __future__ import annotations

import duckdb
import pytest

from curator.audit import columns, open_audit, rows_of
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
    named = "select {0}_name, comment from duckdb_{0}s() where not internal"
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
