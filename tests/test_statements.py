"""What pages and their headers state: real ones, contradictory ones, hostile ones."""

from __future__ import annotations

import io
import json
import tarfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from resiliparse.parse.encoding import detect_encoding
from resiliparse.parse.html import HTMLTree

from curator import schema, statements
from curator.decide import Judge
from curator.recipe import load

URL = "https://example.org/blog/post"
FETCHED = datetime(2024, 6, 1, 12, tzinfo=UTC)
COLUMNS = set(schema.INGESTED.names)


def read(html: str, headers: Sequence[tuple[str, str]] = (), url: str | None = URL) -> dict[str, Any]:
    return statements.read(HTMLTree.parse(html), headers, url, FETCHED)


def ld(value: Any) -> str:
    return f'<script type="application/ld+json">{json.dumps(value)}</script>'


def storable(found: dict[str, Any]) -> pa.Table:
    """The columns as the ingested schema holds them; fails where a value does not fit."""
    assert set(found) <= COLUMNS
    assert all(v is not None and v not in ("", []) for v in found.values())
    return pa.Table.from_pylist(
        [
            {
                name: found.get(name)
                for name in schema.INGESTED.names
                if name not in ("source", "record_id", "file", "row")
            }
        ]
    )


def test_a_silent_page_states_nothing() -> None:
    assert read("<p>Hello") == {}
    assert read("") == {}
    assert statements.of_headers([("Content-Type", "text/plain")]) == {}


# --- use --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("html", "column", "evidence"),
    [
        ('<meta name="robots" content="noai, noimageai">', "noai", "meta robots: noai, noimageai"),
        ('<META NAME="Robots" CONTENT="index,NoAI">', "noai", "meta robots: index,NoAI"),
        ('<meta name="robots" content="index"><meta name="robots" content="noai">', "noai", "meta robots: noai"),
        ('<meta name="GPTBot" content="noai">', "noai", "meta gptbot: noai"),
        ('<meta name="robots" content="noml">', "noai", "meta robots: noml"),
        ('<p>x<meta name="robots" content="noai">', "noai", "meta robots: noai"),  # in the body too
        ('<meta http-equiv="X-Robots-Tag" content="noai">', "noai", "meta X-Robots-Tag: noai"),
        ('<meta name="robots" content="noimageai">', "noimageai", "meta robots: noimageai"),
        ('<meta name="robots" content="none">', "noindex", "meta robots: none"),
        ('<meta name="googlebot" content="noindex">', "noindex", "meta googlebot: noindex"),
        ('<meta name="tdm-reservation" content="1">', "tdm_reserved", "meta tdm-reservation: 1"),
    ],
)  # fmt: skip
def test_a_page_says_no(html: str, column: str, evidence: str) -> None:
    found = read(html)
    assert found[column] is True
    assert evidence in found["opt_out_evidence"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("noai", {"noai": True}),
        ("noindex, noai", {"noai": True, "noindex": True}),
        ("gptbot: noai, noindex", {"noai": True, "noindex": True}),
        ("somebot: noai, noindex", {"noai": True}),  # who is no search engine has no say in what others index
        ("googlebot-news: noindex", {}),
        ("*: noindex", {"noindex": True}),
        ("unavailable_after: Wed, 25 Jun 2030 15:00:00 GMT, noai", {"noai": True}),
        ("max-snippet: 20, noai", {"noai": True}),
        ("googlebot: nofollow, otherbot: noai", {"noai": True}),
        ("all", {"noindex": False}),
        (",:,;::,", {}),
    ],
)
def test_x_robots_tag(value: str, expected: dict[str, bool]) -> None:
    found = statements.of_headers([("x-ROBOTS-tag", value)])
    evidence = found.pop("opt_out_evidence", [])
    assert found == expected
    assert evidence == ([f"header X-Robots-Tag: {value}"] if True in expected.values() else [])


def test_text_and_data_mining_and_content_usage() -> None:
    headers = [
        ("TDM-Reservation", "1"),
        ("tdm-policy", "https://example.org/p.json"),
        ("Content-Usage", "search=y, train-ai=n"),
    ]
    assert statements.of_headers(headers) == {
        "tdm_reserved": True,
        "tdm_policy": "https://example.org/p.json",
        "content_usage": "search=y, train-ai=n",
        "train_ai": False,
        "opt_out_evidence": ["header tdm-reservation: 1", "header content-usage: search=y, train-ai=n"],
    }
    assert statements.of_headers([("tdm-reservation", "0")])["tdm_reserved"] is False
    assert statements.of_headers([("Content-Signal", "ai-train=no, search=yes")])["train_ai"] is False


@pytest.mark.parametrize("turned", [False, True])
def test_where_statements_contradict_the_strictest_wins(turned: bool) -> None:
    headers = [("Content-Usage", "train-ai=y"), ("Content-Usage", "train-ai=n"), ("TDM-Reservation", "0")]
    metas = [
        '<meta name="tdm-reservation" content="1">',
        '<meta name="robots" content="all">',
        '<meta name="robots" content="noindex">',
    ]
    found = read("".join(metas[:: -1 if turned else 1]), headers[:: -1 if turned else 1])
    assert (found["train_ai"], found["tdm_reserved"], found["noindex"]) == (False, True, True)
    assert {"meta tdm-reservation: 1", "header tdm-reservation: 0", "header content-usage: train-ai=n"} <= set(
        found["opt_out_evidence"]
    )


# --- licence ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "licence"),
    [
        ("https://creativecommons.org/licenses/by/4.0/", "CC-BY-4.0"),
        ("http://creativecommons.org/licenses/by-nc-sa/4.0/deed.de", "CC-BY-NC-SA-4.0"),
        ("https://www.creativecommons.org/licenses/by-nd/4.0/legalcode.fr#x", "CC-BY-ND-4.0"),
        ("//creativecommons.org/licenses/by-sa/3.0", "CC-BY-SA-3.0"),
        ("https://creativecommons.org/licenses/by/3.0/de/deed.en", "CC-BY-3.0-DE"),
        ("https://creativecommons.org/licenses/by/3.0/igo/", "CC-BY-3.0-IGO"),
        ("https://creativecommons.org/licenses/by/2.0/de/", None),  # a port without an id
        ("https://creativecommons.org/licenses/by-nd-nc/1.0/", "CC-BY-NC-ND-1.0"),
        ("https://creativecommons.org/publicdomain/zero/1.0/deed.de", "CC0-1.0"),
        ("https://creativecommons.org/publicdomain/mark/1.0/", None),
        ("https://creativecommons.org/licenses/by/", None),
        ("https://creativecommons.org/share-your-work/", None),
        ("https://spdx.org/licenses/MIT.html", "MIT"),
        ("https://www.apache.org/licenses/LICENSE-2.0.html", "Apache-2.0"),
        ("https://www.nationalarchives.gov.uk/doc/open-government-licence/version/3/", "OGL-UK-3.0"),
        ("https://opendatacommons.org/licenses/odbl/1-0/", "ODbL-1.0"),
        ("https://example.org/licence", None),
    ],
)  # fmt: skip
def test_spdx_ids(address: str, licence: str | None) -> None:
    assert statements.spdx(address) == licence


BY, SA, ND = (f"https://creativecommons.org/licenses/{kind}/4.0/" for kind in ("by", "by-sa", "by-nd"))


@pytest.mark.parametrize(
    ("html", "licence", "evidence"),
    [
        (f'<link rel=license href="{BY}"><a rel=license href="{SA}">x</a>', "CC-BY-4.0", f"link rel=license: {BY}"),
        (f'<a rel="nofollow License" href="{SA}">x</a>' + ld({"@type": "Article", "license": BY}), "CC-BY-SA-4.0", f"a rel=license: {SA}"),
        (ld({"@type": "Article", "license": {"@id": BY}}) + f'<meta name="dc.rights" content="{SA}">', "CC-BY-4.0", f"JSON-LD license: {BY}"),
        (ld([{"@type": "ImageObject", "license": BY}]), None, None),
        (f'<meta name="DCTERMS.license" content="{SA}"><footer><a href="{BY}">x</a></footer>', "CC-BY-SA-4.0", f"meta dcterms.license: {SA}"),
        ('<meta name="dc.rights" content="© 2020 A. Writer, CC BY-SA 3.0">', "CC-BY-SA-3.0", "meta dc.rights: © 2020 A. Writer, CC BY-SA 3.0"),
        ('<meta name="copyright" content="All rights reserved">', None, None),
        ('<meta name="SPDX-License-Identifier" content="MIT">', "MIT", "meta SPDX-License-Identifier: MIT"),
        (f'<a href="{ND}">x</a><div class="site-Footer"><p><a href="{BY}">x</a></div>', "CC-BY-4.0", f"footer link: {BY}"),
        (f'<p>This work is licensed under <a href="{BY}">CC BY</a>', "CC-BY-4.0", f"body link: {BY}"),
        (f'<p>Photo: Somebody, <a href="{BY}">CC BY</a>', None, None),
        (f'<p>This article is <a href="{BY}">CC BY</a>, the photos are not', "CC-BY-4.0", f"body link: {BY}"),
        (f'<figure><img><figcaption>Somebody, <a rel=license href="{BY}">CC BY</a></figure>', None, None),
        (f'<p><a href="{BY}">one</a> <p><a href="{SA}">another</a>', None, None),  # pictures, one licence each
        ('<a rel=license href="/terms#use">x</a>', "https://example.org/terms#use", "a rel=license: /terms#use"),
        ('<a rel=license href="javascript:alert(1)">x</a><a rel=license href="#">x</a>', None, None),
    ],
)  # fmt: skip
def test_the_licence_and_where_it_is_said(html: str, licence: str | None, evidence: str | None) -> None:
    found = read(html)
    assert (found.get("licence"), found.get("licence_evidence")) == (licence, evidence)


def test_a_licence_in_a_header() -> None:
    found = statements.of_headers([("Link", f'</style.css>; rel=preload, <{BY}>; rel="license nofollow"')])
    assert found == {"licence": "CC-BY-4.0", "licence_evidence": f"header link rel=license: {BY}"}


# --- origin -----------------------------------------------------------------------------------------------------------

IPTC = "http://cv.iptc.org/newscodes/digitalsourcetype/"


@pytest.mark.parametrize(
    ("html", "headers", "origin", "evidence"),
    [
        (ld({"@type": "NewsArticle", "digitalSourceType": IPTC + "trainedAlgorithmicMedia"}), [], "synthetic",
         f"JSON-LD digitalSourceType: {IPTC}trainedAlgorithmicMedia"),
        (ld({"@type": "Article", "digitalSourceType": "https://schema.org/CompositeWithTrainedAlgorithmicMediaDigitalSource"}), [], "mixed",
         "JSON-LD digitalSourceType: https://schema.org/CompositeWithTrainedAlgorithmicMediaDigitalSource"),
        ('<meta name="iptc:digitalSourceType" content="humanEdits">', [], "human", "meta iptc:digitalsourcetype digitalSourceType: humanEdits"),
        ('<article data-digital-source-type="digitalCapture">x</article>', [], "human", "article attribute digitalSourceType: digitalCapture"),
        (ld({"@type": "Article", "image": {"@type": "ImageObject", "digitalSourceType": IPTC + "trainedAlgorithmicMedia"}}), [], None, None),
        (ld({"@graph": [{"@type": "Article"}, {"@type": "ImageObject", "digitalSourceType": "trainedAlgorithmicMedia"}]}), [], None, None),
        ('<article ai-disclosure="ai-generated">x</article><article>y</article>', [], None, None),  # one of two works
        ('<html ai-disclosure="autonomous">', [], "synthetic", "html attribute ai-disclosure: autonomous"),
        ('<meta name="ai-disclosure" content="ai-assisted">', [], "mixed", "meta ai-disclosure: ai-assisted"),
        ('<meta name="ai-content-declaration" content="Human-authored; x=y">', [], "human", "meta ai-content-declaration: Human-authored; x=y"),
        ('<meta name="ai-content-declaration" content="allowed">', [], None, None),
        ('<meta name="ai-generated" content="true">', [], "synthetic", "meta ai-generated: true"),
        ('<meta name="ai-disclosure" content="true">', [], None, None),  # that something is disclosed, not what
        ("", [("AI-Disclosure", 'mode=machine-generated, model="x"')], "synthetic", 'header ai-disclosure: mode=machine-generated, model="x"'),
        ("", [("AI-Disclosure", "mode=none")], "human", "header ai-disclosure: mode=none"),
        ("", [("AI-Disclosure", "mode=ai-modified")], "mixed", "header ai-disclosure: mode=ai-modified"),
        ('<link rel="c2pa-manifest" href="/m.c2pa">', [], None, "link rel=c2pa-manifest: /m.c2pa"),
        ("", [("Link", '</m.c2pa>; rel="c2pa-manifest"')], None, "header link rel=c2pa-manifest: /m.c2pa"),
        ('<meta name=generator content="ChatGPT 4o">', [], "synthetic", "meta generator: ChatGPT"),
        ('<meta name=generator content="WordPress 6.4">', [], None, None),
        ('<meta name=generator content="v0.dev">', [], None, None),  # it codes pages; whose words they hold it does not say
        ('<meta name=generator content="Gemini capsule 2">', [], None, None),
        ('<meta name=generator content="Jasper Reports 6, OpenGrok 1.12">', [], None, None),
    ],
)  # fmt: skip
def test_declared_origin(html: str, headers: list[tuple[str, str]], origin: str | None, evidence: str | None) -> None:
    found = read(html, headers)
    assert (found.get("declared_origin"), found.get("declared_origin_evidence")) == (origin, evidence)


def test_machine_made_is_believed_over_human_and_all_is_shown() -> None:
    found = read('<meta name="ai-disclosure" content="none"><meta name="ai-generated" content="yes">')
    assert found["declared_origin"] == "synthetic"
    assert found["declared_origin_evidence"] == "meta ai-disclosure: none; meta ai-generated: yes"


# --- when, what, in which language ------------------------------------------------------------------------------------

DAY = datetime(2020, 2, 3, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2020-02-03", DAY), ("20200203", DAY), ("2020/2/3", DAY), (" 2020-02-03T00:00:00Z ", DAY),
        ("2020-02-03T01:30:00+01:30", DAY), ("2020-02-02T19:00:00.123-0500", DAY), ("2020-02-03 00:00:00 UTC", DAY),
        ("Mon, 03 Feb 2020 01:00:00 +0100", DAY), ("3 Feb 2020 00:00:00 GMT", DAY),
        ("2020", None), ("2020-02", None), ("2020-02-30", None), ("1989-12-31", None), ("2024-06-03", None), ("9999-12-31", None),
        ("yesterday", None), ("1580688000", None), ("0001-01-01T00:00:00+23:59", None), ("03.02.2020", None), ("٢٠٢٠-٠٢-٠٣x", None),
    ],
)  # fmt: skip
def test_dates(text: str, moment: datetime | None) -> None:
    assert read(f'<meta property="article:published_time" content="{text}">').get("published_at") == moment


def test_a_date_after_the_fetch_is_no_date_but_a_day_is_forgiven() -> None:
    page = HTMLTree.parse('<meta name="date" content="2024-06-02T11:00:00Z">')
    for fetched, known in (
        (FETCHED, True),
        (FETCHED.replace(tzinfo=None), True),
        (FETCHED - timedelta(hours=2), False),
        (None, True),
    ):
        assert ("published_at" in statements.read(page, [], URL, fetched)) is known
    far = datetime.max.replace(tzinfo=timezone(timedelta(hours=-12)))
    assert "published_at" in statements.read(page, [], URL, far)


META = '<meta property="article:published_time" content="2021-01-01">'


@pytest.mark.parametrize(
    ("html", "day"),
    [
        (ld({"@type": "NewsArticle", "datePublished": "2020-02-03"}) + META, DAY),
        (ld({"@graph": [{"@type": "WebPage", "datePublished": "2020-05-05"}, {"@type": "Article", "datePublished": "2020-02-03"}]}), DAY),
        (ld({"@type": ["Article", "BlogPosting"], "datePublished": ["2020-02-03"]}), DAY),
        (ld({"@type": "http://schema.org/BlogPosting", "datePublished": "2020-02-03"}), DAY),
        (ld({"@type": "WebPage", "mainEntity": {"@type": "Article", "datePublished": "2020-02-03"}}), DAY),
        (ld([{"@type": "Article", "url": "https://example.org/other", "datePublished": "2019-01-01"},
             {"@type": "Article", "url": "http://www.example.org/blog/post/#top", "datePublished": "2020-02-03"}]), DAY),
        (ld([{"@type": "Article", "datePublished": "2019-01-01"}, {"@type": "Article", "datePublished": "2018-01-01"}]), None),  # a list of others
        (ld({"@type": "VideoObject", "datePublished": "2019-01-01"}) + '<meta name="dc.date.issued" content="2020-02-03">', DAY),
        (ld({"@type": "Article", "datePublished": "soon"}) + '<meta itemprop="datePublished" content="2020-02-03">', DAY),
        ('<span itemprop="datePublished" content="2020-02-03">x</span>', DAY),
        ('<div class="comments"><time itemprop="datePublished" datetime="2020-01-01">x</time></div>', None),
        ('<article><h1>T</h1><time class="updated" datetime="2023-01-01">x</time><time datetime="2020-02-03">x</time></article>', DAY),
        ('<article><time datetime="2020-01-01">x</time></article><article><time datetime="2020-02-03">x</time></article>', None),
        ('<time datetime="2020-02-03" pubdate>x</time>', DAY),
        ('<span property="dc:date dc:created" content="2020-02-03T00:00:00+00:00">x</span>', DAY),
        (f"<script type='application/ld+json'>//<![CDATA[\n{json.dumps({'@type': 'Article', 'datePublished': '2020-02-03'})}\n//]]></script>", DAY),
    ],
)  # fmt: skip
def test_where_a_date_is_said(html: str, day: datetime | None) -> None:
    assert read(html).get("published_at") == day


@pytest.mark.parametrize(
    ("html", "title"),
    [
        ('<title>The post | Site</title><meta property="og:title" content="The post"><h1>Menu</h1>', "The post"),
        (
            '<title>The post | Site</title><meta property="og:title" content="Site"><meta property="og:site_name" content="Site">',
            "The post | Site",
        ),
        ("<title> The\n  post </title><h1>Menu</h1>", "The post"),
        ("<title></title><h1>The <i>post</i></h1>", "The post"),
        ("<body><svg><title>icon</title></svg><h1>The post</h1>", "The post"),
        ("<p>none", None),
    ],
)
def test_title(html: str, title: str | None) -> None:
    assert read(html).get("title") == title


@pytest.mark.parametrize(
    ("html", "headers", "language"),
    [
        ('<html lang="en-US"><meta http-equiv="content-language" content="de">', [("Content-Language", "fr")], "en-US"),
        ('<html lang=""><meta http-equiv="content-language" content="de">', [("content-language", "fr")], "fr"),
        ('<html><meta http-equiv="Content-Language" content="de_AT">', [], "de-AT"),
        ("<html>", [("Content-Language", "de, en")], None),  # for both, so it does not say in which
        ('<html lang="english">', [], None),
        ('<html xml:lang="pt-BR">', [], "pt-BR"),
    ],
)
def test_declared_language(html: str, headers: list[tuple[str, str]], language: str | None) -> None:
    assert read(html, headers).get("declared_language") == language


def test_generators_are_all_named() -> None:
    html = '<meta name="generator" content="WordPress 6.4"><meta name="Generator" content="Elementor 3">'
    assert read(html)["generator"] == "WordPress 6.4; Elementor 3"


# --- hostile ----------------------------------------------------------------------------------------------------------


def test_evidence_is_short_and_shows_what_it_holds() -> None:
    found = read(f'<meta name="robots" content="noai \u202e\u0000\ue000\U000e0041{"x" * 900}">')
    (evidence,) = found["opt_out_evidence"]
    assert len(evidence) == 200
    assert not set(evidence) & {"\u202e", "\0", "\n", "\U000e0041"}
    storable(found)


def test_surrogates_that_json_smuggles_in_can_be_stored() -> None:
    found = read(
        ld({"@type": "Article", "license": "https://a.example/\ud800", "digitalSourceType": "x/\ud800:humanEdits"})
    )
    storable(found)
    assert found["licence"] == "https://a.example/"
    assert found["declared_origin"] == "human"


DEEP = 300_000
ARTICLE = {"@type": "Article", "datePublished": "2020-02-03"}


@pytest.mark.parametrize(
    "html",
    [
        f"<script type='application/ld+json'>{'[' * DEEP}{']' * DEEP}</script>",
        "<script type='application/ld+json'>" + '{"@graph":' * 100_000 + "1" + "}" * 100_000 + "</script>",
        "<script type='application/ld+json'>" + '{"a":"' + "x" * 10_000_000 + '"}</script>',
        ld([{"@type": "Article"}] * 200_000),
        "<script type='application/ld+json'>" + "9" * 100_000 + "</script>",
        "<script type='application/ld+json'>{}</script>" * 50_000,
        "<meta name=robots content=noai>" * 200_000,
        "<div>" * 500_000 + f'<a href="{BY}">x</a><time datetime=2020-01-01>x',
        f'<a href="{BY}">' * 5_000 + "x",
        f"<meta name=generator content='{'a' * 5_000_000}'>",
        "<article><time datetime=x>" * 20_000,
        ld({"@type": {"@id": [{}]}, "license": [[[]], {"url": 3}], "datePublished": {"@id": {}}, "mainEntity": [[[[]]]], "url": 7}),
    ],
    ids=["lists", "graphs", "long", "articles", "number", "scripts", "metas", "divs", "links", "generator", "times", "types"],
)  # fmt: skip
def test_a_hostile_page_costs_little(html: str) -> None:
    tree = HTMLTree.parse(html)
    start = time.process_time()
    storable(statements.read(tree, [], URL, FETCHED))
    assert time.process_time() - start < 3


def test_blocks_beyond_the_limits_are_not_read_and_those_before_are() -> None:
    empty = "<script type='application/ld+json'>{</script>"
    assert read(empty * 19 + ld(ARTICLE))["published_at"] == DAY
    assert "published_at" not in read(empty * 20 + ld(ARTICLE))
    assert "published_at" not in read(ld({**ARTICLE, "articleBody": "x" * (1 << 20)}))


def test_a_page_of_too_many_tags_still_opts_out() -> None:
    found = read('<meta name="robots" content="noai"><meta name="tdm-reservation" content="1">' + "<h1>x</h1>" * 10_001)
    assert (found["noai"], found["tdm_reserved"]) == (True, True)


NAMES = st.sampled_from(
    ["X-Robots-Tag", "TDM-Reservation", "tdm-policy", "Content-Usage", "Content-Language", "Link", "AI-Disclosure", "x"]
)
VALUES = st.text() | st.sampled_from(
    ["noai", "1", "train-ai=n", "mode=none", '<x>; rel="license"', "<http://[>; rel=license", "gptbot: noai"]
)
PIECES = st.sampled_from(
    ["<meta name=robots content='", "<meta name=date content='", "<link rel=license href='", "'>", "<a rel=license href='http://[", "<article>",
     "<time datetime='", "<script type='application/ld+json'>", '{"@type":"Article","datePublished":"', '","license":"', '"}', "</script>",
     "<h1>", "<title>", "<html lang='", "noai", "2020-02-03", "\x00", "creativecommons.org/licenses/by/4.0/", "<span itemprop=datePublished>"]
)  # fmt: skip


@given(st.lists(st.tuples(NAMES | st.text(), VALUES)))
def test_no_header_raises(headers: list[tuple[str, str]]) -> None:
    storable(statements.of_headers(headers))


@given(st.lists(PIECES | st.text()).map("".join), st.none() | st.text())
def test_no_page_raises(html: str, url: str | None) -> None:
    page = html.encode("utf-8", "replace")
    storable(statements.read(HTMLTree.parse_from_bytes(page), [], url, FETCHED))


@given(st.binary())
def test_no_bytes_raise(page: bytes) -> None:
    storable(statements.read(HTMLTree.parse_from_bytes(page, detect_encoding(page)), [], URL, None))


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), lambda v: st.lists(v) | st.dictionaries(
    st.sampled_from(["@type", "@graph", "@id", "url", "license", "datePublished", "digitalSourceType", "mainEntity"]), v)))  # fmt: skip
def test_no_json_raises(value: Any) -> None:
    storable(read(ld(value)))


# --- real pages and the recipe ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pages(shared: Path) -> list[HTMLTree]:
    packed = shared / "raw" / "trafilatura-pages.tar.zst"
    if not packed.is_file():
        pytest.skip("raw/trafilatura-pages.tar.zst is not here")
    with packed.open("rb") as file:
        plain = io.BytesIO(zstandard.ZstdDecompressor().stream_reader(file).read())
    return list(_trees(plain))


def _trees(tar: io.BytesIO) -> Iterator[HTMLTree]:
    with tarfile.open(fileobj=tar) as files:
        for member in files:
            file = files.extractfile(member) if member.name.endswith(".html") else None
            if file:
                page = file.read()
                yield HTMLTree.parse_from_bytes(page, detect_encoding(page))


def test_real_pages_say_what_they_said(pages: list[HTMLTree]) -> None:
    found = [statements.read(page, [], None, datetime(2026, 1, 1, tzinfo=UTC)) for page in pages]
    for row in found:
        storable(row)
    count = Counter(name for row in found for name in row)
    floors = {
        "title": 1031,
        "declared_language": 963,
        "published_at": 665,
        "generator": 513,
        "noindex": 443,
        "licence": 83,
    }
    assert len(pages) == 1032
    assert {name: count[name] for name in floors if count[name] < floors[name]} == {}
    assert count["declared_origin"] == 0  # all of them are from before anybody declared one
    assert sum("CC-" in row.get("licence", "") for row in found) >= 77


def test_reading_a_page_takes_a_fraction_of_parsing_it(pages: list[HTMLTree]) -> None:
    start = time.process_time()
    for page in pages:
        statements.read(page, [], None, None)
    assert (time.process_time() - start) / len(pages) < 0.003  # 0.0005 s on an idle core


EXTRA = pa.schema(
    [
        schema.INGESTED.field(n)
        for n in ("noai", "noimageai", "noindex", "tdm_reserved", "train_ai", "robots_disallowed")
    ]
)


@pytest.mark.parametrize(
    ("stated", "reasons"),
    [
        ({}, []),
        (dict.fromkeys(EXTRA.names), []),
        ({"noai": False, "tdm_reserved": False, "train_ai": True, "robots_disallowed": []}, []),
        ({"noindex": True, "noimageai": True}, []),
        ({"noai": True}, ["opt_out_noai"]),
        ({"tdm_reserved": True}, ["opt_out_tdm"]),
        ({"train_ai": False}, ["opt_out_content_usage"]),
        ({"robots_disallowed": ["GPTBot"]}, ["opt_out_robots_txt"]),
        ({"robots_disallowed": ["*"], "noai": True}, ["opt_out_noai", "opt_out_robots_txt"]),
    ],
)
def test_the_web_recipe_honours_opt_outs_and_silence_is_none(stated: dict[str, Any], reasons: list[str]) -> None:
    rules = tuple(rule for rule in load("web").parsed_rules(EXTRA) if rule.columns == ("extra",))
    assert len(rules) == 4
    row = {"extra": stated, "quarantine": None}
    with Judge(rules) as judge:
        verdicts = judge.judge(
            pa.Table.from_pylist([row], pa.schema([("extra", pa.struct(list(EXTRA))), ("quarantine", pa.string())]))
        )
    assert verdicts.reasons.to_pylist() == [reasons]


def test_the_web_recipe_is_the_default_with_opt_outs() -> None:
    web, default = load("web"), load("default")
    assert {k: v for k, v in web.rules.items() if not k.startswith("opt_out_")} == dict(default.rules)
    assert (web.stages, web.dedup, web.mixture, web.alarms) == (
        default.stages,
        default.dedup,
        default.mixture,
        default.alarms,
    )
