"""Yapily's consents and data, as an app asks for them over HTTP."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from isthmus.sandbox.yapily_consents import STATUSES
from isthmus.sandbox.yapily_wire import APPLICATION, SECRET
from tests.sandbox.running import REDIRECT, Sandbox


def ask(sandbox: Sandbox, method: str, path: str, token: str = "", **sent: Any) -> httpx.Response:
    headers = {"consent": token} if token else {}
    url = f"{sandbox.url}/yapily/{path}"
    return sandbox.http.request(method, url, auth=(APPLICATION, SECRET), headers=headers, **sent)


def begin(sandbox: Sandbox, **other: Any) -> dict[str, Any]:
    wish = {"applicationUserId": "u-1", "institutionId": "harbour-sandbox", "callback": REDIRECT, "oneTimeToken": True}
    answer = ask(sandbox, "POST", "account-auth-requests", json=wish | other)
    assert answer.status_code == 201, answer.text
    begun: dict[str, Any] = answer.json()["data"]
    return begun


def come_back(sandbox: Sandbox, page: str, **other: Any) -> dict[str, str]:
    back = sandbox.approve(page, **other).headers["location"]
    assert back.startswith(REDIRECT)
    return {name: values[0] for name, values in parse_qs(urlsplit(back).query).items()}


def linked(sandbox: Sandbox, **other: Any) -> tuple[str, str]:
    """(consent id, consent token)."""
    begun = begin(sandbox, **other)
    once = come_back(sandbox, begun["authorisationUrl"])["one-time-token"]
    return begun["id"], ask(sandbox, "POST", "consent-one-time-token", json={"oneTimeToken": once}).json()[
        "consentToken"
    ]


def status(sandbox: Sandbox, consent: str) -> str:
    told: str = ask(sandbox, "GET", f"consents/{consent}").json()["data"]["status"]
    return told


def test_a_consent_waits_is_authorised_at_the_bank_and_its_one_time_token_works_once(sandbox: Sandbox) -> None:
    begun = begin(sandbox)
    assert begun["status"] == status(sandbox, begun["id"]) == "AWAITING_AUTHORIZATION"
    back = come_back(sandbox, begun["authorisationUrl"])
    assert (back["application-user-id"], back["institution"]) == ("u-1", "harbour-sandbox")
    exchanged = ask(sandbox, "POST", "consent-one-time-token", json={"oneTimeToken": back["one-time-token"]})
    assert exchanged.json()["status"] == "AUTHORIZED"
    again = ask(sandbox, "POST", "consent-one-time-token", json={"oneTimeToken": back["one-time-token"]})
    assert (again.status_code, again.json()["error"]["status"]) == (404, "NOT_FOUND")


def test_without_a_one_time_token_the_consent_token_comes_back_itself(sandbox: Sandbox) -> None:
    token = come_back(sandbox, begin(sandbox, oneTimeToken=False)["authorisationUrl"])["consent"]
    assert ask(sandbox, "GET", "accounts", token).status_code == 200


def test_who_declines_leaves_a_rejected_consent(sandbox: Sandbox) -> None:
    begun = begin(sandbox)
    assert come_back(sandbox, begun["authorisationUrl"], answer="decline")["error"] == "access_denied"
    assert status(sandbox, begun["id"]) == "REJECTED"


def test_accounts_balances_and_transactions_are_the_books(sandbox: Sandbox) -> None:
    _, token = linked(sandbox)
    book = sandbox.accounts("harbour")
    accounts = ask(sandbox, "GET", "accounts", token).json()["data"]
    assert [one["id"] for one in accounts] == [one["id"] for one in book]
    assert {"type": "IBAN", "identification": book[0]["iban"]} in accounts[0]["accountIdentifications"]
    balances = ask(sandbox, "GET", f"accounts/{book[0]['id']}/balances", token)
    assert f'"amount":{book[0]["booked"]}' in balances.text, "a number with both of its places"
    sandbox.tell("movements", account=book[0]["id"], amount=-1234, name="Bob", pending=True)
    newest = ask(sandbox, "GET", f"accounts/{book[0]['id']}/transactions", token).json()["data"][0]
    assert (newest["amount"], newest["status"], newest["payeeDetails"]) == (-12.34, "PENDING", {"name": "Bob"})


def test_pages_together_are_all_transactions(sandbox: Sandbox) -> None:
    _, token = linked(sandbox)
    path = f"accounts/{sandbox.accounts('harbour')[0]['id']}/transactions"
    every = ask(sandbox, "GET", path, token).json()["data"]
    got: list[Any] = []
    page: dict[str, Any] = {}
    following: dict[str, int] | None = {"limit": 7, "offset": 0}
    while following:
        page = ask(sandbox, "GET", path, token, params=following).json()
        got += page["data"]
        following = page["meta"]["pagination"]["next"]
    assert got == every
    assert len(every) == page["meta"]["pagination"]["totalCount"] > 10
    assert ask(sandbox, "GET", path, token, params={"limit": 1_001}).status_code == 400


@pytest.mark.parametrize(("institution", "days"), [("harbour-sandbox", 90), ("nordlicht-sandbox", 180)])
def test_a_consent_expires_when_the_law_of_its_country_says_so(sandbox: Sandbox, institution: str, days: int) -> None:
    consent, token = linked(sandbox, institutionId=institution)
    sandbox.tell("clock", advance_s=(days - 1) * 86_400)
    assert ask(sandbox, "GET", "accounts", token).status_code == 200
    sandbox.tell("clock", advance_s=86_400)
    assert ask(sandbox, "GET", "accounts", token).status_code == 403
    assert status(sandbox, consent) == "EXPIRED"


def test_confirming_moves_the_next_confirmation_and_not_the_end(sandbox: Sandbox) -> None:
    consent, _ = linked(sandbox)
    before = ask(sandbox, "GET", f"consents/{consent}").json()["data"]
    sandbox.tell("clock", advance_s=10 * 86_400)
    now = sandbox.http.get(f"{sandbox.url}/sandbox/clock").json()["now"]
    after = ask(sandbox, "POST", f"consents/{consent}/extend", json={"lastConfirmedAt": now}).json()["data"]
    assert (after["lastConfirmedAt"], after["expiresAt"]) == (now, before["expiresAt"])
    assert after["reconfirmBy"] > before["reconfirmBy"]
    ahead = ask(sandbox, "POST", f"consents/{consent}/extend", json={"lastConfirmedAt": "2999-01-01T00:00:00Z"})
    assert ahead.status_code == 400


def test_a_consent_is_authorised_again_by_the_same_person_and_keeps_its_token(sandbox: Sandbox) -> None:
    consent, token = linked(sandbox)
    again = ask(sandbox, "PATCH", "account-auth-requests", token).json()["data"]
    assert (again["id"], again["status"]) == (consent, "AWAITING_RE_AUTHORIZATION")
    other = come_back(sandbox, again["authorisationUrl"], username="maria")
    assert other["error"] == "access_denied"
    again = ask(sandbox, "PATCH", "account-auth-requests", token).json()["data"]
    come_back(sandbox, again["authorisationUrl"])
    assert ask(sandbox, "GET", "accounts", token).status_code == 200


def test_a_deleted_consent_reads_nothing(sandbox: Sandbox) -> None:
    consent, token = linked(sandbox)
    assert ask(sandbox, "DELETE", f"consents/{consent}").status_code == 200
    assert ask(sandbox, "GET", "accounts", token).status_code == 403
    assert status(sandbox, consent) == "REVOKED"


def test_any_status_can_be_met_and_only_one_reads(sandbox: Sandbox) -> None:
    consent, token = linked(sandbox)
    for each in [*sorted(STATUSES), "SOMETHING_NEW"]:
        sandbox.tell("actions", action="yapily.status", consent=consent, status=each)
        assert status(sandbox, consent) == each
        assert (ask(sandbox, "GET", "accounts", token).status_code == 200) == (each == "AUTHORIZED")


def test_a_stranger_and_an_unregistered_callback_are_refused(sandbox: Sandbox) -> None:
    stranger = sandbox.http.get(f"{sandbox.url}/yapily/institutions", auth=(APPLICATION, "no"))
    assert stranger.json()["error"]["status"] == "UNAUTHORIZED"
    wish = {"applicationUserId": "u-1", "institutionId": "harbour-sandbox", "callback": "https://evil.example/"}
    assert ask(sandbox, "POST", "account-auth-requests", json=wish).status_code == 400
    _, token = linked(sandbox)
    theirs = sandbox.accounts("harbour", "maria")[0]["id"]
    assert ask(sandbox, "GET", f"accounts/{theirs}", token).status_code == 404
