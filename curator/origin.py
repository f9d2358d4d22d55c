"""Origin over the whole corpus: what each document's score means against trusted human text, and beside the other evidence.

A stage sees one document; this step sees all of them, between measuring and judging. Trusted text is, in this order: a
calibration file (`curator calibrate --human`), the corpus's own text dated before models wrote for everybody, the
anchors that ship; a stratum with too few of the first takes the second too. Answers depend on what the corpus holds,
never on how it is cut into shards, in which order it stands or which engine ran.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curator import calibration, evidence
from curator.calibration import LEAST, Cell, Strata
from curator.errors import InputError, RecipeError
from curator.evidence import NEVER, TERM_NAMES, Facts
from curator.ids import file_sha256, fingerprint
from curator.schema import field
from curator.stages import Stage
from curator.stages._detector import folder
from curator.stages.ai_text import log_odds
from curator.stages.embed import unsure
from curator.stages.ngram import ai_text_config

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

VERSION: Final = "1"
FORMAT: Final = "curator calibration 1"
LEVELS: Final = ("corpus", "language", "source", "length", "host")
# Trusted texts that make a stratum one of its own. Within a source fewer than a hundred tell less than the whole source
# does: on left-out domains 50 found 71 % of machine text at 1 %, 300 of the same domain 78 %.
ENOUGH: Final = (LEAST, LEAST, LEAST, 100, 100)
# Trust that a text needs to speak for a stratum. One source's dated text says nothing of another source (news as the
# reference flagged half of a corpus's manuals); a snapshot that the user gives is meant for the whole corpus.
VOUCH: Final = (2, 2, 1, 1, 1)
ANCHORS: Final = "shipped anchors"
FEW: Final = 100  # dated texts from which a reference can be told not to fit them
WARNING: Final = (
    "where no text of a source is known to be human it is judged against the detector's anchors: on kinds of text that the "
    "shipped ones lack the real false-positive rate was 0 to 36 % at a nominal 1 %; give trusted text with `curator calibrate --human`"
)

# Columns of a calibration file: scores of trusted human text and what they are strata of, never a text.
CALIBRATION: Final = pa.schema(
    [
        field("ai_logit", pa.float64(), "log-odds that a model wrote it, at prior 0.5", nullable=False),
        field("language", pa.string(), "language"),
        field("source", pa.string(), "source, as the corpus names it"),
        field("host", pa.string(), "host of its address"),
        field("n_words", pa.int64(), "words"),
        field("date", pa.timestamp("us", "UTC"), "when it was published"),
    ]
)

_EVIDENCE: Final = {
    "odds_date": "that it is dated before assistants were open to everybody",
    "odds_declared": "what its source declares",
    "odds_traces": "phrases of an assistant left standing",
    "odds_hidden": "a message in invisible characters",
    "odds_sightings": "that a verified copy is dated before assistants were open to everybody",
    "odds_site": "the other documents of its host",
    "odds_site_month": "those of its host in its month, beyond odds_site",
}
ORIGIN: Final = pa.schema(
    [
        field(
            "human_p",
            pa.float64(),
            "chance that trusted human text of its stratum looks at least this machine-like; null when not judged",
        ),
        field(
            "q_synthetic",
            pa.float64(),
            "lowest false-discovery rate (Benjamini-Hochberg) at which it is among those called synthetic",
        ),
        field(
            "prob_calibrated",
            pa.float64(),
            "P(a model wrote it) from the text alone, at prior 0.5, calibrated in its stratum",
        ),
        field("origin_flagged", pa.bool_(), "human_p is at most origin.target_fpr"),
        field("origin_threshold", pa.float64(), "ai_logit from which its stratum flags"),
        field("origin_stratum", pa.string(), "whose trusted human text judged it; the table origin says how many"),
        field("origin_trusted", pa.bool_(), "dated before origin.trusted_before and judged: human for the calibration"),
        *(field(name, pa.float64(), f"log-odds for a model added by {what}; 0: silent") for name, what in _EVIDENCE.items()),
        field("prob_document", pa.float64(), "P(a model wrote it), prior 0.5: text and the document's own evidence"),
        field("prob_pooled", pa.float64(), "prob_document and what its site adds"),
    ]
)  # fmt: skip
STRATA: Final = pa.schema(
    [
        field("stratum", pa.string(), "origin_stratum of the documents it judged"),
        field("level", pa.string(), f"what it is a stratum of: anchors, {', '.join(LEVELS)}"),
        field("reference", pa.string(), "trusted human text its scores are held against"),
        field("n_trusted", pa.int64(), "trusted texts of its own (the effective number where they are weighted)"),
        field("n_judged", pa.int64(), "documents it judged"),
        field("n_flagged", pa.int64(), "of these, flagged at origin.target_fpr"),
        field("threshold_logit", pa.float64(), "ai_logit from which it flags; null where nothing can be far enough"),
        field("expected_fpr", pa.float64(), "part of human text of its kind that it flags, in expectation at most"),
        field("warning", pa.string(), "what to know before relying on it"),
    ]
)


@dataclass(frozen=True)
class OriginParams:
    """How the corpus's scores of origin are calibrated.

    target_fpr: part of human text that may be flagged, in every stratum.
    calibration: Parquet file that `curator calibrate` wrote; empty for none.
    pool_sites: let the other documents of a site speak too (`prob_pooled`).
    trusted_before: day before which a date makes a document human; not later than 2022-11-30, empty to trust no date.
    """

    target_fpr: float = 0.01
    calibration: str = ""
    pool_sites: bool = True
    trusted_before: str = "2022-11-30"

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if not 0 < self.target_fpr < 0.5:
            raise RecipeError(f"origin.target_fpr = {self.target_fpr:g} is not between 0 and 0.5")
        if self.trusted_us > evidence.BEFORE_MODELS:
            raise RecipeError(
                f"origin.trusted_before = {self.trusted_before!r} is after 2022-11-30, when a date stopped to vouch for a "
                "human author; give later text that you trust with `curator calibrate --human`"
            )

    @property
    def trusted_us(self) -> int:
        """`trusted_before` in microseconds since 1970; the lowest int64 for no date."""
        if not self.trusted_before:
            return int(NEVER)
        try:
            day = dt.datetime.fromisoformat(self.trusted_before).replace(tzinfo=dt.UTC)
        except ValueError as error:
            raise RecipeError(
                f"origin.trusted_before = {self.trusted_before!r} is no day such as 2022-11-30"
            ) from error
        return round(day.timestamp()) * 1_000_000

    def identity(self) -> dict[str, str]:
        """What the settings do not say of the run: the calibration file's bytes."""
        return {"calibration": file_sha256(existing(self.calibration))} if self.calibration else {}


def existing(path: str) -> Path:
    """The calibration file; `InputError` where there is none."""
    if not Path(path).is_file():
        raise InputError(f"no calibration file {path}; make it with `curator calibrate --human FILE -o {path}`")
    return Path(path)


def measures_origin(stages: Sequence[Stage]) -> bool:
    """True where the stages score machine origin, so that there is something to calibrate."""
    return any(stage.name == "ai_text" for stage in stages)


def detector(stages: Sequence[Stage]) -> str:
    """Fingerprint of what makes the scores: equal ones may stand in one series, others never. A seed only draws a sample."""
    found = [stage for stage in stages if stage.name in ("ngram", "embed", "surprisal", "ai_text")]
    settings = {s.name: {k: v for k, v in s.settings().items() if k != "seed"} for s in found}
    return fingerprint({s.name: [s.version, settings[s.name], s.weights()] for s in found})


def read_calibration(path: str, stages: Sequence[Stage]) -> pa.Table:
    """Trusted scores of a calibration file; `InputError` where another detector made them, or it is none."""
    try:
        table = pq.read_table(existing(path), columns=CALIBRATION.names)
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(
            f"{path} is no calibration file; make it with `curator calibrate --human FILE -o {path}`"
        ) from error
    said = {k.decode(): v.decode() for k, v in (table.schema.metadata or {}).items()}
    if said.get("format") != FORMAT:
        raise InputError(f"{path} is no calibration file; make it with `curator calibrate --human FILE -o {path}`")
    if said.get("detector") != detector(stages):
        raise InputError(
            f"{path} holds scores of detector {said.get('detector', '')[:12]}, this run has {detector(stages)[:12]}: scores of "
            f"two detectors are never mixed; make the file again with `curator calibrate --human FILE -o {path}` and this recipe"
        )
    return table.cast(CALIBRATION)


@dataclass(frozen=True)
class Anchors:
    """Scores of human texts that come with the detector, on the scale of `ai_logit`.  Arrays are [texts]."""

    logit: F64
    weight: F64  # every set of texts counts alike, and within it every domain
    likeness: float = evidence.Sites.likeness  # how far scores of one domain err together
    name: str = ANCHORS  # whose they are


def anchors_file(detector: str) -> Path | None:
    """Scores that come with a detector, of texts whose set it never saw where it is the shipped one; None for none."""
    path = folder(detector) / "anchors.parquet"
    return path if path.is_file() else None


def anchors_identity(stages: Sequence[Stage]) -> str:
    """What the anchors' scores in this run depend on."""
    path = anchors_file(detector_of(stages))
    return fingerprint([path and file_sha256(path), gate(stages), detector(stages)])


def anchors(stages: Sequence[Stage]) -> Anchors:
    """The human scores that come with the stages' detector, joined as the run joins them."""
    path = anchors_file(detector_of(stages))
    config, named = ai_text_config(detector_of(stages)), anchors_name(detector_of(stages))
    if path is None:  # a distribution whose operating point is where the detector says: a logistic one
        u = (np.arange(calibration.POINTS) + 0.5) / calibration.POINTS
        spread = np.log(u / (1 - u)) - np.log(0.99 / 0.01)
        return Anchors(config["operating_point"]["cheap"] + spread, np.ones(len(u)), name=named)
    table = pq.read_table(path)
    table = table.filter(pc.equal(table["label"], "human"))
    logit = joined(table, config, gate(stages))
    usable = ~np.isnan(logit)
    domain = table["domain"].to_numpy()[usable].astype(str)
    names, place, count = np.unique(domain, return_inverse=True, return_counts=True)
    _, of_set, domains = np.unique([n.split(":")[0] for n in names], return_inverse=True, return_counts=True)
    alike = evidence.likeness(logit[usable], place) if 1 < len(names) < len(place) else evidence.Sites.likeness
    return Anchors(logit[usable], 1.0 / (count * domains[of_set])[place], alike, named)


def anchors_name(detector: str) -> str:
    """What tables call a detector's anchors."""
    return ANCHORS if detector == "default" else f"anchors of {Path(detector).name}"


def joined(table: pa.Table, config: Mapping[str, Any], gate_: str) -> F64:
    """Log-odds of the tiers' logits; nan where the encoder would look in a run and did not here.  # [texts]"""
    cheap = table["logit_cheap"].to_numpy().astype(np.float64)
    encoder = _floats(table["logit_encoder"])
    sent = (unsure(cheap, config["gate"]["low"], config["gate"]["high"]) & (gate_ != "none")) | (gate_ == "all")
    logit, _ = log_odds({"cheap": cheap, "encoder": np.where(sent, encoder, np.nan)}, config["line"])
    return np.where(sent & np.isnan(encoder), np.nan, logit)


def gate(stages: Sequence[Stage]) -> str:
    """Which documents the encoder sees, "none" without one: the anchors' scores are joined as the documents' are."""
    return next((str(stage.settings()["gate"]) for stage in stages if stage.name == "embed"), "none")


def detector_of(stages: Sequence[Stage]) -> str:
    """The detector that judges: "default", or a folder that `curator train ai-text` wrote."""
    return next((str(s.settings().get("detector", "default")) for s in stages if s.name == "ai_text"), "default")


@dataclass(frozen=True)
class Found:
    """What the step found: the columns of `ORIGIN` row for row, what the strata rest on, and the same in a few words."""

    columns: pa.Table
    strata: pa.Table
    basis: str
    warning: str


# What the step reads of every document, where the run has it.
WANTED: Final = (
    "quarantine", "source", "host", "language", "date", "declared_origin", "prob_synthetic", "ai_logit", "n_words",
    "n_assistant_phrases", "n_hidden_text_chars",
)  # fmt: skip


def judge(
    documents: pa.Table, copies: I64 | None, known: Anchors, given: pa.Table | None, params: OriginParams
) -> Found:
    """Judge the origin of every document.

    documents: columns of `WANTED`, one row a document.  copies: position of the centre of each document's verified
    duplicate cluster, its own for one without copies; None where duplicates are not known.  given: a calibration file.
    """
    n = documents.num_rows
    centre = np.arange(n, dtype=np.int64) if copies is None else copies
    score = np.where(_there(documents["prob_synthetic"]), _floats(documents["ai_logit"]), np.nan)
    date = _stamps(documents["date"])
    trusted = evidence.known_before(date) & (date < params.trusted_us) & ~np.isnan(score)
    keys = Keys.of(documents, given)
    counted = (trusted & (centre == np.arange(n))).astype(np.int64)
    if given is not None:
        score = np.concatenate([score, given["ai_logit"].to_numpy()])
        counted = np.concatenate([counted, np.full(given.num_rows, 2, np.int64)])
    top = calibration.root(known.logit, known.weight)
    strata = calibration.strata(score, counted, keys.chain(), top, ENOUGH, VOUCH)
    report = _report(strata, keys, score, n, params, known.name)
    columns = _of_text(strata, score, n, report, params.target_fpr)
    columns |= _of_evidence(
        _facts(documents, keys, strata.logit(score)[:n], date, centre), params.pool_sites, known.likeness
    )
    columns["origin_trusted"] = pa.array(trusted)
    readable = pa.array(~_there(documents["quarantine"]))
    whole = pa.table([pc.if_else(readable, columns[name], None) for name in ORIGIN.names], schema=ORIGIN)
    basis, warning = _in_words(strata, n, score, params, known.name)
    return Found(whole, report.table, basis, warning or _misfit(strata, score, trusted, params))


@dataclass(frozen=True)
class Keys:
    """What strata are made of: codes by sorted name, -1 where unknown, and the names. Calibration texts stand behind the
    documents.  Arrays are [docs + texts].
    """

    language: I64
    source: I64
    length: I64
    host: I64
    names: dict[str, list[str]]

    @classmethod
    def of(cls, documents: pa.Table, given: pa.Table | None) -> Keys:
        """Encode the columns of both tables together."""
        tables = [documents] if given is None else [documents, given]
        found = {}
        names = {}
        for name in ("language", "source", "host"):
            found[name], names[name] = _codes([table[name] for table in tables])
        words = np.concatenate([_counts(table, "n_words") for table in tables])
        return cls(length=calibration.length_bin(words), names=names, **found)

    def chain(self) -> list[I64]:
        """Ever finer strata, in the order of `LEVELS`."""
        every = np.zeros(len(self.length), np.int64)
        return calibration.nested(every, self.language, self.source, self.length, self.host)

    def name(self, row: int, level: int) -> str:
        """The stratum of a row at a level, in words."""
        parts = [
            self.names["language"][self.language[row]] if level >= 1 else "",
            self.names["source"][self.source[row]] if level >= 2 else "",
            f"{calibration.length_name(int(self.length[row]))} words" if level >= 3 else "",
            self.names["host"][self.host[row]] if level >= 4 else "",
        ]
        return " / ".join(["corpus", *(part for part in parts[:level] if part)])


def _codes(columns: list[pa.ChunkedArray]) -> tuple[I64, list[str]]:
    """Codes by sorted name, so that they do not depend on the order of documents; -1 where null."""
    chunks = [chunk for column in columns for chunk in column.cast(pa.string()).chunks]
    joined = pc.dictionary_encode(pa.chunked_array(chunks, pa.string()))
    whole = joined.combine_chunks()
    names = [str(name) for name in whole.dictionary.to_pylist()] if len(whole) else []
    order = np.array(sorted(range(len(names)), key=names.__getitem__), np.int64)
    place = np.empty(len(names) + 1, np.int64)
    place[order], place[-1] = np.arange(len(names)), -1
    codes = (
        pc.fill_null(whole.indices, len(names)).to_numpy(zero_copy_only=False) if len(whole) else np.zeros(0, np.int64)
    )
    return place[codes.astype(np.int64)], sorted(names)


@dataclass(frozen=True)
class _Report:
    """Every stratum that judged: its row of `STRATA`.  Arrays are [cells], of no meaning where nothing was judged."""

    table: pa.Table
    names: list[str]
    threshold: F64


def _report(strata: Strata, keys: Keys, score: F64, n: int, params: OriginParams, anchors_: str) -> _Report:
    p = strata.human_p(score)[:n]
    place = strata.place[:n][~np.isnan(p)]
    judged = np.bincount(place, minlength=len(strata.cells))
    flagged = np.bincount(place, p[~np.isnan(p)] <= params.target_fpr, len(strata.cells)).astype(np.int64)
    levels = zip(strata.example, strata.level, strict=True)
    names = [keys.name(int(row), level) if level >= 0 else anchors_ for row, level in levels]
    threshold = np.full(len(names), np.inf)
    rows = []
    for i in np.flatnonzero(judged):
        cell = strata.cells[i]
        threshold[i] = cell.threshold(params.target_fpr)
        rows.append(
            {
                "stratum": names[i],
                "level": "anchors" if i == 0 else LEVELS[strata.level[i]],
                "reference": _reference(cell.tier, params, anchors_),
                "n_trusted": round(cell.n),
                "n_judged": int(judged[i]),
                "n_flagged": int(flagged[i]),
                "threshold_logit": None if np.isinf(threshold[i]) else float(threshold[i]),
                "expected_fpr": cell.expected(float(threshold[i])),
                "warning": _warning(cell, strata.level[i], params),
            }
        )
    rows.sort(key=lambda row: (-int(str(row["n_judged"])), str(row["stratum"])))
    return _Report(pa.Table.from_pylist(rows, schema=STRATA), names, threshold)


def _reference(tier: int, params: OriginParams, anchors_: str) -> str:
    dated = f"own text dated before {params.trusted_before}"
    return (anchors_, f"{dated} and the calibration file" if params.calibration else dated, "calibration file")[tier]


def _warning(cell: Cell, level: int, params: OriginParams) -> str | None:
    if cell.tier == 0:
        return WARNING
    if level < LEVELS.index("source"):
        return "no trusted text of its own source: the reference is the calibration file as a whole, which may be of another kind"
    if cell.n < 1 / params.target_fpr:
        return f"{cell.n:.0f} trusted texts: between 0 and {1 / (cell.n + 1):.1%} of human text may be flagged at {params.target_fpr:.1%}"
    return None


def _in_words(strata: Strata, n: int, score: F64, params: OriginParams, anchors_: str) -> tuple[str, str]:
    """What the flags rest on, and the warning that goes wherever their number goes."""
    tiers = np.array([cell.tier for cell in strata.cells])[strata.place[:n]][~np.isnan(score[:n])]
    if not tiers.size:
        return "nothing was judged", ""
    basis = "; ".join(
        f"{_reference(int(t), params, anchors_)} ({(tiers == t).mean():.0%} of what was judged)"
        for t in np.unique(tiers)[::-1]
    )
    return basis, WARNING if (tiers == 0).any() else ""


def _misfit(strata: Strata, score: F64, trusted: Bools, params: OriginParams) -> str:
    """What dated text says of a reference that is not itself: more of it flagged than twice the level, beyond chance."""
    n = len(trusted)
    p = strata.human_p(score)[:n][trusted & ~strata.own[:n]]
    flagged, limit = int((p <= params.target_fpr).sum()), 2 * params.target_fpr * len(p)
    if len(p) < FEW or flagged <= limit + 3 * np.sqrt(limit):
        return ""
    return (
        f"{flagged:,} of {len(p):,} documents dated before {params.trusted_before} are flagged ({flagged / len(p):.1%} at a target of "
        f"{params.target_fpr:.1%}): the trusted text given is of another kind than theirs; add text of their kind to it"
    )


def _of_text(strata: Strata, score: F64, n: int, report: _Report, target_fpr: float) -> dict[str, pa.Array]:
    """The columns that the text's score gives."""
    p, logit, place = strata.human_p(score)[:n], strata.logit(score)[:n], strata.place[:n]
    silent = np.isnan(p)
    return {
        "human_p": pa.array(p, mask=silent),
        "q_synthetic": pa.array(calibration.q_values(p), mask=silent),
        "prob_calibrated": _prob(logit),
        "origin_flagged": pa.array(p <= target_fpr, mask=silent),
        "origin_threshold": pa.array(report.threshold[place], mask=silent | np.isinf(report.threshold[place])),
        "origin_stratum": pc.if_else(pa.array(silent), None, pa.array(report.names, pa.string()).take(pa.array(place))),
    }


def _facts(documents: pa.Table, keys: Keys, logit: F64, date: I64, centre: I64) -> Facts:
    n = documents.num_rows
    return Facts(
        logit=logit,
        date_us=date,
        seen_us=earliest(date, centre),
        declared=_declared(documents["declared_origin"]),
        traces=_counts(documents, "n_assistant_phrases"),
        hidden=_counts(documents, "n_hidden_text_chars"),
        host=keys.host[:n],
        month=_months(documents["date"]),
        unique=centre == np.arange(n),
    )


def earliest(date: I64, centre: I64) -> I64:
    """The earliest credible date in each document's cluster; `NEVER` where none has one.  # [docs]"""
    late = np.iinfo(np.int64).max
    credible = np.where(evidence.known_before(date) | (date >= evidence.BEFORE_MODELS), date, late)
    first = np.full(len(date), late, np.int64)
    np.minimum.at(first, centre, credible)
    found = first[centre]
    return np.where(found == late, NEVER, found)


def _of_evidence(facts: Facts, pool_sites: bool, likeness: float) -> dict[str, pa.Array]:
    """The columns of all evidence together: each witness, the document, its site."""
    terms = evidence.terms(facts, sites=evidence.Sites(likeness=likeness))
    if not pool_sites:
        silent = np.zeros(len(facts.logit))
        terms = dataclasses.replace(terms, site=silent, site_month=silent)
    document, pooled = evidence.document_logit(facts, terms), evidence.pooled_logit(facts, terms)
    found = {name: pa.array(getattr(terms, name.removeprefix("odds_"))) for name in TERM_NAMES}
    for name, logit in (("prob_document", document), ("prob_pooled", pooled)):
        found[name] = _prob(logit)
    return found


def _prob(logit: F64) -> pa.Array:
    """Probabilities of log-odds; null where nan."""
    return pa.array(evidence.sigmoid(np.nan_to_num(logit)), mask=np.isnan(logit))


def _there(column: pa.ChunkedArray) -> Bools:
    return np.asarray(pc.is_valid(column).to_numpy(zero_copy_only=False))


def _floats(column: pa.ChunkedArray) -> F64:
    return np.asarray(pc.fill_null(column.cast(pa.float64()), np.nan).to_numpy(), np.float64)


def _stamps(column: pa.ChunkedArray) -> I64:
    return np.asarray(pc.fill_null(column.cast(pa.timestamp("us", "UTC")).cast(pa.int64()), NEVER).to_numpy(), np.int64)


def _months(column: pa.ChunkedArray) -> I64:
    """Months since 1970-01; -1 where undated or earlier.  # [docs]"""
    months = (pc.year(column).cast(pa.int64()).to_numpy(), pc.month(column).cast(pa.int64()).to_numpy())
    found = 12 * (months[0] - 1970) + months[1] - 1
    return np.where(np.isnan(found), -1, np.maximum(np.nan_to_num(found), -1)).astype(np.int64)


def _declared(column: pa.ChunkedArray) -> npt.NDArray[np.int8]:
    said = [pc.fill_null(pc.equal(column, word), False).to_numpy().astype(np.int8) for word in ("synthetic", "human")]
    return np.asarray(said[0] - said[1], np.int8)


def _counts(documents: pa.Table, name: str) -> I64:
    if name not in documents.schema.names:
        return np.zeros(documents.num_rows, np.int64)
    return np.asarray(pc.fill_null(documents[name].cast(pa.int64()), 0).to_numpy(), np.int64)
