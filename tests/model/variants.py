"""The variants to explore: clean ones, and for each rule the smallest that shows why it is there."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from tests.model.rules import Rules, Variant

DIRECT = Variant(tasks=1)
KAFKA = Variant(source="kafka", tasks=1)
ROLLBACK = Variant(tasks=1, faults=0, rollback=True)
POISON = Variant(processes=1, slots=2, window=2, faults=0, retries=False, poison=frozenset({0}))

#: Explored by `make test`: all rules on, nothing may be found.
SMALL: dict[str, Variant] = {
    "direct: one task, any two faults, one cancel": replace(DIRECT, faults=2, cancels=1),
    "direct: two tasks, any fault, one cancel": replace(DIRECT, tasks=2, cancels=1, loops=True),
    "direct: a worker with two slots": replace(DIRECT, tasks=2, processes=1, slots=2),
    "direct: Redis comes back without its last second, any fault": replace(DIRECT, rollback=True),
    "direct: a poison task beside an innocent one": POISON,
    "direct: a poison task, and one attempt allowed": replace(POISON, max_attempts=1),
    "kafka: one task, any two faults": replace(KAFKA, faults=2),
    "kafka: two tasks, any fault, loops": replace(KAFKA, tasks=2, loops=True),
    "kafka: two pollers, any fault, one cancel": replace(KAFKA, tasks=2, pollers=2, cancels=1),
    "kafka: two workers share a partition": replace(KAFKA, tasks=2, shared_partition=True),
    "kafka: a worker may hold two and run one": replace(KAFKA, tasks=2, processes=1, window=2, loops=True),
    "kafka: Redis comes back without its last second, any fault": replace(KAFKA, rollback=True),
    "kafka: a poison task beside an innocent one": replace(POISON, source="kafka"),
}

#: Explored by `python -m tests.model --full` and `pytest -m slow_model`: minutes.
LARGE: dict[str, Variant] = {
    "direct: two tasks, any two faults": replace(DIRECT, tasks=2, faults=2),
    "direct: one task, any three faults, one cancel": replace(DIRECT, faults=3, cancels=1),
    "direct: rollback, any two faults": replace(DIRECT, rollback=True, faults=2),
    "direct: rollback with two tasks": replace(DIRECT, tasks=2, rollback=True, faults=0),
    "direct: a poison task, two workers, any fault": replace(POISON, processes=2, faults=1, max_crashes=3),
    "kafka: two tasks, two pollers, any two faults": replace(KAFKA, tasks=2, pollers=2, faults=2),
    "kafka: one task, any three faults, one cancel": replace(KAFKA, faults=3, cancels=1),
    "kafka: two tasks held, two workers, any two faults": replace(KAFKA, tasks=2, window=2, faults=2, loops=True),
    "kafka: rollback with two tasks": replace(KAFKA, tasks=2, rollback=True, faults=0),
}


@dataclass(frozen=True)
class Case:
    """A rule that is needed: with it the world is clean, without it a counterexample says ``finds``.

    ``unaided`` are rules that would mend the damage later; they are off in both worlds, so that this one
    shows.
    """

    name: str
    world: Variant
    without: dict[str, Any]
    finds: str
    unaided: tuple[str, ...] = ()

    def on(self) -> Variant:
        """The world with the rule."""
        switches: dict[str, Any] = dict.fromkeys(self.unaided, False)
        return replace(self.world, rules=replace(Rules(), **switches))

    def off(self) -> Variant:
        """The world without the rule."""
        return replace(self.world, rules=replace(self.on().rules, **self.without))


def _only(world: Variant, *kinds: str, faults: int = 1, **more: Any) -> Variant:
    return replace(world, kinds=frozenset(kinds), faults=faults, **more)


NEVER_ENDS = "a task can never end"
FOREVER = "go round for ever"

CASES: tuple[Case, ...] = (
    Case(
        "settle compares the state",
        _only(DIRECT, "reply"),
        {"settle_checks_state": False},
        "second settlement",
    ),
    Case(
        "settle compares the fence",
        _only(DIRECT, "copy"),
        {"settle_checks_fence": False},
        "an earlier attempt settles",
    ),
    Case(
        "start compares the holder",
        replace(KAFKA, faults=0, shared_partition=True),
        {"start_checks_holder": False},
        "which was dispatched to",
    ),
    Case(
        "release takes dispatched tasks only",
        _only(KAFKA, "publish_twice", "publish_fails", faults=2),
        {"release_checks_state": False},
        "although it is running",
    ),
    Case("a fence is the time", ROLLBACK, {"fence_by_time": False}, "given out twice"),
    Case(
        "a beat returns what is held and unknown",
        _only(DIRECT, "reply", "give_up", faults=2),
        {"heal_unknown": False},
        NEVER_ENDS,
    ),
    Case(
        "a claim with the same number is answered again",
        _only(DIRECT, "reply"),
        {"claim_replays": False},
        NEVER_ENDS,
        ("heal_unknown",),
    ),
    Case(
        "a late copy of a claim is refused",
        _only(DIRECT, "copy", tasks=2),
        {"late_claim_refused": False},
        NEVER_ENDS,
        ("heal_unknown",),
    ),
    Case(
        "only the registered may claim",
        _only(DIRECT, "pause"),
        {"claim_needs_registration": False},
        "no reaper knows any more",
    ),
    Case(
        "start can be repeated",
        _only(KAFKA, "reply"),
        {"start_replays": False},
        NEVER_ENDS,
        ("heal_unknown",),
    ),
    Case(
        "a worker drops records delivered twice",
        _only(KAFKA, "publish_twice", slots=2),
        {"records_deduplicated": False},
        "executed twice at once",
    ),
    Case("dispatch has a deadline", _only(KAFKA, "poller_crash"), {"dispatch_deadline": False}, NEVER_ENDS),
    Case("the reaper gives grace", _only(DIRECT, "outage"), {"grace_after_silence": False}, "gives away what"),
    Case("adopting compares the fence", ROLLBACK, {"adopt": "any_fence"}, "and it runs nothing"),
    Case("adopting asks what really runs", ROLLBACK, {"adopt": "unchecked"}, "and it runs nothing"),
    Case(
        "a repeated registration names what was adopted",
        _only(ROLLBACK, "reply", tasks=2, retries=False),
        {"register_replays": False},
        "and it runs nothing",
    ),
    Case("workers learn that Redis restarted", ROLLBACK, {"epoch": False}, NEVER_ENDS, ("heal_unknown",)),
    Case("draining is a flag", _only(KAFKA, "drain", loops=True), {"drain_flag": False}, FOREVER),
    Case(
        "deregistering returns what is held",
        _only(KAFKA, "drain"),
        {"deregister_returns": False},
        "no reaper knows",
    ),
    Case(
        "the dead are marked before their tasks return",
        _only(KAFKA, "crash", tasks=2, processes=1, window=2, loops=True),
        {"marked_dead_first": False},
        FOREVER,
    ),
    Case("suspects run alone", POISON, {"suspects_isolated": False}, "did nothing wrong"),
    Case(
        "crashes are counted apart from failures",
        replace(POISON, max_attempts=1),
        {"crashes_counted_apart": False},
        "did nothing wrong",
    ),
    Case(
        "credits are what is not held",
        replace(KAFKA, tasks=2, faults=0),
        {"credits_by_held": False},
        "more than the 1",
    ),
    Case(
        "a requested cancellation is honoured",
        replace(DIRECT, faults=0, cancels=1),
        {"cancel_honoured": False},
        "cancellation was requested",
    ),
)

#: Rules that another one covers: with one of them alone off nothing breaks for good. They spare time or
#: reruns.
COVERED: dict[str, Variant] = {
    "settle compares the holder; the fence covers it": replace(
        DIRECT, rollback=True, rules=Rules(settle_checks_holder=False)
    ),
    "claims are replayed; the beat covers it": replace(DIRECT, faults=2, rules=Rules(claim_replays=False)),
    "late claims are refused; the beat covers it": replace(DIRECT, faults=2, rules=Rules(late_claim_refused=False)),
    "starts are replayed; the beat covers it": replace(KAFKA, faults=2, rules=Rules(start_replays=False)),
    "workers adopt after a restart; giving all back would do": replace(
        DIRECT, rollback=True, rules=Rules(adopt="none")
    ),
    "workers learn of a restart; the beat covers it": replace(DIRECT, rollback=True, rules=Rules(epoch=False)),
}
