"""Topics of a queue."""

from laneway.model.topics import Topics

__all__ = ["Topics"]
