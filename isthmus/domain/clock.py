"""Time is a port: UTC, and settable by tests.

Processes on several machines do not agree on what time it is, so they ask the one that they share: the database's clock stamps what is
committed, and says whether a hold or an API key is over. A test's clock takes its place there, by `stamp`, and so does one that is moved
ahead for development (`runtime/moved_clock.py`).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    def now(self) -> datetime:
        """By this process's clock: for ids, metadata and tokens, whose leeway forgives that clocks differ."""
        ...

    def stamp(self) -> datetime | None:
        """What SQL takes for now; None leaves it to the database's clock, which all processes share."""
        ...


class SystemClock:
    def now(self) -> datetime:
        return datetime.now(UTC)

    def stamp(self) -> datetime | None:
        return None


class SettableClock:
    """For tests and sandboxes: stands still until it is moved."""

    def __init__(self, start: datetime) -> None:
        assert start.tzinfo is not None, "time is UTC"
        self._now = start

    def now(self) -> datetime:
        return self._now

    def stamp(self) -> datetime | None:
        return self._now

    def advance(self, by: timedelta) -> None:
        self._now += by

    def set(self, to: datetime) -> None:
        assert to.tzinfo is not None, "time is UTC"
        self._now = to
