"""Payments from end to end: made, answered for with the code that was sent, carried on by `work`, executed at the bank, told live."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import pytest

from isthmus.graphql.ids import payment_key
from isthmus.runtime.endpoints import resolve
from isthmus.settings import load_settings
from tests.end_to_end.client import Client
from tests.end_to_end.product import Product, isthmus

CONTRACT = (Path(__file__).parent.parent / "contract" / "03-payments-sca.graphql").read_text(encoding="utf-8")
VIEWER = "{ viewer { payments(first: 1) { totalCount } } }"
_CODE = re.compile(r"your code is (\d{6})")


class Bank:
    """The running sandbox, and everybody's telephones."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.http = httpx.AsyncClient(timeout=20)

    async def tell(self, path: str, **body: Any) -> Any:
        answer = await self.http.post(f"{self.url}/sandbox/{path}", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def account(self, bank: str, username: str) -> dict[str, Any]:
        some = (await self.http.get(f"{self.url}/sandbox/accounts")).json()
        found: dict[str, Any] = next(one for one in some if (one["bank"], one["username"]) == (bank, username))
        return found

    async def inbox(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await self.http.get(f"{self.url}/sandbox/inbox")).json()
        return found

    async def code_for(self, told: str) -> str:
        """The code of the newest message in which that is said."""
        async with asyncio.timeout(20):
            while True:
                for message in reversed(await self.inbox()):
                    if told in message["body"] and (found := _CODE.search(message["body"])):
                        return found[1]
                await asyncio.sleep(0.05)

    async def told(self, text: str, count: int) -> list[str]:
        """By which ways that was said, once it was so often."""
        async with asyncio.timeout(20):
            while True:
                ways = sorted(message["channel"] for message in await self.inbox() if text in message["body"])
                if len(ways) >= count:
                    return ways
                await asyncio.sleep(0.05)


@pytest.fixture
async def bank(product: Product) -> AsyncIterator[Bank]:
    made = Bank(str(product.running["sandbox_url"]))
    yield made
    await made.tell("facts", name="truelayer.hold", value=None)
    await made.http.aclose()


async def funded(client: Client, operator: Client, amount: str) -> str:
    account: str = (await client.open())["account"]["id"]
    wish = {"accountId": account, "amount": {"amount": amount, "asset": "EUR"}, "reference": uuid4().hex}
    document = "mutation($input: SettleDepositInput!) { settleDeposit(input: $input) { position errors { code } } }"
    answer = (await operator.ask(document, {"input": wish})).data["settleDeposit"]
    assert answer["errors"] == []
    await client.balance(account, answer["position"])
    return account


async def initiate(client: Client, account: str, amount: str, iban: str, name: str = "Maria") -> Any:
    wish = {
        "fromAccountId": account,
        "amount": {"amount": amount, "asset": "EUR"},
        "payee": {"name": name, "account": {"iban": iban}},
        "reference": "Rent",
        "idempotencyKey": uuid4().hex,
    }
    answer = await client.ask(CONTRACT, {"input": wish}, operationName="InitiatePayment")
    payload = answer.data["initiatePayment"]
    assert payload["errors"] == []
    return payload["payment"]


async def answer(client: Client, challenge: str, code: str) -> Any:
    wish = {"challengeId": challenge, "answer": {"oneTimeCode": code}}
    told = await client.ask(CONTRACT, {"input": wish}, operationName="AnswerScaChallenge")
    return told.data["answerScaChallenge"]


async def states_of(client: Client, payment: str, last: str) -> list[str]:
    """The history that the subscription shows once it says `last`."""
    async with client.socket() as socket:
        operation = await socket.subscribe(CONTRACT, {"paymentId": payment}, operationName="PaymentProgressed")
        while True:
            told = (await socket.next(operation, 40))["paymentProgressed"]
            if told["state"] == last:
                return [step["state"] for step in told["history"]]


async def figures(client: Client, account: str, payment: str) -> tuple[str, str]:
    """(posted, available), as they are once everything is seen that happened to the payment."""
    where = await client.ask("query($id: ID!) { node(id: $id) { ... on Payment { position } } }", {"id": payment})
    document = (
        "query($id: ID!) { node(id: $id) { ... on Account { balance { posted { amount } available { amount } } } } }"
    )
    headers = {"x-isthmus-position": where.data["node"]["position"]}
    found = (await client.ask(document, {"id": account}, headers=headers)).data["node"]["balance"]
    return found["posted"]["amount"], found["available"]["amount"]


@pytest.mark.timeout(120)
async def test_a_payment_is_answered_for_executed_at_the_bank_and_both_books_agree(
    product: Product, ada: Client, olga: Client, bank: Bank
) -> None:
    account, theirs = await funded(ada, olga, "100.00"), await bank.account("nordlicht", "maria")
    amount = "12.37"
    payment = await initiate(ada, account, amount, theirs["iban"])
    challenge = payment["challenge"]
    assert (payment["state"], challenge["__typename"]) == ("AWAITING_SCA", "OneTimeCodeChallenge")

    told = f"Pay {amount} EUR to Maria ({theirs['iban']})"
    answered = await answer(ada, challenge["id"], await bank.code_for(told))

    assert answered["errors"] == []
    assert await states_of(ada, payment["id"], "EXECUTED") == ["AWAITING_SCA", "AUTHORISED", "SUBMITTED", "EXECUTED"]
    assert await figures(ada, account, payment["id"]) == ("87.63", "87.63")
    now = await bank.account("nordlicht", "maria")
    assert Decimal(now["transferred"]) - Decimal(theirs["transferred"]) == Decimal(amount), "the bank's own book"
    assert sum(told in message["body"] for message in await bank.inbox()) == 1, "one message"
    assert await bank.told(f"{amount} EUR to Maria was sent.", 2) == ["email", "push"]


@pytest.mark.timeout(120)
async def test_what_is_changed_in_the_database_between_the_challenge_and_the_submission_is_stopped(
    product: Product, ada: Client, olga: Client, bank: Bank
) -> None:
    account, theirs = await funded(ada, olga, "100.00"), await bank.account("nordlicht", "maria")
    payment = await initiate(ada, account, "1.23", theirs["iban"])
    code = await bank.code_for("Pay 1.23 EUR")
    connection = await asyncpg.connect(resolve(load_settings(data_dir=product.data_dir)).admin_url)
    await connection.execute("update payments set amount = 99 where id = $1", payment_key(payment["id"]))
    await connection.close()

    answered = await answer(ada, payment["challenge"]["id"], code)
    assert answered["errors"] == []
    assert await states_of(ada, payment["id"], "REJECTED") == ["AWAITING_SCA", "AUTHORISED", "REJECTED"]

    found = (await ada.ask(CONTRACT, {"id": payment["id"]}, operationName="Payment")).data["node"]
    assert (found["failure"]["code"], found["challenge"]["state"]) == ("CHANGED_AFTER_SCA", "INVALIDATED")
    assert await figures(ada, account, payment["id"]) == ("100.00", "100.00")
    assert (await bank.account("nordlicht", "maria"))["transferred"] == theirs["transferred"]


@pytest.mark.timeout(120)
async def test_it_is_taken_back_in_time_and_not_once_the_bank_may_have_it(
    product: Product, ada: Client, olga: Client, bank: Bank
) -> None:
    account, theirs = await funded(ada, olga, "100.00"), await bank.account("nordlicht", "maria")
    payment = await initiate(ada, account, "2.34", theirs["iban"])
    wish = {"paymentId": payment["id"], "idempotencyKey": uuid4().hex}
    done = (await ada.ask(CONTRACT, {"input": wish}, operationName="CancelPayment")).data["cancelPayment"]
    assert (done["errors"], done["payment"]["state"]) == ([], "CANCELLED")

    await bank.tell("facts", name="truelayer.hold", value="1")
    held = await initiate(ada, account, "3.45", theirs["iban"])
    await answer(ada, held["challenge"]["id"], await bank.code_for("Pay 3.45 EUR"))
    await states_of(ada, held["id"], "SUBMITTED")
    late = {"paymentId": held["id"], "idempotencyKey": uuid4().hex}
    refused = (await ada.ask(CONTRACT, {"input": late}, operationName="CancelPayment")).data["cancelPayment"]

    assert [error["code"] for error in refused["errors"]] == ["PAYMENT_NOT_CANCELLABLE"]
    assert await figures(ada, account, held["id"]) == ("100.00", "96.55")


@pytest.mark.timeout(120)
async def test_money_sent_to_us_is_credited_once_the_webhook_told_of_it_and_the_books_are_compared(
    product: Product, ada: Client, bank: Bank
) -> None:
    opened = await ada.open()
    account, seen = opened["account"]["id"], {"x-isthmus-position": opened["position"]}
    document = """query($id: ID!) { node(id: $id) {
        ... on LedgerAccount { fundingReference balance { posted { amount } } } } }"""
    reference = (await ada.ask(document, {"id": account}, headers=seen)).data["node"]["fundingReference"]

    told = {"currency": "EUR", "amount_in_minor": 4321, "reference": reference}
    await bank.tell("actions", action="truelayer.external_payment", **told)

    async with asyncio.timeout(30):
        while True:
            now = (await ada.ask(document, {"id": account})).data["node"]
            if now["balance"]["posted"]["amount"] == "43.21":
                break
            await asyncio.sleep(0.05)
    done = await asyncio.to_thread(isthmus, product.data_dir, "reconcile", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert [one["asset"] for one in json.loads(done.stdout)["accounts"]] == ["EUR", "GBP"]
