"""OneSignal's messages, and the inbox that they end in, which stands for everybody's telephones and mailboxes.

Source: documentation.onesignal.com (push notification, e-mail).
"""

from __future__ import annotations

import hmac
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from isthmus.sandbox.answers import World, json_body, json_response
from isthmus.sandbox.clock import iso

APP_ID, API_KEY = "sandbox-onesignal", "sandbox-onesignal-key"
_KIND = "onesignal.message"


class OneSignal:
    def __init__(self, world: World) -> None:
        self._world = world
        self.routes = [
            Route("/onesignal/notifications", self._create, methods=["POST"]),
            Route("/sandbox/inbox", self._inbox, methods=["GET"]),
        ]

    async def _create(self, request: Request) -> Response:
        if not hmac.compare_digest(request.headers.get("authorization", "").encode(), f"Key {API_KEY}".encode()):
            return json_response({"errors": ["Access denied."]}, 403)
        body = await json_body(request)
        wrong = _wrong(body)
        if wrong is not None or body is None:
            return json_response({"errors": [wrong]}, 400)
        key = body.get("idempotency_key") or self._world.uuid()
        kept = self._world.book.get(_KIND, key)
        if kept is None:
            kept = {
                "id": self._world.uuid(),
                "at": iso(self._world.clock.now()),
                "to": body["include_aliases"]["external_id"],
                "channel": body["target_channel"],
                **_shown(body),
            }
            self._world.book.put(_KIND, key, kept)
        return json_response({"id": kept["id"], "external_id": None})

    async def _inbox(self, request: Request) -> Response:
        """Oldest first; `?person=` for one person's, `?channel=` (push, email, sms) for one way's."""
        person, channel = request.query_params.get("person"), request.query_params.get("channel")
        found = [
            one
            for one in self._world.book.all(_KIND).values()
            if (person is None or person in one["to"]) and channel in (None, one["channel"])
        ]
        return json_response(sorted(found, key=lambda one: one["at"]))


def _wrong(body: Any) -> str | None:
    if not isinstance(body, dict) or body.get("app_id") != APP_ID:
        return "app_id not found. You may be missing a Content-Type: application/json header."
    aliases = body.get("include_aliases")
    ids = aliases.get("external_id") if isinstance(aliases, dict) else None
    if not isinstance(ids, list) or not ids or not all(isinstance(one, str) for one in ids):
        return "You must include which players, segments, or tags you wish to send this notification to."
    if body.get("target_channel") not in ("push", "email", "sms"):
        return "target_channel must be push, email or sms."
    if body["target_channel"] == "email":
        named = all(isinstance(body.get(name), str) and body[name] for name in ("email_subject", "email_body"))
        return None if named else "email_subject and email_body are required for an email."
    contents = body.get("contents")
    if not isinstance(contents, dict) or not contents.get("en"):
        return "Message Notifications must have English language content"
    return None


def _shown(body: dict[str, Any]) -> dict[str, str]:
    if body["target_channel"] == "email":
        return {"title": body["email_subject"], "body": body["email_body"]}
    return {"title": (body.get("headings") or {}).get("en", ""), "body": body["contents"]["en"]}
