"""One holder at a time, another within seconds, and a former holder that can be told by its epoch."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import anyio
import asyncpg
import pytest

from isthmus.runtime.leases import Lease, LeaseLost, Leases
from tests.conftest import Database


@pytest.fixture
async def leases(database: Database) -> AsyncIterator[Leases]:
    async with asyncpg.create_pool(database.url, min_size=1, max_size=6) as pool:
        yield Leases(pool, ttl_s=1.0, renew_every_s=0.2)


async def test_one_at_a_time_and_the_next_has_a_greater_epoch(leases: Leases) -> None:
    first = await leases.take("relay")
    assert first is not None
    assert await leases.take("relay") is None
    assert await leases.renew(first)

    await leases.release(first)
    second = await leases.take("relay")

    assert second is not None
    assert second.epoch == first.epoch + 1
    assert not await leases.renew(first), "the former holder is refused"


async def test_a_holder_that_says_nothing_is_replaced_when_its_time_is_over(leases: Leases) -> None:
    silent = await leases.take("relay")
    assert silent is not None
    held: list[Lease] = []
    began = time.monotonic()

    async def work(lease: Lease) -> None:
        held.append(lease)

    await leases.while_held("relay", work)

    assert 0.7 < time.monotonic() - began < 10.0
    assert held[0].epoch == silent.epoch + 1


async def test_a_holder_that_is_ended_in_order_keeps_nobody_waiting(leases: Leases) -> None:
    """As `work` ends its parts: a task group goes on cancelling whatever they wait for on their way out."""
    held = asyncio.Event()

    async def work(_: Lease) -> None:
        held.set()
        await asyncio.sleep(60)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(leases.while_held, "relay", work)
        await held.wait()
        tasks.cancel_scope.cancel()

    assert await leases.take("relay") is not None


async def test_work_is_cancelled_when_the_lease_is_taken_away(leases: Leases) -> None:
    ended = asyncio.Event()

    async def work(lease: Lease) -> None:
        try:
            await leases.pool.execute("update leases set holder = gen_random_uuid(), epoch = epoch + 1")
            await asyncio.sleep(60)
        finally:
            ended.set()

    with pytest.raises(LeaseLost):
        await leases.while_held("relay", work)

    assert ended.is_set()


async def test_a_holder_that_cannot_renew_stops_before_the_others_may_begin(leases: Leases) -> None:
    leases = Leases(leases.pool, ttl_s=4.0, renew_every_s=2.0)
    began = time.monotonic()

    async def work(_: Lease) -> None:
        leases.pool.terminate()
        await asyncio.sleep(60)

    with pytest.raises(LeaseLost):
        await leases.while_held("relay", work)

    assert time.monotonic() - began < leases.ttl_s


async def test_of_many_that_want_it_one_works_at_a_time_and_each_in_turn(leases: Leases) -> None:
    working, done = 0, []

    async def work(lease: Lease) -> None:
        nonlocal working
        working += 1
        assert working == 1
        await asyncio.sleep(0.05)
        working -= 1
        done.append(lease.epoch)

    await asyncio.gather(*(leases.while_held("relay", work) for _ in range(4)))

    assert done == sorted(set(done))
    assert len(done) == 4
