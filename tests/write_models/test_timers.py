"""Jobs begin with our transactions, run at their time, stay where someone sees them when they fail."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import asyncpg
import pytest
from pgqueuer.queries import Queries

from isthmus.write_models.timers import (
    Schedule,
    Timers,
    bring_forward,
    enqueue,
    every_minutes,
    every_seconds,
    make_partitions,
)
from tests.conftest import Database


@pytest.fixture
async def connection(database: Database) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    made = await asyncpg.connect(database.url)
    yield made
    await made.close()


async def run_until(timers: Timers, done: asyncio.Event) -> None:
    running = asyncio.create_task(timers.run())
    try:
        async with asyncio.timeout(15):
            await done.wait()
            await asyncio.sleep(0.2)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_a_rollback_leaves_no_job(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    transaction = connection.transaction()
    await transaction.start()
    await enqueue(connection, "ping", b"1", None, "once")
    await transaction.rollback()

    assert await connection.fetchval("select count(*) from pgqueuer") == 0


async def test_a_key_that_waits_already_adds_nothing(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    for _ in range(3):
        await enqueue(connection, "ping", b"1", timedelta(hours=1), "once")

    assert await connection.fetchval("select count(*) from pgqueuer") == 1


async def test_who_asks_for_the_same_while_it_runs_gets_another_run(
    database: Database, connection: asyncpg.Connection[asyncpg.Record]
) -> None:
    """What is running may be past what they saw."""
    runs: list[int] = []
    done = asyncio.Event()

    async def look(_: bytes | None) -> None:
        runs.append(len(runs))
        if len(runs) == 1:
            async with connection.transaction():  # the first is not taken before the third is there
                for _again in range(3):
                    await enqueue(connection, "look", b"1", None, "once")
        else:
            done.set()

    await enqueue(connection, "look", b"1", None, "once")
    await run_until(Timers(lambda: asyncpg.connect(database.url), {"look": look}), done)

    assert runs == [0, 1]


async def test_jobs_run_at_their_time_and_a_failure_is_kept(
    database: Database, connection: asyncpg.Connection[asyncpg.Record]
) -> None:
    ran: list[bytes | None] = []
    done = asyncio.Event()

    async def ping(payload: bytes | None) -> None:
        ran.append(payload)
        if len(ran) == 2:
            done.set()

    async def broken(_: bytes | None) -> None:
        raise RuntimeError("as it happens")

    await enqueue(connection, "ping", b"later", timedelta(seconds=1))
    await enqueue(connection, "ping", b"now")
    await enqueue(connection, "ping", b"not yet", timedelta(hours=1))
    await enqueue(connection, "broken")

    await run_until(Timers(lambda: asyncpg.connect(database.url), {"ping": ping, "broken": broken}), done)

    assert ran == [b"now", b"later"]
    left = await connection.fetch("select entrypoint, status::text as status from pgqueuer order by entrypoint")
    assert [(row["entrypoint"], row["status"]) for row in left] == [("broken", "failed"), ("ping", "queued")]


async def test_scheduled_work_comes_round_in_one_of_several_workers(database: Database) -> None:
    rounds: list[int] = []
    done = asyncio.Event()

    def schedule(worker: int) -> Schedule:
        async def work() -> None:
            rounds.append(worker)
            if len(rounds) >= 2:
                done.set()
            raise RuntimeError("comes round again all the same")

        return Schedule("sweep", every_seconds(1), work)

    first = Timers(lambda: asyncpg.connect(database.url), schedules=(schedule(1),))
    second = Timers(lambda: asyncpg.connect(database.url), schedules=(schedule(2),))
    await asyncio.gather(run_until(first, done), run_until(second, done))

    assert len(rounds) <= 3, "two workers do not do it twice as often"


async def test_our_tables_are_those_that_the_library_wants(database: Database) -> None:
    """Else: a migration with what it wants now (`Queries.plan_upgrade` says what)."""
    admin = await asyncpg.connect(database.admin_url)
    plan = await Queries.from_asyncpg_connection(admin).plan_upgrade()
    await admin.close()

    assert not list(plan.statements)


async def test_what_waits_is_brought_forward_where_the_clock_is_moved(
    connection: asyncpg.Connection[asyncpg.Record],
) -> None:
    for name, after in (("later", timedelta(minutes=5)), ("much later", timedelta(minutes=15)), ("due", None)):
        await enqueue(connection, name, None, after)
    await connection.execute(
        "insert into pgqueuer_schedules (expression, entrypoint, next_run) values ('0 0 * * *', 'nightly', now() + interval '5 minutes')"
    )
    due = await connection.fetchval("select execute_after from pgqueuer where entrypoint = 'due'")

    assert await bring_forward(connection, timedelta(minutes=6)) == 2

    waits = (
        "select entrypoint from pgqueuer where execute_after > now() "
        "union select entrypoint from pgqueuer_schedules where next_run > now()"
    )
    assert [row["entrypoint"] for row in await connection.fetch(waits)] == ["much later"]
    assert due == await connection.fetchval("select execute_after from pgqueuer where entrypoint = 'due'")


@pytest.mark.parametrize(("at", "months"), [("now()", 14), ("now() + interval '9 months'", 5)])
async def test_partitions_are_made_ahead(connection: asyncpg.Connection[asyncpg.Record], at: str, months: int) -> None:
    await make_partitions(connection, months, await connection.fetchval(f"select {at}"))

    ahead = await connection.fetchval(
        "select to_regclass('entries_' || to_char((now() at time zone 'UTC') + interval '14 months', 'YYYY_MM')) is not null"
    )
    assert ahead


@pytest.mark.parametrize(
    ("seconds", "cron"), [(0.5, "* * * * * */1"), (5, "* * * * * */5"), (60, "*/1 * * * *"), (7_200, "0 */2 * * *")]
)
def test_seconds_as_cron(seconds: float, cron: str) -> None:
    assert every_seconds(seconds) == cron


def test_minutes_as_cron() -> None:
    assert [every_minutes(n) for n in (1, 30, 60, 1_440)] == ["*/1 * * * *", "*/30 * * * *", "0 */1 * * *", "0 0 * * *"]
