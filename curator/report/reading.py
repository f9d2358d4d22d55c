"""What one reads rather than counts: duplicates, quarantine, documents near the limits, the run itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from curator.report import figures, queries
from curator.report.cells import (
    Cell,
    Column,
    count,
    excerpt,
    figure,
    line,
    number_column,
    table,
    text_column,
)
from curator.report.figures import Series
from curator.report.parts import LONG, Block, Section
from curator.report.queries import Account, Answer, Limit

LIMITS: Final = 40  # limits whose neighbours are shown; a recipe with more is named as having them


WORDS: Final = {
    "document": "One row of the input, whatever it holds.",
    "synthetic, human": "Written by a model; everything else.",
    "judged": "The detector gave it a P(synthetic): it is long enough, prose, and in a language the detector knows.",
    "share, interval": "An estimate for all documents of a group, not the part that was flagged. The interval says how sure it is; "
    "its second estimate and “at least” come by other ways, and where they lie far off none of them should be trusted alone.",
    "flagged, operating point": "Looking more machine-like than all but the target part (1 % by default) of human text of its kind. "
    "The operating point is where that begins.",
    "known human, trusted": "Dated before chat assistants were open to everybody, or given as human by whoever ran this.",
    "stratum": "Documents of one kind: a source, a domain, a language, a year, a topic.",
    "topic": "A cluster of meaning, named by words that tell it from the others.",
    "kept, left out": "Kept by every rule and by deduplication; kept, but not drawn for the mixture.",
    "mixture": "The documents drawn for training.",
    "reference": "The human text that the mixture is meant to resemble.",
    "margin, box": "The part of the words that a stratum has; how far from the reference's it may lie in the mixture.",
    "price": "How much a setting changes how often documents are taken. A setting of price 0 costs nothing: without it the mixture would be the same.",
    "human retention": "Of a stratum's human text that was kept, the part that the mixture drew.",
    "cluster, representative": "Documents that are copies or nearly copies of one another; the one that may stand for them.",
    "quarantined": "It could not be read as a document at all; it is counted, and nothing more is known of it.",
}


def sections(account: Account) -> Iterator[Section]:
    """The chapters on duplicates, quarantine, the run itself, the page's words, and what lies near the limits."""
    yield Section(
        "duplicates", "Duplicates", "The largest clusters, and how their texts begin.", list(_clusters(account))
    )
    yield Section("quarantine", "Quarantine", "Rows that could not be read as documents.", list(_quarantine(account)))
    yield Section("run", "This run", "What made these numbers.", list(_run(account)))
    yield Section("words", "Words of this page", "What they mean here.", [Block(terms=WORDS)])
    # Last, because on paper it is the longest: the report can be printed without it.
    yield Section(
        "limits",
        "Near the limits",
        "Up to ten documents on either side of each number in the rules, the closest ones, in the order of their values: "
        "read them to see whether the limit is where it should be.",
        list(_near(account)),
    )


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
            number_column("Least similarity", "min_similarity", figure),
            text_column("Its representative", "outcome"),
            text_column("Source", "source"),
            _text_column(account.texts([row["doc_id"] for row in found.rows if row["doc_id"]])),
        ]
        made = table("The ten largest clusters", columns, found.rows)
        note = (
            "“Exact” have the same words as the centre of the cluster; similarity is the part of their word 5-grams that two "
            "texts share (Jaccard). “Removed” are those dropped as duplicates: where rules dropped the representative too, none "
            "of the cluster had a text to stand for. Texts are read from `documents/` by doc_id."
        )
        yield Block("", note, table=made, sql=found.sql)
    columns = [
        Column("What was counted", lambda row: Cell(line(row["name"]).replace("_", " "))),
        number_column("How many", "value", count),
    ]
    yield Block("Counts", table=table("Counts of deduplication", columns, counted.rows), sql=counted.sql, folded=True)


def _text_column(texts: Mapping[str, str]) -> Column:
    """How a document begins, its address below where it has one."""

    def cell(row: Mapping[str, Any]) -> Cell:
        return Cell(excerpt(texts.get(row["doc_id"])), under=excerpt(row["url"] or ""), quote=True)

    return Column("Text", cell)


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
    rules = account.ask(queries.RULES) if account.has("rules") else Answer("", [])
    for limit, answer in zip(limits, answers, strict=False):
        if answer.rows:
            yield _neighbours(limit, answer, texts)
    yield from _without_limits(account, {limit.reason for limit in limits}, rules)
    empty = [_title(limit) for limit, answer in zip(limits, answers, strict=False) if not answer.rows]
    said = [f"No document has a value other than 0 for {'; '.join(empty)}."] if empty else []
    said += [f"{len(limits) - LIMITS:,} more limits of the recipe are not shown."] if len(limits) > LIMITS else []
    if said:
        yield Block(note=" ".join(said))


def _without_limits(account: Account, limited: set[str], rules: Answer) -> Iterator[Block]:
    """Rules that compare no single column with a number have nothing near it: what they fired on, by a fixed draw."""
    answers = {
        row["reason"]: account.ask(queries.fired(row["reason"]))
        for row in rules.rows
        if row["reason"] not in limited and row["fired"]
    }
    texts = account.texts([row["doc_id"] for answer in answers.values() for row in answer.rows])
    for row in rules.rows:
        if (answer := answers.get(row["reason"])) is None:
            continue
        columns = [
            text_column("Outcome", "outcome"),
            _text_column(texts),
            text_column("Source", "source"),
        ]
        note = f"The rule fired on {row['fired']:,} documents; it has no number to be near to. These are {len(answer.rows)} of them."
        title = f"{row['reason']}: {line(row['sql'])}"
        made = table(title, columns, answer.rows)
        yield Block(title, note, table=made, sql=answer.sql, folded=True, also=[rules.sql])


def _title(limit: Limit) -> str:
    return f"{limit.reason}: {limit.column} {limit.sign} {limit.number}"


def _neighbours(limit: Limit, answer: Answer, texts: Mapping[str, str]) -> Block:
    columns = [
        number_column(limit.column, "value", figure),
        Column("Rule", lambda row: Cell("fired" if row["fired"] else "did not fire")),
        text_column("Outcome", "outcome"),
        _text_column(texts),
        text_column("Source", "source"),
    ]
    fired = answer.rows[0]["fired_on"]
    note = f"The rule fired on {fired:,} document{'' if fired == 1 else 's'}."
    note += "" if limit.alone else " It has other conditions too, so it may fire on either side of this number."
    title = _title(limit)
    return Block(title, note, table=table(title, columns, answer.rows), sql=answer.sql, folded=True)


def _run(account: Account) -> Iterator[Block]:
    found = account.ask(queries.RUN)
    if found.rows:
        counted = ("rows", "encoder_documents")
        pairs = [
            {"what": name.replace("_", " "), "value": count(value) if name in counted else value}
            for name, value in found.rows[0].items()
        ]
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
    lines = [line(text) for row in recipe.rows for text in row["recipe_toml"].splitlines() if text.strip()]
    yield Block("Recipe, every default spelled out", sql=recipe.sql, folded=True, verbatim="\n".join(lines))


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
    also = [queries.INPUT_FILES] if rest > 0 else []
    yield Block("Inputs", note, table=table("Files the run read", columns, found.rows), sql=found.sql, also=also)


def _rules(account: Account) -> Iterator[Block]:
    found = account.ask(queries.RULES)
    columns = [
        text_column("Reason", "reason"),
        text_column("A document is dropped if", "sql", LONG),
        number_column("Fired", "fired", count),
    ]
    yield Block("Rules", table=table("Rules of the recipe", columns, found.rows), sql=found.sql, folded=True)
