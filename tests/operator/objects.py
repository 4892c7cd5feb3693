"""Laneway's objects on a real API server, and manifests to make them of."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from crds import RESOURCES
from laneway.model.manifests import API_VERSION, KINDS
from servers.kube_client import KubeClient, KubeError

Object = dict[str, Any]

PLURALS = {one.kind: one.plural for one in RESOURCES}


def manifest(kind: str, spec: Mapping[str, Any] | None = None, name: str = "a") -> Object:
    """A manifest; ``spec`` None leaves it out."""
    found: Object = {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}}
    return found if spec is None else {**found, "spec": dict(spec)}


def queue(name: str = "a", **spec: Any) -> Object:
    """A TaskQueue."""
    return manifest("TaskQueue", spec, name)


def lane(name: str = "a", **spec: Any) -> Object:
    """A PriorityLane of the queue q."""
    return manifest("PriorityLane", {"queueRef": {"name": "q"}, **spec}, name)


def pool(name: str = "a", **spec: Any) -> Object:
    """A WorkerPool of the queue q."""
    return manifest("WorkerPool", {"queueRef": {"name": "q"}, "app": "shop.tasks:app", **spec}, name)


def models_refuse(document: Object) -> str | None:
    """What the models say against a manifest; None: they take it."""
    try:
        KINDS[document["kind"]].model_validate(document)
    except ValidationError as error:
        return str(error)
    return None


@dataclass(frozen=True)
class Refusal:
    """What the API server says against a manifest."""

    message: str
    of_values: dict[str, str]
    """Why the value of a place (such as `spec.env.0.name`) is refused, whatever the others are."""


class Objects:
    """Laneway's objects in one namespace, checked as strictly as kubectl has it done by default."""

    def __init__(self, client: KubeClient, namespace: str) -> None:
        self.client = client
        self.namespace = namespace

    def path(self, kind: str, name: str = "") -> str:
        """The path of a kind, or of one object."""
        whole = f"/apis/{API_VERSION}/namespaces/{self.namespace}/{PLURALS[kind]}"
        return f"{whole}/{name}" if name else whole

    def create(self, document: Object, *, dry: bool = False) -> Object:
        """Creates it; ``dry``: has it checked only. Raises KubeError when it is refused."""
        query = "fieldValidation=Strict" + ("&dryRun=All" if dry else "")
        return self.client.request("POST", f"{self.path(document['kind'])}?{query}", document)

    def refused(self, document: Object) -> str | None:
        """What the API server says against a manifest; None: it takes it."""
        try:
            self.create(document, dry=True)
        except KubeError as error:
            if error.status not in (400, 422):
                raise
            return error.message
        return None

    @contextmanager
    def asking(self) -> Iterator[Callable[[Object], Refusal | None]]:
        """Has one manifest after the other checked, over one connection; the answer is None where it is taken."""
        connection = self.client.connect()
        headers = {**self.client.headers, "Content-Type": "application/json"}

        def ask(document: Object) -> Refusal | None:
            path = f"{self.path(document['kind'])}?fieldValidation=Strict&dryRun=All"
            connection.request("POST", path, json.dumps(document), headers)
            answer = connection.getresponse()
            text = answer.read().decode()
            if answer.status not in (201, 400, 422):
                raise KubeError(answer.status, answer.reason, text)
            if answer.status == 201:
                return None
            said = json.loads(text)
            causes = said.get("details", {}).get("causes", ())
            return Refusal(said["message"], {_place(one): one["message"] for one in causes if _of_a_value(one)})

        try:
            yield ask
        finally:
            connection.close()

    def update_refused(self, document: Object) -> str | None:
        """What the API server says against replacing an object of this name; None: it takes it."""
        path = self.path(document["kind"], document["metadata"]["name"])
        version = self.client.request("GET", path)["metadata"]["resourceVersion"]
        wanted = {**document, "metadata": {**document["metadata"], "resourceVersion": version}}
        try:
            self.client.request("PUT", f"{path}?fieldValidation=Strict&dryRun=All", wanted)
        except KubeError as error:
            if error.status != 422:
                raise
            return error.message
        return None


def _place(cause: Mapping[str, str]) -> str:
    return re.sub(r"\[([^]]*)\]", r".\1", cause["field"])


def _of_a_value(cause: Mapping[str, str]) -> bool:
    """False for what a rule about several values may have said: it is an object's or a list's, and may blame any."""
    if "field" not in cause:
        return False
    return cause["reason"] == "FieldValueTypeInvalid" or not re.match(
        r'Invalid value: "?(object|array)', cause["message"]
    )
