"""`curator report`: the page of a finished run."""

from __future__ import annotations

from pathlib import Path

import click

from curator.report.page import write_report


@click.command("report")
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--to",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File to write (default: OUT/report.html).",
)
def report_command(out: Path, to: Path | None) -> None:
    """Write one HTML page about a finished run: funnel, shares, detector, tails, duplicates, examples near each limit.

    The page needs no network and no script: it opens from a mail attachment, prints, and shows beside every
    number the query it came from. It quotes the beginnings of documents: share it as you would share the corpus.

    \b
    Example:
      curator report out
      curator report out -o report.html
    """
    to = to or out / "report.html"
    size = write_report(out, to)
    click.echo(f"{to}: {size / 1e6:,.1f} MB; open it in any browser")
