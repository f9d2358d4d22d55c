"""How often a document is seen in an epoch: its weight, exact in every row group and on through the epochs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curator import ids
from curator.errors import InputError
from curator.loading.files import Mixture
from curator.loading.order import TURNS, of_turn, phases
from curator.uuids import words

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]

_CLASSES: Final = 256  # distinct remainders of weights in one row group that are counted exactly


class Weighed(NamedTuple):
    """The remainders of weights in one row group: classes of equal ones.  # each [classes]"""

    rests: F64
    counts: I64  # documents of each in the group
    before: I64  # and in the groups before it
    all: I64  # and in the whole mixture


class Weights:
    """Copies of every document in any epoch, and how they are dealt out to the turns of their row group."""

    def __init__(self, mixture: Mixture, seed: int) -> None:
        """Read nothing yet: only groups whose statistics do not tell one whole weight are read, when asked for."""
        self._mixture, self._seed = mixture, seed
        self._weighed: dict[int, Weighed | None] | None = None

    def counts(self, epoch: int, most: int = TURNS) -> list[I64]:
        """Samples that each row group gives this epoch, turn by turn.  # [groups] of [turns]

        As many turns as its documents have copies at most, so that no turn gives one twice, but never above `most`.
        """
        groups = self._mixture.groups
        return [
            self._mixed(epoch, group, most) if copies < 0 else _even(int(rows), int(copies), most)
            for group, (rows, copies) in enumerate(zip(groups.rows, groups.copies, strict=True))
        ]

    def _mixed(self, epoch: int, group: int, most: int) -> I64:
        table = self._mixture.read(group, ("doc_id", "weight"))
        copies = self.copies(table, epoch, group)
        turns = min(int(copies.max()), most)
        phase = phases(words(table["doc_id"]), self._seed, epoch) if turns > 1 else np.zeros(len(copies), np.int64)
        return np.array([of_turn(copies, phase, turn, turns).sum() for turn in range(turns)], np.int64)

    def rows(self, table: pa.Table, epoch: int, group: int, turn: int, turns: int) -> I64:
        """The rows of a row group that one of its turns gives, each as often as it does.  # [samples]"""
        common = int(self._mixture.groups.copies[group])
        if common >= 0:
            self._check(table, common)
            every = common if turns == 1 else int(of_turn(np.array(common), np.array(0), turn, turns))
            return np.repeat(np.arange(table.num_rows), every) if every != 1 else np.arange(table.num_rows)
        copies = self.copies(table, epoch, group)
        if turns > 1:
            copies = of_turn(copies, phases(words(table["doc_id"]), self._seed, epoch), turn, turns)
        return np.repeat(np.arange(table.num_rows), copies)

    def _check(self, table: pa.Table, common: int) -> None:
        """Statistics leave out what is no number: look whether all weights are what they say."""
        if "weight" in table.column_names and not (table["weight"].to_numpy() == common).all():
            _parted(table["weight"], self._mixture.out)
            raise InputError(
                f"{self._mixture.out} has weights that its files' statistics do not tell of; try `curator verify`"
            )

    def copies(self, table: pa.Table, epoch: int, group: int) -> I64:
        """How often each row of a row group is seen this epoch: its weight's whole part, and what is drawn.  # [rows]"""
        whole, rest = _parted(table["weight"], self._mixture.out)
        if not rest.any():
            return whole
        drawn = ids.unit_hash(words(table["doc_id"]), self._seed, f"loader:copies:{epoch}")
        weighed = self._all_weighed()[group]
        if weighed is None:
            return whole + (drawn < rest)
        for number, value in enumerate(weighed.rests):
            members = np.flatnonzero(rest == value)
            whole[members[np.argsort(drawn[members], kind="stable")]] += np.diff(self._counted(weighed, epoch, number))
        return whole

    def _counted(self, weighed: Weighed, epoch: int, number: int) -> I64:
        """Extra copies that had come together before each member of a class, through files and epochs.  # [members+1]"""
        value = weighed.rests[number]
        begin = epoch * int(weighed.all[number]) + int(weighed.before[number])
        start = ids.unit_hash(np.array([[value.view(np.uint64), 0]], np.uint64), self._seed, "loader:phase")[0]
        counted: I64 = np.floor(start + value * (begin + np.arange(weighed.counts[number] + 1))).astype(np.int64)
        return counted

    def _all_weighed(self) -> dict[int, Weighed | None]:
        """Count the classes of equal remainder in every row group with weights that are not whole; read once."""
        if self._weighed is None:
            told = {int(group): self._told(int(group)) for group in np.flatnonzero(self._mixture.groups.copies < 0)}
            self._weighed = _running(told)
        return self._weighed

    def _told(self, group: int) -> tuple[F64, I64] | None:
        _, rest = _parted(self._mixture.read(group, ("weight",))["weight"], self._mixture.out)
        rests, counts = np.unique(rest[rest > 0], return_counts=True)
        return (rests, counts) if len(rests) <= _CLASSES else None


def _even(rows: int, copies: int, most: int) -> I64:
    """The turns of a group whose documents all have so many copies.  # [turns]"""
    turns = min(copies, most)
    return rows * of_turn(np.array(copies), np.array(0), np.arange(turns), max(turns, 1))


def _parted(column: pa.ChunkedArray, out: Path) -> tuple[I64, F64]:
    """Part weights into whole numbers and remainders; no weight counts once.  # each [rows]"""
    weight = pc.fill_null(column.cast(pa.float64()), 1.0).to_numpy()
    if not (np.isfinite(weight) & (weight >= 0)).all():
        raise InputError(f"{out} has weights below 0 or not finite in its mixture; try `curator verify {out}`")
    whole = np.floor(weight)
    return whole.astype(np.int64), weight - whole


def _running(told: Mapping[int, tuple[F64, I64] | None]) -> dict[int, Weighed | None]:
    """Add up the classes of all row groups in the order of the files."""
    total: dict[float, int] = {}
    found: dict[int, Weighed | None] = {}
    for group, classes in told.items():
        if classes is None:
            found[group] = None
            continue
        rests, counts = classes
        before = np.array([total.get(value, 0) for value in rests.tolist()], np.int64)
        total.update(zip(rests.tolist(), (before + counts).tolist(), strict=True))
        found[group] = Weighed(rests, counts, before, before)
    for group, weighed in found.items():
        if weighed is not None:
            found[group] = weighed._replace(all=np.array([total[value] for value in weighed.rests.tolist()], np.int64))
    return found
