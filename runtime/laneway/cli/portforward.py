"""``kubectl port-forward`` to a gateway, for as long as a command runs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from laneway.cli.exits import Exit, Failure, one_line

#: How long kubectl may take until it forwards (s): it may have to log in first.
_PATIENCE_S = 30.0
#: How long it may take to end when asked (s).
_GRACE_S = 3.0
#: The wait before it is started again (s).
_AGAIN_S = 0.5
_FORWARDING = re.compile(rb"Forwarding from 127\.0\.0\.1:(\d+)")
_LOGGED = re.compile(rb"[EWIF]\d{4} \d\d:\d\d:\d\d")
_FORM = re.compile(
    r"(?P<namespace>[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)/(?P<service>[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)"
    r"(:(?P<port>\d{1,5}|[a-z0-9-]{1,15}))?"
)
#: Has the kernel end what it becomes when we end, however that is (1: PR_SET_PDEATHSIG); unless we have ended already.
#: It is a program between us and kubectl, since what runs between fork and exec may meet a lock that a thread held.
_BOUND_TO_US = (
    "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 15, 0, 0, 0); "
    "os.getppid() == int(sys.argv[1]) and os.execv(sys.argv[2], sys.argv[2:])"
)
#: What ends us with the terminal, or when asked to. A signal that ends us at once would leave kubectl to others.
_ENDS = (signal.SIGTERM, signal.SIGHUP)
#: The port of a gateway's Service.
DEFAULT_PORT = "80"


@dataclass(frozen=True, slots=True)
class Service:
    """A Service in a cluster; ``port`` by number or name."""

    namespace: str
    service: str
    port: str = DEFAULT_PORT


def service(text: str) -> Service:
    """The Service of NAMESPACE/SERVICE or NAMESPACE/SERVICE:PORT. Raises ValueError."""
    match = _FORM.fullmatch(text)
    if not match:
        raise ValueError(f"must be NAMESPACE/SERVICE, such as shop/laneway-orders, or with :PORT, not {text[:80]!r}")
    return Service(match["namespace"], match["service"], match["port"] or DEFAULT_PORT)


@asynccontextmanager
async def forwarded(to: Service, kube_context: str | None = None) -> AsyncIterator[str]:
    """Runs kubectl, and gives the URL at which the Service is reached here.

    Raises:
        Failure: there is no kubectl (2), or it does not forward (5); has what it said.
    """
    name = os.environ.get("LANEWAY_KUBECTL") or "kubectl"
    program = shutil.which(name)
    if program is None:
        raise Failure(
            Exit.USAGE,
            f"there is no {name} on PATH: install it, name it in LANEWAY_KUBECTL, or give the gateway's --url",
        )
    command = [program, *(["--context", kube_context] if kube_context else [])]
    command += ["port-forward", "--namespace", to.namespace, "--address", "127.0.0.1", f"service/{to.service}"]
    forward = _Forward(command, to)
    loop, us = asyncio.get_running_loop(), asyncio.current_task()
    told: list[signal.Signals] = []

    def terminated(number: signal.Signals) -> None:
        # (a closing terminal's comes twice: of the kernel and of the shell)
        if not told:
            assert us is not None
            us.cancel()
        told.append(number)

    # (nohup has SIGHUP ignored)
    numbers = [number for number in _ENDS if signal.getsignal(number) is not signal.SIG_IGN]
    for number in numbers:
        loop.add_signal_handler(number, terminated, number)
    keeper: asyncio.Task[None] | None = None
    try:
        port = await forward.start()
        keeper = asyncio.create_task(forward.keep())
        yield f"http://127.0.0.1:{port}"
    except asyncio.CancelledError:
        if told:
            raise SystemExit(128 + told[0]) from None
        raise
    finally:
        told.append(signal.SIGTERM)  # it ends anyway: nothing is to be cancelled any more
        if keeper is not None:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)
        await forward.end()
        for number in numbers:
            loop.remove_signal_handler(number)


class _Forward:
    """One kubectl after another: it ends when the pod that it leads to does."""

    def __init__(self, command: list[str], to: Service) -> None:
        self._command = command
        self._to = to
        self._local = ""
        self._process: asyncio.subprocess.Process | None = None
        self._said: list[bytes] = []
        self._listeners: list[asyncio.Task[None]] = []

    async def start(self) -> int:
        """Starts it, and waits until it forwards; the port here, which is the same each time.

        Raises:
            Failure: it does not (5).
        """
        # A session of its own: Ctrl-C is for us alone, and we end it when we are done with it.
        process = self._process = await asyncio.create_subprocess_exec(
            *_bound(self._command), f"{self._local}:{self._to.port}",
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )  # fmt: skip
        assert process.stdout is not None and process.stderr is not None
        self._said = []
        listener = asyncio.create_task(_listen(process.stderr, self._said))
        self._listeners = [listener]
        where = f"{self._to.namespace}/{self._to.service}"
        try:
            async with asyncio.timeout(_PATIENCE_S):
                while line := await process.stdout.readline():
                    if match := _FORWARDING.match(line):
                        self._local = match[1].decode()
                        # What it says of each connection is read on, or its pipe would fill up.
                        self._listeners.append(asyncio.create_task(_listen(process.stdout, [])))
                        return int(match[1])
                await process.wait()
                await listener  # its last words
        except TimeoutError:
            text = f"kubectl does not forward to {where} after {_PATIENCE_S:g} s"
            raise Failure(Exit.UNAVAILABLE, f"{text}{_last(self._said)}") from None
        raise Failure(
            Exit.UNAVAILABLE, f"kubectl port-forward to {where} ended with {process.returncode}{_last(self._said)}"
        )

    async def keep(self) -> None:
        """Starts it again whenever it has ended. Meanwhile the gateway can't be reached, which commands that go on
        bear."""
        while self._process is not None:
            await self._process.wait()
            await self._stop_listening()
            await asyncio.sleep(_AGAIN_S)
            with contextlib.suppress(Failure):  # it has ended once more
                await self.start()

    async def end(self) -> None:
        """Ends it."""
        if self._process is not None:
            await _end(self._process)
        await self._stop_listening()

    async def _stop_listening(self) -> None:
        for listener in self._listeners:
            listener.cancel()
        await asyncio.gather(*self._listeners, return_exceptions=True)


def _bound(command: list[str]) -> list[str]:
    """The command, ending with this process at the latest where the system has a way."""
    if sys.platform != "linux" or not sys.executable:
        return command
    return [sys.executable, "-I", "-S", "-c", _BOUND_TO_US, str(os.getpid()), *command]


def _last(said: list[bytes]) -> str:
    """What it said last, for people: lines of its log only where there are no others."""
    lines = [line for line in said if not _LOGGED.match(line)] or said
    text = one_line(b"".join(lines[-3:]).decode("utf-8", "replace"))
    return f": {text}" if text else ""


async def _listen(stream: asyncio.StreamReader, said: list[bytes]) -> None:
    while line := await stream.readline():
        said.append(line)
        del said[:-20]


async def _end(process: asyncio.subprocess.Process) -> None:
    """Ends it, at the latest by force."""
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), _GRACE_S)
        except TimeoutError:
            process.kill()
            await process.wait()
