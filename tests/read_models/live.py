"""The read side at work in the test's own process: commands, projections by hand, feeds over a real Redis."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import UUID

import asyncpg
from redis.asyncio import Redis

from isthmus.domain.log import PARTITIONS
from isthmus.integrations.bus import BusUnavailable
from isthmus.read_models.broadcaster import Broadcaster
from isthmus.read_models.database import Sight
from isthmus.read_models.feeds import BalanceFeed, BalanceMessage
from isthmus.read_models.positions import ProjectionPositions, log_identity
from isthmus.read_models.projections import Advanced, ensure_positions
from isthmus.read_models.projector import Projector
from tests.conftest import Database
from tests.read_models.rig import ScriptedBus, until


@dataclass
class Faults:
    """What becomes of hints: the share that is lost, and whether others come twice and late."""

    lost: float = 0.0
    doubled: float = 0.0
    chance: random.Random = field(default_factory=lambda: random.Random(7))


class FaultyBroadcaster(Broadcaster):
    faults: Faults

    def applied(self, moved: Sequence[Advanced]) -> None:
        kept = [one for one in moved if self.faults.chance.random() >= self.faults.lost]
        again = [one for one in kept if self.faults.chance.random() < self.faults.doubled]
        super().applied(kept)
        if again:
            asyncio.get_running_loop().call_later(0.02, super().applied, again)


@dataclass
class Live:
    database: Database
    pool: asyncpg.Pool[asyncpg.Record]
    redis: Redis
    positions: ProjectionPositions
    projector: Projector
    broadcaster: FaultyBroadcaster
    identity: str

    async def project(self) -> int:
        """Bring every partition to the log's end, as `work` would within milliseconds."""
        head: int = await self.pool.fetchval("select position from log_head")
        await self.projector.fill(dict.fromkeys(range(PARTITIONS), head), "test")
        return head


@asynccontextmanager
async def live(database: Database, redis: Redis, faults: Faults | None = None) -> AsyncIterator[Live]:
    async with asyncpg.create_pool(database.url, min_size=2, max_size=8) as pool:
        async with pool.acquire() as connection:
            await ensure_positions(connection)
            identity = await log_identity(connection)
        positions = ProjectionPositions(lambda: asyncpg.connect(database.url))
        await positions.start()
        broadcaster = FaultyBroadcaster(redis, identity, positions.known)
        broadcaster.faults = faults or Faults()
        projector = Projector(pool, ScriptedBus, (BusUnavailable,), broadcaster.applied)
        telling = asyncio.create_task(broadcaster.run())
        try:
            yield Live(database, pool, redis, positions, projector, broadcaster, identity)
        finally:
            telling.cancel()
            await asyncio.gather(telling, return_exceptions=True)
            await positions.aclose()


@asynccontextmanager
async def feed_on(live: Live, replay_max: int = 500) -> AsyncIterator[BalanceFeed]:
    feed = BalanceFeed(live.pool, live.redis, live.positions, replay_max)
    await feed.start()
    try:
        yield feed
    finally:
        await feed.aclose()


class Watcher:
    """A subscriber that keeps all it gets, and knows what is wrong with it."""

    def __init__(
        self,
        feed: BalanceFeed,
        owner: UUID,
        account_ids: frozenset[UUID] | None = None,
        after: int | None = None,
    ) -> None:
        self.messages: dict[UUID, list[BalanceMessage]] = {}
        self.order: list[BalanceMessage] = []
        self._task = asyncio.create_task(self._watch(feed, owner, account_ids, after))

    async def _watch(
        self, feed: BalanceFeed, owner: UUID, account_ids: frozenset[UUID] | None, after: int | None
    ) -> None:
        subscriber = await feed.subscribe(account_ids, Sight(owner), after)
        try:
            while True:
                message = await subscriber.next()
                self.messages.setdefault(message.account_id, []).append(message)
                self.order.append(message)
        finally:
            subscriber.close()

    def version(self, account: UUID) -> int:
        some = self.messages.get(account)
        return some[-1].version if some else -1

    async def reaches(self, versions: dict[UUID, int], within_s: float = 20.0) -> None:
        async def there() -> bool:
            assert not self._task.done(), self._task
            return all(self.version(account) >= version for account, version in versions.items())

        try:
            await until(there, within_s)
        except TimeoutError:
            missing = {account: (self.version(account), version) for account, version in versions.items()}
            raise AssertionError(f"not delivered (has, should): {missing}") from None

    async def check(self, pool: asyncpg.Pool[asyncpg.Record]) -> None:
        """The current balance first, then every version once, each as history has it."""
        for account, messages in self.messages.items():
            assert messages[0].cause is None
            first = messages[0].version
            assert [one.version for one in messages] == list(range(first, first + len(messages)))
            rows = await pool.fetch("select * from read_models.balance_history where account_id = $1", account)
            truth = {row["version"]: row for row in rows}
            for message in messages[1:]:
                row = truth[message.version]
                assert message.posted == row["posted"]
                assert message.pending_out == row["pending_out"]
                assert message.as_of == row["committed_at"]
                assert message.position == row["position"]
                assert message.cause is not None
                assert message.cause.event_id == row["event_id"]
                assert message.cause.correlation_id == row["correlation_id"]

    async def leave(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
