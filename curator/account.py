"""The questions people ask of a finished run: explain one document, compare two runs, re-derive every hash."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import math
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curator import uuids
from curator.audit import columns, content_of, documents_where, open_audit, rows_of
from curator.errors import AccountError, InputError
from curator.evidence import BEFORE_MODELS, TERM_NAMES
from curator.ids import doc_id, file_sha256, text_hash
from curator.ledger import OUTCOMES
from curator.repair import REPAIRED
from curator.shards import aligned_batches
from curator.web import domain_of
from curator.workspace import Workspace, finished

_IDENTITY = (
    "doc_id",
    "source",
    "record_id",
    "path",
    "row",
    "url",
    "date",
    "declared_language",
    "declared_origin",
    "repeat",
    "quarantine",
)
_VERDICT = (
    "outcome",
    "keep",
    "reasons",
    "unmeasured",
    "cluster",
    "duplicate_kind",
    "similarity",
    "survivor_similarity",
    "survivor",
    "earlier_run",
    "reference",
    "topic",
    "stratum",
    "inclusion",
    "weight",
)
_MIXTURE = ("expected_copies", "mixture_base", "mixture_cap", "mixture_margins")


_OTHERS = (
    "select doc_id, source, url, date, outcome, similarity from cluster_members "
    "where cluster = ? and doc_id <> ? order by doc_id = ? desc, similarity desc, doc_id limit 20"
)


@dataclass(frozen=True)
class Explanation:
    """One document's account, in the order in which people ask."""

    identity: dict[str, Any]
    verdict: dict[str, Any]
    rules: list[dict[str, Any]]  # reason, sql, fired, values of the columns it reads
    signals: dict[str, Any]
    evidence: list[dict[str, Any]]  # term, log_odds, says: what adds up to prob_document and prob_pooled
    mixture: list[
        dict[str, Any]
    ]  # step, copies, says: what makes its copies in the mixture; empty when it was not kept
    travelling: dict[str, Any]  # columns of the input that travel through, where they hold something
    duplicates: list[dict[str, Any]]  # the other members of its cluster
    operating: dict[str, Any]  # operating point and error rates of the models that judged it


def explain(root: Path, name: str) -> list[Explanation]:
    """Account for the documents that `name` means: a doc_id, a URL or a record id.

    Raises `InputError` when the run holds none.
    """
    finished(root)
    with open_audit(root) as con:
        found = _find(con, name)
        if not found:
            raise InputError(
                f'no document with id, url or record id {name!r} in {root}; `curator sql {root} "select doc_id, url, record_id from documents limit 5"` shows some'
            )
        travelling = _travelling(con, [str(row["doc_id"]) for row in found])
        return [_explain(con, row, travelling.get(str(row["doc_id"]), {})) for row in found]


def _find(con: duckdb.DuckDBPyConnection, name: str) -> list[dict[str, Any]]:
    for column, value in _meanings(name):
        found = documents_where(con, column, value)
        if found:
            return found
    return []


def _meanings(name: str) -> Iterator[tuple[str, Any]]:
    with contextlib.suppress(ValueError):
        yield "doc_id", uuid.UUID(name)
    yield "url", name
    yield "record_id", name


def _travelling(con: duckdb.DuckDBPyConnection, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The columns that travel through, of some documents; only the files that hold them where a lookup knows which."""
    if "extra" not in _texts_columns(con):
        return {}
    files, named = "getvariable('run') || '/documents/*.parquet'", ", ".join("?" * len(ids))
    if "lookup" in columns(con):
        keys = ", ".join(["md5_number_lower(?)"] * len(ids))
        shards = con.execute(
            f"select distinct shard from lookup where key in ({keys}) order by shard", [*map(str, ids)]
        )
        files = ", ".join(f"getvariable('run') || '/documents/{shard:06d}.parquet'" for (shard,) in shards.fetchall())
    rows = rows_of(  # not by the view: there every id of the corpus would be turned into a UUID first
        con,
        f"select doc_id, extra from read_parquet([{files}]) where doc_id in ({named})",
        [uuid.UUID(i).bytes for i in ids],
    )
    return {
        str(uuid.UUID(bytes=r["doc_id"])): {k: v for k, v in (r["extra"] or {}).items() if v is not None} for r in rows
    }


def _texts_columns(con: duckdb.DuckDBPyConnection) -> list[str]:
    """Columns of the documents as they were read; none where their files are gone."""
    try:
        return [str(name) for name in con.sql("from texts limit 0").columns]
    except duckdb.CatalogException:
        return []


def _explain(con: duckdb.DuckDBPyConnection, row: dict[str, Any], travelling: dict[str, Any]) -> Explanation:
    rules = rows_of(con, "select reason, sql, columns from rules order by position")
    for rule in rules:
        rule["fired"] = rule["reason"] in row["reasons"]
        rule["values"] = {name: row.get(name) for name in rule.pop("columns")}
    others = (
        [] if row["duplicate_kind"] is None else rows_of(con, _OTHERS, [row["cluster"], row["doc_id"], row["survivor"]])
    )
    signals = {k: v for k, v in row.items() if k not in (*_IDENTITY, *_VERDICT, *_MIXTURE, *TERM_NAMES)}
    models = {m["name"]: m for m in rows_of(con, "select * from models")}
    return Explanation(
        identity={k: row[k] for k in _IDENTITY},
        verdict={k: row[k] for k in _VERDICT},
        rules=rules,
        signals=signals,
        evidence=_evidence(row),
        mixture=_factors(con, row),
        travelling=travelling,
        duplicates=others,
        operating=models,
    )


def _factors(con: duckdb.DuckDBPyConnection, row: dict[str, Any]) -> list[dict[str, Any]]:
    """What put it in or kept it out: factor by factor, then the draw."""
    if row["expected_copies"] is None:
        return []
    why = "what one would take of it: by P(human), quality and the size of its duplicate cluster"
    steps = [{"step": "base", "copies": row["mixture_base"], "says": why}]
    (price,) = [
        r["price"] for r in rows_of(con, "select max(price) as price from constraints where name = 'max_synthetic'")
    ]
    cap = (
        "no cap binds"
        if not price
        else f"the cap on synthetic text, whose price is {price:.3g} for all of P(synthetic)"
    )
    steps.append({"step": "× cap", "copies": row["mixture_cap"], "says": cap})
    bound = rows_of(con, _BOUND, [row["topic"], row["source"], row.get("language"), _domain(row), _year(row)])
    held = "; ".join(
        f"{b['dimension']} {b['stratum']} held {'down' if b['price'] > 0 else 'up'} ({b['price']:+.2g})" for b in bound
    )
    steps.append(
        {
            "step": "× margins",
            "copies": row["mixture_margins"],
            "says": held or "budget, snapshot and what balances them",
        }
    )
    drawn = f"drawn: {row['weight'] or 0:g}" if row["outcome"] == "curated" else "not drawn"
    return [*steps, {"step": "= expected", "copies": row["expected_copies"], "says": drawn}]


_BOUND = (
    "select dimension, stratum, price from strata where price <> 0 and (dimension, stratum) in "
    "(('topic', ?), ('source', ?), ('language', ?), ('domain', ?), ('year', ?)) order by abs(price) desc"
)


def _domain(row: dict[str, Any]) -> str | None:
    host = _host(row)
    return domain_of(host) or host


def _year(row: dict[str, Any]) -> str | None:
    return None if row["date"] is None else f"{row['date']:%Y}"


def _evidence(row: dict[str, Any]) -> list[dict[str, Any]]:
    """What speaks for and against a machine author, in log-odds, and how it adds up; empty where nobody scored it."""
    if not set(TERM_NAMES) <= set(row) or row["odds_date"] is None:
        return []
    prob = row["prob_calibrated"]
    terms = [_term("text", None if prob is None else _log_odds(prob), _said_by_text(row))]
    terms += [_term(name.removeprefix("odds_"), row[name], said(row)) for name, said in _WITNESSES.items()]
    document, site = terms[: -len(_SITE)], terms[-len(_SITE) :]
    return [*document, _sum("prob_document", row, document), *site, _sum("prob_pooled", row, terms)]


def _term(name: str, log_odds: float | None, says: str) -> dict[str, Any]:
    return {"term": name, "log_odds": log_odds, "says": says if log_odds else f"{says}: nothing"}


def _sum(name: str, row: dict[str, Any], terms: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The line under a sum."""
    prob = row[name]
    says = "nobody judged it and nothing else speaks" if prob is None else f"P = {prob:.4g} at prior one half"
    return {"term": name, "log_odds": None if prob is None else sum(t["log_odds"] or 0.0 for t in terms), "says": says}


def _log_odds(prob: float) -> float:
    kept = min(max(prob, 1e-16), 1 - 1e-16)  # what a float holds apart from certainty
    return math.log(kept / (1 - kept))


def _said_by_text(row: dict[str, Any]) -> str:
    if row["prob_calibrated"] is None:
        return f"its wording was not judged ({row.get('ai_abstain') or 'no score'})"
    return f"its wording, held against trusted human text: {row['origin_stratum']}"


def _said_by_date(row: dict[str, Any]) -> str:
    if row["date"] is None:
        return "undated"
    day = f"dated {row['date']:%Y-%m-%d}"
    if row["odds_date"]:
        return f"{day}, before {_ASSISTANTS}"
    late = row["date"] >= _BEFORE
    return f"{day}, not before {_ASSISTANTS}" if late else f"{day}, which stands for an unknown day"


def _counted(what: str, count: int | None) -> str:
    return f"{what} not looked for" if count is None else f"{count:,} {what}"


def _host(row: dict[str, Any]) -> str:
    with contextlib.suppress(ValueError):
        return urlsplit(row["url"] or "").hostname or "its site, unknown"
    return "its site, unknown"


_BEFORE = dt.datetime.fromtimestamp(BEFORE_MODELS // 1_000_000, dt.UTC)
_ASSISTANTS = f"{_BEFORE:%Y-%m-%d}"
_SITE = ("odds_site", "odds_site_month")
_WITNESSES: dict[str, Callable[[dict[str, Any]], str]] = {
    "odds_date": _said_by_date,
    "odds_declared": lambda row: f"its source declares {row['declared_origin'] or 'no origin'}",
    "odds_traces": lambda row: _counted("assistants' phrases left standing", row.get("n_assistant_phrases")),
    "odds_hidden": lambda row: _counted("characters of a hidden message", row.get("n_hidden_text_chars")),
    "odds_sightings": lambda row: f"copies dated before {_ASSISTANTS}, where its own date is not",
    "odds_site": lambda row: f"the other documents of {_host(row)}",
    "odds_site_month": lambda row: "those of its month, beyond the site",
}


def diff(a: Path, b: Path) -> dict[str, Any]:
    """Compare two finished runs: recipe, outcomes of the documents they share, documents only one holds, share of synthetic text."""
    manifests = finished(a), finished(b)
    with open_audit(a) as left, open_audit(b) as right:
        columns = "doc_id::varchar as doc_id, outcome, reasons"
        tables = [con.sql(f"select {columns} from documents").to_arrow_table() for con in (left, right)]
    with duckdb.connect(":memory:") as con:
        con.register("a", tables[0])
        con.register("b", tables[1])
        moved = rows_of(
            con,
            "select a.outcome as a, b.outcome as b, count(*) as documents from a full join b using (doc_id) group by all order by documents desc, a.outcome, b.outcome",
        )
        reasons = rows_of(
            con,
            "with ra as (select unnest(reasons) r, count(*) n from a group by r), rb as (select unnest(reasons) r, count(*) n from b group by r) "
            "select coalesce(ra.r, rb.r) as reason, coalesce(ra.n, 0) as a, coalesce(rb.n, 0) as b from ra full join rb on ra.r = rb.r where coalesce(ra.n, 0) <> coalesce(rb.n, 0) order by reason",
        )
    return {
        "settings": _settings_diff(a, b),
        "outcomes": moved,
        "reasons": reasons,
        "shares": [m["summary"].get("shares") for m in manifests],
        "same": all(m["a"] == m["b"] for m in moved) and not reasons,
    }


def _settings_diff(a: Path, b: Path) -> list[dict[str, Any]]:
    left, right = (_flat(Workspace(root).identity() or {}) for root in (a, b))
    return [
        {"setting": k, "a": left.get(k), "b": right.get(k)}
        for k in sorted({*left, *right})
        if left.get(k) != right.get(k)
    ]


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(value, dict):
        return {
            k: v for name, part in value.items() for k, v in _flat(part, f"{prefix}.{name}" if prefix else name).items()
        }
    return {prefix: value}


@dataclass(frozen=True)
class Check:
    """One thing that `verify` re-derived."""

    what: str
    checked: int
    wrong: tuple[str, ...]


def verify(root: Path) -> list[Check]:
    """Re-derive every hash and every sum of a finished run; what does not hold is listed, not raised."""
    manifest = finished(root)
    checks = [_files(root, manifest), _contents(root, manifest), _undeclared(root, manifest)]
    names = [p.name for p in sorted((root / "documents").glob("*.parquet"))]
    checks += [_document_hashes(root, names), _ledger(root, names), _mixture(root, names)]
    checks += [*_repairs(root, names), _sums(root, manifest)]
    return checks


def _files(root: Path, manifest: dict[str, Any]) -> Check:
    listed = {name: entry["sha256"] for name, entry in manifest["files"].items() if "sha256" in entry}
    wrong = [name for name, sha in listed.items() if not (root / name).is_file() or file_sha256(root / name) != sha]
    return Check("files hash to what the manifest says", len(listed), tuple(wrong))


def _contents(root: Path, manifest: dict[str, Any]) -> Check:
    listed = {name: entry["content"] for name, entry in manifest["files"].items() if "content" in entry}
    try:
        wrong = [name for name, content in listed.items() if content_of(root) != content]
    except (InputError, AccountError) as error:
        wrong = [str(error)]
    return Check("audit.duckdb holds what the manifest says", len(listed), tuple(wrong))


def _undeclared(root: Path, manifest: dict[str, Any]) -> Check:
    found = [
        p.relative_to(root).as_posix()
        for part in ("documents", "signals", "ledger", "mixture")
        for p in (root / part).rglob("*")
        if p.is_file()
    ]
    return Check(
        "no file that the manifest does not list",
        len(found),
        tuple(name for name in found if name not in manifest["files"]),
    )


def _document_hashes(root: Path, names: list[str]) -> Check:
    rows, wrong = 0, []
    for name in names:
        exact = root / "signals" / "exact" / name
        inputs = [(root / "documents" / name, ["doc_id", "source", "record_id", "repeat", "text"])]
        for batch in aligned_batches(inputs + ([(exact, ["text_hash"])] if exact.is_file() else [])):
            wrong += [f"{name} {row['record_id']}" for row in batch.to_pylist() if not _derives(row)]
            rows += batch.num_rows
    return Check("document ids and text hashes re-derive", rows, tuple(wrong))


def _derives(row: dict[str, Any]) -> bool:
    same_id = bool(row["doc_id"] == doc_id(row["source"], row["record_id"], row["repeat"]))
    if "text_hash" not in row or row["text"] is None:
        return same_id
    return same_id and bool(row["text_hash"] == text_hash(row["text"].encode()))


def _ledger(root: Path, names: list[str]) -> Check:
    rows, wrong = 0, []
    for name in names:
        a = pq.read_table(root / "documents" / name, columns=["doc_id"])["doc_id"].to_pylist()
        ledger = pq.read_table(root / "ledger" / name, columns=["doc_id", "outcome"])
        b = [value.bytes for value in ledger["doc_id"].to_pylist()]
        rows += len(a)
        if a != b or not set(ledger["outcome"].to_pylist()) <= set(OUTCOMES):
            wrong.append(name)
    return Check("the ledger has one row for every document, in order", rows, tuple(wrong))


def _mixture(root: Path, names: list[str]) -> Check:
    rows, wrong = 0, []
    for name in names:
        ledger = pq.read_table(root / "ledger" / name, columns=["doc_id", "outcome"])
        expected = uuids.words(ledger.filter(pc.equal(ledger["outcome"], "curated"))["doc_id"])
        path = root / "mixture" / name
        found = uuids.words(pq.read_table(path, columns=["doc_id"])["doc_id"]) if path.is_file() else expected[:0]
        rows += len(found)
        if not np.array_equal(_sorted(expected), _sorted(found)):
            wrong.append(name)
    return Check("the mixture holds exactly the documents the ledger calls curated", rows, tuple(wrong))


def _sorted(ids: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    return ids[np.lexsort(ids.T)]


def _repairs(root: Path, names: list[str]) -> list[Check]:
    """Repaired texts carry two hashes: of what stands there, and of the document it was made from; none, no check."""
    repaired = [name for name in names if _is_repaired(root / "mixture" / name)]
    rows, wrong = 0, []
    for name in repaired:
        originals = dict(_curated_texts(root, name))
        for batch in aligned_batches([(root / "mixture" / name, ["doc_id", "text", *REPAIRED.names])]):
            rows += batch.num_rows
            wrong += [
                f"{name} {row['doc_id']}"
                for row in batch.to_pylist()
                if row["text_hash"] != text_hash(row["text"].encode())
                or row["original_text_hash"] != originals.get(uuid.UUID(str(row["doc_id"])).bytes)
            ]
    what = "repaired texts and their originals hash to what the mixture says"
    return [Check(what, rows, tuple(wrong))] if repaired else []


def _is_repaired(path: Path) -> bool:
    return path.is_file() and set(REPAIRED.names) <= set(pq.read_schema(path).names)


def _curated_texts(root: Path, name: str) -> Iterator[tuple[bytes, bytes]]:
    """Id of every curated document of a shard and the hash of its text, read from documents/."""
    outcomes = pq.read_table(root / "ledger" / name, columns=["outcome"])["outcome"]
    curated, first = pc.equal(outcomes, "curated").combine_chunks(), 0
    for batch in aligned_batches([(root / "documents" / name, ["doc_id", "text"])]):
        for row in batch.filter(curated.slice(first, batch.num_rows)).to_pylist():
            yield row["doc_id"], text_hash(row["text"].encode())
        first += batch.num_rows


def _sums(root: Path, manifest: dict[str, Any]) -> Check:
    outcomes = manifest["summary"]["outcomes"]
    inputs = sum(i["rows"] for i in (Workspace(root).identity() or {}).get("inputs", []))
    wrong = [] if sum(outcomes.values()) == inputs else [f"{outcomes} against {inputs} inputs"]
    with open_audit(root) as con:
        counted = dict(con.execute("select outcome, count(*) from documents group by outcome").fetchall())
    wrong += [
        f"{k}: audit has {counted.get(k, 0)}, manifest {v}" for k, v in outcomes.items() if counted.get(k, 0) != v
    ]
    return Check("outcomes add up to the inputs", inputs, tuple(wrong))


def plain(value: Any) -> Any:
    """A value as JSON can hold it."""
    return json.loads(json.dumps(value, default=str))
