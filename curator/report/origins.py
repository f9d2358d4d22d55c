"""Human and synthetic: shares before and after, with their intervals, by what documents belong to and over time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from curator.report import figures, queries
from curator.report.cells import (
    Cell,
    Column,
    Table,
    count,
    estimate_column,
    excerpt,
    line,
    number_column,
    share,
    table,
    text_column,
)
from curator.report.figures import Series
from curator.report.parts import Block, Section
from curator.report.queries import SHOWN, Account, Answer

SCOPES: Final = {
    "input": "all readable documents",
    "unique": "without duplicates",
    "kept": "kept by rules and deduplication",
    "mixture": "in the mixture",
}


def section(account: Account) -> Section:
    """The chapter on shares."""
    lead = (
        "Share of documents that a model wrote, before and after, each with its 95 % interval. "
        "Where it cannot be known, the reason stands in its place."
    )
    return Section("shares", "Human and synthetic", lead, list(_shares(account)))


def whole(account: Account) -> Answer:
    """The shares of everything, from input to mixture; no rows where the account has none."""
    return account.ask(queries.WHOLE) if account.has("shares") else Answer(queries.WHOLE, [])


def _in_short(warning: str | None) -> str:
    """A warning without what follows its colons; the note above the table has it in full."""
    return "; ".join(line(part).partition(":")[0] for part in (warning or "").split("; "))


_WHOLE_COLUMNS: Final = [
    Column("Of", lambda row: Cell(SCOPES.get(row["scope"], line(row["scope"])), under=_small_print(row))),
    text_column("Unit", "unit"),
    number_column("Documents", "n", count),
    number_column("Judged", "n_judged", count),
    number_column("Human", lambda row: None if row["share"] is None else 1 - row["share"], share),
    estimate_column("Synthetic", "share", "low", "high"),
    number_column("At least", lambda row: None if row["share"] is None else row["lower"], share),
    Column("By another estimator", lambda row: _second(row["second"], row["second_method"]), number=True),
    number_column("Declared human", "declared_human", count),
    number_column("Declared synthetic", "declared_synthetic", count),
]


def _small_print(row: Mapping[str, Any]) -> str:
    """Method or why there is none, and what to mind."""
    return "; ".join(p for p in (line(row["method"] or row["reason"] or ""), _in_short(row["warning"])) if p)


def _second(value: float | None, method: str | None) -> Cell:
    return Cell(share(value), number=True, under=line(method or ""))


_NOTHING: Final = {"low": None, "share": None, "high": None, "lower": None, "second": None}

_AT_LEAST: Final = "“At least” is what the scores of human text alone cannot explain (97.5 %), whatever the machine."


def _shares(account: Account) -> Iterator[Block]:
    found = whole(account)
    if not found.rows:
        return
    docs = [row for row in found.rows if row["unit"] == "docs"]
    words = {row["scope"]: row for row in found.rows if row["unit"] == "words"}
    drawn = figures.intervals(
        "shares-all",
        "Synthetic share of documents and of words, from input to mixture",
        [SCOPES.get(row["scope"], row["scope"]) for row in docs],
        [
            Series("of documents", "before", _points(docs)),
            Series("of words", "after", _points([words.get(row["scope"], _NOTHING) for row in docs])),
        ],
    )
    yield Block(
        "Of the whole",
        " ".join([_AT_LEAST, _rests_on(docs)]),
        drawn if any(_points(docs)) else None,
        table("Shares of the whole", _WHOLE_COLUMNS, found.rows),
        found.sql,
    )
    for dimension in ("source", "domain", "host", "language"):
        yield from _dimension(account, dimension, f"By {dimension}")
    yield from _months(account)


def _rests_on(rows: Sequence[Mapping[str, Any]]) -> str:
    """The human text on whose scores these shares rest, and what to mind, each once."""
    bases = dict.fromkeys(line(row["basis"]) for row in rows if row["basis"])
    said = [f"Human scores: {basis}." for basis in list(bases)[:5]]
    said += ["More of them stand in the table shares."] if len(bases) > 5 else []
    warnings = dict.fromkeys(line(row[name]) for row in rows for name in ("warning", "warning_after") if row.get(name))
    return " ".join([*said, *(f"Mind: {warning}." for warning in warnings)])


def _points(rows: Sequence[Mapping[str, Any]], end: str = "") -> list[tuple[float | None, ...] | None]:
    """(low, share, high, at least, by another estimator) of every row; None where there is no share."""
    names = [f"{name}{end}" for name in ("low", "share", "high", "lower", "second")]
    return [None if any(row[n] is None for n in names[:3]) else tuple(row[n] for n in names) for row in rows]


def _before_after(rows: Sequence[Mapping[str, Any]]) -> list[Series]:
    return [
        Series("input", "before", _points(rows, "_before")),
        Series("mixture", "after", _points(rows, "_after")),
    ]


def _dimension_table(caption: str, heading: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    columns = [
        Column(heading, lambda row: Cell(excerpt(row["stratum"]), under=_how(row))),
        number_column("Documents", "documents", count),
        number_column("Judged", "judged", count),
        estimate_column("Synthetic before", "share_before", "low_before", "high_before"),
        number_column("At least", "lower_before", share),
        number_column("Second", "second_before", share),
        number_column("In the mixture", "documents_after", count),
        estimate_column("Synthetic after", "share_after", "low_after", "high_after"),
        number_column("At least", "lower_after", share),
        number_column("Second", "second_after", share),
    ]
    return table(caption, columns, rows)


def _how(row: Mapping[str, Any]) -> str:
    """Methods, why there is no share, and what to mind."""
    methods = f"{line(row['method'])}, second {line(row['second_method'])}" if row["method"] else ""
    mind = _in_short(row["warning"] or row["warning_after"])
    return "; ".join(part for part in (methods, _why(row), mind) if part)


def _why(row: Mapping[str, Any]) -> str:
    before, after = (excerpt(row[name] or "") for name in ("why_unknown", "why_unknown_after"))
    return before or (f"mixture: {after}" if after else "")


def _dimension(account: Account, dimension: str, title: str) -> Iterator[Block]:
    order = "documents desc nulls last, stratum"
    found = account.ask(queries.BY_DIMENSION.format(dimension=dimension, order=order, limit=SHOWN))
    strata = account.ask(queries.HOW_MANY.format(dimension=dimension)).rows[0]["strata"]
    if not found.rows:
        return
    known = [row for row in found.rows if any(_points([row], "_before") + _points([row], "_after"))]
    drawn = figures.intervals(
        f"shares-{dimension}",
        f"Synthetic share before and after, {title.lower()}",
        [line(row["stratum"]) for row in known],
        _before_after(known),
    )
    rest = strata - len(found.rows)
    note = (
        f"The {SHOWN} largest of {strata:,}; for the others: curator shares OUT --by {dimension}." if rest > 0 else ""
    )
    note += " What is unknown stands in the table only." if 0 < len(known) < len(found.rows) else ""
    note += " " + _rests_on(known)
    made = _dimension_table(f"Synthetic share {title.lower()}", dimension.capitalize(), found.rows)
    yield Block(title, note, drawn if known else None, made, found.sql)


def _months(account: Account) -> Iterator[Block]:
    found = account.ask(queries.BY_DIMENSION.format(dimension="month", order="stratum", limit=240))
    dated = [row for row in found.rows if row["stratum"] and row["stratum"][:1].isdigit()]
    if not dated:
        return
    drawn = figures.over_time(
        "shares-month", "Synthetic share by month", [line(row["stratum"]) for row in dated], _before_after(dated)
    )
    made = _dimension_table("Synthetic share by month", "Month", found.rows)
    yield Block("By month", _rests_on(found.rows), drawn if any(_points(dated, "_before")) else None, made, found.sql)
