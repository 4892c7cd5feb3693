"""A task type as an application holds it: call it, submit it, or make calls of it to submit many."""

from __future__ import annotations

import copy
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, Self, TypeVar, Unpack, cast

from laneway.client.context import stand_in_context
from laneway.client.handle import Handle, parse_id
from laneway.client.options import Options, apply_options
from laneway.model.task import TaskDef
from laneway.submit.new_task import NewTask

if TYPE_CHECKING:
    from laneway.client.app import App
    from laneway.client.arguments import Arguments
    from laneway.client.results import Results

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class Call(Generic[R_co]):
    """One task that is ready to be submitted, with its arguments checked. A call is one task: submitting it
    again adds nothing, which is how to try again after OutcomeUnknown."""

    __slots__ = ("decode", "new", "prepared")

    def __init__(self, new: NewTask, decode: Callable[[bytes | None], Any]) -> None:
        self.new = new
        self.decode = decode
        self.prepared = False


class Task(Generic[P, R]):
    """One task type of an App; ``@app.task`` makes it.

    ``definition`` is what a worker needs of it; ``fn`` is the plain function.
    """

    def __init__(
        self, app: App, definition: TaskDef, template: NewTask, arguments: Arguments, results: Results
    ) -> None:
        self._app = app
        self._template = template
        self._arguments = arguments
        self._results = results
        self.definition = definition
        self.fn: Callable[..., Any] = definition.fn
        self.__name__ = definition.fn.__name__
        self.__qualname__ = definition.fn.__qualname__
        self.__module__ = definition.fn.__module__
        self.__doc__ = definition.fn.__doc__
        self.__wrapped__ = definition.fn

    @property
    def name(self) -> str:
        """The name of the task type."""
        return self.definition.name

    @property
    def schema(self) -> dict[str, Any]:
        """The JSON Schema of the payload, by the handler's annotations."""
        return self._arguments.schema()

    def __repr__(self) -> str:
        return f"<Task {self.name}>"

    def options(self, **options: Unpack[Options]) -> Self:
        """This task with other options; it can be kept and used many times.

        Raises:
            InvalidTask: there is no such option.
        """
        changed = copy.copy(self)
        changed._template = apply_options(self._template, options)
        return changed

    def call(self, *args: P.args, **kwargs: P.kwargs) -> Call[R]:
        """A call with these arguments, to submit later or among many.

        Raises:
            InvalidTask: an argument is unknown, missing or of another type.
        """
        new = copy.copy(self._template)
        new.payload = self._arguments.encode(args, kwargs)
        new.sound = True
        return Call(new, self._results.decode)

    async def submit(self, *args: P.args, **kwargs: P.kwargs) -> Handle[R]:
        """Submits the task with these arguments. When this returns, it is in the queue and won't be lost.

        Raises:
            InvalidTask: (or UnknownLane, PayloadTooLarge) it can't be submitted as it is.
            IdempotencyConflict: its key belongs to a task with other arguments.
            Refused: (RateLimited, QueueFull, Unavailable) not now; nothing was changed.
            OutcomeUnknown: no answer came in time. Submitting again with ``options(id=error.task_id)`` is
            safe: if the
                first did arrive, nothing is added.
        """
        return await self._app.submit(self.call(*args, **kwargs))

    def handle(self, id: str) -> Handle[R]:
        """The handle of a task of this type that was submitted before.

        Raises:
            UnknownTask: that is not the form of a task id.
        """
        return Handle(self._app, parse_id(id), self._results.decode)

    def _plain_call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The function itself; one that wants a Context and got none gets a stand-in."""
        wanted = self.definition.takes_context
        if wanted is None or wanted in kwargs:
            return self.fn(*args, **kwargs)
        return self.fn(**self._arguments.by_name(args, kwargs), **{wanted: stand_in_context(self.name)})


class AsyncTask(Task[P, R]):
    """A task type whose handler is an async function."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]:
        """Calls the plain function here and now, as unit tests do; nothing is submitted."""
        return cast("Coroutine[Any, Any, R]", self._plain_call(args, kwargs))


class SyncTask(Task[P, R]):
    """A task type whose handler is a plain function, run in a thread or a process."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Calls the plain function here and now, as unit tests do; nothing is submitted."""
        return cast("R", self._plain_call(args, kwargs))
