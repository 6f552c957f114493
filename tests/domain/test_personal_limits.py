"""A person's own limits: lower at once, higher after a challenge of their own, never above the platform's."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest

from isthmus.domain import personal_limits, sca, sca_answers
from isthmus.domain.compliance import Limits
from isthmus.domain.personal_limits import ChangeLimit, LimitRaiseAsked, LimitSet, effective, limit_id_of
from isthmus.domain.refusals import InvalidInput, Refusal, ScaBlockedRefusal, ScaRejected
from isthmus.domain.sca import BLOCKED_FOR, CodeProof, Guard, Method, ScaChallengeIssued
from isthmus.domain.sca_answers import AnswerScaChallenge
from isthmus.domain.step_up import Asked

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
ADA = uuid4()
LIMIT = limit_id_of(ADA, "EUR")
PLATFORM = Limits(Decimal(1_000), Decimal(2_000))
RIGHT = CodeProof(True)


class World:
    def __init__(self) -> None:
        self.events: list[Any] = []
        self.guard = Guard()

    @property
    def limit(self) -> personal_limits.PersonalLimit | None:
        return personal_limits.fold(self.events)

    @property
    def holds(self) -> Limits:
        return effective(PLATFORM, self.limit)

    def take(self, decided: Any) -> Any:
        if isinstance(decided, Refusal):
            return decided
        self.events += decided
        return [type(event) for event in decided]

    def change(self, per_payment: str, per_day: str) -> Any:
        self.asked = Asked(uuid4(), Method.ONE_TIME_CODE, NOW + timedelta(minutes=5))
        limits = Limits(Decimal(per_payment), Decimal(per_day))
        wish = ChangeLimit(LIMIT, ADA, "EUR", limits, PLATFORM, self.asked)
        return self.take(personal_limits.change(self.guard, self.limit, wish, NOW))

    def answer(self, challenge_id: UUID | None = None, proof: sca.Proof = RIGHT, subject: Any = None) -> Any:
        wanted = challenge_id or self.asked.challenge_id
        issued = next(one for one in self.events if isinstance(one, ScaChallengeIssued) and one.challenge_id == wanted)
        wish = AnswerScaChallenge(wanted, LIMIT, ADA, issued.digest, proof)
        challenge = sca.Challenge(issued)
        return self.take(sca_answers.answer({}, challenge, self.guard, subject or self.limit, None, wish, NOW))


def test_a_lower_limit_holds_at_once_and_a_higher_one_after_its_challenge() -> None:
    world = World()

    assert world.change("100", "200") == [LimitSet]
    assert world.holds == Limits(Decimal(100), Decimal(200))
    assert world.change("100", "200") == [], "the same wish again"

    assert world.change("100", "300") == [LimitRaiseAsked, ScaChallengeIssued]
    assert world.holds == Limits(Decimal(100), Decimal(200))
    assert LimitSet in world.answer()
    assert world.holds == Limits(Decimal(100), Decimal(300))


@pytest.mark.parametrize(("per_payment", "per_day"), [("1000.01", "2000"), ("1000", "2000.01")])
def test_nobody_sets_more_than_the_platform_allows(per_payment: str, per_day: str) -> None:
    assert isinstance(World().change(per_payment, per_day), InvalidInput)


def test_one_half_raised_and_one_lowered_is_a_raise() -> None:
    world = World()
    world.change("100", "200")

    assert LimitRaiseAsked in world.change("50", "201")


def test_the_platforms_limit_holds_where_it_sank_below_the_persons() -> None:
    world = World()
    world.change("900", "1900")

    assert effective(Limits(Decimal(500), Decimal(2_000)), world.limit) == Limits(Decimal(500), Decimal(1_900))


def test_lowering_ends_a_wish_to_raise_and_another_wish_replaces_it() -> None:
    world = World()
    world.change("100", "200")
    world.change("500", "600")
    first = world.asked.challenge_id
    world.change("700", "800")
    second = world.asked.challenge_id
    assert isinstance(world.answer(first), ScaRejected)

    world.change("100", "150")

    assert isinstance(world.answer(second), ScaRejected)
    assert world.holds == Limits(Decimal(100), Decimal(150))


def test_d5_an_answer_to_the_same_wish_of_before_and_to_another_digest_moves_nothing() -> None:
    world = World()
    world.change("100", "200")
    world.change("500", "600")
    first = world.asked.challenge_id
    world.change("500", "600")
    assert isinstance(world.answer(first), ScaRejected), "alike, and another challenge"

    world.events = [
        replace(event, digest="0" * 64) if isinstance(event, ScaChallengeIssued) else event for event in world.events
    ]
    assert isinstance(world.answer(), ScaRejected)


def test_a_wrong_answer_raises_nothing_and_is_counted() -> None:
    world = World()
    world.change("100", "200")
    world.change("500", "600")

    assert sca.ScaFailureCounted in world.answer(proof=CodeProof(False))
    assert world.holds == Limits(Decimal(100), Decimal(200))


def test_who_answered_wrongly_too_often_can_lower_and_not_raise() -> None:
    world = World()
    world.guard = Guard(5, NOW + BLOCKED_FOR)

    assert world.change("100", "200") == [LimitSet]
    assert isinstance(world.change("101", "200"), ScaBlockedRefusal)


def test_d5_a_limits_challenge_moves_nothing_of_another_kind() -> None:
    world = World()
    world.change("100", "200")
    world.change("500", "600")

    assert isinstance(world.answer(subject=object()), ScaRejected)
