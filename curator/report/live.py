"""The page as `curator serve` shows it: with a box to ask in SQL, and the policy under which a browser runs it."""

from __future__ import annotations

import base64
import hashlib
import re
from importlib.resources import files
from typing import Final

_STYLES: Final = re.compile(r"<style>(.*?)</style>", re.S)
_LINK: Final = '<li><a href="#live">Ask the account</a></li>'
_POLICY: Final = re.compile(r"<meta http-equiv=\"Content-Security-Policy\"[^>]*>\n?")


def live(page: str) -> tuple[str, str]:
    """A report with the box, and the Content-Security-Policy to send with it.

    The policy names the page's own script and styles by their hashes: whatever a document smuggled in would not run.
    It stands in the header instead of the page's, which permits no script at all.
    """
    script, style, box = (_resource(f"live.{kind}") for kind in ("js", "css", "html"))
    page = _POLICY.sub("", page, count=1)
    page = _put(page, "</head>", f"<style>\n{style}</style>\n</head>")
    page = _put(page, '<nav aria-label="Chapters">\n<ul>', f'<nav aria-label="Chapters">\n<ul>\n{_LINK}')
    page = _put(page, '<main id="main">', f'<main id="main">\n{box}')
    page = _put(page, "</body>", f"<script>\n{script}</script>\n</body>")
    styles = " ".join(_hash(text) for text in _STYLES.findall(page))
    policy = (
        f"default-src 'none'; script-src {_hash(chr(10) + script)}; style-src-elem {styles}; style-src-attr 'unsafe-inline'; "
        "img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return page, policy


def _resource(name: str) -> str:
    return (files("curator.report") / name).read_text("utf-8")


def _put(page: str, mark: str, instead: str) -> str:
    """Replace the one place that reads so; documents cannot write it, their angle brackets are escaped."""
    before, found, after = page.partition(mark)
    assert found and mark not in after, f"{mark} stands {1 + after.count(mark) if found else 0} times in the page"
    return before + instead + after


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
