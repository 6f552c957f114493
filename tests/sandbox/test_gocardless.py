"""GoCardless at the sandbox: the way to a linked account, and what is refused as the real one refuses it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import pytest

from tests.sandbox.running import REDIRECT, Sandbox, sandbox_running

DAY_S = 86_400


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with sandbox_running(history_days=5) as running:
        yield running


class App:
    """An application with its token."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._api = f"{sandbox.url}/gocardless/api/v2"
        keys = {"secret_id": "sandbox-gocardless", "secret_key": "sandbox-gocardless-secret"}
        self.tokens = self.post("token/new/", keys)[1]

    def post(self, path: str, body: Any) -> tuple[int, Any]:
        answer = self._sandbox.http.post(f"{self._api}/{path}", json=body, headers=self._headers())
        return answer.status_code, answer.json()

    def get(self, path: str, **params: str) -> tuple[int, Any]:
        answer = self._sandbox.http.get(f"{self._api}/{path}", params=params, headers=self._headers())
        return answer.status_code, answer.json()

    def delete(self, path: str) -> tuple[int, Any]:
        answer = self._sandbox.http.delete(f"{self._api}/{path}", headers=self._headers())
        return answer.status_code, answer.json()

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.tokens['access']}"} if hasattr(self, "tokens") else {}

    def agreed(self, bank: str = "NORDLICHT_DE") -> str:
        status, agreement = self.post("agreements/enduser/", {"institution_id": bank, "access_valid_for_days": 90})
        assert status == 201, agreement
        found: str = agreement["id"]
        return found

    def required(self, bank: str = "NORDLICHT_DE", **more: str) -> tuple[int, Any]:
        agreement = more.get("agreement") or self.agreed(bank)
        wish = {"redirect": REDIRECT, "institution_id": bank, "agreement": agreement, "reference": uuid4().hex}
        return self.post("requisitions/", wish | more)

    def linked(self, username: str = "jo") -> Any:
        _, requisition = self.required()
        answered(self._sandbox, requisition, username)
        return self.get(f"requisitions/{requisition['id']}/")[1]


def answered(sandbox: Sandbox, requisition: Any, username: str = "jo", answer: str = "approve") -> dict[str, list[str]]:
    page = sandbox.http.get(requisition["link"], follow_redirects=True)
    back = sandbox.approve(str(page.url), username, answer=answer).headers["location"]
    assert back.startswith(f"{REDIRECT}?"), back
    return parse_qs(urlsplit(back).query)


@pytest.fixture
def app(sandbox: Sandbox) -> App:
    return App(sandbox)


def test_from_a_token_to_the_accounts_behind_a_requisition(sandbox: Sandbox, app: App) -> None:
    status, requisition = app.required()
    assert (status, requisition["status"], requisition["accounts"]) == (201, "CR", [])

    assert answered(sandbox, requisition) == {"ref": [requisition["reference"]]}

    linked = app.get(f"requisitions/{requisition['id']}/")[1]
    assert linked["status"] == "LN"
    book = {one["id"]: one for one in sandbox.accounts("nordlicht")}
    assert set(linked["accounts"]) == set(book)
    for account_id, account in book.items():
        told = app.get(f"accounts/{account_id}/details/")[1]["account"]
        assert (told["name"], told["iban"], told["currency"]) == (account["name"], account["iban"], "EUR")
        balances = {one["balanceType"]: one for one in app.get(f"accounts/{account_id}/balances/")[1]["balances"]}
        assert balances["closingBooked"]["balanceAmount"]["amount"] == account["booked"]
    current = next(one["id"] for one in book.values() if one["kind"] == "CURRENT")
    sandbox.tell("movements", account=current, amount=-1234, name="Corner Grocery", pending=True)
    told = app.get(f"accounts/{current}/transactions/")[1]["transactions"]
    assert all("internalTransactionId" in one for one in told["booked"])
    assert all("transactionId" not in one and "internalTransactionId" not in one for one in told["pending"])
    assert "-12.34" in [one["transactionAmount"]["amount"] for one in told["pending"]]
    assert app.delete(f"requisitions/{requisition['id']}/")[0] == 200
    assert app.get(f"requisitions/{requisition['id']}/")[0] == 404


def test_who_has_no_token_or_an_old_one_gets_nothing(sandbox: Sandbox, app: App) -> None:
    refused = app.post("token/new/", {"secret_id": "sandbox-gocardless", "secret_key": "another"})
    assert (refused[0], refused[1]["status_code"]) == (401, 401)
    sandbox.tell("actions", action="gocardless.forget_tokens")
    assert app.get("institutions/", country="GB") == (
        401,
        {"summary": "Invalid token", "detail": "Token is invalid or expired", "status_code": 401},
    )
    status, renewed = app.post("token/refresh/", {"refresh": app.tokens["refresh"]})
    assert status == 200
    app.tokens |= renewed
    assert [one["id"] for one in app.get("institutions/", country="GB")[1]] == ["HARBOUR_GB"]
    assert app.post("token/refresh/", {"refresh": "made up"})[0] == 401


def test_what_a_requisition_must_be(sandbox: Sandbox, app: App) -> None:
    assert app.required(redirect="https://evil.example/")[0] == 400
    assert app.required(agreement=app.agreed("HARBOUR_GB"))[0] == 400, "another bank's agreement"
    assert app.required("NO_BANK", agreement=app.agreed())[0] == 404
    assert app.post("agreements/enduser/", {"institution_id": "HARBOUR_GB", "access_valid_for_days": 181})[0] == 400
    _, once = app.required()
    assert app.required(reference=once["reference"])[0] == 400, "a reference is taken once"
    answered(sandbox, once)
    again = sandbox.http.get(once["link"])
    assert (again.status_code, "RequisitionLinkReused" in again.text) == (400, True)


def test_who_declines_comes_back_with_an_error(sandbox: Sandbox, app: App) -> None:
    _, requisition = app.required()

    told = answered(sandbox, requisition, answer="decline")

    assert told["error"] == ["UserCancelledSession"]
    assert told["ref"] == [requisition["reference"]]
    assert app.get(f"requisitions/{requisition['id']}/")[1]["status"] == "RJ"


def test_nothing_is_shown_of_what_was_not_linked_or_of_more_than_a_bank_allows(sandbox: Sandbox, app: App) -> None:
    stranger = sandbox.accounts("prairie", "maria")[0]["id"]
    assert app.get(f"accounts/{stranger}/balances/")[0] == 404
    account = app.linked("maria")["accounts"][0]
    sandbox.tell("facts", name="gocardless.daily", value="2")
    assert [app.get(f"accounts/{account}/balances/")[0] for _ in range(3)] == [200, 200, 429]
    assert app.get(f"accounts/{account}/details/")[0] == 200, "each endpoint is counted by itself"
    sandbox.tell("facts", name="gocardless.daily", value=None)


def test_after_ninety_days_it_is_over(sandbox: Sandbox, app: App) -> None:
    linked = app.linked("blocked")
    sandbox.tell("clock", advance_s=91 * DAY_S)
    later = App(sandbox)

    assert later.get(f"requisitions/{linked['id']}/")[1]["status"] == "EX"
    status, told = later.get(f"accounts/{linked['accounts'][0]}/balances/")
    assert (status, told["type"]) == (401, "AccessExpiredError")
    assert app.get("institutions/", country="GB")[0] == 401, "a token lasts a day"
