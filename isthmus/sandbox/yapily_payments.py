"""Yapily's payments: a consent for one payment, authorised at the bank, then used once; and what the bank makes of it.

Source: the OpenAPI document of yapily/yapily-openapi (12.13). The ways to authorise without coming back are in `yapily_sca.py`.
"""

from __future__ import annotations

from datetime import timedelta

from starlette.requests import Request
from starlette.responses import Response

from isthmus.sandbox.answers import World
from isthmus.sandbox.clock import iso
from isthmus.sandbox.transfers import pay, payer_account
from isthmus.sandbox.yapily_consents import YapilyConsents
from isthmus.sandbox.yapily_webhooks import YapilyWebhooks
from isthmus.sandbox.yapily_wire import Body, Refusal, bank_of, data, route
from isthmus.sandbox.yapily_wishes import PAYMENT_FEATURES, account_of, check, transfer

#: Any other text is taken too, where the sandbox is told: real ones add statuses.
STATUSES = frozenset(
    (
        *("PENDING", "FAILED", "DECLINED", "COMPLETED", "COMPLETED_SETTLEMENT_IN_PROCESS"),
        *("EXPIRED", "UNKNOWN", "ACTIVE", "INACTIVE"),
    )
)
_ISO = {"PDNG": "Pending", "ACSC": "AcceptedSettlementCompleted", "ACCC": "AcceptedCreditSettlementCompleted"}
_REJECTED = "RJCT"
_STEP_S = "1"


class YapilyPayments:
    def __init__(self, world: World, consents: YapilyConsents, webhooks: YapilyWebhooks) -> None:
        self._world = world
        self._book = world.book
        self._consents = consents
        self._webhooks = webhooks
        world.timers["yapily.step"] = self._step
        self.routes = [
            route(world, "POST", "/payment-auth-requests", self._ask),
            route(world, "POST", "/payments", self._create),
            route(world, "GET", "/payments/{payment}/details", self._details),
        ]

    # -- what the application does ---------------------------------------------------------------------------------------

    def _ask(self, _: Request, body: Body) -> Response:
        decoupled = self._book.fact("yapily.decoupled") is not None
        bank, consent = self._consents.new(body, PAYMENT_FEATURES, comes_back=not decoupled)
        wish = check(body.get("paymentRequest"), bank)
        consent["payment"] = wish
        if decoupled:
            consent |= {"status": "AWAITING_DECOUPLED_AUTHORIZATION", "polled": True}
            self._consents.keep(consent)
            return data(self._world, self._consents.shown(consent), 201)
        amount = transfer(consent["id"], wish).shown
        return self._consents.ask(bank, consent, [f"pay {amount} to {wish['payee']['name']}"])

    def _create(self, request: Request, body: Body) -> Response:
        """One consent is one payment, and so is one paymentIdempotencyId: who asks again is told of the one that there is."""
        consent = self._consents.consent(request)
        wish = consent.get("payment")
        if wish is None:
            raise Refusal(403, "FORBIDDEN", "That is not what the consent is for.")
        check(body, bank_of(consent["institutionId"]))
        kept = self._book.get("yapily.idempotency", body["paymentIdempotencyId"])
        if kept is not None:
            payment = self._kept(kept["payment"])
            if payment["request"] != body:
                raise Refusal(409, "CONFLICT", "The paymentIdempotencyId was used before, for another payment.")
            return data(self._world, self._shown(payment), 201)
        if body != wish:
            raise Refusal(400, "BAD_REQUEST", "The payment is not the one that was authorised.")
        consent = self._consents.authorised(request, PAYMENT_FEATURES[0])
        now = iso(self._world.clock.now())
        payment = {
            "id": self._world.uuid(),
            "consent": consent["id"],
            "customer": consent["customer"],
            "request": body,
            "status": "PENDING",
            "iso": "PDNG",
            "reason": None,
            "created": now,
            "updated": now,
        }
        self._book.put("yapily.payment", payment["id"], payment)
        self._book.put("yapily.idempotency", body["paymentIdempotencyId"], {"payment": payment["id"]})
        self._consents.keep(consent | {"status": "CONSUMED"})
        self._soon(payment)
        return data(self._world, self._shown(payment), 201)

    def _details(self, request: Request, _: Body) -> Response:
        consent = self._consents.consent(request)
        payment = self._book.get("yapily.payment", request.path_params["payment"])
        if payment is None or payment["consent"] != consent["id"]:
            raise Refusal(404, "NOT_FOUND", "There is no such payment.")
        return data(self._world, {"id": payment["id"], "payments": [self._shown(payment)]})

    # -- what the bank makes of it ---------------------------------------------------------------------------------------

    def _soon(self, payment: Body) -> None:
        if self._book.fact("yapily.hold") is None:
            pause = timedelta(seconds=float(self._book.fact("yapily.step_s") or _STEP_S))
            self._world.later("yapily.step", self._world.clock.now() + pause, payment=payment["id"])

    def _step(self, due: Body) -> None:
        payment = self._kept(due["payment"])
        if payment["status"] == "PENDING":
            self._complete(payment)
        elif (payment["status"], payment["iso"]) == ("COMPLETED", "ACSC"):
            self._become(payment, "COMPLETED", "ACCC")

    def _complete(self, payment: Body) -> None:
        wish = payment["request"]
        payer = account_of(wish.get("payer") or {})
        account = payer_account(self._world, payment["customer"], wish["amount"]["currency"], payer)
        if account is None or not pay(self._world, account, transfer(payment["id"], wish)):
            self._become(payment, "FAILED", _REJECTED, "INSUFFICIENT_FUNDS")
            return
        self._soon(self._become(payment, "COMPLETED", "ACSC"))

    def told(self, payment_id: str, status: str, iso_code: str | None = None) -> None:
        """What a bank says of it now: any text. The money moves where it is completed."""
        payment = self._kept(payment_id)
        if status == "COMPLETED" and iso_code is None:
            self._complete(payment)
        else:
            self._become(payment, status, iso_code or payment["iso"])

    def _become(self, payment: Body, status: str, iso_code: str, reason: str | None = None) -> Body:
        changed = {"status": status, "iso": iso_code, "reason": reason, "updated": iso(self._world.clock.now())}
        after = payment | changed
        self._book.put("yapily.payment", payment["id"], after)
        event = self._event(after)
        if status != payment["status"] and status in ("COMPLETED", "FAILED"):
            self._webhooks.tell("single_payment.status.updated", event)
        if status != payment["status"] and status == "COMPLETED":
            self._webhooks.tell("single_payment.status.completed", event)
        if iso_code != payment["iso"]:
            self._webhooks.tell("single_payment.iso_status.updated", event)
        return after

    # -- how it is shown -------------------------------------------------------------------------------------------------

    def _event(self, payment: Body) -> Body:
        consent = self._consents.kept(payment["consent"])
        names = ("applicationUserId", "userUuid", "institutionId")
        shown = self._shown(payment)
        status = {name: shown[name] for name in ("id", "status", "statusDetails", "paymentIdempotencyId")}
        return {**status, "consentId": consent["id"], **{name: consent[name] for name in names}}

    def _shown(self, payment: Body) -> Body:
        wish = payment["request"]
        code = payment["iso"]
        return {
            "id": payment["id"],
            "consentId": payment["consent"],
            "institutionConsentId": f"pdc-{payment['id']}",
            "paymentIdempotencyId": wish["paymentIdempotencyId"],
            "status": payment["status"],
            "statusDetails": {
                "status": payment["status"],
                **({"statusReason": payment["reason"]} if payment["reason"] else {}),
                "statusUpdateDate": payment["updated"],
                "isoStatus": {"code": code, "name": _ISO.get(code, code)},
            },
            "amountDetails": wish["amount"],
            "amount": wish["amount"]["amount"],
            "currency": wish["amount"]["currency"],
            "reference": wish.get("reference"),
            "payeeDetails": wish["payee"],
            "createdDateTime": payment["created"],
        }

    def _kept(self, payment_id: str) -> Body:
        payment = self._book.get("yapily.payment", payment_id)
        if payment is None:
            raise ValueError("no such payment")
        return payment
