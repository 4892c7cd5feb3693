"""Pools follow their queues: the depth is watched, the size decided (`laneway.policy.scaling`) and explained."""
