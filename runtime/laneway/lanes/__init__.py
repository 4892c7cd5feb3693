"""The lanes of a queue: their order, limits and configuration."""
