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
from dataclasses import dataclass, fields, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from curator.kernels import inlined, kernel

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
    # Found in 3 to 17 of 100 machine texts, in 1 of 70,000 human ones from before assistants (curator.stages.traces);
    # today people write about assistants and quote them, which nobody here measured: 1 in 1,000 is taken, log(0.034 / 0.001).
    first_trace: float = 3.5
    further_trace: float = 1.0
    most_traces: float = 5.0
    hidden: float = 0.7  # two to one: a message for machines says little of who wrote the rest


def terms(facts: Facts, trust: Trust | None = None, sites: Sites | None = None) -> Terms:
    """Every witness of every document, in log-odds. A pure function of the facts, whatever their order."""
    t = trust or Trust()
    old, seen_before = known_before(facts.date_us), known_before(facts.seen_us)
    phrases = np.minimum(t.first_trace + t.further_trace * (facts.traces - 1.0), t.most_traces)
    silent = np.zeros(len(facts.logit))
    found = Terms(
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
    site, site_month = _of_sites(facts, found, old | seen_before, sites or Sites())
    return replace(found, site=site, site_month=site_month)


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


# --- The site ------------------------------------------------------------------------------------
# A site publishes machine text to a share of its own. Shares are looked at on a grid, evenly in log-odds.

_SHARES: Final = sigmoid(np.linspace(-6.0, 6.0, 13))  # [grid]
_MEANS: Final = np.array([0.01, 0.03, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.97])
_STRENGTHS: Final = np.array(
    [0.1, 0.3, 1.0, 3.0, 10.0]
)  # in documents: below 2 most sites are nearly all one or the other
_MOST: Final = 12.0  # log-odds of one document: no single one says more about its site
_FINE: Final = 2.0**20  # sums of multiples of its inverse are exact, so that the order of documents cannot show
MIN_TRUSTED: Final = 5  # documents known to be old from which a site's own level is taken


@dataclass(frozen=True)
class Sites:
    """How the documents of one site are pooled."""

    # Correlation of two human texts' log-odds on one site: scores of one site err together. Measured on domains and sites
    # that no training saw (benchmarks/site_pooling.py prints it): 0.29 over 139 sites with one detector, 0.45 over 32
    # domains with its successor. The larger is taken: too small a one convicts sites of formal prose for being large.
    likeness: float = 0.45
    stay: float = 0.8  # how likely a month of a site is like its other months: a belief
    most: float = (
        4.0  # bound of both terms together: a text that says human by more than this is never convicted by its site
    )


def _of_sites(facts: Facts, found: Terms, old: Bools, sites: Sites) -> tuple[F64, F64]:
    """Both terms of the site.  # [docs] twice

    Documents known to be older than assistants take no part: that a site was human in 2015 says little of what it
    publishes now, and nothing of today's says anything about them. They tell the site's own level, no more.
    """
    inside = (facts.host >= 0) & ~old
    judged = inside & ~np.isnan(facts.logit)
    x = np.nan_to_num(facts.logit) - _level(facts, old, sites) + found.declared + found.traces + found.hidden
    x = np.where(judged, np.clip(x, -_MOST, _MOST), 0.0)
    counted = judged & facts.unique
    host = _Pools.of(np.where(inside, facts.host, -1), x, counted)
    month = _Pools.of(np.where(inside & (facts.month >= 0), _pairs(facts.host, facts.month), -1), x, counted)
    prior = _prior(host)
    site, both = _ask(x, judged, host, month, prior, sites)
    copies = np.flatnonzero(judged & ~facts.unique)  # their originals may lie on this site or elsewhere
    whole = _ask(x[copies], np.zeros(len(copies), np.bool_), host.only(copies), month.only(copies), prior, sites)
    site[copies], both[copies] = _nearer_zero(site[copies], whole[0]), _nearer_zero(both[copies], whole[1])
    site = np.clip(site, -sites.most, sites.most)
    return site, np.clip(both, -sites.most, sites.most) - site


def _level(facts: Facts, old: Bools, sites: Sites) -> F64:
    """By how much the human text of each document's site looks more machine-like than that of other sites.  # [docs]

    Formal prose is judged too high wherever it stands. Where a site has text known to be older than assistants, its
    mean beyond that of other sites, shrunk by as much as few documents tell (best linear prediction of a random
    effect), is taken off before pooling. Never added: a site that was more human than others proves nothing.
    """
    rows = np.flatnonzero(old & facts.unique & (facts.host >= 0) & ~np.isnan(facts.logit))
    level = np.zeros(len(facts.logit))
    if not len(rows):
        return level
    known, of_doc = np.unique(facts.host[rows], return_inverse=True)
    count = np.bincount(of_doc).astype(float)
    mean = np.bincount(of_doc, np.rint(np.clip(facts.logit[rows], -_MOST, _MOST) * _FINE)) / _FINE / count
    enough = count >= MIN_TRUSTED
    if not enough.any():
        return level
    shrunk = count * sites.likeness / (1 + (count - 1) * sites.likeness)
    above = np.where(enough, np.maximum(shrunk * (mean - np.median(mean[enough])), 0.0), 0.0)
    at = np.searchsorted(known, facts.host).clip(max=len(known) - 1)
    return np.where(known[at] == facts.host, above[at], level)


def _pairs(host: I64, month: I64) -> I64:
    """One code for a host and a month."""
    return np.asarray(host * (month.max(initial=0) + 1) + month)


@dataclass(frozen=True)
class _Pools:
    """Groups of documents and what they say together of each possible share."""

    of_doc: I64  # [docs] position of its group, -1 for none
    count: F64  # [groups] documents that count
    says: F64  # [groups, grid] log-likelihood of each share, summed over them

    @classmethod
    def of(cls, code: I64, x: F64, counted: Bools) -> _Pools:
        """Gather the documents of each code; -1 for none."""
        known, of_doc = np.unique(code, return_inverse=True)
        of_doc = of_doc.astype(np.int64) - int(len(known) > 0 and known[0] < 0)
        groups = int(of_doc.max(initial=-1)) + 1
        count, says = np.zeros(groups), np.zeros((groups, len(_SHARES)))
        _gather(of_doc, x, counted, count, says)
        return cls(of_doc, count, says)

    def only(self, rows: I64) -> _Pools:
        """The same groups, seen from some of the documents."""
        return replace(self, of_doc=self.of_doc[rows])


@inlined
def _says(ratio: float, share: float) -> float:
    """Log-likelihood of a site's share by one document, up to what all shares have in common.  ratio: exp(log-odds)"""
    return np.rint(np.log(share * ratio + (1.0 - share)) * _FINE) / _FINE  # type: ignore[no-any-return]


@kernel
def _gather(of_doc: I64, x: F64, counted: Bools, count: F64, says: F64) -> None:
    """Add up what the documents of each group say.  Fills count [groups] and says [groups, grid]."""
    for i in range(len(x)):
        if counted[i] and of_doc[i] >= 0:
            count[of_doc[i]] += 1
            ratio = np.exp(x[i])
            for k in range(len(_SHARES)):
                says[of_doc[i], k] += _says(ratio, _SHARES[k])


def _prior(host: _Pools) -> F64:
    """How shares are spread over the sites of this corpus.  # [grid], sums to 1

    Empirical Bayes over a lattice of beta distributions: each weighs as much as it makes what was seen likely, so
    that a corpus of few sites keeps a spread-out prior.
    """
    lattice = _betas()
    marginal = np.zeros(len(lattice))
    _likely(host.says[host.count > 0], lattice, marginal)
    weight = np.exp(marginal - marginal.max())
    return np.asarray((weight / weight.sum()) @ lattice)


@kernel
def _likely(says: F64, lattice: F64, marginal: F64) -> None:
    """Add up each prior's log-likelihood over the sites.  Fills marginal [priors]."""
    likely = np.zeros(len(_SHARES))
    for h in range(len(says)):
        top = np.max(says[h])
        for k in range(len(_SHARES)):
            likely[k] = np.exp(says[h, k] - top)
        for c in range(len(lattice)):
            total = 0.0
            for k in range(len(_SHARES)):
                total += likely[k] * lattice[c, k]
            marginal[c] += np.rint(np.log(total) * _FINE) / _FINE


def _betas() -> F64:
    """Beta distributions on the grid, what lies beyond its ends put on them.  # [means * strengths, grid], rows sum to 1"""
    mean, strength = (v.reshape(-1, 1) for v in np.meshgrid(_MEANS, _STRENGTHS))
    human, machine = (1 - mean) * strength, mean * strength
    density = np.exp(machine * np.log(_SHARES) + human * np.log1p(-_SHARES))  # in log-odds
    density[:, :1] += density[:, :1] / machine  # beyond the grid's ends it falls off with these powers
    density[:, -1:] += density[:, -1:] / human
    return np.asarray(density / density.sum(1, keepdims=True))


def _ask(x: F64, judged: Bools, host: _Pools, month: _Pools, prior: F64, sites: Sites) -> tuple[F64, F64]:
    """Log-odds that the other documents of its site add to each, and with those of its month apart.  # [docs] twice"""
    site, both = np.zeros(len(x)), np.zeros(len(x))
    places = (host.of_doc, host.count, host.says, month.of_doc, month.count, month.says)
    _pool(x, judged, *places, prior, sites.likeness, sites.stay, site, both)
    return site, both


@inlined
def _worth(others: float, own: float, likeness: float) -> float:
    """What each of the other documents counts, given that the document itself counts whole.

    n alike witnesses are worth n / (1 + (n - 1) likeness) independent ones (design effect, Kish 1965); of them the
    document's own text, where it was judged, has taken one.
    """
    together = (others + own) / (1 + (others + own - 1) * likeness)
    return max(together - own, 0.0) / max(others, 1.0)


@inlined
def _expected(mass: F64, says: F64, worth: float) -> float:
    """Turn shares' prior mass into their posterior, in place, and return the share expected of it."""
    top = -np.inf
    for k in range(len(_SHARES)):
        top = max(top, worth * says[k])
    total, share = 0.0, 0.0
    for k in range(len(_SHARES)):
        mass[k] *= np.exp(worth * says[k] - top)
        total += mass[k]
        share += mass[k] * _SHARES[k]
    for k in range(len(_SHARES)):
        mass[k] /= total
    return share / total


@kernel
def _pool(
    x: F64,
    judged: Bools,
    host: I64,
    host_count: F64,
    host_says: F64,
    month: I64,
    month_count: F64,
    month_says: F64,
    prior: F64,
    likeness: float,
    stay: float,
    site: F64,
    both: F64,
) -> None:
    """Fill site and both [docs]: the share expected of a site given its other documents, against that of any site.

    The ratio of their odds is the Bayes factor of the others for this document's origin. Of a judged document its
    own score is taken out of its pools first.
    """
    any_site = np.sum(prior * _SHARES)
    any_odds = np.log(any_site / (1 - any_site))
    own, others, rest, mass = np.zeros(len(_SHARES)), np.zeros(len(_SHARES)), np.zeros(len(_SHARES)), prior.copy()
    for i in range(len(x)):
        h, m = host[i], month[i]
        if h < 0:
            continue
        taken = 1.0 if judged[i] else 0.0
        n = host_count[h] - taken
        if n <= 0:
            continue
        ratio = np.exp(x[i])
        for k in range(len(_SHARES)):
            own[k] = taken * _says(ratio, _SHARES[k])
            others[k] = host_says[h, k] - own[k]
            mass[k] = prior[k]
        share = _expected(mass, others, _worth(n, taken, likeness))
        site[i] = both[i] = np.log(share / (1 - share)) - any_odds
        in_month = month_count[m] - taken if m >= 0 else 0.0
        if in_month <= 0 or in_month >= n:
            continue
        for k in range(len(_SHARES)):
            others[k] = month_says[m, k] - own[k]
            rest[k] = host_says[h, k] - month_says[m, k]
            mass[k] = prior[k]
        _expected(mass, rest, _worth(n - in_month, taken, likeness))
        for k in range(len(_SHARES)):
            mass[k] = stay * mass[k] + (1 - stay) * prior[k]
        share = _expected(mass, others, _worth(in_month, taken, likeness))
        both[i] = np.log(share / (1 - share)) - any_odds


def _nearer_zero(a: F64, b: F64) -> F64:
    """The weaker of two voices; nothing where they disagree."""
    return np.where(a * b <= 0, 0.0, np.where(np.abs(a) < np.abs(b), a, b))


def likeness(logit: F64, site: I64) -> float:
    """Correlation of two log-odds of one site beyond chance, by analysis of variance (Fisher 1925; sites of unequal sizes).

    logit: [docs] of text of one origin.  site: [docs] codes.  At least two sites and one site of two documents.
    """
    _, of_doc = np.unique(site, return_inverse=True)
    n = np.bincount(of_doc).astype(float)
    mean = np.bincount(of_doc, logit) / n
    groups, docs = len(n), len(logit)
    if groups < 2 or docs == groups:
        raise ValueError(f"{groups} sites of {docs} documents show no likeness: give two sites, one of two documents")
    within = float(((logit - mean[of_doc]) ** 2).sum()) / (docs - groups)
    between = float((n * (mean - logit.mean()) ** 2).sum()) / (groups - 1)
    size = (docs - float((n**2).sum()) / docs) / (groups - 1)
    spread = max((between - within) / size, 0.0)
    return spread / (spread + within) if spread + within > 0 else 0.0
