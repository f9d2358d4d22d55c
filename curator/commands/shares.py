"""`curator shares`: what share of a run is human, in a table."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

from curator import tables
from curator.audit import open_audit, rows_of
from curator.commands.options import JSON, OUT
from curator.workspace import finished


@click.command("shares")
@OUT
@click.option(
    "--by",
    type=click.Choice(["all", "source", "domain", "host", "language", "month"]),
    default="all",
    show_default=True,
    help="Strata to tell apart.",
)
@click.option(
    "--unit", type=click.Choice(["docs", "words", "bytes"]), default="docs", show_default=True, help="What is counted."
)
@JSON
def shares_command(out: Path, by: str, unit: str, as_json: bool) -> None:
    """Human and synthetic share of the input, of what was kept and of the mixture, with 95 % intervals; the largest first.

    A share that cannot be known is empty, with the reason. "At least" is what the scores of human text alone cannot
    explain; "second" is another estimator's answer. The last column says which line under the table names the
    estimators and the human text behind a row. Declared origin stands beside the measured one; --json has all in full.

    \b
    Example:
      curator shares out --by source
      curator shares out --by month --unit words
    """
    finished(out)
    with open_audit(out) as con:
        found = rows_of(
            con,
            "select * exclude (dimension, unit) from shares where dimension = ? and unit = ? order by "
            + ("stratum" if by == "month" else "max(n) over (partition by stratum) desc, stratum")
            + ", case scope when 'input' then 0 when 'unique' then 1 when 'kept' then 2 else 3 end",
            [by, unit],
        )
    if as_json:
        click.echo(tables.as_json(found))
        return
    echo_share_rows(found)


def echo_share_rows(found: list[dict[str, Any]]) -> None:
    """Print rows of `shares` in 120 characters and, under them, what they rest on and what to mind."""
    keys = {ground: i for i, ground in enumerate(dict.fromkeys(map(_ground, found)), 1)}
    click.echo(_narrowed([_share_row(row, keys[_ground(row)]) for row in found]))
    _echo_grounds(found, keys)


WIDE = 120  # characters of a terminal


def _share_row(row: dict[str, Any], key: int) -> dict[str, Any]:
    point, low, high = row["share"], row["low"], row["high"]
    return {
        "stratum": tables.shown(row["stratum"]),
        "scope": row["scope"],
        "documents": row["n"],
        "judged": row["n_judged"],
        "human": tables.percent(None if point is None else 1 - point),
        "synthetic": tables.percent(point),
        "at least": "" if point is None else tables.percent(row["lower"]),
        "95 % interval": "" if low is None else f"{100 * low:.1f} – {tables.percent(high)}",
        "second": "" if row["second"] is None else tables.percent(row["second"]),
        "declared": ", ".join(
            f"{row[f'declared_{kind}'] / row['n']:.0%} {kind}"
            for kind in ("human", "synthetic")
            if row[f"declared_{kind}"]
        ),
        "by": f"({key})",
    }


def _narrowed(rows: list[dict[str, Any]]) -> str:
    """The table in WIDE characters: without what nobody declared, and with long strata cut."""
    if rows and not any(row["declared"] for row in rows):
        rows = [{k: v for k, v in row.items() if k != "declared"} for row in rows]
    over = max(map(len, tables.table(rows).splitlines())) - WIDE
    room = max(16, max((len(row["stratum"]) for row in rows), default=0) - over)
    cut = [row | {"stratum": row["stratum"][: room - 1] + "…"} if len(row["stratum"]) > room else row for row in rows]
    return tables.table(cut)


def _ground(row: dict[str, Any]) -> tuple[str, str]:
    """What a row's numbers rest on, and what kind of it: numbers do not tell kinds apart."""
    if row["share"] is None:
        return "unknown", re.sub(r"[\d,.]*\d", "#", str(row["reason"]))
    return f"{row['method']}, second {row['second_method']}", re.sub(r"[\d,.]*\d", "#", str(row["basis"]))


def _echo_grounds(found: list[dict[str, Any]], keys: dict[tuple[str, str], int]) -> None:
    first = {_ground(row): row for row in reversed(found)}
    for ground, key in list(keys.items())[:GROUNDS]:
        row = first[ground]
        basis = row["reason"] if row["share"] is None else f"against {row['basis']}"
        alike = len({r["reason"] if r["share"] is None else r["basis"] for r in found if _ground(r) == ground}) - 1
        click.echo(
            f"({key}) {ground[0]}: {tables.shown(basis)}" + (f" (in others other numbers: {alike})" * bool(alike))
        )
    if len(keys) > GROUNDS:
        click.echo(f"({GROUNDS + 1}) to ({len(keys)}): with --json")
    for warning in dict.fromkeys(row["warning"] for row in found if row["warning"]):
        on = list(dict.fromkeys(row["stratum"] for row in found if row["warning"] == warning))
        named = ", ".join(map(tables.shown, on[:4])) + (f" and {len(on) - 4:,} more" if len(on) > 4 else "")
        click.echo(f"note on {named}: {tables.shown(warning)}")


GROUNDS = 12  # lines under a table


def echo_shares(shares: list[dict[str, Any]]) -> None:
    """Print the share of each scope as a line, and what to mind."""
    for share in shares:
        click.echo(f"synthetic share {share['scope']:<8} {_interval(share)}")
    for warning in dict.fromkeys(share.get("warning") for share in shares):
        if warning:
            click.echo(f"note: {tables.shown(warning)}")


def _interval(share: dict[str, Any]) -> str:
    judged = f"{share['n_judged']:,} of {share['n']:,} documents judged"
    if share["share"] is None:
        return f"unknown: {share['reason']} ({judged})"
    least = "" if share.get("lower") is None else f"; at least {tables.percent(share['lower'])}"
    return f"{tables.percent(share['share'])} ({tables.percent(share['low'])} to {tables.percent(share['high'])}, 95 %{least}; {share['method']}; {judged})"
