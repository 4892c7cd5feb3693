"""Submitting a file of tasks as it is read: JSON lines in, one answer per line out."""

from __future__ import annotations

import os
import stat
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any, BinaryIO

import click
import msgspec

from laneway.cli.exits import Exit, exit_of, one_line
from laneway.cli.output import print_json, progress
from laneway.cli.target import interruptible, why
from laneway.errors import LanewayError, OutcomeUnknown, Unavailable
from laneway.gateway.intake import read_task
from laneway.gateway.problems import Problem
from laneway.ports.store import TaskStore
from laneway.submit import NewTask, Receipt, Submitter

#: What one read takes at most; a pipe gives what is there, so that a slow writer's tasks do not wait.
CHUNK = 1_048_576
#: A line may have at most so many bytes: payloads are 1 MiB by default, and JSON may double them.
MAX_LINE = 32 * 1_048_576
#: How many refused lines are named for people.
SHOWN = 20

_SEVEREST = (Exit.UNKNOWN, Exit.UNAVAILABLE, Exit.REFUSED, Exit.FAILED)


class _Ledger:
    """What became of each line."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json
        self.accepted = 0
        self.duplicates = 0
        self.refused: Counter[str] = Counter()
        self.codes: set[Exit] = set()
        self.unsent_from = 0

    def taken(self, line: int, receipt: Receipt) -> None:
        if receipt.duplicate:
            self.duplicates += 1
        else:
            self.accepted += 1
        if self.as_json:
            print_json({"line": line, "id": receipt.text, "duplicate": receipt.duplicate})

    def refuse(self, line: int, kind: str, message: str, code: Exit, id: str = "") -> None:
        """``id``: the id to submit the line with again, when its outcome is unknown."""
        self.refused[kind] += 1
        self.codes.add(code)
        if self.as_json:
            answer = {"line": line, "error": kind, "message": one_line(message)}
            print_json({**answer, "id": id} if id else answer)
        elif self.refused.total() <= SHOWN:
            click.echo(f"laneway submit: line {line}: {one_line(message)}", err=True)

    def exit(self) -> Exit:
        """The severest of what went wrong."""
        return next((code for code in _SEVEREST if code in self.codes), Exit.OK)

    def summary(self) -> str:
        parts = [f"submitted {self.accepted:,}"]
        if self.duplicates:
            parts.append(f"there already {self.duplicates:,}")
        if self.refused:
            kinds = ", ".join(f"{kind} {n:,}" for kind, n in self.refused.most_common())
            parts.append(f"refused {self.refused.total():,} ({kinds})")
        return ", ".join(parts)


async def submit_file(store: TaskStore, file: BinaryIO, defaults: dict[str, Any], as_json: bool) -> int:
    """Submits the tasks in ``file``; ``defaults`` are for lines that do not say otherwise.

    Stops at the first batch that Redis does not answer. Returns the exit code.
    """
    submitter, ledger = Submitter(store), _Ledger(as_json)
    with interruptible(), progress(_size(file), "submitting", "bytes") as bar:
        for first, lines, size in _batches(file):
            if not await _submit_lines(submitter, ledger, first, lines, defaults):
                break
            bar.update(bar.task_ids[0], advance=size)
    if ledger.unsent_from:
        click.echo(f"laneway submit: stopped; lines after {ledger.unsent_from} were not read", err=True)
    if as_json:
        sys.stdout.flush()
    else:
        click.echo(ledger.summary())
    return ledger.exit()


async def _submit_lines(
    submitter: Submitter, ledger: _Ledger, first: int, lines: list[bytes], defaults: dict[str, Any]
) -> bool:
    """Submits one batch of lines. False: Redis is away, and going on is no use."""
    tasks: list[NewTask] = []
    numbers: list[int] = []
    for number, line in enumerate(lines, first):
        if not line.strip():
            continue
        try:
            tasks.append(_task(line, defaults))
            numbers.append(number)
        except Problem as problem:
            ledger.refuse(number, problem.kind.name, str(problem).replace("the body", "the line"), Exit.FAILED)
    results: list[Receipt | LanewayError] = []
    if tasks:
        try:
            results = await submitter.submit_many(tasks)
        except Unavailable as error:
            results = [error] * len(tasks)
    away = False
    for number, result in zip(numbers, results, strict=True):
        if isinstance(result, Receipt):
            ledger.taken(number, result)
            continue
        away = away or isinstance(result, Unavailable | OutcomeUnknown)
        code = exit_of(result)
        # A wrong line is no wrong use of the command: the other lines went in.
        code = Exit.FAILED if code is Exit.USAGE else code
        again = result.task_id if isinstance(result, OutcomeUnknown) else ""
        ledger.refuse(number, why(result), str(result), code, again)
    if away:
        ledger.unsent_from = first + len(lines) - 1
    return not away


def _task(line: bytes, defaults: dict[str, Any]) -> NewTask:
    """The task of one line. Raises Problem."""
    if not defaults:
        return read_task(line)
    try:
        value = msgspec.json.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return read_task(line)  # which says what is wrong
    if not isinstance(value, dict):
        return read_task(line)
    own = {name: field for name, field in value.items() if field is not None}
    merged = {**defaults, **own}
    if "labels" in defaults and isinstance(own.get("labels"), dict):
        merged["labels"] = {**defaults["labels"], **own["labels"]}
    # A line's own due time, of either kind, replaces the one that the options gave.
    for name, other in (("delay", "runAt"), ("runAt", "delay")):
        if name in own and other not in own:
            merged.pop(other, None)
    return read_task(msgspec.json.encode(merged))


def _batches(file: BinaryIO) -> Iterator[tuple[int, list[bytes], int]]:
    """The lines of a file in batches, as they come: (number of the first, lines, bytes read)."""
    number, rest = 1, b""
    read = getattr(file, "read1", None) or file.read
    while chunk := read(CHUNK):
        size = len(chunk)
        *lines, rest = (rest + chunk).split(b"\n") if b"\n" in chunk else (rest + chunk,)
        if len(rest) > MAX_LINE:
            raise click.UsageError(
                f"line {number + len(lines)} has over {MAX_LINE:,} bytes: give one JSON object a line"
            )
        if lines:
            yield number, lines, size
            number += len(lines)
    if rest:
        yield number, [rest], 0


def _size(file: BinaryIO) -> int | None:
    """The bytes of a real file; None for a pipe."""
    try:
        status = os.fstat(file.fileno())
    except (OSError, AttributeError):
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None
