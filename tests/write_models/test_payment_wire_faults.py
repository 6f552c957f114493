"""Rows F18, F19 and F23 of payments, on every rail, in the providers' own wire formats: whatever is lost or late, there is one payment at
the bank, and our book says what the bank's does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta

import httpx
import orjson
import pytest

from isthmus.domain.payment_events import PaymentState
from isthmus.write_models.envelope import Refused, Unavailable
from tests.write_models.driver import assert_sound
from tests.write_models.payment_wire import (
    OWN,
    PLAID,
    TOP_UP,
    TRUELAYER,
    YAPILY,
    Paid,
    Rail,
    Wire,
    each_rail,
    rig,
    wire,
)

__all__ = ["rig", "wire"]

pytestmark = pytest.mark.asyncio(loop_scope="module")

S = PaymentState


async def paid_once(wire: Wire, paid: Paid) -> None:
    assert await wire.stands(paid) == (paid.rail.end, None)
    assert await wire.at_bank(paid) == await wire.in_our_books(paid) == paid.amount
    if paid.rail is OWN:
        made = wire.sandbox.tell("actions", action="truelayer.payouts", amount_in_minor=int(paid.amount * 100))
        assert made == 1, "one order, also of those that nobody heard of"


# -- F18: nobody knows whether it was done ---------------------------------------------------------------------------------


@each_rail
@pytest.mark.parametrize("kind", ["hang_before", "hang_after", "truncated"])
async def test_f18_whatever_answer_is_lost_on_the_way_it_is_one_payment_at_the_bank(
    wire: Wire, rail: Rail, kind: str
) -> None:
    for route in rail.routes:
        wire.goes_wrong(route, kind, seconds=0)
    paid = await wire.pay(rail)
    await wire.carried(paid)

    await paid_once(wire, paid)
    assert wire.troubles_left() == [], "each of them happened"


@pytest.mark.parametrize(
    ("rail", "at"), [(OWN, 1), (TRUELAYER, 1), (YAPILY, 2), (PLAID, 1)], ids=["own", "truelayer", "yapily", "plaid"]
)
async def test_f18_a_bank_that_does_it_and_is_silent_for_longer_than_we_wait_has_done_it_once(
    wire: Wire, rail: Rail, at: int
) -> None:
    wire.goes_wrong(rail.routes[at], "hang_after", seconds=30)
    wire.manners.deadline_s = 0.5
    async with asyncio.timeout(15):
        paid = await wire.pay(rail)
        while wire.troubles_left():
            await wire.approve(paid)
            await wire.saga.advance(paid.id)
    wire.manners.deadline_s = 20
    await wire.carried(paid)

    await paid_once(wire, paid)


@pytest.mark.parametrize("rail", [OWN, TRUELAYER, YAPILY, TOP_UP], ids=lambda rail: rail.name)
async def test_f18_who_cannot_be_reached_is_reached_later(wire: Wire, rail: Rail) -> None:
    """Also for as long as a connection is tried for: the provider has heard nothing."""
    unheard = [httpx.ConnectTimeout, httpx.ConnectError] * len(rail.routes)

    def instead(request: httpx.Request) -> None:
        if unheard:
            raise unheard.pop()("nobody is there", request=request)

    wire.transport.instead = instead
    paid = await wire.pay(rail)
    await wire.carried(paid)

    await paid_once(wire, paid)


@pytest.mark.parametrize(
    ("rail", "route"),
    [(TRUELAYER, "POST /truelayer/api/v3/payments/*/actions/cancel"), (YAPILY, "DELETE /yapily/consents/*")],
    ids=["truelayer", "yapily"],
)
@pytest.mark.parametrize("kind", ["hang_before", "hang_after"])
async def test_f18_what_is_taken_back_and_nobody_says_so_is_over_here_once_it_is_there(
    wire: Wire, rail: Rail, route: str, kind: str
) -> None:
    paid = await wire.pay(rail)
    wire.goes_wrong(route, kind, seconds=0)
    with pytest.raises(Unavailable):
        await wire.desk.cancel(wire.person, paid.id, wire.envelope("cancelPayment"))
    assert await wire.state(paid) is S.AWAITING_SCA, "somebody may still authorise it there"

    done = await wire.desk.cancel(wire.person, paid.id, wire.envelope("cancelPayment"))

    assert not isinstance(done, Refused), done
    await wire.approve(paid)  # the page stood open
    await wire.saga.advance(paid.id)
    assert await wire.stands(paid) == (S.CANCELLED, None)
    assert await wire.at_bank(paid) == await wire.in_our_books(paid) == 0


async def test_f18_a_secret_that_is_no_good_any_more_is_no_refusal_of_what_may_have_been_paid(wire: Wire) -> None:
    """400 says that a payout never will be; of a token it says nothing of the kind."""
    paid = await wire.pay(OWN)
    wire.goes_wrong(OWN.routes[1], "hang_after", seconds=0)
    assert await wire.saga.advance(paid.id) == "unknown"
    wire.act("truelayer.forget_tokens")
    wire.goes_wrong(OWN.routes[0], "error_before", status=400)

    assert await wire.saga.advance(paid.id) == "unknown"

    assert await wire.stands(paid) == (S.AUTHORISED, None)
    await wire.carried(paid)
    await paid_once(wire, paid)
    await assert_sound(wire.side.pool)


# -- F19: nobody is well -----------------------------------------------------------------------------------------------------


@each_rail
async def test_f19_a_provider_that_fails_at_every_step_has_done_it_once_in_the_end(wire: Wire, rail: Rail) -> None:
    for n, route in enumerate(rail.routes):
        wire.goes_wrong(route, ("error_before", "error_after")[n % 2], status=(500, 502, 503)[n % 3])
        wire.goes_wrong(route, ("error_after", "error_before")[n % 2], status=(503, 500, 502)[n % 3])
        wire.goes_wrong(route, "too_many")
    paid = await wire.pay(rail)
    await wire.carried(paid)

    await paid_once(wire, paid)
    assert wire.troubles_left() == []


@pytest.mark.parametrize(
    ("rail", "at"),
    [(OWN, 1), (OWN, 2), (TRUELAYER, 1), (TRUELAYER, 3), (YAPILY, 0), (YAPILY, 2), (YAPILY, 3), (PLAID, 1), (PLAID, 4)],
    ids=lambda value: value.name if isinstance(value, Rail) else str(value),
)
async def test_f19_who_says_for_how_long_is_left_alone_for_so_long(wire: Wire, rail: Rail, at: int) -> None:
    wire.goes_wrong(rail.routes[at], "error_before", status=500)
    paid = await wire.pay(rail)
    while wire.troubles_left():
        await wire.approve(paid)
        await wire.saga.advance(paid.id)
    wire.goes_wrong(rail.routes[at], "too_many", retry_after=90)
    while wire.troubles_left():
        await wire.nobody_looks()
        await wire.approve(paid)
        await wire.saga.advance(paid.id)

    waits = await wire.waits(paid)

    assert waits is not None
    assert 89 < waits < 120


async def test_f19_a_token_that_is_over_in_mid_flow_is_made_fresh_once_for_all_who_find_it_so(wire: Wire) -> None:
    some = [await wire.submitted(OWN) for _ in range(2)]
    wire.act("truelayer.forget_tokens")
    wire.transport.sent.clear()
    both, late = asyncio.Event(), asyncio.Event()

    class Slow(httpx.AsyncBaseTransport):
        """Both are told that their token is over; the one hears it once the other has a new one."""

        inner, told = wire.transport, 0

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            answer = await self.inner.handle_async_request(request)
            if answer.status_code != 401:
                if request.method == "GET":
                    late.set()
                return answer
            self.told += 1
            if self.told == 1:
                await both.wait()
            else:
                both.set()
                await late.wait()
            return answer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wire.http, "_transport", Slow())
        assert await asyncio.gather(*(wire.saga.advance(paid.id) for paid in some)) == ["looked"] * 2

    assert wire.transport.sent.count("POST /truelayer/auth/connect/token") == 1


@pytest.mark.parametrize("rail", [OWN, TRUELAYER, YAPILY, PLAID], ids=lambda rail: rail.name)
async def test_f19_who_lets_us_in_no_more_has_refused_nothing(wire: Wire, rail: Rail) -> None:
    """401 and 403 at every step, as after a secret was changed: an operator may be told, and nothing comes to an end by it."""
    for route in rail.routes:
        for status in (401, 401):
            wire.goes_wrong(route, "error_before", status=status)
    paid = await wire.pay(rail)
    await wire.carried(paid)

    await paid_once(wire, paid)


# -- F22: they tell us before they answer -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("rail", "at"), [(OWN, 1), (TRUELAYER, 1), (YAPILY, 2)], ids=["own", "truelayer", "yapily"])
async def test_f22_what_a_webhook_tells_of_before_the_api_has_answered_is_done_once_and_never_downgraded(
    wire: Wire, rail: Rail, at: int
) -> None:
    """It names the payment by the provider's name, which nobody here has heard yet, and is worked off at once."""
    told: list[str] = []

    class Telling(httpx.AsyncBaseTransport):
        inner = wire.transport

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            answer = await self.inner.handle_async_request(request)
            if told or f"{request.method} {request.url.path}" != rail.routes[at] or answer.status_code >= 400:
                return answer
            body = orjson.loads(await answer.aread())
            made = body.get("data") or body
            told.append(f"{made['consentId']}:{made['id']}" if rail is YAPILY else made["id"])
            payment = await wire.side.pool.fetchval("select id from payments where owner = $1", wire.person)
            if rail is OWN:
                for status in ("authorized", "executed"):
                    wire.act("truelayer.payout", payout=told[0], status=status)
            if rail is YAPILY:
                wire.act("yapily.payment_status", payment=made["id"], status="COMPLETED")
            wire.manners.deadline_s = 60
            await wire.saga.advance(payment, told[0])
            return httpx.Response(
                answer.status_code, headers={"content-type": "application/json"}, content=answer.content
            )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wire.http, "_transport", Telling())
        paid = await wire.pay(rail)
        paid.executed = rail is not TRUELAYER
        await wire.carried(paid)

    assert told
    await paid_once(wire, paid)


# -- F23: nobody tells us --------------------------------------------------------------------------------------------------


@each_rail
async def test_f23_without_any_webhook_the_schedule_finds_what_became_of_it(wire: Wire, rail: Rail) -> None:
    """Nothing is looked at but when a job says so; the time until then passes. The bank takes two minutes."""
    paid, begun = await wire.pay(rail), wire.clock.now()
    await wire.approve(paid)

    async def next_job() -> None:
        row = await wire.side.pool.fetchrow(
            "delete from pgqueuer where id = (select id from pgqueuer where entrypoint = 'advance_payment' and payload = $1 "
            "order by execute_after limit 1) returning execute_after - created as after",
            str(paid.id).encode(),
        )
        assert row is not None, f"nobody is about to look at it: {await wire.stands(paid)}"
        wire.clock.advance(max(row["after"], timedelta(0)))
        await wire.saga.advance(paid.id)

    async def until(done: Callable[[PaymentState], bool]) -> timedelta:
        asked = wire.clock.now()
        while not done(await wire.state(paid)):
            await wire.approve(paid)
            await next_job()
        return wire.clock.now() - asked

    assert await until(lambda state: state is S.SUBMITTED) < timedelta(minutes=1)
    while wire.clock.now() - begun < timedelta(minutes=2):
        await next_job()
    await wire.execute(paid)

    assert await until(lambda state: state is rail.end) <= timedelta(minutes=1)
    await paid_once(wire, paid)
