"""A clock that can be moved ahead while the product runs, for development: the machine's, and what a file of the data directory adds.

Every process of an `up` looks into the same file, so that all of them live that much later within LOOK_S, without a restart
(`isthmus clock`). Where nothing is added it is `SystemClock` in all respects: the database's clock stamps. Where something is, processes
stamp by their own clocks, which on the one machine of an `up` are one; positions and stamps rise all the same, as the log's end sees to.
Production mode knows no such clock, and does not start on a data directory whose clock was moved.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from isthmus.domain.clock import Clock, SystemClock
from isthmus.runtime.data_directory import DataDirectory, write_private
from isthmus.settings import Settings, SettingsError

#: How often the file is looked at, at most.
LOOK_S = 0.1

_NONE = timedelta()


def clock_file(data_dir: Path) -> Path:
    return data_dir / "clock.json"


def ahead_in(file: Path) -> timedelta:
    """How far `file` says; nothing where there is none. Raises SettingsError where it says nothing that makes sense."""
    try:
        ahead = timedelta(seconds=json.loads(file.read_text())["ahead_s"])
    except FileNotFoundError:
        return _NONE
    except (OSError, ValueError, TypeError, KeyError, OverflowError):
        raise SettingsError(f"{file} cannot be read: it says how far the clock was moved ahead, in ahead_s") from None
    if ahead < _NONE:
        raise SettingsError(f"{file}: the clock goes forward only")
    return ahead


def write_ahead(file: Path, ahead: timedelta) -> None:
    write_private(file, json.dumps({"ahead_s": ahead.total_seconds()}) + "\n")


class MovedClock:
    """Implements `Clock`. It never goes back, whatever becomes of the file."""

    def __init__(self, file: Path, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Raises SettingsError where the file cannot be understood."""
        self._file = file
        self._monotonic = monotonic
        self._seen = _state_of(file)
        self._ahead = ahead_in(file)
        self._look_at = monotonic() + LOOK_S

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead()

    def stamp(self) -> datetime | None:
        ahead = self.ahead()
        return datetime.now(UTC) + ahead if ahead else None

    def ahead(self) -> timedelta:
        now = self._monotonic()
        if now >= self._look_at:
            self._look_at = now + LOOK_S
            self._look()
        return self._ahead

    def _look(self) -> None:
        state = _state_of(self._file)
        if state == self._seen:
            return
        with suppress(SettingsError):  # the time goes on as it was; a start says what is wrong
            self._ahead = max(self._ahead, ahead_in(self._file))
        self._seen = state


def clock_of(settings: Settings) -> Clock:
    """Of `serve`, `work` and `issuer`. Raises SettingsError in production mode where the clock was moved."""
    if settings.api.in_development:
        return MovedClock(clock_file(settings.data_dir))
    refuse_moved(settings.data_dir)
    return SystemClock()


def running_clock(data_dir: Path, database_url: str) -> Clock:
    """Of a command that writes to `database_url`: that of the `up` on `data_dir` where it is in development and has that database. Any
    other database lives by the real time, whatever file lies here: its log would be stamped ahead for good."""
    running = DataDirectory(data_dir).running() or {}
    its_own = running.get("endpoints", {}).get("database_url") == database_url
    return MovedClock(clock_file(data_dir)) if its_own and running.get("development") else SystemClock()


def refuse_moved(data_dir: Path) -> None:
    """Raises SettingsError: what happened there has stamps that are still to come."""
    if ahead := ahead_in(clock_file(data_dir)):
        raise SettingsError(
            f"ISTHMUS_DATA_DIR: the clock of {data_dir} was moved {ahead} ahead (`isthmus clock`), which is for development: "
            "production mode (ISTHMUS_API__MODE) lives by the real time, and needs another data directory"
        )


def _state_of(file: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns
