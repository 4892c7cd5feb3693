"""What all manifests are built of: the strict base model and the kinds of text that fields hold.

Fields are named as in the manifest, so that a model, its CRD and a YAML file say the same. Nothing is
converted: what was read is what is kept, and ``model_dump(exclude_unset=True)`` gives the manifest back.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from laneway.kit import quantities

GROUP: Final = "laneway.dev"
API_VERSION: Final = "laneway.dev/v1alpha1"

QUANTITY_PATTERN: Final = r"^[0-9]+(\.[0-9]{1,9})?(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$"
_QUANTITY = re.compile(QUANTITY_PATTERN, re.ASCII)


@dataclass(frozen=True)
class Rule:
    """What an API server checks of a part of a manifest, in CEL, beside what a validator checks here.

    ``message`` says what would be right; ``expression`` is CEL for a message with values in it. ``at`` is the
    field, such as ".burst", that the refusal names. A rule with ``oldSelf`` is about changes, and has no
    validator.
    """

    cel: str
    message: str
    expression: str = ""
    at: str = ""

    def schema(self) -> dict[str, str]:
        """As an entry of x-kubernetes-validations."""
        found = {"rule": self.cel, "message": self.message, "messageExpression": self.expression, "fieldPath": self.at}
        return {key: value for key, value in found.items() if value}


class Model(BaseModel):
    """A part of a manifest: unknown fields are refused, types are not guessed, nothing changes once read."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)

    RULES: ClassVar[tuple[Rule, ...]] = ()
    """What an API server checks of it, beside types and bounds."""

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        schema = handler.resolve_ref_schema(handler(core))
        if cls.RULES:
            schema["x-kubernetes-validations"] = [rule.schema() for rule in cls.RULES]
        return schema


class OpenModel(Model):
    """A part that Kubernetes defines: fields other than those named here are kept as they are, unchecked."""

    model_config = ConfigDict(extra="allow")


@dataclass(frozen=True)
class Open:
    """A map that Kubernetes defines, of at most ``most`` fields: kept as it is, unchecked."""

    most: int

    def check(self, value: dict[str, Any]) -> dict[str, Any]:
        """Raises ValueError saying what would be right."""
        if len(value) > self.most:
            raise ValueError(f"must have {self.bounds()}, not {len(value)}")
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        fields = core_schema.dict_schema(core_schema.str_schema(strict=True), core_schema.any_schema(), strict=True)
        return core_schema.no_info_after_validator_function(self.check, fields)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"type": "object", "x-kubernetes-preserve-unknown-fields": True, "maxProperties": self.most}

    def bounds(self) -> str:
        """For people."""
        return f"0 to {self.most} entries"


@dataclass(frozen=True)
class Text:
    """A text field whose values ``check`` accepts (it raises ValueError saying what would be right).

    ``pattern`` says the same for an API server, as far as a regular expression can ("": any text), and
    ``says`` what would be right ("": the pattern itself has to do). ``rules`` are more that it checks.
    """

    check: Callable[[str], str]
    pattern: str
    min_length: int
    max_length: int
    says: str = ""
    rules: tuple[Rule, ...] = ()

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, core_schema.str_schema(strict=True))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        found: dict[str, Any] = {"type": "string", "minLength": self.min_length, "maxLength": self.max_length}
        if self.pattern:
            found["pattern"] = self.pattern
        if self.says:
            found["x-laneway-says"] = self.says
        if self.rules:
            found["x-kubernetes-validations"] = [rule.schema() for rule in self.rules]
        return found

    def bounds(self) -> str:
        """For people."""
        if self.says:
            return self.says
        pattern = f", `{self.pattern}`" if self.pattern else ""
        return f"{self.min_length} to {self.max_length} characters{pattern}"


@dataclass(frozen=True)
class Duration:
    """A duration field, from ``low`` to ``high``; ``zero`` allows "0s" too, where it means something else."""

    low: str
    high: str
    zero: bool = False

    def check(self, text: str) -> str:
        """Raises ValueError saying what would be right."""
        ms = quantities.duration_ms(text)
        if self.zero and ms == 0:
            return text
        if not quantities.duration_ms(self.low) <= ms <= quantities.duration_ms(self.high):
            raise ValueError(f"must be {self.bounds()}, not {text!r}")
        return text

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, core_schema.str_schema(strict=True))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {
            "type": "string",
            "pattern": quantities.DURATION_PATTERN,
            "minLength": 2,
            "maxLength": 32,
            "x-laneway-duration": {"min": self.low, "max": self.high, "zero": self.zero},
        }

    def bounds(self) -> str:
        """For people."""
        return f"from {self.low} to {self.high}" + (", or 0s" if self.zero else "")


@dataclass(frozen=True)
class Size:
    """A size in bytes, from ``low`` to ``high``: a whole number or a quantity; ``zero`` allows 0 too."""

    low: str
    high: str
    zero: bool = False

    def check(self, value: Any) -> int | str:
        """Raises ValueError saying what would be right."""
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise ValueError("must be whole bytes or a quantity, such as 65536 or '64Ki'")
        size = quantities.size_bytes(value)
        if self.zero and size == 0:
            return value
        if not quantities.size_bytes(self.low) <= size <= quantities.size_bytes(self.high):
            raise ValueError(f"must be {self.bounds()}, not {value!r}")
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.check)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {
            "x-kubernetes-int-or-string": True,
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "pattern": quantities.SIZE_PATTERN,
            "maxLength": 20,
            "x-laneway-size": {"min": self.low, "max": self.high, "zero": self.zero},
        }

    def bounds(self) -> str:
        """For people."""
        return f"from {self.low} to {self.high}" + (", or 0" if self.zero else "")


@dataclass(frozen=True)
class Quantity:
    """An amount of a resource of a container, as Kubernetes writes it: "500m", "1.5", "2Gi" or a whole number."""

    def check(self, value: Any) -> int | str:
        """Raises ValueError saying what would be right."""
        number = isinstance(value, int) and not isinstance(value, bool) and value >= 0
        if number or (isinstance(value, str) and len(value) <= 20 and _QUANTITY.fullmatch(value)):
            assert isinstance(value, int | str)
            return value
        hint = f"; write '{value}'" if isinstance(value, float) and _QUANTITY.fullmatch(str(value)) else ""
        raise ValueError(f"must be {self.bounds()}, not {str(value)[:40]!r}{hint}")

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.check)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {
            "x-kubernetes-int-or-string": True,
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "minimum": 0,
            "pattern": QUANTITY_PATTERN,
            "maxLength": 20,
        }

    def bounds(self) -> str:
        """For people."""
        return "a quantity, such as '500m', '1.5' or '2Gi'"
