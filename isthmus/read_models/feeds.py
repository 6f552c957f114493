"""Live balances: one Redis subscription a process, any number of subscribers, one message per version and none skipped.

A hint from Redis is passed on where it joins on to what was passed on before. Everything else (a gap in a partition's chain, a
reconnect, a heartbeat or a database notification beyond what was seen) only says that there is more: it is then read from
`balance_history`, which has every version. With Redis gone altogether the database's notifications do alone.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

import asyncpg
import structlog
from prometheus_client import Counter, Gauge
from redis.asyncio import Redis

from isthmus import tracing
from isthmus.domain.identifiers import NOWHERE
from isthmus.domain.log import PARTITIONS
from isthmus.ending import end_if_cancelled
from isthmus.read_models.database import ACQUIRE_TIMEOUT_S, Incomplete, Sight
from isthmus.read_models.feed_history import Current, current, first_of, history, missed
from isthmus.read_models.feed_listener import FeedListener
from isthmus.read_models.feed_subscriber import Subscriber
from isthmus.read_models.feed_watches import Watches
from isthmus.read_models.feed_wire import BalanceMessage, Cause, Change, Hint, Move, message_of, read_hint
from isthmus.read_models.positions import ProjectionPositions, log_identity
from isthmus.read_models.projections.parked import parked_of
from isthmus.supervised import Supervised

__all__ = ["BalanceFeed", "BalanceMessage", "Cause"]

#: How long a hint may take after the commit's own notification, before history is read instead.
GRACE_S = 0.03
#: Most messages that a subscriber is given of what it missed; and how many it may be behind.
REPLAY_MAX = 500
#: Who joins at once is read for together, so many at a time: a thousand that reconnect cost a few statements, and little memory.
_JOIN_MAX = 100
_PAGE = 2_000
_EVERYTHING = Sight(NOWHERE, all_accounts=True)
_PAUSE_S, _PAUSE_MAX_S = 0.05, 1.0
#: The database, or the way to it.
_UNREADABLE = (
    OSError,
    TimeoutError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)

_subscribers = Gauge("isthmus_feed_subscribers", "Subscribers of the balance feed in this process.")
_refills = Counter("isthmus_feed_refills_total", "Times that history was read because of a gap.")

log = structlog.get_logger(__name__)


@dataclass
class _Wanted:
    """What is to be read: the accounts of who joins, partitions (with the position that the reading will at least reach), and
    accounts opened meanwhile that somebody waits for."""

    joining: dict[Subscriber, asyncio.Future[None]] = field(default_factory=dict)
    partitions: dict[int, int] = field(default_factory=dict)
    opened: set[Subscriber] = field(default_factory=set)
    everyone: bool = False


class BalanceFeed:
    """`start` and `aclose` frame its life; `positions` must have been started."""

    def __init__(
        self,
        pool: asyncpg.Pool[asyncpg.Record],
        redis: Redis,
        positions: ProjectionPositions,
        replay_max: int = REPLAY_MAX,
    ) -> None:
        self._pool = pool
        self._positions = positions
        self._replay_max = replay_max
        self._identity = ""
        self._watches = Watches()
        self._holding: set[Subscriber] = set()
        self._at = dict.fromkeys(range(PARTITIONS), -1)
        self._sought = dict(self._at)  # up to where reading is asked for, or under way
        self._passed = 0  # moves seen: says whether any went by while a subscriber was reading
        self._wanted = _Wanted()
        self._woken = asyncio.Event()
        self._listener = FeedListener(redis, self._payload, self._want_all)
        self._check: asyncio.TimerHandle | None = None
        self.parts = Supervised("feed: listen", self._listener.run), Supervised("feed: read", self._read_wanted)
        self._tasks: list[asyncio.Task[None]] = []
        self._unlisten: Callable[[], None] = lambda: None

    async def start(self) -> None:
        async with self._pool.acquire() as connection:
            self._identity = await log_identity(connection)
        self._unlisten = self._positions.on_moved(self._committed)
        self._want_all()
        self._tasks = [part.start() for part in self.parts]

    async def aclose(self) -> None:
        self._unlisten()
        if self._check is not None:
            self._check.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def subscribe(
        self, account_ids: frozenset[UUID] | None, sight: Sight, after: int | None = None
    ) -> Subscriber:
        """Of the accounts that may be seen those named, or all of the person's own, those opened later too.

        Per account the current balance, then one message per version; with `after`, in the place of the current balance, what came
        after that position, or where that is too much the current balance that says so. Does not end by itself: close it.
        Raises asyncpg's errors where the database cannot be read, and Incomplete where something of an account is set aside.
        """
        most = 2 * self._replay_max  # who is given all that it may be given can still be told what comes meanwhile
        subscriber = Subscriber(sight, account_ids, after, most, self._holding.add, self._leave)
        self._watches.join(subscriber)
        _subscribers.inc()
        try:
            read = asyncio.get_running_loop().create_future()
            self._wanted.joining[subscriber] = read
            self._woken.set()
            await read
        except BaseException:
            subscriber.close()
            raise
        return subscriber

    def _leave(self, subscriber: Subscriber) -> None:
        _subscribers.dec()
        self._holding.discard(subscriber)
        self._watches.leave(subscriber)

    async def _parked(self, joining: Iterable[Subscriber]) -> set[UUID]:
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
            # Each was given only what it may see.
            return await parked_of(connection, _EVERYTHING, {account for one in joining for account in one.versions})

    # -- those who join, and accounts opened later -------------------------------------------------------------------

    async def _adopt(self, subscribers: Iterable[Subscriber], opened_after: int = -1) -> None:
        """Give the subscribers those of their accounts that they do not have yet: subscribed first, read then."""
        takers = [one for one in subscribers if not one.gone]
        for one in takers:
            one.level = False
        before = self._passed
        owners = {one.sight.person for one in takers if one.account_ids is None}
        named = {account for one in takers for account in one.account_ids or () if account not in one.versions}
        found = await current(self._pool, owners, named, opened_after)
        await self._give(takers, found)
        await self._bring_level(takers, stale=self._passed != before)
        for one in takers:
            one.level = True
        self._release()

    async def _give(self, takers: Iterable[Subscriber], found: Sequence[Current]) -> None:
        seen = {taker: [one for one in found if taker.may_see(one.account_id, one.owner)] for taker in takers}
        since: dict[UUID, tuple[BalanceMessage, int]] = {}
        for taker, accounts in seen.items():
            if taker.after is not None:
                for one in accounts:
                    start = since.get(one.account_id, (one.message, taker.after))[1]
                    since[one.account_id] = one.message, min(start, taker.after)
        rows = await missed(self._pool, since, self._replay_max + 1)
        for taker, accounts in seen.items():
            first = first_of(taker.after, accounts, rows, self._replay_max)
            for one in accounts:
                if not taker.gone and one.account_id not in taker.versions:
                    self._watches.add(taker, first[one.account_id], one.message)

    async def _bring_level(self, takers: Iterable[Subscriber], *, stale: bool) -> None:
        """What was passed on to others meanwhile; `stale`: something may have been passed on to nobody, too."""
        among = set(takers)
        while True:
            cursors: dict[UUID, int] = {}
            for taker in among:
                for account, version in taker.versions.items() if not taker.gone else ():
                    if stale or version < self._watches.cursor(account):
                        cursors[account] = min(version, cursors.get(account, version))
            if not cursors:
                return
            rows = await history(self._pool, cursors, self._watches.assets(cursors), _PAGE)
            for row in rows:
                self._watches.deliver(row)
                for taker in self._watches.of(row.account_id):
                    if taker in among:
                        taker.offer(row)
            stale = len(rows) == _PAGE

    def _release(self) -> None:
        for one in [one for one in self._holding if one.release(self._at)]:
            self._holding.discard(one)

    # -- hints -------------------------------------------------------------------------------------------------------

    def _payload(self, payload: bytes | str) -> None:
        hint = read_hint(self._identity, payload)
        if hint is not None:
            self.take(hint)

    def take(self, hint: Hint) -> None:
        with tracing.shared("deliver", lambda: [origin for move in hint.moves for origin in move.traces]):
            for move in hint.moves:
                self._move(move)
        for partition, head in hint.heads.items():
            self._reach(partition, head)
        self._release()

    def _move(self, move: Move) -> None:
        if move.end <= self._at[move.partition] and not move.mends:
            return
        self._passed += 1
        for opened in move.opened:
            self._discover(opened.account_id, opened.owner)
        whole = move.start <= self._at[move.partition]
        for change in move.changes:
            whole = self._change(change) and whole
        if whole:
            self._at[move.partition] = move.end
        else:
            self._want(move.partition, move.end)

    def _change(self, change: Change) -> bool:
        """False where versions are missing before it."""
        if change.account_id not in self._watches:
            self._discover(change.account_id, change.owner)
            return True
        return self._watches.deliver(message_of(change))

    def _discover(self, account: UUID, owner: UUID | None) -> None:
        if self._watches.is_awaited(account, owner):
            for one in self._watches.awaiting(account, owner):
                one.level = False  # nothing that comes after the opening may overtake it
                self._wanted.opened.add(one)
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
            except Exception as error:
                self._want_again(wanted, error)
                end_if_cancelled()
                if not isinstance(error, _UNREADABLE):
                    raise  # a bug: it is told of, and this task is started again
                log.warning("history cannot be read; trying again", error=type(error).__name__)
                await asyncio.sleep(random.uniform(pause_s / 2, pause_s))
                pause_s = min(pause_s * 2, _PAUSE_MAX_S)

    def _want_again(self, wanted: _Wanted, error: Exception) -> None:
        """What could not be read; whoever joins is told so."""
        for read in wanted.joining.values():
            if not read.done():
                read.set_exception(error)
        for partition, end in wanted.partitions.items():
            self._want(partition, end)
        self._wanted.opened |= wanted.opened
        self._wanted.everyone |= wanted.everyone
        if wanted.opened or wanted.everyone:
            self._woken.set()

    async def _read(self, wanted: _Wanted) -> None:
        joining = list(wanted.joining)
        for first in range(0, len(joining), _JOIN_MAX):
            some = joining[first : first + _JOIN_MAX]
            await self._adopt(some)
            parked = await self._parked(some)
            for one in some:
                if wanted.joining[one].done():
                    continue
                if parked.isdisjoint(one.versions):
                    wanted.joining[one].set_result(None)
                else:
                    wanted.joining[one].set_exception(Incomplete())
        if wanted.opened:
            await self._adopt(wanted.opened)
        if wanted.everyone and (waiting := self._watches.waiting()):
            # An opening may have been among what was lost; older accounts than the lowest position are known.
            await self._adopt(waiting, min(self._at.values()))
        cursors = self._watches.cursors(wanted.partitions)
        if cursors:
            _refills.inc()
        while cursors:
            rows = await history(self._pool, cursors, self._watches.assets(cursors), _PAGE)
            for row in rows:
                self._watches.deliver(row)
            if len(rows) < _PAGE:
                break
            cursors = {account: self._watches.cursor(account) for account in cursors if account in self._watches}
        for partition, end in wanted.partitions.items():
            self._at[partition] = max(self._at[partition], end)
        self._release()
