"""Traces by OpenTelemetry, for those who have the extra ``laneway[otel]`` and say so by OTEL_* variables.

A task has one trace: who submits it writes the context of the span ``submit`` into its envelope, as a W3C traceparent,
and whoever runs it makes the rest of that trace's spans. Nothing here is imported before tracing is turned on.
"""

from __future__ import annotations

import os
import re
import sys
import threading
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import structlog
    from opentelemetry.context import Context
    from opentelemetry.trace import Span, SpanContext, TracerProvider


EXTRA = "pip install 'laneway[otel]'"
#: What the spans that a queue is about say of it (semantic conventions for messaging).
SYSTEM = "laneway"

_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})")
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_EXPORTERS = "opentelemetry_traces_exporter"
_PROTOCOLS = {"http/protobuf": "otlp_proto_http", "grpc": "otlp_proto_grpc"}


class Tracing:
    """A process's way to make spans. ``own``: the provider was made here, and is flushed and closed here."""

    def __init__(self, provider: TracerProvider, *, own: bool = False) -> None:
        self.provider = provider
        self.tracer = provider.get_tracer("laneway")
        self._own = own

    def close(self, within: float = 5.0) -> None:
        """Sends what has not been sent yet, for at most ``within`` seconds: a collector that is away holds up no end
        of a process. Of a provider that somebody else made, spans are sent and it stays open."""
        ending = getattr(self.provider, "shutdown" if self._own else "force_flush", None)
        if ending is None:
            return
        thread = threading.Thread(target=ending, name="laneway-traces", daemon=True)
        thread.start()
        thread.join(within)


def parse_traceparent(text: str | None) -> SpanContext | None:
    """The context that a traceparent names, recorded (``trace_flags.sampled``) or not; None for what is none."""
    found = _TRACEPARENT.fullmatch(text) if text is not None else None
    if found is None:
        return None
    from opentelemetry.trace import SpanContext, TraceFlags

    return SpanContext(int(found[1], 16), int(found[2], 16), is_remote=True, trace_flags=TraceFlags(int(found[3], 16)))


def is_recorded(text: str | None) -> bool:
    """Whether a traceparent says that its trace is recorded."""
    context = parse_traceparent(text)
    return context is not None and context.trace_flags.sampled


def traceparent_of(span: Span) -> str:
    """A span's context as a traceparent."""
    context = span.get_span_context()
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def trace_id_of(span: Span) -> str:
    """A span's trace id, as backends show it."""
    return f"{span.get_span_context().trace_id:032x}"


def within(context: SpanContext) -> Context:
    """What a child span takes as its ``context`` to have this one as its parent."""
    from opentelemetry.trace import NonRecordingSpan, set_span_in_context

    return set_span_in_context(NonRecordingSpan(context))


def messaging(operation: str, type: str | None, queue: str) -> dict[str, Any]:
    """The attributes of a span about a queue; ``type`` is one of the conventions' operation types, where one fits."""
    attributes = {
        "messaging.system": SYSTEM,
        "messaging.operation.name": operation,
        "messaging.destination.name": queue,
    }
    if type is not None:
        attributes["messaging.operation.type"] = type
    return attributes


def wanted(env: Mapping[str, str]) -> bool:
    """Whether these variables turn tracing on: OTEL_TRACES_EXPORTER names an exporter, or an endpoint is given."""
    if env.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporter = env.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    return exporter != "none" if exporter else any(env.get(name, "").strip() for name in _ENDPOINTS)


def present_tracing() -> Tracing | None:
    """The tracing that the application has set up by itself, as OpenTelemetry's own documentation says; None without.

    Looks only at what is imported already: an application that makes spans has the API.
    """
    api = sys.modules.get("opentelemetry.trace")
    if api is None:
        return None
    provider = api.get_tracer_provider()
    # (A ProxyTracerProvider stands for one that may come later; what is no SDK's records nothing.)
    return Tracing(provider) if hasattr(provider, "add_span_processor") else None


def start_tracing(service: str, env: Mapping[str, str] = os.environ) -> Tracing | None:
    """The tracing of one of Laneway's own processes, or None when it is off.

    What the application has set up is used as it is. Else the standard variables decide: OTEL_TRACES_EXPORTER (``otlp``
    unless given), OTEL_EXPORTER_OTLP_*, OTEL_TRACES_SAMPLER, OTEL_SERVICE_NAME (``service`` unless given),
    OTEL_RESOURCE_ATTRIBUTES, OTEL_BSP_* and OTEL_SDK_DISABLED. What is wrong with them is logged, and no process stays
    down for it.
    """
    found = present_tracing()
    if found is not None or not wanted(env):
        return found
    try:
        return _from_environment(service, env)
    except ImportError as error:
        _logger().warning(
            "no traces: OTEL_* variables ask for them, but the libraries are missing", hint=EXTRA, error=str(error)
        )
    except Exception as error:
        _logger().warning(
            "no traces: OTEL_* variables can't be used as they are", error=f"{type(error).__name__}: {error}"
        )
    return None


def preload(env: Mapping[str, str] = os.environ) -> None:
    """Imports what :func:`start_tracing` would need, and starts nothing: for a process that is about to fork."""
    if wanted(env):
        try:
            _load_exporters(env)
        except Exception as error:
            _logger().debug("no traces in children", error=str(error))  # the children say it, if they need it


def _load_exporters(env: Mapping[str, str]) -> list[Any]:
    import opentelemetry.sdk.trace.export  # noqa: F401

    names = [name.strip() for name in (env.get("OTEL_TRACES_EXPORTER", "").strip() or "otlp").split(",")]
    protocol = (
        env.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or env.get("OTEL_EXPORTER_OTLP_PROTOCOL") or "http/protobuf"
    )
    makers = []
    for name in names:
        if name == "otlp":
            if protocol not in _PROTOCOLS:
                raise ValueError(f"OTEL_EXPORTER_OTLP_PROTOCOL {protocol!r} is none of {', '.join(_PROTOCOLS)}")
            name = _PROTOCOLS[protocol]
        points = list(entry_points(group=_EXPORTERS, name=name))
        if not points:
            raise ImportError(f"no package here has the exporter {name!r}")
        makers.append(points[0].load())
    return makers


def _from_environment(service: str, env: Mapping[str, str]) -> Tracing:
    makers = _load_exporters(env)
    from opentelemetry import trace
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource
    from opentelemetry.sdk.trace import TracerProvider as SdkProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SimpleSpanProcessor

    named = env.get("OTEL_SERVICE_NAME") or "service.name=" in env.get("OTEL_RESOURCE_ATTRIBUTES", "")
    resource = Resource.create({} if named else {SERVICE_NAME: service})
    # (closed by the role, which bounds how long that takes)
    provider = SdkProvider(resource=resource, shutdown_on_exit=False)
    for make in makers:
        if make is ConsoleSpanExporter:
            provider.add_span_processor(SimpleSpanProcessor(make()))
        else:
            provider.add_span_processor(BatchSpanProcessor(make()))
    trace.set_tracer_provider(provider)
    return Tracing(provider, own=True)


def _logger() -> structlog.stdlib.BoundLogger:
    from laneway.kit.logs import get_logger  # structlog is not for those who only define and submit tasks

    return get_logger(__name__)
