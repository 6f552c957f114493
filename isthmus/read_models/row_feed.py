"""One thing live, as often as its row changes: the row itself says what it is now."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Protocol, TypeVar
from uuid import UUID

from isthmus.read_models.change_feed import ChangeFeed, ChangeSubscriber, Connect
from isthmus.read_models.database import Sight


class Row(Protocol):
    """`mark`: what makes it another row than before; marks of one thing only rise."""

    @property
    def key(self) -> UUID: ...

    @property
    def mark(self) -> tuple[int, int]: ...


R = TypeVar("R", bound=Row)


class RowSubscriber(ChangeSubscriber[R]):
    """Of one thing the newest that was not taken."""

    def __init__(self, sight: Sight, key: UUID, leave: Callable[[RowSubscriber[R]], None]) -> None:
        super().__init__(sight, key, leave)
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


class RowFeed(ChangeFeed[RowSubscriber[R]]):
    """`load_many` gives rows that a person may see, None for others."""

    def __init__(
        self,
        name: str,
        channel: str,
        connect: Connect,
        load_many: Callable[[Sight, Sequence[UUID]], Awaitable[list[R | None]]],
    ) -> None:
        super().__init__(name, channel, connect)
        self._load_many = load_many

    async def subscribe(self, sight: Sight, key: UUID, seen: Callable[[R], bool] = lambda _: False) -> RowSubscriber[R]:
        """First the thing as it is, unless it was `seen`; then whenever it changes. Of what may not be seen nothing ever comes."""
        subscriber: RowSubscriber[R] = RowSubscriber(sight, key, self._left)
        self._joined(subscriber)
        (row,) = await self._load_many(sight, [key])
        if row is not None:
            if seen(row):
                subscriber.told(row)
            else:
                subscriber.offer(row)
        return subscriber

    def _watched(self, owner: UUID, key: UUID) -> UUID:  # noqa: ARG002 - as the base has it
        return key

    async def _tell(self, watched: UUID, keys: Collection[UUID]) -> None:  # noqa: ARG002 - they are the thing itself
        of_person: dict[UUID, list[RowSubscriber[R]]] = {}
        for subscriber in self._watching(watched):
            of_person.setdefault(subscriber.sight.person, []).append(subscriber)
        for subscribers in of_person.values():
            (row,) = await self._load_many(subscribers[0].sight, [watched])
            if row is not None:
                for subscriber in subscribers:
                    subscriber.offer(row)

    async def _look_again(self, watched: UUID) -> None:
        await self._tell(watched, ())
