"""The verifier that runs all the time: silent on a sound ledger whatever runs at once, and quick to name what is not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import asyncpg
import pytest
from prometheus_client import REGISTRY

from isthmus.domain.accounts import FreezeAccount, RenameAccount, UnfreezeAccount
from isthmus.domain.holds import PostHold, ReserveFunds, ReverseJournal, VoidHold
from isthmus.domain.personal import PersonalText
from isthmus.runtime.wiring import WriteSide
from isthmus.write_models.findings import verify_whole
from isthmus.write_models.watch import Watch
from tests.conftest import Database
from tests.read_models.rig import until
from tests.write_models.driver import Driver, journal_of
from tests.write_models.test_two_phase import move

ADA, GRACE = uuid4(), uuid4()
SECONDS = 8.0


def violations(invariant: str) -> float | None:
    return REGISTRY.get_sample_value("isthmus_ledger_violations", {"invariant": invariant})


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


@asynccontextmanager
async def watching(database: Database, **options: float) -> AsyncIterator[Watch]:
    watch = Watch(lambda: asyncpg.connect(database.url), **{"new_every_s": 0.1, "sweep_every_s": 0.3, **options})  # type: ignore[arg-type]
    task = asyncio.create_task(watch.run())
    try:
        yield watch
    finally:
        ended = task.done()
        task.cancel()
        (outcome,) = await asyncio.gather(task, return_exceptions=True)
        assert not ended, outcome


@pytest.fixture
async def history(ledger: Driver) -> UUID:
    """A ledger with something of everything; Ada's account in it."""
    account, other = await ledger.funded(ADA, "100"), await ledger.funded(GRACE, "50")
    sent = journal_of(await ledger.transfer(ADA, account, other, "10"))
    await ledger.done(ReverseJournal(sent.journal_id, uuid4(), ADA))
    taken, let_go = move(account, other, "7"), move(account, other, "5")
    await ledger.done(ReserveFunds(taken))
    await ledger.done(ReserveFunds(let_go))
    await ledger.done(PostHold(taken.journal_id, uuid4()))
    await ledger.done(VoidHold(let_go.journal_id))
    await ledger.done(FreezeAccount(other))
    await ledger.done(UnfreezeAccount(other))
    await ledger.done(RenameAccount(account, ADA, PersonalText("Rent")), person=ADA)
    return account


async def unguard(admin: asyncpg.Connection) -> None:
    """What only a superuser can do, before any fault can be planted at all."""
    await admin.execute("alter event trigger isthmus_refuse_unguarded disable")
    for table in ("event_store", "journal_entries", "entries", "pending_entries"):
        await admin.execute(f"alter table {table} disable trigger append_only")


@pytest.mark.parametrize("stretch", [1, 3, 1_000])
async def test_a_sound_ledger_is_sound_however_it_is_cut(
    history: UUID, side: WriteSide, database: Database, stretch: int
) -> None:
    connection = await asyncpg.connect(database.url)
    watch = Watch(lambda: asyncpg.connect(database.url), slice_events=stretch, sweep_events=stretch)
    try:
        while await watch.round(connection, sweep=True):
            pass
        for _ in range(20):
            await watch.round(connection, sweep=True)
    finally:
        await connection.close()
    head = await side.pool.fetchval("select position from log_head")
    assert await side.pool.fetchval("select checked from verifier_state") == head
    assert await side.pool.fetch("select * from verifier_findings") == []


@pytest.mark.parametrize(
    ("invariant", "damage"),
    [
        ("movements_are_events", "update entries set posted_after = posted_after + 1 where account_id = $1"),
        ("balanced_journals", "update entries set amount = amount + 1 where account_id = $1"),
        ("balanced_journals", "delete from entries where account_id = $1"),
        ("balances_at_every_version", "update pending_entries set amount = amount + 1 where account_id = $1"),
        ("balances_are_entries", "update account_balances set posted = posted + 1 where account_id = $1"),
        ("balances_are_entries", "update account_balances set pending_out = 3 where account_id = $1"),
        ("balances_are_events", "update account_balances set stream_version = 7 where account_id = $1"),
        ("never_below_the_floor", "update account_balances set floor = null where account_id = $1"),
        ("accounts_are_events", "update accounts set name = 'sealed:v1:forged' where id = $1"),
        ("text_is_sealed", "update accounts set name = 'Ada' where id = $1"),
        ("hash_chains", "update event_store set metadata = '{}' where aggregate_id = $1 and version = 1"),
        ("hash_chains", "update event_store set hash = sha256('forged') where aggregate_id = $1"),
        ("one_order", "delete from event_store where aggregate_id = $1 and version = 2"),
        ("one_order", "update log_head set committed_at = committed_at + interval '1 s' where $1::uuid is not null"),
        ("one_order", "update event_store set committed_at = '2020-01-01' where aggregate_id = $1 and version = 2"),
        ("published_from_events", "delete from outbox where aggregateid = $1::uuid::text"),
        ("journals_are_events", "update journal_entries set kind = 'FEE' where $1::uuid is not null"),
        ("journals_are_events", "update event_store set data = '{\"journal_id\": 1}' where type = 'HoldVoided' and $1::uuid is not null"),
    ],
)  # fmt: skip
async def test_a_planted_fault_is_named_within_seconds(
    history: UUID, admin: asyncpg.Connection, database: Database, invariant: str, damage: str
) -> None:
    """Also in what was verified long ago: the past is gone through again."""
    async with watching(database):
        await until(lambda: _true(violations(invariant) == 0), 10)
        await until(lambda: _caught_up(admin), 10)
        await unguard(admin)
        began = time.monotonic()
        await admin.execute(damage, history)
        await until(lambda: _true((violations(invariant) or 0) > 0), 10)
        assert time.monotonic() - began < SECONDS
    assert violations(invariant) is None, "a process that does not verify says nothing about it"


async def test_a_fault_in_what_is_new_is_found_without_going_through_the_past(
    history: UUID, ledger: Driver, admin: asyncpg.Connection, database: Database
) -> None:
    async with watching(database, sweep_events=0):
        await until(lambda: _caught_up(admin), 10)
        await admin.execute("update account_balances set posted = posted + 1 where account_id = $1", history)
        await ledger.deposit(history, ADA, "1")
        await until(lambda: _true((violations("balances_at_every_version") or 0) > 0), 10)


async def test_what_was_found_stays_until_a_whole_verification_no_longer_sees_it(
    history: UUID, admin: asyncpg.Connection, database: Database
) -> None:
    await admin.execute("update account_balances set posted = posted + 1 where account_id = $1", history)
    async with watching(database):
        await until(lambda: _true((violations("balances_are_entries") or 0) > 0), 10)
    await admin.execute("update account_balances set posted = posted - 1 where account_id = $1", history)
    async with watching(database):  # started again, on a ledger that is sound by now
        await until(lambda: _true(violations("balances_are_entries") is not None), 10)
        assert (violations("balances_are_entries") or 0) > 0
        assert (await verify_whole(admin)).sound
        await until(lambda: _true(violations("balances_are_entries") == 0), 10)
        await until(lambda: _true(time.time() - value("isthmus_ledger_verified_timestamp_seconds") < 60), 10)


async def test_whoever_no_longer_verifies_says_nothing_about_the_ledger(
    history: UUID, ledger: Driver, admin: asyncpg.Connection, database: Database
) -> None:
    """A process that lost the lease while it was far behind would have its alert ring until it is started again."""
    head = await admin.fetchval("select position from log_head")
    async with watching(database, slice_events=1, new_every_s=5.0):
        await until(lambda: _true(value("isthmus_ledger_unchecked_events") > head / 2), 10)
        assert violations("balances_are_entries") is not None
    assert value("isthmus_ledger_unchecked_events") == 0
    assert violations("balances_are_entries") is None


async def test_the_verifier_tells_how_often_the_whole_is_to_be_verified(history: UUID, database: Database) -> None:
    async with watching(database, whole_every_s=86_400.0):
        await until(lambda: _true(value("isthmus_ledger_verify_interval_seconds") == 86_400), 10)


async def test_commits_under_way_are_never_taken_for_faults(
    ledger: Driver, admin: asyncpg.Connection, database: Database
) -> None:
    accounts = [await ledger.funded(ADA, "1000") for _ in range(4)]
    rounds = value("isthmus_ledger_check_seconds_count", part="new")

    def looked() -> float:
        return value("isthmus_ledger_check_seconds_count", part="new") - rounds

    async def write(n: int) -> None:
        step = 0
        while step < 40 or (looked() < 3 and step < 2_000):
            step += 1
            await ledger.transfer(ADA, accounts[(n + step) % 4], accounts[(n + step + 1) % 4], "1")

    async with watching(database, new_every_s=0.0, sweep_every_s=0.05):
        await asyncio.gather(*(write(n) for n in range(8)))
        assert looked() >= 3, "it looked while they were written"
        await until(lambda: _caught_up(admin), 10)
    assert await admin.fetch("select * from verifier_findings") == []


async def _caught_up(admin: asyncpg.Connection) -> bool:
    caught: bool = await admin.fetchval("select checked = position from verifier_state, log_head")
    return caught


async def _true(value: bool) -> bool:
    return value
