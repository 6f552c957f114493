"""Plaid's payment initiation: a payment is made there, and a person authorises it at their bank, through a page of Plaid's.

Source: the OpenAPI document that plaid-python 46 is made from. Making a payment has no idempotency key: where the answer is lost there is
one that nobody can ever approve, since it has no page. So a new one is made, and only its page is shown.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import msgspec

from isthmus.domain.bank_payments import COLLECTS_NOTHING, BankPayments, BankWish, Begun, GoTo
from isthmus.domain.banking import Malformed, ProviderRefused, ProviderUnavailable
from isthmus.domain.clock import Clock
from isthmus.domain.payees import PayeeAccount
from isthmus.domain.paying import PaymentOrder
from isthmus.domain.payment_news import PaymentNews
from isthmus.integrations.banking.calls import Calls
from isthmus.integrations.banking.outside import Outside
from isthmus.integrations.banking.plaid_client import PlaidClient
from isthmus.integrations.payments.accounts import reference_of, sort_code_and_number
from isthmus.integrations.payments.amounts import told_amount
from isthmus.integrations.payments.statuses import payment_state

Shape = TypeVar("Shape")

NAME = "plaid"
_REFERENCE_MAX = 18
#: What says that it does not know us.
_NOT_LET_IN = frozenset({"INVALID_API_KEYS", "UNAUTHORIZED_ENVIRONMENT", "UNAUTHORIZED_ROUTE_ACCESS", "401", "403"})
#: How long the page can be opened: less than a person has here. Nothing takes a payment back that was made there, so it must end by itself.
_PAGE_LASTS = timedelta(minutes=10)


class _Recipient(msgspec.Struct):
    recipient_id: str


class _Created(msgspec.Struct):
    payment_id: str


class _Page(msgspec.Struct):
    expiration: datetime
    hosted_link_url: str | None = None


class _Amount(msgspec.Struct):
    currency: str
    value: msgspec.Raw


class _Error(msgspec.Struct):
    error_code: str = ""


class _Payment(msgspec.Struct):
    payment_id: str
    status: str
    amount: _Amount
    recipient_id: str
    error: _Error | None = None


class _Bacs(msgspec.Struct):
    account: str
    sort_code: str


class _RecipientTold(msgspec.Struct):
    iban: str | None = None
    bacs: _Bacs | None = None


class PlaidPayments:
    """Implements `isthmus.domain.bank_payments.BankPayments`."""

    name = NAME
    #: Only for money that comes to accounts which Plaid itself keeps.
    settles = False
    collects = COLLECTS_NOTHING

    def __init__(
        self,
        host: str,
        client_id: str,
        secret: str,
        calls: Calls,
        clock: Clock,
        *,
        client_name: str,
        webhook: str | None = None,
        tls: Callable[[], ssl.SSLContext | None] | None = None,
    ) -> None:
        self._client = PlaidClient(host, client_id, secret, calls, tls)
        self._clock = clock
        self._client_name = client_name
        self._webhook = webhook

    async def begin(self, wish: BankWish) -> Begun:
        amount, payee = _amount(wish.order), _recipient(wish.order)
        recipient = await self._ask(
            "payment_initiation/recipient/create",
            "payment_initiation_recipient_create",
            _Recipient,
            safe=True,  # the same details are the same recipient
            name=wish.order.payee_name,
            **payee,
        )
        made = await self._ask(
            "payment_initiation/payment/create",
            "payment_initiation_payment_create",
            _Created,
            safe=True,  # one more is one that nobody can approve
            recipient_id=recipient.recipient_id,
            reference=reference_of(wish.order.reference, _REFERENCE_MAX),
            amount=amount,
            **_options(wish),
        )
        begun_at = self._clock.now()
        page = await self._ask(
            "link/token/create",
            "link_token_create",
            _Page,
            safe=True,
            client_name=self._client_name,
            language="en",
            country_codes=[wish.country],
            user={"client_user_id": str(wish.person)},
            products=["payment_initiation"],
            payment_initiation={"payment_id": made.payment_id},
            institution_id=wish.institution,
            hosted_link={
                "completion_redirect_uri": _back(wish),
                "url_lifetime_seconds": int(_PAGE_LASTS.total_seconds()),
            },
            **({"webhook": self._webhook} if self._webhook else {}),
        )
        if page.hosted_link_url is None:
            raise Malformed("Plaid gave no page to send the person to")
        expires_at = min(page.expiration, begun_at + _PAGE_LASTS)
        return Begun(made.payment_id, GoTo(page.hosted_link_url), wish.state, expires_at)

    async def look_up(self, reference: str) -> PaymentNews:
        told = await self._ask(
            "payment_initiation/payment/get",
            "payment_initiation_payment_get",
            _Payment,
            safe=True,
            payment_id=reference,
        )
        payee = await self._ask(
            "payment_initiation/recipient/get",
            "payment_initiation_recipient_get",
            _RecipientTold,
            safe=True,
            recipient_id=told.recipient_id,
        )
        return PaymentNews(
            payment_state(NAME, told.status),
            told.status,
            told.payment_id,
            told.error.error_code if told.error is not None else None,
            told_amount(told.amount.value),
            told.amount.currency,
            _payee(payee),
        )

    async def _ask(self, name: str, method: str, shape: type[Shape], /, *, safe: bool, **body: Any) -> Shape:
        try:
            return await self._client.ask(name, method, shape, safe=safe, **body)
        except ProviderRefused as refusal:
            if refusal.code not in _NOT_LET_IN:
                raise
            raise ProviderUnavailable(str(refusal)) from None  # that our secret is no good says nothing of the payment

    async def submit(self, wish: BankWish, reference: str) -> PaymentNews:  # noqa: ARG002 - as the port has it
        """Plaid does so by itself, once the person has been to the bank."""
        return await self.look_up(reference)

    async def cancel(self, reference: str) -> PaymentNews:
        """There is no way back that Plaid knows; the page ends by itself."""
        return await self.look_up(reference)


def made(out: Outside) -> BankPayments | None:
    """None without credentials."""
    told = out.told
    if told.plaid_client_id is None or told.plaid_secret is None:
        return None
    webhook = f"{told.webhook_url.rstrip('/')}/plaid" if told.webhook_url else None
    return PlaidPayments(
        told.plaid_url,
        told.plaid_client_id,
        told.plaid_secret.get_secret_value(),
        out.calls,
        out.clock,
        client_name="Isthmus",
        webhook=webhook,
        tls=out.tls,
    )


def _amount(order: PaymentOrder) -> dict[str, object]:
    """The official client takes a float and nothing else: what is no longer the same once it is one is not sent."""
    value = float(order.amount)
    if Decimal(repr(value)) != order.amount:
        raise ProviderRefused("Plaid's client cannot write the amount exactly", "AMOUNT")
    return {"currency": order.asset, "value": value}


def _recipient(order: PaymentOrder) -> dict[str, object]:
    """Pounds go by sort code and number, everything else by IBAN. An IBAN that was given is told in any case: it is what is asked about."""
    iban = order.payee_account.iban
    told: dict[str, object] = {} if iban is None else {"iban": iban}
    if order.asset == "GBP":
        parts = sort_code_and_number(order.payee_account)
        if parts is None:
            raise ProviderRefused("Plaid pays pounds to accounts in the United Kingdom", "PAYEE_ACCOUNT")
        return told | {"bacs": {"sort_code": parts[0], "account": parts[1]}}
    if iban is None:
        raise ProviderRefused(f"Plaid pays {order.asset} to an IBAN", "PAYEE_ACCOUNT")
    return told


def _options(wish: BankWish) -> dict[str, object]:
    """The account that is paid from, as far as it is known: the bank then takes no other."""
    if wish.payer is None:
        return {}
    if wish.order.asset == "GBP":
        parts = sort_code_and_number(wish.payer)
        return {} if parts is None else {"options": {"bacs": {"sort_code": parts[0], "account": parts[1]}}}
    return {} if wish.payer.iban is None else {"options": {"iban": wish.payer.iban}}


def _back(wish: BankWish) -> str:
    """Plaid adds nothing to the address that the person comes back to, so our `state` stands in it."""
    parts = urlsplit(wish.return_uri)
    query = urlencode([*parse_qsl(parts.query, keep_blank_values=True), ("state", wish.state)])
    return urlunsplit(parts._replace(query=query))


def _payee(told: _RecipientTold) -> str | None:
    """The IBAN where there is one: sort code and number beside it are those that it is made of."""
    if told.iban is not None:
        return PayeeAccount(iban=told.iban).text()
    if told.bacs is not None:
        return PayeeAccount(sort_code=told.bacs.sort_code, number=told.bacs.account).text()
    return None
