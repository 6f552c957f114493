"""Row G9, for links at every provider: their codes, tokens, states, secrets and keys, through linking, reading, faults and webhooks."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from prometheus_client import generate_latest

from isthmus.runtime.servers import EmbeddedServers
from isthmus.write_models import bank_store
from tests.api import banking
from tests.api.banking import NORDLICHT, accounts, complete, key_of, on_loop, start, sync
from tests.api.conftest import Person, Served
from tests.api.test_bank_links import credential, served_by
from tests.attacks.count import Row
from tests.attacks.logs import logging_everything
from tests.attacks.test_g_canaries import Canaries, cached, kept
from tests.sandbox.running import REDIRECT, Sandbox

PROVIDERS = ("truelayer", "yapily", "plaid", "gocardless")
ROUTES = {
    "truelayer": "GET /truelayer/api/data/v1/accounts*",
    "yapily": "GET /yapily/accounts*",
    "plaid": "POST /plaid/transactions/sync",
    "gocardless": "GET /gocardless/api/v2/accounts/*",
}
EXCHANGES = {
    "truelayer": "POST /truelayer/auth/connect/token",
    "yapily": "POST /yapily/consent-one-time-token",
    "plaid": "POST /plaid/item/public_token/exchange",
    "gocardless": "GET /gocardless/api/v2/requisitions/*",
}
FAULTS: tuple[dict[str, Any], ...] = (
    {"kind": "error_after", "status": 400},
    {"kind": "error_after", "status": 401},
    {"kind": "truncated"},
    {"kind": "nan"},
)


@pytest.fixture
def banks(served: Served) -> Iterator[Sandbox]:
    assert served.banks is not None
    banking.know_institutions(served)
    yield served.banks
    served.banks.http.delete(f"{served.banks.url}/sandbox/misbehaviour")


async def tokens_of(served: Served, consent: str) -> Any:
    links = served.banking.links
    async with links._pool.acquire() as connection:
        return await links._vault.get(connection, key_of(consent))


async def underway(served: Served, consent: str, person: Person) -> Any:
    links = served.banking.links
    async with links._pool.acquire() as connection:
        return await bank_store.find_underway(connection, links._secrets, key_of(consent), person.id)


def linked(served: Served, banks: Sandbox, person: Person, provider: str, canaries: Canaries) -> tuple[str, list[Any]]:
    """A link whose every secret is known; what the API answered where it should hold none of them."""
    words, said = canaries.words, []
    with served_by(served, provider):
        begun = start(person, NORDLICHT)
    assert begun["errors"] == [], (provider, begun)
    consent: str = begun["consent"]["id"]
    way = on_loop(served, underway(served, consent, person))
    words[f"{provider}'s state"], words[f"{provider}'s verifier"] = way.link.state, way.link.verifier
    brought = credential(banks, begun["authorization"])
    words[f"{provider}'s code"] = brought.get("code") or brought["publicToken"]
    wrong = {name: canaries.drop(f"a {name} that was guessed at {provider}") for name in brought}
    with served_by(served, provider):
        another: str = start(person, NORDLICHT)["consent"]["id"]
    said.append(complete(person, another, wrong))
    banks.tell("misbehaviour", route=EXCHANGES[provider], kind="error_before", status=502, times=3)
    wish = {"consentId": consent, "credential": brought}
    said.append(person.post(banking.CONTRACT, {"input": wish}, "CompleteBankLink").json())
    banks.http.delete(f"{banks.url}/sandbox/misbehaviour")
    done = complete(person, consent, brought)
    assert done["errors"] == [], done
    said.append(done)
    tokens = on_loop(served, tokens_of(served, consent))
    for name in ("access", "refresh", "reference"):
        if (word := getattr(tokens, name)) is not None:
            words[f"{provider}'s {name}"] = word
    return consent, said


def troubled(served: Served, banks: Sandbox, person: Person, provider: str, consent: str) -> list[Any]:
    said = []
    for fault in FAULTS:
        banks.tell("misbehaviour", route=ROUTES[provider], times=1, **fault)
        sync(served, consent)
        banks.http.delete(f"{banks.url}/sandbox/misbehaviour")
        query = "query($id: ID!) { node(id: $id) { ... on BankConsent { status sync { state fault } } } }"
        said.append(person.ask(query, {"id": consent}))
    said.append(accounts(person))
    wish = {"consentId": consent, "redirectUri": REDIRECT, "idempotencyKey": uuid4().hex}
    query = "mutation($i: RenewBankConsentInput!) { renewBankConsent(input: $i) { errors { code } } }"
    banks.tell("misbehaviour", route="* /*", times=1, kind="error_before", status=400)
    said.append(person.post(query, {"i": wish}).json())
    banks.http.delete(f"{banks.url}/sandbox/misbehaviour")
    return said


def webhooks(served: Served, canaries: Canaries) -> list[str]:
    drop, said = canaries.drop, []
    for provider in ("plaid", "truelayer", "yapily", "gocardless"):
        body = json.dumps({"type": drop(f"what a webhook at {provider} says"), "item_id": "x"}).encode()
        headers = {
            "plaid-verification": drop("a webhook's JWT", "eyJhbGciOiJFUzI1NiIsImtpZCI6IngifQ.%s.x"),
            "tl-signature": drop("a webhook's signature", "eyJhbGciOiJFUzUxMiJ9..%s"),
            "x-yapily-signature": drop("a webhook's HMAC"),
            "authorization": drop("a webhook's password", "Basic %s"),
        }
        said.append(httpx.post(f"{served.url}/webhooks/{provider}", content=body, headers=headers).text)
    return said


def test_g9_no_secret_of_a_link_is_found_anywhere(
    served: Served, servers: EmbeddedServers, banks: Sandbox, row: Row, tmp_path: Path
) -> None:
    canaries, output, said = Canaries(), io.StringIO(), list[Any]()
    words = canaries.words
    words |= {
        "our secret at Plaid": "sandbox-secret",
        "our secret at TrueLayer": "sandbox-truelayer-secret",
        "our secret at Yapily": "sandbox-yapily-secret",
        "our secret at Yapily, as it is sent": base64.b64encode(b"sandbox-yapily:sandbox-yapily-secret").decode(),
        "our secret at GoCardless": "sandbox-gocardless-secret",
        "the secret of Yapily's webhooks": "sandbox-yapily-webhook-secret",
    }
    with logging_everything(tmp_path) as logged, contextlib.redirect_stdout(output):
        for provider in PROVIDERS:
            ada = Person(served)
            consent, answers = linked(served, banks, ada, provider, canaries)
            said += answers
            assert sync(served, consent) == "done"
            said += troubled(served, banks, ada, provider, consent)
            if provider == "gocardless":
                words["our token at GoCardless"] = served.banking.providers[provider]._token._access
                words["what renews it"] = served.banking.providers[provider]._token._refresh
        said += webhooks(served, canaries)
        lines = logged.lines

    assert len(lines) > 60
    assert len(words) >= 40
    places = {
        "logs": logged.text,
        "output": output.getvalue(),
        "answers": json.dumps(said),
        "metrics": generate_latest().decode(),
        "the database, with the outbox that the bus is filled from": asyncio.run(kept(served.database_url)),
        "Redis": asyncio.run(cached(servers.redis_url)),
    }
    for place, text in places.items():
        assert len(text) > 100 or place in ("output", "Redis"), "what is looked through is not empty"
        found = canaries.found_in(text)
        for purpose in words:
            with row.case((place, purpose)):
                assert purpose not in found
