"""The log of changes: who did what to which task or queue, and how it ended. Never a payload or a secret."""

from __future__ import annotations

import os
import queue
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO

import msgspec
from starlette.requests import Request

from laneway.errors import ConfigError
from laneway.gateway.auth.identity import Identity
from laneway.gateway.auth.permissions import CHANGING, Permission
from laneway.kit.health import Health
from laneway.kit.logs import get_logger

if TYPE_CHECKING:
    from laneway.model.auth import AuditLog

_log = get_logger("laneway.audit")

_NOTES: Final = "laneway.audit"
#: The outcome of a request that was only to tell what it would change (a note gives it).
DRY_RUN: Final = "dry-run"
#: So many lines may wait for a slow disk; more are lost, and counted: the gateway must not stop for its log.
MOST_WAITING: Final = 10_000


def audit_note(request: Request, **fields: Any) -> None:
    """Adds fields to what the log will have of this request, such as how many tasks were changed: counts, ids and
    names, never payloads."""
    request.scope.setdefault(_NOTES, {}).update(fields)


def outcome_of(status: int) -> str:
    """How a change ended, by its answer's status."""
    if status < 400:
        return "done"
    if status in (401, 403):
        return "denied"
    if status == 504:
        return "unknown"
    return "failed" if status >= 500 else "refused"


class AuditTrail:
    """Writes changes as lines of the process's log, and appends them to a file if one is named.

    A thread of its own writes the file, which may be renamed by whoever rotates it: it is opened anew when it is not
    there any more.

    Raises:
        ConfigError: the file can't be written.
    """

    def __init__(self, settings: AuditLog, *, health: Health | None = None) -> None:
        self.lost = 0
        self.amiss: str | None = None
        self._submissions = settings.submissions
        self._path = Path(settings.file) if settings.file else None
        self._waiting: queue.Queue[bytes | None] = queue.Queue(MOST_WAITING)
        self._thread: threading.Thread | None = None
        if self._path is not None:
            try:
                self._open().close()
            except OSError as error:
                raise ConfigError(f"audit.file: {self._path} can't be written ({error.strerror})") from None
            self._thread = threading.Thread(target=self._write, name="audit", daemon=True)
            self._thread.start()
        if health is not None:
            health.note("log of changes", lambda: self.amiss)

    def wants(self, permission: Permission | None) -> bool:
        """Whether requests that need this permission are written down."""
        return permission in CHANGING and (self._submissions or permission is not Permission.SUBMIT)

    def record(
        self,
        request: Request,
        identity: Identity,
        *,
        route: str,
        permission: Permission,
        status: int,
        request_id: str,
        address: str,
        problem: str | None = None,
    ) -> None:
        """One request that changed something, or was to."""
        line: dict[str, Any] = {
            "who": identity.name,
            "role": identity.role,
            "auth": identity.auth,
            "credential": identity.credential,
            "permission": permission.value,
            "method": request.method,
            "route": route,
            **{name: value for name, value in request.path_params.items() if isinstance(value, str)},
            "outcome": outcome_of(status),
            "status": status,
            "request": request_id,
            "address": address,
        }
        if identity.tenants is not None:
            line["tenants"] = sorted(identity.tenants)
        if problem is not None:
            line["problem"] = problem
        line.update(request.scope.get(_NOTES, ()))
        _log.info("change", **line)
        if self._thread is not None:
            at = datetime.now(UTC).isoformat().replace("+00:00", "Z")
            try:
                self._waiting.put_nowait(msgspec.json.encode({"at": at, **line}) + b"\n")
            except queue.Full:
                self.lost += 1
                self.amiss = f"{self._path} is too slow: {self.lost} lines were lost"

    def close(self) -> None:
        """Writes what waits. (It may take as long as the disk does: not for an event loop.)"""
        if self._thread is not None:
            self._waiting.put(None)
            self._thread.join(5.0)
            self._thread = None

    def _open(self) -> TextIO:
        assert self._path is not None
        return open(self._path, "a", encoding="utf-8", opener=_private)

    def _write(self) -> None:
        assert self._path is not None
        file: TextIO | None = None
        ended = False
        while not ended:
            lines = [self._waiting.get()]
            while len(lines) < 1_000 and not self._waiting.empty():
                lines.append(self._waiting.get())
            ended = None in lines
            text = b"".join(line for line in lines if line is not None).decode()
            try:
                if file is None or not _is_at(file, self._path):
                    if file is not None:
                        file.close()
                    file = self._open()
                file.write(text)
                file.flush()
                if not self.lost:
                    self.amiss = None
            except OSError as error:
                self.lost += text.count("\n")
                self.amiss = f"{self._path} can't be written: {error.strerror} ({self.lost} lines were lost)"
                file = None
        if file is not None:
            file.close()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _is_at(file: TextIO, path: Path) -> bool:
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    ours = os.fstat(file.fileno())
    return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)
