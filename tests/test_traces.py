"""Phrases and marks of chat assistants: found however they are typed, not where they are quoted, never in old human text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curator.stages import traces
from tests import corpus

DATA = Path(__file__).parents[2] / "shared/data/detect/train"


def run(*texts: str | None) -> list[dict[str, Any]]:
    batch = pa.RecordBatch.from_arrays([pa.array(texts, pa.large_string())], ["text"])
    return traces.Traces().open()(batch).to_pylist()


PHRASES = [
    ("self_mention", "As an AI language model, I cannot have opinions."),
    ("self_mention", "That is odd.\nI’m just a large language model."),
    ("self_mention", "Als KI-Sprachmodell habe ich keine Meinung."),
    ("self_mention", "En tant que modèle de langage, je ne peux pas."),
    ("self_mention", "作为一个AI语言模型，我无法回答。"),
    ("cutoff", "As of my last update in September 2021, it was open."),
    ("refusal", "I'm sorry, but I can't assist with that request."),
    ("refusal", "I cannot fulfill your request to write this."),
    ("disclaimer", "I don’t have personal opinions on this."),
    ("disclaimer", "I apologize for the confusion in my answer."),
    ("offer", "Would you like me to expand on any of these points?"),
    ("preamble", "Certainly! Here is a poem about rain."),
    ("preamble", "Here's a revised version of your essay:\nRain fell."),
    ("template", "Yours sincerely,\n[Your Name]\n[Your Address]"),
    ("citation", "see https://example.org/?utm_source=chatgpt.com for more"),
    ("citation", "It rained. :contentReference[oaicite:3]{index=3}"),
    ("citation", "It rained turn0search12 all day."),
    ("window", "ChatGPT said:\nIt rained."),
]


@pytest.mark.parametrize(("kind", "text"), PHRASES)
def test_each_kind_is_found_and_named(kind: str, text: str) -> None:
    (row,) = run(text)
    phrases, marks = row["n_assistant_phrases"], row["n_interface_traces"]
    assert row["assistant_trace"] == kind
    assert (phrases > 0) == (kind in traces.PHRASES) and (marks > 0) == (kind not in traces.PHRASES)


@pytest.mark.parametrize(("kind", "text"), PHRASES)
@given(data=st.data())
@settings(max_examples=10, deadline=None)
def test_case_line_breaks_and_curly_quotes_change_nothing(kind: str, text: str, data: st.DataObject) -> None:
    if kind not in ("preamble", "template", "citation", "window"):
        text = "".join(data.draw(st.sampled_from([" ", "\n", "\u00a0"])) if c == " " else c for c in text)
    text = "".join(data.draw(st.sampled_from(["'", "’"])) if c in "'’" else c for c in text)
    assert run(text.upper() if data.draw(st.booleans()) and kind != "citation" else text)[0]["assistant_trace"] == kind


def test_a_quoted_phrase_is_not_counted() -> None:
    quoted = "The chatbot answered: “As an AI language model, I cannot say.” Readers laughed."
    said = "The chatbot answered. As an AI language model, I cannot say. Readers laughed."
    assert [row["n_assistant_phrases"] for row in run(quoted, said)] == [0, 1]


def test_every_occurrence_counts() -> None:
    (row,) = run("As an AI language model, I rest. " * 3 + "I cannot fulfill this request. See ?utm_source=chatgpt.com")
    assert (row["n_assistant_phrases"], row["n_interface_traces"]) == (4, 1)
    assert row["assistant_trace"] == "self_mention"


def test_announcements_count_at_the_beginning_only() -> None:
    assert run("He laughed. Certainly! Here is the key.")[0]["n_assistant_phrases"] == 0


def test_null_is_null_and_prose_has_none() -> None:
    null, empty, prose = run(None, "", corpus.prose(1, 20))
    assert set(null.values()) == {None}
    assert empty == prose == {"n_assistant_phrases": 0, "n_interface_traces": 0, "assistant_trace": None}


@given(st.lists(st.one_of(st.none(), st.text(max_size=40), st.sampled_from(PHRASES).map(lambda p: p[1])), max_size=8))
@settings(max_examples=60, deadline=None)
def test_a_text_is_judged_alone(texts: list[str | None]) -> None:
    assert run("x", *texts)[1:] == [run(text)[0] for text in texts]


@pytest.mark.parametrize("name", ["news_2016_2017", "novels_chunks", "reuters21578", "imdb_reviews"])
def test_old_human_text_has_no_phrase(name: str) -> None:
    if not DATA.is_dir():
        pytest.skip("shared/data is absent")
    texts = pq.read_table(DATA / f"{name}.parquet", columns=["text"])["text"].cast(pa.large_string()).combine_chunks()
    assert traces.count(texts).sum() == 0


@pytest.mark.parametrize(("name", "at_least"), [("sharegpt_gpt_turns", 0.15), ("ndhal_gpt_essays", 0.30)])
def test_replies_of_assistants_have_some(name: str, at_least: float) -> None:
    if not DATA.is_dir():
        pytest.skip("shared/data is absent")
    table = pq.read_table(DATA / f"{name}.parquet", columns=["text", "label"])
    texts = table.filter(pc.equal(table["label"], "synthetic"))["text"].cast(pa.large_string()).combine_chunks()
    assert (traces.count(texts)[:, : len(traces.PHRASES)].sum(1) > 0).mean() > at_least
