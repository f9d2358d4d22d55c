"""An HTTP response as an archive keeps it: its status, its headers, and its body with every coding undone.

A body is decoded only as far as `limit` bytes, whatever it would swell to.
"""

from __future__ import annotations

import io
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import zstandard
from fastwarc.stream_io import BrotliReader

MAX_HEAD_BYTES: Final = 1 << 16
_PIECE: Final = 1 << 18
_WINDOW_BYTES: Final = 8 << 20  # RFC 9659: what a zstd body may ask of its reader

_HEAD_END: Final = re.compile(rb"\r?\n\r?\n")
_STATUS: Final = re.compile(rb"HTTP/\S*[ \t]+(\d{3})")
_MARKUP: Final = re.compile(rb"\s*<[!?/a-zA-Z]")
_CHUNK: Final = re.compile(rb"[ \t]*([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\n]{0,4096})?\r?\n")

Headers = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Response:
    """status: None where the block is no HTTP response; cut: the body ends before its coding says so."""

    status: int | None
    headers: Headers
    body: bytes
    cut: bool = False


def response(block: bytes, limit: int) -> Response:
    """Take a response apart; a block that does not begin as one is all body. At most `limit` bytes of body."""
    if not block.startswith(b"HTTP/"):
        return Response(None, (), block[:limit])
    head, start = head_of(block)
    headers = fields(head)
    body, cut = decoded(block[start:], headers, limit)
    status = _STATUS.match(head)
    return Response(int(status[1]) if status else None, headers, body, cut)


def head_of(block: bytes | bytearray) -> tuple[bytes, int]:
    """Return the lines before the first empty one, and where what follows it begins; all of it where there is none."""
    end = _HEAD_END.search(block, 0, MAX_HEAD_BYTES)
    return (bytes(block[: end.start()]), end.end()) if end else (bytes(block), len(block))


def fields(head: bytes) -> list[tuple[str, str]]:
    """Name and value of every header behind the first line; folded lines are joined, lines without a colon are noise."""
    lines = text(head).replace("\r\n", "\n").split("\n")[1:]
    found: list[tuple[str, str]] = []
    for line in lines:
        name, colon, value = line.partition(":")
        if line[:1] in (" ", "\t") and found:
            found[-1] = (found[-1][0], f"{found[-1][1]} {line.strip()}")
        elif colon:
            found.append((name.strip(), value.strip()))
    return found


def text(head: bytes) -> str:
    """The bytes of a head as text: UTF-8 if they are, else each its Latin-1 letter."""
    try:
        return head.decode("utf-8")
    except UnicodeDecodeError:
        return head.decode("latin-1")


def value(headers: Headers, name: str) -> str | None:
    """The first header of that name, given in lower case; None where there is none."""
    return next((v for n, v in headers if n.lower() == name), None)


def decoded(body: bytes, headers: Headers, limit: int) -> tuple[bytes, bool]:
    """Undo the transfer and content codings; returns the bytes and whether they were cut short.

    A coding that is named but not there leaves the bytes as they are: crawlers often store the decoded
    body under the old header. Crawlers that rename it (X-Crawl-Content-Encoding) did decode it.
    """
    cut = False
    if "chunked" in (value(headers, "transfer-encoding") or "").lower() and _CHUNK.match(body):
        body, cut = _dechunked(body)
    names = ",".join(v for n, v in headers if n.lower() == "content-encoding").lower()
    for coding in reversed([name.strip() for name in names.split(",")][:4]):
        if coding in _DECODERS:
            body, short = _undone(body, _DECODERS[coding], limit)
            cut = cut or short
    return body[:limit], cut


def _dechunked(body: bytes) -> tuple[bytes, bool]:
    """Join the chunks of RFC 9112, 7.1; ends where no chunk begins."""
    found, place, view = bytearray(), 0, memoryview(body)
    while head := _CHUNK.match(body, place):
        length = int(head[1], 16)
        if length == 0:
            return bytes(found), False
        found += view[head.end() : head.end() + length]
        place = head.end() + length
        place += 2 if body[place : place + 2] == b"\r\n" else 1
    return bytes(found), True


def _undone(body: bytes, decoder: Callable[[bytes], Iterator[bytes]], limit: int) -> tuple[bytes, bool]:
    found, cut = bytearray(), False
    if not body:
        return body, False
    try:
        for piece in decoder(body):
            found += piece
            if len(found) >= limit:
                break
    except (zlib.error, zstandard.ZstdError, OSError, MemoryError):
        cut = True
    return (bytes(found[:limit]), cut) if found else (body, False)


def _inflated(body: bytes, bits: int) -> Iterator[bytes]:
    """Inflate member after member, as far as they go."""
    rest = body
    while rest:
        member = zlib.decompressobj(wbits=bits)
        part = rest
        while not member.eof and part:
            yield member.decompress(part, _PIECE)
            part = member.unconsumed_tail
        if not member.eof:
            yield member.flush()
            raise zlib.error("cut short")
        rest = member.unused_data if member.unused_data.startswith(b"\x1f\x8b") else b""


def _gunzipped(body: bytes) -> Iterator[bytes]:
    return _inflated(body, 31) if body.startswith(b"\x1f\x8b") else iter(())


def _deflated(body: bytes) -> Iterator[bytes]:
    """RFC 9110 means zlib by it; many servers send bare deflate, which has no mark to know it by."""
    if _MARKUP.match(body):
        return iter(())
    zlib_head = len(body) > 1 and body[0] & 15 == 8 and (body[0] << 8 | body[1]) % 31 == 0
    return _inflated(body, 15 if zlib_head else -15)


def _read(reader: Any) -> Iterator[bytes]:
    while piece := reader.read(_PIECE):
        yield piece


def _brotli(body: bytes) -> Iterator[bytes]:
    return iter(()) if _MARKUP.match(body) else _read(BrotliReader(io.BytesIO(body)))


def _zstd(body: bytes) -> Iterator[bytes]:
    decoder = zstandard.ZstdDecompressor(max_window_size=_WINDOW_BYTES)
    return _read(decoder.stream_reader(body, read_across_frames=True))


_DECODERS: Final[dict[str, Callable[[bytes], Iterator[bytes]]]] = {
    "gzip": _gunzipped,
    "x-gzip": _gunzipped,
    "deflate": _deflated,
    "br": _brotli,
    "zstd": _zstd,
}
