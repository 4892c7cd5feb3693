"""Which passes a change of an object asks for. Pure but for the calls of ``wake``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from laneway_operator import names
from laneway_operator.engine.cache import ObjectCache
from laneway_operator.keys import Body, ObjectKey

Wake = Callable[[ObjectKey], None]

#: The conditions of a queue that lanes and pools go by.
_READ_BY_OTHERS: Final = ("Ready", "LimiterReady", "TopicsReady")


class Waker:
    """Listens to the cache, and wakes the objects that a change concerns.

    An object of our kinds is woken by its own changes, but not by those that its own pass has just written; a
    queue is woken by its lanes and pools, and they by it when what they go by has changed; an owner is woken by
    what it owns, a pool by its pods, and a queue by what goes wrong with its pods.
    """

    def __init__(self, cache: ObjectCache, wake: Wake) -> None:
        self._cache = cache
        self._wake = wake

    def __call__(self, key: ObjectKey, old: Body | None, new: Body | None, ours: bool) -> None:
        """A change of the object ``key``."""
        body = new if new is not None else old
        if body is None:
            return
        if key.kind not in names.OUR_KINDS:
            owner = _owner(key, body)
            if not ours and owner is not None and (owner.kind != names.QUEUE or _trouble(old) != _trouble(new)):
                self._wake(owner)
            return
        if not ours:
            self._wake(key)
        if _gist(old) == _gist(new):
            return
        if key.kind == names.QUEUE:
            self._wake_members(key)
        elif queue := names.queue_of(body):
            self._wake(names.queue_key(key.namespace, queue))

    def _wake_members(self, key: ObjectKey) -> None:
        for kind in (names.LANE, names.POOL):
            for member in self._cache.find("queue", key.namespace, key.name, kind):
                self._wake(ObjectKey(kind, key.namespace, member["metadata"]["name"]))


def _owner(key: ObjectKey, body: Body) -> ObjectKey | None:
    if key.kind == names.POD:
        pool = names.pool_of(body)
        if pool:
            return names.pool_key(key.namespace, pool)
        queue = names.queue_of(body)
        return names.queue_key(key.namespace, queue) if queue else None
    for owner in body["metadata"].get("ownerReferences", ()):
        if owner.get("controller") and owner.get("kind") in names.OUR_KINDS:
            return ObjectKey(owner["kind"], key.namespace, owner["name"])
    return None


def _trouble(body: Body | None) -> Any:
    """Of a pod: what is wrong with it. Of other objects, all: each change counts."""
    if body is None or body["kind"] != names.POD:
        return body
    status = body.get("status") or {}
    scheduled = [one for one in status.get("conditions") or () if one.get("type") == "PodScheduled"]
    return scheduled, status.get("initContainerStatuses"), status.get("containerStatuses")


def _gist(body: Body | None) -> Any:
    """What others go by of an object of our kinds."""
    if body is None:
        return None
    meta = body["metadata"]
    ready = [
        (condition.get("status"), condition.get("reason"))
        for condition in body.get("status", {}).get("conditions", ())
        if condition.get("type") in _READ_BY_OTHERS
    ]
    return (meta.get("uid"), meta.get("generation"), bool(meta.get("deletionTimestamp")), names.paused(body), ready)
