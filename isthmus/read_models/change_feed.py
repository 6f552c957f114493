"""Changes live: PostgreSQL tells that a row has changed, and what it is now is read.

So a notification that is lost costs nothing but time: after each connection anew, all that is watched is looked at again.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection
from typing import Any, Generic, TypeVar
from uuid import UUID

import asyncpg

from isthmus.outages import DATABASE_AWAY
from isthmus.read_models.database import Sight
from isthmus.supervised import Supervised

_CHECK_S = 5.0

Connect = Callable[[], Awaitable["asyncpg.Connection[asyncpg.Record]"]]
R = TypeVar("R")


class ChangeSubscriber(ABC, Generic[R]):
    """`watched`: what it is told of. `ready` is called whenever there may be something to `pop`."""

    def __init__(self, sight: Sight, watched: UUID, leave: Callable[[Any], None]) -> None:
        self.sight = sight
        self.watched = watched
        self.ready: Callable[[], None] = _nobody
        self._leave = leave

    @abstractmethod
    def pop(self) -> R | None: ...

    def close(self) -> None:
        self.ready = _nobody
        self._leave(self)


S = TypeVar("S", bound=ChangeSubscriber[Any])


class ChangeFeed(ABC, Generic[S]):
    """`channel` says `<owner> <key> <version>`. `connect` gives a connection of its own."""

    def __init__(self, name: str, channel: str, connect: Connect) -> None:
        self._channel = channel
        self._connect = connect
        self._subscribers: dict[UUID, set[S]] = defaultdict(set)
        self._changed: dict[UUID, set[UUID]] = {}
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.part = Supervised(name, self._run, DATABASE_AWAY)

    async def start(self) -> None:
        self._task = self.part.start()

    async def aclose(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    @abstractmethod
    def _watched(self, owner: UUID, key: UUID) -> UUID:
        """What is watched where that changes: the thing itself, or all that is its owner's."""

    @abstractmethod
    async def _tell(self, watched: UUID, keys: Collection[UUID]) -> None:
        """These have changed."""

    @abstractmethod
    async def _look_again(self, watched: UUID) -> None:
        """Whatever may have changed."""

    def _joined(self, subscriber: S) -> None:
        self._subscribers[subscriber.watched].add(subscriber)

    def _left(self, subscriber: S) -> None:
        watching = self._subscribers.get(subscriber.watched)
        if watching is not None:
            watching.discard(subscriber)
            if not watching:
                del self._subscribers[subscriber.watched]

    def _watching(self, watched: UUID) -> list[S]:
        return list(self._subscribers.get(watched, ()))

    async def _run(self) -> None:
        connection = await self._connect()
        lost = asyncio.Event()
        try:
            connection.add_termination_listener(lambda _: self._over(lost))
            await connection.add_listener(self._channel, self._heard)  # type: ignore[arg-type]  # a payload is text, which the stubs do not say
            for watched in list(self._subscribers):
                await self._look_again(watched)
            while not lost.is_set():
                try:
                    async with asyncio.timeout(_CHECK_S):
                        await self._wake.wait()
                except TimeoutError:
                    await connection.fetchval("select 1")
                self._wake.clear()
                changed, self._changed = self._changed, {}
                for watched, keys in changed.items():
                    await self._tell(watched, keys)
            raise ConnectionError("the database hung up")
        finally:
            connection.terminate()

    def _over(self, lost: asyncio.Event) -> None:
        lost.set()
        self._wake.set()

    def _heard(self, _: object, __: int, ___: str, payload: str) -> None:
        owner, key, _version = payload.split()
        watched = self._watched(UUID(owner), UUID(key))
        if watched in self._subscribers:
            self._changed.setdefault(watched, set()).add(UUID(key))
            self._wake.set()


def _nobody() -> None:
    """Nobody waits."""
