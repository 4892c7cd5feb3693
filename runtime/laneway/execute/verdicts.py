"""What a run's end means, given what it was asked: from how a handler ended to the decision for its task."""

from __future__ import annotations

import random
from collections.abc import Callable

from laneway.execute.run import Asked, Decided, Run, TaskDefaults, wall_ms
from laneway.policy import outcome
from laneway.policy.outcome import Attempt, Decision


class BadArguments(Exception):
    """Carries an InvalidTask of the decoder, as its cause, past the handler's own errors."""


class StaleLease(Exception):
    """The lease is not known to be fresh any more: the handler must not begin."""


class Verdicts:
    """Decides for one worker. None means that nothing may be settled: the task is not this worker's any more."""

    def __init__(
        self,
        worker: str,
        defaults: TaskDefaults,
        max_result: int,
        kill_after: float,
        rand: random.Random | None = None,
        clock_ms: Callable[[], int] = wall_ms,
    ) -> None:
        self._worker = worker
        self._defaults = defaults
        self._max_result = max_result
        self._kill_after = kill_after
        self._rand = rand
        self._clock_ms = clock_ms

    def returned(self, run: Run, result: object) -> Decision | None:
        """The handler returned. Past its timeout that is too late; a result in spite of a cancellation, or while the
        worker stops, counts: the work is done."""
        if run.asked is Asked.LOST:
            return None
        if run.asked is Asked.TIMEOUT:
            how = ", and returned only then"
            return outcome.of_timeout(run.definition, self._facts(run), run.timeout, how, self._rand)
        if isinstance(result, Decided):
            return result.decision
        return outcome.of_result(run.definition, self._facts(run), result, self._max_result, self._rand)

    def raised(self, run: Run, error: BaseException) -> Decision | None:
        """The handler raised, or its child died. Once it was asked to stop, that is why it ended."""
        asked = run.asked
        if asked is Asked.LOST or isinstance(error, StaleLease):
            return None
        if asked is Asked.STOP:
            return outcome.of_drain()
        facts = self._facts(run)
        if asked is Asked.CANCEL:
            return outcome.of_cancel_request(facts)
        if asked is Asked.TIMEOUT:
            how = f", ignored SIGTERM for {self._kill_after:g} s and was killed" if run.killed else ""
            return outcome.of_timeout(run.definition, facts, run.timeout, how, self._rand)
        if isinstance(error, Decided):
            return error.decision
        if isinstance(error, BadArguments) and error.__cause__ is not None:
            return outcome.of_bad_arguments(run.definition, facts, error.__cause__)
        return outcome.of_exception(run.definition, facts, error, self._rand)

    def crashed(self, run: Run, status: int | None) -> Decision:
        """The handler's process died by itself; ``status`` is its exit code, None when it went with its server."""
        if status is None:
            what = "its process died together with the fork server"
            return outcome.of_crash(run.definition, self._facts(run), what, guilty=False, rand=self._rand)
        return outcome.of_crash(run.definition, self._facts(run), outcome.exit_text(status), rand=self._rand)

    def _facts(self, run: Run) -> Attempt:
        return run.facts(self._worker, self._defaults, self._clock_ms())
