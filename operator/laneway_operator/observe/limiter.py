"""What Redis holds of queues, by one client per server that all queues on it share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import msgspec
from redis.exceptions import RedisError

from laneway.adapters.redis.connection import AWAY, AnyRedis, connect, turned_away
from laneway.adapters.redis.keys import QueueKeys
from laneway.adapters.redis.primaries import load_scripts
from laneway.adapters.redis.server import check_server
from laneway.errors import ServerRefused, Unavailable
from laneway.model.config import (
    QueueConfig,
    TenantConfig,
    config_hash,
    decode_config,
    encode_for_scripts,
    encode_tenant,
)
from laneway.model.servers import RedisServer
from laneway_operator.engine.fence import Fence
from laneway_operator.observe.sharing import SharedRead

_T = TypeVar("_T")
FRESH_S: Final = 2.0
_CHECK_FRESH_S: Final = 5.0


class AccessDenied(Exception):
    """A server does not let the operator's user do what it must; the message says what."""


@dataclass(frozen=True, slots=True)
class SeenLimiter:
    """A queue's live configuration as Redis holds it. ``config`` None: there is none that can be read; ``raw`` is
    its document. ``hash`` and ``hot`` are what scripts compare and read. ``waiting`` and ``running`` count tasks."""

    config: QueueConfig | None
    raw: bytes | None
    hash: bytes
    hot: bytes
    tenants: dict[bytes, bytes]
    waiting: int = 0
    running: int = 0

    @property
    def whole(self) -> bool:
        """Whether its parts belong together: they are written by one script, so else somebody has edited one."""
        if self.config is None or self.raw is None:
            return self.raw is None and not self.hash
        return self.hash == config_hash(self.raw).encode() and self.hot == encode_for_scripts(self.config)

    def is_(self, config: QueueConfig, tenants: dict[str, TenantConfig]) -> bool:
        """Whether this is exactly what is in force."""
        wanted = {name.encode(): encode_tenant(tenant) for name, tenant in tenants.items()}
        return self.whole and self.config == config and self.tenants == wanted


class RedisPeer:
    """One Redis server. ``count`` is told of each request: its name and whether it went well."""

    def __init__(
        self, server: RedisServer, fence: Fence, clock: Callable[[], float], count: Callable[[str, bool], None]
    ) -> None:
        """Raises ConfigError when a certificate's file is wrong."""
        self.server = server
        self._client: AnyRedis = connect(server)
        self._fence = fence
        self._clock = clock
        self._count = count
        self._who = f"Redis at {server.address}"
        self._scripts: SharedRead[None] = SharedRead(self._load_scripts, FRESH_S, clock, of=self._who)
        self._checks: dict[tuple[str, int], SharedRead[list[str]]] = {}
        self._loaded_before = False
        self.losses = 0
        """How often scripts were missing that had been there; ``lost`` says which the last time, by primary."""
        self.lost: dict[str, list[str]] = {}

    async def ensure_scripts(self) -> None:
        """Loads the scripts that are missing on any primary.

        Raises:
            Unavailable, AccessDenied: Redis is away, or refused.
            NotLeading: this process may not write.
        """
        await self._scripts()

    async def check(self, config: QueueConfig) -> list[str]:
        """What people should know of how the server is set up.

        Raises:
            ServerRefused: it could not keep what ``config`` promises.
            Unavailable, AccessDenied: Redis is away, or refused.
        """
        promise = (config.durability, config.replicas)
        check = self._checks.get(promise)
        if check is None:
            check = self._checks[promise] = SharedRead(
                lambda: self._call("check", check_server, self._client, config),
                _CHECK_FRESH_S,
                self._clock,
                of=self._who,
            )
        return await check()

    async def look(self, namespace: str, queue: str, lanes: Sequence[str]) -> SeenLimiter:
        """What Redis holds of a queue; tasks are counted in ``lanes`` and where tasks of all lanes are.

        Raises:
            Unavailable, AccessDenied: Redis is away, or refused.
        """
        await self._scripts()  # fails at once for as long as the server is away
        keys = QueueKeys(namespace, queue)
        return await self._call("look", self._look, keys, lanes)

    async def close(self) -> None:
        """Ends the connections."""
        await self._scripts.close()
        for check in self._checks.values():
            await check.close()
        await self._client.aclose()

    async def _load_scripts(self) -> None:
        self._fence.check()
        missing: dict[str, list[str]] = await self._call("scripts", load_scripts, self._client)
        if missing and self._loaded_before:
            self.losses, self.lost = self.losses + 1, missing
        self._loaded_before = True

    async def _look(self, keys: QueueKeys, lanes: Sequence[str]) -> SeenLimiter:
        async with self._client.pipeline(transaction=False) as pipe:
            pipe.get(keys.key("conf"))
            pipe.hmget(keys.key("meta"), ["conf", "hot"])
            pipe.hgetall(keys.key("tenants"))
            for what in ("held", "dispatched", "parked", "scheduled"):
                pipe.zcard(keys.key(what))
            for lane in lanes:
                pipe.zcard(keys.lane(lane))
            raw, (hash, hot), tenants, held, dispatched, parked, scheduled, *queued = await pipe.execute()
        try:
            config = decode_config(raw) if raw is not None else None
        except (msgspec.DecodeError, msgspec.ValidationError):
            config = None
        return SeenLimiter(
            config, raw, hash or b"", hot or b"", tenants, parked + scheduled + sum(queued), held - dispatched
        )

    async def _call(self, name: str, call: Callable[..., Awaitable[_T]], *args: Any) -> _T:
        try:
            answer = await call(*args)
        except ServerRefused:
            self._count(name, True)
            raise
        except (*AWAY, RedisError) as error:
            self._count(name, False)
            if denied := turned_away(self.server, error):
                raise AccessDenied(str(denied)) from error
            what = "is away" if isinstance(error, AWAY) else "refused"
            raise Unavailable(f"Redis at {self.server.address} {what} ({error})", 1.0) from error
        self._count(name, True)
        return answer
