"""The sandbox's time: the machine's, or what it was set to, moving on from there. And time as text."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Protocol


class Facts(Protocol):
    def fact(self, name: str) -> str | None: ...

    def set_fact(self, name: str, value: str | None) -> None: ...


def iso(at: datetime) -> str:
    """One form, so that text sorts as time does."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def read_iso(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


class Clock:
    """Kept in the book."""

    def __init__(self, book: Facts) -> None:
        self._book = book

    def now(self) -> datetime:
        shift = self._book.fact("clock_shift_s")
        return datetime.now(UTC) + timedelta(seconds=float(shift or 0))

    def set(self, to: datetime) -> None:
        self._book.set_fact("clock_shift_s", str((to - datetime.now(UTC)).total_seconds()))

    def advance(self, by: timedelta) -> None:
        self.set(self.now() + by)
