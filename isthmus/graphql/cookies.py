"""Signing in by cookie, as our own pages do: only with a proof that the request comes from such a page (CSRF, CSWSH).

Over HTTP the proof is a header that no form and no link can send, and that CORS lets no other origin send; over WebSocket, where
pages cannot set headers, it is the handshake's `Origin`.
"""

from __future__ import annotations

from typing import Literal, get_args

from starlette.requests import HTTPConnection
from starlette.responses import Response

from isthmus.auth.browser_sessions import SESSION_LIFE_S, SIGN_IN_LIFE_S, BrowserSessions
from isthmus.auth.caller import Caller
from isthmus.auth.sites import Site

PROOF = "X-Isthmus-CSRF"
#: Sent along by a page of ours that asks by itself: a session in which nobody does anything ends, whatever its page goes on to ask.
LOOKS_ON = "X-Isthmus-Looks-On"
#: Pages of ours that a sign-in may lead to.
Page = Literal["playground", "bank-links", "payments"]
_SESSION, _SIGN_IN, _PAGE = "isthmus_page", "isthmus_page_sign_in", "isthmus_page_after"
_LENGTH = 43


class Unproven(Exception):
    """A cookie signs in, and nothing shows that our own page sent it."""


def session_cookie(connection: HTTPConnection, site: Site) -> str | None:
    return _cookie(connection, _name(_SESSION, site))


def sign_in_cookie(connection: HTTPConnection, site: Site) -> str | None:
    return _cookie(connection, _name(_SIGN_IN, site))


def set_session_cookie(response: Response, site: Site, value: str) -> None:
    _set(response, site, _SESSION, value, SESSION_LIFE_S)
    _set(response, site, _SIGN_IN, "", 0)
    _set(response, site, _PAGE, "", 0)


def set_sign_in_cookie(response: Response, site: Site, value: str) -> None:
    _set(response, site, _SIGN_IN, value, SIGN_IN_LIFE_S)


def forget_session_cookie(response: Response, site: Site) -> None:
    _set(response, site, _SESSION, "", 0)


def page_cookie(connection: HTTPConnection, site: Site) -> Page:
    """Where a sign-in leads: one of our own pages, whatever the cookie says."""
    wanted = connection.cookies.get(_name(_PAGE, site))
    return next((page for page in get_args(Page) if page == wanted), "playground")


def set_page_cookie(response: Response, site: Site, page: str | None) -> None:
    wanted = next((known for known in get_args(Page) if known == page), "")
    _set(response, site, _PAGE, wanted, SIGN_IN_LIFE_S)


def is_proven(connection: HTTPConnection, site: Site) -> bool:
    origin = connection.headers.get("origin")
    if connection.scope["type"] == "websocket":
        return origin == site.origin
    return bool(connection.headers.get(PROOF)) and origin in (None, site.origin)


async def caller_by_cookie(connection: HTTPConnection, sessions: BrowserSessions | None) -> Caller | None:
    """None where no cookie signs anybody in. Raises Unproven, or IssuerUnavailable."""
    if sessions is None:
        return None
    sessions = sessions.at(connection.headers.get("host"))
    cookie = session_cookie(connection, sessions.site)
    if cookie is None:
        return None
    if not is_proven(connection, sessions.site):
        raise Unproven
    return await sessions.caller(cookie, looks_on=True)  # what it is that they ask is not known yet


def looks_on(connection: HTTPConnection) -> bool:
    """A page asks by itself, and not its person."""
    return bool(connection.headers.get(LOOKS_ON))


def _name(name: str, site: Site) -> str:
    """`__Host-` (RFC 6265bis) binds a cookie to this host and to https; over http, on this machine only, the plain name has to do."""
    return f"__Host-{name}" if site.secure else name


def _cookie(connection: HTTPConnection, name: str) -> str | None:
    value = connection.cookies.get(name)
    return value if value is not None and len(value) == _LENGTH and value.isascii() else None


def _set(response: Response, site: Site, name: str, value: str, life_s: int) -> None:
    # Lax, not Strict: the way back from the issuer is a navigation from another site.
    response.set_cookie(
        _name(name, site), value, max_age=life_s, path="/", secure=site.secure, httponly=True, samesite="lax"
    )
