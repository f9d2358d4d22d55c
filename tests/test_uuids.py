"""Ids read and written in bulk are the ones Python's own uuid makes."""

from __future__ import annotations

import uuid

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curator import ids
from curator.uuids import id_bytes, is_id, letters, words


@settings(deadline=None)
@given(st.lists(st.one_of(st.none(), st.binary(min_size=16, max_size=16)), max_size=40), st.integers(0, 5))
def test_letters_are_those_of_uuid(raw: list[bytes | None], offset: int) -> None:
    column = pa.array(raw, pa.binary(16))[offset:]
    wanted = [None if one is None else str(uuid.UUID(bytes=one)) for one in raw[offset:]]
    assert letters(column).to_pylist() == wanted
    assert letters(pa.chunked_array([column])).to_pylist() == wanted
    assert letters(pa.ExtensionArray.from_storage(pa.uuid(), column)).to_pylist() == wanted


@settings(deadline=None)
@given(st.lists(st.binary(min_size=16, max_size=16), max_size=40), st.integers(0, 5), st.booleans())
def test_words_are_the_same_from_bytes_and_letters(raw: list[bytes], offset: int, upper: bool) -> None:
    wanted = ids.ids_array(raw[offset:]).tolist()
    column = pa.array(raw, pa.binary(16))
    text = pa.array([one.upper() if upper else one for one in letters(column).to_pylist()], pa.string())
    assert words(column[offset:]).tolist() == wanted == words(text[offset:]).tolist()
    assert words(pa.chunked_array([text[offset:]], pa.string())).tolist() == wanted
    assert id_bytes(column[offset:]).tobytes() == b"".join(raw[offset:])


@pytest.mark.parametrize("text", ["", "x" * 36, "00000000-0000-0000-0000-00000000000", None])
def test_other_text_is_no_id(text: str | None) -> None:
    with pytest.raises(ValueError, match="36 letters"):
        words(pa.array([text], pa.string()))


def test_what_an_id_is() -> None:
    assert is_id(pa.uuid()) and is_id(pa.binary(16)) and not is_id(pa.string()) and not is_id(pa.binary(15))
