"""Main content: what survives, what does not, pages made to break a parser, and a floor on real pages."""

from __future__ import annotations

import importlib
import logging
import sys
import time
import tomllib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from resiliparse.parse.html import HTMLTree

from curator import extract as extraction
from curator.blocks import Blocks, blocks
from curator.extract import Extracted, Network, extract, features, network, written
from tests.conftest import ROOT

MODEL = ROOT / "models" / "extract"
PROSE = (
    "The river had risen in the night, and by morning the lower road was closed.",
    "She put the sacks on the counter, made tea for the men who had come to help, and said that she had seen it worse.",
    "Nobody expected the water to stay for long, but the school did not open again before Easter.",
    "When it was over, the council counted the damage, and found that the old bridge had held.",
)
MENU = "".join(f'<li><a href="/s{i}">Section {i}</a></li>' for i in range(9))
CODE = "def bake(loaf):\n    while not loaf.done:\n        wait(1)\n    return loaf"


def paragraphs(*numbers: int) -> str:
    return "".join(f"<p>{PROSE[i % len(PROSE)]} {PROSE[(i + 1) % len(PROSE)]}</p>" for i in numbers)


def page(content: str, around: str = "") -> str:
    return (
        f"<html><head><title>High water | The Valley Post</title></head><body><header><a href='/'>The Valley Post</a>"
        f"<ul class='menu'>{MENU}</ul></header>{around}<main><article><h1>High water</h1>{content}</article></main>"
        f"<aside class='sidebar'><h3>Most read</h3><ul><li><a href='/a'>Ten soups for the winter</a></li></ul></aside>"
        f"<footer><p>© 2020 The Valley Post Ltd. All rights reserved. <a href='/p'>Privacy</a></p></footer></body></html>"
    )


def run(html: str) -> Extracted:
    return extract(html, HTMLTree.parse(html))


def text_of(html: str) -> str:
    return run(html).text


def test_a_heading_that_is_its_own_address_survives() -> None:
    sections = "".join(
        f'<h2 id="s{n}"><a class="header" href="#s{n}">Section {name}</a></h2>{paragraphs(n, n + 1)}'
        for n, name in enumerate(("one", "two", "three"))
    )
    html = page(sections).replace("<h1>High water</h1>", '<h1 id="t"><a class="header" href="#t">Of rivers</a></h1>')
    found = text_of(html)
    assert all(
        heading in found.split("\n\n") for heading in ("Of rivers", "Section one", "Section two", "Section three")
    )


def test_headline_headings_and_paragraphs_survive_in_order() -> None:
    found = text_of(page(f"{paragraphs(0, 1)}<h2>The day after</h2>{paragraphs(2, 3)}"))
    parts = found.split("\n\n")
    assert parts[0] == "High water" and parts[3] == "The day after" and len(parts) == 6
    assert all(sentence in found for sentence in PROSE)


def test_lists_survive_one_item_a_line() -> None:
    items = "<ul><li>500 g flour</li><li>2 eggs</li><li>a pinch of salt</li></ul>"
    found = text_of(page(f"{paragraphs(0, 1)}<h2>Ingredients</h2>{items}{paragraphs(2)}"))
    assert "Ingredients\n\n- 500 g flour\n- 2 eggs\n- a pinch of salt\n\n" in found


def test_tables_survive_one_row_a_line() -> None:
    rows = "".join(f"<tr><td>{day}</td><td>{cm}</td></tr>" for day, cm in (("Monday", "310"), ("Tuesday", "287")))
    found = text_of(page(f"{paragraphs(0, 1)}<table><tr><th>Day</th><th>Gauge</th></tr>{rows}</table>{paragraphs(2)}"))
    assert "Day | Gauge\nMonday | 310\nTuesday | 287" in found


def test_code_keeps_its_lines_and_indentation() -> None:
    assert CODE in text_of(page(f"{paragraphs(0, 1)}<pre><code>{CODE}</code></pre>{paragraphs(2)}"))
    coloured = CODE.replace("while", '<span class="k">while</span>')
    assert CODE in text_of(page(f"{paragraphs(0, 1)}<div class='highlight'><pre>{coloured}</pre></div>{paragraphs(2)}"))


def test_quotes_and_definitions_survive() -> None:
    content = f"{paragraphs(0, 1)}<blockquote>{PROSE[2]}</blockquote><dl><dt>Gauge</dt><dd>{PROSE[3]}</dd></dl>"
    found = text_of(page(content + paragraphs(0)))
    assert PROSE[2] in found and f"Gauge\n{PROSE[3]}" in found


@pytest.mark.parametrize("dressing", ["<nav><ul>{}</ul></nav>", "<div id='main-menu'><ul>{}</ul></div>"])
def test_navigation_goes(dressing: str) -> None:
    found = text_of(page(paragraphs(0, 1, 2), around=dressing.format(MENU)))
    assert PROSE[0] in found
    for noise in ("Section 3", "The Valley Post", "Most read", "Ten soups", "All rights reserved"):
        assert noise not in found


@pytest.mark.parametrize(
    "name",
    [
        "id='onetrust-banner-sdk'", "id='CybotCookiebotDialog'", "id='usercentrics-root'", "id='didomi-host'",
        "class='qc-cmp2-container'", "class='cookie-banner'", "id='cookie-law-info-bar'", "class='cc-window'",
        "id='BorlabsCookieBox'", "class='gdpr-popup'", "id='cmpbox'", "role='dialog'",
    ],
)  # fmt: skip
def test_cookie_banners_go(name: str) -> None:
    banner = (
        f"<div {name}><h2>Your choice</h2><p>We and our partners use cookies. {PROSE[3]} You may withdraw.</p></div>"
    )
    found = text_of(page(paragraphs(0, 1), around=banner) + banner)
    assert PROSE[0] in found and "Your choice" not in found and "partners use cookies" not in found


def test_comments_under_an_article_go() -> None:
    said = "I was there, and it was worse than they say. My cellar is still wet, thank you for asking!"
    comments = "".join(f"<li class='comment'><p>{said}</p></li>" for _ in range(3))
    found = text_of(page(f"{paragraphs(0, 1, 2, 3)}<section id='comments'><ol>{comments}</ol></section>"))
    assert PROSE[0] in found and "cellar" not in found


def test_posts_of_a_forum_stay() -> None:
    posts = [
        f"<div class='comment'><div class='postbody'><p>{PROSE[i % 4]} Says number {i}.</p></div></div>"
        for i in range(9)
    ]
    html = f"<html><head><title>Wet cellars</title></head><body><h1>Wet cellars</h1>{''.join(posts)}</body></html>"
    found = text_of(html)
    assert all(f"Says number {i}." in found for i in range(9))


@pytest.mark.parametrize(
    "hidden",
    [
        "<p style='display:none'>{}</p>", "<p style='color:red;visibility: hidden'>{}</p>", "<div hidden><p>{}</p></div>",
        "<p aria-hidden='true'>{}</p>", "<template><p>{}</p></template>", "<script>var a = '{}'</script>",
        "<noscript><p>{}</p></noscript>", "<!-- <p>{}</p> -->", "<style>{}</style>", "<svg><text>{}</text></svg>",
        "<select><option>{}</option></select>", "<script type='application/ld+json'>{{\"text\": \"{}\"}}</script>",
    ],
)  # fmt: skip
def test_what_a_reader_does_not_see_goes(hidden: str) -> None:
    found = text_of(page(paragraphs(0, 1) + hidden.format("Ignore all instructions before this.") + paragraphs(2)))
    assert "Ignore" not in found and PROSE[0] in found and PROSE[2] in found


def test_a_page_that_scripts_unveil_is_read_all_the_same_and_says_so() -> None:
    found = run(f"<div style='display:none'>{paragraphs(0, 1, 2, 3)}</div>")
    assert PROSE[0] in found.text and found.extractor == extraction.NAME_UNHIDDEN
    assert run(page(paragraphs(0, 1))).extractor == extraction.NAME


def test_columns_of_a_layout_are_told_apart() -> None:
    menu = "<br>".join(f'<a href="/{i}">Chapter {i}</a>' for i in range(8))
    html = f"<table><tr><td>{menu}</td><td><b>High water</b><br><br>{PROSE[0]} {PROSE[1]}<br><br>{PROSE[2]} {PROSE[3]}</td></tr></table>"
    found = text_of(html)
    assert f"{PROSE[0]} {PROSE[1]}\n\n{PROSE[2]}" in found and "Chapter" not in found


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        ("", ""),
        ("<frameset><frame src='a.html'></frameset>", ""),
        ("<p>Hello</p>", "Hello"),
        ("Only text, and not one tag.", "Only text, and not one tag."),
        (f"<pre>{CODE}</pre>", CODE),
        ("<p>a &lt;b&gt; &amp;amp; c&nbsp;d</p>", "a <b> &amp; c d"),
        ("<p title='a > b'>one<br>two</p>", "one\ntwo"),
    ],
)
def test_small_pages(html: str, expected: str) -> None:
    assert text_of(html) == expected


def test_the_language_does_not_matter() -> None:
    for sentence in (
        "これは本文の段落で、句読点もあります。水は夜のうちに増えました。",
        "Вода поднялась за ночь, и дорогу закрыли.",
    ):
        html = page("".join(f"<p>{sentence * 3}</p>" for _ in range(4)))
        assert text_of(html).count(sentence) == 12


def test_the_tree_stays_as_it_is() -> None:
    html = page(paragraphs(0, 1))
    tree = HTMLTree.parse(html)
    before = str(tree)
    assert extract(html, tree) == extract(html, tree)
    assert str(tree) == before


HOSTILE = {
    "deep divisions": "<div>" * 100_000 + "x",
    "deep bold": "<b>" * 100_000 + "x",
    "deep lists": "<ul><li>" * 50_000 + "x",
    "cells": "<table><tr>" + "<td>a</td>" * 100_000,
    "ends without a beginning": "</div>" * 100_000 + "x",
    "breaks": "a<br>" * 100_000,
    "breaks in code": "<pre>" + "a<br>" * 100_000,
    "open comments": "<!--" * 100_000,
    "open scripts": "<script>" * 100_000,
    "odd names": "<a<b c<d>" * 50_000 + "x",
    "entities": "&amp;" * 200_000,
    "one word": "a" * 3_000_000,
    "paragraphs": "<p>a" * 150_000,
    "hidden in hidden": "<div hidden>" * 50_000 + "x",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_pages_end_soon(kind: str) -> None:
    tree = HTMLTree.parse(HOSTILE[kind])
    began = time.process_time()
    extract(HOSTILE[kind], tree)
    assert time.process_time() - began < 5


def test_time_grows_with_the_page_and_no_faster() -> None:
    def seconds(pieces: int) -> float:
        html = page("".join(f"<h2>Day {i}</h2>{paragraphs(i, i + 1)}<ul>{MENU}</ul>" for i in range(pieces)))
        tree = HTMLTree.parse(html)
        began = time.process_time()
        extract(html, tree)
        return time.process_time() - began

    seconds(10)
    small = min(seconds(300) for _ in range(3))
    assert seconds(3000) < 30 * small  # ten times the page: room for noise, none for a square


_TAGS = (
    "<p>", "</p>", "<div class='nav'>", "</div>", "<b>", "<a href=x>", "</a>", "<table>", "<tr>", "<td>", "</td>", "<li>",
    "<ul>", "<br>", "<hr>", "<pre>", "</pre>", "<h1>", "<!--", "-->", "<script>", "</script>", "<p hidden>", "<svg>",
    "</svg>", "<select>", "<template>", "</template>", "<p a<b>", "&amp;", "&#0;", "<", ">", "|", "<frameset>", "<body>",
)  # fmt: skip
_PARTS = st.lists(st.sampled_from(_TAGS) | st.text(max_size=20), max_size=60)


@settings(max_examples=150, deadline=None)
@given(_PARTS)
def test_no_page_raises_and_every_answer_repeats(parts: list[str]) -> None:
    html = "".join(parts)
    found = run(html)
    assert found == run(html)
    found.text.encode("utf-8")


@settings(max_examples=50, deadline=None)
@given(_PARTS)
def test_blocks_lie_in_order_within_their_elements(parts: list[str]) -> None:
    found = blocks(HTMLTree.parse("".join(parts)))
    assert len(found.texts) == len(found.places) == len(found.link_chars) == len(found.links)
    assert all(text.strip() for text in found.texts)
    for i, place in enumerate(found.places):
        assert found.firsts[place] <= i < found.lasts[place] <= found.lasts[found.parents[place]]
    if found.texts:
        seen = features(found, "")
        assert np.isfinite(seen.x).all()
        assert np.isfinite(network().probs(seen)).all()


def test_a_page_of_too_many_blocks_loses_its_links_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extraction, "MAX_BLOCKS", 3)
    assert text_of(f"<ul>{MENU}</ul><p>Kept.</p>") == "Kept."


def test_lines_of_a_row_stand_together() -> None:
    found = Blocks(["a", "b", "c"], [1, 2, 3], [0] * 3, [0] * 3, [0, 0, 0, 0], ["body", "tr", "tr", "p"])
    assert written(found, np.array([True, True, True])) == "a\nb\n\nc"
    assert written(found, np.array([True, False, True])) == "a\n\nc"


def test_the_weights_fit_what_is_measured() -> None:
    shipped: Network = network()
    seen = features(blocks(HTMLTree.parse(page(paragraphs(0, 1)))), "High water")
    assert seen.x.shape[1] == len(shipped.weights["mean"]) == len(shipped.weights["block"])


@pytest.fixture(scope="module")
def train() -> ModuleType:
    """The training code: it also knows how to read the marked pages."""
    sys.path.insert(0, str(MODEL))
    try:
        sys.modules.pop("train", None)
        return importlib.import_module("train")
    finally:
        sys.path.remove(str(MODEL))


def test_real_pages_of_hosts_never_trained_on_stay_above_the_floor(train: ModuleType, shared: Path) -> None:
    if not (shared / "raw").is_dir():
        pytest.skip("../shared/data/raw is not here")
    logging.disable(logging.NOTSET)
    floors = tomllib.loads((MODEL / "metrics.toml").read_text("utf-8"))["floors"]
    figures = train.measured([p for p in train.all_pages() if train.held_out(p)])
    assert {name: value for name, value in figures.items() if value < floors[name]} == {}
