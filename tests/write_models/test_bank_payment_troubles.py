"""Payments from a linked bank where the bank, or the one who carries them on, is not as it should be: nothing ends that is not known to
have ended, nothing is left to nobody."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from uuid import uuid4

import pytest

from isthmus.domain.bank_payments import BankWish, GoTo
from isthmus.domain.payment_events import PaymentState, Source
from isthmus.domain.payment_news import PaymentNews, ProviderPayment
from isthmus.domain.refusals import RefusalCode
from isthmus.write_models.envelope import Refused
from isthmus.write_models.payment_desk import PaymentWish
from tests.write_models.bank_payment_rig import Elsewhere, ahead, bank, both, office, submitting
from tests.write_models.test_bank_payment_saga import BOB, Office

__all__ = ["bank", "both", "office"]

pytestmark = pytest.mark.asyncio(loop_scope="module")

S, P = PaymentState, ProviderPayment


async def test_what_nobody_knows_of_for_long_is_shown_to_an_operator_and_carried_on_all_the_same(
    office: Office, bank: Elsewhere
) -> None:
    bank.quiet = True
    payment = await submitting(office, ["after"] * 8)
    await office.on(payment, 8)
    assert await office.stands(payment) == (S.AUTHORISED, "UNKNOWN_STATUS")
    assert await ahead(office, payment) == 1
    await office.side.pool.execute("delete from pgqueuer")  # whoever had it died of it

    await office.saga.sweep()
    assert await ahead(office, payment) == 1
    await office.side.pool.execute("delete from pgqueuer")
    assert await office.saga.advance(payment) == "sent"
    assert (await office.stands(payment), await ahead(office, payment)) == ((S.SUBMITTED, None), 1)


@pytest.mark.parametrize(("settles", "looks"), [(True, 1), (False, 0)])
async def test_what_has_left_is_looked_at_on_where_it_is_told_that_it_arrived(
    office: Office, bank: Elsewhere, settles: bool, looks: int
) -> None:
    bank.settles, bank.waits = settles, False
    payment = await office.initiate()
    bank.authorise(payment)
    bank.execute(payment)
    await office.saga.advance(payment)
    assert await office.stands(payment) == (S.EXECUTED, None)

    await office.side.pool.execute("delete from pgqueuer")
    assert await office.saga.advance(payment) == "looked"
    assert await ahead(office, payment) == looks


async def test_a_refusal_after_what_nobody_knows_of_ends_nothing_until_it_was_asked_for_eight_times(
    office: Office, bank: Elsewhere
) -> None:
    payment = await submitting(office, ["before"] * 6 + ["refuses"] * 2)

    assert await office.on(payment, 7) == ["unknown"] * 7
    assert await office.stands(payment) == (S.AUTHORISED, None)
    assert await office.saga.advance(payment) == "refused"
    assert (await office.stands(payment))[0] == S.REJECTED


@pytest.mark.parametrize("way", ["cancelled", "expired"])
async def test_what_the_bank_does_not_take_back_is_watched_after_it_is_over_here(
    office: Office, bank: Elsewhere, way: str
) -> None:
    bank.keeps, bank.waits = True, False
    payment = await office.initiate()
    if way == "cancelled":
        done = await office.desk.cancel(office.person, payment, office.envelope("cancelPayment"))
        assert not isinstance(done, Refused), done
    else:
        office.clock.advance(timedelta(minutes=15))
        assert await office.saga.advance(payment) == "expired"
    assert await ahead(office, payment) >= 1
    bank.refuses = True
    await office.side.pool.execute("delete from pgqueuer")
    assert await office.saga.advance(payment) == "unavailable"
    assert ((await office.stands(payment))[1], await ahead(office, payment)) == (None, 1), "it is over, and watched"
    bank.refuses = False
    for _ in range(2):  # whoever had the bank's page open may still authorise it there
        await office.side.pool.execute("delete from pgqueuer")
        assert await office.saga.advance(payment) == "looked"
        assert await ahead(office, payment) == 1
    bank.authorise(payment)
    await office.saga.advance(payment)
    assert await ahead(office, payment) == 1
    bank.execute(payment)
    await office.saga.advance(payment)

    assert (await office.stands(payment))[1] == "CONTRADICTION"
    await office.side.pool.execute("delete from pgqueuer")
    await office.saga.advance(payment)
    assert await ahead(office, payment) == 0, "there is nothing more to come"


async def test_what_is_over_here_before_it_is_submitted_is_taken_back_at_the_bank(
    office: Office, bank: Elsewhere
) -> None:
    payment = await submitting(office, [])
    done = await office.desk.cancel(office.person, payment, office.envelope("cancelPayment"))
    assert not isinstance(done, Refused), done
    assert await ahead(office, payment) == 1
    await office.saga.advance(payment)
    assert bank.states[str(payment)] is P.CANCELLED, "the consent is not left there"


async def test_nobody_judges_it_within_a_day_and_it_is_over(office: Office, bank: Elsewhere) -> None:
    payment = await office.initiate(name="M Vane")
    office.clock.advance(timedelta(hours=24))
    assert await office.saga.advance(payment) == "expired"
    assert (await office.stands(payment), bank.asked) == ((S.EXPIRED, "REVIEW"), {})


async def test_a_bank_that_will_not_tell_of_a_payment_is_shown_to_an_operator_and_asked_again(
    office: Office, bank: Elsewhere
) -> None:
    bank.waits = False
    payment = await office.initiate()
    bank.authorise(payment)
    await office.saga.advance(payment)
    bank.refuses = True
    await office.side.pool.execute("delete from pgqueuer")
    assert await office.saga.advance(payment) == "unavailable"
    assert await office.stands(payment) == (S.SUBMITTED, "UNKNOWN_STATUS")
    assert await ahead(office, payment) == 1
    await office.side.pool.execute("delete from pgqueuer")
    await office.saga.sweep()
    assert await ahead(office, payment) == 1

    bank.refuses = False
    bank.execute(payment)
    await office.saga.advance(payment)
    assert await office.stands(payment) == (S.EXECUTED, None)


async def test_who_asks_the_bank_second_and_is_refused_ends_nothing_that_the_first_began(
    office: Office, bank: Elsewhere
) -> None:
    bank.troubles = ["before"]
    payment = await office.initiate()
    bank.meanwhile, bank.troubles = lambda: office.saga.advance(payment), []

    assert await office.saga.advance(payment) == "asked"

    assert await office.stands(payment) == (S.AWAITING_SCA, None)
    bank.authorise(payment)
    await office.on(payment)
    assert await office.stands(payment) == (S.SUBMITTED, None)


async def test_of_two_questions_at_once_the_one_that_nobody_is_shown_is_taken_back(
    office: Office, bank: Elsewhere
) -> None:
    bank.troubles = ["before"]
    payment = await office.initiate()
    bank.meanwhile, bank.troubles, bank.anew = lambda: office.saga.advance(payment), [], True

    assert await office.saga.advance(payment) == "asked"

    assert bank.states == {str(payment): P.AWAITING, "anew": P.CANCELLED}


async def test_the_same_wish_again_is_the_same_payment_whatever_became_of_the_link(
    office: Office, bank: Elsewhere
) -> None:
    envelope = office.envelope("initiatePayment")
    wish = PaymentWish(office.account, Decimal("30.00"), "EUR", "Bob", BOB, "Rent", source=Source.BANK)
    made = await office.desk.initiate(office.person, wish, envelope)
    assert not isinstance(made, Refused), made
    await office.side.pool.execute("update bank_accounts set linked = false where owner = $1", office.person)

    again = await office.desk.initiate(office.person, wish, envelope)

    assert not isinstance(again, Refused), again
    assert (again[0], again[1].replayed) == (made[0], True)
    fresh = await office.desk.initiate(office.person, wish, office.envelope("initiatePayment"))
    assert isinstance(fresh, Refused)
    assert fresh.refusal.code is RefusalCode.ACCOUNT_NOT_FOUND
    other = replace(wish, amount=Decimal("31.00"))
    reused = await office.desk.initiate(office.person, other, replace(envelope, body={"x": "another"}))
    assert isinstance(reused, Refused)
    assert reused.refusal.code is RefusalCode.IDEMPOTENCY_KEY_REUSED


async def test_what_was_taken_back_while_the_bank_was_asked_is_taken_back_there_however_long_that_takes(
    office: Office, bank: Elsewhere
) -> None:
    async def cancel() -> None:
        (payment,) = await office.side.pool.fetchrow("select id from payments where owner = $1", office.person) or ()
        done = await office.desk.cancel(office.person, payment, office.envelope("cancelPayment"))
        assert not isinstance(done, Refused), done
        await office.side.pool.execute("delete from pgqueuer")
        bank.troubles = ["before"]  # once it has answered, the bank is away

    bank.meanwhile, bank.anew = cancel, True
    payment = await office.initiate()
    assert bank.states["anew"] is P.AWAITING
    assert await ahead(office, payment) == 1

    await office.saga.advance(payment)
    assert (bank.states["anew"], (await office.stands(payment))[0]) == (P.CANCELLED, S.CANCELLED)


async def test_nothing_expires_here_while_it_can_still_be_opened_at_a_bank_that_was_asked_late(
    office: Office, bank: Elsewhere
) -> None:
    bank.keeps, bank.waits, bank.troubles = True, False, ["before"]
    payment = await office.initiate()
    for minutes, outcome in ((14, "asked"), (2, "looked")):
        office.clock.advance(timedelta(minutes=minutes))
        await office.side.pool.execute("delete from pgqueuer")
        assert await office.saga.advance(payment) == outcome
        assert await ahead(office, payment) == 1, "the person may answer there at any time"
    assert await office.stands(payment) == (S.AWAITING_SCA, None)

    office.clock.advance(timedelta(minutes=13))
    assert await office.saga.advance(payment) == "expired"


async def test_e6_what_would_pay_somebody_else_is_taken_back_in_the_end_and_is_over(
    office: Office, bank: Elsewhere
) -> None:
    payment = await office.initiate()
    bank.authorise(payment)
    bank.lies = {"payee_account": "IBAN DE89370400440532013000"}
    assert await office.on(payment, 2) == ["looked", "over"]
    office.clock.advance(timedelta(minutes=15))

    assert await office.saga.advance(payment) == "expired"

    assert bank.states[str(payment)] is P.CANCELLED
    assert await office.stands(payment) == (S.CANCELLED, "OTHER_PAYEE")


@pytest.mark.parametrize("url", ["javascript:alert(1)", "data:text/html,x", "//bank.example", ""])
async def test_an_address_that_is_no_page_is_shown_to_nobody(office: Office, bank: Elsewhere, url: str) -> None:
    bank.page = GoTo(url)
    payment = await office.initiate()
    assert await office.saga.advance(payment) == "unavailable"
    assert (await office.stands(payment), await office.challenge(payment)) == (
        (S.AWAITING_SCA, None),
        ("REDIRECT", "PENDING"),
    )
    assert await office.column(payment, "provider_reference") is None


async def test_what_cannot_be_asked_for_any_more_is_found_by_the_name_that_a_webhook_told(
    office: Office, bank: Elsewhere
) -> None:
    bank.quiet = True
    payment = await submitting(office, ["after"] * 20)
    await office.on(payment, 8)
    assert await office.stands(payment) == (S.AUTHORISED, "UNKNOWN_STATUS")
    bank.says = uuid4()
    await office.saga.advance(payment, f"told:{payment}")
    assert await office.stands(payment) == (S.AUTHORISED, "UNKNOWN_STATUS"), "another's"

    bank.says = None
    assert await office.saga.advance(payment, f"told:{payment}") == "looked"

    assert await office.stands(payment) == (S.SUBMITTED, None)
    assert await office.column(payment, "provider_reference") == f"told:{payment}"


@pytest.mark.parametrize("word", [P.UNKNOWN, P.AWAITING])
async def test_what_says_nothing_of_what_was_submitted_is_asked_ever_more_seldom_and_shown(
    office: Office, bank: Elsewhere, word: ProviderPayment
) -> None:
    payment = await submitting(office, [])
    submit = bank.submit

    async def says_nothing(wish: BankWish, reference: str) -> PaymentNews:
        return replace(await submit(wish, reference), state=word)

    bank.submit = says_nothing  # type: ignore[method-assign]  # as a bank that is not well
    assert await office.on(payment, 8) == ["unknown"] * 8
    await office.side.pool.execute("delete from pgqueuer")
    await office.saga.advance(payment)

    assert await office.stands(payment) == (S.AUTHORISED, "UNKNOWN_STATUS")
    late = "select min(execute_after) > now() + interval '1 minute' from pgqueuer where payload = $1"
    assert await office.side.pool.fetchval(late, str(payment).encode())


async def test_a_look_that_failed_leaves_nobody_at_a_bank_who_can_still_pay_what_is_over_here(
    office: Office, bank: Elsewhere
) -> None:
    bank.keeps, bank.waits = True, False
    payment = await office.initiate()
    done = await office.desk.cancel(office.person, payment, office.envelope("cancelPayment"))
    assert not isinstance(done, Refused), done
    pool, its = office.side.pool, str(payment).encode()
    await pool.execute("update pgqueuer set status = 'failed', dedupe_key = null where payload = $1", its)

    await office.saga.sweep()

    queued = "select count(*) from pgqueuer where payload = $1 and status = 'queued'"
    assert await pool.fetchval(queued, its) >= 1
    await pool.execute("delete from pgqueuer where payload = $1", its)
    await office.saga.sweep()
    assert await pool.fetchval(queued, its) == 0, "what ended well is not begun again"
