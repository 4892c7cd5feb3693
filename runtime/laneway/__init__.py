"""Laneway: a Kubernetes-native distributed priority task queue on Redis and Kafka."""

__version__ = "0.1.0"
