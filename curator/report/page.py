"""Compose the page of a finished run: headline, alarms, and the chapters that the modules beside this one make."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from markupsafe import Markup

from curator.audit import open_audit
from curator.errors import InputError
from curator.report import funnel, likeness, measures, mixing, origins, queries, reading, tails
from curator.report.cells import Cell, Column, interval, line, roughly, share, table, ticked
from curator.report.parts import LONG, Block, Section, Tile
from curator.report.queries import Account
from curator.shards import writing
from curator.workspace import finished


def write_report(root: Path, path: Path) -> int:
    """Write the page of a finished run to `path` in one atomic step and return its size in bytes.

    Raises `InputError` when the run is not finished or what draws the page is missing, `OutputError` when
    `path` cannot be written.
    """
    page = render(root).encode("utf-8")
    with writing(path) as temporary:
        temporary.write_bytes(page)
    return len(page)


def render(root: Path) -> str:
    """The page of a finished run as HTML; the same run always gives the same page."""
    finished(root)
    with open_audit(root) as con:
        account = Account.of(con, root)
        sections = [section for section in _sections(account) if section.blocks]
        headline, tiles = _headline(account), list(_tiles(account, {section.anchor for section in sections}))
        (run,) = account.ask(queries.RUN).rows
    alarms = next((len(s.blocks[0].table.rows) for s in sections if s.anchor == "alarms" and s.blocks[0].table), 0)
    page: str = _template().render(
        style=Markup(_resource("style.css")),
        title=f"{line(run['recipe'])} · {run['run_id']}",
        headline=headline,
        tiles=tiles,
        alarms=alarms,
        sections=sections,
        run=run,
    )
    return page


def _resource(name: str) -> str:
    return (files("curator.report") / name).read_text("utf-8")


def _template() -> Any:
    try:
        from jinja2 import Environment, StrictUndefined
    except ImportError as error:
        raise InputError("the report is laid out by Jinja2; pip install 'corpus-curator[report]'") from error
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["ticked"] = ticked
    return environment.from_string(_resource("template.html"))


def _sections(account: Account) -> Iterator[Section]:
    yield Section("alarms", "Alarms", "What looked wrong, and which setting to change.", list(_alarms(account)))
    yield funnel.section(account)
    yield origins.section(account)
    yield from measures.sections(account)
    yield mixing.section(account)
    yield tails.section(account)
    yield likeness.section(account)
    yield from reading.sections(account)


def _headline(account: Account) -> list[str]:
    found = funnel.outcomes(account)
    total = sum(row["documents"] for row in found.rows)
    if not total:
        return ["This run read no documents."]
    rows = [row for row in found.rows if row["outcome"] == "curated"]
    curated, copies = (sum(row[name] for row in rows) for name in ("documents", "copies"))
    again = f", as {copies:,} copies" if copies > curated else ""
    said = [f"Of {total:,} documents {curated:,} are in the mixture ({share(curated / total)}){again}."]
    whole = _whole(account)
    if whole and whole["input"]["share"] is None and whole["input"]["reason"] == whole["mixture"]["reason"]:
        said.append(f"How much of it is synthetic is unknown: {line(whole['input']['reason'])}.")
    return said


def _whole(account: Account) -> dict[str, Mapping[str, Any]]:
    """The shares of all documents, by scope; empty where input or mixture has none."""
    whole: dict[str, Mapping[str, Any]] = {
        row["scope"]: row for row in origins.whole(account).rows if row["unit"] == "docs"
    }
    return whole if {"input", "mixture"} <= whole.keys() else {}


def _tiles(account: Account, chapters: set[str]) -> Iterator[Tile]:
    """The numbers that most readers come for, each beside the chapter that has its query."""
    rows = funnel.outcomes(account).rows
    documents, words = (sum(row[name] for row in rows) for name in ("documents", "words"))
    if words:
        curated = sum(row["words"] for row in rows if row["outcome"] == "curated")
        small = f"of {roughly(words)} ({share(curated / words)})"
        yield Tile("Words in the mixture", roughly(curated), small, "funnel")
    whole = _whole(account)
    if any(row["share"] is not None for row in whole.values()):
        yield _share_tile("Synthetic before", "of the input", whole["input"])
        yield _share_tile("Synthetic after", "of the mixture", whole["mixture"])
    copies = sum(row["documents"] for row in rows if row["outcome"] == "duplicate")
    if documents and "duplicates" in chapters:
        yield Tile("Duplicates removed", roughly(copies), f"{share(copies / documents)} of the documents", "duplicates")
    yield from tails.tiles(account)
    yield from likeness.tiles(account)


def _share_tile(name: str, of: str, row: Mapping[str, Any]) -> Tile:
    if row["share"] is None:
        return Tile(name, "unknown", f"{of}: {line(row['reason'])}", "shares")
    small = f"{of}; {interval(row['low'], row['high'])} (95 %), at least {share(row['lower'])}"
    return Tile(name, share(row["share"]), small, "shares")


def _alarms(account: Account) -> Iterator[Block]:
    found = account.ask(queries.ALARMS)
    if found.rows:
        columns = [
            Column("Alarm", lambda row: Cell(line(row["kind"]).replace("_", " "))),
            Column("What looked wrong, and what to change", lambda row: Cell(line(row["message"])[:LONG], own=True)),
        ]
        yield Block(table=table("Alarms of this run", columns, found.rows), sql=found.sql)
