"""Yapily's webhooks: events that an application signs up for, each with a secret that is shown once, and an HMAC over the body.

Source: docs.yapily.com (private beta). The header is third parties' word; the events of consents are our guess.
"""

from __future__ import annotations

import hashlib
import hmac

import orjson
from starlette.requests import Request
from starlette.responses import Response

from isthmus.sandbox.answers import World
from isthmus.sandbox.yapily_wire import Body, Refusal, data, route

#: Of what goes where the sandbox itself is told to send webhooks; nobody signs up for these.
WEBHOOK_SECRET = "sandbox-yapily-webhook-secret"  # noqa: S105 - no secret: docs/sandbox.md tells it
_STANDING = "sandbox"
EVENT_TYPES = (
    "single_payment.status.updated",
    "single_payment.status.completed",
    "single_payment.iso_status.updated",
    "consent.status.updated",
)
_KIND = "yapily.webhook"


class YapilyWebhooks:
    def __init__(self, world: World) -> None:
        self._world = world
        self.routes = [
            route(world, "POST", "/webhook/events", self._sign_up),
            route(world, "GET", "/webhook/events", self._all),
            route(world, "DELETE", "/webhook/events/{webhook}", self._delete),
        ]

    def tell(self, kind: str, event: Body) -> None:
        standing = self._world.webhook("yapily")
        if standing is not None:
            self._send(standing, WEBHOOK_SECRET, _STANDING, kind, event)
        for webhook_id, kept in self._world.book.all(_KIND).items():
            if kept["eventTypeId"] == kind:
                self._send(kept["notificationUrl"], kept["secret"], webhook_id, kind, event)

    def _send(self, url: str, secret: str, webhook_id: str, kind: str, event: Body) -> None:
        body = {"id": webhook_id, "type": kind, "event": event, "metadata": {"tracingId": self._world.token("")[:32]}}

        def sign(raw: bytes) -> dict[str, str]:
            return {"X-Yapily-Signature": f"sha256={hmac.new(secret.encode(), raw, hashlib.sha256).hexdigest()}"}

        self._world.webhooks.send(url, orjson.dumps(body), sign)

    def _sign_up(self, _: Request, body: Body) -> Response:
        kind, url = body.get("eventTypeId"), str(body.get("notificationUrl", ""))
        if kind not in EVENT_TYPES:
            raise Refusal(400, "BAD_REQUEST", "There is no such event type.")
        if not url.startswith(("http://", "https://")):
            raise Refusal(400, "BAD_REQUEST", "notificationUrl is no address.")
        webhook_id, secret = self._world.uuid(), self._world.token("whs-")
        kept = {"eventTypeId": kind, "notificationUrl": url}
        self._world.book.put(_KIND, webhook_id, {**kept, "secret": secret})
        return data(self._world, {"id": webhook_id, **kept, "webhookSecret": secret}, 201)

    def _all(self, _: Request, __: Body) -> Response:
        """Without their secrets: each was shown once."""
        some = self._world.book.all(_KIND).items()
        shown = ("eventTypeId", "notificationUrl")
        return data(self._world, [{"id": key, **{name: kept[name] for name in shown}} for key, kept in some])

    def _delete(self, request: Request, _: Body) -> Response:
        if not self._world.book.forget(_KIND, request.path_params["webhook"]):
            raise Refusal(404, "NOT_FOUND", "There is no such webhook.")
        return data(self._world, {"deleteStatus": "SUCCESS"})
