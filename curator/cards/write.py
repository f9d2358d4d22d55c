"""Write the cards into a folder: the same run and the same words of the user give the same bytes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

from curator.cards.croissant import croissant
from curator.cards.eu import eu_summary
from curator.cards.facts import Declared, Facts
from curator.cards.huggingface import readme
from curator.cards.lineage import openlineage, prov
from curator.shards import writing


def _as_json(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False, default=str) + "\n"


# file name -> its text; the first three are always written
CARDS: Final[dict[str, Callable[[Facts, Declared], str]]] = {
    "croissant.json": lambda facts, declared: _as_json(croissant(facts, declared)),
    "README.md": readme,
    "eu-training-content.json": lambda facts, declared: _as_json(eu_summary(facts, declared)),
    "prov.jsonld": lambda facts, declared: _as_json(prov(facts, declared)),
    "openlineage.jsonl": lambda facts, _: openlineage(facts),
}
ALWAYS: Final = ("croissant.json", "README.md", "eu-training-content.json")


def write_cards(folder: Path, facts: Facts, declared: Declared, names: Iterable[str] = ALWAYS) -> list[Path]:
    """Write these cards, each whole or not at all; `OutputError` where the folder cannot be written."""
    texts = {name: CARDS[name](facts, declared) for name in names}  # all made before the first is written
    for name, text in texts.items():
        with writing(folder / name) as temporary:
            temporary.write_bytes(text.encode("utf-8", "backslashreplace"))  # a lone surrogate has no UTF-8
    return [folder / name for name in texts]
