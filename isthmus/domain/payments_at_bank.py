"""Payments from a person's own account at their bank: the bank asks its customer, and what it says is what counts.

Its authentication and ours are never confused: what a person brings back from the bank passes nothing here, and a code of ours nothing
there. Our challenge passes because the provider itself says that the payment was authorised, and what it then says of amount and payee
must be what the challenge is bound to. The money is not ours at any moment; it is booked in memo accounts, so that one book has it all.
Unless it is brought here (`top_ups.py`): then it is ours, and the person's, once it has arrived.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID, uuid5

from isthmus.domain import journals, payment_initiation, sca, top_ups
from isthmus.domain.accounts import AccountType, Direction, open_house_account
from isthmus.domain.compliance import Ruling
from isthmus.domain.identifiers import house_account_id
from isthmus.domain.ledger import Book, JournalDraft, JournalKind, LedgerEvent, Leg, apply
from isthmus.domain.pay_ins import pay_in_journal_id
from isthmus.domain.payment_asks import PaymentAsked, PaymentAskStarted
from isthmus.domain.payment_events import (
    REVIEW,
    Payment,
    PaymentAuthorised,
    PaymentCancelled,
    PaymentEvent,
    PaymentExecuted,
    PaymentExpired,
    PaymentFailed,
    PaymentParked,
    PaymentRejected,
    PaymentSettled,
    S,
    Source,
)
from isthmus.domain.payment_initiation import InitiatePayment
from isthmus.domain.payment_news import OTHER_AMOUNT, OTHER_PAYEE, PaymentNews, RecordPaymentNews, record_news
from isthmus.domain.payments import Decision, missing
from isthmus.domain.personal import PersonalText
from isthmus.domain.reconciliation_cases import CaseEvent
from isthmus.domain.refusals import Refusal

#: How long a person may take at their bank; and where an operator is to judge the payment first.
BANK_LIFE, REVIEW_LIFE = timedelta(minutes=15), timedelta(hours=24)


@dataclass(frozen=True)
class StartAsking:
    """`digest`: of what is about to be sent, made of what will be sent."""

    payment_id: UUID
    challenge_id: UUID
    digest: str


@dataclass(frozen=True)
class RecordAsked:
    """What the provider made of it. `state`, `url`, `device`: as PaymentAsked has them."""

    payment_id: UUID
    challenge_id: UUID
    person: UUID
    provider_reference: str
    state: PersonalText
    url: PersonalText | None
    device: PersonalText | None
    poll_after_s: int


@dataclass(frozen=True)
class RecordBankNews:
    """`provider`, `asset`, `credits`: the payment's own. `name`: what the provider calls it by."""

    payment_id: UUID
    challenge_id: UUID
    provider: str
    asset: str
    news: PaymentNews
    other_payee: bool
    name: str = ""
    credits: UUID | None = None

    @property
    def credit_id(self) -> UUID:
        """The journal that credits what is brought here; the statement of our account there leads to the same."""
        return pay_in_journal_id(self.provider, self.name)


def memo_codes(asset: str) -> tuple[str, str]:
    """(the payer's bank, the payee)."""
    return f"memo:user-bank:{asset}", f"memo:payee:{asset}"


def memo_ids(asset: str) -> frozenset[UUID]:
    return frozenset(house_account_id(code) for code in memo_codes(asset))


def initiate(book: Book, guard: sca.Guard, used: Decimal, wish: InitiatePayment, now: datetime) -> Decision:
    """The bank asks its customer and pays at once: what an operator is to judge is judged before."""
    fault = top_ups.account_fault(book, wish) if wish.credits is not None else None
    decided = fault or payment_initiation.initiate(book, guard, used, wish, now)
    if isinstance(decided, Refusal) or wish.verdict.ruling is not Ruling.REVIEW:
        return decided
    return [*decided, PaymentParked(wish.payment_id, wish.owner, REVIEW)]


def start_asking(
    payment: Payment | None, challenge: sca.Challenge | None, wish: StartAsking, now: datetime
) -> Decision:
    """The bank must show its customer just what the challenge here is bound to; otherwise nobody is asked, and an operator is told."""
    if payment is None or challenge is None:
        return missing()
    if payment.initiated.source is not Source.BANK or payment.state is not S.AWAITING_SCA or payment.asked:
        return []
    if payment.parked is not None or payment.to_review:
        return []
    if challenge.state_at(now) is not sca.ChallengeState.PENDING:
        return []
    about = (payment.payment_id, payment.owner)
    if not wish.digest == challenge.issued.digest == payment.initiated.digest:
        return [
            *sca.invalidate(challenge, sca.Invalidation.CHANGED),
            PaymentRejected(*about, "CHANGED_AFTER_SCA"),
            PaymentParked(*about, "CHANGED_AFTER_SCA"),
        ]
    return [PaymentAskStarted(*about, payment.asks + 1)]


def record_asked(payment: Payment | None, wish: RecordAsked) -> Decision:
    """Also of one that is over meanwhile: it is to be taken back there, and its name is needed for that. The first counts: whoever was
    shown an address is to come back from there."""
    if payment is None:
        return missing()
    if payment.asked:
        return []
    return [
        PaymentAsked(
            payment.payment_id,
            payment.owner,
            wish.challenge_id,
            wish.provider_reference,
            wish.state.ciphertext(),
            wish.url.ciphertext() if wish.url is not None else None,
            wish.device.ciphertext() if wish.device is not None else None,
            wish.poll_after_s,
        )
    ]


def record_bank_news(
    book: Book,
    payment: Payment | None,
    challenge: sca.Challenge | None,
    wish: RecordBankNews,
    now: datetime,
    credited: bool = False,
) -> Decision:
    """As any news of a payment; and what it says of our challenge, and of our book: the memo accounts, or the account that is topped up.
    `credited`: the log has that journal."""
    if payment is None or challenge is None:
        return missing()
    # The memo journal is the payment's own: no other one is ever made for it.
    told = RecordPaymentNews(wish.payment_id, wish.news, uuid5(payment.payment_id, "memo"), wish.other_payee)
    decided = record_news(book, None, payment, told, now)
    if isinstance(decided, Refusal):
        return decided
    events: list[PaymentEvent | sca.ScaEvent | sca.ScaGuardEvent | LedgerEvent | CaseEvent] = []
    for event in decided:
        match event:
            case PaymentAuthorised():
                events += passed(challenge)
            case PaymentExecuted() if payment.initiated.credits is None:
                events += memo(
                    book, uuid5(payment.payment_id, "memo"), payment.initiated.asset, payment.initiated.amount
                )
            case PaymentSettled() if payment.initiated.credits is not None:
                # Money first: whoever has seen that it arrived has seen the balance that belongs to it.
                events += top_ups.credit(book, credited, payment, wish.name, now)
            case PaymentRejected() | PaymentFailed() if challenge.state is sca.ChallengeState.PENDING:
                events.append(sca.ScaFailed(challenge.challenge_id, challenge.owner))
            case PaymentExpired() if challenge.state is sca.ChallengeState.PENDING:
                events.append(sca.ScaExpired(challenge.challenge_id, challenge.owner))
            case PaymentCancelled() if challenge.state is sca.ChallengeState.PENDING:
                events += sca.invalidate(challenge, sca.Invalidation.CANCELLED)
            case PaymentParked(why=why) if why in (OTHER_AMOUNT, OTHER_PAYEE):
                events += sca.invalidate(challenge, sca.Invalidation.CHANGED)
        events.append(event)
    return events


def passed(challenge: sca.Challenge) -> Sequence[sca.ScaEvent]:
    """By the provider's word alone, and whatever our clock says: the bank let its customer in."""
    if challenge.state is not sca.ChallengeState.PENDING:
        return []
    return [sca.ScaPassed(challenge.challenge_id, challenge.owner, challenge.issued.method)]


def memo(book: Book, journal_id: UUID, asset: str, amount: Decimal) -> Sequence[LedgerEvent]:
    """`amount`: what moved; below zero takes back what was noted."""
    after, opened = dict(book), list[LedgerEvent]()
    kinds = (AccountType.ASSET, AccountType.LIABILITY)
    ids = [house_account_id(code) for code in memo_codes(asset)]
    for account_id, code, kind in zip(ids, memo_codes(asset), kinds, strict=True):
        if account_id not in after:
            made = open_house_account(account_id, code, kind, asset, may_overdraw=True)
            opened += made
            apply(after, made)
    debit, credit = (Direction.DEBIT, Direction.CREDIT) if amount > 0 else (Direction.CREDIT, Direction.DEBIT)
    legs = (Leg(ids[0], debit, amount.copy_abs(), asset), Leg(ids[1], credit, amount.copy_abs(), asset))
    posted = journals.post(after, JournalDraft(journal_id, JournalKind.PAYMENT, legs))
    assert not isinstance(posted, Refusal), "nothing limits what is only noted"
    return [*opened, *posted]
