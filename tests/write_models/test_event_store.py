"""Order, hash chains, old schema versions, erasure and months: what the store keeps, for ever."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import asyncpg
import pytest

from isthmus.domain.accounts import AccountFrozen, FreezeReason, UnfreezeAccount
from isthmus.domain.clock import SettableClock
from isthmus.runtime.wiring import WriteSide, write_side
from isthmus.settings import Settings
from isthmus.write_models.event_store import load_stream
from isthmus.write_models.verifier import verify
from tests.conftest import Database
from tests.write_models.driver import Driver, assert_sound, journal_of, report

ADA, GRACE = uuid4(), uuid4()


async def test_positions_are_gapless_and_stamps_rise_within_a_commit_too(ledger: Driver, side: WriteSide) -> None:
    source, target = await ledger.funded(ADA, "100"), await ledger.open(GRACE)
    await asyncio.gather(*[ledger.transfer(ADA, source, target, "1") for _ in range(50)])
    rows = await side.pool.fetch("select position, committed_at from event_store order by position")
    assert [row["position"] for row in rows] == list(range(1, len(rows) + 1))
    stamps = [row["committed_at"] for row in rows]
    assert stamps == sorted(set(stamps))


async def test_events_carry_who_when_and_why(ledger: Driver, side: WriteSide, clock: SettableClock) -> None:
    account = await ledger.open(ADA)
    row = await side.pool.fetchrow("select * from event_store where aggregate_id = $1", account)
    metadata = json.loads(row["metadata"])
    assert (row["aggregate_type"], row["version"], row["type"], row["schema_version"]) == (
        "account",
        1,
        "AccountOpened",
        1,
    )
    assert metadata == {
        "occurred_at": clock.now().isoformat(),
        "actor": f"person:{ADA}",
        "correlation_id": "test",
        "causation_id": None,
    }
    outbox = await side.pool.fetchrow("select * from outbox where position = $1", row["position"])
    assert (outbox["id"], outbox["type"], outbox["correlation_id"]) == (
        row["event_id"],
        "accounts.account.opened.v1",
        "test",
    )


@pytest.mark.parametrize(
    "change",
    [
        "data = jsonb_set(data, '{kind}', '\"REVERSAL\"')",
        "metadata = jsonb_set(metadata, '{actor}', '\"person:nobody\"')",
        "committed_at = committed_at + interval '1 second'",
        "type = 'HoldVoided'",
        "hash = sha256('forged')",
        "version = 9",
    ],
)
async def test_one_altered_event_breaks_the_chain_and_verify_names_it(
    ledger: Driver, side: WriteSide, admin: asyncpg.Connection, change: str
) -> None:
    source, target = await ledger.funded(ADA, "100"), await ledger.open(GRACE)
    journal = journal_of(await ledger.transfer(ADA, source, target, "1"))
    event_id: UUID = await side.pool.fetchval(
        "select event_id from event_store where aggregate_id = $1", journal.journal_id
    )
    await assert_sound(side.pool)
    # Only a superuser who takes down the guards first can do this.
    await admin.execute("alter event trigger isthmus_refuse_unguarded disable")
    await admin.execute("alter table event_store disable trigger append_only")
    await admin.execute(f"update event_store set {change} where event_id = $1", event_id)
    found = {finding.check.name: finding.violations for finding in (await report(side.pool)).findings}
    assert str(event_id) in " ".join(found["hash_chains"])


@pytest.mark.parametrize(
    ("check", "damage"),
    [
        ("balances_are_entries", "update account_balances set posted = posted + 1 where account_id = $1"),
        ("balances_at_every_version", "update account_balances set version = version + 1 where account_id = $1"),
        ("balances_are_events", "update account_balances set stream_version = 7 where account_id = $1"),
        ("never_below_the_floor", "update account_balances set floor = null where account_id = $1"),
        ("text_is_sealed", "update accounts set name = 'Ada' where id = $1"),
        ("one_order", "update log_head set position = position + 1 where $1::uuid is not null"),
    ],
)
async def test_verify_names_what_is_wrong(
    ledger: Driver, side: WriteSide, admin: asyncpg.Connection, check: str, damage: str
) -> None:
    account = await ledger.funded(ADA, "100")
    await admin.execute(damage, account)
    found = {finding.check.name: finding.violations for finding in (await verify(admin)).findings}
    assert found[check]


async def test_an_event_of_an_old_schema_version_is_lifted_on_reading(
    ledger: Driver, side: WriteSide, admin: asyncpg.Connection
) -> None:
    """AccountFrozen had no reason in version 1. Such an event is in the store, and its account can be unfrozen today."""
    account = await ledger.open(ADA)
    await admin.execute(
        "with head as (update log_head set position = position + 1, committed_at = committed_at + interval '1 second' "
        "returning position, committed_at), old as (select $2::jsonb as data, "
        '\'{"actor": "service:old", "occurred_at": "2020-01-01T00:00:00Z", "correlation_id": "old"}\'::jsonb as metadata, '
        "gen_random_uuid() as event_id) "
        "insert into event_store select position, event_id, 'account', $1, 2, 'AccountFrozen', 1, data, metadata, committed_at, "
        "event_hash((select hash from event_store where aggregate_id = $1), position, event_id, 'account', $1, 2, "
        "'AccountFrozen', 1, data, metadata, committed_at) from head, old",
        account,
        json.dumps({"account_id": str(account), "owner": str(ADA)}),
    )
    await admin.execute(
        "insert into outbox select event_id, 'account', aggregate_id::text, 'accounts.account.frozen.v1', '{}', position, 'old' "
        "from event_store where aggregate_id = $1 and version = 2",
        account,
    )
    await admin.execute(
        "update account_balances set frozen = true, freezes = '{UNSPECIFIED}', stream_version = 2 where account_id = $1",
        account,
    )
    await assert_sound(side.pool)
    async with side.pool.acquire() as connection:
        events = await load_stream(connection, account)
    assert events[-1] == AccountFrozen(account, ADA, FreezeReason.UNSPECIFIED)
    await ledger.done(UnfreezeAccount(account))
    assert not await side.pool.fetchval("select frozen from account_balances where account_id = $1", account)
    await assert_sound(side.pool)


async def test_destroying_a_persons_key_takes_their_text_and_nothing_else(ledger: Driver, side: WriteSide) -> None:
    source, target = await ledger.funded(ADA, "100"), await ledger.open(GRACE, name="Grace's own")
    journal = journal_of(await ledger.transfer(ADA, source, target, "1", reference="for the violin"))
    assert journal.reference is not None
    names = await side.pool.fetch(
        "select name from accounts where id = any($1) order by owner = $2 desc", [source, target], ADA
    )
    sealed = [journal.reference, *[row["name"] for row in names]]
    async with side.pool.acquire() as connection:
        assert await side.texts.open_many(connection, sealed) == ["for the violin", "Everyday", "Grace's own"]
        assert await side.texts.destroy(connection, ADA)
        assert await side.texts.open_many(connection, sealed) == [None, None, "Grace's own"]
    await assert_sound(side.pool)
    assert (await ledger.transfer(ADA, source, target, "1")).position  # a new key is made for what comes after


async def test_no_personal_text_is_in_any_column_of_the_database(
    ledger: Driver, side: WriteSide, admin: asyncpg.Connection
) -> None:
    canary = "Canaria-7f3a"
    account = await ledger.open(ADA, name=canary)
    await ledger.deposit(account, ADA, "5")
    await ledger.transfer(ADA, account, await ledger.open(GRACE), "1", reference=canary, key=f"key {canary}")
    tables = await admin.fetch(
        "select format('%I.%I', schemaname, tablename) as name from pg_tables where schemaname not in ('pg_catalog', 'information_schema')"
    )
    for table in tables:
        found = await admin.fetchval(f"select count(*) from {table['name']} t where t::text like '%{canary}%'")
        assert found == 0, table["name"]


async def test_a_months_end_is_crossed_without_a_gap(ledger: Driver, side: WriteSide, clock: SettableClock) -> None:
    """Partitions are made ahead by the worker; where time ran past them, the writer makes the month it needs."""
    clock.set(datetime(2026, 11, 30, 23, 59, 59, 999_000, tzinfo=UTC))
    source, target = await ledger.funded(ADA, "100"), await ledger.open(GRACE)
    await ledger.transfer(ADA, source, target, "1")
    clock.advance(timedelta(seconds=1))
    await ledger.transfer(ADA, source, target, "2")
    clock.set(datetime(2031, 2, 28, 23, 59, 59, tzinfo=UTC))
    await ledger.transfer(ADA, source, target, "4")
    months = await side.pool.fetch(
        "select tableoid::regclass::text as month, count(*) from entries group by 1 order by 1"
    )
    assert [(row["month"], row["count"]) for row in months] == [
        ("entries_2026_11", 4),
        ("entries_2026_12", 2),
        ("entries_2031_02", 2),
    ]
    await assert_sound(side.pool)


async def test_partitions_are_made_ahead_and_guarded(database: Database) -> None:
    connection = await asyncpg.connect(database.url)
    try:
        assert await connection.fetchval("select make_entries_partitions('2040-11-15', 3)") == 4
        assert await connection.fetchval("select make_entries_partitions('2040-11-15', 3)") == 0
        guards = await connection.fetch(
            "select tgname from pg_trigger where tgrelid = 'entries_2041_02'::regclass and tgenabled = 'A' order by 1"
        )
        assert [row["tgname"] for row in guards] == ["append_only", "append_only_truncate", "balanced"]
    finally:
        await connection.close()


async def test_a_stamp_is_taken_after_the_wait_for_a_reader_that_answers_for_now(
    settings: Settings, database: Database, admin: asyncpg.Connection
) -> None:
    """Such a reader holds log_head FOR SHARE; nothing may be committed afterwards with a stamp from before its answer."""
    async with write_side(settings, database.url) as parts:
        ledger = Driver(parts.commands)
        account = await ledger.open(ADA)
        async with admin.transaction():
            await admin.execute("select from log_head for share")
            writing = asyncio.create_task(ledger.deposit(account, ADA, "1"))
            await asyncio.sleep(0.3)
            answered_for = await admin.fetchval("select clock_timestamp()")
            assert not writing.done()
        done = await writing
        assert all(one.committed_at > answered_for for one in done.events)
