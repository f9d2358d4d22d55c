"""Words of UTF-8 text, read straight from Arrow's buffers by compiled kernels.

A word is a maximal run of letters, marks and numbers, case-folded. A character of a script
that writes no spaces (Han, kana, Thai, Lao, Khmer, Myanmar and a few more) is a word of its own,
with the marks that follow it, so that word n-grams become character n-grams there. Characters
that are invisible inside a word (soft hyphen, joiners, variation selectors) are passed over, as
in rule WB4 of Unicode Standard Annex 29: hiding one in a copied text changes no word.

Two readings of the same words, held together by a property test:

- `token_groups`: one 64-bit hash per word, for shingles;
- `normalised`: the words themselves, joined by one space, for exact comparison.

English is read 64 bytes at a time, and a word's hash takes eight bytes at a time; a word with a character
beyond ASCII in it or beside it is read character by character. Both ways give the same hashes and words.
"""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curator.kernels import inlined, leading_zeros, lean, load_8, store_8, trailing_zeros, word_bits
from curator.kernels import kernel as kernel

U8 = npt.NDArray[np.uint8]
U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Array = TypeVar("Array", bound=npt.NDArray[Any])


# --- Arrow's buffers -----------------------------------------------------------------------------


class Utf8(NamedTuple):
    """A text column as numpy arrays over Arrow's own memory.

    `data[offsets[i]:offsets[i + 1]]` are the bytes of row i where `valid[i]`; a null may own bytes too.
    """

    offsets: I64  # [n + 1], not starting at 0 in a slice
    data: U8
    valid: Bools  # [n]


def utf8_view(texts: pa.Array) -> Utf8:
    """Look at an Arrow string column without copying its text; slices and nulls are honoured.

    `pa.string()` has its 32-bit offsets widened (the text is not copied); other string types are cast.
    """
    if not (pa.types.is_large_string(texts.type) or pa.types.is_string(texts.type)):
        texts = texts.cast(pa.large_string())
    width = np.dtype(np.int64 if pa.types.is_large_string(texts.type) else np.int32)
    _, offsets_buffer, data_buffer = texts.buffers()
    count = len(texts)
    if offsets_buffer is None or offsets_buffer.size == 0:
        offsets = np.zeros(count + 1, np.int64)
    else:
        offsets = np.frombuffer(offsets_buffer, width, count + 1, texts.offset * width.itemsize)
    data = np.zeros(0, np.uint8) if data_buffer is None else np.frombuffer(data_buffer, np.uint8)
    valid = texts.is_valid().to_numpy(zero_copy_only=False) if texts.null_count else np.ones(count, np.bool_)
    return Utf8(_frozen(offsets.astype(np.int64, copy=False)), _frozen(data), _frozen(valid))


def _frozen(array: Array) -> Array:
    """A read-only view: kernels then see one type, and are compiled once, whoever made the array."""
    view = array.view()
    view.flags.writeable = False
    return view


# --- What a code point is ------------------------------------------------------------------------

SEPARATOR: Final = 0  # ends a word
LETTER: Final = 1  # letters and numbers: part of a word
OWN: Final = 2  # a word of its own
MARK: Final = 3  # goes on with the word before it, begins none
SILENT: Final = 4  # as if it were not there

_PLANES: Final = 0x20000  # the tables cover planes 0 and 1; beyond lie Han (2 and 3), tags and private use

# Blocks of scripts written without spaces between words (Unicode `Scripts.txt`, with the marks and
# digits inside the blocks left to their category).
_SPACELESS: Final = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x1950, 0x19DF),  # Tai Le, New Tai Lue
    (0x1A20, 0x1AAF),  # Tai Tham
    (0x2E80, 0x2FDF),  # Han radicals
    (0x3005, 0x3007),  # Han iteration mark, closing mark and zero
    (0x3021, 0x303C),  # Hangzhou numerals, kana repeat marks
    (0x3040, 0x30FF),  # Hiragana, Katakana
    (0x3100, 0x312F),  # Bopomofo
    (0x31A0, 0x31FF),  # Bopomofo and Katakana extensions
    (0x3400, 0x4DBF),  # Han extension A
    (0x4E00, 0x9FFF),  # Han
    (0xA000, 0xA4CF),  # Yi
    (0xA9E0, 0xA9FF),  # Myanmar extended B
    (0xAA60, 0xAADF),  # Myanmar extended A, Tai Viet
    (0xF900, 0xFAFF),  # Han compatibility
    (0xFF66, 0xFF9F),  # halfwidth Katakana
    (0x16FE0, 0x18DFF),  # Tangut, Khitan and their marks
    (0x1AFF0, 0x1B2FF),  # kana supplements, Nushu
)


class Tables(NamedTuple):
    """What the kernels know of Unicode, as arrays they take for arguments."""

    classes: U8  # [0x20000] one of SEPARATOR … SILENT
    folds: U32  # [0x20000] UTF-8 of the character it folds to, first byte lowest; 0 for a surrogate


@functools.cache
def tables() -> Tables:
    """Build the tables from `unicodedata`, once a process (about 0.1 s)."""
    classes = np.fromiter((_class(point) for point in range(_PLANES)), np.uint8, _PLANES)
    folds = np.fromiter((_fold(point) for point in range(_PLANES)), np.uint32, _PLANES)
    return Tables(_frozen(classes), _frozen(folds))


def _class(point: int) -> int:
    category = unicodedata.category(chr(point))
    if category == "Cf" or point == 0x034F or 0xFE00 <= point <= 0xFE0F:  # grapheme joiner, variation selectors
        return SILENT
    if category[0] == "M":
        return MARK
    if category[0] not in "LN":
        return SEPARATOR
    if category != "Nd" and any(first <= point <= last for first, last in _SPACELESS):
        return OWN
    return LETTER


def _fold(point: int) -> int:
    """Simple case folding: one code point to one, as CaseFolding.txt's C and S rows; `casefold` alone may give two."""
    character = chr(point)
    folded = next((f for f in (character.casefold(), character.lower()) if len(f) == 1), character)
    return int.from_bytes(folded.encode("utf-8", "ignore"), "little")


# --- Kernels -------------------------------------------------------------------------------------

_STEP: Final = np.uint64(0x9FB21C651E98DF25)  # an odd multiplier with about as many ones as zeros
_ZERO: Final = np.uint64(0)
_ONE: Final = np.uint64(1)
_EIGHT: Final = np.uint64(8)
_SIXTEEN: Final = np.uint64(16)
_HALF: Final = np.uint64(32)
_BLOCK: Final = np.uint64(64)
_ALL: Final = np.uint64(0xFFFF_FFFF_FFFF_FFFF)
_SPACE: Final = np.uint8(32)
_MARGIN: Final = 80  # bytes that may be read from a place on: a block of 64, and a word of 16 at its end
_LOWER: Final = np.uint64(0x2020_2020_2020_2020)  # makes ASCII letters small and leaves digits as they are
# The first 0 … 8 bytes of eight, at 8 … 16; none of them before, all of them after.
_FIRST: Final = np.array([(1 << 8 * min(max(n - 8, 0), 8)) - 1 for n in range(25)], np.uint64)


@inlined
def _decode(data: U8, at: int, stop: int) -> tuple[int, int]:
    """One code point and its length in bytes; never reads at or past `stop`, malformed bytes come out as U+FFFD."""
    lead = int(data[at])
    if lead < 0x80:
        return lead, 1
    if lead < 0xC2 or lead > 0xF4:
        return 0xFFFD, 1
    size = 2 if lead < 0xE0 else (3 if lead < 0xF0 else 4)
    if at + size > stop:
        return 0xFFFD, 1
    point = lead & (0xFF >> (size + 1))
    for next_ in range(at + 1, at + size):
        byte = int(data[next_])
        if byte & 0xC0 != 0x80:
            return 0xFFFD, 1
        point = (point << 6) | (byte & 0x3F)
    return point, size


@inlined
def _class_of(point: int, classes: U8) -> int:
    if point < _PLANES:
        return int(classes[point])
    if point < 0x40000:
        return OWN  # planes 2 and 3 hold Han only
    return SILENT if 0xE0000 <= point <= 0xE0FFF else SEPARATOR  # tags and variation selectors; private use


@inlined
def _ascii_words(data: U8, at: Any, stop: Any) -> tuple[Any, Any]:
    """Find the whole words among the next 64 bytes, or as many as are ASCII.

    Returns the words' edges (of the set bits every first is where a word begins, every second where it has
    ended; an end at 64 is left out), and the number of bytes that are done with: up to a character beyond
    ASCII, or the beginning of a word that is not whole here. Reads data[at:at + 64].
    """
    words, beyond = word_bits(data, at)
    if beyond == _ZERO and stop - at > _BLOCK:  # nearly always
        done = _BLOCK - leading_zeros(~words)
        words &= _ALL >> (_BLOCK - done) if done else _ZERO
        return words ^ (words << _ONE), done
    done = min(trailing_zeros(beyond), stop - at)
    seen = (_ONE << done) - _ONE if done < _BLOCK else _ALL
    words &= seen
    if at + done < stop:
        done = _BLOCK - leading_zeros(~words & seen)
        words &= (_ONE << done) - _ONE if done < _BLOCK else _ALL
    return words ^ (words << _ONE), done


@inlined
def _hash_round(h: Any, eight: Any) -> Any:
    h = (h ^ eight) * _STEP
    return h ^ (h >> _HALF)


@lean
def _utf8_of(point: int) -> Any:
    """UTF-8 of a character beyond plane 0, first byte lowest."""
    high = (0xF0 | (point >> 18)) | (0x80 | ((point >> 12) & 0x3F)) << 8
    return np.uint64(high | (0x80 | ((point >> 6) & 0x3F)) << 16 | (0x80 | (point & 0x3F)) << 24)


@lean
def _hash_long(data: U8, at: Any, size: Any) -> Any:
    h = _ZERO
    while size > _EIGHT:
        h = _hash_round(h, load_8(data, at) | _LOWER)
        at += _EIGHT
        size -= _EIGHT
    return _hash_round(h, (load_8(data, at) | _LOWER) & _FIRST[size + _EIGHT])


@inlined
def _hash_ascii(data: U8, at: Any, size: Any) -> Any:
    """Hash the ASCII word data[at:at + size]; reads up to 16 bytes from `at` on, or a longer word's last 8."""
    if size <= _SIXTEEN:  # no loop: how long the next word is cannot be predicted
        h = _hash_round(_ZERO, (load_8(data, at) | _LOWER) & _FIRST[size + _EIGHT])
        return _hash_round(h, (load_8(data, at + _EIGHT) | _LOWER) & _FIRST[size])
    return _hash_long(data, at, size)


@inlined
def _any_word(data: U8, at: Any, stop: Any, classes: U8, folds: U32, out: U8, to: Any) -> tuple[Any, Any, Any]:
    """Read one word of any script, and write it folded from out[to] on; up to eight bytes behind it are overwritten.

    Returns where to go on reading, where the word written ends (`to` if a separator came first), and its hash.
    """
    begin = to
    own = False  # the word is a character of its own
    h, eight, filled = _ZERO, _ZERO, _ZERO  # the hash, and the bytes that wait to be taken into it
    while at < stop:
        point, size = _decode(data, at, stop)
        kind = _class_of(point, classes)
        if to > begin and kind != MARK and kind != SILENT and (kind != LETTER or own):
            break
        folded = np.uint64(folds[point]) if point < _PLANES else _utf8_of(point)
        at += np.uint64(size)
        if kind == SEPARATOR:
            break
        if kind == SILENT or (kind == MARK and to == begin):
            continue
        own |= kind == OWN
        width = _EIGHT - (leading_zeros(folded) >> np.uint64(3))
        store_8(out, to, folded)
        to += width
        eight |= folded << (filled << np.uint64(3))
        filled += width
        if filled >= _EIGHT:
            h = _hash_round(h, eight)
            filled -= _EIGHT
            eight = folded >> ((width - filled) << np.uint64(3)) if filled else _ZERO
    if filled:
        h = _hash_round(h, eight)
    if to - begin <= _EIGHT:
        h = _hash_round(h, _ZERO)
    return at, to, h


@lean
def _scan(
    offsets: I64, data: U8, valid: Bools, classes: U8, folds: U32, word: U8, hashes: U64, ends: I64
) -> None:  # fmt: skip
    """Hash every word of every row.

    A word's hash h starts at 0 and takes its folded UTF-8 bytes, padded with zeros to a multiple of 8 and at
    least to 16, as little-endian numbers c: h = (h ^ c) * STEP mod 2**64, h ^= h >> 32.
    `hashes` needs room for (bytes + 1) // 2 + 1 words a row, counted together; `word` for the longest row, folded.
    """
    k = _ZERO
    ends[0] = 0
    fast = np.uint64(max(len(data) - _MARGIN, 0))
    for row in range(len(valid)):
        at, stop = np.uint64(offsets[row]), np.uint64(offsets[row + 1])
        if not valid[row]:
            at = stop
        while at < stop:
            done = _ZERO
            if at < fast and data[at] < 0x80 and data[at + _ONE] < 0x80:  # else seldom worth it
                edges, done = _ascii_words(data, at, stop)
                while edges:
                    first = trailing_zeros(edges)
                    edges &= edges - _ONE
                    size = trailing_zeros(edges) - first
                    edges &= edges - _ONE
                    hashes[k] = _hash_ascii(data, at + first, size)
                    k += _ONE
                at += done
            if done == _ZERO:
                at, end, hashes[k] = _any_word(data, at, stop, classes, folds, word, _ZERO)
                k += np.uint64(end > _ZERO)
        ends[row + 1] = k


@lean
def _normalise(
    offsets: I64, data: U8, valid: Bools, classes: U8, folds: U32, out: U8, ends: I64
) -> None:  # fmt: skip
    """Write every row's folded words with one space between; `out` needs `_room` for all rows together."""
    to = _ZERO
    ends[0] = 0
    fast = np.uint64(max(len(data) - _MARGIN, 0))
    for row in range(len(valid)):
        begin = to
        at, stop = np.uint64(offsets[row]), np.uint64(offsets[row + 1])
        if not valid[row]:
            at = stop
        while at < stop:
            done = _ZERO
            if at < fast and data[at] < 0x80 and data[at + _ONE] < 0x80:  # else seldom worth it
                edges, done = _ascii_words(data, at, stop)
                while edges:
                    first = trailing_zeros(edges)
                    edges &= edges - _ONE
                    size = trailing_zeros(edges) - first
                    edges &= edges - _ONE
                    for i in range(_ZERO, size, _EIGHT):
                        store_8(out, to + i, load_8(data, at + first + i) | _LOWER)
                    to += size
                    out[to] = _SPACE
                    to += _ONE
                at += done
            if done == _ZERO:
                at, end, _ = _any_word(data, at, stop, classes, folds, out, to)
                if end > to:
                    out[end] = _SPACE
                    to = end + _ONE
        if to > begin:
            to -= _ONE  # the space after the last word
        ends[row + 1] = to


# --- What the stages call ------------------------------------------------------------------------


@dataclass(frozen=True)
class Tokens:
    """The words of consecutive rows: row `first + i` owns `hashes[ends[i]:ends[i + 1]]`.

    The arrays are lent: the next group overwrites them.
    """

    first: int
    hashes: U64
    ends: I64  # [rows + 1]

    def __len__(self) -> int:
        """Rows in the group."""
        return len(self.ends) - 1


def token_groups(view: Utf8, group_bytes: int = 1 << 20) -> Iterator[Tokens]:
    """Hash the words of a column, a group of rows of about `group_bytes` at a time so that the hashes stay in cache.

    A null has no words. Memory: 4 bytes per byte of a group, or of the longest row if that is more.
    """
    hashes = np.empty(0, np.uint64)
    word = np.empty(_room(int(np.diff(view.offsets).max(initial=0)), 1), np.uint8)
    for first, last in row_groups(view.offsets, group_bytes):
        need = int(view.offsets[last] - view.offsets[first]) // 2 + 2 * (last - first)
        if need > len(hashes):
            hashes = np.empty(need, np.uint64)
        ends = np.empty(last - first + 1, np.int64)
        _scan(view.offsets[first : last + 1], view.data, view.valid[first:last], *tables(), word, hashes, ends)
        yield Tokens(first, hashes, ends)


def normalised(view: Utf8) -> tuple[I64, U8]:
    """The folded words of each row with one space between, as offsets [n + 1] and UTF-8 bytes."""
    count = len(view.valid)
    out = np.empty(_room(int(view.offsets[count] - view.offsets[0]), count), np.uint8)
    ends = np.empty(count + 1, np.int64)
    _normalise(*view, *tables(), out, ends)
    return ends, out[: ends[count]]


def _room(size: int, rows: int) -> int:
    """Bytes that `size` bytes of text may take as folded words, and what is overwritten behind the last."""
    return 2 * size + rows + int(_SIXTEEN)


def token_hash(word: bytes) -> int:
    """The 64-bit hash that the kernels give to one folded word, in plain Python."""
    value = 0
    padded = word.ljust(max(16, -(-len(word) // 8) * 8), b"\0")
    for at in range(0, len(padded), 8):
        value = (value ^ int.from_bytes(padded[at : at + 8], "little")) * int(_STEP) & int(_ALL)
        value ^= value >> 32
    return value


def row_groups(offsets: I64, group_bytes: int) -> Iterator[tuple[int, int]]:
    """Cut rows into runs of at most `group_bytes`, a longer row alone: pairs of first row and last row + 1."""
    first, count = 0, len(offsets) - 1
    while first < count:
        last = int(np.searchsorted(offsets, offsets[first] + group_bytes, side="right")) - 1
        last = min(max(last, first + 1), count)
        yield first, last
        first = last
