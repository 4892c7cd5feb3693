"""Kafka as the carrier of dispatched tasks and as the log of what happened."""
