"""Representativeness: what each measure says of input, kept text and mixture against human text held against itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from curator.report import figures, queries
from curator.report.cells import UNKNOWN, Cell, Column, count, figure, line, number_column, table
from curator.report.figures import Series
from curator.report.parts import Block, Section, Tile
from curator.report.queries import NOTICED, Account

_NEEDED: Final = ("representativeness", "scope", "metric", "z", "worse")
SCOPES: Final = ("input", "kept", "mixture")
_BAD: Final = {"+": "high", "-": "low", "±": "either"}


def section(account: Account) -> Section:
    """The chapter on representativeness; without blocks where the account measured none."""
    lead = (
        "How far input, kept text and mixture lie from human text, in standard deviations of human text from itself: "
        f"beyond ±{NOTICED:g} a measure notices."
    )
    return Section("representativeness", "Representativeness", lead, list(_blocks(account)))


def tiles(account: Account) -> Iterator[Tile]:
    """How many measures tell the mixture from human text."""
    rows = account.ask(queries.REPRESENTATIVENESS).rows if account.holds(*_NEEDED) else []
    measured = [row for row in rows if row["value_mixture"] is not None]
    if measured:
        seen = sum(bool(row["noticed_mixture"]) for row in measured)
        small = f"of {len(measured)} measures tell the mixture from human text"
        yield Tile("Unlike human text", f"{seen}", small, "representativeness")


def _blocks(account: Account) -> Iterator[Block]:
    if not account.holds(*_NEEDED):
        return
    found = account.ask(queries.REPRESENTATIVENESS)
    if not found.rows:
        yield Block(note="Nothing was compared: this run has no reference.", sql=found.sql)
        return
    if all(row[f"value_{scope}"] is None for row in found.rows for scope in SCOPES):
        sizes = ", ".join(f"{scope} {_most(found.rows, f'n_{scope}'):,}" for scope in SCOPES)
        note = f"Too few documents to say anything ({sizes}; reference {_most(found.rows, 'n_reference'):,})."
        yield Block(note=note, table=_table(found.rows), sql=found.sql)
        return
    drawn = figures.deviations(
        "representativeness-z",
        "z-scores of every measure, before and after",
        [f"{named(row['metric'])} ({_BAD.get(row['worse'], 'either')} is bad)" for row in found.rows],
        [
            Series(scope, colour, [row[f"z_{scope}"] for row in found.rows])
            for scope, colour in zip(SCOPES, ("before", "duplicate", "after"), strict=True)
        ],
        NOTICED,
    )
    yield Block("", noticed(found.rows), drawn, _table(found.rows), found.sql)
    yield Block("What the measures are", table=_meanings(found.rows), sql=found.sql, folded=True)


def named(metric: Any) -> str:
    """A measure's name as people read it."""
    return line(metric).replace("_", " ")


def noticed(rows: Sequence[Mapping[str, Any]]) -> str:
    """Which measures notice something in each set, the strongest first."""
    said = []
    for scope in SCOPES:
        measured = [row for row in rows if row[f"value_{scope}"] is not None]
        if not measured:
            continue
        seen = [row for row in measured if row[f"noticed_{scope}"]]
        seen.sort(key=lambda row: (-abs(row[f"z_{scope}"]), row["metric"]))
        listed = ", ".join(f"{named(row['metric'])} {_signed(row[f'z_{scope}'])}" for row in seen[:5])
        more = f" and {len(seen) - 5} more" if len(seen) > 5 else ""
        said.append(f"{scope}, {len(seen)} of {len(measured)}" + (f" ({listed}{more})" if seen else ""))
    sizes = f"{_most(rows, 'n_input'):,}, {_most(rows, 'n_kept'):,} and {_most(rows, 'n_mixture'):,} documents"
    return (
        f"Noticed, on the side that is bad: {'; '.join(said)}. Measured on {sizes} against "
        f"{_most(rows, 'n_reference'):,} of the reference; {_most(rows, 'draws'):,} human draws of the same size make the null."
    )


def _most(rows: Sequence[Mapping[str, Any]], name: str) -> int:
    return max((row[name] or 0 for row in rows), default=0)


def _signed(z: float) -> str:
    return f"{z:+.1f}".replace("-", "−")


def _z(row: Mapping[str, Any], scope: str) -> Cell:
    """A z-score; what has no spread among human draws and still differs has none."""
    z, value = row[f"z_{scope}"], row[f"value_{scope}"]
    if z is None:
        return Cell(UNKNOWN if value is None else "no spread", number=True)
    return Cell(_signed(z), number=True, under="noticed" if row[f"noticed_{scope}"] else "")


def _table(rows: Sequence[Mapping[str, Any]]) -> Any:
    columns = [
        Column("Measure", lambda row: Cell(named(row["metric"]))),
        Column("Bad when", lambda row: Cell(_BAD.get(row["worse"], line(row["worse"])))),
        *(Column(f"z, {scope}", _z_of(scope), number=True) for scope in SCOPES),
        *(number_column(scope.capitalize(), f"value_{scope}", figure) for scope in SCOPES),
        number_column("Human, beside the mixture", "null_mean", figure),
        number_column("Its spread", "null_sd", figure),
        number_column("Shared", "n_shared", count),
    ]
    return table("Measures of representativeness", columns, rows)


def _z_of(scope: str) -> Any:
    return lambda row: _z(row, scope)


def _meanings(rows: Sequence[Mapping[str, Any]]) -> Any:
    columns = [
        Column("Measure", lambda row: Cell(named(row["metric"]))),
        Column("What it says", lambda row: Cell(line(row["doc"] or ""))),
    ]
    return table("What each measure says", columns, rows)
