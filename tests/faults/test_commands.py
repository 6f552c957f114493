"""Faults around one command, in the words of the fault matrix: each test is named after its row."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID, uuid4

import asyncpg
import pytest

from isthmus.domain.clock import SettableClock
from isthmus.domain.holds import ReverseJournal
from isthmus.runtime.wiring import WriteSide, write_side
from isthmus.settings import Settings
from isthmus.torture.proxy import FaultProxy
from isthmus.write_models.commands import Done, Refused, Unavailable
from tests.conftest import Database
from tests.write_models.driver import Driver, assert_sound, journal_of

ADA, GRACE = uuid4(), uuid4()


@pytest.fixture
def ledger(side: WriteSide) -> Driver:
    return Driver(side.commands)


@pytest.fixture
async def proxy(database: Database) -> AsyncIterator[FaultProxy]:
    parts = urlsplit(database.url)
    running = FaultProxy(parts.hostname or "", parts.port or 0)
    await running.start()
    yield running
    await running.aclose()


def _through(database: Database, proxy: FaultProxy) -> str:
    parts = urlsplit(database.url)
    return urlunsplit(parts._replace(netloc=f"{parts.netloc.rpartition('@')[0]}@127.0.0.1:{proxy.port}"))


async def _journals(side: WriteSide) -> int:
    found: int = await side.pool.fetchval("select count(*) from journal_entries where kind = 'INTERNAL_TRANSFER'")
    return found


async def test_f2_a_connection_cut_after_commit_is_answered_with_the_one_journal(
    ledger: Driver, side: WriteSide, settings: Settings, database: Database, proxy: FaultProxy
) -> None:
    """The first COMMIT is done and its answer lost: the retry finds the key, and never a second journal."""
    source, target = await ledger.funded(ADA, "10"), await ledger.open(GRACE)
    async with write_side(settings, _through(database, proxy)) as cut:
        proxy.cut_on(b"COMMIT")
        outcome = await Driver(cut.commands).transfer(ADA, source, target, "1", key="cut")
    assert proxy.counts["cut_after_pattern"] == 1
    again = await ledger.transfer(ADA, source, target, "1", key="cut")
    assert isinstance(again, Done)
    assert again.replayed
    assert journal_of(outcome).journal_id == journal_of(again).journal_id
    assert await _journals(side) == 1
    await assert_sound(side.pool)


async def test_f7_a_database_that_is_not_there_is_told_at_once_however_many_ask(
    ledger: Driver, settings: Settings, database: Database, proxy: FaultProxy
) -> None:
    """A batch fails as one: one by one, the last of 100 would be told after a quarter of a minute."""
    source, target = await ledger.funded(ADA, "100"), await ledger.open(GRACE)
    async with write_side(settings, _through(database, proxy)) as away:
        rival = Driver(away.commands)
        proxy.refuse = True
        proxy.cut_all()
        began = time.monotonic()
        answers = await asyncio.gather(
            *(rival.transfer(ADA, source, target, "1", key=f"away-{n}") for n in range(100)), return_exceptions=True
        )
        took = time.monotonic() - began
        assert {type(answer) for answer in answers} == {Unavailable}
        assert took < 10, took
        proxy.heal()
        assert isinstance(await rival.transfer(ADA, source, target, "1", key="away-0"), Done)


async def test_f11_a_session_that_sits_on_the_head_of_the_log_is_ended_and_a_foreign_one_delays_nothing(
    ledger: Driver, side: WriteSide, admin: asyncpg.Connection
) -> None:
    source, target = await ledger.funded(ADA, "10"), await ledger.open(GRACE)
    async with admin.transaction():
        await admin.fetchval("select pg_current_xact_id()")
        async with asyncio.timeout(20):
            assert isinstance(await ledger.transfer(ADA, source, target, "1"), Done)
    async with side.pool.acquire() as sitting:
        transaction = sitting.transaction()
        await transaction.start()
        await sitting.fetchval("select position from log_head for update")
        began = time.monotonic()
        assert isinstance(await ledger.transfer(ADA, source, target, "1"), Done)
        assert time.monotonic() - began < 10
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError)):
            await sitting.fetchval("select 1")
    await assert_sound(side.pool)


async def test_f24_a_clock_that_steps_forth_and_back_leaves_positions_and_stamps_rising(
    ledger: Driver, side: WriteSide, clock: SettableClock
) -> None:
    source, target = await ledger.funded(ADA, "100"), await ledger.open(GRACE)
    for step in (timedelta(minutes=5), timedelta(minutes=-5), timedelta(days=91), timedelta(days=-91)):
        clock.advance(step)
        assert isinstance(await ledger.transfer(ADA, source, target, "1"), Done)
    rows = await side.pool.fetch("select position, committed_at from event_store order by position")
    assert [row["position"] for row in rows] == list(range(1, len(rows) + 1))
    stamps = [row["committed_at"] for row in rows]
    assert stamps == sorted(stamps)
    await assert_sound(side.pool)


@pytest.mark.parametrize(
    "last",
    [datetime(2027, 12, 31, 23, 59, 59, tzinfo=UTC), datetime(2028, 2, 29, 23, 59, 59, tzinfo=UTC)],
    ids=["the year's end", "a leap day"],
)
async def test_f25_every_boundary_of_the_calendar_is_crossed_without_a_gap(
    ledger: Driver, side: WriteSide, clock: SettableClock, last: datetime
) -> None:
    source, target = await ledger.funded(ADA, "100"), await ledger.open(GRACE)
    clock.set(last)
    assert isinstance(await ledger.transfer(ADA, source, target, "1"), Done)
    clock.advance(timedelta(seconds=2))
    assert isinstance(await ledger.transfer(ADA, source, target, "2"), Done)
    months = await side.pool.fetch("select tableoid::regclass::text as month, count(*) from entries group by 1")
    crossed = {f"entries_{when:%Y_%m}" for when in (last, last + timedelta(seconds=2))}
    assert {row["month"]: row["count"] for row in months if row["month"] in crossed} == dict.fromkeys(crossed, 2)
    await assert_sound(side.pool)


async def test_f27_a_used_key_is_never_answered_with_anothers_result(
    ledger: Driver, side: WriteSide, clock: SettableClock
) -> None:
    source, target = await ledger.funded(ADA, "10"), await ledger.open(GRACE)
    first = journal_of(await ledger.transfer(ADA, source, target, "1", key="k"))
    clock.advance(timedelta(days=30))
    other_body = await ledger.transfer(ADA, source, target, "2", key="k")
    assert isinstance(other_body, Refused)
    assert other_body.refusal.code.value == "IDEMPOTENCY_KEY_REUSED"
    other_person = journal_of(await ledger.transfer(GRACE, target, source, "1", key="k"))
    assert other_person.journal_id != first.journal_id
    other_mutation = await ledger.run(ReverseJournal(first.journal_id, uuid4(), ADA), person=ADA, key="k")
    assert isinstance(other_mutation, Done)
    assert not other_mutation.replayed


async def test_f30_a_reversal_at_once_happens_once_and_is_not_reversed_itself(ledger: Driver, side: WriteSide) -> None:
    source, target = await ledger.funded(ADA, "10"), await ledger.open(GRACE)
    original = journal_of(await ledger.transfer(ADA, source, target, "10")).journal_id
    reversals: list[UUID] = [uuid4(), uuid4()]
    outcomes = await asyncio.gather(*(ledger.run(ReverseJournal(original, one, ADA)) for one in reversals))
    assert sum(isinstance(outcome, Done) for outcome in outcomes) == 1
    assert [one.refusal.code.value for one in outcomes if isinstance(one, Refused)] == ["ALREADY_REVERSED"]
    done = next(journal_of(outcome) for outcome in outcomes if isinstance(outcome, Done))
    again = await ledger.run(ReverseJournal(done.journal_id, uuid4(), ADA))
    assert isinstance(again, Refused)
    assert again.refusal.code.value == "ALREADY_REVERSED"
    held: Decimal = await side.pool.fetchval("select posted from account_balances where account_id = $1", source)
    assert held == 10
    await assert_sound(side.pool)
