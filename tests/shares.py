"""How a run's tests are shared out among processes, each of which starts the servers that its tests need.

A process takes a file at a time; of folders whose servers take long to start, all or half of it, so that few
processes start them.
"""

import os
from pathlib import Path

import pytest
from xdist.scheduler import LoadFileScheduling  # type: ignore[import-untyped]

#: What takes longest comes first, so that at the end of a run no process waits for another's last minutes.
_ORDER = ("browser", "chart", "operator", "flow", "contract", "model", "typing", "docs")
_WHOLE = ("browser", "chart")


def folder_of(item: pytest.Item) -> str:
    """The folder of `tests` that a test is in."""
    return os.path.relpath(item.path, Path(__file__).parent).partition(os.sep)[0]


def place(item: pytest.Item) -> int:
    """A test's place in a run: a lower number goes first."""
    folder = folder_of(item)
    return _ORDER.index(folder) if folder in _ORDER else len(_ORDER)


class Shares(LoadFileScheduling):  # type: ignore[misc]
    """`--dist loadfile`, but for the folders named above."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        folder, _, name = file.removeprefix("tests/").partition("/")
        if folder in _WHOLE:
            return folder
        if folder == "operator":
            return "operator a-p" if name < "test_q" else "operator q-z"
        return file
