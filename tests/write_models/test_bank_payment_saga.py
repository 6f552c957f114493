"""Payments from a linked bank, beside a bank with a book of its own that is not always well: asked once, paid once, and noted here."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest

from isthmus.domain.bank_accounts import FoundAccount, LinkBankAccounts
from isthmus.domain.bank_payments import BankWish, Begun, Decoupled, GoTo
from isthmus.domain.banking import OutcomeUnknown, ProviderRefused, ProviderUnavailable
from isthmus.domain.clock import SettableClock
from isthmus.domain.consent_policy import Jurisdiction
from isthmus.domain.consents import AuthoriseConsent, RequestConsent
from isthmus.domain.identifiers import house_account_id, uuid7_source
from isthmus.domain.payees import PayeeAccount
from isthmus.domain.payment_events import PaymentState, Source
from isthmus.domain.payment_news import PaymentNews, ProviderPayment
from isthmus.failpoints import InjectedFault, armed
from isthmus.integrations.screening.files import limit_table, sanctions_list
from isthmus.integrations.screening.rules import ListedCompliance
from isthmus.runtime.wiring import WriteSide
from isthmus.write_models.bank_paying import BankPaying
from isthmus.write_models.envelope import Envelope, Refused
from isthmus.write_models.one_time_codes import OneTimeCodes
from isthmus.write_models.payment_desk import PaymentDesk, PaymentWish
from isthmus.write_models.sagas.bank_payments import BankPaymentSaga
from isthmus.write_models.sagas.payments import PaymentSaga
from isthmus.write_models.sca_desk import Answer, Answered, ScaDesk
from tests.write_models.driver import assert_sound

BOB = PayeeAccount(iban="GB29NWBK60161331926819")
S, P = PaymentState, ProviderPayment


@dataclass
class Bank:
    """Asks and does what an idempotency key names once. `waits`: the provider has to be told to submit. `troubles`: what goes wrong with
    the next calls, in their order."""

    name: str = "bank"
    settles: bool = True
    waits: bool = True
    decoupled: bool = False
    collects: Mapping[str, str] = field(default_factory=dict)
    asked: dict[str, BankWish] = field(default_factory=dict)
    states: dict[str, ProviderPayment] = field(default_factory=dict)
    troubles: list[str] = field(default_factory=list)
    lies: dict[str, Any] = field(default_factory=dict)
    #: What was really done, however often.
    paid: Counter[str] = field(default_factory=Counter)

    def _trouble(self, name: str) -> None:
        if self.troubles and self.troubles[0] == name:
            self.troubles.pop(0)
            raise ProviderUnavailable("down") if name == "before" else OutcomeUnknown("did not answer")

    async def begin(self, wish: BankWish) -> Begun:
        self._trouble("before")
        key = wish.order.idempotency_key
        assert self.asked.setdefault(key, wish) == wish, "under one key one payment"
        self.states.setdefault(key, P.AWAITING)
        self._trouble("after")
        return Begun(key, Decoupled("Jo's telephone", 3) if self.decoupled else GoTo(f"https://bank/{key}"), wish.state)

    async def look_up(self, reference: str) -> PaymentNews:
        order = self.asked[reference].order
        told: dict[str, Any] = {
            "amount": order.amount,
            "asset": order.asset,
            "payee_account": order.payee_account.text(),
        }
        return PaymentNews(self.states[reference], self.states[reference], reference, **(told | self.lies))

    async def submit(self, wish: BankWish, reference: str) -> PaymentNews:
        self._trouble("before")
        if self.states[reference] is P.AWAITING:
            raise ProviderRefused("not authorised", "NO")
        if self.states[reference] is P.AUTHORISED:
            self.states[reference] = P.SUBMITTED
        self._trouble("after")
        return await self.look_up(reference)

    async def cancel(self, reference: str) -> PaymentNews:
        self._trouble("before")
        if self.states[reference] in (P.AWAITING, P.AUTHORISED):
            self.states[reference] = P.CANCELLED
        return await self.look_up(reference)

    def authorise(self, payment: UUID) -> None:
        """What the person does at the bank."""
        if self.states[str(payment)] is P.AWAITING:
            self.states[str(payment)] = P.AUTHORISED if self.waits else P.SUBMITTED

    def execute(self, payment: UUID) -> None:
        if self.states.get(str(payment)) is P.SUBMITTED:
            self.states[str(payment)] = P.EXECUTED
            self.paid[str(payment)] += 1

    @property
    def book(self) -> Decimal:
        return sum((self.asked[key].order.amount * times for key, times in self.paid.items()), Decimal(0))


@dataclass
class Office:
    side: WriteSide
    bank: Bank
    person: UUID
    account: UUID
    desk: PaymentDesk
    sca: ScaDesk
    saga: PaymentSaga
    clock: SettableClock

    async def initiate(self, amount: str = "30.00", name: str = "Bob") -> UUID:
        wish = PaymentWish(self.account, Decimal(amount), "EUR", name, BOB, "Rent", source=Source.BANK)
        made = await self.desk.initiate(self.person, wish, self.envelope("initiatePayment"))
        assert not isinstance(made, Refused), made
        return made[0]

    async def poll(self, payment: UUID) -> Answered | Refused:
        challenge = await self.column(payment, "challenge_id")
        return await self.sca.answer(self.person, challenge, Answer(polled=True), self.envelope("answerScaChallenge"))

    async def column(self, payment: UUID, name: str) -> Any:
        return await self.side.pool.fetchval(f"select {name} from payments where id = $1", payment)

    async def challenge(self, payment: UUID) -> tuple[str, str]:
        row = await self.side.pool.fetchrow("select method, state from sca_challenges where subject_id = $1", payment)
        assert row is not None
        return row["method"], row["state"]

    async def stands(self, payment: UUID) -> tuple[str, str | None]:
        return await self.column(payment, "state"), await self.column(payment, "parked")

    async def noted(self) -> Decimal:
        """All that left by people's own banks, as both memo accounts have it."""
        some: Sequence[Any] = [
            await self.side.pool.fetchval(
                "select posted from account_balances where account_id = $1", house_account_id(code)
            )
            or Decimal(0)
            for code in ("memo:user-bank:EUR", "memo:payee:EUR")
        ]
        assert some[0] == some[1]
        return Decimal(some[0])

    async def on(self, payment: UUID, times: int = 3) -> list[str]:
        return [await self.saga.advance(payment) for _ in range(times)]

    def envelope(self, mutation: str) -> Envelope:
        return Envelope(f"person:{self.person}", self.person, mutation, uuid4().hex, {"x": uuid4().hex}, "test")


@pytest.fixture
async def office(side: WriteSide, clock: SettableClock) -> Office:
    return await opened(side, clock)


async def opened(side: WriteSide, clock: SettableClock) -> Office:
    person, bank, ids = uuid4(), Bank(), uuid7_source(side.clock.now)
    account, consent = uuid4(), uuid4()
    await side.pool.execute(
        "insert into institutions (id, name, plain_name, countries) values ('b', 'B', 'b', '{DE}') on conflict do nothing"
    )
    await side.pool.execute("insert into institution_providers values ('bank', 'ob-b', 'b') on conflict do nothing")
    for wish in (
        RequestConsent(consent, person, "b", "bank", Jurisdiction.EU, ("ACCOUNTS",)),
        AuthoriseConsent(consent, side.clock.now(), None),
        LinkBankAccounts(consent, person, "b", "bank", (FoundAccount(account, "EUR"),)),
    ):
        made = await side.commands.run(wish, Envelope("test", person, "m", uuid4().hex, {"x": uuid4().hex}, "test"))
        assert not isinstance(made, Refused), made
    banks = BankPaying(
        side.pool,
        side.commands,
        side.texts,
        side.links,
        {"bank": bank},
        clock,
        ids,
        "https://app.example/back",
        key_secret=b"k" * 32,
    )
    compliance = ListedCompliance(sanctions_list(None), limit_table(None, "GB"))
    desk = PaymentDesk(side.pool, side.commands, side.texts, clock, ids, "none", compliance, banks=banks)
    sca = ScaDesk(side.pool, side.commands, OneTimeCodes(b"k" * 32), None, clock, ids, side.texts, banks)
    at_banks = BankPaymentSaga(side.pool, side.commands, banks, ids)
    saga = PaymentSaga(side.pool, side.commands, side.texts, {}, clock, ids, at_banks)
    return Office(side, bank, person, account, desk, sca, saga, clock)


async def test_the_bank_asks_and_pays_and_what_left_is_noted_here(office: Office) -> None:
    payment = await office.initiate()
    assert await office.saga.advance(payment) == "looked"
    assert await office.stands(payment) == (S.AWAITING_SCA, None)

    office.bank.authorise(payment)
    await office.on(payment)
    assert await office.stands(payment) == (S.SUBMITTED, None)
    assert await office.noted() == 0
    office.bank.execute(payment)
    await office.on(payment)
    assert (await office.stands(payment), await office.noted()) == ((S.EXECUTED, None), 30)
    office.bank.states[str(payment)] = P.SETTLED
    assert await office.on(payment, 2) == ["looked", "looked"]

    assert await office.stands(payment) == (S.SETTLED, None)
    assert (office.bank.book, await office.noted()) == (30, 30)
    await assert_sound(office.side.pool)


POINTS = ("begun", "asked", "answered", "submitting", "submitted")


async def test_f38_whoever_dies_on_the_way_is_followed_by_one_who_does_it_once(office: Office) -> None:
    for point in POINTS:
        office.bank.troubles = ["before"]  # so that all of it is the saga's to do
        payment = await office.initiate()
        with armed(f"bank_payments.{point}:1:raise") as points:
            for _ in range(6):
                with suppress(InjectedFault):
                    await office.saga.advance(payment)
                if str(payment) in office.bank.states:
                    office.bank.authorise(payment)
            assert points[f"bank_payments.{point}"].passed, point
        office.bank.execute(payment)
        await office.on(payment, 2)
        assert await office.stands(payment) == (S.EXECUTED, None), point
        assert office.bank.paid[str(payment)] == 1, point

    assert office.bank.book == await office.noted() == 30 * len(office.bank.asked) == 150
    await assert_sound(office.side.pool)


async def test_f38_any_order_of_troubles_and_deaths_and_the_books_agree(office: Office) -> None:
    chance = random.Random(6)
    payments = []
    for _ in range(6):
        office.bank.troubles = chance.choice([[], ["before"], ["after"]])
        payments.append(await office.initiate("0.01"))
    for _ in range(60):
        payment = chance.choice(payments)
        office.bank.troubles = chance.choice([[], [], ["before"], ["after"]])
        with armed(f"bank_payments.{chance.choice(POINTS)}:{chance.randint(1, 3)}:raise"), suppress(InjectedFault):
            await office.saga.advance(payment)
        if str(payment) in office.bank.states:
            chance.choice([office.bank.authorise, office.bank.execute])(payment)
    office.bank.troubles = []
    for payment in payments:
        await office.on(payment)
        office.bank.authorise(payment)
        await office.on(payment)
        office.bank.execute(payment)
        await office.on(payment)

    states = Counter([await office.column(payment, "state") for payment in payments])
    left = Decimal("0.01") * states[S.EXECUTED]
    assert set(states) <= {S.EXECUTED, S.AUTHORISED}, states
    assert office.bank.book == left == await office.noted()
    assert set(office.bank.paid.values()) == {1}
    await assert_sound(office.side.pool)


async def test_f41_nobody_answers_at_the_bank_and_it_is_taken_back_there_before_it_expires_here(office: Office) -> None:
    payment, late = await office.initiate(), await office.initiate()
    office.bank.waits = False
    office.bank.authorise(late)  # a moment before its time is over
    office.clock.advance(timedelta(minutes=15))
    office.bank.troubles = ["before"]
    assert await office.saga.advance(payment) == "unavailable"
    assert await office.stands(payment) == (S.AWAITING_SCA, None), "as long as somebody may authorise it there"

    assert await office.saga.advance(payment) == "expired"
    assert await office.saga.advance(late) == "looked"

    assert office.bank.states[str(payment)] is P.CANCELLED
    assert (await office.stands(payment), (await office.challenge(payment))[1]) == ((S.EXPIRED, None), "EXPIRED")
    assert (await office.stands(late), (await office.challenge(late))[1]) == ((S.SUBMITTED, None), "PASSED")


async def test_d1_what_is_changed_in_the_database_is_neither_asked_nor_submitted(office: Office) -> None:
    asked = await office.initiate()
    office.bank.authorise(asked)
    await office.saga.advance(asked)
    office.bank.troubles = ["before"]
    unasked = await office.initiate()
    await office.side.pool.execute("update payments set amount = amount * 100")

    assert await office.saga.advance(asked) == "over"
    assert office.bank.states[str(asked)] is P.CANCELLED, "the person's consent is not left there"
    for payment in (asked, unasked):
        await office.on(payment)
        assert await office.stands(payment) == (S.REJECTED, "CHANGED_AFTER_SCA")
        assert (await office.challenge(payment))[1] == "INVALIDATED"

    assert office.bank.states == {str(asked): P.CANCELLED}


async def test_e6_the_bank_would_pay_somebody_else_and_an_operator_is_to_look(office: Office) -> None:
    payment = await office.initiate()
    office.bank.authorise(payment)
    office.bank.lies = {"payee_account": "IBAN DE89370400440532013000"}

    assert await office.on(payment, 2) == ["looked", "over"]

    assert await office.stands(payment) == (S.AWAITING_SCA, "OTHER_PAYEE")
    assert await office.challenge(payment) == ("REDIRECT", "INVALIDATED")


async def test_what_an_operator_is_to_judge_is_judged_before_anybody_is_asked(office: Office) -> None:
    released, refused = await office.initiate(name="M Vane"), await office.initiate(name="M Vane")
    assert (await office.on(released, 2), office.bank.asked) == (["over", "over"], {})

    for payment, release in ((released, True), (refused, False)):
        done = await office.desk.judge(uuid4(), payment, office.envelope("judge"), release=release)
        assert not isinstance(done, Refused), done
    await office.on(released, 1)
    await office.on(refused, 1)

    assert list(office.bank.asked) == [str(released)]
    assert (await office.stands(released), await office.stands(refused)) == (
        (S.AWAITING_SCA, None),
        (S.REJECTED, "REVIEW"),
    )


async def test_f41_a_bank_that_asks_elsewhere_is_polled_until_its_customer_has_answered(office: Office) -> None:
    office.bank.decoupled, office.bank.waits = True, False
    payment = await office.initiate()
    waiting = await office.poll(payment)
    assert isinstance(waiting, Answered), "not yet is no No"
    assert await office.challenge(payment) == ("DECOUPLED", "PENDING")

    office.bank.authorise(payment)
    assert isinstance(await office.poll(payment), Answered)

    assert (await office.challenge(payment), (await office.stands(payment))[0]) == (
        ("DECOUPLED", "PASSED"),
        S.SUBMITTED,
    )
    assert isinstance(await office.poll(payment), Answered), "the same again is the same answer"


async def test_a_payment_of_which_nothing_was_known_is_known_again_once_somebody_has_reason_to_look(
    office: Office,
) -> None:
    payment = await office.initiate()
    office.bank.authorise(payment)
    await office.saga.advance(payment)
    office.bank.troubles = ["after"] * 8
    await office.on(payment, 8)
    assert await office.stands(payment) == (S.AUTHORISED, "UNKNOWN_STATUS")

    office.bank.execute(payment)
    await office.saga.advance(payment)

    assert (await office.stands(payment), await office.noted()) == ((S.EXECUTED, None), 30)
    office.bank.states[str(payment)] = P.UNKNOWN
    await office.saga.advance(payment)
    assert await office.stands(payment) == (S.EXECUTED, "UNKNOWN_STATUS"), "what is not understood later is told again"
