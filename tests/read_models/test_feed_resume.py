"""Resuming: after a position, what was missed and then what comes, each version once, in log order over all accounts."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID, uuid4

import pytest
from redis.asyncio import Redis

from isthmus.domain.log import PARTITIONS
from isthmus.read_models.database import Sight
from isthmus.read_models.feed_wire import BalanceMessage, Cause, Hint, Move
from isthmus.read_models.feeds import BalanceFeed
from tests.conftest import Database
from tests.read_models.live import Faults, Live, Watcher, feed_on, live
from tests.read_models.rig import until
from tests.write_models.driver import Driver


@pytest.fixture
async def running(database: Database, redis: Redis) -> AsyncIterator[Live]:
    async with live(database, redis) as made:
        yield made


async def quiet(feed: BalanceFeed, owner: UUID, after: int) -> list[BalanceMessage]:
    """What a subscriber gets until nothing comes for a moment."""
    subscriber = await feed.subscribe(None, Sight(owner), after)
    got = []
    with suppress(TimeoutError):
        while True:
            got.append(await asyncio.wait_for(subscriber.next(), 0.3))
    subscriber.close()
    return got


@pytest.mark.parametrize(("lost", "doubled"), [(0.0, 0.0), (0.5, 0.3), (1.0, 0.0)])
async def test_whoever_comes_back_with_its_last_position_has_no_gap_and_no_repetition(
    database: Database, redis: Redis, ledger: Driver, lost: float, doubled: float
) -> None:
    chance = random.Random(11)
    async with live(database, redis, Faults(lost, doubled)) as made, feed_on(made) as feed:
        ada = uuid4()
        mine = [await ledger.funded(ada, "1000") for _ in range(3)]
        await made.project()
        got: list[BalanceMessage] = []
        watcher = Watcher(feed, ada)
        await watcher.reaches(dict.fromkeys(mine, 1))
        for n in range(60):
            one, other = chance.sample(mine, 2)
            await ledger.transfer(ada, one, other, "1")  # each touches two of them, mostly in two partitions
            if n % 3 == 0:
                await made.project()
            if n % 9 == 4:
                got += watcher.order
                await watcher.leave()
                await asyncio.sleep(0)
                watcher = Watcher(feed, ada, None, got[-1].position)
        await made.project()
        reached = {r["account_id"]: r["version"] for r in await made.pool.fetch("select * from account_balances")}

        def newest(account: UUID) -> int:
            return max((one.version for one in got + watcher.order if one.account_id == account), default=-1)

        async def all_there() -> bool:
            return all(newest(account) >= reached[account] for account in mine)

        await until(all_there, 10)
        got += watcher.order
        await watcher.leave()
        for account in mine:
            assert [one.version for one in got if one.account_id == account] == list(range(1, reached[account] + 1))
        positions = [one.position for one in got]
        assert positions == sorted(positions), "a later message never says less"
        for first, second in itertools.pairwise(got):
            if first.cause and second.cause and first.cause.event_id == second.cause.event_id:
                assert first.position < second.position, "first event in two accounts: its first half is not the whole"


async def test_nothing_missed_is_nothing_said_until_something_changes(running: Live, ledger: Driver) -> None:
    ada = uuid4()
    account = await ledger.funded(ada, "5")
    head = await running.project()
    async with feed_on(running) as feed:
        assert await quiet(feed, ada, head) == []
        watcher = Watcher(feed, ada, None, head)
        await asyncio.sleep(0.05)
        await ledger.deposit(account, ada, "1")
        await running.project()
        await watcher.reaches({account: 2})

        assert [one.version for one in watcher.order] == [2]
        assert watcher.order[0].cause is not None
        await watcher.leave()


async def test_more_than_may_be_replayed_is_one_lagged_message_and_the_other_accounts_are_whole(
    running: Live, ledger: Driver
) -> None:
    ada = uuid4()
    busy, calm = await ledger.funded(ada, "5"), await ledger.funded(ada, "5")
    after = await running.project()
    for n in range(12):
        await ledger.deposit(busy, ada, "1")
        if n % 4 == 0:
            await ledger.deposit(calm, ada, "1")
    await running.project()
    async with feed_on(running, replay_max=10) as feed:
        got = await quiet(feed, ada, after)

    assert [one.version for one in got if one.account_id == calm] == [2, 3, 4]
    (lagged,) = [one for one in got if one.account_id == busy]
    assert (lagged.version, lagged.posted, lagged.lagged_from, lagged.cause) == (13, 17, after, None)
    assert got[-1] is lagged


async def test_exactly_as_much_as_may_be_replayed_is_replayed(running: Live, ledger: Driver) -> None:
    ada = uuid4()
    account = await ledger.funded(ada, "5")
    after = await running.project()
    for _ in range(10):
        await ledger.deposit(account, ada, "1")
    await running.project()
    async with feed_on(running, replay_max=10) as feed:
        got = await quiet(feed, ada, after)

    assert [(one.version, one.lagged_from) for one in got] == [(version, None) for version in range(2, 12)]


async def test_an_account_opened_after_the_position_comes_from_its_beginning(running: Live, ledger: Driver) -> None:
    ada = uuid4()
    await ledger.funded(ada, "5")
    after = await running.project()
    account = await ledger.funded(ada, "7")
    await running.project()
    async with feed_on(running) as feed:
        got = await quiet(feed, ada, after)

    assert [(one.account_id, one.version, one.posted, one.is_first) for one in got] == [
        (account, 0, 0, True),
        (account, 1, 7, False),
    ]


async def test_of_two_accounts_the_one_whose_partition_is_quicker_waits_for_the_other(
    running: Live, ledger: Driver
) -> None:
    """Else the quicker one's position would say that all before it was delivered."""
    ada = uuid4()
    mine = [await ledger.funded(ada, "5") for _ in range(2)]
    await running.project()
    async with feed_on(running) as feed:
        watcher = Watcher(feed, ada)
        await watcher.reaches(dict.fromkeys(mine, 1))
        await asyncio.sleep(0.05)
        before, both = len(watcher.order), await feed.subscribe(frozenset(mine), Sight(ada))
        while both.pop() is not None:
            pass
        held = both.versions.copy()
        at = dict(feed._at)
        ahead = max(at.values()) + 5
        move = Move(0, at[0], ahead)
        feed.take(Hint(feed._identity, (move,)))
        both.offer(_next(both.versions, mine[0], ahead))
        both.release(feed._at)

        assert both.pop() is None
        assert both.versions != held
        feed.take(Hint(feed._identity, tuple(Move(n, at[n], ahead) for n in range(1, PARTITIONS))))
        message = both.pop()
        assert message is not None
        assert message.position == ahead
        assert len(watcher.order) == before
        both.close()
        await watcher.leave()


def _next(versions: dict[UUID, int], account: UUID, position: int) -> BalanceMessage:
    zero, cause = Decimal(0), Cause(uuid4(), "JournalPosted", "x")
    return BalanceMessage(account, "EUR", versions[account] + 1, position, zero, zero, zero, datetime.now(UTC), cause)


async def test_an_operator_follows_any_account_it_names_and_nobody_else_does(running: Live, ledger: Driver) -> None:
    ada, olga = uuid4(), uuid4()
    account = await ledger.funded(ada, "5")
    await running.project()
    async with feed_on(running) as feed:
        named = await feed.subscribe(frozenset({account}), Sight(olga, all_accounts=True))
        everything = await feed.subscribe(None, Sight(olga, all_accounts=True))
        stranger = await feed.subscribe(frozenset({account}), Sight(olga))
        first = named.pop()

        assert first is not None
        assert (first.version, everything.pop(), stranger.pop()) == (1, None, None)
        for one in (named, everything, stranger):
            one.close()
