"""Where a client command works: the options that say so, and what they mean together."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem

from laneway.cli.options import DEFAULT_REDIS, cluster_option
from laneway.cli.params import NAME, REDIS_URL, SERVICE, URL
from laneway.errors import ConfigError

Format = Literal["table", "json", "yaml"]

_F = TypeVar("_F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Where:
    """What options and environment say of a place; ``given`` are those of the command line, of which --token-file
    counts as ``token``."""

    url: str | None = None
    token: str | Callable[[], Awaitable[str]] | None = None
    context: str | None = None
    port_forward: Any = None
    redis: str | None = None
    queue: str | None = None
    namespace: str | None = None
    cluster: bool = False
    format: Format = "table"
    given: frozenset[str] = frozenset()


def _contexts(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The names of contexts, for a shell to complete."""
    from laneway.cli.contexts import load_contexts

    try:
        return [
            CompletionItem(name, help=context.place)
            for name, context in load_contexts().contexts.items()
            if name.startswith(incomplete)
        ]
    except ConfigError:
        return []


context_argument = functools.partial(click.argument, "name", shell_complete=_contexts)

_PLACE = (
    click.option(
        "--url", type=URL, envvar="LANEWAY_URL", show_envvar=True, help="The gateway to talk to, such as https://HOST:PORT."
    ),
    click.option(
        "--token", metavar="TOKEN", envvar="LANEWAY_TOKEN", show_envvar=True,
        help="The credential for the gateway. Others on this machine can read a command line: rather give it in the "
        "environment, or by --token-file.",
    ),
    click.option(
        "--token-file", type=click.Path(dir_okay=False), help="A file that has the credential, read as often as needed."
    ),
    click.option(
        "--context", metavar="NAME", envvar="LANEWAY_CONTEXT", show_envvar=True, shell_complete=_contexts,
        help="A place by its name; see laneway context.",
    ),
    click.option(
        "--port-forward", type=SERVICE, metavar="NAMESPACE/SERVICE", envvar="LANEWAY_PORT_FORWARD", show_envvar=True,
        help="Reach the gateway of a cluster by kubectl port-forward.",
    ),
    click.option(
        "--redis", type=REDIS_URL, envvar="LANEWAY_REDIS_URL", show_envvar=True,
        help=f"A Redis to use without a gateway.  [default: that of the laneway up in this folder, else the context in "
        f"use, else {DEFAULT_REDIS}]",
    ),
)  # fmt: skip
_QUEUE = (
    click.option(
        "--queue", "-q", type=NAME, envvar="LANEWAY_QUEUE", show_envvar=True,
        help="The queue.  [default: that of the context, or the only one there is]",
    ),
)  # fmt: skip
_REDIS = (
    click.option(
        "--namespace", type=NAME, envvar="LANEWAY_NAMESPACE", show_envvar=True,
        help="The queue's namespace in Redis.  [default: default]",
    ),
    cluster_option,
)  # fmt: skip
_FORMAT = (
    click.option(
        "--output", "-o", "output", type=click.Choice(["table", "json", "yaml"]),
        help="The form of the output.  [default: table]",
    ),
    click.option("--json", "as_json", is_flag=True, help="The same as --output json."),
)  # fmt: skip


def place_options(command: _F) -> _F:
    """Adds the options that say where, and those of the output; the command gets them as ``where``."""
    return _with(command, (*_PLACE, *_QUEUE, *_REDIS, *_FORMAT))


def output_options(command: _F) -> _F:
    """Adds the options of the output alone; the command gets them as ``format``."""

    @functools.wraps(command)
    def run(*args: Any, output: str | None, as_json: bool, **rest: Any) -> Any:
        return command(*args, format=_format(output, as_json), **rest)

    for option in reversed(_FORMAT):
        run = option(run)
    return run  # type: ignore[return-value]


def _with(command: _F, options: tuple[Callable[[Any], Any], ...]) -> _F:
    @functools.wraps(command)
    def run(*args: Any, output: str | None, as_json: bool, token_file: str | None, **rest: Any) -> Any:
        ctx = click.get_current_context()
        names = ("url", "token", "context", "port_forward", "redis", "queue", "namespace", "cluster")
        said = {name: rest.pop(name) for name in names}
        given = frozenset(n for n in names if ctx.get_parameter_source(n) is ParameterSource.COMMANDLINE)
        if token_file is not None:
            if said_twice := given & {"token", "redis", "cluster"}:
                raise click.UsageError(f"--token-file does not go with --{min(said_twice)}: give one or the other")
            said["token"] = _of_file(token_file)
            given |= {"token"}
        where = narrowed(Where(**said, format=_format(output, as_json), given=given))
        return command(*args, where=where, **rest)

    for option in reversed(options):
        run = option(run)
    return run  # type: ignore[return-value]


def _of_file(path: str) -> Callable[[], Awaitable[str]]:
    """What reads a credential from a file, which may be replaced while a command runs; it can be read now."""

    def read() -> str:
        try:
            token = Path(path).read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"the credential in --token-file {path} can't be read: {error}") from error
        if not token:
            raise ConfigError(f"the file {path} of --token-file is empty: it must have the credential")
        return token

    async def again() -> str:
        return read()

    read()
    return again


def _format(output: str | None, as_json: bool) -> Format:
    if as_json and output not in (None, "json"):
        raise click.UsageError(f"--json and --output {output} say two things: give one of them")
    return "json" if as_json else output or "table"  # type: ignore[return-value]


def narrowed(where: Where) -> Where:
    """One place: what is given counts before the environment, and a gateway before a Redis.

    Raises:
        click.UsageError: options name two places.
    """
    gateway = {"url", "context", "port_forward", "token"}
    said = where.given
    if "url" in said and "port_forward" in said:
        raise click.UsageError("give --url or --port-forward, not both: each names the gateway")
    if "redis" in said and said & gateway:
        names = " and ".join(f"--{name.replace('_', '-')}" for name in sorted(said & gateway))
        raise click.UsageError(f"--redis goes without a gateway, and {names} means one: give one or the other")
    if said & {"redis", "cluster"}:
        return _without(where, *gateway)
    if where.url and where.port_forward:
        where = _without(where, "port_forward" if "url" in said else "url") if said & {"url", "port_forward"} else where
    if where.url and where.port_forward:
        raise click.UsageError("the environment has LANEWAY_URL and LANEWAY_PORT_FORWARD: keep one of them")
    if said & {"url", "port_forward"} and "context" not in said:
        where = _without(where, "context")  # the environment's, whose credential is for another gateway
    elif "context" in said:
        where = _without(where, *({"url", "port_forward"} - said))
    if where.url or where.port_forward or where.context:
        where = _without(where, "redis")
        if "namespace" in said and not where.context:
            raise click.UsageError("--namespace goes with --redis: a gateway serves the queues of one namespace")
    return where


def _without(where: Where, *names: str) -> Where:
    nothing: dict[str, Any] = dict.fromkeys(names)
    return replace(where, **nothing)
