"""What payouts and payments at TrueLayer have in common: signed requests, amounts and payees as v3 has them.

Source: docs.truelayer.com and TrueLayer/truelayer-java.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Protocol

import httpx
import orjson

from isthmus.domain.banking import Malformed, OutcomeUnknown, ProviderRefused
from isthmus.domain.clock import Clock
from isthmus.domain.paying import PaymentOrder
from isthmus.integrations.banking.amounts import places_of
from isthmus.integrations.banking.calls import Calls
from isthmus.integrations.payments.accounts import reference_of
from isthmus.integrations.payments.truelayer_client import TrueLayerClient

NAME = "truelayer"
_REFERENCE_MAX = 18
#: What banks there take in a reference beside letters and digits.
_SIGNS = "/-'.:"
_MINOR_MAX = 10**18


class Signer(Protocol):
    def headers(self, path: str, idempotency_key: str, body: bytes) -> dict[str, str]: ...


class TrueLayerApi:
    """Of one client, in one process."""

    def __init__(
        self,
        auth_url: str,
        api_url: str,
        client_id: str,
        secret: str,
        signer: Signer,
        http: httpx.AsyncClient,
        calls: Calls,
        clock: Clock,
    ) -> None:
        self.client = TrueLayerClient(auth_url, api_url, client_id, secret, "payments", http, calls, clock)
        self._signer = signer

    async def get(self, name: str, path: str, shape: Any) -> Any:
        return await self.client.ask(name, "GET", path, shape, {})

    async def post(self, name: str, path: str, key: str, body: Mapping[str, object], shape: Any) -> Any:
        """Signed, under an idempotency key: the same again is the same there, so that it is safe to ask twice."""
        raw = orjson.dumps(body)
        headers = {**self._signer.headers(path, key, raw), "Content-Type": "application/json"}
        return await self.client.ask(name, "POST", path, shape, headers, content=raw)


def never_done(refusal: ProviderRefused) -> Exception:
    """A 400 says that what is asked for cannot be: it was not done, and never will be. Another request under the key, one that is being
    worked on, or our own right: none of these says that it was not done before."""
    return refusal if refusal.code.startswith("400") else OutcomeUnknown(str(refusal))


def minor(order: PaymentOrder) -> int:
    """Whole minor units. The asset's scale was looked at when the payment was made: nothing is rounded here."""
    scaled = order.amount.scaleb(places_of(order.asset))
    if scaled != scaled.to_integral_value():
        raise ProviderRefused("the amount has more places than its currency", "AMOUNT")
    return int(scaled)


def major(amount_in_minor: int | None, currency: str | None) -> Decimal | None:
    if amount_in_minor is None or currency is None:
        return None
    if abs(amount_in_minor) > _MINOR_MAX:
        raise Malformed("the amount of a payment is none")
    return Decimal(amount_in_minor).scaleb(-places_of(currency))


def beneficiary(order: PaymentOrder) -> dict[str, Any]:
    account, reference = order.payee_account, reference_of(order.reference, _REFERENCE_MAX, _SIGNS)
    if account.merchant is not None:
        # An account of ours, which is told by its name there; whom it belongs to TrueLayer knows.
        return {"type": "merchant_account", "merchant_account_id": account.merchant, "reference": reference}
    identifier: dict[str, str | None] = {"type": "iban", "iban": account.iban}
    if account.iban is None:
        code, number = account.sort_code, account.number
        identifier = {"type": "sort_code_account_number", "sort_code": code, "account_number": number}
    return {
        "type": "external_account",
        "account_holder_name": order.payee_name,
        "account_identifier": identifier,
        "reference": reference,
    }
