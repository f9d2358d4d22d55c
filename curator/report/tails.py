"""Tails kept and lost: the smallest topics by name, and what each stratum kept of its human text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from curator.report import figures, queries
from curator.report.cells import count, figure, number_column, share, table, text_column, topic
from curator.report.figures import Series
from curator.report.mixing import OLDER, how_many
from curator.report.parts import Block, Section, Tile
from curator.report.queries import Account

_NEEDED: Final = ("strata", "dimension", "human", "human_retention")
_NAME_CHARS: Final = 30  # of a topic's name, so that its count has room beside it


def section(account: Account) -> Section:
    """The chapter on tails."""
    lead = (
        "Small topics and sources are lost first where nobody looks. Human documents are counted by 1 − P(synthetic), "
        "at the upper end that the cap counts at."
    )
    return Section("tails", "Tails kept and lost", lead, list(_blocks(account)))


def tiles(account: Account) -> Iterator[Tile]:
    """How many topics with human text lost all of it."""
    if account.holds(*_NEEDED):
        for row in account.ask(queries.RETAINED).rows:
            if row["dimension"] == "topic" and row["alive"]:
                yield Tile(
                    "Topics lost", count(row["extinct"]), f"of {row['alive']:,} with 5 human documents or more", "tails"
                )


def _blocks(account: Account) -> Iterator[Block]:
    if not account.holds(*_NEEDED):
        yield Block(note=OLDER)
        return
    retained = account.ask(queries.RETAINED)
    if not retained.rows:
        return
    columns = [
        text_column("Dimension", "dimension"),
        number_column("Strata", "strata", count),
        number_column("With 5 human documents", "alive", count),
        number_column("Of these, none drawn", "extinct", count),
        number_column("Least human retention", "least", share),
        number_column("5 %", "p05", share),
        number_column("Median", "median", share),
        number_column("Of all human text", "overall", share),
    ]
    yield Block(
        "Human text retained",
        _summary(retained.rows),
        table=table("Human documents drawn, of those kept, by dimension", columns, retained.rows),
        sql=retained.sql,
    )
    yield from _topics(account)
    yield from _least(account)


def _summary(rows: Sequence[Mapping[str, Any]]) -> str:
    extinct = {row["dimension"]: row["extinct"] for row in rows if row["extinct"]}
    said = "Retention is over strata with at least 5 estimated human documents. "
    if not extinct:
        return f"{said}None of these strata lost all of its documents."
    return said + "Lost altogether: " + ", ".join(how_many(n, dimension) for dimension, n in extinct.items()) + "."


_COLUMNS: Final = [
    number_column("Kept", "kept", count),
    number_column("Drawn", "drawn", count),
    number_column("Retention", "retention", share),
    number_column("Human, estimated", "human", figure),
    number_column("Human retention", "human_retention", share),
    number_column("Reference", "reference", share),
    number_column("Of the mixture", "share_drawn", share),
]


def _topics(account: Account) -> Iterator[Block]:
    found, total = account.ask(queries.SMALL_TOPICS), account.ask(queries.TOPICS).rows[0]
    if not found.rows:
        return
    drawn = figures.fractions(
        "tails-topics",
        "Part of each small topic's human documents that the mixture drew",
        [f"{named(row['stratum'])} ({row['human']:,.0f})" for row in found.rows],
        [
            Series("drawn", "curated", [row["human"] * row["human_retention"] for row in found.rows]),
            Series("left out", "left_out", [row["human"] * (1 - row["human_retention"]) for row in found.rows]),
        ],
    )
    rest = total["topics"] - len(found.rows)
    note = (
        "A topic is a cluster of meaning, named by words that tell it from the others; in brackets its estimated human "
        f"documents. {total['topics']:,} topics have at least one"
        + (f"; the {len(found.rows)} smallest are shown." if rest > 0 else ".")
        + (f" {total['empty']:,} more have less than one." if total["empty"] else "")
    )
    columns = [text_column("Topic", "stratum"), *_COLUMNS]
    made = table("Topics, smallest first", columns, found.rows)
    yield Block("The smallest topics", note, drawn, made, found.sql, also=[queries.TOPICS])


def named(name: str | None) -> str:
    """A topic's name by its words, short enough to have its count beside it."""
    return figures.clipped(topic(name), _NAME_CHARS)


def _least(account: Account) -> Iterator[Block]:
    found = account.ask(queries.LEAST_RETAINED)
    if not found.rows:
        return
    columns = [text_column("Dimension", "dimension"), text_column("Stratum", "stratum"), *_COLUMNS]
    made = table("Strata that kept the least of their human text", columns, found.rows)
    note = (
        "Of at least 5 estimated human documents. Read some of them before calling it a loss: a box may ask for less."
    )
    yield Block("Where most was lost", note, table=made, sql=found.sql)
