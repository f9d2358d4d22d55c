"""Compiled counting of what hides in a text or is broken in it: one pass over Arrow's UTF-8 buffers.

The kernel counts; `hygiene` turns counts into signals and `curator.repair` takes the same marks to clean a text.
All work is linear in the bytes of a document, and nothing is allocated in it. Plain ASCII needs only the first, vectorised loop.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from curator.stages._hygiene_classes import (
    BIDI,
    BOM,
    BREAK,
    BYTE_SHIFT,
    CONTROL,
    CYRILLIC,
    DIRECTION,
    EMOJI,
    EXOTIC_SPACE,
    FILLER,
    FOREIGN,
    GRAPHEME,
    GREEK,
    HAN,
    IDEOGRAPHIC,
    INVISIBLE,
    JOINER,
    JOINING,
    LATIN,
    LEAD,
    LETTER,
    LIKE_CYRILLIC,
    LIKE_GREEK,
    LIKE_LATIN,
    LOWER,
    MARK,
    NONCHARACTER,
    OPERATOR,
    PLAIN,
    PRIVATE,
    REPLACEMENT,
    RIGHT_TO_LEFT,
    SELECTOR,
    SOFT_HYPHEN,
    SPACELESS,
    TAG,
)
from curator.stages._text_kernels import jit

Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Table = npt.NDArray[np.uint32]

_COUNTS: Final = (
    "chars", "controls", "replacements", "mojibake", "doubtful", "zero_width", "directions", "soft_hyphens", "tags",
    "selectors", "bidi", "overrides", "unbalanced", "homoglyph_words", "private", "noncharacters", "exotic_spaces", "trailing",
)  # fmt: skip
# Where the scan of one text stands: ends (byte numbers) of the last word, sequence, flag and flag's remnant that were looked at, characters
# of the last sequence if it was doubtful, bidirectional controls that wait for their end, bytes spelt in hiding.
_STATE: Final = (
    "word_end",
    "sequence_end",
    "flag_end",
    "remnant_end",
    "sequence_doubtful",
    "embedded",
    "isolated",
    "spelt",
)
COUNTS: Final = np.dtype([(name, np.int64) for name in (*_COUNTS, *_STATE)])

# What `mark` writes over the bytes of a character that `curator.repair` may take out.
DROP: Final = 1
DROP_IF_LEFT_TO_RIGHT: Final = 2

# How seldom a character of a sequence stands behind a letter in good text, by the byte it stands for:
# 0 for the punctuation that closes or joins words, and letters that are as common in capitals as small ones;
# 1 for what may stand behind a letter, but not before a small one ("NESTLÉ® is" against "FÃ©in");
# 2 for what does not.
_ODDITY: Final = np.full(256, 2, np.uint8)
_ODDITY[list("™®©°ªº¹²³·†‡•´‹›«»“”".encode("cp1252"))] = 1
_ODDITY[list("‘’…–—\xa0\xadšžŠŽœŒ".encode("cp1252"))] = 0


@jit
def _decode(data: Bytes, i: int, stop: int) -> tuple[Any, int]:
    """Read the code point at byte i: (code point, next byte). Broken UTF-8 reads as U+FFFD, byte by byte."""
    b = np.int64(data[i])
    if b < 0x80:
        return b, i + 1
    if 0xC2 <= b < 0xE0 and i + 1 < stop:
        return ((b & 0x1F) << 6) | (np.int64(data[i + 1]) & 0x3F), i + 2
    if 0xE0 <= b < 0xF0 and i + 2 < stop:
        low = ((np.int64(data[i + 1]) & 0x3F) << 6) | (np.int64(data[i + 2]) & 0x3F)
        return ((b & 0x0F) << 12) | low, i + 3
    if 0xF0 <= b < 0xF5 and i + 3 < stop:
        low = ((np.int64(data[i + 2]) & 0x3F) << 6) | (np.int64(data[i + 3]) & 0x3F)
        return min(((b & 0x07) << 18) | ((np.int64(data[i + 1]) & 0x3F) << 12) | low, 0x10FFFF), i + 4
    return np.int64(0xFFFD), i + 1


@jit
def _start_before(data: Bytes, lo: int, i: int) -> int:
    """First byte of the character that ends before byte i, which is beyond `lo`."""
    first = max(lo, i - 4)
    i -= 1
    while i > first and (data[i] & 0xC0) == 0x80:
        i -= 1
    return i


@jit
def _before(data: Bytes, lo: int, i: int, stop: int, table: Table) -> Any:
    """Table entry of the character before byte i, 0 at the start."""
    return table[_decode(data, _start_before(data, lo, i), stop)[0]] if i > lo else np.uint32(0)


@jit
def _at(data: Bytes, i: int, stop: int, table: Table) -> Any:
    """Table entry of the character at byte i, 0 at the end."""
    return table[_decode(data, i, stop)[0]] if i < stop else np.uint32(0)


# ---------------------------------------------------------------- spaces at line ends


@jit
def _trailing(data: Bytes, lo: int, hi: int) -> int:
    """Count the spaces and tabs at the ends of lines."""
    n = 0
    run = 0
    for i in range(lo, hi):
        b = data[i]
        if b == 32 or b == 9:
            run += 1
        else:
            n += run * (b == 10 or b == 13)
            run = 0
    return n + run


@jit
def _is_control(b: Any) -> Any:
    """Whether a byte is a control of ASCII, other than tab, form feed and line ends."""
    return ((b < 32) & (b != 9) & (b != 10) & (b != 12) & (b != 13)) | (b == 127)


@jit
def _scan_ascii(data: Bytes, lo: int, hi: int, row: Any) -> bool:
    """Count characters, ASCII controls and spaces at line ends; True if there is anything beyond ASCII."""
    high = 0
    starts = 0
    controls = 0
    suspects = 0
    before = np.uint8(0)
    for i in range(lo, hi):
        b = data[i]
        high += b >= 0x80
        starts += (b & 0xC0) != 0x80
        controls += _is_control(b)
    for i in range(lo + 1, hi):
        b = data[i]
        before = data[i - 1]
        suspects += ((b == 10) | (b == 13)) & ((before == 32) | (before == 9))
    row.chars = starts
    row.controls = controls
    if suspects or (hi > lo and (data[hi - 1] == 32 or data[hi - 1] == 9)):
        row.trailing = _trailing(data, lo, hi)
    return high > 0


# ---------------------------------------------------------------- broken encoding


@jit
def _sequence(data: Bytes, i: int, hi: int, lead: int, after: int, table: Table) -> tuple[int, int, int]:
    """Read the characters that Windows-1252 shows for one UTF-8 sequence, from the `lead` at byte i on.

    Returns (next byte, characters, oddity of the oddest of them); 0 characters if the bytes make no sequence.
    """
    need = 1 if lead < 0xE0 else 2 if lead < 0xF0 else 3
    odd = first = 0
    at = after
    for k in range(need):
        byte = np.int64(_at(data, at, hi, table) >> BYTE_SHIFT)
        low, high = 0x80, 0xBF
        if k == 0:  # neither longer than need be, nor a surrogate, nor beyond Unicode
            first = int(byte)
            low = 0xA0 if lead == 0xE0 else 0x90 if lead == 0xF0 else 0x80
            high = 0x9F if lead == 0xED else 0x8F if lead == 0xF4 else 0xBF
        if byte < low or byte > high:
            cut_short = lead == 0xE2 and k == 1 and first == 0x80  # "â€" whose third byte got lost: a quote, most often
            return (at, 2, 2) if cut_short else (i, 0, 0)
        odd = max(odd, _ODDITY[byte])
        at = _decode(data, at, hi)[1]
    return at, need + 1, odd


@jit
def _is_evident(lead: int, odd: int, before: int, behind: int) -> bool:
    """Whether a sequence is mojibake beyond doubt, by itself and the characters before and behind it.

    A capital in the middle of a word in small letters is ("cafÃ©", "FÃ©in"); so are Â and Ã at its start ("Â£5", "Ã©t").
    """
    if lead == 0xD7:  # the multiplication sign stands before fractions and no-break spaces
        return False
    if odd == 2:
        return True
    if lead >= 0xDF:
        return False
    in_small = (before & LOWER) != 0 or (odd == 1 and (behind & LOWER) != 0)
    return in_small or (lead <= 0xC3 and (before & LETTER) == 0)


# ---------------------------------------------------------------- letters that look alike


@jit
def _word(data: Bytes, lo: int, i: int, hi: int, table: Table) -> tuple[int, bool, bool, Any]:
    """Look at the word around the Cyrillic or Greek letter at byte i.

    Returns (its end, whether it has Latin letters too, whether letters of one script pass for the other's, all flags).
    """
    start = i
    while start > lo:
        before = _start_before(data, lo, start)
        if not table[_decode(data, before, hi)[0]] & LETTER:
            break
        start = before
    latin = theirs = like_latin = like_cyrillic = like_greek = 0
    seen = np.uint32(0)
    end = start
    while end < hi:
        cp, after = _decode(data, end, hi)
        info = table[cp]
        if not info & LETTER:
            break
        end = after
        seen |= info
        latin += (info & LATIN) != 0
        theirs += (info & (CYRILLIC | GREEK)) != 0
        like_latin += (info & LIKE_LATIN) != 0
        like_cyrillic += (info & LIKE_CYRILLIC) != 0
        like_greek += (info & LIKE_GREEK) != 0
    posing = like_latin == theirs
    posing |= (seen & CYRILLIC) != 0 and like_cyrillic == latin
    posing |= (seen & GREEK) != 0 and like_greek == latin and theirs > 2 and theirs > latin  # not "ΔT" in a formula
    return end, latin > 0, latin > 0 and posing, seen


# ---------------------------------------------------------------- characters that nobody sees


@jit
def _is_at_home(data: Bytes, lo: int, i: int, after: int, hi: int, cp: int, kind: int, table: Table) -> Any:
    """Whether an invisible character stands where its script, an emoji or a formula needs it."""
    left = _before(data, lo, i, hi, table)
    right = _at(data, after, hi, table)
    if kind == SELECTOR:
        if left & INVISIBLE:
            return False
        return ((left & EMOJI) != 0 and (cp >= 0xFE0E or cp == 0xFE00)) or (cp <= 0xFE02 and _takes_form(left))
    if kind == IDEOGRAPHIC:
        return (left & HAN) != 0
    if kind == JOINER and cp == 0x200D and right & EMOJI:
        if (left & 0xFF) == SELECTOR:
            left = _before(data, lo, _start_before(data, lo, i), hi, table)
        if left & EMOJI:
            return True
    if kind == FILLER:
        own_left = i > lo and (_decode(data, _start_before(data, lo, i), hi)[0] >> 8) == (cp >> 8)
        own_right = after < hi and (_decode(data, after, hi)[0] >> 8) == (cp >> 8)
        return (own_left and not left & INVISIBLE) or (own_right and not right & INVISIBLE)
    if kind == GRAPHEME:
        return (left & MARK) != 0
    if (left | right) & INVISIBLE:
        return False
    if kind == JOINER:
        return ((left | right) & JOINING) != 0
    if kind == BREAK:
        return ((left | right) & SPACELESS) != 0
    return kind == OPERATOR


@jit
def _takes_form(base: int) -> bool:
    """Whether variation selectors 1 to 3 may choose a form of the character: ideographs and East Asian letters."""
    return (base & (HAN | JOINING)) != 0


@jit
def _region_end(data: Bytes, i: int, hi: int) -> tuple[int, int]:
    """End of the tags that name a region and their closing tag from byte i on, and the name's last three letters; (i, 0) if none."""
    at = i
    tags = name = 0
    while at < hi and tags <= 6:
        cp, at = _decode(data, at, hi)
        if cp == 0xE007F:
            return (at, name) if tags >= 3 else (i, 0)
        if not (0xE0030 <= cp <= 0xE0039 or 0xE0061 <= cp <= 0xE007A):
            break
        tags += 1
        name = ((name << 8) | (cp & 0xFF)) & 0xFFFFFF
    return i, 0


@jit
def _mark(marks: Bytes, lo: int, i: int, after: int, value: int) -> None:
    """Mark the bytes of one character, if there is room for marks."""
    if marks.size:
        for k in range(i, after):
            marks[k - lo] = value


@jit
def _spell(hidden: Bytes, row: Any, byte: int) -> None:
    """Take down one byte of a hidden message, if there is room."""
    if row.spelt < hidden.size:
        hidden[row.spelt] = byte
        row.spelt += 1


@jit
def _scan_lead(data: Bytes, lo: int, i: int, after: int, hi: int, cp: int, table: Table, row: Any) -> None:
    """Count the UTF-8 sequence that is shown from byte i on, if there is one and it was not counted yet."""
    linked = i == row.sequence_end and i > lo
    if i < row.sequence_end:
        return
    end, chars, odd = _sequence(data, i, hi, cp, after, table)
    if not chars:
        return
    if not linked:
        row.sequence_doubtful = 0
    if linked or _is_evident(cp, odd, _before(data, lo, i, hi, table), _at(data, end, hi, table)):
        row.mojibake += chars + row.sequence_doubtful
        row.doubtful -= row.sequence_doubtful
        row.sequence_doubtful = 0
    else:
        row.doubtful += chars
        row.sequence_doubtful = chars
    row.sequence_end = end


@jit
def _scan_bidi(cp: int, row: Any) -> None:
    """Count a bidirectional embedding, override or isolate, or the end of one."""
    row.bidi += 1
    row.overrides += cp == 0x202D or cp == 0x202E
    if cp == 0x202C:
        row.unbalanced += row.embedded == 0
        row.embedded = max(row.embedded - 1, 0)
    elif cp == 0x2069:
        row.unbalanced += row.isolated == 0
        row.isolated = max(row.isolated - 1, 0)
    elif cp < 0x2066:
        row.embedded += 1
    else:
        row.isolated += 1


@jit
def _end_line(row: Any) -> None:
    """What was not ended in its line never is."""
    row.unbalanced += row.embedded + row.isolated
    row.embedded = 0
    row.isolated = 0


@jit
def _scan_tag(
    data: Bytes, lo: int, i: int, after: int, hi: int, cp: int, row: Any, hidden: Bytes, marks: Bytes
) -> None:
    """Count a tag character that is not part of a flag; what is left of a flag that lost its emoji spells nothing."""
    if i >= row.flag_end and i >= row.remnant_end:
        end, name = _region_end(data, i, hi)
        flag = i > lo and _decode(data, _start_before(data, lo, i), hi)[0] == 0x1F3F4
        if flag:
            row.flag_end = end
        elif name in (0x656E67, 0x736374, 0x776C73):  # eng, sct, wls
            row.remnant_end = end
    if i >= row.flag_end:
        row.tags += 1
        _mark(marks, lo, i, after, DROP)
        if 0xE0020 <= cp < 0xE007F and i >= row.remnant_end:
            _spell(hidden, row, cp - 0xE0000)


@jit
def _scan_unseen(
    data: Bytes,
    lo: int,
    i: int,
    after: int,
    hi: int,
    cp: int,
    kind: int,
    table: Table,
    row: Any,
    hidden: Bytes,
    marks: Bytes,
) -> None:
    """Count a joiner, selector or other zero-width character that is not at home where it stands."""
    if (kind == BOM and i == lo) or _is_at_home(data, lo, i, after, hi, cp, kind, table):
        return
    _mark(marks, lo, i, after, DROP)
    if kind in (SELECTOR, IDEOGRAPHIC):
        row.selectors += 1
        _spell(hidden, row, cp - 0xFE00 if kind == SELECTOR else cp - 0xE0100 + 16)
    else:
        row.zero_width += 1


@jit
def _scan_rare(
    data: Bytes,
    lo: int,
    i: int,
    after: int,
    hi: int,
    cp: int,
    kind: int,
    table: Table,
    row: Any,
    hidden: Bytes,
    marks: Bytes,
) -> None:
    """Count a character of a kind that ordinary text seldom has."""
    if kind == CONTROL:
        row.controls += 1
        row.mojibake += i >= row.sequence_end
    elif kind == REPLACEMENT:
        row.replacements += 1
    elif kind == EXOTIC_SPACE:
        row.exotic_spaces += 1
    elif kind == PRIVATE:
        row.private += 1
    elif kind == SOFT_HYPHEN:
        if i >= row.sequence_end:
            row.soft_hyphens += 1
            _mark(marks, lo, i, after, DROP)
    elif kind == NONCHARACTER:
        row.noncharacters += 1
        _mark(marks, lo, i, after, DROP)
    elif kind == DIRECTION:
        row.directions += 1
        _mark(marks, lo, i, after, DROP_IF_LEFT_TO_RIGHT)
    elif kind == BIDI:
        _scan_bidi(cp, row)
        _mark(marks, lo, i, after, DROP)
    elif kind == TAG:
        _scan_tag(data, lo, i, after, hi, cp, row, hidden, marks)
    else:
        _scan_unseen(data, lo, i, after, hi, cp, kind, table, row, hidden, marks)


@jit
def scan(data: Bytes, lo: int, hi: int, table: Table, row: Any, hidden: Bytes, marks: Bytes) -> None:
    """Count into `row`, one COUNTS of zeros, what the text of bytes lo to hi holds.

    hidden: takes what tags and variation selectors spell, `row.spelt` bytes, as far as there is room.
    marks: [hi - lo] takes DROP and DROP_IF_LEFT_TO_RIGHT over what is invisible; or empty.
    """
    if not _scan_ascii(data, lo, hi, row):
        return
    seen: Any = np.uint32(0)
    row.word_end = row.sequence_end = row.flag_end = row.remnant_end = lo
    i = lo
    while i < hi:
        b = data[i]
        if b < 0x80:
            if (b == 10 or b == 13) and row.embedded + row.isolated:
                _end_line(row)
            i += 1
            continue
        cp, after = _decode(data, i, hi)
        info = table[cp]
        kind = info & 0xFF
        seen |= info
        if kind == LEAD:
            _scan_lead(data, lo, i, after, hi, cp, table, row)
        elif kind == FOREIGN:
            if i >= row.word_end:
                row.word_end, mixed, posing, flags = _word(data, lo, i, hi, table)
                row.homoglyph_words += posing
                if not mixed:
                    seen |= flags
                    after = row.word_end
        elif kind != PLAIN:
            _scan_rare(data, lo, i, after, hi, cp, kind, table, row, hidden, marks)
        i = after
    _end_line(row)
    if seen & RIGHT_TO_LEFT:
        row.directions = 0
    row.zero_width += row.directions
    if row.doubtful <= row.mojibake:
        row.mojibake += row.doubtful


@jit
def scan_all(
    data: Bytes, offsets: Ints, valid: npt.NDArray[np.bool_], table: Table, nothing: Bytes, counts: Any
) -> None:
    """Count every row; null rows stay 0.  counts: [docs] COUNTS"""
    for k in range(len(valid)):
        if valid[k]:
            scan(data, offsets[k], offsets[k + 1], table, counts[k], nothing, nothing)


@jit
def clean_into(data: Bytes, lo: int, hi: int, table: Table, row: Any, nothing: Bytes, marks: Bytes, out: Bytes) -> int:
    """Write the text of bytes lo to hi without what nobody sees; returns the bytes written.

    row: one COUNTS, zeroed.  marks: [hi - lo] zeroed.  out: [hi - lo]
    """
    scan(data, lo, hi, table, row, nothing, marks)
    n = 0
    for k in range(hi - lo):
        dropped = marks[k] == DROP or (marks[k] == DROP_IF_LEFT_TO_RIGHT and row.directions > 0)
        if not dropped and not _is_control(data[lo + k]):
            out[n] = data[lo + k]
            n += 1
    return n


@jit
def placings_bits(chars: Ints, groups: Ints, bits: Floats, out: Floats) -> None:
    """Write the bits that groups of characters can carry in each text: where they stand, and which each one is.

    chars: [docs].  groups: [docs, groups] how many characters of each group.  bits: [groups] log2 of each group's
    alphabet.  out: [docs] zeros
    """
    for k in range(len(chars)):
        placed = 0
        nats = 0.0
        own = 0.0
        for g in range(len(bits)):
            n = groups[k, g]
            placed += n
            nats -= math.lgamma(n + 1.0)
            own += n * bits[g]
        if placed:
            nats += math.lgamma(chars[k] + 1.0) - math.lgamma(chars[k] - placed + 1.0)
            out[k] = own + nats / math.log(2.0)
