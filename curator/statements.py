"""What a page and its HTTP headers say of it: when it was published, who made it, under which licence, for which use.

Everything is read from the page as it came, before its Unicode is cleaned. Pages are hostile: nothing here raises, every
list has a limit, and what is kept of a page's words is short and without control characters. Where statements contradict
one another the strictest word on use wins, and machine-made wins over human: both are what a publisher would not say by mistake.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import cache
from typing import Any, Final
from urllib.parse import urljoin

from resiliparse.parse.html import HTMLTree
from resiliparse.parse.html.node import ElementNode

from curator.robots import AGENTS, train_ai

Headers = Sequence[tuple[str, str]]
Json = dict[str, Any]

_MAX_EVIDENCE: Final = 200  # characters
_MAX_TITLE: Final = 1000
_MAX_VALUE: Final = 8192  # of one header or attribute
_MAX_TAGS: Final = 10_000  # a page with more that speak is read for opt-outs only: each costs microseconds
_MAX_JSON: Final = 1 << 20  # characters of one JSON-LD block
_MAX_BLOCKS: Final = 20
_MAX_NODES: Final = 1000
_MAX_OPT_OUTS: Final = 20

_SPEAKING: Final = (
    "meta, link[rel~='canonical' i], link[rel~='license' i], link[rel~='c2pa-manifest' i], h1, script[type*='ld+json' i],"
    " time[datetime], time[pubdate], a[rel~='license' i], a[href*='creativecommons.org/' i],"
    " [itemprop~='datePublished' i], [itemprop~='license' i],"
    " span[property~='dc:created'], span[property~='schema:dateCreated'], html, body, main, article"
)
_OPT_OUTS_ONLY: Final = "html, meta[name*='bot' i], meta[name^='tdm-' i], meta[name*='content-usage' i]"

_NAMING: Final = {"name", "property", "itemprop", "http-equiv"}
# Category Cc, surrogates, and what hides or turns text (bidirectional overrides, tags): none belongs into a report.
_UNSEEN: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufeff\U000e0000-\U000e0fff]+")


@dataclass
class _Said:
    """What was said so far."""

    columns: dict[str, Any] = field(default_factory=dict)
    opt_outs: list[str] = field(default_factory=list)
    origins: list[tuple[str | None, str]] = field(default_factory=list)  # (origin, evidence)

    def first(self, column: str, value: Any) -> None:
        """Keep the first word said."""
        if value is not None and value != "":
            self.columns.setdefault(column, value)

    def restrict(self, column: str, value: bool, evidence: str, strict: bool = True) -> None:
        """Keep the strictest word said, and what was said."""
        if value is strict:
            self.columns[column] = value
        self.columns.setdefault(column, value)
        shown = _plain(evidence)
        if shown not in self.opt_outs and len(self.opt_outs) < _MAX_OPT_OUTS:
            self.opt_outs.append(shown)

    def licence(self, address: str | None, evidence: str) -> None:
        """Keep the first licence said; weaker statements come later."""
        if address and "licence" not in self.columns:
            self.columns["licence"] = _plain(address, _MAX_TITLE)
            self.columns["licence_evidence"] = _plain(evidence)

    def result(self) -> dict[str, Any]:
        """The columns that something states."""
        if self.opt_outs:
            self.columns["opt_out_evidence"] = self.opt_outs
        if self.origins:
            kinds = {origin for origin, _ in self.origins}
            origin = next((o for o in ("synthetic", "mixed", "human") if o in kinds), None)
            self.first("declared_origin", origin)
            self.columns["declared_origin_evidence"] = _plain("; ".join(dict.fromkeys(e for _, e in self.origins)))
        return self.columns


def read(tree: HTMLTree, headers: Headers, url: str | None, fetched_at: datetime | None) -> dict[str, Any]:
    """The `INGESTED` columns that a page or its headers state; what nothing states is left out. Never raises.

    headers: as served, names in any case, repeated ones as often as they came.
    """
    said, page = _Said(), _Page.of(tree, url)
    _head(said, page, tree)
    _dates(said, page, fetched_at)
    _usage(said, page.metas)
    _licences_of_head(said, page)
    _headers(said, headers, url)
    for _, content in page.meta("content-language", "language"):
        said.first("declared_language", _language(content))
    _licences_of_body(said, page)
    _origins(said, page)
    return said.result()


def of_headers(headers: Headers, url: str | None = None) -> dict[str, Any]:
    """The same for a response that is no HTML: all there is to go by are its headers. Never raises."""
    said = _Said()
    _headers(said, headers, url)
    return said.result()


# --- the page ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Page:
    """The tags of a page that say something of it, by their tag; `metas` by name, property, itemprop or http-equiv."""

    url: str | None
    tags: Mapping[str, list[ElementNode]]
    metas: Mapping[str, list[str]]
    itemprops: Mapping[str, list[ElementNode]]
    works: list[Json]  # the JSON-LD nodes that are about this page

    @classmethod
    def of(cls, tree: HTMLTree, url: str | None) -> _Page:
        tags: dict[str, list[ElementNode]] = {}
        itemprops: dict[str, list[ElementNode]] = {}
        for node in _speaking(tree):
            tags.setdefault(node.tag or "", []).append(node)
            if "itemprop" in node.attrs:
                for name in _words(node, "itemprop"):
                    itemprops.setdefault(name, []).append(node)
        metas = _metas(tags.get("meta", ()))
        blocks = [script.text or "" for script in tags.get("script", ())[:_MAX_BLOCKS]]
        here = [a for a in (url, *metas.get("og:url", ())[:1], *_hrefs(tags.get("link", ()), "canonical")) if a]
        return cls(url, tags, metas, itemprops, _about(_json_nodes(blocks), here))

    def meta(self, *names: str) -> Iterator[tuple[str, str]]:
        """(name, content) of the metas with these names, in the order of the names."""
        return ((name, content) for name in names for content in self.metas.get(name, ()))

    def links(self, rel: str) -> list[str]:
        return list(_hrefs(self.tags.get("link", ()), rel))


def _speaking(tree: HTMLTree) -> Sequence[ElementNode]:
    document = tree.document
    if document is None:
        return ()
    # A list of resiliparse finds all its elements again for each that is asked for: take them at once.
    for selector in (_SPEAKING, _OPT_OUTS_ONLY):
        found = document.query_selector_all(selector)
        if len(found) <= _MAX_TAGS:
            return list(found.values())
    return ()


def _attr(node: ElementNode, name: str) -> str:
    return (node.getattr(name) or "")[:_MAX_VALUE].strip() if name in node.attrs else ""


def _words(node: ElementNode, name: str) -> list[str]:
    return _attr(node, name).lower().split()


def _metas(nodes: Iterable[ElementNode]) -> dict[str, list[str]]:
    """What the metas say by name, property, itemprop or http-equiv; only those that somebody here listens to."""
    metas: dict[str, list[str]] = {}
    for node in nodes:
        names = dict.fromkeys(_attr(node, kind).lower() for kind in node.attrs if kind in _NAMING)
        heard = [name for name in names if name in _heard()]
        content = _attr(node, "content") if heard else ""
        for name in heard if content else ():
            metas.setdefault(name, []).append(content)
    return metas


@cache
def _heard() -> frozenset[str]:
    own = (
        "generator",
        "og:url",
        "og:title",
        "og:site_name",
        "x-robots-tag",
        "content-language",
        "language",
        "spdx-license-identifier",
    )
    terms = ("tdm-reservation", "tdm-policy", "content-usage", "content-signal")
    return frozenset(
        (*own, *terms, *_ROBOTS, *_DATE_METAS, *_LICENCE_METAS, *_RIGHTS_METAS, *_SOURCE_METAS, *_DISCLOSING)
    )


def _hrefs(nodes: Iterable[ElementNode], rel: str) -> Iterator[str]:
    return (_attr(node, "href") for node in nodes if rel in _words(node, "rel"))


def _plain(text: str, limit: int = _MAX_EVIDENCE) -> str:
    """One line of text without what cannot be seen or stored, cut to its limit."""
    return " ".join(_UNSEEN.sub(" ", text.strip()[: 4 * limit]).split())[:limit]


def _head(said: _Said, page: _Page, tree: HTMLTree) -> None:
    said.first("title", _title(page, tree))
    html = page.tags.get("html", ())
    said.first(
        "declared_language",
        next((tag for n in html for k in ("lang", "xml:lang") if (tag := _language(_attr(n, k)))), None),
    )
    said.first("generator", _plain("; ".join(dict.fromkeys(page.metas.get("generator", ())))))


def _title(page: _Page, tree: HTMLTree) -> str | None:
    """The page's own title: og:title seldom carries the site's name; not where it is nothing but that name."""
    sites = {_plain(name, _MAX_TITLE) for name in page.metas.get("og:site_name", ())}
    given = [
        *page.metas.get("og:title", ())[:1],
        tree.title or "",
        *(h.text or "" for h in page.tags.get("h1", ())[:1]),
    ]
    titles = [title for text in given if (title := _plain(text, _MAX_TITLE))]
    return next((title for title in titles if title not in sites), titles[0] if titles else None)


_TAG: Final = re.compile(r"[a-z]{2,3}(?:-[a-z0-9]{1,8})*", re.IGNORECASE)


def _language(text: str) -> str | None:
    """One BCP 47 tag; several languages at once, or words that are no tag, declare nothing."""
    tag = text.strip().replace("_", "-")
    return tag if _TAG.fullmatch(tag) and tag.lower() not in ("und", "mul", "zxx") else None


# --- JSON-LD ----------------------------------------------------------------------------------------------------------

_WRAPPING: Final = re.compile(r"^\s*(?:<!--|//\s*<!\[CDATA\[|<!\[CDATA\[)|(?:-->|//\s*\]\]>|\]\]>)\s*$")
_DESCEND: Final = ("@graph", "mainEntity", "mainEntityOfPage")
_ADDRESSES: Final = ("url", "@id", "mainEntityOfPage")
_ARTICLE: Final = re.compile(r"(Article|Posting|Report)\b")
# What may stand beside a page's text without being it.
_OTHER: Final = re.compile(
    r"(Image|Video|Audio|Media)Object|Photograph|Clip|Person|Organization|Corporation|Business|Breadcrumb|ItemList|WebSite"
    r"|Product|Offer|Event|Place|Action|Comment|Rating|JobPosting|SiteNavigation|WPHeader|WPFooter|WPSideBar"
)


def _json_nodes(blocks: Iterable[str]) -> list[Json]:
    """The nodes that the blocks hold at their top, in a graph or as main entity: not what these hold in turn."""
    nodes: list[Json] = []
    for block in blocks:
        waiting = [_parsed(block)]
        while waiting and len(nodes) < _MAX_NODES:
            value = waiting.pop()
            if isinstance(value, list):
                waiting.extend(reversed(value[:_MAX_NODES]))
            elif isinstance(value, dict):
                nodes.append(value)
                waiting.extend(value[key] for key in _DESCEND if isinstance(value.get(key), list | dict))
    return nodes


def _parsed(block: str) -> Any:
    if len(block) > _MAX_JSON:
        return None
    try:
        return json.loads(_WRAPPING.sub("", block), strict=False)
    except (ValueError, RecursionError):  # nested a million deep
        return None


def _strings(value: Any) -> list[str]:
    """The strings of a JSON value that may be one, a list of them, or objects with an address."""
    values = value[:_MAX_NODES] if isinstance(value, list) else [value]
    flat = [v.get("@id") or v.get("url") if isinstance(v, dict) else v for v in values]
    return [v[:_MAX_VALUE] for v in flat if isinstance(v, str) and v.strip()]


def _about(nodes: Sequence[Json], here: Sequence[str]) -> list[Json]:
    """The nodes that describe the page itself, its article first; a list of other articles describes others."""
    kinds = [" ".join(_strings(node.get("@type"))) for node in nodes]
    written = [bool(_ARTICLE.search(kind)) and "Job" not in kind for kind in kinds]
    articles = [node for node, is_article in zip(nodes, written, strict=True) if is_article]
    others = [n for n, k, w in zip(nodes, kinds, written, strict=True) if k and not w and not _OTHER.search(k)]
    if len(articles) > 1:
        same = {_address(a) for a in here}
        own = [n for n in articles if same & {_address(a) for key in _ADDRESSES for a in _strings(n.get(key))}]
        days = {tuple(_strings(n.get("datePublished"))) for n in articles}
        articles = own or (articles if len(days) == 1 else [])
    return articles + others


def _address(url: str) -> str:
    """An address as far as it tells pages apart."""
    return re.sub(r"^https?://(www\.)?|#.*$", "", url.strip().lower()).rstrip("/")


# --- when -------------------------------------------------------------------------------------------------------------

_DATE_METAS: Final = (
    "article:published_time", "og:article:published_time", "datepublished", "citation_publication_date",
    "dc.date.issued", "dcterms.issued", "dc.date.created", "dcterms.created", "dc.date", "dcterms.date",
    "parsely-pub-date", "sailthru.date", "pubdate", "publishdate", "publish-date", "date",
)  # fmt: skip
_EARLIEST: Final = datetime(1990, 1, 1, tzinfo=UTC)  # before there were pages
_LATEST: Final = datetime(2100, 1, 1, tzinfo=UTC)
_ISO: Final = re.compile(
    r"(\d{4})[-/](\d{1,2})[-/](\d{1,2})(?:[T\s]+(\d{1,2}:\d{2}(?::\d{2})?)(?:[.,]\d+)?\s*(Z|UTC|GMT|[+-]\d{2}:?\d{2})?)?.{0,8}",
    re.IGNORECASE,
)


_RFC_2822: Final = re.compile(r"(?:[a-z]{3},?\s+)?\d{1,2}\s+[a-z]{3,9}\s+\d{4}\b", re.IGNORECASE)


def _dates(said: _Said, page: _Page, fetched_at: datetime | None) -> None:
    latest = _LATEST if fetched_at is None else fetched_at if fetched_at.tzinfo else fetched_at.replace(tzinfo=UTC)
    for text in _date_texts(page):
        day = _date(text)
        if day and day >= _EARLIEST and day - timedelta(days=1) <= latest:  # a day: clocks and zones are often wrong
            said.first("published_at", day)
            return


def _date_texts(page: _Page) -> Iterator[str]:
    """What may say when the page was published, the most certain first."""
    for work in page.works:
        yield from _strings(work.get("datePublished"))
    yield from (content for _, content in page.meta(*_DATE_METAS))
    for node in [*page.itemprops.get("datepublished", ()), *page.tags.get("span", ())][:_MAX_BLOCKS]:
        if not node.closest("[itemprop~='comment' i], [class*='comment' i]"):
            yield _attr(node, "datetime") or _attr(node, "content") or (node.text or "")[:100]
    yield from _times(page.tags.get("time", ())[:_MAX_BLOCKS], alone=len(page.tags.get("article", ())) == 1)


def _times(nodes: Sequence[ElementNode], alone: bool) -> Iterator[str]:
    """`<time>` of the article: `pubdate`, else the first within the only article or the one that has the page's heading."""
    yield from (_attr(node, "datetime") for node in nodes if "pubdate" in node.attrs)
    for node in nodes:
        article = node.closest("article") if "updated" not in _words(node, "class") else None
        if article is not None and (alone or article.query_selector("h1") is not None):
            yield _attr(node, "datetime")


def _date(text: str) -> datetime | None:
    """A moment in UTC, of ISO 8601 to the day at least, or RFC 2822; without a zone it is taken for UTC."""
    text = text.strip()[:64]
    found = _ISO.fullmatch(text)
    try:
        if found:
            return _iso(*found.groups())
        return _utc(parsedate_to_datetime(text) if _RFC_2822.match(text) else datetime.fromisoformat(text))
    except (ValueError, OverflowError, TypeError, IndexError):
        return None


def _iso(year: str, month: str, day: str, clock: str | None, zone: str | None) -> datetime:
    offset = "+00:00" if not zone or zone[0] not in "+-" else zone
    return _utc(datetime.fromisoformat(f"{year}-{month:0>2}-{day:0>2}T{(clock or '00:00'):0>5}{offset}"))


def _utc(moment: datetime) -> datetime:
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)


# --- for which use ----------------------------------------------------------------------------------------------------

_TRAINING: Final = {agent.lower() for agent in AGENTS} - {"*"}
_ROBOTS: Final = {
    "robots",
    "googlebot",
    "bingbot",
    *_TRAINING,
}  # not googlebot-news and the like: they speak of one service
_VALUED: Final = ("unavailable_after", "max-snippet", "max-image-preview", "max-video-preview")


def _usage(said: _Said, metas: Mapping[str, list[str]]) -> None:
    """Robots, TDM and Content-Usage as metas, those that stand for a header (`http-equiv`) among them."""
    for name in sorted(_ROBOTS & metas.keys()):  # a set's own order differs from process to process
        for content in metas[name]:
            _directives(said, re.split(r"[,;\s]+", content), f"meta {name}: {content}")
    for content in metas.get("x-robots-tag", ()):
        _robots_tag(said, content, "meta X-Robots-Tag")
    for name, contents in metas.items():
        for content in contents:
            _terms(said, name, content, f"meta {name}")


def _directives(said: _Said, words: Iterable[str], evidence: str, index: bool = True) -> None:
    """What robots are told; `index` is False where one is told that has no say in what others may index."""
    told = {word.strip().lower() for word in words}
    if told & {"noai", "noml"}:  # noml.info: no machine learning
        said.restrict("noai", True, evidence)
    if "noimageai" in told:
        said.restrict("noimageai", True, evidence)
    if index and told & {"noindex", "none"}:
        said.restrict("noindex", True, evidence)
    elif index and told & {"index", "all"}:
        said.columns.setdefault("noindex", False)


def _robots_tag(said: _Said, value: str, where: str) -> None:
    """X-Robots-Tag: directives, each for all agents or for the one named before it, as in `gptbot: noai, noindex`."""
    told: dict[str, list[str]] = {}
    agent = "robots"
    for piece in value.split(","):
        name, colon, rest = (part.strip() for part in piece.partition(":"))
        if colon and name.lower() not in _VALUED and re.match(r"[a-z*]", name, re.IGNORECASE):
            agent, piece = "robots" if name == "*" else name.lower(), rest
        told.setdefault(agent, []).append(piece)
    for agent, words in told.items():
        _directives(said, words, f"{where}: {value}", agent in _ROBOTS)


def _terms(said: _Said, name: str, value: str, where: str) -> None:
    """TDM reservation (w3.org/community/reports/tdmrep), Content-Usage (IETF aipref), Content-Signal (contentsignals.org)."""
    if name == "tdm-reservation":
        for word in {piece.strip() for piece in value.split(",")} & {"0", "1"}:
            said.restrict("tdm_reserved", word == "1", f"{where}: {value}")
    elif name == "tdm-policy":
        said.first("tdm_policy", _plain(value, _MAX_TITLE))
    elif name in ("content-usage", "content-signal"):
        said.first("content_usage", _plain(value, _MAX_TITLE))
        allowed = train_ai(value)
        if allowed is not None:
            said.restrict("train_ai", allowed, f"{where}: {value}", strict=False)


def _headers(said: _Said, headers: Headers, url: str | None) -> None:
    for given, full in headers:
        name, value = given.strip().lower(), full[:_MAX_VALUE].strip()
        if name == "x-robots-tag":
            _robots_tag(said, value, "header X-Robots-Tag")
        elif name == "content-language":
            said.first("declared_language", _language(value))
        elif name == "link":
            _link_header(said, value, url)
        elif name in _DISCLOSING:
            _disclosed(said, name, value, "header")
        else:
            _terms(said, name, value, f"header {name}")


_LINK: Final = re.compile(r"<([^<>]*)>([^<>]*)")


def _link_header(said: _Said, value: str, url: str | None) -> None:
    for address, parameters in _LINK.findall(value):
        rels = re.search(r"\brel\s*=\s*(\"[^\"]*\"|[^\s;,]+)", parameters, re.IGNORECASE)
        words = rels[1].strip('"').lower().split() if rels else []
        if "license" in words:
            said.licence(_licence(address, url), f"header link rel=license: {address}")
        if "c2pa-manifest" in words:
            said.origins.append((None, f"header link rel=c2pa-manifest: {address}"))


# --- under which licence ----------------------------------------------------------------------------------------------

_CC: Final = re.compile(
    r"creativecommons\.org/(licenses|publicdomain)/([a-z+-]{2,20})(?:/(\d\.\d))?(?:/([a-z]{2,8})(?=[/?#]|$))?",
    re.IGNORECASE,
)
# The ports of Creative Commons licences to a jurisdiction that have an SPDX id (spdx.org/licenses, list 3.27).
_PORTS: Final = {
    "CC-BY-2.5-AU", "CC-BY-3.0-AT", "CC-BY-3.0-AU", "CC-BY-3.0-DE", "CC-BY-3.0-IGO", "CC-BY-3.0-NL", "CC-BY-3.0-US",
    "CC-BY-NC-3.0-DE", "CC-BY-NC-ND-3.0-DE", "CC-BY-NC-ND-3.0-IGO", "CC-BY-NC-SA-2.0-DE", "CC-BY-NC-SA-2.0-FR",
    "CC-BY-NC-SA-2.0-UK", "CC-BY-NC-SA-3.0-DE", "CC-BY-NC-SA-3.0-IGO", "CC-BY-ND-3.0-DE", "CC-BY-SA-2.0-UK",
    "CC-BY-SA-2.1-JP", "CC-BY-SA-3.0-AT", "CC-BY-SA-3.0-DE", "CC-BY-SA-3.0-IGO",
}  # fmt: skip
_KINDS: Final = {"by", "by-sa", "by-nd", "by-nc", "by-nc-sa", "by-nc-nd"}
_OTHERS: Final = (
    (re.compile(r"spdx\.org/licenses/([\w.+-]{1,64}?)(?:\.html|\.json)?/?$"), r"\1"),
    (re.compile(r"apache\.org/licenses/license-2\.0.*", re.I), "Apache-2.0"),
    (re.compile(r"opensource\.org/licenses?/mit/?$", re.I), "MIT"),
    (re.compile(r"nationalarchives\.gov\.uk/doc/open-government-licence/version/([123])\b.*", re.I), r"OGL-UK-\1.0"),
    (re.compile(r"opendatacommons\.org/licenses/odbl\b.*", re.I), "ODbL-1.0"),
    (re.compile(r"opendatacommons\.org/licenses/by\b.*", re.I), "ODC-By-1.0"),
    (re.compile(r"opendatacommons\.org/licenses/pddl\b.*", re.I), "PDDL-1.0"),
)
_SPDX_TEXT: Final = re.compile(r"SPDX-License-Identifier:\s*([\w.+-]{1,64})", re.IGNORECASE)
_CC_TEXT: Final = re.compile(r"\bCC[- ](BY(?:-(?:NC|ND|SA)){0,2})[- ]([1-4]\.[05])\b", re.IGNORECASE)
_LICENCE_METAS: Final = ("dcterms.license", "dc.license", "dc.rights.license", "cc:license", "license", "licence")
_RIGHTS_METAS: Final = (
    "dcterms.rights",
    "dc.rights",
    "rights",
    "copyright",
)  # free words: a licence only where they name one
# Words around a link that speak of somebody else's work, and those that speak of the page's own all the same.
_PICTURE: Final = re.compile(
    r"photo|image|picture|illustration|bild|foto|imagen|flickr|wikimedia|unsplash|graphic|icon|logo|credit|lightbox|musi[ck]",
    re.I,
)
_OWN: Final = re.compile(
    r"(this|dieser?s?|alle|all|cette?|este|questo)\s+(\w+\s+){0,2}?"
    r"(work|article|text|post|page|site|blog|content|website|artikel|werk|beitr|inhalt|œuvre|obra|opera)",
    re.I,
)
_FOOTER: Final = "footer, [id*='footer' i], [class*='footer' i], [role='contentinfo' i]"


def spdx(address: str) -> str | None:
    """The SPDX id of a licence's address; deeds and legal codes in any language are the same licence."""
    found = _CC.search(address)
    if found:
        return _creative_commons(*(part.lower() if part else "" for part in found.groups()))
    for pattern, name in _OTHERS:
        other = pattern.search(address)
        if other:
            return other.expand(name)
    return None


def _creative_commons(family: str, kind: str, version: str, port: str) -> str | None:
    if family == "publicdomain":
        return "CC0-1.0" if kind == "zero" else None
    kind = {"by-nd-nc": "by-nc-nd"}.get(kind, kind)
    if kind not in _KINDS or not version:
        return "CC-PDDC" if kind == "publicdomain" else None
    name = f"CC-{kind.upper()}-{version}"
    port = "" if port in ("deed", "rdf") else port.upper()
    if not port:
        return name
    return f"{name}-{port}" if f"{name}-{port}" in _PORTS else None


def _licence(address: str, url: str | None) -> str | None:
    """SPDX id of the address, else the address itself, absolute; None where it is none."""
    try:
        absolute = urljoin(url or "", address.strip())
    except ValueError:
        return None
    known = spdx(absolute)
    return known or (absolute if re.match(r"https?://[^/]", absolute) and not address.startswith("#") else None)


def _licence_named(text: str) -> str | None:
    """The licence that free words name, by address or by its usual short form."""
    link = re.search(r"https?://[^\s\"'<>]+", text)
    if link and spdx(link[0]):
        return spdx(link[0])
    tag = _SPDX_TEXT.search(text)
    short = _CC_TEXT.search(text)
    return tag[1] if tag else f"CC-{short[1].upper()}-{short[2]}" if short else "CC0-1.0" if "CC0" in text else None


def _licences_of_head(said: _Said, page: _Page) -> None:
    for address in page.links("license"):
        said.licence(_licence(address, page.url), f"link rel=license: {address}")


def _licences_of_body(said: _Said, page: _Page) -> None:
    """The other statements, the most certain first; a bare Creative Commons link may be of somebody else's picture."""
    links = [a for a in page.tags.get("a", ())[:_MAX_BLOCKS] if not a.closest("figure, figcaption")]
    for address in _hrefs(links, "license"):
        said.licence(_licence(address, page.url), f"a rel=license: {address}")
    for address in (a for work in page.works for a in _strings(work.get("license"))):
        said.licence(
            _licence(address, page.url) if "/" in address else _licence_named(address), f"JSON-LD license: {address}"
        )
    _licences_of_metas(said, page)
    for node in page.itemprops.get("license", ())[:_MAX_BLOCKS]:
        said.licence(_licence(_attr(node, "href"), page.url), f"itemprop license: {_attr(node, 'href')}")
    bare = [(a, _attr(a, "href")) for a in links if "license" not in _words(a, "rel")]
    for address in (href for a, href in bare if a.closest(_FOOTER)):
        said.licence(_cc(address), f"footer link: {address}")
    weak = {_cc(href) for a, href in bare if not _of_picture(a)} - {None}
    if len(weak) == 1:  # several licences are those of several pictures
        said.licence(weak.pop(), f"body link: {next(href for a, href in bare if _cc(href) and not _of_picture(a))}")


def _licences_of_metas(said: _Said, page: _Page) -> None:
    for content in page.metas.get("spdx-license-identifier", ()):
        said.licence(_licence_named(f"SPDX-License-Identifier: {content}"), f"meta SPDX-License-Identifier: {content}")
    for name, content in page.meta(*_LICENCE_METAS):
        said.licence(_licence_named(content) or _licence(content, None), f"meta {name}: {content}")
    for name, content in page.meta(*_RIGHTS_METAS):
        said.licence(_licence_named(content), f"meta {name}: {content}")


def _cc(address: str) -> str | None:
    """The licence that a Creative Commons link names; None where it leads elsewhere on that site."""
    found = _CC.search(address)
    return (spdx(address) or f"https://{found[0].lower()}/") if found else None


def _of_picture(link: ElementNode) -> bool:
    """Whether the words around a link speak of a picture, or of another work that the page only shows."""
    parent = link.parent_element
    words = (parent.text or "")[:_MAX_VALUE] if parent is not None else ""
    return bool(_PICTURE.search(words)) and not _OWN.search(words)


# --- who made it ------------------------------------------------------------------------------------------------------

# cv.iptc.org/newscodes/digitalsourcetype; schema.org has the same names with `DigitalSource` behind them.
_SOURCE_TYPES: Final = {
    **dict.fromkeys(("trainedalgorithmicmedia", "algorithmicmedia"), "synthetic"),
    **dict.fromkeys(("compositewithtrainedalgorithmicmedia", "compositesynthetic", "algorithmicallyenhanced"), "mixed"),
    **dict.fromkeys(
        ("digitalcapture", "originaldigitalcapture", "humanedits", "minorhumanedits", "digitalcreation", "digitalart",
         "negativefilm", "positivefilm", "print", "computationalcapture", "compositecapture"),
        "human",
    ),
}  # fmt: skip
_SOURCE_METAS: Final = (
    "digitalsourcetype",
    "iptc:digitalsourcetype",
    "iptc4xmpext:digitalsourcetype",
    "digital-source-type",
)
# Names of headers and metas that say how far a model wrote the text: draft-abaris-aicdh (`AI-Disclosure: mode=…`), the
# W3C community group's `ai-disclosure`, and two without a standard that are in use.
_DISCLOSING: Final = ("ai-disclosure", "ai-content-declaration", "ai-generated", "ai-generated-content")
_MODES: Final = {
    **dict.fromkeys(("ai-generated", "machine-generated", "ai-originated", "autonomous", "fully-ai-generated", "synthetic", "ai"), "synthetic"),
    **dict.fromkeys(("ai-assisted", "ai-modified", "ai-edited", "ai-enhanced", "mixed", "hybrid", "partial", "partially"), "mixed"),
    **dict.fromkeys(("none", "human", "human-authored", "human-written", "human-created", "human-generated", "human-made"), "human"),
}  # fmt: skip
_TRUTHS: Final = {**dict.fromkeys(("true", "yes", "1"), "synthetic"), **dict.fromkeys(("false", "no", "0"), "human")}
# Generators that write the text itself: names of language models and of tools that publish what a model wrote. Tools that
# lay out or code a page (WordPress, Wix, v0, Lovable …) say nothing of who wrote its words.
_WRITERS: Final = re.compile(
    r"\b(chatgpt|gpt-?[345][\w.-]*|openai|anthropic|claude[ -](?:\d|opus|sonnet|haiku)[\w.-]*|google gemini|gemini[ -]\d[\w.-]*"
    r"|deepseek|microsoft copilot|mistral ai|llama[ -]?\d[\w.-]*|qwen[\w.-]*|grok[ -]\d[\w.-]*|jasper\.ai|copy\.ai|writesonic"
    r"|article ?forge|autoblogging(?:\.ai)?|koala ?writer|zimmwriter|byword\.ai|seowriting(?:\.ai)?|journalist ?ai|contentbot)",
    re.IGNORECASE,
)


def _origins(said: _Said, page: _Page) -> None:
    for address in page.links("c2pa-manifest"):  # a manifest says that there is provenance, not which
        said.origins.append((None, f"link rel=c2pa-manifest: {address}"))
    for work in page.works:
        for value in _strings(work.get("digitalSourceType")):
            _source_type(said, value, "JSON-LD")
    for name, value in page.meta(*_SOURCE_METAS):
        _source_type(said, value, f"meta {name}")
    for name, value in page.meta(*_DISCLOSING):
        _disclosed(said, name, value, "meta")
    for tag in ("html", "body", "main", "article"):
        nodes = page.tags.get(tag, ())
        if len(nodes) == 1:  # several articles are several works
            _attributes(said, nodes[0], tag)
    written = _WRITERS.search("; ".join(page.metas.get("generator", ())))
    if written:
        said.origins.append(("synthetic", f"meta generator: {written[0]}"))


def _attributes(said: _Said, node: ElementNode, tag: str) -> None:
    for name in node.attrs:
        plain = name.lower().removeprefix("data-")
        if plain in ("ai-disclosure", "ai-generated"):
            _disclosed(said, plain, _attr(node, name), f"{tag} attribute")
        elif plain.replace("-", "") == "digitalsourcetype":
            _source_type(said, _attr(node, name), f"{tag} attribute")


def _source_type(said: _Said, value: str, where: str) -> None:
    term = re.split(r"[/#:]", value.strip().rstrip("/"))[-1].lower().removesuffix("digitalsource")
    if term in _SOURCE_TYPES:
        said.origins.append((_SOURCE_TYPES[term], f"{where} digitalSourceType: {value}"))


def _disclosed(said: _Said, name: str, value: str, where: str) -> None:
    """A disclosure, bare or as `mode=…`; yes and no only answer `ai-generated`."""
    mode = re.search(r"\bmode\s*=\s*\"?([\w -]+)", value)
    word = re.sub(r"[\s_]+", "-", (mode[1] if mode else re.split(r"[;,]", value)[0]).strip(' "').lower())
    origin = _MODES.get(word) or (_TRUTHS.get(word) if name.startswith("ai-generated") else None)
    if origin:
        said.origins.append((origin, f"{where} {name}: {value}"))
