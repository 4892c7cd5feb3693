"""What an application tells of its task types: the JSON Schema of each payload, from the handler's own annotations."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from laneway.model.notes import TaskType
from laneway.model.task import TaskDef

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_REF = "#/$defs/"
#: A schema larger than this (bytes of JSON) is left out: a form can't show it anyway.
MAX_SCHEMA = 65_536


def payload_schema(arguments: type[msgspec.Struct], fn: Callable[..., Any]) -> dict[str, Any]:
    """The JSON Schema of what a handler takes: an object with a property per argument, with its default where JSON has
    it. A type that JSON Schema has no words for makes it a plain object."""
    try:
        (root,), components = msgspec.json.schema_components([arguments], ref_template=_REF + "{name}")
    except (TypeError, ValueError):
        return {"$schema": _DIALECT, "type": "object"}
    schema = dict(components.pop(root["$ref"].removeprefix(_REF)))
    schema.pop("title", None)
    for name, parameter in inspect.signature(fn).parameters.items():
        shown = schema["properties"].get(name)
        if shown is None or parameter.default is inspect.Parameter.empty:
            continue
        try:
            default = msgspec.json.decode(msgspec.json.encode(parameter.default))
        except (TypeError, ValueError, msgspec.MsgspecError):
            continue
        schema["properties"][name] = {**shown, "default": default}
    if components:
        schema["$defs"] = components
    whole = {"$schema": _DIALECT, **schema}
    return whole if len(msgspec.json.encode(whole)) <= MAX_SCHEMA else {"$schema": _DIALECT, "type": "object"}


def describe_types(
    app: str, tasks: Mapping[str, TaskDef], schema_of: Callable[[str], dict[str, Any]]
) -> list[TaskType]:
    """The types of an application, by name."""
    return [_describe(app, tasks[name], schema_of(name)) for name in sorted(tasks)]


def _describe(app: str, task: TaskDef, schema: dict[str, Any]) -> TaskType:
    defaults = {
        "priority": task.priority,
        "maxAttempts": task.max_attempts,
        "timeout": task.timeout,
        "startTimeout": task.start_timeout,
        "labels": dict(task.labels),
    }
    return TaskType(task.name, schema, task.lane, task.description, defaults, app, task.kind.value)
