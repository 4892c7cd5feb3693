"""Measurements that a user can repeat: ``laneway bench NAME``. Workers and pollers are real processes."""
