"""What the page is made of: sections of blocks, each block a figure, a table and the queries both came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from markupsafe import Markup

from curator.report.cells import Table

LONG: Final = 10_000  # characters of what is the run's own and not a document's: rules, settings, alarms


@dataclass(frozen=True)
class Block:
    """A part of a section.

    mind: what not to forget when reading it. also: queries behind numbers of the note. verbatim: lines to show as they are.
    terms: words and what they mean here.
    folded: shown only when asked for, and on paper.
    """

    title: str = ""
    note: str = ""
    figure: Markup | None = None
    table: Table | None = None
    sql: str = ""
    folded: bool = False
    mind: str = ""
    also: Sequence[str] = ()
    verbatim: str = ""
    terms: Mapping[str, str] = field(default_factory=dict)

    @property
    def queries(self) -> list[str]:
        """Every query behind the block, its own first."""
        return [self.sql, *(sql for sql in self.also if sql != self.sql)]


@dataclass(frozen=True)
class Section:
    """A chapter of the page."""

    anchor: str
    title: str
    lead: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Tile:
    """One of the few numbers at the head of the page; its anchor is the chapter where its query stands."""

    name: str
    value: str
    small: str
    anchor: str
