"""Dataset cards of a finished run: Croissant, Hugging Face, the EU summary of training content, PROV-O, OpenLineage.

facts.py holds every query; each card is a pure function of its `Facts` and of what the user declares.
"""

from __future__ import annotations

from curator.cards.facts import Declared, Facts, gather
from curator.cards.write import CARDS, write_cards

__all__ = ["CARDS", "Declared", "Facts", "gather", "write_cards"]
