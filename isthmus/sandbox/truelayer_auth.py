"""TrueLayer's sign-in (auth.truelayer.com): the dialog with code and PKCE, tokens of people and of the client itself.

Source: docs.truelayer.com and TrueLayer/truelayer-java; PKCE is RFC 7636.
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

from isthmus.sandbox.answers import World, json_body, json_response
from isthmus.sandbox.bank_pages import BankPages
from isthmus.sandbox.book import Customer
from isthmus.sandbox.clock import iso, read_iso
from isthmus.sandbox.seeding import BANKS
from isthmus.sandbox.truelayer_errors import Body, Refusal, bank_of, bearer, provider_id

CLIENT_ID, CLIENT_SECRET = "sandbox-truelayer", "sandbox-truelayer-secret"
SCOPES = frozenset({"info", "accounts", "balance", "transactions", "offline_access"})
#: What the client asks for itself, without a person.
_CLIENT_SCOPES = frozenset({"payments", "verification"})
_CODE_LASTS = timedelta(minutes=5)
_TOKEN_LASTS = timedelta(hours=1)
#: What the law gives a permission to look, in the bank's country.
_CONSENT_LASTS = timedelta(days=90)


class TrueLayerAuth:
    """`redirect_uris`: where a person may be sent."""

    def __init__(self, world: World, pages: BankPages, redirect_uris: frozenset[str]) -> None:
        self._world = world
        self._book = world.book
        self._pages = pages
        self._redirect_uris = redirect_uris
        pages.answered["truelayer.auth"] = self._answered
        self.routes = [
            Route("/", self._dialog, methods=["GET"]),
            Route("/api/providers", self._providers, methods=["GET"]),
            Route("/connect/token", self._guarded(self._token), methods=["POST"]),
            Route("/api/delete", self._guarded(self._delete), methods=["DELETE"]),
        ]

    # -- the dialog ------------------------------------------------------------------------------------------------------

    async def _providers(self, request: Request) -> Response:
        """Everybody's, as real ones are: no secret is needed."""
        some = [
            {
                "provider_id": provider_id(bank.id),
                "display_name": bank.name,
                "country": "uk" if bank.country == "GB" else bank.country.lower(),
                "logo_url": None,
                "scopes": sorted(SCOPES),
            }
            for bank in BANKS.values()
        ]
        return json_response(some if request.query_params.get("clientId") == CLIENT_ID else [])

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
                grant = self.grant(
                    form.get("refresh_token"),
                    "truelayer.refresh",
                    Refusal(400, "invalid_grant", "Invalid refresh_token."),
                )
                return self._tokens(grant, again=True)
            case "client_credentials":
                return self._by_itself(form)
            case _:
                raise Refusal(400, "unsupported_grant_type", "There is no such grant type.")

    def _by_itself(self, form: Body) -> Body:
        scopes = str(form.get("scope", "")).split()
        if not scopes or not set(scopes) <= _CLIENT_SCOPES:
            raise Refusal(400, "invalid_scope", "The scope is not one that the client may have.")
        access = self._world.token("tl-client-")
        expires = iso(self._world.clock.now() + _TOKEN_LASTS)
        self._book.put("truelayer.client", access, {"scopes": scopes, "expires": expires})
        return {"access_token": access, "expires_in": 3600, "token_type": "Bearer", "scope": " ".join(scopes)}

    def is_clients(self, token: str, scope: str) -> bool:
        """Whether the client itself may do this, by its own token."""
        kept = self._book.get("truelayer.client", token)
        return kept is not None and scope in kept["scopes"] and read_iso(kept["expires"]) > self._world.clock.now()

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

    def grant(self, token: object, kind: str, wrong: Refusal) -> Body:
        kept = self._book.get(kind, str(token))
        now = self._world.clock.now()
        if kept is None or ("expires" in kept and read_iso(kept["expires"]) <= now):
            raise wrong
        grant = self._book.get("truelayer.grant", kept["grant"])
        if grant is None or grant["status"] != "Authorised" or read_iso(grant["expires"]) <= now:
            raise wrong
        return grant

    def _delete(self, _: Body, token: str = "") -> Body:
        grant = self.grant(token, "truelayer.access", Refusal(401, "invalid_token", "The token is invalid or expired."))
        self._book.put("truelayer.grant", grant["id"], {**grant, "status": "Revoked"})
        return {}

    def revoked(self, grant_id: str) -> None:
        """The person took the permission back, at the bank."""
        grant = self._book.get("truelayer.grant", grant_id)
        if grant is None:
            raise ValueError("no such permission")
        self._book.put("truelayer.grant", grant_id, {**grant, "status": "Revoked"})

    def forget_tokens(self) -> None:
        """All access tokens are over at once, before their time, the client's own too; refresh tokens stay."""
        for kind in ("truelayer.access", "truelayer.client"):
            for token in self._book.all(kind):
                self._book.forget(kind, token)

    def _guarded(self, work: Callable[..., Body]) -> Callable[[Request], Any]:
        async def answer(request: Request) -> Response:
            raw = await request.body()
            if request.headers.get("content-type", "").startswith("application/json"):
                form = await json_body(request) or {}
            else:
                form = dict(parse_qsl(raw.decode("utf-8", "replace")))
            try:
                # A refusal may take something back, which must stay.
                return json_response(work(form, bearer(request)) if request.method == "DELETE" else work(form))
            except Refusal as refusal:
                return refusal.answer()

        return answer


def _page(text: str, status: int = 200) -> Response:
    return Response(f"<!doctype html><title>TrueLayer</title>{text}", status, media_type="text/html")


def _list(value: object) -> list[object]:
    assert isinstance(value, list)
    return value
