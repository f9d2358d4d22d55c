"""A finished run over HTTP: its page, one question in SQL at a time, and scores for texts that nobody has stored yet.

GET /          the report, live, with a box for SQL
POST /sql      {"sql": "…"} → columns, rows, and a note where they are not all
POST /score    {"texts": […]} or {"documents": [{"text", "id", "url", "date", …}]} → signals and the rules' verdict on each
GET /health    whether it answers, and whether the models are loaded

Whoever is not named by a loopback address needs a token. A browser that visits other sites is not one's friend: other
sites' pages may make it send requests here. So a request must name this host (a name that was rebound to this address does
not), come from this page where it says where it comes from, and say that its body is JSON, which a form cannot.

Everything that strangers' input reaches runs in processes of their own (`curator.answers`), which are ended when they are
late or nobody waits any more. What would not fit into memory is refused with 503 before it is read.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import json
import re
import secrets
import socket
import sys
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import msgspec
from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from curator.answers import GRACE_S, Kind, Limits, Version, framed, version
from curator.errors import InputError
from curator.report.live import live
from curator.unstored import Document, is_utf8

T = TypeVar("T")

LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")
PAGE_S: Final = 900.0  # at ten million documents the page takes minutes
START_S: Final = 120.0
LOAD_S: Final = 600.0
SCORE_S: Final = 300.0  # one batch, with the encoder on a slow machine

HEADERS: Final = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
}


@dataclass(frozen=True)
class Bounds:
    """What all clients together may take."""

    sql: Limits = field(default_factory=Limits)
    sql_at_once: int = 2
    sql_waiting: int = 16
    sql_bytes: int = 100_000  # of one question
    wait_s: float = 10.0  # for a turn
    body_s: float = 20.0  # for a body to arrive
    score_bytes: int = 8_000_000  # of one body
    score_texts: int = 1_000
    score_chars: int = 1_000_000  # of one text
    held_bytes: int = 64_000_000  # of all bodies that were read and not yet answered
    held: int = 256  # of such requests
    batch: int = 256  # texts that are scored in one go, of however many requests


class Refused(Exception):
    """A request that gets no answer but one line and a status."""

    def __init__(self, status: int, message: str, retry_after: int | None = None) -> None:
        """retry_after: seconds."""
        super().__init__(message)
        self.status, self.message, self.retry_after = status, message, retry_after


class Stopped(Exception):
    """The process that should have answered has ended."""


# --- processes that answer ------------------------------------------------------------------------------------------


class Worker:
    """A process of `curator.answers`, started when it is asked; one question at a time."""

    def __init__(self, *arguments: str) -> None:
        """Nothing is started yet."""
        self._arguments = arguments
        self._process: asyncio.subprocess.Process | None = None
        self._ended: list[asyncio.subprocess.Process] = []

    async def ask(self, question: bytes, seconds: float) -> bytes:
        """Its answer to a question; late, or when nobody waits any more, the process is ended and the next gets a new one.

        Raises `Refused` with what is wrong with the question or the run, `Stopped` when there was no answer.
        """
        try:
            async with asyncio.timeout(START_S):
                process = await self._started()
            async with asyncio.timeout(seconds):
                return _told(await _exchange(process, question))
        except (TimeoutError, OSError, asyncio.IncompleteReadError) as error:
            self._end()
            raise Stopped from error
        except asyncio.CancelledError:
            self._end()
            raise

    async def start(self) -> None:
        """Start the process before anybody asks."""
        try:
            async with asyncio.timeout(START_S):
                await self._started()
        except (TimeoutError, OSError, asyncio.IncompleteReadError):
            self._end()  # who asks will try again, and be told

    async def _started(self) -> asyncio.subprocess.Process:
        if self._process is None or self._process.returncode is not None:
            self._process = await asyncio.create_subprocess_exec(
                # -P: a file named like a module in whatever folder this was started in is no part of the program
                sys.executable, "-P", "-m", "curator.answers", *self._arguments,
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            )  # fmt: skip
            await _answer_of(self._process)  # the empty one that says that it has started
        return self._process

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            with suppress(ProcessLookupError):
                process.kill()
            self._ended = [p for p in self._ended if p.returncode is None] + [process]

    async def close(self) -> None:
        """End the process and wait until it is gone."""
        self._end()
        for process in self._ended:
            await process.wait()
            if process.stdin is not None:
                process.stdin.close()


async def _exchange(process: asyncio.subprocess.Process, question: bytes) -> bytes:
    assert process.stdin is not None
    process.stdin.write(framed(question))
    await process.stdin.drain()
    return await _answer_of(process)


async def _answer_of(process: asyncio.subprocess.Process) -> bytes:
    assert process.stdout is not None
    return await process.stdout.readexactly(int.from_bytes(await process.stdout.readexactly(8)))


def _told(answer: bytes) -> bytes:
    kind, body = answer[:1].decode(), answer[1:]
    if kind == Kind.FOUND:
        return body
    raise Refused(*((400, body.decode()) if kind == Kind.WRONG else (503, body.decode(), 5)))


class Desk:
    """A few processes that answer SQL; who finds all of them busy waits, who finds too many waiting is refused."""

    def __init__(self, root: Path, bounds: Bounds) -> None:
        """Nothing is started yet."""
        limits = msgspec.json.encode(bounds.sql).decode()
        self._workers = [Worker("sql", str(root), limits) for _ in range(bounds.sql_at_once)]
        self._bounds, self._asked = bounds, 0
        self._free: asyncio.Queue[Worker] = asyncio.Queue()
        for worker in self._workers:
            self._free.put_nowait(worker)

    async def run(self) -> None:
        """Start the processes, so that the first question need not."""
        for _ in self._workers:
            worker = await self._free.get()
            try:
                await worker.start()
            finally:
                self._free.put_nowait(worker)

    async def ask(self, sql: str) -> bytes:
        """The answer as JSON."""
        if self._asked >= len(self._workers) + self._bounds.sql_waiting:
            raise Refused(503, "too many questions are waiting; ask again in a moment", 2)
        self._asked += 1
        try:
            worker = await self._turn()
            try:
                return await worker.ask(sql.encode(), self._bounds.sql.seconds + 3 * GRACE_S)
            except Stopped as error:
                raise Refused(400, _overdone(self._bounds.sql)) from error
            finally:
                self._free.put_nowait(worker)
        finally:
            self._asked -= 1

    async def _turn(self) -> Worker:
        try:
            return await asyncio.wait_for(self._free.get(), self._bounds.wait_s)
        except TimeoutError as error:
            raise Refused(503, "other questions take long; ask again in a moment", 5) from error

    async def close(self) -> None:
        """End all of them."""
        for worker in self._workers:
            await worker.close()


def _overdone(limits: Limits) -> str:
    return f"the query was ended: it took more than {limits.seconds:g} s or {limits.memory_mb:,} MB; ask for less"


@dataclass
class _Waiting:
    documents: list[Document]
    answer: asyncio.Future[list[bytes]]


class Scores:
    """One process that scores; requests that came while it was busy share its next batch, which costs little more than one."""

    def __init__(self, root: Path, recipe: str | None, bounds: Bounds) -> None:
        """Nothing is loaded yet."""
        self._worker = Worker("score", str(root), *([recipe] if recipe else []))
        self._waiting: deque[_Waiting] = deque()
        self._arrived = asyncio.Event()
        self._bounds = bounds
        self.state = "loading"

    async def score(self, documents: list[Document]) -> list[bytes]:
        """For each document an object as JSON, in order."""
        waiting = _Waiting(documents, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._arrived.set()
        return await waiting.answer

    async def run(self) -> None:
        """Load the models, then answer until cancelled."""
        try:
            await self._worker.ask(msgspec.msgpack.encode([]), LOAD_S)
            self.state = "ready"
        except (Refused, Stopped) as error:
            self.state = str(error) or "the process that scores has ended while it was loading its models"
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while batch := self._batch():
                await self._answer(batch)

    def _batch(self) -> list[_Waiting]:
        """Whole requests, the oldest first, up to a batch of texts; not those that nobody waits for any more."""
        batch: list[_Waiting] = []
        while self._waiting and sum(len(w.documents) for w in batch) < self._bounds.batch:
            waiting = self._waiting.popleft()
            if not waiting.answer.done():
                batch.append(waiting)
        return batch

    async def _answer(self, batch: list[_Waiting]) -> None:
        try:
            found = await self._asked([d for waiting in batch for d in waiting.documents])
        except Exception as error:
            if len(batch) > 1:  # whose text it was that stopped the process: everyone again, alone
                for waiting in batch:
                    await self._answer([waiting])
            elif not batch[0].answer.done():
                batch[0].answer.set_exception(error)
            return
        for waiting in batch:
            own, found = found[: len(waiting.documents)], found[len(waiting.documents) :]
            if not waiting.answer.done():
                waiting.answer.set_result(own)

    async def _asked(self, documents: list[Document]) -> list[bytes]:
        try:
            rows = await self._worker.ask(msgspec.msgpack.encode(documents), SCORE_S)
        except Stopped as error:
            raise Refused(500, "scoring these texts stopped the process that scores; send them one by one") from error
        return msgspec.msgpack.decode(rows, type=list[bytes])

    async def close(self) -> None:
        """End the process."""
        await self._worker.close()


class Page:
    """The live page: drawn once for each account that lies there, in a process that ends with it."""

    def __init__(self, root: Path) -> None:
        """Nothing is drawn yet."""
        self._root = root
        self._drawn: tuple[Version, bytes, str] | None = None
        self._drawing: asyncio.Task[None] | None = None

    async def get(self) -> tuple[bytes, str]:
        """The page and its policy; while a successor is being written, the page that was.

        Raises `Refused` when there is none yet.
        """
        now = version(self._root)
        if now is not None and (self._drawn is None or self._drawn[0] != now):
            self._drawing = self._drawing or asyncio.create_task(self._draw(now))
            try:
                await asyncio.shield(self._drawing)
            except Refused:
                if self._drawn is None:
                    raise
        if self._drawn is None:
            raise Refused(503, "the run is not finished, or being replaced", 5)
        return self._drawn[1:]

    async def _draw(self, now: Version) -> None:
        worker = Worker("page", str(self._root))
        try:
            page, policy = live((await worker.ask(b"", PAGE_S)).decode())
            self._drawn = (now, page.encode(), policy)
        except Stopped as error:
            raise Refused(503, "the page could not be drawn: its process has ended", 30) from error
        finally:
            self._drawing = None
            await worker.close()

    async def close(self) -> None:
        """End what is being drawn."""
        if self._drawing is not None:
            self._drawing.cancel()
            with suppress(asyncio.CancelledError, Refused):
                await self._drawing


# --- who may ask ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Door:
    """Who may come in. token: None lets everyone in who names one of the hosts."""

    hosts: frozenset[str]
    any_address: bool = False  # bound to all of a machine's addresses: any of them, as a number, names it
    token: str | None = None
    cookie: str = field(default_factory=lambda: secrets.token_urlsafe(32))  # what a browser holds in the token's place

    def refuse(self, scope: Scope, headers: Headers) -> None:
        """Raise `Refused` unless the request is meant for this host, not made by another site, and has the token."""
        host = _host(headers.get("host", ""))
        if host is None or not (host in self.hosts or (self.any_address and _is_address(host))):
            raise Refused(
                421, "this is not the host that the request names; use the address that `curator serve` printed"
            )
        if scope["method"] not in ("GET", "HEAD"):
            self._refuse_other_sites(headers)
        if self.token is not None and scope["path"] != "/health" and not self._known(scope, headers):
            raise Refused(401, "send the token: Authorization: Bearer TOKEN, or open the page once with ?token=TOKEN")

    def _refuse_other_sites(self, headers: Headers) -> None:
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc.lower() != headers["host"].lower():
            raise Refused(403, "the request comes from another site's page")
        if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
            raise Refused(403, "the request comes from another site's page")
        if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise Refused(415, "send a body of JSON with Content-Type: application/json")

    def _known(self, scope: Scope, headers: Headers) -> bool:
        assert self.token is not None
        kind, _, given = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and same(given.strip(), self.token):
            return True
        request = Request(scope)
        if same(request.cookies.get(self.cookie_name(scope), ""), self.cookie):
            return True
        return scope["path"] == "/" and same(request.query_params.get("token", ""), self.token)

    def cookie_name(self, scope: Scope) -> str:
        """Cookies know no ports: two servers of one machine must not take each other's."""
        return f"curator-{(scope.get('server') or ('', 0))[1]}"


def same(given: str, wanted: str) -> bool:
    """Whether two secrets are equal, in a time that does not tell how far they are."""
    return hmac.compare_digest(hashlib.sha256(given.encode()).digest(), hashlib.sha256(wanted.encode()).digest())


def _host(header: str) -> str | None:
    """The host of a Host header, without its port; None where it is none."""
    found = re.fullmatch(r"(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9.-]+))(?::\d{1,5})?", header)
    return None if found is None else (found[1] or found[2]).lower()


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


class Guard:
    """Asks the door before anything is read, and puts on every response what keeps a browser careful."""

    def __init__(self, inner: ASGIApp, door: Door) -> None:
        """inner: what answers those who may ask."""
        self._inner, self._door = inner, door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or pass on."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._inner(scope, receive, send)
            return

        async def careful(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            self._door.refuse(scope, Headers(scope=scope))
        except Refused as refused:
            await said(refused)(scope, receive, careful)
            return
        await self._inner(scope, receive, careful)


def said(refused: Refused) -> Response:
    """One line as JSON."""
    headers = {} if refused.retry_after is None else {"retry-after": str(refused.retry_after)}
    if refused.status == 401:
        headers["www-authenticate"] = "Bearer"
    line = " ".join(refused.message.split())
    return Response(msgspec.json.encode({"error": line}), refused.status, headers, "application/json")


# --- what is answered -----------------------------------------------------------------------------------------------


class Asked(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a question."""

    sql: str


class ToScore(msgspec.Struct, forbid_unknown_fields=True):
    """The body of what is to be scored."""

    texts: list[str] = []
    documents: list[Document] = []


class House:
    """What a running server holds, and how it answers."""

    def __init__(self, root: Path, recipe: str | None, score: bool, bounds: Bounds) -> None:
        """Nothing is started yet."""
        self._bounds, self._held, self._held_bytes = bounds, 0, 0
        self._page, self._desk = Page(root), Desk(root, bounds)
        self._scores = Scores(root, recipe, bounds) if score else None

    @asynccontextmanager
    async def open(self, _: Starlette) -> AsyncIterator[None]:
        """Load the models in the background; end every process at the end."""
        parts = [part for part in (self._desk, self._scores) if part is not None]
        tasks = [asyncio.create_task(part.run()) for part in parts]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for part in (self._page, *parts):
                await part.close()

    async def page(self, request: Request) -> Response:
        """The report; an address with the token in it is left at once for one without."""
        door: Door = request.app.state.door
        if "token" in request.query_params:
            answer = RedirectResponse("/", 303)
            answer.set_cookie(door.cookie_name(request.scope), door.cookie, path="/", httponly=True, samesite="strict")
            return answer
        page, policy = await self._page.get()
        return Response(page, headers={"content-security-policy": policy}, media_type="text/html")

    async def health(self, _: Request) -> Response:
        """Whether it answers."""
        score = "off" if self._scores is None else self._scores.state
        return Response(msgspec.json.encode({"status": "ok", "score": score}), media_type="application/json")

    async def sql(self, request: Request) -> Response:
        """One question; ended when whoever asked has gone."""
        asked = _decoded(await self._body(request, self._bounds.sql_bytes), Asked)
        if not is_utf8(asked.sql):
            raise Refused(400, "the question holds half a surrogate pair")
        return Response(await _while_there(request, self._desk.ask(asked.sql)), media_type="application/json")

    async def score(self, request: Request) -> Response:
        """Signals and verdicts of texts."""
        if self._scores is None:
            raise Refused(404, "this server does not score (--no-score)")
        with self._holding(_length(request, self._bounds.score_bytes)):
            asked = _decoded(await self._body(request, self._bounds.score_bytes), ToScore)
            documents = [_sendable(i, d) for i, d in enumerate([*map(Document, asked.texts), *asked.documents])]
            self._check(documents)
            rows = await _while_there(request, self._scores.score(documents)) if documents else []
        return Response(b'{"results":[' + b",\n".join(rows) + b"]}", media_type="application/json")

    def _check(self, documents: Sequence[Document]) -> None:
        most = self._bounds
        if len(documents) > most.score_texts:
            raise Refused(413, f"{len(documents):,} texts; send at most {most.score_texts:,} at once")
        for i, document in enumerate(documents):
            if len(document.text) > most.score_chars:
                raise Refused(413, f"text {i} has {len(document.text):,} characters; send at most {most.score_chars:,}")

    @contextmanager
    def _holding(self, size: int) -> Iterator[None]:
        """Count a body before it is read; raise `Refused` when memory for it is promised to others."""
        if self._held >= self._bounds.held or self._held_bytes + size > self._bounds.held_bytes:
            raise Refused(503, "too many texts are waiting to be scored; send them again in a moment", 2)
        self._held, self._held_bytes = self._held + 1, self._held_bytes + size
        try:
            yield
        finally:
            self._held, self._held_bytes = self._held - 1, self._held_bytes - size

    async def _body(self, request: Request, most: int) -> bytes:
        _length(request, most)
        try:
            async with asyncio.timeout(self._bounds.body_s):
                return await request.body()
        except TimeoutError as error:
            raise Refused(408, f"the body did not arrive within {self._bounds.body_s:g} s") from error


def _length(request: Request, most: int) -> int:
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


async def _while_there(request: Request, answer: Coroutine[Any, Any, T]) -> T:
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


def app(
    root: Path,
    door: Door | None = None,
    *,
    recipe: str | None = None,
    score: bool = True,
    bounds: Bounds | None = None,
) -> Starlette:
    """The ASGI application of one finished run.

    door: who may ask; on loopback everyone by default. recipe: what scores, else the run's own.
    """
    door = door or Door(frozenset(LOOPBACK))
    house = House(root, recipe, score, bounds or Bounds())
    routes = [
        Route("/", house.page, methods=["GET"]),
        Route("/health", house.health, methods=["GET"]),
        Route("/sql", house.sql, methods=["POST"]),
        Route("/score", house.score, methods=["POST"]),
    ]
    made = Starlette(routes=routes, lifespan=house.open, exception_handlers=_HANDLERS)
    made.state.door = door
    made.add_middleware(Guard, door=door)
    return made


Handler = Callable[[Request, Exception], Awaitable[Response]]


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return said(error)


async def _http(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    what = "no such page; there are /, /sql, /score and /health" if error.status_code == 404 else error.detail
    response = said(Refused(error.status_code, what))
    response.headers.update(error.headers or {})
    return response


async def _left(_: Request, __: Exception) -> Response:
    return Response(status_code=499)  # nobody reads it


async def _fault(_: Request, __: Exception) -> Response:
    return said(Refused(500, "a fault of the server; its log says more"))


_HANDLERS: Final[dict[Any, Handler]] = {
    Refused: _refused,
    HTTPException: _http,
    ClientDisconnect: _left,
    Exception: _fault,
}


# --- the server -----------------------------------------------------------------------------------------------------


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens there. Raises `InputError` where that cannot be."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address[:2], family=family, backlog=512)
    except (OSError, OverflowError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise InputError(f"cannot listen on {host} port {port}: {why}; choose others with --host and --port") from error


def door_of(host: str, bound: socket.socket, token: str | None) -> Door:
    """Who may come in through this socket; a token is made where one is needed and none given."""
    address = ipaddress.ip_address(bound.getsockname()[0].partition("%")[0])
    if address.is_loopback:
        return Door(frozenset({*LOOPBACK, host.lower(), str(address)}), token=token)
    own = {host.lower(), str(address), socket.gethostname().lower(), socket.getfqdn().lower()}
    return Door(frozenset({*LOOPBACK, *own}), address.is_unspecified, token or secrets.token_urlsafe(32))


def run(application: Starlette, bound: socket.socket) -> None:
    """Serve until SIGTERM or Ctrl+C; requests under way have ten seconds to be answered."""
    import uvicorn

    config = uvicorn.Config(
        application,
        log_level="warning",
        access_log=False,  # addresses may hold the token
        server_header=False,
        proxy_headers=False,
        limit_concurrency=512,
        backlog=512,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=10,
    )
    uvicorn.Server(config).run(sockets=[bound])
