"""One payment that is parked, on each rail, with the book and the bank that it is held against."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID, uuid4

from isthmus.domain import (
    parked_payments,
    payment_events,
    payment_initiation,
    payment_news,
    payments_at_bank,
    reconciliation_cases,
    sca,
)
from isthmus.domain.accounts import Account, AccountType
from isthmus.domain.compliance import Limits, Ruling, Verdict
from isthmus.domain.deposits import bank_account_code
from isthmus.domain.identifiers import house_account_id
from isthmus.domain.ledger import (
    AccountState,
    Hold,
    HoldVoided,
    JournalPosted,
    JournalReserved,
    LedgerEvent,
    apply,
    evolve_hold,
)
from isthmus.domain.parked_books import differences_account_id
from isthmus.domain.parked_payments import ConfirmDecision, LookIntoPayment, ProposeDecision
from isthmus.domain.pay_ins import suspense_account_id
from isthmus.domain.payment_decisions import Finding
from isthmus.domain.payment_events import Payment, PaymentState, Source, clearing_code
from isthmus.domain.payment_initiation import InitiatePayment
from isthmus.domain.payment_news import PaymentNews, ProviderPayment, RecordPaymentNews
from isthmus.domain.payments_at_bank import RecordBankNews
from isthmus.domain.personal import PersonalText, Sealed
from isthmus.domain.refusals import Refusal, RefusalCode

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
ADA, ACCOUNT, PAYMENT, CHALLENGE, OLGA, OTTO = (uuid4() for _ in range(6))
TEXT = PersonalText("", Sealed(f"sealed:v1:{ADA}:t"))
P, S, CODE = ProviderPayment, PaymentState, RefusalCode
CLEARING = house_account_id(clearing_code("truelayer", "GBP"))
BANK = house_account_id(bank_account_code("truelayer", "GBP"))
DIFFERENCES = differences_account_id("truelayer", "GBP")
SUSPENSE = suspense_account_id("truelayer", "GBP")
MEMO = house_account_id("memo:user-bank:GBP")
EXECUTED, NOT_EXECUTED = Finding.EXECUTED, Finding.NOT_EXECUTED


class Rail(Enum):
    OWN = "OWN"
    LINKED = "LINKED"
    TOP_UP = "TOP_UP"


class World:
    """An account with 100.00, a payment of 30.00, authorised; news of it, and what operators do."""

    def __init__(self, rail: Rail) -> None:
        self.rail = rail
        owned = Account(ACCOUNT, "user", AccountType.LIABILITY, "GBP", ADA, may_overdraw=False)
        self.book: dict[UUID, AccountState] = {ACCOUNT: AccountState(owned, posted=Decimal(100))}
        self.hold: Hold | None = None
        self.events: list[Any] = []
        self.journals: set[UUID] = set()
        own = rail is Rail.OWN
        wish = InitiatePayment(
            PAYMENT,
            CHALLENGE,
            ADA,
            Source.OWN if own else Source.BANK,
            ACCOUNT,
            "truelayer",
            Decimal(30),
            "GBP",
            TEXT,
            TEXT,
            TEXT,
            "d" * 64,
            sca.Method.ONE_TIME_CODE if own else sca.Method.REDIRECT,
            NOW + timedelta(minutes=15),
            Verdict(Ruling.ALLOW, "sanctions-name-clear", "1"),
            Limits(Decimal(1_000), Decimal(1_000)),
            credits=ACCOUNT if rail is Rail.TOP_UP else None,
        )
        made = payment_initiation.initiate if own else payments_at_bank.initiate
        assert self.take(made(self.book, sca.fold_guard((), NOW), Decimal(0), wish, NOW)) is None
        if own:
            self.events.append(sca.ScaPassed(CHALLENGE, ADA, "code"))
            self.events.append(payment_events.PaymentAuthorised(PAYMENT, ADA, "code"))

    def take(self, decided: Any) -> RefusalCode | None:
        if isinstance(decided, Refusal):
            return decided.code
        for event in decided:
            if isinstance(event, LedgerEvent):
                apply(self.book, [event])
            if isinstance(event, JournalReserved | JournalPosted | HoldVoided):
                self.hold = evolve_hold(self.hold, event)
            if isinstance(event, JournalPosted):
                assert event.journal_id not in self.journals, "a journal is posted once"
                self.journals.add(event.journal_id)
        self.events += decided
        return None

    @property
    def payment(self) -> Payment:
        found = payment_events.fold(self.events)
        assert found is not None
        return found

    @property
    def challenge(self) -> sca.Challenge | None:
        return sca.fold(self.events)

    def news(self, state: ProviderPayment, amount: str | None = "30") -> PaymentNews:
        return PaymentNews(state, state, "p1", amount=None if amount is None else Decimal(amount), asset="GBP")

    def hear(self, state: ProviderPayment, amount: str | None = "30", *, other_payee: bool = False) -> None:
        news = self.news(state, amount)
        if self.rail is Rail.OWN:
            told = RecordPaymentNews(PAYMENT, news, uuid4())
            assert self.take(payment_news.record_news(self.book, self.hold, self.payment, told, NOW)) is None
            return
        credits = ACCOUNT if self.rail is Rail.TOP_UP else None
        wish = RecordBankNews(PAYMENT, CHALLENGE, "truelayer", "GBP", news, other_payee, "p1", credits)
        credited = wish.credit_id in self.journals
        done = payments_at_bank.record_bank_news(self.book, self.payment, self.challenge, wish, NOW, credited)
        assert self.take(done) is None

    def look(self, news: PaymentNews | None, *, other_payee: bool | None = None) -> RefusalCode | None:
        """As the desk does: what is told is recorded first."""
        parked = self.payment.parked is not None
        if news is not None:
            self.hear(news.state, None if news.amount is None else str(news.amount), other_payee=bool(other_payee))
        return self.take(
            parked_payments.look_into(self.payment, LookIntoPayment(PAYMENT, OTTO, parked, news, other_payee))
        )

    def propose(
        self, finding: Finding, amount: str = "0", news: PaymentNews | None = None, operator: UUID = OLGA, **more: Any
    ) -> RefusalCode | None:
        told: dict[str, Any] = {"in_asset": "GBP", "provider_reference": "p1"} | more
        wish = ProposeDecision(PAYMENT, uuid4(), operator, finding, Decimal(amount), reason=TEXT, news=news, **told)
        return self.take(parked_payments.propose(self.payment, wish))

    def confirming(
        self,
        news: PaymentNews | None = None,
        operator: UUID = OTTO,
        proposal: UUID | None = None,
        named: str | None = None,
    ) -> ConfirmDecision:
        payment = self.payment
        known = proposal or (payment.proposed.proposal_id if payment.proposed is not None else uuid4())
        mine = payment.initiated
        name = payment.provider_reference or (payment.proposed.provider_reference if payment.proposed else None) or ""
        name = name if named is None else named
        return ConfirmDecision(
            PAYMENT,
            CHALLENGE,
            known,
            operator,
            news,
            uuid4(),
            mine.source,
            ACCOUNT,
            "truelayer",
            "GBP",
            mine.credits,
            name,
        )

    def confirm(
        self,
        news: PaymentNews | None = None,
        operator: UUID = OTTO,
        proposal: UUID | None = None,
        *,
        named: str | None = None,
        credited: bool | None = None,
    ) -> RefusalCode | None:
        wish = self.confirming(news, operator, proposal, named)
        if credited is None:
            credited = wish.credit_id in self.journals
        case = reconciliation_cases.fold(
            one for one in self.events if getattr(one, "case_id", None) == wish.suspense_case_id
        )
        return self.take(
            parked_payments.confirm(self.book, self.hold, self.payment, self.challenge, wish, NOW, credited, case)
        )

    def alter(self, **account: Any) -> None:
        state = self.book[ACCOUNT]
        self.book[ACCOUNT] = replace(state, account=replace(state.account, **account))

    def decide(self, finding: Finding, amount: str = "0", news: PaymentNews | None = None) -> RefusalCode | None:
        return self.propose(finding, amount, news) or self.confirm(news)

    def lies(self, account: UUID) -> Decimal:
        return self.book[account].posted if account in self.book else Decimal(0)

    @property
    def mine(self) -> Any:
        """(posted, reserved)."""
        return self.book[ACCOUNT].posted, self.book[ACCOUNT].pending_out


def submitted(rail: Rail = Rail.OWN) -> World:
    world = World(rail)
    world.hear(P.SUBMITTED)
    assert world.payment.state is S.SUBMITTED
    return world
