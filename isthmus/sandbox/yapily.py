"""Yapily: account consents with all of their statuses, and financial data. Payments come with payments.

Source: the OpenAPI document of yapily/yapily-openapi (12.13) and docs.yapily.com. Amounts are JSON numbers, and negative means money out.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from isthmus.sandbox.answers import World, json_body, json_response, number
from isthmus.sandbox.bank_pages import BankPages
from isthmus.sandbox.book import BOOKED, PENDING, Account, Customer, Movement, iso, read_iso
from isthmus.sandbox.seeding import BANKS, Bank

APPLICATION, SECRET = "sandbox-yapily", "sandbox-yapily-secret"
STATUSES = frozenset(
    (
        *("AWAITING_AUTHORIZATION", "AWAITING_FURTHER_AUTHORIZATION", "AWAITING_RE_AUTHORIZATION", "AUTHORIZED"),
        *("CONSUMED", "REJECTED", "REVOKED", "FAILED", "EXPIRED", "UNKNOWN", "INVALID"),
        *("AWAITING_DECOUPLED_PRE_AUTHORIZATION", "AWAITING_PRE_AUTHORIZATION", "PRE_AUTHORIZED"),
        *("AWAITING_DECOUPLED_AUTHORIZATION", "AWAITING_SCA_METHOD", "AWAITING_SCA_CODE"),
    )
)
_LIMIT_MAX = 1_000
_RECONFIRM = timedelta(days=90)
_ONE_TIME_LASTS = timedelta(minutes=5)
#: What a consent lasts before the person must sign in at the bank again: longer in the EEA than in the United Kingdom.
_LASTS = {"GB": timedelta(days=90), "DE": timedelta(days=180), "US": timedelta(days=180)}
_FEATURES = ("ACCOUNTS", "ACCOUNT", "ACCOUNT_BALANCES", "ACCOUNT_TRANSACTIONS")

Body = dict[str, Any]


@dataclass
class Refusal(Exception):
    """An error of Yapily's: `status` is its HTTP code, too."""

    code: int
    status: str
    message: str


class Yapily:
    """`callbacks`: where a person may be sent back to."""

    def __init__(self, world: World, pages: BankPages, callbacks: frozenset[str]) -> None:
        self._world = world
        self._book = world.book
        self._pages = pages
        self._callbacks = callbacks
        pages.answered["yapily.account"] = self._answered
        self.routes = [
            self._route("GET", "/institutions", self._institutions),
            self._route("POST", "/account-auth-requests", self._ask),
            self._route("PATCH", "/account-auth-requests", self._ask_again),
            self._route("POST", "/consent-one-time-token", self._by_one_time_token),
            self._route(
                "GET", "/consents/{consent}", lambda request, _: _data(world, self._shown(self._named(request)))
            ),
            self._route("DELETE", "/consents/{consent}", self._delete),
            self._route("POST", "/consents/{consent}/extend", self._extend),
            self._route("GET", "/accounts", self._accounts),
            self._route("GET", "/accounts/{account}", self._account),
            self._route("GET", "/accounts/{account}/balances", self._balances),
            self._route("GET", "/accounts/{account}/transactions", self._transactions),
        ]

    # -- consents --------------------------------------------------------------------------------------------------------

    def _ask(self, _: Request, body: Body) -> Response:
        bank = _bank(body.get("institutionId"))
        callback = body.get("callback")
        if callback not in self._callbacks:
            raise Refusal(400, "BAD_REQUEST", "The callback is not one that is registered for the application.")
        if not body.get("applicationUserId"):
            raise Refusal(400, "BAD_REQUEST", "applicationUserId is missing.")
        consent_id = str(UUID(self._world.token("")[:32]))
        consent = {
            "id": consent_id,
            "userUuid": str(UUID(self._world.token("")[:32])),
            "applicationUserId": body["applicationUserId"],
            "institutionId": f"{bank.id}-sandbox",
            "status": "AWAITING_AUTHORIZATION",
            "createdAt": iso(self._world.clock.now()),
            "featureScope": list(_FEATURES),
            "state": self._world.token("")[:32],
            "customer": None,
            "token": None,
            "callback": callback,
            "oneTimeToken": bool(body.get("oneTimeToken")),
        }
        return self._asked(bank, consent, 201)

    def _ask_again(self, request: Request, _: Body) -> Response:
        consent = self._consent(request)
        consent |= {"status": "AWAITING_RE_AUTHORIZATION", "state": self._world.token("")[:32]}
        return self._asked(_bank(consent["institutionId"]), consent, 201)

    def _asked(self, bank: Bank, consent: Body, status: int) -> Response:
        self._keep(consent)
        lines = ["see your accounts and balances", "see your transactions"]
        page = self._pages.ask("yapily.account", bank.id, "Yapily, for an app", lines, consent=consent["id"])
        return _data(self._world, {**self._shown(consent), "authorisationUrl": page, "qrCodeUrl": None}, status)

    def _answered(self, ask: dict[str, object], customer: Customer | None) -> str:
        consent = self._book.get("yapily.consent", str(ask["consent"]))
        assert consent is not None, "the ask names it"
        told = {
            "application-user-id": consent["applicationUserId"],
            "user-uuid": consent["userUuid"],
            "institution": consent["institutionId"],
        }
        if customer is None or consent["customer"] not in (None, customer.id):
            self._keep(consent | {"status": "REJECTED" if consent["token"] is None else consent["status"]})
            refused = {"error": "access_denied", "error-source": "user", "error-description": "The user declined."}
            return f"{consent['callback']}?{urlencode({**refused, **told})}"
        now = self._world.clock.now()
        consent |= {
            "status": "AUTHORIZED",
            "customer": customer.id,
            "authorizedAt": iso(now),
            "lastConfirmedAt": iso(now),
            "reconfirmBy": iso(now + _RECONFIRM),
            "expiresAt": iso(now + _LASTS[BANKS[customer.bank].country]),
            "institutionConsentId": f"aac-{consent['id']}",
            "token": consent["token"] or self._world.token("yc-"),
        }
        self._keep(consent)
        self._book.put("yapily.token", consent["token"], {"consent": consent["id"]})
        if not consent["oneTimeToken"]:
            return f"{consent['callback']}?{urlencode({'consent': consent['token'], **told})}"
        once = self._world.token("ott-")
        self._book.put("yapily.once", once, {"consent": consent["id"], "expires": iso(now + _ONE_TIME_LASTS)})
        return f"{consent['callback']}?{urlencode({'one-time-token': once, **told})}"

    def _by_one_time_token(self, _: Request, body: Body) -> Response:
        once = str(body.get("oneTimeToken", ""))
        kept = self._book.get("yapily.once", once)
        if (
            kept is None
            or not self._book.forget("yapily.once", once)
            or read_iso(kept["expires"]) <= self._world.clock.now()
        ):
            raise Refusal(404, "NOT_FOUND", "There is no such one-time token, or it was used.")
        consent = self._book.get("yapily.consent", kept["consent"])
        assert consent is not None, "a one-time token is of a consent"
        return json_response({**self._shown(consent), "consentToken": consent["token"]}, 201)

    def _delete(self, request: Request, _: Body) -> Response:
        consent = self._named(request)
        self._keep(consent | {"status": "REVOKED"})
        return _data(
            self._world, {"id": consent["id"], "deleteStatus": "SUCCESS", "institutionId": consent["institutionId"]}
        )

    def _extend(self, request: Request, body: Body) -> Response:
        """The person has confirmed, to the app, that it may go on: no sign-in at the bank."""
        consent = self._named(request)
        if consent["status"] != "AUTHORIZED" or read_iso(consent["expiresAt"]) <= self._world.clock.now():
            raise Refusal(400, "BAD_REQUEST", "Only an authorised consent can be extended.")
        try:
            confirmed = read_iso(body["lastConfirmedAt"])
        except (KeyError, TypeError, ValueError):
            raise Refusal(400, "BAD_REQUEST", "lastConfirmedAt is missing, or is no time.") from None
        if confirmed > self._world.clock.now():
            raise Refusal(400, "BAD_REQUEST", "lastConfirmedAt lies ahead.")
        self._keep(consent | {"lastConfirmedAt": iso(confirmed), "reconfirmBy": iso(confirmed + _RECONFIRM)})
        return _data(self._world, self._shown(self._named(request)))

    def set_status(self, consent_id: str, status: str) -> None:
        """What banks and people do behind an app's back. Any text is taken: real ones add statuses too."""
        consent = self._book.get("yapily.consent", consent_id)
        if consent is None:
            raise ValueError("no such consent")
        self._keep(consent | {"status": status})

    def _shown(self, consent: Body) -> Body:
        status = consent["status"]
        if status == "AUTHORIZED" and read_iso(consent["expiresAt"]) <= self._world.clock.now():
            status = "EXPIRED"
        hidden = {"customer", "token", "callback", "oneTimeToken"}
        return {name: value for name, value in consent.items() if name not in hidden} | {"status": status}

    def _named(self, request: Request) -> Body:
        consent = self._book.get("yapily.consent", request.path_params["consent"])
        if consent is None:
            raise Refusal(404, "NOT_FOUND", "There is no such consent.")
        return consent

    def _consent(self, request: Request) -> Body:
        kept = self._book.get("yapily.token", request.headers.get("consent", ""))
        consent = self._book.get("yapily.consent", kept["consent"]) if kept else None
        if consent is None:
            raise Refusal(401, "UNAUTHORIZED", "The consent header is missing, or nobody's.")
        return consent

    def _authorised(self, request: Request) -> Body:
        consent = self._consent(request)
        if (status := self._shown(consent)["status"]) != "AUTHORIZED":
            raise Refusal(403, "FORBIDDEN", f"The consent is {status}.")
        return consent

    def _keep(self, consent: Body) -> None:
        self._book.put("yapily.consent", consent["id"], consent)

    # -- data --------------------------------------------------------------------------------------------------------------

    def _institutions(self, _: Request, __: Body) -> Response:
        return _data(self._world, [_institution(bank) for bank in BANKS.values()])

    def _accounts(self, request: Request, _: Body) -> Response:
        customer = self._customer(self._authorised(request))
        return _data(self._world, [self._told(one, customer) for one in self._book.accounts_of(customer.id)])

    def _account(self, request: Request, _: Body) -> Response:
        consent = self._authorised(request)
        return _data(self._world, self._told(self._of(consent, request), self._customer(consent)))

    def _balances(self, request: Request, _: Body) -> Response:
        account = self._of(self._authorised(request), request)
        return _data(
            self._world,
            {
                "mainBalanceAmount": _amount(self._book.balances(account.id)[0], account.currency),
                "balances": self._both(account),
            },
        )

    def _transactions(self, request: Request, _: Body) -> Response:
        """The newest first. `from` and `before` bound the time, `limit` and `offset` the page."""
        account = self._of(self._authorised(request), request)
        query = request.query_params
        try:
            since = iso(_time(query["from"])) if "from" in query else ""
            until = iso(_time(query["before"])) if "before" in query else "~"
            limit, offset = int(query.get("limit", _LIMIT_MAX)), int(query.get("offset", 0))
        except ValueError:
            raise Refusal(400, "BAD_REQUEST", "A parameter is not what it must be.") from None
        if not 0 < limit <= _LIMIT_MAX or offset < 0:
            raise Refusal(400, "BAD_REQUEST", f"limit must be between 1 and {_LIMIT_MAX}.")
        every = self._book.movements(account.id, states=[BOOKED, PENDING], since=since, until=until)
        page = every[offset : offset + limit]
        following = {"limit": limit, "offset": offset + limit} if offset + limit < len(every) else None
        paging = {"totalCount": len(every), "self": {"limit": limit, "offset": offset}, "next": following}
        return _data(self._world, [_transaction(one) for one in page], count=len(page), pagination=paging)

    def _told(self, account: Account, customer: Customer) -> Body:
        booked, _ = self._book.balances(account.id)
        ids = [{"type": "IBAN", "identification": account.iban}] if account.iban else []
        if account.sort_code:
            ids.append({"type": "SORT_CODE", "identification": account.sort_code})
        ids.append({"type": "ACCOUNT_NUMBER", "identification": account.number})
        return {
            "id": account.id,
            "type": "Personal - Current" if account.kind == "CURRENT" else "Personal - Savings",
            "usageType": "PERSONAL",
            "accountType": account.kind,
            "balance": number(booked),
            "currency": account.currency,
            "nickname": account.name,
            "accountNames": [{"name": customer.full_name}],
            "accountIdentifications": ids,
            "accountBalances": self._both(account),
        }

    def _both(self, account: Account) -> list[Body]:
        booked, available = self._book.balances(account.id)
        now = iso(self._world.clock.now())
        return [
            {
                "type": kind,
                "dateTime": now,
                "balanceAmount": _amount(minor, account.currency),
                "creditLineIncluded": False,
            }
            for kind, minor in (("CLOSING_BOOKED", booked), ("INTERIM_AVAILABLE", available))
        ]

    def _of(self, consent: Body, request: Request) -> Account:
        account = self._book.account(request.path_params["account"])
        if account is None or account.customer != consent["customer"]:
            raise Refusal(404, "NOT_FOUND", "There is no such account.")
        return account

    def _customer(self, consent: Body) -> Customer:
        customer = self._book.customer_by_id(consent["customer"])
        assert customer is not None, "an authorised consent has one"
        return customer

    # -- how requests come in ------------------------------------------------------------------------------------------------

    def _route(self, method: str, path: str, work: Callable[[Request, Body], Response]) -> Route:
        async def answer(request: Request) -> Response:
            try:
                if not _is_ours(request.headers.get("authorization", "")):
                    raise Refusal(401, "UNAUTHORIZED", "The application is unknown, or its secret is wrong.")
                body = await json_body(request)
                if body is None:
                    raise Refusal(400, "BAD_REQUEST", "The body is no JSON object.")
                self._world.catch_up()
                with self._book.writing():
                    return work(request, body)
            except Refusal as refusal:
                return self._refused(refusal)

        return Route(path, answer, methods=[method])

    def _refused(self, refusal: Refusal) -> Response:
        error = {
            "tracingId": self._world.token("")[:32],
            "code": refusal.code,
            "status": refusal.status,
            "message": refusal.message,
            "source": "YAPILY",
            "supportUrl": None,
        }
        return json_response({"error": error}, refusal.code)


def _data(world: World, data: Body | Sequence[Body], status: int = 200, **meta: object) -> Response:
    return json_response({"meta": {"tracingId": world.token("")[:32], **meta}, "data": data}, status)


def _amount(minor: int, currency: str) -> Body:
    return {"amount": number(minor), "currency": currency}


def _transaction(movement: Movement) -> Body:
    other = {"name": movement.name} | (
        {"accountIdentifications": [{"type": "IBAN", "identification": movement.counterparty_account}]}
        if movement.counterparty_account
        else {}
    )
    booked = movement.state == BOOKED
    return {
        "id": movement.id,
        "date": movement.booked_at or movement.at,
        **({"bookingDateTime": movement.booked_at, "valueDateTime": movement.booked_at} if booked else {}),
        "status": movement.state,
        "transactionMutability": "Immutable" if booked else "Mutable",
        "amount": number(movement.amount),
        "currency": movement.currency,
        "transactionAmount": _amount(movement.amount, movement.currency),
        "reference": movement.reference,
        "description": f"{movement.name} {movement.reference}".strip(),
        "transactionInformation": [movement.reference] if movement.reference else [],
        ("payeeDetails" if movement.amount < 0 else "payerDetails"): other,
        **({"merchant": {"merchantName": movement.name}} if movement.reference == "CARD" else {}),
    }


def _institution(bank: Bank) -> Body:
    return {
        "id": f"{bank.id}-sandbox",
        "name": bank.name,
        "fullName": bank.name,
        "countries": [{"displayName": bank.country, "countryCode2": bank.country}],
        "environmentType": "SANDBOX",
        "media": [],
        "features": ["INITIATE_ACCOUNT_REQUEST", *_FEATURES],
    }


def _bank(institution_id: object) -> Bank:
    bank = BANKS.get(str(institution_id).removesuffix("-sandbox"))
    if bank is None:
        raise Refusal(404, "NOT_FOUND", "There is no such institution.")
    return bank


def _time(text: str) -> datetime:
    return read_iso(text if "T" in text else f"{text}T00:00:00Z")


def _is_ours(authorization: str) -> bool:
    expected = "Basic " + base64.b64encode(f"{APPLICATION}:{SECRET}".encode()).decode()
    return hmac.compare_digest(authorization.encode(), expected.encode())
