"""Hosts and registered domains."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curator.web import domain_of, host_of


@pytest.mark.parametrize(
    ("url", "host", "domain"),
    [
        ("https://EXAMPLE.com.:8080/a?b#c", "example.com", "example.com"),
        ("http://user:pw@news.bbc.co.uk/x", "news.bbc.co.uk", "bbc.co.uk"),
        ("//cdn.example.org/a.js", "cdn.example.org", "example.org"),
        ("http://bücher.example/", "xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("http://faß.de/", "xn--fa-hia.de", "xn--fa-hia.de"),  # IDNA 2008; 2003 would go to fass.de, another host
        ("http://☃.net/", "xn--n3h.net", "xn--n3h.net"),
        ("http://ex%61mple.com/", "example.com", "example.com"),
        ("http://my_blog.example.com/", "my_blog.example.com", "example.com"),
        ("http://me.github.io/", "me.github.io", "me.github.io"),
        ("http://a.me.blogspot.com/", "a.me.blogspot.com", "me.blogspot.com"),
        ("http://city.kawasaki.jp/", "city.kawasaki.jp", "city.kawasaki.jp"),  # an exception to *.kawasaki.jp
        ("http://127.0.0.1:80/", "127.0.0.1", "127.0.0.1"),
        ("http://[2001:DB8:0::1]:80/", "2001:db8::1", "2001:db8::1"),
        ("http://localhost/", "localhost", None),
        ("http://github.io/", "github.io", None),  # a suffix belongs to nobody
        ("http://evil.example\\@good.example/", "evil.example", "evil.example"),  # as a browser reads it
    ],
)
def test_host_and_registered_domain(url: str, host: str, domain: str | None) -> None:
    found = host_of(url)
    assert found == host
    assert domain_of(host) == domain


@pytest.mark.parametrize(
    "url",
    ["", "example.com/a", "mailto:a@b.c", "http://", "http://a..b/", "http://.a/", "http://1.2.3/", "http://1.2.3.256/",
     "http://[::1", "http://[1]/", "http://a b/", "http://" + "a" * 64 + ".com", "http://" + "a." * 130 + "com", "http://<x>/",
     "http://\ud800.com/", "http://xn--\u0661/", "http://" + "ü" * 300 + ".de"],
)  # fmt: skip
def test_junk_has_no_host(url: str) -> None:
    assert host_of(url) is None


@given(st.text() | st.text().map(lambda host: f"http://{host}/"))
def test_any_text_gives_a_clean_host_or_none(url: str) -> None:
    host = host_of(url)
    assert host is None or re.fullmatch(r"[a-z0-9_.:-]{1,253}", host)
    domain = domain_of(host) if host else None
    assert domain is None or (host and host.endswith(domain))
