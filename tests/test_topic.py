"""The stage topic: sums of word vectors, scripts without spaces, unknown words, and the shipped weights."""

from __future__ import annotations

import hashlib
import tomllib
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curator.errors import ModelError, RecipeError
from curator.ids import file_sha256
from curator.stages import topic
from curator.stages.language import Language
from curator.stages.topic import DIM, Lexicon, Topic, lexicon, make_lexicon, text_vectors, vocabulary
from curator.text import OWN, normalised, tables, token_hash, utf8_view
from tests import corpus

ROOT = Path(__file__).parents[1]
TURKU = ROOT.parent / "shared/data/quality/turku_line_quality.parquet"
F32 = npt.NDArray[np.float32]
COURT = "The judge told the court that the defendant had lied to the jury, and the trial was adjourned until Monday."
LAW = "A lawyer for the accused said the verdict would be appealed; prosecutors asked for a sentence of ten years."
TEXTS: list[str | None] = [
    None,
    "",
    " \n\t ",
    "word",
    "🙂" * 200,
    "漢字かな交じり文。" * 40,
    "a" * 20_000,
    "\x00\x01\u200b\u202e\ufeff" * 50,
    "| a | b |\n|---|---|\n" * 60,
    "e\u0301" * 400,
    corpus.prose(2, 20) + "\ud7ff\ue000\U0010ffff",
]
MATCH = "The striker scored twice before half time and the goalkeeper saved a penalty as the team won the cup final."
SOUP = (
    "Chop the onions and fry them in butter, add the carrots and the stock, and simmer the soup for an hour with salt."
)


def vectors_of(texts: list[str | None], words: int = 2_000) -> F32:
    """Vectors [n, 64]; zeros where there is none."""
    batch = pa.record_batch({"text": pa.array(texts, pa.large_string())})
    column = Topic(words=words).open()(batch).column(0)
    known = column.is_valid().to_numpy(zero_copy_only=False)
    found = np.zeros((len(texts), DIM), np.float32)
    found[known] = column.flatten().to_numpy().reshape(-1, DIM)
    return found


def by_hand(text: str, small: Lexicon, place: dict[str, int]) -> npt.NDArray[np.float64]:
    """The same sum in plain Python, for words with spaces between."""
    total = np.zeros(DIM, np.int64)
    for word in text.lower().split():
        if word in place:
            total += small.vectors[place[word]].astype(np.int64) * int(small.weights[place[word]])
        else:
            bits = token_hash(word.encode())
            for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1)):
                bits = ((bits ^ (bits >> shift)) * factor) % 2**64
            total += np.array([small.unknown if bits >> d & 1 else -small.unknown for d in range(DIM)])
    return total / max(np.sqrt((total.astype(float) ** 2).sum()), 1e-12)


def test_texts_on_one_matter_lie_together() -> None:
    court, law, match, soup = vectors_of([COURT, LAW, MATCH, SOUP])
    assert court @ law > 0.4 > max(court @ match, court @ soup, law @ match, law @ soup, match @ soup)


def test_a_vector_has_unit_length_and_null_means_no_word() -> None:
    found = vectors_of([*TEXTS, COURT])
    length = np.linalg.norm(found.astype(np.float64), axis=1)
    wordless = [text is None or not any(c.isalnum() for c in text) for text in [*TEXTS, COURT]]
    assert np.allclose(length, np.where(wordless, 0, 1), atol=1e-6)


@pytest.mark.parametrize("words", [1, 7, 2_000])
def test_a_row_does_not_lean_on_its_neighbours(words: int) -> None:
    texts = [*TEXTS, COURT, "漢字かな交じり文 " + SOUP, LAW * 50]
    whole = vectors_of(texts, words)
    assert np.array_equal(whole, np.concatenate([vectors_of([text], words) for text in texts]))
    assert np.array_equal(whole[::-1], vectors_of(texts[::-1], words))


def test_case_and_marks_change_nothing() -> None:
    plain, shouted, marked = vectors_of(
        [COURT, COURT.upper(), COURT.replace(" ", " -- ").replace("jury", "ju\u00adry")]
    )
    assert np.array_equal(plain, shouted) and np.array_equal(plain, marked)


WORDS = ("alpha", "beta", "gamma", "delta", "naïve")


@given(st.lists(st.sampled_from([*WORDS, "omega", "x1", "größe", "BETA", "словарь"]), max_size=40), st.data())
@settings(max_examples=60, deadline=None)
def test_the_kernel_adds_as_plain_python_does(chosen: list[str], data: st.DataObject) -> None:
    draw = np.random.default_rng(data.draw(st.integers(0, 99)))
    vectors = draw.integers(-127, 128, (len(WORDS), DIM)).astype(np.int8)
    small = make_lexicon(WORDS, vectors, draw.integers(0, 4096, len(WORDS)), 77)
    found, known = text_vectors(utf8_view(pa.array([" ".join(chosen)], pa.large_string())), small, 4_096)
    expected = by_hand(" ".join(chosen), small, {word: i for i, word in enumerate(WORDS)})
    assert known[0] == bool(expected.any()) and np.allclose(found[0], expected, atol=1e-6)


def test_no_text_overflows_a_sum() -> None:
    extreme = make_lexicon(("loud",), np.full((1, DIM), -127, np.int8), np.array([4_095]), 1)
    found, _ = text_vectors(utf8_view(pa.array(["loud " * 5_000], pa.large_string())), extreme, topic.MOST_WORDS)
    assert np.allclose(found, -1 / np.sqrt(DIM))


@given(st.text(st.sampled_from("漢字かなกิ่ຂ한국éя٣𝒜abc \u0301\u3099"), max_size=30))
@settings(max_examples=60, deadline=None)
def test_a_character_of_a_script_without_spaces_is_known_by_its_hash(text: str) -> None:
    ends, utf8 = normalised(utf8_view(pa.array([text], pa.large_string())))
    for word in utf8[: ends[1]].tobytes().decode().split():
        own = tables().classes[ord(word[0])] == OWN and len(word.encode()) <= 6
        assert bool(topic._own(np.uint64(token_hash(word.encode())), tables().classes)) == own


def test_pairs_of_characters_tell_what_single_ones_do_not() -> None:
    """Both texts hold the same characters: only their pairs differ."""
    one, again, other = vectors_of(["北京大学出版社" * 5, "北京大学出版社" * 7, "社版出学大京北" * 5])
    assert one @ again > 0.98 > 0.7 > one @ other


@pytest.mark.skipif(not TURKU.is_file(), reason="../shared/data is not there")
def test_texts_of_one_language_lie_together() -> None:
    """Web texts of six languages, named by the stage language: the nearest other text is nearly always of the same one."""
    table = pq.read_table(TURKU, columns=["text"])
    texts = [text for text in table["text"].to_pylist() if len(text) > 1_000][:800]
    batch = pa.record_batch({"text": pa.array(texts, pa.large_string())})
    language = np.array(Language().open()(batch).column(0).to_pylist())
    found = vectors_of(texts)
    cosine = found @ found.T
    np.fill_diagonal(cosine, -1)
    assert len(set(language)) >= 5 and (language[cosine.argmax(1)] == language).mean() > 0.9


def test_words_of_a_long_text_are_looked_at_evenly() -> None:
    """A text that is half about a court and half about soup lies between, wherever the words are cut."""
    both, court, soup = vectors_of([COURT * 200 + SOUP * 200, COURT, SOUP], 100)
    assert both @ court > 0.5 and both @ soup > 0.5


def test_a_count_of_words_without_room_is_refused() -> None:
    for words in (0, topic.MOST_WORDS + 1):
        with pytest.raises(RecipeError, match=r"topic\.words"):
            Topic(words=words)


def test_the_shipped_weights_are_the_pinned_ones() -> None:
    folder = ROOT / "models" / "topic"
    config = tomllib.loads((folder / "config.toml").read_text("utf-8"))
    assert file_sha256(folder / config["file"]) == config["sha256"]
    assert Topic().weights()[config["file"]] == config["sha256"]
    assert len(vocabulary()) == config["words"] == len(lexicon().vectors)


def test_other_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "topic").mkdir()
    (tmp_path / "topic/topic.safetensors").write_bytes(b"not these")
    sha = hashlib.sha256(b"these").hexdigest()
    (tmp_path / "topic/config.toml").write_text(f'file = "topic.safetensors"\nsha256 = "{sha}"\nunknown = 1\n')
    monkeypatch.setattr(topic, "shipped", lambda _kind: tmp_path)
    topic._tensors.cache_clear()
    try:
        with pytest.raises(ModelError, match="not the pinned"):
            topic._tensors()
    finally:
        topic._tensors.cache_clear()


def test_a_vocabulary_of_more_than_words_is_refused() -> None:
    with pytest.raises(ModelError, match="exactly one word"):
        make_lexicon(("two words",), np.zeros((1, DIM), np.int8), np.zeros(1), 1)
    with pytest.raises(ModelError, match="do not fit"):
        make_lexicon(("one", "ONE"), np.zeros((2, DIM), np.int8), np.zeros(2), 1)
