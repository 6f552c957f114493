"""What a provider says of a payment, and what becomes of the payment by it.

News comes in any order and more than once. It moves a payment on and never back: what is late, or contradicts what is known, or has a
word that nobody knows, is kept as evidence, and what contradicts is shown to an operator.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import assert_never
from uuid import UUID, uuid5

from isthmus.domain import accounts_here, journals
from isthmus.domain.ledger import (
    Book,
    Hold,
    LedgerEvent,
)
from isthmus.domain.money import text_of
from isthmus.domain.payment_events import (
    RANK,
    UNKNOWN_STATUS,
    VOID,
    Payment,
    PaymentAuthorised,
    PaymentCancelled,
    PaymentEvent,
    PaymentEvidenceKept,
    PaymentExecuted,
    PaymentExpired,
    PaymentFailed,
    PaymentParked,
    PaymentRejected,
    PaymentSettled,
    PaymentState,
    PaymentSubmitted,
    S,
    evolve,
)
from isthmus.domain.payments import Decision, ended, missing
from isthmus.domain.refusals import (
    Refusal,
)

#: Parked since it is not what was asked for, or the contrary of what is known.
OTHER_AMOUNT, OTHER_PAYEE, CONTRADICTION = "OTHER_AMOUNT", "OTHER_PAYEE", "CONTRADICTION"
_TOLD_MAX = 64


class ProviderPayment(StrEnum):
    """What a provider's word for the state of a payment means to us."""

    AWAITING = "AWAITING"
    AUTHORISED = "AUTHORISED"
    SUBMITTED = "SUBMITTED"
    EXECUTED = "EXECUTED"
    SETTLED = "SETTLED"
    REJECTED = "REJECTED"
    CANCELLED = "CANCELLED"
    EXPIRED = "EXPIRED"
    FAILED = "FAILED"
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True)
class PaymentNews:
    """`told` is the provider's own word, `code` its reason. `amount`, `asset` and `payee_account` (in its one form, `payees.py`) as it has
    them, and `our_payment`, our own name for it, None where it does not say."""

    state: ProviderPayment
    told: str
    reference: str | None = None
    code: str | None = None
    amount: Decimal | None = None
    asset: str | None = None
    payee_account: str | None = field(default=None, repr=False)
    our_payment: UUID | None = None


@dataclass(frozen=True)
class RecordPaymentNews:
    """`other_payee`: it was seen that the provider pays somebody else than was asked for. `pays`: the payment's own."""

    payment_id: UUID
    news: PaymentNews
    journal_id: UUID
    other_payee: bool = False
    pays: UUID | None = None


def record_news(
    book: Book, hold: Hold | None, payment: Payment | None, wish: RecordPaymentNews, now: datetime
) -> Decision:
    """Total: every (state, news) has an answer."""
    if payment is None:
        return missing()
    about, news = (payment.payment_id, payment.owner), wish.news
    kept = _evidence(payment, news)
    if news.state is ProviderPayment.UNKNOWN:
        return _not_as_asked(payment, news, kept, UNKNOWN_STATUS)
    if other_money(payment, news):
        return _not_as_asked(payment, news, kept, OTHER_AMOUNT)
    if wish.other_payee:
        return _not_as_asked(payment, news, kept, OTHER_PAYEE)
    if news.state is ProviderPayment.AWAITING:
        return []
    target = PaymentState(news.state)
    if target in VOID:
        if payment.state in VOID:
            return kept if target is not payment.state else []
        if payment.state in (S.EXECUTED, S.SETTLED):
            return [*kept, *([] if payment.found_void else _parked(payment, CONTRADICTION))]
        return ended(book, hold, _ending(payment, target, _code(news)), now)
    if payment.state in VOID:
        # It was over for us, and the money has moved all the same, or may yet: it lies there under a name that nobody knew, or an
        # operator's word was that it never will. Nobody may overlook that.
        moves = RANK[target] >= RANK[S.SUBMITTED if payment.found_void or payment.unnamed else S.EXECUTED]
        return [*kept, *(_parked(payment, CONTRADICTION) if moves and not payment.found_moved else [])]
    if payment.found_void and RANK[target] >= RANK[S.EXECUTED]:
        arrives = payment.initiated.credits is not None and payment.state is S.EXECUTED
        if not arrives:
            return [*kept, *_parked(payment, CONTRADICTION)]  # it came back, we believe
    if RANK[target] <= RANK[payment.state]:
        return kept if RANK[target] < RANK[payment.state] else []
    if RANK[target] >= RANK[S.EXECUTED] and not accounts_here.may_be_paid(book, payment.initiated.pays):
        return ended(book, hold, PaymentRejected(*about, accounts_here.NOT_THERE), now)
    return _moved_on(book, hold, payment, target, wish, now, about)


def _moved_on(
    book: Book,
    hold: Hold | None,
    payment: Payment,
    target: PaymentState,
    wish: RecordPaymentNews,
    now: datetime,
    about: tuple[UUID, UUID],
) -> Decision:
    """Steps that a provider left out are taken on the way."""
    events: list[PaymentEvent | LedgerEvent] = []
    rank = RANK[payment.state]
    if rank < RANK[S.AUTHORISED]:
        events.append(PaymentAuthorised(*about, f"BANK {payment.initiated.provider}"))
    if rank < RANK[S.SUBMITTED] <= RANK[target]:
        reference = wish.news.reference or payment.provider_reference or ""
        events.append(PaymentSubmitted(*about, reference))
    if rank < RANK[S.EXECUTED] <= RANK[target]:
        # Money first: whoever has seen where the payment is has seen the balance that belongs to it.
        if hold is not None and not hold.resolved:
            posted = journals.post_hold(book, hold, wish.journal_id, None, now)
            assert not isinstance(posted, Refusal), "an open hold can be posted whole"
            events += posted
            events += accounts_here.credit(book, posted, payment.initiated, uuid5(wish.journal_id, "credit"))
        events.append(PaymentExecuted(*about))
    if target is S.SETTLED:
        events.append(PaymentSettled(*about))
    return events


def _ending(payment: Payment, target: PaymentState, code: str) -> PaymentEvent:
    about = (payment.payment_id, payment.owner)
    match target:
        case S.REJECTED:
            return PaymentRejected(*about, _word(code))
        case S.CANCELLED:
            return PaymentCancelled(*about)
        case S.EXPIRED:
            return PaymentExpired(*about)
        case S.FAILED:
            return PaymentFailed(*about, _word(code), retryable=False)
        case S.AWAITING_SCA | S.AUTHORISED | S.SUBMITTED | S.EXECUTED | S.SETTLED:
            raise AssertionError("these end nothing")
        case _:
            assert_never(target)


def other_money(payment: Payment, news: PaymentNews) -> bool:
    """Not what was asked for, or not what operators found to have moved."""
    mine = payment.initiated
    amount = payment.moved if payment.found_moved else mine.amount
    return (news.amount is not None and news.amount != amount) or (news.asset is not None and news.asset != mine.asset)


def _evidence(payment: Payment, news: PaymentNews) -> list[PaymentEvent]:
    """Once each: a provider may repeat itself for ever."""
    said = f"{news.state} {_word(news.told)}"
    if news.amount is not None and other_money(payment, news):
        said += f" {text_of(news.amount)} {_word(news.asset or '')}"
    if news.reference and not payment.provider_reference:
        said += f" as {_word(news.reference)}"  # whoever is to ask again needs it
    return [] if said in payment.evidence else [PaymentEvidenceKept(payment.payment_id, payment.owner, said)]


def _not_as_asked(payment: Payment, news: PaymentNews, kept: Sequence[PaymentEvent], why: str) -> list[PaymentEvent]:
    """An operator is to look. What was sent and has a name there is at the bank, whatever it is: by that name it is asked for from now on,
    and it is not sent again."""
    named = payment.unknown and news.reference is not None and news.reference != payment.provider_reference
    if not named or news.reference is None:
        return [*kept, *_parked(payment, why)]
    at_bank = PaymentSubmitted(payment.payment_id, payment.owner, news.reference)
    return [at_bank, *kept, *_parked(evolve(payment, at_bank), why)]


def _parked(payment: Payment, why: str) -> list[PaymentEvent]:
    """What is worse than a word that nobody knows is not forgotten for one."""
    known = payment.parked == why or (why == UNKNOWN_STATUS and payment.parked is not None)
    return [] if known else [PaymentParked(payment.payment_id, payment.owner, why)]


def _code(news: PaymentNews) -> str:
    """Its reason as far as that is one word. A sentence may name anybody."""
    return news.code if news.code and _word(news.code) == news.code[:_TOLD_MAX] else news.told


def _word(told: str) -> str:
    """A provider's word as far as it is one: it goes into events, which hold nothing personal."""
    return "".join(letter for letter in told if letter.isascii() and (letter.isalnum() or letter in "_-."))[:_TOLD_MAX]
