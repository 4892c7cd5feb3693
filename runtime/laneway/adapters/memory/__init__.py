"""The store in plain Python, for tests and users' own unit tests: what the scripts mean, on any clock."""

from laneway.adapters.memory.clock import Clock, SystemClock, VirtualClock
from laneway.adapters.memory.store import MemoryStore

__all__ = ["Clock", "MemoryStore", "SystemClock", "VirtualClock"]
