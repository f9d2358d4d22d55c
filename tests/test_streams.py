"""Files of any compression as blocks and lines, in bounded memory."""

from __future__ import annotations

import bz2
import gzip
import lzma
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curator.readers import streams
from curator.readers.streams import CutLineError, DamagedError, blocks, charset_of, lines

ZSTD = zstandard.ZstdCompressor().compress
COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": gzip.compress,
    "zstd": ZSTD,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
}
packed = pytest.mark.parametrize("kind", ["gzip", "zstd", "bzip2", "xz"])
TEXT = b"".join(b"line %d of a text that goes on and on\n" % i for i in range(100_000))


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def all_of(path: Path, start: int = 0) -> tuple[bytes, str | None]:
    """What the stream gives, and how it broke off."""
    found = []
    try:
        for block in blocks(path, start):
            found.append(block)
    except DamagedError as error:
        return b"".join(found), str(error)
    return b"".join(found), None


@pytest.mark.parametrize("kind", COMPRESS)
def test_every_compression_gives_the_same_bytes_from_every_place(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path / "named.as-nothing", COMPRESS[kind](TEXT))
    for start in (0, 1, 1 << 20, len(TEXT) - 1, len(TEXT), len(TEXT) + 5):
        assert all_of(path, start) == (TEXT[start:], None)


@packed
def test_members_follow_each_other_with_padding_between(tmp_path: Path, kind: str) -> None:
    one, two = COMPRESS[kind](b"one "), COMPRESS[kind](b"two")
    assert all_of(write(tmp_path / "a", one + two))[0] == b"one two"
    assert all_of(write(tmp_path / "b", one + bytes(1000) + two + bytes(512))) == (b"one two", None)
    assert all_of(write(tmp_path / "c", one + b"garbage"))[0] == b"one "
    assert all_of(tmp_path / "c")[1] is not None


@packed
def test_what_is_cut_off_gives_its_good_part(tmp_path: Path, kind: str) -> None:
    whole = COMPRESS[kind](TEXT[:1_000_000]) + COMPRESS[kind](TEXT[1_000_000:2_000_000])
    data, fault = all_of(write(tmp_path / "a", whole[:-10]))
    assert TEXT.startswith(data) and len(data) >= 1_000_000 and fault == "it is cut off"
    assert all_of(tmp_path / "a", len(data)) == (b"", fault)  # at the fault: told again
    assert all_of(tmp_path / "a", len(data) + 1) == (b"", None)  # behind it: known already


def test_a_wrong_checksum_is_noticed(tmp_path: Path) -> None:
    data = bytearray(gzip.compress(b"some text"))
    data[-8] ^= 1
    assert (
        all_of(write(tmp_path / "a", bytes(data)))[1]
        == "error: Error -3 while decompressing data: incorrect data check"
    )


def test_zstd_frames_of_any_kind(tmp_path: Path) -> None:
    skippable = b"\x5a\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"hello"
    assert all_of(write(tmp_path / "a", skippable + ZSTD(b"text"))) == (b"text", None)
    params = zstandard.ZstdCompressionParameters(window_log=28, enable_ldm=True)
    stream = zstandard.ZstdCompressor(compression_params=params).compressobj()
    wide = stream.compress(b"text") + stream.flush()
    assert "memory" in str(all_of(write(tmp_path / "b", wide))[1])


def test_lz4_by_arrow(tmp_path: Path) -> None:
    packed = pa.Codec("lz4").compress(TEXT, asbytes=True)
    path = write(tmp_path / "a", packed + packed)
    for start in (0, 5, len(TEXT), 2 * len(TEXT)):
        assert all_of(path, start) == ((TEXT * 2)[start:], None)
    data, fault = all_of(write(tmp_path / "b", packed[: len(packed) // 2]))
    assert TEXT.startswith(data) and data and fault == "Truncated compressed stream"


@packed
def test_a_bomb_takes_little_memory(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path / "bomb", COMPRESS[kind](bytes(200 << 20)))
    tracemalloc.start()
    assert sum(map(len, blocks(path))) == 200 << 20
    assert tracemalloc.get_traced_memory()[1] < 48 << 20
    tracemalloc.stop()


def test_a_bomb_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "_BOMB_BYTES", 4 << 20)
    path = write(tmp_path / "bomb", gzip.compress(bytes(64 << 20)))
    data, fault = all_of(path)
    assert len(data) < 40 << 20 and str(fault).startswith("a decompression bomb: ")
    assert all_of(path, len(data) + 1) == (b"", None)
    assert all_of(write(tmp_path / "text", gzip.compress(TEXT * 3))) == (TEXT * 3, None)


def test_passing_over_shows_life(tmp_path: Path) -> None:
    beats: list[int] = []
    path = write(tmp_path / "a", gzip.compress(bytes(5 << 20)))
    assert len(next(blocks(path, 4_500_000, beats.append))) and len(beats) >= 4 and set(beats) == {4_500_000}


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(sorted(COMPRESS)), st.binary(max_size=200), st.data())
def test_mutated_streams_never_raise_anything_else(tmp_path: Path, kind: str, body: bytes, data: st.DataObject) -> None:
    mutated = bytearray(COMPRESS[kind](body))
    for place in data.draw(st.lists(st.integers(0, len(mutated)), max_size=3)):
        mutated[place : place + 1] = data.draw(st.binary(max_size=3))
    path = write(tmp_path / "a", bytes(mutated))
    found, fault = all_of(path)
    start = data.draw(st.integers(0, len(found) + 2))
    assert all_of(path, start) == (found[start:], fault if start <= len(found) else None)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=8).map(lambda b: b.replace(b"x", b"\n"))), st.integers(1, 12))
def test_lines_are_those_of_the_whole(pieces: list[bytes], limit: int) -> None:
    whole = b"".join(pieces)
    found = list(lines(iter(pieces), 100, limit))
    expected = [line + b"\n" for line in whole.split(b"\n")[:-1]] + [line for line in whole.split(b"\n")[-1:] if line]
    assert [whole[f.offset - 100 : f.end - 100] for f in found] == expected
    assert [f.data for f in found] == [e if len(e.rstrip(b"\n")) <= limit else None for e in expected]


def test_a_line_that_breaks_off_is_told(tmp_path: Path) -> None:
    path = write(tmp_path / "a", ZSTD(b"one\ntwo\nthr") + ZSTD(b"ee\n")[:-3])
    with pytest.raises(CutLineError) as error:
        list(lines(blocks(path), 0, 100))
    assert (error.value.offset, error.value.end, error.value.why) == (8, 11, "it is cut off")


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"", "utf-8"),
        (b"plain", "utf-8"),
        ("naïve".encode() + b"\xc3", "utf-8"),
        (("é" * 10).encode() + b"\xff.", "utf-8"),
        (b"\xff\xfea\0", "utf-16"),
        (b"\xff\xfe\0\0a\0\0\0", "utf-32"),
        (("Die Straße ist naß, das Übel groß, die Äpfel grün. " * 3).encode("cp1252"), "cp1252"),
    ],
)  # fmt: skip
def test_charsets(head: bytes, expected: str) -> None:
    assert charset_of(head) == expected
