"""F15: brokers that err, move leaders, and go away: commands do not notice, and in the end every event is on the bus in order."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import asyncpg
import pytest
from prometheus_client import REGISTRY

from isthmus.domain.log import PARTITIONS, TOPIC
from isthmus.integrations.bus import Broker, BusUnavailable, KafkaPublisher
from isthmus.runtime.leases import Leases
from isthmus.runtime.wiring import WriteSide
from isthmus.write_models.outbox import TOPICS
from isthmus.write_models.relay import Relay
from tests.conftest import Database
from tests.faults.mock_kafka import (
    BROKERS,
    NOT_COORDINATOR,
    NOT_ENOUGH_REPLICAS,
    NOT_LEADER,
    PRODUCE,
    REQUEST_TIMED_OUT,
    MockKafka,
    mock_kafka,
)
from tests.read_models.rig import until
from tests.write_models.driver import Driver
from tests.write_models.published import assert_published_in_order

#: Short, so that giving up and publishing anew happens within the test; in production it is five seconds.
DEADLINE_S = 1.0
#: Topics that are written to here: the mock takes a fifth of a second to make one.
WRITTEN = (TOPIC, *(topic for topic in TOPICS if topic.startswith(("accounts.account.opened", "ledger.journal."))))


@pytest.fixture
def kafka() -> Iterator[MockKafka]:
    with mock_kafka() as cluster:
        cluster.make_topics(dict.fromkeys(WRITTEN, PARTITIONS))
        yield cluster


@pytest.fixture
def ledger(side: WriteSide) -> Driver:
    return Driver(side.commands)


@asynccontextmanager
async def relaying(kafka: MockKafka, database: Database) -> AsyncIterator[Relay]:
    """The product's relay, with the idempotent producer that it has on a real Kafka."""
    publisher = KafkaPublisher(Broker(kafka.kafka_url, replication_factor=3, deadline_s=DEADLINE_S))
    async with asyncpg.create_pool(database.url, min_size=1, max_size=2) as pool:
        relay = Relay(lambda: asyncpg.connect(database.url), publisher, (BusUnavailable,), tick_every_s=0.1)
        running = asyncio.create_task(Leases(pool).while_held("relay", relay.run))
        try:
            yield relay
            assert not running.done(), running
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await publisher.aclose()


class Customer:
    """Pays all the time."""

    def __init__(self, ledger: Driver, owner: UUID, one: UUID, two: UUID) -> None:
        self.paid = 0
        self._ledger, self._owner, self._accounts = ledger, owner, (one, two)

    @classmethod
    async def of(cls, ledger: Driver) -> Customer:
        owner = uuid4()
        return cls(ledger, owner, await ledger.funded(owner, "1000"), await ledger.funded(owner, "1000"))

    async def pays(self, times: int) -> None:
        for _ in range(times):
            source, target = self._accounts if self.paid % 2 else self._accounts[::-1]
            await self._ledger.transfer(self._owner, source, target, "0.01")
            self.paid += 1

    async def pays_until(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            await self.pays(1)
            await asyncio.sleep(0.01)


async def relayed(relay: Relay, database: Database, within_s: float = 60.0) -> int:
    connection = await asyncpg.connect(database.url)
    head: int = await connection.fetchval("select position from log_head")
    await connection.close()

    async def there() -> bool:
        return relay.position >= head

    await until(there, within_s)
    return head


def failures() -> float:
    return REGISTRY.get_sample_value("isthmus_relay_failures_total") or 0.0


@pytest.mark.parametrize("code", [NOT_LEADER, REQUEST_TIMED_OUT, NOT_COORDINATOR, NOT_ENOUGH_REPLICAS])
async def test_f15_a_transient_error_of_the_broker_costs_nothing_but_time(
    kafka: MockKafka, database: Database, ledger: Driver, code: int
) -> None:
    async with relaying(kafka, database) as relay:
        customer = await Customer.of(ledger)
        await relayed(relay, database)
        for _ in range(3):
            kafka.fail(PRODUCE, code, 4)
            await customer.pays(5)
        head = await relayed(relay, database)

    await assert_published_in_order(kafka, database, head, check_crcs=False)


async def test_f15_leaders_that_move_under_load_reorder_and_lose_nothing(
    kafka: MockKafka, database: Database, ledger: Driver
) -> None:
    chance, stop = random.Random(15), asyncio.Event()
    async with relaying(kafka, database) as relay:
        customer = await Customer.of(ledger)
        paying = asyncio.create_task(customer.pays_until(stop))
        for _ in range(20):
            for partition in range(PARTITIONS):
                await asyncio.to_thread(kafka.lead, TOPIC, partition, chance.choice(BROKERS))
            await asyncio.sleep(0.05)
        stop.set()
        await paying
        head = await relayed(relay, database)

    await assert_published_in_order(kafka, database, head, check_crcs=False)


async def test_f15_kafka_away_for_longer_than_every_deadline_grows_the_outbox_and_holds_up_no_command(
    kafka: MockKafka, database: Database, ledger: Driver
) -> None:
    async with relaying(kafka, database) as relay:
        customer = await Customer.of(ledger)
        published = await relayed(relay, database)
        failed = failures()
        for broker in BROKERS:
            kafka.down(broker)
        await customer.pays(20)  # ends while nobody answers: a command waits for PostgreSQL alone

        async def given_up_twice() -> bool:
            return failures() >= failed + 2

        await until(given_up_twice, 60)
        assert relay.position == published, "what was not acknowledged is not passed"
        await customer.pays(20)
        for broker in BROKERS:
            kafka.up(broker)
        head = await relayed(relay, database)

    assert head >= published + 40
    await assert_published_in_order(kafka, database, head, check_crcs=False)


async def test_f15_one_broker_that_goes_and_comes_back_with_its_leaders_moved_meanwhile(
    kafka: MockKafka, database: Database, ledger: Driver
) -> None:
    async with relaying(kafka, database) as relay:
        customer = await Customer.of(ledger)
        for partition in range(PARTITIONS):
            for topic in WRITTEN:
                await asyncio.to_thread(kafka.lead, topic, partition, 1)
        await customer.pays(5)
        await relayed(relay, database)
        kafka.down(1)
        await customer.pays(10)
        for partition in range(PARTITIONS):
            for topic in WRITTEN:
                await asyncio.to_thread(kafka.lead, topic, partition, 2 + partition % 2)
        head = await relayed(relay, database)
        kafka.up(1)
        await customer.pays(5)
        head = await relayed(relay, database)

    await assert_published_in_order(kafka, database, head, check_crcs=False)
