"""Yapily's financial data: institutions, accounts, balances, transactions.

Amounts are JSON numbers, and negative means money out.
"""

from __future__ import annotations

from datetime import datetime

from starlette.requests import Request
from starlette.responses import Response

from isthmus.sandbox import yapily_raw
from isthmus.sandbox.answers import World, number
from isthmus.sandbox.book import BOOKED, PENDING, Account, Customer, Movement
from isthmus.sandbox.clock import iso, read_iso
from isthmus.sandbox.seeding import BANKS, Bank
from isthmus.sandbox.transfers import identified
from isthmus.sandbox.yapily_consents import FEATURES, YapilyConsents
from isthmus.sandbox.yapily_wire import Body, Refusal, amount, data, route
from isthmus.sandbox.yapily_wishes import CURRENCIES, PAYMENT_FEATURES

_LIMIT_MAX = 1_000


class YapilyData:
    def __init__(self, world: World, consents: YapilyConsents) -> None:
        self._world = world
        self._book = world.book
        self._consents = consents
        self.routes = [
            route(world, "GET", "/institutions", self._institutions),
            route(world, "GET", "/accounts", self._accounts),
            route(world, "GET", "/accounts/{account}", self._account),
            route(world, "GET", "/accounts/{account}/balances", self._balances),
            route(world, "GET", "/accounts/{account}/transactions", self._transactions),
        ]

    # -- data --------------------------------------------------------------------------------------------------------------

    def _institutions(self, _: Request, __: Body) -> Response:
        return data(self._world, [_institution(bank) for bank in BANKS.values()])

    def _accounts(self, request: Request, _: Body) -> Response:
        customer = self._customer(self._consents.authorised(request))
        return data(self._world, [self._told(one, customer) for one in self._book.accounts_of(customer.id)])

    def _account(self, request: Request, _: Body) -> Response:
        consent = self._consents.authorised(request)
        return data(self._world, self._told(self._of(consent, request), self._customer(consent)))

    def _balances(self, request: Request, _: Body) -> Response:
        account = self._of(self._consents.authorised(request), request)
        return data(
            self._world,
            {
                "mainBalanceAmount": amount(self._book.balances(account.id)[0], account.currency),
                "balances": self._both(account),
            },
        )

    def _transactions(self, request: Request, _: Body) -> Response:
        """The newest first. `from` and `before` bound the time, `limit` and `offset` the page; `raw=true` adds what the bank said."""
        account = self._of(self._consents.authorised(request), request)
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
        named = self._book.fact("yapily.pending_without_id") is None
        raw = yapily_raw.answer(account, page, named=named) if query.get("raw") == "true" else None
        told = [_transaction(one, named=named) for one in page]
        return data(self._world, told, raw=raw, count=len(page), pagination=paging)

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
                "balanceAmount": amount(minor, account.currency),
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


def _transaction(movement: Movement, *, named: bool) -> Body:
    account = movement.counterparty_account
    other = {"name": movement.name, **({"accountIdentifications": identified(account)} if account else {})}
    booked = movement.state == BOOKED
    return {
        **({"id": movement.id} if booked or named else {}),
        "date": movement.booked_at or movement.at,
        **({"bookingDateTime": movement.booked_at, "valueDateTime": movement.booked_at} if booked else {}),
        "status": movement.state,
        "transactionMutability": "Immutable" if booked else "Mutable",
        "amount": number(movement.amount),
        "currency": movement.currency,
        "transactionAmount": amount(movement.amount, movement.currency),
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
        "features": ["INITIATE_ACCOUNT_REQUEST", *FEATURES, *(PAYMENT_FEATURES if bank.currency in CURRENCIES else ())],
    }


def _time(text: str) -> datetime:
    return read_iso(text if "T" in text else f"{text}T00:00:00Z")
