"""Recording how an attempt ended, in batches, fenced."""
