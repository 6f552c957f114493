"""Answers to challenges, whatever they are for: each purpose says what its answer moves on, and no answer is of use for another's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import assert_never
from uuid import UUID

from isthmus.domain import payments, saved_payees, sca, sca_devices
from isthmus.domain.dynamic_link import Purpose
from isthmus.domain.ledger import Book
from isthmus.domain.payment_events import Payment
from isthmus.domain.refusals import Refusal, ScaRejected
from isthmus.domain.saved_payees import SavedPayee
from isthmus.domain.sca_devices import Device


@dataclass(frozen=True)
class AnswerScaChallenge:
    """`subject_id`: what it is said to authorise, and `digest` what the proof was held against; the challenge itself knows both.
    `from_account_id`: what a payment is paid from."""

    challenge_id: UUID
    subject_id: UUID
    owner: UUID
    digest: str
    proof: sca.Proof = field(repr=False)
    from_account_id: UUID | None = None

    @property
    def device_id(self) -> UUID | None:
        """Whose device is said to have signed."""
        return self.proof.device_id if isinstance(self.proof, sca.DeviceProof) else None


Decision = payments.Decision | sca_devices.Decision | saved_payees.Decision


def answer(
    book: Book,
    challenge: sca.Challenge | None,
    guard: sca.Guard,
    subject: Payment | Device | SavedPayee | None,
    signer: Device | None,
    wish: AnswerScaChallenge,
    now: datetime,
) -> Decision:
    """`subject`: what the wish says it is for. `signer`: the device that is said to have signed."""
    if challenge is None or challenge.owner != wish.owner or challenge.issued.subject_id != wish.subject_id:
        return ScaRejected("The answer is not accepted.")
    if challenge.issued.digest != wish.digest:
        return ScaRejected("The answer is not accepted.")  # nobody was wrong but whoever changed a row
    proof = sca_devices.checked(signer, wish.proof, wish.owner)
    decided: Decision
    match challenge.issued.purpose:
        case Purpose.PAYMENT:
            payment = subject if isinstance(subject, Payment) else None
            decided = payments.answer(book, challenge, guard, payment, proof, now)
        case Purpose.DEVICE:
            device = subject if isinstance(subject, Device) else None
            decided = sca_devices.answer(challenge, guard, device, proof, now)
        case Purpose.PAYEE:
            payee = subject if isinstance(subject, SavedPayee) else None
            decided = saved_payees.answer(challenge, guard, payee, proof, now)
        case _:
            assert_never(challenge.issued.purpose)
    if isinstance(decided, Refusal) or not _passed(decided):
        return decided
    return [*decided, *sca_devices.used(challenge, proof)]


def _passed(events: Sequence[object]) -> bool:
    return any(isinstance(event, sca.ScaPassed) for event in events)
