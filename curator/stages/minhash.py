"""MinHash signatures that load into datasketch, made by a compiled kernel.

A shingle is `ngram` consecutive words (`curator.text`) joined by one space, in UTF-8. The signature
of a document is, bit for bit, `datasketch.MinHash(num_perm, seed, scheme="affine32",
hashfunc=shingle_hash)` updated with each of its shingles.

Broder 1997 for the method; datasketch 2.0 (`minhash.py`) for the permutations.
"""

from __future__ import annotations

import functools
import unicodedata
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np
import pyarrow as pa

from curator import schema
from curator.errors import RecipeError
from curator.kernels import kernel, lean, lower_4, turn_8
from curator.stages import Measure, Stage
from curator.text import I64, U32, U64, Utf8, token_groups, token_hash, utf8_view

_TURN: Final = np.uint64(13)  # bits a word's hash turns for each word behind it; odd: 64 places, 64 positions
_BACK: Final = np.uint64(64 - 13)
_HALF: Final = np.uint64(32)
_BLOCK: Final = 1024  # shingles a permutation sees at once: 4 KiB, well within the first cache
_LANES: Final = 16  # a block is padded to whole vectors, as `lower_4` wants them
_MAX32: Final = 0xFFFF_FFFF
_MAX64: Final = 0xFFFF_FFFF_FFFF_FFFF


def shingle_hash64(shingle: bytes) -> int:
    """Hash a shingle's bytes (words joined by one space) to 64 bits, as the kernels do.

    The exclusive or of the words' hashes, each turned left by 13 bits for every word behind it (Cohen 1997,
    Recursive hashing functions for n-grams: hashing by cyclic polynomials).
    """
    value = 0
    for word in shingle.split(b" "):
        value = (value << 13 & _MAX64 | value >> 51) ^ token_hash(word)
    return value


def shingle_hash(shingle: bytes) -> int:
    """Hash a shingle's bytes to 32 bits: give this to `datasketch.MinHash(hashfunc=…)`."""
    return shingle_hash64(shingle) >> 32


@lean
def _shingles(hashes: U64, at: int, count: int, ngram: int, out: U64) -> None:
    """64-bit hashes of the `count` shingles that begin with word `at`, to `out`.

    Eight at a time, the last eight of a text where they are; rolling the value from one shingle to the next
    takes fewer operations, but each waits for the last and it was slower.
    """
    if count < 8:
        for j in range(count):
            h = np.uint64(0)
            for word in range(ngram):
                h = ((h << _TURN) | (h >> _BACK)) ^ hashes[at + j + word]
            out[j] = h
        return
    for j in range(0, count, 8):
        first = min(j, count - 8)
        turn_8(hashes, at + first, ngram, _TURN, out, first)


@kernel
def _sketch(hashes: U64, ends: I64, ngram: int, a: U32, b: U32, signatures: U32, counts: I64) -> None:
    """Write each row's signature and its number of shingles; a row without any keeps the signature it has."""
    wide = np.empty(_BLOCK, np.uint64)
    block = np.empty(_BLOCK, np.uint32)
    least = np.empty(len(a), np.uint32)
    for row in range(len(ends) - 1):
        at = ends[row]
        left = ends[row + 1] - at - ngram + 1
        counts[row] = max(left, 0)
        if left <= 0:
            continue
        least[:] = np.uint32(_MAX32)
        while left > 0:
            size = min(left, _BLOCK)
            _shingles(hashes, at, size, ngram, wide)
            for j in range(size):
                h = np.uint32(wide[j] >> _HALF)
                # datasketch's pre-mix: the finaliser of MurmurHash3 (Appleby), 32 bits
                h = np.uint32(np.uint32(h ^ (h >> np.uint32(16))) * np.uint32(0x85EBCA6B))
                h = np.uint32(np.uint32(h ^ (h >> np.uint32(13))) * np.uint32(0xC2B2AE35))
                block[j] = np.uint32(h ^ (h >> np.uint32(16)))
            padded = (size + _LANES - 1) // _LANES * _LANES
            for j in range(size, padded):
                block[j] = block[0]  # a repeated shingle changes no minimum
            for p in range(0, len(a), 4):
                lower_4(block, padded, a, b, least, p)
            at += size
            left -= size
        signatures[row] = least[: signatures.shape[1]]


@kernel
def _sets(hashes: U64, ends: I64, ngram: int, out: U64, lengths: I64) -> int:
    """Write each row's distinct shingles, ascending, one row after another; returns how many in all."""
    to = 0
    for row in range(len(ends) - 1):
        at = ends[row]
        count = max(ends[row + 1] - at - ngram + 1, 0)
        begin = to
        if count:
            _shingles(hashes, at, count, ngram, out[to:])
            found = out[to : to + count]
            found.sort()
            to += 1
            for j in range(1, count):
                if found[j] != found[j - 1]:
                    out[to] = found[j]
                    to += 1
        lengths[row] = to - begin
    return to


@functools.cache
def permutations(num_perm: int, seed: int) -> tuple[U32, U32]:
    """Multipliers and increments of datasketch's affine32 permutations, zeros up to a multiple of 4.  # two uint32

    Drawn as datasketch draws them, odd multipliers first, from numpy's frozen generator: importing it takes a second.
    """
    draws = np.random.RandomState(seed)
    a = draws.randint(0, 1 << 31, num_perm, np.uint32) * np.uint32(2) + np.uint32(1)
    b = draws.randint(0, 1 << 32, num_perm, np.uint32)
    padding = -num_perm % 4
    return np.pad(a, (0, padding)), np.pad(b, (0, padding))


def sketch(view: Utf8, num_perm: int, ngram: int, seed: int) -> tuple[U32, I64]:
    """Signatures and shingle counts of a text column; rows with count 0 have no signature (zeros).

    Returns [n, num_perm] uint32 and [n] int64.
    """
    count = len(view.valid)
    signatures = np.zeros((count, num_perm), np.uint32)
    counts = np.zeros(count, np.int64)
    a, b = permutations(num_perm, seed)
    for tokens in token_groups(view):
        rows = slice(tokens.first, tokens.first + len(tokens))
        _sketch(tokens.hashes, tokens.ends, ngram, a, b, signatures[rows], counts[rows])
    return signatures, counts


def shingle_sets(view: Utf8, ngram: int) -> tuple[I64, U64]:
    """The distinct 64-bit shingle hashes of each text, ascending: row i has `sets[ends[i]:ends[i + 1]]`.

    Returns [n + 1] int64 and [total] uint64. 64 bits, so that two sets of millions share no shingle by accident.
    """
    lengths = np.zeros(len(view.valid) + 1, np.int64)
    parts = []
    for tokens in token_groups(view):
        out = np.empty(int(tokens.ends[-1]), np.uint64)
        rows = slice(tokens.first + 1, tokens.first + 1 + len(tokens))
        parts.append(out[: _sets(tokens.hashes, tokens.ends, ngram, out, lengths[rows])])
    return np.cumsum(lengths), np.concatenate([np.empty(0, np.uint64), *parts])


@dataclass(frozen=True)
class MinHash(Stage):
    """Sketch each text so that near-duplicates can be found without comparing texts.

    A document with fewer than `ngram` words has no shingle and so no signature: such documents are
    compared by `norm_hash` alone (`curator.stages.exact`).
    """

    num_perm: int = 128
    ngram: int = 5
    seed: int = 1

    name: ClassVar[str] = "minhash"
    version: ClassVar[str] = "2"
    needs: ClassVar[pa.Schema] = pa.schema([schema.DOCUMENTS.field("text")])

    def __post_init__(self) -> None:
        """Refuse settings that no signature can be made with."""
        for name, low, high in (("num_perm", 1, 65536), ("ngram", 1, 64), ("seed", 0, _MAX32)):
            value = getattr(self, name)
            if not low <= value <= high:
                raise RecipeError(
                    f"stage minhash: {name} = {value} is not between {low} and {high}; set it in the recipe"
                )

    @property
    def adds(self) -> pa.Schema:
        """`signature` and `n_shingles`."""
        return pa.schema(
            [
                schema.field(
                    "signature",
                    pa.list_(pa.uint32(), self.num_perm),
                    "MinHash (datasketch affine32) of the word shingles; null for a text shorter than one shingle",
                ),
                schema.field("n_shingles", pa.int32(), "word shingles in the text, repeated ones counted each time"),
            ]
        )

    def weights(self) -> dict[str, str]:
        """The Unicode tables: another Unicode version may split other words."""
        return {"unicode": unicodedata.unidata_version}

    def open(self) -> Measure:
        """Return the measure; the kernels compile on its first batch, or come from numba's cache."""
        return self._measure

    def _measure(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        view = utf8_view(batch.column("text"))
        signatures, counts = sketch(view, self.num_perm, self.ngram, self.seed)
        column = pa.FixedSizeListArray.from_arrays(
            pa.array(signatures.reshape(-1)), self.num_perm, mask=pa.array(counts == 0)
        )
        shingles = pa.array(counts.astype(np.int32), mask=~view.valid)
        return pa.RecordBatch.from_arrays([column, shingles], schema=self.adds)
