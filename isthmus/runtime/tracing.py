"""OpenTelemetry behind isthmus.tracing: which traces are kept, where they go, and what may be said in them.

Imported only where an address to send to is set. Whether something is traced is decided before anything of it is: what is not costs
hardly more than where nothing is traced at all. A collector that is away costs spans, never a request: they wait in a bounded
queue that a thread of its own empties.
"""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

os.environ.setdefault("OTEL_SEMCONV_STABILITY_OPT_IN", "http,database")  # the names that will stay

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.instrumentation.asyncpg import AsyncPGInstrumentor
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.instrumentation.redis import RedisInstrumentor
from opentelemetry.instrumentation.utils import is_instrumentation_enabled, suppress_instrumentation
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import Link, SpanContext, SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send
from structlog.contextvars import get_contextvars

from isthmus import tracing
from isthmus.settings import TelemetrySettings
from isthmus.tracing import CARRIER, Origin, Value

CORRELATION = "isthmus.correlation_id"
_EXPORT_S = 3.0
_EVERY_MS = 1_000
_LINKS_MAX = 128
_STATEMENT_MAX = 1_000

#: What may leave the process. Libraries add attributes with every release; whatever is not named here stays: addresses of clients,
#: query strings, headers, and the text of exceptions are nobody's business.
_ALLOWED = frozenset({
    "http.request.method", "http.response.status_code", "http.route", "url.scheme", "network.protocol.version",
    "db.system.name", "db.namespace", "db.query.text", "db.operation.name",
    "graphql.operation.name", "graphql.operation.type", "error.type", "exception.type",
})  # fmt: skip
_OURS = "isthmus."
_POOL_RESET = "SELECT pg_advisory_unlock_all"

_propagator = TraceContextTextMapPropagator()


@contextmanager
def traced(settings: TelemetrySettings, service: str) -> Iterator[None]:
    """Traces this process until the end, and then sends what is left, for a few seconds at most."""
    assert settings.otlp_endpoint is not None, "asked for before this is imported"
    headers = {}
    if settings.otlp_authorization is not None:
        headers["authorization"] = settings.otlp_authorization.get_secret_value()
    exporter = OTLPSpanExporter(_traces_url(settings.otlp_endpoint), headers=headers, timeout=_EXPORT_S)
    about = {
        "service.name": f"isthmus-{service}",
        "service.version": version("isthmus"),
        "service.instance.id": str(uuid4()),
    }
    provider = TracerProvider(
        sampler=_Roots(),
        resource=Resource.create(about),
        shutdown_on_exit=False,
    )
    provider.add_span_processor(_Correlated())
    provider.add_span_processor(BatchSpanProcessor(_Scrubbed(exporter), schedule_delay_millis=_EVERY_MS))
    trace.set_tracer_provider(provider)
    for library in (AsyncPGInstrumentor(), RedisInstrumentor(), HTTPXClientInstrumentor()):  # type: ignore[no-untyped-call]
        library.instrument(tracer_provider=provider)
    global _choice
    _choice = _Choice(settings.sample_ratio, settings.honour_parent)
    tracing.install(_Telling(provider.get_tracer("isthmus"), _choice))
    try:
        yield
    finally:
        tracing.install(None)
        ending = threading.Thread(target=provider.shutdown, daemon=True)
        ending.start()
        ending.join(_EXPORT_S)


@dataclass(frozen=True)
class _Choice:
    """Which traces there are. A client may name its trace, but not have all of its requests traced."""

    ratio: float
    honour_parent: bool

    def takes(self, carrier: str | None = None) -> bool:
        """A request with this `traceparent`, or an operation or command of its own."""
        if self.honour_parent and carrier is not None:
            parent = trace.get_current_span(_context_of(carrier)).get_span_context()
            if parent.is_valid:
                return parent.trace_flags.sampled
        return random.random() < self.ratio


_choice = _Choice(0.0, honour_parent=False)


class ServerSpans:
    """ASGI middleware: a span for each request that is traced. Sockets have none of their own, for they live for hours: their
    operations do."""

    def __init__(self, app: ASGIApp, provider: TracerProvider | None = None) -> None:
        """`provider` is the process's, unless told."""
        self._app = app
        # Its spans of every receive and send cost more than all the others together.
        self._traced: Any = OpenTelemetryMiddleware(app, exclude_spans=["receive", "send"], tracer_provider=provider)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != "/graphql":  # any other path is a client's own text
            await self._app(scope, receive, send)
        elif _choice.takes(Headers(scope=scope).get(CARRIER)):
            await self._traced(scope, receive, send)
        else:
            with suppress_instrumentation():
                await self._app(scope, receive, send)


class _Telling:
    def __init__(self, tracer: trace.Tracer, choice: _Choice) -> None:
        self._tracer = tracer
        self._choice = choice

    @contextmanager
    def span(self, name: str, attributes: Mapping[str, Value]) -> Iterator[None]:
        if not is_instrumentation_enabled():
            yield
            return
        if not trace.get_current_span().get_span_context().is_valid and not self._choice.takes():
            with suppress_instrumentation():
                yield
            return
        with self._tracer.start_as_current_span(name, attributes=dict(attributes)) as span:
            try:
                yield
            except Exception as error:
                span.set_attribute("error.type", type(error).__name__)
                raise

    @contextmanager
    def shared(self, name: str, origins: Iterable[Origin]) -> Iterator[Mapping[str, str]]:
        sampled = list({origin: None for origin in origins if origin[0] is not None})[:_LINKS_MAX]
        if not sampled:
            with suppress_instrumentation():
                yield {}
            return
        parents = [_context_of(carrier or "") for carrier, _ in sampled]
        links = [Link(trace.get_current_span(parent).get_span_context()) for parent in parents]
        about = [{CORRELATION: correlation_id} for _, correlation_id in sampled]
        with self._tracer.start_as_current_span(name, parents[0], attributes=about[0], links=links[1:]) as first:
            first.set_attribute("isthmus.shared_by", len(sampled))
            to_first = [Link(first.get_span_context())]
            twins = [
                self._tracer.start_span(name, parent, attributes=attributes, links=to_first)
                for parent, attributes in zip(parents[1:], about[1:], strict=True)
            ]
            try:
                yield {
                    carrier or "": _carrier_of(one.get_span_context())
                    for (carrier, _), one in zip(sampled, [first, *twins], strict=True)
                }
            finally:
                for twin in twins:
                    twin.end()

    def carrier(self) -> str | None:
        context = trace.get_current_span().get_span_context()
        return _carrier_of(context) if context.is_valid and context.trace_flags.sampled else None

    def trace_id(self) -> str | None:
        context = trace.get_current_span().get_span_context()
        return trace.format_trace_id(context.trace_id) if context.is_valid else None

    def note(self, attributes: Mapping[str, Value]) -> None:
        trace.get_current_span().set_attributes(dict(attributes))


class _Roots(Sampler):
    """A trace begins with a request or a command that was chosen, never with a statement that some loop of ours asks every second."""

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,  # noqa: ARG002
        name: str,  # noqa: ARG002
        kind: SpanKind | None = None,
        attributes: Any = None,
        links: Sequence[Link] | None = None,  # noqa: ARG002
        trace_state: Any = None,  # noqa: ARG002
    ) -> SamplingResult:
        parent = trace.get_current_span(parent_context).get_span_context()
        if parent.is_valid and kind is not SpanKind.SERVER:
            keep = parent.trace_flags.sampled
        else:
            keep = kind in (SpanKind.SERVER, SpanKind.INTERNAL)
        return SamplingResult(Decision.RECORD_AND_SAMPLE if keep else Decision.DROP, attributes if keep else None)

    def get_description(self) -> str:
        return "Roots"


class _Correlated(SpanProcessor):
    """The correlation id on every span that is started while one is bound."""

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:  # noqa: ARG002
        if span.attributes is not None and CORRELATION not in span.attributes:
            bound = get_contextvars().get("correlation_id")
            if isinstance(bound, str):
                span.set_attribute(CORRELATION, bound)


class _Scrubbed(SpanExporter):
    """Hands on what is allowed. What a pool does to clean up after itself is no part of anybody's request."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        told = [_scrubbed(span) for span in spans if not _is_reset(span)]
        return self._exporter.export(told) if told else SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)


def _is_reset(span: ReadableSpan) -> bool:
    return str((span.attributes or {}).get("db.query.text", "")).startswith(_POOL_RESET)


def _scrubbed(span: ReadableSpan) -> ReadableSpan:
    return ReadableSpan(
        name=span.name,
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes=_allowed(span.attributes),
        links=span.links,
        kind=span.kind,
        status=trace.Status(span.status.status_code),  # its description holds an exception's words
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


def _allowed(attributes: Mapping[str, Any] | None) -> dict[str, Any]:
    return {
        key: value[:_STATEMENT_MAX] if isinstance(value, str) else value
        for key, value in (attributes or {}).items()
        if key in _ALLOWED or key.startswith(_OURS)
    }


def _context_of(carrier: str) -> Context:
    return _propagator.extract({CARRIER: carrier}, Context())


def _carrier_of(context: SpanContext) -> str:
    return f"00-{trace.format_trace_id(context.trace_id)}-{trace.format_span_id(context.span_id)}-{context.trace_flags:02x}"


def _traces_url(endpoint: str) -> str:
    return endpoint if urlsplit(endpoint).path.strip("/") else f"{endpoint.rstrip('/')}/v1/traces"
