"""What earlier runs hold already (`--against`): found by the hashes they stored, none of their texts is read again.

Every run that measures signatures leaves `kept.index`, the sorted hashes of the documents it kept. A later run
looks its own up in it; what an earlier run holds is a duplicate there, and the earlier document survives.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from curator.against import BandIndex, Earlier, find_repeats
from curator.curation import Rows, Shard, shards_of
from curator.dedup import DedupParams
from curator.errors import InputError
from curator.ids import ids_array
from curator.shards import aligned_batches, is_done, read_receipt, task_key, write_parquet, write_receipt
from curator.stages import Stage
from curator.text import I64, U64, Bools
from curator.workspace import Workspace, finished

INDEX = "kept.index"
_FILE = "against.parquet"
_HELD = pa.schema([("run", pa.int32()), ("doc_id", pa.binary(16)), ("similarity", pa.float32()), ("exact", pa.bool_())])


@dataclass(frozen=True)
class EarlierRun:
    """A finished run whose documents survive."""

    root: Path
    run_id: str


@dataclass(frozen=True)
class Held:
    """For each document what an earlier run holds of it.  Arrays are [docs]."""

    run: npt.NDArray[np.int32]  # position in `runs`; -1 for a document that is new
    ids: U64  # [docs, 2] the earlier document's id; zeros
    similarity: npt.NDArray[np.float32]
    exact: Bools
    runs: tuple[str, ...]  # the earlier runs' ids

    @property
    def mask(self) -> Bools:
        """Which documents an earlier run holds."""
        return np.asarray(self.run >= 0)

    def names(self, rows: slice) -> pa.Array:
        """The earlier run of each row; null for a new document."""
        return pa.array([self.runs[r] if r >= 0 else None for r in self.run[rows]], pa.string())


def nothing(count: int) -> Held:
    """No earlier run was named."""
    return Held(
        np.full(count, -1, np.int32),
        np.zeros((count, 2), np.uint64),
        np.zeros(count, np.float32),
        np.zeros(count, np.bool_),
        (),
    )


def earlier_runs(paths: Sequence[Path]) -> list[EarlierRun]:
    """The runs a user named; `InputError` for one that is not finished or holds no index."""
    found = []
    for path in paths:
        finished(path)
        if not (path / INDEX).is_file():
            raise InputError(
                f"{path} holds no {INDEX}: it measured no signatures, or an older curator made it; run its corpus again"
            )
        found.append(EarlierRun(path, Workspace(path).run_id))
    return found


def signatures(root: Path, shards: Sequence[Shard]) -> Iterator[pa.RecordBatch]:
    """`norm_hash`, `signature` and `n_shingles` of every document, in corpus order."""
    return (b for shard in shards for b in aligned_batches(signature_files(root, shard)))


def signature_files(root: Path, shard: Shard) -> list[tuple[Path, list[str]]]:
    """The files that deduplication reads."""
    return [
        (root / "signals" / "exact" / shard.name, ["norm_hash"]),
        (root / "signals" / "minhash" / shard.name, ["signature", "n_shingles"]),
    ]


def made_by(stages: Sequence[Stage]) -> str:
    """Names the stages that measured the hashes: others' are never compared."""
    return " ".join(s.fingerprint() for s in stages if s.name in ("exact", "minhash"))


def write_index(root: Path, shards: Sequence[Shard], kept: Bools, stages: Sequence[Stage], params: DedupParams) -> None:
    """Leave the hashes of the documents this run kept, for later runs."""
    if not {"exact", "minhash"} <= {stage.name for stage in stages}:
        return
    receipts = [read_receipt(root, path) for shard in shards for path, _ in signature_files(root, shard)]
    key = task_key(
        "index-1", made_by(stages), vars(params), np.packbits(kept).tobytes().hex(), [r and r.sha256 for r in receipts]
    )
    path = root / INDEX
    if not is_done(root, path, key):
        BandIndex.write(path, signatures(root, shards), kept, made_by(stages), params, root)
        write_receipt(root, path, key)


def held(
    root: Path,
    shards: Sequence[Shard],
    runs: Sequence[EarlierRun],
    stages: Sequence[Stage],
    params: DedupParams,
    spill: Path,
) -> Held:
    """What `runs` hold of this corpus, from the file of an unfinished or adopted run where there is one."""
    count = sum(shard.rows for shard in shards)
    if not runs and not (root / _FILE).is_file():
        return nothing(count)
    if runs:
        _find(root, shards, runs, stages, params, spill)
    table = pq.read_table(root / _FILE)
    run, similarity = table["run"].to_numpy().copy(), table["similarity"].to_numpy()
    run[similarity < np.float32(params.threshold)] = -1  # a redecided run may ask for more
    ids = ids_array(table["doc_id"].to_pylist())
    names = json.loads((table.schema.metadata or {})[b"runs"])
    return Held(run, ids, similarity, table["exact"].to_numpy(), tuple(names))


def _find(
    root: Path,
    shards: Sequence[Shard],
    runs: Sequence[EarlierRun],
    stages: Sequence[Stage],
    params: DedupParams,
    spill: Path,
) -> None:
    receipts = [read_receipt(root, path) for shard in shards for path, _ in signature_files(root, shard)]
    key = task_key("against-1", [r.run_id for r in runs], vars(params), [r and r.sha256 for r in receipts])
    if is_done(root, root / _FILE, key):
        return
    theirs = [Earlier(BandIndex.open(run.root / INDEX), _signature_rows(run.root, shards_of(run.root))) for run in runs]
    count = sum(shard.rows for shard in shards)
    own = _signature_rows(root, shards)
    found = find_repeats(signatures(root, shards), count, own, theirs, made_by(stages), params, spill)
    ids = np.zeros((count, 2), np.uint64)
    for position, run in enumerate(runs):
        mine = np.flatnonzero(found.run == position)
        ids[mine] = _ids_at(run.root, found.row[mine])
    columns = [
        found.run,
        pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), count, [None, pa.py_buffer(ids.tobytes())]),
    ]
    columns += [found.similarity, found.exact]
    metadata = {"runs": json.dumps([run.run_id for run in runs]), "report": json.dumps(found.report)}
    schema = _HELD.with_metadata(metadata)
    batch = pa.RecordBatch.from_arrays([c if isinstance(c, pa.Array) else pa.array(c) for c in columns], schema=schema)
    write_parquet(root, root / _FILE, schema, [batch], key)


def _signature_rows(root: Path, shards: Sequence[Shard]) -> Rows:
    return Rows(root / "signals" / "minhash", shards, "signature")


def _ids_at(root: Path, rows: I64) -> U64:
    """The ids of some documents of another run, in the order asked for.  # [rows, 2] uint64"""
    distinct, back = np.unique(rows, return_inverse=True)
    ids = Rows(root / "documents", shards_of(root), "doc_id")(distinct)
    found: U64 = ids_array(ids.to_pylist())[back]
    return found
