"""robots.txt of friends and enemies."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curator.robots import AGENTS, RobotsTxt, train_ai

MANAGED = """\ufeff# BEGIN managed content
User-agent: *
Content-Signal: search=yes,ai-train=no,use=reference
Allow: /

User-agent: GPTBot
User-agent: CCBot/2.0
Disallow: /

User-agent: Googlebot
Disallow: /nogoogle
"""


def disallowed(body: str, url: str = "https://example.org/a/b?c=d") -> list[str]:
    return RobotsTxt(body).disallowed(url)


def test_agents_that_are_named_and_the_terms_of_use() -> None:
    robots = RobotsTxt(MANAGED)
    assert robots.disallowed("https://example.org/x") == ["GPTBot", "CCBot"]
    assert robots.disallowed("https://example.org/nogoogle") == ["GPTBot", "CCBot"]
    assert robots.content_usage("https://example.org/x") == (
        "Content-Signal: search=yes,ai-train=no,use=reference",
        False,
    )


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("", []),
        ("User-agent: *\nDisallow:\n", []),
        ("User-agent: *\nDisallow: /\n", list(AGENTS)),
        ("User-agent: *\nDisallow: /\n\nUser-agent: GPTBot\nDisallow:\n", [a for a in AGENTS if a != "GPTBot"]),
        ("User-agent: gptbot\nDisallow: /a\nAllow: /a/b\n", []),  # the longest path wins
        ("User-agent: gptbot\nDisallow: /a/*?c=\n", ["GPTBot"]),
        ("User-agent: gptbot\nDisallow: /b$\n", []),
        ("user agent: GPTBot # comment\rdisalow: /a # another\r", ["GPTBot"]),
        ("User-agent: GPTBot\nCrawl-delay: 3\nUser-agent: ClaudeBot\nDisallow: /\n", ["GPTBot", "ClaudeBot"]),
        ("User-agent: GPTBot\nDisallow: /\nUser-agent: GPTBot\nDisallow: /x\n", ["GPTBot"]),
        ("User-agent: Googlebot\nDisallow: /\n", []),
        ("User-agent: MyGPTBot\nDisallow: /\n", []),
        ("User-agent: AI2Bot\nDisallow: /\n", ["AI2Bot", "Ai2Bot-Dolma"]),  # a name covers those it begins, RFC 9309 2.2.1
        ("User-agent: GPTBot\nContent-Usage: / train-ai=n\nUser-agent: ClaudeBot\nDisallow: /\n", ["ClaudeBot"]),
        ("Disallow: /\n", []),  # nobody is named
        ("<html><body>Disallow: / everything, User-agent: *</body></html>", []),
    ],
)  # fmt: skip
def test_who_is_kept_out(body: str, expected: list[str]) -> None:
    assert disallowed(body) == expected


@pytest.mark.parametrize(
    ("body", "line", "allowed"),
    [
        ("User-agent: *\nContent-Usage: / train-ai=n\n", "Content-Usage: / train-ai=n", False),
        ("User-agent: *\nContent-Usage: / train-ai=n\nContent-Usage: /a/ train-ai=y\n", "Content-Usage: /a/ train-ai=y", True),
        ("User-agent: *\nContent-Usage: /z train-ai=n\n", None, None),
        ("User-agent: *\nContent-Usage: /*/b train-ai=n\nContent-Usage: /a train-ai=y", "Content-Usage: /*/b train-ai=n", False),
        ("User-agent: *\nContent-Usage: /a/b$ train-ai=n\n", None, None),
        ("User-agent: *\nContent-Usage: / search=n\n", "Content-Usage: / search=n", None),
        ("Content-Usage: train-ai=n\n", "Content-Usage: train-ai=n", False),  # above all groups: to everybody
        ("User-agent: GPTBot\nContent-Usage: / train-ai=n\nUser-agent: *\nContent-Usage: / train-ai=y", "Content-Usage: / train-ai=n", False),
        ("User-agent: Googlebot\nContent-Usage: / train-ai=n\n", None, None),
        ("User-agent: *\nContent-Usage: / train-ai=y\nContent-Usage: / train-ai=n\n", "Content-Usage: / train-ai=n", False),
    ],
)  # fmt: skip
def test_terms_of_use_for_a_path(body: str, line: str | None, allowed: bool | None) -> None:
    assert RobotsTxt(body).content_usage("https://example.org/a/b?c=d") == (line, allowed)


@pytest.mark.parametrize(
    ("value", "allowed"),
    [
        ("train-ai=n", False), ("train-ai=y", True), ("search=y, train-ai=n;x=1", False), ("ai-train=no", False),
        ("search=yes,ai-train=yes", True), ("train-ai=y, train-genai=n", False), ("bots=n", False), ("bots=n, train-ai=y", True),
        ("bots=y", None), ("search=n", None), ("x-train-ai=n", None), ("train-ai=maybe", None), ("TRAIN-AI = N", False), ("", None),
    ],
)  # fmt: skip
def test_what_a_preference_says_of_training(value: str, allowed: bool | None) -> None:
    assert train_ai(value) is allowed


def test_an_agent_that_is_not_named_is_ruled_by_the_group_for_all() -> None:
    body = "User-agent: *\nDisallow: /a\n\nUser-agent: CCBot\nDisallow: /z\n"
    assert disallowed(body) == [a for a in AGENTS if a != "CCBot"]


@pytest.mark.parametrize(
    "url", ["", "http://[", "http://[::1", "nonsense", "http://example.org/\ud800", "http://e.org/%ff%zz\x00"]
)
def test_an_address_that_is_none_is_kept_from_nobody_or_from_all(url: str) -> None:
    robots = RobotsTxt("User-agent: *\nDisallow: /private\n")
    assert robots.disallowed(url) == []
    assert robots.content_usage(url) == (None, None)


EVERYBODY = "".join(f"User-agent: {agent}\n" for agent in AGENTS)


@pytest.mark.parametrize(
    "body",
    [
        "User-agent: x\n" * 19_000 + "Allow: /\n" * 20_000,  # agents times rules would be 400 million
        EVERYBODY + "".join(f"Disallow: /{i}\n" for i in range(60_000)),
        "User-agent: *\n" + "".join(f"Disallow: *a*{i}b\n" for i in range(60_000)),
        "User-agent: *\nDisallow: " + "*a" * 250_000,
        EVERYBODY + "Content-Usage: /*a*b*c train-ai=n\n" * 20_000,
        "User-agent:" + " " * 500_000,
        "user-agent" * 100_000,
        "\n" * 5_000_000,
    ],
    ids=["agents", "rules", "stars", "long", "usage", "blanks", "words", "lines"],
)
def test_a_hostile_file_costs_little(body: str) -> None:
    start = time.process_time()
    robots = RobotsTxt(body)
    url = "https://example.org/" + "a" * 10_000
    robots.disallowed(url)
    robots.content_usage(url)
    assert time.process_time() - start < 5


def test_what_stands_beyond_the_limit_is_not_read() -> None:
    body = "User-agent: *\n" + "# filler\n" * 60_000 + "Disallow: /\n"
    assert disallowed(body) == []
    assert disallowed("User-agent: GPTBot\n" + "Allow: /z\n" * 19_999 + "Disallow: /\n") == ["GPTBot"]
    assert disallowed("User-agent: GPTBot\n" + "Allow: /z\n" * 20_000 + "Disallow: /\n") == []


LINES = st.sampled_from(
    [
        "User-agent: *",
        "User-agent: GPTBot",
        "Disallow: /",
        "Allow: /a",
        "Content-Usage: /a train-ai=n",
        "Sitemap: x",
        "",
    ]
)


@given(
    st.text() | st.lists(LINES | st.text()).map("\n".join) | st.binary().map(lambda b: b.decode("latin-1")), st.text()
)
def test_nothing_raises(body: str, url: str) -> None:
    robots = RobotsTxt(body)
    for address in (url, f"https://example.org/{url}"):
        kept_out = robots.disallowed(address)
        assert set(kept_out) <= set(AGENTS)
        line, allowed = robots.content_usage(address)
        assert line is not None or allowed is None
