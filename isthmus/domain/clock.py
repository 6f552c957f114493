"""Time is a port: UTC, and settable by tests. What the database stamps, the database's own clock decides (`log_head`)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    def now(self) -> datetime: ...

    def stamp(self) -> datetime | None:
        """What `log_head` takes for now; None leaves it to the database's clock, which all processes share."""
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
