"""The stages a recipe may name, and where each is defined."""

from __future__ import annotations

import difflib
import importlib
from typing import Final

from curator.errors import RecipeError
from curator.stages import Stage

STAGES: Final[dict[str, str]] = {
    "text_stats": "curator.stages.text_stats:TextStats",
    "language": "curator.stages.language:Language",
    "exact": "curator.stages.exact:ExactHash",
    "minhash": "curator.stages.minhash:MinHash",
    "quality": "curator.stages.quality:Quality",
    "ngram": "curator.stages.ngram:CheapOrigin",
    "embed": "curator.stages.embed:Embed",
    "paragraphs": "curator.stages.boilerplate:Paragraphs",
    "boilerplate": "curator.stages.boilerplate:Boilerplate",
    "contamination": "curator.stages.contamination:Contamination",
    "ai_text": "curator.stages.ai_text:AiText",
    "hygiene": "curator.stages.hygiene:Hygiene",
    "traces": "curator.stages.traces:Traces",
    "surprisal": "curator.stages.surprisal:Surprisal",
    "watermark": "curator.stages.watermark:Watermark",
    "topic": "curator.stages.topic:Topic",
}


def stage_class(name: str) -> type[Stage]:
    """Return the stage's class; a module is imported only when a recipe names its stage."""
    if name not in STAGES:
        near = difflib.get_close_matches(name, STAGES, 1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise RecipeError(f"unknown stage {name!r}; {hint}the stages are: {', '.join(STAGES)}")
    module, _, attribute = STAGES[name].partition(":")
    found = getattr(importlib.import_module(module), attribute)
    assert isinstance(found, type) and issubclass(found, Stage)
    return found
