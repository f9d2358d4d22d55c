"""Deduplication beside its peers: signatures from raw text on one core, and whole runs on the same documents.

python benchmarks/dedup_peers.py [--documents 10000] [--peers FOLDER]

The peers (datasketch, rensa, text-dedup, datatrove) live in environments of their own under FOLDER, made on the first
run; one that cannot be installed is left out with a message. Everything is measured as CPU-seconds of a process bound
to one core, and as its peak memory. The documents are those of the sample corpus with three words of ten replaced, so
that no two are near by accident; a fifth are planted copies: exact, or changed in one of five ways. Every tool says
which documents it drops: a planted pair is found if one of the two is dropped, and anything else dropped is an error.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
SAMPLE = ROOT / "data" / "sample" / "corpus.parquet"
PEERS = {
    "sketches": ["datasketch==2.0.0", "rensa==0.5.0", "xxhash==4.1.0"],
    "text-dedup": ["text-dedup==0.4.0 --no-deps", "datasets==5.2.0", "scipy", "click", "click-option-group",
                   "regex", "rich==13.9.4", "ftfy==6.3.1", "tqdm", "xxhash==4.1.0"],
    "datatrove": ["datatrove==0.10.1", "spacy==3.8.*", "xxhash==3.*", "orjson", "pyarrow", "regex", "tokenizers"],
}  # fmt: skip
ROW_GROUP = 1024
BANDS, ROWS = 18, 7  # for every tool, of 128 permutations (datatrove: 126)
KINDS = ("exact", "word in front", "1 % of words", "last 5 % cut", "halves swapped", "boilerplate around")
BOILERPLATE = "Skip to content Home News About us Contact Sign up for our newsletter and never miss a story again"


# --- Documents -----------------------------------------------------------------------------------


class Plan(NamedTuple):
    """The planted copies: row of the original, row of the copy, kind."""

    pairs: list[tuple[int, int, str]]


def changed(words: list[str], kind: str, vocabulary: list[str], rng: random.Random) -> list[str]:
    if kind == "word in front":
        return [rng.choice(vocabulary), *words]
    if kind == "1 % of words":
        return [rng.choice(vocabulary) if rng.random() < 0.01 else word for word in words]
    if kind == "last 5 % cut":
        return words[: -max(1, len(words) // 20)]
    if kind == "halves swapped":
        return words[len(words) // 2 :] + words[: len(words) // 2]
    if kind == "boilerplate around":
        return [*BOILERPLATE.split(), *words, *BOILERPLATE.split()]
    return words


def make(count: int, folder: Path) -> Plan:
    """Write documents.parquet (id, text), four fifths originals and then their copies, all shuffled, and the news."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = random.Random(1)
    sample = pq.read_table(SAMPLE, columns=["text", "source"]).to_pylist()
    news = [row["text"] for row in sample if row["source"] == "news"]
    (folder / "news.json").write_text(json.dumps(news), "utf-8")
    texts = [row["text"].split(" ") for row in sample]
    texts = [words for words in texts if 250 <= len(words) <= 3000]
    vocabulary = sorted({word for words in texts for word in words})
    originals = [
        [rng.choice(vocabulary) if rng.random() < 0.3 else word for word in texts[i % len(texts)]]
        for i in range(count * 4 // 5)
    ]
    copied = rng.sample(range(len(originals)), count - len(originals))
    kinds = [KINDS[i % len(KINDS)] for i in range(len(copied))]
    copies = [changed(originals[i], kind, vocabulary, rng) for i, kind in zip(copied, kinds, strict=True)]
    place = list(range(count))
    rng.shuffle(place)
    rows = [""] * count
    for i, words in enumerate([*originals, *copies]):
        rows[place[i]] = " ".join(words)
    table = pa.table({"id": [str(i) for i in range(count)], "text": pa.array(rows, pa.large_string())})
    pq.write_table(table, folder / "documents.parquet", row_group_size=ROW_GROUP)
    pq.write_table(table.slice(0, 20), folder / "few.parquet")
    return Plan([(place[i], place[len(originals) + j], kinds[j]) for j, i in enumerate(copied)])


# --- Whole runs: each reads a Parquet file, writes what stays into a folder, and says what it drops


def run_curator(source: Path, folder: Path) -> list[str]:
    """The product's own stages and clustering; like the product it reads the file again rather than keep its texts."""
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa
    import pyarrow.parquet as pq

    from curator.dedup import find_clusters
    from curator.ids import doc_id, ids_array
    from curator.stages.exact import ExactHash
    from curator.stages.minhash import MinHash

    exact, minhash = ExactHash().open(), MinHash().open()
    file = pq.ParquetFile(source)

    def signals() -> Iterator[pa.RecordBatch]:
        for batch in file.iter_batches(ROW_GROUP, columns=["text"]):
            a, b = exact(batch), minhash(batch)
            columns = [a["norm_hash"], b["signature"], b["n_shingles"]]
            yield pa.RecordBatch.from_arrays(columns, ["norm_hash", "signature", "n_shingles"])

    def texts(rows: npt.NDArray[np.int64]) -> pa.Array:
        groups = rows // ROW_GROUP
        parts = [
            file.read_row_group(group, ["text"])["text"]
            .combine_chunks()
            .take(pa.array(rows[groups == group] % ROW_GROUP))
            for group in np.unique(groups).tolist()
        ]
        return pa.concat_arrays(parts)

    names = pq.read_table(source, columns=["id"])["id"].to_pylist()
    found = find_clusters(signals(), ids_array([doc_id("bench", name) for name in names]), texts)
    stays = found.cluster == np.arange(len(names))
    with pq.ParquetWriter(folder / "kept.parquet", file.schema_arrow) as writer:
        for number, batch in enumerate(file.iter_batches(ROW_GROUP)):
            writer.write_batch(batch.filter(pa.array(stays[number * ROW_GROUP :][: len(batch)])))
    return [names[i] for i in np.flatnonzero(~stays)]


def run_text_dedup(source: Path, folder: Path, *options: str) -> list[str]:
    from datasets import load_from_disk
    from text_dedup.minhash import main

    arguments = [
        "--path", "parquet", "--data_files", str(source), "--split", "train", "--cache_dir", str(folder / "cache"),
        "--output", str(folder / "kept"), "--column", "text", "--num_proc", "1", "--num_perm", "128",
        "--ngram", "5", "--b", str(BANDS), "--r", str(ROWS), "--no-clean_cache", *options,
    ]  # fmt: skip
    main(arguments, standalone_mode=False)
    return dropped(source, load_from_disk(str(folder / "kept"))["id"])


def run_text_dedup_fast(source: Path, folder: Path) -> list[str]:
    return run_text_dedup(source, folder, "--hash_func", "xxh3", "--hash_bits", "32")


def run_datatrove(source: Path, folder: Path) -> list[str]:
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.dedup import (
        MinhashDedupBuckets,
        MinhashDedupCluster,
        MinhashDedupFilter,
        MinhashDedupSignature,
    )
    from datatrove.pipeline.dedup.minhash import MinhashConfig
    from datatrove.pipeline.readers import ParquetReader
    from datatrove.pipeline.writers import JsonlWriter

    config = MinhashConfig(n_grams=5, num_buckets=BANDS, hashes_per_bucket=ROWS)
    reader = ParquetReader(str(source.parent), glob_pattern=source.name)
    at = {name: str(folder / name) for name in ("signatures", "buckets", "remove", "kept")}
    kept = JsonlWriter(at["kept"], output_filename="${rank}.jsonl", compression=None)
    for tasks, stage in [
        (1, [reader, MinhashDedupSignature(at["signatures"], config)]),
        (BANDS, [MinhashDedupBuckets(at["signatures"], at["buckets"], config=config)]),
        (1, [MinhashDedupCluster(at["buckets"], at["remove"], config=config)]),
        (1, [reader, MinhashDedupFilter(at["remove"]), kept]),
    ]:
        executor = LocalPipelineExecutor(stage, tasks=tasks, workers=1, logging_dir=str(folder / f"log{id(stage)}"))
        executor.run()
    with open(next(Path(at["kept"]).glob("*.jsonl")), encoding="utf-8") as lines:
        return dropped(source, [json.loads(line)["id"] for line in lines])


def dropped(source: Path, kept: list[str]) -> list[str]:
    import pyarrow.parquet as pq

    return sorted(set(pq.read_table(source, columns=["id"])["id"].to_pylist()) - set(kept))


# --- Signatures: megabytes of raw text per CPU-second ----------------------------------------------


def per_second(texts: list[str], work: Callable[[list[str]], object], rounds: int = 5) -> float:
    size = sum(len(text.encode()) for text in texts) / 1e6
    work(texts[:10])
    speeds = []
    for _ in range(rounds):
        began = time.process_time()
        work(texts)
        speeds.append(size / (time.process_time() - began))
    return statistics.median(speeds)


def shingles(text: str) -> list[str]:
    words = text.lower().split()
    return [" ".join(words[i : i + 5]) for i in range(len(words) - 4)]


def sketch_curator(texts: list[str]) -> dict[str, float]:
    import pyarrow as pa

    from curator.stages.minhash import MinHash

    measure = MinHash().open()
    column = pa.array(texts, pa.large_string())
    work: Callable[[list[str]], object] = lambda few: measure(  # noqa: E731
        pa.record_batch([column.slice(0, len(few))], ["text"])
    )
    return {"curator MinHash(128), words by Unicode": per_second(texts, work, 15)}


def sketch_peers(texts: list[str]) -> dict[str, float]:
    import datasketch
    import rensa
    import xxhash

    def sketched(**options: object) -> Callable[[list[str]], object]:
        def work(texts: list[str]) -> None:
            for text in texts:
                sketch = datasketch.MinHash(num_perm=128, seed=1, **options)
                sketch.update_batch([shingle.encode() for shingle in shingles(text)])

        return work

    def one_by_one(texts: list[str]) -> None:
        for text in texts:
            rensa.RMinHash(128, 1).update(shingles(text))

    few = texts[:300]
    found = {
        "datasketch 2.0.0, sha1, legacy scheme": per_second(few, sketched(scheme="legacy")),
        "datasketch 2.0.0, sha1 (its default)": per_second(few, sketched()),
        "datasketch 2.0.0, xxh32": per_second(few, sketched(hashfunc=xxhash.xxh32_intdigest)),
        "rensa 0.5.0, RMinHash.update": per_second(few, one_by_one),
        "rensa 0.5.0, digest_matrix_from_token_sets": per_second(
            few, lambda texts: rensa.RMinHash.digest_matrix_from_token_sets([shingles(t) for t in texts], 128, 1)
        ),
    }
    made = {text: shingles(text) for text in few}
    found["rensa 0.5.0, shingles already made"] = per_second(
        few, lambda texts: rensa.RMinHash.digest_matrix_from_token_sets([made[t] for t in texts], 128, 1)
    )
    return found


# --- Processes -----------------------------------------------------------------------------------

RUNS = {"curator": run_curator, "text-dedup": run_text_dedup, "text-dedup-fast": run_text_dedup_fast, "datatrove": run_datatrove}  # fmt: skip
SKETCHES = {"curator": sketch_curator, "sketches": sketch_peers}


class Cost(NamedTuple):
    seconds: float  # of CPU
    peak: float  # MiB
    answer: Path


def child(python: str, arguments: list[str], folder: Path, environment: dict[str, str]) -> Cost | None:
    """Run this file in another environment, bound to one core; nothing if it fails."""
    folder.mkdir(parents=True)
    one = dict.fromkeys(("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "RAYON_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    offline = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "hf"), "TOKENIZERS_PARALLELISM": "false"}
    with open(folder / "log", "w", encoding="utf-8") as log:
        process = subprocess.Popen(
            [python, __file__, *arguments, str(folder)], env={**os.environ, **one, **offline, **environment},
            stdout=log, stderr=log, cwd=folder,
        )  # fmt: skip
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        tail = (folder / "log").read_text("utf-8", "replace").strip().splitlines()[-1:]
        print(f"{arguments[1]}: left out, it ended with {process.returncode}: {' '.join(tail)}")
        return None
    return Cost(usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, folder / "answer.json")


def bind() -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def peer(name: str, folder: Path) -> str | None:
    """The interpreter of a peer's environment, which is made if it is not there."""
    python = folder / name / "bin" / "python"
    ready = folder / name / "ready"
    if not ready.exists():
        print(f"installing {name} into {folder / name}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder / name], check=True)
        for requirement in PEERS[name]:
            command = [python, "-m", "pip", "install", "--quiet", *requirement.split()]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                print(f"{name}: left out, cannot install {requirement}: {done.stderr.strip().splitlines()[-1:]}")
                return None
        ready.touch()
    return str(python)


# --- Tables --------------------------------------------------------------------------------------


def judge(dropped_ids: list[str], plan: Plan) -> tuple[float, float, dict[str, float]]:
    """Precision of what was dropped, recall of the planted pairs, and recall by kind."""
    gone = {int(name) for name in dropped_ids}
    met: dict[str, list[bool]] = {kind: [] for kind in KINDS}
    for original, copy, kind in plan.pairs:
        met[kind].append(original in gone or copy in gone)
    hits = sum(map(sum, met.values()))
    recalls = {kind: statistics.mean(found) for kind, found in met.items()}
    return hits / max(1, len(gone)), hits / len(plan.pairs), recalls


def signature_table(folder: Path, peers: Path) -> None:
    speeds: dict[str, float] = {}
    for name, python in (("curator", sys.executable), ("sketches", peer("sketches", peers))):
        cost = python and child(python, ["--sketch", name, str(folder / "news.json")], folder / f"sketch-{name}", {})
        if cost:
            speeds |= json.loads(cost.answer.read_text())
    ours = next(iter(speeds.values()))
    print("| signatures, 128 values, word 5-grams, raw English text | MB per CPU-second | ours is |\n|---|---|---|")
    for name, speed in speeds.items():
        print(f"| {name} | {speed:.{0 if speed >= 100 else 1}f} | {ours / speed:.1f} × |")
    print(flush=True)


def run_table(folder: Path, peers: Path, chosen: list[str]) -> None:
    plan = Plan(json.loads((folder / "plan.json").read_text()))
    print(f"{len(plan.pairs) * 5:,} documents, every fifth a planted copy\n")
    cache = {"NUMBA_CACHE_DIR": str(folder / "numba")}
    runs = [
        ("curator, kernels compiled anew", "curator", sys.executable),
        ("curator", "curator", sys.executable),
        ("text-dedup 0.4.0, xxh3 in 32 bits", "text-dedup-fast", "text-dedup"),
        ("text-dedup 0.4.0, its defaults", "text-dedup", "text-dedup"),
        ("datatrove 0.10.1", "datatrove", "datatrove"),
    ]
    head = ("whole run", "CPU-s", "of it starting up", "ours is", "peak MiB", "precision", "recall", *KINDS)
    print("| " + " | ".join(head) + " |\n" + "|---" * len(head) + "|")
    results = {}
    for number, (title, name, where) in enumerate(runs):
        python = where if where == sys.executable else (where in chosen and peer(where, peers)) or None
        if not python:
            continue
        at = folder / f"run{number}"
        cost = child(python, ["--run", name, str(folder / "documents.parquet")], at / "all", cache)
        start = child(python, ["--run", name, str(folder / "few.parquet")], at / "few", cache)
        if cost and start:
            results[title] = (cost, start.seconds, judge(json.loads(cost.answer.read_text()), plan))
    ours = results["curator"][0].seconds
    for title, (cost, start_s, (precision, recall, kinds)) in results.items():
        cells = (
            title, f"{cost.seconds:.1f}", f"{start_s:.1f}", f"{cost.seconds / ours:.1f} ×", f"{cost.peak:.0f}",
            f"{precision:.4f}", f"{recall:.4f}", *(f"{kinds[kind]:.3f}" for kind in KINDS),
        )  # fmt: skip
        print("| " + " | ".join(cells) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=10_000)
    parser.add_argument("--peers", type=Path, default=Path(tempfile.gettempdir()) / "curator-bench-peers")
    parser.add_argument("--only", nargs="*", default=["text-dedup", "datatrove"], help="peers of the whole runs")
    parser.add_argument("--make", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--run", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--sketch", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.make:
        plan = make(int(options.make[0]), Path(options.make[1]))
        Path(options.make[1], "plan.json").write_text(json.dumps(plan.pairs))
        return
    bind()
    if options.run:
        name, source, folder = options.run
        answer: object = RUNS[name](Path(source), Path(folder))
    elif options.sketch:
        name, source, folder = options.sketch
        answer = SKETCHES[name](json.loads(Path(source).read_text("utf-8")))
    else:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            # in a process of its own: what a process held when it made another counts as the other's peak
            subprocess.run([sys.executable, __file__, "--make", str(options.documents), temporary], check=True)
            signature_table(folder, options.peers)
            run_table(folder, options.peers, options.only)
        return
    Path(folder, "answer.json").write_text(json.dumps(answer))


if __name__ == "__main__":
    main()
