"""What is done on the servers themselves rather than through a queue's scripts: loading these, and erasing a queue."""

from __future__ import annotations

from typing import Any

from redis.asyncio.cluster import RedisCluster

from laneway.adapters.redis.connection import AnyRedis
from laneway.adapters.redis.keys import QueueKeys
from laneway.adapters.redis.scripts import all_names, load

_SCANNED = 1000
_UNLINKED = 100


async def load_scripts(client: AnyRedis) -> dict[str, list[str]]:
    """Loads each script on each primary that lacks it; returns what was missing, by primary."""
    scripts = [load(name) for name in all_names()]
    missing: dict[str, list[str]] = {}
    for name, target in await primaries(client):
        known = await client.execute_command("SCRIPT EXISTS", *(script.sha for script in scripts), **target)
        lacks = [script for script, there in zip(scripts, known, strict=True) if not there]
        for script in lacks:
            await client.execute_command("SCRIPT LOAD", script.source, **target)
        if lacks:
            missing[name] = [script.name for script in lacks]
    return missing


async def erase_keys(client: AnyRedis, keys: QueueKeys) -> int:
    """Unlinks all keys of one queue, a bounded number at a time; Redis frees the large ones in the background."""
    target: dict[str, Any] = {}
    if isinstance(client, RedisCluster):
        await client.initialize()
        target["target_nodes"] = client.get_node_from_key(keys.key("meta"))
    erased = 0
    batch: list[bytes] = []
    # (Braces mean nothing in a pattern of Redis, and names have no other sign that does.)
    async for key in client.scan_iter(match=keys.prefix + "*", count=_SCANNED, **target):
        batch.append(key)
        if len(batch) >= _UNLINKED:
            erased += await client.unlink(*batch)
            batch.clear()
    return erased + (await client.unlink(*batch) if batch else 0)


async def primaries(client: AnyRedis) -> list[tuple[str, dict[str, Any]]]:
    """The name of each primary, and the options that send a command to it."""
    if isinstance(client, RedisCluster):
        await client.initialize()
        return [(node.name, {"target_nodes": node}) for node in client.get_primaries()]
    at = client.connection_pool.connection_kwargs
    return [(str(at.get("path") or f"{at.get('host', 'localhost')}:{at.get('port', 6379)}"), {})]
