"""The port between a worker's loop and its buffer of outcomes (see ``laneway.settle.buffer``)."""

from __future__ import annotations

from typing import Protocol

from laneway.model.settlement import Settlement


class Outcomes(Protocol):
    """Settlements on their way to Redis."""

    def __len__(self) -> int:
        """How many have not been answered."""
        ...

    @property
    def fresh(self) -> bool:
        """Whether there are some that no batch has carried yet."""
        ...

    def add(self, settlement: Settlement) -> None:
        """Takes one."""
        ...

    def unsettled(self) -> dict[bytes, int]:
        """Fences by id of what has not been answered."""
        ...

    def batch(self) -> list[Settlement]:
        """What to send now; the same again until it was answered."""
        ...

    def answered(self) -> None:
        """The batch was answered."""
        ...

    def forget(self, task_id: bytes) -> bool:
        """Drops one; whether it was there."""
        ...
