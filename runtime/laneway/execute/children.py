"""The worker's side of child processes: a fork server, its children, and a pool of warm ones."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from itertools import count

import msgspec

from laneway.errors import LanewayError
from laneway.execute.forkserver import Setup
from laneway.execute.wire import Event, Frames, Order, Reply, Request, Told, frame
from laneway.kit.logs import settings_in_force

_decode_answer = msgspec.msgpack.Decoder(Reply | Told).decode
_decode_event = msgspec.msgpack.Decoder(Event).decode
_READY_WITHIN = 60.0  # seconds for the application to load
_ORDERS_AT_ONCE = 32  # forks on their way: their messages always fit the socket's buffer


class ChildUnavailable(LanewayError):
    """No child process could be had; the message says why."""


class ChildDied(LanewayError):
    """The child died before it answered. ``status`` is its exit code (negative: the signal), None when unknown."""

    def __init__(self, status: int | None) -> None:
        super().__init__(f"child process ended with {status}")
        self.status = status


def _deaf(told: Told) -> None:
    """Hears nothing: there is no task, so nobody is there to tell."""


class Child:
    """One child process, which runs one task at a time."""

    def __init__(self, server: ForkServer, number: int, sock: socket.socket) -> None:
        self._server = server
        self._sock = sock
        self._frames = Frames()
        self._reply: asyncio.Future[Reply] | None = None
        self._hear: Callable[[Told], None] = _deaf
        self._sending = asyncio.Lock()
        self.exited: asyncio.Future[int | None] = server.loop.create_future()
        self._open = True
        self.number = number
        self.pid = 0
        self.born: asyncio.Future[None] = server.loop.create_future()
        server.loop.add_reader(sock.fileno(), self._readable)

    @property
    def alive(self) -> bool:
        """Whether it can take a task."""
        return self._open and not self.exited.done()

    async def call(self, request: Request, hear: Callable[[Told], None]) -> Reply:
        """Runs one task in it; ``hear`` is called with what its handler tells meanwhile. Raises ChildDied when it dies
        before it answers."""
        self._reply = self._server.loop.create_future()
        self._hear = hear
        try:
            if self.exited.done():
                raise ChildDied(self.exited.result())
            await self.send(request)
            return await self._reply
        finally:
            self._reply, self._hear = None, _deaf

    async def send(self, message: msgspec.Struct) -> None:
        """Sends a message, whole. One that dies meanwhile does not get it, and its exit will be told."""
        async with self._sending:
            if self._open:
                with contextlib.suppress(ConnectionError):
                    await self._server.loop.sock_sendall(self._sock, frame(message))

    def terminate(self) -> None:
        """Asks it to stop (SIGTERM)."""
        self._server.signal(self, signal.SIGTERM)

    def kill(self) -> None:
        """Ends it and its process group (SIGKILL)."""
        self._server.signal(self, signal.SIGKILL)

    def close(self) -> None:
        """Lets it end: an idle child exits when its socket closes."""
        if self._open:
            self._open = False
            self._server.loop.remove_reader(self._sock.fileno())
            self._sock.close()

    def ended(self, status: int | None) -> None:
        """The fork server says that it is gone."""
        if self._open:
            self._readable()  # An answer may have come just before the end.
        self.close()
        if not self.exited.done():
            self.exited.set_result(status)
        if self._reply is not None and not self._reply.done():
            self._reply.set_exception(ChildDied(status))
        if not self.born.done():
            self.born.set_result(None)

    def _readable(self) -> None:
        while self._open:
            try:
                data = self._sock.recv(262_144)
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionError:
                data = b""
            if not data:
                # The exit status comes by the fork server.
                self.close()
                return
            for body in self._frames.feed(data):
                answer = _decode_answer(body)
                if isinstance(answer, Told):
                    self._hear(answer)
                elif self._reply is not None and not self._reply.done():
                    self._reply.set_result(answer)


class ForkServer:
    """Starts the fork server when first needed, and again when it has died."""

    def __init__(self, app_path: str, context_path: str, loop: asyncio.AbstractEventLoop) -> None:
        self._app = app_path
        self._context = context_path
        self.loop = loop
        self._process: subprocess.Popen[bytes] | None = None
        self._commands: socket.socket | None = None
        self._events: socket.socket | None = None
        self._frames = Frames()
        self._ready: asyncio.Future[None] | None = None
        self._numbers = count(1)
        self._orders = asyncio.Semaphore(_ORDERS_AT_ONCE)
        self.children: dict[int, Child] = {}

    @property
    def pid(self) -> int:
        """The fork server's process id, 0 when it does not run."""
        return self._process.pid if self._process is not None else 0

    async def ready(self) -> None:
        """Starts it unless it runs, and waits until it has loaded the application.

        Raises:
            ChildUnavailable: the application can't be loaded there.
        """
        if self._ready is None:
            self._launch()
        assert self._ready is not None
        try:
            await asyncio.wait_for(asyncio.shield(self._ready), _READY_WITHIN)
        except TimeoutError:
            raise ChildUnavailable(f"{self._app} was not loaded within {_READY_WITHIN:g} s") from None

    async def fork(self) -> Child:
        """A new child. Raises ChildUnavailable."""
        await self.ready()
        async with self._orders:
            if self._commands is None:
                raise ChildUnavailable("the fork server died")
            ours, theirs = socket.socketpair()
            ours.setblocking(False)
            child = Child(self, next(self._numbers), ours)
            self.children[child.number] = child
            try:
                socket.send_fds(self._commands, [frame(Order("fork", child.number))], [theirs.fileno()])
            except OSError as error:
                self._lost()
                raise ChildUnavailable(f"the fork server died: {error}") from None
            finally:
                theirs.close()
            try:
                await asyncio.shield(child.born)
            except BaseException:
                child.close()  # Nobody will use it; it exits when it finds its socket closed.
                raise
        return child

    def signal(self, child: Child, number: int) -> None:
        """Has a child signalled by its parent, who alone knows that the pid is still its own."""
        if child.number in self.children and self._commands is not None:
            with contextlib.suppress(OSError):  # then its children are dead as well, and that will be told
                self._commands.sendall(frame(Order("signal", child.number, int(number))))

    async def close(self) -> None:
        """Ends the server, and with it all children."""
        process, self._process = self._process, None
        self._lost()
        if process is None:
            return
        try:
            await asyncio.to_thread(process.wait, 5.0)
        except subprocess.TimeoutExpired:
            process.kill()
            await asyncio.to_thread(process.wait)

    def _launch(self) -> None:
        self._ready = self.loop.create_future()
        commands, their_commands = socket.socketpair()
        events, their_events = socket.socketpair()
        command = [sys.executable, "-m", "laneway.execute.forkserver"]
        fds = (their_commands.fileno(), their_events.fileno())
        try:
            # A session of its own: Ctrl-C in the terminal is for the worker, which then drains.
            self._process = subprocess.Popen(
                [*command, *map(str, fds)], pass_fds=fds, stdin=subprocess.DEVNULL, start_new_session=True
            )
        finally:
            their_commands.close()
            their_events.close()
        path = [entry or os.getcwd() for entry in sys.path]
        commands.sendall(frame(Setup(path, self._app, self._context, settings_in_force())))
        events.setblocking(False)
        self._commands, self._events, self._frames = commands, events, Frames()
        self.loop.add_reader(events.fileno(), self._readable)

    def _readable(self) -> None:
        while self._events is not None:
            try:
                data = self._events.recv(65_536)
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionError:
                data = b""
            if not data:
                self._lost()
                return
            for body in self._frames.feed(data):
                self._hear(_decode_event(body))

    def _hear(self, event: Event) -> None:
        if event.verb == "ready":
            if self._ready is not None and not self._ready.done():
                self._ready.set_result(None)
        elif event.number == 0:
            self._fail(event.text)
        elif event.verb == "born":
            child = self.children[event.number]
            child.pid = event.value
            child.born.set_result(None)
        else:
            child = self.children.pop(event.number)
            if event.verb == "failed" and not child.born.done():
                child.born.set_exception(ChildUnavailable(event.text))
                child.close()
            else:
                child.ended(event.value)

    def _fail(self, why: str) -> None:
        if self._ready is not None and not self._ready.done():
            self._ready.set_exception(ChildUnavailable(why))
            self._ready.exception()  # It may be that nobody waits for it.

    def _lost(self) -> None:
        """The server is gone: so are its children. The next fork starts another one."""
        self._fail("the fork server died while it loaded the application")
        self._ready = None
        if self._events is not None:
            self.loop.remove_reader(self._events.fileno())
            self._events.close()
        if self._commands is not None:
            self._commands.close()
        self._events = self._commands = None
        if self._process is not None:
            # It is dead or about to be; wait for it beside the event loop, so that it does not stay a zombie.
            process, self._process = self._process, None
            self.loop.run_in_executor(None, process.wait)
        children, self.children = self.children, {}
        for child in children.values():
            child.ended(None)


class ChildPool:
    """Children for tasks: warm ones that serve one task after the other, and fresh ones for a single task."""

    def __init__(self, server: ForkServer, warm: int, linger: float = 0.0) -> None:
        self.server = server
        self._warm = warm
        self._linger = linger
        self._idle: list[Child] = []

    async def take(self, *, fresh: bool) -> Child:
        """A child that runs nothing; ``fresh``: one that has run nothing before."""
        while not fresh and self._idle:
            child = self._idle.pop()
            if child.alive:
                return child
        return await self.server.fork()

    def give_back(self, child: Child, *, reusable: bool) -> None:
        """A child after its task; kept when it may serve again and fewer than ``warm`` wait."""
        if reusable and child.alive and len(self._idle) < self._warm:
            self._idle.append(child)
        else:
            child.close()

    async def close(self) -> None:
        """Ends all children and the fork server; those that have ended their task get ``linger`` seconds to end."""
        idle, self._idle = self._idle, []
        for child in idle:
            child.close()
        if self._linger and self.server.children:
            await asyncio.wait([child.exited for child in self.server.children.values()], timeout=self._linger)
        await self.server.close()
