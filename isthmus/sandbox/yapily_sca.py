"""Yapily's payments at banks that have no page to come back from: codes that the application asks for itself, and an app on a phone.

Embedded: user name and password first, then a method, then its code. Decoupled: the person approves elsewhere, and the application polls.
"""

from __future__ import annotations

import hmac

from starlette.requests import Request
from starlette.responses import Response

from isthmus.sandbox.answers import World
from isthmus.sandbox.seeding import Bank
from isthmus.sandbox.yapily_consents import YapilyConsents
from isthmus.sandbox.yapily_wire import Body, Refusal, bank_of, data, route
from isthmus.sandbox.yapily_wishes import PAYMENT_FEATURES, check

#: What every telephone of the sandbox shows.
CODE = "123456"
METHODS = (
    {"id": "sms", "type": "SMS_OTP", "description": "A code by text message"},
    {"id": "push", "type": "PUSH_OTP", "description": "The bank's app"},
)
_ATTEMPTS_MAX = 3


class YapilySca:
    def __init__(self, world: World, consents: YapilyConsents) -> None:
        self._world = world
        self._consents = consents
        path = "/embedded-payment-auth-requests"
        self.routes = [
            route(world, "POST", path, self._ask),
            route(world, "PUT", path + "/{consent}", self._go_on),
        ]

    def _ask(self, _: Request, body: Body) -> Response:
        bank, consent = self._consents.new(body, PAYMENT_FEATURES, comes_back=False)
        consent["payment"] = check(body.get("paymentRequest"), bank)
        given = body.get("userCredentials")
        username = self._signed_in(bank, given if isinstance(given, dict) else {})
        consent |= {"status": "AWAITING_SCA_METHOD", "polled": True, "sca": {"username": username, "attempts": 0}}
        self._consents.keep(consent)
        return data(self._world, {**self._consents.shown(consent), "scaMethods": METHODS}, 201)

    def _signed_in(self, bank: Bank, given: Body) -> str:
        customer = self._world.book.customer(bank.id, str(given.get("id", "")))
        password = str(given.get("password", "")).encode()
        if customer is None or not hmac.compare_digest(customer.password.encode(), password):
            raise Refusal(403, "FORBIDDEN", "That user name and password do not belong together.")
        return customer.username

    def _go_on(self, request: Request, body: Body) -> Response:
        consent = self._world.book.get("yapily.consent", request.path_params["consent"])
        if consent is None or "sca" not in consent:
            raise Refusal(404, "NOT_FOUND", "There is no such consent.")
        match consent["status"]:
            case "AWAITING_SCA_METHOD":
                chosen = body.get("selectedScaMethod")
                return self._chosen(consent, chosen.get("id") if isinstance(chosen, dict) else None)
            case "AWAITING_SCA_CODE":
                return self._answered(consent, str(body.get("scaCode", "")))
            case status:
                raise Refusal(400, "BAD_REQUEST", f"The consent is {status}.")

    def _chosen(self, consent: Body, method: object) -> Response:
        following = {"sms": "AWAITING_SCA_CODE", "push": "AWAITING_DECOUPLED_AUTHORIZATION"}.get(str(method))
        if following is None:
            raise Refusal(400, "BAD_REQUEST", "selectedScaMethod is none of those that were offered.")
        self._consents.keep(consent | {"status": following})
        return data(self._world, self._consents.shown(consent | {"status": following}))

    def _answered(self, consent: Body, code: str) -> Response:
        """A wrong code is no error of the request: the consent says what came of it, and after the third it is over."""
        if hmac.compare_digest(code.encode(), CODE.encode()):
            self._approve(consent, consent["sca"]["username"])
        else:
            attempts = consent["sca"]["attempts"] + 1
            consent |= {"sca": {**consent["sca"], "attempts": attempts}}
            consent |= {"status": "FAILED" if attempts >= _ATTEMPTS_MAX else consent["status"]}
            self._consents.keep(consent)
        return data(self._world, self._consents.shown(consent))

    def decoupled(self, consent_id: str, username: str, *, approves: bool) -> None:
        """What the person does in the bank's app. Raises ValueError where nobody was asked."""
        consent = self._consents.kept(consent_id)
        if consent["status"] != "AWAITING_DECOUPLED_AUTHORIZATION":
            raise ValueError(f"the consent is {consent['status']}")
        if approves:
            self._approve(consent, username)
        else:
            self._consents.keep(consent | {"status": "REJECTED"})

    def _approve(self, consent: Body, username: str) -> None:
        customer = self._world.book.customer(bank_of(consent["institutionId"]).id, username)
        if customer is None or consent.get("sca", {}).get("username", username) != username:
            raise ValueError("that is not who was asked")
        self._consents.authorise(consent, customer)
