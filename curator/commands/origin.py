"""Commands of the origin detector: calibrate it on trusted text, train it on one's own, measure it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from curator import retrain
from curator.calibrate import calibrate
from curator.commands.options import JSON
from curator.recipe import load
from curator.tables import table

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command("calibrate")
@click.option(
    "--human",
    multiple=True,
    required=True,
    metavar="PATH",
    help="Parquet of text that is known to be human, of the corpus's kinds; 300 of a kind hold 1 %.",
)
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True, help="Calibration file to write.")
@click.option("-r", "--recipe", default="default", show_default=True, help="Recipe whose detector scores.")
@click.option("--compare", type=FILE, help="Older calibration file: say whether scores of trusted text moved.")
@click.option("--source", help="Source of all texts, where no column says; strata are matched by it.")
@JSON
def calibrate_command(
    human: tuple[str, ...], out: Path, recipe: str, compare: Path | None, source: str | None, as_json: bool
) -> None:
    """Score text that is known to be human, and keep the scores, not the text, to hold a corpus's scores against.

    \b
    Example:
      curator calibrate --human snapshot-2019.parquet -o human.calibration
      curator filter crawl.parquet --calibration human.calibration -o out
      curator calibrate --human snapshot-2019.parquet -o now.calibration --compare human.calibration
    """
    made = calibrate(human, load(recipe), out, source=source, compare=compare)
    click.echo(json.dumps(made.row()) if as_json else table([{k: v for k, v in made.row().items() if k != "alarm"}]))
    if made.alarm and not as_json:
        click.echo(f"alarm: {made.alarm}")


@click.group("train")
def train_group() -> None:
    """Train a model of your own: `curator train ai-text`."""


@train_group.command("ai-text")
@click.option("--human", multiple=True, required=True, type=FILE, metavar="FILE", help="Parquet of human texts.")
@click.option("--machine", multiple=True, required=True, type=FILE, metavar="FILE", help="Parquet of machine texts.")
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True, help="Folder to write.")
@click.option("--start", default="default", show_default=True, help="Detector to add to: the shipped one or a folder.")
@click.option("--scratch", is_flag=True, help="Learn everything anew instead; takes thousands of texts.")
@JSON
def train_command(
    human: tuple[Path, ...], machine: tuple[Path, ...], out: Path, start: str, scratch: bool, as_json: bool
) -> None:
    """Teach the origin detector a new generator, or train one from scratch; a recipe's `detector` then names the folder.

    Texts need a column text; columns domain, generator and group are used where they are: texts of one group
    (a human text and its machine twins) stay on one side of every split.

    \b
    Example:
      curator train ai-text --human mine.parquet --machine new-model.parquet -o detector
      curator evaluate detector --data labelled.parquet
    """
    figures = retrain.train(retrain.Request(human, machine, out, None if scratch else start))
    if as_json:
        click.echo(json.dumps(figures))
        return
    flat = {k: v for k, v in figures.items() if not isinstance(v, dict | list)}
    click.echo(table([flat]))
    for name, part in figures.items():
        if isinstance(part, dict) and part:
            click.echo(f"\n{name}")
            click.echo(table([{k: v for k, v in part.items() if not isinstance(v, dict | list)}]))
    for warning in figures.get("warnings", []):
        click.echo(f"warning: {warning}")


@click.command("evaluate")
@click.argument("detector", default="default")
@click.option("--data", multiple=True, required=True, type=FILE, metavar="FILE", help="Parquet with text and label.")
@click.option(
    "--encoder", type=click.Choice(["uncertain", "all"]), default="uncertain", show_default=True,
    help="Which texts the encoder sees.",
)  # fmt: skip
@JSON
def evaluate_command(detector: str, data: tuple[Path, ...], encoder: str, as_json: bool) -> None:
    """Measure an origin detector on labelled texts: AUROC, recall, real false positives, calibration, with intervals.

    DETECTOR is "default" or a folder that `curator train ai-text` wrote. Labels are human or synthetic.

    \b
    Example:
      curator evaluate --data labelled.parquet
    """
    rows: list[dict[str, Any]] = retrain.evaluate(detector, data, encoder)
    click.echo(json.dumps(rows) if as_json else table(rows))
