"""Limits by person and day: counted in the database whatever Redis knows, and never exceeded, however many ask at once and where."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from redis.asyncio import Redis

from isthmus.domain.clock import SettableClock
from isthmus.domain.compliance import Limits, LimitTable
from isthmus.domain.identifiers import uuid7_source
from isthmus.domain.payees import PayeeAccount
from isthmus.domain.refusals import LimitExceeded
from isthmus.integrations.screening.files import sanctions_list
from isthmus.integrations.screening.rules import ListedCompliance
from isthmus.integrations.screening.velocity import RedisVelocity
from isthmus.runtime.servers import EmbeddedServers
from isthmus.runtime.wiring import WriteSide, write_side
from isthmus.settings import Settings
from isthmus.write_models.envelope import Envelope, Refused
from isthmus.write_models.payment_desk import PaymentDesk, PaymentWish
from isthmus.write_models.velocity import Velocity
from tests.conftest import Database
from tests.write_models.driver import Driver

BOB = PayeeAccount(iban="GB29NWBK60161331926819")
COMPLIANCE = ListedCompliance(sanctions_list(None), LimitTable("t", {"EUR": Limits(Decimal(60), Decimal(100))}))


def desk_of(side: WriteSide, velocity: Velocity | None = None, provider: str = "bank") -> PaymentDesk:
    ids = uuid7_source(side.clock.now)
    return PaymentDesk(side.pool, side.commands, side.texts, side.clock, ids, provider, COMPLIANCE, velocity)


async def pay(desk: PaymentDesk, person: UUID, account: UUID, amount: str, key: str | None = None) -> Any:
    """A payment's id, or the refusal."""
    wish = PaymentWish(account, Decimal(amount), "EUR", "Bob", BOB, "")
    body = {"account": str(account), "amount": amount}
    envelope = Envelope(f"person:{person}", person, "initiatePayment", key or uuid4().hex, body, "test")
    made = await desk.initiate(person, wish, envelope)
    return made.refusal if isinstance(made, Refused) else made[0]


async def cancel(desk: PaymentDesk, person: UUID, payment: UUID) -> None:
    envelope = Envelope(f"person:{person}", person, "cancelPayment", uuid4().hex, {}, "test")
    assert not isinstance(await desk.cancel(person, payment, envelope), Refused)


async def reserved(side: WriteSide, person: UUID) -> Decimal:
    found: Decimal = await side.pool.fetchval(
        "select sum(b.pending_out) from account_balances b join accounts a on a.id = b.account_id where a.owner = $1",
        person,
    )
    return found


async def test_f28_fifty_at_once_in_two_processes_and_from_two_accounts_never_exceed_the_day(
    side: WriteSide, ledger: Driver, settings: Settings, database: Database, clock: SettableClock
) -> None:
    person, other = uuid4(), uuid4()
    accounts = [await ledger.funded(person, "1000.00") for _ in range(2)]
    others = await ledger.funded(other, "1000.00")
    async with write_side(settings, database.url, clock) as second:
        # Other accounts and another bank: nothing but the person is what the two have in common, and wait for each other at.
        desks = [desk_of(side), desk_of(second, provider="another bank")]
        wishes = [pay(desks[n % 2], person, accounts[n % 2], "7.00") for n in range(50)]
        *mine, theirs = await asyncio.gather(*wishes, pay(desks[0], other, others, "60.00"))

    passed = [one for one in mine if isinstance(one, UUID)]
    refused = [one for one in mine if isinstance(one, LimitExceeded)]
    assert (len(passed), len(refused)) == (14, 36), "14 of 7.00 are in 100.00, and 15 are not"
    assert await reserved(side, person) == 98
    assert isinstance(theirs, UUID), "the limit is a person's own"


async def test_the_next_day_counts_from_nothing(side: WriteSide, ledger: Driver, clock: SettableClock) -> None:
    person, desk = uuid4(), desk_of(side)
    account = await ledger.funded(person, "1000.00")
    for _ in range(2):
        assert isinstance(await pay(desk, person, account, "50.00"), UUID)
    refused = await pay(desk, person, account, "0.01")
    assert isinstance(refused, LimitExceeded)
    assert refused.resets_at is not None

    clock.advance(refused.resets_at - clock.now() - timedelta(microseconds=1))
    assert isinstance(await pay(desk, person, account, "0.01"), LimitExceeded)
    clock.advance(timedelta(microseconds=1))
    assert isinstance(await pay(desk, person, account, "0.01"), UUID)


async def test_payments_of_one_batch_count_each_other(side: WriteSide, ledger: Driver) -> None:
    person, desk = uuid4(), desk_of(side)
    account = await ledger.funded(person, "1000.00")

    made = await asyncio.gather(*(pay(desk, person, account, "30.00") for _ in range(10)))

    assert sum(isinstance(one, UUID) for one in made) == 3


@pytest.fixture
async def velocity(servers: EmbeddedServers) -> Any:
    redis: Redis = Redis.from_url(servers.redis_url)
    yield RedisVelocity(redis)
    await redis.aclose()


async def test_a_quick_no_spares_the_database_and_is_never_a_yes(
    side: WriteSide, ledger: Driver, velocity: RedisVelocity, monkeypatch: pytest.MonkeyPatch
) -> None:
    person, desk, key = uuid4(), desk_of(side, velocity), uuid4().hex
    account = await ledger.funded(person, "1000.00")
    first = await pay(desk, person, account, "60.00", key)
    assert await velocity.used(person, "EUR", side.clock.now()) is None, "only who was over is remembered"
    assert isinstance(await pay(desk, person, account, "50.00"), LimitExceeded)

    async def nobody(*_: object) -> None:
        raise AssertionError("nothing is decided for who was over a moment ago")

    with monkeypatch.context() as held:
        held.setattr(side.commands, "run", nobody)
        assert isinstance(await pay(desk, person, account, "50.00"), LimitExceeded)
    assert await pay(desk, person, account, "60.00", key) == first, "what was answered is answered so again"
    assert isinstance(await pay(desk, person, account, "40.00"), UUID), "what fits is asked for all the same"
    await velocity.remember(person, "EUR", Decimal(0), side.clock.now())
    assert isinstance(await pay(desk, person, account, "0.01"), LimitExceeded), (
        "whatever Redis has, the database decides"
    )

    await cancel(desk, person, first)
    assert isinstance(await pay(desk, person, account, "60.00"), UUID), "it is forgotten with the payment"


async def test_f28_without_redis_it_is_counted_from_the_database(side: WriteSide, ledger: Driver) -> None:
    person = uuid4()
    desk = desk_of(side, RedisVelocity(Redis.from_url("redis://127.0.0.1:1", socket_connect_timeout=0.1)))
    account = await ledger.funded(person, "1000.00")

    made = [await pay(desk, person, account, "50.00") for _ in range(3)]

    assert [isinstance(one, LimitExceeded) for one in made] == [False, False, True]
