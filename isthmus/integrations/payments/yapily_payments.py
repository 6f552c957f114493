"""Yapily's payments: a consent for one payment, given by a person at their bank, and the payment that is then made with it, once.

Source: the OpenAPI document of yapily/yapily-openapi (12.13) and docs.yapily.com. `paymentIdempotencyId` (35 characters at most) is our
payment's id without its dashes, so that it is one payment there however many consents were asked for and answers lost. Nothing is kept
here: a consent shows the token that its payment is made and asked for with. A payment goes by `<consent>:<payment>`.
"""

from __future__ import annotations

import base64
from collections.abc import Collection
from contextlib import suppress
from datetime import datetime
from typing import Any
from urllib.parse import quote
from uuid import UUID

import httpx
import msgspec

from isthmus.domain.bank_payments import COLLECTS_NOTHING, BankPayments, BankWish, Begun, Decoupled, GoTo, PayerAccount
from isthmus.domain.banking import Malformed, OutcomeUnknown, ProviderRefused, ProviderUnavailable
from isthmus.domain.payees import PayeeAccount
from isthmus.domain.payment_news import PaymentNews, ProviderPayment
from isthmus.integrations.banking.calls import Calls
from isthmus.integrations.banking.json_http import JsonHttp, refusal_of
from isthmus.integrations.banking.outside import Outside
from isthmus.integrations.payments.accounts import reference_of, sort_code_and_number, text_of_account
from isthmus.integrations.payments.amounts import told_amount
from isthmus.integrations.payments.statuses import payment_state, yapily_state

NAME = "yapily"
_POUNDS_REFERENCE_MAX, _REFERENCE_MAX = 18, 140
#: What the schemes take in a reference beside letters and digits.
_SIGNS = "/-?:().,'+"
#: What says that it was not done, if the consent was not used up meanwhile.
_REFUSALS = frozenset({"BAD_REQUEST", "FORBIDDEN", "NOT_FOUND"})
#: What says that it does not know us.
_NOT_LET_IN = frozenset({"UNAUTHORIZED", "401"})
_JSON = msgspec.json.Encoder(decimal_format="number")


class _Consent(msgspec.Struct, rename="camel"):
    id: str
    status: str
    institution_id: str = ""
    consent_token: str | None = None
    authorisation_url: str | None = None
    expires_at: datetime | None = None


class _ConsentAnswer(msgspec.Struct):
    data: _Consent


class _IsoStatus(msgspec.Struct):
    code: str | None = None


class _StatusDetails(msgspec.Struct, rename="camel"):
    status_reason: str | None = None
    iso_status: _IsoStatus | None = None


class _Amount(msgspec.Struct):
    amount: msgspec.Raw
    currency: str


class _Identification(msgspec.Struct):
    type: str
    identification: str


class _Party(msgspec.Struct, rename="camel"):
    account_identifications: list[_Identification] = []


class _Payment(msgspec.Struct, rename="camel"):
    id: str
    status: str
    consent_id: str | None = None
    payment_idempotency_id: str | None = None
    status_details: _StatusDetails | None = None
    amount_details: _Amount | None = None
    payee_details: _Party | None = None


class _PaymentAnswer(msgspec.Struct):
    data: _Payment


class _Details(msgspec.Struct):
    payments: list[_Payment]


class _DetailsAnswer(msgspec.Struct):
    data: _Details


class _ErrorBody(msgspec.Struct):
    status: str = ""


class _Error(msgspec.Struct):
    error: _ErrorBody | None = None


class YapilyPayments:
    """Implements `isthmus.domain.bank_payments.BankPayments`. `acsc_settles`: institutions that never say ACCC: ACSC is their last word."""

    name = NAME
    settles = True
    collects = COLLECTS_NOTHING

    def __init__(
        self,
        url: str,
        application: str,
        secret: str,
        http: httpx.AsyncClient,
        calls: Calls,
        acsc_settles: Collection[str] = (),
    ) -> None:
        told = base64.b64encode(f"{application}:{secret}".encode()).decode()
        self._headers = {"Authorization": f"Basic {told}"}
        self._http = JsonHttp(http, calls, url, _refusal)
        self._acsc_settles = frozenset(acsc_settles)

    async def begin(self, wish: BankWish) -> Begun:
        """Asking again makes another consent there, and whichever is given, it is for the same payment."""
        body = {
            "applicationUserId": wish.state,
            "institutionId": wish.institution,
            "callback": wish.return_uri,
            "oneTimeToken": True,  # so that the consent's token does not come through a browser
            "paymentRequest": _request(wish),
        }
        try:
            answer = await self._ask("begin", "POST", "/payment-auth-requests", _ConsentAnswer, body=body)
        except ProviderRefused as refusal:
            if refusal.code not in _NOT_LET_IN:
                raise
            raise ProviderUnavailable(str(refusal)) from None  # that our secret is no good says nothing of the payment
        consent = answer.data
        if consent.authorisation_url is not None:
            return Begun(consent.id, GoTo(consent.authorisation_url), wish.state, consent.expires_at)
        if "DECOUPLED" in consent.status:
            return Begun(consent.id, Decoupled(), wish.state, consent.expires_at)
        raise Malformed("Yapily gave no address to send the person to")

    async def look_up(self, reference: str) -> PaymentNews:
        consent_id, payment_id = _parts(reference)
        consent = await self._consent(consent_id)
        if payment_id is None:
            return _of_consent(consent)
        path = f"/payments/{quote(payment_id, safe='')}/details"
        answer = await self._ask("details", "GET", path, _DetailsAnswer, token=_token(consent))
        found = [one for one in answer.data.payments if one.id == payment_id]
        if len(found) != 1:
            raise Malformed("Yapily told of another payment than it was asked for")
        return self._news(consent, found[0])

    async def submit(self, wish: BankWish, reference: str) -> PaymentNews:
        consent_id, payment_id = _parts(reference)
        if payment_id is not None:
            return await self.look_up(reference)
        try:
            consent = await self._consent(consent_id)
        except ProviderRefused as refusal:
            raise OutcomeUnknown(str(refusal)) from None  # not to be told of it says nothing of what was done with it
        news = _of_consent(consent)
        if news.state is not ProviderPayment.AUTHORISED:
            return news
        try:
            # Safe: the key names the payment, and Yapily makes it once.
            answer = await self._ask(
                "submit", "POST", "/payments", _PaymentAnswer, token=_token(consent), body=_request(wish)
            )
        except ProviderRefused as refusal:
            if refusal.code in _REFUSALS and await self._unused(consent_id):
                raise  # it was not used for anything, and never will be for this
            raise OutcomeUnknown(str(refusal)) from None
        except ProviderUnavailable as fault:
            raise OutcomeUnknown(str(fault), fault.retry_after_s) from None  # one of the attempts may have been heard
        return self._news(consent, answer.data)

    async def cancel(self, reference: str) -> PaymentNews:
        """A consent can be taken back until it is used up."""
        news = await self.look_up(reference)
        if news.state is ProviderPayment.AWAITING or news.told == "AUTHORIZED":
            await self._ask("cancel", "DELETE", f"/consents/{quote(_parts(reference)[0], safe='')}", dict[str, Any])
            news = await self.look_up(reference)
        return news

    async def _unused(self, consent_id: str) -> bool:
        try:
            return (await self._consent(consent_id)).status == "AUTHORIZED"
        except ProviderRefused:
            return False  # nobody says so

    async def _consent(self, consent_id: str) -> _Consent:
        answer = await self._ask("consent", "GET", f"/consents/{quote(consent_id, safe='')}", _ConsentAnswer)
        consent: _Consent = answer.data
        return consent

    def _news(self, consent: _Consent, payment: _Payment) -> PaymentNews:
        details, amount = payment.status_details, payment.amount_details
        iso = details.iso_status.code if details is not None and details.iso_status is not None else None
        ids = payment.payee_details.account_identifications if payment.payee_details is not None else []
        told = {one.type: one.identification for one in ids}
        return PaymentNews(
            yapily_state(payment.status, iso, acsc_settles=consent.institution_id in self._acsc_settles),
            payment.status if iso is None else f"{payment.status}.{iso}",
            # By its own consent: under the key there may be one that another consent made.
            f"{payment.consent_id or consent.id}:{payment.id}",
            details.status_reason if details is not None else None,
            told_amount(amount.amount) if amount is not None else None,
            amount.currency if amount is not None else None,
            text_of_account(told.get("IBAN"), told.get("SORT_CODE"), told.get("ACCOUNT_NUMBER")),
            _ours(payment.payment_idempotency_id),
        )

    async def _ask(
        self, name: str, method: str, path: str, shape: type[Any], *, token: str | None = None, body: Any = None
    ) -> Any:
        """All of it may be asked twice."""
        headers, more = dict(self._headers), dict[str, Any]()
        if token is not None:
            headers["consent"] = token
        if body is not None:
            headers["Content-Type"], more["content"] = "application/json", _JSON.encode(body)
        return await self._http.ask(name, method, path, shape, safe=True, headers=headers, **more)


def made(out: Outside) -> BankPayments | None:
    """None without credentials."""
    told = out.told
    if told.yapily_application is None or told.yapily_secret is None:
        return None
    secret = told.yapily_secret.get_secret_value()
    return YapilyPayments(
        told.yapily_url, told.yapily_application, secret, out.http, out.calls, told.yapily_acsc_settles
    )


def _parts(reference: str) -> tuple[str, str | None]:
    consent_id, _, payment_id = reference.partition(":")
    return consent_id, payment_id or None


def _token(consent: _Consent) -> str:
    if consent.consent_token is None:
        raise Malformed("Yapily does not show the token of a consent that was given")
    return consent.consent_token


def _ours(key: str | None) -> UUID | None:
    """Our own name for it: the key that it was made under."""
    with suppress(ValueError):
        return UUID(key or "")
    return None


def _of_consent(consent: _Consent) -> PaymentNews:
    return PaymentNews(payment_state("yapily_consent", consent.status), consent.status, consent.id)


def _request(wish: BankWish) -> dict[str, Any]:
    """The same each time: a payment is made only if it is the very one that was authorised."""
    order, pounds = wish.order, wish.order.asset == "GBP"
    told: dict[str, Any] = {
        "type": "DOMESTIC_PAYMENT",
        "paymentIdempotencyId": order.payment_id.hex,
        "amount": {"amount": order.amount, "currency": order.asset},
        "payee": {"name": order.payee_name, "accountIdentifications": _identified(order.payee_account)},
        "reference": reference_of(order.reference, _POUNDS_REFERENCE_MAX if pounds else _REFERENCE_MAX, _SIGNS),
    }
    payer = [] if wish.payer is None else _payer(wish.payer, pounds=pounds)
    return told | ({"payer": {"accountIdentifications": payer}} if payer else {})


def _identified(account: PayeeAccount) -> list[dict[str, str]]:
    if account.iban is not None:
        return [{"type": "IBAN", "identification": account.iban}]
    return _scan(account.sort_code or "", account.number or "")


def _payer(account: PayerAccount, *, pounds: bool) -> list[dict[str, str]]:
    parts = sort_code_and_number(account)
    if pounds and parts is not None:
        return _scan(*parts)
    return [] if account.iban is None else [{"type": "IBAN", "identification": account.iban}]


def _scan(sort_code: str, number: str) -> list[dict[str, str]]:
    return [
        {"type": "SORT_CODE", "identification": sort_code},
        {"type": "ACCOUNT_NUMBER", "identification": number},
    ]


def _refusal(status: int, body: bytes) -> ProviderRefused:
    try:
        error = msgspec.json.decode(body, type=_Error).error
    except msgspec.MsgspecError:
        error = None
    return refusal_of("Yapily", status, error.status if error and error.status else str(status))
