"""Contract 03 for payments from banks that Yapily and Plaid speak for: the same as at TrueLayer, as far as anybody sees."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from isthmus.graphql.ids import payment_key
from tests.api import banking
from tests.api.banking import accounts, on_loop, sync
from tests.api.conftest import Person, Served
from tests.api.test_bank_faults import link_at
from tests.api.test_bank_payments import answer, carried_on, column, pay, reference
from tests.api.test_payments import shown
from tests.api.test_webhooks import sent, worked_off, yapily
from tests.sandbox.running import REDIRECT, Inbox, Sandbox, inbox_running

PROVIDERS = ("yapily", "plaid")


@pytest.fixture(scope="module", autouse=True)
def _held(served: Served, banks: Sandbox) -> Iterator[None]:
    """The banks do nothing by themselves."""
    banking.know_institutions(served)
    for provider in PROVIDERS:
        banks.tell("facts", name=f"{provider}.hold", value="1")
    yield
    for provider in PROVIDERS:
        banks.tell("facts", name=f"{provider}.hold", value=None)


def linked(served: Served, banks: Sandbox, person: Person, provider: str) -> str:
    """The current account at a bank that the provider speaks for."""
    assert sync(served, link_at(served, banks, person, provider)) == "done"
    found: str = next(one["id"] for one in accounts(person) if one["name"] == "Current account")
    return found


def at_bank(banks: Sandbox, url: str, how: str = "approve") -> dict[str, str]:
    """What the person comes back with."""
    page = banks.http.get(url, follow_redirects=True)
    back = banks.approve(str(page.url), answer=how).headers["location"]
    assert back.startswith(REDIRECT), back
    told = {name: values[0] for name, values in parse_qs(urlsplit(back).query).items()}
    state = told.get("application-user-id") or told["state"]
    return {"code": told.get("one-time-token", state), "state": state}


def executed(served: Served, banks: Sandbox, payment: Any) -> None:
    named = reference(served, payment)
    banks.tell(
        "actions",
        action=f"{payment['provider']}.payment_status",
        payment=named.rpartition(":")[2],
        status={"yapily": "COMPLETED", "plaid": "EXECUTED"}[payment["provider"]],
    )


@pytest.mark.parametrize("provider", PROVIDERS)
def test_it_is_authorised_at_the_bank_and_executed_once(
    served: Served, banks: Sandbox, ada: Person, provider: str
) -> None:
    account, before = linked(served, banks, ada, provider), banks.paid_to("Bob Builder", "harbour")
    payment = pay(ada, account)
    assert (payment["state"], payment["provider"]) == ("AWAITING_SCA", provider)

    answered = answer(ada, payment, redirectResult=at_bank(banks, payment["challenge"]["url"]))

    assert answered["errors"] == []
    assert answered["payment"]["state"] == {"yapily": "AUTHORISED", "plaid": "SUBMITTED"}[provider]
    carried_on(served, payment)  # Yapily waits for us to send it
    executed(served, banks, payment)
    carried_on(served, payment)
    states = [step["state"] for step in shown(ada, payment["id"])["history"]]
    assert states == ["AWAITING_SCA", "AUTHORISED", "SUBMITTED", "EXECUTED"]
    assert banks.paid_to("Bob Builder", "harbour") - before == Decimal("12.34")


@pytest.mark.parametrize("provider", PROVIDERS)
def test_what_the_person_refuses_at_the_bank_comes_to_nothing(
    served: Served, banks: Sandbox, ada: Person, provider: str
) -> None:
    payment = pay(ada, linked(served, banks, ada, provider))
    answered = answer(ada, payment, redirectResult=at_bank(banks, payment["challenge"]["url"], "decline"))
    assert [one["code"] for one in answered["errors"]] == ["SCA_REJECTED"]
    assert shown(ada, payment["id"])["state"] == {"yapily": "REJECTED", "plaid": "CANCELLED"}[provider]


@pytest.fixture(scope="module")
def inbox() -> Iterator[Inbox]:
    with inbox_running() as made:
        yield made


def looks_ahead(served: Served, payment: Any) -> int:
    """At once, with or without what a webhook told."""
    query = "select count(*) from pgqueuer where dedupe_key in ($1, $1 || ':told') and status = 'queued'"
    found: int = column(served, query, f"advance_payment:{payment_key(payment['id'])}")
    return found


def no_look_ahead(served: Served, payment: Any) -> None:
    async def done() -> None:
        async with served.banking.mirror._pool.acquire() as connection:
            key = f"advance_payment:{payment_key(payment['id'])}"
            await connection.execute("delete from pgqueuer where dedupe_key = $1", key)

    on_loop(served, done())


def test_plaids_webhook_has_the_payment_looked_at(served: Served, banks: Sandbox, ada: Person, inbox: Inbox) -> None:
    payment = pay(ada, linked(served, banks, ada, "plaid"))
    at_bank(banks, payment["challenge"]["url"])
    no_look_ahead(served, payment)
    told = {"payment_id": reference(served, payment), "webhook": inbox.url, "status": "PAYMENT_STATUS_INITIATED"}
    ours = {"client_id": "sandbox-client", "secret": "sandbox-secret"}
    assert banks.http.post(f"{banks.url}/plaid/sandbox/payment/simulate", json=ours | told).status_code == 200
    ((headers, body),) = inbox.wait(1)

    assert sent(served, "plaid", body, plaid_verification=headers["plaid-verification"]).status_code == 202
    worked_off(served)

    assert looks_ahead(served, payment) == 1


@pytest.mark.parametrize("kind", ["consent", "payment"])
def test_yapilys_webhook_has_the_payment_looked_at(served: Served, banks: Sandbox, ada: Person, kind: str) -> None:
    payment = pay(ada, linked(served, banks, ada, "yapily"))
    no_look_ahead(served, payment)
    consent = reference(served, payment)
    told = {"id": "w", "type": "consent.status.updated", "event": {"id": consent, "status": "AUTHORIZED"}}
    if kind == "payment":
        key = payment_key(payment["id"]).hex
        event = {"id": "p", "consentId": consent, "status": "COMPLETED", "paymentIdempotencyId": key}
        told = {"id": "w", "type": "single_payment.status.updated", "event": event}
    body = json.dumps(told).encode()

    assert sent(served, "yapily", body, **yapily(body)).status_code == 202
    worked_off(served)

    assert looks_ahead(served, payment) == 1
