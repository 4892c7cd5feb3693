"""Objects of the API server read as manifests.

The API server has checked them against the schema; what only the models can tell (two fields that do not agree
where no rule of the CRD says so) is found here, and told in a condition.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from laneway.adapters.explain import explain, path_text
from laneway.errors import ConfigError
from laneway.model.manifests import PriorityLane, TaskQueue, WorkerPool

_M = TypeVar("_M", bound=BaseModel)
_REMEMBERED: Final = 5_000


class Manifests:
    """Reads objects, and remembers what it read for as long as the object is the same."""

    def __init__(self) -> None:
        self._read: dict[tuple[str, str], tuple[int, Any]] = {}

    def queue(self, body: Mapping[str, Any]) -> TaskQueue:
        """Raises ConfigError, as do the others."""
        return self._one(TaskQueue, body)

    def lane(self, body: Mapping[str, Any]) -> PriorityLane:
        """One lane."""
        return self._one(PriorityLane, body)

    def pool(self, body: Mapping[str, Any]) -> WorkerPool:
        """One pool."""
        return self._one(WorkerPool, body)

    def _one(self, model: type[_M], body: Mapping[str, Any]) -> _M:
        metadata = body["metadata"]
        # The generation changes whenever the spec does, and not when only a status is written.
        key, generation = (model.__name__, str(metadata.get("uid"))), int(metadata.get("generation", 0))
        known = self._read.get(key)
        if known is not None and known[0] == generation:
            manifest: _M = known[1]
            return manifest
        manifest = read(model, body)
        if len(self._read) >= _REMEMBERED:
            self._read.clear()
        self._read[key] = (generation, manifest)
        return manifest


def read(model: type[_M], body: Mapping[str, Any]) -> _M:
    """One object as a manifest. Its labels and annotations are the API server's business.

    Raises:
        ConfigError: it is not a valid one; the message says which fields and what would be right.
    """
    metadata = {name: body["metadata"][name] for name in ("name", "namespace")}
    wanted = {
        "apiVersion": body["apiVersion"],
        "kind": body["kind"],
        "metadata": metadata,
        "spec": _without_nulls(body.get("spec") or {}),
    }
    try:
        return model.model_validate(wanted)
    except ValidationError as error:
        raise ConfigError(
            "; ".join(f"{path_text(path)}: {what}" if path else what for path, what in explain(model, error))
        ) from None


def _without_nulls(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _without_nulls(part) for name, part in value.items() if part is not None}
    if isinstance(value, list):
        return [_without_nulls(part) for part in value]
    return value
