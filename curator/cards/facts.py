"""What the cards may say: every number of theirs comes from a query in this file, run on the account of a finished run."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from curator.audit import open_audit, rows_of
from curator.errors import AccountError, InputError, first_line
from curator.schema import INGESTED
from curator.web import domain_of, host_of
from curator.workspace import finished

Row = dict[str, Any]


@dataclass(frozen=True)
class Query:
    """One question to the account.

    needs: columns of `documents` without which it has no answer: the stage did not run, or the account is of a version
    that kept no such figures.
    """

    sql: str
    needs: tuple[str, ...] = ()


# Run on audit.duckdb. `drop_counts` counts a document under every reason it has.
ACCOUNT: Final[Mapping[str, Query]] = {
    "run": Query("select * from runs"),
    "inputs": Query("select name, sha256, rows, source, columns from inputs order by name, sha256"),
    "stages": Query("select name, version, settings from stages order by position"),
    "models": Query("select name, what, licence, sha256, figures from models order by name"),
    "rules": Query("select reason, sql, columns, fired from rules order by position"),
    "outcomes": Query("select outcome, count(*) as documents from documents group by outcome order by outcome"),
    "reasons": Query("select reason, documents, for_this_alone from drop_counts order by documents desc, reason"),
    "quarantine": Query(
        "select split_part(reason, ':', 1) as reason, count(*) as documents from quarantine group by all "
        "order by documents desc, reason"
    ),
    "sources": Query(
        "select source, documents, quarantined, dropped, duplicate, left_out, curated, first_date, last_date "
        "from sources order by curated desc, documents desc, source"
    ),
    "clusters": Query(
        "select count(*) as clusters, coalesce(sum(members), 0)::bigint as members, "
        "coalesce(sum(removed), 0)::bigint as removed, coalesce(max(members), 0) as largest from clusters"
    ),
    "duplicates": Query(
        "select coalesce(duplicate_kind, 'earlier run') as kind, count(*) as documents from documents "
        "where outcome = 'duplicate' group by all order by kind"
    ),
    "shares": Query(
        "select scope, unit, n, n_judged, lower, share, low, high, method, second, second_method, basis, reason, warning, "
        "declared_synthetic, declared_human from shares where dimension = 'all' order by "
        "list_position(['input', 'unique', 'kept', 'mixture'], scope), list_position(['docs', 'words', 'bytes'], unit)"
    ),
    "origin": Query(
        "select warning, sum(n_judged)::bigint as documents from origin where level = 'anchors' and warning is not null "
        "group by warning order by warning"
    ),
    "constraints": Query(
        "select name, target, expected, realised, standard_error, price, met from constraints order by name",
        ("expected_copies",),
    ),
    "margins": Query(
        "select dimension, any_value(basis) as basis, count(*) as strata, count(low) as boxed, "
        "count(*) filter (not met) as missed, count(*) filter (drawn = 0 and human >= 5) as extinct, "
        "quantile_cont(human_retention, 0.05) filter (human >= 5) as low_retention from strata group by dimension "
        "order by list_position(['topic', 'source', 'language', 'domain', 'year'], dimension), dimension",
        ("expected_copies",),
    ),
    "copies": Query("select coalesce(sum(weight), 0)::bigint as copies from documents where outcome = 'curated'"),
    "alarms": Query("select kind, message from alarms order by kind, message"),
    "dates": Query(
        "select count(*) as documents, count(date) as dated, min(date) as first, max(date) as last from documents "
        "where outcome = 'curated'"
    ),
    "words": Query("select sum(n_words)::bigint as words from documents where outcome = 'curated'", ("n_words",)),
    "bytes": Query("select sum(text_bytes)::bigint as bytes from documents where outcome = 'curated'", ("text_bytes",)),
    "languages": Query(
        "select language, count(*) as documents from documents where outcome = 'curated' and language is not null "
        "group by language order by documents desc, language",
        ("language",),
    ),
    # the part between // and the path; its registered domain is looked up in the public suffix list afterwards
    "addresses": Query(
        "select regexp_extract(url, '^[A-Za-z][A-Za-z0-9+.-]*://([^/?#]*)', 1) as authority, count(*) as documents, "
        "sum(text_bytes)::bigint as bytes from documents where outcome = 'curated' and url is not null "
        "group by all order by authority",
        ("text_bytes",),
    ),
}

# Run on mixture/*.parquet, each where `curator ingest` made the columns that it reads.
MIXTURE: Final[Mapping[str, Query]] = {
    "licences": Query(
        "select licence, count(*) as documents from mixture group by licence order by documents desc, licence nulls last",
        ("licence", "licence_evidence"),
    ),
    "fetched": Query("select min(fetched_at) as first, max(fetched_at) as last from mixture", ("fetched_at",)),
    "opt_outs": Query(
        "select count(*) as documents, count(*) filter (train_ai = false) as train_ai_refused, "
        "count(*) filter (tdm_reserved) as tdm_reserved, count(*) filter (noai) as noai, "
        "count(*) filter (len(robots_disallowed) > 0) as robots_disallowed, "
        "count(*) filter (robots_disallowed is null) as robots_unknown, "
        "count(*) filter (train_ai = false or tdm_reserved or noai or len(robots_disallowed) > 0) as any_of_them "
        "from mixture",
        ("train_ai", "tdm_reserved", "noai", "robots_disallowed"),
    ),
}


@dataclass(frozen=True)
class Declared:
    """What no account can know and the user may say; None is said to be unknown."""

    name: str | None = None
    licence: str | None = None
    url: str | None = None
    published: str | None = None  # ISO date
    provider: str | None = None
    model: str | None = None


@dataclass(frozen=True)
class Facts:
    """The account of one finished run, as the cards read it. `answers[name]` is None where the run did not measure it."""

    fingerprint: str
    answers: Mapping[str, list[Row] | None]
    schema: pa.Schema  # of the mixture
    files: tuple[Row, ...]  # of the mixture: name, sha256, bytes, rows; in order of name
    started: datetime | None
    ended: datetime | None

    def rows(self, name: str) -> list[Row]:
        """Answer to the query of that name; no rows where it was not measured."""
        return self.answers[name] or []

    def row(self, name: str) -> Row | None:
        """The only row of an answer; None where it was not measured."""
        return next(iter(self.rows(name)), None)

    @property
    def run(self) -> Row:
        """The row of `runs`."""
        return self.rows("run")[0]

    @property
    def outcomes(self) -> dict[str, int]:
        """outcome -> documents."""
        return {row["outcome"]: row["documents"] for row in self.rows("outcomes")}

    @property
    def curated(self) -> int:
        """Documents in the mixture."""
        return self.outcomes.get("curated", 0)

    def share(self, scope: str, unit: str = "docs") -> Row | None:
        """Synthetic share of the whole `scope`; None where the run has no such row."""
        return next((r for r in self.rows("shares") if r["scope"] == scope and r["unit"] == unit), None)

    def has_stage(self, name: str) -> bool:
        """Whether the stage measured the documents."""
        return any(row["name"] == name for row in self.rows("stages"))


def gather(root: Path) -> Facts:
    """Ask a finished run every question of the cards.

    Raises `InputError` for a run that is not finished, or whose mixture is empty or gone.
    """
    manifest = finished(root)
    files = _mixture_files(root, manifest)
    paths = [root / file["name"] for file in files]
    schema = pq.read_schema(paths[0])
    try:
        with open_audit(root) as con:
            answers = _asked(con, ACCOUNT, set(_columns(con)))
        with duckdb.connect(":memory:") as con:
            answers |= asked_of_mixture(con, paths, schema)
    except duckdb.Error as error:
        raise AccountError(f"the account in {root} cannot be read: {first_line(error)}") from error
    return Facts(manifest["fingerprint"], answers, schema, files, *_times(root))


def _mixture_files(root: Path, manifest: Mapping[str, Any]) -> tuple[Row, ...]:
    files = tuple(
        {"name": name, **entry} for name, entry in sorted(manifest["files"].items()) if name.startswith("mixture/")
    )
    if not files:
        raise InputError(f"{root} has an empty mixture: there is no data set to write a card of")
    gone = [file["name"] for file in files if not (root / file["name"]).is_file()]
    if gone:
        raise InputError(
            f"{root} lacks {len(gone)} file(s) of its mixture, such as {gone[0]}; run `curator verify {root}`"
        )
    return files


def _columns(con: duckdb.DuckDBPyConnection) -> list[str]:
    return list(con.sql("select * from documents limit 0").columns)


def _asked(con: duckdb.DuckDBPyConnection, queries: Mapping[str, Query], have: set[str]) -> dict[str, list[Row] | None]:
    return {name: rows_of(con, q.sql) if have.issuperset(q.needs) else None for name, q in queries.items()}


def asked_of_mixture(
    con: duckdb.DuckDBPyConnection, paths: Sequence[Path], schema: pa.Schema
) -> dict[str, list[Row] | None]:
    """Ask the mixture's own files what only ingested columns can answer; None for what they do not hold."""
    con.execute("set timezone = 'UTC'")
    # only columns that carry both the name and the type that ingest gives them: a user's own `licence` may be anything
    have = {c.name for c in schema if c.name in INGESTED.names and like(c.type, INGESTED.field(c.name).type)}
    if have:
        import pyarrow.dataset as ds  # imports pandas

        con.register("mixture", ds.dataset([str(path) for path in paths], schema=schema, format="parquet"))
    return _asked(con, MIXTURE, have)


def like(found: pa.DataType, wanted: pa.DataType) -> bool:
    """Whether a column holds what ingest wrote: readers widen strings to large ones."""
    return bool(found == wanted or (pa.types.is_large_string(found) and pa.types.is_string(wanted)))


def _times(root: Path) -> tuple[datetime | None, datetime | None]:
    """When the run began and ended, by its log; None, None where the log is gone."""
    try:
        lines = [json.loads(line) for line in (root / "log.jsonl").read_text("utf-8").splitlines()]
        moments = [(datetime.strptime(x["time"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC), x) for x in lines]
        began = [at - timedelta(seconds=int(x.get("seconds", 0))) for at, x in moments]
    except (OSError, ValueError, TypeError, KeyError):
        return None, None
    return (min(began), max(at for at, _ in moments)) if moments else (None, None)


def domains(facts: Facts) -> list[Row] | None:
    """Registered domains of the mixture, largest by bytes of text first; None where sizes were not measured."""
    answer = facts.answers["addresses"]
    if answer is None:
        return None
    documents: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    for row in answer:
        host = host_of(f"http://{row['authority']}") if row["authority"] else None
        name = (domain_of(host) or host) if host else None
        if name:
            documents[name] += row["documents"]
            sizes[name] += row["bytes"] or 0
    ordered = sorted(documents, key=lambda name: (-sizes[name], name))
    return [{"domain": name, "documents": documents[name], "bytes": sizes[name]} for name in ordered]
