"""F16: each part of `work` dies after its effect and before it has kept its place. Whoever comes after it is given the same again.

In this process: at its fail point a part stands still, and then everything of that `work` is ended (test_work_killed.py kills real ones).
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest
from redis.asyncio import Redis

from isthmus.domain.log import Received
from isthmus.failpoints import armed
from isthmus.graphql.ids import account_key
from isthmus.integrations.bus import KafkaLogConsumer
from isthmus.read_models.feeds import BalanceFeed
from isthmus.read_models.positions import ProjectionPositions, log_identity
from isthmus.read_models.projections import ensure_positions
from isthmus.read_models.rebuild import compare
from isthmus.runtime.servers import EmbeddedServers
from isthmus.runtime.wiring import write_side
from isthmus.settings import Settings
from isthmus.torture.bus import BusReader
from isthmus.torture.oracle import Oracle
from tests.conftest import Database
from tests.faults.direct import DirectDoor
from tests.faults.wishes import Wishes, wishes
from tests.read_models.live import Watcher
from tests.read_models.rig import is_tick
from tests.runtime.test_work import an_up_on, working

ADA = uuid4()
#: The effect is there, the place is not: of the relay, of a projector, of the feed. FAULT_POINTS=all takes those around them too.
POINTS = ["relay.published", "projector.committed", "broadcaster.before_tell"]
if os.environ.get("FAULT_POINTS") == "all":
    POINTS += ["relay.read", "relay.kept", "projector.before_apply", "projector.applied"]


@dataclass
class _Delivered:
    """What projectors were given: how often each place of the bus (a partition and an offset), and at which places each record lies."""

    places: Counter[tuple[int, int]] = field(default_factory=Counter)
    records: defaultdict[tuple[bytes, bytes | None], set[tuple[int, int]]] = field(
        default_factory=lambda: defaultdict(set)
    )

    def take(self, one: Received) -> None:
        self.places[one.partition, one.offset] += 1
        if not is_tick(one):
            self.records[one.headers["position"], one.key].add((one.partition, one.offset))


@pytest.fixture
def delivered(monkeypatch: pytest.MonkeyPatch) -> _Delivered:
    seen = _Delivered()
    poll = KafkaLogConsumer.poll

    async def noting(self: KafkaLogConsumer, timeout_s: float, records_max: int) -> Mapping[int, list[Received]]:
        polled = await poll(self, timeout_s, records_max)
        for some in polled.values():
            for one in some:
                seen.take(one)
        return polled

    monkeypatch.setattr(KafkaLogConsumer, "poll", noting)
    return seen


@asynccontextmanager
async def _watching(servers: EmbeddedServers, database: Database, clients: Wishes) -> AsyncIterator[list[Watcher]]:
    """A subscriber to each account, in a process that does not die. In the end each has had every version once, and the true ones."""
    redis = Redis.from_url(servers.redis_url, socket_timeout=2, socket_connect_timeout=2)
    positions = ProjectionPositions(lambda: asyncpg.connect(database.url))
    async with asyncpg.create_pool(database.url, min_size=1, max_size=4) as pool:
        async with pool.acquire() as connection:
            await ensure_positions(connection)
        await positions.start()
        feed = BalanceFeed(pool, redis, positions)
        await feed.start()
        watchers = [Watcher(feed, ADA, frozenset({account_key(account)})) for account in clients.accounts]
        try:
            yield watchers
            for watcher in watchers:
                await watcher.check(pool)
        finally:
            for watcher in watchers:
                await watcher.leave()
            await feed.aclose()
            await positions.aclose()
            await redis.aclose()


async def test_f16_what_is_delivered_again_after_a_death_between_effect_and_offset_has_its_effect_once(
    servers: EmbeddedServers, database: Database, settings: Settings, tmp_path: Path, delivered: _Delivered
) -> None:
    admin = await asyncpg.connect(database.admin_url)
    bus = BusReader(servers.kafka_url, await log_identity(admin))
    async with write_side(settings, database.url) as side:
        door = DirectDoor((side.commands,), ADA)
        with an_up_on(settings, servers, database), wishes(tmp_path, door) as clients:
            await clients.furnish()
            async with _watching(servers, database, clients) as watchers:
                for point in POINTS:
                    before = delivered.places.total()
                    with armed(f"{point}:hang") as points:
                        async with working(settings), asyncio.timeout(60):
                            # By the bus, not by whoever reads the store until the bus delivers.
                            while not points[point].passed or delivered.places.total() == before:
                                await clients.send(clients.transfers(3), door)
                                await asyncio.sleep(0.05)
                async with working(settings):
                    await clients.send(clients.transfers(20), door)
                    verdict = await Oracle(database.admin_url, bus).judge(clients.log.intents)
                    rows = await admin.fetch("select account_id, version from account_balances")
                    versions = {row["account_id"]: row["version"] for row in rows}
                    for account, watcher in zip(clients.accounts, watchers, strict=True):
                        await watcher.reaches({account_key(account): versions[account_key(account)]}, within_s=30)
    assert verdict.violations == []
    assert (verdict.lost, verdict.doubled) == (0, 0)
    assert await compare(admin) == [], "the rows of a rebuild"
    assert max(delivered.places.values()) > 1, "something was delivered again"
    assert max(len(places) for places in delivered.records.values()) > 1, "something was published again"
    await admin.close()
