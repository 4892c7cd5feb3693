"""Server-sent events, read on where they broke off."""

from __future__ import annotations

import asyncio
import random
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
    """Lines of text/event-stream to events, as HTML's specification says."""

    def __init__(self) -> None:
        self.last_id = ""
        self.retry: float | None = None
        self._event = ""
        self._data: list[str] = []

    def line(self, line: str) -> Sent | None:
        """Takes the next line; the event that it ends, if any."""
        if not line:
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
            self.last_id = value
        elif name == "retry" and value.isdecimal():
            self.retry = int(value) / 1000
        return None


async def follow(
    caller: Caller, path: str, query: Mapping[str, Any], last_id: str | None, *, patience: float | None
) -> AsyncGenerator[Sent, None]:
    """The events of a stream without end. A connection that breaks is made anew, and resumes after the last event.

    ``patience``: how long the gateway may be away at a stretch (s); None: as long as it takes.

    Raises:
        LanewayError: the gateway refused, or was away for too long.
    """
    position, failed_for, wait = last_id, 0.0, _FIRST_WAIT
    while True:
        parser = EventParser()
        parser.last_id = position or ""
        headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
        if position:
            headers["Last-Event-ID"] = position
        pause = wait * random.uniform(0.5, 1.0)
        try:
            async with caller.stream(path, query, headers, SILENCE) as response:
                async for line in response.aiter_lines():
                    sent = parser.line(line)
                    if sent is not None:
                        failed_for, wait = 0.0, _FIRST_WAIT
                        position = sent.id or position
                        yield sent
        except (Unavailable, OutcomeUnknown) as error:
            told = getattr(error, "retry_after", 0.0) if error.problem else 0.0
            pause = max(pause, told)
            failed_for += pause
            if patience is not None and failed_for > patience:
                raise
        await asyncio.sleep(parser.retry if parser.retry is not None else pause)
        wait = min(_LAST_WAIT, wait * 2)
