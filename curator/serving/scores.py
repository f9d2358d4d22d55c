"""Scores: one process, and one batch for all requests that came while it was busy."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from curator.serving.bounds import Bounds, Refused
from curator.serving.workers import Stopped, Worker
from curator.unstored import Document

LOAD_S: Final = 600.0
SCORE_S: Final = 300.0  # one batch, with the encoder on a slow machine


@dataclass
class _Waiting:
    documents: list[Document]
    answer: asyncio.Future[list[bytes]]


class Scores:
    """One process that scores; requests that came while it was busy share its next batch, which costs little more than one."""

    def __init__(self, root: Path, recipe: str | None, bounds: Bounds) -> None:
        """Nothing is loaded yet."""
        self._worker = Worker("score", str(root), *([recipe] if recipe else []))
        self._waiting: deque[_Waiting] = deque()
        self._arrived = asyncio.Event()
        self._bounds = bounds
        self.state = "loading"

    async def score(self, documents: list[Document]) -> list[bytes]:
        """For each document an object as JSON, in order."""
        waiting = _Waiting(documents, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._arrived.set()
        return await waiting.answer

    async def run(self) -> None:
        """Load the models, then answer until cancelled."""
        try:
            await self._worker.ask(msgspec.msgpack.encode([]), LOAD_S)
            self.state = "ready"
        except (Refused, Stopped) as error:
            self.state = str(error) or "the process that scores has ended while it was loading its models"
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while batch := self._batch():
                await self._answer(batch)

    def _batch(self) -> list[_Waiting]:
        """Whole requests, the oldest first, up to a batch of texts; not those that nobody waits for any more."""
        batch: list[_Waiting] = []
        while self._waiting and sum(len(w.documents) for w in batch) < self._bounds.batch:
            waiting = self._waiting.popleft()
            if not waiting.answer.done():
                batch.append(waiting)
        return batch

    async def _answer(self, batch: list[_Waiting]) -> None:
        try:
            found = await self._asked([d for waiting in batch for d in waiting.documents])
        except Exception as error:
            if len(batch) > 1:  # whose text it was that stopped the process: everyone again, alone
                for waiting in batch:
                    await self._answer([waiting])
            elif not batch[0].answer.done():
                batch[0].answer.set_exception(error)
            return
        for waiting in batch:
            own, found = found[: len(waiting.documents)], found[len(waiting.documents) :]
            if not waiting.answer.done():
                waiting.answer.set_result(own)

    async def _asked(self, documents: list[Document]) -> list[bytes]:
        try:
            rows = await self._worker.ask(msgspec.msgpack.encode(documents), SCORE_S)
        except Stopped as error:
            raise Refused(500, "scoring these texts stopped the process that scores; send them one by one") from error
        return msgspec.msgpack.decode(rows, type=list[bytes])

    async def close(self) -> None:
        """End the process."""
        await self._worker.close()
