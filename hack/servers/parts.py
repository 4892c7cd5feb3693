"""The command `hack/parts`: real servers that outlive the command, for development and benches."""

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from servers.ending import end, same_process
from servers.envtest import Envtest
from servers.kafka import KafkaServer
from servers.kubernetes_build import ENVTEST, build
from servers.need import PARTS
from servers.process import ServerFailed, ServerProcess
from servers.redis import RedisServer, find_redis7, find_redis62

_STOP_S = 20.0


@dataclass(frozen=True)
class Running:
    """A server that `up` started. Another process can get its pid later, so the start time counts too."""

    part: str
    url: str
    pid: int
    started: float
    log: str
    kubeconfig: str = ""
    """The file that says how to reach it, for a Kubernetes API server."""
    others: Sequence[tuple[int, float]] = ()
    """Pid and start time of each further process that it needs, such as etcd."""

    def process(self) -> psutil.Process | None:
        """The process, if it is still the one that was started."""
        return same_process(self.pid, self.started)

    def processes(self) -> list[psutil.Process]:
        """Those of its processes that still run, the main one first."""
        found = [same_process(pid, started) for pid, started in [(self.pid, self.started), *self.others]]
        return [process for process in found if process is not None]


class State:
    """What `up` started, kept in the file `state.json` of a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file = folder / "state.json"

    def stored(self) -> list[Running]:
        """The parts that were started, whether or not they still run."""
        try:
            stored = json.loads(self._file.read_text())
        except FileNotFoundError:
            return []
        return [Running(**entry) for entry in stored]

    def running(self) -> dict[str, Running]:
        """The parts that still run."""
        return {part.part: part for part in self.stored() if part.process() is not None}

    def save(self, parts: dict[str, Running]) -> None:
        """Replace the file, whole."""
        self.folder.mkdir(exist_ok=True)
        draft = self._file.with_suffix(".draft")
        draft.write_text(json.dumps([asdict(part) for part in parts.values()], indent=2) + "\n")
        draft.rename(self._file)


def up(state: State, names: Sequence[str] = tuple(PARTS)) -> tuple[dict[str, Running], dict[str, str]]:
    """Start what does not run yet; what runs now, and for the rest why not."""
    parts, lacking = state.running(), {}
    # Of a part whose main process has died, another may be left, such as etcd.
    leftovers = [process for part in state.stored() if part.part not in parts for process in part.processes()]
    end(leftovers, grace=_STOP_S)
    for name in names:
        if name in parts:
            continue
        lacks = PARTS[name].lacks()
        if lacks is None:
            try:
                parts[name] = _start(name, state.folder / name)
                state.save(parts)
            except (OSError, RuntimeError) as error:
                lacks = str(error)
        if lacks is not None:
            lacking[name] = lacks
    return parts, lacking


def down(state: State) -> list[Running]:
    """End what `up` started: SIGTERM, then SIGKILL; delete the folder, data included."""
    ended = [part for part in state.stored() if part.processes()]
    end([process for part in ended for process in part.processes()], grace=_STOP_S)
    shutil.rmtree(state.folder, ignore_errors=True)
    return ended


def main(argv: Sequence[str], folder: Path) -> int:
    """Run the command; 1 if a part is missing after `up`, or for `status` if none runs."""
    parser = argparse.ArgumentParser(prog="parts", description="Real servers on loopback, in the background.")
    parser.add_argument("action", choices=["up", "down", "status"])
    parser.add_argument("part", nargs="*", help=f"what to start: {', '.join(PARTS)}; all if not said")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(argv)
    names: list[str] = options.part or list(PARTS)
    if unknown := set(names) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    state, lacking = State(folder), dict[str, str]()
    if options.action == "up":
        if "kubernetes" in options.part:
            build(ENVTEST)
        parts, lacking = up(state, names)
    elif options.action == "down":
        ended = down(state)
        print(json.dumps({"ended": [part.part for part in ended]}) if options.json else _ended(ended))
        return 0
    else:
        parts = state.running()
    if options.json:
        running = {name: asdict(part) for name, part in parts.items()}
        print(json.dumps({"parts": running, "lacking": lacking}))
    else:
        _print(parts, lacking)
    return 1 if lacking or not parts else 0


def _start(name: str, folder: Path) -> Running:
    # A folder left over here belongs to a server that has died: `up` starts afresh.
    shutil.rmtree(folder, ignore_errors=True)
    if name == "kubernetes":
        envtest = Envtest(dir=folder).start()
        etcd = envtest.etcd.process
        return _detached(name, envtest.url, envtest.process, kubeconfig=str(envtest.kubeconfig), others=[etcd])
    if name == "kafka":
        print(f"Starting {PARTS[name].title} (the first time its jars are fetched) ...", file=sys.stderr)
        kafka = KafkaServer(dir=folder).start()
        return _detached(name, kafka.bootstrap, kafka.process)
    binary = find_redis7() if name == "redis7" else find_redis62()
    if binary is None:
        raise ServerFailed(f"{PARTS[name].title} has just gone")
    redis = RedisServer(binary, dir=folder).start()
    return _detached(name, redis.url, redis.process)


def _detached(
    name: str,
    url: str,
    process: ServerProcess,
    *,
    kubeconfig: str = "",
    others: Sequence[ServerProcess] = (),
) -> Running:
    further = [_left_running(other) for other in others]
    pid, started = _left_running(process)
    return Running(name, url, pid, started, str(process.log), kubeconfig, further)


def _left_running(process: ServerProcess) -> tuple[int, float]:
    process.detach()
    return process.pid, psutil.Process(process.pid).create_time()


def _ended(ended: list[Running]) -> str:
    return "\n".join(f"ended {PARTS[part.part].title} (pid {part.pid})" for part in ended) or "nothing was running"


def _print(parts: dict[str, Running], lacking: dict[str, str]) -> None:
    for name, part in parts.items():
        print(f"{PARTS[name].title:<18} {part.url:<28} pid {part.pid}, log {part.log}")
        if part.kubeconfig:
            print(f"{'':<18} export KUBECONFIG={part.kubeconfig}")
    for name, lacks in lacking.items():
        print(f"{PARTS[name].title:<18} not started: {lacks}")
    if not parts and not lacking:
        print("nothing is running (hack/parts up)")
