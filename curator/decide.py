"""Turn columns into verdicts: each rule is one SQL expression, each document is judged alone, every reason is kept."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curator.errors import RecipeError, UndecidedError, first_line

BoolArray = npt.NDArray[np.bool_]

# A verdict must be the same tomorrow: no clock, no dice. Neighbours are refused as windows and aggregates.
_UNSTEADY: Final = {
    "random", "setseed", "gen_random_uuid", "uuid", "uuidv4", "uuidv7", "now", "get_current_timestamp", "get_current_time",
    "current_date", "today", "transaction_timestamp", "current_localtimestamp", "current_localtime", "nextval", "currval",
    "getenv", "getvariable", "current_setting", "query", "query_table",
}  # fmt: skip


def sealed() -> duckdb.DuckDBPyConnection:
    """An in-memory DuckDB that can reach no file, no network and no setting: safe for expressions from strangers."""
    con = duckdb.connect(
        ":memory:", config={"threads": 1, "enable_external_access": False, "autoload_known_extensions": False}
    )
    con.execute("set timezone = 'UTC'")
    con.execute("set lock_configuration = true")
    return con


@dataclass(frozen=True)
class Rule:
    """A reason to drop, the SQL that fires it, and the columns that SQL reads."""

    reason: str
    sql: str
    columns: tuple[str, ...]


def parse_rules(rules: Mapping[str, str], schema: pa.Schema, later: Sequence[str] = ()) -> tuple[Rule, ...]:
    """Check every rule against the columns there will be: one boolean expression, steady, row by row.

    later: columns that only a corpus can tell; a rule on one is checked again, with its types, once it is known.

    Raises `RecipeError` naming the rule and what is wrong with it.
    """
    with sealed() as con:
        con.register("signals", schema.empty_table())
        return tuple(_parse(con, reason, sql, schema, later) for reason, sql in rules.items())


def _parse(con: duckdb.DuckDBPyConnection, reason: str, sql: str, schema: pa.Schema, later: Sequence[str]) -> Rule:
    if not reason.isidentifier():
        raise RecipeError(f"rule name {reason!r} is not a plain word; name the fault, such as too_short")
    if not sql.strip():
        raise RecipeError(f"rule {reason} is empty; write a condition on one document's columns, or leave the rule out")
    tree = _tree(con, reason, sql)
    columns = tuple(dict.fromkeys(name for name in _columns(tree)))
    for name in columns:
        if name not in schema.names and name not in later:
            raise RecipeError(_unknown_column(reason, name, schema))
    if set(columns) & set(later):
        return Rule(reason, sql, columns)
    try:
        found = con.sql(f"select ({sql}\n) as fired from signals").to_arrow_table()
    except duckdb.Error as error:
        raise RecipeError(f"rule {reason} = {sql!r} does not hold together: {first_line(error)}") from error
    if found.num_rows or not pa.types.is_boolean(found.schema.field(0).type):
        what = (
            "looks at more than its own row"
            if found.num_rows
            else f"gives {found.schema.field(0).type}, not true or false"
        )
        raise RecipeError(f"rule {reason} = {sql!r} {what}; write a condition on one document's columns")
    return Rule(reason, sql, columns)


def _tree(con: duckdb.DuckDBPyConnection, reason: str, sql: str) -> Any:
    # fetchall, not fetchone: DuckDB 2 refuses a connection whose last result was not read to its end
    ((text,),) = con.execute("select json_serialize_sql(?::varchar)", [f"select ({sql}\n)"]).fetchall()
    parsed = json.loads(text)
    if parsed["error"]:
        raise RecipeError(f"rule {reason} = {sql!r} is not SQL: {parsed.get('error_message', '')}")
    if len(parsed["statements"]) != 1 or not _is_plain(parsed["statements"][0]["node"]):
        raise RecipeError(f"rule {reason} = {sql!r} is more than one expression; write a condition only")
    tree = parsed["statements"][0]["node"]["select_list"]
    for node in _walk(tree):
        if node.get("class") in ("SUBQUERY", "WINDOW"):
            raise RecipeError(
                f"rule {reason} = {sql!r} looks beyond its own row; write a condition on one document's columns"
            )
        if str(node.get("function_name", "")).lower() in _UNSTEADY:
            raise RecipeError(
                f"rule {reason} calls {node['function_name']}(), which would decide differently another day; use a column"
            )
    return tree


def _is_plain(node: Mapping[str, Any]) -> bool:
    empty = not any(
        node.get(part) for part in ("where_clause", "having", "qualify", "sample", "group_expressions", "modifiers")
    )
    tables = node.get("cte_map", {}).get("map")
    return (
        node["type"] == "SELECT_NODE"
        and node["from_table"]["type"] == "EMPTY"
        and len(node["select_list"]) == 1
        and empty
        and not tables
    )


def _walk(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
        for value in node.values():
            yield from _walk(value)
    elif isinstance(node, list):
        for value in node:
            yield from _walk(value)


def _columns(tree: Any) -> Iterator[str]:
    lambdas = {
        ref["column_names"][0]
        for n in _walk(tree)
        if n.get("class") == "LAMBDA"
        for ref in _walk(n["lhs"])
        if "column_names" in ref
    }
    for node in _walk(tree):
        if node.get("class") == "COLUMN_REF" and node["column_names"][0] not in lambdas:
            yield node["column_names"][0]


def _unknown_column(reason: str, name: str, schema: pa.Schema) -> str:
    near = difflib.get_close_matches(name, schema.names, 3, 0.5)
    hint = f"near it: {', '.join(near)}" if near else "`curator stages` lists the columns"
    return f"rule {reason} names column {name!r}, which nothing measures; {hint}"


@dataclass(frozen=True)
class Verdicts:
    """What the rules said of one shard.  # fired: [rules, docs] bool"""

    fired: BoolArray
    reasons: pa.ListArray  # every rule that fired, by name
    unmeasured: pa.ListArray  # columns some rule reads that are null for the document


class Judge:
    """Judges shards one after another under the same rules."""

    def __init__(self, rules: tuple[Rule, ...]) -> None:
        """Open a sealed connection; `close` it, or use the judge as a context."""
        self.rules = rules
        self._con = sealed()

    def __enter__(self) -> Judge:
        """Use as a context."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Close the connection."""
        self._con.close()

    def judge(self, table: pa.Table) -> Verdicts:
        """Judge every row that is not in quarantine; a quarantined row gets no reason, it has its fault already.

        Raises `UndecidedError` when a rule comes to NULL for a readable document.
        """
        readable = pc.is_null(table["quarantine"]).to_numpy(zero_copy_only=False)
        fired = np.zeros((len(self.rules), table.num_rows), dtype=bool)
        if self.rules:
            self._con.register("signals", table)
            exprs = ", ".join(f"({rule.sql}\n) as r{i}" for i, rule in enumerate(self.rules))
            found = self._execute(f"select {exprs} from signals")
            self._con.unregister("signals")
            for i, rule in enumerate(self.rules):
                fired[i] = self._decided(rule, found.column(i), readable, table)
        return Verdicts(fired, _names(fired, [r.reason for r in self.rules]), self._unmeasured(table, readable))

    def _execute(self, sql: str) -> pa.Table:
        try:
            return self._con.sql(sql).to_arrow_table()
        except duckdb.Error as error:
            raise RecipeError(f"a rule failed on a document: {first_line(error)}; guard it with try(…)") from error

    def _decided(self, rule: Rule, column: pa.ChunkedArray, readable: BoolArray, table: pa.Table) -> BoolArray:
        undecided = pc.is_null(column).to_numpy(zero_copy_only=False) & readable
        if undecided.any():
            null = [c for c in rule.columns if pc.is_null(table[c]).to_numpy(zero_copy_only=False)[undecided].any()]
            raise UndecidedError(
                f"rule {rule.reason} = {rule.sql!r} is undecided for {int(undecided.sum())} document(s) "
                f"({', '.join(null) or 'the expression'} not measured there); say what a gap means: "
                f"coalesce({rule.sql}, false) keeps them, coalesce({rule.sql}, true) drops them"
            )
        fired: BoolArray = pc.fill_null(column, False).to_numpy(zero_copy_only=False) & readable
        return fired

    def _unmeasured(self, table: pa.Table, readable: BoolArray) -> pa.ListArray:
        columns = list(dict.fromkeys(c for rule in self.rules for c in rule.columns))
        null = [pc.is_null(table[c]).to_numpy(zero_copy_only=False) & readable for c in columns]
        return _names(np.array(null, dtype=bool).reshape(len(columns), table.num_rows), columns)


def _names(flags: BoolArray, names: list[str]) -> pa.ListArray:
    """For each document the names of the rows that are set.  flags: [names, docs]"""
    doc, which = np.nonzero(flags.T)
    offsets = np.concatenate([[0], np.cumsum(flags.sum(axis=0))]).astype(np.int32)
    values = pa.DictionaryArray.from_arrays(which.astype(np.int32), pa.array(names, pa.string())).dictionary_decode()
    del doc
    return pa.ListArray.from_arrays(pa.array(offsets), values)
