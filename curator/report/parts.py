"""What the page is made of: sections of blocks, each block a figure, a table and the query both came from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup

from curator.report.cells import Table

LONG: Final = 10_000  # characters of what is the run's own and not a document's: rules, settings, alarms


@dataclass(frozen=True)
class Block:
    """A part of a section. folded: shown only when asked for."""

    title: str = ""
    note: str = ""
    figure: Markup | None = None
    table: Table | None = None
    sql: str = ""
    folded: bool = False


@dataclass(frozen=True)
class Section:
    """A chapter of the page."""

    anchor: str
    title: str
    lead: str
    blocks: Sequence[Block]
