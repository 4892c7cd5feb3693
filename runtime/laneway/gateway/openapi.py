"""The OpenAPI 3.1 document, built from the bodies' types."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from laneway import __version__
from laneway.gateway import bodies
from laneway.gateway.limits import GatewayLimits
from laneway.gateway.problems import MEDIA_TYPE, TYPES

_SHOWN = (
    bodies.TaskBody,
    bodies.Accepted,
    bodies.BatchAnswer,
    bodies.TaskAnswer,
    bodies.CancelAnswer,
    bodies.StatsAnswer,
    bodies.HealthAnswer,
    bodies.IndexAnswer,
    bodies.ProblemBody,
)
QUEUE = "/api/v1/queues/{queue}"
_READ = ("unknown-queue", "unavailable", "not-configured", "schema-too-new", "internal")
_BODY = ("malformed-json", "body-too-large", "unsupported-media-type", "invalid-task", "outcome-unknown")


def build_openapi(queues: Sequence[str], limits: GatewayLimits) -> dict[str, Any]:
    """The whole document."""
    _, components = msgspec.json.schema_components(_SHOWN, ref_template="#/components/schemas/{name}")
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Laneway",
            "version": __version__,
            "description": "Submit tasks to priority queues, look at them, and cancel them.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": "tasks"}, {"name": "operation"}],
        "paths": _paths(sorted(queues), limits),
        "components": {"schemas": components},
    }


def _paths(queues: list[str], limits: GatewayLimits) -> dict[str, Any]:
    queue = {
        "name": "queue", "in": "path", "required": True, "description": "the queue's name",
        "schema": {"type": "string", "examples": queues[:1]},
    }  # fmt: skip
    id = {"name": "id", "in": "path", "required": True, "schema": _task_id_schema()}
    key = {
        "name": "Idempotency-Key", "in": "header", "required": False,
        "description": "the same as the field idempotencyKey; with or without double quotes",
        "schema": {"type": "string", "minLength": 1, "maxLength": 200},
    }  # fmt: skip
    trace = {
        "name": "traceparent", "in": "header", "required": False, "description": "W3C trace context",
        "schema": {"type": "string"},
    }  # fmt: skip
    most = limits.max_batch
    submit = ("conflict", "payload-too-large", "unknown-lane", "rate-limited", "queue-full")
    return {
        f"{QUEUE}/tasks": {
            "parameters": [queue],
            "post": _operation(
                "submitTask", "Submit a task", {201: "Accepted", 200: "Accepted"}, (*_READ, *_BODY, *submit),
                body=_ref("TaskBody"), parameters=[key, trace],
                described={201: "Taken.", 200: "A duplicate: the first task of this key or id."},
            ),
        },
        f"{QUEUE}/tasks/batch": {
            "parameters": [queue],
            "post": _operation(
                "submitBatch", "Submit several tasks, each taken or refused by itself", {200: "BatchAnswer"},
                (*_READ, *_BODY, "batch-too-large"), parameters=[trace],
                body={"type": "array", "items": _ref("TaskBody"), "minItems": 1, "maxItems": most},
            ),
        },
        f"{QUEUE}/tasks/{{id}}": {
            "parameters": [queue, id],
            "get": _operation("getTask", "All that is known of a task", {200: "TaskAnswer"}, (*_READ,
            "unknown-task")),
        },
        f"{QUEUE}/tasks/{{id}}/cancel": {
            "parameters": [queue, id],
            "post": _operation(
                "cancelTask", "Cancel a task", {200: "CancelAnswer", 202: "CancelAnswer"},
                (*_READ, "unknown-task", "already-ended", "outcome-unknown"),
                described={200: "Cancelled, now or before.", 202: "It runs; its worker is asked to stop it."},
            ),
        },
        f"{QUEUE}/stats": {
            "parameters": [queue],
            "get": _operation("queueStats", "A queue's numbers now", {200: "StatsAnswer"}, _READ),
        },
        "/healthz": {"get": _health("live", "Whether every loop makes progress")},
        "/readyz": {"get": _health("ready", "Whether to send requests here")},
        "/metrics": {"get": _plain("metrics", "Prometheus metrics", "text/plain", {"type": "string"})},
        "/openapi.json": {"get": _plain("openapi", "This document", "application/json", {"type": "object"})},
        "/": {"get": _operation("index", "What there is", {200: "IndexAnswer"}, (), tag="operation")},
    }  # fmt: skip


def _operation(
    name: str,
    summary: str,
    answers: dict[int, str],
    problems: Sequence[str],
    *,
    body: dict[str, Any] | None = None,
    parameters: Sequence[dict[str, Any]] = (),
    described: dict[int, str] | None = None,
    tag: str = "tasks",
) -> dict[str, Any]:
    responses: dict[str, Any] = {
        str(status): {
            "description": (described or {}).get(status, summary + "."),
            "content": {"application/json": {"schema": _ref(schema)}},
        }
        for status, schema in answers.items()
    }
    by_status: dict[int, list[str]] = {}
    for problem in problems:
        by_status.setdefault(TYPES[problem].status, []).append(problem)
    for status in sorted(by_status):
        responses[str(status)] = _problem_response(status, by_status[status])
    operation: dict[str, Any] = {
        "operationId": name, "summary": summary, "tags": [tag], "responses": responses,
    }  # fmt: skip
    if parameters:
        operation["parameters"] = list(parameters)
    if body is not None:
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
    return operation


def _problem_response(status: int, names: Sequence[str]) -> dict[str, Any]:
    response: dict[str, Any] = {
        "description": " ".join(f"`{name}`: {TYPES[name].title}. {TYPES[name].advice}" for name in names),
        "content": {MEDIA_TYPE: {"schema": _ref("ProblemBody")}},
    }
    if status in (429, 503):
        response["headers"] = {
            "Retry-After": {"description": "whole seconds until to try again", "schema": {"type": "integer"}}
        }
    return response


def _health(name: str, summary: str) -> dict[str, Any]:
    content = {"application/json": {"schema": _ref("HealthAnswer")}}
    return {
        "operationId": name,
        "summary": summary,
        "tags": ["operation"],
        "responses": {
            "200": {"description": "Yes.", "content": content},
            "503": {"description": "No; `reasons` say why.", "content": content},
        },
    }


def _plain(name: str, summary: str, media: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {
        "operationId": name,
        "summary": summary,
        "tags": ["operation"],
        "responses": {"200": {"description": summary + ".", "content": {media: {"schema": schema}}}},
    }


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _task_id_schema() -> dict[str, Any]:
    return msgspec.json.schema(bodies.TaskId)
