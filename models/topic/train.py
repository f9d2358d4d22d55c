"""Distil the word vectors: `python models/topic/train.py [--gathered gathered.parquet]` writes topic.safetensors and config.toml.

The recipe is model2vec's (Tulkens and van Dongen 2024): the sentence encoder reads each word of a vocabulary alone, principal
components reduce its vectors, and smooth inverse frequency (Arora, Liang and Ma 2017, equation 3) weighs the words.  Texts give
words and how common they are, nothing else; they are read by `curator.text`, as the stage reads them.

Reads ../shared/data (never committed) and what `models/ai-text/gather.py` gathered.  One thread: the same data give the same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Final

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from safetensors.numpy import save

from curator.stages.embed import Encoder, default_folder
from curator.stages.topic import DIM
from curator.text import normalised, utf8_view

HERE: Final = Path(__file__).resolve().parent
DATA: Final = HERE.parents[2] / "shared" / "data"
# Sets whose licence grants use; the others cost nothing to leave out (card.md).
SETS: Final = (
    "biscope", "gptid_reddit", "mage_adv_paraphrase", "authenticheck_essays", "spamassassin", "nltk_human", "novels_chunks",
    "blog_18f",
)  # fmt: skip
FEWEST: Final = 5  # documents that a word must be in, unless the encoder's own vocabulary has it
WORD: Final = re.compile(r"[a-z0-9ß-öø-ÿ]{1,24}")  # small letters of Latin-1 and digits: what the encoder reads well
BLOCK: Final = 2_048  # words encoded between two lines of progress
SMOOTH: Final = 1e-2  # a of a / (a + p): the share of all words at which a word counts half
UNKNOWN: Final = 0.2  # length of what an unknown word adds, as a part of the mean length of a rare known word's

F64 = npt.NDArray[np.float64]


def texts(data: Path, gathered: Path | None) -> Iterator[tuple[str, pa.Array]]:
    """Every set's human texts, each once."""
    files = [(name, data / "detect/train" / f"{name}.parquet") for name in SETS]
    for name, path in files + ([("gathered", gathered)] if gathered else []):
        table = pq.read_table(path, columns=["text", "label"])
        yield name, pc.unique(table.filter(pc.equal(table["label"], "human"))["text"].cast(pa.large_string()))


def counted(column: pa.Array) -> tuple[Counter[str], Counter[str]]:
    """How many texts hold each word, and how often it occurs."""
    ends, utf8 = normalised(utf8_view(column))
    documents: Counter[str] = Counter()
    occurrences: Counter[str] = Counter()
    for begin, end in pairwise(ends):
        words = utf8[begin:end].tobytes().decode("utf-8", "replace").split(" ")
        documents.update(set(words))
        occurrences.update(words)
    return documents, occurrences


def encoder_words() -> list[str]:
    """Whole words among the encoder's word pieces, commonest first as its makers left them."""
    pieces = json.loads((default_folder() / "tokenizer.json").read_text("utf-8"))["model"]["vocab"]
    return [piece for piece in pieces if WORD.fullmatch(piece)]


def frequencies(data: Path, gathered: Path | None) -> dict[str, float]:
    """The vocabulary with each word's share of all words, the mean over the sets so that no large one sets the tone."""
    documents: Counter[str] = Counter()
    shares: Counter[str] = Counter()
    sets = 0
    for name, column in texts(data, gathered):
        held, occurrences = counted(column)
        documents.update(held)
        total = sum(occurrences.values())
        for word, count in occurrences.items():
            shares[word] += count / total
        sets += 1
        print(f"{name}: {len(column):,} texts, {total:,} words", flush=True)
    words = {word for word, count in documents.items() if count >= FEWEST and WORD.fullmatch(word)}
    words.update(encoder_words())
    least = min(shares[word] for word in words if word in shares) / sets
    return {word: max(shares[word] / sets, least) for word in words}


def encoded(words: list[str]) -> F64:
    """What the encoder says of each word alone.  [words, 384]"""
    import torch

    torch.set_num_threads(1)
    model = Encoder(str(default_folder()), 32, early=False).model
    blocks = []
    for at in range(0, len(words), BLOCK):
        block = words[at : at + BLOCK]
        blocks.append(model.encode(block, batch_size=128, show_progress_bar=False, normalize_embeddings=True))
        print(f"{at + len(block):,} of {len(words):,} words", flush=True)
    return np.concatenate(blocks).astype(np.float64)


def reduced(vectors: F64, weight: F64, dim: int = DIM) -> F64:
    """Centre by the words' weights, and bring the first principal components to one spread (whitening).  [words, dim]"""
    centred = vectors - np.average(vectors, 0, weight)
    spread, axes = np.linalg.eigh(centred.T @ centred / len(centred))
    kept = axes[:, ::-1][:, :dim] / np.sqrt(spread[::-1][:dim])
    kept *= np.sign(kept[np.abs(kept).argmax(0), np.arange(dim)])  # a component has no sign of its own
    found: F64 = centred @ kept
    return found


def quantised(vectors: F64, weight: F64) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.uint16]]:
    """Split weight · vector into bytes, each word to its own scale, and a whole number below 4096 for the scale."""
    scale = np.abs(vectors).max(1)
    small = np.rint(vectors / scale[:, None] * 127).astype(np.int8)
    strength = weight * scale
    return small, np.rint(strength / strength.max() * 4095).astype(np.uint16)


def main() -> None:
    """Count, encode, reduce, weigh, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--gathered", type=Path, help="gathered.parquet of models/ai-text/gather.py")
    arguments = parser.parse_args()
    share = frequencies(arguments.data, arguments.gathered)
    words = sorted(share, key=lambda word: (-share[word], word))
    p = np.array([share[word] for word in words])
    weight = SMOOTH / (SMOOTH + p)
    vectors, weights = quantised(reduced(encoded(words), p * weight), weight)
    typical = float(np.median(weights * np.linalg.norm(vectors.astype(np.float64), axis=1)))
    names = np.frombuffer("\n".join(words).encode(), np.uint8)
    raw = save({"vectors": vectors, "weights": weights, "words": names})
    (HERE / "topic.safetensors").write_bytes(raw)
    (HERE / "config.toml").write_text(
        "# Written by train.py; the stage loads the file only when its sha256 is this one.\n"
        f'file = "topic.safetensors"\nsha256 = "{hashlib.sha256(raw).hexdigest()}"\n'
        f"words = {len(words)}\nunknown = {round(UNKNOWN * typical / DIM**0.5)}  # what an unknown word adds to each number\n",
        encoding="utf-8",
    )
    print(f"{len(words):,} words, {len(raw):,} bytes")


if __name__ == "__main__":
    main()
