"""Money that is brought here, beside a bank with a book of its own: whoever dies on the way, what has arrived is credited once."""

from __future__ import annotations

import random
from contextlib import suppress
from datetime import timedelta
from decimal import Decimal
from uuid import UUID, uuid4

from isthmus.domain.accounts import OpenAccount
from isthmus.domain.identifiers import house_account_id
from isthmus.domain.payment_events import PaymentState
from isthmus.domain.payment_news import ProviderPayment
from isthmus.domain.personal import PersonalText
from isthmus.failpoints import InjectedFault, armed
from isthmus.write_models.envelope import Refused
from isthmus.write_models.payment_desk import TopUpWish
from tests.write_models.bank_payment_rig import ahead
from tests.write_models.driver import assert_sound
from tests.write_models.test_bank_payment_saga import POINTS, Office, office  # noqa: F401 - a fixture

S, P = PaymentState, ProviderPayment


async def opened(office: Office) -> UUID:  # noqa: F811 - the fixture
    account = uuid4()
    wish = OpenAccount(account, office.person, "EUR", PersonalText("Main"))
    done = await office.side.commands.run(wish, office.envelope("openAccount"))
    assert not isinstance(done, Refused), done
    return account


async def lies(office: Office, account: UUID) -> Decimal:  # noqa: F811 - the fixture
    query = "select posted from account_balances where account_id = $1"
    return await office.side.pool.fetchval(query, account) or Decimal(0)


async def top_up(office: Office, account: UUID) -> UUID:  # noqa: F811 - the fixture
    wish = TopUpWish(office.account, account, Decimal("7.00"), "EUR")
    made = await office.desk.top_up(office.person, wish, office.envelope("topUp"))
    assert not isinstance(made, Refused), made
    return made[0]


async def test_f41_whoever_dies_on_the_way_is_followed_by_one_who_credits_what_has_arrived(office: Office) -> None:  # noqa: F811 - the fixture
    office.bank.collects, office.bank.settles = {"EUR": "ours"}, False
    chance, account, bank = random.Random(8), await opened(office), office.bank
    payments = []
    for _ in range(4):
        bank.troubles = chance.choice([[], ["before"], ["after"]])
        payments.append(await top_up(office, account))
    for _ in range(40):
        payment = chance.choice(payments)
        with armed(f"bank_payments.{chance.choice(POINTS)}:{chance.randint(1, 2)}:raise"), suppress(InjectedFault):
            await office.saga.advance(payment)
        if str(payment) in bank.states:
            chance.choice([bank.authorise, bank.execute])(payment)
        if bank.states.get(str(payment)) is P.EXECUTED and chance.random() < 0.5:
            bank.states[str(payment)] = P.SETTLED
    for payment in payments:
        await office.on(payment)

    settled = [payment for payment in payments if bank.states[str(payment)] is P.SETTLED]
    assert settled
    assert [payment for payment in payments if (await office.stands(payment))[0] == S.SETTLED] == settled
    ours = house_account_id("bank:bank:EUR")
    assert await lies(office, account) == await lies(office, ours) == Decimal(7) * len(settled)
    assert await office.noted() == 0
    await assert_sound(office.side.pool)


async def test_who_does_not_come_back_is_looked_for_until_the_money_has_arrived(office: Office) -> None:  # noqa: F811 - the fixture
    office.bank.collects, office.bank.settles, office.bank.waits = {"EUR": "ours"}, False, False
    account = await opened(office)
    payment = await top_up(office, account)
    office.bank.authorise(payment)
    office.bank.execute(payment)
    await office.saga.advance(payment)
    await office.side.pool.execute("delete from pgqueuer")
    assert await office.saga.advance(payment) == "looked"
    assert await office.side.pool.fetchval("select count(*) from pgqueuer") == 1, "until it has arrived"
    await office.side.pool.execute("delete from pgqueuer")

    assert (await office.stands(payment), await lies(office, account)) == ((S.EXECUTED, None), 0)
    assert await office.saga.sweep() == 1, "also of a provider that else tells of no arrival"


async def test_what_left_and_has_not_arrived_for_a_week_an_operator_is_told_and_it_is_credited_once_it_has(
    office: Office,  # noqa: F811 - the fixture
) -> None:
    office.bank.collects, office.bank.settles, office.bank.waits = {"EUR": "ours"}, False, False
    account = await opened(office)
    payment = await top_up(office, account)
    office.bank.authorise(payment)
    office.bank.execute(payment)
    await office.on(payment, 2)
    for after, parked in ((6, None), (1, "UNKNOWN_STATUS")):
        office.clock.advance(timedelta(days=after))
        await office.side.pool.execute("delete from pgqueuer")
        await office.saga.sweep()
        assert await ahead(office, payment) == 1
        await office.saga.advance(payment)
        assert await office.stands(payment) == (S.EXECUTED, parked)

    await office.side.pool.execute("delete from pgqueuer")
    office.bank.states[str(payment)] = P.SETTLED
    await office.saga.sweep()
    assert await ahead(office, payment) == 1
    await office.saga.advance(payment)
    assert (await office.stands(payment), await lies(office, account)) == ((S.SETTLED, None), 7)
