"""What the Redis server itself must be set up for."""

from __future__ import annotations

from typing import Any

from redis.asyncio.cluster import RedisCluster

from laneway.adapters.redis.connection import AnyRedis
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

    Returns warnings for people. Raises ServerRefused when a promise could not be kept.
    """
    warnings: list[str] = []
    for name, settings in (await _settings(client)).items():
        policy = settings.get("maxmemory-policy", "noeviction")
        if policy != "noeviction":
            raise ServerRefused(
                f"Redis {name} has maxmemory-policy {policy}, which would throw tasks away when it is full: "
                "set maxmemory-policy noeviction"
            )
        if settings.get("appendonly") == "no":
            if config.durability != "fast":
                raise ServerRefused(
                    f"durability {config.durability} needs the append-only file on Redis {name}: set appendonly yes"
                )
            warnings.append(f"Redis {name} has appendonly no: a restart of it loses tasks; set appendonly yes")
        if config.durability == "fsync" and settings.get("appendfsync") != "always":
            raise ServerRefused(
                f"durability fsync needs appendfsync always on Redis {name} (it is {settings.get('appendfsync')}): "
                "set it, or choose durability fast"
            )
    if config.durability == "replica":
        connected = int((await client.info("replication")).get("connected_slaves", 0))
        if connected < config.replicas:
            raise ServerRefused(
                f"durability replica with {config.replicas} replicas, but {connected} are connected: "
                "add replicas, or ask for fewer"
            )
    return warnings


async def _settings(client: AnyRedis) -> dict[str, dict[str, Any]]:
    """The settings of the server, or of each primary of a cluster. (Redis 6.2 gives one setting per call.)"""
    found: dict[str, dict[str, Any]] = {}
    for setting in ("maxmemory-policy", "appendonly", "appendfsync"):
        answer = await client.config_get(setting)
        by_node = answer if any(isinstance(value, dict) for value in answer.values()) else {"server": answer}
        for node, values in by_node.items():
            found.setdefault(str(node), {}).update(values)
    return found
