"""The table of routes: what each part of the API gives, and what the description says of it.

Each part has a class with ``routes()``, which gives its rows; ``gateway/app.py`` joins them. The OpenAPI document is
built from the rows' :class:`Doc`, so a route and its description can't drift apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

from laneway.gateway.endpoint import Handler

API = "/api/v1"
#: The address of one queue; ``{queue}`` is its name.
QUEUE = f"{API}/queues/{{queue}}"
TASKS = f"{QUEUE}/tasks"
TASK = f"{TASKS}/{{id}}"

#: Problems that any request on a queue may meet; the description adds them by itself.
ON_QUEUE = ("unknown-queue", "unavailable", "not-configured", "schema-too-new", "internal")
#: Problems of a request with a body that is read by ``read_form``.
WITH_BODY = ("malformed-json", "body-too-large", "unsupported-media-type", "invalid-request")
#: Problems of a submission's body.
WITH_TASK = ("malformed-json", "body-too-large", "unsupported-media-type", "invalid-task", "outcome-unknown")
#: Problems of a request that changes something.
CHANGES = ("outcome-unknown",)


@dataclass(frozen=True, slots=True)
class Content:
    """An answer that is not a JSON body of ours: its media type and schema. ``or_json`` is the type of the JSON body
    that is answered in its place to those who ask for it."""

    media: str
    schema: dict[str, Any]
    or_json: Any = None


@dataclass(frozen=True, slots=True)
class Header:
    """A header that a request may carry."""

    name: str
    description: str
    schema: dict[str, Any] = field(default_factory=lambda: {"type": "string"})


@dataclass(frozen=True, slots=True)
class Doc:
    """What the description says of a route.

    ``answers`` has the body's type by status (None: no body); ``problems`` the names of what else it may say, beside
    :data:`ON_QUEUE`, ``invalid-query`` and the refusals of authentication, which are added by themselves. ``query`` is
    the type that ``read_query`` reads; without one a query is refused. ``body`` is the type of the request's JSON
    body. ``etag``: the answer has an ETag, and If-None-Match is answered with 304. ``described`` has words for a
    status where the summary is not enough. ``links`` are OpenAPI links by status.
    """

    name: str
    summary: str
    answers: Mapping[int, Any]
    problems: Sequence[str] = ()
    query: type[msgspec.Struct] | None = None
    body: Any = None
    headers: Sequence[Header] = ()
    etag: bool = False
    described: Mapping[int, str] = field(default_factory=dict)
    tag: str = "tasks"
    links: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)


class Row(NamedTuple):
    """One route. ``permission`` is who may use it: read, submit, operate, admin, or '' for everybody."""

    method: str
    path: str
    handler: Handler
    permission: str
    doc: Doc
