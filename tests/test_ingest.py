"""From files of every kind to documents: sums that add up, places that lead back, the same bytes after a kill."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curator import sources
from curator.engine.threads import ThreadEngine
from curator.errors import InputError, OutputError
from curator.ingest import ingest
from curator.progress import Silent
from curator.readers.columns import Columns
from curator.recipe import from_dict
from curator.robots import AGENTS
from curator.run import Request, filter_corpus
from curator.schema import INGESTED
from tests.corpus import prose
from tests.test_run import CHEAP

STORY = (
    "<p>"
    + "</p><p>".join(
        f"In the year {year} the river rose again and the town had to be built anew on the hill."
        for year in range(1900, 1920)
    )
    + "</p>"
)
PAGE = f"<html lang=en><head><title>The river</title></head><body><nav>Home About</nav><article><h1>The river</h1>{STORY}</article></body></html>"


def record(
    number: int, body: str = PAGE, kind: str = "response", path: str = "story", mime: str = "text/html"
) -> bytes:
    data = body.encode()
    http = f"HTTP/1.1 200 OK\r\nContent-Type: {mime}\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data
    head = (
        f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Record-ID: <urn:uuid:00000000-0000-4000-8000-{number:012d}>\r\n"
        f"WARC-Date: 2021-03-04T05:06:07Z\r\nWARC-Target-URI: https://www.e{number % 3}.co.uk/{path}\r\n"
        f"Content-Type: application/http; msgtype={kind}\r\nContent-Length: {len(http)}\r\n\r\n"
    )
    return head.encode() + http + b"\r\n\r\n"


def warc(path: Path, *records: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(gzip.compress(r) for r in records))
    return path


def taken(*inputs: Path, out: Path, **options: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    found = sources.find([str(i) for i in inputs], options.pop("source", None))
    summary = ingest(found, out, options.pop("columns", Columns()), 2, Silent())
    rows = [row for path in sorted((out / "documents").glob("*.parquet")) for row in pq.read_table(path).to_pylist()]
    assert summary["inputs"] == len(rows) == summary["documents"] + sum(summary["quarantined"].values())
    return summary, sorted(rows, key=lambda row: (row["file"], row["row"]))


def test_every_kind_of_source_gives_rows_of_one_schema(tmp_path: Path) -> None:
    crawl = tmp_path / "crawl"
    warc(crawl / "web" / "a.warc.gz", record(1, kind="request"), record(2), record(3, mime="image/png"))
    (crawl / "b.jsonl").write_text('{"id": "x", "text": "one", "tags": [1]}\nnot json\n[1]\n')
    (crawl / "c.csv").write_text("id,text\n7,seven\n8\n")
    (crawl / "d.html").write_text(PAGE)
    (crawl / "e.md").write_text("# Title\n\nSome words.")
    pq.write_table(pa.table({"content": ["p", None], "n": [1, 2]}), crawl / "f.parquet")
    (crawl / "g.gif").write_bytes(b"GIF89a")
    summary, rows = taken(crawl, out=tmp_path / "out")
    assert {row["file"]: 0 for row in rows} == dict.fromkeys(
        ("b.jsonl", "c.csv", "d.html", "e.md", "f.parquet", "web/a.warc.gz"), 0
    )
    assert summary["files_passed_over"] == {".gif": 1}
    assert summary["other_records"] == {"request": 1}
    assert {r["file"]: r["source"] for r in rows}["web/a.warc.gz"] == "web"
    page = next(r for r in rows if r["file"] == "web/a.warc.gz" and r["text"])
    assert (page["host"], page["domain"], page["mime"], page["http_status"]) == (
        "www.e2.co.uk",
        "e2.co.uk",
        "text/html",
        200,
    )
    assert page["text_sha256"] == hashlib.sha256(page["text"].encode()).hexdigest()
    assert page["raw_sha256"] == hashlib.sha256(PAGE.encode()).hexdigest()
    assert "river rose again" in page["text"] and "About" not in page["text"]
    assert page["date"] == page["fetched_at"] and page["fetched_at"].year == 2021
    assert page["declared_language"] == "en"
    for row in rows:
        assert (row["text"] is None) == (row["quarantine"] is not None), row
    assert json.loads(next(r for r in rows if r["record_id"] == "x")["meta"]) == {"tags": [1]}
    assert next(r for r in rows if r["file"] == "d.html")["record_id"].startswith("d.html#")
    for path in (tmp_path / "out" / "documents").glob("*.parquet"):
        assert pq.read_schema(path).remove_metadata() == pa.schema([f.remove_metadata() for f in INGESTED])


def test_a_row_leads_back_to_its_record(tmp_path: Path) -> None:
    path = warc(tmp_path / "a.warc.gz", *(record(n) for n in range(20)))
    _, rows = taken(path, out=tmp_path / "out")
    data = path.read_bytes()
    for row in rows:
        whole = gzip.decompress(data[row["offset"] : row["offset"] + row["length"]])
        assert row["record_id"] in whole.decode()


def test_robots_txt_of_the_crawl_speaks_for_its_host_wherever_it_lies(tmp_path: Path) -> None:
    rules = "User-agent: GPTBot\nDisallow: /\n\nUser-agent: *\nDisallow: /private\n"
    one = warc(tmp_path / "c" / "1.warc.gz", record(0), record(1), record(4, path="private/x"))
    two = warc(tmp_path / "c" / "2.warc.gz", record(1, rules, path="robots.txt", mime="text/plain"))
    summary, rows = taken(one, two, out=tmp_path / "out")
    assert [(r["host"], r["robots_disallowed"]) for r in rows] == [
        ("www.e0.co.uk", None),
        ("www.e1.co.uk", ["GPTBot"]),
        ("www.e1.co.uk", list(AGENTS)),
    ]
    assert summary["other_records"] == {"robots_txt": 1}
    assert summary["statements"]["robots_disallowed"] == 2
    assert any("robots.txt" in word for word in rows[1]["opt_out_evidence"])


def test_an_ingested_corpus_and_its_sources_are_curated_alike(tmp_path: Path) -> None:
    texts = [prose(n) for n in range(60)]
    lines = [json.dumps({"id": f"d{n}", "text": text, "date": "2020-05-06"}) for n, text in enumerate(texts)]
    (tmp_path / "news.jsonl").write_text("\n".join([*lines, "{broken", '{"id": "n", "text": 5}']))
    taken(tmp_path / "news.jsonl", out=tmp_path / "corpus")
    recipe = from_dict(CHEAP)
    by_corpus = filter_corpus(Request((str(tmp_path / "corpus"),), tmp_path / "a", recipe, workers=1), Silent())
    direct = filter_corpus(Request((str(tmp_path / "news.jsonl"),), tmp_path / "b", recipe, workers=1), Silent())
    assert direct["outcomes"] == by_corpus["outcomes"]
    assert direct["outcomes"]["quarantined"] == 2 and sum(direct["outcomes"].values()) == 62
    found = [_ledger(tmp_path / name) for name in "ab"]
    assert found[0] == found[1]
    assert {row[3] for row in found[0]} == {"news.jsonl"} and sorted(row[4] for row in found[0]) == list(range(62))
    assert {row[2] for row in found[0]} >= {"not_json", "text_is"}
    again = filter_corpus(Request((str(tmp_path / "news.jsonl"),), tmp_path / "b", recipe, workers=1), Silent())
    assert again == direct


def _ledger(out: Path) -> list[tuple[Any, ...]]:
    query = f"select doc_id, outcome, split_part(quarantine, ':', 1), path, row, date from '{out}/ledger/*.parquet' order by row"
    with duckdb.connect() as con:
        con.execute("set timezone = 'UTC'")
        return [tuple(row.values()) for row in con.sql(query).to_arrow_table().to_pylist()]


def test_a_parquet_file_that_cannot_be_opened_costs_a_row_not_the_run(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    pq.write_table(pa.table({"text": [prose(n) for n in range(30)]}), corpus / "good.parquet")
    whole = (corpus / "good.parquet").read_bytes()
    (corpus / "cut.parquet").write_bytes(whole[: len(whole) // 2])
    summary = filter_corpus(Request((str(corpus),), tmp_path / "out", from_dict(CHEAP), workers=1), Silent())
    assert summary["outcomes"]["quarantined"] == 1 and sum(summary["outcomes"].values()) == 31


def test_the_same_ingest_again_does_nothing_and_another_is_refused(tmp_path: Path) -> None:
    one = warc(tmp_path / "one.warc.gz", record(1))
    two = warc(tmp_path / "two.warc.gz", record(2))
    first, _ = taken(one, out=tmp_path / "out")
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*") if p.is_file() and p.name != ".lock"}
    assert taken(one, out=tmp_path / "out")[0] == first
    assert before == {
        p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*") if p.is_file() and p.name != ".lock"
    }
    with pytest.raises(OutputError, match="holds another run"):
        taken(two, out=tmp_path / "out")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("x")
    with pytest.raises(OutputError, match="not empty"):
        filter_corpus(Request((str(one),), tmp_path / "full", from_dict(CHEAP)), Silent())


def test_files_of_one_name_are_both_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("a", "b", "c"):
        (tmp_path / folder).mkdir()
        text = "same" if folder == "c" else f"text of {folder}"
        (tmp_path / folder / "x.jsonl").write_text(json.dumps({"id": "1", "text": text}))
    paths = [tmp_path / folder / "x.jsonl" for folder in "abc"]
    monkeypatch.setattr("curator.ingest._SMALL_BYTES", 0)  # a task each, as large files have
    summary, rows = taken(*paths, out=tmp_path / "out")
    assert summary["inputs"] == 3
    assert sorted(row["text"] for row in rows) == ["same", "text of a", "text of b"]


def _bytes(out: Path) -> dict[str, bytes]:
    volatile = ("log.jsonl", ".lock")
    return {
        p.relative_to(out).as_posix(): p.read_bytes() for p in out.rglob("*") if p.is_file() and p.name not in volatile
    }


def test_killed_at_any_moment_it_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    crawl = tmp_path / "crawl"
    warc(
        crawl / "a.warc.gz",
        *(record(n) for n in range(2500)),
        record(7, "User-agent: *\nDisallow: /s", path="robots.txt", mime="text/plain"),
    )
    (crawl / "b.jsonl").write_text("\n".join(json.dumps({"id": n, "text": f"text {n}"}) for n in range(30_000)))
    taken(crawl, out=tmp_path / "plain")
    command = [sys.executable, "-m", "curator", "ingest", str(crawl), "-o", str(tmp_path / "killed"), "-q"]
    kills = 0
    for moment in (0.9, 1.5, 2.1, 2.7, 3.3):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            process.wait(moment)
            break
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            kills += 1
            time.sleep(0.1)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    assert kills
    assert _bytes(tmp_path / "killed") == _bytes(tmp_path / "plain")


def test_a_failing_task_stops_the_others() -> None:
    class Failing:
        label, rows = "x", 1

        def done(self) -> bool:
            return False

        def run(self) -> None:
            raise InputError("gone")

    stopped: list[bool] = []
    with pytest.raises(InputError, match="gone"):
        ThreadEngine(2, lambda: stopped.append(True)).map([Failing(), Failing()], lambda task: None)
    assert stopped
