"""Answers to challenges, whatever they are for: each purpose says what its answer moves on, and no answer is of use for another's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import assert_never
from uuid import UUID

from isthmus.domain import api_keys, batches, payments, personal_limits, saved_payees, sca, sca_apps, sca_devices
from isthmus.domain.api_keys import ApiKey
from isthmus.domain.batches import Batch
from isthmus.domain.dynamic_link import Purpose
from isthmus.domain.ledger import Book
from isthmus.domain.payment_events import Payment
from isthmus.domain.personal_limits import PersonalLimit
from isthmus.domain.refusals import Refusal, ScaRejected
from isthmus.domain.saved_payees import SavedPayee
from isthmus.domain.sca_apps import App
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
    #: Those of a batch.
    payment_ids: tuple[UUID, ...] = ()

    @property
    def signer_id(self) -> UUID | None:
        """The device that is said to have signed, or the app that is said to have shown the code."""
        match self.proof:
            case sca.DeviceProof():
                return self.proof.device_id
            case sca.TotpProof():
                return self.proof.app_id
            case _:
                return None


#: What a challenge may authorise.
Subject = Payment | Batch | Device | SavedPayee | App | ApiKey | PersonalLimit
Decision = (
    payments.Decision
    | sca_devices.Decision
    | saved_payees.Decision
    | sca_apps.Decision
    | api_keys.Decision
    | personal_limits.Decision
)


def answer(
    book: Book,
    challenge: sca.Challenge | None,
    guard: sca.Guard,
    subject: Subject | None,
    signer: Device | App | None,
    wish: AnswerScaChallenge,
    now: datetime,
) -> Decision:
    """`subject`: what the wish says it is for. `signer`: the device or app that is said to have signed."""
    if challenge is None or challenge.owner != wish.owner or challenge.issued.subject_id != wish.subject_id:
        return ScaRejected("The answer is not accepted.")
    if challenge.issued.digest != wish.digest:
        return ScaRejected("The answer is not accepted.")  # nobody was wrong but whoever changed a row
    proof = sca_devices.checked(signer if isinstance(signer, Device) else None, wish.proof, wish.owner)
    proof = sca_apps.checked(signer if isinstance(signer, App) else None, proof, wish.owner)
    decided: Decision
    match challenge.issued.purpose:
        case Purpose.PAYMENT:
            payment = subject if isinstance(subject, Payment) else None
            decided = payments.answer(book, challenge, guard, payment, proof, now)
        case Purpose.BATCH:
            batch = subject if isinstance(subject, Batch) else None
            decided = batches.answer(book, challenge, guard, batch, proof, now)
        case Purpose.DEVICE:
            device = subject if isinstance(subject, Device) else None
            decided = sca_devices.answer(challenge, guard, device, proof, now)
        case Purpose.PAYEE:
            payee = subject if isinstance(subject, SavedPayee) else None
            decided = saved_payees.answer(challenge, guard, payee, proof, now)
        case Purpose.AUTHENTICATOR:
            app = subject if isinstance(subject, App) else None
            decided = sca_apps.answer(challenge, guard, app, proof, now)
        case Purpose.API_KEY:
            key = subject if isinstance(subject, ApiKey) else None
            decided = api_keys.answer(challenge, guard, key, proof, now)
        case Purpose.LIMIT:
            limit = subject if isinstance(subject, PersonalLimit) else None
            decided = personal_limits.answer(challenge, guard, limit, proof, now)
        case _:
            assert_never(challenge.issued.purpose)
    if isinstance(decided, Refusal) or not _passed(decided):
        return decided
    return [*decided, *sca_devices.used(challenge, proof), *sca_apps.used(challenge, proof)]


def _passed(events: Sequence[object]) -> bool:
    return any(isinstance(event, sca.ScaPassed) for event in events)
