"""The poller's side duties: promote, reap, schedule, relay."""
