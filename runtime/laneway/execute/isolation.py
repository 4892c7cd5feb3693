"""Handlers in processes of their own: which child runs an attempt, and what its answer or its death means."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from laneway.errors import LanewayError
from laneway.execute.children import Child, ChildDied, ChildPool, ForkServer
from laneway.execute.run import Decided, Run
from laneway.execute.wire import Heard, Request, Told
from laneway.policy.outcome import Decision


class Isolation:
    """Children of one application; at most ``processes`` warm ones, and a fresh one for each suspect. At the end they
    get ``linger`` seconds for what they still have to say."""

    def __init__(
        self,
        app_path: str,
        context_path: str,
        processes: int,
        loop: asyncio.AbstractEventLoop,
        linger: float = 0.0,
    ) -> None:
        self.server = ForkServer(app_path, context_path, loop)
        self._pool = ChildPool(self.server, processes, linger)
        self._savings: set[asyncio.Future[None]] = set()

    async def call(
        self,
        run: Run,
        begin: Callable[[Run], None],
        request: Callable[[Run], Request],
        crashed: Callable[[Run, int | None], Decision],
    ) -> Decided:
        """Runs an attempt in a child: ``begin(run)`` is called when there is one, and may raise.

        Raises:
            Decided: the handler failed, or its child died by itself (as ``crashed`` decides).
            ChildDied: the child died after the run was asked to stop.
            ChildUnavailable: there is no child to be had.
        """
        child = await self._pool.take(fresh=run.suspect)
        reusable = False
        try:
            begin(run)
            run.child = child
            reply = await child.call(request(run), partial(self._hear, run, child))
            # A child that was signalled is not used again: the signal may reach it only later.
            reusable = not run.suspect and not reply.asked and not run.asked
        except ChildDied as died:
            if run.asked:
                raise
            raise Decided(crashed(run, died.status)) from died
        finally:
            run.child = None
            self._pool.give_back(child, reusable=reusable)
        decided = Decided(Decision(reply.kind, reply.delay_ms, reply.data))
        if reply.raised:
            raise decided
        return decided

    def _hear(self, run: Run, child: Child, told: Told) -> None:
        """What a handler tells of itself, as if it were told here."""
        if told.fraction is not None:
            run.progress(told.fraction, told.message)
        if told.left_out:
            run.line("warning", f"({told.left_out} lines were left out: more came than are kept)")
        for level, text in told.lines:
            run.line(level, text)
        if told.checkpoint is not None:
            saving = asyncio.ensure_future(self._save(run, child, told.number, told.checkpoint))
            self._savings.add(saving)
            saving.add_done_callback(self._savings.discard)

    async def _save(self, run: Run, child: Child, number: int, checkpoint: bytes) -> None:
        try:
            await run.checkpoint(checkpoint)
        except LanewayError as error:
            await child.send(Heard(number, type(error).__name__, str(error)))
        else:
            await child.send(Heard(number))

    async def close(self) -> None:
        """Ends all children."""
        for saving in self._savings:
            saving.cancel()
        await self._pool.close()
