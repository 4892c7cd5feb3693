"""``kubectl port-forward`` to a gateway, for as long as a command runs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from laneway.cli.exits import Exit, Failure, one_line

#: How long kubectl may take until it forwards (s): it may have to log in first.
_PATIENCE_S = 30.0
#: How long it may take to end when asked (s).
_GRACE_S = 3.0
_FORWARDING = re.compile(rb"Forwarding from 127\.0\.0\.1:(\d+)")
_LOGGED = re.compile(rb"[EWIF]\d{4} \d\d:\d\d:\d\d")
_FORM = re.compile(
    r"(?P<namespace>[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)/(?P<service>[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)"
    r"(:(?P<port>\d{1,5}|[a-z0-9-]{1,15}))?"
)
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
    # A session of its own: Ctrl-C is for us alone, and we end it when we are done with it.
    process = await asyncio.create_subprocess_exec(
        *command, f":{to.port}",
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )  # fmt: skip
    said: list[bytes] = []
    listeners: list[asyncio.Task[None]] = []
    loop, us = asyncio.get_running_loop(), asyncio.current_task()
    told = asyncio.Event()

    def terminated() -> None:
        told.set()
        assert us is not None
        us.cancel()

    # A signal that ends us at once would leave kubectl behind.
    loop.add_signal_handler(signal.SIGTERM, terminated)
    try:
        assert process.stdout is not None and process.stderr is not None
        listeners.append(asyncio.create_task(_listen(process.stderr, said)))
        port = await _port(process, said, to)
        # What it says of each connection is read on, or its pipe would fill up.
        listeners.append(asyncio.create_task(_listen(process.stdout, [])))
        yield f"http://127.0.0.1:{port}"
    except asyncio.CancelledError:
        if told.is_set():
            raise SystemExit(128 + signal.SIGTERM) from None
        raise
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
        await _end(process)
        for listener in listeners:
            listener.cancel()
        await asyncio.gather(*listeners, return_exceptions=True)


async def _port(process: asyncio.subprocess.Process, said: list[bytes], to: Service) -> int:
    assert process.stdout is not None
    where = f"{to.namespace}/{to.service}"
    try:
        async with asyncio.timeout(_PATIENCE_S):
            while line := await process.stdout.readline():
                if match := _FORWARDING.match(line):
                    return int(match[1])
            await process.wait()
            await asyncio.sleep(0)  # its last words are read by another task
    except TimeoutError:
        text = f"kubectl does not forward to {where} after {_PATIENCE_S:g} s"
        raise Failure(Exit.UNAVAILABLE, f"{text}{_last(said)}") from None
    raise Failure(Exit.UNAVAILABLE, f"kubectl port-forward to {where} ended with {process.returncode}{_last(said)}")


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
