"""The command line: arguments in, one call, a table out."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import click
import duckdb
import pyarrow.parquet as pq

from curator import __version__, account, shipped, sources, tables
from curator.audit import ask, open_audit, rows_of
from curator.cards.command import card_command
from curator.cli_origin import calibrate_command, evaluate_command, train_group
from curator.cli_prove import prove_command
from curator.cli_serve import serve_command
from curator.curve import curve_lines
from curator.engine.local import default_workers
from curator.errors import CuratorError, InputError
from curator.guard import STOPPED
from curator.ingest import ingest
from curator.ledger import OUTCOME_DOC
from curator.progress import Console, Silent
from curator.readers.columns import Columns
from curator.recipe import load, with_calibration, with_decontamination, with_encoder
from curator.report.command import report_command
from curator.run import Request, filter_corpus, redecide_run
from curator.schema import doc_of
from curator.score import Scorer, open_lines
from curator.stages.registry import STAGES, stage_class
from curator.workspace import finished


class _Group(click.Group):
    """Prints a user's mistake as one line and exits with 1; never a traceback for it."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except CuratorError as error:
            click.echo(f"error: {tables.shown(str(error))}", err=True)
            ctx.exit(1)
        except BrokenPipeError:
            sys.stderr.close()  # the reader of our output has gone; there is nobody to tell
            ctx.exit(1)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="curator")
def main() -> None:
    """Curate scraped corpora for training language models.

    \b
    curator filter corpus.parquet -o out     deduplicate, judge, mix, with an account
    curator shares out                       how much of it is synthetic
    curator explain out https://...          what happened to one document, and why
    """


OUT = click.argument("out", type=click.Path(path_type=Path))


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


@main.command("filter")
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
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@_column_options
def filter_(
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


@main.command("ingest")
@click.argument("inputs", nargs=-1, required=True, metavar="SOURCE...")
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), help="Folder to write (default: SOURCE's name with .ingested)."
)
@click.option("--source", help="Source of all documents, where no field says.")
@click.option("--workers", type=click.IntRange(1), help="Files read at once (default: one a core).")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@_column_options
def ingest_(
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
    _echo_shares(summary["shares"])
    _echo_mixture(summary["mixture"])
    for alarm in summary["alarms"]:
        click.echo(click.style("alarm: ", fg="red", bold=True) + tables.shown(alarm["message"]))
    click.echo(f"\nResults lie in {out}/ (mixture/, ledger/, audit.duckdb). Look at them with:")
    click.echo(f"  curator shares {out} --by source")
    click.echo(f'  curator sql {out} "select * from drop_counts"')
    click.echo(f"  curator explain {out} {summary['example']}")


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


def _echo_shares(shares: list[dict[str, Any]]) -> None:
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


@main.command()
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
def sql(out: Path, query: str, kind: str, to: Path | None) -> None:
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
            raise InputError(f"query failed: {str(error).strip().splitlines()[0]}") from error
    rows = (lambda: found.to_pylist()) if kind != "parquet" else list
    if kind == "parquet":
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


@main.command()
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
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def shares(out: Path, by: str, unit: str, as_json: bool) -> None:
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


@main.command()
@OUT
@click.argument("name", metavar="ID|URL")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def explain(out: Path, name: str, as_json: bool) -> None:
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


@main.command()
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
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def redecide(run: Path, settings: tuple[str, ...], out: Path, quiet: bool, as_json: bool) -> None:
    """Decide again under changed rules, in seconds: no stage runs, no document is measured again.

    \b
    Example:
      curator redecide out --set too_short=100 -o out-100
      curator redecide out --set mixture.max_synthetic=0.05 --set spam="quality < 0.2" -o out-strict
    """
    _closing(out, redecide_run(run, settings, out, Silent() if quiet else Console()), as_json)


@main.command()
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def diff(a: Path, b: Path, as_json: bool) -> None:
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
        _echo_shares(shares_)


@main.command()
@OUT
def verify(out: Path) -> None:
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


@main.command()
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
def score(source: str, recipe: str, encoder: str, text_column: str | None, id_column: str | None) -> None:
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


@main.command()
@click.argument("recipe")
@click.option("--curve", is_flag=True, help="Print what its deduplication can see instead: the S-curve of its bands.")
def check(recipe: str, curve: bool) -> None:
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


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def models(as_json: bool) -> None:
    """List the models that ship: what each judges, how well, its licence and pinned sha256.

    \b
    Example:
      curator models
    """
    found = shipped.model_rows()
    click.echo(tables.as_json(found) if as_json else tables.table(found))


@main.command()
@click.argument("name", required=False)
def stages(name: str | None) -> None:
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


main.add_command(report_command)
main.add_command(card_command)
main.add_command(calibrate_command)
main.add_command(train_group)
main.add_command(evaluate_command)
main.add_command(prove_command)
main.add_command(serve_command)
