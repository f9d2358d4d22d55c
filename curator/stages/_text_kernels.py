"""Compiled counting over Arrow's UTF-8 buffers: one pass a document, no Python object in it.

The kernels count; `text_stats` turns counts into signals. All work is linear in the bytes of
a document. What needs a memory of the document (repeated words, lines and n-grams) looks at
its first `WORDS_SEEN` words, lines and paragraphs, which bounds the workspace at about 100 MB.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeVar, cast

import numpy as np
import numpy.typing as npt

from curator.kernels import kernel
from curator.stages._text_classes import (
    BULLET,
    CLOSER,
    DASH_BULLET,
    DIGIT,
    INITIAL,
    LETTER,
    LOWER,
    MARK,
    PUNCT,
    SPACE,
    SPLIT,
    STOP,
    SYMBOL,
    TERMINAL,
    UNSPACED,
    UPPER,
    WIDE_STOP,
    WORD,
)

Kernel = TypeVar("Kernel", bound=Callable[..., Any])
Bytes = npt.NDArray[np.uint8]
Flags = npt.NDArray[np.uint32]
Hashes = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

WORDS_SEEN: Final = 1 << 20  # ten times the longest document that Gopher keeps (100,000 words)
LONG_WORD_CHARS: Final = 1000  # C4's code drops lines holding a longer word
LONG_LINE_CHARS: Final = 200  # mC4 wants three lines at least this long (Xue et al. 2021, section 3.1)
NAV_LINE_WORDS: Final = 10  # RefinedWeb, appendix G.2: patterns apply to lines of up to 10 words

_CHAR_COUNTS: Final = (
    "chars,wide,letters,uppers,digits,spaces,puncts,symbols,unspaced,unreadable,"
    "hashes,ellipses,braces,newlines,urls,tags"
)
_WORD_COUNTS: Final = "words,word_chars,alpha_words,stop_words,longest_word,sentences"
# `c4_` counts only the lines that C4 would keep
_LINE_COUNTS: Final = (
    "lines,line_chars,longest_line,bullet_lines,ellipsis_lines,terminal_lines,short_lines,few_word_lines,long_lines,"
    "javascript_lines,policy_lines,lorem,upper_lines,numeric_lines,counter_lines,one_word_lines,nav_lines,flagged_words,"
    "table_lines,code_lines,c4_lines,c4_chars,c4_sentences"
)
# `seen_` and what follows count the part of the document that is remembered
_REPEAT_COUNTS: Final = (
    "seen_lines,seen_line_chars,dup_lines,dup_line_chars,paragraphs,paragraph_chars,dup_paragraphs,dup_paragraph_chars,"
    "seen_words,seen_chars,distinct_words,top2,top3,top4,dup5,dup6,dup7,dup8,dup9,dup10"
)
_COUNTS: Final = ",".join((_CHAR_COUNTS, _WORD_COUNTS, _LINE_COUNTS, _REPEAT_COUNTS)).split(",")
_BITS: Final = ("word_bits", "byte_bits")
COUNTS: Final = np.dtype([(name, np.int64) for name in _COUNTS] + [(name, np.float64) for name in _BITS])

# Phrases that the line measures look for; each must begin where a word begins. In three groups: those that count
# anywhere, those that count in short lines, and those that count as the second word after a number.
_LOREM, _SCRIPT, _POLICY, _NAV_FIRST, _NAV_LAST, _NAV_ANY, _COUNTER = range(7)
_POLICIES: Final = "terms of use,privacy policy,cookie policy,uses cookies,use of cookies,use cookies"
_COUNTED: Final = "like,share,comment,view,vote,follower,retweet,repost,upvote,downvote,download"
_PHRASES: Final = (
    (_LOREM, "lorem ipsum"),
    (_SCRIPT, "javascript"),
    *((_POLICY, phrase) for phrase in _POLICIES.split(",")),
    *((_NAV_FIRST, phrase) for phrase in ("sign in", "sign-in", "sign up", "log in", "log-in")),
    *((_NAV_LAST, phrase) for phrase in ("read more", "continue reading")),
    *((_NAV_ANY, phrase) for phrase in ("items in cart", "item in cart", "add to cart")),
    *((_COUNTER, word + plural) for word in _COUNTED.split(",") for plural in ("", "s")),
    (_COUNTER, "reply"),
    (_COUNTER, "replies"),
)
_KIND: Final = np.array([kind for kind, _ in _PHRASES], np.int64)
_SIZE: Final = np.array([len(phrase) for _, phrase in _PHRASES], np.int64)
_BYTES: Final = np.array([list(phrase.encode().ljust(24, b"\0")) for _, phrase in _PHRASES], np.uint8)
_HEAD: Final = np.array([int.from_bytes(phrase[:4].encode(), "little") for _, phrase in _PHRASES], np.int64)
_ANYWHERE: Final = int(np.searchsorted(_KIND, _NAV_FIRST))  # phrases before this one count anywhere
_IN_SHORT: Final = int(np.searchsorted(_KIND, _COUNTER))  # from there to here, in short lines
INITIALS: Final = "".join(sorted({phrase[0] for _, phrase in _PHRASES[:_ANYWHERE]}))
# Gopher's eight stop words, packed into integers, little end first.
STOP_WORDS: Final = ("the", "be", "to", "of", "and", "that", "have", "with")
_STOP_PACKED: Final = np.array([int.from_bytes(word.encode(), "little") for word in STOP_WORDS], np.int64)

_PRIME: Final = np.uint64(0x100000001B3)
_SEED: Final = np.uint64(0xCBF29CE484222325)
_MIX_A: Final = np.uint64(0xFF51AFD7ED558CCD)
_MIX_B: Final = np.uint64(0xC4CEB9FE1A85EC53)
_S32: Final = np.uint64(32)
_S33: Final = np.uint64(33)


def jit(function: Kernel) -> Kernel:
    """Compile without the interpreter lock, cached on disk wherever a folder for that can be written."""
    # Kernels allocate nothing; counting references to their arrays at each call took a sixth of the time.
    return cast(Kernel, kernel(function, _nrt=False, error_model="python"))


class Workspace(NamedTuple):
    """What one document's memory needs; reused from document to document."""

    flags: npt.NDArray[np.uint32]  # [0x110000] kind of each code point
    hist: npt.NDArray[np.int64]  # [256] how often each byte occurs
    words: npt.NDArray[np.uint64]  # [cap] hash of each word
    starts: npt.NDArray[np.int64]  # [cap] where it starts, in characters
    ends: npt.NDArray[np.int64]  # [cap] where it ends
    lines: npt.NDArray[np.uint64]  # [cap] hash of each line, trimmed
    line_chars: npt.NDArray[np.int64]  # [cap]
    paragraphs: npt.NDArray[np.uint64]  # [cap]
    paragraph_chars: npt.NDArray[np.int64]  # [cap]
    keys: npt.NDArray[np.uint64]  # [cap] identity of each n-gram
    spots: npt.NDArray[np.int32]  # [cap] which word it begins with
    groups: npt.NDArray[np.int32]  # [cap] the first n-gram equal to it
    tallies: npt.NDArray[np.int32]  # [cap] how many equal it, kept at the first
    slots: npt.NDArray[np.int32]  # hash table, a power of two


def workspace(flags: npt.NDArray[np.uint32], longest_bytes: int) -> Workspace:
    """Make room for documents of up to `longest_bytes`; untouched pages cost nothing."""
    cap = min(longest_bytes // 2 + 2, WORDS_SEEN)  # a word or line takes a byte and, but for the last, its end

    def room(dtype: type) -> npt.NDArray[Any]:
        return np.empty(cap, dtype)

    u64, i64, i32 = np.uint64, np.int64, np.int32
    slots = np.empty(1 << (2 * cap).bit_length(), np.int32)
    head = (flags, np.empty(256, i64), room(u64), room(i64), room(i64), room(u64), room(i64), room(u64), room(i64))
    return Workspace(*head, room(u64), room(i32), room(i32), room(i32), slots)


# ---------------------------------------------------------------- characters


@jit
def _decode(data: Bytes, i: int, stop: int) -> tuple[Any, int]:
    """Read the code point at byte i: (code point, next byte). Broken UTF-8 reads as U+FFFD, byte by byte."""
    b = np.int64(data[i])
    if b < 0x80:
        return b, i + 1
    if 0xC2 <= b < 0xE0 and i + 1 < stop:
        return ((b & 0x1F) << 6) | (data[i + 1] & 0x3F), i + 2
    if 0xE0 <= b < 0xF0 and i + 2 < stop:
        return ((b & 0x0F) << 12) | ((np.int64(data[i + 1]) & 0x3F) << 6) | (data[i + 2] & 0x3F), i + 3
    if 0xF0 <= b < 0xF5 and i + 3 < stop:
        high = ((b & 0x07) << 18) | ((np.int64(data[i + 1]) & 0x3F) << 12)
        cp = high | ((np.int64(data[i + 2]) & 0x3F) << 6) | (data[i + 3] & 0x3F)
        return min(cp, 0x10FFFF), i + 4
    return np.int64(0xFFFD), i + 1


@jit
def _count_chars(data: Bytes, start: int, stop: int) -> int:
    """Count the characters between two bytes: all bytes but the continuing ones."""
    n = 0
    for i in range(start, stop):
        n += (data[i] & 0xC0) != 0x80
    return n


@jit
def _tally(row: Any, flags: int, n: int) -> None:
    row.letters += n * ((flags & LETTER) != 0)
    row.uppers += n * ((flags & UPPER) != 0)
    row.digits += n * ((flags & DIGIT) != 0)
    row.spaces += n * ((flags & SPACE) != 0)
    row.puncts += n * ((flags & PUNCT) != 0)
    row.symbols += n * ((flags & SYMBOL) != 0)
    row.unspaced += n * ((flags & UNSPACED) != 0)


@jit
def _is_address(data: Bytes, lo: int, i: int, hi: int) -> bool:
    """Whether a web address starts just before byte i: `http` or `https` at its colon, a bare `www` at its dot."""
    if data[i] == 58:
        if i + 2 >= hi or data[i + 1] != 47 or data[i + 2] != 47:
            return False
        end = i - 1 if i > lo and (data[i - 1] | 32) == 115 else i  # the s of https
        return end - 4 >= lo and (
            (data[end - 4] | 32) == 104
            and (data[end - 3] | 32) == 116
            and (data[end - 2] | 32) == 116
            and (data[end - 1] | 32) == 112
        )
    if i - 3 < lo or (data[i - 1] | 32) != 119 or (data[i - 2] | 32) != 119 or (data[i - 3] | 32) != 119:
        return False
    if i - 4 < lo:
        return True
    before = data[i - 4]
    in_word = (48 <= before <= 57) or (97 <= (before | 32) <= 122) or before >= 128
    return not in_word and before != 47  # after a slash it belongs to an http address already counted


@jit
def _measure_chars(data: Bytes, lo: int, hi: int, flags: Flags, hist: Ints, row: Any) -> None:
    """Count kinds of characters; those of ASCII are read off the histogram of bytes."""
    hist[:] = 0
    dots = 0
    i = lo
    while i < hi:
        b = data[i]
        hist[b] += 1
        dots = dots + 1 if b == 46 else 0
        if b < 128:
            if b == 46 or b == 58:
                row.urls += _is_address(data, lo, i, hi)
                if dots == 3:
                    row.ellipses += 1
                    dots = 0
            elif b == 60 and i + 1 < hi and (data[i + 1] == 47 or 97 <= (data[i + 1] | 32) <= 122):
                row.tags += 1
            i += 1
        else:
            cp, after = _decode(data, i, hi)
            for k in range(i + 1, after):
                hist[data[k]] += 1
            row.wide += 1
            row.ellipses += cp == 0x2026
            row.unreadable += cp == 0xFFFD
            _tally(row, flags[cp], 1)
            i = after
    row.chars = row.wide
    for b in range(128):
        row.chars += hist[b]
        _tally(row, flags[b], hist[b])
        if (b < 32 and (flags[b] & SPACE) == 0) or b == 127:
            row.unreadable += hist[b]
    row.newlines = hist[10]
    row.hashes = hist[35]
    row.braces = hist[123] + hist[125]
    row.byte_bits = _entropy(hist, 256, hi - lo)


@jit
def _entropy(tallies: Ints, n: int, total: int) -> Any:
    """Shannon entropy in bits of tallies that add up to `total`."""
    if total == 0:
        return 0.0
    weighted = 0.0
    for k in range(n):
        if tallies[k] > 1:
            weighted += tallies[k] * np.log2(tallies[k])
    return max(np.log2(total) - weighted / total, 0.0)


@jit
def _count_sentences(data: Bytes, start: int, stop: int, flags: Flags) -> int:
    """Count sentences: they end where a space follows a stop; what is left over counts as one.

    Nothing ends at an initial (`J.`), nor where a lowercase letter goes on after a closing quote or an ellipsis.
    After a plain full stop it does not matter: writers without capitals write sentences too.
    """
    n = 0
    has_word = False
    ended = 0  # 1 after a full stop, 2 after the space that follows it
    soft = False  # whether a lowercase letter would go on with the sentence
    run = 0  # length of the word just passed
    last: Any = np.int64(0)
    i = start
    while i < stop:
        cp: Any = np.int64(data[i])
        if cp < 0x80:
            i += 1
        else:
            cp, i = _decode(data, i, stop)
        f = flags[cp]
        if f & WORD:
            if ended == 2 and not (soft and f & LOWER):
                n += 1
            ended = 0
            has_word = True
            run += 1
            last = cp
            continue
        if f & STOP:
            is_initial = cp == 46 and run == 1 and last != 73 and (flags[last] & UPPER) != 0
            if has_word and not is_initial:
                soft = cp == 0x2026 or (cp == 46 and ended == 1)
                ended = 2 if f & WIDE_STOP else max(ended, 1)
        elif f & SPACE:
            ended = 2 if ended else 0
        elif ended == 1:
            ended = 1 if f & CLOSER else 0
            soft = True
        if not f & MARK:
            run = 0
    return n + has_word


# ---------------------------------------------------------------- words and lines


@jit
def _mix(h: Any) -> Any:
    """Spread a 64-bit hash over all its bits (MurmurHash3's finaliser)."""
    h = (h ^ (h >> _S33)) * _MIX_A
    h = (h ^ (h >> _S33)) * _MIX_B
    return h ^ (h >> _S33)


@jit
def _next_word(data: Bytes, i: int, stop: int, flags: Flags) -> tuple[int, int, int, int, Any, bool, int, int]:
    """Find the word at or after byte i.

    Returns (start byte or -1, end byte, characters skipped before it, its characters, hash,
    whether it has a letter, byte to go on from, characters up to there).
    """
    skipped = 0
    f = np.uint32(0)
    start = i
    while i < stop:
        cp: Any = np.int64(data[i])
        after = i + 1
        if cp >= 0x80:
            cp, after = _decode(data, i, stop)
        f = flags[cp]
        if f & WORD:
            break
        i = after
        skipped += 1
    start = i
    if start >= stop:
        return -1, stop, skipped, 0, _SEED, False, stop, skipped
    ends_word = np.uint32(SPACE | SPLIT | UNSPACED)
    h = _SEED
    n = 0
    if f & UNSPACED:  # one letter and the marks on it
        h = (h ^ np.uint64(cp)) * _PRIME
        n = 1
        i = after
        ends_word = np.uint32(0xFFFFFFFF ^ MARK)
    end = i
    chars = n
    hash_ = h
    letters = f
    inside = True  # whether the character before belongs to the word, so that a mark on it does too
    while i < stop:
        cp = np.int64(data[i])
        after = i + 1
        if cp >= 0x80:
            cp, after = _decode(data, i, stop)
        f = flags[cp]
        if f & ends_word or (f == 0 and ends_word & WORD):
            break
        h = (h ^ np.uint64(cp)) * _PRIME
        n += 1
        i = after
        inside = (f & WORD) != 0 or (inside and (f & MARK) != 0)
        if inside:
            end = i
            chars = n
            hash_ = h
            letters |= f
    return start, end, skipped, chars, _mix(hash_), (letters & LETTER) != 0, i, skipped + n


@jit
def _phrase_at(data: Bytes, i: int, stop: int, first: int, last: int) -> int:
    """Number of the phrase of first ≤ k < last that is written at byte i, in any case; -1 if none is."""
    if i + 4 > stop:
        return -1
    head = np.int64(0)
    for j in range(4):
        head |= (np.int64(data[i + j]) | 32) << (8 * j)
    for k in range(first, last):
        if _HEAD[k] == head and i + _SIZE[k] <= stop:
            same = True
            for j in range(4, _SIZE[k]):
                b = data[i + j]
                same &= (b | 32 if 65 <= b <= 90 else b) == _BYTES[k, j]
            if same:
                return k
    return -1


@jit
def _stop_word_bit(data: Bytes, start: int, end: int) -> int:
    """Bit of the stop word that the bytes spell in any case, 0 if they spell none."""
    packed = np.int64(0)
    for j in range(end - start):
        b = np.int64(data[start + j])
        packed |= (b | 32 if 65 <= b <= 90 else b) << (8 * j)
    for k in range(_STOP_PACKED.size):
        if packed == _STOP_PACKED[k]:
            return 1 << k
    return 0


@jit
def _find_line(data: Bytes, i: int, hi: int) -> tuple[int, int]:
    """End of the line that starts at byte i and start of the next, breaking where str.splitlines does."""
    while i < hi:
        b = data[i]
        if b < 32:
            if b == 13:
                return i, i + 2 if i + 1 < hi and data[i + 1] == 10 else i + 1
            if 10 <= b <= 12 or 28 <= b <= 30:
                return i, i + 1
        elif b == 0xC2 and i + 1 < hi and data[i + 1] == 0x85:
            return i, i + 2
        elif b == 0xE2 and i + 2 < hi and data[i + 1] == 0x80 and (data[i + 2] == 0xA8 or data[i + 2] == 0xA9):
            return i, i + 3
        i += 1
    return hi, hi


@jit
def _trim(data: Bytes, start: int, stop: int, flags: Flags) -> tuple[int, int]:
    """Leave out white space at both ends."""
    while start < stop:
        cp, after = _decode(data, start, stop)
        if not flags[cp] & SPACE:
            break
        start = after
    while stop > start:
        cp, _ = _decode(data, _back(data, start, stop), stop)
        if not flags[cp] & SPACE:
            break
        stop = _back(data, start, stop)
    return start, stop


@jit
def _back(data: Bytes, start: int, stop: int) -> int:
    """First byte of the character that ends just before `stop`."""
    i = stop - 1
    while i > start and stop - i < 4 and (data[i] & 0xC0) == 0x80:
        i -= 1
    return i


@jit
def _scan_line(data: Bytes, start: int, stop: int, flags: Flags) -> tuple[Any, int, int, int, int, int]:
    """Look at a line's characters: (hash, characters, letters, capitals, digits, column marks)."""
    h = _SEED
    chars = letters = uppers = digits = bars = 0
    i = start
    while i < stop:
        cp: Any = np.int64(data[i])
        if cp < 0x80:
            i += 1
        else:
            cp, i = _decode(data, i, stop)
        f = flags[cp]
        h = (h ^ np.uint64(cp)) * _PRIME
        chars += 1
        letters += (f & LETTER) != 0
        uppers += (f & UPPER) != 0
        digits += (f & DIGIT) != 0
        bars += cp == 124 or cp == 9
    return _mix(h), chars, letters, uppers, digits, bars


@jit
def _ends_in_dots(data: Bytes, start: int, stop: int) -> bool:
    if stop - start < 3:
        return False
    a, b, c = data[stop - 3], data[stop - 2], data[stop - 1]
    return bool((a == 46 and b == 46 and c == 46) or (a == 0xE2 and b == 0x80 and c == 0xA6))


@jit
def _opens_item(data: Bytes, start: int, stop: int, flags: Flags) -> bool:
    """Whether a line starts with a bullet point; a dash or star is one only before a space."""
    cp, after = _decode(data, start, stop)
    if flags[cp] & BULLET:
        return True
    if not flags[cp] & DASH_BULLET or after >= stop:
        return False
    cp, _ = _decode(data, after, stop)
    return bool(flags[cp] & SPACE)


@jit
def _measure_words(data: Bytes, start: int, stop: int, at: int, work: Workspace, row: Any) -> tuple[int, int, int]:
    """Count a line's words, starting `at` characters into the text.

    Returns (words, longest, set of phrase kinds found as bits).
    """
    flags = work.flags
    seen = row.seen_words
    n = total = with_letter = longest = kinds = stops = 0
    nav_word = -1  # index of the last word of a phrase that must close the line
    after_number = False
    i = start
    while True:
        word, end, skipped, chars, h, has_letter, i, passed = _next_word(data, i, stop, flags)
        if word < 0:
            break
        n += 1
        total += chars
        with_letter += has_letter
        longest = max(longest, chars)
        if seen < work.words.size:
            work.words[seen] = h
            work.starts[seen] = at + skipped
            work.ends[seen] = at + skipped + chars
            seen += 1
        at += passed
        if end - word <= 4:
            stops |= _stop_word_bit(data, word, end)
        if flags[data[word]] & INITIAL:
            k = _phrase_at(data, word, stop, 0, _ANYWHERE)
            kinds |= 1 << _KIND[k] if k >= 0 else 0
        if n <= NAV_LINE_WORDS:
            k = _phrase_at(data, word, stop, _ANYWHERE, _IN_SHORT)
            if k >= 0 and _KIND[k] == _NAV_LAST:
                nav_word = n + 1
            elif k >= 0 and (n == 1 or _KIND[k] == _NAV_ANY):
                kinds |= 1 << _KIND[k]
            if n == 2 and after_number:
                kinds |= _is_counted(data, word, end) << _COUNTER
            after_number = n == 1 and _is_number(data, word, end)
    row.seen_words = seen
    row.words += n
    row.word_chars += total
    row.alpha_words += with_letter
    row.stop_words |= stops
    kinds |= (nav_word == n) << _NAV_LAST
    return n, longest, kinds


@jit
def _is_counted(data: Bytes, start: int, end: int) -> bool:
    """Whether the bytes are one of the words that follow a number under a post, such as likes."""
    for k in range(_IN_SHORT, _SIZE.size):
        if _SIZE[k] == end - start and _phrase_at(data, start, end, k, k + 1) == k:
            return True
    return False


@jit
def _is_number(data: Bytes, start: int, end: int) -> bool:
    """Whether the bytes are a count such as 3, 1,204 or 5.2K."""
    for i in range(start, end):
        b = data[i]
        is_unit = i == end - 1 and i > start and ((b | 32) == 107 or (b | 32) == 109)
        if not (48 <= b <= 57 or b == 44 or b == 46 or is_unit):
            return False
    return True


@jit
def _measure_line(
    data: Bytes, start: int, stop: int, at: int, work: Workspace, row: Any, short_chars: int, min_words: int
) -> tuple[Any, int]:
    """Count one line that is not blank; `start` and `stop` are its trimmed ends. Returns its hash and characters."""
    flags = work.flags
    h, chars, letters, uppers, digits, bars = _scan_line(data, start, stop, flags)
    n, longest, kinds = _measure_words(data, start, stop, at, work, row)
    last, _ = _decode(data, _back(data, start, stop), stop)
    dots = _ends_in_dots(data, start, stop)
    terminal = (flags[last] & TERMINAL) != 0
    script = (kinds >> _SCRIPT) & 1
    policy = (kinds >> _POLICY) & 1
    row.lines += 1
    row.line_chars += chars
    row.longest_line = max(row.longest_line, chars)
    row.longest_word = max(row.longest_word, longest)
    row.bullet_lines += _opens_item(data, start, stop, flags)
    row.ellipsis_lines += dots
    row.terminal_lines += terminal
    row.short_lines += chars <= short_chars
    row.few_word_lines += n < min_words
    row.long_lines += chars >= LONG_LINE_CHARS
    row.lorem |= (kinds >> _LOREM) & 1
    row.javascript_lines += script
    row.policy_lines += policy
    row.table_lines += bars >= 2
    row.code_lines += last == 59 or last == 123 or last == 125
    _flag_line(row, n, letters, uppers, digits, kinds)
    if terminal and not dots and n >= min_words and longest <= LONG_WORD_CHARS and not script and not policy:
        row.c4_lines += 1
        row.c4_chars += chars
        row.c4_sentences += _count_sentences(data, start, stop, flags)
    return h, chars


@jit
def _flag_line(row: Any, n: int, letters: int, uppers: int, digits: int, kinds: int) -> None:
    """Count the kinds of line that RefinedWeb corrects (Penedo et al. 2023, appendix G.2)."""
    upper = 2 * uppers > letters
    numeric = letters == 0 and digits > 0
    counter = (kinds >> _COUNTER) & 1 and n == 2
    nav_kinds = (1 << _NAV_FIRST) | (1 << _NAV_LAST) | (1 << _NAV_ANY)
    nav = (kinds & nav_kinds) != 0 and n <= NAV_LINE_WORDS
    row.upper_lines += upper
    row.numeric_lines += numeric
    row.counter_lines += counter
    row.one_word_lines += n == 1
    row.nav_lines += nav
    if upper or numeric or counter or n == 1 or nav:
        row.flagged_words += n


@jit
def _measure_lines(data: Bytes, lo: int, hi: int, work: Workspace, row: Any, short_chars: int, min_words: int) -> None:
    """Count lines and paragraphs, and remember the first of them."""
    i = lo
    at = 0  # characters before byte i
    paragraph = _SEED
    paragraph_chars = 0
    while i < hi:
        end, after = _find_line(data, i, hi)
        start, stop = _trim(data, i, end, work.flags)
        if start < stop:
            into = at + _count_chars(data, i, start)
            h, chars = _measure_line(data, start, stop, into, work, row, short_chars, min_words)
            if row.seen_lines < work.lines.size:
                work.lines[row.seen_lines] = h
                work.line_chars[row.seen_lines] = chars
                row.seen_lines += 1
                row.seen_line_chars += chars
            paragraph = _mix(paragraph ^ h) * _PRIME
            paragraph_chars += chars
        if paragraph_chars > 0 and (start >= stop or after >= hi):
            if row.paragraphs < work.paragraphs.size:
                work.paragraphs[row.paragraphs] = paragraph
                work.paragraph_chars[row.paragraphs] = paragraph_chars
                row.paragraphs += 1
                row.paragraph_chars += paragraph_chars
            paragraph = _SEED
            paragraph_chars = 0
        at += _count_chars(data, i, after)
        i = after


# ---------------------------------------------------------------- repetition


@jit
def _group(keys: Hashes, n: int, work: Workspace) -> int:
    """Find equal keys: groups[k] is the first equal to key k, tallies[first] how many. Returns how many differ."""
    size = 16
    while size < 2 * n:
        size *= 2
    mask = np.uint64(min(size, work.slots.size) - 1)
    slots = work.slots
    slots[: mask + np.uint64(1)] = -1
    distinct = 0
    for k in range(n):
        key = keys[k]
        at = _mix(key) & mask
        while slots[at] >= 0 and keys[slots[at]] != key:
            at = (at + np.uint64(1)) & mask
        first = slots[at]
        if first < 0:
            slots[at] = first = k
            work.tallies[k] = 0
            distinct += 1
        work.groups[k] = first
        work.tallies[first] += 1
    return distinct


@jit
def _count_repeats(keys: Hashes, sizes: Ints, n: int, work: Workspace) -> tuple[int, int]:
    """Count the items that occurred before, and their characters."""
    _group(keys, n, work)
    repeats = 0
    chars = 0
    for k in range(n):
        if work.groups[k] != k:
            repeats += 1
            chars += sizes[k]
    return repeats, chars


@jit
def _keep_repeated(n: int, work: Workspace) -> int:
    """Keep the n-grams that occur twice or more: only they can be part of a longer one that does."""
    kept = 0
    for k in range(n):
        first = work.groups[k]
        if work.tallies[first] > 1:
            work.spots[kept] = work.spots[k]
            work.keys[kept] = first
            kept += 1
    return kept


@jit
def _lengthen(n: int, work: Workspace) -> int:
    """Make n-grams out of neighbouring (n-1)-grams: both halves' identities, packed, are the key."""
    made = 0
    for k in range(n - 1):
        if work.spots[k + 1] == work.spots[k] + 1:
            key = (work.keys[k] << _S32) | work.keys[k + 1]
            work.spots[made] = work.spots[k]
            work.keys[made] = key
            made += 1
    return made


@jit
def _covered(n: int, length: int, only: int, work: Workspace) -> int:
    """Characters inside repeats of n-grams, none counted twice: all but first occurrences, or all of group `only`."""
    covered = 0
    last = 0
    for k in range(n):
        first = work.groups[k]
        if (only < 0 and first != k) or (only >= 0 and first == only):
            start = max(work.starts[work.spots[k]], last)
            last = work.ends[work.spots[k] + length - 1]
            covered += last - start
    return covered


@jit
def _top(n: int, length: int, work: Workspace) -> int:
    """First position of the n-gram that occurs most often, the longest among equals; -1 if none occurs twice."""
    best = -1
    most = 1
    longest = 0
    for k in range(n):
        tally = work.tallies[k]
        if work.groups[k] != k or tally < 2 or tally < most:
            continue
        chars = work.ends[work.spots[k] + length - 1] - work.starts[work.spots[k]]
        if tally > most or chars > longest:
            best, most, longest = k, tally, chars
    return best


@jit
def _repeated_chars(length: int, n: int, work: Workspace) -> int:
    """Gopher's measure for one length of n-gram: the commonest up to 4 words, all repeats from 5 on."""
    if length > 4:
        return _covered(n, length, -1, work)
    top = _top(n, length, work)
    return _covered(n, length, top, work) if top >= 0 else 0


@jit
def _measure_repetition(work: Workspace, row: Any) -> None:
    """Count repeated lines, paragraphs and n-grams (Rae et al. 2021, table A1)."""
    row.dup_lines, row.dup_line_chars = _count_repeats(work.lines, work.line_chars, row.seen_lines, work)
    row.dup_paragraphs, row.dup_paragraph_chars = _count_repeats(
        work.paragraphs, work.paragraph_chars, row.paragraphs, work
    )
    n = row.seen_words
    row.seen_chars = row.chars if row.words == n else work.ends[n - 1]
    row.distinct_words = _group(work.words, n, work)
    repeated = 0.0
    for k in range(n):
        work.spots[k] = k
        if work.groups[k] == k and work.tallies[k] > 1:
            repeated += work.tallies[k] * np.log2(work.tallies[k])
    row.word_bits = max(np.log2(n) - repeated / n, 0.0) if n else 0.0
    n = _keep_repeated(n, work)
    for length in range(2, 11):
        n = _lengthen(n, work)
        _group(work.keys, n, work)
        chars = _repeated_chars(length, n, work)
        if length == 2:
            row.top2 = chars
        elif length == 3:
            row.top3 = chars
        elif length == 4:
            row.top4 = chars
        elif length == 5:
            row.dup5 = chars
        elif length == 6:
            row.dup6 = chars
        elif length == 7:
            row.dup7 = chars
        elif length == 8:
            row.dup8 = chars
        elif length == 9:
            row.dup9 = chars
        else:
            row.dup10 = chars
        n = _keep_repeated(n, work)
        if n < 2:
            break


@jit
def measure(
    data: Bytes, offsets: Ints, valid: Mask, work: Workspace, out: Any, short_chars: int, min_words: int
) -> None:
    """Count everything in every document.

    data: [bytes] uint8; offsets: [docs + 1] int64; valid: [docs] bool; out: [docs] COUNTS, zeroed.
    """
    for d in range(valid.size):
        if not valid[d]:
            continue
        lo = offsets[d]
        hi = offsets[d + 1]
        row = out[d]
        _measure_chars(data, lo, hi, work.flags, work.hist, row)
        _measure_lines(data, lo, hi, work, row, short_chars, min_words)
        row.sentences = _count_sentences(data, lo, hi, work.flags)
        _measure_repetition(work, row)
