"""What a node consists of while it runs, kept in a file, and how all of it is ended."""

import contextlib
import json
import os
import shutil
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil

from servers.ending import end, same_process

_STOP_S = 10.0


@dataclass
class NodeState:
    """One node. Its processes are those in its mount namespace, which nothing else enters, and their children."""

    mount_namespace: str
    """As in /proc/PID/ns/mnt."""
    processes: dict[str, tuple[int, float]] = field(default_factory=dict)
    """Pid and start time of each part."""
    kubeconfig: str = ""
    sysctls: dict[str, str] = field(default_factory=dict)
    """Settings of the kernel, which the kubelet changes for the whole machine, as they were before."""
    made: list[str] = field(default_factory=list)
    """Folders outside the node's own that it made as mount points; they stay empty."""
    cgroup: str = ""

    @classmethod
    def load(cls, file: Path) -> "NodeState | None":
        """The state in the file; None if there is none."""
        try:
            return cls(**json.loads(file.read_text()))
        except FileNotFoundError:
            return None

    def save(self, file: Path) -> None:
        """Replace the file, whole."""
        draft = file.with_suffix(".draft")
        draft.write_text(json.dumps(asdict(self), indent=2) + "\n")
        draft.rename(file)

    def alive(self, name: str) -> psutil.Process | None:
        """The part's process, if it still runs."""
        process = same_process(*self.processes.get(name, (0, 0.0)))
        inside = process is not None and _mount_namespace(process.pid) == self.mount_namespace
        return process if inside else None

    def dead(self) -> list[str]:
        """The names of parts that should run and do not."""
        return [name for name in self.processes if self.alive(name) is None]

    def entrance(self) -> psutil.Process | None:
        """A process by which the node's namespaces can be entered; None when the node is down."""
        return next((process for name in self.processes if (process := self.alive(name))), None)

    def inside(self) -> list[psutil.Process]:
        """Every process of the node: its parts, the containers' shims, and what runs in the containers."""
        found: dict[int, psutil.Process] = {}
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.status() == psutil.STATUS_ZOMBIE:
                    continue
                if _mount_namespace(process.pid) == self.mount_namespace:
                    found[process.pid] = process
                    found.update({child.pid: child for child in process.children(recursive=True)})
        return list(found.values())

    def end(self) -> int:
        """End the node and put back what it changed; how many processes there were.

        Its mounts, network and rules are in its namespaces, and go with its last process.
        """
        total = 0
        # The kubelet first, or it would start again what is ended. Nothing is written that will be read again,
        # so nothing is given time for it.
        if (kubelet := self.alive("kubelet")) is not None:
            end([kubelet], grace=0)
            total += 1
        # What was just being started when it was ended is seen the next time.
        while processes := self.inside():
            if left := end(processes, grace=0):
                raise RuntimeError(f"does not end: {', '.join(f'{each.name()} ({each.pid})' for each in left)}")
            total += len(processes)
        for name, value in self.sysctls.items():
            with contextlib.suppress(OSError):
                Path("/proc/sys", name).write_text(value)
        if self.cgroup:
            _remove_cgroup(self.cgroup.strip("/"))
        for folder in reversed(self.made):
            with contextlib.suppress(OSError):
                Path(folder).rmdir()
        return total


def cgroup_controllers() -> list[Path]:
    """The roots of the cgroup hierarchies: one on a machine with cgroup v2, else one for each controller."""
    root = Path("/sys/fs/cgroup")
    if (root / "cgroup.controllers").exists():
        return [root]
    return [path for path in root.iterdir() if path.is_dir() and not path.is_symlink()]


def _remove_cgroup(name: str) -> None:
    deadline = time.monotonic() + _STOP_S
    for controller in cgroup_controllers():
        for folder, _folders, _files in os.walk(controller / name, topdown=False):
            while True:
                try:
                    os.rmdir(folder)
                except OSError:
                    # A process that has just ended may still count as its member.
                    if time.monotonic() < deadline:
                        time.sleep(0.05)
                        continue
                break


def _mount_namespace(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/ns/mnt")
    except OSError:
        return ""


def own_mount_namespace() -> str:
    """This process's own."""
    return _mount_namespace(os.getpid())


def remove_folder(folder: Path) -> None:
    """Delete the node's folder. Nothing may be mounted in it any more in this mount namespace."""
    mounted = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    if inside := [path for path in mounted if path.startswith(f"{folder}/")]:
        raise RuntimeError(f"not deleted, for something is mounted there: {', '.join(inside)}")
    shutil.rmtree(folder, ignore_errors=True)
