"""The endpoints that a person's browser sees: authorize, sign in, go on, sign out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlencode

from authlib.oauth2.rfc6749 import OAuth2Error
from authlib.oidc.core.errors import ConsentRequiredError, LoginRequiredError
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from isthmus.auth.activity import IDLE_LIFE_S
from isthmus.auth.addresses import client_address
from isthmus.auth.provider import store
from isthmus.auth.provider.clients import Client, find_client
from isthmus.auth.provider.context import Provider
from isthmus.auth.provider.forms import Pairs, form_pairs, query_pairs
from isthmus.auth.provider.grants import CodeGrant
from isthmus.auth.provider.messages import Answer, FormRequest
from isthmus.auth.provider.passwords import TooManyAttempts
from isthmus.auth.provider.server import Server
from isthmus.auth.provider.store import Session
from isthmus.runtime.rate_limits import CountersUnavailable

_WRONG = "The e-mail address or the password is wrong."
_SLOW = "Too many attempts. Wait a minute, then try again."
_AWAY = "Signing in is not possible right now. Try again in a moment."
_STALE = "This page has been open for too long, or was not opened from here. Go back to the app and sign in again."
_REFUSED = "The app that sent you here did not ask in a way that can be answered. Nothing was given to it."


@dataclass
class _SignIn:
    """The person has to sign in, for this client; its answer will go to `redirect_uri`."""

    client: Client
    redirect_uri: str


@dataclass
class _Confirm(_SignIn):
    """The person is signed in, and has to say yes."""


_Outcome = Answer | _SignIn | _Confirm


class Browser:
    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._pages = provider.pages

    async def authorize(self, request: Request) -> Response:
        """OpenID Connect Core 3.1.2.1: by GET, and by POST with a form."""
        pairs = await form_pairs(request) if request.method == "POST" else query_pairs(request)
        outcome = await self._decide(request, pairs, _next)
        return self._show(request, pairs, outcome)

    async def sign_in(self, request: Request) -> Response:
        """The sign-in page's form. The authorization request is in the query, and is checked again as if it were new."""
        pairs, form = query_pairs(request), dict(await form_pairs(request))
        if not self._pages.is_ours(request, form.get("csrf")):
            return self._message(request, 403, "Sign in again", _STALE)
        if form.get("action") == "cancel":
            return self._show(request, pairs, await self._decide(request, pairs, _denied))
        asked = await self._decide(request, pairs, lambda _server, _oauth, grant, _session: _ask(grant))
        if isinstance(asked, Answer):
            return self._show(request, pairs, asked)
        email = form.get("email", "")
        address = client_address(request.scope, self._provider.proxies)
        try:
            subject = await self._provider.passwords.subject_of(email, form.get("password", ""), address)
        except TooManyAttempts as error:
            page = self._sign_in_page(request, pairs, asked, 429, _SLOW, email)
            page.headers["Retry-After"] = str(error.retry_after_s)
            return page
        except CountersUnavailable:
            page = self._sign_in_page(request, pairs, asked, 503, _AWAY, email)
            page.headers["Retry-After"] = "5"
            return page
        cookie: str | None = None

        def let_in(server: Server, oauth: FormRequest, grant: CodeGrant, _: Session | None) -> _Outcome:
            nonlocal cookie
            user = store.find_user(server.connection, subject) if subject else None
            if user is None:
                return _ask(grant)
            cookie, session = store.start_session(server.connection, user, server.now, self._pages.cookie(request))
            return _issue(server, oauth, grant, session)

        outcome = await self._decide(request, pairs, let_in)
        if isinstance(outcome, _SignIn):
            return self._sign_in_page(request, pairs, outcome, 400, _WRONG, email)
        response = self._show(request, pairs, outcome)
        if cookie is not None:
            self._pages.set_cookie(response, cookie)
        return response

    async def go_on(self, request: Request) -> Response:
        """The confirmation's form, by whoever is signed in already."""
        pairs, form = query_pairs(request), dict(await form_pairs(request))
        if not self._pages.is_ours(request, form.get("csrf")):
            return self._message(request, 403, "Sign in again", _STALE)

        def confirmed(server: Server, oauth: FormRequest, grant: CodeGrant, session: Session | None) -> _Outcome:
            step = _next(server, oauth, grant, session)
            return _issue(server, oauth, grant, session) if isinstance(step, _Confirm) else step

        choice = _denied if form.get("action") == "cancel" else confirmed
        return self._show(request, pairs, await self._decide(request, pairs, choice))

    async def logout(self, request: Request) -> Response:
        """OpenID Connect RP-Initiated Logout 1.0. Nobody is signed out by a link: the person confirms, on our page."""
        form = dict(await form_pairs(request) if request.method == "POST" else query_pairs(request))
        ours = request.method == "POST" and self._pages.is_ours(request, form.pop("csrf", None))
        cookie = self._pages.cookie(request)

        def work(server: Server) -> tuple[bool, str | None]:
            session = store.find_session(server.connection, cookie, server.now)
            if session is not None and ours:
                store.end_session(server.connection, session.digest, server.now)
            return session is not None, _after_logout(server, form)

        signed_in, target = await self._provider.run(work)
        if signed_in and not ours:
            kept = {
                k: v
                for k, v in form.items()
                if k in ("id_token_hint", "client_id", "post_logout_redirect_uri", "state")
            }
            return self._pages.show(
                request,
                "confirm.html",
                leads_to=target,
                heading="Sign out",
                sentence="You will be signed out in this browser, and so will the apps you signed in to with it.",
                action="/logout",
                fields=list(kept.items()),
                button="Sign out",
                cancel=False,
                other=None,
            )
        response: Response
        if target is not None:
            response = RedirectResponse(target, 303)
        else:
            response = self._message(request, 200, "Signed out", "You are signed out. This window can be closed.")
        self._pages.forget_cookie(response)
        return response

    async def _decide(
        self,
        request: Request,
        pairs: Pairs,
        then: Callable[[Server, FormRequest, CodeGrant, Session | None], _Outcome],
    ) -> _Outcome:
        cookie = self._pages.cookie(request)

        def work(server: Server) -> _Outcome:
            oauth = FormRequest("GET", f"{self._provider.issuer}/authorize", pairs)
            session = store.find_session(server.connection, cookie, server.now)
            try:
                grant = server.consent_grant(oauth, session)
                return then(server, oauth, grant, session)
            except OAuth2Error as error:
                return server.handle_error_response(oauth, error)

        return await self._provider.run(work)

    def _show(self, request: Request, pairs: Pairs, outcome: _Outcome) -> Response:
        if isinstance(outcome, _Confirm):
            query = urlencode(pairs)
            return self._pages.show(
                request,
                "confirm.html",
                leads_to=outcome.redirect_uri,
                heading="Go on?",
                sentence=f"You are signed in. {outcome.client.name} on this machine asks to act for you.",
                action=f"/continue?{query}",
                fields=[],
                button="Go on",
                cancel=True,
                other=f"/authorize?{urlencode([(k, v) for k, v in pairs if k != 'prompt'] + [('prompt', 'login')])}",
            )
        if isinstance(outcome, _SignIn):
            return self._sign_in_page(request, pairs, outcome, 200, None, dict(pairs).get("login_hint", ""))
        if outcome.location is not None:
            return RedirectResponse(outcome.location, outcome.status)
        return self._message(
            request, outcome.status, "This sign-in cannot go on", _REFUSED, str(outcome.body.get("error", ""))
        )

    def _sign_in_page(
        self, request: Request, pairs: Pairs, asked: _SignIn, status: int, problem: str | None, email: str
    ) -> Response:
        return self._pages.show(
            request,
            "sign_in.html",
            status=status,
            leads_to=asked.redirect_uri,
            client_name=asked.client.name,
            action=f"/sign-in?{urlencode(pairs)}",
            problem=problem,
            email=email,
        )

    def _message(self, request: Request, status: int, heading: str, sentence: str, code: str | None = None) -> Response:
        if "text/html" not in request.headers.get("accept", "text/html") and code:
            return JSONResponse({"error": code, "error_description": sentence}, status)
        return self._pages.show(request, "message.html", status=status, heading=heading, sentence=sentence, code=code)


def _ask(grant: CodeGrant) -> _SignIn:
    return _SignIn(grant.client, grant.redirect_uri)


def _issue(server: Server, oauth: FormRequest, grant: CodeGrant, session: Session | None) -> Answer:
    answer: Answer = server.create_authorization_response(oauth, grant_user=session, grant=grant)
    return answer


def _denied(server: Server, oauth: FormRequest, grant: CodeGrant, _: Session | None) -> Answer:
    return _issue(server, oauth, grant, None)


def _next(server: Server, oauth: FormRequest, grant: CodeGrant, session: Session | None) -> _Outcome:
    """OpenID Connect Core 3.1.2.3. An app on the person's machine could be any program there, so that the person says yes each
    time, by signing in or by a button (RFC 8252, 8.6); a client whose address is registered whole gets its code at once."""
    data = oauth.form
    prompts = data.get("prompt", "").split()
    if (
        session is None
        or {"login", "select_account"} & set(prompts)
        or _too_old(session, data.get("max_age"), server.now)
    ):
        if "none" in prompts:
            raise LoginRequiredError("The user is not signed in.", redirect_uri=grant.redirect_uri)
        return _ask(grant)
    if grant.client.native or "consent" in prompts:
        if "none" in prompts:
            raise ConsentRequiredError("The user has to confirm.", redirect_uri=grant.redirect_uri)
        return _Confirm(grant.client, grant.redirect_uri)
    return _issue(server, oauth, grant, session)


def _too_old(session: Session, max_age: str | None, now: datetime) -> bool:
    """An app may wish for less than five minutes and gets no more: whose session there is over since they did nothing proves anew who they
    are (RTS 2018/389 Art. 4(3)(d)), and what they did since they signed in nobody knows here."""
    most = IDLE_LIFE_S if max_age is None else min(int(max_age), IDLE_LIFE_S)
    return now - session.signed_in_at > timedelta(seconds=most)


def _after_logout(server: Server, form: dict[str, str]) -> str | None:
    """Where to go after signing out: an address that the client registered whole for it, or nowhere."""
    uri = form.get("post_logout_redirect_uri")
    hint = server.parts.minter.read_id_token_hint(
        server.parts.keys.published(server.connection, server.now), form.get("id_token_hint", "")
    )
    named = {name for name in (form.get("client_id"), hint and hint["aud"]) if name}
    if not uri or len(named) != 1:
        return None
    client_id = named.pop()
    client = find_client(server.connection, client_id) if "\0" not in client_id else None
    if client is None or uri not in client.post_logout_redirect_uris:
        return None
    state = form.get("state")
    return f"{uri}{'&' if '?' in uri else '?'}{urlencode({'state': state})}" if state else uri
