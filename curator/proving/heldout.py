"""Human text that no model is trained on: a part of the run's own, or a file of the user's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curator import uuids
from curator.errors import InputError
from curator.ids import unit_hash
from curator.proving.documents import LEAST, MOST_CHARS, REFERENCES, Documents, beginnings
from curator.proxy import Bools
from curator.readers.columns import Columns
from curator.score import open_lines
from curator.stages.exact import ExactHash
from curator.tables import need

LEAST_OWN: Final = 50  # texts of one's own
HELD_OUT: Final = 0.2  # of the reference
MOST_HELD_OUT: Final = 2_000


@dataclass(frozen=True)
class HeldOut:
    """Human text that no model sees.  taken: [docs of the run] documents that no training set may hold."""

    texts: list[str]
    source: npt.NDArray[np.object_]
    taken: Bools
    kind: str


def hold_out(run: Documents, own: Path | None) -> HeldOut:
    """A hashed fifth of the reference, at most `MOST_HELD_OUT` documents, one of each cluster; or a file of one's own.

    Raises `InputError` when there is too little human text.
    """
    if own is not None:
        return _own(run, own)
    unique = run.first_of_cluster(run.reference)
    need(
        int(unique.sum()) >= LEAST,
        f"{int(unique.sum()):,} documents of human text ({REFERENCES[run.kind]}), {LEAST} are needed; run `curator filter` with "
        "--reference SNAPSHOT, or give human text with --heldout FILE",
    )
    share = min(HELD_OUT, MOST_HELD_OUT / int(unique.sum()))
    chosen = unique & (unit_hash(run.cluster_ids, 0, "prove:heldout") < share)
    rows = np.flatnonzero(chosen)
    rows = rows[np.lexsort((run.ids[rows, 1], run.ids[rows, 0]))]
    return HeldOut(beginnings(run.texts(), rows), run.source[rows], run.sharing(chosen), run.kind)


def _own(run: Documents, path: Path) -> HeldOut:
    """Texts of a Parquet or JSON-lines file; what has the same words in the run, with its duplicates, is taken."""
    texts = sorted({line.text for line in open_lines(str(path), (), Columns()) if line.text and line.text.strip()})
    need(
        len(texts) >= LEAST_OWN,
        f"{path} holds {len(texts)} different texts, {LEAST_OWN} are needed; give a larger file with --heldout",
    )
    if run.norm_hash is None:
        raise InputError(
            f"{run.root}: its recipe hashed no texts, so copies of --heldout cannot be found; add [stages.exact] and run it again"
        )
    measured = ExactHash().open()(pa.record_batch({"text": pa.array(texts, pa.large_string())}))
    norm = measured.column("norm_hash").cast(pa.binary(16)).drop_null()
    same = pc.is_in(run.norm_hash, norm).to_numpy()
    ids = uuids.words(measured.column("text_hash"))
    order = unit_hash(ids, 0, "prove:heldout").argsort(kind="stable")[:MOST_HELD_OUT]
    source = np.full(len(order), path.name, np.object_)
    return HeldOut([texts[i][:MOST_CHARS] for i in order], source, run.sharing(same), "own")
