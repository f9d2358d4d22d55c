"""How a text is written, apart from how it was typeset: folding, words and length-free style rates.

Corpora of human and of machine text differ in their typesetting (curly quotes, markdown, split
punctuation), and a detector that is shown it learns the supplier instead of the writer.  `fold`
takes it away; everything that judges origin sees folded text only, in training and in serving.

The kernels read Arrow's UTF-8 buffers and write numpy arrays: no Python object per document.
"""

from __future__ import annotations

import functools
import unicodedata
from typing import Any, Final, NamedTuple, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curator.kernels import kernel

Codepoints = npt.NDArray[np.int32]

PREFIX: Final = 32_768  # codepoints of a document that are judged: about 5,500 words, so that no document stalls a job

# What `fold` does with a codepoint that does not simply map to another.
_DROP: Final = -1
_NEWLINE: Final = -2
_DASH: Final = -3
_ELLIPSIS: Final = -4

# Kinds of a folded codepoint.
OTHER: Final = 0
LOWER: Final = 1
UPPER: Final = 2
DIGIT: Final = 3
PUNCT: Final = 4
SPACE: Final = 5

_MARKDOWN: Final = "*#_~`\\[]"
_DASHES: Final = "‒–—―−"
_DOUBLE_QUOTES: Final = "“”„‟«»″〝〞"
_SINGLE_QUOTES: Final = "‘’‚‛′ʼ´"
_PLANE: Final = 65_536
_LOOK_AHEAD: Final = 200  # bytes searched for the end of a tag
_FILLERS: Final = "\u115f\u1160\u3164\uffa0"  # letters to Unicode, nothing to a reader

# Letters that fonts draw as Latin ones.
_FIRST: Final = 0x250  # IPA; 0x370 to 0x58F are Greek, Cyrillic and Armenian
_GREEK: Final = 0x370
_LAST: Final = 0x590
_COPTIC_R: Final = 0x2C85
_SMALL_CAPITAL_Z: Final = 0x1D22
_TWINS: Final = (
    ("АВЕКМНОРСТУХІЈЅԌԚԜӀаеорсухіјѕһԁԛԝӏѵЬ", "ABEKMHOPCTYXIJSGQWIaeopcyxijshdqwlvb"),
    ("ΑΒΕΖΗΙΚΜΝΟΡΤΥΧοϳϲ", "ABEZHIKMNOPTYXojc"),
    ("ՏՕՍԼօոսհ", "SOULonuh"),
)
_SYMBOLS: Final = (("αγινρυχςɑɡ", "ayivpuxcag"),)  # that stand for themselves in formulas, names of genes and phonetics


def _twin_table(pairs: tuple[tuple[str, str], ...]) -> Codepoints:
    table = np.zeros(_LAST - _FIRST, np.int32)
    for theirs, latin in pairs:
        for a, b in zip(theirs, latin, strict=True):
            table[ord(a) - _FIRST] = ord(b)
    return table


_TWIN: Final = _twin_table(_TWINS)  # the Latin letter that is drawn alike, or 0
_INNER_TWIN: Final = _twin_table(_SYMBOLS)


class Tables(NamedTuple):
    """What each codepoint of the basic plane folds to, its lower case and its kind.  # [65536] each"""

    fold: Codepoints
    lower: Codepoints
    kind: npt.NDArray[np.uint8]


@functools.cache
def tables() -> Tables:
    """Make the codepoint tables from Python's Unicode database (60 ms, once a process)."""
    fold, lower = np.arange(_PLANE, dtype=np.int32), np.arange(_PLANE, dtype=np.int32)
    kind = np.zeros(_PLANE, dtype=np.uint8)
    for code in range(_PLANE):
        if 0xD800 <= code < 0xE000:
            continue
        char = chr(code)
        fold[code] = _folded(char)
        small = char.lower()
        lower[code] = ord(small) if len(small) == 1 else code
        kind[code] = _kind(char)
    return Tables(fold, lower, kind)


def _folded(char: str) -> int:
    if char in "\n\r\v\f\x85\u2028\u2029":
        return _NEWLINE
    for chars, folded in ((_MARKDOWN, _DROP), (_DASHES, _DASH), (_DOUBLE_QUOTES, 34), (_SINGLE_QUOTES, 39)):
        if char in chars:
            return folded
    if char == "…":
        return _ELLIPSIS
    if char == "|" or char.isspace():
        return 32
    if char in _FILLERS:
        return _DROP
    category = unicodedata.category(char)
    if category in ("Cc", "Cf", "Co", "Cn", "Mn", "Me") or 0x2190 <= ord(char) < 0x2C00 or char in "•·‣◦":
        return _DROP  # invisible, combining, arrows, boxes, dingbats
    composed = unicodedata.normalize("NFKC", char)
    return ord(composed) if len(composed) == 1 else ord(char)


def _kind(char: str) -> int:
    category = unicodedata.category(char)
    if char.isspace():
        return SPACE
    if category in ("Lu", "Lt"):
        return UPPER
    if category[0] == "L":
        return LOWER
    if category[0] == "N":
        return DIGIT
    return PUNCT if category[0] in "PS" else OTHER


def utf8(column: pa.Array) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """View a string column as its bytes and offsets, without a copy; a null has length 0.

    Returns bytes [total] uint8 and offsets [n + 1] int64 into them; slices keep their place.
    """
    if not pa.types.is_large_string(column.type):
        column = column.cast(pa.large_string())
    _, offsets, data = column.buffers()
    if len(column) == 0 or offsets is None:
        return np.zeros(0, np.uint8), np.zeros(len(column) + 1, np.int64)
    places = np.frombuffer(offsets, dtype=np.int64, count=column.offset + len(column) + 1)[column.offset :]
    return np.frombuffer(data or b"", dtype=np.uint8), places


def fold_text(text: str, limit: int = PREFIX) -> str:
    """Fold one text: what a reader sees of it once the typesetting is gone."""
    return cast(str, fold_column(pa.array([text], pa.large_string()), limit)[0].as_py())


def fold_column(column: pa.Array, limit: int = PREFIX) -> pa.LargeStringArray:
    """Fold every text of a column, at most `limit` codepoints of each; nulls stay null."""
    data, offsets = utf8(column)
    table = tables()
    out = np.empty(limit + 8, np.int32)
    texts: list[str | None] = []
    for row, known in enumerate(column.is_valid().to_numpy(zero_copy_only=False)):
        n = fold(data, offsets[row], offsets[row + 1], table.fold, table.kind, out) if known else 0
        texts.append(out[:n].astype("<u4").tobytes().decode("utf-32-le") if known else None)
    return pa.array(texts, pa.large_string())


def _jit(function: Any) -> Any:
    return kernel(function)


@_jit
def _decode(data: npt.NDArray[np.uint8], i: int, end: int) -> tuple[int, int]:
    """Return the codepoint at byte i and its width; a byte that starts nothing counts as U+FFFD."""
    first = int(data[i])
    if first < 0x80:
        return first, 1
    if first >= 0xF0 and i + 3 < end:
        return (
            ((first & 7) << 18) | (int(data[i + 1] & 63) << 12) | (int(data[i + 2] & 63) << 6) | int(data[i + 3] & 63)
        ), 4
    if first >= 0xE0 and i + 2 < end:
        return ((first & 15) << 12) | (int(data[i + 1] & 63) << 6) | int(data[i + 2] & 63), 3
    if first >= 0xC0 and i + 1 < end:
        return ((first & 31) << 6) | int(data[i + 1] & 63), 2
    return 0xFFFD, 1


@_jit
def _ascii_letter(byte: int) -> bool:
    return 65 <= byte <= 90 or 97 <= byte <= 122


@_jit
def _starts(data: npt.NDArray[np.uint8], i: int, end: int, word: bytes) -> bool:
    """Say whether the bytes at i are `word` (lower-case ASCII) in any case."""
    if i + len(word) > end:
        return False
    for k in range(len(word)):
        byte = data[i + k]
        if 65 <= byte <= 90:
            byte += 32
        if byte != word[k]:
            return False
    return True


@_jit
def _line_end(data: npt.NDArray[np.uint8], i: int, end: int) -> int:
    stop = min(end, i + 240)
    while i < stop and data[i] != 10:
        i += 1
    return i if i < stop else -1


@_jit
def _ends_with_colon(data: npt.NDArray[np.uint8], start: int, end: int) -> bool:
    while end > start and (data[end - 1] <= 32 or data[end - 1] == 42):
        end -= 1
    return end > start and data[end - 1] == 58


@_jit
def _after_preamble(data: npt.NDArray[np.uint8], start: int, end: int) -> int:
    """Skip at most two opening lines that announce a text instead of being it ("Here is …:", "Title: …")."""
    i = start
    for _ in range(2):
        while i < end and (data[i] <= 32 or data[i] == 42 or data[i] == 35):
            i += 1
        stop = _line_end(data, i, end)
        if stop < 0:
            return i
        named = _starts(data, i, end, b"title:") or _starts(data, i, end, b"subject:")
        bare = stop - i <= 16 and (_starts(data, i, end, b"abstract") or _starts(data, i, end, b"introduction"))
        spoken = (
            _starts(data, i, end, b"here")
            or _starts(data, i, end, b"sure")
            or _starts(data, i, end, b"certainly")
            or _starts(data, i, end, b"of course")
            or _starts(data, i, end, b"absolutely")
        )
        if not (named or bare or (spoken and _ends_with_colon(data, i, stop))):
            return i
        i = stop + 1
    return i


@_jit
def _tag_end(data: npt.NDArray[np.uint8], i: int, end: int) -> int:
    """Return the byte after a tag that opens at i, or 0 when it is no tag."""
    if i + 2 >= end or not (_ascii_letter(data[i + 1]) or data[i + 1] == 47 or data[i + 1] == 33):
        return 0
    for j in range(i + 1, min(end, i + _LOOK_AHEAD)):
        if data[j] == 62:
            return j + 1
        if data[j] == 60:
            return 0
    return 0


@_jit
def _entity_end(data: npt.NDArray[np.uint8], i: int, end: int) -> int:
    for j in range(i + 1, min(end, i + 9)):
        if data[j] == 59:
            return j + 1 if j > i + 2 else 0
        if not (_ascii_letter(data[j]) or data[j] == 35 or 48 <= data[j] <= 57):
            return 0
    return 0


@_jit
def _is_address(data: npt.NDArray[np.uint8], i: int, end: int) -> bool:
    address = _starts(data, i, end, b"http://") or _starts(data, i, end, b"https://") or _starts(data, i, end, b"www.")
    return bool(address)


@_jit
def _address_end(data: npt.NDArray[np.uint8], i: int, end: int) -> int:
    while i < end and data[i] > 32 and data[i] != 41 and data[i] != 62 and data[i] != 93 and data[i] != 34:
        i += 1
    return i


@_jit
def _placeholder_end(data: npt.NDArray[np.uint8], i: int, end: int) -> int:
    """Return the byte after an anonymised name (@CAPS1), or 0."""
    j = i + 1
    while j < end and 65 <= data[j] <= 90:
        j += 1
    if j < i + 3 or j >= end or not 48 <= data[j] <= 57:
        return 0
    while j < end and 48 <= data[j] <= 57:
        j += 1
    return j


@_jit
def _run(data: npt.NDArray[np.uint8], i: int, end: int) -> int:
    """Count how often the byte at i repeats, up to 64."""
    j = i + 1
    while j < end and data[j] == data[i] and j < i + 64:
        j += 1
    return j - i


@_jit
def _bullet_end(data: npt.NDArray[np.uint8], i: int, end: int) -> int:
    """Return the byte after a list mark at the start of a line ("- ", "1. ", "> "), or 0."""
    if data[i] == 62:
        return i + 1
    j = i
    while j < end and 48 <= data[j] <= 57 and j < i + 3:
        j += 1
    if j > i:
        numbered = j + 1 < end and (data[j] == 46 or data[j] == 41) and data[j + 1] == 32
        return j + 2 if numbered else 0
    dashed = (data[i] == 45 or data[i] == 43) and i + 1 < end and data[i + 1] == 32
    return i + 2 if dashed else 0


@_jit
def _is_clitic(data: npt.NDArray[np.uint8], i: int, end: int) -> bool:
    """Say whether the letters from i are what English hangs on a word after an apostrophe."""
    j = i
    while j < end and _ascii_letter(data[j]) and j < i + 3:
        j += 1
    if j == i + 1:
        byte = data[i] | 32
        return bool(byte == 115 or byte == 100 or byte == 109 or byte == 116)  # s d m t
    if j == i + 2:
        return bool(_starts(data, i, end, b"re") or _starts(data, i, end, b"ve") or _starts(data, i, end, b"ll"))
    return False


@_jit
def _closes(code: int) -> bool:
    """Say whether a mark stands tight on the word before it: , . ; : ! ? ) %"""
    return code == 44 or code == 46 or code == 59 or code == 58 or code == 33 or code == 63 or code == 41 or code == 37


@_jit
def _put_space(out: Codepoints, n: int) -> int:
    if n > 0 and out[n - 1] != 32 and out[n - 1] != 40 and out[n - 1] != 34:
        out[n] = 32
        return n + 1
    return n


@_jit
def _put(out: Codepoints, n: int, code: int) -> int:
    """Append a codepoint; a mark that stands tight on its word takes the space before it away."""
    if (_closes(code) or code == 34) and n > 0 and out[n - 1] == 32:
        n -= 1
    out[n] = code
    return n + 1


@_jit
def _rejoin(data: npt.NDArray[np.uint8], i: int, end: int, kind: npt.NDArray[np.uint8], out: Codepoints, n: int) -> int:
    """Before an apostrophe at byte i, take back the space that a tokeniser put in: "ca n't", "it 's"."""
    if n < 3 or not _is_clitic(data, i + 1, end):
        return n
    if out[n - 1] == 32 and out[n - 2] < _PLANE and 1 <= kind[out[n - 2]] <= 2:
        return n - 1
    negated = (out[n - 1] | 32) == 110 and out[n - 2] == 32 and (data[i + 1] | 32) == 116
    if negated and out[n - 3] < _PLANE and 1 <= kind[out[n - 3]] <= 2:
        out[n - 2] = out[n - 1]
        return n - 1
    return n


@_jit
def _special_end(data: npt.NDArray[np.uint8], i: int, end: int, mid_word: bool) -> int:
    """Return the byte after a tag, entity or address at i that reads as a space, or 0."""
    byte = data[i]
    if byte == 60:
        return int(_tag_end(data, i, end))
    if byte == 38:
        return int(_entity_end(data, i, end))
    if (byte | 32 == 104 or byte | 32 == 119) and not mid_word and _is_address(data, i, end):
        return int(_address_end(data, i, end))
    if (byte == 45 or byte == 61) and _run(data, i, end) >= 3:
        return int(i + _run(data, i, end))
    return 0


@_jit
def _may_pose(code: int) -> bool:
    return _FIRST <= code < _LAST or code in (_COPTIC_R, _SMALL_CAPITAL_Z)


@_jit
def _twin(code: int) -> int:
    """Return the Latin letter that `code` is drawn like, or 0."""
    if code < _FIRST or code >= _LAST:
        return 114 if code == _COPTIC_R else 122 if code == _SMALL_CAPITAL_Z else 0
    return int(_TWIN[code - _FIRST])


@_jit
def _inner_twin(code: int) -> int:
    return int(_INNER_TWIN[code - _FIRST]) if _FIRST <= code < _LAST else 0


@_jit
def _count_letters(out: Codepoints, start: int, stop: int, kind: npt.NDArray[np.uint8]) -> tuple[int, int, int]:
    """Count a stretch's ASCII letters, letters of other scripts drawn alike, and those drawn otherwise."""
    latin = alike = foreign = 0
    for i in range(start, stop):
        code = out[i]
        if code < 128:
            latin += _ascii_letter(code)
        elif _twin(code) > 0:
            alike += 1
        else:
            foreign += _GREEK <= code < _LAST and 1 <= kind[code] <= 2 and _inner_twin(code) == 0
    return latin, alike, foreign


@_jit
def _unmask(out: Codepoints, n: int, kind: npt.NDArray[np.uint8]) -> None:
    """Write letters of other scripts that pose as Latin ones as the Latin ones, so that no text hides behind them.

    They pose in a word that has Latin letters and none of theirs that is drawn otherwise, and everywhere in a text that
    has none such at all and is mostly Latin.  Symbols pose only between small Latin letters.
    """
    latin, alike, foreign = _count_letters(out, 0, n, kind)
    everywhere = foreign == 0 and alike < latin
    i = 0
    while i < n:
        start = i
        while i < n and (out[i] >= _PLANE or 1 <= kind[out[i]] <= 2):
            i += 1
        latin, alike, foreign = _count_letters(out, start, i, kind)
        if everywhere or (latin > 0 and foreign == 0):
            _latinise(out, start, i)
        i += 1


@_jit
def _latinise(out: Codepoints, start: int, stop: int) -> None:
    for i in range(start, stop):
        if _twin(out[i]) > 0:
            out[i] = _twin(out[i])
    for i in range(start + 1, stop - 1):
        if _inner_twin(out[i]) > 0 and 97 <= out[i - 1] <= 122 and 97 <= out[i + 1] <= 122:
            out[i] = _inner_twin(out[i])


@_jit
def _after_letter(out: Codepoints, n: int) -> bool:
    return bool(n > 0 and out[n - 1] < 128 and _ascii_letter(out[n - 1]))


@_jit
def _mathematical(code: int) -> int:
    """Return the ASCII letter of a mathematical alphabet, or 0; digits and Greek ones are none."""
    if not 0x1D400 <= code < 0x1D6A4:
        return 0
    place = (code - 0x1D400) % 52
    return 65 + place if place < 26 else 71 + place


@_jit
def fold(
    data: npt.NDArray[np.uint8], start: int, end: int, table: Codepoints, kind: npt.NDArray[np.uint8], out: Codepoints
) -> int:
    """Write a document's folded codepoints into `out` and return how many; stops when `out` is nearly full.

    NFKC for single codepoints, straight quotes, one kind of dash, whitespace folded, markdown, tags,
    addresses, list marks, emoji and announcing lines dropped, split punctuation rejoined, letters that pose
    as Latin ones unmasked.  Case stays.  Time is linear in the document's bytes.
    """
    return int(fold_part(data, start, end, table, kind, out)[0])


@_jit
def fold_part(
    data: npt.NDArray[np.uint8], start: int, end: int, table: Codepoints, kind: npt.NDArray[np.uint8], out: Codepoints
) -> tuple[int, int]:
    """Fold as `fold` does; return how many codepoints were written and the byte after the last that was read."""
    i, n = _after_preamble(data, start, end), 0
    line_start, room, posing = True, out.size - 8, False
    while i < end and n < room:
        mid_word = n > 0 and out[n - 1] != 32 and out[n - 1] != 40 and out[n - 1] != 34
        if mid_word or (data[i] | 32 != 104 and data[i] | 32 != 119):  # an address may start with h or w
            before = n
            while i < end and n < room and _ascii_letter(data[i]):  # most of a text needs no more than this
                out[n] = data[i]
                i, n = i + 1, n + 1
                line_start = False
            if n > before:
                continue
        stop = _special_end(data, i, end, mid_word)
        if stop == 0 and line_start:
            stop = _bullet_end(data, i, end)
        if stop > 0:
            n, i = _put_space(out, n), stop
            continue
        code, width = _decode(data, i, end)
        folded = _fold_code(code, table)
        posing |= _may_pose(folded)
        if code >= _PLANE and (_after_letter(out, n) or (i + width < end and _ascii_letter(data[i + width]))):
            folded = _mathematical(code) or folded  # "𝚝he": a letter in disguise; alone it is a formula's
        if (code == 96 or code == 39) and _run(data, i, end) == 2:
            folded, width = 34, 2
        elif code == 45 and _run(data, i, end) == 2:
            folded, width = _DASH, 2
        if code == 64 and _placeholder_end(data, i, end) > 0:
            i = _placeholder_end(data, i, end)
            for letter in b"Name":
                out[n] = letter
                n += 1
            continue
        if folded == _NEWLINE:
            line_start = True
            n = _put_space(out, n)
        elif folded == 32:
            n = _put_space(out, n)
        elif folded != _DROP:
            line_start = False
            if folded == _DASH:
                n = _put_space(out, n)
                n = _put_space(out, _put(out, n, 45))
            elif folded == _ELLIPSIS:
                n = _put(out, _put(out, _put(out, n, 46), 46), 46)
            else:
                if folded == 39:
                    n = _rejoin(data, i + width - 1, end, kind, out, n)
                n = _put(out, n, folded)
        i += width
    if posing:
        _unmask(out, n, kind)
    return n - 1 if n > 0 and out[n - 1] == 32 else n, i


@_jit
def _fold_code(code: int, table: Codepoints) -> int:
    if code < _PLANE:
        return int(table[code])
    if 0x1D400 <= code < 0x1FC00 or code >= 0xE0000:
        return _DROP  # mathematical letters, emoji and private planes
    return code
