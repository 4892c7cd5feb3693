"""What the Redis server itself must be set up for."""

from __future__ import annotations

from typing import Any

from redis.asyncio.cluster import RedisCluster
from redis.exceptions import ResponseError

from laneway.adapters.redis.connection import AnyRedis
from laneway.adapters.redis.primaries import primaries
from laneway.errors import ServerRefused
from laneway.model.config import QueueConfig


async def server_run_id(client: AnyRedis, key: str) -> str:
    """The random id that the server with this key took when it started. (In a cluster others may come and go.)"""
    if isinstance(client, RedisCluster):
        await client.initialize()
        info = await client.info("server", target_nodes=client.get_node_from_key(key))
    else:
        info = await client.info("server")
    return str(info["run_id"])


async def check_server(client: AnyRedis, config: QueueConfig) -> list[str]:
    """Checks every primary against what the queue's durability promises.

    Returns warnings for people. Raises ServerRefused when a promise could not be kept. What can't be read, since the
    server or this user's ACL does not allow it, is a warning that says so: the promise may well be kept.
    """
    warnings: list[str] = []
    for name, target in await primaries(client):
        memory, persistence = await client.info("memory", **target), await client.info("persistence", **target)
        policy = memory.get("maxmemory_policy", "noeviction")
        if policy != "noeviction":
            raise ServerRefused(
                f"Redis {name} has maxmemory-policy {policy}, which would throw tasks away when it is full: "
                "set maxmemory-policy noeviction"
            )
        if not persistence.get("aof_enabled", 1):
            if config.durability != "fast":
                raise ServerRefused(
                    f"durability {config.durability} needs the append-only file on Redis {name}: set appendonly yes"
                )
            warnings.append(f"Redis {name} has appendonly no: a restart of it loses tasks; set appendonly yes")
        if config.durability == "fsync":
            warnings += await _check_fsync(client, name, target)
        if config.durability == "replica":
            connected = int((await client.info("replication", **target)).get("connected_slaves", 0))
            if connected < config.replicas:
                raise ServerRefused(
                    f"durability: Replica with {config.replicas} replicas, but {connected} are connected to Redis "
                    f"{name}: add replicas, or ask for fewer"
                )
    return warnings


async def _check_fsync(client: AnyRedis, name: str, target: dict[str, Any]) -> list[str]:
    """Only CONFIG tells how often the append-only file is flushed, and ACLs and hosted servers often forbid that."""
    try:
        answer = await client.config_get("appendfsync", **target)
    except ResponseError as error:
        return [
            f"durability: Fsync needs appendfsync always on Redis {name}, and nobody has checked that: this user may "
            f"not read it ({error}); see to it yourself, or allow +config|get"
        ]
    found = answer.get("appendfsync")
    if found != "always":
        raise ServerRefused(
            f"durability: Fsync needs appendfsync always on Redis {name} (it is {found}): set it, or choose "
            "durability: Fast"
        )
    return []
