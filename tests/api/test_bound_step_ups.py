"""Row D1 for step-ups: what a person reads, and what their device signs for it, is the log's, whatever somebody wrote into a table."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from isthmus.auth.scopes import Role
from isthmus.domain.dynamic_link import Purpose
from isthmus.domain.sca_devices import signing_challenge
from isthmus.graphql.ids import payment_key, sca_challenge_key
from tests.api.api_key_calls import begin as begin_key
from tests.api.conftest import Person, Served
from tests.api.test_devices import answer, challenge_for, codes, enrol, run
from tests.api.test_devices import begin as begin_device
from tests.api.test_payees import add
from tests.api.test_payments import funded
from tests.api.test_step_ups import change
from tests.authenticator import Authenticator, b64

_CHALLENGE = "challenge { id purpose ... on DeviceChallenge { publicKeyOptions } }"
NODE = f"query($id: ID!) {{ node(id: $id) {{ ... on %s {{ %s {_CHALLENGE} }} }} }}"
VIEWER = (
    f"{{ viewer {{ limits {{ asked {{ perDay {{ amount }} }} {_CHALLENGE} }} authenticatorApp {{ {_CHALLENGE} }} }} }}"
)
PURPOSE = "query($id: ID!) { node(id: $id) { ... on Payment { challenge { purpose } } } }"
BEGIN_APP = "mutation($input: BeginAuthenticatorAppInput!) { beginAuthenticatorApp(input: $input) { errors { code } } }"

Payer = tuple[Person, str, Authenticator]


@pytest.fixture(scope="module")
def payer(served: Served) -> Payer:
    """Somebody with a device that signs, whose session was stolen."""
    ada, device = Person(served), Authenticator()
    enrol(served, ada, device)
    return ada, funded(ada, Person(served, Role.OPERATOR), "1000.00"), device


def by_id(person: Person, kind: str, words: str, id: str) -> Callable[[], Any]:
    return lambda: person.ask(NODE % (kind, words), {"id": id})["node"]


def a_limit(person: Person) -> Callable[[], Any]:
    change(person, "100", "200")
    change(person, "100", "300")
    return lambda: person.ask(VIEWER)["viewer"]["limits"][0]


def an_app(person: Person) -> Callable[[], Any]:
    person.ask(BEGIN_APP, {"input": {"idempotencyKey": uuid4().hex}})
    return lambda: person.ask(VIEWER)["viewer"]["authenticatorApp"]


@pytest.mark.parametrize(
    ("table", "words", "wish"),
    [
        ("api_keys", "", lambda person: by_id(person, "ApiKey", "name", begin_key(person)["apiKey"]["id"])),
        (
            "payees",
            "name = account, account = name",
            lambda person: by_id(person, "SavedPayee", "name account", add(person)["payee"]["id"]),
        ),
        (
            "sca_devices",
            "name = digest",
            lambda person: by_id(person, "Device", "name", begin_device(person)["device"]["id"]),
        ),
        ("personal_limits", "asked_per_day = 1", a_limit),
        ("sca_apps", "", an_app),
    ],
)
def test_d1_no_step_up_is_shown_with_another_things_challenge(
    served: Served, payer: Payer, table: str, words: str, wish: Callable[[Person], Callable[[], Any]]
) -> None:
    """A thief pays, and has the payment's challenge answered by whoever wishes for something of their own."""
    ada, account, _ = payer
    reads = wish(ada)
    before, stolen = reads(), challenge_for(ada, account, "5.00")

    run(served, f"update {table} set challenge_id = $2 where owner = $1", ada.id, sca_challenge_key(stolen["id"]))
    if words:
        run(served, f"update {table} set {words} where owner = $1", ada.id)
    run(served, "update sca_challenges set purpose = $2 where id = $1", sca_challenge_key(stolen["id"]), "LIMIT")

    assert reads() == before


def test_d1_what_a_device_signed_for_one_purpose_pays_nothing_whatever_a_table_calls_it(
    served: Served, payer: Payer
) -> None:
    ada, account, device = payer
    stolen = challenge_for(ada, account, "5.00")
    key = sca_challenge_key(stolen["id"])
    digest = run(served, "select digest from sca_challenges where id = $1", key)

    run(served, "update sca_challenges set purpose = 'LIMIT' where id = $1", key)
    asked = json.dumps({"challenge": b64(signing_challenge(Purpose.LIMIT, digest, key))})

    assert codes(answer(ada, stolen["id"], deviceAssertion=device.get(asked))) == ["SCA_REJECTED"]
    assert run(served, "select state from payments where id = $1", payment_key(stolen["payment"])) == "AWAITING_SCA"
    assert ada.ask(PURPOSE, {"id": stolen["payment"]})["node"]["challenge"]["purpose"] == "PAYMENT"
    assert answer(ada, stolen["id"], deviceAssertion=device.get(stolen["publicKeyOptions"]))["errors"] == []
