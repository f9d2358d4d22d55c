"""The live page, drawn once for each account."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Final

from curator.answers import Version, version
from curator.report.live import live
from curator.serving.bounds import Refused
from curator.serving.workers import Stopped, Worker

PAGE_S: Final = 900.0  # at ten million documents the page takes minutes


class Page:
    """The live page: drawn once for each account that lies there, in a process that ends with it."""

    def __init__(self, root: Path) -> None:
        """Nothing is drawn yet."""
        self._root = root
        self._drawn: tuple[Version, bytes, str] | None = None
        self._drawing: asyncio.Task[None] | None = None

    async def get(self) -> tuple[bytes, str]:
        """The page and its policy; while a successor is being written, the page that was.

        Raises `Refused` when there is none yet.
        """
        now = version(self._root)
        if now is not None and (self._drawn is None or self._drawn[0] != now):
            self._drawing = self._drawing or asyncio.create_task(self._draw(now))
            try:
                await asyncio.shield(self._drawing)
            except Refused:
                if self._drawn is None:
                    raise
        if self._drawn is None:
            raise Refused(503, "the run is not finished, or being replaced", 5)
        return self._drawn[1:]

    async def _draw(self, now: Version) -> None:
        worker = Worker("page", str(self._root))
        try:
            page, policy = live((await worker.ask(b"", PAGE_S)).decode())
            self._drawn = (now, page.encode(), policy)
        except Stopped as error:
            raise Refused(503, "the page could not be drawn: its process has ended", 30) from error
        finally:
            self._drawing = None
            await worker.close()

    async def close(self) -> None:
        """End what is being drawn."""
        if self._drawing is not None:
            self._drawing.cancel()
            with suppress(asyncio.CancelledError, Refused):
                await self._drawing
