"""Values of Secrets, each read by its name."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from laneway_operator.engine.cluster import Cluster
from laneway_operator.engine.errors import Forbidden
from laneway_operator.keys import ObjectKey

FRESH_S: Final = 10.0
_MOST: Final = 1_000


class SecretNotFound(Exception):
    """Secrets, or keys in them, are missing; the message names each."""


class SecretForbidden(Exception):
    """The operator may not read a Secret; the message names it and what is needed."""


class SecretNotLabelled(SecretForbidden):
    """A Secret lacks the label without which this installation uses none."""


class Secrets:
    """Reads Secrets and keeps what it read for ``FRESH_S`` seconds. ``clock`` gives seconds.

    ``label`` is one that a Secret must have, as (key, value), or nothing of it is used; None: any may be.
    """

    def __init__(self, cluster: Cluster, clock: Callable[[], float], *, label: tuple[str, str] | None = None) -> None:
        self._cluster = cluster
        self._clock = clock
        self._label = label
        self._read: dict[tuple[str, str], tuple[float, Mapping[str, bytes] | None]] = {}

    async def values(self, namespace: str, wanted: Iterable[tuple[str, str]]) -> dict[tuple[str, str], bytes]:
        """The values of (Secret, key); with an empty key, of all keys of the Secret together.

        Raises:
            SecretNotFound: one or more are not there.
            SecretForbidden: the API server does not let the operator read one.
            SecretNotLabelled: one lacks the label that all must have here.
            ClusterError: the API server refused otherwise, or was not reached.
        """
        found: dict[tuple[str, str], bytes] = {}
        missing: list[str] = []
        for name, key in wanted:
            data = await self._data(namespace, name)
            if data is None:
                what = f"Secret {name} in namespace {namespace}"
                if what not in missing:
                    missing.append(what)
            elif not key:
                found[name, key] = b"".join(part.encode() + b"\0" + data[part] + b"\0" for part in sorted(data))
            elif key not in data:
                there = ", ".join(sorted(data)) or "none"
                self._read.pop((namespace, name), None)
                missing.append(f"key {key} of Secret {name} in namespace {namespace} (its keys: {there})")
            else:
                found[name, key] = data[key]
        if missing:
            raise SecretNotFound("not found: " + "; ".join(missing))
        return found

    def forget(self, namespace: str, wanted: Iterable[tuple[str, str]]) -> None:
        """What these hold is of no use: it is read again at the next time, since somebody will correct it."""
        for name, _ in wanted:
            self._read.pop((namespace, name), None)

    async def _data(self, namespace: str, name: str) -> Mapping[str, bytes] | None:
        now = self._clock()
        known = self._read.get((namespace, name))
        if known is not None and now < known[0]:
            return known[1]
        try:
            body = await self._cluster.find(ObjectKey("Secret", namespace, name))
        except Forbidden as error:
            raise SecretForbidden(
                f"the operator may not get Secret {name} in namespace {namespace}: {error.message}"
            ) from error
        if body is not None:
            self._check_label(namespace, name, body["metadata"].get("labels") or {})
        data = None if body is None else {key: _decoded(text) for key, text in (body.get("data") or {}).items()}
        if len(self._read) >= _MOST:
            self._read.clear()
        # What is missing is looked for again at once: somebody may be making it just now.
        if data is not None:
            self._read[namespace, name] = (now + FRESH_S, data)
        else:
            self._read.pop((namespace, name), None)
        return data

    def _check_label(self, namespace: str, name: str, labels: Mapping[str, str]) -> None:
        if self._label is not None and labels.get(self._label[0]) != self._label[1]:
            self._read.pop((namespace, name), None)
            label = "=".join(self._label)
            raise SecretNotLabelled(
                f"Secret {name} in namespace {namespace} has not the label {label}, without which this installation of"
                f" the operator uses no Secret: whoever keeps it may allow it by kubectl label secret {name} {label}"
            )


def digest(values: Mapping[tuple[str, str], bytes]) -> str:
    """A short hash of values that changes when one of them does; "none" of none."""
    if not values:
        return "none"
    whole = hashlib.sha256()
    for (name, key), value in sorted(values.items()):
        for part in (name.encode(), key.encode(), value):
            whole.update(len(part).to_bytes(8, "big") + part)
    return whole.hexdigest()[:16]


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:  # the API server sees to it that this can't be
        return b""
