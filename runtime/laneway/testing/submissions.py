"""What was submitted to a TestQueue: to look at, and to assert on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Unpack

from laneway.client import App, Task
from laneway.errors import ConfigError, UnknownTask
from laneway.model.states import State
from laneway.testing.handlers import Handlers
from laneway.testing.store import QueueStore
from laneway.testing.submitted import Expected, SubmittedTask, check_expected, matches, view_submitted


class Submissions:
    """The looking half of a TestQueue. It works when the queue is closed, too."""

    def __init__(self, app: App, handlers: Handlers) -> None:
        self._app = app
        self._handlers = handlers
        self._store: QueueStore | None = None

    def submitted(self, task: Task[..., Any] | str | None = None, *, state: State | None = None) -> list[SubmittedTask]:
        """What was submitted, in order, ended tasks too: all, or of one task type, or what is in one state now.

        Raises:
            UnknownTask: there is no such task type.
        """
        name = None if task is None else self._name(task)
        store = self._opened()
        chosen = [id for id, env in store.submissions.items() if name is None or env.body.type == name]
        found = self._views(chosen)
        return found if state is None else [each for each in found if each.state is state]

    def dead(self) -> list[SubmittedTask]:
        """The dead letters: tasks whose attempts are used up, or that failed for good."""
        return self.submitted(state=State.DEAD)

    def counts(self) -> dict[State, int]:
        """How many tasks are in which state; states without any are left out."""
        found: dict[State, int] = {}
        for task in self.submitted():
            if task.state is not None:
                found[task.state] = found.get(task.state, 0) + 1
        return found

    def assert_submitted(
        self,
        task: Task[..., Any] | str,
        arguments: Mapping[str, Any] | None = None,
        *,
        times: int | None = None,
        **options: Unpack[Expected],
    ) -> SubmittedTask:
        """Asserts that a task was submitted with these arguments and options (others may be anything), and returns the
        last such one. ``times``: exactly so often, at least once.

        Raises:
            AssertionError: it was not; the message shows what was.
            UnknownTask: there is no such task type.
            InvalidTask: there is no such argument or option.
            ValueError: ``times`` is not 1 or more.
        """
        if times is not None and times < 1:
            raise ValueError(f"times is 1 or more, not {times}: for none at all there is assert_not_submitted")
        found, name = self._matching(task, arguments or {}, options)
        wanted = _wanted(name, arguments or {}, options)
        if not found:
            raise AssertionError(f"{wanted} was not submitted; {self._shown(name)}")
        if times is not None and len(found) != times:
            raise AssertionError(f"{wanted} was submitted {len(found)} times, not {times}; {self._shown(name)}")
        return found[-1]

    def assert_not_submitted(
        self, task: Task[..., Any] | str, arguments: Mapping[str, Any] | None = None, **options: Unpack[Expected]
    ) -> None:
        """Asserts that no task was submitted with these arguments and options.

        Raises:
            AssertionError: one was.
            UnknownTask: there is no such task type.
            InvalidTask: there is no such argument or option.
        """
        found, name = self._matching(task, arguments or {}, options)
        if found:
            raise AssertionError(f"{_wanted(name, arguments or {}, options)} was submitted: {found[0]}")

    def _matching(
        self, task: Task[..., Any] | str, arguments: Mapping[str, Any], options: Expected
    ) -> tuple[list[SubmittedTask], str]:
        name = self._name(task)
        check_expected(name, self._app.tasks.get(name), arguments, options)
        return [each for each in self.submitted(name) if matches(each, arguments, options)], name

    def _shown(self, name: str) -> str:
        others = self.submitted(name) or self.submitted()
        what = f"of {name!r} there were" if others and others[0].type == name else "there were"
        if not others:
            return "nothing was"
        more = f"\n  ... and {len(others) - 20} more" if len(others) > 20 else ""
        return f"{what}:" + "".join(f"\n  {each}" for each in others[:20]) + more

    def _name(self, task: Task[..., Any] | str) -> str:
        name = task if isinstance(task, str) else task.name
        known = self._app.tasks.keys() | self._handlers.keys()
        if name not in known and all(env.body.type != name for env in self._opened().submissions.values()):
            raise UnknownTask(
                f"app {self._app.name!r} has no task {name!r}; it has: {', '.join(sorted(known)) or 'none'}. One whose "
                "code is elsewhere is named in TestQueue(app, stubs={name: function})"
            )
        return name

    def _view(self, id: bytes) -> SubmittedTask:
        return self._views([id])[0]

    def _views(self, ids: Sequence[bytes]) -> list[SubmittedTask]:
        store, tasks = self._opened(), self._app.tasks
        due, config = store.due_times(), store.live_config()
        return [
            view_submitted(id, env, store.view(id), due.get(id), config, tasks.get(env.body.type), store.notes)
            for id in ids
            for env in [store.submissions[id]]
        ]

    def _opened(self) -> QueueStore:
        if self._store is None:
            raise ConfigError("this TestQueue was never open: use it within `async with TestQueue(app) as queue:`")
        return self._store


def _wanted(name: str, arguments: Mapping[str, Any], options: Expected) -> str:
    shown = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
    more = "".join(f" {key}={value!r}" for key, value in options.items())
    return f"{name}({shown}){more}"
