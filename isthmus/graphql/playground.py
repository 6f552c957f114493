"""/playground: GraphiQL from the package's own files, and the way in and out of it.

The page holds no token: it signs in through `auth/browser_sessions.py`, and its cookie is read by no script.
"""

from __future__ import annotations

import html
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from urllib.parse import urlsplit

import orjson
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from isthmus.auth.browser_sessions import BrowserSessions
from isthmus.auth.issuer_keys import IssuerUnavailable
from isthmus.auth.relying_party import SignInFailed
from isthmus.graphql.cookies import (
    Page,
    forget_session_cookie,
    is_proven,
    page_cookie,
    session_cookie,
    set_page_cookie,
    set_session_cookie,
    set_sign_in_cookie,
    sign_in_cookie,
)

FILES = Path(str(files("isthmus.graphql"))) / "static" / "playground"
#: Styles are inline because the editor writes them as it draws; fonts and icons are data: URLs. Nothing comes from another host.
POLICY = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:; "
    "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=()",
    "X-Frame-Options": "DENY",
}


class _Assets(StaticFiles):
    """Their names hold a hash of what is in them."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers.update({**HEADERS, "Cache-Control": "public, max-age=31536000, immutable"})
        return response


def routes() -> list[BaseRoute]:
    """The sessions are those of `app.state.running`: they exist once the lifespan has begun."""
    return [
        Route("/playground", _page),
        Route("/playground/", _page),
        Route("/playground/icon.svg", _icon),
        Route("/playground/sign-in", _sign_in),
        Route("/playground/callback", _callback),
        Route("/playground/sign-out", _sign_out, methods=["POST"]),
        Route("/playground/signed-out", _signed_out),
        Mount("/playground/assets", _Assets(directory=FILES / "assets")),
    ]


def _sessions(request: Request) -> BrowserSessions:
    sessions: BrowserSessions = request.app.state.running.services.sessions
    return sessions.at(request.headers.get("host"))


async def _page(request: Request) -> Response:
    return await page_for_the_signed_in(request, "playground", FILES / "index.html", HEADERS)


async def page_for_the_signed_in(request: Request, page: Page, file: Path, headers: Mapping[str, str]) -> Response:
    """Others are sent to the issuer, which lets in silently whom it knows, and come back to this page."""
    sessions: BrowserSessions = request.app.state.running.services.sessions
    if page == "payments":
        sessions = sessions.for_devices
    if request.headers.get("host") != urlsplit(sessions.site.url).netloc:
        return _redirect(f"{sessions.site.url}/{page}")  # cookies know one name of this machine only
    cookie = session_cookie(request, sessions.site)
    try:
        if cookie is None or await sessions.caller(cookie) is None:
            return _redirect("/playground/sign-in" if page == "playground" else f"/playground/sign-in?page={page}")
    except IssuerUnavailable:
        return _told(503, "Nobody can be signed in right now. Try again in a moment.")
    return FileResponse(file, headers=headers)


async def _icon(_: Request) -> Response:
    return FileResponse(FILES / "icon.svg", headers=HEADERS)


async def _sign_in(request: Request) -> Response:
    sessions = _sessions(request)
    try:
        begun = await sessions.begin()
    except IssuerUnavailable:
        return _told(503, "The sign-in issuer cannot be reached. Try again in a moment.")
    except SignInFailed as failure:
        return _told(502, f"Signing in does not work: {failure}.")
    response = _redirect(begun.location)
    set_sign_in_cookie(response, sessions.site, begun.cookie)
    set_page_cookie(response, sessions.site, request.query_params.get("page"))
    return response


async def _callback(request: Request) -> Response:
    sessions = _sessions(request)
    names = list(request.query_params.keys())
    # RFC 6749, 3.1: a parameter that comes twice is none.
    answer = {name: values[0] for name in names if len(values := request.query_params.getlist(name)) == 1 and values[0]}
    try:
        cookie = await sessions.finish(sign_in_cookie(request, sessions.site), answer)
    except IssuerUnavailable:
        return _told(503, "The sign-in issuer cannot be reached. Try again in a moment.")
    except SignInFailed as failure:
        return _told(400, f"You are not signed in: {failure}.")
    response = _redirect(f"/{page_cookie(request, sessions.site)}")  # without the code in its address
    set_session_cookie(response, sessions.site, cookie)
    return response


async def _sign_out(request: Request) -> Response:
    """Answers where the browser goes next: to the issuer, to end its session too."""
    sessions = _sessions(request)
    if not is_proven(request, sessions.site):
        return _told(403, "Signing out was not asked for by the playground itself.")
    cookie = session_cookie(request, sessions.site)
    try:
        target = sessions.site.signed_out_uri if cookie is None else await sessions.end(cookie)
    except IssuerUnavailable:
        return _told(503, "Signing out does not work right now. Try again in a moment.")
    response = Response(orjson.dumps({"next": target}), media_type="application/json; charset=utf-8", headers=HEADERS)
    forget_session_cookie(response, sessions.site)
    return response


async def _signed_out(_: Request) -> Response:
    return _told(200, "You are signed out.")


def _redirect(target: str) -> RedirectResponse:
    return RedirectResponse(target, 303, headers=HEADERS)


def _told(status: int, sentence: str) -> Response:
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Isthmus playground</title>'
        '<link rel="icon" href="/playground/icon.svg"></head><body style="font-family: system-ui; margin: 3rem">'
        f'<h1>Isthmus playground</h1><p>{html.escape(sentence)}</p><p><a href="/playground">Sign in</a></p></body></html>'
    )
    return Response(page, status, media_type="text/html; charset=utf-8", headers=HEADERS)
