"""Contract 02 as clients ship it, operation by operation, over HTTP and over WebSocket."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from graphql import OperationDefinitionNode, parse

from tests.api import banking
from tests.api.banking import CONTRACT, HARBOUR, PRAIRIE, came_back, credential_of, on_loop, sync
from tests.api.conftest import Person, Served
from tests.api.socket_client import connected
from tests.api.test_bank_links import served_by
from tests.sandbox.running import REDIRECT, Sandbox

#: The whole document goes along with each operation, as a client that keeps it in one file sends it.
Ask = Callable[[Person, str, dict[str, Any]], Any]


def over_http(served: Served) -> Ask:
    return lambda person, operation, variables: person.ask(CONTRACT, variables, operation)


def over_websocket(served: Served) -> Ask:
    async def ask(person: Person, operation: str, variables: dict[str, Any]) -> Any:
        async with connected(served) as client:
            await client.sign_in(person.token)
            await client.subscribe(CONTRACT, variables, operationName=operation)
            answer = await client.next()
            assert await client.receive() == {"id": "1", "type": "complete"}
        assert "errors" not in answer, answer
        return answer["data"]

    return lambda person, operation, variables: asyncio.run(ask(person, operation, variables))


@pytest.fixture(params=[over_http, over_websocket], ids=["http", "websocket"])
def ask(request: pytest.FixtureRequest, served: Served) -> Ask:
    made: Ask = request.param(served)
    return made


@pytest.fixture(scope="module", autouse=True)
def _institutions(served: Served) -> None:
    banking.know_institutions(served)


def test_every_operation_of_the_contract_is_run_here_or_in_test_consent_changed() -> None:
    names = [one.name.value for one in parse(CONTRACT).definitions if isinstance(one, OperationDefinitionNode)]  # type: ignore[union-attr]

    assert names == [
        *("Institutions", "StartBankLink", "CompleteBankLink", "RenewBankConsent", "RevokeBankConsent"),
        *("BankAccounts", "ConsentChanged"),
    ]


@pytest.fixture(scope="module")
def forty_five_banks(served: Served) -> list[str]:
    """In a country where the sandbox has none."""
    names = [f"Banque {n:02d}" for n in range(45)]

    async def write() -> None:
        async with served.banking.pool.acquire() as connection:
            await connection.executemany(
                "insert into institutions (id, name, plain_name, countries, logo_url, capabilities) "
                "values ($1, $2, lower($2), '{FR}', 'https://logo.example/' || $1, '{ACCOUNTS}')",
                [(f"{name.lower().replace(' ', '-')}-fr", name) for name in names],
            )

    on_loop(served, write())
    return names


def test_institutions_are_paged_to_their_end(ask: Ask, ada: Person, forty_five_banks: list[str]) -> None:
    seen: list[dict[str, Any]] = []
    sizes, after = [], None
    while True:
        page = ask(ada, "Institutions", {"country": "FR", "search": None, "after": after})["institutions"]
        seen += [edge["node"] for edge in page["edges"]]
        sizes.append(len(page["edges"]))
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            break

    assert sizes == [20, 20, 5]
    assert [one["name"] for one in seen] == forty_five_banks
    assert seen[0] == {
        "id": "banque-00-fr",
        "name": "Banque 00",
        "countries": ["FR"],
        "providers": [],
        "logoUrl": "https://logo.example/banque-00-fr",
        "capabilities": ["ACCOUNTS"],
    }
    found = ask(ada, "Institutions", {"country": "FR", "search": "banq 07", "after": None})["institutions"]["edges"]
    assert found[0]["node"]["name"] == "Banque 07"


def begin(ask: Ask, person: Person, institution: str = HARBOUR) -> Any:
    wish = {"institutionId": institution, "redirectUri": REDIRECT, "idempotencyKey": uuid4().hex}
    return ask(person, "StartBankLink", {"input": wish})["startBankLink"]


def test_a_link_from_the_wish_to_its_end(ask: Ask, served: Served, banks: Sandbox, ada: Person) -> None:
    begun = begin(ask, ada)
    assert (begun["errors"], begun["authorization"]["__typename"]) == ([], "RedirectAuthorization")
    consent = begun["consent"]
    assert consent == {
        "id": consent["id"],
        "status": "AWAITING_AUTHORISATION",
        "provider": "TRUELAYER",
        "institution": {"id": HARBOUR, "name": "Harbour Bank"},
        "expiresAt": None,
        "scopes": ["ACCOUNTS", "BALANCES", "TRANSACTIONS"],
    }

    wrong = {"consentId": consent["id"], "credential": {"code": "x", "state": "another's"}}
    refused = ask(ada, "CompleteBankLink", {"input": wrong})["completeBankLink"]
    (error,) = refused["errors"]
    assert (refused["consent"], error["code"]) == (None, "INVALID_INPUT")
    assert error["path"] == ["input", "credential", "state"]

    brought = credential_of(came_back(banks, begun["authorization"]))
    done = ask(ada, "CompleteBankLink", {"input": {"consentId": consent["id"], "credential": brought}})
    assert done["completeBankLink"]["errors"] == []
    complete = done["completeBankLink"]["consent"]
    assert (complete["id"], complete["status"]) == (consent["id"], "AUTHORISED")
    assert complete["expiresAt"] is not None
    book = {one["name"]: one for one in banks.accounts("harbour")}
    assert {one["name"]: (one["iban"], one["asset"]) for one in complete["accounts"]} == {
        name: (one["iban"], one["currency"]) for name, one in book.items()
    }

    assert sync(served, consent["id"]) == "done"
    edges = ask(ada, "BankAccounts", {"after": None})["viewer"]["accounts"]["edges"]
    shown = {edge["node"]["name"]: edge["node"] for edge in edges}
    assert [one["id"] for one in complete["accounts"]] == [edge["node"]["id"] for edge in edges]
    for name, account in book.items():
        mine = shown[name]
        assert (mine["__typename"], mine["iban"], mine["provider"]) == ("BankAccount", account["iban"], "TRUELAYER")
        assert (mine["asset"], mine["stale"]) == ("GBP", False)
        assert mine["institution"] == {"id": HARBOUR, "name": "Harbour Bank"}
        assert mine["consent"] == {key: complete[key] for key in ("id", "status", "expiresAt")}
        assert mine["balance"]["posted"] == {"amount": account["booked"], "asset": "GBP"}
        assert mine["balance"]["available"] == {"amount": account["available"], "asset": "GBP"}
    transactions = [edge["node"] for edge in shown["Current account"]["transactions"]["edges"]]
    assert transactions
    for one in transactions:
        assert (one["status"], one["provider"], one["amount"]["asset"]) == ("POSTED", "TRUELAYER", "GBP")
        assert one["direction"] == ("DEBIT" if one["amount"]["amount"].startswith("-") else "CREDIT")
        assert one["providerReference"]
        assert one["description"]
        assert one["category"] is None, "this bank tells none at TrueLayer"

    wish = {"consentId": consent["id"], "redirectUri": REDIRECT, "idempotencyKey": uuid4().hex}
    renewed = ask(ada, "RenewBankConsent", {"input": wish})["renewBankConsent"]
    assert renewed["errors"] == []
    assert renewed["consent"] == {key: complete[key] for key in ("id", "status", "expiresAt")}
    assert renewed["authorization"] == {"__typename": "RedirectAuthorization"}

    wish = {"consentId": consent["id"], "idempotencyKey": uuid4().hex}
    revoked = ask(ada, "RevokeBankConsent", {"input": wish})["revokeBankConsent"]
    assert revoked == {"consent": {"id": consent["id"], "status": "REVOKED"}, "errors": []}
    again = ask(ada, "RevokeBankConsent", {"input": wish})["revokeBankConsent"]
    assert again == revoked
    over = ask(ada, "RenewBankConsent", {"input": {**wish, "redirectUri": REDIRECT, "idempotencyKey": uuid4().hex}})
    assert [error["code"] for error in over["renewBankConsent"]["errors"]] == ["CONSENT_OVER"]
    kept = ask(ada, "BankAccounts", {"after": None})["viewer"]["accounts"]["edges"]
    assert {edge["node"]["id"] for edge in kept} == {edge["node"]["id"] for edge in edges}, "what it told is kept"


def test_a_link_token_is_told_where_the_provider_has_a_component_of_its_own(
    ask: Ask, served: Served, banks: Sandbox, ada: Person
) -> None:
    with served_by(served, "plaid"):
        begun = begin(ask, ada, PRAIRIE)
    assert begun["errors"] == []
    authorization = begun["authorization"]
    assert authorization["__typename"] == "LinkTokenAuthorization"
    assert authorization["expiresAt"] is not None
    page = f"{banks.url}/plaid/link/{authorization['linkToken']}?institution_id=ins_prairie"
    brought = {"publicToken": came_back(banks, {"url": page})["public_token"]}

    done = ask(ada, "CompleteBankLink", {"input": {"consentId": begun["consent"]["id"], "credential": brought}})

    assert done["completeBankLink"]["errors"] == []
    assert done["completeBankLink"]["consent"]["status"] == "AUTHORISED"
    assert {one["asset"] for one in done["completeBankLink"]["consent"]["accounts"]} == {"USD"}


def test_a_renewal_in_the_providers_own_component_is_completed_with_its_link_token(
    served: Served, banks: Sandbox, ada: Person
) -> None:
    """Plaid's update mode gives no public token."""
    ask = over_http(served)
    with served_by(served, "plaid"):
        begun = begin(ask, ada, PRAIRIE)
    page = f"{banks.url}/plaid/link/{begun['authorization']['linkToken']}?institution_id=ins_prairie"
    banking.complete(ada, begun["consent"]["id"], {"publicToken": came_back(banks, {"url": page})["public_token"]})
    query = """mutation($input: RenewBankConsentInput!) { renewBankConsent(input: $input) { errors { code }
        authorization { ... on LinkTokenAuthorization { linkToken hostedUrl } } } }"""
    wish = {"consentId": begun["consent"]["id"], "redirectUri": REDIRECT, "idempotencyKey": uuid4().hex}

    renewed = ada.ask(query, {"input": wish})["renewBankConsent"]["authorization"]
    told = came_back(banks, {"url": f"{renewed['hostedUrl']}?institution_id=ins_prairie"})
    assert told == {"link_token": renewed["linkToken"]}
    done = banking.complete(ada, begun["consent"]["id"], {"publicToken": told["link_token"]})

    assert (done["errors"], done["consent"]["status"]) == ([], "AUTHORISED")


@pytest.fixture(scope="module")
def maria(served: Served, banks: Sandbox) -> Person:
    """Has 22 accounts at one bank, and in one of them more than a page of transactions."""
    person = Person(served)
    for n in range(19):
        banks.tell("accounts", bank="prairie", username="maria", name=f"Pot {n:02d}")
    banks.tell("accounts", bank="prairie", username="maria", name="Busy", busy=12, history_days=19)
    with served_by(served, "plaid"):
        begun = banking.start(person, PRAIRIE)
    page = f"{banks.url}/plaid/link/{begun['authorization']['linkToken']}?institution_id=ins_prairie"
    done = banking.complete(person, begun["consent"]["id"], credential_of_plaid(banks, page))
    assert done["errors"] == []
    assert sync(served, begun["consent"]["id"]) == "done"
    return person


def credential_of_plaid(banks: Sandbox, page: str) -> dict[str, str]:
    return {"publicToken": came_back(banks, {"url": page}, "maria")["public_token"]}


def test_bank_accounts_and_their_transactions_are_paged(
    ask: Ask, served: Served, banks: Sandbox, ada: Person, maria: Person
) -> None:
    ledger = maria.open("USD")

    # The contract's own operation takes a cursor and does not ask for one.
    place = "{ viewer { accounts(first: 20, filter: { kinds: [BANK] }) { pageInfo { hasNextPage endCursor } } } }"
    info = maria.ask(place)["viewer"]["accounts"]["pageInfo"]
    first = ask(maria, "BankAccounts", {"after": None})["viewer"]["accounts"]
    second = ask(maria, "BankAccounts", {"after": info["endCursor"]})["viewer"]["accounts"]

    assert info["hasNextPage"]
    assert [len(page["edges"]) for page in (first, second)] == [20, 2]
    nodes = [edge["node"] for page in (first, second) for edge in page["edges"]]
    assert sorted(one["name"] for one in nodes) == sorted(one["name"] for one in banks.accounts("prairie", "maria"))
    assert ledger not in {one["id"] for one in nodes}, "filtered: our own are not banks'"
    busy = next(one for one in nodes if one["name"] == "Busy")["transactions"]
    assert (len(busy["edges"]), busy["pageInfo"]["hasNextPage"]) == (50, True)
    assert all(edge["node"]["category"] for edge in busy["edges"])
    assert ask(ada, "BankAccounts", {"after": None})["viewer"]["accounts"]["edges"] == [], "another's"

    every = """query($id: ID!, $after: String) { node(id: $id) { ... on Account { transactions(first: 100, after: $after,
        filter: { status: POSTED }) { totalCount edges { node { id } } pageInfo { hasNextPage } } } } }"""
    account = next(one["id"] for one in nodes if one["name"] == "Busy")
    rest = maria.ask(every, {"id": account, "after": busy["pageInfo"]["endCursor"]})["node"]["transactions"]
    ids = [edge["node"]["id"] for edge in (*busy["edges"], *rest["edges"])]
    assert len(set(ids)) == len(ids) == rest["totalCount"]
    assert not rest["pageInfo"]["hasNextPage"]
