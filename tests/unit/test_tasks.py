"""Tasks from functions: what the decorator takes, what arguments become, and what is refused."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import msgspec
import pytest

from laneway import App, Backoff, Call, ConfigError, Context, InvalidTask, LanewayError, Retry, Snooze
from laneway.client.define import Policy
from laneway.client.options import Options
from laneway.model.task import HandlerKind, TaskDef


class Colour(Enum):
    RED = "red"


@dataclass
class Point:
    x: int
    y: int = 0


@pytest.fixture
def app() -> App:
    return App("tests")


def sent(call: Call[Any]) -> Any:
    return msgspec.msgpack.decode(call.new.payload)


# -- what the decorator makes


def test_bare_and_with_arguments_it_makes_a_task_named_after_the_function(app: App) -> None:
    @app.task
    async def one(a: int) -> int:
        """Says one.

        And more.
        """
        return a

    @app.task()
    def two(a: int) -> int:
        return a

    @app.task(name="third", process=True)
    def three() -> None: ...

    assert list(app.tasks) == ["one", "two", "third"]
    assert [d.kind for d in app.tasks.values()] == [
        HandlerKind.ASYNC,
        HandlerKind.THREAD,
        HandlerKind.PROCESS,
    ]
    assert one.definition.description == "Says one." and one.__doc__ == one.fn.__doc__
    assert repr(one) == "<Task one>" and one.name == one.__name__ == "one"


def test_all_policy_reaches_the_definition_and_what_is_submitted(app: App) -> None:
    slow, soon = Backoff(base=60), Backoff(base=0.5, jitter=0)

    @app.task(
        name="n", lane="high", priority=9, max_attempts=7, timeout=timedelta(minutes=1), start_timeout=90,
        backoff=slow,
        retry_for={ConnectionError: soon}, give_up_on=[ValueError], labels={"team": "a"}, description="d",
    )  # fmt: skip
    def handler(ctx: Context, a: int, b: str = "x") -> str:
        return b * a

    assert handler.definition == TaskDef(
        name="n", fn=handler.fn, kind=HandlerKind.THREAD, decode=handler.definition.decode,
        encode_result=handler.definition.encode_result, takes_context="ctx", lane="high", priority=9,
        max_attempts=7,
        timeout=60.0, start_timeout=90, backoff=slow, backoff_for=((ConnectionError, soon),),
        give_up_on=(ValueError,), labels={"team": "a"}, description="d",
    )  # fmt: skip
    new = handler.call(2).new
    assert (new.type, new.lane, new.priority, new.max_attempts) == ("n", "high", 9, 7)
    assert (new.timeout, new.start_timeout, new.labels, new.backoff) == (60.0, 90, {"team": "a"}, None)


def test_every_policy_and_option_has_a_line_of_documentation_and_names_no_stranger(app: App) -> None:
    with pytest.raises(ConfigError, match=r"@app\.task has no prio; it takes name, lane, priority"):
        app.task(prio=3)  # type: ignore[call-overload]

    @app.task
    def t() -> None: ...

    with pytest.raises(InvalidTask, match=r"there is no option 'lanes'; the options are: backoff, delay"):
        t.options(lanes="high")  # type: ignore[call-arg]
    assert set(Policy.__annotations__) >= {"lane", "retry_for"} and set(Options.__annotations__) >= {
        "key",
        "run_at",
    }


def refused(name: str) -> Callable[[Callable[[App], Any]], tuple[str, Callable[[App], Any]]]:
    return lambda make: (name, make)


def varargs(app: App) -> None:
    @app.task
    def t(*args: int) -> None: ...


def keywords(app: App) -> None:
    @app.task
    def t(**kwargs: int) -> None: ...


def positional(app: App) -> None:
    @app.task
    def t(a: int, /) -> None: ...


def two_contexts(app: App) -> None:
    @app.task
    def t(a: Context, b: Context) -> None: ...


def custom_type(app: App) -> None:
    @app.task
    def t(where: Path) -> None: ...


def nested_custom_type(app: App) -> None:
    @app.task
    def t(where: dict[str, list[Path | None]]) -> None: ...


def custom_result(app: App) -> None:
    @app.task
    def t() -> Path:
        return Path()


def unresolved(app: App) -> None:
    @app.task
    def t(a: "Nowhere") -> None: ...  # type: ignore[name-defined]  # noqa: F821


def generator(app: App) -> None:
    @app.task
    def t() -> Any:
        yield 1


def async_generator(app: App) -> None:
    @app.task
    async def t() -> Any:
        yield 1


def async_process(app: App) -> None:
    @app.task(process=True)
    async def t() -> None: ...


def a_lambda(app: App) -> None:
    app.task(lambda: None)


def a_class(app: App) -> None:
    app.task(Point)


def same_name(app: App) -> None:
    for _ in range(2):

        @app.task(name="t")
        def t() -> None: ...


def bad_priority(app: App) -> None:
    @app.task(priority=10)
    def t() -> None: ...


def bad_attempts(app: App) -> None:
    @app.task(max_attempts=0)
    def t() -> None: ...


def bad_timeout(app: App) -> None:
    @app.task(timeout=-1)
    def t() -> None: ...


def bad_backoff(app: App) -> None:
    @app.task(retry_for={OSError: Backoff(factor=0)})
    def t() -> None: ...


def bad_exceptions(app: App) -> None:
    @app.task(give_up_on=[ValueError("x")])  # type: ignore[list-item]
    def t() -> None: ...


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (varargs, "takes *args: int, so what it is sent could not be checked: name each parameter"),
        (keywords, "takes **kwargs: int"),
        (positional, "takes 'a' by position only"),
        (two_contexts, "two parameters of type Context, a and b"),
        (custom_type, "the argument 'where' has the type pathlib"),
        (nested_custom_type, "the argument 'where' has the type pathlib"),
        (custom_result, "its result has the type pathlib"),
        (unresolved, "its annotations can't be resolved (name 'Nowhere' is not defined)"),
        (generator, "is a generator"),
        (async_generator, "is a generator"),
        (async_process, "make it a plain function for process=True"),
        (a_lambda, "has no name of its own: give one, @app.task(name=...)"),
        (a_class, "must be a function (def or async def), not type"),
        (same_name, "app 'tests' has a task 't' already"),
        (bad_priority, "task 't': priority must be a whole number from 0 to 9, not 10"),
        (bad_attempts, "task 't': max_attempts must be a whole number from 1 to 255"),
        (bad_timeout, "task 't': timeout must be from 0"),
        (bad_backoff, "task 't': backoff factor must be from 1"),
        (bad_exceptions, "give_up_on takes exception classes"),
    ],
)
def test_a_function_that_can_not_be_a_task_is_refused_where_it_is_defined(
    app: App, make: Callable[[App], None], message: str
) -> None:
    with pytest.raises(ConfigError) as raised:
        make(app)
    assert message in str(raised.value)


# -- arguments


def test_arguments_travel_by_name_and_come_back_as_their_types(app: App) -> None:
    @app.task
    def t(
        a: int,
        when: datetime,
        colour: Colour,
        id: UUID,
        at: Point,
        raw: bytes = b"",
        *,
        tags: set[str] | None = None,
    ) -> None: ...

    now = datetime.now(UTC)
    call = t.call(1, now, colour=Colour.RED, id=UUID(int=7), at=Point(1, 2), tags={"x"})
    assert t.definition.decode(call.new.payload) == {
        "a": 1, "when": now, "colour": Colour.RED, "id": UUID(int=7), "at": Point(1, 2), "tags": {"x"},
    }  # fmt: skip


def test_defaults_are_not_sent_and_the_functions_own_count_where_it_runs(app: App) -> None:
    seen: list[Any] = []

    @app.task
    def t(a: int, b: list[int] = seen, c: int | None = 3) -> None: ...

    assert sent(t.call(1)) == {"a": 1}
    assert t.definition.decode(t.call(1).new.payload) == {"a": 1}
    assert t.definition.decode(t.call(1, c=None).new.payload) == {"a": 1, "c": None}
    assert t.definition.decode(t.call(1, [2]).new.payload) == {"a": 1, "b": [2]}


def test_the_context_is_no_argument_wherever_it_stands(app: App) -> None:
    @app.task
    def first(ctx: Context, a: int) -> int:
        return ctx.attempt

    @app.task
    def last(a: int, *, ctx: Context | None = None) -> int:
        return ctx.attempt if ctx else 0

    assert (first.definition.takes_context, last.definition.takes_context) == ("ctx", "ctx")
    assert sent(first.call(5)) == sent(last.call(5)) == {"a": 5}
    with pytest.raises(InvalidTask, match="unknown argument `ctx`"):
        first.call(a=5, ctx=1)


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        ((), {}, "missing argument `path`"),
        ((1,), {}, "Expected `str`, got `int` - at `path`"),
        (("a",), {"sise": 3}, "unknown argument `sise`"),
        (("a",), {"size": 11}, "Expected `int` <= 10 - at `size`"),
        (("a",), {"size": "3"}, "Expected `int`, got `str` - at `size`"),
        (("a",), {"points": [{"x": "1"}]}, "Expected `int`, got `str` - at `points[0].x`"),
        (("a", 1, [], 4), {}, "4 arguments by position were given, and it takes 3"),
        (("a",), {"path": "b"}, "path was given twice"),
        ((object(),), {}, "Encoding objects of type object is unsupported"),
        (("a", 2**70), {}, "serialize ints"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_sent_naming_those_there_are(
    app: App, args: tuple[Any, ...], kwargs: dict[str, Any], message: str
) -> None:
    @app.task
    def resize(path: str, size: Annotated[int, msgspec.Meta(le=10)] = 3, points: list[Point] | None = None) -> None: ...

    with pytest.raises(InvalidTask) as raised:
        resize.call(*args, **kwargs)
    assert message in str(raised.value)
    assert "task 'resize':" in str(raised.value) and "its arguments are: path: str, size:" in str(raised.value)


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        ({"a": "x"}, "Expected `int`, got `str` - at `a`"),
        ({}, "missing argument `a`"),
        ({"a": 1, "z": 2}, "unknown argument `z`; its arguments are: a: int"),
        ([1], "Expected `object`, got `array`"),
    ],
)
def test_the_worker_checks_what_others_sent(app: App, payload: Any, message: str) -> None:
    @app.task
    def t(a: int) -> None: ...

    with pytest.raises(InvalidTask) as raised:
        t.definition.decode(msgspec.msgpack.encode(payload))
    assert message in str(raised.value)
    with pytest.raises(InvalidTask):
        t.definition.decode(b"\xc1")


# -- results


def test_results_come_back_as_annotated(app: App) -> None:
    @app.task
    def point() -> Point | Snooze:
        return Point(1)

    raw = point.definition.encode_result(Point(1, 2))
    assert point.call().decode(raw) == Point(1, 2)
    assert point.definition.encode_result(None) is None and point.call().decode(None) is None
    with pytest.raises(LanewayError, match="the result of task 'point' is not what its annotation says"):
        point.call().decode(msgspec.msgpack.encode("text"))
    with pytest.raises(InvalidTask, match="returned what can't be sent"):
        point.definition.encode_result(object())


# -- options


def test_options_make_another_task_and_leave_the_first_as_it_was(app: App) -> None:
    @app.task(labels={"team": "a"}, lane="low")
    def t(a: int) -> None: ...

    when = datetime.now(UTC)
    changed = t.options(
        lane="high",
        priority=9,
        delay=timedelta(seconds=5),
        key="k",
        tenant="acme",
        labels={"x": "y"},
        timeout=3,
    )
    new = changed.call(1).new
    assert (new.lane, new.priority, new.delay, new.key, new.tenant) == ("high", 9, 5.0, "k", "acme")
    assert (new.labels, new.timeout) == ({"team": "a", "x": "y"}, 3)
    assert changed.options(delay=0, run_at=when).call(1).new.run_at == when
    plain = t.call(1).new
    assert (plain.lane, plain.key, plain.labels, plain.delay) == ("low", None, {"team": "a"}, 0.0)


def test_an_id_to_try_again_with_is_given_as_text(app: App) -> None:
    @app.task
    def t() -> None: ...

    assert t.options(id="0" * 23).call().new.id == bytes(14)
    with pytest.raises(InvalidTask, match="23 characters"):
        t.options(id="short")


# -- calling the plain function


async def test_calling_a_task_runs_the_plain_function(app: App) -> None:
    @app.task
    async def add(a: int, b: int = 2) -> int:
        return a + b

    @app.task
    def where(a: int, ctx: Context) -> tuple[int, int, str, bool]:
        return a, ctx.attempt, ctx.task_type, ctx.cancelled.is_set()

    @app.task
    async def again(ctx: Context, a: int) -> int:
        await ctx.extend()
        raise Retry(delay=a)

    assert await add(1) == 3
    assert where(7) == (7, 1, "where", False)  # type: ignore[call-arg]
    with pytest.raises(Retry):
        await again(3)


def test_a_context_given_by_name_is_used(app: App) -> None:
    from laneway import stand_in_context

    @app.task
    def t(ctx: Context, a: int) -> Any:
        return ctx.state, ctx.attempt, a

    flag = threading.Event()
    assert t.fn(ctx=stand_in_context("t", state="db", attempt=3, cancelled=flag), a=1) == ("db", 3, 1)


def test_a_call_by_name_checks_known_tasks_and_sends_unknown_ones(app: App) -> None:
    @app.task
    def t(a: int) -> None: ...

    assert sent(app.call("t", {"a": 1}, lane="high")) == {"a": 1}
    with pytest.raises(InvalidTask, match="Expected `int`"):
        app.call("t", {"a": "x"})
    call = app.call("elsewhere", {"any": [1, None]}, priority=2)
    assert (call.new.type, call.new.priority, sent(call)) == ("elsewhere", 2, {"any": [1, None]})
    with pytest.raises(InvalidTask, match="elsewhere"):
        app.call("elsewhere", {"any": object()})
