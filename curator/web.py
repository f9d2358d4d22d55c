"""Hosts and registered domains of addresses; a bundled public suffix list, never the network."""

from __future__ import annotations

import re
from functools import cache, lru_cache
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final
from urllib.parse import unquote, urlsplit

import idna
from publicsuffixlist import PublicSuffixList

_MAX_HOST: Final = 253  # RFC 1035, 2.3.4
_LABELS: Final = re.compile(r"[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*")  # names in use hold underscores too


def host_of(url: str) -> str | None:
    """Host of an address: lower case, IDNA in ASCII, no port, no trailing dot; IPv6 without brackets. None for junk."""
    try:
        # Browsers read a backslash as a slash; urlsplit would take what follows it for the host.
        host = urlsplit(url.replace("\\", "/")).hostname or ""
    except ValueError:
        return None
    if ":" in host:
        return _ipv6(host)
    ascii_ = _ascii(unquote(host).lower().removesuffix("."))
    if len(ascii_) > _MAX_HOST or not _LABELS.fullmatch(ascii_):
        return None
    return _ipv4(ascii_) if ascii_.rpartition(".")[2].isdecimal() else ascii_


@lru_cache(maxsize=1 << 14)
def domain_of(host: str) -> str | None:
    """Registered domain of a host that `host_of` gave; the host itself where that is an IP address.

    Private suffixes count: `me.github.io` belongs to `me`, not to GitHub. None where nothing is registered: a host
    that is itself a suffix, or one label such as `localhost`.
    """
    if ":" in host or host.rpartition(".")[2].isdecimal():
        return host
    found = _suffixes().privatesuffix(host)
    return str(found) if found else None


def _ascii(host: str) -> str:
    """The host in ASCII, as a resolver would be asked; the empty string where there is no such form."""
    if host.isascii() or len(host) > _MAX_HOST:
        return host
    try:
        return idna.encode(host, uts46=True).decode()
    except UnicodeError:  # IDNAError is one; names such as ☃.net are registered, though IDNA 2008 refuses them
        return _ascii_2003(host)


def _ascii_2003(host: str) -> str:
    try:
        return host.encode("idna").decode().lower()
    except UnicodeError:
        return ""


def _ipv4(host: str) -> str | None:
    try:
        return str(IPv4Address(host))
    except AddressValueError:
        return None


def _ipv6(host: str) -> str | None:
    try:
        return str(IPv6Address(host))
    except AddressValueError:
        return None


@cache
def _suffixes() -> PublicSuffixList:
    return PublicSuffixList()
