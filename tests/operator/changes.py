"""What an API server says of thousands of small changes, asked with few requests.

A document that differs in many places is answered with an error for each place that is wrong. So changes that are to
be refused share one, and each must be refused for its own value: one that may come of another place does not count.
Those that are to be taken share a document that is taken whole, unless something further up reads their value, such as
a rule. All others, and those that a shared document leaves in doubt, are asked alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tests.operator.objects import Object, Objects, models_refuse

Path = tuple[str | int, ...]
LEFT_OUT = object()
#: Keywords that make a value's answer depend on other values beside or below it.
_BINDING = ("oneOf", "anyOf", "allOf", "not", "uniqueItems", "x-kubernetes-embedded-resource")


@dataclass(frozen=True)
class Change:
    """One value of a manifest replaced, or left out."""

    path: Path
    value: Any
    alone: bool
    """True where it would hide what is said of other changes."""
    read: bool = False
    """True where something above reads the value."""

    def __str__(self) -> str:
        where = written(self.path)
        if self.value is LEFT_OUT:
            return f"{where} left out"
        shown = repr(self.value)
        return f"{where} = {shown if len(shown) < 60 else shown[:60] + '...'}"

    def made(self, document: Object) -> Object:
        """The document with this change; all that is not on the way to the place is shared with it."""
        found = owner = dict(document)
        for key in self.path[:-1]:
            part: Any = owner[key]  # type: ignore[index]
            owner[key] = owner = dict(part) if isinstance(part, dict) else list(part)  # type: ignore[index, assignment]
        if self.value is LEFT_OUT:
            del owner[self.path[-1]]  # type: ignore[arg-type]
        else:
            owner[self.path[-1]] = self.value  # type: ignore[index]
        return found

    def meets(self, taken: set[Path], above: set[Path]) -> bool:
        """True where one of the places taken is this one, above or below it (`above`: all that are above one)."""
        return self.path in above or any(self.path[:end] in taken for end in range(1, len(self.path) + 1))


def written(path: Path) -> str:
    """A path as text, such as `spec.env.0.name`."""
    return ".".join(map(str, path))


def read_from_above(spec: dict[str, Any], path: Path, whole: Any) -> bool:
    """True if something above this place of `whole` reads its value, not only whether it is there."""
    schema, here = spec, whole
    for depth, key in enumerate(path):
        below = path[depth:]
        if any(keyword in schema for keyword in _BINDING):
            return True
        kind = schema.get("x-kubernetes-list-type")
        if kind == "set" and len(here) > 1:
            return True
        if kind == "map" and len(here) > 1 and (len(below) == 1 or below[1] in schema["x-kubernetes-list-map-keys"]):
            return True
        if any(_reads(rule["rule"], below) for rule in schema.get("x-kubernetes-validations", ())):
            return True
        here = here[key]
        if isinstance(key, int):
            schema = schema["items"]
        else:
            schema = schema.get("properties", {}).get(key) or schema["additionalProperties"]
    return False


def _reads(rule: str, below: Path) -> bool:
    """True if a rule names a place below its own, or one above or below that."""
    if "oldSelf" in rule:  # not asked of a new object
        return False
    if len(below) > 1:
        rule = re.sub(r"\bself(\.\w+)+\.exists\(key, key\.", "", rule)
    for asks, names in re.findall(r"\b(?:(has|size)\()?self((?:\.\w+\b(?!\())*)", rule):
        read = tuple(names.split(".")[1:])
        # A change leaves what is above it there and as long as it was, and its own place there.
        if (asks and len(read) < len(below)) or (asks == "has" and len(read) == len(below)):
            continue
        if all(one == other for one, other in zip(read, below, strict=False)):
            return True
    return False


def answers(objects: Objects, document: Object, changes: Sequence[Change]) -> list[tuple[str | None, str | None]]:
    """What the models and the API server say against the document with each change; None: they take it."""
    models = [models_refuse(one.made(document)) for one in changes]
    said: dict[int, str | None] = {}
    with objects.asking() as ask:

        def alone(number: int) -> None:
            answer = ask(changes[number].made(document))
            said[number] = None if answer is None else answer.message

        shared = [number for number, one in enumerate(changes) if not one.alone]
        taken = [number for number in shared if models[number] is None and not changes[number].read]
        for batch in _batches(taken, changes):
            if ask(_together(document, changes, batch)) is None:
                said.update(dict.fromkeys(batch))
            else:
                for number in batch:
                    alone(number)
        refused = [number for number in shared if models[number] is not None]
        while refused:
            left = []
            for batch in _batches(refused, changes):
                answer = ask(_together(document, changes, batch))
                wrong = {} if answer is None else answer.of_values
                for number in batch:
                    found = _reason(changes[number].path, wrong)
                    if found is not None:
                        said[number] = found
                    else:
                        left.append(number)
            # An error of the schema can hide those of rules: what is left is asked again without it.
            if len(left) == len(refused):
                break
            refused = left
        for number in range(len(changes)):
            if number not in said:
                alone(number)
    return [(models[number], said[number]) for number in range(len(changes))]


def _together(document: Object, changes: Sequence[Change], batch: Iterable[int]) -> Object:
    for number in batch:
        document = changes[number].made(document)
    return document


def _batches(numbers: Sequence[int], changes: Sequence[Change]) -> Iterator[list[int]]:
    """Changes that can share a document: no place is another's or within it."""
    left = list(numbers)
    while left:
        batch, later = list[int](), list[int]()
        taken, above = set[Path](), set[Path]()
        for number in left:
            path = changes[number].path
            if changes[number].meets(taken, above):
                later.append(number)
            else:
                batch.append(number)
                taken.add(path)
                above.update(path[:end] for end in range(1, len(path)))
        yield batch
        left = later


def _reason(path: Path, wrong: dict[str, str]) -> str | None:
    """What is said against a place or one below it."""
    where = written(path)
    return next((why for place, why in wrong.items() if place == where or place.startswith(f"{where}.")), None)
