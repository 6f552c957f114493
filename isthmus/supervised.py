"""A task that is to run as long as its process does: what ends it is logged and counted, and it is started again.

Without that a task which dies is noticed by nobody: whoever waits for it waits for ever, and the process still looks well. A bug is
one thing (somebody has to mend it), an outage of what the task stands on another: it heals by itself, and has alerts of its own.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog
from prometheus_client import Counter

from isthmus.ending import end_if_cancelled

_PAUSE_S, _PAUSE_MAX_S = 0.1, 5.0
_STEADY_S = 30.0

_crashes = Counter("isthmus_task_crashes_total", "Tasks that crashed and were started again.", ["task"])
_outages = Counter(
    "isthmus_task_outages_total",
    "Tasks that lost what they stand on (a connection, a lease) and were started again.",
    ["task"],
)

log = structlog.get_logger(__name__)


@dataclass(eq=False)
class Supervised:
    """One task, and how it is doing. `running` is False before it begins, and while it waits to be started again.

    `outages` are the errors that say that what it stands on is away; any other is a crash.
    """

    name: str
    run: Callable[[], Awaitable[None]]
    outages: tuple[type[Exception], ...] = ()
    running: bool = False
    crashes: int = 0
    last_error: str | None = None

    def __post_init__(self) -> None:
        _crashes.labels(
            self.name
        )  # zero from the start: no rate can be taken of a series that begins at its first crash
        _outages.labels(self.name)

    def start(self) -> asyncio.Task[None]:
        """Whoever starts it cancels it."""
        self.running = True  # from now on it is counted upon
        return asyncio.create_task(self.keep(), name=self.name)

    async def keep(self) -> None:
        """Until cancelled. Pauses grow from crash to crash, up to 5 s."""
        pause_s = _PAUSE_S
        while True:
            began = time.monotonic()
            self.running = True
            try:
                await self.run()
                log.info("task ended; starting it again", task=self.name)
            except asyncio.CancelledError as error:
                if _is_asked_to_end():
                    raise
                self._crashed(error)  # it escaped from something within
            except Exception as error:  # noqa: BLE001 - whatever it was, the others go on and this one is tried again
                if self._is_outage(error):
                    self._lost(error)
                else:
                    self._crashed(error)
            finally:
                self.running = False
            end_if_cancelled()
            if time.monotonic() - began > _STEADY_S:
                pause_s = _PAUSE_S
            await asyncio.sleep(random.uniform(pause_s / 2, pause_s))
            pause_s = min(pause_s * 2, _PAUSE_MAX_S)

    def _is_outage(self, error: BaseException) -> bool:
        if isinstance(error, BaseExceptionGroup):  # of a task group: a bug beside an outage is a bug
            return all(self._is_outage(one) for one in error.exceptions)
        return isinstance(error, self.outages)

    def _lost(self, error: BaseException) -> None:
        self.last_error = type(error).__name__
        _outages.labels(self.name).inc()
        log.warning("what a task stands on is away; starting it again", task=self.name, error=self.last_error)

    def _crashed(self, error: BaseException) -> None:
        self.crashes += 1
        self.last_error = type(error).__name__
        _crashes.labels(self.name).inc()
        log.error("task crashed; starting it again", task=self.name, exc_info=error)


def _is_asked_to_end() -> bool:
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0
