"""Exact and normalised hashes of texts."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curator.ids import text_hash
from curator.stages.exact import ExactHash
from curator.text import normalised, utf8_view

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


def measure(rows: list[str | None], type_: pa.DataType | None = None) -> pa.RecordBatch:
    return ExactHash().open()(pa.record_batch([pa.array(rows, type_ or pa.large_string())], ["text"]))


def norm(text: str) -> bytes | None:
    return measure([text])["norm_hash"][0].as_py()


@settings(max_examples=100, deadline=None)
@given(st.lists(st.one_of(st.none(), texts), max_size=8))
def test_hashes_are_those_of_the_bytes_and_of_the_words(rows: list[str | None]) -> None:
    out = measure(rows)
    out.validate(full=True)
    assert out.schema.equals(ExactHash().adds, check_metadata=True)
    raw = [None if row is None else row.encode() for row in rows]
    assert out["text_hash"].to_pylist() == [None if r is None else text_hash(r) for r in raw]
    assert out["text_bytes"].to_pylist() == [None if r is None else len(r) for r in raw]
    words = [bytes(normalised(utf8_view(pa.array([row or ""])))[1]) for row in rows]
    expected = [w or r for w, r in zip(words, raw, strict=True)]
    assert out["norm_hash"].to_pylist() == [text_hash(e) if e else None for e in expected]


@pytest.mark.parametrize("same", ["The Cat sat", "the cat  sat.", "\nTHE “cat” — sat!\r\n", "the c\u00adat sat"])
def test_case_space_and_punctuation_collapse(same: str) -> None:
    assert norm(same) == norm("the cat sat")


@pytest.mark.parametrize("other", ["the cat sat on", "the cats at", "thecat sat", "cat the sat", "thé cat sat"])
def test_other_words_do_not(other: str) -> None:
    assert norm(other) != norm("the cat sat")


def test_a_text_without_a_word_is_compared_as_it_is() -> None:
    out = measure(["", "!?", None, "a", "!?", "!? ", "\u200b"])
    found = out["norm_hash"].to_pylist()
    assert [value is None for value in found] == [True, False, True, False, False, False, False]
    assert found[1] == found[4] == text_hash(b"!?") != found[5]
    assert [value is None for value in out["text_hash"].to_pylist()] == [False, False, True, *[False] * 4]


def test_batches_slices_and_types_do_not_change_an_answer() -> None:
    rows: list[str | None] = [f"Text number {i} " * i for i in range(40)]
    rows[5] = None
    whole = measure(rows)
    column = pa.record_batch([pa.array(rows, pa.string())], ["text"])
    parts = [ExactHash().open()(column.slice(i, 9)) for i in range(0, 40, 9)]
    assert pa.Table.from_batches(parts).combine_chunks().to_batches()[0].equals(whole)
    assert measure([]).num_rows == 0


def test_texts_beyond_one_group_hash_the_same() -> None:
    long = "Word " * 300_000  # 1.5 MB, more than a group
    out = measure([long, "a", long.upper()])
    hashes = out["norm_hash"].to_pylist()
    assert hashes[0] == hashes[2] == text_hash(long.lower().strip().encode())
    assert hashes[1] == text_hash(b"a")
