"""`balance(asOf:)` costs the same on an account with very many entries as on a new one."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import asyncpg

from isthmus.read_models.balances import AT_SQL
from isthmus.runtime.wiring import WriteSide
from tests.write_models.driver import Driver

ADA = uuid4()
#: Hundreds of pages of an index: what reads them one after the other is seen. AS_OF_ENTRIES=1000000 takes a minute.
ENTRIES = int(os.environ.get("AS_OF_ENTRIES", "100000"))
JOURNALS = ENTRIES // 2
FIRST = datetime(2026, 11, 1, tzinfo=UTC)


async def _fill(admin: asyncpg.Connection, account: UUID) -> None:
    """One journal a second, each in and out of the account again: through the guards, like any other."""
    async with admin.transaction():
        await admin.execute("set local work_mem = '512MB'")
        await admin.execute(
            "insert into journal_entries (id, reference_id, kind, phase, correlation_id, event_id, posted_at) "
            "select ('00000000-0000-4000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, 'fill-' || n, 'DEPOSIT', 'POSTED', 'fill', "
            "gen_random_uuid(), $1::timestamptz + n * interval '1 second' from generate_series(1, $2::int) n",
            FIRST,
            JOURNALS,
        )
        await admin.execute(
            "insert into entries (journal_id, account_id, amount, asset, direction, posted_at, account_version, posted_after, "
            "pending_in_after, pending_out_after) "
            "select ('00000000-0000-4000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, $3::uuid, 1, 'EUR', direction, "
            "$1::timestamptz + n * interval '1 second', n, n, 0, 0 from generate_series(1, $2::int) n, "
            "(values ('CREDIT'), ('DEBIT')) as a (direction)",
            FIRST,
            JOURNALS,
            account,
        )
    await admin.execute("analyze entries")


async def _work(connection: asyncpg.Connection, account: UUID, instant: datetime) -> tuple[Any, int]:
    """The row, and how many pages PostgreSQL touched for it."""
    arguments = ([account], [instant], ADA, True)
    row = await connection.fetchrow(AT_SQL, *arguments)
    plan = json.loads(await connection.fetchval("explain (analyze, buffers, format json) " + AT_SQL, *arguments))
    top = plan[0]["Plan"]
    return row, top["Shared Hit Blocks"] + top["Shared Read Blocks"]


async def test_work_does_not_grow_with_the_accounts_age(
    ledger: Driver, side: WriteSide, admin: asyncpg.Connection
) -> None:
    side.clock.set(FIRST)  # type: ignore[attr-defined]  # the tests' clock can be set
    old, new = await ledger.open(ADA), await ledger.open(ADA)
    await ledger.deposit(new, ADA, "1")
    await _fill(admin, old)
    costs = []
    for second in (1, 1_000, JOURNALS // 2, JOURNALS):
        instant = FIRST.fromtimestamp(FIRST.timestamp() + second + 0.5, UTC)
        row, pages = await _work(admin, old, instant)
        assert (row["version"], row["posted"]) == (second, second)
        costs.append(pages)
    _, small = await _work(admin, new, FIRST.fromtimestamp(FIRST.timestamp() + 5, UTC))
    assert max(costs) <= small + 25, (costs, small)  # an index descent is a page or two deeper, nothing more
