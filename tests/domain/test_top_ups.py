"""Money that people bring here from their bank: whatever the provider says, in whatever order, credited if it has settled, and once."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.domain import payment_events, payments_at_bank, sca
from isthmus.domain.accounts import Account, AccountType
from isthmus.domain.compliance import Limits, Ruling, Verdict
from isthmus.domain.deposits import bank_account_code
from isthmus.domain.identifiers import house_account_id
from isthmus.domain.ledger import AccountState, JournalPosted, LedgerEvent, apply
from isthmus.domain.pay_ins import suspense_account_id
from isthmus.domain.payment_events import Payment, PaymentState, Source
from isthmus.domain.payment_initiation import InitiatePayment
from isthmus.domain.payment_news import PaymentNews, ProviderPayment
from isthmus.domain.payments_at_bank import RecordBankNews
from isthmus.domain.personal import PersonalText, Sealed
from isthmus.domain.reconciliation_cases import ReconciliationCaseOpened
from isthmus.domain.refusals import Refusal, RefusalCode

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
ADA, ACCOUNT, PAYMENT, CHALLENGE = uuid4(), uuid4(), uuid4(), uuid4()
BANK = house_account_id(bank_account_code("truelayer", "GBP"))
TEXT = PersonalText("", Sealed(f"sealed:v1:{ADA}:t"))
P = ProviderPayment
WISH = InitiatePayment(
    PAYMENT,
    CHALLENGE,
    ADA,
    Source.BANK,
    uuid4(),
    "truelayer",
    Decimal(30),
    "GBP",
    TEXT,
    TEXT,
    TEXT,
    "d" * 64,
    sca.Method.REDIRECT,
    NOW + timedelta(minutes=15),
    Verdict(Ruling.ALLOW, "sanctions-name-clear", "1"),
    Limits(Decimal(1), Decimal(1)),
    credits=ACCOUNT,
)


class World:
    """An account with nothing in it, and one top-up of 30.00."""

    def __init__(self) -> None:
        owned = Account(ACCOUNT, "user", AccountType.LIABILITY, "GBP", ADA, may_overdraw=False)
        self.book: dict[UUID, AccountState] = {ACCOUNT: AccountState(owned)}
        self.events: list[Any] = []

    def take(self, decided: Any) -> RefusalCode | None:
        if isinstance(decided, Refusal):
            return decided.code
        apply(self.book, [event for event in decided if isinstance(event, LedgerEvent)])
        self.events += decided
        return None

    def initiate(self, **other: Any) -> RefusalCode | None:
        guard = sca.fold_guard((), NOW)
        return self.take(payments_at_bank.initiate(self.book, guard, Decimal(0), replace(WISH, **other), NOW))

    def hearing(
        self, state: ProviderPayment, amount: str | None = "30", *, other_payee: bool = False
    ) -> RecordBankNews:
        news = PaymentNews(state, state, "t1", amount=None if amount is None else Decimal(amount), asset="GBP")
        return RecordBankNews(PAYMENT, CHALLENGE, "truelayer", "GBP", news, other_payee, "t1", ACCOUNT)

    def hear(
        self, state: ProviderPayment, amount: str | None = "30", *, other_payee: bool = False, credited: bool = False
    ) -> None:
        wish = self.hearing(state, amount, other_payee=other_payee)
        payment, challenge = payment_events.fold(self.events), sca.fold(self.events)
        assert self.take(payments_at_bank.record_bank_news(self.book, payment, challenge, wish, NOW, credited)) is None

    @property
    def payment(self) -> Payment:
        found = payment_events.fold(self.events)
        assert found is not None
        return found

    @property
    def credited(self) -> Decimal:
        return self.book[ACCOUNT].posted


NEWS = st.tuples(
    st.sampled_from(P), st.sampled_from(["30", "30", "30", "29.99", None]), st.sampled_from([False] * 4 + [True])
)


@settings(max_examples=200, deadline=None)
@given(st.lists(NEWS, max_size=12))
def test_it_is_credited_once_if_it_has_settled_and_else_nothing_is_booked(news: Any) -> None:
    world = World()
    assert world.initiate() is None, "limits are for what leaves a person"
    for state, amount, other in news:
        world.hear(state, amount, other_payee=other)

        settled = world.payment.state is PaymentState.SETTLED
        journals = [event for event in world.events if isinstance(event, JournalPosted)]
        assert len(journals) == settled
        assert world.credited == (30 if settled else 0)
        assert not settled or world.book[BANK].posted == 30
        assert not payments_at_bank.memo_ids("GBP") & world.book.keys(), "it is ours, and no note"


def test_what_fails_after_it_has_left_or_after_it_has_arrived_is_for_an_operator() -> None:
    left, arrived = World(), World()
    for world, last in ((left, P.EXECUTED), (arrived, P.SETTLED)):
        world.initiate()
        world.hear(last)
        world.hear(P.FAILED)
    assert (left.payment.state, left.payment.parked, left.credited) == (PaymentState.EXECUTED, "CONTRADICTION", 0)
    assert (arrived.payment.state, arrived.payment.parked, arrived.credited) == (
        PaymentState.SETTLED,
        "CONTRADICTION",
        30,
    )


def test_what_its_account_does_not_take_any_more_waits_for_an_operator() -> None:
    world = World()
    world.initiate()
    before = world.book[ACCOUNT]
    world.book[ACCOUNT] = replace(before, account=replace(before.account, closed=True))

    world.hear(P.SETTLED)

    (case,) = [event for event in world.events if isinstance(event, ReconciliationCaseOpened)]
    assert (case.why, case.ours) == (RefusalCode.ACCOUNT_CLOSED, 30)
    assert (world.credited, world.book[suspense_account_id("truelayer", "GBP")].posted) == (0, 30)


@pytest.mark.parametrize(("amount", "other_payee"), [("29.99", False), ("30", True)])
def test_what_is_not_what_was_answered_for_makes_the_challenge_void_and_it_stays_so(
    amount: str, other_payee: bool
) -> None:
    world = World()
    world.initiate()
    for state, told, other in ((P.AWAITING, amount, other_payee), (P.SETTLED, "30", False)):
        world.hear(state, told, other_payee=other)

        challenge = sca.fold(world.events)
        assert challenge is not None
        assert challenge.state is sca.ChallengeState.INVALIDATED
        assert world.payment.parked is not None


def test_what_our_statement_told_of_first_is_credited_by_that_alone() -> None:
    world = World()
    world.initiate()

    world.hear(P.SETTLED, credited=True)

    assert world.payment.state is PaymentState.SETTLED
    assert not any(isinstance(event, JournalPosted) for event in world.events)


def test_what_a_rule_wants_judged_is_where_operators_look_for_it_before_the_bank_is_asked() -> None:
    world = World()
    assert world.initiate(verdict=Verdict(Ruling.REVIEW, "sanctions-name-close", "1")) is None

    assert (world.payment.state, world.payment.parked) == (PaymentState.AWAITING_SCA, "REVIEW")


@pytest.mark.parametrize(
    ("other", "code"),
    [
        ({"owner": uuid4()}, RefusalCode.ACCOUNT_NOT_FOUND),
        ({"credits": uuid4()}, RefusalCode.ACCOUNT_NOT_FOUND),
        ({"asset": "EUR"}, RefusalCode.ASSET_MISMATCH),
    ],
)
def test_only_an_own_account_in_the_asset_is_topped_up(other: dict[str, Any], code: RefusalCode) -> None:
    world = World()
    assert (world.initiate(**other), world.events) == (code, [])
    before = world.book[ACCOUNT]
    world.book[ACCOUNT] = replace(before, account=replace(before.account, closed=True))
    assert (world.initiate(), world.events) == (RefusalCode.ACCOUNT_CLOSED, [])
