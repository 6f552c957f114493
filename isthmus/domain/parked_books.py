"""How our book is brought to what operators found that a bank moved for a payment.

Where the money is the platform's own, the payer bears what they answered for and was reserved, and never more by anybody's hand; what the
bank moved beside that stands in `differences:<provider>:<asset>`, above zero where the bank moved more than anybody bears, until it is
got back or written off. What the payer bears too much goes back to them. What is noted of other people's money says what moved. What was
brought here is the payer's, as much as arrived.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID, uuid5

from isthmus.domain import journals, pay_ins
from isthmus.domain import reconciliation_cases as cases
from isthmus.domain.accounts import AccountType, Direction, open_house_account
from isthmus.domain.deposits import bank_account_code
from isthmus.domain.identifiers import house_account_id
from isthmus.domain.ledger import (
    AccountState,
    Book,
    Hold,
    JournalDraft,
    JournalKind,
    LedgerEvent,
    Leg,
    VoidReason,
    apply,
)
from isthmus.domain.money import add, subtract
from isthmus.domain.pay_ins import ReceivePayIn, suspense_account_id, suspense_code
from isthmus.domain.payment_decisions import PaymentDecisionProposed
from isthmus.domain.payment_events import Payment, Source, clearing_code, hold_id_of
from isthmus.domain.payments_at_bank import memo
from isthmus.domain.personal import PersonalText
from isthmus.domain.reconciliation_cases import (
    Case,
    CaseEvent,
    ClosedBy,
    Difference,
    ReconciliationCaseClosed,
    ReconciliationCaseOpened,
)
from isthmus.domain.refusals import MoneyInSuspense, Refusal, RefusalCode

_ZERO = Decimal(0)


@dataclass(frozen=True)
class Booked:
    """`charged`: as `PaymentDecided.charged`."""

    events: Sequence[LedgerEvent | CaseEvent]
    charged: Decimal


def differences_code(provider: str, asset: str) -> str:
    """ASSET: what banks moved beside what anybody here bears."""
    return f"differences:{provider}:{asset}"


def differences_account_id(provider: str, asset: str) -> UUID:
    return house_account_id(differences_code(provider, asset))


def book_finding(
    book: Book,
    hold: Hold | None,
    payment: Payment,
    proposal: PaymentDecisionProposed,
    journal_id: UUID,
    name: str,
    now: datetime,
    credited: bool,
    suspended: Case | None = None,
) -> Booked | Refusal:
    """`name`: the provider's for the payment; `credited`: the log has the journal that follows from it; `suspended`: the case that it left,
    where its account did not take it."""
    moved, mine = proposal.amount, payment.initiated
    if mine.source is Source.OWN:
        return _own(book, hold, payment, moved, journal_id, now)
    if mine.credits is not None:
        if suspended is not None and suspended.closed_by is None and moved < payment.charged:
            return _out_of_suspense(book, payment, moved, journal_id, now, suspended)
        return _brought(book, payment, moved, journal_id, name, now, credited)
    change = subtract(moved, payment.moved)
    return Booked(memo(book, journal_id, mine.asset, change) if change else (), moved)


def _own(
    book: Book, hold: Hold | None, payment: Payment, moved: Decimal, journal_id: UUID, now: datetime
) -> Booked | Refusal:
    mine, after, events = payment.initiated, dict(book), list[LedgerEvent | CaseEvent]()
    assert hold is not None or mine.hold_id is None, "what was reserved is at hand, or it would stay so for ever"
    reserved = hold is not None and not hold.resolved
    charged = min(moved, mine.amount if reserved else payment.charged)
    back = _ZERO if reserved else subtract(payment.charged, charged)
    if hold is not None and reserved:
        decided = _resolved(book, hold, journal_id, charged, now)
        if isinstance(decided, Refusal):
            return decided
        apply(after, decided)
        events += decided
    was_borne = subtract(payment.moved, payment.charged)
    borne = subtract(subtract(moved, charged), was_borne)
    clearing = house_account_id(clearing_code(mine.provider, mine.asset))
    payer = mine.from_account_id
    signed = {
        payer: back.copy_negate(),
        differences_account_id(mine.provider, mine.asset): borne,
        clearing: subtract(back, borne),
    }
    more = _post(after, payment, signed, payer, uuid5(journal_id, "difference"), now)
    return more if isinstance(more, Refusal) else Booked([*events, *more], charged)


def _resolved(
    book: Book, hold: Hold, journal_id: UUID, charged: Decimal, now: datetime
) -> Sequence[LedgerEvent] | Refusal:
    """What is reserved is posted as far as it moved; the rest is released."""
    if not charged:
        return journals.void_hold(book, hold, VoidReason.REQUESTED, now)
    legs = tuple(Leg(leg.account_id, leg.direction, charged, leg.asset) for leg in hold.reserved.legs)
    return journals.post_hold(book, hold, journal_id, legs, now)


def _brought(
    book: Book, payment: Payment, moved: Decimal, journal_id: UUID, name: str, now: datetime, credited: bool
) -> Booked | Refusal:
    mine = payment.initiated
    assert mine.credits is not None
    if moved and not payment.charged and not credited:
        # As if it had settled so: under the journal that the bank's statement leads to.
        text = PersonalText("", mine.reference) if mine.reference is not None else None
        wish = ReceivePayIn(mine.provider, mine.asset, name, moved, now, mine.credits, mine.owner, reference=text)
        received = pay_ins.receive(book, False, wish)
        return received if isinstance(received, Refusal) else Booked(received, moved)
    change, due = subtract(moved, payment.moved), subtract(moved, payment.charged)
    state = book.get(mine.credits)
    if due < 0 and (
        state is None or state.account.frozen or state.account.closed or state.available < due.copy_negate()
    ):
        due = _ZERO  # it is not there to be taken: the house bears it, and it is seen that it does
    bank = house_account_id(bank_account_code(mine.provider, mine.asset))
    signed = {
        bank: change,
        mine.credits: due.copy_negate(),
        differences_account_id(mine.provider, mine.asset): subtract(due, change),
    }
    events = _post(dict(book), payment, signed, mine.credits, journal_id, now)
    return events if isinstance(events, Refusal) else Booked(events, add(payment.charged, due))


def _out_of_suspense(
    book: Book, payment: Payment, moved: Decimal, journal_id: UUID, now: datetime, suspended: Case
) -> Booked | Refusal:
    """The bank took back what is nobody's yet: with the money its case ends, or somebody would be given it all the same."""
    mine = payment.initiated
    if moved or suspended.opened.ours != payment.charged:
        return MoneyInSuspense("Its money is in suspense: close its case first.", ("input", "paymentId"))
    signed = {
        house_account_id(bank_account_code(mine.provider, mine.asset)): payment.moved.copy_negate(),
        suspense_account_id(mine.provider, mine.asset): payment.charged,
        differences_account_id(mine.provider, mine.asset): subtract(payment.moved, payment.charged),
    }
    events = _post(dict(book), payment, signed, mine.from_account_id, journal_id, now)
    if isinstance(events, Refusal):
        return events
    return Booked([*events, ReconciliationCaseClosed(suspended.opened.case_id, ClosedBy.OPERATOR)], _ZERO)


def _post(
    after: dict[UUID, AccountState],
    payment: Payment,
    signed: Mapping[UUID, Decimal],
    person: UUID,
    journal_id: UUID,
    now: datetime,
) -> Sequence[LedgerEvent | CaseEvent] | Refusal:
    """One journal: debits above zero, credits below. What the person's account does not take any more is in suspense, with a case."""
    mine = payment.initiated
    legs = {account: amount for account, amount in signed.items() if amount}
    if not legs:
        return []
    events: list[LedgerEvent | CaseEvent] = []
    state, gives, why = after.get(person), legs.get(person, _ZERO) < 0, None
    if gives and (state is None or state.account.closed):
        why = RefusalCode.ACCOUNT_CLOSED if state is not None else RefusalCode.ACCOUNT_NOT_FOUND
        legs[suspense_account_id(mine.provider, mine.asset)] = legs.pop(person)
    for code, kind, overdrawn in (
        (differences_code(mine.provider, mine.asset), AccountType.ASSET, True),
        (suspense_code(mine.provider, mine.asset), AccountType.LIABILITY, False),
        (bank_account_code(mine.provider, mine.asset), AccountType.ASSET, False),
    ):
        account_id = house_account_id(code)
        if account_id in legs and account_id not in after:
            made = open_house_account(account_id, code, kind, mine.asset, may_overdraw=overdrawn)
            apply(after, made)
            events += made
    draft = JournalDraft(
        journal_id,
        JournalKind.PAYMENT,
        tuple(
            Leg(account, Direction.DEBIT if amount > 0 else Direction.CREDIT, amount.copy_abs(), mine.asset)
            for account, amount in legs.items()
        ),
        linked=hold_id_of(payment.payment_id),
    )
    posted = journals.post(after, draft)
    if isinstance(posted, Refusal):
        return posted
    events += posted
    if why is not None:
        amount = legs[suspense_account_id(mine.provider, mine.asset)].copy_negate()
        case = (mine.provider, mine.asset, Difference.UNASSIGNED, journal_id, None)
        events.append(ReconciliationCaseOpened(cases.case_id_of(*case), *case, amount, None, now, why))
    return events
