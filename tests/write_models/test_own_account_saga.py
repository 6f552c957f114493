"""Payments from one account here to another, carried out by our own book: once, whoever dies and however many try."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID, uuid4

import pytest

from isthmus.domain import own_accounts
from isthmus.domain.accounts import FreezeAccount, FreezeReason
from isthmus.domain.exemptions import ExemptionRules, LowValue
from isthmus.domain.identifiers import uuid7_source
from isthmus.domain.payees import PayeeAccount
from isthmus.domain.payment_decisions import Finding, PaymentDecisionProposed
from isthmus.domain.payment_events import PaymentState
from isthmus.domain.personal import PersonalText
from isthmus.domain.refusals import AccountNotFound
from isthmus.failpoints import InjectedFault, armed
from isthmus.write_models import spending
from isthmus.write_models.envelope import Done, Refused
from isthmus.write_models.parked_desk import FindingWish, ParkedDesk
from isthmus.write_models.payment_desk import PaymentWish
from tests.write_models.driver import assert_sound
from tests.write_models.test_payment_saga import Office
from tests.write_models.test_payment_saga import office as office

RULES = ExemptionRules("v1", own_account=True)
#: Under these nobody is asked who pays somebody else, either.
LOW = ExemptionRules("v1", low_value={"EUR": LowValue(Decimal(30), Decimal(100), 5)})


Moving = Callable[["Office", UUID], Awaitable[UUID | Refused]]


async def move(office: Office, to: UUID, rules: ExemptionRules = RULES) -> UUID | Refused:
    office.desk._exemptions = rules
    office.saga._payouts = {own_accounts.HERE: own_accounts.OurBook()}
    own = PayeeAccount(own=to)
    wish = PaymentWish(office.account, Decimal("30.00"), "EUR", own_accounts.NAME, own, "", credits=to)
    made = await office.desk.initiate(office.person, wish, office.envelope("initiatePayment"))
    return made if isinstance(made, Refused) else made[0]


async def pay(office: Office, to: UUID) -> UUID | Refused:
    """Somebody else's account."""
    office.desk._exemptions = LOW
    office.saga._payouts = {own_accounts.HERE: own_accounts.OurBook()}
    wish = PaymentWish(office.account, Decimal("30.00"), "EUR", "Grace Hopper", PayeeAccount(own=to), "Rent")
    made = await office.desk.initiate(office.person, wish, office.envelope("initiatePayment"))
    return made if isinstance(made, Refused) else made[0]


async def posted(office: Office, account: UUID) -> tuple[Decimal, Decimal]:
    """(posted, what is still to come)."""
    row = await office.side.pool.fetchrow(
        "select posted, pending_in from account_balances where account_id = $1", account
    )
    return row["posted"], row["pending_in"]


@pytest.mark.parametrize("by", [move, pay])
async def test_whoever_dies_on_the_way_is_followed_by_two_who_do_it_once(office: Office, by: Moving) -> None:
    savings = await office.ledger.open(office.person if by is move else uuid4())
    for n, point in enumerate(("payment_saga.begun", "payment_saga.sent")):
        payment = await by(office, savings)
        assert isinstance(payment, UUID)
        assert await office.state(payment) is PaymentState.AUTHORISED
        assert await posted(office, savings) == (30 * n, 30 if by is move else 0), (
            "another person sees it once it is theirs"
        )

        with armed(f"{point}:raise"), pytest.raises(InjectedFault):
            await office.saga.advance(payment)
        await asyncio.gather(office.saga.advance(payment), office.saga.advance(payment))

        assert await office.state(payment) is PaymentState.SETTLED
        assert await posted(office, savings) == (30 * (n + 1), 0)
        assert await office.figures() == (70 - 30 * n, 0, 0)
        assert await office.saga.advance(payment) == "over"
    async with office.side.pool.acquire() as connection:
        spent = await spending.load(connection, [office.person], office.side.clock.now() - timedelta(hours=1))
    assert spent.by(office.person, "EUR") == (0 if by is move else 60), "limits are for what leaves a person"
    await assert_sound(office.side.pool)


async def test_another_persons_account_is_as_none_and_a_frozen_one_is_asked_for(office: Office) -> None:
    theirs, savings = await office.ledger.open(uuid4()), await office.ledger.open(office.person)
    await office.ledger.done(FreezeAccount(savings, FreezeReason.OPERATOR))

    for account in (theirs, uuid4()):
        refused = await move(office, account)
        assert isinstance(refused, Refused)
        assert refused.refusal == AccountNotFound("There is no such account.", own_accounts.PATH)
    payment = await move(office, savings)

    assert isinstance(payment, UUID)
    assert await office.state(payment) is PaymentState.AWAITING_SCA


@pytest.mark.parametrize("by", [move, pay])
async def test_d1_what_is_written_over_the_wish_moves_nothing(office: Office, by: Moving) -> None:
    """Somebody changes the payee in the database to another account here."""
    savings = await office.ledger.open(office.person if by is move else uuid4())
    other = await office.ledger.open(office.person)
    payment = await by(office, savings)
    assert isinstance(payment, UUID)
    async with office.side.pool.acquire() as connection, connection.transaction():
        (sealed,) = await office.side.texts.seal_many(connection, [(office.person, PayeeAccount(own=other).text())])
        await connection.execute("update payments set payee_account = $2 where id = $1", payment, str(sealed))

    await office.saga.advance(payment)

    assert (await office.state(payment), await office.parked(payment)) == (PaymentState.REJECTED, "CHANGED_AFTER_SCA")
    assert (await posted(office, savings), await posted(office, other)) == ((0, 0), (0, 0))


async def test_one_that_came_to_nothing_reserves_nothing_once_two_operators_found_so(office: Office) -> None:
    """It was begun, nothing of it is known, and what would be carried out was changed since: it is parked as it is."""
    side, savings = office.side, await office.ledger.open(office.person)
    payment = await move(office, savings)
    assert isinstance(payment, UUID)
    with armed("payment_saga.begun:raise"), pytest.raises(InjectedFault):
        await office.saga.advance(payment)
    await side.pool.execute("update payments set amount = 31 where id = $1", payment)
    await office.saga.advance(payment)
    assert (await office.state(payment), await office.parked(payment)) == (PaymentState.AUTHORISED, "CHANGED_AFTER_SCA")
    assert await posted(office, savings) == (0, 30)

    ours, banks = {own_accounts.HERE: own_accounts.OurBook()}, SimpleNamespace(providers={})
    desk = ParkedDesk(side.pool, side.commands, side.texts, ours, cast(Any, banks), uuid7_source(side.clock.now))
    wish = FindingWish(Finding.NOT_EXECUTED, Decimal(0), None, None, PersonalText("seen in the log"))
    proposed = await desk.propose(uuid4(), payment, wish, office.envelope("propose"))
    assert isinstance(proposed, Done)
    (told,) = proposed.events
    assert isinstance(told.event, PaymentDecisionProposed)
    assert isinstance(await desk.confirm(uuid4(), payment, told.event.proposal_id, office.envelope("confirm")), Done)

    assert (await office.state(payment), await office.parked(payment)) == (PaymentState.FAILED, None)
    assert (await posted(office, savings), await office.figures()) == ((0, 0), (100, 0, 0))
    await assert_sound(side.pool)


async def test_d1_what_a_bank_is_to_pay_our_own_book_never_carries_out(office: Office) -> None:
    """Somebody changes in the database who carries a payment out: nothing would leave, and its payee would be said to have it."""
    payment = await office.authorised()
    office.saga._payouts = {"bank": office.bank, own_accounts.HERE: own_accounts.OurBook()}
    await office.side.pool.execute("update payments set provider = $2 where id = $1", payment, own_accounts.HERE)

    await office.saga.advance(payment)

    assert (await office.state(payment), list(office.bank.paid)) == (PaymentState.SUBMITTED, [str(payment)])
    assert await office.figures() == (100, 30, 0)
