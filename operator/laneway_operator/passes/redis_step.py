"""The step of a queue's pass that sees to it that no change of spec.redis leaves tasks behind unnoticed.

Every new server is asked for the id that the queue's data carries. The same data under another name is no move. Any
other server is refused, and pods and configuration stay as they are, until an annotation says that the data at the
former address may be left.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from laneway.model.servers import RedisServer
from laneway_operator.apply.redis_id import ensure_id, read_id
from laneway_operator.conditions import ConditionType, EventType, Happening, Reason
from laneway_operator.keys import Body, key_of
from laneway_operator.passes.troubles import TROUBLES, finding_of
from laneway_operator.plan.redis_home import RedisHome, abandons, address_of, home_of, moved_message
from laneway_operator.plan.status import Finding
from laneway_operator.toolbox import Toolbox

_READY = ConditionType.LIMITER_READY


@dataclass(frozen=True, slots=True)
class Settled:
    """``status`` is what status.redis is to say (None: nothing yet); ``finding`` what went wrong, if anything."""

    status: dict[str, Any] | None
    finding: Finding | None = None


class RedisStep:
    """Compares the Redis of the manifest with that of the status."""

    def __init__(self, tools: Toolbox) -> None:
        self._tools = tools

    async def held(self, body: Body, server: RedisServer) -> Finding | None:
        """Why nothing may be done with ``server``; None: it holds the queue's data, or may from now on. Asks a server
        only if its address is not that of the status."""
        home, address = home_of(body), address_of(server)
        if home is None or home.address == address or abandons(body, home):
            return None
        key = key_of(body)
        try:
            if await read_id(server, key.namespace, key.name) == home.id:
                return None
        except TROUBLES as error:
            return finding_of(_READY, error)
        return Finding(_READY, False, Reason.REDIS_MOVED, moved_message(home, address))

    async def settle(self, body: Body, server: RedisServer, *, anew: bool) -> Settled:
        """What the status is to say, now that the queue is configured there. ``anew``: Redis had nothing of it."""
        home, address, key = home_of(body), address_of(server), key_of(body)
        if home is not None and home.address == address and not anew:
            return Settled(home.status())
        try:
            id = await ensure_id(server, key.namespace, key.name, self._tools.fence)
        except TROUBLES as error:
            return Settled(home.status() if home else None, finding_of(_READY, error))
        if home is not None and home.address != address and home.id != id:
            self._tools.events.emit(
                body, EventType.WARNING, Happening.DATA_ABANDONED,
                f"the queue is in Redis at {address} now; what it had at {home.address} is left there",
            )  # fmt: skip
        return Settled(RedisHome(address, id).status())
