"""From a record's named fields to the columns of an ingested document: which field plays which part, the rest as JSON.

Fields of one nested level, in `metadata` or `meta`, play the parts that no field of the record itself does: that is
where datatrove, dolma, RedPajama and Common Crawl's own JSON keep address and date.
"""

from __future__ import annotations

import datetime as dt
import functools
import hashlib
import json
import math
import os
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import duckdb
import msgspec
import pyarrow as pa

from curator.readers.columns import USUAL, Columns
from curator.readers.documents import dates, origin
from curator.readers.records import MAX_RECORD_BYTES
from curator.statements import spdx

_NESTS: Final = ("metadata", "meta")
_PARTS: Final = ("id", "url", "date", "source", "language", "origin", "title")
_FETCHED: Final = {"crawl_date", "warc_date", "fetched_at"}  # a crawler's date says nothing of publication
_LICENCES: Final = ("license", "licence", "license_url")
_MANY_FIELDS: Final = 200  # a record of more has its names looked up, but not remembered
_LONG_NEST: Final = 1 << 16  # characters; addresses and dates are not looked for in more
_LONG_BYTES: Final = 1 << 10  # bytes beyond this (an image in a table) go into `meta` as their hash

Problem = tuple[str, str | None]


def columns_of(
    record: Mapping[str, Any], named: Columns, place: int, parts: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Columns of `INGESTED` from one record: text or the reason for quarantine, what the fields say, the rest in `meta`.

    parts: what `parts_of` made of a table's header, where all records have the same fields; a null is one left out.
    """
    if parts is None:
        parts = _remembered(tuple(record), named) if len(record) <= _MANY_FIELDS else parts_of(record, named)
    used: set[str] = set()
    found = _texts(record, parts.get("text"), used)
    for part, name in parts.items():
        if part != "text" and _PLAY[part](found, name, record.get(name)):
            used.add(name)
    for nest in _NESTS:
        _from_nest(found, record.get(nest), named)
    _licence(found, record)
    found.setdefault("record_id", f"#{place}")
    found["meta"] = as_json({name: value for name, value in record.items() if name not in used})
    return found


def _texts(record: Mapping[str, Any], name: str | None, used: set[str]) -> dict[str, Any]:
    if name is None:
        return {"quarantine": f"no_text_field: has {few(record)}"}
    text = record.get(name)
    if text is None or isinstance(text, str | bytes):
        used.add(name)
    if isinstance(text, bytes):
        try:
            text = text.decode()
        except UnicodeDecodeError:
            return {"quarantine": "not_utf8"}
    if isinstance(text, str):
        return {"quarantine": "text_too_large"} if too_large(text) else {"text": text}
    return {"quarantine": "no_text" if text is None else f"text_is: {type(text).__name__}"}


def _licence(found: dict[str, Any], record: Mapping[str, Any]) -> None:
    """A licence the record states, by its SPDX id where the words are an address that has one; it stays in `meta` too."""
    for name in _LICENCES:
        said = record.get(name)
        if isinstance(said, str) and 0 < len(said) <= 200:
            found["licence"] = spdx(said) or said
            found["licence_evidence"] = f"field {name}: {said}"
            return


def few(names: Iterable[Any]) -> str:
    """The first names, for a reason."""
    listed = [str(name)[:40] for name, _ in zip(names, range(6), strict=False)]
    return (", ".join(listed[:5]) + (", …" if len(listed) > 5 else ""))[:100] or "none"


def unique(header: Iterable[str]) -> list[str]:
    """A header's names; one that comes again is numbered, so that no field hides another."""
    names: dict[str, int] = {}  # name -> how often it came
    for given in map(str.strip, header):
        name = given
        while name in names:
            names[given] += 1
            name = f"{given} ({names[given]})"
        names[name] = 1
    return list(names)


def too_large(text: str) -> bool:
    """True for a text of more than `MAX_RECORD_BYTES` in UTF-8."""
    return len(text) * 4 > MAX_RECORD_BYTES and len(text.encode("utf-8", "replace")) > MAX_RECORD_BYTES


def _from_nest(found: dict[str, Any], nest: Any, named: Columns) -> None:
    if isinstance(nest, str):
        nest = _unpacked(nest)
    if isinstance(nest, dict) and len(nest) <= _MANY_FIELDS:
        inner = {name: value for name, value in nest.items() if isinstance(name, str)}
        for part, name in _remembered(tuple(inner), named).items():
            if part not in ("text", "id") and _GIVES[part].isdisjoint(found):
                _PLAY[part](found, name, inner[name])


def _unpacked(nest: str) -> Any:
    """Tables without nested types keep them as JSON in a string."""
    if not nest.startswith("{") or len(nest) > _LONG_NEST:
        return None
    try:
        return msgspec.json.decode(nest)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def parts_of(names: Iterable[str], named: Columns) -> dict[str, str]:
    """Part -> name of the field that plays it: the one the user named, else the first usual name that is there once."""
    names = tuple(names)
    lowered = [name.lower() for name in names]
    chosen = named.named()
    found: dict[str, str] = {}
    for part in ("text", *_PARTS):
        if part in chosen:
            usual = [chosen[part]] if chosen[part] in names else []
        else:
            usual = [names[lowered.index(n)] for n in (*USUAL.get(part, (part,)),) if lowered.count(n) == 1]
        usual = [name for name in usual if name not in found.values()]
        if usual:
            found[part] = usual[0]
    return found


_remembered = functools.lru_cache(256)(parts_of)


# --- What a field's value gives; each returns false for a value it can make nothing of, which then stays in `meta` -----


def _string(column: str) -> Callable[[dict[str, Any], str, Any], bool]:
    def play(found: dict[str, Any], name: str, value: Any) -> bool:
        if not isinstance(value, str) or not value:
            return False
        found[column] = value
        return True

    return play


def _id(found: dict[str, Any], name: str, value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        return False
    found["record_id"] = str(value)
    return True


def _date(found: dict[str, Any], name: str, value: Any) -> bool:
    moment = instant(value)
    if moment is not None:
        found["fetched_at" if name.lower() in _FETCHED else "published_at"] = moment
    return moment is not None


def _origin(found: dict[str, Any], name: str, value: Any) -> bool:
    said = origin(str(value)) if isinstance(value, str | int) else None
    if said is not None:
        found |= {"declared_origin": said, "declared_origin_evidence": f"{name}: {value}"[:200]}
    return said is not None


_PLAY: Final[Mapping[str, Callable[[dict[str, Any], str, Any], bool]]] = {
    "id": _id,
    "url": _string("url"),
    "date": _date,
    "source": _string("source"),
    "language": _string("declared_language"),
    "origin": _origin,
    "title": _string("title"),
}
_GIVES: Final[Mapping[str, frozenset[str]]] = {
    "url": frozenset({"url"}),
    "date": frozenset({"published_at", "fetched_at"}),
    "source": frozenset({"source"}),
    "language": frozenset({"declared_language"}),
    "origin": frozenset({"declared_origin"}),
    "title": frozenset({"title"}),
}

# --- Dates ---------------------------------------------------------------------------------------------------------------

_ISO: Final = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:Z|[+-]\d\d(?::\d\d)?)?)?", re.ASCII)

_ZONE_APART: Final = re.compile(r"(?<=:\d\d) (?=[+-]\d\d:?\d\d$)", re.ASCII)  # as Ruby writes it


def instant(value: Any) -> dt.datetime | None:
    """The moment that a field names, by the rules of `documents.dates`; None where it names none that a calendar knows."""
    if isinstance(value, dt.datetime):
        return _utc(value)
    if isinstance(value, dt.date):
        return dt.datetime(value.year, value.month, value.day, tzinfo=dt.UTC)
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return _epoch(value)
    return _written(value.strip()) if isinstance(value, str) and 4 <= len(value) <= 64 else None


def _utc(moment: dt.datetime) -> dt.datetime | None:
    try:
        return moment.replace(tzinfo=dt.UTC) if moment.tzinfo is None else moment.astimezone(dt.UTC)
    except OverflowError:
        return None


def _epoch(value: float) -> dt.datetime | None:
    """Seconds or milliseconds since 1970, or a year."""
    if 1000 <= value <= 2999:
        return dt.datetime(round(value), 1, 1, tzinfo=dt.UTC)
    size = abs(value)
    if not size < 1e14:
        return None
    try:
        return dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(seconds=value if size < 1e11 else value / 1e3)
    except OverflowError:
        return None


def _written(value: str) -> dt.datetime | None:
    if value.isascii() and value.isdigit() and len(value) in (9, 10, 13):  # a table of strings writes epochs so
        return _epoch(int(value))
    value = _ZONE_APART.sub("", value)
    if _ISO.fullmatch(value):
        try:
            return _utc(dt.datetime.fromisoformat(value))
        except ValueError:  # 24:00, a thirtieth of February
            return _otherwise(value)
    return _otherwise(value) if any(map(str.isdigit, value)) else None


@functools.lru_cache(4096)
def _otherwise(value: str) -> dt.datetime | None:
    """The long way, a millisecond; many records share a date."""
    try:
        (found,) = dates(pa.array([value], pa.large_string()), 1, _sql(os.getpid())).to_pylist()
    except (duckdb.Error, pa.ArrowException, ValueError, OverflowError):
        return None
    return found if found is None else _utc(found)


@functools.lru_cache(1)
def _sql(process: int) -> duckdb.DuckDBPyConnection:
    """A connection of this process: one that came through a fork may hang."""
    sql = duckdb.connect(":memory:", config={"threads": 1, "enable_external_access": False})
    sql.execute("set timezone = 'UTC'")
    return sql


# --- The other fields as JSON --------------------------------------------------------------------------------------------


def as_json(values: Mapping[str, Any]) -> str | None:
    """Compact JSON of any values that a record or table can hold; None where there are none."""
    if not values:
        return None
    try:
        return str(msgspec.json.encode(values, enc_hook=str), "utf-8")
    except (TypeError, ValueError, RecursionError):
        return _plainly(values)


def _plainly(values: Mapping[str, Any]) -> str:
    """The slow way, for what msgspec refuses: lone surrogates stay the escapes that they were."""
    try:
        written = json.dumps(plain(values), ensure_ascii=False, separators=(",", ":"))
    except (RecursionError, ValueError):
        return '{"unwritable":"nested too deep"}'
    return written.encode("utf-8", "backslashreplace").decode()


def plain(value: Any) -> Any:
    """The same value of dictionaries, lists, strings and numbers alone."""
    if isinstance(value, dict):
        return {str(name): plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, bytes):
        return _bytes(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, str | int | float) else str(value)


def _bytes(value: bytes) -> Any:
    if len(value) > _LONG_BYTES:
        return {"bytes": len(value), "sha256": hashlib.sha256(value).hexdigest()}
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.hex()


def is_utf8(text: str) -> bool:
    """Whether it can be written in UTF-8: JSON can escape half a surrogate pair, which no text can hold."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
