"""The main content of a page as text: headings, paragraphs, lists, tables and code; no navigation, banners or comments."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from typing import Final

import trafilatura
from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.html import HTMLTree

_TRAFILATURA: Final = f"trafilatura {version('trafilatura')} fast"
_RESILIPARSE: Final = f"resiliparse {version('resiliparse')} main"
VERSION: Final = f"{_TRAFILATURA}, else {_RESILIPARSE}"


@dataclass(frozen=True)
class Extracted:
    """text: one block a line, a blank line between paragraphs; extractor: what made it, with its version."""

    text: str
    extractor: str


def extract(html: str, tree: HTMLTree) -> Extracted:
    """Return the main content of a page; an empty text where it has none. `tree` is the parsed `html` and stays as it is."""
    text = trafilatura.extract(html, fast=True, include_comments=False)
    if text:
        return Extracted(text, _TRAFILATURA)
    return Extracted(extract_plain_text(tree, main_content=True, comments=False, post_meta=False), _RESILIPARSE)
