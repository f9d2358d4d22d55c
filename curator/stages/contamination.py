"""How much of an evaluation set a text holds: the share of an item's word n-grams that occur in it, and which item.

A model that has read the answers is measured on its memory. The measure is the share of the item, not of
the document: a long page that quotes one whole question is as contaminated as a short one. Items are the
string fields of the evaluation records, each for itself (a page may hold a question without its answer);
n-grams that many items share are form, not content, and do not count.

Word n-grams of 13 are those of GPT-3's report (Brown et al. 2020, appendix C); fields of 8 to 12 words are
looked for by 8-grams; shorter ones cannot be told from common phrases and are left out.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from curator import schema
from curator.errors import InputError, first_line
from curator.ids import file_sha256
from curator.readers.streams import DamagedError, blocks
from curator.stages import Measure, Stage
from curator.stages.minhash import shingle_sets
from curator.text import I64, U64, kernel, utf8_view

F32 = npt.NDArray[np.float32]
I32 = npt.NDArray[np.int32]

SHORT_NGRAM: Final = 8
_COMMON_ITEMS: Final = 20  # an n-gram in more items than this is a template's, not an item's
_ID_FIELDS: Final = ("id", "task_id", "question_id", "uuid", "_id", "idx", "name")


class Items(NamedTuple):
    """The n-grams of all items, ready to be looked up."""

    grams: U64  # [g] ascending, distinct
    begins: I64  # [g + 1] into `owners`
    owners: I64  # items that hold each n-gram
    sizes: I64  # [items] distinct n-grams of each
    names: tuple[str, ...]  # [items] file:id.field


@dataclass(frozen=True)
class Contamination(Stage):
    """Find what a text holds of evaluation sets.

    files: JSON lines (.gz, .zst), JSON, Parquet, CSV or TSV; every string field of a record is an item.
    """

    files: tuple[str, ...] = ()
    ngram: int = 13

    name: ClassVar[str] = "contamination"
    version: ClassVar[str] = "1"
    needs: ClassVar[pa.Schema] = pa.schema([schema.DOCUMENTS.field("text")])

    @property
    def adds(self) -> pa.Schema:
        """`contamination`, `contamination_item` and `contamination_ngrams`."""
        return pa.schema(
            [
                schema.field(
                    "contamination",
                    pa.float32(),
                    "largest share of one evaluation item's word n-grams that the text holds; 0 where it holds none",
                ),
                schema.field(
                    "contamination_item", pa.string(), "that item: file:id.field; null where the text holds none"
                ),
                schema.field("contamination_ngrams", pa.int32(), "distinct n-grams of any item that the text holds"),
            ]
        )

    def weights(self) -> dict[str, str]:
        """The evaluation sets' bytes, and the Unicode tables that say what a word is."""
        found = {Path(file).name: _sha(file) for file in self.files}
        return found | {"unicode": unicodedata.unidata_version}

    def open(self) -> Measure:
        """Read the evaluation sets; raises `InputError` for one that cannot be read or has no item."""
        tables = [items_of(self.files, self.ngram, low, high) for low, high in self._bands()]
        return lambda batch: self._measure(batch, tables)

    def _bands(self) -> tuple[tuple[int, int | None], ...]:
        return (
            ((SHORT_NGRAM, self.ngram - 1), (self.ngram, None)) if self.ngram > SHORT_NGRAM else ((self.ngram, None),)
        )

    def _measure(self, batch: pa.RecordBatch, tables: list[Items]) -> pa.RecordBatch:
        view = utf8_view(batch.column("text"))
        count = len(view.valid)
        share, held = np.zeros(count, np.float32), np.zeros(count, np.int32)
        names: list[str | None] = [None] * count
        for (low, high), items in zip(self._bands(), tables, strict=True):
            if not len(items.grams):
                continue
            ends, sets = shingle_sets(view, low if high else self.ngram)
            best, part, grams = _looked_up(ends, sets, items)
            for row in np.flatnonzero(part > share):
                names[row] = items.names[best[row]]
            share, held = np.maximum(share, part), held + grams
        mask = ~view.valid
        columns = [pa.array(share, mask=mask), pa.array(names, pa.string()), pa.array(held, mask=mask)]
        return pa.RecordBatch.from_arrays(columns, schema=self.adds)


def _looked_up(ends: I64, sets: U64, items: Items) -> tuple[I64, F32, I32]:
    """For each row: the item it holds most of, that share, and how many n-grams of any item it holds."""
    count = len(ends) - 1
    place = np.searchsorted(items.grams, sets)
    place[place == len(items.grams)] = 0
    hit = np.flatnonzero(items.grams[place] == sets) if len(sets) else np.empty(0, np.int64)
    best, share, held = np.zeros(count, np.int64), np.zeros(count, np.float32), np.zeros(count, np.int32)
    rows = np.searchsorted(ends, hit, side="right") - 1
    _best(rows, place[hit], items.begins, items.owners, items.sizes, best, share, held)
    return best, share, held


@kernel
def _best(rows: I64, grams: I64, begins: I64, owners: I64, sizes: I64, best: I64, share: F32, held: I32) -> None:
    """Count, row by row, how many n-grams of each item were met; rows come ascending."""
    met = np.zeros(len(sizes), np.int64)
    first = 0
    while first < len(rows):
        row, last = rows[first], first
        while last < len(rows) and rows[last] == row:
            for k in range(begins[grams[last]], begins[grams[last] + 1]):
                item = owners[k]
                met[item] += 1
                part = np.float32(met[item] / sizes[item])
                if part > share[row] or (part == share[row] and item < best[row]):
                    share[row], best[row] = part, item
            last += 1
        held[row] = last - first
        for at in range(first, last):
            for k in range(begins[grams[at]], begins[grams[at] + 1]):
                met[owners[k]] = 0
        first = last


def items_of(files: tuple[str, ...], ngram: int, low: int, high: int | None) -> Items:
    """The fields of `low` to `high` words of all files, by n-grams of `low` words (of `ngram` where `high` is None)."""
    size = ngram if high is None else low
    named = [(name, text) for file in files for name, text in fields_of(file)]
    view = utf8_view(pa.array([text for _, text in named], pa.large_string()))
    ends, sets = shingle_sets(view, size)
    long_enough = np.diff(ends) > 0
    if high is not None:  # those with a longer n-gram are looked for by that
        long_enough &= np.diff(shingle_sets(view, high + 1)[0]) == 0
    keep = np.flatnonzero(long_enough)
    owner = np.repeat(np.arange(len(keep)), np.diff(ends)[keep])
    grams = np.concatenate([np.empty(0, np.uint64), *(sets[ends[i] : ends[i + 1]] for i in keep)])
    return _indexed(grams, owner, tuple(named[i][0] for i in keep))


def _indexed(grams: U64, owner: I64, names: tuple[str, ...]) -> Items:
    order = np.lexsort((owner, grams))
    grams, owner = grams[order], owner[order]
    distinct, counts = np.unique(grams, return_counts=True)
    common = counts > _COMMON_ITEMS
    keep = ~np.repeat(common, counts)
    owner = owner[keep]
    begins = np.concatenate([[0], np.cumsum(counts[~common])]).astype(np.int64)
    sizes = np.bincount(owner, minlength=len(names)).astype(np.int64)
    return Items(distinct[~common], begins, owner.astype(np.int64), np.maximum(sizes, 1), names)


# --- Reading evaluation sets -----------------------------------------------------------------------


def fields_of(file: str) -> Iterator[tuple[str, str]]:
    """Every string of every record, named file:id.field; strings in lists and objects too."""
    path = Path(file)
    for number, record in enumerate(_records(path)):
        given = next((record[key] for key in _ID_FIELDS if isinstance(record.get(key), str | int)), number)
        for field, text in _strings(record, ""):
            yield f"{path.name}:{given}.{field}", text


def _strings(value: Any, name: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield name, value.encode("utf-8", "replace").decode()
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _strings(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _strings(inner, f"{name}.{number}")


def _records(path: Path) -> Iterator[dict[str, Any]]:
    try:
        if path.suffix in (".parquet", ".pq"):
            yield from pq.read_table(path).to_pylist()
        elif path.suffix in (".csv", ".tsv"):
            yield from _delimited(path)
        else:
            yield from _json(path)
    except (OSError, ValueError, RecursionError, pa.ArrowException, DamagedError) as error:
        raise InputError(f"evaluation set {path} cannot be read: {first_line(error)[:200]}") from error


def _delimited(path: Path) -> Iterator[dict[str, Any]]:
    import pyarrow.csv

    options = pyarrow.csv.ParseOptions(delimiter="\t" if path.suffix == ".tsv" else ",", newlines_in_values=True)
    yield from pyarrow.csv.read_csv(path, parse_options=options).to_pylist()


def _json(path: Path) -> Iterator[dict[str, Any]]:
    text = b"".join(blocks(path)).decode("utf-8-sig")
    if path.suffix == ".json" and text.lstrip().startswith("["):
        rows = json.loads(text)
    else:
        rows = [json.loads(line) for line in text.split("\n") if line.strip()]
    for row in rows:
        yield row if isinstance(row, dict) else {"text": row}


def _sha(file: str) -> str:
    try:
        return file_sha256(Path(file))
    except OSError as error:
        raise InputError(f"evaluation set {file} cannot be read: {error.strerror}") from error
