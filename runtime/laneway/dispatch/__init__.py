"""From a lane to a worker: claims, credits and the sources of work."""
