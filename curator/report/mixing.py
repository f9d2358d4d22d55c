"""The mixture: what its constraints asked for and cost, how many words each cap leaves, which margins bind or were missed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from curator.report import figures, queries
from curator.report.cells import (
    UNKNOWN,
    Cell,
    Column,
    count,
    figure,
    finely,
    interval,
    line,
    number_column,
    share,
    table,
    text_column,
    topic,
)
from curator.report.figures import Span
from curator.report.parts import Block, Section
from curator.report.queries import SHOWN, Account

OLDER: Final = (
    "This account is of an earlier version of curator, which drew mixtures otherwise and kept other figures of them; "
    "`curator redecide OUT -o NEW` draws one by the present rules."
)
SLIGHT: Final = 0.005  # logarithms of a weight below which a price is not worth a number


def section(account: Account) -> Section:
    """The chapter on constraints, frontier and margins."""
    lead = "What each setting asked for, what it got, and what that cost."
    return Section("constraints", "The mixture's constraints", lead, list(_blocks(account)))


def _blocks(account: Account) -> Iterator[Block]:
    yield _constraints(account)
    if account.holds("frontier", "cap", "words"):
        yield from _frontier(account)
    if account.holds("strata", "dimension", "reference", "price"):
        yield from _boxes(account)


def _constraints(account: Account) -> Block:
    if not account.holds("constraints", "standard_error"):
        return Block(note=OLDER)
    found = account.ask(queries.CONSTRAINTS)
    if not found.rows:
        return Block(note="The mixture had no constraint.", sql=found.sql)
    columns = [
        text_column("Setting", "name"),
        number_column("Target", lambda row: _amount(row, "target"), str),
        number_column("Expected", lambda row: _amount(row, "expected"), str),
        number_column("Achieved", lambda row: _amount(row, "realised"), str),
        number_column("Standard error", lambda row: _amount(row, "standard_error"), str),
        number_column("Slack", lambda row: _amount(row, "slack"), str),
        Column("Met", lambda row: Cell("yes" if row["met"] else "no")),
        number_column("Price", "price", figure),
        Column("What the price means", lambda row: Cell(effect(row["name"], row["price"]))),
    ]
    note = (
        "Slack is target less expectation, on the side where it holds; the draw misses the expectation by chance, by about "
        "the standard error. A price is a logarithm of how often a document is taken; 0 where the setting does not bind. "
    )
    note += " ".join(_counted(row) for row in found.rows if row["name"] == "max_synthetic")
    return Block("", note.strip(), table=table("Constraints", columns, found.rows), sql=found.sql)


def _amount(row: Mapping[str, Any], name: str) -> str:
    """Words of a budget, shares of everything else."""
    value = row[name]
    if value is None:
        return UNKNOWN
    return count(value) if row["name"] == "budget_words" else finely(value)


def _counted(row: Mapping[str, Any]) -> str:
    """At which P(synthetic) documents count towards the cap."""
    if row["upper_share"] is None:
        return ""
    unjudged = f" {row['unjudged']:,} of them have no judgment and count as that end." if row["unjudged"] else ""
    return (
        "The cap counts each kept document at the upper end of the synthetic share of its stratum, "
        f"{share(row['upper_share'])} on average.{unjudged}"
    )


def effect(name: str, price: float | None) -> str:
    """What a setting's price does to a document's chances, in words; `exp(-price x d)` as in `curator.mixture`."""
    if not price:
        return "does not bind"
    if abs(price) < SLIGHT:
        return "hardly binds"
    if name == "max_synthetic":
        said = times(-0.1 * price)
        return f"a document whose P(synthetic) is 0.1 above the cap is taken {said}; one 0.1 below it, {times(0.1 * price)}"
    if name == "max_verified":
        return f"verified synthetic text is taken {times(-price)} as other text"
    if name == "snapshot":
        return f"text of the snapshot is taken {times(price)} as other text"
    if name == "budget_words":
        return f"every document is taken {times(-price)}"
    return f"a price of {figure(price)}"


def times(logarithm: float) -> str:
    """`0.61 times as often`, from its logarithm."""
    factor = math.exp(min(max(logarithm, -700.0), 700.0))
    return f"{factor:,.3g} times as often" if 1e-4 <= factor < 1e6 else f"{factor:.1e} times as often"


# --- The frontier ----------------------------------------------------------------------------------------------------


def _frontier(account: Account) -> Iterator[Block]:
    words = "greatest(coalesce(n_words, 0), 1)" if account.has("documents", "n_words") else "1"
    found = account.ask(queries.FRONTIER.format(words=words))
    caps, here = [r for r in found.rows if r["what"] == "cap"], [r for r in found.rows if r["what"] != "cap"]
    if not caps:
        return
    most = max(row["words"] for row in caps)
    drawn = figures.frontier(
        "constraints-frontier",
        "The most words a mixture can have under each cap on unverified synthetic text",
        [(row["share"], row["words"]) for row in caps],
        [(row["share"], row["words"]) for row in here if row["share"] is not None and row["words"] is not None],
        [row["target"] for row in here if row["target"] is not None],
    )
    columns = [
        Column("Mixture", lambda row: Cell("under this cap" if row["what"] == "cap" else "this mixture, as drawn")),
        number_column("Unverified synthetic", "share", finely),
        number_column("Words, copies counted", "words", count),
        number_column(
            "Of the most", lambda row: row["words"] / most if most and row["words"] is not None else None, share
        ),
    ]
    note = (
        "No mixture lies above the line: the documents least likely to be synthetic come first. Boxes, floors and the "
        "preference for quality keep the mixture below it."
    )
    yield Block("What other caps would leave", note, drawn, table("Words by cap", columns, found.rows), found.sql)


# --- Margins and their boxes -----------------------------------------------------------------------------------------


def _boxes(account: Account) -> Iterator[Block]:
    overview = account.ask(queries.MARGINS)
    if not overview.rows:
        return
    columns = [
        text_column("Dimension", "dimension"),
        text_column("Held to", "basis"),
        number_column("Strata", "strata", count),
        number_column("With a box", "boxed", count),
        number_column("Binding", "binding", count),
        number_column("Outside their box", "missed", count),
        number_column("Off the reference, kept", "off_kept", share),
        number_column("Off it, mixture", "off_mixture", share),
    ]
    yield Block(
        "Margins",
        f"{_missed(overview.rows)} Off the reference is half the sum of the differences from its shares, "
        "over strata of which it has text: about the part of the words that would have to change stratum.",
        table=table("Margins by dimension", columns, overview.rows),
        sql=overview.sql,
    )
    yield from _pressing(account)
    for row in overview.rows:
        yield from _dimension(account, row["dimension"], row["basis"], row["strata"])


def how_many(n: int, dimension: str) -> str:
    """`1 topic`, `2 topics`."""
    return f"{n:,} {line(dimension)}{'' if n == 1 else 's'}"


def _missed(rows: Sequence[Mapping[str, Any]]) -> str:
    if not any(row["boxed"] for row in rows):
        return "No margin was held to a reference."
    missed = {row["dimension"]: row["missed"] for row in rows if row["missed"]}
    if not missed:
        return "Every margin lies in its box, or has none."
    named = ", ".join(how_many(n, dimension) for dimension, n in missed.items())
    return f"Outside their boxes: {named}. Holding them would have cost more than a fifth of the mixture."


_PLACE: Final = [
    number_column("Reference", "reference", finely),
    Column("Box", lambda row: Cell(_box(row), number=True), number=True),
    number_column("Kept", "share_kept", finely),
    number_column("Expected", "share_expected", finely),
    number_column("As drawn", "share_drawn", finely),
    Column("In its box", lambda row: Cell("" if row["low"] is None else "yes" if row["met"] else "no")),
    Column("Price in words", lambda row: Cell(pressed(row["price"]))),
]


def _box(row: Mapping[str, Any]) -> str:
    return UNKNOWN if row["low"] is None else interval(row["low"], row["high"])


def pressed(price: float | None) -> str:
    """What a margin's box and floor do to its documents, in words."""
    if not price:
        return ""
    if abs(price) < SLIGHT:
        return "hardly binds"
    return f"held {'down' if price > 0 else 'up'}: taken {times(-price)}"


def _pressing(account: Account) -> Iterator[Block]:
    found = account.ask(queries.PRESSING)
    if not found.rows:
        return
    columns = [text_column("Dimension", "dimension"), text_column("Stratum", "stratum"), *_PLACE]
    note = (
        f"Those outside come first. At most {SHOWN} are shown."
        if len(found.rows) == SHOWN
        else "Those outside come first."
    )
    made = table("Margins outside their boxes, and margins that bind", columns, found.rows)
    yield Block("Outside their boxes, or held to them", note, table=made, sql=found.sql)


def _dimension(account: Account, dimension: str, basis: str | None, strata: int) -> Iterator[Block]:
    found = account.ask(queries.PLACES.format(dimension=dimension))
    known = [row for row in found.rows if row["reference"] is not None]
    if strata < 2 or not known:
        return
    drawn = figures.spans(
        f"margins-{dimension}",
        f"Part of the words by {dimension}: reference and its box, kept, mixture",
        [(topic if dimension == "topic" else line)(row["stratum"]) for row in known],
        [
            Span(row["low"], row["high"], row["reference"], row["share_kept"], row["share_expected"], row["met"])
            for row in known
        ],
    )
    rest = strata - len(found.rows)
    note = f"Reference: {line(basis or 'unknown')} text."
    note += f" {len(found.rows)} of {strata:,}: those outside their boxes, then the largest." if rest > 0 else ""
    columns = [text_column(dimension.capitalize(), "stratum"), *_PLACE]
    made = table(f"Parts of the words by {dimension}", columns, found.rows)
    yield Block(f"By {dimension}", note, drawn, made, found.sql, folded=dimension not in ("topic", "source"))
