"""All systems that are measured, and how each is set up. What is set in an adapter is in its folder."""

from __future__ import annotations

from benchmarks.peers import laneway_system as laneway
from benchmarks.peers.session import Session
from benchmarks.peers.system import Crew, System

_TENANTS = ",".join(f"tenant-{i}" for i in range(10))
_NO_PRIORITY = "no priority within a worker"
_ONE_QUEUE = "nothing for tenants: one queue, first in, first out"
_EACH_QUEUE = "a queue to each tenant"


def _queues(crew: Crew) -> str:
    return {"urgent": "urgent,normal", "flood": f"normal,{_TENANTS}"}.get(crew.plan, "normal")


def _llen(session: Session, *keys: str) -> int:
    return sum(int(session.redis.llen(key)) for key in keys)


def _stream(session: Session, key: str) -> int:
    """What a stream's groups have taken and not acknowledged (that all have begun is known by the marks)."""
    groups = session.redis.xinfo_groups(key)
    return sum(int(group["pending"]) for group in groups)


# ------------------------------------------------------------------------------------------------ Celery


def _celery(crew: Crew) -> list[list[str]]:
    command = [str(crew.bin / "celery"), "--app", "adapter", "worker", "--loglevel", "WARNING", "-Q", _queues(crew)]
    command += ["--without-gossip", "--without-mingle", "--without-heartbeat", "--prefetch-multiplier"]
    command += ["128" if crew.plan in ("drain", "latency", "depth") else "1"]
    pool = "threads" if crew.plan == "recovery" else "prefork"
    return [[*command, "--pool", pool, "--concurrency", str(crew.processes * crew.slots)]]


CELERY = System(
    name="celery", title="Celery", language="Python", versions=("celery", "kombu", "redis", "hiredis"),
    workers=_celery, slots=1, files=lambda crew: crew.processes * crew.slots if crew.plan == "drain" else 1,
    pending=lambda s: _llen(s, "normal") + int(s.redis.hlen("unacked")),
    settings=(
        "prefork pool, as many processes as cores (page Workers Guide, Concurrency)",
        "prefetch multiplier 128 for many short tasks, 1 where order counts (page Optimizing, Prefetch Limits)",
        "results ignored, rate limits off (page Tasks, Tips and Best Practices)",
        "no gossip, mingle or worker heartbeat (page Workers Guide)",
        "bulk: groups of 1,000, whose messages share a producer; Redis transport has no pipelined publish",
        "acknowledges before the task runs, its default; in the recovery workload after it, with a visibility "
        "time-out of 10 s, looked at each 2 s, and a pool of threads (pages Tasks and Using Redis, Visibility timeout)",
    ),
    notes={
        "urgent": "two queues in strict order (page Using Redis, queue_order_strategy priority)",
        "flood": f"{_EACH_QUEUE}, in turns (queue_order_strategy round_robin)",
    },
)  # fmt: skip

# ---------------------------------------------------------------------------------------------- dramatiq


def _dramatiq(crew: Crew) -> list[list[str]]:
    command = [str(crew.bin / "dramatiq"), "adapter", "--processes", str(crew.processes)]
    return [[*command, "--threads", str(crew.slots), "--path", "."]]


DRAMATIQ = System(
    name="dramatiq", title="dramatiq", language="Python", versions=("dramatiq", "redis", "hiredis"),
    workers=_dramatiq, slots=8,
    pending=lambda s: int(s.redis.hlen("dramatiq:normal.msgs")),
    settings=(
        "a process to a core, 8 threads each: the defaults (page User Guide, Workers)",
        "no result backend, and the middleware that is on by default",
        "prefetch of two messages a thread: the default (page Advanced Topics, Prefetch Limits)",
        "there is no bulk call on Redis: one message after the other",
        "acknowledges after the task; a dead worker's messages come back by its heartbeat, 60 s",
    ),
    notes={
        "urgent": "an actor with a better priority (page User Guide, Message Prioritization)",
        "flood": _EACH_QUEUE,
    },
)  # fmt: skip

# ---------------------------------------------------------------------------------------------------- RQ


def _rq(crew: Crew) -> list[list[str]]:
    return [[
        str(crew.bin / "python"), "-m", "run_rq", str(crew.processes), *_queues(crew).split(","),
    ]]  # fmt: skip


RQ = System(
    name="rq", title="RQ", language="Python", versions=("rq", "redis", "hiredis"),
    workers=_rq, slots=1, one_slot=True, drain_share=0.2,
    pending=lambda s: _llen(s, "rq:queue:normal") + int(s.redis.zcard("rq:wip:normal")),
    settings=(
        "SimpleWorker, which does not fork for each job: six times as fast, and recommended for very short jobs that "
        "are trusted (page Notes on Performance)",
        "worker pool with a process to a core (page Workers, Worker Pools)",
        "results not kept (result_ttl 0, page Results)",
        "bulk: enqueue_many by 1,000 (page Jobs, Bulk Job Enqueueing)",
        "a worker runs one task at a time: where others have 10 slots or 50, it has a process to a core",
    ),
    notes={
        "drain": "a fifth of the tasks: all of them would take minutes",
        "urgent": "two queues in strict order; a process to a core with a slot each",
        "flood": f"{_EACH_QUEUE}, in turns (page Workers, Worker Pools; dequeue strategy round_robin)",
        "recovery": "as many running tasks as processes",
    },
)  # fmt: skip

# --------------------------------------------------------------------------------------------------- arq

ARQ = System(
    name="arq", title="arq", language="Python", versions=("arq", "redis", "hiredis", "uvloop"),
    workers=lambda crew: [[str(crew.bin / "arq"), "adapter.WorkerSettings"] for _ in range(crew.processes)],
    slots=100,
    pending=lambda s: int(s.redis.zcard("arq:queue")),
    settings=(
        "max_jobs 100 and poll_delay 10 ms instead of 10 and 500 ms (page arq documentation, Worker reference)",
        "results not kept, not logged (keep_result 0, log_results off)",
        "uvloop on both sides",
        "there is no bulk call: 100 submissions under way at once over one pool",
        "a dead worker's jobs are free when their time-out and 10 s have passed: 20 s in the recovery workload",
    ),
    cannot={"urgent": _NO_PRIORITY},
    notes={"flood": _ONE_QUEUE},
)  # fmt: skip

# ------------------------------------------------------------------------------------------------ taskiq


def _taskiq(crew: Crew) -> list[list[str]]:
    command = [str(crew.bin / "taskiq"), "worker", "adapter:broker", "--workers", str(crew.processes)]
    command += ["--max-async-tasks", str(crew.slots), "--no-parse", "--log-level", "WARNING"]
    return [[*command, "--ack-type", "when_executed"]]


TASKIQ = System(
    name="taskiq", title="taskiq", language="Python", versions=("taskiq", "taskiq-redis", "redis", "hiredis", "uvloop"),
    workers=_taskiq, slots=100,
    pending=lambda s: _stream(s, "taskiq"),
    settings=(
        "RedisStreamBroker: the broker for Redis that acknowledges (README of taskiq-redis, Brokers)",
        "100 async tasks to a process, a process to a core, acknowledged when executed, arguments not parsed by "
        "pydantic (page CLI, Worker)",
        "uvloop, as the page Installation says; no result backend",
        "there is no bulk call: 100 submissions under way at once over one broker",
        "a dead worker's tasks are claimed when idle for 10 minutes, 10 s in the recovery workload, and looked "
        "for only after a new task has come",
    ),
    cannot={"urgent": _NO_PRIORITY},
    notes={"flood": _ONE_QUEUE},
)  # fmt: skip

# --------------------------------------------------------------------------------------------------- SAQ

SAQ = System(
    name="saq", title="SAQ", language="Python", versions=("saq", "redis", "hiredis", "uvloop"),
    workers=lambda crew: [[str(crew.bin / "saq"), "adapter.settings", "--workers", str(crew.processes), "--quiet"]],
    slots=100,
    pending=lambda s: int(s.redis.zcard("saq:default:incomplete")),
    settings=(
        "concurrency 100 and 100 operations at once (page Worker reference; Queue reference, max_concurrent_ops)",
        "hiredis, as the page Install says; uvloop on both sides",
        "jobs leave nothing behind (ttl -1); no time-out",
        "there is no bulk call: 100 submissions under way at once over one queue",
        "a dead worker's jobs come back by the sweep if they have a heartbeat and retries: each 60 s, and in the "
        "recovery workload each 5 s with a heartbeat of 5 s; it waits up to 5 s for each before it takes the next",
    ),
    cannot={"urgent": "priorities on PostgreSQL only"},
    notes={"flood": _ONE_QUEUE},
)  # fmt: skip

# ------------------------------------------------------------------------------------------------- streaQ

STREAQ = System(
    name="streaq", title="streaQ", language="Python", versions=("streaq", "coredis", "uvloop"),
    workers=lambda crew: [[str(crew.bin / "streaq"), "run", "adapter:worker", "--workers", str(crew.processes)]],
    slots=100,
    pending=lambda s: _stream(s, "streaq:default:queues:normal"),
    settings=(
        "concurrency 100 instead of 16, prefetch as much: the default; 1 where order counts (page Worker, "
        "configuration; page Priority queues)",
        "uvloop (page Installation)",
        "results not kept, tasks not logged (page Task: ttl 0, silent)",
        "bulk: enqueue_many by 1,000 (page Task, enqueueing in batches)",
        "a dead worker's tasks are claimed when idle for 60 s: 5 s in the recovery workload",
    ),
    notes={"urgent": "two priorities (page Priority queues)", "flood": _ONE_QUEUE},
)  # fmt: skip

# -------------------------------------------------------------------------------------------------- Asynq

ASYNQ = System(
    name="asynq", title="Asynq", language="Go",
    versions=("github.com/hibiken/asynq", "github.com/redis/go-redis/v9"),
    workers=lambda crew: [[str(crew.bin / "peer"), "worker"] for _ in range(crew.processes)],
    slots=100,
    pending=lambda s: _llen(s, "asynq:{normal}:pending", "asynq:{normal}:active"),
    settings=(
        "concurrency 100 (package documentation, Config)",
        "an idle server looks again after 10 ms instead of 1 s (Config, TaskCheckInterval)",
        "there is no bulk call: 100 goroutines over one client",
        "one process uses all cores; all cores: as many processes",
        "a dead worker's tasks come back when their lease of 30 s has run out and somebody looks, each minute",
    ),
    notes={
        "urgent": "two queues in strict order (page Queue Priority)",
        "flood": f"{_EACH_QUEUE} of equal weight (page Queue Priority)",
    },
)  # fmt: skip

# ------------------------------------------------------------------------------------------------- BullMQ


def _bullmq_pending(session: Session) -> int:
    waiting = _llen(session, "bull:peer:wait", "bull:peer:active")
    return waiting + int(session.redis.zcard("bull:peer:prioritized"))


BULLMQ = System(
    name="bullmq", title="BullMQ", language="Node", versions=("bullmq", "ioredis"),
    workers=lambda crew: [["node", str(crew.bin / "peer.mjs"), "worker"] for _ in range(crew.processes)],
    slots=100,
    pending=_bullmq_pending,
    settings=(
        "concurrency 100 in a process, a process to a core (page Parallelism and Concurrency)",
        "completed jobs removed at once (page Auto-removal of jobs)",
        "bulk: addBulk by 1,000 (page Adding jobs in bulk)",
        "a dead worker's jobs come back when their lock has run out and somebody looks: 30 s each, and 5 s each in "
        "the recovery workload (page Stalled Jobs)",
    ),
    notes={
        "urgent": "job priorities (page Prioritized)",
        "flood": f"{_ONE_QUEUE} (groups are in the commercial edition)",
    },
)  # fmt: skip

SYSTEMS: tuple[System, ...] = (
    *laneway.SYSTEMS, CELERY, DRAMATIQ, RQ, ARQ, TASKIQ, SAQ, STREAQ, ASYNQ, BULLMQ,
)  # fmt: skip
