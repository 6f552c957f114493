"""What a challenge's own person is told of it, and of which a code is sent: by the state that it is in at that moment."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from isthmus.domain.dynamic_link import Purpose
from isthmus.domain.sca import ChallengeState, Method
from isthmus.write_models.challenge_rows import ChallengeRow
from isthmus.write_models.code_delivery import _wanted

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
SOON = NOW + timedelta(minutes=1)
S = ChallengeState
WAITS = ChallengeRow(
    uuid4(), uuid4(), Purpose.PAYMENT, uuid4(), Method.ONE_TIME_CODE, "d" * 64, S.PENDING, SOON, 2, None, None
)


@pytest.mark.parametrize(
    ("other", "state", "left"),
    [
        ({}, S.PENDING, 3),
        ({"expires_at": NOW}, S.EXPIRED, 0),
        ({"state": S.PASSED, "expires_at": NOW}, S.PASSED, 0),
        ({"state": S.FAILED}, S.FAILED, 0),
        ({"failures": 5, "blocked_until": SOON}, S.PENDING, 0),
        ({"failures": 5, "blocked_until": NOW}, S.PENDING, 5),
    ],
)
def test_how_often_they_may_still_be_wrong_is_told_with_what_became_of_it(
    other: dict[str, Any], state: ChallengeState, left: int
) -> None:
    told = replace(WAITS, **other).rejected(NOW)

    assert (told.challenge_state, told.attempts_left) == (state, left)


@pytest.mark.parametrize(
    ("other", "wanted"),
    [
        ({}, True),
        ({"expires_at": NOW}, False),
        ({"state": S.INVALIDATED}, False),
        ({"method": Method.DEVICE}, False),
        ({"method": Method.TOTP}, False),
    ],
)
def test_a_code_is_sent_for_what_waits_for_one_and_for_nothing_else(other: dict[str, Any], wanted: bool) -> None:
    assert _wanted(replace(WAITS, **other), NOW) is wanted
