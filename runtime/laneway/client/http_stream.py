"""Server-sent events, read on where they broke off."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any

from laneway.client.http_calls import Caller
from laneway.errors import OutcomeUnknown, Unavailable

#: The gateway sends a sign of life every 10 s; after so long without one the connection counts as lost (s).
SILENCE = 35.0
_FIRST_WAIT, _LAST_WAIT = 0.25, 5.0


@dataclass(frozen=True, slots=True)
class Sent:
    """One event as it was sent: ``id`` is the position after it ("" when it has none)."""

    event: str
    data: str
    id: str


class EventParser:
    """Lines of text/event-stream to events, as HTML's specification says. ``last_id`` is where to resume: the id that
    the last empty line has made good, whether an event ended there or nothing had happened."""

    def __init__(self, last_id: str = "") -> None:
        self.last_id = self._id = last_id
        self.retry: float | None = None
        self._event = ""
        self._data: list[str] = []

    def line(self, line: str) -> Sent | None:
        """Takes the next line; the event that it ends, if any."""
        if not line:
            self.last_id = self._id
            event, data = self._event or "message", "\n".join(self._data)
            had = bool(self._data)
            self._event, self._data = "", []
            return Sent(event, data, self.last_id) if had else None
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            self._event = value
        elif name == "data":
            self._data.append(value)
        elif name == "id" and "\0" not in value:
            self._id = value
        elif name == "retry" and value.isdecimal():
            self.retry = int(value) / 1000
        return None


async def follow(
    caller: Caller, path: str, query: Mapping[str, Any], last_id: str | None, *, patience: float | None
) -> AsyncGenerator[Sent, None]:
    """The events of a stream without end. A connection that breaks is made anew, and resumes after the last event, or
    the last position that was told without one.

    ``patience``: how long the gateway may be away at a stretch (s), from the first failure on; None: for ever.

    Raises:
        LanewayError: the gateway refused, or was away for too long.
    """
    position, wait = last_id, _FIRST_WAIT
    away_since: float | None = None
    while True:
        parser = EventParser(position or "")
        headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
        if position:
            headers["Last-Event-ID"] = position
        pause = wait * random.uniform(0.5, 1.0)
        try:
            async with caller.stream(path, query, headers, SILENCE) as response:
                async for line in response.aiter_lines():
                    away_since, wait = None, _FIRST_WAIT
                    sent = parser.line(line)
                    if sent is not None:
                        yield sent
        except (Unavailable, OutcomeUnknown) as error:
            told = getattr(error, "retry_after", 0.0) if error.problem else 0.0
            pause = max(pause, told)
            now = time.monotonic()
            away_since = now if away_since is None else away_since
            if patience is not None and now + pause - away_since > patience:
                raise
        position = parser.last_id or None
        await asyncio.sleep(parser.retry if parser.retry is not None else pause)
        wait = min(_LAST_WAIT, wait * 2)
