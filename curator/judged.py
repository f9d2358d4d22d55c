"""Scores of documents that are in nobody's corpus yet, with what a recipe's rules make of each."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import pyarrow as pa

from curator.decide import parse_rules, sealed
from curator.errors import InputError
from curator.ids import doc_id
from curator.readers.fields import instant
from curator.recipe import Recipe, decidable, from_dict, load, with_encoder
from curator.schema import DOCUMENTS, is_scalar
from curator.score import BATCH, Scorer
from curator.unstored import Document
from curator.workspace import Workspace

OUT: Final = ("prob_synthetic", "synthetic", "quality", "language")  # what `curator score` says of a text
DOCUMENT: Final = ("doc_id", "text", "source", "record_id", "url", "date", "declared_language", "declared_origin")
_PART: Final = {"declared_language": "language", "declared_origin": "origin", "record_id": "id"}


class Judged(Scorer):
    """Scores documents and says what the recipe's rules make of each, as far as a document alone can tell."""

    def __init__(self, recipe: Recipe) -> None:
        """Load every model the recipe's measures need and check its rules."""
        super().__init__(recipe)
        self._signals = [c.name for s, _ in self._stages for c in s.adds if is_scalar(c)]
        schema = decidable(pa.schema([]), recipe.signals())
        known = {*DOCUMENT, *self._signals}
        self._rules = parse_rules(recipe.rules, schema, later=("extra",))
        self._decidable = [rule for rule in self._rules if known.issuperset(rule.columns)]
        self._con = sealed()

    def __call__(self, question: bytes) -> bytes:
        """Documents as msgpack; for each an object as JSON, in order."""
        documents = msgspec.msgpack.decode(question, type=list[Document])
        parts = [documents[i : i + BATCH] for i in range(0, len(documents), BATCH)]
        return msgspec.msgpack.encode([row for part in parts for row in self.judge(part)])

    def judge(self, documents: list[Document]) -> Iterator[bytes]:
        """For each document what `curator score` says of it, what the rules do, and its signals, as JSON."""
        batch = self._measured(documents)
        fired = self._fired(batch)
        whole = batch.select(self._signals).to_pylist()
        for i, (document, signals) in enumerate(zip(documents, whole, strict=True)):
            reasons = [rule.reason for rule, of in zip(self._decidable, fired, strict=True) if of[i]]
            decided = {rule.reason for rule, of in zip(self._decidable, fired, strict=True) if of[i] is not None}
            undecided = [rule.reason for rule in self._rules if rule.reason not in decided]
            keep = False if reasons else None if undecided else True
            said = self._said(document, signals)
            said |= {"keep": keep, "reasons": reasons, "undecided": undecided, "signals": signals}
            yield msgspec.json.encode(said, enc_hook=str)

    def _said(self, document: Document, signals: dict[str, Any]) -> dict[str, Any]:
        """What `curator score` says of it."""
        said = {"id": document.id, **{name: signals.get(name) for name in OUT}}
        reason = document.fault or signals.get("ai_abstain")
        return said if reason is None else {**said, "reason": reason}

    def _measured(self, documents: list[Document]) -> pa.RecordBatch:
        batch = pa.RecordBatch.from_pydict({name: _document_column(name, documents) for name in DOCUMENT})
        for stage, measure in self._stages:
            added = measure(batch.select(stage.needs.names))
            names = [*batch.schema.names, *added.schema.names]
            batch = pa.RecordBatch.from_arrays([*batch.columns, *added.columns], names=names)
        return batch

    def _fired(self, batch: pa.RecordBatch) -> list[list[bool | None]]:
        """For each rule that can be decided, whether it fired for each document; None where it came to NULL."""
        if not self._decidable:
            return []
        columns = dict.fromkeys(name for rule in self._decidable for name in rule.columns)
        self._con.register("signals", pa.Table.from_batches([batch.select(list(columns) or ["doc_id"])]))
        asked = ", ".join(f"try(({rule.sql}\n)) as r{i}" for i, rule in enumerate(self._decidable))
        found = self._con.sql(f"select {asked} from signals").to_arrow_table()
        self._con.unregister("signals")
        return [column.to_pylist() for column in found.columns]


def _document_column(name: str, documents: list[Document]) -> pa.Array:
    """A column of `DOCUMENTS` as these have it; null where they say nothing."""
    if name == "doc_id":
        values: list[Any] = [doc_id("score", json.dumps(d.id, default=str)) for d in documents]
    elif name == "date":
        values = [None if d.date is None else instant(d.date) for d in documents]
    elif name == "text":
        values = [d.text if d.fault is None else None for d in documents]
    else:
        values = [_text(getattr(d, _PART.get(name, name))) for d in documents]
    return pa.array(values, DOCUMENTS.field(name).type)


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value, default=str)


def recipe_of(root: Path, name: str | None) -> Recipe:
    """The recipe that scores: the one named, as `curator score` opens it, else the run's own."""
    if name is not None:
        return with_encoder(load(name), "uncertain")
    held = (Workspace(root).identity() or {}).get("recipe")
    if not isinstance(held, dict):
        raise InputError(f"{root}/run.json names no recipe; name one with --recipe")
    return from_dict(_without_none(held))


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_none(v) for k, v in value.items() if v is not None}
    return value
