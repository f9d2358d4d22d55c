"""Say how far a run is: a bar with a rate and a time left on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from typing import Any, Protocol, TextIO

import click


class Progress(Protocol):
    """What a run reports to."""

    def begin(self, label: str, rows: int, done: int, unit: str = "documents") -> None:
        """A step over `rows` rows begins; `done` of them were found finished."""

    def advance(self, rows: int) -> None:
        """So many rows more are done."""

    def end(self) -> None:
        """The step has ended."""

    def say(self, text: str) -> None:
        """A line worth reading."""


class Silent:
    """Reports nothing."""

    def begin(self, label: str, rows: int, done: int, unit: str = "documents") -> None:
        """Ignore."""

    def advance(self, rows: int) -> None:
        """Ignore."""

    def end(self) -> None:
        """Ignore."""

    def say(self, text: str) -> None:
        """Ignore."""


@dataclass
class Console:
    """Reports to a stream, by default standard error so that results on standard output stay clean."""

    stream: TextIO = field(default_factory=lambda: sys.stderr)
    every_s: float = 15.0
    _bar: Any = None
    _label: str = ""
    _unit: str = "documents"
    _rows: int = 0
    _done: int = 0
    _reused: int = 0
    _began: float = 0.0
    _said: float = 0.0

    def begin(self, label: str, rows: int, done: int, unit: str = "documents") -> None:
        """Start a bar, or remember when the step began."""
        self._label, self._rows, self._done, self._reused, self._unit = label, rows, done, done, unit
        self._began = self._said = time.monotonic()
        if self.stream.isatty() and rows > done:
            self._bar = click.progressbar(
                length=rows,
                label=f"{label:<12}",
                file=self.stream,
                show_pos=True,
                show_eta=True,
                item_show_func=lambda _: self._rate(),
            )
            self._bar.__enter__()
            self._bar.update(done)

    def advance(self, rows: int) -> None:
        """Move the bar; elsewhere a line every `every_s` seconds."""
        self._done += rows
        if self._bar is not None:
            self._bar.update(rows, True)
        elif time.monotonic() - self._said >= self.every_s:
            self._said = time.monotonic()
            self.say(
                f"{self._label:<12} {self._done:>9,} of {self._rows:,} {self._unit}, {self._rate()}, {self._left()} left"
            )

    def end(self) -> None:
        """Close the bar; elsewhere one line with the rate."""
        if self._bar is not None:
            self._bar.__exit__(None, None, None)
            self._bar = None
            return
        taken = time.monotonic() - self._began
        if self._done == self._reused and self._rows:
            self.say(f"{self._label:<12} {self._done:>9,} {self._unit}, all found done")
        else:
            again = f" ({self._reused:,} found done)" if self._reused else ""
            self.say(f"{self._label:<12} {self._done:>9,} {self._unit} in {taken:.1f} s, {self._rate()}{again}")

    def say(self, text: str) -> None:
        """Print a line."""
        print(text, file=self.stream, flush=True)

    def _rate(self) -> str:
        return f"{(self._done - self._reused) / max(1e-3, time.monotonic() - self._began):,.0f}/s"

    def _left(self) -> str:
        rate = (self._done - self._reused) / max(1e-3, time.monotonic() - self._began)
        seconds = (self._rows - self._done) / rate if rate else float("inf")
        return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"
