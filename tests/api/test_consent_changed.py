"""`consentChanged` over WebSocket and server-sent events: each change and the warning ahead of the end, to its owner only, and none
lost where a client or the database's connection goes away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from graphql import parse, print_ast, separate_operations

from isthmus.domain.banking import ConsentNews, ProviderConsent
from isthmus.read_models.consent_feed import ConsentSubscriber
from isthmus.read_models.database import Sight
from isthmus.write_models.bank_upkeep import BankUpkeep
from tests.api import banking
from tests.api.banking import CONTRACT, complete, linked, on_loop, start
from tests.api.conftest import Person, Served
from tests.api.socket_client import connected
from tests.api.test_bank_links import credential
from tests.api.test_sse import streaming
from tests.sandbox.running import Sandbox

CHANGED = print_ast(separate_operations(parse(CONTRACT))["ConsentChanged"])
#: Gives the next message: a consent as the contract selects it.
Next = Callable[[], Any]


@pytest.fixture(scope="module", autouse=True)
def _institutions(served: Served) -> None:
    banking.know_institutions(served)


@asynccontextmanager
async def by_websocket(served: Served, person: Person) -> AsyncIterator[Next]:
    async with connected(served) as client:
        await client.sign_in(person.token)
        await client.subscribe(CHANGED)

        async def following() -> Any:
            return (await client.next())["data"]["consentChanged"]["consent"]

        yield following


@asynccontextmanager
async def by_events(served: Served, person: Person, **headers: str) -> AsyncIterator[Next]:
    async with streaming(served, person.token, CHANGED, **headers) as stream:

        async def following() -> Any:
            event = await stream.event()
            assert event.name == "next"
            return event.data["data"]["consentChanged"]["consent"]

        yield following


Way = Callable[[Served, Person], AbstractAsyncContextManager[Next]]


@pytest.fixture(params=[by_websocket, by_events], ids=["websocket", "events"])
def watching(request: pytest.FixtureRequest) -> Way:
    way: Way = request.param
    return way


async def tell(served: Served, consent: str, state: ProviderConsent, ends: datetime | None = None) -> None:
    """As a webhook or a reading of the bank does."""
    news = ConsentNews(state, state.value, ends)
    await asyncio.to_thread(on_loop, served, served.banking.sync.record(banking.key_of(consent), news))


async def mind_ends(served: Served) -> None:
    """As `work` does every ten seconds."""
    parts = served.banking
    links = parts.links
    upkeep = BankUpkeep(parts.pool, links._commands, parts.providers, parts.mirror, links._clock)
    await asyncio.to_thread(on_loop, served, upkeep.mind_ends())


def ahead(**more: float) -> datetime:
    return datetime.now(UTC) + timedelta(**more)


async def test_every_change_is_told_and_the_warning_ahead_of_the_end(
    served: Served, banks: Sandbox, ada: Person, watching: Way
) -> None:
    async with watching(served, ada) as following:
        begun = await asyncio.to_thread(start, ada)
        consent = begun["consent"]["id"]
        # Asked for, then on the way to the bank: whoever is slow sees one of both, and each is what it was then.
        seen = [await following()]
        brought = await asyncio.to_thread(credential, banks, begun["authorization"])
        await asyncio.to_thread(complete, ada, consent, brought)
        while seen[-1]["status"] != "AUTHORISED":
            seen.append(await following())
        assert {one["status"] for one in seen[:-1]} == {"AWAITING_AUTHORISATION"}
        assert {one["id"] for one in seen} == {consent}
        assert seen[-1]["daysLeft"] == 89
        assert seen[-1]["institution"] == {"name": "Harbour Bank"}

        await mind_ends(served)  # the end is far: nothing is said
        near = ahead(days=6, hours=1)
        await tell(served, consent, ProviderConsent.AUTHORISED, near)
        moved = await following()
        assert (moved["status"], moved["daysLeft"]) == ("AUTHORISED", 6)
        assert datetime.fromisoformat(moved["expiresAt"]) == near
        await mind_ends(served)
        assert await following() == moved, "the warning: it is said again, seven days ahead"
        await mind_ends(served)  # and once only: what follows is something else

        await tell(served, consent, ProviderConsent.RENEWAL_NEEDED)
        assert (await following())["status"] == "RENEWAL_NEEDED"
        await tell(served, consent, ProviderConsent.AUTHORISED, near)
        assert (await following())["status"] == "AUTHORISED", "its owner signed in at the bank again"
        await mind_ends(served)
        assert (await following())["daysLeft"] == 6, "anew, since it was authorised anew"

        await tell(served, consent, ProviderConsent.AUTHORISED, end := ahead(seconds=0.5))
        assert (await following())["daysLeft"] == 0
        await asyncio.sleep(max(0.0, (end - datetime.now(UTC)).total_seconds()) + 0.05)
        await mind_ends(served)
        expired = await following()
        assert (expired["status"], expired["daysLeft"]) == ("EXPIRED", 0)

        await tell(served, consent, ProviderConsent.REVOKED)
        assert (await following())["status"] == "REVOKED"
        await tell(served, consent, ProviderConsent.EXPIRED)  # late, and out of order
        again = await asyncio.to_thread(start, ada)
        assert (await following())["id"] == again["consent"]["id"], "what is over stays so: nothing was said of it"


async def test_an_end_by_the_banks_word_is_told(served: Served, banks: Sandbox, ada: Person, watching: Way) -> None:
    consent = await asyncio.to_thread(linked, served, banks, ada)
    async with watching(served, ada) as following:
        assert (await following())["status"] == "AUTHORISED"
        await tell(served, consent, ProviderConsent.EXPIRED)
        expired = await following()
        assert (expired["status"], expired["daysLeft"]) == ("EXPIRED", 0), "before the end that was known"
        wish = {"consentId": consent, "idempotencyKey": uuid4().hex}
        await asyncio.to_thread(ada.ask, CONTRACT, {"input": wish}, "RevokeBankConsent")
        assert (await following())["status"] == "REVOKED", "by its owner"


async def test_nobody_but_the_owner_is_told(
    served: Served, banks: Sandbox, ada: Person, grace: Person, watching: Way
) -> None:
    async with watching(served, grace) as following, watching(served, ada) as other:
        hers = await asyncio.to_thread(linked, served, banks, ada)
        await tell(served, hers, ProviderConsent.REVOKED)
        while (await other())["status"] != "REVOKED":
            continue
        mine = await asyncio.to_thread(start, grace)

        assert (await following())["id"] == mine["consent"]["id"], "and nothing before it"


async def test_whoever_comes_back_is_told_how_each_consent_stands_now(
    served: Served, banks: Sandbox, ada: Person, watching: Way
) -> None:
    older = await asyncio.to_thread(linked, served, banks, ada)
    newer = await asyncio.to_thread(linked, served, banks, ada)
    async with watching(served, ada) as following:
        first = [await following() for _ in range(2)]
    await tell(served, newer, ProviderConsent.RENEWAL_NEEDED)  # while nobody watches
    await tell(served, newer, ProviderConsent.REVOKED)
    async with watching(served, ada) as following:
        second = [await following() for _ in range(2)]
        await tell(served, older, ProviderConsent.REVOKED)
        third = await following()

    assert [(one["id"], one["status"]) for one in first] == [(older, "AUTHORISED"), (newer, "AUTHORISED")]
    # News that was still on its way when they came back is told first.
    assert {(one["id"], one["status"]) for one in second} == {(older, "AUTHORISED"), (newer, "REVOKED")}
    assert (third["id"], third["status"]) == (older, "REVOKED")


async def test_an_event_source_that_comes_back_with_its_last_event_is_told_all_too(
    served: Served, banks: Sandbox, ada: Person
) -> None:
    consent = await asyncio.to_thread(linked, served, banks, ada)
    async with streaming(served, ada.token, CHANGED) as stream:
        last = (await stream.event()).id
    assert last is not None
    await tell(served, consent, ProviderConsent.REVOKED)

    async with by_events(served, ada, Last_Event_ID=last) as following:
        assert (await following())["status"] == "REVOKED"


async def test_what_changed_while_the_listening_connection_was_dead_is_told_when_there_is_another(
    served: Served, banks: Sandbox, ada: Person, watching: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    consent = await asyncio.to_thread(linked, served, banks, ada)
    feed = served.app.state.running.services.consents
    opened, reached = asyncio.Event(), asyncio.Event()
    loop, connect = asyncio.get_running_loop(), feed._connect

    async def held() -> Any:
        """The database is there again only when the test says so."""
        loop.call_soon_threadsafe(reached.set)
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(_waited(opened), loop))
        return await connect()

    monkeypatch.setattr(feed, "_connect", held)
    async with watching(served, ada) as following:
        assert (await following())["status"] == "AUTHORISED"
        await hang_up(served)
        async with asyncio.timeout(10):
            await reached.wait()
        await tell(served, consent, ProviderConsent.RENEWAL_NEEDED)
        await tell(served, consent, ProviderConsent.REVOKED)  # nobody listens: both notifications are lost
        opened.set()

        assert (await following())["status"] == "REVOKED", "how it stands now, once"
        other = await asyncio.to_thread(start, ada)
        assert (await following())["id"] == other["consent"]["id"], "and it goes on live"


async def _waited(event: asyncio.Event) -> None:
    await event.wait()


async def hang_up(served: Served) -> None:
    """The connection that listens for consents dies. Every five seconds it asks `select 1`, which is then what it is known by."""
    connection = await asyncpg.connect(served.database_url)
    try:
        killed = await connection.fetch(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() "
            "and (query ilike '%isthmus_consents%' or query = 'select 1') and pid <> pg_backend_pid()"
        )
    finally:
        await connection.close()
    assert killed


def test_what_was_read_before_a_change_does_not_come_after_it() -> None:
    """A page of all consents that is read while one of them changes."""

    class Row:
        def __init__(self, version: int, status: str) -> None:
            self.consent_id, self.version, self.status = "c", version, status

    nobody: Any = None
    subscriber = ConsentSubscriber(Sight(uuid4()), nobody)

    def told(*rows: tuple[int, str]) -> list[tuple[int, str]]:
        for row in rows:
            made: Any = Row(*row)
            subscriber.offer(made)
        return [(row.version, row.status) for row in iter(subscriber.pop, None)]

    assert told((2, "AUTHORISED"), (1, "AWAITING_AUTHORISATION")) == [(2, "AUTHORISED")]
    assert told((2, "AUTHORISED")) == [], "it was told"
    assert told((2, "EXPIRED"), (2, "AUTHORISED")) == [(2, "EXPIRED")], "by the clock: nothing was written"
    assert told((3, "AUTHORISED")) == [(3, "AUTHORISED")], "renewed"
