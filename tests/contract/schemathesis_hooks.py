"""Checks that tests/contract/test_gateway_schemathesis.py has schemathesis run in the place of two of its own.

A schema says what each field may be. What two fields may be together, and which of the values that a server hands out
are its own (a cursor, a lane's name), no schema can say; the checks here let through what is refused for one of these
reasons, each of which is written down below, and are the built-in ones else.
"""

from __future__ import annotations

import re
from typing import Any

import schemathesis
from schemathesis.checks import negative_data_rejection, positive_data_acceptance

#: A whole number written as 3.0 is one to JSON Schema, and none here.
_WITH_POINT = re.compile(r" must be .*a whole number .*, not -?\d+\.0$", re.DOTALL)
#: By problem: what its words must match. Whatever else is refused although the schema allows it is found.
_BEYOND_SCHEMA = {
    "invalid-query": (
        r"(created|ended)To must be after (created|ended)From",
        r"sort=\S+ is for ",
        r"there is no lane ",
        r"from must be before to ",
        r"is no position in a log of events: ",
        r"(from|to) must be a time from 1970 to 9998",
        r"a task id ends with 0, 8, g or o",
        r"\S+ makes more than [\d,]+ points",
    ),
    "invalid-request": (
        r"say which dead letters: ",
        r"say which tasks are meant ",
        r"the filter means every dead letter: ",
        r"cursor and limit go with a filter or all, not with ids",
        r"give delay or runAt, not both",
        r"(created|ended)To must be after (created|ended)From",
        r"there is no lane ",
        r"a task id ends with 0, 8, g or o",
        r"only revise takes this field",
        r"revise needs a priority, a lane, or both",
        r"(cancel|retry|revise|purge) is for tasks that are ",
        r"say what is to change: ",
        r"runAt must be at most ten years from now, not ",
    ),
    "invalid-task": (
        r"backoff\.base must be at most backoff\.cap",
        r"give delay or runAt, not both",
        r"idempotencyKey must be the same as the Idempotency-Key header",
        r"id must be a task id .* of which the last is 0, 8, g or o",
        r"idempotencyKey must be a text of 1 to 200 bytes",
        r"type must be a text of 1 to 128 printable characters",
        r"labels must be an object of at most 16 texts",
        r"runAt must be an RFC 3339 time with its zone, after 1970",
        r"payload must have whole numbers of at most 64 bits",
    ),
    "invalid-cursor": (r"this is no cursor: ",),
    "unknown-lane": (r"lane '.*' does not exist", r"there is no lane "),
    "precondition-failed": (r"the task is not as If-Match says ",),
}


def _refused_for(response: Any) -> list[str]:
    """Which errors a refusal names that none of the reasons above explains; [''] when it is no such refusal."""
    if response.status_code not in (412, 422):
        return [""]
    problem = response.json()
    known = [re.compile(rule, re.DOTALL) for rule in _BEYOND_SCHEMA.get(problem["type"].rpartition(":")[2], ())]
    told = [error["message"] for error in problem.get("errors") or ()] or [problem["detail"]]
    return [message for message in told if not any(rule.search(message) for rule in (*known, _WITH_POINT))]


@schemathesis.check
def accepts_what_its_schema_allows(ctx: Any, response: Any, case: Any) -> bool | None:
    """As positive_data_acceptance, but for the reasons above."""
    if not _refused_for(response):
        return None
    return positive_data_acceptance(ctx, response, case)


@schemathesis.check
def refuses_what_its_schema_does_not_allow(ctx: Any, response: Any, case: Any) -> bool | None:
    """As negative_data_rejection. A batch answers 200 and refuses each wrong task by itself; one too long is 413."""
    batch = case.operation.definition.raw.get("operationId") == "submitBatch"
    if batch and (response.status_code == 413 or (response.status_code == 200 and response.json()["refused"])):
        return None
    return negative_data_rejection(ctx, response, case)
