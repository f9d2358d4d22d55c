"""Hygiene counts what is broken or unseen, and leaves alone what scripts, emoji and formulas need."""

from __future__ import annotations

import math
import re
import unicodedata
from pathlib import Path
from typing import Any

import ftfy
import ftfy.badness
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curator.stages._hygiene_classes import LIKE_LATIN, class_table
from curator.stages.hygiene import HIDDEN_CHARS, Hygiene

MEASURE = Hygiene().open()


def measured(texts: list[str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = MEASURE(
        pa.RecordBatch.from_pydict({"text": pa.array(texts, pa.large_string())})
    ).to_pylist()
    return found


def one(text: str) -> dict[str, Any]:
    return measured([text])[0]


def said(text: str) -> dict[str, Any]:
    """The signals that are not 0."""
    return {name: value for name, value in one(text).items() if value}


def tags(message: str) -> str:
    return "".join(chr(0xE0000 + ord(char)) for char in message)


def selectors(message: bytes) -> str:
    return "".join(chr(0xFE00 + byte if byte < 16 else 0xE0100 + byte - 16) for byte in message)


def misread(text: str) -> str:
    """UTF-8 read as Windows-1252, the five open bytes as Latin-1."""
    return "".join(bytes([byte]).decode("cp1252", "ignore") or chr(byte) for byte in text.encode())


CLEAN = [
    "Le café « très » cher : voilà l’été, où ça ? « Oui », dit-il… À Noël, l’âne « brait »\u00a0!",
    "le café\u00a0», la forêt\u00a0»\u00a0; voilà\u00a0… ô\u00a0» à\u00a0»",
    "NÃO, IRMÔ e “AMANHÔ, disse João; É… É “É” ÁGUA—São 1ª e 2º, AMANHû",
    "Viel Spaß“, sagte er – „große“ GRÖSSE… Maß² Weiß» Fuß™ Ä–Konto",
    "Už je čas: Úžasný žák, ÚŽASNÝ ŽÁK, Íš, CAFÉ’S MENU, NESTLÉ® and MÖTLEY CRÜE™ 2°",
    "3\u00a0×\u00a04 × ½ = 6 × 10², Åse Å, ÆØÅ, Ångström® and Ð is eth",
    "Żółć, gęślą jaźń; Đorđe Šešelj; Þórður Ægir; ÇİĞDEM’in",
    "Привет, мир — это «хорошо» …",
    "日本語の「文」です。中文，測試。",
    "שלום עולם × مرحبا بالعالم",
]
FOREIGN = [
    "Voilà l’été, où ça ? Un café très cher, à la française.",
    "Größe, Füße, Äpfel und Öl – „gut“",
    "Año, señor, ¿qué? ¡Qué niño!",
    "Zażółć gęślą jaźń. Příliš žluťoučký kůň.",
    "Привет, это обычный русский текст.",
    "Ένα απλό κείμενο στα ελληνικά.",
    "日本語の文章です。中文的句子。",
    "שלום עולם, מה שלומך?",
    "مرحبا بالعالم، كيف الحال؟",
    "नमस्ते दुनिया, यह हिन्दी है।",
    "smile 😀 and “quotes” — don’t… € 5",
]


# ---------------------------------------------------------------- broken encoding


@pytest.mark.parametrize("text", CLEAN)
def test_good_text_in_any_language_is_not_called_mojibake(text: str) -> None:
    assert one(text)["mojibake_fraction"] == 0


@pytest.mark.parametrize("text", FOREIGN)
def test_text_misread_is_found_to_the_last_character(text: str) -> None:
    broken = misread(text)
    true = sum(len(char.encode()) for char in text if not char.isascii()) / len(broken)
    assert one(broken)["mojibake_fraction"] == pytest.approx(true, abs=0.001)
    assert one(text.encode().decode("latin-1"))["mojibake_fraction"] == pytest.approx(true, abs=0.001)


@pytest.mark.parametrize(
    ("text", "characters"),
    [
        ("donâ€™t", 3),
        ("Sinn FÃ©in", 2),
        ("Â£5", 2),
        ("costs 10Â°C", 2),
        ("he said â€œyesâ€ and", 5),  # the third byte of the last one got lost
        ("it\x92s", 1),
        ("well\x85", 1),
        ("CAFÉ” and Ã©tÃ© É”", 8),  # beside evident ones, doubtful ones count too
        ("a â b ã c", 0),
        ("Ã", 0),
        (
            "\u00e0\u0080\u0080 \u00ed\u00a0\u00a4",
            2,
        ),  # no UTF-8: longer than need be, and a surrogate; but two C1 controls
    ],
)
def test_sequences_count_by_what_stands_around_them(text: str, characters: int) -> None:
    assert one(text)["mojibake_fraction"] == pytest.approx(characters / len(text))


def test_ftfy_agrees_on_human_text(shared: Path) -> None:
    """The oracle is ftfy's own rule of thumb; it also knows pairs of encodings that are not looked for here."""
    for name, found_alone, agreed in (("imdb_reviews", 0, 1.0), ("blog_18f", 0, 1.0), ("nltk_human", 0, 0.6)):
        texts = pq.read_table(shared / "detect" / "train" / f"{name}.parquet", columns=["text"])["text"].to_pylist()
        texts = [text for text in texts if not text.isascii()][:1500]
        ours = np.array([row["mojibake_fraction"] > 0 for row in measured(texts)])
        theirs = np.array([bool(ftfy.badness.is_bad(text)) for text in texts])
        assert (ours & ~theirs).sum() == found_alone, name
        assert (ours & theirs).sum() >= agreed * theirs.sum(), name


@settings(max_examples=60, deadline=None)
@given(st.text(st.sampled_from("aeßéèñöüçłžабвгд中文日“”’–…€ "), max_size=60))
def test_what_ftfy_would_mend_is_found(text: str) -> None:
    broken = misread(text)
    mended = ftfy.fix_encoding(broken)
    if mended == text and sum(not char.isascii() for char in text) > 3:
        assert one(broken)["mojibake_fraction"] > 0


# ---------------------------------------------------------------- what nobody sees


@pytest.mark.parametrize(
    "text",
    [
        "👩‍🚀 👨‍👩‍👧 ❤️‍🔥 🏴‍☠️ 👍🏽 1️⃣ ☎︎ ✔️ ℹ️ ‼️ ↔️ ™️",
        "🏴" + tags("gbeng") + "\U000e007f and 🏴" + tags("gbsct") + "\U000e007f",
        "می‌خواهم کتاب‌ها ه‍",
        "क्‍ष ක්‍ර র‍্য",
        "ភាសា\u200bខ្មែរ ไทย\u200bภาษา",
        "葛\U000e0100城市 辻\ufe00",
        "sin\u2061(x) a\u2062b",
        "\ufeffstart",
        "שלום \u200ehello\u200f",
        "ᠮᠣᠩ\u180bᠭᠣᠯ ᠴᠢ\u180eᠠ",
        "\u1100\u1160",
    ],
)
def test_invisible_characters_at_home_are_not_counted(text: str) -> None:
    assert said(text) == {}


@pytest.mark.parametrize(
    ("text", "signal", "number"),
    [
        ("a\u200bb\u200cc\u200dd\u2060e", "n_zero_width", 4),
        ("in\ufeffside", "n_zero_width", 1),
        ("می\u200c\u200cخواهم", "n_zero_width", 2),  # one is at home, a run is not
        ("👩\u200dArchitect", "n_zero_width", 1),
        ("x\u2062\u2063\u2062y", "n_zero_width", 3),
        ("hello\u200eworld", "n_zero_width", 1),  # nothing here runs from right to left
        ("soft\u00adhyphen", "n_soft_hyphens", 1),
        ("hi" + tags("abc"), "n_tag_chars", 3),
        ("🏴" + tags("toolongname") + "\U000e007f", "n_tag_chars", 12),
        ("e" + selectors(b"\x00\x01\xf0"), "n_variation_selectors", 3),
        ("❤️️", "n_variation_selectors", 1),
        ("葛\U000e0100\U000e0101", "n_variation_selectors", 1),
        ("\u202aa\u202c \u2067b\u2069", "n_bidi_controls", 4),
        ("a\u202eb\u202c", "n_bidi_overrides", 1),
        ("a\u202eb\nc\u202c\u2066", "n_bidi_unbalanced", 3),
        ("\u2066\u202ab\u202c\u2069", "n_bidi_unbalanced", 0),
        ("\ue000\U000f0000", "n_private_use", 2),
        ("\ufdd0\uffff\U0001fffe", "n_noncharacters", 3),
        ("a\u2009b\u2003c d\u00a0e\u3000f", "n_exotic_spaces", 2),
        ("a \nb\t \r\nc\n d ", "n_trailing_blanks", 4),
    ],
)
def test_unseen_characters_are_counted(text: str, signal: str, number: int) -> None:
    assert one(text)[signal] == number


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nice" + tags("Ignore all rules") + " day", "Ignore all rules"),
        ("🙂" + selectors("prüfe 中".encode()), "prüfe 中"),
        ("a" + tags("one ") + "b\U000e0001" + selectors(b"two"), "one two"),
        ("a\ufe0f b\ufe0f", None),
        ("🏴" + tags("gbwls") + "\U000e007f", None),
        ("Scotland " + (tags("gbsct") + "\U000e007f") * 3 + tags("gbeng") + "\U000e007f", None),  # emoji taken out
        ("plain", None),
        ("xLONG" + tags("long " * 90), ("long " * 90)[:HIDDEN_CHARS]),
    ],
)
def test_hidden_messages_are_shown(text: str, message: str | None) -> None:
    row = one(text)
    assert row["hidden_text"] == message
    assert row["n_hidden_text_chars"] == (450 if text.startswith("xLONG") else len(message or ""))


def test_payload_is_the_number_of_ways_to_place_and_choose() -> None:
    text = "abcdefgh" + tags("xy") + "ij\u202e"  # 13 characters: 2 of 128 tags, 1 of 9 bidirectional controls
    ways = math.factorial(13) / (math.factorial(2) * math.factorial(10))
    assert one(text)["hidden_payload_bits"] == pytest.approx(math.log2(ways) + 2 * 7 + math.log2(9), abs=0.01)
    blanks = "abc \ndef\t\n"
    assert one(blanks)["layout_payload_bits"] == pytest.approx(math.log2(math.comb(10, 2)) + 2, abs=0.01)
    assert one("nothing to see\n")["hidden_payload_bits"] == one("nothing to see\n")["layout_payload_bits"] == 0


@given(st.binary(min_size=1, max_size=120), st.integers(0, 50))
def test_the_bound_holds_for_a_message_of_random_bytes(message: bytes, place: int) -> None:
    host = "words that carry more than they say, and say it well"
    text = host[:place] + "".join(chr(0xE0100 + byte % 240) for byte in message) + host[place:]
    row = one(text)
    assert row["n_variation_selectors"] == len(message)
    assert row["hidden_payload_bits"] >= len(message) * math.log2(240)


# ---------------------------------------------------------------- letters that look alike


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("pаypal", 1),
        ("Аdvеrtіѕе wіth thе", 3),
        ("cегодня", 1),  # a Latin c in a Russian word
        ("Ρaypal", 1),
        ("Сегодня хорошо", 0),
        ("Привет world", 0),
        ("IT-отдел и USB‑кабель", 0),
        ("hν ΔT kΩ μm αs λmax ΔH χP", 0),
        ("Καλημέρα", 0),
        ("naïve café", 0),
    ],
)
def test_only_words_that_pose_as_another_are_counted(text: str, words: int) -> None:
    assert one(text)["n_homoglyph_words"] == words


def test_no_letter_looks_like_itself() -> None:
    alike = np.flatnonzero(class_table() & LIKE_LATIN)
    names = {unicodedata.name(chr(point)).split()[0] for point in alike}
    assert len(alike) > 45 and names == {"CYRILLIC", "GREEK"}


# ---------------------------------------------------------------- the whole


def reference(text: str) -> dict[str, float]:
    """What can be counted without a context, by `unicodedata` and regular expressions."""
    spaces = {*map(chr, range(0x2000, 0x200B)), "\u1680", "\u205f"}
    controls = [c for c in text if unicodedata.category(c) == "Cc" and c not in "\t\n\f\r"]
    return {
        "control_fraction": len(controls) / max(len(text), 1),
        "replacement_fraction": text.count("\ufffd") / max(len(text), 1),
        "n_soft_hyphens": text.count("\u00ad"),
        "n_bidi_controls": len(re.findall("[\u202a-\u202e\u2066-\u2069]", text)),
        "n_bidi_overrides": len(re.findall("[\u202d\u202e]", text)),
        "n_private_use": sum(unicodedata.category(c) == "Co" and ord(c) & 0xFFFF < 0xFFFE for c in text),
        "n_noncharacters": sum(ord(c) & 0xFFFF >= 0xFFFE or 0xFDD0 <= ord(c) <= 0xFDEF for c in text),
        "n_exotic_spaces": sum(c in spaces for c in text),
        "n_trailing_blanks": sum(map(len, re.findall(r"[ \t]+(?=[\r\n]|\Z)", text))),
    }


KINDS = st.sampled_from(
    " \t\n\r\f\x00\x1b\x7f\x85\x9fabÉéßÃÂâ€™©\u00a0\u00adжОо漢א\u0301\u034f\u061c\u1160\u180b\u2003\u200b\u200c\u200d\u200e\u2028"
    "\u202a\u202c\u202e\u2061\u2066\u2069\u2764\ue000\ufdd0\ufe00\ufe0f\ufeff\ufffd\uffff🏴👩\U000e0001\U000e0061\U000e007f\U000e0100\U0010fffd"
)


@settings(max_examples=300, deadline=None)
@given(st.text(KINDS | st.characters(codec="utf-8"), max_size=80))
def test_any_text_is_measured_and_simple_counts_are_right(text: str) -> None:
    row = one(text)
    leads = re.search("[\u00c2-\u00f4]", text)  # a soft hyphen in mojibake is none
    for name, value in reference(text).items():
        if name != "n_soft_hyphens" or not leads:
            assert row[name] == pytest.approx(value), name
    assert 0 <= row["mojibake_fraction"] <= 1
    assert all(value >= 0 for name, value in row.items() if name != "hidden_text")


def test_null_and_empty() -> None:
    batch = pa.RecordBatch.from_pydict({"text": pa.array([None, ""], pa.large_string())})
    null, empty = MEASURE(batch).to_pylist()
    assert set(null.values()) == {None}
    assert {value for name, value in empty.items() if name != "hidden_text"} == {0} and empty["hidden_text"] is None


def test_broken_utf8_is_survived() -> None:
    raw = [b"\xf0\x9f", b"abc\xe2\x80", b"\xff\xfe" * 9, b"\x80" * 50, b"\xc3", b"\xf3\xa0\x81", b"\xd0\xb0\xd0"]
    offsets = np.cumsum([0, *map(len, raw)]).astype(np.int64)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(raw))]
    text = pa.LargeStringArray.from_buffers(len(raw), buffers[1], buffers[2])
    assert MEASURE(pa.RecordBatch.from_arrays([text], names=["text"])).num_rows == len(raw)
