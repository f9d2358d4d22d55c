"""Curated documents in Hugging Face `datasets` and in Grain; torch has its own view, `CuratedDataset.as_torch()`.

    data = huggingface(CuratedDataset("out", seed=1), parts=8)     # datasets.IterableDataset
    data = grain_dataset(CuratedDataset("out", seed=1)).batch(8)   # grain.IterDataset

Each needs its framework installed, and imports it in the call.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from curator.errors import InputError
from curator.loader import CuratedDataset, Sample


def huggingface(dataset: CuratedDataset, parts: int = 1) -> Any:
    """Make a streaming `datasets.IterableDataset` of the dataset's samples, from where it stands to its epoch's end.

    `parts` is how many shards `split_dataset_by_node` and torch's workers can deal out; one process reads them one
    after the other. Its own `state_dict` is exact to the sample; going on skips what was given of the shard it stands
    in, which is read once more. For another epoch make it anew after `set_epoch`.
    """
    try:
        import datasets
    except ImportError as error:
        raise InputError("the Hugging Face plug-in needs `datasets`: pip install datasets") from error
    given = {"dataset": dataset, "of": parts, "parts": list(range(parts))}
    return datasets.IterableDataset.from_generator(_generated, gen_kwargs=given)


def _generated(dataset: CuratedDataset, of: int, parts: Sequence[int]) -> Iterator[Sample]:
    for number in parts:
        yield from dataset.part(number, of)


def grain_dataset(dataset: CuratedDataset) -> Any:
    """Make a `grain.IterDataset` of the dataset's samples, from where it stands to its epoch's end.

    `get_state`/`set_state` of its iterator are exact to the sample and cost no reading over; `mp_prefetch` deals the
    samples out to its worker processes, each of which reads its own lanes only.
    """
    try:
        kind, _ = _grain_kinds()
    except ImportError as error:
        raise InputError("the Grain plug-in needs `grain`: pip install grain") from error
    return kind(dataset)


class _Source:
    """What Grain sees of a dataset."""

    def __init__(self, dataset: CuratedDataset) -> None:
        super().__init__()
        self.dataset = dataset

    def __iter__(self) -> Any:
        return _grain_kinds()[1](self.dataset)

    def set_slice(self, sl: slice, sequential_slice: bool = False) -> None:
        self.dataset = self.dataset.part(sl.start or 0, sl.step or 1)

    def __reduce__(self) -> tuple[Any, ...]:
        return grain_dataset, (self.dataset,)


class _Going:
    """Grain's iterator over a dataset."""

    def __init__(self, dataset: CuratedDataset) -> None:
        super().__init__()
        self._dataset = dataset.part(0, 1)  # its own place: two iterators do not move each other
        self._epoch, self._samples = dataset.epoch, iter(self._dataset)

    def __next__(self) -> Sample:
        return next(self._samples)

    def get_state(self) -> dict[str, Any]:
        return self._dataset.state_dict()

    def set_state(self, state: Mapping[str, Any]) -> None:
        self._dataset.load_state_dict(state)
        # a state from after the last sample stands in the next epoch, which is not this iterator's to give
        self._samples = iter(self._dataset) if self._dataset.epoch == self._epoch else iter(())


@functools.cache
def _grain_kinds() -> tuple[Any, Any]:
    """The two classes Grain asks for; made where Grain is."""
    import grain

    return (
        types.new_class("CuratedGrainDataset", (_Source, grain.IterDataset)),
        types.new_class("CuratedGrainIterator", (_Going, grain.DatasetIterator)),
    )
