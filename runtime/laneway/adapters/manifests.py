"""Reads manifests from files and folders, and finds all that is wrong with them at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from laneway.adapters.documents import BadFile, Document, FieldPath, files_in, read_documents
from laneway.adapters.explain import choice, closest, explain, path_text
from laneway.errors import ConfigError
from laneway.kit import names
from laneway.model.manifests import (
    API_VERSION,
    GROUP,
    KINDS,
    Manifest,
    Manifests,
    PriorityLane,
    QueueManifests,
    TaskQueue,
    WorkerPool,
)
from laneway.model.manifests.parts import DEFAULT_NAMESPACE
from laneway.policy.plan import problems

# What an API server writes into objects that it holds: passed over, so that exported ones can be read.
_SERVER_METADATA = (
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generation",
    "managedFields",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
)

_Key = tuple[str, str, str]  # kind, namespace, name


@dataclass(slots=True)
class _Read:
    """One manifest that was read, and where it stands. ``prefix`` is its place in a List."""

    document: Document
    prefix: FieldPath
    key: _Key
    manifest: Manifest | None  # None: it has errors


def load_manifests(paths: Sequence[Path], *, namespace: str = DEFAULT_NAMESPACE) -> Manifests:
    """Reads the manifests in files and folders (those directly in them, by name).

    ``namespace`` is that of manifests which name none. Documents of other APIs are passed over and listed in
    ``skipped``.

    Raises:
        ConfigError: anything is wrong. The message has a line for each error: file and line, number of the
        document,
            kind and name, the field, what is wrong and what would be right.
    """
    names.namespace_name(namespace)
    return _Loader(namespace).load(paths)


class _Loader:
    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self._errors: list[str] = []
        self._skipped: list[str] = []
        self._read: list[_Read] = []
        self._declared: dict[_Key, _Read] = {}

    def load(self, paths: Sequence[Path]) -> Manifests:
        for file in self._files(paths):
            for document in read_documents(file):
                if isinstance(document, BadFile):
                    self._errors.append(_located(file, document.line, document.document, "", str(document)))
                else:
                    self._take_document(document)
        queues = self._together()
        if self._errors:
            n = len(self._errors)
            raise ConfigError(f"{n} {'error' if n == 1 else 'errors'} in the manifests:\n" + "\n".join(self._errors))
        return Manifests(queues, tuple(self._skipped))

    def _files(self, paths: Sequence[Path]) -> Iterator[Path]:
        if not paths:
            self._errors.append("name at least one file or folder of manifests")
        seen: set[Path] = set()
        for path in paths:
            try:
                files = files_in(path)
            except (BadFile, OSError) as error:
                self._errors.append(f"{path}: {error.strerror if isinstance(error, OSError) else error}")
                continue
            for file in files:
                if file.resolve() not in seen:
                    seen.add(file.resolve())
                    yield file

    # -- one document

    def _take_document(self, document: Document) -> None:
        value = document.value
        if isinstance(value, dict) and value.get("apiVersion") == "v1" and value.get("kind") == "List":
            items = value.get("items")
            if not isinstance(items, list):
                self._error(document, ("items",), "", "a List has a list of objects as its items")
                return
            for i, item in enumerate(items):
                self._take(document, item, ("items", i))
            return
        self._take(document, value, ())

    def _take(self, document: Document, value: Any, prefix: FieldPath) -> None:
        if not isinstance(value, dict):
            what = f"is no object: it must be a map with apiVersion: {API_VERSION}, kind, metadata and spec"
            self._error(document, prefix, "", what)
            return
        kind, metadata = value.get("kind"), value.get("metadata")
        name = metadata.get("name") if isinstance(metadata, dict) else None
        title = " ".join(part for part in (kind, name) if isinstance(part, str))
        wrong = self._wrong_type(document, value, title)
        if wrong is None:
            return
        if wrong:
            for field, what in wrong:
                self._error(document, (*prefix, field), title, what)
            return
        model = KINDS[str(kind)]
        if not isinstance(metadata, dict):
            metadata = {}
        key = (str(kind), str(metadata.get("namespace") or self._namespace), str(name or ""))
        manifest: Manifest | None = None
        try:
            manifest = model.model_validate(self._cleaned(value))
        except ValidationError as error:
            found = explain(model, error)
            for path, what in sorted(found, key=lambda one: document.line((*prefix, *one[0]))):
                self._error(document, (*prefix, *path), title, what)
        read = _Read(document, prefix, key, manifest)
        first = self._declared.setdefault(key, read)
        if first is read:
            self._read.append(read)
        elif name:
            what = f"there is already a {kind} {name} in namespace {key[1]}: {_place(first)}; rename one of them"
            self._error(document, (*prefix, "metadata", "name"), title, what)

    def _wrong_type(self, document: Document, value: Mapping[str, Any], title: str) -> list[tuple[str, str]] | None:
        """What is wrong with apiVersion and kind. None: the object is of another API, and has been noted."""
        version, kind = value.get("apiVersion"), value.get("kind")
        known = ", ".join(KINDS)
        is_known = isinstance(kind, str) and kind in KINDS
        group = version.partition("/")[0] if isinstance(version, str) else ""
        wrong: list[tuple[str, str]] = []
        if version is None:
            wrong.append(("apiVersion", f"is missing: {API_VERSION} for {known}"))
        elif not isinstance(version, str):
            wrong.append(("apiVersion", choice(version, [API_VERSION])))
        elif version != API_VERSION:
            ours = group == GROUP or (is_known and closest(version, [API_VERSION]) is not None)
            if not ours:
                self._skipped.append(f"{document.file}: document {document.number}: {title} ({version})")
                return None
            wrong.append(("apiVersion", choice(version, [API_VERSION])))
        if kind is None:
            wrong.append(("kind", f"is missing: one of {known}"))
        elif not is_known and (version is None or group == GROUP):
            wrong.append(("kind", choice(kind, KINDS)))
        return wrong

    def _cleaned(self, value: Mapping[str, Any]) -> dict[str, Any]:
        """The object as an API server would validate it: without nulls, status and what servers write."""
        found = {k: v for k, v in _without_nulls(value).items() if k != "status"}
        metadata = found.get("metadata")
        if isinstance(metadata, dict):
            metadata = {k: v for k, v in metadata.items() if k not in _SERVER_METADATA}
            metadata.setdefault("namespace", self._namespace)
            found["metadata"] = metadata
        return found

    # -- all of them together

    def _together(self) -> tuple[QueueManifests, ...]:
        queues = [read for read in self._read if isinstance(read.manifest, TaskQueue)]
        lanes: dict[tuple[str, str], list[PriorityLane]] = {}
        pools: dict[tuple[str, str], list[WorkerPool]] = {}
        broken = False
        for read in self._read:
            if read.manifest is None:
                broken = True
            if isinstance(read.manifest, PriorityLane | WorkerPool):
                self._check_reference(read, read.manifest)
                owner = (read.key[1], read.manifest.spec.queueRef.name)
                if isinstance(read.manifest, PriorityLane):
                    lanes.setdefault(owner, []).append(read.manifest)
                else:
                    pools.setdefault(owner, []).append(read.manifest)
        if not any(key[0] == "TaskQueue" for key in self._declared) and not self._errors:
            skipped = f" ({len(self._skipped)} documents of other APIs were passed over)" if self._skipped else ""
            self._errors.append(f"there is no TaskQueue in these files{skipped}: Laneway runs nothing without one")
        found: list[QueueManifests] = []
        for read in queues:
            assert isinstance(read.manifest, TaskQueue)
            owner = (read.key[1], read.key[2])
            together = QueueManifests(read.manifest, tuple(lanes.get(owner, ())), tuple(pools.get(owner, ())))
            # With a lane that could not be read, what is said of all lanes together would mislead.
            for what in () if broken else problems(together):
                self._error(read.document, read.prefix, f"TaskQueue {read.key[2]}", what)
            found.append(together)
        return tuple(found)

    def _check_reference(self, read: _Read, manifest: PriorityLane | WorkerPool) -> None:
        wanted = manifest.spec.queueRef.name
        kind, namespace, name = read.key
        if ("TaskQueue", namespace, wanted) in self._declared:
            return
        here = sorted(key[2] for key in self._declared if key[:2] == ("TaskQueue", namespace) and key[2])
        elsewhere = [key[1] for key in self._declared if key[0] == "TaskQueue" and key[2] == wanted]
        what = f"there is no TaskQueue {wanted!r} in namespace {namespace}"
        if elsewhere:
            what += f", but one in namespace {elsewhere[0]}: a queue and what refers to it share a namespace"
        elif here:
            meant = closest(wanted, here)
            what += f"; {f'did you mean {meant}? ' if meant else ''}The queues there are: {', '.join(here)}"
        else:
            what += ", and no other: give it one"
        self._error(read.document, (*read.prefix, "spec", "queueRef", "name"), f"{kind} {name}", what)

    def _error(self, document: Document, path: FieldPath, title: str, what: str) -> None:
        where = path_text(path)
        message = f"{where}: {what}" if where else what
        self._errors.append(_located(document.file, document.line(path), document.number, title, message))


def _without_nulls(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _without_nulls(v) for k, v in value.items() if v is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value


def _place(read: _Read) -> str:
    line = read.document.line(read.prefix)
    return f"{read.document.file}{f':{line}' if line else ''}, document {read.document.number}"


def _located(file: Path, line: int, document: int, title: str, message: str) -> str:
    where = f"{file}:{line}" if line else f"{file}"
    number = f" document {document}" if document else ""
    of = f" ({title})" if title else ""
    return f"{where}:{number}{of}{':' if number or of else ''} {message}"
