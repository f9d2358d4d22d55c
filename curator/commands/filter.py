"""`curator filter`, `ingest` and `redecide`: what makes a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from curator import sources, tables
from curator.commands.options import QUIET, SUMMARY
from curator.commands.shares import echo_shares
from curator.engine.local import default_workers
from curator.guard import STOPPED
from curator.ingest import ingest
from curator.ledger import OUTCOME_DOC
from curator.progress import Console, Silent
from curator.readers.columns import Columns
from curator.recipe import load, with_calibration, with_decontamination, with_encoder
from curator.run import Request, filter_corpus, redecide_run


def _column_options(command: Any) -> Any:
    for part, what in reversed(list(_PARTS.items())):
        command = click.option(f"--{part}-column", metavar="NAME", help=what)(command)
    return command


_PARTS = {
    "text": "Column that holds the text (else text, content, raw_content or body).",
    "id": "Column that holds the record's id.",
    "url": "Column that holds the address.",
    "date": "Column that holds the date.",
    "source": "Column that holds the source.",
    "language": "Column that holds the declared language.",
    "origin": "Column that holds the declared origin (human, synthetic, mixed; or true for synthetic).",
}


def _columns(options: dict[str, Any]) -> Columns:
    return Columns(**{part: options.pop(f"{part}_column", None) for part in _PARTS})


@click.command("filter")
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), help="Folder to write (default: INPUT's name with .curated)."
)
@click.option("-r", "--recipe", default="default", show_default=True, help="A recipe that ships, or a TOML file.")
@click.option("--source", help="Source of all documents, where no column says.")
@click.option(
    "--encoder",
    type=click.Choice(["auto", "uncertain", "all"]),
    default="auto",
    show_default=True,
    help="Which documents the encoder sees: auto is all with a GPU, else the uncertain ones and a sample.",
)
@click.option(
    "--against",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="RUN",
    help="Earlier run: drop what it holds already, its documents survive.",
)
@click.option(
    "--decontaminate",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False),
    metavar="FILE",
    help="Evaluation set (JSON lines, JSON, Parquet, CSV): drop what holds half of one of its items.",
)
@click.option(
    "--calibration",
    type=click.Path(exists=True, dir_okay=False),
    metavar="FILE",
    help="Scores of text known to be human, from `curator calibrate`: hold the corpus's scores against them.",
)
@click.option(
    "--reference",
    multiple=True,
    metavar="FILE",
    help="Human text you trust: joins the corpus, gets its share of the mixture, and sets the margins.",
)
@click.option("--workers", type=click.IntRange(1), help="Worker processes (default: one a core).")
@QUIET
@SUMMARY
@_column_options
def filter_command(
    inputs: tuple[str, ...],
    out: Path | None,
    recipe: str,
    source: str | None,
    encoder: str,
    against: tuple[Path, ...],
    decontaminate: tuple[str, ...],
    calibration: str | None,
    reference: tuple[str, ...],
    workers: int | None,
    quiet: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Curate a corpus: Parquet, or anything that `curator ingest` reads, which is then done first into OUT/ingest.

    Writes OUT/mixture (the curated documents), OUT/ledger (one row for every input row) and
    OUT/audit.duckdb (the account). Killed and started again, it does only the rest.

    \b
    Example:
      curator filter corpus.parquet -o out
      curator filter crawl/ --text-column markdown --recipe strict
      curator filter crawl.warc.gz --recipe web -o out
    """
    out = out or _default_out(inputs[0], "curated")
    chosen = with_calibration(with_decontamination(with_encoder(load(recipe), encoder), decontaminate), calibration)
    request = Request(inputs, out, chosen, _columns(options), source, workers, against, reference)
    summary = filter_corpus(request, Silent() if quiet else Console())
    _closing(out, summary, as_json)


def _default_out(first: str, ending: str) -> Path:
    name = Path(first).name.split("*")[0].removesuffix(".parquet").rstrip(".")
    return Path(f"{name or 'corpus'}.{ending}")


@click.command("ingest")
@click.argument("inputs", nargs=-1, required=True, metavar="SOURCE...")
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), help="Folder to write (default: SOURCE's name with .ingested)."
)
@click.option("--source", help="Source of all documents, where no field says.")
@click.option("--workers", type=click.IntRange(1), help="Files read at once (default: one a core).")
@QUIET
@SUMMARY
@_column_options
def ingest_command(
    inputs: tuple[str, ...],
    out: Path | None,
    source: str | None,
    workers: int | None,
    quiet: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Turn what a scraper leaves behind into documents with a provenance, as Parquet.

    Reads WARC and WET, HTML, JSON lines, CSV and TSV, plain text and Markdown, Parquet and Arrow, compressed
    where that is usual: a file, a folder, a glob, or any address that fsspec opens (s3://, https://).
    Every record that claims to be a document gets a row: its text, where it came from, what its publisher says
    of its use; or the reason why it could not be read. Killed and started again, it does only the rest.

    \b
    Example:
      curator ingest CC-MAIN-*.warc.gz -o crawl
      curator ingest pages/ posts.jsonl.zst s3://bucket/crawl/ -o corpus
      curator filter crawl --recipe web -o out
    """
    out = out or _default_out(inputs[0], "ingested")
    found = sources.find(inputs, source)
    summary = ingest(found, out, _columns(options), workers or default_workers(), Silent() if quiet else Console())
    if as_json:
        click.echo(json.dumps(summary, indent=1))
    else:
        _echo_ingest(out, summary)


def _echo_ingest(out: Path, summary: dict[str, Any]) -> None:
    rows = [{"what": "documents", "records": summary["documents"], "share": summary["documents"]}]
    rows += [{"what": f"quarantined: {why}", "records": n, "share": n} for why, n in summary["quarantined"].items()]
    rows.append({"what": "inputs", "records": summary["inputs"], "share": summary["inputs"]})
    total = max(1, summary["inputs"])
    click.echo(tables.table([{**row, "share": tables.percent(row["share"] / total)} for row in rows]))
    for title, counts in (
        ("other records", summary["other_records"]),
        ("files passed over", summary["files_passed_over"]),
        ("documents that state", {k: n for k, n in summary["statements"].items() if n}),
    ):
        if counts:
            click.echo(f"{title}: " + ", ".join(f"{tables.shown(k)} {n:,}" for k, n in counts.items()))
    if stopped := sum(summary["quarantined"].get(why, 0) for why in STOPPED):
        click.echo(
            click.style("alarm: ", fg="red", bold=True)
            + f"{stopped:,} record(s) stopped their parser and were quarantined; please report what kind of record does"
        )
    click.echo(
        f"\n{summary['files']:,} file(s), {summary['bytes'] / 1e6:,.1f} MB; documents lie in {out}/documents. Go on with:"
    )
    click.echo(f"  curator filter {out} --recipe web -o {out}.curated")


def _closing(out: Path, summary: dict[str, Any], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(summary, indent=1, default=str))
        return
    inputs = sum(summary["outcomes"].values())
    rows = [
        {"outcome": k, "documents": n, "share": tables.percent(n / inputs), "meaning": OUTCOME_DOC[k]}
        for k, n in summary["outcomes"].items()
    ]
    click.echo(
        tables.table(
            [
                *rows,
                {"outcome": "inputs", "documents": inputs, "share": "100.0 %", "meaning": "every row that was read"},
            ]
        )
    )
    click.echo()
    echo_shares(summary["shares"])
    _echo_mixture(summary["mixture"])
    for alarm in summary["alarms"]:
        click.echo(click.style("alarm: ", fg="red", bold=True) + tables.shown(alarm["message"]))
    click.echo(f"\nResults lie in {out}/ (mixture/, ledger/, audit.duckdb). Look at them with:")
    click.echo(f"  curator shares {out} --by source")
    click.echo(f'  curator sql {out} "select * from drop_counts"')
    click.echo(f"  curator explain {out} {summary['example']}")


@click.command("redecide")
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--set",
    "settings",
    multiple=True,
    required=True,
    metavar="NAME=VALUE",
    help="rule=SQL, rule=NUMBER (its one limit), rule=off, mixture.setting=value, dedup.setting=value.",
)
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True, help="Folder for the new run.")
@QUIET
@SUMMARY
def redecide_command(run: Path, settings: tuple[str, ...], out: Path, quiet: bool, as_json: bool) -> None:
    """Decide again under changed rules, in seconds: no stage runs, no document is measured again.

    \b
    Example:
      curator redecide out --set too_short=100 -o out-100
      curator redecide out --set mixture.max_synthetic=0.05 --set spam="quality < 0.2" -o out-strict
    """
    _closing(out, redecide_run(run, settings, out, Silent() if quiet else Console()), as_json)


_HELD_TO = {
    "snapshot": "the snapshot given by --reference",
    "dated": "the corpus's text dated before 2022-11-30",
    "likely human": "the corpus's likely human text (nothing better: give --reference)",
}


def _echo_mixture(found: dict[str, Any]) -> None:
    for row in found["constraints"]:
        name, unit = row["name"], "" if row["name"] == "budget_words" else "%"
        asked, got = (f"{100 * v:.1f} %" if unit else f"{v:,.0f}" for v in (row["target"], row["realised"]))
        click.echo(f"mixture {name:<15} {'at least ' if name == 'snapshot' else ''}{asked}, drawn {got}")
    topics = f", {found['topics']:,} topic{'s' * (found['topics'] > 1)}" if found["topics"] else ""
    click.echo(
        f"mixture margins         {found['margins_met']:,} of {found['margins']:,} in their boxes around {_HELD_TO[found['reference']]}{topics}"
    )
