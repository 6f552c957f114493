"""Devices that sign for a person: enrolled after a challenge of their own, used with their counter, removed.

What a device signs is bound to one challenge and what that authorises. A device that counts must count up: a copy of it is found when
either signs after the other. One that never counts always says 0; there, as everywhere, a challenge is answered once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import assert_never
from uuid import UUID

from isthmus.domain import sca, step_up
from isthmus.domain.authenticators import Credential
from isthmus.domain.dynamic_link import Purpose, StepUp
from isthmus.domain.personal import PersonalText, Sealed
from isthmus.domain.refusals import (
    DeviceNotFound,
    DeviceRefused,
    InvalidInput,
    Refusal,
    ScaRejected,
    ScaRequired,
)

NAME_LENGTH_MAX = 40
#: Devices of one person that sign.
DEVICES_MAX = 10
#: From the wish to enrol a device until its key must be here.
ENROL_WITHIN = timedelta(minutes=10)


@dataclass(frozen=True)
class DeviceRequested:
    """`digest`: of what is to be enrolled, which the challenge is bound to."""

    device_id: UUID
    owner: UUID
    name: Sealed
    digest: str
    challenge_id: UUID
    enrol_until: datetime


@dataclass(frozen=True)
class DeviceEnrolled:
    """`credential_id` and `public_key` are base64url; the other half of the key never leaves the device."""

    device_id: UUID
    owner: UUID
    credential_id: str
    public_key: str
    counter: int


@dataclass(frozen=True)
class DeviceUsed:
    device_id: UUID
    owner: UUID
    challenge_id: UUID
    counter: int


@dataclass(frozen=True)
class DeviceRemoved:
    device_id: UUID
    owner: UUID


DeviceEvent = DeviceRequested | DeviceEnrolled | DeviceUsed | DeviceRemoved


@dataclass(frozen=True)
class Device:
    """Folded from its events. It signs while it has a credential and is not removed."""

    requested: DeviceRequested
    credential_id: str | None = None
    counter: int = 0
    removed: bool = False

    @property
    def owner(self) -> UUID:
        return self.requested.owner

    @property
    def signs(self) -> bool:
        return self.credential_id is not None and not self.removed


def evolve(device: Device | None, event: DeviceEvent) -> Device:
    if isinstance(event, DeviceRequested):
        assert device is None, "a device is asked for once"
        return Device(event)
    assert device is not None, "a device begins with DeviceRequested"
    match event:
        case DeviceEnrolled():
            return replace(device, credential_id=event.credential_id, counter=event.counter)
        case DeviceUsed():
            return replace(device, counter=event.counter)
        case DeviceRemoved():
            return replace(device, removed=True)
        case _:
            assert_never(event)


def fold(events: Iterable[object]) -> Device | None:
    """None where the stream is another thing's, or nobody's."""
    device: Device | None = None
    for event in events:
        if isinstance(event, DeviceEvent):
            device = evolve(device, event)
    return device


def enrolment_digest(device_id: UUID, owner: UUID, name: str) -> str:
    return StepUp(Purpose.DEVICE, device_id, owner, (name,)).digest()


def signing_challenge(purpose: Purpose, digest: str, challenge_id: UUID) -> bytes:
    """What a device signs: of use for this challenge, and what it is bound to, alone. Digest and id have one length each."""
    return hashlib.sha256(purpose.value.encode() + bytes.fromhex(digest) + challenge_id.bytes).digest()


# -- wishes ----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class BeginDevice:
    device_id: UUID
    challenge_id: UUID
    owner: UUID
    name: PersonalText
    digest: str
    expires_at: datetime
    enrol_until: datetime

    @property
    def person(self) -> UUID:
        """Whose key seals the name."""
        return self.owner


@dataclass(frozen=True)
class CompleteDevice:
    """`digest`: of what is enrolled, made of it anew. `credential`: None where what the device answered is not right."""

    device_id: UUID
    challenge_id: UUID
    owner: UUID
    digest: str
    credential: Credential | None = field(repr=False)


@dataclass(frozen=True)
class RemoveDevice:
    device_id: UUID
    owner: UUID


Decision = Sequence[DeviceEvent | sca.ScaEvent | sca.ScaGuardEvent] | Refusal


def name_fault(name: str) -> Refusal | None:
    if not name.strip():
        return InvalidInput("The device needs a name.", ("input", "name"))
    if len(name) > NAME_LENGTH_MAX:
        return InvalidInput(f"The name is longer than {NAME_LENGTH_MAX} characters.", ("input", "name"))
    return None


def _missing() -> Refusal:
    return DeviceNotFound("There is no such device.", ("input", "deviceId"))


def begin(guard: sca.Guard, wish: BeginDevice, now: datetime) -> Decision:
    """By a code: a device cannot vouch for itself, and one that was lost could not for the next."""
    if (no := step_up.blocked(guard, now)) is not None:
        return no
    return [
        DeviceRequested(
            wish.device_id, wish.owner, wish.name.ciphertext(), wish.digest, wish.challenge_id, wish.enrol_until
        ),
        sca.ScaChallengeIssued(
            wish.challenge_id,
            wish.owner,
            Purpose.DEVICE,
            wish.device_id,
            wish.digest,
            sca.Method.ONE_TIME_CODE,
            wish.expires_at,
        ),
    ]


def answer(
    challenge: sca.Challenge, guard: sca.Guard, device: Device | None, proof: sca.Proof, now: datetime
) -> Decision:
    """To a challenge of this person's for this device (`sca_answers.py`): that it was passed is all that enrolment asks."""
    if device is None or device.removed:
        return ScaRejected("The answer is not accepted.")
    answered = sca.answer(challenge, guard, proof, now)
    return list(answered.events) if answered.events else ScaRejected("The answer is not accepted.")


def complete(
    device: Device | None,
    challenge: sca.Challenge | None,
    wish: CompleteDevice,
    now: datetime,
    known: Collection[str] = (),
) -> Decision:
    """`known`: credentials that were ever anybody's. A key belongs to one person, and to one of their devices."""
    if device is None or device.owner != wish.owner or device.removed:
        return _missing()
    mine = device.requested
    if challenge is None or challenge.challenge_id != mine.challenge_id:
        return _missing()
    if device.credential_id is not None:
        same = wish.credential is not None and wish.credential.credential_id == device.credential_id
        return [] if same else _refused()
    if challenge.state is not sca.ChallengeState.PASSED:
        return ScaRequired("Answer the device's challenge first.", ("input", "deviceId"))
    same = wish.digest == mine.digest == challenge.issued.digest
    if wish.credential is None or wish.credential.credential_id in known or not same or mine.enrol_until <= now:
        return _refused()
    key = wish.credential
    return [DeviceEnrolled(mine.device_id, mine.owner, key.credential_id, key.public_key, key.counter)]


def _refused() -> Refusal:
    return DeviceRefused("What the device answered is not accepted.", ("input", "credential"))


def remove(device: Device | None, wish: RemoveDevice) -> Decision:
    if device is None or device.owner != wish.owner:
        return _missing()
    if device.removed:
        return []
    return [DeviceRemoved(wish.device_id, wish.owner)]


# -- signing ---------------------------------------------------------------------------------------------------------------


def checked(device: Device | None, proof: sca.Proof, owner: UUID) -> sca.Proof:
    """The proof as the device's stream has it now: another answer may have been accepted since it was looked at."""
    if not isinstance(proof, sca.DeviceProof):
        return proof
    known = device is not None and device.owner == owner and device.signs
    return replace(proof, holds=proof.holds and known and device is not None and _counts_up(device, proof.counter))


def _counts_up(device: Device, counter: int) -> bool:
    return counter > device.counter or counter == device.counter == 0


def used(challenge: sca.Challenge, proof: sca.Proof) -> Sequence[DeviceEvent]:
    """What a passed challenge leaves at the device that signed for it."""
    if not isinstance(proof, sca.DeviceProof) or proof.device_id is None:
        return []
    return [DeviceUsed(proof.device_id, challenge.owner, challenge.challenge_id, proof.counter)]
