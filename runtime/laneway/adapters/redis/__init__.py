"""Redis as the truth about tasks."""

from laneway.adapters.redis.store import RedisStore

__all__ = ["RedisStore"]
