"""Exit codes: the one table that the program, its help and its documentation share."""

from __future__ import annotations

from enum import IntEnum

from laneway.errors import (
    AccessDenied,
    ConfigError,
    InvalidRequest,
    InvalidTask,
    LanewayError,
    OutcomeUnknown,
    Refused,
    ResultTimeout,
    Unavailable,
    UnknownQueue,
    UnknownTask,
)


class Exit(IntEnum):
    """What the process's exit code says."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    REFUSED = 4
    UNAVAILABLE = 5
    UNKNOWN = 6
    TIMEOUT = 7
    DENIED = 8
    INTERRUPTED = 130


MEANING = {
    Exit.OK: "done",
    Exit.FAILED: "failed: a task did not succeed, or some of what was asked was refused",
    Exit.USAGE: "the command line, a file or a setting is wrong; nothing was changed",
    Exit.NOT_FOUND: "there is no such task or queue",
    Exit.REFUSED: "refused now: over a rate limit, or the queue is full; try again later",
    Exit.UNAVAILABLE: "a server can't be reached or can't take it now; nothing was changed",
    Exit.UNKNOWN: "no answer came: it may or may not have happened; repeating it is safe with the same key",
    Exit.TIMEOUT: "the task has not ended in the given time; it goes on",
    Exit.DENIED: "the credential is missing or unknown, or may not do that; nothing was changed",
    Exit.INTERRUPTED: "interrupted by Ctrl-C",
}


class Failure(Exception):
    """Ends the command with a message of one line and an exit code."""

    def __init__(self, code: Exit, message: str) -> None:
        super().__init__(message)
        self.code = code


def exit_of(error: LanewayError) -> Exit:
    """The exit code of an error of Laneway's own."""
    match error:
        case UnknownTask() | UnknownQueue():
            return Exit.NOT_FOUND
        case ConfigError() if error.problem == "not-configured":
            return Exit.NOT_FOUND
        case InvalidRequest() if (error.problem or "").startswith("unknown-"):
            return Exit.NOT_FOUND
        case ConfigError() | InvalidTask() | InvalidRequest():
            return Exit.USAGE
        case Unavailable():
            return Exit.UNAVAILABLE
        case Refused():
            return Exit.REFUSED
        case OutcomeUnknown():
            return Exit.UNKNOWN
        case ResultTimeout():
            return Exit.TIMEOUT
        case AccessDenied():
            return Exit.DENIED
    return Exit.FAILED


def one_line(text: str) -> str:
    """A message on one line, without characters that would steer a terminal."""
    return " ".join("".join(c if c.isprintable() or c.isspace() else "\N{REPLACEMENT CHARACTER}" for c in text).split())
