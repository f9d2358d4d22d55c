"""The compiled reading of words against a plain-Python reading of the same definition."""

from __future__ import annotations

import itertools
import os
import shutil
import stat
import subprocess
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import curator
from curator import text as module
from curator.text import LETTER, MARK, OWN, SEPARATOR, SILENT, normalised, tables, token_groups, token_hash, utf8_view

# Characters where the rules meet: case that changes length in UTF-8, marks, joiners, scripts without spaces, plane 2.
EDGES = (
    "aZ09 _-'\n\t\x00éÉßẞİıKⱥȺΣςДжאبनी\u0301\u200b\u200d\u00ad\ufe0f漢字かなカーไทก่ລ၀က្ខ\U00020000\U000e0100😀\ue000ſ²Ⅷ"
)
texts = st.text(st.one_of(st.characters(exclude_categories=["Cs"]), st.sampled_from(EDGES)), max_size=60)


def fold(point: int) -> str:
    return int(tables().folds[point]).to_bytes(4, "little").rstrip(b"\0").decode()


def words_in_python(text: str) -> list[str]:
    """The definition, written the slow way."""
    words: list[str] = []
    inside = own = False
    for character in text:
        point = ord(character)
        kind = int(tables().classes[point]) if point < 0x20000 else OWN if point < 0x40000 else SEPARATOR
        if 0xE0000 <= point <= 0xE0FFF:
            kind = SILENT
        if kind == SILENT or (kind == MARK and not inside):
            continue
        if kind == SEPARATOR:
            inside = own = False
            continue
        folded = fold(point) if point < 0x20000 else character
        if inside and (kind == MARK or (kind == LETTER and not own)):
            words[-1] += folded
        else:
            words.append(folded)
            own = kind == OWN
        inside = True
    return words


def words(column: pa.Array) -> list[list[str]]:
    ends, data = normalised(utf8_view(column))
    rows = [bytes(data[a:b]).decode() for a, b in itertools.pairwise(ends)]
    return [row.split(" ") if row else [] for row in rows]


def hashes(column: pa.Array, group_bytes: int = 1 << 20) -> list[list[int]]:
    found = []
    for group in token_groups(utf8_view(column), group_bytes):
        assert group.first == len(found)
        found += [group.hashes[a:b].tolist() for a, b in zip(group.ends[:-1], group.ends[1:], strict=True)]
    return found


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(st.none(), texts), max_size=8), st.integers(1, 200))
def test_both_kernels_agree_with_the_definition(rows: list[str | None], group_bytes: int) -> None:
    column = pa.array(rows, pa.large_string())
    expected = [words_in_python(row or "") for row in rows]
    assert words(column) == expected
    assert hashes(column, group_bytes) == [[token_hash(word.encode()) for word in row] for row in expected]


PIECES = [
    "the ",
    "Word",
    " ",
    "x" * 7,
    "Y" * 8,
    "z" * 9,
    "q" * 17,
    "w" * 70,
    "don’t",
    "café ",
    ", ",
    "\U00020000",
    *EDGES,
]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.lists(st.sampled_from(PIECES), max_size=80).map("".join), max_size=4))
def test_texts_of_blocks_and_single_characters_agree_with_the_definition(rows: list[str]) -> None:
    column = pa.array(rows, pa.large_string())
    expected = [words_in_python(row) for row in rows]
    assert words(column) == expected
    assert hashes(column) == [[token_hash(word.encode()) for word in row] for row in expected]


def test_every_code_point_agrees_with_the_definition() -> None:
    points = [point for point in range(0x110000) if not 0xD800 <= point <= 0xDFFF]
    text = "".join(f"a{chr(point)}b " if point % 2 else f"{chr(point)}c" for point in points)
    column = pa.array([text], pa.large_string())
    expected = words_in_python(text)
    assert words(column) == [expected]
    assert hashes(column) == [[token_hash(word.encode()) for word in expected]]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(st.none(), texts), max_size=8), st.integers(0, 8), st.integers(0, 8))
def test_slices_and_other_string_types_read_the_same(rows: list[str | None], first: int, count: int) -> None:
    expected = [words_in_python(row or "") for row in rows[first : first + count]]
    for type_ in (pa.large_string(), pa.string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())):
        column = pa.array(rows, pa.string()).cast(type_).slice(first, count)
        assert words(column) == expected
        assert len(hashes(column)) == len(expected)


def test_the_view_shares_arrows_memory() -> None:
    column = pa.array(["alpha", None, "beta"], pa.large_string()).slice(1)
    view = utf8_view(column)
    assert view.data.ctypes.data == column.buffers()[2].address
    assert view.offsets.ctypes.data == column.buffers()[1].address + 8
    assert view.valid.tolist() == [False, True]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don't stop—2,000 km²!", ["don", "t", "stop", "2", "000", "km²"]),
        ("STRASSE Straße STRAẞE", ["strasse", "straße", "straße"]),
        ("漢字kana5かな", ["漢", "字", "kana5", "か", "な"]),
        ("ก่อน", ["ก่", "อ", "น"]),
        ("Silben\u00adtrennung zero\u200bwidth", ["silbentrennung", "zerowidth"]),
        ("e\u0301tude \u0301lone ❤\ufe0f", ["e\u0301tude", "lone"]),
        ("snake_case x_1", ["snake", "case", "x", "1"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
    ],
)
def test_words_of_known_texts(text: str, expected: list[str]) -> None:
    assert words(pa.array([text])) == [expected]


def test_long_ascii_runs_cross_every_vector_boundary() -> None:
    rows = [("Ab1 " * 40)[:n] + tail for n in range(100) for tail in ("", "é", "é z")]
    assert words(pa.array(rows)) == [words_in_python(row) for row in rows]
    assert hashes(pa.array(rows)) == [[token_hash(w.encode()) for w in words_in_python(row)] for row in rows]


def test_bytes_that_are_not_utf8_separate_words_and_are_never_read_past_the_end() -> None:
    raw = [b"ab\xffcd", b"ab\xe6\xbc", b"\xf0\x9f", b"x\xc0\xafy", b"\xed\xa0", b"ok"]
    offsets = np.cumsum([0, *map(len, raw)]).astype(np.int64)
    column = pa.LargeStringArray.from_buffers(len(raw), pa.py_buffer(offsets.tobytes()), pa.py_buffer(b"".join(raw)))
    assert words(column) == [["ab", "cd"], ["ab"], [], ["x", "y"], [], ["ok"]]
    assert [len(row) for row in hashes(column)] == [2, 1, 0, 2, 0, 1]


def test_classes_follow_unicodes_categories() -> None:
    for point in range(0x20000):
        category = unicodedata.category(chr(point))
        kind = tables().classes[point]
        if category[0] in "LN":
            assert kind in (LETTER, OWN)
        elif category[0] in "PSZ" or category in ("Cc", "Cn", "Co", "Cs"):
            assert kind == SEPARATOR


def test_folding_is_idempotent_and_joins_the_cases() -> None:
    for point in range(1, 0x20000):
        folded = fold(point)
        assert folded == (fold(ord(folded)) if folded else "")
    for upper, lower in (("A", "a"), ("É", "é"), ("Σ", "σ"), ("ς", "σ"), ("Д", "д"), ("K", "k"), ("ẞ", "ß")):
        assert fold(ord(upper)) == fold(ord(lower))


def test_kernels_run_from_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """With no writable cache anywhere the kernels still run, only compiled anew."""
    package = tmp_path / "site" / "curator"
    package.mkdir(parents=True)
    for file in ("__init__.py", "kernels.py", "text.py"):
        shutil.copy(Path(curator.__file__).parent / file, package)
    (package / "__pycache__").write_text("a file where numba would make a folder")  # holds for root too
    home = tmp_path / "home"
    home.write_text("not a folder either")
    package.chmod(stat.S_IRUSR | stat.S_IXUSR)
    environment = {k: v for k, v in os.environ.items() if k not in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME", "PYTHONPATH")}
    environment |= {"PYTHONPATH": str(package.parent), "HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1"}
    code = (
        "import pyarrow as pa; from curator.text import *; v = utf8_view(pa.array(['A b']));"
        "print(bytes(normalised(v)[1]).decode())"
    )
    try:
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120
        )
    finally:
        package.chmod(stat.S_IRWXU)
    assert done.stdout == "a b\n", done.stderr


def test_the_words_of_a_null_are_none_even_if_it_owns_bytes() -> None:
    view = utf8_view(pa.array(["hidden", "seen"]))
    hidden = view._replace(valid=module._frozen(np.array([False, True])))
    ends, data = normalised(hidden)
    assert (ends.tolist(), bytes(data)) == ([0, 0, 4], b"seen")
