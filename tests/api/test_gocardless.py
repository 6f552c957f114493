"""Another provider behind the same port: a link at GoCardless through the API, from the wish to the book's own movements."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from tests.api import banking
from tests.api.banking import NORDLICHT, accounts, came_back, complete, credential_of, start, sync
from tests.api.conftest import Person, Served
from tests.api.test_bank_links import served_by
from tests.sandbox.running import REDIRECT, Sandbox

RENEW = """mutation($input: RenewBankConsentInput!) { renewBankConsent(input: $input) {
    consent { id status } authorization { ... on RedirectAuthorization { url } } errors { code } } }"""


@pytest.fixture(scope="module", autouse=True)
def _institutions(served: Served) -> None:
    banking.know_institutions(served)


def linked_at(served: Served, banks: Sandbox, person: Person, provider: str) -> str:
    with served_by(served, provider):
        begun = start(person, NORDLICHT)
    assert begun["consent"]["provider"] == provider.upper(), begun
    done = complete(person, begun["consent"]["id"], credential_of(came_back(banks, begun["authorization"])))
    assert done["consent"]["status"] == "AUTHORISED", done
    consent: str = begun["consent"]["id"]
    assert sync(served, consent) == "done"
    return consent


def movements(person: Person) -> list[tuple[Any, ...]]:
    return sorted(
        (account["name"], one["amount"]["amount"], one["amount"]["asset"], one["status"], (one["bookedAt"] or "")[:10])
        for account in accounts(person)
        for one in (edge["node"] for edge in account["transactions"]["edges"])
    )


def test_a_fourth_provider_tells_the_same_book_and_is_renewed_and_revoked_like_any(
    served: Served, banks: Sandbox, ada: Person
) -> None:
    grace = Person(served)
    linked_at(served, banks, grace, "yapily")

    consent = linked_at(served, banks, ada, "gocardless")

    assert movements(ada) == movements(grace)
    assert movements(ada)
    before = {one["id"] for one in accounts(ada)}
    wish = {"consentId": consent, "redirectUri": REDIRECT, "idempotencyKey": uuid4().hex}
    renewed = ada.ask(RENEW, {"input": wish})["renewBankConsent"]
    done = complete(ada, consent, credential_of(came_back(banks, renewed["authorization"])))
    assert done["consent"]["status"] == "AUTHORISED", done
    assert sync(served, consent) == "done"
    assert {one["id"] for one in accounts(ada)} == before
    assert movements(ada) == movements(grace), "nothing twice"
    wish = {"consentId": consent, "idempotencyKey": uuid4().hex}
    revoked = ada.ask(banking.CONTRACT, {"input": wish}, "RevokeBankConsent")["revokeBankConsent"]
    assert revoked["consent"]["status"] == "REVOKED"
    assert sync(served, consent) == "over"
