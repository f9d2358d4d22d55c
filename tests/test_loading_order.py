"""Copies of a document lie far apart, none is lost, and the makeup of an epoch does not drift."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curator.loader import CuratedDataset
from curator.loading import order
from tests.test_loader import texts, write_run


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, order._PHASES - 1)), max_size=30), st.integers(1, 20))
def test_turns_together_give_every_copy_once(documents: list[tuple[int, int]], turns: int) -> None:
    copies, phase = np.array(documents, np.int64).reshape(-1, 2).T
    given_ = np.array([order.of_turn(copies, phase, turn, turns) for turn in range(turns)])
    assert given_.sum(0).tolist() == copies.tolist()
    assert (given_ >= copies // turns).all() and (given_ <= -(-copies // turns)).all()


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 9), st.integers(1, 6)), min_size=1, max_size=40),
    st.sampled_from([1, 2, 4, 8]),
    st.randoms(use_true_random=False),
)
def test_turns_of_a_group_are_spread_in_one_lane(groups: list[tuple[int, int]], lanes: int, random) -> None:
    rows, turns = np.array(groups, np.int64).T
    shuffled = np.array(random.sample(range(len(groups)), len(groups)), np.int64)
    group, turn = order.spread(shuffled, rows * turns, turns, lanes)
    assert sorted(zip(group.tolist(), turn.tolist(), strict=True)) == [
        (g, t) for g in range(len(groups)) for t in range(turns[g])
    ]
    if (turns == 1).all():
        assert group.tolist() == shuffled.tolist()


@settings(deadline=None)
@given(st.lists(st.integers(0, 30), min_size=1, max_size=60), st.integers(1, 9))
def test_a_window_lies_in_one_lane_or_is_one_visit(given_: list[int], lanes: int) -> None:
    samples = np.array(given_, np.int64)
    rows = samples + 1  # a group has rows, even where their weights come to nothing
    windows = order.cut(rows, rows, 1, order.lane_of(samples, lanes))
    assert np.concatenate(windows).tolist() == list(range(len(samples)))
    short, longer = divmod(int(samples.sum()), lanes)
    lane = np.repeat(np.arange(lanes), [short + (number < longer) for number in range(lanes)])
    owner = np.repeat(np.arange(len(windows)), [samples[window].sum() for window in windows])
    for number, window in enumerate(windows):
        assert len(window) == 1 or len(set(lane[owner == number].tolist())) <= 1


def places(out: Path, **settings_: int) -> dict[str, list[int]]:
    found: dict[str, list[int]] = defaultdict(list)
    for place, text in enumerate(texts(CuratedDataset(out, **settings_))):
        found[text].append(place)
    return found


@pytest.fixture(scope="module")
def weighted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """600 documents of weight 1 to 4: row groups of one weight each, and all weights mixed in every group."""
    apart = [float(1 + i * 4 // 600) for i in range(600)]
    mixed = [float(1 + i % 4) for i in range(600)]
    folder = tmp_path_factory.mktemp("weighted")
    return {
        name: write_run(folder / name, [300, 300], weights, group=5)
        for name, weights in (("apart", apart), ("mixed", mixed))
    }


@pytest.mark.parametrize("lanes", [1, 4])
@pytest.mark.parametrize("kind", ["apart", "mixed"])
def test_copies_are_a_share_of_the_epoch_apart(
    weighted: dict[str, Path], kind: str, lanes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(order, "WINDOW_ROWS", 10 * lanes)
    found = places(weighted[kind], lanes=lanes, seed=3)
    total = sum(map(len, found.values()))
    assert total == 1500
    slack = 3 * 10 * lanes / total + 0.06  # windows are mixed, and lanes are cut by samples, not by groups
    for copies in found.values():
        gaps = np.diff(copies) / total
        assert not len(gaps) or gaps.min() >= 1 / (4 if kind == "mixed" else len(copies)) - slack


@pytest.mark.parametrize("kind", ["apart", "mixed"])
def test_the_makeup_of_an_epoch_does_not_drift(
    weighted: dict[str, Path], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(order, "WINDOW_ROWS", 10)
    weights = [sample["weight"] for sample in CuratedDataset(weighted[kind], seed=1)]
    # samples of weight 1 to 4 are a tenth to four tenths
    halves = [np.bincount(np.array(part, int), minlength=5)[1:] / len(part) for part in np.array_split(weights, 2)]
    assert np.abs(np.array(halves) - [0.1, 0.2, 0.3, 0.4]).max() < 0.1


@settings(max_examples=5, deadline=None)
@given(position=st.integers(0, 1500), kind=st.sampled_from(["apart", "mixed"]), world=st.sampled_from([1, 2]))
def test_copies_far_apart_resume_exactly(weighted: dict[str, Path], position: int, kind: str, world: int) -> None:
    whole = texts(CuratedDataset(weighted[kind], seed=2, lanes=4))
    for rank in range(world):
        dataset = CuratedDataset(weighted[kind], seed=2, lanes=4, rank=rank, world=world)
        dataset.load_state_dict(json.loads(json.dumps(dataset.state_dict() | {"position": position})))
        wanted = [text for place, text in enumerate(whole) if place >= position and place % world == rank]
        assert texts(dataset) == wanted


def test_more_copies_than_turns_are_dealt_out_evenly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order, "WINDOW_ROWS", 40)
    out = write_run(tmp_path / "out", [200], [40.0] * 10 + [1.0] * 190, group=10)
    found = places(out)
    assert [len(found[f"text {i} é"]) for i in range(11)] == [40] * 10 + [1]
    assert len(CuratedDataset(out)) == 590


def test_file_order_keeps_copies_together(tmp_path: Path) -> None:
    out = write_run(tmp_path / "out", [6], [1.0, 3.0, 0.0, 2.0, 1.0, 1.0], group=2)
    wanted = [0, 1, 1, 1, 3, 3, 4, 5]
    assert texts(CuratedDataset(out, shuffle=False)) == [f"text {i} é" for i in wanted]
