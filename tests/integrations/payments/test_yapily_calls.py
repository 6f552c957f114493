"""What Yapily's refusals say of a payment: nothing, as long as the consent may have been used for it."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from isthmus.domain.bank_payments import PayerAccount
from isthmus.domain.banking import Malformed, OutcomeUnknown, ProviderRefused, ProviderUnavailable
from isthmus.integrations.banking.calls import Calls
from isthmus.integrations.payments.yapily_payments import YapilyPayments, _payer
from tests.integrations.payments.wishes import wish


def yapily(answers: dict[str, Any]) -> YapilyPayments:
    """`answers`: (status, body) by method and path; a list is told one after the other."""

    def told(request: httpx.Request) -> httpx.Response:
        found = answers[f"{request.method} {request.url.path}"]
        status, body = found.pop(0) if isinstance(found, list) else found
        return httpx.Response(status, content=json.dumps(body))

    http = httpx.AsyncClient(transport=httpx.MockTransport(told))
    return YapilyPayments("https://yapily", "app", "secret", http, Calls("yapily-calls"))


def consent(status: str) -> tuple[int, Any]:
    return 200, {"data": {"id": "c", "status": status, "consentToken": "t"}}


@pytest.mark.parametrize(
    ("refusal", "afterwards", "fault"),
    [
        ((400, "BAD_REQUEST"), consent("AUTHORIZED"), ProviderRefused),
        ((400, "BAD_REQUEST"), consent("CONSUMED"), OutcomeUnknown),
        ((400, "BAD_REQUEST"), (404, {}), OutcomeUnknown),
        ((409, "CONFLICT"), consent("AUTHORIZED"), OutcomeUnknown),
        ((401, "UNAUTHORIZED"), consent("AUTHORIZED"), OutcomeUnknown),
    ],
)
async def test_f18_a_refusal_is_one_only_where_the_consent_is_there_unused(
    refusal: tuple[int, str], afterwards: tuple[int, Any], fault: type[Exception]
) -> None:
    status, code = refusal
    provider = yapily(
        {
            "GET /consents/c": [consent("AUTHORIZED"), afterwards],
            "POST /payments": (status, {"error": {"status": code}}),
        }
    )

    with pytest.raises(fault):
        await provider.submit(wish("harbour"), "c")


async def test_f21_what_is_told_of_another_payment_than_was_asked_for_is_no_answer() -> None:
    details = {"data": {"payments": [{"id": "another", "status": "COMPLETED"}]}}
    provider = yapily({"GET /consents/c": consent("CONSUMED"), "GET /payments/p/details": (200, details)})

    with pytest.raises(Malformed):
        await provider.look_up("c:p")


async def test_that_our_secret_is_no_good_refuses_no_payment() -> None:
    provider = yapily({"POST /payment-auth-requests": (401, {"error": {"status": "UNAUTHORIZED"}})})

    with pytest.raises(ProviderUnavailable):
        await provider.begin(wish("harbour"))


def test_pounds_leave_by_sort_code_and_everything_else_by_iban() -> None:
    account = PayerAccount("a", iban="GB29NWBK60161331926819")

    assert [one["type"] for one in _payer(account, pounds=True)] == ["SORT_CODE", "ACCOUNT_NUMBER"]
    assert [one["type"] for one in _payer(account, pounds=False)] == ["IBAN"]
