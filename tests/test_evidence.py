"""Free evidence: each witness speaks for itself, a site never counts a document twice, and no order shows."""

from __future__ import annotations

import datetime as dt
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curator.evidence import (
    BEFORE_MODELS,
    F64,
    NEVER,
    Facts,
    Sites,
    Terms,
    Trust,
    document_logit,
    known_before,
    likeness,
    pooled_logit,
    sigmoid,
    terms,
)
from tests.conftest import ROOT


def us(*day: int) -> int:
    return round(dt.datetime(*day, tzinfo=dt.UTC).timestamp() * 1_000_000)  # type: ignore[misc]


def facts(logit: Any, **known: Any) -> Facts:
    """Documents of which nothing is known but the score and what is given."""
    logit = np.asarray(logit, float)
    n = len(logit)
    silent: dict[str, Any] = {
        "date_us": np.full(n, NEVER),
        "seen_us": np.full(n, NEVER),
        "declared": np.zeros(n, np.int8),
        "traces": np.zeros(n, np.int64),
        "hidden": np.zeros(n, np.int64),
        "host": np.full(n, -1, np.int64),
        "month": np.full(n, -1, np.int64),
        "unique": np.ones(n, np.bool_),
    }
    return Facts(logit, **(silent | {name: np.asarray(v, silent[name].dtype) for name, v in known.items()}))


def each(found: Terms) -> dict[str, F64]:
    return {f.name: getattr(found, f.name) for f in fields(Terms)}


def taken(known: Facts, rows: Any) -> Facts:
    return Facts(*(getattr(known, f.name)[rows] for f in fields(Facts)))


@st.composite
def corpora(draw: st.DrawFn, least: int = 1) -> Facts:
    """Small corpora with every kind of gap: few hosts and months, dates of all kinds, copies, texts nobody judged."""
    n = draw(st.integers(least, 24))

    def many(values: st.SearchStrategy[Any]) -> list[Any]:
        return draw(st.lists(values, min_size=n, max_size=n))

    dates = st.sampled_from([NEVER, 0, us(2015, 3, 1), us(2021, 6, 2), us(2023, 5, 1), us(2190, 1, 1)])
    scores = st.one_of(st.just(np.nan), st.floats(-15, 15))
    return facts(
        many(scores),
        date_us=many(dates),
        seen_us=many(dates),
        declared=many(st.integers(-1, 1)),
        traces=many(st.integers(0, 4)),
        hidden=many(st.integers(0, 2)),
        host=many(st.integers(-1, 3)),
        month=many(st.integers(-1, 2)),
        unique=many(st.booleans()),
    )


def test_what_is_silent_adds_nothing() -> None:
    found = terms(facts([-3.0, 0.0, np.nan, 9.0]))
    assert all((values == 0).all() for values in each(found).values())
    known = facts([-3.0, np.nan])
    assert document_logit(known, terms(known)).tolist()[0] == -3.0
    assert np.isnan(document_logit(known, terms(known))[1])


@pytest.mark.parametrize(
    ("day", "believed"),
    [
        ((2022, 11, 29, 23, 59), True),
        ((2022, 11, 30), False),
        ((2015, 3, 1), True),
        ((1864, 5, 1), True),  # a novel
        ((2190, 1, 1), False),  # the future
        ((1970, 1, 1), False),
        ((1969, 12, 31, 19), False),  # the same, west of Greenwich
        ((1970, 1, 1, 7, 30), False),
        ((1970, 1, 2), True),
        ((1899, 12, 30), False),
        ((1980, 1, 1), False),
        ((2000, 1, 1), False),
        ((2000, 1, 2), True),
        ((1, 1, 1), False),
        ((1449, 12, 31), False),
    ],
)
def test_a_date_counts_where_it_is_one(day: tuple[int, ...], believed: bool) -> None:
    assert known_before(np.array([us(*day)])).tolist() == [believed]
    value = terms(facts([0.0], date_us=[us(*day)])).date[0]
    assert value == (Trust().old if believed else 0.0)


def test_an_old_document_is_human_but_for_a_percent() -> None:
    known = facts([0.0], date_us=[us(2019, 1, 5)])
    assert sigmoid(document_logit(known, terms(known)))[0] == pytest.approx(0.01, abs=1e-4)
    assert not known_before(np.array([NEVER, BEFORE_MODELS])).any()


def test_an_early_sighting_counts_once_whatever_this_copy_says() -> None:
    old, new = us(2018, 2, 3), us(2024, 2, 3)
    found = terms(facts([0.0] * 4, date_us=[NEVER, new, old, old], seen_us=[old, old, old, NEVER]))
    assert found.sightings.tolist() == [Trust().old, Trust().old, 0.0, 0.0]
    assert (found.date + found.sightings == Trust().old).all()


def test_each_witness_speaks_as_trust_says() -> None:
    known = facts([np.nan] * 6, declared=[1, -1, 0, 0, 0, 0], traces=[0, 0, 1, 2, 40, 0], hidden=[0, 0, 0, 0, 0, 7])
    trust = Trust()
    found = terms(known)
    assert found.declared.tolist()[:3] == [trust.declared_synthetic, trust.declared_human, 0.0]
    assert -trust.declared_human < trust.declared_synthetic  # who hides machine text declares it human
    assert found.traces.tolist()[2:5] == [trust.first_trace, trust.first_trace + trust.further_trace, trust.most_traces]
    assert found.hidden.tolist()[-2:] == [0.0, trust.hidden]
    assert (document_logit(known, found) == found.own()).all()  # nobody judged the texts


@given(corpora(), st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=60)
def test_neither_the_order_of_documents_nor_the_names_of_sites_show(known: Facts, dice: Any) -> None:
    rows = np.array(dice.sample(range(len(known.logit)), len(known.logit)))
    names = np.array([*dice.sample(range(100), 4), -1])
    moved = taken(replace(known, host=names[known.host]), rows)
    for name, values in each(terms(known)).items():
        np.testing.assert_array_equal(values[rows], getattr(terms(moved), name), err_msg=name)


@given(corpora(), st.data())
@settings(deadline=None, max_examples=60)
def test_a_higher_score_never_lowers_its_own_document(known: Facts, data: st.DataObject) -> None:
    i = data.draw(st.integers(0, len(known.logit) - 1))
    low, high = sorted(data.draw(st.tuples(st.floats(-15, 15), st.floats(-15, 15))))
    value = []
    for logit in (low, high):
        moved = replace(known, logit=np.where(np.arange(len(known.logit)) == i, logit, known.logit))
        value.append(pooled_logit(moved, terms(moved))[i])
    assert value[0] <= value[1] + 1e-4  # the prior of all sites rests on this document too, a little


@given(corpora())
@settings(deadline=None, max_examples=60)
def test_a_site_stays_within_its_bound_and_lone_documents_hear_nothing(known: Facts) -> None:
    found = terms(known)
    assert np.isfinite(found.of_site()).all()
    assert (np.abs(found.of_site()) <= Sites().most + 1e-12).all()
    old = known_before(known.date_us) | known_before(known.seen_us)
    judged = ~np.isnan(known.logit) & ~old & (known.host >= 0)
    others = np.array([(judged & (known.host == h)).sum() - j for h, j in zip(known.host, judged, strict=True)])
    assert (found.of_site()[(others == 0) | (known.host < 0) | old] == 0).all()
    assert (found.site_month[known.month < 0] == 0).all()


def site(found: Terms, of: slice) -> float:
    return float(found.of_site()[of].mean())


def test_others_speak_and_the_own_score_is_left_out() -> None:
    machine, human = np.full(10, 4.0), np.full(10, -4.0)
    host = np.repeat([0, 1], 10)
    found = terms(facts(np.concatenate([machine, human]), host=host))
    assert site(found, slice(0, 10)) > 1.5
    assert site(found, slice(10, 20)) < -1.5
    # one machine-like text among human ones does not speak against itself: the others do, for it
    odd = terms(facts(np.concatenate([machine, human[:9], [8.0]]), host=host))
    assert odd.site[19] < -1.5
    assert odd.site[19] < odd.site[18]  # who has it among the others hears of it


def test_many_documents_that_err_together_are_few_witnesses() -> None:
    rest = np.repeat(np.arange(1, 40), 5), np.repeat(np.where(np.arange(39) % 3, -5.0, 5.0), 5)

    def moderate(n: int, likeness: float) -> float:
        known = facts(np.concatenate([np.full(n, 0.7), rest[1]]), host=np.concatenate([np.zeros(n, int), rest[0]]))
        return float(terms(known, sites=Sites(likeness=likeness, most=99.0)).site[0])

    assert moderate(200, 0.3) < moderate(10, 0.3) + 1.0
    assert moderate(10, 0.3) < moderate(10, 0.0)
    assert moderate(10, 1.0) == pytest.approx(0.0)  # all of one voice: the document has said it already


def test_a_site_alone_never_convicts_a_text_that_says_human_strongly() -> None:
    known = facts([*np.full(500, 11.0), -4.5], host=np.zeros(501, int))
    assert pooled_logit(known, terms(known))[-1] < 0


def test_copies_count_once_and_never_hear_themselves() -> None:
    base = facts([3.0, -6.0, -6.0, -6.0] * 5, host=np.repeat(np.arange(5), 4))
    many = facts(
        np.concatenate([base.logit, np.full(50, 3.0)]),
        host=np.concatenate([base.host, np.zeros(50, int)]),
        unique=[True] * 20 + [False] * 50,
    )
    alone, crowded = terms(base), terms(many)
    np.testing.assert_array_equal(crowded.site[:20], alone.site)
    assert (np.abs(crowded.site[20:]) <= np.abs(alone.site[0])).all()  # never louder than to their original
    apart = facts([*base.logit, 9.0], host=[*base.host, 9], unique=[True] * 20 + [False])
    assert terms(apart).site[-1] == 0  # the only one of its site


def test_documents_older_than_assistants_neither_speak_nor_hear() -> None:
    host = np.zeros(12, int)
    new = terms(facts(np.full(6, 2.0), host=host[:6]))
    known = facts(
        np.concatenate([np.full(6, 2.0), np.full(6, -7.0)]),
        host=host,
        date_us=[NEVER] * 6 + [us(2014, 1, d) for d in range(1, 7)],
    )
    found = terms(known)
    np.testing.assert_array_equal(found.site[:6], new.site)
    assert (found.of_site()[6:] == 0).all()


def test_a_site_of_formal_prose_is_heard_against_its_own_older_text() -> None:
    """Its human text scores high and always did; without older documents the site would look machine-made."""
    dice = np.random.default_rng(5)
    others = np.repeat(np.arange(1, 30), 12)
    dates = np.where(np.arange(12) < 6, us(2016, 5, 4), us(2024, 5, 4))
    plain = dice.normal(-5, 2, len(others))
    formal = dice.normal(1.5, 1, 12)
    known = facts([*formal, *plain], host=[*np.zeros(12, int), *others], date_us=np.tile(dates, 30))
    blind = replace(known, logit=np.where((known.host == 0) & (known.date_us < BEFORE_MODELS), np.nan, known.logit))
    new = slice(6, 12)
    assert site(terms(blind), new) > 0.5
    assert site(terms(known), new) < 0.0
    human = replace(known, logit=np.where(known.date_us < BEFORE_MODELS, -5.0 - 3.0 * (known.host == 0), known.logit))
    level = replace(known, logit=np.where(known.date_us < BEFORE_MODELS, -5.0, known.logit))
    assert terms(human).site[6] == terms(level).site[6]  # a site more human than others proves nothing


def test_a_month_speaks_for_itself_beyond_its_site() -> None:
    """A site of human text that turned to machine text in its last month."""
    month = np.repeat(np.arange(12), 8)
    text = np.where(month == 11, 3.0, -4.0)
    rest = np.repeat([3.0, -4.0], 48)  # other sites, of both kinds
    known = facts([*text, *rest], host=[*np.zeros(96, int), *np.repeat([1, 2], 48)], month=[*month, *np.full(96, -1)])
    found = terms(known)
    turned, before = found.site_month[:96][month == 11], found.site_month[:96][month == 3]
    assert (turned > 1.0).all()
    assert (before < turned.min()).all()
    assert (found.of_site()[:96][month == 3] < 0).all()


def test_a_text_nobody_judged_hears_its_site() -> None:
    known = facts([*np.full(9, 5.0), *np.full(10, -5.0), np.nan], host=[*np.zeros(9, int), *np.ones(10, int), 0])
    found = terms(known)
    assert found.site[-1] > 1.0
    assert np.isnan(document_logit(known, found)[-1])
    assert pooled_logit(known, found)[-1] == found.site[-1]


def test_the_likeness_of_sites_is_that_of_a_random_effect() -> None:
    dice = np.random.default_rng(2)
    sites = np.repeat(np.arange(400), dice.integers(2, 20, 400))
    logit = dice.normal(0, 1, 400)[sites] * np.sqrt(0.3) + dice.normal(0, np.sqrt(0.7), len(sites))
    assert likeness(logit, sites) == pytest.approx(0.3, abs=0.05)
    assert likeness(dice.normal(0, 1, len(sites)), sites) < 0.03
    with pytest.raises(ValueError, match="give two sites"):
        likeness(logit[:3], np.arange(3))


def test_pooling_finds_more_and_flags_fewer_on_real_scores() -> None:
    """Sites made of the shipped anchors, held-out texts: five of one domain, or of one generator and domain."""
    table = pq.read_table(ROOT / "models" / "ai-text" / "anchors.parquet")
    machine = np.array(table["label"].to_pylist()) == "synthetic"
    made = np.array(
        [f"{d}/{g}" for d, g in zip(table["domain"].to_pylist(), table["generator"].to_pylist(), strict=True)]
    )
    logit, dice, chosen = table["logit_cheap"].to_numpy().astype(float), np.random.default_rng(0), []
    for name in np.unique(made):
        rows = np.flatnonzero(made == name)
        rows = dice.permutation(rows)[: len(rows) // 5 * 5][:200]
        chosen.append(rows.reshape(-1, 5))
    rows = np.concatenate(chosen)
    known = facts(logit[rows.ravel()], host=np.repeat(np.arange(len(rows)), 5))
    own, pooled = known.logit, pooled_logit(known, terms(known))
    of_machine = machine[rows.ravel()]
    for rate in (0.01, 0.001):
        found = [(v[of_machine] > np.quantile(v[~of_machine], 1 - rate)).mean() for v in (own, pooled)]
        assert found[1] > found[0] + 0.05
    assert (pooled[~of_machine] > 0).mean() < (own[~of_machine] > 0).mean()
    assert (pooled[of_machine] > 0).mean() > (own[of_machine] > 0).mean()
