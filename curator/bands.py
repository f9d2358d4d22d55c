"""Hashes of every document, spilled to disk and sorted column by column, so that memory does not grow with the bands.

What deduplication needs of a document is two halves of its normalised hash and one hash for each
band of its signature. They arrive row by row and are wanted column by column: `HashColumns` keeps
them in a temporary file, `HashSort` brings one column at a time into memory and sorts it.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curator.errors import AccountError, InputError, OutputError
from curator.text import I64, U32, U64, Array, Bools, kernel

NORM_HIGH, NORM_LOW, FIRST_BAND = 0, 1, 2  # columns of a corpus's hashes

_MAX_DOCUMENTS: Final = 1 << 32  # rows are 32-bit numbers, and pairs of rows one 64-bit number
_BLOCK_ROWS: Final = 1 << 14  # of a block of columns: 128 KiB in a column are read at once
_FEW: Final = 48  # rows are sorted by insertion


# --- Band hashes ---------------------------------------------------------------------------------


def band_hashes(signatures: pa.FixedSizeListArray, bands: int, rows: int) -> U64:
    """Hash each band of each signature to 64 bits.  # [bands, n]

    The rows of band b are the signature's values b * rows … b * rows + rows - 1. A null signature's
    hashes mean nothing.
    """
    values = signature_values(signatures)
    if bands * rows > values.shape[1]:
        raise InputError(
            f"dedup: {bands} bands of {rows} rows need {bands * rows} hashes, the signatures have {values.shape[1]}; "
            f"lower bands or rows, or measure with minhash num_perm = {bands * rows}"
        )
    out = np.empty((bands, len(signatures)), np.uint64)
    _hash_bands(values, rows, out)
    return out


def signature_values(signatures: pa.FixedSizeListArray) -> U32:
    """See a signature column as numbers; those of a null mean nothing.  # [n, num_perm]"""
    width = signatures.type.list_size
    values = signatures.values.to_numpy(zero_copy_only=False)
    values = values[signatures.offset * width : (signatures.offset + len(signatures)) * width]
    found: U32 = values.reshape(-1, width)
    return found


@kernel
def _hash_bands(values: U32, rows: int, out: U64) -> None:
    for document in range(values.shape[0]):
        for band in range(out.shape[0]):
            h = np.uint64(band)
            for row in range(band * rows, band * rows + rows):
                h = (h ^ np.uint64(values[document, row])) * np.uint64(0x9E3779B97F4A7C15)
                h ^= h >> np.uint64(29)
            out[band, document] = h


# --- A temporary file ----------------------------------------------------------------------------


class Spill:
    """A temporary file of numbers that is gone when it is closed; no room on the disk is an `OutputError`."""

    def __init__(self, folder: Path | None = None) -> None:
        """Open it in `folder`, by default the system's folder for such files."""
        self._folder = folder or Path(tempfile.gettempdir())
        self.size = 0
        try:  # unbuffered, so that closing has nothing left to write
            self._file = tempfile.TemporaryFile(dir=self._folder, buffering=0)  # noqa: SIM115 closed by __exit__
        except OSError as error:
            raise self._no_room(error) from error

    def __enter__(self) -> Self:
        """Open until the block ends."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Remove the file."""
        self._file.close()

    def append(self, values: npt.NDArray[Any]) -> int:
        """Write at the end; returns the place in bytes where the values begin."""
        begin = self.size
        rest = memoryview(np.ascontiguousarray(values).data).cast("B") if values.size else memoryview(b"")
        try:
            while len(rest):
                written = os.pwrite(self._file.fileno(), rest, self.size)  # 2 GiB at most
                self.size += written
                rest = rest[written:]
        except OSError as error:
            raise self._no_room(error) from error
        return begin

    def read(self, begin: int, out: Array) -> Array:
        """Fill a contiguous array with what was written at `begin`."""
        rest = memoryview(out.data).cast("B") if out.size else memoryview(b"")
        while len(rest):
            got = os.preadv(self._file.fileno(), [rest], begin)
            begin += got
            rest = rest[got:]
        return out

    def map(self) -> mmap.mmap:
        """See the whole file, which must not be empty, as memory."""
        return mmap.mmap(self._file.fileno(), self.size, access=mmap.ACCESS_READ)

    def _no_room(self, error: OSError) -> OutputError:
        return OutputError(
            f"dedup: cannot write hashes and shingle sets to {self._folder}: {error.strerror}; "
            "free some space there or name another folder (TMPDIR)"
        )


# --- Columns of hashes ---------------------------------------------------------------------------


class HashColumns:
    """Columns of uint64 on disk: appended some rows at a time, read one column at a time."""

    def __init__(self, spill: Spill, columns: int, rows: int) -> None:
        """`rows` is how many will come; a block of all columns waits in memory until it is full."""
        self._spill = spill
        self._block = np.empty((columns, max(1, min(rows, _BLOCK_ROWS))), np.uint64)
        self._filled = 0
        self._begins: list[int] = []

    def append(self, *parts: U64) -> None:
        """Take over some rows: [columns, n], in parts one above the other."""
        at, count = 0, parts[0].shape[1]
        while at < count:
            end = min(count, at + self._block.shape[1] - self._filled)
            column = 0
            for part in parts:
                self._block[column : column + len(part), self._filled : self._filled + end - at] = part[:, at:end]
                column += len(part)
            self._filled += end - at
            at = end
            if self._filled == self._block.shape[1]:
                self._begins.append(self._spill.append(self._block))
                self._filled = 0

    def blocks(self, column: int) -> Iterator[U64]:
        """A column, block after block; the arrays are lent, the next block overwrites them."""
        room = np.empty(self._block.shape[1], np.uint64)
        for begin in self._begins:
            yield self._spill.read(begin + column * room.nbytes, room)
        yield self._block[column, : self._filled]

    def chosen(self, column: int, rows: Bools, out: U64) -> U64:
        """The column's values in the rows that are true, to the start of `out`."""
        at, first = 0, 0
        for block in self.blocks(column):
            found = block[rows[first : first + len(block)]]
            out[at : at + len(found)] = found
            at, first = at + len(found), first + len(block)
        return out[:at]


# --- Of a corpus ---------------------------------------------------------------------------------


class CorpusHashes:
    """What deduplication keeps of every document, in corpus order: hashes on disk, 6 bytes in memory."""

    def __init__(self, spill: Spill, count: int, bands: int, rows: int) -> None:
        """`columns` holds NORM_HIGH and NORM_LOW, then the bands from FIRST_BAND on."""
        self._bands, self._rows = bands, rows
        self.columns = HashColumns(spill, FIRST_BAND + bands, count)
        self.has_norm = np.zeros(count, np.bool_)
        self.has_signature = np.zeros(count, np.bool_)
        self.shingles = np.zeros(count, np.int32)

    def put(self, rows: slice, batch: pa.RecordBatch) -> None:
        """Take over a batch."""
        norm, signature = batch.column("norm_hash"), batch.column("signature")
        self.has_norm[rows] = _valid(norm)
        self.has_signature[rows] = _valid(signature)
        self.shingles[rows] = batch.column("n_shingles").fill_null(0).to_numpy(zero_copy_only=False)
        self.columns.append(_halves(norm), band_hashes(signature, self._bands, self._rows))


def read_hashes(
    spill: Spill, batches: Iterable[pa.RecordBatch], count: int, bands: int, rows: int
) -> CorpusHashes:  # fmt: skip
    """Read `norm_hash`, `signature` and `n_shingles` of every document, in corpus order.

    Raises AccountError where the batches do not hold `count` documents, InputError where there are
    too many of them or a signature is too short.
    """
    if count >= _MAX_DOCUMENTS:
        raise InputError(f"dedup: {count} documents are more than {_MAX_DOCUMENTS - 1}; run the corpus in parts")
    corpus = CorpusHashes(spill, count, bands, rows)
    at = 0
    for batch in batches:
        if at + len(batch) <= count:
            corpus.put(slice(at, at + len(batch)), batch)
        at += len(batch)
    if at != count:
        raise AccountError(f"dedup: {count} ids for {at} documents; pass one id for every row, in order")
    return corpus


def _halves(uuids: pa.Array) -> U64:
    """See a column of 16 bytes as two rows of numbers; those of a null mean nothing.  # [2, n]"""
    raw = np.frombuffer(uuids.buffers()[1] or b"", "<u8")
    return raw[uuids.offset * 2 : (uuids.offset + len(uuids)) * 2].reshape(-1, 2).T


def _valid(column: pa.Array) -> Bools:
    return np.asarray(column.is_valid().to_numpy(zero_copy_only=False), np.bool_)


# --- Sorting -------------------------------------------------------------------------------------


class HashSort:
    """Sorts the rows of one column after another by hash, in the same 24 bytes a row."""

    def __init__(self, rows: Bools) -> None:
        """`rows` says which take part."""
        self._chosen = rows
        count = int(np.count_nonzero(rows))
        self._keys, self._spare_keys = np.empty(count, np.uint64), np.empty(count, np.uint64)
        self._rows, self._spare_rows = np.empty(count, np.uint32), np.empty(count, np.uint32)

    def __call__(self, columns: HashColumns, column: int) -> tuple[U64, U32]:
        """The column's hashes, ascending, and their rows; lent until the next call."""
        columns.chosen(column, self._chosen, self._keys)
        _numbers(self._chosen, self._rows)
        _radix_sort(self._keys, self._rows, self._spare_keys, self._spare_rows)
        return self._keys, self._rows


def sort_rows(keys: U64, rows: U32) -> None:
    """Sort both by key, in place; rows with one key stay in the order they have. 12 bytes a row meanwhile."""
    _radix_sort(keys, rows, np.empty_like(keys), np.empty_like(rows))


@kernel
def _radix_sort(keys: U64, rows: U32, spare_keys: U64, spare_rows: U32) -> None:
    """Eight stable passes of eight bits: the highest first, then each part, which fits a cache, from the lowest."""
    ends = np.zeros(257, np.int64)
    for key in keys:
        ends[(key >> np.uint64(56)) + np.uint64(1)] += 1
    ends = np.cumsum(ends)
    _pass(keys, rows, spare_keys, spare_rows, ends[:256].copy(), np.uint64(56))
    counts = np.empty((7, 256), np.int64)
    for part in range(256):
        first, last = ends[part], ends[part + 1]
        if last - first <= _FEW:
            _insert(spare_keys[first:last], spare_rows[first:last], keys[first:last], rows[first:last])
        else:
            _sort_part(spare_keys[first:last], spare_rows[first:last], keys[first:last], rows[first:last], counts)


@kernel
def _pass(keys: U64, rows: U32, to_keys: U64, to_rows: U32, places: I64, shift: np.uint64) -> None:
    """Move all to where their eight bits belong; `places` is where each value's run begins."""
    for i in range(len(keys)):
        value = (keys[i] >> shift) & np.uint64(255)
        to = places[value]
        places[value] = to + 1
        to_keys[to] = keys[i]
        to_rows[to] = rows[i]


@kernel
def _sort_part(keys: U64, rows: U32, to_keys: U64, to_rows: U32, counts: I64) -> None:
    """Sort by the lower 56 bits, to the other arrays: seven passes end there."""
    counts[:] = 0
    for key in keys:
        for digit in range(7):
            counts[digit, (key >> np.uint64(8 * digit)) & np.uint64(255)] += 1
    for digit in range(7):
        total = 0
        for value in range(256):
            counts[digit, value], total = total, total + counts[digit, value]
        _pass(keys, rows, to_keys, to_rows, counts[digit], np.uint64(8 * digit))
        keys, to_keys = to_keys, keys
        rows, to_rows = to_rows, rows


@kernel
def _insert(keys: U64, rows: U32, to_keys: U64, to_rows: U32) -> None:
    for i in range(len(keys)):
        at = i
        while at > 0 and to_keys[at - 1] > keys[i]:
            to_keys[at], to_rows[at] = to_keys[at - 1], to_rows[at - 1]
            at -= 1
        to_keys[at], to_rows[at] = keys[i], rows[i]


def numbers(mask: Bools) -> U32:
    """The places where a mask is true, ascending; `np.flatnonzero` would take twice the memory."""
    out = np.empty(int(np.count_nonzero(mask)), np.uint32)
    _numbers(mask, out)
    return out


@kernel
def _numbers(mask: Bools, out: U32) -> None:
    to = 0
    for place in range(len(mask)):
        if mask[place]:
            out[to] = place
            to += 1


def starts_of_runs(sorted_values: npt.NDArray[np.generic]) -> npt.NDArray[np.int64]:
    """Where each run of equal values begins."""
    new = np.ones(len(sorted_values), np.bool_)
    np.not_equal(sorted_values[1:], sorted_values[:-1], out=new[1:])
    return np.flatnonzero(new)


def has_equal_neighbour(sorted_values: npt.NDArray[np.unsignedinteger[Any]]) -> Bools:
    """Whether each value occurs more than once."""
    same = sorted_values[1:] == sorted_values[:-1]
    shared = np.zeros(len(sorted_values), np.bool_)
    shared[1:] |= same
    shared[:-1] |= same
    return shared
