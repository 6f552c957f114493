"""Payments: someone pays a payee from an account here or at a bank, and every payment comes to one end.

Here is what people and the process manager wish of one that was made, and what is decided on it; how one is made is in
`payment_initiation.py`, what a provider says is decided on in `payment_news.py`.
From an account here the money is reserved when the payment is made, leaves when it is executed, and is released on every way that
ends otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from isthmus.domain import compliance, journals, sca
from isthmus.domain.compliance import Ruling
from isthmus.domain.ledger import (
    Book,
    Hold,
    LedgerEvent,
    VoidReason,
)
from isthmus.domain.payment_events import (
    REVIEW,
    UNKNOWN_STATUS,
    Payment,
    PaymentAuthorised,
    PaymentCancelled,
    PaymentEvent,
    PaymentExpired,
    PaymentParked,
    PaymentRejected,
    PaymentScreened,
    PaymentSubmissionStarted,
    S,
    Source,
)
from isthmus.domain.reconciliation_cases import CaseEvent
from isthmus.domain.refusals import (
    PaymentNotCancellable,
    PaymentNotFound,
    Refusal,
    ScaRejected,
)


@dataclass(frozen=True)
class CancelPayment:
    payment_id: UUID
    challenge_id: UUID
    owner: UUID


@dataclass(frozen=True)
class ExpirePayment:
    """The time has come to look whether its challenge is over."""

    payment_id: UUID
    challenge_id: UUID


@dataclass(frozen=True)
class StartSubmission:
    """`digest`: of what is about to be sent, made of what will be sent."""

    payment_id: UUID
    challenge_id: UUID
    digest: str


Events = Sequence[PaymentEvent | sca.ScaEvent | sca.ScaGuardEvent | LedgerEvent | CaseEvent]
Decision = Events | Refusal


def missing() -> Refusal:
    return PaymentNotFound("There is no such payment.", ("input", "paymentId"))


def answer(
    book: Book, challenge: sca.Challenge, guard: sca.Guard, payment: Payment | None, proof: sca.Proof, now: datetime
) -> Decision:
    """To a challenge of this person's for this payment (`sca_answers.py`). A wrong answer is no refusal: it is written down. The caller
    finds in the events what became of it. What an operator is to judge is answered for like everything else, and waits then."""
    if payment is None or payment.state is not S.AWAITING_SCA:
        return ScaRejected("The answer is not accepted.")
    answered = sca.answer(challenge, guard, proof, now)
    if not answered.events:
        return ScaRejected("The answer is not accepted.")
    if not answered.passed:
        return list(answered.events)
    return [*answered.events, *goes_on(book, payment, sca.proof_name(challenge, proof))]


def goes_on(book: Book, payment: Payment, by: str) -> Sequence[PaymentEvent]:
    """What comes of a payment that its person has answered for."""
    about = (payment.payment_id, payment.owner)
    source = book.get(payment.initiated.from_account_id)
    # An account of ours that is not at hand is not known to be free: somebody changed what was read to find it.
    unfree = payment.initiated.source is Source.OWN if source is None else source.account.frozen
    verdict = compliance.frozen_account(unfree)
    if verdict.ruling is Ruling.REVIEW:
        screened = PaymentScreened(*about, verdict.ruling, verdict.rule, verdict.list_version)
        return [screened, PaymentParked(*about, REVIEW)]
    if payment.to_review:
        return [PaymentParked(*about, REVIEW)]
    return [PaymentAuthorised(*about, by)]


def ended(book: Book, hold: Hold | None, event: PaymentEvent, now: datetime) -> Events:
    """`event` ends the payment without money having moved; what was reserved is released."""
    return [*_released(book, hold, now), event]


def _released(book: Book, hold: Hold | None, now: datetime) -> Sequence[LedgerEvent]:
    if hold is None or hold.resolved:
        return []
    decided = journals.void_hold(book, hold, VoidReason.REQUESTED, now)
    assert not isinstance(decided, Refusal), "an open hold can be voided"
    return decided


def cancel(
    book: Book,
    hold: Hold | None,
    payment: Payment | None,
    challenge: sca.Challenge | None,
    wish: CancelPayment,
    now: datetime,
) -> Decision:
    """Until a submission was begun: from then on it may be at the bank."""
    if payment is None or payment.owner != wish.owner:
        return missing()
    if payment.state is S.CANCELLED:
        return []
    if payment.state not in (S.AWAITING_SCA, S.AUTHORISED) or payment.attempts:
        return PaymentNotCancellable("It is too late to cancel the payment.", ("input", "paymentId"))
    # Of a batch: until it is answered for, what is taken back changes the whole; then the others go on.
    mine = challenge is not None and (
        payment.initiated.batch_id is None or challenge.state is sca.ChallengeState.PENDING
    )
    void = sca.invalidate(challenge, sca.Invalidation.CANCELLED) if challenge is not None and mine else ()
    return [*ended(book, hold, PaymentCancelled(payment.payment_id, payment.owner), now), *void]


def expire(
    book: Book, hold: Hold | None, payment: Payment | None, challenge: sca.Challenge | None, now: datetime
) -> Decision:
    """Also where the challenge came to another end than being passed: nobody can answer for the payment any more."""
    if payment is None or challenge is None:
        return missing()
    if payment.state is not S.AWAITING_SCA:
        return []
    about = (payment.payment_id, payment.owner)
    if challenge.state is sca.ChallengeState.FAILED:
        return ended(book, hold, PaymentRejected(*about, "SCA_FAILED"), now)
    if challenge.state is sca.ChallengeState.INVALIDATED:
        return ended(book, hold, PaymentCancelled(*about), now)  # another payment of its batch was taken back
    over = sca.expire(challenge, now)
    if not over and challenge.state is not sca.ChallengeState.EXPIRED:
        return []
    return [*over, *ended(book, hold, PaymentExpired(*about), now)]


def start_submission(
    book: Book,
    hold: Hold | None,
    payment: Payment | None,
    challenge: sca.Challenge | None,
    wish: StartSubmission,
    now: datetime,
) -> Decision:
    """What is about to be sent must be what the person answered for, or wished where nobody was asked; otherwise nothing is sent, and an
    operator is told."""
    if payment is None or (challenge is None and not payment.exempted):
        return missing()
    if payment.state is not S.AUTHORISED or payment.parked not in (None, UNKNOWN_STATUS):
        return []
    if payment.proposed is not None:
        return []  # while operators decide what became of it nothing more is sent
    about = (payment.payment_id, payment.owner)
    same = wish.digest == payment.initiated.digest
    if challenge is not None:
        same = same and challenge.issued.digest == wish.digest and challenge.state is sca.ChallengeState.PASSED
    if not same:
        void = sca.invalidate(challenge, sca.Invalidation.CHANGED) if challenge is not None else ()
        if payment.attempts:
            # It may have been done before it was changed: it is not sent again, and nothing is released.
            return [*void, PaymentParked(*about, "CHANGED_AFTER_SCA")]
        return [
            *void,
            *ended(book, hold, PaymentRejected(*about, "CHANGED_AFTER_SCA"), now),
            PaymentParked(*about, "CHANGED_AFTER_SCA"),
        ]
    source = book.get(payment.initiated.from_account_id)
    if source is not None and source.account.frozen and not payment.unknown:
        return []  # it waits until the account is free, and may be taken back; whoever sweeps asks again
    return [PaymentSubmissionStarted(*about, payment.attempts + 1)]
