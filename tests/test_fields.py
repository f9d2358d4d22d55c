"""Which field of a record becomes which column."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curator.readers import fields
from curator.readers.columns import Columns
from curator.readers.documents import dates
from curator.readers.fields import as_json, columns_of, few, instant, unique

DAY = dt.datetime(2020, 1, 2, tzinfo=dt.UTC)


def of(record: dict[str, Any], named: Columns | None = None) -> dict[str, Any]:
    return columns_of(record, named or Columns(), 7)


def test_every_part_is_played_and_the_rest_is_kept() -> None:
    record = {
        "Text": "t", "id": 5, "URL": "https://e.org/", "date": "2020-01-02", "source": "s", "lang": "en", "title": "T",
        "is_synthetic": True, "votes": 3, "tags": ["a", "ü"],
    }  # fmt: skip
    assert of(record) == {
        "text": "t", "record_id": "5", "url": "https://e.org/", "published_at": DAY, "source": "s",
        "declared_language": "en", "title": "T", "declared_origin": "synthetic",
        "declared_origin_evidence": "is_synthetic: True", "meta": '{"votes":3,"tags":["a","ü"]}',
    }  # fmt: skip


@pytest.mark.parametrize("nest", ["metadata", "meta"])
def test_address_and_date_are_found_one_level_down(nest: str) -> None:
    inner = {"url": "https://e.org/", "date": "2020-01-02", "language": "en", "id": "x", "text": "no", "n": 1}
    for kept in (inner, json.dumps(inner)):
        row = of({"text": "t", "id": "d", nest: kept})
        assert (row["record_id"], row["url"], row["published_at"], row["declared_language"], row["text"]) == (
            "d", "https://e.org/", DAY, "en", "t",
        )  # fmt: skip
        assert json.loads(row["meta"]) == {nest: kept}
    assert of({"text": "t", "url": "https://outer.org/", nest: inner})["url"] == "https://outer.org/"


def test_a_value_that_says_nothing_stays_in_meta() -> None:
    record = {"text": "t", "id": None, "url": 5, "date": "soon", "source": "", "lang": ["en"], "origin": "Mars"}
    row = of(record)
    assert row["record_id"] == "#7" and set(row) == {"text", "record_id", "meta"}
    assert json.loads(row["meta"]) == {name: value for name, value in record.items() if name != "text"}


def test_a_crawler_s_date_is_no_publication() -> None:
    row = of({"text": "t", "crawl_date": "2020-01-02"})
    assert row["fetched_at"] == DAY and "published_at" not in row


def test_a_name_that_is_there_twice_plays_nothing() -> None:
    assert of({"text": "a", "Text": "b", "content": "c"})["text"] == "c"


@pytest.mark.parametrize(
    ("text", "reason"),
    [(None, "no_text"), (5, "text_is: int"), ({}, "text_is: dict"), (True, "text_is: bool"), (b"\xff", "not_utf8")],
)
def test_what_is_no_text_is_quarantined(text: Any, reason: str) -> None:
    row = of({"text": text, "id": "x"})
    assert row["quarantine"] == reason and row["record_id"] == "x" and "text" not in row


def test_a_text_over_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fields, "MAX_RECORD_BYTES", 10)
    assert of({"text": "é" * 5})["text"] == "é" * 5
    assert of({"text": "é" * 5 + "x"})["quarantine"] == "text_too_large"


def test_names_are_shown_short() -> None:
    assert few(["a", "b"]) == "a, b"
    assert few(f"{n}" * 90 for n in range(9)) == f"{'0' * 40}, {'1' * 40}, {'2' * 16}"
    assert unique(["a", " a", "b", "a", "a (2)"]) == ["a", "a (2)", "b", "a (3)", "a (2) (2)"]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, None),
        ({"n": 2**80, "f": float("nan"), "d": Decimal("1.50"), "t": dt.date(2020, 1, 2)}, f'{{"n":{2**80},"f":null,"d":"1.50","t":"2020-01-02"}}'),
        ({"s": "\ud800", "b": b"x", "n": float("inf")}, '{"s":"\\ud800","b":"x","n":null}'),
        ({"s": "\ud800", "b": b"\xff" * 2, "t": (1, Decimal(2))}, '{"s":"\\ud800","b":"ffff","t":[1,"2"]}'),
    ],
)  # fmt: skip
def test_the_rest_as_json(values: dict[str, Any], expected: str | None) -> None:
    assert as_json(values) == expected


def by_documents(value: Any) -> dt.datetime | None:
    with duckdb.connect() as sql:
        sql.execute("set timezone = 'UTC'")
        found: dt.datetime | None = dates(pa.array([value]), 1, sql).to_pylist()[0]
        return found


SAME = [
    "2020-01-02", "2020-01-02T03:04:05Z", "2020-01-02 03:04:05+02:00", "2020-01-02 03:04:05.123456-0330", "2016", "2016-05",
    "20160517", "2016/05/17", "Tue, 17 May 2016 10:00:00 GMT", "17 May 2016", "May 17, 2016", "soon", "", "  2020-01-02 ",
    "2020-02-30", "2020-01-02 24:00:00", "2020-01-02 03:04", "2020-1-2", "10000-01-01", 1_463_479_200, 1_463_479_200_000,
    1_463_479_200.5, 2016, 999, 10**15, -5, 0, float("nan"),
]  # fmt: skip


@pytest.mark.parametrize("value", SAME)
def test_dates_are_understood_as_in_tables(value: Any) -> None:
    try:
        expected = by_documents(value)
    except (OverflowError, ValueError):  # Arrow cannot show it to Python
        expected = None
    assert instant(value) == expected


@settings(max_examples=60, deadline=None)
@given(st.datetimes(dt.datetime(1, 1, 2), dt.datetime(9999, 12, 30)), st.sampled_from([None, "Z", "+05:30", "-11"]))
def test_any_iso_date_is_understood_as_in_tables(moment: dt.datetime, zone: str | None) -> None:
    written = moment.isoformat(" ") + (zone or "")
    assert instant(written) == by_documents(written)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("1463479200", "2016-05-17T10:00:00+00:00"),
        ("2016-05-17 12:00:00 +0200", "2016-05-17T10:00:00+00:00"),
        (dt.date(2016, 5, 17), "2016-05-17T00:00:00+00:00"),
        (dt.datetime(2016, 5, 17), "2016-05-17T00:00:00+00:00"),
        (dt.datetime(1, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=5))), None),
        (True, None),
        ([2016], None),
        ("9" * 200, None),
        (10**400, None),
    ],
)
def test_dates_that_only_records_have(value: Any, expected: str | None) -> None:
    found = instant(value)
    assert (found and found.isoformat()) == expected


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=40) | st.floats() | st.integers())
def test_no_date_raises(value: Any) -> None:
    found = instant(value)
    assert found is None or found.tzinfo is dt.UTC


@pytest.mark.parametrize(
    ("said", "licence"),
    [
        ("https://creativecommons.org/licenses/by/4.0/", "CC-BY-4.0"),
        ("MIT", "MIT"),
        ("", None),
        (["mit"], None),
    ],
)
def test_a_licence_that_the_record_states_is_kept_with_its_words(said: object, licence: str | None) -> None:
    found = columns_of({"text": "t", "license": said}, Columns(), 0)
    assert found.get("licence") == licence
    assert (found.get("licence_evidence") is None) == (licence is None)
