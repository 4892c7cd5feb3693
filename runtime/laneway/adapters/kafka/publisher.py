"""Publishing to Kafka: idempotent, acknowledged by all in-sync replicas."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from laneway.errors import Unavailable

#: Kafka's own default for the largest record batch, less room for headers.
MAX_RECORD = 900_000


class Publisher:
    """A producer that is made at first use and again after it broke. Not for several event loops."""

    def __init__(self, bootstrap: str, *, timeout: float = 5.0) -> None:
        self._bootstrap = bootstrap
        self._timeout = timeout
        self._producer: AIOKafkaProducer | None = None

    async def _ready(self) -> AIOKafkaProducer:
        if self._producer is None:
            producer = AIOKafkaProducer(
                bootstrap_servers=self._bootstrap,
                acks="all",
                enable_idempotence=True,
                linger_ms=0,
                max_request_size=1_048_576,
                request_timeout_ms=int(self._timeout * 1000),
            )
            try:
                await asyncio.wait_for(producer.start(), self._timeout)
            except (KafkaError, OSError, TimeoutError) as error:
                await producer.stop()
                raise Unavailable(f"Kafka at {self._bootstrap} is away ({error})", 1.0) from error
            self._producer = producer
        return self._producer

    async def publish(self, topic: str, records: Sequence[tuple[int | None, bytes | None, bytes]]) -> list[bool]:
        """Publishes (partition, key, value) records and waits until they are acknowledged.

        Returns which were; those that were not may still be in the log (an acknowledgement can be lost).

        Raises:
            Unavailable: Kafka can't be reached at all.
        """
        producer = await self._ready()
        try:
            futures = [
                await asyncio.wait_for(producer.send(topic, value, key=key, partition=partition), self._timeout)
                for partition, key, value in records
            ]
        except MessageSizeTooLargeError as error:
            raise ValueError(f"a record for {topic} is larger than Kafka takes: {error}") from error
        except (KafkaError, OSError, TimeoutError) as error:
            await self.reset()
            raise Unavailable(f"Kafka at {self._bootstrap} is away ({error})", 1.0) from error
        done, late = await asyncio.wait(futures, timeout=self._timeout) if futures else (set(), set())
        for future in done:
            future.exception()  # (retrieved here, told in the result)
        if late:
            await self.reset()
        return [f in done and not f.cancelled() and f.exception() is None for f in futures]

    async def reset(self) -> None:
        """Drops the producer; the next publication makes a new one, with a new producer id."""
        producer, self._producer = self._producer, None
        if producer is not None:
            try:
                await asyncio.wait_for(producer.stop(), 1.0)
            except (KafkaError, OSError, TimeoutError):
                # What it still had is given up: its callers have been told that it was not acknowledged.
                return

    async def close(self) -> None:
        """Ends the producer."""
        await self.reset()
