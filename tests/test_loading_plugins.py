"""Every way into a framework that promises to go on where it stood: killed in the middle of an epoch, nothing is lost or repeated."""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from curator.errors import InputError
from curator.loader import STANDARD, CuratedDataset
from curator.loading import order
from curator.loading.packing import PackedDataset
from curator.loading.plugins import grain_dataset, huggingface
from tests.conftest import ROOT
from tests.test_loader import numbered, texts, write_run
from tests.test_loading_packing import DOCUMENTS, write_tokenizer

pytestmark = [
    pytest.mark.filterwarnings("ignore:This DataLoader will create"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of the frameworks, not of ours
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore:'set_vital' is deprecated"),
]
BATCH, EVERY = 4, 3  # samples a batch, batches between two checkpoints
Going = Iterator[tuple[list[str], Callable[[], Any]]]  # texts of a batch, and what tells the state after it


def dataset(out: Path) -> CuratedDataset:
    return CuratedDataset(out, seed=6, lanes=4)


def batched(samples: Iterator[dict[str, Any]], state: Callable[[], Any]) -> Going:
    while batch := list(itertools.islice(samples, BATCH)):
        yield [sample["text"] for sample in batch], state


def plain(out: Path, state: Any) -> Going:
    own = dataset(out)
    if state:
        own.load_state_dict(state)
    yield from batched(iter(own), own.state_dict)


def arrow(out: Path, state: Any) -> Going:
    own = dataset(out)
    if state:
        own.load_state_dict(state)
    for batch in own.batches(BATCH):
        yield batch["text"].to_pylist(), own.state_dict


def collated(samples: list[dict[str, Any]]) -> list[str]:
    return [sample["text"] for sample in samples]


def torch_rounds(out: Path, state: Any) -> Going:
    """torch's own DataLoader: the main process counts what it took, and checkpoints after whole rounds of the workers."""
    import torch

    view = dataset(out).as_torch()
    if state:
        view.load_state_dict(state)
    data = torch.utils.data.DataLoader(view, batch_size=BATCH, num_workers=EVERY, collate_fn=collated)
    taken = 0
    for batch in data:
        taken += len(batch)
        now = taken
        yield batch, lambda: view.state_dict(now)  # noqa: B023 - asked for before the next batch


def stateful(workers: int) -> Callable[[Path, Any], Going]:
    def going(out: Path, state: Any) -> Going:
        import torch  # noqa: F401 - as_torch asks for it
        from torchdata.stateful_dataloader import StatefulDataLoader

        data: Any = StatefulDataLoader(
            dataset(out).as_torch(), batch_size=BATCH, num_workers=workers, collate_fn=collated
        )
        if state:
            data.load_state_dict(state)
        for batch in data:
            yield batch, data.state_dict

    return going


def hugging(out: Path, state: Any) -> Going:
    data = huggingface(dataset(out), parts=3)
    if state:
        data.load_state_dict(state)
    yield from batched(iter(data), data.state_dict)


def graining(workers: int) -> Callable[[Path, Any], Going]:
    def going(out: Path, state: Any) -> Going:
        import grain

        data = grain_dataset(dataset(out))
        if workers:
            data = data.mp_prefetch(grain.MultiprocessingOptions(num_workers=workers))
        with contextlib.closing(iter(data)) as running:  # else its workers are still going when the next begin
            if state:
                running.set_state(state)
            yield from batched(running, running.get_state)

    return going


def packing(out: Path, state: Any) -> Going:
    packed = PackedDataset(dataset(out), out.parent / "tokenizer.json", 3)  # three tokens: one document
    if state:
        packed.load_state_dict(state)
    for sequence in packed:
        yield [f"text {sequence['input_ids'][1] - 5} é"], packed.state_dict


def packing_workers(out: Path, state: Any) -> Going:
    """Packed sequences from StatefulDataLoader's workers, each of which keeps its own place."""
    import torch  # noqa: F401 - as_torch asks for it
    from torchdata.stateful_dataloader import StatefulDataLoader

    packed = PackedDataset(dataset(out), out.parent / "tokenizer.json", 3)
    data: Any = StatefulDataLoader(packed.as_torch(), batch_size=None, num_workers=2)
    if state:
        data.load_state_dict(state)
    for sequence in data:
        yield [f"text {sequence['input_ids'][1] - 5} é"], data.state_dict


WAYS: dict[str, tuple[Callable[[Path, Any], Going], str]] = {
    "samples": (plain, "pyarrow"),
    "batches": (arrow, "pyarrow"),
    "packing": (packing, "tokenizers"),
    "torch, 3 workers": (torch_rounds, "torch"),
    "StatefulDataLoader, 0 workers": (stateful(0), "torchdata"),
    "StatefulDataLoader, 2 workers": (stateful(2), "torchdata"),
    "packing, StatefulDataLoader, 2 workers": (packing_workers, "torchdata"),
    "datasets": (hugging, "datasets"),
    "grain": (graining(0), "grain"),
    "grain, 2 workers": (graining(2), "grain"),
}


def needs(name: str) -> Any:
    absent = importlib.util.find_spec(WAYS[name][1]) is None
    return pytest.param(name, marks=pytest.mark.skipif(absent, reason=f"needs {WAYS[name][1]}"), id=name)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(order, "WINDOW_ROWS", 20)
    write_tokenizer(tmp_path / "tokenizer.json")
    return write_run(tmp_path / "out", [90, DOCUMENTS - 90])


@pytest.mark.parametrize("name", [needs(name) for name in WAYS])
def test_a_state_in_the_middle_gives_the_rest(run: Path, name: str) -> None:
    going = WAYS[name][0](run, None)
    first = []
    for texts_, state in itertools.islice(going, EVERY * 4):
        first += texts_
        last = state
    saved = json.loads(json.dumps(last()))
    del going
    rest = [text for texts_, _ in WAYS[name][0](run, saved) for text in texts_]
    assert sorted(first + rest) == sorted(numbered(DOCUMENTS))


def consume(name: str, out: Path, pause: float) -> None:
    """Train, so to speak: note each batch, checkpoint every few, go on from the last checkpoint if there is one."""
    order.WINDOW_ROWS = 20  # type: ignore[misc]
    kept, seen = out.parent / "checkpoint.json", out.parent / "seen.txt"
    found = json.loads(kept.read_text()) if kept.exists() else {"state": None, "bytes": 0}
    with seen.open("ab") as file:
        file.truncate(found["bytes"])  # what came after the checkpoint is not trained on
        for number, (texts_, state) in enumerate(WAYS[name][0](out, found["state"]), 1):
            file.write("".join(f"{text}\n" for text in texts_).encode())
            file.flush()
            if number % EVERY == 0:
                kept.with_suffix(".tmp").write_text(json.dumps({"state": state(), "bytes": file.tell()}))
                os.replace(kept.with_suffix(".tmp"), kept)
            time.sleep(pause)


@pytest.mark.parametrize("name", [needs(name) for name in WAYS])
def test_killed_in_the_middle_of_an_epoch(run: Path, name: str) -> None:
    code = "from pathlib import Path; from tests.test_loading_plugins import consume; "
    code += f"consume({name!r}, Path({str(run)!r}), pause=0.05)"
    killed = subprocess.Popen([sys.executable, "-W", "ignore", "-c", code], cwd=ROOT, start_new_session=True)
    kept, seen = run.parent / "checkpoint.json", run.parent / "seen.txt"
    until = time.monotonic() + 240
    while not (kept.exists() and seen.stat().st_size > json.loads(kept.read_text())["bytes"]):
        assert time.monotonic() < until and killed.poll() is None
        time.sleep(0.005)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    with contextlib.suppress(ProcessLookupError):
        os.killpg(killed.pid, signal.SIGKILL)  # Grain's workers outlive the process that started them
    assert 0 < len(seen.read_text("utf-8").splitlines()) < DOCUMENTS
    consume(name, run, 0)
    assert sorted(seen.read_text("utf-8").splitlines()) == sorted(numbered(DOCUMENTS))


def test_grain_workers_share_without_loss_or_repeat(run: Path) -> None:
    pytest.importorskip("grain")
    parts = [grain_dataset(dataset(run)) for _ in range(3)]
    for number, part in enumerate(parts):
        part.set_slice(slice(number, None, 3))  # as Grain's worker processes are given it
    found = [[sample["text"] for sample in part] for part in parts]
    whole = texts(dataset(run))
    assert found == [whole[number::3] for number in range(3)]


def test_grain_with_other_workers_goes_on_from_what_was_taken(tmp_path: Path) -> None:
    """Grain's own state holds one place a worker; the dataset's needs only the number of samples."""
    grain = pytest.importorskip("grain")
    run = write_run(tmp_path / "out", [90, 60])  # no smaller windows: the workers would not know of them
    whole = texts(dataset(run))
    own = dataset(run)
    two = grain_dataset(own).mp_prefetch(grain.MultiprocessingOptions(num_workers=2))
    with contextlib.closing(iter(two)) as running:
        first = [sample["text"] for sample in itertools.islice(running, 31)]
        state = running.get_state()
    assert first == whole[:31]
    with pytest.raises(InputError, match="no state of a CuratedDataset"):
        iter(grain_dataset(dataset(run))).set_state(state)
    own.load_state_dict(own.state_dict(taken=31))
    assert [sample["text"] for sample in grain_dataset(own)] == whole[31:]


def test_grain_iterators_do_not_move_each_other(run: Path) -> None:
    pytest.importorskip("grain")
    data = grain_dataset(dataset(run))
    one, other = iter(data), iter(data)
    assert [next(one)["text"] for _ in range(5)] == [next(other)["text"] for _ in range(5)] == texts(dataset(run))[:5]
    end = [sample["text"] for sample in one]
    assert len(end) == DOCUMENTS - 5
    other.set_state(one.get_state())
    assert list(other) == []


def test_datasets_deals_its_parts_out(run: Path) -> None:
    datasets = pytest.importorskip("datasets")
    distributed = pytest.importorskip("datasets.distributed")
    data = huggingface(CuratedDataset(run, columns=["votes"]), parts=4)
    assert isinstance(data, datasets.IterableDataset)
    found = [texts(iter(distributed.split_dataset_by_node(data, rank=rank, world_size=2))) for rank in range(2)]
    assert all(found) and sorted(itertools.chain(*found)) == sorted(numbered(DOCUMENTS))
    assert set(next(iter(data))) == {*STANDARD, "votes"}


def test_a_part_stands_where_the_dataset_does(run: Path) -> None:
    own = dataset(run)
    whole = texts(dataset(run))
    samples = iter(own)
    assert [next(samples)["text"] for _ in range(7)] == whole[:7]
    assert sorted(itertools.chain(*(texts(own.part(number, 3)) for number in range(3)))) == sorted(whole[7:])
    assert next(samples)["text"] == whole[7]
    with pytest.raises(InputError, match="part 3 of 3"):
        own.part(3, 3)


@pytest.mark.skipif(importlib.util.find_spec("grain") is not None, reason="grain is installed")
def test_an_absent_framework_says_what_to_install(run: Path) -> None:
    with pytest.raises(InputError, match="pip install grain"):
        grain_dataset(dataset(run))
