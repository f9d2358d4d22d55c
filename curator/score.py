"""Score texts that are in nobody's corpus yet: lines in, signals out, by the same stages as a run."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from curator.errors import InputError
from curator.ids import doc_id
from curator.readers.columns import Columns, resolve
from curator.readers.parquet import as_utf8, schema_of
from curator.recipe import Recipe
from curator.schema import UUID
from curator.stages import Measure, Stage

BATCH: Final = 256
SKIPPED: Final = ("exact", "minhash", "paragraphs", "boilerplate")  # they compare documents with one another
_OUT: Final = ("prob_synthetic", "synthetic", "quality", "language")


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
        else:
            yield Line(value.get("id"), *_utf8(value["text"]))


def _utf8(text: str) -> tuple[str | None, str | None]:
    """JSON can escape half a surrogate pair, which no UTF-8 text can hold."""
    try:
        text.encode()
        return text, None
    except UnicodeEncodeError:
        return None, "not_utf8"


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


class Scorer:
    """The stages of a recipe, opened once, applied to lines."""

    def __init__(self, recipe: Recipe) -> None:
        """Load every model the recipe's measures need."""
        self._stages: list[tuple[Stage, Measure]] = [(s, s.open()) for s in recipe.stages if s.name not in SKIPPED]

    def score(self, lines: Iterable[Line]) -> Iterator[dict[str, Any]]:
        """Yield for each line its id, signals, and a reason wherever one is null; in order."""
        stream = iter(lines)
        while batch := list(islice(stream, BATCH)):
            yield from self._batch(batch)

    def _batch(self, lines: list[Line]) -> Iterator[dict[str, Any]]:
        measured = self.measure(lines).to_pylist()
        for line, row in zip(lines, measured, strict=True):
            out: dict[str, Any] = {"id": line.id, **{name: row.get(name) for name in _OUT}}
            reason = line.fault or row.get("ai_abstain")
            if reason is not None:
                out["reason"] = reason
            yield out

    def measure(self, lines: list[Line]) -> pa.RecordBatch:
        """Every signal of every line."""
        ids = [doc_id("score", json.dumps(line.id, default=str)) for line in lines]
        columns = {"doc_id": pa.array(ids, UUID), "text": pa.array([line.text for line in lines], pa.large_string())}
        batch = pa.RecordBatch.from_pydict(columns)
        for stage, measure in self._stages:
            added = measure(batch.select(stage.needs.names))
            batch = pa.RecordBatch.from_arrays(
                [*batch.columns, *added.columns], names=[*batch.schema.names, *added.schema.names]
            )
        return batch
