"""A payment that a rule exempts, through the API: authorised at once, with the rule's name and without a challenge."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from isthmus.domain.exemptions import ExemptionRules, LowValue
from isthmus.domain.funding import funding_reference
from isthmus.domain.payees import PayeeAccount, payee_account
from isthmus.domain.saved_payees import payee_digest
from isthmus.graphql.ids import account_key, payee_key
from tests.api.api_key_calls import create, program
from tests.api.conftest import Person, Served
from tests.api.test_payees import NOBODYS, add, remove, run, save, trusted
from tests.api.test_payments import balance, funded, initiate, shown

OTHERS = "GB29NWBK60161331926819"
RULES = ExemptionRules("v1", low_value={"EUR": LowValue(Decimal(30), Decimal(100), 5)})


def test_an_exempted_payment_comes_back_authorised_and_says_by_which_rule(
    served: Served, ada: Person, olga: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = funded(ada, olga)
    assert initiate(ada, account, "1.00")["payment"]["state"] == "AWAITING_SCA", "nothing is exempted unless told"
    monkeypatch.setattr(served.app.state.running.services.payments, "_exemptions", RULES)

    payment = initiate(ada, account, "1.00")["payment"]

    assert (payment["state"], payment["challenge"], payment["failure"]) == ("AUTHORISED", None, None)
    assert [step["state"] for step in shown(ada, payment["id"])["history"]] == ["AWAITING_SCA", "AUTHORISED"]
    told = ada.ask("query($id: ID!) { node(id: $id) { ... on Payment { exemption } } }", {"id": payment["id"]})
    assert told["node"]["exemption"] == "low-value"
    assert initiate(ada, account, "30.01")["payment"]["challenge"]["state"] == "PENDING"


def test_a_saved_payee_is_paid_without_a_challenge_to_the_letter_and_until_it_is_removed(
    served: Served, ada: Person, grace: Person, olga: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        served.app.state.running.services.payments, "_exemptions", ExemptionRules("v1", trusted_beneficiary=True)
    )
    account, theirs = funded(ada, olga, "1000.00"), funded(grace, olga)
    payee = save(served, ada)

    def pay(person: Person, source: str, name: str = "Grace Hopper") -> str:
        to = {"name": name, "account": {"iban": NOBODYS}}
        return str(initiate(person, source, "90.00", payee=to)["payment"]["state"])

    assert pay(ada, account) == "AUTHORISED"
    assert pay(ada, account, "Grace Hoppar") == "AWAITING_SCA"
    assert pay(grace, theirs) == "AWAITING_SCA", "whom another trusts"
    remove(ada, payee)
    assert pay(ada, account) == "AWAITING_SCA"
    run(served, "update payees set state = 'SAVED' where id = $1", payee_key(payee))
    assert pay(ada, account) == "AWAITING_SCA", "whatever somebody wrote into the database"


def test_an_own_account_is_paid_unasked_where_the_rules_say_so_and_by_nobody_else(
    served: Served, ada: Person, grace: Person, olga: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    account, savings, theirs = funded(ada, olga, "100.00"), ada.open(), grace.open()

    def pay(to: str, **other: Any) -> Any:
        return initiate(ada, account, "30.00", payee={"ownAccountId": to} | other)

    asked = pay(savings)["payment"]
    assert asked["state"] == "AWAITING_SCA", "nothing is exempted unless told"
    assert asked["payee"] == {"name": "Own account", "account": funding_reference(account_key(savings))}
    assert balance(ada, account) == ("100.00", "70.00")
    monkeypatch.setattr(
        served.app.state.running.services.payments, "_exemptions", ExemptionRules("v1", own_account=True)
    )

    payment = pay(savings)["payment"]

    assert (payment["state"], payment["challenge"], payment["provider"]) == ("AUTHORISED", None, "isthmus")
    told = ada.ask(
        "query($id: ID!) { node(id: $id) { ... on Payment { exemption toAccount { id } } } }", {"id": payment["id"]}
    )
    assert told["node"] == {"exemption": "own-account", "toAccount": {"id": savings}}
    for to in (theirs, "x"):
        (no,) = pay(to)["errors"]
        assert (no["code"], no["path"]) == ("ACCOUNT_NOT_FOUND", ["input", "payee", "ownAccountId"])
    assert pay(account)["errors"][0]["code"] == "SAME_ACCOUNT"
    assert pay(savings, name="Bob")["errors"][0]["code"] == "INVALID_INPUT"


def test_whom_the_tables_say_a_person_trusts_is_trusted_by_nobody_whom_the_log_does_not_know(
    served: Served, ada: Person
) -> None:
    """Whoever has a session and the tables puts their own account in the place of one that was answered for."""
    saved, theirs = payee_key(save(served, ada)), add(ada, "Mallory", OTHERS)["payee"]["id"]
    account = payee_account(OTHERS, None, None)
    assert isinstance(account, PayeeAccount)
    run(
        served,
        "update payees set fingerprint = (select fingerprint from payees where id = $2) where id = $1",
        saved,
        payee_key(theirs),
    )
    digest = payee_digest(saved, ada.id, "Mallory", account.text())
    run(served, "update sca_challenges set digest = $2 where subject_id = $1", saved, digest)

    assert not trusted(served, ada, "Mallory", OTHERS)


def test_what_a_program_wishes_to_pay_is_asked_for_whatever_is_exempted(
    served: Served, ada: Person, olga: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a key that leaked nothing leaves unasked."""
    monkeypatch.setattr(served.app.state.running.services.payments, "_exemptions", RULES)
    account, key = funded(ada, olga), create(ada, scopes=("READ", "WRITE"))["secret"]

    assert initiate(program(served, ada, key), account, "1.00")["payment"]["state"] == "AWAITING_SCA"
    assert initiate(ada, account, "1.00")["payment"]["state"] == "AUTHORISED"
