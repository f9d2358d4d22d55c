"""What earlier runs already hold: a new corpus's hashes searched in theirs, without a text of either.

An earlier run leaves one file, its `BandIndex`: for each band the hashes of the documents it kept,
sorted, with their rows, and their normalised hashes likewise: 20 + 12 * bands bytes a document. A new
corpus's hashes are sorted band by band (`curator.bands`) and looked up in these files, which are
mapped, not read: the work grows with the new corpus, the reading is at most one pass over each
earlier file, and where the new corpus is small only the pages around its hashes are touched.

Two documents with one normalised hash are one. What shares a band is judged by the share of equal
values in the two signatures, which estimates Jaccard similarity J with a standard error of
sqrt(J * (1 - J) / num_perm), 0.038 at 0.75 with 128 values: `acceptance` says what that lets pass.
"""

from __future__ import annotations

import json
import math
import mmap
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curator.bands import (
    FIRST_BAND,
    NORM_HIGH,
    NORM_LOW,
    CorpusHashes,
    HashSort,
    Spill,
    numbers,
    read_hashes,
    signature_values,
    starts_of_runs,
)
from curator.dedup import DedupParams
from curator.errors import AccountError, InputError
from curator.kernels import kernel
from curator.shards import writing
from curator.text import I64, U32, U64, Bools

I32 = npt.NDArray[np.int32]
F32 = npt.NDArray[np.float32]
Signatures = Callable[[I64], pa.FixedSizeListArray]

VERSION: Final = 1  # of the file's layout and of the band hashes

_HEAD_BYTES: Final = 4096
_WINDOW: Final = 1 << 20  # hashes of an earlier run that are looked at at once, 8 MiB
_PER_BUCKET: Final = 8  # documents of an earlier run's bucket that a document is compared with


def acceptance(jaccard: float, threshold: float, num_perm: int = 128) -> float:
    """The chance that signatures of documents with this similarity agree in at least `threshold` of their values.

    Binomial. At 0.75 and 128 values: 0.003 for J = 0.63, 0.13 for 0.70, 0.55 for 0.75, 0.93 for 0.80.
    It is of pairs that meet in a band, which agree a little more often than others.
    """
    least = math.ceil(threshold * num_perm - 1e-9)
    return sum(
        math.comb(num_perm, k) * jaccard**k * (1 - jaccard) ** (num_perm - k) for k in range(least, num_perm + 1)
    )


# --- What an earlier run leaves ------------------------------------------------------------------


class _Head(NamedTuple):
    """The first bytes of an index."""

    version: int
    made_by: str
    bands: int
    rows: int
    documents: int  # of the run, kept or not
    norms: int
    signatures: int


@dataclass(frozen=True)
class BandIndex:
    """The sorted hashes of the documents that a run kept, in one file."""

    path: Path
    head: _Head

    @classmethod
    def write(
        cls,
        path: Path,
        batches: Iterable[pa.RecordBatch],
        kept: Bools,
        made_by: str,
        params: DedupParams | None = None,
        spill: Path | None = None,
    ) -> Self:
        """Write the index of a run's kept documents, atomically; the same input gives the same bytes.

        batches: as in `dedup.find_clusters`, in corpus order, of all documents. kept: [n].
        made_by: names the stages that measured the hashes; other names are never compared.
        Memory: 31 bytes a document. Raises as `find_clusters`.
        """
        params = params or DedupParams()
        with Spill(spill) as file:
            corpus = read_hashes(file, batches, len(kept), params.bands, params.rows)
            norms, signatures = corpus.has_norm & kept, corpus.has_signature & kept
            counts = (int(np.count_nonzero(mask)) for mask in (norms, signatures))
            head = _Head(VERSION, made_by, params.bands, params.rows, len(kept), *counts)
            with writing(path) as temporary, open(temporary, "wb") as out:
                out.write(json.dumps(head._asdict()).encode().ljust(_HEAD_BYTES))
                for part in _sections(corpus, norms, signatures, params.bands):
                    out.write(part.data)
                    out.write(bytes(-part.nbytes % 8))
        return cls(path, head)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open an index; InputError where it is not one, or not whole."""
        try:
            with open(path, "rb") as file:
                head = _Head(**json.loads(file.read(_HEAD_BYTES)))
            whole = path.stat().st_size == _size(head)
        except (OSError, ValueError, TypeError) as error:
            raise InputError(f"{path} is not an index of a run's documents: {error}; run that corpus again") from error
        if not whole or head.version != VERSION:
            raise InputError(f"{path} is incomplete or of another version; run that corpus again to write it anew")
        return cls(path, head)

    def sorted_by(self, column: int) -> _Sorted:
        """The hashes of NORM_HIGH or of a band (FIRST_BAND and on), ascending, and their rows."""
        h = self.head
        if column == NORM_HIGH:
            return _Sorted(self.path, h.norms, _HEAD_BYTES, _HEAD_BYTES + 16 * h.norms)
        begin = _HEAD_BYTES + 16 * h.norms + _padded(h.norms)
        begin += (8 * h.signatures + _padded(h.signatures)) * (column - FIRST_BAND)
        return _Sorted(self.path, h.signatures, begin, begin + 8 * h.signatures)

    def low_halves(self, places: I64) -> U64:
        """The other half of the normalised hashes at some places of NORM_HIGH."""
        begin = _HEAD_BYTES + 8 * self.head.norms
        found: U64 = np.memmap(self.path, np.uint64, "r", begin, (self.head.norms,))[places]
        return found


def _size(head: _Head) -> int:
    bands = head.bands * (8 * head.signatures + _padded(head.signatures))
    return _HEAD_BYTES + 16 * head.norms + _padded(head.norms) + bands


def _padded(rows: int) -> int:
    """Bytes of so many row numbers, up to where a hash may begin."""
    return (4 * rows + 7) // 8 * 8


def _sections(corpus: CorpusHashes, norms: Bools, signatures: Bools, bands: int) -> Iterator[npt.NDArray[Any]]:
    """High and low halves of normalised hashes and their rows, then hashes and rows of each band."""
    halves, rows = HashSort(norms)(corpus.columns, NORM_HIGH)
    low = corpus.columns.chosen(NORM_LOW, np.ones(len(norms), np.bool_), np.empty(len(norms), np.uint64))
    yield from (halves, low[rows], rows)
    del halves, low, rows
    sort = HashSort(signatures)
    for band in range(bands):
        yield from sort(corpus.columns, FIRST_BAND + band)


class _Sorted:
    """Ascending hashes in a file, and the row of each, looked at through windows."""

    def __init__(self, path: Path, count: int, begin: int, rows_begin: int) -> None:
        self._path, self._count, self._begin, self._rows_begin = path, count, begin, rows_begin

    def meet(self, hashes: U64, most: int, window: int = _WINDOW) -> tuple[I64, I64, U32, int]:
        """Find ascending hashes: each match's place among `hashes`, its place here and its row here.

        At most `most` matches (the lowest rows) a hash and window; also how many that left out.
        """
        if not len(hashes) or not self._count:
            return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.uint32), 0
        found, left_out = [], 0
        with open(self._path, "rb") as file:
            memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        here = np.frombuffer(memory, np.uint64, self._count, self._begin)
        rows = np.frombuffer(memory, np.uint32, self._count, self._rows_begin)
        for first in range(0, self._count, window):
            part = here[first : first + window]
            low, high = np.searchsorted(hashes, part[0]), np.searchsorted(hashes, part[-1], side="right")
            asked = hashes[low:high]
            begins, ends = np.searchsorted(part, asked), np.searchsorted(part, asked, side="right")
            counts = np.minimum(ends - begins, most)
            left_out += int((ends - begins - counts).sum())
            which = np.repeat(np.arange(low, high), counts)
            at = np.arange(counts.sum()) + np.repeat(first + begins - (np.cumsum(counts) - counts), counts)
            found.append((which, at, rows[at]))
            memory.madvise(mmap.MADV_DONTNEED)  # or all that was looked at would stay mapped
        which, at, row = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return which, at, row, left_out


# --- What the new corpus repeats -----------------------------------------------------------------


@dataclass(frozen=True)
class Earlier:
    """An earlier run: its index, and a function that gives the signatures of some of its rows (ascending)."""

    index: BandIndex
    signatures: Signatures


@dataclass(frozen=True)
class Repeats:
    """For each document of the new corpus the kept document of an earlier run that it repeats."""

    run: I32  # [n] position among the earlier runs; -1 for a document that is new
    row: I64  # [n] row there; -1
    similarity: F32  # [n] share of equal signature values, 1 for an exact copy; 0
    exact: Bools  # [n] the same words in the same order
    report: dict[str, int]


def find_repeats(
    batches: Iterable[pa.RecordBatch],
    count: int,
    signatures: Signatures,
    earlier: Sequence[Earlier],
    made_by: str,
    params: DedupParams | None = None,
    spill: Path | None = None,
) -> Repeats:
    """Find what earlier runs hold: exact copies first, then the document whose signature agrees most.

    batches, spill: as in `dedup.find_clusters`; `count` is how many documents they hold.
    signatures: gives the signatures of some rows of the new corpus (ascending, at most `chunk_rows`).
    made_by: as the earlier runs' indexes were told.
    params: `threshold` is the least share of equal values. Of ties the earliest run's lowest row wins.

    A document is compared with at most 8 documents of an earlier run for each band; how many that left
    out is reported. Raises InputError where an earlier run's hashes are not comparable.
    """
    params = params or DedupParams()
    for run in earlier:
        _check(run.index, made_by, params)
    with ExitStack() as stack:
        file, scratch = (stack.enter_context(Spill(spill)) for _ in range(2))
        corpus = read_hashes(file, batches, count, params.bands, params.rows)
        found = _nothing(count)
        for position, run in enumerate(earlier):
            _exact(corpus, run.index, position, found)
        pairs, left_out = _candidates(corpus, [run.index for run in earlier], found.exact, params)
        wanted = np.zeros(count, np.bool_)
        for some in pairs:
            wanted[some >> np.uint64(32)] = True
        own = _Signatures(scratch, numbers(wanted), signatures, params)
        for position, run in enumerate(earlier):
            _near(pairs[position], own, run.signatures, position, found, params)
    exact = int(np.count_nonzero(found.exact))
    found.report.update(
        documents=count,
        exact=exact,
        near=int(np.count_nonzero(found.run >= 0)) - exact,
        candidates=sum(map(len, pairs)),
        left_out=left_out,
    )
    return found


def _check(index: BandIndex, made_by: str, params: DedupParams) -> None:
    h = index.head
    if (h.bands, h.rows) != (params.bands, params.rows):
        raise InputError(
            f"{index.path} has {h.bands} bands of {h.rows} rows, this run {params.bands} of {params.rows}; "
            "set dedup.bands and dedup.rows alike, or run the earlier corpus again"
        )
    if h.made_by != made_by:
        raise InputError(
            f"{index.path} holds hashes made by {h.made_by}, this run's are made by {made_by}; "
            "use the earlier run's settings of the stages exact and minhash, or run the earlier corpus again"
        )


def _nothing(count: int) -> Repeats:
    return Repeats(
        np.full(count, -1, np.int32), np.full(count, -1, np.int64), np.zeros(count, np.float32),
        np.zeros(count, np.bool_), {},
    )  # fmt: skip


def _exact(corpus: CorpusHashes, index: BandIndex, position: int, found: Repeats) -> None:
    """Note the documents whose normalised hash an earlier run holds and no run before it."""
    halves, rows = HashSort(corpus.has_norm & ~found.exact)(corpus.columns, NORM_HIGH)
    which, places, theirs, _ = index.sorted_by(NORM_HIGH).meet(halves, np.iinfo(np.int64).max)
    mine = rows[which]
    del halves, rows
    low = corpus.columns.chosen(NORM_LOW, np.ones(len(found.run), np.bool_), np.empty(len(found.run), np.uint64))
    same = low[mine] == index.low_halves(places)
    mine, theirs = mine[same][::-1], theirs[same][::-1]  # of several the first is written last
    found.run[mine], found.row[mine], found.similarity[mine], found.exact[mine] = position, theirs, 1, True


def _candidates(
    corpus: CorpusHashes, indexes: Sequence[BandIndex], known: Bools, params: DedupParams
) -> tuple[list[U64], int]:
    """The pairs (row here above, row there) that share a band with each earlier run, and how many were left out."""
    sort = HashSort(corpus.has_signature & ~known)
    pairs, left_out = [np.empty(0, np.uint64) for _ in indexes], 0
    for band in range(params.bands if indexes else 0):
        hashes, rows = sort(corpus.columns, FIRST_BAND + band)
        for position, index in enumerate(indexes):
            which, _, theirs, more = index.sorted_by(FIRST_BAND + band).meet(hashes, _PER_BUCKET)
            new = (rows[which].astype(np.uint64) << np.uint64(32)) | theirs
            both = np.concatenate([pairs[position], new])
            both.sort()
            pairs[position] = both[starts_of_runs(both)]
            left_out += more
    return pairs, left_out


class _Signatures:
    """Signatures of some rows, fetched once each, in a temporary file."""

    def __init__(self, spill: Spill, rows: U32, fetch: Signatures, params: DedupParams) -> None:
        self._rows, self._spill, self.width = rows, spill, 0
        for first in range(0, len(rows), params.chunk_rows):
            values = _fetched(fetch, rows[first : first + params.chunk_rows])
            self.width = values.shape[1]
            spill.append(values)

    def places(self, rows: U32) -> I64:
        """Where these rows' signatures are."""
        return np.searchsorted(self._rows, rows)

    def agreement(self, places: I64, others: U32, which: I64) -> F32:
        """The share of equal values in the signatures at `places` and in others[which]."""
        memory = self._spill.map()
        out = np.empty(len(places), np.float32)
        _agree(np.frombuffer(memory, np.uint32).reshape(-1, self.width), places, others, which, out)
        memory.madvise(mmap.MADV_DONTNEED)
        return out


def _fetched(fetch: Signatures, rows: U32) -> U32:
    found = fetch(rows.astype(np.int64))
    if len(found) != len(rows) or found.null_count:
        raise AccountError(f"dedup: asked for {len(rows)} signatures and got {len(found) - found.null_count}")
    return signature_values(found)


@kernel
def _agree(own: U32, places: I64, others: U32, which: I64, out: F32) -> None:
    width = own.shape[1]
    for pair in range(len(places)):
        a, b = own[places[pair]], others[which[pair]]
        equal = 0
        for j in range(width):
            equal += a[j] == b[j]
        out[pair] = equal / width


def _near(pairs: U64, own: _Signatures, fetch: Signatures, position: int, found: Repeats, params: DedupParams) -> None:
    """Note for each document the best agreement at or above the threshold, if it is better than any run's before."""
    mine, theirs = (pairs >> np.uint64(32)).astype(np.uint32), pairs.astype(np.uint32)
    by_row = np.argsort(theirs, kind="stable")  # their signatures are asked for as they lie in that run
    mine, theirs = mine[by_row], theirs[by_row]
    wanted = theirs[starts_of_runs(theirs)]
    for first in range(0, len(wanted), params.chunk_rows):
        rows = wanted[first : first + params.chunk_rows]
        some = slice(np.searchsorted(theirs, rows[0]), np.searchsorted(theirs, rows[-1], side="right"))
        values = _fetched(fetch, rows)
        if values.shape[1] != own.width:
            raise InputError(
                f"dedup: an earlier run's signatures have {values.shape[1]} values, this run's {own.width}; "
                "set minhash num_perm alike"
            )
        alike = own.agreement(own.places(mine[some]), values, np.searchsorted(rows, theirs[some]))
        _keep_best(mine[some], theirs[some], alike, np.float32(params.threshold), position, found)


def _keep_best(mine: U32, theirs: U32, alike: F32, threshold: np.float32, position: int, found: Repeats) -> None:
    good = np.flatnonzero((alike >= threshold) & (alike > found.similarity[mine]))
    best = good[np.lexsort((theirs[good], -alike[good], mine[good]))]
    best = best[starts_of_runs(mine[best])]
    rows = mine[best]
    found.run[rows], found.row[rows], found.similarity[rows] = position, theirs[best], alike[best]
