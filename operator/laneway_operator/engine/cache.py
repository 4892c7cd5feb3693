"""The newest body of each watched object, with indexes. Nothing here waits or asks the API server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from sys import intern
from typing import Any

from laneway_operator.keys import Body, ObjectKey, controller_of, key_of, version_of

#: From a body to the value that it is found under, or "".
Indexer = Callable[[Body], str]
#: Is told of each change, after it: the key, the body before and the one now (None: not there), and whether it
#: came from the answer to a write of our own.
Listener = Callable[[ObjectKey, Body | None, Body | None, bool], None]
#: From a body to what of it is worth keeping.
Trimmer = Callable[[Body], Body]

_TOMBSTONES = 20_000


class ObjectCache:
    """The newest body per object, filled by watches and by the answers to our own writes.

    Bodies are shared and must not be changed. ``indexers`` are named functions: objects can be found by what
    they return, in their namespace. ``trimmers`` say per kind what is kept; ``managedFields`` never is.
    """

    def __init__(
        self,
        kinds: Iterable[str],
        *,
        indexers: Mapping[str, Indexer] | None = None,
        trimmers: Mapping[str, Trimmer] | None = None,
    ) -> None:
        self.kinds = tuple(kinds)
        self._bodies: dict[str, dict[ObjectKey, Body]] = {kind: {} for kind in self.kinds}
        self._indexers = dict(indexers or {})
        self._trimmers = dict(trimmers or {})
        self._indexes: dict[tuple[str, str, str], dict[ObjectKey, None]] = {}
        self._owned: dict[str, dict[ObjectKey, None]] = {}
        self._gone: dict[ObjectKey, int] = {}
        self._notes: dict[ObjectKey, Any] = {}
        self._listeners: list[Listener] = []
        self._synced: dict[str, asyncio.Event] = {kind: asyncio.Event() for kind in self.kinds}

    # ------------------------------------------------------------------------------------------- reading

    def get(self, key: ObjectKey) -> Body | None:
        """The newest body known, or None."""
        return self._bodies[key.kind].get(key)

    def keys(self, kind: str) -> list[ObjectKey]:
        """The keys of all objects of a kind."""
        return list(self._bodies[kind])

    def count(self, kind: str) -> int:
        """How many objects of a kind there are."""
        return len(self._bodies[kind])

    def owned_by(self, uid: str, kind: str = "") -> list[Body]:
        """The objects whose controlling owner has this uid, of one kind or (with "") of all."""
        return self._found(self._owned.get(uid, {}), kind)

    def find(self, index: str, namespace: str, value: str, kind: str = "") -> list[Body]:
        """The objects in a namespace that the indexer named ``index`` gives ``value`` for."""
        if index not in self._indexers:
            raise KeyError(f"no index {index!r}; there are {', '.join(self._indexers)}")
        return self._found(self._indexes.get((index, namespace, value), {}), kind)

    def _found(self, keys: dict[ObjectKey, None], kind: str) -> list[Body]:
        return [self._bodies[key.kind][key] for key in keys if not kind or key.kind == kind]

    def __len__(self) -> int:
        return sum(map(len, self._bodies.values()))

    # ------------------------------------------------------------------------------------------- writing

    def listen(self, listener: Listener) -> None:
        """Tells ``listener`` of each change from now on."""
        self._listeners.append(listener)

    def put(self, body: Body, *, ours: bool = False) -> bool:
        """Takes a body in, unless it is older than what is known. Returns whether it is news. ``ours``: it is the
        answer to a write of our own."""
        key = key_of(body)
        version = version_of(body)
        if version and version <= self._gone.get(key, -1):
            return False
        bodies = self._bodies[key.kind]
        old = bodies.get(key)
        if old is not None:
            if version and version <= version_of(old):
                return False
            self._unindex(key, old)
        kept = self._kept(key.kind, body, share=not ours)
        key = ObjectKey(intern(key.kind), intern(key.namespace), key.name)
        bodies[key] = kept
        self._index(key, kept)
        self._gone.pop(key, None)
        self._tell(key, old, kept, ours)
        return True

    def remove(self, key: ObjectKey, version: int = 0) -> bool:
        """Forgets an object that was seen deleted, at ``version`` (0: whatever is known). Returns whether it
        was known; one that is newer than ``version`` stays."""
        body = self._bodies[key.kind].get(key)
        if body is not None and version and version_of(body) > version:
            return False
        known = version_of(body) if body is not None else 0
        self._gone.pop(key, None)
        self._gone[key] = max(version, known)
        while len(self._gone) > _TOMBSTONES:
            del self._gone[next(iter(self._gone))]
        self._notes.pop(key, None)
        if body is None:
            return False
        del self._bodies[key.kind][key]
        self._unindex(key, body)
        self._tell(key, body, None, False)
        return True

    def _tell(self, key: ObjectKey, old: Body | None, new: Body | None, ours: bool) -> None:
        for listener in self._listeners:
            listener(key, old, new, ours)

    def note(self, key: ObjectKey) -> Any:
        """What :meth:`set_note` left for an object, or None."""
        return self._notes.get(key)

    def set_note(self, key: ObjectKey, note: Any) -> None:
        """Leaves something with an object, until it is removed. (``apply`` notes what it has compared.)"""
        self._notes[key] = note

    def _kept(self, kind: str, body: Body, *, share: bool) -> Body:
        meta = {name: value for name, value in body["metadata"].items() if name != "managedFields"}
        kept = {**body, "metadata": meta}
        trim = self._trimmers.get(kind)
        kept = trim(kept) if trim else kept
        if not share:  # our own answers are decoded by msgspec, which shares field names by itself
            return kept
        shared: Body = _shared(kept)
        return shared

    def _index(self, key: ObjectKey, body: Body) -> None:
        for place in self._places(key, body):
            self._indexes.setdefault(place, {})[key] = None
        if owner := controller_of(body):
            self._owned.setdefault(owner, {})[key] = None

    def _unindex(self, key: ObjectKey, body: Body) -> None:
        for place in self._places(key, body):
            _discard(self._indexes, place, key)
        if owner := controller_of(body):
            _discard(self._owned, owner, key)

    def _places(self, key: ObjectKey, body: Body) -> list[tuple[str, str, str]]:
        return [(name, key.namespace, value) for name, of in self._indexers.items() if (value := of(body))]

    # ------------------------------------------------------------------------------------------- syncing

    def synced(self, kind: str) -> bool:
        """Whether all objects of the kind that there were at the start (or at the last relist) are known."""
        return self._synced[kind].is_set()

    def set_synced(self, kind: str) -> None:
        """Says that all objects of the kind are known."""
        self._synced[kind].set()

    @property
    def unsynced(self) -> list[str]:
        """The kinds that are not synced."""
        return [kind for kind, event in self._synced.items() if not event.is_set()]

    async def wait_synced(self) -> None:
        """Waits until all kinds are synced."""
        for event in self._synced.values():
            await event.wait()


def _discard(table: dict[Any, dict[ObjectKey, None]], place: Any, key: ObjectKey) -> None:
    keys = table.get(place)
    if keys is not None:
        keys.pop(key, None)
        if not keys:
            del table[place]


def _shared(value: Any) -> Any:
    """The same JSON with one object per distinct field name and short text: thousands of bodies say the same."""
    if isinstance(value, dict):
        return {intern(name): _shared(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_shared(item) for item in value]
    if isinstance(value, str) and len(value) <= 64:
        return intern(value)
    return value
