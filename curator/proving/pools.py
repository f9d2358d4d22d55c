"""The documents of each arm, without what is held out: what a training set is drawn from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow.parquet as pq

from curator import uuids
from curator.curation import Rows, Shard
from curator.errors import AccountError
from curator.proving.documents import LEAST, Documents
from curator.proving.heldout import HeldOut
from curator.proxy import I64, U64, Bools
from curator.tables import need

ARMS: Final = ("mixture", "random", "crawl part", "reference")
LEAST_TRAINED: Final = 50  # documents of any pool
CRAWL_PART: Final = 0.5  # of the smallest pool's words, from which the mixture without the snapshot is trained on


@dataclass(frozen=True)
class Pool:
    """Documents to draw a training set from.  Arrays are [documents]."""

    name: str
    texts: Rows
    rows: I64  # place of each text in its folder, ascending
    ids: U64
    words: I64
    copies: I64
    reference: Bools

    @property
    def total(self) -> int:
        """Words of all copies."""
        return int((self.words * self.copies).sum())


def pools(run: Documents, held: HeldOut) -> list[Pool]:
    """The documents of each arm, in the order of `ARMS`; no reference where the run has too little of it.

    random: every readable document but the snapshot, duplicates and faults too: what one would train on without curation.
    crawl part: the mixture without the snapshot, where it has one and the rest is large enough to train on.

    Raises `InputError` for an arm of too few documents, `AccountError` for a mixture that is not what the ledger says.
    """
    drawn, read = run.copies > 0, run.texts()
    mixed, place = _mixture(run, drawn)
    once, where = np.ones(len(drawn), np.int64), np.arange(len(drawn))
    free = run.readable & ~held.taken
    found = {
        "mixture": _pool("mixture", run, mixed, drawn & free, place, run.copies),
        "random": _pool("random", run, read, free & ~run.snapshot, where, once),
        "reference": _pool("reference", run, read, run.first_of_cluster(run.reference & ~held.taken), where, once),
    }
    if held.kind == "own" and len(found["reference"].rows) < LEAST:
        del found["reference"]
    crawl = _pool("crawl part", run, mixed, drawn & free & ~run.snapshot, place, run.copies)
    enough = CRAWL_PART * min(pool.total for pool in found.values())  # less would make every model's budget small
    if (drawn & run.snapshot).any() and crawl.total >= enough and len(crawl.rows) >= LEAST_TRAINED:
        found["crawl part"] = crawl
    for pool in found.values():
        need(
            len(pool.rows) >= LEAST_TRAINED,
            f"the {pool.name} holds {len(pool.rows)} documents without what is held out, {LEAST_TRAINED} are needed; "
            "run `curator filter` on more text",
        )
    return [found[arm] for arm in ARMS if arm in found]


def _mixture(run: Documents, drawn: Bools) -> tuple[Rows, I64]:
    """The mixture's texts, and at which of its rows each drawn document lies; -1 for the others.  # [docs]"""
    folder = run.root / "mixture"
    paths = sorted(folder.glob("*.parquet"))
    held = [uuids.words(pq.read_table(path, columns=["doc_id"])["doc_id"]) for path in paths]
    firsts = np.cumsum([0, *map(len, held)])
    shards = [Shard(path.name, int(first), len(ids)) for path, first, ids in zip(paths, firsts[:-1], held, strict=True)]
    ids = np.concatenate([np.zeros((0, 2), np.uint64), *held])
    rows, order = np.flatnonzero(drawn), np.lexsort(ids.T)
    rows = rows[np.lexsort(run.ids[rows].T)]
    if not np.array_equal(run.ids[rows], ids[order]):
        raise AccountError(f"{folder} does not hold the documents its ledger names; `curator verify` says more")
    place = np.full(len(drawn), -1, np.int64)
    place[rows] = order
    return Rows(folder, shards, "text"), place


def _pool(name: str, run: Documents, texts: Rows, chosen: Bools, place: I64, copies: I64) -> Pool:
    rows = np.flatnonzero(chosen)
    rows = rows[np.argsort(place[rows])]
    return Pool(name, texts, place[rows], run.ids[rows], run.words[rows], copies[rows], run.reference[rows])
