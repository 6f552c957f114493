"""Moving money to somebody else here: up to a threshold at once, above it by a payment that its payer answers for."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest

from isthmus.graphql.ids import payment_key
from tests.api.api_key_calls import create, program
from tests.api.banking import on_loop
from tests.api.conftest import Person, Served
from tests.api.test_batches import initiate as initiate_batch
from tests.api.test_batches import line
from tests.api.test_payments import answer, balance, code_of, funded, initiate, shown

MOVE = """mutation($input: TransferInternallyInput!) { transferInternally(input: $input) { journal { id } replayed
    errors { __typename code message path ... on ScaRequired { threshold { amount asset } } } } }"""


@pytest.fixture
def threshold(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(served.app.state.running.services.transfer_above, "EUR", Decimal(30))


def move(person: Person, source: str, target: str, value: str, key: str = "") -> Any:
    wish = {"fromAccountId": source, "toAccountId": target, "amount": {"amount": value, "asset": "EUR"}}
    return person.ask(MOVE, {"input": wish | {"idempotencyKey": key or uuid4().hex}})["transferInternally"]


def carried_on(served: Served, person: Person, payment: str) -> str:
    """What `work` does, twice over."""
    for _ in range(2):
        on_loop(served, served.paying.saga.advance(payment_key(payment)))
    assert served.bus is not None
    on_loop(served, served.bus.project())
    return str(shown(person, payment)["state"])


@pytest.mark.usefixtures("threshold")
def test_above_the_threshold_a_transfer_to_another_person_is_refused_and_says_what_to_do(
    served: Served, ada: Person, grace: Person, olga: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    account, savings, theirs = funded(ada, olga, "200.00"), ada.open(), grace.open()
    key = program(served, ada, create(ada, scopes=("READ", "WRITE"))["secret"])

    for who in (ada, key):
        (no,) = move(who, account, theirs, "30.01", "k" + who.token[:8])["errors"]
        assert (no["__typename"], no["code"], no["path"]) == ("ScaRequired", "SCA_REQUIRED", ["input", "amount"])
        assert no["threshold"] == {"amount": "30.00", "asset": "EUR"}
        assert "initiatePayment" in no["message"]
    assert balance(grace, theirs)[0] == "0.00"
    assert move(ada, account, savings, "100.00")["errors"] == []
    assert move(ada, account, theirs, "30.00", "same")["errors"] == []
    assert balance(grace, theirs)[0] == "30.00"
    monkeypatch.setitem(served.app.state.running.services.transfer_above, "EUR", Decimal(0))
    again = move(ada, account, theirs, "30.00", "same")
    assert (again["replayed"], again["errors"]) == (True, []), "what was done is answered as before"
    assert move(ada, account, theirs, "0.01")["errors"][0]["code"] == "SCA_REQUIRED"
    assert balance(grace, theirs)[0] == "30.00"


@pytest.mark.usefixtures("threshold")
def test_it_is_paid_by_a_payment_that_its_payer_answers_for_once(
    served: Served, ada: Person, grace: Person, olga: Person
) -> None:
    account, theirs = funded(ada, olga, "100.00"), grace.open(name="Grace's nest egg")
    payee = {"name": "Grace Hopper", "accountId": theirs}

    done = initiate(ada, account, "80.00", payee=payee)

    payment, challenge = done["payment"], done["payment"]["challenge"]
    assert (payment["state"], payment["provider"]) == ("AWAITING_SCA", "isthmus")
    assert challenge["dynamicLink"]["payeeName"] == payment["payee"]["name"] == "Grace Hopper"
    told = ada.ask(
        "query($id: ID!) { node(id: $id) { ... on Payment { toAccount { id } payeeCheck { result matchedName } } } }",
        {"id": payment["id"]},
    )["node"]
    assert told == {"toAccount": None, "payeeCheck": {"result": "UNAVAILABLE", "matchedName": None}}
    assert "nest egg" not in str(done)
    assert balance(ada, account) == ("100.00", "20.00")
    assert carried_on(served, ada, payment["id"]) == "AWAITING_SCA"
    assert answer(ada, challenge["id"], code_of(served, challenge["id"]))["payment"]["state"] == "AUTHORISED"

    assert carried_on(served, ada, payment["id"]) == "SETTLED"

    assert (balance(ada, account), balance(grace, theirs)) == (("20.00", "20.00"), ("80.00", "80.00"))
    seen = grace.account(theirs, "transactions { edges { node { description amount { amount } } } }")
    assert [edge["node"]["amount"]["amount"] for edge in seen["transactions"]["edges"]] == ["80.00"]


def test_whom_one_may_not_pay_is_refused_alike_and_a_batch_may_have_both(
    served: Served, ada: Person, grace: Person, olga: Person
) -> None:
    account, theirs, pounds = funded(ada, olga, "100.00"), grace.open(), grace.open("GBP")
    (no, *_), *others = [
        initiate(ada, account, "1.00", payee={"name": "Grace", "accountId": id})["errors"] for id in (pounds, "x")
    ]
    assert (no["code"], no["path"]) == ("RECIPIENT_NOT_FOUND", ["input", "payee", "accountId"])
    assert others == [[no]]
    for payee in (
        {"accountId": theirs},
        {"name": "Grace", "accountId": theirs, "ownAccountId": theirs},
        {"name": "Grace", "accountId": theirs, "account": {"iban": "GB29NWBK60161331926819"}},
    ):
        assert initiate(ada, account, "1.00", payee=payee)["errors"][0]["code"] == "INVALID_INPUT"

    batch = initiate_batch(ada, account, line("1.00"), line("50.00", payee={"name": "Grace", "accountId": theirs}))[
        "batch"
    ]
    challenge = batch["challenge"]["id"]
    assert answer(ada, challenge, code_of(served, challenge))["errors"] == []
    assert carried_on(served, ada, batch["payments"][1]["id"]) == "SETTLED"
    assert balance(grace, theirs) == ("50.00", "50.00")
