"""Rows F20 and F21 of payments, on every rail, in the providers' own wire formats: what is untrue, or cannot be, moves nothing. Money
moves by the last word that counts, once, and what contradicts it an operator is told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import uuid4

import msgspec
import pytest

from isthmus.domain.funding import funding_reference
from isthmus.domain.payment_events import PaymentState
from isthmus.domain.reconciliation import Class
from isthmus.write_models.pay_ins import Look, PayIns
from isthmus.write_models.reconciliation import NotCompared, Reconciler
from tests.write_models.driver import Driver, assert_sound
from tests.write_models.payment_wire import OWN, TOP_UP, YAPILY, Paid, Rail, Wire, each_rail, rig, wire

__all__ = ["rig", "wire"]

pytestmark = pytest.mark.asyncio(loop_scope="module")

S = PaymentState
STATEMENT = "GET /truelayer/api/v3/merchant-accounts/*/transactions"


async def says(wire: Wire, paid: Paid, word: str) -> None:
    """The provider says that it is so, and nothing has happened."""
    if paid.rail is YAPILY:
        iso = {"PENDING": "PDNG", "COMPLETED": "ACSC", "FAILED": "RJCT"}.get(word, "PDNG")
        named = str(await wire.column(paid, "provider_reference")).rpartition(":")[2]
        wire.act("yapily.payment_status", payment=named, status=word, iso=iso)
    else:
        wire.goes_wrong(paid.rail.look, "says", word=word)
    assert await wire.saga.advance(paid.id) == "looked"


# -- F20: what is untrue -----------------------------------------------------------------------------------------------------


@each_rail
async def test_f20_a_word_that_nobody_knows_moves_nothing_and_is_shown_until_it_is_known_again(
    wire: Wire, rail: Rail
) -> None:
    paid = await wire.submitted(rail)

    await says(wire, paid, "A_NEW_WORD")

    assert (await wire.stands(paid), await wire.in_our_books(paid)) == ((S.SUBMITTED, "UNKNOWN_STATUS"), 0)
    if rail is YAPILY:
        await says(wire, paid, "PENDING")
    await wire.carried(paid)
    assert await wire.stands(paid) == (rail.end, None)
    assert await wire.at_bank(paid) == await wire.in_our_books(paid) == paid.amount


@each_rail
async def test_f20_what_is_said_to_be_done_then_not_yet_and_then_to_have_failed_is_shown_to_an_operator(
    wire: Wire, rail: Rail
) -> None:
    paid = await wire.submitted(rail)
    not_yet, done, failed = rail.words

    await says(wire, paid, done)
    assert (await wire.stands(paid), await wire.in_our_books(paid)) == ((rail.end, None), paid.amount)
    await says(wire, paid, not_yet)
    assert (await wire.stands(paid), await wire.in_our_books(paid)) == ((rail.end, None), paid.amount), (
        "nothing goes back"
    )
    await says(wire, paid, failed)

    assert (await wire.stands(paid), await wire.in_our_books(paid)) == ((rail.end, "CONTRADICTION"), paid.amount)
    await says(wire, paid, "A_NEW_WORD")
    assert await wire.stands(paid) == (rail.end, "CONTRADICTION"), "no lesser trouble takes its place"
    assert await wire.at_bank(paid) == 0
    if rail in (OWN, TOP_UP):
        await found_by_reconciliation(wire, paid)


async def found_by_reconciliation(wire: Wire, paid: Paid) -> None:
    """We booked it, and the bank has not."""
    side, clock = wire.side, wire.clock
    statements = {"truelayer": wire.statements}
    reconciler = Reconciler(side.pool, side.commands, statements, clock, uuid4, young=timedelta(0))
    clock.advance(timedelta(milliseconds=1))
    (report,) = await reconciler.run(clock.now().date())
    amount = -paid.amount if paid.rail is OWN else paid.amount
    assert amount in [one.ours.amount for one in report.differences if one.found is Class.MISSING and one.ours]


@each_rail
async def test_f20_what_was_said_to_have_failed_and_is_done_all_the_same_is_shown_to_an_operator(
    wire: Wire, rail: Rail
) -> None:
    """Whoever told of it: a webhook is a reason to look also at what is over."""
    paid = await wire.submitted(rail)
    await says(wire, paid, rail.words[2])
    assert await wire.state(paid) in (S.FAILED, S.REJECTED)
    if rail is YAPILY:
        await says(wire, paid, "PENDING")
    await wire.execute(paid)

    await wire.saga.advance(paid.id)

    state, parked = await wire.stands(paid)
    assert (state in (S.FAILED, S.REJECTED), parked) == (True, "CONTRADICTION")
    assert (await wire.at_bank(paid), await wire.in_our_books(paid)) == (paid.amount, 0)


async def test_f20_what_has_left_for_us_and_has_not_arrived_is_credited_to_nobody(wire: Wire) -> None:
    paid = await wire.submitted(TOP_UP)
    await says(wire, paid, "executed")
    assert (await wire.stands(paid), await wire.in_our_books(paid)) == ((S.EXECUTED, None), 0)
    await says(wire, paid, "failed")
    assert (await wire.stands(paid), await wire.in_our_books(paid)) == ((S.EXECUTED, "CONTRADICTION"), 0)
    await assert_sound(wire.side.pool)


async def test_f20_a_payout_that_its_bank_will_not_tell_of_is_shown_to_an_operator(wire: Wire) -> None:
    paid = await wire.submitted(OWN)
    wire.goes_wrong(OWN.look, "error_before", status=404)
    assert await wire.saga.advance(paid.id) == "unavailable"
    assert (await wire.stands(paid), await wire.in_our_books(paid)) == ((S.SUBMITTED, "UNKNOWN_STATUS"), 0)
    assert await wire.waits(paid), "and asked for again"
    await wire.carried(paid)
    assert await wire.stands(paid) == (S.EXECUTED, None)


# -- F21: what cannot be -----------------------------------------------------------------------------------------------------


@each_rail
async def test_f21_what_cannot_be_is_refused_and_another_amount_is_shown_to_an_operator(wire: Wire, rail: Rail) -> None:
    paid = await wire.submitted(rail)
    for kind in ("truncated", "nan", "enormous", "huge"):
        wire.goes_wrong(rail.look, kind)
        assert await wire.saga.advance(paid.id) == "unavailable", kind
        assert (await wire.stands(paid), await wire.in_our_books(paid)) == ((S.SUBMITTED, None), 0), kind
    if rail is YAPILY:
        wire.goes_wrong(rail.look, "twice")
        assert await wire.saga.advance(paid.id) == "unavailable", "two of one name"
    for kind in ("many_places", "wrong_currency"):
        await wire.execute(paid)  # done, and told of as another
        wire.goes_wrong(rail.look, kind)
        await wire.saga.advance(paid.id)
        state, parked = await wire.stands(paid)
        assert (state, parked in (None, "OTHER_AMOUNT"), await wire.in_our_books(paid)) == (S.SUBMITTED, True, 0), kind

    assert (await wire.stands(paid))[1] == "OTHER_AMOUNT"
    await wire.carried(paid)
    assert await wire.stands(paid) == (rail.end, "OTHER_AMOUNT"), "what was odd stays to be seen"
    assert await wire.at_bank(paid) == await wire.in_our_books(paid) == paid.amount


@each_rail
async def test_f21_what_is_answered_to_a_wish_and_is_no_answer_is_not_known_and_done_once(
    wire: Wire, rail: Rail
) -> None:
    for route in rail.routes[:-1]:
        wire.goes_wrong(route, "huge")
    paid = await wire.pay(rail)
    await wire.carried(paid)

    assert (await wire.stands(paid), wire.troubles_left()) == ((rail.end, None), [])
    assert await wire.at_bank(paid) == await wire.in_our_books(paid) == paid.amount


async def test_f21_a_statement_that_cannot_be_is_refused_whole_and_nothing_is_booked(wire: Wire) -> None:
    side, clock, statements = wire.side, wire.clock, {"truelayer": wire.statements}
    account, now = await Driver(side.commands).open(wire.person, "GBP"), datetime.now(UTC)
    pay_ins = PayIns(side.pool, side.commands, statements, clock)
    reconciler = Reconciler(side.pool, side.commands, statements, clock, uuid4, young=timedelta(0))
    told = {"currency": "GBP", "amount_in_minor": 2500, "reference": funding_reference(account)}
    entry = wire.sandbox.tell("actions", action="truelayer.external_payment", **told)["id"]
    look = msgspec.json.encode(Look("truelayer", entry, "GBP", Decimal(25), now))
    clock.set(max(clock.now(), datetime.now(UTC)) + timedelta(milliseconds=1))
    before = await side.pool.fetchval("select count(*) from reconciliation_cases")
    await wire.statements.entries("GBP", now, now)  # with a token that is good from here on

    for kind in ("truncated", "nan", "enormous", "many_places", "wrong_currency", "huge", "twice"):
        wire.goes_wrong(STATEMENT, kind, times=2)
        assert await pay_ins.look(look) == "not_there", kind
        with pytest.raises(NotCompared, match="truelayer GBP: "):
            await reconciler.run(clock.now().date())
    with pytest.raises(NotCompared, match="truelayer GBP: TrueLayer told of"):
        wire.goes_wrong("GET /truelayer/api/v3/merchant-accounts/*", "wrong_currency", times=2)
        await reconciler.run(clock.now().date())

    wire.sandbox.http.delete(f"{wire.sandbox.url}/sandbox/misbehaviour")
    assert (await wire.posted(account), await side.pool.fetchval("select count(*) from reconciliation_cases")) == (
        0,
        before,
    )
    assert await pay_ins.look(look) == "credited"
    assert await wire.posted(account) == 25


async def test_f19_a_bank_that_fails_while_its_statement_is_read_is_read_again_later(wire: Wire) -> None:
    side, clock, statements = wire.side, wire.clock, {"truelayer": wire.statements}
    account, now = await Driver(side.commands).open(wire.person, "GBP"), datetime.now(UTC)
    pay_ins = PayIns(side.pool, side.commands, statements, clock)
    told = {"currency": "GBP", "amount_in_minor": 2500, "reference": funding_reference(account)}
    entry = wire.sandbox.tell("actions", action="truelayer.external_payment", **told)["id"]
    look = msgspec.json.encode(Look("truelayer", entry, "GBP", Decimal(25), now))
    clock.set(max(clock.now(), datetime.now(UTC)) + timedelta(milliseconds=1))

    for kind, status in (("error_before", 500), ("error_after", 503), ("error_before", 403), ("too_many", 429)):
        for _ in range(3):
            wire.goes_wrong(STATEMENT, kind, status=status)
        assert await pay_ins.look(look) == "not_there", kind
        wire.sandbox.http.delete(f"{wire.sandbox.url}/sandbox/misbehaviour")
    assert await wire.posted(account) == 0
    wire.act("truelayer.forget_tokens")

    assert await pay_ins.look(look) == "credited", "with a new token"
    assert await wire.posted(account) == 25
