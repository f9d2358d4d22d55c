"""Run tasks in threads of this process: for tasks whose work is done by processes of their own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass

from curator.engine.base import Task


@dataclass(frozen=True)
class ThreadEngine:
    """As many tasks at once as there are workers; `stop` is called when one fails, so that the others end too."""

    workers: int
    stop: Callable[[], None]

    def map(self, tasks: Sequence[Task], ended: Callable[[Task], None]) -> None:
        """Run the tasks; the first failure stops the rest and is raised."""
        with ThreadPoolExecutor(max(1, min(self.workers, len(tasks)))) as pool:
            pending = {pool.submit(task.run): task for task in tasks}
            try:
                while pending:
                    done, _ = wait(pending, timeout=1.0, return_when=FIRST_EXCEPTION)
                    for future in done:
                        task = pending.pop(future)
                        future.result()
                        ended(task)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                self.stop()
                raise
