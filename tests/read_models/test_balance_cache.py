"""Redis may be empty, old, foreign, late or gone: it never shows a balance that the database would not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID, uuid4

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from isthmus.domain.log import PARTITIONS, partition_of
from isthmus.read_models.balance_cache import BalanceCache, CachedBalance, apply_to, key_of
from isthmus.read_models.projections import Advanced
from isthmus.runtime.servers import EmbeddedServers
from tests.conftest import Database
from tests.read_models.live import Live, live
from tests.read_models.rig import until
from tests.write_models.driver import Driver


@pytest.fixture
async def running(database: Database, redis: Redis) -> AsyncIterator[Live]:
    async with live(database, redis) as made:
        yield made


async def settled(made: Live) -> int:
    """Projected, known here, and told to Redis."""
    head = await made.project()
    assert await made.positions.wait_for(head, 5)

    async def told() -> bool:
        with suppress(RedisError):  # a connection from before a restart
            return await all_told()
        return False

    async def all_told() -> bool:
        return min([int(await made.redis.hget(key_of(n), "@position") or 0) for n in range(PARTITIONS)]) >= head

    await until(told)
    return head


async def assert_true(made: Live, cache: BalanceCache, accounts: list[UUID]) -> set[UUID]:
    """What the cache answers is what the database has. Returns what it answered."""
    found = await cache.get_many(accounts, made.positions.known())
    rows = await made.pool.fetch("select * from account_balances where account_id = any($1::uuid[])", list(found))
    for row in rows:
        cached = found[row["account_id"]]
        assert (cached.posted, cached.version, cached.as_of) == (row["posted"], row["version"], row["as_of"])
    return set(found)


async def test_a_current_balance_comes_from_redis(running: Live, ledger: Driver) -> None:
    ada, cache = uuid4(), BalanceCache(running.redis, running.identity)
    account = await ledger.funded(ada, "12.34")
    await settled(running)

    assert await assert_true(running, cache, [account]) == {account}
    assert await cache.get_many([uuid4()], running.positions.known()) == {}


async def test_a_hash_below_what_is_committed_is_not_believed(running: Live, ledger: Driver) -> None:
    ada, cache = uuid4(), BalanceCache(running.redis, running.identity)
    account = await ledger.funded(ada, "10")
    await settled(running)
    old = await running.redis.dump(key_of(partition_of(account)))
    await ledger.deposit(account, ada, "5")
    await settled(running)

    assert old is not None
    await running.redis.restore(key_of(partition_of(account)), 0, old, replace=True)

    assert await assert_true(running, cache, [account]) == set()


async def test_after_a_flush_only_what_is_complete_is_believed(running: Live, ledger: Driver) -> None:
    ada, cache = uuid4(), BalanceCache(running.redis, running.identity)
    accounts = [await ledger.funded(ada, "10") for _ in range(6)]
    await settled(running)
    await running.redis.flushall()
    assert await assert_true(running, cache, accounts) == set()

    await ledger.deposit(accounts[0], ada, "5")
    await settled(running)

    assert await assert_true(running, cache, accounts) == {accounts[0]}


async def test_a_writer_that_comes_late_brings_nothing_back(running: Live, ledger: Driver) -> None:
    """Its news are of a stretch that the hash has passed and, after a loss, no longer has."""
    ada, cache = uuid4(), BalanceCache(running.redis, running.identity)
    account, late = await ledger.funded(ada, "10"), []
    tell = running.broadcaster.applied

    def keep(moved: list[Advanced]) -> None:
        late.append(list(moved))

    running.projector.applied = keep  # type: ignore[assignment]
    await running.project()
    await ledger.deposit(account, ada, "5")
    await running.project()
    running.projector.applied = tell
    await ledger.funded(uuid4(), "1")
    await settled(running)

    for moved in (*late[::-1], *late):
        tell(moved)
    await asyncio.sleep(0.1)

    assert await assert_true(running, cache, [account]) == set()


async def test_balances_of_another_database_are_not_believed(running: Live, ledger: Driver) -> None:
    ada = uuid4()
    account = await ledger.funded(ada, "10")
    await settled(running)

    assert await BalanceCache(running.redis, "another.1").get_many([account], running.positions.known()) == {}
    assert await BalanceCache(running.redis, running.identity).get_many([account], {}) == {}, (
        "nothing is known: nothing is believed"
    )


async def test_a_smaller_version_never_replaces_a_greater_one(redis: Redis) -> None:
    account, cache = uuid4(), BalanceCache(redis, "log")
    partition = partition_of(account)
    for start, end, version in ((0, 1, 1), (1, 9, 9), (5, 10, 7)):
        pipeline = redis.pipeline(transaction=False)
        apply_to(pipeline, "log", partition, start, end, [(account, figures(version))])
        await pipeline.execute()

    found = await cache.get_many([account], {partition: 10})

    assert found[account].version == 9


def figures(version: int) -> CachedBalance:
    return CachedBalance(Decimal(version), Decimal(0), Decimal(0), version, datetime(2026, 1, 1, tzinfo=UTC))


async def test_a_redis_that_is_gone_or_hangs_is_done_without(
    servers: EmbeddedServers, running: Live, ledger: Driver
) -> None:
    ada, cache = uuid4(), BalanceCache(running.redis, running.identity)
    account = await ledger.funded(ada, "10")
    await settled(running)
    await running.redis.client_pause(10_000, all=True)
    began = time.monotonic()
    assert await assert_true(running, cache, [account]) == set()
    assert await assert_true(running, cache, [account]) == set()
    assert time.monotonic() - began < 5
    servers.kill_server("valkey")
    try:
        assert await assert_true(running, BalanceCache(running.redis, running.identity), [account]) == set()
    finally:
        servers.start_server("valkey")
    await ledger.deposit(account, ada, "5")
    await settled(running)
    assert await assert_true(running, BalanceCache(running.redis, running.identity), [account]) == {account}


async def test_no_personal_text_reaches_redis(running: Live, ledger: Driver) -> None:
    ada = uuid4()
    account = await ledger.open(ada, "EUR", "canary-name")
    await ledger.deposit(account, ada, "10")
    heard = running.redis.pubsub()
    await heard.subscribe("isthmus:feed")
    await settled(running)
    told = []
    while (message := await heard.get_message(timeout=0.2)) is not None:
        told.append(str(message))
    kept = [str(await running.redis.hgetall(key)) for key in await running.redis.keys("*")]

    assert any(str(account) in one for one in kept)
    assert any(str(account) in one for one in told)
    assert not any(word in one for one in (*kept, *told) for word in ("canary", "sealed:", "salary"))
    await heard.aclose()  # type: ignore[no-untyped-call]
