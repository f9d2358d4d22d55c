"""One fetched body as a document: what it is, in which encoding, its text, and what its publisher says of it."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from resiliparse.parse.encoding import detect_encoding, detect_mime, map_encoding_to_html5
from resiliparse.parse.html import HTMLTree

from curator import statements
from curator.extract import extract

MAX_DEPTH: Final = 2000  # tags within tags; browsers stop at 512, extraction takes time with the square of it

_HTML: Final = frozenset({"text/html", "application/xhtml+xml", "application/vnd.wap.xhtml+xml"})
_TEXT: Final = frozenset({"text/plain", "text/markdown", "text/x-markdown", "text/x-web-markdown", "text/x-rst"})
_UNKNOWN: Final = frozenset({"", "application/octet-stream", "application/unknown", "unknown/unknown", "*/*", "text/*"})

_SNIFF_BYTES: Final = 1 << 16
_HEAD_BYTES: Final = 4096  # where a page names its encoding; the standard says 1024, long heads are common
_CONTROL: Final = bytes(set(range(32)) - set(b"\t\n\x0b\x0c\r\x1b"))  # escape begins the shifts of ISO-2022
_MAX_CONTROL: Final = 0.03  # of the bytes; random ones have 0.1

# Atomic groups: a run of comments could be divided in exponentially many ways before such a search gives up.
_BEGINS_HTML: Final = re.compile(
    rb"(?>\s+|<!--.{0,4096}?-->|<\?xml[^>]{0,200}\?>)*+<(?:!doctype\s+html|html|head|body)\b", re.I | re.S
)
_MARKUP: Final = re.compile(
    rb"<(?:!doctype|html|head|body|title|meta|script|style|div|p|br|table|a|h[1-6]|span|ul)\b", re.I
)
_XML_ROOT: Final = re.compile(
    rb"(?>\s+|<\?.{0,4096}?\?>|<!--.{0,4096}?-->|<![^>\[]{0,1000}+(?:\[.{0,4096}?\])?>)*+<([a-zA-Z_][\w.:-]{0,100})",
    re.S,
)
_XML_MIMES: Final = {
    b"rss": "application/rss+xml",
    b"rdf:RDF": "application/rdf+xml",
    b"feed": "application/atom+xml",
    b"svg": "image/svg+xml",
    b"urlset": "application/xml",
    b"sitemapindex": "application/xml",
}
_BOMS: Final = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))
_CHARSET: Final = re.compile(r"charset\s*=\s*[\"']?\s*([\w.:-]{1,40})", re.I)
_META_CHARSET: Final = re.compile(
    rb"<(?:meta\b[^>]{0,500}?\bcharset|\?xml\b[^>]{0,200}?\bencoding)\s*=\s*[\"']?\s*([\w.:-]{1,40})", re.I
)
_MAX_REPLACED: Final = 0.01  # of the characters: more means that the declared encoding is the wrong one

_TAG: Final = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9-]{0,30})")
_NO_DEPTH: Final = frozenset(
    [
        "area",
        "base",
        "br",
        "col",
        "embed",
        "hr",
        "img",
        "input",
        "link",
        "meta",
        "param",
        "source",
        "track",
        "wbr",
        "p",
        "li",
        "dt",
        "dd",
        "tr",
        "td",
        "th",
        "option",
        "script",
        "style",
    ]
)


def essence(mime: str | None) -> str | None:
    """The MIME type alone, in lower case, without parameters; None where there is none."""
    return (mime or "").partition(";")[0].strip().lower()[:100] or None


def read(
    body: bytes, headers: Sequence[tuple[str, str]], url: str | None, fetched_at: datetime | None, mime: str | None
) -> dict[str, Any]:
    """The `INGESTED` columns of one fetched body: its text and what it states, or `quarantine` with the reason. Never raises.

    headers: of the HTTP response, or of the archive's record where there was none; mime: as served.
    """
    served = essence(mime)
    kind, refused = _kind(body, served)
    if refused is not None:
        return {"mime": served or refused.partition(": ")[2] or None, "quarantine": refused}
    text, charset = decoded(body, _declared(mime, body))
    known = {"mime": kind, "charset": charset}
    found = _text(text, headers, url) if kind == "text/plain" else _html(text, headers, url, fetched_at)
    return {**known, **found}


def _text(text: str, headers: Sequence[tuple[str, str]], url: str | None) -> dict[str, Any]:
    stated = statements.of_headers(headers, url)
    languages = next((v for n, v in headers if n.lower() == "warc-identified-content-language"), "")
    if languages:
        stated.setdefault("declared_language", languages.split(",")[0].strip())
    return {**stated, **({"text": text} if text.strip() else {"quarantine": "no_text"})}


def _html(
    text: str, headers: Sequence[tuple[str, str]], url: str | None, fetched_at: datetime | None
) -> dict[str, Any]:
    if too_deep(text):
        return {**statements.of_headers(headers, url), "quarantine": "too_deep"}
    tree = HTMLTree.parse(text)
    stated = statements.read(tree, headers, url, fetched_at)
    found = extract(text, tree)
    clean = well_formed(found.text)
    if not clean.strip():
        return {**stated, "quarantine": "no_text"}
    return {**stated, "text": clean, "extractor": found.extractor}


def well_formed(text: str) -> str:
    """The text without lone surrogates, which no UTF-8 can hold."""
    try:
        text.encode()
        return text
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


# --- what it is -------------------------------------------------------------------------------------------------------


def _kind(body: bytes, served: str | None) -> tuple[str, str | None]:
    """Say what a body is to be read as, and why it cannot be: by what was served, and by what it looks like."""
    unknown = served is None or served in _UNKNOWN or "/" not in served
    if not (unknown or served in _HTML or served in _TEXT):
        return "", f"not_text: {served}"
    looks = _looks(body)
    if looks is not None:
        return "", looks
    if served in _HTML:
        return ("text/html" if b"<" in body else "text/plain"), None
    if _BEGINS_HTML.match(body[:_SNIFF_BYTES]) or (unknown and _MARKUP.search(body[:_HEAD_BYTES])):
        return "text/html", None
    return ("text/plain", None) if served not in _UNKNOWN or not served else ("", f"not_text: {served}")


def _looks(body: bytes) -> str | None:
    """Why a body is neither HTML nor text, by its looks; None where nothing speaks against it."""
    head = body[:_SNIFF_BYTES]
    start = head[:1024].lstrip()
    if start.startswith((b"%PDF-", b"%!PS-", b"{\\rtf")):
        return f"not_text: {detect_mime(start)}"
    if not head.startswith((b"\xff\xfe", b"\xfe\xff")) and _is_binary(head):
        magic = detect_mime(head)
        return "binary" if magic == "application/octet-stream" or magic.startswith("text/") else f"not_text: {magic}"
    if start.startswith((b"<", b"\xef\xbb\xbf<")):
        return _xml(head.removeprefix(b"\xef\xbb\xbf"))
    return "not_text: application/json" if start.startswith((b"{", b"[")) and _is_json(body) else None


def _is_binary(head: bytes) -> bool:
    """Say whether too many of the bytes are control characters, of which UTF-16 without a mark is not to blame."""
    controls = len(head) - len(head.translate(None, _CONTROL))
    if controls <= _MAX_CONTROL * len(head):
        return False
    return not any(head[odd::2].count(0) > 0.4 * len(head) for odd in (0, 1)) or controls > 0.55 * len(head)


def _xml(head: bytes) -> str | None:
    root = _XML_ROOT.match(head)
    if root is None or root[1].lower() in (b"html", b"body", b"head"):
        return None
    if root[1] in _XML_MIMES:
        return f"not_text: {_XML_MIMES[root[1]]}"
    return (
        "not_text: application/xml"
        if head.lstrip().startswith(b"<?xml") and b"<!doctype html" not in head[:1024].lower()
        else None
    )


def _is_json(body: bytes) -> bool:
    if body.rstrip()[-1:] not in (b"}", b"]"):
        return False
    try:
        return isinstance(json.loads(body), dict | list)
    except (ValueError, RecursionError):
        return False


# --- in which encoding ------------------------------------------------------------------------------------------------


def _declared(mime: str | None, body: bytes) -> str | None:
    """The encoding that is declared: by the server, else in the head of the page."""
    served = _CHARSET.search(mime or "")
    in_page = _META_CHARSET.search(body, 0, _HEAD_BYTES)
    return served[1] if served else in_page[1].decode("ascii", "replace") if in_page else None


def decoded(body: bytes, declared: str | None = None) -> tuple[str, str]:
    """Decode a page's bytes; returns the text and the name of the encoding. Never raises.

    A byte order mark wins; then UTF-8, if the bytes are UTF-8 beyond ASCII, whatever is declared; then what is declared,
    by the names of the WHATWG standard; then what the bytes look like.
    """
    for mark, name in _BOMS:
        if body.startswith(mark):
            return body[len(mark) :].decode(name, "replace"), _shown(name)
    codec = map_encoding_to_html5(declared, fallback_utf8=False) if declared else None
    if codec not in ("iso2022_jp", "utf-16-le", "utf-16-be") or (codec != "iso2022_jp" and b"\0" not in body):
        try:
            return body.decode("utf-8"), "utf-8"
        except UnicodeDecodeError:
            pass
    found = _tried(body, codec) if codec not in (None, "utf-8") else None
    return found or _detected(body)


def _tried(body: bytes, codec: str | None) -> tuple[str, str] | None:
    """Decode as declared, unless too much of it is not that encoding."""
    try:
        text = body.decode(codec or "utf-8", "replace")
    except LookupError:
        return None
    return (text, _shown(codec or "utf-8")) if text.count("\ufffd") <= _MAX_REPLACED * len(text) else None


def _detected(body: bytes) -> tuple[str, str]:
    codec = detect_encoding(body) or "cp1252"
    found = _tried(body, codec) or _tried(body, "cp1252")
    return found or (body.decode("latin-1"), "latin-1")


def _shown(codec: str) -> str:
    """The encoding's name as the web writes it."""
    return re.sub(r"^cp(\d+)$", r"windows-\1", codec).replace("_", "-").replace("utf-16-", "utf-16")


# --- how deep ---------------------------------------------------------------------------------------------------------


def too_deep(html: str) -> bool:
    """Say whether more than `MAX_DEPTH` tags lie within one another; linear in the page."""
    if html.count("<") - html.count("</") <= MAX_DEPTH:
        return False
    stack: list[str] = []
    for tag in _TAG.finditer(html):
        close, name = tag[1], tag[2].lower()
        if name in _NO_DEPTH:
            continue
        if not close:
            stack.append(name)
            if len(stack) > MAX_DEPTH:
                return True
        elif name in stack[-32:]:  # a closing tag further off closes nothing that counts
            while stack.pop() != name:
                pass
    return False
