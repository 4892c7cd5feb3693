"""From the manifests' models to structural OpenAPI schemas, as an API server takes them.

Pydantic's JSON schema is the input. What JSON schema can't say in an API server's dialect (references, null,
const) is rewritten; what the models mark for it (durations, sizes, words for a pattern) becomes CEL.

Durations, sizes and texts with a rule in words get CEL instead of `pattern`, since a refusal by `pattern` shows
only the regular expression.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from laneway.kit.quantities import DURATION_PATTERN, SIZE_PATTERN, size_bytes

Schema = dict[str, Any]

_COPIED = (
    "type",
    "enum",
    "pattern",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "required",
    "x-kubernetes-int-or-string",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-preserve-unknown-fields",
)
_INT32 = 2**31 - 1


def structural(model: type[BaseModel]) -> Schema:
    """The schema of a model and all its parts."""
    whole = model.model_json_schema()
    return _Converter(whole.get("$defs", {})).convert(whole)


class _Converter:
    def __init__(self, definitions: dict[str, Schema]) -> None:
        self._definitions = definitions

    def convert(self, source: Schema) -> Schema:
        source = self._resolved(source)
        found: Schema = {}
        if "description" in source:
            found["description"] = _described(source)
        found |= {key: source[key] for key in _COPIED if key in source}
        if source.get("additionalProperties") is True and "properties" in source:
            found["x-kubernetes-preserve-unknown-fields"] = True
        if found.get("type") == "integer":
            found["format"] = "int32" if source["maximum"] <= _INT32 else "int64"
        if found.get("type") == "array":
            found.setdefault("x-kubernetes-list-type", "atomic")
            found["items"] = self.convert(source["items"])
        if isinstance(source.get("additionalProperties"), dict):
            found["additionalProperties"] = self.convert(source["additionalProperties"])
        if "properties" in source:
            found["properties"] = {name: self.convert(part) for name, part in source["properties"].items()}
        rules = [*source.get("x-kubernetes-validations", ()), *_rules(source, found)]
        if rules:
            found["x-kubernetes-validations"] = rules
        return found

    def _resolved(self, source: Schema) -> Schema:
        """Without $ref, null and const. What stands beside a reference wins over what it refers to."""
        options = [option for option in source.get("anyOf", ()) if option.get("type") != "null"]
        if len(options) == 1:
            source = {**options[0], **{key: value for key, value in source.items() if key != "anyOf"}}
        if "$ref" in source:
            target = self._definitions[source["$ref"].removeprefix("#/$defs/")]
            source = {**self._resolved(target), **{key: value for key, value in source.items() if key != "$ref"}}
        if "const" in source:
            source = {**source, "enum": [source["const"]]}
        return source


def _described(source: Schema) -> str:
    """What `kubectl explain` shows. Defaults are said, not set: an API server would write them into objects."""
    text = " ".join(source["description"].split())
    default = source.get("default")
    if default is None or isinstance(default, dict | list) or source.get("enum") == [default]:
        return text
    return f"{text} Default: {str(default).lower() if isinstance(default, bool) else default}."


def _rules(source: Schema, found: Schema) -> list[dict[str, str]]:
    """CEL for what the models mark; takes `pattern` out of ``found`` where CEL says the same in words."""
    if "x-laneway-duration" in source:
        for said in ("pattern", "minLength"):
            found.pop(said)
        bounds = source["x-laneway-duration"]
        return [_rule(_duration(bounds), f"must be a duration such as '30s' or '1h30m', {_from_to(bounds, '0s')}")]
    if "x-laneway-size" in source:
        found.pop("pattern")
        bounds = source["x-laneway-size"]
        return [_rule(_size(bounds), f"must be bytes such as 65536 or '64Ki', {_from_to(bounds, '0')}")]
    if "x-laneway-says" in source:
        # The patterns of texts with a rule in words match nothing that is too short.
        found.pop("minLength")
        return [_rule(f"self.matches(r'{found.pop('pattern')}')", source["x-laneway-says"])]
    return []


def _duration(bounds: Schema) -> str:
    fits = f"duration(self) >= duration('{bounds['min']}') && duration(self) <= duration('{bounds['max']}')"
    if bounds["zero"]:
        fits = f"(duration(self) == duration('0s') || ({fits}))"
    return f"self != '' && self.matches(r'{DURATION_PATTERN}') && {fits}"


def _size(bounds: Schema) -> str:
    low, high = size_bytes(bounds["min"]), size_bytes(bounds["max"])
    number = f"self >= {low} && self <= {high}"
    quantity = f"quantity(self).compareTo(quantity('{low}')) >= 0 && quantity(self).compareTo(quantity('{high}')) <= 0"
    if bounds["zero"]:
        number = f"self == 0 || ({number})"
        quantity = f"(quantity(self).compareTo(quantity('0')) == 0 || ({quantity}))"
    return f"type(self) == int ? ({number}) : (self.matches(r'{SIZE_PATTERN}') && {quantity})"


def _from_to(bounds: Schema, zero: str) -> str:
    return f"from {bounds['min']} to {bounds['max']}" + (f", or {zero}" if bounds["zero"] else "")


def _rule(cel: str, message: str) -> dict[str, str]:
    return {"rule": cel, "message": message}
