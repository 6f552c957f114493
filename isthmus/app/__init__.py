"""The ASGI application: routes, middleware, lifespan; nothing else. `serve` gives `create_app(settings)` to uvicorn."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version as version_of
from typing import Any

import orjson
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import Receive, Scope, Send

from isthmus import tracing
from isthmus.app.running import CHECK_TIMEOUT_S, METADATA, Check, Door, NotReady, Running, Wiring
from isthmus.graphql import bank_pages, playground
from isthmus.graphql.admission import Admission
from isthmus.graphql.edge import Edge, failure, http_error
from isthmus.graphql.endpoint import Endpoint
from isthmus.graphql.errors import Forbidden
from isthmus.graphql.execution import Executor
from isthmus.runtime.loop_watch import LoopWatch
from isthmus.runtime.metrics_access import may_read_metrics
from isthmus.settings import Settings

__all__ = ["Running", "create_app"]


class _Graphql:
    """The endpoint exists once the lifespan has begun; routes exist before."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await scope["app"].state.endpoint(scope, receive, send)


def _product() -> Wiring:
    from isthmus.app.wiring import wired  # imports that a test's own wiring does without

    return wired


def create_app(settings: Settings, wiring: Wiring | None = None) -> Starlette:
    """`wiring` brings up what the API is built on; tests give their own."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with (wiring or _product())(settings) as running:
            challenge = f'Bearer resource_metadata="{running.metadata_url}"' if running.metadata_url else "Bearer"
            app.state.running = running
            watch = LoopWatch()
            admission = Admission(settings.api.operations_max, settings.api.latency_target_s, lambda: watch.lag_s)
            executor = Executor(running.services, settings.api, admission=admission)
            app.state.endpoint = Endpoint(executor, challenge)
            with watch:
                yield

    graphql = _Graphql()
    middleware = [Middleware(Edge)]
    if tracing.on():
        from isthmus.runtime.tracing import ServerSpans

        middleware.insert(0, Middleware(ServerSpans))
    if settings.api.allowed_origins:
        middleware.append(
            Middleware(
                CORSMiddleware,
                allow_origins=settings.api.allowed_origins,
                allow_methods=["GET", "POST"],
                allow_headers=[
                    "Authorization",
                    "Content-Type",
                    "X-Isthmus-Position",
                    "X-Correlation-Id",
                    "Last-Event-ID",
                ],
                expose_headers=["X-Correlation-Id", "Retry-After"],
            )
        )
    app = Starlette(
        lifespan=lifespan,
        middleware=middleware,
        exception_handlers={HTTPException: http_error},
        routes=[
            Route("/graphql", graphql),
            WebSocketRoute("/graphql", graphql),
            Route("/livez", _livez),
            Route("/readyz", _readyz),
            Route("/metrics", _metrics),
            Route("/version", _version),
            Route("/webhooks/{provider}", _webhook, methods=["POST"]),
            Route(METADATA, _protected_resource),
            *((*playground.routes(), *bank_pages.routes()) if settings.playground_is_served else ()),
        ],
    )
    app.state.metrics_token = settings.api.metrics_token
    app.router.redirect_slashes = False  # one address, one spelling: a redirect would be neither JSON nor GraphQL
    return app


async def _livez(_: Request) -> Response:
    return _json({"status": "ok"})


async def _readyz(request: Request) -> Response:
    """Each part by itself, so that an operator sees which one it is."""
    checks: dict[str, Check] = request.app.state.running.checks
    answers = await asyncio.gather(*(_checked(check) for check in checks.values()))
    parts = dict(zip(checks, answers, strict=True))
    ready = all(part["ready"] for part in parts.values())
    return _json({"ready": ready, "parts": parts}, 200 if ready else 503)


async def _checked(check: Check) -> dict[str, Any]:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            return {"ready": True, **await check()}
    except NotReady as reason:
        return {"ready": False, "reason": str(reason)}
    except Exception as error:  # noqa: BLE001  # whatever it is, the part does not answer
        return {"ready": False, "reason": type(error).__name__}


async def _metrics(request: Request) -> Response:
    if not may_read_metrics(request, request.app.state.metrics_token):
        refusal = Forbidden("Metrics are read on this machine, or with the token that is set for them.")
        return failure(refusal, 403, request.scope["correlation_id"])
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


async def _webhook(request: Request) -> Response:
    door: Door | None = request.app.state.running.webhooks
    return Response(status_code=404) if door is None else await door(request)


async def _version(_: Request) -> Response:
    return _json({"name": "isthmus", "version": version_of("isthmus")})


async def _protected_resource(request: Request) -> Response:
    return _json(request.app.state.running.metadata)


def _json(body: dict[str, Any], status: int = 200) -> Response:
    return Response(orjson.dumps(body), status, media_type="application/json; charset=utf-8")
