"""The report: one page that reaches nothing, hides nothing and lets no document speak as the page."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import unescape
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from curator.audit import open_audit, rows_of
from curator.errors import InputError, OutputError
from curator.progress import Silent
from curator.recipe import from_dict
from curator.report import cells, figures, likeness, mixing, queries, tails
from curator.report.command import report_command
from curator.report.figures import Series
from curator.report.page import render, write_report
from curator.report.parts import Block
from curator.report.queries import Account, Limit
from curator.representative import REPRESENTATIVENESS
from curator.run import Request, filter_corpus
from tests import corpus
from tests.browser import CHROMIUM, browsing
from tests.conftest import Finished

VOID = {"meta", "link", "br", "hr"}
HTML = {
    "html", "head", "meta", "title", "link", "style", "body", "a", "header", "p", "bdi", "code", "h1", "h2", "h3", "nav", "ul",
    "li", "main", "section", "figure", "div", "table", "caption", "thead", "tbody", "tr", "th", "td", "span", "details",
    "summary", "pre", "footer", "small", "dl", "dt", "dd",
}  # fmt: skip
SVG = {"svg", "title", "desc", "defs", "g", "path", "rect", "text", "use", "clippath"}
PLAIN = {
    "name": "plain",
    "seed": 5,
    "stages": {"exact": {}, "text_stats": {}},
    "rules": {"too_short": "n_words < 5"},
    "mixture": {"max_synthetic": 1.0},
}
HOSTILE = [
    "<script>alert(1)</script>",
    "</style></title><img src=http://evil.example/x.png onerror=alert(1)>",
    "'; drop table documents; --",
    '"><svg onload=alert(1)><a xlink:href="javascript:alert(1)">',
    "$\\frac{1}{0}$ $unclosed",
    "\u202egnp.exe \u2066hidden\x07\x1b[31m",
    "{{ 7 * 7 }}{% for x in () %}",
    "漢字と العربية और हिन्दी",
    "x" * 3000,
    "]]> --> &lt;b&gt; <!-- ",
]


@dataclass
class Page(HTMLParser):
    """What a browser would make of the page, as far as the tests ask; raises where a tag is left open or closed twice."""

    html: str
    tags: set[str] = field(default_factory=set)
    attributes: list[tuple[str, str, str]] = field(default_factory=list)
    queries: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    styles: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.feed(self.html)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(f"svg:{tag}" if "svg" in self.open else tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)
        if tag == "code" and "pre" in self.open:
            self.queries.append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert "svg" in self.open, f"<{tag}/> outside a figure"
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, (tag, self.open)
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if "style" in self.open:
            self.styles.append(data)
            return
        self.texts.append(data)
        if "pre" in self.open and "code" in self.open:
            self.queries[-1] += data


def inert(page: Page) -> None:
    """Nothing in the page runs, loads or leads away."""
    own = {tag for tag in page.tags if not tag.startswith("svg:")}
    assert own <= HTML | {"svg"} and {t.removeprefix("svg:") for t in page.tags - own} <= SVG, page.tags
    assert not [a for a in page.attributes if a[1].startswith("on")]
    links = [v for _, name, v in page.attributes if name in ("href", "src", "xlink:href", "action", "srcset", "data")]
    assert all(re.fullmatch(r"#[\w.-]+|data:,", link) for link in links), links
    urls = [
        u for v in [v for _, n, v in page.attributes if n != "content"] + page.styles for u in re.findall(r"url\(.", v)
    ]
    assert set(urls) <= {"url(#"} and "@import" not in "".join(page.styles)
    policy = next(v for t, n, v in page.attributes if t == "meta" and n == "content" and "default-src" in v)
    assert policy.startswith("default-src 'none';") and "script-src" not in policy
    assert all(c.isprintable() or c in "\n" or c in cells._JOINERS for c in page.html)


def plain(folder: Path, rows: list[dict[str, object]], **recipe: object) -> Path:
    schema = pa.schema([(name, pa.string()) for name in ("id", "text", "url", "source")])
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), folder / "corpus.parquet")
    request = Request((str(folder / "corpus.parquet"),), folder / "out", from_dict({**PLAIN, **recipe}), workers=1)
    filter_corpus(request, Silent())
    return folder / "out"


@pytest.fixture(scope="session")
def html(finished_run: Finished) -> str:
    return render(finished_run.out)


@pytest.fixture(scope="session")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows: list[dict[str, object]] = [
        {"id": f"{i}", "text": f"{text} {corpus.prose(i)} {text}", "url": f"javascript:{text}", "source": text}
        for i, text in enumerate(HOSTILE)
    ]
    rows += [
        {"id": f"copy{i}", "text": row["text"], "url": row["url"], "source": HOSTILE[0]} for i, row in enumerate(rows)
    ]
    rows += [{"id": f"short{i}", "text": text[:30], "url": text, "source": text} for i, text in enumerate(HOSTILE)]
    rules = {"too_short": "n_words < 30 and source <> '</pre><script>alert(2)</script>'"}
    return plain(tmp_path_factory.mktemp("hostile"), rows, rules=rules, stages={"exact": {}, "minhash": {}, "text_stats": {}})  # fmt: skip


@pytest.fixture(scope="session")
def hostile_html(hostile: Path) -> str:
    return render(hostile)


def test_the_page_is_whole_and_reaches_nothing(html: str) -> None:
    page = Page(html)
    inert(page)
    assert len(html.encode()) < 1_500_000
    assert {"main", "nav", "header", "footer", "h1", "h2", "h3"} <= page.tags
    ids = [value for _, name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    named = [part for _, n, v in page.attributes if n in ("aria-labelledby", "href") and v != "data:," for part in v.split()]  # fmt: skip
    assert {part.removeprefix("#") for part in named} <= set(ids)


def test_every_figure_says_what_it_shows_and_has_a_table_beside_it(html: str) -> None:
    drawn = re.findall(r"<figure>(.*?)</figure>(.*?)<details class=\"query\"", html, re.S)
    assert 2 * len(drawn) == html.count("<svg ") >= 16  # each of them wide and narrow
    for figure, rest in drawn:
        for svg, kind in zip(figure.split("</svg>"), ("wide", "narrow"), strict=False):
            assert f'class="{kind}" role="img"' in svg
            assert re.search(r"<title id=[^>]+>\w", svg) and re.search(r"<desc id=[^>]+>\w", svg)
        assert rest.count("<table") == 1
    assert not re.search(r"#0001[0-9a-f]{2}|#000101", html)  # a stand-in that no theme would turn


def test_every_table_stands_beside_a_query_that_anyone_can_ask_again(html: str, finished_run: Finished) -> None:
    page = Page(html)
    assert html.count("<table") <= html.count('<details class="query">') <= len(page.queries)
    with open_audit(finished_run.out) as con:
        for sql in page.queries:
            rows_of(con, sql)


def test_the_numbers_are_those_of_the_run(html: str, finished_run: Finished) -> None:
    outcomes = finished_run.summary["outcomes"]
    for outcome, documents in outcomes.items():
        row = re.search(rf"<bdi>{outcome}</bdi></th>.*?class=\"n\">([\d,]+)</td>", html)
        assert row and row[1] == f"{documents:,}"
    assert f"Of {finished_run.rows:,} documents {outcomes['curated']:,} are in the mixture" in html


def shown(html: str, caption: str) -> list[list[str]]:
    """The cells of a table of the page, row by row; small print is a cell's second line."""
    table = html[html.index(f">{caption}</caption>") :].partition("</table>")[0]
    rows = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in table.split("<tr>")[2:]]
    return [[unescape(re.sub("<[^>]+>", "", re.sub("<small[^>]*>", "\n", cell))) for cell in row] for row in rows]


def test_a_share_stands_with_its_bound_its_methods_and_what_to_mind(html: str, finished_run: Finished) -> None:
    with open_audit(finished_run.out) as con:
        rows = rows_of(con, queries.WHOLE)
    assert "“At least” is what the scores of human text alone cannot explain" in html
    everywhere = re.search(r"How, in every row: ([^.]*)\.", unescape(html))
    for row, cell in zip(rows, shown(html, "Shares of the whole"), strict=True):
        known = row["share"] is not None
        assert cell[5].split("\n") == [
            cells.share(row["share"]),
            *([cells.interval(row["low"], row["high"])] if known else []),
        ]
        assert cell[6] == (cells.share(row["lower"]) if known else "–")
        assert cell[7].split("\n") == [cells.share(row["second"]), *filter(None, [row["second_method"]])]
        how, _, mind = (everywhere[1] if everywhere else cell[0].partition("\n")[2]).partition("; ")
        assert how == (row["method"] or row["reason"]) and all(
            part in row["warning"] for part in mind.split("; ") if part
        )
    for said in {part for row in rows if row["basis"] for part in row["basis"].split("; ")}:
        assert said in unescape(html)
    for said in {row["warning"] for row in rows if row["warning"]}:
        assert unescape(html).count(f'<p class="mind">Mind: {said}.') == 1  # once, where nobody reads past it


def test_the_operating_point_stands_with_what_it_did_to_text_known_to_be_human(
    html: str, finished_run: Finished
) -> None:
    with open_audit(finished_run.out) as con:
        (known,) = rows_of(
            con, "select count(*) as n, count(*) filter (origin_flagged) as k from documents where origin_trusted"
        )
        strata = rows_of(con, "from origin order by n_judged desc, stratum limit 20")
        warnings = rows_of(con, queries.ORIGIN_WARNINGS)
    found = shown(html, "Operating point as this run applied it, and what it did to text known to be human")
    assert [row[1] for row in found] == ["1.0 %"] * len(found)
    assert [sum(int(row[i].replace(",", "")) for row in found) for i in (6, 7)] == [known["n"], known["k"]]
    assert [row[:2] for row in shown(html, "Trusted human text by stratum")] == [
        [s["stratum"], s["reference"]] for s in strata
    ]
    text = "".join(Page(html).texts)
    for row in warnings:  # above the histogram and the rates, and beside the stratum
        said = row["warning"].replace("`", "")
        assert text.count(said) >= 2 and text.index(said) < text.index("P(synthetic) in bins")
    assert f"{cells.share(known['k'] / known['n'])} of {known['n']:,} judged documents known to be human" in text


def test_flags_of_text_that_is_declared_synthetic_stand_beside_the_histogram(pressed_html: str, pressed: Path) -> None:
    with open_audit(pressed) as con:
        flagged = {row["declared_origin"]: row for row in rows_of(con, queries.DECLARED)}["synthetic"]
    assert flagged["judged"] == 12
    assert f"{cells.share(flagged['rate'])} of 12 judged documents declared synthetic were flagged" in pressed_html


@given(st.integers(0, 60), st.integers(0, 60))
def test_the_upper_end_of_a_rate_is_wilsons(flagged: int, more: int) -> None:
    n, rate = flagged + more, flagged / max(flagged + more, 1)
    expression = queries.OPERATING.partition("as rate,\n")[2].partition(" as rate_at_most")[0]
    (found,) = (
        duckdb.execute(f"select {expression} from (select {rate}::double as rate, {n} as trusted)").fetchone() or ()
    )
    if n:  # the rate whose lower normal bound is what was seen
        assert found == pytest.approx(rate + 1.96 * (found * (1 - found) / n) ** 0.5, abs=1e-4)
        assert rate - 1e-9 <= found <= 1 + 1e-9


def test_hostile_text_is_inert(hostile_html: str) -> None:
    page = Page(hostile_html)
    inert(page)
    seen = " ".join(page.texts)
    for said in ("<script>alert(1)</script>", "</style></title><img", "'; drop table", "{{ 7 * 7 }}", "$\\frac{1}{0}$"):
        assert said in seen  # shown as it is, not taken away
    assert "\\u202e" in seen and "49" not in re.findall(r"<bdi>(\d+)</bdi>", hostile_html)


def test_long_texts_are_cut(hostile_html: str) -> None:
    assert "x" * 301 not in hostile_html


def test_a_run_that_could_read_nothing_has_a_page(tmp_path: Path) -> None:
    html = render(plain(tmp_path, [{"id": str(i), "text": None, "source": "one"} for i in range(3)]))
    inert(Page(html))
    assert "Of 3 documents 0 are in the mixture (0.0 %)." in html and 'id="quarantine-reasons-title"' in html


def test_many_sources_become_twenty_and_others_and_a_missing_detector_is_said(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {"id": str(i), "text": f"These are the words of number {i}.", "source": f"source {i:03d}"} for i in range(100)
    ]
    rows += [{"id": f"more {i}", "text": f"Another six words, namely {i}.", "source": "others"} for i in range(3)]
    html = render(plain(tmp_path, rows))
    inert(Page(html))
    assert "81 others" in html and "<bdi>others</bdi>" in html
    assert "No detector ran" in html and "How much of it is synthetic is unknown" in html
    assert 'id="quality"' not in html and "No document has a duplicate." in html
    assert len(html.encode()) < 500_000
    by_source = html[html.index("Outcomes by source") : html.index("</table>", html.index("Outcomes by source"))]
    assert by_source.count("<tr>") == 1 + 20 + 1


def test_quarantine_is_counted_by_reason(html: str, finished_run: Finished) -> None:
    with open_audit(finished_run.out) as con:
        (row,) = rows_of(con, "select count(*) as n from quarantine")
    assert row["n"] == 1
    assert html.count('class="dot quarantined"') == 1 and 'id="quarantine-reasons-title"' in html


@pytest.mark.parametrize(
    ("sql", "found"),
    [
        ("n_words < 25", [("n_words", "<", "25", True)]),
        ("25 >= n_words", [("n_words", "≤", "25", True)]),
        ("coalesce(quality, 1) < 0.3 and n_words > 0", [("quality", "<", "0.3", True)]),
        ("n_words > 5 or n_words > 10", [("n_words", ">", "5", False), ("n_words", ">", "10", False)]),
        ("n_html_tags > 0.02 * n_words + 5", [("n_html_tags - ((0.02 * n_words) + 5)", ">", "0", True)]),
        ("2 * n_lines <= n_words", [("(2 * n_lines) - n_words", "≤", "0", True)]),
        ("2 * missing_column > n_words", []),
        ("date - interval 1 day > fetched_at", []),
        ("source || 'a' > url", []),
        ("missing_column > 3", []),
        ("source > 'z'", []),
    ],
)
def test_limits_are_the_numbers_that_rules_compare_columns_with(
    sql: str, found: list[tuple[str, str, str, bool]], finished_run: Finished
) -> None:
    with open_audit(finished_run.out) as con:
        account = Account.of(con, finished_run.out)

        class Ruled(Account):
            def ask(self, _: str) -> queries.Answer:
                return queries.Answer("", [{"reason": "r", "sql": sql}])

        ruled = Ruled(con, finished_run.out, account.tables, account.columns)
        assert [(x.column, x.sign, x.number, x.alone) for x in ruled.limits()] == found


@pytest.mark.parametrize(("sign", "first"), [("<", False), ("≥", False), (">", True), ("≤", True)])
def test_neighbours_of_a_limit_are_the_closest_on_both_sides(sign: str, first: bool, finished_run: Finished) -> None:
    with open_audit(finished_run.out) as con:
        (row,) = rows_of(con, "select mode(n_words) as n from documents where n_words > 20")
        found = rows_of(con, queries.near(Limit("too_short", "n_words", sign, str(row["n"]), True)))
        every = [r["n_words"] for r in rows_of(con, "select n_words from documents where n_words > 0 order by n_words")]
    limit = row["n"]
    below = [v for v in every if v < limit or (first and v == limit)]
    assert [r["value"] for r in found] == below[-10:] + every[len(below) : len(below) + 10]


def test_neighbours_of_a_difference_are_those_nearest_to_none(finished_run: Finished) -> None:
    limit = Limit("too_short", "n_words - (2 * n_lines)", ">", "0", True, computed=True)
    with open_audit(finished_run.out) as con:
        found = [r["value"] for r in rows_of(con, queries.near(limit))]
        every = [r["d"] for r in rows_of(con, "select n_words - 2 * n_lines as d from documents where d is not null")]
    below, above = sorted(v for v in every if v <= 0), sorted(v for v in every if v > 0)
    assert below and found == below[-10:] + above[:10]


def test_a_rule_without_a_limit_shows_what_it_fired_on(pressed_html: str, pressed: Path) -> None:
    with open_audit(pressed) as con:
        rows = rows_of(con, queries.fired("lorem_ipsum"))
    found = shown(pressed_html, "lorem_ipsum: has_lorem_ipsum")
    assert [row[0] for row in found] == [row["outcome"] for row in rows] == ["dropped"] * 3
    assert "The rule fired on 3 documents; it has no number to be near to." in pressed_html


def test_texts_come_from_the_documents(finished_run: Finished) -> None:
    with open_audit(finished_run.out) as con:
        ids = rows_of(
            con, "select doc_id::varchar as i, quarantine from documents where record_id in ('d7', 'nothing')"
        )
        texts = Account.of(con, finished_run.out).texts([row["i"] for row in ids])
    assert len(ids) == 2 and list(texts.values()) == [corpus.prose(7)[: 4 * queries.EXCERPT_CHARS]]


@given(st.text())
def test_a_strangers_line_moves_nothing(text: str) -> None:
    assert all(c.isprintable() or c in cells._JOINERS for c in cells.line(text))
    assert len(cells.excerpt(text)) <= queries.EXCERPT_CHARS + 1


@pytest.mark.parametrize("label", [*HOSTILE, "", "\ufffe\U000e0041", "#000104", "url(#x) id='y'"])
def test_any_label_can_be_drawn(label: str) -> None:
    series = [Series(cells.line(label) or "none", "curated", [1])]
    svg = str(figures.bars("f", label, [cells.line(label)], series))
    page = Page(svg)
    assert page.tags - {"svg"} <= {f"svg:{tag}" for tag in SVG}
    assert figures.clipped(cells.line(label)).strip() in "\n".join(page.texts)


def wide(figure: str) -> str:
    """The drawing for a desk, without the one for a telephone."""
    first, end, _ = str(figure).partition("</svg>")
    return first + end


def test_what_is_unknown_leaves_a_gap_and_not_a_zero() -> None:
    values = [(0.1, 0.2, 0.3), None, (0.0, 0.0, 0.1)]
    series = [Series("input", "before", values), Series("mixture", "after", [None, None, None])]
    for draw in (figures.intervals, figures.over_time):
        svg = Page(wide(draw("f", "shares", ["a", "b", "c"], series)))
        drawn = [v for tag, name, v in svg.attributes if tag == "use" and name == "style" and "--before" in v]
        assert len(drawn) == 2 + 1 and "b" in svg.texts  # the third stands in the legend
    five = [Series("input", "before", [(0.1, 0.2, 0.3, 0.05, 0.4), None, (0.1, 0.2, 0.3, None, None)])]
    beside = Page(wide(figures.intervals("f", "shares", ["a", "b", "c"], five)))
    drawn = [v for tag, name, v in beside.attributes if tag == "use" and name == "style" and "--before" in v]
    assert len(drawn) == 2 + 1 + 2 and "second estimate" in beside.texts  # two points, the legend's, a tick, a mark
    long = figures.over_time("f", "shares", [f"{i:03d}" for i in range(240)], [Series("input", "before", values * 80)])
    assert len([t for t in Page(wide(long)).texts if re.fullmatch(r"\d{3}", t)]) == 12


def test_numbers_read_as_people_write_them() -> None:
    assert [cells.share(v) for v in (None, 0.0, 0.0001, 0.5)] == ["–", "0.0 %", "< 0.1 %", "50.0 %"]
    assert [cells.figure(v) for v in (None, 3.0, 0.12345, 1e-9)] == ["–", "3", "0.1235", "1e-09"]
    assert cells.interval(None, 0.1) == "–" and cells.interval(0.1, 0.2) == "10.0 % to 20.0 %"


def test_the_same_run_gives_the_same_bytes_wherever_it_lies(finished_run: Finished, html: str, tmp_path: Path) -> None:
    shutil.copytree(finished_run.out, tmp_path / "moved")
    done = CliRunner().invoke(report_command, [str(tmp_path / "moved")], catch_exceptions=False)
    assert "open it in any browser" in done.output
    assert (tmp_path / "moved" / "report.html").read_text("utf-8") == html


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a folder that"):
        render(tmp_path)


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path, hostile: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        write_report(hostile, tmp_path / "file" / "report.html")


def test_a_damaged_file_of_documents_is_named(hostile: Path, tmp_path: Path) -> None:
    shutil.copytree(hostile, tmp_path / "out")
    next((tmp_path / "out" / "documents").glob("*.parquet")).write_bytes(b"PAR1 and then nothing")
    with pytest.raises(InputError, match=r"documents/000000\.parquet"):
        render(tmp_path / "out")


def test_without_matplotlib_it_says_what_to_install(finished_run: Finished, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(InputError, match=r"pip install 'corpus-curator\[report\]'"):
        render(finished_run.out)


# --- the mixture ------------------------------------------------------------------------------------------------------


def altered(out: Path, folder: Path, *statements: str) -> Path:
    """A copy of a run whose account was changed by hand."""
    shutil.copytree(out, folder / "out")
    with duckdb.connect(str(folder / "out" / "audit.duckdb")) as con:
        for statement in statements:
            con.execute(statement)
    return folder / "out"


MEASURES = pa.Table.from_pylist(
    [
        {"scope": scope, "metric": metric, "value": value, "null_mean": 0.5, "null_sd": 0.1, "z": z, "worse": worse,
         "n": 150, "n_reference": 300, "n_shared": 7, "draws": 50, "doc": f"what <b>{metric}</b> says"}
        for metric, worse, found in (
            ("topic_kl", "+", ((0.9, 40.0), (0.7, 3.1), (0.5, 2.9))),
            ("mauve", "-", ((0.9, 5.0), (0.1, -12.5), (0.2, -3.5))),
            ("length", "±", ((0.5, -4.0), (0.5, 0.0), (0.6, None))),
            ("coverage", "-", ((None, None), (0.5, 1.0), (0.5, 1.0))),
        )
        for scope, (value, z) in zip(("input", "kept", "mixture"), found, strict=True)
    ],
    schema=REPRESENTATIVENESS,
)  # fmt: skip


@pytest.fixture(scope="module")
def pressed(finished_run: Finished, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The finished run as if its cap had bound, two topics had been missed and the mixture had been compared."""
    folder = tmp_path_factory.mktemp("pressed")
    pq.write_table(MEASURES, folder / "measures.parquet")
    topics = "(select stratum from strata where dimension = 'topic' order by stratum limit 2)"
    return altered(
        finished_run.out,
        folder,
        "update constraints set price = 4, expected = 0.1, slack = 0, standard_error = 0.002",
        "insert into constraints (name, target, expected, realised, slack, standard_error, price, met) values "
        "('snapshot', 0.25, 0.25, 0.251, 0, 0.001, 0.7, true), ('budget_words', 9000, 8000, 8011, -1000, 55, -0.2, false)",
        f"update strata set met = false, low = 0.1, high = 0.2, price = -0.5, human = 9, human_retention = 0, drawn = 0 where stratum in {topics}",
        "update strata set human = 40 + kept where dimension = 'topic' and met",
        "update documents set declared_origin = 'synthetic' where doc_id in "
        "(select doc_id from documents where origin_flagged is not null order by doc_id limit 12)",
        "update documents set reasons = ['lorem_ipsum'], outcome = 'dropped' where doc_id in "
        "(select doc_id from documents where quarantine is null order by doc_id desc limit 3)",
        "update rules set fired = 3 where reason = 'lorem_ipsum'",
        "drop table if exists representativeness",
        f"create table representativeness as from '{folder / 'measures.parquet'}'",
    )


@pytest.fixture(scope="module")
def pressed_html(pressed: Path) -> str:
    return render(pressed)


def test_constraints_stand_with_their_errors_and_what_their_prices_mean(pressed_html: str, pressed: Path) -> None:
    with open_audit(pressed) as con:
        rows = rows_of(con, queries.CONSTRAINTS)
    found = shown(pressed_html, "Constraints")
    assert [row[0] for row in found] == [row["name"] for row in rows] == ["budget_words", "max_synthetic", "snapshot"]
    assert found[0][1:7] == ["9,000", "8,000", "8,011", "55", "-1,000", "no"]
    assert found[1][1:8] == ["10.00 %", "10.00 %", cells.finely(rows[1]["realised"]), "0.20 %", "0.00 %", "yes", "4"]
    assert "0.1 above the cap is taken 0.67 times as often; one 0.1 below it, 1.49 times as often" in found[1][8]
    assert found[2][8] == "text of the snapshot is taken 2.01 times as often as other text"
    assert found[0][8] == "every document is taken 1.22 times as often"


@given(st.floats(0.05, 80), st.floats(0, 1), st.floats(0, 1))
def test_a_price_in_words_is_the_factor_of_the_solution(price: float, q: float, cap: float) -> None:
    # the weight of curator.rake: base x exp(-price x (q - cap)), so 0.1 more of P(synthetic) costs a factor
    factor = np.exp(-price * (q + 0.1 - cap)) / np.exp(-price * (q - cap))
    said = re.search(r"taken ([\d.,e-]+) times", mixing.effect("max_synthetic", price))
    assert said and float(said[1].replace(",", "")) == pytest.approx(factor, rel=0.06)


def test_prices_that_say_nothing_are_not_dressed_in_numbers() -> None:
    assert [mixing.effect("max_synthetic", p) for p in (None, 0.0, 1e-9)] == ["does not bind"] * 2 + ["hardly binds"]
    assert [mixing.pressed(p) for p in (None, 0.0, 1e-9)] == ["", "", "hardly binds"]
    assert mixing.pressed(0.5) == "held down: taken 0.607 times as often"
    assert mixing.pressed(-0.5) == "held up: taken 1.65 times as often"
    assert mixing.effect("max_verified", 1.0) == "verified synthetic text is taken 0.368 times as often as other text"
    assert mixing.times(1e6) and mixing.times(-1e6)  # no overflow


def test_margins_outside_their_boxes_come_first_and_are_counted(pressed_html: str, pressed: Path) -> None:
    with open_audit(pressed) as con:
        missed = [r["stratum"] for r in rows_of(con, "select stratum from strata where not met order by stratum")]
        strata = rows_of(con, "select dimension, count(*) as n, count(low) as boxed from strata group by dimension")
    assert len(missed) == 2 and "Outside their boxes: 2 topics." in pressed_html
    pressing = shown(pressed_html, "Margins outside their boxes, and margins that bind")
    assert sorted(row[1] for row in pressing[:2]) == missed
    assert all(row[3] == "10.0 % to 20.0 %" and row[7:] == ["no", mixing.pressed(-0.5)] for row in pressing[:2])
    by_topic = shown(pressed_html, "Parts of the words by topic")
    assert sorted(row[0] for row in by_topic[:2]) == missed
    overview = {row[0]: row for row in shown(pressed_html, "Margins by dimension")}
    assert {d: row[2:4] for d, row in overview.items()} == {
        r["dimension"]: [str(r["n"]), str(r["boxed"])] for r in strata
    }
    svg = pressed_html[pressed_html.index('id="margins-topic-title"') :].partition("</svg>")[0]
    assert svg.count("var(--dropped)") >= 2 + 1 and "outside its box" in svg  # two marks and the legend's


def test_the_smallest_topics_come_first_by_name_and_lost_ones_are_told(pressed_html: str, pressed: Path) -> None:
    with open_audit(pressed) as con:
        topics = rows_of(con, "select stratum, human from strata where dimension = 'topic' order by human, stratum")
    found = shown(pressed_html, "Topics, smallest first")
    assert [row[0] for row in found] == [row["stratum"] for row in topics][:20]
    assert [row[5] for row in found[:2]] == ["0.0 %"] * 2
    assert "Lost altogether: 2 topics." in pressed_html
    worst = shown(pressed_html, "Strata that kept the least of their human text")
    assert {row[1] for row in worst[:2]} == {row["stratum"] for row in topics[:2]}
    svg = pressed_html[pressed_html.index('id="tails-topics-title"') :].partition("</svg>")[0]
    assert f"{tails.named(topics[0]['stratum'])} (9)" in svg


def test_the_frontier_has_every_cap_and_the_mixture(pressed_html: str, pressed: Path) -> None:
    with open_audit(pressed) as con:
        caps = rows_of(con, "from frontier order by cap")
        (here,) = rows_of(con, "select sum(weight * n_words) as words from documents where outcome = 'curated'")
    found = shown(pressed_html, "Words by cap")
    assert [row[1:3] for row in found[:-1]] == [[cells.finely(r["cap"]), cells.count(r["words"])] for r in caps]
    assert found[-1][0].startswith("this mixture") and found[-1][2] == cells.count(here["words"])


def test_what_a_measure_notices_counts_on_its_bad_side_only(pressed_html: str, pressed: Path) -> None:
    found = {row[0]: row for row in shown(pressed_html, "Measures of representativeness")}
    assert list(found) == ["topic kl", "mauve", "length", "coverage"]  # the order of the table
    assert found["topic kl"][1:5] == ["high", "+40.0\nnoticed", "+3.1\nnoticed", "+2.9"]
    assert found["mauve"][1:5] == ["low", "+5.0", "−12.5\nnoticed", "−3.5\nnoticed"]
    assert found["length"][1:5] == ["either", "−4.0\nnoticed", "+0.0", "no spread"]
    assert found["coverage"][2] == "–"
    assert "input, 2 of 3 (topic kl +40.0, length −4.0); kept, 2 of 4 (mauve −12.5, topic kl +3.1)" in pressed_html
    assert "mixture, 1 of 4 (mauve −3.5)" in pressed_html
    assert "what &lt;b&gt;mauve&lt;/b&gt; says" in pressed_html
    inert(Page(pressed_html))


def test_too_few_documents_to_compare_are_said_to_be_few(finished_run: Finished, tmp_path: Path) -> None:
    few = MEASURES.to_pylist()
    few = [{**row, "value": None, "null_mean": None, "null_sd": None, "z": None, "n": 5} for row in few]
    pq.write_table(pa.Table.from_pylist(few, schema=REPRESENTATIVENESS), tmp_path / "few.parquet")
    drop = "drop table if exists representativeness"
    said = f"create table representativeness as from '{tmp_path / 'few.parquet'}'"
    out = altered(finished_run.out, tmp_path, drop, said)

    def block() -> Block:
        with open_audit(out) as con:
            (only,) = likeness.section(Account.of(con, out)).blocks
            return only

    assert block().note == "Too few documents to say anything (input 5, kept 5, mixture 5; reference 300)."
    assert block().figure is None and block().table is not None
    with duckdb.connect(str(out / "audit.duckdb")) as con:
        con.execute("delete from representativeness")
    assert block().note.startswith("Nothing was compared")


def test_an_account_of_an_earlier_version_still_has_a_page(finished_run: Finished, tmp_path: Path) -> None:
    old = altered(
        finished_run.out,
        tmp_path,
        "drop table if exists representativeness",
        "drop table frontier",
        "create or replace table strata as select 'a' as stratum, 3 as kept, 2 as drawn, 0.5 as retention",
        "alter table constraints drop column standard_error",
    )
    html = render(old)
    inert(Page(html))
    assert "".join(Page(html).texts).count(mixing.OLDER.replace("`", "")) == 2
    assert 'id="representativeness"' not in html and 'id="constraints-frontier-title"' not in html
    assert 'id="funnel-steps-title"' in html


# --- in a browser ---------------------------------------------------------------------------------------------------

browser = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")


@contextmanager
def listening(page: str) -> Iterator[tuple[int, list[str]]]:
    """Serve the page on loopback and note every request, whatever host it was meant for."""
    seen: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(f"{self.headers.get('Host', '')}{self.path}")
            self.send_response(200)
            self.send_header("content-type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(page.encode())

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port, seen
        server.shutdown()


def visited(page: str, folder: Path, *more: str) -> tuple[str, list[str], list[str]]:
    """The page as Chromium built it, what its console said, and what it asked of any host; nothing leaves the machine."""
    with listening(page) as (port, seen):
        flags = [
            "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
            "--disable-background-networking", "--disable-component-update", "--enable-logging=stderr",
            f"--user-data-dir={folder}", f"--host-resolver-rules=MAP * 127.0.0.1:{port}", "--dump-dom",
            *more,
        ]  # fmt: skip
        address = f"http://report.test/{folder.name}"
        done = subprocess.run([str(CHROMIUM), *flags, address], capture_output=True, text=True, timeout=120, check=True)
    console = [text for text in done.stderr.splitlines() if "CONSOLE" in text]
    return done.stdout, console, [s for s in seen if ".google" not in s and s != f"report.test/{folder.name}"]


@browser
def test_a_browser_draws_every_plot_and_neither_complains_nor_asks(
    hostile_html: str, html: str, tmp_path: Path
) -> None:
    for name, page in (("run", html), ("hostile", hostile_html)):
        dom, console, asked = visited(page, tmp_path / name)
        assert (console, asked) == ([], [])
        assert dom.count("<svg ") == page.count("<svg ") > 0 and "<script" not in dom


@browser
def test_nothing_is_asked_even_without_the_policy(hostile_html: str, tmp_path: Path) -> None:
    open_page = re.sub(r"<meta http-equiv=[^>]*>", "", hostile_html)
    assert visited(open_page, tmp_path / "open")[1:] == ([], [])
    control = open_page.replace("</main>", "<img src='http://evil.example/seen'><script>console.log(1)</script></main>")
    _, console, asked = visited(control, tmp_path / "control")
    assert console and asked == ["evil.example/seen"]


@pytest.fixture(scope="module")
def shown_pages(
    html: str, pressed_html: str, hostile_html: str, tmp_path_factory: pytest.TempPathFactory
) -> list[Path]:
    """Pages as files: of a run, of one with everything in it, and of one full of hostile text."""
    folder = tmp_path_factory.mktemp("shown")
    for name, page in (("run", html), ("pressed", pressed_html), ("hostile", hostile_html)):
        (folder / f"{name}.html").write_text(page, "utf-8")
    return sorted(folder.glob("*.html"))


OPEN = "document.querySelectorAll('details').forEach(d => d.open = true)"
# What is wider than its place, and what a figure writes beyond its own edge.
BEYOND = """(() => {
  const wide = [...document.querySelectorAll('body, body *:not(svg, svg *, .unseen)')].filter(
    e => e.clientWidth && e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).display !== 'inline');
  const cut = [...document.querySelectorAll('svg')].filter(s => s.getClientRects().length).flatMap(s => {
    const frame = s.getBoundingClientRect(), outside = t => {
      const box = t.getBoundingClientRect();
      return box.left < frame.left - 1 || box.right > frame.right + 1 || box.top < frame.top - 1 || box.bottom > frame.bottom + 1;
    };
    return [...s.querySelectorAll('text')].filter(outside);
  });
  const page = document.documentElement.scrollWidth > innerWidth ? ['the page'] : [];
  return [...page, ...[...wide, ...cut].map(e => `${e.tagName}.${e.className}: ${e.textContent.trim().slice(0, 60)}`)];
})()"""
UNSEEN = "[...document.querySelectorAll('details > :not(summary)')].filter(e => !e.checkVisibility()).length"
WHITE = "rgb(255, 255, 255)"
A4_PX = 673  # 210 mm less the margins of the style sheet, at 96 pixels an inch


@browser
def test_nothing_lies_beyond_the_edge_on_a_telephone_a_tablet_a_laptop_or_paper(
    shown_pages: list[Path], tmp_path: Path
) -> None:
    with browsing(tmp_path / "profile") as chromium:
        for page in shown_pages:
            chromium.open(page)
            chromium.run(OPEN)
            for width, media in ((390, "screen"), (800, "screen"), (1280, "screen"), (A4_PX, "print")):
                chromium.show(width, media)
                assert (page.stem, width, chromium.run(BEYOND)) == (page.stem, width, [])
            chromium.show(390, scheme="dark")
            assert chromium.run(BEYOND) == []
        chromium.run("document.querySelector('h1').style.width = '600px'")
        assert chromium.run(BEYOND)  # it would be seen
        assert chromium.console == []


@browser
def test_paper_has_what_a_screen_folds_away_and_a_telephone_has_its_own_figures(
    shown_pages: list[Path], tmp_path: Path
) -> None:
    figures_seen = (
        "[...document.querySelectorAll('svg')].filter(s => s.checkVisibility()).map(s => s.className.baseVal)"
    )
    with browsing(tmp_path / "profile") as chromium:
        chromium.open(shown_pages[-1])
        some = {}
        for width, media in ((1280, "screen"), (390, "screen"), (A4_PX, "print")):
            chromium.show(width, media)
            some[width] = set(chromium.run(figures_seen))
            assert (chromium.run(UNSEEN) == 0) == (media == "print")
            chromium.show(width, media, "dark")  # and paper is white, whatever the screen is
            assert (chromium.run("getComputedStyle(document.body).backgroundColor") == WHITE) == (media == "print")
        assert some == {1280: {"wide"}, 390: {"narrow"}, A4_PX: {"wide"}}
        chromium.show(1280)
        chromium.do("Input.dispatchKeyEvent", type="keyDown", key="Tab", code="Tab", windowsVirtualKeyCode=9)
        assert chromium.until("document.activeElement.className") == "skip"
        assert chromium.run("document.activeElement.getBoundingClientRect().left") >= 0
        stops = "[...document.querySelectorAll('[tabindex], a, button, input, summary')].filter(e => !e.matches('a[href], summary')).length"
        assert chromium.run(stops) == 0  # a keyboard stops only where there is something to do


# --- colours --------------------------------------------------------------------------------------------------------

WORDS = ("ink", "quiet", "link")
DRAWN = ("curated", "left_out", "duplicate", "dropped", "quarantined", "before", "after", "mark", "shared", "box")


def contrast(one: str, other: str) -> float:
    """The ratio of WCAG 2.2 between two colours."""

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


def test_every_colour_can_be_told_from_the_paper_in_every_theme() -> None:
    style = (Path(figures.__file__).parent / "style.css").read_text("utf-8")
    themes = [dict(re.findall(r"--(\w+): (#\w{6})", block)) for block in re.findall(r":root \{([^}]*)\}", style)]
    assert len(themes) == 3 and contrast("#000000", "#ffffff") == pytest.approx(21)
    for theme in themes:
        assert set(theme) == {*WORDS, *DRAWN, "paper", "rule", "wash"} and set(figures.COLOURS) <= set(theme)
        assert min(contrast(theme[name], theme[on]) for name in WORDS for on in ("paper", "wash")) >= 4.5
        assert {name for name in DRAWN if contrast(theme[name], theme["paper"]) < 3} == set()
        for pair in (("curated", "left_out"), ("dropped", "shared"), ("dropped", "duplicate")):  # neighbours in a bar
            assert contrast(*(theme[name] for name in pair)) >= 1.5, pair
