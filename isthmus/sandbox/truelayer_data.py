"""TrueLayer's data API v1: accounts, balances, transactions.

Amounts are JSON numbers, and negative means money out. A transaction's `transaction_id` changes when it is booked;
`normalised_provider_transaction_id` stays, where there is one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import timedelta

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from isthmus.sandbox.answers import World, json_response, number
from isthmus.sandbox.book import BOOKED, PENDING, Account, Customer, Movement
from isthmus.sandbox.clock import iso, read_iso
from isthmus.sandbox.seeding import BANKS
from isthmus.sandbox.truelayer_auth import CLIENT_ID, TrueLayerAuth
from isthmus.sandbox.truelayer_errors import Body, Refusal, bearer, provider_id

_HISTORY_MAX = timedelta(days=730)


class TrueLayerData:
    def __init__(self, world: World, auth: TrueLayerAuth) -> None:
        self._world = world
        self._book = world.book
        self._auth = auth
        self.routes = [
            self._route("/data/v1/me", self._me),
            self._route("/data/v1/info", self._info, "info"),
            self._route("/data/v1/accounts", self._accounts, "accounts"),
            self._route("/data/v1/accounts/{account}", self._one_account, "accounts"),
            self._route("/data/v1/accounts/{account}/balance", self._balance, "balance"),
            self._route("/data/v1/accounts/{account}/transactions", self._booked, "transactions"),
            self._route("/data/v1/accounts/{account}/transactions/pending", self._pending, "transactions"),
        ]

    # -- data --------------------------------------------------------------------------------------------------------------

    def _me(self, grant: Body, _: Request) -> list[Body]:
        customer = self._customer(grant)
        provider = {
            "display_name": BANKS[customer.bank].name,
            "provider_id": provider_id(customer.bank),
            "logo_uri": None,
        }
        return [
            {
                "client_id": CLIENT_ID,
                "credentials_id": grant["id"],
                "consent_status": grant["status"],
                "consent_created_at": grant["made"],
                "consent_expires_at": grant["expires"],
                "provider": provider,
                "scopes": grant["scopes"],
                "privacy_policy": "",
            }
        ]

    def _info(self, grant: Body, _: Request) -> list[Body]:
        return [{"full_name": self._customer(grant).full_name, "emails": [], "phones": [], "addresses": []}]

    def _accounts(self, grant: Body, _: Request) -> list[Body]:
        return [_account(one, self._world) for one in self._book.accounts_of(grant["customer"])]

    def _one_account(self, grant: Body, request: Request) -> list[Body]:
        return [_account(self._account(grant, request), self._world)]

    def _balance(self, grant: Body, request: Request) -> list[Body]:
        account = self._account(grant, request)
        booked, available = self._book.balances(account.id)
        return [
            {
                "currency": account.currency,
                "available": number(available),
                "current": number(booked),
                "overdraft": number(0),
                "update_timestamp": iso(self._world.clock.now()),
            }
        ]

    def _booked(self, grant: Body, request: Request) -> list[Body]:
        account = self._account(grant, request)
        now = self._world.clock.now()
        since = request.query_params.get("from") or iso(now - timedelta(days=90))
        until = request.query_params.get("to") or iso(now)
        try:
            start, end = (read_iso(each if "T" in each else f"{each}T00:00:00+00:00") for each in (since, until))
        except ValueError:
            raise Refusal(400, "invalid_date_range", "`from` and `to` are dates.") from None
        if start > end or start < now - _HISTORY_MAX:
            raise Refusal(400, "invalid_date_range", "The date range is not one that can be asked for.")
        return [
            self._transaction(one)
            for one in self._book.movements(account.id, states=[BOOKED], since=iso(start), until=iso(end))
        ]

    def _pending(self, grant: Body, request: Request) -> list[Body]:
        account = self._account(grant, request)
        return [self._transaction(one) for one in self._book.movements(account.id, states=[PENDING])]

    def _transaction(self, movement: Movement) -> Body:
        pending = movement.state == PENDING
        lasting = self._book.fact("truelayer.no_normalised_id") is None
        return {
            "transaction_id": hashlib.sha256(f"{movement.id}|{movement.state}".encode()).hexdigest()[:32],
            **({"normalised_provider_transaction_id": f"txn-{movement.id}"} if lasting else {}),
            **({} if pending else {"provider_transaction_id": movement.id}),
            "timestamp": movement.at if pending else movement.booked_at,
            "description": f"{movement.name} {movement.reference}".strip(),
            "amount": number(movement.amount),
            "currency": movement.currency,
            "transaction_type": "DEBIT" if movement.amount < 0 else "CREDIT",
            "transaction_category": "PURCHASE" if movement.reference == "CARD" else "TRANSFER",
            "transaction_classification": [],
            **({"merchant_name": movement.name} if movement.reference == "CARD" else {}),
            "meta": {"provider_reference": movement.reference},
        }

    def _account(self, grant: Body, request: Request) -> Account:
        account = self._book.account(request.path_params["account"])
        if account is None or account.customer != grant["customer"]:
            raise Refusal(404, "account_not_found", "The requested account cannot be found.")
        return account

    def _customer(self, grant: Body) -> Customer:
        customer = self._book.customer_by_id(grant["customer"])
        assert customer is not None, "a grant has a customer"
        return customer

    def _route(self, path: str, work: Callable[[Body, Request], list[Body]], scope: str | None = None) -> Route:
        async def answer(request: Request) -> Response:
            try:
                self._world.catch_up()
                wrong = Refusal(401, "invalid_token", "The token is invalid or expired.")
                grant = self._auth.grant(bearer(request), "truelayer.access", wrong)
                if scope is not None and scope not in grant["scopes"]:
                    raise Refusal(403, "access_denied", f"The token does not have the scope {scope}.")
                return json_response({"results": work(grant, request), "status": "Succeeded"})
            except Refusal as refusal:
                return refusal.answer()

        return Route(path, answer, methods=["GET"])


def _account(account: Account, world: World) -> Body:
    number_ = {"number": account.number, **({"iban": account.iban} if account.iban else {})}
    if account.sort_code:
        number_["sort_code"] = "-".join(account.sort_code[n : n + 2] for n in (0, 2, 4))
    return {
        "account_id": account.id,
        "account_type": "TRANSACTION" if account.kind == "CURRENT" else "SAVINGS",
        "display_name": account.name,
        "currency": account.currency,
        "account_number": number_,
        "provider": {
            "display_name": BANKS[account.bank].name,
            "provider_id": provider_id(account.bank),
            "logo_uri": None,
        },
        "update_timestamp": iso(world.clock.now()),
    }
