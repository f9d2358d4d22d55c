"""What the page asks of the account: each answer keeps the query, as anyone can repeat it with `curator sql`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curator.audit import rows_of
from curator.decide import sealed
from curator.errors import InputError, first_line

SHOWN: Final = 20  # rows of a list before the rest is counted as "others"
EXAMPLES: Final = 10  # documents on either side of a limit
EXCERPT_CHARS: Final = 300
NOTICED: Final = 3.0  # standard deviations of human text from itself beyond which a measure notices

OUTCOMES: Final = """\
select outcome, count(*) as documents, coalesce(sum({words}), 0)::bigint as words,
       coalesce(sum(weight), 0)::bigint as copies
from documents group by outcome order by outcome"""

INPUTS_TOTAL: Final = "select count(*) as documents from documents"

REASONS: Final = """\
with ranked as (select *, row_number() over (order by documents desc, reason) as place from drop_counts)
select case when place <= 20 then reason else 'others' end as reason,
       sum(documents)::bigint as documents, sum(for_this_alone)::bigint as for_this_alone, count(*) as reasons
from ranked group by 1, least(place, 21) order by least(place, 21)"""

SOURCES: Final = """\
with ranked as (select *, row_number() over (order by documents desc, source) as place from sources)
select case when place <= 20 then source else 'others' end as source, count(*) as sources,
       sum(documents)::bigint as documents, sum(quarantined)::bigint as quarantined, sum(dropped)::bigint as dropped,
       sum(duplicate)::bigint as duplicate, sum(left_out)::bigint as left_out, sum(curated)::bigint as curated
from ranked group by 1, least(place, 21) order by least(place, 21)"""

WHOLE: Final = """\
select scope, unit, n, n_judged, lower, share, low, high, method, second, second_method, reason, warning, basis,
       declared_human, declared_synthetic
from shares where dimension = 'all'
order by case unit when 'docs' then 0 when 'words' then 1 else 2 end,
         case scope when 'input' then 0 when 'unique' then 1 when 'kept' then 2 else 3 end"""

BY_DIMENSION: Final = """\
with b as (from shares where dimension = '{dimension}' and unit = 'docs' and scope = 'input'),
     a as (from shares where dimension = '{dimension}' and unit = 'docs' and scope = 'mixture')
select stratum, b.n as documents, b.n_judged as judged, coalesce(a.n, 0) as documents_after,
       b.share as share_before, b.low as low_before, b.high as high_before,
       b.lower as lower_before, b.second as second_before, b.method, b.second_method, b.basis,
       a.share as share_after, a.low as low_after, a.high as high_after,
       a.lower as lower_after, a.second as second_after, b.warning, a.warning as warning_after,
       b.reason as why_unknown, a.reason as why_unknown_after
from b full join a using (stratum) order by {order} limit {limit}"""

MONTHS_SHOWN: Final = 240
_LATEST: Final = BY_DIMENSION.format(dimension="month", order="stratum desc", limit=MONTHS_SHOWN)
MONTHS: Final = f"from (\n{_LATEST}\n) order by stratum"

HOW_MANY: Final = (
    "select count(distinct stratum) as strata from shares where dimension = '{dimension}' and unit = 'docs'"
)

PROBABILITIES: Final = """\
select least(floor({column} * 50)::int, 49) as bin,
       count(*) as input, count(*) filter (outcome = 'curated') as mixture
from documents where {column} is not null group by bin order by bin"""

# The upper end is Wilson's (1927), 97.5 % to one side: none of fifty is no certainty.
OPERATING: Final = """\
with told as (
  select coalesce(origin.reference, 'unknown') as reference, human_p is not null as judged, prob_calibrated, origin_flagged, origin_trusted, synthetic
  from documents join origin on origin.stratum = origin_stratum)
select reference, (select regexp_extract(recipe_toml, 'target_fpr = ([0-9.e-]+)', 1)::double from runs) as target_fpr,
       count(*) as judged, count(*) filter (origin_flagged) as flagged,
       max(prob_calibrated) filter (not origin_flagged) as highest_unflagged,
       min(prob_calibrated) filter (origin_flagged) as lowest_flagged,
       count(*) filter (origin_trusted) as trusted, count(*) filter (origin_trusted and origin_flagged) as trusted_flagged,
       trusted_flagged / nullif(trusted, 0) as rate,
       (rate + 1.9208 / trusted + 1.96 * sqrt((rate * (1 - rate) + 0.9604 / trusted) / trusted)) / (1 + 3.8416 / trusted) as rate_at_most,
       count(*) filter (origin_trusted and synthetic) as trusted_shipped
from told where judged group by reference order by judged desc, reference"""

ORIGIN: Final = """\
select stratum, level, reference, n_trusted, n_judged, n_flagged, threshold_logit, expected_fpr, warning
from origin order by n_judged desc, stratum limit 20"""

ORIGIN_TOTAL: Final = (
    "select count(*) as strata, sum(n_judged)::bigint as judged, sum(n_flagged)::bigint as flagged from origin"
)

ORIGIN_WARNINGS: Final = """\
select warning, sum(n_judged)::bigint as documents from origin where level = 'anchors' and warning is not null
group by warning order by warning"""

NEAR_FLAG: Final = """\
with near as (
  (select 0 as side, * from documents where not origin_flagged and origin_threshold is not null
   order by ai_logit - origin_threshold desc, doc_id limit 10)
  union all
  (select 1 as side, * from documents where origin_flagged order by ai_logit - origin_threshold, doc_id limit 10))
select human_p, ai_logit - origin_threshold as over, q_synthetic, prob_calibrated, prob_pooled, origin_flagged as fired,
       origin_stratum, outcome, source, url, doc_id::varchar as doc_id
from near order by side, ai_logit - origin_threshold, doc_id"""

DECLARED: Final = """\
select declared_origin, count(*) as judged, count(*) filter (origin_flagged) as flagged, flagged / judged as rate
from documents where origin_flagged is not null and declared_origin is not null
group by declared_origin order by declared_origin"""

ABSTAINED: Final = """\
select ai_abstain as reason, count(*) as documents from documents
where ai_abstain is not null group by ai_abstain order by documents desc, reason"""

QUALITY: Final = """\
select least(floor(quality * 40)::int, 39) as bin,
       count(*) as input, count(*) filter (outcome = 'curated') as mixture
from documents where quality is not null group by bin order by bin"""

LENGTHS: Final = """\
select greatest(0, floor(4 * log10(greatest(n_words, 1))))::int as bin,
       count(*) as input, count(*) filter (outcome = 'curated') as mixture
from documents where n_words is not null group by bin order by bin"""

QUANTILES: Final = """\
select scope, count({column}) as documents, min({column})::double as least,
       quantile_disc({column}, 0.05)::double as p05, quantile_disc({column}, 0.25)::double as p25,
       quantile_disc({column}, 0.5)::double as median, quantile_disc({column}, 0.75)::double as p75,
       quantile_disc({column}, 0.95)::double as p95, max({column})::double as most
from (select 'input' as scope, {column} from documents
      union all select 'mixture', {column} from documents where outcome = 'curated')
where {column} is not null group by scope order by scope"""

MARGINS: Final = """\
select dimension, any_value(basis) as basis, count(*) as strata, count(low) as boxed,
       count(*) filter (price <> 0) as binding, count(*) filter (not met) as missed,
       sum(abs(share_kept - reference)) / 2 as off_kept, sum(abs(share_expected - reference)) / 2 as off_mixture
from strata group by dimension
order by list_position(['topic', 'source', 'language', 'domain', 'year'], dimension), dimension"""

PRESSING: Final = """\
select dimension, stratum, reference, low, high, share_kept, share_expected, share_drawn, price, met
from strata where not met or price <> 0
order by met, greatest(low - share_expected, share_expected - high) desc, abs(price) desc, dimension, stratum limit 20"""

PLACES: Final = """\
select stratum, reference, low, high, share_kept, share_expected, share_drawn, price, met
from strata where dimension = '{dimension}'
order by met, greatest(coalesce(reference, 0), share_expected) desc, stratum limit 20"""

RETAINED: Final = """\
select dimension, count(*) as strata, count(*) filter (human >= 5) as alive,
       count(*) filter (human >= 5 and drawn = 0) as extinct,
       min(human_retention) filter (human >= 5) as least,
       quantile_cont(human_retention, 0.05) filter (human >= 5) as p05,
       quantile_cont(human_retention, 0.5) filter (human >= 5) as median,
       sum(human * human_retention) / nullif(sum(human), 0) as overall
from strata group by dimension
order by list_position(['topic', 'source', 'language', 'domain', 'year'], dimension), dimension"""

SMALL_TOPICS: Final = """\
select stratum, kept, drawn, retention, human, human_retention, reference, share_drawn
from strata where dimension = 'topic' and human >= 1
order by human, stratum limit 20"""

TOPICS: Final = """\
select count(*) filter (human >= 1) as topics, count(*) filter (human < 1) as empty
from strata where dimension = 'topic'"""

LEAST_RETAINED: Final = """\
select dimension, stratum, kept, drawn, retention, human, human_retention, reference, share_drawn
from strata where human >= 5
order by human_retention, human desc, dimension, stratum limit 20"""

FRONTIER: Final = """\
select 'cap' as what, cap as share, words, null as target from frontier
union all
select 'mixture', realised, (select sum(weight * {words}) from documents where outcome = 'curated'), target
from constraints where name = 'max_synthetic'
order by what, share"""

REPRESENTATIVENESS: Final = """\
with told as (
  select *, coalesce((worse <> '-' and z > 3) or (worse <> '+' and z < -3), false) as noticed, rowid as place
  from representativeness)
select metric, any_value(worse) as worse, any_value(doc) as doc,
       max(z) filter (scope = 'input') as z_input, max(z) filter (scope = 'kept') as z_kept, max(z) filter (scope = 'mixture') as z_mixture,
       bool_or(noticed) filter (scope = 'input') as noticed_input, bool_or(noticed) filter (scope = 'kept') as noticed_kept,
       bool_or(noticed) filter (scope = 'mixture') as noticed_mixture,
       max(value) filter (scope = 'input') as value_input, max(value) filter (scope = 'kept') as value_kept,
       max(value) filter (scope = 'mixture') as value_mixture,
       max(null_mean) filter (scope = 'mixture') as null_mean, max(null_sd) filter (scope = 'mixture') as null_sd,
       max(n) filter (scope = 'input') as n_input, max(n) filter (scope = 'kept') as n_kept, max(n) filter (scope = 'mixture') as n_mixture,
       max(n_reference) as n_reference, max(n_shared) filter (scope = 'mixture') as n_shared, max(draws) as draws
from told group by metric order by min(place)"""

CLUSTERS: Final = """\
select c.members, c.exact_members, c.removed, c.sources, c.min_similarity,
       d.source, d.url, d.outcome, c.survivor::varchar as doc_id
from clusters c left join documents d on d.doc_id = c.survivor
order by c.members desc, c.cluster limit 10"""

DEDUP: Final = "select name, value from dedup order by rowid"

QUARANTINE: Final = """\
select split_part(reason, ':', 1) as reason, count(*) as rows, count(distinct source) as sources,
       min(path || ' row ' || "row") as first_example
from quarantine group by 1 order by rows desc, 1 limit 20"""

ALARMS: Final = "select kind, message from alarms order by rowid"

CONSTRAINTS: Final = """\
select name, target, expected, realised, standard_error, slack, price, met, upper_share, unjudged
from constraints order by name"""

RULES: Final = 'select reason, sql, columns, fired from rules order by "position"'

NEAR: Final = """\
with near as (
  (select 0 as side, * from documents where {column} {below} {number}{unless}
   order by {column} desc, doc_id limit {limit})
  union all
  (select 1 as side, * from documents where {column} {above} {number}{unless}
   order by {column}, doc_id limit {limit}))
select {column}::double as value, list_contains(reasons, '{reason}') as fired, outcome, source, url,
       doc_id::varchar as doc_id, (select fired from rules where reason = '{reason}') as fired_on
from near order by side, {column}, doc_id"""

FIRED: Final = """\
select outcome, source, url, doc_id::varchar as doc_id from documents
where list_contains(reasons, '{reason}') order by doc_id limit {limit}"""

RUN: Final = """\
select run_id, recipe, recipe_fingerprint, seed, curator_version, "rows", encoder_gate, encoder_documents,
       redecided_from from runs"""

RECIPE: Final = "select recipe_toml from runs"

INPUTS: Final = 'select name, sha256, "rows", source from inputs order by name limit 20'

INPUT_FILES: Final = "select count(*) as files from inputs"

MODELS: Final = "select name, what, licence, sha256, figures from models order by name"

STAGES: Final = 'select name, version, fingerprint, settings from stages order by "position"'


@dataclass(frozen=True)
class Answer:
    """The rows of one query, with the query."""

    sql: str
    rows: list[dict[str, Any]]


@dataclass(frozen=True)
class Limit:
    """A number that a rule compares one column with, or 0 where it compares two sides of arithmetic: their difference."""

    reason: str
    column: str
    sign: str
    number: str
    alone: bool  # whether it is the rule's only limit
    computed: bool = False  # whether `column` is SQL over several columns


@dataclass(frozen=True)
class Account:
    """A finished run as the page reads it: the tables it has, the columns of its documents, its texts."""

    con: duckdb.DuckDBPyConnection
    root: Path
    tables: frozenset[str] = field(default=frozenset())
    columns: frozenset[str] = field(default=frozenset())
    held: frozenset[tuple[str, str]] = field(default=frozenset())

    @classmethod
    def of(cls, con: duckdb.DuckDBPyConnection, root: Path) -> Account:
        """Look at what the account holds; runs of other recipes and versions hold other parts."""
        names = "table_name as name from duckdb_tables() where not internal union all select view_name from duckdb_views() where not internal"
        tables = frozenset(row["name"] for row in rows_of(con, f"select {names}"))
        found = rows_of(con, "select table_name, column_name from duckdb_columns() where not internal")
        held = frozenset((row["table_name"], row["column_name"]) for row in found)
        return cls(con, root, tables, frozenset(name for table, name in held if table == "documents"), held)

    def ask(self, sql: str) -> Answer:
        """Run one query. Raises `InputError` when the account is damaged or of another layout."""
        try:
            return Answer(sql, rows_of(self.con, sql))
        except duckdb.Error as error:
            raise InputError(
                f"{self.root}/audit.duckdb does not answer: {first_line(error)}; `curator verify {self.root}` says what is wrong"
            ) from error

    def has(self, table: str, *columns: str) -> bool:
        """Whether the account has this table and its documents these columns."""
        return table in self.tables and self.columns.issuperset(columns)

    def holds(self, table: str, *columns: str) -> bool:
        """Whether the account has this table with these columns: those of earlier versions have others."""
        return table in self.tables and self.held.issuperset((table, name) for name in columns)

    def texts(self, ids: Sequence[str]) -> dict[str, str]:
        """The first characters of the texts of these documents, by doc_id; quarantined rows have none."""
        wanted = pa.array([bytes.fromhex(i.replace("-", "")) for i in sorted(set(ids))], pa.binary(16))
        found: dict[str, str] = {}
        for path in sorted((self.root / "documents").glob("*.parquet")) if len(wanted) else []:
            found |= _texts_in(path, wanted)
        return found

    def limits(self) -> list[Limit]:
        """Every number but 0 that a rule compares a column or a difference with, in the recipe's order."""
        rules = self.ask(RULES).rows if self.has("rules") else []
        with sealed() as con:
            found = [limit for rule in rules for limit in _limits(con, rule)]
        return [limit for limit in found if limit.column in self.columns or (limit.computed and self._counts(limit))]

    def _counts(self, limit: Limit) -> bool:
        """Whether the documents have the difference as a number."""
        try:
            self.con.execute(f"select ({limit.column})::double from documents limit 0")
        except duckdb.Error:
            return False
        return True


def _texts_in(path: Path, wanted: pa.Array) -> dict[str, str]:
    try:
        with pq.ParquetFile(path) as file:
            ids = file.read(["doc_id"])["doc_id"].combine_chunks()
            rows = pc.indices_nonzero(pc.is_in(ids, wanted))
            if not len(rows):
                return {}
            texts = pc.utf8_slice_codeunits(file.read(["text"])["text"].take(rows), 0, 4 * EXCERPT_CHARS)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path} cannot be read: {error}; `curator verify` says what is wrong with the run") from error
    pairs = zip(ids.take(rows).to_pylist(), texts.to_pylist(), strict=True)
    return {_uuid(i): text for i, text in pairs if text is not None}


def _uuid(name: bytes) -> str:
    text = name.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


_SIGNS: Final = {
    "COMPARE_LESSTHAN": "<",
    "COMPARE_LESSTHANOREQUALTO": "≤",
    "COMPARE_GREATERTHAN": ">",
    "COMPARE_GREATERTHANOREQUALTO": "≥",
}
_TURNED: Final = {"<": ">", "≤": "≥", ">": "<", "≥": "≤"}


def _limits(con: duckdb.DuckDBPyConnection, rule: Mapping[str, Any]) -> list[Limit]:
    ((text,),) = con.execute("select json_serialize_sql(?::varchar)", [f"select ({rule['sql']}\n)"]).fetchall()
    parsed = json.loads(text)
    found: dict[tuple[str, str, str], bool] = {}
    for node in list(_comparisons(parsed)):
        sides = _compared(node)
        found |= {parts: False for parts in sides}
        if not sides and any(_is_arithmetic(node[side]) for side in ("left", "right")):
            left, right = (_written(con, parsed, node[side]) for side in ("left", "right"))
            found[f"{left} - {right}", _SIGNS[node["type"]], "0"] = True
    return [Limit(rule["reason"], *parts, len(found) == 1, computed) for parts, computed in found.items()]


def _comparisons(node: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(node, dict):
        if node.get("class") == "COMPARISON" and node.get("type") in _SIGNS:
            yield node
        node = list(node.values())
    if isinstance(node, list):
        for part in node:
            yield from _comparisons(part)


def _compared(node: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """The column, the sign and the number of a comparison; empty where it compares other things."""
    sign = _SIGNS[node["type"]]
    sides = (("left", "right", sign), ("right", "left", _TURNED[sign]))
    parts = [(_column(node[side]), seen, _number(node[other])) for side, other, seen in sides]
    return [(column, seen, number) for column, seen, number in parts if column and number]


def _is_arithmetic(node: Mapping[str, Any]) -> bool:
    return node.get("class") == "FUNCTION" and node.get("function_name") in ("+", "-", "*", "/")


def _written(con: duckdb.DuckDBPyConnection, parsed: dict[str, Any], node: Any) -> str:
    """A part of a parsed rule as SQL, the way the engine writes it."""
    parsed["statements"][0]["node"]["select_list"] = [node]
    ((text,),) = con.execute("select json_deserialize_sql(?::json)", [json.dumps(parsed)]).fetchall()
    return str(text).removeprefix("SELECT ")


def _column(node: Mapping[str, Any]) -> str | None:
    if node.get("type") == "OPERATOR_COALESCE":
        node = node["children"][0]
    names = node.get("column_names") or []
    return str(names[0]) if len(names) == 1 else None


def _number(node: Mapping[str, Any]) -> str | None:
    text = str((node.get("literal") or {}).get("text", ""))
    try:
        return (
            text if float(text) != 0 else None
        )  # comparisons with 0 guard against empty texts; nothing lies near them
    except ValueError:
        return None


def fired(reason: str) -> str:
    """The query for some of the documents that a rule fired on, spread over all of them: a doc_id is a hash."""
    return FIRED.format(reason=reason.replace("'", "''"), limit=2 * EXAMPLES)


def near(limit: Limit) -> str:
    """The query for the documents closest to a limit, on both sides; a value of 0 is near nothing."""
    column = f"({limit.column})" if limit.computed else '"' + limit.column.replace('"', '""') + '"'
    unless = "" if limit.computed else f" and {column} <> 0"
    reason = limit.reason.replace("'", "''")
    below, above = ("<", ">=") if limit.sign in "<≥" else ("<=", ">")
    return NEAR.format(
        column=column, number=limit.number, reason=reason, limit=EXAMPLES, below=below, above=above, unless=unless
    )
