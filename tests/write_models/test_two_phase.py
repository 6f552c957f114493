"""Holds, linked journals and reversals in the database, raced against each other."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from decimal import Decimal
from uuid import UUID, uuid4

import asyncpg

from isthmus.domain.accounts import Direction
from isthmus.domain.clock import SettableClock
from isthmus.domain.holds import PostHold, PostLinked, ReserveFunds, ReverseJournal, VoidHold
from isthmus.domain.ledger import JournalDraft, JournalKind, Leg
from isthmus.domain.refusals import AlreadyResolved, AlreadyReversed, InsufficientFunds
from isthmus.runtime.wiring import WriteSide, write_side
from isthmus.settings import Settings
from isthmus.write_models.commands import Done, Refused
from isthmus.write_models.holds import expire_due_holds, expire_hold
from isthmus.write_models.timers import EXPIRE_HOLD, Timers
from tests.conftest import Database
from tests.write_models.driver import Driver, assert_sound, journal_of

ADA, GRACE = uuid4(), uuid4()


def move(source: UUID, target: UUID, amount: str, kind: JournalKind = JournalKind.RESERVATION) -> JournalDraft:
    legs = (
        Leg(source, Direction.DEBIT, Decimal(amount), "EUR"),
        Leg(target, Direction.CREDIT, Decimal(amount), "EUR"),
    )
    return JournalDraft(uuid4(), kind, legs)


async def available(side: WriteSide, account: UUID) -> Decimal:
    value: Decimal = await side.pool.fetchval(
        "select posted - pending_out from account_balances where account_id = $1", account
    )
    return value


async def test_a_hold_is_resolved_exactly_once_whatever_runs_at_once(
    ledger: Driver, side: WriteSide, settings: Settings, database: Database, clock: SettableClock
) -> None:
    source, target = await ledger.funded(ADA, "100"), await ledger.open(GRACE)
    draft = move(source, target, "60")
    await ledger.done(ReserveFunds(draft))
    assert await available(side, source) == 40
    async with write_side(settings, database.url, clock) as other:
        rivals = Driver(other.commands)
        legs = move(source, target, "25").legs
        outcomes = await asyncio.gather(
            *[ledger.run(PostHold(draft.journal_id, uuid4())) for _ in range(5)],
            *[rivals.run(PostHold(draft.journal_id, uuid4(), legs)) for _ in range(5)],
            *[ledger.run(VoidHold(draft.journal_id)) for _ in range(5)],
            *[rivals.run(VoidHold(draft.journal_id)) for _ in range(5)],
        )
    assert sum(isinstance(outcome, Done) for outcome in outcomes) == 1
    assert all(isinstance(o.refusal, AlreadyResolved) for o in outcomes if isinstance(o, Refused))
    row = await side.pool.fetchrow("select * from account_balances where account_id = $1", source)
    assert row["pending_out"] == 0
    assert row["posted"] in (Decimal(40), Decimal(75), Decimal(100))
    await assert_sound(side.pool)


async def test_a_hold_cannot_be_overspent_and_expires(ledger: Driver, side: WriteSide, clock: SettableClock) -> None:
    source, target = await ledger.funded(ADA, "100"), await ledger.open(GRACE)
    draft = move(source, target, "60")
    await ledger.done(ReserveFunds(draft, expires_at=clock.now() + timedelta(minutes=10)))
    refused = await ledger.transfer(ADA, source, target, "50")
    assert isinstance(refused, Refused)
    assert isinstance(refused.refusal, InsufficientFunds)
    assert await expire_due_holds(side.pool, side.commands, clock) == 0
    clock.advance(timedelta(minutes=11))
    assert await expire_due_holds(side.pool, side.commands, clock) == 1
    assert await expire_due_holds(side.pool, side.commands, clock) == 0
    assert await available(side, source) == 100
    await assert_sound(side.pool)


async def test_the_timer_of_a_hold_begins_in_its_transaction(
    ledger: Driver, side: WriteSide, clock: SettableClock
) -> None:
    source, target = await ledger.funded(ADA, "100"), await ledger.open(GRACE)
    soon = clock.now() + timedelta(minutes=10)
    draft = move(source, target, "60")
    await ledger.done(ReserveFunds(draft, expires_at=soon))
    assert isinstance(await ledger.run(ReserveFunds(move(source, target, "60"), expires_at=soon)), Refused)
    jobs = await side.pool.fetch("select entrypoint, payload from pgqueuer")
    assert [(job["entrypoint"], job["payload"].decode()) for job in jobs] == [("expire_hold", str(draft.journal_id))]


async def test_a_hold_runs_out_by_its_timer(settings: Settings, database: Database) -> None:
    """On the real clock, through the queue that `work` runs."""

    async def expire(payload: bytes | None) -> None:
        assert payload is not None
        await expire_hold(side.commands, UUID(payload.decode()))

    async with write_side(settings, database.url) as side:
        ledger = Driver(side.commands)
        source, target = await ledger.funded(ADA, "100"), await ledger.open(GRACE)
        timers = Timers(lambda: asyncpg.connect(database.url), {EXPIRE_HOLD: expire})
        running = asyncio.create_task(timers.run())
        try:
            await ledger.done(
                ReserveFunds(move(source, target, "60"), expires_at=side.clock.now() + timedelta(seconds=1))
            )
            assert await available(side, source) == 40
            for _ in range(100):
                if await available(side, source) == 100:
                    break
                await asyncio.sleep(0.1)
            assert await available(side, source) == 100
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        await assert_sound(side.pool)


async def test_linked_journals_commit_together_or_not_at_all(ledger: Driver, side: WriteSide) -> None:
    source, middle, target = await ledger.funded(ADA, "10"), await ledger.open(ADA), await ledger.open(GRACE)
    kind = JournalKind.INTERNAL_TRANSFER
    both = PostLinked((move(source, middle, "10", kind), move(middle, target, "10", kind)))
    one_too_much = PostLinked((move(target, source, "10", kind), move(middle, source, "1", kind)))
    assert len((await ledger.done(both)).events) == 2
    assert isinstance(await ledger.run(one_too_much), Refused)
    assert await available(side, target) == 10
    await assert_sound(side.pool)


async def test_a_journal_is_reversed_once_even_when_asked_twice_at_once(ledger: Driver, side: WriteSide) -> None:
    source, target = await ledger.funded(ADA, "10"), await ledger.open(GRACE)
    original = journal_of(await ledger.transfer(ADA, source, target, "10")).journal_id
    outcomes = await asyncio.gather(*[ledger.run(ReverseJournal(original, uuid4(), ADA)) for _ in range(10)])
    assert sum(isinstance(outcome, Done) for outcome in outcomes) == 1
    assert all(isinstance(o.refusal, AlreadyReversed) for o in outcomes if isinstance(o, Refused))
    assert await available(side, source) == 10
    await assert_sound(side.pool)


async def test_a_reversal_below_zero_freezes_and_a_deposit_thaws(ledger: Driver, side: WriteSide) -> None:
    source, target = await ledger.funded(ADA, "10"), await ledger.open(GRACE)
    original = journal_of(await ledger.transfer(ADA, source, target, "10")).journal_id
    await ledger.transfer(GRACE, target, source, "10")
    await ledger.done(ReverseJournal(original, uuid4(), ADA))
    row = await side.pool.fetchrow("select * from account_balances where account_id = $1", target)
    assert (row["posted"], row["floor"], row["frozen"]) == (Decimal(-10), None, True)
    await assert_sound(side.pool)
    await ledger.deposit(target, GRACE, "10")
    row = await side.pool.fetchrow("select * from account_balances where account_id = $1", target)
    assert (row["posted"], row["floor"], row["frozen"]) == (Decimal(0), Decimal(0), False)
    await assert_sound(side.pool)
