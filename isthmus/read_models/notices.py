"""What a person was told of, newest first and live, and which of it they want by which way."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from uuid import UUID

import asyncpg

from isthmus.read_models.change_feed import ChangeFeed, ChangeSubscriber, Connect
from isthmus.read_models.database import ACQUIRE_TIMEOUT_S, Sight

#: Of what came while nobody listened so much is told again; the list has the rest.
REPLAY_MAX = 500
_ROWS = """
select id as notification_id, owner, number, kind, subject_id, happened_at, read_at, amount, asset, payee_name, device_name, bank_name,
    expires_at as ends_at
from listed_notifications"""


@dataclass(frozen=True)
class NoticeRow:
    """`number`: its place among its owner's. Names but the bank's are sealed; what does not belong to its kind is None."""

    notification_id: UUID
    owner: UUID
    number: int
    kind: str
    subject_id: UUID
    happened_at: datetime
    read_at: datetime | None
    amount: Decimal | None
    asset: str | None
    payee_name: str | None = field(repr=False)
    device_name: str | None = field(repr=False)
    bank_name: str | None
    ends_at: datetime | None


class NoticeReader:
    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def load_many(self, sight: Sight, keys: Sequence[UUID]) -> list[NoticeRow | None]:
        """In the order of the keys; None where there is none, or none of the person's own."""
        rows = await self._rows("id = any($1::uuid[]) and owner = $2", list(keys), sight.person)
        found = {row.notification_id: row for row in rows}
        return [found.get(key) for key in keys]

    async def page(self, owner: UUID, first: int, before: int | None) -> tuple[list[NoticeRow], bool]:
        """A person's, newest first; and whether there are more."""
        rows = await self._rows(
            "owner = $1 and ($2::bigint is null or number < $2) order by number desc limit $3", owner, before, first + 1
        )
        return rows[:first], len(rows) > first

    async def since(self, owner: UUID, number: int) -> list[NoticeRow]:
        """A person's behind that one, oldest first; the newest of them where they are very many."""
        where = "owner = $1 and number > $2 order by number desc limit $3"
        return (await self._rows(where, owner, number, REPLAY_MAX))[::-1]

    async def last(self, owner: UUID) -> int:
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
            found: int | None = await connection.fetchval("select last from notification_heads where owner = $1", owner)
        return found or 0

    async def counts(self, owner: UUID) -> tuple[int, int]:
        """All, and those that are unread."""
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
            row = await connection.fetchrow(
                "select count(*) as whole, count(*) filter (where read_at is null) as unread from listed_notifications where owner = $1",
                owner,
            )
        assert row is not None, "a count is a row"
        return row["whole"], row["unread"]

    async def unwanted(self, owner: UUID) -> frozenset[tuple[str, str]]:
        """(kind, channel)."""
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
            rows = await connection.fetch("select kind, channel from notification_preferences where owner = $1", owner)
        return frozenset((row["kind"], row["channel"]) for row in rows)

    async def _rows(self, where: str, *values: object) -> list[NoticeRow]:
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
            return [NoticeRow(**row) for row in await connection.fetch(f"{_ROWS} where {where}", *values)]


class NoticeSubscriber(ChangeSubscriber[NoticeRow]):
    """Each that comes behind the one it was told last, in their order."""

    def __init__(self, sight: Sight, told: int, leave: Callable[[NoticeSubscriber], None]) -> None:
        super().__init__(sight, sight.person, leave)
        self.told = told
        self._queue: deque[NoticeRow] = deque()

    def offer(self, rows: Sequence[NoticeRow]) -> None:
        """All there are behind one that it was told, or behind an earlier one."""
        new = [row for row in rows if row.number > self.told]
        if new:
            self.told = new[-1].number
            self._queue += new
            self.ready()

    def pop(self) -> NoticeRow | None:
        return self._queue.popleft() if self._queue else None


class NoticeFeed(ChangeFeed[NoticeSubscriber]):
    def __init__(self, connect: Connect, reader: NoticeReader) -> None:
        super().__init__("notification feed", "isthmus_notifications", connect)
        self._reader = reader

    async def subscribe(self, sight: Sight, after: int | None) -> NoticeSubscriber:
        """What comes from now on; first what came behind `after`, where that is given."""
        last = await self._reader.last(sight.person)
        subscriber = NoticeSubscriber(sight, last if after is None else min(after, last), self._left)
        self._joined(subscriber)
        await self._look_again(sight.person)
        return subscriber

    def _watched(self, owner: UUID, key: UUID) -> UUID:  # noqa: ARG002 - as the base has it
        return owner

    async def _tell(self, watched: UUID, keys: Collection[UUID]) -> None:  # noqa: ARG002 - a number says more than a key
        await self._look_again(watched)

    async def _look_again(self, watched: UUID) -> None:
        subscribers = self._watching(watched)
        if subscribers:
            rows = await self._reader.since(watched, min(one.told for one in subscribers))
            for subscriber in subscribers:
                subscriber.offer(rows)
