"""Where the mixture came from, for machines: PROV-O as JSON-LD, and OpenLineage run events.

PROV-O: https://www.w3.org/TR/prov-o/; OpenLineage 2-0-2: https://openlineage.io/spec/.
"""

from __future__ import annotations

import json
import uuid
from datetime import datetime
from typing import Any, Final

from curator.cards import words
from curator.cards.croissant import VOCABULARY
from curator.cards.facts import Declared, Facts, Row
from curator.errors import InputError

_SPEC: Final = "https://openlineage.io/spec"
RUN_EVENT: Final = f"{_SPEC}/2-0-2/OpenLineage.json#/$defs/RunEvent"
_FACETS: Final = {
    "schema": f"{_SPEC}/facets/1-2-0/SchemaDatasetFacet.json#/$defs/SchemaDatasetFacet",
    "columnLineage": f"{_SPEC}/facets/1-2-0/ColumnLineageDatasetFacet.json#/$defs/ColumnLineageDatasetFacet",
    "outputStatistics": f"{_SPEC}/facets/1-0-2/OutputStatisticsOutputDatasetFacet.json#/$defs/OutputStatisticsOutputDatasetFacet",
    "processing_engine": f"{_SPEC}/facets/1-1-1/ProcessingEngineRunFacet.json#/$defs/ProcessingEngineRunFacet",
}
# Columns of the mixture that are a part of the input's row as it stands there; every other one is measured on the text.
_PARTS: Final = {
    "text": "text",
    "record_id": "id",
    "url": "url",
    "date": "date",
    "source": "source",
    "declared_language": "language",
    "declared_origin": "origin",
}


def prov(facts: Facts, declared: Declared) -> dict[str, Any]:
    """The run as one activity: what it used, what it made, by which software and plan."""
    run = f"cur:run-{facts.fingerprint}"
    inputs = [_entity(f"cur:sha256-{r['sha256']}", r["name"], r["sha256"]) for r in _distinct(facts)]
    made = [_entity(f"cur:sha256-{f['sha256']}", f["name"], f["sha256"]) for f in facts.files]
    software = f"cur:curator-{facts.run['curator_version']}"
    plan = f"cur:recipe-{facts.run['recipe_fingerprint']}"
    mixture: dict[str, Any] = {
        "@id": f"cur:mixture-{facts.fingerprint}",
        "@type": ["prov:Entity", "prov:Collection"],
        "rdfs:label": words.title(facts, declared),
        "prov:wasGeneratedBy": {"@id": run},
        "prov:wasDerivedFrom": _refs(inputs),
        "prov:hadMember": _refs(made),
    }
    activity = {
        "@id": run,
        "@type": "prov:Activity",
        "rdfs:label": f"curator filter, recipe {words.plain(facts.run['recipe'], 60)}",
        "prov:used": _refs(inputs),
        "prov:wasAssociatedWith": {"@id": software},
        "prov:qualifiedAssociation": {
            "@type": "prov:Association",
            "prov:agent": {"@id": software},
            "prov:hadPlan": {"@id": plan},
        },
        **_moment("prov:startedAtTime", facts.started),
        **_moment("prov:endedAtTime", facts.ended),
    }
    return {
        "@context": {
            "prov": "http://www.w3.org/ns/prov#",
            "rdfs": "http://www.w3.org/2000/01/rdf-schema#",
            "xsd": "http://www.w3.org/2001/XMLSchema#",
            "cur": VOCABULARY,
        },
        "@graph": [
            activity,
            {"@id": software, "@type": "prov:SoftwareAgent", "rdfs:label": "curator"},
            {"@id": plan, "@type": ["prov:Entity", "prov:Plan"], "rdfs:label": facts.run["recipe_toml"]},
            *inputs,
            mixture,
            *({**entity, "prov:wasGeneratedBy": {"@id": run}} for entity in made),
        ],
    }


def _distinct(facts: Facts) -> list[Row]:
    """Inputs by their bytes: two names of one file are one entity."""
    return list({row["sha256"]: row for row in reversed(facts.rows("inputs"))}.values())[::-1]


def _entity(name: str, label: str, sha256: str) -> dict[str, Any]:
    return {"@id": name, "@type": "prov:Entity", "rdfs:label": words.plain(label), "cur:sha256": sha256}


def _refs(entities: list[dict[str, Any]]) -> list[dict[str, str]]:
    return [{"@id": entity["@id"]} for entity in entities]


def _moment(term: str, at: datetime | None) -> dict[str, Any]:
    return {term: {"@type": "xsd:dateTime", "@value": f"{at:%Y-%m-%dT%H:%M:%SZ}"}} if at else {}


def openlineage(facts: Facts) -> str:
    """START and COMPLETE of the run, one JSON object a line.

    Raises `InputError` where the run's log is gone: an event without its time is no event.
    """
    if facts.started is None or facts.ended is None:
        raise InputError("the run has no readable log.jsonl, so when it ran is not known; leave out --openlineage")
    inputs, outputs = [_input(row, facts) for row in facts.rows("inputs")], [_output(facts)]
    events = [
        _event(facts, "START", facts.started, inputs, []),
        _event(facts, "COMPLETE", facts.ended, inputs, outputs),
    ]
    return "".join(json.dumps(event, ensure_ascii=False) + "\n" for event in events)


def _producer(facts: Facts) -> str:
    return f"urn:corpus-curator:{facts.run['curator_version']}"


def _event(facts: Facts, kind: str, at: datetime, inputs: list[Row], outputs: list[Row]) -> Row:
    engine = {"version": facts.run["curator_version"], "name": "curator"}
    return {
        "eventType": kind,
        "eventTime": f"{at:%Y-%m-%dT%H:%M:%SZ}",
        "producer": _producer(facts),
        "schemaURL": RUN_EVENT,
        "run": {
            "runId": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{VOCABULARY}run-{facts.fingerprint}")),
            "facets": {"processing_engine": _facet(facts, "processing_engine", engine)},
        },
        "job": {"namespace": "curator", "name": f"filter.{words.plain(facts.run['recipe'], 60)}"},
        "inputs": inputs,
        "outputs": outputs,
    }


def _facet(facts: Facts, name: str, value: Row) -> Row:
    return {"_producer": _producer(facts), "_schemaURL": _FACETS[name], **value}


def _input(row: Row, facts: Facts) -> Row:
    columns = sorted(set(json.loads(row["columns"]).values()))
    return {
        "namespace": "file",
        "name": row["name"],
        "facets": {"schema": _facet(facts, "schema", {"fields": [{"name": name} for name in columns]})},
    }


def _output(facts: Facts) -> Row:
    fields = [{"name": c.name, "type": str(c.type), "description": words.meaning(c)} for c in facts.schema]
    statistics = {
        "rowCount": facts.curated,
        "size": sum(file["bytes"] for file in facts.files),
        "fileCount": len(facts.files),
    }
    return {
        "namespace": f"curator:{facts.fingerprint}",
        "name": "mixture",
        "facets": {
            "schema": _facet(facts, "schema", {"fields": fields}),
            "columnLineage": _facet(facts, "columnLineage", {"fields": _column_lineage(facts)}),
        },
        "outputFacets": {"outputStatistics": _facet(facts, "outputStatistics", statistics)},
    }


def _column_lineage(facts: Facts) -> Row:
    found = {}
    for column in facts.schema.names:
        origins = [one for row in facts.rows("inputs") for one in _origins(column, row)]
        if origins:
            found[column] = {"inputFields": origins}
    return found


def _origins(column: str, row: Row) -> list[Row]:
    """Input columns behind a column of the mixture, as far as the account says which column played which part."""
    parts: dict[str, str] = json.loads(row["columns"])
    if column in _PARTS:
        found, kind = [_PARTS[column]], "IDENTITY"
    elif column == "doc_id":
        found, kind = ["source", "id"], "TRANSFORMATION"
    elif column in _MEASURED:
        found, kind = ["text"], "TRANSFORMATION"
    else:
        return []
    transformation = {"type": "DIRECT", "subtype": kind}
    return [
        {"namespace": "file", "name": row["name"], "field": parts[part], "transformations": [transformation]}
        for part in found
        if part in parts
    ]


_MEASURED: Final = ("language", "prob_synthetic", "ai_path", "quality", "cluster", "text_hash", "original_text_hash")
