"""`isthmus reconcile` as scripts read it: what was compared is told as it comes, what could not be is told apart, and either is the exit
code's."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from isthmus.cli import app
from isthmus.cli import reconcile as command
from isthmus.domain.reconciliation import Entry, Pair, sums_of
from isthmus.write_models.reconciliation import NotCompared, TooEarly
from isthmus.write_models.reconciliation_report import Report

NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)
SINCE, UNTIL = NOON.replace(hour=0), NOON.replace(day=29, hour=0)


def report(asset: str, *pairs: Pair) -> Report:
    zero = Decimal(0)
    return Report("bank", asset, SINCE, UNTIL, sums_of(pairs, SINCE, UNTIL), pairs, zero, zero, None, len(pairs), 0)


EXTRA = Pair(None, Entry("t-1", NOON, Decimal("5.00"), frozenset()))
AWAY = {("bank", "EUR"): "bank does not answer"}


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs it where these are found, and these cannot be."""

    def run(*arguments: str, found: tuple[Report, ...] = (), ends: Exception | None = None) -> Result:
        async def compare(_: Any, day: date | None, each: Callable[[Report], None]) -> None:
            assert day in (None, date(2026, 11, 28))
            for one in found:
                each(one)
            if ends is not None:
                raise ends

        monkeypatch.setattr(command, "_as_up", lambda settings: settings)
        monkeypatch.setattr("isthmus.runtime.telemetry.configure_logging", lambda *_: None)
        monkeypatch.setattr(command, "_run", compare)
        return CliRunner().invoke(app, ["reconcile", *arguments])

    return run


@pytest.mark.parametrize(
    ("found", "ends", "code"),
    [
        ((report("EUR"), report("GBP")), None, 0),
        ((report("EUR", EXTRA), report("GBP")), None, 1),
        ((report("GBP"),), NotCompared(AWAY), 1),
    ],
)
def test_only_what_was_all_compared_and_agrees_is_0(
    ran: Callable[..., Result], found: tuple[Report, ...], ends: Exception | None, code: int
) -> None:
    done, machine = ran(found=found, ends=ends), ran("--json", "--date", "2026-11-28", found=found, ends=ends)

    assert (done.exit_code, machine.exit_code) == (code, code)
    for one in found:
        assert f"bank {one.asset}, 2026-11-28" in done.stdout
    told = json.loads(machine.stdout)
    assert [one["asset"] for one in told["accounts"]] == [one.asset for one in found]
    away = [{"provider": "bank", "asset": "EUR", "why": "bank does not answer"}] if ends is not None else []
    assert told["notCompared"] == away
    said = "isthmus: not compared: bank EUR: bank does not answer\n" if ends is not None else ""
    assert (done.stderr, machine.stderr) == (said, said)


@pytest.mark.parametrize("day", ["2026-13-01", "yesterday", "0001-01-01", "9999-12-31"])
def test_a_day_that_cannot_be_compared_is_a_wrong_word(ran: Callable[..., Result], day: str) -> None:
    done = ran("--date", day)

    assert done.exit_code == 2
    assert "a day as in 2026-11-28" in done.stderr
    assert ran("--date", "2026-11-28", ends=TooEarly("nothing of it")).exit_code == 2
