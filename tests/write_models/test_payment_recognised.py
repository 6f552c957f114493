"""A payment of which nothing is known, and a webhook that says what the provider calls it."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID, uuid4

import pytest

from isthmus.domain.banking import ProviderRefused
from isthmus.domain.paying import PaymentOrder
from isthmus.domain.payment_events import PaymentState
from isthmus.domain.payment_news import PaymentNews
from isthmus.runtime.wiring import WriteSide
from tests.write_models.driver import Driver
from tests.write_models.test_payment_saga import Bank, Office, opened


class Telling(Bank):
    """Says whose payment it is. `says`: what it says instead. `denies`: it refuses also what it did."""

    says: UUID | None = None
    denies = False

    async def send(self, order: PaymentOrder) -> PaymentNews:
        if self.denies:
            raise ProviderRefused("no", "400_NO")
        return await super().send(order)

    async def look_up(self, reference: str) -> PaymentNews:
        return replace(await super().look_up(reference), our_payment=self.says or UUID(reference.removeprefix("p-")))


@pytest.fixture
async def office(side: WriteSide, ledger: Driver) -> Office:
    made = await opened(side, ledger)
    made.bank.__class__ = Telling
    return made


async def test_what_nobody_knew_of_is_found_by_the_name_that_a_webhook_told(office: Office) -> None:
    payment = await office.authorised()
    office.bank.troubles = ["after"] * 9
    for _ in range(8):
        await office.saga.advance(payment)
    assert (await office.state(payment), await office.parked(payment)) == (PaymentState.AUTHORISED, "UNKNOWN_STATUS")
    office.bank.execute(payment)

    assert await office.saga.advance(payment) == "unknown", "nobody said what it is called"
    office.bank.says = uuid4()  # type: ignore[attr-defined]  # another's
    assert await office.saga.advance(payment, f"p-{payment}") == "over"
    assert await office.state(payment) is PaymentState.AUTHORISED
    office.bank.says = None  # type: ignore[attr-defined]  # as above
    assert await office.saga.advance(payment, f"p-{payment}") == "looked"

    assert (await office.state(payment), await office.parked(payment)) == (PaymentState.EXECUTED, None)
    assert await office.figures() == (70, 0, -30)


async def test_what_is_over_here_and_was_done_all_the_same_is_shown_once_a_webhook_names_it(office: Office) -> None:
    payment = await office.authorised()
    office.bank.troubles = ["after"]
    await office.saga.advance(payment)
    office.bank.denies = True  # type: ignore[attr-defined]  # as above
    assert await office.saga.advance(payment) == "refused"
    assert (await office.state(payment), await office.figures()) == (PaymentState.REJECTED, (100, 0, 0))

    assert await office.saga.advance(payment, f"p-{payment}") == "looked"

    assert (await office.state(payment), await office.parked(payment)) == (PaymentState.REJECTED, "CONTRADICTION")
    told = "select data::text from event_store where aggregate_id = $1 and type = 'PaymentEvidenceKept'"
    assert f"as p-{payment}" in await office.side.pool.fetchval(told, payment), "an operator is to ask by that name"
