"""The OpenAPI document says what the gateway does."""

import re
from typing import Any

import httpx
import pytest
from msgspec import inspect

import docs_http
from laneway.adapters.redis import RedisStore
from laneway.gateway.app import build_app
from laneway.gateway.problems import TYPES


@pytest.fixture
async def document(client: httpx.AsyncClient) -> dict[str, Any]:
    answer = await client.get("/openapi.json")
    assert answer.headers["content-type"] == "application/json"
    found: dict[str, Any] = answer.json()
    return found


def nodes(value: Any) -> list[dict[str, Any]]:
    """Every object within a JSON value."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return ([value] if isinstance(value, dict) else []) + [node for item in inner for node in nodes(item)]


async def test_the_description_is_consistent(document: dict[str, Any]) -> None:
    assert document["openapi"] == "3.1.0"
    schemas = document["components"]["schemas"]
    used = {node["$ref"] for node in nodes(document) if "$ref" in node}
    assert used <= {f"#/components/schemas/{name}" for name in schemas}
    operations = [
        (path, method, operation, item.get("parameters", []))
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method != "parameters"
    ]
    names = [operation["operationId"] for _, _, operation, _ in operations]
    assert len(names) == len(set(names))
    for path, _, operation, shared in operations:
        parameters = shared + operation.get("parameters", [])
        declared = {p["name"] for p in parameters if p["in"] == "path"}
        assert declared == set(re.findall(r"{(\w+)}", path))
        assert all(p["required"] for p in parameters if p["in"] == "path")
        assert all("schema" in p for p in parameters)
        for status, response in operation["responses"].items():
            assert re.fullmatch(r"[2-5]\d\d", status)
            assert response["description"]
            assert status in ("304", "307") or response["content"]
            if status >= "400" and operation["tags"] != ["operation"]:
                assert "application/problem+json" in response["content"]


async def test_every_route_is_described_and_every_description_has_a_route(
    store: RedisStore, document: dict[str, Any]
) -> None:
    routes = {
        (route.path, method.lower())  # type: ignore[attr-defined]
        for route in build_app({"mail": store}).routes
        for method in route.methods - {"HEAD"}  # type: ignore[attr-defined]
        if not route.path.startswith("/dashboard")  # type: ignore[attr-defined]
    }
    described = {
        (path, method) for path, item in document["paths"].items() for method in item if method != "parameters"
    }
    assert routes == described


async def test_every_problem_type_is_described(document: dict[str, Any]) -> None:
    text = str(document)
    of_no_operation = {
        "malformed-request", "head-too-large", "not-found", "method-not-allowed", "too-slow", "too-many-connections",
    }  # fmt: skip
    missing = [name for name in TYPES if f"`{name}`" not in text and name not in of_no_operation]
    assert missing == []


async def test_the_description_names_every_field_with_its_bounds(document: dict[str, Any]) -> None:
    fields = document["components"]["schemas"]["TaskBody"]["properties"]
    assert set(fields) == {
        "type", "payload", "id", "lane", "priority", "description", "tenant", "idempotencyKey", "delay",
        "runAt", "startTimeout", "timeout", "maxAttempts", "backoff", "labels",
    }  # fmt: skip
    priority = next(n for n in nodes(fields["priority"]) if n.get("type") == "integer")
    assert (priority["minimum"], priority["maximum"]) == (0, 9)
    assert document["components"]["schemas"]["TaskBody"]["required"] == ["type"]
    assert document["components"]["schemas"]["TaskBody"]["additionalProperties"] is False


async def test_the_reference_page_has_the_routes_and_problems_of_the_code(document: dict[str, Any]) -> None:
    written = docs_http.PAGE.read_text()
    assert written == docs_http.page(written), "run: python hack/docs_http.py"
    for field in document["components"]["schemas"]["TaskBody"]["properties"]:
        assert f"| `{field}` |" in written
    for name, kind in TYPES.items():
        assert f"| {kind.status} | `{name}` |" in written
    for path in document["paths"]:
        assert f"`{path}`" in written


async def test_the_index_leads_to_everything(client: httpx.AsyncClient) -> None:
    index = (await client.get("/")).json()
    assert index["queues"] == ["mail"]
    for name in ("dead", "lanes", "events"):
        where = index["links"][name].replace("{queue}", "mail")
        assert (await client.get(where, headers={"Accept": "application/json"})).status_code == 200, where
    for name in ("openapi", "health", "ready", "metrics", "whoami", "dashboard"):
        assert (await client.get(index["links"][name])).status_code == 200


def _unions(kind: inspect.Type, seen: set[Any]) -> list[inspect.UnionType]:
    """Every union within a type."""
    found: list[inspect.UnionType] = []
    if isinstance(kind, inspect.Metadata):
        return _unions(kind.type, seen)
    if isinstance(kind, inspect.UnionType):
        found.append(kind)
        inner = list(kind.types)
    elif isinstance(kind, inspect.StructType):
        if kind.cls in seen:
            return []
        seen.add(kind.cls)
        inner = [field.type for field in kind.fields]
    elif isinstance(kind, inspect.DictType):
        inner = [kind.key_type, kind.value_type]
    elif isinstance(kind, inspect.CollectionType):
        inner = [kind.item_type]
    else:
        inner = []
    return found + [union for part in inner for union in _unions(part, seen)]


def _bounded(kind: inspect.Type) -> bool:
    if isinstance(kind, inspect.Metadata):
        return _bounded(kind.type)
    names = ("min_length", "max_length", "pattern")
    return any(getattr(kind, name, None) is not None for name in names)


async def test_no_body_has_bounds_on_more_than_one_kind_within_a_union(store: RedisStore) -> None:
    """msgspec takes the bounds of a text for those of a list or map beside it, and corrupts memory: such bounds go into
    the schema alone (Meta(extra_json_schema=...)) and are checked by hand."""
    rows = build_app({"mail": store}).state.gateway.rows
    kinds = [kind for row in rows for kind in (row.doc.body, row.doc.query) if kind is not None]
    unions = [(kind, union) for kind in kinds for union in _unions(inspect.type_info(kind), set())]
    assert len(unions) > 20
    several = {
        str(union) for _, union in unions if sum(not isinstance(t, inspect.NoneType) for t in union.types) > 1
        if any(_bounded(t) for t in union.types)
    }  # fmt: skip
    assert several == set()
