"""The cheap path to origin: hashed n-grams of words and marks, and style rates, on every document.

One compiled kernel reads Arrow's UTF-8 buffers, folds the typesetting away (`curator.style`), and adds
up the weights of hashed n-grams; a small network judges the style rates; one line fuses the two logits.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curator.ids import fingerprint
from curator.kernels import kernel
from curator.schema import field
from curator.stages import Measure, Stage, _detector
from curator.stages._detector import Shape
from curator.style import DIGIT, LOWER, PREFIX, SPACE, UPPER, Codepoints, fold_part, tables, utf8

Floats = npt.NDArray[np.float64]
Weights = npt.NDArray[np.float32]
Hashes = npt.NDArray[np.uint64]
Net = tuple[
    Floats, Floats, Floats, Floats, Floats, float
]  # mean, scale, hidden [units, STYLES], its bias, top, its bias
Scratch = tuple[Any, ...]  # codepoints, starts, stops and hashes of tokens, buckets, `seen`, style rates

BITS: Final = 21  # n-grams alone on sets left out: AUROC 0.923 with 2^18 buckets, 0.931 with 2^20, 0.934 with 2^22
BUCKETS: Final = 1 << BITS
WORD_ORDERS: Final = 3
FULL_GRAMS: Final = (
    1_200  # evidence grows with the square root of a text's n-grams up to here (400 tokens), then it is a mean
)
MIN_WORDS: Final = 60  # below this nothing judges origin reliably
WINDOW_WORDS: Final = 350  # about as long as the texts that the weights were trained on, 60 to 400 words
MAX_WINDOWS: Final = 32  # of a document, evenly spread, so that none stalls a job
_SLICE: Final = 2_304  # folded codepoints of a window of a document longer than PREFIX: about 390 words of English
_BYTES_A_WINDOW: Final = 500  # a window has at least this many: words take two each
MIN_WORD_SHARE: Final = 0.60  # of tokens that are words: prose has 0.8 to 0.9, code and tables less than 0.6

_FNV_START: Final = np.uint64(0xCBF29CE484222325)
_FNV_PRIME: Final = np.uint64(0x100000001B3)
_NUMBER: Final = np.uint64(0x9AE16A3B2F90404F)
_ORDER_SALT: Final = np.uint64(0x9E3779B97F4A7C15)
_MIX_A: Final = np.uint64(0xBF58476D1CE4E5B9)
_SHIFT_31: Final = np.uint64(31)
_BUCKET_SHIFT: Final = np.uint64(64 - BITS)

_SUFFIXES: Final = tuple(
    "ing ed ly tion sion ity ment ness ous ive al er est s ize ise ful able ible ism ence ance ent ant ate ic".split()  # noqa: SIM905
)
_MARKS: Final = ",.?!;:\"'()-/&%$+="
STYLE_NAMES: Final = (
    *(f"mark {mark}" for mark in _MARKS),
    "other mark",
    "ellipsis",
    "spaced dash",
    "numbers",
    "capitals inside sentences",
    "words all in capitals",
    "I",
    "contractions",
    *(f"words of {n} letters" for n in range(1, 12)),
    "words of 12 letters and more",
    "mean word length",
    "deviation of word length",
    "mean sentence length",
    "deviation of sentence length",
    "relative deviation of sentence length",
    "short sentences",
    "long sentences",
    "change between neighbouring sentences",
    "sentences that start in lower case",
    "sentences that start with a conjunction",
    "sentences that start with the",
    "deviation of commas by sentence",
    "distinct words in 50",
    "distinct words in 100",
    "words met once in 100",
    "repeated pairs in 100",
    "vowels",
    *(f"words in -{suffix}" for suffix in _SUFFIXES),
)
STYLES: Final = len(STYLE_NAMES)
_N_MARKS: Final = len(_MARKS)
_N_SUFFIXES: Final = len(_SUFFIXES)
_MARK_CODES: Final = np.array([ord(mark) for mark in _MARKS], np.int32)
_SUFFIX_TAILS: Final = np.array([sum(ord(c) << 16 * i for i, c in enumerate(s[::-1])) for s in _SUFFIXES], np.uint64)
_SUFFIX_MASKS: Final = np.array([(1 << 16 * len(s)) - 1 for s in _SUFFIXES], np.uint64)


def _jit(function: Any) -> Any:
    return kernel(function, error_model="python")


@_jit
def _bucket(mixed: np.uint64) -> np.int64:
    mixed = (mixed ^ (mixed >> _SHIFT_31)) * _MIX_A
    return np.int64(mixed >> _BUCKET_SHIFT)


@_jit
def _kind_of(code: int, kind: npt.NDArray[np.uint8]) -> int:
    return int(kind[code]) if code < 65_536 else 1


@_jit
def split_tokens(
    codes: Codepoints,
    n: int,
    lower: Codepoints,
    kind: npt.NDArray[np.uint8],
    starts: npt.NDArray[np.int32],
    stops: npt.NDArray[np.int32],
    hashes: Hashes,
) -> int:
    """Cut folded codepoints into words, numbers and single marks; return how many there are.

    A word is a run of letters with apostrophes inside it; its hash is FNV-1a of its lower case.
    Every number has the same hash, so that no date or amount can be learnt.
    """
    i = m = 0
    while i < n:
        sort = _kind_of(codes[i], kind)
        start = i
        if sort == SPACE:
            i += 1
            continue
        hashed = _FNV_START
        if sort == LOWER or sort == UPPER:  # noqa: SIM109
            while i < n:
                sort = _kind_of(codes[i], kind)
                inner = codes[i] == 39 and i + 1 < n and 1 <= _kind_of(codes[i + 1], kind) <= 2
                if not (sort == LOWER or sort == UPPER or inner):  # noqa: SIM109
                    break
                small = lower[codes[i]] if codes[i] < 65_536 else codes[i]
                hashed = (hashed ^ np.uint64(small)) * _FNV_PRIME
                i += 1
        elif sort == DIGIT:
            while i < n and _kind_of(codes[i], kind) == DIGIT:
                i += 1
            hashed = _NUMBER
        else:
            hashed = (hashed ^ np.uint64(codes[i])) * _FNV_PRIME
            i += 1
        starts[m], stops[m], hashes[m] = start, i, hashed
        m += 1
    return m


@_jit
def word_buckets(hashes: Hashes, m: int, out: npt.NDArray[np.int32]) -> int:
    """Write the buckets of all 1- to 3-grams of tokens into `out`; return how many."""
    k = 0
    for j in range(m):
        gram = np.uint64(0)
        for order in range(WORD_ORDERS):
            if j < order:
                break
            gram = (gram + hashes[j - order]) * _FNV_PRIME + _ORDER_SALT
            out[k] = _bucket(gram)
            k += 1
    return k


@_jit
def evidence(weights: Weights, buckets: npt.NDArray[np.int32], k: int) -> float:
    """Add the weights of k buckets, scaled so that evidence grows with √k up to FULL_GRAMS and not beyond."""
    if k == 0:
        return 0.0
    total = 0.0
    for j in range(k):
        total += np.float64(weights[buckets[j]])
    return float(total * np.sqrt(np.float64(min(k, FULL_GRAMS))) / k)


@_jit
def _ends_sentence(code: int) -> bool:
    return code == 46 or code == 33 or code == 63


@_jit
def style_rates(
    codes: Codepoints,
    m: int,
    kind: npt.NDArray[np.uint8],
    lower: Codepoints,
    starts: npt.NDArray[np.int32],
    stops: npt.NDArray[np.int32],
    hashes: Hashes,
    seen: npt.NDArray[np.int64],
    out: Floats,
) -> int:
    """Write the style rates of m tokens into `out` ([STYLES] float64, in the order of STYLE_NAMES); return the words.

    Every rate is by word, by sentence or by a window of fixed length: none grows with the text.
    `seen` is scratch: three tables of 1,024 int64.
    """
    out[:] = 0.0
    marks = _N_MARKS
    at_numbers = marks + 3
    at_lengths = marks + 8
    at_means = at_lengths + 12
    at_suffixes = at_means + 17
    words = sentences = length = vowels = letters = 0
    commas = 0
    square = sum_s = square_s = jump = sum_c = square_c = 0.0
    previous = -1
    opening = True
    for j in range(m):
        first = codes[starts[j]]
        sort = _kind_of(first, kind)
        size = stops[j] - starts[j]
        if sort == LOWER or sort == UPPER:  # noqa: SIM109
            words += 1
            length += 1
            letters += size
            square += size * size
            out[at_lengths + min(size, 12) - 1] += 1
            capitals = 0
            quoted = False
            for i in range(starts[j], stops[j]):
                code = codes[i]
                if code == 39:
                    quoted = True
                if _kind_of(code, kind) == UPPER:
                    capitals += 1
                small = code | 32
                if small == 97 or small == 101 or small == 105 or small == 111 or small == 117:
                    vowels += 1
            if sort == UPPER and not opening and not (size == 1 and first == 73):
                out[at_numbers + 1] += 1
            if capitals == size and size > 1:
                out[at_numbers + 2] += 1
            if size == 1 and first == 73:
                out[at_numbers + 3] += 1
            if quoted:
                out[at_numbers + 4] += 1
            if opening:
                opening = False
                out[at_means + 8] += sort == LOWER
                out[at_means + 9] += _is_conjunction(codes, starts[j], stops[j])
                out[at_means + 10] += _is_the(codes, starts[j], stops[j])
            _count_suffix(codes, starts[j], stops[j], lower, at_suffixes, out)
        elif sort == DIGIT:
            out[at_numbers] += 1
        else:
            _count_mark(codes, j, m, starts, marks, out)
            commas += first == 44
            ends = _ends_sentence(first) and (j + 1 == m or not _ends_sentence(codes[starts[j + 1]]))
            if ends and length > 0:
                sentences += 1
                sum_s += length
                square_s += length * length
                sum_c += commas
                square_c += commas * commas
                out[at_means + 5] += length <= 6
                out[at_means + 6] += length >= 30
                if previous >= 0:
                    jump += abs(length - previous)
                previous = length
                length = commas = 0
                opening = True
    if words == 0:
        return 0
    for i in range(at_means):
        out[i] /= words
    for i in range(at_suffixes, STYLES):
        out[i] /= words
    mean = letters / words
    out[at_means] = mean
    out[at_means + 1] = np.sqrt(max(0.0, square / words - mean * mean))
    if sentences > 0:
        mean_s = sum_s / sentences
        deviation = np.sqrt(max(0.0, square_s / sentences - mean_s * mean_s))
        out[at_means + 2] = min(mean_s, 100.0)
        out[at_means + 3] = min(deviation, 100.0)
        out[at_means + 4] = deviation / mean_s
        out[at_means + 7] = jump / (mean_s * sentences)
        for i in (5, 6, 8, 9, 10):
            out[at_means + i] /= sentences
        mean_c = sum_c / sentences
        out[at_means + 11] = np.sqrt(max(0.0, square_c / sentences - mean_c * mean_c))
    _window_rates(hashes, m, codes, starts, kind, seen, at_means + 12, out)
    out[at_means + 16] = vowels / max(1, letters)
    return words


@_jit
def _count_mark(codes: Codepoints, j: int, m: int, starts: npt.NDArray[np.int32], marks: int, out: Floats) -> None:
    place = starts[j]
    code = codes[place]
    for k in range(marks):
        if code == _MARK_CODES[k]:
            out[k] += 1
            if code == 45 and place > 0 and codes[place - 1] == 32:
                out[marks + 2] += 1
            if code == 46 and place > 1 and codes[place - 1] == 46 and codes[place - 2] == 46:
                out[marks + 1] += 1
            return
    out[marks] += 1


@_jit
def _count_suffix(codes: Codepoints, start: int, stop: int, lower: Codepoints, at: int, out: Floats) -> None:
    """Count the suffixes of a word that is longer than they are, by its last four letters, 16 bits each."""
    tail = np.uint64(0)
    for i in range(max(start + 1, stop - 4), stop):
        code = codes[i]
        small = lower[code] if code < 65_536 else 0xFFFF
        tail = (tail << np.uint64(16)) | np.uint64(small)
    for k in range(_N_SUFFIXES):
        out[at + k] += (tail & _SUFFIX_MASKS[k]) == _SUFFIX_TAILS[k]


@_jit
def _is_conjunction(codes: Codepoints, start: int, stop: int) -> bool:
    size = stop - start
    first, second = codes[start] | 32, codes[start + 1] | 32 if size > 1 else 0
    last = codes[stop - 1] | 32
    if size == 3:
        return (first == 97 and second == 110 and last == 100) or (first == 98 and second == 117 and last == 116)
    return size == 2 and ((first == 115 and last == 111) or (first == 111 and last == 114))


@_jit
def _is_the(codes: Codepoints, start: int, stop: int) -> bool:
    return (
        stop - start == 3 and codes[start] | 32 == 116 and codes[start + 1] | 32 == 104 and codes[start + 2] | 32 == 101
    )


@_jit
def _window_rates(
    hashes: Hashes,
    m: int,
    codes: Codepoints,
    starts: npt.NDArray[np.int32],
    kind: npt.NDArray[np.uint8],
    seen: npt.NDArray[np.int64],
    at: int,
    out: Floats,
) -> None:
    """Count distinct words in windows of 50 and 100 words, words met once and repeated pairs in 100.

    Hash tables of 1,024 slots, told apart by the number of the window they were written in.
    """
    seen[:] = -1
    words = windows_50 = windows_100 = 0
    new_50 = new_100 = once = pairs = 0
    full_50 = full_100 = full_once = full_pairs = 0
    before = np.uint64(0)
    for j in range(m):
        sort = _kind_of(codes[starts[j]], kind)
        if sort != LOWER and sort != UPPER:
            continue
        slot = np.int64(hashes[j] >> np.uint64(54))
        if seen[slot] != windows_50:
            seen[slot] = windows_50
            new_50 += 1
        entry = seen[1024 + slot]
        if entry >> 2 != windows_100 or entry < 0:
            seen[1024 + slot] = windows_100 << 2 | 1
            new_100 += 1
            once += 1
        elif entry & 3 == 1:
            seen[1024 + slot] = windows_100 << 2 | 2
            once -= 1
        pair = np.int64(((before + hashes[j]) * _MIX_A) >> np.uint64(54))
        if seen[2048 + pair] == windows_100:
            pairs += 1
        seen[2048 + pair] = windows_100
        before = hashes[j] * _FNV_PRIME
        words += 1
        if words % 50 == 0:
            windows_50 += 1
            full_50 += new_50
            new_50 = 0
        if words % 100 == 0:
            windows_100 += 1
            full_100 += new_100
            full_once += once
            full_pairs += pairs
            new_100 = once = pairs = 0
    out[at] = full_50 / (50.0 * windows_50) if windows_50 > 0 else 0.8
    out[at + 1] = full_100 / (100.0 * windows_100) if windows_100 > 0 else 0.7
    out[at + 2] = full_once / (100.0 * windows_100) if windows_100 > 0 else 0.55
    out[at + 3] = full_pairs / (100.0 * windows_100) if windows_100 > 0 else 0.15


@_jit
def style_logit(
    rates: Floats, mean: Floats, scale: Floats, hidden: Floats, hidden_bias: Floats, top: Floats, top_bias: float
) -> float:
    """Judge style rates by one layer of tanh units; plain loops, so that the answer has the same bits in every batch."""
    total = top_bias
    for unit in range(hidden_bias.size):
        drive = hidden_bias[unit]
        for i in range(rates.size):
            drive += hidden[unit, i] * min(4.0, max(-4.0, (rates[i] - mean[i]) / scale[i]))
        total += top[unit] * np.tanh(drive)
    return total


@_jit
def _window_stop(codes: Codepoints, starts: npt.NDArray[np.int32], m: int, stop: int) -> int:
    """Move a window's stop past the end of the sentence, where one ends within 64 tokens."""
    for j in range(stop, min(m, stop + 64)):
        if _ends_sentence(codes[starts[j]]):
            return j + 1
    return stop


@_jit
def _slice_start(data: npt.NDArray[np.uint8], i: int, end: int) -> int:
    """Move into a document to the byte after the next white space, where one is near, else to the next character."""
    for j in range(i, min(end, i + 200)):
        if data[j] <= 32:
            return j + 1
    while i < end and data[i] & 0xC0 == 0x80:
        i += 1
    return i


@_jit
def _judge_tokens(
    scratch: Scratch,
    kind: npt.NDArray[np.uint8],
    lower: Codepoints,
    first: int,
    stop: int,
    weights: Weights,
    net: Net,
    experts: Weights,
    out: Floats,
) -> None:
    """Judge tokens first:stop as one text.  # out: [4 + experts]: n-gram evidence, style logit, words, tokens, experts'"""
    codes, all_starts, all_stops, all_hashes, buckets, seen, rates = scratch
    starts, stops, hashes = all_starts[first:stop], all_stops[first:stop], all_hashes[first:stop]
    m = stop - first
    k = word_buckets(hashes, m, buckets)
    out[0] = evidence(weights, buckets, k)
    words = style_rates(codes, m, kind, lower, starts, stops, hashes, seen, rates)
    out[1] = style_logit(rates, net[0], net[1], net[2], net[3], net[4], net[5])
    out[2], out[3] = words, m
    for expert in range(experts.shape[0]):
        out[4 + expert] = evidence(experts[expert], buckets, k)


@_jit
def _judge(
    data: npt.NDArray[np.uint8],
    offsets: npt.NDArray[np.int64],
    known: npt.NDArray[np.bool_],
    table: Codepoints,
    lower: Codepoints,
    kind: npt.NDArray[np.uint8],
    weights: Weights,
    net: Net,
    experts: Weights,
    ends: npt.NDArray[np.int64],
    out: Floats,
) -> None:
    """Judge the windows of each document: out[ends[row]:ends[row + 1]] are those of a row, none where it is null."""
    codes = np.empty(PREFIX + 8, np.int32)
    starts, stops = np.empty(PREFIX + 8, np.int32), np.empty(PREFIX + 8, np.int32)
    hashes = np.empty(PREFIX + 8, np.uint64)
    buckets = np.empty(WORD_ORDERS * (PREFIX + 8), np.int32)
    scratch = (codes, starts, stops, hashes, buckets, np.empty(3 * 1024, np.int64), np.empty(STYLES))
    w = 0
    for row in range(known.size):
        ends[row] = w
        if not known[row]:
            continue
        begin, end = offsets[row], offsets[row + 1]
        n, read = fold_part(data, begin, end, table, kind, codes)
        if read < end:
            size = end - begin
            windows = min(MAX_WINDOWS, int(size * n / ((read - begin) * _SLICE)))
            for window in range(windows):
                i = begin + size * window // windows
                i = _slice_start(data, i, end) if window > 0 else i
                n = fold_part(data, i, begin + size * (window + 1) // windows, table, kind, codes[: _SLICE + 8])[0]
                m = split_tokens(codes, n, lower, kind, starts, stops, hashes)
                m -= m > 1  # the last may be cut
                _judge_tokens(scratch, kind, lower, 0, m, weights, net, experts, out[w])
                w += 1
            continue
        m = split_tokens(codes, n, lower, kind, starts, stops, hashes)
        windows = _windows(codes, starts, m, kind)
        first = 0
        for window in range(windows):
            stop = _window_stop(codes, starts, m, m * (window + 1) // windows) if window + 1 < windows else m
            _judge_tokens(scratch, kind, lower, first, stop, weights, net, experts, out[w])
            first = stop
            w += 1
    ends[known.size] = w


@_jit
def _windows(codes: Codepoints, starts: npt.NDArray[np.int32], m: int, kind: npt.NDArray[np.uint8]) -> int:
    """Say into how many windows of about WINDOW_WORDS words a text of m tokens is cut: 1 up to one and a half of them."""
    words = 0
    for j in range(m):
        sort = _kind_of(codes[starts[j]], kind)
        words += 1 if sort == LOWER or sort == UPPER else 0  # noqa: SIM109
    return min(MAX_WINDOWS, max(1, (words + WINDOW_WORDS // 2) // WINDOW_WORDS))


def mixed(logit: Floats, evidence: Floats, mix: Floats) -> Floats:
    """Mix a detector's logit with experts of single generators, as odds of a mixture of generators add up.  # [n]

    logit: [n]; evidence: [n, experts]; mix: [1 + experts, 2], the lines (slope, constant with the log of the part's
    share) that turn each into log-odds, the detector's first.  The answer is on the scale of `logit`.
    """
    slope, constant = mix[0]
    odds = slope * logit + constant
    for expert in range(evidence.shape[1]):
        odds = np.logaddexp(odds, mix[1 + expert, 0] * evidence[:, expert] + mix[1 + expert, 1])
    return np.asarray((odds - constant) / slope, np.float64)


@dataclass(frozen=True)
class Cheap:
    """The cheap path's weights: one table of bucket weights, a small network over style rates, and how they fuse."""

    table: Weights  # [BUCKETS] float32
    net: Net
    fusion: Floats  # [3] float64: weight of the n-grams, weight of the style, constant
    experts: Weights  # [experts, BUCKETS] float32: tables that `curator train ai-text` added, each for one generator
    mix: Floats  # [1 + experts, 2] float64: see `mixed`

    @staticmethod
    def of(tensors: dict[str, npt.NDArray[Any]]) -> Cheap:
        """Make it from the tensors of cheap.safetensors."""
        wide = [
            np.ascontiguousarray(tensors[name], np.float64)
            for name in ("mean", "scale", "hidden", "hidden_bias", "top")
        ]
        net = (wide[0], wide[1], wide[2], wide[3], wide[4], float(tensors["top_bias"][0]))
        experts = tensors.get("experts", np.zeros((0, BUCKETS))).astype(np.float32)
        mix = tensors.get("mix", np.array([[1.0, 0.0]])).astype(np.float64)
        return Cheap(tensors["table"].astype(np.float32), net, tensors["fusion"].astype(np.float64), experts, mix)

    def judge(self, column: pa.Array) -> Floats:
        """Measure a string column.

        # [n, 8] float64: n-gram logit, style logit, words, share of words, fused logit, windows, largest and smallest logit
        """
        ends, found = self.windows(column)
        return _combined(ends, found, self.logits(found))

    def windows(self, column: pa.Array) -> tuple[npt.NDArray[np.int64], Floats]:
        """Judge the windows of every text; those of row r are ends[r]:ends[r + 1], none where it is null.

        Returns ends [n + 1] int64 and [windows, 4 + experts] float64: n-gram evidence, style logit, words, tokens, each
        expert's evidence.
        """
        data, offsets = utf8(column)
        known = column.is_valid().to_numpy(zero_copy_only=False)
        t = tables()
        ends = np.zeros(len(column) + 1, np.int64)
        most = int(np.minimum(MAX_WINDOWS, 1 + np.diff(offsets) // _BYTES_A_WINDOW).sum())
        out = np.zeros((most, 4 + len(self.experts)))
        _judge(data, offsets, known, t.fold, t.lower, t.kind, self.table, self.net, self.experts, ends, out)
        return ends, out[: ends[-1]]

    def logits(self, found: Floats) -> Floats:
        """Fuse what was found in windows.  # [windows]"""
        logit = self.fusion[0] * found[:, 0] + self.fusion[1] * found[:, 1] + self.fusion[2]
        return mixed(logit, found[:, 4:], self.mix) if len(self.experts) else logit


def _combined(ends: npt.NDArray[np.int64], found: Floats, logit: Floats) -> Floats:
    """Make a document's figures of its windows': see `Cheap.judge`.  # [n, 8]

    Logits are means over the windows that are fit to be judged, if any is: a table at the end is no reason for a verdict.
    """
    out = np.zeros((len(ends) - 1, 8))
    rows = np.flatnonzero(np.diff(ends))
    if not len(rows):
        return out
    first = ends[rows]
    words, tokens = (np.add.reduceat(found[:, place], first) for place in (2, 3))
    fit = (found[:, 2] >= MIN_WORDS) & (found[:, 2] >= MIN_WORD_SHARE * found[:, 3])
    count = np.add.reduceat(fit.astype(np.int64), first)
    fit |= np.repeat(count == 0, np.diff(ends)[rows])
    count = np.add.reduceat(fit.astype(np.int64), first)
    for place, value in ((0, found[:, 0]), (1, found[:, 1]), (4, logit)):
        out[rows, place] = np.add.reduceat(np.where(fit, value, 0.0), first) / count
    out[rows, 2], out[rows, 3] = words, words / np.maximum(tokens, 1)
    out[rows, 5] = np.diff(ends)[rows]
    out[rows, 6] = np.maximum.reduceat(np.where(fit, logit, -np.inf), first)
    out[rows, 7] = np.minimum.reduceat(np.where(fit, logit, np.inf), first)
    return out


# Tensors of a detector's weight files; None stands for any length.
SHAPES: Final[dict[str, dict[str, Shape]]] = {
    "cheap.safetensors": {
        "table": (BUCKETS,), "mean": (STYLES,), "scale": (STYLES,), "hidden": (None, STYLES), "hidden_bias": (None,),
        "top": (None,), "top_bias": (1,), "fusion": (3,),
    },
    "encoder.safetensors": {"weight": (None,), "constant": (1,)},
}  # fmt: skip
FEATURES: Final = fingerprint([BITS, WORD_ORDERS, FULL_GRAMS, STYLE_NAMES])  # what a table and a network were made for


@functools.cache
def ai_text_config(detector: str = "default") -> dict[str, Any]:
    """Read a detector's config.toml: files and their sha256, the gate, lines and operating points."""
    return _detector.config(detector, FEATURES)


def ai_text_tensors(name: str, detector: str = "default") -> dict[str, npt.NDArray[Any]]:
    """Load one weight file of a detector once its sha256 is the pinned one."""
    found = _detector.tensors(name, detector, ai_text_config(detector)["sha256"][name], SHAPES[name])
    if "experts" in found:
        count = len(found["experts"])
        _detector.check(found, {"experts": (count, BUCKETS), "mix": (1 + count, 2)}, name, detector)
    return found


@dataclass(frozen=True)
class CheapOrigin(Stage):
    """Judge origin by n-grams and style alone: thousands of documents a second on one core.

    The logit is uncalibrated; `curator.stages.ai_text` calibrates and fuses.  A text of more than 525 words is
    judged by windows of about 350, at most 32 of them, which cover it up to 32,768 folded characters and are
    spread over it evenly beyond: its logits are their means; the largest and the smallest show mixed authorship.
    The largest of many is large by chance too: at the operating point of one window, that of 2, 4, 8, 14 and 29
    windows was wrong on 0.3, 1.2, 1.9, 3.3 and 7.3 % of human texts joined from one source, the mean on none of
    4,400.  Where a quarter of 1,400 words was a machine's, the largest found 78 % at a true 1 %, the mean 26 %.

    `detector` is "default" or a folder that `curator train ai-text` wrote; the stages embed and ai_text must name
    the same.
    """

    name: ClassVar[str] = "ngram"
    version: ClassVar[str] = "2"
    needs: ClassVar[pa.Schema] = pa.schema([pa.field("text", pa.large_string())])

    detector: str = "default"

    @property
    def adds(self) -> pa.Schema:
        """Logits of the n-grams, the style and both, the words judged, and why a text is unfit to be judged."""
        return pa.schema(
            [
                field("ai_cheap_logit", pa.float64(), "logit of machine origin by n-grams and style, uncalibrated"),
                field("ai_ngram_logit", pa.float64(), "evidence of machine origin from n-grams of words and marks"),
                field("ai_style_logit", pa.float64(), "evidence of machine origin from length-free style rates"),
                field("ai_words", pa.int32(), "words judged, after typesetting is folded away"),
                field("ai_windows", pa.int32(), "windows of the document that were judged"),
                field("ai_window_max", pa.float64(), "largest logit of a window, uncalibrated"),
                field("ai_window_min", pa.float64(), "smallest logit of a window, uncalibrated"),
                field("ai_unfit", pa.string(), "why origin cannot be judged: too_short or not_prose; null when it can"),
            ]
        )

    def weights(self) -> dict[str, str]:
        """The sha256 of cheap.safetensors."""
        return {"ai-text/cheap": ai_text_config(self.detector)["sha256"]["cheap.safetensors"]}

    def open(self) -> Measure:
        """Load the table and the network."""
        cheap = Cheap.of(ai_text_tensors("cheap.safetensors", self.detector))
        schema = self.adds

        def measure(batch: pa.RecordBatch) -> pa.RecordBatch:
            return _columns(cheap.judge(batch["text"]), batch["text"], schema)

        return measure


def unfit(words: Floats, share: Floats) -> list[str | None]:
    """Say why texts cannot be judged: fewer than 60 words, or too few words among their tokens."""
    reasons = np.where(words < MIN_WORDS, "too_short", np.where(share < MIN_WORD_SHARE, "not_prose", ""))
    return [reason or None for reason in reasons.tolist()]


def _columns(judged: Floats, text: pa.Array, schema: pa.Schema) -> pa.RecordBatch:
    missing = text.is_null().to_numpy(zero_copy_only=False)
    reasons = [None if gone else why for gone, why in zip(missing, unfit(judged[:, 2], judged[:, 3]), strict=True)]
    return pa.RecordBatch.from_arrays(
        [
            *(pa.array(judged[:, place], mask=missing) for place in (4, 0, 1)),
            *(pa.array(judged[:, place].astype(np.int32), mask=missing) for place in (2, 5)),
            *(pa.array(judged[:, place], mask=missing) for place in (6, 7)),
            pa.array(reasons, pa.string()),
        ],
        schema=schema,
    )
