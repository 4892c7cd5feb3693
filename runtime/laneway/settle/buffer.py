"""Outcomes on their way to Redis: each is sent until it was answered, in batches."""

from __future__ import annotations

from laneway.model.settlement import Settlement


class OutcomeBuffer:
    """Collects settlements and hands them out in batches of at most ``size``, so that a script call stays short.

    A batch is handed out again, perhaps with more behind it, until :meth:`answered` says that Redis has spoken: a
    settlement that was sent and never answered must be sent again, and is accepted once.
    """

    def __init__(self, size: int = 128) -> None:
        self._size = size
        self._sending: list[Settlement] = []
        self._fresh: list[Settlement] = []
        self._fences: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self._fences)

    @property
    def fresh(self) -> bool:
        """Whether there are outcomes that no batch has carried yet."""
        return bool(self._fresh)

    def add(self, settlement: Settlement) -> None:
        """Takes one outcome."""
        self._fresh.append(settlement)
        self._fences[settlement.id] = settlement.fence

    def unsettled(self) -> dict[bytes, int]:
        """Fences by id of what has not been answered. May be called from any thread."""
        return self._fences.copy()

    def batch(self) -> list[Settlement]:
        """What to send now."""
        room = self._size - len(self._sending)
        if room > 0 and self._fresh:
            self._sending += self._fresh[:room]
            del self._fresh[:room]
        return self._sending

    def answered(self) -> None:
        """The batch was answered: each of its settlements was accepted or refused."""
        for settlement in self._sending:
            if self._fences.get(settlement.id) == settlement.fence:
                del self._fences[settlement.id]
        self._sending = []

    def forget(self, task_id: bytes) -> bool:
        """Drops the outcome of a task that is not this worker's any more; whether there was one."""
        if self._fences.pop(task_id, None) is None:
            return False
        self._sending = [s for s in self._sending if s.id != task_id]
        self._fresh = [s for s in self._fresh if s.id != task_id]
        return True
