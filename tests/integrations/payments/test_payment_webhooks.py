"""What providers send of payments by themselves: a reason to look at one, by the name that it goes by with us, and no more."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest

from isthmus.domain.clock import SystemClock
from isthmus.domain.webhooks import WebhookNews
from isthmus.integrations.banking.webhooks import PlaidWebhooks, YapilyWebhooks

OURS = UUID("0191a0b0-0000-7000-8000-00000000000a")


async def no_key(_: str) -> dict[str, Any]:
    raise AssertionError("nothing is verified here")


def test_plaids_change_of_a_status_is_about_the_payment() -> None:
    told = {
        "webhook_type": "PAYMENT_INITIATION",
        "webhook_code": "PAYMENT_STATUS_UPDATE",
        "payment_id": "payment-id-sandbox-1",
        "new_payment_status": "PAYMENT_STATUS_EXECUTED",
        "old_payment_status": "PAYMENT_STATUS_INITIATED",
        "timestamp": "2026-11-29T12:00:00Z",
        "environment": "sandbox",
    }
    news = PlaidWebhooks(no_key, SystemClock()).read(json.dumps(told).encode())
    assert news == WebhookNews(None, "PAYMENT_INITIATION.PAYMENT_STATUS_UPDATE", payment="payment-id-sandbox-1")


@pytest.mark.parametrize("kind", ["status.updated", "status.completed", "iso_status.updated", "yet.unheard.of"])
@pytest.mark.parametrize(("key", "ours"), [(OURS.hex, OURS), ("somebody-else's", None), (None, None)])
def test_yapilys_events_of_a_payment_are_about_it(kind: str, key: str | None, ours: UUID | None) -> None:
    event = {"id": "p1", "consentId": "c1", "status": "COMPLETED", "paymentIdempotencyId": key}
    told = {"id": "the webhook's own", "type": f"single_payment.{kind}", "event": event}
    news = YapilyWebhooks(["secret"]).read(json.dumps(told).encode())
    assert news == WebhookNews(None, f"single_payment.{kind}", payment="c1:p1", our_payment=ours)
