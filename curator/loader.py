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
import itertools
import json
import math
import sys
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curator import ids
from curator.errors import InputError

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]
Sample = dict[str, Any]

STANDARD: Final = ("text", "doc_id", "source", "stratum", "prob_synthetic", "weight")
WINDOW_ROWS: Final = 8192  # rows that lie in memory to be mixed, about; part of what the order is
WINDOW_BYTES: Final = 256 << 20  # and their uncompressed bytes: long documents may not fill the memory
LANES: Final = (64, 32, 16, 8, 4, 2)  # powers of two, as worlds are; the most that the mixture has rows and groups for
_LANE_GROUPS: Final = 16  # row groups a lane has at least: those at its two ends are read by its neighbours too
_CLASSES: Final = 256  # distinct remainders of weights in one row group that are counted exactly
_CHUNK: Final = 512  # samples turned into Python objects at once
_FOOTERS: Final = 256  # files whose footers are kept in memory
_BLOCK: Final = 2048  # rows gathered from the lanes at once, at least
_STATE_FORMAT: Final = 2  # raise it when the order changes: an old state must not resume in a new order
_DASHES: Final = (8, 13, 18, 23)  # of a UUID in its 36 letters
_HEX: Final = np.frombuffer(b"".join(b"%02x" % byte for byte in range(256)), dtype=np.uint8).reshape(256, 2)


class CuratedDataset:
    """Iterate over the curated documents of a finished run, each to exactly one rank, resumable at any document.

    The order is a pure function of position, seed, epoch and manifest: row groups are permuted
    by a keyed hash and cut into windows, the rows of a window are permuted together, and what comes of
    that is cut into `lanes` equal lanes that are read side by side: sample number p of the epoch is the
    next of lane p mod `lanes`. Memory holds one window a lane. `shuffle=False` gives the order of the files.

    Sample number p of the epoch goes to rank p mod `world`, and within the rank the torch
    DataLoader worker processes take turns. Ranks may differ by one sample at the epoch's end. A rank (or worker)
    opens only the lanes that hold samples of its own: one in g, g the greatest common divisor of `lanes`
    and ranks times workers. So let ranks times workers divide `lanes`, which by default is a power of two up
    to 64 that fits the mixture; `lanes` is part of the order.

    A document of weight 2.3 is seen twice each epoch, and a third time in 30 % of epochs. Which documents of
    equal weight have their turn is drawn by a hash; how many is counted, in every row group and on through the
    epochs, so that 10,000 documents of weight 0.0005 come to 5 an epoch, not to about 5.

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
        manifest = _manifest(self.out)
        entries = {name: entry for name, entry in sorted(manifest["files"].items()) if _of_mixture(name)}
        self.fingerprint = str(manifest["fingerprint"])
        self._files_hash = ids.fingerprint(entries)
        self._paths = _present(self.out, entries)
        self._groups, schema = _groups(self._paths)
        self.columns = _wanted(columns, schema.names, self.out)
        self._schema = pa.schema([schema.field(name) for name in self.columns if name in schema.names])
        if lanes is not None and lanes > 1 and not shuffle:
            raise InputError("shuffle=False gives the order of the files, which has one lane: leave lanes out")
        self.lanes = _fitting(self._groups, self.shuffle) if lanes is None else _counting("lanes", lanes, least=1)
        self._weighed: dict[int, _Weighed | None] | None = None
        self._epoch, self._position, self._turn = _counting("epoch", epoch), 0, 0
        self._plans: dict[int, _Plan] = {}
        self._footers: dict[int, pq.FileMetaData] = {}

    @property
    def epoch(self) -> int:
        """The epoch the dataset stands in."""
        return self._epoch

    def __getstate__(self) -> dict[str, Any]:
        """What a worker process is given: footers are read again there."""
        return self.__dict__ | {"_footers": {}}

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
            "files": self._files_hash,
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
        mixture lacks are left out; `doc_id` stays 16 bytes (Arrow's uuid).
        """
        self._turn += 1
        return self._batches(self._turn, self._plan(), self._position, _counting("size", size, least=1))

    def _samples(self, turn: int, plan: _Plan, position: int) -> Iterator[Sample]:
        stride, _ = self.share()
        for block in self._blocks(plan, position, _CHUNK):
            for sample in _samples(block, self.columns):
                position += stride
                if turn == self._turn:  # a loop left behind does not move the dataset
                    self._position = position if position < plan.total else plan.total
                yield sample
        self._finish(turn, plan)

    def _batches(self, turn: int, plan: _Plan, position: int, size: int) -> Iterator[pa.RecordBatch]:
        stride, _ = self.share()
        for block in self._blocks(plan, position, size):
            position += stride * block.num_rows
            if turn == self._turn:
                self._position = min(position, plan.total)
            yield block.combine_chunks().to_batches()[0]
        self._finish(turn, plan)

    def _finish(self, turn: int, plan: _Plan) -> None:
        if turn == self._turn:
            self._epoch, self._position = plan.epoch + 1, 0

    def _blocks(self, plan: _Plan, position: int, size: int) -> Iterator[pa.Table]:
        """Yield our samples from a position on in tables of exactly `size` rows; the last may be shorter."""
        rest: list[pa.Table] = []
        held = 0
        for block in self._rounds(plan, position):
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

    def _rounds(self, plan: _Plan, position: int) -> Iterator[pa.Table]:
        """Yield our samples from a position on, in their order, some rounds through our lanes at once."""
        stride, shard = self.share()
        first = position + (shard - position) % stride
        ours = self.lanes // math.gcd(stride, self.lanes)
        step = ours * stride // self.lanes  # of the samples of one lane, every how many is ours
        lanes = [
            _Lane(self._pieces(plan, at % self.lanes, at // self.lanes, step))
            for at in range(first, first + stride * ours, stride)
        ]
        rounds = max(_BLOCK // ours, 64)
        while True:
            taken = [lane.take(rounds) for lane in lanes]
            counts = [sum(part.num_rows for part in parts) for parts in taken]
            if not any(counts):
                return
            found = pa.concat_tables([self._schema.empty_table(), *itertools.chain(*taken)], promote_options="default")
            yield found if len(lanes) == 1 else found.combine_chunks().take(pa.array(_interleaved(counts)))

    def _pieces(self, plan: _Plan, lane: int, first: int, step: int) -> Iterator[tuple[pa.Table, I64]]:
        """Yield a lane's windows with the rows wanted of each: every step-th sample of the lane from the first on."""
        short, longer = divmod(plan.total, self.lanes)
        at = lane * short + min(lane, longer)
        end = at + short + (lane < longer)
        at += first
        while at < end:
            window = int(np.searchsorted(plan.ends, at, side="right"))
            table, order = self._window(plan, window)
            begin = int(plan.ends[window - 1]) if window else 0
            picked = order[at - begin : end - begin : step]
            at += len(picked) * step
            yield table, picked

    def share(self) -> tuple[int, int]:
        """Every how many samples of the epoch one is ours, and which: ranks first, within a rank its torch workers."""
        worker, workers = _torch_worker()
        return self.world * workers, self.rank + self.world * worker

    def part(self, number: int, of: int) -> CuratedDataset:
        """A copy that stands where this one does and gives the number-th of `of` parts of this rank's samples."""
        if not 0 <= number < of:
            raise InputError(f"part {number} of {of}: parts count from 0")
        one = copy.copy(self)
        one.rank, one.world = self.rank + self.world * number, self.world * of
        return one

    def _window(self, plan: _Plan, window: int) -> tuple[pa.Table, I64]:
        """Read a window's row groups; returns the table and its rows in the order of the epoch, copies repeated."""
        groups = plan.windows[window]
        tables = [self._read(np.array([group]), self.columns) for group in groups]
        copies = [self._copies(table, plan.epoch, int(group)) for table, group in zip(tables, groups, strict=True)]
        table = pa.concat_tables(tables, promote_options="default")
        rows = np.repeat(np.arange(table.num_rows), np.concatenate(copies))
        if not self.shuffle:
            return (table if _consecutive(rows) else table.combine_chunks()), rows
        table = table.combine_chunks()  # taking rows of a table in pieces would lay it together each time
        rows = rows[_permutation(len(rows), self.seed, f"loader:rows:{plan.epoch}:{window}")]
        return table, rows

    def _read(self, groups: I64, columns: Sequence[str]) -> pa.Table:
        """Read row groups in the order given, each file opened once a stretch."""
        files, inner = self._groups.file[groups], self._groups.inner[groups]
        cuts = np.flatnonzero(np.diff(files)) + 1
        tables = [
            self._read_file(int(stretch[0]), [int(g) for g in within], columns)
            for stretch, within in zip(np.split(files, cuts), np.split(inner, cuts), strict=True)
        ]
        return pa.concat_tables(tables, promote_options="default").combine_chunks()

    def _read_file(self, number: int, groups: Sequence[int], columns: Sequence[str]) -> pa.Table:
        """Read row groups of one file; its footer is parsed once and kept, as long as not too many are."""
        if len(self._footers) > _FOOTERS:
            self._footers.clear()
        table, self._footers[number] = _read_groups(
            self.out, self._paths[number], groups, columns, self._footers.get(number)
        )
        return table

    def _copies(self, table: pa.Table, epoch: int, group: int) -> I64:
        """How often each row of a row group is seen this epoch: its weight's whole part, and what is drawn.  # [rows]"""
        if "weight" not in table.column_names:
            return np.ones(table.num_rows, np.int64)
        whole, rest = _parted(table["weight"], self.out)
        if not rest.any():
            return whole
        drawn = ids.unit_hash(_id_words(table["doc_id"]), self.seed, f"loader:copies:{epoch}")
        weighed = self._all_weighed()[group]
        if weighed is None:
            return whole + (drawn < rest)
        for number, value in enumerate(weighed.rests):
            members = np.flatnonzero(rest == value)
            whole[members[np.argsort(drawn[members], kind="stable")]] += np.diff(self._counted(weighed, epoch, number))
        return whole

    def _counted(self, weighed: _Weighed, epoch: int, number: int) -> I64:
        """Extra copies that had come together before each member of a class, through files and epochs.  # [members+1]"""
        value = weighed.rests[number]
        begin = epoch * int(weighed.all[number]) + int(weighed.before[number])
        start = ids.unit_hash(np.array([[value.view(np.uint64), 0]], np.uint64), self.seed, "loader:phase")[0]
        counted: I64 = np.floor(start + value * (begin + np.arange(weighed.counts[number] + 1))).astype(np.int64)
        return counted

    def _all_weighed(self) -> dict[int, _Weighed | None]:
        """Count the classes of equal remainder in every row group with weights that are not whole; read once."""
        if self._weighed is None:
            told = {int(group): self._told(int(group)) for group in np.flatnonzero(self._groups.copies < 0)}
            self._weighed = _running(told)
        return self._weighed

    def _told(self, group: int) -> tuple[F64, I64] | None:
        _, rest = _parted(self._read(np.array([group]), ("weight",))["weight"], self.out)
        rests, counts = np.unique(rest[rest > 0], return_counts=True)
        return (rests, counts) if len(rests) <= _CLASSES else None

    def _plan(self, epoch: int | None = None) -> _Plan:
        wanted = self._epoch if epoch is None else epoch
        if wanted not in self._plans:
            self._plans = {wanted: self._planned(wanted)}
        return self._plans[wanted]

    def _planned(self, epoch: int) -> _Plan:
        order = np.arange(len(self._groups.rows))
        if self.shuffle:
            order = _permutation(len(order), self.seed, f"loader:groups:{epoch}")
        windows = _windows(order, self._groups.rows, self._groups.size, self.lanes)
        seen = self._seen(epoch)
        ends = np.cumsum([seen[window].sum() for window in windows], dtype=np.int64)
        return _Plan(epoch, windows, ends, int(ends[-1]) if len(ends) else 0)

    def _seen(self, epoch: int) -> I64:
        """Samples each row group gives this epoch; only groups whose statistics do not tell are read.  # [groups]"""
        seen = self._groups.rows * np.maximum(self._groups.copies, 0)
        for group in np.flatnonzero(self._groups.copies < 0):
            table = self._read(np.array([group]), ("doc_id", "weight"))
            seen[group] = self._copies(table, epoch, int(group)).sum()
        return seen

    def as_torch(self) -> Any:
        """Wrap the dataset as a `torch.utils.data.IterableDataset` for torch's DataLoader; import torch first.

        The wrapper has the dataset's length, state and epoch. Worker processes iterate copies: the dataset of the
        main process stays where it is, so call `set_epoch` before each epoch and see `state_dict` for `taken`.
        torch's default collation refuses None: give a `collate_fn` where a column may be null.
        """
        return torch_view(self)


class _Groups(NamedTuple):
    """The mixture's row groups, in the order of the files.  # each [groups] int64"""

    file: I64
    inner: I64  # number within its file
    rows: I64
    size: I64  # uncompressed bytes
    copies: I64  # whole weight that all rows share, by the statistics; -1 where they do not tell


class _Weighed(NamedTuple):
    """The remainders of weights in one row group: classes of equal ones.  # each [classes]"""

    rests: F64
    counts: I64  # documents of each in the group
    before: I64  # and in the groups before it
    all: I64  # and in the whole mixture


class _Lane:
    """Rows of a lane, taken any number at a time."""

    def __init__(self, pieces: Iterator[tuple[pa.Table, I64]]) -> None:
        self._pieces = pieces
        self._table: pa.Table | None = None
        self._rows: I64 = np.zeros(0, np.int64)

    def take(self, n: int) -> list[pa.Table]:
        """The next n rows in one table or several; fewer at the lane's end."""
        taken = []
        while n:
            if not len(self._rows):
                self._table = None  # let go of the old window before the next is read
                self._table, self._rows = next(self._pieces, (None, self._rows))
            if self._table is None:
                break
            now, self._rows = self._rows[:n], self._rows[n:]
            whole = _consecutive(now)
            taken.append(self._table.slice(int(now[0]), len(now)) if whole else self._table.take(pa.array(now)))
            n -= len(now)
        return taken


@dataclass(frozen=True)
class _Plan:
    """One epoch: which row groups each window holds, and at which sample each ends."""

    epoch: int
    windows: list[I64]
    ends: I64
    total: int


def _manifest(out: Path) -> dict[str, Any]:
    path = out / "manifest.json"
    try:
        found = json.loads(path.read_bytes())
        _ = found["fingerprint"], found["files"].items()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(
            f"{out} holds no finished run, {path.name} is missing: run the same `curator filter` again, it does only the rest"
        ) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path} cannot be read as a manifest ({error}); run the same `curator filter` again"
        ) from error
    if found.get("format") != 1:
        raise InputError(f"{path} has format {found.get('format')}, this curator reads format 1; update curator")
    return dict(found)


def _line(error: Exception) -> str:
    """An error's text on one line."""
    return " ".join(str(error).split())


def _of_mixture(name: str) -> bool:
    return name.startswith("mixture/") and name.endswith(".parquet")


def _present(out: Path, entries: Mapping[str, Mapping[str, Any]]) -> list[Path]:
    """Check that every listed file is there in its full size."""
    paths = [out / name for name in entries]
    for path, entry in zip(paths, entries.values(), strict=True):
        try:
            size = path.stat().st_size
        except OSError as error:
            raise InputError(
                f"{path} is listed in the manifest but cannot be found ({error.strerror}); see `curator verify {out}`"
            ) from error
        if "bytes" in entry and size != entry["bytes"]:
            raise InputError(
                f"{path} has {size:,} bytes, the manifest says {entry['bytes']:,}; see `curator verify {out}`"
            )
    return paths


def _groups(paths: Sequence[Path]) -> tuple[_Groups, pa.Schema]:
    """Read the footers: all row groups that hold rows, and the columns of all files."""
    found: list[tuple[int, int, int, int, int]] = []
    schemas: list[pa.Schema] = []
    for number, path in enumerate(paths):
        try:
            with pq.ParquetFile(path) as file:
                footer, schema = file.metadata, file.schema_arrow.remove_metadata()
        except (OSError, pa.ArrowException) as error:
            raise InputError(
                f"{path} cannot be read ({_line(error)}); see `curator verify {path.parent.parent}`"
            ) from error
        schemas.append(schema)
        weight = next((i for i in range(footer.num_columns) if footer.schema.column(i).path == "weight"), None)
        for inner in range(footer.num_row_groups):
            group = footer.row_group(inner)
            if group.num_rows:
                copies = 1 if weight is None else _common_weight(group.column(weight))
                found.append((number, inner, group.num_rows, group.total_byte_size, copies))
    columns = np.array(found, dtype=np.int64).reshape(-1, 5).T
    return _Groups(*columns), pa.unify_schemas(schemas) if schemas else pa.schema([])


def _common_weight(column: pq.ColumnChunkMetaData) -> int:
    """The whole number all weights of a row group are; -1 when the statistics do not say so."""
    told = column.statistics
    if told is None or not told.has_min_max or told.null_count or told.min != told.max:
        return -1
    return int(told.min) if told.min >= 0 and float(told.min).is_integer() else -1


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


def _permutation(n: int, seed: int, purpose: str) -> I64:
    """Order 0…n-1 by a keyed hash."""
    numbers = np.zeros((n, 2), np.uint64)
    numbers[:, 0] = np.arange(n)
    return np.argsort(ids.unit_hash(numbers, seed, purpose), kind="stable").astype(np.int64)


def _fitting(groups: _Groups, shuffle: bool) -> int:
    """The most lanes that a mixture has rows, row groups and memory for; one where the order is that of the files."""
    rows, size = int(groups.rows.sum()), int(groups.size.sum())

    def fits(lanes: int) -> bool:
        many = len(groups.rows) >= lanes * _LANE_GROUPS and rows >= lanes * WINDOW_ROWS
        return many and lanes * size <= WINDOW_BYTES * len(groups.rows)

    return next((lanes for lanes in LANES if shuffle and fits(lanes)), 1)


def _windows(order: I64, rows: I64, size: I64, lanes: int = 1) -> list[I64]:
    """Cut the ordered row groups where a window is full: by rows, or by bytes for long documents."""
    cuts, filled, weighed = [], 0, 0
    full, heavy = max(WINDOW_ROWS // lanes, 1), WINDOW_BYTES // lanes
    for place, group in enumerate(order):
        if filled >= full or (filled and weighed + size[group] > heavy):
            cuts.append(place)
            filled = weighed = 0
        filled, weighed = filled + rows[group], weighed + size[group]
    return np.split(order, cuts) if len(order) else []


def _consecutive(rows: I64) -> bool:
    """Whether rows lie one after the other, so that a slice gives them without copying."""
    return bool((np.diff(rows) == 1).all())


def _interleaved(counts: Sequence[int]) -> I64:
    """Places in lanes laid end to end, in the order of taking turns.  # [sum of counts]"""
    turn = np.concatenate([np.arange(count) for count in counts])
    return np.argsort(turn, kind="stable").astype(np.int64)


def _parted(column: pa.ChunkedArray, out: Path) -> tuple[I64, F64]:
    """Part weights into whole numbers and remainders; no weight counts once.  # each [rows]"""
    weight = pc.fill_null(column.cast(pa.float64()), 1.0).to_numpy()
    if not (np.isfinite(weight) & (weight >= 0)).all():
        raise InputError(f"{out} has weights below 0 or not finite in its mixture; try `curator verify {out}`")
    whole = np.floor(weight)
    return whole.astype(np.int64), weight - whole


def _running(told: Mapping[int, tuple[F64, I64] | None]) -> dict[int, _Weighed | None]:
    """Add up the classes of all row groups in the order of the files."""
    total: dict[float, int] = {}
    found: dict[int, _Weighed | None] = {}
    for group, classes in told.items():
        if classes is None:
            found[group] = None
            continue
        rests, counts = classes
        before = np.array([total.get(value, 0) for value in rests.tolist()], np.int64)
        total.update(zip(rests.tolist(), (before + counts).tolist(), strict=True))
        found[group] = _Weighed(rests, counts, before, before)
    for group, weighed in found.items():
        if weighed is not None:
            found[group] = weighed._replace(all=np.array([total[value] for value in weighed.rests.tolist()], np.int64))
    return found


def _read_groups(
    out: Path, path: Path, groups: Sequence[int], columns: Sequence[str], footer: pq.FileMetaData | None
) -> tuple[pa.Table, pq.FileMetaData]:
    """Read row groups of one file; columns it lacks are left out. One thread: workers and ranks share the machine."""
    try:
        with pq.ParquetFile(path, metadata=footer) as file:
            return file.read_row_groups(groups, columns=list(columns), use_threads=False), file.metadata
    except (OSError, pa.ArrowException, IndexError) as error:
        raise InputError(f"{path} cannot be read ({_line(error)}); see `curator verify {out}`") from error


def _id_bytes(column: pa.ChunkedArray) -> npt.NDArray[np.uint8]:
    """Look at 16-byte ids as they lie in Arrow's buffer.  # [rows, 16] uint8"""
    array = column.combine_chunks()
    storage = array.storage if isinstance(array, pa.ExtensionArray) else array
    if not len(storage):
        return np.zeros((0, 16), np.uint8)
    raw = np.frombuffer(storage.buffers()[1], dtype=np.uint8)
    return raw[storage.offset * 16 : (storage.offset + len(storage)) * 16].reshape(-1, 16)


def _id_words(column: pa.ChunkedArray) -> npt.NDArray[np.uint64]:
    """The same ids as `ids.ids_array` makes them.  # [rows, 2] uint64"""
    return np.ascontiguousarray(_id_bytes(column)).view("<u8")


def _uuids(column: pa.ChunkedArray) -> list[str | None]:
    """Write ids as UUID strings: all at once as one array of letters, then cut."""
    letters = np.full((len(column), 36), ord("-"), np.uint8)
    places = np.delete(np.arange(36), _DASHES)
    letters[:, places] = _HEX[_id_bytes(column)].reshape(-1, 32)
    text = letters.tobytes().decode("ascii")
    found: list[str | None] = [text[i : i + 36] for i in range(0, len(text), 36)]
    for absent in np.flatnonzero(column.is_null().to_numpy()) if column.null_count else ():
        found[absent] = None
    return found


def _values(column: pa.ChunkedArray) -> list[Any]:
    """Turn a column into Python values, null into None, in C loops where the type has one."""
    kind = column.type
    if kind == pa.uuid() or kind == pa.binary(16):
        return _uuids(column)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return list(column.to_numpy().tolist())
    if pa.types.is_floating(kind) or pa.types.is_integer(kind):
        values = pc.fill_null(column, 0).to_numpy().tolist()
        for absent in np.flatnonzero(column.is_null().to_numpy()) if column.null_count else ():
            values[absent] = None
        return list(values)
    return list(column.to_pylist())


def _samples(part: pa.Table, columns: Sequence[str]) -> list[Sample]:
    """Make one dictionary a row; the standard six spelt out, which takes a third of the time of `dict(zip(…))`."""
    has = set(part.column_names)
    lists = [_values(part[name]) if name in has else [None] * part.num_rows for name in columns]
    samples = [
        {"text": text, "doc_id": doc, "source": source, "stratum": stratum, "prob_synthetic": prob, "weight": weight}
        for text, doc, source, stratum, prob, weight in zip(*lists[: len(STANDARD)], strict=True)
    ]
    for name, values in zip(columns[len(STANDARD) :], lists[len(STANDARD) :], strict=True):
        for sample, value in zip(samples, values, strict=True):
            sample[name] = value
    return samples


def _torch_worker() -> tuple[int, int]:
    """This process's number among the DataLoader's workers, and how many; (0, 1) outside of one."""
    data = sys.modules.get("torch.utils.data")
    info = data.get_worker_info() if data is not None else None
    return (info.id, info.num_workers) if info is not None else (0, 1)


class _View:
    """What torch sees of a dataset."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __iter__(self) -> Iterator[Any]:
        return iter(self.dataset)

    def __len__(self) -> int:
        return len(self.dataset)

    def __reduce__(self) -> tuple[Any, ...]:
        return torch_view, (self.dataset,)  # the class is made where torch is; a worker makes its own

    def set_epoch(self, epoch: int) -> None:
        self.dataset.set_epoch(epoch)

    def state_dict(self, *place: int, **named: int) -> dict[str, Any]:
        found: dict[str, Any] = self.dataset.state_dict(*place, **named)
        return found

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.dataset.load_state_dict(state)


def torch_view(dataset: Any) -> Any:
    """Wrap what iterates and has a state as a torch IterableDataset with the same methods; import torch first."""
    torch = sys.modules.get("torch")
    if torch is None:
        raise InputError("as_torch needs torch: install it and `import torch` before the call")
    return types.new_class("CuratedTorchDataset", (_View, torch.utils.data.IterableDataset))(dataset)
