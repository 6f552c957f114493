"""What nobody is asked for is counted in the database, however many pay at once and where, until they prove who they are again."""

from __future__ import annotations

import asyncio
from collections import Counter
from decimal import Decimal
from uuid import UUID, uuid4

from isthmus.domain import sca
from isthmus.domain.clock import SettableClock
from isthmus.domain.compliance import Limits, LimitTable
from isthmus.domain.exemptions import ExemptionRules, LowValue
from isthmus.domain.identifiers import uuid7_source
from isthmus.domain.sca_answers import AnswerScaChallenge
from isthmus.integrations.screening.files import sanctions_list
from isthmus.integrations.screening.rules import ListedCompliance
from isthmus.runtime.wiring import WriteSide, write_side
from isthmus.settings import Settings
from isthmus.write_models.envelope import Done, Envelope, Refused
from isthmus.write_models.exempted import write
from isthmus.write_models.payment_desk import PaymentDesk, PaymentWish
from tests.conftest import Database
from tests.write_models.driver import Driver
from tests.write_models.test_payment_limits import BOB, cancel

RULES = ExemptionRules("v1", low_value={"EUR": LowValue(Decimal(30), Decimal(100), 5)})
COMPLIANCE = ListedCompliance(sanctions_list(None), LimitTable("t", {"EUR": Limits(Decimal(500), Decimal(9_000))}))


def desk_of(side: WriteSide) -> PaymentDesk:
    ids = uuid7_source(side.clock.now)
    return PaymentDesk(side.pool, side.commands, side.texts, side.clock, ids, "bank", COMPLIANCE, None, RULES)


async def pay(desk: PaymentDesk, person: UUID, account: UUID, amount: str, method: sca.Method | None = None) -> UUID:
    wish = PaymentWish(account, Decimal(amount), "EUR", "Bob", BOB, "", method)
    made = await desk.initiate(person, wish, envelope_of(person, "initiatePayment"))
    assert not isinstance(made, Refused)
    return made[0]


def envelope_of(person: UUID, mutation: str) -> Envelope:
    return Envelope(f"person:{person}", person, mutation, uuid4().hex, {}, "test")


async def states(side: WriteSide, person: UUID) -> Counter[tuple[str, str | None]]:
    rows = await side.pool.fetch("select state, exempted_by from payments where owner = $1", person)
    return Counter((row["state"], row["exempted_by"]) for row in rows)


async def exempted(side: WriteSide, payment: UUID) -> bool:
    found: bool = await side.pool.fetchval("select exempted_by is not null from payments where id = $1", payment)
    return found


async def prove(side: WriteSide, person: UUID, payment: UUID) -> None:
    row = await side.pool.fetchrow("select challenge_id, digest, from_account_id from payments where id = $1", payment)
    wish = AnswerScaChallenge(
        row["challenge_id"], payment, person, row["digest"], sca.CodeProof(True), row["from_account_id"]
    )
    assert isinstance(await side.commands.run(wish, envelope_of(person, "answerScaChallenge")), Done)


async def test_two_hundred_at_once_in_two_processes_never_exceed_the_counters(
    side: WriteSide, ledger: Driver, settings: Settings, database: Database, clock: SettableClock
) -> None:
    many, much = uuid4(), uuid4()
    theirs = [await ledger.funded(many, "1000.00"), await ledger.funded(many, "1000.00")]
    others = await ledger.funded(much, "9000.00")
    async with write_side(settings, database.url, clock) as second:
        desks = [desk_of(side), desk_of(second)]
        await asyncio.gather(
            *(pay(desks[n % 2], many, theirs[n // 2 % 2], "1.00") for n in range(100)),
            *(pay(desks[n % 2], much, others, "29.00") for n in range(100)),
        )

    assert await states(side, many) == {("AUTHORISED", "low-value"): 5, ("AWAITING_SCA", None): 95}
    assert await states(side, much) == {("AUTHORISED", "low-value"): 3, ("AWAITING_SCA", None): 97}, "87 of 100"


async def test_a_right_answer_begins_the_counters_anew_and_what_was_cancelled_counts(
    side: WriteSide, ledger: Driver
) -> None:
    person, desk = uuid4(), desk_of(side)
    account = await ledger.funded(person, "1000.00")
    for _ in range(5):
        payment = await pay(desk, person, account, "1.00")
        assert await exempted(side, payment)
        await cancel(desk, person, payment)
    asked = await pay(desk, person, account, "1.00")
    assert not await exempted(side, asked)

    await prove(side, person, asked)

    assert await exempted(side, await pay(desk, person, account, "1.00"))


async def test_whoever_names_a_method_is_asked(side: WriteSide, ledger: Driver) -> None:
    person, desk = uuid4(), desk_of(side)
    account = await ledger.funded(person, "1000.00")

    assert not await exempted(side, await pay(desk, person, account, "1.00", sca.Method.ONE_TIME_CODE))
    assert await exempted(side, await pay(desk, person, account, "1.00"))


async def test_what_a_persons_bank_asked_them_begins_nothing_anew(side: WriteSide, ledger: Driver) -> None:
    person, desk = uuid4(), desk_of(side)
    account = await ledger.funded(person, "1000.00")
    for _ in range(5):
        await pay(desk, person, account, "1.00")

    async with side.pool.acquire() as connection, connection.transaction():
        for method in (sca.Method.REDIRECT, sca.Method.DECOUPLED):
            await write(connection, [sca.ScaPassed(uuid4(), person, method)])

    assert not await exempted(side, await pay(desk, person, account, "1.00"))
