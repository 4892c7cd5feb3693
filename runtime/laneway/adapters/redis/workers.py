"""Who works on a queue, in Redis."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from laneway.adapters.redis.replies import split_id_list
from laneway.ports.workers import Member

if TYPE_CHECKING:
    from laneway.adapters.redis.store import RedisStore


class RedisWorkers:
    """The WorkerBook over the scripts ``workers`` and ``drain``."""

    def __init__(self, store: RedisStore) -> None:
        self._store = store

    async def members(self, tasks: int) -> list[Member]:
        """Every registered worker."""
        reply = await self._store.script("workers", tasks)
        now, found = reply[1], []
        for i in range(2, len(reply), 5):
            inc, raw, beat, held, ids = reply[i : i + 5]
            reg = msgspec.msgpack.decode(raw)
            found.append(
                Member(
                    inc, reg["n"], reg["m"], reg["st"], int(reg["s"]), int(reg["p"]), held, max(0, now - beat),
                    int(reg.get("at", 0)), split_id_list(ids),
                )
            )  # fmt: skip
        return found

    async def drain(self, inc: bytes) -> bool:
        """Asks a worker to leave."""
        reply = await self._store.script("drain", inc)
        return bool(reply[2] == b"draining")
