"""One-time codes are counted in the database: however many are asked for at once and where, a person is sent so many and no more."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from isthmus.domain.clock import SettableClock
from isthmus.domain.code_allowance import CodeLimits
from isthmus.domain.refusals import TooManyCodes
from isthmus.runtime.wiring import WriteSide, write_side
from isthmus.settings import Settings
from tests.conftest import Database
from tests.write_models.driver import Driver
from tests.write_models.test_payment_limits import desk_of, pay, reserved


async def sent(side: WriteSide) -> int:
    """Messages that are on their way, each for a challenge of its own."""
    found: int = await side.pool.fetchval("select count(*) from pgqueuer where entrypoint = 'deliver_code'")
    return found


def limited(side: WriteSide, *limits: int) -> WriteSide:
    side.commands._committer.code_limits = CodeLimits(*limits)
    return side


async def test_forty_at_once_in_two_processes_are_as_many_codes_as_there_may_be(
    side: WriteSide, ledger: Driver, settings: Settings, database: Database, clock: SettableClock
) -> None:
    person, other = uuid4(), uuid4()
    accounts = [await ledger.funded(person, "100.00") for _ in range(2)]
    others = await ledger.funded(other, "100.00")
    async with write_side(settings, database.url, clock) as second:
        desks = [desk_of(limited(side, 7, 9)), desk_of(limited(second, 7, 9), provider="another bank")]
        wishes = [pay(desks[n % 2], person, accounts[n % 2], "1.00") for n in range(40)]
        *mine, theirs = await asyncio.gather(*wishes, pay(desks[0], other, others, "1.00"))

    passed = [one for one in mine if isinstance(one, UUID)]
    refused = [one for one in mine if isinstance(one, TooManyCodes)]
    assert (len(passed), len(refused), await sent(side)) == (7, 33, 8)
    assert {one.resets_at for one in refused} == {clock.now() + timedelta(minutes=10)}
    assert await reserved(side, person) == 7, "what is refused reserves nothing"
    assert isinstance(theirs, UUID), "the allowance is a person's own"


async def test_the_same_key_sends_nothing_new_and_is_good_again_once_there_may_be_more(
    side: WriteSide, ledger: Driver, clock: SettableClock
) -> None:
    person, desk = uuid4(), desk_of(limited(side, 2, 3))
    account = await ledger.funded(person, "100.00")

    async def ask(key: str) -> Any:
        return await pay(desk, person, account, "1.00", key)

    first = await ask("a")
    assert [await ask("a") for _ in range(3)] == [first] * 3
    assert await sent(side) == 1
    await ask("b")
    refused = await ask("c")
    assert isinstance(refused, TooManyCodes)
    assert await ask("a") == first, "what was answered is answered again"

    assert refused.resets_at is not None
    clock.set(refused.resets_at)
    assert isinstance(await ask("c"), UUID)
    assert await sent(side) == 3

    tomorrow = await ask("d")
    assert isinstance(tomorrow, TooManyCodes)
    assert tomorrow.resets_at == clock.now() - timedelta(minutes=10) + timedelta(days=1)
