"""TrueLayer: its sign-in dialog with code and PKCE, and the data API v1. Payments are in `truelayer_payments.py`.

Source: docs.truelayer.com and TrueLayer/truelayer-java; PKCE is RFC 7636. Amounts are JSON numbers, and negative means money out.
A transaction's `transaction_id` changes when it is booked; `normalised_provider_transaction_id` stays, where there is one.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl, urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from isthmus.sandbox.answers import World, json_body, json_response, number
from isthmus.sandbox.bank_pages import BankPages
from isthmus.sandbox.book import BOOKED, PENDING, Account, Customer, Movement, iso, read_iso
from isthmus.sandbox.seeding import BANKS

CLIENT_ID, CLIENT_SECRET = "sandbox-truelayer", "sandbox-truelayer-secret"
SCOPES = frozenset({"info", "accounts", "balance", "transactions", "offline_access"})
_CODE_LASTS = timedelta(minutes=5)
_TOKEN_LASTS = timedelta(hours=1)
#: What the law gives a permission to look, in the bank's country.
_CONSENT_LASTS = timedelta(days=90)
_HISTORY_MAX = timedelta(days=730)

Body = dict[str, Any]


class Refusal(Exception):
    """An error of TrueLayer's: `code` is its `error`."""

    def __init__(self, status: int, code: str, description: str) -> None:
        super().__init__(description)
        self.status, self.code, self.description = status, code, description


class TrueLayer:
    """`auth_routes` stand for auth.truelayer.com, `data_routes` for api.truelayer.com. `redirect_uris`: where a person may be sent."""

    def __init__(self, world: World, pages: BankPages, redirect_uris: frozenset[str]) -> None:
        self._world = world
        self._book = world.book
        self._pages = pages
        self._redirect_uris = redirect_uris
        pages.answered["truelayer.auth"] = self._answered
        self.auth_routes = [
            Route("/", self._dialog, methods=["GET"]),
            Route("/connect/token", self._guarded(self._token), methods=["POST"]),
            Route("/api/delete", self._guarded(self._delete), methods=["DELETE"]),
        ]
        self.data_routes = [
            self._data("/data/v1/me", self._me),
            self._data("/data/v1/info", self._info, "info"),
            self._data("/data/v1/accounts", self._accounts, "accounts"),
            self._data("/data/v1/accounts/{account}", self._one_account, "accounts"),
            self._data("/data/v1/accounts/{account}/balance", self._balance, "balance"),
            self._data("/data/v1/accounts/{account}/transactions", self._booked, "transactions"),
            self._data("/data/v1/accounts/{account}/transactions/pending", self._pending, "transactions"),
        ]

    # -- the dialog ------------------------------------------------------------------------------------------------------

    async def _dialog(self, request: Request) -> Response:
        """What is wrong with client or redirect address is told to nobody else: a person is never sent to an unknown place."""
        asked = dict(request.query_params)
        if asked.get("client_id") != CLIENT_ID:
            return _page("Invalid client_id", 400)
        back = asked.get("redirect_uri", "")
        if back not in self._redirect_uris:
            return _page("Invalid redirect_uri: it is not one that is registered", 400)
        state = {"state": asked["state"]} if "state" in asked else {}
        scopes = asked.get("scope", "").split()
        if asked.get("response_type") != "code" or not scopes or not set(scopes) <= SCOPES:
            return RedirectResponse(f"{back}?{urlencode({'error': 'invalid_request', **state})}", 303)
        bank = bank_of(asked.get("provider_id", ""))
        if bank is None:
            links = "".join(
                f'<li><a href="?{urlencode({**asked, "provider_id": provider_id(one)})}">{BANKS[one].name}</a></li>'
                for one in BANKS
            )
            return _page(f"<h1>Choose your bank</h1><ul>{links}</ul>")
        challenge = asked.get("code_challenge") if asked.get("code_challenge_method") == "S256" else None
        lines = [f"see your {scope.replace('_', ' ')}" for scope in scopes if scope != "offline_access"]
        page = self._pages.ask(
            "truelayer.auth",
            bank,
            "TrueLayer, for an app",
            lines,
            back=back,
            scopes=scopes,
            challenge=challenge,
            **state,
        )
        return RedirectResponse(page, 303)

    def _answered(self, ask: dict[str, object], customer: Customer | None) -> str:
        state = {"state": ask["state"]} if "state" in ask else {}
        if customer is None:
            return f"{ask['back']}?{urlencode({'error': 'access_denied', **state})}"
        code = self._world.token("")
        expires = iso(self._world.clock.now() + _CODE_LASTS)
        kept = {name: ask[name] for name in ("back", "scopes", "challenge")}
        self._book.put("truelayer.code", code, {**kept, "customer": customer.id, "expires": expires, "used": None})
        return f"{ask['back']}?{urlencode({'code': code, 'scope': ' '.join(map(str, _list(ask['scopes']))), **state})}"

    # -- tokens ------------------------------------------------------------------------------------------------------------

    def _token(self, form: Body) -> Body:
        secret = str(form.get("client_secret", "")).encode()
        if form.get("client_id") != CLIENT_ID or not hmac.compare_digest(secret, CLIENT_SECRET.encode()):
            raise Refusal(401, "invalid_client", "The client is unknown, or its secret is wrong.")
        match form.get("grant_type"):
            case "authorization_code":
                return self._by_code(form)
            case "refresh_token":
                grant = self._grant(
                    form.get("refresh_token"),
                    "truelayer.refresh",
                    Refusal(400, "invalid_grant", "Invalid refresh_token."),
                )
                return self._tokens(grant, again=True)
            case _:
                raise Refusal(400, "unsupported_grant_type", "There is no such grant type.")

    def _by_code(self, form: Body) -> Body:
        wrong = Refusal(400, "invalid_grant", "Invalid authorization_code.")
        code = str(form.get("code", ""))
        kept = self._book.get("truelayer.code", code)
        if kept is None:
            raise wrong
        if kept["used"] is not None:
            # Somebody has it who should not: what was given for it is taken back.
            self._book.forget("truelayer.grant", kept["used"])
            raise wrong
        if read_iso(kept["expires"]) <= self._world.clock.now() or form.get("redirect_uri") != kept["back"]:
            raise wrong
        if kept["challenge"] is not None:
            digest = hashlib.sha256(str(form.get("code_verifier", "")).encode()).digest()
            if not hmac.compare_digest(base64.urlsafe_b64encode(digest).rstrip(b"=").decode(), kept["challenge"]):
                raise wrong
        now = self._world.clock.now()
        grant_id = self._world.token("")
        grant = {
            "id": grant_id,
            "customer": kept["customer"],
            "scopes": kept["scopes"],
            "made": iso(now),
            "expires": iso(now + _CONSENT_LASTS),
            "status": "Authorised",
        }
        self._book.put("truelayer.grant", grant_id, grant)
        self._book.put("truelayer.code", code, {**kept, "used": grant_id})
        return self._tokens(grant)

    def _tokens(self, grant: Body, *, again: bool = False) -> Body:
        access = self._world.token("tl-")
        expires = iso(self._world.clock.now() + _TOKEN_LASTS)
        self._book.put("truelayer.access", access, {"grant": grant["id"], "expires": expires})
        scope = " ".join(grant["scopes"])
        answer = {"access_token": access, "expires_in": 3600, "token_type": "Bearer", "scope": scope}
        if "offline_access" in grant["scopes"] and not again:
            refresh = self._world.token("tl-refresh-")
            self._book.put("truelayer.refresh", refresh, {"grant": grant["id"]})
            answer["refresh_token"] = refresh
        return answer

    def _grant(self, token: object, kind: str, wrong: Refusal) -> Body:
        kept = self._book.get(kind, str(token))
        now = self._world.clock.now()
        if kept is None or ("expires" in kept and read_iso(kept["expires"]) <= now):
            raise wrong
        grant = self._book.get("truelayer.grant", kept["grant"])
        if grant is None or grant["status"] != "Authorised" or read_iso(grant["expires"]) <= now:
            raise wrong
        return grant

    def _delete(self, _: Body, token: str = "") -> Body:
        grant = self._grant(
            token, "truelayer.access", Refusal(401, "invalid_token", "The token is invalid or expired.")
        )
        self._book.put("truelayer.grant", grant["id"], {**grant, "status": "Revoked"})
        return {}

    def revoked(self, grant_id: str) -> None:
        """The person took the permission back, at the bank."""
        grant = self._book.get("truelayer.grant", grant_id)
        if grant is None:
            raise ValueError("no such permission")
        self._book.put("truelayer.grant", grant_id, {**grant, "status": "Revoked"})

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

    # -- how requests come in ------------------------------------------------------------------------------------------------

    def _data(self, path: str, work: Callable[[Body, Request], list[Body]], scope: str | None = None) -> Route:
        async def answer(request: Request) -> Response:
            try:
                self._world.catch_up()
                wrong = Refusal(401, "invalid_token", "The token is invalid or expired.")
                grant = self._grant(_bearer(request), "truelayer.access", wrong)
                if scope is not None and scope not in grant["scopes"]:
                    raise Refusal(403, "access_denied", f"The token does not have the scope {scope}.")
                return json_response({"results": work(grant, request), "status": "Succeeded"})
            except Refusal as refusal:
                return _refused(refusal)

        return Route(path, answer, methods=["GET"])

    def _guarded(self, work: Callable[..., Body]) -> Callable[[Request], Any]:
        async def answer(request: Request) -> Response:
            raw = await request.body()
            if request.headers.get("content-type", "").startswith("application/json"):
                form = await json_body(request) or {}
            else:
                form = dict(parse_qsl(raw.decode("utf-8", "replace")))
            try:
                # A refusal may take something back, which must stay.
                return json_response(work(form, _bearer(request)) if request.method == "DELETE" else work(form))
            except Refusal as refusal:
                return _refused(refusal)

        return answer


def provider_id(bank: str) -> str:
    """As TrueLayer names banks: country, kind of access, name."""
    return f"{'uk' if BANKS[bank].country == 'GB' else BANKS[bank].country.lower()}-ob-{bank}"


def bank_of(provider: str) -> str | None:
    return next((bank for bank in BANKS if provider_id(bank) == provider), None)


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


def _refused(refusal: Refusal) -> Response:
    return json_response(
        {"error": refusal.code, "error_description": refusal.description, "error_details": {}}, refusal.status
    )


def _bearer(request: Request) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token if scheme.lower() == "bearer" else ""


def _page(text: str, status: int = 200) -> Response:
    return Response(f"<!doctype html><title>TrueLayer</title>{text}", status, media_type="text/html")


def _list(value: object) -> list[object]:
    assert isinstance(value, list)
    return value
