"""Publishing to Kafka: idempotent, acknowledged by all in-sync replicas."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from enum import Enum

from aiokafka import AIOKafkaProducer
from aiokafka.errors import MessageSizeTooLargeError

from laneway.adapters.kafka.connection import AWAY, away, checked, client_options
from laneway.model.servers import KafkaServer
from laneway.model.topics import MAX_REQUEST

#: Kafka's own default for the largest record batch, less room for headers.
MAX_RECORD = 900_000
#: What gathers while a request is under way goes out with the next, up to so much: a request costs this process 0.2 ms
#: of its time, almost whatever its size.
_BATCH_BYTES = 262_144


class Sent(Enum):
    """What became of a record: TOO_LARGE for the topic, and so for ever."""

    DONE = "done"
    LOST = "lost"
    TOO_LARGE = "too large"


async def _end(producer: AIOKafkaProducer) -> None:
    try:
        await asyncio.wait_for(producer.stop(), 1.0)
    except AWAY:
        # What it still had is given up: its callers have been told that it was not acknowledged.
        return


def _outcome(future: asyncio.Future[object]) -> Sent:
    if not future.done() or future.cancelled():
        return Sent.LOST
    error = future.exception()
    if error is None:
        return Sent.DONE
    return Sent.TOO_LARGE if isinstance(error, MessageSizeTooLargeError) else Sent.LOST


class Publisher:
    """A producer that is made at first use and again after it broke. Not for several event loops."""

    def __init__(self, server: KafkaServer | str, *, timeout: float = 5.0) -> None:
        self._server = checked(server)
        self._timeout = timeout
        self._making = asyncio.Lock()
        self._producer: AIOKafkaProducer | None = None

    async def _ready(self) -> AIOKafkaProducer:
        async with self._making:  # one at a time: a second producer would break the order, and nobody would end it
            if self._producer is None:
                producer = AIOKafkaProducer(
                    **client_options(self._server),
                    acks="all",
                    enable_idempotence=True,
                    linger_ms=0,
                    max_batch_size=_BATCH_BYTES,
                    max_request_size=MAX_REQUEST,
                    request_timeout_ms=int(self._timeout * 1000),
                )
                try:
                    await asyncio.wait_for(producer.start(), self._timeout)
                except AWAY as error:
                    await producer.stop()
                    raise await away(self._server, error) from error
                self._producer = producer
            return self._producer

    async def publish(self, topic: str, records: Sequence[tuple[int | None, bytes | None, bytes]]) -> list[Sent]:
        """Publishes (partition, key, value) records and waits until they are acknowledged.

        Returns what became of each; one that is LOST may still be in the log (an acknowledgement can be lost).

        Raises:
            Unavailable: Kafka can't be reached at all.
        """
        producer = await self._ready()
        sent: list[Sent | asyncio.Future[object]] = []
        try:
            for partition, key, value in records:
                try:
                    sent.append(
                        await asyncio.wait_for(producer.send(topic, value, key=key, partition=partition), self._timeout)
                    )
                except MessageSizeTooLargeError:
                    sent.append(Sent.TOO_LARGE)
        except AWAY as error:
            await self._drop(producer)
            raise await away(self._server, error) from error
        futures = [future for future in sent if isinstance(future, asyncio.Future)]
        late = (await asyncio.wait(futures, timeout=self._timeout))[1] if futures else set()
        for future in late:
            future.add_done_callback(_outcome)  # (what it ends with is looked at, though nobody waits any more)
        if late:
            await self._drop(producer)
        return [_outcome(each) if isinstance(each, asyncio.Future) else each for each in sent]

    async def _drop(self, broken: AIOKafkaProducer) -> None:
        """Ends a producer that broke, unless another call did; the next publication makes a new one."""
        if self._producer is broken:
            self._producer = None
            await _end(broken)

    async def close(self) -> None:
        """Ends the producer."""
        if self._producer is not None:
            await self._drop(self._producer)
