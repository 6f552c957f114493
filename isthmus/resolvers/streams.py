"""What a subscription's resolver returns: one subscriber's messages, to be taken by `pop` (graphql/live.py)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncIterable, AsyncIterator, Callable, Hashable
from typing import Generic, TypeVar

from isthmus.graphql.context import SharedContext
from isthmus.read_models.change_feed import ChangeSubscriber

R = TypeVar("R")
V = TypeVar("V")


class Stream(AsyncIterable[V], Generic[R, V]):
    """Iterable for the type system only."""

    def __init__(self, subscriber: ChangeSubscriber[R]) -> None:
        self._subscriber = subscriber
        self.pop = subscriber.pop
        self.close = subscriber.close

    @property
    def ready(self) -> Callable[[], None]:
        return self._subscriber.ready

    @ready.setter
    def ready(self, tell: Callable[[], None]) -> None:
        self._subscriber.ready = tell

    @abstractmethod
    def mark(self, row: R) -> Hashable:
        """The same for what is the same message."""

    @abstractmethod
    def place(self, row: R) -> str:
        """What to resume after."""

    @abstractmethod
    async def value(self, context: SharedContext, row: R) -> V: ...

    def __aiter__(self) -> AsyncIterator[V]:
        raise TypeError("taken by pop")
