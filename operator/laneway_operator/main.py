"""The program ``laneway-operator``: its commands, and the one place where errors become an exit code."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, TypeVar

import click

from laneway.cli.exits import Exit
from laneway.cli.groups import CommandGroup
from laneway.cli.params import NAME, PORT, REDIS_URL, SECONDS, Checked
from laneway.kit.logs import LEVELS, setup_logging
from laneway_operator.engine.errors import EngineError
from laneway_operator.permissions import ADAPTER_SECRET, LEASE
from laneway_operator.settings import ENV_PREFIX, RUNTIME_IMAGE, OperatorSettings, default_identity, label, secret_ref

_F = TypeVar("_F", bound=Callable[..., Any])


def _option(*names: str, env: str = "", **attributes: Any) -> Callable[[_F], _F]:
    long = next(name for name in names if name.startswith("--"))
    envvar = env or f"{ENV_PREFIX}_{long.removeprefix('--').upper().replace('-', '_')}"
    return click.option(*names, envvar=envvar, show_envvar=True, **attributes)


def _namespaces(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(part for part in text.replace(",", " ").split() if part))
    return tuple(NAME.convert(name, None, None) for name in names)


_SERVERS = (
    _option("--redis-url", type=REDIS_URL, default=None,
            help="The Redis of TaskQueues without spec.redis.  [default: they must name theirs]"),
    _option("--redis-secret", type=Checked("NAME/KEY", secret_ref), default=None,
            help="Instead of --redis-url: a Secret, in the TaskQueue's own namespace, that has the URL."),
    _option("--secrets-label", type=Checked("KEY=VALUE", label), default=None,
            help="The label that a Secret must have before anything of it is used.  [default: none need one]"),
)  # fmt: skip


def _servers(command: _F) -> _F:
    """The options by which queues' servers are reached, for the operator and the adapter alike."""
    for option in reversed(_SERVERS):
        command = option(command)
    return command


_COMMON = (
    _option("--kubeconfig", default="", metavar="FILE",
            help="A kubeconfig.  [default: KUBECONFIG, else the pod's own account, else ~/.kube/config]"),
    _option("--context", default="", help="The context of the kubeconfig.  [default: its current one]"),
    _option("--namespaces", type=Checked("NAME,...", _namespaces), default="",
            help="The namespaces to watch, by commas.  [default: all]"),
    _option("--lease-name", type=NAME, default=LEASE, show_default=True, help="The Lease that the leader holds."),
    _option("--lease-namespace", type=NAME, default=None, env="POD_NAMESPACE",
            help="The operator's own namespace, where the Lease is.  [default: default]"),
)  # fmt: skip


def _with_common(command: _F) -> _F:
    for option in reversed(_COMMON):
        command = option(command)
    return command


class Program(CommandGroup):
    """The group of all commands. Commands return their exit code."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> NoReturn:
        """Runs a command and exits the process with its code."""
        try:
            code = super().main(args, "laneway-operator", complete_var, standalone_mode=False, **extra)
        except (KeyboardInterrupt, click.Abort):
            code = Exit.INTERRUPTED
        except click.exceptions.NoArgsIsHelpError as error:
            click.echo(error.format_message(), err=True)
            code = Exit.USAGE
        except click.ClickException as error:
            ctx = getattr(error, "ctx", None)
            path = ctx.command_path if ctx is not None else "laneway-operator"
            click.echo(f"{path}: {error.format_message()} (see: {path} --help)", err=True)
            code = Exit.USAGE
        except EngineError as error:
            click.echo(f"laneway-operator: {error}", err=True)
            code = Exit.UNAVAILABLE
        except OSError as error:
            click.echo(f"laneway-operator: {error}", err=True)
            code = Exit.FAILED
        sys.exit(int(code or 0))


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
def main() -> None:
    """The Kubernetes operator of Laneway: keeps what TaskQueues, PriorityLanes and WorkerPools ask for.

    Each option can be given in the environment as well; a flag wins over it.
    """


def _settings(**given: Any) -> OperatorSettings:
    given["lease_namespace"] = given["lease_namespace"] or "default"
    if "redis_url" in given:
        given["redis_url"] = given["redis_url"] or ""
    given["identity"] = given.get("identity") or default_identity()
    try:
        return OperatorSettings(**given)
    except ValueError as error:
        raise click.UsageError(str(error)) from None


@main.command()
@_with_common
@_option(
    "--identity",
    default="",
    env="POD_NAME",
    help="Who this process is, in the Lease and in events; a suffix is added.  [default: host-pid]",
)
@_option(
    "--lease-duration",
    type=SECONDS,
    default="10s",
    show_default=True,
    help="After so long without a renewal another process may lead.",
)
@_option("--lease-renew", type=SECONDS, default="2s", show_default=True, help="The leader renews this often.")
@_option(
    "--runtime-image",
    default=RUNTIME_IMAGE,
    show_default=True,
    metavar="IMAGE",
    help="The image of gateways and pollers whose TaskQueue names none.",
)
@_servers
@_option(
    "--max-passes",
    type=click.IntRange(1, 256),
    default=16,
    show_default=True,
    help="How many objects are worked on at once; one that waits for a server gives its place to the next.",
)
@_option(
    "--pass-timeout",
    type=SECONDS,
    default="60s",
    show_default=True,
    help="After so long the work on one object is cancelled, and tried again.",
)
@_option(
    "--stop-grace",
    type=SECONDS,
    default="20s",
    show_default=True,
    help="So long work that has begun may go on after SIGTERM.",
)
@_option(
    "--cleanup-deadline",
    type=SECONDS,
    default="60s",
    show_default=True,
    help="So long after its drainTimeout a deleted TaskQueue waits for servers that are away, before it goes without.",
)
@_option("--resync", type=SECONDS, default="10m", show_default=True, help="All objects are listed anew this often.")
@_option("--host", default="0.0.0.0", show_default=True, help="Where /healthz, /readyz and /metrics are served.")
@_option("--port", type=PORT, default=8081, show_default=True, help="Where /healthz, /readyz and /metrics are served.")
@_option("--log-level", type=click.Choice(LEVELS), default="info", show_default=True, help="What is logged at least.")
@_option(
    "--log-format",
    type=click.Choice(("json", "console")),
    default="json",
    show_default=True,
    help="Lines for machines or for people.",
)
def run(log_level: str, log_format: str, **given: Any) -> int:
    """Run the operator until SIGTERM.

    Of several replicas one works: the one that holds the Lease. The others watch, and one of them takes over
    within --lease-duration of the leader's last sign of life, or at once if it stops in order.

    \b
    Examples:
      laneway-operator run
      laneway-operator run --namespaces team-a,team-b --redis-url redis://redis.data:6379
    """
    from laneway.roles.process import run_role
    from laneway_operator.process import Operator
    from laneway_operator.work import build

    settings = _settings(**given)
    setup_logging(log_level, log_format)
    return run_role(Operator(settings, build).run)


@main.command()
@_with_common
@_option(
    "--service",
    env=f"{ENV_PREFIX}_ADAPTER_SERVICE",
    type=NAME,
    default="laneway-adapter",
    show_default=True,
    help="The Service, in the own namespace, by which the API server reaches the adapter.",
)
@_option(
    "--service-port",
    env=f"{ENV_PREFIX}_ADAPTER_SERVICE_PORT",
    type=PORT,
    default=443,
    show_default=True,
    help="That Service's port.",
)
@_option(
    "--secret",
    env=f"{ENV_PREFIX}_ADAPTER_SECRET",
    type=NAME,
    default=ADAPTER_SECRET,
    show_default=True,
    help="The Secret, in the own namespace, that replicas share their certificates by.",
)
@_option(
    "--owner",
    env=f"{ENV_PREFIX}_ADAPTER_OWNER",
    default="",
    help="A ClusterRole that the APIService is deleted with.  [default: none]",
)
@_option(
    "--adapter-host",
    env=f"{ENV_PREFIX}_ADAPTER_HOST",
    default="0.0.0.0",
    show_default=True,
    help="Where metrics are served, by TLS.",
)
@_option(
    "--adapter-port",
    env=f"{ENV_PREFIX}_ADAPTER_PORT",
    type=PORT,
    default=6443,
    show_default=True,
    help="Where metrics are served, by TLS.",
)
@_servers
@_option("--host", default="0.0.0.0", show_default=True, help="Where /healthz, /readyz and /metrics are served.")
@_option("--port", type=PORT, default=8081, show_default=True, help="Where /healthz, /readyz and /metrics are served.")
@_option("--log-level", type=click.Choice(LEVELS), default="info", show_default=True, help="What is logged at least.")
@_option(
    "--log-format",
    type=click.Choice(("json", "console")),
    default="json",
    show_default=True,
    help="Lines for machines or for people.",
)
def adapter(log_level: str, log_format: str, **given: Any) -> int:
    """Serve the external metric laneway_pool_load to HorizontalPodAutoscalers until SIGTERM.

    It makes its own certificates, registers itself as external.metrics.k8s.io at the API server unless another adapter
    is registered there, and answers nobody but the API server. All replicas serve.
    """
    from laneway.roles.process import run_role
    from laneway_operator.adapter.process import Adapter
    from laneway_operator.adapter.settings import AdapterSettings

    own = {
        name: given.pop(name) for name in ("service", "service_port", "secret", "owner", "adapter_host", "adapter_port")
    }
    settings = _settings(**given)
    try:
        adapting = AdapterSettings(operator=settings, namespace=settings.lease_namespace, **own)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    setup_logging(log_level, log_format)
    return run_role(Adapter(adapting).run)


@main.command()
@_with_common
@_option("--adapter", "for_adapter", is_flag=True, help="Check the rights of the metrics adapter instead.")
@_option(
    "--owner",
    env=f"{ENV_PREFIX}_ADAPTER_OWNER",
    default="",
    help="With --adapter: the ClusterRole that the APIService is deleted with.  [default: none]",
)
@click.option("--json", "as_json", is_flag=True, help="Write JSON on standard output.")
def check(as_json: bool, for_adapter: bool, owner: str, **given: Any) -> int:
    """Check whether the operator could work here.

    It asks whether the API server answers, whether Laneway's CRDs are installed in the right version, and
    whether each right that the operator needs is granted. Nothing is changed. Exit code 1: something is
    missing; 5: the API server is not reached.
    """
    from laneway_operator.check import Result, run_checks
    from laneway_operator.process import one_off_cluster

    settings = _settings(**given)

    async def checks() -> list[Any]:
        async with one_off_cluster(settings) as cluster:
            return await run_checks(cluster, settings, adapter=for_adapter, owner=owner)

    found = asyncio.run(checks())
    bad = [one for one in found if one.result is not Result.OK]
    if as_json:
        click.echo(json.dumps({"ok": not bad, "checks": [one.as_json() for one in found]}))
    else:
        for one in found:
            click.echo(f"{one.result:<8} {one.what}{f': {one.detail}' if one.detail else ''}")
        click.echo(f"{len(found) - len(bad)} of {len(found)} checks are ok")
    if len(found) == 1 and bad:
        return Exit.UNAVAILABLE
    return Exit.FAILED if bad else Exit.OK
