"""`curator explain`, `diff` and `verify`: one document, two runs, every hash."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from curator import account, tables
from curator.commands.options import JSON, OUT
from curator.commands.shares import echo_shares
from curator.errors import InputError
from curator.ledger import OUTCOME_DOC


@click.command("explain")
@OUT
@click.argument("name", metavar="ID|URL")
@JSON
def explain_command(out: Path, name: str, as_json: bool) -> None:
    """Account for one document: where from, every signal and rule, its duplicates, its place in the mixture.

    \b
    Example:
      curator explain out https://example.org/story
      curator explain out 6f9619ff-8b86-d011-b42d-00cf4fc964ff
    """
    found = account.explain(out, name)
    if as_json:
        click.echo(tables.as_json([account.plain(vars(e)) for e in found]))
        return
    for explanation in found:
        _echo_explanation(explanation)


def _echo_explanation(e: account.Explanation) -> None:
    click.echo(click.style(f"{e.verdict['outcome']}: {OUTCOME_DOC[e.verdict['outcome']]}", bold=True))
    _section("where from", e.identity)
    click.echo("\nrules")
    click.echo(
        tables.table(
            [
                {
                    "": "FIRED" if r["fired"] else "",
                    "rule": r["reason"],
                    "drops when": r["sql"],
                    "measured": _values(r["values"]),
                }
                for r in e.rules
            ]
        )
    )
    if e.evidence:
        click.echo("\nevidence of origin (log-odds; above 0 for a machine)")
        click.echo(tables.table(e.evidence))
    if e.travelling:
        _section("came with it", e.travelling)
    _section("signals", e.signals)
    _section("verdict and place in the mixture", e.verdict)
    if e.mixture:
        click.echo("\ncopies in the mixture")
        click.echo(tables.table(e.mixture))
    if e.duplicates:
        click.echo("\nothers in its duplicate cluster")
        click.echo(tables.table(e.duplicates))
    click.echo()


def _values(values: dict[str, Any]) -> str:
    return ", ".join(f"{k} = {'not measured' if v is None else tables.shown(v)}" for k, v in values.items())


def _section(title: str, values: dict[str, Any]) -> None:
    click.echo(f"\n{title}")
    width = max(len(name) for name in values) if values else 0
    for name, value in values.items():
        click.echo(f"  {name:<{width}}  {'—' if value is None or value == [] else tables.shown(value)}")


@click.command("diff")
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path))
@JSON
def diff_command(a: Path, b: Path, as_json: bool) -> None:
    """Compare two runs: settings, what became of each document, reasons, shares.

    \b
    Example:
      curator diff out out-100
    """
    found = account.diff(a, b)
    if as_json:
        click.echo(json.dumps(account.plain(found), indent=1))
        return
    if found["same"]:
        click.echo("every document has the same outcome and reasons in both runs")
    for title in ("settings", "outcomes", "reasons"):
        if found[title]:
            click.echo(f"\n{title}\n{tables.table(found[title])}")
    for name, shares_ in zip((a, b), found["shares"], strict=True):
        click.echo(f"\n{name}")
        echo_shares(shares_)


@click.command("verify")
@OUT
def verify_command(out: Path) -> None:
    """Re-derive every hash and sum of a finished run; exits with 1 when one does not hold.

    \b
    Example:
      curator verify out
    """
    checks = account.verify(out)
    click.echo(
        tables.table(
            [
                {"check": c.what, "checked": c.checked, "wrong": len(c.wrong), "which": "; ".join(c.wrong[:3])}
                for c in checks
            ]
        )
    )
    wrong = sum(len(c.wrong) for c in checks)
    if wrong:
        raise InputError(
            f"{wrong} thing(s) in {out} do not re-derive; delete what is named and run the same `curator filter` again"
        )
