"""Where webhooks go, and what they are signed with: Plaid's and Yapily's. TrueLayer's are in test_truelayer_payments.py."""

from __future__ import annotations

import hashlib
import hmac

import httpx
import pytest

from isthmus.sandbox.plaid import CLIENT_ID, SECRET
from isthmus.sandbox.yapily_webhooks import EVENT_TYPES, WEBHOOK_SECRET
from tests.sandbox.running import Inbox, Sandbox
from tests.sandbox.test_yapily_data import ask, linked, status


def plaid(sandbox: Sandbox, path: str, **body: object) -> httpx.Response:
    return sandbox.http.post(f"{sandbox.url}/plaid/{path}", json={"client_id": CLIENT_ID, "secret": SECRET, **body})


def plaid_linked(sandbox: Sandbox, **options: str) -> None:
    wish = {"institution_id": "ins_harbour", "initial_products": ["transactions"], "options": options}
    made = plaid(sandbox, "sandbox/public_token/create", **wish).json()
    assert plaid(sandbox, "item/public_token/exchange", public_token=made["public_token"]).status_code == 200


def test_plaids_go_where_the_sandbox_was_told_unless_the_app_names_a_place(telling: Sandbox, inbox: Inbox) -> None:
    plaid_linked(telling)
    inbox.wait(1)
    plaid_linked(telling, webhook=f"{inbox.url}/elsewhere")
    inbox.wait(2)
    assert inbox.paths == ["/webhooks/plaid", "/elsewhere"]
    assert all("plaid-verification" in headers for headers, _ in inbox.taken)


def test_a_consents_changes_come_from_yapily_with_an_hmac_over_the_body(telling: Sandbox, inbox: Inbox) -> None:
    consent, _ = linked(telling)
    inbox.wait(1)
    ask(telling, "DELETE", f"consents/{consent}")
    bodies = inbox.bodies(2)
    assert [(one["type"], one["event"]["id"], one["event"]["status"]) for one in bodies] == [
        ("consent.status.updated", consent, "AUTHORIZED"),
        ("consent.status.updated", consent, "REVOKED"),
    ]
    for headers, body in inbox.taken:
        signature = hmac.new(WEBHOOK_SECRET.encode(), body, hashlib.sha256).hexdigest()
        assert headers["x-yapily-signature"] == f"sha256={signature}"
    assert set(inbox.paths) == {"/webhooks/yapily"}


def test_a_consent_that_expires_says_so_by_itself_and_a_renewed_one_only_once(telling: Sandbox, inbox: Inbox) -> None:
    consent, token = linked(telling)
    telling.tell("clock", advance_s=80 * 86_400)
    again = ask(telling, "PATCH", "account-auth-requests", token).json()["data"]
    telling.approve(again["authorisationUrl"])
    telling.tell("clock", advance_s=11 * 86_400)
    assert status(telling, consent) == "AUTHORIZED", "its first end is over and forgotten"
    telling.tell("clock", advance_s=80 * 86_400)
    statuses = ["AUTHORIZED", "AWAITING_RE_AUTHORIZATION", "AUTHORIZED", "EXPIRED"]
    assert sorted(one["event"]["status"] for one in inbox.bodies(4)) == sorted(statuses)


def test_who_signs_up_is_shown_the_secret_once_and_gets_that_event(sandbox: Sandbox, inbox: Inbox) -> None:
    wish = {"eventTypeId": "consent.status.updated", "notificationUrl": f"{inbox.url}/mine"}
    made = ask(sandbox, "POST", "webhook/events", json=wish)
    assert made.status_code == 201
    secret = made.json()["data"]["webhookSecret"]
    assert secret not in ask(sandbox, "GET", "webhook/events").text
    linked(sandbox)
    ((headers, body),) = inbox.wait(1)
    assert headers["x-yapily-signature"] == f"sha256={hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}"
    assert inbox.bodies(1)[0]["id"] == made.json()["data"]["id"], "the webhook's id, the same in each"
    assert ask(sandbox, "DELETE", f"webhook/events/{made.json()['data']['id']}").status_code == 200
    linked(sandbox)
    assert sandbox.http.get(f"{sandbox.url}/sandbox/webhooks").json()[1:] == []


@pytest.mark.parametrize("wrong", [{"eventTypeId": "no.such"}, {"notificationUrl": "mailto:me"}])
def test_nobody_signs_up_for_nothing_or_to_nowhere(sandbox: Sandbox, wrong: dict[str, str]) -> None:
    wish = {"eventTypeId": EVENT_TYPES[0], "notificationUrl": "https://app.example/hook"}
    assert ask(sandbox, "POST", "webhook/events", json=wish | wrong).status_code == 400


def test_a_webhook_comes_again_when_told_so(telling: Sandbox, inbox: Inbox) -> None:
    linked(telling)
    inbox.wait(1)
    telling.tell("webhooks/again", index=0)
    (_, first), (_, second) = inbox.wait(2)
    assert first == second
