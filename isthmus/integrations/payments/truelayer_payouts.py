"""TrueLayer's payouts v3: from our merchant account to anybody's, under an idempotency key, signed.

Source: docs.truelayer.com (payouts). A payout that was created is only named in the answer; what became of it is asked for by that name.
The same idempotency key with the same body gets the same name, so that a submission whose answer was lost is sent again.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Protocol

import httpx
import msgspec
import orjson

from isthmus.domain.banking import OutcomeUnknown, ProviderRefused
from isthmus.domain.clock import Clock
from isthmus.domain.paying import PaymentOrder
from isthmus.domain.payment_news import PaymentNews, ProviderPayment
from isthmus.integrations.banking.amounts import places_of
from isthmus.integrations.banking.calls import Calls
from isthmus.integrations.payments.statuses import payment_state
from isthmus.integrations.payments.truelayer_client import TrueLayerClient

NAME = "truelayer"
#: TrueLayer wants a reference; where the payer wrote none the payee reads this.
_NO_REFERENCE = "Payment"


class Signer(Protocol):
    def headers(self, path: str, idempotency_key: str, body: bytes) -> dict[str, str]: ...


class _Created(msgspec.Struct):
    id: str


class _Payout(msgspec.Struct):
    id: str
    status: str
    amount_in_minor: int | None = None
    currency: str | None = None
    failure_reason: str | None = None


class TrueLayerPayouts:
    """Implements `isthmus.domain.paying.Payouts`. `merchant_accounts`: ours, by currency."""

    name = NAME

    def __init__(
        self,
        auth_url: str,
        api_url: str,
        client_id: str,
        secret: str,
        merchant_accounts: Mapping[str, str],
        signer: Signer,
        http: httpx.AsyncClient,
        calls: Calls,
        clock: Clock,
    ) -> None:
        self._merchant_accounts = merchant_accounts
        self._signer = signer
        self.api = TrueLayerClient(auth_url, api_url, client_id, secret, "payments", http, calls, clock)

    async def send(self, order: PaymentOrder) -> PaymentNews:
        account = self._merchant_accounts.get(order.asset)
        if account is None:
            raise ProviderRefused(f"TrueLayer pays nothing in {order.asset} for us", "NO_MERCHANT_ACCOUNT")
        body = orjson.dumps(
            {
                "merchant_account_id": account,
                "amount_in_minor": _minor(order),
                "currency": order.asset,
                "beneficiary": _beneficiary(order),
                "metadata": {"payment_id": str(order.payment_id)},
            }
        )
        signed = self._signer.headers("/v3/payouts", order.idempotency_key, body)
        more = {**signed, "Content-Type": "application/json"}
        try:
            # Safe: the key names the payout, and TrueLayer makes it once.
            made = await self.api.ask("payouts", "POST", "/v3/payouts", _Created, more, content=body)
        except ProviderRefused as refusal:
            if refusal.code.startswith("400"):
                raise  # what is asked for cannot be: it was not done, and never will be
            # Another request under the key, one that is being worked on, or our own right: none says that it was not done before.
            raise OutcomeUnknown(str(refusal)) from None
        return PaymentNews(ProviderPayment.SUBMITTED, "created", reference=made.id)

    async def look_up(self, reference: str) -> PaymentNews:
        told = await self.api.ask("payout", "GET", f"/v3/payouts/{reference}", _Payout, {})
        amount = None
        if told.amount_in_minor is not None and told.currency is not None:
            amount = Decimal(told.amount_in_minor).scaleb(-places_of(told.currency))
        state = payment_state("truelayer_payout", told.status)
        return PaymentNews(state, told.status, told.id, told.failure_reason, amount, told.currency)


def _minor(order: PaymentOrder) -> int:
    """Whole minor units. The asset's scale was looked at when the payment was made: nothing is rounded here."""
    scaled = order.amount.scaleb(places_of(order.asset))
    if scaled != scaled.to_integral_value():
        raise ProviderRefused("the amount has more places than its currency", "AMOUNT")
    return int(scaled)


def _beneficiary(order: PaymentOrder) -> dict[str, Any]:
    account = order.payee_account
    identifier: dict[str, str | None] = {"type": "iban", "iban": account.iban}
    if account.iban is None:
        code, number = account.sort_code, account.number
        identifier = {"type": "sort_code_account_number", "sort_code": code, "account_number": number}
    return {
        "type": "external_account",
        "account_holder_name": order.payee_name,
        "account_identifier": identifier,
        "reference": order.reference or _NO_REFERENCE,
    }
