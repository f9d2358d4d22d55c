"""The output folder: whose it is, what is in it, and the manifest that says it is finished.

OUT/run.json           what this run is: recipe, inputs, fingerprint (written first)
OUT/ingest/            what `curator ingest` would have made of sources that are not Parquet (ingest.py)
OUT/documents/         what was read, one row for every input row
OUT/signals/<stage>/   what each stage measured, row for row beside documents/
OUT/clusters.parquet   duplicate clusters, row for row
OUT/learned/           what stages learned from the whole corpus
OUT/against.parquet    what earlier runs hold of it (--against), row for row
OUT/kept.index         sorted hashes of the documents this run kept, for later runs
OUT/ledger/            one row for every input row: signals, verdict, outcome
OUT/mixture/           the curated documents
OUT/audit.duckdb       the account in SQL
OUT/receipts/          one for every file above: what it was made from, what it hashes to
OUT/manifest.json      written last; its absence means unfinished
OUT/log.jsonl          when and how fast (the only file that differs between two equal runs)
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from curator.errors import InputError, OutputError
from curator.ids import fingerprint
from curator.shards import read_receipt, receipt_path, sweep, write_json


class Workspace:
    """One run's folder, held by one process at a time."""

    def __init__(self, root: Path) -> None:
        """Name the folder; nothing is touched until `claimed`."""
        self.root = root

    @contextmanager
    def claimed(self, identity: Mapping[str, Any]) -> Iterator[Workspace]:
        """Hold the folder for the run with this identity, new or begun before.

        Raises `OutputError` when the folder holds another run, something else, or is held by another process.
        """
        self._create()
        with self._locked():
            self._own(identity)
            sweep(self.root)
            yield self

    def _create(self) -> None:
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"cannot make folder {self.root}: {error.strerror}; choose another with -o") from error

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            lock = open(self.root / ".lock", "w")  # noqa: SIM115 - held until the run ends
        except OSError as error:
            raise OutputError(
                f"cannot write in {self.root}: {error.strerror}; choose another folder with -o"
            ) from error
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise OutputError(
                    f"{self.root} is in use by another curator process; wait for it, or choose another folder with -o"
                ) from error
            yield

    def _own(self, identity: Mapping[str, Any]) -> None:
        held = self.identity()
        if held is None:
            foreign = sorted(
                p.name
                for p in self.root.iterdir()
                if p.name not in (".lock", "log.jsonl", "ingest") and not p.name.endswith(".tmp")
            )
            if foreign:
                raise OutputError(
                    f"{self.root} holds files that are no curator run ({', '.join(foreign[:3])}{'…' if len(foreign) > 3 else ''}); choose another folder with -o"
                )
            write_json(self.root / "run.json", identity)
        elif fingerprint(held) != fingerprint(json.loads(json.dumps(identity, default=str))):
            raise OutputError(
                f"{self.root} holds another run ({describe(held)}), this one is {describe(identity)}: "
                f"{_difference(held, identity)}; choose another folder with -o, or delete {self.root} first"
            )

    def free_for_ingest(self) -> None:
        """Refuse a folder with anything in it but a run and its ingest, before hours are spent on reading."""
        if not self.root.is_dir() or (self.root / "ingest").is_dir():
            return
        held = sorted(p.name for p in self.root.iterdir() if p.name not in (".lock", "log.jsonl"))
        if held:
            raise OutputError(
                f"{self.root} is not empty ({', '.join(held[:3])}{'…' if len(held) > 3 else ''}); choose another folder with -o"
            )

    def identity(self) -> dict[str, Any] | None:
        """What run the folder holds; None when it holds none."""
        try:
            found = json.loads((self.root / "run.json").read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise OutputError(
                f"{self.root}/run.json cannot be read ({error}); choose another folder with -o"
            ) from error
        return found if isinstance(found, dict) else None

    @property
    def run_id(self) -> str:
        """The run's fingerprint."""
        return fingerprint(self.identity())

    def manifest(self) -> dict[str, Any] | None:
        """The manifest of a finished run; None while it is not finished."""
        with suppress(OSError, ValueError):
            found = json.loads((self.root / "manifest.json").read_bytes())
            return found if isinstance(found, dict) and found.get("fingerprint") == self.run_id else None
        return None

    def finish(self, summary: Mapping[str, Any], contents: Mapping[str, str]) -> None:
        """Write the manifest: every file with its hash. `contents` gives those whose bytes vary (a database) a hash of what they hold."""
        files = {}
        for path in sorted(self.root.rglob("*")):
            name = path.relative_to(self.root).as_posix()
            receipt = read_receipt(self.root, path) if path.is_file() and not name.startswith("receipts/") else None
            if receipt is not None:
                files[name] = {"sha256": receipt.sha256, "bytes": receipt.bytes, "rows": receipt.rows}
        files |= {name: {"content": content} for name, content in contents.items()}
        write_json(
            self.root / "manifest.json", {"format": 1, "fingerprint": self.run_id, "summary": summary, "files": files}
        )

    def log(self, **event: Any) -> None:
        """Append an event with the time to the log."""
        with suppress(OSError), open(self.root / "log.jsonl", "a") as file:
            file.write(json.dumps({"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), **event}) + "\n")

    def adopt(self, other: Path, name: str) -> None:
        """Take over a finished file of another run with its receipt: a hard link where the disk allows, else a copy."""
        for source, target in (
            (other / name, self.root / name),
            (receipt_path(other, other / name), receipt_path(self.root, self.root / name)),
        ):
            if target.exists():
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(source, target)
            except OSError:
                shutil.copyfile(source, target)


def finished(root: Path) -> dict[str, Any]:
    """The manifest of a finished run; `InputError` when there is none."""
    found = Workspace(root).manifest() if root.is_dir() else None
    if found is None:
        what = (
            "is not finished: run the same `curator filter` again, it does only the rest"
            if (root / "run.json").is_file()
            else "is not a folder that `curator filter` wrote"
        )
        raise InputError(f"{root} {what}")
    return found


def describe(identity: Mapping[str, Any]) -> str:
    """One run in a few words."""
    names = [i["name"] for i in identity.get("inputs", [])]
    shown = ", ".join(names[:2]) + (f" and {len(names) - 2} more" if len(names) > 2 else "")
    return (
        f"ingest of {shown}" if "ingest" in identity else f"recipe {identity.get('recipe', {}).get('name')} on {shown}"
    )


def _difference(held: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    wanted = json.loads(json.dumps(wanted, default=str))
    parts = [key for key in sorted({*held, *wanted}) if held.get(key) != wanted.get(key)]
    old, new = held.get("recipe", {}), wanted.get("recipe", {})
    recipe = [f"recipe.{k}" for k in sorted({*old, *new}) if old.get(k) != new.get(k)]
    derived = ("recipe", "stages", "recipe_fingerprint")  # what only follows from the recipe and the weights
    others = [part for part in parts if part not in derived]
    return "they differ in " + ", ".join([*recipe, *others] or parts)
