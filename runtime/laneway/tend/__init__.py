"""The poller's duties: promote, reap, tidy, relay, keep the history; and dispatch to Kafka."""
