"""Everything is published, in order, whoever writes and whatever becomes of the broker."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest
from prometheus_client import REGISTRY

from isthmus.domain.log import PARTITIONS
from isthmus.integrations.bus import Broker, BusUnavailable, KafkaPublisher
from isthmus.read_models.projections import ensure_positions
from isthmus.read_models.projector import Projector
from isthmus.read_models.rebuild import compare
from isthmus.runtime.leases import Lease, Leases
from isthmus.runtime.servers import EmbeddedServers
from isthmus.settings import Settings
from isthmus.write_models.relay import Fenced, Relay
from tests.conftest import Database
from tests.forked_process import started
from tests.read_models.bus import OnBroker, relaying
from tests.read_models.rig import ScriptedBus, until
from tests.write_models.driver import Driver
from tests.write_models.published import assert_published_in_order

PROCESSES, WRITERS, COMMANDS = 3, (6, 5, 5), 15


def counted(name: str) -> float:
    return REGISTRY.get_sample_value(name) or 0.0


async def write_in_processes(database: Database, data_dir: Path) -> list[int]:
    running = [
        started(
            "tests.write_models.writer_process",
            [database.url, str(data_dir), str(writers), str(COMMANDS)],
            os.environ,
            data_dir / "writers.log",
        )
        for writers in WRITERS
    ]
    answers = await asyncio.gather(*(asyncio.to_thread(process.stdout.read) for process in running))
    assert [process.wait() for process in running] == [0] * PROCESSES
    return [int(position) for answer in answers for position in answer.split()]


async def watch_positions(database: Database, stop: asyncio.Event) -> list[int]:
    """What a reader of `position > last` sees, as fast as it can look."""
    seen: list[int] = []
    connection = await asyncpg.connect(database.url)
    last_look = False
    while not last_look:
        last_look = stop.is_set()
        rows = await connection.fetch(
            "select position from event_store where position > $1 order by position", seen[-1] if seen else 0
        )
        seen += [row["position"] for row in rows]
    await connection.close()
    return seen


async def test_16_writers_in_3_processes_positions_without_gaps_seen_and_published_in_order(
    servers: EmbeddedServers, database: Database, settings: Settings, side: object
) -> None:
    stop = asyncio.Event()
    async with relaying(servers, database) as bus:
        watching = asyncio.create_task(watch_positions(database, stop))
        drawn = await write_in_processes(database, settings.data_dir)
        stop.set()
        seen = await watching
        head = await bus.all_at_the_end()
        async with bus.pool.acquire() as connection:
            assert await compare(connection) == []

    assert len(set(drawn)) == len(drawn) == sum(WRITERS) * COMMANDS
    assert seen == list(range(1, head + 1)), "gapless, and visible in order: nothing appeared below what was seen"
    await assert_published_in_order(servers, database, head)


async def test_a_relay_that_lost_its_lease_moves_nothing(
    servers: EmbeddedServers, database: Database, ledger: Driver
) -> None:
    await ledger.funded(uuid4(), "10")
    publisher = KafkaPublisher(Broker(servers.kafka_url, embedded=True))
    async with asyncpg.create_pool(database.url, min_size=1) as pool:
        lease = await Leases(pool).take("relay")
        assert lease is not None
        former = Lease(lease.name, lease.holder, lease.epoch - 1)
        with pytest.raises(Fenced):
            await asyncio.wait_for(
                Relay(lambda: asyncpg.connect(database.url), publisher, (BusUnavailable,)).run(former), 15
            )
        assert await pool.fetchval("select count(*) from relay_state") == 0
    await publisher.aclose()


async def test_a_relay_goes_on_where_the_one_before_it_stopped(
    servers: EmbeddedServers, database: Database, ledger: Driver
) -> None:
    ada = uuid4()
    account, head = await ledger.funded(ada, "10"), 0
    for _ in range(2):
        async with relaying(servers, database, projectors=0) as bus:
            head = await bus.pool.fetchval("select position from log_head")
            await until(lambda: relayed(bus, head))  # noqa: B023 - awaited here
        await ledger.deposit(account, ada, "1")
    await assert_published_in_order(servers, database, head)


async def test_a_relay_that_never_kept_its_place_begins_with_the_first_event_wherever_projections_are(
    servers: EmbeddedServers, database: Database, ledger: Driver
) -> None:
    """The broker was away when everything began, or the first relay died at once: projections went on by the event store."""
    await ledger.funded(uuid4(), "10")
    async with asyncpg.create_pool(database.url, min_size=1) as pool:
        async with pool.acquire() as connection:
            await ensure_positions(connection)
            head = await connection.fetchval("select position from log_head")
        projector = Projector(pool, ScriptedBus, (BusUnavailable,), lambda _: None)
        await projector.fill(dict.fromkeys(range(PARTITIONS), head), "test")
    async with relaying(servers, database, projectors=0) as bus:
        await until(lambda: relayed(bus, head))
    await assert_published_in_order(servers, database, head)


async def relayed(bus: OnBroker, position: int) -> bool:
    return bus.relay.position >= position
