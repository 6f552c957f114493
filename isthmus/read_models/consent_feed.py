"""All of a person's consents live, as often as one of their rows changes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection
from uuid import UUID

from isthmus.read_models.change_feed import ChangeFeed, ChangeSubscriber, Connect
from isthmus.read_models.consents import ConsentReader, ConsentRow
from isthmus.read_models.database import Sight

CHANNEL = "isthmus_consents"
_PAGE = 200
#: What a consent becomes without being written to.
_BY_TIME = "EXPIRED"


class ConsentSubscriber(ChangeSubscriber[ConsentRow]):
    """Of each consent the newest that was not taken."""

    def __init__(self, sight: Sight, leave: Callable[[ConsentSubscriber], None]) -> None:
        super().__init__(sight, sight.person, leave)
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


class ConsentFeed(ChangeFeed[ConsentSubscriber]):
    def __init__(self, connect: Connect, reader: ConsentReader) -> None:
        super().__init__("consent feed", CHANNEL, connect)
        self._reader = reader

    async def subscribe(self, sight: Sight) -> ConsentSubscriber:
        """First each consent as it is, then whenever one changes."""
        subscriber = ConsentSubscriber(sight, self._left)
        self._joined(subscriber)
        await self._look_again(sight.person)
        return subscriber

    def _watched(self, owner: UUID, key: UUID) -> UUID:  # noqa: ARG002 - as the base has it
        return owner

    async def _tell(self, watched: UUID, keys: Collection[UUID]) -> None:
        for row in await self._reader.load_many(Sight(watched), list(keys)):
            self._offer(watched, row)

    async def _look_again(self, watched: UUID) -> None:
        after, more = None, True
        while more:
            rows, more = await self._reader.page(watched, _PAGE, after)
            for row in rows:
                self._offer(watched, row)
                after = row.requested_position

    def _offer(self, person: UUID, row: ConsentRow | None) -> None:
        if row is not None:
            for subscriber in self._watching(person):
                subscriber.offer(row)
