"""Yapily's payments, as an app asks for them over HTTP: authorised in every way there is, made once, and told of."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import httpx
import pytest

from isthmus.sandbox.yapily_payments import STATUSES
from isthmus.sandbox.yapily_sca import CODE
from tests.sandbox.running import REDIRECT, Inbox, Sandbox
from tests.sandbox.test_yapily_data import ask, come_back, linked, status

BOB = {
    "name": "Bob",
    "accountIdentifications": [
        {"type": "SORT_CODE", "identification": "112233"},
        {"type": "ACCOUNT_NUMBER", "identification": "12345678"},
    ],
}
NO_IBAN = [{"type": "IBAN", "identification": "GB00HARB20000012345678"}]
EMBEDDED = "embedded-payment-auth-requests"
JO = {"id": "jo", "password": "sandbox"}


def wish(**other: Any) -> dict[str, Any]:
    return {
        "type": "DOMESTIC_PAYMENT",
        "paymentIdempotencyId": "p-1",
        "amount": {"amount": 12.34, "currency": "GBP"},
        "payee": BOB,
        "reference": "Rent",
    } | other


def pounds(amount: Any) -> dict[str, Any]:
    return {"amount": {"amount": amount, "currency": "GBP"}}


def request(payment: dict[str, Any], **other: Any) -> dict[str, Any]:
    basis = {"applicationUserId": "u-1", "institutionId": "harbour-sandbox", "paymentRequest": payment}
    return {**basis, "callback": REDIRECT, "oneTimeToken": True} | other


def begin(sandbox: Sandbox, payment: dict[str, Any], path: str = "payment-auth-requests", **other: Any) -> Any:
    answer = ask(sandbox, "POST", path, json=request(payment, **other))
    assert answer.status_code == 201, answer.text
    return answer.json()["data"]


def authorised(sandbox: Sandbox, payment: dict[str, Any]) -> tuple[str, str]:
    """(consent id, consent token)."""
    begun = begin(sandbox, payment)
    once = come_back(sandbox, begun["authorisationUrl"])["one-time-token"]
    exchanged = ask(sandbox, "POST", "consent-one-time-token", json={"oneTimeToken": once})
    return begun["id"], exchanged.json()["consentToken"]


def create(sandbox: Sandbox, token: str, payment: dict[str, Any]) -> httpx.Response:
    return ask(sandbox, "POST", "payments", token, json=payment)


def made(sandbox: Sandbox, token: str, payment: dict[str, Any]) -> str:
    answer = create(sandbox, token, payment)
    assert (answer.status_code, answer.json()["data"]["status"]) == (201, "PENDING"), answer.text
    payment_id: str = answer.json()["data"]["id"]
    return payment_id


def details(sandbox: Sandbox, token: str, payment: str) -> Any:
    answer = ask(sandbox, "GET", f"payments/{payment}/details", token)
    assert answer.status_code == 200, answer.text
    (shown,) = answer.json()["data"]["payments"]
    return shown


def booked(sandbox: Sandbox) -> Decimal:
    return sum((Decimal(one["transferred"]) for one in sandbox.accounts("harbour")), Decimal(0))


def go_on(sandbox: Sandbox, consent: str, **body: Any) -> httpx.Response:
    return ask(sandbox, "PUT", f"{EMBEDDED}/{consent}", json=body)


def test_a_payment_is_authorised_at_the_bank_made_once_and_completed(telling: Sandbox, inbox: Inbox) -> None:
    telling.tell("facts", name="yapily.step_s", value="600")  # nothing happens while we look
    before = booked(telling)
    consent, token = authorised(telling, wish())
    payment = made(telling, token, wish())
    assert status(telling, consent) == "CONSUMED"
    for code in ("ACSC", "ACCC"):
        telling.tell("clock", advance_s=600)
        shown = details(telling, token, payment)
        assert (shown["status"], shown["statusDetails"]["isoStatus"]["code"]) == ("COMPLETED", code)
    assert before - booked(telling) == Decimal("12.34")
    events = [one for one in inbox.bodies(6) if one["type"].startswith("single_payment")]
    assert sorted(one["type"] for one in events) == [
        "single_payment.iso_status.updated",
        "single_payment.iso_status.updated",
        "single_payment.status.completed",
        "single_payment.status.updated",
    ]
    assert {(one["event"]["id"], one["event"]["status"]) for one in events} == {(payment, "COMPLETED")}


def test_it_completes_without_anybody_asking(telling: Sandbox, inbox: Inbox) -> None:
    telling.tell("facts", name="yapily.step_s", value="0.1")
    _, token = authorised(telling, wish())
    made(telling, token, wish())
    assert "single_payment.status.completed" in [one["type"] for one in inbox.bodies(6)]


def test_asked_again_it_is_the_same_payment_and_nothing_moves_twice(sandbox: Sandbox) -> None:
    before = booked(sandbox)
    _, token = authorised(sandbox, wish())
    first = made(sandbox, token, wish())
    assert create(sandbox, token, wish()).json()["data"]["id"] == first
    _, another = authorised(sandbox, wish())
    assert create(sandbox, another, wish()).json()["data"]["id"] == first, "one id is one effect"
    sandbox.tell("clock", advance_s=5)
    assert create(sandbox, token, wish()).json()["data"]["status"] == "COMPLETED"
    assert before - booked(sandbox) == Decimal("12.34")


def test_an_id_that_was_used_for_another_payment_is_refused(sandbox: Sandbox) -> None:
    _, token = authorised(sandbox, wish())
    made(sandbox, token, wish())
    other = wish(**pounds(1))
    _, token = authorised(sandbox, other)
    assert create(sandbox, token, other).status_code == 409


def test_only_what_was_authorised_is_paid(sandbox: Sandbox) -> None:
    _, token = authorised(sandbox, wish())
    for other in (wish(**pounds(12.35)), wish(payee=BOB | {"name": "Mallory"})):
        assert create(sandbox, token, other).status_code == 400
    made(sandbox, token, wish())
    assert create(sandbox, token, wish(paymentIdempotencyId="p-2")).status_code == 400


def test_nothing_is_paid_unless_the_person_has_approved(sandbox: Sandbox) -> None:
    begun = begin(sandbox, wish())
    assert create(sandbox, "", wish()).status_code == 401
    assert come_back(sandbox, begun["authorisationUrl"], answer="decline")["error"] == "access_denied"
    assert status(sandbox, begun["id"]) == "REJECTED"
    consent, token = authorised(sandbox, wish())
    sandbox.tell("actions", action="yapily.status", consent=consent, status="REVOKED")
    assert create(sandbox, token, wish()).status_code == 403


def test_who_may_look_may_not_pay_and_the_other_way_round(sandbox: Sandbox) -> None:
    _, looks = linked(sandbox)
    _, pays = authorised(sandbox, wish())
    assert create(sandbox, looks, wish()).status_code == 403
    assert ask(sandbox, "GET", "accounts", pays).status_code == 403
    assert ask(sandbox, "PATCH", "account-auth-requests", pays).status_code == 403
    payment = made(sandbox, pays, wish())
    assert ask(sandbox, "GET", f"payments/{payment}/details", looks).status_code == 404


def test_a_consent_that_was_taken_back_while_its_page_stood_open_stays_so(sandbox: Sandbox) -> None:
    begun = begin(sandbox, wish())
    ask(sandbox, "DELETE", f"consents/{begun['id']}")
    assert come_back(sandbox, begun["authorisationUrl"])["error"] == "access_denied"
    assert status(sandbox, begun["id"]) == "REVOKED"


def test_what_the_account_does_not_have_fails(sandbox: Sandbox) -> None:
    payment = wish(**pounds(99_999_999))
    _, token = authorised(sandbox, payment)
    failed = made(sandbox, token, payment)
    sandbox.tell("clock", advance_s=2)
    shown = details(sandbox, token, failed)["statusDetails"]
    assert (shown["status"], shown["isoStatus"]["code"]) == ("FAILED", "RJCT")
    assert shown["statusReason"] == "INSUFFICIENT_FUNDS"


def test_every_status_of_a_payment_can_be_met(sandbox: Sandbox) -> None:
    sandbox.tell("facts", name="yapily.hold", value="yes")
    _, token = authorised(sandbox, wish())
    payment = made(sandbox, token, wish())
    sandbox.tell("clock", advance_s=3_600)
    assert details(sandbox, token, payment)["status"] == "PENDING"
    for each in [*sorted(STATUSES), "SOMETHING_NEW"]:
        sandbox.tell("actions", action="yapily.payment_status", payment=payment, status=each)
        assert details(sandbox, token, payment)["status"] == each


def test_embedded_a_method_then_its_code(sandbox: Sandbox) -> None:
    wrong = request(wish(), userCredentials=JO | {"password": "no"})
    assert ask(sandbox, "POST", EMBEDDED, json=wrong).status_code == 403
    begun = begin(sandbox, wish(), EMBEDDED, userCredentials=JO, callback=None)
    consent = begun["id"]
    assert (begun["status"], [one["id"] for one in begun["scaMethods"]]) == ("AWAITING_SCA_METHOD", ["sms", "push"])
    assert go_on(sandbox, consent, scaCode=CODE).status_code == 400, "no method was chosen"
    chosen = go_on(sandbox, consent, selectedScaMethod={"id": "sms"}).json()["data"]
    assert (chosen["status"], "consentToken" in chosen) == ("AWAITING_SCA_CODE", False)
    assert go_on(sandbox, consent, scaCode="0").json()["data"]["status"] == "AWAITING_SCA_CODE"
    done = go_on(sandbox, consent, scaCode=CODE).json()["data"]
    assert done["status"] == "AUTHORIZED"
    made(sandbox, done["consentToken"], wish())
    assert go_on(sandbox, consent, scaCode=CODE).status_code == 400, "a code is taken once"


def test_three_wrong_codes_end_it(sandbox: Sandbox) -> None:
    consent = begin(sandbox, wish(), EMBEDDED, userCredentials=JO)["id"]
    go_on(sandbox, consent, selectedScaMethod={"id": "sms"})
    told = [go_on(sandbox, consent, scaCode="0").json()["data"]["status"] for _ in range(3)]
    assert told == ["AWAITING_SCA_CODE", "AWAITING_SCA_CODE", "FAILED"]
    assert go_on(sandbox, consent, scaCode=CODE).status_code == 400


def test_embedded_by_the_banks_app_only_who_signed_in_may_approve(sandbox: Sandbox) -> None:
    consent = begin(sandbox, wish(), EMBEDDED, userCredentials=JO)["id"]
    chosen = go_on(sandbox, consent, selectedScaMethod={"id": "push"}).json()["data"]
    assert chosen["status"] == "AWAITING_DECOUPLED_AUTHORIZATION"
    told = {"action": "yapily.decoupled", "consent": consent, "approves": True}
    assert sandbox.http.post(f"{sandbox.url}/sandbox/actions", json={**told, "username": "maria"}).status_code == 400
    sandbox.tell("actions", **told, username="jo")
    assert status(sandbox, consent) == "AUTHORIZED"


@pytest.mark.parametrize("approves", [True, False])
def test_decoupled_the_consent_is_polled(sandbox: Sandbox, approves: bool) -> None:
    sandbox.tell("facts", name="yapily.decoupled", value="yes")
    begun = begin(sandbox, wish())
    assert (begun["status"], "authorisationUrl" in begun) == ("AWAITING_DECOUPLED_AUTHORIZATION", False)
    sandbox.tell("actions", action="yapily.decoupled", consent=begun["id"], username="jo", approves=approves)
    polled = ask(sandbox, "GET", f"consents/{begun['id']}").json()["data"]
    if approves:
        made(sandbox, polled["consentToken"], wish())
    else:
        assert (polled["status"], "consentToken" in polled) == ("REJECTED", False)


@pytest.mark.parametrize(
    "other",
    [
        {"paymentIdempotencyId": "x" * 36},
        {"paymentIdempotencyId": ""},
        {"type": "GIFT"},
        {"amount": {"amount": 12.34, "currency": "EUR"}},
        pounds(0),
        pounds(-1),
        pounds(1.234),
        pounds("12.34"),
        pounds(True),
        {"payee": BOB | {"name": " "}},
        {"payee": BOB | {"accountIdentifications": []}},
        {"payee": BOB | {"accountIdentifications": NO_IBAN}},
    ],
)
def test_a_wish_that_is_wrong_is_refused(sandbox: Sandbox, other: dict[str, Any]) -> None:
    answer = ask(sandbox, "POST", "payment-auth-requests", json=request(wish(**other)))
    assert (answer.status_code, answer.json()["error"]["status"]) == (400, "BAD_REQUEST")


def test_a_bank_without_payments_and_a_callback_that_is_not_registered_are_refused(sandbox: Sandbox) -> None:
    dollars = wish(amount={"amount": 12.34, "currency": "USD"})
    for asked in (
        request(dollars, institutionId="prairie-sandbox"),
        request(wish(), callback="https://evil.example/"),
        request(wish()) | {"paymentRequest": None},
    ):
        assert ask(sandbox, "POST", "payment-auth-requests", json=asked).status_code == 400
