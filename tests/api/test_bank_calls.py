"""Row F19 through the whole product: a provider that fails is left alone where everybody can see it, and tokens are made fresh once."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import httpx
import purgatory.domain.model
import pytest

from tests.api import banking
from tests.api.banking import HARBOUR, key_of, linked, on_loop, sync
from tests.api.conftest import Person, Served
from tests.api.test_bank_faults import link_at
from tests.sandbox.running import Sandbox


@pytest.fixture(scope="module", autouse=True)
def _institutions(served: Served) -> None:
    banking.know_institutions(served)


@pytest.fixture(autouse=True)
def _well_again(banks: Sandbox) -> Iterator[None]:
    yield
    assert banks.http.delete(f"{banks.url}/sandbox/misbehaviour").status_code == 200


def metric(served: Served, name: str, **labels: str) -> float:
    """As /metrics of the process shows it."""
    told = ",".join(f'{label}="{value}"' for label, value in labels.items())
    text = httpx.get(f"{served.url}/metrics").text
    found = re.search(rf"^{name}\{{{told}\}} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def test_f19_a_provider_that_fails_again_and_again_is_left_alone_for_a_while(
    served: Served, banks: Sandbox, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    consent = link_at(served, banks, ada, "yapily")
    assert metric(served, "isthmus_provider_breaker_open", provider="yapily") == 0
    banks.tell("misbehaviour", route="* /yapily/*", kind="error_before", times=1_000, status=503)
    assert [sync(served, consent) for _ in range(2)] == ["unavailable"] * 2

    assert metric(served, "isthmus_provider_breaker_open", provider="yapily") == 1

    assert banks.http.delete(f"{banks.url}/sandbox/misbehaviour").status_code == 200
    begun = time.monotonic()
    assert sync(served, consent) == "unavailable", "it is well, but nobody asks"
    assert time.monotonic() - begun < 1, "nor waits"
    monkeypatch.setattr(purgatory.domain.model, "time", SimpleNamespace(time=lambda: time.time() + 31))
    assert sync(served, consent) == "done"
    assert metric(served, "isthmus_provider_breaker_open", provider="yapily") == 0


async def _tokens(served: Served, consent: str) -> Any:
    links = served.banking.links
    async with links._pool.acquire() as connection:
        return await links._vault.get(connection, key_of(consent))


def test_f19_a_token_that_ends_in_mid_flow_is_made_fresh_once_and_the_reading_goes_on(
    served: Served, banks: Sandbox, ada: Person
) -> None:
    consent = linked(served, banks, ada, HARBOUR)
    before = metric(served, "isthmus_provider_calls_total", call="token", outcome="ok", provider="truelayer")
    banks.tell("actions", action="truelayer.forget_tokens")

    assert sync(served, consent) == "done"

    after = metric(served, "isthmus_provider_calls_total", call="token", outcome="ok", provider="truelayer")
    assert after - before == 1
    assert sync(served, consent) == "done", "the new one was kept"
    (grant,) = {on_loop(served, _tokens(served, consent)).refresh}
    assert grant


def test_f19_many_who_find_a_token_over_make_it_fresh_once(served: Served, banks: Sandbox, ada: Person) -> None:
    consent = linked(served, banks, ada, HARBOUR)
    links, reading = served.banking.links, served.banking.sync

    async def all_at_once() -> list[Any]:
        tokens = await _tokens(served, consent)
        async with links._pool.acquire() as connection:
            over = replace(tokens, expires_at=datetime.now(UTC))
            await links._vault.put(connection, key_of(consent), ada.id, over)
        links.balances.lasts = timedelta(0)
        looks = (links.balances.freshen(key_of(consent), None) for _ in range(5))
        return await asyncio.gather(reading.run(key_of(consent), attended=True), *looks)

    before = metric(served, "isthmus_provider_calls_total", call="token", outcome="ok", provider="truelayer")
    lasts = links.balances.lasts
    try:
        outcomes = on_loop(served, all_at_once())
    finally:
        links.balances.lasts = lasts

    after = metric(served, "isthmus_provider_calls_total", call="token", outcome="ok", provider="truelayer")
    assert outcomes[0] in ("done", "busy"), outcomes
    assert after - before == 1, outcomes


def test_f19_while_another_process_reads_the_link_nobody_else_makes_its_token_fresh(
    served: Served, banks: Sandbox, ada: Person
) -> None:
    consent = linked(served, banks, ada, HARBOUR)
    links = served.banking.links

    async def looked(leased: str) -> bool:
        tokens = await _tokens(served, consent)
        async with links._pool.acquire() as connection:
            over = replace(tokens, expires_at=datetime.now(UTC))
            await links._vault.put(connection, key_of(consent), ada.id, over)
            await connection.execute(
                f"update bank_syncs set leased_until = {leased} where consent_id = $1", key_of(consent)
            )
        return bool(await links.balances.freshen(key_of(consent), None))

    def fetched() -> float:
        return metric(served, "isthmus_provider_calls_total", call="token", outcome="ok", provider="truelayer")

    lasts, before = links.balances.lasts, fetched()
    links.balances.lasts = timedelta(0)
    try:
        assert not on_loop(served, looked("now() + interval '1 minute'"))
        assert fetched() == before
        assert on_loop(served, looked("null"))
        assert fetched() == before + 1
    finally:
        links.balances.lasts = lasts


def test_where_there_is_nothing_to_renew_with_the_person_is_asked(served: Served, banks: Sandbox, ada: Person) -> None:
    consent = linked(served, banks, ada, HARBOUR)

    async def without() -> None:
        tokens = await _tokens(served, consent)
        links = served.banking.links
        async with links._pool.acquire() as connection:
            await links._vault.put(connection, key_of(consent), ada.id, replace(tokens, refresh=None))

    on_loop(served, without())
    banks.tell("actions", action="truelayer.forget_tokens")

    assert sync(served, consent) == "access_ended"
    query = "query($id: ID!) { node(id: $id) { ... on BankConsent { status } } }"
    assert ada.ask(query, {"id": consent})["node"]["status"] == "RENEWAL_NEEDED"
