"""Files that are whole or absent: temporary file, atomic rename, receipt.

A receipt says under which key (content and configuration hashes) a file was made and what
its bytes hash to. A run killed anywhere finds by the receipts what is left to do.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curator.errors import OutputError
from curator.ids import file_sha256, fingerprint

BATCH_ROWS: Final = 512  # rows in one row group: what a measure sees at once
BATCH_BYTES: Final = 16 << 20  # text in one row group; one larger document still gets one of its own
# of documents, and hardly ever the same twice
_DISTINCT: Final = {"text", "record_id", "url", "doc_id", "cluster", "raw_sha256", "text_sha256", "payload_digest"}
COMPRESSIONS: Final = {"zstd": 3, "lz4": None}  # with their levels
_MOST_KINDS: Final = 16  # whole weights kept apart
_OUT_OF_SPACE: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@dataclass(frozen=True)
class Receipt:
    """What a finished file was made from, and what it holds."""

    key: str
    sha256: str
    bytes: int
    rows: int | None = None


def receipt_path(root: Path, path: Path) -> Path:
    """Where the receipt of `path` lies."""
    return root / "receipts" / (path.relative_to(root).as_posix() + ".json")


def read_receipt(root: Path, path: Path) -> Receipt | None:
    """Return the receipt of a finished file; None when it must be made (again)."""
    try:
        receipt = Receipt(**json.loads(receipt_path(root, path).read_bytes()))
        return receipt if path.stat().st_size == receipt.bytes else None
    except (OSError, ValueError, TypeError):
        return None


def is_done(root: Path, path: Path, key: str) -> bool:
    """True when `path` was finished under this very key."""
    receipt = read_receipt(root, path)
    return receipt is not None and receipt.key == key


@contextlib.contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Yield a temporary path that becomes `path` only if the block ends well; disk errors become `OutputError`."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        _sync(temporary)
        os.replace(temporary, path)
    except OSError as error:
        raise _output_error(error, path) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def _output_error(error: OSError, path: Path) -> OutputError:
    if error.errno in _OUT_OF_SPACE:
        return OutputError(
            f"no space left to write {path}; free some and run the same command again, it does only the rest"
        )
    return OutputError(f"cannot write {path}: {error.strerror or error}; choose another folder with -o")


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically, keys in the order they come in: a recipe's rules have one."""
    with writing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1, ensure_ascii=False, default=str) + "\n")


def write_receipt(root: Path, path: Path, key: str, rows: int | None = None) -> Receipt:
    """Record that `path` is finished under `key`."""
    receipt = Receipt(key, file_sha256(path), path.stat().st_size, rows)
    write_json(receipt_path(root, path), asdict(receipt))
    return receipt


def write_parquet(
    root: Path, path: Path, schema: pa.Schema, batches: Iterable[pa.RecordBatch], key: str, compression: str = "zstd"
) -> Receipt:
    """Write one row group a batch, atomically, then the receipt; the same batches give the same bytes.

    Texts, ids, vectors and fractions are written as they are: a dictionary of values that never come twice is larger than
    they are, and a reader must copy them out of it once more.
    """
    rows = 0
    with (
        writing(path) as temporary,
        pq.ParquetWriter(
            temporary,
            schema,
            compression=compression,
            compression_level=COMPRESSIONS[compression],
            use_dictionary=repeating(schema),
        ) as writer,
    ):
        for batch in batches:
            writer.write_batch(batch, row_group_size=max(1, batch.num_rows))
            rows += batch.num_rows
    return write_receipt(root, path, key, rows)


def repeating(schema: pa.Schema) -> list[str]:
    """Parquet's paths of the columns whose values come again and again: names, numbers, times; for a dictionary."""
    return [path for column in schema for path in _leaves(column.name, column.type) if column.name not in _DISTINCT]


def _leaves(path: str, kind: pa.DataType) -> Iterator[str]:
    if pa.types.is_struct(kind):
        for part in kind:
            yield from _leaves(f"{path}.{part.name}", part.type)
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
        yield from _leaves(f"{path}.list.element", kind.value_type)
    elif pa.types.is_string(kind) or pa.types.is_integer(kind) or pa.types.is_temporal(kind):
        yield path


def alike(batches: Iterable[pa.RecordBatch], by: str = "weight") -> Iterator[pa.RecordBatch]:
    """Rows of one whole weight together, in batches as full as `BATCH_ROWS` and `BATCH_BYTES` allow.

    A loader reads a row group once for each copy of its documents: rows of weight 1 beside one of weight 4 would be read
    four times. Weights that are not whole, too many to be kept apart, stay in one another's company. The order
    within each weight is kept.
    """
    held: dict[float, list[pa.RecordBatch]] = {}
    for batch in batches:
        kinds = _kinds(batch[by])
        for kind in np.unique(kinds):
            rows = [*held.pop(float(kind), []), batch.filter(pa.array(kinds == kind))]
            *full, rest = rebatch(pa.Table.from_batches(rows).combine_chunks().to_batches()[0])
            yield from full
            held[float(kind)] = [rest]
    for kind in sorted(held):
        yield from held[kind]


def _kinds(weight: pa.Array) -> npt.NDArray[np.float64]:
    """Whole weights as they are; one number for all others.  # [rows]"""
    value = pc.fill_null(weight.cast(pa.float64()), -1.0).to_numpy()
    whole: npt.NDArray[np.float64] = np.where(
        (value == np.floor(value)) & (value >= 0) & (value <= _MOST_KINDS), value, -1.0
    )
    return whole


def aligned_batches(columns: Sequence[tuple[Path, Sequence[str]]]) -> Iterator[pa.RecordBatch]:
    """Read named columns of several files that share their row groups, side by side, one row group at a time."""
    with contextlib.ExitStack() as stack:
        files = [(stack.enter_context(pq.ParquetFile(path)), list(names)) for path, names in columns if names]
        groups = {file.num_row_groups for file, _ in files}
        if len(groups) != 1:
            raise OutputError(
                f"files of one shard disagree on their row groups: {[str(p) for p, _ in columns]}; delete the folder and rerun"
            )
        for group in range(groups.pop()):
            yield _side_by_side([file.read_row_group(group, columns=names) for file, names in files])


def _side_by_side(tables: Sequence[pa.Table]) -> pa.RecordBatch:
    fields = [field for table in tables for field in table.schema]
    arrays = [
        column.combine_chunks() if column.num_chunks != 1 else column.chunk(0) for t in tables for column in t.columns
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))


def rebatch(batch: pa.RecordBatch, text: str = "text") -> Iterator[pa.RecordBatch]:
    """Cut a batch so that no piece holds more than `BATCH_ROWS` rows or, unless it is one row, `BATCH_BYTES` of text."""
    lengths = pc.fill_null(pc.binary_length(batch[text]), 0).to_pylist()
    start, size = 0, 0
    for row, length in enumerate(lengths):
        if row > start and (row - start >= BATCH_ROWS or size + length > BATCH_BYTES):
            yield batch.slice(start, row - start)
            start, size = row, 0
        size += length
    if batch.num_rows > start:
        yield batch.slice(start)


def task_key(*parts: Any) -> str:
    """Fingerprint of everything a task's output depends on."""
    return fingerprint(list(parts))


def sweep(root: Path) -> None:
    """Remove what a killed run left half-written, a database's own log beside it too."""
    for leftover in root.rglob("*.tmp*"):
        with contextlib.suppress(OSError):
            leftover.unlink()
