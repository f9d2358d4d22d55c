"""What a request brings: its body, read within bounds, checked, and forgotten when its sender goes away."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from typing import Any, TypeVar

import msgspec
from starlette.requests import ClientDisconnect, Request

from curator.readers.fields import is_utf8
from curator.serving.bounds import Bounds, Refused
from curator.unstored import Document

T = TypeVar("T")


class Question(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a question."""

    sql: str


class ToScore(msgspec.Struct, forbid_unknown_fields=True):
    """The body of what is to be scored."""

    texts: list[str] = []
    documents: list[Document] = []


async def question(request: Request, bounds: Bounds) -> str:
    """The SQL that a request brings; `Refused` where it brings none."""
    asked = _decoded(await _body(request, bounds.sql_bytes, bounds.body_s), Question)
    if not is_utf8(asked.sql):
        raise Refused(400, "the question holds half a surrogate pair")
    return asked.sql


async def documents(request: Request, bounds: Bounds) -> list[Document]:
    """The texts that a request brings to be scored; `Refused` where they are too many or too long."""
    asked = _decoded(await _body(request, bounds.score_bytes, bounds.body_s), ToScore)
    found = [_sendable(i, d) for i, d in enumerate([*map(Document, asked.texts), *asked.documents])]
    if len(found) > bounds.score_texts:
        raise Refused(413, f"{len(found):,} texts; send at most {bounds.score_texts:,} at once")
    for i, document in enumerate(found):
        if len(document.text) > bounds.score_chars:
            raise Refused(413, f"text {i} has {len(document.text):,} characters; send at most {bounds.score_chars:,}")
    return found


async def _body(request: Request, most: int, seconds: float) -> bytes:
    length(request, most)
    try:
        async with asyncio.timeout(seconds):
            return await request.body()
    except TimeoutError as error:
        raise Refused(408, f"the body did not arrive within {seconds:g} s") from error


def length(request: Request, most: int) -> int:
    """How long the body is; a server holds senders to it."""
    text = request.headers.get("content-length", "")
    if not text.isascii() or not text.isdigit():
        raise Refused(411, "say how long the body is: Content-Length")
    if int(text) > most:
        raise Refused(413, f"a body of {int(text):,} bytes; send at most {most:,}")
    return int(text)


def _decoded(body: bytes, kind: type[T]) -> T:
    """JSON as it should be. msgspec takes no half of a surrogate pair, which one bad text among many may hold: json does."""
    try:
        try:
            return msgspec.json.decode(body, type=kind)
        except msgspec.ValidationError:
            raise
        except msgspec.DecodeError:
            return msgspec.convert(json.loads(body), kind)
    except (ValueError, RecursionError) as error:
        raise Refused(400, f"the body is not what was asked for: {error}") from error


def _sendable(number: int, document: Document) -> Document:
    """The document as it can be passed on: a text that is none is a fault of the text, not of the others beside it."""
    document.fault = None if is_utf8(document.text) else "not_utf8"
    if document.fault is not None:
        document.text = ""
    try:
        msgspec.msgpack.encode(document)
    except UnicodeEncodeError as error:
        raise Refused(400, f"document {number} holds half a surrogate pair beside its text") from error
    return document


async def while_there(request: Request, answer: Coroutine[Any, Any, T]) -> T:
    """The answer, unless whoever asked goes away first: then it is cancelled."""
    asked, gone = asyncio.create_task(answer), asyncio.create_task(_gone(request))
    try:
        await asyncio.wait({asked, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not asked.done():
            raise ClientDisconnect
        return asked.result()
    finally:
        for task in (asked, gone):
            task.cancel()
        await asyncio.gather(asked, gone, return_exceptions=True)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
