"""Every query of docs/queries.md, as it is printed there."""

from __future__ import annotations

import math
import re
from pathlib import Path

import duckdb
import pytest

from curator import audit, run
from curator.progress import Silent
from curator.recipe import from_dict
from curator.run import Request, filter_corpus
from tests.conftest import ROOT, Finished
from tests.corpus import prose
from tests.test_ingest import record, warc
from tests.test_run import CHEAP

PAGE = re.compile(r"^### (\d+)\. .*?\n\n```sql( plain)?\n(.*?)```", re.M | re.S)
FOUND = {
    int(n): (sql.strip(), bool(plain)) for n, plain, sql in PAGE.findall((ROOT / "docs/queries.md").read_text("utf-8"))
}

# What each query gives: its columns, and how many rows at least.
PINNED = {
    1: ("source scope n coverage human human_low human_high lower method reason", 9),
    2: ("month n coverage synthetic low high warning reason", 14),
    3: ("unit scope n synthetic low high method second second_method", 12),
    4: ("source declared_origin documents judged flagged flagged_fraction", 3),
    5: ("source origin documents words", 4),
    6: ("stratum level reference n_trusted n_judged n_flagged threshold_logit threshold_prob expected_fpr warning", 1),
    7: ("source term for_a_machine for_a_human mean_log_odds", 1),
    8: ("source taken flagged judged lowest_prob", 3),
    9: ("reason documents for_this_alone when", 4),
    10: ("one other documents", 1),
    11: ("reason source fired for_this_alone of_source", 3),
    12: ("doc_id source record_id n_words outcome reasons", 20),
    13: ("path reason rows first_row", 1),
    14: ("doc_id record_id outcome reason when survivor", 1),
    15: ("members removed sources min_similarity survivor_source survivor_date outcome survivor", 9),
    16: ("one other clusters pairs near_clusters", 2),
    17: ("cluster members outcomes sources", 0),
    18: ("stratum kept left_out left_out_fraction mean_prob_left_out mean_prob_curated", 2),
    19: ("name target expected realised standard_error slack met price a_tenth_above upper_share unjudged", 1),
    20: ("source input kept mixture retention enrichment", 3),
    21: ("host input mixture input_fraction mixture_fraction enrichment", 7),
    22: ("host documents curated", 7),
    23: ("declared identified documents curated", 1),
    24: ("doc_id source prob_synthetic beginning", 20),
    25: ("host documents noai tdm_reserved no_training robots_txt", 1),
    26: ("topic kept human drawn human_retention reference share_drawn", 2),
    27: ("dimension stratum basis reference low high share_kept share_expected met price times_as_often", 0),
    28: ("cap words of_the_most", 11),
    29: ("doc_id source topic outcome mixture_base mixture_cap mixture_margins expected_copies weight", 20),
    30: ("source documents kept after_preference after_caps after_margins drawn", 2),
    31: ("metric scope value null_mean null_sd z worse noticed n n_reference n_shared", 39),
    32: ("run_id recipe curator_version stage version weights", 5),
    33: ("march april documents", 3),
    34: ("crawl source n coverage synthetic low high", 6),
    35: ("reason march_when april_when march_fired april_fired", 1),
}


@pytest.fixture(scope="module")
def april(finished_run: Finished, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same corpus under other rules, so that duplicates fall and the mixture leaves documents out."""
    out = tmp_path_factory.mktemp("april") / "out"
    run.redecide_run(finished_run.out, ["repeated_phrases=off", "mixture.budget_words=9000"], out, Silent())
    return out


def ask(root: Path, number: int) -> tuple[list[str], list[tuple]]:
    with audit.open_audit(root) as con:
        table = audit.ask(con, FOUND[number][0]).to_arrow_table()
    return table.schema.names, [tuple(row.values()) for row in table.to_pylist()]


def test_the_page_holds_what_is_pinned() -> None:
    assert list(FOUND) == list(PINNED) == list(range(1, len(FOUND) + 1))
    assert len(re.findall("```sql", (ROOT / "docs/queries.md").read_text("utf-8"))) == len(FOUND) >= 20


@pytest.mark.parametrize("number", [n for n, (_, plain) in FOUND.items() if not plain and n != 25])
def test_a_query_answers(finished_run: Finished, april: Path, number: int) -> None:
    columns, least = PINNED[number]
    for root in (finished_run.out, april):
        names, rows = ask(root, number)
        assert names == columns.split()
        assert len(rows) >= least


def test_answers_add_up(finished_run: Finished, april: Path) -> None:
    _, rows = ask(april, 18)
    with audit.open_audit(april) as con:
        counted = dict(con.execute("select outcome, count(*) from documents group by all").fetchall())
    assert sum(row[2] for row in rows) == counted["left_out"] > 0 and sum(row[1] for row in rows) > counted["left_out"]
    assert sum(row[1] for row in ask(april, 15)[1]) == counted["duplicate"] > 0
    assert ask(finished_run.out, 17)[1] and sum(row[2] for row in ask(finished_run.out, 22)[1]) > 0
    assert [row[3] for row in ask(april, 14)[1]] == ["too_short"]
    assert ("mirror", "paper") in {row[:2] for row in ask(april, 16)[1]}


def test_a_documents_copies_are_the_product_of_its_factors_and_a_draw(finished_run: Finished, april: Path) -> None:
    for root in (finished_run.out, april):
        most = next(
            iter(run_rows(root, "select regexp_extract(recipe_toml, 'max_repeats = ([0-9]+)', 1)::int from runs"))
        )[0]
        for *_, outcome, base, cap, margins, expected, weight in ask(root, 29)[1]:
            assert expected == pytest.approx(min(most, base * cap * margins))
            assert (weight is None) == (outcome == "left_out") and 0 <= expected <= most
            assert math.floor(expected) <= (weight or 0) <= math.floor(expected) + 1
        for _, documents, kept, liked, _, held, drawn in ask(root, 30)[1]:
            assert documents > 0 and held <= kept * most and liked <= kept * most and drawn <= kept * most
    _, rows = ask(april, 28)
    assert [row[0] for row in rows] == sorted(row[0] for row in rows) and rows[-1][2] == 1
    assert [row[1] for row in rows] == sorted(row[1] for row in rows)  # a looser cap never leaves fewer words


def test_margins_that_press_are_those_with_a_price_or_outside(april: Path) -> None:
    _, rows = ask(april, 27)
    (counted,) = run_rows(april, "select count(*) filter (not met), count(*) filter (met and price <> 0) from strata")
    assert (sum(not row[8] for row in rows), sum(row[8] for row in rows)) == counted
    for row in rows:
        assert row[10] == pytest.approx(math.exp(-row[9]))


def run_rows(root: Path, sql: str) -> list[tuple]:
    with audit.open_audit(root) as con:
        return con.execute(sql).fetchall()


@pytest.mark.parametrize("number", [n for n, (_, plain) in FOUND.items() if plain])
def test_several_runs_attach_in_plain_duckdb(
    finished_run: Finished, april: Path, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "crawl-march").symlink_to(finished_run.out)
    (tmp_path / "crawl-april").symlink_to(april)
    monkeypatch.chdir(tmp_path)
    with duckdb.connect() as con:
        *attach, select = FOUND[number][0].split(";\n")
        for statement in attach:
            con.execute(statement)
        table = con.sql(select).to_arrow_table()
    columns, least = PINNED[number]
    assert table.schema.names == columns.split() and table.num_rows >= least
    if number == 35:
        assert table["reason"].to_pylist() == ["repeated_phrases"]


def test_opt_outs_travel_into_the_mixture(tmp_path: Path) -> None:
    page = "<html><head>{}<title>x</title></head><body><article><p>{}</p></article></body></html>"
    said = '<meta name="robots" content="noai"><meta name="tdm-reservation" content="1">'
    rules = record(2, "User-agent: GPTBot\nDisallow: /\n", path="robots.txt", mime="text/plain")
    pages = [record(n, page.format(said * (n % 3 == 1), prose(n, 30)), path=f"{n}") for n in range(6)]
    path = warc(tmp_path / "crawl.warc.gz", rules, *pages)
    filter_corpus(Request((str(path),), tmp_path / "out", from_dict(CHEAP), workers=1), Silent())
    names, rows = ask(tmp_path / "out", 25)
    assert names == PINNED[25][0].split()
    assert rows == [("www.e1.co.uk", 2, 2, 2, 0, 0), ("www.e2.co.uk", 2, 0, 0, 0, 2)]


def test_a_query_reads_the_run_and_nothing_beside_it(finished_run: Finished, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a\n1\n")
    out = finished_run.out
    names = [f"{tmp_path}/x.csv", f"{out}/manifest.json", f"{out}/mixture/../manifest.json", "/etc/passwd"]
    with audit.open_audit(out) as con:
        for query in ("from glob('*')", *(f"from read_text('{name}')" for name in names)):
            with pytest.raises(duckdb.PermissionException):
                audit.ask(con, query).fetchall()
