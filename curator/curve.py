"""What the settings of deduplication can see: the S-curve as text, beside the settings others use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from curator.dedup import DedupParams, probability
from curator.tables import table

_BAR: Final = 40  # characters for certainty
_SHOWN: Final = (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)


class Preset(NamedTuple):
    """Bands that someone published or ships."""

    name: str
    bands: int
    rows: int
    shingles: str


PRESETS: Final = (
    Preset("FineWeb, datatrove", 14, 8, "words, 5"),  # Penedo et al. 2024, section 3.4; datatrove's MinhashConfig
    Preset("RefinedWeb", 450, 20, "words, 5"),  # Penedo et al. 2023, appendix G.3.1, after Lee et al. 2022
    Preset("NeMo Curator", 20, 13, "characters, 24"),  # fuzzy deduplication's defaults
    Preset("text-dedup", 25, 10, "words, 5"),  # datasketch's choice for its defaults: 256 hashes, 0.7
    Preset("datasketch, 128 hashes at 0.8", 9, 13, "the user's"),  # MinHashLSH(0.8, 128)
)


def similarity_at(chance: float, bands: int, rows: int) -> float:
    """The Jaccard similarity at which a pair meets with this probability: the S-curve read backwards."""
    return float((1 - (1 - chance) ** (1 / bands)) ** (1 / rows))


def one_word_in(jaccard: float, ngram: int) -> float:
    """Of how many words one can be replaced, far from the next, before similarity sinks to `jaccard`; inf at 1.

    A share c of words replaced leaves x = 1 - ngram * c of the shingles, and a similarity of x / (2 - x).
    """
    kept = 2 * jaccard / (1 + jaccard)
    return ngram / (1 - kept) if kept < 1 else float("inf")


def curve_lines(params: DedupParams, steps: int = 20) -> list[str]:
    """The S-curve of these settings with a bar for each similarity, then the usual settings beside it, as lines."""
    half = similarity_at(0.5, params.bands, params.rows)
    missed = 1 - probability(params.threshold, params.bands, params.rows)
    return [
        f"{params.bands} bands × {params.rows} rows = {params.bands * params.rows} hashes, word {params.ngram}-grams; "
        f"a pair of similarity J is compared with probability 1 - (1 - J^{params.rows})^{params.bands}",
        f"threshold {params.threshold:g}: one word in {one_word_in(params.threshold, params.ngram):.0f} replaced; "
        f"{missed:.1%} of the pairs exactly there are never compared; half are at {half:.2f}",
        "",
        *_bars(params, steps),
        "",
        *table(_rows(params)).splitlines(),
    ]


def _bars(params: DedupParams, steps: int) -> Sequence[str]:
    lines = ["   J  compared"]
    for jaccard, chance in params.curve(steps):
        kept = " duplicate if compared" if jaccard >= params.threshold else ""
        lines.append(f"{jaccard:.2f}  {chance:8.4f}  {'█' * round(_BAR * chance):<{_BAR}}{kept}".rstrip())
    return lines


def _rows(params: DedupParams) -> list[dict[str, str | int]]:
    ours = Preset("these settings", params.bands, params.rows, f"words, {params.ngram}")
    rows: list[dict[str, str | int]] = []
    for preset in (ours, *PRESETS):
        chances: dict[str, str | int] = {f"J={j:g}": f"{probability(j, preset.bands, preset.rows):.3f}" for j in _SHOWN}
        half = f"{similarity_at(0.5, preset.bands, preset.rows):.2f}"
        row: dict[str, str | int] = {"compared with": preset.name, "bands": preset.bands, "rows": preset.rows}
        row |= {"hashes": preset.bands * preset.rows, "shingles": preset.shingles, "half at": half}
        rows.append(row | chances)
    return rows
