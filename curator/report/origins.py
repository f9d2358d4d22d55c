"""Human and synthetic: shares before and after, with their intervals, by what documents belong to and over time."""

from __future__ import annotations

import re
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
        "Share of documents that a model wrote, before and after, each with its 95 % interval; people wrote the rest. "
        "Where it cannot be known, the reason stands in its place."
    )
    return Section("shares", "Human and synthetic", lead, list(_shares(account)))


def whole(account: Account) -> Answer:
    """The shares of everything, from input to mixture; no rows where the account has none."""
    return account.ask(queries.WHOLE) if account.has("shares") else Answer(queries.WHOLE, [])


def _in_short(warning: str | None) -> str:
    """A warning without what follows its colons; the note above the table has it in full."""
    return "; ".join(line(part).partition(":")[0] for part in (warning or "").split("; "))


_UNITS: Final = {"docs": "documents"}
_WHOLE_COLUMNS: Final = [
    Column("Unit", lambda row: Cell(_UNITS.get(row["unit"], line(row["unit"])))),
    number_column("Documents", "n", count),
    number_column("Judged", "n_judged", count),
    number_column("Human", lambda row: None if row["share"] is None else 1 - row["share"], share),
    estimate_column("Synthetic", "share", "low", "high"),
    number_column("At least", lambda row: None if row["share"] is None else row["lower"], share),
    Column("Second estimate", lambda row: _second(row["second"], row["second_method"]), number=True),
    number_column("Declared human", "declared_human", count),
    number_column("Declared synthetic", "declared_synthetic", count),
]


def _whole_table(rows: Sequence[Mapping[str, Any]]) -> tuple[str, Table]:
    """The table, and the small print that all of its rows share, which need not stand in each."""
    prints = {_small_print(row) for row in rows}
    (shared,) = prints if len(prints) == 1 else [""]

    def of(row: Mapping[str, Any]) -> Cell:
        return Cell(SCOPES.get(row["scope"], line(row["scope"])), under="" if shared else _small_print(row))

    made = table("Shares of the whole", [Column("Of", of), *_WHOLE_COLUMNS], rows)
    return f"How, in every row: {shared}." if shared else "", made


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
    told: set[str] = set()
    how, made = _whole_table(found.rows)
    note = " ".join(filter(None, [_AT_LEAST, how, _rests_on(docs, told)]))
    yield Block("Of the whole", note, drawn if any(_points(docs)) else None, made, found.sql, mind=_to_mind(docs, told))
    for dimension in ("source", "domain", "host", "language"):
        yield from _dimension(account, dimension, told)
    yield from _months(account, told)


def _new(sentences: Sequence[str], told: set[str]) -> list[str]:
    """What the chapter has not said yet."""
    new = [sentence for sentence in dict.fromkeys(sentences) if sentence not in told]
    told.update(new)
    return new


def _rests_on(rows: Sequence[Mapping[str, Any]], told: set[str]) -> str:
    """The human text on whose scores these shares rest."""
    bases = _new([part for row in rows if row["basis"] for part in line(row["basis"]).split("; ")], told)
    more = " and others, which stand in the table shares" if len(bases) > 5 else ""
    return f"Held against human text: {'; '.join(bases[:5])}{more}." if bases else ""


def _to_mind(rows: Sequence[Mapping[str, Any]], told: set[str]) -> str:
    """What to mind about these shares."""
    warnings = [line(row[name]) for row in rows for name in ("warning", "warning_after") if row.get(name)]
    return " ".join(f"Mind: {warning}." for warning in _new(warnings, told))


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
        number_column("Second estimate", "second_before", share),
        number_column("In the mixture", "documents_after", count),
        estimate_column("Synthetic after", "share_after", "low_after", "high_after"),
        number_column("At least", "lower_after", share),
        number_column("Second estimate", "second_after", share),
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


def _dimension(account: Account, dimension: str, told: set[str]) -> Iterator[Block]:
    title = f"By {dimension}"
    order = "documents desc nulls last, stratum"
    found = account.ask(queries.BY_DIMENSION.format(dimension=dimension, order=order, limit=SHOWN))
    many = account.ask(queries.HOW_MANY.format(dimension=dimension))
    if not found.rows:
        return
    known = [row for row in found.rows if any(_points([row], "_before") + _points([row], "_after"))]
    drawn = figures.intervals(
        f"shares-{dimension}",
        f"Synthetic share before and after, {title.lower()}",
        [line(row["stratum"]) for row in known],
        _before_after(known),
    )
    strata = many.rows[0]["strata"]
    rest = strata - len(found.rows)
    said = (
        [f"The {SHOWN} largest of {strata:,}; for the others: `curator shares OUT --by {dimension}`."] if rest else []
    )
    said += ["What is unknown stands in the table only."] if 0 < len(known) < len(found.rows) else []
    note, mind = " ".join([*said, _rests_on(known, told)]).strip(), _to_mind(known, told)
    made = _dimension_table(f"Synthetic share {title.lower()}", dimension.capitalize(), found.rows)
    also = [many.sql] if rest else []
    aside = dimension == "host" or not known  # hosts repeat what their domains say, for those who look for one
    yield Block(title, note, drawn if known else None, made, found.sql, aside, mind, also)


def _months(account: Account, told: set[str]) -> Iterator[Block]:
    found = account.ask(queries.MONTHS)
    dated = {row["stratum"]: row for row in found.rows if _MONTH.fullmatch(row["stratum"] or "")}
    if not dated:
        return
    months = _calendar(sorted(dated))
    known = [dated.get(month, _NO_MONTH) for month in months]
    at = months.index(_ASSISTANTS) - 0.5 if _ASSISTANTS in months[1:] else None
    drawn = figures.over_time(
        "shares-month",
        "Synthetic share by month",
        months,
        _before_after(known),
        [] if at is None else [(at, "assistants open to everybody")],
    )
    made = _dimension_table("Synthetic share by month", "Month", found.rows)
    many = account.ask(queries.HOW_MANY.format(dimension="month"))
    rest = many.rows[0]["strata"] - len(found.rows)
    said = f"The latest {len(found.rows):,} of {many.rows[0]['strata']:,} months." if rest else ""
    note = " ".join(filter(None, [said, _rests_on(found.rows, told)]))
    mind = _to_mind(found.rows, told)
    some = any(_points(known, "_before") + _points(known, "_after"))
    also = [many.sql] if rest else []
    yield Block("By month", note, drawn if some else None, made, found.sql, mind=mind, also=also)


_MONTH: Final = re.compile(r"\d{4}-\d{2}")
_ASSISTANTS: Final = "2022-12"  # the first whole month of them
_NO_MONTH: Final = dict.fromkeys(
    f"{n}{e}" for n in ("low", "share", "high", "lower", "second") for e in ("_before", "_after")
)


def _calendar(dated: list[str]) -> list[str]:
    """Every month from the first to the last: one without documents leaves a gap, and no two look nearer than they are.

    Over more than a century only the months that have documents: some date in it is no date.
    """
    begin, end = (12 * int(month[:4]) + int(month[5:]) - 1 for month in (dated[0], dated[-1]))
    if end - begin > 1200:
        return dated
    return [f"{i // 12:04d}-{i % 12 + 1:02d}" for i in range(begin, end + 1)]
