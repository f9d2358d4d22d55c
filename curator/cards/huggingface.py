"""Hugging Face's dataset card: README.md with a YAML head, for the folder that holds mixture/.

Names that come from the corpus stand in code spans, where Markdown and HTML mean nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Final

import pyarrow as pa
import yaml

from curator.cards import words
from curator.cards.facts import Declared, Facts, Row
from curator.ledger import OUTCOME_DOC, OUTCOMES
from curator.tables import percent

MAX_SOURCES: Final = 50  # rows of the table of sources; the rest are counted together
_CODE: Final = re.compile(r"[a-z]{2,3}")
_DTYPES: Final = {
    **{
        name: name
        for name in ("string", "large_string", "binary", "large_binary", "bool", "int8", "int16", "int32", "int64")
    },
    **{name: name for name in ("uint8", "uint16", "uint32", "uint64")},
    "float": "float32",
    "double": "float64",
    "date32[day]": "date32",
}
# marks that begin something, and what makes an address a link by itself
_MARKS: Final = re.compile(r"[\\`*_{}\[\]<>#|~$&@]|:(?=//)|(?<=www)\.", re.I)
_EXPONENTS: Final = ("1K", "10K", "100K", "1M", "10M", "100M", "1B", "10B", "100B", "1T")
# The Hub's licence names are SPDX ids in lower case, these ones at least.
_HUB_LICENCES: Final = {
    "Apache-2.0", "CC-BY-4.0", "CC-BY-3.0", "CC-BY-2.0", "CC-BY-SA-3.0", "CC-BY-SA-4.0", "CC-BY-NC-2.0", "CC-BY-NC-3.0",
    "CC-BY-NC-4.0", "CC-BY-NC-ND-3.0", "CC-BY-NC-ND-4.0", "CC-BY-NC-SA-2.0", "CC-BY-NC-SA-3.0", "CC-BY-NC-SA-4.0",
    "CC-BY-ND-4.0", "CC0-1.0", "MIT", "ODC-By", "ODbL", "PDDL",
}  # fmt: skip


def readme(facts: Facts, declared: Declared) -> str:
    """The card as Markdown with its YAML head."""
    head = yaml.safe_dump(front_matter(facts, declared), sort_keys=False, allow_unicode=True, width=1000)
    body = [f"# {code(words.title(facts, declared))}", _what(facts)]
    for name, section in _SECTIONS.items():
        body.append(f"## {name}\n\n{section(facts)}")
    body.insert(-1, f"## Licence\n\n{escaped(words.licences(facts, declared)[1])}")
    return f"---\n{head}---\n\n" + "\n\n".join(body) + "\n"


def front_matter(facts: Facts, declared: Declared) -> dict[str, Any]:
    """What the Hub reads: files, licence, languages, size, tags, sources."""
    tags = ["corpus-curator", *(["deduplicated"] if facts.has_stage("minhash") else [])]
    found = {
        "pretty_name": words.title(facts, declared),
        **_licence(facts, declared),
        "language": [r["language"] for r in words.languages(facts) if _CODE.fullmatch(r["language"])],
        "size_categories": [size_category(facts.curated)],
        "task_categories": ["text-generation"],
        "tags": tags,
        "source_datasets": [words.plain(r["source"]) for r in facts.rows("sources") if r["curated"]][:MAX_SOURCES],
        "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": "mixture/*.parquet"}]}],
        "dataset_info": _dataset_info(facts.schema),
    }
    return {key: value for key, value in found.items() if value}


def _dataset_info(schema: pa.Schema) -> dict[str, Any]:
    """Features by the names of `datasets`. Nothing where a type has no name there."""
    try:
        features = [{"name": column.name, **feature(column.type)} for column in schema]
    except KeyError:
        return {}
    return {"config_name": "default", "features": features}


def feature(kind: pa.DataType) -> dict[str, Any]:
    """An Arrow type as `datasets` writes it in YAML. KeyError where it has none."""
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        inner = feature(kind.value_type)
        return {"list": inner.get("dtype", inner)}
    if pa.types.is_struct(kind):
        return {"struct": [{"name": part.name, **feature(part.type)} for part in kind]}
    if pa.types.is_fixed_size_binary(kind):
        return {"dtype": "binary"}
    if pa.types.is_timestamp(kind):
        return {"dtype": str(kind)}
    return {"dtype": _DTYPES[str(kind)]}


def _licence(facts: Facts, declared: Declared) -> dict[str, Any]:
    ids, _ = words.licences(facts, declared)
    if ids and all(one in _HUB_LICENCES for one in ids):
        return {"license": ids[0].lower() if len(ids) == 1 else [one.lower() for one in ids]}
    return {"license": "other", "license_name": words.plain(" or ".join(ids), 90) if ids else "unknown-or-mixed"}


def size_category(documents: int) -> str:
    """The Hub's size class of that many documents."""
    limits = [10**n for n in range(3, 13)]
    above = sum(documents >= limit for limit in limits)
    if above == 0:
        return "n<1K"
    return f"{_EXPONENTS[above - 1]}<n<{_EXPONENTS[above]}" if above < len(limits) else "n>1T"


def code(text: object, limit: int = 100) -> str:
    """Text of the corpus as a code span of one line: nothing in it is Markdown, HTML or a table's border."""
    line = words.plain(text, limit).replace("|", "¦")
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", line)), default=0))
    pad = " " if line.startswith("`") or line.endswith("`") or not line.strip() else ""
    return f"{fence}{pad}{line}{pad}{fence}"


def escaped(sentence: str) -> str:
    """A sentence with words of the corpus in it: every mark that Markdown or HTML reads is escaped."""
    return _MARKS.sub(r"\\\g<0>", sentence)


def _table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [names, ["---"] * len(names), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _what(facts: Facts) -> str:
    known = {"words": facts.row("words"), "bytes": facts.row("bytes")}
    size = ", ".join(f"{row[unit]:,} {unit}" for unit, row in known.items() if row and row[unit] is not None)
    dates = facts.row("dates")
    period = (
        f"Dates run from {dates['first']:%Y-%m-%d} to {dates['last']:%Y-%m-%d}, {dates['dated']:,} documents have one."
        if dates and dates["first"]
        else "No document has a date."
    )
    return (
        f"{escaped(words.summary(facts))}\n\nSize: {facts.curated:,} documents{', ' + size if size else ''}. {period}"
    )


def _outcomes(facts: Facts) -> str:
    rows = [[name, f"{facts.outcomes.get(name, 0):,}", OUTCOME_DOC[name]] for name in OUTCOMES]
    total = ["all input rows", f"{facts.run['rows']:,}", ""]
    return _table(("outcome", "documents", "meaning"), [*rows, total])


def _shares(facts: Facts) -> str:
    if not facts.rows("shares"):
        return "Not measured in this run."
    rows = [
        [
            row["scope"],
            row["unit"],
            percent(row["share"]),
            percent(row["lower"]) if row["share"] is not None else "unknown",
            f"{percent(row['low'])} to {percent(row['high'])}" if row["share"] is not None else "unknown",
            f"{row['n_judged']:,} of {row['n']:,}",
            escaped(words.plain(row["method"] or row["reason"] or "")),
            escaped(f"{percent(row['second'])} ({words.plain(row['second_method'])})") if row["second_method"] else "",
        ]
        for row in facts.rows("shares")
    ]
    names = (
        "scope",
        "unit",
        "synthetic",
        "at least",
        f"{words.CONFIDENCE} interval",
        "judged",
        "method",
        "another estimator",
    )
    warnings = sorted({words.plain(row["warning"], 400) for row in facts.rows("shares") if row["warning"]})
    basis = sorted({words.plain(row["basis"], 300) for row in facts.rows("shares") if row["basis"]})
    return (
        "Scopes: input is what could be read, unique is without duplicates, kept is what the rules left, mixture is this "
        "data set. Not counts of flags but estimates that account for the detector's errors; at least so much as stands "
        "there cannot be explained by the scores of human text.\n\n"
        + _table(names, rows)
        + "".join(f"\n\nFalse positives were measured on: {escaped(one)}." for one in basis)
        + "".join(f"\n\n**Mind:** {escaped(one)}." for one in warnings)
    )


def _dropped(facts: Facts) -> str:
    sql = {row["reason"]: row["sql"] for row in facts.rows("rules")}
    own = {"duplicate": "another document stands for its cluster", "mixture": "kept by the rules, not drawn"}
    rows = [
        [
            code(row["reason"]),
            f"{row['documents']:,}",
            f"{row['for_this_alone']:,}",
            code(" ".join(sql[row["reason"]].split()), 400)
            if row["reason"] in sql
            else own.get(row["reason"], "unknown"),
        ]
        for row in facts.rows("reasons")
    ]
    unread = [
        [code(row["reason"]), f"{row['documents']:,}", f"{row['documents']:,}", "could not be read as a document"]
        for row in facts.rows("quarantine")
    ]
    note = "A document may have several reasons and is counted under each.\n\n"
    return note + _table(("reason", "documents", "for this alone", "where"), rows + unread)


def _sources(facts: Facts) -> str:
    rows = facts.rows("sources")
    shown = [_source(row) for row in rows[:MAX_SOURCES]]
    rest = rows[MAX_SOURCES:]
    if rest:
        columns = ("documents", "dropped", "duplicate", "left_out", "curated")
        shown.append([f"{len(rest):,} others", *(f"{sum(r[c] for r in rest):,}" for c in columns), ""])
    return _table(("source", "documents", "dropped", "duplicate", "left out", "in the mixture", "dates"), shown)


def _source(row: Row) -> list[str]:
    counts = [f"{row[name]:,}" for name in ("documents", "dropped", "duplicate", "left_out", "curated")]
    period = f"{row['first_date']:%Y-%m-%d} to {row['last_date']:%Y-%m-%d}" if row["first_date"] else "unknown"
    return [code(row["source"]), *counts, period]


def _columns(facts: Facts) -> str:
    rows = [
        [code(c.name), code(c.type, 60), escaped(words.plain(words.meaning(c), 300)) or "a column of the input"]
        for c in facts.schema
    ]
    return _table(("column", "type", "meaning"), rows)


def _languages(facts: Facts) -> str:
    if not facts.has_stage("language"):
        return "Not measured in this run."
    found = facts.rows("languages")
    named = ", ".join(f"{row['language']} {row['documents']:,}" for row in words.languages(facts)) or "none"
    return (
        f"Measured by fastText lid.176: {named} documents. Listed are languages of at least 1 % of the documents; "
        f"{len(found):,} were named in all, the rare ones often of short texts."
    )


def _limits(facts: Facts) -> str:
    return "\n".join(f"- {escaped(line)}" for line in words.limits(facts))


def _repeat(facts: Facts) -> str:
    inputs = "\n".join(
        f"- {code(row['name'])}, {row['rows']:,} rows, sha256 `{row['sha256']}`" for row in facts.rows("inputs")[:20]
    )
    more = max(0, len(facts.rows("inputs")) - 20)
    return (
        f"Recipe fingerprint `{facts.run['recipe_fingerprint']}`, run fingerprint `{facts.fingerprint}`, "
        f"curator {facts.run['curator_version']}. Save the recipe below as recipe.toml and run:\n\n"
        f"```sh\ncurator filter INPUT... --recipe recipe.toml --encoder {facts.run['encoder_gate']} -o OUT\ncurator verify OUT\n```\n\n"
        f"Inputs:\n\n{inputs}" + (f"\n- and {more:,} more, named in croissant.json" if more else "") + "\n\n"
        f"Recipe:\n\n{_block(facts.run['recipe_toml'])}"
    )


def _block(text: str) -> str:
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"{fence}toml\n{text.strip()}\n{fence}"


_READ: Final = """With FOLDER the folder that holds this file and mixture/:

```python
from datasets import load_dataset

documents = load_dataset("FOLDER", split="train")
```

or as plain Parquet: `pyarrow.dataset.dataset("FOLDER/mixture")`, in DuckDB `from 'FOLDER/mixture/*.parquet'`. `doc_id` and
`cluster` are UUIDs in 36 letters."""

_SECTIONS: Final[dict[str, Callable[[Facts], str]]] = {
    "Human and synthetic share": _shares,
    "What became of the input": _outcomes,
    "What was dropped and why": _dropped,
    "Duplicates": lambda facts: escaped(words.duplicates(facts)),
    "Mixture": lambda facts: escaped(words.drawn(facts) + " " + words.repaired(facts)),
    "Sources": _sources,
    "Languages": _languages,
    "How to read it": lambda _: _READ,
    "Columns": _columns,
    "Limits": _limits,
    "How to repeat it": _repeat,
}
