"""`curator sql`: one question to the account."""

from __future__ import annotations

from pathlib import Path

import click
import duckdb

from curator import tables
from curator.audit import ask, open_audit
from curator.commands.options import OUT
from curator.errors import InputError, first_line


@click.command("sql")
@OUT
@click.argument("query")
@click.option(
    "-f",
    "--format",
    "kind",
    type=click.Choice(["table", "csv", "json", "parquet"]),
    default="table",
    show_default=True,
    help="How to print the rows.",
)
@click.option(
    "-o",
    "--to",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File to write instead of the terminal (needed for parquet).",
)
def sql_command(out: Path, query: str, kind: str, to: Path | None) -> None:
    """Ask the account in SQL; it is opened read-only and can reach no other file.

    One question at a time, and only a question: nothing can be written. Tables: documents, sources, clusters,
    cluster_members, shares, origin, tiers, strata, constraints, frontier, representativeness, rules, models, stages,
    runs, inputs, alarms, dedup, quarantine, drop_counts; views: reasons, verdicts, margins, mixture, texts. Worked queries: docs/queries.md.

    \b
    Example:
      curator sql out "select source, count(*) from documents where outcome = 'curated' group by all"
      curator sql out "from documents" --format parquet -o documents.parquet
    """
    tables.need(kind != "parquet" or to, "parquet goes to a file; name it with -o FILE.parquet")
    with open_audit(out) as con:
        try:
            found = ask(con, query).to_arrow_table()
        except duckdb.Error as error:
            raise InputError(f"query failed: {first_line(error)}") from error
    rows = (lambda: found.to_pylist()) if kind != "parquet" else list
    if kind == "parquet":
        import pyarrow.parquet as pq

        try:
            pq.write_table(found, to, compression="zstd")
        except OSError as error:
            raise InputError(f"cannot write {to}: {error}") from error
    elif kind == "table":
        _emit(tables.table(rows(), found.schema.names) + f"\n({found.num_rows:,} rows)", to)
    elif kind == "json":
        _emit(tables.as_json(rows()), to)
    else:
        _emit(tables.as_csv(found.schema.names, ([row[n] for n in found.schema.names] for row in rows())), to)


def _emit(text: str, to: Path | None) -> None:
    if to is None:
        click.echo(text.rstrip("\n"))
        return
    try:
        to.write_text(text if text.endswith("\n") else text + "\n", "utf-8")
    except OSError as error:
        raise InputError(f"cannot write {to}: {error.strerror}") from error
