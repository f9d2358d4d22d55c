"""Ingest mutated real files: no crash, no hang, and inputs = documents + quarantined.

    python benchmarks/fuzz.py --inputs 20000 [--seed 1]

Real WARC, WET, HTML, JSON lines, CSV and Parquet are cut, flipped, spliced and repeated, before and after compression, and
ingested as a user would. A reader that dies or raises is caught by the guard and costs one row; here it counts as a fault.
Exits with 1 for a fault or for sums that do not add up.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard
from raw_data import archives, pages

from curator import sources
from curator.guard import STOPPED
from curator.ingest import ingest
from curator.progress import Silent
from curator.readers.columns import Columns

ROUND = 1000

Mutation = Callable[[bytes, random.Random], bytes]


def flipped(data: bytes, dice: random.Random) -> bytes:
    out = bytearray(data)
    for _ in range(dice.choice((1, 3, 20))):
        out[dice.randrange(len(out))] ^= 1 << dice.randrange(8)
    return bytes(out)


def cut(data: bytes, dice: random.Random) -> bytes:
    return data[: dice.randrange(len(data))]


def without(data: bytes, dice: random.Random) -> bytes:
    at = dice.randrange(len(data))
    return data[:at] + data[at + dice.choice((1, 10, 1000)) :]


def with_noise(data: bytes, dice: random.Random) -> bytes:
    at = dice.randrange(len(data))
    noise = dice.choice(_NOISE) * dice.choice((1, 1, 1, 50))
    return data[:at] + noise + data[at:]


def doubled(data: bytes, dice: random.Random) -> bytes:
    at = dice.randrange(len(data))
    piece = data[at : at + dice.choice((10, 500, 5000))]
    return data[:at] + piece * dice.choice((2, 30)) + data[at:]


def spliced(data: bytes, dice: random.Random) -> bytes:
    return data[: dice.randrange(len(data))] + data[dice.randrange(len(data)) :]


def renumbered(data: bytes, dice: random.Random) -> bytes:
    """Wrong lengths: a run of digits becomes another number."""
    at = data.find(b"Length: ", dice.randrange(len(data)))
    return (
        data[: at + 8] + str(dice.choice((0, 1, -5, 10**6, 10**19))).encode() + b"\r\n" + data[at + 8 :]
        if at > 0
        else flipped(data, dice)
    )


MUTATIONS: tuple[Mutation, ...] = (flipped, cut, without, with_noise, doubled, spliced, renumbered)
_NOISE = (
    b"\x00", b"\xff\xfe", b"\r\n\r\n", b"<div>" * 200, b"</", b"<!--", b"<script>", b"WARC/1.0\r\n", b"\x1f\x8b\x08", b'{"a":', b"[[[[[[[[",
    b'"', b"\xed\xa0\x80", b"&#x110000;", b"\x28\xb5\x2f\xfd", b"PAR1", b"1" * 5000, b"<table><tr><td>", b"charset=utf-7", b"\n",
)  # fmt: skip


def seeds(scratch: Path) -> dict[str, list[bytes]]:
    """Real inputs by the ending their mutants get."""
    html = [path.read_bytes() for path in pages(scratch)[::9]]
    html = [data for data in html if 2000 < len(data) < 200_000]
    warcs = [path.read_bytes() for path in archives(scratch) if path.stat().st_size < 300_000]
    texts = [data.decode("utf-8", "replace")[:3000] for data in html[:60]]
    lines = "\n".join(json.dumps({"id": n, "text": text, "url": "https://e.org"}) for n, text in enumerate(texts[:12]))
    rows = "id,text,url\r\n" + "\r\n".join(
        f'{n},"{text.replace(chr(34), chr(34) * 2)}",u' for n, text in enumerate(texts[:12])
    )
    table = pa.table({"text": texts, "id": list(range(len(texts))), "date": ["2020-01-01"] * len(texts)})
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=20)
    return {
        ".html": html,
        ".warc.gz": warcs,
        ".warc": [gzip.decompress(data) for data in warcs if len(data) < 150_000],
        ".jsonl": [lines.encode()],
        ".jsonl.zst": [zstandard.compress(lines.encode())],
        ".csv": [rows.encode()],
        ".parquet": [sink.getvalue()],
    }


def mutant(ending: str, data: bytes, dice: random.Random) -> bytes:
    if ending == ".warc.gz" and dice.random() < 0.5:  # damage inside sound compression
        members = gzip.decompress(data)
        return gzip.compress(mutated(members, dice), 1)
    return mutated(data, dice)


def mutated(data: bytes, dice: random.Random) -> bytes:
    for _ in range(dice.choice((1, 1, 2, 4))):
        data = dice.choice(MUTATIONS)(data, dice) or b" "
    return data


def one_round(folder: Path, known: dict[str, list[bytes]], count: int, dice: random.Random) -> Counter[str]:
    """Write mutants, ingest them, and check the sums."""
    mutants = folder / "mutants"
    mutants.mkdir()
    for number in range(count):
        ending = dice.choice(list(known))
        (mutants / f"{number:05d}{ending}").write_bytes(mutant(ending, dice.choice(known[ending]), dice))
    summary = ingest(sources.find([str(mutants)]), folder / "out", Columns(), 2, Silent())
    assert summary["files"] == count
    assert summary["inputs"] == summary["documents"] + sum(summary["quarantined"].values())
    written = sum(pq.read_metadata(path).num_rows for path in (folder / "out" / "documents").glob("*.parquet"))
    assert written == summary["inputs"], (written, summary["inputs"])
    shown = pa.concat_tables(
        pq.read_table(p, columns=["quarantine"]) for p in (folder / "out" / "documents").glob("*.parquet")
    )
    faults = [why for why in shown["quarantine"].drop_null().to_pylist() if why.partition(":")[0] in STOPPED]
    for why in sorted(set(faults)):
        print("fault:", why)
    shutil.rmtree(folder / "out")
    shutil.rmtree(mutants)
    return Counter(
        files=count,
        inputs=summary["inputs"],
        documents=summary["documents"],
        faults=len(faults),
        **{f"quarantined: {k}": v for k, v in summary["quarantined"].items()},
    )


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--inputs", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    total: Counter[str] = Counter()
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        known = seeds(Path(scratch))
        for number in range(0, args.inputs, ROUND):
            with tempfile.TemporaryDirectory() as folder:
                total += one_round(
                    Path(folder), known, min(ROUND, args.inputs - number), random.Random(args.seed * 1000 + number)
                )
            print(
                f"{total['files']:,} files, {total['inputs']:,} inputs, {total['faults']} faults, {time.perf_counter() - began:.0f} s",
                flush=True,
            )
    for what, count in total.most_common():
        print(f"{what:<40} {count:>9,}")
    return 1 if total["faults"] else 0


if __name__ == "__main__":
    sys.exit(main())
