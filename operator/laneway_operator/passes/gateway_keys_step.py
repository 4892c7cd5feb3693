"""The step of a TaskQueue's pass that sees to the Secret with the keys of its HTTP API."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import laneway
from laneway.kit.logs import get_logger
from laneway.model.manifests import TaskQueue
from laneway_operator import names
from laneway_operator.conditions import ConditionType, EventType, Happening, Reason
from laneway_operator.engine.errors import Conflict, Forbidden, Unreachable
from laneway_operator.keys import Body, ObjectKey, key_of
from laneway_operator.observe.secrets import SecretNotFound, Secrets
from laneway_operator.passes.troubles import TROUBLES, finding_of
from laneway_operator.plan.status import Finding
from laneway_operator.resources.gateway_keys import HASHES, keys_secret
from laneway_operator.resources.parts import gateway_part
from laneway_operator.toolbox import Toolbox

_log = get_logger(__name__)

#: How long (s) a Secret of ours that was seen counts as there. Secrets are not watched: one that was deleted, so that
#: there be new keys, is missed within so long.
_SEEN_S: Final = 300.0
_GATEWAY: Final = ConditionType.GATEWAY_AVAILABLE


class GatewayKeysStep:
    """Makes the Secret of a queue that says nothing of authentication, once: what is there is never changed, whoever
    made it. Of a queue that names a Secret, it sees whether that can be used."""

    def __init__(self, tools: Toolbox, secrets: Secrets, clock: Callable[[], float]) -> None:
        self._tools = tools
        self._secrets = secrets
        self._clock = clock
        self._seen: dict[ObjectKey, tuple[str, int, float]] = {}

    async def __call__(self, body: Body, queue: TaskQueue) -> Finding | None:
        """What is wrong with the keys; None: nothing.

        Raises:
            NotLeading: nothing was written.
            Unreachable: the API server was not reached; the pass is to be tried again.
        """
        auth = queue.spec.gateway.auth
        try:
            if auth.keys is not None and auth.keys.secretRef is not None:
                ref = auth.keys.secretRef
                await self._secrets.values(queue.metadata.namespace, [(ref.name, ref.key)])
            elif auth.needs_own_keys:
                await self._ensure(body)
        except Forbidden as error:
            message = f"the operator may not make or get the Secret with the gateway's keys: {error.message}"
            return Finding(_GATEWAY, False, Reason.ACCESS_DENIED, message)
        except TROUBLES as error:
            return finding_of(_GATEWAY, error)
        except Unreachable as error:
            if not error.answered:
                raise
            return Finding(_GATEWAY, False, Reason.DEPENDENCY_UNAVAILABLE, str(error))
        return None

    def forget(self, key: ObjectKey) -> None:
        """The queue is gone."""
        self._seen.pop(key, None)

    async def _ensure(self, body: Body) -> None:
        key, meta = key_of(body), body["metadata"]
        uid, generation, until = self._seen.get(key, ("", 0, 0.0))
        if (uid, generation) == (meta["uid"], meta["generation"]) and self._clock() < until:
            return
        secret = ObjectKey("Secret", key.namespace, names.keys_name(key.name))
        there = await self._tools.cluster.find(secret)
        if there is None:
            try:
                await self._tools.cluster.create(keys_secret(gateway_part(body, laneway.__version__)))
            except Conflict:  # somebody else was first: the next pass looks at theirs
                return
            _log.info("made the keys of a gateway", secret=str(secret))
            self._tools.events.emit(
                body,
                EventType.NORMAL,
                Happening.KEYS_MADE,
                f"made Secret {secret.name} with a key for each role of the HTTP API",
            )
        elif HASHES not in (there.get("data") or {}):
            raise SecretNotFound(
                f"not found: key {HASHES} of Secret {secret.name} in namespace {secret.namespace}, which `laneway keys"
                " create` makes: add it, or delete the Secret so that the operator makes one"
            )
        self._seen[key] = (meta["uid"], meta["generation"], self._clock() + _SEEN_S)
