"""Whether a user may read a metric: asked of the API server, and remembered for a moment."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from laneway_operator.adapter.front_proxy import User
from laneway_operator.engine.cluster import Cluster
from laneway_operator.keys import Body

_ALLOWED_S: Final = 10.0
_DENIED_S: Final = 5.0
_REMEMBERED: Final = 4096


@dataclass(frozen=True, slots=True)
class Asked:
    """What somebody wants to do: read a metric in a namespace, or (``path``) a page that is no resource."""

    namespace: str = ""
    resource: str = ""
    group: str = ""
    version: str = ""
    path: str = ""


class Access:
    """Asks by SubjectAccessReviews. ``clock`` gives seconds."""

    def __init__(self, cluster: Cluster, clock: Callable[[], float]) -> None:
        self._cluster = cluster
        self._clock = clock
        self._known: OrderedDict[tuple[User, Asked], tuple[float, str | None]] = OrderedDict()

    async def refusal(self, user: User, asked: Asked) -> str | None:
        """Why ``user`` may not; None when they may.

        Raises:
            ClusterError: the API server refused to say, or was not reached: then nobody may.
        """
        now = self._clock()
        known = self._known.get((user, asked))
        if known is not None and now < known[0]:
            return known[1]
        status = (await self._cluster.ask(_review(user, asked))).get("status") or {}
        refusal = None if status.get("allowed") is True else str(status.get("reason") or "no rule allows it")
        self._known[user, asked] = (now + (_ALLOWED_S if refusal is None else _DENIED_S), refusal)
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return refusal


def _review(user: User, asked: Asked) -> Body:
    spec: Body = {"user": user.name, "groups": list(user.groups)}
    if user.extra:
        spec["extra"] = {key: list(values) for key, values in user.extra}
    if user.uid:
        spec["uid"] = user.uid
    if asked.path:
        spec["nonResourceAttributes"] = {"path": asked.path, "verb": "get"}
    else:
        spec["resourceAttributes"] = {
            "namespace": asked.namespace,
            "verb": "list",
            "group": asked.group,
            "version": asked.version,
            "resource": asked.resource,
        }
    return {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
