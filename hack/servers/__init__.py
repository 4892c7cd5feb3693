"""Real servers on loopback for tests, benches and development.

Each class starts one server on a free port with a data folder of its own, and ends it by its own handle.
"""
