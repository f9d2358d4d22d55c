"""Human and synthetic share of a run: input, kept and mixture, by every dimension people ask for, each with its interval."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curator import prevalence
from curator.anchors import Anchors, Cells
from curator.curation import I64, Bools, Judged
from curator.origin import ANCHORS, ORIGIN, anchors_file, anchors_name, detector_of, gate, joined, measures_origin
from curator.prevalence import Basis, Documents, Share
from curator.schema import field
from curator.shipped import shipped
from curator.stages import Stage
from curator.stages.ai_text import probability
from curator.stages.ngram import ai_text_config
from curator.web import domain_of

DETECTOR: Final = {
    "prob_synthetic", "synthetic", "ai_logit", "ai_cheap_logit", "ai_encoder_logit", "ai_surprisal_logit",
    *(name for name in ORIGIN.names if not name.startswith("odds_") or name.startswith("odds_site")),
}  # fmt: skip
MOST: Final = 0.95  # of what was judged must lie in sources whose share can be told for the whole to be their sum
UNTIERED: Final = (
    "the second tier (surprisal) judged documents and none of the anchors' texts: shares rest on scores without it"
)
ACROSS: Final = (
    "all",
    "language",
    "month",
)  # dimensions whose strata lie across sources; a host or a domain seldom does
LARGEST: Final = 200  # strata of one dimension that get a row; the rest are counted together

SHARES = pa.schema(
    [
        field("scope", pa.string(), "input (readable documents), kept (by rules and deduplication) or mixture"),
        field("dimension", pa.string(), "all, source, domain, host, language or month"),
        field("stratum", pa.string(), "value of that dimension; 'all' for the whole"),
        field(
            "unit",
            pa.string(),
            "docs, words or bytes; words stand for tokens: none were counted, and so many tokens a word give the same share",
        ),
        field("n", pa.int64(), "documents in the stratum"),
        field("n_judged", pa.int64(), "documents the detector judged: the denominator of the share"),
        field(
            "lower",
            pa.float64(),
            "at least this much is synthetic (97.5 %), by the scores of human text alone: what it cannot explain",
        ),
        field("share", pa.float64(), "synthetic share of what was judged; null without a valid basis, see reason"),
        field("low", pa.float64(), "lower end of the 95 % interval"),
        field("high", pa.float64(), "upper end of the 95 % interval"),
        field("method", pa.string(), "estimator of the share: fitted mixture or refitted prior"),
        field("second", pa.float64(), "the same share by another estimator; far outside the interval is an alarm"),
        field("second_method", pa.string(), "that estimator: Storey or fitted mixture"),
        field("basis", pa.string(), "human text on whose scores the share rests"),
        field("reason", pa.string(), "why there is no share"),
        field("warning", pa.string(), "what to know before relying on the share"),
        field(
            "declared_synthetic", pa.int64(), "documents whose source declares them synthetic (not used for the share)"
        ),
        field("declared_human", pa.int64(), "documents whose source declares them human (not used for the share)"),
    ]
)


def anchors_for(stages: Sequence[Stage]) -> Anchors | None:
    """Anchors of the detector that the stages judge by: a folder's own, else the shipped ones; None where none judge.

    A folder's few domains and generators do not tell how far the next one may lie from them: that is taken from the
    shipped anchors, whose 42 domains and 83 cells of generators do.
    """
    if not measures_origin(stages):
        return None
    detector = detector_of(stages)
    found = shipped_anchors(gate(stages)) if detector == "default" else _folder_anchors(detector, gate(stages))
    second_tier = any(stage.settings().get("surprisal") for stage in stages if stage.name == "ai_text")
    return dataclasses.replace(found, warning=UNTIERED) if found and second_tier else found


def _folder_anchors(detector: str, gate_: str) -> Anchors | None:
    """Scores of the texts that a user's detector was not learnt from; None where its folder has none."""
    path = anchors_file(detector)
    if path is None:
        return None
    table = pq.read_table(path)
    made = anchors_of(table, joined(table, ai_text_config(detector), gate_), anchors_name(detector))
    if not (len(made.human.counts) and len(made.machine.counts)):
        return None
    return dataclasses.replace(made, alike=shipped_anchors(gate_))


def shipped_anchors(gate: str = "uncertain", path: Path | None = None) -> Anchors | None:
    """Scores of labelled text that ship with the detector, each by one that never saw its data set.

    gate: which documents the encoder sees in the run; the scores are those of the same two paths.
    """
    path = path or shipped("models") / "ai-text" / "anchors.parquet"
    if not path.is_file():
        return None
    table = pq.read_table(path)
    return anchors_of(table, joined(table, ai_text_config(), gate))


def anchors_of(table: pa.Table, logit: npt.NDArray[np.float64], name: str = ANCHORS) -> Anchors:
    """Group scores by domain within its set, and by generator within its domain.

    table: columns label, domain (`set:domain`) and generator.  logit: [rows] log-odds at prior one half; nan is left out.
    name: whose they are.
    """
    known = ~np.isnan(logit)
    human = known & pc.equal(table["label"], "human").to_numpy(zero_copy_only=False)
    domain, generator = (np.array(table[column].to_pylist(), str) for column in ("domain", "generator"))
    sets = np.array([place.partition(":")[0] for place in domain], str)
    made_by = np.char.add(np.char.add(domain, "/"), generator)
    prob, machine = probability(np.nan_to_num(logit)), known & ~human
    domains = len(np.unique(domain[human]))
    return Anchors(
        Cells.of(prob[human], domain[human], sets[human]),
        Cells.of(prob[machine], made_by[machine], domain[machine]),
        f"{name} ({int(human.sum()):,} human texts, {domains} domain{'s' * (domains != 1)})",
    )


@dataclass(frozen=True)
class Evidence:
    """What shares are estimated from.  Arrays are [docs]."""

    judged: Bools
    flagged: Bools
    documents: Documents
    basis: Basis | None


def evidence(judged: Judged, anchors: Anchors | None, given: pa.Table | None = None) -> Evidence:
    """Decide once which documents were judged and on what text the share rests.  given: a calibration file's scores."""
    was_judged = judged.readable & ~np.isnan(judged.prob_synthetic)
    codes, host = _codes(judged.source), _codes(judged.host)
    names = judged.source.combine_chunks().dictionary.to_pylist()
    documents = Documents.of(was_judged, judged.prob_synthetic, host)
    if given is None:
        basis = prevalence.basis_of(judged.trusted, documents, codes, names, anchors)
    else:
        basis = _given_basis(judged, documents, codes, names, anchors, given)
    return Evidence(was_judged, judged.synthetic, documents, basis)


def _given_basis(
    judged: Judged, documents: Documents, codes: I64, names: list[str], anchors: Anchors | None, given: pa.Table
) -> Basis | None:
    """A basis with a calibration file's texts: those of a source for it, all of them for sources without enough of their own."""
    place = {name: i for i, name in enumerate(names)}
    source = np.array([place.get(name, -1) for name in given["source"].to_pylist()], np.int64)
    matched, whole = np.flatnonzero(source >= 0), np.arange(len(source))
    counts = np.bincount(codes[judged.trusted & documents.judged], minlength=len(names))
    short = counts + np.bincount(source[matched], minlength=len(names)) < prevalence.MIN_TRUSTED
    texts = np.concatenate([matched, whole])
    known = np.ones(len(texts), bool)
    more = Documents.of(
        np.concatenate([documents.judged, known]),
        np.concatenate([judged.prob_synthetic, probability(given["ai_logit"].to_numpy()[texts])]),
        np.concatenate([documents.host, np.full(len(texts), -1)]),
    )
    found = prevalence.basis_of(
        np.concatenate([judged.trusted & ~short[codes], known]),
        more,
        np.concatenate([np.where(short[codes], len(names), codes), source[matched], np.full(len(whole), len(names))]),
        [*names, "the calibration file"],
        anchors,
    )
    return found and dataclasses.replace(found, group=found.group[: len(codes)])


def _codes(column: pa.ChunkedArray) -> I64:
    """Position of each row's word in the dictionary, -1 for null."""
    indices = column.combine_chunks().indices
    codes: I64 = pc.fill_null(indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)
    return codes


@dataclass(frozen=True)
class Scope:
    """Some of the documents; `selected_from` where the detector had a say in which."""

    name: str
    inside: Bools
    selected_from: Bools | None = None
    as_a_whole: bool = False  # not by source, domain, host, language or month
    copies: I64 | None = None  # [docs] how often each document counts; None for once


def scopes(judged: Judged, unique: Bools, kept: Bools, copies: I64) -> list[Scope]:
    """Input, what stands for itself or its cluster (as a whole only), kept and mixture. A rule that reads the detector makes `kept` a selection by it, as a mixture always is.

    The user's snapshot is no part of what was crawled: it counts in the mixture alone, as often as it stands there.
    """
    by_detector = any(column in DETECTOR for rule in judged.rules for column in rule.columns)
    crawled = judged.readable & ~judged.reference
    return [
        Scope("input", crawled),
        Scope("unique", crawled & unique, as_a_whole=True),
        Scope("kept", kept & crawled, crawled if by_detector else None),
        Scope("mixture", kept & (copies > 0), judged.readable if by_detector else kept, copies=copies),
    ]


def table(judged: Judged, asked: Sequence[Scope], found: Evidence) -> pa.Table:
    """Shares of every scope, dimension, stratum and unit."""
    rows: list[dict[str, Any]] = []
    weights: dict[str, npt.NDArray[np.float64]] = {
        "docs": np.ones(len(judged.ids)),
        "words": judged.n_words.astype(float),
        "bytes": judged.text_bytes.astype(float),
    }
    for dimension, names, codes in dimensions(judged):
        for scope in (s for s in asked if dimension == "all" or not s.as_a_whole):
            stratum = np.where(scope.inside, codes, -1)
            before = None if scope.selected_from is None else np.where(scope.selected_from, codes, -1)
            declared = {kind: _declared(judged, kind, stratum, len(names)) for kind in ("synthetic", "human")}
            for unit, once in weights.items():
                weight = once if scope.copies is None else once * scope.copies.astype(np.float64)
                shares = prevalence.estimates(found.documents, stratum, len(names), weight, found.basis, before, once)
                if dimension in ACROSS:
                    shares = _by_source(shares, stratum, before, judged, found, weight, once)
                rows += [
                    {"scope": scope.name, "dimension": dimension, "stratum": name, "unit": unit, **vars(share)}
                    | {f"declared_{kind}": int(counts[i]) for kind, counts in declared.items()}
                    for i, (name, share) in enumerate(zip(names, shares, strict=True))
                ]
    return pa.Table.from_pylist(rows, schema=SHARES)


def _by_source(
    shares: list[Share],
    stratum: I64,
    before: I64 | None,
    judged: Judged,
    found: Evidence,
    weight: npt.NDArray[np.float64],
    once: npt.NDArray[np.float64],
) -> list[Share]:
    """Each stratum as the sum of its sources, each against its own reference; the stratum itself where sources cannot be told.

    A mixture thins sources unlike one another and human text differs between them, so one reference for all misleads.
    """
    names, source = _largest(judged.source.combine_chunks())
    own, first = (_crossed(codes, source, len(names)) for codes in (stratum, stratum if before is None else before))
    cells = np.unique(np.concatenate([own, first]))
    cells = cells[cells >= 0]
    own, first = (np.where(codes < 0, -1, np.searchsorted(cells, codes)) for codes in (own, first))
    parts = prevalence.estimates(
        found.documents, own, len(cells), weight, found.basis, None if before is None else first, once
    )
    rows = (own >= 0) & found.judged
    mass = np.bincount(own[rows], weight[rows], len(parts)).astype(np.float64)
    of = cells // max(len(names), 1)
    summed = list(shares)
    for i in range(len(shares)):
        here = np.flatnonzero(of == i)
        summed[i] = _sum(shares[i], [parts[k] for k in here], mass[here])
    return summed


def _crossed(stratum: I64, source: I64, sources: int) -> I64:
    """One number for each pair of stratum and source; -1 where either is missing.  # [docs]"""
    return np.where((stratum >= 0) & (source >= 0), stratum * sources + source, -1)


def _sum(whole: Share, parts: Sequence[Share], mass: npt.NDArray[np.float64]) -> Share:
    """The whole by its parts; `whole` itself where these cannot be told.

    Ends of intervals are added as if all parts erred together, which is wider than any other way in which they may err.
    """
    known = [i for i, part in enumerate(parts) if part.share is not None and mass[i]]
    told = float(mass[known].sum()) / max(float(mass.sum()), 1e-12)
    if whole.share is None or len(known) < 2 or told < MOST:
        return whole

    def total(name: str, unknown: float | None) -> float:
        of_known = sum(float(mass[i]) * float(getattr(parts[i], name) or 0.0) for i in known) / float(mass[known].sum())
        return of_known if unknown is None else told * of_known + (1 - told) * unknown

    return dataclasses.replace(
        whole,
        share=total("share", None),
        lower=total("lower", 0.0),
        low=total("low", 0.0),
        high=total("high", 1.0),
        second=total("second", None),
        method="sum of sources",
        second_method="sum of sources",
        basis="; ".join(dict.fromkeys(str(parts[i].basis) for i in known)),
        warning="; ".join(dict.fromkeys(w for i in known if (w := parts[i].warning))) or None,
    )


def _declared(judged: Judged, kind: str, stratum: I64, strata: int) -> I64:
    said = pc.fill_null(pc.equal(judged.declared_origin, kind), False).to_numpy()
    return np.bincount(stratum[said & (stratum >= 0)], minlength=strata)


def dimensions(judged: Judged) -> Iterator[tuple[str, list[str], I64]]:
    """Each dimension: its name, its strata, and every document's position among them (-1 for none)."""
    yield "all", ["all"], np.zeros(len(judged.ids), np.int64)
    for name, column in (("source", judged.source), ("language", judged.language), ("host", judged.host)):
        yield name, *_largest(column.combine_chunks())
    yield "domain", *_largest(_domains(judged.host.combine_chunks()))
    yield "month", *_largest(pc.dictionary_encode(_months(judged)))


def _domains(host: pa.DictionaryArray) -> pa.DictionaryArray:
    """The registered domain of each host; the host itself where nothing is registered."""
    names = [domain_of(name) or name for name in host.dictionary.to_pylist()]
    found = pc.dictionary_encode(pa.array(names, pa.string()))
    return pa.DictionaryArray.from_arrays(found.indices.take(host.indices), found.dictionary)


def _months(judged: Judged) -> pa.Array:
    stamps = pa.array(judged.date_us, pa.int64(), mask=~judged.dated).cast(pa.timestamp("us"))
    return pc.strftime(stamps, "%Y-%m")


def _largest(column: pa.DictionaryArray) -> tuple[list[str], I64]:
    """Strata by name, the `LARGEST` ones; smaller ones together, so that a corpus of a million hosts keeps a small table."""
    codes: npt.NDArray[np.int64] = pc.fill_null(column.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)
    names = [str(name) for name in column.dictionary.to_pylist()]
    counts = np.bincount(codes[codes >= 0], minlength=len(names))
    largest = sorted(np.argsort(-counts, kind="stable")[:LARGEST].tolist(), key=lambda i: names[i])
    place = np.full(len(names) + 1, len(largest), np.int64)
    place[largest] = np.arange(len(largest))
    place[-1] = -1
    others = [f"({len(names) - len(largest):,} smaller ones)"] if len(names) > len(largest) else []
    return [names[i] for i in largest] + others, place[codes]
