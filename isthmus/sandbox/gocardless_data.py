"""GoCardless' accounts: details, balances and transactions, in the Berlin Group's shapes. What is pending has no id.

Each endpoint of an account may be asked so many times a day as the fact `gocardless.daily` says; without it nobody counts.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from starlette.requests import Request
from starlette.routing import Route

from isthmus.sandbox.answers import World, text
from isthmus.sandbox.book import BOOKED, PENDING, Account, Movement
from isthmus.sandbox.clock import iso, read_iso
from isthmus.sandbox.gocardless import Body, GoCardless, Refusal, institution_id

_DAY = timedelta(days=1)


class GoCardlessData:
    def __init__(self, world: World, front: GoCardless) -> None:
        self._world = world
        self._book = world.book
        self._front = front
        self.routes = [
            self._route("", self._metadata),
            self._route("details/", self._details),
            self._route("balances/", self._balances),
            self._route("transactions/", self._transactions),
        ]

    def _metadata(self, account: Account, _: Request) -> Body:
        return {
            "id": account.id,
            "created": account.grown_to,
            "last_accessed": iso(self._world.clock.now()),
            "iban": account.iban or "",
            "status": "READY",
            "institution_id": institution_id(account.bank),
        }

    def _details(self, account: Account, _: Request) -> Body:
        number = {"iban": account.iban} if account.iban else {"bban": account.number}
        kind = "CACC" if account.kind == "CURRENT" else "SVGS"
        told = {"resourceId": account.id, "currency": account.currency, "name": account.name, "cashAccountType": kind}
        return {"account": told | number}

    def _balances(self, account: Account, _: Request) -> Body:
        booked, available = self._book.balances(account.id)
        today = iso(self._world.clock.now())[:10]
        return {
            "balances": [
                {
                    "balanceAmount": {"amount": text(amount), "currency": account.currency},
                    "balanceType": kind,
                    "referenceDate": today,
                }
                for kind, amount in (("interimAvailable", available), ("closingBooked", booked))
            ]
        }

    def _transactions(self, account: Account, request: Request) -> Body:
        since = request.query_params.get("date_from", "")
        booked = [one for one in self._book.movements(account.id) if (one.booked_at or "")[:10] >= since]
        pending = self._book.movements(account.id, states=[PENDING])
        told = {"booked": [_told(one) for one in booked], "pending": [_told(one) for one in pending]}
        return {"transactions": told, "last_updated": iso(self._world.clock.now())}

    def _within_limit(self, account: Account, endpoint: str) -> None:
        if (allowed := self._book.fact("gocardless.daily")) is None:
            return
        name, now = f"{account.id}|{endpoint}", self._world.clock.now()
        kept = self._book.get("gocardless.asked", name) or {"times": []}
        times = [one for one in kept["times"] if read_iso(one) > now - _DAY]
        if len(times) >= int(allowed):
            detail = "Daily request limit set by the Institution has been exceeded"
            raise Refusal(429, "Rate limit exceeded", detail, "RateLimitError")
        self._book.put("gocardless.asked", name, {"times": [*times, iso(now)]})

    def _route(self, endpoint: str, work: Callable[[Account, Request], Body]) -> Route:
        def guarded(request: Request, _: Body) -> tuple[int, Body]:
            account, linked = self._front.account(request.path_params["account"])
            if all(self._front.shown(one)["status"] != "LN" for one in linked):
                detail = "Access has expired or it has been revoked. To restore access reconnect the account."
                raise Refusal(401, "Couldn't update account", detail, "AccessExpiredError")
            if endpoint:
                self._within_limit(account, endpoint)
            return 200, work(account, request)

        return self._front.route("GET", f"/api/v2/accounts/{{account}}/{endpoint}", guarded)


def _told(movement: Movement) -> Body:
    who = "creditor" if movement.amount < 0 else "debtor"
    booked = movement.state == BOOKED
    named = {"transactionId": movement.id, "internalTransactionId": f"gc{movement.id}"} if booked else {}
    days = {"bookingDate": movement.booked_at[:10]} if movement.booked_at else {}
    return {
        **named,
        **days,
        "valueDate": (movement.booked_at or movement.at)[:10],
        "transactionAmount": {"amount": text(movement.amount), "currency": movement.currency},
        f"{who}Name": movement.name,
        "remittanceInformationUnstructured": movement.reference,
    }
