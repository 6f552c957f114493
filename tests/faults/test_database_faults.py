"""F6 and F10: a database that goes away under load, and one that is there but lets nobody through."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest

from isthmus.failpoints import armed
from isthmus.runtime.servers import EmbeddedServers
from isthmus.runtime.wiring import WriteSide, write_side
from isthmus.settings import Settings
from isthmus.torture.intents import Kind
from isthmus.write_models.commands import Done, Unavailable
from tests.conftest import Database
from tests.end_to_end.client import Answer, Client
from tests.faults.direct import DirectDoor
from tests.faults.system import System, funded
from tests.faults.wishes import Wishes, wishes
from tests.write_models.driver import Driver, assert_sound

ADA = uuid4()
WRITERS = 16
HEALS_WITHIN_S = 10.0
#: Three tries of two seconds each for a connection, pauses between them, and a machine that others use too.
TOLD_WITHIN_S = 15.0


async def _terminate_backends(servers: EmbeddedServers, database: Database) -> None:
    connection = await asyncpg.connect(servers.admin_url)
    try:
        for _ in range(10):
            await connection.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'isthmus writer'"
            )
            await asyncio.sleep(0.05)
    finally:
        await connection.close()


async def _stop_immediately(servers: EmbeddedServers, database: Database) -> None:
    """As `pg_ctl stop -m immediate`: nothing is finished, and the next start recovers from the log."""
    pid = servers.pid("postgres")
    assert pid is not None
    os.kill(pid, signal.SIGQUIT)
    servers.stop_server("postgres")
    servers.start_server("postgres")


async def _restart(servers: EmbeddedServers, database: Database) -> None:
    """From this thread: a server ends with the thread that started it."""
    servers.stop_server("postgres")
    servers.start_server("postgres")


@pytest.mark.parametrize("fault", [_terminate_backends, _stop_immediately, _restart])
async def test_f6_a_database_that_goes_away_under_load_loses_nothing_and_the_pools_heal(
    servers: EmbeddedServers,
    database: Database,
    settings: Settings,
    tmp_path: Path,
    fault: Callable[[EmbeddedServers, Database], Awaitable[None]],
) -> None:
    async with write_side(settings, database.url) as one, write_side(settings, database.url) as two:
        doors = [DirectDoor((side.commands,), ADA) for side in (one, two)]
        with wishes(tmp_path, doors[0]) as clients:
            await clients.furnish()
            stop = asyncio.Event()
            busy = [asyncio.create_task(_pay(clients, doors[n % 2], stop)) for n in range(WRITERS)]
            await _until(lambda: len(clients.log.intents) > 4 * WRITERS)
            await fault(servers, database)
            began = time.monotonic()
            for door in doors:
                while (await clients.send(clients.transfers(1), door))[0].kind is Kind.UNKNOWN:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            healed_s = time.monotonic() - began
            stop.set()
            await asyncio.gather(*busy)
            unknown = [intent for intent in clients.log.intents if intent.was_unknown]
            verdict = await clients.judged(database)
    print(f"{fault.__name__}: {len(unknown)} of {verdict.checked['intents']} unknown, healed in {healed_s:.2f} s")
    assert healed_s < HEALS_WITHIN_S
    assert all(intent.definite for intent in unknown)


async def _pay(clients: Wishes, door: DirectDoor, stop: asyncio.Event) -> None:
    while not stop.is_set():
        (outcome,) = await clients.send(clients.transfers(1), door)
        if outcome.kind is Kind.UNKNOWN:
            await asyncio.sleep(0.05)


async def _until(reached: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not reached():  # noqa: ASYNC110 - the clients tell nobody
            await asyncio.sleep(0.01)


@pytest.fixture
def ledger(side: WriteSide) -> Driver:
    return Driver(side.commands)


@asynccontextmanager
async def _limited(settings: Settings, database: Database, **limits: int) -> AsyncIterator[Driver]:
    tight = settings.model_copy(update={"database": settings.database.model_copy(update=limits)})
    async with write_side(tight, database.url) as side:
        yield Driver(side.commands)


async def test_f10_whoever_finds_every_connection_taken_is_told_so_in_time_and_done_when_there_is_one(
    ledger: Driver, side: WriteSide
) -> None:
    source, target = await ledger.funded(ADA, "100"), await ledger.open(ADA)
    async with AsyncExitStack() as taken:
        for _ in range(side.pool.get_max_size()):
            await taken.enter_async_context(side.pool.acquire())
        began = time.monotonic()
        outcomes = await asyncio.gather(
            *(ledger.transfer(ADA, source, target, "1", key=f"k{n}") for n in range(50)), return_exceptions=True
        )
        assert time.monotonic() - began < TOLD_WITHIN_S
    assert {type(outcome) for outcome in outcomes} == {Unavailable}
    # The first one shows the writer that the wait is over; until then it believes that the next ones would wait too.
    again = [await ledger.transfer(ADA, source, target, "1", key="k0")]
    again += await asyncio.gather(*(ledger.transfer(ADA, source, target, "1", key=f"k{n}") for n in range(1, 50)))
    assert all(isinstance(outcome, Done) and not outcome.replayed for outcome in again)
    assert await side.pool.fetchval("select posted from account_balances where account_id = $1", target) == 50
    await assert_sound(side.pool)


async def test_f10_a_statement_that_takes_too_long_is_ended_and_its_command_can_be_sent_again(
    ledger: Driver, side: WriteSide, settings: Settings, database: Database, admin: asyncpg.Connection
) -> None:
    source, target = await ledger.funded(ADA, "10"), await ledger.open(ADA)
    async with _limited(settings, database, statement_timeout_ms=200) as impatient:
        async with admin.transaction():
            await admin.execute("lock table log_head in access exclusive mode")
            began = time.monotonic()
            with pytest.raises(Unavailable):
                await impatient.transfer(ADA, source, target, "1", key="k")
            assert time.monotonic() - began < TOLD_WITHIN_S
        done = await impatient.transfer(ADA, source, target, "1", key="k")
    assert isinstance(done, Done)
    assert not done.replayed
    await assert_sound(side.pool)


async def test_f10_a_transaction_that_idles_is_ended_by_the_database_and_done_again_by_the_writer(
    ledger: Driver, side: WriteSide, settings: Settings, database: Database
) -> None:
    source, target = await ledger.funded(ADA, "10"), await ledger.open(ADA)
    async with _limited(settings, database, idle_in_transaction_timeout_ms=200) as idling:
        with armed("commit.before:1:hang=2") as points:
            outcome = await idling.transfer(ADA, source, target, "1", key="k")
            assert points["commit.before"].passed == 2, "the first is ended, the second gets through"
    assert isinstance(outcome, Done)
    assert not outcome.replayed
    await assert_sound(side.pool)


async def _served(client: Client, document: str, variables: dict[str, str]) -> Answer:
    """As a client does that is told when to come again."""
    while True:
        answer = await client.ask(document, variables)
        if not answer.body.get("errors") or answer.code != "UNAVAILABLE":
            return answer
        await asyncio.sleep(float(answer.headers["retry-after"]))


async def test_f10_readers_that_get_no_connection_are_told_to_come_again_and_are_served_when_there_is_one(
    system: System, ada: Client, olga: Client
) -> None:
    """A table is locked away: the first readers wait at the lock, the others for a connection."""
    account = await funded(ada, olga, "10.00")
    document = "query($id: ID!) { node(id: $id) { ... on Account { name } } }"
    admin = await asyncpg.connect(system.endpoints.admin_url)
    try:
        async with admin.transaction():
            await admin.execute("lock table read_models.accounts in access exclusive mode")
            began = time.monotonic()
            answers = await asyncio.gather(*(ada.ask(document, {"id": account}) for _ in range(40)))
            assert time.monotonic() - began < TOLD_WITHIN_S
        assert {answer.code for answer in answers} == {"UNAVAILABLE"}
        assert {answer.body["errors"][0]["extensions"]["retryable"] for answer in answers} == {True}
    finally:
        await admin.close()
    # Some may be told once more: admission has seen how long the first ones took, and lets fewer in at first.
    async with asyncio.timeout(HEALS_WITHIN_S):
        again = await asyncio.gather(*(_served(ada, document, {"id": account}) for _ in range(40)))
    assert {answer.data["node"]["name"] for answer in again} == {"Everyday"}
