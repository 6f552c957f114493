"""Paying a payee whom one saved, by its id: whom it pays is what was answered for, and nothing else is paid so."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from isthmus.domain.exemptions import ExemptionRules
from isthmus.domain.lookalikes import KnownPayee
from isthmus.graphql.ids import payee_key
from isthmus.write_models.payment_desk import PaymentWish
from tests.api.conftest import Person, Served
from tests.api.test_batches import initiate as batch
from tests.api.test_batches import line
from tests.api.test_payees import NOBODYS, add, remove, run, save
from tests.api.test_payments import answer, balance, code_of, funded, initiate

GRACE = {"name": "Grace Hopper", "account": NOBODYS}


def pay(person: Person, account: str, payee: str, **other: Any) -> Any:
    return initiate(person, account, "10.00", payee={"savedPayeeId": payee}, **other)


def test_it_is_paid_by_its_name_and_account_and_both_are_bound(served: Served, ada: Person, olga: Person) -> None:
    account, payee, key = funded(ada, olga), save(served, ada), uuid4().hex

    payment = pay(ada, account, payee, idempotencyKey=key)["payment"]

    link = payment["challenge"]["dynamicLink"]
    assert payment["payee"] == GRACE
    assert (link["payeeName"], link["payeeAccount"]) == (GRACE["name"], GRACE["account"])
    challenge = payment["challenge"]["id"]
    assert answer(ada, challenge, code_of(served, challenge))["payment"]["state"] == "AUTHORISED"
    remove(ada, payee)
    assert pay(ada, account, payee, idempotencyKey=key)["payment"]["id"] == payment["id"], "the same again"
    other = initiate(ada, account, "10.00", payee={"name": "Bob", "account": {"iban": NOBODYS}}, idempotencyKey=key)
    assert other["errors"][0]["code"] == "IDEMPOTENCY_KEY_REUSED"


def test_what_is_not_ones_own_and_answered_for_is_not_paid(
    served: Served, ada: Person, grace: Person, olga: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    account, removed, mine = funded(ada, olga), save(served, ada, "Gone"), save(served, ada)
    waits, theirs = add(ada, "Bob Waits")["payee"]["id"], save(served, grace)
    hers_waits = add(grace, "Bob Waits")["payee"]["id"]
    remove(ada, removed)
    run(served, "update payees set state = 'SAVED' where id = any($1)", [payee_key(removed), payee_key(waits)])

    def no(payee: str) -> tuple[str, list[str], str]:
        (error,) = pay(ada, account, payee)["errors"]
        return error["code"], error["path"], error["message"]

    missing = no("x")
    assert missing[:2] == ("PAYEE_NOT_FOUND", ["input", "payee", "savedPayeeId"])
    assert [no(one) for one in (removed, theirs, hers_waits, account)] == [missing] * 4
    assert no(waits)[:2] == ("SCA_REQUIRED", ["input", "payee", "savedPayeeId"])
    both = initiate(ada, account, payee={"savedPayeeId": mine, "name": "Bob"})
    assert both["errors"][0]["code"] == "INVALID_INPUT"
    for which, code in ((removed, "PAYEE_NOT_FOUND"), (theirs, "PAYEE_NOT_FOUND"), (waits, "SCA_REQUIRED")):
        (error,) = batch(ada, account, line("1.00"), line("1.00", payee={"savedPayeeId": which}))["errors"]
        assert (error["code"], error["path"]) == (code, ["input", "payments", "1", "payee", "savedPayeeId"])

    async def as_it_was(person: object, wish: PaymentWish) -> object:
        return wish.to(KnownPayee("Gone", f"IBAN {NOBODYS}"))

    monkeypatch.setattr(served.app.state.running.services.payments, "_named", as_it_was)
    assert no(removed) == missing, "it was removed after it was read"
    assert balance(ada, account) == ("100.00", "100.00")


def test_where_trusted_payees_are_exempted_only_what_was_answered_for_is(
    served: Served, ada: Person, olga: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        served.app.state.running.services.payments, "_exemptions", ExemptionRules("v1", trusted_beneficiary=True)
    )
    account, payee, other = funded(ada, olga), save(served, ada), save(served, ada, "Carol")
    assert pay(ada, account, payee)["payment"]["state"] == "AUTHORISED"
    run(
        served,
        "update payees p set name = o.name, account = o.account, fingerprint = o.fingerprint from payees o "
        "where p.id = $1 and o.id = $2",
        payee_key(payee),
        payee_key(other),
    )

    payment = pay(ada, account, payee)["payment"]

    assert (payment["payee"], payment["state"]) == (GRACE, "AWAITING_SCA"), "whatever somebody wrote into the table"


def test_several_of_a_batch_are_named_so(served: Served, ada: Person, olga: Person) -> None:
    account, payee, key = funded(ada, olga), save(served, ada), uuid4().hex
    lines = (line("1.00"), line("2.00", payee={"savedPayeeId": payee}), line("3.00", payee={"savedPayeeId": payee}))

    made = batch(ada, account, *lines, key=key)["batch"]

    shown = made["challenge"]["dynamicLink"]["payees"]
    assert [one["name"] for one in shown] == ["Bob Builder", GRACE["name"], GRACE["name"]]
    assert shown[1]["account"] == NOBODYS
    remove(ada, payee)
    again = batch(ada, account, *lines, key=key)
    assert (again["replayed"], again["batch"]) == (True, made | {"payments": again["batch"]["payments"]})
