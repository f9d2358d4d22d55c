"""Questions in SQL: a few processes, a short queue before them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec

from curator.answers import GRACE_S, Limits
from curator.serving.bounds import Bounds, Refused
from curator.serving.workers import Stopped, Worker


class Desk:
    """A few processes that answer SQL; who finds all of them busy waits, who finds too many waiting is refused."""

    def __init__(self, root: Path, bounds: Bounds) -> None:
        """Nothing is started yet."""
        limits = msgspec.json.encode(bounds.sql).decode()
        self._workers = [Worker("sql", str(root), limits) for _ in range(bounds.sql_at_once)]
        self._bounds, self._asked = bounds, 0
        self._free: asyncio.Queue[Worker] = asyncio.Queue()
        for worker in self._workers:
            self._free.put_nowait(worker)

    async def run(self) -> None:
        """Start the processes, so that the first question need not."""
        for _ in self._workers:
            worker = await self._free.get()
            try:
                await worker.start()
            finally:
                self._free.put_nowait(worker)

    async def ask(self, sql: str) -> bytes:
        """The answer as JSON."""
        if self._asked >= len(self._workers) + self._bounds.sql_waiting:
            raise Refused(503, "too many questions are waiting; ask again in a moment", 2)
        self._asked += 1
        try:
            worker = await self._turn()
            try:
                return await worker.ask(sql.encode(), self._bounds.sql.seconds + 3 * GRACE_S)
            except Stopped as error:
                raise Refused(400, _overdone(self._bounds.sql)) from error
            finally:
                self._free.put_nowait(worker)
        finally:
            self._asked -= 1

    async def _turn(self) -> Worker:
        try:
            return await asyncio.wait_for(self._free.get(), self._bounds.wait_s)
        except TimeoutError as error:
            raise Refused(503, "other questions take long; ask again in a moment", 5) from error

    async def close(self) -> None:
        """End all of them."""
        for worker in self._workers:
            await worker.close()


def _overdone(limits: Limits) -> str:
    return f"the query was ended: it took more than {limits.seconds:g} s or {limits.memory_mb:,} MB; ask for less"
