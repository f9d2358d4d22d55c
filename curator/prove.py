"""Prove a mixture: train small models on it, on a random sample of its input and on human text, and ask human text which it expects.

All models see equally many tokens and one tokenizer. They are asked about human text that was taken out of every training
set with all its duplicates. Where a snapshot is part of the mixture, the mixture without it (its crawl part) is trained on
too: what the snapshot adds is not the curation's merit. Two kinds of model exist: an interpolated Kneser–Ney model
(`curator.proxy`, seconds) and a small transformer (`curator.proxy_neural`, for a GPU).

What is measured, per model:

- perplexity: exp of the mean surprise of a held-out token; each source of held-out text counts alike, sources of fewer
  than 20 held-out documents together as one.
- rare-word perplexity: the same over the tokens of rare words, all sources together. A word is rare when it stands in 1 to
  30 of 20,000 documents of the training sets (the upper end scaled to how many there are, at least 3) and is longer than a token.
- one generation: the model draws as many tokens as it was trained on, and a second model is trained on half of its documents
  and as many tokens of what was drawn: both perplexities again.
- tail-word recall: part of the held-out text's rare words that stand in what the model drew.

The steps stand in `curator/proving/`, in the order of `prove`: documents, heldout, pools, training, questions, models,
figures, verdict, picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from curator.progress import Progress, Silent
from curator.proving.documents import REFERENCES, Documents, documents
from curator.proving.figures import figures, ratios, summary
from curator.proving.heldout import HeldOut, hold_out
from curator.proving.models import Answers, Fit, ask, fit_of
from curator.proving.picture import picture
from curator.proving.pools import pools
from curator.proving.questions import Questions, questions
from curator.proving.training import Sets, draw
from curator.proving.verdict import notes, verdict
from curator.shards import write_json, writing
from curator.tables import percent

WORDS: Final = 1_000_000  # of a training set, where the user names no other budget


@dataclass(frozen=True)
class Request:
    """What to prove.  words: budget of a training set at most; 0 for `WORDS`."""

    out: Path
    heldout: Path | None = None
    seeds: int = 3
    words: int = 0
    model: str = "ngram"


@dataclass(frozen=True)
class Proof:
    """What came out.  figures: one row an arm and seed.  summary: one row an arm.  ratios: mixture to random, by measure."""

    setting: dict[str, Any]
    figures: list[dict[str, Any]]
    summary: list[dict[str, Any]]
    ratios: dict[str, dict[str, float]]
    verdict: str
    notes: list[str]

    def report(self) -> dict[str, Any]:
        """Everything, as it is written to prove.json."""
        return {
            **self.setting, "verdict": self.verdict, "notes": self.notes, "summary": self.summary, "ratios": self.ratios,
            "figures": self.figures,
        }  # fmt: skip

    def table(self) -> list[dict[str, Any]]:
        """One row an arm for a terminal: means over the seeds with their standard deviations."""
        said = {
            "perplexity": "perplexity", "rare_word_perplexity": "rare words", "perplexity_after": "a generation on",
            "rare_word_perplexity_after": "rare words then", "tail_recall": "tail recall",
        }  # fmt: skip
        return [
            {"trained on": row["arm"], "tokens": row["tokens"], "of reference": percent(row["of_reference"])}
            | {short: _with_spread(row[name], row[f"{name}_sd"]) for name, short in said.items()}
            for row in self.summary
        ]


def _with_spread(mean: float | None, spread: float | None) -> str:
    if mean is None:
        return "unknown"
    digits = 1 if mean >= 10 else 3
    return f"{mean:,.{digits}f}" + ("" if spread is None else f" ± {spread:,.{digits}f}")


def prove(request: Request, progress: Progress | None = None, fit: Fit | None = None) -> Proof:
    """Train the models of a finished run and write OUT/prove/prove.json and prove.png.

    fit: how to train one model; by default as `request.model` says.

    Raises `InputError` where the run or its human text does not suffice.
    """
    progress = progress or Silent()
    run = documents(request.out)
    held = hold_out(run, request.heldout)
    found = pools(run, held)
    progress.say(f"held out: {len(held.texts):,} documents: {REFERENCES[held.kind]}")
    sets = draw(found, request.seeds, request.words or WORDS)
    asked = questions(held, sets)
    progress.begin("prove", 2 * len(found) * request.seeds, 0, "models")
    train = fit or fit_of(request.model)
    answers = [ask(train, sets, asked, pool.name, seed, progress) for seed in range(request.seeds) for pool in found]
    progress.end()
    made = _proof(run, held, asked, answers, _setting(request, run, held, sets, asked))
    write_json(request.out / "prove" / "prove.json", made.report())
    with writing(request.out / "prove" / "prove.png") as temporary:
        temporary.write_bytes(picture(made.summary, made.figures))
    return made


def _proof(
    run: Documents, held: HeldOut, asked: Questions, answers: Sequence[Answers], setting: dict[str, Any]
) -> Proof:
    rows = [figures(asked, one) for one in answers]
    arms, to_random = summary(rows), ratios(asked, answers)
    return Proof(setting, rows, arms, to_random, verdict(arms, to_random), notes(run, held, arms))


def _setting(request: Request, run: Documents, held: HeldOut, sets: Sets, asked: Questions) -> dict[str, Any]:
    """What the figures rest on."""
    return {
        "model": request.model,
        "vocabulary": sets.vocabulary,
        "reference": run.kind,
        "reference_is": REFERENCES[run.kind],
        "held_out": {
            "from": REFERENCES[held.kind],
            "documents": len(held.texts),
            "tokens": len(asked.tokens.ids),
            "sources": asked.sources,
            "taken_from_training": int(held.taken.sum()),
        },
        "rare_words": {
            "in_documents_at_most": asked.band,
            "of_documents": asked.counted,
            "held_out_words": len(asked.rare_words),
            "held_out_tokens": int(asked.rare.sum()),
        },
        "budget_tokens": sets.budget,
        "seeds": request.seeds,
    }
