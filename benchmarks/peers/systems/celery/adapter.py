"""Celery on Redis. Its client and its handlers block."""

import os

import handlers
from celery import Celery, group
from producer import PAD, serve

PLAN = os.environ["PEER_PLAN"]

# Seconds; a throttle of 1 looks at each interval.
RECOVERY = {"visibility_timeout": 10, "unacked_restore_interval": 2, "unacked_restore_throttle": 1}

app = Celery("peer", broker=os.environ["PEER_REDIS"])
app.conf.update(
    task_ignore_result=True,
    worker_disable_rate_limits=True,
    task_default_queue="normal",
    # Many short tasks: a large multiplier. It would let a backlog pass an urgent task, so not where order counts.
    worker_prefetch_multiplier=128 if PLAN in ("drain", "latency", "depth") else 1,
    broker_connection_retry_on_startup=True,
    # Killed workers' tasks come back only if they are acknowledged late, and after the visibility time-out.
    task_acks_late=PLAN == "recovery",
    task_reject_on_worker_lost=PLAN == "recovery",
    broker_transport_options={
        "queue_order_strategy": "priority" if PLAN == "urgent" else "round_robin",
        **(RECOVERY if PLAN == "recovery" else {}),
    },
    worker_hijack_root_logger=False,
)
noop = app.task(name="noop")(handlers.noop_blocking)
nap = app.task(name="nap")(handlers.nap_blocking)
hold = app.task(name="hold")(handlers.hold_blocking)
TASKS = {"noop": noop, "nap": nap, "hold": hold}


class CeleryProducer:
    """``to`` is a queue. Of a group, all messages go through one producer of the pool."""

    async def open(self) -> None:
        app.connection_for_write().ensure_connection(max_retries=3)

    async def one(self, kind: str, n: int, to: str) -> None:
        TASKS[kind].apply_async((n, PAD), queue=to)

    async def bulk(self, kind: str, tasks: list[tuple[int, str]]) -> None:
        for i in range(0, len(tasks), 1_000):
            group(TASKS[kind].s(n, PAD).set(queue=to) for n, to in tasks[i : i + 1_000]).apply_async()


if __name__ == "__main__":
    serve(CeleryProducer())
