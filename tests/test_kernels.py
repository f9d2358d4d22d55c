"""Kernels are never stale, and the instructions do what their promises say."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curator.kernels import (
    _hash_of,
    kernel,
    leading_zeros,
    load_8,
    lower_4,
    store_8,
    trailing_zeros,
    turn_8,
    word_bits,
)

CALLED = "from curator.kernels import kernel\nSCALE = {scale}\n@kernel\ndef scaled(x):\n    return {term} * SCALE\n"
CALLER = (
    "from below import scaled\nfrom curator.kernels import kernel\n@kernel\ndef answer(x):\n    return scaled(x) + 1\n"
    "if __name__ == '__main__':\n    import above\n    print(above.answer(5), sum(above.answer.stats.cache_hits.values()))\n"
)


def run(folder: Path) -> str:
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(folder / "cache"), "PYTHONPATH": str(folder)}
    root = str(Path(__file__).parents[1])
    environment["PYTHONPATH"] += os.pathsep + root
    done = subprocess.run([sys.executable, folder / "above.py"], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_cached_kernel_notices_what_changed_in_another_file(tmp_path: Path) -> None:
    """numba alone would go on running the caller's old code: it looks at the caller's file only."""
    (tmp_path / "above.py").write_text(CALLER)
    (tmp_path / "below.py").write_text(CALLED.format(scale=2, term="x"))
    assert [run(tmp_path), run(tmp_path)] == ["11 0", "11 1"]
    (tmp_path / "below.py").write_text(CALLED.format(scale=3, term="x"))  # a constant
    assert run(tmp_path) == "16 0"
    (tmp_path / "below.py").write_text(CALLED.format(scale=3, term="(x + x)"))  # the code
    assert [run(tmp_path), run(tmp_path)] == ["31 0", "31 1"]


def test_the_hash_of_a_kernel_depends_on_what_it_reads() -> None:
    names: dict[str, object] = {"np": np}

    def hash_with(**constants: object) -> str:
        exec("def f(x):\n    return T[x] + N + np.uint64(1)", names | constants, made := {})
        return _hash_of(made["f"])

    first = hash_with(T=np.arange(3), N=1)
    assert first == hash_with(T=np.arange(3), N=1)
    others = [hash_with(T=np.array([0, 1, 3]), N=1), hash_with(T=np.arange(3), N=2), hash_with(T=(0, 1, 2), N=1)]
    assert len({first, *others}) == 4


@kernel
def _bits(data: np.ndarray, at: int) -> tuple[int, int]:
    return word_bits(data, at)


@kernel
def _zeros(value: np.uint64) -> tuple[int, int]:
    return leading_zeros(value), trailing_zeros(value)


@kernel
def _move(data: np.ndarray, at: int, out: np.ndarray, to: int) -> None:
    store_8(out, to, load_8(data, at))


@kernel
def _turn(words: np.ndarray, ngram: int, out: np.ndarray) -> None:
    turn_8(words, 1, ngram, np.uint64(13), out, 2)


@kernel
def _lower(block: np.ndarray, a: np.ndarray, b: np.ndarray, least: np.ndarray) -> None:
    lower_4(block, len(block), a, b, least, 4)


@settings(deadline=None)
@given(st.binary(min_size=70, max_size=70), st.integers(0, 6))
def test_word_bits_are_those_of_letters_and_digits(data: bytes, at: int) -> None:
    words, beyond = _bits(np.frombuffer(data, np.uint8), at)
    block = data[at : at + 64]
    assert words == sum((byte < 128 and chr(byte).isalnum()) << i for i, byte in enumerate(block))
    assert beyond == sum((byte >= 128) << i for i, byte in enumerate(block))


def test_every_byte_in_every_place_of_a_block() -> None:
    for byte in range(256):
        words, beyond = _bits(np.full(64, byte, np.uint8), 0)
        assert words == (2**64 - 1) * (byte < 128 and chr(byte).isalnum())
        assert beyond == (2**64 - 1) * (byte >= 128)


@pytest.mark.parametrize("value", [0, 1, 2**63, 2**64 - 1, 0x0000_1000_0001_0000])
def test_zeros(value: int) -> None:
    assert _zeros(np.uint64(value)) == (64 - value.bit_length(), (value & -value).bit_length() - 1 if value else 64)


def test_eight_bytes_move_unaligned() -> None:
    out = np.zeros(16, np.uint8)
    _move(np.arange(20, dtype=np.uint8), 3, out, 5)
    assert out.tolist() == [0] * 5 + list(range(3, 11)) + [0] * 3


@pytest.mark.parametrize("ngram", [1, 5, 64])
def test_turn_8_is_a_turn_and_an_exclusive_or_for_every_word(ngram: int) -> None:
    words = np.random.default_rng(ngram).integers(0, 2**64, 8 + ngram, np.uint64)
    out = np.zeros(11, np.uint64)
    _turn(words, ngram, out)
    for i in range(8):
        value = 0
        for word in words[1 + i : 1 + i + ngram].tolist():
            value = ((value << 13 | value >> 51) & (2**64 - 1)) ^ word
        assert out[2 + i] == value
    assert (out[[0, 1, 10]] == 0).all()


def test_lower_4_takes_the_least_of_four_permutations() -> None:
    rng = np.random.default_rng(1)
    block, a, b = (rng.integers(0, 2**32, n, np.uint32) for n in (48, 12, 12))
    least = np.full(12, 2**32 - 1, np.uint32)
    least[5] = 7
    _lower(block, a, b, least)
    expected = (block[:, None] * a + b).min(axis=0)
    expected[5] = min(expected[5], 7)
    assert least[4:8].tolist() == expected[4:8].tolist()
    assert (np.delete(least, range(4, 8)) == 2**32 - 1).all()
