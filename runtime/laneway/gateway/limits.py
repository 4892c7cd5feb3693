"""How much the gateway takes at once."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class GatewayLimits:
    """Bounds on requests; what a queue takes (payload, depth, rates) is the queue's own configuration."""

    max_body: int = 4 * 1_048_576
    """Bytes of one request's body (413 above)."""
    max_batch_body: int = 16 * 1_048_576
    """Bytes of a batch's body (413 above)."""
    max_batch: int = 1_000
    """Tasks in one batch (413 above)."""
    max_waiting: int = 10_000
    """Single submissions that may wait for a call to Redis (503 above)."""
    deadline: float = 5.0
    """Seconds until a request is answered with 503 or 504 though Redis has not answered."""
    max_streams: int = 500
    """Streams of events, and long-polls for them that wait, that are open at once (503 above)."""
    max_streams_each: int = 100
    """Those of one credential; of one address, where nobody is asked for a credential (429 above)."""
    max_connections: int = 2_000
    """Connections that are open at once (503 above, and closed)."""
    head_seconds: float = 10.0
    """From a connection's beginning, or the first byte of a further request on it, until the head is whole (408)."""
    body_stall_seconds: float = 30.0
    """Without a byte of a body that is not whole (408)."""
    body_seconds: float = 300.0
    """From a request's head until its body is whole (408)."""
