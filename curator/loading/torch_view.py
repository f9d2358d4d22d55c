"""What torch sees of a dataset; torch is used where the caller has imported it, never imported from here."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator, Mapping
from typing import Any

from curator.errors import InputError


def torch_worker() -> tuple[int, int]:
    """This process's number among the DataLoader's workers, and how many; (0, 1) outside of one."""
    data = sys.modules.get("torch.utils.data")
    info = data.get_worker_info() if data is not None else None
    return (info.id, info.num_workers) if info is not None else (0, 1)


class _View:
    """The methods of a dataset that torch's loaders call."""

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
