"""What `curator serve` bears: requests a second, waiting times and memory under many connections, beside the same work done directly.

python benchmarks/serve.py demo-out --recipe default --connections 64 --seconds 10

The server is a process of its own; clients and server share this machine's cores. Each path is asked by `--connections` clients
at once, each again as soon as it has its answer. 503 is an answer: who gets one comes again after a tenth of a second.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import psutil
import pyarrow.parquet as pq

PROGRAM = "import sys; from curator.commands.serve import serve_command; serve_command(sys.argv[1:])"
QUESTIONS = {
    "small": "select source, outcome, count(*) from documents group by all",
    "wide": "from documents limit 1000",
    "cut": "from range(1000000)",
}


@dataclass
class Seen:
    """What one kind of request met."""

    seconds: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    units: int = 0  # texts, where texts are sent
    peak: int = 0  # bytes of the server and its processes


@contextmanager
def server(out: Path, arguments: list[str]) -> Iterator[tuple[str, psutil.Process]]:
    """A running server: its address, its process."""
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, str(out), "--port", "0", *arguments], stdout=subprocess.PIPE, text=True)  # fmt: skip
    assert process.stdout is not None
    try:
        yield process.stdout.readline().split()[0], psutil.Process(process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        print(f"ended with {process.wait(60)} after SIGTERM")


def memory(process: psutil.Process) -> int:
    """Bytes that the server and its processes hold."""
    total = 0
    for one in [process, *process.children(recursive=True)]:
        try:
            total += one.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


async def load(base: str, process: psutil.Process, path: str, body: Any, units: int, clients: int, seconds: float) -> Seen:  # fmt: skip
    """Ask one path by many clients at once."""
    seen, until = Seen(), time.perf_counter() + seconds
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx2.AsyncClient(base_url=base, timeout=300, limits=limits) as client:

        async def one() -> None:
            while time.perf_counter() < until:
                began = time.perf_counter()
                reply = await (client.get(path) if body is None else client.post(path, json=body))
                seen.statuses[reply.status_code] += 1
                if reply.status_code == 200:
                    seen.seconds.append(time.perf_counter() - began)
                    seen.units += units
                else:
                    await asyncio.sleep(0.1)

        async def watch() -> None:
            while True:
                seen.peak = max(seen.peak, memory(process))
                await asyncio.sleep(0.2)

        watching = asyncio.create_task(watch())
        await asyncio.gather(*(one() for _ in range(clients)))
        watching.cancel()
    return seen


def tell(what: str, seen: Seen, took: float) -> float:
    """Print one line; units a second."""
    p50, p99 = (1e3 * np.quantile(seen.seconds or [np.nan], q) for q in (0.5, 0.99))
    rate = seen.units / took
    statuses = ", ".join(f"{n:,} × {status}" for status, n in sorted(seen.statuses.items()))
    print(f"{what:<22} {len(seen.seconds) / took:9,.1f} /s {p50:9,.1f} ms {p99:9,.1f} ms {seen.peak / 2**20:7,.0f} MiB  {statuses}" + (f"  {rate:,.0f} texts/s" if rate else ""), flush=True)  # fmt: skip
    return rate


def directly(out: Path, recipe: str | None, texts: list[str]) -> float:
    """Texts a second of the same scoring in one process, nothing sent anywhere."""
    from curator.judged import Judged, recipe_of
    from curator.unstored import Document

    judged = Judged(recipe_of(out, recipe))
    documents = [Document(text) for text in texts]
    list(judged.judge(documents[:64]))
    began = time.perf_counter()
    for start in range(0, len(documents), 256):
        list(judged.judge(documents[start : start + 256]))
    return len(documents) / (time.perf_counter() - began)


async def ready(base: str) -> str:
    """Wait until the models are loaded."""
    async with httpx2.AsyncClient(base_url=base, timeout=60) as client:
        while True:
            try:
                state = (await client.get("/health")).json()["score"]
            except httpx2.TransportError:
                state = "loading"
            if state != "loading":
                return str(state)
            await asyncio.sleep(0.5)


def main() -> None:
    """Serve, ask, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="a finished run")
    parser.add_argument("--recipe", help="what scores (default: the run's own)")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--texts", type=int, default=1024, help="texts that are scored directly")
    arguments = parser.parse_args()
    files = sorted((arguments.out / "documents").glob("*.parquet"))
    texts = [t for t in pq.read_table(files[0], columns=["text"])["text"].to_pylist() if t][: arguments.texts]
    print(f"{len(texts)} texts, mean {np.mean([len(t) for t in texts]):,.0f} characters; load {os.getloadavg()[0]:.1f}")
    before = directly(arguments.out, arguments.recipe, texts)
    recipe = ["--recipe", arguments.recipe] if arguments.recipe else []
    print(f"{'':<22} {'requests':>12} {'p50':>12} {'p99':>12} {'memory':>11}")
    with server(arguments.out, recipe) as (base, process):
        print(f"scoring is {asyncio.run(ready(base))}")
        tried: list[tuple[str, str, Any, int]] = [("GET /health", "/health", None, 0), ("GET /", "/", None, 0)]
        tried += [(f"POST /sql {name}", "/sql", {"sql": sql}, 0) for name, sql in QUESTIONS.items()]
        tried += [(f"POST /score {n}", "/score", {"texts": texts[:n]}, n) for n in (1, 16, 256)]
        httpx2.get(base, timeout=900)  # the page is drawn once
        rates = {}
        for what, path, body, units in tried:
            began = time.perf_counter()
            seen = asyncio.run(load(base, process, path, body, units, arguments.connections, arguments.seconds))
            rates[what] = tell(what, seen, time.perf_counter() - began)
        huge = {"texts": ["word " * 20_000] * 75}
        seen = asyncio.run(load(base, process, "/score", huge, 75, arguments.connections, arguments.seconds))
        tell("POST /score 7.5 MB", seen, arguments.seconds)
    after = directly(arguments.out, arguments.recipe, texts)
    alone = (before + after) / 2
    print(f"directly {before:,.0f} texts/s before and {after:,.0f} after; of their mean over HTTP ", end="")
    print(json.dumps({k: round(v / alone, 2) for k, v in rates.items() if v}))


if __name__ == "__main__":
    main()
