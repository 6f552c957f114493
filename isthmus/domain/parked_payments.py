"""What operators do with a payment that is parked: they have the provider asked again, or find out what the bank did and say so.

A finding is a fact about the bank, and what comes of it follows from where the payment stands:

                    not executed yet          EXECUTED, SETTLED           over without money
EXECUTED, amount    goes on; that is booked   the difference is booked    stays over; that is booked
NOT_EXECUTED        FAILED, released          stays; taken off the book   stays

No finding brings a payment back, and none goes against what the provider definitely says. One operator proposes it and another confirms
it, since it moves money by hand; whatever is heard in between ends the proposal. How it is booked is told in `parked_books.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from isthmus.domain import sca
from isthmus.domain.ledger import Book, Hold
from isthmus.domain.parked_books import book_finding
from isthmus.domain.pay_ins import pay_in_journal_id
from isthmus.domain.payment_decisions import Finding, PaymentDecided, PaymentDecisionProposed, PaymentLookedInto
from isthmus.domain.payment_events import (
    RANK,
    REVIEW,
    UNKNOWN_STATUS,
    VOID,
    Payment,
    PaymentAuthorised,
    PaymentEvent,
    PaymentExecuted,
    PaymentFailed,
    PaymentSettled,
    PaymentSubmitted,
    S,
    Source,
)
from isthmus.domain.payment_news import CONTRADICTION, OTHER_AMOUNT, OTHER_PAYEE, PaymentNews, ProviderPayment
from isthmus.domain.payment_news import other_money as is_other_money
from isthmus.domain.payments import Decision
from isthmus.domain.payments_at_bank import passed
from isthmus.domain.personal import PersonalText
from isthmus.domain.reconciliation_cases import Case, Difference, case_id_of
from isthmus.domain.refusals import (
    AssetMismatch,
    InvalidInput,
    PaymentContradicted,
    PaymentNotParked,
    PaymentProposalOver,
    Refusal,
)
from isthmus.domain.second_operator import PROPOSAL, confirm_fault

#: Why a payment came to nothing that an operator found not to have been done.
NOT_EXECUTED = "NOT_EXECUTED"
_PAYMENT, _REFERENCE = ("input", "paymentId"), ("input", "providerReference")
_MOVED = (ProviderPayment.EXECUTED, ProviderPayment.SETTLED)
_OVER = tuple(ProviderPayment(state) for state in VOID)


@dataclass(frozen=True)
class ProposeDecision:
    """`amount`: what the bank moved, zero where nothing. `news`: what the provider says now; None where it does not answer, or cannot be
    asked."""

    payment_id: UUID
    proposal_id: UUID
    operator: UUID
    finding: Finding
    amount: Decimal
    in_asset: str | None
    provider_reference: str | None
    reason: PersonalText
    news: PaymentNews | None

    @property
    def person(self) -> UUID:
        """Whose key seals the text."""
        return self.operator


@dataclass(frozen=True)
class ConfirmDecision:
    """`source`, `from_account_id`, `provider`, `asset`, `credits`: the payment's own. `name`: what the provider calls it by, or ''."""

    payment_id: UUID
    challenge_id: UUID
    proposal_id: UUID
    operator: UUID
    news: PaymentNews | None
    journal_id: UUID
    source: Source
    from_account_id: UUID
    provider: str
    asset_code: str
    credits: UUID | None
    name: str

    @property
    def credit_id(self) -> UUID:
        """As `RecordBankNews.credit_id`."""
        return pay_in_journal_id(self.provider, self.name)

    @property
    def suspense_case_id(self) -> UUID:
        """The case that there is where what was brought here found its account closed."""
        return case_id_of(self.provider, self.asset_code, Difference.UNASSIGNED, self.credit_id, self.name)


@dataclass(frozen=True)
class LookIntoPayment:
    """The provider was asked, and what it said is recorded. `was_parked`: before that. `other_payee`: whether it pays somebody else, None
    where it does not say."""

    payment_id: UUID
    operator: UUID
    was_parked: bool
    news: PaymentNews | None
    other_payee: bool | None


def missing() -> Refusal:
    return PaymentNotParked("No payment of that id waits for you to look into it.", _PAYMENT)


def parked_fault(payment: Payment | None, operator: UUID) -> Refusal | None:
    if payment is None or payment.parked in (None, REVIEW) or payment.owner == operator:
        return missing()
    return None


def look_into(payment: Payment | None, wish: LookIntoPayment) -> Decision:
    """An operator's proposal ends by it: whoever looks again does not believe it."""
    if payment is not None and payment.parked is None and wish.was_parked:
        return []  # what was told is known, and it is parked no more
    fault = parked_fault(payment, wish.operator)
    if fault is not None or payment is None:
        return fault or missing()
    return [PaymentLookedInto(payment.payment_id, payment.owner, in_order(payment, wish.news, wish.other_payee))]


def in_order(payment: Payment, news: PaymentNews | None, other_payee: bool | None) -> bool:
    """Whether what the provider says answers what the payment is parked for. Total."""
    if news is None or news.state is ProviderPayment.UNKNOWN or is_other_money(payment, news) or other_payee:
        return False
    agrees = True
    if payment.found_moved or (payment.state in (S.EXECUTED, S.SETTLED) and not payment.found_void):
        agrees = news.state in _MOVED
    elif payment.state in VOID or payment.found_void:
        agrees = news.state in _OVER
    # What a person is still to answer for, or to be sent, goes by a challenge that was made void when another amount was seen.
    past = payment.state not in (S.AWAITING_SCA, S.AUTHORISED)
    if payment.parked in (UNKNOWN_STATUS, CONTRADICTION):
        return agrees
    if payment.parked == OTHER_AMOUNT:
        return agrees and past and news.amount is not None
    if payment.parked == OTHER_PAYEE:
        return agrees and past and other_payee is False
    return False  # what was changed here is explained by nothing that a provider says


def propose(payment: Payment | None, wish: ProposeDecision) -> Decision:
    fault = parked_fault(payment, wish.operator)
    if fault is not None or payment is None:
        return fault or missing()
    if wish.in_asset is not None and wish.in_asset != payment.initiated.asset:
        return AssetMismatch(f"The payment is in {payment.initiated.asset}.", ("input", "amount", "asset"))
    known, told = payment.provider_reference, wish.provider_reference
    if known and told and known != told:
        return InvalidInput("The provider calls the payment by another name.", _REFERENCE)
    linked = payment.initiated.source is Source.BANK and payment.initiated.credits is None
    if wish.finding is Finding.EXECUTED and not (known or told or linked):
        # Money of ours moved: the bank's statement must find its way to what is booked.
        return InvalidInput("Say what the provider calls the payment by: its statement has that name.", _REFERENCE)
    contradiction = contradicted(payment, wish.finding, wish.amount, wish.news)
    if contradiction is not None:
        return contradiction
    return [
        PaymentDecisionProposed(
            payment.payment_id,
            payment.owner,
            wish.proposal_id,
            wish.finding,
            wish.amount,
            None if known else told,
            wish.operator,
            wish.reason.ciphertext(),
        )
    ]


def contradicted(payment: Payment, finding: Finding, amount: Decimal, news: PaymentNews | None) -> Refusal | None:
    """What the provider says now counts; where it does not answer, what it said last. What waits to be sent tells nothing of what was sent
    and goes by a name of its own: that it was not done nobody finds by it, that it was one may."""
    waits = news is not None and news.state is ProviderPayment.AUTHORISED and payment.unnamed
    if news is None or (waits and finding is Finding.EXECUTED):
        last = (payment.last_told or "").partition(" ")[0]
        if finding is Finding.NOT_EXECUTED and last in _MOVED:
            return _contradicted(last)
        return _contradicted(last) if finding is Finding.EXECUTED and last in _OVER else None
    if finding is Finding.NOT_EXECUTED:
        over = news.state in (*_OVER, ProviderPayment.UNKNOWN)
        return None if over else _contradicted(news.state)
    # Of what comes to us the provider tells that it has arrived; that it left gives nobody anything.
    moved = (ProviderPayment.SETTLED,) if payment.initiated.credits is not None else _MOVED
    if news.state not in (*moved, ProviderPayment.UNKNOWN):
        return _contradicted(news.state)
    other = (news.amount is not None and news.amount != amount) or (
        news.asset is not None and news.asset != payment.initiated.asset
    )
    return PaymentContradicted("The provider moved another amount.", ("input", "amount")) if other else None


def confirm(
    book: Book,
    hold: Hold | None,
    payment: Payment | None,
    challenge: sca.Challenge | None,
    wish: ConfirmDecision,
    now: datetime,
    credited: bool,
    suspended: Case | None = None,
) -> Decision:
    """`credited`: the log has the journal that credits what was brought here; `suspended`: the case that it left, where its account did not
    take it."""
    fault = parked_fault(payment, wish.operator)
    if fault is not None or payment is None:
        return fault or missing()
    proposal = payment.proposed
    name = (payment.provider_reference or (proposal.provider_reference if proposal is not None else None)) or ""
    over = PaymentProposalOver("It was confirmed or replaced, or something was heard since.", PROPOSAL)
    fault = confirm_fault(proposal, wish.proposal_id, wish.operator, over)
    if fault is not None or proposal is None or name != wish.name:
        return fault or over
    contradiction = contradicted(payment, proposal.finding, proposal.amount, wish.news)
    if contradiction is not None:
        return contradiction
    booked = book_finding(book, hold, payment, proposal, wish.journal_id, name, now, credited, suspended)
    if isinstance(booked, Refusal):
        return booked
    decided = PaymentDecided(
        payment.payment_id,
        payment.owner,
        proposal.proposal_id,
        proposal.finding,
        proposal.amount,
        booked.charged,
        proposal.provider_reference,
        proposal.operator,
        wish.operator,
    )
    # Money first: whoever has seen where the payment is has seen the balance that belongs to it.
    return [*booked.events, *_sca(payment, challenge, proposal.finding), *_moves(payment, proposal, name), decided]


def _moves(payment: Payment, proposal: PaymentDecisionProposed, name: str) -> list[PaymentEvent]:
    """On, or to its end, or nowhere; never back."""
    about, arrives = (payment.payment_id, payment.owner), payment.initiated.credits is not None
    if payment.state in VOID:
        return []
    rank = RANK[payment.state]
    if proposal.finding is Finding.NOT_EXECUTED:
        return [] if rank >= RANK[S.EXECUTED] else [PaymentFailed(*about, NOT_EXECUTED, retryable=True)]
    events: list[PaymentEvent] = []
    if rank < RANK[S.AUTHORISED]:
        events.append(PaymentAuthorised(*about, f"BANK {payment.initiated.provider}"))
    if rank < RANK[S.SUBMITTED]:
        events.append(PaymentSubmitted(*about, name))
    if rank < RANK[S.EXECUTED]:
        events.append(PaymentExecuted(*about))
    if arrives and rank < RANK[S.SETTLED]:
        events.append(PaymentSettled(*about))
    return events


def _sca(payment: Payment, challenge: sca.Challenge | None, finding: Finding) -> list[sca.ScaEvent]:
    """What it says of a challenge that waits for a bank's customer, as news would."""
    if challenge is None or challenge.state is not sca.ChallengeState.PENDING or payment.state in VOID:
        return []
    if finding is Finding.EXECUTED:
        return list(passed(challenge))
    return [sca.ScaFailed(challenge.challenge_id, challenge.owner)]


def _contradicted(said: str) -> Refusal:
    return PaymentContradicted(f"The provider says {said} of the payment.", ("input", "finding"))
