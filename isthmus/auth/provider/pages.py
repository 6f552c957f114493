"""What a browser gets: pages without script, their cookie, the CSRF token bound to it, and the headers of every answer."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any
from urllib.parse import urlsplit

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from isthmus.auth.provider.store import SESSION_LIFE, digest_of, new_secret

_POLICY = "default-src 'none'; style-src 'self'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'"
_COOKIE_LENGTH = len(new_secret())


class Pages:
    def __init__(self, issuer: str, csrf_key: bytes) -> None:
        self._origin = origin_of(issuer)
        self._csrf_key = csrf_key
        self.secure = issuer.startswith("https://")
        # `__Host-` (RFC 6265bis) binds a cookie to this host and to https. Browsers refuse it over http, and http is let in on
        # this machine only (settings.issuer.url), where the plain name has to do.
        self.cookie_name = "__Host-isthmus_session" if self.secure else "isthmus_session"
        self._templates = Environment(
            loader=PackageLoader("isthmus.auth.provider"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
        )
        source, _, _ = self._templates.loader.get_source(self._templates, "style.css")  # type: ignore[union-attr]
        self.style = source

    def cookie(self, request: Request) -> str | None:
        value = request.cookies.get(self.cookie_name)
        return value if value is not None and len(value) == _COOKIE_LENGTH and value.isascii() else None

    def csrf(self, cookie: str) -> str:
        return hmac.new(self._csrf_key, digest_of(cookie), hashlib.sha256).hexdigest()

    def is_ours(self, request: Request, sent: str | None) -> bool:
        """Whether a form was sent from our own page in this browser: the token that belongs to its cookie, and no other origin."""
        cookie = self.cookie(request)
        origin = request.headers.get("origin")
        if cookie is None or sent is None or origin not in (None, self._origin):
            return False
        return hmac.compare_digest(self.csrf(cookie).encode(), sent.encode(errors="surrogatepass"))

    def show(
        self, request: Request, template: str, *, status: int = 200, leads_to: str | None = None, **values: Any
    ) -> HTMLResponse:
        """With a CSRF token; whoever has no cookie yet gets one that stands for no session. `leads_to`: where the form's
        answer redirects, which browsers hold against `form-action` too."""
        cookie = self.cookie(request) or new_secret()
        page = self._templates.get_template(template).render(csrf=self.csrf(cookie), **values)
        headers = {}
        if leads_to is not None:
            headers["Content-Security-Policy"] = f"{_POLICY} {origin_of(leads_to)}"
        response = HTMLResponse(page, status, headers)
        if cookie != self.cookie(request):
            self.set_cookie(response, cookie)
        return response

    def set_cookie(self, response: Response, value: str) -> None:
        response.set_cookie(
            self.cookie_name,
            value,
            max_age=int(SESSION_LIFE.total_seconds()),
            path="/",
            secure=self.secure,
            httponly=True,
            samesite="lax",
        )

    def forget_cookie(self, response: Response) -> None:
        response.delete_cookie(self.cookie_name, path="/", secure=self.secure, httponly=True, samesite="lax")


def origin_of(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


class SecureHeaders:
    """On every answer. Nothing here is kept by a cache unless its endpoint says so."""

    def __init__(self, app: ASGIApp, secure: bool) -> None:
        self._app = app
        self._headers = {
            "Cache-Control": "no-store",
            "Content-Security-Policy": _POLICY,
            "Cross-Origin-Opener-Policy": "same-origin",
            "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), publickey-credentials-get=()",
            "Referrer-Policy": "same-origin",  # no-referrer would turn the Origin of our own forms into `null`
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
        }
        if secure:
            self._headers["Strict-Transport-Security"] = "max-age=31536000"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, with_headers)
