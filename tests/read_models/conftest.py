from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime

import asyncpg
import pytest
from redis.asyncio import Redis

from isthmus.domain.clock import SettableClock
from isthmus.runtime.servers import EmbeddedServers
from isthmus.runtime.wiring import WriteSide, write_side
from isthmus.settings import load_settings
from tests.conftest import Database, fresh_database
from tests.read_models.history import History, rich
from tests.write_models.driver import Driver


@dataclass(frozen=True)
class Told:
    """A database whose event store has a rich history that nobody adds to."""

    database: Database
    history: History


@pytest.fixture(scope="package")
def told_once(servers: EmbeddedServers, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    """One event store for all tests that only project it; each begins with empty read models."""
    settings = load_settings(data_dir=tmp_path_factory.mktemp("told"))
    clock = SettableClock(datetime(2026, 11, 23, 12, tzinfo=UTC))

    async def write(database: Database) -> History:
        async with write_side(settings, database.url, clock) as side:
            return await rich(Driver(side.commands), clock)

    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        database = runner.run(stack.enter_async_context(fresh_database(servers, template)))
        yield Told(database, runner.run(write(database)))
        runner.run(stack.aclose())


@pytest.fixture
async def told(told_once: Told) -> Told:
    connection = await asyncpg.connect(told_once.database.admin_url)
    try:
        await connection.execute("select drop_next_read_models(), create_read_models('read_models_next')")
        await connection.execute("select swap_read_models()")
    finally:
        await connection.close()
    return told_once


@pytest.fixture
def history(told: Told) -> History:
    return told.history


@pytest.fixture
async def pool(told: Told) -> AsyncIterator[asyncpg.Pool[asyncpg.Record]]:
    async with asyncpg.create_pool(told.database.url, min_size=1, max_size=6) as made:
        yield made


@pytest.fixture
def ledger(side: WriteSide) -> Driver:
    return Driver(side.commands)


@pytest.fixture
async def live_pool(database: Database) -> AsyncIterator[asyncpg.Pool[asyncpg.Record]]:
    """Of the database that this test's `ledger` writes to."""
    async with asyncpg.create_pool(database.url, min_size=1, max_size=6) as made:
        yield made


@pytest.fixture
async def redis(servers: EmbeddedServers) -> AsyncIterator[Redis]:
    client = Redis.from_url(servers.redis_url, socket_timeout=2, socket_connect_timeout=2)
    await client.flushall()
    yield client
    await client.aclose()
