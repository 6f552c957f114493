"""Rows F28 and F39: money that is wanted by everyone at once, and every step of a payment that ends in every way."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest

from isthmus.domain.clock import SettableClock
from isthmus.domain.internal_transfers import NOBODY_IS_ASKED, TransferInternally
from isthmus.domain.payment_events import PaymentState
from isthmus.domain.payment_news import ProviderPayment
from isthmus.write_models.batch_desk import BatchDesk
from isthmus.write_models.commands import Done
from isthmus.write_models.envelope import Refused
from isthmus.write_models.payment_desk import PaymentWish
from isthmus.write_models.sagas.looking import next_look
from tests.write_models.driver import Driver, assert_sound
from tests.write_models.test_payment_saga import BOB, NOW, Office, office

__all__ = ["office"]

AT_ONCE = 20


@pytest.mark.parametrize(
    ("share", "transfers"), [((1, 1, 1), 20), ((3, 4, 5), 1)], ids=["each the whole", "each a part"]
)
async def test_f28_of_all_who_want_the_balance_at_once_by_every_way_only_as_many_get_it_as_it_covers(
    office: Office, ledger: Driver, share: tuple[int, int, int], transfers: int
) -> None:
    """By a payment, by a batch of two, within the platform; `share`: a so manieth of 100.00 each. `transfers`: few, where those who are
    quicker would leave nothing to the others."""
    other = await ledger.funded(uuid4(), "1.00")
    side, desk = office.side, office.desk
    batches = BatchDesk(side.pool, side.commands, side.texts, office.sca, side.clock, uuid4, "bank", desk._compliance)
    paid, batched, moved = (Decimal(100 // part) for part in share)

    def wish(amount: Decimal) -> PaymentWish:
        return PaymentWish(office.account, amount, "EUR", "Bob", BOB, "All")

    async def out() -> Decimal:
        made = await desk.initiate(office.person, wish(paid), office.envelope("initiatePayment"))
        return Decimal(0) if isinstance(made, Refused) else paid

    async def several() -> Decimal:
        lines = [wish(batched - 1), wish(Decimal(1))]
        made = await batches.initiate(office.person, lines, None, office.envelope("initiateBatchPayment"))
        return Decimal(0) if isinstance(made, Refused) else batched

    async def within() -> Decimal:
        command = TransferInternally(uuid4(), office.person, office.account, other, moved, "EUR", None, NOBODY_IS_ASKED)
        done = await side.commands.run(command, office.envelope("transferInternally"))
        return moved if isinstance(done, Done) else Decimal(0)

    ways = [*[out, several] * AT_ONCE, *[within] * transfers]
    got = await asyncio.gather(*(way() for way in ways))

    posted, reserved, _ = await office.figures()
    wants = [*[paid, batched] * AT_ONCE, *[moved] * transfers]
    refused = [want for want, came in zip(wants, got, strict=True) if not came]
    assert 0 <= posted - reserved == 100 - sum(got) < min(refused), "nobody is refused what there is"
    await assert_sound(side.pool)


_FREE, _GONE = (Decimal(100), Decimal(0), Decimal(0)), (Decimal(70), Decimal(0), Decimal(-30))


@pytest.mark.parametrize(
    ("troubles", "told", "state", "figures"),
    [
        (["refuses"], None, PaymentState.REJECTED, _FREE),
        (["before", "refuses"], None, PaymentState.REJECTED, _FREE),
        (["silent"], ProviderPayment.EXECUTED, PaymentState.EXECUTED, _GONE),
        (["after"], ProviderPayment.EXECUTED, PaymentState.EXECUTED, _GONE),
        (["after", "before"], ProviderPayment.FAILED, PaymentState.FAILED, _FREE),
        ([], ProviderPayment.FAILED, PaymentState.FAILED, _FREE),
        ([], ProviderPayment.REJECTED, PaymentState.REJECTED, _FREE),
        ([], ProviderPayment.CANCELLED, PaymentState.CANCELLED, _FREE),
        ([], ProviderPayment.EXPIRED, PaymentState.EXPIRED, _FREE),
        ([], ProviderPayment.SETTLED, PaymentState.SETTLED, _GONE),
    ],
    ids=lambda value: str(value) if not isinstance(value, tuple) else "",
)
async def test_f39_whatever_a_step_ends_in_the_money_is_where_the_payment_says(
    office: Office, troubles: list[str], told: ProviderPayment | None, state: PaymentState, figures: Any
) -> None:
    payment = await office.authorised()
    office.bank.troubles = list(troubles)

    for _ in range(len(troubles) + 1):
        await office.saga.advance(payment)
    if told is not None:
        office.bank.states[f"p-{payment}"] = told
        await office.saga.advance(payment)

    assert await office.state(payment) is state
    assert await office.figures() == figures
    assert await office.parked(payment) is None
    await office.side.pool.execute("delete from pgqueuer")
    await office.saga.advance(payment)
    assert (await office.jobs(payment), await office.figures()) == (0, figures), "there is nothing more to come"
    assert len(office.bank.paid) <= 1
    await assert_sound(office.side.pool)


@pytest.mark.parametrize("first", [ProviderPayment.EXECUTED, ProviderPayment.SETTLED])
async def test_f39_what_is_done_and_then_said_to_have_failed_is_shown_to_an_operator(
    office: Office, first: ProviderPayment
) -> None:
    """The money stays where the bank's first word put it: a second is no proof that it came back."""
    payment = await office.authorised()
    await office.saga.advance(payment)
    office.bank.states[f"p-{payment}"] = first
    await office.saga.advance(payment)

    office.bank.states[f"p-{payment}"] = ProviderPayment.FAILED
    await office.saga.advance(payment)

    assert await office.state(payment) is PaymentState(first)
    assert await office.parked(payment) == "CONTRADICTION"
    assert await office.figures() == _GONE


async def test_a_setting_that_is_gone_is_no_refusal_of_what_may_have_been_paid(office: Office) -> None:
    payment = await office.authorised()
    office.bank.troubles = ["after", "gone"]
    assert await office.saga.advance(payment) == "unknown"
    assert await office.saga.advance(payment) == "unknown"
    gone, office.saga._payouts = office.saga._payouts, {}
    assert await office.saga.advance(payment) == "unknown"
    assert (await office.state(payment), await office.figures()) == (PaymentState.AUTHORISED, (100, 30, 0))

    office.saga._payouts = gone
    assert await office.saga.advance(payment) == "sent"
    office.saga._payouts = {}
    assert await office.saga.advance(payment) == "unavailable"
    office.saga._payouts = gone
    office.bank.execute(payment)
    await office.saga.advance(payment)
    assert (await office.state(payment), len(office.bank.paid)) == (PaymentState.EXECUTED, 1)


async def test_what_nobody_knows_of_for_long_is_carried_on_while_its_key_is_good(office: Office) -> None:
    payment = await office.authorised()
    office.bank.troubles = ["before"] * 8
    for _ in range(8):
        await office.saga.advance(payment)
    assert (await office.state(payment), await office.parked(payment)) == (PaymentState.AUTHORISED, "UNKNOWN_STATUS")
    await office.side.pool.execute("delete from pgqueuer")
    assert (await office.saga.sweep(), await office.jobs(payment)) == (1, 1)

    assert await office.saga.advance(payment) == "sent"

    assert (await office.state(payment), await office.parked(payment)) == (PaymentState.SUBMITTED, None)


async def test_what_nobody_knows_of_for_longer_than_its_key_is_good_is_never_sent_again(
    office: Office, clock: SettableClock
) -> None:
    """Whatever a table says of how old it is."""
    payment = await office.authorised()
    office.bank.troubles = ["silent"] * 9
    await office.saga.advance(payment)
    clock.advance(timedelta(days=7, seconds=1))
    await office.side.pool.execute("update payments set made_at = $2 where id = $1", payment, clock.now())
    await office.side.pool.execute("delete from pgqueuer")

    assert await office.saga.advance(payment) == "over"

    assert (await office.state(payment), await office.parked(payment)) == (PaymentState.AUTHORISED, "UNKNOWN_STATUS")
    assert (await office.saga.sweep(), await office.jobs(payment)) == (0, 0)
    assert office.bank.sent == Counter()
    assert (await office.figures())[1] == 30


async def test_a_key_is_as_old_as_the_first_time_that_it_was_sent_however_long_the_payment_waited_before(
    office: Office, clock: SettableClock
) -> None:
    """For an operator, or for an account that was frozen."""
    payment = await office.authorised()
    clock.advance(timedelta(days=8))
    office.bank.troubles = ["silent"] * 8
    for _ in range(8):
        assert await office.saga.advance(payment) == "unknown"
    assert await office.parked(payment) == "UNKNOWN_STATUS"
    clock.advance(timedelta(days=6))
    await office.side.pool.execute("delete from pgqueuer")
    assert (await office.saga.sweep(), await office.jobs(payment)) == (1, 1)

    assert await office.saga.advance(payment) == "sent"


@pytest.mark.parametrize(
    ("age", "wait"),
    [
        (timedelta(seconds=2), timedelta(seconds=1)),
        (timedelta(minutes=2), timedelta(seconds=30)),
        (timedelta(hours=2), timedelta(minutes=5)),
        (timedelta(days=1), timedelta(hours=1)),
        (timedelta(days=400), timedelta(hours=6)),
    ],
)
def test_what_never_comes_to_an_end_is_looked_at_less_and_less(age: timedelta, wait: timedelta) -> None:
    assert next_look(NOW, NOW + age) == wait
