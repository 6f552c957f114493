"""Carrying payments on, beside a bank that has a book of its own and is not always well. Whatever happens, the books agree in the end."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest

from isthmus.domain.banking import NeverAsked, OutcomeUnknown, ProviderFault, ProviderRefused, ProviderUnavailable
from isthmus.domain.clock import SettableClock
from isthmus.domain.identifiers import house_account_id, uuid7_source
from isthmus.domain.notifications import Message
from isthmus.domain.payees import PayeeAccount
from isthmus.domain.paying import PaymentOrder
from isthmus.domain.payment_events import PaymentState, clearing_code
from isthmus.domain.payment_news import PaymentNews, ProviderPayment
from isthmus.failpoints import InjectedFault, armed
from isthmus.integrations.screening.files import limit_table, sanctions_list
from isthmus.integrations.screening.rules import ListedCompliance
from isthmus.runtime.wiring import WriteSide
from isthmus.write_models.code_delivery import CodeDelivery
from isthmus.write_models.envelope import Envelope, Refused
from isthmus.write_models.one_time_codes import OneTimeCodes
from isthmus.write_models.payment_desk import PaymentDesk, PaymentWish
from isthmus.write_models.sagas.payments import PaymentSaga
from isthmus.write_models.sca_desk import Answer, ScaDesk
from tests.write_models.driver import Driver, assert_sound

BOB = PayeeAccount(iban="GB29NWBK60161331926819")
NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)


@dataclass
class Bank:
    """Does what an idempotency key names once. `troubles`: what goes wrong with the next calls, in their order."""

    name: str = "bank"
    paid: dict[str, PaymentOrder] = field(default_factory=dict)
    sent: Counter[str] = field(default_factory=Counter)
    troubles: list[str] = field(default_factory=list)
    states: dict[str, ProviderPayment] = field(default_factory=dict)
    lies: dict[str, Any] = field(default_factory=dict)

    async def send(self, order: PaymentOrder) -> PaymentNews:
        trouble = self.troubles.pop(0) if self.troubles else ""
        if trouble == "before":
            raise ProviderUnavailable("down")
        if trouble == "for ever":
            raise ProviderUnavailable("down", 1e15)
        if trouble == "gone":
            raise NeverAsked("there is no account of ours to pay from", "NO_MERCHANT_ACCOUNT")
        if trouble == "silent":
            raise OutcomeUnknown("did not answer")
        if trouble == "refuses" and order.idempotency_key not in self.paid:
            raise ProviderRefused("no", "400_NO")
        self.sent[order.idempotency_key] += 1
        known = self.paid.setdefault(order.idempotency_key, order)
        assert known == order, "under one key one payment"
        self.states.setdefault(f"p-{order.payment_id}", ProviderPayment.SUBMITTED)
        if trouble == "after":
            raise OutcomeUnknown("did not answer")
        return PaymentNews(ProviderPayment.SUBMITTED, "created", reference=f"p-{order.payment_id}")

    async def look_up(self, reference: str) -> PaymentNews:
        order = self.paid[reference.removeprefix("p-")]
        told: dict[str, Any] = {"amount": order.amount, "asset": order.asset} | self.lies
        return PaymentNews(self.states[reference], self.states[reference], reference, **told)

    @property
    def book(self) -> Decimal:
        """All that left."""
        executed = (one for name, one in self.paid.items() if self.states[f"p-{name}"] is ProviderPayment.EXECUTED)
        return sum((one.amount for one in executed), Decimal(0))

    def execute(self, payment: UUID) -> None:
        self.states[f"p-{payment}"] = ProviderPayment.EXECUTED


@dataclass
class Office:
    """A person with 100.00 at a desk, and what carries their payments on."""

    side: WriteSide
    ledger: Driver
    bank: Bank
    person: UUID
    account: UUID
    desk: PaymentDesk
    sca: ScaDesk
    saga: PaymentSaga

    async def initiate(self, amount: str = "30.00", name: str = "Bob") -> tuple[UUID, UUID]:
        """(payment, challenge)."""
        wish = PaymentWish(self.account, Decimal(amount), "EUR", name, BOB, "Rent")
        made = await self.desk.initiate(self.person, wish, self.envelope("initiatePayment"))
        assert not isinstance(made, Refused), made
        challenge = await self.side.pool.fetchval("select challenge_id from payments where id = $1", made[0])
        return made[0], UUID(str(challenge))

    async def authorised(self, amount: str = "30.00") -> UUID:
        payment, challenge = await self.initiate(amount)
        digest = await self.side.pool.fetchval("select digest from sca_challenges where id = $1", challenge)
        code = self.sca._codes.code(challenge, digest)
        answer = await self.sca.answer(self.person, challenge, Answer(code), self.envelope("answerScaChallenge"))
        assert not isinstance(answer, Refused), answer
        return payment

    async def state(self, payment: UUID) -> PaymentState:
        return PaymentState(await self.side.pool.fetchval("select state from payments where id = $1", payment))

    async def parked(self, payment: UUID) -> str | None:
        found: str | None = await self.side.pool.fetchval("select parked from payments where id = $1", payment)
        return found

    async def figures(self) -> tuple[Decimal, Decimal, Decimal]:
        """(posted, reserved, on its way)."""
        row = await self.side.pool.fetchrow(
            "select posted, pending_out from account_balances where account_id = $1", self.account
        )
        clearing = await self.side.pool.fetchval(
            "select posted from account_balances where account_id = $1", house_account_id(clearing_code("bank", "EUR"))
        )
        assert row is not None
        return row["posted"], row["pending_out"], clearing or Decimal(0)

    async def jobs(self, payment: UUID) -> int:
        found: int = await self.side.pool.fetchval(
            "select count(*) from pgqueuer where entrypoint = 'advance_payment' and payload = $1", str(payment).encode()
        )
        return found

    def envelope(self, mutation: str) -> Envelope:
        return Envelope(f"person:{self.person}", self.person, mutation, uuid4().hex, {"x": uuid4().hex}, "test")


@pytest.fixture
async def office(side: WriteSide, ledger: Driver) -> Office:
    return await opened(side, ledger)


async def opened(side: WriteSide, ledger: Driver) -> Office:
    person, bank, ids = uuid4(), Bank(), uuid7_source(side.clock.now)
    compliance = ListedCompliance(sanctions_list(None), limit_table(None, "GB"))
    desk = PaymentDesk(side.pool, side.commands, side.texts, side.clock, ids, bank.name, compliance)
    sca = ScaDesk(side.pool, side.commands, OneTimeCodes(b"k" * 32), None, side.clock, ids, side.texts)
    saga = PaymentSaga(side.pool, side.commands, side.texts, {bank.name: bank}, side.clock, ids)
    account = await ledger.funded(person, "100.00")
    return Office(side, ledger, bank, person, account, desk, sca, saga)


async def test_a_payment_is_sent_looked_up_and_leaves_the_account_when_the_bank_says_so(office: Office) -> None:
    payment = await office.authorised()
    assert await office.jobs(payment) >= 1, "whoever answered left a job behind, in the same transaction"

    assert await office.saga.advance(payment) == "sent"
    assert await office.state(payment) is PaymentState.SUBMITTED
    assert await office.figures() == (100, 30, 0)
    assert await office.saga.advance(payment) == "looked"
    office.bank.execute(payment)
    assert await office.saga.advance(payment) == "looked"

    assert await office.state(payment) is PaymentState.EXECUTED
    assert await office.figures() == (70, 0, -30), "what is on its way is owed to the bank's account"
    assert (office.bank.book, sum(office.bank.sent.values())) == (30, 1)
    await office.side.pool.execute("delete from pgqueuer")
    assert await office.saga.advance(payment) == "looked"
    assert await office.jobs(payment) == 0, "once more, by whoever has reason to, and no more"
    await assert_sound(office.side.pool)


@pytest.mark.parametrize("trouble", ["before", "silent", "after"])
async def test_f18_what_became_of_it_is_not_known_and_it_is_done_once_all_the_same(
    office: Office, trouble: str
) -> None:
    payment = await office.authorised()
    office.bank.troubles = [trouble, trouble]

    assert await office.saga.advance(payment) == "unknown"
    assert await office.state(payment) is PaymentState.AUTHORISED
    assert await office.figures() == (100, 30, 0), "until it is known the money stays reserved"
    cancelled = await office.desk.cancel(office.person, payment, office.envelope("cancelPayment"))
    assert isinstance(cancelled, Refused), "it may be at the bank"
    assert await office.saga.advance(payment) == "unknown"
    assert await office.saga.advance(payment) == "sent"
    office.bank.execute(payment)
    await office.saga.advance(payment)

    assert await office.state(payment) is PaymentState.EXECUTED
    assert (len(office.bank.paid), office.bank.book) == (1, 30)
    await assert_sound(office.side.pool)


@pytest.mark.parametrize("point", ["payment_saga.begun", "payment_saga.sent"])
async def test_f38_whoever_dies_on_the_way_is_followed_by_one_who_does_it_once(office: Office, point: str) -> None:
    payment = await office.authorised()

    with armed(f"{point}:1:raise"), pytest.raises(InjectedFault):
        await office.saga.advance(payment)
    assert await office.state(payment) is PaymentState.AUTHORISED
    assert await office.saga.advance(payment) == "sent"

    office.bank.execute(payment)
    await office.saga.advance(payment)
    assert await office.state(payment) is PaymentState.EXECUTED
    assert (len(office.bank.paid), office.bank.book) == (1, 30)
    assert await office.figures() == (70, 0, -30)


async def test_a_refusal_of_the_bank_ends_it_and_the_money_is_free_again(office: Office) -> None:
    payment = await office.authorised()
    office.bank.troubles = ["refuses"]

    assert await office.saga.advance(payment) == "refused"

    assert await office.state(payment) is PaymentState.REJECTED
    assert await office.figures() == (100, 0, 0)
    assert office.bank.paid == {}
    await assert_sound(office.side.pool)


async def test_after_many_times_unknown_an_operator_is_to_look_and_nothing_is_released(office: Office) -> None:
    payment = await office.authorised()
    office.bank.troubles = ["silent"] * 20

    for times in range(1, 11):
        await office.side.pool.execute("delete from pgqueuer")
        assert await office.saga.advance(payment) == "unknown"
        assert await office.jobs(payment) == 1, "it is asked for again by itself"
        assert await office.parked(payment) == ("UNKNOWN_STATUS" if times >= 8 else None)

    assert (await office.state(payment), await office.parked(payment)) == (PaymentState.AUTHORISED, "UNKNOWN_STATUS")
    assert await office.figures() == (100, 30, 0)


@dataclass
class Mute:
    """Tells nothing."""

    fault: ProviderFault
    name: str = "bank"

    async def send(self, order: PaymentOrder) -> PaymentNews:
        raise AssertionError("it was sent")

    async def look_up(self, reference: str) -> PaymentNews:
        raise self.fault


@pytest.mark.parametrize(
    ("fault", "parked", "after_s"),
    [(ProviderUnavailable("down", 100), None, 99), (ProviderRefused("no", "404"), "UNKNOWN_STATUS", 10)],
)
async def test_a_look_that_comes_to_nothing_is_taken_again_while_something_is_to_come(
    office: Office, fault: ProviderFault, parked: str | None, after_s: int
) -> None:
    underway, done = await office.authorised("10.00"), await office.authorised("20.00")
    for payment in (underway, done):
        assert await office.saga.advance(payment) == "sent"
    office.bank.execute(done)
    await office.saga.advance(done)
    office.saga._payouts = {"bank": Mute(fault)}
    await office.side.pool.execute("delete from pgqueuer")

    for payment in (underway, done):
        assert await office.saga.advance(payment) == "unavailable"

    assert (await office.parked(underway), await office.parked(done)) == (parked, None)
    assert (await office.jobs(underway), await office.jobs(done)) == (1, 0)
    after = await office.side.pool.fetchval("select execute_after - created from pgqueuer")
    assert after > timedelta(seconds=after_s)
    await office.side.pool.execute("delete from pgqueuer")  # whoever had it died of it
    assert await office.saga.sweep() == 1, "also of what an operator is to look at"


@pytest.mark.parametrize(
    "tampered",
    [
        "update payments set amount = amount * 100 where id = $1",
        "update payments set asset = 'GBP' where id = $1",
        "update payments set from_account_id = gen_random_uuid() where id = $1",
        "update payments set payee_name = (select payee_name from payments where id <> $1 limit 1) where id = $1",
        "update payments set reference = null where id = $1",
        "update sca_challenges set digest = repeat('0', 64) where subject_id = $1",
        "update payments set provider = 'elsewhere' where id = $1",
    ],
)
async def test_d1_what_is_changed_in_the_database_after_the_answer_is_never_sent(office: Office, tampered: str) -> None:
    await office.initiate("1.00", "Eve")
    payment = await office.authorised()
    if "sca_challenges" in tampered or "provider" in tampered:
        # These decide nothing: what the challenge is bound to, and who is to carry the payment out, is in the events.
        await office.side.pool.execute(tampered, payment)
        assert await office.saga.advance(payment) == "sent"
        return
    await office.side.pool.execute(tampered, payment)

    assert await office.saga.advance(payment) == "over"

    assert (await office.state(payment), await office.parked(payment)) == (PaymentState.REJECTED, "CHANGED_AFTER_SCA")
    assert office.bank.paid == {}
    assert await office.saga.advance(payment) == "over", "nor later"
    assert office.bank.sent == Counter()
    standing = await office.side.pool.fetchval("select state from sca_challenges where subject_id = $1", payment)
    assert standing == "INVALIDATED"


async def test_d1_a_payee_whose_name_only_looks_the_same_is_never_paid(office: Office) -> None:
    payment, texts = await office.authorised(), office.side.texts
    async with office.side.pool.acquire() as connection:
        (sealed,) = await texts.seal_many(connection, [(office.person, "B\u043eb")])  # Cyrillic
        assert await texts.open_many(connection, [sealed]) == ["B\u043eb"]
        await connection.execute("update payments set payee_name = $2 where id = $1", payment, sealed)

    assert await office.saga.advance(payment) == "over"

    assert (await office.state(payment), await office.parked(payment)) == (PaymentState.REJECTED, "CHANGED_AFTER_SCA")
    assert office.bank.sent == Counter()


async def test_what_waits_for_an_operator_is_left_alone_and_is_carried_on_at_their_word(office: Office) -> None:
    payment, challenge = await office.initiate(name="M Vane")
    digest = await office.side.pool.fetchval("select digest from sca_challenges where id = $1", challenge)
    code = Answer(office.sca._codes.code(challenge, digest))
    await office.sca.answer(office.person, challenge, code, office.envelope("answerScaChallenge"))
    await office.side.pool.execute("delete from pgqueuer")

    for _ in range(2):
        assert await office.saga.advance(payment) == "over"
    assert (await office.saga.sweep(), await office.jobs(payment)) == (0, 0), "nobody looks in vain"
    assert (await office.state(payment), office.bank.sent) == (PaymentState.AWAITING_SCA, Counter())

    released = await office.desk.judge(uuid4(), payment, office.envelope("releasePayment"), release=True)
    assert not isinstance(released, Refused)
    assert (await office.parked(payment), await office.jobs(payment)) == (None, 1)
    assert await office.saga.advance(payment) == "sent"
    assert office.bank.sent == {str(payment): 1}


async def test_e6_the_bank_names_another_amount_and_nothing_moves(office: Office) -> None:
    payment = await office.authorised()
    await office.saga.advance(payment)
    office.bank.execute(payment)
    office.bank.lies = {"amount": Decimal("3000.00")}

    await office.saga.advance(payment)

    assert (await office.state(payment), await office.parked(payment)) == (PaymentState.SUBMITTED, "OTHER_AMOUNT")
    assert await office.figures() == (100, 30, 0)
    await office.side.pool.execute("delete from pgqueuer")
    assert await office.saga.sweep() == 1, "it may yet be told otherwise"


async def test_f41_nobody_answers_and_it_expires_by_the_clock(office: Office, side_at: Callable[..., Any]) -> None:
    async with side_at(NOW) as (side, clock):
        later = await opened(side, Driver(side.commands))
        payment, _ = await later.initiate()
        clock.advance(timedelta(minutes=2))
        await side.pool.execute("delete from pgqueuer")  # as one that is picked too soon
        assert await later.saga.advance(payment) == "waiting"
        (after,) = [row[0] for row in await side.pool.fetch("select execute_after - created from pgqueuer")]
        assert timedelta(minutes=2) < after <= timedelta(minutes=3), "it is looked at again when its time is over"
        clock.advance(timedelta(minutes=3))
        assert await later.saga.advance(payment) == "expired"
        assert await later.state(payment) is PaymentState.EXPIRED
        assert await later.figures() == (100, 0, 0)


async def test_however_often_it_is_looked_at_one_look_is_ahead_and_it_is_later_the_older_it_is(
    side: WriteSide, side_at: Callable[..., Any]
) -> None:
    ahead = "select extract(epoch from execute_after - now())::int from pgqueuer where payload = $1 and dedupe_key like '%:later'"
    async with side_at(NOW) as (later_side, clock):
        office = await opened(later_side, Driver(later_side.commands))
        payment = await office.authorised()
        await office.saga.advance(payment)
        assert await office.jobs(payment) == 3, "the expiry, the answer, and the look after it was sent"

        async def look() -> list[int]:
            await side.pool.execute("delete from pgqueuer where dedupe_key like '%:later'")  # as one that is picked
            for _ in range(5):
                assert await office.saga.advance(payment) == "looked"
            return [row[0] for row in await side.pool.fetch(ahead, str(payment).encode())]

        (soon,) = await look()
        clock.advance(timedelta(minutes=2))
        (then,) = await look()
        clock.advance(timedelta(days=2))
        (at_last,) = await look()

    assert 0 <= soon <= 1
    assert 25 <= then <= 30
    assert 7_190 <= at_last <= 7_210


async def test_a_code_for_a_payee_whom_nobody_can_name_any_more_is_not_sent(office: Office) -> None:
    _, challenge = await office.initiate()
    sent: list[Message] = []

    class Ears:
        async def send(self, message: Message) -> None:
            sent.append(message)

    side, codes = office.side, office.sca._codes
    delivery = CodeDelivery(side.pool, side.texts, codes, Ears(), {}, side.clock)
    assert await delivery.deliver(challenge) == "delivered"
    async with side.pool.acquire() as connection:
        assert await side.texts.destroy(connection, office.person)

    assert await delivery.deliver(challenge) == "late"
    assert len(sent) == 1


@pytest.fixture
def side_at(request: pytest.FixtureRequest) -> Callable[[datetime], Any]:
    from isthmus.runtime.wiring import write_side
    from isthmus.settings import load_settings

    database, tmp_path = request.getfixturevalue("database"), request.getfixturevalue("tmp_path")

    @asynccontextmanager
    async def at(now: datetime) -> AsyncIterator[tuple[WriteSide, SettableClock]]:
        clock = SettableClock(now)
        async with write_side(load_settings(data_dir=tmp_path / "later"), database.url, clock) as side:
            yield side, clock

    return at


async def test_f38_any_order_of_troubles_and_deaths_and_the_books_agree(office: Office) -> None:
    """Forty payments of a cent, each with troubles of its own; whoever carries them on dies and is followed again and again."""
    chance = random.Random(6)
    payments = [await office.authorised("0.01") for _ in range(40)]
    points = ["payment_saga.begun", "payment_saga.sent"]
    for _ in range(300):
        payment = chance.choice(payments)
        if not office.bank.troubles and chance.random() < 0.5:
            office.bank.troubles = [chance.choice(["before", "silent", "after", "refuses", ""])]
        if chance.random() < 0.2:
            with armed(f"{chance.choice(points)}:1:raise"), suppress(InjectedFault):
                await office.saga.advance(payment)
        else:
            await office.saga.advance(payment)
        if f"p-{payment}" in office.bank.states and chance.random() < 0.3:
            office.bank.execute(payment)
    office.bank.troubles = []
    for payment in payments:
        for _ in range(4):
            await office.saga.advance(payment)
            if str(payment) in office.bank.paid:
                office.bank.execute(payment)

    states = Counter([await office.state(payment) for payment in payments])
    posted, reserved, clearing = await office.figures()
    left = Decimal("0.01") * states[PaymentState.EXECUTED]
    assert set(states) <= {PaymentState.EXECUTED, PaymentState.REJECTED, PaymentState.AUTHORISED}, states
    assert office.bank.book == left == 100 - posted == -clearing
    assert reserved == Decimal("0.01") * states[PaymentState.AUTHORISED]
    assert len(office.bank.paid) == states[PaymentState.EXECUTED]
    await assert_sound(office.side.pool)


async def test_what_a_job_that_failed_left_is_found_although_the_end_of_its_challenge_is_ahead(office: Office) -> None:
    payment = await office.authorised()
    waiting, _ = await office.initiate("1.00")
    await office.side.pool.execute("update pgqueuer set status = 'failed' where dedupe_key not like '%:expiry'")

    assert await office.saga.sweep() == 1, "the one that waits for its answer is looked at at its end"

    assert await office.saga.advance(payment) == "sent"
    assert await office.saga.sweep() == 0, "a look is ahead"
    assert await office.jobs(waiting) == 1


async def test_what_the_bank_has_for_a_week_and_says_no_last_word_of_an_operator_is_told(
    office: Office, clock: SettableClock
) -> None:
    payment = await office.authorised()
    for after, parked in ((6, None), (1, "UNKNOWN_STATUS")):
        await office.saga.advance(payment)
        clock.advance(timedelta(days=after))
        await office.saga.advance(payment)
        assert (await office.state(payment), await office.parked(payment)) == (PaymentState.SUBMITTED, parked)

    office.bank.execute(payment)
    await office.saga.advance(payment)
    assert (await office.state(payment), await office.parked(payment)) == (PaymentState.EXECUTED, None)
    assert await office.figures() == (70, 0, -30)


async def test_f19_who_wants_to_be_left_alone_for_ever_is_asked_again_within_hours(office: Office) -> None:
    payment = await office.authorised()
    await office.side.pool.execute("delete from pgqueuer")
    office.bank.troubles = ["for ever"]

    assert await office.saga.advance(payment) == "unknown"

    soon = "select max(execute_after) < now() + interval '7 hours' from pgqueuer where payload = $1"
    assert await office.side.pool.fetchval(soon, str(payment).encode())
