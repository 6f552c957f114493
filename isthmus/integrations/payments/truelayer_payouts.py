"""TrueLayer's payouts v3: from our merchant account to anybody's, under an idempotency key, signed.

Source: docs.truelayer.com (payouts). A payout that was created is only named in the answer; what became of it is asked for by that name.
The same idempotency key with the same body gets the same name, so that a submission whose answer was lost is sent again.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import quote
from uuid import UUID

import msgspec

from isthmus.domain.banking import NeverAsked, ProviderRefused
from isthmus.domain.paying import PaymentOrder
from isthmus.domain.payment_news import PaymentNews, ProviderPayment
from isthmus.integrations.payments.statuses import payment_state
from isthmus.integrations.payments.truelayer_api import NAME, TrueLayerApi, beneficiary, major, minor, never_done


class _Created(msgspec.Struct):
    id: str


class _Payout(msgspec.Struct):
    id: str
    status: str
    amount_in_minor: int | None = None
    currency: str | None = None
    failure_reason: str | None = None
    metadata: dict[str, Any] | None = None


class TrueLayerPayouts:
    """Implements `isthmus.domain.paying.Payouts`. `merchant_accounts`: ours, by currency."""

    name = NAME

    def __init__(self, api: TrueLayerApi, merchant_accounts: Mapping[str, str]) -> None:
        self.api = api.client
        self._api = api
        self._merchant_accounts = merchant_accounts

    async def send(self, order: PaymentOrder) -> PaymentNews:
        account = self._merchant_accounts.get(order.asset)
        if account is None:
            raise NeverAsked(f"TrueLayer pays nothing in {order.asset} for us", "NO_MERCHANT_ACCOUNT")
        body = {
            "merchant_account_id": account,
            "amount_in_minor": minor(order),
            "currency": order.asset,
            "beneficiary": beneficiary(order),
            "metadata": {"payment_id": str(order.payment_id)},
        }
        try:
            # Safe: the key names the payout, and TrueLayer makes it once.
            made = await self._api.post("payouts", "/v3/payouts", order.idempotency_key, body, _Created)
        except ProviderRefused as refusal:
            raise never_done(refusal) from None
        return PaymentNews(ProviderPayment.SUBMITTED, "created", reference=made.id)

    async def look_up(self, reference: str) -> PaymentNews:
        told = await self._api.get("payout", f"/v3/payouts/{quote(reference, safe='')}", _Payout)
        return PaymentNews(
            payment_state("truelayer_payout", told.status),
            told.status,
            told.id,
            told.failure_reason,
            major(told.amount_in_minor, told.currency),
            told.currency,
            our_payment=payment_named(told.metadata),
        )


def payment_named(metadata: Mapping[str, Any] | None) -> UUID | None:
    """Our own name for it, as it was sent."""
    with suppress(ValueError):
        return UUID(str((metadata or {}).get("payment_id")))
    return None
