"""The broker is killed, and comes back empty. A module of its own: others count on what they published."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from itertools import pairwise
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from isthmus.domain.log import PARTITIONS, Message
from isthmus.integrations.bus import Broker, BusUnavailable, KafkaPublisher
from isthmus.read_models.rebuild import compare
from isthmus.runtime.servers import EmbeddedServers
from tests.conftest import Database
from tests.read_models.bus import relaying
from tests.read_models.rig import until
from tests.write_models.driver import Driver
from tests.write_models.test_relay import counted, relayed


async def test_a_broker_thrown_away_under_load_changes_nothing_in_the_end(
    servers: EmbeddedServers, database: Database, ledger: Driver
) -> None:
    forgotten = counted("isthmus_relay_broker_forgot_total")
    async with relaying(servers, database, projectors=2) as bus:
        ada = uuid4()
        one, two = await ledger.funded(ada, "1000"), await ledger.funded(ada, "1000")
        stop = asyncio.Event()

        async def write() -> int:
            written = 0
            while not stop.is_set():
                await ledger.transfer(ada, one, two, "0.01")
                await ledger.transfer(ada, two, one, "0.01")
                written += 2
                await asyncio.sleep(0.005)
            return written

        writing = [asyncio.create_task(write()) for _ in range(4)]
        await asyncio.sleep(0.8)
        for _ in range(2):
            servers.kill_server("kafka")
            await asyncio.sleep(0.2)
            servers.start_server("kafka")
            await asyncio.sleep(1.0)
        stop.set()
        written = sum(await asyncio.gather(*writing))
        head = await bus.all_at_the_end()

        assert written > 100, "writers were not held up"
        assert head >= written
        async with bus.pool.acquire() as connection:
            assert await compare(connection) == []
        moves: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for move in bus.moved:
            moves[move.partition].append((move.start, move.end))
        for some in moves.values():
            ordered = sorted(some)
            assert all(a[1] == b[0] for a, b in pairwise(ordered)), "no stretch twice, none left out"
    assert counted("isthmus_relay_broker_forgot_total") >= forgotten + 1


async def test_without_a_broker_writers_and_readers_go_on(
    servers: EmbeddedServers, database: Database, ledger: Driver
) -> None:
    async with relaying(servers, database) as bus:
        ada = uuid4()
        account = await ledger.funded(ada, "10")
        await bus.all_at_the_end()
        servers.kill_server("kafka")
        try:
            for _ in range(5):
                await ledger.deposit(account, ada, "1")
            await bus.all_at_the_end()
            published = await bus.pool.fetchval("select position from relay_state where name = 'relay'")
        finally:
            servers.start_server("kafka")
        head = await bus.pool.fetchval("select position from log_head")
        assert published < head

        await until(lambda: relayed(bus, head))


async def test_to_a_broker_that_came_back_empty_nothing_is_sent_before_its_topics_are_there(
    servers: EmbeddedServers,
) -> None:
    """It would take it, begin again from zero once the topic is made, refuse what follows, and show nobody what it had taken."""
    broker, topic = Broker(servers.kafka_url, embedded=True), f"forgotten.{uuid4()}"
    publisher = KafkaPublisher(broker)

    async def publish(values: list[bytes]) -> set[int]:
        return {one.offset for one in await publisher.publish([Message(topic, b"key", each, ()) for each in values])}

    try:
        await publish([b"a", b"b", b"c"])
        servers.kill_server("kafka")
        waiting = asyncio.create_task(publish([b"d", b"e"]))
        await asyncio.sleep(0.2)
        servers.start_server("kafka")
        with pytest.raises(BusUnavailable, match="the broker forgot"):
            await waiting
        assert publisher.remade == 1
        again = await publish([b"d", b"e"])
        last = await publish([b"f"])
        assert max(last) == max(again) + 1
    finally:
        await publisher.aclose()
    consumer = AIOKafkaConsumer(**broker.client, auto_offset_reset="earliest", fetch_max_wait_ms=20)
    async with consumer, asyncio.timeout(20):
        consumer.assign([TopicPartition(topic, number) for number in range(PARTITIONS)])
        values: list[bytes | None] = []
        while values[-1:] != [b"f"]:
            values.append((await consumer.getone()).value)
    assert values[-3:] == [b"d", b"e", b"f"]
