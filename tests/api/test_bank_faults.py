"""Rows F18 to F23: providers that hang, lie, stutter and come back. Nothing is taken twice, nothing half, and in the end all of it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from isthmus.domain.banking import ConsentNews, ProviderConsent
from tests.api import banking
from tests.api.banking import HARBOUR, accounts, came_back, complete, credential_of, linked, start, sync
from tests.api.conftest import Person, Served
from tests.api.test_bank_links import credential, served_by
from tests.sandbox.running import Sandbox

ROUTES = {
    "truelayer": ("GET /truelayer/api/data/v1/accounts/*/transactions", HARBOUR),
    "yapily": ("GET /yapily/accounts/*/transactions", HARBOUR),
    "plaid": ("POST /plaid/transactions/sync", HARBOUR),
}


@pytest.fixture(scope="module", autouse=True)
def _institutions(served: Served) -> None:
    banking.know_institutions(served)


@pytest.fixture(autouse=True)
def _well_again(banks: Sandbox) -> Iterator[None]:
    yield
    assert banks.http.delete(f"{banks.url}/sandbox/misbehaviour").status_code == 200


def link_at(served: Served, banks: Sandbox, person: Person, provider: str) -> str:
    with served_by(served, provider):
        begun = start(person, HARBOUR)
    if provider == "plaid":
        page = f"{banks.url}/plaid/link/{begun['authorization']['linkToken']}?institution_id=ins_harbour"
        brought = {"publicToken": came_back(banks, {"url": page})["public_token"]}
    else:
        brought = credential_of(came_back(banks, begun["authorization"]))
    done = complete(person, begun["consent"]["id"], brought)
    assert done["errors"] == [], done
    consent: str = begun["consent"]["id"]
    return consent


def shown(person: Person) -> list[tuple[str, str, str]]:
    edges = [edge["node"] for one in accounts(person) for edge in one["transactions"]["edges"]]
    return sorted((one["providerReference"], one["amount"]["amount"], one["status"]) for one in edges)


_untroubled: dict[str, list[tuple[str, str, str]]] = {}


def untroubled(served: Served, banks: Sandbox, provider: str) -> list[tuple[str, str, str]]:
    """What somebody sees whose bank did nothing wrong; asked for once."""
    if provider not in _untroubled:
        somebody = Person(served)
        assert sync(served, link_at(served, banks, somebody, provider)) == "done"
        _untroubled[provider] = shown(somebody)
    return _untroubled[provider]


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("error_before", {"status": 500}),
        ("error_after", {"status": 503}),
        ("too_many", {}),
        ("truncated", {}),
        ("nan", {}),
        ("wrong_currency", {}),
        ("page_again", {}),
    ],
)
@pytest.mark.parametrize("provider", ["truelayer", "yapily", "plaid"])
def test_f19_f21_whatever_goes_wrong_once_in_the_end_everything_is_there_once(
    served: Served, banks: Sandbox, ada: Person, provider: str, kind: str, more: dict[str, Any]
) -> None:
    consent, (route, _) = link_at(served, banks, ada, provider), ROUTES[provider]
    banks.tell("misbehaviour", route=route, kind=kind, times=1, **more)

    outcomes = [sync(served, consent)]
    while outcomes[-1] != "done" and len(outcomes) < 4:
        outcomes.append(sync(served, consent))

    assert outcomes[-1] == "done", outcomes
    mine = shown(ada)
    assert mine
    assert mine == untroubled(served, banks, provider)


def test_f18_an_exchange_whose_answer_is_lost_is_not_taken_for_a_failure(
    served: Served, banks: Sandbox, ada: Person
) -> None:
    with served_by(served, "yapily"):
        begun = start(ada)
    brought = credential(banks, begun["authorization"])
    banks.tell("misbehaviour", route="POST /yapily/consent-one-time-token", kind="error_after", times=1, status=502)
    wish = {"consentId": begun["consent"]["id"], "credential": brought}

    lost = ada.refused(banking.CONTRACT, {"input": wish}, "CompleteBankLink")

    assert lost == "UNAVAILABLE", "unknown, and to be sent again"
    again = complete(ada, begun["consent"]["id"], brought)
    assert [error["code"] for error in again["errors"]] == ["BANK_REFUSED"], "the provider had taken it: begin anew"


def test_f20_a_word_that_is_new_is_parked_and_the_bank_is_read_on(served: Served, banks: Sandbox, ada: Person) -> None:
    consent = link_at(served, banks, ada, "yapily")
    news = ConsentNews(ProviderConsent.UNKNOWN, "A_NEW_WORD")
    banking.on_loop(served, served.banking.sync.record(banking.key_of(consent), news))

    assert sync(served, consent) == "done"
    assert accounts(ada)


def test_the_law_counts_readings_without_the_customer(served: Served, banks: Sandbox, ada: Person) -> None:
    consent = linked(served, banks, ada)

    assert [sync(served, consent, attended=False) for _ in range(5)] == ["done"] * 4 + ["quota"]
    assert sync(served, consent) == "done", "its owner may always look"
    query = "query($id: ID!) { node(id: $id) { ... on BankConsent { sync { nextSyncAllowedAt syncedAt state } } } }"
    told = ada.ask(query, {"id": consent})["node"]["sync"]
    assert told["state"] == "DONE"
    allowed = datetime.fromisoformat(told["nextSyncAllowedAt"])
    assert 23 * 3_600 < (allowed - datetime.now(UTC)).total_seconds() <= 24 * 3_600


def test_f21_an_account_in_a_currency_that_is_none_is_left_out_and_the_others_go_on(
    served: Served, banks: Sandbox, ada: Person
) -> None:
    odd = next(one for one in banks.accounts("harbour") if one["name"] == "Savings")
    banks.tell("facts", name="plaid.unofficial_currency", value=odd["id"])
    try:
        consent = link_at(served, banks, ada, "plaid")
        assert sync(served, consent) == "done"
    finally:
        banks.tell("facts", name="plaid.unofficial_currency", value=None)

    assert [one["name"] for one in accounts(ada)] == ["Current account"]
    assert shown(ada)
    query = "query($id: ID!) { node(id: $id) { ... on BankConsent { sync { state fault } } } }"
    told = ada.ask(query, {"id": consent})["node"]["sync"]
    assert told["state"] == "DONE"
    assert told["fault"] == "an account is left out: its currency is none of ISO 4217"
    assert sync(served, consent) == "done"
    assert len(accounts(ada)) == 2, "it is told as it should be, and is there"
    assert ada.ask(query, {"id": consent})["node"]["sync"]["fault"] is None


def test_f21_an_account_that_is_told_in_another_currency_is_refused_and_is_no_second_account(
    served: Served, banks: Sandbox, ada: Person
) -> None:
    consent = link_at(served, banks, ada, "truelayer")
    assert sync(served, consent) == "done"
    before = accounts(ada)
    banks.tell("misbehaviour", route="GET /truelayer/api/data/v1/accounts", kind="wrong_currency")

    assert sync(served, consent) == "malformed"

    assert [one["id"] for one in accounts(ada)] == [one["id"] for one in before]
    assert sync(served, consent) == "done"
    assert accounts(ada)[0]["asset"] == before[0]["asset"]


@pytest.mark.parametrize("provider", ["truelayer", "yapily", "plaid"])
def test_f21_what_cannot_be_is_refused_whole_and_the_cursor_stays(
    served: Served, banks: Sandbox, ada: Person, provider: str
) -> None:
    consent, (route, _) = link_at(served, banks, ada, provider), ROUTES[provider]
    assert sync(served, consent) == "done"
    before, cursor = shown(ada), banking.on_loop(served, cursor_of(served, consent))
    account = next(one for one in banks.accounts("harbour") if one["name"] == "Current account")
    banks.tell("movements", account=account["id"], amount=-123, name="Metro Transit")
    for kind in ("nan", "enormous", "many_places", "huge", "wrong_currency"):
        banks.tell("misbehaviour", route=route, kind=kind, times=1)
        assert sync(served, consent) == "malformed", kind
        assert banking.on_loop(served, cursor_of(served, consent)) == cursor
    assert shown(ada) == before

    assert sync(served, consent) == "done"
    assert len(shown(ada)) == len(before) + 1


def test_f21_balances_that_cannot_be_are_not_shown(served: Served, banks: Sandbox, ada: Person) -> None:
    consent = link_at(served, banks, ada, "truelayer")
    before = [one["balance"]["posted"] for one in accounts(ada)]
    for kind in ("nan", "enormous", "many_places", "huge"):
        banking.on_loop(served, served.banking.mirror.outdate(banking.key_of(consent)))
        banks.tell("misbehaviour", route="GET /truelayer/api/data/v1/accounts/*/balance", kind=kind, times=1)
        assert [one["balance"]["posted"] for one in accounts(ada)] == before, kind
    assert not any(one["stale"] for one in accounts(ada)), "the bank is well again"


def test_f20_what_is_booked_stays_so_whatever_a_bank_says_later(served: Served, banks: Sandbox, ada: Person) -> None:
    """It is told as pending, then as booked, then as pending once more by an answer of before."""
    account = next(one for one in banks.accounts("harbour") if one["name"] == "Current account")
    made = banks.tell("movements", account=account["id"], amount=-4_321, name="Page & Leaf Books", pending=True)
    consent = link_at(served, banks, ada, "truelayer")
    assert sync(served, consent) == "done"
    mine = [one for one in shown_of_any_status(ada) if one["amount"]["amount"] == "-43.21"]
    banks.tell("movements/settle", movement=made["id"])
    route = f"GET /truelayer/api/data/v1/accounts/{account['id']}/transactions/pending"
    for _ in range(2):
        banks.tell("misbehaviour", route=route, kind="page_again", times=1)
        assert sync(served, consent) == "done"

    after = [one for one in shown_of_any_status(ada) if one["amount"]["amount"] == "-43.21"]
    assert [one["status"] for one in mine] == ["PENDING"]
    assert [(one["id"], one["status"]) for one in after] == [(mine[0]["id"], "POSTED")]


def shown_of_any_status(person: Person) -> list[dict[str, Any]]:
    query = """{ viewer { accounts(filter: { kinds: [BANK] }) { edges { node { transactions(first: 100) {
        edges { node { id status amount { amount } } } } } } } } }"""
    edges = person.ask(query)["viewer"]["accounts"]["edges"]
    return [edge["node"] for one in edges for edge in one["node"]["transactions"]["edges"]]


async def cursor_of(served: Served, consent: str) -> str:
    async with served.banking.mirror._pool.acquire() as connection:
        found: str = await connection.fetchval(
            "select cursor from bank_syncs where consent_id = $1", banking.key_of(consent)
        )
    return found
