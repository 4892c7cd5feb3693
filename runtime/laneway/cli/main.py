"""The program ``laneway``: its commands, and the one place where errors become a message and an exit code."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, NoReturn

import click

from laneway.cli.exits import MEANING, Exit, Failure, exit_of, one_line
from laneway.cli.groups import CommandGroup
from laneway.cli.init import become_init
from laneway.cli.output import forget_output
from laneway.errors import LanewayError

#: What the program is called as a plugin of kubectl.
KUBECTL = "kubectl laneway"


#: Each command, and what it is for; ``laneway.cli.NAME`` has it as ``NAME``.
COMMANDS = {
    "bench": "Measure throughput, latency and more.",
    "completion": "Write the script by which a shell completes commands.",
    "context": "Name the gateways you work with, and choose one.",
    "dead": "Look at dead letters, queue them again, or forget them.",
    "demo": "Run real work over three lanes, and check it.",
    "events": "Show what happens to tasks, as it happens.",
    "gateway": "Serve the HTTP API and the dashboard of queues.",
    "health": "Ask a process of Laneway whether it is well.",
    "keys": "Make, list and revoke API keys of a gateway.",
    "lane": "Look at lanes, and when a task submitted now would start.",
    "poller": "Run the poller of a queue.",
    "queue": "Look at queues and the configuration in force.",
    "stats": "Show a queue's lanes, states and workers.",
    "submit": "Submit a task, or a file of tasks.",
    "task": "Find tasks, look at them, change them, or wait for them.",
    "top": "Watch a queue: rates, latencies, lanes, workers, dead letters.",
    "types": "List the types of tasks that a queue's workers run.",
    "up": "Run queues, workers and gateway on this machine.",
    "version": "Say which Laneway this is.",
    "worker": "Run the tasks of a queue with the handlers of an app.",
    "workers": "Look at the workers of a queue, and drain them.",
}


@dataclass(slots=True)
class Settings:
    """What options of the program itself said, for the end of the run."""

    debug: bool = False


class Program(CommandGroup):
    """The group of all commands. Commands return their exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of the commands."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """A command by its name. Its module is loaded when it is first asked for, so that help loads none."""
        if cmd_name not in COMMANDS:
            return None
        if cmd_name not in self.commands:
            command: click.Command = getattr(import_module(f"laneway.cli.{cmd_name}"), cmd_name)
            command.short_help = COMMANDS[cmd_name]
            self.add_command(command, cmd_name)
        return self.commands[cmd_name]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes what each command is for."""
        with formatter.section("Commands"):
            formatter.write_dl(sorted(COMMANDS.items()))

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
            forget_output()
            return Exit.OK
        return code


def _complain(error: Exception, settings: Settings) -> Exit:
    """One line on stderr about what went wrong, and the exit code for it."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.format_message(), err=True)
        return Exit.USAGE
    if settings.debug:
        import traceback

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


def kubectl() -> NoReturn:
    """The program as ``kubectl laneway``."""
    main.main(prog_name=KUBECTL)
