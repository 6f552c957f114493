"""GoCardless Bank Account Data (bankaccountdata.gocardless.com/api/v2): tokens, institutions, agreements, requisitions.

Source: developer.gocardless.com/bank-account-data. From memory: the words of the refusals but those that its pages list, that a person
who declines comes back with `error` and leaves the requisition rejected, and the greatest figures of an agreement.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from isthmus.sandbox.answers import World, json_body, json_response
from isthmus.sandbox.bank_pages import BankPages
from isthmus.sandbox.book import Account, Customer
from isthmus.sandbox.clock import iso, read_iso
from isthmus.sandbox.seeding import BANKS

SECRET_ID, SECRET_KEY = "sandbox-gocardless", "sandbox-gocardless-secret"
_ACCESS_LASTS, _REFRESH_LASTS = timedelta(days=1), timedelta(days=30)
_HISTORY_DAYS_MAX, _ACCESS_DAYS_MAX = 730, 180
_SCOPE = {"balances", "details", "transactions"}

Body = dict[str, Any]
Work = Callable[[Request, Body], tuple[int, Any]]


class Refusal(Exception):
    def __init__(self, status: int, summary: str, detail: str, kind: str | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.body = {"summary": summary, "detail": detail, "status_code": status} | ({"type": kind} if kind else {})


class GoCardless:
    """`redirect_uris`: where a person may be sent back to."""

    def __init__(self, world: World, pages: BankPages, redirect_uris: frozenset[str]) -> None:
        self._world = world
        self._book = world.book
        self._pages = pages
        self._redirect_uris = redirect_uris
        pages.answered["gocardless.requisition"] = self._answered
        one = "/api/v2/requisitions/{requisition}/"
        self.routes = [
            self.route("POST", "/api/v2/token/new/", self._new_token, signed_in=False),
            self.route("POST", "/api/v2/token/refresh/", self._refresh, signed_in=False),
            self.route("GET", "/api/v2/institutions/", self._institutions),
            self.route("GET", "/api/v2/institutions/{institution}/", lambda request, _: (200, self._bank(request))),
            self.route("POST", "/api/v2/agreements/enduser/", self._agree),
            self.route("GET", "/api/v2/agreements/enduser/{agreement}/", self._agreement),
            self.route("POST", "/api/v2/requisitions/", self._require),
            self.route("GET", one, lambda request, _: (200, self.shown(self._named(request)))),
            self.route("DELETE", one, self._delete),
            Route("/psd2/start/{requisition}/{institution}", self._start, methods=["GET"]),
        ]

    # -- the application ---------------------------------------------------------------------------------------------------

    def _new_token(self, _: Request, body: Body) -> tuple[int, Body]:
        key = str(body.get("secret_key", "")).encode()
        if body.get("secret_id") != SECRET_ID or not hmac.compare_digest(key, SECRET_KEY.encode()):
            detail = "No active account found with the given credentials"
            raise Refusal(401, "Authentication failed", detail)
        refresh = self._world.token("gc-refresh-")
        self._book.put("gocardless.refresh", refresh, {"ends": iso(self._world.clock.now() + _REFRESH_LASTS)})
        told = {"refresh": refresh, "refresh_expires": int(_REFRESH_LASTS.total_seconds())}
        return 200, {**self._access(), **told}

    def _refresh(self, _: Request, body: Body) -> tuple[int, Body]:
        self._lasting("gocardless.refresh", str(body.get("refresh", "")))
        return 200, self._access()

    def _access(self) -> Body:
        access = self._world.token("gc-")
        self._book.put("gocardless.access", access, {"ends": iso(self._world.clock.now() + _ACCESS_LASTS)})
        return {"access": access, "access_expires": int(_ACCESS_LASTS.total_seconds())}

    def _lasting(self, kind: str, token: str) -> None:
        kept = self._book.get(kind, token)
        if kept is None or read_iso(kept["ends"]) <= self._world.clock.now():
            raise Refusal(401, "Invalid token", "Token is invalid or expired")

    def forget_tokens(self) -> None:
        """All access tokens are over at once, before their time."""
        for token in self._book.all("gocardless.access"):
            self._book.forget("gocardless.access", token)

    # -- institutions, agreements, requisitions ----------------------------------------------------------------------------

    def _institutions(self, request: Request, _: Body) -> tuple[int, list[Body]]:
        country = request.query_params.get("country", "").upper()
        return 200, [_institution(one) for one, bank in BANKS.items() if bank.country == country]

    def _bank(self, request: Request) -> Body:
        return _institution(self._bank_of(request.path_params["institution"]))

    def _bank_of(self, institution: object) -> str:
        bank = next((one for one in BANKS if institution_id(one) == institution), None)
        if bank is None:
            raise Refusal(404, "Not found.", "Not found.")
        return bank

    def _agree(self, _: Request, body: Body) -> tuple[int, Body]:
        self._bank_of(body.get("institution_id"))
        history, access = body.get("max_historical_days", 90), body.get("access_valid_for_days", 90)
        scope = body.get("access_scope", sorted(_SCOPE))
        if not 1 <= history <= _HISTORY_DAYS_MAX or not 1 <= access <= _ACCESS_DAYS_MAX or not set(scope) <= _SCOPE:
            raise Refusal(400, "Invalid agreement", "The agreement asks for more than the institution gives")
        agreement = {
            "id": self._world.uuid(),
            "created": iso(self._world.clock.now()),
            "institution_id": body["institution_id"],
            "max_historical_days": history,
            "access_valid_for_days": access,
            "access_scope": scope,
            "accepted": None,
        }
        self._book.put("gocardless.agreement", agreement["id"], agreement)
        return 201, agreement

    def _agreement(self, request: Request, _: Body) -> tuple[int, Body]:
        return 200, self._kept("gocardless.agreement", request.path_params["agreement"])

    def _require(self, _: Request, body: Body) -> tuple[int, Body]:
        bank = self._bank_of(body.get("institution_id"))
        agreement = self._kept("gocardless.agreement", str(body.get("agreement")))
        if body.get("redirect") not in self._redirect_uris or agreement["institution_id"] != institution_id(bank):
            raise Refusal(400, "Invalid requisition", "The redirect or the agreement is not one that can be used")
        reference = str(body.get("reference", ""))
        if not reference or any(one["reference"] == reference for one in self.requisitions()):
            raise Refusal(400, "Client reference must be unique", f"{reference} already exists")
        requisition = {
            "id": self._world.uuid(),
            "created": iso(self._world.clock.now()),
            "redirect": body["redirect"],
            "status": "CR",
            "institution_id": institution_id(bank),
            "agreement": agreement["id"],
            "reference": reference,
            "accounts": [],
        }
        self._keep(requisition)
        return 201, self.shown(requisition)

    def _delete(self, request: Request, _: Body) -> tuple[int, Body]:
        requisition = self._named(request)
        self._book.forget("gocardless.requisition", requisition["id"])
        return 200, {"summary": "Requisition deleted", "detail": f"Requisition {requisition['id']} was deleted"}

    # -- the person --------------------------------------------------------------------------------------------------------

    async def _start(self, request: Request) -> Response:
        requisition = self._book.get("gocardless.requisition", request.path_params["requisition"])
        if requisition is None or requisition["status"] != "CR":
            return Response("RequisitionLinkReused: this link was used before, or never made.", 400)
        bank = self._bank_of(requisition["institution_id"])
        lines = ["see your accounts", "see your balances", "see your transactions"]
        page = self._pages.ask(
            "gocardless.requisition", bank, "GoCardless, for an app", lines, requisition=requisition["id"]
        )
        self._keep(requisition | {"status": "UA"})
        return RedirectResponse(page, 303)

    def _answered(self, ask: dict[str, object], customer: Customer | None) -> str:
        requisition = self._kept("gocardless.requisition", str(ask["requisition"]))
        told = {"ref": requisition["reference"]}
        if customer is None:
            self._keep(requisition | {"status": "RJ"})
            told |= {"error": "UserCancelledSession", "details": "User cancelled the session"}
        else:
            accounts = [one.id for one in self._book.accounts_of(customer.id)]
            self._keep(requisition | {"status": "LN", "accounts": accounts})
            agreement = self._kept("gocardless.agreement", requisition["agreement"])
            agreed = agreement | {"accepted": iso(self._world.clock.now())}
            self._book.put("gocardless.agreement", agreement["id"], agreed)
        return f"{requisition['redirect']}?{urlencode(told)}"

    # -- what all of it needs ----------------------------------------------------------------------------------------------

    def requisitions(self) -> list[Body]:
        return list(self._book.all("gocardless.requisition").values())

    def shown(self, requisition: Body) -> Body:
        status = "EX" if requisition["status"] == "LN" and self.is_over(requisition) else requisition["status"]
        link = f"{self._world.public_url}/gocardless/psd2/start/{requisition['id']}/{requisition['institution_id']}"
        more = {"link": link, "ssn": None, "account_selection": False, "redirect_immediate": False}
        return {**requisition, "status": status, **more}

    def is_over(self, requisition: Body) -> bool:
        agreement = self._kept("gocardless.agreement", requisition["agreement"])
        lasts = timedelta(days=agreement["access_valid_for_days"])
        return bool(read_iso(agreement["accepted"]) + lasts <= self._world.clock.now())

    def account(self, account_id: str) -> tuple[Account, list[Body]]:
        """And the requisitions that it was linked by."""
        account = self._book.account(account_id)
        linked = [one for one in self.requisitions() if account_id in one["accounts"]]
        if account is None or not linked:
            raise Refusal(404, "Account ID not found", f"Account ID {account_id} not found")
        return account, linked

    def set_status(self, requisition_id: str, status: str) -> None:
        """Any text is taken: real ones add statuses too."""
        requisition = self._book.get("gocardless.requisition", requisition_id)
        if requisition is None:
            raise ValueError("no such requisition")
        self._keep(requisition | {"status": status})

    def route(self, method: str, path: str, work: Work, *, signed_in: bool = True) -> Route:
        async def answer(request: Request) -> Response:
            body = await json_body(request)
            try:
                self._world.catch_up()
                if signed_in:
                    scheme, _, token = request.headers.get("authorization", "").partition(" ")
                    self._lasting("gocardless.access", token if scheme == "Bearer" else "")
                if body is None:
                    raise Refusal(400, "Invalid request", "The body is no JSON object")
                status, told = work(request, body)
                return json_response(told, status)
            except Refusal as refusal:
                return json_response(refusal.body, refusal.status)

        return Route(path, answer, methods=[method])

    def _named(self, request: Request) -> Body:
        return self._kept("gocardless.requisition", request.path_params["requisition"])

    def _kept(self, kind: str, document_id: str) -> Body:
        found = self._book.get(kind, document_id)
        if found is None:
            raise Refusal(404, "Not found.", "Not found.")
        return found

    def _keep(self, requisition: Body) -> None:
        self._book.put("gocardless.requisition", requisition["id"], requisition)


def institution_id(bank: str) -> str:
    return f"{bank.upper()}_{BANKS[bank].country}"


def _institution(bank: str) -> Body:
    return {
        "id": institution_id(bank),
        "name": BANKS[bank].name,
        "bic": "",
        "transaction_total_days": str(_HISTORY_DAYS_MAX),
        "countries": [BANKS[bank].country],
        "logo": "",
        "max_access_valid_for_days": str(_ACCESS_DAYS_MAX),
    }
