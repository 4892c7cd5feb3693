"""A queue with real processes on real servers, and the ledger of what it was given.

`Flow` starts pollers, workers and gateways as child processes, submits with retries until everything is acknowledged,
waits with deadlines, and ends each process by its own handle.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import httpx
import msgspec
from prometheus_client.parser import text_string_to_metric_families
from tests.flow.ledger import Run, check_ledger, read_runs

from laneway.adapters.kafka.admin import ensure_topics
from laneway.adapters.redis import RedisStore
from laneway.adapters.redis.connection import AnyRedis, connect
from laneway.errors import LanewayError, OutcomeUnknown, Refused, Unavailable
from laneway.kit.ids import id_bytes, id_text
from laneway.model.config import LaneConfig, QueueConfig, TenantConfig
from laneway.model.servers import KafkaServer, RedisServer
from laneway.model.topics import Topics
from laneway.ports.store import QueueStats, TaskView, WorkerStats
from laneway.roles.process import SUPERVISOR_ENV
from laneway.roles.stores import server_env
from laneway.roles.worker_options import WorkerOptions, worker_command
from laneway.submit import NewTask, Submitter
from laneway.tend.relay import Event
from servers.ports import free_port

ROOT = Path(__file__).parents[2]
_FINAL = frozenset({"succeeded", "dead", "cancelled", "expired"})
_READY_S = 20.0
_decode_event = msgspec.json.Decoder(Event).decode


async def until(what: str, ready: Callable[[], Awaitable[Any]], timeout: float = 10.0, pause: float = 0.02) -> Any:
    """Returns the first true answer of ``ready()``; fails with ``what`` was awaited after ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        got = await ready()
        if got:
            return got
        assert time.monotonic() < deadline, f"not within {timeout:g} s: {what}"
        await asyncio.sleep(pause)


@dataclass(slots=True)
class Member:
    """One child process."""

    name: str
    process: asyncio.subprocess.Process
    log: Path
    port: int = 0

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    @property
    def alive(self) -> bool:
        """Whether it runs (or is stopped)."""
        return self.process.returncode is None

    def signal(self, number: int) -> None:
        """Sends a signal, if it is still there."""
        if self.alive:
            self.process.send_signal(number)

    async def kill(self) -> None:
        """Ends it as a crash would."""
        self.signal(signal.SIGKILL)
        await self.process.wait()

    async def stop(self, timeout: float = 20.0) -> int:
        """Asks it to end, and returns its exit code."""
        self.signal(signal.SIGTERM)
        async with asyncio.timeout(timeout):
            return await self.process.wait()

    def text(self) -> str:
        """What it has logged."""
        return self.log.read_text(errors="replace")

    async def metric(self, name: str) -> float:
        """The sum over all series of a metric that it serves."""
        async with httpx.AsyncClient(timeout=5.0) as http:
            answer = await http.get(f"http://127.0.0.1:{self.port}/metrics")
        return sum(
            sample.value
            for family in text_string_to_metric_families(answer.raise_for_status().text)
            for sample in family.samples
            if sample.name == name
        )


class Flow:
    """One queue. ``direct_url`` is what the test itself uses when members go through a proxy at ``redis``."""

    def __init__(
        self,
        redis: RedisServer | str,
        folder: Path,
        *,
        kafka: KafkaServer | str | None = None,
        kafka_admin: KafkaServer | str | None = None,
        direct_url: RedisServer | str | None = None,
        cluster: bool = False,
        partitions: int = 4,
    ) -> None:
        self.redis_url = redis
        self.direct_url = direct_url or redis
        self.kafka = kafka
        self.kafka_admin = kafka_admin or kafka
        self.cluster = cluster
        self.partitions = partitions
        self.queue = f"flow-{os.urandom(4).hex()}"
        self.folder = folder
        self.store = self.new_store()
        self.redis: AnyRedis = connect(self.direct_url, cluster=cluster)
        self.submitter = Submitter(self.new_store(redis))
        self.members: list[Member] = []
        self.accepted: set[bytes] = set()
        self.config = QueueConfig(source="kafka" if kafka else "direct")
        #: More of the environment of the processes that are started from now on.
        self.env: dict[str, str] = {}

    # -- life

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is not None:
            self._report()
        for member in self.members:
            await member.kill()
        for store in (self.store, self.submitter._store):
            await store.close()
        await self.redis.aclose()

    def _report(self) -> None:
        """What the processes said, where pytest shows it for a test that fails."""
        for member in self.members:
            lines = member.text().splitlines()[-15:]
            print(f"-- {member.name} ({'alive' if member.alive else member.process.returncode}):", *lines, sep="\n   ")

    def new_store(self, url: RedisServer | str | None = None) -> RedisStore:
        """A store of the queue on the direct way to Redis."""
        return RedisStore(url or self.direct_url, self.queue, cluster=self.cluster)

    async def configure(self, *, tenants: dict[str, TenantConfig] | None = None, **fields: Any) -> None:
        """Writes the configuration; what is not given stays as it is. With Kafka, the topics are made first."""
        now = {name: getattr(self.config, name) for name in self.config.__struct_fields__}
        self.config = QueueConfig(**{**now, **fields})
        if self.kafka_admin:
            await ensure_topics(self.kafka_admin, Topics.of("default", self.queue), partitions=self.partitions)
        assert await self.store.configure(self.config, tenants or {}, expected=None)

    # -- processes

    async def _start(self, name: str, command: Sequence[str], env: dict[str, str], port: int = 0) -> Member:
        log = self.folder / f"{name}-{len(self.members)}.log"
        plain = {key: value for key, value in os.environ.items() if not key.startswith("LANEWAY_")}
        with log.open("wb") as out:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd=ROOT,
                env={**plain, "LANEWAY_LEDGER": str(self.folder), SUPERVISOR_ENV: str(os.getpid()), **env, **self.env},
                start_new_session=True,
            )
        member = Member(f"{name}-{len(self.members)}", process, log, port)
        self.members.append(member)
        return member

    def _servers(self, redis: RedisServer | str | None = None, kafka: str | None = None) -> dict[str, str]:
        server = RedisServer.of(redis or self.redis_url, cluster=self.cluster)
        return server_env(server, kafka or self.kafka)

    async def _said(self, member: Member, words: str) -> None:
        async def said() -> bool:
            assert member.alive, f"{member.name} ended with {member.process.returncode}:\n{member.text()[-3000:]}"
            return words in member.text()

        await until(f"{member.name} says {words!r}", said, _READY_S)

    async def worker(
        self,
        *,
        slots: int = 16,
        drain: float = 5.0,
        redis: RedisServer | str | None = None,
        processes: int = 1,
        metrics: bool = False,
    ) -> Member:
        """A worker process that runs the ledger's app, announced. ``metrics``: it serves them."""
        name = f"w{len(self.members)}"
        member = await self.start_worker(slots=slots, drain=drain, redis=redis, processes=processes, metrics=metrics)
        await until(f"{name} is announced", lambda: self._announced(member, name, processes), _READY_S)
        return member

    async def start_worker(
        self,
        *,
        slots: int = 16,
        drain: float = 5.0,
        redis: RedisServer | str | None = None,
        processes: int = 1,
        metrics: bool = False,
    ) -> Member:
        """As :meth:`worker`, without waiting for anything."""
        port = free_port() if metrics else 0
        name = f"w{len(self.members)}"
        command = worker_command(
            WorkerOptions(
                "tests.flow.ledger_app:app", redis or self.redis_url, self.queue, kafka=self.kafka, slots=slots,
                drain=drain, name=name, processes=processes, cluster=self.cluster, log_format="json",
                metrics_port=port,
            )
        )  # fmt: skip
        return await self._start("worker", command, self._servers(redis), port)

    async def _announced(self, member: Member, name: str, processes: int) -> bool:
        assert member.alive, f"{member.name} ended with {member.process.returncode}:\n{member.text()[-3000:]}"
        return sum(w.name.startswith(name) and w.state == 2 for w in await self.workers()) == processes

    async def workers(self) -> list[WorkerStats]:
        """The registrations now."""
        return (await self.store.stats()).workers

    async def poller(self, *, redis: str | None = None, kafka: str | None = None, metrics: bool = False) -> Member:
        """A poller process, ready. ``metrics``: it serves them."""
        member = await self.start_poller(redis=redis, kafka=kafka, metrics=metrics)
        await self._said(member, "poller ready")
        return member

    async def start_poller(
        self, *, redis: str | None = None, kafka: str | None = None, metrics: bool = False
    ) -> Member:
        """As :meth:`poller`, without waiting for anything."""
        port = free_port() if metrics else 0
        command = [*_role("poller"), "--queue", self.queue, "--log-format", "json", "--metrics-port", str(port)]
        return await self._start("poller", command, self._servers(redis, kafka), port)

    async def gateway(self, port: int | None = None, *, auth: Path | None = None) -> Member:
        """A gateway process that listens; ``auth`` is its file of who may use it."""
        port = port or free_port()
        command = [*_role("gateway"), "--queue", self.queue, "--port", str(port)]
        command += ["--auth", str(auth)] if auth is not None else []
        member = await self._start("gateway", command, self._servers(), port)

        async def listens() -> bool:
            assert member.alive, f"{member.name} ended:\n{member.text()[-3000:]}"
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                return False
            writer.close()
            await writer.wait_closed()
            return True

        await until("the gateway listens", listens, _READY_S)
        return member

    # -- submitting

    async def submit(
        self, type: str, n: int = 1, *, arguments: dict[str, Any] | None = None, **fields: Any
    ) -> list[bytes]:
        """Submits ``n`` tasks and returns their ids once all are acknowledged. What gets no answer, or is refused for
        now, is submitted again: the same task, however often."""
        payload = msgspec.msgpack.encode(arguments or {})
        tasks = [NewTask(type=type, payload=payload, **fields) for _ in range(n)]
        left, deadline = tasks, time.monotonic() + 30
        while left:
            again: list[NewTask] = []
            try:
                for task, got in zip(left, await self.submitter.submit_many(left), strict=True):
                    if isinstance(got, OutcomeUnknown | Refused):
                        again.append(task)
                    elif isinstance(got, LanewayError):
                        raise got
                    else:
                        self.accepted.add(got.id)
            except Unavailable:
                again = left
            assert not again or time.monotonic() < deadline, f"{len(again)} tasks could not be submitted"
            if again:
                await asyncio.sleep(0.05)
            left = again
        return [task.id for task in tasks if task.id]

    async def load(self, type: str, n: int, seconds: float, **fields: Any) -> list[bytes]:
        """Submits ``n`` tasks spread over some seconds: load while something happens."""
        steps = max(1, int(seconds / 0.05))
        ids: list[bytes] = []
        began = time.monotonic()
        for step in range(steps):
            upto = n * (step + 1) // steps
            if upto > len(ids):
                ids += await self.submit(type, upto - len(ids), **fields)
            await asyncio.sleep(max(0.0, began + (step + 1) * seconds / steps - time.monotonic()))
        return ids

    # -- watching

    async def stats(self) -> QueueStats:
        """Sizes now."""
        return await self.store.stats()

    async def views(self, ids: Sequence[bytes]) -> dict[bytes, TaskView | None]:
        """What is known of tasks."""
        found: dict[bytes, TaskView | None] = {}
        for i in range(0, len(ids), 500):
            page = ids[i : i + 500]
            found.update(zip(page, await self.store.get(page), strict=True))
        return found

    def runs(self) -> list[Run]:
        """What handlers wrote so far, by time."""
        return read_runs(self.folder)

    def starts(self, ids: Sequence[bytes] | set[bytes] | None = None) -> list[Run]:
        """The starts of handlers so far, of some tasks or all."""
        return [run for run in self.runs() if run.what == "start" and (ids is None or run.id in ids)]

    def release(self) -> None:
        """Lets the handlers go that hold."""
        (self.folder / "release").touch()

    async def running(self, n: int, timeout: float = 15.0) -> None:
        """Waits until so many handlers have begun in all."""

        async def begun() -> bool:
            return len(self.starts()) >= n

        await until(f"{n} handlers have begun (now {len(self.starts())})", begun, timeout)

    async def ended(self, timeout: float = 20.0) -> QueueStats:
        """Waits until all that was accepted has ended; returns the sizes then."""
        deadline = time.monotonic() + timeout
        stats = None
        while True:
            with suppress(Unavailable):  # (its server may be away now)
                stats = await self.store.stats()
                if sum(stats.counts[name] for name in _FINAL) >= len(self.accepted):
                    return stats
            if time.monotonic() > deadline:
                counts = {name: n for name, n in stats.counts.items() if n} if stats else "no answer"
                raise AssertionError(f"not all of {len(self.accepted)} tasks ended within {timeout:g} s: {counts}")
            await asyncio.sleep(0.03)

    async def check(self, timeout: float = 20.0, *, taken_back: bool = False) -> QueueStats:
        """Waits until everything has ended and been told, and holds the ledger against it. ``taken_back``: Redis came
        back as it was before, so what it has forgotten was settled once more."""
        await self.ended(timeout)

        async def told() -> bool:
            return not (await self.store.stats()).outbox_entries

        await until("the relay has told all that happened", told, timeout)
        stats = await self.store.stats()
        ids = list(self.accepted)
        ends = await self.final_events()
        if taken_back:
            ends = {id_: sorted(set(kinds)) for id_, kinds in ends.items()}
        check_ledger(self.accepted, await self.views(ids), self.runs(), ends, stats)
        assert not await self.redis.hlen(self.store.keys.key("running")), "running counts are left"
        assert not await self.redis.scard(self.store.keys.key("cancelling")), "marks of cancellations are left"
        return stats

    async def final_events(self) -> dict[bytes, list[str]]:
        """Per task, the kinds of its final events; an event that was published twice counts once."""
        seen: set[tuple[str, str]] = set()
        ends: dict[bytes, list[str]] = defaultdict(list)
        for event in await self.events():
            for task in [id_ for group in event.tasks for id_ in group.ids] if event.kind in _FINAL else ():
                if (task, event.sequence) not in seen:
                    seen.add((task, event.sequence))
                    ends[id_bytes(task)].append(event.kind)
        return ends

    async def events(self) -> list[Event]:
        """The event log so far, with what was published twice."""
        if not self.kafka:
            rows = await self.redis.xrange(self.store.keys.log("events"))
            return [_decode_event(fields[b"r"]) for _, fields in rows]
        values = await read_topic(
            KafkaServer.of(self.kafka_admin or self.kafka).bootstrap, Topics.of("default", self.queue).events
        )
        return [_decode_event(line) for value in values for line in value.splitlines()]


def _role(role: str) -> list[str]:
    return [sys.executable, "-m", "laneway", role]


async def read_topic(kafka: str, topic: str, partition: int = 0) -> list[bytes]:
    """All values of one partition."""
    from aiokafka import AIOKafkaConsumer, TopicPartition

    where = TopicPartition(topic, partition)
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka, enable_auto_commit=False)
    await consumer.start()
    try:
        consumer.assign([where])
        await consumer.seek_to_beginning(where)
        end = (await consumer.end_offsets([where]))[where]
        values: list[bytes] = []
        while await consumer.position(where) < end:
            for records in (await consumer.getmany(timeout_ms=500)).values():
                values += [record.value for record in records]
        return values
    finally:
        await consumer.stop()


def lanes(*names: str, **fields: Any) -> tuple[LaneConfig, ...]:
    """Lanes numbered from 1, in dispatch order."""
    return tuple(LaneConfig(n=i, name=name, **fields) for i, name in enumerate(names, 1))


__all__ = ["Flow", "Member", "Run", "id_text", "lanes", "read_topic", "until"]
