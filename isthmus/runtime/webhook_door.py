"""`POST /webhooks/{provider}`: a body of bounded size, headers that come once, and a short answer."""

from __future__ import annotations

import asyncio

import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from isthmus.outages import DATABASE_AWAY
from isthmus.write_models.together import TooMany
from isthmus.write_models.webhooks import Taken, Webhooks

#: Longest that a body may take to come.
_BODY_S = 5.0
_LATER: tuple[type[Exception], ...] = (TooMany, *DATABASE_AWAY)
_STATUS = {Taken.ACCEPTED: 202, Taken.REFUSED: 401, Taken.LATER: 503}

log = structlog.get_logger(__name__)


class WebhookDoor:
    def __init__(self, webhooks: Webhooks, bytes_max: int) -> None:
        self._webhooks = webhooks
        self._bytes_max = bytes_max

    async def __call__(self, request: Request) -> Response:
        provider = request.path_params["provider"]
        if not self._webhooks.knows(provider):
            return Response(status_code=404)
        names = [name.lower() for name, _ in request.headers.raw]
        if len(names) != len(set(names)):
            return Response(status_code=401)  # which of two signatures is meant is nobody's guess
        try:
            async with asyncio.timeout(_BODY_S):
                body = await self._body(request)
        except TimeoutError:
            return Response(status_code=408)
        except ClientDisconnect:
            return Response(status_code=400)
        if body is None:
            return Response(status_code=413)
        try:
            taken = await self._webhooks.take(provider, dict(request.headers), request.url.path, body)
        except _LATER as error:
            log.warning("a webhook is not kept", provider=provider, error=type(error).__name__)
            return Response(status_code=503, headers={"Retry-After": "5"})
        return Response(status_code=_STATUS[taken])

    async def _body(self, request: Request) -> bytes | None:
        """None where it is longer than it may be."""
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > self._bytes_max:
                return None
        return bytes(body)
