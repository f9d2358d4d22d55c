"""`curator card OUT`: dataset cards of a finished run."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import click

from curator.cards.facts import Declared, gather
from curator.cards.write import ALWAYS, write_cards


def _iso_date(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    try:
        return None if value is None else date.fromisoformat(value).isoformat()
    except ValueError as error:
        raise click.BadParameter("not a date such as 2026-11-21") from error


@click.command("card")
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "-o", "--folder", type=click.Path(path_type=Path), help="Folder to write (default: OUT, beside its mixture)."
)
@click.option("--name", help="Name of the data set (default: recipe and fingerprint).")
@click.option("--licence", help="Licence of the whole data set as an SPDX id (default: what the documents declare).")
@click.option("--url", help="Address where the data set is published.")
@click.option("--published", callback=_iso_date, metavar="DATE", help="Date of publication, such as 2026-11-21.")
@click.option("--provider", help="Who publishes: name and contact.")
@click.option("--model", help="Model that is trained on it, for the EU summary.")
@click.option("--prov", is_flag=True, help="Write prov.jsonld too (PROV-O).")
@click.option("--openlineage", is_flag=True, help="Write openlineage.jsonl too (START and COMPLETE of the run).")
def card_command(out: Path, folder: Path | None, prov: bool, openlineage: bool, **stated: Any) -> None:
    """Write dataset cards from the account of a finished run.

    croissant.json (Croissant 1.1 with RAI), README.md (Hugging Face) and eu-training-content.json (fields of the
    EU summary of training content). Their paths are relative to the folder that holds mixture/: publish that and
    the cards, not the whole of OUT, which holds the dropped texts too. What the account does not know is said to be
    unknown; the options state what only you can know.

    \b
    Example:
      curator card out
      curator card out -o cards --name my-corpus --licence CC-BY-4.0 --prov --openlineage
    """
    more = [name for name, asked in (("prov.jsonld", prov), ("openlineage.jsonl", openlineage)) if asked]
    for path in write_cards(folder or out, gather(out), Declared(**stated), (*ALWAYS, *more)):
        click.echo(path)
