"""What every part of Yapily's has: who asks, errors, and the envelope that answers come in.

Source: the OpenAPI document of yapily/yapily-openapi (12.13) and docs.yapily.com.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from isthmus.sandbox.answers import World, json_body, json_response, number
from isthmus.sandbox.seeding import BANKS, Bank

APPLICATION, SECRET = "sandbox-yapily", "sandbox-yapily-secret"

Body = dict[str, Any]
Work = Callable[[Request, Body], Response]


@dataclass
class Refusal(Exception):
    """An error of Yapily's: `status` is its HTTP code, too."""

    code: int
    status: str
    message: str


def route(world: World, method: str, path: str, work: Work) -> Route:
    async def answer(request: Request) -> Response:
        try:
            if not _is_ours(request.headers.get("authorization", "")):
                raise Refusal(401, "UNAUTHORIZED", "The application is unknown, or its secret is wrong.")
            body = await json_body(request)
            if body is None:
                raise Refusal(400, "BAD_REQUEST", "The body is no JSON object.")
            world.catch_up()
            with world.book.writing():
                return work(request, body)
        except Refusal as refusal:
            return _refused(world, refusal)

    return Route(path, answer, methods=[method])


def _refused(world: World, refusal: Refusal) -> Response:
    error = {
        "tracingId": world.token("")[:32],
        "code": refusal.code,
        "status": refusal.status,
        "message": refusal.message,
        "source": "YAPILY",
        "supportUrl": None,
    }
    return json_response({"error": error}, refusal.code)


def data(
    world: World, what: Body | Sequence[Body], status: int = 200, raw: Body | None = None, **meta: object
) -> Response:
    """`raw`: what the bank itself said."""
    said = {"raw": [{"result": raw}]} if raw is not None else {}
    return json_response({"meta": {"tracingId": world.token("")[:32], **meta}, "data": what, **said}, status)


def amount(minor: int, currency: str) -> Body:
    return {"amount": number(minor), "currency": currency}


def bank_of(institution_id: object) -> Bank:
    bank = BANKS.get(str(institution_id).removesuffix("-sandbox"))
    if bank is None:
        raise Refusal(404, "NOT_FOUND", "There is no such institution.")
    return bank


def _is_ours(authorization: str) -> bool:
    expected = "Basic " + base64.b64encode(f"{APPLICATION}:{SECRET}".encode()).decode()
    return hmac.compare_digest(authorization.encode(), expected.encode())
