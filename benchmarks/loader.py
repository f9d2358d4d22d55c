"""Documents a second that the loader gives on one core without tokenising, beside Hugging Face `datasets` streaming.

    python benchmarks/loader.py [--run OUT] [--documents 60000] [--words 350 50] [--rounds 5] [--peer PYTHON]

The documents are those of a finished run's mixture with all their columns, as they are and cut to so many words, written as
`curator filter` writes a mixture, again and again until there are enough. Every reader runs in a process of its own,
pinned to one core where the system can, with Arrow's thread pools at one thread; readers take turns, and of the rounds
the best is told, by the process's CPU time and by the clock. The first pass over the files warms the page cache and is not counted.

Bounds are read beside them: pyarrow decoding the same columns of the row groups one after the other and doing nothing with
them, the same in other compressions, and copying the texts once. No reader of these files on one core passes the first.

`--peer` is a Python that has `datasets`; without it a virtual environment is made in a temporary folder.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import textwrap
import venv
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq

from curator.shards import alike, repeating, write_parquet

ROOT = Path(__file__).parent.parent
PEER = "datasets==5.2.0"
STANDARD = ["text", "doc_id", "source", "stratum", "prob_synthetic", "weight"]
GROUP = 512  # documents in a row group of a finished run's mixture
SHARD = 16 * GROUP  # and in a file of it

TIMED = """
    import os, sys, time, json
    if hasattr(os, "sched_setaffinity"): os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    import pyarrow as pa
    pa.set_cpu_count(1); pa.set_io_thread_count(1)
    def timed(read):
        wall, cpu = time.perf_counter(), time.process_time()
        n = read()
        return n, time.process_time() - cpu, time.perf_counter() - wall
"""
BOUND = "bound: pyarrow decodes the row groups"
DECODED = """
        import glob, pyarrow.parquet as pq
        def read():
            n = 0
            for path in sorted(glob.glob(OUT + "{}/*.parquet")):
                with pq.ParquetFile(path, pre_buffer=False) as file:
                    for group in range(file.num_row_groups):
                        n += file.read_row_group(group, columns=COLUMNS, use_threads=False).num_rows
            return n
"""
READERS = {
    "curator, one dict a document": """
        from curator.loader import CuratedDataset
        def read():
            n = 0
            for sample in CuratedDataset(OUT): n += 1
            return n
    """,
    "curator, batches of 1,024": """
        from curator.loader import CuratedDataset
        def read(): return sum(batch.num_rows for batch in CuratedDataset(OUT).batches(1024))
    """,
    "curator, batches, file order": """
        from curator.loader import CuratedDataset
        def read(): return sum(batch.num_rows for batch in CuratedDataset(OUT, shuffle=False).batches(1024))
    """,
    "curator, LZ4, one dict a document": """
        from curator.loader import CuratedDataset
        def read():
            n = 0
            for sample in CuratedDataset(OUT + "-lz4"): n += 1
            return n
    """,
    "curator, LZ4, batches of 1,024": """
        from curator.loader import CuratedDataset
        def read(): return sum(batch.num_rows for batch in CuratedDataset(OUT + "-lz4").batches(1024))
    """,
    "datasets, one dict a document": """
        import glob, datasets
        data = datasets.load_dataset("parquet", data_files=sorted(glob.glob(OUT + "/mixture/*.parquet")), split="train",
                                     streaming=True, columns=COLUMNS)
        def read():
            n = 0
            for sample in data: n += 1
            return n
    """,
    "datasets, batches of 1,024 (Arrow)": """
        import glob, datasets
        data = datasets.load_dataset("parquet", data_files=sorted(glob.glob(OUT + "/mixture/*.parquet")), split="train",
                                     streaming=True, columns=COLUMNS).with_format("arrow")
        def read(): return sum(batch.num_rows for batch in data.iter(1024))
    """,
    "datasets, shuffle(buffer_size=8192)": """
        import glob, datasets
        data = datasets.load_dataset("parquet", data_files=sorted(glob.glob(OUT + "/mixture/*.parquet")), split="train",
                                     streaming=True, columns=COLUMNS).shuffle(seed=0, buffer_size=8192)
        def read():
            n = 0
            for sample in data: n += 1
            return n
    """,
    BOUND: DECODED.format("/mixture"),
    "bound: the same, were they LZ4": DECODED.format("-lz4/mixture"),
    "bound: the same, not compressed": DECODED.format("/plain"),
    "bound: the texts copied once": """
        import glob, numpy as np, pyarrow.parquet as pq
        texts = [pq.ParquetFile(path).read_row_group(group, columns=["text"])["text"].chunk(0)
                 for path in sorted(glob.glob(OUT + "/mixture/*.parquet")) for group in range(pq.ParquetFile(path).num_row_groups)]
        def read():
            for text in texts: np.frombuffer(text.buffers()[2], np.uint8).copy()
            return sum(map(len, texts))
    """,
}


def cut(table: pa.Table, words: int) -> pa.Table:
    """The same documents, their texts cut into pieces of so many words, most pieces dropped: as many rows as before."""
    texts = [text.split() for text in table["text"].to_pylist()]
    pieces = [" ".join(text[i : i + words]) for text in texts for i in range(0, max(len(text) - words // 2, 1), words)]
    rng = np.random.default_rng(0)
    chosen = rng.choice(len(pieces), table.num_rows, replace=len(pieces) < table.num_rows)
    text = pa.array([pieces[i] for i in chosen], pa.large_string())
    return table.set_column(table.schema.get_field_index("text"), table.schema.field("text"), text)


def write(out: Path, table: pa.Table, documents: int, compression: str = "zstd") -> Path:
    """A folder that the loader takes for a finished run; shards and row groups as in one; its documents uncompressed too."""
    files, rows = {}, 0
    while rows < documents:
        path = out / "mixture" / f"{len(files):06}.parquet"
        part = table.take(pa.array(np.arange(rows, min(rows + SHARD, documents)) % table.num_rows)).combine_chunks()
        made = write_parquet(out, path, table.schema, alike(part.to_batches(GROUP)), "benchmark", compression)
        files[f"mixture/{path.name}"] = {"sha256": made.sha256, "bytes": made.bytes, "rows": made.rows}
        rows += part.num_rows
        if compression == "zstd":
            copied(path, out / "plain" / path.name, "none")
    (out / "manifest.json").write_text(json.dumps({"format": 1, "fingerprint": out.name, "files": files}))
    return out


def copied(path: Path, other: Path, compression: str) -> None:
    """The same file in another compression."""
    other.parent.mkdir(exist_ok=True)
    with pq.ParquetFile(path) as file:
        schema = file.schema_arrow
        with pq.ParquetWriter(other, schema, compression=compression, use_dictionary=repeating(schema)) as writer:
            for group in range(file.num_row_groups):
                writer.write_table(file.read_row_group(group))


def peer(folder: Path) -> str:
    """Make a virtual environment with Hugging Face `datasets`."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "-q", PEER, f"pyarrow=={pa.__version__}"], check=True)
    return str(python)


def measure(python: str, out: Path, name: str) -> tuple[int, float, float]:
    code = textwrap.dedent(TIMED) + f"OUT, COLUMNS = {str(out)!r}, {STANDARD!r}\n" + textwrap.dedent(READERS[name])
    code += "\nread()\nprint(json.dumps(timed(read)), flush=True)\nos._exit(0)"  # threads of a peer may abort at exit
    settings = {
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(out.parent / "hf"),
    }
    done = subprocess.run([python, "-c", code], env=os.environ | settings, capture_output=True, text=True, check=True)
    documents, cpu, wall = json.loads(done.stdout.splitlines()[-1])
    return documents, cpu, wall


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, default=ROOT / "demo-out", help="finished run whose mixture is read")
    parser.add_argument("--documents", type=int, default=60_000, help="of each corpus, at least")
    parser.add_argument("--words", type=int, nargs="*", default=[350, 50], help="lengths to which documents are cut")
    parser.add_argument("--rounds", type=int, default=5, help="of which the best is told")
    parser.add_argument("--peer", help="a Python with `datasets`; made where none is given")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        python = asked.peer or peer(Path(scratch) / "peer")
        real = pq.read_table(asked.run / "mixture").combine_chunks()
        real = real.set_column(real.schema.get_field_index("weight"), "weight", pa.array(np.ones(real.num_rows)))
        corpora = {"as they are": real} | {f"of {words} words": cut(real, words) for words in asked.words}
        for number, (title, table) in enumerate(corpora.items()):
            out = write(Path(scratch) / str(number), table, asked.documents)
            other = write(Path(scratch) / f"{number}-lz4", table, asked.documents, "lz4")
            length = np.mean(pa.compute.binary_length(table["text"]).to_numpy())
            zstd, lz4 = (
                sum(path.stat().st_size for path in (one / "mixture").iterdir()) / asked.documents
                for one in (out, other)
            )
            print(
                f"\n{asked.documents:,} documents {title}: {length:,.0f} bytes of text, {zstd:,.0f} in the file "
                f"({lz4:,.0f} were it LZ4), {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}\n"
                f"| reader | documents/s of processor time | by the clock | MB of text/s | of the bound |\n|---|---|---|---|---|"
            )
            best = {name: (0.0, 0.0) for name in READERS}
            for _ in range(asked.rounds):
                for name in READERS:
                    documents, cpu, wall = measure(python if name.startswith("datasets") else sys.executable, out, name)
                    assert documents == asked.documents, (name, documents)
                    best[name] = max(best[name][0], documents / cpu), max(best[name][1], documents / wall)
            for name, (cpu, wall) in best.items():
                told = f"{cpu:,.0f} | {wall:,.0f} | {cpu * length / 1e6:,.0f} | {cpu / best[BOUND][0]:.2f}"
                print(f"| {name} | {told} |", flush=True)


if __name__ == "__main__":
    main()
