"""Accounts, amounts and references as providers write them, and the tokens that they are asked with."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import msgspec
import pytest

from isthmus.domain.bank_payments import PayerAccount
from isthmus.domain.banking import AccessEnded, Malformed, ProviderRefused, ProviderUnavailable
from isthmus.domain.clock import SettableClock
from isthmus.domain.payees import PayeeAccount
from isthmus.domain.payments_at_bank import BANK_LIFE
from isthmus.integrations.banking.calls import Calls
from isthmus.integrations.payments import plaid_payments
from isthmus.integrations.payments.accounts import reference_of, sort_code_and_number, text_of_account
from isthmus.integrations.payments.amounts import told_amount
from isthmus.integrations.payments.plaid_payments import PlaidPayments
from isthmus.integrations.payments.truelayer_client import TrueLayerClient, _refusal
from tests.integrations.payments.wishes import wish

GERMAN = "DE89370400440532013000"
NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("told", "text"),
    [
        (("gb29 nwbk 6016 1331 9268 19", None, None), "IBAN GB29NWBK60161331926819"),
        ((None, "112233", "345678"), "SCAN 112233 00345678"),
        ((GERMAN, "112233", "12345678"), None),
        ((None, None, None), None),
        ((None, "112233", None), None),
    ],
)
def test_a_payees_account_has_one_form_or_is_not_known(told: tuple[str | None, ...], text: str | None) -> None:
    assert text_of_account(*told) == text


def test_pounds_are_paid_from_and_to_fourteen_digits() -> None:
    for account in (PayerAccount("a", number="11223312345678"), PayeeAccount(sort_code="112233", number="12345678")):
        assert sort_code_and_number(account) == ("112233", "12345678")
    for none in (PayerAccount("a", number="1122331234567"), PayerAccount("a"), PayeeAccount(iban=GERMAN)):
        assert sort_code_and_number(none) is None


def test_a_reference_is_as_long_as_the_bank_takes_it() -> None:
    assert reference_of("x" * 40, 18) == "x" * 18
    assert reference_of("x" * 17 + " y", 18) == "x" * 17


@pytest.mark.parametrize(
    ("told", "amount"), [("12.34", "12.34"), ("1e18", None), ("9e17", "9e17"), ("1e-31", None), ("1e-30", "1e-30")]
)
def test_an_amount_is_of_a_size_that_can_be(told: str, amount: str | None) -> None:
    if amount is None:
        with pytest.raises(Malformed):
            told_amount(msgspec.Raw(told.encode()))
    else:
        assert told_amount(msgspec.Raw(told.encode())) == Decimal(amount)


def test_plaid_is_told_who_is_paid_and_from_where_in_the_form_of_the_currency() -> None:
    pounds = wish("x", payer=PayerAccount("a", number="11223312345678"))
    euros = wish("x", asset="EUR", payee_account=PayeeAccount(iban=GERMAN), payer=PayerAccount("a", iban=GERMAN))

    assert plaid_payments._recipient(euros.order) == {"iban": GERMAN}
    assert plaid_payments._options(euros) == {"options": {"iban": GERMAN}}
    assert plaid_payments._options(pounds) == {"options": {"bacs": {"sort_code": "112233", "account": "12345678"}}}
    with pytest.raises(ProviderRefused):
        plaid_payments._recipient(replace(euros.order, asset="GBP"))
    assert plaid_payments._PAGE_LASTS < BANK_LIFE, "nothing takes a payment back there"


@pytest.mark.parametrize(("code", "fault"), [("INVALID_API_KEYS", ProviderUnavailable), ("OTHER", ProviderRefused)])
async def test_that_plaid_does_not_know_us_says_nothing_of_a_payment(code: str, fault: type[Exception]) -> None:
    class Refusing:
        async def ask(self, *_: Any, **__: Any) -> Any:
            raise ProviderRefused("no", code)

    plaid = PlaidPayments("https://plaid", "id", "secret", Calls("plaid-forms"), SettableClock(NOW), client_name="x")
    plaid._client = Refusing()  # type: ignore[assignment]  # as much of it as is asked

    with pytest.raises(fault):
        await plaid.look_up("p")


async def test_a_token_is_made_once_for_all_who_ask_at_once_and_anew_before_its_end() -> None:
    asked: list[str] = []

    async def told(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        await asyncio.sleep(0)
        return httpx.Response(200, json={"access_token": "t", "expires_in": 600})

    clock, http = SettableClock(NOW), httpx.AsyncClient(transport=httpx.MockTransport(told))
    client = TrueLayerClient("https://auth", "https://api", "id", "secret", "payments", http, Calls("tl-forms"), clock)

    async def ask() -> None:
        await client.ask("x", "GET", "/x", dict[str, Any], {})

    await asyncio.gather(ask(), ask())
    assert asked.count("/connect/token") == 1
    clock.advance(timedelta(minutes=7, seconds=59))
    await ask()
    assert asked.count("/connect/token") == 1
    clock.advance(timedelta(seconds=1))
    await ask()
    assert asked.count("/connect/token") == 2


def test_who_lets_us_in_no_more_has_refused_no_payment() -> None:
    for status in (401, 403):
        assert isinstance(_refusal(status, b"{}"), AccessEnded)
    assert _refusal(400, b'{"title": "Invalid Parameters"}').code == "400_Invalid_Parameters"
