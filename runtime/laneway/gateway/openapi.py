"""The OpenAPI 3.1 document, built from the rows of the routes and the bodies' types."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from laneway import __version__
from laneway.gateway import bodies
from laneway.gateway.limits import GatewayLimits
from laneway.gateway.problems import MEDIA_TYPE, TYPES
from laneway.gateway.query import query_fields, repeatable
from laneway.gateway.routing import ON_QUEUE, Content, Header, Row

_REF = "#/components/schemas/{name}"
#: What a request on a queue may be told by whoever checks its credential.
_REFUSALS = ("unauthenticated", "forbidden", "too-many-failures", "auth-unavailable")
#: What the routes are about.
TAGS = {
    "tasks": "submit tasks, look at them, change them",
    "dead letters": "tasks whose attempts are used up",
    "queues": "queues, their lanes and their workers",
    "statistics": "numbers over time, and what happens",
    "access": "who asks, and what he may do",
    "operation": "for those who run the gateway",
}
_IF_NONE_MATCH = Header("If-None-Match", "an ETag of before: 304 when nothing has changed since")
_ETAG = {"ETag": {"description": "changes when the answer does", "schema": {"type": "string"}}}


def build_openapi(
    rows: Iterable[Row], queues: Sequence[str], limits: GatewayLimits, *, secured: bool = False
) -> dict[str, Any]:
    """The whole document. ``secured``: requests need a credential here."""
    rows = list(rows)
    types: list[Any] = [bodies.ProblemBody]
    for row in rows:
        types += [kind for kind in map(_json_type, (*row.doc.answers.values(), row.doc.body)) if kind is not None]
        types += [row.doc.query] if row.doc.query is not None else []
    unique = list(dict.fromkeys(types))
    schemas, components = msgspec.json.schema_components(unique, ref_template=_REF)
    made = _Maker(dict(zip(unique, schemas, strict=True)), components, sorted(queues), limits, secured)
    paths: dict[str, dict[str, Any]] = {}
    for row in rows:
        item = paths.setdefault(row.path, {})
        shared = [made.path_parameter(row.path, name) for name in re.findall(r"{(\w+)}", row.path)]
        if shared:
            item["parameters"] = shared
        item[row.method.lower()] = made.operation(row)
    queries = {row.doc.query.__name__ for row in rows if row.doc.query is not None}
    used = [row.doc.tag for row in rows]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Laneway",
            "version": __version__,
            "description": "Submit tasks to priority queues, look at them, and change them.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": text} for name, text in TAGS.items() if name in used],
        "paths": paths,
        "components": {
            "schemas": {name: schema for name, schema in components.items() if name not in queries},
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "an API key (`lw_<id>_<secret>`), an OIDC token, or a Kubernetes service account's",
                }
            },
        },
    }


def _json_type(kind: Any) -> Any:
    """The type of an answer's JSON body; None without one."""
    return kind.or_json if isinstance(kind, Content) else kind


class _Maker:
    """Makes the parts of one document."""

    def __init__(
        self,
        schemas: Mapping[Any, dict[str, Any]],
        components: Mapping[str, Any],
        queues: list[str],
        limits: GatewayLimits,
        secured: bool,
    ) -> None:
        self._schemas = schemas
        self._components = components
        self._queues = queues
        self._limits = limits
        self._secured = secured

    def path_parameter(self, path: str, name: str) -> dict[str, Any]:
        """The part of a path in braces."""
        return {"name": name, "in": "path", "required": True, **self._path_parameter(path, name)}

    def _path_parameter(self, path: str, name: str) -> dict[str, Any]:
        match name:
            case "queue":
                names = {"enum": self._queues} if self._queues else {"minLength": 1}
                return {"description": "the queue's name", "schema": {"type": "string", **names}}
            case "id" if "/workers/" in path:
                return {"description": "an incarnation", "schema": msgspec.json.schema(bodies.WorkerId)}
            case "id":
                return {"description": "the task's id", "schema": msgspec.json.schema(bodies.TaskId)}
            case "lane":
                return {"description": "the lane's name", "schema": {"type": "string", "minLength": 1}}
        return {"description": name, "schema": {"type": "string", "minLength": 1}}

    def operation(self, row: Row) -> dict[str, Any]:
        """One method of one path."""
        doc = row.doc
        operation: dict[str, Any] = {
            "operationId": doc.name,
            "summary": doc.summary,
            "tags": [doc.tag],
            "responses": self._responses(row),
        }
        if row.permission:
            operation["description"] = f"Needs the permission `{row.permission}`."
            operation["security"] = [{"bearer": []}] if self._secured else []
        headers = [*doc.headers, *([_IF_NONE_MATCH] if doc.etag else [])]
        parameters = [
            {"name": h.name, "in": "header", "required": False, "description": h.description, "schema": h.schema}
            for h in headers
        ]
        if doc.query is not None:
            parameters += self._query(doc.query)
        if parameters:
            operation["parameters"] = parameters
        if doc.body is not None:
            schema = self._schemas[doc.body]
            if doc.body == list[bodies.TaskBody]:
                schema = {**schema, "minItems": 1, "maxItems": self._limits.max_batch}
            operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
        return operation

    def _responses(self, row: Row) -> dict[str, Any]:
        doc = row.doc
        responses: dict[str, Any] = {}
        for status, kind in doc.answers.items():
            response: dict[str, Any] = {"description": doc.described.get(status, doc.summary + ".")}
            if isinstance(kind, Content):
                response["content"] = {kind.media: {"schema": kind.schema}}
                if kind.or_json is not None:
                    response["content"]["application/json"] = {"schema": self._schemas[kind.or_json]}
            elif kind is not None:
                response["content"] = {"application/json": {"schema": self._schemas[kind]}}
            if doc.etag:
                response["headers"] = _ETAG
            if status in doc.links:
                response["links"] = doc.links[status]
            responses[str(status)] = response
        if doc.etag:
            responses["304"] = {"description": "Nothing has changed since.", "headers": _ETAG}
        by_status: dict[int, list[str]] = {}
        for name in dict.fromkeys((*doc.problems, *_shared_problems(row))):
            by_status.setdefault(TYPES[name].status, []).append(name)
        for status in sorted(by_status):
            responses[str(status)] = _problem_response(status, by_status[status])
        return responses

    def _query(self, query: type[msgspec.Struct]) -> list[dict[str, Any]]:
        properties = self._components[query.__name__]["properties"]
        parameters = []
        for name, field in query_fields(query).items():
            schema = {key: value for key, value in _not_null(properties[name]).items() if key != "description"}
            parameter: dict[str, Any] = {
                "name": name, "in": "query", "required": field.required, "description": field.right, "schema": schema,
            }  # fmt: skip
            if repeatable(field):
                parameter |= {"style": "form", "explode": True}
            parameters.append(parameter)
        return parameters


def _not_null(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of a parameter that may be left out: null is no way to do so."""
    if "anyOf" not in schema:
        found = schema
    else:
        rest = [option for option in schema["anyOf"] if option.get("type") != "null"]
        found = rest[0] if len(rest) == 1 else {"anyOf": rest}
    return {key: value for key, value in found.items() if not (key == "default" and value is None)}


def _shared_problems(row: Row) -> Sequence[str]:
    names = ["invalid-query"]
    if "{queue}" in row.path:
        names += ON_QUEUE
    if row.permission:
        names += [name for name in _REFUSALS if name in TYPES]
    return names


def _problem_response(status: int, names: Sequence[str]) -> dict[str, Any]:
    response: dict[str, Any] = {
        "description": " ".join(f"`{name}`: {TYPES[name].title}. {TYPES[name].advice}" for name in names),
        "content": {MEDIA_TYPE: {"schema": {"$ref": _REF.format(name="ProblemBody")}}},
    }
    if status in (429, 503):
        response["headers"] = {
            "Retry-After": {"description": "whole seconds until to try again", "schema": {"type": "integer"}}
        }
    return response
