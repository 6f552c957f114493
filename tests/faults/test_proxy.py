"""The fault proxy does to a real PostgreSQL connection what it says, and counts it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from isthmus.torture.proxy import FaultProxy
from tests.conftest import Database


@pytest.fixture
async def proxy(database: Database) -> AsyncIterator[FaultProxy]:
    parts = urlsplit(database.admin_url)
    assert parts.hostname is not None
    assert parts.port is not None
    running = FaultProxy(parts.hostname, parts.port)
    await running.start()
    yield running
    await running.aclose()


@pytest.fixture
def through(database: Database, proxy: FaultProxy) -> str:
    parts = urlsplit(database.admin_url)
    place = parts.netloc.rpartition("@")[0]
    return urlunsplit(parts._replace(netloc=f"{place}@127.0.0.1:{proxy.port}"))


async def _table(admin: asyncpg.Connection) -> None:
    await admin.execute("create table kept (n integer)")


async def _insert(url: str) -> None:
    connection = await asyncpg.connect(url, timeout=10)
    try:
        async with connection.transaction():
            await connection.execute("insert into kept values (1)")
    finally:
        connection.terminate()


_BROKEN = (OSError, asyncpg.PostgresConnectionError, asyncpg.InterfaceError, asyncpg.InternalClientError)


async def test_a_commit_cut_after_it_was_sent_is_kept_and_nobody_hears_of_it(
    proxy: FaultProxy, through: str, admin: asyncpg.Connection
) -> None:
    await _table(admin)
    proxy.cut_on(b"COMMIT")
    with pytest.raises(_BROKEN):
        await _insert(through)
    assert proxy.counts["cut_after_pattern"] == 1
    assert await admin.fetchval("select count(*) from kept") == 1
    await _insert(through)  # once was asked for
    assert await admin.fetchval("select count(*) from kept") == 2


async def test_a_commit_cut_before_it_arrives_leaves_nothing(
    proxy: FaultProxy, through: str, admin: asyncpg.Connection
) -> None:
    await _table(admin)
    proxy.cut_on(b"COMMIT", before=True)
    with pytest.raises(_BROKEN):
        await _insert(through)
    assert proxy.counts["cut_before_pattern"] == 1
    assert await admin.fetchval("select count(*) from kept") == 0


async def test_a_connection_is_cut_after_so_many_bytes(proxy: FaultProxy, through: str) -> None:
    proxy.cut_after(2_000)
    connection = await asyncpg.connect(through, timeout=10)
    with pytest.raises(_BROKEN):
        await connection.execute(f"select '{'x' * 4_000}'")
    assert proxy.counts["cut_after_bytes"] == 1
    connection.terminate()


async def test_a_black_hole_answers_nothing_and_healing_lets_new_connections_pass(
    proxy: FaultProxy, through: str
) -> None:
    connection = await asyncpg.connect(through, timeout=10)
    proxy.black_hole = True
    with pytest.raises(TimeoutError):
        await connection.fetchval("select 1", timeout=0.3)
    assert proxy.counts["black_hole"] > 0
    connection.terminate()
    proxy.heal()
    again = await asyncpg.connect(through, timeout=10)
    assert await again.fetchval("select 1") == 1
    await again.close()


async def test_swallowed_replies_leave_the_work_done(
    proxy: FaultProxy, through: str, admin: asyncpg.Connection
) -> None:
    await _table(admin)
    connection = await asyncpg.connect(through, timeout=10)
    proxy.swallow_replies = True
    with pytest.raises(TimeoutError):
        await connection.execute("insert into kept values (1)", timeout=0.3)
    assert await admin.fetchval("select count(*) from kept") == 1
    assert proxy.counts["swallowed"] > 0
    connection.terminate()


async def test_delay_throttle_refusal_half_close_and_cut_are_felt(proxy: FaultProxy, through: str) -> None:
    connection = await asyncpg.connect(through, timeout=10)
    proxy.delay_s = 0.1
    began = time.monotonic()
    await connection.fetchval("select 1")
    assert time.monotonic() - began >= 0.2
    proxy.heal()
    proxy.bytes_per_s = 20_000
    began = time.monotonic()
    await connection.fetchval("select repeat('x', 4000)")
    assert time.monotonic() - began >= 0.2
    proxy.heal()
    proxy.refuse = True
    with pytest.raises(_BROKEN):
        await asyncpg.connect(through, timeout=10)
    assert proxy.half_close() == 1
    with pytest.raises(_BROKEN):
        await connection.fetchval("select 1", timeout=5)
    proxy.heal()
    another = await asyncpg.connect(through, timeout=10)
    assert proxy.cut_all() >= 1
    async with asyncio.timeout(5):
        while not another.is_closed():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert {"delayed", "throttled", "refused", "half_close", "cut"} <= proxy.counts.keys()
