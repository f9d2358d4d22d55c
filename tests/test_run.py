"""The main job, end to end, by the default recipe."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import uuid
from collections import Counter
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from curator import run
from curator.errors import InputError, OutputError, RecipeError, UndecidedError
from curator.ids import doc_id
from curator.ledger import OUTCOMES
from curator.origin import ORIGIN
from curator.progress import Silent
from curator.recipe import from_dict, load
from curator.run import Request
from tests import corpus
from tests.conftest import ROOT, Finished

CHEAP = {
    "name": "cheap",
    "seed": 5,
    "stages": {"exact": {}, "minhash": {}, "text_stats": {}, "language": {}},
    "rules": {"empty": "text_bytes = 0", "too_short": "n_words < 50"},
    "mixture": {"max_synthetic": 1.0},
}


def files(out: Path) -> dict[str, bytes]:
    volatile = {"log.jsonl", ".lock", "audit.duckdb"}
    return {
        p.relative_to(out).as_posix(): p.read_bytes()
        for p in sorted(out.rglob("*"))
        if p.is_file() and p.name not in volatile
    }


def cheap(path: Path, out: Path, **more: object) -> dict:
    return run.filter_corpus(Request((str(path),), out, from_dict(CHEAP), workers=1, **more), Silent())  # type: ignore[arg-type]


def ledger(out: Path) -> pa.Table:
    return pa.concat_tables([pq.read_table(p) for p in sorted((out / "ledger").glob("*.parquet"))])


def test_outcomes_add_up_to_inputs(finished_run: Finished) -> None:
    assert sum(finished_run.summary["outcomes"].values()) == finished_run.rows == ledger(finished_run.out).num_rows
    assert dict(Counter(ledger(finished_run.out)["outcome"].to_pylist())) == {
        k: v for k, v in finished_run.summary["outcomes"].items() if v
    }
    assert set(finished_run.summary["outcomes"]) == set(OUTCOMES)


def test_every_row_has_the_outcome_it_deserves(finished_run: Finished) -> None:
    found = {(r["source"], r["record_id"], r["repeat"]): r for r in ledger(finished_run.out).to_pylist()}
    assert len(found) == finished_run.rows
    assert (
        found["blog", "nothing", 0]["outcome"] == "quarantined"
        and found["blog", "nothing", 0]["quarantine"] == "no_text"
    )
    assert found["blog", "empty", 0]["outcome"] == "dropped" and found["blog", "empty", 0]["reasons"] == ["too_short"]
    assert "too_short" in found["blog", "short", 0]["reasons"]
    for i in range(5):  # the copy in capitals is dated earlier, so it stands for the cluster
        original = found["blog" if i % 3 == 0 else "paper", f"d{i}", 0]
        assert (
            original["duplicate_kind"] == "exact" and original["survivor"] == found["mirror", f"copy{i}", 0]["doc_id"]
        )
    for i in range(500, 504):
        assert found["mirror", f"near{i}", 0]["duplicate_kind"] == "near"
        assert found["mirror", f"near{i}", 0]["cluster"] == found["paper", f"base{i}", 0]["cluster"]
    assert found["paper", "d1", 1]["doc_id"] == uuid.UUID(
        bytes=doc_id("paper", "d1", 1)
    )  # a reused id costs nobody a document


def test_the_mixture_holds_texts_origin_and_travelling_columns(finished_run: Finished) -> None:
    mixture = pa.concat_tables([pq.read_table(p) for p in sorted((finished_run.out / "mixture").glob("*.parquet"))])
    assert mixture.num_rows == finished_run.summary["outcomes"]["curated"] > 10
    assert {
        "doc_id",
        "source",
        "text",
        "declared_origin",
        "prob_synthetic",
        "quality",
        "cluster",
        "stratum",
        "weight",
        "votes",
    } <= set(mixture.schema.names)
    texts = {(r["source"], r["id"]): r["text"] for r in corpus.rows() if r["id"] != "d1"}
    for row in mixture.to_pylist():
        if row["record_id"] != "d1":
            assert row["text"] == texts[row["source"], row["record_id"]]
    assert all(weight > 0 for weight in mixture["weight"].to_pylist())


def test_the_account_opens_anywhere_also_when_moved(finished_run: Finished, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere.duckdb"
    moved.write_bytes((finished_run.out / "audit.duckdb").read_bytes())
    with duckdb.connect(str(moved), read_only=True) as con:
        assert con.execute("select count(*) from documents").fetchall() == [(finished_run.rows,)]
        bare = con.execute(
            "select table_name, column_name from duckdb_columns() where not internal and comment is null and table_name in (select table_name from duckdb_tables())"
        ).fetchall()
        assert bare == [], "columns without a comment"


def test_the_second_run_does_no_stage_work(finished_run: Finished) -> None:
    before = {p: p.stat().st_mtime_ns for p in finished_run.out.rglob("*") if p.is_file()}
    assert run.filter_corpus(finished_run.request, Silent()) == finished_run.summary
    assert {p: p.stat().st_mtime_ns for p in finished_run.out.rglob("*") if p.is_file() and p.name != ".lock"} == {
        p: t for p, t in before.items() if p.name != ".lock"
    }


def test_origin_is_calibrated_and_says_by_what(finished_run: Finished) -> None:
    held = ledger(finished_run.out)
    assert set(ORIGIN.names) <= set(held.schema.names)
    judged = held.filter(pc.is_valid(held["human_p"]))
    assert judged.num_rows == len(held) - held["prob_synthetic"].null_count > 50
    with duckdb.connect(str(finished_run.out / "audit.duckdb"), read_only=True) as con:
        rows = con.execute("select stratum, n_judged, n_flagged, reference from origin").fetchall()
    assert sum(row[1] for row in rows) == judged.num_rows
    assert sum(row[2] for row in rows) == pc.sum(judged["origin_flagged"]).as_py()
    assert {row[0] for row in rows} == set(judged["origin_stratum"].to_pylist())
    assert {row[3] for row in rows} <= {"own text dated before 2022-11-30", "shipped anchors"}
    assert any("dated before" in row[3] for row in rows)  # most of the corpus is older


def test_any_number_of_workers_leaves_the_same_bytes(tmp_path: Path) -> None:
    path = corpus.write(tmp_path / "c.parquet")
    one = cheap(path, tmp_path / "one")
    two = run.filter_corpus(Request((str(path),), tmp_path / "two", from_dict(CHEAP), workers=3), Silent())
    assert one == two and files(tmp_path / "one") == files(tmp_path / "two")


def test_killed_anywhere_a_rerun_gives_the_same_bytes(tmp_path: Path) -> None:
    path = corpus.write(tmp_path / "c.parquet", 400)
    recipe = tmp_path / "cheap.toml"
    recipe.write_text(from_dict(CHEAP).as_toml())
    command = [sys.executable, "-m", "curator", "filter", str(path), "-r", str(recipe), "-q", "--workers", "2", "-o"]
    subprocess.run([*command, str(tmp_path / "plain")], check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
    dice = random.Random(3)
    for _ in range(4):
        process = subprocess.Popen([*command, str(tmp_path / "killed")], cwd=ROOT, stdout=subprocess.DEVNULL)
        try:
            process.wait(dice.uniform(1.0, 8.0))
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
    subprocess.run([*command, str(tmp_path / "killed")], check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
    assert files(tmp_path / "plain") == files(tmp_path / "killed")


def test_another_run_in_the_folder_is_refused(finished_run: Finished, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"holds another run .*choose another folder with -o"):
        cheap(corpus.write(tmp_path / "other.parquet"), finished_run.out)


def test_redecide_runs_no_stage_and_equals_a_run_with_those_rules(tmp_path: Path) -> None:
    path = corpus.write(tmp_path / "c.parquet")
    cheap(path, tmp_path / "a")
    again = run.redecide_run(tmp_path / "a", ["too_short=205", "mixture.seed=7"], tmp_path / "b", Silent())
    fresh = from_dict(
        {
            **CHEAP,
            "rules": {**CHEAP["rules"], "too_short": "n_words < 205"},
            "mixture": {"max_synthetic": 1.0, "seed": 7},
        }
    )  # type: ignore[dict-item]
    straight = run.filter_corpus(Request((str(path),), tmp_path / "c", fresh, workers=1), Silent())
    assert (
        again["outcomes"]
        == straight["outcomes"]
        != json.loads((tmp_path / "a" / "manifest.json").read_bytes())["summary"]["outcomes"]
    )
    steps = {json.loads(line)["step"] for line in (tmp_path / "b" / "log.jsonl").read_text().splitlines()}
    assert steps == {"account"}
    mine, theirs = files(tmp_path / "b"), files(tmp_path / "c")
    for name in theirs:
        if name.startswith(("ledger/", "mixture/", "documents/", "signals/", "clusters")):
            assert mine[name] == theirs[name], name


def test_redecide_into_itself_or_by_an_unknown_rule_is_refused(tmp_path: Path) -> None:
    cheap(corpus.write(tmp_path / "c.parquet"), tmp_path / "a")
    with pytest.raises(InputError, match="is the run itself"):
        run.redecide_run(tmp_path / "a", ["too_short=100"], tmp_path / "a", Silent())
    with pytest.raises(RecipeError, match=r"no rule 'to_short'.*empty, too_short"):
        run.redecide_run(tmp_path / "a", ["to_short=100"], tmp_path / "b", Silent())
    with pytest.raises(InputError, match="is not a folder"):
        run.redecide_run(tmp_path / "nowhere", ["too_short=100"], tmp_path / "b", Silent())


def test_an_undecided_rule_stops_the_run_and_can_be_mended(tmp_path: Path) -> None:
    path = tmp_path / "c.parquet"
    pq.write_table(pa.table({"text": ["12345 67890", corpus.prose(1)]}), path)
    gap = from_dict({**CHEAP, "rules": {"foreign": "language <> 'en'"}})
    with pytest.raises(UndecidedError, match=r"rule foreign .* undecided for 1 document"):
        run.filter_corpus(Request((str(path),), tmp_path / "o", gap, workers=1), Silent())


def test_a_damaged_signal_is_measured_again(tmp_path: Path) -> None:
    path = corpus.write(tmp_path / "c.parquet")
    cheap(path, tmp_path / "a")
    before = files(tmp_path / "a")
    victim = next((tmp_path / "a" / "signals" / "text_stats").glob("*.parquet"))
    victim.write_bytes(victim.read_bytes()[:100])
    (tmp_path / "a" / "manifest.json").unlink()
    cheap(path, tmp_path / "a")
    assert files(tmp_path / "a") == before


def test_a_changed_corpus_is_another_run(tmp_path: Path) -> None:
    path = corpus.write(tmp_path / "c.parquet")
    cheap(path, tmp_path / "a")
    corpus.write(path, 121)
    with pytest.raises(OutputError, match="differ in inputs"):
        cheap(path, tmp_path / "a")


def test_every_shipped_recipe_loads_and_prints_itself_back() -> None:
    import tomllib

    for path in sorted((ROOT / "pipelines").glob("*.toml")):
        recipe = load(path.stem)
        assert from_dict(tomllib.loads(recipe.as_toml())).fingerprint() == recipe.fingerprint()
