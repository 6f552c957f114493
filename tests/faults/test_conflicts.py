"""F9: whatever the database says when writers are in each other's way is tried again with fresh state, and no more often than that."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import asyncpg
import pytest
from prometheus_client import REGISTRY

from isthmus.failpoints import armed
from isthmus.runtime.wiring import WriteSide, write_side
from isthmus.settings import Settings
from isthmus.write_models.commands import Done, Refused
from tests.conftest import Database
from tests.faults.direct import DirectDoor
from tests.faults.wishes import wishes
from tests.write_models.driver import Driver, assert_sound, journal_of

ADA = uuid4()
TRIES = 5
FORCED = {"40001": "SerializationError", "40P01": "DeadlockDetectedError", "55P03": "LockNotAvailableError"}


@pytest.fixture
def ledger(side: WriteSide) -> Driver:
    return Driver(side.commands)


def _retries(cause: str) -> float:
    return REGISTRY.get_sample_value("isthmus_commit_retries_total", {"cause": cause}) or 0.0


async def _fail_journals(admin: asyncpg.Connection, sqlstate: str, times: int) -> None:
    """The next `times` attempts to write a journal fail. A sequence counts them: it is not rolled back."""
    await admin.execute(
        "create sequence attempts; grant usage on sequence attempts to public; "
        "create function in_the_way() returns trigger language plpgsql as $$ begin "
        f"if nextval('attempts') <= {times} then raise exception 'on purpose' using errcode = '{sqlstate}'; end if; "
        "return new; end $$; "
        "create trigger in_the_way before insert on journal_entries for each row execute function in_the_way()"
    )


async def _attempts(admin: asyncpg.Connection) -> int:
    found: int = await admin.fetchval("select last_value from attempts")
    return found


@pytest.mark.parametrize("sqlstate", FORCED)
async def test_f9_a_conflict_is_tried_again_and_done_once(
    ledger: Driver, side: WriteSide, admin: asyncpg.Connection, sqlstate: str
) -> None:
    source, target = await ledger.funded(ADA, "10"), await ledger.open(ADA)
    before = _retries(FORCED[sqlstate])
    await _fail_journals(admin, sqlstate, TRIES - 1)
    outcome = await ledger.transfer(ADA, source, target, "1", key="k")
    assert isinstance(outcome, Done)
    assert not outcome.replayed
    assert await _attempts(admin) == TRIES
    assert _retries(FORCED[sqlstate]) == before + TRIES - 1
    await assert_sound(side.pool)


@pytest.mark.parametrize("sqlstate", FORCED)
async def test_f9_a_conflict_that_stays_is_told_as_one_after_five_tries_and_its_key_is_not_used_up(
    ledger: Driver, side: WriteSide, admin: asyncpg.Connection, sqlstate: str
) -> None:
    source, target = await ledger.funded(ADA, "10"), await ledger.open(ADA)
    head = await admin.fetchval("select position from log_head")
    await _fail_journals(admin, sqlstate, 1_000)
    outcome = await ledger.transfer(ADA, source, target, "1", key="k")
    assert isinstance(outcome, Refused)
    assert outcome.refusal.code.value == "CONFLICT"
    assert await _attempts(admin) == TRIES
    assert await admin.fetchval("select position from log_head") == head, "refused is not stored"
    await admin.execute("drop trigger in_the_way on journal_entries")
    again = await ledger.transfer(ADA, source, target, "1", key="k")
    assert isinstance(again, Done)
    assert not again.replayed
    await assert_sound(side.pool)


async def test_f9_whoever_waited_too_long_for_a_lock_decides_again_on_what_is_there_then(
    ledger: Driver, side: WriteSide, settings: Settings, database: Database
) -> None:
    """The first writer holds the accounts longer than the second one waits for them, and takes all there is."""
    source, target = await ledger.funded(ADA, "10"), await ledger.open(ADA)
    before = _retries("LockNotAvailableError")
    hasty = settings.model_copy(update={"database": settings.database.model_copy(update={"lock_timeout_ms": 300})})
    async with write_side(hasty, database.url) as other:
        with armed("commit.before:1:hang=0.7") as points:
            first = asyncio.create_task(ledger.transfer(ADA, source, target, "10"))
            async with asyncio.timeout(20):
                while not points["commit.before"].passed:  # noqa: ASYNC110 - set by no event
                    await asyncio.sleep(0.01)
            second = await Driver(other.commands).transfer(ADA, source, target, "10")
    assert isinstance(await first, Done)
    assert isinstance(second, Refused)
    assert second.refusal.code.value == "INSUFFICIENT_FUNDS"
    assert _retries("LockNotAvailableError") > before
    await assert_sound(side.pool)


async def test_f9_the_victim_of_a_deadlock_with_a_foreign_session_that_locks_backwards_comes_through(
    ledger: Driver, side: WriteSide, admin: asyncpg.Connection
) -> None:
    low, high = sorted([await ledger.funded(ADA, "10"), await ledger.funded(ADA, "10")])
    lock = "select from account_balances where account_id = $1 for update"
    before = _retries("DeadlockDetectedError")
    await admin.execute("set deadlock_timeout = '30s'")  # so that the writer is the one that notices, and is the victim
    async with admin.transaction():
        await admin.execute(lock, high)
        transfer = asyncio.create_task(ledger.transfer(ADA, low, high, "1", key="k"))
        await _until_somebody_waits(side)
        await admin.execute(lock, low)
    assert isinstance(await transfer, Done)
    assert _retries("DeadlockDetectedError") > before
    assert journal_of(await ledger.transfer(ADA, low, high, "1", key="k")) == journal_of(transfer.result())
    await assert_sound(side.pool)


@pytest.mark.parametrize("downwards", [False, True])
async def test_f9_accounts_are_locked_in_the_order_of_their_ids_whichever_pays(
    ledger: Driver, side: WriteSide, admin: asyncpg.Connection, database: Database, downwards: bool
) -> None:
    """While the first is held by another, the second is free still: two writers never wait for each other."""
    low, high = sorted([await ledger.funded(ADA, "10"), await ledger.funded(ADA, "10")])
    lock = "select from account_balances where account_id = $1 for update"
    other = await asyncpg.connect(database.admin_url)
    async with admin.transaction():
        await admin.execute(lock, low)
        pair = (high, low) if downwards else (low, high)
        transfer = asyncio.create_task(ledger.transfer(ADA, *pair, "1"))
        await _until_somebody_waits(side)
        await other.execute(f"{lock} nowait", high)
    assert isinstance(await transfer, Done)
    await other.close()


async def _until_somebody_waits(side: WriteSide) -> None:
    waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
    async with asyncio.timeout(20):
        while not await side.pool.fetchval(waiting):  # noqa: ASYNC110 - the database tells nobody
            await asyncio.sleep(0.01)


async def test_f9_64_clients_on_two_hot_accounts_never_deadlock_and_every_answer_is_kept(
    side: WriteSide, settings: Settings, database: Database, admin: asyncpg.Connection
) -> None:
    """Both ways at once, through two writers."""
    deadlocks = "select deadlocks from pg_stat_database where datname = current_database()"
    before = await admin.fetchval(deadlocks)
    doors = [DirectDoor((side.commands,), ADA)]
    async with write_side(settings, database.url) as other:
        doors.append(DirectDoor((other.commands,), ADA))
        with wishes(settings.data_dir, doors[0]) as clients:
            await clients.furnish(accounts=2)

            async def client(number: int) -> None:
                for turn in range(3):
                    source, target = clients.accounts if (number // 2) % 2 else clients.accounts[::-1]
                    await clients.send([clients.transfer(source, target, f"0.{turn + 1}0")], doors[number % 2])

            await asyncio.gather(*(client(number) for number in range(64)))
            verdict = await clients.judged(database)
            sent = [intent for intent in clients.log.intents if intent.mutation == "transferInternally"]
    assert len(sent) == 3 * 64
    assert {intent.definite.kind for intent in sent if intent.definite} == {"ok"}
    assert verdict.checked["answers compared"] >= len(sent)
    assert await admin.fetchval(deadlocks) == before
