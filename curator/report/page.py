"""Compose the page: sections of blocks, each block a figure, a table and the query both came from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from markupsafe import Markup

from curator.audit import open_audit
from curator.errors import InputError
from curator.ledger import OUTCOME_DOC, OUTCOMES
from curator.report import figures, queries
from curator.report.cells import (
    Cell,
    Column,
    Table,
    count,
    excerpt,
    figure,
    interval,
    interval_column,
    line,
    number_column,
    share,
    table,
    text_column,
)
from curator.report.figures import Series
from curator.report.queries import SHOWN, Account, Answer, Limit
from curator.shards import writing
from curator.workspace import finished

LIMITS: Final = 40  # limits whose neighbours are shown; a recipe with more is named as having them

LONG: Final = 10_000  # characters of what is the run's own and not a document's: rules, settings, alarms

SCOPES: Final = {
    "input": "all readable documents",
    "unique": "without duplicates",
    "kept": "kept by rules and deduplication",
    "mixture": "in the mixture",
}


@dataclass(frozen=True)
class Block:
    """A part of a section. folded: shown only when asked for."""

    title: str = ""
    note: str = ""
    figure: Markup | None = None
    table: Table | None = None
    sql: str = ""
    folded: bool = False


@dataclass(frozen=True)
class Section:
    """A chapter of the page."""

    anchor: str
    title: str
    lead: str
    blocks: Sequence[Block]


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
        headline = _headline(account)
        (run,) = account.ask(queries.RUN).rows
    alarms = next((len(s.blocks[0].table.rows) for s in sections if s.anchor == "alarms" and s.blocks[0].table), 0)
    page: str = _template().render(
        style=Markup(_resource("style.css")),
        title=f"{line(run['recipe'])} · {run['run_id']}",
        headline=headline,
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
    return environment.from_string(_resource("template.html"))


def _sections(account: Account) -> Iterator[Section]:
    yield Section("alarms", "Alarms", "What looked wrong, and which setting to change.", list(_alarms(account)))
    yield Section(
        "funnel",
        "From inputs to mixture",
        "Every input row has exactly one outcome; together they add up to the inputs.",
        list(_funnel(account)),
    )
    yield Section(
        "shares",
        "Human and synthetic",
        "Share of documents that a model wrote, before and after, each with its 95 % interval. "
        "Where it cannot be known, the reason stands in its place.",
        list(_shares(account)),
    )
    yield Section(
        "detector",
        "P(synthetic)",
        "What the detector said of each document it judged, and how often it errs.",
        list(_detector(account)),
    )
    yield Section(
        "quality", "Quality", "Estimated share of each text that is connected prose.", list(_quality(account))
    )
    yield Section("lengths", "Lengths", "Words a document.", list(_lengths(account)))
    yield Section(
        "constraints",
        "The mixture's constraints",
        "What each setting asked for, what it got, and what that cost.",
        list(_constraints(account)),
    )
    yield Section(
        "tails",
        "Tails kept and lost",
        "The smallest strata of the mixture first: small ones are lost first where nobody looks.",
        list(_tails(account)),
    )
    yield Section(
        "duplicates", "Duplicates", "The largest clusters, and how their texts begin.", list(_clusters(account))
    )
    yield Section("quarantine", "Quarantine", "Rows that could not be read as documents.", list(_quarantine(account)))
    yield Section(
        "limits",
        "Near the limits",
        "Up to ten documents on either side of each number in the rules, the closest ones, in the order of their values: "
        "read them to see whether the limit is where it should be.",
        list(_near(account)),
    )
    yield Section("run", "This run", "What made these numbers.", list(_run(account)))


def _headline(account: Account) -> list[str]:
    outcomes = _outcomes(account)
    total = sum(row["documents"] for row in outcomes.rows)
    if not total:
        return ["This run read no documents."]
    curated = sum(row["documents"] for row in outcomes.rows if row["outcome"] == "curated")
    said = [f"Of {total:,} documents {curated:,} are in the mixture ({share(curated / total)})."]
    whole = {row["scope"]: row for row in _whole(account).rows if row["unit"] == "docs"}
    if {"input", "mixture"} <= whole.keys():
        said.append(_before_and_after(whole["input"], whole["mixture"]))
    return said


def _before_and_after(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    if before["share"] is None and before["reason"] == after["reason"]:
        return f"How much of it is synthetic is unknown: {line(before['reason'])}."
    return f"Synthetic: {_said(before)} of the input, {_said(after)} of the mixture."


def _said(row: Mapping[str, Any]) -> str:
    if row["share"] is None:
        return f"an unknown part ({line(row['reason'])})"
    return f"{share(row['share'])} ({interval(row['low'], row['high'])}, at least {share(row['lower'])})"


def _outcomes(account: Account) -> Answer:
    return account.ask(queries.OUTCOMES.format(words="n_words" if account.has("documents", "n_words") else "0"))


def _whole(account: Account) -> Answer:
    return account.ask(queries.WHOLE) if account.has("shares") else Answer(queries.WHOLE, [])


# --- sections -------------------------------------------------------------------------------------------------------


def _alarms(account: Account) -> Iterator[Block]:
    found = account.ask(queries.ALARMS)
    if found.rows:
        columns = [text_column("Alarm", "kind"), text_column("What looked wrong, and what to change", "message", LONG)]
        yield Block(table=table("Alarms of this run", columns, found.rows), sql=found.sql)


def _funnel(account: Account) -> Iterator[Block]:
    found = _outcomes(account)
    by_name = {row["outcome"]: row for row in found.rows}
    total = sum(row["documents"] for row in found.rows)
    if not total:
        return
    rows = [
        {"outcome": o, "meaning": OUTCOME_DOC[o], "documents": 0, "words": 0, **by_name.get(o, {})} for o in OUTCOMES
    ]
    rows.append({"outcome": "inputs", "meaning": "every row that was read", "documents": total, "words": None})
    columns = [
        text_column("Outcome", "outcome"),
        text_column("Meaning", "meaning"),
        number_column("Documents", "documents", count),
        number_column("Of inputs", lambda row: row["documents"] / total, share),
    ]
    if account.has("documents", "n_words"):
        columns.append(number_column("Words", "words", count))
    yield Block(
        "What became of every row", figure=_steps(by_name), table=table("Outcomes", columns, rows), sql=found.sql
    )
    yield from _reasons(account)
    yield from _sources(account)


def _steps(by_name: Mapping[str, Mapping[str, Any]]) -> Markup:
    """What is left after each step, and what the step took."""
    numbers = {o: int(by_name.get(o, {}).get("documents", 0)) for o in OUTCOMES}
    left, rows = sum(numbers.values()), []
    for step, outcome in (("reading", "quarantined"), ("rules", "dropped"), ("deduplication", "duplicate"), ("mixture", "left_out")):  # fmt: skip
        left -= numbers[outcome]
        rows.append((f"after {step}", left, outcome, numbers[outcome]))
    labels = ["inputs", *(row[0] for row in rows)]
    remain = [sum(numbers.values()), *(row[1] for row in rows)]
    series = [Series("remain", "curated", remain)]
    for outcome in ("quarantined", "dropped", "duplicate", "left_out"):
        taken = [0, *(row[3] if row[2] == outcome else 0 for row in rows)]
        series += [Series(outcome.replace("_", " "), outcome, taken)] if any(taken) else []
    title = "Documents that remain after each step, and what it took"
    return figures.bars("funnel-steps", title, labels, series, ends=remain)


def _reasons(account: Account) -> Iterator[Block]:
    found = account.ask(queries.REASONS)
    if not found.rows:
        return
    faults = [row for row in found.rows if row["reason"] not in ("mixture", "duplicate")]
    alone = [row["for_this_alone"] for row in faults]
    beside = [row["documents"] - row["for_this_alone"] for row in faults]
    drawn = figures.bars(
        "funnel-reasons",
        "Documents that each rule touched",
        [_named(row, "reason", "reasons") for row in faults],
        [Series("for this reason alone", "dropped", alone), Series("beside other reasons", "shared", beside)],
    )
    columns = [
        Column("Reason", lambda row: Cell(_named(row, "reason", "reasons"))),
        number_column("Documents", "documents", count),
        number_column("For this alone", "for_this_alone", count),
    ]
    yield Block(
        "By reason",
        "A document may have several reasons. “mixture” and “duplicate” are no faults of the document and stand in the table only.",
        drawn if faults else None,
        table("Reasons", columns, found.rows),
        found.sql,
    )


def _named(row: Mapping[str, Any], name: str, many: str) -> str:
    return f"{row[many]:,} others" if row[many] > 1 else excerpt(row[name])


def _sources(account: Account) -> Iterator[Block]:
    found = account.ask(queries.SOURCES)
    if not found.rows:
        return
    labels = [_named(row, "source", "sources") for row in found.rows]
    order = tuple(reversed(OUTCOMES))
    drawn = figures.fractions(
        "funnel-sources",
        "What became of each source's documents",
        labels,
        [Series(o.replace("_", " "), o, [row[o] for row in found.rows]) for o in order],
    )
    columns = [
        Column("Source", lambda row: Cell(_named(row, "source", "sources"))),
        number_column("Documents", "documents", count),
        *(number_column(o.replace("_", " ").capitalize(), o, count) for o in order),
        number_column("In the mixture", lambda row: row["curated"] / row["documents"], share),
    ]
    yield Block("By source", figure=drawn, table=table("Outcomes by source", columns, found.rows), sql=found.sql)


def _in_short(warning: str | None) -> str:
    """A warning without what follows its colons; the note above the table has it in full."""
    return "; ".join(line(part).partition(":")[0] for part in (warning or "").split("; "))


_WHOLE_COLUMNS: Final = [
    Column("Of", lambda row: Cell(SCOPES.get(row["scope"], line(row["scope"])))),
    text_column("Unit", "unit"),
    number_column("Documents", "n", count),
    number_column("Judged", "n_judged", count),
    number_column("Human", lambda row: None if row["share"] is None else 1 - row["share"], share),
    number_column("Synthetic", "share", share),
    number_column("At least", lambda row: None if row["share"] is None else row["lower"], share),
    interval_column("95 % interval", "low", "high"),
    Column("Method, or why unknown", lambda row: Cell(line(row["method"] or row["reason"] or ""))),
    number_column("By another estimator", "second", share),
    Column("Which", lambda row: Cell(line(row["second_method"] or ""))),
    number_column("Declared human", "declared_human", count),
    number_column("Declared synthetic", "declared_synthetic", count),
    Column("Mind", lambda row: Cell(_in_short(row["warning"]))),
]


_NOTHING: Final = {"low": None, "share": None, "high": None, "lower": None, "second": None}
_AT_LEAST: Final = "“At least” is what the scores of human text alone cannot explain (97.5 %), whatever the machine."


def _shares(account: Account) -> Iterator[Block]:
    found = _whole(account)
    if not found.rows:
        return
    docs = [row for row in found.rows if row["unit"] == "docs"]
    words = {row["scope"]: row for row in found.rows if row["unit"] == "words"}
    drawn = figures.intervals(
        "shares-all",
        "Synthetic share of documents and of words, from input to mixture",
        [SCOPES.get(row["scope"], row["scope"]) for row in docs],
        [
            Series("of documents", "before", _points(docs)),
            Series("of words", "after", _points([words.get(row["scope"], _NOTHING) for row in docs])),
        ],
    )
    yield Block(
        "Of the whole",
        " ".join([_AT_LEAST, _rests_on(docs)]),
        drawn if any(_points(docs)) else None,
        table("Shares of the whole", _WHOLE_COLUMNS, found.rows),
        found.sql,
    )
    for dimension in ("source", "domain", "host", "language"):
        yield from _dimension(account, dimension, f"By {dimension}")
    yield from _months(account)


def _rests_on(rows: Sequence[Mapping[str, Any]]) -> str:
    """The human text on whose scores these shares rest, and what to mind, each once."""
    bases = dict.fromkeys(line(row["basis"]) for row in rows if row["basis"])
    said = [f"Human scores: {basis}." for basis in list(bases)[:5]]
    said += ["More of them stand in the table shares."] if len(bases) > 5 else []
    warnings = dict.fromkeys(line(row[name]) for row in rows for name in ("warning", "warning_after") if row.get(name))
    return " ".join([*said, *(f"Mind: {warning}." for warning in warnings)])


def _points(rows: Sequence[Mapping[str, Any]], end: str = "") -> list[tuple[float | None, ...] | None]:
    """(low, share, high, at least, by another estimator) of every row; None where there is no share."""
    names = [f"{name}{end}" for name in ("low", "share", "high", "lower", "second")]
    return [None if any(row[n] is None for n in names[:3]) else tuple(row[n] for n in names) for row in rows]


def _before_after(rows: Sequence[Mapping[str, Any]]) -> list[Series]:
    return [
        Series("input", "before", _points(rows, "_before")),
        Series("mixture", "after", _points(rows, "_after")),
    ]


def _dimension_table(caption: str, heading: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    columns = [
        text_column(heading, "stratum"),
        number_column("Documents", "documents", count),
        number_column("Judged", "judged", count),
        number_column("Synthetic before", "share_before", share),
        number_column("At least", "lower_before", share),
        interval_column("95 % interval", "low_before", "high_before"),
        number_column("Second", "second_before", share),
        number_column("In the mixture", "documents_after", count),
        number_column("Synthetic after", "share_after", share),
        number_column("At least", "lower_after", share),
        interval_column("95 % interval", "low_after", "high_after"),
        number_column("Second", "second_after", share),
        Column("Methods, or why unknown", lambda row: Cell(_how(row))),
        Column("Mind", lambda row: Cell(_in_short(row["warning"] or row["warning_after"]))),
    ]
    return table(caption, columns, rows)


def _how(row: Mapping[str, Any]) -> str:
    methods = f"{line(row['method'])}; {line(row['second_method'])}" if row["method"] else ""
    return "; ".join(part for part in (methods, _why(row)) if part)


def _why(row: Mapping[str, Any]) -> str:
    before, after = (excerpt(row[name] or "") for name in ("why_unknown", "why_unknown_after"))
    return before or (f"mixture: {after}" if after else "")


def _dimension(account: Account, dimension: str, title: str) -> Iterator[Block]:
    order = "documents desc nulls last, stratum"
    found = account.ask(queries.BY_DIMENSION.format(dimension=dimension, order=order, limit=SHOWN))
    strata = account.ask(queries.HOW_MANY.format(dimension=dimension)).rows[0]["strata"]
    if not found.rows:
        return
    known = [row for row in found.rows if any(_points([row], "_before") + _points([row], "_after"))]
    drawn = figures.intervals(
        f"shares-{dimension}",
        f"Synthetic share before and after, {title.lower()}",
        [line(row["stratum"]) for row in known],
        _before_after(known),
    )
    rest = strata - len(found.rows)
    note = (
        f"The {SHOWN} largest of {strata:,}; for the others: curator shares OUT --by {dimension}." if rest > 0 else ""
    )
    note += " What is unknown stands in the table only." if 0 < len(known) < len(found.rows) else ""
    note += " " + _rests_on(known)
    made = _dimension_table(f"Synthetic share {title.lower()}", dimension.capitalize(), found.rows)
    yield Block(title, note, drawn if known else None, made, found.sql)


def _months(account: Account) -> Iterator[Block]:
    found = account.ask(queries.BY_DIMENSION.format(dimension="month", order="stratum", limit=240))
    dated = [row for row in found.rows if row["stratum"] and row["stratum"][:1].isdigit()]
    if not dated:
        return
    drawn = figures.over_time(
        "shares-month", "Synthetic share by month", [line(row["stratum"]) for row in dated], _before_after(dated)
    )
    made = _dimension_table("Synthetic share by month", "Month", found.rows)
    yield Block("By month", _rests_on(found.rows), drawn if any(_points(dated, "_before")) else None, made, found.sql)


def _bins(rows: Sequence[Mapping[str, Any]], bins: int, name: str) -> list[int]:
    held = {row["bin"]: row[name] for row in rows}
    return [held.get(i, 0) for i in range(bins)]


def _overlaid(rows: Sequence[Mapping[str, Any]], bins: int) -> list[Series]:
    return [
        Series("input", "left_out", _bins(rows, bins, "input")),
        Series("in the mixture", "curated", _bins(rows, bins, "mixture")),
    ]


def _bin_table(caption: str, heading: str, rows: Sequence[Mapping[str, Any]], edge: Any) -> Table:
    columns = [
        Column(heading, lambda row: Cell(f"{edge(row['bin'])} to {edge(row['bin'] + 1)}", number=True), number=True),
        number_column("Input", "input", count),
        number_column("In the mixture", "mixture", count),
    ]
    return table(caption, columns, rows)


def _detector(account: Account) -> Iterator[Block]:
    if not account.has("documents", "prob_synthetic"):
        yield Block(
            note="No detector ran: the recipe has no ai_text stage, so nothing is known of the documents' origin."
        )
        return
    calibrated = account.has("origin", "prob_calibrated", "origin_flagged", "origin_threshold")
    column = "prob_calibrated" if calibrated else "prob_synthetic"
    found = account.ask(queries.PROBABILITIES.format(column=column))
    points = account.ask(queries.OPERATING) if calibrated else Answer("", [])
    mind = _anchors_warning(account) if calibrated else ""
    if found.rows:
        drawn = figures.histogram(
            "detector-histogram",
            "P(synthetic) of the judged documents",
            [i / 50 for i in range(51)],
            _overlaid(found.rows, 50),
            "P(synthetic) from the text alone, calibrated at equal priors",
            [
                (
                    row["lowest_flagged"],
                    f"lowest flagged: {figures.clipped(line(row['reference']), 24)}",
                )
                for row in points.rows
                if row["lowest_flagged"] is not None
            ],
        )
        made = _bin_table("P(synthetic) in bins", "P(synthetic)", found.rows, lambda i: f"{i / 50:.2f}")
        yield Block("Judged documents", mind, drawn, made, found.sql)
    else:
        yield Block(note="The detector judged no document.")
    if points.rows:
        yield from _operating(account, points, mind)
    yield from _abstained(account)


def _anchors_warning(account: Account) -> str:
    """What to mind where the shipped anchors judged documents; empty where none needed them."""
    rows = account.ask(queries.ORIGIN_WARNINGS).rows
    return " ".join(f"Mind, for {row['documents']:,} of the documents: {line(row['warning'])}." for row in rows)


_CIRCULAR: Final = (
    "Known human: dated before assistants were open to everybody. Held against its own kind, each of them against the "
    "others, such text is flagged near the target by construction: the rate is a finding where the reference is other text. "
    "The last column is what the detector's shipped operating point, which never saw this corpus, flags of it."
)


def _operating(account: Account, points: Answer, mind: str) -> Iterator[Block]:
    columns = [
        text_column("Human text held against", "reference"),
        number_column("Target", "target_fpr", share),
        number_column("Judged", "judged", count),
        number_column("Flagged", "flagged", count),
        number_column("Highest P unflagged", "highest_unflagged", figure),
        number_column("Lowest P flagged", "lowest_flagged", figure),
        number_column("Known human", "trusted", count),
        number_column("Of these flagged", "trusted_flagged", count),
        number_column("False-positive rate", "rate", share),
        number_column("At most (97.5 %)", "rate_at_most", share),
        number_column("Flagged without calibration", "trusted_shipped", count),
    ]
    yield Block(
        "Operating point and measured error",
        "A document is flagged where at most the target (origin.target_fpr) of trusted human text of its stratum looks as "
        f"machine-like. {_CIRCULAR} {mind}",
        table=table(
            "Operating point as this run applied it, and what it did to text known to be human", columns, points.rows
        ),
        sql=points.sql,
    )
    yield from _strata(account)
    yield from _declared(account, mind)
    yield _near_flag(account)


def _strata(account: Account) -> Iterator[Block]:
    found, total = account.ask(queries.ORIGIN), account.ask(queries.ORIGIN_TOTAL).rows[0]
    columns = [
        text_column("Stratum", "stratum"),
        text_column("Human text held against", "reference"),
        number_column("Trusted texts", "n_trusted", count),
        number_column("Judged", "n_judged", count),
        number_column("Flagged", "n_flagged", count),
        number_column("Flags from log-odds", "threshold_logit", figure),
        number_column("Expected false positives", "expected_fpr", share),
        Column("Mind", lambda row: Cell(line(row["warning"] or ""))),
    ]
    more = f" The {SHOWN} largest are shown." if total["strata"] > SHOWN else ""
    note = f"{total['strata']:,} strata judged {total['judged']:,} documents and flagged {total['flagged']:,}.{more}"
    yield Block(
        "Strata of origin", note, table=table("Trusted human text by stratum", columns, found.rows), sql=found.sql
    )


def _near_flag(account: Account) -> Block:
    found = account.ask(queries.NEAR_FLAG)
    texts = account.texts([row["doc_id"] for row in found.rows])
    columns = [
        number_column("human_p", "human_p", figure),
        number_column("Log-odds over the threshold", "over", figure),
        number_column("q", "q_synthetic", figure),
        number_column("P from text", "prob_calibrated", figure),
        number_column("P from all evidence", "prob_pooled", figure),
        Column("Flag", lambda row: Cell("flagged" if row["fired"] else "not flagged")),
        text_column("Outcome", "outcome"),
        Column("Text", lambda row: Cell(excerpt(texts.get(row["doc_id"])))),
        text_column("Stratum", "origin_stratum"),
        text_column("Source", "source"),
        text_column("URL", "url"),
    ]
    note = "The ten documents on either side that lie closest to the threshold of their own stratum: read them before trusting the flag."
    return Block(
        "Near the threshold",
        note,
        table=table("Documents nearest to the flag", columns, found.rows),
        sql=found.sql,
        folded=True,
    )


def _declared(account: Account, mind: str) -> Iterator[Block]:
    found = account.ask(queries.DECLARED)
    if found.rows:
        columns = [
            text_column("Declared origin", "declared_origin"),
            number_column("Judged", "judged", count),
            number_column("Flagged", "flagged", count),
            number_column("Rate", "rate", share),
        ]
        yield Block(
            "Against what the sources declare",
            "A declaration is a claim: where it and the detector disagree, either may be wrong. Where it is true, the rate is "
            f"one of false positives among the human, of recall among the synthetic. {mind}",
            table=table("Flags by declared origin", columns, found.rows),
            sql=found.sql,
        )


def _abstained(account: Account) -> Iterator[Block]:
    if account.has("documents", "ai_abstain") and (silent := account.ask(queries.ABSTAINED)).rows:
        columns = [text_column("Why", "reason"), number_column("Documents", "documents", count)]
        yield Block("Not judged", table=table("Documents without a judgment", columns, silent.rows), sql=silent.sql)


_QUANTILES: Final = [
    text_column("Of", "scope"),
    number_column("Documents", "documents", count),
    *(
        number_column(heading, name, figure)
        for heading, name in (
            ("Least", "least"), ("5 %", "p05"), ("25 %", "p25"), ("Median", "median"), ("75 %", "p75"), ("95 %", "p95"),
            ("Most", "most"),
        )
    ),
]  # fmt: skip


def _quality(account: Account) -> Iterator[Block]:
    if not account.has("documents", "quality"):
        return
    found = account.ask(queries.QUALITY)
    if found.rows:
        limits = [limit for limit in account.limits() if limit.column == "quality"]
        marks = [(float(limit.number), f"{limit.reason}: {limit.sign} {limit.number}") for limit in limits]
        edges = [i / 40 for i in range(41)]
        drawn = figures.histogram("quality-histogram", "Quality", edges, _overlaid(found.rows, 40), "quality", marks)
        made = _bin_table("Quality in bins", "Quality", found.rows, lambda i: f"{i / 40:.3f}")
        yield Block("", "", drawn, made, found.sql)
        yield _quantiles(account, "quality")


def _lengths(account: Account) -> Iterator[Block]:
    if not account.has("documents", "n_words"):
        return
    found = account.ask(queries.LENGTHS)
    if found.rows:
        bins = 1 + max(row["bin"] for row in found.rows)
        edges = [10 ** (i / 4) for i in range(bins + 1)]
        limits = [limit for limit in account.limits() if limit.column == "n_words"]
        marks = [
            (float(limit.number), f"{limit.reason}: {limit.sign} {limit.number}")
            for limit in limits
            if edges[0] <= float(limit.number) <= edges[-1]
        ]
        drawn = figures.histogram(
            "lengths-histogram",
            "Words a document",
            edges,
            _overlaid(found.rows, bins),
            "words (log scale)",
            marks,
            True,
        )
        made = _bin_table("Words a document in bins", "Words", found.rows, lambda i: f"{10 ** (i / 4):,.0f}")
        yield Block("", "Empty texts are counted in the first bin.", drawn, made, found.sql)
        yield _quantiles(account, "n_words")


def _quantiles(account: Account, column: str) -> Block:
    found = account.ask(queries.QUANTILES.format(column=column))
    return Block("Quantiles", table=table(f"Quantiles of {column}", _QUANTILES, found.rows), sql=found.sql)


def _constraints(account: Account) -> Iterator[Block]:
    found = account.ask(queries.CONSTRAINTS)
    if not found.rows:
        yield Block(note="The mixture had no constraint.")
        return
    columns = [
        text_column("Setting", "name"),
        number_column("Target", "target", figure),
        number_column("Expected", "expected", figure),
        number_column("Achieved", "realised", figure),
        number_column("Slack", "slack", figure),
        number_column("Price", "price", figure),
        Column("Met", lambda row: Cell("yes" if row["met"] else "no")),
        number_column("Upper share", "upper_share", figure),
        number_column("Unjudged", "unjudged", count),
    ]
    yield Block(
        "",
        "Slack is target less expectation; the price is the power of 1 − P(synthetic) that the cap takes, 0 where it does not bind.",
        table=table("Constraints", columns, found.rows),
        sql=found.sql,
    )


def _tails(account: Account) -> Iterator[Block]:
    found, total = account.ask(queries.STRATA), account.ask(queries.STRATA_TOTAL).rows[0]
    if not found.rows:
        return
    drawn = figures.fractions(
        "tails-strata",
        "Part of each stratum's kept documents that the mixture drew",
        [f"{clipped_name(row['stratum'])} ({row['kept']:,})" for row in found.rows],
        [
            Series("drawn", "curated", [row["drawn"] for row in found.rows]),
            Series("left out", "left_out", [row["kept"] - row["drawn"] for row in found.rows]),
        ],
    )
    columns = [
        text_column("Stratum", "stratum"),
        number_column("Kept", "kept", count),
        number_column("Expected", "expected", figure),
        number_column("Drawn", "drawn", count),
        number_column("Retention", "retention", share),
        number_column("Synthetic, kept", "synthetic_kept", share),
        number_column("Synthetic, drawn", "synthetic_drawn", share),
    ]
    rest = total["strata"] - len(found.rows)
    note = f"{total['strata']:,} strata; {total['lost']:,} of them lost every document." + (
        f" The {len(found.rows)} smallest are shown; {rest:,} more are larger." if rest > 0 else ""
    )
    yield Block("", note, drawn, table("Retention by stratum, smallest first", columns, found.rows), found.sql)


def clipped_name(name: str | None) -> str:
    """A stratum's name, short enough to have its count beside it."""
    return figures.clipped(line(name or ""), 22)


def _clusters(account: Account) -> Iterator[Block]:
    if not account.has("clusters", "duplicate_kind"):
        return
    found, counted = account.ask(queries.CLUSTERS), account.ask(queries.DEDUP)
    if not found.rows:
        yield Block(note="No document has a duplicate.")
    else:
        columns = [
            number_column("Members", "members", count),
            number_column("Exact", "exact_members", count),
            number_column("Removed", "removed", count),
            number_column("Sources", "sources", count),
            number_column("Least alike", "min_similarity", figure),
            text_column("What stands for it", "outcome"),
            text_column("Source", "source"),
            *_document_columns(account, found),
        ]
        made = table("The ten largest clusters", columns, found.rows)
        yield Block("", "Texts are read from documents/ by doc_id.", table=made, sql=found.sql)
    columns = [text_column("What was counted", "name"), number_column("How many", "value", count)]
    yield Block("Counts", table=table("Counts of deduplication", columns, counted.rows), sql=counted.sql, folded=True)


def _document_columns(account: Account, found: Answer) -> list[Column]:
    texts = account.texts([row["doc_id"] for row in found.rows if row["doc_id"]])
    return [Column("Text", lambda row: Cell(excerpt(texts.get(row["doc_id"])))), text_column("URL", "url")]


def _quarantine(account: Account) -> Iterator[Block]:
    found = account.ask(queries.QUARANTINE)
    if not found.rows:
        yield Block(note="Every row was read.", sql=found.sql)
        return
    labels, rows = [line(row["reason"]) for row in found.rows], [row["rows"] for row in found.rows]
    drawn = figures.bars(
        "quarantine-reasons", "Quarantined rows", labels, [Series("rows", "quarantined", rows)], "rows"
    )
    columns = [
        text_column("Reason", "reason"),
        number_column("Rows", "rows", count),
        number_column("Sources", "sources", count),
        text_column("For example", "first_example"),
    ]
    yield Block("", "", drawn, table("Quarantine by reason", columns, found.rows), found.sql)


def _near(account: Account) -> Iterator[Block]:
    limits = account.limits()
    answers = [account.ask(queries.near(limit)) for limit in limits[:LIMITS]]
    texts = account.texts([row["doc_id"] for answer in answers for row in answer.rows])
    for limit, answer in zip(limits, answers, strict=False):
        if answer.rows:
            yield _neighbours(limit, answer, texts)
    if len(limits) > LIMITS:
        yield Block(note=f"{len(limits) - LIMITS:,} more limits of the recipe are not shown.")


def _neighbours(limit: Limit, answer: Answer, texts: Mapping[str, str]) -> Block:
    columns = [
        number_column(limit.column, "value", figure),
        Column("Rule", lambda row: Cell("fired" if row["fired"] else "did not fire")),
        text_column("Outcome", "outcome"),
        Column("Text", lambda row: Cell(excerpt(texts.get(row["doc_id"])))),
        text_column("Source", "source"),
        text_column("URL", "url"),
    ]
    title = f"{limit.reason}: {limit.column} {limit.sign} {limit.number}"
    note = "" if limit.alone else "The rule has other conditions too, so it may fire on either side of this number."
    return Block(title, note, table=table(title, columns, answer.rows), sql=answer.sql, folded=True)


def _run(account: Account) -> Iterator[Block]:
    found = account.ask(queries.RUN)
    if found.rows:
        pairs = [{"what": name.replace("_", " "), "value": value} for name, value in found.rows[0].items()]
        columns = [text_column("What", "what"), text_column("Value", "value")]
        yield Block("Identity", table=table("Identity of the run", columns, pairs), sql=found.sql)
    yield from _inputs(account)
    models, stages, recipe = (account.ask(sql) for sql in (queries.MODELS, queries.STAGES, queries.RECIPE))
    columns = [
        text_column("Model", "name"), text_column("What", "what"), text_column("Licence", "licence"),
        text_column("sha256 of its files, first digits", "sha256", LONG),
    ]  # fmt: skip
    yield Block("Models", table=table("Models that ship with this version", columns, models.rows), sql=models.sql)
    columns = [text_column(n.capitalize(), n, LONG) for n in ("name", "version", "fingerprint", "settings")]
    yield Block("Stages", table=table("Stages that measured", columns, stages.rows), sql=stages.sql, folded=True)
    yield from _rules(account)
    lines = [{"line": text} for row in recipe.rows for text in row["recipe_toml"].splitlines() if text.strip()]
    made = table("The recipe, every default spelled out", [text_column("Line", "line", LONG)], lines)
    yield Block("Recipe", table=made, sql=recipe.sql, folded=True)


def _inputs(account: Account) -> Iterator[Block]:
    found, total = account.ask(queries.INPUTS), account.ask(queries.INPUT_FILES).rows[0]["files"]
    columns = [
        text_column("File", "name"),
        number_column("Rows", "rows", count),
        text_column("Source", "source"),
        text_column("sha256", "sha256"),
    ]
    rest = total - len(found.rows)
    note = f"The first {len(found.rows)} of {total:,}." if rest > 0 else ""
    yield Block("Inputs", note, table=table("Files the run read", columns, found.rows), sql=found.sql)


def _rules(account: Account) -> Iterator[Block]:
    found = account.ask(queries.RULES)
    columns = [
        text_column("Reason", "reason"),
        text_column("A document is dropped if", "sql", LONG),
        number_column("Fired", "fired", count),
    ]
    yield Block("Rules", table=table("Rules of the recipe", columns, found.rows), sql=found.sql, folded=True)
