"""The API server and the models take and refuse the same manifests.

Each manifest here differs from one with every field in it by one value: left out, of another type, at a bound or
beyond it. Not compared: keys of maps of labels and resources, which no schema can check, and what Kubernetes defines.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.operator.changes import LEFT_OUT, Change, Path, answers, read_from_above
from tests.operator.objects import Object, Objects, models_refuse
from tests.operator.whole import WHOLE

from crds import RESOURCES

#: For places of every type.
ANYTHING: tuple[Any, ...] = (True, 0, -1, 7, 10**12, 1.5, "", "x", "Not Right", [], {}, [{}], {"x": "y"})
#: For texts: names, durations, sizes and the like, right here and wrong there.
TEXTS = (
    *("a" * 41, "a" * 64, "a" * 254, "a-", "-a", "a.b", "a_b", "A", "ü", "a\n", " a", "a/b", "a" * 3000),
    *("0s", "1s", "1ms", "10ms", "25h", "168h", "1h30m", "30m1h", "7d", "1.5s", "90", "9999999999s", "999999999h", "s"),
    *("0", "0Ki", "64Ki", "1Ki", "1023", "16Mi", "17Mi", "1Ti", "1e3", "1.5Gi", "500m", "+5", "5 Gi", "9" * 17),
    *("k:9092", "k:0", "k:65536", "k:09", "[::1]:9092", "http://k:9092", "k:9092,l:9092"),
    *("redis://r", "redis://r:6379/0", "rediss://r", "rediss://me@r", "redis://:p@r", "rediss://me:p@r/@", "unix:///s"),
    *(
        "unix://s",
        "redis://",
        "redis:///x",
        "redis://r:0",
        "redis://r/?db=1",
        "redis://r#x",
        "redis://r/x",
        "redis://r ",
        "rediss://[::1]:1/0",
    ),
    *("m:a", "a.b:c.d", "m.py:a", "m:", "1m:a", "/data", "/a:b", "/tmp", "/tmp/x", "/tmpx", "/etc/laneway", "/"),
    *("a/b:1", "a@sha256:0f", "example.com/a", "/a", "Example.com/a", "a..b/c", "a b", "$A", "_A", "tmp"),
)


def places(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """The path of every value in a manifest's spec, and the value."""
    yield path, value
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in parts:
        yield from places(part, (*path, key))


def variants(document: Object) -> Iterator[Change]:
    """All changes of one value of a manifest."""
    schema = schema_of(document["kind"])
    seen: set[str] = set()
    for path, here in places(document["spec"]):
        bounds = at(schema, path)
        if bounds is None:
            continue
        where = ("spec", *path)
        if path:
            yield Change(where, LEFT_OUT, alone=True)
        # Places of the same schema, such as those of two pods' labels, get the same answers.
        read = read_from_above(schema, path, document["spec"])
        same = json.dumps({key: value for key, value in bounds.items() if key != "description"})
        if same in seen:
            continue
        seen.add(same)
        values = list(ANYTHING)
        if bounds.get("type") == "string" or bounds.get("x-kubernetes-int-or-string"):
            values += TEXTS
            values += bounds.get("enum", ())
        if bounds.get("type") == "integer":
            low, high = bounds["minimum"], bounds["maximum"]
            values += [low - 1, low, high, high + 1]
        if bounds.get("type") == "array":
            values += [[here[0]] * 2, [here[0]] * (bounds["maxItems"] + 1)]
        for value in values:
            # (Of a field that is unknown the server says nothing but that.)
            yield Change(where, value, alone=has_names(value), read=read)


def has_names(value: Any) -> bool:
    """True if there are fields in it."""
    return any(map(has_names, value)) if isinstance(value, list) else isinstance(value, dict) and bool(value)


def schema_of(kind: str) -> dict[str, Any]:
    """The schema of a kind's spec."""
    (resource,) = [one for one in RESOURCES if one.kind == kind]
    schema: dict[str, Any] = resource.schema()["properties"]["spec"]
    return schema


def at(schema: dict[str, Any], path: Path) -> dict[str, Any] | None:
    """The schema of a place; None inside what Kubernetes defines."""
    for key in path:
        if isinstance(key, int):
            schema = schema["items"]
        elif "additionalProperties" in schema:
            schema = schema["additionalProperties"]
        elif key in schema.get("properties", ()):
            schema = schema["properties"][key]
        else:
            return None
    return schema


@pytest.mark.parametrize("kind", WHOLE)
def test_a_manifest_with_every_field_there_is_is_taken_by_both(objects: Objects, kind: str) -> None:
    document = WHOLE[kind]
    assert models_refuse(document) is None
    assert objects.refused(document) is None
    optional = {"secretRef", "configMapRef", "tasksPerReplica", "value"}

    def check(schema: dict[str, Any], value: Any, where: str) -> None:
        if isinstance(value, list):
            merged = [entry for entry in value if isinstance(entry, dict)]
            for entry in merged:
                if "properties" in schema["items"]:
                    check(schema["items"], {**{k: v for one in merged for k, v in one.items()}, **entry}, f"{where}[]")
        elif "properties" in schema:
            missing = schema["properties"].keys() - value.keys() - optional
            assert not missing, f"{where} lacks {missing}"
            for key, part in schema["properties"].items():
                if key in value:
                    check(part, value[key], f"{where}.{key}")

    check(schema_of(kind), document["spec"], "spec")


@pytest.mark.parametrize("kind", WHOLE)
def test_the_api_server_and_the_models_agree_on_every_small_change(objects: Objects, kind: str) -> None:
    found = list(variants(WHOLE[kind]))

    said = answers(objects, WHOLE[kind], found)
    wrong = []
    for change, (models, server) in zip(found, said, strict=True):
        if (server is None) != (models is None):
            wrong.append(f"{change}: only the {'models refuse' if models else 'server refuses'} it: {models or server}")
    assert not wrong, f"{len(wrong)} of {len(found)}:\n" + "\n".join(wrong[:40])
    taken = sum(server is None for _, server in said)
    assert taken > 50 and len(said) - taken > 200, "too few to mean anything"
