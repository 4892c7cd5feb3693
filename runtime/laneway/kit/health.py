"""Health that is about progress: a process that runs but gets nowhere is not healthy.

Each loop has a :class:`Mark` and marks it whenever it gets somewhere, idle turns included; silence for longer
than its allowance is what makes a process not live. Readiness adds conditions: reasons why not to send work
here now.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

Clock = Callable[[], float]


class Mark:
    """When one loop last made progress. ``failures`` counts how often it broke and was restarted."""

    __slots__ = ("_clock", "allowed_silence", "failures", "last", "name")

    def __init__(self, name: str, allowed_silence: float, clock: Clock = time.monotonic) -> None:
        self.name = name
        self.allowed_silence = allowed_silence
        self.failures = 0
        self._clock = clock
        self.last = clock()

    def touch(self) -> None:
        """Says: progress was made now."""
        self.last = self._clock()

    @property
    def silence(self) -> float:
        """Seconds since the last progress."""
        return max(0.0, self._clock() - self.last)

    @property
    def silent(self) -> bool:
        """Whether it is silent for longer than it may be."""
        return self.silence > self.allowed_silence


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer about health. ``reasons`` say what is wrong (empty when ``ok``); ``checks`` has a line for
    each check;
    ``notes`` are things amiss that do not change the answer."""

    ok: bool
    reasons: tuple[str, ...] = ()
    checks: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


class Health:
    """The checks of one process. ``clock`` gives monotonic seconds."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._marks: dict[str, Mark] = {}
        self._conditions: dict[str, Callable[[], str | None]] = {}
        self._notes: dict[str, Callable[[], str | None]] = {}

    def watch(self, name: str, allowed_silence: float) -> Mark:
        """Registers a loop that must make progress at least every ``allowed_silence`` seconds; its time
        starts now.

        Raises:
            ValueError: the name is taken, or the allowance is not positive.
        """
        if name in self._marks:
            raise ValueError(f"a loop named {name!r} is watched already; give each its own name")
        if not allowed_silence > 0:
            raise ValueError(f"allowed_silence of {name!r} must be over 0 seconds, not {allowed_silence}")
        mark = self._marks[name] = Mark(name, allowed_silence, self._clock)
        return mark

    def unwatch(self, name: str) -> None:
        """Forgets a loop that was stopped on purpose; an unknown name is fine."""
        self._marks.pop(name, None)

    def require(self, name: str, condition: Callable[[], str | None]) -> None:
        """Adds a condition of readiness: it returns why the process is not ready, or None."""
        self._conditions[name] = condition

    def note(self, name: str, condition: Callable[[], str | None]) -> None:
        """Adds something that both answers mention when it is amiss, and that changes neither."""
        self._notes[name] = condition

    def forget(self, name: str) -> None:
        """Removes a condition or note; an unknown name is fine."""
        self._conditions.pop(name, None)
        self._notes.pop(name, None)

    @property
    def marks(self) -> list[Mark]:
        """The loops that are watched now."""
        return list(self._marks.values())

    def live(self) -> Answer:
        """Whether every loop makes progress. If not, restarting the process is the cure."""
        reasons, checks = [], {}
        for mark in self.marks:
            line = f"progress {mark.silence:.1f} s ago, {mark.allowed_silence:g} s allowed"
            if mark.silent:
                reasons.append(f"{mark.name}: {line}")
                line = "silent: " + line
            checks[mark.name] = line
        return Answer(not reasons, tuple(reasons), checks, self._amiss())

    def ready(self) -> Answer:
        """Whether to send work here: live, and no condition objects."""
        live = self.live()
        reasons, checks = list(live.reasons), dict(live.checks)
        for name, condition in list(self._conditions.items()):
            why = condition()
            checks[name] = why or checks.get(name, "ok")  # (a loop of the same name has told of its progress)
            if why:
                reasons.append(f"{name}: {why}")
        return Answer(not reasons, tuple(reasons), checks, live.notes)

    def _amiss(self) -> tuple[str, ...]:
        return tuple(f"{name}: {why}" for name, note in list(self._notes.items()) if (why := note()))
