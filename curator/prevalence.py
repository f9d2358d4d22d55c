"""The synthetic share of a set of documents, with an interval that takes no error rate of the detector as known.

The scores of a stratum are a mixture, `(1 - share) x human + share x machine`.  What the two parts look like on this
text is not known: it is one more draw from the domains and generators on which the detector was measured, or, where
trusted human text of the same source exists, that text.  So the share is fitted to the chances of exceeding a few
scores by least squares weighted with how much these chances differ between domains (moments of a random effect,
Kleinman 1973; the fit is Hansen's generalised method of moments, 1982), and the interval holds every share under which
the observed scores would be no surprise.

One score alone (the adjusted count of Rogan and Gladen 1978) must choose between few false positives and few misses;
several, weighted so, choose by themselves: `benchmarks/share.py` measures them side by side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from curator.anchors import BINS, MIDDLE, ONE_SIDE, Anchors, Cells, Chances, binned, spread
from curator.kernels import kernel

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

MIN_JUDGED: Final = 30  # fewer judged documents than this carry no share
MIN_TRUSTED: Final = 100  # human documents of a source from which its own scores are taken
MIN_SELECTED: Final = 0.01  # a selection that leaves less than this is no longer described by what was before it
MIN_GAP: Final = 0.05  # between true and false positives
MIN_HOSTS: Final = 10  # fewer hosts do not tell how hosts differ
MAX_GROUPS: Final = 50  # sources with a reference of their own
LEVEL: Final = 0.95
APART: Final = 0.1  # outside the interval by more, the second estimate is a disagreement: it errs by itself

FITTED: Final = "fitted mixture"
REFITTED: Final = "refitted prior"
STOREY: Final = "Storey"

SCORES: Final = 4  # scores at which the mixture is fitted; more cost coverage, with the twenty domains there are
# How much less or more steeply the odds of a machine author may rise with the score than calibration says: of 79 pairs of
# a domain and a generator left out of learning, the middle 95 % rose 0.9 to 4.1 times as steeply, those of domains never
# seen 0.7 to 2.7 times (`benchmarks/share.py --slopes`).
SLOPES: Final = (0.5, 3.0)
FREE: Final = 10.0  # degrees of freedom of the fit's surprise: the covariances are estimates themselves
SURPRISE: Final = 5.5  # deviance outside the interval; 3.84 were right if covariances were known
_STEPS: Final = np.linspace(0.0, 1.0, 161)
GRID: Final = _STEPS * _STEPS * (3 - 2 * _STEPS)  # shares tried, denser near none and all


@dataclass(frozen=True)
class Basis:
    """What shares rest on: the scores of human and of machine text.

    Documents fall into groups, one for each source with enough trusted human text of its own and one for all others:
    scores of newspapers say little of manuals.
    """

    group: I64  # [docs] position in `human`
    human: tuple[Chances, ...]
    machine: Chances
    names: tuple[str, ...]  # where each human reference is from
    borrowed: int  # position of the group whose reference is other people's text
    edges: I64  # [SCORES] steps of log-odds at which the mixture is fitted
    warning: str | None = None  # what to know of every share
    lender: str = "shipped anchors"  # whose text the borrowed reference is


@dataclass(frozen=True)
class Documents:
    """What shares need of every document, made once for all strata.  Arrays are [n]."""

    judged: Bools
    step: I64  # of log-odds; of no meaning where not judged
    host: I64  # code of the host, -1 for none
    order: I64  # positions, those of one host after each other

    @classmethod
    def of(cls, judged: Bools, prob: F64, host: I64 | None = None) -> Documents:
        """Sort them by host.  prob: calibrated at prior one half, nan where not judged."""
        known = np.full(len(judged), -1, np.int64) if host is None else host
        return cls(judged, binned(prob), known, np.argsort(known, kind="stable").astype(np.int64))


def basis_of(
    trusted: Bools,
    documents: Documents,
    source: I64,
    names: Sequence[str],
    anchors: Anchors | None,
    twins: Bools | None = None,
) -> Basis | None:
    """Take each source's human scores from its own trusted text where there is enough, else from the anchors.

    trusted: [n] documents that are human for a reason other than the detector, such as their date; those of one host
        count as fewer, as far as hosts differ.  source: [n] position in `names`.
    twins: [n] documents known to be machine text of the same subjects; enough of them replace the anchors' machine
        text.  The scores of a source without trusted text are one more draw from the anchors' domains.
    """
    if anchors is None:
        return None
    own = trusted & documents.judged
    counts = np.bincount(source[own], minlength=len(names))
    largest = [int(i) for i in np.argsort(-counts, kind="stable")[:MAX_GROUPS] if counts[i] >= MIN_TRUSTED]
    place = np.full(len(names), len(largest), np.int64)
    place[largest] = np.arange(len(largest))
    group = place[source]
    edges = _edges(anchors, SCORES)
    trusted_in = np.where(own & (group < len(largest)), group, -1)
    tally = _Tally.of(documents, trusted_in, len(largest), np.ones(len(own)), np.zeros(len(own), np.int64), 1, edges)
    effective, common = tally.effective(), anchors.human.density()
    references = [Chances.of_own(tally.scores[i], effective[i], common, edges) for i in range(len(largest))]
    others = anchors.human.and_(Cells(tally.scores, np.arange(len(largest)))) if largest else anchors.human
    known = documents.step[np.zeros(len(own), bool) if twins is None else twins & documents.judged]
    return Basis(
        group,
        (*references, Chances.next_group(others, edges, anchors.alike.human if anchors.alike else None)),
        _machine(anchors, known, edges),
        (*(f"{int(counts[i]):,} trusted documents of {names[i]}" for i in largest), anchors.name),
        len(largest),
        edges,
        anchors.warning,
        anchors.kind,
    )


def _machine(anchors: Anchors, twins: I64, edges: I64) -> Chances:
    if len(twins) < MIN_TRUSTED:
        return Chances.next_group(anchors.machine, edges, anchors.alike.machine if anchors.alike else None)
    scores = np.bincount(twins, minlength=BINS).astype(float)
    return Chances.of_own(scores, float(len(twins)), anchors.machine.density(), edges)


def _edges(anchors: Anchors, count: int) -> I64:
    """Steps that part the anchors' scores, human and machine alike, into as many equal parts as can be told."""
    below = np.cumsum(anchors.human.density() + anchors.machine.density()) / 2
    found = np.unique(np.searchsorted(below, np.arange(1, count + 1) / (count + 1)) + 1)
    return np.asarray(found[found < BINS], np.int64)


@kernel
def _tally(
    order: I64,
    stratum: I64,
    judged: Bools,
    step: I64,
    host: I64,
    group: I64,
    weight: F64,
    part: I64,
    n: I64,
    square: F64,
    scores: F64,
    by_group: F64,
    unlike: F64,
) -> None:
    """Count weights by stratum and step, and by stratum, group and part of the scores; then how unlike hosts are.

    part: [BINS] position of each step among the scores fitted.  unlike: [strata, 3] hosts, and summed squares of what
    exceedances are off their stratum's, by host and by document.
    """
    strata, parts = by_group.shape[0], by_group.shape[2]
    for i in range(stratum.size):
        s = stratum[i]
        if s < 0 or not judged[i]:
            continue
        n[s] += 1
        square[s] += weight[i] * weight[i]
        scores[s, step[i]] += weight[i]
        by_group[s, group[i], part[step[i]]] += weight[i]
    mean, off = np.zeros((strata, parts)), np.zeros((strata, parts))
    last = np.full(strata, -2)
    for s in range(strata):
        mass = max(scores[s].sum(), 1e-300)
        for k in range(parts - 1, 0, -1):
            mean[s, k] = (mean[s, k + 1] if k + 1 < parts else 0.0) + by_group[s, :, k].sum() / mass
    for i in order:
        s = stratum[i]
        if s < 0 or not judged[i]:
            continue
        if host[i] < 0 or host[i] != last[s]:
            unlike[s, 0] += 1
            last[s] = host[i]
            for k in range(1, parts):
                unlike[s, 1] += off[s, k] * off[s, k]
                off[s, k] = 0.0
        for k in range(1, parts):
            one = weight[i] * ((1.0 if part[step[i]] >= k else 0.0) - mean[s, k])
            off[s, k] += one
            unlike[s, 2] += one * one
    for s in range(strata):
        for k in range(1, parts):
            unlike[s, 1] += off[s, k] * off[s, k]


@dataclass(frozen=True)
class _Tally:
    """Counts of the judged documents of every stratum."""

    n: I64  # [strata]
    square: F64  # [strata] sum of squared weights
    scores: F64  # [strata, BINS] weight by step of log-odds
    by_group: F64  # [strata, groups, SCORES + 1] weight by group of the basis and part of the scores
    unlike: F64  # [strata, 3]

    @classmethod
    def of(
        cls, documents: Documents, stratum: I64, strata: int, weight: F64, group: I64, groups: int, edges: I64
    ) -> _Tally:
        """Count them."""
        made = cls(
            np.zeros(strata, np.int64),
            np.zeros(strata),
            np.zeros((strata, BINS)),
            np.zeros((strata, groups, len(edges) + 1)),
            np.zeros((strata, 3)),
        )
        part = np.searchsorted(edges, np.arange(BINS), side="right").astype(np.int64)
        _tally(
            documents.order, stratum.astype(np.int64), documents.judged, documents.step, documents.host, group,
            weight.astype(float), part, made.n, made.square, made.scores, made.by_group, made.unlike,
        )  # fmt: skip
        return made

    def effective(self) -> F64:
        """How many independent documents the weights are worth (Kish 1965) if hosts differ as they do.  # [strata]

        By as much as a bootstrap by host would find the scores more unsure than one by document, in closed form (the
        variance of a ratio by clusters: Cameron and Miller 2015, equation 11). Fewer than MIN_HOSTS do not tell.
        """
        hosts, by_host, by_document = self.unlike.T
        ratio = by_host / np.maximum(by_document, 1e-300) * hosts / np.maximum(hosts - 1, 1)
        dependence = np.where((hosts >= MIN_HOSTS) & (by_document > 0), np.maximum(ratio, 1.0), 1.0)
        return np.asarray(self.scores.sum(axis=1) ** 2 / np.maximum(self.square, 1e-300) / dependence, np.float64)


@dataclass(frozen=True)
class Share:
    """The synthetic share of the judged documents of one stratum; null with a reason where there is no basis for it."""

    n: int
    n_judged: int
    lower: float | None = None  # needs no machine text: what human text alone cannot explain
    share: float | None = None
    low: float | None = None
    high: float | None = None
    method: str | None = None
    second: float | None = None
    second_method: str | None = None
    basis: str | None = None
    reason: str | None = None
    warning: str | None = None


@dataclass(frozen=True)
class _Counted:
    """What is counted of the judged documents of every stratum."""

    n: I64  # [strata] judged
    scores: F64  # [strata, BINS] weight by step of log-odds
    groups: F64  # [strata, groups of the basis] share of the weight
    above: F64  # [strata, groups, K] chances of exceeding, by group
    effective: F64  # [strata] documents that the weights are worth (Kish 1965), hosts regarded

    @classmethod
    def of(cls, documents: Documents, stratum: I64, strata: int, weight: F64, basis: Basis) -> _Counted:
        """Count them."""
        tally = _Tally.of(documents, stratum, strata, weight, basis.group, len(basis.human), basis.edges)
        above = np.cumsum(tally.by_group[..., ::-1], axis=-1)[..., ::-1]
        return cls(
            tally.n,
            tally.scores,
            above[..., 0] / np.maximum(tally.scores.sum(axis=1), 1e-300)[:, None],
            above[..., 1:] / np.maximum(above[..., :1], 1e-300),
            tally.effective(),
        )


def estimates(
    documents: Documents,
    stratum: I64,
    strata: int,
    weight: F64,
    basis: Basis | None,
    selected_from: I64 | None = None,
    weight_before: F64 | None = None,
) -> list[Share]:
    """The share of every stratum, by documents or by any weight of theirs.

    stratum: [n] position of each document's stratum, -1 for none.  weight: [n], 1 to count documents.
    selected_from: [n] the strata before a selection that looked at the detector, as a mixture does; the machine text
        that it did not recognise is then what stays, and its scores would call the rest clean.
    weight_before: [n] weights before that selection, where it repeats documents; `weight` is then 0 for what it left.
    """
    total, n = (
        np.bincount(stratum[rows], minlength=strata) for rows in (stratum >= 0, (stratum >= 0) & documents.judged)
    )
    if basis is None:
        why = "no text known to be human or machine to measure the detector's errors on"
        return [Share(int(total[i]), int(n[i]), reason=why) for i in range(strata)]
    first = stratum if selected_from is None else selected_from
    judged = np.bincount(first[(first >= 0) & documents.judged], minlength=strata)
    enough = np.flatnonzero(judged >= MIN_JUDGED)  # of a million hosts most are small
    place = np.full(strata + 1, -1, np.int64)
    place[enough] = np.arange(len(enough))
    after = _Counted.of(documents, place[stratum], len(enough), weight, basis)
    once = weight if weight_before is None else weight_before
    before = after if selected_from is None else _Counted.of(documents, place[first], len(enough), once, basis)
    found = [Share(int(total[i]), int(n[i]), reason=_too_few(min(int(judged[i]), int(n[i])))) for i in range(strata)]
    for i, share in zip(enough, _estimated(total[enough], before, after, basis), strict=True):
        found[i] = share
    return found


def _too_few(judged: int) -> str:
    return f"{judged} judged documents, fewer than {MIN_JUDGED}"


@dataclass(frozen=True)
class _Fit:
    """The mixture fitted to every stratum.  Arrays are [strata]."""

    point: F64
    low: F64
    high: F64
    lower: F64
    storey: F64
    gap: F64  # how far machine and human text are apart at the score that parts them best
    human_rate: F64  # human text above that score


def _estimated(total: I64, whole: _Counted, part: _Counted, basis: Basis) -> list[Share]:
    fit, refitted = _fitted(whole, basis), prior_fitted(whole.scores)
    borrowed = whole.groups[:, basis.borrowed] > 0.5
    point = np.where(borrowed, refitted, fit.point)
    low, high = np.minimum(fit.low, point), np.maximum(fit.high, point)
    values = np.stack([fit.lower, point, low, high, np.where(borrowed, fit.point, fit.storey)])
    if part is not whole:
        values = _selected(values, whole, part)
    method = np.where(borrowed, REFITTED, FITTED)
    second = np.where(borrowed, FITTED, STOREY)
    found = []
    for i in range(len(total)):
        reason = _reason(int(whole.n[i]), int(part.n[i]), whole.effective[i] > 0 < part.effective[i], fit, i)
        if reason:
            found.append(Share(int(total[i]), int(part.n[i]), reason=reason))
            continue
        lower, share, low_, high_, other = (float(v) for v in values[:, i])
        names = [name for name, mass in zip(basis.names, part.groups[i], strict=True) if mass >= 0.01]
        found.append(
            Share(
                int(total[i]),
                int(part.n[i]),
                min(lower, share),
                share,
                low_,
                high_,
                str(method[i]) + (" before selection" if part is not whole else ""),
                other,
                str(second[i]),
                "; ".join(names),
                None,
                _warning(basis, part.groups[i, basis.borrowed], other, low_, high_),
            )
        )
    return found


def _reason(whole: int, part: int, weighs: bool, fit: _Fit, i: int) -> str | None:
    """Why a stratum has no share; null where it has one."""
    if not weighs:
        return "its judged documents weigh nothing"
    if part < MIN_SELECTED * whole:
        return f"the selection left {part} of {whole} judged documents: too few to tell what it missed"
    if fit.gap[i] <= MIN_GAP:
        human = fit.human_rate[i]
        return f"the detector cannot tell: it scores {human:.0%} of human and {human + fit.gap[i]:.0%} of machine text as high"
    return None


def _fitted(counted: _Counted, basis: Basis) -> _Fit:
    """Fit the mixture to every stratum."""
    machine = basis.machine.mean  # [K]
    human = np.stack([c.mean for c in basis.human])  # [groups, K]
    unlike = np.stack([c.covariance for c in basis.human])
    apart = machine - human
    at = np.argmax(apart, axis=1)  # [groups] the score that parts them best
    best = np.take_along_axis(apart, at[:, None], 1)[:, 0]
    shown = np.take_along_axis(counted.above, at[None, :, None], 2)[..., 0] - human[np.arange(len(at)), at]
    rough = np.clip(shown / np.maximum(best, MIN_GAP), 0.0, 1.0)
    # Groups weigh by their human documents: a source all of whose text is machine-written has no false positives.
    people = counted.groups * (1 - rough) + 1e-9 * counted.groups + 1e-300
    people /= people.sum(axis=1, keepdims=True)
    expected = people @ human  # [strata, K]
    unsure = np.einsum("sg,gkl->skl", people**2, unlike)
    seen = np.einsum("sg,sgk->sk", counted.groups, counted.above)
    counting = spread(_shrunk(seen, counted.effective)) / np.maximum(counted.effective, 1.0)[:, None, None]
    deviance = _deviance(seen, expected, machine, unsure, basis.machine.covariance, counting)
    low, high = _within(deviance)
    lower = _lower(seen, people @ np.stack([c.most for c in basis.human]), counting)
    half = np.argmin(np.abs(expected - 0.5), axis=1)[:, None]  # the score that half of human text exceeds
    below = (1 - np.take_along_axis(seen, half, 1)) / np.maximum(1 - np.take_along_axis(expected, half, 1), 1e-9)
    each = np.arange(len(seen))
    widest = np.argmax(machine - expected, axis=1)
    return _Fit(
        GRID[np.argmin(deviance, axis=1)],
        low,
        high,
        lower,
        np.clip(1 - below[:, 0], 0.0, 1.0),
        (machine - expected)[each, widest],
        expected[each, widest],
    )


def _shrunk(seen: F64, effective: F64) -> F64:
    """Chances with half a document above and below, so that none of n is no certainty."""
    n = effective[:, None]
    return (seen * n + 0.5) / (n + 1)


def _deviance(seen: F64, human: F64, machine: F64, unsure: F64, machine_unsure: F64, counting: F64) -> F64:
    """How surprising the seen chances are under each share of GRID: -2 log of a Student density.  # [strata, GRID]"""
    k, found = seen.shape[1], np.empty((len(seen), len(GRID)))
    at = GRID[:, None, None]
    for first in range(0, len(seen), 256):  # [part, GRID, K, K] at once
        part = slice(first, first + 256)
        off = seen[part, None] - (1 - at[..., 0]) * human[part, None] - at[..., 0] * machine
        covariance = (1 - at) ** 2 * unsure[part, None] + at**2 * machine_unsure + counting[part, None]
        covariance = covariance + 1e-6 * np.eye(k)
        distance = (np.linalg.solve(covariance, off[..., None])[..., 0] * off).sum(axis=-1)
        found[part] = (FREE + k) * np.log1p(distance / FREE) + np.linalg.slogdet(covariance)[1]
    return found


def _within(deviance: F64) -> tuple[F64, F64]:
    """The lowest and highest share whose deviance is within SURPRISE of the least.  # [strata] twice"""
    inside = deviance <= deviance.min(axis=1, keepdims=True) + SURPRISE
    first, last = inside.argmax(axis=1), len(GRID) - 1 - inside[:, ::-1].argmax(axis=1)
    return GRID[np.maximum(first - (first > 1), 0)], GRID[np.minimum(last + 1, len(GRID) - 1)]


def _lower(seen: F64, most: F64, counting: F64) -> F64:
    """What human text alone cannot explain, were every machine text above the score: the best of all scores.  # [strata]

    A bound in the manner of Genovese and Wasserman (2004), with the human scores unsure.
    """
    least = seen - ONE_SIDE * np.sqrt(np.diagonal(counting, axis1=1, axis2=2))
    return np.asarray(np.clip((least - most) / np.maximum(1 - most, 1e-9), 0.0, 1.0).max(axis=1), np.float64)


def _selected(values: F64, whole: _Counted, part: _Counted) -> F64:
    """Shares after a selection, from those before it: of each step of the scores that part is machine text which it had before.

    What part that was follows from the score, which is calibrated, and from the share of all; the bounds also allow for
    odds that rise with the score less or more steeply, and for the chance of each document.

    values: [5, strata] lower bound, share, low, high and second.
    """
    flat, steep = SLOPES
    left = np.maximum(part.scores.sum(axis=1), 1e-300)
    slopes = (steep, 1.0, steep, flat, 1.0)
    chances = [machine_by_step(whole.scores, share, slope) for share, slope in zip(values, slopes, strict=True)]
    lower, share, low, high, second = ((part.scores * chance).sum(axis=1) / left for chance in chances)
    chance = chances[1]
    sd = np.sqrt((part.scores * chance * (1 - chance)).sum(axis=1) / left / np.maximum(part.effective, 1.0))
    low, high = np.minimum(low, share) - 1.96 * sd, np.maximum(high, share) + 1.96 * sd
    made = np.stack([np.minimum(lower, low), share, low, high, second])
    return np.asarray(np.clip(made, 0.0, 1.0), np.float64)


def machine_by_step(scores: F64, share: F64, slope: float = 1.0) -> F64:
    """The chance that a document of each step of log-odds is machine text, where this share of all is.  # [strata, BINS]

    The odds rise with the score by `slope` of what calibration says; their level is that which gives the share.
    scores: [strata, BINS] documents by step.  share: [strata].
    """
    wanted = share * scores.sum(axis=1)
    low, high = np.full(len(scores), -80.0), np.full(len(scores), 80.0)
    for _ in range(50):
        level = (low + high) / 2
        over = (scores * _logistic(slope * MIDDLE + level[:, None])).sum(axis=1) > wanted
        low, high = np.where(over, low, level), np.where(over, level, high)
    chance = _logistic(slope * MIDDLE + high[:, None])
    return np.asarray(np.where((share <= 0)[:, None], 0.0, np.where((share >= 1)[:, None], 1.0, chance)), np.float64)


def _logistic(odds: F64) -> F64:
    return np.asarray(1 / (1 + np.exp(-odds)), np.float64)


def _warning(basis: Basis, borrowed: float, second: float, low: float, high: float) -> str | None:
    """What to know before relying on a share; null where there is nothing."""
    found = [basis.warning] if basis.warning else []
    if borrowed >= 0.01:
        found.append(
            f"false-positive rate partly from other people's text ({basis.lender}): trusted human text of these sources would narrow it"
        )
    if not low - APART <= second <= high + APART:
        found.append("two estimators disagree: look at documents before relying on this share")
    return "; ".join(found) or None


def prior_fitted(scores: F64, rounds: int = 200) -> F64:
    """The share at which calibrated probabilities agree with their own mean, by EM from one half (Saerens, Latinne and
    Decaestecker 2002, equations 2.2 to 2.4).  scores: [strata, BINS] counts by step of log-odds.  # [strata]
    """
    prob = _logistic(MIDDLE)
    mass = np.maximum(scores.sum(axis=1, keepdims=True), 1e-300)
    share = np.full((len(scores), 1), 0.5)
    for _ in range(rounds):
        machine = prob * share
        new = (scores * machine / (machine + (1 - prob) * (1 - share) + 1e-300)).sum(axis=1, keepdims=True) / mass
        done = np.abs(new - share).max(initial=0.0) < 1e-7
        share = new
        if done:
            break
    return np.asarray(np.clip(share[:, 0], 0.0, 1.0), np.float64)


def posterior(prob: F64, share: float | F64) -> F64:
    """Move probabilities calibrated at prior one half to a prior of `share`, one for all or one each (Bayes)."""
    machine, human = prob * share, (1.0 - prob) * (1.0 - share)
    total = machine + human
    moved: F64 = np.divide(machine, total, out=np.asarray(prob, float).copy(), where=total > 0)
    return moved
