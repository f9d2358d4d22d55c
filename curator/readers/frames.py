"""The decompressed bytes of an archive, in segments: the runs of compressed frames that begin with a record.

A frame is a gzip member, a zstd or an lz4 frame. Well-made archives hold one record in each, so a segment is one
frame; one frame over a whole file is one segment too, and so is a file that is not compressed. No more is decompressed
than was asked for, and where a frame is damaged the next sound one that begins with a record is looked for behind it.
"""

from __future__ import annotations

import io
import re
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, Protocol

import zstandard
from fastwarc.stream_io import Lz4Reader

_BLOCK: Final = 1 << 16  # of the file
_PIECE: Final = 1 << 18  # of decompressed bytes
_PROBE: Final = 1024  # of a frame, to see how it begins: a deflate header takes up to 320 bytes
_HEAD: Final = 4096  # of a damaged frame's content
_FIRST_BLOCK: Final = (4 << 20) + 64  # the largest block of lz4; zstd's are smaller
_MAX_PROBES: Final = 100_000  # places that only look like a frame, between two that are: more were put there
_STEP: Final = 64  # bytes, enough to know a record by
_FAULTS: Final = (OSError, zlib.error, zstandard.ZstdError, MemoryError)
_BOMB_BYTES: Final = 256 << 20  # no record yields so much …
_BOMB_RATIO: Final = 50  # … out of a fiftieth, unless it was made to
_MAX_DICTIONARY_BYTES: Final = 16 << 20
_WINDOW_BYTES: Final = 128 << 20  # what zstd allows without being asked

_GZIP: Final = re.compile(rb"\x1f\x8b\x08[\x00-\x1f].{4}[\x00\x02\x04][\x00-\x0d\xff]", re.DOTALL)
_ZSTD: Final = re.compile(rb"\x28\xb5\x2f\xfd")
_LZ4: Final = re.compile(rb"\x04\x22\x4d\x18[\x40-\x7f][\x40-\x70]")
_SKIPPABLE: Final = re.compile(rb"[\x50-\x5f]\x2a\x4d\x18")


class Damaged(Exception):
    """A frame that cannot be decompressed further; says why."""


class Input:
    """A file read in blocks from any place."""

    def __init__(self, path: Path) -> None:
        """Open the file; `close` lets go of it."""
        self.size = path.stat().st_size
        self._file = path.open("rb", buffering=0)
        self._start, self._block = 0, b""

    def at(self, place: int, least: int = 1) -> memoryview:
        """What is at hand from `place` on: at least `least` bytes where the file has them."""
        skip = place - self._start
        if not 0 <= skip <= len(self._block) - least:
            self._file.seek(place)
            self._start, self._block, skip = place, self._file.read(max(_BLOCK, least)), 0
        return memoryview(self._block)[skip:]

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


class Frame(Protocol):
    """One frame being decompressed; `end` is the place in the file up to which it was read."""

    end: int

    def read(self) -> bytes:
        """Return the next bytes; none when the frame is through. Raises `Damaged`."""


class _Plain:
    """A file that is not compressed is one frame."""

    def __init__(self, source: Input, place: int) -> None:
        self._source, self.end = source, place

    def read(self) -> bytes:
        block = bytes(self._source.at(self.end))
        self.end += len(block)
        return block


class _Broken:
    """A frame found damaged: what its first bytes still say, for they may name the record; then the damage."""

    def __init__(self, head: bytes, why: str, end: int) -> None:
        self._head, self._why, self.end = head, why, end

    def read(self) -> bytes:
        if not self._head:
            raise Damaged(self._why)
        head, self._head = self._head, b""
        return head


class _Gzip:
    """A gzip member. zlib says where it ends, which fastwarc's reader does not."""

    def __init__(self, source: Input, place: int) -> None:
        self._source, self._place, self.end = source, place, place
        self._member = zlib.decompressobj(wbits=31)
        self._broken: _Broken | None = None

    def read(self) -> bytes:
        member = self._member
        while not member.eof:
            if self._broken is not None:
                return self._broken.read()
            block = self._source.at(self.end)
            if not block:
                raise Damaged("cut short")
            try:
                piece = member.decompress(block, _PIECE)
            except zlib.error as fault:
                head = _salvaged(_gunzipping(self._source.at(self._place, _PROBE))) if self.end == self._place else b""
                self._broken = _Broken(head, _fault(fault), self.end)
                continue
            # at the end of a member zlib gives what is left twice
            self.end += len(block) - len(member.unused_data if member.eof else member.unconsumed_tail)
            if piece:
                return piece
        return b""


class _Slice(io.RawIOBase):
    """A part of the file, as the file that a decoder reads."""

    def __init__(self, source: Input, place: int, end: int) -> None:
        self._source, self._first, self._place, self._end = source, place, place, end

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._place = offset + (self._first, self._place, self._end)[whence]
        return self._place - self._first

    def readinto(self, buffer: Any) -> int:
        block = self._source.at(self._place)[: min(len(buffer), self._end - self._place)]
        buffer[: len(block)] = block
        self._place += len(block)
        return len(block)


class _Framed:
    """A zstd or lz4 frame: its blocks say how long they are, so its end is known before it is decoded."""

    def __init__(self, source: Input, place: int, end: int | None, decoder: Callable[[io.RawIOBase], Any]) -> None:
        self._cut, self.end = end is None, source.size if end is None else end
        self._open: Callable[[], Any] = lambda: decoder(_Slice(source, place, self.end))
        self._decoder, self._started = self._open(), False
        self._broken: _Broken | None = None

    def read(self) -> bytes:
        if self._broken is not None:
            return self._broken.read()
        try:
            piece = bytes(self._decoder.read(_PIECE))
        except _FAULTS as fault:
            self._broken = _Broken(self._salvaged(), "cut short" if self._cut else _fault(fault), self.end)
            return self._broken.read()
        self._started = True
        if not piece and self._cut:
            raise Damaged("cut short")
        return piece

    def _salvaged(self) -> bytes:
        return b"" if self._started else _salvaged(_stepping(self._open()))


def _stepping(decoder: Any) -> Iterator[bytes]:
    while piece := bytes(decoder.read(_STEP)):
        yield piece


def _salvaged(pieces: Iterator[bytes], most: int = _HEAD) -> bytes:
    """What comes before the damage, and no more than `most` of it."""
    found = b""
    try:
        for piece in pieces:
            found += piece
            if len(found) >= most:
                break
    except _FAULTS:
        pass
    return found


def _gunzipping(block: memoryview) -> Iterator[bytes]:
    """Inflate in small steps: zlib keeps back all that a step gave if it finds damage in it."""
    member = zlib.decompressobj(wbits=31)
    for start in range(0, min(len(block), _HEAD), _STEP):
        yield member.decompress(block[start : start + _STEP])


def _fault(fault: BaseException) -> str:
    return str(fault).split(": ")[-1].lower()


class Packing:
    """How a file is compressed: where a frame may begin, how it is opened, and how a record begins in it."""

    def __init__(self, source: Input, begins: re.Pattern[bytes]) -> None:
        """Look at the first bytes; `begins` matches the first bytes of a record."""
        self._source = source
        head = bytes(source.at(0, 18)[:18])
        self._decoder = zstandard.ZstdDecompressor(max_window_size=_WINDOW_BYTES)
        self.first, self.begins = 0, begins
        if _GZIP.match(head) or head.startswith(b"\x1f\x8b"):
            self.name, self.magic = "gzip", _GZIP
        elif _ZSTD.match(head) or _SKIPPABLE.match(head):
            self.name, self.magic = "zstd", _ZSTD
            self._dictionary(head)
        elif _LZ4.match(head):
            self.name, self.magic = "lz4", _LZ4
        else:
            self.name, self.magic = "plain", begins

    def _dictionary(self, head: bytes) -> None:
        """Read the dictionary that a .warc.zst may begin with, itself compressed or not."""
        if not head.startswith(b"\x5d\x2a\x4d\x18"):
            return
        length = int.from_bytes(head[4:8], "little")
        if 8 + length > self._source.size:
            return
        self.first = 8 + length
        raw = bytes(self._source.at(8, min(length, _MAX_DICTIONARY_BYTES))[:length])
        if _ZSTD.match(raw):
            try:
                raw = self._decoder.stream_reader(raw).read(_MAX_DICTIONARY_BYTES)
            except zstandard.ZstdError:
                return  # every frame will say that its dictionary is missing
        if raw:
            made = zstandard.ZstdCompressionDict(raw)
            self._decoder = zstandard.ZstdDecompressor(dict_data=made, max_window_size=_WINDOW_BYTES)

    def open(self, place: int) -> Frame | None:
        """Open the frame at `place`; None where none begins."""
        if self.name == "plain":
            return _Plain(self._source, place)
        head = bytes(self._source.at(place, 18)[:18])
        if self.name == "gzip":
            return _Gzip(self._source, place) if head.startswith(b"\x1f\x8b") else None
        if self.name == "lz4":
            return _Framed(self._source, place, self._lz4_end(place), self._decoding) if _LZ4.match(head) else None
        if _SKIPPABLE.match(head):
            length = 8 + int.from_bytes(head[4:8], "little")
            end = place + length if place + length <= self._source.size else None
            return _Framed(self._source, place, end, lambda _: io.BytesIO())
        if not _ZSTD.match(head):
            return None
        return _Framed(self._source, place, self._zstd_end(place), self._decoding)

    def _zstd_end(self, place: int) -> int | None:
        """Walk over a zstd frame's blocks (RFC 8878, 3.1.1); None where the file ends in it or a block is impossible."""
        flags = self._byte(place + 4)
        single, checksum = flags >> 5 & 1, flags >> 2 & 1
        size_bytes = (single, 2, 4, 8)[flags >> 6]
        place += 5 + (1 - single) + (0, 1, 2, 4)[flags & 3] + size_bytes
        while place + 3 <= self._source.size:
            head = int.from_bytes(self._source.at(place, 3)[:3], "little")
            kind, length = head >> 1 & 3, head >> 3
            place += 3 + (1 if kind == 1 else length)
            if kind == 3 or length > 1 << 17:
                return None
            if head & 1:
                place += 4 * checksum
                return place if place <= self._source.size else None
        return None

    def _lz4_end(self, place: int) -> int | None:
        """Walk over an lz4 frame's blocks (its frame format, 1.6.4); None where the file ends in it."""
        flags = self._byte(place + 4)
        place += 7 + (8 if flags & 8 else 0) + (4 if flags & 1 else 0)
        while place + 4 <= self._source.size:
            length = int.from_bytes(self._source.at(place, 4)[:4], "little") & 0x7FFFFFFF
            place += 4 + length + (4 if length and flags & 16 else 0)
            if not length:
                place += 4 if flags & 4 else 0
                return place if place <= self._source.size else None
        return None

    def _byte(self, place: int) -> int:
        part = self._source.at(place)
        return part[0] if part else 0

    def begins_record(self, place: int) -> bool:
        """Say whether a frame at `place` decompresses and begins as a record does."""
        if self.name == "gzip":
            return self.begins.match(_first_of_gzip(self._source.at(place, _PROBE)[:_PROBE])) is not None
        if self.magic.match(bytes(self._source.at(place, 18)[:18])) is None:
            return False
        part = _Slice(self._source, place, min(place + _FIRST_BLOCK, self._source.size))
        return self.begins.match(_salvaged(_stepping(self._decoding(part)), _STEP)) is not None

    def _decoding(self, part: Any) -> Any:
        return Lz4Reader(part) if self.name == "lz4" else self._decoder.stream_reader(part, read_size=_BLOCK)

    def next_record(self, place: int, beat: Callable[[], None]) -> int:
        """Find the next frame at or behind `place` that begins with a record, else the file's end; linear in what it passes."""
        probes = 0
        while place < self._source.size and probes < _MAX_PROBES:
            beat()
            block = bytes(self._source.at(place, 32))
            for found in self.magic.finditer(block):
                probes += 1
                if self.begins_record(place + found.start()):
                    return place + found.start()
            place += len(block) - 16 if len(block) > 32 else len(block)
        return self._source.size


def _first_of_gzip(head: memoryview) -> bytes:
    try:
        return zlib.decompressobj(wbits=31).decompress(head, _STEP)
    except zlib.error:
        return b""


class Segment:
    """Decompressed bytes from a frame that begins with a record up to the next such frame.

    buffer: what is at hand; taken from its front. position: how many bytes were taken before it.
    fault: why nothing comes behind what is at hand, if that is not the segment's natural end.
    """

    def __init__(self, packing: Packing, place: int) -> None:
        """Open the segment at `place`; it is empty and at its end where no frame begins there."""
        self.place, self.end = place, place  # in the file
        self.buffer, self.position = bytearray(), 0
        self.fault: str | None = None
        self._packing, self._through = packing, False
        self._frame: Frame | None = packing.open(place)
        self.frames = [(0, place)]  # where each begins, in the decompressed bytes and in the file, from the front's on
        self._pulled = self._mark = 0

    def ahead(self, count: int) -> int:
        """Have `count` bytes at hand, or as many as there are; returns how many."""
        while len(self.buffer) < count and self._pull():
            pass
        return min(count, len(self.buffer))

    def drop(self, count: int) -> None:
        """Take bytes that are at hand off the front."""
        del self.buffer[:count]
        self.position += count
        while len(self.frames) > 1 and self.frames[1][0] <= self.position:
            del self.frames[0]

    def skip(self, count: int) -> int:
        """Take bytes off the front without ever holding them; returns how many there were."""
        left = count
        while left and self.ahead(1):
            step = min(left, len(self.buffer))
            self.drop(step)
            left -= step
        return count - left

    def jump(self, count: int) -> None:
        """Go `count` bytes on without reading them; only a file that is not compressed can."""
        self.buffer.clear()
        self.position += count
        self._frame = self._packing.open(self.place + self.position)
        self._through = False

    def next_item(self) -> None:
        """Begin to count anew what is decompressed for one record."""
        self._mark = self._pulled

    def _pull(self) -> bool:
        """Decompress one piece more."""
        if self._through or self._frame is None:
            return False
        try:
            piece = self._frame.read()
        except Damaged as fault:
            self.fault, piece = str(fault), b""
        self.end = self._frame.end
        self._pulled += len(piece)
        self._through = self.fault is not None or self._is_bomb() or (not piece and not self._next_frame())
        self.buffer += piece
        return bool(piece) or not self._through

    def _is_bomb(self) -> bool:
        if self._pulled - self._mark > _BOMB_BYTES and self._pulled > _BOMB_RATIO * (self.end - self.place):
            self.fault = "bomb"
        return self.fault is not None

    def _next_frame(self) -> bool:
        """Go on with the next frame, unless it begins with a record: that one is the next segment's."""
        if self._packing.name == "plain" or self._packing.begins_record(self.end):
            return False
        self._frame = self._packing.open(self.end)
        self.frames.append((self._pulled, self.end))
        return self._frame is not None
