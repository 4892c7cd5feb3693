"""The plain data that everything else speaks of."""
