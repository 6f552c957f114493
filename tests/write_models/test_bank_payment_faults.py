"""Rows F39 and F41 of payments from a linked bank, to others and to us: whatever each step ends in, and however late a person is."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from uuid import UUID

import pytest

from isthmus.domain.payment_events import PaymentState
from isthmus.domain.payment_news import ProviderPayment
from isthmus.domain.sca import ChallengeState
from isthmus.write_models.envelope import Refused
from isthmus.write_models.sca_desk import Answer, Answered
from tests.write_models.bank_payment_rig import Elsewhere, ahead, bank, both, office
from tests.write_models.driver import assert_sound
from tests.write_models.test_bank_payment_saga import Office
from tests.write_models.test_top_up_saga import lies, opened, top_up

__all__ = ["bank", "both", "office"]

pytestmark = pytest.mark.asyncio(loop_scope="module")

S, P = PaymentState, ProviderPayment
WHAT = pytest.mark.parametrize("brings", [False, True], ids=["to others", "to us"])


async def made(office: Office, bank: Elsewhere, *, brings: bool) -> tuple[UUID, UUID | None]:
    """A payment, and the account that it is for."""
    if not brings:
        return await office.initiate("7.00"), None
    bank.collects = {"EUR": "ours"}
    account = await opened(office)
    return await top_up(office, account), account


async def moved(office: Office, account: UUID | None, before: Decimal) -> Decimal:
    """What our book has of it: credited here, or noted of what left elsewhere."""
    return await (lies(office, account) if account is not None else office.noted()) - before


ENDS = [
    # what goes wrong with the next calls; then what the bank says, in its order; the state; why it is parked; whether money moved
    ("asked: refused", ["refuses"], [], S.REJECTED, None, False),
    ("asked: down", ["before"], [P.EXECUTED, P.SETTLED], S.SETTLED, None, True),
    ("asked: unknown", ["after"], [P.EXECUTED, P.SETTLED], S.SETTLED, None, True),
    ("asked: unknown, then refused", ["after", "refuses"], [], S.REJECTED, None, False),
    ("authorised: refused", [], [P.REJECTED], S.REJECTED, None, False),
    ("authorised: failed", [], [P.FAILED], S.FAILED, None, False),
    ("authorised: taken back", [], [P.CANCELLED], S.CANCELLED, None, False),
    ("authorised: over", [], [P.EXPIRED], S.EXPIRED, None, False),
    ("authorised: nobody knows", [], [P.UNKNOWN], S.AWAITING_SCA, "UNKNOWN_STATUS", False),
    ("submitted: refused", ["-refuses"], [], S.REJECTED, None, False),
    ("submitted: down", ["-before"], [P.EXECUTED, P.SETTLED], S.SETTLED, None, True),
    ("submitted: unknown", ["-after"], [P.EXECUTED, P.SETTLED], S.SETTLED, None, True),
    ("submitted: unknown, then refused", ["-after", "-refuses"], [P.EXECUTED, P.SETTLED], S.SETTLED, None, True),
    ("looked: failed", ["-"], [P.FAILED], S.FAILED, None, False),
    ("looked: nobody knows", ["-"], [P.UNKNOWN], S.SUBMITTED, "UNKNOWN_STATUS", False),
    ("looked: settled, then failed", ["-"], [P.SETTLED, P.FAILED], S.SETTLED, "CONTRADICTION", True),
    ("looked: failed, then settled", ["-"], [P.FAILED, P.SETTLED], S.FAILED, "CONTRADICTION", False),
]


@WHAT
@pytest.mark.parametrize(
    ("troubles", "told", "state", "parked", "moves"), [one[1:] for one in ENDS], ids=[one[0] for one in ENDS]
)
async def test_f39_whatever_a_step_ends_in_the_money_is_where_the_payment_says(
    office: Office,
    bank: Elsewhere,
    brings: bool,
    troubles: list[str],
    told: list[ProviderPayment],
    state: PaymentState,
    parked: str | None,
    moves: bool,
) -> None:
    """Troubles that begin with a dash come once the person has authorised it."""
    bank.troubles = [one for one in troubles if not one.startswith("-")]
    payment, account = await made(office, bank, brings=brings)
    before = await moved(office, account, Decimal(0))
    await office.on(payment, len(bank.troubles) + 1)
    if any(one.startswith("-") for one in troubles) or P.SETTLED in told:
        bank.authorise(payment)
        await office.saga.advance(payment)
        bank.troubles = [name for one in troubles if (name := one.removeprefix("-")) and one.startswith("-")]
        await office.on(payment, len(bank.troubles) + 1)

    for word in told:
        bank.states[str(payment)] = word
        await office.saga.advance(payment)

    assert await office.stands(payment) == (state, parked)
    assert await moved(office, account, before) == (7 if moves else 0)
    if state in (S.REJECTED, S.FAILED, S.CANCELLED, S.EXPIRED):
        assert (await office.challenge(payment))[1] != "PENDING", "nobody is asked for what is over"
    await office.saga.advance(payment)
    assert (await office.stands(payment), await moved(office, account, before)) == ((state, parked), 7 if moves else 0)


async def test_f39_after_all_of_it_the_book_is_sound(office: Office) -> None:
    await assert_sound(office.side.pool)


# -- F41 ---------------------------------------------------------------------------------------------------------------------


async def back(office: Office, payment: UUID) -> Answered | Refused:
    """They come back from their bank, with what it gave them."""
    challenge = await office.column(payment, "challenge_id")
    given = Answer(returned=office.bank.asked[str(payment)].state)
    return await office.sca.answer(office.person, challenge, given, office.envelope("answerScaChallenge"))


@WHAT
async def test_f41_who_comes_back_twice_and_at_once_has_authorised_it_once(
    office: Office, bank: Elsewhere, brings: bool
) -> None:
    bank.waits = False
    payment, account = await made(office, bank, brings=brings)
    before = await moved(office, account, Decimal(0))
    bank.authorise(payment)

    for _ in range(2):
        assert isinstance(await back(office, payment), Answered)
    for word in (P.EXECUTED, P.SETTLED):
        bank.states[str(payment)] = word
        assert isinstance(await back(office, payment), Answered), "the same again is the same answer"
        await office.saga.advance(payment)

    query = "select type, count(*) from event_store where aggregate_id = any($1::uuid[]) group by type"
    streams = [payment, await office.column(payment, "challenge_id")]
    counts = {row["type"]: row["count"] for row in await office.side.pool.fetch(query, streams)}
    assert {counts[one] for one in ("ScaPassed", "PaymentAuthorised", "PaymentSubmitted", "PaymentSettled")} == {1}
    assert (await office.stands(payment), await moved(office, account, before)) == ((S.SETTLED, None), 7)


@WHAT
async def test_f41_who_comes_back_when_it_is_over_moves_nothing(office: Office, bank: Elsewhere, brings: bool) -> None:
    payment, account = await made(office, bank, brings=brings)
    before = await moved(office, account, Decimal(0))
    office.clock.advance(timedelta(minutes=15))
    assert await office.saga.advance(payment) == "expired"
    bank.authorise(payment)  # its page stood open

    for _ in range(2):
        late = await back(office, payment)
        assert isinstance(late, Refused)
        assert late.refusal.challenge_state is ChallengeState.EXPIRED  # type: ignore[attr-defined]  # an ScaRejected
    await office.on(payment)

    assert (bank.states[str(payment)], bank.book) == (P.CANCELLED, 0)
    assert (await office.stands(payment), await moved(office, account, before)) == ((S.EXPIRED, None), 0)


@WHAT
@pytest.mark.parametrize("authorised", [False, True], ids=["nobody", "at last"])
async def test_f41_a_bank_that_asks_elsewhere_and_is_away_for_three_days_is_waited_for(
    office: Office, bank: Elsewhere, brings: bool, authorised: bool
) -> None:
    """Nothing is over here that somebody may still authorise there, and all the while one look is ahead."""
    bank.decoupled, bank.waits = True, False
    payment, account = await made(office, bank, brings=brings)
    before = await moved(office, account, Decimal(0))
    for _ in range(12):
        office.clock.advance(timedelta(hours=6))
        await office.side.pool.execute("delete from pgqueuer")
        bank.troubles = ["before"]
        assert await office.saga.advance(payment) == "unavailable"
        assert (await office.stands(payment), await ahead(office, payment)) == ((S.AWAITING_SCA, None), 1)

    bank.troubles = []
    if authorised:
        bank.authorise(payment)
        bank.execute(payment)
        bank.states[str(payment)] = P.SETTLED
    await office.on(payment)

    assert (await office.stands(payment))[0] == (S.SETTLED if authorised else S.EXPIRED)
    assert await moved(office, account, before) == (7 if authorised else 0)
    assert (await office.challenge(payment))[1] == ("PASSED" if authorised else "EXPIRED")


@pytest.mark.parametrize("late", [timedelta(minutes=14), timedelta(days=3)], ids=["in time", "three days late"])
async def test_f41_what_the_bank_does_not_take_back_and_is_authorised_days_later_an_operator_sees(
    office: Office, bank: Elsewhere, late: timedelta
) -> None:
    bank.decoupled, bank.waits, bank.keeps = True, False, True
    payment, before = await office.initiate(), await office.noted()
    office.clock.advance(late)
    await office.saga.advance(payment)
    bank.authorise(payment)
    bank.execute(payment)
    await office.on(payment)

    in_time = late < timedelta(minutes=15)
    assert await office.stands(payment) == ((S.EXECUTED, None) if in_time else (S.EXPIRED, "CONTRADICTION"))
    assert await office.noted() - before == (30 if in_time else 0)
