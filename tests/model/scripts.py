"""The Lua scripts as functions on a draft of Redis, one each, with the checks that they make, and no others.

What must never happen whatever the switches say is asserted here: it is the contract, not a rule.
"""

from __future__ import annotations

from collections.abc import Iterable

from tests.model.rules import Rules, Variant
from tests.model.state import (
    ANNOUNCED,
    CANCELLED,
    COMPLETES,
    DEAD,
    DISPATCHED,
    FINAL,
    HELD,
    MARKED_DEAD,
    NEW_FENCE,
    NOBODY,
    QUEUED,
    RUNNING,
    SCHEDULED,
    SUCCEEDED,
    Execution,
    Redis,
    Registration,
    Task,
    Violation,
)


class Draft:
    """Redis while one script runs."""

    def __init__(self, redis: Redis, variant: Variant) -> None:
        self.tasks = list(redis.tasks)
        self.regs = list(redis.regs)
        self.run = redis.run
        self.variant = variant
        self.rules: Rules = variant.rules

    def done(self) -> Redis:
        """What the script leaves behind."""
        return Redis(tuple(self.tasks), tuple(self.regs), self.run)

    def held(self, inc: int) -> list[int]:
        """The tasks in an incarnation's held set."""
        return [i for i, t in enumerate(self.tasks) if t.holder == inc and t.state in HELD]

    # -- shared parts (lua/lib)

    def take(self, at: int, inc: int, state: str, abroad: frozenset[tuple[int, int]]) -> int:
        """Hands a queued task to a holder, with a new fence. ABROAD: all fences outside of records."""
        t = self.tasks[at]
        if t.cancel:
            raise Violation(f"t{at} is handed out although its cancellation was requested")
        fence = NEW_FENCE if self.rules.fence_by_time else t.fence + 1
        if (at, fence) in abroad:
            raise Violation(f"fence {fence} of t{at} is given out twice")
        attempts = t.attempts + 1 if state == RUNNING else t.attempts
        self.tasks[at] = Task(state, fence, attempts, t.crashes, inc)
        return fence

    def finish(self, at: int, state: str) -> None:
        """Ends a task. Its fence and holder stay in the record."""
        self.tasks[at] = self.tasks[at]._replace(state=state, cancel=False)

    def requeue(self, at: int, attempts: int | None = None, crashes: int | None = None) -> None:
        """Sends a task back to its lane. Nobody holds it then."""
        t = self.tasks[at]
        self.tasks[at] = t._replace(
            state=QUEUED,
            holder=NOBODY,
            attempts=t.attempts if attempts is None else attempts,
            crashes=t.crashes if crashes is None else crashes,
        )

    def give_back(self, at: int, crashed: bool) -> None:
        """Takes a held task back from a holder that died with it (CRASHED) or does not run it."""
        t = self.tasks[at]
        if t.cancel and self.rules.cancel_honoured:
            return self.finish(at, CANCELLED)
        if t.state == RUNNING and crashed:
            crashes = min(t.crashes + 1, self.variant.max_crashes)
            used_up = crashes >= self.variant.max_crashes or not self.rules.crashes_counted_apart
            if t.attempts >= self.variant.max_attempts and used_up:
                return self.finish(at, DEAD)
            return self.requeue(at, crashes=crashes)
        return self.requeue(at, attempts=max(0, t.attempts - 1) if t.state == RUNNING else t.attempts)

    def farewell(self, inc: int, crashed: bool) -> None:
        """One page (of one task) of taking all from an incarnation: marked dead first, forgotten last."""
        reg = self.regs[inc]
        if reg and self.rules.marked_dead_first:
            self.regs[inc] = reg._replace(state=MARKED_DEAD)
        held = self.held(inc)
        if held:
            self.give_back(held[0], crashed)
        if len(held) <= 1 and (self.rules.marked_dead_first or not held):
            self.regs[inc] = None

    # -- transitions (lua)

    def settle(self, inc: int, e: Execution, kind: str, crashed: bool = False) -> str:
        """Accepts one settlement, or says already or stale."""
        t, rules = self.tasks[e.task], self.rules
        if rules.settle_checks_fence and t.fence != e.fence:
            return "stale"
        if rules.settle_checks_holder and t.holder != inc:
            return "stale"
        if t.state != RUNNING and rules.settle_checks_state:
            return "already" if t.state != DISPATCHED else "stale"
        if t.state in FINAL or t.state == SCHEDULED:
            raise Violation(f"a second settlement of one attempt of t{e.task} is accepted")
        if t.fence != e.fence:
            raise Violation(f"an earlier attempt settles a later one of t{e.task}")
        if kind == COMPLETES:
            self.finish(e.task, SUCCEEDED)
            return "ok"
        crashes = min(t.crashes + crashed, self.variant.max_crashes)
        self.tasks[e.task] = t = t._replace(crashes=crashes)
        if t.cancel and rules.cancel_honoured:
            self.finish(e.task, CANCELLED)
        elif t.attempts >= self.variant.max_attempts:
            self.finish(e.task, DEAD)
        else:
            self.tasks[e.task] = t._replace(state=SCHEDULED)  # its holder stays: a repeated settlement is "already"
        return "ok"

    def claim(
        self, inc: int, number: int, want: int, abroad: frozenset[tuple[int, int]]
    ) -> tuple[str, tuple[tuple[int, int, int], ...]]:
        """Takes tasks for an incarnation's free slots. Returns a status and (task, fence, crashes) each."""
        reg = self.regs[inc]
        if reg is None or reg.state == MARKED_DEAD:
            if self.rules.claim_needs_registration:
                return "gone", ()
            reg = reg or Registration(ANNOUNCED, self.run)
        if number < reg.number and self.rules.late_claim_refused:
            return "late", ()
        if number == reg.number and self.rules.claim_replays:
            again = []
            for at, fence in reg.memo:
                t = self.tasks[at]
                if t.fence == fence and t.holder == inc and t.state == RUNNING:
                    again.append((at, fence, t.crashes))
            return "ok", tuple(again)
        taken: list[tuple[int, int, int]] = []
        if reg.state == ANNOUNCED or not self.rules.drain_flag:
            free = min(want, self.variant.slots - len(self.held(inc)))
            for at, t in enumerate(self.tasks):
                if len(taken) >= free:
                    break
                if t.state == QUEUED:
                    taken.append((at, self.take(at, inc, RUNNING, abroad), t.crashes))
        if self.regs[inc]:
            self.regs[inc] = reg._replace(number=number, memo=tuple((at, fence) for at, fence, _ in taken))
        return "ok", tuple(taken)

    def credits(self, inc: int) -> int:
        """How many more tasks may be dispatched to an incarnation."""
        reg = self.regs[inc]
        if reg is None or not (reg.state == ANNOUNCED or (reg.state != MARKED_DEAD and not self.rules.drain_flag)):
            return 0
        held = self.held(inc)
        if not self.rules.credits_by_held:
            held = [i for i in held if self.tasks[i].state == RUNNING]
        return self.variant.window - len(held)

    def start(self, inc: int, at: int, fence: int) -> int:
        """Begins a dispatched task: 1 runs, 2 runs already, 0 refused."""
        t = self.tasks[at]
        if t.fence != fence or (self.rules.start_checks_holder and t.holder != inc):
            return 0
        if t.state == RUNNING:
            return 2 if self.rules.start_replays else 0
        if t.state != DISPATCHED:
            return 0
        if t.holder != inc:
            raise Violation(f"W{inc} starts t{at}, which was dispatched to W{t.holder}")
        self.tasks[at] = t._replace(state=RUNNING, attempts=t.attempts + 1)
        return 1

    def release(self, holder: int, at: int, fence: int) -> None:
        """Takes back a dispatched task that will not be started."""
        t = self.tasks[at]
        if t.holder != holder or t.fence != fence:
            return
        if t.state != DISPATCHED:
            if self.rules.release_checks_state:
                return
            raise Violation(f"a release puts t{at} back although it is {t.state}")
        self.give_back(at, crashed=False)

    def deregister(self, inc: int) -> None:
        """Ends an incarnation; what it still holds goes back."""
        if self.rules.deregister_returns:
            for at in self.held(inc):
                self.give_back(at, crashed=False)
        self.regs[inc] = None

    def register(self, inc: int, last: int, runs: Iterable[Execution]) -> frozenset[tuple[int, int]]:
        """Registers an incarnation; it adopts from its last one what it really runs. Returns the adopted."""
        rules, adopted = self.rules, set()
        mine = {e.task: e.fence for e in runs}
        if last != NOBODY:
            old = self.regs[last]
            if old:
                self.regs[last] = old._replace(state=MARKED_DEAD)
            for at in self.held(last):
                t = self.tasks[at]
                fits = {
                    "exact": mine.get(at) == t.fence,
                    "any_fence": at in mine,
                    "unchecked": True,
                    "none": False,
                }[rules.adopt]
                if t.state == RUNNING and fits:
                    self.tasks[at] = t._replace(holder=inc)
                    adopted.add((at, t.fence))
                else:
                    self.give_back(at, crashed=False)
        if rules.register_replays:
            for at in self.held(inc):
                if self.tasks[at].state == RUNNING and mine.get(at) == self.tasks[at].fence:
                    adopted.add((at, self.tasks[at].fence))
        if self.regs[inc] is None:
            self.regs[inc] = Registration(ANNOUNCED, self.run)
        return frozenset(adopted)

    def cancel(self, at: int) -> None:
        """Ends a waiting or dispatched task; asks a running one to stop."""
        t = self.tasks[at]
        if t.state == RUNNING:
            self.tasks[at] = t._replace(cancel=True)
        else:
            self.finish(at, CANCELLED)
