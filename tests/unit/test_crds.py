"""The CRDs are those that the models give, and keep to what an API server asks of a structural schema."""

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

import crds
from crds import FOLDERS, RESOURCES, Resource
from laneway.model.manifests import KINDS, STATUSES
from laneway.policy.scaling import LimitedBy

#: What a field's schema may consist of: everything else an API server refuses or ignores.
ALLOWED = {
    *("type", "format", "description", "default", "enum", "pattern", "minimum", "maximum", "minLength", "maxLength"),
    *("items", "minItems", "maxItems", "properties", "required", "additionalProperties", "maxProperties"),
    *("x-kubernetes-int-or-string", "x-kubernetes-list-type", "x-kubernetes-list-map-keys"),
    *("x-kubernetes-preserve-unknown-fields", "x-kubernetes-validations"),
}

every_kind = pytest.mark.parametrize("resource", RESOURCES, ids=[one.kind for one in RESOURCES])


def parts(schema: dict[str, Any], place: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema in a schema, with its place."""
    yield place, schema
    for name, part in schema.get("properties", {}).items():
        if (place, name) != ("", "metadata"):
            yield from parts(part, f"{place}.{name}")
    if "items" in schema:
        yield from parts(schema["items"], f"{place}[]")
    if "additionalProperties" in schema:
        yield from parts(schema["additionalProperties"], f"{place}.*")


def test_the_crds_in_the_repository_and_in_the_chart_are_those_of_the_models() -> None:
    assert crds.outdated() == [], "run make crds"
    for folder in FOLDERS:
        assert sorted(path.name for path in folder.iterdir()) == sorted(one.file for one in RESOURCES)


def test_there_is_a_crd_for_every_kind() -> None:
    assert {one.kind for one in RESOURCES} == KINDS.keys() == STATUSES.keys()


@every_kind
def test_a_crd_has_all_that_kubectl_and_autoscalers_look_for(resource: Resource) -> None:
    document = yaml.safe_load(crds.text(resource))
    spec = document["spec"]
    (version,) = spec["versions"]
    assert document["metadata"]["name"] == f"{spec['names']['plural']}.{spec['group']}"
    assert (spec["scope"], spec["names"]["categories"]) == ("Namespaced", ["laneway"])
    columns = {one["name"]: one for one in version["additionalPrinterColumns"]}
    assert {"Ready", "Age", "Reason", "Message"} <= columns.keys()
    assert [columns[name].get("priority", 0) for name in ("Ready", "Age", "Reason", "Message")] == [0, 0, 1, 1]
    assert version["subresources"].keys() == ({"status", "scale"} if resource.kind == "WorkerPool" else {"status"})


@every_kind
def test_every_value_in_a_schema_is_bounded_and_every_field_is_described(resource: Resource) -> None:
    bounds = {
        "integer": {"minimum", "maximum", "format"},
        "array": {"maxItems", "items", "x-kubernetes-list-type"},
        "string": {"maxLength"},
        "boolean": set(),
    }
    for place, schema in parts(resource.schema()):
        kind = schema.get("type")
        assert schema.keys() <= ALLOWED, place
        if not place.endswith(("[]", ".*")):
            assert schema["description"].rstrip().endswith("."), place
        if schema.get("x-kubernetes-int-or-string"):
            assert kind is None and "maxLength" in schema, place
        elif kind == "object":
            is_map = "additionalProperties" in schema or "properties" not in schema
            assert not is_map or "maxProperties" in schema, place
        elif "enum" not in schema and place not in (".apiVersion", ".kind"):
            assert bounds[kind or "none"] <= schema.keys(), place


@every_kind
def test_the_keys_of_a_list_of_named_things_are_required_of_each(resource: Resource) -> None:
    for place, schema in parts(resource.schema()):
        if schema.get("x-kubernetes-list-type") == "map":
            assert set(schema["x-kubernetes-list-map-keys"]) <= set(schema["items"]["required"]), place


def test_the_only_default_that_an_api_server_sets_is_the_number_that_the_scale_subresource_reads() -> None:
    found = [
        (one.kind, place, schema["default"])
        for one in RESOURCES
        for place, schema in parts(one.schema())
        if "default" in schema
    ]
    assert found == [("WorkerPool", ".spec.replicas", 1)]
    assert "Default: 1." in _spec("WorkerPool")["replicas"]["description"]


def test_defaults_that_are_not_set_are_told_by_the_descriptions() -> None:
    assert _spec("TaskQueue")["durability"]["description"].endswith("Default: Fast.")
    assert _spec("TaskQueue")["paused"]["description"].endswith("Default: false.")


def test_the_status_can_hold_every_limit_that_a_scaling_decision_knows() -> None:
    (pools,) = [one for one in RESOURCES if one.kind == "WorkerPool"]
    scaling = pools.schema()["properties"]["status"]["properties"]["scaling"]
    assert scaling["properties"]["limitedBy"]["enum"] == [str(limit) for limit in LimitedBy]


@every_kind
def test_every_rule_says_in_a_sentence_what_is_right_and_names_a_field_that_there_is(resource: Resource) -> None:
    rules = [
        (place, schema, rule)
        for place, schema in parts(resource.schema())
        for rule in schema.get("x-kubernetes-validations", ())
    ]
    assert len(rules) > 3
    for place, schema, rule in rules:
        assert len(rule["message"].split()) >= 4 and "\n" not in rule["message"], place
        at = schema
        for name in rule.get("fieldPath", "").split(".")[1:]:
            at = at["properties"][name]


def _spec(kind: str) -> dict[str, Any]:
    (resource,) = [one for one in RESOURCES if one.kind == kind]
    properties: dict[str, Any] = resource.schema()["properties"]["spec"]["properties"]
    return properties
