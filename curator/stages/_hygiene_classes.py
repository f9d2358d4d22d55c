"""What hygiene knows of each code point, as one table that a kernel can index.

An entry is a *kind* (what the kernel has to do when it meets the character; most have none), *flags* (what
the character is to its neighbours) and the *byte* that Windows-1252 shows as it, for those a UTF-8 sequence goes on with.
"""

from __future__ import annotations

import sys
import unicodedata
from functools import cache
from itertools import chain
from typing import Final

import numpy as np
import numpy.typing as npt

# Kinds: the lowest 8 bits.
(
    PLAIN,
    LEAD,  # U+00C2 to U+00F4: what Windows-1252 shows for the first byte of a UTF-8 sequence
    FOREIGN,  # Cyrillic and Greek letters
    CONTROL,  # C1, NEL with it: on the web it is an ellipsis of Windows-1252, not a line end
    REPLACEMENT,
    ZERO_WIDTH,  # no script needs it
    BREAK,  # zero width space: at home in scripts without spaces
    JOINER,  # zero width joiner and non-joiner: at home in joining scripts, the joiner in emoji too
    FILLER,  # at home beside a visible character of its own block (Hangul, Khmer, Mongolian, music)
    OPERATOR,  # invisible times and its like: at home in formulas, one at a time
    GRAPHEME,  # combining grapheme joiner: at home after a combining mark
    BOM,
    SELECTOR,  # variation selectors 1 to 16
    IDEOGRAPHIC,  # variation selectors 17 to 256
    TAG,
    BIDI,
    DIRECTION,  # left-to-right and right-to-left marks: at home in texts with right-to-left letters
    SOFT_HYPHEN,
    EXOTIC_SPACE,
    PRIVATE,
    NONCHARACTER,
) = range(21)

# Flags: bits 8 to 23.
LETTER: Final = 1 << 8  # letters and the marks on them: what a word is made of
UPPER: Final = 1 << 9
LOWER: Final = 1 << 10
LATIN: Final = 1 << 11
CYRILLIC: Final = 1 << 12
GREEK: Final = 1 << 13
LIKE_LATIN: Final = 1 << 14  # a Cyrillic or Greek letter that is drawn as a Latin one
LIKE_CYRILLIC: Final = 1 << 15  # a Latin letter that is drawn as a Cyrillic one
LIKE_GREEK: Final = 1 << 16
JOINING: Final = 1 << 17  # of a script that joiners shape
SPACELESS: Final = 1 << 18  # of a script that a zero width space may break into lines
EMOJI: Final = 1 << 19
HAN: Final = 1 << 20
MARK: Final = 1 << 21
INVISIBLE: Final = 1 << 22
RIGHT_TO_LEFT: Final = 1 << 23

# The byte: bits 24 to 31.
BYTE_SHIFT: Final = 24

# Letters that fonts draw alike, drawn from the code charts. In Greek only capitals and omicron: alpha, nu, rho and
# the others stand beside Latin letters in formulas ("hν", "αs") and deceive nobody there.
_LOOKALIKES: Final = (
    (CYRILLIC, LIKE_CYRILLIC, "АВЕКМНОРСТУХІЇЈЅԌԚԜаеорсухіїјѕһԁԛԝ", "ABEKMHOPCTYXIÏJSGQWaeopcyxiïjshdqw"),
    (GREEK, LIKE_GREEK, "ΑΒΕΖΗΙΚΜΝΟΡΤΥΧο", "ABEZHIKMNOPTYXo"),
)

# Blocks of scripts whose letters joiners shape: Arabic to Arabic Extended-A with Syriac and N'Ko, the scripts of India
# and Sri Lanka, Myanmar, Khmer, Mongolian, and others of that descent; Arabic presentation forms.
_JOINING: Final = (
    (0x0600, 0x08FF),
    (0x0900, 0x0DFF),
    (0x0F00, 0x109F),
    (0x1700, 0x18AF),
    (0x1900, 0x1AAF),
    (0x1B00, 0x1C4F),
    (0x1CD0, 0x1CFF),
    (0xA840, 0xA87F),
    (0xA880, 0xA8FF),
    (0xA930, 0xAAFF),
    (0xABC0, 0xABFF),
    (0xFB50, 0xFDCF),
    (0xFDF0, 0xFDFF),
    (0xFE70, 0xFEFC),
    (0x10A00, 0x10A5F),
    (0x10AC0, 0x10AFF),
    (0x10D00, 0x10D3F),
    (0x10F30, 0x10FDF),
    (0x11000, 0x11DFF),
    (0x1E900, 0x1E95F),
)
_SPACELESS: Final = ((0x0E00, 0x109F), (0x1780, 0x17FF), (0x1900, 0x1AAF), (0x1B00, 0x1B7F), (0xA980, 0xAADF))
_HAN: Final = ((0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x3FFFD))
_RIGHT_TO_LEFT: Final = ((0x0590, 0x08FF), (0xFB1D, 0xFDCF), (0xFDF0, 0xFDFF), (0xFE70, 0xFEFC), (0x10800, 0x10FFF))
_MORE_EMOJI: Final = (0x203C, 0x2049, 0x2139, 0x3030, *b"#*0123456789", *range(0x1F3FB, 0x1F400))

_RANGES: Final = (
    (LEAD, 0x00C2, 0x00F4),
    (CONTROL, 0x0080, 0x009F),
    (SOFT_HYPHEN, 0x00AD, 0x00AD),
    (GRAPHEME, 0x034F, 0x034F),
    (DIRECTION, 0x061C, 0x061C),
    (FILLER, 0x115F, 0x1160),
    (EXOTIC_SPACE, 0x1680, 0x1680),
    (FILLER, 0x17B4, 0x17B5),
    (FILLER, 0x180B, 0x180F),
    (EXOTIC_SPACE, 0x2000, 0x200A),
    (BREAK, 0x200B, 0x200B),
    (JOINER, 0x200C, 0x200D),
    (DIRECTION, 0x200E, 0x200F),
    (BIDI, 0x202A, 0x202E),
    (EXOTIC_SPACE, 0x205F, 0x205F),
    (ZERO_WIDTH, 0x2060, 0x2060),
    (OPERATOR, 0x2061, 0x2064),
    (ZERO_WIDTH, 0x2065, 0x2065),
    (BIDI, 0x2066, 0x2069),
    (ZERO_WIDTH, 0x206A, 0x206F),
    (ZERO_WIDTH, 0x3164, 0x3164),
    (PRIVATE, 0xE000, 0xF8FF),
    (NONCHARACTER, 0xFDD0, 0xFDEF),
    (SELECTOR, 0xFE00, 0xFE0F),
    (BOM, 0xFEFF, 0xFEFF),
    (ZERO_WIDTH, 0xFFA0, 0xFFA0),
    (ZERO_WIDTH, 0xFFF0, 0xFFFB),
    (REPLACEMENT, 0xFFFD, 0xFFFD),
    (ZERO_WIDTH, 0x1BCA0, 0x1BCA3),
    (FILLER, 0x1D173, 0x1D17A),
    (TAG, 0xE0000, 0xE007F),
    (ZERO_WIDTH, 0xE0080, 0xE00FF),
    (IDEOGRAPHIC, 0xE0100, 0xE01EF),
    (ZERO_WIDTH, 0xE01F0, 0xE0FFF),
    (PRIVATE, 0xF0000, 0x10FFFF),
)
_UNSEEN: Final = {
    ZERO_WIDTH, BREAK, JOINER, FILLER, OPERATOR, GRAPHEME, BOM, SELECTOR, IDEOGRAPHIC, TAG, BIDI, DIRECTION, SOFT_HYPHEN,
    NONCHARACTER,
}  # fmt: skip
_NAMED: Final = 0x3200  # letters of the three scripts that matter here lie below, but for a few Latin extensions


@cache
def class_table() -> npt.NDArray[np.uint32]:
    """Return kind, flags and byte of every code point.  # [0x110000] uint32"""
    table = np.zeros(sys.maxunicode + 1, np.uint32)
    for point in range(0x20000):
        table[point] = _flags_of(chr(point))
    for first, last, flags in _blocks():
        table[first : last + 1] |= flags
    for kind, first, last in _RANGES:
        table[first : last + 1] &= ~np.uint32((LETTER | MARK) * (kind != LEAD))
        table[first : last + 1] |= kind | INVISIBLE * (kind in _UNSEEN)
    for last_two in (0xFFFE, 0xFFFF):
        table[np.arange(last_two, sys.maxunicode + 1, 0x10000)] = NONCHARACTER | INVISIBLE
    table[[c for c in (*range(32), 127) if c not in b"\t\n\f\r"]] |= INVISIBLE
    for _, like, theirs, latin in _LOOKALIKES:
        table[[ord(c) for c in theirs]] |= LIKE_LATIN
        table[[ord(c) for c in latin]] |= like
    for byte in range(0x80, 0xC0):
        table[ord(_shown(byte))] |= np.uint32(byte << BYTE_SHIFT)
        table[byte] |= np.uint32(byte << BYTE_SHIFT)
    table.flags.writeable = False
    return table


def _blocks() -> chain[tuple[int, int, int]]:
    """Blocks and the flags of all in them."""
    return chain(
        ((a, b, JOINING) for a, b in _JOINING),
        ((a, b, SPACELESS) for a, b in _SPACELESS),
        ((a, b, HAN) for a, b in _HAN),
        ((a, b, RIGHT_TO_LEFT) for a, b in _RIGHT_TO_LEFT),
        ((a, a, EMOJI) for a in _MORE_EMOJI),
    )


def _shown(byte: int) -> str:
    """What Windows-1252 shows for a byte, the five it leaves open as Latin-1 does."""
    try:
        return bytes([byte]).decode("cp1252")
    except UnicodeDecodeError:
        return chr(byte)


def _flags_of(char: str) -> int:
    category = unicodedata.category(char)
    flags = {"L": LETTER, "M": LETTER | MARK}.get(category[0], 0)
    flags |= {"Lu": UPPER, "Lt": UPPER, "Ll": LOWER, "So": EMOJI, "Sm": EMOJI}.get(category, 0)
    if category[0] == "L" and ord(char) < _NAMED:
        flags |= _script_of(unicodedata.name(char, ""))
    return flags


def _script_of(name: str) -> int:
    """Script of a letter by its Unicode name; Cyrillic and Greek ones are of the kind FOREIGN too."""
    return {"LATIN": LATIN, "CYRILLIC": CYRILLIC | FOREIGN, "GREEK": GREEK | FOREIGN}.get(name.split(" ")[0], 0)
