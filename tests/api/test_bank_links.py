"""Linking a bank through the API: each provider's way, what is refused, and what comes of revoking, renewing and deleting."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from isthmus.domain.banking import ProviderInstitution, ProviderUnavailable
from isthmus.write_models.institutions import refresh_if_due
from tests.api import banking
from tests.api.banking import (
    CONTRACT,
    HARBOUR,
    NORDLICHT,
    accounts,
    came_back,
    complete,
    credential_of,
    linked,
    start,
    sync,
)
from tests.api.conftest import Person, Served
from tests.sandbox.running import REDIRECT, Sandbox


@pytest.fixture(scope="module", autouse=True)
def _institutions(served: Served) -> None:
    banking.know_institutions(served)


def test_institutions_are_found_by_what_is_remembered_of_their_name(ada: Person) -> None:
    found = ada.ask(CONTRACT, {"country": "GB", "search": "harbor bnk"}, "Institutions")["institutions"]

    assert found["edges"][0]["node"]["name"] == "Harbour Bank"
    assert found["edges"][0]["node"]["countries"] == ["GB"]
    assert found["edges"][0]["node"]["providers"] == ["GOCARDLESS", "PLAID", "TRUELAYER", "YAPILY"]


def test_a_linked_bank_shows_its_accounts_and_transactions(served: Served, banks: Sandbox, ada: Person) -> None:
    linked(served, banks, ada)

    shown = accounts(ada)

    book = banks.accounts("harbour")
    assert {one["name"] for one in shown} == {one["name"] for one in book}
    assert all(one["__typename"] == "BankAccount" and not one["stale"] for one in shown)
    current = next(one for one in shown if one["name"] == "Current account")
    edges = current["transactions"]["edges"]
    assert edges
    assert all(edge["node"]["status"] == "POSTED" for edge in edges)
    for edge in edges:
        assert (edge["node"]["direction"] == "DEBIT") == edge["node"]["amount"]["amount"].startswith("-")
    assert [edge["node"]["bookedAt"] for edge in edges] == sorted((e["node"]["bookedAt"] for e in edges), reverse=True)


@pytest.mark.parametrize("provider", ["truelayer", "yapily", "plaid", "gocardless"])
def test_every_provider_tells_the_same_book(served: Served, banks: Sandbox, ada: Person, provider: str) -> None:
    with served_by(served, provider):
        begun = start(ada, NORDLICHT)
    assert begun["errors"] == [], begun
    assert begun["consent"]["provider"] == provider.upper()
    done = complete(ada, begun["consent"]["id"], credential(banks, begun["authorization"]))
    assert done["errors"] == [], done
    assert sync(served, begun["consent"]["id"]) == "done"

    shown = {one["name"]: one for one in accounts(ada)}

    for account in banks.accounts("nordlicht"):
        mine = shown[account["name"]]
        assert mine["balance"]["posted"]["amount"] == account["booked"]
        assert mine["balance"]["available"]["amount"] == account["available"]


def credential(banks: Sandbox, authorization: dict[str, Any], username: str = "jo") -> dict[str, str]:
    if authorization["__typename"] == "RedirectAuthorization":
        return credential_of(came_back(banks, authorization, username))
    page = f"{banks.url}/plaid/link/{authorization['linkToken']}?institution_id=ins_nordlicht"
    told = came_back(banks, {"url": page}, username)
    return {"publicToken": told["public_token"]}


class served_by:  # noqa: N801
    """Another provider serves everything for a while, as the setting `routes` would have it."""

    def __init__(self, served: Served, provider: str) -> None:
        self._links = served.banking.links
        self._provider = provider

    def __enter__(self) -> None:
        from isthmus.domain.institutions import Routing

        self._before = self._links._routing
        names = [name for name in self._before.order if name != self._provider]
        self._links._routing = Routing((self._provider, *names), {})

    def __exit__(self, *_: object) -> None:
        self._links._routing = self._before


def test_the_same_wish_again_leads_to_the_same_consent(ada: Person) -> None:
    first, again = start(ada, key="link-1"), start(ada, key="link-1")

    assert first["consent"]["id"] == again["consent"]["id"]
    assert first["authorization"] == again["authorization"]
    other = start(ada, NORDLICHT, key="link-1")
    assert [error["code"] for error in other["errors"]] == ["IDEMPOTENCY_KEY_REUSED"]


@pytest.mark.parametrize(
    "uri",
    [
        "https://app.example/linked/",
        "https://app.example/linked?x=1",
        "https://app.example/linked#x",
        "https://APP.example/linked",
        "http://app.example/linked",
        "https://app.example:443/linked",
        "https://user@app.example/linked",
        "https://app.example/linked/../x",
        "https://app.example.evil/linked",
        "javascript:alert(1)",
        "",
    ],
)
def test_c3_an_address_that_is_not_registered_to_the_letter_is_refused(ada: Person, uri: str) -> None:
    refused = start(ada, redirect_uri=uri)

    assert refused["consent"] is None
    assert [error["code"] for error in refused["errors"]] == ["REDIRECT_NOT_REGISTERED"]


def test_b8_what_another_came_back_with_is_refused_and_theirs_goes_on(
    served: Served, banks: Sandbox, ada: Person
) -> None:
    eve = Person(served)
    mine, theirs = start(ada), start(eve)
    told = credential_of(came_back(banks, mine["authorization"]))

    stolen = complete(eve, mine["consent"]["id"], told)
    smuggled = complete(eve, theirs["consent"]["id"], told)

    assert [error["code"] for error in stolen["errors"]] == ["CONSENT_NOT_FOUND"]
    assert [error["code"] for error in smuggled["errors"]] == ["INVALID_INPUT"]
    assert complete(ada, mine["consent"]["id"], told)["consent"]["status"] == "AUTHORISED"


def test_c5_a_state_is_taken_once_and_only_where_it_belongs(served: Served, banks: Sandbox, ada: Person) -> None:
    begun = start(ada)
    told = credential_of(came_back(banks, begun["authorization"]))
    consent = begun["consent"]["id"]

    wrong = complete(ada, consent, {**told, "state": "another"})
    assert [error["code"] for error in wrong["errors"]] == ["INVALID_INPUT"]
    assert complete(ada, consent, told)["consent"]["status"] == "AUTHORISED"
    assert complete(ada, consent, told)["consent"]["status"] == "AUTHORISED", "the same again"
    other = complete(ada, consent, {**told, "code": "another"})
    assert [error["code"] for error in other["errors"]] == ["LINK_NOT_BEGUN"]


def test_a_person_who_declines_has_a_link_that_waits(banks: Sandbox, ada: Person) -> None:
    begun = start(ada)
    told = came_back(banks, begun["authorization"], answer="decline")

    assert "code" not in told
    refused = complete(ada, begun["consent"]["id"], {"code": "made-up", "state": told["state"]})
    assert [error["code"] for error in refused["errors"]] == ["BANK_REFUSED"]


def test_a_revoked_consent_is_not_read_any_more_and_its_provider_is_told(
    served: Served, banks: Sandbox, ada: Person
) -> None:
    consent = linked(served, banks, ada)
    wish = {"consentId": consent, "idempotencyKey": uuid4().hex}

    revoked = ada.ask(CONTRACT, {"input": wish}, "RevokeBankConsent")["revokeBankConsent"]

    assert revoked["consent"]["status"] == "REVOKED"
    assert sync(served, consent) == "over"
    assert accounts(ada)[0]["stale"] in (True, False)
    tokens = banking.on_loop(served, _tokens(served, consent))
    assert tokens is None, "what we had is forgotten"


async def _tokens(served: Served, consent: str) -> Any:
    links = served.banking.links
    async with links._pool.acquire() as connection:
        return await links._vault.get(connection, banking.key_of(consent))


def test_a_deleted_link_leaves_nothing_that_can_be_read(served: Served, banks: Sandbox, ada: Person) -> None:
    consent = linked(served, banks, ada)
    query = """mutation($input: DeleteBankLinkInput!) { deleteBankLink(input: $input) {
        consent { status } errors { code } } }"""

    deleted = ada.ask(query, {"input": {"consentId": consent, "idempotencyKey": uuid4().hex}})["deleteBankLink"]

    assert deleted == {"consent": {"status": "REVOKED"}, "errors": []}
    assert accounts(ada) == []
    again = linked(served, banks, ada, HARBOUR)
    assert again != consent
    assert accounts(ada)


def test_renewing_keeps_the_accounts_ids(served: Served, banks: Sandbox, ada: Person) -> None:
    consent = linked(served, banks, ada)
    before = {one["id"] for one in accounts(ada)}
    query = """mutation($input: RenewBankConsentInput!) { renewBankConsent(input: $input) {
        consent { id status } authorization { __typename ... on RedirectAuthorization { url } } errors { code } } }"""
    wish = {"consentId": consent, "redirectUri": REDIRECT, "idempotencyKey": uuid4().hex}

    renewed = ada.ask(query, {"input": wish})["renewBankConsent"]
    done = complete(ada, consent, credential_of(came_back(banks, renewed["authorization"])))

    assert done["consent"]["status"] == "AUTHORISED"
    assert sync(served, consent) == "done"
    assert {one["id"] for one in accounts(ada)} == before


def test_tags_stay_and_are_shown(served: Served, banks: Sandbox, ada: Person) -> None:
    linked(served, banks, ada)
    transaction = next(one for one in accounts(ada) if one["transactions"]["edges"])["transactions"]["edges"][0][
        "node"
    ]["id"]
    query = """mutation($input: TagBankTransactionInput!) { tagBankTransaction(input: $input) {
        transaction { tags } errors { code } } }"""

    told = ada.ask(
        query, {"input": {"transactionId": transaction, "tags": ["tax", "2026"], "idempotencyKey": uuid4().hex}}
    )["tagBankTransaction"]

    assert told == {"transaction": {"tags": ["tax", "2026"]}, "errors": []}
    assert ada.ask("query($id: ID!) { node(id: $id) { ... on Transaction { tags } } }", {"id": transaction})[
        "node"
    ] == {"tags": ["tax", "2026"]}
    eve = Person(served)
    assert eve.ask("query($id: ID!) { node(id: $id) { id } }", {"id": transaction})["node"] is None


def test_the_catalogue_is_made_where_there_is_none_and_when_it_is_old(served: Served, banks: Sandbox) -> None:
    asked: list[str] = []

    class Counted:
        name = "counted"

        async def institutions(self, country: str) -> AsyncIterator[ProviderInstitution]:
            asked.append(country)
            for one in (ProviderInstitution("x", "x", (country,)),):
                if one.name == "x":
                    raise ProviderUnavailable("it is not there")
                yield one

    def due(every: timedelta) -> int:
        providers: Any = {"counted": Counted()}
        banking.on_loop(served, refresh_if_due(served.banking.pool, providers, ("GB",), every))
        return len(asked)

    assert due(timedelta(days=1)) == 0, "it was made a moment ago"
    assert due(timedelta(0)) == 1
