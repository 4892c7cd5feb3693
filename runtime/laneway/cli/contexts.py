"""Contexts: gateways (or Redis servers) by name, with the credential for each, in one file of the user's."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import click

from laneway.errors import ConfigError

#: Each setting of a context: its name in the file, and what it is.
SETTINGS: Mapping[str, str] = {
    "url": "the gateway's address",
    "portForward": "NAMESPACE/SERVICE of a gateway, reached by kubectl port-forward",
    "kubeContext": "the context of kubectl that is meant",
    "redis": "a Redis, in place of a gateway",
    "cluster": "whether that is a Redis Cluster",
    "namespace": "the queues' namespace, with redis",
    "queue": "the queue of commands that name none",
    "token": "the credential itself",
    "tokenFile": "a file that has it",
    "tokenEnv": "the variable of the environment that has it",
    "tokenCommand": "a command that writes it",
    "caFile": "the certificates by which the gateway is known",
    "insecure": "whether any certificate is taken",
}
_TOKENS = ("token", "tokenFile", "tokenEnv", "tokenCommand")


@dataclass(frozen=True, slots=True)
class Context:
    """One place to work at. ``settings`` are those of :data:`SETTINGS` that it has."""

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    def text(self, name: str) -> str | None:
        """A setting that is a text."""
        value = self.settings.get(name)
        return str(value) if value is not None else None

    def shown(self, reveal: bool = False) -> dict[str, Any]:
        """The settings for people: a token's middle and Redis's password are left out unless ``reveal``."""
        told = dict(self.settings)
        if "token" in told and not reveal:
            told["token"] = masked(str(told["token"]))
        if "redis" in told and not reveal:
            told["redis"] = self.place
        return told

    @property
    def place(self) -> str:
        """Where it leads, in short."""
        if "redis" in self.settings:
            from laneway.model.servers import RedisServer

            return RedisServer(str(self.settings["redis"])).address
        return str(self.settings.get("url") or f"{self.settings.get('portForward')} (port-forward)")

    @property
    def credential(self) -> str:
        """By what it gets its token, in short."""
        return next((name for name in _TOKENS if name in self.settings), "none")


@dataclass(frozen=True, slots=True)
class Contexts:
    """What the file says."""

    current: str | None = None
    contexts: Mapping[str, Context] = field(default_factory=dict)

    def get(self, name: str) -> Context:
        """A context by name. Raises ConfigError naming those that there are."""
        found = self.contexts.get(name)
        if found is None:
            import difflib

            near = difflib.get_close_matches(name, self.contexts, 1)
            names = ", ".join(sorted(self.contexts)) or "none; add one with laneway context add"
            hint = f"did you mean {near[0]!r}?" if near else f"there are: {names}"
            raise ConfigError(f"there is no context {name!r} in {contexts_file()}; {hint}")
        return found

    def with_context(self, context: Context, *, use: bool) -> Contexts:
        """With one more, or another in its place; the first one is in use at once."""
        current = context.name if use or self.current is None else self.current
        return Contexts(current, {**self.contexts, context.name: context})

    def without(self, name: str) -> Contexts:
        """Without one."""
        left = {key: value for key, value in self.contexts.items() if key != name}
        return Contexts(self.current if self.current != name else None, left)

    def using(self, name: str | None) -> Contexts:
        """With another in use."""
        return replace(self, current=name)


def contexts_file() -> Path:
    """Where contexts are kept: $LANEWAY_CONTEXTS, else laneway/contexts.yaml in the user's configuration."""
    named = os.environ.get("LANEWAY_CONTEXTS")
    if named:
        return Path(named).expanduser()
    home = os.environ.get("XDG_CONFIG_HOME")
    return (Path(home) if home else Path.home() / ".config") / "laneway" / "contexts.yaml"


def load_contexts() -> Contexts:
    """The contexts of the file; none when there is no file.

    Raises:
        ConfigError: it can't be read, or is not of its form.
    """
    path = contexts_file()
    try:
        with path.open(encoding="utf-8") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            text = file.read()
    except FileNotFoundError:
        return Contexts()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} can't be read: {error}") from error
    import yaml

    try:
        said = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is no YAML: {error}") from error
    found = _read(said or {}, path)
    if mode & 0o077 and any("token" in context.settings for context in found.contexts.values()):
        click.echo(f"laneway: others can read the tokens in {path}: chmod 600 {path}", err=True)
    return found


def _read(said: Any, path: Path) -> Contexts:
    if not isinstance(said, dict) or not isinstance(said.get("contexts") or {}, dict):
        raise ConfigError(f"{path} must have `contexts`, by name, and `current`")
    if unknown := set(said) - {"current", "contexts"}:
        raise ConfigError(f"{path} has {', '.join(sorted(map(str, unknown)))}, and may have current and contexts")
    contexts = {str(name): _context(str(name), value, path) for name, value in (said.get("contexts") or {}).items()}
    current = said.get("current")
    return Contexts(str(current) if current is not None else None, contexts)


def _context(name: str, value: Any, path: Path) -> Context:
    where = f"{path}: context {name}"
    if not isinstance(value, dict):
        raise ConfigError(f"{where} must be a mapping of {', '.join(SETTINGS)}")
    for key, setting in value.items():
        if key not in SETTINGS:
            raise ConfigError(f"{where} has {key!r}, and may have {', '.join(SETTINGS)}")
        right: type | tuple[type, ...] = str
        if key in ("cluster", "insecure"):
            right = bool
        elif key == "tokenCommand":
            right = (str, list)
        if not isinstance(setting, right):
            kind = {"cluster": "true or false", "insecure": "true or false"}.get(key, "a text")
            raise ConfigError(f"{where}: {key} must be {kind}")
    context = Context(name, value)
    check_context(context)
    return context


def check_context(context: Context) -> None:
    """Whether it leads somewhere. Raises ConfigError saying what would be right."""
    has = context.settings
    ways = [name for name in ("url", "portForward", "redis") if has.get(name)]
    if len(ways) != 1:
        what = f"has {' and '.join(ways)}" if ways else "leads nowhere"
        raise ConfigError(f"context {context.name} {what}: it needs url, portForward or redis, one of the three")
    tokens = [name for name in _TOKENS if name in has]
    if len(tokens) > 1:
        raise ConfigError(f"context {context.name} has {' and '.join(tokens)}: keep one of them")
    if "redis" in has and tokens:
        raise ConfigError(f"context {context.name} has redis and {tokens[0]}: a token is for a gateway")
    if "redis" not in has and ("namespace" in has or "cluster" in has):
        raise ConfigError(f"context {context.name}: namespace and cluster go with redis")


def save_contexts(contexts: Contexts) -> Path:
    """Writes the file, for nobody else to read; whoever reads it meanwhile finds all of it or what was before.

    Raises:
        ConfigError: it can't be written.
    """
    import tempfile

    import yaml

    path = contexts_file()
    said = {
        "current": contexts.current,
        "contexts": {name: dict(context.settings) for name, context in contexts.contexts.items()},
    }
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # made with mode 0600
        try:
            with os.fdopen(fd, "w", encoding="utf-8") as file:
                yaml.safe_dump(said, file, sort_keys=False, allow_unicode=True)
            os.replace(name, path.resolve())
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)
            raise
    except OSError as error:
        raise ConfigError(f"{path} can't be written: {error}") from error
    return path


def masked(token: str) -> str:
    """A token by which it can be known again, and not be used."""
    return f"{token[:6]}...{token[-2:]}" if len(token) >= 20 else "..."


async def token_of(context: Context) -> str | None:
    """The credential of a context, got now; None when it has none.

    Raises:
        ConfigError: it is not to be had.
    """
    has = context.settings
    if "token" in has:
        return str(has["token"])
    if "tokenEnv" in has:
        name = str(has["tokenEnv"])
        if not os.environ.get(name):
            raise ConfigError(
                f"context {context.name} takes its token from {name}, which the environment does not have"
            )
        return os.environ[name]
    if "tokenFile" in has:
        return _from_file(context.name, str(has["tokenFile"]))
    if "tokenCommand" in has:
        return await _from_command(context.name, has["tokenCommand"])
    return None


def _from_file(name: str, file: str) -> str:
    path = Path(file).expanduser()
    try:
        return path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"context {name} takes its token from {path}: {error}") from error


#: How long a command may take to write a token (s): it may have to ask a person.
_COMMAND_S = 120.0


async def _from_command(name: str, command: str | list[Any]) -> str:
    import asyncio
    import shlex

    words = shlex.split(command) if isinstance(command, str) else [str(word) for word in command]
    where = f"context {name} takes its token from `{shlex.join(words)}`, which"
    try:
        # (its standard error is the user's: it may ask for something there)
        process = await asyncio.create_subprocess_exec(*words, stdout=asyncio.subprocess.PIPE)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{where} can't be run: {error}") from error
    try:
        out, _ = await asyncio.wait_for(process.communicate(), _COMMAND_S)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise ConfigError(f"{where} has not ended after {_COMMAND_S:g} s") from None
    if process.returncode:
        raise ConfigError(f"{where} ended with {process.returncode}")
    return _token_in(out.decode("utf-8", "replace").strip(), where)


def _token_in(text: str, where: str) -> str:
    """The token in what a command wrote: the whole, or that of an ExecCredential of Kubernetes."""
    if text.startswith("{"):
        import json

        try:
            text = str(json.loads(text)["status"]["token"])
        except (ValueError, KeyError, TypeError):
            raise ConfigError(f"{where} writes JSON that has no status.token") from None
    if not text:
        raise ConfigError(f"{where} writes none")
    return text
