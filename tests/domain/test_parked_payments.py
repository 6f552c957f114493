"""Payments that are parked: whatever a bank says, and whatever operators find, in any order, the book says what the bank moved, nobody is
charged more than they answered for, and no payment is brought back."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.domain import (
    parked_payments,
    payment_events,
    payment_initiation,
    payment_news,
    payments_at_bank,
    reconciliation_cases,
    sca,
)
from isthmus.domain.accounts import Account, AccountType, FreezeReason
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
from isthmus.domain.pay_ins import pay_in_journal_id, suspense_account_id
from isthmus.domain.payment_decisions import Finding, PaymentLookedInto
from isthmus.domain.payment_events import RANK, VOID, Payment, PaymentState, Source, clearing_code
from isthmus.domain.payment_initiation import InitiatePayment
from isthmus.domain.payment_news import PaymentNews, ProviderPayment, RecordPaymentNews
from isthmus.domain.payments import StartSubmission, start_submission
from isthmus.domain.payments_at_bank import RecordBankNews
from isthmus.domain.personal import PersonalText, Sealed
from isthmus.domain.reconciliation_cases import ClosedBy, ReconciliationCaseClosed, ReconciliationCaseOpened
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


@pytest.mark.parametrize(
    ("amount", "charged", "beside"), [("30", 30, 0), ("29.50", Decimal("29.50"), 0), ("31", 30, 1)]
)
def test_what_the_bank_moved_is_booked_and_beyond_what_they_answered_for_nobody_is_charged(
    amount: str, charged: Any, beside: Any
) -> None:
    world = submitted()
    world.hear(P.EXECUTED, "35")
    world.hear(P.UNKNOWN, None)

    assert world.decide(EXECUTED, amount) is None

    assert (world.payment.state, world.payment.parked) == (S.EXECUTED, None)
    assert world.mine == (100 - charged, 0), "what was reserved beyond it is free"
    assert (world.lies(CLEARING), world.lies(DIFFERENCES)) == (-Decimal(amount), beside)


def test_what_was_not_done_and_never_will_be_is_free_again() -> None:
    world = submitted()
    world.hear(P.UNKNOWN, None)

    assert world.decide(NOT_EXECUTED, news=world.news(P.FAILED)) is None

    assert (world.payment.state, world.mine) == (S.FAILED, (100, 0))
    assert world.confirm() is CODE.PAYMENT_NOT_PARKED, "once"


def test_it_was_over_here_and_moved_all_the_same_it_stays_over_and_what_moved_is_seen() -> None:
    world = submitted()
    world.hear(P.REJECTED)
    world.hear(P.EXECUTED)
    assert (world.payment.state, world.payment.parked) == (S.REJECTED, "CONTRADICTION")

    assert world.decide(EXECUTED, "30", world.news(P.EXECUTED)) is None

    assert (world.payment.state, world.mine) == (S.REJECTED, (100, 0))
    assert (world.lies(CLEARING), world.lies(DIFFERENCES)) == (-30, 30)
    world.hear(P.EXECUTED)
    assert world.payment.parked is None, "the same again is no news"


def test_what_left_and_came_back_is_given_back_and_the_payment_stays_what_it_was() -> None:
    world = submitted()
    world.hear(P.EXECUTED)
    world.hear(P.FAILED)

    assert world.decide(NOT_EXECUTED, news=world.news(P.FAILED)) is None

    assert (world.payment.state, world.mine, world.lies(CLEARING)) == (S.EXECUTED, (100, 0), 0)
    assert world.payment.proposed is None
    world.hear(P.FAILED)
    assert world.payment.parked is None
    world.hear(P.EXECUTED)
    assert world.payment.parked == "CONTRADICTION", "it did not come back, then"


def test_what_was_found_wrongly_is_found_anew_and_only_the_difference_is_booked() -> None:
    world = submitted()
    world.hear(P.EXECUTED, "31")
    assert world.decide(EXECUTED, "31") is None
    world.hear(P.EXECUTED, "29")
    assert world.payment.parked == "OTHER_AMOUNT"

    assert world.decide(EXECUTED, "29", world.news(P.EXECUTED, "29")) is None

    assert (world.mine, world.lies(CLEARING), world.lies(DIFFERENCES)) == ((71, 0), -29, 0)


def test_what_was_not_to_arrive_any_more_and_does_is_credited() -> None:
    world = submitted(Rail.TOP_UP)
    world.hear(P.EXECUTED)
    world.hear(P.FAILED)
    assert world.decide(NOT_EXECUTED) is None
    assert (world.payment.state, world.lies(ACCOUNT)) == (S.EXECUTED, 100)

    world.hear(P.SETTLED)

    assert (world.payment.state, world.payment.moved, world.lies(ACCOUNT)) == (S.SETTLED, 30, 130)
    world.hear(P.FAILED)
    assert world.decide(NOT_EXECUTED) is None
    world.hear(P.SETTLED)
    assert world.payment.parked == "CONTRADICTION", "what arrived and was taken back arrives no second time unseen"


@pytest.mark.parametrize("why", [CODE.ACCOUNT_CLOSED, CODE.ACCOUNT_NOT_FOUND])
def test_what_its_payers_account_does_not_take_any_more_is_in_suspense_with_a_case(why: RefusalCode) -> None:
    world = submitted()
    world.hear(P.EXECUTED)
    world.hear(P.FAILED)
    world.alter(closed=True)
    if why is CODE.ACCOUNT_NOT_FOUND:
        del world.book[ACCOUNT]

    assert world.decide(NOT_EXECUTED) is None

    (case,) = [event for event in world.events if isinstance(event, ReconciliationCaseOpened)]
    assert (case.why, case.ours) == (why, 30)
    assert world.lies(SUSPENSE) == 30
    last = [event for event in world.events if isinstance(event, JournalPosted)][-1]
    assert last.linked == payment_events.hold_id_of(PAYMENT), "with what was reserved it is one movement at the bank"


def test_what_was_brought_here_is_credited_as_much_as_arrived() -> None:
    less, late = submitted(Rail.TOP_UP), submitted(Rail.TOP_UP)
    less.hear(P.SETTLED, "29")
    late.hear(P.CANCELLED)
    late.hear(P.SETTLED)
    assert (less.payment.parked, late.payment.parked) == ("OTHER_AMOUNT", "CONTRADICTION")

    assert less.propose(EXECUTED, "29", less.news(P.EXECUTED, "29")) is CODE.PAYMENT_CONTRADICTED, "it left, no more"
    assert less.decide(EXECUTED, "29", less.news(P.SETTLED, "29")) is None
    assert late.decide(EXECUTED, "30") is None

    assert (less.payment.state, less.lies(ACCOUNT), less.lies(BANK)) == (S.SETTLED, 129, 29)
    assert (late.payment.state, late.lies(ACCOUNT), late.lies(BANK)) == (S.CANCELLED, 130, 30)
    for world in (less, late):
        assert pay_in_journal_id("truelayer", "p1") in world.journals, "the bank's statement finds its way to it"


def test_what_was_credited_and_taken_back_by_the_bank_is_taken_as_far_as_it_is_there() -> None:
    there, just, spent, frozen, closed = worlds = [submitted(Rail.TOP_UP) for _ in range(5)]
    for world in worlds:
        world.hear(P.SETTLED)
        world.hear(P.FAILED)
    just.book[ACCOUNT] = replace(just.book[ACCOUNT], posted=Decimal(30))
    spent.book[ACCOUNT] = replace(spent.book[ACCOUNT], posted=Decimal(10))
    frozen.alter(freezes=frozenset({FreezeReason.OPERATOR}))
    closed.alter(closed=True)

    for world in worlds:
        assert world.decide(NOT_EXECUTED) is None

    assert (there.lies(ACCOUNT), there.lies(BANK), there.lies(DIFFERENCES)) == (100, 0, 0)
    assert (just.lies(ACCOUNT), just.lies(BANK), just.lies(DIFFERENCES)) == (0, 0, 0)
    for world, left in ((spent, 10), (frozen, 130), (closed, 130)):
        assert (world.lies(ACCOUNT), world.lies(BANK), world.lies(DIFFERENCES)) == (left, 0, 30)
        assert (world.payment.moved, world.payment.charged) == (0, 30), "they have it still"


def test_what_found_its_account_closed_and_was_taken_back_by_the_bank_is_nobodys_to_be_given() -> None:
    world, less = submitted(Rail.TOP_UP), submitted(Rail.TOP_UP)
    for one in (world, less):
        one.book[ACCOUNT] = replace(one.book[ACCOUNT], account=replace(one.book[ACCOUNT].account, closed=True))
        one.hear(P.SETTLED)
        one.hear(P.FAILED)
        assert one.lies(SUSPENSE) == 30

    assert world.decide(NOT_EXECUTED) is None
    assert less.decide(EXECUTED, "29", less.news(P.SETTLED, "29")) is CODE.MONEY_IN_SUSPENSE, "its case first"

    assert [world.lies(one) for one in (SUSPENSE, BANK, DIFFERENCES)] == [0, 0, 0]
    closed = [event for event in world.events if isinstance(event, ReconciliationCaseClosed)]
    assert [event.by for event in closed] == [ClosedBy.OPERATOR]


def test_of_other_peoples_money_what_is_noted_says_what_moved() -> None:
    world = submitted(Rail.LINKED)
    world.hear(P.EXECUTED, "29")
    assert world.decide(EXECUTED, "29", world.news(P.EXECUTED, "29")) is None
    assert (world.payment.state, world.lies(MEMO), world.lies(ACCOUNT)) == (S.EXECUTED, 29, 100)
    world.hear(P.SETTLED, "29")
    assert (world.payment.state, world.payment.parked) == (S.SETTLED, None), "that amount is what is known now"
    world.hear(P.SETTLED, "30")
    assert world.payment.parked == "OTHER_AMOUNT"
    assert world.decide(EXECUTED, "30") is None
    assert world.lies(MEMO) == 30


@pytest.mark.parametrize(
    ("finding", "amount", "said", "told"),
    [
        (EXECUTED, "30", P.REJECTED, "30"),
        (EXECUTED, "30", P.SUBMITTED, "30"),
        (EXECUTED, "30", P.AWAITING, None),
        (EXECUTED, "30", P.EXECUTED, "29"),
        (EXECUTED, "30", P.UNKNOWN, "29"),
        (NOT_EXECUTED, "0", P.EXECUTED, "30"),
        (NOT_EXECUTED, "0", P.SETTLED, None),
        (NOT_EXECUTED, "0", P.SUBMITTED, "30"),
        (NOT_EXECUTED, "0", P.AUTHORISED, None),
        (NOT_EXECUTED, "0", P.AWAITING, None),
    ],
)
def test_nothing_is_decided_against_what_the_provider_definitely_says_then_or_when_it_is_confirmed(
    finding: Finding, amount: str, said: ProviderPayment, told: str | None
) -> None:
    world = submitted()
    world.hear(P.UNKNOWN, None)
    news = world.news(said, told)

    assert world.propose(finding, amount, news) is CODE.PAYMENT_CONTRADICTED
    assert world.propose(finding, amount) is None
    assert world.confirm(news) is CODE.PAYMENT_CONTRADICTED
    assert (world.payment.state, world.mine) == (S.SUBMITTED, (100, 30))


def test_what_the_provider_does_not_know_is_for_operators_to_find_out_and_other_money_is_not() -> None:
    world = submitted()
    world.hear(P.UNKNOWN, None)

    assert world.propose(EXECUTED, "30", replace(world.news(P.EXECUTED), asset="EUR")) is CODE.PAYMENT_CONTRADICTED
    for finding, amount in ((EXECUTED, "30"), (NOT_EXECUTED, "0")):
        assert world.propose(finding, amount, world.news(P.UNKNOWN, None)) is None


@pytest.mark.parametrize(
    ("finding", "amount", "state", "moves"),
    [
        (EXECUTED, "30", sca.ChallengeState.PASSED, ["PaymentAuthorised", "PaymentSubmitted", "PaymentExecuted"]),
        (NOT_EXECUTED, "0", sca.ChallengeState.FAILED, ["PaymentFailed"]),
    ],
)
def test_what_was_found_says_what_became_of_a_banks_question_and_takes_every_step(
    finding: Finding, amount: str, state: sca.ChallengeState, moves: list[str]
) -> None:
    world, void = World(Rail.LINKED), World(Rail.LINKED)
    world.take([payment_events.PaymentParked(PAYMENT, ADA, "UNKNOWN_STATUS")])
    void.hear(P.AWAITING, "29")
    for one in (world, void):
        before = len(one.events)
        assert one.decide(finding, amount) is None
        later = [type(event).__name__ for event in one.events[before:]]
        assert [name for name in later if name.startswith("Payment")][1:-1] == moves

    assert world.challenge is not None
    assert void.challenge is not None
    assert (world.challenge.state, void.challenge.state) == (state, sca.ChallengeState.INVALIDATED)


def test_where_it_does_not_answer_what_it_said_last_counts() -> None:
    moved, over = submitted(), submitted()
    moved.hear(P.EXECUTED, "29")
    over.hear(P.EXECUTED)
    over.hear(P.FAILED)

    assert moved.propose(NOT_EXECUTED) is CODE.PAYMENT_CONTRADICTED
    assert over.propose(EXECUTED, "30") is CODE.PAYMENT_CONTRADICTED


def test_two_operators_decide_neither_of_them_its_payer_and_on_what_is_known() -> None:
    world = submitted()
    assert world.propose(NOT_EXECUTED) is CODE.PAYMENT_NOT_PARKED
    assert world.look(None) is CODE.PAYMENT_NOT_PARKED
    world.take([payment_events.PaymentParked(PAYMENT, ADA, "REVIEW")])
    assert world.propose(NOT_EXECUTED) is CODE.PAYMENT_NOT_PARKED, "that is judged, and not found out"
    world = submitted()
    world.hear(P.UNKNOWN, None)
    assert world.propose(NOT_EXECUTED, operator=ADA) is CODE.PAYMENT_NOT_PARKED, "nobody decides on their own"
    assert world.propose(EXECUTED, "30", in_asset="EUR") is CODE.ASSET_MISMATCH
    assert world.propose(EXECUTED, "30", provider_reference="p2") is CODE.INVALID_INPUT
    assert world.confirm() is CODE.PAYMENT_PROPOSAL_OVER, "nobody proposed anything"
    assert world.propose(NOT_EXECUTED) is None
    first = world.payment.proposed
    assert first is not None
    assert world.confirm(named="p2") is CODE.PAYMENT_PROPOSAL_OVER, "the books are those of another name"
    assert world.confirm(operator=OLGA) is CODE.SECOND_OPERATOR_NEEDED
    assert world.confirm(operator=ADA) is CODE.PAYMENT_NOT_PARKED
    assert world.propose(NOT_EXECUTED, operator=OTTO) is None
    assert world.confirm(operator=OLGA, proposal=first.proposal_id) is CODE.PAYMENT_PROPOSAL_OVER, "it was replaced"
    world.hear(P.UNKNOWN, "7")
    assert world.confirm(operator=OLGA) is CODE.PAYMENT_PROPOSAL_OVER, "something was heard since"
    assert world.payment.state is S.SUBMITTED


@pytest.mark.parametrize(
    "heard",
    [
        payment_events.PaymentEvidenceKept(PAYMENT, ADA, "x"),
        payment_events.PaymentParked(PAYMENT, ADA, "OTHER_AMOUNT"),
        PaymentLookedInto(PAYMENT, ADA, in_order=False),
        payment_events.PaymentExecuted(PAYMENT, ADA),
    ],
)
def test_whatever_is_heard_ends_a_proposal(heard: payment_events.PaymentEvent) -> None:
    world = submitted()
    world.hear(P.UNKNOWN, None)
    assert world.propose(NOT_EXECUTED) is None

    world.take([heard])

    assert world.payment.proposed is None


def test_of_a_decision_and_of_news_at_the_same_moment_the_first_counts_and_the_other_is_seen() -> None:
    news_first, decision_first = submitted(), submitted()
    for world in (news_first, decision_first):
        world.hear(P.UNKNOWN, None)
        assert world.propose(NOT_EXECUTED) is None

    news_first.hear(P.EXECUTED)
    assert news_first.confirm() is CODE.PAYMENT_NOT_PARKED
    assert (news_first.payment.state, news_first.mine) == (S.EXECUTED, (70, 0))

    assert decision_first.confirm() is None
    decision_first.hear(P.EXECUTED)
    assert (decision_first.payment.state, decision_first.mine) == (S.FAILED, (100, 0))
    assert decision_first.payment.parked == "CONTRADICTION"


def test_nothing_is_sent_while_it_is_decided_and_what_is_on_its_way_after_that_is_seen() -> None:
    world = World(Rail.OWN)

    def start() -> int:
        wish = StartSubmission(PAYMENT, CHALLENGE, "d" * 64)
        assert world.take(start_submission(world.book, world.hold, world.payment, world.challenge, wish, NOW)) is None
        return world.payment.attempts

    assert start() == 1
    world.take([payment_events.PaymentParked(PAYMENT, ADA, "UNKNOWN_STATUS")])
    assert start() == 2, "what is unknown is asked for again"
    assert world.propose(NOT_EXECUTED) is None
    assert start() == 2
    assert world.look(None) is None
    assert start() == 3, "whoever looks again does not believe it"

    assert world.propose(NOT_EXECUTED, provider_reference=None) is world.confirm() is None
    world.hear(P.SUBMITTED)
    assert (world.payment.state, world.payment.parked) == (S.FAILED, "CONTRADICTION")
    assert world.payment.last_told == "SUBMITTED SUBMITTED as p1", "by that it can be asked for"


def test_money_of_ours_is_not_said_to_have_moved_without_the_name_that_the_statement_has() -> None:
    own, brought, linked = World(Rail.OWN), World(Rail.TOP_UP), World(Rail.LINKED)
    for world in (own, brought, linked):
        world.take([payment_events.PaymentParked(PAYMENT, ADA, "UNKNOWN_STATUS")])
    assert own.propose(EXECUTED, "30", provider_reference=None) is CODE.INVALID_INPUT
    assert brought.propose(EXECUTED, "30", provider_reference=None) is CODE.INVALID_INPUT
    assert linked.propose(EXECUTED, "30", provider_reference=None) is None
    assert own.decide(EXECUTED, "30") is None
    assert own.payment.provider_reference == "p1"
    over = World(Rail.OWN)
    over.hear(P.REJECTED)
    over.hear(P.EXECUTED)
    assert over.payment.provider_reference is None
    assert over.decide(EXECUTED, "30") is None
    assert over.payment.provider_reference == "p1", "also of what is over"


@pytest.mark.parametrize(
    ("before", "said", "told", "parked"),
    [
        ([(P.UNKNOWN, None)], P.SUBMITTED, "30", None),
        ([(P.UNKNOWN, None)], P.UNKNOWN, None, "UNKNOWN_STATUS"),
        ([(P.EXECUTED, "29")], P.EXECUTED, "30", None),
        ([(P.EXECUTED, "29")], P.EXECUTED, "29", "OTHER_AMOUNT"),
        ([(P.EXECUTED, "29")], P.SUBMITTED, None, "OTHER_AMOUNT"),
        ([(P.EXECUTED, "30"), (P.FAILED, "30")], P.EXECUTED, "30", None),
        ([(P.EXECUTED, "30"), (P.FAILED, "30")], P.FAILED, "30", "CONTRADICTION"),
        ([(P.FAILED, "30"), (P.EXECUTED, "30")], P.FAILED, "30", None),
        ([(P.FAILED, "30"), (P.EXECUTED, "30")], P.EXECUTED, "30", "CONTRADICTION"),
    ],
)
def test_whoever_looks_again_finds_it_in_order_or_it_stays_parked(
    before: list[tuple[ProviderPayment, str | None]], said: ProviderPayment, told: str | None, parked: str | None
) -> None:
    world = submitted()
    for state, amount in before:
        world.hear(state, amount)
    assert world.payment.parked is not None

    assert world.look(world.news(said, told)) is None

    assert world.payment.parked == parked


def test_what_was_found_is_in_order_once_the_provider_says_so_too() -> None:
    moved, void = submitted(), submitted()
    moved.hear(P.REJECTED)
    moved.hear(P.EXECUTED)
    void.hear(P.EXECUTED)
    void.hear(P.FAILED)
    assert moved.decide(EXECUTED, "30") is void.decide(NOT_EXECUTED) is None

    for world, still, said in ((moved, P.FAILED, P.EXECUTED), (void, P.SUBMITTED, P.FAILED)):
        world.hear(P.UNKNOWN, None)
        assert world.look(world.news(still)) is None
        assert world.payment.parked == "UNKNOWN_STATUS"
        assert world.look(world.news(said)) is None
        assert world.payment.parked is None


def test_what_is_still_to_be_answered_for_or_sent_is_not_in_order_by_the_right_amount_since_its_challenge_is_void() -> (
    None
):
    asked, ours = World(Rail.LINKED), World(Rail.OWN)
    asked.hear(P.AWAITING, "29")
    ours.hear(P.SUBMITTED, "29")

    for world, said in ((asked, P.AWAITING), (ours, P.AUTHORISED)):
        assert world.look(world.news(said)) is None
        assert world.payment.parked == "OTHER_AMOUNT"


def test_what_was_changed_here_and_another_payee_are_in_order_by_nothing_that_is_said_of_the_state() -> None:
    world = World(Rail.OWN)
    world.take([payment_events.PaymentParked(PAYMENT, ADA, "CHANGED_AFTER_SCA")])
    assert world.look(world.news(P.SUBMITTED)) is None
    assert (world.payment.state, world.payment.parked) == (S.SUBMITTED, "CHANGED_AFTER_SCA")

    unknown = submitted()
    unknown.hear(P.UNKNOWN, None)
    assert not parked_payments.in_order(unknown.payment, unknown.news(P.SUBMITTED), True)


def test_what_is_known_by_what_was_told_needs_nobody_to_look_any_more() -> None:
    world = World(Rail.OWN)
    world.take([payment_events.PaymentParked(PAYMENT, ADA, "UNKNOWN_STATUS")])

    assert world.look(world.news(P.SUBMITTED)) is None

    assert (world.payment.state, world.payment.parked) == (S.SUBMITTED, None)


def test_another_payee_is_in_order_once_the_provider_names_the_right_one() -> None:
    world = submitted(Rail.LINKED)
    world.hear(P.EXECUTED, other_payee=True)
    assert world.look(world.news(P.SUBMITTED)) is None
    assert world.payment.parked == "OTHER_PAYEE", "it says nothing of the payee"
    assert world.look(world.news(P.EXECUTED), other_payee=False) is None
    assert (world.payment.state, world.payment.parked) == (S.EXECUTED, None)


STEPS = st.one_of(
    st.tuples(st.just("hear"), st.sampled_from(P), st.sampled_from(["30", "30", "29", "31", None])),
    st.tuples(st.just("decide"), st.sampled_from(Finding), st.sampled_from(["30", "29", "31"])),
    st.tuples(st.just("look"), st.sampled_from(P), st.sampled_from(["30", "29", None])),
)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(Rail), st.lists(STEPS, max_size=12))
def test_after_any_decisions_and_any_news_the_book_says_what_moved_and_nothing_is_overlooked(
    rail: Rail, steps: list[Any]
) -> None:
    world = World(rail)
    for what, which, amount in steps:
        before = world.payment
        if what == "hear":
            world.hear(which, amount)
        elif what == "look":
            world.look(world.news(which, amount))
        else:
            world.decide(which, amount if which is EXECUTED else "0")

        payment = world.payment
        assert before.state not in VOID or payment.state is before.state, "over is over"
        assert payment.state in VOID or RANK[payment.state] >= RANK[before.state]
        assert not (before.state in (S.EXECUTED, S.SETTLED) and payment.state in VOID)
        moved, charged, differs = payment.moved, payment.charged, world.lies(DIFFERENCES)
        if rail is Rail.OWN:
            waits = payment.state in (S.AWAITING_SCA, S.AUTHORISED, S.SUBMITTED)
            assert world.mine == (100 - charged, 30 if waits else 0)
            assert (world.lies(CLEARING), differs, charged <= 30) == (-moved, moved - charged, True)
        elif rail is Rail.LINKED:
            assert (world.lies(MEMO), world.lies(ACCOUNT), differs) == (moved, 100, 0)
        else:
            assert (world.lies(BANK), world.lies(ACCOUNT), differs) == (moved, 100 + charged, charged - moved)
        if what == "hear" and which in ((P.SETTLED,) if rail is Rail.TOP_UP else (P.EXECUTED, P.SETTLED)):
            told = moved if amount is None else Decimal(amount)
            assert payment.parked is not None or (moved == told and moved > 0), "it moved, and is not booked so"
