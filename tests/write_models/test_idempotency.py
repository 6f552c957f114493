"""A key is answered once: replays, other bodies, twins and refusals are told apart."""

from __future__ import annotations

import asyncio
from uuid import uuid4

from isthmus.domain.refusals import IdempotencyKeyReused, InsufficientFunds, InvalidAmount
from isthmus.runtime.wiring import WriteSide, write_side
from isthmus.settings import Settings
from isthmus.write_models.commands import Done, Refused
from tests.conftest import Database
from tests.write_models.driver import Driver, assert_sound

ADA, GRACE = uuid4(), uuid4()


async def test_a_replay_is_answered_with_the_first_answer(ledger: Driver) -> None:
    source, target = await ledger.funded(ADA, "100"), await ledger.open(GRACE)
    first = await ledger.transfer(ADA, source, target, "10", key="k")
    again = await ledger.transfer(ADA, source, target, "10", key="k")
    assert isinstance(first, Done)
    assert isinstance(again, Done)
    assert (first.replayed, again.replayed) == (False, True)
    assert (again.events, again.position) == (first.events, first.position)


async def test_another_body_under_the_same_key_is_refused_and_moves_nothing(ledger: Driver, side: WriteSide) -> None:
    source, target = await ledger.funded(ADA, "100"), await ledger.open(GRACE)
    await ledger.transfer(ADA, source, target, "10", key="k")
    other = await ledger.transfer(ADA, source, target, "11", key="k")
    assert isinstance(other, Refused)
    assert isinstance(other.refusal, IdempotencyKeyReused)
    assert await side.pool.fetchval("select count(*) from journal_entries") == 2  # the deposit and the first transfer


async def test_keys_belong_to_a_person_and_a_mutation(ledger: Driver) -> None:
    ada, grace = await ledger.funded(ADA, "100"), await ledger.funded(GRACE, "100")
    first = await ledger.transfer(ADA, ada, grace, "1", key="same")
    second = await ledger.transfer(GRACE, grace, ada, "2", key="same")
    assert isinstance(first, Done)
    assert isinstance(second, Done)
    assert not second.replayed


async def test_one_key_sent_200_times_at_once_moves_money_once_and_all_hear_the_same(
    ledger: Driver, side: WriteSide, settings: Settings, database: Database
) -> None:
    source, target = await ledger.funded(ADA, "100"), await ledger.open(GRACE)
    async with write_side(settings, database.url) as other:  # a second process's writer on the same database
        drivers = (ledger, Driver(other.commands))
        asked = [drivers[n % 2].transfer(ADA, source, target, "10", key="once") for n in range(200)]
        outcomes = await asyncio.gather(*asked)
    assert {type(outcome) for outcome in outcomes} == {Done}
    assert len({outcome.position for outcome in outcomes}) == 1
    assert sum(not outcome.replayed for outcome in outcomes) == 1
    assert await side.pool.fetchval("select posted from account_balances where account_id = $1", target) == 10
    await assert_sound(side.pool)


async def test_opening_with_one_key_from_two_writers_opens_one_account(
    ledger: Driver, side: WriteSide, settings: Settings, database: Database
) -> None:
    """Nothing is locked beforehand here: only the key's own row stands between the twins."""
    from isthmus.domain.accounts import OpenAccount
    from isthmus.domain.personal import PersonalText

    async with write_side(settings, database.url) as other:
        drivers = (ledger, Driver(other.commands))
        wishes = [OpenAccount(uuid4(), ADA, "EUR", PersonalText("Everyday")) for _ in range(40)]
        outcomes = await asyncio.gather(
            *[drivers[n % 2].run(wish, person=ADA, key="one") for n, wish in enumerate(wishes)]
        )
    assert len({repr(outcome.events) for outcome in outcomes if isinstance(outcome, Done)}) == 1
    assert await side.pool.fetchval("select count(*) from accounts") == 1


async def test_a_business_refusal_sticks_even_when_the_money_is_there_by_then(ledger: Driver) -> None:
    source, target = await ledger.open(ADA), await ledger.open(GRACE)
    refused = await ledger.transfer(ADA, source, target, "10", key="k")
    await ledger.deposit(source, ADA, "100")
    again = await ledger.transfer(ADA, source, target, "10", key="k")
    assert isinstance(refused, Refused)
    assert isinstance(again, Refused)
    assert isinstance(again.refusal, InsufficientFunds)
    assert (again.refusal, again.position, again.replayed) == (refused.refusal, refused.position, True)


async def test_what_was_wrong_with_the_request_is_not_remembered(ledger: Driver) -> None:
    source, target = await ledger.funded(ADA, "100"), await ledger.open(GRACE)
    wrong = await ledger.transfer(ADA, source, target, "1.001", key="k")
    assert isinstance(wrong, Refused)
    assert isinstance(wrong.refusal, InvalidAmount)
    assert isinstance(await ledger.transfer(ADA, source, target, "1.00", key="k"), Done)


async def test_a_refused_command_does_not_fail_the_ones_it_shares_a_commit_with(
    ledger: Driver, side: WriteSide
) -> None:
    source, target = await ledger.funded(ADA, "10"), await ledger.open(GRACE)
    amounts = ["1"] * 20 + ["1000"] * 20 + ["0.001"] * 20
    outcomes = await asyncio.gather(*[ledger.transfer(ADA, source, target, amount) for amount in amounts])
    assert sum(isinstance(outcome, Done) for outcome in outcomes) == 10
    assert await side.pool.fetchval("select posted from account_balances where account_id = $1", source) == 0
    await assert_sound(side.pool)


async def test_a_claim_dies_with_its_transaction(side: WriteSide, ledger: Driver, database: Database) -> None:
    """A writer that is killed before its commit leaves no key behind: the next one is not told 'in progress'."""
    import asyncpg

    source, target = await ledger.funded(ADA, "100"), await ledger.open(GRACE)
    killed = await asyncpg.connect(database.url)
    transaction = killed.transaction()
    await transaction.start()
    await killed.execute("insert into idempotency values ($1, $1, '{}', 1, now())", b"x" * 32)
    killed.terminate()
    assert isinstance(await ledger.transfer(ADA, source, target, "1", key="k"), Done)
    assert await side.pool.fetchval("select count(*) from idempotency where scope = $1", b"x" * 32) == 0
