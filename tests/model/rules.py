"""What can be switched in the model: the protocol's rules, and how large the modelled world is."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Rules:
    """The rules as built. A test turns one off and expects a counterexample.

    The numbers are those of docs/explanation/protocol.md.
    """

    #: Rule 1: settle is accepted for a running task only; otherwise a second settlement would be, too.
    settle_checks_state: bool = True
    #: Rule 1: settle compares the fence; otherwise a late copy settles a later attempt.
    settle_checks_fence: bool = True
    #: Rule 1: settle compares the holder; a second line of defence behind the fence.
    settle_checks_holder: bool = True
    #: Rule 1: start compares the holder; otherwise whoever shares the partition starts the task.
    start_checks_holder: bool = True
    #: Rule 1: release takes back dispatched tasks only.
    release_checks_state: bool = True
    #: Rule 2: a fence is Redis's time in microseconds; as a counter it repeats after a rollback.
    fence_by_time: bool = True
    #: Rule 4: what Redis shows as held and the worker does not know goes back.
    heal_unknown: bool = True
    #: Rule 5: a request number seen again is answered with the same tasks.
    claim_replays: bool = True
    #: Rule 5: a request number lower than the last is refused.
    late_claim_refused: bool = True
    #: Rule 5: only a registered, living incarnation may claim.
    claim_needs_registration: bool = True
    #: Rule 5: start of the same fence and holder answers "runs already".
    start_replays: bool = True
    #: Rule 5: a worker drops a record of an attempt that it has already.
    records_deduplicated: bool = True
    #: Rule 6: what was dispatched and not started in time goes back.
    dispatch_deadline: bool = True
    #: Rule 7: after a silence everybody gets a lease before anything is reaped.
    grace_after_silence: bool = True
    #: Rule 7: how a worker that registers anew adopts: "exact" (same fence, and it runs it), "any_fence",
    #: "unchecked" (whatever its last incarnation held), or "none" (all of it goes back).
    adopt: str = "exact"
    #: Rule 7: a registration made before Redis restarted is told so, and registers anew.
    epoch: bool = True
    #: Rule 7: a repeated registration names what the first one adopted.
    register_replays: bool = True
    #: Rule 8: draining is a flag that claim and dispatch respect.
    drain_flag: bool = True
    #: Rule 8: deregistering returns what is still held.
    deregister_returns: bool = True
    #: Rule 8: an incarnation is marked dead before its tasks are returned in pages.
    marked_dead_first: bool = True
    #: Rule 9: a task under suspicion runs alone, and only its own child's death proves it guilty.
    suspects_isolated: bool = True
    #: Rule 9: a crash ends a task only when attempts and crashes are both used up.
    crashes_counted_apart: bool = True
    #: Rule 10: credits are what may be held less the whole held set, dispatched tasks included.
    credits_by_held: bool = True
    #: Rule 20: retry, release and reap honour a requested cancellation.
    cancel_honoured: bool = True


ALL_FAULTS = frozenset(
    {
        "crash",  # a worker's process dies
        "pause",  # a worker stops past its lease and goes on later
        "reply",  # a call was carried out, and its reply lost
        "copy",  # a call hangs in an old connection and is carried out some time later
        "give_up",  # a worker gives up on a call and makes another one
        "race",  # a heartbeat was written before the tasks that it does not name arrived
        "drain",  # SIGTERM
        "poller_crash",  # between dispatch and publish
        "publish_twice",  # the broker's acknowledgement is lost
        "publish_fails",  # the poller believes so and releases the task
        "late_record",  # the dispatch deadline passes while the record is on its way
        "outage",  # Redis is away for longer than a lease
    }
)


@dataclass(frozen=True)
class Variant:
    """One world to explore, with the faults that may befall it."""

    source: str = "direct"  # direct | kafka
    tasks: int = 2
    processes: int = 2
    pollers: int = 1
    slots: int = 1  # handlers that a worker runs at once
    window: int = 1  # tasks that a worker may hold (kafka)
    max_attempts: int = 2
    max_crashes: int = 2
    faults: int = 1  # how many in all
    kinds: frozenset[str] = ALL_FAULTS  # which
    cancels: int = 0
    retries: bool = True  # handlers may fail
    rollback: bool = False  # Redis may come back without its last second, once
    shared_partition: bool = False  # every worker reads every record
    poison: frozenset[int] = frozenset()  # tasks that kill the process that runs them
    loops: bool = False  # also look for natural moves that go round for ever
    rules: Rules = field(default_factory=Rules)

    @property
    def incarnations(self) -> int:
        """How many incarnations may be remembered at once."""
        return self.processes + 2
