"""What the API server's watches bring in: into the cache, and on to the queue of work."""
