"""From signals to outcomes: what the conductor knows of every document, about 100 bytes each, never its text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curator.decide import Judge, Rule
from curator.ids import ids_array
from curator.ledger import OUTCOMES
from curator.origin import ORIGIN, measures_origin
from curator.readers.records import NO_TEXT_MEANT
from curator.schema import is_scalar
from curator.shards import aligned_batches
from curator.stages import Stage

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]
Bools = npt.NDArray[np.bool_]

_NAT = np.iinfo(np.int64).min


@dataclass(frozen=True)
class Shard:
    """One shard of the run: its file name, its rows, and where they begin among all rows."""

    name: str
    first: int
    rows: int


@dataclass(frozen=True)
class Judged:
    """What is known of every document once the rules have spoken.  Arrays are [docs], in corpus order."""

    ids: U64  # [docs, 2]
    source: pa.ChunkedArray  # dictionary<string>
    host: pa.ChunkedArray  # dictionary<string>; null without a url
    language: pa.ChunkedArray  # dictionary<string>; null where not measured
    declared_origin: pa.ChunkedArray  # dictionary<string>
    date_us: I64  # microseconds since 1970 UTC; lowest int64 where undated
    prob_synthetic: F64  # nan where not judged
    ai_logit: F64
    human_p: F64  # conformal p-value against trusted human text; nan where not judged
    prob_calibrated: F64  # from the text alone, calibrated in its stratum; nan where not judged
    prob_document: F64  # and what else the document itself says; nan where nothing speaks
    prob_pooled: F64  # and all other evidence, its site's too; nan where nothing speaks
    origin_threshold: F64  # `ai_logit` from which the document's stratum flags; nan where not judged
    synthetic: Bools  # flagged: human_p at most origin.target_fpr; false where not judged
    trusted: Bools  # judged, and human for the calibration: dated before models wrote for everybody
    flag_basis: str  # the trusted human text that flags rest on
    flag_warning: str  # what goes wherever a number that rests on flags goes; empty when nothing is wrong
    ai_encoder: Bools  # judged by the encoder, not by the cheap path alone
    quality: F64  # nan where not measured
    reference: Bools  # of the snapshot of trusted human text that the user gave
    verified: Bools  # synthetic text that the recipe's mixture.verified takes for checked
    n_words: I64
    text_bytes: I64
    readable: Bools
    broken: Bools  # not readable, though it should have been: pictures and error pages of a crawl do not count
    faultless: Bools  # readable, and no rule fired
    rules: tuple[Rule, ...]
    fired: dict[str, int]
    reasons: list[pa.ListArray]  # one a shard
    unmeasured: list[pa.ListArray]

    @property
    def dated(self) -> Bools:
        """Which documents have a date."""
        return np.asarray(self.date_us != _NAT)

    @property
    def words(self) -> I64:
        """What the mixture counts a document as, at least 1: its words, or its bytes where no stage counts words.  # [docs]"""
        return np.maximum(self.n_words if self.n_words.any() else self.text_bytes, 1)


_ORIGIN = ("human_p", "prob_calibrated", "prob_document", "prob_pooled", "origin_threshold")
_WANTED = (
    "doc_id",
    "source",
    "url",
    "date",
    "declared_origin",
    "quarantine",
    "language",
    "prob_synthetic",
    "ai_logit",
    "ai_path",
    "human_p",
    "prob_calibrated",
    "prob_document",
    "prob_pooled",
    "origin_threshold",
    "origin_flagged",
    "origin_trusted",
    "quality",
    "n_words",
    "text_bytes",
)


def shard_table(root: Path, shard: Shard, stages: Sequence[Stage]) -> pa.Table:
    """Everything but text and vectors that is known of one shard, read from disk; what the origin step found too."""
    inputs = measured(root, shard, stages)
    if measures_origin(stages):
        inputs.append((root / "origin" / shard.name, ORIGIN.names))
    return pa.Table.from_batches(aligned_batches(inputs))


def measured(root: Path, shard: Shard, stages: Sequence[Stage]) -> list[tuple[Path, Sequence[str]]]:
    """The files of one shard that hold its documents and what the stages measured, with their scalar columns but the text."""
    inputs: list[tuple[Path, Sequence[str]]] = [(root / "documents" / shard.name, _document_columns(root, shard))]
    for stage in stages:
        scalar = [c.name for c in stage.adds if is_scalar(c)]
        inputs.append((root / "signals" / stage.name / shard.name, scalar))
    return inputs


def _document_columns(root: Path, shard: Shard) -> list[str]:
    return [name for name in pq.read_schema(root / "documents" / shard.name).names if name != "text"]


def judge(
    root: Path,
    shards: Sequence[Shard],
    stages: Sequence[Stage],
    rules: Sequence[Rule],
    basis: tuple[str, str] = ("", ""),
    verified: Sequence[Rule] = (),
) -> Judged:
    """Judge every shard under the rules and keep the little that later decisions need.

    basis: what flags of origin rest on, and the warning that goes with them.  verified: the condition under which synthetic text
    counts as checked, or none.
    """
    kept: list[pa.Table] = []
    reasons, unmeasured, faultless, checked = [], [], [], []
    fired = {rule.reason: 0 for rule in rules}
    with Judge(tuple(rules)) as court, Judge(tuple(verified)) as checker:
        for shard in shards:
            table = shard_table(root, shard, stages)
            verdicts = court.judge(table)
            checked.append(checker.judge(table).fired.any(axis=0))
            for rule, row in zip(rules, verdicts.fired, strict=True):
                fired[rule.reason] += int(row.sum())
            reasons.append(verdicts.reasons)
            unmeasured.append(verdicts.unmeasured)
            faultless.append(
                ~verdicts.fired.any(axis=0) & pc.is_null(table["quarantine"]).to_numpy(zero_copy_only=False)
            )
            kept.append(_compact(table))
    return _judged(
        pa.concat_tables(kept, promote_options="default").unify_dictionaries(),
        np.concatenate(faultless),
        np.concatenate(checked),
        tuple(rules),
        fired,
        reasons,
        unmeasured,
        basis,
    )


def _compact(table: pa.Table) -> pa.Table:
    table = table.select([name for name in _WANTED if name in table.schema.names])
    for name, kind in (
        ("language", pa.string()),
        ("prob_synthetic", pa.float64()),
        ("ai_logit", pa.float64()),
        ("ai_path", pa.string()),
        *((name, pa.float64()) for name in _ORIGIN),
        ("origin_flagged", pa.bool_()),
        ("origin_trusted", pa.bool_()),
        ("quality", pa.float64()),
        ("n_words", pa.int64()),
        ("text_bytes", pa.int64()),
    ):
        if name not in table.schema.names:
            table = table.append_column(name, pa.nulls(table.num_rows, kind))
    host = hosts(table["url"])
    for name in ("origin_flagged", "origin_trusted"):
        table = table.set_column(table.schema.get_field_index(name), name, pc.fill_null(table[name], False))
    encoder = pc.fill_null(pc.equal(table["ai_path"], "encoder"), False)
    readable = pc.is_null(table["quarantine"])
    word = pc.utf8_slice_codeunits(pc.replace_substring_regex(table["quarantine"].cast(pa.string()), ":.*", ""), 0, 64)
    meant = pc.invert(pc.is_in(word, pa.array(NO_TEXT_MEANT)))
    table = table.drop_columns(["url", "ai_path", "quarantine"])
    table = table.append_column("host", host).append_column("ai_encoder", encoder).append_column("readable", readable)
    table = table.append_column("broken", pc.and_(pc.invert(readable), meant))
    for name in ("source", "host", "language", "declared_origin"):
        index = table.schema.get_field_index(name)
        table = table.set_column(index, name, pc.dictionary_encode(table[name].combine_chunks().cast(pa.string())))
    return table


def hosts(url: pa.ChunkedArray) -> pa.ChunkedArray:
    """The host of each address, lower case; null where there is none."""
    found = pc.extract_regex(url, r"^[A-Za-z][A-Za-z0-9+.\-]*://(?:[^/?#@]*@)?(?P<host>[^/?#:]+)")
    return pc.utf8_lower(pc.struct_field(found, "host"))


def _judged(
    table: pa.Table,
    faultless: Bools,
    verified: Bools,
    rules: tuple[Rule, ...],
    fired: dict[str, int],
    reasons: list[pa.ListArray],
    unmeasured: list[pa.ListArray],
    basis: tuple[str, str],
) -> Judged:
    def numbers(name: str, fill: Any, kind: Any) -> Any:
        return (
            pc.fill_null(table[name].cast(pa.float64() if kind is np.float64 else pa.int64()), fill)
            .to_numpy()
            .astype(kind)
        )

    return Judged(
        ids=_ids(table["doc_id"]),
        source=table["source"],
        host=table["host"],
        language=table["language"],
        declared_origin=table["declared_origin"],
        date_us=pc.fill_null(table["date"].cast(pa.int64()), _NAT).to_numpy(),
        prob_synthetic=numbers("prob_synthetic", np.nan, np.float64),
        ai_logit=numbers("ai_logit", np.nan, np.float64),
        **{name: numbers(name, np.nan, np.float64) for name in _ORIGIN},
        synthetic=table["origin_flagged"].to_numpy(),
        trusted=table["origin_trusted"].to_numpy(),
        flag_basis=basis[0],
        flag_warning=basis[1],
        ai_encoder=table["ai_encoder"].to_numpy(),
        quality=numbers("quality", np.nan, np.float64),
        reference=np.zeros(table.num_rows, np.bool_),
        verified=verified,
        n_words=numbers("n_words", 0, np.int64),
        text_bytes=numbers("text_bytes", 0, np.int64),
        readable=table["readable"].to_numpy(),
        broken=table["broken"].to_numpy(),
        faultless=faultless,
        rules=rules,
        fired=fired,
        reasons=reasons,
        unmeasured=unmeasured,
    )


def _ids(column: pa.ChunkedArray) -> U64:
    flat = column.combine_chunks()
    flat = flat.chunk(0) if isinstance(flat, pa.ChunkedArray) else flat
    raw = np.frombuffer(flat.buffers()[1], dtype="<u8")
    return raw[2 * flat.offset : 2 * (flat.offset + len(flat))].reshape(-1, 2)


@dataclass(frozen=True)
class Rows:
    """Fetches one column of some rows from a folder of shards, shard by shard, row group by row group."""

    folder: Path
    shards: Sequence[Shard]
    column: str

    def __call__(self, rows: I64) -> pa.Array:
        """The values of `rows`, ascending."""
        firsts = np.array([s.first for s in self.shards])
        which = np.searchsorted(firsts, rows, side="right") - 1
        parts = [p for i in np.unique(which) for p in self._of(self.shards[i], rows[which == i] - firsts[i])]
        return pa.concat_arrays(parts) if parts else self._none()

    def _of(self, shard: Shard, rows: I64) -> Iterator[pa.Array]:
        first = 0
        with pq.ParquetFile(self.folder / shard.name) as file:
            for group in range(file.num_row_groups):
                size = file.metadata.row_group(group).num_rows
                inside = rows[(rows >= first) & (rows < first + size)] - first
                if len(inside):
                    column = file.read_row_group(group, columns=[self.column])[self.column]
                    yield from column.take(pa.array(inside)).chunks
                first += size

    def _none(self) -> pa.Array:
        kind = pq.read_schema(self.folder / self.shards[0].name).field(self.column).type if self.shards else pa.null()
        return pa.array([], kind)


def texts_of(root: Path, shards: Sequence[Shard]) -> Rows:
    """Fetches texts; null in quarantine."""
    return Rows(root / "documents", shards, "text")


def shards_of(root: Path) -> list[Shard]:
    """The shards of a run that has read its documents."""
    found: list[Shard] = []
    first = 0
    for path in sorted((root / "documents").glob("*.parquet")):
        rows = pq.read_metadata(path).num_rows
        found.append(Shard(path.name, first, rows))
        first += rows
    return found


def document_ids(root: Path, shards: Sequence[Shard]) -> U64:
    """The ids of all documents, in corpus order.  # [docs, 2] uint64"""
    return np.concatenate(
        [_ids(pq.read_table(root / "documents" / s.name, columns=["doc_id"])["doc_id"]) for s in shards]
    )


def repeated_ids(root: Path, shards: Sequence[Shard]) -> dict[int, int]:
    """Rows whose id stands earlier in the corpus too: row among all rows -> how often before.

    Documents are read with occurrence 0 at first, so equal ids mean equal source and record id.
    """
    ids = np.concatenate(
        [
            ids_array(pq.read_table(root / "documents" / s.name, columns=["doc_id"])["doc_id"].to_pylist())
            for s in shards
        ]
    )
    order = np.lexsort((np.arange(len(ids)), ids[:, 1], ids[:, 0]))
    same = np.zeros(len(ids), dtype=bool)
    same[1:] = (ids[order][1:] == ids[order][:-1]).all(axis=1)
    counts: dict[int, int] = {}
    seen = 0
    for position in np.nonzero(same)[0]:
        seen = seen + 1 if same[position - 1] else 1
        counts[int(order[position])] = seen
    return counts


def outcomes(judged: Judged, survivor: I64, held: Bools, included: Bools) -> npt.NDArray[np.uint8]:
    """The one outcome of every document, as a position in `OUTCOMES`.  # [docs] uint8

    A quarantined row stays so; then faults; then duplicates, of this corpus or of what earlier runs hold; what is left
    is drawn or not.
    """
    code = np.full(len(judged.ids), OUTCOMES.index("left_out"), dtype=np.uint8)
    code[included] = OUTCOMES.index("curated")
    code[held | (survivor != np.arange(len(survivor)))] = OUTCOMES.index("duplicate")
    code[~judged.faultless] = OUTCOMES.index("dropped")
    code[~judged.readable] = OUTCOMES.index("quarantined")
    return code


def counts(code: npt.NDArray[np.uint8]) -> dict[str, int]:
    """How many documents had each outcome."""
    found = np.bincount(code, minlength=len(OUTCOMES))
    return {name: int(found[i]) for i, name in enumerate(OUTCOMES)}


@dataclass(frozen=True)
class Mixed:
    """The mixture's answer for every document.  Arrays are [docs], in corpus order; of no meaning where not kept."""

    stratum: pa.Array  # the strata's names
    cell: I64  # position in `stratum`
    topic: pa.Array  # name of each document's topic; null where it has none
    copies: I64  # times the document is in the mixture
    expected: F64  # the same in expectation
    base: F64  # what one would take of it if nothing bound
    cap: F64  # factor of caps and allowances
    margins: F64  # factor of boxes, floors, snapshot and budget
    strata: pa.Table  # what each stratum held and gave, and its box
    constraints: pa.Table  # target, achieved and slack of every constraint
    frontier: pa.Table  # most words under each cap
    reference: str  # what the margins were held to
    reference_words: F64  # words for which each document stands in it
    notes: tuple[str, ...]  # what had to give way

    @property
    def included(self) -> Bools:
        """Documents with at least one copy."""
        return self.copies > 0
