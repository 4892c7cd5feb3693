"""Who may pass requests on: the API server, known by its front-proxy certificate.

A cluster says in the ConfigMap kube-system/extension-apiserver-authentication which authority signs that certificate,
which common names it may have, and in which headers the user stands. Those headers are believed from nobody else.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from laneway_operator.keys import Body, ObjectKey

CONFIG_MAP = ObjectKey("ConfigMap", "kube-system", "extension-apiserver-authentication")


class NoFrontProxy(Exception):
    """The ConfigMap does not say who the front proxy is; the message says what lacks."""


@dataclass(frozen=True, slots=True)
class User:
    """Who asked the API server."""

    name: str
    groups: tuple[str, ...] = ()
    extra: tuple[tuple[str, tuple[str, ...]], ...] = ()
    uid: str = ""


@dataclass(frozen=True, slots=True)
class FrontProxy:
    """What the ConfigMap says. ``names`` empty: any certificate of the authority will do."""

    ca: bytes
    names: frozenset[str]
    user_headers: tuple[str, ...]
    group_headers: tuple[str, ...]
    extra_prefixes: tuple[str, ...]
    uid_headers: tuple[str, ...] = ()

    def accepts(self, certificate: Mapping[str, Any] | None) -> bool:
        """Whether a client certificate (as ``getpeercert`` gives it; TLS has verified who signed it) is the front
        proxy's."""
        if not certificate:
            return False
        names = {value for part in certificate.get("subject", ()) for key, value in part if key == "commonName"}
        return not self.names or bool(names & self.names)

    def user(self, headers: Sequence[tuple[str, str]]) -> User | None:
        """The user that a request of the front proxy stands for; None when it names none."""
        by_name: dict[str, list[str]] = {}
        for name, value in headers:
            by_name.setdefault(name.lower(), []).append(value)
        name = _first(by_name, self.user_headers)
        if not name:
            return None
        groups = [group for header in self.group_headers for group in by_name.get(header.lower(), ())]
        extra: dict[str, list[str]] = {}
        for prefix in self.extra_prefixes:
            for header, values in by_name.items():
                if header.startswith(prefix.lower()) and len(header) > len(prefix):
                    extra.setdefault(header[len(prefix) :], []).extend(values)
        frozen = tuple((key, tuple(values)) for key, values in sorted(extra.items()))
        return User(name, tuple(groups), frozen, _first(by_name, self.uid_headers))


def front_proxy_of(config: Body | None) -> FrontProxy:
    """What the ConfigMap says.

    Raises:
        NoFrontProxy: it is missing, or does not say it.
    """
    data = (config or {}).get("data") or {}
    ca = data.get("requestheader-client-ca-file", "")
    if not ca.strip():
        raise NoFrontProxy(
            f"{CONFIG_MAP} has no requestheader-client-ca-file: the API server needs its aggregation layer"
            " (--requestheader-client-ca-file and --proxy-client-cert-file)"
        )
    users = _listed(data, "requestheader-username-headers")
    return FrontProxy(
        ca=ca.encode(),
        names=frozenset(_listed(data, "requestheader-allowed-names")),
        user_headers=users or ("X-Remote-User",),
        group_headers=_listed(data, "requestheader-group-headers"),
        extra_prefixes=_listed(data, "requestheader-extra-headers-prefix"),
        uid_headers=_listed(data, "requestheader-uid-headers"),
    )


def _listed(data: Mapping[str, str], name: str) -> tuple[str, ...]:
    text = data.get(name, "")
    if not text.strip():
        return ()
    try:
        listed = json.loads(text)
    except ValueError:
        raise NoFrontProxy(f"{CONFIG_MAP}: {name} must be a JSON list of texts, not {text[:80]!r}") from None
    if not isinstance(listed, list):
        raise NoFrontProxy(f"{CONFIG_MAP}: {name} must be a JSON list of texts, not {text[:80]!r}")
    return tuple(str(item) for item in listed)


def _first(headers: Mapping[str, list[str]], names: Sequence[str]) -> str:
    return next((values[0] for name in names if (values := headers.get(name.lower()))), "")
