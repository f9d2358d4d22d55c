"""Build `audit.duckdb`: the account as tables that plain DuckDB opens anywhere, every column commented."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import duckdb
import pyarrow as pa

from curator.errors import AccountError, InputError, first_line
from curator.ids import fingerprint
from curator.schema import doc_of
from curator.shards import writing

# Up to this many rows the per-document part is a real table; beyond it a view over ledger/*.parquet beside the database.
TABLE_ROWS: Final = 5_000_000

# What is hashed; `lookup` follows from the ledger, and its thirty million rows would take longer than all the rest.
CONTENT_TABLES: Final = (
    "select table_name from duckdb_tables() where not internal and table_name <> 'lookup' order by table_name"
)

# A view beyond `TABLE_ROWS` finds its files by the variable `run`, the run's folder; where none is set, by the working
# folder. A relative name alone would read the ledger of whatever run lies there.
LEDGER: Final = "read_parquet(coalesce(getvariable('run') || '/', '') || 'ledger/*.parquet')"

# Folders of a run that a query may read beside the database, with the view that shows them.
# The ids there are letters or plain bytes, as other tools read them; in the views they are what they are in `documents`.
BESIDE: Final = {
    "ledger": None,
    "mixture": (
        "mixture",
        "doc_id::uuid as doc_id, cluster::uuid as cluster",
        "the curated documents with their texts; read from mixture/",
    ),
    "documents": (
        "texts",
        "hex(doc_id)::uuid as doc_id",
        "what was read, with texts and the columns that travel through; read from documents/",
    ),
}

LOOKUP: Final = {
    "table lookup": "in which file of ledger/ a document lies, sorted by key; only beside a view of the ledger",
    "column lookup.key": "lower 64 bits of the MD5 of its doc_id, its url or its record_id, as text",
    "column lookup.shard": "number of the file: 12 is ledger/000012.parquet",
}

COLUMNS: Final = (
    "select table_name, column_name, data_type, coalesce(comment, '') from duckdb_columns() "
    "where not internal and database_name <> 'temp' order by table_name, column_index"
)


def build(root: Path, ledger: pa.Schema, rows: int, tables: Mapping[str, tuple[str, pa.Table]]) -> str:
    """Write OUT/audit.duckdb in one atomic step and return the hash of what it holds.

    tables: name -> (what it is, rows); column meanings are read from each field's doc.
    DuckDB stamps every new file with a random identifier, so two equal accounts never have
    equal bytes: their contents are what is hashed.
    """
    with writing(root / "audit.duckdb") as temporary:
        temporary.unlink(missing_ok=True)
        limits: dict[str, str | bool | int | float | list[str]] = {
            "threads": 1,
            "memory_limit": "512MB",
            "temp_directory": str(root / "spill"),
        }
        with duckdb.connect(str(temporary), config=limits) as con:
            con.execute("set timezone = 'UTC'")
            _documents(con, root, ledger, rows)
            for name, (comment, table) in tables.items():
                _table(con, name, comment, table)
            con.execute((files("curator") / "sql" / "views.sql").read_text("utf-8"))
            con.execute("checkpoint")
            content = content_hash(con)
    shutil.rmtree(root / "spill", ignore_errors=True)
    return content


def _documents(con: duckdb.DuckDBPyConnection, root: Path, ledger: pa.Schema, rows: int) -> None:
    if rows <= TABLE_ROWS:
        paths = [str(path) for path in sorted((root / "ledger").glob("*.parquet"))]
        con.execute("create table documents as from read_parquet(?)", [paths])
        kind = "TABLE"
    else:
        con.execute(f"set variable run = {_literal(str(root.resolve()))}")
        con.execute(f"create view documents as from {LEDGER}")
        kind = "VIEW"
        _lookup(con)
    con.execute(f"comment on {kind} documents is 'one row for every input row: what was measured, decided and done'")
    _comment(con, "documents", ledger)


def _lookup(con: duckdb.DuckDBPyConnection) -> None:
    """Where each document lies, by a hash of each of its names: one file of hundreds is read to explain it."""
    con.execute(
        "create table lookup as select * from (select unnest([md5_number_lower(doc_id::varchar), md5_number_lower(url), "
        "md5_number_lower(record_id)]) as key, parse_filename(filename, true)::integer as shard "
        f"from {LEDGER}) where key is not null order by key"
    )
    for what, comment in LOOKUP.items():
        con.execute(f"comment on {what} is {_literal(comment)}")


def _table(con: duckdb.DuckDBPyConnection, name: str, comment: str, table: pa.Table) -> None:
    con.register("incoming", table)
    con.execute(f"create table {_quoted(name)} as from incoming")
    con.unregister("incoming")
    con.execute(f"comment on table {_quoted(name)} is {_literal(comment)}")
    _comment(con, name, table.schema)


def _comment(con: duckdb.DuckDBPyConnection, table: str, schema: pa.Schema) -> None:
    for column in schema:
        con.execute(f"comment on column {_quoted(table)}.{_quoted(column.name)} is {_literal(doc_of(column))}")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def content_hash(con: duckdb.DuckDBPyConnection) -> str:
    """Hash what the tables hold, whatever the order of rows and the bytes of the file."""
    parts = []
    for (name,) in con.execute(CONTENT_TABLES).fetchall():
        row = con.execute(
            "select count(*), bit_xor(h)::varchar, sum(h % 1000000007)::varchar "
            f"from (select md5_number(t::varchar) as h from {_quoted(name)} t)"
        ).fetchall()
        parts.append(f"{name}:{row}")
    return fingerprint(parts)


def columns(con: duckdb.DuckDBPyConnection) -> dict[str, list[tuple[str, str, str]]]:
    """Every table and view by name, its columns in order: name, SQL type, meaning (empty when nobody said)."""
    found: dict[str, list[tuple[str, str, str]]] = {}
    for table, *column in con.execute(COLUMNS).fetchall():
        found.setdefault(table, []).append((column[0], column[1], column[2]))
    return found


def open_audit(root: Path, settings: Mapping[str, str | int] | None = None) -> duckdb.DuckDBPyConnection:
    """Open the account for reading, locked down: no writes, no files but the run's own, no network, no settings.

    Beside the account's tables, `mixture` and `texts` show the run's files of those names while they lie there.
    settings: of DuckDB, set before they are locked; a process that has the account open already keeps those it has.

    Raises `InputError` when there is no account to open.
    """
    path = root / "audit.duckdb"
    if not path.is_file():
        raise InputError(f"{root} has no audit.duckdb; run `curator filter … -o {root}` to its end first")
    try:
        con = duckdb.connect(
            str(path),
            read_only=True,
            config={"autoload_known_extensions": False, "autoinstall_known_extensions": False},
        )
        con.execute(f"set variable run = {_literal(str(root.resolve()))}")
        _lock(con, root.resolve(), settings or {})
        _show_texts(con, root.resolve())
    except duckdb.Error as error:
        raise InputError(f"{path} cannot be opened: {first_line(error)}") from error
    return con


def _lock(con: duckdb.DuckDBPyConnection, root: Path, settings: Mapping[str, str | int]) -> None:
    """Let the connection reach no files but the run's Parquet; for all connections of this process to this account."""
    if con.execute("select current_setting('lock_configuration')").fetchall() == [(True,)]:
        return
    for name, value in settings.items():
        con.execute(f"set {name} = {_literal(str(value))}")
    con.execute("set timezone = 'UTC'")
    con.execute(f"set allowed_directories = [{', '.join(_literal(f'{root / name}/') for name in BESIDE)}]")
    con.execute("set enable_external_access = false")
    con.execute("set lock_configuration = true")


def _show_texts(con: duckdb.DuckDBPyConnection, root: Path) -> None:
    """Show the run's own Parquet files that hold texts as views of the connection."""
    for folder, view in BESIDE.items():
        if view is not None and any((root / folder).glob("*.parquet")):
            name, ids, comment = view
            files = f"read_parquet({_literal(f'{root / folder}/*.parquet')})"
            con.execute(f"create temp view {name} as select * replace ({ids}) from {files}")
            con.execute(f"comment on view {name} is {_literal(comment)}")


def ask(con: duckdb.DuckDBPyConnection, sql: str) -> duckdb.DuckDBPyRelation:
    """Answer one question that somebody typed; anything that could write raises `duckdb.PermissionException`.

    A read-only database does not keep COPY from writing files: what may be read beside it could be overwritten.
    """
    statements = con.extract_statements(sql)
    if len(statements) != 1:
        raise duckdb.PermissionException(f"one statement at a time, not {len(statements)}")
    kind = statements[0].type
    if kind != duckdb.StatementType.SELECT:
        raise duckdb.PermissionException(
            f"the account is read-only: {kind.name} is disabled by configuration; ask with SELECT, FROM, DESCRIBE or SUMMARIZE"
        )
    return con.sql(sql)


def rows_of(con: duckdb.DuckDBPyConnection, sql: str, parameters: Sequence[object] = ()) -> list[dict[str, Any]]:
    """Run a query and return its rows as dictionaries; through Arrow, since DuckDB's own rows need pytz for times."""
    found: list[dict[str, Any]] = con.sql(sql, params=list(parameters)).to_arrow_table().to_pylist()
    return found


def documents_where(
    con: duckdb.DuckDBPyConnection, column: str, value: object, limit: int = 20
) -> list[dict[str, Any]]:
    """Documents whose doc_id, url or record_id is `value`; beyond `TABLE_ROWS` only the files that hold them are read."""
    where = f"where {_quoted(column)} = ? limit {int(limit)}"
    if "lookup" not in columns(con):
        return rows_of(con, f"select * from documents {where}", [value])
    shards = con.execute(
        f"select distinct shard from lookup where key = md5_number_lower(?) order by shard limit {int(limit)}",
        [str(value)],
    ).fetchall()
    if not shards:
        return []
    files = ", ".join(f"getvariable('run') || '/ledger/{shard:06d}.parquet'" for (shard,) in shards)
    return rows_of(con, f"select * from read_parquet([{files}]) {where}", [value])


def content_of(root: Path) -> str:
    """The content hash of an account on disk."""
    with open_audit(root) as con:
        try:
            return content_hash(con)
        except duckdb.Error as error:
            raise AccountError(
                f"{root}/audit.duckdb is damaged: {first_line(error)}; remove {root}/manifest.json and run the same "
                "`curator filter` again, which writes another"
            ) from error
