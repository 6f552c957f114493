"""Relay and projectors on the real broker, in the test's own process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol
from uuid import uuid4

import asyncpg
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient

from isthmus.domain.log import Received
from isthmus.integrations.bus import Broker, BusUnavailable, KafkaLogConsumer, KafkaPublisher
from isthmus.read_models.positions import stored_positions
from isthmus.read_models.projections import Advanced
from isthmus.read_models.projector import Projector
from isthmus.runtime.leases import Leases
from isthmus.runtime.servers import EmbeddedServers
from isthmus.write_models.relay import Relay
from tests.conftest import Database
from tests.read_models.rig import until


@dataclass
class OnBroker:
    pool: asyncpg.Pool[asyncpg.Record]
    relay: Relay
    projectors: list[Projector]
    moved: list[Advanced]

    async def all_at_the_end(self, within_s: float = 40.0) -> int:
        head: int = await self.pool.fetchval("select position from log_head")

        async def there() -> bool:
            async with self.pool.acquire() as connection:
                return min((await stored_positions(connection)).values()) >= head

        await until(there, within_s)
        return head


@asynccontextmanager
async def relaying(servers: EmbeddedServers, database: Database, projectors: int = 1) -> AsyncIterator[OnBroker]:
    broker = Broker(servers.kafka_url, embedded=True)
    group = f"isthmus.projectors.{uuid4()}"
    publisher = KafkaPublisher(broker)
    async with asyncpg.create_pool(database.url, min_size=2, max_size=8) as pool:
        relay = Relay(lambda: asyncpg.connect(database.url), publisher, (BusUnavailable,), tick_every_s=0.2)
        moved: list[Advanced] = []
        some = [
            Projector(pool, lambda: KafkaLogConsumer(broker, group), (BusUnavailable,), moved.extend)
            for _ in range(projectors)
        ]
        tasks = [asyncio.create_task(Leases(pool).while_held("relay", relay.run))]
        tasks += [asyncio.create_task(projector.run()) for projector in some]
        try:
            yield OnBroker(pool, relay, some, moved)
            assert not any(task.done() for task in tasks), tasks
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await publisher.aclose()


class Bootstrap(Protocol):
    """Where a broker is."""

    @property
    def kafka_url(self) -> str: ...


async def read_topics(servers: Bootstrap, *topics: str, check_crcs: bool = True) -> dict[str, list[Received]]:
    """Everything that is in the topics, per topic in each partition's order; nothing in those that the broker does not have."""
    admin = AIOKafkaAdminClient(bootstrap_servers=servers.kafka_url)
    await admin.start()
    there = set(await admin.list_topics())
    await admin.close()
    consumer = AIOKafkaConsumer(
        *(topic for topic in topics if topic in there),
        bootstrap_servers=servers.kafka_url,
        auto_offset_reset="earliest",
        fetch_max_wait_ms=20,
        check_crcs=check_crcs,
    )
    found: dict[str, list[Received]] = {topic: [] for topic in topics}
    await consumer.start()
    try:
        ends = await consumer.end_offsets(consumer.assignment())
        heard = time.monotonic()
        # To the end of each partition; quiet for long ends it too, since a topic that was made anew may promise what it lost.
        while (
            any([await consumer.position(place) < end for place, end in ends.items()]) and time.monotonic() - heard < 2
        ):
            polled = await consumer.getmany(timeout_ms=100)
            heard = time.monotonic() if polled else heard
            for place, messages in polled.items():
                found[place.topic] += [
                    Received(place.partition, one.offset, one.key, one.value, dict(one.headers)) for one in messages
                ]
    finally:
        await consumer.stop()
    return found
