"""Main-content extractors on pages with marks by people: closeness to the marks, and time a page. One row an extractor.

    python benchmarks/extract.py [--sample 10] [--folds]

Snippets: 990 pages of which people named text that must stay and text that must go (trafilatura-pages), counted
as that set's own evaluation counts them. Words: F1 of the words of 130 pages against the expected text
(readability-pages), mean over pages. Time: CPU of one process from bytes to text, decoding and parsing counted, the
extractors taking turns page by page. Intervals: 95 %, 1,000 bootstrap samples of pages. With `--folds` our extractor
judges every page by weights that saw no page of its host, trained here (five minutes); without, by those that ship,
which saw all these pages and so flatter it.
"""

from __future__ import annotations

import argparse
import logging
import re
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from importlib.metadata import version
from pathlib import Path

import justext
import numpy as np
import numpy.typing as npt
import readability
import trafilatura
from lxml import html as lxml_html
from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.html import HTMLTree

from curator.blocks import blocks
from curator.extract import extract, main_text, network

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "models" / "extract"))

from train import RAW, Page, all_pages, decoded, out_of_fold, scores, snippets, word_f1  # noqa: E402

Extractor = Callable[[str], str]
SAMPLES = 1000


def ours(html: str) -> str:
    return extract(html, HTMLTree.parse(html)).text


def resiliparse(html: str, **options: bool) -> str:
    return extract_plain_text(HTMLTree.parse(html), preserve_formatting=True, **options)


def by_trafilatura(html: str, **options: bool) -> str:
    return trafilatura.extract(html, **options) or ""


def cascade(html: str) -> str:
    """Resiliparse where it finds a fair part of the page's text, else trafilatura."""
    tree = HTMLTree.parse(html)
    short = extract_plain_text(tree, preserve_formatting=True, main_content=True, comments=False, post_meta=False)
    whole = extract_plain_text(tree, preserve_formatting=True)
    return short if 0.2 * len(whole) < len(short) < 0.6 * len(whole) else by_trafilatura(html, fast=True)


def by_readability(html: str) -> str:
    return str(lxml_html.fromstring(readability.Document(html).summary()).text_content())


@lru_cache
def function_words() -> frozenset[str]:
    """Of every language that justext knows: it must be told one, and the pages' are many."""
    return frozenset().union(*map(justext.get_stoplist, justext.get_stoplists()))


def by_justext(html: str) -> str:
    found = justext.justext(html.encode(), function_words())
    return "\n".join(p.text for p in found if not p.is_boilerplate)


def extractors() -> dict[str, Extractor]:
    r, t = f"resiliparse {version('resiliparse')}", f"trafilatura {version('trafilatura')}"
    return {
        "all text (resiliparse)": resiliparse,
        f"{r} main_content": partial(resiliparse, main_content=True),
        f"{r} main_content, no comments": partial(resiliparse, main_content=True, comments=False),
        f"{r} main_content, no comments, no post meta": partial(
            resiliparse, main_content=True, comments=False, post_meta=False
        ),
        f"{t} default": by_trafilatura,
        f"{t} no comments": partial(by_trafilatura, include_comments=False),
        f"{t} fast": partial(by_trafilatura, fast=True),
        f"{t} fast, no comments": partial(by_trafilatura, fast=True, include_comments=False),
        f"{t} favor_precision": partial(by_trafilatura, favor_precision=True),
        f"{t} favor_recall": partial(by_trafilatura, favor_recall=True),
        "resiliparse, where poor trafilatura fast": cascade,
        f"readability-lxml {version('readability-lxml')}": by_readability,
        f"justext {version('justext')}, words of all its languages": by_justext,
        "curator": ours,
    }


class Row:
    """What one extractor gave: counts of snippets and word F1 by page, CPU seconds, failures, empty texts."""

    def __init__(self) -> None:
        self.snippets: list[tuple[int, int, int]] = []  # must-keep kept and lost, must-drop kept
        self.words: list[float] = []
        self.comments: list[tuple[int, int]] = []
        self.seconds: list[float] = []
        self.failed = self.empty = 0

    def take(self, page: Page, run: Callable[[str], str]) -> None:
        began = time.process_time()
        try:
            text = run(decoded(page.raw))
        except Exception:  # a library's own errors: counted, as a user would meet them
            text, self.failed = "", self.failed + 1
        self.seconds.append(time.process_time() - began)
        self.empty += not text.strip()
        if page.expected is not None:
            self.words.append(word_f1(text, page.expected))
            return
        self.snippets.append(snippets(page, text))
        self.comments.append((sum(s in text for s in page.comments if s), sum(map(bool, page.comments))))

    def line(self, name: str) -> str:
        counts = np.array(self.snippets)
        precision, recall, f1 = scores(counts)
        low, high = interval(counts, lambda rows: scores(rows)[2])
        words = np.array(self.words)
        word_low, word_high = interval(words, lambda rows: float(rows.mean()))
        comments = np.array(self.comments).sum(0)
        return (
            f"| {name} | {precision:.3f} | {recall:.3f} | {f1:.3f} ({low:.3f} to {high:.3f}) "
            f"| {words.mean():.3f} ({word_low:.3f} to {word_high:.3f}) | {100 * comments[0] / comments[1]:.1f} % "
            f"| {1000 * np.mean(self.seconds):.1f} | {self.failed} / {self.empty} |"
        )


def interval(rows: npt.NDArray[np.generic], of: Callable[..., float]) -> tuple[float, float]:
    """95 % of the bootstrap samples of pages lie between."""
    dice = np.random.RandomState(1)
    drawn = [of(rows[dice.randint(len(rows), size=len(rows))]) for _ in range(SAMPLES)]
    low, high = np.percentile(drawn, [2.5, 97.5])
    return float(low), float(high)


def difference(row: Row, other: Row) -> str:
    """How much closer to the marks and how much faster, on the same pages."""
    pairs = np.stack([row.snippets, other.snippets], 1)
    f1 = scores(pairs[:, 0])[2] - scores(pairs[:, 1])[2]
    low, high = interval(pairs, lambda rows: scores(rows[:, 0])[2] - scores(rows[:, 1])[2])
    words = np.subtract(row.words, other.words)
    word_low, word_high = interval(words, lambda rows: float(rows.mean()))
    share = sum(row.seconds) / sum(other.seconds)
    return (
        f"F1 of snippets {f1:+.3f} ({low:+.3f} to {high:+.3f}), of words {words.mean():+.3f} "
        f"({word_low:+.3f} to {word_high:+.3f}), {share:.2f} of its time"
    )


def unseen(pages: list[Page]) -> Iterator[Extractor]:
    """For each page our extractor with weights that saw no page of its host."""
    for judge in out_of_fold(pages):

        def run(html: str, judge=judge) -> str:  # type: ignore[no-untyped-def]
            tree = HTMLTree.parse(html)
            return main_text(blocks(tree), tree.title or "", judge)

        yield run


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sample", type=int, default=1, help="take every so-many-th page")
    parser.add_argument("--folds", action="store_true", help="judge each page by weights that saw no page of its host")
    parser.add_argument("--only", default="", help="extractors whose names match this pattern")
    args = parser.parse_args()
    if not RAW.is_dir():
        print("no ../shared/data/raw here: nothing to measure")
        return
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    pages = all_pages()
    own = list(unseen(pages)) if args.folds else None
    rows = {name: Row() for name in extractors() if re.search(args.only, name)}
    network(), ours("<p>warm")
    for i in range(0, len(pages), args.sample):
        for name, run in extractors().items():
            if name in rows:
                rows[name].take(pages[i], own[i] if own and name == "curator" else run)
    print(f"{len(pages[:: args.sample])} pages, curator {'out of fold' if own else 'as shipped (saw these pages)'}\n")
    print("| extractor | precision | recall | F1, snippets | F1, words | comments left | ms a page | failed / empty |")
    print("|---|---|---|---|---|---|---|---|")
    for name, row in rows.items():
        print(row.line(name))
    reference = next((name for name in rows if name.endswith(" default")), None)
    if reference and "curator" in rows:
        print(f"\ncurator less {reference}: {difference(rows['curator'], rows[reference])}")


if __name__ == "__main__":
    main()
