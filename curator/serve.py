"""A finished run over HTTP: its page, one question in SQL at a time, and scores for texts that nobody has stored yet.

GET /          the report, live, with a box for SQL
POST /sql      {"sql": "…"} → columns, rows, and a note where they are not all
POST /score    {"texts": […]} or {"documents": [{"text", "id", "url", "date", …}]} → signals and the rules' verdict on each
GET /health    whether it answers, and whether the models are loaded

Who may ask is in `curator/serving/access.py`. Everything that strangers' input reaches runs in processes of its own
(`curator.answers`), which are ended when they are late or nobody waits any more: see `sql`, `scores` and `page` there. What would
not fit into memory is refused with 503 before it is read.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from curator.errors import InputError
from curator.serving import bodies
from curator.serving.access import LOOPBACK, Door, Guard
from curator.serving.bounds import Bounds, Refused, said
from curator.serving.page import Page
from curator.serving.scores import Scores
from curator.serving.sql import Desk


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
        answer = self._desk.ask(await bodies.question(request, self._bounds))
        return Response(await bodies.while_there(request, answer), media_type="application/json")

    async def score(self, request: Request) -> Response:
        """Signals and verdicts of texts."""
        if self._scores is None:
            raise Refused(404, "this server does not score (--no-score)")
        with self._holding(bodies.length(request, self._bounds.score_bytes)):
            documents = await bodies.documents(request, self._bounds)
            rows = await bodies.while_there(request, self._scores.score(documents)) if documents else []
        return Response(b'{"results":[' + b",\n".join(rows) + b"]}", media_type="application/json")

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


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens there. Raises `InputError` where that cannot be."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address[:2], family=family, backlog=512)
    except (OSError, OverflowError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise InputError(f"cannot listen on {host} port {port}: {why}; choose others with --host and --port") from error


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
