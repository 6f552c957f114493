"""Per account first the current balance, then every version once, whatever becomes of the hints."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any
from unittest.mock import AsyncMock
from uuid import UUID, uuid4

import pytest
from prometheus_client import REGISTRY
from redis.asyncio import Redis

from isthmus.read_models import feed_history
from isthmus.read_models.database import Sight
from isthmus.runtime.servers import EmbeddedServers
from tests.conftest import Database
from tests.read_models.live import Faults, Live, Watcher, feed_on, live
from tests.write_models.driver import Driver


@pytest.fixture
async def running(database: Database, redis: Redis) -> AsyncIterator[Live]:
    async with live(database, redis) as made:
        yield made


async def versions(made: Live) -> dict[UUID, int]:
    rows = await made.pool.fetch("select account_id, version from account_balances")
    return {row["account_id"]: row["version"] for row in rows}


@pytest.mark.parametrize(("lost", "doubled"), [(0.0, 0.0), (0.5, 0.3), (1.0, 0.0)])
async def test_no_gap_and_no_repetition_whatever_share_of_hints_is_lost(
    database: Database, redis: Redis, ledger: Driver, lost: float, doubled: float
) -> None:
    async with live(database, redis, Faults(lost, doubled)) as made, feed_on(made) as feed:
        ada, grace = uuid4(), uuid4()
        mine = [await ledger.funded(ada, "1000") for _ in range(2)]
        theirs = await ledger.funded(grace, "1000")
        await made.project()
        watchers = []
        for n in range(60):
            if n % 6 == 0:
                watchers += [Watcher(feed, ada), Watcher(feed, ada, frozenset(mine[:1])), Watcher(feed, grace)]
            await ledger.transfer(ada, mine[n % 2], theirs, "1")
            if n % 3:
                await made.project()
            if n % 10 == 5:
                await redis.client_kill_filter(_type="pubsub")
        await made.project()
        reached = await versions(made)

        for watcher in watchers:
            await watcher.reaches({account: reached[account] for account in watcher.messages})
        assert [set(one.messages) for one in watchers[:3]] == [set(mine), {mine[0]}, {theirs}]
        for watcher in watchers:
            await watcher.check(made.pool)
            await watcher.leave()


async def test_an_account_opened_later_comes_with_its_balance_first(running: Live, ledger: Driver) -> None:
    async with feed_on(running) as feed:
        ada = uuid4()
        everything = Watcher(feed, ada)
        await asyncio.sleep(0.1)
        assert everything.messages == {}
        account = await ledger.funded(ada, "5")
        await running.project()
        other = await ledger.open(ada, "ETH")
        await running.project()
        await ledger.deposit(account, ada, "6")
        await running.project()

        await everything.reaches({account: 2, other: 0})

        await everything.check(running.pool)
        await everything.leave()


async def test_an_account_named_before_it_is_projected_is_waited_for(running: Live, ledger: Driver) -> None:
    ada = uuid4()
    account = await ledger.open(ada)
    async with feed_on(running) as feed:
        named = Watcher(feed, ada, frozenset({account}))
        await asyncio.sleep(0.1)
        await running.project()

        await named.reaches({account: 0})

        await named.leave()


async def test_nobody_gets_what_is_not_theirs(running: Live, ledger: Driver) -> None:
    ada, grace = uuid4(), uuid4()
    account = await ledger.funded(ada, "5")
    await running.project()
    async with feed_on(running) as feed:
        stranger, owner = Watcher(feed, grace, frozenset({account})), Watcher(feed, ada)
        await owner.reaches({account: 1})
        await ledger.deposit(account, ada, "1")
        await running.project()

        await owner.reaches({account: 2})

        assert stranger.messages == {}
        await stranger.leave()
        await owner.leave()


async def test_a_subscriber_that_is_too_slow_gets_the_newest_balance_and_is_told_what_was_left_out(
    running: Live, ledger: Driver
) -> None:
    ada = uuid4()
    account = await ledger.funded(ada, "5")
    await running.project()
    async with feed_on(running, replay_max=2) as feed:
        slow, quick = await feed.subscribe(None, Sight(ada)), Watcher(feed, ada)
        first = await slow.next()
        for _ in range(40):
            await ledger.deposit(account, ada, "1")
            await running.project()
        await quick.reaches({account: 41})
        assert len(slow._queue) <= 5

        got, told = [first], REGISTRY.get_sample_value("isthmus_feed_lagged_total") or 0.0
        async with asyncio.timeout(20):
            while got[-1].version < 41:
                got.append(await slow.next())

        lagged = got[1]
        assert REGISTRY.get_sample_value("isthmus_feed_lagged_total") == told + 1, "and so is the operator"
        assert lagged.cause is None
        assert lagged.lagged_from == first.position
        assert [one.version for one in got[1:]] == list(range(lagged.version, 42))
        assert [one.lagged_from for one in got[2:]] == [None] * (len(got) - 2)
        everything = quick.messages[account]
        left_out = [one for one in everything if first.position < one.position <= lagged.position]
        assert lagged.version == first.version + len(left_out)
        assert (lagged.posted, lagged.as_of) == (left_out[-1].posted, left_out[-1].as_of)
        await quick.check(running.pool)
        await quick.leave()
        slow.close()
        assert len(feed._watches) == 0, "who left leaves nothing behind"


async def test_without_redis_the_database_alone_delivers(
    servers: EmbeddedServers, running: Live, ledger: Driver
) -> None:
    ada = uuid4()
    account = await ledger.funded(ada, "5")
    await running.project()
    async with feed_on(running) as feed:
        watcher = Watcher(feed, ada)
        await watcher.reaches({account: 1})
        servers.kill_server("valkey")
        seconds = []
        try:
            for n in range(5):
                await ledger.deposit(account, ada, "1")
                await running.project()
                began = time.monotonic()
                await watcher.reaches({account: n + 2})
                seconds.append(time.monotonic() - began)
        finally:
            servers.start_server("valkey")
        assert statistics.median(seconds) < 0.5
        await ledger.deposit(account, ada, "1")
        await running.project()

        await watcher.reaches({account: 7})

        await watcher.check(running.pool)
        await watcher.leave()


async def test_one_redis_subscription_carries_thousands_of_subscribers(
    servers: EmbeddedServers, running: Live, ledger: Driver
) -> None:
    owners = [uuid4() for _ in range(5)]
    accounts = [await ledger.funded(owner, "5") for owner in owners]
    await running.project()
    async with (
        Redis.from_url(servers.redis_url, client_name="one-of-thousands", socket_timeout=2) as redis,
        feed_on(replace(running, redis=redis)) as feed,
    ):
        watchers = [Watcher(feed, owners[n % 5]) for n in range(2_000)]
        for n, watcher in enumerate(watchers):
            await watcher.reaches({accounts[n % 5]: 1}, within_s=20)
        for n in range(5):
            await ledger.deposit(accounts[n], owners[n], "1")
        await running.project()
        for n, watcher in enumerate(watchers):
            await watcher.reaches({accounts[n % 5]: 2}, within_s=20)

        listening = await redis.client_list(_type="pubsub")
        mine = [client for client in listening if client["name"] == "one-of-thousands"]
        assert [client["sub"] for client in mine] == ["1"]
        await asyncio.gather(*(watcher.leave() for watcher in watchers))


async def test_a_bug_that_ends_a_task_of_the_feed_costs_no_subscriber_a_message(
    running: Live, ledger: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = uuid4()
    account, other = await ledger.funded(ada, "10"), await ledger.funded(uuid4(), "1")
    await running.project()
    async with feed_on(running) as feed:
        watcher = Watcher(feed, ada)
        await watcher.reaches({account: 1}, 20)

        failing = {"take": 1, "history": 1}

        def once(name: str, work: Callable[..., Any]) -> Callable[..., Any]:
            def run(*given: Any) -> Any:
                if failing[name]:
                    failing[name] -= 1
                    raise KeyError("a bug")
                return work(*given)

            return run

        monkeypatch.setattr(feed, "take", once("take", feed.take))
        monkeypatch.setattr("isthmus.read_models.feeds.history", once("history", feed_history.history))
        for _ in range(3):
            await ledger.transfer(ada, account, other, "1")
            await running.project()

        await watcher.reaches({account: 4}, 20)
        await watcher.check(running.pool)
        assert failing == {"take": 0, "history": 0}
        assert {part.name: part.crashes for part in feed.parts} == {"feed: listen": 1, "feed: read": 1}
        await watcher.leave()


async def test_whoever_joins_while_the_feed_crashes_is_told_and_may_come_again(
    running: Live, ledger: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = uuid4()
    await ledger.funded(ada, "10")
    await running.project()
    async with feed_on(running) as feed:
        broken = AsyncMock(side_effect=KeyError("a bug"))
        monkeypatch.setattr("isthmus.read_models.feeds.current", broken)
        with pytest.raises(KeyError):
            await asyncio.wait_for(feed.subscribe(None, Sight(ada)), 20)

        monkeypatch.undo()
        subscriber = await asyncio.wait_for(feed.subscribe(None, Sight(ada)), 20)
        assert (await asyncio.wait_for(subscriber.next(), 20)).version == 1
        subscriber.close()
