"""What runs passes: the API client, the cache, the queue of work, leadership, health and metrics."""
