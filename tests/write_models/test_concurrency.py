"""Many writers, few accounts: nothing is lost, doubled, overspent or deadlocked."""

from __future__ import annotations

import asyncio
import random
from decimal import Decimal
from uuid import uuid4

from isthmus.domain.accounts import FreezeAccount, RenameAccount
from isthmus.domain.personal import PersonalText
from isthmus.runtime.wiring import WriteSide, write_side
from isthmus.settings import Settings
from isthmus.write_models.commands import Done, Refused
from tests.conftest import Database
from tests.write_models.driver import Driver, assert_sound

ADA = uuid4()


async def test_200_transfers_at_once_over_four_accounts_through_two_writers(
    ledger: Driver, side: WriteSide, settings: Settings, database: Database
) -> None:
    accounts = [await ledger.funded(ADA, "50") for _ in range(4)]
    choose = random.Random(7)
    async with write_side(settings, database.url) as other:
        drivers = (ledger, Driver(other.commands))
        wishes = []
        for n in range(200):
            source, target = choose.sample(accounts, 2)
            amount = str(Decimal(choose.randint(1, 4000)) / 100)
            wishes.append(drivers[n % 2].transfer(ADA, source, target, amount))
        outcomes = await asyncio.gather(*wishes)
    done = [outcome for outcome in outcomes if isinstance(outcome, Done)]
    assert done
    assert {o.refusal.code for o in outcomes if isinstance(o, Refused)} <= {"INSUFFICIENT_FUNDS"}
    assert (
        await side.pool.fetchval("select sum(posted) from account_balances where account_id = any($1)", accounts) == 200
    )
    assert await side.pool.fetchval("select count(*) from journal_entries where kind = 'INTERNAL_TRANSFER'") == len(
        done
    )
    await assert_sound(side.pool)


async def test_the_whole_balance_withdrawn_many_times_at_once_goes_once(ledger: Driver, side: WriteSide) -> None:
    source, target = await ledger.funded(ADA, "100"), await ledger.open(ADA)
    outcomes = await asyncio.gather(*[ledger.transfer(ADA, source, target, "100") for _ in range(100)])
    assert sum(isinstance(outcome, Done) for outcome in outcomes) == 1
    await assert_sound(side.pool)


async def test_two_writers_on_one_version_both_come_through_in_some_order(
    ledger: Driver, side: WriteSide, settings: Settings, database: Database
) -> None:
    account = await ledger.open(ADA)
    async with write_side(settings, database.url) as other:
        drivers = (ledger, Driver(other.commands))
        names = [
            drivers[n % 2].done(RenameAccount(account, ADA, PersonalText(f"name {n}")), person=ADA) for n in range(20)
        ]
        freezes = [drivers[n % 2].run(FreezeAccount(account)) for n in range(10)]
        await asyncio.gather(*names, *freezes)
    versions = await side.pool.fetch(
        "select version from event_store where aggregate_id = $1 order by version", account
    )
    assert [row["version"] for row in versions] == list(range(1, 23))  # opened, 20 names, frozen once
    await assert_sound(side.pool)


async def test_writers_that_lock_in_opposite_order_do_not_deadlock(
    ledger: Driver, side: WriteSide, settings: Settings, database: Database
) -> None:
    one, two = await ledger.funded(ADA, "100"), await ledger.funded(ADA, "100")
    before = await side.pool.fetchval("select deadlocks from pg_stat_database where datname = current_database()")
    async with write_side(settings, database.url) as other:
        rivals = Driver(other.commands)
        for _ in range(15):
            await asyncio.gather(
                *[ledger.transfer(ADA, one, two, "1") for _ in range(4)],
                *[rivals.transfer(ADA, two, one, "1") for _ in range(4)],
            )
    after = await side.pool.fetchval("select deadlocks from pg_stat_database where datname = current_database()")
    assert after == before
    await assert_sound(side.pool)
