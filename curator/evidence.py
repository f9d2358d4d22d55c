"""Free evidence of a document's origin, kept apart in terms that add up in log-odds, and what its site adds to it.

A text's score is one witness. Its date, what its source declares, assistants' phrases left standing, hidden
characters and earlier sightings are others, and they are taken as independent of it given the origin: each
speaks in log-odds for "a model wrote it" (natural logarithm; 0 says nothing), and the sum is the document's.

    prob_document = sigmoid(text + date + declared + traces + hidden + sightings)
    prob_pooled   = sigmoid(the same + site + site_month)

Both stand at prior one half, as the text's own probability does. How strongly each witness is believed is `Trust`,
in the open. The site is kept apart, so that a policy may ignore it.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, fields
from typing import Final

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

NEVER: Final = np.iinfo(np.int64).min  # stands where a date is missing


def _us(year: int, month: int, day: int) -> int:
    return round(dt.datetime(year, month, day, tzinfo=dt.UTC).timestamp()) * 1_000_000


BEFORE_MODELS: Final = _us(2022, 11, 30)  # the day assistants were opened to everybody
EARLIEST: Final = _us(1450, 1, 1)  # before printing no date is a date of publication
DAY_US: Final = 86_400_000_000
# Days that stand where nobody knew the day: the zeros of clocks and spreadsheets (Unix's also as it is seen west of
# Greenwich, spreadsheets', the Mac's, DOS's and the positioning satellites'), and a round number. Taking one for a date would make its document human.
DEFAULT_DAYS: Final = (
    _us(1899, 12, 30), _us(1899, 12, 31), _us(1900, 1, 1), _us(1904, 1, 1), _us(1969, 12, 31), _us(1970, 1, 1),
    _us(1980, 1, 1), _us(1980, 1, 6), _us(2000, 1, 1), _us(2001, 1, 1),
)  # fmt: skip


@dataclass(frozen=True)
class Facts:
    """What is known of each document.  Arrays are [docs]."""

    logit: F64  # calibrated log-odds of the text alone, prior one half; nan where not judged
    date_us: I64  # when it was first seen, microseconds since 1970; NEVER where undated
    seen_us: I64  # earliest date among its verified copies and earlier sightings; NEVER where none
    declared: npt.NDArray[np.int8]  # +1 declared synthetic, -1 declared human, 0 nothing
    traces: I64  # assistants' phrases found in it
    hidden: I64  # characters of a hidden message
    host: I64  # code of its host, -1 for none
    month: I64  # months since 1970-01, -1 for none
    unique: Bools  # false for copies of another document


@dataclass(frozen=True)
class Terms:
    """Log-odds that each witness adds, 0 where it is silent.  Arrays are [docs]."""

    date: F64
    declared: F64
    traces: F64
    hidden: F64
    sightings: F64
    site: F64
    site_month: F64

    def own(self) -> F64:
        """What the document itself says beside its text.  # [docs]"""
        return self.date + self.declared + self.traces + self.hidden + self.sightings

    def of_site(self) -> F64:
        """What the other documents of its site say.  # [docs]"""
        return self.site + self.site_month


@dataclass(frozen=True)
class Trust:
    """How strongly each witness is believed, in log-odds. None of these was fitted: each is a stated belief."""

    old: float = -4.595  # log(0.01 / 0.99): human but for a percent; older machine text exists, and dates lie
    declared_synthetic: float = 3.0  # twenty to one: nobody gains by saying so, but a label may cover a whole section
    declared_human: float = -1.1  # three to one: whoever passes machine text on as human says the same
    first_trace: float = 3.0  # twenty to one: people quote assistants too
    further_trace: float = 1.0
    most_traces: float = 5.0
    hidden: float = 0.7  # two to one: a message for machines says little of who wrote the rest


def terms(facts: Facts, trust: Trust | None = None) -> Terms:
    """Every witness of every document, in log-odds. A pure function of the facts, whatever their order."""
    t = trust or Trust()
    old, seen_before = known_before(facts.date_us), known_before(facts.seen_us)
    phrases = np.minimum(t.first_trace + t.further_trace * (facts.traces - 1.0), t.most_traces)
    silent = np.zeros(len(facts.logit))
    return Terms(
        date=np.where(old, t.old, 0.0),
        declared=np.where(
            facts.declared > 0, t.declared_synthetic, np.where(facts.declared < 0, t.declared_human, 0.0)
        ),
        traces=np.where(facts.traces > 0, phrases, 0.0),
        hidden=np.where(facts.hidden > 0, t.hidden, 0.0),
        sightings=np.where(seen_before & ~old, t.old, 0.0),  # one and the same witness: an early date counts once
        site=silent,
        site_month=silent.copy(),
    )


def known_before(us: I64) -> Bools:
    """Which dates are credible and lie before assistants wrote for everybody: days that stand for "unknown" do not.

    us: [n] microseconds since 1970.  A date in the future lies after the limit and says nothing either.
    """
    day = us - np.mod(us, DAY_US)
    return (us >= EARLIEST) & (us < BEFORE_MODELS) & ~np.isin(day, DEFAULT_DAYS)


def document_logit(facts: Facts, found: Terms) -> F64:
    """Log-odds of the text and the document's own evidence; nan where neither speaks.  # [docs]"""
    return _heard(facts.logit, found.own())


def pooled_logit(facts: Facts, found: Terms) -> F64:
    """`document_logit` and what the site adds; nan where nothing speaks.  # [docs]"""
    return _heard(facts.logit, found.own() + found.of_site())


def _heard(text: F64, other: F64) -> F64:
    """A text that was not judged leaves the other witnesses; nobody heard is not one half."""
    silent = np.isnan(text)
    return np.where(silent, np.where(other == 0, np.nan, other), np.where(silent, 0.0, text) + other)


def sigmoid(logit: F64) -> F64:
    """Probabilities of log-odds; nan stays nan.  # as given"""
    return np.asarray(np.exp(-np.logaddexp(0.0, -logit)))


TERM_NAMES: Final = tuple(f"odds_{field.name}" for field in fields(Terms))
