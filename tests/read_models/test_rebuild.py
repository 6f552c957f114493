"""The read models made anew: the same rows, while writers, projectors and readers go on."""

from __future__ import annotations

import asyncio
from typing import TypeAlias
from uuid import uuid4

import asyncpg
import pytest
from redis.asyncio import Redis

from isthmus.domain.ledger import JournalKind
from isthmus.read_models.positions import stored_positions
from isthmus.read_models.projections import CURRENT, NEXT
from isthmus.read_models.rebuild import RebuildRefused, compare, rebuild
from tests.conftest import Database
from tests.read_models.history import History
from tests.read_models.live import live
from tests.read_models.rig import ByHand, batches
from tests.write_models.driver import Driver

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"


async def test_from_nothing_it_gives_what_the_projectors_give(pool: Pool, history: History) -> None:
    told: list[tuple[int, int]] = []
    async with pool.acquire() as connection:
        done = await rebuild(connection, lambda at, of: told.append((at, of)))
        assert done.position == history.position
        assert told[-1] == (history.position, history.position)
        assert set((await stored_positions(connection)).values()) == {history.position}

        assert await compare(connection) == []


async def test_a_wrong_row_is_found_and_made_right(pool: Pool, history: History) -> None:
    made, by_hand = await batches(pool), await ByHand.on(pool)
    await by_hand.take_all(made)
    async with pool.acquire() as connection:
        await connection.execute(
            "update read_models.transactions set amount = amount + 0.01 where kind = $1", JournalKind.DEPOSIT.value
        )
        await connection.execute("delete from read_models.audit_visibility where position = 1")
        found = await compare(connection)
        assert {one.table for one in found} == {"transactions", "audit_visibility"}

        await rebuild(connection)

        assert await compare(connection) == []


async def test_a_second_one_at_the_same_time_is_refused(pool: Pool, history: History) -> None:
    async with pool.acquire() as first, pool.acquire() as second:
        await first.execute("select pg_advisory_lock($1)", 0x1574_0002)
        with pytest.raises(RebuildRefused, match="under way"):
            await rebuild(second)
        await first.execute("select pg_advisory_unlock($1)", 0x1574_0002)

        await rebuild(second)


async def test_what_a_dead_rebuild_left_is_no_hindrance(pool: Pool, history: History) -> None:
    async with pool.acquire() as connection:
        await connection.execute("select create_read_models('read_models_next')")

        await rebuild(connection)

        assert await connection.fetchval("select to_regnamespace($1) is null", NEXT)
        assert await connection.fetchval("select to_regnamespace($1) is not null", CURRENT)


async def test_readers_and_projectors_go_on_and_see_old_or_new(
    database: Database, redis: Redis, ledger: Driver
) -> None:
    """A reader's statement over several tables never meets a half-swapped schema, nor an error."""
    async with live(database, redis) as made:
        ada, grace = uuid4(), uuid4()
        source, target = await ledger.funded(ada, "1000"), await ledger.funded(grace, "1")
        await made.project()
        stop = asyncio.Event()
        read = 0

        async def write() -> None:
            while not stop.is_set():
                await ledger.transfer(ada, source, target, "0.01")
                await made.project()

        async def look() -> None:
            nonlocal read
            seen = 0
            async with asyncpg.create_pool(database.url, min_size=1, max_size=1) as mine:
                while not stop.is_set():
                    row = await mine.fetchrow(
                        "select a.version, (select count(*) from read_models.balance_history h "
                        "where h.account_id = a.account_id) as rows from read_models.accounts a where account_id = $1",
                        source,
                    )
                    assert row is not None
                    assert row["version"] == row["rows"] >= seen
                    seen, read = row["rows"], read + 1

        others = [asyncio.create_task(work()) for work in (write, look, look)]
        connection = await asyncpg.connect(database.url)
        for _ in range(4):
            await rebuild(connection)
            await asyncio.sleep(0.1)
        stop.set()
        await asyncio.gather(*others)
        await made.project()

        assert read > 20
        assert await compare(connection) == []
        await connection.close()
