"""Clustering from 10^5 to 10^7 documents: time beside n·log n, memory and disk a document.

python benchmarks/dedup_scale.py 100000 1000000 10000000

Every size runs in a process of its own. The documents are windows of 55 words of the sample corpus in which three
words of ten are replaced at random, so that no two of them are near by accident, and are made again from their row
whenever someone asks for them. A fifth are planted duplicates, half of a tenth of those in chains; one document in
fifty shares a template with others that is not enough for a duplicate. Signatures come from the real stages; the
time spent on making texts and signatures is shown apart and is no part of the clustering's.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curator.dedup import Clusters, find_clusters
from curator.stages.exact import ExactHash
from curator.stages.minhash import MinHash
from curator.text import I64, U8, U32, U64, kernel

SAMPLE = Path(__file__).parent.parent / "data" / "sample" / "corpus.parquet"
WORDS = 55  # in a document
ROOM = 64  # words, with those that a change adds
BATCH = 2048
STRIDE = 0x9E3779B1  # a prime: steps through the rows so that related documents lie far apart
CHAIN = 100  # documents, each four words further than the one before
CROWD = 1000  # documents in a large cluster
TEMPLATE = 10_000  # one template for so many documents; a fiftieth of them follow one
MIB = 1 << 20


class Pool(NamedTuple):
    """Real words, and the vocabulary that replaces some."""

    stream: U32  # word after word of the sample
    offsets: I64
    data: U8


class Plan(NamedTuple):
    """Which logical documents are what: originals, then each kind of duplicate up to the number given."""

    count: int
    originals: int
    exact: int
    edited: int
    crowds: int
    seed: int


def pool() -> Pool:
    texts = pq.read_table(SAMPLE, columns=["text"])["text"].to_pylist()
    words = [word for text in texts for word in text.split() if len(word) <= 16 and word.isalnum()]
    vocabulary = sorted(set(words))
    number = {word: i for i, word in enumerate(vocabulary)}
    encoded = [word.encode() for word in vocabulary]
    offsets = np.cumsum([0, *map(len, encoded)])
    return Pool(np.array([number[w] for w in words], np.uint32), offsets, np.frombuffer(b"".join(encoded), np.uint8))


def plan(count: int, seed: int) -> Plan:
    """80 % originals, 4 % exact copies, 10 % edited copies, 5 % in large clusters, 1 % in chains."""
    return Plan(count, *(count * share // 100 for share in (80, 84, 94, 99)), seed)


def logical(rows: I64, plan: Plan) -> I64:
    """The document that lies in each row."""
    return (rows * STRIDE + 7) % plan.count


def rows_of(documents: I64, plan: Plan) -> I64:
    """The row in which each document lies."""
    return (documents - 7) * pow(STRIDE, -1, plan.count) % plan.count


def originals_of(documents: I64, plan: Plan) -> I64:
    """The original that each planted duplicate repeats."""
    own = documents - plan.originals
    crowd = plan.exact // CROWD + (documents - plan.edited) // CROWD  # an original that has no other copies
    return np.where(documents < plan.edited, own, crowd)


@kernel
def _mix(value: np.uint64) -> np.uint64:
    """The finaliser of splitmix64 (Steele, Lea and Flood 2014)."""
    value = np.uint64(value) + np.uint64(0x9E3779B97F4A7C15)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


@kernel
def _window(stream: U32, vocabulary: int, of: int, first: int, count: int, seed: int, out: U32) -> None:
    """Words `first` … of the endless text number `of`: real ones, three in ten replaced."""
    base = _mix(np.uint64(of) ^ _mix(np.uint64(seed)))
    start = base % np.uint64(len(stream) - 8 * CHAIN)
    for j in range(count):
        h = _mix(base + np.uint64(first + j))
        replaced = h % np.uint64(10) < np.uint64(3)
        word = stream[start + np.uint64(first + j)]
        out[j] = np.uint32((h >> np.uint64(20)) % np.uint64(vocabulary)) if replaced else word


@kernel
def _document(
    stream: U32, vocabulary: int, number: int, of: int, kind: int, templates: int, seed: int, out: U32
) -> int:  # fmt: skip
    """Write a document's words; returns how many. kind: 0 original, 1 exact copy, 2 edited copy, 3 link of a chain."""
    if kind == 3:
        _window(stream, vocabulary, of, 4 * (number % CHAIN), WORDS, seed, out)
        return WORDS
    _window(stream, vocabulary, of, 0, WORDS, seed, out)
    if of % 50 == 49 and kind == 0:  # a quarter of its words are its own
        template = np.int64(of) // 50 % templates
        _window(stream, vocabulary, -1 - template, 0, 42, seed, out)
    if kind == 2:
        h = _mix(np.uint64(number) + np.uint64(seed))
        way, word = h % np.uint64(3), np.uint32((h >> np.uint64(20)) % np.uint64(vocabulary))
        if way == 0:
            return WORDS - 3
        if way == 1:
            out[1 : WORDS + 1] = out[:WORDS].copy()
            out[0] = word
            return WORDS + 1
        out[(h >> np.uint64(40)) % np.uint64(WORDS)] = word
    return WORDS


@kernel
def _write(
    stream: U32, word_offsets: I64, word_data: U8, numbers: I64, of: I64, kinds: U8, templates: int, seed: int,
    ends: I64, out: U8,
) -> None:  # fmt: skip
    words = np.empty(ROOM, np.uint32)
    to = 0
    for i in range(len(numbers)):
        count = _document(stream, len(word_offsets) - 1, numbers[i], of[i], kinds[i], templates, seed, words)
        for word in words[:count]:
            for byte in word_data[word_offsets[word] : word_offsets[word + 1]]:
                out[to] = byte
                to += 1
            out[to] = 32
            to += 1
        ends[i + 1] = to


class Corpus:
    """Texts, ids and signatures of any row, made on demand; counts the seconds that takes."""

    def __init__(self, pool: Pool, count: int, seed: int) -> None:
        self.pool, self.plan = pool, plan(count, seed)
        self.exact, self.minhash = ExactHash().open(), MinHash().open()
        self.seconds = 0.0

    def texts(self, rows: I64) -> pa.LargeStringArray:
        began = time.process_time()
        numbers = logical(rows, self.plan)
        p = self.plan
        kinds = np.searchsorted([p.originals, p.exact, p.crowds], numbers, side="right").astype(np.uint8)
        of = np.where(kinds == 0, numbers, originals_of(numbers, p))
        of[kinds == 3] = p.count + numbers[kinds == 3] // CHAIN
        ends, out = np.zeros(len(rows) + 1, np.int64), np.empty(len(rows) * ROOM * 17, np.uint8)
        _write(*self.pool, numbers, of, kinds, max(1, p.count // TEMPLATE), p.seed, ends, out)
        data = out[: ends[-1]].copy()
        found = pa.LargeStringArray.from_buffers(len(rows), pa.py_buffer(ends), pa.py_buffer(data))
        self.seconds += time.process_time() - began
        return found

    def ids(self) -> U64:
        ids = np.empty((self.plan.count, 2), np.uint64)
        _ids(self.plan.seed, ids)
        return ids

    def batches(self) -> Iterator[pa.RecordBatch]:
        for first in range(0, self.plan.count, BATCH):
            texts = self.texts(np.arange(first, min(first + BATCH, self.plan.count)))
            began = time.process_time()
            batch = pa.record_batch([texts], ["text"])
            a, b = self.exact(batch), self.minhash(batch)
            columns = [a["norm_hash"], b["signature"], b["n_shingles"]]
            self.seconds += time.process_time() - began
            yield pa.RecordBatch.from_arrays(columns, ["norm_hash", "signature", "n_shingles"])

    def recall(self, found: Clusters) -> tuple[int, int]:
        """Planted pairs (copy and original), and how many are in one cluster."""
        copies = np.arange(self.plan.originals, self.plan.crowds)
        originals = originals_of(copies, self.plan)
        free = originals % 50 != 49  # in those a template took the place of what the copy repeats
        a, b = rows_of(copies[free], self.plan), rows_of(originals[free], self.plan)
        return len(a), int((found.cluster[a] == found.cluster[b]).sum())


@kernel
def _ids(seed: int, out: U64) -> None:
    for row in range(len(out)):
        out[row, 0] = _mix(np.uint64(2 * row) ^ _mix(np.uint64(seed)))
        out[row, 1] = _mix(out[row, 0])


def memory(field: str) -> int:
    """A figure of this process in bytes: VmRSS now, VmHWM at the peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def one(words: Path, count: int, seed: int, spill: Path) -> dict[str, float]:
    """Cluster one corpus; the peak is above what the process held before the ids were made."""
    with np.load(words) as arrays:
        pool = Pool(*(arrays[name] for name in Pool._fields))
    warm = Corpus(pool, 5000, seed)
    find_clusters(warm.batches(), warm.ids(), warm.texts, spill=spill)
    corpus = Corpus(pool, count, seed)
    gc.collect()
    pa.default_memory_pool().release_unused()
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    baseline = memory("VmRSS")
    began, wall = time.process_time(), time.perf_counter()
    found = find_clusters(corpus.batches(), corpus.ids(), corpus.texts, spill=spill)
    seconds = time.process_time() - began - corpus.seconds
    wall = time.perf_counter() - wall
    peak = memory("VmHWM")
    planted, met = corpus.recall(found)
    return found.report | {
        "n": count, "seconds": seconds, "making": corpus.seconds, "wall": wall, "peak": peak, "above": peak - baseline,
        "planted": planted, "met": met,
    }  # fmt: skip


def table(results: list[dict[str, float]]) -> str:
    head = (
        "documents", "clustering, CPU-s", "per n·log2 n, first = 1", "texts and signatures, CPU-s", "wall, s",
        "peak RSS, MiB", "above start, MiB", "memory, bytes a document", "spilled, bytes a document", "candidates",
        "verified", "failed", "hot buckets", "places capped", "clusters", "chains split", "largest", "planted pairs in one cluster",
    )  # fmt: skip
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    first = results[0]["seconds"] / (results[0]["n"] * math.log2(results[0]["n"]))
    for r in results:
        n = r["n"]
        cells = (
            f"{n:,}", f"{r['seconds']:.1f}", f"{r['seconds'] / (n * math.log2(n)) / first:.2f}", f"{r['making']:.1f}",
            f"{r['wall']:.0f}", f"{r['peak'] / MIB:.0f}", f"{r['above'] / MIB:.0f}", f"{r['above'] / n:.0f}",
            f"{r['spilled_bytes'] / n:.0f}", f"{r['candidates']:,}", f"{r['verified']:,}",
            f"{r['failed']:,}", f"{r['hot_buckets']:,}", f"{r['capped']:,}", f"{r['clusters']:,}", f"{r['chains']:,}", f"{r['largest']:,}",
            f"{r['met'] / r['planted']:.4f} of {r['planted']:,}",
        )  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sizes", nargs="*", type=int, default=[100_000, 1_000_000])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--spill", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--words", type=Path, help="run the only size in this process, with these words; prints JSON")
    given = parser.parse_args()
    if given.words:
        print(json.dumps(one(given.words, given.sizes[0], given.seed, given.spill)))
        return
    results = []
    with tempfile.TemporaryDirectory(dir=given.spill) as folder:
        words = Path(folder) / "words.npz"
        np.savez(words, **pool()._asdict())
        for size in given.sizes:
            options = ["--words", str(words), "--seed", str(given.seed), "--spill", str(given.spill)]
            command = [sys.executable, __file__, str(size), *options]
            results.append(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout))
            print(table(results).splitlines()[-1] if len(results) > 1 else table(results), flush=True)


if __name__ == "__main__":
    main()
