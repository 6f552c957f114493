"""TrueLayer's dialog, tokens and data, as an app asks for them over HTTP."""

from __future__ import annotations

import base64
import hashlib
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from isthmus.sandbox.truelayer_auth import CLIENT_ID, CLIENT_SECRET
from tests.sandbox.running import REDIRECT, Sandbox

VERIFIER = "v" * 43
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
SCOPE = "info accounts balance transactions offline_access"


def dialog(sandbox: Sandbox, **other: str) -> httpx.Response:
    asked = {
        "response_type": "code",
        "client_id": CLIENT_ID,
        "redirect_uri": REDIRECT,
        "scope": SCOPE,
        "state": "s-1",
        "provider_id": "uk-ob-harbour",
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
    }
    return sandbox.http.get(f"{sandbox.url}/truelayer/auth/", params=asked | other)


def code(sandbox: Sandbox, **other: str) -> str:
    back = urlsplit(sandbox.approve(dialog(sandbox, **other).headers["location"]).headers["location"])
    assert parse_qs(back.query)["state"] == ["s-1"]
    return parse_qs(back.query)["code"][0]


def exchange(sandbox: Sandbox, **form: str) -> httpx.Response:
    sent = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "redirect_uri": REDIRECT, "code_verifier": VERIFIER}
    return sandbox.http.post(f"{sandbox.url}/truelayer/auth/connect/token", data=sent | form)


def by_code(sandbox: Sandbox, a_code: str, **other: str) -> httpx.Response:
    return exchange(sandbox, grant_type="authorization_code", code=a_code, **other)


def get(sandbox: Sandbox, token: str, path: str, **query: str) -> httpx.Response:
    headers = {"Authorization": f"Bearer {token}"}
    return sandbox.http.get(f"{sandbox.url}/truelayer/api/data/v1/{path}", params=query, headers=headers)


def results(answer: httpx.Response) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    some: list[dict[str, Any]] = answer.json()["results"]
    return some


def test_a_code_with_its_verifier_gives_tokens_that_read_the_book(sandbox: Sandbox) -> None:
    tokens = by_code(sandbox, code(sandbox)).json()
    assert (tokens["expires_in"], tokens["token_type"], tokens["scope"]) == (3600, "Bearer", SCOPE)
    accounts = results(get(sandbox, tokens["access_token"], "accounts"))
    book = sandbox.accounts("harbour")
    assert [(a["account_id"], a["account_number"]["iban"]) for a in accounts] == [(a["id"], a["iban"]) for a in book]
    balance = get(sandbox, tokens["access_token"], f"accounts/{book[0]['id']}/balance")
    assert f'"current":{book[0]["booked"]}' in balance.text, "a number with both of its places"
    (me,) = results(get(sandbox, tokens["access_token"], "me"))
    assert (me["consent_status"], me["provider"]["provider_id"]) == ("Authorised", "uk-ob-harbour")


@pytest.mark.parametrize(
    "other",
    [
        {"redirect_uri": "https://app.example/other"},
        {"code_verifier": "w" * 43},
        {"code": "unheard-of"},
    ],
)
def test_a_code_is_worth_nothing_with_another_address_or_verifier(sandbox: Sandbox, other: dict[str, str]) -> None:
    answer = exchange(sandbox, **{"grant_type": "authorization_code", "code": code(sandbox), **other})
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")


def test_a_code_used_twice_takes_back_what_it_gave(sandbox: Sandbox) -> None:
    a_code = code(sandbox)
    token = by_code(sandbox, a_code).json()["access_token"]
    assert by_code(sandbox, a_code).json()["error"] == "invalid_grant"
    assert get(sandbox, token, "accounts").status_code == 401


def test_nobody_is_sent_to_an_address_that_is_not_registered(sandbox: Sandbox) -> None:
    answer = dialog(sandbox, redirect_uri="https://evil.example/")
    assert (answer.status_code, "location" in answer.headers) == (400, False)


def test_who_declines_is_sent_back_with_the_state_and_no_code(sandbox: Sandbox) -> None:
    declined = sandbox.approve(dialog(sandbox).headers["location"], answer="decline")
    assert declined.headers["location"] == f"{REDIRECT}?error=access_denied&state=s-1"


def test_tokens_end_and_are_renewed_until_the_permission_is_over(sandbox: Sandbox) -> None:
    tokens = by_code(sandbox, code(sandbox)).json()
    sandbox.tell("clock", advance_s=3_601)
    assert get(sandbox, tokens["access_token"], "accounts").status_code == 401
    renewed = exchange(sandbox, grant_type="refresh_token", refresh_token=tokens["refresh_token"]).json()
    assert get(sandbox, renewed["access_token"], "accounts").status_code == 200
    sandbox.tell("clock", advance_s=90 * 86_400)
    over = exchange(sandbox, grant_type="refresh_token", refresh_token=tokens["refresh_token"])
    assert (over.status_code, over.json()["error"]) == (400, "invalid_grant")


def test_a_deleted_permission_is_over_at_once(sandbox: Sandbox) -> None:
    token = by_code(sandbox, code(sandbox)).json()["access_token"]
    gone = sandbox.http.delete(f"{sandbox.url}/truelayer/auth/api/delete", headers={"Authorization": f"Bearer {token}"})
    assert gone.status_code == 200
    assert get(sandbox, token, "accounts").status_code == 401


def test_a_permission_that_is_taken_back_at_the_bank_reads_nothing(sandbox: Sandbox) -> None:
    token = by_code(sandbox, code(sandbox)).json()["access_token"]
    (me,) = results(get(sandbox, token, "me"))
    sandbox.tell("actions", action="truelayer.revoked", credentials_id=me["credentials_id"])
    assert get(sandbox, token, "accounts").status_code == 401


def test_a_scope_that_was_not_given_is_refused_and_so_is_anothers_account(sandbox: Sandbox) -> None:
    token = by_code(sandbox, code(sandbox, scope="accounts")).json()["access_token"]
    mine, theirs = sandbox.accounts("harbour")[0]["id"], sandbox.accounts("harbour", "maria")[0]["id"]
    assert get(sandbox, token, f"accounts/{mine}/balance").json()["error"] == "access_denied"
    assert get(sandbox, token, f"accounts/{theirs}").json()["error"] == "account_not_found"


def test_a_pending_transaction_changes_its_id_when_it_is_booked_and_keeps_the_normalised_one(sandbox: Sandbox) -> None:
    token = by_code(sandbox, code(sandbox)).json()["access_token"]
    account = sandbox.accounts("harbour")[0]["id"]
    made = sandbox.tell("movements", account=account, amount=-1234, name="Bob", pending=True)
    path = f"accounts/{account}/transactions"
    (pending,) = [one for one in results(get(sandbox, token, f"{path}/pending")) if one["description"] == "Bob"]
    sandbox.tell("movements/settle", movement=made["id"])
    (booked,) = [one for one in results(get(sandbox, token, path)) if one["description"] == "Bob"]
    assert (pending["amount"], booked["amount"], booked["transaction_type"]) == (-12.34, -12.34, "DEBIT")
    assert pending["transaction_id"] != booked["transaction_id"]
    assert pending["normalised_provider_transaction_id"] == booked["normalised_provider_transaction_id"]
    sandbox.tell("facts", name="truelayer.no_normalised_id", value="yes")
    assert "normalised_provider_transaction_id" not in results(get(sandbox, token, path))[0]


def test_transactions_are_those_of_the_days_asked_for(sandbox: Sandbox) -> None:
    token = by_code(sandbox, code(sandbox)).json()["access_token"]
    path = f"accounts/{sandbox.accounts('harbour')[0]['id']}/transactions"
    all_of_them = results(get(sandbox, token, path))
    middle = all_of_them[len(all_of_them) // 2]["timestamp"]
    later = results(get(sandbox, token, path, **{"from": middle}))
    assert 0 < len(later) < len(all_of_them)
    assert get(sandbox, token, path, **{"from": "yesterday"}).json()["error"] == "invalid_date_range"
    assert get(sandbox, token, path, **{"from": "1999-01-01"}).json()["error"] == "invalid_date_range"
