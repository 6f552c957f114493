"""`isthmus torture`, short: real processes under every main kind of fault, and nothing lost, doubled or violated."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from isthmus.torture.deaths import POINTS
from isthmus.torture.run import torture
from tests import forked

#: One of each main kind; the whole list takes three times as long.
_FAULTS = (
    "kill_serve",
    "kill_work",
    "kill_backend",
    "kill_valkey",
    "kill_broker",
    "cut_after_commit",
    "cut_answers",
    "cut_payouts",
    "flush_redis",
    "kill_pubsub",
)
#: One in `serve` and one in `work`; FAULT_POINTS=all takes them all.
_POINTS = (
    tuple(POINTS) if os.environ.get("FAULT_POINTS") == "all" else ("bank_payments.asked", "bank_payments.answered")
)


@pytest.mark.usefixtures("forked_children")
@pytest.mark.timeout(300)
async def test_f38_a_short_torture_loses_nothing_and_doubles_nothing() -> None:
    said: list[str] = []
    report = await torture(
        1, 11, said.append, faults=_FAULTS, points=_POINTS, chaos_s=2, pause_s=(0.1, 0.3), fsync=False
    )
    assert report.violations == [], said
    assert (report.lost, report.doubled) == (0, 0)
    assert all(report.faults[name] > 0 for name in (*_FAULTS, *(f"die_at {point}" for point in _POINTS)))
    assert report.acknowledged > 50
    assert report.resolved == report.unknown > 0


@pytest.mark.timeout(120)
def test_an_interrupted_torture_leaves_nothing_behind(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "isthmus", "torture", "--seconds", "60", "--seed", "3"],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stderr=subprocess.PIPE,
        text=True,
    )
    until = time.monotonic() + 60
    while not list(tmp_path.glob("isthmus-torture-*/system/postgres/PG_VERSION")):
        assert process.poll() is None, process.stderr and process.stderr.read()
        assert time.monotonic() < until
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert list(tmp_path.glob("isthmus-torture-*")) == []
    assert _mentioning(str(tmp_path)) == []


def _mentioning(mark: str) -> list[str]:
    """Processes that still run from there."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            about = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
            dead = (entry / "stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
        except OSError:
            continue
        if mark.encode() in about and not dead and entry.name != str(os.getpid()):
            found.append(about.decode(errors="replace")[:200])
    return found


def test_what_it_says_of_a_sabotage_that_does_not_exist() -> None:
    environment = {**os.environ, "SABOTAGE": "no_such_bug", "TMPDIR": tempfile.gettempdir()}
    done = forked.isthmus(["torture", "--seconds", "1"], environment)
    assert done.returncode == 2
    assert "no_such_bug is no sabotage" in done.stderr
