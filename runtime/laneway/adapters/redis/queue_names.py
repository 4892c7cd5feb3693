"""Which queues a Redis has, for a person who names none."""

from __future__ import annotations

from redis.exceptions import RedisError

from laneway.adapters.redis.connection import AWAY, NOT_NOW, connect, not_allowed
from laneway.adapters.redis.keys import QueueKeys
from laneway.adapters.redis.primaries import primaries
from laneway.errors import ConfigError, Unavailable
from laneway.model.servers import RedisServer

_SCANNED = 1000


async def queue_names(server: RedisServer, namespace: str) -> list[str]:
    """The names of the configured queues of a namespace, sorted. It looks at every key's name, of which a queue has
    few: its tasks are no keys of their own.

    Raises:
        Unavailable: the server can't be reached, or can't answer now.
        ConfigError: its user may not look.
    """
    before, after = QueueKeys(namespace, "*").key("conf").split("*")
    found: set[str] = set()
    client = connect(server)
    try:
        for _, target in await primaries(client):
            # (Braces mean nothing in a pattern of Redis, and names have no other sign that does.)
            async for key in client.scan_iter(match=f"{before}*{after}", count=_SCANNED, **target):
                name = key.decode("utf-8", "replace").removeprefix(before).removesuffix(after)
                if "}" not in name:
                    found.add(name)
    except RedisError as error:
        if not_allowed(error):
            raise ConfigError(f"the user of {server.address} may not list its queues ({error})") from error
        if isinstance(error, (*AWAY, *NOT_NOW)):
            raise Unavailable(f"Redis is away ({error}); nothing was changed") from error
        raise
    except OSError as error:
        raise Unavailable(f"Redis is away ({error}); nothing was changed") from error
    finally:
        await client.aclose()
    return sorted(found)
