"""Watches the event loop from a thread of its own: one call that blocks holds up everything, and nothing on the loop could tell.

While the loop does not answer, the log says where it stands, without values; `lag_s` says how late the loop was at its last beat, for
whoever decides what can be taken on.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
import traceback
from types import FrameType, TracebackType
from typing import Self

import structlog
from prometheus_client import Counter, Gauge

BEAT_S = 0.1
BLOCKED_S = 1.0

_lag = Gauge("isthmus_event_loop_lag_seconds", "How late the event loop was at its last beat.")
_blocked = Counter(
    "isthmus_event_loop_blocked_total", f"Times that the event loop stood still for over {BLOCKED_S:g} s."
)

log = structlog.get_logger(__name__)


class LoopWatch:
    """A context manager, entered on the loop that is watched."""

    def __init__(self, blocked_s: float = BLOCKED_S) -> None:
        self.lag_s = 0.0
        self._blocked_s = blocked_s
        self._beaten = time.monotonic()
        self._over = threading.Event()
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._thread_id = threading.get_ident()
        self._watcher = threading.Thread(target=self._watch, name="event loop watch", daemon=True)
        self._expect()
        self._watcher.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        if self._timer is not None:
            self._timer.cancel()

    def _expect(self) -> None:
        self._beaten = time.monotonic()
        self._timer = self._loop.call_later(BEAT_S, self._beat)

    def _beat(self) -> None:
        self.lag_s = max(0.0, time.monotonic() - self._beaten - BEAT_S)
        _lag.set(self.lag_s)
        self._expect()

    def _watch(self) -> None:
        told = 0.0
        while not self._over.wait(self._blocked_s / 4):
            beaten = self._beaten
            stands_s = time.monotonic() - beaten - BEAT_S
            if stands_s > self._blocked_s and told != beaten:
                told = beaten  # once a stand, however long
                _blocked.inc()
                log.error("the event loop is blocked", seconds=round(stands_s, 1), where=self._where())

    def _where(self) -> list[str]:
        frame: FrameType | None = sys._current_frames().get(self._thread_id)
        if frame is None:
            return []
        return [
            f"{step.filename.rsplit('/', 1)[-1]}:{step.lineno} {step.name}" for step in traceback.extract_stack(frame)
        ][-12:]
