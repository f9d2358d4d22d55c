"""`curator check`, `stages`, `models` and `score`: what a recipe measures, and with what."""

from __future__ import annotations

import json
import sys

import click

from curator import shipped, tables
from curator.commands.options import JSON
from curator.curve import curve_lines
from curator.readers.columns import Columns
from curator.recipe import load, with_encoder
from curator.schema import doc_of
from curator.score import Scorer, open_lines
from curator.stages.registry import STAGES, stage_class


@click.command("score")
@click.argument("source", metavar="FILE|-")
@click.option("-r", "--recipe", default="default", show_default=True, help="Recipe whose stages score.")
@click.option(
    "--encoder",
    type=click.Choice(["auto", "uncertain", "all"]),
    default="uncertain",
    show_default=True,
    help="Which texts the encoder sees.",
)
@click.option("--text-column", metavar="NAME", help="Text column of a Parquet file.")
@click.option("--id-column", metavar="NAME", help="Id column of a Parquet file.")
def score_command(source: str, recipe: str, encoder: str, text_column: str | None, id_column: str | None) -> None:
    """Score texts: JSON lines {"id", "text"} or a Parquet file in, JSON lines out.

    Each line has id, prob_synthetic (calibrated at equal priors), synthetic (at the shipped operating
    point), quality, language; null with a reason where a text is not judged.

    \b
    Example:
      echo '{"id": 1, "text": "..."}' | curator score -
      curator score new.parquet > scores.jsonl
    """
    lines = open_lines(source, sys.stdin.buffer, Columns(text=text_column, id=id_column))
    for row in Scorer(with_encoder(load(recipe), encoder)).score(lines):
        click.echo(json.dumps(row, ensure_ascii=False, default=str))


@click.command("check")
@click.argument("recipe")
@click.option("--curve", is_flag=True, help="Print what its deduplication can see instead: the S-curve of its bands.")
def check_command(recipe: str, curve: bool) -> None:
    """Check a recipe and print it back with every default spelled out.

    \b
    Example:
      curator check default
      curator check my-recipe.toml > full.toml
      curator check default --curve
    """
    found = load(recipe)
    if curve:
        click.echo("\n".join(curve_lines(found.dedup)))
        return
    click.echo(found.as_toml().rstrip())
    click.echo(
        f"# fingerprint {found.fingerprint()}: {len(found.stages)} stages, {len(found.rules)} rules, nothing wrong",
        err=True,
    )


@click.command("models")
@JSON
def models_command(as_json: bool) -> None:
    """List the models that ship: what each judges, how well, its licence and pinned sha256.

    \b
    Example:
      curator models
    """
    found = shipped.model_rows()
    click.echo(tables.as_json(found) if as_json else tables.table(found))


@click.command("stages")
@click.argument("name", required=False)
def stages_command(name: str | None) -> None:
    """List the stages and the columns each adds; with NAME, what every column means.

    \b
    Example:
      curator stages
      curator stages text_stats
    """
    for stage_name in [name] if name else STAGES:
        stage = stage_class(stage_name)()
        click.echo(f"{stage.name} {stage.version}: {_first_line(stage.__doc__)}")
        if name is None:
            click.echo(f"  adds {', '.join(stage.adds.names)}")
        else:
            click.echo("\n".join(f"  {column.name} ({column.type}): {doc_of(column)}" for column in stage.adds))


def _first_line(text: str | None) -> str:
    return (text or "").strip().splitlines()[0]
