"""API keys from a file or folder, read again whenever it changes."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from laneway.adapters.auth_files import load_keys
from laneway.errors import ConfigError
from laneway.gateway.auth.grants import identity
from laneway.gateway.auth.identity import Identity
from laneway.gateway.auth.rejected import Rejected
from laneway.kit.health import Health
from laneway.kit.logs import get_logger
from laneway.kit.service import Service
from laneway.kit.times import moment
from laneway.model.apikeys import KeyEntry, key_hash, key_id

_log = get_logger(__name__)

#: How often it is looked whether a file has changed (s).
LOOK_S: Final = 1.0

_NO_HASH: Final = key_hash("")
_Mark = tuple[int, int, int, int]


class KeyRing:
    """The keys that hold now, by their ids."""

    def __init__(self, entries: Mapping[str, KeyEntry]) -> None:
        self._entries = entries

    def __len__(self) -> int:
        return len(self._entries)

    def verify(self, key: str, now: datetime) -> Identity:
        """Whose key it is.

        Raises:
            Rejected: it is none of these, or does not hold any more.
        """
        id = key_id(key)
        if id is None:
            raise Rejected("malformed", "an API key is lw_, 12 characters, _ and 52 characters a-z and 2-7")
        entry = self._entries.get(id)
        # Of an unknown id as much is done as of a known one: the time says nothing of which there are.
        if not hmac.compare_digest(key_hash(key), entry.hash if entry else _NO_HASH) or entry is None:
            known = "its secret is wrong" if entry else "there is no such id"
            raise Rejected("invalid", "the API key is not valid", log=f"API key {id}: {known}")
        _check(entry, now)
        return _identity(entry)

    def holds(self, identity: Identity, now: datetime) -> bool:
        """Whether a key that was let in would still be, with the same rights."""
        entry = self._entries.get(identity.credential)
        if entry is None:
            return False
        try:
            _check(entry, now)
        except Rejected:
            return False
        return _identity(entry) == identity


class KeyFiles(Service):
    """Keeps :attr:`ring` as the files say, within about a second of a change. ``path`` is a file, or a folder all of
    whose files are read (hidden ones left out), as a Secret is mounted: there the kubelet changes the files by turning
    a link to another folder, which shows in what the paths lead to.

    A file that is broken, or can't be read, leaves the keys it had last, and :attr:`amiss` says so; the others go on
    being read, so that a key revoked in one of them is refused all the same.

    Raises (by ``start``):
        ConfigError: a file is broken or missing at the start, when there are no keys yet to go on with.
    """

    def __init__(self, path: Path, *, interval: float = LOOK_S, health: Health | None = None) -> None:
        super().__init__("keys", health=health, allowed_silence=30.0, grace=1.0)
        self.path = path
        self.ring = KeyRing({})
        self.reloads = 0
        self._interval = interval
        self._kept: dict[Path, Mapping[str, KeyEntry]] = {}
        self._marks: dict[Path, _Mark | None] = {}
        self._troubles: dict[Path, str] = {}
        if health is not None:
            health.note("API keys", lambda: self.amiss)

    @property
    def amiss(self) -> str | None:
        """Why the keys are those of before; None when they are as the files say."""
        if not self._troubles:
            return None
        first = next(iter(self._troubles.values())).splitlines()[0]
        more = f" (and {len(self._troubles) - 1} more files)" if len(self._troubles) > 1 else ""
        return f"the keys read last are still in force: {first}{more}"

    async def on_start(self) -> None:
        """Reads the files.

        Raises:
            ConfigError: one of them is wrong; later, the keys read before would stay in force.
        """
        await asyncio.to_thread(self.look)
        if self._troubles:
            raise ConfigError("\n".join(self._troubles.values()))
        _log.info("API keys read", path=str(self.path), keys=len(self.ring))

    async def run(self) -> None:
        """Looks until stopped."""
        while await self.pause(self._interval):
            if await asyncio.to_thread(self.look):
                _log.info("API keys read again", path=str(self.path), keys=len(self.ring))
            self.touch()

    def look(self) -> bool:
        """Looks once; returns whether the keys are others now. (It reads files: not for an event loop.)"""
        files = self._files()
        if files is None:
            return False
        changed = False
        for gone in self._kept.keys() - set(files):
            del self._kept[gone]
            changed = True
        for gone in self._troubles.keys() - set(files) - {self.path}:
            del self._troubles[gone]
        for file in files:
            changed = self._look_at(file) or changed
        if changed:
            self.ring = KeyRing({id: entry for kept in self._kept.values() for id, entry in kept.items()})
            self.reloads += 1
        return changed

    def _files(self) -> list[Path] | None:
        """The files there are; None when that can't be told, so that all stays."""
        try:
            if not self.path.is_dir():
                self.path.stat()
                files = [self.path]
            else:
                files = sorted(f for f in self.path.iterdir() if not f.name.startswith(".") and f.is_file())
                if not files:
                    raise FileNotFoundError(2, "the folder has no files", str(self.path))
        except OSError as error:
            self._say(self.path, f"{self.path}: can't be read: {error.strerror or error}")
            return None
        if self.path not in files:
            self._troubles.pop(self.path, None)
        return files

    def _look_at(self, file: Path) -> bool:
        try:
            stat = file.stat()
            # Taken before reading: what is written meanwhile shows at the next look.
            mark = (stat.st_dev, stat.st_ino, stat.st_mtime_ns, stat.st_size)
        except OSError as error:
            self._marks.pop(file, None)
            self._say(file, f"{file}: can't be read: {error.strerror or error}")
            return False
        if self._marks.get(file) == mark:
            return False
        self._marks[file] = mark
        try:
            entries = {entry.id: entry for entry in load_keys(file).keys}
            self._each_once(file, entries)
        except ConfigError as error:
            self._say(file, str(error))
            return False
        self._troubles.pop(file, None)
        changed = self._kept.get(file) != entries
        self._kept[file] = entries
        return changed

    def _each_once(self, file: Path, entries: Mapping[str, KeyEntry]) -> None:
        for other, kept in self._kept.items():
            if other != file and (twice := sorted(entries.keys() & kept.keys())):
                raise ConfigError(f"{file}: key {twice[0]} is in {other.name} too: keep one of them")

    def _say(self, file: Path, trouble: str) -> None:
        if self._troubles.get(file) != trouble:
            self._troubles[file] = trouble
            _log.error("a file of API keys is not used; the keys read last stay in force", reason=trouble)


def _check(entry: KeyEntry, now: datetime) -> None:
    if entry.revoked is not None:
        raise Rejected("revoked", "the API key was revoked", log=f"API key {entry.id} was revoked at {entry.revoked}")
    if entry.expires is not None and moment(entry.expires) <= now:
        raise Rejected("expired", f"the API key has expired at {entry.expires}")


def _identity(entry: KeyEntry) -> Identity:
    return identity(
        entry.name,
        entry.role,
        auth="key",
        tenants=entry.tenants,
        payloads=entry.payloads,
        expires_at=moment(entry.expires) if entry.expires else None,
        credential=entry.id,
    )


def utc_now() -> datetime:
    """The time, as expiry is told."""
    return datetime.now(UTC)
