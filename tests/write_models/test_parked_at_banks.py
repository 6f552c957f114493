"""Payments at people's own banks that are parked: what operators find is noted, or credited, and the saga goes on from there."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from uuid import UUID, uuid4

import pytest

from isthmus.domain.identifiers import house_account_id, uuid7_source
from isthmus.domain.payees import PayeeAccount
from isthmus.domain.payment_decisions import Finding
from isthmus.domain.personal import PersonalText
from isthmus.domain.refusals import RefusalCode
from isthmus.write_models.envelope import Outcome, Refused
from isthmus.write_models.notices import Notices
from isthmus.write_models.parked_desk import FindingWish, ParkedDesk
from tests.write_models.bank_payment_rig import Elsewhere, P, S, bank, both, office, submitting
from tests.write_models.driver import assert_sound
from tests.write_models.test_bank_payment_saga import Office
from tests.write_models.test_top_up_saga import lies, top_up
from tests.write_models.test_top_up_saga import opened as account_of

__all__ = ["bank", "both", "office"]

pytestmark = pytest.mark.asyncio(loop_scope="module")

OLGA, OTTO = uuid4(), uuid4()


def desk_of(office: Office) -> ParkedDesk:
    side, banks = office.side, office.desk._banks
    assert banks is not None
    return ParkedDesk(side.pool, side.commands, side.texts, {}, banks, uuid7_source(side.clock.now))


async def propose(office: Office, payment: UUID, amount: str = "0") -> Outcome:
    moved = Decimal(amount)
    finding = Finding.EXECUTED if moved else Finding.NOT_EXECUTED
    wish = FindingWish(finding, moved, None, None, PersonalText("asked at the bank"))
    return await desk_of(office).propose(OLGA, payment, wish, office.envelope("proposePaymentDecision"))


async def decide(office: Office, payment: UUID, amount: str = "0") -> Outcome:
    proposed = await propose(office, payment, amount)
    assert not isinstance(proposed, Refused), proposed
    proposal = proposed.events[0].event
    return await desk_of(office).confirm(OTTO, payment, proposal.proposal_id, office.envelope("confirm"))  # type: ignore[union-attr]  # it is the one event of that command


async def parked(office: Office, bank: Elsewhere, payment: UUID, **lies: object) -> None:
    """The bank asks, is answered, executes; and tells that so."""
    await office.on(payment, 2)
    bank.authorise(payment)
    await office.on(payment)
    bank.execute(payment)
    bank.lies = lies
    await office.on(payment)


async def told_of(office: Office, payment: UUID) -> Decimal:
    """How much its payer is told has left."""
    pool = office.side.pool
    executed = "select position from event_store where aggregate_id = $1 and type = 'PaymentExecuted'"
    notices = Notices(pool, (), timedelta(days=1), office.clock)
    assert await notices.take([await pool.fetchval(executed, payment)]) == 1
    found: Decimal = await pool.fetchval("select amount from listed_notifications where subject_id = $1", payment)
    return found


async def test_what_left_from_a_persons_own_bank_is_noted_as_it_was_found(office: Office, bank: Elsewhere) -> None:
    before, payment = await office.noted(), await office.initiate()
    await parked(office, bank, payment, amount=Decimal("29.50"))
    assert await office.stands(payment) == (S.SUBMITTED, "OTHER_AMOUNT")

    assert not isinstance(await decide(office, payment, "29.50"), Refused)

    assert await office.stands(payment) == (S.EXECUTED, None)
    assert (await office.noted() - before, await office.column(payment, "moved")) == (
        Decimal("29.50"),
        Decimal("29.50"),
    )
    assert await told_of(office, payment) == Decimal("29.50"), "its payer reads what moved"
    bank.states[str(payment)] = P.SETTLED
    await office.on(payment)
    assert await office.stands(payment) == (S.SETTLED, None), "with the amount that is known by now"
    await assert_sound(office.side.pool)


async def test_what_came_to_nothing_there_is_over_here_and_the_bank_is_asked_no_more(
    office: Office,
    bank: Elsewhere,
) -> None:
    before, payment = await office.noted(), await office.initiate()
    await parked(office, bank, payment, amount=Decimal("29.50"))
    refused = await propose(office, payment)
    bank.lies, bank.states[str(payment)] = {}, P.FAILED
    bank.refuses = True  # it does not say so yet

    assert isinstance(refused, Refused)
    assert refused.refusal.code is RefusalCode.PAYMENT_CONTRADICTED
    last = await propose(office, payment)
    assert isinstance(last, Refused), "what it said last counts while it says nothing"
    bank.refuses = False
    assert not isinstance(await decide(office, payment), Refused)

    assert (await office.stands(payment), await office.noted()) == ((S.FAILED, None), before)
    assert await office.column(payment, "failure_code") == "NOT_EXECUTED"
    await office.on(payment)
    assert await office.stands(payment) == (S.FAILED, None)


async def test_money_brought_here_is_credited_as_much_as_arrived_and_once(office: Office, bank: Elsewhere) -> None:
    bank.collects, ours = {"EUR": "ours"}, house_account_id("bank:bank:EUR")
    account, before = await account_of(office), await lies(office, ours)
    payment = await top_up(office, account)
    await parked(office, bank, payment)
    assert await office.stands(payment) == (S.EXECUTED, None)
    bank.states[str(payment)], bank.lies = P.SETTLED, {"amount": Decimal("6.50")}
    await office.on(payment)
    assert (await office.stands(payment), await lies(office, account)) == ((S.EXECUTED, "OTHER_AMOUNT"), 0)

    assert not isinstance(await decide(office, payment, "6.50"), Refused)
    await office.on(payment)

    assert await office.stands(payment) == (S.SETTLED, None)
    assert (await lies(office, account), await lies(office, ours) - before) == (Decimal("6.50"), Decimal("6.50"))
    await assert_sound(office.side.pool)


async def test_what_was_not_to_arrive_any_more_and_does_is_shown_as_what_arrived(
    office: Office, bank: Elsewhere
) -> None:
    bank.collects = {"EUR": "ours"}
    account = await account_of(office)
    payment = await top_up(office, account)
    await parked(office, bank, payment)
    bank.states[str(payment)] = P.FAILED
    await office.on(payment)
    assert not isinstance(await decide(office, payment), Refused)
    assert (await office.stands(payment), await office.column(payment, "moved")) == ((S.EXECUTED, None), 0)

    bank.states[str(payment)] = P.SETTLED
    await office.on(payment)

    assert (await office.stands(payment), await lies(office, account)) == ((S.SETTLED, None), 7)
    assert await office.column(payment, "moved") is None, "nothing was found of what arrived"


async def test_whoever_looks_again_finds_that_it_is_in_order(office: Office, bank: Elsewhere) -> None:
    payment = await office.initiate()
    await parked(office, bank, payment, payee_account="IBAN DE89370400440532013000")
    assert await office.stands(payment) == (S.SUBMITTED, "OTHER_PAYEE")
    still, _ = await desk_of(office).look_again(OLGA, payment, None, office.envelope("look"))
    assert not isinstance(still, Refused)
    assert (await office.stands(payment))[1] == "OTHER_PAYEE"
    bank.lies = {"payee_account": PayeeAccount(sort_code="601613", number="31926819").text()}  # its other name

    _, news = await desk_of(office).look_again(OLGA, payment, None, office.envelope("look"))

    assert news is not None
    assert (news.state, await office.stands(payment)) == (P.EXECUTED, (S.EXECUTED, None))


async def test_what_is_over_here_and_was_done_under_a_name_that_a_webhook_told_is_shown_and_can_be_decided(
    office: Office, bank: Elsewhere
) -> None:
    bank.quiet = True
    before, payment = await office.noted(), await submitting(office, ["after", *["refuses"] * 7])
    await office.on(payment, 8)
    assert await office.stands(payment) == (S.REJECTED, None)
    bank.execute(payment)

    assert await office.saga.advance(payment, f"told:{payment}") == "looked"

    assert await office.stands(payment) == (S.REJECTED, "CONTRADICTION")
    refused = await propose(office, payment)
    assert isinstance(refused, Refused), "what it said of the payment counts"
    assert not isinstance(await decide(office, payment, "30.00"), Refused)
    assert (await office.stands(payment), await office.noted() - before) == ((S.REJECTED, None), 30)


@pytest.mark.parametrize("lies", [{"amount": Decimal("29.00")}, {}])
async def test_what_is_not_as_it_was_submitted_is_asked_for_by_the_name_that_it_has_now(
    office: Office, bank: Elsewhere, lies: dict[str, Decimal]
) -> None:
    bank.quiet = bank.names = True
    payment = await submitting(office, [])
    bank.lies = dict(lies)
    if not lies:
        bank.states[str(payment)] = P.UNKNOWN
    await office.saga.advance(payment)
    assert await office.stands(payment) == (S.SUBMITTED, "OTHER_AMOUNT" if lies else "UNKNOWN_STATUS")
    assert await office.column(payment, "provider_reference") == f"told:{payment}"

    bank.states[str(payment)] = P.EXECUTED
    if lies:
        assert not isinstance(await decide(office, payment, "29.00"), Refused)
    else:
        await office.saga.advance(payment)

    assert await office.stands(payment) == (S.EXECUTED, None)
