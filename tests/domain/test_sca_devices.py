"""Devices: enrolled once after their own challenge, counting up, removed for ever; and answers that serve their own purpose alone."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from isthmus.domain import sca, sca_answers, sca_devices
from isthmus.domain.authenticators import Credential
from isthmus.domain.dynamic_link import Purpose
from isthmus.domain.personal import PersonalText, Sealed
from isthmus.domain.refusals import Refusal, RefusalCode
from isthmus.domain.sca_answers import AnswerScaChallenge
from isthmus.domain.sca_devices import (
    ENROL_WITHIN,
    BeginDevice,
    CompleteDevice,
    Device,
    DeviceEnrolled,
    DeviceUsed,
    RemoveDevice,
    enrolment_digest,
)
from tests.domain.test_personal_limits import ADA
from tests.domain.test_personal_limits import World as Limits

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
KEY = Credential("credential", "key", 3)
CODE = sca.CodeProof(True)


@dataclass
class World:
    device_id: UUID = field(default_factory=uuid4)
    challenge_id: UUID = field(default_factory=uuid4)
    now: datetime = NOW
    events: list[Any] = field(default_factory=list)

    @property
    def digest(self) -> str:
        return enrolment_digest(self.device_id, ADA, "phone")

    @property
    def device(self) -> Device | None:
        return sca_devices.fold(self.events)

    @property
    def challenge(self) -> sca.Challenge | None:
        return sca.fold(self.events)

    def take(self, decided: Any) -> RefusalCode | int:
        """Why not, or how many events came of it."""
        if isinstance(decided, Refusal):
            return decided.code
        self.events += decided
        return len(decided)

    def begin(self) -> RefusalCode | int:
        name = PersonalText("", Sealed(f"sealed:v1:{ADA}:x"))
        expires, until = self.now + sca.CODE_LIFE, self.now + ENROL_WITHIN
        wish = BeginDevice(self.device_id, self.challenge_id, ADA, name, self.digest, expires, until)
        return self.take(sca_devices.begin(sca.fold_guard(self.events, self.now), wish, self.now))

    def answer(self, proof: sca.Proof = CODE, **other: Any) -> RefusalCode | int:
        wish = AnswerScaChallenge(self.challenge_id, self.device_id, ADA, self.digest, proof)
        guard = sca.fold_guard(self.events, self.now)
        return self.take(
            sca_answers.answer({}, self.challenge, guard, self.device, None, replace(wish, **other), self.now)
        )

    def complete(
        self, credential: Credential | None = KEY, known: Collection[str] = (), **other: Any
    ) -> RefusalCode | int:
        wish = CompleteDevice(self.device_id, self.challenge_id, ADA, self.digest, credential)
        return self.take(sca_devices.complete(self.device, self.challenge, replace(wish, **other), self.now, known))

    def remove(self, owner: UUID = ADA) -> RefusalCode | int:
        return self.take(sca_devices.remove(self.device, RemoveDevice(self.device_id, owner)))


def authorised() -> World:
    world = World()
    world.begin()
    world.answer()
    return world


def enrolled() -> World:
    world = authorised()
    assert world.complete() == 1
    return world


def test_a_device_is_enrolled_with_its_key_and_counter_after_its_challenge() -> None:
    world = authorised()

    assert world.complete() == 1

    assert world.events[-1] == DeviceEnrolled(world.device_id, ADA, "credential", "key", 3)
    assert world.complete() == 0, "the same wish again"
    assert world.complete(replace(KEY, credential_id="another")) is RefusalCode.DEVICE_REFUSED


@pytest.mark.parametrize("answers", [0, 1])
def test_no_device_is_enrolled_before_its_challenge_is_passed(answers: int) -> None:
    world = World()
    world.begin()
    for _ in range(answers):
        world.answer(sca.CodeProof(False))

    assert world.complete() is RefusalCode.SCA_REQUIRED


@pytest.mark.parametrize(
    ("other", "code"),
    [
        ({"credential": None}, RefusalCode.DEVICE_REFUSED),
        ({"digest": "0" * 64}, RefusalCode.DEVICE_REFUSED),
        ({"owner": uuid4()}, RefusalCode.DEVICE_NOT_FOUND),
        ({"known": {"credential"}}, RefusalCode.DEVICE_REFUSED),
    ],
)
def test_what_is_not_what_was_answered_for_is_not_enrolled(other: dict[str, Any], code: RefusalCode) -> None:
    assert authorised().complete(**other) is code


@pytest.mark.parametrize(
    ("other", "code"),
    [({"challenge_id": uuid4()}, RefusalCode.DEVICE_NOT_FOUND), ({"digest": "0" * 64}, RefusalCode.DEVICE_REFUSED)],
)
def test_that_another_challenge_was_passed_enrols_nothing(other: dict[str, Any], code: RefusalCode) -> None:
    world = authorised()
    assert world.challenge is not None
    passed = replace(world.challenge, issued=replace(world.challenge.issued, **other))
    wish = CompleteDevice(world.device_id, world.challenge_id, ADA, world.digest, KEY)

    assert world.take(sca_devices.complete(world.device, passed, wish, NOW)) is code


def test_a_device_is_enrolled_in_time_or_not_at_all() -> None:
    world = authorised()
    world.now += ENROL_WITHIN

    assert world.complete() is RefusalCode.DEVICE_REFUSED
    world.now -= timedelta(microseconds=1)
    assert world.complete() == 1


def test_a_challenge_that_is_over_lets_nothing_be_enrolled() -> None:
    world = World()
    world.begin()
    world.now += sca.CODE_LIFE

    assert world.answer() is RefusalCode.SCA_REJECTED
    assert world.complete() is RefusalCode.SCA_REQUIRED


def test_the_blocked_enrol_nothing() -> None:
    world = World()
    world.begin()
    for _ in range(sca.FAILURES_MAX):
        world.answer(sca.CodeProof(False))

    assert world.answer() is RefusalCode.SCA_REJECTED
    assert World(events=[event for event in world.events if isinstance(event, sca.ScaGuardEvent)]).begin() is (
        RefusalCode.SCA_BLOCKED
    )


@pytest.mark.parametrize(
    "other", [{"owner": uuid4()}, {"subject_id": uuid4()}, {"digest": "0" * 64}], ids=["person", "subject", "digest"]
)
def test_d5_an_answer_for_something_else_is_refused_and_not_counted(other: dict[str, Any]) -> None:
    world = World()
    world.begin()
    before = len(world.events)

    assert world.answer(**other) is RefusalCode.SCA_REJECTED
    assert len(world.events) == before


def test_d5_a_challenge_serves_its_own_purpose_alone() -> None:
    """Its subject, as it is said to be, is a device; its purpose says payment: the device's answer is of no use, and the other way."""
    world = World()
    world.begin()
    issued = next(event for event in world.events if isinstance(event, sca.ScaChallengeIssued))
    world.events[world.events.index(issued)] = replace(issued, purpose=Purpose.PAYMENT)

    assert world.answer() is RefusalCode.SCA_REJECTED
    assert world.complete() is RefusalCode.SCA_REQUIRED


def test_a_device_does_not_vouch_for_itself_or_the_next() -> None:
    world = World()
    world.begin()

    world.answer(sca.DeviceProof(uuid4(), True, 9))

    assert world.challenge is not None
    assert (world.challenge.state, world.challenge.failures) == (sca.ChallengeState.PENDING, 1)


def test_a_removed_device_stays_so() -> None:
    world = enrolled()

    assert world.remove(uuid4()) is RefusalCode.DEVICE_NOT_FOUND
    assert (world.remove(), world.remove()) == (1, 0)
    assert world.complete() is RefusalCode.DEVICE_NOT_FOUND
    assert World().remove() is RefusalCode.DEVICE_NOT_FOUND
    begun = World()
    begun.begin()
    begun.remove()
    assert begun.answer() is RefusalCode.SCA_REJECTED, "what was given up is answered for no more"


def test_d6_what_a_device_signed_is_held_against_its_stream_and_counted_there_once_it_passed() -> None:
    world, limit = enrolled(), Limits()
    limit.change("100", "200")
    limit.change("500", "600")
    issued = replace(limit.events[-1], method=sca.Method.DEVICE)
    assert isinstance(issued, sca.ScaChallengeIssued)

    def answered(counter: int, holds: bool = True) -> Any:
        proof = sca.DeviceProof(world.device_id, holds, counter)
        wish = AnswerScaChallenge(issued.challenge_id, issued.subject_id, ADA, issued.digest, proof)
        return sca_answers.answer({}, sca.Challenge(issued), sca.Guard(), limit.limit, world.device, wish, NOW)

    for wrong in (answered(3), answered(9, holds=False)):
        assert not any(isinstance(event, sca.ScaPassed | DeviceUsed) for event in wrong)
    right = answered(4)
    assert [event.proof for event in right if isinstance(event, sca.ScaPassed)] == [f"DEVICE {world.device_id}"]
    assert right[-1] == DeviceUsed(world.device_id, ADA, issued.challenge_id, 4)


@pytest.mark.parametrize(
    ("stored", "said", "holds"),
    [(0, 0, True), (0, 1, True), (3, 4, True), (3, 9, True), (3, 3, False), (3, 2, False), (3, 0, False)],
)
def test_d6_a_device_that_counts_counts_up(stored: int, said: int, holds: bool) -> None:
    world = authorised()
    world.complete(replace(KEY, counter=stored))
    proof = sca.DeviceProof(world.device_id, True, said)

    assert sca_devices.checked(world.device, proof, ADA) == replace(proof, holds=holds)


def test_d6_what_was_looked_at_before_is_held_against_what_is_known_now() -> None:
    world = enrolled()
    proof = sca.DeviceProof(world.device_id, True, 4)
    used = [*world.events, DeviceUsed(world.device_id, ADA, uuid4(), 4)]

    assert sca_devices.checked(world.device, proof, ADA) == proof
    for device, owner in (
        (sca_devices.fold(used), ADA),
        (world.device, uuid4()),
        (None, ADA),
        (authorised().device, ADA),
    ):
        assert sca_devices.checked(device, proof, owner) == replace(proof, holds=False)
    world.remove()
    assert sca_devices.checked(world.device, proof, ADA) == replace(proof, holds=False)
    wrong = replace(proof, holds=False)
    assert sca_devices.checked(enrolled().device, wrong, ADA) == wrong
    assert sca_devices.checked(world.device, CODE, ADA) == CODE


def test_what_is_enrolled_is_bound_to_whose_it_is_and_what_it_is_called() -> None:
    device = uuid4()
    digests = {
        enrolment_digest(device, ADA, "phone"),
        enrolment_digest(device, ADA, "phone "),
        enrolment_digest(device, uuid4(), "phone"),
        enrolment_digest(uuid4(), ADA, "phone"),
    }
    assert len(digests) == 4
