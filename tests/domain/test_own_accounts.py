"""Payments between two accounts here of one person: which are theirs is read of the accounts, and what is moved stays in our book."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import pytest

from isthmus.domain import own_accounts, payment_events
from isthmus.domain.accounts import Account, AccountType, FreezeReason
from isthmus.domain.banking import ProviderRefused
from isthmus.domain.compliance import Limits
from isthmus.domain.exemptions import ExemptionRules, Standing
from isthmus.domain.ledger import AccountState, JournalKind, JournalPosted, JournalReserved
from isthmus.domain.payees import PayeeAccount
from isthmus.domain.payment_events import PaymentExempted, PaymentState
from isthmus.domain.payment_news import ProviderPayment
from isthmus.domain.refusals import RefusalCode
from tests.domain.payment_world import ACCOUNT, ADA, World

RULES = ExemptionRules("v1", own_account=True)
SAVINGS = uuid4()


def world(**savings: Any) -> World:
    made = World()
    account = Account(SAVINGS, "user", AccountType.LIABILITY, "GBP", ADA, may_overdraw=False)
    made.book[SAVINGS] = AccountState(replace(account, **savings))
    return made


def pay(made: World, to: UUID = SAVINGS, amount: str = "30", **other: Any) -> RefusalCode | None:
    return made.initiate(amount, provider=own_accounts.HERE, credits=to, **({"exemptions": RULES} | other))


def rules(made: World) -> list[str]:
    return [event.rule for event in made.events if isinstance(event, PaymentExempted)]


def test_to_an_own_account_nobody_is_asked_and_the_rule_is_recorded() -> None:
    made = world()

    assert pay(made) is None

    assert (made.state, rules(made)) == (PaymentState.AUTHORISED, ["own-account"])
    assert [event.rules_version for event in made.events if isinstance(event, PaymentExempted)] == ["v1"]


@pytest.mark.parametrize("exemptions", [ExemptionRules("v1"), ExemptionRules("v1", trusted_beneficiary=True)])
def test_where_no_rule_says_so_its_owner_is_asked(exemptions: ExemptionRules) -> None:
    made = world()

    assert pay(made, exemptions=exemptions) is None

    assert (made.state, rules(made)) == (PaymentState.AWAITING_SCA, [])


@pytest.mark.parametrize(
    ("savings", "to", "refusal"),
    [
        ({"owner": uuid4()}, SAVINGS, RefusalCode.ACCOUNT_NOT_FOUND),
        ({"owner": None}, SAVINGS, RefusalCode.ACCOUNT_NOT_FOUND),
        ({}, uuid4(), RefusalCode.ACCOUNT_NOT_FOUND),
        ({}, ACCOUNT, RefusalCode.SAME_ACCOUNT),
        ({"closed": True}, SAVINGS, RefusalCode.ACCOUNT_CLOSED),
        ({"asset": "EUR"}, SAVINGS, RefusalCode.ASSET_MISMATCH),
    ],
)
def test_what_is_not_an_open_account_of_the_payers_is_not_paid_as_one(
    savings: dict[str, Any], to: UUID, refusal: RefusalCode
) -> None:
    made = world(**savings)

    assert pay(made, to) is refusal

    assert made.events == []
    assert made.refusal is not None
    assert made.refusal.path == own_accounts.PATH


class Wish(NamedTuple):
    owner: UUID = ADA
    from_account_id: UUID = ACCOUNT
    credits: UUID | None = SAVINGS
    asset: str = "GBP"


def test_whose_both_accounts_are_is_read_of_both() -> None:
    made, strangers, closed, frozen = world(), world(), world(closed=True), world()
    stranger = replace(strangers.book[ACCOUNT].account, owner=uuid4())
    strangers.book[ACCOUNT] = replace(strangers.book[ACCOUNT], account=stranger)
    held = replace(frozen.book[ACCOUNT].account, freezes=frozenset({FreezeReason.OPERATOR}))
    frozen.book[ACCOUNT] = replace(frozen.book[ACCOUNT], account=held)

    assert own_accounts.is_own(made.book, Wish())
    for other in (strangers, closed, frozen):
        assert not own_accounts.is_own(other.book, Wish())
    for wish in (Wish(credits=None), Wish(from_account_id=uuid4()), Wish(owner=uuid4())):
        assert not own_accounts.is_own(made.book, wish)


def test_into_an_account_that_is_frozen_one_may_pay_and_is_asked() -> None:
    made = world(freezes=frozenset({FreezeReason.OPERATOR}))

    assert pay(made) is None

    assert (made.state, rules(made)) == (PaymentState.AWAITING_SCA, [])


def test_nobody_makes_a_payment_to_somebody_else_an_own_one_by_wishing() -> None:
    made = world()

    assert made.initiate(exemptions=RULES, standing=Standing(own=True)) is None

    assert (made.state, rules(made)) == (PaymentState.AWAITING_SCA, [])


def test_limits_are_for_what_leaves_a_person() -> None:
    made = world()

    assert pay(made, limits=Limits(Decimal(1), Decimal(1))) is None


def test_the_money_goes_from_the_one_to_the_other_once() -> None:
    made = world()
    pay(made)
    assert (made.book[ACCOUNT].pending_out, made.book[SAVINGS].pending_in) == (30, 30)
    assert made.submit() is None

    for _ in range(2):
        assert made.hear(ProviderPayment.SETTLED) is None

    assert made.state is PaymentState.SETTLED
    assert (made.book[ACCOUNT].posted, made.book[SAVINGS].posted) == (70, 30)
    assert set(made.book) == {ACCOUNT, SAVINGS}, "nothing is on its way to any bank"
    assert {event.kind for event in made.events if isinstance(event, JournalReserved | JournalPosted)} == {
        JournalKind.INTERNAL_TRANSFER
    }


def test_taken_back_before_it_is_carried_out_both_are_as_before() -> None:
    made = world()
    pay(made)

    assert made.cancel() is None

    payment = payment_events.fold(made.events)
    assert payment is not None
    assert payment.state is PaymentState.CANCELLED
    assert (made.book[ACCOUNT].pending_out, made.book[SAVINGS].pending_in) == (0, 0)


async def test_nobody_is_told_that_something_moved_of_which_its_payment_does_not_know() -> None:
    with pytest.raises(ProviderRefused):
        await own_accounts.OurBook().look_up(str(uuid4()))


def test_its_one_form_is_read_again() -> None:
    account = PayeeAccount(own=SAVINGS)

    assert account.text() == f"ACCOUNT {SAVINGS}"
    assert PayeeAccount.of_text(account.text()) == account
