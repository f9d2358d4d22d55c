"""The server: what it answers, whom it refuses, and that no question ends it."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import duckdb
import httpx2
import pytest
from click.testing import CliRunner
from starlette.testclient import TestClient

from curator import serve
from curator.answers import Limits, Questions, WrongQuestion, framed
from curator.commands.serve import address, serve_command
from curator.errors import InputError
from curator.judged import Judged, recipe_of
from curator.recipe import from_dict
from curator.report.live import live
from curator.serving.access import Door, door_of
from curator.serving.bounds import Bounds
from curator.unstored import Document
from tests.browser import CHROMIUM, browsing
from tests.test_report import HOSTILE, Page, hostile  # noqa: F401 - a fixture

BOUNDS = Bounds(sql=Limits(seconds=5, rows=1_000, answer_bytes=200_000), sql_at_once=1, sql_waiting=1)
RULES = {"too_short": "n_words < 30", "spam": "url like '%spam%'", "fails": "url::integer > 2"}
PLAIN = {"name": "plain", "stages": {"exact": {}, "text_stats": {}}, "rules": RULES, "mixture": {"max_synthetic": 1.0}}


@pytest.fixture(scope="module")
def out(hostile: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: F811
    copy = tmp_path_factory.mktemp("served") / "out"
    shutil.copytree(hostile, copy)
    return copy


@contextmanager
def served(out: Path, *more: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The program on a free port: its address, once it answers, and its process."""
    program = "import sys; from curator.commands.serve import serve_command; serve_command(sys.argv[1:])"
    command = [sys.executable, "-c", program, str(out), "--port", "0", "--no-score", *more]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            base = server.stdout.readline().split()[0].partition("?")[0]
            for _ in range(600):
                with suppress(httpx2.TransportError):
                    httpx2.get(f"{base}health")
                    break
                time.sleep(0.1)
            yield base, server
        finally:
            server.terminate()


@pytest.fixture(scope="module")
def client(out: Path) -> Iterator[TestClient]:
    with TestClient(serve.app(out, bounds=BOUNDS), base_url="http://localhost") as made:
        yield made


def asked(client: TestClient, sql: str, **more: Any) -> Any:
    return client.post("/sql", json={"sql": sql}, **more)


def error(reply: Any, status: int) -> str:
    assert reply.status_code == status, reply.text
    (said,) = reply.json().values()
    assert isinstance(said, str) and "\n" not in said and "Traceback" not in said
    return said


# --- SQL ------------------------------------------------------------------------------------------------------------


def test_a_question_has_columns_and_rows(client: TestClient) -> None:
    answer = asked(client, "select outcome, count(*) as n from documents group by all order by all").json()
    assert [c["name"] for c in answer["columns"]] == ["outcome", "n"] and answer["columns"][1]["type"] == "BIGINT"
    assert sum(n for _, n in answer["rows"]) == 3 * len(HOSTILE) and answer["cut"] is None
    assert answer["count"] == len(answer["rows"])


@pytest.mark.parametrize(
    "sql",
    [
        "from read_text('/etc/passwd')",
        "from glob('/*')",
        "copy documents to '/tmp/stolen.parquet'",
        "attach '/tmp/other.duckdb'",
        "set memory_limit = '64GB'",
        "install httpfs",
        "from read_csv('https://example.com/x.csv')",
        "select 1; select 2",
        "drop table documents",
        "from enable_logging(storage = 'file')",
        "select from",
        "",
    ],
)
def test_what_is_no_question_or_reaches_further_is_refused_in_one_line(client: TestClient, sql: str) -> None:
    assert error(asked(client, sql), 400)


def test_an_answer_of_a_million_rows_is_cut_with_a_note(client: TestClient) -> None:
    answer = asked(client, "from range(1000000)").json()
    assert answer["count"] == len(answer["rows"]) == 1_000 and "first 1,000 rows" in answer["cut"]
    wide = asked(client, "select repeat('x', 1000) from range(900)").json()
    assert 100 < wide["count"] < 200 and "200,000 bytes" in wide["cut"]
    assert asked(client, "select 1").json()["rows"] == [[1]]


def test_values_that_json_has_no_word_for(client: TestClient) -> None:
    sql = "select 9007199254740993 as i, 'x'::blob as b, 'nan'::double as d, 1.5::decimal(4, 2) as m, date '2020-01-02' as t, uuid '6f9619ff-8b86-d011-b42d-00cf4fc964ff' as u"
    ((i, b, d, m, t, u),) = asked(client, sql).json()["rows"]
    assert (i, b, d, m, t) == ("9007199254740993", "78", None, "1.50", "2020-01-02") and u.startswith("6f9619ff")


def test_a_question_that_takes_too_much_is_ended_and_the_next_is_answered(client: TestClient) -> None:
    assert "stopped after 5 s" in error(asked(client, "select count(*) from range(100000000000)"), 400)
    assert "more than 512 MB" in error(asked(client, "select length(repeat('x', 3000000000))"), 400)
    assert asked(client, "select 1").json()["rows"] == [[1]]


def test_what_hears_no_interrupt_is_ended_by_the_clock() -> None:
    program = (
        "import sys, time; from curator.answers import serve_questions\n"
        "serve_questions(lambda _: time.sleep(600), sys.stdin.buffer, sys.stdout.buffer, 0.2)"
    )
    done = subprocess.run([sys.executable, "-c", program], input=framed(b"?"), capture_output=True, timeout=300)
    assert done.returncode == -signal.SIGALRM and done.stdout == framed(b"")


def test_a_successor_is_read_as_soon_as_it_lies_there(out: Path, tmp_path: Path) -> None:
    shutil.copytree(out, tmp_path / "out")
    questions = Questions(tmp_path / "out", Limits())
    with pytest.raises(WrongQuestion, match="does not exist"):
        questions(b"from successor")
    questions(b"select 1")
    shutil.copy(out / "audit.duckdb", tmp_path / "next")
    with duckdb.connect(str(tmp_path / "next")) as con:
        con.execute("create table successor as select 42 as x")
    os.replace(tmp_path / "next", tmp_path / "out" / "audit.duckdb")
    assert json.loads(questions(b"from successor"))["rows"] == [[42]]
    (tmp_path / "out" / "audit.duckdb").unlink()
    with pytest.raises(InputError, match=r"no audit\.duckdb"):
        questions(b"select 1")


# --- scores ---------------------------------------------------------------------------------------------------------


def test_a_text_gets_its_signals_and_the_rules_verdict(out: Path) -> None:
    judged = Judged(from_dict(PLAIN))
    texts = ["one two three four", "word " * 40, "", "word " * 40]
    documents = [Document(text, url="http://spam.example" if i == 3 else None) for i, text in enumerate(texts)]
    documents[2].fault = "not_utf8"
    short, long, broken, spam = (json.loads(row) for row in judged.judge(documents))
    assert (short["keep"], short["reasons"], short["undecided"]) == (False, ["too_short"], ["spam", "fails"])
    assert (long["keep"], long["undecided"], long["signals"]["n_words"]) == (None, ["spam", "fails"], 40)
    assert broken["reason"] == "not_utf8" and broken["keep"] is None
    assert (spam["keep"], spam["reasons"], spam["undecided"]) == (False, ["spam"], ["fails"])
    assert recipe_of(out, None).name == "plain" and recipe_of(out, "default").name == "default"


def test_scores_over_http(client: TestClient) -> None:
    reply = client.post(
        "/score",
        json={
            "texts": ["a b c"],
            "documents": [{"text": "a b c", "source": "s"}, {"text": "word " * 40, "id": 7, "more": 1}],
        },
    )
    unknown, short, long = reply.json()["results"]
    assert (unknown["keep"], unknown["undecided"]) == (None, ["too_short"])  # the rule reads a source too
    assert (short["keep"], short["reasons"]) == (False, ["too_short"])
    assert (long["keep"], long["id"], long["signals"]["n_words"]) == (True, 7, 40)
    assert client.get("/health").json() == {"status": "ok", "score": "ready"}
    assert client.post("/score", json={}).json() == {"results": []}
    half = client.post(
        "/score", content=b'{"texts": ["\\ud800", "a b c"]}', headers={"content-type": "application/json"}
    )
    broken, whole = half.json()["results"]
    assert broken["reason"] == "not_utf8" and (broken["signals"]["n_words"], whole["signals"]["n_words"]) == (None, 3)


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b'{"texts": "x"}', 400, "Expected `array`"),
        (b'{"text": ["x"]}', 400, "unknown field"),
        (b"[", 400, "not what was asked for"),
        (b'{"documents": [{"text": "x", "id": ["\\ud800"]}]}', 400, "document 0 holds half"),
        (b"[" * 100_000, 400, "not what was asked for"),
        (b'{"texts": ["\xff"]}', 400, "not what was asked for"),
        (json.dumps({"texts": ["x"] * 1_001}).encode(), 413, "1,001 texts"),
        (json.dumps({"texts": ["x" * 1_000_001]}).encode(), 413, "1,000,001 characters"),
        (b" " * 8_000_001, 413, "at most 8,000,000"),
    ],
)
def test_bodies_that_are_refused(client: TestClient, body: bytes, status: int, says: str) -> None:
    assert says in error(client.post("/score", content=body, headers={"content-type": "application/json"}), status)


def test_when_memory_is_promised_it_says_when_to_come_again(out: Path) -> None:
    bounds = Bounds(held_bytes=10)
    with TestClient(serve.app(out, bounds=bounds, score=True), base_url="http://localhost") as client:
        reply = client.post("/score", json={"texts": ["more than ten bytes"]})
        assert "waiting" in error(reply, 503) and reply.headers["retry-after"] == "2"


# --- the page -------------------------------------------------------------------------------------------------------


def test_the_page_is_live_and_hostile_text_in_it_inert(client: TestClient) -> None:
    reply = client.get("/")
    policy = reply.headers["content-security-policy"]
    assert reply.status_code == 200 and "http-equiv" not in reply.text
    assert re.match(r"default-src 'none'; script-src 'sha256-[\w+/=]+'; ", policy) and "unsafe-eval" not in policy
    assert "'unsafe-inline'" not in policy.replace("style-src-attr 'unsafe-inline'", "")
    assert reply.text.count("<script>") == 1 and "innerHTML" not in reply.text and 'id="live-sql"' in reply.text
    scripts = re.findall(r"<script[^>]*>(.*?)</script>", reply.text, re.S)
    assert base64.b64encode(hashlib.sha256(scripts[0].encode()).digest()).decode() in policy
    seen = " ".join(Page(re.sub(r"<script>.*?</script>", "", reply.text, flags=re.S)).texts)
    assert "<script>alert(1)</script>" in seen


def test_a_page_of_another_making_is_refused() -> None:
    with pytest.raises(AssertionError, match="0 times"):
        live("<html></html>")


# --- who may ask ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "localhost:9999"}, 200),
        ({"host": "127.0.0.1"}, 200),
        ({"host": "[::1]:8000"}, 200),
        ({"host": "evil.example"}, 421),
        ({"host": "localhost.evil.example"}, 421),
        ({"host": "localhost@evil.example"}, 421),
        ({"host": "10.0.0.1"}, 421),
        ({"host": "localhost", "origin": "http://localhost"}, 200),
        ({"host": "localhost", "origin": "http://evil.example"}, 403),
        ({"host": "localhost", "origin": "null"}, 403),
        ({"host": "localhost", "sec-fetch-site": "cross-site"}, 403),
        ({"host": "localhost", "sec-fetch-site": "same-origin"}, 200),
        ({"host": "localhost", "content-type": "text/plain"}, 415),
        ({"host": "localhost", "content-type": "application/json; charset=utf-8"}, 200),
    ],
)
def test_other_sites_cannot_ask(client: TestClient, headers: dict[str, str], status: int) -> None:
    reply = asked(client, "select 1", headers=headers)
    assert reply.status_code == status, reply.text
    assert reply.headers["x-content-type-options"] == "nosniff" and reply.headers["referrer-policy"] == "no-referrer"
    assert not [name for name in reply.headers if name.startswith("access-control")]


def test_what_is_not_there_is_said_as_json(client: TestClient) -> None:
    assert "/sql" in error(client.get("/docs"), 404)
    assert error(client.get("/sql"), 405)


def test_a_token_opens_the_door_and_nothing_else_does(out: Path) -> None:
    door = Door(frozenset({"curator.example"}), any_address=True, token="secret")
    client = TestClient(serve.app(out, door, score=False), base_url="http://curator.example")
    assert client.get("/health").json() == {"status": "ok", "score": "off"}
    assert client.get("/health", headers={"host": "192.0.2.7"}).status_code == 200
    for headers in (
        {},
        {"authorization": "Bearer wrong"},
        {"authorization": "Basic secret"},
        {"cookie": "curator-80=secret"},
    ):
        reply = client.get("/nowhere", headers=headers)
        assert error(reply, 401) and reply.headers["www-authenticate"] == "Bearer"
    assert client.get("/nowhere?token=secret").status_code == 401  # only the page's address takes it
    assert client.get("/nowhere", headers={"authorization": "Bearer secret"}).status_code == 404
    reply = client.get("/?token=secret", follow_redirects=False)
    assert reply.status_code == 303 and reply.headers["location"] == "/" and "secret" not in reply.headers["set-cookie"]
    assert {"HttpOnly", "SameSite=strict"} <= set(reply.headers["set-cookie"].split("; "))
    assert client.get("/nowhere").status_code == 404  # the cookie is known


def test_beyond_loopback_there_is_always_a_token() -> None:
    with serve.listen("127.0.0.1", 0) as bound:
        assert door_of("127.0.0.1", bound, None).token is None
        with pytest.raises(InputError, match="cannot listen"):
            serve.listen("127.0.0.1", bound.getsockname()[1])
    with serve.listen("0.0.0.0", 0) as bound:
        door = door_of("0.0.0.0", bound, None)
        assert door.token is not None and len(door.token) > 40 and door.any_address
    assert (
        address("0.0.0.0", 80, "t") == "http://localhost:80/?token=t" and address("::1", 80, None) == "http://[::1]:80/"
    )


# --- in a browser ---------------------------------------------------------------------------------------------------

ASK = "document.getElementById('live-sql').value = {sql}; document.getElementById('live-ask').click()"
SAID = "document.getElementById('live-said').textContent"


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
def test_in_a_browser_the_box_answers_and_no_answer_runs(out: Path, tmp_path: Path) -> None:
    with served(out, "--token", "secret") as (base, _), browsing(tmp_path / "profile") as browser:
        browser.do("Page.navigate", url=f"{base}?token=secret")
        browser.until("document.readyState === 'complete' && !!document.getElementById('live-sql')")
        assert browser.run("location.search") == "" and browser.run("document.cookie") == ""
        browser.run(ASK.format(sql=json.dumps("select '<img src=x onerror=window.bad=1>' as \"<script>window.bad=1</script>\", source from documents order by all")))  # fmt: skip
        assert browser.until(f"{SAID}.includes('rows') && {SAID}").startswith(f"{3 * len(HOSTILE)} rows")
        found = browser.run("document.getElementById('live-found').textContent")
        assert "<img src=x onerror=window.bad=1>" in found and "<script>alert(1)</script>" in found
        assert browser.run("document.querySelectorAll('#live-found img, #live-found script').length") == 0
        assert browser.run("typeof window.bad") == "undefined" and browser.console == []
        browser.run(ASK.format(sql=json.dumps("copy documents to 'x'")))
        assert "read-only" in browser.until(f"{SAID}.includes('failed') && {SAID}")
        assert browser.run("document.querySelectorAll('details.query .take').length") > 5
        assert browser.run("document.querySelectorAll('main svg').length") > 0
        refused = browser.console.pop()  # the browser itself notes the refusal's status
        assert "400" in refused["entry"]["text"] and browser.console == []
        browser.run(
            "const s = document.createElement('script'); s.textContent = 'window.bad = 2'; document.body.append(s)"
        )
        assert browser.run("typeof window.bad") == "undefined"  # the policy lets no other script run


# --- as a program ---------------------------------------------------------------------------------------------------


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    done = CliRunner().invoke(serve_command, [str(tmp_path)])
    assert isinstance(done.exception, InputError) and "not a folder" in str(done.exception)


def test_without_the_extra_it_says_what_to_install(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.path", [])
    monkeypatch.delitem(sys.modules, "uvicorn", raising=False)
    done = CliRunner().invoke(serve_command, [str(out)])
    assert str(done.exception) == "uvicorn is missing; pip install 'corpus-curator[serve]'"


def test_frames_are_read_whole() -> None:
    assert framed(b"abc") == b"\0\0\0\0\0\0\0\3abc"


def test_sigterm_ends_it_cleanly(out: Path) -> None:
    with served(out) as (base, server):
        assert httpx2.post(f"{base}sql", json={"sql": "select 7"}, timeout=120).json()["rows"] == [[7]]
        server.send_signal(signal.SIGTERM)
        assert server.wait(60) == 0
        assert server.stderr is not None and server.stderr.read() == ""


def test_who_goes_away_frees_the_place(out: Path) -> None:
    with served(out, "--seconds", "100") as (base, _):
        for _ in range(4):  # twice as many as are answered at once
            with pytest.raises(httpx2.ReadTimeout):
                httpx2.post(f"{base}sql", json={"sql": "select count(*) from range(10000000000000)"}, timeout=1)
        began = time.monotonic()
        assert httpx2.post(f"{base}sql", json={"sql": "select 7"}, timeout=90).json()["rows"] == [[7]]
        assert time.monotonic() - began < 90  # not the 100 s of a question that nobody waits for
