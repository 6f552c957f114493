"""Issue line 9: what a bank tells is shown beside our own accounts and never touches them; how old it is is told truly."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.api import banking
from tests.api.banking import CONTRACT, accounts, key_of, linked, on_loop, sync
from tests.api.conftest import Person, Served
from tests.api.test_bank_faults import link_at
from tests.api.test_webhooks import administered, inbox, sent, worked_off
from tests.sandbox.running import Inbox, Sandbox

__all__ = ["inbox"]

_LOOK = """query($id: ID!) { node(id: $id) { ... on BankAccount { stale balance { posted { amount } asOf } } } }"""
_LISTED = """query($after: String, $first: Int!, $kinds: [AccountKind!]) { viewer { accounts(first: $first, after: $after,
    filter: { kinds: $kinds }) { totalCount edges { node { __typename id kind } } pageInfo { hasNextPage endCursor } } } }"""


@pytest.fixture(scope="module", autouse=True)
def _institutions(served: Served) -> None:
    banking.know_institutions(served)


@pytest.fixture(autouse=True)
def _well_again(banks: Sandbox) -> Iterator[None]:
    yield
    assert banks.http.delete(f"{banks.url}/sandbox/misbehaviour").status_code == 200


def look(person: Person, account: str) -> tuple[str, datetime, bool]:
    """(what lies in it, as of when, whether that may be old)."""
    found = person.ask(_LOOK, {"id": account})["node"]
    balance = found["balance"]
    return balance["posted"]["amount"], datetime.fromisoformat(balance["asOf"]), found["stale"]


def current(person: Person) -> str:
    account: str = next(one["id"] for one in accounts(person) if one["name"] == "Current account")
    return account


def grown_older(served: Served, consent: str, seconds: int) -> None:
    """As if the bank had been asked so long ago."""
    query = "update bank_account_mirrors set as_of = as_of - make_interval(secs => $2) where link_id = $1"
    on_loop(served, administered(served, query, key_of(consent), seconds))


def spent(banks: Sandbox, amount: int = -100) -> None:
    account = next(one for one in banks.accounts("harbour") if one["name"] == "Current account")
    banks.tell("movements", account=account["id"], amount=amount, name="Metro Transit")


def at_the_bank(banks: Sandbox) -> str:
    booked: str = next(one for one in banks.accounts("harbour") if one["name"] == "Current account")["booked"]
    return booked


def test_a_balance_is_asked_for_again_when_it_is_older_than_it_may_be(
    served: Served, banks: Sandbox, ada: Person
) -> None:
    consent = linked(served, banks, ada)
    account = current(ada)
    before, told_at, stale = look(ada, account)
    spent(banks)

    assert look(ada, account) == (before, told_at, stale), "it is young: the bank is left alone"
    grown_older(served, consent, 31)
    after, as_of, stale = look(ada, account)
    assert after == at_the_bank(banks) != before
    assert as_of > told_at
    assert not stale


def test_a_webhook_has_the_bank_asked_at_once_however_young_the_balance_is(
    served: Served, banks: Sandbox, ada: Person, inbox: Inbox
) -> None:
    consent = link_at(served, banks, ada, "plaid")
    assert sync(served, consent) == "done"
    account = current(ada)
    before, told_at, _ = look(ada, account)
    _webhooks_to(served, banks, inbox, consent)
    spent(banks, -200)
    ((headers, body),) = inbox.wait(1)
    assert json.loads(body)["webhook_code"] == "SYNC_UPDATES_AVAILABLE"
    assert look(ada, account)[:2] == (before, told_at)

    assert sent(served, "plaid", body, plaid_verification=headers["plaid-verification"]).status_code == 202
    worked_off(served)

    after, as_of, stale = look(ada, account)
    assert (after, stale) == (at_the_bank(banks), False)
    assert datetime.now(UTC) - told_at < timedelta(seconds=30), "it was young all the time"
    assert look(ada, account)[1] == as_of, "and is again"


def test_a_webhook_whose_bank_cannot_be_asked_makes_the_balance_stale(
    served: Served, banks: Sandbox, ada: Person
) -> None:
    consent = linked(served, banks, ada)
    account = current(ada)
    balance, told_at, _ = look(ada, account)
    banks.tell("misbehaviour", route="GET /truelayer/*", kind="error_before", times=1_000)
    on_loop(served, served.banking.mirror.outdate(key_of(consent)))
    with unhurt(served):
        assert look(ada, account) == (balance, told_at, True)


def test_while_a_bank_does_not_answer_the_last_answer_stays_and_is_called_old(
    served: Served, banks: Sandbox, ada: Person
) -> None:
    consent = linked(served, banks, ada)
    account = current(ada)
    balance, _, _ = look(ada, account)
    grown_older(served, consent, 60)
    banks.tell("misbehaviour", route="GET /truelayer/*", kind="error_before", times=1_000)
    with unhurt(served):
        shown, as_of, stale = look(ada, account)
        assert (shown, stale) == (balance, True)
        assert timedelta(seconds=55) < datetime.now(UTC) - as_of < timedelta(seconds=120)
        assert look(ada, account)[1] == as_of, "the last good answer's time"
    banks.http.delete(f"{banks.url}/sandbox/misbehaviour")

    _, as_of, stale = look(ada, account)
    assert not stale
    assert datetime.now(UTC) - as_of < timedelta(seconds=30)


def test_while_the_breaker_is_open_it_is_called_old_without_asking(served: Served, banks: Sandbox, ada: Person) -> None:
    consent = linked(served, banks, ada)
    account = current(ada)
    grown_older(served, consent, 60)
    with unhurt(served):
        banks.tell("misbehaviour", route="GET /truelayer/*", kind="error_before", times=1_000)
        for _ in range(3):
            look(ada, account)  # three attempts each: five failures open it
        banks.http.delete(f"{banks.url}/sandbox/misbehaviour")
        assert look(ada, account)[2], "the bank is well, and left alone"
    assert not look(ada, account)[2]


@contextmanager
def unhurt(served: Served) -> Iterator[None]:
    """A breaker that opened within stays no longer than that."""
    yield
    on_loop(served, _cleared(served.banking.providers["truelayer"]._data._calls))


async def _cleared(calls: Any) -> None:
    fresh = type(calls)(calls.provider, calls._manners)
    calls._breakers = fresh._breakers


def test_what_must_not_be_asked_any_more_is_old_from_that_instant(served: Served, banks: Sandbox, ada: Person) -> None:
    consent = linked(served, banks, ada)
    account = current(ada)
    balance, told_at, stale = look(ada, account)
    assert not stale
    query = "update consents set expires_at = now() - interval '1 second' where id = $1"
    on_loop(served, administered(served, query, key_of(consent)))

    assert look(ada, account) == (balance, told_at, True)


def test_own_accounts_and_those_at_banks_are_one_list_in_stable_pages(
    served: Served, banks: Sandbox, ada: Person
) -> None:
    first = ada.open("EUR", "First")
    linked(served, banks, ada)
    last = ada.open("EUR", "Last")

    whole = _pages(ada, 50, None)
    assert [one["kind"] for one in whole] == ["LEDGER", "BANK", "BANK", "LEDGER"]
    assert (whole[0]["id"], whole[-1]["id"]) == (first, last)
    for size in (1, 2, 3):
        assert _pages(ada, size, None) == whole
    assert _pages(ada, 1, ["BANK"]) == [one for one in whole if one["kind"] == "BANK"]
    assert _pages(ada, 1, ["LEDGER"]) == [one for one in whole if one["kind"] == "LEDGER"]
    assert _pages(ada, 2, ["LEDGER", "BANK"]) == whole
    assert _pages(ada, 2, ["WALLET"]) == _pages(ada, 2, []) == []
    told = ada.ask(CONTRACT, {}, "BankAccounts")["viewer"]["accounts"]["edges"]
    assert [edge["node"]["id"] for edge in told] == [one["id"] for one in whole if one["kind"] == "BANK"]


def _pages(person: Person, size: int, kinds: list[str] | None) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    after = None
    while True:
        page = person.ask(_LISTED, {"first": size, "after": after, "kinds": kinds})["viewer"]["accounts"]
        found += [edge["node"] for edge in page["edges"]]
        if not page["pageInfo"]["hasNextPage"]:
            assert page["totalCount"] == len(found)
            return found
        after = page["pageInfo"]["endCursor"]


def test_no_reading_touches_the_ledger(served: Served, banks: Sandbox, funded: str, ada: Person) -> None:
    before, own = on_loop(served, ledger_of(served)), ada.account(funded, "balance { posted { amount } version }")

    consent = linked(served, banks, ada)
    spent(banks)
    assert sync(served, consent) == "done"

    assert on_loop(served, ledger_of(served)) == before
    assert ada.account(funded, "balance { posted { amount } version }") == own


async def ledger_of(served: Served) -> dict[str, Any]:
    """Everything that is money of ours, in figures."""
    query = """select (select count(*) from journal_entries) as journals, (select count(*) from entries) as entries,
        (select coalesce(sum(amount), 0) from entries) as moved, (select count(*) from accounts) as accounts,
        (select coalesce(sum(posted), 0) from account_balances) as posted,
        (select coalesce(sum(version), 0) from account_balances) as versions,
        (select count(*) from event_store where aggregate_type in ('account', 'journal')) as events"""
    async with served.banking.mirror._pool.acquire() as connection:
        return dict(await connection.fetchrow(query))


def _webhooks_to(served: Served, banks: Sandbox, inbox: Inbox, consent: str) -> None:
    async def tokens() -> Any:
        links = served.banking.links
        async with links._pool.acquire() as connection:
            return await links._vault.get(connection, key_of(consent))

    body = {
        "client_id": "sandbox-client",
        "secret": "sandbox-secret",
        "access_token": on_loop(served, tokens()).access,
        "webhook": inbox.url,
    }
    assert banks.http.post(f"{banks.url}/plaid/item/webhook/update", json=body).status_code == 200
    inbox.taken.clear()
