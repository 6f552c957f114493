"""The ASGI application: routes, middleware, lifespan; nothing else. `serve` gives `create_app(settings)` to uvicorn."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import version as version_of
from typing import Any

import orjson
import structlog
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
from isthmus.graphql import bank_pages, playground
from isthmus.graphql.admission import Admission
from isthmus.graphql.edge import Edge, failure, http_error
from isthmus.graphql.endpoint import Endpoint
from isthmus.graphql.errors import Forbidden
from isthmus.graphql.execution import Executor
from isthmus.graphql.services import Readers, Services
from isthmus.runtime.loop_watch import LoopWatch
from isthmus.runtime.metrics_access import may_read_metrics
from isthmus.settings import Settings, SettingsError

CHECK_TIMEOUT_S = 2.0
LAG_MAX_S = 10.0
_METADATA = "/.well-known/oauth-protected-resource"

log = structlog.get_logger(__name__)

Check = Callable[[], Awaitable[dict[str, Any]]]
Door = Callable[[Request], Awaitable[Response]]


class NotReady(Exception):
    """A part is there but not fit to serve; the message says why."""


@dataclass(frozen=True)
class Running:
    """What a lifespan brings up."""

    services: Services
    checks: dict[str, Check]
    metadata: dict[str, Any]
    metadata_url: str | None = None
    webhooks: Door | None = None
    inbox_url: str | None = None
    """Where the sandbox shows what people were sent; None where there is none."""


Wiring = Callable[[Settings], AbstractAsyncContextManager[Running]]


class _Graphql:
    """The endpoint exists once the lifespan has begun; routes exist before."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await scope["app"].state.endpoint(scope, receive, send)


def create_app(settings: Settings, wiring: Wiring | None = None) -> Starlette:
    """`wiring` brings up what the API is built on; tests give their own."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with (wiring or wired)(settings) as running:
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
            Route(_METADATA, _protected_resource),
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


@asynccontextmanager
async def wired(settings: Settings) -> AsyncIterator[Running]:
    """The product itself."""
    import asyncpg
    import httpx
    from redis.asyncio import BlockingConnectionPool, Redis

    from isthmus.auth.activity import Activity
    from isthmus.auth.api_keys import ApiKeys
    from isthmus.auth.browser_sessions import BrowserSessions
    from isthmus.auth.callers import Callers
    from isthmus.auth.metadata import protected_resource_metadata, resource_of
    from isthmus.auth.session_store import RedisSessions
    from isthmus.auth.sites import Site
    from isthmus.auth.tokens import TokenVerifier
    from isthmus.domain.identifiers import uuid7_source
    from isthmus.read_models.accounts import AccountReader
    from isthmus.read_models.api_keys import ApiKeyReader, ApiKeyTable
    from isthmus.read_models.assets import AssetRegistry
    from isthmus.read_models.audit import AuditReader
    from isthmus.read_models.balance_cache import BalanceCache
    from isthmus.read_models.balances import BalanceReader
    from isthmus.read_models.bank_accounts import BankAccountReader
    from isthmus.read_models.bank_transactions import BankTransactionReader
    from isthmus.read_models.consent_feed import ConsentFeed
    from isthmus.read_models.consents import ConsentReader
    from isthmus.read_models.database import read_pool
    from isthmus.read_models.feeds import BalanceFeed
    from isthmus.read_models.health import log_health
    from isthmus.read_models.institutions import InstitutionReader
    from isthmus.read_models.journals import JournalReader
    from isthmus.read_models.log import LogReader
    from isthmus.read_models.notices import NoticeFeed, NoticeReader
    from isthmus.read_models.parked import ParkedReader
    from isthmus.read_models.payees import PayeeReader
    from isthmus.read_models.payments import PaymentReader, payment_feed_of
    from isthmus.read_models.personal_limits import LimitReader
    from isthmus.read_models.positions import ProjectionPositions, log_identity
    from isthmus.read_models.reconciliation import CaseReader
    from isthmus.read_models.sca import DeviceReader
    from isthmus.read_models.sca_apps import AppReader
    from isthmus.read_models.texts import TextReader
    from isthmus.read_models.transactions import TransactionReader
    from isthmus.runtime.banking import banking
    from isthmus.runtime.endpoints import resolve
    from isthmus.runtime.notices import notices_of
    from isthmus.runtime.payees import payee_desk
    from isthmus.runtime.payments import (
        app_desk,
        bank_paying,
        batch_desk,
        device_desk,
        limit_desk,
        parked_desk,
        payment_desk,
        sca_desk,
        transfer_above,
    )
    from isthmus.runtime.rate_limits import RateLimits
    from isthmus.runtime.trusted_documents import PublishedDocuments
    from isthmus.runtime.webhook_door import WebhookDoor
    from isthmus.runtime.wiring import write_side
    from isthmus.write_models.notice_desk import NoticeDesk

    endpoints = resolve(settings, need=("database", "redis", "issuer"))
    async with AsyncExitStack() as stack:
        pool = await read_pool(
            endpoints.database_url,
            size=settings.database.pool_size,
            statement_timeout_ms=settings.database.statement_timeout_ms,
            lock_timeout_ms=settings.database.lock_timeout_ms,
        )
        stack.push_async_callback(pool.close)
        side = await stack.enter_async_context(write_side(settings, endpoints.database_url))
        redis = Redis.from_pool(
            BlockingConnectionPool.from_url(
                endpoints.redis_url,
                max_connections=32,
                timeout=settings.redis.timeout_s,
                socket_timeout=settings.redis.timeout_s,
                socket_connect_timeout=settings.redis.timeout_s,
            )
        )
        stack.push_async_callback(redis.aclose)
        positions = ProjectionPositions(lambda: asyncpg.connect(endpoints.database_url, timeout=5))
        await positions.start()
        stack.push_async_callback(positions.aclose)
        async with pool.acquire() as connection:
            cache = BalanceCache(redis, await log_identity(connection))
        feed = BalanceFeed(pool, redis, positions, settings.api.replay_max)
        await feed.start()
        stack.push_async_callback(feed.aclose)
        consents = ConsentReader(pool, side.clock.stamp)
        consent_feed = ConsentFeed(lambda: asyncpg.connect(endpoints.database_url, timeout=5), consents)
        await consent_feed.start()
        stack.push_async_callback(consent_feed.aclose)
        payments = PaymentReader(pool, side.clock.stamp)
        payment_feed = payment_feed_of(payments, lambda: asyncpg.connect(endpoints.database_url, timeout=5))
        await payment_feed.start()
        stack.push_async_callback(payment_feed.aclose)
        notices = NoticeReader(pool)
        notice_feed = NoticeFeed(lambda: asyncpg.connect(endpoints.database_url, timeout=5), notices)
        await notice_feed.start()
        stack.push_async_callback(notice_feed.aclose)
        banks = await stack.enter_async_context(banking(settings, side, endpoints.database_url))
        payees = await stack.enter_async_context(payee_desk(settings, side, redis))
        at_banks = await stack.enter_async_context(bank_paying(settings, side))
        parked = await stack.enter_async_context(parked_desk(settings, side, at_banks))
        documents = PublishedDocuments(pool)
        await documents.start()
        stack.push_async_callback(documents.aclose)
        if not len(documents) and not settings.api.in_development:
            log.warning("no operations are published, so that every document is refused: isthmus operations publish")
        http = await stack.enter_async_context(httpx.AsyncClient(timeout=5))
        verifier = TokenVerifier(settings.issuer, endpoints.issuer_url, side.clock, http)
        await verifier.start()
        stack.push_async_callback(verifier.aclose)
        keys = ApiKeys(ApiKeyTable(pool), side.clock)
        await keys.start()
        stack.push_async_callback(keys.aclose)

        kept, sessions = RedisSessions(redis), None
        activity = Activity(kept, side.clock)
        if settings.playground_is_served:
            address = settings.playground.url or resource_of(endpoints.api_url)
            if not address:
                raise SettingsError("ISTHMUS_PLAYGROUND__URL: say where browsers find the API, or serve no playground")
            site = Site(address, endpoints.issuer_url, settings.playground.client_id)
            sessions = BrowserSessions(site, kept, side.master_key, side.clock, verifier, http)
            if site.by_name().origin in settings.sca.origins:
                sessions.also_at(site.by_name())

        async def database() -> dict[str, Any]:
            async with pool.acquire(timeout=CHECK_TIMEOUT_S) as connection:
                await connection.fetchval("select 1")
            return {}

        async def cached() -> dict[str, Any]:
            await redis.ping()
            return {}

        async def issuer() -> dict[str, Any]:
            if not verifier.ready:
                raise NotReady("its keys are not known")
            return {}

        async def tasks() -> dict[str, Any]:
            parts = (
                *side.commands.parts,
                *feed.parts,
                consent_feed.part,
                payment_feed.part,
                notice_feed.part,
                positions.part,
                documents.part,
                keys.part,
            )
            if down := [part.name for part in parts if not part.running]:
                raise NotReady(f"crashed, and waiting to be started again: {', '.join(down)}")
            return {"crashes": {part.name: part.crashes for part in parts if part.crashes}}

        async def lag_of(part: str) -> dict[str, Any]:
            health = await log_health(pool, side.clock.stamp())
            lag = getattr(health, part)
            if lag.seconds > LAG_MAX_S:
                raise NotReady(f"{lag.behind} positions and {lag.seconds:.0f} s behind the log")
            return {"position": lag.position, "behind": lag.behind, "lag_s": round(lag.seconds, 3)}

        answers = sca_desk(settings, side, at_banks)
        yield Running(
            Services(
                clock=side.clock,
                ids=uuid7_source(side.clock.now),
                verifier=Callers(verifier, keys, side.clock, activity, sessions),
                commands=side.commands,
                positions=positions,
                feed=feed,
                banking=banks.links,
                payments=payment_desk(settings, side, redis, at_banks, payees),
                parked=parked,
                payees=payees,
                sca=answers,
                devices=device_desk(settings, side),
                apps=app_desk(settings, side, answers),
                limits=limit_desk(settings, side, answers),
                transfer_above=transfer_above(settings),
                batches=batch_desk(settings, side, answers),
                consents=consent_feed,
                payment_feed=payment_feed,
                notices=NoticeDesk(side.pool, notices_of(settings, side), side.texts, uuid7_source(side.clock.now)),
                notice_feed=notice_feed,
                documents=documents,
                rates=RateLimits(redis, processes=settings.api.processes),
                read=Readers(
                    accounts=AccountReader(pool),
                    balances=BalanceReader(pool, cache, positions, side.clock.stamp),
                    transactions=TransactionReader(pool),
                    journals=JournalReader(pool),
                    audit=AuditReader(pool),
                    assets=AssetRegistry(pool),
                    texts=TextReader(pool, side.texts),
                    log=LogReader(pool),
                    api_keys=ApiKeyReader(pool, side.clock.stamp),
                    bank_accounts=BankAccountReader(pool, side.links),
                    bank_transactions=BankTransactionReader(pool, side.links),
                    consents=consents,
                    institutions=InstitutionReader(pool),
                    payments=payments,
                    parked=ParkedReader(pool, payments),
                    devices=DeviceReader(pool, side.clock.stamp),
                    payees=PayeeReader(pool, side.clock.stamp),
                    notices=notices,
                    apps=AppReader(pool, side.clock.stamp),
                    limits=LimitReader(pool, side.clock.stamp),
                    cases=CaseReader(pool),
                ),
                sessions=sessions,
            ),
            checks={
                "database": database,
                "redis": cached,
                "issuer": issuer,
                "tasks": tasks,
                "bus": lambda: lag_of("bus"),
                "projections": lambda: lag_of("projections"),
            },
            metadata=protected_resource_metadata(settings, endpoints.issuer_url, endpoints.api_url),
            metadata_url=resource_of(endpoints.api_url) + _METADATA if endpoints.api_url else None,
            webhooks=WebhookDoor(banks.webhooks, settings.banking.webhook_bytes_max),
            inbox_url=f"{endpoints.sandbox_url}/sandbox/inbox" if endpoints.sandbox_url else None,
        )
