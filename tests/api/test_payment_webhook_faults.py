"""Row F22 of payments, and F21 of what is told of them: a webhook asks for one look, whatever it says, how often, and how late."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from isthmus.graphql.ids import payment_key
from isthmus.write_models.webhooks import Taken
from tests.api import banking
from tests.api.banking import on_loop
from tests.api.conftest import Person, Served
from tests.api.test_bank_payments import answer, carried_on, column, memo, pay, reference
from tests.api.test_bank_payments_elsewhere import at_bank, executed, linked, looks_ahead, no_look_ahead
from tests.api.test_payments import shown
from tests.api.test_webhooks import administered, rows, sent, signature, worked_off, yapily
from tests.sandbox.running import Sandbox


@pytest.fixture(scope="module", autouse=True)
def _held(served: Served, banks: Sandbox) -> Iterator[None]:
    """The bank does nothing by itself."""
    banking.know_institutions(served)
    banks.tell("facts", name="yapily.hold", value="1")
    yield
    banks.tell("facts", name="yapily.hold", value=None)


def submitted(served: Served, banks: Sandbox, person: Person) -> Any:
    payment = pay(person, linked(served, banks, person, "yapily"))
    answer(person, payment, redirectResult=at_bank(banks, payment["challenge"]["url"]))
    carried_on(served, payment)
    assert shown(person, payment["id"])["state"] == "SUBMITTED"
    return payment


def event(served: Served, payment: Any, status: str) -> bytes:
    consent, _, named = reference(served, payment).partition(":")
    told = {"id": named, "consentId": consent, "status": status, "paymentIdempotencyId": payment_key(payment["id"]).hex}
    return json.dumps({"id": "w", "type": "single_payment.status.updated", "event": told}).encode()


async def taken(served: Served, bodies: list[bytes]) -> set[Taken]:
    """All of them at once, behind the door."""
    take = served.banking.webhooks.take
    signed = [({"x-yapily-signature": signature(body)}, body) for body in bodies]
    return set(await asyncio.gather(*(take("yapily", headers, "/webhooks/yapily", body) for headers, body in signed)))


def parked(served: Served, payment: Any) -> Any:
    return column(served, "select parked from payments where id = $1", payment_key(payment["id"]))


def test_f22_a_thousand_in_any_order_before_and_after_and_three_days_late_have_one_effect(
    served: Served, banks: Sandbox, ada: Person
) -> None:
    payment, before = submitted(served, banks, ada), memo(served)
    words = ("COMPLETED", "FAILED", "PENDING", "EXPIRED", "A_NEW_WORD")
    bodies = [event(served, payment, word) for word in words]
    no_look_ahead(served, payment)
    steps = len(shown(ada, payment["id"])["history"])

    assert on_loop(served, taken(served, bodies * 200)) == {Taken.ACCEPTED}
    assert len(rows(served, "state = 'WAITING'")) == len(words)
    worked_off(served)

    assert looks_ahead(served, payment) == 1, "a thousand of them are one question to the bank"
    assert len(shown(ada, payment["id"])["history"]) == steps, "and say nothing themselves"
    executed(served, banks, payment)
    carried_on(served, payment)
    for hours, word in ((0, "PENDING"), (72, "FAILED")):
        on_loop(
            served,
            administered(
                served,
                "update payments set made_at = made_at - $2 * interval '1 hour' where id = $1",
                payment_key(payment["id"]),
                hours,
            ),
        )
        late = event(served, payment, word) + b" "
        assert sent(served, "yapily", late, **yapily(late)).status_code == 202
        worked_off(served)
        carried_on(served, payment)
        assert (shown(ada, payment["id"])["state"], parked(served, payment)) == ("EXECUTED", None), word

    assert [now - then for now, then in zip(memo(served), before, strict=True)] == [Decimal("12.34")] * 2


@pytest.mark.parametrize(
    "body",
    [
        b'{"id": "w", "type": "single_payment.status.updated", "event": {"id": ',
        b'{"id": "w", "type": "single_payment.status.updated", "event": {"id": NaN, "consentId": 1e400}}',
        b'{"id": "w", "type": ["single_payment.status.updated"], "event": 12345678901234567890.1234567890123456789}',
        b"\xff\xfe\x00",
    ],
    ids=["truncated", "no numbers", "another form", "no text"],
)
def test_f21_a_webhook_that_cannot_be_is_put_aside_and_nothing_is_looked_at(
    served: Served, banks: Sandbox, body: bytes
) -> None:
    jobs = column(served, "select count(*) from pgqueuer where entrypoint = 'advance_payment'")

    assert sent(served, "yapily", body, **yapily(body)).status_code == 202
    worked_off(served)

    last = rows(served)[-1]
    assert (last["state"], last["verified"]) == ("PARKED", True)
    assert column(served, "select count(*) from pgqueuer where entrypoint = 'advance_payment'") == jobs
