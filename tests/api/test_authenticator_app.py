"""The authenticator app through the API: enrolled, asked where there is no device, each code once. Rows D2 to D4."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import pytest

from isthmus.domain.clock import SettableClock
from isthmus.graphql.ids import payment_key
from isthmus.write_models.totp import code_at, step_at
from tests.api.conftest import Person, Served
from tests.api.test_devices import codes, enrol, run
from tests.api.test_payments import IBAN, code_of, funded, initiate, shown, wrong
from tests.authenticator import Authenticator

_APP = "app { state enrolledAt lastUsedAt challenge { id purpose state __typename } } errors { code message path }"
BEGIN = f"mutation($input: BeginAuthenticatorAppInput!) {{ done: beginAuthenticatorApp(input: $input) {{ otpauthUri {_APP} }} }}"
COMPLETE = (
    f"mutation($input: CompleteAuthenticatorAppInput!) {{ done: completeAuthenticatorApp(input: $input) {{ {_APP} }} }}"
)
REMOVE = (
    f"mutation($input: RemoveAuthenticatorAppInput!) {{ done: removeAuthenticatorApp(input: $input) {{ {_APP} }} }}"
)
ANSWER = """mutation($input: AnswerScaChallengeInput!) { done: answerScaChallenge(input: $input) { payment { state }
    subject { __typename ... on AuthenticatorApp { state } } errors { code message ... on ScaRejected { attemptsLeft } } } }"""


class App:
    """A telephone that shows codes. Its clock, and the platform's for them, stands still until it is told to go on."""

    def __init__(self, clock: SettableClock) -> None:
        self.clock = clock
        self.secret = ""

    def reads(self, uri: str) -> None:
        self.secret = parse_qs(urlsplit(uri).query)["secret"][0]

    def code(self) -> str:
        """The next one, that was never shown before."""
        self.clock.advance(timedelta(seconds=30))
        return code_at(self.secret, step_at(self.clock.now()))


@pytest.fixture
def app(served: Served, monkeypatch: pytest.MonkeyPatch) -> App:
    clock, services = SettableClock(datetime.now(UTC)), served.app.state.running.services
    monkeypatch.setattr(services.apps, "_clock", clock)
    monkeypatch.setattr(services.sca, "_clock", clock)
    return App(clock)


def wish(person: Person, document: str, **more: str) -> Any:
    return person.ask(document, {"input": {"idempotencyKey": uuid4().hex, **more}})["done"]


def answer(person: Person, challenge: str, **given: str) -> Any:
    return person.ask(ANSWER, {"input": {"challengeId": challenge, "answer": given}})["done"]


def enrolled(served: Served, person: Person, app: App) -> None:
    begun = wish(person, BEGIN)
    app.reads(begun["otpauthUri"])
    challenge = begun["app"]["challenge"]["id"]
    assert answer(person, challenge, oneTimeCode=code_of(served, challenge))["errors"] == []
    assert wish(person, COMPLETE, code=app.code())["errors"] == []


def test_an_app_is_enrolled_by_a_code_that_is_sent_and_one_that_it_shows(
    served: Served, ada: Person, grace: Person, app: App
) -> None:
    key = uuid4().hex
    begun = wish(ada, BEGIN, idempotencyKey=key)
    challenge = begun["app"]["challenge"]
    assert (begun["app"]["state"], challenge["purpose"], challenge["__typename"]) == (
        "AWAITING_SCA",
        "AUTHENTICATOR",
        "OneTimeCodeChallenge",
    )
    assert wish(ada, BEGIN, idempotencyKey=key)["otpauthUri"] is None, "its secret is shown once"
    app.reads(begun["otpauthUri"])
    assert codes(wish(ada, COMPLETE, code=app.code())) == ["SCA_REQUIRED"]
    assert codes(wish(grace, COMPLETE, code=app.code())) == ["DEVICE_NOT_FOUND"]

    passed = answer(ada, challenge["id"], oneTimeCode=code_of(served, challenge["id"]))
    assert passed["subject"] == {"__typename": "AuthenticatorApp", "state": "AUTHORISED"}
    assert codes(wish(ada, COMPLETE, code=wrong(app.code()))) == ["DEVICE_REFUSED"]
    assert wish(ada, COMPLETE, code=app.code())["app"]["state"] == "ENROLLED"

    assert codes(wish(ada, BEGIN)) == ["TOO_MANY_DEVICES"]
    assert grace.ask("{ viewer { authenticatorApp { state } } }")["viewer"]["authenticatorApp"] is None
    sealed = run(served, "select secret from sca_apps where owner = $1", ada.id)
    assert app.secret not in run(
        served, "select string_agg(e::text, ' ') from event_store e where metadata::text like $1", f"%{ada.id}%"
    )
    assert sealed.startswith("sealed:v1:")


def test_who_has_an_app_is_asked_for_its_code_beside_what_it_is_for_and_it_counts_once(
    served: Served, ada: Person, olga: Person, app: App
) -> None:
    account = funded(ada, olga)
    enrolled(served, ada, app)
    first, second = initiate(ada, account, "1.00")["payment"], initiate(ada, account, "2.00")["payment"]
    challenge = first["challenge"]
    assert (challenge["__typename"], challenge["dynamicLink"]["payeeName"]) == ("TotpChallenge", "Bob Builder")
    assert challenge["dynamicLink"]["amount"] == {"amount": "1.00", "asset": "EUR"}
    code = app.code()

    assert answer(ada, challenge["id"], totp=code)["payment"]["state"] == "AUTHORISED"
    again = answer(ada, second["challenge"]["id"], totp=code)

    assert codes(again) == ["SCA_REJECTED"]
    assert shown(ada, second["id"])["state"] == "AWAITING_SCA"
    assert answer(ada, second["challenge"]["id"], totp=app.code())["errors"] == []
    assert ada.ask("{ viewer { authenticatorApp { lastUsedAt } } }")["viewer"]["authenticatorApp"]["lastUsedAt"]


def test_d2_a_secret_that_was_put_into_the_database_shows_no_code(
    served: Served, ada: Person, olga: Person, app: App
) -> None:
    account = funded(ada, olga)
    enrolled(served, ada, app)
    known = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
    payee = {"name": known, "account": {"iban": IBAN}}  # whatever a person writes is sealed by the same key
    payment = initiate(ada, account, "1.00", payee=payee)["payment"]
    copied = "update sca_apps a set secret = p.payee_name from payments p where p.id = $1 and a.owner = p.owner"
    run(served, copied, payment_key(payment["id"]))

    thief = App(app.clock)
    thief.secret = known

    assert codes(answer(ada, payment["challenge"]["id"], totp=thief.code())) == ["SCA_REJECTED"]
    assert answer(ada, payment["challenge"]["id"], totp=app.code())["errors"] == []


def test_d2_one_code_for_many_challenges_at_once_passes_one(
    served: Served, ada: Person, olga: Person, app: App
) -> None:
    account = funded(ada, olga)
    enrolled(served, ada, app)
    challenges = [initiate(ada, account, "1.00")["payment"]["challenge"]["id"] for _ in range(5)]
    code = app.code()

    with ThreadPoolExecutor(5) as at_once:
        answers = list(at_once.map(lambda challenge: answer(ada, challenge, totp=code), challenges))

    assert sum(one["errors"] == [] for one in answers) == 1


def test_d3_wrong_codes_of_an_app_are_counted_with_all_others_and_nothing_says_what_was_wrong(
    served: Served, ada: Person, olga: Person, app: App
) -> None:
    account = funded(ada, olga)
    enrolled(served, ada, app)
    by_app = initiate(ada, account, "1.00")["payment"]["challenge"]["id"]
    by_code = initiate(ada, account, "1.00", method="ONE_TIME_CODE")["payment"]["challenge"]["id"]

    told = [
        answer(ada, by_app, totp=wrong(app.code())),
        answer(ada, by_app, oneTimeCode=code_of(served, by_app)),
        answer(ada, by_code, totp=app.code()),
        answer(ada, by_code, oneTimeCode=wrong(code_of(served, by_code))),
        answer(ada, by_app, totp=""),
    ]

    assert [one["errors"][0]["attemptsLeft"] for one in told] == [4, 3, 2, 1, 0]
    assert {one["errors"][0]["message"] for one in told} == {"The answer is not accepted."}
    assert codes(answer(ada, by_app, totp=app.code())) == ["SCA_REJECTED"], "not even the right one any more"


def test_a_device_comes_before_an_app_and_a_removed_app_is_asked_no_more(
    served: Served, ada: Person, grace: Person, olga: Person, app: App
) -> None:
    account = funded(ada, olga)
    enrolled(served, ada, app)
    enrol(served, ada, Authenticator())

    def asked(**other: str) -> str:
        return str(initiate(ada, account, "1.00", **other)["payment"]["challenge"]["__typename"])

    assert (asked(), asked(method="TOTP")) == ("DeviceChallenge", "TotpChallenge")
    assert wish(ada, REMOVE)["app"]["state"] == "REMOVED"
    assert codes(initiate(ada, account, "1.00", method="TOTP")) == ["SCA_METHOD_UNAVAILABLE"]
    assert codes(wish(grace, REMOVE)) == ["DEVICE_NOT_FOUND"]
