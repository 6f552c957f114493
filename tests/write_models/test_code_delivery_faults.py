"""Rows F18 to F21 of the messages that bring codes, at the sandbox's carrier: lost, late, or taken and not said so, one arrives."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest

from isthmus.integrations.banking.calls import Calls
from isthmus.integrations.notifications.onesignal import OneSignal
from isthmus.write_models.code_delivery import CodeDelivery
from tests.write_models.payment_wire import OWN, Wire, rig, wire

__all__ = ["rig", "wire"]

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROUTE = "POST /onesignal/notifications"


@pytest.fixture
def delivery(wire: Wire) -> CodeDelivery:
    calls = Calls("onesignal", replace(wire.manners))  # type: ignore[arg-type]  # as patient as everybody here
    carrier = OneSignal(f"{wire.sandbox.url}/onesignal", "sandbox-onesignal", "sandbox-onesignal-key", wire.http, calls)
    return CodeDelivery(
        wire.side.pool, wire.side.texts, wire.sca._codes, carrier, wire.side.commands.assets, wire.side.clock
    )


async def asked(wire: Wire) -> UUID:
    """The challenge of a payment that waits for its code."""
    paid = await wire.pay(OWN, answered=False)
    await wire.nobody_looks()
    return UUID(str(await wire.column(paid, "challenge_id")))


async def wait(wire: Wire, challenge: UUID) -> timedelta | None:
    query = "select max(execute_after) - now() from pgqueuer where entrypoint = 'deliver_code' and payload = $1"
    found: timedelta | None = await wire.side.pool.fetchval(query, str(challenge).encode())
    return found


async def test_f18_f19_f21_whatever_becomes_of_it_the_code_arrives_once(wire: Wire, delivery: CodeDelivery) -> None:
    challenge = await asked(wire)
    for kind in ("hang_before", "hang_after", "error_before", "error_after", "truncated", "huge"):
        wire.goes_wrong(ROUTE, kind, seconds=0, status=503)
        assert await delivery.deliver(challenge) == "again", kind
        assert await wait(wire, challenge) is not None, "it is tried again"
        await wire.nobody_looks()

    assert await delivery.deliver(challenge) == "delivered"
    told = wire.sandbox.http.get(f"{wire.sandbox.url}/sandbox/inbox", params={"person": str(wire.person)}).json()
    assert len(told) == 1, "under one key one message"


async def test_f19_a_carrier_that_wants_to_be_left_alone_is(wire: Wire, delivery: CodeDelivery) -> None:
    challenge = await asked(wire)
    wire.goes_wrong(ROUTE, "too_many", retry_after=90)
    assert await delivery.deliver(challenge) == "again"
    after = await wait(wire, challenge)
    assert after is not None
    assert after > timedelta(seconds=80)
