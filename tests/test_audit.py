from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import uuid
from pathlib import Path
from subprocess import PIPE

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curator import account, audit
from curator.audit import ask, columns, open_audit, rows_of
from curator.shards import sweep
from tests.conftest import ROOT, Finished

TABLES = {
    "alarms", "cluster_members", "clusters", "constraints", "dedup", "documents", "drop_counts", "frontier", "inputs", "margins",
    "models", "origin", "quarantine", "reasons", "representativeness", "rules", "runs", "shares", "sources", "stages", "strata",
    "tiers", "verdicts",
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


def test_strata_add_up_to_what_was_kept_and_drawn(con: duckdb.DuckDBPyConnection) -> None:
    kept, drawn = one(con, "select count(*) filter (keep), count(*) filter (outcome = 'curated') from documents")
    for row in rows_of(
        con,
        "select dimension, sum(kept) as kept, sum(drawn) as drawn, sum(share_kept) as a, sum(share_expected) as b, "
        "sum(share_drawn) as c, bool_and(retention between 0 and 1 and human between 0 and kept + 1e-9) as sane "
        "from strata where dimension in ('topic', 'source') group by dimension",
    ):
        whole = one(con, "select count(topic), count(topic) filter (outcome = 'curated') from documents where keep")
        assert (row["kept"], row["drawn"]) == ((kept, drawn) if row["dimension"] == "source" else whole)
        if whole[0] == kept:
            assert (row["a"], row["b"], row["c"]) == pytest.approx((1, 1, 1))
        assert row["sane"]
    topics = "select topic, count(*) from documents where keep and topic is not null group by all order by all"
    named = "select stratum, kept from strata where dimension = 'topic' order by all"
    assert con.execute(topics).fetchall() == con.execute(named).fetchall() != []


def test_a_box_holds_its_reference_and_says_whether_it_was_met(con: duckdb.DuckDBPyConnection) -> None:
    boxed = rows_of(con, "from strata where low is not null")
    assert boxed
    for row in boxed:
        assert 0 <= row["low"] <= row["reference"] <= row["high"] <= 1
        assert row["met"] == (row["low"] - 1e-6 <= row["share_expected"] <= row["high"] + 1e-6)
    frontier = con.execute("select cap, words from frontier order by cap").fetchall()
    assert [words for _, words in frontier] == sorted(words for _, words in frontier)


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


def test_settings_are_those_of_the_first_who_opened_it_and_stay(finished_run: Finished, tmp_path: Path) -> None:
    shutil.copy(finished_run.out / "audit.duckdb", tmp_path)  # of the run's own another test may hold a connection
    held = "select current_setting('threads'), current_setting('temp_directory')"
    with open_audit(tmp_path, {"threads": 1, "temp_directory": ""}) as first:
        assert one(first, held) == (1, "")
        with open_audit(tmp_path, {"threads": 2}) as second:
            assert one(second, held) == (1, "")
            with pytest.raises(duckdb.InvalidInputException, match="locked"):
                second.execute("set threads = 2")


@pytest.fixture(scope="module")
def as_view(finished_run: Finished, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same account with the per-document part as a view over the ledger, as beyond `TABLE_ROWS`."""
    out = tmp_path_factory.mktemp("view") / "out"
    rebuilt(finished_run.out, out, 0)
    return out


def rebuilt(root: Path, out: Path, table_rows: int) -> None:
    """An account built again from a run's ledger and its own tables."""
    if not out.exists():
        out.mkdir()
        for name in ("ledger", "mixture", "documents", "run.json", "manifest.json"):
            (out / name).symlink_to(root / name)
    with open_audit(root) as con:
        names = [
            "runs",
            "inputs",
            "stages",
            "models",
            "rules",
            "alarms",
            "origin",
            "tiers",
            "dedup",
            "shares",
            "strata",
            "constraints",
            "frontier",
            "representativeness",
        ]
        tables = {name: (name, con.sql(f"from {name}").to_arrow_table()) for name in names}
    schema = pq.read_schema(next((root / "ledger").glob("*.parquet")))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(audit, "TABLE_ROWS", table_rows)
        audit.build(out, schema, 1, tables)


def test_a_large_account_has_the_same_names_types_and_answers(
    finished_run: Finished, as_view: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ledger").mkdir()  # another run's, in the working folder: nobody may read it by mistake
    pq.write_table(pa.table({"doc_id": [1]}), tmp_path / "ledger" / "000000.parquet")
    monkeypatch.chdir(tmp_path)
    with open_audit(finished_run.out) as small, open_audit(as_view) as large:
        a, b = columns(small), columns(large)
        assert (
            set(b) - set(a) == {"lookup"}
            and one(large, "select count(*) from duckdb_views() where view_name = 'documents'")[0]
        )
        assert {name: [(c, t) for c, t, _ in held] for name, held in a.items()} == {
            name: [(c, t) for c, t, _ in held] for name, held in b.items() if name != "lookup"
        }
        for name in a:
            query = f"select count(*), bit_xor(md5_number(t::varchar))::varchar from {name} t"
            assert one(small, query) == one(large, query), name


def test_a_document_is_found_in_one_file_of_a_large_account(finished_run: Finished, as_view: Path) -> None:
    with open_audit(finished_run.out) as con:
        (row,) = rows_of(con, "select doc_id, url, record_id from documents where url is not null limit 1 offset 7")
        member = one(con, "select doc_id from cluster_members limit 1")[0]
    for name in (*row.values(), member):
        small, large = account.explain(finished_run.out, str(name)), account.explain(as_view, str(name))
        assert small == large != []
    with open_audit(as_view) as con:
        assert audit.documents_where(con, "url", "https://nobody.example/") == []
        assert audit.documents_where(con, "doc_id", uuid.UUID(int=3)) == []


def test_a_reader_keeps_the_account_it_opened_while_its_successor_is_written(
    finished_run: Finished, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    rebuilt(finished_run.out, out, 1000)
    reader = subprocess.Popen([sys.executable, "-c", READER, str(out)], stdin=PIPE, stdout=PIPE, text=True, cwd=ROOT)
    assert reader.stdin and reader.stdout
    assert reader.stdout.readline().split() == [str(finished_run.rows), "1"]
    before = (out / "audit.duckdb").stat().st_ino
    rebuilt(finished_run.out, out, 1000)
    assert (out / "audit.duckdb").stat().st_ino != before
    reader.stdin.write("again\n")
    reader.stdin.flush()
    assert reader.stdout.readline().split() == [str(finished_run.rows), "1"]
    with open_audit(out) as con:
        assert one(con, "select count(*) from documents") == (finished_run.rows,)
    reader.communicate("")
    assert reader.returncode == 0


def test_a_killed_build_leaves_the_old_account_or_none(finished_run: Finished, tmp_path: Path) -> None:
    out = tmp_path / "out"
    rebuilt(finished_run.out, out, 1000)
    before = (out / "audit.duckdb").read_bytes()
    for after in ("documents", "views"):
        child = subprocess.run([sys.executable, "-c", KILLED, str(out), after], cwd=ROOT, check=False)
        assert child.returncode == -signal.SIGKILL
        assert (out / "audit.duckdb").read_bytes() == before
        assert list(out.glob("audit.duckdb.*")), "killed before it wrote"
        with open_audit(out) as con:
            assert one(con, "select count(*) from documents") == (finished_run.rows,)
        sweep(out)
        assert list(out.glob("audit.duckdb.*")) == []
    rebuilt(finished_run.out, out, 1000)
    (out / "audit.duckdb").unlink()
    child = subprocess.run([sys.executable, "-c", KILLED, str(out), "views"], cwd=ROOT, check=False)
    assert child.returncode == -signal.SIGKILL and not (out / "audit.duckdb").exists()


READER = """
import sys
from pathlib import Path
from curator.audit import open_audit
con = open_audit(Path(sys.argv[1]))
print(*con.execute("select (select count(*) from documents), (select count(*) from runs)").fetchone(), flush=True)
sys.stdin.readline()
print(*con.execute("select (select count(*) from documents), (select count(*) from runs)").fetchone(), flush=True)
"""

# Builds an account and dies by SIGKILL: with the documents written and tables to come, or when all is written but the rename.
KILLED = """
import os, signal, sys
from pathlib import Path
import pyarrow.parquet as pq
from curator import audit, report_tables

out, after = Path(sys.argv[1]), sys.argv[2]
schema = pq.read_schema(next((out / "ledger").glob("*.parquet")))
names = ("RUNS", "INPUTS", "STAGES", "MODELS", "RULES", "ALARMS", "DEDUP", "SHARES", "STRATA", "CONSTRAINTS", "FRONTIER")
tables = {name.lower(): (name, getattr(report_tables, name).empty_table()) for name in names}
die = lambda: os.kill(os.getpid(), signal.SIGKILL)

class Dying(dict):
    def items(self):
        for item in super().items():
            if after == "documents" and item[0] == "shares":
                die()
            yield item

if after != "documents":
    audit.content_hash = lambda con: die()
audit.build(out, schema, 1, Dying(tables))
"""
