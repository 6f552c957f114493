"""Step-ups through the API: API keys and limits ask for challenges of their own purpose. Rows D2, D4 and D5."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from tests.api.api_key_calls import begin, confirm, create, listed, program, revoke
from tests.api.conftest import Person, Served
from tests.api.test_batches import initiate as initiate_batch
from tests.api.test_batches import line
from tests.api.test_devices import begin as begin_device
from tests.api.test_devices import codes, enrol, events
from tests.api.test_devices import remove as remove_device
from tests.api.test_payees import add
from tests.api.test_payments import IBAN, code_of, funded, initiate, shown, wrong
from tests.authenticator import Authenticator

ANSWER = """mutation($input: AnswerScaChallengeInput!) { done: answerScaChallenge(input: $input) { payment { id }
    challenge { purpose state } errors { code message path ... on ScaRejected { attemptsLeft challengeState } }
    subject { __typename ... on ApiKey { id status }
        ... on PersonalLimit { limit { perDay { amount } } asked { perDay { amount } } } } } }"""
_LIMIT = (
    "asset limit { perPayment { amount } perDay { amount } } asked { perDay { amount } } challenge { id purpose state }"
)
CHANGE = f"""mutation($input: ChangeLimitInput!) {{ done: changeLimit(input: $input) {{ replayed limit {{ {_LIMIT} }}
    errors {{ code path }} }} }}"""


def answer(person: Person, challenge: str, **given: str) -> Any:
    return person.ask(ANSWER, {"input": {"challengeId": challenge, "answer": given}})["done"]


def change(person: Person, per_payment: str, per_day: str, **more: str) -> Any:
    wish = {"asset": "EUR", "perPayment": per_payment, "perDay": per_day, "idempotencyKey": uuid4().hex, **more}
    return person.ask(CHANGE, {"input": wish})["done"]


def works(served: Served, person: Person, secret: str) -> bool:
    return program(served, person, secret).post("{ viewer { id } }").status_code == 200


def test_a_key_works_once_its_challenge_is_answered_and_not_before(served: Served, ada: Person) -> None:
    made = begin(ada)
    key, challenge = made["apiKey"], made["apiKey"]["challenge"]
    assert (key["status"], challenge["purpose"], challenge["state"]) == ("AWAITING_SCA", "API_KEY", "PENDING")
    assert not works(served, ada, made["secret"])
    code = code_of(served, challenge["id"])
    assert codes(answer(ada, challenge["id"], oneTimeCode=wrong(code))) == ["SCA_REJECTED"]
    assert not works(served, ada, made["secret"])

    done = answer(ada, challenge["id"], oneTimeCode=code)

    assert (done["errors"], done["payment"]) == ([], None)
    assert done["subject"] == {"__typename": "ApiKey", "id": key["id"], "status": "ACTIVE"}
    assert works(served, ada, made["secret"])
    [shown_key] = [edge["node"] for edge in listed(ada)["edges"]]
    assert shown_key["status"] == "ACTIVE"


def test_a_key_that_was_revoked_before_it_was_answered_for_never_works(served: Served, ada: Person) -> None:
    made = begin(ada)
    revoke(ada, made["apiKey"]["id"])

    assert confirm(ada, made["apiKey"]["challenge"]["id"])["errors"][0]["code"] == "SCA_REJECTED"
    assert not works(served, ada, made["secret"])


def test_d5_an_answer_for_one_purpose_is_of_no_use_for_another_and_equal_words_say_so(
    served: Served, ada: Person, olga: Person
) -> None:
    account = funded(ada, olga)
    change(ada, "100", "200")
    payment = initiate(ada, account)["payment"]
    key = begin(ada)
    raising = change(ada, "100", "300")["limit"]["challenge"]
    waiting = {
        "payment": payment["challenge"]["id"],
        "key": key["apiKey"]["challenge"]["id"],
        "limit": raising["id"],
    }
    right = {name: code_of(served, challenge) for name, challenge in waiting.items()}
    # The others' codes, which differ from its own but for one time in a million.
    tried = [("payment", "key"), ("key", "limit"), ("limit", "payment")]

    told = [answer(ada, waiting[name], oneTimeCode=right[other])["errors"][0] for name, other in tried]

    assert {(error["code"], error["message"], error["challengeState"]) for error in told} == {
        ("SCA_REJECTED", "The answer is not accepted.", "PENDING")
    }
    assert [error["attemptsLeft"] for error in told] == [4, 3, 2]
    assert shown(ada, payment["id"])["state"] == "AWAITING_SCA"
    assert not works(served, ada, key["secret"])
    for name, challenge in waiting.items():
        assert answer(ada, challenge, oneTimeCode=right[name])["errors"] == [], name


def test_d2_what_a_device_signed_for_a_key_authorises_no_payment(served: Served, ada: Person, olga: Person) -> None:
    device, account = Authenticator(), funded(ada, olga)
    enrol(served, ada, device)
    key = begin(ada)["apiKey"]
    asked = ada.ask(
        "query($id: ID!) { node(id: $id) { ... on ApiKey { challenge { id ... on DeviceChallenge { publicKeyOptions } } } } }",
        {"id": key["id"]},
    )["node"]["challenge"]
    signed = device.get(asked["publicKeyOptions"])
    paying = initiate(ada, account)["payment"]["challenge"]["id"]

    assert codes(answer(ada, paying, deviceAssertion=signed)) == ["SCA_REJECTED"]
    assert answer(ada, asked["id"], deviceAssertion=signed)["subject"]["status"] == "ACTIVE"
    assert events(served, asked["id"], "ScaPassed") == 1


def test_whoever_has_not_their_device_at_hand_asks_for_a_code(served: Served, ada: Person) -> None:
    device = enrol(served, ada, Authenticator())
    code: dict[str, Any] = {"method": "ONE_TIME_CODE"}
    change(ada, "100", "200")
    asked = {
        "SavedPayee": add(ada, **code)["payee"],
        "ApiKey": begin(ada, **code)["apiKey"],
        "PersonalLimit": change(ada, "100", "300", **code)["limit"],
    }
    for subject, one in asked.items():
        challenge = one["challenge"]["id"]
        done = answer(ada, challenge, oneTimeCode=code_of(served, challenge))
        assert (done["errors"], done["subject"]["__typename"]) == ([], subject)
    by_device = add(ada, name="Maria", key=(again := uuid4().hex), method="DEVICE")
    assert by_device["errors"] == []

    remove_device(ada, device)

    assert add(ada, name="Maria", key=again, method="DEVICE")["payee"] == by_device["payee"], "as it was answered"
    assert codes(add(ada, name="Edsger", method="DEVICE")) == ["SCA_METHOD_UNAVAILABLE"]
    assert codes(begin(ada, method="DEVICE")) == codes(change(ada, "100", "400", method="TOTP"))
    assert codes(change(ada, "100", "400", method="DEVICE")) == ["SCA_METHOD_UNAVAILABLE"]


def test_a_limit_is_lowered_at_once_and_raised_after_an_answer(served: Served, ada: Person, olga: Person) -> None:
    account = funded(ada, olga, "500.00")
    lower = change(ada, "50", "60")
    assert (lower["errors"], lower["limit"]["challenge"], lower["limit"]["asked"]) == ([], None, None)
    assert codes(initiate(ada, account, "50.01")) == ["LIMIT_EXCEEDED"]

    asked = change(ada, "100", "200")["limit"]
    assert (asked["limit"]["perDay"], asked["asked"]["perDay"]) == ({"amount": "60.00"}, {"amount": "200.00"})
    assert asked["challenge"]["purpose"] == "LIMIT"
    assert codes(initiate(ada, account, "50.01")) == ["LIMIT_EXCEEDED"], "not yet"
    challenge = asked["challenge"]["id"]
    done = answer(ada, challenge, oneTimeCode=code_of(served, challenge))

    assert done["subject"] == {
        "__typename": "PersonalLimit",
        "limit": {"perDay": {"amount": "200.00"}},
        "asked": None,
    }
    assert done["challenge"] == {"purpose": "LIMIT", "state": "PASSED"}
    assert initiate(ada, account, "50.01")["errors"] == []
    [mine] = ada.ask(f"{{ viewer {{ limits {{ {_LIMIT} }} }} }}")["viewer"]["limits"]
    assert (mine["asset"], mine["limit"]["perPayment"]["amount"]) == ("EUR", "100.00")
    assert codes(change(ada, "25000.01", "50000")) == ["INVALID_INPUT"]


def test_no_key_changes_a_limit(served: Served, ada: Person) -> None:
    shop = program(served, ada, create(ada, scopes=("READ", "WRITE"))["secret"])

    wish = {"asset": "EUR", "perPayment": "1", "perDay": "1", "idempotencyKey": uuid4().hex}
    refused = shop.post(CHANGE, {"input": wish}).json()

    assert refused["errors"][0]["extensions"]["code"] == "FORBIDDEN"


def test_what_is_shown_to_whoever_authorises_hides_nothing_that_stands_beside_it(ada: Person, olga: Person) -> None:
    """The message with the code has the payee's name before their account: whoever took over a session would write the rest of it."""
    account, turned = funded(ada, olga), "Bob\u202e"
    payee = {"name": turned, "account": {"iban": IBAN}}
    tried = [
        initiate(ada, account, payee=payee),
        initiate(ada, account, reference="Rent\n"),
        initiate_batch(ada, account, line("1.00", turned)),
        begin(ada, turned),
        begin_device(ada, turned),
        add(ada, turned),
    ]

    assert [codes(one) for one in tried] == [["INVALID_INPUT"]] * 6
