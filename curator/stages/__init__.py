"""A stage measures: it adds columns to every row and never drops one.

`Stage` is the contract; each other file in this folder is one measure.
`tests/test_contract.py` holds every registered stage to the promises made here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa

from curator.ids import fingerprint

Measure = Callable[[pa.RecordBatch], pa.RecordBatch]


@dataclass(frozen=True)
class Stage:
    """One measure of a document, described before any weights are loaded.

    Subclasses are frozen dataclasses: their fields are the settings a recipe may set.
    `open()` loads what the measure needs, once a worker, and returns the measure:

    - in: a batch with at least the columns of `needs` (names and types);
    - out: a batch with exactly the columns of `adds`, row for row in the same order.

    A row's answer may not lean on its neighbours, the order or the batch size (a stage on
    a neural encoder states how closely in `tolerance`). A null text gives null signals; an
    empty one gives numbers wherever a number has a meaning. A measure never raises on any
    valid Arrow string.
    """

    name: ClassVar[str]
    version: ClassVar[str]  # raise it when answers change: cached signals of other versions are not reused
    needs: ClassVar[pa.Schema]
    tolerance: ClassVar[float] = 0.0

    @property
    def adds(self) -> pa.Schema:
        """The columns this stage measures, each made with `schema.field`."""
        raise NotImplementedError

    def open(self) -> Measure:
        """Load what the measure needs and return it."""
        raise NotImplementedError

    def weights(self) -> dict[str, str]:
        """What else the answers depend on, by name: the sha256 of model files, the version of Unicode tables."""
        return {}

    def settings(self) -> dict[str, Any]:
        """The stage's own settings, as the recipe may state them."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}

    def fingerprint(self) -> str:
        """Hash of everything the answers depend on: name, version, settings and weights."""
        return fingerprint(
            {"stage": self.name, "version": self.version, "settings": self.settings(), "weights": self.weights()}
        )


@dataclass(frozen=True)
class Learner(Stage):
    """A stage that first looks at the whole corpus: what it learns there is a table, and each document is measured by it.

    The table is a file of the run with a receipt; measuring stays row for row. Opened without a
    corpus it measures by nothing learned.
    """

    def learn(self, batches: Iterable[tuple[pa.RecordBatch, Any]]) -> pa.Table:
        """Learn from the columns of `needs` of all documents, in order.

        Each batch comes with flags, one a row: whether the document counts, which copies of another do not.
        """
        raise NotImplementedError

    def learned_nothing(self) -> pa.Table:
        """What `learn` makes of no document."""
        raise NotImplementedError

    def open_with(self, learned: pa.Table) -> Measure:
        """Return the measure by what was learned."""
        raise NotImplementedError

    def open(self) -> Measure:
        """Return the measure by nothing learned."""
        return self.open_with(self.learned_nothing())
