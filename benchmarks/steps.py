"""What Python does for a task, step by step: microseconds of processor time, beside the least that the step could take.

``python benchmarks/steps.py [--batch 100] [--kafka HOST:PORT] [--json]``

Each figure is the smallest of several rounds. The least is the same work without Laneway: the bytes copied, a bare
coroutine run as a task, a message decoded. With ``--kafka`` the records of both Kafka steps go through that broker,
by aiokafka alone and acknowledged by all replicas, so that its part and the broker's show.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import uvloop
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parent))  # (the executor's bench stands beside this file)
from executor import measure as run_tasks

from laneway.adapters.kafka.records import decode_record, encode_record
from laneway.adapters.redis import replies
from laneway.kit.ids import id_texts, new_incarnation, new_task_ids
from laneway.model.config import QueueConfig
from laneway.model.envelope import Body, Envelope, decode_stored, encode_envelope
from laneway.model.settlement import Kind, Settlement, pack_settlements
from laneway.model.task import HandlerKind
from laneway.settle.buffer import OutcomeBuffer
from laneway.submit.encoder import Encoder
from laneway.submit.new_task import NewTask

_ROUNDS, _REPEAT = 15, 40
_PAYLOAD = msgspec.msgpack.encode({"n": 1, "pad": bytes(88)})


def least(work: Callable[[], Any], tasks: int) -> float:
    """The smallest processor time of ``work`` per task, in microseconds."""
    best = float("inf")
    for _ in range(_ROUNDS):
        began = time.process_time()
        for _ in range(_REPEAT):
            work()
        best = min(best, time.process_time() - began)
    return best * 1e6 / (_REPEAT * tasks)


def steps(batch: int) -> dict[str, tuple[str, float, float]]:
    """By step: who does it, what it takes, and the least that it could."""
    ids = new_task_ids(batch)
    encoder = Encoder(QueueConfig())
    tasks = [NewTask(type="noop", payload=_PAYLOAD) for _ in ids]
    stored = [b"123456" + encode_envelope(Envelope(1, 4, 0, "", Body("noop", _PAYLOAD))) for _ in ids]
    heads = b"".join(replies._HEAD.pack(id_, 1.0, 1, 0, 0) for id_ in ids)
    reply = [b"ok", 1, -1, 0, heads, *stored]
    claimed = list(replies.turn(reply).tasks)
    inc = new_incarnation()
    record = encode_record(inc, claimed)
    settlements = [Settlement(Kind.COMPLETE, id_, 1) for id_ in ids]
    outbox = {b"k": b"succeeded", b"t": b"1", b"i": b"".join(replies._EVENT.pack(id_, 1, 1) for id_ in ids)}
    packed, _ = pack_settlements(settlements)
    encode, decode_body = msgspec.json.Encoder().encode, msgspec.msgpack.Decoder(Body).decode
    bodies = [raw[13:] for raw in stored]

    def settle() -> None:
        buffer = OutcomeBuffer(batch)
        for one in settlements:
            buffer.add(one)
        pack_settlements(buffer.batch())
        buffer.answered()

    def relay() -> bytes:
        entry = replies.outbox_entry(b"1-1", outbox)
        return encode([id_texts(ids) for _, _, ids in entry.groups])

    def row(who: str, work: Callable[[], Any], bare: Callable[[], Any]) -> tuple[str, float, float]:
        return who, least(work, batch), least(bare, batch)

    def copies(raws: Sequence[bytes]) -> Callable[[], Any]:
        return lambda: [bytes(bytearray(raw)) for raw in raws]

    unpack = msgspec.msgpack.decode
    return {
        "submit: make the envelope": row("client", lambda: [encoder.encode(t) for t in tasks], copies(stored)),
        "claim: read the answer": row("worker", lambda: list(replies.turn(reply).tasks), lambda: list(reply)),
        "run: take the envelope apart": row(
            "worker", lambda: [decode_stored(raw) for raw in stored], lambda: [decode_body(raw) for raw in bodies]
        ),
        "settle: collect and pack": row("worker", settle, copies([packed])),
        "publish: make the record": row("poller", lambda: encode_record(inc, claimed), lambda: b"".join(stored)),
        "consume: read the record": row("worker", lambda: decode_record(record), lambda: unpack(record)),
        "relay: tell what happened": row("poller", relay, copies([outbox[b"i"]])),
    }


async def _nothing() -> None:
    return None


async def _bare_tasks(count: int, slots: int) -> float:
    """Microseconds of a coroutine that does nothing, run as a task of the event loop."""
    loop, began = asyncio.get_running_loop(), time.process_time()
    for _ in range(count // slots):
        await asyncio.gather(*[asyncio.Task(_nothing(), loop=loop) for _ in range(slots)])
    return (time.process_time() - began) * 1e6 / count


def _smallest(make: Callable[[], Awaitable[float]], rounds: int = 3) -> float:
    async def run() -> float:
        return await make()

    return min(uvloop.run(run()) for _ in range(rounds))


async def _executed(count: int, slots: int) -> float:
    found = await run_tasks(count, slots, 0.0, HandlerKind.ASYNC)
    return float(found["cpu_us_per_task"])


async def kafka_alone(bootstrap: str, batch: int, records: int = 300) -> tuple[float, float]:
    """Microseconds per task from the first record sent to the last acknowledged, and of this process alone."""
    from aiokafka import AIOKafkaProducer
    from aiokafka.admin import AIOKafkaAdminClient, NewTopic

    topic = f"steps-{os.urandom(4).hex()}"
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", enable_idempotence=True)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, 1, 1)])
        await producer.start()
        value = os.urandom(batch * 160)
        began, used = time.perf_counter(), time.process_time()
        for future in [await producer.send(topic, value) for _ in range(records)]:
            await future
        tasks = records * batch
        return (time.perf_counter() - began) * 1e6 / tasks, (time.process_time() - used) * 1e6 / tasks
    finally:
        await producer.stop()
        await admin.delete_topics([topic])
        await admin.close()


def main() -> int:
    """Runs it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=100, help="tasks at once (default 100)")
    parser.add_argument("--kafka", metavar="HOST:PORT", help="a broker whose own part is measured too")
    parser.add_argument("--json", action="store_true", help="only the JSON object")
    options = parser.parse_args()
    found = steps(options.batch)
    found["run: the handler, as a task"] = (
        "worker", _smallest(lambda: _executed(40_000, 2 * options.batch)),
        _smallest(lambda: _bare_tasks(40_000, 2 * options.batch)),
    )  # fmt: skip
    rows = {
        step: {"who": who, "us": round(us, 2), "least_us": round(floor, 2)} for step, (who, us, floor) in found.items()
    }
    if options.kafka:
        whole, own = uvloop.run(kafka_alone(options.kafka, options.batch))
        rows["Kafka alone: a record acknowledged"] = {
            "who": "broker and producer",
            "us": round(whole, 2),
            "least_us": round(own, 2),
        }
    if not options.json:
        table = Table("step", "who", "us per task", "the least")
        for step, row in rows.items():
            table.add_row(step, row["who"], f"{row['us']:.2f}", f"{row['least_us']:.2f}")
        Console(stderr=True).print(table)
    sys.stdout.write(json.dumps({"batch": options.batch, "steps": rows}) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
