"""Money that somebody sends to the client's own account at TrueLayer by themselves, from any bank, with a reference.

Source: docs.truelayer.com (webhooks, `external_payment_received`).
"""

from __future__ import annotations

from typing import Any

from isthmus.sandbox.answers import World
from isthmus.sandbox.clock import iso
from isthmus.sandbox.truelayer_errors import Body
from isthmus.sandbox.truelayer_merchant import TrueLayerMerchant
from isthmus.sandbox.truelayer_webhooks import TrueLayerWebhooks
from isthmus.sandbox.truelayer_wishes import MERCHANT_ACCOUNTS


class TrueLayerPayIns:
    def __init__(self, world: World, webhooks: TrueLayerWebhooks, merchant: TrueLayerMerchant) -> None:
        self._world = world
        self._webhooks = webhooks
        self._merchant = merchant

    def receive(self, told: dict[str, Any]) -> Body:
        """`currency`, `amount_in_minor`, `reference`, `name`. `silent`: no webhook tells of it; `told_in_minor`: one tells of so much
        instead. Returns the movement's id."""
        currency, amount = told["currency"], int(told["amount_in_minor"])
        account, movement, now = MERCHANT_ACCOUNTS[currency], self._world.uuid(), iso(self._world.clock.now())
        remitter = {
            "account_holder_name": str(told.get("name", "Somebody")),
            "account_identifiers": [],
            "reference": str(told.get("reference", "")),
        }
        self._merchant.move(
            account,
            movement,
            amount,
            type="external_payment",
            currency=currency,
            status="settled",
            settled_at=now,
            remitter=remitter,
        )
        if not told.get("silent"):
            said = int(told.get("told_in_minor", amount))
            money = {"currency": currency, "amount_in_minor": said, "settled_at": now}
            more = {"transaction_id": movement, "merchant_account_id": account, "remitter": remitter}
            self._webhooks.tell("external_payment_received", {**money, **more})
        return {"id": movement}
