"""A payment followed live: what was missed comes after the last message that was seen, and what was seen does not come again. A place that
the log does not have is refused: whoever goes on behind it would wait for what never comes."""

from __future__ import annotations

import asyncio
from uuid import uuid4

from tests.api.conftest import Person, Served
from tests.api.socket_client import connected
from tests.api.test_payments import funded, initiate

PROGRESSED = """subscription($id: ID!, $after: Position) { paymentProgressed(paymentId: $id, after: $after) { state position } }"""
CANCEL = "mutation($input: CancelPaymentInput!) { cancelPayment(input: $input) { errors { code } } }"


async def test_what_was_missed_comes_after_what_was_seen(served: Served, ada: Person, olga: Person) -> None:
    def made() -> str:
        return str(initiate(ada, funded(ada, olga), "2.00")["payment"]["id"])

    payment = await asyncio.to_thread(made)
    async with connected(served) as first:
        await first.sign_in(ada.token)
        await first.subscribe(PROGRESSED, {"id": payment})
        seen = (await first.next())["data"]["paymentProgressed"]
    wish = {"input": {"paymentId": payment, "idempotencyKey": uuid4().hex}}
    assert await asyncio.to_thread(ada.ask, CANCEL, wish) == {"cancelPayment": {"errors": []}}
    async with connected(served) as again:
        await again.sign_in(ada.token)
        await again.subscribe(PROGRESSED, {"id": payment, "after": seen["position"]})
        missed = (await again.next())["data"]["paymentProgressed"]

        await again.subscribe(PROGRESSED, {"id": payment, "after": str(2**62)}, id="2")
        refused = await again.receive()

    assert refused["type"] == "error"
    assert refused["payload"][0]["extensions"]["code"] == "BAD_USER_INPUT"
    assert (seen["state"], missed["state"]) == ("AWAITING_SCA", "CANCELLED")
    assert int(missed["position"]) > int(seen["position"])
