"""What a finished run holds, as far as a proof needs it: which documents are human text, and which the mixture drew."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curator import uuids
from curator.curation import Rows, shards_of, texts_of
from curator.proxy import I64, U64, Bools
from curator.tables import need
from curator.workspace import finished

LEAST: Final = 300  # reference documents without which nothing is held out
LIKELY: Final = 0.1  # P(a model wrote it) below which a document counts as likely human
MOST_CHARS: Final = 20_000  # of one document: a book would be the whole budget
MOST_WORDS: Final = 3_500  # about what so many characters hold

REFERENCES: Final = {
    "snapshot": "the snapshot given by --reference",
    "dated": "documents dated before models wrote for everybody, without those that a rule drops",
    "likely human": f"documents that are likely human (prob_document below {LIKELY}), without those that a rule drops",
    "own": "text of one's own, given by --heldout",
}

_COLUMNS: Final = (
    "doc_id", "source", "quarantine", "outcome", "n_words", "cluster", "weight", "prob_document", "origin_trusted",
    "reference", "norm_hash",
)  # fmt: skip


@dataclass(frozen=True)
class Documents:
    """A run's documents as its ledger tells of them.  Arrays are [docs], in the order of its files."""

    root: Path
    ids: U64  # [docs, 2]
    cluster_ids: U64  # [docs, 2] id of the centre of its duplicates, or its own
    cluster: I64  # number of its duplicate cluster
    source: npt.NDArray[np.object_]
    words: I64
    copies: I64  # in the mixture; 0 outside
    readable: Bools
    snapshot: Bools
    kind: str  # which reference there is
    reference: Bools
    norm_hash: pa.ChunkedArray | None  # 16 bytes each

    def first_of_cluster(self, chosen: Bools) -> Bools:
        """Of each cluster of duplicates the chosen document with the lowest id."""
        rows = np.flatnonzero(chosen)
        rows = rows[np.lexsort((self.ids[rows, 1], self.ids[rows, 0], self.cluster[rows]))]
        first = np.zeros(len(chosen), np.bool_)
        first[rows[np.unique(self.cluster[rows], return_index=True)[1]]] = True
        return first

    def sharing(self, chosen: Bools) -> Bools:
        """Every document that lies in one cluster with a chosen one."""
        return np.asarray(np.isin(self.cluster, self.cluster[chosen]))

    def texts(self) -> Rows:
        """Fetches what was read, by row."""
        return texts_of(self.root, shards_of(self.root))


def documents(root: Path) -> Documents:
    """Read what is needed of a finished run's ledger.

    Raises `InputError` for a run that is not finished, or whose recipe counted no words.
    """
    finished(root)
    table = _ledger(root)
    ids, cluster = uuids.words(table["doc_id"]), table["cluster"]
    cluster_ids = np.where(cluster.is_valid().to_numpy()[:, np.newaxis], uuids.words(cluster), ids)
    words = np.minimum(pc.fill_null(table["n_words"], 0).to_numpy(), MOST_WORDS).astype(np.int64)
    readable = pc.is_null(table["quarantine"]).to_numpy() & (words > 0)
    snapshot = _true(table, "reference") & readable
    kind, reference = _reference(table, snapshot, readable)
    return Documents(
        root=root,
        ids=ids,
        cluster_ids=cluster_ids,
        cluster=np.unique(cluster_ids, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64),
        source=np.array(table["source"].cast(pa.string()).to_pylist(), np.object_),
        words=words,
        copies=np.rint(pc.fill_null(table["weight"], 0.0).to_numpy()).astype(np.int64),
        readable=readable,
        snapshot=snapshot,
        kind=kind,
        reference=reference,
        norm_hash=table["norm_hash"].cast(pa.binary(16)) if "norm_hash" in table.column_names else None,
    )


def _ledger(root: Path) -> pa.Table:
    paths = sorted((root / "ledger").glob("*.parquet"))
    need(
        paths and any((root / "documents").glob("*.parquet")),
        f"{root} holds no texts any more; run `curator filter` again",
    )
    names = pq.read_schema(paths[0]).names
    need("n_words" in names, f"{root}: its recipe counted no words; add [stages.text_stats] and run it again")
    return pa.concat_tables([pq.read_table(path, columns=[n for n in _COLUMNS if n in names]) for path in paths])


def _reference(table: pa.Table, snapshot: Bools, readable: Bools) -> tuple[str, Bools]:
    """Which human text there is, and which documents it is: a snapshot whatever its size, dated text from `LEAST` documents on."""
    faultless = readable & pc.is_in(table["outcome"], pa.array(["curated", "left_out", "duplicate"])).to_numpy()
    dated = _true(table, "origin_trusted") & faultless
    if snapshot.any():
        return "snapshot", snapshot
    if dated.sum() >= LEAST or "prob_document" not in table.column_names:
        return "dated", dated
    return "likely human", faultless & pc.fill_null(pc.less(table["prob_document"], LIKELY), False).to_numpy()


def _true(table: pa.Table, name: str) -> Bools:
    if name not in table.column_names:
        return np.zeros(table.num_rows, np.bool_)
    return np.asarray(pc.fill_null(table[name], False).to_numpy())


def beginnings(texts: Rows, rows: I64) -> list[str]:
    """Texts of rows in any order, the first `MOST_CHARS` characters of each."""
    order = np.argsort(rows, kind="stable")
    found = [(text or "")[:MOST_CHARS] for text in texts(rows[order]).to_pylist()]
    return [found[i] for i in np.argsort(order, kind="stable")]
