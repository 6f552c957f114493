"""What an operator does with a payment that waits to be judged: lets it go on, or refuses it.

It was answered for already, and its money is reserved. Nobody judges their own, and nothing goes on from an account that is frozen: the
freeze is lifted first, or the payment refused. Refused is told in the same words as what the rules refuse by themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from isthmus.domain import compliance, sca
from isthmus.domain.ledger import Book, Hold
from isthmus.domain.payment_events import (
    Payment,
    PaymentAuthorised,
    PaymentRejected,
    PaymentReleased,
    PaymentState,
    Source,
)
from isthmus.domain.payments import Decision, ended
from isthmus.domain.refusals import AccountFrozenRefusal, PaymentNotInReview

_PAYMENT = ("input", "paymentId")


@dataclass(frozen=True)
class ReleasePayment:
    payment_id: UUID
    challenge_id: UUID
    operator: UUID


@dataclass(frozen=True)
class RefusePayment:
    payment_id: UUID
    challenge_id: UUID
    operator: UUID


def release(book: Book, payment: Payment | None, challenge: sca.Challenge | None, wish: ReleasePayment) -> Decision:
    if payment is None or challenge is None or not _waits(payment, challenge, wish.operator):
        return _elsewhere()
    source = book.get(payment.initiated.from_account_id)
    if source is not None and source.account.frozen:
        return AccountFrozenRefusal("The account is frozen: it only receives.", _PAYMENT)
    about = (payment.payment_id, payment.owner)
    if payment.initiated.source is Source.BANK:
        return [PaymentReleased(*about)]  # now the bank may ask its customer
    return [PaymentReleased(*about), PaymentAuthorised(*about, f"{challenge.issued.method} REVIEWED")]


def refuse(
    book: Book,
    hold: Hold | None,
    payment: Payment | None,
    challenge: sca.Challenge | None,
    wish: RefusePayment,
    now: datetime,
) -> Decision:
    if payment is None or challenge is None or not _waits(payment, challenge, wish.operator):
        return _elsewhere()
    refused = PaymentRejected(payment.payment_id, payment.owner, compliance.REFUSED)
    # Of a batch the others go on, and some may be at the bank: the challenge is theirs as well.
    void = sca.invalidate(challenge, sca.Invalidation.CANCELLED) if payment.initiated.batch_id is None else ()
    return [*ended(book, hold, refused, now), *void]


def _waits(payment: Payment, challenge: sca.Challenge, operator: UUID) -> bool:
    # From an account here it is judged once it is answered for; from a bank's, before anybody is asked.
    own = payment.initiated.source is Source.OWN
    standing = sca.ChallengeState.PASSED if own else sca.ChallengeState.PENDING
    return (
        payment.state is PaymentState.AWAITING_SCA
        and payment.to_review
        and challenge.state is standing
        and payment.owner != operator
    )


def _elsewhere() -> PaymentNotInReview:
    return PaymentNotInReview("No payment of that id waits for your judgement.", _PAYMENT)
