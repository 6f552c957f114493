"""Batches through the API: several payees, one challenge that shows all of them, one answer."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from tests.api.conftest import Person, Served
from tests.api.test_devices import codes
from tests.api.test_payments import IBAN, balance, code_of, funded, shown

_BATCH = """batch { total { amount asset } payments { id state amount { amount } challenge { id } } challenge { id purpose state
    dynamicLink { amount { amount } digest payees { name account amount { amount } } } } }"""
INITIATE = f"""mutation($input: InitiateBatchPaymentInput!) {{ done: initiateBatchPayment(input: $input) {{ replayed {_BATCH}
    errors {{ code path }} }} }}"""
ANSWER = """mutation($input: AnswerScaChallengeInput!) { done: answerScaChallenge(input: $input) { payment { id }
    subject { __typename ... on PaymentBatch { payments { state } } } errors { code } } }"""


def line(value: str, name: str = "Bob Builder", **other: Any) -> Any:
    return {"amount": {"amount": value, "asset": "EUR"}, "payee": {"name": name, "account": {"iban": IBAN}}} | other


def initiate(person: Person, account: str, *lines: Any, key: str = "") -> Any:
    wish = {"fromAccountId": account, "payments": list(lines), "idempotencyKey": key or uuid4().hex}
    return person.ask(INITIATE, {"input": wish})["done"]


def test_several_are_paid_under_one_challenge_that_shows_the_total_and_each(
    served: Served, ada: Person, grace: Person, olga: Person
) -> None:
    account, key = funded(ada, olga), uuid4().hex
    done = initiate(ada, account, line("10.00"), line("20.50", "Carol"), key=key)
    batch = done["batch"]
    challenge = batch["challenge"]

    assert (done["errors"], batch["total"]) == ([], {"amount": "30.50", "asset": "EUR"})
    assert (challenge["purpose"], challenge["state"]) == ("BATCH", "PENDING")
    assert challenge["dynamicLink"]["amount"]["amount"] == "30.50"
    assert [(one["name"], one["amount"]["amount"]) for one in challenge["dynamicLink"]["payees"]] == [
        ("Bob Builder", "10.00"),
        ("Carol", "20.50"),
    ]
    assert {payment["challenge"]["id"] for payment in batch["payments"]} == {challenge["id"]}
    assert balance(ada, account) == ("100.00", "69.50")
    again = initiate(ada, account, line("10.00"), line("20.50", "Carol"), key=key)
    assert (again["replayed"], again["batch"]) == (True, batch)

    wish = {"challengeId": challenge["id"], "answer": {"oneTimeCode": code_of(served, challenge["id"])}}
    assert codes(grace.ask(ANSWER, {"input": wish})["done"]) == ["SCA_REJECTED"]
    answered = ada.ask(ANSWER, {"input": wish})["done"]

    assert (answered["errors"], answered["payment"]) == ([], None)
    assert answered["subject"] == {
        "__typename": "PaymentBatch",
        "payments": [{"state": "AUTHORISED"}, {"state": "AUTHORISED"}],
    }
    assert shown(ada, batch["payments"][1]["id"])["state"] == "AUTHORISED"


def test_a_batch_in_which_something_is_wrong_is_refused_whole_and_says_where(ada: Person, olga: Person) -> None:
    account = funded(ada, olga)
    wrong_iban = line("1.00", payee={"name": "Bob", "account": {"iban": "GB30NWBK60161331926819"}})
    other_asset = line("1.00", amount={"amount": "1", "asset": "GBP"})
    tried = [
        initiate(ada, account),
        initiate(ada, account, *[line("0.01")] * 101),
        initiate(ada, account, line("1.00"), wrong_iban),
        initiate(ada, account, line("1.00"), other_asset),
        initiate(ada, account, line("1.00"), line("0")),
        initiate(ada, account, line("60.00"), line("60.00")),
        initiate(ada, account, line("1.00"), line("1.00", reference="x" * 19)),
        initiate(ada, account, line("1.00"), line("1.00", payee={"ownAccountId": ada.open()})),
    ]

    assert [(one["batch"], one["errors"][0]["code"], one["errors"][0]["path"][1:3]) for one in tried] == [
        (None, "INVALID_INPUT", ["payments"]),
        (None, "INVALID_INPUT", ["payments"]),
        (None, "PAYEE_ACCOUNT_INVALID", ["payments", "1"]),
        (None, "INVALID_INPUT", ["payments", "1"]),
        (None, "INVALID_AMOUNT", ["payments", "1"]),
        (None, "INSUFFICIENT_FUNDS", ["payments", "1"]),
        (None, "INVALID_INPUT", ["payments", "1"]),
        (None, "INVALID_INPUT", ["payments", "1"]),
    ]
    assert balance(ada, account) == ("100.00", "100.00")


def test_a_hundred_are_a_batch(served: Served, ada: Person, olga: Person) -> None:
    account = funded(ada, olga)
    batch = initiate(ada, account, *[line("0.50")] * 100)["batch"]

    wish = {
        "challengeId": batch["challenge"]["id"],
        "answer": {"oneTimeCode": code_of(served, batch["challenge"]["id"])},
    }
    answered = ada.ask(ANSWER, {"input": wish})["done"]

    assert {payment["state"] for payment in answered["subject"]["payments"]} == {"AUTHORISED"}
    assert balance(ada, account) == ("100.00", "50.00")
