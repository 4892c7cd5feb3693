"""Finds the application that a path such as ``package.module:app`` names."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from laneway.errors import ConfigError
from laneway.model.task import TaskDef


def load(path: str) -> Any:
    """The object at ``package.module:name`` (``name`` may have dots).

    Raises:
        ConfigError: the path has another form, or there is no such object. Errors of the module itself pass through.
    """
    module_name, colon, names = path.partition(":")
    if not colon or not module_name or not names:
        raise ConfigError(f"{path!r} is not a path to an object: write it as package.module:name")
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        raise ConfigError(f"{path!r}: there is no module {error.name!r} on the import path") from error
    for name in names.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            raise ConfigError(f"{path!r}: {module_name} has no {names!r}") from None
    return found


def load_tasks(path: str) -> Mapping[str, TaskDef]:
    """The task types of the application at ``path``, from its attribute ``tasks``; or the mapping that is there.

    Raises:
        ConfigError: there is no such object, or it has no task types.
    """
    app = load(path)
    tasks = app if isinstance(app, Mapping) else getattr(app, "tasks", None)
    if not isinstance(tasks, Mapping):
        raise ConfigError(f"{path!r} is a {type(app).__name__}, not an application: it has no mapping `tasks`")
    return tasks
