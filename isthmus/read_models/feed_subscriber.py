"""One subscriber of the balance feed: its own cursor per account, a bounded queue, and history where the queue did not do."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from uuid import UUID

import asyncpg

from isthmus.read_models.feed_wire import BalanceMessage, Cause

QUEUE_MAX = 1_000
PAGE = 500
_PAUSE_MAX_S = 1.0

_HISTORY = """
select h.* from unnest($1::uuid[], $2::bigint[]) as s (account_id, version)
cross join lateral (
    select account_id, version, position, committed_at, posted, pending_in, pending_out, event_id, event_type, correlation_id
    from read_models.balance_history b where b.account_id = s.account_id and b.version > s.version
    order by b.version limit $3
) h
order by h.position, h.account_id limit $3"""


async def history(
    pool: Any, cursors: Mapping[UUID, int], assets: Mapping[UUID, str], page: int
) -> list[BalanceMessage]:
    """At most a page of what came after the cursors (account -> version), in log order: of each account the next ones."""
    if not cursors:
        return []
    async with pool.acquire(timeout=2.0) as connection:
        rows = await connection.fetch(_HISTORY, list(cursors), list(cursors.values()), page)
    return [
        BalanceMessage(
            row["account_id"],
            assets[row["account_id"]],
            row["version"],
            row["position"],
            row["posted"],
            row["pending_in"],
            row["pending_out"],
            row["committed_at"],
            Cause(row["event_id"], row["event_type"], row["correlation_id"]),
        )
        for row in rows
    ]


class Subscriber:
    """`versions`: per account the last one queued. Lagging: nothing is queued until history has been read up to the feed's cursor."""

    def __init__(
        self,
        owner: UUID,
        account_ids: frozenset[UUID] | None,
        read: Callable[[Mapping[UUID, int], Mapping[UUID, str], int], Awaitable[list[BalanceMessage]]],
        cursor: Callable[[UUID], int],
    ) -> None:
        self.owner = owner
        self.account_ids = account_ids
        self.versions: dict[UUID, int] = {}
        self.lagging = False
        self.gone = False
        self._read = read
        self._cursor = cursor
        self._assets: dict[UUID, str] = {}
        self._queue: deque[BalanceMessage] = deque()
        self._arrived = asyncio.Event()

    def begin(self, current: BalanceMessage) -> None:
        """An account's first message: its balance as it is."""
        self.versions[current.account_id] = current.version
        self._assets[current.account_id] = current.asset
        self._put(current)

    def offer(self, message: BalanceMessage) -> None:
        at = self.versions.get(message.account_id)
        if self.lagging or at is None or message.version <= at:
            return
        if message.version == at + 1 and len(self._queue) < QUEUE_MAX:
            self.versions[message.account_id] = message.version
            self._put(message)
        else:
            self.lag()

    def lag(self) -> None:
        self.lagging = True
        self._arrived.set()

    async def next(self) -> BalanceMessage:
        while not self._queue:
            if self.lagging:
                await self._catch_up()
            else:
                self._arrived.clear()
                await self._arrived.wait()
        return self._queue.popleft()

    def _put(self, message: BalanceMessage) -> None:
        self._queue.append(message)
        self._arrived.set()

    async def _catch_up(self) -> None:
        """Pages of history until one is not full and nothing was passed by meanwhile."""
        pause_s = 0.05
        rows: list[BalanceMessage] | None = None
        while rows is None:
            try:
                rows = await self._read(self.versions, self._assets, PAGE)
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError):
                await asyncio.sleep(random.uniform(pause_s / 2, pause_s))
                pause_s = min(pause_s * 2, _PAUSE_MAX_S)
        for row in rows:
            if row.version == self.versions[row.account_id] + 1:
                self.versions[row.account_id] = row.version
                self._queue.append(row)
        if len(rows) < PAGE:
            self.lagging = any(self._cursor(account) > version for account, version in self.versions.items())
