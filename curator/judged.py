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
from curator.readers.fields import instant
from curator.recipe import Recipe, changed, decidable, load, with_encoder
from curator.schema import DOCUMENTS, is_scalar
from curator.score import BATCH, Scorer, said, scored_id
from curator.unstored import Document
from curator.workspace import Workspace

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
        batch = self.with_signals(pa.RecordBatch.from_pydict({name: _column(name, documents) for name in DOCUMENT}))
        fired = self._fired(batch)
        whole = batch.select(self._signals).to_pylist()
        for i, (document, signals) in enumerate(zip(documents, whole, strict=True)):
            answers = {rule.reason: of[i] for rule, of in zip(self._decidable, fired, strict=True)}
            yield msgspec.json.encode(
                said(document, signals) | self._verdict(answers) | {"signals": signals}, enc_hook=str
            )

    def _verdict(self, answers: dict[str, bool | None]) -> dict[str, Any]:
        """What the rules make of a document.  answers: of those that a document alone can decide."""
        reasons = [reason for reason, fired in answers.items() if fired]
        undecided = [rule.reason for rule in self._rules if answers.get(rule.reason) is None]
        keep = False if reasons else None if undecided else True
        return {"keep": keep, "reasons": reasons, "undecided": undecided}

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


def _column(name: str, documents: list[Document]) -> pa.Array:
    """A column of `DOCUMENTS` as these have it; null where they say nothing."""
    if name == "doc_id":
        values: list[Any] = [scored_id(d.id) for d in documents]
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
    return changed(held, ())
