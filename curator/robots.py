"""What a host's robots.txt says to those who gather text for training: paths kept from them, and terms of use.

Hostile files are the normal case: no more is read than RFC 9309 asks for, groups for other agents are
left out before they are parsed, and the number of rules has a limit.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote, urlsplit

from protego import Protego

# Agents whose operators say, or are widely reported to have said, that what they fetch trains models. Agents that only
# answer a user's question or build a search index (OAI-SearchBot, ChatGPT-User, PerplexityBot …) are not among them:
# to close the door to these says nothing of training.
AGENTS: Final = (
    "*",
    "GPTBot",  # platform.openai.com/docs/bots
    "CCBot",  # commoncrawl.org/ccbot: the crawl that most open training sets are made of
    "Google-Extended",  # developers.google.com/search/docs/crawling-indexing/google-common-crawlers
    "ClaudeBot",  # support.anthropic.com/en/articles/8896518
    "anthropic-ai",  # the same operator's earlier name, still in many files
    "Claude-Web",  # likewise
    "Applebot-Extended",  # support.apple.com/en-us/119829
    "Bytespider",  # ByteDance; in Cloudflare's list of training crawlers, developers.cloudflare.com/bots
    "meta-externalagent",  # developers.facebook.com/docs/sharing/webmasters/web-crawlers
    "FacebookBot",  # the same page until 2024: language models for speech recognition
    "Amazonbot",  # developer.amazon.com/amazonbot: may be used to train Amazon's models
    "cohere-ai",  # cohere; knownagents.com
    "cohere-training-data-crawler",  # likewise
    "Diffbot",  # docs.diffbot.com: data sold for training
    "omgili",  # webz.io/bot.html: data sold for training
    "omgilibot",  # likewise, earlier name
    "Webzio-Extended",  # webz.io/bot.html: may the data be sold for AI
    "AI2Bot",  # allenai.org/crawler: open language models
    "Ai2Bot-Dolma",  # likewise
    "PanguBot",  # Huawei's PanGu models; knownagents.com
    "Timpibot",  # timpi.io: index sold for training
    "Kangaroo Bot",  # kangaroollm.com.au
)

_MAX_CHARS: Final = 500 << 10  # RFC 9309, 2.5: what a crawler must read at least
_MAX_RULES: Final = 20_000  # rules for known agents; the longest real files hold some thousands
_MAX_USAGE: Final = 500
_MAX_URL: Final = 4096

_LINE: Final = re.compile(
    r"\s*(?:(?P<agent>user[- ]?agent)|(?P<usage>content-(?:usage|signal))"
    r"|(?P<rule>allow|disallow|dissallow|dissalow|disalow|diasllow|disallaw))[ \t]*[: \t][ \t]*(?P<value>[^#]*)",
    re.IGNORECASE,
)
_CANONICAL: Final = {agent.lower(): agent for agent in AGENTS}


@dataclass(frozen=True)
class Usage:
    """One Content-Usage or Content-Signal line and the path it speaks of; an empty path is the whole host."""

    path: str
    line: str


class RobotsTxt:
    """A robots.txt, read for the agents in `AGENTS`."""

    def __init__(self, body: str) -> None:
        """Read a file, whatever it holds; what cannot be understood is passed over, as RFC 9309 asks."""
        parsed = _Parser()
        for line in re.split(r"[\r\n]+", _encodable(body[:_MAX_CHARS]).removeprefix("\ufeff")):
            parsed.line(line)
        self._rules = Protego.parse("\n".join(parsed.lines))
        self._usage = parsed.usage
        # An agent that no group names falls under `*`, so one question answers for all of these.
        self._named = [a for a in AGENTS if a == "*" or any(name.lower() in a.lower() for name in parsed.named)]

    def disallowed(self, url: str) -> list[str]:
        """The agents of `AGENTS` that may not fetch this address, in the order of `AGENTS`."""
        path = _path(url)
        if path is None:
            return []
        closed = {agent: not self._rules.can_fetch(path, agent) for agent in self._named}
        return [agent for agent in AGENTS if closed.get(agent, closed["*"])]

    def content_usage(self, url: str) -> tuple[str | None, bool | None]:
        """The line that speaks of this address, and whether it lets a model be trained; None where it is silent.

        Within one agent's groups the longest path counts; among agents, and among equal paths, the strictest line.
        """
        path = _path(url)
        if path is None:
            return None, None
        said = [(use.line, train_ai(use.line)) for rules in self._usage.values() for use in _longest(rules, path)]
        for wanted in (False, True, None):
            for line, allowed in said:
                if allowed is wanted:
                    return line, allowed
        return None, None


class _Parser:
    """Groups of a robots.txt, cut down to the lines that concern known agents."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.named: set[str] = set()
        self.usage: dict[str, list[Usage]] = {}
        self._agents: list[str] = ["*"]  # a line above all groups speaks to everybody; Protego passes over such a rule
        self._in_rules = True
        self._rules = self._usages = 0

    def line(self, text: str) -> None:
        found = _LINE.match(text)
        if not found:
            return
        value = found["value"].strip()
        if found["agent"]:
            self._agent(value)
        elif found["rule"]:
            self._rule(found["rule"], value)
        else:
            self._use(value, text)

    def _agent(self, value: str) -> None:
        if self._in_rules:
            self._agents, self._in_rules = [], False
        agent = _known(value)
        if agent and agent not in self._agents:
            self._agents.append(agent)
            self.named.add(agent)
            self.lines.append(f"User-agent: {agent}")

    def _rule(self, field: str, value: str) -> None:
        self._in_rules = True
        if self._agents and self._rules < _MAX_RULES:
            self._rules += 1
            self.lines.append(f"{field}: {value}")

    def _use(self, value: str, line: str) -> None:
        if not self._in_rules:
            self.lines.append("Allow:")  # ends the list of agents for Protego too
        self._in_rules = True
        if self._agents and self._usages < _MAX_USAGE:
            self._usages += 1
            path = value.split()[0] if value.startswith(("/", "*")) else ""
            for agent in self._agents:
                self.usage.setdefault(agent, []).append(Usage(path, line.partition("#")[0].strip()))


def _known(value: str) -> str | None:
    """The agent that a user-agent line names, by its product token; a version and stars are no part of it."""
    name = value.lower().strip()
    if name in _CANONICAL:
        return _CANONICAL[name]
    return _CANONICAL.get(re.split(r"[\s/;,()]", name.replace("*", ""), maxsplit=1)[0])


_PREFERENCE: Final = re.compile(
    r"(?:^|[\s,:])(train-ai|train-genai|ai-train|bots)\s*=\s*\??(y|yes|true|1|n|no|false|0)\b"
)


def train_ai(line: str) -> bool | None:
    """Whether a Content-Usage or Content-Signal value lets models be trained; None where it does not say.

    draft-ietf-aipref-vocab: `train-ai=y`, or `n`; where statements differ the most restrictive applies (its 5.1).
    Earlier drafts had `train-genai` and, for all automated use, `bots`; contentsignals.org has `ai-train=no`.
    """
    said = {key: value[0] in "yt1" for key, value in _PREFERENCE.findall(line.lower())}
    everything = said.pop("bots", None)
    if said:
        return all(said.values())
    return everything if everything is False else None


def _longest(rules: list[Usage], path: str) -> Iterator[Usage]:
    fitting = [use for use in rules if _fits(use.path, path)]
    longest = max((len(use.path) for use in fitting), default=0)
    return (use for use in fitting if len(use.path) == longest)


def _fits(pattern: str, path: str) -> bool:
    """Whether a path of robots.txt covers an address; `*` stands for anything, a final `$` for the end."""
    anchored = pattern.endswith("$")
    first, *rest = unquote(pattern.removesuffix("$")).split("*")
    path = unquote(path)
    if not path.startswith(first):
        return False
    at = len(first)
    for piece in rest:
        found = path.find(piece, at)
        if found < 0:
            return False
        at = found + len(piece)
    return not anchored or at == len(path) or (bool(rest) and path.endswith(rest[-1]))


def _path(url: str) -> str | None:
    """Path and query of an address, or None where it is none."""
    try:
        parts = urlsplit(_encodable(url[:_MAX_URL]))
    except ValueError:
        return None
    return f"/{parts.path.lstrip('/')}" + (f"?{parts.query}" if parts.query else "")


def _encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
