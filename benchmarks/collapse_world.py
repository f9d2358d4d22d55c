"""The world of the collapse test: human text of many domains whose sizes fall off as Zipf's law says.

A domain is a set of ../shared/data/detect/train, or a part of one: the trade that a blog's author names, the first topic of
a newswire item, the site of a newspaper article, the genre of the Brown corpus, ham or spam. Long texts are cut into
pieces of 80 to 240 words, whitespace folded; a piece that shares a run of eight tokens with an earlier one is left out
(`curator.learn.near_groups`, across all sets). Of the domain of rank r at most `largest / r` pieces are taken. The
construction depends on the files alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curator import learn

I64 = npt.NDArray[np.int64]

DOMAINS: Final = 56
LARGEST: Final = 14_000  # pieces of the largest domain
FEWEST: Final = 60  # pieces of the smallest
SHORTEST, LONGEST = 80, 240  # words of a piece
PARTS: Final = {
    "blog_authorship": 12,
    "reuters21578": 9,
    "news_2016_2017": 6,
}  # largest parts of a set that are domains
ATTACKED: Final = ("adversarial", "paraphrase")


def _blog(row: dict[str, Any]) -> str | None:
    return str(json.loads(row["meta"])["topic"])


def _newswire(row: dict[str, Any]) -> str | None:
    topics = json.loads(row["meta"])["topics"]
    return str(topics[0]) if topics else "no topic"


def _news(row: dict[str, Any]) -> str | None:
    return urlsplit(str(json.loads(row["meta"])["url"])).netloc.removeprefix("www.") or None


def _detectrl(row: dict[str, Any]) -> str | None:
    attacked = str(json.loads(row["meta"])["data_type"]).startswith(ATTACKED)
    return None if attacked else str(row["domain"])


def _biscope(row: dict[str, Any]) -> str | None:
    """Its stories are detectrl's, and its programs are no prose."""
    return str(row["domain"]) if row["domain"] in ("yelp", "arxiv") else None


def _domain(row: dict[str, Any]) -> str | None:
    return str(row["domain"])


SETS: Final[dict[str, Callable[[dict[str, Any]], str | None]]] = {
    "authenticheck_essays": _domain, "biscope": _biscope, "blog_18f": _domain, "blog_authorship": _blog,
    "detectrl_xsum_writing": _detectrl, "gptid_reddit": _domain, "imdb_reviews": _domain, "mage_adv_paraphrase": _domain,
    "news_2016_2017": _news, "nltk_human": _domain, "novels_chunks": _domain, "reuters21578": _newswire,
    "spamassassin": _domain,
}  # fmt: skip


@dataclass(frozen=True)
class World:
    """Pieces of human text: domain [pieces] is a position in `names`, the largest domain first."""

    text: list[str]
    domain: I64
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.text)


def world(data: Path, cache: Path, largest: int = LARGEST) -> World:
    """Read the world from a file of the folder `cache`, or build it there from `data` (../shared/data).

    largest: pieces of the largest domain, at most.
    """
    path = cache / f"world-{largest}.parquet"
    if not path.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        built = _built(data / "detect" / "train", largest)
        table = pa.table({"text": pa.array(built.text, pa.large_string()), "domain": built.domain})
        pq.write_table(table.replace_schema_metadata({"names": json.dumps(built.names)}), path, compression="zstd")
    table = pq.read_table(path)
    names = tuple(json.loads((table.schema.metadata or {})[b"names"]))
    return World(table["text"].to_pylist(), table["domain"].to_numpy().astype(np.int64), names)


def _built(folder: Path, largest: int) -> World:
    found: dict[str, list[str]] = {}
    for name, category in SETS.items():
        found |= _domains_of(folder / f"{name}.parquet", name, category, largest * 3 // 2)
    names = [name for name in sorted(found) for _ in found[name]]
    texts = [text for name in sorted(found) for text in found[name]]
    kept = _without_copies(texts)
    left: dict[str, list[str]] = {name: [] for name in found}
    for i in kept:
        left[names[i]].append(texts[i])
    ranked = sorted((name for name in left if len(left[name]) >= FEWEST), key=lambda n: (-len(left[n]), n))[:DOMAINS]
    sized = {name: left[name][: max(FEWEST, largest // rank)] for rank, name in enumerate(ranked, 1)}
    ranked.sort(key=lambda name: (-len(sized[name]), name))
    return World(
        [text for name in ranked for text in sized[name]],
        np.repeat(np.arange(len(ranked)), [len(sized[name]) for name in ranked]),
        tuple(ranked),
    )


def _domains_of(
    path: Path, name: str, category: Callable[[dict[str, Any]], str | None], most: int
) -> dict[str, list[str]]:
    """Pieces of every domain of a set, about `most` of each at most, in an order drawn once."""
    table = pq.read_table(path, columns=["text", "label", "domain", "meta"])
    rows = table.filter(pc.equal(table["label"], "human")).to_pylist()
    dice = np.random.default_rng(0)
    found: dict[str, list[str]] = {}
    for i in dice.permutation(len(rows)):
        part = category(rows[i])
        pieces = found.setdefault(f"{name}/{part}", []) if part else []
        if part and len(pieces) < most:
            pieces.extend(_pieces(rows[i]["text"], dice))
    largest = sorted(found, key=lambda n: (-len(found[n]), n))[: PARTS.get(name, len(found))]
    return {domain: found[domain] for domain in largest}


def _pieces(text: str, dice: np.random.Generator) -> Iterator[str]:
    words = text.removeprefix("\ufeff").split()
    first = 0
    while len(words) - first >= SHORTEST:
        size = int(dice.integers(SHORTEST, LONGEST + 1))
        yield " ".join(words[first : first + size])
        first += size


def _without_copies(texts: list[str]) -> list[int]:
    """The first of every group of texts that share a run of words, and of equal ones."""
    first = list({text: i for i, text in reversed(list(enumerate(texts)))}.values())
    own = sorted(first)
    groups = learn.near_groups([texts[i] for i in own], np.arange(len(own)))
    _, leaders = np.unique(groups, return_index=True)
    return [own[i] for i in np.sort(leaders)]
