"""What a person is told of an answer that was not accepted, beside that it was not."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import uuid4

from isthmus.domain.dynamic_link import Purpose
from isthmus.domain.identifiers import uuid7_source
from isthmus.domain.refusals import Conflict, RefusalCode
from isthmus.domain.sca import FAILURES_MAX, ChallengeState, Method
from isthmus.runtime.wiring import WriteSide
from isthmus.write_models.challenge_rows import ChallengeRow
from isthmus.write_models.envelope import Outcome, Refused
from isthmus.write_models.one_time_codes import OneTimeCodes
from isthmus.write_models.sca_desk import Answer, ScaDesk
from tests.write_models.driver import Driver
from tests.write_models.test_code_delivery import asked_for, envelope

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)


class Busy:
    async def run(self, *_: object) -> Outcome:
        return Refused(Conflict("Others are changing the same thing."), 0)


async def test_an_answer_that_nobody_looked_at_is_not_told_to_be_wrong(side: WriteSide, ledger: Driver) -> None:
    person, codes = uuid4(), OneTimeCodes(b"k" * 32)
    challenge = (await asked_for(side, ledger, person))["PAYMENT"]
    desk = ScaDesk(side.pool, cast(Any, Busy()), codes, None, side.clock, uuid7_source(side.clock.now), side.texts)

    told = await desk.answer(person, challenge, Answer(one_time_code="123456"), envelope(person, "answer"))

    assert isinstance(told, Refused)
    assert told.refusal.code is RefusalCode.CONFLICT


def test_all_attempts_are_left_once_a_block_is_over() -> None:
    ends = NOW + timedelta(minutes=5)
    row = ChallengeRow(
        uuid4(),
        uuid4(),
        Purpose.PAYMENT,
        uuid4(),
        Method.REDIRECT,
        "",
        ChallengeState.PENDING,
        ends,
        FAILURES_MAX,
        NOW,
        None,
    )

    assert row.rejected(NOW).attempts_left == FAILURES_MAX
    assert row.rejected(NOW - timedelta(seconds=1)).attempts_left == 0
    assert replace(row, failures=2, blocked_until=None).rejected(NOW).attempts_left == FAILURES_MAX - 2
