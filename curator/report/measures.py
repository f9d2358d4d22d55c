"""Histograms: P(synthetic) with the operating point and its errors, quality, lengths."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from curator.report import figures, queries
from curator.report.cells import (
    Cell,
    Column,
    Table,
    count,
    excerpt,
    figure,
    line,
    number_column,
    share,
    table,
    text_column,
)
from curator.report.figures import Series
from curator.report.parts import Block, Section
from curator.report.queries import SHOWN, Account, Answer


def sections(account: Account) -> Iterator[Section]:
    """The chapters on what the detector said, on quality and on lengths."""
    yield Section(
        "detector",
        "P(synthetic)",
        "How likely a model wrote each document, by the detector; from where on it is flagged; and how often that errs.",
        list(_detector(account)),
    )
    yield Section(
        "quality", "Quality", "Estimated share of each text that is connected prose, 0 to 1.", list(_quality(account))
    )
    yield Section("lengths", "Lengths", "How many words documents have.", list(_lengths(account)))


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
                    f"flagged from here: {figures.clipped(line(row['reference']), 34)}",
                )
                for row in points.rows
                if row["lowest_flagged"] is not None
            ],
        )
        made = _bin_table("P(synthetic) in bins", "P(synthetic)", found.rows, lambda i: f"{i / 50:.2f}")
        said = _measured(account, points)
        also = [answer.sql for answer in said.values()]
        yield Block("Judged documents", " ".join(said), drawn, made, found.sql, mind=mind, also=also)
    else:
        yield Block(note="The detector judged no document.")
    if points.rows:
        yield from _operating(account, points)
    yield from _abstained(account)


def _anchors_warning(account: Account) -> str:
    """What to mind where the shipped anchors judged documents; empty where none needed them."""
    rows = account.ask(queries.ORIGIN_WARNINGS).rows
    return " ".join(f"Mind, for {row['documents']:,} of the documents: {line(row['warning'])}." for row in rows)


def _measured(account: Account, points: Answer) -> dict[str, Answer]:
    """What the flags did to text whose origin is known or claimed, in a sentence each, with its answer."""
    said = {}
    trusted, flagged = (sum(row[name] for row in points.rows) for name in ("trusted", "trusted_flagged"))
    if trusted:
        rate = f"{share(flagged / trusted)} of {trusted:,} judged documents known to be human were flagged"
        mind = "near the target by construction where they were held against their own kind"
        said[f"Measured: {rate} ({flagged:,}), {mind}."] = points
    declared = account.ask(queries.DECLARED) if points.rows else Answer("", [])
    for row in declared.rows:
        if row["declared_origin"] == "synthetic":
            rate = f"{share(row['rate'])} of {row['judged']:,} judged documents declared synthetic"
            said[f"Of what sources declare: {rate} were flagged ({row['flagged']:,})."] = declared
    return said


_CIRCULAR: Final = (
    "Known human: dated before assistants were open to everybody. Held against its own kind, each of them against the "
    "others, such text is flagged near the target by construction: the rate is a finding where the reference is other text. "
    "The last column is what the detector's shipped operating point, which never saw this corpus, flags of it."
)


def _operating(account: Account, points: Answer) -> Iterator[Block]:
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
        f"machine-like. {_CIRCULAR}",
        table=table(
            "Operating point as this run applied it, and what it did to text known to be human", columns, points.rows
        ),
        sql=points.sql,
    )
    yield from _strata(account)
    yield from _declared(account)
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
        Column("Mind", lambda row: Cell(line(row["warning"] or ""), own=True)),
    ]
    more = f" The {SHOWN} largest are shown." if total["strata"] > SHOWN else ""
    note = f"{total['strata']:,} strata judged {total['judged']:,} documents and flagged {total['flagged']:,}.{more}"
    made = table("Trusted human text by stratum", columns, found.rows)
    title = "Which human text each kind of document was held against"
    yield Block(title, note, table=made, sql=found.sql, folded=True, also=[queries.ORIGIN_TOTAL])


def _near_flag(account: Account) -> Block:
    found = account.ask(queries.NEAR_FLAG)
    texts = account.texts([row["doc_id"] for row in found.rows])
    columns = [
        number_column("Log-odds over the threshold", "over", _signed),
        _pair("P from text, and from all evidence", "prob_calibrated", "prob_pooled"),
        _pair("human_p, and q", "human_p", "q_synthetic"),
        Column("Flag", lambda row: Cell("flagged" if row["fired"] else "not flagged")),
        text_column("Outcome", "outcome"),
        Column(
            "Text", lambda row: Cell(excerpt(texts.get(row["doc_id"])), under=excerpt(row["url"] or ""), quote=True)
        ),
        Column(
            "Source, and stratum", lambda row: Cell(excerpt(row["source"]), under=excerpt(row["origin_stratum"] or ""))
        ),
    ]
    note = "The ten documents on either side that lie closest to the threshold of their own stratum: read them before trusting the flag."
    return Block(
        "Near the threshold",
        note,
        table=table("Documents nearest to the flag", columns, found.rows),
        sql=found.sql,
        folded=True,
    )


def _signed(value: float) -> str:
    shown = f"{value:+.3f}".replace("-", "−")
    return "0.000" if shown[1:] == "0.000" else shown


def _pair(heading: str, first: str, second: str) -> Column:
    """Two numbers of a document, the second below the first."""
    return Column(heading, lambda row: Cell(figure(row[first]), number=True, under=figure(row[second])), number=True)


def _declared(account: Account) -> Iterator[Block]:
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
            "one of false positives among the human, of recall among the synthetic.",
            table=table("Flags by declared origin", columns, found.rows),
            sql=found.sql,
        )


def _abstained(account: Account) -> Iterator[Block]:
    if account.has("documents", "ai_abstain") and (silent := account.ask(queries.ABSTAINED)).rows:
        columns = [
            text_column("Why", "reason"),
            Column("What that means", lambda row: Cell(_SILENT.get(row["reason"], ""))),
            number_column("Documents", "documents", count),
        ]
        yield Block("Not judged", table=table("Documents without a judgment", columns, silent.rows), sql=silent.sql)


_SILENT: Final = {
    "too_short": "too few words for a judgment",
    "not_prose": "lists, tables, code: nothing the detector was trained on",
    "untrained_language": "a language that the detector was not trained on",
}


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


_NAMES: Final = {"quality": "quality", "n_words": "words a document"}


def _quantiles(account: Account, column: str) -> Block:
    found = account.ask(queries.QUANTILES.format(column=column))
    return Block("Quantiles", table=table(f"Quantiles of {_NAMES[column]}", _QUANTILES, found.rows), sql=found.sql)
