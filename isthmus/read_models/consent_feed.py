"""Consents live: PostgreSQL tells that a row has changed, the row itself says what it is now.

So a notification that is lost costs nothing but time: after each connection anew, all that a subscriber may see is looked at again.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, defaultdict
from collections.abc import Awaitable, Callable
from uuid import UUID

import asyncpg

from isthmus.outages import DATABASE_AWAY
from isthmus.read_models.consents import ConsentReader, ConsentRow
from isthmus.read_models.database import Sight
from isthmus.supervised import Supervised

CHANNEL = "isthmus_consents"
_CHECK_S = 5.0
_PAGE = 200
#: What a consent becomes without being written to.
_BY_TIME = "EXPIRED"


class ConsentSubscriber:
    """Of each consent the newest that was not taken. `ready` is called whenever there may be something to `pop`."""

    def __init__(self, sight: Sight, leave: Callable[[ConsentSubscriber], None]) -> None:
        self.sight = sight
        self.ready: Callable[[], None] = _nobody
        self._leave = leave
        self._told: dict[UUID, tuple[int, str]] = {}
        self._queue: OrderedDict[UUID, ConsentRow] = OrderedDict()

    def offer(self, row: ConsentRow) -> None:
        """Rows are read side by side, so that an older one may come after a newer; at one version only time changes a status."""
        version, status = self._told.get(row.consent_id, (0, ""))
        if row.version < version or (row.version == version and status in (row.status, _BY_TIME)):
            return
        self._told[row.consent_id] = row.version, row.status
        self._queue.pop(row.consent_id, None)
        self._queue[row.consent_id] = row
        self.ready()

    def pop(self) -> ConsentRow | None:
        return self._queue.popitem(last=False)[1] if self._queue else None

    def close(self) -> None:
        self.ready = _nobody
        self._leave(self)


class ConsentFeed:
    """`connect` gives a connection of its own."""

    def __init__(
        self, connect: Callable[[], Awaitable[asyncpg.Connection[asyncpg.Record]]], reader: ConsentReader
    ) -> None:
        self._connect = connect
        self._reader = reader
        self._subscribers: dict[UUID, set[ConsentSubscriber]] = defaultdict(set)
        self._changed: dict[UUID, set[UUID]] = {}
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.part = Supervised("consent feed", self._run, DATABASE_AWAY)

    async def start(self) -> None:
        self._task = self.part.start()

    async def aclose(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def subscribe(self, sight: Sight) -> ConsentSubscriber:
        """First each consent as it is, then whenever one changes."""
        subscriber = ConsentSubscriber(sight, self._left)
        self._subscribers[sight.person].add(subscriber)
        await self._all_of(sight)
        return subscriber

    def _left(self, subscriber: ConsentSubscriber) -> None:
        of_person = self._subscribers.get(subscriber.sight.person)
        if of_person is not None:
            of_person.discard(subscriber)
            if not of_person:
                del self._subscribers[subscriber.sight.person]

    async def _run(self) -> None:
        connection = await self._connect()
        lost = asyncio.Event()
        try:
            connection.add_termination_listener(lambda _: self._over(lost))
            await connection.add_listener(CHANNEL, self._heard)  # type: ignore[arg-type]  # a payload is text, which the stubs do not say
            for person in list(self._subscribers):
                await self._all_of(Sight(person))
            while not lost.is_set():
                try:
                    async with asyncio.timeout(_CHECK_S):
                        await self._wake.wait()
                except TimeoutError:
                    await connection.fetchval("select 1")
                self._wake.clear()
                changed, self._changed = self._changed, {}
                for person, keys in changed.items():
                    for row in await self._reader.load_many(Sight(person), list(keys)):
                        self._offer(person, row)
            raise ConnectionError("the database hung up")
        finally:
            connection.terminate()

    def _over(self, lost: asyncio.Event) -> None:
        lost.set()
        self._wake.set()

    def _heard(self, _: object, __: int, ___: str, payload: str) -> None:
        owner, consent_id, _version = payload.split()
        if UUID(owner) in self._subscribers:
            self._changed.setdefault(UUID(owner), set()).add(UUID(consent_id))
            self._wake.set()

    async def _all_of(self, sight: Sight) -> None:
        after, more = None, True
        while more:
            rows, more = await self._reader.page(sight.person, _PAGE, after)
            for row in rows:
                self._offer(sight.person, row)
                after = row.requested_position

    def _offer(self, person: UUID, row: ConsentRow | None) -> None:
        if row is not None:
            for subscriber in list(self._subscribers.get(person, ())):
                subscriber.offer(row)


def _nobody() -> None:
    """Nobody waits."""
