"""One level-based pass per kind: observe, plan, apply, status."""
