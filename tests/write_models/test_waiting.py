"""What waits for somebody is told as gauges: how much of it, and since when; and looking at them reads nothing but what waits."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from prometheus_client import REGISTRY

from isthmus.domain.clock import SettableClock
from isthmus.domain.identifiers import uuid7_source
from isthmus.domain.pay_ins import ReceivePayIn
from isthmus.domain.payment_news import PaymentNews, ProviderPayment, RecordPaymentNews
from isthmus.domain.personal import PersonalText
from isthmus.domain.suspense import ConfirmSuspenseDecision, ProposeSuspenseDecision
from isthmus.read_models import waiting
from isthmus.read_models.waiting import Waits, what_waits
from isthmus.runtime.waiting_watch import tell
from isthmus.runtime.wiring import WriteSide
from isthmus.write_models.bank_mirror import system_envelope
from isthmus.write_models.envelope import Done
from tests.write_models.driver import Driver
from tests.write_models.test_payment_saga import Office, opened


@pytest.fixture
async def office(side: WriteSide, ledger: Driver) -> Office:
    return await opened(side, ledger)


def waits(number: int, seconds: float) -> Waits:
    about: Any = pytest.approx(seconds, abs=2)
    return Waits(number, about)


async def wished(office: Office, wish: Any) -> Done:
    done = await office.side.commands.run(wish, system_envelope(wish, uuid4().hex, "test"))
    assert isinstance(done, Done), done
    return done


async def test_a_payment_waits_unknown_from_its_first_try_until_something_is_known_of_it(
    office: Office, clock: SettableClock
) -> None:
    payment = await office.authorised()
    assert (await what_waits(office.side.pool, clock.now())).unknown == Waits(0, 0.0), "nobody has sent it"
    office.bank.troubles = ["silent"] * 8
    for n in range(8):
        assert await office.saga.advance(payment) == "unknown"
        clock.advance(timedelta(minutes=1))
        found = await what_waits(office.side.pool, clock.now())
        assert found.unknown == waits(1, 60.0 * (n + 1))
    found = await what_waits(office.side.pool, clock.now())
    assert set(found.parked) == {"UNKNOWN_STATUS", "REVIEW"}, "an operator was told, too"
    assert found.parked["UNKNOWN_STATUS"] == waits(1, 60.0)
    assert found.parked["REVIEW"] == Waits(0, 0.0)

    assert await office.saga.advance(payment) == "sent"

    after = await what_waits(office.side.pool, clock.now())
    assert (after.unknown, "UNKNOWN_STATUS" in after.parked) == (Waits(0, 0.0), False)


async def test_what_is_parked_and_in_suspense_is_told_until_operators_have_ended_it(
    office: Office, clock: SettableClock
) -> None:
    payment = await office.authorised()
    assert await office.saga.advance(payment) == "sent"
    news = PaymentNews(ProviderPayment.EXECUTED, "executed", f"p-{payment}", amount=Decimal("29"), asset="EUR")
    await wished(office, RecordPaymentNews(payment, news, uuid4()))
    came = ReceivePayIn("bank", "EUR", "e-1", Decimal("25.00"), clock.now())
    (opening,) = [one.event for one in (await wished(office, came)).events if hasattr(one.event, "case_id")]
    clock.advance(timedelta(hours=5))

    found = await what_waits(office.side.pool, clock.now())
    tell(found)

    hours = pytest.approx(18_000, abs=2)
    assert (found.parked["OTHER_AMOUNT"], found.cases) == (waits(1, 18_000), {"UNASSIGNED": waits(1, 18_000)})
    assert found.suspense == {"EUR": Decimal(25)}
    for name, labels, value in (
        ("isthmus_payments_waiting", {"why": "OTHER_AMOUNT"}, 1),
        ("isthmus_payments_waiting", {"why": "CONTRADICTION"}, 0),
        ("isthmus_payments_waiting_seconds", {"why": "OTHER_AMOUNT"}, hours),
        ("isthmus_payments_unknown", {}, 0),
        ("isthmus_reconciliation_oldest_case_seconds", {"difference": "UNASSIGNED"}, hours),
        ("isthmus_reconciliation_oldest_case_seconds", {"difference": "EXTRA"}, 0),
        ("isthmus_suspense_money", {"asset": "EUR"}, 25),
    ):
        assert REGISTRY.get_sample_value(name, labels) == value, name

    about: dict[str, Any] = {
        "case_id": opening.case_id,
        "provider": "bank",
        "asset_code": "EUR",
        "proposal_id": uuid7_source(clock.now)(),
        "account_id": office.account,
        "return_entry": None,
    }
    await wished(office, ProposeSuspenseDecision(**about, operator=uuid4(), reason=PersonalText("they wrote")))
    await wished(office, ConfirmSuspenseDecision(**about, operator=uuid4()))
    after = await what_waits(office.side.pool, clock.now())
    tell(after)

    assert (after.cases, after.suspense) == ({}, {"EUR": Decimal(0)})
    assert REGISTRY.get_sample_value("isthmus_suspense_money", {"asset": "EUR"}) == 0
    assert REGISTRY.get_sample_value("isthmus_reconciliation_oldest_case_seconds", {"difference": "UNASSIGNED"}) == 0


@pytest.mark.parametrize(
    ("sql", "index"),
    [
        (waiting.PARKED, "payments_parked"),
        (waiting.REVIEWS, "payments_in_review"),
        (waiting.UNKNOWN, "payments_unknown"),
        (waiting.CASES, "reconciliation_cases_open"),
        (waiting.HOUSE, "accounts_house"),
    ],
)
async def test_nothing_is_read_but_what_waits(side: WriteSide, sql: str, index: str) -> None:
    async with side.pool.acquire() as connection, connection.transaction():
        await connection.execute("set local enable_seqscan = off")
        plan = "\n".join(row[0] for row in await connection.fetch(f"explain {sql}"))

    assert f" {index} " in plan, plan
