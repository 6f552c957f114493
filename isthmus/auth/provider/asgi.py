"""The embedded OpenID provider as an ASGI app, in a process of its own: the API trusts it as it would any other issuer.

Run it with uvicorn's `proxy_headers=False` (the address that a sign-in comes from counts) and `access_log=False` (queries hold
`state` and `nonce`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import structlog
from argon2 import PasswordHasher
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from isthmus.auth.provider import store
from isthmus.auth.provider.browser import Browser
from isthmus.auth.provider.context import Provider
from isthmus.auth.provider.discovery import metadata
from isthmus.auth.provider.forms import form_pairs
from isthmus.auth.provider.jwts import family_of
from isthmus.auth.provider.keys import JWKS_CACHE
from isthmus.auth.provider.messages import Answer, FormRequest
from isthmus.auth.provider.pages import SecureHeaders
from isthmus.auth.provider.server import Server
from isthmus.auth.provider.store import User
from isthmus.domain.clock import Clock
from isthmus.ending import end_if_cancelled
from isthmus.runtime.endpoints import resolve
from isthmus.runtime.moved_clock import clock_of
from isthmus.settings import Settings

log = structlog.get_logger(__name__)

_KEEP_EVERY_S = 600
#: For apps in a browser (playgrounds): no cookie goes along, so that nothing is lent to the origin that asks.
_ANY_ORIGIN = [
    Middleware(
        CORSMiddleware,
        allow_origins=["*"],
        allow_methods=["GET", "POST"],
        allow_headers=["Authorization", "Content-Type"],
        max_age=600,
    )
]


def create_provider_app(
    settings: Settings,
    *,
    database_url: str | None = None,
    redis_url: str | None = None,
    issuer_url: str | None = None,
    clock: Clock | None = None,
    hasher: PasswordHasher | None = None,
) -> Starlette:
    """What is not given comes from the running `up`. `app.state.provider` is the Provider (`rotate_keys`, `keep`, `close`)."""
    if database_url is None or redis_url is None or issuer_url is None:
        endpoints = resolve(settings, need=("database", "redis", "issuer"))
        database_url, redis_url = database_url or endpoints.database_url, redis_url or endpoints.redis_url
        issuer_url = issuer_url or endpoints.issuer_url
    # authlib prints whole tokens when it debugs.
    logging.getLogger("authlib").setLevel(logging.INFO)
    provider = Provider(settings, database_url, redis_url, issuer_url, clock or clock_of(settings), hasher)
    browser, apps = Browser(provider), _Apps(provider)
    app = Starlette(
        routes=[
            _open("/.well-known/openid-configuration", apps.metadata, "GET"),
            _open("/.well-known/oauth-authorization-server", apps.metadata, "GET"),
            _open("/jwks", apps.jwks, "GET"),
            _open("/token", apps.token, "POST"),
            _open("/userinfo", apps.userinfo, "GET", "POST"),
            _open("/revoke", apps.revoke, "POST"),
            Route("/authorize", browser.authorize, methods=["GET", "POST"]),
            Route("/sign-in", browser.sign_in, methods=["POST"]),
            Route("/continue", browser.go_on, methods=["POST"]),
            Route("/logout", browser.logout, methods=["GET", "POST"]),
            Route("/style.css", apps.style, methods=["GET"]),
        ],
        middleware=[Middleware(SecureHeaders, secure=provider.pages.secure)],
        exception_handlers={DBAPIError: _unavailable, PoolTimeout: _unavailable, OSError: _unavailable},
        lifespan=_lifespan,
    )
    app.state.provider = provider
    return app


class _Apps:
    """The endpoints that apps call."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._metadata = metadata(provider.issuer)

    async def metadata(self, request: Request) -> Response:
        del request
        return JSONResponse(self._metadata, headers=_cached())

    async def jwks(self, request: Request) -> Response:
        del request
        keys = await self._provider.run(lambda server: server.parts.keys.published(server.connection, server.now))
        return JSONResponse({"keys": keys}, headers=_cached())

    async def style(self, request: Request) -> Response:
        del request
        return Response(self._provider.pages.style, media_type="text/css", headers=_cached())

    async def token(self, request: Request) -> Response:
        return await self._answer(request, "token", Server.token_response)

    async def revoke(self, request: Request) -> Response:
        return await self._answer(request, "revoke", Server.revocation_response)

    async def userinfo(self, request: Request) -> Response:
        """OpenID Connect Core 5.3, with a bearer token in the header only (RFC 6750, 2.1)."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            return _challenge(401, None)

        def work(server: Server) -> tuple[dict[str, Any], User] | None:
            keys = server.parts.keys.published(server.connection, server.now)
            claims = server.parts.minter.read_access_token(keys, token.strip(), server.now)
            if claims is None or not store.is_alive(server.connection, family_of(claims), server.now):
                return None
            user = store.find_user(server.connection, claims["sub"])
            return (claims, user) if user is not None else None

        found = await self._provider.run(work)
        if found is None:
            return _challenge(401, "invalid_token")
        claims, user = found
        scopes = claims["scope"].split()
        if "openid" not in scopes:
            return _challenge(403, "insufficient_scope")
        name, email = await self._provider.open_texts(user.name_sealed, user.email_sealed)
        texts = {"name": name if "profile" in scopes else None, "email": email if "email" in scopes else None}
        return JSONResponse({"sub": user.subject, **{k: v for k, v in texts.items() if v is not None}})

    async def _answer(self, request: Request, path: str, work: Callable[[Server, FormRequest], Answer]) -> Response:
        oauth = FormRequest(request.method, f"{self._provider.issuer}/{path}", await form_pairs(request))
        answer = await self._provider.run(lambda server: work(server, oauth))
        return JSONResponse(answer.body, answer.status, {"Pragma": "no-cache"})


def _open(path: str, endpoint: Callable[[Request], Awaitable[Response]], *methods: str) -> Route:
    return Route(path, endpoint, methods=[*methods, "OPTIONS"], middleware=_ANY_ORIGIN)


def _cached() -> dict[str, str]:
    return {"Cache-Control": f"public, max-age={int(JWKS_CACHE.total_seconds())}"}


def _challenge(status: int, error: str | None) -> Response:
    """RFC 6750, 3."""
    detail = f' error="{error}"' if error else ""
    body = {"error": error} if error else {}
    return JSONResponse(body, status, {"WWW-Authenticate": f"Bearer{detail}"})


async def _unavailable(request: Request, error: Exception) -> Response:
    cause = getattr(error, "orig", None) or error
    log.error("provider.unavailable", path=request.url.path, kind=type(cause).__name__)
    return JSONResponse({"error": "temporarily_unavailable"}, 503, {"Retry-After": "1"})


@asynccontextmanager
async def _lifespan(app: Starlette) -> AsyncIterator[None]:
    provider: Provider = app.state.provider
    keeping = asyncio.create_task(_keep(provider), name="provider.keep")
    try:
        yield
    finally:
        keeping.cancel()
        with suppress(asyncio.CancelledError):
            await keeping
        await provider.close()


async def _keep(provider: Provider) -> None:
    while True:
        try:
            await provider.keep()
        except (DBAPIError, PoolTimeout, OSError) as error:
            end_if_cancelled()
            log.warning("provider.keep_failed", kind=type(error).__name__)
        await asyncio.sleep(_KEEP_EVERY_S)
