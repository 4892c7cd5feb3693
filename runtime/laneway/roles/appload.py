"""Finds the application's App by its import path."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from laneway.client import App
from laneway.errors import ConfigError


def load_app(path: str) -> App:
    """Imports ``package.module:attribute`` (the current folder is searched too).

    Raises:
        ConfigError: there is no such module or attribute, or it is not an App; says what would be right.
    """
    module_name, _, attribute = path.partition(":")
    if not module_name or not attribute:
        raise ConfigError(f"app {path!r} must be package.module:attribute, for example orders.tasks:app")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and (module_name == error.name or module_name.startswith(error.name + ".")):
            raise ConfigError(
                f"app {path!r}: there is no module {error.name!r} on the path {sys.path[:3]}...: start from the folder "
                "that holds it, or install it"
            ) from error
        raise
    app = getattr(module, attribute, None)
    if not isinstance(app, App):
        apps = sorted(name for name, value in vars(module).items() if isinstance(value, App))
        raise ConfigError(
            f"app {path!r}: {module_name}.{attribute} is {type(app).__name__}, not a laneway.App"
            + (f"; the module has {', '.join(f'{module_name}:{name}' for name in apps)}" if apps else "")
        )
    return app
