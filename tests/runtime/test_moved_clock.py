"""The clock that a file of the data directory moves ahead: as the system's where there is none, and never back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from isthmus.domain.clock import SystemClock
from isthmus.runtime.data_directory import DataDirectory
from isthmus.runtime.moved_clock import (
    LOOK_S,
    MovedClock,
    ahead_in,
    clock_file,
    clock_of,
    running_clock,
    write_ahead,
)
from isthmus.settings import SettingsError, load_settings

HOUR = timedelta(hours=1)
DEVELOPMENT = {"mode": "development"}


class Ticks:
    """Stands still until the test moves it."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def ticks() -> Ticks:
    return Ticks()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return clock_file(tmp_path)


def test_where_nothing_is_added_the_database_stamps(file: Path) -> None:
    clock = MovedClock(file)

    before, now, after = datetime.now(UTC), clock.now(), datetime.now(UTC)
    assert before <= now <= after
    assert clock.stamp() is None


def test_a_process_that_runs_lives_later_once_it_looks_again(file: Path, ticks: Ticks) -> None:
    clock = MovedClock(file, ticks)
    write_ahead(file, HOUR)
    assert clock.stamp() is None, "it looks now and then, not at every question"

    ticks.now += LOOK_S
    earliest = datetime.now(UTC) + HOUR
    stamp, now = clock.stamp(), clock.now()
    assert stamp is not None
    assert earliest <= stamp <= now <= datetime.now(UTC) + HOUR


def test_it_begins_as_late_as_it_ended(file: Path) -> None:
    write_ahead(file, HOUR)

    assert MovedClock(file).ahead() == HOUR


@pytest.mark.parametrize("what", ['{"ahead_s": 60}', '{"ahead_s": -60}', "nonsense", '{"ahead_s": "x"}', "[]", None])
def test_it_never_goes_back(file: Path, ticks: Ticks, what: str | None) -> None:
    write_ahead(file, HOUR)
    clock = MovedClock(file, ticks)
    if what is None:
        file.unlink()
    else:
        file.write_text(what)

    ticks.now += LOOK_S
    assert clock.ahead() == HOUR


@pytest.mark.parametrize("what", ['{"ahead_s": -60}', "nonsense", '{"ahead_s": "x"}', '{"ahead_s": 1e300}', "[]"])
def test_a_file_that_makes_no_sense_stops_the_start(file: Path, what: str) -> None:
    file.write_text(what)

    with pytest.raises(SettingsError, match=r"clock\.json"):
        MovedClock(file)


def test_production_lives_by_the_real_time_and_refuses_another(tmp_path: Path, file: Path) -> None:
    production, development = load_settings(data_dir=tmp_path), load_settings(data_dir=tmp_path, api=DEVELOPMENT)
    assert isinstance(clock_of(production), SystemClock)

    write_ahead(file, HOUR)
    with pytest.raises(SettingsError, match=r"was moved 1:00:00 ahead .* production mode"):
        clock_of(production)
    moved = clock_of(development)
    assert isinstance(moved, MovedClock)
    assert moved.ahead() == ahead_in(file) == HOUR


def test_a_command_lives_by_it_only_on_the_database_of_the_up_in_development_that_runs_there(tmp_path: Path) -> None:
    """Whatever is written with a stamp that is ahead keeps its log ahead for good."""
    data = DataDirectory(tmp_path / "data")
    data.make()
    write_ahead(clock_file(data.path), HOUR)
    ours, production = "postgresql:///ours", "postgresql:///production"
    assert isinstance(running_clock(data.path, production), SystemClock), "none runs"

    with data.lock():
        for development, database, moved in ((True, ours, True), (True, production, False), (False, ours, False)):
            data.write_running({"development": development, "endpoints": {"database_url": ours}})
            assert isinstance(running_clock(data.path, database), MovedClock) is moved
