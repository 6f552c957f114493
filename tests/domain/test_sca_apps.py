"""Authenticator apps: enrolled after a challenge of their own, and each code is accepted once."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from isthmus.domain import sca, sca_answers, sca_apps
from isthmus.domain.dynamic_link import Purpose
from isthmus.domain.personal import PersonalText, Sealed
from isthmus.domain.refusals import (
    DeviceNotFound,
    DeviceRefused,
    Refusal,
    ScaBlockedRefusal,
    ScaRejected,
    ScaRequired,
)
from isthmus.domain.sca import Challenge, ChallengeState, CodeProof, Guard, Method, ScaChallengeIssued, TotpProof
from isthmus.domain.sca_answers import AnswerScaChallenge
from isthmus.domain.sca_apps import AppEnrolled, AppRequested, AppUsed, BeginApp, CompleteApp, RemoveApp
from isthmus.domain.step_up import Asked
from tests.domain.test_personal_limits import ADA
from tests.domain.test_personal_limits import World as Limits

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
APP = uuid4()
ASKED = Asked(uuid4(), Method.ONE_TIME_CODE, NOW + timedelta(minutes=5))


class World:
    def __init__(self) -> None:
        self.events: list[Any] = []

    @property
    def app(self) -> sca_apps.App | None:
        return sca_apps.fold(self.events)

    @property
    def challenge(self) -> Challenge | None:
        return sca.fold(self.events)

    def take(self, decided: Any) -> Any:
        if isinstance(decided, Refusal):
            return decided
        self.events += decided
        return [type(event) for event in decided]

    def begin(self, secret: str = "AAAA", guard: Guard = Guard()) -> Any:  # noqa: B008 - a value
        sealed = PersonalText("", Sealed(f"sealed:v1:{ADA}:{secret}"))
        return self.take(sca_apps.begin(guard, BeginApp(APP, ADA, sealed, ASKED, NOW + timedelta(minutes=10)), NOW))

    def confirm(self, proof: sca.Proof = CodeProof(True)) -> Any:  # noqa: B008 - a value
        assert self.challenge is not None
        wish = AnswerScaChallenge(ASKED.challenge_id, APP, ADA, self.challenge.issued.digest, proof)
        return self.take(sca_answers.answer({}, self.challenge, Guard(), self.app, None, wish, NOW))

    def complete(self, step: int | None, now: datetime = NOW, owner: UUID = ADA) -> Any:
        wish = CompleteApp(APP, ASKED.challenge_id, owner, step)
        return self.take(sca_apps.complete(self.app, self.challenge, wish, now))

    def pays(self, proof: TotpProof, method: Method = Method.TOTP) -> bool:
        """Whether it answers a challenge, here one for a limit; the step that it leaves is taken."""
        subject = _waiting_limit()
        issued = next(one for one in subject.events if isinstance(one, ScaChallengeIssued))
        issued = replace(issued, method=method)
        wish = AnswerScaChallenge(issued.challenge_id, issued.subject_id, ADA, issued.digest, proof)
        decided = sca_answers.answer({}, Challenge(issued), Guard(), subject.limit, self.app, wish, NOW)
        if isinstance(decided, Refusal):
            return False
        self.events += [event for event in decided if isinstance(event, AppUsed)]
        return any(isinstance(event, sca.ScaPassed) for event in decided)


def _waiting_limit() -> Limits:
    world = Limits()
    world.change("100", "200")
    world.change("500", "600")
    return world


def enrolled(step: int = 100) -> World:
    world = World()
    world.begin()
    world.confirm()
    assert world.complete(step) == [AppEnrolled]
    return world


def test_an_app_is_enrolled_by_a_challenge_of_its_own_and_its_first_code() -> None:
    world = World()
    assert world.begin() == [AppRequested, ScaChallengeIssued]
    assert world.challenge is not None
    assert world.challenge.issued.purpose is Purpose.AUTHENTICATOR
    assert isinstance(world.complete(100), ScaRequired)

    world.confirm()

    assert world.challenge.state is ChallengeState.PASSED
    assert isinstance(world.complete(None), DeviceRefused)
    assert isinstance(world.complete(100, NOW + timedelta(minutes=10)), DeviceRefused)
    assert isinstance(world.complete(100, owner=uuid4()), DeviceNotFound)
    other = sca.Challenge(replace(world.challenge.issued, challenge_id=uuid4()), ChallengeState.PASSED)
    assert isinstance(
        sca_apps.complete(world.app, other, CompleteApp(APP, ASKED.challenge_id, ADA, 100), NOW), ScaRequired
    ), "that another challenge was passed is of no use"
    assert world.complete(100) == [AppEnrolled]
    assert world.complete(None) == [], "the same wish again"


def test_d2_a_code_is_accepted_once_and_none_that_came_before_it() -> None:
    world = enrolled(100)

    assert not world.pays(TotpProof(APP, True, 100)), "that which enrolled it is spent"
    assert world.pays(TotpProof(APP, True, 102))
    assert not world.pays(TotpProof(APP, True, 102))
    assert not world.pays(TotpProof(APP, True, 101))
    assert world.pays(TotpProof(APP, True, 103))


@pytest.mark.parametrize(
    ("proof", "method"),
    [
        (TotpProof(APP, False, 0), Method.TOTP),
        (TotpProof(None, False, 0), Method.TOTP),
        (TotpProof(APP, False, 101), Method.TOTP),
        (TotpProof(APP, True, 101), Method.ONE_TIME_CODE),
        (TotpProof(APP, True, 101), Method.DEVICE),
    ],
)
def test_what_is_wrong_or_of_another_method_passes_nothing(proof: TotpProof, method: Method) -> None:
    world = enrolled(100)

    assert not world.pays(proof, method)
    assert world.app is not None
    assert world.app.last_step == 100, "nor does it spend a code"


def test_d2_anothers_app_answers_nothing() -> None:
    proof = TotpProof(APP, True, 101)

    assert sca_apps.checked(enrolled(100).app, proof, ADA) == proof
    assert sca_apps.checked(enrolled(100).app, proof, uuid4()) == replace(proof, holds=False)


def test_an_apps_challenge_is_bound_to_its_secret_and_nobody_who_is_blocked_is_asked() -> None:
    world, other = World(), World()
    world.begin()
    other.begin("BBBB")
    assert world.challenge is not None
    assert other.challenge is not None

    assert world.challenge.issued.digest != other.challenge.issued.digest
    assert isinstance(World().begin(guard=Guard(5, NOW + timedelta(hours=1))), ScaBlockedRefusal)


def test_a_removed_app_and_one_that_is_not_enrolled_yet_answer_nothing() -> None:
    world = enrolled()
    world.take(sca_apps.remove(world.app, RemoveApp(APP, ADA)))
    begun = World()
    begun.begin()

    assert not world.pays(TotpProof(APP, True, 101))
    assert not begun.pays(TotpProof(APP, True, 101))
    begun.take(sca_apps.remove(begun.app, RemoveApp(APP, ADA)))
    assert isinstance(begun.confirm(), ScaRejected), "what was given up is answered for no more"
    assert isinstance(world.complete(101), DeviceNotFound)
    assert world.take(sca_apps.remove(world.app, RemoveApp(APP, ADA))) == []
    assert isinstance(world.take(sca_apps.remove(world.app, RemoveApp(APP, uuid4()))), DeviceNotFound)


def test_d5_the_challenge_of_an_enrolled_app_is_over() -> None:
    world = enrolled()

    assert isinstance(world.confirm(), ScaRejected)
