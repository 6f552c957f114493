"""Plaid's payment initiation in the sandbox, through Plaid's own client, unchanged."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import jwt
import pytest
from plaid import ApiClient, ApiException, Configuration
from plaid.api.plaid_api import PlaidApi
from plaid.model.country_code import CountryCode
from plaid.model.link_token_create_hosted_link import LinkTokenCreateHostedLink
from plaid.model.link_token_create_request import LinkTokenCreateRequest
from plaid.model.link_token_create_request_payment_initiation import LinkTokenCreateRequestPaymentInitiation
from plaid.model.link_token_create_request_user import LinkTokenCreateRequestUser
from plaid.model.payment_amount import PaymentAmount
from plaid.model.payment_amount_currency import PaymentAmountCurrency
from plaid.model.payment_initiation_payment_create_request import PaymentInitiationPaymentCreateRequest
from plaid.model.payment_initiation_payment_get_request import PaymentInitiationPaymentGetRequest
from plaid.model.payment_initiation_payment_status import PaymentInitiationPaymentStatus
from plaid.model.payment_initiation_recipient_create_request import PaymentInitiationRecipientCreateRequest
from plaid.model.products import Products
from plaid.model.recipient_bacs_nullable import RecipientBACSNullable
from plaid.model.webhook_verification_key_get_request import WebhookVerificationKeyGetRequest

from isthmus.sandbox.plaid import CLIENT_ID, SECRET
from isthmus.sandbox.plaid_payments import STATUSES
from tests.sandbox.running import Inbox, Sandbox
from tests.sandbox.test_plaid import refusal

BACK = "https://app.example/paid?state=s1"


@pytest.fixture
def plaid(telling: Sandbox) -> Iterator[PlaidApi]:
    keys = {"clientId": CLIENT_ID, "secret": SECRET}
    with ApiClient(Configuration(host=f"{telling.url}/plaid", api_key=keys)) as client:
        yield PlaidApi(client)


def recipient(plaid: PlaidApi) -> str:
    bacs = RecipientBACSNullable(account="12345678", sort_code="112233")
    made = plaid.payment_initiation_recipient_create(PaymentInitiationRecipientCreateRequest(name="Bob", bacs=bacs))
    recipient_id: str = made.recipient_id
    return recipient_id


def payment(plaid: PlaidApi, value: float = 12.34, reference: str = "Rent") -> str:
    made = plaid.payment_initiation_payment_create(
        PaymentInitiationPaymentCreateRequest(
            recipient_id=recipient(plaid),
            reference=reference,
            amount=PaymentAmount(currency=PaymentAmountCurrency("GBP"), value=value),
        )
    )
    assert made.status.value == "PAYMENT_STATUS_INPUT_NEEDED"
    payment_id: str = made.payment_id
    return payment_id


def link(plaid: PlaidApi, payment_id: str, institution: str = "ins_harbour") -> str:
    """The page of a session that pays it."""
    made = plaid.link_token_create(
        LinkTokenCreateRequest(
            client_name="Isthmus",
            language="en",
            country_codes=[CountryCode("GB")],
            products=[Products("payment_initiation")],
            user=LinkTokenCreateRequestUser(client_user_id="u1"),
            payment_initiation=LinkTokenCreateRequestPaymentInitiation(payment_id=payment_id),
            institution_id=institution,
            hosted_link=LinkTokenCreateHostedLink(completion_redirect_uri=BACK, url_lifetime_seconds=900),
        )
    )
    url: str = made.hosted_link_url
    return url


def shown(plaid: PlaidApi, payment_id: str) -> Any:
    return plaid.payment_initiation_payment_get(PaymentInitiationPaymentGetRequest(payment_id=payment_id))


def test_a_payment_is_authorised_at_the_bank_and_executed_once(telling: Sandbox, plaid: PlaidApi, inbox: Inbox) -> None:
    telling.tell("facts", name="plaid.step_s", value="600")  # nothing happens while we look
    payment_id = payment(plaid)
    page = telling.http.get(link(plaid, payment_id)).headers["location"]
    assert "pay 12.34 GBP to Bob" in telling.http.get(page).text
    assert telling.approve(page).headers["location"] == BACK

    assert shown(plaid, payment_id).status.value == "PAYMENT_STATUS_AUTHORISING"
    assert telling.paid_to("Bob", "harbour") == 0
    telling.tell("clock", advance_s=600)
    telling.tell("clock", advance_s=600)
    telling.tell("actions", action="plaid.payment_status", payment=payment_id, status="EXECUTED")

    told = shown(plaid, payment_id)
    assert (told.status.value, told.amount.value, told.reference) == ("PAYMENT_STATUS_EXECUTED", 12.34, "Rent")
    assert telling.paid_to("Bob", "harbour") == Decimal("12.34")
    codes = [(one["old_payment_status"][15:], one["new_payment_status"][15:]) for one in inbox.bodies(3)]
    assert sorted(codes) == [("AUTHORISING", "INITIATED"), ("INITIATED", "EXECUTED"), ("INPUT_NEEDED", "AUTHORISING")]
    headers, body = inbox.taken[0]
    token = headers["plaid-verification"]
    kid = jwt.get_unverified_header(token)["kid"]
    key = plaid.webhook_verification_key_get(WebhookVerificationKeyGetRequest(key_id=kid)).key.to_dict()
    claims = jwt.decode(token, jwt.PyJWK(key).key, algorithms=["ES256"], options={"verify_iat": False})
    assert claims["request_body_sha256"] == hashlib.sha256(body).hexdigest()


def test_who_declines_or_has_not_enough_pays_nothing(telling: Sandbox, plaid: PlaidApi) -> None:
    telling.tell("facts", name="plaid.step_s", value="0")
    declined, dear = payment(plaid), payment(plaid, 9_999_999.99)
    for payment_id, answer in ((declined, "decline"), (dear, "approve")):
        page = telling.http.get(link(plaid, payment_id)).headers["location"]
        assert telling.approve(page, answer=answer).headers["location"] == BACK
    telling.tell("clock", advance_s=1)
    telling.tell("clock", advance_s=1)
    assert shown(plaid, declined).status.value == "PAYMENT_STATUS_CANCELLED"
    assert shown(plaid, dear).status.value == "PAYMENT_STATUS_INSUFFICIENT_FUNDS"
    assert telling.paid_to("Bob", "harbour") == 0
    with pytest.raises(ApiException) as again:
        link(plaid, declined)
    assert refusal(again) == "INVALID_FIELD", "nobody authorises it any more"


def test_making_one_has_no_idempotency_and_a_page_is_for_its_time(telling: Sandbox, plaid: PlaidApi) -> None:
    assert recipient(plaid) == recipient(plaid), "a recipient has"
    assert payment(plaid) != payment(plaid)
    page = link(plaid, payment(plaid))
    telling.tell("clock", advance_s=901)
    assert telling.http.get(page).status_code == 400


def test_what_no_bank_could_pay_is_refused(plaid: PlaidApi) -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"value": 12.345}, "INVALID_FIELD"),
        ({"value": 0.0}, "INVALID_FIELD"),
        ({"reference": "Rent, July"}, "PAYMENT_INVALID_REFERENCE"),
    ]
    for told, code in wrong:
        with pytest.raises(ApiException) as refused:
            payment(plaid, **told)
        assert refusal(refused) == code, told


def test_the_words_are_plaids_own() -> None:
    assert {one.removeprefix("PAYMENT_STATUS_") for one in words()} == STATUSES


def words() -> list[str]:
    (values,) = PaymentInitiationPaymentStatus.allowed_values.values()
    return list(values.values())
