"""What becomes of a task, by tables."""

import random
from typing import Any

import msgspec
import pytest

from laneway.errors import InvalidTask, UnknownLane
from laneway.model.envelope import Backoff
from laneway.model.outcomes import Cancel, Discard, Outcome, Retry, Snooze
from laneway.model.record import AttemptError
from laneway.model.settlement import Kind
from laneway.model.task import HandlerKind, TaskDef
from laneway.policy import outcome
from laneway.policy.outcome import Attempt, Decision


class Broken(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


def task(**more: Any) -> TaskDef:
    fields: dict[str, Any] = {"backoff": Backoff(jitter=0.0), **more}
    return TaskDef("t", print, HandlerKind.THREAD, lambda raw: {}, msgspec.msgpack.encode, **fields)


def attempt(number: int = 1, of: int = 4, backoff: Backoff | None = None) -> Attempt:
    return Attempt(number, of, "w1", 1_700_000_000_000, backoff)


def error(decision: Decision) -> AttemptError:
    assert decision.data is not None
    return msgspec.msgpack.decode(decision.data, type=AttemptError)


@pytest.mark.parametrize(
    ("result", "kind", "delay_ms", "error_kind", "message"),
    [
        (Retry(), Kind.RETRY, 4_000, "Retry", ""),
        (Retry(7, "busy"), Kind.RETRY, 7_000, "Retry", "busy"),
        (Retry(0), Kind.RETRY, 0, "Retry", ""),
        (Snooze(1.5, "night"), Kind.SNOOZE, 1_500, "Snooze", "night"),
        (Cancel("unwanted"), Kind.CANCEL, 0, "Cancel", "unwanted"),
        (Discard("broken"), Kind.DEAD, 0, "Discard", "broken"),
        (Retry(-1), Kind.RETRY, 4_000, "InvalidOutcome", "Retry(delay=-1): the delay is a number of seconds"),
        (Retry(float("nan")), Kind.RETRY, 4_000, "InvalidOutcome", "Retry(delay=nan)"),
        (Snooze(float("inf")), Kind.RETRY, 4_000, "InvalidOutcome", "Snooze(delay=inf)"),
        (Snooze("soon"), Kind.RETRY, 4_000, "InvalidOutcome", "Snooze(delay='soon')"),  # type: ignore[arg-type]
        (Snooze(None), Kind.RETRY, 4_000, "InvalidOutcome", "Snooze(delay=None)"),  # type: ignore[arg-type]
    ],
)
@pytest.mark.parametrize("way", ["returned", "raised"])
def test_an_outcome_decides_whether_it_is_returned_or_raised(
    way: str, result: Outcome, kind: Kind, delay_ms: float, error_kind: str, message: str
) -> None:
    decide = outcome.of_result if way == "returned" else outcome.of_exception
    decision = decide(task(), attempt(2), result)  # type: ignore[operator]
    assert (decision.kind, decision.delay_ms, decision.crashed) == (kind, delay_ms, False)
    assert error(decision).kind == error_kind
    assert error(decision).message.startswith(message)


def test_a_snooze_without_a_reason_leaves_no_error() -> None:
    assert outcome.of_result(task(), attempt(), Snooze(3)) == Decision(Kind.SNOOZE, 3_000.0, None)


@pytest.mark.parametrize("last", [Retry(), Retry(5), Retry(-1)])
def test_a_retry_asked_for_at_the_last_attempt_is_a_dead_letter(last: Retry) -> None:
    assert outcome.of_result(task(), attempt(4), last).kind is Kind.DEAD


def test_a_snooze_at_the_last_attempt_is_still_a_snooze() -> None:
    assert outcome.of_result(task(), attempt(4), Snooze(5)).kind is Kind.SNOOZE


@pytest.mark.parametrize(
    ("number", "raised", "more", "override", "kind", "delay_ms"),
    [
        (1, ValueError("x"), {}, None, Kind.RETRY, 2_000),
        (3, ValueError("x"), {}, None, Kind.RETRY, 8_000),
        (4, ValueError("x"), {}, None, Kind.DEAD, 0),
        (5, ValueError("x"), {}, None, Kind.DEAD, 0),
        (1, ValueError("x"), {}, Backoff(base=9, jitter=0), Kind.RETRY, 9_000),
        (1, KeyError("x"), {"backoff_for": ((LookupError, Backoff(base=30, jitter=0)),)}, None, Kind.RETRY, 30_000),
        (
            1, KeyError("x"), {"backoff_for": ((LookupError, Backoff(base=30, jitter=0)),)},
            Backoff(base=9, jitter=0), Kind.RETRY, 30_000,
        ),
        (1, ValueError("x"), {"backoff_for": ((LookupError, Backoff(base=30)),)}, None, Kind.RETRY, 2_000),
        (1, KeyError("x"), {"give_up_on": (LookupError,)}, None, Kind.DEAD, 0),
        (1, InvalidTask("raised by the handler itself"), {}, None, Kind.RETRY, 2_000),
        (1, UnknownLane("for a task that it submits"), {}, None, Kind.RETRY, 2_000),
        (1, SystemExit(1), {}, None, Kind.RETRY, 2_000),
    ],
)  # fmt: skip
def test_a_failure_is_tried_again_by_policy_until_attempts_are_used_up(
    number: int,
    raised: BaseException,
    more: dict[str, Any],
    override: Backoff | None,
    kind: Kind,
    delay_ms: float,
) -> None:
    decision = outcome.of_exception(task(**more), attempt(number, backoff=override), raised)
    assert (decision.kind, decision.delay_ms, decision.crashed) == (kind, delay_ms, False)
    kept = error(decision)
    assert (kept.kind, kept.attempt, kept.worker) == (type(raised).__name__, number, "w1")
    assert kept.at == 1_700_000_000_000


def test_jitter_takes_off_up_to_its_share() -> None:
    delays = [
        outcome.of_exception(task(backoff=Backoff()), attempt(2), ValueError(), random.Random(i)).delay_ms
        for i in range(200)
    ]
    assert 3_000 <= min(delays) < 3_100
    assert 3_900 < max(delays) <= 4_000


def test_an_error_keeps_the_start_of_its_message_and_the_end_of_its_traceback() -> None:
    def deep(n: int) -> None:
        if n == 0:
            raise ValueError("m" * 5_000)
        # Each level has a line of its own, so that Python does not fold repeated ones.
        (deep if n % 2 else lambda m: deep(m))(n - 1)

    try:
        deep(60)
    except ValueError as raised:
        kept = error(outcome.of_exception(task(), attempt(), raised))
    assert kept.message == "m" * 2_000
    assert len(kept.traceback) == 6_000
    assert kept.traceback.rstrip().endswith("m")


def test_a_traceback_names_where_the_handler_failed() -> None:
    def handler() -> None:
        raise ValueError("here")

    try:
        handler()
    except ValueError as raised:
        kept = error(outcome.of_exception(task(), attempt(), raised))
    assert "in handler" in kept.traceback
    assert "in test_a_traceback" not in kept.traceback


@pytest.mark.parametrize(
    ("raised", "message"),
    [
        (Broken(), "(no message: its __str__ raised RuntimeError)"),
        (ValueError("file \udcff"), "file ?"),
    ],
)
def test_a_message_that_can_not_be_had_or_encoded_is_replaced(raised: Exception, message: str) -> None:
    decision = outcome.of_exception(task(), attempt(), raised)
    assert (decision.kind, error(decision).message) == (Kind.RETRY, message)


def test_nothing_returned_completes_without_a_result() -> None:
    assert outcome.of_result(task(), attempt(), None) == Decision(Kind.COMPLETE)


def test_a_result_is_encoded() -> None:
    decision = outcome.of_result(task(), attempt(), {"n": 1})
    assert (decision.kind, msgspec.msgpack.decode(decision.data or b"")) == (Kind.COMPLETE, {"n": 1})


def test_a_result_that_can_not_be_encoded_is_dead_and_says_so() -> None:
    decision = outcome.of_result(task(), attempt(), object())
    assert decision.kind is Kind.DEAD
    assert error(decision).kind == "ResultNotEncodable"
    assert error(decision).message.startswith("the result of 't' (object) can't be encoded:")


@pytest.mark.parametrize(("size", "kind"), [(97, Kind.COMPLETE), (98, Kind.COMPLETE), (99, Kind.DEAD)])
def test_a_result_over_the_limit_is_dead_and_says_what_to_do(size: int, kind: Kind) -> None:
    decision = outcome.of_result(task(), attempt(), "x" * size, max_result=100)
    assert decision.kind is kind
    if kind is Kind.DEAD:
        assert error(decision).message == (
            "the result of 't' has 101 bytes, over the limit of 100: store it elsewhere and return where it is"
        )


def test_arguments_that_do_not_fit_are_dead_at_once() -> None:
    decision = outcome.of_bad_arguments(task(), attempt(), InvalidTask("`n`: expected int, got str"))
    assert decision.kind is Kind.DEAD
    assert error(decision).message == "arguments of 't': `n`: expected int, got str"


def test_an_unknown_type_waits_for_a_worker_that_knows_it() -> None:
    decision = outcome.of_unknown_type(attempt(), "nope", ["b", "a"], random.Random(1))
    assert decision.kind is Kind.RETRY
    assert 11_250 <= decision.delay_ms <= 15_000
    assert error(decision).kind == "unknown_type"
    assert error(decision).message == "this worker has no task type 'nope'; it has: a, b"
    assert outcome.of_unknown_type(attempt(4), "nope", []).kind is Kind.DEAD


@pytest.mark.parametrize(
    ("number", "more", "kind", "delay_ms"),
    [
        (1, {}, Kind.RETRY, 2_000),
        (1, {"backoff_for": ((TimeoutError, Backoff(base=50, jitter=0)),)}, Kind.RETRY, 50_000),
        (1, {"give_up_on": (OSError,)}, Kind.DEAD, 0),  # TimeoutError is one
        (4, {}, Kind.DEAD, 0),
    ],
)
def test_a_timeout_is_a_failure_with_its_own_kind(
    number: int, more: dict[str, Any], kind: Kind, delay_ms: float
) -> None:
    decision = outcome.of_timeout(task(**more), attempt(number), 1.5, ", and was killed")
    assert (decision.kind, decision.delay_ms) == (kind, delay_ms)
    assert error(decision).kind == "timeout"
    assert error(decision).message == "'t' ran longer than its timeout of 1.5 s, and was killed"


@pytest.mark.parametrize("guilty", [True, False])
def test_a_crash_says_whether_the_task_is_guilty(guilty: bool) -> None:
    decision = outcome.of_crash(task(), attempt(), "its process exited with code 7", guilty)
    assert (decision.kind, decision.delay_ms, decision.crashed) == (Kind.RETRY, 2_000, guilty)
    assert error(decision).kind == "crash"


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (0, "its process exited with code 0"),
        (7, "its process exited with code 7"),
        (-11, "its process was killed by signal 11 (SIGSEGV)"),
        (-9, "its process was killed by signal 9 (SIGKILL): perhaps it was out of memory"),
        (-63, "its process was killed by signal 63 (unknown)"),
    ],
)
def test_an_exit_is_put_into_words(status: int, text: str) -> None:
    assert outcome.exit_text(status) == text


def test_a_drained_task_goes_back_with_nothing_said_against_it() -> None:
    assert outcome.of_drain() == Decision(Kind.RELEASE)


def test_a_cancelled_task_says_that_it_was_on_request() -> None:
    decision = outcome.of_cancel_request(attempt())
    assert (decision.kind, error(decision).kind) == (Kind.CANCEL, "cancelled")
