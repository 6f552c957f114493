"""Live balances: one Redis subscription a process, any number of subscribers, one message per version and none skipped.

A hint from Redis is passed on where it joins on to what was passed on before. Everything else (a gap in a partition's chain, a
reconnect, a heartbeat or a database notification beyond what was seen) only says that there is more: it is then read from
`balance_history`, which has every version. With Redis gone altogether the database's notifications do alone.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from uuid import UUID

import asyncpg
import structlog
from prometheus_client import Counter, Gauge
from redis.asyncio import Redis

from isthmus.domain.log import PARTITIONS, partition_of
from isthmus.read_models.feed_listener import FeedListener
from isthmus.read_models.feed_subscriber import Subscriber, history
from isthmus.read_models.feed_wire import BalanceMessage, Cause, Change, Hint, Move, message_of, read_hint
from isthmus.read_models.positions import ProjectionPositions, log_identity

__all__ = ["BalanceFeed", "BalanceMessage", "Cause"]

#: How long a hint may take after the commit's own notification, before history is read instead.
GRACE_S = 0.03
_PAGE = 2_000
_PAUSE_S, _PAUSE_MAX_S = 0.05, 1.0

_subscribers = Gauge("isthmus_feed_subscribers", "Subscribers of the balance feed in this process.")
_refills = Counter("isthmus_feed_refills_total", "Times that history was read because of a gap.")

log = structlog.get_logger(__name__)


@dataclass
class _Watch:
    """An account that someone subscribes to, and the last version passed on."""

    asset: str
    version: int
    subscribers: set[Subscriber] = field(default_factory=set)


@dataclass
class _Wanted:
    """What is to be read: the accounts of who joins, partitions (with the position that the reading will at least reach), and
    accounts not known yet."""

    joining: dict[Subscriber, asyncio.Future[None]] = field(default_factory=dict)
    partitions: dict[int, int] = field(default_factory=dict)
    owners: set[UUID] = field(default_factory=set)
    everyone: bool = False


class BalanceFeed:
    """`start` and `aclose` frame its life; `positions` must have been started."""

    def __init__(self, pool: asyncpg.Pool[asyncpg.Record], redis: Redis, positions: ProjectionPositions) -> None:
        self._pool = pool
        self._positions = positions
        self._identity = ""
        self._watches: dict[UUID, _Watch] = {}
        self._partitions: list[set[UUID]] = [set() for _ in range(PARTITIONS)]
        self._everything_of: dict[UUID, set[Subscriber]] = {}
        self._unopened: dict[UUID, set[Subscriber]] = {}
        self._at = dict.fromkeys(range(PARTITIONS), -1)
        self._sought = dict(self._at)  # up to where reading is asked for, or under way
        self._passed = 0  # moves seen: says whether any went by while a subscriber was reading
        self._wanted = _Wanted()
        self._woken = asyncio.Event()
        self._listener = FeedListener(redis, self._payload, self._want_all)
        self._check: asyncio.TimerHandle | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._unlisten: Callable[[], None] = lambda: None

    async def start(self) -> None:
        async with self._pool.acquire() as connection:
            self._identity = await log_identity(connection)
        self._unlisten = self._positions.on_moved(self._committed)
        self._tasks = [
            asyncio.create_task(self._listener.run(), name="feed: listen"),
            asyncio.create_task(self._read_wanted(), name="feed: read"),
        ]

    async def aclose(self) -> None:
        self._unlisten()
        if self._check is not None:
            self._check.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def subscribe(self, account_ids: frozenset[UUID] | None, owner: UUID) -> AsyncIterator[BalanceMessage]:
        """Of `owner`'s accounts those named, or all of them, those opened later too. Per account the current balance, then one
        message per version. Does not end by itself. Raises asyncpg's errors where the current balances cannot be read."""
        subscriber = Subscriber(owner, account_ids, lambda *args: history(self._pool, *args), self._cursor)
        self._join(subscriber)
        _subscribers.inc()
        try:
            await self._begin(subscriber)
            while True:
                yield await subscriber.next()
        finally:
            self._leave(subscriber)
            _subscribers.dec()

    # -- who watches what --------------------------------------------------------------------------------------------

    def _join(self, subscriber: Subscriber) -> None:
        if subscriber.account_ids is None:
            self._everything_of.setdefault(subscriber.owner, set()).add(subscriber)
        else:
            for account in subscriber.account_ids:
                self._unopened.setdefault(account, set()).add(subscriber)

    async def _begin(self, subscriber: Subscriber) -> None:
        """Those who join together are read for together: a thousand that reconnect at once cost a few statements."""
        read = asyncio.get_running_loop().create_future()
        self._wanted.joining[subscriber] = read
        self._woken.set()
        await read

    def _leave(self, subscriber: Subscriber) -> None:
        subscriber.gone = True
        _remove(self._everything_of, [subscriber.owner], subscriber)
        _remove(self._unopened, subscriber.account_ids or (), subscriber)
        for account in subscriber.versions:
            watch = self._watches[account]
            watch.subscribers.discard(subscriber)
            if not watch.subscribers:
                del self._watches[account]
                self._partitions[partition_of(account)].discard(account)

    async def _adopt(
        self,
        owners: Iterable[UUID],
        subscribers: Iterable[Subscriber],
        after: int = -1,
    ) -> None:
        """Give the subscribers those of their accounts that they do not have yet: subscribed first, read then."""
        before = self._passed
        async with self._pool.acquire(timeout=2.0) as connection:
            rows = await connection.fetch(
                "select account_id, owner, asset, version, position, posted, pending_in, pending_out, as_of "
                "from read_models.accounts where owner = any($1::uuid[]) and opened_position > $2 order by opened_position",
                list(owners),
                after,
            )
        of_owner: dict[UUID, list[asyncpg.Record]] = {}
        for row in rows:
            of_owner.setdefault(row["owner"], []).append(row)
        for subscriber in subscribers:
            for row in () if subscriber.gone else of_owner.get(subscriber.owner, ()):
                account = row["account_id"]
                named = subscriber.account_ids is None or account in subscriber.account_ids
                if named and account not in subscriber.versions:
                    self._give(subscriber, row)
                    if self._passed != before:
                        subscriber.lag()

    def _give(self, subscriber: Subscriber, row: asyncpg.Record) -> None:
        account = row["account_id"]
        current = BalanceMessage(
            account,
            row["asset"],
            row["version"],
            row["position"],
            row["posted"],
            row["pending_in"],
            row["pending_out"],
            row["as_of"],
            None,
        )
        watch = self._watches.setdefault(account, _Watch(row["asset"], row["version"]))
        self._partitions[partition_of(account)].add(account)
        watch.subscribers.add(subscriber)
        _remove(self._unopened, [account], subscriber)
        subscriber.begin(current)
        if self._cursor(account) > row["version"]:
            subscriber.lag()

    def _cursor(self, account: UUID) -> int:
        watch = self._watches.get(account)
        return -1 if watch is None else watch.version

    # -- hints -------------------------------------------------------------------------------------------------------

    def _payload(self, payload: bytes | str) -> None:
        hint = read_hint(self._identity, payload)
        if hint is not None:
            self.take(hint)

    def take(self, hint: Hint) -> None:
        for move in hint.moves:
            self._move(move)
        for partition, head in hint.heads.items():
            self._reach(partition, head)

    def _move(self, move: Move) -> None:
        if move.end <= self._at[move.partition]:
            return
        self._passed += 1
        for opened in move.opened:
            if opened.account_id in self._unopened or opened.owner in self._everything_of:
                self._discover(opened.owner)
        for change in move.changes:
            self._change(move.partition, change)
        if move.start <= self._at[move.partition]:
            self._at[move.partition] = move.end
        else:
            self._want(move.partition, move.end)

    def _change(self, partition: int, change: Change) -> None:
        watch = self._watches.get(change.account_id)
        if watch is None:
            if change.account_id in self._unopened or change.owner in self._everything_of:
                self._discover(change.owner)
        elif not self._deliver(watch, message_of(change)):
            self._want(partition, change.position)

    def _deliver(self, watch: _Watch, message: BalanceMessage) -> bool:
        """False where versions are missing before it."""
        if message.version == watch.version + 1:
            watch.version = message.version
            for subscriber in watch.subscribers:
                subscriber.offer(message)
        return message.version <= watch.version

    def _discover(self, owner: UUID | None) -> None:
        if owner is not None:
            self._wanted.owners.add(owner)
            self._woken.set()

    def _reach(self, partition: int, end: int) -> None:
        if end > max(self._at[partition], self._sought[partition]):
            self._want(partition, end)

    def _want(self, partition: int, end: int) -> None:
        self._sought[partition] = max(end, self._sought[partition])
        self._wanted.partitions[partition] = max(end, self._wanted.partitions.get(partition, -1))
        self._wanted.everyone = True
        self._woken.set()

    def _want_all(self) -> None:
        known = self._positions.known()
        for partition, at in self._at.items():
            self._want(partition, known.get(partition, at))

    # -- the database's own notifications ----------------------------------------------------------------------------

    def _committed(self, moved: Mapping[int, int]) -> None:
        """The hint should be on its way: give it a moment, then stop waiting for it."""
        if self._check is None and any(
            self._at[number] < at and self._sought[number] < at for number, at in moved.items()
        ):
            known = dict(self._positions.known())
            delay_s = GRACE_S if self._listener.up else 0.0
            self._check = asyncio.get_running_loop().call_later(delay_s, self._compare, known)

    def _compare(self, known: Mapping[int, int]) -> None:
        self._check = None
        for partition, at in known.items():
            self._reach(partition, at)
        self._committed(self._positions.known())

    # -- tasks -------------------------------------------------------------------------------------------------------

    async def _read_wanted(self) -> None:
        pause_s = _PAUSE_S
        while True:
            await self._woken.wait()
            self._woken.clear()
            wanted, self._wanted = self._wanted, _Wanted()
            try:
                await self._read(wanted)
                pause_s = _PAUSE_S
            except (
                OSError,
                TimeoutError,
                asyncpg.PostgresError,
                asyncpg.InterfaceError,
                asyncpg.InternalClientError,
            ) as error:
                log.warning("history cannot be read; trying again", error=type(error).__name__)
                for read in wanted.joining.values():
                    if not read.done():
                        read.set_exception(error)
                for partition, end in wanted.partitions.items():
                    self._want(partition, end)
                for owner in wanted.owners:
                    self._discover(owner)
                await asyncio.sleep(random.uniform(pause_s / 2, pause_s))
                pause_s = min(pause_s * 2, _PAUSE_MAX_S)

    async def _read(self, wanted: _Wanted) -> None:
        if wanted.joining:
            await self._adopt({one.owner for one in wanted.joining}, wanted.joining)
            for read in wanted.joining.values():
                if not read.done():
                    read.set_result(None)
        if wanted.owners:
            await self._adopt(wanted.owners, self._waiting_of(wanted.owners))
        if wanted.everyone and (self._everything_of or self._unopened):
            # An opening may have been among what was lost; older accounts than the lowest position are known.
            owners = {*self._everything_of, *(one.owner for some in self._unopened.values() for one in some)}
            await self._adopt(owners, self._waiting_of(owners), min(self._at.values()))
        cursors = {
            account: self._watches[account].version
            for partition in wanted.partitions
            for account in self._partitions[partition]
        }
        if cursors:
            _refills.inc()
        while cursors:
            assets = {account: self._watches[account].asset for account in cursors}
            rows = await history(self._pool, cursors, assets, _PAGE)
            for row in rows:
                if (watch := self._watches.get(row.account_id)) is not None:
                    self._deliver(watch, row)
            if len(rows) < _PAGE:
                break
            cursors = {account: self._cursor(account) for account in cursors if account in self._watches}
        for partition, end in wanted.partitions.items():
            self._at[partition] = max(self._at[partition], end)

    def _waiting_of(self, owners: Iterable[UUID]) -> set[Subscriber]:
        wanted = set(owners)
        found = {one for owner in wanted for one in self._everything_of.get(owner, ())}
        return found | {one for some in self._unopened.values() for one in some if one.owner in wanted}


def _remove(index: dict[UUID, set[Subscriber]], keys: Iterable[UUID], subscriber: Subscriber) -> None:
    for key in keys:
        if key in index:
            index[key].discard(subscriber)
            if not index[key]:
                del index[key]
