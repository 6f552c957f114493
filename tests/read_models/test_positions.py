"""What every process knows about the projections, and when it knows that it does not."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from isthmus.read_models import positions as module
from isthmus.read_models.positions import ProjectionPositions
from tests.read_models.conftest import Told
from tests.read_models.history import History
from tests.read_models.rig import ByHand, batches, until


async def test_a_wait_ends_when_every_partition_has_passed(
    pool: asyncpg.Pool, told: Told, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("isthmus.read_models.positions._RECHECK_S", 60)  # woken, not found by the next look
    positions = ProjectionPositions(lambda: asyncpg.connect(told.database.url))
    await positions.start()
    by_hand, made = await ByHand.on(pool), await batches(pool, size=10)
    assert not await positions.wait_for(10, 0.05)
    waiting = asyncio.create_task(positions.wait_for(10, 20))

    await by_hand.take({n: some for n, some in made[0].messages.items() if n != 3})
    await asyncio.sleep(0.1)
    assert not waiting.done()
    await by_hand.take({3: made[0].messages[3]})

    assert await waiting
    assert positions.lowest() == 10
    assert set(positions.known().values()) == {10}
    await positions.aclose()


async def test_it_listens_again_by_itself_and_believes_nothing_meanwhile(
    pool: asyncpg.Pool, told: Told, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_STALE_S", 0.3)
    refused = False

    async def connect() -> asyncpg.Connection:
        if refused:
            raise OSError("as it happens")
        return await asyncpg.connect(told.database.url, server_settings={"application_name": "listening"})

    positions = ProjectionPositions(connect)
    await positions.start()
    monkeypatch.setattr(module, "_RECHECK_S", 0.1)
    await until(lambda: knows(positions, True))
    refused = True
    admin = await asyncpg.connect(told.database.admin_url)
    await admin.execute("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'listening'")
    await until(lambda: knows(positions, False))
    by_hand = await ByHand.on(pool)
    await by_hand.take_all(await batches(pool))
    refused = False

    assert await positions.wait_for(history.position, 5)

    await until(lambda: knows(positions, True))
    await admin.close()
    await positions.aclose()


async def knows(positions: ProjectionPositions, something: bool) -> bool:
    return bool(positions.known()) == something
