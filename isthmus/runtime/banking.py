"""Puts banking together from settings: the same parts in `serve` and `work`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from isthmus.domain.banking import BankProvider
from isthmus.domain.identifiers import uuid7_source
from isthmus.domain.institutions import Routing
from isthmus.integrations.banking.outside import doors
from isthmus.integrations.banking.registry import providers_of, senders_of
from isthmus.integrations.secrets.derived import DerivedSealing
from isthmus.integrations.secrets.sealed_keys import SealedKeys
from isthmus.runtime.wiring import WriteSide
from isthmus.settings import Settings
from isthmus.write_models.bank_links import BankLinks
from isthmus.write_models.bank_mirror import BankMirror
from isthmus.write_models.bank_sync import BankSync
from isthmus.write_models.commands import writer_pool
from isthmus.write_models.connection import Pool
from isthmus.write_models.webhooks import Webhooks


@dataclass(frozen=True)
class Banking:
    providers: Mapping[str, BankProvider]
    links: BankLinks
    pool: Pool
    mirror: BankMirror
    sync: BankSync
    webhooks: Webhooks


@asynccontextmanager
async def closing(pool: Pool) -> AsyncIterator[None]:
    try:
        yield
    finally:
        await pool.close()


@asynccontextmanager
async def banking(settings: Settings, side: WriteSide, database_url: str) -> AsyncIterator[Banking]:
    """Has connections of its own: who moves money waits for nobody who talks with a bank."""
    told = settings.banking
    pool = await writer_pool(
        database_url,
        statement_timeout_ms=settings.database.statement_timeout_ms,
        lock_timeout_ms=settings.database.lock_timeout_ms,
        idle_timeout_ms=settings.database.idle_in_transaction_timeout_ms,
        size=6,
    )
    certificates, sealed = settings.secrets.certificates, SealedKeys(side.master_key)
    async with closing(pool), doors(told.deadline_s, certificates, sealed, side.clock) as outside:
        providers = providers_of(told, outside, side.clock)
        identity = side.master_key.derive("bank account identity")
        mirror = BankMirror(pool, side.commands, side.links, side.tokens, side.clock, identity)
        links = BankLinks(
            pool,
            side.commands,
            providers,
            Routing(tuple(providers), dict(route.split("=", 1) for route in told.routes)),
            side.links,
            side.tokens,
            mirror,
            side.clock,
            uuid7_source(side.clock.now),
            frozenset(told.redirect_uris),
            key_secret=side.master_key.derive("bank credentials"),
            balance_lasts=timedelta(seconds=told.balance_lasts_s),
        )
        sync = BankSync(pool, side.commands, providers, side.links, side.tokens, mirror, side.clock)
        sealing = DerivedSealing(side.master_key.derive("webhooks"))
        webhooks = Webhooks(pool, senders_of(told, providers, outside, side.clock), sealing, mirror, sync)
        yield Banking(providers, links, pool, mirror, sync, webhooks)
