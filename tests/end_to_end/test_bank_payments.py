"""A payment from a linked bank from end to end: authorised at the bank's page by somebody who never comes back, carried on by `work`."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import pytest

from isthmus.runtime.endpoints import resolve
from isthmus.settings import load_settings
from tests.end_to_end.client import Client
from tests.end_to_end.product import Product
from tests.end_to_end.test_bank_links import HARBOUR, Bank, bank, catalogue_is_made, ended, link, until
from tests.end_to_end.test_payments import CONTRACT, states_of

__all__ = ["bank"]
ACCOUNTS = "{ viewer { accounts(first: 20, filter: { kinds: [BANK] }) { edges { node { id name ... on BankAccount { asset } } } } } }"


async def _noted(product: Product) -> Decimal:
    connection = await asyncpg.connect(resolve(load_settings(data_dir=product.data_dir)).admin_url)
    try:
        query = "select sum(posted) from account_balances b join accounts a on a.id = b.account_id where a.code = 'memo:payee:GBP'"
        return Decimal(await connection.fetchval(query) or 0)
    finally:
        await connection.close()


@pytest.mark.timeout(120)
async def test_a_payment_from_a_bank_is_authorised_there_and_both_books_agree(
    product: Product, ada: Client, bank: Bank
) -> None:
    await until(lambda: catalogue_is_made(ada), "the catalogue is made by `work`")
    consent = await link(ada, bank, HARBOUR)
    nodes: list[Any] = [edge["node"] for edge in (await ada.ask(ACCOUNTS)).data["viewer"]["accounts"]["edges"]]
    account = next(one["id"] for one in nodes if one["asset"] == "GBP" and one["name"] == "Current account")
    before, noted = sum(Decimal(one["transferred"]) for one in await bank.accounts("harbour")), await _noted(product)
    wish = {
        "fromAccountId": account,
        "amount": {"amount": "7.77", "asset": "GBP"},
        "payee": {"name": "Bob", "account": {"sortCode": "112233", "accountNumber": "12345678"}},
        "idempotencyKey": uuid4().hex,
    }
    made = (await ada.ask(CONTRACT, {"input": wish}, operationName="InitiatePayment")).data["initiatePayment"]
    assert made["errors"] == []
    payment = made["payment"]

    form = {"username": "jo", "password": "sandbox", "answer": "approve"}
    back = await httpx.AsyncClient(timeout=20).post(payment["challenge"]["url"], data=form)

    page = product.base.replace("127.0.0.1", "localhost")
    assert back.headers["location"].startswith(f"{page}/payments/callback?payment_id=")
    states = ["AWAITING_SCA", "AUTHORISED", "SUBMITTED", "EXECUTED"]
    assert await states_of(ada, payment["id"], "EXECUTED") == states
    after = sum(Decimal(one["transferred"]) for one in await bank.accounts("harbour"))
    assert before - after == await _noted(product) - noted == Decimal("7.77")
    await ended(ada, "revokeBankConsent", consent)
