"""How long the account takes to answer at ten million documents: opening, shares, questions in SQL, one document explained.

python benchmarks/account.py --like demo-out --rows 10000000 --out FOLDER

The ledger is grown from that of a finished run (`--like`): real rows, repeated with ids, addresses and record ids of
their own, in files of 16,384 rows as a run of that size writes them. Every question is asked of a fresh connection,
three times, and the median printed; the files are in the page cache by then. Whole commands are timed beside them.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curator import account, audit
from curator.ledger import uuids

SHARD = 16_384  # rows of a file, as `curator.readers.shard_rows` gives a corpus of this size
IDS = ("doc_id", "cluster", "survivor")
DERIVED = {
    "documents",
    "sources",
    "clusters",
    "cluster_members",
    "quarantine",
    "drop_counts",
    "lookup",
}  # from the ledger
PAGE = Path(__file__).parent.parent / "docs" / "queries.md"


def ids_of(column: pa.ChunkedArray) -> np.ndarray:
    """An id column as numbers.  # [rows, 2] uint64"""
    return np.array([np.frombuffer(value.bytes, np.uint64) for value in column.to_pylist()])


def base(like: Path) -> tuple[pa.Table, dict[str, np.ndarray]]:
    """One file's worth of real rows, and their ids: each repetition has ids of its own."""
    table = pa.concat_tables([pq.read_table(path) for path in sorted((like / "ledger").glob("*.parquet"))])
    times = -(-SHARD // table.num_rows)
    keys = np.random.default_rng(1).integers(0, 2**63, (times, 1, 2), np.uint64)
    ids = {name: (ids_of(table[name])[None] ^ keys).reshape(-1, 2)[:SHARD] for name in IDS}
    return pa.concat_tables([table] * times).slice(0, SHARD).combine_chunks(), ids


def put(table: pa.Table, name: str, column: pa.Array) -> pa.Table:
    """The table with one column replaced, its meaning kept."""
    index = table.schema.get_field_index(name)
    return table.set_column(index, table.schema.field(index), column)


def grow(like: Path, out: Path, rows: int) -> None:
    """Write OUT/ledger and what a finished run has beside it."""
    (out / "ledger").mkdir(parents=True)
    for name in ("run.json", "manifest.json"):
        shutil.copy(like / name, out / name)
    table, ids = base(like)
    keys = np.random.default_rng(2).integers(0, 2**63, (-(-rows // SHARD), 2), np.uint64)
    for number, key in enumerate(keys):
        size = min(SHARD, rows - number * SHARD)
        own = table
        for name in IDS:
            own = put(own, name, uuids(ids[name] ^ key))
        names = [f"{number}-{row}" for row in range(SHARD)]
        own = put(own, "record_id", pa.array(names))
        own = put(own, "url", pa.array([f"https://site{zlib.crc32(n.encode()) % 5000}.example/{n}" for n in names]))
        pq.write_table(own.slice(0, size), out / "ledger" / f"{number:06d}.parquet", compression="zstd")


def build(like: Path, out: Path, rows: int) -> float:
    """Build the account as the conductor does; seconds."""
    with audit.open_audit(like) as con:
        found = con.execute("select table_name from duckdb_tables() where not internal").fetchall()
        own = sorted({name for (name,) in found} - DERIVED)
        tables = {name: (name, con.sql(f"from {name}").to_arrow_table()) for name in own}
    schema = pq.read_schema(out / "ledger" / "000000.parquet")
    began = time.perf_counter()
    audit.build(out, schema, rows, tables)
    return time.perf_counter() - began


def timed(what: str, act: Callable[[], object]) -> None:
    """Print the median of three."""
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        act()
        seconds.append(time.perf_counter() - began)
    print(f"{statistics.median(seconds):8.3f} s  {what}", flush=True)


def asked(out: Path, sql: str) -> int:
    """Ask one question of a fresh connection; rows."""
    with audit.open_audit(out) as con:
        return int(audit.ask(con, sql).to_arrow_table().num_rows)


def questions() -> list[tuple[str, str]]:
    """Those of docs/queries.md that need nothing but the account."""
    found = re.findall(r"^### (\d+\. .*?)\n\n```sql\n(.*?)```", PAGE.read_text("utf-8"), re.M | re.S)
    return [(title, sql) for title, sql in found if "FROM mixture" not in sql]


def answer(out: Path, rows: int) -> None:
    """Time every kind of question."""
    with audit.open_audit(out) as con:
        sql = "select doc_id, url, record_id from documents where duplicate_kind is not null limit 1 offset 777"
        (one,) = con.execute(sql).fetchall()
    timed("open", lambda: audit.open_audit(out).close())
    for name, value in zip(("id", "url", "record id"), one, strict=True):
        timed(f"explain by {name}", lambda value=value: account.explain(out, str(value)))
    timed("explain nobody", lambda: missing(out))
    timed("shares", lambda: asked(out, "from shares where dimension = 'source' and unit = 'docs'"))
    timed("outcomes by source", lambda: asked(out, "select source, outcome, count(*) from documents group by all"))
    timed("P(synthetic) by month", lambda: asked(out, "select date_trunc('month', date), avg(prob_synthetic) from documents group by all"))  # fmt: skip
    for title, sql in questions():
        timed(f"docs/queries.md {title}", lambda sql=sql: asked(out, sql))
    for command in (["shares", str(out), "--by", "source"], ["explain", str(out), str(one[0])], ["sql", str(out), "from drop_counts"]):  # fmt: skip
        timed(f"command: curator {command[0]}", lambda c=command: subprocess.run([sys.executable, "-m", "curator", *c], check=True, capture_output=True))  # fmt: skip


def missing(out: Path) -> None:
    """Ask for a document that is not there."""
    with audit.open_audit(out) as con:
        assert audit.documents_where(con, "doc_id", uuid.UUID(int=1)) == []


def main() -> None:
    """Grow, build, ask."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--like", type=Path, default=Path("demo-out"), help="a finished run")
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--out", type=Path, help="folder to grow into; what lies there already is asked again")
    arguments = parser.parse_args()
    out = arguments.out or Path(tempfile.mkdtemp()) / "out"
    if not out.is_dir():
        began = time.perf_counter()
        grow(arguments.like, out, arguments.rows)
        print(f"{arguments.rows:,} rows written in {time.perf_counter() - began:.0f} s")
    if not (out / "audit.duckdb").is_file():
        seconds = build(arguments.like, out, arguments.rows)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"account built in {seconds:.0f} s, peak memory {peak:,.0f} MiB (what grew the ledger included)")
    size = {name: sum(p.stat().st_size for p in out.glob(name)) >> 20 for name in ("ledger/*", "audit.duckdb")}
    print(json.dumps({"MiB": size}))
    answer(out, arguments.rows)


if __name__ == "__main__":
    main()
