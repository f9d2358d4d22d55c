"""Texts that somebody asks about before storing them."""

from __future__ import annotations

from typing import Any

import msgspec


class Document(msgspec.Struct):
    """A text to score and what its rules may read beside it. date: as ISO 8601 or whatever `curator ingest` reads."""

    text: str
    id: Any = None
    url: str | None = None
    date: str | None = None
    source: str | None = None
    language: str | None = None
    origin: str | None = None
    fault: str | None = None  # why its text is none, whatever a sender wrote here
