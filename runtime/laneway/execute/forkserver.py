"""A process that has loaded the application and forks itself for tasks that need a process of their own.

Run as ``python -m laneway.execute.forkserver COMMANDS EVENTS`` (two inherited sockets) by
:class:`~laneway.execute.children.ForkServer`. It runs no handlers and no event loop itself, so a fork is clean and
takes a few milliseconds. When its worker goes away, the commands' socket ends and it kills its children and exits;
when it dies itself, the kernel kills them (Linux).
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import selectors
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Mapping
from typing import NoReturn

import msgspec

from laneway.execute import child
from laneway.execute.loading import load, load_tasks
from laneway.execute.wire import Event, Frames, Order, frame, receive
from laneway.kit.logs import setup_logging
from laneway.kit.tracing import preload
from laneway.model.context import ContextFactory
from laneway.model.task import TaskDef

_decode = msgspec.msgpack.Decoder(Order).decode
_PR_SET_PDEATHSIG = 1


class Setup(msgspec.Struct, array_like=True):
    """The first message: the import path, the application and the maker of contexts ('' for none); ``log`` has level
    and format of the worker's logs, None when it did not set them up."""

    path: list[str]
    app: str
    context: str = ""
    log: tuple[str, str] | None = None


class Server:
    """The loop: orders in, forks and signals, exits out."""

    def __init__(
        self,
        commands: socket.socket,
        events: socket.socket,
        tasks: Mapping[str, TaskDef],
        make_context: ContextFactory | None,
    ) -> None:
        self._commands = commands
        self._events = events
        self._tasks = tasks
        self._make_context = make_context
        self._pids: dict[int, int] = {}
        self._die_with_parent = _parent_death_signal()
        self._woken, wakes = socket.socketpair()
        self._wakes = wakes
        self._woken.setblocking(False)
        wakes.setblocking(False)
        signal.set_wakeup_fd(wakes.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda number, stack: None)

    def run(self) -> None:
        """Serves until the worker is gone, then ends all children."""
        frames = Frames()
        selector = selectors.DefaultSelector()
        selector.register(self._commands, selectors.EVENT_READ)
        selector.register(self._woken, selectors.EVENT_READ)
        self._tell(Event("ready", value=os.getpid()))
        try:
            while True:
                for key, _ in selector.select():
                    if key.fileobj is self._woken:
                        with contextlib.suppress(BlockingIOError):
                            self._woken.recv(4096)
                        continue
                    data, fds, _, _ = socket.recv_fds(self._commands, 65_536, 64)
                    if not data:
                        return
                    for body in frames.feed(data):
                        self._obey(_decode(body), fds, selector)
                self._reap()
        except ConnectionError:
            return
        finally:
            for pid in self._pids.values():
                _kill_group(pid)

    def _obey(self, order: Order, fds: list[int], selector: selectors.BaseSelector) -> None:
        if order.verb == "fork":
            sock = socket.socket(fileno=fds.pop(0))
            try:
                pid = os.fork()
            except OSError as error:
                self._tell(Event("failed", order.number, text=f"no process could be forked: {error}"))
                sock.close()
                return
            if pid == 0:
                self._become_child(sock, selector, fds)
            # Both sides set the group, so that it is there whoever runs first.
            with contextlib.suppress(OSError):
                os.setpgid(pid, pid)
            sock.close()
            self._pids[order.number] = pid
            self._tell(Event("born", order.number, pid))
        elif order.verb == "signal" and order.number in self._pids:
            # The pid is this server's own child and not reaped yet, so nobody else can have its number.
            pid = self._pids[order.number]
            if order.signal == signal.SIGKILL:
                _kill_group(pid)
            else:
                os.kill(pid, order.signal)

    def _become_child(self, sock: socket.socket, selector: selectors.BaseSelector, fds: list[int]) -> NoReturn:
        code = 1
        try:
            server = os.getppid()
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.setpgid(0, 0)
            self._die_with_parent()
            if os.getppid() != server:
                os._exit(1)
            selector.close()
            for other in (self._commands, self._events, self._woken, self._wakes):
                other.close()
            for fd in fds:
                os.close(fd)
            child.serve(sock, self._tasks, self._make_context)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            child.flush_streams()
            os._exit(code)

    def _reap(self) -> None:
        for number, pid in list(self._pids.items()):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                del self._pids[number]
                self._tell(Event("exit", number, os.waitstatus_to_exitcode(status)))

    def _tell(self, event: Event) -> None:
        self._events.sendall(frame(event))


def _kill_group(pid: int) -> None:
    """Kills a child and what it has started itself."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _parent_death_signal() -> Callable[[], object]:
    if sys.platform != "linux":
        return lambda: None
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    return lambda: prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))


def main(argv: list[str]) -> int:
    """Loads the application, says ready (or why not) and serves."""
    commands = socket.socket(fileno=int(argv[0]))
    events = socket.socket(fileno=int(argv[1]))
    raw = receive(commands)
    if raw is None:
        return 0
    setup = msgspec.msgpack.decode(raw, type=Setup)
    sys.path[:] = setup.path
    if setup.log is not None:
        setup_logging(*setup.log)
    try:
        tasks = load_tasks(setup.app)
        make_context = load(setup.context) if setup.context else None
    except BaseException as error:
        text = f"{setup.app} could not be loaded: {type(error).__name__}: {error}"
        events.sendall(frame(Event("failed", text=text)))
        return 1
    preload()
    # What is loaded by now stays: children that collect garbage must not copy all its pages.
    gc.collect()
    gc.freeze()
    Server(commands, events, tasks, make_context).run()
    return 0


if __name__ == "__main__":
    # A child's own exit is in `_become_child`; only the server comes back here.
    os._exit(main(sys.argv[1:]))
