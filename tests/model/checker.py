"""Breadth-first search over all states of a variant, and what is asked of them.

Safety: an invariant of each state, and the assertions inside of the scripts. Liveness, as AG EF over natural
moves: from every state, however it came about, natural moves alone can end all tasks, and can leave nothing
behind. A variant may also ask that natural moves do not go round for ever.
"""

from __future__ import annotations

import gc
import time
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.model.common import SHARED, owner
from tests.model.direct import DIRECT
from tests.model.kafka import KAFKA
from tests.model.rules import Variant
from tests.model.state import (
    ANNOUNCED,
    DEAD,
    DOWN,
    FINAL,
    HELD,
    NEW,
    RUNS,
    RUNS_ALONE,
    State,
    Step,
    Violation,
    canonical,
    initial,
)


@dataclass(frozen=True)
class Report:
    """What exploring one variant showed. ``broken``: None when all was well; ``trace``: the moves to it."""

    states: int
    moves: int
    seconds: float
    broken: str | None = None
    trace: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = [f"{self.states} states, {self.moves} moves, {self.seconds:.1f} s: {self.broken or 'clean'}"]
        lines += [f"  {n:2} {label}" for n, label in enumerate(self.trace, 1)]
        return "\n".join(lines)


def inspect(s: State, v: Variant) -> None:
    """Raises Violation when a state should not be."""
    room = v.window if v.source == "kafka" else v.slots
    for at, t in enumerate(s.redis.tasks):
        if t.state in HELD and s.redis.regs[t.holder] is None:
            raise Violation(f"t{at} is {t.state}, held by W{t.holder}, which no reaper knows any more")
        if t.state == DEAD and v.poison and at not in v.poison:
            raise Violation(f"t{at} did nothing wrong, and ends in the dead letters")
    for inc in range(len(s.redis.regs)):
        if sum(t.holder == inc and t.state in HELD for t in s.redis.tasks) > room:
            raise Violation(f"W{inc} holds more than the {room} that it has room for")
    running: set[tuple[int, int]] = set()
    for p in s.procs:
        for e in p.execs:
            if e.stage in (RUNS, RUNS_ALONE) and e.fence:
                if (e.task, e.fence) in running:
                    raise Violation(f"one attempt of t{e.task} is executed twice at once")
                running.add((e.task, e.fence))


def ended(s: State, v: Variant) -> bool:
    """All that was submitted has ended."""
    return all(t.state == NEW or t.state in FINAL for t in s.redis.tasks)


def tidy(s: State, v: Variant) -> bool:
    """All has ended, every registration is that of a living worker, and nobody waits for anything."""
    if not ended(s, v) or any(p.execs or p.call or p.inbox for p in s.procs):
        return False
    for inc, reg in enumerate(s.redis.regs):
        if reg is not None and (reg.state != ANNOUNCED or owner(s, inc) is None):
            return False
    return all(p.phase == DOWN or s.redis.regs[p.inc] for p in s.procs)


def unbereaved(s: State, v: Variant) -> bool:
    """Every registration has a living process."""
    return all(reg is None or owner(s, inc) for inc, reg in enumerate(s.redis.regs))


def steps(s: State, v: Variant) -> Iterator[Step]:
    """All moves from a state."""
    for action in (*SHARED, *(KAFKA if v.source == "kafka" else DIRECT)):
        yield from action(s, v)


class Explorer:
    """One search."""

    def __init__(self, v: Variant) -> None:
        self.v = v
        first = canonical(initial(v), v)
        self.index = {first: 0}
        self.states = [first]
        self.parents = array("i", [-1])
        self.labels = [""]
        self.sources, self.targets = array("i"), array("i")  # natural moves
        self.reaps: list[tuple[int, int]] = []
        self.moves = 0

    def run(self, limit: int) -> Report:
        """Explores, then asks about liveness."""
        began = time.perf_counter()
        # Millions of small tuples and no cycle among them: looking for garbage would cost a third of the time.
        collected = gc.isenabled()
        gc.disable()
        try:
            broken, trace = self._search(limit)
            if broken is None:
                broken, trace = self._liveness()
        finally:
            if collected:
                gc.enable()
        return Report(len(self.states), self.moves, time.perf_counter() - began, broken, tuple(trace))

    def _path(self, at: int) -> list[str]:
        labels = []
        while at > 0:
            labels.append(self.labels[at])
            at = self.parents[at]
        return labels[::-1]

    def _search(self, limit: int) -> tuple[str | None, list[str]]:
        v, index, states = self.v, self.index, self.states
        at = 0
        while at < len(states):
            s = states[at]
            try:
                inspect(s, v)
                for step in steps(s, v):
                    self.moves += 1
                    after = canonical(step.state, v)
                    n = index.setdefault(after, len(states))
                    if n == len(states):
                        states.append(after)
                        self.parents.append(at)
                        self.labels.append(step.label)
                    if step.natural and n != at:
                        self.sources.append(at)
                        self.targets.append(n)
                        if step.label.startswith("reap"):
                            self.reaps.append((at, n))
            except Violation as violation:
                return str(violation), [*self._path(at), *([violation.label] if violation.label else [])]
            at += 1
            if len(states) > limit:
                raise RuntimeError(f"more than {limit} states: make the variant smaller, or raise the limit")
        return None, []

    def _liveness(self) -> tuple[str | None, list[str]]:
        stuck = self._cannot_reach(ended)
        if stuck is not None:
            return f"a task can never end:\n  {self.states[stuck]}", self._path(stuck)
        stuck = self._cannot_reach(tidy)
        if stuck is not None:
            return f"something is left behind for ever:\n  {self.states[stuck]}", self._path(stuck)
        if self.v.loops:
            return self._loop()
        return None, []

    def _cannot_reach(self, wish: Callable[[State, Variant], bool]) -> int | None:
        """The first state from which natural moves cannot reach a wished one."""
        before: list[list[int]] = [[] for _ in self.states]
        for source, target in zip(self.sources, self.targets, strict=True):
            before[target].append(source)
        reached = bytearray(len(self.states))
        stack = [n for n, s in enumerate(self.states) if wish(s, self.v)]
        for n in stack:
            reached[n] = 1
        while stack:
            for n in before[stack.pop()]:
                if not reached[n]:
                    reached[n] = 1
                    stack.append(n)
        missing = reached.find(0)
        return None if missing < 0 else missing

    def _loop(self) -> tuple[str | None, list[str]]:
        """A loop of natural moves in which nobody is dead, or in which the reaper takes part.

        Both would go on for ever; any other loop ends when the reaper comes to the dead.
        """
        after: list[list[int]] = [[] for _ in self.states]
        for source, target in zip(self.sources, self.targets, strict=True):
            after[source].append(target)
        components = [component for component in _components(after) if len(component) > 1]
        number = {n: i for i, component in enumerate(components) for n in component}
        reaped = {number[a] for a, b in self.reaps if a in number and number[a] == number.get(b)}
        for i, component in enumerate(components):
            if i in reaped or all(unbereaved(self.states[n], self.v) for n in component):
                break
        else:
            return None, []
        inside = set(component)
        n = min(inside)
        walk: dict[int, int] = {}
        while n not in walk:
            walk[n] = len(walk)
            n = next(target for target in after[n] if target in inside)
        loop = list(walk)[walk[n] :]
        names = [self._label(a, b) for a, b in zip(loop, [*loop[1:], loop[0]], strict=True)]
        return "natural moves go round for ever", [*self._path(loop[0]), "then, again and again:", *names]

    def _label(self, source: int, target: int) -> str:
        return next(
            step.label
            for step in steps(self.states[source], self.v)
            if step.natural and canonical(step.state, self.v) == self.states[target]
        )


def _components(after: list[list[int]]) -> Iterator[list[int]]:
    """The strongly connected components of a graph (Tarjan 1972, without recursion)."""
    order, low = [0] * len(after), [0] * len(after)
    on_stack = bytearray(len(after))
    stack: list[int] = []
    count = 0
    for root in range(len(after)):
        if order[root]:
            continue
        work = [(root, 0)]
        while work:
            n, child = work.pop()
            if not child:
                count += 1
                order[n] = low[n] = count
                stack.append(n)
                on_stack[n] = 1
            for i in range(child, len(after[n])):
                m = after[n][i]
                if not order[m]:
                    work += [(n, i + 1), (m, 0)]
                    break
                if on_stack[m]:
                    low[n] = min(low[n], order[m])
            else:
                if low[n] == order[n]:
                    component: list[int] = []
                    while not component or component[-1] != n:
                        component.append(stack.pop())
                        on_stack[component[-1]] = 0
                    yield component
                if work:
                    parent = work[-1][0]
                    low[parent] = min(low[parent], low[n])


def explore(v: Variant, limit: int = 2_000_000) -> Report:
    """Explores one variant whole, or up to its first counterexample.

    Raises:
        RuntimeError: it has more than ``limit`` states.
    """
    return Explorer(v).run(limit)
