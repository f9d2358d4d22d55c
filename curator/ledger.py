"""The ledger: one row for every input row, with all that was measured, decided and done; and the questions people ask of it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curator.errors import AccountError
from curator.repair import REPAIRED, repaired_columns, versions
from curator.schema import DOCUMENTS, field, is_scalar
from curator.shards import aligned_batches, alike, is_done, read_receipt, receipt_path, task_key, write_parquet
from curator.uuids import is_id, letters

# What became of a document. Every input row has exactly one; together they add up to the inputs.
OUTCOMES: Final = ("quarantined", "dropped", "duplicate", "left_out", "curated")
OUTCOME_DOC: Final = {
    "quarantined": "could not be read as a document",
    "dropped": "a rule fired",
    "duplicate": "another member of its cluster stands for it",
    "left_out": "kept by the rules, not drawn for the mixture",
    "curated": "in the mixture",
}

VERDICT: Final = pa.schema(
    [
        field(
            "outcome",
            pa.string(),
            "quarantined, dropped, duplicate, left_out or curated: exactly one for every input row",
            nullable=False,
        ),
        field(
            "keep",
            pa.bool_(),
            "true when no rule fired and the document stands for itself or its cluster; null in quarantine",
        ),
        field(
            "reasons",
            pa.list_(pa.string()),
            "every rule that fired; duplicate; mixture when it was not drawn",
            nullable=False,
        ),
        field(
            "unmeasured",
            pa.list_(pa.string()),
            "columns that a rule reads and that are null for this document",
            nullable=False,
        ),
        field("cluster", pa.uuid(), "doc_id of the centre of its duplicate cluster; its own when it has no duplicate"),
        field("duplicate_kind", pa.string(), "exact or near; null when it has no duplicate"),
        field(
            "similarity",
            pa.float32(),
            "true Jaccard similarity of its shingles to the cluster's centre; 1 for exact duplicates",
        ),
        field(
            "survivor",
            pa.uuid(),
            "doc_id of the document that stands for the cluster, or of the one an earlier run holds already",
        ),
        field(
            "survivor_similarity",
            pa.float32(),
            "true Jaccard similarity of its shingles to that document; members may be less alike than the threshold, for each reaches it with the centre; to a document of an earlier run as the signatures estimate it",
        ),
        field("earlier_run", pa.string(), "run named by --against that holds the document already; null otherwise"),
        field("stratum", pa.string(), "cell of the mixture it was counted in; null when it was not kept"),
        field("reference", pa.bool_(), "of the snapshot of trusted human text given by --reference", nullable=False),
        field("topic", pa.string(), "topic of the text, a cluster of meaning; null where none was found"),
        field(
            "inclusion",
            pa.float64(),
            "probability with which the mixture drew it, at least once; null when it was not kept",
        ),
        field(
            "expected_copies",
            pa.float64(),
            "copies the mixture takes of it on average: mixture_base x mixture_cap x mixture_margins, at most mixture.max_repeats; null when it was not kept",
        ),
        field(
            "mixture_base",
            pa.float64(),
            "copies one would take if nothing bound, by P(human), quality and duplicates; null when it was not kept",
        ),
        field(
            "mixture_cap",
            pa.float64(),
            "factor of the caps on synthetic text: below 1 it pays for them, above 1 it makes room; null when it was not kept",
        ),
        field(
            "mixture_margins",
            pa.float64(),
            "factor of margins, floors, snapshot and budget; null when it was not kept",
        ),
        field("weight", pa.float64(), "copies in the mixture, as a loader should show it; null outside the mixture"),
    ]
)

# What the mixture's files hold of each curated document, before the columns that travel through.
MIXTURE_COLUMNS: Final = (
    "doc_id", "source", "record_id", "text", "url", "date", "language", "declared_language", "declared_origin",
    "prob_synthetic", "prob_calibrated", "prob_pooled", "ai_path", "quality", "cluster", "stratum", "topic", "weight",
)  # fmt: skip


def _as_uuid(column: pa.Field) -> pa.Field:
    return column.with_type(pa.uuid()) if column.name == "doc_id" else column


def _as_letters(column: pa.Field) -> pa.Field:
    """Ids of the mixture are written out: neither Spark nor `datasets` reads Parquet's UUIDs."""
    return column.with_type(pa.string()) if column.type == pa.uuid() else column


def ledger_schema(signals: pa.Schema) -> pa.Schema:
    """Document columns without the text, every signal that is not a vector, the verdict."""
    known = [_as_uuid(column) for column in DOCUMENTS if column.name != "text"]
    scalar = [column for column in signals if is_scalar(column)]
    return pa.schema([*known, *scalar, *VERDICT])


def mixture_schema(
    ledger: pa.Schema, extra: pa.Schema, repair: bool = False
) -> tuple[pa.Schema, tuple[tuple[str, str], ...]]:
    """The curated documents' columns, and how travelling columns are renamed: a name that is taken becomes `input_<name>`.

    Repaired texts bring their hash and that of the original with them.
    """
    text = DOCUMENTS.field("text")
    own = [
        text if name == "text" else _as_letters(ledger.field(name))
        for name in MIXTURE_COLUMNS
        if name == "text" or name in ledger.names
    ]
    if repair:
        own[own.index(text) + 1 : own.index(text) + 1] = list(REPAIRED)
    taken = {*MIXTURE_COLUMNS, *ledger.names, *(column.name for column in own)}
    travelling = [column.with_name(_free_name(column.name, taken)) for column in extra]
    renamed = tuple((old.name, new.name) for old, new in zip(extra, travelling, strict=True))
    return pa.schema([*own, *travelling]), renamed


def _free_name(name: str, taken: set[str]) -> str:
    while name in taken:
        name = f"input_{name}"
    taken.add(name)
    return name


def uuids(ids: npt.NDArray[np.uint64], valid: npt.NDArray[np.bool_] | None = None) -> pa.ExtensionArray:
    """Ids as an Arrow UUID column.  ids: [n, 2] uint64; null where not valid"""
    raw = pa.py_buffer(np.ascontiguousarray(ids).tobytes())
    bitmap = None if valid is None or valid.all() else pa.py_buffer(np.packbits(valid, bitorder="little").tobytes())
    storage = pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), len(ids), [bitmap, raw])
    return pa.ExtensionArray.from_storage(pa.uuid(), storage)


def masked(values: npt.NDArray[np.generic], valid: npt.NDArray[np.bool_], type_: pa.DataType) -> pa.Array:
    """Values as an Arrow column, null where not valid."""
    return pa.array(values, type_, mask=~valid)


def batch(schema: pa.Schema, columns: Mapping[str, pa.Array | pa.ChunkedArray]) -> pa.RecordBatch:
    """Put columns in the schema's order and types."""
    arrays = []
    for column in schema:
        value = columns[column.name]
        value = value.combine_chunks() if isinstance(value, pa.ChunkedArray) else value
        if column.type == pa.string() and is_id(value.type):
            value = letters(value)
        if column.type == pa.uuid() and value.type != pa.uuid():
            value = pa.ExtensionArray.from_storage(pa.uuid(), value)
        arrays.append(value if value.type == column.type else value.cast(column.type))
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def add_up(counts: Mapping[str, int], inputs: int) -> None:
    """Outcomes add up to inputs, or the account is void: law 1, checked in every run."""
    if sum(counts.values()) != inputs:
        raise AccountError(
            f"outcomes {dict(counts)} add up to {sum(counts.values())}, not to the {inputs} input rows; please report this"
        )


@dataclass(frozen=True)
class LedgerTask:
    """One shard's verdicts in; its rows of the ledger, and of the mixture, out."""

    root: Path
    shard: str
    rows: int
    verdicts: pa.RecordBatch  # the columns of `VERDICT`, row for row
    inputs: tuple[tuple[Path, tuple[str, ...]], ...]  # documents and signals that the ledger shows
    ledger: pa.Schema
    mixture: pa.Schema
    travelling: tuple[tuple[str, str], ...]  # (column of the input, its name in the mixture)
    repair: tuple[str, ...] = ()  # steps of `curator.repair` for the texts of the mixture
    compression: str = "zstd"  # of the mixture's file
    label: str = "account"

    @property
    def path(self) -> Path:
        """The shard's ledger."""
        return self.root / "ledger" / self.shard

    @property
    def mixture_path(self) -> Path:
        """The shard's part of the mixture; no file where nothing was drawn."""
        return self.root / "mixture" / self.shard

    def _drawn(self) -> int:
        return int(pc.sum(pc.equal(self.verdicts["outcome"], "curated")).as_py() or 0)

    def _key(self) -> str:
        receipts = [read_receipt(self.root, path) for path, _ in self.inputs]
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, self.verdicts.schema) as stream:
            stream.write_batch(self.verdicts)
        verdicts = hashlib.sha256(sink.getvalue()).hexdigest()
        return task_key(
            "account-3",
            [None if r is None else r.sha256 for r in receipts],
            verdicts,
            str(self.ledger),
            str(self.mixture),
            *versions(self.repair),
            self.compression,
        )

    def done(self) -> bool:
        """True when both files were written for these very verdicts."""
        key = self._key()
        return is_done(self.root, self.path, key) and (not self._drawn() or is_done(self.root, self.mixture_path, key))

    def run(self) -> None:
        """Write the shard's mixture, then its ledger."""
        key = self._key()
        for stale in (self.mixture_path, receipt_path(self.root, self.mixture_path)):
            stale.unlink(missing_ok=True)  # an earlier version of this code may have drawn from this shard
        if self._drawn():
            write_parquet(self.root, self.mixture_path, self.mixture, alike(self._mixture()), key, self.compression)
        write_parquet(self.root, self.path, self.ledger, self._whole(), key)

    def _whole(self) -> Iterator[pa.RecordBatch]:
        """The shard's rows in one row group: in groups of 512 a question spends its time on footers, 20 times as long."""
        rows = [self._ledger(columns) for columns, _ in self._batches(text=False)]
        yield from pa.Table.from_batches(rows, schema=self.ledger).combine_chunks().to_batches()

    def _batches(self, text: bool) -> Iterator[tuple[dict[str, pa.Array], pa.RecordBatch]]:
        """Columns by name, documents and signals and verdicts side by side, one row group at a time."""
        skipped = () if text else ("text", "extra")
        inputs = [(path, [name for name in names if name not in skipped]) for path, names in self.inputs]
        first = 0
        for rows in aligned_batches(inputs):
            verdicts = self.verdicts.slice(first, rows.num_rows)
            first += rows.num_rows
            yield (
                dict(zip(rows.schema.names, rows.columns, strict=True))
                | dict(zip(verdicts.schema.names, verdicts.columns, strict=True)),
                verdicts,
            )

    def _ledger(self, columns: Mapping[str, pa.Array]) -> pa.RecordBatch:
        return batch(self.ledger, columns)

    def _mixture(self) -> Iterator[pa.RecordBatch]:
        for columns, verdicts in self._batches(text=True):
            drawn = pc.equal(verdicts["outcome"], "curated")
            extra = columns.pop("extra", None)
            columns |= {new: pc.struct_field(extra, [old]) for old, new in self.travelling}
            chosen = self._repaired(columns, drawn) if self.repair else batch(self.mixture, columns).filter(drawn)
            if chosen.num_rows:
                yield chosen

    def _repaired(self, columns: Mapping[str, pa.Array], drawn: pa.BooleanArray) -> pa.RecordBatch:
        """The drawn rows with their texts repaired; those left out are not worth the time."""
        chosen = {name: column.filter(drawn) for name, column in columns.items()}
        return batch(self.mixture, chosen | repaired_columns(chosen["text"], self.repair))
