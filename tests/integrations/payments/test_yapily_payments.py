"""Yapily's payments through our adapter: authorised in every way there is, made once, whatever is lost on the way."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from decimal import Decimal

import pytest

from isthmus.domain.bank_payments import BankPayments, Decoupled, PayerAccount
from isthmus.domain.banking import OutcomeUnknown, ProviderRefused
from isthmus.domain.payment_news import ProviderPayment
from isthmus.integrations.payments import yapily_payments
from tests.integrations.banking.outside import outside
from tests.integrations.payments.wishes import STEP_S, answered, later, paid, wish
from tests.sandbox.running import REDIRECT, Sandbox, sandbox_running

BANK = "harbour-sandbox"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with sandbox_running(history_days=3) as running:
        running.tell("facts", name="yapily.step_s", value=STEP_S)
        yield running


@pytest.fixture
async def yapily(sandbox: Sandbox) -> AsyncIterator[BankPayments]:
    async with outside(sandbox, "yapily") as out:
        provider = yapily_payments.made(out)
        assert provider is not None
        yield provider


async def test_a_payment_is_authorised_at_the_bank_made_once_and_settled(
    sandbox: Sandbox, yapily: BankPayments
) -> None:
    with paid(sandbox, "12.34"):
        asked = wish(BANK)
        begun = await yapily.begin(asked)
        assert (await yapily.look_up(begun.reference)).state is ProviderPayment.AWAITING
        back = answered(sandbox, begun)
        assert back.startswith(f"{REDIRECT}?one-time-token=")
        assert f"application-user-id={begun.state}" in back
        assert (await yapily.look_up(begun.reference)).state is ProviderPayment.AUTHORISED

        sent = await yapily.submit(asked, begun.reference)
        assert sent.state is ProviderPayment.SUBMITTED
        assert sent.reference is not None
        assert await yapily.submit(asked, begun.reference) == sent, "asked again it is the same"
        later(sandbox, 1)
        assert (await yapily.look_up(sent.reference)).state is ProviderPayment.EXECUTED
        later(sandbox, 1)
        news = await yapily.look_up(sent.reference)

    assert news.state is ProviderPayment.SETTLED
    assert (news.told, news.reference) == ("COMPLETED.ACCC", sent.reference)
    assert news.our_payment == asked.order.payment_id
    assert (news.amount, news.asset, news.payee_account) == (Decimal("12.34"), "GBP", "SCAN 112233 12345678")


async def test_who_declines_or_is_taken_back_pays_nothing(sandbox: Sandbox, yapily: BankPayments) -> None:
    with paid(sandbox, "0"):
        declined = await yapily.begin(wish(BANK))
        answered(sandbox, declined, "decline")
        assert (await yapily.look_up(declined.reference)).state is ProviderPayment.REJECTED

        asked = wish(BANK)
        taken_back = await yapily.begin(asked)
        answered(sandbox, taken_back)
        assert (await yapily.cancel(taken_back.reference)).state is ProviderPayment.CANCELLED
        assert (await yapily.submit(asked, taken_back.reference)).state is ProviderPayment.CANCELLED


async def test_what_was_made_is_not_taken_back(sandbox: Sandbox, yapily: BankPayments) -> None:
    with paid(sandbox, "12.34"):
        asked = wish(BANK)
        begun = await yapily.begin(asked)
        answered(sandbox, begun)
        sent = await yapily.submit(asked, begun.reference)
        assert sent.reference is not None
        # Also by the name that it went by before, where the other was not heard of.
        assert (await yapily.cancel(begun.reference)).state is ProviderPayment.AUTHORISED
        assert (await yapily.cancel(sent.reference)).state is ProviderPayment.SUBMITTED
        later(sandbox, 2)


async def test_what_nobody_heard_of_is_unknown_and_asked_again_it_is_the_same(
    sandbox: Sandbox, yapily: BankPayments
) -> None:
    asked = wish(BANK)
    begun = await yapily.begin(asked)
    answered(sandbox, begun)
    sandbox.tell("misbehaviour", route="POST /yapily/payments", kind="error_after", times=3, status=502)
    with paid(sandbox, "12.34"):
        with pytest.raises(OutcomeUnknown):
            await yapily.submit(asked, begun.reference)
        assert (await yapily.look_up(begun.reference)).told == "CONSUMED"
        sent = await yapily.submit(asked, begun.reference)
        later(sandbox, 2)
        assert (await yapily.look_up(str(sent.reference))).state is ProviderPayment.SETTLED


async def test_two_consents_for_one_payment_pay_it_once(sandbox: Sandbox, yapily: BankPayments) -> None:
    with paid(sandbox, "12.34"):
        asked = wish(BANK)
        begun = [await yapily.begin(asked), await yapily.begin(asked)]
        for one in begun:
            answered(sandbox, one)
        sent = [await yapily.submit(asked, one.reference) for one in begun]
        assert sent[0].reference == sent[1].reference is not None
        later(sandbox, 2)
        assert (await yapily.look_up(str(sent[0].reference))).state is ProviderPayment.SETTLED


async def test_an_order_that_was_changed_is_not_paid(sandbox: Sandbox, yapily: BankPayments) -> None:
    asked = wish(BANK)
    begun = await yapily.begin(asked)
    answered(sandbox, begun)
    dearer = replace(asked, order=replace(asked.order, amount=Decimal("99.00")))
    with paid(sandbox, "0"), pytest.raises(ProviderRefused):
        await yapily.submit(dearer, begun.reference)
    with paid(sandbox, "12.34"):
        await yapily.submit(asked, begun.reference)
        later(sandbox, 2)
    with pytest.raises(OutcomeUnknown):  # the key has been used: whether for this, only a person can tell
        await yapily.submit(dearer, begun.reference)


async def test_a_bank_that_asks_elsewhere_is_waited_for(sandbox: Sandbox, yapily: BankPayments) -> None:
    sandbox.tell("facts", name="yapily.decoupled", value="on")
    asked = wish(BANK)
    begun = await yapily.begin(asked)
    sandbox.tell("facts", name="yapily.decoupled", value=None)
    assert isinstance(begun.authorization, Decoupled)
    assert (await yapily.look_up(begun.reference)).state is ProviderPayment.AWAITING

    sandbox.tell("actions", action="yapily.decoupled", consent=begun.reference, username="jo", approves=True)
    with paid(sandbox, "12.34"):
        sent = await yapily.submit(asked, begun.reference)
        later(sandbox, 2)
        assert (await yapily.look_up(str(sent.reference))).state is ProviderPayment.SETTLED


async def test_the_account_that_was_linked_is_the_one_that_pays(sandbox: Sandbox, yapily: BankPayments) -> None:
    (savings,) = [one for one in sandbox.accounts("harbour") if one["kind"] == "SAVINGS"]
    payer = PayerAccount(savings["id"], number=savings["sort_code"] + savings["number"])
    asked = wish(BANK, payer=payer, amount=Decimal("0.01"))
    begun = await yapily.begin(asked)
    answered(sandbox, begun)
    await yapily.submit(asked, begun.reference)
    later(sandbox, 2)
    (after,) = [one for one in sandbox.accounts("harbour") if one["kind"] == "SAVINGS"]
    assert Decimal(savings["transferred"]) - Decimal(after["transferred"]) == Decimal("0.01")


async def test_that_nobody_lets_us_look_says_nothing_of_what_was_submitted_before(
    sandbox: Sandbox, yapily: BankPayments
) -> None:
    asked = wish(BANK)
    begun = await yapily.begin(asked)
    answered(sandbox, begun)
    sandbox.tell("misbehaviour", route="POST /yapily/payments", kind="error_after", times=3, status=502)
    with paid(sandbox, "12.34"):
        with pytest.raises(OutcomeUnknown):
            await yapily.submit(asked, begun.reference)
        sandbox.tell("misbehaviour", route="GET /yapily/consents/*", kind="error_before", status=401)
        with pytest.raises(OutcomeUnknown):
            await yapily.submit(asked, begun.reference)
        await yapily.submit(asked, begun.reference)
        later(sandbox, 2)
