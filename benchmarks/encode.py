"""Measures how fast tasks are encoded for submission, on one core, with no Redis.

The last line is one JSON object.

python benchmarks/encode.py [--tasks 200000] [--size 100]
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable

import msgspec

from laneway.kit.ids import new_task_ids
from laneway.model.config import QueueConfig
from laneway.submit.encoder import Encoder
from laneway.submit.new_task import NewTask

BATCH = 500


def best_rate(run: Callable[[], None], tasks: int) -> int:
    """Tasks per second of the best batch; the others had the core taken from them."""
    best = float("inf")
    for _ in range(max(1, tasks // BATCH)):
        begin = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - begin)
    return round(BATCH / best)


def mean_rate(run: Callable[[], None], tasks: int) -> int:
    """Tasks per second over all batches."""
    batches = max(1, tasks // BATCH)
    begin = time.perf_counter()
    for _ in range(batches):
        run()
    return round(batches * BATCH / (time.perf_counter() - begin))


def main() -> None:
    """Encodes batches of 500 tasks of one type, plain and with an idempotency key each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=200_000, help="tasks per measurement")
    parser.add_argument("--size", type=int, default=100, help="payload size in bytes")
    args = parser.parse_args()
    payload = msgspec.msgpack.encode({"data": b"x" * max(0, args.size - 8)})
    encoder = Encoder(QueueConfig())
    plain = [NewTask(type="bench.noop", payload=payload) for _ in range(BATCH)]
    keyed = [NewTask(type="bench.noop", payload=payload, key=f"key-{i}") for i in range(BATCH)]

    def run_plain() -> None:
        encode = encoder.encode
        for _id, _envelope in zip(new_task_ids(BATCH), map(encode, plain), strict=True):
            pass

    def run_keyed() -> None:
        encode = encoder.encode
        for _id, _envelope in zip(new_task_ids(BATCH), map(encode, keyed), strict=True):
            pass

    def run_made() -> None:
        encode = encoder.encode
        for _id in new_task_ids(BATCH):
            encode(NewTask(type="bench.noop", payload=payload, priority=4, labels=None))

    result = {
        "payload_bytes": len(payload),
        "encode_per_s": mean_rate(run_plain, args.tasks),
        "encode_best_per_s": best_rate(run_plain, args.tasks),
        "make_and_encode_per_s": mean_rate(run_made, args.tasks),
        "encode_with_key_per_s": mean_rate(run_keyed, args.tasks // 4),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
