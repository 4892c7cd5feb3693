"""Taking tasks in: checks, limits, idempotency, and the call that enqueues."""
