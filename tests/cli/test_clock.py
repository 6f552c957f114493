"""`isthmus clock` where it can do nothing. That it moves a running product: tests/faults/test_payments_killed.py."""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta
from pathlib import Path

import pytest
import typer

from isthmus.cli.clock import STEP_MAX, _duration, _running
from isthmus.runtime.data_directory import DataDirectory
from isthmus.runtime.endpoints import Endpoints
from tests.cli.conftest import RunIsthmus


@pytest.mark.parametrize(
    ("told", "seconds"), [("90s", 90), ("6m", 360), ("2h", 7_200), ("1d12h30m5s", 131_405), ("366d", 31_622_400)]
)
def test_times_as_people_write_them(told: str, seconds: int) -> None:
    assert _duration(told) == timedelta(seconds=seconds)


@pytest.mark.parametrize("told", ["", "6", "0s", "6x", "m", "1.5h", "30m2h", f"{STEP_MAX.days + 1}d", "999999999d"])
def test_what_is_no_time_is_refused(told: str) -> None:
    with pytest.raises(typer.BadParameter, match="366 days at most"):
        _duration(told)


def test_it_never_goes_back(isthmus: RunIsthmus) -> None:
    done = isthmus("clock", "advance", "-6m")

    assert (done.returncode, done.stdout) == (2, "")
    assert "the clock goes forward only" in done.stderr


def test_without_a_running_product_there_is_no_clock(isthmus: RunIsthmus) -> None:
    done = isthmus("clock")

    assert (done.returncode, done.stdout) == (2, "")
    assert "no `isthmus up` runs on" in done.stderr


def test_that_of_a_product_in_production_mode_stays(isthmus: RunIsthmus, tmp_path: Path) -> None:
    data = DataDirectory(tmp_path / "data")
    data.make()
    with data.lock():
        data.write_running({"development": False, "endpoints": {"database_url": "postgresql://nowhere"}})
        done = isthmus("clock", "advance", "6m")

    assert (done.returncode, done.stdout) == (2, "")
    assert "lives by the real time" in done.stderr
    assert not (tmp_path / "data" / "clock.json").exists()


def test_what_waits_is_moved_in_its_own_database_and_in_none_that_the_shell_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ISTHMUS_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("ISTHMUS_DATABASE__URL", "postgresql://production")
    data, ours = DataDirectory(tmp_path), Endpoints("postgresql://ours", "", "", "", True, "", "", "http://banks")
    with data.lock():
        data.write_running({"development": True, "endpoints": asdict(ours)})

        assert _running()[1] == ours
