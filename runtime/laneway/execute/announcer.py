"""The announcer: tells a queue which types of tasks this worker's application has, for forms and for people."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence

import msgspec

from laneway.errors import LanewayError
from laneway.kit.logs import get_logger
from laneway.kit.service import Service
from laneway.model.notes import TaskType
from laneway.ports.notes import NoteStore

_log = get_logger(__name__)

#: How often they are told again (s): what nobody tells for a day is forgotten.
EVERY = 3600.0
_AGAIN = 5.0


class Announcer(Service):
    """Announces once at the start, which costs a hundred workers of one application one writing of its types, and each
    hour from then on, so that they are remembered as long as there is a worker. No task waits for it."""

    def __init__(self, store: NoteStore, types: Sequence[TaskType], *, every: float = EVERY) -> None:
        super().__init__("announcer", allowed_silence=2 * every)
        self._store = store
        self._types = types
        self._every = every
        self.app = fingerprint_of(types)

    async def run(self) -> None:
        """Announces until it is stopped."""
        go_on = True
        while go_on:
            try:
                if await self._store.announce(self.app, self._types):
                    _log.info("types announced", types=len(self._types), app=self.app)
                self.touch()
                go_on = await self.pause(self._every * (0.75 + random.random() / 4))
            except LanewayError as error:
                _log.warning("types can't be announced now", error=str(error))
                go_on = await self.pause(_AGAIN)


def fingerprint_of(types: Sequence[TaskType]) -> str:
    """Names an application by all that its types say: 16 characters, the same on each worker with the same code."""
    encoded = msgspec.json.encode(sorted(types, key=lambda each: each.type), order="deterministic")
    return hashlib.sha256(encoded).hexdigest()[:16]
