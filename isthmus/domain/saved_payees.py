"""Payees that a person saved: trusted beneficiaries, made with strong authentication alone (RTS 2018/389 Art. 13), and removed at will.

What was answered for is one name and one account. Whoever asks later whether a payee is trusted holds exactly these against it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import assert_never
from uuid import UUID

from isthmus.domain import sca, step_up
from isthmus.domain.dynamic_link import Purpose, StepUp
from isthmus.domain.personal import PersonalText, Sealed
from isthmus.domain.refusals import PayeeNotFound, Refusal, ScaRejected, ScaRequired


@dataclass(frozen=True)
class PayeeRequested:
    """`digest`: of name and account, which the challenge is bound to. `fingerprint`: of the same, under a key of the person's own."""

    payee_id: UUID
    owner: UUID
    name: Sealed
    account: Sealed
    fingerprint: str
    digest: str
    challenge_id: UUID


@dataclass(frozen=True)
class PayeeSaved:
    """Its challenge was passed: from now on it is trusted."""

    payee_id: UUID
    owner: UUID


@dataclass(frozen=True)
class PayeeRemoved:
    payee_id: UUID
    owner: UUID


SavedPayeeEvent = PayeeRequested | PayeeSaved | PayeeRemoved


@dataclass(frozen=True)
class SavedPayee:
    """Folded from its events."""

    requested: PayeeRequested
    saved: bool = False
    removed: bool = False

    @property
    def owner(self) -> UUID:
        return self.requested.owner


def evolve(payee: SavedPayee | None, event: SavedPayeeEvent) -> SavedPayee:
    if isinstance(event, PayeeRequested):
        assert payee is None, "a payee is asked for once"
        return SavedPayee(event)
    assert payee is not None, "a payee begins with PayeeRequested"
    match event:
        case PayeeSaved():
            return replace(payee, saved=True)
        case PayeeRemoved():
            return replace(payee, removed=True)
        case _:
            assert_never(event)


def fold(events: Iterable[object]) -> SavedPayee | None:
    """None where the stream is another thing's, or nobody's."""
    payee: SavedPayee | None = None
    for event in events:
        if isinstance(event, SavedPayeeEvent):
            payee = evolve(payee, event)
    return payee


_PAID = ("input", "payee", "savedPayeeId")


def missing() -> Refusal:
    return PayeeNotFound("There is no such payee.", _PAID)


def payable(payee: SavedPayee | None, person: UUID) -> Refusal | None:
    """Whether a payment may name it. Another person's is as one that does not exist."""
    if payee is None or payee.owner != person or payee.removed:
        return missing()
    return None if payee.saved else ScaRequired("Answer the payee's challenge first.", _PAID)


def payee_digest(payee_id: UUID, owner: UUID, name: str, account: str) -> str:
    """Of one name and one account, as they were written: a letter that only looks the same is another one."""
    return StepUp(Purpose.PAYEE, payee_id, owner, (name, account)).digest()


# -- wishes ----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class AddPayee:
    payee_id: UUID
    challenge_id: UUID
    owner: UUID
    name: PersonalText
    account: PersonalText
    fingerprint: str = field(repr=False)
    digest: str
    method: sca.Method
    expires_at: datetime

    @property
    def person(self) -> UUID:
        """Whose key seals the texts."""
        return self.owner


@dataclass(frozen=True)
class RemovePayee:
    payee_id: UUID
    owner: UUID


Decision = Sequence[SavedPayeeEvent | sca.ScaEvent | sca.ScaGuardEvent] | Refusal


def add(guard: sca.Guard, wish: AddPayee, now: datetime) -> Decision:
    if (no := step_up.blocked(guard, now)) is not None:
        return no
    return [
        PayeeRequested(
            wish.payee_id,
            wish.owner,
            wish.name.ciphertext(),
            wish.account.ciphertext(),
            wish.fingerprint,
            wish.digest,
            wish.challenge_id,
        ),
        sca.ScaChallengeIssued(
            wish.challenge_id,
            wish.owner,
            Purpose.PAYEE,
            wish.payee_id,
            wish.digest,
            wish.method,
            wish.expires_at,
        ),
    ]


def answer(
    challenge: sca.Challenge, guard: sca.Guard, payee: SavedPayee | None, proof: sca.Proof, now: datetime
) -> Decision:
    """To a challenge of this person's for this payee (`sca_answers.py`): a right one saves it."""
    if payee is None or payee.saved or payee.removed or payee.requested.digest != challenge.issued.digest:
        return ScaRejected("The answer is not accepted.")
    answered = sca.answer(challenge, guard, proof, now)
    if not answered.events:
        return ScaRejected("The answer is not accepted.")
    saved = [PayeeSaved(payee.requested.payee_id, payee.owner)] if answered.passed else []
    return [*answered.events, *saved]


def remove(payee: SavedPayee | None, wish: RemovePayee) -> Decision:
    """Also one that waits for its answer: it can be given no more."""
    if payee is None or payee.owner != wish.owner:
        return PayeeNotFound("There is no such payee.", ("input", "payeeId"))
    return [] if payee.removed else [PayeeRemoved(wish.payee_id, wish.owner)]
