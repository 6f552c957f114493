"""Yapily's consents, with all of their statuses: asked for, authorised at the bank, confirmed, ended. Payments have them too."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from isthmus.sandbox.answers import World, json_response
from isthmus.sandbox.bank_pages import BankPages
from isthmus.sandbox.book import Customer
from isthmus.sandbox.clock import iso, read_iso
from isthmus.sandbox.seeding import BANKS, Bank
from isthmus.sandbox.yapily_webhooks import YapilyWebhooks
from isthmus.sandbox.yapily_wire import Body, Refusal, bank_of, data, route

STATUSES = frozenset(
    (
        *("AWAITING_AUTHORIZATION", "AWAITING_FURTHER_AUTHORIZATION", "AWAITING_RE_AUTHORIZATION", "AUTHORIZED"),
        *("CONSUMED", "REJECTED", "REVOKED", "FAILED", "EXPIRED", "UNKNOWN", "INVALID"),
        *("AWAITING_DECOUPLED_PRE_AUTHORIZATION", "AWAITING_PRE_AUTHORIZATION", "PRE_AUTHORIZED"),
        *("AWAITING_DECOUPLED_AUTHORIZATION", "AWAITING_SCA_METHOD", "AWAITING_SCA_CODE"),
    )
)
_RECONFIRM = timedelta(days=90)
_ONE_TIME_LASTS = timedelta(minutes=5)
#: What a consent lasts before the person must sign in at the bank again: longer in the EEA than in the United Kingdom.
_LASTS = {"GB": timedelta(days=90), "DE": timedelta(days=180), "US": timedelta(days=180)}
FEATURES = ("ACCOUNTS", "ACCOUNT", "ACCOUNT_BALANCES", "ACCOUNT_TRANSACTIONS")
_LOOK = ["see your accounts and balances", "see your transactions"]
_HIDDEN = frozenset({"customer", "token", "callback", "oneTimeToken", "polled", "payment", "sca"})


class YapilyConsents:
    """`callbacks`: where a person may be sent back to."""

    def __init__(self, world: World, pages: BankPages, callbacks: frozenset[str], webhooks: YapilyWebhooks) -> None:
        self._world = world
        self._book = world.book
        self._pages = pages
        self._callbacks = callbacks
        self._webhooks = webhooks
        world.timers["yapily.expires"] = self._expired
        pages.answered["yapily.consent"] = self._answered
        self.routes = [
            route(world, "POST", "/account-auth-requests", self._ask),
            route(world, "PATCH", "/account-auth-requests", self._ask_again),
            route(world, "POST", "/consent-one-time-token", self._by_one_time_token),
            route(
                world, "GET", "/consents/{consent}", lambda request, _: data(world, self.shown(self._named(request)))
            ),
            route(world, "DELETE", "/consents/{consent}", self._delete),
            route(world, "POST", "/consents/{consent}/extend", self._extend),
        ]

    # -- consents --------------------------------------------------------------------------------------------------------

    def _ask(self, _: Request, body: Body) -> Response:
        bank, consent = self.new(body, FEATURES)
        return self.ask(bank, consent, _LOOK)

    def _ask_again(self, request: Request, _: Body) -> Response:
        consent = self.consent(request)
        if "ACCOUNTS" not in consent["featureScope"]:
            raise Refusal(403, "FORBIDDEN", "A payment is authorised once.")
        consent |= {"status": "AWAITING_RE_AUTHORIZATION", "state": self._world.token("")[:32]}
        return self.ask(bank_of(consent["institutionId"]), consent, _LOOK)

    def new(self, body: Body, features: tuple[str, ...], *, comes_back: bool = True) -> tuple[Bank, Body]:
        """Not kept yet. `comes_back`: the person is sent to the bank, and from there to the callback."""
        bank = bank_of(body.get("institutionId"))
        callback = body.get("callback")
        if comes_back and callback not in self._callbacks:
            raise Refusal(400, "BAD_REQUEST", "The callback is not one that is registered for the application.")
        if not body.get("applicationUserId"):
            raise Refusal(400, "BAD_REQUEST", "applicationUserId is missing.")
        return bank, {
            "id": self._world.uuid(),
            "userUuid": self._world.uuid(),
            "applicationUserId": body["applicationUserId"],
            "institutionId": f"{bank.id}-sandbox",
            "status": "AWAITING_AUTHORIZATION",
            "createdAt": iso(self._world.clock.now()),
            "featureScope": list(features),
            "state": self._world.token("")[:32],
            "customer": None,
            "token": None,
            "callback": callback,
            "oneTimeToken": bool(body.get("oneTimeToken")),
            "polled": False,
        }

    def ask(self, bank: Bank, consent: Body, lines: list[str]) -> Response:
        """Keeps it, and answers with the address of the bank's page."""
        self.keep(consent)
        page = self._pages.ask("yapily.consent", bank.id, "Yapily, for an app", lines, consent=consent["id"])
        return data(self._world, {**self.shown(consent), "authorisationUrl": page, "qrCodeUrl": None}, 201)

    def _answered(self, ask: dict[str, object], customer: Customer | None) -> str:
        consent = self._book.get("yapily.consent", str(ask["consent"]))
        assert consent is not None, "the ask names it"
        told = {
            "application-user-id": consent["applicationUserId"],
            "user-uuid": consent["userUuid"],
            "institution": consent["institutionId"],
        }
        waiting = consent["status"].startswith("AWAITING")
        if not waiting or customer is None or consent["customer"] not in (None, customer.id):
            self.keep(consent | {"status": "REJECTED" if waiting and consent["token"] is None else consent["status"]})
            refused = {"error": "access_denied", "error-source": "user", "error-description": "The user declined."}
            return f"{consent['callback']}?{urlencode({**refused, **told})}"
        self.authorise(consent, customer)
        if not consent["oneTimeToken"]:
            return f"{consent['callback']}?{urlencode({'consent': consent['token'], **told})}"
        once = self._world.token("ott-")
        self._book.put(
            "yapily.once", once, {"consent": consent["id"], "expires": iso(self._world.clock.now() + _ONE_TIME_LASTS)}
        )
        return f"{consent['callback']}?{urlencode({'one-time-token': once, **told})}"

    def authorise(self, consent: Body, customer: Customer) -> None:
        """At the bank, by this person: from now on the consent has a token."""
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
        self.keep(consent)
        self._world.later("yapily.expires", read_iso(consent["expiresAt"]), consent=consent["id"])
        self._book.put("yapily.token", consent["token"], {"consent": consent["id"]})

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
        return json_response({**self.shown(consent), "consentToken": consent["token"]}, 201)

    def _delete(self, request: Request, _: Body) -> Response:
        consent = self._named(request)
        self.keep(consent | {"status": "REVOKED"})
        return data(
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
        self.keep(consent | {"lastConfirmedAt": iso(confirmed), "reconfirmBy": iso(confirmed + _RECONFIRM)})
        return data(self._world, self.shown(self._named(request)))

    def set_status(self, consent_id: str, status: str) -> None:
        """What banks and people do behind an app's back. Any text is taken: real ones add statuses too."""
        self.keep(self.kept(consent_id) | {"status": status})

    def kept(self, consent_id: str) -> Body:
        consent = self._book.get("yapily.consent", consent_id)
        if consent is None:
            raise ValueError("no such consent")
        return consent

    def shown(self, consent: Body) -> Body:
        status = consent["status"]
        if status == "AUTHORIZED" and read_iso(consent["expiresAt"]) <= self._world.clock.now():
            status = "EXPIRED"
        # Who is not sent back to the callback polls, and gets the token this way; so does who looks after a payment.
        shows = consent["polled"] or "payment" in consent
        # A payment's token still asks for what became of it, when the consent is used up.
        usable = status == "AUTHORIZED" or (status == "CONSUMED" and "payment" in consent)
        token = {"consentToken": consent["token"]} if shows and usable else {}
        return {name: value for name, value in consent.items() if name not in _HIDDEN} | {"status": status, **token}

    def _named(self, request: Request) -> Body:
        consent = self._book.get("yapily.consent", request.path_params["consent"])
        if consent is None:
            raise Refusal(404, "NOT_FOUND", "There is no such consent.")
        return consent

    def consent(self, request: Request) -> Body:
        kept = self._book.get("yapily.token", request.headers.get("consent", ""))
        consent = self._book.get("yapily.consent", kept["consent"]) if kept else None
        if consent is None:
            raise Refusal(401, "UNAUTHORIZED", "The consent header is missing, or nobody's.")
        return consent

    def authorised(self, request: Request, feature: str = "ACCOUNTS") -> Body:
        consent = self.consent(request)
        if (status := self.shown(consent)["status"]) != "AUTHORIZED":
            raise Refusal(403, "FORBIDDEN", f"The consent is {status}.")
        if feature not in consent["featureScope"]:
            raise Refusal(403, "FORBIDDEN", "That is not what the consent is for.")
        return consent

    def keep(self, consent: Body) -> None:
        before = self._book.get("yapily.consent", consent["id"])
        self._book.put("yapily.consent", consent["id"], consent)
        if before is not None and before["status"] != consent["status"]:
            told = ("id", "institutionId", "applicationUserId", "userUuid", "status", "expiresAt")
            self._webhooks.tell("consent.status.updated", {name: consent.get(name) for name in told})

    def _expired(self, due: Body) -> None:
        consent = self._book.get("yapily.consent", due["consent"])
        if consent is not None and consent["status"] == "AUTHORIZED" and consent["expiresAt"] == due["at"]:
            self.keep(consent | {"status": "EXPIRED"})
