"""What training reads: the curated documents of a finished run, in an order that can be taken up again at any document.

    from curator.loader import CuratedDataset

    for sample in CuratedDataset("out", seed=1, rank=0, world=8):
        sample["text"], sample["doc_id"], sample["source"], sample["prob_synthetic"]
    for batch in CuratedDataset("out").batches(1024):
        batch["text"]  # Arrow, not Python: nothing is made for a document by itself

Needs pyarrow and numpy only, and of the run only manifest.json and mixture/. torch is used
where the caller has imported it, never imported from here.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curator.errors import InputError
from curator.loading.files import Mixture
from curator.loading.gather import I64, gathered, one_batch
from curator.loading.order import TURNS, Plan, fitting, interleaved, permutation, planned
from curator.loading.samples import STANDARD, Sample, samples_of
from curator.loading.torch_view import torch_view, torch_worker
from curator.loading.weights import Weights

__all__ = ["STANDARD", "CuratedDataset", "Sample"]

_CHUNK: Final = 512  # samples turned into Python objects at once
_BLOCK: Final = 2048  # rows gathered from the lanes at once, at least
_STATE_FORMAT: Final = 4  # raise it when the order changes: an old state must not resume in a new order


class Block(NamedTuple):
    """Samples in their order."""

    table: pa.Table
    texts: npt.NDArray[np.object_] | None = None  # as Python has them, where the table lacks them

    def slice(self, start: int, rows: int) -> Block:
        """Some of them, not copied."""
        return Block(self.table.slice(start, rows), None if self.texts is None else self.texts[start : start + rows])


class CuratedDataset:
    """Iterate over the curated documents of a finished run, each to exactly one rank, resumable at any document.

    The order is a pure function of position, seed, epoch and manifest: row groups are permuted
    by a keyed hash and cut into `lanes` equal lanes that are read side by side: sample number p of the epoch is
    the next of lane p mod `lanes`. A lane is cut into windows, the rows of a window are permuted together; a row group
    across two lanes is a window of its own, read for both. Memory holds one window a lane, and twice the one that is
    being laid in order. `shuffle=False` gives the order of the files.

    Sample number p of the epoch goes to rank p mod `world`, and within the rank the torch
    DataLoader worker processes take turns. Ranks may differ by one sample at the epoch's end. A rank (or worker)
    opens only the lanes that hold samples of its own: one in g, g the greatest common divisor of `lanes`
    and ranks times workers. So let ranks times workers divide `lanes`, which by default is a power of two up
    to 64 that fits the mixture; `lanes` is part of the order.

    A document of weight 2.3 is seen twice each epoch, and a third time in 30 % of epochs. Which documents of
    equal weight have their turn is drawn by a hash; how many is counted, in every row group and on through the
    epochs, so that 10,000 documents of weight 0.0005 come to 5 an epoch, not to about 5. Copies of one document lie far
    apart, those of weight 2 half an epoch, of weight 3 a third, as a text met again at once is learnt by heart; each copy
    costs a reading of its row group, up to 16 an epoch. In the files' order (`shuffle=False`) copies follow one another.

    Iterating goes on from where the dataset stands. At the end of an epoch it stands at the
    beginning of the next: a second loop gives the documents again in another order.

    `columns` names columns to add to the standard ones (`STANDARD`); a standard column that the
    mixture lacks is None in every sample. UUIDs are given as strings, times as `datetime`.

    Raises `InputError` for a run that is not finished, a file that is missing or changed in
    size, and a column that does not exist.
    """

    def __init__(
        self,
        out: str | Path,
        *,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
        shuffle: bool = True,
        epoch: int = 0,
        columns: Sequence[str] | None = None,
        lanes: int | None = None,
    ) -> None:
        """Open the run in folder `out`: reads the manifest and the footers of the mixture's files."""
        if not 0 <= rank < world:
            raise InputError(f"rank {rank} of world {world}: rank counts from 0 and must be less than world")
        self.out = Path(out)
        self.seed, self.rank, self.world, self.shuffle = int(seed), rank, world, bool(shuffle)
        self._mixture = Mixture(self.out)
        self.fingerprint = self._mixture.fingerprint
        schema = self._mixture.schema
        self.columns = _wanted(columns, schema.names, self.out)
        self._schema = pa.schema([schema.field(name) for name in self.columns if name in schema.names])
        if lanes is not None and lanes > 1 and not shuffle:
            raise InputError("shuffle=False gives the order of the files, which has one lane: leave lanes out")
        self.lanes = (
            _counting("lanes", lanes, least=1) if lanes is not None else fitting(self._mixture.groups) if shuffle else 1
        )
        self._weights = Weights(self._mixture, self.seed)
        self._epoch, self._position, self._turn = _counting("epoch", epoch), 0, 0
        self._plans: dict[int, Plan] = {}

    @property
    def epoch(self) -> int:
        """The epoch the dataset stands in."""
        return self._epoch

    def __len__(self) -> int:
        """Count the samples of this rank in the whole epoch; reads ids and weights where weights are not whole."""
        return max(0, -(-(self._plan().total - self.rank) // self.world))

    def set_epoch(self, epoch: int) -> None:
        """Go to the beginning of an epoch; where the dataset stands in that very epoch, its position is kept."""
        if _counting("epoch", epoch) != self._epoch:
            self._epoch, self._position = epoch, 0
            self._turn += 1

    def state_dict(self, taken: int = 0) -> dict[str, Any]:
        """Say where the dataset stands: samples of the epoch that all ranks together have taken, as JSON-able values.

        Counts what was iterated in this process. Where torch's worker processes iterate instead,
        give `taken`, the samples this rank got from the DataLoader since it was started; this is exact after a
        whole number of rounds (batches a multiple of workers), as the workers take turns by batch.
        """
        return {
            "format": _STATE_FORMAT,
            "fingerprint": self.fingerprint,
            "files": self._mixture.files_hash,
            "seed": self.seed,
            "epoch": self._epoch,
            "position": min(self._position + _counting("taken", taken) * self.world, self._plan().total),
            "shuffle": self.shuffle,
            "lanes": self.lanes,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go to where `state_dict` stood: what follows is exactly the rest.

        The number of ranks may have changed in between, provided that every rank had taken
        equally many samples when the state was made. A state made inside a torch worker process (as
        StatefulDataLoader does) belongs to the same worker of equally many.

        Raises `InputError` for the state of another manifest, seed or order, or no state at all.
        """
        self._same(state)
        epoch, position = _counting("epoch", state["epoch"]), _counting("position", state["position"])
        total = self._plan(epoch).total
        if position > total:
            raise InputError(f"the state stands at sample {position} of an epoch of {total}: it is not of this dataset")
        self._epoch, self._position = epoch, position
        self._turn += 1

    def _same(self, state: Mapping[str, Any]) -> None:
        own = self.state_dict()
        told = {
            "fingerprint": "another run: start without the state, or give the run it was made on",
            "files": "the same run written anew with other bytes: start without the state",
            "format": "another order: it was made by another version of curator; start without it",
            "seed": "another order: make the dataset with the state's seed",
            "shuffle": "another order: make the dataset with the state's shuffle",
            "lanes": "another order: make the dataset with the state's lanes",
        }
        for key, what in told.items():
            if key in state and state[key] != own[key]:
                raise InputError(f"the state has {key} {state[key]}, {self.out} has {own[key]}; it belongs to {what}")
        if missing := sorted(own.keys() - state.keys()):
            raise InputError(f"no state of a CuratedDataset: it lacks {', '.join(missing)}")

    def __iter__(self) -> Iterator[Sample]:
        """Yield the samples from where the dataset stands to the end of the epoch."""
        self._turn += 1
        return self._samples(self._turn, self._plan(), self._position)

    def batches(self, size: int = 1024) -> Iterator[pa.RecordBatch]:
        """Yield what iterating would, as Arrow batches of `size` rows: the fast way, nothing is turned into Python.

        Same documents, order and position as the samples; the last batch of an epoch may be shorter. Columns that the
        mixture lacks are left out; `doc_id` is as the files hold it.
        """
        self._turn += 1
        return self._batches(self._turn, self._plan(), self._position, _counting("size", size, least=1))

    def _samples(self, turn: int, plan: Plan, position: int) -> Iterator[Sample]:
        stride, _ = self.share()
        for table, texts in self._side_by_side(plan, position, _CHUNK, spoken=True):
            for start in range(0, table.num_rows, _CHUNK):
                some = None if texts is None else texts[start : start + _CHUNK].tolist()
                for sample in samples_of(table.slice(start, _CHUNK), self.columns, some):
                    position += stride
                    if turn == self._turn:  # a loop left behind does not move the dataset
                        self._position = position if position < plan.total else plan.total
                    yield sample
        self._finish(turn, plan)

    def _batches(self, turn: int, plan: Plan, position: int, size: int) -> Iterator[pa.RecordBatch]:
        stride, _ = self.share()
        for block in self._blocks(plan, position, size):
            position += stride * block.num_rows
            if turn == self._turn:
                self._position = min(position, plan.total)
            yield one_batch(block)
        self._finish(turn, plan)

    def _finish(self, turn: int, plan: Plan) -> None:
        if turn == self._turn:
            self._epoch, self._position = plan.epoch + 1, 0

    def _blocks(self, plan: Plan, position: int, size: int) -> Iterator[pa.Table]:
        """Yield our samples from a position on in tables of exactly `size` rows; the last may be shorter."""
        rest: list[pa.Table] = []
        held = 0
        for block, _ in self._side_by_side(plan, position, size):
            start = 0
            while held + block.num_rows - start >= size:
                part = block.slice(start, size - held)
                yield pa.concat_tables([*rest, part]) if rest else part
                start, rest, held = start + part.num_rows, [], 0
            if start < block.num_rows:
                rest.append(block.slice(start))
                held += block.num_rows - start
        if rest:
            yield pa.concat_tables(rest)

    def _side_by_side(self, plan: Plan, position: int, size: int, spoken: bool = False) -> Iterator[Block]:
        """Yield our samples from a position on, in their order, some rounds through our lanes at once."""
        stride, shard = self.share()
        first = position + (shard - position) % stride
        ours = self.lanes // math.gcd(stride, self.lanes)
        step = ours * stride // self.lanes  # of the samples of one lane, every how many is ours
        spoken = spoken and step == 1  # else most texts would be made for other ranks
        starts = range(first, first + stride * ours, stride)
        lanes = [_Lane(self._pieces(plan, at % self.lanes, at // self.lanes, step, spoken)) for at in starts]
        rounds = _rounds(ours, size)
        while True:
            taken = [lane.take(rounds) for lane in lanes]
            counts = [sum(part.table.num_rows for part in parts) for parts in taken]
            if not any(counts):
                return
            yield _together([part for parts in taken for part in parts], interleaved(counts))

    def _own(self, table: pa.Table) -> pa.Table:
        """A table of the dataset's own columns; null where its files lack one."""
        if table.schema.equals(self._schema):
            return table.replace_schema_metadata(None)
        if not all(f.name in table.column_names and table.schema.field(f.name).type == f.type for f in self._schema):
            table = pa.concat_tables([self._schema.empty_table(), table], promote_options="default").combine_chunks()
        return pa.Table.from_arrays([table[name] for name in self._schema.names], schema=self._schema)

    def _pieces(self, plan: Plan, lane: int, first: int, step: int, spoken: bool) -> Iterator[Block]:
        """Yield what is wanted of a lane's windows: every step-th sample of the lane from the first on."""
        short, longer = divmod(plan.total, self.lanes)
        at = lane * short + min(lane, longer)
        end = at + short + (lane < longer)
        at += first
        while at < end:
            window = int(np.searchsorted(plan.ends, at, side="right"))
            begin = int(plan.ends[window - 1]) if window else 0
            wanted = slice(at - begin, end - begin, step)
            block = self._window(plan, window, wanted, spoken)
            at += block.table.num_rows * step
            yield block

    def share(self) -> tuple[int, int]:
        """Every how many samples of the epoch one is ours, and which: ranks first, within a rank its torch workers."""
        worker, workers = torch_worker()
        return self.world * workers, self.rank + self.world * worker

    def part(self, number: int, of: int) -> CuratedDataset:
        """A copy that stands where this one does and gives the number-th of `of` parts of this rank's samples."""
        if not 0 <= number < of:
            raise InputError(f"part {number} of {of}: parts count from 0")
        one = copy.copy(self)
        one.rank, one.world = self.rank + self.world * number, self.world * of
        return one

    def _window(self, plan: Plan, window: int, wanted: slice, spoken: bool) -> Block:
        """Read a window's row groups; returns those wanted of its samples, in the order of the epoch.

        `spoken` asks for texts as Python has them, beside the table.
        """
        tables, texts, rows, before = [], [], [], 0
        for visits in self._mixture.runs(plan.group, plan.windows[window]):
            table = self._own(self._mixture.read(int(plan.group[visits[0]]), self.columns, len(visits)))
            rows.append(before + self._rows(plan, table, visits))
            before += table.num_rows
            if spoken and "text" in table.column_names:
                texts.append(table["text"].to_numpy())  # at once: what was just decoded is still in the cache
                table = table.drop_columns("text")
            tables.append(table)
        picked = np.concatenate(rows)
        if self.shuffle:
            picked = picked[permutation(len(picked), self.seed, f"loader:rows:{plan.epoch}:{window}")]
            tables = [pa.concat_tables(tables).combine_chunks()]  # one copy at a time: the pieces are let go of
        picked = picked[wanted]
        return Block(gathered(tables, picked), np.concatenate(texts)[picked] if texts else None)

    def _rows(self, plan: Plan, table: pa.Table, visits: I64) -> I64:
        """Which rows of a table of several row groups their visits give, and how often.  # [samples]"""
        rows, start = [], 0
        for visit in visits:
            group, turn = int(plan.group[visit]), int(plan.turn[visit])
            part = table.slice(start, int(self._mixture.groups.rows[group]))
            rows.append(start + self._weights.rows(part, plan.epoch, group, turn, int(plan.turns[group])))
            start += part.num_rows
        return np.concatenate(rows)

    def _plan(self, epoch: int | None = None) -> Plan:
        wanted = self._epoch if epoch is None else epoch
        if wanted not in self._plans:
            counts = self._weights.counts(wanted, TURNS if self.shuffle else 1)
            seed = self.seed if self.shuffle else None
            self._plans = {wanted: planned(wanted, self._mixture.groups, counts, seed, self.lanes)}
        return self._plans[wanted]

    def as_torch(self) -> Any:
        """Wrap the dataset as a `torch.utils.data.IterableDataset` for torch's DataLoader; import torch first.

        The wrapper has the dataset's length, state and epoch. Worker processes iterate copies: the dataset of the
        main process stays where it is, so call `set_epoch` before each epoch and see `state_dict` for `taken`.
        torch's default collation refuses None: give a `collate_fn` where a column may be null.
        """
        return torch_view(self)


class _Lane:
    """Samples of a lane, taken any number at a time."""

    def __init__(self, pieces: Iterator[Block]) -> None:
        self._pieces = pieces
        self._now: Block | None = None
        self._at = 0

    def take(self, n: int) -> list[Block]:
        """The next n samples, in pieces; fewer at the lane's end."""
        taken = []
        while n:
            if self._now is None or self._at == self._now.table.num_rows:
                self._now = None  # let go of the old window before the next is read
                self._now, self._at = next(self._pieces, None), 0
            if self._now is None:
                break
            part = self._now.slice(self._at, n)
            taken.append(part)
            self._at += part.table.num_rows
            n -= part.table.num_rows
        return taken


def _together(parts: Sequence[Block], places: I64) -> Block:
    """Pick samples by their places in blocks laid end to end."""
    texts = [part.texts for part in parts if part.texts is not None]
    table = gathered([part.table for part in parts], places)
    return Block(table, None if not texts else texts[0] if len(texts) == 1 else np.concatenate(texts)[places])


def _rounds(lanes: int, size: int) -> int:
    """How often to go through the lanes at once: some thousand rows, and where it can be whole batches, not to copy."""
    least = max(_BLOCK // lanes, 64)
    whole = math.lcm(lanes, size) // lanes
    return -(-least // whole) * whole if whole <= 2 * least else least


def _wanted(columns: Sequence[str] | None, available: Sequence[str], out: Path) -> tuple[str, ...]:
    if isinstance(columns, str):
        raise InputError(f"columns is the text {columns!r}; give a list of names")
    asked = [name for name in dict.fromkeys(columns or ()) if name not in STANDARD]
    unknown = [name for name in asked if name not in available]
    if unknown and available:  # an empty mixture has no file to say what columns there would be
        raise InputError(f"{out} has no column {', '.join(unknown)} in its mixture; it has {', '.join(available)}")
    return (*STANDARD, *asked)


def _counting(name: str, value: Any, least: int = 0) -> int:
    if not isinstance(value, int) or value < least:
        raise InputError(f"{name} is {value!r}; it must be a whole number from {least}")
    return value
