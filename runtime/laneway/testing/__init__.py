"""An in-memory queue with virtual time, for users' own unit tests."""
