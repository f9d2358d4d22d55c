"""Repair texts on their way into the mixture, if the recipe says so; what was measured and kept is the text as it came.

`[mixture] repair` names one step, or several in the order in which they are taken:

- `nfc`: Unicode normal form C, one code point for what can be written as one;
- `invisible`: drops what the stage `hygiene` counts as unseen (zero-width characters that nothing needs, tags, variation
  selectors, bidirectional controls), soft hyphens, noncharacters, and ASCII controls other than tab, form feed and line ends;
- `ftfy`: mends broken encoding (Speer 2019, doi:10.5281/zenodo.2591652). Quotes, ligatures, widths, HTML entities and line ends
  are style, not damage, and stay as they are.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from typing import Final

import ftfy
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curator import schema
from curator.ids import text_hash
from curator.stages._hygiene_classes import class_table
from curator.stages._hygiene_kernels import COUNTS, clean_into
from curator.stages.hygiene import Hygiene
from curator.text import utf8_view

# A text of nothing else passes every step unchanged.
_NOT_PLAIN: Final = r"[^\t\n\f\r -~]"

_FTFY: Final = ftfy.TextFixerConfig(
    unescape_html=False,
    fix_latin_ligatures=False,
    fix_character_width=False,
    uncurl_quotes=False,
    fix_line_breaks=False,
    normalization=None,
    explain=False,
)


def _nfc(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _invisible(text: str) -> str:
    data = np.frombuffer(text.encode(), np.uint8)
    out, row = np.empty(len(data), np.uint8), np.zeros(1, COUNTS)
    marks, nothing = np.zeros(len(data), np.uint8), np.empty(0, np.uint8)
    size = clean_into(data, 0, len(data), class_table(), row[0], nothing, marks, out)
    return out[:size].tobytes().decode()


def _mended(text: str) -> str:
    return ftfy.fix_text(text, _FTFY)


STEPS: Final[dict[str, Callable[[str], str]]] = {"nfc": _nfc, "invisible": _invisible, "ftfy": _mended}


def versions(steps: Sequence[str]) -> list[str]:
    """What the outcome of these steps depends on beside the text: their names, in order, and what is behind them."""
    behind = {"nfc": unicodedata.unidata_version, "invisible": Hygiene().fingerprint(), "ftfy": ftfy.__version__}
    return [f"{step} {behind[step]}" for step in steps]


def repaired(texts: pa.LargeStringArray, steps: Sequence[str]) -> pa.LargeStringArray:
    """Put every text through the steps, in their order; plain ASCII is not touched.  # [docs]"""
    suspects = pc.fill_null(pc.match_substring_regex(texts, _NOT_PLAIN), False)
    found = texts.filter(suspects).to_pylist()
    for step in steps:
        found = [STEPS[step](text) for text in found]
    return pc.replace_with_mask(texts, suspects, pa.array(found, texts.type))


def text_hashes(texts: pa.LargeStringArray) -> pa.FixedSizeBinaryArray:
    """The hash of every text, as the stage `exact` has it; null for a null.  # [docs] binary(16)"""
    view = utf8_view(texts)
    memory, ends = view.data.data, view.offsets.tolist()
    rows = zip(ends[:-1], ends[1:], view.valid.tolist(), strict=True)
    hashes = [text_hash(memory[start:end]) if known else None for start, end, known in rows]
    return pa.array(hashes, schema.UUID)


REPAIRED: Final = pa.schema(
    [
        schema.field("text_hash", schema.UUID, "16-byte hash of the text as it stands here, after its repair"),
        schema.field("original_text_hash", schema.UUID, "16-byte hash of the text as it came, before its repair"),
    ]
)


def repaired_columns(texts: pa.LargeStringArray, steps: Sequence[str]) -> dict[str, pa.Array]:
    """The repaired texts, their hashes and the hashes of the originals, by column."""
    mended = repaired(texts, steps)
    return {"text": mended, "text_hash": text_hashes(mended), "original_text_hash": text_hashes(texts)}
