"""Values as the page shows them: numbers to the right, unknown as a dash, strangers' text on one harmless line."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from markupsafe import Markup, escape

from curator.ledger import OUTCOMES
from curator.report.queries import EXCERPT_CHARS

UNKNOWN: Final = "–"
_NUMBER: Final = re.compile(r"^\d+ (?=\S)")
_JOINERS: Final = "\u200c\u200d"  # written inside words of Persian, Indic scripts and emoji; they move nothing


@dataclass(frozen=True)
class Cell:
    """One cell: its text, whether it is a number, the outcome whose colour it carries, and small print below.

    own: whether the text is the program's, so that what stands between its backticks is a command; quote: whether it
    is a document's, which needs the most room.
    """

    text: str
    number: bool = False
    outcome: str | None = None
    under: str = ""
    own: bool = False
    quote: bool = False


@dataclass(frozen=True)
class Column:
    """One column: its heading and how a row becomes a cell."""

    heading: str
    cell: Callable[[Mapping[str, Any]], Cell]
    number: bool = False


@dataclass(frozen=True)
class Table:
    """A table with its caption."""

    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]

    @property
    def wide(self) -> bool:
        """Whether a telephone has no room for it side by side."""
        texts = sum(not column.number for column in self.columns)
        return len(self.columns) > 3 or (len(self.columns) == 3 and texts > 1)


def table(caption: str, columns: Sequence[Column], rows: Sequence[Mapping[str, Any]]) -> Table:
    """Rows as cells under their columns."""
    return Table(caption, columns, [[column.cell(row) for column in columns] for row in rows])


def line(text: Any) -> str:
    """A stranger's text as one line: white space folded; control characters and those that turn text around spelled out."""
    folded = " ".join(str(text).split())
    return "".join(c if c.isprintable() or c in _JOINERS else repr(c)[1:-1] for c in folded)


def topic(name: str | None) -> str:
    """A topic by its words, without the number that orders it; tables keep it, for queries know topics by the whole name."""
    return _NUMBER.sub("", line(name or ""))


def ticked(text: str) -> Markup:
    """The program's own words as HTML, what stands between backticks as code; everything is escaped."""
    parts = re.split(r"`([^`]+)`", text)
    return Markup("").join(Markup("<code>{}</code>").format(p) if i % 2 else escape(p) for i, p in enumerate(parts))


def excerpt(text: str | None, length: int = EXCERPT_CHARS) -> str:
    """The beginning of a text as one line, cut."""
    if text is None:
        return UNKNOWN
    shown = line(text)
    return shown if len(shown) <= length else shown[:length] + "…"


def count(value: float | None) -> str:
    """A whole number with its thousands set apart."""
    return UNKNOWN if value is None else f"{value:,.0f}"


def share(value: float | None) -> str:
    """A fraction as a percentage with one decimal; what rounds to nothing but is not nothing says so."""
    if value is None:
        return UNKNOWN
    return "< 0.1 %" if 0 < value < 0.0005 else f"{100 * value:.1f} %"


def finely(value: float | None) -> str:
    """A fraction as a percentage with two decimals, for what differs by little; what rounds to nothing says so."""
    if value is None:
        return UNKNOWN
    shown = f"{100 * value:.2f} %".replace("-", "−")
    return f"{'−' if value < 0 else ''}< 0.01 %" if value and abs(value) < 0.00005 else shown


def roughly(value: float) -> str:
    """A count for a headline, with the word for its size."""
    for size, word in ((1e12, "trillion"), (1e9, "billion"), (1e6, "million")):
        if value >= size:
            return f"{value / size:,.2f} {word}"
    return count(value)


def figure(value: float | None) -> str:
    """A measured number with four digits."""
    if value is None:
        return UNKNOWN
    return f"{value:,.0f}" if float(value).is_integer() and abs(value) < 1e15 else f"{value:,.4g}"


def interval(low: float | None, high: float | None) -> str:
    """An interval of fractions."""
    return UNKNOWN if low is None or high is None else f"{share(low)} to {share(high)}"


def text_column(heading: str, name: str, length: int = EXCERPT_CHARS) -> Column:
    """A column of text, cut at `length`; an outcome carries its colour."""

    def cell(row: Mapping[str, Any]) -> Cell:
        value = row.get(name)
        shown = excerpt(None if value is None else str(value), length)
        return Cell(shown, outcome=value if name == "outcome" and value in OUTCOMES else None)

    return Column(heading, cell)


def number_column(heading: str, of: str | Callable[[Mapping[str, Any]], Any], show: Callable[[Any], str]) -> Column:
    """A column of numbers, by name or computed from the row."""
    value = of if callable(of) else lambda row: row.get(of)
    return Column(heading, lambda row: Cell(show(value(row)), number=True), number=True)


def estimate_column(heading: str, name: str, low: str, high: str) -> Column:
    """A column of shares, each with its interval below."""

    def cell(row: Mapping[str, Any]) -> Cell:
        known = row.get(name) is not None
        return Cell(share(row.get(name)), number=True, under=interval(row.get(low), row.get(high)) if known else "")

    return Column(heading, cell, number=True)
