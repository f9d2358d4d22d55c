"""Find what a user names: files, folders, globs, and any address that fsspec opens; nothing is read but first bytes."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import json
import os
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final
from urllib.parse import urlsplit

import zstandard
from fsspec.core import url_to_fs

from curator.errors import InputError
from curator.ids import file_sha256
from curator.shards import writing

# What a file is, by the end of its name. `whole`: the file is one document, and many are read in one go.
FORMATS: Final[Mapping[str, tuple[str, ...]]] = {
    "parquet": (".parquet", ".pq"),
    "arrow": (".arrow", ".arrows", ".feather", ".ipc"),
    "warc": (".warc", ".wet", ".arc"),
    "lines": (".jsonl", ".ndjson", ".json"),
    "delimited": (".csv", ".tsv"),
    "whole": (".html", ".htm", ".xhtml", ".txt", ".text", ".md", ".markdown", ".rst"),
}
COMPRESSED: Final = (".gz", ".zst", ".bz2", ".xz", ".lz4")
_COMPRESSIBLE: Final = ("warc", "lines", "delimited")
_BY_SUFFIX: Final = {suffix: name for name, suffixes in FORMATS.items() for suffix in suffixes}


@dataclass(frozen=True)
class Source:
    """One file to read, found but not opened."""

    address: str  # path, or what fsspec opens
    name: str  # relative to the folder the user named
    source: str  # who supplied it, where the records do not say
    format: str  # a key of `FORMATS`
    bytes: int
    stamp: str  # changes when the content does: sha256 of a local file, what the server says of a remote one
    remote: bool = False

    @property
    def path(self) -> Path:
        """The local file."""
        return Path(self.address)


@dataclass(frozen=True)
class Found:
    """What the user's words came to: the files in a fixed order, and how many were passed over, by suffix."""

    sources: tuple[Source, ...]
    ignored: Mapping[str, int]


def find(inputs: Sequence[str], source: str | None = None) -> Found:
    """Find every file, each once, sorted by name.

    In a folder or a glob, files of no known format are passed over and counted; a single file that is
    named is recognised by its first bytes. Raises `InputError` for a name that matches nothing.
    """
    ignored: Counter[str] = Counter()
    found = {s.address: s for given in inputs for s in _expand(given, source, ignored)}
    return Found(tuple(sorted(found.values(), key=lambda s: (s.name, s.address))), dict(sorted(ignored.items())))


def format_of(name: str) -> str | None:
    """The format that a file's name stands for; None where it stands for none."""
    path = PurePosixPath(name.lower())
    if path.suffix in COMPRESSED:
        inner = _BY_SUFFIX.get(PurePosixPath(path.stem).suffix)
        return inner if inner in _COMPRESSIBLE else None
    return _BY_SUFFIX.get(path.suffix)


def stem_of(name: str) -> str:
    """A file's name without the endings that say how it is written."""
    path = PurePosixPath(name)
    while path.suffix.lower() in (*_BY_SUFFIX, *COMPRESSED) and path.stem:
        path = PurePosixPath(path.stem)
    return path.name


def _expand(given: str, source: str | None, ignored: Counter[str]) -> Iterator[Source]:
    if "://" in given:
        yield from _remote(given, source, ignored)
        return
    path = Path(given)
    if path.is_file():
        yield _local(path, path.name, source or stem_of(path.name), _recognised(path))
        return
    if path.is_dir():
        path = _not_ours(path)
        names = [(p, p.relative_to(path).as_posix(), source or _supplier(p, path)) for p in _files_in(path)]
    else:
        names = [
            (m, m.name, source or stem_of(m.name))
            for m in map(Path, sorted(glob.glob(given, recursive=True)))
            if m.is_file()
        ]
    if not names:
        raise InputError(f"folder {given} holds no file" if path.is_dir() else f"no such file, folder or glob: {given}")
    known = [(p, name, own, kind) for p, name, own in names if (kind := _counted(name, ignored))]
    if not known:
        raise _nothing_known(given, [name for _, name, _ in names])
    for file, name, own, kind in known:
        yield _local(file, name, own, kind)


def _not_ours(folder: Path) -> Path:
    """Where the documents lie: in a finished ingest their own folder; the folder of a curated run is refused."""
    try:
        run = json.loads((folder / "run.json").read_bytes())
    except (OSError, ValueError):
        return folder
    if not isinstance(run, dict) or not {"ingest", "recipe"} & set(run):
        return folder
    if "recipe" in run:
        raise InputError(
            f"{folder} is a curated run, not a corpus; name {folder / 'mixture'} to curate its mixture again"
        )
    if not (folder / "manifest.json").is_file():
        raise InputError(
            f"the ingest in {folder} is not finished; run the same `curator ingest` again, it does only the rest"
        )
    return folder / "documents"


def _files_in(folder: Path) -> Iterator[Path]:
    """Every file below, hidden ones and what others are still writing left out."""
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (
            Path(root, name) for name in sorted(files) if not name.startswith(".") and not name.endswith(".tmp")
        )


def _counted(name: str, ignored: Counter[str]) -> str | None:
    kind = format_of(name)
    if kind is None:
        ignored[PurePosixPath(name).suffix.lower() or "(no suffix)"] += 1
    return kind


def _nothing_known(given: str, names: Sequence[str]) -> InputError:
    endings = Counter(PurePosixPath(name).suffix or "(no suffix)" for name in names).most_common(3)
    return InputError(
        f"{given} holds no {' or '.join(sorted(_BY_SUFFIX))} file (also {', '.join(COMPRESSED)}), "
        f"only {', '.join(f'{n} {suffix}' for suffix, n in endings)}; rename them, or name one file to have it recognised"
    )


def _supplier(path: Path, root: Path) -> str:
    """The first folder below `root`, else the root's own name: shards of one crawl share a source."""
    parts = path.relative_to(root).parts
    return parts[0] if len(parts) > 1 else root.resolve().name


def _local(path: Path, name: str, source: str, kind: str) -> Source:
    try:
        return Source(str(path), name, source, kind, path.stat().st_size, file_sha256(path))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}; mend its permissions or leave it out") from error


def _recognised(path: Path) -> str:
    """A named file's format: by its name, else by its first bytes; text that is nothing else is one document."""
    return format_of(path.name) or _by_content(_head(path))


def _by_content(head: bytes) -> str:
    if head.startswith(b"\x1f\x8b"):
        head = _inflated(head)
    elif head.startswith(b"\x28\xb5\x2f\xfd"):
        with contextlib.suppress(zstandard.ZstdError):
            head = zstandard.ZstdDecompressor().stream_reader(head).read(4096)
    for magic, kind in (
        (b"PAR1", "parquet"),
        (b"ARROW1", "arrow"),
        (b"WARC/", "warc"),
        (b"filedesc:", "warc"),
        (b"{", "lines"),
    ):
        if head.lstrip().startswith(magic):
            return kind
    return "whole"


def _head(path: Path) -> bytes:
    with open(path, "rb") as file:
        return file.read(1 << 18)  # a compressed block may be that long


def _inflated(head: bytes) -> bytes:
    with_errors = zlib.decompressobj(wbits=31)
    try:
        return with_errors.decompress(head, 4096)
    except zlib.error:
        return b""


# --- Remote addresses ----------------------------------------------------------------------------


def _remote(given: str, source: str | None, ignored: Counter[str]) -> Iterator[Source]:
    try:
        fs, path = url_to_fs(given)
        names = fs.glob(path) if glob.has_magic(path) else fs.find(path) if fs.isdir(path) else [path]
        files = [(name, fs.info(name)) for name in sorted(names)]
    except ImportError as error:
        raise InputError(f"{given} needs a package that is not installed: {error}") from error
    except Exception as error:  # each protocol's library raises errors of its own
        raise InputError(f"cannot reach {given}: {type(error).__name__}: {_short(error)}") from error
    single = not glob.has_magic(path) and len(files) == 1
    for name, info in files:
        if info.get("type") == "directory":
            continue
        base = PurePosixPath(urlsplit(name).path if "://" in name else name)
        kind = format_of(base.name) if single else _counted(base.name, ignored)
        if kind is None and single:
            raise _nothing_known(given, [base.name])
        if kind:
            inside = not glob.has_magic(path) and name.startswith(path.rstrip("/") + "/")
            relative = name.removeprefix(path).lstrip("/") if inside else base.name
            yield _remote_source(fs.unstrip_protocol(name), relative, source or stem_of(base.name), kind, info)
    if not files:
        raise InputError(f"nothing found at {given}")


_STAMPS: Final = ("ETag", "etag", "sha256", "md5Hash", "LastModified", "last_modified", "mtime", "updated", "size")


def _remote_source(address: str, name: str, source: str, kind: str, info: Mapping[str, Any]) -> Source:
    said = [f"{key}={info[key]}" for key in _STAMPS if info.get(key) is not None]
    stamp = hashlib.sha256("\n".join([address, *said]).encode()).hexdigest()
    return Source(address, name, source, kind, int(info.get("size") or 0), stamp, remote=True)


def fetch(source: Source, to: Path) -> Path:
    """Copy a remote file to `to`, whole or not at all; a local one stays where it is. Raises `InputError`."""
    if not source.remote:
        return source.path
    if to.exists():
        return to
    with writing(to) as temporary:
        try:
            fs, path = url_to_fs(source.address)
            fs.get_file(path, str(temporary))
        except Exception as error:
            raise InputError(
                f"cannot fetch {source.address}: {type(error).__name__}: {_short(error)}; run the same command again, it does only the rest"
            ) from error
        if source.bytes and temporary.stat().st_size != source.bytes:
            raise InputError(
                f"{source.address} came as {temporary.stat().st_size:,} bytes instead of {source.bytes:,}; run the same command again"
            )
    return to


def _short(error: Exception) -> str:
    return (str(error).splitlines() or ["no reason given"])[0][:200]
