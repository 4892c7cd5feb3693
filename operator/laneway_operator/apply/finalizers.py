"""The operator's own finalizer: put on before anything is made that deletion must undo, taken off at the end."""

from __future__ import annotations

from laneway_operator.engine.cache import ObjectCache
from laneway_operator.engine.cluster import Cluster
from laneway_operator.engine.errors import NotFound
from laneway_operator.keys import Body, key_of
from laneway_operator.names import FINALIZER


def has_finalizer(body: Body) -> bool:
    """Whether our finalizer is on the object."""
    return FINALIZER in body["metadata"].get("finalizers", ())


async def add_finalizer(cluster: Cluster, cache: ObjectCache, body: Body) -> Body:
    """Puts our finalizer on, if it is not there and the object is not being deleted. Returns the object as it is
    then.

    Raises:
        Conflict: the object is newer than ``body``; look again.
        NotLeading, NotFound, ClusterError: nothing was written, or not for certain.
    """
    if has_finalizer(body) or body["metadata"].get("deletionTimestamp"):
        return body
    return await _put(cluster, cache, body, [*body["metadata"].get("finalizers", ()), FINALIZER])


async def remove_finalizer(cluster: Cluster, cache: ObjectCache, body: Body) -> bool:
    """Takes our finalizer off; with it the object may go. Returns whether it was on. Raises Conflict if the object
    is newer than ``body``, and as :func:`add_finalizer`; an object that is gone is fine."""
    if not has_finalizer(body):
        return False
    rest = [name for name in body["metadata"]["finalizers"] if name != FINALIZER]
    try:
        await _put(cluster, cache, body, rest)
    except NotFound:
        cache.remove(key_of(body))
    return True


async def _put(cluster: Cluster, cache: ObjectCache, body: Body, finalizers: list[str]) -> Body:
    # With the version in it, so that the finalizers of others that came or went meanwhile are not undone.
    meta = {"resourceVersion": body["metadata"]["resourceVersion"], "finalizers": finalizers}
    answer = await cluster.patch(key_of(body), {"metadata": meta})
    answer.setdefault("kind", body["kind"])
    if not answer["metadata"].get("deletionTimestamp") or answer["metadata"].get("finalizers"):
        cache.put(answer, ours=True)
    return answer
