"""Run tasks one after another in this process: for work so short that starting workers would cost more, and for tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from curator.engine.base import Task


class InlineEngine:
    """The smallest engine there can be; it leaves the same bytes as any other."""

    def __enter__(self) -> InlineEngine:
        """Nothing to start."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Nothing to end."""

    def release(self) -> None:
        """Nothing to let go: what a stage holds, this process holds."""

    def map(self, tasks: Sequence[Task], ended: Callable[[Task], None]) -> None:
        """Run the tasks in order."""
        for task in tasks:
            task.run()
            ended(task)
