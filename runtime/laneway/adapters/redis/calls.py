"""Calls of scripts: EVALSHA with fallback, repetition of idempotent ones, and errors in Laneway's terms."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from redis.exceptions import BusyLoadingError, MaxConnectionsError, NoScriptError, ResponseError

from laneway.adapters.redis.connection import AWAY, NOT_NOW, can_not_write, is_full
from laneway.adapters.redis.keys import QueueKeys
from laneway.adapters.redis.scripts import Script, load
from laneway.errors import OutcomeUnknown, Unavailable

Argument = bytes | str | int | float


def _was_sent(error: Exception) -> bool:
    """Whether a call that failed may have reached the server (False: there was no connection to send it on)."""
    return not (
        isinstance(error, BusyLoadingError | MaxConnectionsError | ConnectionRefusedError)
        or "connecting to" in str(error)
    )


class ScriptCaller:
    """Runs one queue's scripts. ``execute`` sends one command and returns its reply; ``patience`` (s) bounds how long
    an idempotent call is repeated while Redis is away. ``turned_away`` knows the errors that patience does not cure,
    and what to raise for them."""

    def __init__(
        self,
        execute: Callable[..., Awaitable[Any]],
        keys: QueueKeys,
        *,
        patience: float = 5.0,
        turned_away: Callable[[Exception], Exception | None] = lambda error: None,
    ) -> None:
        self._execute = execute
        self._turned_away = turned_away
        self._keys = keys
        self._patience = patience
        self._base: dict[str, list[str]] = {}
        self.lanes: list[str] = []

    def set_lanes(self, names: Sequence[str]) -> None:
        """The lanes whose keys follow in KEYS, in dispatch order."""
        self.lanes = [self._keys.lane(name) for name in names]

    async def call(self, name: str, *args: Argument, patience: float | None = None) -> Any:
        """Runs a script and returns its raw reply.

        Raises:
            Unavailable: Redis is away, loading or full, and nothing was changed.
            OutcomeUnknown: the call was sent, and no answer came.
        """
        script = load(name)
        keys = self._script_keys(script)
        try:
            return await self._execute("EVALSHA", script.sha, len(keys), *keys, *args)
        except NoScriptError:
            return await self._again(script, keys, args, patience)
        except ResponseError as error:
            raise self._refused(script, error) from error
        except (*AWAY, MaxConnectionsError) as error:
            self._give_up_if_turned_away(error)
            if not script.idempotent:
                raise self._unknown(script, error, sent=_was_sent(error)) from error
            return await self._again(script, keys, args, patience, sent=_was_sent(error))

    def command(self, name: str, *args: Argument) -> tuple[Argument, ...]:
        """The command that runs a script, for those who send it themselves."""
        script = load(name)
        keys = self._script_keys(script)
        return ("EVALSHA", script.sha, len(keys), *keys, *args)

    def _script_keys(self, script: Script) -> list[str]:
        keys = self._base.get(script.name)
        if keys is None:
            keys = self._base[script.name] = [self._keys.key(key) for key in script.keys]
        return keys + self.lanes if script.lanes else keys

    async def _again(
        self, script: Script, keys: list[str], args: Sequence[Argument], patience: float | None, *, sent: bool = False
    ) -> Any:
        """Repeats a call with its source, until the patience is over. ``sent``: it may have happened already."""
        deadline = time.monotonic() + (self._patience if patience is None else patience)
        pause = 0.01
        while True:
            try:
                return await self._execute("EVAL", script.source, len(keys), *keys, *args)
            except NOT_NOW as error:
                last: Exception = error
            except ResponseError as error:
                if sent and isinstance(self._refused(script, error), Unavailable):
                    raise self._unknown(script, error, sent=True) from error
                raise self._refused(script, error) from error
            except (*AWAY, MaxConnectionsError) as error:
                if not sent:
                    self._give_up_if_turned_away(error)
                sent = sent or _was_sent(error)
                last = error
                if sent and not script.idempotent:
                    raise self._unknown(script, error, sent=True) from error
            if time.monotonic() + pause > deadline:
                raise self._unknown(script, last, sent=sent) from last
            await asyncio.sleep(pause * (0.5 + random.random()))
            pause = min(pause * 2, 0.5)

    def _give_up_if_turned_away(self, error: Exception) -> None:
        turned_away = self._turned_away(error)
        if turned_away is not None:
            raise turned_away from error

    def _refused(self, script: Script, error: ResponseError) -> Exception:
        if is_full(error):
            return Unavailable("Redis is full (maxmemory): nothing was changed; try again when tasks have left", 5.0)
        if isinstance(error, NOT_NOW) or can_not_write(error):
            return Unavailable(f"Redis can't write now ({error}); nothing was changed", 1.0)
        return self._turned_away(error) or error

    def _unknown(self, script: Script, error: Exception, *, sent: bool) -> Exception:
        if not sent:
            return Unavailable(f"Redis is away ({error}); nothing was changed", 1.0)
        return OutcomeUnknown(
            f"no answer from Redis to {script.name} ({error}): it may or may not have happened; repeating it is safe"
        )
