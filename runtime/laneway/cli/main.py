"""The program ``laneway``: its commands, and the one place where errors become a message and an exit code."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import click

from laneway.cli.bench import bench
from laneway.cli.completion import completion
from laneway.cli.context import context
from laneway.cli.dead import dead
from laneway.cli.demo import demo
from laneway.cli.events import events
from laneway.cli.exits import MEANING, Exit, Failure, exit_of, one_line
from laneway.cli.gateway import gateway
from laneway.cli.groups import CommandGroup
from laneway.cli.health import health
from laneway.cli.init import become_init
from laneway.cli.keys import keys
from laneway.cli.lane import lane
from laneway.cli.poller import poller
from laneway.cli.queue import queue
from laneway.cli.stats import stats
from laneway.cli.submit import submit
from laneway.cli.task import task
from laneway.cli.top import top
from laneway.cli.up import up
from laneway.cli.version import version
from laneway.cli.worker import worker
from laneway.cli.workers import workers
from laneway.errors import LanewayError

#: What the program is called as a plugin of kubectl.
KUBECTL = "kubectl laneway"


@dataclass(slots=True)
class Settings:
    """What options of the program itself said, for the end of the run."""

    debug: bool = False


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
        become_init()
        # (a test's runner names it after its function)
        prog_name = prog_name if prog_name == KUBECTL else "laneway"
        settings = Settings()
        try:
            code = super().main(args, prog_name, complete_var, standalone_mode=False, obj=settings, **extra)
        except (KeyboardInterrupt, click.Abort):
            click.echo("laneway: interrupted", err=True)
            code = Exit.INTERRUPTED
        except Exception as error:
            code = _complain(error, settings)
        sys.exit(int(code or 0))

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the command. That whoever read its output has seen enough (laneway ... | head) is no error."""
        try:
            code = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            # What is left in the buffer must not fail a second time when the interpreter ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return Exit.OK
        return code


def _complain(error: Exception, settings: Settings) -> Exit:
    """One line on stderr about what went wrong, and the exit code for it."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.format_message(), err=True)
        return Exit.USAGE
    if settings.debug:
        traceback.print_exception(error)
    who, hint = "laneway", ""
    match error:
        case click.ClickException():
            code = Exit.USAGE if isinstance(error, click.UsageError | click.FileError) else Exit.FAILED
            text = error.format_message()
            ctx = getattr(error, "ctx", None)
            if ctx is not None:
                who = ctx.command_path
                hint = f" (see: {who} --help)"
        case Failure():
            code, text = error.code, str(error)
        case LanewayError():
            code, text = exit_of(error), str(error)
        case _:
            code, text = Exit.FAILED, f"internal error, {type(error).__name__}: {error}"
            hint = "" if settings.debug else " (for the traceback: laneway --debug ...)"
    click.echo(f"{who}: {one_line(text)}{hint}", err=True)
    return code


_CODES = "\n".join(f"  {code.value:>3}  {meaning}" for code, meaning in MEANING.items())


@click.group(
    cls=Program,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog=f"\b\nExit codes:\n{_CODES}\n\n\b\n"
    "Start here:\n"
    "  laneway demo\n"
    "  laneway up -f examples/quickstart\n"
    "  laneway top",
)
@click.option("--debug", is_flag=True, envvar="LANEWAY_DEBUG", help="Show the traceback of an error.")
@click.pass_obj
def main(settings: Settings, debug: bool) -> None:
    """A distributed priority task queue on Redis and Kafka.

    Client commands talk to a gateway (--url, --context, --port-forward), or to a Redis without one (--redis);
    where nothing is said, to the `laneway up` that runs in this folder, else to the context in use. With --output
    json or yaml they write that on standard output and nothing else; messages always go to standard error.
    """
    settings.debug = debug


for _command in (
    up, gateway, poller, worker, submit, task, dead, queue, lane, workers, stats, top, events, context, completion,
    keys, bench, demo, health, version,
):  # fmt: skip
    main.add_command(_command)


def kubectl() -> NoReturn:
    """The program as ``kubectl laneway``."""
    main.main(prog_name=KUBECTL)
