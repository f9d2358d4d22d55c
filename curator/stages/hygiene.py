"""Text hygiene: what is broken in a text, what nobody sees in it, and how much that could carry.

Nothing is repaired here: measures see the text as it came. `[mixture] repair` in a recipe says what is done to the
documents that are drawn (`curator.repair`).

How things are counted:

- **Mojibake** is UTF-8 that was read as Windows-1252 or Latin-1: a letter from Â to ô and the one to three characters
  that such a misreading makes of the rest of a UTF-8 sequence ("Ã©", "â€™", "ðŸ˜€"). Good text holds such pairs too
  ("café »", "Spaß“"), so a sequence counts when one of its characters does not ordinarily follow a letter, when
  it touches another sequence, when it is a capital in the middle of a word in small letters, or Â or Ã where a word
  begins; any other counts only in a text where at least as much is mojibake beyond doubt. So do C1 controls, which are Windows-1252
  read as Latin-1, NEL among them. Other pairs of encodings (Windows-1251, Mac Roman, Shift JIS) are not looked for.
- **Invisible characters** count where nothing needs them. At home are: joiners in the scripts they shape and in emoji,
  zero width spaces in scripts written without spaces, invisible operators of formulas one at a time, variation selectors
  after what has variants, tags in the flags of regions, directional marks in texts with right-to-left
  letters, and a byte order mark at the very start. The tags that a flag leaves behind when its emoji is taken
  out count, but spell nothing.
- **A word** is a run of letters and marks. It poses as another one when it mixes Latin with Cyrillic or Greek letters
  and all those of one script are drawn like the other's ("pаypal" with a Cyrillic а). That need not be deceit: web text in
  Uzbek, Turkmen and Chuvash is often half transcribed.
- **Payload** is an upper bound, not a finding. Of a text of N characters with n1, n2, … characters in groups that
  have a1, a2, … members, log2(N! / (n1! n2! … (N - n1 - n2 - …)!)) + n1 log2 a1 + n2 log2 a2 + … bits can be read:
  where the characters stand, and which each of them is. Characters that are at home carry nothing in this count.

A fraction of an empty text is 0. A null text has null signals.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curator.schema import field
from curator.stages import Measure, Stage
from curator.stages._hygiene_classes import (
    BIDI,
    BOM,
    BREAK,
    DIRECTION,
    EXOTIC_SPACE,
    FILLER,
    GRAPHEME,
    IDEOGRAPHIC,
    JOINER,
    OPERATOR,
    SELECTOR,
    TAG,
    ZERO_WIDTH,
    class_table,
)
from curator.stages._hygiene_kernels import COUNTS, placings_bits, scan, scan_all
from curator.text import Utf8, utf8_view

HIDDEN_CHARS: Final = 200  # of a hidden message are shown

Counts = npt.NDArray[Any]  # [docs] COUNTS

_FRACTIONS: Final = {
    "mojibake_fraction": ("mojibake", "characters in UTF-8 sequences read as Windows-1252, and C1 controls"),
    "control_fraction": (
        "controls",
        "control characters: C0 without tab and line ends, delete, C1",
    ),
    "replacement_fraction": ("replacements", "U+FFFD, which stands for what a decoder could not read"),
}
_NUMBERS: Final = {
    "n_zero_width": ("zero_width", "zero-width and other invisible characters where no script, emoji or formula needs them"),
    "n_soft_hyphens": ("soft_hyphens", "soft hyphens"),
    "n_tag_chars": ("tags", "invisible tag characters U+E0000 to U+E007F outside flags of regions"),
    "n_variation_selectors": ("selectors", "variation selectors after characters that have no variants"),
    "n_bidi_controls": ("bidi", "bidirectional embeddings, overrides and isolates, their ends included"),
    "n_bidi_overrides": ("overrides", "bidirectional overrides, which show text in another order than it is stored in"),
    "n_bidi_unbalanced": ("unbalanced", "bidirectional controls without their beginning or end in the same line"),
    "n_homoglyph_words": ("homoglyph_words", "words that mix Latin with Cyrillic or Greek letters drawn alike"),
    "n_private_use": ("private", "private-use characters, which mean nothing without their font"),
    "n_noncharacters": ("noncharacters", "code points that are never a character"),
    "n_exotic_spaces": ("exotic_spaces", "spaces of typographic widths, U+2000 to U+200A, U+205F and U+1680"),
    "n_trailing_blanks": ("trailing", "spaces and tabs at the ends of lines"),
}  # fmt: skip


@dataclass(frozen=True)
class Hygiene(Stage):
    """Measure broken encoding, invisible characters, look-alike letters and what they could carry."""

    name: ClassVar[str] = "hygiene"
    version: ClassVar[str] = "1"
    needs: ClassVar[pa.Schema] = pa.schema([("text", pa.large_string())])

    @property
    def adds(self) -> pa.Schema:
        """Fractions of the characters, counts, bounds in bits, and what is spelt in invisible characters."""
        return pa.schema(
            [
                *(field(name, pa.float64(), f"share of characters: {doc}") for name, (_, doc) in _FRACTIONS.items()),
                *(field(name, pa.int64(), doc) for name, (_, doc) in _NUMBERS.items()),
                field(
                    "hidden_payload_bits",
                    pa.float64(),
                    "bits that the invisible characters could carry at most, by their places and kinds",
                ),
                field(
                    "layout_payload_bits",
                    pa.float64(),
                    "bits that blanks at line ends, exotic spaces and soft hyphens could carry at most; mostly innocent",
                ),
                field(
                    "n_hidden_text_chars",
                    pa.int64(),
                    "printable characters that tag characters and variation selectors spell",
                ),
                field(
                    "hidden_text",
                    pa.string(),
                    f"what they spell, its first {HIDDEN_CHARS} characters; null where they spell nothing",
                ),
            ]
        )

    def weights(self) -> dict[str, str]:
        """The table of character classes: it follows the Unicode version of the running Python."""
        return {"unicode": unicodedata.unidata_version}

    def open(self) -> Measure:
        """Build the table of character classes; compiling happens at the first batch ever, then is cached on disk."""
        table, schema = class_table(), self.adds
        hidden_bits, layout_bits = _alphabets(table)

        def run(batch: pa.RecordBatch) -> pa.RecordBatch:
            view = utf8_view(batch.column("text"))
            counts = count(view, table)
            nulls = ~view.valid
            columns = [_fraction(counts, what, nulls) for what, _ in _FRACTIONS.values()]
            columns += [pa.array(counts[what], mask=nulls) for what, _ in _NUMBERS.values()]
            columns += [pa.array(_payload(counts, bits), mask=nulls) for bits in (hidden_bits, layout_bits)]
            return pa.record_batch([*columns, *_hidden(view, counts, table, nulls)], schema=schema)

        return run


def count(view: Utf8, table: npt.NDArray[np.uint32]) -> Counts:
    """Count what every text holds; null rows stay 0.  # [docs] COUNTS"""
    counts = np.zeros(len(view.valid), COUNTS)
    scan_all(view.data, view.offsets, view.valid, table, np.empty(0, np.uint8), counts)
    return counts


def _fraction(counts: Counts, what: str, nulls: npt.NDArray[np.bool_]) -> pa.Array:
    return pa.array(counts[what] / np.maximum(counts["chars"], 1), mask=nulls)


def _alphabets(table: npt.NDArray[np.uint32]) -> tuple[dict[str, float], dict[str, float]]:
    """Bits that the choice of one character carries: log2 of how many characters each group has."""
    kinds = np.bincount(table & 0xFF)

    def bits(*members: int) -> float:
        return float(np.log2(sum(kinds[kind] for kind in members)))

    hidden = {
        "zero_width": bits(ZERO_WIDTH, BREAK, JOINER, FILLER, OPERATOR, GRAPHEME, BOM, DIRECTION),
        "tags": bits(TAG),
        "selectors": bits(SELECTOR, IDEOGRAPHIC),
        "bidi": bits(BIDI),
    }
    return hidden, {"trailing": 1.0, "exotic_spaces": bits(EXOTIC_SPACE), "soft_hyphens": 0.0}


def _payload(counts: Counts, bits: dict[str, float]) -> npt.NDArray[np.float64]:
    """Upper bound in bits; see the module's docstring for the formula.  # [docs]"""
    groups = np.stack([counts[what] for what in bits], axis=1)
    found = np.zeros(len(counts))
    placings_bits(np.ascontiguousarray(counts["chars"]), groups, np.array(list(bits.values())), found)
    return found.round(2)


def _hidden(
    view: Utf8, counts: Counts, table: npt.NDArray[np.uint32], nulls: npt.NDArray[np.bool_]
) -> tuple[pa.Array, pa.Array]:
    """Length and beginning of what each text spells in invisible characters; only texts that have such are looked at."""
    sizes = counts["tags"] + counts["selectors"]
    lengths, shown = np.zeros(len(sizes), np.int64), np.full(len(sizes), None, object)
    for row in np.flatnonzero(sizes):
        spelt, found = np.zeros(int(sizes[row]), np.uint8), np.zeros(1, COUNTS)
        scan(view.data, view.offsets[row], view.offsets[row + 1], table, found[0], spelt, np.empty(0, np.uint8))
        message = printable(spelt[: found["spelt"][0]].tobytes())
        lengths[row], shown[row] = len(message), message[:HIDDEN_CHARS] or None
    return pa.array(lengths, mask=nulls), pa.array(shown, pa.string())


def printable(utf8: bytes) -> str:
    """The characters of a hidden message that a person can read; noise in other bytes is passed over."""
    return "".join(char for char in utf8.decode("utf-8", "ignore") if char.isprintable())
