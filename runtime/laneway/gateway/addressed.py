"""What a request's path names: a queue that this gateway serves, and a task's id."""

from __future__ import annotations

from starlette.requests import Request

from laneway.gateway.front import Fronts, QueueFront
from laneway.gateway.problems import Problem
from laneway.kit.ids import id_bytes, id_text


def front_of(fronts: Fronts, request: Request) -> QueueFront:
    """The queue that the path names.

    Raises:
        Problem: unknown-queue.
    """
    name = request.path_params["queue"]
    front = fronts.get(name)
    if front is None:
        names = sorted(fronts)
        raise Problem("unknown-queue", f"there is no queue {name!r}; there are: {', '.join(names)}", queues=names)
    return front


def task_id_of(request: Request) -> bytes:
    """The task's id that the path names.

    Raises:
        Problem: unknown-task: it is no id.
    """
    text = request.path_params["id"]
    try:
        id = id_bytes(text)
    except ValueError as error:
        raise Problem("unknown-task", str(error)) from None
    if id_text(id) != text:
        raise Problem("unknown-task", f"{text!r} is not a task id; one near it is {id_text(id)}")
    return id


def unknown_task(front: QueueFront, text: str) -> Problem:
    """The problem of an id that no task has, or none that the asking one may see."""
    return Problem("unknown-task", f"queue {front.name} has no task {text}: it never had, or keeps it no longer")
