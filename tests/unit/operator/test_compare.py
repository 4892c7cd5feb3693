"""Whether a live object is as desired: defaults and spellings of the API server are no differences."""

from __future__ import annotations

from typing import Any

import pytest

from laneway_operator.apply.compare import differences, fingerprint

SAME: list[tuple[str, Any, Any]] = [
    ("the same", {"a": 1}, {"a": 1}),
    ("defaults that were added", {"spec": {"a": 1}}, {"spec": {"a": 1, "revisionHistoryLimit": 10}, "status": {}}),
    ("a quantity written otherwise", {"cpu": "0.5"}, {"cpu": "500m"}),
    ("a quantity in another unit", {"memory": "1024Mi"}, {"memory": "1Gi"}),
    ("a whole number as a quantity", {"cpu": 1}, {"cpu": "1000m"}),
    ("an empty map that was left out", {"emptyDir": {}}, {}),
    ("an empty list that was left out", {"env": []}, {}),
    ("an empty map that is null", {"emptyDir": {}}, {"emptyDir": None}),
    ("an empty text that was left out", {"value": ""}, {}),
    ("entries in another order", {"env": [{"name": "a"}, {"name": "b"}]}, {"env": [{"name": "b"}, {"name": "a"}]}),
    ("entries of others", {"env": [{"name": "a"}]}, {"env": [{"name": "a"}, {"name": "sidecar"}]}),
    (
        "a port's default protocol",
        {"ports": [{"containerPort": 80}]},
        {"ports": [{"containerPort": 80, "protocol": "TCP"}]},
    ),
    ("a list of texts", {"args": ["a", "b"]}, {"args": ["a", "b"]}),
]

DIFFERENT: list[tuple[str, Any, Any, list[str]]] = [
    ("another number", {"spec": {"replicas": 2}}, {"spec": {"replicas": 3}}, [".spec.replicas"]),
    ("a field that is not there", {"spec": {"replicas": 2}}, {"spec": {}}, [".spec.replicas"]),
    ("a map that is not there", {"spec": {"a": {"b": 1}}}, {"spec": {}}, [".spec.a"]),
    ("another quantity", {"cpu": "500m"}, {"cpu": "501m"}, [".cpu"]),
    ("a text that is no quantity", {"image": "a:1"}, {"image": "a:2"}, [".image"]),
    ("texts in another order", {"args": ["a", "b"]}, {"args": ["b", "a"]}, [".args[0]", ".args[1]"]),
    ("a list that grew", {"args": ["a"]}, {"args": ["a", "b"]}, [".args"]),
    ("a list that is not there", {"args": ["a"]}, {}, [".args"]),
    ("an entry that is gone", {"env": [{"name": "a", "value": "1"}]}, {"env": [{"name": "b"}]}, [".env[a]"]),
    (
        "a field of an entry",
        {"env": [{"name": "a", "value": "1"}]},
        {"env": [{"name": "b", "value": "1"}, {"name": "a", "value": "2"}]},
        [".env[a].value"],
    ),
    ("true is not 1", {"a": True}, {"a": "1"}, [".a"]),
    ("zero is not absent", {"replicas": 0}, {}, [".replicas"]),
    ("false is not absent", {"automount": False}, {}, [".automount"]),
]


@pytest.mark.parametrize(("desired", "live"), [row[1:] for row in SAME], ids=[row[0] for row in SAME])
def test_is_no_difference(desired: Any, live: Any) -> None:
    assert list(differences(desired, live)) == []


@pytest.mark.parametrize(
    ("desired", "live", "paths"), [row[1:] for row in DIFFERENT], ids=[row[0] for row in DIFFERENT]
)
def test_is_a_difference(desired: Any, live: Any, paths: list[str]) -> None:
    assert list(differences(desired, live)) == paths


def test_a_fingerprint_does_not_depend_on_the_order_of_fields_but_on_all_values() -> None:
    assert fingerprint({"a": 1, "b": {"c": 2, "d": 3}}) == fingerprint({"b": {"d": 3, "c": 2}, "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": 2})
    assert fingerprint({"a": [1, 2]}) != fingerprint({"a": [2, 1]})
