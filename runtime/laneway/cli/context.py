"""``laneway context``: gateways by name, with the credential for each."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from laneway.cli.exits import Exit
from laneway.cli.groups import CommandGroup
from laneway.cli.output import Output, print_table
from laneway.cli.params import CONTEXT_NAME, NAME, REDIS_URL, SERVICE_TEXT, URL
from laneway.cli.session import Session, on_api
from laneway.cli.where import Format, Where, context_argument, output_options


@click.group(cls=CommandGroup)
def context() -> None:
    """Name the gateways you work with, and choose one.

    They are kept in ~/.config/laneway/contexts.yaml, or the file that LANEWAY_CONTEXTS names, which nobody else
    can read.

    \b
    Examples:
      laneway context add prod --url https://laneway.example.com --token-file ~/.laneway-token --queue orders
      laneway context use prod
      laneway stats --context staging
    """


@context.command()
@click.argument("name", type=CONTEXT_NAME)
@click.option("--url", type=URL, help="The gateway's address.")
@click.option(
    "--port-forward", type=SERVICE_TEXT, metavar="NAMESPACE/SERVICE", help="Reach it by kubectl port-forward."
)
@click.option("--kube-context", help="The context of kubectl that is meant, with --port-forward.")
@click.option("--redis", type=REDIS_URL, help="A Redis, in the place of a gateway.")
@click.option("--cluster", is_flag=True, help="That Redis is a Redis Cluster.")
@click.option("--namespace", type=NAME, help="The queues' namespace, with --redis.")
@click.option("--queue", "-q", type=NAME, help="The queue of commands that name none.")
@click.option("--token", help="The credential itself, kept in the file; - reads it from standard input.")
@click.option("--token-file", type=click.Path(dir_okay=False, path_type=Path), help="A file that has it.")
@click.option("--token-env", metavar="NAME", help="The variable of the environment that has it.")
@click.option(
    "--token-command",
    metavar="COMMAND",
    help="A command that writes it, or an ExecCredential of Kubernetes, on standard output.",
)
@click.option(
    "--ca-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The certificates by which the gateway is known.",
)
@click.option("--insecure", is_flag=True, help="Take any certificate: for tests.")
@click.option("--use", is_flag=True, help="Use it from now on.  [default: if it is the first]")
@click.option("--replace", is_flag=True, help="Put it in the place of one of the same name.")
def add(name: str, use: bool, replace: bool, **given: Any) -> int:
    """Add a place: a gateway by its address or through kubectl, or a Redis.

    \b
    Examples:
      laneway context add prod --url https://laneway.example.com --token-env PROD_TOKEN
      laneway context add staging --port-forward shop/laneway-orders --token-command "pass show laneway/staging"
      laneway context add local --redis redis://127.0.0.1:6379 --queue orders --use
    """  # fmt: skip
    from laneway.cli.contexts import Context, check_context, load_contexts, save_contexts

    contexts = load_contexts()
    if name in contexts.contexts and not replace:
        raise click.UsageError(f"there is a context {name!r} already: add --replace, or choose another name")
    made = Context(name, _settings(given))
    check_context(made)
    found = contexts.with_context(made, use=use)
    path = save_contexts(found)
    click.echo(f"added {name} to {path}" + (", and in use" if found.current == name else ""))
    return Exit.OK


def _settings(given: dict[str, Any]) -> dict[str, Any]:
    """The options as a context's settings."""
    if given["token"] == "-":
        given["token"] = sys.stdin.readline()
    if given["token"] is not None:
        from laneway.client.http_calls import bearer

        given["token"] = bearer(given["token"])
    for name in ("token_file", "ca_file"):
        if given[name] is not None:
            given[name] = str(Path(given[name]).expanduser().absolute())
    settings: dict[str, Any] = {}
    for name, value in given.items():
        if value not in (None, False):
            first, *rest = name.split("_")
            settings[first + "".join(word.capitalize() for word in rest)] = value
    return settings


@context.command()
@context_argument()
def use(name: str) -> int:
    """Use a place from now on, where nothing else is said.

    \b
    Examples:
      laneway context use prod
    """
    from laneway.cli.contexts import load_contexts, save_contexts

    contexts = load_contexts()
    chosen = contexts.get(name)
    save_contexts(contexts.using(name))
    click.echo(f"using {name}: {chosen.place}")
    return Exit.OK


@context.command()
@context_argument()
def remove(name: str) -> int:
    """Forget a place, and its token if the file has it.

    \b
    Examples:
      laneway context remove staging
    """
    from laneway.cli.contexts import load_contexts, save_contexts

    contexts = load_contexts()
    contexts.get(name)
    left = contexts.without(name)
    save_contexts(left)
    click.echo(f"removed {name}" + ("; no context is in use now" if left.current is None else ""))
    return Exit.OK


@context.command("list")
@output_options
def list_(format: Format) -> int:
    """List the places; the one in use has a star.

    \b
    Examples:
      laneway context list
    """
    from laneway.cli.contexts import contexts_file, load_contexts

    contexts = load_contexts()
    document = {
        "current": contexts.current,
        "contexts": {name: found.shown() for name, found in contexts.contexts.items()},
    }

    def draw() -> None:
        if not contexts.contexts:
            click.echo(f"no contexts in {contexts_file()}; add one with laneway context add")
            return
        rows = [
            ("*" if name == contexts.current else "", name, found.place, found.text("queue") or "-", found.credential)
            for name, found in contexts.contexts.items()
        ]
        print_table(["", "name", "place", "queue", "credential"], rows)

    Output(format).write(document, draw)
    return Exit.OK


@context.command()
@context_argument(required=False)
@click.option("--reveal", is_flag=True, help="Show a token that the file has.")
@click.option("--check", is_flag=True, help="Also ask the gateway for whom it takes the credential.")
@output_options
def show(name: str | None, reveal: bool, check: bool, format: Format) -> int:
    """Show the settings of a place, or of the one in use.

    \b
    Examples:
      laneway context show
      laneway context show prod --check
    """
    from laneway.cli.contexts import load_contexts

    contexts = load_contexts()
    name = name or contexts.current
    if name is None:
        raise click.UsageError("no context is in use: name one, or choose one with laneway context use")
    chosen = contexts.get(name)
    document: dict[str, Any] = {"name": name, **chosen.shown(reveal)}

    async def work(session: Session) -> int:
        document["whoami"] = (await session.client.whoami()).raw
        return Exit.OK

    if check:
        on_api(Where(context=name, given=frozenset({"context"})), work, queue=False)
    rows = [(key, _text(value)) for key, value in document.items()]
    Output(format).write(document, lambda: print_table(["setting", "value"], rows))
    return Exit.OK


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_text(inner)}" for key, inner in value.items() if inner is not None)
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
