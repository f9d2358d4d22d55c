"""The command that asks small models what a run's mixture is worth."""

from __future__ import annotations

import json
from pathlib import Path

import click

from curator.commands.options import JSON
from curator.progress import Console
from curator.prove import WORDS, Request, prove
from curator.tables import table


@click.command("prove")
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--heldout", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE",
    help="Human text of your own to ask about, Parquet or JSON lines (default: a fifth of the run's human text).",
)  # fmt: skip
@click.option(
    "--model", type=click.Choice(["ngram", "transformer"]), default="ngram", show_default=True,
    help="Kind of model; the transformer wants a GPU.",
)  # fmt: skip
@click.option("--seeds", type=click.IntRange(1), default=3, show_default=True, help="Times everything is drawn anew.")
@click.option("--words", type=click.IntRange(1), help=f"Words a model is trained on at most (default: {WORDS:,}).")
@JSON
def prove_command(out: Path, heldout: Path | None, model: str, seeds: int, words: int | None, as_json: bool) -> None:
    """Train small models on the mixture, on a random sample of the input and on human text, and compare them.

    All see equally many tokens and are asked about human text that none was trained on: how surprised each is by it and
    by its rare words, how surprised after one generation on its own text, and how many rare words it still writes. The
    figures go to OUT/prove/prove.json, a plot to OUT/prove/prove.png.

    \b
    Example:
      curator prove out
      curator prove out --heldout human-2019.parquet --seeds 5
    """
    made = prove(Request(out, heldout, seeds, words or 0, model), Console())
    if as_json:
        click.echo(json.dumps(made.report()))
        return
    click.echo(table(made.table()))
    rare = made.setting["rare_words"]
    click.echo(
        f"\n{made.verdict}\n"
        f"rare words: in 1 to {rare['in_documents_at_most']} of {rare['of_documents']:,} documents, "
        f"{rare['held_out_words']:,} of them held out"
        + ("" if seeds == 1 else f"; ±: standard deviation over {seeds} seeds")
    )
    for note in made.notes:
        click.echo(note)
    click.echo(f"{out / 'prove' / 'prove.png'} shows it")
