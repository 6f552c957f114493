"""The product itself: what `serve` brings up, in order, and lets go of in the opposite one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Protocol, TypeVar

import asyncpg
import httpx
import structlog
from redis.asyncio import BlockingConnectionPool, Redis

from isthmus.app.readers import readers_of
from isthmus.app.readiness import checks_of
from isthmus.app.running import METADATA, Running
from isthmus.auth.activity import Activity
from isthmus.auth.api_keys import ApiKeys
from isthmus.auth.browser_sessions import BrowserSessions
from isthmus.auth.callers import Callers
from isthmus.auth.metadata import protected_resource_metadata, resource_of
from isthmus.auth.session_store import RedisSessions
from isthmus.auth.sites import Site
from isthmus.auth.tokens import TokenVerifier
from isthmus.domain.identifiers import uuid7_source
from isthmus.graphql.services import Services
from isthmus.read_models.api_keys import ApiKeyTable
from isthmus.read_models.balance_cache import BalanceCache
from isthmus.read_models.balances import BalanceReader
from isthmus.read_models.consent_feed import ConsentFeed
from isthmus.read_models.consents import ConsentReader
from isthmus.read_models.database import read_pool
from isthmus.read_models.feeds import BalanceFeed
from isthmus.read_models.notices import NoticeFeed, NoticeReader
from isthmus.read_models.payments import PaymentReader, payment_feed_of
from isthmus.read_models.positions import ProjectionPositions, log_identity
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
from isthmus.settings import Settings, SettingsError
from isthmus.write_models.notice_desk import NoticeDesk

log = structlog.get_logger(__name__)


class _Begins(Protocol):
    async def start(self) -> None: ...
    async def aclose(self) -> None: ...


_Part = TypeVar("_Part", bound=_Begins)


async def _begun(stack: AsyncExitStack, part: _Part) -> _Part:
    await part.start()
    stack.push_async_callback(part.aclose)
    return part


@asynccontextmanager
async def wired(settings: Settings) -> AsyncIterator[Running]:
    """What answers, until the process ends."""
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
        positions = await _begun(stack, ProjectionPositions(lambda: asyncpg.connect(endpoints.database_url, timeout=5)))
        async with pool.acquire() as connection:
            balances = BalanceReader(
                pool, BalanceCache(redis, await log_identity(connection)), positions, side.clock.stamp
            )
        feed = await _begun(stack, BalanceFeed(pool, redis, positions, settings.api.replay_max))
        consents = ConsentReader(pool, side.clock.stamp)
        consent_feed = await _begun(
            stack, ConsentFeed(lambda: asyncpg.connect(endpoints.database_url, timeout=5), consents)
        )
        payments = PaymentReader(pool, side.clock.stamp)
        payment_feed = await _begun(
            stack, payment_feed_of(payments, lambda: asyncpg.connect(endpoints.database_url, timeout=5))
        )
        notices = NoticeReader(pool)
        notice_feed = await _begun(
            stack, NoticeFeed(lambda: asyncpg.connect(endpoints.database_url, timeout=5), notices)
        )
        banks = await stack.enter_async_context(banking(settings, side, endpoints.database_url))
        payees = await stack.enter_async_context(payee_desk(settings, side, redis))
        at_banks = await stack.enter_async_context(bank_paying(settings, side))
        parked = await stack.enter_async_context(parked_desk(settings, side, at_banks))
        documents = await _begun(stack, PublishedDocuments(pool))
        if not len(documents) and not settings.api.in_development:
            log.warning("no operations are published, so that every document is refused: isthmus operations publish")
        http = await stack.enter_async_context(httpx.AsyncClient(timeout=5))
        verifier = await _begun(stack, TokenVerifier(settings.issuer, endpoints.issuer_url, side.clock, http))
        keys = await _begun(stack, ApiKeys(ApiKeyTable(pool), side.clock))

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

        parts = (
            *side.commands.parts,
            *feed.parts,
            *(one.part for one in (consent_feed, payment_feed, notice_feed, positions, documents, keys)),
        )
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
                notices=NoticeDesk(
                    side.pool, notices_of(settings, side), side.texts, uuid7_source(side.clock.now), side.clock
                ),
                notice_feed=notice_feed,
                documents=documents,
                rates=RateLimits(redis, processes=settings.api.processes),
                read=readers_of(pool, side, balances, consents, payments, notices),
                sessions=sessions,
            ),
            checks=checks_of(pool, redis, verifier, side.clock, parts),
            metadata=protected_resource_metadata(settings, endpoints.issuer_url, endpoints.api_url),
            metadata_url=resource_of(endpoints.api_url) + METADATA if endpoints.api_url else None,
            webhooks=WebhookDoor(banks.webhooks, settings.banking.webhook_bytes_max),
            inbox_url=f"{endpoints.sandbox_url}/sandbox/inbox" if endpoints.sandbox_url else None,
        )
