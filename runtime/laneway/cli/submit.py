"""``laneway submit``: one task, or a file of them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, BinaryIO

import click

from laneway.cli.exits import Exit
from laneway.cli.params import KEY_VALUE, MOMENT, SECONDS
from laneway.cli.session import Session, on_api
from laneway.cli.where import Where, place_options
from laneway.errors import OutcomeUnknown


@click.command()
@click.argument("type", required=False)
@click.option(
    "--arg",
    "-a",
    "args",
    type=KEY_VALUE,
    multiple=True,
    metavar="NAME=JSON",
    help="An argument of the handler; may be given several times.",
)
@click.option("--payload", metavar="JSON", help="All arguments, as one JSON object.")
@click.option(
    "--file",
    "-f",
    "file",
    type=click.File("rb"),
    metavar="FILE.jsonl",
    help="A file of tasks, one JSON object a line as the HTTP API takes them; - is standard input.",
)
@click.option("--lane", help="The lane.  [default: the queue's]")
@click.option("--priority", type=int, help="Within the lane: 0 to 9, 9 first.  [default: 4]")
@click.option("--delay", type=SECONDS, help="Not before so long from now.")
@click.option("--at", type=MOMENT, help="Not before this time, such as 2030-01-31T08:00:00Z.")
@click.option("--key", help="Idempotency key: the same key is the same task, however often it is submitted.")
@click.option("--id", help="The id that a submission of unknown outcome named, to submit it again.")
@click.option("--tenant", help="Whose task it is.")
@click.option(
    "--max-attempts", type=int, help="How often it is tried.  [default: as the worker's app says, else the queue]"
)
@click.option("--timeout", type=SECONDS, help="How long one attempt may run.")
@click.option("--label", "labels", type=KEY_VALUE, multiple=True, metavar="NAME=VALUE", help="A label.")
@click.option("--wait/--no-wait", default=False, help="Wait until it has ended, and show it.")
@click.option("--wait-timeout", type=SECONDS, help="Wait so long at most.  [default: without end]")
@click.option(
    "--run",
    metavar="NAME",
    help="With --file: what tells this submission from others, in the place of the file's path; "
    "standard input can be resumed by it, too.",
)
@click.option("--no-resume", is_flag=True, help="With --file: submit every line anew, also those of an earlier run.")
@click.option(
    "--keep-going",
    is_flag=True,
    help="With --file: wait while the queue is away, full or over its rate, instead of giving up.",
)
@click.option("--fail-fast", is_flag=True, help="With --file: stop at the first line that is refused.")
@place_options
def submit(
    where: Where,
    file: BinaryIO | None,
    wait: bool,
    wait_timeout: float | None,
    run: str | None,
    no_resume: bool,
    keep_going: bool,
    fail_fast: bool,
    **given: Any,
) -> int:
    """Submit a task of TYPE, or a file of tasks.

    Writes the task's id. With --file, options that are given hold for all lines that do not say otherwise;
    lines that are refused are named with what would be right, and the others are submitted.

    A file can be resumed: each line gets an idempotency key of the file's path, its number and its text, unless
    it has a key or id of its own. So the same command again submits what is missing, and nothing twice.

    \b
    Examples:
      laneway submit thumbnail -q media --arg 'path="a.jpg"' --arg size=200
      laneway submit report -q media --payload '{"month": "2026-01"}' --lane low --at 2030-01-31T08:00:00Z
      laneway submit thumbnail -q media --arg 'path="a.jpg"' --key a.jpg --wait --wait-timeout 1m
      laneway submit -q media -f tasks.jsonl --keep-going
      find . -name '*.jpg' | jq -Rc '{type: "thumbnail", payload: {path: .}}' | laneway submit -q media -f -
    """  # fmt: skip
    if wait_timeout is not None and not wait:
        raise click.UsageError("--wait-timeout goes with --wait")
    _check_together(file, wait, given)
    of_files = {"--run": run, "--no-resume": no_resume, "--keep-going": keep_going, "--fail-fast": fail_fast}
    if file is None and (without := [name for name, value in of_files.items() if value]):
        raise click.UsageError(f"{without[0]} goes with --file")
    if run is not None and no_resume:
        raise click.UsageError("--run makes a submission that can be resumed; leave it out, or --no-resume")
    if file is not None:
        from laneway.cli.submit_file import Manner, identity, submit_file

        manner = Manner(task_body(given), None if no_resume else identity(file, run), keep_going, fail_fast)
        stream = file

        async def many(session: Session) -> int:
            return await submit_file(session.client, stream, manner, session.out)

        return on_api(where, many, changes=True)
    body = task_body(given)
    _read(body)

    async def one(session: Session) -> int:
        return await _submit_one(session, body, wait, wait_timeout)

    return on_api(where, one, changes=True)


async def _submit_one(session: Session, body: dict[str, Any], wait: bool, patience: float | None) -> int:
    from laneway.cli.submit_hints import warn
    from laneway.cli.task import wait_and_show

    try:
        answer = await session.client.submit_body(body)
    except OutcomeUnknown as error:
        again = "" if "idempotencyKey" in body else f": repeat it with --id {error.task_id}"
        raise OutcomeUnknown(f"{error}{again}", error.task_id) from error
    if answer.duplicate:
        click.echo(f"laneway submit: it was there already, as task {answer.id}", err=True)
    if wait:
        if session.out.for_people:
            click.echo(answer.id)
        await warn(session, body)
        return await wait_and_show(session, answer.id, patience)
    session.out.write(
        {"id": answer.id, "queue": session.queue, "duplicate": answer.duplicate}, lambda: click.echo(answer.id)
    )
    await warn(session, body)
    return Exit.OK


def _check_together(file: BinaryIO | None, wait: bool, given: dict[str, Any]) -> None:
    if given["args"] and given["payload"] is not None:
        raise click.UsageError("give --arg or --payload, not both")
    if given["delay"] is not None and given["at"] is not None:
        raise click.UsageError("give --delay or --at, not both")
    if file is None:
        if given["type"] is None:
            raise click.UsageError("say which TYPE of task, or name a file of tasks with --file")
        return
    if wait:
        raise click.UsageError("--wait is for one task; with --file, look at `laneway stats` or `laneway task wait ID`")
    if given["id"] is not None:
        raise click.UsageError("--id is for one task; in a file, give each line its own id")
    if given["key"] is not None:
        raise click.UsageError("--key is for one task; in a file, give each line its own idempotencyKey")
    if given["args"] or given["payload"] is not None:
        raise click.UsageError("with --file, each line has its own payload; leave --arg and --payload out")


def task_body(given: dict[str, Any]) -> dict[str, Any]:
    """The options as the JSON object of a task that the HTTP API takes; what is not given is left out."""
    at: datetime | None = given["at"]
    body = {
        "type": given["type"],
        "payload": _payload(given["args"], given["payload"]),
        "lane": given["lane"],
        "priority": given["priority"],
        "delay": given["delay"],
        "runAt": at.isoformat() if at else None,
        "idempotencyKey": given["key"],
        "id": given["id"],
        "tenant": given["tenant"],
        "maxAttempts": given["max_attempts"],
        "timeout": given["timeout"],
        "labels": _once("--label", given["labels"]) or None,
    }
    return {name: value for name, value in body.items() if value is not None}


def _payload(args: tuple[tuple[str, str], ...], text: str | None) -> Any:
    if text is not None:
        payload = _json("--payload", text, "")
        if not isinstance(payload, dict):
            raise click.UsageError("--payload must be a JSON object of arguments by name, such as '{\"size\": 200}'")
        return payload
    quoted = _once("--arg", args)
    return {
        name: _json(f"--arg {name}", value, f"; text needs quotes: --arg '{name}=\"{value[:40]}\"'")
        for name, value in quoted.items()
    } or None


def _once(option: str, pairs: tuple[tuple[str, str], ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in pairs:
        if name in found:
            raise click.UsageError(f"{option} {name} is given twice: keep one of them")
        found[name] = value
    return found


def _json(option: str, text: str, hint: str) -> Any:
    import msgspec

    try:
        return msgspec.json.decode(text)
    except UnicodeError:
        raise click.UsageError(f"{option} must be UTF-8 text") from None
    except RecursionError:
        raise click.UsageError(f"{option} is nested too deeply") from None
    except msgspec.MsgspecError as error:
        what = str(error).removeprefix("JSON is malformed: ")
        raise click.UsageError(f"{option} must be JSON, not {text[:40]!r}: {what}{hint}") from None


#: What the options of this command are called in the JSON of a task.
_OPTIONS = {
    "type": "TYPE", "payload": "--arg or --payload", "lane": "--lane", "priority": "--priority",
    "delay": "--delay", "id": "--id", "runAt": "--at", "idempotencyKey": "--key", "tenant": "--tenant",
    "maxAttempts": "--max-attempts", "timeout": "--timeout", "labels": "--label",
}  # fmt: skip


def _read(body: dict[str, Any]) -> None:
    """Looks at a task before it is sent. Raises UsageError naming the option that is wrong."""
    import msgspec

    from laneway.gateway.intake import read_task
    from laneway.gateway.problems import Problem

    try:
        raw = msgspec.json.encode(body)
    except (UnicodeError, msgspec.MsgspecError, OverflowError, RecursionError) as error:
        raise click.UsageError(f"the task can't be sent as JSON: {error}") from None
    try:
        read_task(raw)
    except Problem as problem:
        texts = [_in_options(error.field, error.message) for error in problem.body.errors or ()]
        raise click.UsageError("; ".join(texts) or str(problem)) from None


def _in_options(field: str, message: str) -> str:
    """A message about a field of the JSON, in terms of the options."""
    option = _OPTIONS.get(field.partition(".")[0])
    if option is None:
        return message
    return option + message.removeprefix(field) if message.startswith(field) else f"{option}: {message}"
