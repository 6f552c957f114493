"""Payees through the API: checked at their bank before one pays, flagged where they look like another, saved by a step-up of their own."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from isthmus.domain.payees import PayeeAccount, payee_account
from isthmus.graphql.ids import payee_key, sca_challenge_key
from isthmus.write_models.payee_rows import is_trusted
from tests.api.banking import on_loop
from tests.api.conftest import Person, Served
from tests.api.test_payments import answer, code_of, funded, initiate

_CHECK = "result matchedName warning warnings resembles { name account }"
_ERRORS = "errors { __typename code message path ... on ScaRejected { attemptsLeft } }"
_PAYEE = "payee { id name account state trusted savedAt challenge { id purpose state dynamicLink { digest } } }"
CHECK = f"mutation($input: CheckPayeeInput!) {{ done: checkPayee(input: $input) {{ check {{ {_CHECK} }} {_ERRORS} }} }}"
ADD = f"mutation($input: AddPayeeInput!) {{ done: addPayee(input: $input) {{ replayed {_PAYEE} {_ERRORS} }} }}"
REMOVE = f"mutation($input: RemovePayeeInput!) {{ done: removePayee(input: $input) {{ {_PAYEE} {_ERRORS} }} }}"
ANSWER = f"""mutation($input: AnswerScaChallengeInput!) {{ done: answerScaChallenge(input: $input) {{ payment {{ id }}
    subject {{ __typename ... on SavedPayee {{ id state trusted }} }} {_ERRORS} }} }}"""
PAYEES = """query($first: Int! = 20, $after: String) { viewer { payees(first: $first, after: $after) {
    totalCount edges { node { id name account trusted } } pageInfo { hasNextPage endCursor } } } }"""
OF_PAYMENT = f"query($id: ID!) {{ node(id: $id) {{ ... on Payment {{ payeeCheck {{ {_CHECK} }} }} }} }}"
NOBODYS = "GB33BUKB20201555555555"


def check(person: Person, name: str, account: dict[str, str]) -> Any:
    return person.ask(CHECK, {"input": {"name": name, "account": account}})["done"]


def told(person: Person, payment: str) -> Any:
    return person.ask(OF_PAYMENT, {"id": payment})["node"]["payeeCheck"]


def add(person: Person, name: str = "Grace Hopper", iban: str = NOBODYS, key: str = "", **more: str) -> Any:
    wish = {"payee": {"name": name, "account": {"iban": iban}}, "idempotencyKey": key or uuid4().hex, **more}
    return person.ask(ADD, {"input": wish})["done"]


def save(served: Served, person: Person, name: str = "Grace Hopper") -> str:
    payee = add(person, name)["payee"]
    challenge = payee["challenge"]["id"]
    assert pass_(person, challenge, code_of(served, challenge))["errors"] == []
    return str(payee["id"])


def pass_(person: Person, challenge: str, code: str) -> Any:
    return person.ask(ANSWER, {"input": {"challengeId": challenge, "answer": {"oneTimeCode": code}}})["done"]


def remove(person: Person, payee: str) -> Any:
    return person.ask(REMOVE, {"input": {"payeeId": payee, "idempotencyKey": uuid4().hex}})["done"]


def run(served: Served, statement: str, *values: object) -> Any:
    async def execute() -> Any:
        connection = await asyncpg.connect(served.database_url)
        try:
            return await connection.fetchval(statement, *values)
        finally:
            await connection.close()

    return on_loop(served, execute())


def trusted(served: Served, person: Person, name: str, iban: str = NOBODYS) -> bool:
    """As the write side asks."""
    desk = served.app.state.running.services.payees
    account = payee_account(iban, None, None)
    assert isinstance(account, PayeeAccount)

    async def asked() -> bool:
        async with desk._pool.acquire() as connection, connection.transaction():
            return await is_trusted(connection, desk._texts, person.id, name, account)

    return bool(on_loop(served, asked()))


@pytest.fixture(scope="module")
def jos(served: Served) -> str:
    """The IBAN of an account of Jo Hartley's, at a bank of the sandbox."""
    assert served.banks is not None
    return str(served.banks.accounts("harbour")[0]["iban"])


@pytest.fixture(scope="module")
def payer(served: Served) -> Person:
    return Person(served)


def test_who_holds_an_account_is_told_before_one_pays_and_their_name_only_where_it_is_close(
    payer: Person, jos: str
) -> None:
    right = check(payer, "Jo Hartley", {"iban": jos})["check"]
    close = check(payer, "J Hartley", {"iban": jos})["check"]
    wrong = check(payer, "Max Power", {"iban": jos})["check"]
    nobodys = check(payer, "Jo Hartley", {"iban": NOBODYS})["check"]

    assert right == {"result": "MATCH", "matchedName": None, "warning": None, "warnings": [], "resembles": None}
    assert (close["result"], close["matchedName"]) == ("CLOSE_MATCH", "Jo Hartley")
    assert (wrong["result"], wrong["matchedName"]) == ("NO_MATCH", None)
    assert "You may pay all the same" in wrong["warning"]
    assert (nobodys["result"], nobodys["matchedName"]) == ("UNAVAILABLE", None)
    [error] = check(payer, "Jo Hartley", {"iban": "GB00"})["errors"]
    assert (error["code"], error["path"]) == ("PAYEE_ACCOUNT_INVALID", ["input", "account", "iban"])


def test_what_was_said_of_the_payee_stays_with_the_payment_and_forbids_nothing(
    served: Served, olga: Person, jos: str
) -> None:
    ada = Person(served)
    account = funded(ada, olga)
    paid = initiate(ada, account, payee={"name": "Max Power", "account": {"iban": jos}})["payment"]

    assert told(ada, paid["id"])["result"] == "NO_MATCH"
    done = answer(ada, paid["challenge"]["id"], code_of(served, paid["challenge"]["id"]))
    assert (done["errors"], done["payment"]["state"]) == ([], "AUTHORISED")

    near = initiate(ada, account, payee={"name": "Маx Power", "account": {"iban": NOBODYS}})["payment"]["id"]
    moved = initiate(ada, account, payee={"name": "Max Power", "account": {"iban": NOBODYS}})["payment"]["id"]
    again = initiate(ada, account, payee={"name": "Max Power", "account": {"iban": jos}})["payment"]["id"]

    known = {"name": "Max Power", "account": jos}
    looks = told(ada, near)
    assert (looks["warnings"], looks["resembles"]) == (["LOOKS_LIKE_ANOTHER_PAYEE", "MIXED_SCRIPTS"], known)
    assert (told(ada, moved)["warnings"], told(ada, moved)["resembles"]) == (["NEW_ACCOUNT_FOR_KNOWN_PAYEE"], known)
    assert told(ada, again)["warnings"] == []
    stored = run(served, "select string_agg(data::text, '') from event_store where type = 'PaymentPayeeChecked'")
    assert "NO_MATCH" in stored
    assert "Power" not in stored


def test_nobody_asks_for_ever_and_a_payment_does_not_wait_for_it(
    served: Served, olga: Person, jos: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = Person(served)
    account = funded(ada, olga)
    allowance = served.app.state.running.services.payees._allowance
    monkeypatch.setattr(allowance, "_per_minute", 1)
    assert check(ada, "Jo Hartley", {"iban": jos})["check"]["result"] == "MATCH"

    answered = ada.post(CHECK, {"input": {"name": "Jo Hartley", "account": {"iban": jos}}})
    refused = answered.json()
    paid = initiate(ada, account, payee={"name": "Jo Hartley", "account": {"iban": jos}})

    [error] = refused["errors"]
    assert error["extensions"]["code"] == "RATE_LIMITED"
    wait_ms = error["extensions"]["retryAfterMs"]
    assert wait_ms > 1_000
    assert 0 <= int(answered.headers["retry-after"]) * 1_000 - wait_ms < 1_000, "both say the same"
    assert (paid["errors"], told(ada, paid["payment"]["id"])["result"]) == ([], "UNAVAILABLE")


def test_a_payee_is_trusted_once_the_challenge_for_just_this_one_is_passed(served: Served, grace: Person) -> None:
    ada, key = Person(served), uuid4().hex
    begun = add(ada, key=key)["payee"]
    challenge = begun["challenge"]
    assert (begun["state"], begun["trusted"], challenge["purpose"]) == ("AWAITING_SCA", False, "PAYEE")
    assert (begun["name"], begun["account"], challenge["dynamicLink"]) == ("Grace Hopper", NOBODYS, None)
    assert not trusted(served, ada, "Grace Hopper")
    code = code_of(served, challenge["id"])
    assert [one["code"] for one in pass_(grace, challenge["id"], code)["errors"]] == ["SCA_REJECTED"]

    passed = pass_(ada, challenge["id"], code)

    assert (passed["errors"], passed["payment"]) == ([], None)
    assert passed["subject"] == {"__typename": "SavedPayee", "id": begun["id"], "state": "SAVED", "trusted": True}
    assert trusted(served, ada, "Grace Hopper")
    assert not trusted(served, ada, "Grace Hoppеr"), "a letter that only looks the same"
    assert not trusted(served, ada, "Grace Hopper", "GB29NWBK60161331926819")
    assert not trusted(served, grace, "Grace Hopper"), "another's"
    assert [one["code"] for one in add(ada)["errors"]] == ["PAYEE_EXISTS"]
    assert (add(ada, key=key)["replayed"], add(ada, key=key)["errors"]) == (True, []), "the first answer again"
    second = save(served, ada, "Bob Builder")
    page = ada.ask(PAYEES, {"first": 1})["viewer"]["payees"]
    rest = ada.ask(PAYEES, {"after": page["pageInfo"]["endCursor"]})["viewer"]["payees"]
    assert (page["totalCount"], page["pageInfo"]["hasNextPage"]) == (2, True)
    assert [edge["node"]["id"] for edge in page["edges"] + rest["edges"]] == [second, begun["id"]]

    removed = remove(ada, begun["id"])

    assert (removed["errors"], removed["payee"]["state"], removed["payee"]["trusted"]) == ([], "REMOVED", False)
    assert not trusted(served, ada, "Grace Hopper")
    assert [one["code"] for one in remove(grace, second)["errors"]] == ["PAYEE_NOT_FOUND"]


def test_a_payee_that_somebody_put_into_the_database_is_trusted_by_nobody(served: Served) -> None:
    ada = Person(served)
    payee = add(ada)["payee"]
    run(served, "update payees set state = 'SAVED' where id = $1", payee_key(payee["id"]))
    assert not trusted(served, ada, "Grace Hopper"), "its challenge is not passed"
    other = add(ada, "Bob Builder")["payee"]
    assert pass_(ada, other["challenge"]["id"], code_of(served, other["challenge"]["id"]))["errors"] == []

    swap = "update payees p set fingerprint = o.fingerprint, name = o.name from payees o where p.id = $1 and o.id = $2"
    run(served, swap, payee_key(other["id"]), payee_key(payee["id"]))
    assert not trusted(served, ada, "Grace Hopper"), "another's name under a challenge that was passed"

    borrow = "update payees set challenge_id = $2 where id = $1"
    run(served, borrow, payee_key(payee["id"]), sca_challenge_key(other["challenge"]["id"]))
    assert not trusted(served, ada, "Grace Hopper"), "another's challenge"


def test_of_an_erased_person_no_payee_is_left_to_read_to_find_or_to_trust(served: Served, olga: Person) -> None:
    ada = Person(served)
    payee = save(served, ada)
    key = "select key from payee_keys where owner = $1"
    before = run(served, key, ada.id)

    run(served, "delete from person_keys where person_id = $1", ada.id)

    assert not trusted(served, ada, "Grace Hopper")
    assert ada.ask(PAYEES)["viewer"]["payees"]["totalCount"] == 0
    assert ada.ask("query($id: ID!) { node(id: $id) { ... on SavedPayee { name account trusted } } }", {"id": payee})[
        "node"
    ] == {"name": None, "account": None, "trusted": False}
    assert (
        initiate(ada, funded(ada, olga), payee={"name": "Grace Hoppe", "account": {"iban": "DE89370400440532013000"}})[
            "errors"
        ]
        == []
    )
    save(served, ada)
    assert trusted(served, ada, "Grace Hopper"), "who comes back begins anew"
    assert run(served, key, ada.id) != before
