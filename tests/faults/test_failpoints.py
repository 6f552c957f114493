"""Fail points: each is where the registry says, does what it is told once or always, and costs nothing while it is off."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import isthmus
from isthmus.failpoints import POINTS, FailPointError, InjectedFault, armed, failpoint, failpoint_async, parse
from isthmus.settings import SettingsError, load_settings
from isthmus.torture.sabotages import SABOTAGES
from tests import forked

ROWS = tuple(f"O{number}" for number in range(1, 13))
_CALL = re.compile(r'failpoint(?:_async)?\("([^"]+)"\)')


def test_the_registry_names_exactly_the_points_that_are_in_the_code() -> None:
    package = Path(isthmus.__file__).parent
    files = [path for path in package.rglob("*.py") if path.name != "failpoints.py" and path.parent.name != "torture"]
    assert sorted(name for path in files for name in _CALL.findall(path.read_text())) == sorted(POINTS)


async def test_a_point_that_is_not_set_does_nothing() -> None:
    failpoint("commit.before")
    await failpoint_async("commit.before")


async def test_a_point_fails_at_the_passing_it_was_told_and_at_no_other() -> None:
    with armed("commit.before:2:raise") as points:
        await failpoint_async("commit.before")
        with pytest.raises(InjectedFault):
            await failpoint_async("commit.before")
        await failpoint_async("commit.before")
        assert points["commit.before"].passed == 3
    await failpoint_async("commit.before")


async def test_hang_stops_the_task_alone_and_sleep_stops_the_whole_loop() -> None:
    with armed("relay.read:hang,relay.kept:sleep=0.2"):
        hanging = asyncio.create_task(failpoint_async("relay.read"))
        began = time.monotonic()
        blocked = asyncio.create_task(failpoint_async("relay.kept"))
        await asyncio.sleep(0.01)
        assert time.monotonic() - began >= 0.2
        assert blocked.done()
        assert not hanging.done()
        hanging.cancel()


def test_disconnect_looks_like_a_peer_that_went_away() -> None:
    with armed("commit.after:disconnect"), pytest.raises(ConnectionResetError):
        failpoint("commit.after")


def test_kill_ends_the_process_as_the_machine_would() -> None:
    program = "from isthmus.failpoints import arm, failpoint; arm('commit.after:kill'); failpoint('commit.after'); print('alive')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL
    assert "alive" not in done.stdout


@pytest.mark.parametrize(
    ("wish", "told"),
    [
        ("commit.befor:kill", "commit.befor is no fail point"),
        ("commit.before", "write name[:nth]:action"),
        ("commit.before:explode", "with an action of kill"),
        ("commit.before:0:kill", "a whole number from 1"),
        ("commit.before:kill=soon", "no number of seconds"),
    ],
)
def test_a_point_that_cannot_be_set_is_refused_with_a_sentence(wish: str, told: str) -> None:
    with pytest.raises(FailPointError, match=re.escape(told)):
        parse(wish)


def test_a_process_with_an_unknown_fail_point_or_in_production_mode_does_not_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ISTHMUS_FAIL", "no.such.point:kill")
    with pytest.raises(SettingsError, match=r"ISTHMUS_FAIL: no\.such\.point is no fail point"):
        load_settings()
    monkeypatch.setenv("ISTHMUS_FAIL", "commit.before:kill")
    with pytest.raises(SettingsError, match="ISTHMUS_FAIL: fail points are for tests; production mode"):
        load_settings()
    monkeypatch.setenv("ISTHMUS_API__MODE", "development")
    assert load_settings().fail == "commit.before:kill"
    monkeypatch.setenv("ISTHMUS_FAIL", "no.such.point:kill")
    done = forked.isthmus(["work"], os.environ)
    assert done.returncode == 2
    assert "no.such.point is no fail point" in done.stderr


def test_whatever_asks_a_row_for_more_is_in_the_docs() -> None:
    page = (Path(isthmus.__file__).parent.parent / "docs" / "faults.md").read_text(encoding="utf-8")
    files = Path(__file__).parent.glob("*.py")
    asked = {name for path in files for name in re.findall(r'environ\.get\("(FAULT_[A-Z_]+)"', path.read_text())}
    assert asked == set(re.findall(r"^\| `(FAULT_[A-Z_]+)`", page, re.MULTILINE))


def test_every_point_and_every_sabotage_is_in_the_docs() -> None:
    page = (Path(isthmus.__file__).parent.parent / "docs" / "faults.md").read_text(encoding="utf-8")
    assert [
        name for name in (*POINTS, *SABOTAGES, *ROWS) if f"`{name}`" not in page and f"| {name} |" not in page
    ] == []
