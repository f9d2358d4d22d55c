"""What the figures show, in words, and what they cannot show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from curator.proving.documents import REFERENCES, Documents
from curator.proving.heldout import HeldOut

_LIKELY_NOTE: Final = (
    "the held-out text was chosen by the detector that shaped the mixture: human text that it misjudges is missing from "
    "both, so this cannot show that loss; give a snapshot to `curator filter --reference`, or text with --heldout"
)


def verdict(summary: Sequence[Mapping[str, Any]], ratios: Mapping[str, Mapping[str, float]]) -> str:
    """One sentence on what the figures show."""
    mixture, random = (row["perplexity"] for row in summary[:2])
    found = ratios["perplexity"]
    against = f"perplexity {mixture:,.1f} against {random:,.1f}"
    ends = sorted(abs(100 * (1 - found[end])) for end in ("low", "high"))
    change = f"{abs(100 * (1 - found['ratio'])):.1f} %"
    behind = f"({against}; 95 % interval {ends[0]:.1f} to {ends[1]:.1f} %)"
    rest = _of_rare_words(ratios.get("rare_word_perplexity")) + _without(ratios.get("perplexity_without_snapshot"))
    whose = "surprised by held-out human text than a random sample's"
    if found["high"] < 1:
        return f"The mixture's model is {change} less {whose} {behind}{rest}."
    if found["low"] > 1:
        return f"The mixture does not help here: its model is {change} more {whose} {behind}{rest}."
    return (
        f"The mixture makes no difference that can be told here: {against}, ratio {found['ratio']:.3f} (95 % interval "
        f"{found['low']:.3f} to {found['high']:.3f}){rest}."
    )


def _of_rare_words(found: Mapping[str, float] | None) -> str:
    if found is None:
        return ""
    change = _change(found)
    return f"; on rare words {f'it is {change} surprised' if change else 'no difference can be told'}"


def _without(found: Mapping[str, float] | None) -> str:
    if found is None:
        return ""
    change = _change(found)
    said = f"it is {change} surprised than the random sample's" if change else "no difference can be told"
    return f"; without the snapshot's documents {said}"


def _change(found: Mapping[str, float]) -> str | None:
    """How much less or more; None where the interval holds both."""
    if found["low"] <= 1 <= found["high"]:
        return None
    return f"{100 * abs(1 - found['ratio']):.1f} % {'less' if found['ratio'] < 1 else 'more'}"


def notes(run: Documents, held: HeldOut, summary: Sequence[Mapping[str, Any]]) -> list[str]:
    """What one has to know to read the figures, a sentence each."""
    found = [f"held-out text: {REFERENCES[held.kind]}"]
    if held.kind == "likely human":
        found.append(_LIKELY_NOTE)
    shares = {row["arm"]: row["of_reference"] for row in summary}
    if run.kind != "likely human":
        found.append(
            f"of the mixture's tokens {100 * shares['mixture']:.0f} % are of the reference, of the random sample's "
            f"{100 * shares['random']:.0f} %"
        )
    if shares["mixture"] > 0 and run.kind == "snapshot" and "crawl part" not in shares:
        found.append("the mixture holds too little but the snapshot to train on its crawl part alone")
    if "reference" not in shares:
        found.append("the run has too little human text to train on it alone")
    return found
