"""A headless Chromium for tests: spoken to over two pipes, so that it needs neither a driver nor a port."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync",
    "--disable-component-update", "--remote-debugging-pipe", "--window-size=1200,900",
)  # fmt: skip


class Browser:
    """One page in a browser; what its console says is kept."""

    def __init__(self, folder: Path) -> None:
        """folder: for the browser's profile."""
        (down, self._to), (self._from, up) = os.pipe(), os.pipe()
        there = f"exec 3<&{down} 4>&{up}; exec {CHROMIUM} {' '.join(FLAGS)} --user-data-dir={folder}"
        self._process = subprocess.Popen(["bash", "-c", there], pass_fds=(down, up), stderr=subprocess.DEVNULL)
        os.close(down)
        os.close(up)
        self._rest, self._number = b"", 0
        self.session: dict[str, str] = {}
        self.console: list[dict[str, Any]] = []
        target = self.do("Target.createTarget", url="about:blank")["targetId"]
        self.session = {"sessionId": self.do("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]}
        for domain in ("Runtime", "Log", "Page"):
            self.do(f"{domain}.enable")

    def do(self, method: str, **parameters: Any) -> Any:
        """One command of the DevTools protocol and its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters, **self.session}
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self._rest:
                self._rest += os.read(self._from, 1 << 20) or b'{"id": -1}\0'
            line, _, self._rest = self._rest.partition(b"\0")
            found = json.loads(line)
            if found.get("method") in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"):
                self.console.append(found["params"])
            if found.get("id") in (self._number, -1):
                return found["result"]

    def run(self, script: str) -> Any:
        """The value of an expression in the page."""
        return self.do("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)["result"].get(
            "value"
        )

    def until(self, script: str) -> Any:
        """The first value of an expression that is true."""
        for _ in range(600):
            if value := self.run(script):
                return value
            time.sleep(0.1)
        raise AssertionError(f"never true: {script}")

    def open(self, page: Path) -> None:
        """Show a file and wait until it is there."""
        self.do("Page.navigate", url=page.as_uri())
        self.until(f"document.readyState === 'complete' && location.href === {json.dumps(page.as_uri())}")

    def show(self, width: int, media: str = "screen", scheme: str = "light") -> None:
        """Show the page so many CSS pixels wide, on a screen or on paper, in a light or a dark scheme."""
        self.do("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.do("Emulation.setEmulatedMedia", media=media, features=features)

    def close(self) -> None:
        """End the browser."""
        os.close(self._to)
        os.close(self._from)
        self._process.kill()
        self._process.wait()


@contextmanager
def browsing(folder: Path) -> Iterator[Browser]:
    """A browser for as long as a test needs it."""
    browser = Browser(folder)
    try:
        yield browser
    finally:
        browser.close()
