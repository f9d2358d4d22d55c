"""The mixture written in the formats that other loaders read: WebDataset, MosaicML MDS, Megatron's indexed data.

    export_webdataset(CuratedDataset("out", seed=1), "out-wds")
    export_mds(CuratedDataset("out", seed=1), "out-mds")
    export_megatron(CuratedDataset("out", seed=1), "out-megatron", "tokenizer.json", end="<|endoftext|>")

Each writes the samples that iterating gives, in that order, copies of weights above 1 repeated, and needs none of those
loaders. A folder appears whole or not at all. The same dataset gives the same bytes.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import shutil
import struct
import tarfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curator.errors import OutputError
from curator.loader import CuratedDataset, Sample
from curator.loading.packing import read_tokenizer, token_id, tokenizer_bytes

_DOCUMENTS: Final = 64  # tokenised at once
_MDS_LIMIT: Final = 1 << 26  # bytes of a shard, MosaicML's own default; its offsets are 32 bits
_MEGATRON_MAGIC: Final = b"MMIDIDX\x00\x00"  # megatron/core/datasets/indexed_dataset.py, version 1
_MEGATRON_KINDS: Final = {"uint16": 8, "int32": 4}


def export_webdataset(dataset: CuratedDataset, folder: str | Path, documents: int = 10_000) -> int:
    """Write tar files of so many documents: `NUMBER.txt` is the text, `NUMBER.json` all else. Returns the documents."""
    number = 0
    with _appearing(Path(folder)) as at:
        samples = iter(dataset)
        for shard in itertools.count():
            taken = itertools.islice(samples, documents)
            first = next(taken, None)
            if first is None:
                return number
            with tarfile.open(at / f"{shard:06}.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
                for sample in itertools.chain([first], taken):
                    rest = {name: value for name, value in sample.items() if name != "text"}
                    _add(tar, f"{number:09}.txt", sample["text"] or "")
                    _add(tar, f"{number:09}.json", json.dumps(rest, default=str))
                    number += 1
    return number


def _add(tar: tarfile.TarFile, name: str, text: str) -> None:
    raw = text.encode()
    entry = tarfile.TarInfo(name)
    entry.size = len(raw)
    tar.addfile(entry, io.BytesIO(raw))


def export_mds(dataset: CuratedDataset, folder: str | Path, limit: int = _MDS_LIMIT) -> int:
    """Write MDS shards of about `limit` bytes and `index.json`, which StreamingDataset reads. Returns the documents.

    Columns: text, doc_id, source, stratum (str; null is ""), prob_synthetic, weight (float64; null is NaN); other
    columns of the dataset as JSON text.
    """
    columns = {name: "float64" if name in ("prob_synthetic", "weight") else "str" for name in sorted(dataset.columns)}
    config: dict[str, Any] = {
        "column_encodings": list(columns.values()),
        "column_names": list(columns),
        "column_sizes": [8 if kind == "float64" else None for kind in columns.values()],
        "compression": None,
        "format": "mds",
        "hashes": [],
        "size_limit": limit,
        "version": 2,
    }
    head = json.dumps(config, sort_keys=True).encode()
    shards, documents = [], 0
    with _appearing(Path(folder)) as at:
        for number, records in enumerate(_filled((_record(s, columns) for s in dataset), limit - len(head) - 8)):
            name = f"shard.{number:05}.mds"
            begin = 4 + 4 * (len(records) + 1) + len(head)
            ends = np.cumsum([begin, *map(len, records)]).astype("<u4")
            raw = struct.pack("<I", len(records)) + ends.tobytes() + head + b"".join(records)
            (at / name).write_bytes(raw)
            told = {"basename": name, "bytes": len(raw), "hashes": {}}
            shards.append(config | {"raw_data": told, "samples": len(records), "zip_data": None})
            documents += len(records)
        (at / "index.json").write_text(json.dumps({"shards": shards, "version": 2}, sort_keys=True), "utf-8")
    return documents


def _record(sample: Sample, columns: dict[str, str]) -> bytes:
    """One document: the sizes of its texts, then all values."""
    values = [_value(sample[name], kind, name) for name, kind in columns.items()]
    sizes = [len(raw) for raw, kind in zip(values, columns.values(), strict=True) if kind == "str"]
    return np.array(sizes, "<u4").tobytes() + b"".join(values)


def _value(value: Any, kind: str, name: str) -> bytes:
    if kind == "float64":
        return struct.pack("<d", float("nan") if value is None else value)
    if value is None or isinstance(value, str):
        return (value or "").encode()
    return json.dumps(value, default=str).encode()


def _filled(records: Iterator[bytes], limit: int) -> Iterator[list[bytes]]:
    """Gather records, with four bytes each for their place, up to a limit; one above it stands alone."""
    held: list[bytes] = []
    weighed = 0
    for record in records:
        if held and weighed + len(record) + 4 > limit:
            yield held
            held, weighed = [], 0
        held.append(record)
        weighed += len(record) + 4
    if held:
        yield held


def export_megatron(
    dataset: CuratedDataset, folder: str | Path, tokenizer: str | Path, *, end: str | None = None, name: str = "text"
) -> int:
    """Write Megatron's `NAME.bin` and `NAME.idx`, one sequence a document, and `NAME.ids.parquet`. Returns the tokens.

    Row i of the side file names document i: doc_id, source, tokens. `end` is put after each document. Tokens are
    uint16 where the vocabulary allows, else int32. Megatron is pointed at `FOLDER/NAME`.
    """
    raw = tokenizer_bytes(Path(tokenizer))
    reading = read_tokenizer(raw, Path(tokenizer))
    last = [] if (found := token_id(reading, end)) is None else [found]
    kind = "uint16" if reading.get_vocab_size() <= 1 << 16 else "int32"
    sizes: list[int] = []
    owners: list[tuple[bytes, str | None]] = []
    samples = iter(dataset)
    with _appearing(Path(folder)) as at:
        with (at / f"{name}.bin").open("wb") as file:
            while taken := list(itertools.islice(samples, _DOCUMENTS)):
                encoded = reading.encode_batch([s["text"] or "" for s in taken], add_special_tokens=False)
                for sample, one in zip(taken, encoded, strict=True):
                    tokens = np.array(one.ids + last, f"<{np.dtype(kind).str[1:]}")
                    file.write(tokens.tobytes())
                    sizes.append(len(tokens))
                    owners.append((uuid.UUID(sample["doc_id"]).bytes, sample["source"]))
        (at / f"{name}.idx").write_bytes(_megatron_index(sizes, kind))
        pq.write_table(_owners(owners, sizes), at / f"{name}.ids.parquet", compression="zstd")
    return sum(sizes)


def _megatron_index(sizes: list[int], kind: str) -> bytes:
    """Version 1: magic, version, kind, sequences, document bounds; then sizes, byte offsets, bounds."""
    n = len(sizes)
    length = np.array(sizes, "<i4")
    starts = np.cumsum([0, *sizes[:-1]], dtype="<i8")[:n] * np.dtype(kind).itemsize
    head = _MEGATRON_MAGIC + struct.pack("<QBQQ", 1, _MEGATRON_KINDS[kind], n, n + 1)
    return head + length.tobytes() + starts.tobytes() + np.arange(n + 1, dtype="<i8").tobytes()


def _owners(owners: list[tuple[bytes, str | None]], sizes: list[int]) -> pa.Table:
    ids = pa.ExtensionArray.from_storage(pa.uuid(), pa.array([doc_id for doc_id, _ in owners], pa.binary(16)))
    source = pa.array([source for _, source in owners], pa.string())
    return pa.table({"doc_id": ids, "source": source, "tokens": pa.array(sizes, pa.int64())})


@contextlib.contextmanager
def _appearing(folder: Path) -> Iterator[Path]:
    """Give a temporary folder beside `folder` to write in; it takes that name when all is written."""
    if folder.exists():
        raise OutputError(f"{folder} is there already: give a folder that is not, or remove it")
    temporary = folder.with_name(folder.name + ".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
    except OSError as error:
        raise OutputError(f"{temporary} cannot be made ({error}); give another folder") from error
    try:
        yield temporary
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    temporary.rename(folder)
