"""Plaid's payment initiation through our adapter: paid once, refused, and what is lost on the way is never paid twice."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from typing import Any

import pytest

from isthmus.domain.bank_payments import BankPayments, PayerAccount
from isthmus.domain.banking import ProviderRefused
from isthmus.domain.payment_news import ProviderPayment
from isthmus.integrations.banking.registry import PROVIDERS
from isthmus.integrations.payments import plaid_payments
from tests.integrations.banking.outside import outside
from tests.integrations.payments.wishes import BOBS_IBAN, STEP_S, answered, later, paid, wish
from tests.sandbox.running import REDIRECT, Sandbox, sandbox_running

BANK = "ins_harbour"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with sandbox_running(history_days=3) as running:
        running.tell("facts", name="plaid.step_s", value=STEP_S)
        yield running


@pytest.fixture
async def plaid(sandbox: Sandbox) -> AsyncIterator[BankPayments]:
    async with outside(sandbox, "plaid") as out:
        provider = plaid_payments.made(out)
        assert provider is not None
        yield provider


async def test_a_payment_is_authorised_on_plaids_page_and_executed_once(sandbox: Sandbox, plaid: BankPayments) -> None:
    with paid(sandbox, "12.34"):
        asked = wish(BANK)
        begun = await plaid.begin(asked)
        assert (await plaid.look_up(begun.reference)).state is ProviderPayment.AWAITING
        assert begun.expires_at is not None
        assert answered(sandbox, begun) == f"{REDIRECT}?state={begun.state}"

        assert (await plaid.submit(asked, begun.reference)).state is ProviderPayment.SUBMITTED
        later(sandbox, 2)
        news = await plaid.look_up(begun.reference)

    assert (news.state, news.told) == (ProviderPayment.EXECUTED, "PAYMENT_STATUS_EXECUTED")
    assert (news.amount, news.asset, news.payee_account) == (Decimal("12.34"), "GBP", "SCAN 112233 12345678")


async def test_who_declines_pays_nothing_and_nothing_takes_a_payment_back(
    sandbox: Sandbox, plaid: BankPayments
) -> None:
    with paid(sandbox, "0"):
        begun = await plaid.begin(wish(BANK))
        assert (await plaid.cancel(begun.reference)).state is ProviderPayment.AWAITING, "its page ends by itself"
        answered(sandbox, begun, "decline")
        assert (await plaid.look_up(begun.reference)).state is ProviderPayment.CANCELLED


async def test_an_iban_of_the_kingdom_is_paid_in_pounds_and_told_as_it_was_given(
    sandbox: Sandbox, plaid: BankPayments
) -> None:
    begun = await plaid.begin(wish(BANK, payee_account=BOBS_IBAN))
    assert (await plaid.look_up(begun.reference)).payee_account == BOBS_IBAN.text()


async def test_the_account_that_was_linked_is_the_one_that_pays(sandbox: Sandbox, plaid: BankPayments) -> None:
    (savings,) = [one for one in sandbox.accounts("harbour") if one["kind"] == "SAVINGS"]
    payer = PayerAccount(savings["id"], number=savings["sort_code"] + savings["number"])
    begun = await plaid.begin(wish(BANK, payer=payer, amount=Decimal("0.01")))
    answered(sandbox, begun)
    later(sandbox, 2)
    (after,) = [one for one in sandbox.accounts("harbour") if one["kind"] == "SAVINGS"]
    assert Decimal(savings["transferred"]) - Decimal(after["transferred"]) == Decimal("0.01")


async def test_only_banks_that_plaid_pays_from_are_said_to_pay(sandbox: Sandbox) -> None:
    async with outside(sandbox, "plaid") as out:
        catalogue = PROVIDERS["plaid"](out)
        assert catalogue is not None
        able = {
            country: [one.capabilities async for one in catalogue.institutions(country)] for country in ("GB", "US")
        }
    assert able == {"GB": [("ACCOUNTS", "TRANSACTIONS", "PAYMENTS")], "US": [("ACCOUNTS", "TRANSACTIONS")]}


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"asset": "EUR"}, "PAYEE_ACCOUNT"),
        ({"amount": Decimal("1234567890123456.78")}, "AMOUNT"),
        ({"amount": Decimal("12.345")}, "INVALID_FIELD"),
    ],
)
async def test_what_plaid_cannot_pay_is_refused(plaid: BankPayments, wrong: dict[str, Any], code: str) -> None:
    with pytest.raises(ProviderRefused) as refused:
        await plaid.begin(wish(BANK, **wrong))
    assert refused.value.code == code
