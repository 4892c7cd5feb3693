"""Types of options and arguments. Each says in its message what would be right."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from laneway.kit.ids import id_bytes
from laneway.kit.names import dns_label
from laneway.kit.quantities import duration_ms
from laneway.kit.times import moment
from laneway.model.servers import redis_url_lacks

_APP = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", re.ASCII)
_ADDRESS = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):(\d{1,5})")


class Checked(click.ParamType[Any]):
    """A type made of a function that returns the value, or raises ValueError saying what would be right."""

    def __init__(self, name: str, check: Callable[[str], Any]) -> None:
        self.name = name
        self._check = check

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The checked value; a default that is no text any more is taken as it is."""
        if not isinstance(value, str):
            return value
        try:
            return self._check(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def seconds(text: str) -> float:
    """Seconds of "2.5" or "1h30m". Raises ValueError."""
    try:
        number = float(text)
    except ValueError:
        return duration_ms(text) / 1000.0
    if not math.isfinite(number) or number < 0:
        raise ValueError(f"must be seconds from 0, or a duration such as '30s' or '1h30m', not {text!r}")
    return number


def when(text: str) -> datetime:
    """A time with its zone, or so long ago. Raises ValueError."""
    try:
        span = seconds(text)
    except ValueError:
        try:
            return moment(text)
        except ValueError as error:
            raise ValueError(f"{error}; or how long ago, such as 30m or 2h") from None
    return datetime.now(UTC) - timedelta(seconds=min(span, 3.2e9))


def task_id(text: str) -> str:
    """The text of a task id. Raises ValueError."""
    id_bytes(text)
    return text


def redis_url(text: str) -> str:
    """A URL that a Redis client takes. Raises ValueError."""
    if lacks := redis_url_lacks(text):
        better = f"; perhaps redis://{text}" if _ADDRESS.fullmatch(text) else ""
        raise ValueError(f"{lacks}{better}")
    return text


def kafka_servers(text: str) -> str:
    """Comma-separated addresses of brokers. Raises ValueError."""
    for address in text.split(","):
        match = _ADDRESS.fullmatch(address)
        if not match or not 1 <= int(match[2]) <= 65_535:
            raise ValueError(
                f"must be HOST:PORT, or several with commas between, such as kafka:9092, not {address[:60]!r}"
            )
    return text


def app_path(text: str) -> str:
    """The import path of an App. Raises ValueError."""
    if _APP.fullmatch(text):
        return text
    hint = ""
    if text.endswith(".py") or "/" in text:
        hint = "; a module is named with dots and without .py"
    elif ":" not in text and "." in text:
        hint = "; perhaps " + ":".join(text.rsplit(".", 1))
    elif text in ("list", "drain"):
        hint = f"; for workers that run: laneway workers {text}"
    raise ValueError(f"must be package.module:app, not {text[:80]!r}{hint}")


def key_value(text: str) -> tuple[str, str]:
    """The two sides of "name=value". Raises ValueError."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise ValueError(f"must be NAME=VALUE, not {text[:60]!r}")
    return name, value


def service(text: str) -> Any:
    """The Service of NAMESPACE/SERVICE. Raises ValueError."""
    from laneway.cli.portforward import service

    return service(text)


def service_text(text: str) -> str:
    """NAMESPACE/SERVICE, as it was given. Raises ValueError."""
    service(text)
    return text


def context_name(text: str) -> str:
    """A name for a context. Raises ValueError."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._@:-]{0,62}", text, re.ASCII):
        raise ValueError(
            f"must have 1 to 63 of the characters A-Z a-z 0-9 . _ @ : -, a letter or digit first, not {text[:70]!r}"
        )
    return text


def url(text: str) -> str:
    """The address of a gateway. Raises ValueError."""
    from laneway.client.http_calls import gateway_url
    from laneway.errors import ConfigError

    try:
        return gateway_url(text)
    except ConfigError as error:
        raise ValueError(str(error)) from None


def _name(text: str) -> str:
    return dns_label(text, "it")


SECONDS = Checked("duration", seconds)
MOMENT = Checked("time", moment)
WHEN = Checked("time", when)
TASK_ID = Checked("id", task_id)

REDIS_URL = Checked("url", redis_url)
KAFKA = Checked("host:port", kafka_servers)
APP = Checked("package.module:app", app_path)
KEY_VALUE = Checked("name=value", key_value)
NAME = Checked("name", _name)
URL = Checked("url", url)
CONTEXT_NAME = Checked("name", context_name)
SERVICE_TEXT = Checked("namespace/service", service_text)
SERVICE = Checked("namespace/service", service)
PORT = click.IntRange(0, 65_535)
