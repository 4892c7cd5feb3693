"""``python -m run_rq PROCESSES QUEUE...``: RQ's worker pool with SimpleWorkers.

The command ``rq worker-pool`` has no option for the order of the queues, so the round-robin class is made here.
"""

import os
import sys

import handlers  # loaded before the workers fork, as RQ's documentation advises
from redis import Redis
from rq import SimpleWorker
from rq.worker import RoundRobinWorker
from rq.worker_pool import WorkerPool

__all__ = ["handlers"]


class SimpleRoundRobinWorker(SimpleWorker):
    """Takes from its queues in turns."""

    reorder_queues = RoundRobinWorker.reorder_queues


if __name__ == "__main__":
    worker = SimpleRoundRobinWorker if os.environ["PEER_PLAN"] == "flood" else SimpleWorker
    WorkerPool(
        sys.argv[2:],
        connection=Redis.from_url(os.environ["PEER_REDIS"]),
        num_workers=int(sys.argv[1]),
        worker_class=worker,
    ).start(logging_level="WARNING")
