"""The commands as a person types them: what they print, how they fail."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import click
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from curator.cli import main
from curator.commands.shares import echo_share_rows
from tests import corpus
from tests.conftest import ROOT, Finished

COMMANDS = sorted(main.commands)


def curator(*args: object, stdin: str | bytes | None = None) -> Result:
    result = CliRunner().invoke(main, [str(a) for a in args], input=stdin)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def fails(*args: object, stdin: str | None = None) -> str:
    """The one line that a failing command prints."""
    result = curator(*args, stdin=stdin)
    assert result.exit_code == 1, result.output
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith("error: ")
    return line


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(name: str) -> None:
    command = main.commands[name]
    assert command.help and f"curator {name}" in command.help.replace("| ", "")
    assert all(p.help for p in command.params if isinstance(p, click.Option)), f"{name} has an option without help"
    assert curator(name, "--help").exit_code == 0


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_documented(name: str) -> None:
    assert f"## curator {name}\n" in (ROOT / "docs" / "commands.md").read_text("utf-8")


def test_filter_prints_outcomes_that_add_up_and_three_commands(tmp_path: Path) -> None:
    path = corpus.write(tmp_path / "c.parquet", 30)
    recipe = tmp_path / "r.toml"
    recipe.write_text(
        '[stages.exact]\n[stages.text_stats]\n[rules]\ntoo_short = "n_words < 50"\n[mixture]\nmax_synthetic = 1.0\n'
    )
    result = curator("filter", path, "-o", tmp_path / "out", "-r", recipe, "--workers", 1)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    numbers = {line.split()[0]: int(line.split()[1].replace(",", "")) for line in lines[2:8]}
    assert numbers.pop("inputs") == sum(numbers.values()) == len(corpus.rows(30))
    assert [line.split()[:2] for line in lines if line.startswith("  curator")] == [
        ["curator", "shares"],
        ["curator", "sql"],
        ["curator", "explain"],
    ]
    assert "text_stats" in result.stderr


@pytest.mark.parametrize("kind", ["table", "csv", "json"])
def test_sql_prints_what_was_asked(finished_run: Finished, kind: str) -> None:
    result = curator(
        "sql", finished_run.out, "select outcome, count(*) as n from documents group by all order by n desc", "-f", kind
    )
    counted = {
        "json": lambda t: {r["outcome"]: r["n"] for r in json.loads(t)},
        "csv": lambda t: {r["outcome"]: int(r["n"]) for r in csv.DictReader(io.StringIO(t))},
    }
    if kind == "table":
        assert "curated" in result.stdout and "rows)" in result.stdout
    else:
        assert counted[kind](result.stdout) == {k: v for k, v in finished_run.summary["outcomes"].items() if v}


def test_sql_writes_parquet(finished_run: Finished, tmp_path: Path) -> None:
    assert "name it with -o" in fails("sql", finished_run.out, "from documents", "-f", "parquet")
    assert (
        curator(
            "sql",
            finished_run.out,
            "select doc_id, outcome from documents",
            "-f",
            "parquet",
            "-o",
            tmp_path / "d.parquet",
        ).exit_code
        == 0
    )
    assert pq.read_metadata(tmp_path / "d.parquet").num_rows == finished_run.rows


@pytest.mark.parametrize(
    ("query", "fault"),
    [
        ("create table x as select 1", "read-only"),
        ("delete from documents", "read-only"),
        ("from read_csv('/etc/passwd')", "disabled by configuration"),
        ("copy documents to '/tmp/leak.csv'", "disabled by configuration"),
        ("attach '/tmp/other.duckdb'", "disabled by configuration"),
        ("set enable_external_access = true", "configuration"),
        ("install httpfs", "disabled|read-only|configuration|Permission"),
        ("selekt", "query failed"),
    ],
)
def test_sql_can_only_read_the_account(finished_run: Finished, query: str, fault: str) -> None:
    import re

    assert re.search(fault, fails("sql", finished_run.out, query), re.I)
    assert not Path("/tmp/leak.csv").exists()


@pytest.mark.parametrize("by", ["all", "source", "domain", "language", "month", "host"])
def test_shares_by_anything(finished_run: Finished, by: str) -> None:
    result = curator("shares", finished_run.out, "--by", by, "--json")
    rows = json.loads(result.stdout)
    as_a_whole = {"unique"} if by == "all" else set()
    assert {r["scope"] for r in rows} == {"input", "kept", "mixture"} | as_a_whole
    for row in rows:
        assert row["n_judged"] <= row["n"]
        assert (row["share"] is None) == bool(row["reason"])
        if row["share"] is not None:
            assert 0 <= row["low"] <= row["share"] <= row["high"] <= 1 and 0 <= row["lower"] <= row["share"]
    result = curator("shares", finished_run.out, "--by", by)
    lines = result.stdout.splitlines()
    table = lines[: 2 + len(rows)]
    assert result.exit_code == 0 and max(map(len, table)) <= 120
    assert {line.split()[-1] for line in table[2:]} == {
        line.split()[0] for line in lines[len(table) :] if line[0] == "("
    }
    for row in rows:
        for said in (row["warning"], row["basis"] and f"second {row['second_method']}: against"):
            assert not said or said in result.stdout


def test_what_rests_on_shipped_anchors_says_so() -> None:
    base = dict.fromkeys(
        ["lower", "share", "low", "high", "second", "method", "second_method", "basis", "reason", "warning"]
    )
    base |= {"scope": "input", "n": 1000, "n_judged": 900, "declared_human": 10, "declared_synthetic": 0}
    known = base | {
        "lower": 0.1,
        "share": 0.3,
        "low": 0.2,
        "high": 0.4,
        "second": 0.35,
        "method": "m",
        "second_method": "s",
    }
    rows = [
        known | {"stratum": f"a-rather-long-name-of-a-host-{i}.example", "basis": "shipped anchors (8 texts)"}
        for i in range(6)
    ]
    rows = [row | {"warning": "from shipped anchors"} for row in rows]
    rows += [base | {"stratum": f"small {i}", "reason": f"{i} judged documents, fewer than 30"} for i in range(3)]
    printed = CliRunner().invoke(click.command()(lambda: echo_share_rows(rows))).output
    assert max(map(len, printed.splitlines()[:-3])) <= 120 and "a-rather-long-name" in printed and "1% human" in printed
    assert "(1) m, second s: against shipped anchors (8 texts)\n" in printed
    assert "(2) unknown: 0 judged documents, fewer than 30 (in others other numbers: 2)\n" in printed
    assert "-2.example, a-rather-long-name-of-a-host-3.example and 2 more: from shipped anchors\n" in printed


def test_explain_by_id_url_and_record(finished_run: Finished) -> None:
    by_url = json.loads(curator("explain", finished_run.out, "https://site1.example/1", "--json").stdout)
    assert by_url[0]["identity"]["record_id"] == "d1" and by_url[0]["verdict"]["duplicate_kind"] == "exact"
    assert by_url[0]["duplicates"][0]["source"] == "mirror"
    assert json.loads(curator("explain", finished_run.out, by_url[0]["identity"]["doc_id"], "--json").stdout) == by_url
    assert len(json.loads(curator("explain", finished_run.out, "d1", "--json").stdout)) == 2
    text = curator("explain", finished_run.out, "short").stdout
    assert "dropped: a rule fired" in text and "n_words = 4" in text and "FIRED" in text
    said = curator("explain", finished_run.out, by_url[0]["identity"]["doc_id"]).stdout
    at = [
        said.index(part)
        for part in ("\nrules\n", "\nevidence of origin (log-odds", "prob_document", "prob_pooled", "\nsignals\n")
    ]
    assert at == sorted(at) and [e["term"] for e in by_url[0]["evidence"]][-1] == "prob_pooled"
    assert "no document with id, url or record id 'nobody'" in fails("explain", finished_run.out, "nobody")
    assert "no document" in fails("explain", finished_run.out, "x' or '1'='1")


def test_redecide_diff_and_verify(finished_run: Finished, tmp_path: Path) -> None:
    result = curator("redecide", finished_run.out, "--set", "too_short=205", "-o", tmp_path / "b", "-q", "--json")
    assert (
        result.exit_code == 0
        and json.loads(result.stdout)["outcomes"]["dropped"] > finished_run.summary["outcomes"]["dropped"]
    )
    found = json.loads(curator("diff", finished_run.out, tmp_path / "b", "--json").stdout)
    assert not found["same"] and "recipe.rules.too_short" in {s["setting"] for s in found["settings"]}
    assert sum(m["documents"] for m in found["outcomes"]) == finished_run.rows
    assert "same outcome" in curator("diff", tmp_path / "b", tmp_path / "b").stdout
    assert curator("verify", tmp_path / "b").exit_code == 0
    victim = next((tmp_path / "b" / "mixture").glob("*.parquet"))
    table = pq.read_table(victim)
    pq.write_table(table.slice(1), victim)
    result = curator("verify", tmp_path / "b")
    assert result.exit_code == 1 and f"mixture/{victim.name}" in result.stdout and "do not re-derive" in result.stderr


def test_score_gives_a_line_for_every_line() -> None:
    lines = [
        json.dumps({"id": 1, "text": corpus.prose(1, 20)}),
        json.dumps({"id": "two", "text": "short"}),
        "not json",
        "[1, 2]",
        json.dumps({"id": 5}),
        json.dumps({"id": 6, "text": 7}),
        '{"id": 7, "text": "half a pair \\ud800"}',
        json.dumps({"id": 8, "text": ""}),
    ]
    result = curator("score", "-", stdin="\n".join(lines) + "\n\n")
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [r["id"] for r in rows] == [1, "two", None, None, 5, 6, 7, 8]
    assert (
        0 <= rows[0]["prob_synthetic"] <= 1
        and rows[0]["language"] == "en"
        and isinstance(rows[0]["synthetic"], bool)
        and 0 <= rows[0]["quality"] <= 1
    )
    for row in rows[1:]:
        assert row["prob_synthetic"] is None and row["synthetic"] is None and row["reason"]


def test_score_reads_parquet(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"name": ["a", "b"], "body": [corpus.prose(1, 20), None]}), path)
    rows = [json.loads(line) for line in curator("score", path, "--id-column", "name").stdout.splitlines()]
    assert (
        [r["id"] for r in rows] == ["a", "b"]
        and rows[0]["prob_synthetic"] is not None
        and rows[1]["reason"] == "no_text"
    )
    assert "no such file" in fails("score", tmp_path / "nope.jsonl")


def test_check_models_and_stages_print_what_there_is() -> None:
    checked = curator("check", "default")
    assert checked.exit_code == 0 and "[rules]" in checked.stdout and "fingerprint" in checked.stderr
    models = {row["name"] for row in json.loads(curator("models", "--json").stdout)}
    assert {"ai-text", "encoder", "language", "quality"} <= models
    assert "text_stats" in curator("stages").stdout
    assert "Gopher" in curator("stages", "text_stats").stdout


@pytest.mark.parametrize(
    ("recipe", "fault"),
    [
        ("[stages.txt_stats]", "unknown stage 'txt_stats'; did you mean 'text_stats'?"),
        (
            '[stages.text_stats]\n[mixture]\nmax_synthetic = 1.0\n[rules]\nx = "n_word < 5"',
            "names column 'n_word', which nothing measures; near it: n_words",
        ),
        ("[stages.minhash]\nnum_prm = 4", "has no setting 'num_prm'; did you mean 'num_perm'?"),
        ("[stages.minhash]\nnum_perm = '4'", "is not int"),
        ("[mixtures]", "has no setting 'mixtures'; did you mean 'mixture'?"),
        ("[stages.ai_text]", "stages need columns that nothing measures"),
        ("= 4", "is not TOML"),
        ("seed = true", "is not int"),
        ("[stages.text_stats]", "needs P(synthetic), which no stage measures"),
        ("[stages.minhash]\nngram = 3\n[mixture]\nmax_synthetic = 1.0", "must be equal"),
        ("[stages.minhash]\nnum_perm = 64\n[mixture]\nmax_synthetic = 1.0", "more than the 64 permutations"),
    ],
)
def test_a_recipe_that_does_not_add_up_says_why(tmp_path: Path, recipe: str, fault: str) -> None:
    (tmp_path / "r.toml").write_text(recipe)
    assert fault in fails("check", tmp_path / "r.toml")


def test_mistakes_are_one_clear_line(finished_run: Finished, tmp_path: Path) -> None:
    assert "no such file, folder or glob" in fails("filter", tmp_path / "nope.parquet", "-o", tmp_path / "o")
    assert "no recipe 'delicious': neither a file nor one that ships (default" in fails(
        "filter", tmp_path, "-r", "delicious", "-o", tmp_path / "o"
    )
    assert "is not a folder that `curator filter` wrote" in fails("shares", tmp_path)
    assert "has no audit.duckdb" in fails("sql", tmp_path, "select 1")
    assert "unknown stage 'x'" in fails("stages", "x")
    assert "only rules, mixture" in fails("redecide", finished_run.out, "--set", "stages.embed=1", "-o", tmp_path / "o")
    assert "has no '='" in fails("redecide", finished_run.out, "--set", "too_short", "-o", tmp_path / "o")


def test_text_cannot_move_the_cursor(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"id": ["\x1b[2J\nevil"], "text": [corpus.prose(1)], "note": ["\x1b[1Aup"]}), path)
    (tmp_path / "r.toml").write_text("[stages.exact]\n[stages.text_stats]\n[mixture]\nmax_synthetic = 1.0\n")
    curator("filter", path, "-o", tmp_path / "o", "-r", tmp_path / "r.toml", "-q", "--workers", 1)
    shown = curator("sql", tmp_path / "o", "select record_id from documents").stdout
    assert "\x1b" not in shown and "\\x1b[2J\\nevil" in shown
    (doc_id,) = json.loads(curator("sql", tmp_path / "o", "select doc_id from documents", "-f", "json").stdout)
    explained = curator("explain", tmp_path / "o", doc_id["doc_id"]).stdout
    assert "\x1b" not in explained and "came with it\n  note  \\x1b[1Aup\n" in explained


@pytest.mark.parametrize("name", ["shares", "sql"])
def test_a_question_does_not_wait_for_compilers_and_models(name: str) -> None:
    asked = f"import sys; from curator.cli import main; main.commands[{name!r}]; print(sorted({{'numba', 'pandas', 'sklearn', 'torch'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_command_lies_where_the_table_says() -> None:
    assert {name: main.commands[name].name for name in COMMANDS} == {name: name for name in COMMANDS}
