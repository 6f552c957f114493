"""Tasks that are started again when they crash, without taking the others along."""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import anyio
import structlog
from prometheus_client import Counter

_PAUSE_S, _PAUSE_MAX_S = 0.1, 5.0
_STEADY_S = 30.0

_crashes = Counter("isthmus_work_crashes_total", "Tasks of `work` that crashed and were started again.", ["task"])

log = structlog.get_logger(__name__)


@dataclass
class Part:
    """One supervised task, and how it is doing."""

    name: str
    run: Callable[[], Awaitable[None]]
    running: bool = False
    crashes: int = 0
    last_error: str | None = None


@dataclass
class Supervisor:
    """`run` returns when it is cancelled, with every part ended."""

    parts: list[Part] = field(default_factory=list)

    def add(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        self.parts.append(Part(name, run))

    async def run(self) -> None:
        async with anyio.create_task_group() as tasks:
            for part in self.parts:
                tasks.start_soon(self._keep, part, name=part.name)

    async def _keep(self, part: Part) -> None:
        pause_s = _PAUSE_S
        while True:
            began = time.monotonic()
            part.running = True
            try:
                await part.run()
                log.info("task ended; starting it again", task=part.name)
            except Exception as error:  # noqa: BLE001 - whatever it was, the others go on and this one is tried again
                part.crashes += 1
                part.last_error = type(error).__name__
                _crashes.labels(part.name).inc()
                log.error("task crashed; starting it again", task=part.name, error=f"{type(error).__name__}: {error}")
            finally:
                part.running = False
            if time.monotonic() - began > _STEADY_S:
                pause_s = _PAUSE_S
            await anyio.sleep(random.uniform(pause_s / 2, pause_s))
            pause_s = min(pause_s * 2, _PAUSE_MAX_S)
