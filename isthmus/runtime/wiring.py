"""Puts the write side together from settings: the same parts in `serve`, `work` and the commands of the CLI."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from isthmus.domain.clock import Clock
from isthmus.domain.code_allowance import CodeLimits
from isthmus.integrations.secrets.link_keys import LinkKeys
from isthmus.integrations.secrets.master_key import MasterKey
from isthmus.integrations.secrets.opening import open_master_key
from isthmus.integrations.secrets.person_keys import PersonKeys
from isthmus.integrations.secrets.token_vault import SealedTokens
from isthmus.runtime.moved_clock import clock_of
from isthmus.settings import Settings
from isthmus.settings.sca import CODES_PER_DAY, CODES_PER_TEN_MINUTES
from isthmus.write_models.commands import CommandBus, writer_pool
from isthmus.write_models.connection import Pool


@dataclass(frozen=True)
class WriteSide:
    pool: Pool
    master_key: MasterKey
    texts: PersonKeys
    links: LinkKeys
    tokens: SealedTokens
    commands: CommandBus
    clock: Clock


@asynccontextmanager
async def write_side(settings: Settings, database_url: str, clock: Clock | None = None) -> AsyncIterator[WriteSide]:
    """Started on entering; on leaving, what was accepted is finished first. Raises asyncpg's errors where there is no database."""
    clock = clock or clock_of(settings)
    master_key = await open_master_key(settings, database_url)
    texts = PersonKeys(master_key)
    links = LinkKeys(texts)
    pool = await writer_pool(
        database_url,
        statement_timeout_ms=settings.database.statement_timeout_ms,
        lock_timeout_ms=settings.database.lock_timeout_ms,
        idle_timeout_ms=settings.database.idle_in_transaction_timeout_ms,
    )
    try:
        commands = CommandBus(pool, texts, master_key.derive("idempotency"), clock, code_limits=_code_limits(settings))
        await commands.start()
        try:
            yield WriteSide(pool, master_key, texts, links, SealedTokens(links), commands, clock)
        finally:
            await commands.aclose()
    finally:
        await pool.close()


def _code_limits(settings: Settings) -> CodeLimits:
    told, met = settings.sca, not settings.api.in_development
    return CodeLimits(
        told.codes_per_ten_minutes or (CODES_PER_TEN_MINUTES if met else None),
        told.codes_per_day or (CODES_PER_DAY if met else None),
    )
