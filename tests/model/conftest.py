"""Leaves the large variants out unless they are asked for: `pytest -m slow_model`."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselects the large variants of the model check: they take minutes."""
    if "slow_model" in (config.option.markexpr or ""):
        return
    large = [item for item in items if item.get_closest_marker("slow_model")]
    if large:
        config.hook.pytest_deselected(items=large)
        items[:] = [item for item in items if item not in large]
