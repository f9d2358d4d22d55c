"""From inputs to mixture: what became of every row, by reason and by source."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from markupsafe import Markup

from curator.ledger import OUTCOME_DOC, OUTCOMES
from curator.report import figures, queries
from curator.report.cells import Cell, Column, count, excerpt, number_column, share, table, text_column
from curator.report.figures import Series
from curator.report.parts import Block, Section
from curator.report.queries import Account, Answer


def section(account: Account) -> Section:
    """The chapter on outcomes."""
    lead = "Every input row has exactly one outcome; together they add up to the inputs."
    return Section("funnel", "From inputs to mixture", lead, list(_funnel(account)))


def outcomes(account: Account) -> Answer:
    """How many documents, words and copies have each outcome."""
    return account.ask(queries.OUTCOMES.format(words="n_words" if account.has("documents", "n_words") else "0"))


def _funnel(account: Account) -> Iterator[Block]:
    found = outcomes(account)
    by_name = {row["outcome"]: row for row in found.rows}
    total = sum(row["documents"] for row in found.rows)
    if not total:
        return
    rows = [
        {"outcome": o, "meaning": OUTCOME_DOC[o], "documents": 0, "words": 0, **by_name.get(o, {})} for o in OUTCOMES
    ]
    rows.append({"outcome": "inputs", "meaning": "every row that was read", "documents": total, "words": None})
    columns = [
        text_column("Outcome", "outcome"),
        text_column("Meaning", "meaning"),
        number_column("Documents", "documents", count),
        number_column("Of inputs", lambda row: row["documents"] / total, share),
    ]
    if account.has("documents", "n_words"):
        columns.append(number_column("Words", "words", count))
    yield Block(
        "What became of every row", figure=_steps(by_name), table=table("Outcomes", columns, rows), sql=found.sql
    )
    yield from _reasons(account)
    yield from _sources(account)


def _steps(by_name: Mapping[str, Mapping[str, Any]]) -> Markup:
    """What is left after each step, and what the step took."""
    numbers = {o: int(by_name.get(o, {}).get("documents", 0)) for o in OUTCOMES}
    left, rows = sum(numbers.values()), []
    for step, outcome in (("reading", "quarantined"), ("rules", "dropped"), ("deduplication", "duplicate"), ("mixture", "left_out")):  # fmt: skip
        left -= numbers[outcome]
        rows.append((f"after {step}", left, outcome, numbers[outcome]))
    labels = ["inputs", *(row[0] for row in rows)]
    remain = [sum(numbers.values()), *(row[1] for row in rows)]
    series = [Series("remain", "curated", remain)]
    for outcome in ("quarantined", "dropped", "duplicate", "left_out"):
        taken = [0, *(row[3] if row[2] == outcome else 0 for row in rows)]
        series += [Series(outcome.replace("_", " "), outcome, taken)] if any(taken) else []
    title = "Documents that remain after each step, and what it took"
    return figures.bars("funnel-steps", title, labels, series, ends=remain)


def _reasons(account: Account) -> Iterator[Block]:
    found = account.ask(queries.REASONS)
    if not found.rows:
        return
    faults = [row for row in found.rows if row["reason"] not in ("mixture", "duplicate")]
    alone = [row["for_this_alone"] for row in faults]
    beside = [row["documents"] - row["for_this_alone"] for row in faults]
    drawn = figures.bars(
        "funnel-reasons",
        "Documents that each rule touched",
        [_named(row, "reason", "reasons") for row in faults],
        [Series("for this reason alone", "dropped", alone), Series("beside other reasons", "shared", beside)],
    )
    columns = [
        Column("Reason", lambda row: Cell(_named(row, "reason", "reasons"))),
        number_column("Documents", "documents", count),
        number_column("For this alone", "for_this_alone", count),
    ]
    yield Block(
        "By reason",
        "A document may have several reasons. “mixture” and “duplicate” are no faults of the document and stand in the table only.",
        drawn if faults else None,
        table("Reasons", columns, found.rows),
        found.sql,
    )


def _named(row: Mapping[str, Any], name: str, many: str) -> str:
    return f"{row[many]:,} others" if row[many] > 1 else excerpt(row[name])


def _sources(account: Account) -> Iterator[Block]:
    found = account.ask(queries.SOURCES)
    if not found.rows:
        return
    labels = [_named(row, "source", "sources") for row in found.rows]
    order = tuple(reversed(OUTCOMES))
    drawn = figures.fractions(
        "funnel-sources",
        "What became of each source's documents",
        labels,
        [Series(o.replace("_", " "), o, [row[o] for row in found.rows]) for o in order],
    )
    columns = [
        Column("Source", lambda row: Cell(_named(row, "source", "sources"))),
        number_column("Documents", "documents", count),
        *(number_column(o.replace("_", " ").capitalize(), o, count) for o in order),
        number_column("In the mixture", lambda row: row["curated"] / row["documents"], share),
    ]
    yield Block("By source", figure=drawn, table=table("Outcomes by source", columns, found.rows), sql=found.sql)
