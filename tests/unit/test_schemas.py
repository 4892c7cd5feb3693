"""What an application tells of its types: JSON Schemas from annotations, defaults and descriptions."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, TypedDict
from uuid import UUID

import msgspec
import pytest

from laneway import App, Context
from laneway.execute.announcer import fingerprint_of


class Size(enum.Enum):
    SMALL = "small"
    LARGE = "large"


@dataclass
class Page:
    number: int
    children: list[Page] | None = None


class Options(TypedDict):
    fast: bool


def schema_of(fn: Any) -> dict[str, Any]:
    return App("a").task(fn).schema


def test_each_argument_is_a_property_and_those_without_a_default_are_required() -> None:
    def send(
        ctx: Context, to: str, copies: Annotated[int, msgspec.Meta(ge=1, le=9)] = 2, *, urgent: bool = False
    ) -> None: ...

    assert schema_of(send) == {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {
            "to": {"type": "string"},
            "copies": {"type": "integer", "minimum": 1, "maximum": 9, "default": 2},
            "urgent": {"type": "boolean", "default": False},
        },
        "required": ["to"],
        "additionalProperties": False,
    }


def test_a_task_without_arguments_takes_an_empty_object() -> None:
    async def tick() -> None: ...

    schema = schema_of(tick)
    assert (schema["type"], schema["properties"], schema["additionalProperties"]) == ("object", {}, False)


def test_types_of_the_application_stand_in_defs_and_refer_to_each_other() -> None:
    def render(page: Page, size: Size = Size.SMALL, options: Options | None = None) -> None: ...

    schema = schema_of(render)
    assert schema["properties"]["page"] == {"$ref": "#/$defs/Page"}
    assert schema["properties"]["size"] == {"$ref": "#/$defs/Size", "default": "small"}
    assert schema["properties"]["options"]["default"] is None
    assert schema["$defs"]["Size"]["enum"] == ["large", "small"]
    assert {"$ref": "#/$defs/Page"} in [
        kind.get("items") for kind in schema["$defs"]["Page"]["properties"]["children"]["anyOf"]
    ]
    assert set(schema["$defs"]) == {"Page", "Size", "Options"}


def test_values_that_json_writes_as_text_say_so() -> None:
    def store(id: UUID, raw: bytes, at: datetime) -> None: ...

    properties = schema_of(store)["properties"]
    assert properties["id"] == {"type": "string", "format": "uuid"}
    assert properties["raw"]["contentEncoding"] == "base64"
    assert properties["at"]["type"] == "string"


def test_what_json_schema_can_not_say_is_a_plain_object() -> None:
    def count(by_number: dict[tuple[int, int], int]) -> None: ...

    assert schema_of(count)["type"] == "object"


def test_a_default_that_json_does_not_have_is_left_out() -> None:
    def wait(for_: complex | float = float("nan")) -> None: ...

    with pytest.raises(Exception, match="complex"):  # (a type that can't be sent is refused where it is defined)
        schema_of(wait)

    def every(gap: timedelta = timedelta(hours=1), factor: float = 1.5) -> None: ...

    properties = schema_of(every)["properties"]
    assert properties["factor"]["default"] == 1.5
    assert properties["gap"]["default"] == "PT3600S"


def test_types_are_told_by_name_with_lane_defaults_description_and_kind() -> None:
    app = App("shop")

    @app.task(lane="high", priority=7, max_attempts=3, timeout=30, labels={"team": "mail"})
    async def send(to: str) -> None:
        """Sends a mail.

        More about it.
        """

    @app.task(process=True)
    def bill() -> None: ...

    billing, sending = app.describe_tasks()
    assert (billing.type, billing.kind, billing.lane, billing.description) == ("bill", "process", None, "")
    assert (sending.type, sending.kind, sending.lane, sending.app) == ("send", "async", "high", "shop")
    assert sending.description == "Sends a mail."
    assert sending.defaults == {
        "priority": 7, "maxAttempts": 3, "timeout": 30, "startTimeout": 0.0, "labels": {"team": "mail"},
    }  # fmt: skip
    assert sending.schema["properties"] == {"to": {"type": "string"}}


def test_the_same_code_has_the_same_fingerprint_and_a_changed_default_another() -> None:
    def types(copies: int) -> Any:
        app = App("shop")

        @app.task
        def send(to: str, copies: int = copies) -> None: ...

        @app.task
        def bill() -> None: ...

        return app.describe_tasks()

    assert fingerprint_of(types(1)) == fingerprint_of(list(reversed(types(1))))
    assert fingerprint_of(types(1)) != fingerprint_of(types(2))
