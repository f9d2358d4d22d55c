"""The main content of a page as text: headings, paragraphs, lists, tables and code; no navigation, banners or comments.

A page is read as blocks (`curator.blocks`); a small network that ships with the package judges each by
what it holds, where it lies and what stands beside it. `models/extract/card.md` says how it was trained
and what it was measured against.
"""

from __future__ import annotations

import tomllib
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from resiliparse.parse.html import HTMLTree
from safetensors.numpy import load_file

from curator.blocks import BLOCK_TAGS, GROUP_BITS, GROUPS, Blocks, blocks
from curator.shipped import pinned, shipped

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Columns = list[npt.NDArray[np.generic]]

VERSION: Final = "1"
NAME: Final = f"curator blocks {VERSION} + resiliparse {version('resiliparse')}"
NAME_UNHIDDEN: Final = f"{NAME}, hidden text shown"

KEEP: Final = 0.45  # a block at least so probable is main content: set out of fold, see the card
KEEP_BETWEEN: Final = 0.2  # enough for a line of a list, a table, code or a heading between what is kept: none is torn
MAX_BLOCKS: Final = 100_000  # features of more take over 100 MB: such a page loses what is mostly links, no more
_ONE_THREAD: Final = 1 << 18  # multiplications up to which OpenBLAS stays on one thread
_MENU_LINKS: Final = 4
_FEW_CHARS: Final = 200  # less text than this, and what is hidden gets a second look

# Characters by what they say of a text; one class each.
_CLASSES: Final = ("other", "lower", "upper", "uncased", "digit", "stop", "comma", "colon", "odd", "space")
_CLASS: Final = {name: i for i, name in enumerate(_CLASSES)}
_STOPS: Final = ".!?…。！？؟।۔｡"
_COMMAS: Final = ",;،、，；"

# Tags that make a difference; any other counts as a division.
_KIND: Final = {
    **{tag: tag for tag in ("p", "h1", "h2", "h3", "li", "td", "dd", "pre", "blockquote", "section", "article")},
    **{tag: tag for tag in ("address", "label", "header", "footer", "aside")},
    **dict.fromkeys(("h4", "h5", "h6", "summary"), "h3"),
    **dict.fromkeys(("th", "tr", "table", "tbody", "thead", "tfoot"), "td"),
    **dict.fromkeys(("dt", "dl"), "dd"),
    **dict.fromkeys(("ul", "ol", "menu"), "li"),
    **dict.fromkeys(("listing", "xmp", "plaintext"), "pre"),
    **dict.fromkeys(("figcaption", "figure", "caption"), "figcaption"),
    "main": "article",
    "legend": "label",
}
KINDS: Final = tuple(sorted({"div", *_KIND.values()}))
_KIND_INDEX: Final = {tag: KINDS.index(_KIND.get(tag, "div")) for tag in BLOCK_TAGS}
_H1, _HEADINGS = KINDS.index("h1"), (KINDS.index("h1"), KINDS.index("h3"))
_TORN: Final = [KINDS.index(kind) for kind in ("li", "td", "dd", "pre", "h2", "h3")]
_COMMENT: Final = 1 << list(GROUPS).index("comment")
_LEVELS: Final = 4  # containers around a block that are looked at


@dataclass(frozen=True)
class Extracted:
    """text: blocks with a blank line between, lines of a list or table without; extractor: what made it, with versions."""

    text: str
    extractor: str


@dataclass(frozen=True)
class Features:
    """What the network sees of a page's n blocks.

    x: one row a block.  # [n, features] float32
    like, place: numbers of the group of blocks in elements of one kind, and of the element.  # [n] int64
    """

    x: F32
    like: I64
    place: I64


@lru_cache(maxsize=1)
def _class_table() -> npt.NDArray[np.uint8]:
    """Class of every character of the basic plane; all beyond it counts as the last.  # [65536] uint8"""
    table = np.array([_class_of(chr(code)) for code in range(0x10000)], np.uint8)
    table[-1] = _CLASS["odd"]
    return table


def _class_of(char: str) -> int:
    category = unicodedata.category(char)
    kind = {"Lu": "upper", "Ll": "lower", "Lt": "upper", "Nd": "digit"}.get(category)
    kind = kind or {"L": "uncased", "M": "uncased", "S": "odd", "Z": "space"}.get(category[0], "other")
    if char in _STOPS:
        kind = "stop"
    elif char in _COMMAS:
        kind = "comma"
    elif char in ":：":
        kind = "colon"
    elif char in "\n\t":
        kind = "space"
    elif char in "|#@/&*•·›»←→":
        kind = "odd"
    return _CLASS[kind]


def _classes(texts: list[str]) -> tuple[F64, I64, I64]:
    """Characters of each class in each text, and the class of its first and last.  # [n, classes], [n], [n]"""
    sizes = np.array([len(text) for text in texts])
    codes = np.frombuffer("".join(texts).encode("utf-32-le", "replace"), np.uint32)
    found = _class_table()[np.minimum(codes, 0xFFFF)]
    ends = np.cumsum(sizes)
    after = np.append(found[1:], _CLASS["space"])
    after[ends - 1] = _CLASS["space"]
    inside = (found == _CLASS["stop"]) & (after >= _CLASS["lower"]) & (after <= _CLASS["digit"]) & (codes < 0x80)
    found = np.where(inside, _CLASS["other"], found)  # the dot of a number or an address ends no sentence
    width = len(_CLASSES)
    counts = np.bincount(np.repeat(np.arange(len(texts)) * width, sizes) + found, minlength=len(texts) * width)
    return (
        counts.reshape(-1, width).astype(np.float64),
        found[ends - sizes].astype(np.int64),
        found[ends - 1].astype(np.int64),
    )


def features(page: Blocks, title: str) -> Features:
    """Describe the blocks of a page (at least one) for the network, by nothing that depends on a language."""
    n = len(page.texts)
    index = np.arange(n)
    place = np.array(page.places)
    counts, first, last = _classes(page.texts)
    by = dict(zip(_CLASSES, counts.T, strict=True))
    chars = counts.sum(1)
    words = by["space"] + 1
    link = np.array(page.link_chars, np.float64)
    good = np.where((chars >= 80) & (link < 0.3 * chars) & (by["stop"] >= 1), chars - link, 0.0)
    kind = kinds(page)
    letters = by["lower"] + by["upper"] + by["uncased"] + 1
    columns: Columns = [
        np.log1p(chars),
        np.log1p(words),
        link / chars,
        np.minimum(page.links, 10),
        np.log1p(by["stop"]),
        np.log1p(by["comma"]),
        by["stop"] / words,
        by["comma"] / words,
        by["colon"] / words,
        by["odd"] / words,
        by["other"] / words,
        by["digit"] / chars,
        by["upper"] / letters,
        by["uncased"] / letters,
        np.minimum(letters / words, 30),
        by["upper"] / words,
        last == _CLASS["stop"],
        last == _CLASS["colon"],
        first == _CLASS["lower"],
        first == _CLASS["digit"],
        first == _CLASS["odd"],
        (by["lower"] == 0) & (by["upper"] > 1),
        np.log1p([text.count("\n") for text in page.texts]),
    ]
    columns += list(kind == np.arange(len(KINDS))[:, None])
    columns += _of_groups(page, place)
    columns += _of_containers(page, place, chars, link, good)
    columns += _of_order(index, place, good, chars)
    columns += _of_headline(page.texts, title, kind, index)
    like = _likeness(page)
    columns += _of_likes(like, chars, link, good, by["stop"])
    columns += _of_page(n, chars, link, good)
    x = np.empty((n, len(columns)), np.float32)
    for i, column in enumerate(columns):
        x[:, i] = column
    return Features(x, like, place)


def _of_groups(page: Blocks, place: I64) -> Columns:
    """The groups of the names of all elements around a block, and of the nearest two."""
    shifts = np.arange(GROUP_BITS)[:, None]
    bits, around = np.array(page.bits), np.array(page.all_bits)
    near = bits[place] | bits[np.array(page.parents)[place]]
    return [*(around[place] >> shifts & 1), *(near >> shifts & 1)]


def _of_containers(page: Blocks, place: I64, chars: F64, link: F64, good: F64) -> Columns:
    """How much of the page's text, and of its good text, the elements around a block hold, and how linked they are."""
    firsts, lasts = np.array(page.firsts), np.array(page.lasts)
    held = [np.concatenate(([0.0], np.cumsum(v))) for v in (chars, link, good)]
    text, linked, fine = (total[lasts] - total[firsts] for total in held)
    depth = np.array(page.depths)
    all_text, all_fine = max(1.0, text[0]), max(1.0, fine[0])
    best = int(np.flatnonzero(fine >= 0.6 * fine[0])[-1])  # the innermost element with most of the good text
    inside = (np.arange(len(place)) >= firsts[best]) & (np.arange(len(place)) < lasts[best])
    parents, at = np.array(page.parents), place
    columns: Columns = []
    for level in range(_LEVELS):
        columns += [
            fine[at] / all_fine,
            text[at] / all_text,
            linked[at] / np.maximum(1, text[at]),
            fine[at] / np.maximum(1, text[at]),
        ]
        if level < 2:
            columns += [np.log1p(text[at]), np.log1p(lasts[at] - firsts[at])]
        at = parents[at]
    return [
        *columns,
        inside,
        np.minimum(depth[place], 30),
        np.clip(depth[place] - depth[best], -10, 20),
        np.asarray(fine[best] / all_fine),
        np.asarray(linked[best] / max(1.0, text[best])),
        np.asarray(text[best] / all_text),
    ]


def _of_order(index: I64, place: I64, good: F64, chars: F64) -> Columns:
    """Where a block stands on the page, and among the good ones."""
    n, is_good = len(index), good > 0
    total, sums = max(1.0, float(good.sum())), np.cumsum(good)
    before = np.maximum.accumulate(np.where(is_good, index, -100))
    behind = np.minimum.accumulate(np.where(is_good, index, n + 100)[::-1])[::-1]
    before = np.concatenate(([-100], before[:-1]))
    behind = np.append(behind[1:], n + 100)
    return [
        index / n,
        np.log1p(index),
        np.log1p(n - 1 - index),
        (sums - good) / total,
        1 - sums / total,
        (np.cumsum(chars) - chars) / chars.sum(),
        np.log1p(np.minimum(index - before, 100)),
        np.log1p(np.minimum(behind - index, 100)),
        (before >= 0) & (place == place[np.maximum(before, 0)]),
        (behind < n) & (place == place[np.minimum(behind, n - 1)]),
    ]


def _of_headline(texts: list[str], title: str, kind: I64, index: I64) -> Columns:
    """Where a block stands from the headline and from the heading above it."""
    line = headline(texts, title, kind)
    above = np.maximum.accumulate(np.where(_is_heading(kind), index, -1))
    return [
        _in_title(texts, title),
        np.asarray(line >= 0),
        index == line,
        index > line,
        np.sign(index - line) * np.log1p(np.abs(index - line)),
        np.where(above >= 0, np.log1p(np.minimum(index - above, 60)), 5.0),
    ]


def _in_title(texts: list[str], title: str) -> Bools:
    title = " ".join(title.lower().split())
    return np.array([8 < len(text) < 300 and text.lower() in title for text in texts], bool)


def kinds(page: Blocks) -> I64:
    """Number in `KINDS` of the element that each block lies in.  # [n]"""
    return np.array([_KIND_INDEX[page.names[p]] for p in page.places], np.int64)


def _is_heading(kind: I64) -> Bools:
    return (kind >= _HEADINGS[0]) & (kind <= _HEADINGS[1])


def headline(texts: list[str], title: str, kind: I64) -> int:
    """Index of the block that names the page: the first heading that its title holds, else the first h1, else -1."""
    for found in (np.flatnonzero(_is_heading(kind) & _in_title(texts, title)), np.flatnonzero(kind == _H1)):
        if len(found):
            return int(found[0])
    return -1


def _likeness(page: Blocks) -> I64:
    """Number the groups of blocks that lie in elements of the same kind, name and surroundings.  # [n]"""
    seen: dict[tuple[str, int, str, int], int] = {}
    names, bits, parents = page.names, page.bits, page.parents
    return np.array(
        [seen.setdefault((names[p], bits[p], names[parents[p]], bits[parents[p]]), len(seen)) for p in page.places]
    )


def _of_likes(like: I64, chars: F64, link: F64, good: F64, stops: F64) -> Columns:
    """How many blocks of one kind there are, and what they hold together."""
    size, text, linked, fine, ends = (
        np.bincount(like, weights)[like] for weights in (np.ones(len(like)), chars, link, good, stops)
    )
    return [
        np.log1p(size),
        text / chars.sum(),
        np.log1p(text / size),
        linked / text,
        fine / max(1.0, float(good.sum())),
        ends / size,
    ]


def _of_page(n: int, chars: F64, link: F64, good: F64) -> Columns:
    total = float(chars.sum())
    return [
        np.asarray(value)
        for value in (
            np.log1p(n), np.log1p(total), link.sum() / total, good.sum() / total, np.log1p(np.count_nonzero(good)),
        )
    ]  # fmt: skip


@dataclass(frozen=True)
class Network:
    """Judges the blocks of a page: one layer a block, one over its neighbours and likes, one number out.

    weights: by name, float32; `mean`, `scale` [f]; `block` [f, h]; `near` [2r+1, h, h], the neighbours in order;
    `like`, `place`, `page` [h, h]; `out` [2h]; biases `block_bias`, `near_bias` [h], `out_bias` [1].
    """

    weights: dict[str, F32]

    def probs(self, found: Features) -> F32:
        """Probability of each block to be main content.  # [n] float32"""
        w = self.weights
        x = np.clip((found.x - w["mean"]) / w["scale"], -5, 5)
        h = np.maximum(_times(x, w["block"]) + w["block_bias"], 0)
        reach = len(w["near"]) // 2
        padded = np.pad(h, ((reach, reach), (0, 0)))
        around = [padded[i : i + len(h)] for i in range(len(w["near"]))]  # neighbours, in order
        seen = np.hstack([*around, _shared(h, found.like), _shared(h, found.place)])
        context = _times(seen, np.vstack([*w["near"], w["like"], w["place"]]))
        context += w["near_bias"] + h.mean(0) @ w["page"]
        logit = np.hstack([np.maximum(context, 0), h]) @ w["out"] + w["out_bias"]
        return np.asarray(1 / (1 + np.exp(-logit)), np.float32)


def _times(rows: F32, weight: F32) -> F32:
    """`rows @ weight`, a few rows at a time: BLAS spreads larger products over threads that spin, ten times the CPU."""
    step = max(1, _ONE_THREAD // weight.size)
    return np.vstack([rows[i : i + step] @ weight for i in range(0, len(rows), step)])


def _shared(h: F32, group: I64) -> F32:
    """The mean row of the group that each row belongs to.  # [n, h]"""
    order = np.argsort(group, kind="stable")
    ordered = group[order]
    starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
    sizes = np.diff(np.append(starts, len(group)))
    means = np.add.reduceat(h[order], starts) / sizes[:, None].astype(np.float32)
    shared = np.empty_like(h)
    shared[order] = np.repeat(means, sizes, axis=0)
    return shared


@lru_cache(maxsize=1)
def network() -> Network:
    """Return the network that ships, once its bytes are those that were pinned."""
    folder: Path = shipped("models") / "extract"
    config = tomllib.loads((folder / "config.toml").read_text("utf-8"))
    return Network(load_file(pinned(folder / config["file"], config["sha256"])))


def kept(page: Blocks, probs: F32) -> Bools:
    """Which blocks are main content, given what the network says of each.  # [n]"""
    keep = probs >= KEEP
    keep |= _between(keep) & (probs >= KEEP_BETWEEN) & np.isin(kinds(page), _TORN)
    comment = np.array(page.all_bits)[page.places] & _COMMENT != 0
    chars = np.array([len(text) for text in page.texts])
    if 2 * chars[keep & ~comment].sum() > chars[keep & comment].sum():  # else the comments are the page: a forum
        keep &= ~comment
    return np.asarray(keep & ~_menus(page, chars))


def _menus(page: Blocks, chars: I64) -> Bools:
    """Blocks that are several links and nothing else."""
    return np.asarray((np.array(page.links) >= _MENU_LINKS) & (np.array(page.link_chars) >= 0.9 * chars))


def _between(keep: Bools) -> Bools:
    """Whether something is kept before and behind each block.  # [n]"""
    before, behind = np.logical_or.accumulate(keep), np.logical_or.accumulate(keep[::-1])[::-1]
    return np.asarray(before & behind)


def written(page: Blocks, keep: Bools) -> str:
    """The kept blocks as text: an empty line between, but for the items of a list and the rows of a table."""
    parts: list[str] = []
    last = ""
    for i in np.flatnonzero(keep).tolist():
        line, first = _line_of(page, i)
        if parts:
            parts.append("\n" if line and line == last else "\n\n")
        parts.append("- " + page.texts[i] if line == "li" and first else page.texts[i])
        last = line
    return "".join(parts)


def _line_of(page: Blocks, i: int) -> tuple[str, bool]:
    """What makes block `i` a line among lines, if anything (a list `li`, a table `t`, definitions `d`), and whether it begins it."""
    place = page.places[i]
    if page.names[place] in ("tr", "dt", "dd"):
        return page.names[place][0], True
    for _ in range(3):
        if page.names[place] == "li":
            return "li", page.firsts[place] == i
        place = page.parents[place]
    return "", False


def extract(html: str, tree: HTMLTree) -> Extracted:
    """Return the main content of a page; an empty text where it has none. `tree` is the parsed `html` and stays as it is."""
    title = tree.title or ""
    page = blocks(tree)
    text = main_text(page, title, network())
    if page.hidden and len(text) < _FEW_CHARS:
        shown = main_text(blocks(tree, unhide=True), title, network())
        if len(shown) > 2 * len(text) + _FEW_CHARS:
            return Extracted(shown, NAME_UNHIDDEN)
    return Extracted(text, NAME)


def main_text(page: Blocks, title: str, judge: Network) -> str:
    """What a judge keeps of a page, as text."""
    if not page.texts:
        return ""
    if len(page.texts) > MAX_BLOCKS:
        return written(page, np.array(page.link_chars) < 0.5 * np.array([len(text) for text in page.texts]))
    return written(page, kept(page, judge.probs(features(page, title))))
