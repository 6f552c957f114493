"""Rows live: PostgreSQL tells that a row has changed, the row itself says what it is now.

So a notification that is lost costs nothing but time: after each connection anew, all that is watched is looked at again.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, Protocol, TypeVar
from uuid import UUID

import asyncpg

from isthmus.outages import DATABASE_AWAY
from isthmus.read_models.database import Sight
from isthmus.supervised import Supervised

_CHECK_S = 5.0

Connect = Callable[[], Awaitable["asyncpg.Connection[asyncpg.Record]"]]


class Row(Protocol):
    """`mark`: what makes it another row than before; marks of one thing only rise."""

    @property
    def key(self) -> UUID: ...

    @property
    def mark(self) -> tuple[int, int]: ...


R = TypeVar("R", bound=Row)


class RowSubscriber(Generic[R]):
    """Of one thing the newest that was not taken. `ready` is called whenever there may be something to `pop`."""

    def __init__(self, sight: Sight, key: UUID, leave: Callable[[RowSubscriber[R]], None]) -> None:
        self.sight = sight
        self.key = key
        self.ready: Callable[[], None] = _nobody
        self._leave = leave
        self._told: tuple[int, int] | None = None
        self._row: R | None = None

    def offer(self, row: R) -> None:
        """Rows are read side by side, so that an older one may come after a newer."""
        if self._told is None or row.mark > self._told:
            self._told, self._row = row.mark, row
            self.ready()

    def told(self, row: R) -> None:
        """It was seen before."""
        self._told = row.mark

    def pop(self) -> R | None:
        row, self._row = self._row, None
        return row

    def close(self) -> None:
        self.ready = _nobody
        self._leave(self)


class RowFeed(Generic[R]):
    """`channel` says `<owner> <key> <version>`. `load_many` gives rows that a person may see, None for others."""

    def __init__(
        self,
        name: str,
        channel: str,
        connect: Connect,
        load_many: Callable[[Sight, Sequence[UUID]], Awaitable[list[R | None]]],
    ) -> None:
        self._channel = channel
        self._connect = connect
        self._load_many = load_many
        self._subscribers: dict[UUID, set[RowSubscriber[R]]] = defaultdict(set)
        self._changed: set[UUID] = set()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.part = Supervised(name, self._run, DATABASE_AWAY)

    async def start(self) -> None:
        self._task = self.part.start()

    async def aclose(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def subscribe(self, sight: Sight, key: UUID, seen: Callable[[R], bool] = lambda _: False) -> RowSubscriber[R]:
        """First the thing as it is, unless it was `seen`; then whenever it changes. Of what may not be seen nothing ever comes."""
        subscriber: RowSubscriber[R] = RowSubscriber(sight, key, self._left)
        self._subscribers[key].add(subscriber)
        (row,) = await self._load_many(sight, [key])
        if row is not None:
            if seen(row):
                subscriber.told(row)
            else:
                subscriber.offer(row)
        return subscriber

    def _left(self, subscriber: RowSubscriber[R]) -> None:
        of_key = self._subscribers.get(subscriber.key)
        if of_key is not None:
            of_key.discard(subscriber)
            if not of_key:
                del self._subscribers[subscriber.key]

    async def _run(self) -> None:
        connection = await self._connect()
        lost = asyncio.Event()
        try:
            connection.add_termination_listener(lambda _: self._over(lost))
            await connection.add_listener(self._channel, self._heard)  # type: ignore[arg-type]  # a payload is text, which the stubs do not say
            self._changed |= self._subscribers.keys()
            self._wake.set()
            while not lost.is_set():
                try:
                    async with asyncio.timeout(_CHECK_S):
                        await self._wake.wait()
                except TimeoutError:
                    await connection.fetchval("select 1")
                self._wake.clear()
                changed, self._changed = self._changed, set()
                for key in changed:
                    await self._tell(key)
            raise ConnectionError("the database hung up")
        finally:
            connection.terminate()

    async def _tell(self, key: UUID) -> None:
        of_person: dict[UUID, list[RowSubscriber[R]]] = {}
        for subscriber in self._subscribers.get(key, ()):
            of_person.setdefault(subscriber.sight.person, []).append(subscriber)
        for subscribers in of_person.values():
            (row,) = await self._load_many(subscribers[0].sight, [key])
            if row is not None:
                for subscriber in subscribers:
                    subscriber.offer(row)

    def _over(self, lost: asyncio.Event) -> None:
        lost.set()
        self._wake.set()

    def _heard(self, _: object, __: int, ___: str, payload: str) -> None:
        key = UUID(payload.split()[1])
        if key in self._subscribers:
            self._changed.add(key)
            self._wake.set()


def _nobody() -> None:
    """Nobody waits."""
