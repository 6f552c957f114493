"""Tasks of one process that are started again when they crash, without taking the others along."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import anyio

from isthmus.supervised import Supervised


@dataclass
class Supervisor:
    """`run` returns when it is cancelled, with every part ended."""

    parts: list[Supervised] = field(default_factory=list)

    def add(self, name: str, run: Callable[[], Awaitable[None]], outages: tuple[type[Exception], ...] = ()) -> None:
        """`outages`: as of a Supervised."""
        self.parts.append(Supervised(name, run, outages))

    async def run(self) -> None:
        async with anyio.create_task_group() as tasks:
            for part in self.parts:
                tasks.start_soon(part.keep, name=part.name)
