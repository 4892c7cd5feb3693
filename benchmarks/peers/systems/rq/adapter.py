"""RQ. Its client and its handlers block."""

import os

import handlers
from producer import PAD, serve
from redis import Redis
from rq import Queue

TASKS = {
    "noop": handlers.noop_blocking,
    "nap": handlers.nap_blocking,
    "hold": handlers.hold_blocking,
}


class RqProducer:
    """``to`` is a queue. Results are not kept."""

    async def open(self) -> None:
        self._redis = Redis.from_url(os.environ["PEER_REDIS"])
        self._redis.ping()
        self._queues: dict[str, Queue] = {}

    def _queue(self, to: str) -> Queue:
        return self._queues.setdefault(to, Queue(to, connection=self._redis))

    async def one(self, kind: str, n: int, to: str) -> None:
        self._queue(to).enqueue(TASKS[kind], args=(n, PAD), result_ttl=0)

    async def bulk(self, kind: str, tasks: list[tuple[int, str]]) -> None:
        for i in range(0, len(tasks), 1_000):
            by_queue: dict[str, list] = {}
            for n, to in tasks[i : i + 1_000]:
                by_queue.setdefault(to, []).append(Queue.prepare_data(TASKS[kind], args=(n, PAD), result_ttl=0))
            for to, datas in by_queue.items():
                self._queue(to).enqueue_many(datas)


if __name__ == "__main__":
    serve(RqProducer())
