"""Writes to the API server, each made only if something would change by it."""
