"""Owned objects: applied when they differ, never when they are another's."""

from __future__ import annotations

from typing import Any, NamedTuple

from laneway.kit.logs import get_logger
from laneway_operator.apply.compare import differences, fingerprint
from laneway_operator.engine.cache import ObjectCache
from laneway_operator.engine.cluster import Cluster
from laneway_operator.engine.errors import Conflict, EngineError
from laneway_operator.keys import Body, ObjectKey, controller_of, key_of, version_of
from laneway_operator.names import APPLIED_HASH

_log = get_logger(__name__)


class ForeignObject(EngineError):
    """An object that is not ours has the name that ours needs. It was left as it is."""

    def __init__(self, key: ObjectKey, owner: str) -> None:
        super().__init__(f"{key} is there already and belongs to {owner}; delete or rename it, or name ours otherwise")
        self.key = key


class _Compared(NamedTuple):
    """What was seen of an object: at this version, desired with this hash, these paths could not be had."""

    hash: str
    version: int
    refused: frozenset[str]


async def apply_if_different(cluster: Cluster, cache: ObjectCache, desired: Body) -> bool:
    """Makes the live object as ``desired`` says, by server-side apply. Returns whether something was written.

    ``desired`` needs apiVersion, kind, metadata.name and namespace, and a controlling owner in
    metadata.ownerReferences. Nothing is written if every desired field is in the live object, and the hash of
    what was last applied, which the object carries, is that of ``desired``: a field that is not desired any
    more changes the hash, so it is removed. What the API server (or a webhook) did not take over from an apply
    is logged and not tried again until the object or ``desired`` changes.

    Raises:
        ForeignObject: the name is taken by an object of another owner; nothing was written.
        NotLeading: nothing was written.
        ClusterError: the API server refused, or was not reached.
    """
    key = key_of(desired)
    owner = controller_of(desired)
    if not owner:
        raise ValueError(f"{key}: metadata.ownerReferences must name a controlling owner")
    hash = fingerprint(desired)
    live = cache.get(key)
    if live is not None and controller_of(live) != owner:
        raise ForeignObject(key, _owner_text(live))
    if live is not None and _as_desired(cache, key, desired, live, hash):
        return False
    answer = await _apply(cluster, key, _with_hash(desired, hash), owner, force=live is not None)
    answer.setdefault("kind", key.kind)
    cache.put(answer, ours=True)
    refused = frozenset(differences(desired, answer))
    if refused:
        _log.warning("the API server did not take over all of an object", object=str(key), fields=sorted(refused)[:10])
    cache.set_note(key, _Compared(hash, version_of(answer), refused))
    return True


async def delete_if_owned(cluster: Cluster, cache: ObjectCache, key: ObjectKey, owner: str) -> bool:
    """Deletes an object that ``owner`` (a uid) controls. Returns whether a deletion was sent; an object that is
    not known, is being deleted, or is another's, is left alone. Raises as :func:`apply_if_different`."""
    live = cache.get(key)
    if live is None or controller_of(live) != owner or live["metadata"].get("deletionTimestamp"):
        return False
    try:
        return await cluster.delete(key, uid=live["metadata"].get("uid", ""))
    except Conflict:  # another of that name by now: the watch will tell
        return False


def _as_desired(cache: ObjectCache, key: ObjectKey, desired: Body, live: Body, hash: str) -> bool:
    if live["metadata"].get("annotations", {}).get(APPLIED_HASH) != hash:
        return False
    version = version_of(live)
    seen: Any = cache.note(key)
    if isinstance(seen, _Compared) and seen.hash == hash:
        if seen.version == version:
            return True
        refused = seen.refused
    else:
        refused = frozenset()
    if any(path not in refused for path in differences(desired, live)):
        return False
    cache.set_note(key, _Compared(hash, version, refused))
    return True


async def _apply(cluster: Cluster, key: ObjectKey, body: Body, owner: str, *, force: bool) -> Body:
    """Of an object that we do not know, another may be there by that name: then force would take it over."""
    if force:
        return await cluster.apply(body)
    try:
        return await cluster.apply(body, force=False)
    except Conflict:
        there = await cluster.find(key)
        if there is not None and controller_of(there) != owner:
            raise ForeignObject(key, _owner_text(there)) from None
        return await cluster.apply(body)


def _with_hash(desired: Body, hash: str) -> Body:
    meta = desired["metadata"]
    return {**desired, "metadata": {**meta, "annotations": {**meta.get("annotations", {}), APPLIED_HASH: hash}}}


def _owner_text(body: Body) -> str:
    for owner in body["metadata"].get("ownerReferences", ()):
        if owner.get("controller"):
            return f"{owner.get('kind')} {owner.get('name')} (uid {owner.get('uid')})"
    return "nobody that it names"
