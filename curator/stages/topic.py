"""What a text is about, as a vector of 64 numbers: a weighted sum of word vectors, cheap enough for every document.

The vectors are distilled from the sentence encoder, which read each word of a vocabulary alone (model2vec: Tulkens and
van Dongen 2024), reduced by principal components, and weighted by smooth inverse frequency (Arora, Liang and Ma 2017);
`models/topic/train.py` makes them and models/topic/card.md says of what.  A word outside the vocabulary, a name or
another language's, adds a small vector drawn from its hash, so that texts of other languages lie by language and words; where a
script writes no spaces, pairs of neighbouring characters do so.

All sums are of whole numbers: the same text gives the same bits on every machine.
"""

from __future__ import annotations

import functools
import tomllib
import unicodedata
from dataclasses import dataclass
from typing import Any, ClassVar, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curator.errors import ModelError, RecipeError
from curator.kernels import inlined, lean
from curator.schema import field
from curator.shipped import pinned, shipped
from curator.stages import Measure, Stage
from curator.text import I64, OWN, U8, U64, Utf8, tables, token_groups, utf8_view

F32 = npt.NDArray[np.float32]
I32 = npt.NDArray[np.int32]

DIM: Final = 64
MOST_WORDS: Final = 4_096  # of a text; with weights below 4096 and vectors of int8 no sum leaves 32 bits
_MOST_WEIGHT: Final = 4_095

_SHIFT: Final = np.uint64(32)
_ONE: Final = np.uint64(1)
_FOUR, _SIX = np.uint64(4), np.uint64(6)
_BYTE, _LOW = np.uint64(0xFF), np.uint64(0x3F)
_THREE_BYTES, _GOES_ON = np.uint64(0xE), np.uint64(0x2)  # how a character of three bytes begins and goes on in UTF-8
_MIX_A: Final = np.uint64(0xBF58476D1CE4E5B9)  # SplitMix64's finaliser (Steele, Lea, Flood 2014, figure 16)
_MIX_B: Final = np.uint64(0x94D049BB133111EB)
_UNSTEP: Final = np.uint64(pow(0x9FB21C651E98DF25, -1, 1 << 64))  # undoes the multiplication in `curator.text`'s hash


class Lexicon(NamedTuple):
    """The vocabulary as the kernel reads it; commonest word first."""

    vectors: npt.NDArray[np.int8]  # [words, 64]
    weights: I32  # [words] below 4096
    keys: U64  # [slots] hash of the word in an open-addressing table, 0 where none is; slots is a power of two
    places: I32  # [slots] which word it is
    unknown: int  # what a word outside the vocabulary adds to or takes from each number


@dataclass(frozen=True)
class Topic(Stage):
    """Say what each text is about by a unit vector of 64 numbers, from word vectors alone, without the encoder.

    `words` is how many words of a longer text are looked at, evenly spread over it.
    """

    words: int = 2_000

    name: ClassVar[str] = "topic"
    version: ClassVar[str] = "1"
    needs: ClassVar[pa.Schema] = pa.schema([pa.field("text", pa.large_string())])

    def __post_init__(self) -> None:
        """Refuse a number of words that no sum has room for."""
        if not 1 <= self.words <= MOST_WORDS:
            raise RecipeError(f"topic.words is {self.words}; it takes 1 to {MOST_WORDS}")

    @property
    def adds(self) -> pa.Schema:
        """`topic_vector`, null for a text without words."""
        doc = "what the text is about: a sum of word vectors, of unit length; null where there is no word"
        return pa.schema([field("topic_vector", pa.list_(pa.float32(), DIM), doc)])

    def weights(self) -> dict[str, str]:
        """The pinned sha256 of the word vectors, and the Unicode tables: another version may split other words."""
        config = _config()
        return {str(config["file"]): str(config["sha256"]), "unicode": unicodedata.unidata_version}

    def open(self) -> Measure:
        """Load the word vectors once their bytes are the pinned ones; `ModelError` when they are not or are missing."""
        found, schema = lexicon(), self.adds

        def measure(batch: pa.RecordBatch) -> pa.RecordBatch:
            vectors, known = text_vectors(utf8_view(batch.column("text")), found, self.words)
            flat = pa.array(vectors.reshape(-1))
            column = pa.FixedSizeListArray.from_arrays(flat, type=schema.field(0).type, mask=pa.array(~known))
            return pa.RecordBatch.from_arrays([column], schema=schema)

        return measure


def _config() -> dict[str, Any]:
    return tomllib.loads((shipped("models") / "topic" / "config.toml").read_text(encoding="utf-8"))


@functools.cache
def _tensors() -> dict[str, npt.NDArray[Any]]:
    from safetensors.numpy import load_file

    config = _config()
    found: dict[str, npt.NDArray[Any]] = load_file(
        pinned(shipped("models") / "topic" / config["file"], config["sha256"])
    )
    return found


@functools.cache
def vocabulary() -> tuple[str, ...]:
    """The shipped words, commonest first; row i of `lexicon().vectors` is word i's."""
    return tuple(_tensors()["words"].tobytes().decode().split("\n"))


@functools.cache
def lexicon() -> Lexicon:
    """Load the shipped word vectors, once a process."""
    found = _tensors()
    return make_lexicon(vocabulary(), found["vectors"], found["weights"], int(_config()["unknown"]))


def make_lexicon(
    words: tuple[str, ...], vectors: npt.NDArray[np.int8], weights: npt.NDArray[Any], unknown: int
) -> Lexicon:
    """Put words into a hash table; each must be one word to `curator.text`.

    vectors [words, 64] int8, weights [words] 0 to 4095; `unknown` below 127 · 4095.
    """
    hashes = word_hashes(words)
    if vectors.shape != (len(words), DIM) or len(np.unique(hashes)) < len(words) or weights.max() > _MOST_WEIGHT:
        raise ModelError(f"topic: {len(words)} words do not fit vectors {vectors.shape} and weights to {weights.max()}")
    keys = np.zeros(1 << (2 * len(words)).bit_length(), np.uint64)
    places = np.zeros(len(keys), np.int32)
    _fill(hashes, keys, places)
    return Lexicon(np.ascontiguousarray(vectors), weights.astype(np.int32), keys, places, unknown)


def word_hashes(words: tuple[str, ...]) -> U64:
    """Hash words as `curator.text` does; `ModelError` where one is not exactly one word.  [words]"""
    view = utf8_view(pa.array(words, pa.large_string()))
    groups = [(np.diff(group.ends), group.hashes[: group.ends[-1]].copy()) for group in token_groups(view)]
    if any((counts != 1).any() for counts, _ in groups):
        raise ModelError("topic: an entry of the vocabulary is not exactly one word; train it anew")
    return np.concatenate([hashes for _, hashes in groups])


def text_vectors(view: Utf8, lexicon: Lexicon, words: int) -> tuple[F32, npt.NDArray[np.bool_]]:
    """Unit vectors of texts [n, 64] float32, and which texts have one [n]; the others are zeros."""
    vectors = np.zeros((len(view.valid), DIM), np.float32)
    known = np.zeros(len(vectors), np.bool_)
    total = np.zeros(DIM, np.int32)
    for tokens in token_groups(view):
        rows = slice(tokens.first, tokens.first + len(tokens))
        _measure(tokens.hashes, tokens.ends, *lexicon, tables().classes, words, total, vectors[rows], known[rows])
    return vectors, known


# --- Kernels -------------------------------------------------------------------------------------


@lean
def _fill(hashes: U64, keys: U64, places: I32) -> None:
    last = np.uint64(len(keys) - 1)
    for i in range(len(hashes)):
        slot = hashes[i] & last
        while keys[slot]:
            slot = (slot + _ONE) & last
        keys[slot] = hashes[i]
        places[slot] = i


@inlined
def _mixed(z: Any) -> Any:
    z = (z ^ (z >> np.uint64(30))) * _MIX_A
    z = (z ^ (z >> np.uint64(27))) * _MIX_B
    return z ^ (z >> np.uint64(31))


@inlined
def _own(h: Any, classes: U8) -> bool:
    """Whether the word with this hash is a character of a script without spaces, and at most one mark.

    A hash takes eight bytes a round and can be undone: two rounds back lies the word, if it has no more than
    eight bytes.  Of longer words one in 10^8 looks so too.
    """
    for _ in range(2):
        h = (h ^ (h >> _SHIFT)) * _UNSTEP
    first, second, third = h & _BYTE, (h >> np.uint64(8)) & _BYTE, (h >> np.uint64(16)) & _BYTE
    if h >> np.uint64(48) or first >> _FOUR != _THREE_BYTES or second >> _SIX != _GOES_ON or third >> _SIX != _GOES_ON:
        return False
    point = ((first & np.uint64(0xF)) << np.uint64(12)) | ((second & _LOW) << _SIX) | (third & _LOW)
    return bool(classes[point] == OWN)


@lean
def _measure(
    hashes: U64, ends: I64, vectors: npt.NDArray[np.int8], weights: I32, keys: U64, places: I32, unknown: int,
    classes: U8, words: int, total: I32, out: F32, known: npt.NDArray[np.bool_],
) -> None:  # fmt: skip
    """Write the unit vector of every row that has a word."""
    last = np.uint64(len(keys) - 1)
    for row in range(len(out)):
        begin, count = ends[row], ends[row + 1] - ends[row]
        total[:] = 0
        for i in range(min(count, words)):
            at = begin + (i if count <= words else i * count // words)
            h = hashes[at]
            slot = h & last
            while keys[slot] and keys[slot] != h:
                slot = (slot + _ONE) & last
            if keys[slot]:
                place = places[slot]
                weight = weights[place]
                for d in range(DIM):
                    total[d] += weight * np.int32(vectors[place, d])
            else:
                if at + 1 < ends[row + 1] and _own(h, classes):
                    h = h * _MIX_B ^ hashes[at + 1]  # a pair of characters
                bits = _mixed(h)
                for d in range(DIM):
                    total[d] += unknown if (bits >> np.uint64(d)) & _ONE else -unknown
        square = 0.0
        for d in range(DIM):
            square += np.float64(total[d]) * np.float64(total[d])
        known[row] = square > 0.0
        if square > 0.0:
            for d in range(DIM):
                out[row, d] = np.float32(np.float64(total[d]) / np.sqrt(square))
