"""The loader gives every document once, in an order that can be taken up again at any document."""

from __future__ import annotations

import hashlib
import itertools
import json
import pickle
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curator.errors import InputError
from curator.loader import STANDARD, CuratedDataset
from curator.loading import files, order
from curator.uuids import letters
from tests.conftest import ROOT, Finished

# torch warns of more workers than the machine has cores; the tests' worker counts are not about speed
pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")
FINGERPRINT = "0123456789abcdef"


def write_run(
    out: Path,
    files: Sequence[int],
    weights: Sequence[float | None] | None = None,
    group: int = 7,
    fingerprint: str = FINGERPRINT,
    drop: Sequence[str] = (),
    written: bool = False,
) -> Path:
    """A finished run whose mixture has files of so many rows; texts are numbered through; ids written out or 16 bytes."""
    (out / "mixture").mkdir(parents=True)
    entries: dict[str, Any] = {"audit.duckdb": {"content": "x"}, "ledger/0.parquet": {"sha256": "x", "bytes": 1}}
    first = 0
    for number, rows in enumerate(files):
        span = range(first, first + rows)
        ids_ = pa.array([uuid.UUID(int=i * 0x9E3779B97F4A7C15 + 1).bytes for i in span], pa.binary(16))
        table = pa.table(
            {
                "doc_id": letters(ids_) if written else pa.ExtensionArray.from_storage(pa.uuid(), ids_),
                "source": pa.array([f"source {i % 3}" for i in span], pa.string()),
                "text": pa.array([f"text {i} é" for i in span], pa.large_string()),
                "date": pa.array([i * 10**12 for i in span], pa.timestamp("us", tz="UTC")),
                "prob_synthetic": pa.array([None if i % 4 == 0 else i / 1000 for i in span], pa.float64()),
                "cluster": pa.ExtensionArray.from_storage(pa.uuid(), ids_),
                "stratum": pa.array([None if i % 5 == 0 else "news" for i in span], pa.string()),
                "weight": pa.array([weights[i] for i in span] if weights else [1.0] * rows, pa.float64()),
                "votes": pa.array([None if i % 2 else i for i in span], pa.int64()),
            }
        ).drop_columns(list(drop))
        path = out / "mixture" / f"{number:06}.parquet"
        pq.write_table(table, path, compression="zstd", row_group_size=group)
        entries[f"mixture/{path.name}"] = {"sha256": str(number), "bytes": path.stat().st_size, "rows": rows}
        first += rows
    (out / "manifest.json").write_text(json.dumps({"format": 1, "fingerprint": fingerprint, "files": entries}))
    return out


def texts(samples: Iterator[dict[str, Any]] | CuratedDataset) -> list[str]:
    return [sample["text"] for sample in samples]


def numbered(n: int) -> list[str]:
    return [f"text {i} é" for i in range(n)]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """100 documents in three files, 16 row groups, about 5 windows."""
    monkeypatch.setattr(order, "WINDOW_ROWS", 20)
    return write_run(tmp_path / "out", [40, 1, 59])


def test_a_sample_says_what_the_mixture_says(run: Path) -> None:
    dataset = CuratedDataset(run, shuffle=False, columns=["votes", "cluster", "date", "source"])
    samples = list(dataset)
    assert [tuple(sample) for sample in samples] == [(*STANDARD, "votes", "cluster", "date")] * 100
    stored = pq.read_table(run / "mixture").to_pylist()
    for sample, row in zip(samples, stored, strict=True):
        wanted = {name: row[name] for name in sample} | {"doc_id": str(row["doc_id"]), "cluster": str(row["cluster"])}
        assert sample == wanted
        assert all(type(sample[name]) is type(wanted[name]) for name in sample)


def test_file_order_without_shuffling(run: Path) -> None:
    assert texts(CuratedDataset(run, shuffle=False)) == numbered(100)


def test_shuffling_keeps_every_document_and_is_thorough(run: Path) -> None:
    dataset = CuratedDataset(run)
    assert len(dataset) == 100
    found = texts(dataset)
    assert sorted(found) == sorted(numbered(100))
    neighbours = sum(abs(int(a.split()[1]) - int(b.split()[1])) == 1 for a, b in itertools.pairwise(found))
    assert neighbours < 25


def test_the_order_hangs_on_seed_and_epoch_alone(run: Path) -> None:
    orders = {(s, e): texts(CuratedDataset(run, seed=s, epoch=e)) for s in (0, 1) for e in (0, 1)}
    assert len({tuple(order) for order in orders.values()}) == 4
    assert texts(CuratedDataset(run, seed=1, epoch=1)) == orders[1, 1]
    dataset = CuratedDataset(run, seed=1)
    dataset.set_epoch(1)
    assert texts(dataset) == orders[1, 1]


def test_a_second_loop_is_the_next_epoch(run: Path) -> None:
    dataset = CuratedDataset(run, seed=3)
    first, second = texts(dataset), texts(dataset)
    assert dataset.epoch == 2
    assert first != second == texts(CuratedDataset(run, seed=3, epoch=1))


@pytest.mark.parametrize("world", [1, 2, 3, 7, 150])
def test_every_sample_goes_to_exactly_one_rank(run: Path, world: int) -> None:
    ranks = [CuratedDataset(run, rank=rank, world=world) for rank in range(world)]
    sizes = [len(rank) for rank in ranks]
    shares = [texts(rank) for rank in ranks]
    assert [len(share) for share in shares] == sizes
    assert sorted(itertools.chain(*shares)) == sorted(numbered(100))
    whole = texts(CuratedDataset(run))
    assert all(share == whole[rank::world] for rank, share in enumerate(shares))


@pytest.mark.parametrize("shuffle", [True, False])
def test_resume_at_every_position_gives_the_rest(run: Path, shuffle: bool) -> None:
    whole = texts(CuratedDataset(run, seed=5, rank=1, world=2, shuffle=shuffle))
    taking = CuratedDataset(run, seed=5, rank=1, world=2, shuffle=shuffle)
    running = iter(taking)
    later = texts(CuratedDataset(run, seed=5, rank=1, world=2, shuffle=shuffle, epoch=1))
    for taken in range(len(whole) + 1):
        state = json.loads(json.dumps(taking.state_dict()))
        fresh = CuratedDataset(run, seed=5, rank=1, world=2, shuffle=shuffle)
        fresh.load_state_dict(state)
        assert texts(fresh) == whole[taken:]
        if taken % 10 == 0:
            assert texts(fresh) == later
        next(running, None)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    old=st.integers(1, 6),
    new=st.integers(1, 6),
    each=st.integers(0, 20),
    then=st.integers(0, 4),
    last=st.integers(1, 5),
)
def test_the_world_may_change_its_size(run: Path, old: int, new: int, each: int, then: int, last: int) -> None:
    def go_on(state: dict[str, Any] | None, world: int, take: int | None) -> tuple[list[str], dict[str, Any]]:
        seen, states = [], []
        for rank in range(world):
            dataset = CuratedDataset(run, seed=2, rank=rank, world=world)
            if state is not None:
                dataset.load_state_dict(state)
            running = iter(dataset)
            seen += texts(running if take is None else (next(running) for _ in range(take)))
            states.append(dataset.state_dict())
        assert all(other == states[0] for other in states)
        return seen, states[0]

    each = min(each, 100 // old)
    first, state = go_on(None, old, each)
    second, state = go_on(state, new, min(then, (100 - old * each) // new))
    third, _ = go_on(state, last, None)
    assert sorted(first + second + third) == sorted(numbered(100))


def test_a_loop_that_was_left_does_not_move_the_dataset(run: Path) -> None:
    dataset = CuratedDataset(run)
    whole = texts(CuratedDataset(run))
    left = iter(dataset)
    assert [next(left)["text"] for _ in range(3)] == whole[:3]
    running = iter(dataset)
    assert next(running)["text"] == whole[3]
    next(left)
    assert dataset.state_dict()["position"] == 4
    dataset.set_epoch(dataset.epoch)
    assert texts(dataset) == whole[4:]


def test_setting_another_epoch_begins_it(run: Path) -> None:
    dataset = CuratedDataset(run)
    next(iter(dataset))
    dataset.set_epoch(4)
    assert dataset.state_dict()["epoch"] == 4 and dataset.state_dict()["position"] == 0
    assert texts(dataset) == texts(CuratedDataset(run, epoch=4))


def test_another_manifest_is_refused_with_both_fingerprints(run: Path, tmp_path: Path) -> None:
    other = write_run(tmp_path / "other", [100], fingerprint="fedcba9876543210")
    state = CuratedDataset(run).state_dict()
    with pytest.raises(InputError, match=rf"{FINGERPRINT}.*fedcba9876543210"):
        CuratedDataset(other).load_state_dict(state)


def test_the_same_run_in_other_bytes_is_refused(run: Path, tmp_path: Path) -> None:
    other = write_run(tmp_path / "other", [60, 40])
    with pytest.raises(InputError, match="other bytes"):
        CuratedDataset(other).load_state_dict(CuratedDataset(run).state_dict())


def test_another_seed_or_order_and_no_state_are_refused(run: Path) -> None:
    state = CuratedDataset(run, seed=1).state_dict()
    with pytest.raises(InputError, match=r"seed 1.*has 2"):
        CuratedDataset(run, seed=2).load_state_dict(state)
    with pytest.raises(InputError, match=r"shuffle True.*False"):
        CuratedDataset(run, seed=1, shuffle=False).load_state_dict(state)
    with pytest.raises(InputError, match="position is 'x'"):
        CuratedDataset(run, seed=1).load_state_dict(state | {"position": "x"})
    with pytest.raises(InputError, match="101 of an epoch of 100"):
        CuratedDataset(run, seed=1).load_state_dict(state | {"position": 101})
    with pytest.raises(InputError, match="lacks epoch"):
        CuratedDataset(run, seed=1).load_state_dict({k: v for k, v in state.items() if k != "epoch"})


def test_an_unfinished_run_is_refused(run: Path, tmp_path: Path) -> None:
    (run / "manifest.json").unlink()
    with pytest.raises(InputError, match="same `curator filter` again, it does only the rest"):
        CuratedDataset(run)
    with pytest.raises(InputError, match="same `curator filter` again"):
        CuratedDataset(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"format": 1}', '{"format": 2, "fingerprint": "x", "files": {}}', "\xff"]
)
def test_a_manifest_that_is_none_is_refused(run: Path, text: str) -> None:
    (run / "manifest.json").write_text(text, encoding="latin-1")
    with pytest.raises(InputError, match=r"manifest\.json"):
        CuratedDataset(run)


def test_a_missing_and_a_cut_file_are_refused(run: Path) -> None:
    path = run / "mixture" / "000001.parquet"
    raw = path.read_bytes()
    path.write_bytes(raw[:-1])
    with pytest.raises(InputError, match=rf"000001\.parquet has {len(raw) - 1:,} bytes.*{len(raw):,}.*curator verify"):
        CuratedDataset(run)
    path.unlink()
    with pytest.raises(InputError, match=r"000001\.parquet.*cannot be found.*curator verify"):
        CuratedDataset(run)


def test_more_files_than_are_kept_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_OPEN", 2)
    dataset = CuratedDataset(write_run(tmp_path / "out", [10] * 6, group=2))
    assert sorted(texts(dataset)) == sorted(numbered(60))
    assert list(pickle.loads(pickle.dumps(dataset))) == list(dataset)


def test_threads_read_side_by_side(run: Path) -> None:
    mixture = CuratedDataset(run)._mixture
    groups = list(range(len(mixture.groups.rows))) * 20
    with ThreadPoolExecutor(4) as pool:
        found = pool.map(lambda group: mixture.read(group, ["text"])["text"].to_pylist(), groups)
    assert list(itertools.chain(*found)) == numbered(100) * 20


def test_damage_of_equal_size_is_an_input_error(run: Path) -> None:
    path = run / "mixture" / "000002.parquet"
    raw = bytearray(path.read_bytes())
    raw[4:2000] = b"\0" * 1996
    path.write_bytes(raw)
    with pytest.raises(InputError, match=r"000002\.parquet cannot be read.*curator verify"):
        list(CuratedDataset(run))
    path.write_bytes(b"\0" * len(raw))
    with pytest.raises(InputError, match=r"000002\.parquet cannot be read"):
        CuratedDataset(run)


@pytest.mark.parametrize("files", [[], [0], [0, 0]])
def test_an_empty_mixture_gives_nothing(tmp_path: Path, files: list[int]) -> None:
    dataset = CuratedDataset(write_run(tmp_path / "out", files), rank=1, world=2)
    assert len(dataset) == 0
    assert list(dataset) == []
    dataset.load_state_dict(dataset.state_dict())
    assert dataset.state_dict()["position"] == 0


@pytest.mark.parametrize("files", [[1], [2], [1, 0, 1], [5, 1]])
def test_tiny_mixtures(tmp_path: Path, files: list[int]) -> None:
    out = write_run(tmp_path / "out", files)
    assert sorted(texts(CuratedDataset(out))) == numbered(sum(files))
    assert sorted(texts(CuratedDataset(out, world=2)) + texts(CuratedDataset(out, rank=1, world=2))) == numbered(
        sum(files)
    )


def test_one_file_or_many_hold_the_same_documents(tmp_path: Path) -> None:
    one = write_run(tmp_path / "one", [90], group=1024)
    many = write_run(tmp_path / "many", [10] * 9)
    assert texts(CuratedDataset(one, shuffle=False)) == texts(CuratedDataset(many, shuffle=False)) == numbered(90)
    assert sorted(texts(CuratedDataset(one))) == sorted(texts(CuratedDataset(many)))


def test_absent_columns_are_none_and_unknown_ones_refused(run: Path, tmp_path: Path) -> None:
    bare = write_run(tmp_path / "bare", [9], drop=["source", "stratum", "prob_synthetic", "weight", "votes"])
    sample = next(iter(CuratedDataset(bare, shuffle=False)))
    assert sample == {
        "text": "text 0 é",
        "doc_id": str(uuid.UUID(int=1)),
        "source": None,
        "stratum": None,
        "prob_synthetic": None,
        "weight": None,
    }
    with pytest.raises(InputError, match=r"no column votes.*doc_id, text, date"):
        CuratedDataset(bare, columns=["votes"])
    with pytest.raises(InputError, match="list of names"):
        CuratedDataset(run, columns="votes")


@pytest.mark.parametrize(("rank", "world"), [(1, 1), (-1, 2), (0, 0)])
def test_a_rank_outside_the_world_is_refused(run: Path, rank: int, world: int) -> None:
    with pytest.raises(InputError, match="rank"):
        CuratedDataset(run, rank=rank, world=world)


def test_whole_weights_are_copies(tmp_path: Path) -> None:
    weights = [float(i % 4) for i in range(60)]
    dataset = CuratedDataset(write_run(tmp_path / "out", [60], weights))
    assert len(dataset) == sum(weights)
    assert Counter(texts(dataset)) == Counter({f"text {i} é": i % 4 for i in range(60) if i % 4})


def test_a_remainder_is_drawn_anew_each_epoch_and_comes_to_the_weight(tmp_path: Path) -> None:
    weights = [2.3] * 400 + [0.25] * 400 + [1.0] * 200
    out = write_run(tmp_path / "out", [1000], weights, group=100)
    seen: Counter[str] = Counter()
    for epoch in range(40):
        dataset = CuratedDataset(out, epoch=epoch, seed=9)
        length = len(dataset)
        once = Counter(texts(dataset))
        assert sum(once.values()) == length
        assert set(once.values()) <= {1, 2, 3}
        assert all(once[f"text {i} é"] in (2, 3) for i in range(400))
        seen += once
    mean = [
        np.mean([seen[f"text {i} é"] for i in span]) / 40 for span in (range(400), range(400, 800), range(800, 1000))
    ]
    # 16,000 draws: standard errors 0.0036 and 0.0034
    assert mean == pytest.approx([2.3, 0.25, 1.0], abs=0.015)
    assert len({seen[f"text {i} é"] for i in range(400)}) > 5  # not the same documents every time


def test_resume_and_ranks_hold_with_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order, "WINDOW_ROWS", 10)
    weights = [(i % 7) / 2 for i in range(50)]
    out = write_run(tmp_path / "out", [30, 20], weights)
    whole = texts(CuratedDataset(out))
    assert [whole[rank::3] for rank in range(3)] == [
        texts(CuratedDataset(out, rank=rank, world=3)) for rank in range(3)
    ]
    for position in range(len(whole) + 1):
        dataset = CuratedDataset(out)
        dataset.load_state_dict(dataset.state_dict(taken=position))
        assert texts(dataset) == whole[position:]


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf")])
def test_a_weight_that_is_none_is_refused(tmp_path: Path, weight: float) -> None:
    with pytest.raises(InputError, match="weights below 0 or not finite"):
        list(CuratedDataset(write_run(tmp_path / "out", [3], [1.0, weight, 1.0])))


def test_a_null_weight_counts_once(tmp_path: Path) -> None:
    assert sorted(texts(CuratedDataset(write_run(tmp_path / "out", [3], [2.0, None, 0.0])))) == ["text 0 é"] * 2 + [
        "text 1 é"
    ]


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 3000), st.integers(1, 60 << 20)), max_size=60))
def test_a_window_holds_no_more_than_it_may(groups: list[tuple[int, int]]) -> None:
    rows, size = np.array(groups, dtype=np.int64).reshape(-1, 2).T
    windows = order.cut(rows, size)
    assert [int(g) for window in windows for g in window] == list(range(len(groups)))
    for window, later in itertools.zip_longest(windows, windows[1:]):
        assert rows[window[:-1]].sum() < order.WINDOW_ROWS
        assert len(window) == 1 or size[window].sum() <= order.WINDOW_BYTES
        full = later is None or rows[window].sum() >= order.WINDOW_ROWS
        assert full or size[window].sum() + size[later[0]] > order.WINDOW_BYTES


def test_a_run_of_curator_filter_is_read_whole(finished_run: Finished) -> None:
    stored = pq.read_table(finished_run.out / "mixture")
    samples = list(CuratedDataset(finished_run.out, columns=["url"]))
    assert len(samples) == stored.num_rows > 0
    key = {str(row["doc_id"]): row for row in stored.to_pylist()}
    assert {s["doc_id"] for s in samples} == set(key)
    assert all(s["text"] == key[s["doc_id"]]["text"] and s["url"] == key[s["doc_id"]]["url"] for s in samples)


def test_no_detector_comes_with_the_loader(run: Path) -> None:
    code = (
        "import sys; from curator.loader import CuratedDataset; from curator.errors import InputError\n"
        f"dataset = CuratedDataset({str(run)!r}); assert len(list(dataset)) == 100\n"
        "try: dataset.as_torch()\n"
        "except InputError as error: assert 'import torch' in str(error)\n"
        "else: raise SystemExit('as_torch went without torch')\n"
        "print(*sorted({name.split('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    heavy = {  # not pandas: pyarrow itself imports it where it is installed
        "torch",
        "numba",
        "duckdb",
        "fasttext",
        "sentence_transformers",
        "click",
        "datasketch",
        "safetensors",
    }
    assert not heavy & set(done.stdout.split())


def _batch(samples: list[dict[str, Any]]) -> list[str]:
    return [sample["text"] for sample in samples]


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_torch_workers_share_a_rank_without_loss_or_repeat(run: Path, context: str) -> None:
    torch = pytest.importorskip("torch")
    found = []
    for rank in range(2):
        view = CuratedDataset(run, rank=rank, world=2).as_torch()
        assert isinstance(view, torch.utils.data.IterableDataset)
        data = torch.utils.data.DataLoader(
            view, batch_size=4, num_workers=2, collate_fn=_batch, multiprocessing_context=context
        )
        got = [text for batch in data for text in batch]
        assert len(got) == len(view) == 50
        found += got
    assert sorted(found) == sorted(numbered(100))


def test_the_main_process_resumes_what_torch_workers_took(run: Path) -> None:
    torch = pytest.importorskip("torch")

    def batches(view: Any, workers: int) -> Iterator[list[str]]:
        yield from torch.utils.data.DataLoader(view, batch_size=5, num_workers=workers, collate_fn=_batch)

    view = CuratedDataset(run, seed=4).as_torch()
    running = batches(view, 2)
    taken = [text for _ in range(4) for text in next(running)]  # two rounds of two workers
    running.close()
    state = view.state_dict(taken=len(taken))
    assert state["position"] == 20
    for workers in (0, 2):
        again = CuratedDataset(run, seed=4).as_torch()
        again.load_state_dict(state)
        rest = [text for batch in batches(again, workers) for text in batch]
        assert sorted(taken + rest) == sorted(numbered(100))


def test_a_worker_resumes_its_own_state(run: Path) -> None:
    """StatefulDataLoader keeps a state for every worker and gives it back to the same worker, in step or not."""
    torch = pytest.importorskip("torch")

    class Telling(torch.utils.data.IterableDataset):  # type: ignore[misc, name-defined, unused-ignore]
        def __init__(self, states: dict[int, Any]) -> None:
            self.states = states

        def __iter__(self) -> Iterator[tuple[int, str, dict[str, Any]]]:
            worker = torch.utils.data.get_worker_info().id
            dataset = CuratedDataset(run, rank=1, world=2)
            if worker in self.states:
                dataset.load_state_dict(self.states[worker])
            for sample in dataset:
                yield worker, sample["text"], dataset.state_dict()

    def told(states: dict[int, Any]) -> list[tuple[int, str, dict[str, Any]]]:
        telling = Telling(states)
        return list(
            torch.utils.data.DataLoader(telling, batch_size=None, num_workers=3, multiprocessing_context="fork")
        )

    by_worker: dict[int, list[Any]] = {0: [], 1: [], 2: []}
    for worker, text, state in told({}):
        by_worker[worker].append((text, state))
    keep = {0: 1, 1: 9, 2: 4}
    before = [text for worker, n in keep.items() for text, _ in by_worker[worker][:n]]
    after = [text for _, text, _ in told({worker: by_worker[worker][n - 1][1] for worker, n in keep.items()})]
    assert sorted(before + after) == sorted(texts(CuratedDataset(run, rank=1, world=2)))


@pytest.fixture
def wide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """203 documents in 30 row groups; 4 lanes are asked for, windows hold about 10 rows."""
    monkeypatch.setattr(order, "WINDOW_ROWS", 40)
    return write_run(tmp_path / "wide", [90, 113])


@pytest.mark.parametrize("lanes", [1, 2, 3, 4, 8, 250])
@pytest.mark.parametrize("world", [1, 2, 3, 4, 6, 8])
def test_lanes_change_no_rule_of_ranks(wide: Path, lanes: int, world: int) -> None:
    whole = texts(CuratedDataset(wide, lanes=lanes))
    assert sorted(whole) == sorted(numbered(203))
    ranks = [CuratedDataset(wide, rank=rank, world=world, lanes=lanes) for rank in range(world)]
    assert [texts(rank) for rank in ranks] == [whole[rank::world] for rank in range(world)]
    for position in (0, 1, 77, 202, 203):
        for rank in ranks:
            rank.load_state_dict(rank.state_dict() | {"epoch": 0, "position": position})
        assert sorted(itertools.chain(*map(texts, ranks))) == sorted(whole[position:])


@pytest.fixture
def groups_read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Which row groups are read, one after the other."""
    seen: list[int] = []
    reading = files.Mixture.read

    def noting(mixture: files.Mixture, group: int, columns: Sequence[str], many: int = 1) -> pa.Table:
        seen.extend(range(group, group + many))
        return reading(mixture, group, columns, many)

    monkeypatch.setattr(files.Mixture, "read", noting)
    return seen


@pytest.mark.parametrize(("lanes", "world", "share"), [(4, 4, 4), (4, 2, 2), (4, 1, 1), (4, 3, 1), (4, 8, 4)])
def test_a_rank_reads_only_its_lanes(wide: Path, lanes: int, world: int, share: int, groups_read: list[int]) -> None:
    groups = 30
    for rank in range(world):
        groups_read.clear()
        found = texts(CuratedDataset(wide, rank=rank, world=world, lanes=lanes))
        assert len(found) == len(CuratedDataset(wide, rank=rank, world=world))
        # the group at the end of a lane is read by its neighbour too
        assert len(groups_read) <= groups / share + 2 * lanes / share


def test_lanes_fit_the_mixture(wide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert CuratedDataset(wide).lanes == 1  # 30 row groups: a lane has at least 16
    assert CuratedDataset(wide, shuffle=False).lanes == 1
    monkeypatch.setattr(order, "_LANE_GROUPS", 4)
    assert CuratedDataset(wide).lanes == 4
    monkeypatch.setattr(order, "WINDOW_ROWS", 100)
    assert CuratedDataset(wide).lanes == 2
    monkeypatch.setattr(order, "WINDOW_BYTES", 10)
    assert CuratedDataset(wide).lanes == 1
    with pytest.raises(InputError, match="lanes is 0"):
        CuratedDataset(wide, lanes=0)
    with pytest.raises(InputError, match="leave lanes out"):
        CuratedDataset(wide, lanes=2, shuffle=False)
    with pytest.raises(InputError, match=r"lanes 4.*has 2"):
        CuratedDataset(wide, lanes=2).load_state_dict(CuratedDataset(wide, lanes=4).state_dict())


@pytest.mark.parametrize(("lanes", "pinned"), [(1, "0c0ee4b3bcdaec65"), (4, "d85197c600e53d66")])
def test_the_order_is_that_of_the_states_format(wide: Path, lanes: int, pinned: str) -> None:
    """Another order needs another `_STATE_FORMAT`: else a state from before would go on in the wrong place."""
    dataset = CuratedDataset(wide, seed=1, lanes=lanes)
    assert dataset.state_dict()["format"] == 4
    assert hashlib.sha256("\n".join(texts(dataset)).encode()).hexdigest()[:16] == pinned


def test_the_state_of_an_older_curator_is_refused(run: Path) -> None:
    old = {k: v for k, v in CuratedDataset(run).state_dict().items() if k != "lanes"} | {"format": 1}
    with pytest.raises(InputError, match=r"format 1, .* has 4.*another version of curator"):
        CuratedDataset(run).load_state_dict(old)


@pytest.mark.parametrize("lanes", [1, 4])
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_batches_are_the_samples(wide: Path, lanes: int, size: int) -> None:
    whole = texts(CuratedDataset(wide, lanes=lanes, rank=1, world=2))
    dataset = CuratedDataset(wide, lanes=lanes, rank=1, world=2, columns=["votes"])
    found: list[str] = []
    for batch in dataset.batches(size):
        assert batch.schema.names == [*STANDARD, "votes"]
        assert batch.num_rows == min(size, len(whole) - len(found))
        found += batch["text"].to_pylist()
        fresh = CuratedDataset(wide, lanes=lanes, rank=1, world=2)
        fresh.load_state_dict(dataset.state_dict())
        if size > 1 or len(found) % 40 == 1:
            assert texts(fresh) == whole[len(found) :]
    assert found == whole
    assert dataset.epoch == 1


def test_batches_of_files_with_other_columns_have_one_schema(tmp_path: Path) -> None:
    out = write_run(tmp_path / "out", [10, 10], group=5)
    path = out / "mixture" / "000001.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["stratum", "votes"]), path)
    manifest = json.loads((out / "manifest.json").read_text())
    manifest["files"]["mixture/000001.parquet"]["bytes"] = path.stat().st_size
    (out / "manifest.json").write_text(json.dumps(manifest))
    schemas = {str(batch.schema) for batch in CuratedDataset(out, columns=["votes"]).batches(3)}
    assert len(schemas) == 1
    assert sorted(texts(CuratedDataset(out))) == sorted(numbered(20))


def test_a_weight_is_counted_exactly(tmp_path: Path) -> None:
    """0.0005 gives 0.00050, 0.25 beside it 0.25000: in every epoch and in every row group to one document."""
    weights = [0.0005 if i % 2 else 0.25 for i in range(8000)]
    out = write_run(tmp_path / "out", [8000], weights, group=1000)
    seen: Counter[str] = Counter()
    for epoch in range(4):
        once = Counter(texts(CuratedDataset(out, epoch=epoch, seed=9)))
        rare = sum(count for text, count in once.items() if int(text.split()[1]) % 2)
        assert (rare, sum(once.values())) == (2, 1002)
        for group in range(8):
            often = sum(count for text, count in once.items() if int(text.split()[1]) // 1000 == group)
            assert 124 <= often <= 127
        seen += once
    odd = CuratedDataset(write_run(tmp_path / "odd", [1000], [0.0005] * 1000, group=100), seed=3)
    assert [len(texts(odd)) for _ in range(6)] in ([0, 1] * 3, [1, 0] * 3)


def test_weights_that_are_all_different_are_drawn_one_by_one(tmp_path: Path) -> None:
    weights = [i / 1000 for i in range(1000)]
    out = write_run(tmp_path / "out", [1000], weights, group=500)
    sizes = [len(CuratedDataset(out, epoch=epoch)) for epoch in range(20)]
    assert sizes == [len(texts(CuratedDataset(out, epoch=epoch))) for epoch in range(20)]
    # 20 draws of standard deviation 12.9
    assert np.mean(sizes) == pytest.approx(499.5, abs=12)


def test_ids_written_out_are_the_same_ids(tmp_path: Path) -> None:
    weights = [(1.0, 2.5, 0.25)[i % 3] for i in range(60)]
    one, other = (write_run(tmp_path / str(w), [60], weights, written=w) for w in (False, True))
    for epoch in range(2):
        assert list(CuratedDataset(one, epoch=epoch)) == list(CuratedDataset(other, epoch=epoch))
