"""Processes that answer (`curator.answers`): started when somebody asks, ended when late or when nobody waits any more."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from typing import Final

from curator.answers import Kind, framed
from curator.serving.bounds import Refused

START_S: Final = 120.0


class Stopped(Exception):
    """The process that should have answered has ended."""


class Worker:
    """A process of `curator.answers`, started when it is asked; one question at a time."""

    def __init__(self, *arguments: str) -> None:
        """Nothing is started yet."""
        self._arguments = arguments
        self._process: asyncio.subprocess.Process | None = None
        self._ended: list[asyncio.subprocess.Process] = []

    async def ask(self, question: bytes, seconds: float) -> bytes:
        """Its answer to a question; late, or when nobody waits any more, the process is ended and the next gets a new one.

        Raises `Refused` with what is wrong with the question or the run, `Stopped` when there was no answer.
        """
        try:
            async with asyncio.timeout(START_S):
                process = await self._started()
            async with asyncio.timeout(seconds):
                return _told(await _exchange(process, question))
        except (TimeoutError, OSError, asyncio.IncompleteReadError) as error:
            self._end()
            raise Stopped from error
        except asyncio.CancelledError:
            self._end()
            raise

    async def start(self) -> None:
        """Start the process before anybody asks."""
        try:
            async with asyncio.timeout(START_S):
                await self._started()
        except (TimeoutError, OSError, asyncio.IncompleteReadError):
            self._end()  # who asks will try again, and be told

    async def _started(self) -> asyncio.subprocess.Process:
        if self._process is None or self._process.returncode is not None:
            self._process = await asyncio.create_subprocess_exec(
                # -P: a file named like a module in whatever folder this was started in is no part of the program
                sys.executable, "-P", "-m", "curator.answers", *self._arguments,
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            )  # fmt: skip
            await _answer_of(self._process)  # the empty one that says that it has started
        return self._process

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            with suppress(ProcessLookupError):
                process.kill()
            self._ended = [p for p in self._ended if p.returncode is None] + [process]

    async def close(self) -> None:
        """End the process and wait until it is gone."""
        self._end()
        for process in self._ended:
            await process.wait()
            if process.stdin is not None:
                process.stdin.close()


async def _exchange(process: asyncio.subprocess.Process, question: bytes) -> bytes:
    assert process.stdin is not None
    process.stdin.write(framed(question))
    await process.stdin.drain()
    return await _answer_of(process)


async def _answer_of(process: asyncio.subprocess.Process) -> bytes:
    assert process.stdout is not None
    return await process.stdout.readexactly(int.from_bytes(await process.stdout.readexactly(8)))


def _told(answer: bytes) -> bytes:
    kind, body = answer[:1].decode(), answer[1:]
    if kind == Kind.FOUND:
        return body
    if kind == Kind.WRONG:
        raise Refused(400, body.decode())
    raise Refused(503, body.decode(), 5)
