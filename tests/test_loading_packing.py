"""Packing loses no token but what it says, and goes on at the very token."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from curator.errors import InputError
from curator.loader import CuratedDataset
from curator.loading.packing import PackedDataset
from tests.test_loader import write_run

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")
DOCUMENTS = 150


def write_tokenizer(path: Path, truncate: int | None = None) -> Path:
    """Words are tokens; "text", the number and "é" of each document have one each."""
    words = ["<unk>", "<end>", "<pad>", "text", "é", *map(str, range(DOCUMENTS))]
    tokenizer = Tokenizer(WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Whitespace()
    if truncate:
        tokenizer.enable_truncation(truncate)
        tokenizer.enable_padding(length=9)
    tokenizer.save(str(path))
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("packed") / "out", [DOCUMENTS])


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tokenizer(tmp_path_factory.mktemp("tokenizer") / "tokenizer.json")


def told(sequences: Any) -> list[tuple[list[int], list[Any]]]:
    return [(sequence["input_ids"].tolist(), sequence["spans"]) for sequence in sequences]


def wanted(source: CuratedDataset, tokenizer: Path, end: bool = True) -> list[tuple[str, int]]:
    """Every token of the source with its document."""
    reading = Tokenizer.from_file(str(tokenizer))
    reading.no_truncation()
    reading.no_padding()
    return [(sample["doc_id"], token) for sample in source for token in reading.encode(sample["text"]).ids + [1] * end]


def traced(sequences: list[tuple[list[int], list[Any]]]) -> list[tuple[str, int]]:
    """The tokens by their spans, which must lie end to end and count on within a document."""
    found, expected = [], {}
    for ids, spans in sequences:
        place = 0
        for span in spans:
            assert span.start == place < span.end and span.offset == expected.get(span.doc_id, 0)
            expected[span.doc_id] = span.offset + span.end - span.start
            found += [(span.doc_id, token) for token in ids[span.start : span.end]]
            place = span.end
    return found


@pytest.mark.parametrize("length", [1, 3, 7, 64, 100_000])
@pytest.mark.parametrize("end", [True, False])
def test_every_token_comes_once_with_its_document(run: Path, tokenizer: Path, length: int, end: bool) -> None:
    separator = "<end>" if end else None
    tokens = wanted(CuratedDataset(run), tokenizer, end)
    packed = PackedDataset(CuratedDataset(run), tokenizer, length, separator=separator)
    found = told(packed)
    assert all(len(ids) == length for ids, _ in found)
    assert traced(found) == tokens[: len(tokens) // length * length]
    assert packed.dropped_tokens == len(tokens) % length
    padded = told(PackedDataset(CuratedDataset(run), tokenizer, length, separator=separator, padding="<pad>"))
    assert traced(padded) == tokens
    assert all(len(ids) == length for ids, _ in padded)
    last, spans = padded[-1]
    assert set(last[spans[-1].end :]) <= {2}


def test_a_tokenizer_that_truncates_does_not(run: Path, tmp_path: Path) -> None:
    short = write_tokenizer(tmp_path / "short.json", truncate=1)
    assert traced(told(PackedDataset(CuratedDataset(run), short, 5))) == wanted(CuratedDataset(run), short, False)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(length=st.integers(1, 40), at=st.integers(0, 700), padded=st.booleans(), rank=st.integers(0, 1))
def test_a_state_gives_exactly_the_rest(
    run: Path, tokenizer: Path, length: int, at: int, padded: bool, rank: int
) -> None:
    def made() -> PackedDataset:
        source = CuratedDataset(run, seed=5, rank=rank, world=2)
        return PackedDataset(source, tokenizer, length, separator="<end>", padding="<pad>" if padded else None)

    whole = told(made())
    going = made()
    running = iter(going)
    before = told(itertools.islice(running, at))
    state = json.loads(json.dumps(going.state_dict()))
    again = made()
    again.load_state_dict(state)
    assert before + told(again) == (whole if at <= len(whole) else whole + told(again_of(made(), 1)))
    if at <= len(whole):
        assert told(again) == told(again_of(made(), 1))


def again_of(packed: PackedDataset, epoch: int) -> PackedDataset:
    packed.set_epoch(epoch)
    return packed


def test_other_sequences_are_refused(run: Path, tokenizer: Path, tmp_path: Path) -> None:
    packed = PackedDataset(CuratedDataset(run), tokenizer, 8)
    state = packed.state_dict()
    with pytest.raises(InputError, match=r"length 8.*has 9"):
        PackedDataset(CuratedDataset(run), tokenizer, 9).load_state_dict(state)
    with pytest.raises(InputError, match=r"share \[1, 0\].*has \[2, 0\]"):
        PackedDataset(CuratedDataset(run, world=2), tokenizer, 8).load_state_dict(state)
    with pytest.raises(InputError, match="tokenizer"):
        other = write_tokenizer(tmp_path / "other.json", truncate=3)
        PackedDataset(CuratedDataset(run), other, 8).load_state_dict(state)
    with pytest.raises(InputError, match=r"seed 0.*has 1"):
        PackedDataset(CuratedDataset(run, seed=1), tokenizer, 8).load_state_dict(state)
    with pytest.raises(InputError, match="lacks source"):
        packed.load_state_dict({k: v for k, v in state.items() if k != "source"})


def test_what_is_no_tokenizer_is_refused(run: Path, tokenizer: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text("{}")
    for path, told_ in ((tmp_path / "bad.json", "no file that"), (tmp_path / "absent.json", "cannot be read")):
        with pytest.raises(InputError, match=told_):
            PackedDataset(CuratedDataset(run), path, 8)
    with pytest.raises(InputError, match="no token '<none>'"):
        PackedDataset(CuratedDataset(run), tokenizer, 8, separator="<none>")
    with pytest.raises(InputError, match="length of at least 1"):
        PackedDataset(CuratedDataset(run), tokenizer, 0)


def test_torch_workers_pack_their_own_documents(run: Path, tokenizer: Path) -> None:
    torch = pytest.importorskip("torch")
    view = PackedDataset(CuratedDataset(run), tokenizer, 6, separator="<end>", padding="<pad>").as_torch()
    found = list(torch.utils.data.DataLoader(view, batch_size=None, num_workers=2, multiprocessing_context="fork"))
    tokens = traced([(np.asarray(sequence["input_ids"]).tolist(), sequence["spans"]) for sequence in found])
    assert sorted(tokens) == sorted(wanted(CuratedDataset(run), tokenizer))
