"""What the database itself refuses, whoever asks: the product's role, the tables' owner, a superuser who is not careful."""

from __future__ import annotations

from uuid import uuid4

import asyncpg
import pytest

from isthmus.runtime.wiring import WriteSide
from tests.conftest import Database
from tests.write_models.driver import Driver

ADA, GRACE = uuid4(), uuid4()
TABLES = ("event_store", "journal_entries", "entries", "pending_entries")
CHANGES = (
    "delete from {table}",
    "delete from {table} where false",
    "update {table} set {column} = {column}",
    "truncate {table}",
    "truncate {table} cascade",
)
COLUMNS = {"event_store": "type", "journal_entries": "kind", "entries": "amount", "pending_entries": "amount"}


async def _partition(connection: asyncpg.Connection) -> str:
    name: str = await connection.fetchval(
        "select inhrelid::regclass::text from pg_inherits where inhparent = 'entries'::regclass order by 1 limit 1"
    )
    return name


@pytest.mark.parametrize("who", ["product", "owner"])
async def test_nothing_that_was_recorded_is_changed_or_removed(database: Database, ledger: Driver, who: str) -> None:
    await ledger.transfer(ADA, await ledger.funded(ADA, "5"), await ledger.open(GRACE), "1")
    connection = await asyncpg.connect(database.url if who == "product" else database.admin_url)
    try:
        partition = await _partition(connection)
        for table in (*TABLES, partition):
            for change in CHANGES:
                statement = change.format(table=table, column=COLUMNS.get(table, "amount"))
                with pytest.raises(asyncpg.PostgresError) as refused:
                    await connection.execute(statement)
                assert refused.value.sqlstate in (("42501",) if who == "product" else ("IA001",)), statement
    finally:
        await connection.close()


@pytest.mark.parametrize(
    "statement",
    [
        "drop table {partition}",
        "drop table event_store",
        "alter table entries detach partition {partition}",
        "alter table {partition} disable trigger append_only",
        "alter table entries disable trigger all",
        "alter table journal_entries enable replica trigger append_only_truncate",
        "drop trigger balanced on entries",
        "drop trigger append_only on {partition}",
        "alter table event_store alter column data type text using 'forged'",
        "alter table event_store rename to event_store_old",
        "alter table {partition} rename to elsewhere",
        "alter table {partition} set schema read_models",
        "alter trigger append_only on entries rename to harmless",
        "alter table entries detach partition {partition} concurrently",
        "create or replace function refuse_change() returns trigger language plpgsql as 'begin return null; end'",
        "create or replace trigger append_only before update on entries for each statement when (false) execute function refuse_change()",
        "drop function refuse_drop() cascade",
        "alter table event_store drop column data",
        "alter table event_store rename column data to old_data",
        "alter table journal_entries drop constraint journal_entries_reference_id_key",
        "create rule quiet as on insert to event_store do instead nothing",
        "alter table event_store enable row level security",
        "create table more_events () inherits (event_store)",
        "create table by_hand partition of entries for values from ('2050-01-01') to ('2050-02-01')",
        "drop table accounts cascade",
        "drop schema public cascade",
    ],
)
async def test_the_owner_does_not_take_the_guards_away(admin: asyncpg.Connection, statement: str) -> None:
    with pytest.raises(asyncpg.PostgresError) as refused:
        await admin.execute(statement.format(partition=await _partition(admin)))
    assert refused.value.sqlstate == "IA003"


async def _accounts(ledger: Driver) -> tuple[object, object, object]:
    return await ledger.open(ADA), await ledger.open(GRACE), await ledger.open(ADA, "GBP")


@pytest.mark.parametrize("table", ["entries", "partition"])
@pytest.mark.parametrize(
    ("legs", "sqlstate"),
    [
        ([(0, "DEBIT", "5", "EUR"), (1, "CREDIT", "4", "EUR")], "IB001"),
        ([(0, "DEBIT", "5", "EUR")], "IB001"),
        ([(0, "DEBIT", "5", "EUR"), (2, "CREDIT", "5", "GBP")], "IB001"),
        ([(0, "DEBIT", "5", "GBP"), (2, "CREDIT", "5", "GBP")], "IB002"),
        ([(0, "DEBIT", "-5", "EUR"), (1, "CREDIT", "-5", "EUR")], "23514"),
    ],
)
async def test_an_unbalanced_journal_is_refused_by_the_database(
    admin: asyncpg.Connection, ledger: Driver, table: str, legs: list[tuple[int, str, str, str]], sqlstate: str
) -> None:
    accounts = await _accounts(ledger)
    target = await _partition(admin) if table == "partition" else "entries"
    with pytest.raises(asyncpg.PostgresError) as refused:
        async with admin.transaction():
            journal, posted_at = await admin.fetchrow(
                "insert into journal_entries (id, reference_id, kind, phase, correlation_id, event_id, posted_at) "
                "values (gen_random_uuid(), 'r', 'DEPOSIT', 'POSTED', 'c', gen_random_uuid(), now()) returning id, posted_at"
            )
            values = ", ".join(
                f"('{journal}', '{accounts[n]}', {amount}, '{asset}', '{direction}', '{posted_at}', 1, 0, 0, 0)"
                for n, direction, amount, asset in legs
            )
            await admin.execute(
                f"insert into {target} (journal_id, account_id, amount, asset, direction, posted_at, account_version, "
                f"posted_after, pending_in_after, pending_out_after) values {values}"
            )
    assert refused.value.sqlstate == sqlstate


async def test_a_journal_gets_no_entries_after_its_transaction(admin: asyncpg.Connection, ledger: Driver) -> None:
    source, target = await ledger.funded(ADA, "5"), await ledger.open(GRACE)
    await ledger.transfer(ADA, source, target, "1")
    with pytest.raises(asyncpg.PostgresError) as refused:
        await admin.execute(
            "insert into entries (journal_id, account_id, amount, asset, direction, posted_at, account_version, posted_after, "
            "pending_in_after, pending_out_after) select journal_id, account_id, amount, asset, direction, posted_at, 9, 0, 0, 0 "
            "from entries"
        )
    assert refused.value.sqlstate == "IB003"


async def test_an_accounts_asset_and_owner_never_change(admin: asyncpg.Connection, ledger: Driver) -> None:
    account = await ledger.open(ADA)
    for change in ("asset = 'GBP'", "owner = gen_random_uuid()", "code = 'other'", "type = 'ASSET'"):
        with pytest.raises(asyncpg.PostgresError) as refused:
            await admin.execute(f"update accounts set {change} where id = $1", account)
        assert refused.value.sqlstate == "IA002"


async def test_a_balance_below_its_floor_is_refused_by_the_database(side: WriteSide, ledger: Driver) -> None:
    account = await ledger.funded(ADA, "5")
    with pytest.raises(asyncpg.CheckViolationError):
        await side.pool.execute("update account_balances set posted = -1 where account_id = $1", account)


async def test_the_products_role_does_not_trick_the_guards_with_tables_of_its_own(
    database: Database, ledger: Driver
) -> None:
    """Temporary tables are found before everything else: the guards name the real ones."""
    account, other = await ledger.open(ADA, "GBP"), await ledger.funded(ADA, "5")
    connection = await asyncpg.connect(database.url)
    try:
        await connection.execute("create temp table accounts as select id, 'EUR' as asset from public.accounts")
        await connection.execute("create temp table journal_entries as select * from public.journal_entries")
        with pytest.raises(asyncpg.PostgresError) as refused:
            await connection.execute(
                "insert into public.entries (journal_id, account_id, amount, asset, direction, posted_at, account_version, "
                "posted_after, pending_in_after, pending_out_after) select id, $1, 1, 'EUR', direction, posted_at, 1, 0, 0, 0 "
                "from public.journal_entries, (values ('DEBIT'), ('CREDIT')) as d (direction)",
                account,
            )
        assert refused.value.sqlstate == "IB002"
        for backwards in ("position = position - 1", "committed_at = committed_at - interval '1 s'"):
            with pytest.raises(asyncpg.PostgresError) as refused:
                await connection.execute(f"update log_head set {backwards}")
            assert refused.value.sqlstate == "IA004"
        with pytest.raises(asyncpg.PostgresError) as refused:
            await connection.execute("update public.accounts set may_overdraw = true where id = $1", other)
        assert refused.value.sqlstate == "IA002"
    finally:
        await connection.close()
