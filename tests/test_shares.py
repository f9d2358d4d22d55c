"""Shares of a run by every dimension, on real scores of dated human text."""

from __future__ import annotations

import dataclasses
import datetime as dt
import itertools
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from curator import shares
from curator.anchors import Anchors
from curator.curation import Judged
from curator.decide import Rule
from curator.recipe import load
from curator.shares import SHARES, Scope, anchors_for, anchors_of, dimensions, evidence, scopes, shipped_anchors
from curator.shipped import shipped
from curator.stages.ai_text import AiText, log_odds, probability
from curator.stages.ngram import CheapOrigin, ai_text_config
from tests.judging import judged as documents

OLD = ("news_2016_2017:news", "blog_18f:gov_tech_blog", "reuters21578:newswire")
SHIPPED = shipped("models") / "ai-text"


def us(*day: int) -> int:
    return int(dt.datetime(*day, tzinfo=dt.UTC).timestamp() * 1_000_000)  # type: ignore[arg-type]


def judged(prob: np.ndarray, **given: Any) -> Judged:
    """What the conductor knows of documents with these probabilities; what is not given is blank."""
    return documents(len(prob), **{"prob_synthetic": prob, "synthetic": prob > 0.9} | given)


def labelled() -> pa.Table:
    return pq.read_table(SHIPPED / "anchors.parquet")


def without(names: tuple[str, ...]) -> Anchors:
    """The shipped anchors as if these data sets had never been seen."""
    table = labelled()
    table = table.filter(pc.invert(pc.is_in(table["domain"], pa.array(names))))
    return anchors_of(table, logits(table))


def logits(table: pa.Table) -> np.ndarray:
    line = ai_text_config()["line"]
    found, _ = log_odds({"cheap": table["logit_cheap"].to_numpy().astype(float)}, line)
    return found


def rows(found: Judged, anchors: Anchors | None, *asked: Scope) -> list[dict[str, Any]]:
    scope = asked or (Scope("input", found.readable),)
    table = shares.table(found, scope, evidence(found, anchors))
    assert table.schema == SHARES
    return table.to_pylist()


def of(found: list[dict[str, Any]], **wanted: Any) -> dict[str, Any]:
    (row,) = [r for r in found if all(r[k] == v for k, v in ({"unit": "docs"} | wanted).items())]
    return row


@pytest.mark.parametrize("domain", OLD)
@pytest.mark.parametrize("anchored", [True, False])
def test_months_before_machines_wrote_contain_no_synthetic_text(domain: str, anchored: bool) -> None:
    """Real scores of dated human text, by a basis that has nothing of its data set: every interval contains zero."""
    table = labelled()
    people = table.filter(pc.and_(pc.equal(table["domain"], domain), pc.equal(table["label"], "human")))
    prob = probability(logits(people))
    count = max(1, min(5, len(prob) // 40))
    months = np.array([us(2016, m, 5) for m in range(1, 6)])[np.arange(len(prob)) % count]
    found = rows(
        judged(prob, date_us=months, trusted=np.full(len(prob), anchored) & (np.arange(len(prob)) % 2 == 0)),
        without((domain,)),
    )
    told = [r for r in found if r["dimension"] in ("month", "all")]
    assert len(told) == 3 * (1 + count)
    for row in told:
        assert row["low"] == 0.0 and row["lower"] == 0.0 and row["high"] is not None and row["reason"] is None


def test_every_dimension_has_its_rows_and_domains_are_registered_ones() -> None:
    n, dice = 1_200, np.random.default_rng(0)
    host = ["a.example.co.uk", "b.example.co.uk", "blog.example.org", "me.github.io", "you.github.io", None]
    names = list(itertools.islice(itertools.cycle(host), n))
    found = judged(
        probability(np.where(np.arange(n) % 3 == 0, 6, -6) + dice.standard_normal(n)),
        host=pa.chunked_array([pa.array(names).dictionary_encode()]),
        date_us=np.where(np.arange(n) % 2, us(2024, 3, 1), us(2024, 4, 1)),
    )
    made = rows(found, without(OLD))
    by = {d: {r["stratum"] for r in made if r["dimension"] == d} for d in {r["dimension"] for r in made}}
    assert by == {
        "all": {"all"}, "source": {"s"}, "language": {"en"}, "month": {"2024-03", "2024-04"}, "host": {h for h in host if h},
        "domain": {"example.co.uk", "example.org", "me.github.io", "you.github.io"},
    }  # fmt: skip
    assert {r["unit"] for r in made} == {"docs", "words", "bytes"}
    assert of(made, dimension="domain", stratum="example.co.uk")["n"] == 400
    whole = of(made, dimension="all")
    assert whole["lower"] <= whole["share"] and whole["low"] <= whole["share"] <= whole["high"]
    assert whole["share"] == pytest.approx(1 / 3, abs=0.03) and whole["method"] and whole["second_method"]


def test_units_weigh() -> None:
    machine = np.arange(1_000) % 4 == 0
    prob = probability(np.where(machine, 7.0, -7.0))
    made = rows(judged(prob, text_bytes=np.where(machine, 6_000, 1_000), n_words=np.where(machine, 100, 100)), without(OLD))  # fmt: skip
    docs, words, in_bytes = (of(made, dimension="all", unit=unit) for unit in ("docs", "words", "bytes"))
    assert docs["share"] == pytest.approx(words["share"], abs=1e-6) and docs["share"] == pytest.approx(0.25, abs=0.03)
    assert in_bytes["share"] == pytest.approx(6 / 9, abs=0.04)


def test_no_basis_is_null_with_a_reason_in_every_row() -> None:
    for row in rows(judged(np.full(100, 0.2)), None):
        assert all(row[k] is None for k in ("lower", "share", "low", "high", "method", "second", "second_method"))
        assert row["reason"].startswith("no text known") and row["n_judged"] == 100


def test_hosts_of_one_kind_of_text_widen_the_interval() -> None:
    """As many documents, of twenty hosts or of a thousand: twenty know less of the next."""
    host = np.arange(2_000) % 20
    prob = probability(np.where(host < 6, 6.0, -6.0) + np.random.default_rng(0).standard_normal(2_000))
    few = [f"{h}.org" for h in host]
    many = [f"{h}.{i}.org" for i, h in enumerate(host)]
    width = []
    for names in (few, many):
        column = pa.chunked_array([pa.array(names).dictionary_encode()])
        row = of(rows(judged(prob, host=column), without(OLD)), dimension="all")
        width.append(row["high"] - row["low"])
    assert width[0] > 1.5 * width[1]


def test_a_rule_that_reads_the_detector_makes_what_is_kept_a_selection() -> None:
    n = 100
    found = judged(np.full(n, 0.5))
    every = np.ones(n, bool)
    for columns, from_whom in (
        (("n_words",), None),
        (("prob_synthetic",), True),
        (("human_p",), True),
        (("odds_date",), None),
    ):
        rule = Rule("r", f"{columns[0]} < 0.5", columns)
        by = {
            s.name: s for s in scopes(dataclasses.replace(found, rules=(rule,)), every, every, every.astype(np.int64))
        }
        assert (by["kept"].selected_from is None) == (from_whom is None)
        assert by["mixture"].selected_from is not None and by["unique"].as_a_whole


def test_a_snapshot_is_no_part_of_the_crawl_and_copies_count_in_the_mixture() -> None:
    n = 400
    snapshot = np.arange(n) < 100
    found = judged(np.where(np.arange(n) < 300, 0.01, 0.99), reference=snapshot)
    copies = np.where(snapshot, 0, np.where(np.arange(n) < 300, 4, 1))
    asked = scopes(found, np.ones(n, bool), np.ones(n, bool), copies)
    by = {
        r["scope"]: r for r in rows(found, shipped_anchors(), *asked) if r["dimension"] == "all" and r["unit"] == "docs"
    }
    assert by["input"]["n"] == by["kept"]["n"] == 300 and by["mixture"]["n"] == 300
    assert 0.2 < by["input"]["share"] < 0.4  # 100 of 300 documents
    # 100 of 900 copies; what the detector had a say in is told with care, from above
    assert by["mixture"]["share"] < 0.75 * by["input"]["share"]
    assert by["mixture"]["low"] <= 100 / 900 <= by["mixture"]["high"]


def test_the_shipped_anchors_are_grouped_and_named(tmp_path: Path) -> None:
    assert shipped_anchors(path=tmp_path / "anchors.parquet") is None
    found, every = shipped_anchors(), shipped_anchors(gate="all")
    assert found is not None and every is not None and found.name.startswith("shipped anchors (")
    human, machine = (pc.sum(pc.equal(labelled()["label"], what)).as_py() for what in ("human", "synthetic"))
    for anchors in (found, every):
        assert 0 < anchors.human.counts.sum() <= human and 0 < anchors.machine.counts.sum() <= machine
        assert len(np.unique(anchors.human.parent)) < len(anchors.human.counts) > 10  # domains within sets
        assert len(np.unique(anchors.machine.parent)) < len(anchors.machine.counts) > 10  # generators within domains


def test_dimensions_of_many_strata_keep_a_small_table() -> None:
    names = [f"{i % 900}.org" for i in range(3_000)]
    found = judged(np.full(3_000, 0.1), host=pa.chunked_array([pa.array(names).dictionary_encode()]))
    by = {name: strata for name, strata, _ in dimensions(found)}
    assert len(by["host"]) == shares.LARGEST + 1 and by["host"][-1] == "(700 smaller ones)"


def test_a_calibration_file_speaks_for_its_source_and_for_sources_without_text_of_their_own() -> None:
    """Corpora of two sources, half machine text; the human scores of both lie where no anchor's do."""
    n, dice = 2_000, np.random.default_rng(3)
    score = np.where(np.arange(n) % 2 == 0, 7.0, 1.5) + dice.standard_normal(n)
    source = pa.chunked_array([pa.array((["known"] * 2 + ["other"] * 2) * (n // 4)).dictionary_encode()])
    given = pa.table({"ai_logit": 1.5 + dice.standard_normal(400), "source": ["known"] * 200 + ["snapshot"] * 200})
    found = judged(probability(score), source=source)
    anchors = anchors_of(labelled(), logits(labelled()))
    plain = evidence(found, anchors).basis
    helped = evidence(found, anchors, given)
    assert plain is not None and helped.basis is not None and len(helped.basis.group) == n
    assert "200 trusted documents of known" in helped.basis.names and any("file" in x for x in helped.basis.names)
    tables = [
        shares.table(found, [Scope("input", found.readable)], basis).to_pylist()
        for basis in (evidence(found, anchors), helped)
    ]
    for name in ("known", "other"):
        before, after = (of(table, dimension="source", stratum=name) for table in tables)
        assert after["low"] <= 0.5 <= after["high"] and after["share"] < before["share"]
        assert after["method"] == "fitted mixture" != before["method"] and after["warning"] is None


def test_the_whole_is_the_sum_of_its_sources_where_these_can_be_told() -> None:
    n, dice = 2_000, np.random.default_rng(4)
    score = np.where(np.arange(n) < 600, 6.0, -6.0) + dice.standard_normal(n)
    names = ["machine"] * 600 + ["people"] * 1_400
    source = pa.chunked_array([pa.array(names).dictionary_encode()])
    anchors = anchors_of(labelled(), logits(labelled()))
    made = rows(judged(probability(score), source=source), anchors)
    whole, machine, people = (
        of(made, dimension=d, stratum=x) for d, x in (("all", "all"), ("source", "machine"), ("source", "people"))
    )
    for name in ("share", "lower", "low", "high"):
        assert whole[name] == pytest.approx(0.3 * machine[name] + 0.7 * people[name])
    assert whole["method"] == "sum of sources" and whole["low"] <= 0.3 <= whole["high"]
    english = of(made, dimension="language", stratum="en")  # all of it: the same sum
    assert [english[k] for k in ("share", "low", "high", "method")] == [
        whole[k] for k in ("share", "low", "high", "method")
    ]
    few = ["rare"] * 20 + ["people"] * 1_980  # too few to be told, but hardly any
    other = rows(judged(probability(score), source=pa.chunked_array([pa.array(few).dictionary_encode()])), anchors)
    assert of(other, dimension="all")["method"] != "sum of sources"


def test_what_a_mixture_left_out_still_tells_what_it_was_drawn_from() -> None:
    """Copies count after the draw: before it every document counts once, or the machine text that hid would not be missed."""
    dice = np.random.default_rng(7)
    machine = np.arange(4_000) % 2 == 0
    score = np.where(machine, 2.0, -2.0) + 1.5 * dice.standard_normal(4_000)
    anchors = anchors_of(labelled(), logits(labelled()))
    drawn = score < np.quantile(score, 0.4)
    every, found = np.ones(4_000, bool), judged(probability(score), trusted=~machine & (np.arange(4_000) % 8 == 1))
    once = Scope("mixture", drawn, every)
    copies = [dataclasses.replace(once, copies=drawn * times) for times in (1, 3)]
    told = [of(rows(found, anchors, scope), dimension="all") for scope in (once, *copies)]
    assert (
        told[0]["share"] == pytest.approx(told[1]["share"]) == pytest.approx(told[2]["share"]) and told[0]["share"] > 0
    )
    assert told[0]["low"] <= machine[drawn].mean() <= told[0]["high"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A user's detector: the shipped one's lines, and anchors of one domain and one generator, far apart."""
    shutil.copyfile(SHIPPED / "config.toml", tmp_path / "config.toml")
    dice = np.random.default_rng(5)
    machine = np.arange(600) % 2 == 0
    rows = {
        "label": np.where(machine, "synthetic", "human"), "domain": ["home"] * 600, "n_words": np.full(600, 200, np.int32),
        "generator": np.where(machine, "mine", ""), "logit_cheap": np.where(machine, 5.0, -5.0) + dice.standard_normal(600),
        "logit_encoder": pa.nulls(600, pa.float32()),
    }  # fmt: skip
    pq.write_table(pa.table(rows), tmp_path / "anchors.parquet")
    return tmp_path


def stages_of(detector: str, **ai_text: Any) -> Any:
    return (CheapOrigin(detector=detector), AiText(detector=detector, **ai_text))


def test_shares_rest_on_the_anchors_of_the_detector_that_judged(folder: Path) -> None:
    own, default = anchors_for(stages_of(str(folder))), anchors_for(load("default").stages)
    assert own is not None and default is not None and default.name.startswith("shipped anchors (")
    assert own.name == f"anchors of {folder.name} (300 human texts, 1 domain)" and own.machine.counts.sum() == 300
    assert (own.machine.density() != default.machine.density()).any() and own.alike is not None
    assert anchors_for(()) is None
    (folder / "anchors.parquet").unlink()
    assert anchors_for(stages_of(str(folder))) is None


def test_without_an_encoder_no_anchor_waits_for_its_word(folder: Path) -> None:
    """Scores inside the gate are final where no stage embed is there to look again."""
    table = labelled()
    cheap_only = anchors_for((CheapOrigin(), AiText()))
    assert cheap_only is not None and cheap_only.human.counts.sum() + cheap_only.machine.counts.sum() == table.num_rows


def test_a_folder_of_one_generator_borrows_how_generators_differ(folder: Path) -> None:
    """Machine text of a generator that scores lower than the one learnt from: the interval knows of such."""
    own = anchors_for(stages_of(str(folder)))
    assert own is not None
    dice = np.random.default_rng(6)
    machine = np.arange(3_000) % 2 == 0
    prob = probability(np.where(machine, 4.0, -6.0) + dice.standard_normal(3_000))
    trusted = ~machine & (np.arange(3_000) % 5 == 1)
    alone = dataclasses.replace(own, alike=None)
    told = [of(rows(judged(prob, trusted=trusted), a), dimension="all") for a in (own, alone)]
    assert told[0]["low"] <= 0.5 <= told[0]["high"] and told[0]["share"] == pytest.approx(0.5, abs=0.05)
    assert not told[1]["low"] <= 0.5 <= told[1]["high"]


def test_a_tier_that_the_anchors_lack_is_told_with_every_share(folder: Path) -> None:
    prob = np.repeat([0.01, 0.99], 200)
    for detector in (str(folder), "default"):
        anchors = anchors_for(stages_of(detector, surprisal=True))
        assert anchors is not None
        row = of(rows(judged(prob), anchors), dimension="all")
        assert row["warning"].startswith(shares.UNTIERED) and anchors.kind in row["warning"]
