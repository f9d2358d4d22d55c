"""What all clients together may take, and how a request beyond it is refused."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec
from starlette.responses import Response

from curator.answers import Limits


@dataclass(frozen=True)
class Bounds:
    """What all clients together may take."""

    sql: Limits = field(default_factory=Limits)
    sql_at_once: int = 2
    sql_waiting: int = 16
    sql_bytes: int = 100_000  # of one question
    wait_s: float = 10.0  # for a turn
    body_s: float = 20.0  # for a body to arrive
    score_bytes: int = 8_000_000  # of one body
    score_texts: int = 1_000
    score_chars: int = 1_000_000  # of one text
    held_bytes: int = 64_000_000  # of all bodies that were read and not yet answered
    held: int = 256  # of such requests
    batch: int = 256  # texts that are scored in one go, of however many requests


class Refused(Exception):
    """A request that gets no answer but one line and a status."""

    def __init__(self, status: int, message: str, retry_after: int | None = None) -> None:
        """retry_after: seconds."""
        super().__init__(message)
        self.status, self.message, self.retry_after = status, message, retry_after


def said(refused: Refused) -> Response:
    """One line as JSON."""
    headers = {} if refused.retry_after is None else {"retry-after": str(refused.retry_after)}
    if refused.status == 401:
        headers["www-authenticate"] = "Bearer"
    line = " ".join(refused.message.split())
    return Response(msgspec.json.encode({"error": line}), refused.status, headers, "application/json")
