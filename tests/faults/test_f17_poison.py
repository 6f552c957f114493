"""F17: what a release cannot project is set aside after a few tries, with evidence; all else goes on, and nothing wrong is shown."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TypeAlias
from uuid import UUID, uuid4

import asyncpg
import msgspec
import pytest
from redis.asyncio import Redis

from isthmus.cli.doctor_servers import _parked
from isthmus.domain.accounts import OpenAccount
from isthmus.domain.event_codec import UnknownEvent
from isthmus.domain.log import PARTITIONS, LoggedEvent, Received, partition_of
from isthmus.domain.personal import PersonalText
from isthmus.read_models.accounts import AccountReader
from isthmus.read_models.balance_cache import BalanceCache
from isthmus.read_models.balances import BalanceReader
from isthmus.read_models.database import Incomplete, Sight
from isthmus.read_models.health import log_health
from isthmus.read_models.positions import stored_positions
from isthmus.read_models.projections.parked import POISON, parked_events
from isthmus.read_models.projector import PARK_AFTER_TRIES, Projector
from isthmus.read_models.rebuild import compare, rebuild
from isthmus.read_models.refused_records import refused_records
from isthmus.read_models.transactions import PageOf, TransactionReader
from isthmus.runtime.servers import EmbeddedServers
from isthmus.runtime.wiring import WriteSide
from tests import forked
from tests.conftest import Database
from tests.read_models.live import Live, Watcher, feed_on, live
from tests.read_models.rig import ByHand, batches, is_tick, until
from tests.write_models.driver import Driver

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"

#: What is done to the stored event, and what is said of it.
POISONS = {
    "a newer schema version": ("schema_version = 9", "UnknownEvent: JournalPosted v9"),
    "a newer type": ("type = 'SomethingNew'", "UnknownEvent: SomethingNew v1"),
    "an actor that is no person": ("""metadata = jsonb_set(metadata, '{actor}', '"person:nobody"')""", "ValueError"),
    "metadata that lack the actor": ("metadata = metadata - 'actor'", "ValidationError"),
    "a figure that is none": (
        """data = jsonb_set(data, '{figures,0,posted}', '"much"')""",
        "ValidationError at `$.figures",
    ),
}


@pytest.fixture
def ledger(side: WriteSide) -> Driver:
    return Driver(side.commands)


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[Pool]:
    async with asyncpg.create_pool(database.url, min_size=1, max_size=6) as made:
        yield made


@pytest.fixture
async def redis(servers: EmbeddedServers) -> AsyncIterator[Redis]:
    client = Redis.from_url(servers.redis_url, socket_timeout=2, socket_connect_timeout=2)
    await client.flushall()
    yield client
    await client.aclose()


@dataclass
class Story:
    """`one` and `two` are touched by the event that will be poison; `bystander` shares a partition with `one`."""

    owner: UUID
    one: UUID
    two: UUID
    bystander: UUID
    poison: int


async def told(ledger: Driver) -> Story:
    owner = uuid4()
    one, two = await ledger.funded(owner, "100"), await ledger.funded(owner, "100")
    bystander = next(new for new in iter(uuid4, None) if partition_of(new) == partition_of(one))
    await ledger.done(OpenAccount(bystander, owner, "EUR", PersonalText("Other")), person=owner)
    poison = await ledger.transfer(owner, one, two, "1")
    await ledger.deposit(one, owner, "5")
    await ledger.deposit(bystander, owner, "7")
    return Story(owner, one, two, bystander, journal_position(poison))


def journal_position(outcome: object) -> int:
    position: int = outcome.position  # type: ignore[attr-defined]
    return position


class Store:
    """As a superuser that takes the guards down: the event becomes what another release might have written, and back."""

    def __init__(self, admin: asyncpg.Connection) -> None:
        self.admin = admin
        self.before: asyncpg.Record | None = None

    async def poison(self, position: int, change: str) -> None:
        await self.admin.execute("alter event trigger isthmus_refuse_unguarded disable")
        await self.admin.execute("alter table event_store disable trigger append_only")
        self.before = await self.admin.fetchrow("select * from event_store where position = $1", position)
        await self.admin.execute(f"update event_store set {change} where position = $1", position)

    async def understood(self) -> None:
        assert self.before is not None
        await self.admin.execute(
            "update event_store set type = $2, schema_version = $3, data = $4, metadata = $5 where position = $1",
            *(self.before[name] for name in ("position", "type", "schema_version", "data", "metadata")),
        )


async def swept(projector: Projector, head: int) -> None:
    """As the sweep comes by once a second, until it has come often enough."""
    for _ in range(PARK_AFTER_TRIES):
        with suppress(*POISON):
            await projector.fill(dict.fromkeys(range(PARTITIONS), head), "test")


async def lowest(pool: Pool) -> int:
    async with pool.acquire() as connection:
        return min((await stored_positions(connection)).values())


@pytest.mark.parametrize("kind", POISONS)
async def test_f17_an_event_that_cannot_be_projected_is_set_aside_and_the_others_of_its_partition_go_on(
    pool: Pool, ledger: Driver, admin: asyncpg.Connection, kind: str
) -> None:
    story, store = await told(ledger), Store(admin)
    change, reason = POISONS[kind]
    await store.poison(story.poison, change)
    head = await pool.fetchval("select position from log_head")
    made, by_hand = await batches(pool, size=50), await ByHand.on(pool)

    await by_hand.take_all(made)
    async with pool.acquire() as connection:
        assert await parked_events(connection) == [], "not at the first try"
        assert (await stored_positions(connection))[partition_of(story.one)] < story.poison
    await swept(by_hand.projector, head)

    assert await lowest(pool) == head
    async with pool.acquire() as connection:
        parked = await parked_events(connection)
        mine = [(one.position, one.reason) for one in parked if one.account_id == story.one]
        assert mine[0][0] == story.poison
        assert mine[0][1].startswith(reason)
        assert mine[1:] == [(story.poison + 1, f"behind position {story.poison}")]
        assert {(one.state, one.tries) for one in parked if one.position == story.poison} == {
            ("NEEDS_ATTENTION", PARK_AFTER_TRIES)
        }
        rows = await connection.fetch(
            "select account_id, a.version, b.version as truth from read_models.accounts a join account_balances b using (account_id)"
        )
        versions = {row["account_id"]: (row["version"], row["truth"]) for row in rows}
        assert versions[story.one] == (1, 3), "its rows stay as they were: no movement is skipped"
        assert versions[story.bystander] == (1, 1)
        assert [one.table for one in await compare(connection)] == ["parked_events"], "named, and nothing else differs"
        assert "NEEDS_ATTENTION" in (await compare(connection))[0].example
    await assert_refused_or_right(pool, story)

    await store.understood()
    await by_hand.projector.mend()

    async with pool.acquire() as connection:
        assert await parked_events(connection) == []
        assert await compare(connection) == []
    (page,) = await TransactionReader(pool).pages(Sight(story.owner), [PageOf(story.one, 10, None, None)])
    assert not isinstance(page, Exception)
    assert len(page[0]) == 3


async def assert_refused_or_right(pool: Pool, story: Story) -> None:
    sight = Sight(story.owner)
    pages = await TransactionReader(pool).pages(
        sight, [PageOf(account, 10, None, None) for account in (story.one, story.bystander)]
    )
    assert isinstance(pages[0], Incomplete), "a history with a hole is not shown"
    assert not isinstance(pages[1], Exception)
    stranger = await TransactionReader(pool).pages(Sight(uuid4()), [PageOf(story.one, 10, None, None)])
    assert stranger == [([], False)], "to whom the account is not shown, neither is this"
    assert (await log_health(pool)).parked == 3
    async with pool.acquire() as connection:
        finding = await _parked(connection)
    assert finding.status == "problem"
    assert f"position {story.poison}" in finding.found


async def test_f17_what_a_rebuild_cannot_project_either_is_set_aside_again_and_mended_by_one_that_can(
    pool: Pool, ledger: Driver, admin: asyncpg.Connection
) -> None:
    story, store = await told(ledger), Store(admin)
    await store.poison(story.poison, "schema_version = 9")
    async with pool.acquire() as connection:
        await rebuild(connection)
        assert len(await parked_events(connection)) == 3

        await store.understood()
        await rebuild(connection)

        assert await parked_events(connection) == []
        assert await compare(connection) == []


async def test_f17_an_account_whose_opening_is_not_understood_is_refused_and_not_denied(
    pool: Pool, ledger: Driver, admin: asyncpg.Connection
) -> None:
    owner = uuid4()
    account = await ledger.funded(owner, "10")
    await Store(admin).poison(1, "schema_version = 9")
    async with pool.acquire() as connection:
        await rebuild(connection)

    (row,) = await AccountReader(pool).load_many(Sight(owner), [account])

    assert isinstance(row, Incomplete)
    assert await AccountReader(pool).load_many(Sight(uuid4()), [account]) == [None]


async def test_f17_no_wrong_balance_is_shown_and_whoever_watches_gets_all_once_it_is_mended(
    database: Database, redis: Redis, ledger: Driver, admin: asyncpg.Connection
) -> None:
    story, store = await told(ledger), Store(admin)
    async with live(database, redis) as made, feed_on(made) as feed:
        cache = BalanceCache(redis, made.identity)
        balances = BalanceReader(made.pool, cache, made.positions)
        await made.project()
        watcher = Watcher(feed, story.owner, frozenset({story.one, story.bystander}))
        await watcher.reaches({story.one: 3, story.bystander: 1})
        await ledger.deposit(story.one, story.owner, "1")
        head = await made.project()
        await cached(made, cache, head, {story.one})
        poison = journal_position(await ledger.transfer(story.owner, story.one, story.two, "2"))
        await store.poison(poison, "schema_version = 9")
        await ledger.deposit(story.one, story.owner, "3")
        await ledger.deposit(story.bystander, story.owner, "4")
        head = await made.pool.fetchval("select position from log_head")
        await swept(made.projector, head)
        assert await lowest(made.pool) == head
        await watcher.reaches({story.bystander: 2})

        await cached(made, cache, head, {story.bystander}, without={story.one})
        (shown,) = await balances.load_many(Sight(story.owner), [story.one])
        assert shown is not None
        assert shown.posted == await made.pool.fetchval(
            "select posted from account_balances where account_id = $1", story.one
        )
        with pytest.raises(Incomplete):
            await feed.subscribe(frozenset({story.one}), Sight(story.owner))
        assert watcher.version(story.one) == 4, "nothing is told that skips what is set aside"
        assert await listed(database) == {poison, poison + 1}

        await store.understood()
        await made.projector.mend()

        await watcher.reaches({story.one: 6})
        await watcher.check(made.pool)
        await watcher.leave()
        await ledger.deposit(story.one, story.owner, "1")
        await cached(made, cache, await made.project(), {story.one})


async def cached(
    made: Live, cache: BalanceCache, head: int, accounts: set[UUID], without: set[UUID] | None = None
) -> None:
    """Until Redis answers for exactly `accounts` and not for those `without`, from the position that is known."""
    assert await made.positions.wait_for(head, 5)
    without = without or set()

    async def told_to_redis() -> bool:
        return accounts <= (await cache.get_many([*accounts], made.positions.known())).keys()

    await until(told_to_redis)
    assert not await cache.get_many([*without], made.positions.known())


async def listed(database: Database) -> set[int]:
    """By the command that an operator would use."""
    environment = {**os.environ, "ISTHMUS_DATABASE__URL": database.url}
    done = await asyncio.to_thread(forked.isthmus, ["parked", "--json"], environment)
    assert done.returncode == 1, "something needs attention"
    return {one["position"] for one in json.loads(done.stdout)["parked"]}


async def test_f17_what_is_forged_on_the_bus_is_kept_as_evidence_and_the_store_is_believed(
    pool: Pool, ledger: Driver
) -> None:
    """Undecodable bytes, a second record in the place of a true one, and one that comes with a tick of its own."""
    story = await told(ledger)
    made, by_hand = await batches(pool, size=50), await ByHand.on(pool)
    mine = partition_of(story.one)
    true = [message for message in made[0].messages[mine] if not is_tick(message)]
    tick = next(message for message in made[0].messages[mine] if is_tick(message))
    newer = forged(true[0], schema_version=9)

    await by_hand.take({mine: [replace(true[0], value=b"\xff\x00 not JSON", offset=41), newer, *true[1:], tick]})
    await by_hand.take({mine: [forged(true[0], data=msgspec.Raw(b'{"figures": []}')), *true, tick]})
    await by_hand.take_all(made)

    async with pool.acquire() as connection:
        assert await compare(connection) == [], "what the store says, and nothing is set aside"
        refused = await refused_records(connection)
    assert {(one.broker_offset, one.reason.partition(":")[0]) for one in refused} == {
        (41, "DecodeError"),
        (-1, "not in the event store; UnknownEvent"),
    }


def forged(message: Received, **changes: object) -> Received:
    event = msgspec.json.decode(message.value, type=LoggedEvent)
    return replace(message, value=msgspec.json.encode(msgspec.structs.replace(event, **changes)))


async def test_f17_a_poisoned_event_does_not_keep_the_others_from_the_bus(
    pool: Pool, ledger: Driver, admin: asyncpg.Connection
) -> None:
    """The relay spreads events by the accounts that they touch: one where that cannot be told goes by its aggregate."""
    from isthmus.domain.log import record_messages
    from tests.read_models.rig import read_log

    story = await told(ledger)
    await Store(admin).poison(story.poison, """metadata = '{}', data = '{"figures": [{"account_id": "nobody"}]}'""")

    messages, counts = record_messages("log", await read_log(pool))

    assert sum(counts.values()) == len(messages)
    assert story.poison in {int(dict(message.headers)["position"]) for message in messages}
    with pytest.raises((UnknownEvent, msgspec.ValidationError, KeyError)):
        next(event for event in await read_log(pool) if event.position == story.poison).lifted()
