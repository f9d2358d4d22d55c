"""The real archives and pages that the ingest benches read: unpacked from ../shared/data/raw into a folder."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import zstandard

RAW = Path(__file__).parents[2] / "shared" / "data" / "raw"


def unpack(name: str, to: Path) -> Path:
    """Unpack one of the archives of real data; raises `SystemExit` with a message where it is absent."""
    source = RAW / f"{name}.tar.zst"
    if not source.is_file():
        raise SystemExit(f"{source.name} is not there: these benches need ../shared/data/raw")
    folder = to / name
    if not folder.is_dir():
        with (
            open(source, "rb") as file,
            zstandard.ZstdDecompressor().stream_reader(file) as stream,
            tarfile.open(fileobj=io.BufferedReader(stream, 1 << 20), mode="r|") as tar,
        ):
            tar.extractall(folder, filter="data")
    return folder


def archives(to: Path) -> list[Path]:
    """The real WARC and WET files, gzip per record."""
    folder = unpack("archives", to)
    return sorted(
        p for p in folder.rglob("*") if p.name.endswith((".warc.gz", ".wet.gz", ".arc.gz")) and "clipped" not in p.name
    )


def pages(to: Path) -> list[Path]:
    """The 990 real HTML pages."""
    folder = unpack("trafilatura-pages", to)
    return sorted(p for p in folder.rglob("*.html"))
