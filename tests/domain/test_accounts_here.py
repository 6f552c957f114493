"""Payments to somebody else's account here: asked for, counted, and posted in our own book."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest

from isthmus.domain import own_accounts
from isthmus.domain.accounts import Account, AccountType, FreezeReason
from isthmus.domain.exemptions import ExemptionRules
from isthmus.domain.identifiers import house_account_id
from isthmus.domain.ledger import AccountState, JournalPosted
from isthmus.domain.payment_events import PaymentInitiated, PaymentRejected, PaymentState, clearing_code
from isthmus.domain.payment_news import ProviderPayment
from isthmus.domain.personal import PersonalText, Sealed
from isthmus.domain.refusals import RefusalCode
from tests.domain.payment_world import ACCOUNT, ADA, World

THEIRS, GRACE = uuid4(), uuid4()
CLEARING = house_account_id(clearing_code(own_accounts.HERE, "GBP"))
RULES = ExemptionRules("v1", own_account=True, trusted_beneficiary=True)


def world(**theirs: Any) -> World:
    made = World()
    account = Account(THEIRS, "user", AccountType.LIABILITY, "GBP", GRACE, may_overdraw=False)
    made.book[THEIRS] = AccountState(replace(account, **theirs))
    return made


def pay(made: World, to: UUID = THEIRS, **other: Any) -> RefusalCode | None:
    return made.initiate("30", provider=own_accounts.HERE, pays=to, exemptions=RULES, **other)


@pytest.mark.parametrize("owner", [GRACE, ADA])
def test_its_payer_is_asked_and_then_it_is_moved_once(owner: UUID) -> None:
    """Also where it is an account of their own: whose it is plays no part."""
    made = world(owner=owner)
    untouched = made.book[THEIRS]

    assert pay(made) is None

    assert (made.book[ACCOUNT].available, made.book[THEIRS]) == (70, untouched), (
        "nothing is shown to them that may never come"
    )
    assert made.submit() is None
    assert made.attempts == 0, "nothing is sent before the answer"
    assert made.answer() is None
    assert made.submit() is None
    for _ in range(2):
        assert made.hear(ProviderPayment.SETTLED) is None
    assert made.state is PaymentState.SETTLED
    assert (made.book[ACCOUNT].posted, made.book[THEIRS].posted) == (70, 30)
    assert made.book[CLEARING].posted == 0, "nothing is on its way to any bank"


@pytest.mark.parametrize("said", [ProviderPayment.EXECUTED, ProviderPayment.SETTLED])
def test_where_their_account_was_closed_meanwhile_the_money_is_its_payers_again(said: ProviderPayment) -> None:
    made, gone = world(), world()
    for one in (made, gone):
        assert pay(one) is one.answer() is one.submit() is None
    made.book[THEIRS] = replace(made.book[THEIRS], account=replace(made.book[THEIRS].account, closed=True))
    del gone.book[THEIRS]
    assert gone.hear(said) is None
    assert (gone.state, gone.book[ACCOUNT].available) == (PaymentState.REJECTED, 100)

    assert made.hear(said) is None

    (why,) = [event.code for event in made.events if isinstance(event, PaymentRejected)]
    assert (made.state, why) == (PaymentState.REJECTED, "RECIPIENT_NOT_FOUND")
    assert (made.book[ACCOUNT].available, made.book[THEIRS].posted, made.book[CLEARING].posted) == (100, 0, 0)


@pytest.mark.parametrize("theirs", [{"owner": None}, {"closed": True}, {"asset": "EUR"}])
def test_what_is_no_open_account_of_somebodys_in_that_asset_is_not_there(theirs: dict[str, Any]) -> None:
    made = world(**theirs)

    assert pay(made) is RefusalCode.RECIPIENT_NOT_FOUND
    assert pay(made, uuid4()) is RefusalCode.RECIPIENT_NOT_FOUND

    assert made.events == []


def test_one_that_is_frozen_receives_and_ones_own_is_not_paid_from_itself() -> None:
    made = world(freezes=frozenset({FreezeReason.OPERATOR}))

    assert pay(made, ACCOUNT) is RefusalCode.SAME_ACCOUNT
    assert pay(made) is None


def test_it_counts_like_what_leaves_and_names_the_payee_nowhere_unsealed() -> None:
    made = world()
    made.used = made.book[ACCOUNT].posted * 1_000_000

    assert pay(made) is RefusalCode.LIMIT_EXCEEDED
    made.used *= 0
    assert pay(made, reference=PersonalText("", Sealed(f"sealed:v1:{ADA}:r"))) is None

    (begun,) = [event for event in made.events if isinstance(event, PaymentInitiated)]
    assert begun.credits is None, "what is credited there is the payer's own alone"
    assert made.answer() is made.submit() is made.hear(ProviderPayment.SETTLED) is None
    credited = [event for event in made.events if isinstance(event, JournalPosted)][-1]
    assert credited.reference == f"sealed:v1:{ADA}:r", "both sides read it"
