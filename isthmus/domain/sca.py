"""Strong customer authentication: a challenge that is bound to what it authorises, and the count of wrong answers.

RTS 2018/389 Art. 4: a code is accepted once, five wrong answers in a row block, and an answer does not say what was wrong. The count is
the person's, not the challenge's: whatever the way and however many challenges there are, it is one stream that every wrong answer
is written to, so that two hundred at once are counted like two hundred in a row.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import assert_never
from uuid import UUID, uuid5

from isthmus.domain.dynamic_link import Purpose
from isthmus.domain.sca_proofs import BankProof as BankProof
from isthmus.domain.sca_proofs import CodeProof as CodeProof
from isthmus.domain.sca_proofs import DeviceProof as DeviceProof
from isthmus.domain.sca_proofs import Proof as Proof
from isthmus.domain.sca_proofs import TotpProof as TotpProof

FAILURES_MAX = 5
#: How long a person who answered wrongly too often is asked nothing more.
BLOCKED_FOR = timedelta(hours=24)
CODE_LIFE = timedelta(minutes=5)


class Method(StrEnum):
    ONE_TIME_CODE = "ONE_TIME_CODE"
    DEVICE = "DEVICE"
    TOTP = "TOTP"
    REDIRECT = "REDIRECT"
    DECOUPLED = "DECOUPLED"


class ChallengeState(StrEnum):
    PENDING = "PENDING"
    PASSED = "PASSED"
    FAILED = "FAILED"
    EXPIRED = "EXPIRED"
    INVALIDATED = "INVALIDATED"


class Invalidation(StrEnum):
    """Why a challenge is of no use any more. CHANGED: what was to be sent is not what the person answered for."""

    CANCELLED = "CANCELLED"
    CHANGED = "CHANGED"
    BLOCKED = "BLOCKED"


@dataclass(frozen=True)
class ScaChallengeIssued:
    """`digest`: of the dynamic link, SHA-256 in hexadecimal. A one-time code is kept nowhere: it follows from the challenge and the digest
    under a key of the platform's (`write_models/one_time_codes.py`), so that it is worth nothing for anything else."""

    challenge_id: UUID
    owner: UUID
    purpose: Purpose
    subject_id: UUID
    digest: str
    method: Method
    expires_at: datetime


@dataclass(frozen=True)
class ScaAnsweredWrongly:
    challenge_id: UUID
    owner: UUID


@dataclass(frozen=True)
class ScaPassed:
    """`proof`: by what, as an auditor reads it: the method, and a device's id."""

    challenge_id: UUID
    owner: UUID
    proof: str


@dataclass(frozen=True)
class ScaFailed:
    """It was answered wrongly too often."""

    challenge_id: UUID
    owner: UUID


@dataclass(frozen=True)
class ScaExpired:
    challenge_id: UUID
    owner: UUID


@dataclass(frozen=True)
class ScaInvalidated:
    challenge_id: UUID
    owner: UUID
    reason: Invalidation


ScaEvent = ScaChallengeIssued | ScaAnsweredWrongly | ScaPassed | ScaFailed | ScaExpired | ScaInvalidated


@dataclass(frozen=True)
class ScaFailureCounted:
    guard_id: UUID
    owner: UUID
    challenge_id: UUID


@dataclass(frozen=True)
class ScaBlocked:
    guard_id: UUID
    owner: UUID
    until: datetime


@dataclass(frozen=True)
class ScaCountCleared:
    """A right answer, or an operator."""

    guard_id: UUID
    owner: UUID


ScaGuardEvent = ScaFailureCounted | ScaBlocked | ScaCountCleared


@dataclass(frozen=True)
class Challenge:
    """Folded from its events. What is over by the clock is asked with `state_at`."""

    issued: ScaChallengeIssued
    state: ChallengeState = ChallengeState.PENDING
    failures: int = 0

    @property
    def challenge_id(self) -> UUID:
        return self.issued.challenge_id

    @property
    def owner(self) -> UUID:
        return self.issued.owner

    def state_at(self, now: datetime) -> ChallengeState:
        over = self.state is ChallengeState.PENDING and self.issued.expires_at <= now
        return ChallengeState.EXPIRED if over else self.state


@dataclass(frozen=True)
class Guard:
    """Of one person. `failures` in a row, over all challenges."""

    failures: int = 0
    blocked_until: datetime | None = None

    def blocked(self, now: datetime) -> bool:
        return self.blocked_until is not None and now < self.blocked_until

    @property
    def left(self) -> int:
        return FAILURES_MAX - self.failures


def guard_id_of(person: UUID) -> UUID:
    return uuid5(person, "sca guard")


def evolve(challenge: Challenge | None, event: ScaEvent) -> Challenge:
    if isinstance(event, ScaChallengeIssued):
        assert challenge is None, "a challenge is issued once"
        return Challenge(event)
    assert challenge is not None, "a challenge begins with ScaChallengeIssued"
    match event:
        case ScaAnsweredWrongly():
            return replace(challenge, failures=challenge.failures + 1)
        case ScaPassed():
            return replace(challenge, state=ChallengeState.PASSED)
        case ScaFailed():
            return replace(challenge, state=ChallengeState.FAILED)
        case ScaExpired():
            return replace(challenge, state=ChallengeState.EXPIRED)
        case ScaInvalidated():
            return replace(challenge, state=ChallengeState.INVALIDATED)
        case _:
            assert_never(event)


def fold(events: Iterable[object]) -> Challenge | None:
    challenge: Challenge | None = None
    for event in events:
        if isinstance(event, ScaEvent):
            challenge = evolve(challenge, event)
    return challenge


def fold_guard(events: Iterable[object], now: datetime) -> Guard:
    """A block that is over leaves nothing behind: the count begins anew."""
    guard = Guard()
    for event in events:
        match event:
            case ScaFailureCounted():
                if guard.blocked_until is not None:
                    guard = Guard()
                guard = replace(guard, failures=guard.failures + 1)
            case ScaBlocked():
                guard = replace(guard, blocked_until=event.until)
            case ScaCountCleared():
                guard = Guard()
            case _:
                pass
    return Guard() if guard.blocked_until is not None and not guard.blocked(now) else guard


# -- what a person answers with --------------------------------------------------------------------------------------------


def proof_fits(challenge: Challenge, proof: Proof) -> bool:
    """Whether it is of the challenge's method at all, and right."""
    issued = challenge.issued
    match proof:
        case CodeProof():
            return issued.method is Method.ONE_TIME_CODE and proof.holds
        case DeviceProof():
            return issued.method is Method.DEVICE and proof.holds
        case TotpProof():
            return issued.method is Method.TOTP and proof.holds
        case BankProof():
            return issued.method in (Method.REDIRECT, Method.DECOUPLED) and proof.holds is True
        case _:
            assert_never(proof)


def proof_name(challenge: Challenge, proof: Proof) -> str:
    device = f" {proof.device_id}" if isinstance(proof, DeviceProof) else ""
    return f"{challenge.issued.method}{device}"


@dataclass(frozen=True)
class Answered:
    """What becomes of an answer: events of the challenge and of the person's guard. Not `passed`: nothing else may happen."""

    passed: bool
    events: tuple[ScaEvent | ScaGuardEvent, ...]


def answer(challenge: Challenge, guard: Guard, proof: Proof, now: datetime) -> Answered:
    """Only for the challenge's own person. What is not pending, or blocked, is refused without being looked at; it counts for nothing."""
    about = (challenge.challenge_id, challenge.owner)
    mine = guard_id_of(challenge.owner)
    if challenge.state_at(now) is not ChallengeState.PENDING or guard.blocked(now):
        return Answered(False, ())
    if proof_fits(challenge, proof):
        cleared = (ScaCountCleared(mine, challenge.owner),) if guard.failures else ()
        return Answered(True, (ScaPassed(*about, proof_name(challenge, proof)), *cleared))
    if isinstance(proof, BankProof) and challenge.issued.method in (Method.REDIRECT, Method.DECOUPLED):
        # Whose answer it is the bank counts; it has not come, or it is no.
        return Answered(False, (ScaFailed(*about),) if proof.holds is False else ())
    events: list[ScaEvent | ScaGuardEvent] = [
        ScaAnsweredWrongly(*about),
        ScaFailureCounted(mine, challenge.owner, challenge.challenge_id),
    ]
    if guard.failures + 1 >= FAILURES_MAX:
        events += [ScaFailed(*about), ScaBlocked(mine, challenge.owner, now + BLOCKED_FOR)]
    return Answered(False, tuple(events))


def expire(challenge: Challenge, now: datetime) -> Sequence[ScaEvent]:
    due = challenge.state is ChallengeState.PENDING and challenge.issued.expires_at <= now
    return [ScaExpired(challenge.challenge_id, challenge.owner)] if due else []


def invalidate(challenge: Challenge, reason: Invalidation) -> Sequence[ScaEvent]:
    """Also of one that was passed, until what it authorised is done."""
    if challenge.state not in (ChallengeState.PENDING, ChallengeState.PASSED):
        return []
    return [ScaInvalidated(challenge.challenge_id, challenge.owner, reason)]
