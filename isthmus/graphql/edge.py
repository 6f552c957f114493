"""Around every request: its correlation id, the headers that keep answers private, one log line, and no error that is not JSON."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any

import orjson
import structlog
from graphql import GraphQLError
from prometheus_client import Counter
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bound_contextvars

from isthmus import tracing
from isthmus.graphql.admission import UNTOLD
from isthmus.graphql.correlation import HEADER, drawn, well_formed
from isthmus.graphql.errors import BadUserInput, log_errors, shaped

log = structlog.get_logger(__name__)

_PRIVATE = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_HOST = re.compile(rb"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_HSTS = "max-age=31536000; includeSubDomains"
_PROBES = frozenset({"/livez", "/readyz", "/metrics"})
#: Anything else that a client makes up is one path to the metrics.
_PATHS = frozenset({"/graphql", "/version", *_PROBES})

_requests = Counter("isthmus_http_requests_total", "HTTP requests by path and status.", ["path", "status"])


class Edge:
    """The outermost middleware of ours."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        correlation_id = well_formed(Headers(scope=scope).get(HEADER)) or drawn()
        scope["correlation_id"] = correlation_id
        tracing.note(**{"isthmus.correlation_id": correlation_id})  # the request's own span began before it was known
        with bound_contextvars(correlation_id=correlation_id):
            if scope["type"] == "websocket":
                await self._app(scope, receive, send)
            else:
                await self._http(scope, receive, send, correlation_id)

    async def _http(self, scope: Scope, receive: Receive, send: Send, correlation_id: str) -> None:
        began, status = time.perf_counter(), 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers[HEADER] = correlation_id
                for name, value in _PRIVATE.items():
                    headers.setdefault(name, value)
                if scope["scheme"] == "https":
                    headers.setdefault("Strict-Transport-Security", _HSTS)
            await send(message)

        app = self._app if _well_addressed(scope) else failure(_MISADDRESSED, 400, correlation_id)
        try:
            await app(scope, receive, send_with_headers)
        except ClientDisconnect:
            status = 499  # nobody is there to be answered; the log line says so
        except Exception as error:
            fault = GraphQLError("", original_error=error)
            log_errors([fault], correlation_id, "http")
            if status:
                raise  # the answer was under way: only breaking the connection tells the client
            await failure(fault, 500, correlation_id)(scope, receive, send_with_headers)
        _requests.labels(scope["path"] if scope["path"] in _PATHS else "other", str(status)).inc()
        if scope["path"] not in _PROBES and UNTOLD not in scope:
            log.info(
                "request",
                method=scope["method"],
                path=scope["path"][:200],
                status=status,
                duration_ms=round((time.perf_counter() - began) * 1_000, 1),
            )


def _well_addressed(scope: Scope) -> bool:
    """RFC 9112, 3.2: one Host, and a host it is. Servers that choose differently among two are how requests are smuggled."""
    hosts = [value for name, value in scope["headers"] if name == b"host"]
    if scope["http_version"] == "1.0" and not hosts:
        return True
    return scope["http_version"] != "0.9" and len(hosts) == 1 and _HOST.fullmatch(hosts[0]) is not None


_MISADDRESSED = BadUserInput("The request must name one host.")


def failure(
    error: GraphQLError, status: int, correlation_id: str, headers: Mapping[str, str] | None = None
) -> Response:
    body: dict[str, Any] = {"errors": [shaped(error, correlation_id)], "extensions": {"correlationId": correlation_id}}
    return Response(orjson.dumps(body), status, headers=headers, media_type="application/json; charset=utf-8")


async def http_error(request: Request, error: Exception) -> Response:
    """Starlette's own 404 and 405, as JSON."""
    assert isinstance(error, HTTPException)
    sentence = {404: "There is nothing at this address.", 405: "That method is not taken here."}
    shown = BadUserInput(sentence.get(error.status_code, "The request cannot be answered."))
    return failure(shown, error.status_code, request.scope.get("correlation_id") or drawn(), error.headers)
