"""`work`: relay, projections, feeds and timers of one process. Any number may run; they share the load and survive each other.

The relay is one at a time, by a lease; partitions are shared by Kafka's consumer group; timers are taken job by job. Each part is
started again by itself when it crashes. Cancelled, everything ends within a few seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from uuid import UUID

import anyio
import asyncpg
import structlog
from redis.asyncio import BlockingConnectionPool, Redis

from isthmus.integrations.bus import Broker, BusUnavailable, KafkaLogConsumer, KafkaPublisher
from isthmus.outages import DATABASE_AWAY
from isthmus.read_models.broadcaster import Broadcaster
from isthmus.read_models.positions import ProjectionPositions, log_identity
from isthmus.read_models.projector import GROUP, Projector
from isthmus.runtime.banking import Banking, banking
from isthmus.runtime.certificate_watch import watch_certificates
from isthmus.runtime.endpoints import Endpoints, resolve
from isthmus.runtime.leases import LeaseLost, Leases
from isthmus.runtime.notices import notice_timers, noticing
from isthmus.runtime.payments import Paying, paying
from isthmus.runtime.reconciliation import Reconciling, reconciling
from isthmus.runtime.tasks import Supervisor
from isthmus.runtime.waiting_watch import watch_waiting
from isthmus.runtime.wiring import WriteSide, write_side
from isthmus.runtime.work_health import Health
from isthmus.settings import Settings
from isthmus.write_models.bank_mirror import SYNC_LINK
from isthmus.write_models.bank_upkeep import BankUpkeep
from isthmus.write_models.findings import verify_whole
from isthmus.write_models.holds import expire_due_holds, expire_hold
from isthmus.write_models.institutions import refresh_if_due
from isthmus.write_models.notice_consumer import GROUP as NOTICES
from isthmus.write_models.notice_consumer import NoticeConsumer
from isthmus.write_models.pay_ins import LOOK_FOR_PAY_IN
from isthmus.write_models.payments import ADVANCE_PAYMENT, DELIVER_CODE
from isthmus.write_models.relay import Fenced, Relay
from isthmus.write_models.timers import (
    EXPIRE_HOLD,
    Schedule,
    Timers,
    every_minutes,
    every_seconds,
    make_partitions,
)
from isthmus.write_models.watch import Watch
from isthmus.write_models.webhooks import WORK_OFF

RELAY = "relay"
VERIFIER = "verifier"
_CLOSE_S = 2.0
_TIMERS_AFTER_S = 2.0
_READ_AGAIN = timedelta(seconds=1)
_SERVER = {
    # A plan made while the tables were empty would scan them for ever.
    "plan_cache_mode": "force_custom_plan",
    "application_name": "isthmus work",
    "statement_timeout": "30000",
    "lock_timeout": "10000",
    "idle_in_transaction_session_timeout": "10000",
}

log = structlog.get_logger(__name__)


async def run(settings: Settings) -> None:
    """Until cancelled. Raises where the database cannot be reached at the start."""
    endpoints = resolve(settings, need=("database", "redis", "kafka"))
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(_pool(endpoints))
        redis = await stack.enter_async_context(_redis(settings, endpoints))
        side = await stack.enter_async_context(write_side(settings, endpoints.database_url))
        banks = await stack.enter_async_context(banking(settings, side, endpoints.database_url))
        pays = await stack.enter_async_context(paying(settings, side))
        tells = await stack.enter_async_context(noticing(settings, side))
        books = await stack.enter_async_context(reconciling(settings, side))
        positions = ProjectionPositions(lambda: _connect(endpoints))
        await positions.start()
        stack.push_async_callback(positions.aclose)
        async with pool.acquire() as connection:
            identity = await log_identity(connection)
            await make_partitions(connection, settings.work.partitions_ahead_months, side.clock.stamp())
        broker = _broker(settings, endpoints)
        broadcaster = Broadcaster(redis, identity, positions.known)
        projector = Projector(pool, lambda: KafkaLogConsumer(broker, GROUP), (BusUnavailable,), broadcaster.applied)
        noticed = NoticeConsumer(
            tells.notices, lambda: KafkaLogConsumer(broker, NOTICES, patient=True), (BusUnavailable,), identity
        )
        supervisor = Supervisor()
        supervisor.add("relay", lambda: _relay(settings, endpoints, broker, pool), (*DATABASE_AWAY, LeaseLost, Fenced))
        supervisor.add("projector", projector.run, DATABASE_AWAY)
        supervisor.add("feeds", broadcaster.run)
        supervisor.add("notifications", noticed.run, DATABASE_AWAY)
        sending = notice_timers(lambda: _connect(endpoints), tells)
        supervisor.add("notification timers", lambda: _later(sending), DATABASE_AWAY)
        supervisor.add("timers", lambda: _later(_timers(settings, endpoints, side, banks, pays, books)), DATABASE_AWAY)
        supervisor.add("verifier", lambda: _watch(settings, endpoints, pool), (*DATABASE_AWAY, LeaseLost))
        health = Health(settings, pool, redis, supervisor, projector, side.clock.stamp)
        supervisor.add("lag", health.watch_lag, DATABASE_AWAY)
        supervisor.add("health", health.serve)
        supervisor.add("cases", books.tell, DATABASE_AWAY)
        supervisor.add("waiting", lambda: watch_waiting(pool, side.clock.stamp), DATABASE_AWAY)
        if settings.secrets.certificates:
            supervisor.add("certificates", lambda: watch_certificates(settings.secrets.certificates, side.clock))
        log.info("work begins", database=identity)
        await supervisor.run()


async def _relay(settings: Settings, endpoints: Endpoints, broker: Broker, pool: asyncpg.Pool[asyncpg.Record]) -> None:
    publisher = KafkaPublisher(broker)
    relay = Relay(lambda: _connect(endpoints), publisher, (BusUnavailable,), settings.work.relay_batch)
    try:
        await Leases(pool).while_held(RELAY, relay.run)
    finally:
        with anyio.move_on_after(_CLOSE_S, shield=True):
            await publisher.aclose()


async def _watch(settings: Settings, endpoints: Endpoints, pool: asyncpg.Pool[asyncpg.Record]) -> None:
    watch = Watch(
        lambda: _connect(endpoints), settings.work.verify_sweep_events, settings.work.verify_every_minutes * 60.0
    )
    await Leases(pool).while_held(VERIFIER, lambda _: watch.run())


async def _later(timers: Timers) -> None:
    """Its library takes a moment to import, and a start is when others are waited for."""
    await asyncio.sleep(_TIMERS_AFTER_S)
    await timers.run()


def _timers(
    settings: Settings, endpoints: Endpoints, side: WriteSide, banks: Banking, pays: Paying, books: Reconciling
) -> Timers:
    told = settings.banking
    upkeep = BankUpkeep(banks.pool, side.commands, banks.providers, banks.mirror, side.clock)

    async def expire(payload: bytes | None) -> None:
        assert payload is not None, "the payload is the hold's id"
        await expire_hold(side.commands, UUID(payload.decode()))

    async def sync(payload: bytes | None) -> None:
        assert payload is not None, "the payload is the consent's id"
        consent_id, _, attended = payload.decode().partition(" ")
        if await banks.sync.run(UUID(consent_id), attended=bool(attended)) == "busy":
            # Somebody reads it right now, and may be past what this is about.
            await banks.mirror.want_sync(UUID(consent_id), attended=bool(attended), after=_READ_AGAIN)

    async def work_off(payload: bytes | None) -> None:
        assert payload is not None, "the payload is the webhook's number"
        await banks.webhooks.work_off(int(payload))

    async def advance(payload: bytes | None) -> None:
        assert payload is not None, "the payload is the payment's id"
        payment_id, _, told = payload.decode().partition(" ")
        await pays.saga.advance(UUID(payment_id), told or None)

    async def deliver(payload: bytes | None) -> None:
        assert payload is not None, "the payload is the challenge's id"
        await pays.codes.deliver(UUID(payload.decode()))

    async def look_for_pay_in(payload: bytes | None) -> None:
        assert payload is not None, "the payload is what a webhook said"
        await books.pay_ins.look(payload)

    async def stray_payments() -> None:
        await pays.saga.sweep()

    async def keep_links() -> None:
        await upkeep.mind_ends()
        await upkeep.end_links()
        await upkeep.want_syncs(timedelta(minutes=told.sync_every_minutes))

    async def late_webhooks() -> None:
        await banks.webhooks.late()

    async def institutions() -> None:
        every = timedelta(minutes=told.refresh_institutions_minutes)
        await refresh_if_due(banks.pool, banks.providers, told.countries, every)

    async def sweep() -> None:
        await expire_due_holds(side.pool, side.commands, side.clock)

    async def partitions() -> None:
        async with side.pool.acquire() as connection:
            await make_partitions(connection, settings.work.partitions_ahead_months, side.clock.stamp())

    async def verify_ledger() -> None:
        connection = await _connect(endpoints)
        try:
            await verify_whole(connection)
        finally:
            await connection.close()

    return Timers(
        lambda: _connect(endpoints),
        {
            EXPIRE_HOLD: expire,
            SYNC_LINK: sync,
            WORK_OFF: work_off,
            ADVANCE_PAYMENT: advance,
            DELIVER_CODE: deliver,
            LOOK_FOR_PAY_IN: look_for_pay_in,
        },
        (
            Schedule("sweep_holds", every_seconds(settings.work.hold_sweep_s), sweep),
            Schedule("keep_links", every_seconds(10), keep_links),
            Schedule("stray_payments", every_seconds(10), stray_payments),
            Schedule("late_webhooks", every_seconds(10), late_webhooks),
            Schedule("institutions", every_seconds(10), institutions),
            Schedule("make_partitions", every_minutes(int(timedelta(days=1) / timedelta(minutes=1))), partitions),
            Schedule("pay_ins", every_minutes(5), books.sweep),
            # Once a day, in the morning; asked more often, so that a bank that does not answer then is asked again.
            Schedule("reconcile", every_minutes(10), books.run_due),
            Schedule("verify_ledger", every_minutes(settings.work.verify_every_minutes), verify_ledger),
        ),
    )


def _broker(settings: Settings, endpoints: Endpoints) -> Broker:
    return Broker(
        endpoints.kafka_url,
        embedded=endpoints.kafka_embedded,
        idempotent_producer=settings.kafka.idempotent_producer,
        replication_factor=settings.kafka.replication_factor,
    )


async def _connect(endpoints: Endpoints) -> asyncpg.Connection[asyncpg.Record]:
    return await asyncpg.connect(endpoints.database_url, timeout=5, server_settings=_SERVER)


@asynccontextmanager
async def _pool(endpoints: Endpoints) -> AsyncIterator[asyncpg.Pool[asyncpg.Record]]:
    pool = await asyncpg.create_pool(
        endpoints.database_url, min_size=2, max_size=6, timeout=5, command_timeout=35, server_settings=_SERVER
    )
    try:
        yield pool
    finally:
        try:
            async with asyncio.timeout(_CLOSE_S):
                await pool.close()
        except TimeoutError:
            pool.terminate()


@asynccontextmanager
async def _redis(settings: Settings, endpoints: Endpoints) -> AsyncIterator[Redis]:
    timeout_s = settings.redis.timeout_s
    redis = Redis.from_pool(
        BlockingConnectionPool.from_url(
            endpoints.redis_url,
            max_connections=8,
            timeout=timeout_s,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
        )
    )
    try:
        yield redis
    finally:
        await redis.aclose()
