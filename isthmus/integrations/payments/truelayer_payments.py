"""TrueLayer's payments v3: from a person's own account at their bank to anybody's, which the person authorises at the bank.

Source: docs.truelayer.com and TrueLayer/truelayer-java. Created under the idempotency key, then begun: the answer to that has the bank's
address. Who asks again is told of the same payment; where it was begun before, the address is in the payment itself. To an external
account `executed` is the last that TrueLayer tells, since it does not see the payee's account; `settled` is for payments to a merchant
account.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid5

import msgspec
import structlog

from isthmus.domain.bank_payments import COLLECTS_NOTHING, BankWish, Begun, GoTo
from isthmus.domain.banking import Malformed, OutcomeUnknown, ProviderRefused
from isthmus.domain.clock import Clock
from isthmus.domain.payees import PayeeAccount
from isthmus.domain.payment_news import PaymentNews, ProviderPayment
from isthmus.integrations.payments.statuses import payment_state
from isthmus.integrations.payments.truelayer_api import NAME, TrueLayerApi, beneficiary, major, minor, never_done
from isthmus.integrations.payments.truelayer_payouts import payment_named

#: Of a payment that nobody has authorised yet TrueLayer waits for so long.
_AUTHORISING_LASTS = timedelta(minutes=15)
#: What a failed payment failed of, where it was no fault.
_REASONS: Mapping[str, ProviderPayment] = {
    "canceled": ProviderPayment.CANCELLED,
    "expired": ProviderPayment.EXPIRED,
    "authorization_failed": ProviderPayment.REJECTED,
    "rejected": ProviderPayment.REJECTED,
    "provider_rejected": ProviderPayment.REJECTED,
    "insufficient_funds": ProviderPayment.REJECTED,
    "blocked": ProviderPayment.REJECTED,
}

log = structlog.get_logger(__name__)


class _Created(msgspec.Struct):
    id: str


class _Next(msgspec.Struct):
    type: str
    uri: str | None = None


class _Actions(msgspec.Struct):
    next: _Next | None = None


class _Flow(msgspec.Struct):
    actions: _Actions | None = None


class _Identifier(msgspec.Struct):
    type: str
    iban: str | None = None
    sort_code: str | None = None
    account_number: str | None = None


class _Beneficiary(msgspec.Struct):
    type: str = ""
    merchant_account_id: str | None = None
    account_identifier: _Identifier | None = None


class _Method(msgspec.Struct):
    beneficiary: _Beneficiary | None = None


class _Payment(msgspec.Struct):
    id: str = ""
    status: str = ""
    amount_in_minor: int | None = None
    currency: str | None = None
    payment_method: _Method | None = None
    failure_reason: str | None = None
    metadata: dict[str, Any] | None = None
    authorization_flow: _Flow | None = None


class TrueLayerPayments:
    """Implements `isthmus.domain.bank_payments.BankPayments`."""

    name, settles = NAME, False

    def __init__(
        self, api: TrueLayerApi, clock: Clock, merchant_accounts: Mapping[str, str] = COLLECTS_NOTHING
    ) -> None:
        self.collects = merchant_accounts
        self._api = api
        self._clock = clock

    async def begin(self, wish: BankWish) -> Begun:
        order = wish.order
        body = {
            "amount_in_minor": minor(order),
            "currency": order.asset,
            "payment_method": {
                "type": "bank_transfer",
                # From which of their accounts there the person chooses at the bank.
                "provider_selection": {"type": "preselected", "provider_id": wish.institution},
                "beneficiary": beneficiary(order),
            },
            # No name and no address of anybody's: a pseudonym is enough.
            "user": {"id": str(wish.person)},
            "metadata": {"payment_id": str(order.payment_id)},
        }
        try:
            made = await self._api.post("payments", "/v3/payments", order.idempotency_key, body, _Created)
            url = await self._flow(made.id, wish)
        except ProviderRefused as refusal:
            raise never_done(refusal) from None
        # Nothing of ours comes back from there but the payment's own name.
        return Begun(made.id, GoTo(url), made.id, self._clock.now() + _AUTHORISING_LASTS)

    async def look_up(self, reference: str) -> PaymentNews:
        return _news(await self._told(reference))

    async def submit(self, wish: BankWish, reference: str) -> PaymentNews:  # noqa: ARG002 - as the port has it
        return await self.look_up(reference)

    async def cancel(self, reference: str) -> PaymentNews:
        told = await self._told(reference)
        if payment_state("truelayer", told.status) is ProviderPayment.AWAITING:
            key = str(uuid5(_named(reference), "cancel"))
            try:
                await self._api.post("cancel", f"/v3/payments/{reference}/actions/cancel", key, {}, Any)
            except ProviderRefused as refusal:
                # It moved on meanwhile, as far as we are to know: where it is now says so.
                log.info("a payment could not be taken back", why=refusal.code)
            told = await self._told(reference)
        return _news(told)

    async def _flow(self, reference: str, wish: BankWish) -> str:
        """Where the person is to go."""
        key = str(uuid5(wish.order.payment_id, "authorization-flow"))
        body = {"redirect": {"return_uri": wish.return_uri}}
        try:
            told = await self._api.post(
                "authorization_flow", f"/v3/payments/{reference}/authorization-flow", key, body, _Payment
            )
        except ProviderRefused as refusal:
            if refusal.code.startswith("400"):
                raise
            told = await self._told(reference)  # it was begun before
        url = _uri(told)
        if url is None:
            raise OutcomeUnknown(f"the payment is {told.status}, and has no address to go to")
        return url

    async def _told(self, reference: str) -> Any:
        return await self._api.get("payment", f"/v3/payments/{_named(reference)}", _Payment)


def _named(reference: str) -> UUID:
    """TrueLayer's names are UUIDs; nothing else is put into an address."""
    try:
        return UUID(reference)
    except ValueError:
        raise Malformed("TrueLayer's name for a payment is none") from None


def _uri(told: _Payment) -> str | None:
    flow = told.authorization_flow
    following = flow.actions.next if flow is not None and flow.actions is not None else None
    return following.uri if following is not None and following.type == "redirect" else None


def _news(told: _Payment) -> PaymentNews:
    state = payment_state("truelayer", told.status)
    if state is ProviderPayment.FAILED:
        state = _REASONS.get(told.failure_reason or "", state)
    return PaymentNews(
        state,
        told.status,
        told.id or None,
        told.failure_reason,
        major(told.amount_in_minor, told.currency),
        told.currency,
        _payee(told),
        payment_named(told.metadata),
    )


def _payee(told: _Payment) -> str | None:
    """In its one form. One that is not understood is told as it is, so that it is somebody else's."""
    named = told.payment_method.beneficiary if told.payment_method is not None else None
    if named is not None and named.type == "merchant_account":
        return PayeeAccount(merchant=named.merchant_account_id or "?").text()
    identifier = named.account_identifier if named is not None else None
    if identifier is None:
        return None
    match identifier.type:
        case "iban" if identifier.iban is not None:
            return PayeeAccount(iban=identifier.iban.replace(" ", "").upper()).text()
        case "sort_code_account_number" if identifier.sort_code is not None and identifier.account_number is not None:
            code = identifier.sort_code.replace("-", "")
            return PayeeAccount(sort_code=code, number=identifier.account_number).text()
        case kind:
            return f"? {kind}"
