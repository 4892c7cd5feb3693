"""All Redis keys, built in one place.

The braces put everything of a queue into one slot of a Redis Cluster.
"""

from __future__ import annotations

#: What a script may name in its KEYS header -> the Lua local that the loader declares for it.
LOCALS = {
    "meta": "META",
    "conf": "CONF",
    "tasks": "TASKS",
    "records": "RECORDS",
    "errors": "ERRORS",
    "results": "RESULTS",
    "notes": "NOTES",
    "types": "TYPES",
    "scheduled": "SCHEDULED_SET",
    "parked": "PARKED_SET",
    "blocked": "BLOCKED_SET",
    "startby": "STARTBY_SET",
    "held": "HELD",
    "dispatched": "DISPATCHED_SET",
    "cancelling": "CANCELLING",
    "succeeded": "SUCCEEDED_SET",
    "dead": "DEAD_SET",
    "cancelled": "CANCELLED_SET",
    "expired": "EXPIRED_SET",
    "workers": "WORKERS",
    "beats": "BEATS",
    "partitions": "PARTITIONS",
    "replies": "REPLIES",
    "running": "RUNNING_COUNTS",
    "tenants": "TENANTS",
    "vtime": "VTIME",
    "buckets": "BUCKETS",
    "idem": "IDEM",
    "idemexp": "IDEMEXP",
    "outbox": "OUTBOX",
    "relay": "RELAY",
    "history_fine": "HISTORY_FINE",
    "history_coarse": "HISTORY_COARSE",
    "wake": "WAKE",
    "wake_tend": "WAKE_TEND",
}


class QueueKeys:
    """The keys of one queue."""

    def __init__(self, namespace: str, queue: str) -> None:
        self.prefix = f"laneway:{{{namespace}/{queue}}}:"

    def key(self, what: str) -> str:
        """The key of one part of the queue, as named in ``LOCALS``."""
        return self.prefix + what

    def lane(self, name: str) -> str:
        """The key of a lane's sorted set."""
        return f"{self.prefix}lane:{name}"

    def log(self, stream: str) -> str:
        """The key of a capped stream that stands in for a Kafka topic."""
        return f"{self.prefix}log:{stream}"

    @property
    def done_channel(self) -> str:
        """The channel on which ends are announced (see lua/lib/finish.lua)."""
        return self.key("meta") + ":done"

    @property
    def cursors(self) -> str:
        """The key of the secret with which gateways seal cursors."""
        return self.key("meta") + ":cursors"
