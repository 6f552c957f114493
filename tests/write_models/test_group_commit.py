"""Commands that arrive together share a transaction, and none of them can tell: not by its outcome, and not by when it is answered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from decimal import Decimal
from uuid import UUID, uuid4

import asyncpg
import pytest
from prometheus_client import REGISTRY

from isthmus.domain.accounts import RenameAccount
from isthmus.domain.internal_transfers import NOBODY_IS_ASKED, TransferInternally
from isthmus.domain.personal import PersonalText
from isthmus.failpoints import armed
from isthmus.runtime.wiring import WriteSide, write_side
from isthmus.settings import Settings
from isthmus.write_models.commands import Done, Refused, Unavailable
from isthmus.write_models.committer import BATCH_MAX
from tests.conftest import Database
from tests.write_models.driver import Driver, assert_sound

ADA = uuid4()
_PATIENCE_S = 20.0


def _commits() -> tuple[int, int]:
    """(commits, commands) of this process so far."""
    name = "isthmus_commit_batch_commands"
    return int(REGISTRY.get_sample_value(f"{name}_count") or 0), int(REGISTRY.get_sample_value(f"{name}_sum") or 0)


def _conflicts() -> float:
    """How often a lock was waited for in vain by a command alone."""
    return REGISTRY.get_sample_value("isthmus_commit_retries_total", {"cause": "LockNotAvailableError"}) or 0.0


def _refused(cause: str) -> float:
    """Commands that were not even tried."""
    return REGISTRY.get_sample_value("isthmus_commit_refused_total", {"cause": cause}) or 0.0


async def _until_the_writer_waits_for_a_lock(admin: asyncpg.Connection) -> int:
    async with asyncio.timeout(_PATIENCE_S):
        while True:
            pid = await admin.fetchval(
                "select pid from pg_stat_activity where application_name = 'isthmus writer' "
                "and datname = current_database() and wait_event_type = 'Lock'"
            )
            if pid is not None:
                return int(pid)
            await asyncio.sleep(0.01)


async def _journals(side: WriteSide) -> int:
    count: int = await side.pool.fetchval("select count(*) from journal_entries where kind = 'INTERNAL_TRANSFER'")
    return count


async def test_commands_that_arrive_together_share_few_commits(ledger: Driver, side: WriteSide) -> None:
    accounts = [await ledger.funded(ADA, "100") for _ in range(4)]
    commits, commands = _commits()

    outcomes = await asyncio.gather(
        *[ledger.transfer(ADA, accounts[n % 4], accounts[(n + 1) % 4], "1") for n in range(60)]
    )

    after = _commits()
    assert all(isinstance(outcome, Done) for outcome in outcomes)
    assert after[1] - commands == 60
    assert after[0] - commits <= 3
    await assert_sound(side.pool)


async def test_one_command_alone_is_not_held_back_for_company(ledger: Driver, side: WriteSide) -> None:
    one, two = await ledger.funded(ADA, "100"), await ledger.open(ADA)
    commits, commands = _commits()

    for _ in range(10):
        await ledger.transfer(ADA, one, two, "1")

    after = _commits()
    assert (after[0] - commits, after[1] - commands) == (10, 10)  # a commit each, begun when it came


async def test_a_poisoned_command_fails_alone_among_fifty_neighbours(ledger: Driver, side: WriteSide) -> None:
    source, target = await ledger.funded(ADA, "1000"), await ledger.open(ADA)
    before = await ledger.transfer(ADA, source, target, "1")
    assert isinstance(before, Done)
    twin = TransferInternally(
        before.events[0].event.journal_id,  # type: ignore[union-attr,arg-type]  # there already: the database will not have it twice
        ADA, source, target, Decimal(1), "EUR", PersonalText("rent"), NOBODY_IS_ASKED,
    )  # fmt: skip

    wishes = [ledger.transfer(ADA, source, target, "1") for _ in range(50)]
    outcomes = await asyncio.gather(*wishes[:17], ledger.run(twin, person=ADA), *wishes[17:])

    outcome = outcomes.pop(17)
    assert all(isinstance(neighbour, Done) for neighbour in outcomes)
    assert isinstance(outcome, Refused)
    assert outcome.refusal.code == "CONFLICT"
    assert await _journals(side) == 51
    await assert_sound(side.pool)


async def test_a_command_that_breaks_its_handler_fails_alone(ledger: Driver, side: WriteSide) -> None:
    source, target = await ledger.funded(ADA, "1000"), await ledger.open(ADA)
    wish = TransferInternally(uuid4(), ADA, source, target, Decimal(1), "EUR", PersonalText("rent"), NOBODY_IS_ASKED)
    broken = ledger.run(replace(wish, amount="1"), person=ADA)  # type: ignore[arg-type]  # a bug, as one might have it

    outcomes = await asyncio.gather(
        *[ledger.transfer(ADA, source, target, "1") for _ in range(20)], broken, return_exceptions=True
    )

    assert all(isinstance(outcome, Done) for outcome in outcomes[:-1])
    assert isinstance(outcomes[-1], AttributeError)
    await assert_sound(side.pool)


@pytest.fixture
async def impatient(settings: Settings, database: Database) -> AsyncIterator[WriteSide]:
    """A write side that waits a tenth of a second for a lock."""
    hurried = settings.model_copy(update={"database": settings.database.model_copy(update={"lock_timeout_ms": 100})})
    async with write_side(hurried, database.url) as side:
        yield side


async def test_a_conflict_is_retried_alone_and_none_of_its_neighbours_notices(
    impatient: WriteSide, admin: asyncpg.Connection
) -> None:
    ledger = Driver(impatient.commands)
    contended, free, target = [await ledger.funded(ADA, "100") for _ in range(3)]
    before = _conflicts()
    async with admin.transaction():
        await admin.execute("select from account_balances where account_id = $1 for update", contended)
        wishes = [
            asyncio.create_task(ledger.transfer(ADA, contended if n == 10 else free, target, "1")) for n in range(20)
        ]
        async with asyncio.timeout(_PATIENCE_S):
            while _conflicts() == before:  # noqa: ASYNC110  # a counter tells nobody
                await asyncio.sleep(0.01)
    async with asyncio.timeout(_PATIENCE_S):
        outcomes = await asyncio.gather(*wishes)

    assert all(isinstance(outcome, Done) for outcome in outcomes)
    assert await _journals(impatient) == 20
    await assert_sound(impatient.pool)


async def test_nobody_is_answered_before_the_commit_and_a_lost_connection_loses_nothing(
    ledger: Driver, side: WriteSide, admin: asyncpg.Connection, database: Database
) -> None:
    source, target = await ledger.funded(ADA, "100"), await ledger.open(ADA)
    other = await asyncpg.connect(database.admin_url)
    async with admin.transaction():
        await admin.execute(
            "select from log_head for share"
        )  # the flush waits: everything is decided, nothing is written
        wishes = [asyncio.create_task(ledger.transfer(ADA, source, target, "1")) for _ in range(10)]
        writer = await _until_the_writer_waits_for_a_lock(other)
        assert not any(wish.done() for wish in wishes)
        await other.execute("select pg_terminate_backend($1)", writer)
    async with asyncio.timeout(_PATIENCE_S):
        outcomes = await asyncio.gather(*wishes)
    await other.close()

    assert all(isinstance(outcome, Done) for outcome in outcomes)
    assert await _journals(side) == 10
    await assert_sound(side.pool)


async def test_whoever_has_an_answer_finds_the_journal_committed(
    ledger: Driver, side: WriteSide, admin: asyncpg.Connection
) -> None:
    source, target = await ledger.funded(ADA, "100"), await ledger.open(ADA)
    turns = asyncio.Lock()

    async def transfer_and_look() -> bool:
        outcome = await ledger.transfer(ADA, source, target, "1")
        assert isinstance(outcome, Done)
        async with turns:
            found: bool = await admin.fetchval(
                "select exists (select from event_store where position = $1)", outcome.position
            )
            return found

    assert all(await asyncio.gather(*[transfer_and_look() for _ in range(40)]))


async def test_an_account_that_every_command_touches_is_written_once_a_commit(
    ledger: Driver, side: WriteSide, admin: asyncpg.Connection
) -> None:
    accounts = [await ledger.funded(ADA, "1000") for _ in range(4)]
    await admin.execute("create table seen (transaction xid8, account_id uuid)")
    await admin.execute(
        "create function see() returns trigger language plpgsql security definer as "
        "$$ begin insert into public.seen values (pg_current_xact_id(), new.account_id); return new; end $$"
    )
    await admin.execute("create trigger see before update on account_balances for each row execute function see()")

    wishes = [ledger.transfer(ADA, accounts[n % 4], accounts[(n + 1 + n // 4 % 3) % 4], "1") for n in range(100)]
    assert all(isinstance(outcome, Done) for outcome in await asyncio.gather(*wishes))

    written = await admin.fetch("select count(*) as times from seen group by transaction, account_id")
    assert {row["times"] for row in written} == {1}
    assert len(written) <= 3 * 4  # commits times accounts, not commands times two
    await assert_sound(side.pool)


async def test_of_two_names_given_together_the_last_stands(ledger: Driver, side: WriteSide) -> None:
    account = await ledger.open(ADA)

    await asyncio.gather(
        *[ledger.done(RenameAccount(account, ADA, PersonalText(f"name {n}")), person=ADA) for n in range(20)]
    )

    await assert_sound(side.pool)


async def test_plans_made_on_empty_tables_serve_large_ones(side: WriteSide, admin: asyncpg.Connection) -> None:
    """Every statement of the writer's is planned once, when there was nothing: none of those plans may read a table from end to end."""
    ledger = Driver(side.commands)
    accounts: list[UUID] = [await ledger.funded(ADA, "1000") for _ in range(2)]
    await ledger.transfer(ADA, accounts[0], accounts[1], "1")
    scans = "select relname, seq_scan from pg_stat_user_tables where schemaname = 'public'"

    async def counted() -> dict[str, int]:
        async with side.pool.acquire() as connection:
            await connection.execute("select pg_stat_force_next_flush()")
        await admin.execute("select pg_stat_clear_snapshot()")
        return {row["relname"]: row["seq_scan"] for row in await admin.fetch(scans)}

    before = await counted()
    for _ in range(3):
        await asyncio.gather(*[ledger.transfer(ADA, accounts[n % 2], accounts[1 - n % 2], "1") for n in range(20)])
    after = await counted()

    grown = {"event_store", "accounts", "account_balances", "journal_entries", "outbox", "idempotency", "person_keys"}
    assert {name for name in grown if after[name] != before[name]} == set()


async def test_a_bug_that_ends_the_writer_leaves_nobody_waiting_and_the_writer_is_started_again(
    ledger: Driver, side: WriteSide
) -> None:
    """Each is told that its outcome is unknown; sent again with its key it gets the one that it has."""
    one, two = await ledger.funded(ADA, "100"), await ledger.open(ADA)
    (writer,) = side.commands.parts
    keys = [ledger.key() for _ in range(2 * BATCH_MAX)]  # more than the batch that crashes

    with armed("committer.next:1:raise"):
        told = await asyncio.wait_for(
            asyncio.gather(*(ledger.transfer(ADA, one, two, "0.10", key=key) for key in keys), return_exceptions=True),
            _PATIENCE_S,
        )
        assert {type(one) for one in told} == {Unavailable}
        assert writer.crashes == 1
        async with asyncio.timeout(_PATIENCE_S):
            while not writer.running:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        again = await asyncio.gather(*(ledger.transfer(ADA, one, two, "0.10", key=key) for key in keys))
    assert all(isinstance(outcome, Done) for outcome in again)
    assert await _journals(side) == len(keys)
    await assert_sound(side.pool)


async def test_while_the_writer_is_not_running_a_command_is_refused_at_once(ledger: Driver, side: WriteSide) -> None:
    one, two = await ledger.funded(ADA, "100"), await ledger.open(ADA)
    (writer,) = side.commands.parts
    refused = _refused("stopped")
    writer.running = False  # as between a crash and its being started again
    with pytest.raises(Unavailable, match="not running"):
        await asyncio.wait_for(ledger.transfer(ADA, one, two, "1"), _PATIENCE_S)
    writer.running = True
    assert _refused("stopped") == refused + 1
    assert isinstance(await ledger.transfer(ADA, one, two, "1"), Done)
