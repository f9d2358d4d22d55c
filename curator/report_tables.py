"""The tables of the account that are not per document: runs, inputs, stages, models, rules, shares, strata, constraints, alarms."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from curator import __version__
from curator.alarms import Alarm
from curator.curation import Judged
from curator.decide import Rule
from curator.origin import STRATA as ORIGIN_STRATA
from curator.recipe import Recipe
from curator.schema import field
from curator.shares import SHARES as ESTIMATED
from curator.shipped import model_rows

Table = tuple[str, pa.Table]

RUNS = pa.schema(
    [
        field("run_id", pa.string(), "fingerprint of recipe, weights and inputs: equal runs have equal ids"),
        field("recipe", pa.string(), "name of the recipe"),
        field("recipe_toml", pa.string(), "the recipe, every default spelled out"),
        field("recipe_fingerprint", pa.string(), "hash of the recipe and of all weights behind it"),
        field("seed", pa.int64(), "seed of every keyed draw"),
        field("curator_version", pa.string(), "version of the package"),
        field("rows", pa.int64(), "input rows"),
        field("encoder_gate", pa.string(), "which documents the encoder saw: uncertain (and a sample) or all"),
        field("encoder_documents", pa.int64(), "documents the encoder judged"),
        field("redecided_from", pa.string(), "run_id of the run whose signals were taken over; null for a first run"),
    ]
)
INPUTS = pa.schema(
    [
        field("name", pa.string(), "file, relative to what was named"),
        field("sha256", pa.string(), "sha256 of its bytes"),
        field("rows", pa.int64(), "rows in it"),
        field("source", pa.string(), "source of its documents where no column says"),
        field("columns", pa.string(), "which column played which part, as JSON"),
    ]
)
STAGES = pa.schema(
    [
        field("position", pa.int64(), "order in which stages ran"),
        field("name", pa.string(), "stage"),
        field("version", pa.string(), "version of its code"),
        field("fingerprint", pa.string(), "hash of version, settings and weights"),
        field("settings", pa.string(), "settings as JSON"),
        field("weights", pa.string(), "sha256 of every model file it used, as JSON"),
        field("adds", pa.list_(pa.string()), "columns it measured"),
    ]
)
MODELS = pa.schema(
    [
        field("name", pa.string(), "model"),
        field("what", pa.string(), "what it is"),
        field("licence", pa.string(), "licence of the weights"),
        field("sha256", pa.string(), "first digits of the sha256 of its weights"),
        field("figures", pa.string(), "limits that its evaluation pins; its card has all figures"),
    ]
)
RULES = pa.schema(
    [
        field("position", pa.int64(), "order in the recipe"),
        field("reason", pa.string(), "name of the fault"),
        field("sql", pa.string(), "condition under which a document is dropped"),
        field("columns", pa.list_(pa.string()), "columns it reads"),
        field("fired", pa.int64(), "documents it fired on"),
    ]
)
SHARES = ESTIMATED.append(
    field("coverage", pa.float64(), "n_judged / n: how much of the stratum the share speaks of; null when it is empty")
)
ALARMS = pa.schema(
    [
        field("kind", pa.string(), "kind of alarm"),
        field("message", pa.string(), "what looks wrong and which setting to change"),
    ]
)
DEDUP = pa.schema(
    [
        field("name", pa.string(), "what was counted while duplicates were grouped"),
        field("value", pa.int64(), "how many"),
    ]
)
STRATA = pa.schema(
    [
        field("dimension", pa.string(), "topic, source, language, domain or year"),
        field("stratum", pa.string(), "value of that dimension"),
        field("kept", pa.int64(), "documents kept by rules and deduplication"),
        field("drawn", pa.int64(), "documents drawn, each once"),
        field("retention", pa.float64(), "drawn / kept"),
        field("human", pa.float64(), "kept documents that are human, by 1 - P(synthetic) as the cap counts it"),
        field("human_retention", pa.float64(), "part of these that was drawn"),
        field("reference", pa.float64(), "its part of the reference's words; null where the reference has none of it"),
        field(
            "low", pa.float64(), "least part of the mixture's words asked for; null where the reference says nothing"
        ),
        field("high", pa.float64(), "largest part of the mixture's words allowed"),
        field("share_kept", pa.float64(), "its part of the kept words"),
        field("share_expected", pa.float64(), "its part of the mixture's words in expectation"),
        field("share_drawn", pa.float64(), "its part of the mixture's words as drawn, copies counted"),
        field(
            "price",
            pa.float64(),
            "what its box and floor charge a document, as a logarithm: above 0 they hold it down, below 0 they lift it, 0 when neither binds",
        ),
        field("met", pa.bool_(), "whether the expectation lies in the box"),
        field("basis", pa.string(), "what it is held to: snapshot, dated or likely human text"),
    ]
)
CONSTRAINTS = pa.schema(
    [
        field("name", pa.string(), "setting of the mixture"),
        field("target", pa.float64(), "what it asks for"),
        field("expected", pa.float64(), "what the inclusion probabilities give"),
        field("realised", pa.float64(), "what the draw gave"),
        field("slack", pa.float64(), "target - expected; negative when it could not be met"),
        field("standard_error", pa.float64(), "by which the draw misses the expectation by chance"),
        field(
            "price",
            pa.float64(),
            "what it charges, as a logarithm: a document whose P(synthetic) is d above the cap is taken exp(-price x d) as often; 0 when it does not bind",
        ),
        field("met", pa.bool_(), "whether the expectation meets the target"),
        field(
            "upper_share",
            pa.float64(),
            "upper ends of the synthetic share of the kept documents' strata, on average: at these P(synthetic) counts",
        ),
        field(
            "unjudged",
            pa.int64(),
            "kept documents without a judgment; each counts as the upper end of its own stratum's share",
        ),
    ]
)


FRONTIER = pa.schema(
    [
        field("cap", pa.float64(), "cap on unverified synthetic text"),
        field("words", pa.float64(), "no mixture under this cap has more words, whatever its margins"),
    ]
)


def _table(schema: pa.Schema, rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist([dict(row) for row in rows], schema=schema)


def runs(run_id: str, recipe: Recipe, identity: Mapping[str, Any], judged: Judged) -> Table:
    """The run in one row."""
    gate = next((str(s.settings().get("gate")) for s in recipe.stages if s.name == "embed"), None)
    row = {
        "run_id": run_id,
        "recipe": recipe.name,
        "recipe_toml": recipe.as_toml(),
        "recipe_fingerprint": recipe.fingerprint(),
        "seed": recipe.seed,
        "curator_version": __version__,
        "rows": len(judged.ids),
        "encoder_gate": gate,
        "encoder_documents": int(judged.ai_encoder.sum()),
        "redecided_from": identity.get("redecided_from"),
    }
    return "the run that made this account", _table(RUNS, [row])


def inputs(identity: Mapping[str, Any]) -> Table:
    """Every input file."""
    rows = [{**entry, "columns": json.dumps(entry["columns"], sort_keys=True)} for entry in identity["inputs"]]
    return "files the run read", _table(INPUTS, rows)


def stages(recipe: Recipe) -> Table:
    """Every stage that measured."""
    rows = [
        {
            "position": i,
            "name": stage.name,
            "version": stage.version,
            "fingerprint": stage.fingerprint(),
            "settings": json.dumps(stage.settings(), sort_keys=True, default=str),
            "weights": json.dumps(stage.weights(), sort_keys=True),
            "adds": stage.adds.names,
        }
        for i, stage in enumerate(recipe.stages)
    ]
    return "stages that measured the documents", _table(STAGES, rows)


def models() -> Table:
    """Every model that ships with the package that ran."""
    return "models that ship with the version of curator that ran", _table(MODELS, model_rows())


def rules(parsed: Sequence[Rule], judged: Judged) -> Table:
    """Every rule with its limit and how often it fired."""
    rows = [
        {"position": i, "reason": r.reason, "sql": r.sql, "columns": list(r.columns), "fired": judged.fired[r.reason]}
        for i, r in enumerate(parsed)
    ]
    return "rules of the recipe", _table(RULES, rows)


def shares(estimated: pa.Table) -> Table:
    """Shares with the part of each stratum that was judged."""
    n, judged = (estimated[name].cast(pa.float64()) for name in ("n", "n_judged"))
    coverage = pc.divide(judged, pc.if_else(pc.equal(n, 0), None, n))
    rows = estimated.append_column(SHARES.field("coverage"), coverage).cast(SHARES)
    return "human and synthetic share by scope, stratum and unit", rows


def alarms(found: Sequence[Alarm]) -> Table:
    """Every alarm of the run."""
    return "what looked wrong, and which setting to change", _table(ALARMS, [vars(alarm) for alarm in found])


def origin(found: pa.Table | None) -> Table:
    """Every stratum of origin with the human text it was held against."""
    rows = ORIGIN_STRATA.empty_table() if found is None else found.cast(ORIGIN_STRATA)
    return "trusted human text that each document's score of origin was held against", rows


def dedup(report: Mapping[str, int]) -> Table:
    """What deduplication counted."""
    return "what was counted while duplicates were grouped", _table(
        DEDUP, [{"name": k, "value": v} for k, v in report.items()]
    )
