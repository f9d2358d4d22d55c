"""Sentences that several cards share: what was done, what limits the measures have, which licence holds."""

from __future__ import annotations

import re
from typing import Any, Final

import pyarrow as pa

from curator.cards.facts import Declared, Facts, like
from curator.prevalence import LEVEL
from curator.schema import INGESTED, doc_of
from curator.shipped import model_rows, shipped
from curator.tables import percent, shown

CONFIDENCE: Final = f"{100 * LEVEL:.0f} %"
# Which stage uses which model that ships; stages that are not named use none.
MODEL_OF_STAGE: Final = {"ai_text": "ai-text", "embed": "encoder", "language": "language", "quality": "quality"}
_SPDX: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]*")


def plain(text: object, limit: int = 200) -> str:
    """Text of the corpus as one printable line: control characters and line ends escaped, long ones clipped."""
    line = shown(text)
    return line if len(line) <= limit else line[: limit - 1] + "…"


def title(facts: Facts, declared: Declared) -> str:
    """Name of the data set: what the user says, else recipe and run."""
    return plain(declared.name) if declared.name else f"curated-{plain(facts.run['recipe'], 60)}-{facts.fingerprint}"


def summary(facts: Facts) -> str:
    """What the data set is, in two sentences."""
    return (
        f"{facts.curated:,} text documents that curator {facts.run['curator_version']} drew from "
        f"{facts.run['rows']:,} input documents of {len(facts.rows('sources')):,} source(s) by the recipe "
        f"{plain(facts.run['recipe'], 60)} (fingerprint {facts.run['recipe_fingerprint']}). "
        f"{share_sentence(facts.share('mixture'), 'the mixture')}"
    )


def share_sentence(row: dict[str, Any] | None, what: str) -> str:
    """A synthetic share with its interval, method and denominator, or why there is none."""
    if row is None or row["share"] is None:
        why = plain(row["reason"]) if row and row["reason"] else "the run has no detector"
        return f"The synthetic share of {what} is not known: {why}."
    return (
        f"An estimated {percent(row['share'])} of {what} ({row['unit']}) is machine-written "
        f"({CONFIDENCE} interval {percent(row['low'])} to {percent(row['high'])}, at least {percent(row['lower'])} by the "
        f"scores of human text alone, method: {plain(row['method'])}, "
        f"{row['n_judged']:,} of {row['n']:,} documents judged)."
    )


def protocol(facts: Facts) -> list[str]:
    """What was done to the documents, in order: measured, dropped, merged, drawn."""
    stages = ", ".join(f"{row['name']} {row['version']}" for row in facts.rows("stages"))
    rules = [
        f"Dropped as {plain(row['reason'], 80)} where {' '.join(plain(row['sql'], 600).split())}: "
        f"{row['fired']:,} documents (a document may have several reasons)."
        for row in facts.rows("rules")
    ]
    steps = [f"Measured by the stages {stages}.", *rules, duplicates(facts), drawn(facts)]
    return [f"{i}. {step}" for i, step in enumerate(steps, 1)]  # RDF keeps no order of values


def duplicates(facts: Facts) -> str:
    """How duplicates were treated, with counts."""
    clusters = facts.row("clusters") or {"clusters": 0, "members": 0, "largest": 0}
    kinds = ", ".join(f"{row['documents']:,} {plain(row['kind'])}" for row in facts.rows("duplicates")) or "none"
    return (
        f"Duplicates: {clusters['members']:,} documents in {clusters['clusters']:,} clusters, the largest of "
        f"{clusters['largest']:,}; one document stands for each cluster, the others were removed ({kinds})."
    )


def drawn(facts: Facts) -> str:
    """How the mixture was drawn: copies, constraints, margins and the reference they are held to, tails."""
    left, copies = facts.outcomes.get("left_out", 0), facts.rows("copies")[0]["copies"]
    again = f" as {copies:,} copies" if copies > facts.curated else ""
    margins = facts.rows("margins")
    held = "; ".join(_margin(row) for row in margins if row["boxed"])
    said = [
        f"Mixture: {facts.curated:,} documents drawn{again} by keyed hash (seed {facts.run['seed']}), {left:,} that the "
        "rules kept were left out.",
        f"Constraints: {_constraints(facts)}.",
        f"Shares of words were held near those of a human reference: {held}." if held else "",
        _tails(margins) if margins else "",
    ]
    return " ".join(filter(None, said))


def _constraints(facts: Facts) -> str:
    rows = facts.answers["constraints"]
    if rows is None:
        return "unknown, for the account is of an earlier version"
    return "; ".join(map(_constraint, rows)) or "none"


def _constraint(row: dict[str, Any]) -> str:
    """What a setting asked for and got; whether it pressed on the mixture."""
    error = row["standard_error"]
    return (
        f"{plain(row['name'], 60)} asked for {row['target']:.4g}, drew {_number(row['realised'])}"
        f"{f' (standard error {error:.2g})' if error else ''}"
        f"{'' if row['met'] else ' (not met)'}{'' if row['price'] else ', without pressing on it'}"
    )


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4g}"


def _margin(row: dict[str, Any]) -> str:
    missed = f", {row['missed']:,} of them outside the allowed range" if row["missed"] else ""
    return f"{row['boxed']:,} of {row['strata']:,} {_PLURAL.get(row['dimension'], plain(row['dimension'], 40))} ({plain(row['basis'] or 'unknown', 60)}{missed})"


_PLURAL: Final = {
    "topic": "topics",
    "source": "sources",
    "language": "languages",
    "domain": "domains",
    "year": "years",
}


def _tails(margins: list[dict[str, Any]]) -> str:
    """What small strata kept of their human text."""
    topics = next((row for row in margins if row["dimension"] == "topic"), None)
    lost = {row["dimension"]: row["extinct"] for row in margins if row["extinct"]}
    gone = ", ".join(f"{n:,} {_PLURAL.get(name, plain(name, 40))}" for name, n in lost.items())
    said = f"Of strata with at least 5 estimated human documents {gone or 'none'} lost all."
    if topics and topics["low_retention"] is not None:
        said += f" 19 of 20 such topics kept at least {percent(topics['low_retention'])} of their human documents."
    return said


def limits(facts: Facts) -> list[str]:
    """What a reader must know before relying on the measures; weak spots are those the models' own cards name."""
    shares = [facts.share(scope) for scope in ("input", "mixture")]
    warnings = sorted({plain(row["warning"], 400) for row in shares if row and row["warning"]})
    dates = facts.row("dates") or {"documents": 0, "dated": 0}
    undated = dates["documents"] - dates["dated"]
    found = [f"Share of synthetic text: {warning}." for warning in warnings]
    found += [f"Origin of {r['documents']:,} documents: {plain(r['warning'], 400)}." for r in facts.rows("origin")]
    if undated:
        found.append(f"{undated:,} of {dates['documents']:,} documents of the mixture have no date.")
    if not facts.has_stage("language"):
        found.append("The language of the documents was not measured.")
    found.append("Personal data, toxicity, truth and copyright were not measured.")
    return [*found, *_weak_spots(facts)]


def _weak_spots(facts: Facts) -> list[str]:
    used = [model for stage, model in MODEL_OF_STAGE.items() if facts.has_stage(stage)]
    here = {row["name"]: row["sha256"] for row in model_rows()}
    ran = {row["name"]: row["sha256"] for row in facts.rows("models")}
    found = []
    for name in used:
        if here.get(name) != ran.get(name):
            found.append(f"Model {name}: the weights that ran are not those of the installed version; see its card.")
        elif text := weak_spots((shipped("models") / name / "card.md").read_text("utf-8")):
            found += [f"Model {name}: {line}" for line in text]
    return found


def weak_spots(card: str) -> list[str]:
    """The weak spots a model's card names: points under a heading `Weak…`, or the paragraph that begins so."""
    heading = re.search(r"^## Weak[^\n]*\n(.*?)(?=^## |\n\n|\Z)", card, re.M | re.S)
    paragraph = re.search(r"^\*\*Weak[^*]*\*\*(.*?)(?=\n\n|\Z)", card, re.M | re.S)
    points = re.split(r"^- ", heading[1], flags=re.M) if heading else [paragraph[1]] if paragraph else []
    return [line for point in points if (line := " ".join(point.replace("**", "").replace("`", "").split()))]


def licences(facts: Facts, declared: Declared) -> tuple[list[str], str]:
    """(SPDX ids that hold for all documents, sentence that says why); no ids where the account cannot tell."""
    if declared.licence:
        return [declared.licence], f"Stated by who published the data set: {plain(declared.licence)}."
    rows = facts.answers["licences"]
    if rows is None:
        return [], "The inputs carry no licence for the documents that the account could read."
    stated = {row["licence"]: row["documents"] for row in rows}
    silent = stated.pop(None, 0)
    listed = ", ".join(f"{plain(name, 80)} ({n:,})" for name, n in list(stated.items())[:10]) or "none"
    sentence = (
        f"Licences that the pages declare: {listed}; {silent:,} documents declare none. "
        "A page's declaration was read, not checked."
    )
    known = not silent and bool(stated) and all(map(is_spdx, stated))
    return (sorted(stated) if known else []), sentence


def is_spdx(licence: str) -> bool:
    """Whether the text has the form of an SPDX id; an address or a sentence has not."""
    return bool(_SPDX.fullmatch(licence))


def repaired(facts: Facts) -> str:
    """Whether texts were changed."""
    if "original_text_hash" in facts.schema.names:
        return "Texts were repaired as the recipe's mixture.repair says; original_text_hash names the text as it came."
    return "Texts are as they came: nothing in them was changed."


def models_used(facts: Facts) -> list[dict[str, Any]]:
    """The models whose stages measured these documents, as the account names them."""
    used = {model for stage, model in MODEL_OF_STAGE.items() if facts.has_stage(stage)}
    return [row for row in facts.rows("models") if row["name"] in used]


def meaning(column: pa.Field) -> str:
    """What a column of the mixture means: its own words, else those of `curator ingest`, which Parquet readers drop on the way."""
    ingest = INGESTED.field(column.name) if column.name in INGESTED.names else None
    if own := doc_of(column):
        return own
    return doc_of(ingest) if ingest is not None and like(column.type, ingest.type) else ""


def languages(facts: Facts, at_least: float = 0.01) -> list[dict[str, Any]]:
    """Languages of at least that share of the documents with a language; rarer findings are mostly misreadings of short texts."""
    rows = facts.rows("languages")
    total = sum(row["documents"] for row in rows)
    return [row for row in rows if row["documents"] >= at_least * total]
