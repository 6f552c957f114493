"""How many connections one user holds open in this process: WebSockets and event streams together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from isthmus.graphql.errors import RateLimited

_TRY_AGAIN_S = 5.0


class OpenConnections:
    def __init__(self, per_user_max: int) -> None:
        self._max = per_user_max
        self._open: Counter[UUID] = Counter()

    @contextmanager
    def one_of(self, person_id: UUID) -> Iterator[None]:
        """Counts while it is entered. Raises RateLimited."""
        self.enter(person_id)
        try:
            yield
        finally:
            self.leave(person_id)

    def enter(self, person_id: UUID) -> None:
        """Raises RateLimited."""
        if self._open[person_id] >= self._max:
            raise RateLimited(f"You have {self._max} connections open already: close some.", _TRY_AGAIN_S)
        self._open[person_id] += 1

    def leave(self, person_id: UUID) -> None:
        self._open[person_id] -= 1
        if not self._open[person_id]:
            del self._open[person_id]
