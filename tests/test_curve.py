"""The S-curve as text: true numbers, for any settings."""

from __future__ import annotations

import datasketch.lsh
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curator.curve import PRESETS, curve_lines, one_word_in, similarity_at
from curator.dedup import DedupParams, probability


def test_the_lines_say_settings_chances_and_what_others_use() -> None:
    lines = curve_lines(DedupParams())
    assert lines[0].startswith("18 bands × 7 rows = 126 hashes, word 5-grams")
    assert "one word in 35 replaced; 7.6% of the pairs exactly there are never compared; half are at 0.63" in lines[1]
    at = {line[:4]: line for line in lines if line[:4] in ("0.70", "0.75")}
    assert "0.9241" in at["0.75"] and at["0.75"].endswith("duplicate if compared")
    assert not at["0.70"].endswith("duplicate if compared")
    for preset in PRESETS:
        assert any(line.startswith(preset.name) for line in lines)
    (fineweb,) = (line for line in lines if line.startswith("FineWeb"))
    assert fineweb.split()[-5:-3] == ["0.772", "0.924"]  # the paper states 77 % at 0.75 and 92.4 % at 0.8
    (refined,) = (line for line in lines if line.startswith("RefinedWeb"))
    assert refined.split()[1:4] == ["450", "20", "9,000"]


def test_the_presets_of_datasketch_are_what_it_chooses() -> None:
    by_name = {preset.name: (preset.bands, preset.rows) for preset in PRESETS}
    assert by_name["text-dedup"] == datasketch.lsh._optimal_param(0.7, 256, 0.5, 0.5)
    assert by_name["datasketch, 128 hashes at 0.8"] == datasketch.lsh._optimal_param(0.8, 128, 0.5, 0.5)


@given(st.floats(0.01, 0.99), st.integers(1, 500), st.integers(1, 30))
def test_the_curve_backwards(chance: float, bands: int, rows: int) -> None:
    assert probability(similarity_at(chance, bands, rows), bands, rows) == pytest.approx(chance, rel=1e-6)


def test_words_replaced() -> None:
    words = 35_000
    texts = [[f"w{i}" for i in range(words)] for _ in range(2)]
    texts[1][::35] = ["changed"] * 1000
    sets = [{tuple(text[i : i + 5]) for i in range(words - 4)} for text in texts]
    true = len(sets[0] & sets[1]) / len(sets[0] | sets[1])
    assert one_word_in(true, 5) == pytest.approx(35, rel=0.001)
    assert one_word_in(1.0, 5) == float("inf")
