"""The oracle can fail: each known bug, put back, is caught by the row that is there for it; and without it the same run is sound.

The runs are short and in this process, on the real database, broker and Redis; who judges is the oracle of `isthmus torture`.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest
from redis.asyncio import Redis

from isthmus.failpoints import armed
from isthmus.graphql.ids import Kind as IdKind
from isthmus.graphql.ids import encode
from isthmus.integrations.bus import Broker, BusUnavailable, KafkaPublisher
from isthmus.read_models.balance_cache import BalanceCache
from isthmus.read_models.balances import BalanceReader
from isthmus.read_models.database import Sight
from isthmus.read_models.feed_wire import BalanceMessage
from isthmus.read_models.positions import log_identity
from isthmus.runtime.servers import EmbeddedServers
from isthmus.runtime.wiring import write_side
from isthmus.settings import Settings
from isthmus.torture.bus import BusReader
from isthmus.torture.effects import account_uuid
from isthmus.torture.intents import IntentLog, Kind
from isthmus.torture.oracle import Oracle
from isthmus.torture.sabotages import SABOTAGES, sabotaged
from isthmus.torture.verdict import Verdict
from isthmus.torture.watches import Watches
from isthmus.write_models.relay import Relay
from tests.conftest import Database
from tests.faults.direct import DirectDoor
from tests.read_models.live import feed_on, live

TRANSFERS = 60
ACCOUNTS = 4


@dataclass
class Run:
    """Two writers on one ledger, and clients that pay from account to account at random."""

    database: Database
    door: DirectDoor
    intents: IntentLog
    chance: random.Random
    accounts: list[str]

    async def furnish(self) -> None:
        for _ in range(ACCOUNTS):
            opened = await self.intents.send(
                self.intents.intend("c", "openAccount", {"asset": "EUR", "name": "A"}), self.door
            )
            assert opened.kind is Kind.OK
            assert opened.answer is not None
            self.accounts.append(opened.answer["account"]["id"])
        for number, account in enumerate(self.accounts):
            wish = {"accountId": account, "amount": {"amount": "1000.00", "asset": "EUR"}, "reference": f"w{number}"}
            await self.intents.send(self.intents.intend("c", "settleDeposit", wish), self.door)

    async def pay(self, transfers: int = TRANSFERS) -> None:
        """Eight at a time; now and then the same again, or its key with another amount."""
        slots = asyncio.Semaphore(8)

        async def one() -> None:
            async with slots:
                source, target = self.chance.sample(self.accounts, 2)
                amount = {"amount": str(Decimal(self.chance.randrange(1, 900)) / 100), "asset": "EUR"}
                wish = {"fromAccountId": source, "toAccountId": target, "amount": amount, "reference": "r"}
                intent = self.intents.intend("c", "transferInternally", wish)
                await self.intents.send(intent, self.door)
                if self.chance.random() < 0.2:
                    await self.intents.send(intent, self.door)
                if self.chance.random() < 0.1 and intent.definite is not None:
                    other = {**wish, "amount": {"amount": "9.99", "asset": "EUR"}}
                    await self.intents.send(self.intents.probe(intent, other), self.door)

        await asyncio.gather(*(one() for _ in range(transfers)))


@asynccontextmanager
async def running(database: Database, settings: Settings, path: Path) -> AsyncIterator[Run]:
    async with AsyncExitStack() as stack:
        sides = [await stack.enter_async_context(write_side(settings, database.url)) for _ in range(2)]
        log = stack.enter_context(IntentLog(path / "intents.jsonl", uuid4().hex[:8]))
        door = DirectDoor(tuple(side.commands for side in sides), uuid4())
        yield Run(database, door, log, random.Random(11), [])


async def _writes(run: Run, fail: str, _: EmbeddedServers) -> Verdict:
    oracle = Oracle(run.database.admin_url)
    await run.furnish()
    with armed(fail):
        await run.pay()
    await oracle.resolve(run.intents, run.door)
    return await oracle.judge(run.intents.intents, projected=False)


@dataclass(frozen=True)
class _Fence:
    name: str
    holder: object
    epoch: int


async def _relay(run: Run, _: str, servers: EmbeddedServers) -> Verdict:
    await run.furnish()
    await run.pay(30)
    connection = await asyncpg.connect(run.database.admin_url)
    holder = uuid4()
    await connection.execute("insert into leases values ('relay', $1, 1, now() + interval '1 hour')", holder)
    bus = BusReader(servers.kafka_url, await log_identity(connection))
    publisher = KafkaPublisher(Broker(servers.kafka_url, embedded=True))
    relay = Relay(lambda: asyncpg.connect(run.database.url), publisher, (BusUnavailable,))
    task = asyncio.create_task(relay.run(_Fence("relay", holder, 1)))  # type: ignore[arg-type]
    try:
        async with asyncio.timeout(30):
            head = await connection.fetchval("select position from log_head")
            # The last one may be among those that are passed by.
            while (
                await connection.fetchval("select max(position) from relay_state where name = 'relay'") or 0
            ) < head - 1:
                assert not task.done(), task
                await asyncio.sleep(0.05)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await publisher.aclose()
        await connection.close()
    return await Oracle(run.database.admin_url, bus).judge(run.intents.intents, projected=False)


async def _projections(run: Run, fail: str, servers: EmbeddedServers) -> Verdict:
    await run.furnish()
    await run.pay(20)
    redis: Redis = Redis.from_url(servers.redis_url)
    async with live(run.database, redis) as parts:
        with armed(fail), contextlib.suppress(Exception):  # as a crash would, in between
            await parts.project()
        await parts.project()
        verdict = await Oracle(run.database.admin_url).judge(run.intents.intents)
    await redis.aclose()
    return verdict


async def _reads(run: Run, _: str, servers: EmbeddedServers) -> Verdict:
    """One session reads while another pays; money only moves between the accounts that are summed."""
    await run.furnish()
    watches = Watches()
    redis: Redis = Redis.from_url(servers.redis_url)
    async with live(run.database, redis) as parts:
        await parts.project()
        reader = BalanceReader(parts.pool, BalanceCache(redis, parts.identity), parts.positions)
        sight, keys = Sight(run.door.person), [account_uuid(account) for account in run.accounts]
        for _round in range(6):
            await run.pay(5)
            await parts.project()
            found = await reader.load_many(sight, keys)
            assert all(figures is not None for figures in found)
            for account, figures in zip(run.accounts, found, strict=True):
                assert figures is not None
                watches.version("reader", account, figures.version)
            watches.total(Decimal(4_000), sum((f.posted for f in found if f), Decimal(0)), "the accounts")
        verdict = await Oracle(run.database.admin_url).judge(run.intents.intents, watches)
    await redis.aclose()
    return verdict


async def _live(run: Run, _: str, servers: EmbeddedServers) -> Verdict:
    """A subscriber that goes away while others pay, and comes back with the position that it has."""
    await run.furnish()
    watches = Watches()
    feed_watch = watches.feed("subscriber")
    redis: Redis = Redis.from_url(servers.redis_url)
    async with live(run.database, redis) as parts, feed_on(parts) as feed:
        await parts.project()
        for _round in range(3):
            subscriber = await feed.subscribe(None, Sight(run.door.person), feed_watch.position or None)
            feed_watch.connected(resumed=feed_watch.position > 0)
            await run.pay(5)
            await parts.project()
            with contextlib.suppress(TimeoutError):  # what does not come is for the oracle to say
                while True:
                    feed_watch.message(_as_json(await asyncio.wait_for(subscriber.next(), 0.5)))
            subscriber.close()
            await run.pay(5)
            await parts.project()
        verdict = await Oracle(run.database.admin_url).judge(run.intents.intents, watches)
    await redis.aclose()
    return verdict


def _as_json(message: BalanceMessage) -> dict[str, object]:
    lagged = None if message.lagged_from is None else {"fromPosition": str(message.lagged_from)}
    account = {"id": encode(IdKind.ACCOUNT, message.account_id)}
    return {"account": account, "version": message.version, "position": str(message.position), "lagged": lagged}


_PARTS: dict[str, Callable[[Run, str, EmbeddedServers], Awaitable[Verdict]]] = {
    "writes": _writes,
    "relay": _relay,
    "projections": _projections,
    "reads": _reads,
    "live": _live,
}


async def _judged(
    name: str, bug: str | None, database: Database, settings: Settings, servers: EmbeddedServers, path: Path
) -> Verdict:
    control = SABOTAGES[name]
    with sabotaged(bug):
        if bug is not None and control.sql:
            connection = await asyncpg.connect(database.admin_url)
            await connection.execute(control.sql)
            await connection.close()
        async with running(database, settings, path) as run:
            return await _PARTS[control.seen_in](run, control.fail, servers)


@pytest.mark.parametrize("name", [name for name, one in SABOTAGES.items() if one.seen_in in _PARTS])
async def test_the_oracle_catches_a_known_bug(
    name: str, database: Database, settings: Settings, servers: EmbeddedServers, tmp_path: Path
) -> None:
    verdict = await _judged(name, name, database, settings, servers, tmp_path)
    assert SABOTAGES[name].row in verdict.rows(), verdict


@pytest.mark.parametrize(
    "name", ["ack_before_commit", "skip_in_relay", "offsets_before_work", "stale_balance", "resume_from_latest"]
)
async def test_without_the_bug_the_same_run_is_sound(
    name: str, database: Database, settings: Settings, servers: EmbeddedServers, tmp_path: Path
) -> None:
    verdict = await _judged(name, None, database, settings, servers, tmp_path)
    assert verdict.sound, verdict.violations
    assert verdict.checked["intents"] > 20


async def test_what_is_acknowledged_and_lost_or_done_twice_is_counted(
    database: Database, settings: Settings, servers: EmbeddedServers, tmp_path: Path
) -> None:
    lost = await _judged("ack_before_commit", "ack_before_commit", database, settings, servers, tmp_path)
    assert lost.lost > 0
