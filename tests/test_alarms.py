"""Alarms are loud where a person should look, and name the setting to change."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from curator import alarms, prevalence
from curator.ledger import OUTCOMES
from curator.recipe import from_dict
from curator.shares import shipped_anchors
from tests.judging import judged

RECIPE = from_dict({"stages": {"text_stats": {}}, "mixture": {"max_synthetic": 1.0}, "alarms": {"idle_from": 10}})


def raised(outcome: list[str], fired: dict[str, int], flagged: list[bool] | None = None) -> dict[str, str]:
    """Alarms of a corpus whose first half is of source a, the rest of source b."""
    n = len(outcome)
    codes = np.array([OUTCOMES.index(o) for o in outcome], np.uint8)
    known = judged(
        n,
        readable=codes != 0,
        broken=codes == 0,
        fired=fired,
        source=pa.chunked_array([pa.array(["a"] * (n // 2) + ["b"] * (n - n // 2)).dictionary_encode()]),
        prob_synthetic=np.zeros(n),
        synthetic=np.zeros(n, bool) if flagged is None else np.array(flagged),
    )
    return {alarm.kind: alarm.message for alarm in alarms.raised(RECIPE, known, codes)}


def test_a_quiet_run_has_no_alarm() -> None:
    assert raised(["curated"] * 10, {"short": 1}) == {}


def test_a_rule_that_drops_most_and_one_that_drops_nothing() -> None:
    found = raised(["dropped"] * 6 + ["curated"] * 4, {"short": 6, "idle": 0})
    assert "rule short drops 6 of 10" in found["rule_over"] and "--set short=" in found["rule_over"]
    assert "idle" in found["rule_idle"]
    assert "source 'a' loses 5 of its 5 documents" in found["source_lost"]
    assert "rule_idle" not in raised(["curated"] * 9, {"short": 1, "idle": 0})  # too few to expect every fault


def test_sources_that_are_lost_are_one_alarm() -> None:
    found = raised(["dropped"] * 10, {"short": 10})["source_lost"]
    assert found.startswith("2 sources: 'a' loses 5 of its 5 documents, 'b' loses 5 of its 5 documents (")


def test_quarantine_and_an_empty_mixture() -> None:
    found = raised(["quarantined"] * 2 + ["dropped"] * 8, {"short": 1})
    assert "2 of 10 documents could not be read" in found["quarantine_over"] and "nothing_curated" in found


def test_a_cap_that_costs_the_human_text() -> None:
    found = raised(["left_out"] * 7 + ["curated"] * 3, {"short": 1})
    assert "holds only 3 of the 10 kept documents that were not flagged" in found["human_under"]
    assert "human_under" not in raised(["left_out"] * 7 + ["curated"] * 3, {"short": 1}, [True] * 7 + [False] * 3)


def test_a_source_that_declares_what_was_not_measured() -> None:
    def row(name: str, share: float | None, low: float, high: float, **declared: int) -> dict[str, Any]:
        counts = {"declared_human": 0, "declared_synthetic": 0} | declared
        return {
            "scope": "input",
            "dimension": "source",
            "unit": "docs",
            "stratum": name,
            "n": 100,
            "share": share,
            "low": low,
            "high": high,
        } | counts

    table = pa.Table.from_pylist(
        [
            row("honest", 0.01, 0.0, 0.1, declared_human=100),
            row("laundered", 0.6, 0.4, 0.9, declared_human=100),
            row("modest", 0.05, 0.0, 0.2, declared_synthetic=100),
            row("silent", 0.9, 0.8, 1.0),
            row("machine", 0.9, 0.8, 1.0, declared_synthetic=90),
            row("unknown", None, 0.0, 0.0, declared_human=100),
        ]
    )
    assert [a.message.split("'")[1] for a in alarms.disagreements(table)] == ["laundered", "modest"]


def test_two_estimators_that_disagree_are_one_alarm_for_each_stratum() -> None:
    def row(dimension: str, name: str, scope: str, warning: str | None) -> dict[str, Any]:
        estimate = {"share": 0.1, "low": 0.05, "high": 0.2, "method": "fitted mixture", "second": 0.6}
        declared = {"declared_human": 0, "declared_synthetic": 0, "n": 100}
        named = {"dimension": dimension, "stratum": name, "scope": scope, "unit": "docs", "second_method": "Storey"}
        return named | estimate | declared | {"warning": warning}

    anchors = shipped_anchors()
    none, documents = np.zeros(1, np.bool_), prevalence.Documents.of(np.zeros(1, np.bool_), np.zeros(1))
    basis = prevalence.basis_of(none, documents, np.zeros(1, np.int64), ["a"], anchors)
    assert basis
    said = prevalence._warning(basis, 0.5, 0.6, 0.05, 0.2)
    assert said
    rows = [row("all", "all", "input", None), row("host", "h", "input", said), row("source", "calm", "input", None)]
    rows += [row("source", "web's", scope, said) for scope in ("input", "kept")]
    (alarm,) = alarms.disagreements(pa.Table.from_pylist(rows))
    assert alarm.kind == "estimators_disagree" and "\n" not in alarm.message
    assert "(input, kept): 10% (5% to 20%) by fitted mixture, 60% by Storey" in alarm.message
    assert "curator sql OUT" in alarm.message
