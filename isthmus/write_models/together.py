"""What is asked for at the same time is done together: one statement, one commit, one wait for the disk for all of it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class TooMany(Exception):
    """More waits already than may wait."""


class Together(Generic[T, R]):
    """`work` is called with all that waits, `most` at once and in the order it came, and returns an answer for each.

    Whoever comes while nothing is under way waits for nobody. Where `work` raises, all that it was called with fail so.
    """

    def __init__(self, work: Callable[[Sequence[T]], Awaitable[Sequence[R]]], *, most: int, waiting_max: int) -> None:
        self._work = work
        self._most = most
        self._waiting_max = waiting_max
        self._waiting: deque[tuple[T, asyncio.Future[R]]] = deque()
        self._task: asyncio.Task[None] | None = None

    async def do(self, item: T) -> R:
        """Raises TooMany, and whatever `work` raises."""
        if len(self._waiting) >= self._waiting_max:
            raise TooMany
        answer: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, answer))
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        return await answer

    async def _run(self) -> None:
        try:
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), self._most))]
                try:
                    answers = await self._work([item for item, _ in batch])
                except Exception as error:  # noqa: BLE001 - it is theirs who wait
                    for _, waiting in batch:
                        if not waiting.done():
                            waiting.set_exception(error)
                except BaseException:
                    for _, waiting in batch:
                        waiting.cancel()
                    raise
                else:
                    for (_, waiting), answer in zip(batch, answers, strict=True):
                        if not waiting.done():
                            waiting.set_result(answer)
        finally:
            self._task = None
            for _, waiting in self._waiting:
                waiting.cancel()
            self._waiting.clear()
