"""The mixture's files of a finished run: what the manifest names, the row groups they hold, and reading one."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from curator import ids
from curator.errors import InputError

I64 = npt.NDArray[np.int64]

_OPEN: Final = 128  # files that a thread keeps open, and their footers in memory


class Groups(NamedTuple):
    """The mixture's row groups, in the order of the files.  # each [groups] int64"""

    file: I64
    inner: I64  # number within its file
    rows: I64
    size: I64  # uncompressed bytes
    copies: I64  # whole weight that all rows share, by the statistics; -1 where they do not tell


class Mixture:
    """The mixture of a finished run, read one row group at a time; of the run needs manifest.json and mixture/ only.

    Raises `InputError` for a run that is not finished, and a file that is missing, damaged or changed in size.
    """

    def __init__(self, out: Path) -> None:
        """Read the manifest, and the footers of the files it names."""
        manifest = _manifest(out)
        entries = {name: entry for name, entry in sorted(manifest["files"].items()) if _of_mixture(name)}
        self.out, self.fingerprint = out, str(manifest["fingerprint"])
        self.files_hash = ids.fingerprint(entries)
        self._paths = _present(out, entries)
        self.groups, self.schema = _groups(self._paths)
        self._own = threading.local()

    def __getstate__(self) -> dict[str, Any]:
        """What a worker process is given: files are opened again there."""
        return {name: value for name, value in self.__dict__.items() if name != "_own"}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        """Begin with no file open."""
        self.__dict__.update(state)
        self._own = threading.local()

    def runs(self, group: I64, visits: I64) -> list[I64]:
        """Part visits to row groups where one does not follow the other in a file: each part can be read at once."""
        file, inner = self.groups.file[group[visits]], self.groups.inner[group[visits]]
        return np.split(visits, np.flatnonzero((np.diff(file) != 0) | (np.diff(inner) != 1)) + 1)

    def read(self, group: int, columns: Sequence[str], many: int = 1) -> pa.Table:
        """Read as many row groups of a file from one on, one chunk a column; columns that its file lacks are left out.

        In this thread alone, and nothing is read ahead in others: workers and ranks share the machine.
        """
        number, inner = int(self.groups.file[group]), int(self.groups.inner[group])
        try:
            file = self._file(number)
            table = file.read_row_groups(range(inner, inner + many), columns=list(columns), use_threads=False)
        except (OSError, pa.ArrowException, IndexError) as error:
            path = self._paths[number]
            raise InputError(f"{path} cannot be read ({_line(error)}); see `curator verify {self.out}`") from error
        return table.combine_chunks()

    def _file(self, number: int) -> pq.ParquetFile:
        """An open file; each thread has its own, so that threads may read side by side, and keeps those it used last."""
        files: dict[int, pq.ParquetFile] = self._own.__dict__.setdefault("files", {})
        file = files.pop(number, None) or pq.ParquetFile(pa.OSFile(str(self._paths[number])), pre_buffer=False)
        files[number] = file
        if len(files) > _OPEN:
            files.pop(next(iter(files))).close(force=True)
        return file


def _manifest(out: Path) -> dict[str, Any]:
    path = out / "manifest.json"
    try:
        found = json.loads(path.read_bytes())
        _ = found["fingerprint"], found["files"].items()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(
            f"{out} holds no finished run, {path.name} is missing: run the same `curator filter` again, it does only the rest"
        ) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path} cannot be read as a manifest ({error}); run the same `curator filter` again"
        ) from error
    if found.get("format") != 1:
        raise InputError(f"{path} has format {found.get('format')}, this curator reads format 1; update curator")
    return dict(found)


def _line(error: Exception) -> str:
    """An error's text on one line."""
    return " ".join(str(error).split())


def _of_mixture(name: str) -> bool:
    return name.startswith("mixture/") and name.endswith(".parquet")


def _present(out: Path, entries: Mapping[str, Mapping[str, Any]]) -> list[Path]:
    """Check that every listed file is there in its full size."""
    paths = [out / name for name in entries]
    for path, entry in zip(paths, entries.values(), strict=True):
        try:
            size = path.stat().st_size
        except OSError as error:
            raise InputError(
                f"{path} is listed in the manifest but cannot be found ({error.strerror}); see `curator verify {out}`"
            ) from error
        if "bytes" in entry and size != entry["bytes"]:
            raise InputError(
                f"{path} has {size:,} bytes, the manifest says {entry['bytes']:,}; see `curator verify {out}`"
            )
    return paths


def _groups(paths: Sequence[Path]) -> tuple[Groups, pa.Schema]:
    """Read the footers: all row groups that hold rows, and the columns of all files."""
    found: list[tuple[int, int, int, int, int]] = []
    schemas: list[pa.Schema] = []
    for number, path in enumerate(paths):
        try:
            with pq.ParquetFile(path) as file:
                footer, schema = file.metadata, file.schema_arrow.remove_metadata()
        except (OSError, pa.ArrowException) as error:
            raise InputError(
                f"{path} cannot be read ({_line(error)}); see `curator verify {path.parent.parent}`"
            ) from error
        schemas.append(schema)
        weight = next((i for i in range(footer.num_columns) if footer.schema.column(i).path == "weight"), None)
        for inner in range(footer.num_row_groups):
            group = footer.row_group(inner)
            if group.num_rows:
                copies = 1 if weight is None else _common_weight(group.column(weight))
                found.append((number, inner, group.num_rows, group.total_byte_size, copies))
    columns = np.array(found, dtype=np.int64).reshape(-1, 5).T
    return Groups(*columns), pa.unify_schemas(schemas) if schemas else pa.schema([])


def _common_weight(column: pq.ColumnChunkMetaData) -> int:
    """The whole number all weights of a row group are; -1 when the statistics do not say so."""
    told = column.statistics
    if told is None or not told.has_min_max or told.null_count or told.min != told.max:
        return -1
    return int(told.min) if told.min >= 0 and float(told.min).is_integer() else -1
