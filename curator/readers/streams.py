"""Open a file, plain or compressed, as a stream of blocks and lines, in bounded memory whatever the file holds.

What a file is compressed with is told by its first bytes: names lie. Places are byte offsets in the
uncompressed stream; to begin behind one seeks in a plain file and decompresses again in any other.
"""

from __future__ import annotations

import bz2
import codecs
import lzma
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple, Protocol

import pyarrow as pa
import zstandard
from resiliparse.parse.encoding import detect_encoding

BLOCK_BYTES: Final = 1 << 20  # uncompressed, given at a time
_READ_BYTES: Final = 64 << 10  # compressed, read at a time

# A dictionary or window is allocated before the first byte comes out; the header alone can ask for gigabytes.
_WINDOW_BYTES: Final = 128 << 20  # what `zstd -d` grants as well; `xz -9` needs 65 MiB
# Four bytes of a zstd stream can stand for 128 KiB: so much at a time is at most 16 MiB of output.
_ZSTD_PIECE_BYTES: Final = 512


# Text compresses ten times, the most repetitive a hundred times; zeros a thousand (gzip) to thirty thousand times (zstd).
_BOMB_RATIO: Final = 500
_BOMB_BYTES: Final = 1 << 30  # below this a bomb costs seconds

Beat = Callable[[int], None]  # told a place now and then, where there is long nothing to give


class DamagedError(Exception):
    """A compressed stream goes no further: it is cut off, corrupt, or asks for too much memory."""


class _Decoder(Protocol):
    """One member (gzip), frame (zstd) or stream (bz2, xz), as bz2 and lzma of the standard library show it."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


class _Gzip:
    """zlib's own object, with the face of the others; it checks each member's CRC and length."""

    def __init__(self) -> None:
        self._decoder = zlib.decompressobj(wbits=31)

    @property
    def eof(self) -> bool:
        return self._decoder.eof

    @property
    def needs_input(self) -> bool:
        return not self._decoder.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._decoder.unused_data

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        return self._decoder.decompress(self._decoder.unconsumed_tail + data, max_length)


class _Zstd:
    """zstandard's object, fed by the spoon: it takes no limit on what it gives, and its stream reader hides a cut-off end."""

    def __init__(self) -> None:
        self._decoder = zstandard.ZstdDecompressor(max_window_size=_WINDOW_BYTES).decompressobj()
        self._input, self._done = b"", 0

    @property
    def eof(self) -> bool:
        return bool(self._decoder.eof)

    @property
    def needs_input(self) -> bool:
        return self._done >= len(self._input)

    @property
    def unused_data(self) -> bytes:
        return bytes(self._decoder.unused_data) + self._input[self._done :]

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        if data:
            self._input, self._done = self._input[self._done :] + data, 0
        found: list[bytes] = []
        room = max_length
        while room > 0 and not self.eof and not self.needs_input:
            found.append(self._decoder.decompress(self._input[self._done : self._done + _ZSTD_PIECE_BYTES]))
            self._done += _ZSTD_PIECE_BYTES
            room -= len(found[-1])
        return b"".join(found)


def _xz() -> _Decoder:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_WINDOW_BYTES)


_MAGIC: Final[tuple[tuple[bytes, str, Callable[[], _Decoder]], ...]] = (
    (b"\x1f\x8b\x08", "gzip", _Gzip),
    (b"\x28\xb5\x2f\xfd", "zstd", _Zstd),
    *((bytes((0x50 + i,)) + b"\x2a\x4d\x18", "zstd", _Zstd) for i in range(16)),  # a skippable frame comes first
    *((b"BZh%d\x31\x41\x59\x26\x53\x59" % i, "bzip2", bz2.BZ2Decompressor) for i in range(1, 10)),
    (b"\xfd7zXZ\x00", "xz", _xz),
)
_LZ4: Final = b"\x04\x22\x4d\x18"
_LZ4_BYTES: Final = 16 << 10  # Arrow loses as much of the good part where a stream breaks off
_FAULTS: Final = (EOFError, ValueError, OSError, MemoryError, zlib.error, lzma.LZMAError, zstandard.ZstdError)


def compression(head: bytes) -> str | None:
    """What a file that begins with `head` is compressed with: gzip, zstd, bzip2, xz or lz4; None for a plain one."""
    if head.startswith(_LZ4):
        return "lz4"
    return next((name for magic, name, _ in _MAGIC if head.startswith(magic)), None)


def blocks(path: Path, start: int = 0, beat: Beat = lambda place: None) -> Iterator[bytes]:
    """Yield the uncompressed stream from byte `start` on, in blocks of at most 17 MiB, none of them empty.

    beat: called with `start` for every block that is passed over on the way there.
    Raises `DamagedError` where a compressed stream breaks off, behind the last byte that could be had; nothing at
    all where that is before `start`.
    """
    with path.open("rb", buffering=0) as file:
        head = file.read(16)
        decoder = next((make for magic, _, make in _MAGIC if head.startswith(magic)), None)
        packed = decoder is not None or head.startswith(_LZ4)
        file.seek(0 if packed else start)
        if packed:
            yield from _skip(_inflate(file, decoder) if decoder else _lz4(file), start, beat)
        else:
            yield from iter(lambda: file.read(BLOCK_BYTES), b"")


def _skip(stream: Iterator[bytes], start: int, beat: Beat) -> Iterator[bytes]:
    left = start
    while left > 0:
        try:
            block = next(stream, b"")
        except DamagedError:  # whoever begins behind it has been told
            return
        if not block:
            return
        beat(start)
        if left < len(block):
            yield block[left:]
        left -= len(block)
    yield from stream


def _inflate(file: BinaryIO, new: Callable[[], _Decoder]) -> Iterator[bytes]:
    """Decompress member after member; zeros between and behind them are padding."""
    decoder, pending, taken, given = new(), b"", 0, 0
    while True:
        if not pending and (decoder.eof or decoder.needs_input):
            pending = file.read(_READ_BYTES)
            taken += len(pending)
            if not pending and not decoder.eof:
                raise DamagedError("it is cut off")
            if not pending:
                return
        if decoder.eof:
            pending = pending.lstrip(b"\0")
            if not pending:
                continue
            decoder = new()
        data = _step(decoder, pending)
        pending = decoder.unused_data if decoder.eof else b""
        given += len(data)
        if given > max(_BOMB_BYTES, _BOMB_RATIO * taken):
            raise DamagedError(f"a decompression bomb: {taken} bytes became {given}")
        if data:
            yield data


def _step(decoder: _Decoder, data: bytes) -> bytes:
    try:
        return decoder.decompress(data, BLOCK_BYTES)
    except _FAULTS as error:
        raise DamagedError(f"{type(error).__name__}: {error}"[:120]) from error


def _lz4(file: BinaryIO) -> Iterator[bytes]:
    stream = pa.CompressedInputStream(pa.PythonFile(file, "r"), "lz4")
    while True:
        try:
            block = stream.read(_LZ4_BYTES)
        except (pa.ArrowException, OSError) as error:
            raise DamagedError(str(error)[:120]) from error
        if not block:
            return
        yield block


class Line(NamedTuple):
    """A line of a stream: its place, the place of the next, and its bytes with their line end; None where it is too long."""

    offset: int
    end: int
    data: bytes | None


def lines(
    stream: Iterator[bytes], offset: int, limit: int, beat: Beat = lambda place: None, newline: bytes = b"\n"
) -> Iterator[Line]:
    """Cut `stream`, which begins at `offset`, into lines; one of more than `limit` bytes is passed over, never held.

    beat: called for every block with the place of the line under way.
    Raises `CutLineError` for `DamagedError` of the stream: it knows how far the line reached that was under way.
    """
    held: list[bytes] = []  # the line under way, in pieces
    size = 0
    try:
        for block in stream:
            beat(offset)
            *whole, rest = block.split(newline)
            for piece in whole:
                size += len(piece) + 1
                data = _join(held, piece + newline) if size <= limit + 1 else None
                yield Line(offset, offset + size, data)
                offset, size = offset + size, 0
                held.clear()
            size += len(rest)
            held.append(rest)
            if size > limit:
                held.clear()
    except DamagedError as error:
        raise CutLineError(offset, offset + size, str(error)) from error
    if size:
        yield Line(offset, offset + size, b"".join(held) if size <= limit else None)


def _join(held: list[bytes], last: bytes) -> bytes:
    return b"".join([*held, last]) if held else last


@dataclass
class CutLineError(DamagedError):
    """The stream broke off at `end`, within the line that begins at `offset`."""

    offset: int
    end: int
    why: str


def charset_of(head: bytes) -> str:
    """The character encoding of a text that begins with `head`, by its Python name.

    A byte order mark decides; then UTF-8, if at most one in ten of the characters beyond ASCII is broken (a
    bad byte in a good file is a fault of its line, no other encoding); then what uchardet finds. On 150 real pages
    written in cp1252 it was right for 147, charset-normalizer for 121.
    """
    for mark, name in ((b"\xff\xfe\0\0", "utf-32"), (b"\0\0\xfe\xff", "utf-32"), (b"\xef\xbb\xbf", "utf-8")):
        if head.startswith(mark):
            return name
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    text = head.decode("utf-8", "replace")
    broken = text.count("\ufffd") - text.endswith("\ufffd")
    if 11 * broken <= len(text) - len(text.encode("ascii", "ignore")):
        return "utf-8"
    found = detect_encoding(head)
    return found if found and found != "utf-8" else _unnamed(head)


def _unnamed(head: bytes) -> str:
    """The detector answers UTF-8 where it does not know, and for Korean, whose name it lacks."""
    try:
        codecs.getincrementaldecoder("cp949")().decode(head)
    except UnicodeDecodeError:
        return "cp1252"
    return "cp949"
