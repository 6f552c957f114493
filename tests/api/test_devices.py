"""Devices through the API: enrolled by a step-up of their own, and what they sign is bound to one challenge. Rows D2, D5 and D6."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from isthmus.auth.scopes import Role
from isthmus.domain.dynamic_link import Purpose
from isthmus.domain.identifiers import person_id
from isthmus.domain.sca_devices import signing_challenge
from isthmus.graphql.ids import device_key, sca_challenge_key
from tests.api.banking import on_loop
from tests.api.conftest import Person, Served
from tests.api.test_payments import IBAN, cancel, code_of, funded, initiate, shown, wrong
from tests.api.test_payments import answer as answer_by_code
from tests.authenticator import PRESENT, Authenticator, b64

_DEVICE = "device { id name state creationOptions enrolledAt lastUsedAt challenge { id purpose state __typename dynamicLink { digest } } }"
_ERRORS = "errors { __typename code message path ... on ScaRejected { attemptsLeft challengeState } ... on ScaBlocked { resetsAt } }"
BEGIN = f"mutation($input: BeginDeviceEnrolmentInput!) {{ done: beginDeviceEnrolment(input: $input) {{ {_DEVICE} {_ERRORS} }} }}"
COMPLETE = f"""mutation($input: CompleteDeviceEnrolmentInput!) {{
    done: completeDeviceEnrolment(input: $input) {{ {_DEVICE} {_ERRORS} }} }}"""
REMOVE = f"mutation($input: RemoveDeviceInput!) {{ done: removeDevice(input: $input) {{ {_DEVICE} {_ERRORS} }} }}"
ANSWER = f"""mutation($input: AnswerScaChallengeInput!) {{ done: answerScaChallenge(input: $input) {{ payment {{ id state }}
    challenge {{ id purpose state }} subject {{ __typename ... on Payment {{ id }} ... on Device {{ id state }} }} {_ERRORS} }} }}"""
DEVICES = "{ viewer { devices { id name state lastUsedAt } } }"


def begin(person: Person, name: str = "My phone", key: str = "") -> Any:
    return person.ask(BEGIN, {"input": {"name": name, "idempotencyKey": key or uuid4().hex}})["done"]


def complete(person: Person, device: str, credential: str, key: str = "") -> Any:
    wish = {"deviceId": device, "credential": credential, "idempotencyKey": key or uuid4().hex}
    return person.ask(COMPLETE, {"input": wish})["done"]


def remove(person: Person, device: str) -> Any:
    return person.ask(REMOVE, {"input": {"deviceId": device, "idempotencyKey": uuid4().hex}})["done"]


def answer(person: Person, challenge: str, **given: str) -> Any:
    return person.ask(ANSWER, {"input": {"challengeId": challenge, "answer": given}})["done"]


def sign(person: Person, challenge: Any, device: Authenticator) -> Any:
    return answer(person, challenge["id"], deviceAssertion=device.get(challenge["publicKeyOptions"]))


def enrol(served: Served, person: Person, device: Authenticator) -> str:
    begun = begin(person)["device"]
    passed = answer(person, begun["challenge"]["id"], oneTimeCode=code_of(served, begun["challenge"]["id"]))
    assert passed["errors"] == []
    done = complete(person, begun["id"], device.create(begun["creationOptions"]))
    assert done["errors"] == []
    return str(begun["id"])


def codes(done: Any) -> list[str]:
    return [error["code"] for error in done["errors"]]


def run(served: Served, statement: str, *values: object) -> Any:
    async def execute() -> Any:
        connection = await asyncpg.connect(served.database_url)
        try:
            return await connection.fetchval(statement, *values)
        finally:
            await connection.close()

    return on_loop(served, execute())


def events(served: Served, thing: str, kind: str) -> int:
    sql = "select count(*) from event_store where aggregate_id = $1 and type = $2"
    key = device_key(thing) if kind.startswith("Device") else sca_challenge_key(thing)
    return int(run(served, sql, key, kind))


@pytest.fixture(scope="module")
def payer(served: Served) -> tuple[Person, Person, str, Authenticator]:
    """(a payer, an operator, the payer's account, the payer's device), for tests that leave the count of wrong answers at nought."""
    ada, olga, device = Person(served), Person(served, Role.OPERATOR), Authenticator()
    account = funded(ada, olga, "1000.00")
    enrol(served, ada, device)
    return ada, olga, account, device


Payer = tuple[Person, Person, str, Authenticator]


def challenge_for(person: Person, account: str, amount: str = "1.00", **other: Any) -> Any:
    made = initiate(person, account, amount, **other)
    assert made["errors"] == []
    return made["payment"]["challenge"] | {"payment": made["payment"]["id"]}


def test_a_device_is_enrolled_after_a_challenge_of_its_own_and_then_signs_payments(
    served: Served, ada: Person, grace: Person, olga: Person
) -> None:
    begun = begin(ada)["device"]
    challenge = begun["challenge"]
    device = Authenticator()
    credential = device.create(begun["creationOptions"])
    assert (begun["state"], challenge["purpose"], challenge["state"]) == ("AWAITING_SCA", "DEVICE", "PENDING")
    assert (challenge["__typename"], challenge["dynamicLink"]) == ("OneTimeCodeChallenge", None)
    assert codes(complete(ada, begun["id"], credential)) == ["SCA_REQUIRED"]

    passed = answer(ada, challenge["id"], oneTimeCode=code_of(served, challenge["id"]))

    assert (passed["errors"], passed["payment"], passed["challenge"]["state"]) == ([], None, "PASSED")
    assert passed["subject"] == {"__typename": "Device", "id": begun["id"], "state": "AUTHORISED"}
    assert ada.ask(DEVICES)["viewer"]["devices"] == [], "it does not sign yet"

    done = complete(ada, begun["id"], credential)

    assert (done["errors"], done["device"]["state"], done["device"]["creationOptions"]) == ([], "ENROLLED", None)
    assert complete(ada, begun["id"], credential)["device"]["state"] == "ENROLLED", "the same once more is the same"
    other = Authenticator().create(begun["creationOptions"])
    assert codes(complete(ada, begun["id"], other)) == ["DEVICE_REFUSED"], "one step-up enrols one key"

    account = funded(ada, olga)
    paying = challenge_for(ada, account)
    asked = json.loads(paying["publicKeyOptions"])
    assert (paying["__typename"], asked["rpId"], asked["userVerification"]) == (
        "DeviceChallenge",
        "bank.example",
        "required",
    )
    assert [one["id"] for one in asked["allowCredentials"]] == [b64(device.credential)]
    signed = sign(ada, paying, device)
    assert (signed["errors"], signed["payment"]["state"]) == ([], "AUTHORISED")
    assert signed["subject"] == {"__typename": "Payment", "id": paying["payment"]}
    [listed] = ada.ask(DEVICES)["viewer"]["devices"]
    assert (listed["name"], listed["state"], listed["lastUsedAt"] is not None) == ("My phone", "ENROLLED", True)
    assert grace.ask(DEVICES)["viewer"]["devices"] == []


def test_d6_whoever_has_the_session_too_brings_no_key_of_their_own_for_what_somebody_else_began(
    served: Served, ada: Person
) -> None:
    """A thief with the same session finds the device in the audit trail, waits for the code to be answered, and is quicker."""
    begun = begin(ada)["device"]
    challenge = begun["challenge"]["id"]
    answer(ada, challenge, oneTimeCode=code_of(served, challenge))

    seen = ada.ask("query($id: ID!) { node(id: $id) { ... on Device { state creationOptions } } }", {"id": begun["id"]})
    digest = run(served, "select digest from sca_challenges where id = $1", sca_challenge_key(challenge))
    guessed = b64(signing_challenge(Purpose.DEVICE, digest, sca_challenge_key(challenge)))

    assert seen["node"] == {"state": "AUTHORISED", "creationOptions": None}
    thief = Authenticator().create(json.dumps({"challenge": guessed}))
    assert codes(complete(ada, begun["id"], thief)) == ["DEVICE_REFUSED"]
    assert complete(ada, begun["id"], Authenticator().create(begun["creationOptions"]))["errors"] == []


def test_a_person_with_a_device_may_ask_for_a_code_and_one_without_for_no_device(
    served: Served, grace: Person, olga: Person, payer: Payer
) -> None:
    ada, _, account, _ = payer
    by_code = challenge_for(ada, account, method="ONE_TIME_CODE")
    assert by_code["__typename"] == "OneTimeCodeChallenge"
    assert answer_by_code(ada, by_code["id"], code_of(served, by_code["id"]))["errors"] == []

    theirs = funded(grace, olga)
    assert codes(initiate(grace, theirs, method="DEVICE")) == ["SCA_METHOD_UNAVAILABLE"]


def test_a_removed_device_signs_nothing_more_and_is_shown_to_its_owner_alone(
    served: Served, ada: Person, grace: Person, olga: Person
) -> None:
    device, account = Authenticator(), funded(ada, olga)
    mine = enrol(served, ada, device)
    asked = challenge_for(ada, account)
    node = "query($id: ID!) { node(id: $id) { ... on Device { id name state } } }"

    assert codes(remove(grace, mine)) == ["DEVICE_NOT_FOUND"]
    assert grace.ask(node, {"id": mine})["node"] is None
    assert codes(complete(grace, mine, device.create(asked["publicKeyOptions"]))) == ["DEVICE_NOT_FOUND"]
    assert ada.ask(node, {"id": mine})["node"] == {"id": mine, "name": "My phone", "state": "ENROLLED"}

    assert remove(ada, mine)["device"]["state"] == "REMOVED"
    assert remove(ada, mine)["device"]["state"] == "REMOVED"
    assert codes(sign(ada, asked, device)) == ["SCA_REJECTED"]
    assert ada.ask(DEVICES)["viewer"]["devices"] == []
    assert challenge_for(ada, account)["__typename"] == "OneTimeCodeChallenge", "codes are what is left"
    again = begin(ada)["device"]
    answer(ada, again["challenge"]["id"], oneTimeCode=code_of(served, again["challenge"]["id"]))
    back = complete(ada, again["id"], device.create(again["creationOptions"]))
    assert codes(back) == ["DEVICE_REFUSED"], "a key that was known once is never taken for another device"


def test_d2_what_is_signed_for_one_challenge_answers_no_other(served: Served, payer: Payer) -> None:
    ada, _, account, device = payer
    one, other = challenge_for(ada, account, "1.00"), challenge_for(ada, account, "2.00")
    for_one = device.get(one["publicKeyOptions"])

    assert codes(answer(ada, other["id"], deviceAssertion=for_one)) == ["SCA_REJECTED"]
    assert shown(ada, other["payment"])["state"] == "AWAITING_SCA"
    assert answer(ada, one["id"], deviceAssertion=for_one)["errors"] == []


def test_d2_the_same_assertion_again_is_refused_also_from_a_device_that_never_counts(
    served: Served, ada: Person, olga: Person
) -> None:
    device = Authenticator(step=0)
    enrol(served, ada, device)
    asked = challenge_for(ada, funded(ada, olga))
    assertion = device.get(asked["publicKeyOptions"])

    assert answer(ada, asked["id"], deviceAssertion=assertion)["errors"] == []
    again = answer(ada, asked["id"], deviceAssertion=assertion)["errors"][0]

    assert (again["code"], again["challengeState"], again["attemptsLeft"]) == ("SCA_REJECTED", "PASSED", 0)


@pytest.mark.parametrize("step", [0, 1])
def test_d2_fifty_right_answers_at_once_pass_once(served: Served, olga: Person, step: int) -> None:
    ada, device = Person(served), Authenticator(step=step)
    mine = enrol(served, ada, device)
    asked = challenge_for(ada, funded(ada, olga))
    assertion = device.get(asked["publicKeyOptions"])

    with ThreadPoolExecutor(16) as at_once:
        answers = list(
            at_once.map(lambda _: answer(ada, asked["id"], deviceAssertion=assertion)["errors"] == [], range(50))
        )

    assert (sum(answers), events(served, mine, "DeviceUsed")) == (1, 1)


def test_d6_a_copy_that_counts_the_same_signs_for_one_of_four_challenges_at_once(served: Served, olga: Person) -> None:
    ada, device = Person(served), Authenticator()
    mine, account = enrol(served, ada, device), funded(ada, olga)
    asked = [challenge_for(ada, account) for _ in range(4)]
    signed = [(one["id"], replace(device).get(one["publicKeyOptions"])) for one in asked]

    with ThreadPoolExecutor(4) as at_once:
        answers = list(at_once.map(lambda one: answer(ada, one[0], deviceAssertion=one[1])["errors"] == [], signed))

    assert (sum(answers), events(served, mine, "DeviceUsed")) == (1, 1)


@pytest.mark.parametrize(
    "how",
    [
        {"origin": "https://evil.example"},
        {"rp_id": "evil.example"},
        {"flags": PRESENT},
        {"counter": 0},
        {"user_handle": b64(uuid4().bytes)},
        {"credential": b"\x00" * 32},
        {"key": Authenticator().key},
    ],
    ids=["origin", "rpId", "UV=0", "counter back", "other person's handle", "unknown credential", "other key"],
)
def test_d6_a_wrong_assertion_is_refused_counted_and_told_as_any_wrong_answer(
    served: Served, payer: Payer, how: dict[str, Any]
) -> None:
    ada, _, account, device = payer
    if device.counter == 0:
        assert sign(ada, challenge_for(ada, account), device)["errors"] == []
    asked = challenge_for(ada, account)

    refused = sign(ada, asked, replace(device, **how))["errors"]

    assert [(one["code"], one["message"], one["attemptsLeft"]) for one in refused] == [
        ("SCA_REJECTED", "The answer is not accepted.", 4)
    ]
    assert shown(ada, asked["payment"])["state"] == "AWAITING_SCA"
    assert sign(ada, asked, device)["errors"] == [], "the right one still passes, and the count begins anew"


def test_d6_another_persons_credential_answers_nothing(served: Served, grace: Person, payer: Payer) -> None:
    ada, _, account, _ = payer
    theirs = Authenticator()
    enrol(served, grace, theirs)
    asked = challenge_for(ada, account)

    assert codes(sign(ada, asked, theirs)) == ["SCA_REJECTED"], "signed by another's device"
    assert codes(sign(grace, asked, theirs)) == ["SCA_REJECTED"], "and answered by that other"
    assert cancel(ada, asked["payment"])["errors"] == []


def test_d6_a_credential_belongs_to_one_person(served: Served, grace: Person, payer: Payer) -> None:
    _, _, _, device = payer
    begun = begin(grace)["device"]
    assert (
        answer(grace, begun["challenge"]["id"], oneTimeCode=code_of(served, begun["challenge"]["id"]))["errors"] == []
    )

    assert codes(complete(grace, begun["id"], device.create(begun["creationOptions"]))) == ["DEVICE_REFUSED"]


def test_d5_a_challenge_for_a_device_pays_nothing_and_one_for_a_payment_enrols_nothing(
    served: Served, payer: Payer
) -> None:
    ada, _, account, device = payer
    begun = begin(ada)["device"]
    stepping = begun["challenge"]["id"]
    paying = challenge_for(ada, account, method="ONE_TIME_CODE")
    for_device, for_payment = code_of(served, stepping), code_of(served, paying["id"])

    assert codes(answer(ada, paying["id"], oneTimeCode=for_device)) == ["SCA_REJECTED"]
    assert codes(answer(ada, stepping, oneTimeCode=for_payment)) == ["SCA_REJECTED"]
    assert codes(answer(ada, stepping, deviceAssertion=device.get(begun["creationOptions"]))) == ["SCA_REJECTED"], (
        "a device does not vouch for the next"
    )
    assert answer(ada, paying["id"], oneTimeCode=for_payment)["subject"]["__typename"] == "Payment"
    assert codes(complete(ada, begun["id"], Authenticator().create(begun["creationOptions"]))) == ["SCA_REQUIRED"], (
        "the payment's answer was not the device's"
    )


def test_d1_a_device_that_was_changed_in_the_database_after_its_challenge_is_not_enrolled(
    served: Served, ada: Person, grace: Person
) -> None:
    another = begin(grace, "Another name")["device"]
    begun = begin(ada)["device"]
    answer(ada, begun["challenge"]["id"], oneTimeCode=code_of(served, begun["challenge"]["id"]))
    for change in (
        "update sca_devices set name = (select name from sca_devices where id = $2) where id = $1",
        "update sca_devices set digest = (select digest from sca_devices where id = $2) where id = $1",
    ):
        run(served, change, device_key(begun["id"]), device_key(another["id"]))
        credential = Authenticator().create(begun["creationOptions"])
        assert codes(complete(ada, begun["id"], credential)) == ["DEVICE_REFUSED"]

    assert ada.ask(DEVICES)["viewer"]["devices"] == []


def test_d1_what_a_device_signs_after_its_challenge_was_changed_in_the_database_is_refused(
    served: Served, payer: Payer
) -> None:
    ada, _, account, device = payer
    asked = challenge_for(ada, account)
    change = "update sca_challenges set digest = repeat('0', 64) where id = $1"
    run(served, change, sca_challenge_key(asked["id"]))
    shown_again = shown(ada, asked["payment"])["challenge"]

    assert shown_again["publicKeyOptions"] == asked["publicKeyOptions"], "what it is bound to is read in the log"
    for options in (asked, shown_again):
        assert codes(sign(ada, options, device)) == ["SCA_REJECTED"]
    assert shown(ada, asked["payment"])["state"] == "AWAITING_SCA"
    assert events(served, asked["id"], "ScaAnsweredWrongly") == 0, "nobody is blocked for what somebody else changed"


def test_d6_whose_key_was_put_into_the_database_signs_nothing(served: Served, grace: Person, payer: Payer) -> None:
    ada, _, account, device = payer
    theirs = Authenticator()
    key = run(served, "select public_key from sca_devices where id = $1", device_key(enrol(served, grace, theirs)))
    challenge = challenge_for(ada, account)
    run(served, "update sca_devices set public_key = $2 where credential_id = $1", b64(device.credential), key)

    thief = Authenticator(key=theirs.key, credential=device.credential, counter=device.counter + 10)

    assert codes(sign(ada, challenge, thief)) == ["SCA_REJECTED"]
    assert sign(ada, challenge, device)["errors"] == []


def test_wrong_answers_for_a_device_block_payments_too(served: Served, olga: Person) -> None:
    ada = Person(served)
    account = funded(ada, olga)
    begun = begin(ada)["device"]["challenge"]["id"]
    for _ in range(5):
        answer(ada, begun, oneTimeCode=wrong(code_of(served, begun)))

    assert codes(initiate(ada, account)) == ["SCA_BLOCKED"]
    (blocked,) = begin(ada)["errors"]
    until = run(served, "select blocked_until from sca_guards where owner = $1", ada.id)
    assert (blocked["code"], datetime.fromisoformat(blocked["resetsAt"])) == ("SCA_BLOCKED", until)


@pytest.mark.parametrize(
    ("name", "code"), [("", "INVALID_INPUT"), ("x" * 41, "INVALID_INPUT"), ("\x00", "INVALID_INPUT")]
)
def test_a_name_that_is_none_is_refused(ada: Person, name: str, code: str) -> None:
    assert codes(begin(ada, name)) == [code]


def test_the_same_wish_again_is_the_same_device(ada: Person) -> None:
    key = uuid4().hex
    first, again = begin(ada, key=key)["device"], begin(ada, key=key)["device"]

    assert (again["id"], again["creationOptions"]) == (first["id"], first["creationOptions"])
    assert codes(begin(ada, "Another", key=key)) == ["IDEMPOTENCY_KEY_REUSED"]


def test_a_platform_without_a_host_of_its_own_offers_no_devices(production: Served) -> None:
    desk = production.app.state.running.services.devices
    assert desk.authenticators is None


def test_a_device_of_an_erased_person_stops_and_stays_so_when_they_come_back(
    served: Served, ada: Person, olga: Person
) -> None:
    device, account = Authenticator(), funded(ada, olga)
    enrol(served, ada, device)
    asked = challenge_for(ada, account)

    run(served, "delete from person_keys where person_id = $1", person_id("test", ada.subject))

    assert codes(sign(ada, asked, device)) == ["SCA_REJECTED"]
    ada.open(name="back again")
    assert codes(sign(ada, asked, device)) == ["SCA_REJECTED"]
    assert ada.ask(DEVICES)["viewer"]["devices"] == []
    assert challenge_for(ada, account)["__typename"] == "OneTimeCodeChallenge"


def test_an_operator_who_judges_a_signed_payment_sees_nothing_of_the_payers_devices(payer: Payer) -> None:
    ada, olga, account, device = payer
    asked = challenge_for(ada, account, payee={"name": "M. Vane", "account": {"iban": IBAN}})
    signed = sign(ada, asked, device)
    assert (signed["payment"]["state"], signed["challenge"]["state"]) == ("AWAITING_SCA", "PASSED")
    seen = """{ paymentsForReview(first: 200) { edges { node { payment { id challenge {
        ... on DeviceChallenge { publicKeyOptions } } } } } } }"""

    judged = [edge["node"]["payment"] for edge in olga.ask(seen)["paymentsForReview"]["edges"]]

    [shown_to_her] = [
        json.loads(one["challenge"]["publicKeyOptions"]) for one in judged if one["id"] == asked["payment"]
    ]
    assert (shown_to_her["challenge"], shown_to_her["allowCredentials"]) == (
        json.loads(asked["publicKeyOptions"])["challenge"],
        [],
    )
