"""How many one-time codes a person is sent, in windows that slide."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.domain.code_allowance import DAY, NO_LIMITS, CodeLimits, code_fault

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
TEN = timedelta(minutes=10)


def ago(*minutes: float) -> list[datetime]:
    """The latest first."""
    return [NOW - timedelta(minutes=one) for one in minutes]


@pytest.mark.parametrize(
    ("limits", "sent", "frees_in"),
    [
        (CodeLimits(2, 4), [], None),
        (CodeLimits(2, 4), ago(1), None),
        (CodeLimits(2, 4), ago(1, 4), 6),
        (CodeLimits(2, 4), ago(1, 4, 5), 6),
        (CodeLimits(2, 4), ago(1, 10), None),
        (CodeLimits(2, 4), ago(11, 12, 60, 120), 22 * 60),
        (CodeLimits(2, 4), ago(1, 2, 60, 120), 22 * 60),
        (CodeLimits(2, 4), ago(11, 12, 60, 1_440), None),
        (CodeLimits(per_day=1), ago(30), 23.5 * 60),
        (NO_LIMITS, ago(*[0] * 1_000), None),
    ],
)
def test_when_there_may_be_one_more(limits: CodeLimits, sent: list[datetime], frees_in: float | None) -> None:
    fault = code_fault(limits, sent, NOW)

    assert (fault.resets_at if fault else None) == (NOW + timedelta(minutes=frees_in) if frees_in else None)


@given(st.lists(st.integers(0, 240), max_size=60))
def test_however_they_are_asked_for_no_window_has_more_and_what_is_told_holds(pauses: list[int]) -> None:
    limits, now, sent = CodeLimits(3, 7), NOW, list[datetime]()
    for pause in pauses:
        now += timedelta(minutes=pause)
        fault = code_fault(limits, sent, now)
        if fault is None:
            sent.insert(0, now)
        else:
            assert fault.resets_at is not None
            assert code_fault(limits, sent, fault.resets_at - timedelta(seconds=1)) == fault, "not before"
            assert code_fault(limits, sent, fault.resets_at) is None, "as it was told"

    for end in sent:
        assert sum(end - TEN < one <= end for one in sent) <= 3
        assert sum(end - DAY < one <= end for one in sent) <= 7
