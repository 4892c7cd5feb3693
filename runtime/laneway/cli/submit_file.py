"""Submitting a file of tasks as it is read: JSON lines in, one answer per line out, in constant memory."""

from __future__ import annotations

import asyncio
import hashlib
import os
import stat
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import click
import msgspec

from laneway.cli.exits import Exit, exit_of, one_line
from laneway.cli.output import Output, forget_output, progress
from laneway.cli.target import interruptible, why
from laneway.client.http import BATCH, HttpClient
from laneway.client.http_answers import Submitted
from laneway.errors import LanewayError, OutcomeUnknown, Refused, Unavailable
from laneway.gateway.intake import read_task
from laneway.gateway.problems import Problem
from laneway.kit.ids import id_texts, new_task_ids

#: What one read takes at most; a pipe gives what is there, so that a slow writer's tasks do not wait.
CHUNK = 1_048_576
#: A line may have at most so many bytes: payloads are 1 MiB by default, and JSON may double them.
MAX_LINE = 32 * 1_048_576
#: What one call sends at most, unless a single line has more; a gateway takes 16 MiB.
MAX_CALL = 8 * 1_048_576
#: How many refused lines are named for people.
SHOWN = 20
#: How long to wait before lines are sent again that the queue could not take (s): at least, and at most.
_SHORTEST, _LONGEST = 0.05, 30.0

_SEVEREST = (Exit.UNKNOWN, Exit.UNAVAILABLE, Exit.REFUSED, Exit.FAILED)


@dataclass(frozen=True, slots=True)
class Manner:
    """How a file is submitted. ``defaults`` are for lines that do not say otherwise; ``identity`` is what tells this
    submission from others (None: its lines get no keys)."""

    defaults: Mapping[str, Any]
    identity: str | None
    keep_going: bool = False
    fail_fast: bool = False


@dataclass(frozen=True, slots=True)
class _Line:
    """One task. ``id`` is its own, or one that it got here (``ours``) so that a lost answer can be asked for again."""

    number: int
    raw: bytes
    id: str = ""
    ours: bool = False


def identity(file: BinaryIO, run: str | None) -> str | None:
    """What tells this submission of a file from others: its name, else the file's whole path; None for a pipe."""
    if run is not None:
        return f"run {run}"
    name = getattr(file, "name", None)
    return f"file {Path(name).resolve()}" if isinstance(name, str) and _size(file) is not None else None


class _Ledger:
    """What became of each line. ``unread``: nobody reads what is written any more."""

    def __init__(self, out: Output) -> None:
        self.out = out
        self.accepted = 0
        self.duplicates = 0
        self.refused: Counter[str] = Counter()
        self.codes: set[Exit] = set()
        self.done_to = 0
        self.unread = False

    def data(self, value: Any) -> None:
        """Writes a document, if anybody reads it."""
        self._write(lambda: self.out.data(value))

    def say(self, text: str, *, err: bool = False) -> None:
        """Writes a line for people, if anybody reads it."""
        self._write(lambda: click.echo(text, err=err), err=err)

    def _write(self, write: Callable[[], None], *, err: bool = False) -> None:
        if self.unread and not err:
            return
        try:
            write()
        except BrokenPipeError:
            self.unread = True
            if not err:
                forget_output()

    def taken(self, line: _Line, answer: Submitted) -> None:
        duplicate = answer.duplicate and not line.ours
        if duplicate:
            self.duplicates += 1
        else:
            self.accepted += 1
        if not self.out.for_people:
            self.data({"line": line.number, "id": answer.id, "duplicate": duplicate})

    def refuse(self, line: int, kind: str, message: str, code: Exit, id: str = "") -> None:
        """``id``: the id to submit the line with again, when its outcome is unknown."""
        self.refused[kind] += 1
        self.codes.add(code)
        if not self.out.for_people:
            answer = {"line": line, "error": kind, "message": one_line(message)}
            self.data({**answer, "id": id} if id else answer)
        elif self.refused.total() <= SHOWN:
            self.say(f"laneway submit: line {line}: {one_line(message)}", err=True)

    def failed(self, line: _Line, error: LanewayError) -> None:
        code = exit_of(error)
        # A wrong line is no wrong use of the command: the other lines went in.
        code = Exit.FAILED if code is Exit.USAGE else code
        self.refuse(line.number, why(error), str(error), code, line.id if isinstance(error, OutcomeUnknown) else "")

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


async def submit_file(client: HttpClient, file: BinaryIO, manner: Manner, out: Output) -> int:
    """Submits the tasks in ``file``. Stops at the first batch that the queue can't be reached for, unless it is to
    keep going; Ctrl-C stops it between two batches or within one, whose lines a second run finds there; and it stops
    after a batch whose answers nobody reads any more. Returns the exit code."""
    ledger = _Ledger(out)
    sender = _Sender(client, manner, ledger)
    whole = False
    try:
        with interruptible(), progress(_size(file), "submitting", "bytes") as bar:
            for first, lines, size in _batches(file):
                if ledger.unread or not await sender.send(first, lines):
                    break
                ledger.done_to = first + len(lines) - 1
                bar.update(bar.task_ids[0], advance=size)
            else:
                whole = True
    except (KeyboardInterrupt, asyncio.CancelledError):
        again = "the same command goes on from there" if manner.identity else "what is in stays in"
        ledger.say(f"laneway submit: {ledger.summary()}, up to line {ledger.done_to:,}; {again}", err=True)
        raise
    if ledger.unread and not whole:
        again = "run it again to go on" if manner.identity else "submit the lines after it to go on"
        text = (
            f"laneway submit: stopped, since nobody reads its output: submitted up to line {ledger.done_to:,}; {again}"
        )
        ledger.say(text, err=True)
        ledger.codes.add(Exit.FAILED)
    elif not whole:
        ledger.say(f"laneway submit: stopped; lines after {ledger.done_to:,} were not read", err=True)
    if out.for_people:
        ledger.say(ledger.summary())
        if ledger.duplicates and "lane" in manner.defaults:
            ledger.say("laneway submit: lines that were there already keep the lane that they have", err=True)
    return ledger.exit()


class _Sender:
    """Sends lines by batches that the gateway takes."""

    def __init__(self, client: HttpClient, manner: Manner, ledger: _Ledger) -> None:
        self._client, self._manner, self._ledger = client, manner, ledger

    async def send(self, first: int, lines: list[bytes]) -> bool:
        """Sends lines, of which the first has the number ``first``. False: going on is no use, or not wanted."""
        left = self._read(first, lines)
        clean = not self._ledger.refused or not self._manner.fail_fast
        batches = list(_calls(left)) if clean else []
        for batch in batches:
            away = await self._deliver(batch)
            if away is None and not (self._manner.fail_fast and self._ledger.refused):
                if self._ledger.unread and batch is not batches[-1]:
                    self._ledger.done_to = batch[-1].number
                    return False
                continue
            self._ledger.done_to = first + len(lines) - 1
            if away is not None:
                for line in left[left.index(batch[-1]) + 1 :]:
                    self._ledger.failed(line, away)
            else:
                self._ledger.done_to = batch[-1].number
            return False
        if not clean:
            self._ledger.done_to = first - 1
        return clean

    def _read(self, first: int, lines: list[bytes]) -> list[_Line]:
        found = []
        # (made together, which costs a third of one by one)
        ids = id_texts(new_task_ids(len(lines))) if self._manner.identity is None else [""] * len(lines)
        for number, (raw, id) in enumerate(zip(lines, ids, strict=True), first):
            if not raw.strip():
                continue
            try:
                found.append(_task(number, raw, id, self._manner))
            except Problem as problem:
                text = str(problem).replace("the body", "the line")
                self._ledger.refuse(number, problem.kind.name, text, Exit.FAILED)
        return found

    async def _deliver(self, batch: Sequence[_Line]) -> LanewayError | None:
        """Sends one batch, again and again what is refused for now when it is to keep going; why it is no use."""
        waiting = list(batch)
        while True:
            results = await self._client.submit_raw([line.raw for line in waiting])
            later: list[tuple[_Line, LanewayError]] = []
            for line, result in zip(waiting, results, strict=True):
                if isinstance(result, Submitted):
                    self._ledger.taken(line, result)
                elif self._manner.keep_going and isinstance(result, Refused | OutcomeUnknown):
                    later.append((line, result))
                else:
                    self._ledger.failed(line, result)
            if not later:
                away = (r for r in results if isinstance(r, Unavailable | OutcomeUnknown))
                return None if self._manner.keep_going else next(away, None)
            waits = [error.retry_after for _, error in later if isinstance(error, Refused)]
            waiting = [line for line, _ in later]
            await asyncio.sleep(min(_LONGEST, max(_SHORTEST, min(waits, default=1.0))))


def _task(number: int, raw: bytes, id: str, manner: Manner) -> _Line:
    """The task of one line, as it is sent; ``id`` is for one that has neither an id nor a key. Raises Problem for what
    is no task at all; what is wrong with one the gateway says, which may be newer than this."""
    try:
        value = msgspec.json.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        value = None
    if not isinstance(value, dict):
        read_task(raw)  # which says what is wrong
        raise Problem("invalid-task", "a task must be a JSON object with at least a type")
    own = {name: field for name, field in value.items() if field is not None} if None in value.values() else value
    merged = {**manner.defaults, **own}
    if "labels" in manner.defaults and isinstance(own.get("labels"), dict):
        merged["labels"] = {**manner.defaults["labels"], **own["labels"]}
    # A line's own due time, of either kind, replaces the one that the options gave.
    for name, other in (("delay", "runAt"), ("runAt", "delay")):
        if name in own and other not in own:
            merged.pop(other, None)
    ours = False
    if "id" not in merged and "idempotencyKey" not in merged:
        if manner.identity is not None:
            merged["idempotencyKey"] = _key(manner, number, raw)
        else:
            merged["id"], ours = id, True
    return _Line(number, msgspec.json.encode(merged), str(merged.get("id", "")), ours)


def _key(manner: Manner, number: int, raw: bytes) -> str:
    """The idempotency key of a line: another file, number, type or text makes another task."""
    told = [str(manner.identity), str(number), str(manner.defaults.get("type", "")), ""]
    return "line:" + hashlib.blake2b("\0".join(told).encode() + raw.strip(), digest_size=20).hexdigest()


def _calls(lines: Sequence[_Line]) -> Iterator[list[_Line]]:
    """Lines in pieces that one call may have."""
    batch: list[_Line] = []
    size = 0
    for line in lines:
        if batch and (len(batch) == BATCH or size + len(line.raw) > MAX_CALL):
            yield batch
            batch, size = [], 0
        batch.append(line)
        size += len(line.raw) + 1
    if batch:
        yield batch


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
