"""Requests to the API server, in and out as plain JSON objects.

Each request has a time-out, is counted, and is sent once: trying again is for the pass, after a new look. Each
that writes asks the fence first.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from typing import Any, Protocol
from urllib.parse import urlencode

import aiohttp
import msgspec
from kubernetes.aio.client import ApiClient

from laneway_operator.engine.errors import ClusterError, NotFound, Unreachable, error_of
from laneway_operator.engine.fence import Fence
from laneway_operator.keys import Body, ObjectKey, Resource, key_of

APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
_JSON = "application/json"

#: A request that writes takes at most so long (s); the fence's margin is longer.
REQUEST_TIMEOUT_S = 3.0
#: A page of a list may take longer: nothing is written by it.
_LIST_TIMEOUT_S = 30.0
_PAGE = 250

Bodies = list[Body]

_decode = msgspec.json.Decoder().decode


class RequestCounter(Protocol):
    """Counts a request: ``code`` is the HTTP status, or 0 if there was no answer."""

    def __call__(self, verb: str, resource: str, code: int) -> None: ...


def _uncounted(verb: str, resource: str, code: int) -> None:
    return None


class Cluster:
    """A client for the kinds in ``resources``. It owns ``api`` and closes it."""

    def __init__(
        self,
        api: ApiClient,
        *,
        resources: Mapping[str, Resource],
        field_manager: str,
        fence: Fence,
        count: RequestCounter = _uncounted,
        timeout: float = REQUEST_TIMEOUT_S,
    ) -> None:
        self._api = api
        self._resources = resources
        self._fence = fence
        self._count = count
        self._timeout = timeout
        self._host = str(api.configuration.host).rstrip("/")
        self.field_manager = field_manager

    def resource(self, kind: str) -> Resource:
        """How ``kind`` is served. Raises KeyError for a kind that this client was not told of."""
        return self._resources[kind]

    # ------------------------------------------------------------------------------------------- reading

    async def get(self, key: ObjectKey) -> Body:
        """One object, as it is now.

        Raises:
            NotFound: it is not there.
            ClusterError: the API server refused, or was not reached.
        """
        resource = self.resource(key.kind)
        return await self._request("GET", "get", resource, resource.path(key.namespace, key.name))

    async def find(self, key: ObjectKey) -> Body | None:
        """As :meth:`get`, with None for what is not there."""
        try:
            return await self.get(key)
        except NotFound:
            return None

    async def list(self, kind: str, namespace: str = "", *, labels: str = "") -> list[Body]:
        """All objects of a kind, in one namespace or (with "") in all. Raises ClusterError."""
        found: list[Body] = []
        async for page, _ in self.pages(kind, namespace, labels=labels):
            found.extend(page)
        return found

    async def pages(
        self, kind: str, namespace: str = "", *, labels: str = "", size: int = _PAGE
    ) -> AsyncIterator[tuple[Bodies, int]]:
        """All objects of a kind, page by page, each with the resourceVersion that the whole list shows.

        Raises ClusterError; a list that takes too long ends with status 410, and must be begun again.
        """
        resource = self.resource(kind)
        query = {"limit": str(size)}
        if labels:
            query["labelSelector"] = labels
        path = resource.path(namespace)
        while True:
            answer = await self._request("GET", "list", resource, path, query=query, timeout=_LIST_TIMEOUT_S)
            meta = answer.get("metadata", {})
            for item in answer["items"]:
                item.setdefault("kind", kind)
                item.setdefault("apiVersion", resource.api_version)
            yield answer["items"], int(meta.get("resourceVersion") or 0)
            if not meta.get("continue"):
                return
            query["continue"] = meta["continue"]

    async def read_path(self, path: str) -> Body:
        """What stands at any path, such as /version. Raises ClusterError."""
        resource = Resource(path.strip("/").partition("/")[0], "", "", "", False)
        return await self._request("GET", "get", resource, path)

    # ------------------------------------------------------------------------------------------- writing

    async def apply(self, body: Body, *, force: bool = True, subresource: str = "", manager: str = "") -> Body:
        """Server-side apply: the object's fields that ``body`` names become so, and those that an earlier
        apply named and this one does not are removed. Makes the object if it is not there. The answer is the
        object as it is now. ``manager`` is the field manager in place of the client's own.

        Raises:
            NotLeading: nothing was sent.
            Conflict: another manager owns a field, and ``force`` is off.
            ClusterError: the API server refused, or was not reached (it may then have been applied).
        """
        key = key_of(body)
        resource = self.resource(key.kind)
        query = {"fieldManager": manager or self.field_manager, "force": "true" if force else "false"}
        path = resource.path(key.namespace, key.name, subresource)
        return await self._request("PATCH", "apply", resource, path, query=query, body=body, content=APPLY)

    async def patch_status(self, body: Body) -> Body:
        """Server-side apply of an object's status: ``body`` has the keys, ``metadata.name``, and ``status``."""
        return await self.apply(body, subresource="status")

    async def patch(self, key: ObjectKey, change: Body, *, subresource: str = "") -> Body:
        """A JSON merge patch; with ``metadata.resourceVersion`` in it, only if the object is still that one.

        Raises: as :meth:`apply`; Conflict when it is not that one any more.
        """
        resource = self.resource(key.kind)
        path = resource.path(key.namespace, key.name, subresource)
        query = {"fieldManager": self.field_manager}
        return await self._request("PATCH", "patch", resource, path, query=query, body=change, content=MERGE)

    async def create(self, body: Body) -> Body:
        """Makes an object that is not there. Raises Conflict (reason AlreadyExists) if it is."""
        resource = self.resource(body["kind"])
        query = {"fieldManager": self.field_manager}
        path = resource.path(body["metadata"].get("namespace", ""))
        return await self._request("POST", "create", resource, path, query=query, body=body)

    async def replace(self, body: Body) -> Body:
        """Puts an object in place of the one with the same resourceVersion. Raises Conflict if it is newer."""
        key = key_of(body)
        resource = self.resource(key.kind)
        return await self._request("PUT", "update", resource, resource.path(key.namespace, key.name), body=body)

    async def ask(self, body: Body) -> Body:
        """Makes an object that is only a question, such as a SelfSubjectAccessReview: not fenced."""
        resource = self.resource(body["kind"])
        return await self._request("POST", "create", resource, resource.path(), body=body, fenced=False)

    async def delete(self, key: ObjectKey, *, uid: str = "", propagation: str = "Background") -> bool:
        """Deletes an object, with ``uid`` only if it is still that one. Returns whether there was one.

        Raises: NotLeading; Conflict if it is another one; ClusterError.
        """
        resource = self.resource(key.kind)
        options: Body = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": propagation}
        if uid:
            options["preconditions"] = {"uid": uid}
        try:
            await self._request("DELETE", "delete", resource, resource.path(key.namespace, key.name), body=options)
        except NotFound:
            return False
        return True

    async def create_event(self, body: Body) -> Body:
        """Makes a core/v1 Event. Raises as :meth:`create`."""
        return await self.create(body)

    async def close(self) -> None:
        """Closes its connections."""
        await self._api.close()  # type: ignore[no-untyped-call]

    # ------------------------------------------------------------------------------------------- one request

    async def _request(
        self,
        method: str,
        verb: str,
        resource: Resource,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Body | None = None,
        content: str = _JSON,
        timeout: float | None = None,
        fenced: bool = True,
    ) -> Body:
        headers = {"Accept": _JSON, "Content-Type": content}
        queries: list[tuple[str, str]] = []
        url = self._host + path + (f"?{urlencode(query)}" if query else "")
        seconds = timeout or self._timeout
        writes = method != "GET" and fenced
        code = 0
        try:
            async with asyncio.timeout(seconds):
                await self._api.update_params_for_auth(headers, queries, ["BearerToken"], path, method, body)
                if writes:  # last of all, so that nothing is waited for between it and the request
                    self._fence.check()
                response = await self._api.rest_client.request(  # type: ignore[no-untyped-call]
                    method, url, headers=headers, body=body, _request_timeout=aiohttp.ClientTimeout(total=seconds)
                )
                code = int(response.status)
                text: bytes = await response.read()
        except (TimeoutError, aiohttp.ClientError, ssl.SSLError, OSError) as error:
            text_of = str(error) or type(error).__name__
            raise Unreachable(0, "Unreachable", f"{method} {path} after at most {seconds:g} s: {text_of}") from error
        finally:
            self._count(verb, resource.plural or resource.kind, code)
        return _answer(code, text, f"{method} {path}")


def _answer(code: int, text: bytes, what: str) -> Body:
    try:
        answer: Any = _decode(text) if text else {}
    except msgspec.DecodeError:
        answer = {"message": text[:200].decode(errors="replace")}
        if code < 400:
            raise ClusterError(code, "NotJSON", f"{what}: {answer['message']}") from None
    if not isinstance(answer, dict):
        raise ClusterError(code, "NotAnObject", f"{what}: {text[:200]!r}")
    if code >= 400:
        raise error_of(code, str(answer.get("reason") or code), f"{what}: {answer.get('message', '')}")
    return answer
