"""Ingest of a large archive: memory, speed beside a bare loop, the same bytes after kills.

    python benchmarks/ingest.py --gigabytes 2 --kills 10

The archive is made by repeating real ones (../shared/data/raw). The bare loop is what one would write by hand:
fastwarc for the records, the same extractor for the text, nothing kept; both run on the same core, one after the other.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from pathlib import Path
from typing import Any

import psutil
from fastwarc.warc import ArchiveIterator, WarcRecordType
from raw_data import archives, pages
from resiliparse.parse.encoding import bytes_to_str, detect_encoding
from resiliparse.parse.html import HTMLTree

from curator.extract import extract

ROOT = Path(__file__).parent.parent


def make_archive(path: Path, size: int, scratch: Path) -> int:
    """Write a WARC (gzip per record) of about `size` bytes of records, uncompressed; returns its records."""
    block = scratch / "block.warc.gz"
    records, plain = _block(block, scratch)
    times = max(1, size // plain)
    with open(path, "wb") as out:
        for _ in range(times):
            with open(block, "rb") as file:
                shutil.copyfileobj(file, out, 1 << 22)
    print(
        f"archive: {times} times {records} records, {times * plain / 1e9:.2f} GB uncompressed, {path.stat().st_size / 1e9:.2f} GB on disk"
    )
    return times * records


def _block(path: Path, scratch: Path) -> tuple[int, int]:
    """All real archives and pages as one WARC: (records, bytes uncompressed)."""
    records = plain = 0
    with open(path, "wb") as out:
        for archive in archives(scratch):
            if archive.name.endswith(".warc.gz"):
                data = gzip.decompress(archive.read_bytes())
                records, plain = records + data.count(b"\r\nWARC-Type:"), plain + len(data)
                out.write(archive.read_bytes())
        for page in pages(scratch):
            record = as_record(page.name, page.read_bytes())
            out.write(gzip.compress(record, 6))
            records, plain = records + 1, plain + len(record)
    return records, plain


def as_record(name: str, body: bytes) -> bytes:
    """A page as a response record."""
    http = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    key = uuid.uuid5(uuid.NAMESPACE_URL, name)
    address = f"http://{key.hex[:8]}.example.org/{key.hex}"
    head = (
        f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Record-ID: <urn:uuid:{key}>\r\nWARC-Date: 2020-01-01T00:00:00Z\r\n"
        f"WARC-Target-URI: {address}\r\nContent-Type: application/http; msgtype=response\r\nContent-Length: {len(http)}\r\n\r\n"
    )
    return head.encode() + http + b"\r\n\r\n"


def bare_loop(path: Path) -> tuple[int, int, float, float]:
    """What one would write by hand, in this process: (records, characters, seconds, processor seconds)."""
    began, cpu, records, characters = time.perf_counter(), time.process_time(), 0, 0
    with open(path, "rb") as file:
        for record in ArchiveIterator(file, record_types=WarcRecordType.response, parse_http=True):
            records += 1
            body = record.reader.read()
            if "html" in (record.http_content_type or "") and body:
                html = bytes_to_str(body, detect_encoding(body))
                characters += len(extract(html, HTMLTree.parse(html)).text)
    return records, characters, time.perf_counter() - began, time.process_time() - cpu


class Watcher(threading.Thread):
    """The most memory that a process and its children held at once (proportional set size, so that shared pages count once)."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.process, self.peak = psutil.Process(pid), 0

    def run(self) -> None:
        while self.process.is_running():
            held = 0
            for process in self._tree():
                try:
                    held += process.memory_full_info().pss
                except psutil.Error:
                    continue
            self.peak = max(self.peak, held)
            time.sleep(0.2)

    def _tree(self) -> list[psutil.Process]:
        try:
            return [self.process, *self.process.children(recursive=True)]
        except psutil.Error:
            return []


def command(archive: Path, out: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "curator", "ingest", str(archive), "-o", str(out), "--workers", "1", *more]


def ingest(archive: Path, out: Path) -> tuple[float, float, int, dict[str, Any]]:
    """Seconds, processor seconds of all its processes, peak bytes, and the summary of an undisturbed ingest."""
    began, cpu = time.perf_counter(), children_cpu()
    process = subprocess.Popen([*command(archive, out, "--json"), "-q"], stdout=subprocess.PIPE)
    watcher = Watcher(process.pid)
    watcher.start()
    assert process.stdout is not None
    summary = json.loads(process.stdout.read())
    assert process.wait() == 0
    return time.perf_counter() - began, children_cpu() - cpu, watcher.peak, summary


def children_cpu() -> float:
    """Processor seconds of all processes that were waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def contents(out: Path) -> dict[str, str]:
    """sha256 of every file that two equal ingests share."""
    return {
        path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.name not in ("log.jsonl", ".lock")
    }


def kills(archive: Path, plain: Path, out: Path, wanted: int, seconds: float) -> bool:
    """Kill an ingest at random moments until it has ended; True when its bytes are those of the undisturbed one."""
    dice, killed, rounds = random.Random(1), 0, 0
    expected = contents(plain)
    while killed < wanted:
        process = subprocess.Popen([*command(archive, out), "-q"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            process.wait(dice.uniform(0.5, seconds / 3))
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            killed += 1
            continue
        rounds += 1
        if contents(out) != expected:
            return False
        shutil.rmtree(out)
    subprocess.run([*command(archive, out), "-q"], check=True, stdout=subprocess.DEVNULL)
    print(f"kills: {killed}, with {rounds} rounds ended between them")
    return contents(out) == expected


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--gigabytes", type=float, default=2.0)
    parser.add_argument("--kills", type=int, default=10)
    args = parser.parse_args()
    os.sched_setaffinity(
        0, {max(os.sched_getaffinity(0))}
    )  # one core for the loop, and for ingest with all its processes
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        archive = scratch / "archive.warc.gz"
        make_archive(archive, int(args.gigabytes * 1e9), scratch)
        records, _, bare_s, bare_cpu = bare_loop(archive)
        print(
            f"bare loop: {records:,} responses in {bare_s:.1f} s ({bare_cpu:.1f} of processor), {records / bare_s:.1f}/s",
            flush=True,
        )
        seconds, cpu, peak, summary = ingest(archive, scratch / "plain")
        print(
            f"curator ingest: {summary['inputs']:,} inputs in {seconds:.1f} s ({cpu:.1f} of processor), {summary['inputs'] / seconds:.1f}/s; peak {peak / 1e6:.0f} MB"
        )
        print(
            f"speed beside the bare loop: {bare_s / seconds:.2f} by the clock, {bare_cpu / cpu:.2f} by processor time (one core)"
        )
        assert summary["inputs"] == summary["documents"] + sum(summary["quarantined"].values())
        small = scratch / "small.warc.gz"
        make_archive(small, int(2e8), scratch)
        plain_s, *_ = ingest(small, scratch / "small")
        same = kills(small, scratch / "small", scratch / "killed", args.kills, plain_s)
        print("after the kills:", "same bytes" if same else "DIFFERENT BYTES")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
