"""Laneway and its peers, the same work on the same machine in one run: see ``python -m benchmarks.peers --help``."""
