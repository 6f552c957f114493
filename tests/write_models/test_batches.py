"""A batch is carried on as its payments, and is held against what was answered for before any of them is sent. Row D1."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest

from isthmus.domain.identifiers import uuid7_source
from isthmus.domain.payment_events import PaymentState
from isthmus.domain.sca import Method
from isthmus.integrations.screening.files import limit_table, sanctions_list
from isthmus.integrations.screening.rules import ListedCompliance
from isthmus.read_models.payments import PaymentReader
from isthmus.runtime.wiring import WriteSide
from isthmus.write_models.batch_desk import BatchDesk
from isthmus.write_models.code_delivery import CodeDelivery
from isthmus.write_models.envelope import Refused
from isthmus.write_models.payment_desk import PaymentWish
from isthmus.write_models.payment_rows import digest_of, find_payment
from isthmus.write_models.sca_desk import Answer
from tests.write_models.driver import Driver
from tests.write_models.test_code_delivery import Inbox
from tests.write_models.test_payment_saga import BOB, Office, opened

S = PaymentState


@pytest.fixture
async def office(side: WriteSide, ledger: Driver) -> Office:
    return await opened(side, ledger)


async def initiated(office: Office, *amounts: str, name: str = "") -> tuple[UUID, list[UUID]]:
    """(batch, its payments)."""
    side, ids = office.side, uuid7_source(office.side.clock.now)
    compliance = ListedCompliance(sanctions_list(None), limit_table(None, "GB"))
    desk = BatchDesk(side.pool, side.commands, side.texts, office.sca, side.clock, ids, "bank", compliance)
    wishes = [
        PaymentWish(office.account, Decimal(amount), "EUR", f"Payee {n} {name}".strip(), BOB, "Rent")
        for n, amount in enumerate(amounts)
    ]
    made = await desk.initiate(office.person, wishes, None, office.envelope("initiateBatchPayment"))
    assert not isinstance(made, Refused), made
    rows = await side.pool.fetch("select id from payments where batch_id = $1 order by batch_line", made[0])
    return made[0], [row["id"] for row in rows]


async def answered(office: Office, batch: UUID) -> Any:
    row = await office.side.pool.fetchrow("select id, digest from sca_challenges where subject_id = $1", batch)
    code = office.sca._codes.code(row["id"], row["digest"])
    return await office.sca.answer(office.person, row["id"], Answer(code), office.envelope("answerScaChallenge"))


async def test_each_payment_is_sent_by_itself_once_the_whole_was_answered_for(office: Office) -> None:
    batch, payments = await initiated(office, "10.00", "20.00", "30.00")
    assert (await office.figures())[:2] == (Decimal(100), Decimal(60))
    challenge, life = await office.side.pool.fetchrow(
        "select id, expires_at - issued_at from sca_challenges where subject_id = $1", batch
    )
    assert timedelta(minutes=4) < life <= timedelta(minutes=5)
    inbox = Inbox()
    delivery = CodeDelivery(
        office.side.pool, office.side.texts, office.sca._codes, inbox, office.side.commands.assets, office.side.clock
    )
    for change, outcome in (("amount + 1", "late"), ("amount - 1", "delivered")):
        await office.side.pool.execute(f"update payments set amount = {change} where id = $1", payments[2])
        assert await delivery.deliver(challenge) == outcome
    assert "Pay 60.00 EUR in all to 3 payees (Payee 0 10.00 EUR; Payee 1 20.00 EUR; Payee 2 30.00 EUR)" in (
        inbox.messages[0].body
    )
    assert not isinstance(await answered(office, batch), Refused)
    async with office.side.pool.acquire() as connection:
        row = await find_payment(connection, office.side.texts, payments[1])
        assert row is not None
        assert row.order is not None
        other = replace(row.order, amount=Decimal(21))
        bound_to = await connection.fetchval("select digest from sca_challenges where subject_id = $1", batch)
        assert await digest_of(connection, office.side.texts, row, row.order) == bound_to
        assert await digest_of(connection, office.side.texts, row, other) != bound_to, "it is of what will be sent"

    for payment in payments:
        assert await office.saga.advance(payment) == "sent"

    assert sorted(one.amount for one in office.bank.paid.values()) == [Decimal(10), Decimal(20), Decimal(30)]
    assert [await office.state(payment) for payment in payments] == [S.SUBMITTED] * 3
    reader = PaymentReader(office.side.pool, office.side.clock.stamp)
    mine, anothers = await reader.of_batches([(office.person, batch), (uuid4(), batch)])
    assert ([row.payment_id for row in mine], anothers) == (payments, [])


@pytest.mark.parametrize(
    "change",
    [
        "update payments set amount = amount + 1 where id = $1",
        "update payments set batch_id = null where id = $1",
        "update payments set batch_line = 7 where id = $1",
        "update payments set payee_name = reference where id = $1",
        "update payments set asset = 'GBP' where id = $1",
        "update payments set from_account_id = gen_random_uuid() where id = $1",
        "update payments set amount = amount where id = $1",
    ],
)
async def test_d1_a_line_that_was_changed_stops_all_that_is_not_sent_yet(office: Office, change: str) -> None:
    batch, payments = await initiated(office, "10.00", "20.00", "30.00")
    await answered(office, batch)
    assert await office.saga.advance(payments[0]) == "sent"

    await office.side.pool.execute(change, payments[1])
    outcomes = [await office.saga.advance(payment) for payment in (payments[2], payments[1])]

    if "amount = amount where" in change:
        assert outcomes == ["sent", "sent"], "nothing was changed"
        return
    assert outcomes == ["over", "over"]
    assert len(office.bank.paid) == 1
    assert [await office.state(payment) for payment in payments[1:]] == [S.REJECTED] * 2
    assert [await office.parked(payment) for payment in payments[1:]] == ["CHANGED_AFTER_SCA"] * 2
    assert (await office.figures())[1] == 10, "what is not sent is free again"


async def test_a_message_about_many_names_those_first_who_are_paid_most_and_has_room_for_the_code(
    office: Office,
) -> None:
    batch, _ = await initiated(office, *["0.10"] * 99, "50.00", name="X" * 60)
    challenge = await office.side.pool.fetchrow("select id, digest from sca_challenges where subject_id = $1", batch)
    inbox = Inbox()
    delivery = CodeDelivery(
        office.side.pool, office.side.texts, office.sca._codes, inbox, office.side.commands.assets, office.side.clock
    )
    assert await delivery.deliver(challenge["id"]) == "delivered"
    body = inbox.messages[0].body

    assert body.startswith(f"Pay 59.90 EUR in all to 100 payees (Payee 99 {'X' * 60} 50.00 EUR; Payee 0 ")
    assert "; and 88 more, 8.80 EUR in all, whom the app shows): your code is " in body
    assert office.sca._codes.code(challenge["id"], challenge["digest"]) in body
    assert len(body) < 1_250


async def test_the_same_wish_is_answered_as_before_though_its_method_is_gone(office: Office) -> None:
    side, ids = office.side, uuid7_source(office.side.clock.now)
    compliance = ListedCompliance(sanctions_list(None), limit_table(None, "GB"))
    desk = BatchDesk(side.pool, side.commands, side.texts, office.sca, side.clock, ids, "bank", compliance)
    wishes, envelope = [PaymentWish(office.account, Decimal(1), "EUR", "Bob", BOB, "")], office.envelope("x")
    assert isinstance(await desk.initiate(office.person, wishes, Method.DEVICE, envelope), Refused)
    made = await desk.initiate(office.person, wishes, None, envelope)
    again = await desk.initiate(office.person, wishes, Method.DEVICE, envelope)

    assert not isinstance(made, Refused)
    assert not isinstance(again, Refused)
    assert (again[0], again[1].replayed) == (made[0], True)


async def test_one_that_is_taken_back_before_the_answer_takes_the_others_with_it(office: Office) -> None:
    batch, payments = await initiated(office, "10.00", "20.00")
    await office.desk.cancel(office.person, payments[0], office.envelope("cancelPayment"))

    assert isinstance(await answered(office, batch), Refused)
    assert await office.jobs(payments[1]) == 2, "it is looked at now, not only when it expires"
    assert await office.saga.advance(payments[1]) == "expired"

    assert [await office.state(payment) for payment in payments] == [S.CANCELLED] * 2
    assert (await office.figures())[1] == 0
