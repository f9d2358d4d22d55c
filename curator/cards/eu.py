"""The fields of the public summary of training content (Regulation (EU) 2024/1689, Article 53(1)(d); template of July 2025).

A summary is of a model, this is one data set's part of it. What the account cannot know is null, with the reason.
"""

from __future__ import annotations

import math
import re
from typing import Any, Final

from curator.cards import words
from curator.cards.facts import Declared, Facts, Row, domains
from curator.prevalence import LEVEL

TOP_DOMAINS: Final = 0.10
MAX_LISTED: Final = 1000
_OPT_OUT: Final = re.compile(r"\b(train_ai|tdm_reserved|noai|robots_disallowed|content_usage)\b")
_NOT_KNOWN: Final = "not in the account: the provider must state it"
Field = dict[str, Any]


def known(value: Any, source: str) -> Field:
    """A field with where its value comes from: a query of the account, or the user."""
    return {"value": value, "from": source}


def _listed(rows: list[Row], source: str) -> Field:
    """The largest of many with how many there are: pages name licences by the thousand."""
    return known({"count": len(rows), "listed": rows[:MAX_LISTED]}, source)


def unknown(reason: str) -> Field:
    """A field that stays empty, and why."""
    return {"value": None, "reason": reason}


def stated(value: str | None, option: str) -> Field:
    """A field that only the user can fill."""
    return known(value, "stated by the user") if value else unknown(f"not in the account: state it with {option}")


def eu_summary(facts: Facts, declared: Declared) -> dict[str, Any]:
    """Every field of the template, filled or null with a reason."""
    return {
        "template": {
            "name": "Public summary of training content for general-purpose AI models",
            "legal_basis": "Regulation (EU) 2024/1689, Article 53(1)(d)",
            "published": "2025-07-24",
            "covers": "one data set, described by its curation account; a model's summary adds up all its data sets",
            "data_set": words.title(facts, declared),
            "run": facts.fingerprint,
        },
        "1_general_information": _general(facts, declared),
        "2_list_of_data_sources": _sources(facts),
        "3_data_processing": _processing(facts),
    }


def _general(facts: Facts, declared: Declared) -> dict[str, Any]:
    size, latest = facts.row("bytes"), facts.row("fetched")
    return {
        "1.1_provider": {
            "name_and_contact": stated(declared.provider, "--provider"),
            "authorised_representative": unknown(_NOT_KNOWN),
        },
        "1.2_model": {
            "versioned_name": stated(declared.model, "--model"),
            "dependencies": unknown(_NOT_KNOWN),
            "placed_on_the_market": unknown(_NOT_KNOWN),
        },
        "1.3_modalities_and_size": {
            "modalities": known(["text"], "schema of the mixture"),
            "text": {
                "size_range": size_range(facts),
                "documents": known(facts.curated, "query outcomes"),
                "words": _counted(facts, "words"),
                "bytes": known(size["bytes"], "query bytes") if size else unknown("the stage `exact` did not run"),
                "types_of_content": unknown("the account names sources, not kinds of content"),
            },
            "latest_date_of_acquisition": known(_day(latest["last"]), "query fetched")
            if latest and latest["last"]
            else unknown("the inputs do not say when they were fetched"),
            "linguistic_characteristics": _languages(facts),
        },
    }


def _counted(facts: Facts, name: str) -> Field:
    row = facts.row(name)
    return known(row[name], f"query {name}") if row else unknown("the stage `text_stats` did not run")


def _day(moment: Any) -> str:
    return f"{moment:%Y-%m-%d}"


def size_range(facts: Facts) -> Field:
    """The template's range of tokens, where words and bytes leave only one: a token holds a byte or more, a word costs one or more."""
    size, counted = facts.row("bytes"), facts.row("words")
    most = size["bytes"] if size else None
    least = counted["words"] if counted else None
    if most is not None and most < 10**9:
        return known("less than 1 billion tokens", "query bytes: no tokeniser makes more tokens than bytes")
    if most is not None and least is not None and least >= 10**9 and most <= 10**13:
        return known("1 billion to 10 trillion tokens", "queries words and bytes: a word costs a token or more")
    if least is not None and least > 10**13:
        return known("more than 10 trillion tokens", "query words: a word costs a token or more")
    return unknown("tokens were not counted, and words and bytes leave more than one range open")


def _languages(facts: Facts) -> Field:
    if facts.answers["languages"] is None:
        return unknown("the stage `language` did not run")
    return known({row["language"]: row["documents"] for row in words.languages(facts)}, "query languages, 1 % or more")


def _sources(facts: Facts) -> dict[str, Any]:
    names = [{"source": r["source"], "documents": r["curated"]} for r in facts.rows("sources") if r["curated"]]
    return {
        "sources_of_the_account": _listed(names, "query sources"),
        "2.1_publicly_available_datasets": unknown(
            "the account names sources but not whether they are public data sets"
        ),
        "2.2_private_datasets_of_third_parties": {
            "licensed_by_rightsholders": unknown("the account holds no contracts"),
            "other": unknown("the account holds no contracts"),
            "licences_that_pages_declare": _licences(facts),
        },
        "2.3_crawled_and_scraped": _crawled(facts),
        "2.4_user_data": unknown(
            "the account does not know whether documents come from users of the provider's services"
        ),
        "2.5_synthetic_data": _synthetic(facts),
        "2.6_other_sources": unknown(_NOT_KNOWN),
    }


def _licences(facts: Facts) -> Field:
    rows = facts.answers["licences"]
    if rows is None:
        return unknown("the inputs were not made by `curator ingest`, which reads declared licences")
    return _listed([{"licence": r["licence"], "documents": r["documents"]} for r in rows], "query licences")


def _crawled(facts: Facts) -> dict[str, Any]:
    fetched = facts.row("fetched")
    return {
        "crawlers": unknown("the account does not name the crawlers"),
        "period_of_collection": known([_day(fetched["first"]), _day(fetched["last"])], "query fetched")
        if fetched and fetched["first"]
        else unknown("the inputs do not say when they were fetched"),
        "top_domains": _top_domains(facts),
    }


def _top_domains(facts: Facts) -> Field:
    found = domains(facts)
    if found is None:
        return unknown("the stage `exact`, which measures sizes, did not run")
    if not found:
        return unknown("no document of the mixture has an address")
    top = found[: math.ceil(TOP_DOMAINS * len(found))]
    listed = {
        "rule": "largest 10 % of registered domains, by bytes of text in the mixture",
        "domains": len(found),
        "documents_with_address": sum(row["documents"] for row in found),
        "bytes_with_address": sum(row["bytes"] for row in found),
        "listed": top,
    }
    return known(
        listed, "query addresses; whether a document was crawled or came in a data set the account does not know"
    )


def _synthetic(facts: Facts) -> dict[str, Any]:
    row = facts.share("mixture")
    measured = (
        known(_share(row), "query shares")
        if row and row["share"] is not None
        else unknown(row["reason"] if row and row["reason"] else "the run has no detector of synthetic text")
    )
    return {
        "made_by_or_for_the_provider": unknown("the account measures whether a model wrote a text, not who ran it"),
        "models_that_made_it": unknown("the detector does not name models"),
        "measured_share_of_the_mixture": measured,
        "documents_declared_synthetic": known(row["declared_synthetic"], "query shares")
        if row
        else unknown("the run has no shares"),
    }


def _share(row: Row) -> Row:
    return {
        "unit": row["unit"],
        "at_least": row["lower"],
        "share": row["share"],
        "low": row["low"],
        "high": row["high"],
        "confidence_level": LEVEL,
        "method": row["method"],
        "measured_against": row["basis"],
        "warning": row["warning"],
        "judged": row["n_judged"],
        "documents": row["n"],
    }


def _processing(facts: Facts) -> dict[str, Any]:
    return {
        "3.1_reservation_of_rights": {
            "measures": _opt_out_rules(facts),
            "documents_of_the_mixture_with_an_opt_out": _opt_outs(facts),
        },
        "3.2_removal_of_illegal_content": unknown("curator has no measure of illegal content"),
        "3.3_other": known(
            words.protocol(facts), "queries stages, rules, clusters, duplicates, constraints, margins, copies"
        ),
    }


def _opt_out_rules(facts: Facts) -> Field:
    rules = [
        {"rule": row["reason"], "sql": row["sql"], "dropped": row["fired"]}
        for row in facts.rows("rules")
        if _OPT_OUT.search(row["sql"])
    ]
    if rules:
        return known(rules, "query rules")
    return unknown(
        "no rule of the recipe reads an opt-out; what was respected while crawling the account does not know"
    )


def _opt_outs(facts: Facts) -> Field:
    row = facts.row("opt_outs")
    if row is None:
        return unknown("the inputs were not made by `curator ingest`, which reads opt-outs")
    return known(row, "query opt_outs")
