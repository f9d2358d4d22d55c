"""Score texts that are in nobody's corpus yet: lines in, signals out, by the same stages as a run."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from curator.errors import InputError
from curator.ids import doc_id
from curator.readers.columns import Columns, resolve
from curator.readers.fields import is_utf8
from curator.readers.parquet import as_utf8, schema_of
from curator.recipe import Recipe
from curator.schema import UUID
from curator.stages import Measure, Stage
from curator.unstored import Document

BATCH: Final = 256
SKIPPED: Final = ("exact", "minhash", "paragraphs", "boilerplate")  # they compare documents with one another
OUT: Final = ("prob_synthetic", "synthetic", "quality", "language")  # what is said of every text
_WHY: Final = "ai_abstain"  # why the detector said nothing


@dataclass(frozen=True)
class Line:
    """One text to score, or the reason why there is none."""

    id: Any
    text: str | None
    fault: str | None = None


def json_lines(stream: Iterable[bytes]) -> Iterator[Line]:
    """Read `{"id", "text"}` objects, one a line; a line that is none keeps its place with a reason."""
    for number, raw in enumerate(stream, 1):
        if not raw.strip():
            continue
        try:
            value = json.loads(raw)
        except (ValueError, RecursionError):
            yield Line(None, None, f"line {number} is not JSON")
            continue
        if not isinstance(value, dict):
            yield Line(None, None, f"line {number} is not an object")
        elif not isinstance(value.get("text"), str):
            yield Line(value.get("id"), None, f"line {number} has no string in 'text'")
        elif not is_utf8(value["text"]):
            yield Line(value.get("id"), None, "not_utf8")
        else:
            yield Line(value.get("id"), value["text"])


def parquet_lines(path: Path, named: Columns) -> Iterator[Line]:
    """Read texts and ids of a Parquet file."""
    columns = resolve(schema_of(path), named, str(path))
    assert columns.text is not None
    for batch in pq.ParquetFile(path).iter_batches(BATCH, columns=[c for c in (columns.id, columns.text) if c]):
        texts, bad = as_utf8(batch.column(columns.text))
        ids = batch.column(columns.id).to_pylist() if columns.id else [None] * batch.num_rows
        for name, text, wrong in zip(ids, texts.to_pylist(), bad.to_pylist(), strict=True):
            yield Line(name, text, "not_utf8" if wrong else "no_text" if text is None else None)


def open_lines(source: str, stdin: Iterable[bytes], named: Columns) -> Iterator[Line]:
    """Lines of a Parquet or JSON-lines file, or of standard input for `-`."""
    if source == "-":
        yield from json_lines(stdin)
        return
    path = Path(source)
    if not path.is_file():
        raise InputError(f"no such file: {source}; name a JSON-lines or Parquet file, or - for standard input")
    with open(path, "rb") as file:
        if file.read(4) == b"PAR1":
            yield from parquet_lines(path, named)
        else:
            file.seek(0)
            yield from json_lines(file)


def said(asked: Line | Document, signals: Mapping[str, Any]) -> dict[str, Any]:
    """Its id, the signals of `OUT`, and a reason where the text is none or the detector abstained."""
    found = {"id": asked.id, **{name: signals.get(name) for name in OUT}}
    reason = asked.fault or signals.get(_WHY)
    return found if reason is None else {**found, "reason": reason}


def scored_id(name: Any) -> bytes:
    """The id of a text that no source holds, from whatever its sender calls it."""
    return doc_id("score", json.dumps(name, default=str))


class Scorer:
    """The stages of a recipe, opened once, applied to texts that no run holds."""

    def __init__(self, recipe: Recipe) -> None:
        """Load every model the recipe's measures need."""
        self._stages: list[tuple[Stage, Measure]] = [(s, s.open()) for s in recipe.stages if s.name not in SKIPPED]

    def score(self, lines: Iterable[Line]) -> Iterator[dict[str, Any]]:
        """Yield for each line its id, signals, and a reason where it has none; in order."""
        stream = iter(lines)
        while some := list(islice(stream, BATCH)):
            measured = self.measure(some)
            told = measured.select([name for name in (*OUT, _WHY) if name in measured.schema.names])
            yield from map(said, some, told.to_pylist())

    def measure(self, lines: list[Line]) -> pa.RecordBatch:
        """Id, text and every signal of every line."""
        ids = pa.array([scored_id(line.id) for line in lines], UUID)
        texts = pa.array([line.text for line in lines], pa.large_string())
        return self.with_signals(pa.RecordBatch.from_pydict({"doc_id": ids, "text": texts}))

    def with_signals(self, documents: pa.RecordBatch) -> pa.RecordBatch:
        """Documents with every signal as a further column.  documents: doc_id, text and what else the stages read."""
        for stage, measure in self._stages:
            added = measure(documents.select(stage.needs.names))
            names = [*documents.schema.names, *added.schema.names]
            documents = pa.RecordBatch.from_arrays([*documents.columns, *added.columns], names=names)
        return documents
