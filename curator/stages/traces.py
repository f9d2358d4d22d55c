"""What chat assistants leave in a text when nobody reads it before it is published.

Each kind is a few phrases of English (`self_mention`: of nine other languages too) that people hardly ever wrote
before there were assistants. Two sorts, counted apart:

- **phrases**: the assistant speaks of itself, refuses, announces its answer, offers more, or leaves blanks to fill in;
- **interface**: marks of a chat window or of its citations that were copied along. They say that an assistant was
  used, not that it wrote the text: a person may copy an address with its `utm_source`.

Texts with at least one, in the training sets. `human` is dated before December 2022, without texts that a machine
rewrote or was mixed into. `replies` are assistants' answers as given (Alpaca-Eval, Arena-Hard, ShareGPT); `works` are essays,
stories, abstracts and debates, mostly cleaned by those who collected them.

    kind           human (69,673)   replies (42,634)   works (116,955)
    self_mention                0                490               481
    cutoff                      0                207               556
    refusal                     0                 69                87
    disclaimer                  0                330               135
    offer                       0                295               328
    preamble                    0              5,438             1,556
    template                    1                845             1,000
    any phrase                  1      7,200 (16.9 %)     4,001 (3.4 %)
    citation                    0                  0                 0
    window                      0                  3                 0

The phrases were chosen on these texts. On others, read once when the choice was made (`fdg_family`): 0 of 37,010 human
and 490 of 37,010 machine texts. So a phrase all but proves the origin, and its absence says next to nothing.

Not measured, because no set at hand holds them: human texts *about* assistants, the other languages, and the interface
marks. Against the first, a phrase right behind an opening quotation mark is quoted and not counted; an article that
quotes in another way is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curator.schema import field
from curator.stages import Measure, Stage

# In these expressions (RE2, any case) a blank stands for any white space and ' for any apostrophe.
_I_AM: Final = "i(?:'m| am)"
_HERE: Final = "here(?:'s| is| are)"
_CANNOT: Final = "(?:can(?:not|'t| not)|(?:am |'m )?(?:un|not )able to|won't|will not)"
_KIND_OF_TEXT: Final = (
    "(?:version|summary|rewrite|revision|paraphrase|draft|outline|list|example|sample|essay|story|article|abstract|poem|"
    "code|script|email|letter|translation|table|response|review|continuation|step|tip|idea|text|passage)s?"
)
_MODEL: Final = (
    "(?:large )?language model|artificial intelligence language|ai[- ]?(?:text[- ]?based |powered |trained )?"
    "(?:language|model|assistant|chatbot)"
)

# Said anywhere, but not right behind an opening quotation mark.
_SAID: Final[dict[str, tuple[str, ...]]] = {
    "self_mention": (
        rf"\b(?:as|{_I_AM}(?: just| only| simply| merely)?) an? (?:{_MODEL})\b",
        rf"\b{_I_AM} (?:chatgpt|claude,|deepseek|gpt-?[345]|qwen)\b",
        r"\bi was (?:created|trained|developed|made) by (?:openai|anthropic|google|meta|alibaba|deepseek|mistral)\b",
        r"\bals (?:ein )?(?:ki|künstliche intelligenz)[- ]?(?:sprachmodell|modell|assistent)|\bals sprachmodell\b",
        r"\ben tant qu(?:e |')(?:modèle de langage|ia\b|intelligence artificielle|assistant virtuel)",
        r"\bcomo (?:um |un )?(?:modelo de (?:lenguaje|linguagem)|asistente de ia|assistente de ia)\b",
        r"\bin quanto (?:modello linguistico|intelligenza artificiale)\b|\bals (?:een )?ai-taalmodel\b",
        r"作为(?:一个|一名|一種|一种)?(?:ai|人工智能)(?:语言模型|助手)|aiの?言語モデルとして|как языковая модель",
    ),
    "cutoff": (
        r"\b(?:my (?:last )?(?:knowledge|training)(?: data)? ?(?:cut-?off|(?:was )?last updat\w+|update\b|only (?:goes|extends))"
        r"|knowledge cut-?off|as of my (?:last|knowledge|most recent|training|current)|my training data\b)",
    ),
    "refusal": (
        rf"\bi ?{_CANNOT} (?:fulfill?|comply with|assist(?: you)? with|generate|help(?: you)? with|provide|create|write|"
        r"engage in|continue) (?:that|this|your|the|any|such|content|explicit)\b[^.]{0,20}"
        r"(?:request|content|prompt|conversation|instruction)",
        rf"\b{_I_AM} sorry,? but i ?(?:{_CANNOT}|do not have|don't have) (?:assist|help|fulfill?|comply|provide|generate|"
        r"create|engage|complete|write|continue|support|access|enough|any|the)\b",
        rf"\bi {_CANNOT} (?:assist|help) with (?:that|this)\b",
    ),
    "disclaimer": (
        r"\bi (?:do not|don't) have (?:personal (?:opinions?|experiences|beliefs?|feelings?|preferences?|emotions?)|real-?time|"
        r"access to real|(?:the ability|the capability) to (?:access|browse|search|generate|create|display|provide|experience)"
        r"|consciousness|a physical (?:body|form))",
        r"\bi apologi[sz]e for (?:the|any|my) (?:earlier |previous )?(?:confusion|oversight)\b",
    ),
    "offer": (
        r"\b(?:let me know if|would) you(?:'d)? (?:like|want) me to (?:expand|help|provide|add|adjust|elaborate|explain|refine|"
        r"create|write|rewrite|clarify|make|tailor|modify|continue|change|include|give)\b",
        r"\bi hope this (?:helps|meets|clarifies)\b(?s:.{0,40})(?:let me know|feel free)",
    ),
}  # fmt: skip

# Where they stand decides.
_PLACED: Final[dict[str, tuple[str, ...]]] = {
    "preamble": (
        rf"\A\W{{0,4}}(?:certainly|sure(?: thing)?|of course|absolutely|great question|got it)[!,.:]* (?:{_HERE}|"
        r"i(?:'d be happy|'ll be happy|'m happy|'d be glad| can help| can certainly| would be happy))",
        r"\A\W{0,4}i(?:'d| would| am|'m| will|'ll)(?: be)? (?:happy|glad) to (?:help|assist|provide)\b",
        rf"\A\W{{0,4}}{_HERE} (?:an?|the|your|my|one|some|another|\d+)(?: [\w-]+){{0,3}} {_KIND_OF_TEXT}\b[^\n]{{0,160}}:[ *]*\n",
        rf"\b{_HERE} (?:a|the|your|my) (?:revised|rewritten|rephrased|polished|paraphrased|expanded|shortened) (?:{_KIND_OF_TEXT})\b",
        r"\A\W{0,4}(?:revised|rewritten|rephrased|polished|paraphrased|improved) (?:version|text|passage|abstract|essay)\W{0,3}:",
    ),
    "template": (
        r"\[your (?:full |first |last |company |email |street )?(?:name|address|email|e-mail|phone|title|position|company|"
        r"organi[sz]ation|city|contact|signature|university|school|job)[^\]\n]{0,30}\]",
        r"\[(?:recipient|employer|hiring manager|professor|landlord|client|customer|company|candidate|friend)(?:'s)?"
        r" (?:name|address|email|title)[^\]\n]{0,20}\]|\[(?:company|recipient)\]",
    ),
}  # fmt: skip

_INTERFACE: Final[dict[str, tuple[str, ...]]] = {
    "citation": (
        r"[?&]utm_source=(?:chatgpt|openai|copilot|perplexity)",
        r"\boaicite\b|\bcontentreference\[|\bturn\d+(?:search|view|news|fetch|image)\d+|\battributableindex\b",
        r"\x{e200}(?:cite|navlist|image)|\bgrok_card\b|【\d+(?::\d+)?†[^】\n]{0,40}】",
    ),
    "window": (
        r"\bregenerate response\b|\bchatgpt said:|\bis this conversation helpful so far\b|\bchatgpt can make mistakes\b",
        r"<\|(?:im_start|im_end|eot_id|start_header_id)\|>|</think>",
    ),
}

PHRASES: Final = (*_SAID, *_PLACED)
KINDS: Final = (*PHRASES, *_INTERFACE)


_PIECE: Final = re.compile(r"(?P<escaped>\\.)|(?P<group>\[(?:\\.|[^\]\\])*\])|(?P<apostrophe>')|(?P<blank> )")
_BLANKS: Final = r"\s\x{a0}"


def _expression(kind: str) -> str:
    """The kind's regular expression, with what a blank and an apostrophe stand for written out."""
    parts = "|".join(f"(?:{part})" for part in (_SAID | _PLACED | _INTERFACE)[kind])
    if kind in _SAID:
        parts = rf"(?:\A|[^\"'“„«‘`])(?:{parts})"
    return f"(?i:{_PIECE.sub(_stands_for, parts)})"


def _stands_for(found: re.Match[str]) -> str:
    if found["blank"]:
        return f"[{_BLANKS}]"
    if found["apostrophe"]:
        return "['’ʼ′]"
    return found[0].replace(" ", _BLANKS) if found["group"] else found[0]


@dataclass(frozen=True)
class Traces(Stage):
    """Count what chat assistants leave in texts: refusals, mentions of themselves, announcements, blanks, marks of their windows."""

    name: ClassVar[str] = "traces"
    version: ClassVar[str] = "1"
    needs: ClassVar[pa.Schema] = pa.schema([pa.field("text", pa.large_string())])

    @property
    def adds(self) -> pa.Schema:
        """How many phrases and marks, and which kind."""
        return pa.schema(
            [
                field("n_assistant_phrases", pa.int32(), "phrases in which a chat assistant gives itself away"),
                field("n_interface_traces", pa.int32(), "marks of a chat assistant's window or citations"),
                field(
                    "assistant_trace",
                    pa.string(),
                    f"the first kind found of {', '.join(KINDS)}; null where there is none",
                ),
            ]
        )

    def open(self) -> Measure:
        """Return the measure."""
        schema = self.adds

        def measure(batch: pa.RecordBatch) -> pa.RecordBatch:
            return _columns(batch["text"], schema)

        return measure


_EXPRESSIONS: Final = {kind: _expression(kind) for kind in KINDS}
_ANY: Final = "|".join(_EXPRESSIONS.values())


def count(texts: pa.Array) -> npt.NDArray[np.int32]:
    """Count each kind in each text; a null has none.  # [texts, KINDS] int32

    One expression finds the few texts that have any, so that all others are read once.
    """
    found = np.zeros((len(texts), len(KINDS)), np.int32)
    rows = np.flatnonzero(_numbers(pc.match_substring_regex(texts, _ANY), False))
    some = texts.take(pa.array(rows))
    for place, expression in enumerate(_EXPRESSIONS.values()):
        found[rows, place] = _numbers(pc.count_substring_regex(some, expression), 0)
    return found


def _numbers(column: pa.Array, missing: Any) -> npt.NDArray[Any]:
    values: npt.NDArray[Any] = column.fill_null(missing).to_numpy(zero_copy_only=False)
    return values


def _columns(texts: pa.Array, schema: pa.Schema) -> pa.RecordBatch:
    found, missing = count(texts), texts.is_null().to_numpy(zero_copy_only=False)
    names = np.array([*KINDS, None], object)
    first = np.where(found.any(1), (found > 0).argmax(1), len(KINDS))
    return pa.RecordBatch.from_arrays(
        [
            pa.array(found[:, : len(PHRASES)].sum(1, dtype=np.int32), mask=missing),
            pa.array(found[:, len(PHRASES) :].sum(1, dtype=np.int32), mask=missing),
            pa.array(names[first], pa.string()),
        ],
        schema=schema,
    )
