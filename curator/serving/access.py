"""Who may ask: whoever names this host, does not come from another site's page and, beyond loopback, has the token.

A browser that visits other sites is not one's friend: their pages may make it send requests here. So a request must name
this host (a name that was rebound to this address does not), come from this page where it says where it comes from, and
say that its body is JSON, which a form cannot.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
import secrets
import socket
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from curator.serving.bounds import Refused, said

LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")

HEADERS: Final = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
}


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
        if kind.lower() == "bearer" and _same(given.strip(), self.token):
            return True
        request = Request(scope)
        if _same(request.cookies.get(self.cookie_name(scope), ""), self.cookie):
            return True
        return scope["path"] == "/" and _same(request.query_params.get("token", ""), self.token)

    def cookie_name(self, scope: Scope) -> str:
        """Cookies know no ports: two servers of one machine must not take each other's."""
        return f"curator-{(scope.get('server') or ('', 0))[1]}"


def door_of(host: str, bound: socket.socket, token: str | None) -> Door:
    """Who may come in through this socket; a token is made where one is needed and none given."""
    address = ipaddress.ip_address(bound.getsockname()[0].partition("%")[0])
    if address.is_loopback:
        return Door(frozenset({*LOOPBACK, host.lower(), str(address)}), token=token)
    own = {host.lower(), str(address), socket.gethostname().lower(), socket.getfqdn().lower()}
    return Door(frozenset({*LOOPBACK, *own}), address.is_unspecified, token or secrets.token_urlsafe(32))


def _same(given: str, wanted: str) -> bool:
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
