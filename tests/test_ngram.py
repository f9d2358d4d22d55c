"""The cheap path: folding, tokens, hashed n-grams and style rates against plain Python, and its promises."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curator import style
from curator.stages import ngram
from curator.style import fold_column, fold_text, tables

MASK = (1 << 64) - 1
DATA = Path(__file__).parents[2] / "shared/data/detect/train"
PROSE = (
    "The committee met on Tuesday and, after an hour of argument, put the decision off. Nobody was surprised! "
    "Mrs. Hale, who'd kept the minutes since 1998, wrote that it was 'the usual thing': people talk, and then they go home. "
)


def column(*texts: str | None) -> pa.Array:
    return pa.array(texts, pa.large_string())


@pytest.fixture(scope="module")
def measure() -> Any:
    return ngram.CheapOrigin().open()


def run(measure: Any, texts: pa.Array) -> list[dict[str, Any]]:
    return measure(pa.RecordBatch.from_arrays([texts], ["text"])).to_pylist()


@pytest.mark.parametrize(
    ("raw", "folded"),
    [
        ("“Curly”  and ‘single’ quotes", "\"Curly\"and 'single' quotes"),
        ("He said , it ca n't be ; it 's late .", "He said, it can't be; it's late."),
        ("**Bold** and `code` and # heading", "Bold and code and heading"),
        ("- one\n- two\n1. three\n> quoted", "one two three quoted"),
        ("A<br />B &amp; C", "A B C"),
        ("see https://example.org/x?y=1 there", "see there"),
        ("Here is the essay you wanted:\n\nDogs bark.", "Dogs bark."),
        ("Title: Dogs\nDogs bark.", "Dogs bark."),
        ("Here is my dog.\nHe barks.", "Here is my dog. He barks."),
        ("wait—what -- now", "wait - what - now"),
        ("Dear @CAPS1, hello 😀", "Dear Name, hello"),
        ("soft\u00adhyphen and zero\u200bwidth", "softhyphen and zerowidth"),
        ("", ""),
    ],
)
def test_typesetting_is_folded_away(raw: str, folded: str) -> None:
    assert fold_text(raw) == folded


@pytest.mark.parametrize(
    ("posing", "read"),
    [
        ("The сosts оf pаypal аnd tіme", "The costs of paypal and time"),  # Cyrillic
        ("А whоle rοom, Ηappy", "A whole room, Happy"),  # Cyrillic and Greek
        ("trαffic and citу", "traffic and city"),
        ("wհat they saո, ⲅeal", "what they san, real"),  # Armenian, Coptic
        ("𝚝he boo𝒌 o𝚏 it", "the book of it"),
        ("pay​pal, hi⁠dden, em­pty, filㅤled", "paypal, hidden, empty, filled"),
    ],
)
def test_letters_that_pose_as_latin_ones_are_unmasked(posing: str, read: str) -> None:
    assert fold_text(posing) == read


@pytest.mark.parametrize(
    "text",
    [
        "Он сказал, что Windows с Excel, а не paypal, о том же.",
        "Η γάτα κάθεται; το iPhone ναι.",
        "TNFα binds αvβ3 and PPARγ at 3 μm, ΔT rose.",
        "Калuнка",  # a Latin letter among Cyrillic ones drawn otherwise
        "Մեր տունը հին է",
    ],
)
def test_other_scripts_and_symbols_are_left_alone(text: str) -> None:
    assert fold_text(text) == text


@given(st.lists(st.sampled_from(PROSE.split()), min_size=5, max_size=60).map(" ".join), st.data())
@settings(max_examples=100, deadline=None)
def test_a_disguised_text_reads_as_the_plain_one(text: str, data: st.DataObject) -> None:
    twins = str.maketrans("aeopcxAEO", "аеорсхАЕО")
    hidden = "".join(c.translate(twins) if data.draw(st.integers(0, 3)) == 0 else c for c in text)
    assert fold_text("We start " + hidden) == fold_text("We start " + text)


def test_two_settings_of_one_text_read_the_same() -> None:
    plain = 'He said "no" and left, it can\'t be helped.'
    split = "He said `` no '' and left , it ca n't be helped ."
    curly = "**He said “no” and left, it can’t be helped.**\n"
    assert fold_text(split) == fold_text(curly) == fold_text(plain)


@given(st.text(max_size=400))
@settings(max_examples=200, deadline=None)
def test_folded_text_has_no_typesetting_left(text: str) -> None:
    folded = fold_text(text)
    assert "  " not in folded and not set(folded) & set("\n\r\t*`“”’—\u200b")
    assert folded == folded.strip(" ")


@given(st.lists(st.one_of(st.none(), st.text(max_size=80)), max_size=8), st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_fold_keeps_nulls_and_slices(texts: list[str | None], skip: int) -> None:
    sliced = fold_column(column("left out", *texts)[1:][skip:])
    assert sliced.to_pylist() == [None if text is None else fold_text(text) for text in texts[skip:]]


def plain_tokens(folded: str) -> list[str]:
    """Cut folded text into words, numbers and marks, the slow way."""
    kind = tables().kind
    sort = [int(kind[ord(c)]) if ord(c) < 65_536 else style.LOWER for c in folded]
    letters = (style.LOWER, style.UPPER)
    made, i = [], 0
    while i < len(folded):
        start = i
        if sort[i] == style.SPACE:
            i += 1
            continue
        if sort[i] in letters:
            while i < len(folded) and (
                sort[i] in letters or (folded[i] == "'" and i + 1 < len(folded) and sort[i + 1] in letters)
            ):
                i += 1
        elif sort[i] == style.DIGIT:
            while i < len(folded) and sort[i] == style.DIGIT:
                i += 1
        else:
            i += 1
        made.append(folded[start:i])
    return made


def plain_hash(token: str) -> int:
    kind, lower = tables().kind, tables().lower
    if ord(token[0]) < 65_536 and kind[ord(token[0])] == style.DIGIT:
        return 0x9AE16A3B2F90404F
    word = ord(token[0]) >= 65_536 or kind[ord(token[0])] in (style.LOWER, style.UPPER)
    hashed = 0xCBF29CE484222325
    for char in token:
        code = ord(char)
        code = int(lower[code]) if word and code < 65_536 else code
        hashed = ((hashed ^ code) * 0x100000001B3) & MASK
    return hashed


def plain_buckets(tokens: list[str]) -> list[int]:
    hashes, made = [plain_hash(token) for token in tokens], []
    for j in range(len(hashes)):
        gram = 0
        for order in range(min(3, j + 1)):
            gram = ((gram + hashes[j - order]) * 0x100000001B3 + 0x9E3779B97F4A7C15) & MASK
            mixed = ((gram ^ (gram >> 31)) * 0xBF58476D1CE4E5B9) & MASK
            made.append(mixed >> (64 - ngram.BITS))
    return made


def kernel_tokens(folded: str) -> tuple[list[str], np.ndarray, np.ndarray, int]:
    codes = np.array([ord(c) for c in folded], np.int32)
    starts, stops = np.empty(len(folded) + 1, np.int32), np.empty(len(folded) + 1, np.int32)
    hashes = np.empty(len(folded) + 1, np.uint64)
    m = ngram.split_tokens(codes, len(codes), tables().lower, tables().kind, starts, stops, hashes)
    return [folded[a:b] for a, b in zip(starts[:m], stops[:m], strict=True)], hashes, codes, m


@given(st.one_of(st.text(max_size=200), st.lists(st.sampled_from(PROSE.split()), max_size=40).map(" ".join)))
@settings(max_examples=200, deadline=None)
def test_tokens_and_buckets_are_those_of_plain_python(text: str) -> None:
    folded = fold_text(text)
    tokens, hashes, _, m = kernel_tokens(folded)
    assert tokens == plain_tokens(folded)
    out = np.empty(3 * max(1, m), np.int32)
    k = ngram.word_buckets(hashes, m, out)
    assert out[:k].tolist() == plain_buckets(tokens)


def rates(text: str) -> dict[str, float]:
    folded = fold_text(text)
    codes = np.array([ord(c) for c in folded], np.int32)
    starts, stops = np.empty(len(codes) + 1, np.int32), np.empty(len(codes) + 1, np.int32)
    hashes, out = np.empty(len(codes) + 1, np.uint64), np.empty(ngram.STYLES)
    t = tables()
    m = ngram.split_tokens(codes, len(codes), t.lower, t.kind, starts, stops, hashes)
    ngram.style_rates(codes, m, t.kind, t.lower, starts, stops, hashes, np.empty(3072, np.int64), out)
    return dict(zip(ngram.STYLE_NAMES, out.tolist(), strict=True))


def test_style_rates_say_what_they_are_called() -> None:
    found = rates("I ran, and I sang. But the dog slept! Was NASA told? The 3 cats weren't.")
    words = 15
    assert found["mark ,"] == pytest.approx(1 / words) and found["mark !"] == pytest.approx(1 / words)
    assert found["I"] == pytest.approx(2 / words) and found["contractions"] == pytest.approx(1 / words)
    assert found["words all in capitals"] == pytest.approx(1 / words) and found["numbers"] == pytest.approx(1 / words)
    assert found["sentences that start with a conjunction"] == pytest.approx(1 / 4)
    assert found["sentences that start with the"] == pytest.approx(1 / 4)
    assert found["mean sentence length"] == pytest.approx(words / 4)


def test_rates_do_not_grow_with_the_text() -> None:
    once, often = rates(PROSE * 6), rates(PROSE * 60)
    for name, value in once.items():
        assert often[name] == pytest.approx(value, rel=0.05, abs=0.01), name


@given(st.lists(st.one_of(st.none(), st.text(max_size=300), st.just(PROSE * 3)), min_size=1, max_size=6))
@settings(max_examples=40, deadline=None)
def test_a_document_is_judged_alone(measure: Any, texts: list[str | None]) -> None:
    together = run(measure, column(*texts))
    assert together == [run(measure, column(text))[0] for text in texts]
    assert run(measure, column("x", *texts)[1:]) == together


def test_null_is_null_and_empty_is_too_short(measure: Any) -> None:
    null, empty, prose = run(measure, column(None, "", PROSE * 3))
    assert set(null.values()) == {None}
    assert empty["ai_words"] == 0 and empty["ai_unfit"] == "too_short" and math.isfinite(empty["ai_cheap_logit"])
    assert prose["ai_unfit"] is None and prose["ai_words"] > 60


def test_code_and_tables_are_not_prose(measure: Any) -> None:
    code = (
        "for (int i = 0; i < n; ++i) { total += values[i] * weights[i]; if (total > 10) { return f(total, i); } }\n" * 8
    )
    table = "Revenue 1,204.5 1,198.2 3.4 % Costs 804.1 790.6 1.7 % Net 400.4 407.6 -1.8 %\n" * 20
    assert [row["ai_unfit"] for row in run(measure, column(code, table))] == ["not_prose", "not_prose"]


@pytest.mark.parametrize("poison", ["😀", "<a", "-", "'", "\u0301", " \n", "a", "@A", "&a", "h", "￿", "1. "])
def test_poison_documents_take_linear_time(measure: Any, poison: str) -> None:
    size = 2_000_000
    text = column((poison * (size // len(poison.encode())))[:size])
    start = time.perf_counter()
    run(measure, text)
    assert time.perf_counter() - start < 3.0


def test_a_document_of_50_megabytes_is_judged_by_windows_from_all_over(measure: Any) -> None:
    start = time.perf_counter()
    long = PROSE * (50_000_000 // len(PROSE))
    row = run(measure, column(long))[0]
    assert time.perf_counter() - start < 5.0
    assert row["ai_windows"] == ngram.MAX_WINDOWS and 9_000 < row["ai_words"] < 14_000
    polished = (
        "It is important to note that this comprehensive approach not only fosters innovation but also highlights the "
        "significance of collaboration. By embracing these strategies, individuals can navigate challenges effectively. "
    )
    late = run(measure, column(long[:-4_000_000] + polished * (4_000_000 // len(polished))))[0]
    assert late["ai_window_max"] > row["ai_window_max"] + 1.0 and late["ai_cheap_logit"] > row["ai_cheap_logit"]


def alone(text: str) -> tuple[float, float]:
    """N-gram evidence and style logit of a text as one piece, by the kernels that training uses."""
    cheap = ngram.Cheap.of(ngram.ai_text_tensors("cheap.safetensors"))
    t, found = tables(), np.empty(ngram.STYLES)
    codes = np.array([ord(c) for c in fold_text(text)], np.int32)
    starts, stops = np.empty(len(codes) + 1, np.int32), np.empty(len(codes) + 1, np.int32)
    hashes, buckets = np.empty(len(codes) + 1, np.uint64), np.empty(3 * len(codes) + 3, np.int32)
    m = ngram.split_tokens(codes, len(codes), t.lower, t.kind, starts, stops, hashes)
    ngram.style_rates(codes, m, t.kind, t.lower, starts, stops, hashes, np.empty(3072, np.int64), found)
    grams = ngram.evidence(cheap.table, buckets, ngram.word_buckets(hashes, m, buckets))
    return grams, ngram.style_logit(found, *cheap.net)


@pytest.mark.parametrize("copies", [1, 5, 11])
def test_a_text_of_trained_length_is_judged_whole(measure: Any, copies: int) -> None:
    text = PROSE * copies
    (row,) = run(measure, column(text))
    assert 30 < row["ai_words"] < 525 and row["ai_windows"] == 1
    assert (row["ai_ngram_logit"], row["ai_style_logit"]) == alone(text)
    assert row["ai_cheap_logit"] == row["ai_window_max"] == row["ai_window_min"]


def test_a_longer_text_is_the_mean_of_its_windows(measure: Any) -> None:
    odd = "I luv u so much, dont go plz. We was at the mall n it was sooo boring lol. " * 60
    (row,) = run(measure, column(PROSE * 30 + odd))
    ends, found = ngram.Cheap.of(ngram.ai_text_tensors("cheap.safetensors")).windows(column(PROSE * 30 + odd))
    assert row["ai_windows"] == ends[1] == round(row["ai_words"] / ngram.WINDOW_WORDS) > 4
    assert found[:, 2].sum() == row["ai_words"] and found[:, 2].min() > 200 and found[:, 2].max() < 500
    assert row["ai_ngram_logit"] == pytest.approx(found[:, 0].mean(), rel=1e-12)
    assert row["ai_window_min"] < row["ai_cheap_logit"] < row["ai_window_max"]


def test_a_window_that_is_no_prose_does_not_count(measure: Any) -> None:
    table = "804.1 790.6 1.7 % 12 / 33 - " * 400
    prose, with_table = run(measure, column(PROSE * 30, PROSE * 30 + table))
    assert with_table["ai_windows"] >= prose["ai_windows"]
    assert abs(with_table["ai_window_max"] - prose["ai_window_max"]) < 2.0


@given(st.lists(st.integers(0, 60), min_size=1, max_size=5), st.integers(0, 4))
@settings(max_examples=25, deadline=None)
def test_long_neighbours_change_no_short_text(measure: Any, copies: list[int], at: int) -> None:
    texts = [PROSE * n for n in copies]
    together = run(measure, column(*texts[:at], PROSE * 900, *texts[at:]))
    assert together[: len(texts[:at])] + together[len(texts[:at]) + 1 :] == [run(measure, column(t))[0] for t in texts]


def test_machine_paragraphs_show_in_the_largest_window(measure: Any) -> None:
    if not DATA.is_dir():
        pytest.skip("shared/data is absent")
    novels = pq.read_table(DATA / "novels_chunks.parquet", columns=["text"])["text"].to_pylist()
    replies = pq.read_table(DATA / "debate_2026_models.parquet", columns=["text"])["text"].to_pylist()
    human = ["\n\n".join(novels[8 * i : 8 * i + 8]) for i in range(100)]
    mixed = ["\n\n".join([*novels[8 * i : 8 * i + 6], *replies[2 * i : 2 * i + 2]]) for i in range(100)]
    rows = run(measure, column(*human, *mixed))
    largest = np.array([row["ai_window_max"] for row in rows])
    assert np.median(largest[100:]) > np.quantile(largest[:100], 0.95)


def test_string_columns_of_either_width_agree(measure: Any) -> None:
    wide, narrow = column(PROSE, None), pa.array([PROSE, None], pa.string())
    assert run(measure, wide) == run(measure, narrow)


def test_typesetting_does_not_move_the_logit(measure: Any) -> None:
    plain = PROSE * 3
    dressed = "**" + plain.replace("'", "’").replace(", ", " , ") + "**\n\n"
    a, b = run(measure, column(plain, dressed))
    assert a["ai_cheap_logit"] == b["ai_cheap_logit"]


def test_weights_are_pinned() -> None:
    stage = ngram.CheapOrigin()
    assert stage.weights() == {"ai-text/cheap": ngram.ai_text_config()["sha256"]["cheap.safetensors"]}
    assert stage.fingerprint() == ngram.CheapOrigin().fingerprint()
