"""Croissant 1.1 with the RAI vocabulary: JSON-LD that describes files, columns, how the data was made and how much of it is synthetic.

Croissant: http://mlcommons.org/croissant/1.1; RAI: http://mlcommons.org/croissant/RAI/1.0.
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote

import pyarrow as pa

from curator.cards import words
from curator.cards.facts import Declared, Facts, Row
from curator.prevalence import LEVEL

# Our own terms. A URN, since the project owns no address: nobody else can put another meaning behind it.
VOCABULARY: Final = "urn:corpus-curator:terms:1:"
TERMS: Final = {
    "syntheticShare": "estimated share of machine-written text in a scope of the data set, one node for each scope and unit",
    "SyntheticShare": "type of such a node",
    "scope": "what the share is of: input (readable documents), unique (without duplicates), kept (by the rules) or mixture (what the data set holds)",
    "unit": "what is counted: docs, words or bytes",
    "share": "point estimate, 0 to 1; absent where the account has no basis for one, see reason",
    "lower": "at least this much is synthetic (97.5 %), by the scores of human text alone",
    "low": "lower end of the interval",
    "high": "upper end of the interval",
    "confidenceLevel": "probability with which the interval is meant to hold the true share",
    "method": "estimator of the share",
    "second": "the same share by another estimator",
    "secondMethod": "that estimator",
    "basis": "human text on which the detector's false-positive rate was measured",
    "documents": "documents in the scope",
    "documentsJudged": "documents that the detector judged: the denominator of the share",
    "reason": "why there is no share",
    "warning": "what to know before relying on the share",
    "fingerprint": "hash of recipe, weights and inputs: equal runs have equal ones",
    "recipeFingerprint": "hash of the recipe and of the weights behind it",
}

CONTEXT: Final[dict[str, Any]] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "arrayShape": "cr:arrayShape",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "containedIn": "cr:containedIn",
    "cr": "http://mlcommons.org/croissant/",
    "cur": VOCABULARY,
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"},
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isArray": "cr:isArray",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "name": {"@container": "@language"},
    "parentField": "cr:parentField",
    "path": "cr:path",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
PARQUET: Final = "application/x-parquet"
_INTEGERS: Final = {
    str(kind): f"cr:{name}"
    for kind, name in (
        (pa.int8(), "Int8"),
        (pa.int16(), "Int16"),
        (pa.int32(), "Int32"),
        (pa.int64(), "Int64"),
        (pa.uint8(), "UInt8"),
        (pa.uint16(), "UInt16"),
        (pa.uint32(), "UInt32"),
        (pa.uint64(), "UInt64"),
    )
}


def croissant(facts: Facts, declared: Declared) -> dict[str, Any]:
    """The card as JSON-LD; paths are relative to the folder that holds mixture/."""
    found = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "name": words.title(facts, declared),
        "description": words.summary(facts),
        "conformsTo": ["http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0"],
        "license": _licences(facts, declared),
        "url": declared.url,
        "datePublished": declared.published,
        "creator": _organisation(declared.provider),
        "version": "1.0.0",
        "keywords": ["text", "training data", "curated"],
        "inLanguage": [row["language"] for row in words.languages(facts)],
        "temporalCoverage": _period(facts.row("dates")),
        "isBasedOn": [_input(row) for row in facts.rows("inputs")],
        "cur:fingerprint": facts.fingerprint,
        "cur:recipeFingerprint": facts.run["recipe_fingerprint"],
        "cur:syntheticShare": [_share(row) for row in facts.rows("shares")],
        **_rai(facts),
        "distribution": [*map(_file, facts.files), _file_set()],
        "recordSet": [_record_set(facts, "documents"), _record_set(facts, "texts")],
    }
    return {key: value for key, value in found.items() if value not in (None, [])}


def _licences(facts: Facts, declared: Declared) -> list[str]:
    ids, why = words.licences(facts, declared)
    return [f"https://spdx.org/licenses/{one}.html" if words.is_spdx(one) else one for one in ids] or [why]


def _organisation(name: str | None) -> Row | None:
    return {"@type": "sc:Organization", "name": name} if name else None


def _period(dates: Row | None) -> str | None:
    if not dates or not dates["first"]:
        return None
    return f"{dates['first']:%Y-%m-%d}/{dates['last']:%Y-%m-%d}"


def _input(row: Row) -> Row:
    return {
        "@type": "sc:CreativeWork",
        "name": words.plain(row["name"]),
        "identifier": f"sha256:{row['sha256']}",
        "description": f"input file of {row['rows']:,} rows",
    }


def _share(row: Row) -> Row:
    found = {
        "@type": "cur:SyntheticShare",
        "cur:scope": row["scope"],
        "cur:unit": row["unit"],
        "cur:lower": row["lower"],
        "cur:share": row["share"],
        "cur:low": row["low"],
        "cur:high": row["high"],
        "cur:confidenceLevel": LEVEL if row["share"] is not None else None,
        "cur:method": row["method"],
        "cur:second": row["second"],
        "cur:secondMethod": row["second_method"],
        "cur:basis": row["basis"],
        "cur:documents": row["n"],
        "cur:documentsJudged": row["n_judged"],
        "cur:reason": row["reason"],
        "cur:warning": row["warning"],
    }
    return {key: value for key, value in found.items() if value is not None}


def _rai(facts: Facts) -> dict[str, Any]:
    collected = facts.row("fetched")
    quarantine = ", ".join(f"{row['documents']:,} {words.plain(row['reason'], 60)}" for row in facts.rows("quarantine"))
    return {
        "rai:dataCollection": (
            f"Documents were taken from {len(facts.rows('inputs')):,} input file(s) of {len(facts.rows('sources')):,} "
            "source(s); how those were gathered the account does not know."
        ),
        "rai:dataCollectionMissingData": f"Rows that could not be read as documents: {quarantine or 'none'}.",
        "rai:dataCollectionRawData": (
            "Input files are named with their sha256 under isBasedOn; they are not part of this data set."
        ),
        "rai:dataCollectionTimeframe": _timeframe(collected),
        "rai:dataPreprocessingProtocol": words.protocol(facts),
        "rai:dataManipulationProtocol": words.repaired(facts),
        "rai:dataAnnotationProtocol": [
            "No person annotated these documents. Columns such as language, quality and prob_synthetic are measured by models."
        ],
        "rai:machineAnnotationTools": [
            f"{row['name']} (sha256 {row['sha256']}; {row['licence']})" for row in words.models_used(facts)
        ],
        "rai:dataLimitations": words.limits(facts),
        "rai:personalSensitiveInformation": ["Not searched for: the documents may hold personal data."],
    }


def _timeframe(collected: Row | None) -> list[str]:
    if not collected or not collected["first"]:
        return []
    return [f"{collected[end]:%Y-%m-%dT%H:%M:%SZ}" for end in ("first", "last")]


def _file(file: Row) -> Row:
    return {
        "@type": "cr:FileObject",
        "@id": file["name"],
        "name": file["name"],
        "description": f"{file['rows']:,} documents",
        "contentUrl": file["name"],
        "contentSize": f"{file['bytes']} B",
        "encodingFormat": PARQUET,
        "sha256": file["sha256"],
    }


def _file_set() -> Row:
    return {
        "@type": "cr:FileSet",
        "@id": "mixture-files",
        "name": "mixture-files",
        "description": "All files of the mixture; each stands above with its sha256.",
        "encodingFormat": PARQUET,
        "includes": "mixture/*.parquet",
    }


RECORD_SETS: Final = {
    "documents": "One record for every document of the mixture, with every column.",
    "texts": "The same records without identifiers and nested columns, whose types mlcroissant 1.1 cannot cast.",
}


def _record_set(facts: Facts, name: str) -> Row:
    every = name == "documents"
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "description": RECORD_SETS[name],
        **({"key": {"@id": field_id(name, "doc_id")}} if every else {}),
        "field": [_field(name, column) for column in facts.schema if every or not data_type(_item(column.type))[1]],
    }


def field_id(record_set: str, name: str) -> str:
    """Identifier of a column: its name with everything quoted that means something in an IRI, dots too."""
    return f"{record_set}/" + quote(name, safe="", errors="surrogatepass").replace(".", "%2E")


def _item(kind: pa.DataType) -> pa.DataType:
    """Type of a list's items; the type itself where it is no list."""
    return kind.value_type if pa.types.is_list(kind) or pa.types.is_large_list(kind) else kind


def _field(record_set: str, column: pa.Field) -> Row:
    item = _item(column.type)
    kind, note = data_type(item)
    return {
        "@type": "cr:Field",
        "@id": field_id(record_set, column.name),
        "name": column.name,
        "description": f"{words.meaning(column) or 'a column of the input, unchanged'}{note}",
        "dataType": kind,
        **({"isArray": True, "arrayShape": "-1"} if item is not column.type else {}),
        "source": {"fileSet": {"@id": "mixture-files"}, "extract": {"column": column.name}},
    }


def data_type(kind: pa.DataType) -> tuple[str, str]:
    """(Croissant's type, remark for the description where that type does not tell all)."""
    if found := _INTEGERS.get(str(kind)):
        return found, ""
    if pa.types.is_floating(kind):
        return f"cr:Float{kind.bit_width}", ""
    if pa.types.is_boolean(kind):
        return "sc:Boolean", ""
    if pa.types.is_timestamp(kind):
        return "sc:DateTime", ""
    if pa.types.is_date(kind):
        return "sc:Date", ""
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return "sc:Text", ""
    return "sc:Text", f" (Arrow type {kind})"
